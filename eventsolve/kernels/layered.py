"""Kernels: one population driven by finished spike trains (compiled).

Neurons with the same time constants that hear the same sources after the same delays form a group: they share their
schedule of arrivals and the exponentials between arrivals, which are computed once for all of them. A neuron unlike
all others is a group of one.

Order of events, total for one neuron: by time; at one time its own crossing comes before the arrival that ends the
interval in which it was found, and arrivals come by the spike that causes them (in the order in which the spikes of all
sources are listed), then by synapse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import RUN, group_by, schedules_of, sort_by_time
from eventsolve.kernels.crossing import crossing_possible, crossing_times, turn_time
from eventsolve.kernels.elementary import decay
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.tables import (
    BUDGET,
    BUFFER_FULL,
    REPEATED_SPIKE,
    Booleans,
    Integers,
    Reals,
    Spikes,
    States,
)
from eventsolve.kernels.times import later


class Log(NamedTuple):
    """Spikes, or peaks that float64 cannot place, as they are found; ``n_entries[0]`` is how many there are."""

    times: Reals
    neurons: Integers
    samples: Integers
    arrivals: Integers
    n_entries: Integers


@compiled
def new_log(room):
    """Return an empty Log."""
    return Log(
        np.empty(room),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.zeros(1, np.int64),
    )


@compiled
def grown(log):
    """Return a Log with the same entries and twice the room."""
    times, neurons, samples, arrivals, n_entries = log
    larger = new_log(2 * times.size)
    new_times, new_neurons, new_samples, new_arrivals, new_n_entries = larger
    for k in range(n_entries[0]):  # and not by slices, whose errors numba takes a second to compile
        new_times[k], new_neurons[k] = times[k], neurons[k]
        new_samples[k], new_arrivals[k] = samples[k], arrivals[k]
    new_n_entries[0] = n_entries[0]
    return larger


VOLTAGE, CURRENT, LEVEL, TIME, T_NEXT, U_NEXT, I_NEXT = range(7)
FREE_AT, FREE_LOW, DECAY_MEM, DECAY_SYN, RESPONSE, LAST_SPIKE = range(7, 13)
"""Rows of the lanes: state, threshold and time at the start of a gap; its end and the state there; until when V is
held, and what that leaves of the exact sum; the gap's propagator; the last spike."""
ALONE_U, ALONE_I, ALONE_C, ALONE_T, ALONE_SPIKE, ALONE_FREE, ALONE_END, ALONE_U_NEW, ALONE_I_NEW = range(9)
"""Rows of individually advanced neurons: u from now on, i at a time, threshold; when it spiked, until when V is held,
the end of the gap, and the state there."""
SEEN_U, SEEN_I, SEEN_C, SEEN_T = range(4)
"""Rows of those that are looked at: state, threshold, time."""
STEP, ACTIVE, N_ALONE, N_SEEN, APART = range(5)
"""How far a block is: the gap, the samples not done yet, the individually advanced neurons in the
gap, those to be looked at; and whether neurons of one sample start at different times."""


class Lanes(NamedTuple):
    """Where a block of neurons is advanced: room for one lane for each neuron in each sample, and how far it is."""

    lanes: Reals
    individuals: Reals
    individual_lane: Integers
    seen: Reals
    seen_lane: Integers
    crossing: Reals
    grazing: Booleans
    room: Reals
    which: Integers
    flag: Booleans
    progress: Integers


@compiled
def new_lanes(n):
    """Return room for n lanes."""
    return Lanes(
        np.empty((13, n)),
        np.empty((9, n)),
        np.empty(n, np.int64),
        np.empty((4, n)),
        np.empty(n, np.int64),
        np.empty(n),
        np.empty(n, np.bool_),
        np.empty((6, n)),
        np.empty(n, np.int64),
        np.empty(n, np.bool_),
        np.zeros(5, np.int64),
    )


@without_refcount
def load_lanes(neurons, members, samples, start, room):
    """Put the states with which the samples start into the lanes."""
    start_times, start_u, start_i, start_free_at, start_free_low, _ = start
    v_thresholds, v_leaks = neurons.v_threshold, neurons.v_leak
    lanes, progress = room.lanes, room.progress
    n = members.size
    for p in range(samples.size):
        sample = samples[p]
        for m in range(n):
            lane, member = p * n + m, members[m]
            lanes[LEVEL, lane] = v_thresholds[member] - v_leaks[member]
            lanes[TIME, lane] = start_times[sample, member]
            lanes[FREE_AT, lane], lanes[FREE_LOW, lane] = (
                start_free_at[sample, member],
                start_free_low[sample, member],
            )
            lanes[VOLTAGE, lane], lanes[CURRENT, lane] = start_u[sample, member], start_i[sample, member]
            lanes[LAST_SPIKE, lane] = -math.inf
    progress[APART] = 0
    for p in range(samples.size):
        for lane in range(p * n + 1, p * n + n):
            progress[APART] |= lanes[TIME, lane] != lanes[TIME, lane - 1]
    progress[STEP], progress[ACTIVE], progress[N_ALONE], progress[N_SEEN] = 0, samples.size, 0, 0


