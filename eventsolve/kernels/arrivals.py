"""Kernels: what arrives at a neuron, in order, and the exponentials of the gaps between (compiled).

Arrivals come by time, exactly (:mod:`eventsolve.kernels.times`), then by the spike that causes them (in the order in
which the spikes of all sources are listed), then by synapse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.tables import Integers, Reals, Sampled, Spikes
from eventsolve.kernels.times import is_after, later


class Schedule(NamedTuple):
    """Arrivals of one group in one sample, in order, and the propagators of the gaps before each and up to t_end.

    The first gap begins at ``begin``.
    """

    begin: float
    times: Reals
    low: Reals
    slots: Integers
    spikes: Integers
    decay_mem: Reals
    decay_syn: Reals
    response: Reals


class Grouped(NamedTuple):
    """Spikes of one sample, or its voltage samples, by neuron.

    Those of neuron n are ``of`` at places[offsets[n]] to places[offsets[n + 1]].
    """

    of: Spikes | Sampled
    sample: int
    offsets: Integers
    places: Integers


class Arrivals(NamedTuple):
    """Arrivals at a neuron: when, what that leaves of exact sums, over which of its synapses, by which spike."""

    times: Reals
    low: Reals
    slots: Integers
    causes: Integers


class Schedules(NamedTuple):
    """Those of one group in several samples, the longest first.

    The k-th is that of ``samples[k]``: ``n_arrivals[k]`` arrivals from ``first[k]`` on, and one gap more from
    ``first_gap[k]`` on.
    """

    samples: Integers
    n_arrivals: Integers
    first: Integers
    first_gap: Integers
    times: Reals
    slots: Integers
    decay_mem: Reals
    decay_syn: Reals
    response: Reals


RUN = 64
"""How many entries are ranked by comparing all with all, which takes no branches: a merge of two costs as much."""


@without_refcount
def rank_run(places, first, last, times, keys, run, ranks):
    """Sort places[first:last], at most RUN, by their times, then their keys; what is equal in both keeps its order."""
    n = last - first
    ordered = True
    for k in range(n):
        run[k] = times[places[first + k]]
    for k in range(1, n):
        ordered &= run[k - 1] < run[k]
    if ordered:
        return
    total = 0
    for k in range(n):
        t = run[k]
        rank = 0
        for m in range(n):
            rank += run[m] < t
        ranks[k] = rank
        total += rank
    if 2 * total < n * (n - 1):  # there are ties
        for k in range(n):
            key = keys[places[first + k]]
            for m in range(n):
                if run[m] == run[k]:
                    other = keys[places[first + m]]
                    ranks[k] += other < key or (other == key and m < k)
    for k in range(n):
        run[k] = places[first + k]
    for k in range(n):
        places[first + ranks[k]] = np.int64(run[k])


@without_refcount
def sort_by_time(places, low, high, times, keys, spare, run, ranks):
    """Sort places[low:high] by their times, then their keys; what is equal in both keeps its order.

    A merge sort of ranked runs, which leaves what is in order as it is. ``spare`` is room as large as ``places``, and
    so are ``run`` and ``ranks`` for RUN.
    """
    for first in range(low, high, RUN):
        rank_run(places, first, min(first + RUN, high), times, keys, run, ranks)
    width = RUN
    while width < high - low:
        for first in range(low, high - width, 2 * width):
            middle, last = first + width, min(first + 2 * width, high)
            if times[places[middle - 1]] < times[places[middle]]:
                continue
            a, b = first, middle
            for k in range(first, middle):
                spare[k] = places[k]
            for k in range(first, last):
                if a == middle:
                    break
                left = spare[a]
                right = places[b] if b < last else left
                if b < last and (
                    times[right] < times[left] or (times[right] == times[left] and keys[right] < keys[left])
                ):
                    places[k] = right
                    b += 1
                else:
                    places[k] = left
                    a += 1
        width *= 2


@compiled
def order_by_time(times, keys):
    """Return the permutation that sorts by time, then key, and keeps the order of what is equal in both."""
    order = np.arange(times.size)
    spare, run, ranks = np.empty_like(order), np.empty(RUN), np.empty(RUN, np.int64)
    sort_by_time(order, 0, times.size, times, keys, spare, run, ranks)
    return order


@compiled
def order_exactly(times, low, keys):
    """Return the permutation that sorts by time and what it leaves of an exact sum, then as :func:`order_by_time`."""
    order = order_by_time(times, keys)
    first = 0
    for k in range(1, order.size + 1):
        if k < order.size and times[order[k]] == times[order[first]]:
            continue
        if k > first + 1:
            tied = order[first:k].copy()
            again = order_by_time(low[tied], keys[tied])
            for m in range(again.size):
                order[first + m] = tied[again[m]]
        first = k
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


@without_refcount
def hears_all(neuron, afferents, n_sources):
    """Return whether the neuron has exactly one synapse from each source, in their order."""
    first = afferents.offsets[neuron]
    if afferents.offsets[neuron + 1] - first != n_sources:
        return False
    sources = afferents.source
    misfits = 0
    for k in range(n_sources):
        misfits += sources[first + k] != k
    return misfits == 0


@without_refcount
def n_arrivals_at_most(neuron, afferents, by_source):
    """Return how many spikes of the neuron's sources there are in the sample whose spikes are grouped."""
    sources = afferents.source
    n = 0
    for synapse in range(afferents.offsets[neuron], afferents.offsets[neuron + 1]):
        n += by_source[sources[synapse] + 1] - by_source[sources[synapse]]
    return n


