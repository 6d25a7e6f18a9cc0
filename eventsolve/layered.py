"""Kernels: one population driven by finished spike trains (compiled).

Neurons with the same time constants that hear the same sources after the same delays form a cohort: they share their
schedule of arrivals and the exponentials between arrivals, which are computed once for all of them. A neuron unlike
all others is a cohort of one.

Order of events, total for one neuron: by time; at one time its own spike comes before the arrival that ends
the interval in which it was found, and arrivals come by synapse, then by spike of the source.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.compiled import compiled
from eventsolve.crossing import first_crossing, peak_possible
from eventsolve.membrane import extremum, propagator

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


class Neurons(NamedTuple):
    """Parameters of a population, each (n,); v_threshold is inf for a readout."""

    tau_mem: Reals
    tau_syn: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals
    t_ref: Reals


class Afferents(NamedTuple):
    """Synapses by target neuron: those of neuron i are offsets[i] to offsets[i + 1]."""

    offsets: Integers
    source: Integers
    weight: Reals
    delay: Reals


class Cohorts(NamedTuple):
    """Neurons by cohort: those of cohort c are members[offsets[c]] to members[offsets[c + 1]].

    ``weights`` from weight_offsets[c] on are those of its synapses once more, member by member for one slot after the
    other: an arrival adds one contiguous row to the currents of the cohort.
    """

    offsets: Integers
    members: Integers
    weight_offsets: Integers
    weights: Reals


class Spikes(NamedTuple):
    """Spikes of a chunk of samples: those of sample s are offsets[s] to offsets[s + 1], sorted by time, then neuron.

    ``arrivals`` counts the arrivals that the neuron had received when it spiked (of its own schedule); it is
    what orders a spike and an arrival at the same time. Inputs have none.
    """

    times: Reals
    neurons: Integers
    offsets: Integers
    arrivals: Integers


class Probes(NamedTuple):
    """Places in a readout's voltage at which a loss reads it, by sample, then neuron, then time.

    ``arrival`` is the arrival (of the neuron's schedule) with which the place moves, or -1 for a place that is fixed in
    time or at an interior maximum, where moving it changes nothing.
    """

    times: Reals
    neurons: Integers
    offsets: Integers
    arrival: Integers
    cotangents: Reals


class Schedule(NamedTuple):
    """Arrivals of one cohort in one sample, in order, and the propagators of the gaps before each and up to t_end."""

    times: Reals
    slots: Integers
    spikes: Integers
    decay_mem: Reals
    decay_syn: Reals
    response: Reals


# A neuron's life is cut into segments at its events. Two arrays hold it, one row for each segment:
START, DURATION, VOLTAGE, CURRENT, DECAY_MEM, DECAY_SYN, RESPONSE = 0, 1, 2, 3, 4, 5, 6
"""Columns of its states: start and duration in seconds, u = V - v_leak and i at the start, the propagator."""
HELD, ENDING, WHICH = 0, 1, 2
"""Columns of its events: is V held, what ends it, and which arrival of the schedule, own spike or probe that is."""
ARRIVAL, END, SPIKE, RELEASE, PROBE = 0, 1, 2, 3, 4
"""What ends a segment."""


@compiled
def grown_reals(array):
    """Return the array's contents at the start of one twice as long."""
    larger = np.empty(2 * array.size)
    larger[: array.size] = array
    return larger


@compiled
def grown_integers(array):
    """Return the array's contents at the start of one twice as long."""
    larger = np.empty(2 * array.size, np.int64)
    larger[: array.size] = array
    return larger


@compiled
def stable_order(times, n):
    """Return the permutation that sorts times[:n] and keeps the order of equal ones: a merge sort over runs of 8."""
    order = np.arange(n)
    for low in range(0, n, 8):
        for j in range(low + 1, min(low + 8, n)):
            item = order[j]
            key = times[item]
            k = j - 1
            while k >= low and times[order[k]] > key:
                order[k + 1] = order[k]
                k -= 1
            order[k + 1] = item
    other = np.empty(n, np.int64)
    width = 8
    while width < n:
        for low in range(0, n, 2 * width):
            middle = min(low + width, n)
            high = min(low + 2 * width, n)
            a, b = low, middle
            for k in range(low, high):
                if a < middle and (b >= high or times[order[a]] <= times[order[b]]):
                    other[k] = order[a]
                    a += 1
                else:
                    other[k] = order[b]
                    b += 1
        order, other = other, order
        width *= 2
    return order


@compiled
def time_neuron_order(times, neurons):
    """Return the permutation that sorts by time, then neuron."""
    order = stable_order(times, times.size)
    for a in range(1, order.size):
        b = a
        while b > 0 and times[order[b - 1]] == times[order[b]] and neurons[order[b - 1]] > neurons[order[b]]:
            order[b - 1], order[b] = order[b], order[b - 1]
            b -= 1
    return order


@compiled
def group_by(keys, low, high, n_keys):
    """Return (offsets, places): places low..high-1 by key, those of key k at offsets[k] to offsets[k + 1]."""
    offsets = np.zeros(n_keys + 1, np.int64)
    for k in range(low, high):
        offsets[keys[k] + 1] += 1
    for key in range(n_keys):
        offsets[key + 1] += offsets[key]
    places = np.empty(high - low, np.int64)
    fill = offsets.copy()
    for k in range(low, high):
        places[fill[keys[k]]] = k
        fill[keys[k]] += 1
    return offsets, places


@compiled
def schedule_of(neuron, neurons, afferents, spike_times, by_source, places, t_end):
    """Return the Schedule of a neuron, which is that of its whole cohort, in the sample whose spikes are grouped."""
    row_offsets, sources, _, delays = afferents
    first, last = row_offsets[neuron], row_offsets[neuron + 1]
    n = 0
    for synapse in range(first, last):
        source = sources[synapse]
        n += by_source[source + 1] - by_source[source]
    times = np.empty(n)
    slots = np.empty(n, np.int64)
    causes = np.empty(n, np.int64)
    n = 0
    ordered = True
    for synapse in range(first, last):
        source = sources[synapse]
        delay = delays[synapse]
        for k in range(by_source[source], by_source[source + 1]):
            t = spike_times[places[k]] + delay
            if t <= t_end:
                times[n] = t
                slots[n] = synapse - first
                causes[n] = places[k]
                if n > 0 and t < times[n - 1]:
                    ordered = False
                n += 1
    times, slots, causes = times[:n], slots[:n], causes[:n]
    if not ordered:
        order = stable_order(times, n)
        times, slots, causes = times[order], slots[order], causes[order]
    decay_mem = np.empty(n + 1)
    decay_syn = np.empty(n + 1)
    response = np.empty(n + 1)
    fill_propagators(
        times, t_end, neurons.tau_mem[neuron], neurons.tau_syn[neuron], decay_mem, decay_syn, response
    )
    return Schedule(times, slots, causes, decay_mem, decay_syn, response)


@compiled
def fill_propagators(times, t_end, tau_mem, tau_syn, decay_mem, decay_syn, response):
    """Fill in the propagators of the gap before each time, and of the last one up to t_end."""
    t = 0.0
    for j in range(times.size + 1):
        t_next = times[j] if j < times.size else t_end
        decay_mem[j], decay_syn[j], response[j] = propagator(t_next - t, tau_mem, tau_syn)
        t = t_next


@compiled
def march_cohort(
    neurons,
    members,
    weights,
    first_weight,
    schedule,
    t_end,
    times,
    senders,
    arrivals,
    n_out,
    doubt_times,
    doubt_senders,
    n_doubts,
):
    """Write the cohort's spikes behind the first n_out, and its undecided peaks behind the first n_doubts.

    Returns the new counts; n_out is -1 if there was no room, and the cohort has to be marched again with more.

    Between two arrivals all members take one vectorised step without branches, which also decides for whom there is
    anything to look for; only those few are looked at one by one. One call serves a cohort because arrays are taken out
    of their tuples here, once: in a loop that would count references, atomically, at more cost than the mathematics.
    """
    tau_mems, tau_syns, v_thresholds, v_resets, v_leaks, t_refs = neurons
    arrival_times, slots, _, decay_mem, decay_syn, response = schedule
    n_arrivals = arrival_times.size
    n = members.size
    tau_mem, tau_syn = tau_mems[members[0]], tau_syns[members[0]]
    c = np.empty(n)
    u = np.empty(n)
    i = np.zeros(n)
    u_next = np.empty(n)
    i_next = np.empty(n)
    free_at = np.zeros(n)
    watched = np.empty(n, np.bool_)
    lookout = np.empty(n, np.int64)
    for m in range(n):
        c[m] = v_thresholds[members[m]] - v_leaks[members[m]]
        u[m] = -v_leaks[members[m]]
    t_now = 0.0
    for j in range(n_arrivals + 1):
        t_next = arrival_times[j] if j < n_arrivals else t_end
        ea_whole, eb_whole, k_whole = decay_mem[j], decay_syn[j], response[j]
        for m in range(n):
            u_new = u[m] * ea_whole + i[m] * k_whole
            i_new = i[m] * eb_whole
            above = ((i[m] > c[m]) | (i_new > c[m])) & (
                (u_new >= c[m]) | peak_possible(u[m], i[m], c[m], ea_whole, u_new, i_new)
            )
            watched[m] = above | (free_at[m] > t_now)
            u_next[m] = u_new
            i_next[m] = i_new
        n_watched = 0
        for m in range(n):
            lookout[n_watched] = m
            n_watched += watched[m]
        for w in range(n_watched):
            m = lookout[w]
            t = t_now
            ea, eb, k = ea_whole, eb_whole, k_whole
            while True:
                if free_at[m] > t:
                    if free_at[m] >= t_next:
                        i[m] *= eb
                        break
                    i[m] *= math.exp(-(free_at[m] - t) / tau_syn)
                    t = free_at[m]
                    ea, eb, k = propagator(t_next - t, tau_mem, tau_syn)
                u_new = u[m] * ea + i[m] * k
                i_new = i[m] * eb
                if n_out == times.size or n_doubts == doubt_times.size:
                    return -1, -1
                s, grazing = first_crossing(u[m], i[m], c[m], t_next - t, ea, u_new, i_new, tau_mem, tau_syn)
                if grazing:
                    doubt_times[n_doubts] = t + min(extremum(u[m], i[m], tau_mem, tau_syn), t_next - t)
                    doubt_senders[n_doubts] = members[m]
                    n_doubts += 1
                if s == math.inf:
                    u[m], i[m] = u_new, i_new
                    break
                t_spike = min(t + s, t_next)
                times[n_out] = t_spike
                senders[n_out] = members[m]
                arrivals[n_out] = j
                n_out += 1
                i[m] *= math.exp(-(t_spike - t) / tau_syn)
                u[m] = v_resets[members[m]] - v_leaks[members[m]]
                t = t_spike
                free_at[m] = t + t_refs[members[m]]
                ea, eb, k = propagator(t_next - t, tau_mem, tau_syn)
            u_next[m], i_next[m] = u[m], i[m]
        u, u_next = u_next, u
        i, i_next = i_next, i
        t_now = t_next
        if j < n_arrivals:
            row = first_weight + slots[j] * n
            for m in range(n):
                i[m] += weights[row + m]
    return n_out, n_doubts


@compiled
def march(neurons, afferents, cohorts, n_sources, spikes, t_end):
    """Return the population's Spikes in (0, t_end], and where float64 could not decide: (sample, neuron, time) columns.

    ``spikes`` are those of all sources, whose neurons are numbered through. Times come from event times alone: a spike
    at t_event + s, with s from :func:`eventsolve.crossing.first_crossing`.
    """
    n_samples = spikes.offsets.size - 1
    times = np.empty(64 * n_samples + 64)
    senders = np.empty(64 * n_samples + 64, np.int64)
    arrivals = np.empty(64 * n_samples + 64, np.int64)
    offsets = np.zeros(n_samples + 1, np.int64)
    doubt_times = np.empty(16)
    doubt_senders = np.empty(16, np.int64)
    doubt_samples = np.empty(16, np.int64)
    n_out = 0
    n_doubts = 0
    for sample in range(n_samples):
        begin = n_out
        by_source, places = group_by(
            spikes.neurons, spikes.offsets[sample], spikes.offsets[sample + 1], n_sources
        )
        for cohort in range(cohorts.offsets.size - 1):
            first, last = cohorts.offsets[cohort], cohorts.offsets[cohort + 1]
            schedule = schedule_of(
                cohorts.members[first], neurons, afferents, spikes.times, by_source, places, t_end
            )
            while True:
                n_new, n_new_doubts = march_cohort(
                    neurons,
                    cohorts.members[first:last],
                    cohorts.weights,
                    cohorts.weight_offsets[cohort],
                    schedule,
                    t_end,
                    times,
                    senders,
                    arrivals,
                    n_out,
                    doubt_times,
                    doubt_senders,
                    n_doubts,
                )
                if n_new >= 0:
                    break
                times, senders, arrivals = (
                    grown_reals(times),
                    grown_integers(senders),
                    grown_integers(arrivals),
                )
                doubt_times = grown_reals(doubt_times)
                doubt_senders, doubt_samples = grown_integers(doubt_senders), grown_integers(doubt_samples)
            doubt_samples[n_doubts:n_new_doubts] = sample
            n_out, n_doubts = n_new, n_new_doubts
        order = time_neuron_order(times[begin:n_out], senders[begin:n_out])
        times[begin:n_out] = times[begin:n_out][order]
        senders[begin:n_out] = senders[begin:n_out][order]
        arrivals[begin:n_out] = arrivals[begin:n_out][order]
        offsets[sample + 1] = n_out
    found = Spikes(times[:n_out].copy(), senders[:n_out].copy(), offsets, arrivals[:n_out].copy())
    return (
        found,
        doubt_samples[:n_doubts].copy(),
        doubt_senders[:n_doubts].copy(),
        doubt_times[:n_doubts].copy(),
    )


@compiled
def replay(
    neuron,
    neurons,
    weights,
    first_synapse,
    schedule,
    n_arrivals,
    own,
    own_places,
    first_own,
    n_own,
    probes,
    probe_places,
    first_probe,
    n_probes,
    t_end,
    states,
    events,
):
    """Write the life of a neuron whose spikes are known into ``states`` and ``events``; return the number of segments.

    The life ends at t_end, after the first n_arrivals of the schedule. There has to be room for
    n_arrivals + 2 n_own + n_probes + 1. The states are bit for bit those of :func:`march`. Probes are for readouts,
    which do not spike.
    """
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    v_leak = neurons.v_leak[neuron]
    u_reset = neurons.v_reset[neuron] - v_leak
    t_ref = neurons.t_ref[neuron]
    arrival_times, slots, _, decay_mem, decay_syn, response = schedule
    own_times, own_arrivals = own.times, own.arrivals
    probe_times, probe_arrival = probes.times, probes.arrival
    n = 0
    n_spiked = 0
    n_read = 0
    t = 0.0
    u = -v_leak
    i = 0.0
    free_at = 0.0
    for j in range(n_arrivals + 1):
        t_next = arrival_times[j] if j < n_arrivals else t_end
        whole = True
        while True:
            held = free_at > t
            stop, ending, which = t_next, ARRIVAL if j < n_arrivals else END, j
            if held:
                if free_at < t_next:
                    stop, ending = free_at, RELEASE
            elif n_spiked < n_own and own_arrivals[own_places[first_own + n_spiked]] == j:
                which = own_places[first_own + n_spiked]
                stop, ending = own_times[which], SPIKE
            elif n_read < n_probes:
                probe = probe_places[first_probe + n_read]
                if probe_arrival[probe] == j or (probe_arrival[probe] < 0 and probe_times[probe] <= t_next):
                    stop, ending, which = probe_times[probe], PROBE, probe
            h = stop - t
            if whole and ending <= END:
                ea, eb, k = decay_mem[j], decay_syn[j], response[j]
            else:
                ea, eb, k = propagator(h, tau_mem, tau_syn)
            states[n, START] = t
            states[n, DURATION] = h
            states[n, VOLTAGE] = u
            states[n, CURRENT] = i
            states[n, DECAY_MEM] = ea
            states[n, DECAY_SYN] = eb
            states[n, RESPONSE] = k
            events[n, HELD] = held
            events[n, ENDING] = ending
            events[n, WHICH] = which
            n += 1
            if not held:
                u = u * ea + i * k
            i *= eb
            t = stop
            whole = False
            if ending <= END:
                break
            if ending == SPIKE:
                u = u_reset
                free_at = t + t_ref
                n_spiked += 1
            elif ending == PROBE:
                n_read += 1
        if j < n_arrivals:
            i += weights[first_synapse + slots[j]]
    return n


@compiled
def no_probes(n_samples):
    """Return empty Probes."""
    nowhere = np.empty(0, np.int64)
    return Probes(np.empty(0), nowhere, np.zeros(n_samples + 1, np.int64), nowhere, np.empty(0))


@compiled
def sample_states(neurons, afferents, cohorts, n_sources, spikes, own, t_end, times):
    """Return voltage and current at sorted times, each (n_samples, n, n_times); after an event that falls there."""
    n_samples = spikes.offsets.size - 1
    n = neurons.tau_mem.size
    voltage = np.empty((n_samples, n, times.size))
    current = np.empty((n_samples, n, times.size))
    unread = no_probes(n_samples)
    states, events = np.empty((64, 7)), np.empty((64, 3), np.int64)
    for sample in range(n_samples):
        by_source, places = group_by(
            spikes.neurons, spikes.offsets[sample], spikes.offsets[sample + 1], n_sources
        )
        by_neuron, own_places = group_by(own.neurons, own.offsets[sample], own.offsets[sample + 1], n)
        for cohort in range(cohorts.offsets.size - 1):
            representative = cohorts.members[cohorts.offsets[cohort]]
            schedule = schedule_of(representative, neurons, afferents, spikes.times, by_source, places, t_end)
            tau_mem, tau_syn = neurons.tau_mem[representative], neurons.tau_syn[representative]
            for member in range(cohorts.offsets[cohort], cohorts.offsets[cohort + 1]):
                neuron = cohorts.members[member]
                n_own = by_neuron[neuron + 1] - by_neuron[neuron]
                room = schedule.times.size + 2 * n_own + 1
                if room > states.shape[0]:
                    states, events = np.empty((2 * room, 7)), np.empty((2 * room, 3), np.int64)
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents.weight,
                    afferents.offsets[neuron],
                    schedule,
                    schedule.times.size,
                    own,
                    own_places,
                    by_neuron[neuron],
                    n_own,
                    unread,
                    own_places,
                    0,
                    0,
                    t_end,
                    states,
                    events,
                )
                segment = 0
                for q in range(times.size):
                    while segment + 1 < n_segments and states[segment + 1, START] <= times[q]:
                        segment += 1
                    u, i = states[segment, VOLTAGE], states[segment, CURRENT]
                    ea, eb, k = propagator(times[q] - states[segment, START], tau_mem, tau_syn)
                    if not events[segment, HELD]:
                        u = u * ea + i * k
                    voltage[sample, neuron, q] = neurons.v_leak[neuron] + u
                    current[sample, neuron, q] = i * eb
    return voltage, current


