"""The two heaps of the event loop, each against sorting: what is first, and where everything is."""

import math

import numpy as np
import pytest

from eventsolve.kernels.queues import new_crossings, pop, push, set_crossing


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
