"""Kernels: the two queues of the event loop: threshold crossings, and deliveries (compiled).

Crossings are an indexed heap with one time for each neuron: its next crossing, or a time before which there is none.

Deliveries are popped in order of exact time, then of the spike that is delivered, then of its bundles. A spike that is
under way waits with the first of its bundles that is not taken yet; deliveries in a window of time are taken from all
that wait, spread over buckets by time, and sorted there. Deliveries within the window that is open, of spikes that
were sent since, and those of in_dense_block buckets are in a heap. How long windows are decides about the cost alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, embedded, prefetch, without_refcount
from eventsolve.kernels.tables import Integers, Reals
from eventsolve.kernels.times import is_after, later


class Crossings(NamedTuple):
    """A heap of neurons by time, then number: ``times`` and ``neurons`` by place, ``size[0]`` of them.

    ``keys`` are the times by neuron, inf if it is not in the heap, and ``places`` its place there, or -1.
    """

    times: Reals
    neurons: Integers
    keys: Reals
    places: Integers
    size: Integers


@compiled
def new_crossings(n):
    """Return an empty heap for n neurons."""
    crossings = Crossings(
        np.zeros(n), np.zeros(n, np.int64), np.zeros(n), np.zeros(n, np.int64), np.zeros(1, np.int64)
    )
    for m in range(n):
        crossings.keys[m], crossings.places[m] = math.inf, -1
    return crossings


@without_refcount
def set_crossing(crossings, neuron, time):
    """Give a neuron another time; inf takes it out of the heap."""
    times, neurons, keys, places, sizes = crossings
    k, size = places[neuron], sizes[0]
    keys[neuron] = time
    if time == math.inf:
        if k < 0:
            return
        places[neuron] = -1
        size -= 1
        sizes[0] = size
        if k == size:
            return
        neuron, time = neurons[size], times[size]  # the last one takes the place that is free now
    elif k < 0:
        k = size
        size += 1
        sizes[0] = size
    while k > 0:
        parent = (k - 1) >> 1
        if (times[parent] < time) | ((times[parent] == time) & (neurons[parent] < neuron)):
            break
        times[k], neurons[k] = times[parent], neurons[parent]
        places[neurons[k]] = k
        k = parent
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and (
            (times[child + 1] < times[child])
            | ((times[child + 1] == times[child]) & (neurons[child + 1] < neurons[child]))
        ):
            child += 1
        if (time < times[child]) | ((time == times[child]) & (neuron < neurons[child])):
            break
        times[k], neurons[k] = times[child], neurons[child]
        places[neurons[k]] = k
        k = child
    times[k], neurons[k] = time, neuron
    places[neuron] = k


ARRIVAL, LOW, WEIGHT = 0, 1, 2
"""Rows of when a delivery arrives: the time, and what that leaves of the exact sum; and with which weight."""
RANK, BUNDLE, FOLLOWING, TARGET = 0, 1, 2, 2
"""Rows of what arrives: the spike, by rank; its bundle; of what waits, the first bundle not gathered; of what is
gathered, the target if it is a neuron by itself that hears it over one exponential synapse, so that nothing else has to
be looked up, and else -1."""
WAITING, FRESH, DUE, LAST_DUE, NEAR, EMITTED = range(6)
"""Counts: spikes that wait; those before which all were compared with the window; the next delivery that is due, and
behind the last one; those in the heap; given spikes that have set out."""
EDGE, SPAN = 0, 1
"""Where the window ends, and how long the next one is to be."""
CROWDED = 32
"""How many deliveries of a bucket are too many to sort by insertion."""
BUCKETS = 4096


class Deliveries(NamedTuple):
    """What is under way: spikes that wait, deliveries of the window as gathered and in order (due), and a heap (near).

    Each has when and what in columns.
    """

    waiting: Reals
    waiting_of: Integers
    gathered: Reals
    gathered_of: Integers
    due: Reals
    due_of: Integers
    near: Reals
    near_of: Integers
    starts: Integers
    counts: Integers
    window: Reals


@compiled
def new_deliveries(room, span):
    """Return Deliveries without any, and with room for so many, whose first window has a span."""
    deliveries = Deliveries(
        np.empty((2, room)),
        np.empty((3, room), np.int64),
        np.empty((3, room)),
        np.empty((3, room), np.int64),
        np.empty((3, room)),
        np.empty((3, room), np.int64),
        np.empty((2, room)),
        np.empty((2, room), np.int64),
        np.empty(BUCKETS, np.int64),
        np.zeros(6, np.int64),
        np.empty(2),
    )
    deliveries.window[EDGE], deliveries.window[SPAN] = -math.inf, span
    return deliveries


@compiled
def roomier(deliveries):
    """Return the same Deliveries with twice the room."""
    larger = new_deliveries(2 * deliveries.due.shape[1], 0.0)
    for k in range(
        deliveries.due.shape[1]
    ):  # and not by slices, whose errors numba takes a second to compile
        for row in range(3):
            larger.due[row, k], larger.due_of[row, k] = deliveries.due[row, k], deliveries.due_of[row, k]
        for row in range(2):
            larger.waiting[row, k] = deliveries.waiting[row, k]
            larger.waiting_of[row, k] = deliveries.waiting_of[row, k]
            larger.near[row, k], larger.near_of[row, k] = deliveries.near[row, k], deliveries.near_of[row, k]
    for k in range(6):
        larger.counts[k] = deliveries.counts[k]
    larger.window[EDGE], larger.window[SPAN] = deliveries.window[EDGE], deliveries.window[SPAN]
    return larger


@without_refcount
def tied_before(low, rank, other_low, other_rank, sent, sent_low):
    """Return whether one of two deliveries at one float64 time comes first.

    By what that leaves of their exact times, then by when their spikes were sent, then by rank.
    """
    if low != other_low:
        return low < other_low
    if sent[rank] != sent[other_rank]:
        return sent[rank] < sent[other_rank]
    if sent_low[rank] != sent_low[other_rank]:
        return sent_low[rank] < sent_low[other_rank]
    return rank < other_rank


@without_refcount
def comes_before(time, low, rank, bundle, other, other_low, other_rank, other_bundle, sent, sent_low):
    """Return whether a delivery comes before another."""
    if time != other:
        return time < other
    if rank == other_rank and low == other_low:
        return bundle < other_bundle
    return tied_before(low, rank, other_low, other_rank, sent, sent_low)


@without_refcount
def push(near, near_of, size, time, low, rank, bundle, sent, sent_low):
    """Add a delivery to a heap of that size; spikes are sent at the times ``sent``, by rank."""
    k = size
    while k > 0:
        p = (k - 1) >> 1
        if not comes_before(
            time,
            low,
            rank,
            bundle,
            near[ARRIVAL, p],
            near[LOW, p],
            near_of[RANK, p],
            near_of[BUNDLE, p],
            sent,
            sent_low,
        ):
            break
        near[ARRIVAL, k], near[LOW, k] = near[ARRIVAL, p], near[LOW, p]
        near_of[RANK, k], near_of[BUNDLE, k] = near_of[RANK, p], near_of[BUNDLE, p]
        k = p
    near[ARRIVAL, k], near[LOW, k] = time, low
    near_of[RANK, k], near_of[BUNDLE, k] = rank, bundle


@without_refcount
def pop(near, near_of, size, sent, sent_low):
    """Take the first delivery out of a heap of that size."""
    last = size - 1
    time, low, rank, bundle = near[ARRIVAL, last], near[LOW, last], near_of[RANK, last], near_of[BUNDLE, last]
    k = 0
    while 2 * k + 1 < last:
        child = 2 * k + 1
        if child + 1 < last and comes_before(
            near[ARRIVAL, child + 1],
            near[LOW, child + 1],
            near_of[RANK, child + 1],
            near_of[BUNDLE, child + 1],
            near[ARRIVAL, child],
            near[LOW, child],
            near_of[RANK, child],
            near_of[BUNDLE, child],
            sent,
            sent_low,
        ):
            child += 1
        if comes_before(
            time,
            low,
            rank,
            bundle,
            near[ARRIVAL, child],
            near[LOW, child],
            near_of[RANK, child],
            near_of[BUNDLE, child],
            sent,
            sent_low,
        ):
            break
        near[ARRIVAL, k], near[LOW, k] = near[ARRIVAL, child], near[LOW, child]
        near_of[RANK, k], near_of[BUNDLE, k] = near_of[RANK, child], near_of[BUNDLE, child]
        k = child
    near[ARRIVAL, k], near[LOW, k] = time, low
    near_of[RANK, k], near_of[BUNDLE, k] = rank, bundle


@without_refcount
def arrives_after(time, low, delay, limit):
    """Return whether a spike arrives after a float64 time."""
    arrival, rest = later(time, low, delay)
    return is_after(arrival, rest, limit, 0.0)


@embedded
def set_out(deliveries, rank, sent, sent_low, senders, offsets, delays, after, t_end):
    """Let a spike wait for its first arrival in (after, t_end], if it has one; there is room."""
    waiting, waiting_of, counts = deliveries.waiting, deliveries.waiting_of, deliveries.counts
    time, low = sent[rank], sent_low[rank]
    bundle, stop = offsets[senders[rank]], offsets[senders[rank] + 1]
    while bundle < stop and not arrives_after(time, low, delays[bundle], after):
        bundle += 1
    if bundle < stop and not arrives_after(time, low, delays[bundle], t_end):
        w = counts[WAITING]
        waiting[ARRIVAL, w], waiting[LOW, w] = later(time, low, delays[bundle])
        waiting_of[RANK, w], waiting_of[BUNDLE, w] = rank, bundle
        counts[WAITING] = w + 1


@embedded
def compare_fresh(deliveries, sent, sent_low, senders, offsets, delays, t_end):
    """Put the deliveries in the window of spikes that have set out since it was opened into the heap.

    Return whether there was room for them.
    """
    waiting, waiting_of, near, near_of = (
        deliveries.waiting,
        deliveries.waiting_of,
        deliveries.near,
        deliveries.near_of,
    )
    counts, edge = deliveries.counts, deliveries.window[EDGE]
    kept = w = counts[FRESH]
    room = True
    while w < counts[WAITING]:
        arrival, low, rank, bundle = (
            waiting[ARRIVAL, w],
            waiting[LOW, w],
            waiting_of[RANK, w],
            waiting_of[BUNDLE, w],
        )
        stop = offsets[senders[rank] + 1]
        room = room and counts[NEAR] + stop - bundle <= near.shape[1]
        while room and bundle < stop and arrival <= edge:
            push(near, near_of, counts[NEAR], arrival, low, rank, bundle, sent, sent_low)
            counts[NEAR] += 1
            bundle += 1
            if bundle < stop:
                arrival, low = later(sent[rank], sent_low[rank], delays[bundle])
                if is_after(arrival, low, t_end, 0.0):
                    bundle = stop
        if bundle < stop:
            waiting[ARRIVAL, kept], waiting[LOW, kept] = arrival, low
            waiting_of[RANK, kept], waiting_of[BUNDLE, kept] = rank, bundle
            kept += 1
            counts[FRESH] += room
        w += 1
    counts[WAITING] = kept
    return room


@without_refcount
def gather(deliveries, edge, sent, sent_low, senders, efferents, t_end):
    """Gather what arrives up to the edge of all that waits, and return how many; -1 if there is no room for them."""
    waiting, waiting_of = deliveries.waiting, deliveries.waiting_of
    gathered, gathered_of = deliveries.gathered, deliveries.gathered_of
    counts = deliveries.counts
    offsets, delays, blocks, deltas, first, targets, weights, _, dense = efferents
    n = 0
    for w in range(counts[WAITING]):
        following = waiting_of[BUNDLE, min(w + 2, counts[WAITING] - 1)]
        prefetch(targets, first[following])
        prefetch(weights, first[following])
        prefetch(delays, following)
        arrival, low = waiting[ARRIVAL, w], waiting[LOW, w]
        rank, bundle = waiting_of[RANK, w], waiting_of[BUNDLE, w]
        time, time_low, stop = sent[rank], sent_low[rank], offsets[senders[rank] + 1]
        while bundle < stop and arrival <= edge:
            if n == gathered.shape[1]:
                return -1
            gathered[ARRIVAL, n], gathered[LOW, n] = arrival, low
            gathered_of[RANK, n], gathered_of[BUNDLE, n] = rank, bundle
            place = first[bundle]
            lone = (first[bundle + 1] == place + 1) & (not deltas[bundle]) & (not dense[blocks[bundle]])
            gathered_of[TARGET, n] = np.int64(targets[place]) if lone else -1
            gathered[WEIGHT, n] = weights[place]
            n += 1
            bundle += 1
            if bundle < stop:
                arrival, low = later(time, time_low, delays[bundle])
                if is_after(arrival, low, t_end, 0.0):
                    bundle = stop
        waiting_of[FOLLOWING, w] = bundle
    kept = 0
    for w in range(counts[WAITING]):
        rank, bundle = waiting_of[RANK, w], waiting_of[FOLLOWING, w]
        if bundle < offsets[senders[rank] + 1]:
            waiting[ARRIVAL, kept], waiting[LOW, kept] = later(sent[rank], sent_low[rank], delays[bundle])
            waiting_of[RANK, kept], waiting_of[BUNDLE, kept] = rank, bundle
            kept += 1
    counts[WAITING] = counts[FRESH] = kept
    return n


@without_refcount
def sort_gathered(deliveries, n, first, edge, sent, sent_low):
    """Put the n deliveries gathered between two times in order, those of in_dense_block buckets into the heap."""
    gathered, gathered_of, due, due_of = (
        deliveries.gathered,
        deliveries.gathered_of,
        deliveries.due,
        deliveries.due_of,
    )
    near, near_of, starts, counts = (
        deliveries.near,
        deliveries.near_of,
        deliveries.starts,
        deliveries.counts,
    )
    n_buckets = 1
    while n_buckets < min(n, BUCKETS):
        n_buckets *= 2
    scale = n_buckets / (edge - first) if edge > first else 0.0
    if not scale < 1e300:
        scale = 0.0
    for b in range(n_buckets):
        starts[b] = 0
    for k in range(n):
        starts[min(np.int64((gathered[ARRIVAL, k] - first) * scale), n_buckets - 1)] += 1
    last = 0
    for b in range(n_buckets):
        size = starts[b]
        starts[b] = last if size <= CROWDED else -1
        last += size if size <= CROWDED else 0
    for k in range(n):
        arrival, low = gathered[ARRIVAL, k], gathered[LOW, k]
        rank, bundle = gathered_of[RANK, k], gathered_of[BUNDLE, k]
        bucket = min(np.int64((arrival - first) * scale), n_buckets - 1)
        place = starts[bucket]
        if place < 0:
            push(near, near_of, counts[NEAR], arrival, low, rank, bundle, sent, sent_low)
            counts[NEAR] += 1
        else:
            due[ARRIVAL, place], due[LOW, place], due[WEIGHT, place] = arrival, low, gathered[WEIGHT, k]
            due_of[RANK, place], due_of[BUNDLE, place] = rank, bundle
            due_of[TARGET, place] = gathered_of[TARGET, k]
            starts[bucket] = place + 1
    for k in range(1, last):
        arrival, low, rank, bundle = due[ARRIVAL, k], due[LOW, k], due_of[RANK, k], due_of[BUNDLE, k]
        weight, target = due[WEIGHT, k], due_of[TARGET, k]
        p = k
        while p > 0 and comes_before(
            arrival,
            low,
            rank,
            bundle,
            due[ARRIVAL, p - 1],
            due[LOW, p - 1],
            due_of[RANK, p - 1],
            due_of[BUNDLE, p - 1],
            sent,
            sent_low,
        ):
            due[ARRIVAL, p], due[LOW, p] = due[ARRIVAL, p - 1], due[LOW, p - 1]
            due_of[RANK, p], due_of[BUNDLE, p] = due_of[RANK, p - 1], due_of[BUNDLE, p - 1]
            due[WEIGHT, p], due_of[TARGET, p] = due[WEIGHT, p - 1], due_of[TARGET, p - 1]
            p -= 1
        due[ARRIVAL, p], due[LOW, p], due[WEIGHT, p] = arrival, low, weight
        due_of[RANK, p], due_of[BUNDLE, p], due_of[TARGET, p] = rank, bundle, target
    counts[DUE], counts[LAST_DUE] = 0, last


@without_refcount
def open_window(deliveries, n_given, sent, sent_low, senders, efferents, after, t_end):
    """Open the next window, when all deliveries of the last one were popped; return whether there was room for it.

    Given spikes set out as soon as they might arrive in it.
    """
    waiting, counts, window = deliveries.waiting, deliveries.counts, deliveries.window
    offsets, delays = efferents.offsets, efferents.delay
    first = math.inf
    for w in range(counts[WAITING]):
        first = min(first, waiting[ARRIVAL, w])
    while counts[EMITTED] < n_given and sent[counts[EMITTED]] <= first + window[SPAN]:
        n_waiting = counts[WAITING]
        if n_waiting == waiting.shape[1]:
            return False
        set_out(deliveries, counts[EMITTED], sent, sent_low, senders, offsets, delays, after, t_end)
        if counts[WAITING] > n_waiting:
            first = min(first, waiting[ARRIVAL, n_waiting])
        counts[EMITTED] += 1
    n_waiting = counts[WAITING]
    window[EDGE] = -math.inf
    if n_waiting == 0:
        return True
    edge = first + window[SPAN]
    n = gather(deliveries, edge, sent, sent_low, senders, efferents, t_end)
    if n < 0:
        return False
    window[EDGE] = edge
    sort_gathered(deliveries, n, first, edge, sent, sent_low)
    # enough to be worth a look at all that waits; but the longer a window, the more given spikes wait for it
    enough = max(min(8 * n_waiting, BUCKETS), 64)
    if n < enough or (n < n_waiting and 2 * counts[WAITING] > n_waiting):
        window[SPAN] = min(2.0 * window[SPAN], t_end)
    elif n > 4 * max(enough, n_waiting):
        window[SPAN] *= 0.5
    return True
