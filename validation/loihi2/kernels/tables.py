"""What the kernel of Loihi 2's step takes (compiled with it).

Neurons of all layers are numbered through, sources are the inputs and then the neurons. All numbers are float64, which
holds integers up to 2**53: a program's stay below (``validation.loihi2.running``), so that they are exact, and numbers
that are not rounded take the same way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Neurons(NamedTuple):
    """Of every neuron, (n_neurons,); states in their own units, 64ths of a weight unit.

    Attributes
    ----------
    keep_u, keep_v : ndarray
        What is left of u and of v after a step: whole 4096ths of a program.
    bias, threshold, u0, v0 : ndarray
    tau_mem, tau_syn, response : ndarray
        Time constants in steps, and what a current of 1 makes of a voltage in a step.
        Empty unless spikes may arrive between two steps.
    """

    keep_u: Array
    keep_v: Array
    bias: Array
    threshold: Array
    u0: Array
    v0: Array
    tau_mem: Array
    tau_syn: Array
    response: Array


class Layers(NamedTuple):
    """Of every layer, (n_layers,), int64: its first neuron, how many, and in which steps it is set to 0."""

    first: Array
    size: Array
    interval: Array
    offset: Array


class Matrices(NamedTuple):
    """Of every matrix, by the layer from which it leads, inputs first.

    Attributes
    ----------
    bounds : ndarray of int64, (n_layers + 2,)
        Which matrices lead away from each.
    first, size, post : ndarray of int64, (n_matrices,)
        Where its weights start, for how many targets, and which is the first of them.
    delayed, summed : ndarray of bool, (n_matrices,)
        Whether it has delays, and whether weights have to be summed, spikes of equal delay by themselves, before they
        are shifted.
    shift : ndarray, (n_matrices,)
        By which sums are multiplied, and then rounded down.
    weights : ndarray, (n_synapses,)
        By source, and by target, in weight units; not shifted where they are summed.
    delays : ndarray of int64
        As weights, or empty if there are none.
    rests : ndarray of float64
        As weights: what delays have beyond whole steps; for spikes between two steps only.
    longest : int
        Steps.
    """

    bounds: Array
    first: Array
    size: Array
    post: Array
    delayed: Array
    summed: Array
    shift: Array
    weights: Array
    delays: Array
    rests: Array
    longest: int


class Rings(NamedTuple):
    """What waits for its arrival, by row of arrival, which goes round, (n_slots, n_neurons); room for sums, by delay.

    Attributes
    ----------
    waiting : ndarray of float64
        At u.
    jumps : ndarray of float64
        At v alone, of spikes between two steps.
    sums : ndarray of float64, (n_delays, n_neurons)
    """

    waiting: Array
    jumps: Array
    sums: Array


class Rules(NamedTuple):
    """What a run does.

    Attributes
    ----------
    truncated : bool
        Whether what is left of a state is cut towards 0 to a whole number.
    limited : bool
        Whether u turns over and v ends at 24 bits.
    consecutive : bool
        Whether spikes that are under way at the end of a sample arrive in the next one.
    between : bool
        Whether spikes may be sent, and arrive, between two steps.
    """

    truncated: bool
    limited: bool
    consecutive: bool
    between: bool


class Sent(NamedTuple):
    """Input spikes by sample, row and channel.

    Attributes
    ----------
    bounds : ndarray of int64, (n_samples + 1,)
        Which are a sample's.
    rows, places : ndarray of int64, (n_spikes,)
    payloads, rests : ndarray of float64, (n_spikes,)
        By what weights are multiplied, and how far behind its row a spike is, in steps.
    """

    bounds: Array
    rows: Array
    places: Array
    payloads: Array
    rests: Array
