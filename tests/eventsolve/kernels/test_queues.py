"""The queues of the event loop against sorting: what is first, where everything is, and how long windows are."""

import heapq
import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from eventsolve.kernels.queues import (
    DUE,
    EDGE,
    EMITTED,
    FRESH,
    LAST_DUE,
    NEAR,
    RANK,
    SPAN,
    TARGET,
    WAITING,
    WEIGHT,
    comes_before,
    compare_fresh,
    new_crossings,
    new_deliveries,
    open_window,
    pop,
    push,
    roomier,
    set_crossing,
    set_out,
    sort_gathered,
    tied_before,
)
from eventsolve.kernels.tables import Efferents


def assert_heap(crossings, keys):
    """Every neuron with a time is in the heap once, none before the one above it."""
    times, neurons, known, places, (size,) = crossings
    inside = [m for m, time in enumerate(keys) if time < math.inf]
    assert size == len(inside)
    np.testing.assert_array_equal(known, keys)
    assert sorted(neurons[:size].tolist()) == inside
    assert places.tolist() == [
        neurons[:size].tolist().index(m) if m in inside else -1 for m in range(len(keys))
    ]
    assert times[:size].tolist() == [keys[m] for m in neurons[:size]]
    for k in range(1, size):
        above = (k - 1) // 2
        assert (times[above], neurons[above]) < (times[k], neurons[k])
    if size:
        assert (times[0], neurons[0]) == min((keys[m], m) for m in inside)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
def test_the_first_crossing_is_that_of_the_least_time_and_number(n):
    """Few different times, so that many are equal; inf takes a neuron out, if it is there."""
    rng, crossings, keys = np.random.default_rng(n), new_crossings(n), [math.inf] * n
    assert_heap(crossings, keys)
    for _ in range(30 * n):
        m = int(rng.integers(n))
        keys[m] = float(rng.choice([math.inf, math.inf, *range(5)]))
        set_crossing(crossings, m, keys[m])
        assert_heap(crossings, keys)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("n_times", [1, 3, 1000])
def test_deliveries_come_in_the_order_of_exact_times_then_of_their_spikes_then_of_bundles(size, n_times):
    rng = np.random.default_rng(size + n_times)
    sent = rng.integers(2, size=size).astype(float)
    sent_low = rng.integers(2, size=size) * 2.0**-60
    near, near_of = np.full((2, size), np.nan), np.full((2, size), -1)
    given = set()
    while len(given) < size:
        time, low = float(rng.integers(n_times)), float(rng.integers(-1, 2)) * 2.0**-60
        given.add((time, low, int(rng.integers(size)), int(rng.integers(3))))

    def order(delivery):
        time, low, rank, bundle = delivery
        return time, low, sent[rank], sent_low[rank], rank, bundle

    given = [sorted(given, key=order)[k] for k in rng.permutation(size)]
    for k, delivery in enumerate(given):
        push(near, near_of, k, *delivery, sent, sent_low)
    for k, delivery in enumerate(sorted(given, key=order)):
        assert (*near[:, 0].tolist(), *near_of[:, 0].tolist()) == delivery
        pop(near, near_of, size - k, sent, sent_low)


def exact(time, low):
    return Fraction(float(time)) + Fraction(float(low))


def test_one_delivery_comes_before_another_as_tuples_do_and_none_before_itself():
    sent, sent_low = np.array([0.0, 0.0, 1.0]), np.array([0.0, 2.0**-60, -(2.0**-60)])
    every = [*itertools.product([0.0, 1.0], [-(2.0**-60), 0.0], range(3), range(2))]
    keys = [(time, low, sent[rank], sent_low[rank], rank, bundle) for time, low, rank, bundle in every]
    for (delivery, key), (other, other_key) in itertools.product(zip(every, keys, strict=True), repeat=2):
        assert comes_before(*delivery, *other, sent, sent_low) == (key < other_key)
        if delivery[2] != other[2] or delivery[1] != other[1]:
            continue
        assert not tied_before(delivery[1], delivery[2], other[1], other[2], sent, sent_low)


def gathered(given):
    """Deliveries of which those given, (time, low, rank, bundle), are gathered, each with its weight and target."""
    deliveries = new_deliveries(len(given) + 1, 1.0)
    for k, (time, low, rank, bundle) in enumerate(given):
        deliveries.gathered[:, k] = time, low, k
        deliveries.gathered_of[:, k] = rank, bundle, k
    return deliveries


def emptied(deliveries, sent, sent_low):
    """Columns (time, low, rank, bundle) of the heap, in order."""
    found, size = [], deliveries.counts[NEAR]
    while size > 0:
        found.append((*deliveries.near[:, 0].tolist(), *deliveries.near_of[:, 0].tolist()))
        pop(deliveries.near, deliveries.near_of, size, sent, sent_low)
        size -= 1
    return found