@without_refcount
def forward_block(
    neurons, members, weights, first_weight, schedules, block, end, t_end, spikes_left, found, undecided, stop
):
    """Step a group of several samples forward through its schedules: the first gap of all, the first arrivals, ...

    A lane is a neuron in a sample; those still under way come first. Spikes are put behind those in ``found``, peaks
    that float64 cannot place behind those in ``undecided``, states after the last events into ``end``. ``spikes_left``,
    (n_samples,), is how many a sample may still have.

    Returns (status, sample, neuron, time): 0 or why it stopped, where and when. If that is for want of room, it goes on
    from there when called with more.

    In a gap all lanes take one vectorised step without branches, which also decides for which of them there is
    anything to look for; the crossings of those are sought together. Those that spike are advanced individually from
    then on, as are those that were held when the gap began: they go on from there to the end of the gap together,
    until none spikes any more.

    Who crosses is asked up to ``beyond``, the number after t_end: a crossing there may be rounded to t_end, and is then
    before the end, where else the piece that goes on from there would have it before its own start.

    Arrays are taken out of their tuples once: in a loop that would count references, atomically, at more cost than the
    mathematics.
    """
    samples, n_arrivals, firsts, first_gaps, arrival_times, slots, decay_mem, decay_syn, response = schedules
    lanes, individuals, individual_lane, seen, seen_lane, crossing, grazing, room, which, flag, progress = (
        block
    )
    times, senders, owners, arrivals, count = found
    undecided_times, undecided_senders, undecided_owners, _, undecided_count = undecided
    end_times, end_u, end_i, end_free_at, end_free_low, _ = end
    v_resets, v_leaks, t_refs = neurons.v_reset, neurons.v_leak, neurons.t_ref
    tau_mem, tau_syn = neurons.tau_mem[members[0]], neurons.tau_syn[members[0]]
    rate_syn = 1.0 / tau_syn
    n = members.size
    n_out, n_undecided = count[0], undecided_count[0]
    j, active, n_individuals, n_seen, apart = progress
    beyond = np.nextafter(t_end, math.inf)
    while active > 0 and stop[0] == 0:
        remaining = active  # those for whom this is not the last gap
        while remaining > 0 and n_arrivals[remaining - 1] == j:
            remaining -= 1
        begins = n_seen + n_individuals == 0
        n_lanes = active * n if begins else 0
        # everybody's step through the gap
        for p in range(active if begins else 0):
            gap = first_gaps[p] + j
            ea, eb, k = decay_mem[gap], decay_syn[gap], response[gap]
            t_next = arrival_times[firsts[p] + j] if p < remaining else beyond
            for lane in range(p * n, p * n + n):
                lanes[DECAY_MEM, lane], lanes[DECAY_SYN, lane], lanes[RESPONSE, lane] = ea, eb, k
                lanes[T_NEXT, lane] = t_next
        if j == 0 and apart:
            for lane in range(n_lanes):
                lanes[DECAY_MEM, lane], lanes[DECAY_SYN, lane], lanes[RESPONSE, lane] = propagator(
                    lanes[T_NEXT, lane] - lanes[TIME, lane], tau_mem, tau_syn
                )
        for lane in range(n_lanes):
            u, i = lanes[VOLTAGE, lane], lanes[CURRENT, lane]
            u_new = u * lanes[DECAY_MEM, lane] + i * lanes[RESPONSE, lane]
            i_new = i * lanes[DECAY_SYN, lane]
            lanes[U_NEXT, lane], lanes[I_NEXT, lane] = u_new, i_new
            flag[lane] = (lanes[FREE_AT, lane] > lanes[TIME, lane]) | crossing_possible(
                u, i, lanes[LEVEL, lane], lanes[DECAY_MEM, lane], u_new, i_new
            )
        n_watched = 0
        for lane in range(n_lanes):
            which[n_watched] = lane
            n_watched += flag[lane]
        for w in range(n_watched):
            lane = which[w]
            if lanes[FREE_AT, lane] > lanes[TIME, lane]:
                individuals[ALONE_U, n_individuals], individuals[ALONE_I, n_individuals] = (
                    lanes[VOLTAGE, lane],
                    lanes[CURRENT, lane],
                )
                individuals[ALONE_T, n_individuals], individuals[ALONE_SPIKE, n_individuals] = (
                    lanes[TIME, lane],
                    lanes[TIME, lane],
                )
                individual_lane[n_individuals] = lane
                n_individuals += 1
            else:
                seen[SEEN_U, n_seen], seen[SEEN_I, n_seen] = lanes[VOLTAGE, lane], lanes[CURRENT, lane]
                seen[SEEN_C, n_seen], seen[SEEN_T, n_seen] = lanes[LEVEL, lane], lanes[TIME, lane]
                seen_lane[n_seen] = lane
                n_seen += 1
        while n_seen + n_individuals > 0 and stop[0] == 0:
            if (
                n_out + n_seen + n_individuals > times.size
                or n_undecided + n_seen + n_individuals > undecided_times.size
            ):
                count[0], undecided_count[0] = n_out, n_undecided
                progress[STEP], progress[ACTIVE] = j, active
                progress[N_ALONE], progress[N_SEEN] = n_individuals, n_seen
                return BUFFER_FULL, -1, -1, t_end
            # individually advanced ones: their spike, the end of refractoriness, the end of the gap
            for w in range(n_individuals):
                lane = individual_lane[w]
                individuals[ALONE_C, w], individuals[ALONE_FREE, w] = lanes[LEVEL, lane], lanes[FREE_AT, lane]
                individuals[ALONE_END, w] = lanes[T_NEXT, lane]
            for w in range(n_individuals):
                t, t_spike, t_free = (
                    individuals[ALONE_T, w],
                    individuals[ALONE_SPIKE, w],
                    individuals[ALONE_FREE, w],
                )
                t_next, u, c = individuals[ALONE_END, w], individuals[ALONE_U, w], individuals[ALONE_C, w]
                i = individuals[ALONE_I, w] * decay((t_spike - t) * rate_syn)
                held = (t_free > t_spike) & (t_free >= t_next)
                free = t_free if t_free > t_spike else t_spike
                begin = t_next if held else free
                i_begin = i * decay((begin - t_spike) * rate_syn)
                ea, eb, k = propagator(t_next - begin, tau_mem, tau_syn)
                u_new = u * ea + i_begin * k
                i_new = i_begin * eb
                flag[w] = crossing_possible(u, i_begin, c, ea, u_new, i_new) & (not held)
                individuals[ALONE_U_NEW, w], individuals[ALONE_I_NEW, w] = u_new, i_new
                individuals[ALONE_I, w] = i if held else i_begin
                individuals[ALONE_T, w] = t_spike if held else begin
            for w in range(n_individuals):
                lane = individual_lane[w]
                if lane < remaining * n:
                    lanes[U_NEXT, lane], lanes[I_NEXT, lane] = (
                        individuals[ALONE_U_NEW, w],
                        individuals[ALONE_I_NEW, w],
                    )
                else:
                    lanes[VOLTAGE, lane], lanes[CURRENT, lane] = (
                        individuals[ALONE_U, w],
                        individuals[ALONE_I, w],
                    )
                    lanes[TIME, lane] = individuals[ALONE_T, w]
                seen[SEEN_U, n_seen], seen[SEEN_I, n_seen] = individuals[ALONE_U, w], individuals[ALONE_I, w]
                seen[SEEN_C, n_seen], seen[SEEN_T, n_seen] = individuals[ALONE_C, w], individuals[ALONE_T, w]
                seen_lane[n_seen] = lane
                n_seen += flag[w]
            crossing_times(n_seen, seen, tau_mem, tau_syn, crossing, grazing, room, which, flag)
            n_individuals = 0
            for w in range(n_seen):
                lane, t, s, c = seen_lane[w], seen[SEEN_T, w], crossing[w], seen[SEEN_C, w]
                p = lane // n
                sample, member = samples[p], members[lane - p * n]
                t_next = lanes[T_NEXT, lane] if p < remaining else t_end
                if grazing[w]:
                    peak = t + turn_time(seen[SEEN_U, w], seen[SEEN_I, w], c, tau_mem, tau_syn)
                    undecided_times[n_undecided], undecided_senders[n_undecided] = peak, member
                    undecided_owners[n_undecided] = sample
                    n_undecided += peak <= t_next
                # an arrival does not come before a spike that is there already, be it by rounding
                if not (t + s <= t_next or (p < remaining and lanes[U_NEXT, lane] >= c)):
                    continue
                t_spike = t + s if t + s < t_next else t_next
                if t_spike == lanes[LAST_SPIKE, lane]:
                    return REPEATED_SPIKE, sample, member, t_spike
                if spikes_left[sample] == 0:
                    return BUDGET, sample, member, t_spike
                spikes_left[sample] -= 1
                times[n_out], senders[n_out], owners[n_out], arrivals[n_out] = t_spike, member, sample, j
                n_out += 1
                lanes[LAST_SPIKE, lane] = t_spike
                lanes[FREE_AT, lane], lanes[FREE_LOW, lane] = later(t_spike, 0.0, t_refs[member])
                individuals[ALONE_U, n_individuals] = v_resets[member] - v_leaks[member]
                individuals[ALONE_I, n_individuals] = seen[SEEN_I, w]
                individuals[ALONE_T, n_individuals], individuals[ALONE_SPIKE, n_individuals] = t, t_spike
                individual_lane[n_individuals] = lane
                n_individuals += 1
            n_seen = 0
        # it ends with an arrival, or with the trial
        for p in range(remaining):
            t_next = arrival_times[firsts[p] + j]
            row = first_weight + slots[firsts[p] + j] * n
            for m in range(n):
                lane = p * n + m
                lanes[VOLTAGE, lane], lanes[CURRENT, lane] = (
                    lanes[U_NEXT, lane],
                    lanes[I_NEXT, lane] + weights[row + m],
                )
                lanes[TIME, lane] = t_next
        for p in range(remaining, active):
            sample = samples[p]
            for m in range(n):
                lane, member = p * n + m, members[m]
                end_times[sample, member] = lanes[TIME, lane]
                end_free_at[sample, member], end_free_low[sample, member] = (
                    lanes[FREE_AT, lane],
                    lanes[FREE_LOW, lane],
                )
                end_u[sample, member], end_i[sample, member] = lanes[VOLTAGE, lane], lanes[CURRENT, lane]
        active = remaining
        j += 1
    count[0], undecided_count[0] = n_out, n_undecided
    return 0, -1, -1, t_end