@compiled
def grouped(of, sample, n):
    """Return the spikes or voltage samples of a sample by neuron, of n neurons."""
    offsets, places = group_by(of.neurons, of.offsets[sample], of.offsets[sample + 1], n)
    return Grouped(of, sample, offsets, places)


@compiled
def write_arrivals(neuron, afferents, given, after, t_end, at, arrivals):
    """Write the arrivals in (after, t_end] at a neuron, in order, behind the first ``at``; return their number.

    ``given`` are the spikes of one sample, grouped by source. Where the neuron hears all sources, they are taken as
    they come: after equal delays that is the order in which they arrive.
    """
    row_offsets, sources, _, delays, _ = afferents
    spikes, sample, by_source, places = given
    spike_times, spike_neurons, spike_offsets, _, _, spike_low = spikes
    times, low, slots, causes = arrivals
    first, last = row_offsets[neuron], row_offsets[neuron + 1]
    n = at
    ordered = True
    if hears_all(neuron, afferents, by_source.size - 1):
        for k in range(spike_offsets[sample], spike_offsets[sample + 1]):
            slot = spike_neurons[k]
            t, rest = later(spike_times[k], spike_low[k], delays[first + slot])
            times[n], low[n], slots[n], causes[n] = t, rest, slot, k
            taken = is_after(t, rest, after, 0.0) & (not is_after(t, rest, t_end, 0.0))
            ordered &= (
                (not taken) | (n == at) | (times[n - 1] < t) | ((times[n - 1] == t) & (low[n - 1] <= rest))
            )
            n += taken
    else:
        for synapse in range(first, last):
            source = sources[synapse]
            delay = delays[synapse]
            for g in range(by_source[source], by_source[source + 1]):
                t, rest = later(spike_times[places[g]], spike_low[places[g]], delay)
                times[n], low[n], slots[n], causes[n] = t, rest, synapse - first, places[g]
                taken = is_after(t, rest, after, 0.0) & (not is_after(t, rest, t_end, 0.0))
                ordered &= (
                    (not taken)
                    | (n == at)
                    | (times[n - 1] < t)
                    | (
                        (times[n - 1] == t)
                        & ((low[n - 1] < rest) | ((low[n - 1] == rest) & (causes[n - 1] <= causes[n])))
                    )
                )
                n += taken
    if not ordered:
        order = order_exactly(times[at:n], low[at:n], causes[at:n])
        sorted_times, sorted_low, sorted_slots, sorted_causes = (
            times[at:n][order],
            low[at:n][order],
            slots[at:n][order],
            causes[at:n][order],
        )
        for k in range(n - at):
            times[at + k], low[at + k] = sorted_times[k], sorted_low[k]
            slots[at + k], causes[at + k] = sorted_slots[k], sorted_causes[k]
    return n - at


