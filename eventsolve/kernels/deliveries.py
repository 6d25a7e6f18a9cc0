"""Kernels: the deliveries of one sample in the order of the event queue, when all spikes are known (compiled).

They are listed in pieces of time, so that memory goes by spikes and not by synapses: a spike over synapses with a delay
each is as many deliveries. Pieces can be taken in either direction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import order_exactly
from eventsolve.kernels.tables import Integers, Reals
from eventsolve.kernels.times import is_after, later

PIECE = 8192
"""About how many deliveries a piece has: their lists stay in the cache, and few spikes are looked at twice."""


class Deliveries(NamedTuple):
    """Those of a piece, in order: when, of which spike, and over which bundle of its synapses."""

    times: Reals
    low: Reals
    spikes: Integers
    bundles: Integers


@compiled
def edges_of(spikes, first_spike, last_spike, source_bundles, after, t_end):
    """Return the edges of pieces of (after, t_end] with about as many deliveries each, ascending."""
    times, neurons = spikes.times, spikes.neurons
    total = 0
    for g in range(first_spike, last_spike):
        total += source_bundles[neurons[g] + 1] - source_bundles[neurons[g]]
    n_pieces = 1 + total // PIECE
    edges = np.empty(n_pieces + 1)
    edges[0] = after
    n = 0
    for k in range(1, n_pieces):
        edge = times[first_spike + k * (last_spike - first_spike) // n_pieces]
        if edges[n] < edge < t_end:
            n += 1
            edges[n] = edge
    edges[n + 1] = t_end
    return edges[: n + 2]


@without_refcount
def first_after(time, low, bundle, last, delays, begin):
    """Return the first bundle of a spike, from one up to the last, with which it arrives after a float64 time."""
    while bundle < last:
        middle = (bundle + last) >> 1
        arrival, rest = later(time, low, delays[middle])
        if is_after(arrival, rest, begin, 0.0):
            last = middle
        else:
            bundle = middle + 1
    return bundle


@compiled
def deliveries_of(spikes, first_spike, last_spike, source_bundles, delays, longest, begin, end):
    """Return the Deliveries in (begin, end] of a sample's spikes, which are in order of time, exactly.

    Those of one time come by spike, then by bundle.
    """
    times, lows, neurons = spikes.times, spikes.low, spikes.neurons
    room = longest + 1e-9 * (longest + end)  # for the roundings of the sums
    first = first_spike + np.searchsorted(times[first_spike:last_spike], begin - room)
    last = first_spike + np.searchsorted(times[first_spike:last_spike], end, side="right")
    counts = np.empty((2, max(last - first, 0)), np.int64)
    n = 0
    for g in range(first, last):
        source = neurons[g]
        past = source_bundles[source + 1]
        a = first_after(times[g], lows[g], source_bundles[source], past, delays, begin)
        counts[0, g - first], counts[1, g - first] = a, first_after(times[g], lows[g], a, past, delays, end)
        n += counts[1, g - first] - a
    found, rests = np.empty(n), np.empty(n)
    causes, bundles = np.empty(n, np.int64), np.empty(n, np.int64)
    k = 0
    ordered = True
    for g in range(first, last):
        for bundle in range(counts[0, g - first], counts[1, g - first]):
            found[k], rests[k] = later(times[g], lows[g], delays[bundle])
            causes[k], bundles[k] = g, bundle
            ordered &= (k == 0) | (not is_after(found[k - 1], rests[k - 1], found[k], rests[k]))
            k += 1
    if ordered:
        return Deliveries(found, rests, causes, bundles)
    order = order_exactly(found, rests, causes)
    return Deliveries(found[order], rests[order], causes[order], bundles[order])
