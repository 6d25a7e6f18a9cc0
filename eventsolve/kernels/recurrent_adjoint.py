"""Kernels: what every spike of a cyclic layer is worth to the loss, backwards through all of its spikes (compiled).

The adjoint (p_V, p_I) of a neuron is smooth between its knots, its own spikes and the places at which a loss reads its
voltage: arrivals do not change it. So it is enough to keep it just before every knot. Knots are taken in the reverse of
the order in which they occurred; a spike's deliveries are all later, where the adjoint of their targets is known: it is
that of the target's next knot, brought back. Once dL/dt_k of every spike is known, neurons no longer depend on each
other, and :func:`eventsolve.kernels.layered_adjoint.march_back` has their gradients.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled
from eventsolve.kernels.arrivals import group_by, order_by_time, schedule_of
from eventsolve.kernels.lives import (
    ARRIVAL,
    CURRENT,
    DECAY_MEM,
    DECAY_SYN,
    ENDING,
    RELEASE,
    RESPONSE,
    SPIKE,
    VOLTAGE,
    WHICH,
    no_probes,
    replay,
)
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.queues import tied_before
from eventsolve.kernels.tables import NONE
from eventsolve.kernels.times import is_after, later


@compiled
def slopes_of(neurons, afferents, cohorts, n_sources, spikes, start, after, own, t_end, stop):
    """Return V' before every own spike, where V moves on after it (at once or at its release), and before its trigger.

    Each (n_own,) in 1/s: left, right (0 if V is not released up to t_end) and ahead (of triggered spikes).
    """
    left = np.zeros(own.times.size)
    right = np.zeros(own.times.size)
    ahead = np.zeros(own.times.size)
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
                tau_mem, t_ref = neurons.tau_mem[neuron], neurons.t_ref[neuron]
                c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
                spike = -1
                slope = 0.0
                for g in range(n_segments):
                    u, i = states[g, VOLTAGE], states[g, CURRENT]
                    if spike >= 0 and t_ref == 0.0 and events[g - 1, ENDING] == SPIKE:
                        right[spike] = (i - u) / tau_mem
                    ea, eb, k = states[g, DECAY_MEM], states[g, DECAY_SYN], states[g, RESPONSE]
                    if events[g, ENDING] == ARRIVAL:
                        slope = (i * eb - (u * ea + i * k)) / tau_mem
                    elif events[g, ENDING] == SPIKE:
                        spike = events[g, WHICH]
                        left[spike] = (i * eb - c) / tau_mem
                        ahead[spike] = slope
                    elif events[g, ENDING] == RELEASE and spike >= 0:
                        right[spike] = (i * eb - u) / tau_mem
    return left, right, ahead


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
def spike_errors(
    neurons,
    efferents,
    n_external,
    given,
    start_free_at,
    start_free_low,
    slopes,
    own,
    cotangents,
    probes,
    t_end,
    stop,
):
    """Return for every spike of a cyclic layer its cotangent and what its deliveries are worth, (n_own,).

    Parameters
    ----------
    given : Spikes
        Those given to the layer: they come first in the ranks of spikes.
    start_free_at, start_free_low : (n_samples, n)
        Until when V is held from the start.
    slopes : tuple of (n_own,)
        From :func:`slopes_of`.
    own : Spikes
        Of the layer, in order of occurrence.
    cotangents : (n_own,)
        dL/dt of every spike from the loss and from everything downstream of the layer.
    probes : Probes
        Where a loss reads the voltages of the layer.
    """
    left, right, ahead = slopes
    tau_mems, tau_syns, t_refs = neurons.tau_mem, neurons.tau_syn, neurons.t_ref
    subtracts = neurons.subtracts
    source_bundles, delays, first = efferents.offsets, efferents.delay, efferents.first
    targets, weights, bundle_delta = efferents.target, efferents.weight, efferents.delta
    n_bundles = delays.size
    own_times, own_low, triggers = own.times, own.low, own.trigger
    given_times, given_low = given.times, given.low
    read_times, read_cotangents = probes.times, probes.cotangents
    result = cotangents.copy()
    for sample in range(own.offsets.size - 1):
        low, high = own.offsets[sample], own.offsets[sample + 1]
        n_given = given.offsets[sample + 1] - given.offsets[sample]
        sent, sent_low = np.empty(n_given + high - low), np.empty(n_given + high - low)  # by rank
        for k in range(n_given):
            sent[k], sent_low[k] = (
                given_times[given.offsets[sample] + k],
                given_low[given.offsets[sample] + k],
            )
        for k in range(low, high):
            sent[n_given + k - low], sent_low[n_given + k - low] = own_times[k], own_low[k]
        offsets, spikes, reads, held_reads = knots_of(
            own,
            probes,
            low,
            high,
            probes.offsets[sample],
            probes.offsets[sample + 1],
            t_refs,
            start_free_at[sample],
        )
        n_knots = spikes.size
        knot_times = np.empty(n_knots)
        neuron_of = np.empty(n_knots, np.int64)
        keys = np.empty(n_knots, np.int64)  # at one time spikes come in their order, then reads
        for m in range(t_refs.size):
            for k in range(offsets[m], offsets[m + 1]):
                neuron_of[k] = m
                knot_times[k] = own_times[spikes[k]] if spikes[k] >= 0 else read_times[reads[k]]
                keys[k] = spikes[k] - low if spikes[k] >= 0 else high - low
        p_v = np.zeros(n_knots)
        p_i = np.zeros(n_knots)
        worth = np.zeros(n_knots)  # of a triggered spike: dL/dt of the arrival that triggers it
        order = order_by_time(knot_times, keys)
        for o in range(n_knots - 1, -1, -1):
            if stop[0] != 0:
                break
            knot = order[o]
            n = neuron_of[knot]
            now = knot_times[knot]
            if spikes[knot] < 0:
                v, i = adjoint_at(
                    now, knot + 1, offsets[n + 1], knot_times, p_v, p_i, tau_mems[n], tau_syns[n]
                )
                p_v[knot] = v + read_cotangents[reads[knot]]
                p_i[knot] = i
                continue
            spike = spikes[knot]
            error = result[spike]
            rank = n_given + spike - low
            source = n_external + n
            for bundle in range(source_bundles[source], source_bundles[source + 1]):
                arrival, arrival_low = later(now, own_low[spike], delays[bundle])
                if is_after(arrival, arrival_low, t_end, 0.0):
                    break
                key = rank * n_bundles + bundle
                delta = bundle_delta[bundle]
                for s in range(first[bundle], first[bundle + 1]):
                    m = targets[s]
                    a, b = offsets[m], offsets[m + 1]
                    while a < b:  # the target's first knot after the arrival
                        middle = (a + b) >> 1
                        t = knot_times[middle]
                        earlier = t <= arrival
                        if t == arrival and spikes[middle] >= 0 and triggers[spikes[middle]] >= 0:
                            trigger = triggers[spikes[middle]]
                            cause = trigger // n_bundles
                            earlier = trigger < key
                            if cause != rank:
                                earlier = tied_before(
                                    own_low[spikes[middle]], cause, arrival_low, rank, sent, sent_low
                                )
                        if earlier:
                            a = middle + 1
                        else:
                            b = middle
                    last = offsets[m + 1]
                    if a < last and spikes[a] >= 0 and triggers[spikes[a]] == key:
                        error += worth[a]
                        continue
                    before = a - 1
                    while before >= offsets[m] and spikes[before] < 0:
                        before -= 1
                    held_to, held_low = start_free_at[sample, m], start_free_low[sample, m]
                    if before >= offsets[m]:
                        held_to, held_low = later(knot_times[before], own_low[spikes[before]], t_refs[m])
                    held = is_after(held_to, held_low, arrival, arrival_low)
                    if held and (before < offsets[m] or t_refs[m] > 0.0):
                        if delta or held_to > t_end:
                            continue
                        _, i = adjoint_at(held_to, a, last, knot_times, p_v, p_i, tau_mems[m], tau_syns[m])
                        error += weights[s] * i * math.exp(-(held_to - arrival) / tau_syns[m]) / tau_syns[m]
                        continue
                    v, i = adjoint_at(arrival, a, last, knot_times, p_v, p_i, tau_mems[m], tau_syns[m])
                    if delta:
                        error += weights[s] * v / tau_mems[m]
                    else:
                        error += weights[s] * (i / tau_syns[m] - v / tau_mems[m])
            result[spike] = error
            free_at, free_low = later(now, own_low[spike], t_refs[n])
            v, i = 0.0, 0.0
            if not is_after(free_at, free_low, t_end, 0.0):
                v, i = adjoint_at(
                    free_at, knot + 1, offsets[n + 1], knot_times, p_v, p_i, tau_mems[n], tau_syns[n]
                )
                i *= math.exp(-t_refs[n] / tau_syns[n])
            error -= v * right[spike]
            p_i[knot] = i
            if triggers[spike] >= 0:
                p_v[knot] = v + held_reads[spike - low] if subtracts[n] > 0.0 else 0.0
                worth[knot] = error + p_v[knot] * ahead[spike]
            elif error != 0.0 and left[spike] > 0.0:
                p_v[knot] = -error / left[spike]
    return result


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