@compiled
def empty_arrivals(n):
    """Return room for n Arrivals."""
    return Arrivals(np.empty(n), np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64))


@compiled
def schedule_of(neuron, neurons, afferents, given, t_start, after, t_end):
    """Return the Schedule of a neuron, which is that of its whole group, for spikes that are grouped by source.

    It holds the arrivals in (after, t_end]; the first gap begins at t_start.
    """
    arrivals = empty_arrivals(n_arrivals_at_most(neuron, afferents, given.offsets) + 1)
    n = write_arrivals(neuron, afferents, given, after, t_end, 0, arrivals)
    times, low, slots, causes = arrivals
    propagators = np.empty((3, n + 1))
    write_gaps(times[:n], t_start, t_end, propagators[0])
    fill_propagators(
        neurons.tau_mem[neuron], neurons.tau_syn[neuron], propagators[0], propagators[1], propagators[2]
    )
    return Schedule(
        t_start, times[:n], low[:n], slots[:n], causes[:n], propagators[0], propagators[1], propagators[2]
    )


@without_refcount
def write_gaps(times, t_start, t_end, gaps):
    """Write the durations of the gap before each time, the first from t_start, and of the last one up to t_end."""
    t = t_start
    for j in range(times.size):
        gaps[j] = times[j] - t
        t = times[j]
    gaps[times.size] = t_end - t


@without_refcount
def fill_propagators(tau_mem, tau_syn, decay_mem, decay_syn, response):
    """Fill in the propagators of gaps, whose durations stand in ``decay_mem``."""
    for j in range(decay_mem.size):
        decay_mem[j], decay_syn[j], response[j] = propagator(decay_mem[j], tau_mem, tau_syn)


@compiled
def schedules_of(
    neuron, neurons, afferents, n_sources, spikes, first_sample, last_sample, start_times, after, t_end
):
    """Return the Schedules of a neuron, which are those of its whole group, in a range of samples.

    The last gap goes one number beyond t_end: a crossing there may be rounded to t_end.
    """
    n_samples = last_sample - first_sample
    beyond = np.nextafter(t_end, np.inf)
    n_arrivals = np.empty(n_samples, np.int64)
    firsts = np.empty(n_samples, np.int64)
    room = 1
    dense = hears_all(neuron, afferents, n_sources)
    nothing = np.empty(0, np.int64)
    unsorted = np.zeros(n_sources + 1, np.int64)
    room = spikes.offsets[last_sample] - spikes.offsets[first_sample] + n_samples
    if not dense:
        for sample in range(first_sample, last_sample):
            room += n_arrivals_at_most(neuron, afferents, grouped(spikes, sample, n_sources).offsets)
    arrivals = empty_arrivals(room)
    times = arrivals.times
    gaps = np.empty(room + n_samples)
    n = 0
    for k in range(n_samples):
        sample = first_sample + k
        given = Grouped(spikes, sample, unsorted, nothing) if dense else grouped(spikes, sample, n_sources)
        firsts[k] = n
        n_arrivals[k] = write_arrivals(neuron, afferents, given, after, t_end, n, arrivals)
        write_gaps(times[n : n + n_arrivals[k]], start_times[sample, neuron], beyond, gaps[n + k :])
        n += n_arrivals[k]
    decay_mem = gaps[: n + n_samples]
    decay_syn = np.empty(n + n_samples)
    response = np.empty(n + n_samples)
    fill_propagators(neurons.tau_mem[neuron], neurons.tau_syn[neuron], decay_mem, decay_syn, response)
    order = order_by_time(-1.0 * n_arrivals, n_arrivals)
    return Schedules(
        first_sample + order,
        n_arrivals[order],
        firsts[order],
        firsts[order] + order,
        times,
        arrivals.slots,
        decay_mem,
        decay_syn,
        response,
    )
