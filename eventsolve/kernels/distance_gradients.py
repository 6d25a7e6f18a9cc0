"""Kernel: the exact derivative of one distance by all that it depends on at its own neuron (compiled).

That is the neuron's parameters, its arrivals, and its own spike before: what this one depends on is for the adjoint of
the whole solution.
"""

from __future__ import annotations

from typing import NamedTuple

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.distances import (
    AFTER_RELEASE,
    AFTER_SPIKE,
    AT_ARRIVAL,
    BEFORE_ARRIVAL,
    BEFORE_RELEASE,
    FRESH,
    GAP,
    KIND,
    LIFTED,
    NEURON,
    OTHER,
    PLACE,
    REACH,
    SEGMENT,
    SPIKE_TO_END,
    SURPLUS,
    WHOSE,
)
from eventsolve.kernels.membrane import propagator, propagator_derivatives
from eventsolve.kernels.perturbation import (
    I_INITIAL,
    T_REF,
    TAU_MEM,
    TAU_SYN,
    V_INITIAL,
    V_LEAK,
    V_RESET,
    V_THRESHOLD,
)
from eventsolve.kernels.tables import Reals
from eventsolve.kernels.trajectories import (
    ARRIVAL,
    CURRENT,
    DECAY_MEM,
    DECAY_SYN,
    DURATION,
    ENDING,
    HELD,
    RELEASE,
    RESPONSE,
    SPIKE,
    VOLTAGE,
    WHICH,
)


class Gradient(NamedTuple):
    """Derivative of one distance in each sample by all that it depends on at its own neuron.

    By the time of each spike of the sources, (n_spikes,), and of the layer itself, (n_own,); by weight and delay,
    (n_samples, n_synapses); by neuron parameters, (n_samples, 8, n).
    """

    sources: Reals
    own: Reals
    weight: Reals
    delay: Reals
    neurons: Reals


@without_refcount
def back_to_start(
    neuron, segment, p_v, p_i, neurons, afferents, trajectories, own_trigger, into, sample, stop
):
    """Add what V and I at the start of a segment depend on, given the derivatives p_v and p_i by them.

    The neuron's own spikes end the reach of p_v: what it depends on before is what the spike's time depends on.
    """
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    states, events, first = trajectories.states, trajectories.events, trajectories.first[neuron]
    d = into.neurons[sample]
    released, triggered = 0.0, False
    for g in range(segment - 1, first - 1, -1):
        if stop[0] != 0:
            break
        u, i, h = states[g, VOLTAGE], states[g, CURRENT], states[g, DURATION]
        ea, eb, k = states[g, DECAY_MEM], states[g, DECAY_SYN], states[g, RESPONSE]
        held, ending, which = events[g, HELD], events[g, ENDING], events[g, WHICH]
        if ending == ARRIVAL:
            synapse = trajectories.synapses[g]
            if not afferents.delta[synapse]:
                error = afferents.weight[synapse] * (p_i / tau_syn - (0.0 if held else p_v / tau_mem))
                into.weight[sample, synapse] += p_i
            elif held:
                error = 0.0
            else:
                rate = (i * eb - (u * ea + i * k)) if triggered else afferents.weight[synapse]
                error = p_v * rate / tau_mem
                into.weight[sample, synapse] += p_v
            triggered = False
            into.delay[sample, synapse] += error
            into.sources[trajectories.causes[g]] += error
        elif ending == SPIKE:
            triggered = own_trigger[which] >= 0 and neurons.subtracts[neuron] > 0.0
            if not events[g + 1, HELD]:
                released = p_v * (i * eb - states[g + 1, VOLTAGE]) / tau_mem
            into.own[which] -= released
            d[T_REF, neuron] -= released
            d[V_RESET, neuron] += p_v
            released = 0.0
            if triggered:
                d[V_THRESHOLD, neuron] -= p_v
            else:
                p_v = 0.0
        elif ending == RELEASE:
            released = p_v * (i * eb - u) / tau_mem
        d[TAU_SYN, neuron] += p_i * i * eb * h / (tau_syn * tau_syn)
        p_i *= eb
        if not held:
            p_v, p_i = across(neuron, p_v, p_i, u, i, h, ea, eb, k, tau_mem, tau_syn, d)
    d[V_INITIAL, neuron] += p_v
    d[I_INITIAL, neuron] += p_i


@without_refcount
def across(neuron, p_v, p_i, u, i, h, ea, eb, k, tau_mem, tau_syn, d):
    """Return (p_v, p_i) a time h before, where V was free, p_i without what it decays by; add to the parameters'."""
    k_leak, k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
    d[TAU_MEM, neuron] += p_v * (u * ea * h / (tau_mem * tau_mem) + i * k_mem)
    d[TAU_SYN, neuron] += p_v * i * k_syn
    d[V_LEAK, neuron] += p_v * k_leak
    return p_v * ea, p_i + p_v * k


@compiled
def gradient_of(numbers, labels, neurons, afferents, trajectories, own_trigger, into, sample, stop):
    """Add the local derivative of one row's distance into the Gradient of a chunk."""
    neuron, kind, place = labels[NEURON], labels[KIND], labels[PLACE]
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    states, events, first = trajectories.states, trajectories.events, trajectories.first[neuron]
    g, other, whose = first + labels[SEGMENT], first + labels[OTHER], labels[WHOSE]
    synapse, cause = trajectories.synapses[other], trajectories.causes[other]
    d = into.neurons[sample]
    if kind == GAP and place == BEFORE_ARRIVAL:
        into.sources[trajectories.causes[g]] += 1.0
        into.delay[sample, trajectories.synapses[g]] += 1.0
        into.sources[cause] -= 1.0
        into.delay[sample, synapse] -= 1.0
        return
    if kind == GAP:
        sign = 1.0 if place in (AFTER_SPIKE, AFTER_RELEASE) else -1.0
        if whose >= 0:
            into.own[whose] -= 1.0 if place == SPIKE_TO_END else sign
            if place in (AFTER_RELEASE, BEFORE_RELEASE):
                d[T_REF, neuron] -= sign
        if place != SPIKE_TO_END:
            into.sources[cause] += sign
            into.delay[sample, synapse] += sign
        return
    sign = 1.0 if kind == SURPLUS else -1.0
    d[V_THRESHOLD, neuron] -= sign
    u, i, h = states[g, VOLTAGE], states[g, CURRENT], numbers[REACH]
    p_v, p_i = sign, 0.0
    if kind != SURPLUS and place == FRESH:
        back = g - 1
        while back >= first and events[back, ENDING] != SPIKE:
            back -= 1
        if back >= first:
            d[V_RESET, neuron] += sign
            if not (own_trigger[events[back, WHICH]] >= 0 and neurons.subtracts[neuron] > 0.0):
                return
            # V is what the delta synapse lifted it to, less the reset
            d[V_THRESHOLD, neuron] -= sign
            g, place, other = back, LIFTED, back - 1
            synapse, cause = trajectories.synapses[other], trajectories.causes[other]
            u, i = states[g, VOLTAGE], states[g, CURRENT]
    ea, eb, k = propagator(h, tau_mem, tau_syn)
    if place in (AT_ARRIVAL, LIFTED):
        moved = sign * (i * eb - (u * ea + i * k)) / tau_mem
        into.sources[cause] += moved
        into.delay[sample, synapse] += moved
    p_v, p_i = across(neuron, p_v, p_i, u, i, h, ea, eb, k, tau_mem, tau_syn, d)
    back_to_start(neuron, g, p_v, p_i, neurons, afferents, trajectories, own_trigger, into, sample, stop)
