"""Kernels: the adjoint of a layer whose spikes' derivatives are known, at any time (compiled).

The adjoint (p_V, p_I) of a neuron is smooth between its knots, its own spikes and the places at which a loss reads its
voltage: arrivals do not change it. So it is enough to keep it just before every knot.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled
from eventsolve.kernels.arrivals import group_by, schedule_of
from eventsolve.kernels.lives import (
    CURRENT,
    DECAY_SYN,
    ENDING,
    SPIKE,
    WHICH,
    no_probes,
    replay,
)
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.tables import NONE


@compiled
def slopes_of(neurons, afferents, cohorts, n_sources, spikes, start, after, own, t_end, stop):
    """Return V' before every own spike, (n_own,) in 1/s."""
    left = np.zeros(own.times.size)
    n_samples = spikes.offsets.size - 1
    unread = no_probes(n_samples)
    states, events = np.empty((64, 7)), np.empty((64, 3), np.int64)
    for sample in range(n_samples):
        by_source, places = group_by(
            spikes.neurons, spikes.offsets[sample], spikes.offsets[sample + 1], n_sources
        )
        by_neuron, own_places = group_by(
            own.neurons, own.offsets[sample], own.offsets[sample + 1], neurons.tau_mem.size
        )
        for cohort in range(cohorts.offsets.size - 1):
            representative = cohorts.members[cohorts.offsets[cohort]]
            schedule = schedule_of(
                representative,
                neurons,
                afferents,
                spikes,
                sample,
                by_source,
                places,
                start.time[sample, representative],
                after,
                t_end,
            )
            for member in range(cohorts.offsets[cohort], cohorts.offsets[cohort + 1]):
                neuron = cohorts.members[member]
                n_own = by_neuron[neuron + 1] - by_neuron[neuron]
                if n_own == 0:
                    continue
                if stop[0] != 0:
                    break
                room = schedule.times.size + 2 * n_own + 2
                if room > states.shape[0]:
                    states, events = np.empty((2 * room, 7)), np.empty((2 * room, 3), np.int64)
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    schedule.times.size,
                    start.time[sample, neuron],
                    start.u[sample, neuron],
                    start.i[sample, neuron],
                    start.free_at[sample, neuron],
                    start.free_low[sample, neuron],
                    own,
                    own_places,
                    by_neuron[neuron],
                    n_own,
                    unread,
                    own_places,
                    NONE,
                    NONE,
                    t_end,
                    states,
                    events,
                )
                c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
                for g in range(n_segments):
                    if events[g, ENDING] == SPIKE:
                        current = states[g, CURRENT] * states[g, DECAY_SYN]
                        left[events[g, WHICH]] = (current - c) / neurons.tau_mem[neuron]
    return left


@compiled
def knots_of(own, probes, low, high, probe_low, probe_high, t_refs, start_free_at):
    """Return one sample's knots by neuron, then time: offsets, spikes and reads (-1 for the other kind), held reads.

    A read at the time of a spike comes after it. One while V is held is no knot: it reads the voltage that the spike
    before it has set, and its cotangent is among that spike's held reads; before any spike it reads that of the start.
    """
    n = t_refs.size
    by_neuron, own_places = group_by(own.neurons, low, high, n)
    by_reader, read_places = group_by(probes.neurons, probe_low, probe_high, n)
    offsets = np.zeros(n + 1, np.int64)
    spikes = np.full(own_places.size + read_places.size, -1)
    reads = np.full(own_places.size + read_places.size, -1)
    held_reads = np.zeros(high - low)
    k = 0
    for m in range(n):
        a, b = by_neuron[m], by_reader[m]
        held_to = start_free_at[m]
        while a < by_neuron[m + 1] or b < by_reader[m + 1]:
            if b == by_reader[m + 1] or (
                a < by_neuron[m + 1] and own.times[own_places[a]] <= probes.times[read_places[b]]
            ):
                spikes[k] = own_places[a]
                held_to = own.times[own_places[a]] + t_refs[m]
                a += 1
                k += 1
            elif probes.times[read_places[b]] < held_to:
                if a > by_neuron[m]:
                    held_reads[own_places[a - 1] - low] += probes.cotangents[read_places[b]]
                b += 1
            else:
                reads[k] = read_places[b]
                b += 1
                k += 1
        offsets[m + 1] = k
    return offsets, spikes[:k], reads[:k], held_reads


@compiled
def adjoint_at(time, knot, last, knot_times, p_v, p_i, tau_mem, tau_syn):
    """Return (p_V, p_I) at a time from those just before the neuron's next knot, 0 if there is none."""
    if knot == last:
        return 0.0, 0.0
    ea, eb, k = propagator(knot_times[knot] - time, tau_mem, tau_syn)
    return p_v[knot] * ea, p_i[knot] * eb + p_v[knot] * k


@compiled
def sample_adjoint(neurons, start_free_at, left, own, totals, probes, times, t_end, stop):
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
    probes : Probes
        Where a loss reads the voltages of the layer.
    times
        Those of a sample are sorted.
    """
    n_samples = own.offsets.size - 1
    n = neurons.tau_mem.size
    voltage = np.zeros((n_samples, n, times.shape[1]))
    current = np.zeros((n_samples, n, times.shape[1]))
    for sample in range(n_samples):
        low, high = own.offsets[sample], own.offsets[sample + 1]
        offsets, spikes, reads, held_reads = knots_of(
            own,
            probes,
            low,
            high,
            probes.offsets[sample],
            probes.offsets[sample + 1],
            neurons.t_ref,
            start_free_at[sample],
        )
        knot_times = np.empty(spikes.size)
        p_v = np.empty(spikes.size)
        p_i = np.empty(spikes.size)
        for m in range(n):
            if stop[0] != 0:
                break
            tau_mem, tau_syn, t_ref = neurons.tau_mem[m], neurons.tau_syn[m], neurons.t_ref[m]
            first, last = offsets[m], offsets[m + 1]
            for knot in range(last - 1, first - 1, -1):
                spike, read = spikes[knot], reads[knot]
                if spike < 0:
                    now = probes.times[read]
                    v, i = adjoint_at(now, knot + 1, last, knot_times, p_v, p_i, tau_mem, tau_syn)
                    p_v[knot] = v + probes.cotangents[read]
                else:
                    now = own.times[spike]
                    v, i = 0.0, 0.0
                    if now + t_ref <= t_end:
                        v, i = adjoint_at(now + t_ref, knot + 1, last, knot_times, p_v, p_i, tau_mem, tau_syn)
                        i *= math.exp(-t_ref / tau_syn)
                    p_v[knot] = 0.0
                    if own.trigger[spike] >= 0:
                        if neurons.subtracts[m] > 0.0:
                            p_v[knot] = v + held_reads[spike - low]
                    elif totals[spike] != 0.0:
                        p_v[knot] = -totals[spike] / left[spike]
                p_i[knot] = i
                knot_times[knot] = now
            following = first
            held_to = start_free_at[sample, m]
            for q in range(times.shape[1]):
                now = times[sample, q]
                while following < last and knot_times[following] <= now:
                    if spikes[following] >= 0:
                        held_to = knot_times[following] + t_ref
                    following += 1
                if held_to <= now:
                    v, i = adjoint_at(now, following, last, knot_times, p_v, p_i, tau_mem, tau_syn)
                    voltage[sample, m, q], current[sample, m, q] = v, i
                elif held_to <= t_end:
                    _, i = adjoint_at(held_to, following, last, knot_times, p_v, p_i, tau_mem, tau_syn)
                    current[sample, m, q] = i * math.exp(-(held_to - now) / tau_syn)
    return voltage, current
