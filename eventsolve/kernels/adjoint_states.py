"""Kernels: the adjoint of a layer whose spikes' derivatives are known, at any time (compiled).

The adjoint (p_V, p_I) of a neuron is smooth between its nodes, its own spikes and the places at which a loss samples
its voltage: arrivals do not change it. So it is enough to keep it just before every node.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled
from eventsolve.kernels.arrivals import group_by, grouped, schedule_of
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.trajectories import (
    CURRENT,
    DECAY_SYN,
    ENDING,
    SPIKE,
    WHICH,
    empty_segments,
    no_samples,
    replay,
)


@compiled
def slopes_of(layer, run, stop):
    """Return V' before every own spike, (n_own,) in 1/s."""
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    left = np.zeros(own.times.size)
    n_samples, n = spikes.offsets.size - 1, neurons.tau_mem.size
    unread = no_samples(n)
    segments = empty_segments(64)
    for sample in range(n_samples):
        given, here = grouped(spikes, sample, n_sources), grouped(own, sample, n)
        for group in range(groups.offsets.size - 1):
            representative = groups.members[groups.offsets[group]]
            schedule = schedule_of(
                representative, neurons, afferents, given, start.time[sample, representative], after, t_end
            )
            for member in range(groups.offsets[group], groups.offsets[group + 1]):
                neuron = groups.members[member]
                n_arrivals, n_own = schedule.times.size, here.offsets[neuron + 1] - here.offsets[neuron]
                if n_own == 0:
                    continue
                if stop[0] != 0:
                    break
                if n_arrivals + 2 * n_own + 2 > segments.states.shape[0]:
                    segments = empty_segments(2 * (n_arrivals + 2 * n_own + 2))
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    n_arrivals,
                    start,
                    here,
                    n_own,
                    unread,
                    t_end,
                    segments,
                )
                states, events = segments
                c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
                for g in range(n_segments):
                    if events[g, ENDING] == SPIKE:
                        current = states[g, CURRENT] * states[g, DECAY_SYN]
                        left[events[g, WHICH]] = (current - c) / neurons.tau_mem[neuron]
    return left


@compiled
def nodes_of(own, sampled, low, high, probe_low, probe_high, t_refs, start_free_at):
    """Return one sample's nodes by neuron, then time: offsets, spikes and samples (-1: the other kind), held samples.

    A sample at the time of a spike comes after it. One while V is held is no node: it takes the voltage that the
    spike before it has set, and its cotangent is among that spike's held samples; before any spike it takes that of
    the start.
    """
    n = t_refs.size
    by_neuron, own_places = group_by(own.neurons, low, high, n)
    by_sampled, sampled_places = group_by(sampled.neurons, probe_low, probe_high, n)
    offsets = np.zeros(n + 1, np.int64)
    spikes = np.full(own_places.size + sampled_places.size, -1)
    sampled_at = np.full(own_places.size + sampled_places.size, -1)
    held_samples = np.zeros(high - low)
    k = 0
    for m in range(n):
        a, b = by_neuron[m], by_sampled[m]
        held_to = start_free_at[m]
        while a < by_neuron[m + 1] or b < by_sampled[m + 1]:
            if b == by_sampled[m + 1] or (
                a < by_neuron[m + 1] and own.times[own_places[a]] <= sampled.times[sampled_places[b]]
            ):
                spikes[k] = own_places[a]
                held_to = own.times[own_places[a]] + t_refs[m]
                a += 1
                k += 1
            elif sampled.times[sampled_places[b]] < held_to:
                if a > by_neuron[m]:
                    held_samples[own_places[a - 1] - low] += sampled.cotangents[sampled_places[b]]
                b += 1
            else:
                sampled_at[k] = sampled_places[b]
                b += 1
                k += 1
        offsets[m + 1] = k
    return offsets, spikes[:k], sampled_at[:k], held_samples


@compiled
def adjoint_at(time, node, last, node_times, p_v, p_i, tau_mem, tau_syn):
    """Return (p_V, p_I) at a time from those just before the neuron's next node, 0 if there is none."""
    if node == last:
        return 0.0, 0.0
    ea, eb, k = propagator(node_times[node] - time, tau_mem, tau_syn)
    return p_v[node] * ea, p_i[node] * eb + p_v[node] * k


@compiled
def sample_adjoint(neurons, start_free_at, left, own, totals, sampled, times, t_end, stop):
    """Return p_V and p_I at times (n_samples, n_times), each (n_samples, n, n_times); after an event at a time.

    Parameters
    ----------
    start_free_at : (n_samples, n)
        Until when V is held from the start.
    left : (n_own,)
        V' before every own spike, from :func:`slopes_of`.
    own : Spikes
        Of a layer, in order of occurrence.
    totals : (n_own,)
        e = dL/dt of every own spike, with everything that the spike changes.
    sampled : Sampled
        Where a loss samples the voltages of the layer.
    times
        Those of a sample are sorted.
    """
    n_samples = own.offsets.size - 1
    n = neurons.tau_mem.size
    voltage = np.zeros((n_samples, n, times.shape[1]))
    current = np.zeros((n_samples, n, times.shape[1]))
    for sample in range(n_samples):
        low, high = own.offsets[sample], own.offsets[sample + 1]
        offsets, spikes, sampled_at, held_samples = nodes_of(
            own,
            sampled,
            low,
            high,
            sampled.offsets[sample],
            sampled.offsets[sample + 1],
            neurons.t_ref,
            start_free_at[sample],
        )
        node_times = np.empty(spikes.size)
        p_v = np.empty(spikes.size)
        p_i = np.empty(spikes.size)
        for m in range(n):
            if stop[0] != 0:
                break
            tau_mem, tau_syn, t_ref = neurons.tau_mem[m], neurons.tau_syn[m], neurons.t_ref[m]
            first, last = offsets[m], offsets[m + 1]
            for node in range(last - 1, first - 1, -1):
                spike, sample_at = spikes[node], sampled_at[node]
                if spike < 0:
                    now = sampled.times[sample_at]
                    v, i = adjoint_at(now, node + 1, last, node_times, p_v, p_i, tau_mem, tau_syn)
                    p_v[node] = v + sampled.cotangents[sample_at]
                else:
                    now = own.times[spike]
                    v, i = 0.0, 0.0
                    if now + t_ref <= t_end:
                        v, i = adjoint_at(now + t_ref, node + 1, last, node_times, p_v, p_i, tau_mem, tau_syn)
                        i *= math.exp(-t_ref / tau_syn)
                    p_v[node] = 0.0
                    if own.trigger[spike] >= 0:
                        if neurons.subtracts[m] > 0.0:
                            p_v[node] = v + held_samples[spike - low]
                    elif totals[spike] != 0.0:
                        p_v[node] = -totals[spike] / left[spike]
                p_i[node] = i
                node_times[node] = now
            following = first
            held_to = start_free_at[sample, m]
            for q in range(times.shape[1]):
                now = times[sample, q]
                while following < last and node_times[following] <= now:
                    if spikes[following] >= 0:
                        held_to = node_times[following] + t_ref
                    following += 1
                if held_to <= now:
                    v, i = adjoint_at(now, following, last, node_times, p_v, p_i, tau_mem, tau_syn)
                    voltage[sample, m, q], current[sample, m, q] = v, i
                elif held_to <= t_end:
                    _, i = adjoint_at(held_to, following, last, node_times, p_v, p_i, tau_mem, tau_syn)
                    current[sample, m, q] = i * math.exp(-(held_to - now) / tau_syn)
    return voltage, current
