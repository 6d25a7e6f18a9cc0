"""Kernels: one population driven by finished spike trains (compiled).

Neurons with the same time constants that hear the same sources after the same delays form a cohort: they share their
schedule of arrivals and the exponentials between arrivals, which are computed once for all of them. A neuron unlike
all others is a cohort of one.

Order of events, total for one neuron: by time; at one time its own crossing comes before the arrival that ends the
interval in which it was found, and arrivals come by the spike that causes them (in the order in which the spikes of all
sources are listed), then by synapse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.compiled import compiled
from eventsolve.crossing import SMALLEST_DECAY, crossing_time, peak_possible, turn_time, undecided_band
from eventsolve.membrane import propagator

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


class Neurons(NamedTuple):
    """Parameters of a layer's neurons, each (n,); v_threshold is inf for a readout, reset is 1.0 to subtract."""

    tau_mem: Reals
    tau_syn: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals
    t_ref: Reals
    v_initial: Reals
    i_initial: Reals
    subtracts: Reals


class Afferents(NamedTuple):
    """Synapses by target neuron: those of neuron i are offsets[i] to offsets[i + 1]; delta is whether one adds to V."""

    offsets: Integers
    source: Integers
    weight: Reals
    delay: Reals
    delta: Booleans


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
    """Spikes of a chunk of samples: those of sample s are offsets[s] to offsets[s + 1], in order of occurrence.

    ``arrivals`` counts the arrivals that the neuron had received when it spiked (of its own schedule); it is
    what orders a spike and an arrival at the same time. Inputs have none. ``trigger`` says which delivery, over a delta
    synapse, made it spike, as :func:`eventsolve.recurrent.run` numbers them; -1 for a crossing.
    """

    times: Reals
    neurons: Integers
    offsets: Integers
    arrivals: Integers
    trigger: Integers


class States(NamedTuple):
    """Every neuron's state after its last event, each (n_samples, n): when, u = V - v_leak, i, until when V is held."""

    time: Reals
    u: Reals
    i: Reals
    free_at: Reals


ROOM, BUDGET, TWICE = 1, 2, 3
"""Why a run ended early: no room in the arrays, more spikes than allowed, a neuron that would spike twice at once."""


class Probes(NamedTuple):
    """Places in a readout's voltage at which a loss reads it, by sample, then neuron, then time.

    ``arrival`` is the arrival (of the neuron's schedule) with which the place moves, just before it; -2 - arrival for a
    place just after it, or -1 for one that is fixed in time or at an interior maximum, where moving it changes nothing.
    """

    times: Reals
    neurons: Integers
    offsets: Integers
    arrival: Integers
    cotangents: Reals


class Schedule(NamedTuple):
    """Arrivals of one cohort in one sample, in order, and the propagators of the gaps before each and up to t_end.

    The first gap begins at ``begin``.
    """

    begin: float
    times: Reals
    slots: Integers
    spikes: Integers
    decay_mem: Reals
    decay_syn: Reals
    response: Reals


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
def order_by_time(times, keys):
    """Return the permutation that sorts by time, then key, and keeps the order of what is equal in both."""
    order = stable_order(times, times.size)
    for a in range(1, order.size):
        b = a
        while b > 0 and times[order[b - 1]] == times[order[b]] and keys[order[b - 1]] > keys[order[b]]:
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
def schedule_of(neuron, neurons, afferents, spike_times, by_source, places, t_start, after, t_end):
    """Return the Schedule of a neuron, which is that of its whole cohort, in the sample whose spikes are grouped.

    It holds the arrivals in (after, t_end]; the first gap begins at t_start.
    """
    row_offsets, sources, _, delays, _ = afferents
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
            if after < t <= t_end:
                times[n] = t
                slots[n] = synapse - first
                causes[n] = places[k]
                if n > 0 and (t < times[n - 1] or (t == times[n - 1] and causes[n] < causes[n - 1])):
                    ordered = False
                n += 1
    times, slots, causes = times[:n], slots[:n], causes[:n]
    if not ordered:
        order = order_by_time(times, causes)
        times, slots, causes = times[order], slots[order], causes[order]
    decay_mem = np.empty(n + 1)
    decay_syn = np.empty(n + 1)
    response = np.empty(n + 1)
    fill_propagators(
        times,
        t_start,
        t_end,
        neurons.tau_mem[neuron],
        neurons.tau_syn[neuron],
        decay_mem,
        decay_syn,
        response,
    )
    return Schedule(t_start, times, slots, causes, decay_mem, decay_syn, response)


