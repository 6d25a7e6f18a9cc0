"""Kernels: the two heaps of the event queue, each of parallel arrays, and room that grows (compiled).

Deliveries are times, what these leave of exact sums, ranks and bundles, by exact time, then the spike that is
delivered, with the next bundle that the spike brings.
Crossings are times by neuron (inf if not in the heap), the heap of neurons, and their places in it or -1.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import borrowing, compiled


@borrowing
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


@borrowing
def push(times, lows, ranks, bundles, size, time, low, rank, bundle, sent, sent_low):
    """Add a delivery to a heap of that size; spikes are sent at the times ``sent``, by rank."""
    k = size
    while k > 0:
        parent = (k - 1) >> 1
        if times[parent] < time or (
            times[parent] == time and tied_before(lows[parent], ranks[parent], low, rank, sent, sent_low)
        ):
            break
        times[k], lows[k], ranks[k], bundles[k] = times[parent], lows[parent], ranks[parent], bundles[parent]
        k = parent
    times[k], lows[k], ranks[k], bundles[k] = time, low, rank, bundle


@borrowing
def replace_first(times, lows, ranks, bundles, size, time, low, rank, bundle, sent, sent_low):
    """Replace the first delivery of a heap of that size by another."""
    k = 0
    while 2 * k + 1 < size:
        child = 2 * k + 1
        right = child + 1
        if right < size and (
            times[right] < times[child]
            or (
                times[right] == times[child]
                and tied_before(lows[right], ranks[right], lows[child], ranks[child], sent, sent_low)
            )
        ):
            child = right
        if time < times[child] or (
            time == times[child] and tied_before(low, rank, lows[child], ranks[child], sent, sent_low)
        ):
            break
        times[k], lows[k], ranks[k], bundles[k] = times[child], lows[child], ranks[child], bundles[child]
        k = child
    times[k], lows[k], ranks[k], bundles[k] = time, low, rank, bundle


@borrowing
def earlier(times, a, b):
    """Return whether neuron a crosses before neuron b."""
    return (times[a] < times[b]) | ((times[a] == times[b]) & (a < b))


@borrowing
def sift(times, heap, place, size, neuron, k):
    """Put a neuron where it belongs in a heap of that size that is in order but for place k, which is free."""
    while k > 0 and earlier(times, neuron, heap[(k - 1) >> 1]):
        heap[k] = heap[(k - 1) >> 1]
        place[heap[k]] = k
        k = (k - 1) >> 1
    sinking = True
    while sinking and 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and earlier(times, heap[child + 1], heap[child]):
            child += 1
        sinking = earlier(times, heap[child], neuron)
        if sinking:
            heap[k] = heap[child]
            place[heap[k]] = k
            k = child
    heap[k] = neuron
    place[neuron] = k


@borrowing
def set_crossings(times, heap, place, size, wanted, changed, n_changed):
    """Give all changed neurons the times that are wanted for them, inf for none; return the new size of the heap."""
    for w in range(n_changed):
        neuron = changed[w]
        k = place[neuron]
        if wanted[neuron] != times[neuron]:
            times[neuron] = wanted[neuron]
            if k < 0:
                size += 1
                sift(times, heap, place, size, neuron, size - 1)
            elif wanted[neuron] < math.inf:
                sift(times, heap, place, size, neuron, k)
            else:
                place[neuron] = -1
                size -= 1
                if k < size:
                    sift(times, heap, place, size, heap[size], k)
    return size


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