@pytest.mark.parametrize("first", [0.0, 1.0])
@pytest.mark.parametrize("sizes", [[1], [2, 1], range(20, 45), [45, 3, 0, 32, 32, 45, 1]])
def test_what_is_gathered_is_sorted_but_for_crowds_which_are_in_the_heap(first, sizes):
    """Crowds of all sizes at single times among those that come alone, in any order, and each with its weight."""
    rng, edge = np.random.default_rng(len(sizes)), first + 2.0**-7
    sent, sent_low = np.sort(rng.random(60)), np.zeros(60)
    places = first + (rng.permutation(4 * len(sizes))[: len(sizes)] / (4 * len(sizes))) * 2.0**-7
    given = {
        (float(time), float(rng.integers(2)) * 2.0**-60, int(rank), int(rng.integers(3)))
        for time, size in zip(places, sizes, strict=True)
        for rank in rng.permutation(60)[:size]
    }
    given |= {(edge, 0.0, 7, 1), (first, 0.0, 7, 0)}
    given = sorted(given, key=lambda delivery: (delivery[0], delivery[1], *delivery[2:]))
    shuffled = [given[k] for k in rng.permutation(len(given))]
    deliveries = gathered(shuffled)
    sort_gathered(deliveries, len(given), first, edge, sent, sent_low)
    assert deliveries.counts[DUE] == 0
    n = deliveries.counts[LAST_DUE]
    due, due_of = deliveries.due[:, :n], deliveries.due_of[:, :n]
    assert [shuffled[k] for k in due[WEIGHT].astype(int)] == [shuffled[k] for k in due_of[TARGET]]
    in_order = [(*times, *of) for times, of in zip(due[:2].T.tolist(), due_of[:2].T.tolist(), strict=True)]
    assert [shuffled[k] for k in due_of[TARGET]] == in_order
    crowds = emptied(deliveries, sent, sent_low)
    assert set(in_order) <= set(given)
    assert in_order == [delivery for delivery in given if delivery not in set(crowds)]
    assert crowds == [delivery for delivery in given if delivery not in set(in_order)]
    together = Counter(time for time, *_ in given)
    assert all(together[time] > 16 for time, *_ in crowds)
    assert all(together[time] < 64 for time, *_ in in_order)


@pytest.mark.parametrize(("n", "first", "span"), [(4500, 1.0, 2.0**-9), (9, 0.0, 5e-324), (9, 1.0, 0.0)])
def test_what_is_spread_over_a_window_is_sorted_without_the_heap(n, first, span):
    """Also over one that is as short as a window can be, where it is all at once."""
    rng, edge = np.random.default_rng(n), first + span
    times = first + span * (np.arange(n) / n)
    given = [(float(times[k]), 0.0, int(k), 0) for k in rng.permutation(n)]
    deliveries = gathered(given)
    sort_gathered(deliveries, n, first, edge, np.arange(float(n)), np.zeros(n))
    assert deliveries.counts[NEAR] == 0
    assert deliveries.due_of[RANK, :n].tolist() == [*range(n)]


def efferents_of(rng, n_sources, delays):
    """Bundles of sources, in order of delay, each with a few targets in two blocks, of which one is dense."""
    n_bundles = rng.integers(5, size=n_sources)
    n_bundles[-1] = 4
    offsets = np.concatenate([[0], np.cumsum(n_bundles)])
    delay = np.concatenate([np.sort(rng.choice(delays, n)) for n in n_bundles])
    n = delay.size
    first = np.concatenate([[0], np.cumsum(rng.choice([1, 1, 2, 3], n))])
    block, delta = rng.integers(2, size=n), rng.random(n) < 0.3
    target = rng.integers(50, size=first[-1]).astype(np.int32)
    weight = rng.permutation(first[-1]).astype(float)
    blocks, dense = np.array([0, 25, 50]), np.array([False, True])
    return Efferents(offsets, delay, block, delta, first, target, weight, blocks, dense)


class Traffic(NamedTuple):
    """What goes through a queue: spikes that are given, and sources that spike as the k-th delivery arrives, or -1."""

    efferents: Efferents
    times: np.ndarray
    low: np.ndarray
    senders: np.ndarray
    replies: np.ndarray
    after: float
    t_end: float


