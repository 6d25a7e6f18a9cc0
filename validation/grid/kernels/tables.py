"""What the kernels of the time-stepped network take (compiled with them).

Neurons of all populations are numbered through, inputs alike; sources are the inputs and then the neurons.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from validation.grid.kernels.numbers import Noise, Number

Array = Any


class Rules(NamedTuple):
    """In which order things happen within a step.

    Attributes
    ----------
    current_first : bool
        Whether V moves with the current at the end of a step, after what arrives there, or with that at its beginning.
    inclusive : bool
        Whether a neuron at its threshold spikes.
    slope_at_threshold : bool
        Whether the slopes at a spike are those of V at threshold and reset, or of the V that was seen.
    recursion : bool
        Whether the adjoint is a recursion of its own, or the transpose of the moves.
    moves_at_0 : bool
        Whether states move in step 0, too, or are there what they are initially.
    slope_current : int
        Whether slopes at a spike are those of the I that was seen (0), of that by which V moved (1), or of that at the
        end of the step (2): with arrivals, or decayed over it if the current is first.
    """

    current_first: bool
    inclusive: bool
    slope_at_threshold: bool
    recursion: bool
    moves_at_0: bool
    slope_current: int


class Flaws(NamedTuple):
    """What a clocked implementation may do wrongly, each on purpose; :data:`validation.grid.flaws.NONE` is right.

    Attributes
    ----------
    carries_voltage, carries_current : bool
        Whether a sample begins with V, and with I, of the end of the one before.
    adjoint_carried : bool
        Whether its adjoint begins, at its end, with that of the one before.
    one_packet : bool
        Whether of the packets that arrive at a step over synapses of one group only one is delivered.
    last : bool
        Whether that is the one of the highest source, or of the lowest.
    resets_current : bool
        Whether a spike puts the current of its neuron to 0, too.
    drifts : bool
        Whether V moves on in a refractory period, in which the neuron merely sends no spike.
    current_share, voltage_share : float
        Of p_I/tau_syn and of p_V/tau_mem in dL/dt of an arrival.
    reset_share : float
        Of the reset's own term in dL/dt of a spike.
    told_share : float
        Of the same in what is told of dL/dt, if it is left out there alone.
    slope_after : bool
        Whether the jump divides by V' after the reset.
    carries : bool
        Whether the jump is added to p_V, or takes its place.
    drives : float
        Share of I in the slope by which the jump divides.
    jump_share : float
        Of the jump at a spike.
    level : bool
        Whether the jump divides by 1/tau_mem in place of a slope.
    first_only : bool
        Whether the jump is left out at all spikes of a neuron but its first.
    """

    carries_voltage: bool
    carries_current: bool
    adjoint_carried: bool
    one_packet: bool
    last: bool
    resets_current: bool
    drifts: bool
    current_share: float
    voltage_share: float
    reset_share: float
    told_share: float
    slope_after: bool
    carries: bool
    drives: float
    jump_share: float
    level: bool
    first_only: bool


class Neurons(NamedTuple):
    """Of every neuron, (n_neurons,).

    Attributes
    ----------
    decay_mem, decay_syn, transfer, drive : ndarray of float64
        Over one step: V becomes decay_mem V + transfer I + drive, and I becomes decay_syn I.
    feed : ndarray of float64
        By which p_V moves p_I in a recursion of the adjoint.
    rate_mem, rate_syn : ndarray of float64
        1/tau_mem and 1/tau_syn, in 1/s.
    v_threshold, v_reset, v_leak, v_initial, i_initial : ndarray of float64
        The threshold of a readout is inf.
    t_ref : ndarray of int64
        Steps.
    subtracts : ndarray of bool
        Whether a spike takes v_threshold - v_reset from V.
    """

    decay_mem: Array
    decay_syn: Array
    transfer: Array
    drive: Array
    feed: Array
    rate_mem: Array
    rate_syn: Array
    v_threshold: Array
    v_reset: Array
    v_leak: Array
    v_initial: Array
    i_initial: Array
    t_ref: Array
    subtracts: Array


class Synapses(NamedTuple):
    """Synapses by source, in runs of successive targets with one delay and kind.

    Attributes
    ----------
    weights : ndarray of float64, (n_synapses,)
    bounds : ndarray of int64, (n_sources + 1,)
        Which runs are a source's.
    first, target, length, steps : ndarray of int64, (n_runs,)
        First synapse, its target, their number, and after how many steps a spike arrives.
    delta : ndarray of bool, (n_runs,)
    group : ndarray of int64, (n_runs,)
        Of which only one packet is delivered in a step, where :attr:`Flaws.one_packet` says so.
    levels : ndarray of int64, (n_levels + 1,)
        Bounds of the neurons that are computed together, one level after the other: with the current first a spike may
        arrive in its own step at a later level.
    n_groups : int
    n_inputs : int
    longest : int
        Of all steps.
    any_delta : bool
    """

    weights: Array
    bounds: Array
    first: Array
    target: Array
    length: Array
    steps: Array
    delta: Array
    group: Array
    levels: Array
    n_groups: int
    n_inputs: int
    longest: int
    any_delta: bool


class Events(NamedTuple):
    """What is given at steps of samples: input spikes, with their sources, or voltages read, with their neurons.

    ``bounds`` (n_samples + 1) says which are a sample's; steps ascend within it.
    """

    bounds: Array
    steps: Array
    places: Array


class Clocked(NamedTuple):
    """A network, how it is computed, and on what.

    Attributes
    ----------
    neurons : Neurons
    synapses : Synapses
    rules : Rules
    flaws : Flaws
    number : Number
    inputs : Events
    n_steps : int
    noise : Noise
        Goes on in place.
    """

    neurons: Neurons
    synapses: Synapses
    rules: Rules
    flaws: Flaws
    number: Number
    inputs: Events
    n_steps: int
    noise: Noise


class Reads(NamedTuple):
    """Where a loss reads voltages, as :class:`Events` have it, and dL/dV there, (n_reads,)."""

    bounds: Array
    steps: Array
    places: Array
    cotangents: Array


class Rings(NamedTuple):
    """What is to arrive, by step of arrival, which goes round a ring of rows.

    Attributes
    ----------
    currents, lifts : ndarray of float64, (n_rows, n_neurons)
        Of weights over exponential and over delta synapses.
    waiting : ndarray of int64, (n_rows,)
        How many spikes there are in a row.
    taken : ndarray of int64, (n_rows, n_groups, 3)
        Which packet each group has got: at which step it arrives, who sent it, and when.
    """

    currents: Array
    lifts: Array
    waiting: Array
    taken: Array


class AdjointRings(NamedTuple):
    """Adjoints by the step at which a spike would arrive, which goes round a ring of rows, each (n_rows, n_neurons).

    Attributes
    ----------
    p_w : ndarray of float64
        The adjoint of a weight.
    p_i, p_v : ndarray of float64
    p_lift : ndarray of float64
        The p_V that a delta arrival meets.
    p_arrival : ndarray of float64
        The adjoint of the time of a delta arrival that triggers a spike, beyond what p_lift makes of it, per weight.
    """

    p_w: Array
    p_i: Array
    p_v: Array
    p_lift: Array
    p_arrival: Array


class Fired(NamedTuple):
    """Spikes of neurons, by sample and step.

    Attributes
    ----------
    steps, neurons : ndarray of int64
    voltages, currents : ndarray of float64
        V before the reset, and I.
    lifts : ndarray of float64
        What arrived over delta synapses and lifted V across its threshold; 0 where V moved there.
    """

    steps: Array
    neurons: Array
    voltages: Array
    currents: Array
    lifts: Array


class History(NamedTuple):
    """One sample's states after each step, (n_steps + 1, n_neurons), and whether V was free to move there."""

    voltage: Array
    current: Array
    free: Array


class Sums(NamedTuple):
    """Gradients: (n_samples, n_synapses), and of neurons (n_samples, n_quantities, n_neurons), as named below."""

    weight: Array
    delay: Array
    neurons: Array


DECAY_MEM, DECAY_SYN, TRANSFER, DRIVE, THRESHOLD, RESET, REFRACTORY, V_INITIAL, I_INITIAL, N_QUANTITIES = (
    range(10)
)
"""Quantities of a neuron by which :class:`Sums` has derivatives."""
