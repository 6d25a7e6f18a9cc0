"""Kernel: how every distance of a solution moves along one direction, to first order, forwards (compiled).

:mod:`eventsolve.kernels.distance_gradients` has one distance by every number, this has every distance by one direction,
with the moves of all spikes given: those of :mod:`eventsolve.kernels.tangents`. What an event that moves does to dV and
dI, which are changes at a fixed time, is the table there.
"""

from __future__ import annotations

import numpy as np

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
    SLOPE,
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


@without_refcount
def carried(v, i, u, current, h, ea, eb, k, tau_mem, tau_syn, d):
    """Return (dV, dI) a time h after a state (u, current) whose changes are v and i, and V is free."""
    k_leak, k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
    v = v * ea + i * k + d[V_LEAK] * k_leak + d[TAU_SYN] * current * k_syn
    v += d[TAU_MEM] * (u * ea * h / (tau_mem * tau_mem) + current * k_mem)
    return v, i * eb + d[TAU_SYN] * current * eb * h / (tau_syn * tau_syn)


@without_refcount
def changes_of(neuron, neurons, afferents, trajectories, own_trigger, sources, own, steps, v_at, i_at):
    """Write how V and I of one neuron change at the start of each of its segments, at a fixed time."""
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    states, events = trajectories.states, trajectories.events
    d = steps.neurons[:, neuron]
    v, i = d[V_INITIAL], d[I_INITIAL]
    last_spike = -1
    for g in range(trajectories.first[neuron], trajectories.last[neuron]):
        v_at[g], i_at[g] = v, i
        u, current = states[g, VOLTAGE], states[g, CURRENT]
        ea, eb, k = states[g, DECAY_MEM], states[g, DECAY_SYN], states[g, RESPONSE]
        held, ending, which = events[g, HELD], events[g, ENDING], events[g, WHICH]
        kept = v
        v, i = carried(v, i, u, current, states[g, DURATION], ea, eb, k, tau_mem, tau_syn, d)
        if held:
            v = kept
        current *= eb
        if ending == ARRIVAL:
            synapse = trajectories.synapses[g]
            moved = steps.delay[synapse] + sources[trajectories.causes[g]]
            weight, changed = afferents.weight[synapse], steps.weight[synapse]
            if not afferents.delta[synapse]:
                i += changed + weight * moved / tau_syn
                if not held:
                    v -= weight * moved / tau_mem
            elif not held:
                v += changed + weight * moved / tau_mem
        elif ending == SPIKE:
            last_spike = which
            if own_trigger[which] >= 0 and neurons.subtracts[neuron] > 0.0:
                v += own[which] * (current - u) / tau_mem - d[V_THRESHOLD] + d[V_RESET]
            else:
                v = d[V_RESET]
            if not events[g + 1, HELD]:
                v -= (current - states[g + 1, VOLTAGE]) / tau_mem * (own[which] + d[T_REF])
        elif ending == RELEASE and last_spike >= 0:
            v -= (current - u) / tau_mem * (own[last_spike] + d[T_REF])


@without_refcount
def moved_arrival(g, trajectories, sources, steps):
    """Return how far the arrival moves that ends a segment, 0 if none does."""
    if trajectories.events[g, ENDING] != ARRIVAL:
        return 0.0
    return steps.delay[trajectories.synapses[g]] + sources[trajectories.causes[g]]


@compiled
def tangents_of(neurons, afferents, trajectories, own_trigger, sources, own, steps, numbers, labels, stop):
    """Return how far each distance of a sample moves, (n_rows,), and of how large terms that is the sum.

    ``sources`` and ``own`` are how far each spike of the layer's sources, its own included, and of the layer moves;
    ``steps`` are Scales of either sign. Slopes at spikes are no distances of an order: they have 0.
    """
    moves, sizes = np.zeros(labels.shape[0]), np.zeros(labels.shape[0])
    states, events = trajectories.states, trajectories.events
    v_at, i_at = np.zeros(events.shape[0]), np.zeros(events.shape[0])
    for neuron in range(neurons.tau_mem.size):
        if stop[0] != 0:
            return moves, sizes
        changes_of(neuron, neurons, afferents, trajectories, own_trigger, sources, own, steps, v_at, i_at)
    for row in range(moves.size):
        if stop[0] != 0:
            break
        neuron, kind, place, whose = (
            labels[row, NEURON],
            labels[row, KIND],
            labels[row, PLACE],
            labels[row, WHOSE],
        )
        tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
        d = steps.neurons[:, neuron]
        first = trajectories.first[neuron]
        g, other = first + labels[row, SEGMENT], first + labels[row, OTHER]
        arrival = moved_arrival(other, trajectories, sources, steps)
        if kind == SLOPE:
            continue
        if kind == GAP:
            mine = own[whose] if whose >= 0 else 0.0
            if place == BEFORE_ARRIVAL:
                later = moved_arrival(g, trajectories, sources, steps)
                moves[row], sizes[row] = later - arrival, abs(later) + abs(arrival)
                continue
            if whose >= 0 and place in (AFTER_RELEASE, BEFORE_RELEASE):
                mine += d[T_REF]
            if place == SPIKE_TO_END:
                moves[row] = -mine
            elif place in (AFTER_SPIKE, AFTER_RELEASE):
                moves[row] = arrival - mine
            else:
                moves[row] = mine - arrival
            sizes[row] = abs(mine) + (0.0 if place == SPIKE_TO_END else abs(arrival))
            continue
        u, i = states[g, VOLTAGE], states[g, CURRENT]
        if kind != SURPLUS and place == FRESH:
            back = g - 1
            while back >= first and events[back, ENDING] != SPIKE:
                back -= 1
            moved = v_at[g]
            if back >= first:
                spike = events[back, WHICH]
                if own_trigger[spike] >= 0 and neurons.subtracts[neuron] > 0.0:
                    moved += (i - u) / tau_mem * (own[spike] + d[T_REF])
                else:
                    moved = d[V_RESET]
        else:
            h = numbers[row, REACH]
            ea, eb, k = propagator(h, tau_mem, tau_syn)
            moved, _ = carried(v_at[g], i_at[g], u, i, h, ea, eb, k, tau_mem, tau_syn, d)
            if place in (AT_ARRIVAL, LIFTED):
                later = (i * eb - (u * ea + i * k)) / tau_mem * arrival
                moved += later
                sizes[row] = abs(
                    later
                )  # which may cancel all else, as where an arrival comes with a spike for good
        sign = 1.0 if kind == SURPLUS else -1.0
        moves[row] = sign * (moved - d[V_THRESHOLD])
        sizes[row] += abs(moved) + abs(d[V_THRESHOLD])
    return moves, sizes
