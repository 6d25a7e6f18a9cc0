"""What the kernels of this package take and give."""

from __future__ import annotations

from typing import Any, NamedTuple


class Numbers(NamedTuple):
    """The numbers of a rule, in steps of the grid of weights.

    ``half`` is where a neuron fires, ``edge`` the upper end of the box, ``dead`` the error up to which there is no
    sign; ``step`` is added to a weight, within ``low`` and ``high``.
    """

    half: Any
    edge: Any
    dead: Any
    step: Any
    low: Any
    high: Any
    after: bool
    box: bool


class Matrices(NamedTuple):
    """W1 (in, hidden), W2 (hidden, out), and what the errors go back through, +W2^T and -W2^T (out, hidden)."""

    w1: Any
    w2: Any
    plus: Any
    minus: Any


class Answers(NamedTuple):
    """What trials leave behind: z2 (n, out), and of each trial the ones of x, h, d2+, d2-, d1+ and d1- (n, 6)."""

    z2: Any
    counts: Any


class Tables(NamedTuple):
    """A circuit, its neurons numbered through.

    ``bounds`` (populations + 1,) are the neurons of each population, ``bias`` and ``pause`` those of each neuron.
    Connections: from a population's first neuron, one by one or, if ``fans``, from one neuron to all. Plastic ones:
    the numbers of their populations, where their weights begin in one array of all, and whether they learn.
    ``rewarded`` (n_phases,) says in which phases weights grow rather than shrink.
    """

    bounds: Any
    bias: Any
    pause: Any
    pre: Any
    post: Any
    size: Any
    weight: Any
    delay: Any
    fans: Any
    plastic_pre: Any
    plastic_post: Any
    starts: Any
    learns: Any
    rewarded: Any


class Limits(NamedTuple):
    """When neurons fire and how weights change, in steps of the grid of weights.

    A neuron fires above ``threshold``; ``step`` is added to a weight, within ``low`` and ``high``. A spike has the
    weight ``after`` the change in its step, or before.
    """

    threshold: Any
    step: Any
    low: Any
    high: Any
    after: bool


class Arriving(NamedTuple):
    """What reaches the circuit from outside: (n_trials, n) of each population in ``into``, in the phases ``at``.

    The values of all populations stand side by side, from ``first`` on.
    """

    values: Any
    into: Any
    at: Any
    first: Any
    weight: Any


class Lines(NamedTuple):
    """What is under way: (n_slots, n_neurons) sums by step of arrival, and from when on a neuron may fire."""

    sums: Any
    free: Any


class Fired(NamedTuple):
    """What fires in a step: a flag of each neuron, and how many of each population, which from its first place on."""

    flags: Any
    neurons: Any
    n_fired: Any
