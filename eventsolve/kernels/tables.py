"""What kernels take and give: plain records of arrays.

Synapses are listed twice: by target where a layer is advanced neuron by neuron, by source where an event queue
delivers spikes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


class Neurons(NamedTuple):
    """Parameters of a layer's neurons, each (n,); v_threshold is inf for a readout, reset is 1.0 to subtract."""

    tau_mem: Reals
    tau_syn: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals
    t_ref: Reals
    v_initial: Reals
    i_initial: Reals
    subtracts: Reals


class Afferents(NamedTuple):
    """Synapses by target neuron: those of neuron i are offsets[i] to offsets[i + 1]; delta is whether one adds to V."""

    offsets: Integers
    source: Integers
    weight: Reals
    delay: Reals
    delta: Booleans


class Efferents(NamedTuple):
    """Synapses by source, in bundles of one delay and one projection, so that no target occurs twice.

    Those of source s are bundles offsets[s] to offsets[s + 1], by delay; bundle b adds ``weight`` to each ``target`` at
    places first[b] to first[b + 1]. Block k has neurons blocks[k] to blocks[k + 1]; ``dense`` says that they advance
    as one.
    """

    offsets: Integers
    delay: Reals
    block: Integers
    delta: Booleans
    first: Integers
    target: NDArray[np.int32]
    weight: Reals
    blocks: Integers
    dense: Booleans


class ScheduleGroups(NamedTuple):
    """Neurons by group: those of group c are members[offsets[c]] to members[offsets[c + 1]].

    ``weights`` from weight_offsets[c] on are those of its synapses once more, member by member for one slot after the
    other: an arrival adds one contiguous row to the currents of the group.
    """

    offsets: Integers
    members: Integers
    weight_offsets: Integers
    weights: Reals


class Spikes(NamedTuple):
    """Spikes of a chunk of samples: those of sample s are offsets[s] to offsets[s + 1], in order of occurrence.

    ``arrivals`` counts the arrivals that the neuron had received when it spiked (of its own schedule); it is
    what orders a spike and an arrival at the same time. Inputs have none. ``trigger`` says which delivery, over a delta
    synapse, made it spike, as :func:`eventsolve.kernels.recurrent.run` numbers them; -1 for a crossing. ``low`` is what
    the times leave of exact sums, as :mod:`eventsolve.kernels.times` has them.
    """

    times: Reals
    neurons: Integers
    offsets: Integers
    arrivals: Integers
    trigger: Integers
    low: Reals


class States(NamedTuple):
    """Every neuron's state after its last event, each (n_samples, n): when, u = V - v_leak, i, until when V is held.

    ``free_low`` is what ``free_at`` leaves of an exact sum. ``clock`` is the time up to which its population has
    advanced as a dense block, which may be before all of its neurons' own; of one that advances on its own, its own.
    """

    time: Reals
    u: Reals
    i: Reals
    free_at: Reals
    free_low: Reals
    clock: Reals


class ByTarget(NamedTuple):
    """A layer whose neurons are gone through one by one; ``n_sources`` counts the neurons that spikes come from."""

    neurons: Neurons
    afferents: Afferents
    groups: ScheduleGroups
    n_sources: int


class Run(NamedTuple):
    """What a layer did in a chunk of samples.

    ``spikes`` are those of its sources, numbered through, those of the layer included if it is cyclic; ``own`` are the
    layer's, in order of occurrence. It began with the states ``start``, and arrivals in (after, t_end] were taken.
    """

    spikes: Spikes
    own: Spikes
    start: States
    after: float
    t_end: float


class Wanted(NamedTuple):
    """Which gradients are asked for that take work at every arrival: ``flow`` are tau_mem, tau_syn and v_leak."""

    weight: bool
    delay: bool
    flow: bool


BUFFER_FULL, BUDGET, REPEATED_SPIKE = 1, 2, 3
"""Why a run stopped: no room in the arrays, more spikes than allowed, a neuron that would spike twice at one time."""


class Sampled(NamedTuple):
    """Places in a readout's voltage at which a loss samples it, by sample, then neuron, then time.

    ``arrival`` is the arrival (of the neuron's schedule) with which the place moves, just before it; -2 - arrival for a
    place just after it; -1 for one that is fixed in time, after all that happens then, or at an interior maximum, where
    moving it changes nothing; or AT_START.
    """

    times: Reals
    neurons: Integers
    offsets: Integers
    arrival: Integers
    cotangents: Reals


class Cotangents(NamedTuple):
    """What the way back through a layer begins with.

    Attributes
    ----------
    spikes : (n_own,)
        dL/dt of every own spike from the loss and from everything downstream of the layer.
    slopes : (n_own,) or (0,)
        V' before every own spike where it was observed; by default it follows from I and the threshold.
    sampled : Sampled
        Where a loss samples the voltages of the layer.
    boundary : (n_samples, 3, n) or (0, 3, n)
        dL/dV and dL/dI of every neuron at t_end, and dL/dt of its release if it is held then; replaced by those of the
        start states.
    """

    spikes: Reals
    slopes: Reals
    sampled: Sampled
    boundary: Reals


class Sums(NamedTuple):
    """What the way back adds up, and what of it is ``wanted``.

    Attributes
    ----------
    errors : (n_spikes,)
        dL/dt of every source spike through the layer.
    totals : (n_own,)
        e = dL/dt of every own spike, with everything that the spike changes.
    weight, delay : (n_rows, n_synapses), or (n_rows, 0) if not wanted
    parameters : (n_rows, 8, n)
        tau_mem, tau_syn, v_threshold, v_reset, v_leak, t_ref, and V and I of the start states; those of the flow are 0
        if not wanted.
    """

    errors: Reals
    totals: Reals
    weight: Reals
    delay: Reals
    parameters: Reals
    wanted: Wanted


AT_START = -(2**62)
"""The ``arrival`` of a place at the start of the trial, before what arrives then."""