@compiled
def fill_propagators(times, t_start, t_end, tau_mem, tau_syn, decay_mem, decay_syn, response):
    """Fill in the propagators of the gap before each time, the first from t_start, and of the last one up to t_end."""
    t = t_start
    for j in range(times.size + 1):
        t_next = times[j] if j < times.size else t_end
        decay_mem[j], decay_syn[j], response[j] = propagator(t_next - t, tau_mem, tau_syn)
        t = t_next


@compiled
def advance_together(u, i, c, to_u, to_i, first, n, weights, low, ea, eb, k, flags, words, found):
    """Advance n neurons from ``first`` on, add the weights from ``low`` on that arrive then, and find who may cross.

    Returns the number of neurons ``found``; all others provably do not cross: see :mod:`eventsolve.crossing`. ``words``
    are the bytes of ``flags`` by eight.
    """
    silence = ea < SMALLEST_DECAY
    for m in range(n):
        j = np.uint64(first) + np.uint64(
            m
        )  # unsigned: no index counts from the end, so that the loop is vectorised
        u_0, i_0, c_0 = u[j], i[j], c[j]
        u_h = u_0 * ea + i_0 * k
        i_h = i_0 * eb
        level = c_0 - undecided_band(u_0, i_0, c_0)
        late = u_h - i_h
        early = (i_0 - u_0) * ea
        peak = (late > 0.0) & (late * i_0 + early * i_h >= level * (late + early))
        flags[m] = (u_h >= level) | ((i_0 > u_0) & (peak | silence))
        to_u[j] = u_h
        to_i[j] = i_h + weights[np.uint64(low) + np.uint64(m)]
    count = 0
    for w in range((n + 7) >> 3):
        if words[w] != 0:
            for m in range(8 * w, min(8 * w + 8, n)):
                if flags[m]:
                    found[count] = first + m
                    count += 1
    return count


