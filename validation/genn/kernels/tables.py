"""What the kernels of GeNN's network take (compiled with them).

Neurons of all populations are numbered through, sources are the inputs and then the neurons, and every projection has
a current of its own for each of its targets: its first one is its channel. All floats are of the one kind that the run
computes in, float32 for GeNN itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Neurons(NamedTuple):
    """Of every neuron, (n_neurons,); times in ms.

    Attributes
    ----------
    alpha, beta : ndarray
        exp(-dt/tau_mem) and exp(-dt/tau_syn).
    scale, drive : ndarray
        V becomes alpha V + drive (sum of scale I) + bias.
    slope : ndarray
        What spikes are divided by is slope (sum of scale I) - V.
    a, spread, tau_syn : ndarray
        tau_mem/(tau_mem - tau_syn), alpha - beta, and tau_syn. Of the first two, which are only multiplied with each
        other, the limits where the constants are equal: dt/tau_syn and beta.
    bias, v_initial, theta, v_reset, t_ref : ndarray
        The threshold of a readout is inf.
    swing : ndarray
        By which the jump multiplies lambda_V: the threshold, or how far the reset takes V.
    subtracts : ndarray of bool
        Whether a spike takes theta - v_reset from V.
    """

    alpha: Array
    beta: Array
    scale: Array
    drive: Array
    slope: Array
    a: Array
    spread: Array
    tau_syn: Array
    bias: Array
    v_initial: Array
    theta: Array
    v_reset: Array
    t_ref: Array
    swing: Array
    subtracts: Array


class Projections(NamedTuple):
    """Of every projection, (n_projections,): first channel and first target, and how many; of int64."""

    channel: Array
    post: Array
    size: Array


class Synapses(NamedTuple):
    """Synapses by source, in rows: those of one projection.

    Attributes
    ----------
    weights : ndarray, (n_synapses,)
    targets, steps : ndarray of int64, (n_synapses,)
        Which of the projection's targets, and after how many steps beyond one a spike arrives.
    bounds : ndarray of int64, (n_sources + 1,)
        Which rows are a source's.
    first, length, channel, post : ndarray of int64, (n_rows,)
        First synapse, their number, and of the projection the first channel and the first target.
    dense, delayed : ndarray of bool, (n_rows,)
        Whether the row has all targets of its projection in order, and whether the projection has delays.
    n_inputs, longest : int
        Number of input neurons, and of the longest delay's steps.
    """

    weights: Array
    targets: Array
    steps: Array
    bounds: Array
    first: Array
    length: Array
    channel: Array
    post: Array
    dense: Array
    delayed: Array
    n_inputs: int
    longest: int


class Rules(NamedTuple):
    """What a run does that is no formula.

    Attributes
    ----------
    zeroed : bool
        Whether currents are set to 0 at the start of the last step, or at the end of the trial.
    consecutive : bool
        Whether samples are trials that follow each other in one run.
    cleared : bool
        Whether currents are set to 0 between them, so that only what spikes of the last step add is left to the next.
    late_jump : bool
        Whether backwards a spike's jump comes after the decay of its step.
    inputs_met : bool
        Whether inputs are always met backwards.
    room : int
        Of how many spikes of a neuron the ring buffer knows, in two consecutive trials together; -1 for all.
    """

    zeroed: bool
    consecutive: bool
    cleared: bool
    late_jump: bool
    inputs_met: bool
    room: int


class Fired(NamedTuple):
    """Spikes of neurons by sample and step: ``slopes`` are I - V, ``voltages`` V before the reset."""

    steps: Array
    neurons: Array
    slopes: Array
    voltages: Array


class States(NamedTuple):
    """What is kept of every step, or without samples where nobody asks.

    Attributes
    ----------
    voltage : ndarray, (n_samples, n_steps, n_watched)
        V of some neurons after the step, and its reset.
    current : ndarray, (n_samples, n_steps, n_channels)
        I of each channel after its decay.
    first : int
        The first of the neurons that are watched; the others follow.
    """

    voltage: Array
    current: Array
    first: int


class Push(NamedTuple):
    """What a loss, and the regulariser, add to the adjoint.

    Attributes
    ----------
    first : int
        The first readout neuron; the others follow.
    drive : ndarray, (n_samples, n_steps, n_outputs)
        D of every step, in forward order; without samples where it is 0.
    kick_step : ndarray of int64, (n_samples, n_outputs)
        The step, in forward order, in whose place backwards lambda_V jumps; -1 for none.
    kick : ndarray, (n_samples, n_outputs)
        By how much.
    at_spike : ndarray, (n_spikes,)
        What the jump of a spike has beside its formula.
    at_spikes : ndarray, (n_samples, n_neurons)
        What every jump of a neuron takes off lambda_V.
    reciprocals : ndarray, (n_spikes,)
        1/(I - V).
    """

    first: int
    drive: Array
    kick_step: Array
    kick: Array
    at_spike: Array
    at_spikes: Array
    reciprocals: Array


class Found(NamedTuple):
    """What the backward pass gives.

    Attributes
    ----------
    weight, delay : ndarray, (n_samples, n_synapses)
        GeNN's Gradient and DelayGradient, which is per ms.
    error : ndarray, (n_spikes,)
        (I - V) times lambda_V after the jump, for each spike of a neuron: dL/dt, per ms.
    heard : ndarray of bool, (n_spikes,)
        Whether the backward pass came to know of the spike.
    lambda_v, lambda_i : ndarray, (n_samples, n_steps, n_neurons)
        After each backward step; without samples where nobody asks.
    """

    weight: Array
    delay: Array
    error: Array
    heard: Array
    lambda_v: Array
    lambda_i: Array