def traffic(seed):
    """Times, delays, the start and the end are on a grid, so that many exact sums are equal, or would round to it."""
    rng, grid = np.random.default_rng(seed), [0.0, 0.1e-3, 0.2e-3, 0.3e-3, 0.7e-3, 1e-3]
    n_sources, n_given = 6, 20
    sums = {exact(t, 0.0) + exact(d, 0.0) for t in np.arange(4) * 1e-3 for d in grid}
    chosen = sorted(sums, key=lambda _: rng.random())[:n_given]
    given = sorted((t, k) for k, t in enumerate(chosen))
    times = np.array([float(t) for t, _ in given])
    low = np.array([float(t - Fraction(float(t))) for t, _ in given])
    replies = np.where(rng.random(200) < 0.25, rng.integers(n_sources, size=200), -1)
    after, t_end = float(rng.choice([-math.inf, 1.1e-3, 1.3e-3])), float(rng.choice([3e-3, 3.1e-3, 3.3e-3]))
    efferents = efferents_of(rng, n_sources, grid)
    senders = rng.integers(n_sources, size=n_given)
    return Traffic(efferents, times, low, senders, replies, after, t_end)


def arrivals_by_hand(given):
    """Deliveries in order of exact arrival, then of when their spikes were sent, of ranks and of bundles."""
    efferents, times, low, senders, replies, after, t_end = given
    waiting, found, n = [], [], times.size

    def send(sent, source, rank, begin):
        for bundle in range(efferents.offsets[source], efferents.offsets[source + 1]):
            arrival = sent + exact(efferents.delay[bundle], 0.0)
            if begin < arrival <= Fraction(t_end):
                heapq.heappush(waiting, (arrival, sent, rank, bundle))

    for rank, source in enumerate(senders):
        send(exact(times[rank], low[rank]), source, rank, after)
    while waiting:
        arrival, _, rank, bundle = heapq.heappop(waiting)
        source = replies[len(found)] if len(found) < replies.size else -1
        found.append((arrival, rank, bundle))
        if source >= 0:
            send(arrival, source, n, -math.inf)
            n += 1
    return found


def arrivals_by_queue(given, room, span):
    """The same as the event loop takes them, and the room that this took."""
    efferents, times, low, senders, replies, after, t_end = given
    offsets, delays, first = efferents.offsets, efferents.delay, efferents.first
    most = int(np.diff(offsets).max())
    n_given, n, found = times.size, times.size, []
    sent, sent_low = np.zeros(n_given + replies.size), np.zeros(n_given + replies.size)
    senders = np.concatenate([senders, np.zeros(replies.size, np.int64)])
    sent[:n], sent_low[:n] = times, low
    deliveries = new_deliveries(room, span)
    while True:
        counts, near, near_of = deliveries.counts, deliveries.near, deliveries.near_of
        room = near.shape[1]
        full = counts[WAITING] + 1 > room
        if not full and counts[FRESH] < counts[WAITING]:
            full = not compare_fresh(deliveries, sent, sent_low, senders, offsets, delays, t_end)
            assert not full or counts[NEAR] + most > room
            assert full or counts[FRESH] == counts[WAITING]
        is_empty = counts[DUE] == counts[LAST_DUE] and counts[NEAR] == 0
        if not full and is_empty:
            if counts[WAITING] == 0 and counts[EMITTED] == n_given:
                return found, room
            full = not open_window(deliveries, n_given, sent, sent_low, senders, efferents, after, t_end)
            opened = counts[LAST_DUE] - counts[DUE] + counts[NEAR] > 0
            assert full or opened == (deliveries.window[EDGE] > -math.inf)
            if not full and not opened:
                assert counts[EMITTED] == n_given
                assert counts[WAITING] == 0
                continue
        if full:
            deliveries = roomier(deliveries)
            continue
        d = counts[DUE]
        due, due_of = deliveries.due[:, d], deliveries.due_of[:, d]
        is_due = d < counts[LAST_DUE] and (
            counts[NEAR] == 0
            or comes_before(*due[:2], *due_of[:2], *near[:, 0], *near_of[:, 0], sent, sent_low)
        )
        (time, rest), (rank, bundle) = (due[:2], due_of[:2]) if is_due else (near[:, 0], near_of[:, 0])
        arrival = exact(time, rest)
        if is_due:
            place = first[bundle]
            is_alone = first[bundle + 1] - place == 1 and not efferents.delta[bundle]
            is_alone = is_alone and not efferents.dense[efferents.block[bundle]]
            assert due[WEIGHT] == efferents.weight[place]
            assert due_of[TARGET] == efferents.target[place] if is_alone else due_of[TARGET] < 0
            counts[DUE] += 1
        source = replies[len(found)] if len(found) < replies.size else -1
        found.append((arrival, int(rank), int(bundle)))
        if source >= 0:
            sent[n], sent_low[n], senders[n] = time, rest, source
        if not is_due:
            pop(near, near_of, counts[NEAR], sent, sent_low)
            counts[NEAR] -= 1
        if source >= 0:
            set_out(deliveries, n, sent, sent_low, senders, offsets, delays, -math.inf, t_end)
            n += 1