LANES = 512
"""How many neurons are advanced in step: enough to fill vectors, few enough to stay in the cache."""


@compiled
def forward(neurons, afferents, groups, n_sources, spikes, start, after, t_end, max_spikes, stop):
    """Solve a layer that is driven by finished spike trains over exponential synapses.

    ``spikes`` are those of all sources, whose neurons are numbered through; ``start`` are the States to begin with, and
    arrivals in (after, t_end] are taken. Times come from event times alone: a spike at t_event + s, with s from
    :func:`eventsolve.kernels.crossing.crossing_time`.

    Returns (status, sample, neuron, time), where and why it stopped before t_end, for instance at more than max_spikes
    in a sample; the layer's Spikes; its States after their last events; and (sample, neuron, time) columns of where
    float64 could not decide.
    """
    n_samples = spikes.offsets.size - 1
    found, undecided = new_log(64 * n_samples + 64), new_log(LANES)
    times = np.empty_like(start.time)
    end = States(
        times,
        np.empty_like(start.u),
        np.empty_like(start.i),
        np.empty_like(start.free_at),
        np.empty_like(start.free_low),
        times,
    )
    spikes_left = np.full(n_samples, max_spikes)
    ended = (0, -1, -1, t_end)
    for group in range(groups.offsets.size - 1):
        members = groups.members[groups.offsets[group] : groups.offsets[group + 1]]
        block = min(max(1, LANES // members.size), n_samples)
        lanes = new_lanes(block * members.size)
        for low in range(0, n_samples, block):
            if stop[0] != 0:
                break
            schedules = schedules_of(
                members[0],
                neurons,
                afferents,
                n_sources,
                spikes,
                low,
                min(low + block, n_samples),
                start.time,
                after,
                t_end,
            )
            load_lanes(neurons, members, schedules.samples, start, lanes)
            status = (BUFFER_FULL, -1, -1, t_end)
            while status[0] == BUFFER_FULL:
                status = forward_block(
                    neurons,
                    members,
                    groups.weights,
                    groups.weight_offsets[group],
                    schedules,
                    lanes,
                    end,
                    t_end,
                    spikes_left,
                    found,
                    undecided,
                    stop,
                )
                if status[0] == BUFFER_FULL:
                    found, undecided = grown(found), grown(undecided)
            if status[0] != 0 and (ended[0] == 0 or status[3] < ended[3]):
                ended = status
    if stop[0] != 0:  # nobody will read it: do not sort it
        found.n_entries[0] = undecided.n_entries[0] = 0
    n = found.n_entries[0]
    offsets, order = group_by(found.samples, 0, n, n_samples)
    spiked, senders = found.times, found.neurons
    spare, run, ranks = np.empty_like(order), np.empty(RUN), np.empty(RUN, np.int64)
    for sample in range(n_samples):
        sort_by_time(order, offsets[sample], offsets[sample + 1], spiked, senders, spare, run, ranks)
    _, undecided_places = group_by(undecided.samples, 0, undecided.n_entries[0], n_samples)
    return (
        ended,
        Spikes(spiked[order], senders[order], offsets, found.arrivals[order], np.full(n, -1), np.zeros(n)),
        end,
        undecided.samples[undecided_places],
        undecided.neurons[undecided_places],
        undecided.times[undecided_places],
    )