@compiled
def maxima(neurons, afferents, cohorts, n_sources, spikes, t_end):
    """Return each readout's largest voltage in [0, t_end], when it is first reached, and the arrival that it rides on.

    Each (n_samples, n). The arrival is -1 for a maximum in the interior of an interval or at an end of the trial; at a
    kink (the voltage rises up to an arrival and falls after it) it is the first arrival at that time, of the neuron's
    schedule: the place of such a maximum moves with it.
    """
    n_samples = spikes.offsets.size - 1
    n = neurons.tau_mem.size
    value = np.empty((n_samples, n))
    time = np.zeros((n_samples, n))
    arrival = np.full((n_samples, n), -1)
    unread = no_probes(n_samples)
    silence = Spikes(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    states, events = np.empty((64, 7)), np.empty((64, 3), np.int64)
    for sample in range(n_samples):
        by_source, places = group_by(
            spikes.neurons, spikes.offsets[sample], spikes.offsets[sample + 1], n_sources
        )
        for cohort in range(cohorts.offsets.size - 1):
            representative = cohorts.members[cohorts.offsets[cohort]]
            schedule = schedule_of(representative, neurons, afferents, spikes.times, by_source, places, t_end)
            tau_mem, tau_syn = neurons.tau_mem[representative], neurons.tau_syn[representative]
            if schedule.times.size + 1 > states.shape[0]:
                room = 2 * (schedule.times.size + 1)
                states, events = np.empty((room, 7)), np.empty((room, 3), np.int64)
            for member in range(cohorts.offsets[cohort], cohorts.offsets[cohort + 1]):
                neuron = cohorts.members[member]
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents.weight,
                    afferents.offsets[neuron],
                    schedule,
                    schedule.times.size,
                    silence,
                    places,
                    0,
                    0,
                    unread,
                    places,
                    0,
                    0,
                    t_end,
                    states,
                    events,
                )
                best = states[0, VOLTAGE]
                for g in range(n_segments):
                    u, i, h = states[g, VOLTAGE], states[g, CURRENT], states[g, DURATION]
                    u_end = u * states[g, DECAY_MEM] + i * states[g, RESPONSE]
                    i_end = i * states[g, DECAY_SYN]
                    if i > u and i_end < u_end:
                        s = min(extremum(u, i, tau_mem, tau_syn), h)
                        ea, _, k = propagator(s, tau_mem, tau_syn)
                        peak = u * ea + i * k
                        if peak > best:
                            best = peak
                            time[sample, neuron] = states[g, START] + s
                            arrival[sample, neuron] = -1
                    elif u_end > best:
                        best = u_end
                        time[sample, neuron] = states[g, START] + h
                        arrival[sample, neuron] = events[g, WHICH] if events[g, ENDING] == ARRIVAL else -1
                value[sample, neuron] = neurons.v_leak[neuron] + best
    return value, time, arrival
