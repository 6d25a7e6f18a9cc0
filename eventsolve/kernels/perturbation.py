"""Kernels: what small changes of parameters, input spikes, or inside a trajectory do to it, to first order (compiled).

:func:`transport` bounds the change of V, I and every spike time by the triangle inequality, forwards; changes of V and
I are those at a fixed time. Where an event shifts by dt, a jump J of (V, I) in it changes the state by -A J dt, A being
the generator of the free state. An arrival of weight w that shifts by dt thus adds w dt/tau_syn to the change of I and
w dt/tau_mem to that of V; a crossing shifts by dV/V', and leaves V' dt after its reset.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.distances import (
    AFTER_RELEASE,
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
    SURPLUS,
    WHOSE,
)
from eventsolve.kernels.membrane import propagator, propagator_derivatives
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

TAU_MEM, TAU_SYN, V_THRESHOLD, V_RESET, V_LEAK, T_REF, V_INITIAL, I_INITIAL = range(8)
"""Rows of neuron parameters."""


class Scales(NamedTuple):
    """How far parameters move, or may move: those of synapses, (n_synapses,), and of neurons, (8, n)."""

    weight: Reals
    delay: Reals
    neurons: Reals


class Changes(NamedTuple):
    """What changes by itself in each segment: V and I at its start and at its end, and the time of the event there.

    A crossing's ``late_v`` counts against its slope.
    """

    early_v: Reals
    early_i: Reals
    late_v: Reals
    late_i: Reals
    shift: Reals


class Reach(NamedTuple):
    """Bounds on how far V and I move at the start of each segment, and each own spike of the chunk."""

    v: Reals
    i: Reals
    spikes: Reals


@without_refcount
def by_parameters(u, i, h, ea, eb, k, tau_mem, tau_syn, d_leak, d_mem, d_syn):
    """Bound how far V and I are changed by changes of v_leak and the time constants, a time h after a state."""
    k_leak, k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
    v = d_leak * k_leak + d_mem * abs(u * ea * h / (tau_mem * tau_mem) + i * k_mem) + d_syn * abs(i * k_syn)
    return v, d_syn * abs(i) * eb * h / (tau_syn * tau_syn)


@compiled
def derivatives_of(neurons, trajectories, stop):
    """Return :func:`eventsolve.kernels.membrane.propagator_derivatives` of every segment, each (n_segments,)."""
    states = trajectories.states
    k_leak, k_mem, k_syn = np.empty((3, states.shape[0]))
    for neuron in range(neurons.tau_mem.size):
        if stop[0] != 0:
            break
        for g in range(trajectories.first[neuron], trajectories.last[neuron]):
            k_leak[g], k_mem[g], k_syn[g] = propagator_derivatives(
                states[g, DURATION],
                neurons.tau_mem[neuron],
                neurons.tau_syn[neuron],
                states[g, DECAY_MEM],
                states[g, DECAY_SYN],
                states[g, RESPONSE],
            )
    return k_leak, k_mem, k_syn


@compiled
def changes_of(neurons, afferents, trajectories, own_trigger, scales, emitted, stop):
    """Return the Changes that parameters make which move by up to their scales, and spikes by what is ``emitted``."""
    states, events, synapses = trajectories.states, trajectories.events, trajectories.synapses
    n = events.shape[0]
    early_v, early_i, late_v, late_i, shift = np.zeros((5, n))
    for neuron in range(neurons.tau_mem.size):
        if stop[0] != 0:
            break
        d = scales.neurons[:, neuron]
        tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
        first, last = trajectories.first[neuron], trajectories.last[neuron]
        early_v[first], early_i[first] = d[V_INITIAL], d[I_INITIAL]
        for g in range(first, last):
            ending = events[g, ENDING]
            late_v[g], late_i[g] = by_parameters(
                states[g, VOLTAGE],
                states[g, CURRENT],
                states[g, DURATION],
                states[g, DECAY_MEM],
                states[g, DECAY_SYN],
                states[g, RESPONSE],
                tau_mem,
                tau_syn,
                d[V_LEAK],
                d[TAU_MEM],
                d[TAU_SYN],
            )
            if events[g, HELD]:
                late_v[g] = 0.0
            if ending == ARRIVAL:
                shift[g] = scales.delay[synapses[g]]
                if not afferents.delta[synapses[g]]:
                    early_i[g + 1] = scales.weight[synapses[g]]
                elif not events[g, HELD]:
                    early_v[g + 1] = scales.weight[synapses[g]]
            elif ending == SPIKE:
                shift[g] = emitted[events[g, WHICH]]
                early_v[g + 1] = d[V_RESET]
                if not events[g + 1, HELD]:
                    after = states[g, CURRENT] * states[g, DECAY_SYN] - states[g + 1, VOLTAGE]
                    early_v[g + 1] += abs(after) / tau_mem * d[T_REF]
                if own_trigger[events[g, WHICH]] < 0:
                    late_v[g] += d[V_THRESHOLD]
                elif neurons.subtracts[neuron] > 0.0:
                    early_v[g + 1] += d[V_THRESHOLD]
            elif ending == RELEASE:
                shift[g] = d[T_REF]
    return Changes(early_v, early_i, late_v, late_i, shift)


@without_refcount
def cross_segment(g, reach, trajectories, changes):
    """Return how far V and I move at the end of a segment."""
    states = trajectories.states
    v, i = reach.v[g], reach.i[g]
    late_i = i * states[g, DECAY_SYN] + changes.late_i[g]
    if trajectories.events[g, HELD]:
        return v, late_i
    return v * states[g, DECAY_MEM] + i * states[g, RESPONSE] + changes.late_v[g], late_i


@without_refcount
def propagate_bound(
    neuron, g, own_trigger, neurons, afferents, trajectories, changes, origin, given, reach, last_shift
):
    """Carry the bounds of one neuron over a segment and the event that ends it; write those of a spike.

    ``last_shift`` holds how far the neuron's last arrival and its last spike move.
    """
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    drop = neurons.v_threshold[neuron] - neurons.v_reset[neuron]
    states, events = trajectories.states, trajectories.events
    held, ending, which = events[g, HELD], events[g, ENDING], events[g, WHICH]
    v, i = cross_segment(g, reach, trajectories, changes)
    current = states[g, CURRENT] * states[g, DECAY_SYN]
    if ending == ARRIVAL:
        cause, synapse = trajectories.causes[g], trajectories.synapses[g]
        moved = reach.spikes[origin[cause]] if origin[cause] >= 0 else given[cause]
        moved += changes.shift[g]
        last_shift[0, neuron] = moved
        weight = abs(afferents.weight[synapse])
        if not held:
            v += weight * moved / tau_mem
        if not afferents.delta[synapse]:
            i += weight * moved / tau_syn
    elif ending == SPIKE:
        triggered = own_trigger[which] >= 0
        if triggered:
            moved = last_shift[0, neuron]
        else:
            slope = (current - c) / tau_mem
            moved = v / slope if slope > 0.0 else np.inf
        moved += changes.shift[g]
        reach.spikes[which] = moved
        last_shift[1, neuron] = moved
        after = abs(current - states[g + 1, VOLTAGE]) / tau_mem
        if triggered and neurons.subtracts[neuron] > 0.0:
            v += moved * (
                abs(current - states[g, VOLTAGE]) / tau_mem if events[g + 1, HELD] else drop / tau_mem
            )
        elif events[g + 1, HELD]:
            v = 0.0
        else:
            v = after * moved
    elif ending == RELEASE:
        slope = (current - states[g, VOLTAGE]) / tau_mem
        v += abs(slope) * (last_shift[1, neuron] + changes.shift[g])
    if g + 1 < trajectories.last[neuron]:
        reach.v[g + 1] = v + changes.early_v[g + 1]
        reach.i[g + 1] = i + changes.early_i[g + 1]


@compiled
def transport(neurons, afferents, trajectories, own, sample, origin, given, changes, spikes, stop):
    """Return the Reach of changes through all trajectories of a sample, that of its own spikes in ``spikes``, (n_own,).

    ``given`` is how far each spike of the sources moves, but for the layer's own, whose places ``origin`` has.
    """
    n = trajectories.events.shape[0]
    reach = Reach(np.zeros(n), np.zeros(n), spikes)
    last_shift = np.zeros((2, neurons.tau_mem.size))
    at = trajectories.first.copy()
    for neuron in range(at.size):
        reach.v[at[neuron]] = changes.early_v[at[neuron]]
        reach.i[at[neuron]] = changes.early_i[at[neuron]]
    trigger = own.trigger
    # spikes in the order in which they occurred: what arrives before one is caused by earlier ones
    for spike in range(own.offsets[sample], own.offsets[sample + 1]):
        if stop[0] != 0:
            break
        neuron = own.neurons[spike]
        while True:
            g = at[neuron]
            propagate_bound(
                neuron,
                g,
                trigger,
                neurons,
                afferents,
                trajectories,
                changes,
                origin,
                given,
                reach,
                last_shift,
            )
            at[neuron] += 1
            if trajectories.events[g, ENDING] == SPIKE and trajectories.events[g, WHICH] == spike:
                break
    for neuron in range(at.size):
        for g in range(at[neuron], trajectories.last[neuron]):
            propagate_bound(
                neuron,
                g,
                trigger,
                neurons,
                afferents,
                trajectories,
                changes,
                origin,
                given,
                reach,
                last_shift,
            )
    return reach


@without_refcount
def shift_of(g, trajectories, origin, given, scales, reach):
    """Bound how far the arrival moves that ends a segment, 0 if none does."""
    if trajectories.events[g, ENDING] != ARRIVAL:
        return 0.0
    cause = trajectories.causes[g]
    moved = reach.spikes[origin[cause]] if origin[cause] >= 0 else given[cause]
    return moved + scales.delay[trajectories.synapses[g]]


@compiled
def bounds_of(
    neurons, afferents, trajectories, own_trigger, origin, given, scales, reach, numbers, labels, stop
):
    """Bound how far each distance of a sample moves, (n_rows,), by the triangle inequality."""
    bounds = np.empty(labels.shape[0])
    states, events = trajectories.states, trajectories.events
    for row in range(bounds.size):
        if stop[0] != 0:
            break
        neuron, kind, place = labels[row, NEURON], labels[row, KIND], labels[row, PLACE]
        tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
        d = scales.neurons[:, neuron]
        first = trajectories.first[neuron]
        g, other = first + labels[row, SEGMENT], first + labels[row, OTHER]
        own = reach.spikes[labels[row, WHOSE]] if labels[row, WHOSE] >= 0 else 0.0
        arrival = shift_of(other, trajectories, origin, given, scales, reach)
        if kind == GAP:
            bounds[row] = own + arrival
            if place == BEFORE_ARRIVAL:
                bounds[row] += shift_of(g, trajectories, origin, given, scales, reach)
            if place in (AFTER_RELEASE, BEFORE_RELEASE):
                bounds[row] += d[T_REF]
            continue
        u, i = states[g, VOLTAGE], states[g, CURRENT]
        ea, eb, k = propagator(numbers[row, REACH], tau_mem, tau_syn)
        if kind != SURPLUS and place == FRESH:
            moved = reach.v[g]
            back = g - 1
            while back >= first and events[back, ENDING] != SPIKE:
                back -= 1
            if back >= first and not (
                own_trigger[events[back, WHICH]] >= 0 and neurons.subtracts[neuron] > 0.0
            ):
                moved = d[V_RESET]
            elif back >= first:
                spike = events[back, WHICH]
                moved += abs(i - u) / tau_mem * (reach.spikes[spike] + d[T_REF])
        else:
            moved, _ = by_parameters(
                u,
                i,
                numbers[row, REACH],
                ea,
                eb,
                k,
                tau_mem,
                tau_syn,
                d[V_LEAK],
                d[TAU_MEM],
                d[TAU_SYN],
            )
            moved += reach.v[g] * ea + reach.i[g] * k
            if place in (AT_ARRIVAL, LIFTED):
                moved += abs(i * eb - (u * ea + i * k)) / tau_mem * arrival
        bounds[row] = moved + d[V_THRESHOLD]
    return bounds