@compiled
def march_cohort(
    neurons,
    members,
    weights,
    first_weight,
    schedule,
    start_times,
    us,
    currents,
    free_ats,
    t_end,
    max_out,
    times,
    senders,
    arrivals,
    n_out,
    doubt_times,
    doubt_senders,
    n_doubts,
):
    """Write the cohort's spikes behind the first n_out, and its undecided peaks behind the first n_doubts.

    Returns (status, neuron, time, n_out, n_doubts): 0 or why it ended early, where and when, and the new counts. If
    there was no room, the cohort has to be marched again with more; there may be max_out spikes at most. The sample's
    states (start_times, us, currents, free_ats), each (n,), are replaced by those after the last events.

    Between two arrivals all members advance together, and only the few that may cross are looked at one by one. One
    call serves a cohort because arrays are taken out of their tuples here, once: in a loop that would count references,
    atomically, at more cost than the mathematics.
    """
    v_thresholds, v_resets, v_leaks, t_refs = (
        neurons.v_threshold,
        neurons.v_reset,
        neurons.v_leak,
        neurons.t_ref,
    )
    _, arrival_times, slots, _, decay_mem, decay_syn, response = schedule
    n_arrivals = arrival_times.size
    n = members.size
    tau_mem, tau_syn = neurons.tau_mem[members[0]], neurons.tau_syn[members[0]]
    c = np.empty(n)
    u = np.empty(n)
    i = np.empty(n)
    u_next = np.empty(n)
    i_next = np.empty(n)
    t_last = np.empty(n)
    free_at = np.empty(n)
    flags = np.zeros(8 * ((n + 7) // 8), np.uint8)
    words = flags.view(np.uint64)
    lookout = np.empty(n, np.int64)
    no_weights = np.zeros(n)
    held_until = -np.inf
    last_spike = np.full(n, -np.inf)
    for m in range(n):
        member = members[m]
        c[m] = v_thresholds[member] - v_leaks[member]
        t_last[m], u[m], i[m], free_at[m] = (
            start_times[member],
            us[member],
            currents[member],
            free_ats[member],
        )
    t_now = t_last[0]
    apart = False
    for m in range(n):
        apart |= t_last[m] != t_now
        held_until = max(held_until, free_at[m])
    n_watched = 0
    for j in range(n_arrivals + 1):
        ends = j == n_arrivals
        t_next = t_end if ends else arrival_times[j]
        ea_whole, eb_whole, k_whole = decay_mem[j], decay_syn[j], response[j]
        row = 0 if ends else first_weight + slots[j] * n
        arriving = no_weights if ends else weights
        n_watched = advance_together(
            u, i, c, u_next, i_next, 0, n, arriving, row, ea_whole, eb_whole, k_whole, flags, words, lookout
        )
        if apart or held_until > t_now:
            n_watched = 0
            for m in range(n):
                if apart or flags[m] or free_at[m] > t_now:
                    lookout[n_watched] = m
                    n_watched += 1
        for w in range(n_watched):
            m = lookout[w]
            t = t_last[m] if apart else t_now
            ea, eb, k = ea_whole, eb_whole, k_whole
            if apart:
                ea, eb, k = propagator(t_next - t, tau_mem, tau_syn)
            while True:
                if free_at[m] > t:
                    if free_at[m] >= t_next:
                        if not ends:
                            i[m] *= eb
                        break
                    i[m] *= math.exp(-(free_at[m] - t) / tau_syn)
                    t = free_at[m]
                    ea, eb, k = propagator(t_next - t, tau_mem, tau_syn)
                u_new = u[m] * ea + i[m] * k
                i_new = i[m] * eb
                s = math.inf
                if max(i[m], i_new) > c[m] and (
                    u_new >= c[m] - undecided_band(u[m], i[m], c[m])
                    or peak_possible(u[m], i[m], c[m], ea, u_new, i_new)
                ):
                    if n_out == times.size or n_doubts == doubt_times.size:
                        return ROOM, -1, t, n_out, n_doubts
                    s, grazing = crossing_time(u[m], i[m], c[m], tau_mem, tau_syn)
                    if grazing:
                        peak = t + turn_time(u[m], i[m], c[m], tau_mem, tau_syn)
                        if peak <= t_next:
                            doubt_times[n_doubts] = peak
                            doubt_senders[n_doubts] = members[m]
                            n_doubts += 1
                # an arrival does not come before a spike that is there already, be it by rounding
                if not (t + s <= t_next or (u_new >= c[m] and not ends)):
                    if not ends:
                        u[m], i[m] = u_new, i_new
                    break
                t_spike = min(t + s, t_next)
                if t_spike == last_spike[m]:
                    return TWICE, members[m], t_spike, n_out, n_doubts
                if n_out == max_out:
                    return BUDGET, members[m], t_spike, n_out, n_doubts
                last_spike[m] = t_spike
                times[n_out] = t_spike
                senders[n_out] = members[m]
                arrivals[n_out] = j
                n_out += 1
                i[m] *= math.exp(-(t_spike - t) / tau_syn)
                u[m] = v_resets[members[m]] - v_leaks[members[m]]
                t = t_spike
                free_at[m] = t + t_refs[members[m]]
                held_until = max(held_until, free_at[m])
                ea, eb, k = propagator(t_next - t, tau_mem, tau_syn)
            u_next[m], i_next[m] = u[m], i[m] + arriving[row + m]
            t_last[m] = t
        if ends:
            break
        u, u_next = u_next, u
        i, i_next = i_next, i
        t_now = t_next
        apart = False
    for m in range(n):
        start_times[members[m]] = t_now
        us[members[m]], currents[members[m]], free_ats[members[m]] = u[m], i[m], free_at[m]
    for w in range(n_watched):
        start_times[members[lookout[w]]] = t_last[lookout[w]]
    return 0, -1, t_end, n_out, n_doubts


@compiled
def march(neurons, afferents, cohorts, n_sources, spikes, start, after, t_end, max_spikes):
    """Solve a layer that is driven by finished spike trains over exponential synapses.

    ``spikes`` are those of all sources, whose neurons are numbered through; ``start`` are the States to begin with, and
    arrivals in (after, t_end] are taken. Times come from event times alone: a spike at t_event + s, with s from
    :func:`eventsolve.crossing.crossing_time`.

    Returns (status, sample, neuron, time), where and why it stopped before t_end, for instance at more than max_spikes
    in a sample; the layer's Spikes; its States after their last events; and (sample, neuron, time) columns of where
    float64 could not decide.
    """
    n_samples = spikes.offsets.size - 1
    times = np.empty(64 * n_samples + 64)
    senders = np.empty(64 * n_samples + 64, np.int64)
    arrivals = np.empty(64 * n_samples + 64, np.int64)
    offsets = np.zeros(n_samples + 1, np.int64)
    doubt_times = np.empty(16)
    doubt_senders = np.empty(16, np.int64)
    doubt_samples = np.empty(16, np.int64)
    state_times, us, currents, free_ats = (
        start.time.copy(),
        start.u.copy(),
        start.i.copy(),
        start.free_at.copy(),
    )
    n_out = 0
    n_doubts = 0
    ended = (0, -1, -1, t_end)
    for sample in range(n_samples):
        begin = n_out
        by_source, places = group_by(
            spikes.neurons, spikes.offsets[sample], spikes.offsets[sample + 1], n_sources
        )
        for cohort in range(cohorts.offsets.size - 1):
            first, last = cohorts.offsets[cohort], cohorts.offsets[cohort + 1]
            t_first = state_times[sample, cohorts.members[first]]
            schedule = schedule_of(
                cohorts.members[first],
                neurons,
                afferents,
                spikes.times,
                by_source,
                places,
                t_first,
                after,
                t_end,
            )
            while True:
                status, where, when, n_new, n_new_doubts = march_cohort(
                    neurons,
                    cohorts.members[first:last],
                    cohorts.weights,
                    cohorts.weight_offsets[cohort],
                    schedule,
                    state_times[sample],
                    us[sample],
                    currents[sample],
                    free_ats[sample],
                    t_end,
                    begin + max_spikes,
                    times,
                    senders,
                    arrivals,
                    n_out,
                    doubt_times,
                    doubt_senders,
                    n_doubts,
                )
                if status != ROOM:
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
            if status != 0 and (ended[0] == 0 or when < ended[3]):
                ended = (status, sample, where, when)
        order = order_by_time(times[begin:n_out], senders[begin:n_out])
        times[begin:n_out] = times[begin:n_out][order]
        senders[begin:n_out] = senders[begin:n_out][order]
        arrivals[begin:n_out] = arrivals[begin:n_out][order]
        offsets[sample + 1 :] = n_out
        if ended[0] != 0:
            break
    found = Spikes(
        times[:n_out].copy(),
        senders[:n_out].copy(),
        offsets,
        arrivals[:n_out].copy(),
        np.full(n_out, -1),
    )
    return (
        ended,
        found,
        States(state_times, us, currents, free_ats),
        doubt_samples[:n_doubts].copy(),
        doubt_senders[:n_doubts].copy(),
        doubt_times[:n_doubts].copy(),
    )