@pytest.mark.parametrize("seed", range(12))
def test_deliveries_arrive_in_the_order_of_exact_sums_whatever_the_room_and_the_windows(seed):
    given = traffic(seed)
    expected = arrivals_by_hand(given)
    for room, span in ((5, 1e-3), (600, 0.1e-3), (600, 1.0), (5, 1e-9)):
        found, end = arrivals_by_queue(given, room, span)
        assert found == expected
        assert end == 600 or end < 4 * len(expected) + 40


def test_a_spike_with_more_bundles_than_there_is_room_for_waits_until_there_is():
    """It is sent while a window is open in which all its deliveries arrive."""
    n = np.ones(9, np.int64)
    delay = np.array([1.0, *np.arange(8) / 8])
    first, block, delta = np.arange(10), 0 * n, np.zeros(9, np.bool_)
    blocks, dense = np.array([0, 1]), np.array([False])
    efferents = Efferents(
        np.array([0, 1, 9]), delay, block, delta, first, block.astype(np.int32), 1.0 * n, blocks, dense
    )
    replies = np.array([1, *(0 * n[1:] - 1)])
    given = Traffic(efferents, np.zeros(1), np.zeros(1), np.zeros(1, np.int64), replies, -math.inf, 4.0)
    found, _ = arrivals_by_queue(given, 5, 4.0)
    assert found == arrivals_by_hand(given)
    assert [float(arrival) for arrival, *_ in found] == [1.0, *(1.0 + delay[1:])]


def stream(n_spikes, n_bundles, longest):
    """One source that spikes every second, each heard n_bundles times at even distances up to the longest delay."""
    delays = np.arange(1, n_bundles + 1) * (longest / n_bundles)
    first = np.arange(n_bundles + 1)
    target, weight = np.zeros(n_bundles, np.int32), np.ones(n_bundles)
    block, delta = np.zeros(n_bundles, np.int64), np.zeros(n_bundles, np.bool_)
    efferents = Efferents(
        np.array([0, n_bundles]), delays, block, delta, first, target, weight, np.array([0, 1]), ~delta[:1]
    )
    return np.arange(float(n_spikes)), efferents


def windows(sent, efferents, room, span, most=10**9):
    """(span, deliveries, spikes that still wait) of each window until all have arrived, or of the first ones."""
    t_end, found = sent[-1] + efferents.delay[-1], []
    none, senders = np.zeros(sent.size), np.zeros(sent.size, np.int64)
    deliveries = new_deliveries(room, span)
    counts, window = deliveries.counts, deliveries.window
    while (counts[WAITING] > 0 or counts[EMITTED] < sent.size) and len(found) < most:
        span = window[SPAN]
        assert open_window(deliveries, sent.size, sent, none, senders, efferents, -math.inf, t_end)
        found.append((span, counts[LAST_DUE] + counts[NEAR], counts[WAITING]))
        counts[DUE] = counts[LAST_DUE] = counts[NEAR] = 0
    return found


@pytest.mark.parametrize(
    ("span", "n_spikes", "n_bundles", "longest"), [(2.0**-20, 260, 24, 60.0), (16.0, 60, 80, 1.0)]
)
def test_windows_of_an_even_stream_become_as_long_as_its_cost_asks_for(span, n_spikes, n_bundles, longest):
    """To look at all that waits is cheap against what is gathered, which is little against the stream."""
    sent, efferents = stream(n_spikes, n_bundles, longest)
    found = windows(sent, efferents, n_spikes * n_bundles, span)
    spans, sizes, left = (np.array(column) for column in zip(*found, strict=True))
    assert sizes.sum() == n_spikes * n_bundles
    ((span, _),) = Counter(spans.tolist()).most_common(1)
    even = (spans == span).nonzero()[0]
    steady = slice(even[0], even[-1])
    assert even[0] < 30
    assert (spans[steady] == span).all()
    assert len(found) > even[0] + 4
    assert (8 * left[steady] <= sizes[steady]).all()
    assert (sizes[steady] < 1000).all()


@pytest.mark.parametrize(("n_bundles", "grows"), [(2, True), (1, False)])
def test_a_window_in_which_thousands_wait_grows_while_most_of_them_stay(n_bundles, grows):
    """Beyond them it is no longer the look at all that waits which costs; but longer ones make more spikes wait."""
    sent, efferents = stream(6500, n_bundles, 1.0)
    at_once = 1e-5 * np.arange(sent.size)  # the last is sent when the first one arrives
    if n_bundles == 2:
        efferents = efferents._replace(delay=np.array([0.07, 1.0]))
    else:
        efferents = efferents._replace(delay=np.array([0.07]))
    ((before, n, left), (after, *_)) = windows(at_once, efferents, 14000, 0.0421, most=2)
    assert 4096 < n < 6500
    assert (2 * left > 6500) == grows
    assert 3 * left > 6500
    assert (after > before) == grows
