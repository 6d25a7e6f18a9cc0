"""The parts of the search for a crossing, each against what it promises; the truth is Arb's, or exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx

from eventsolve.kernels.crossing import (
    EPS,
    SMALLEST_DECAY,
    advance_dense_block,
    crossing_possible,
    crossing_time,
    crossing_times,
    first_guess,
    guess_below_leak,
    peak_possible,
    refine,
    taylor_step,
    turn_time,
    undecided_after,
    undecided_band,
)
from eventsolve.kernels.membrane import extremum, propagator


def plain(kernel):
    """The loop over arrays that a kernel is written as, which then is not compiled a second time."""
    return getattr(kernel, "__wrapped__", kernel)


@pytest.fixture(autouse=True)
def digits():
    """Sixty of them."""
    before, ctx.prec = ctx.prec, 200
    yield
    ctx.prec = before


def voltage(u, i, s, tau_mem, tau_syn):
    """V - v_leak a time s after a state."""
    u, i, s, tau_mem, tau_syn = map(arb, (u, i, s, tau_mem, tau_syn))
    a, b = (-s / tau_mem).exp(), (-s / tau_syn).exp()
    k = s / tau_mem * a if tau_mem == tau_syn else tau_syn / (tau_syn - tau_mem) * (b - a)
    return u * a + i * k


def slope(u, i, s, tau_mem, tau_syn):
    """tau_mem V' then."""
    return arb(i) * (-arb(s) / arb(tau_syn)).exp() - voltage(u, i, s, tau_mem, tau_syn)


def root_between(function, low, high, n=180):
    """Where a function changes its sign, from below 0 to above, by bisection."""
    low, high = arb(low), arb(high)
    for _ in range(n):
        middle = ((low + high) / 2).mid()
        low, high = (low, middle) if function(middle) >= 0 else (middle, high)
    return high


# -- bands -----------------------------------------------------------------------------------------------------------


def test_a_band_is_eight_steps_of_the_terms_of_v():
    for u, i, c in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (-3.0, 5.0, -7.0), (2.0, -11.0, 13.0)):
        assert undecided_band(u, i, c) == 8 * (abs(u) + abs(i) + abs(c)) * np.spacing(1.0)


def test_a_band_after_a_time_is_of_what_is_left_of_the_terms_and_of_the_steps_that_made_it():
    u, i, c, tau_mem, tau_syn = -3.0, 5.0, 0.25, 2.0, 0.5
    # small factors: 1 + a + b steps of u ea and i k; or 1 of u and i, where that is less; and 1 of c
    for s in (0.0, 1.0, 8.0):
        steps = 1.0 + s / tau_mem + s / tau_syn
        for ea, k in ((2.0**-9, 2.0**-10), (0.5, 0.25), (0.0, 2.0**-10), (2.0**-9, 0.0)):
            terms = min(steps * (3.0 * ea + 5.0 * k), 8.0) + 0.25
            for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)):
                found = undecided_after(signs[0] * u, signs[1] * i, signs[2] * c, s, ea, k, tau_mem, tau_syn)
                assert found == 8.0 * EPS * terms
    # from a thousand steps on factors say nothing: the product of one that is 0 may be no number
    for steps, terms in ((999.5, 999.5 * 8.0 * 2.0**-12), (1000.0, 8.0), (1000.5, 8.0)):
        found = undecided_after(u, i, c, (steps - 1.0) / 2.0, 2.0**-12, 2.0**-12, 1.0, 1.0)
        assert found == 8.0 * EPS * (terms + 0.25)
    for s in (1e3, 1e300, math.inf):
        assert undecided_after(u, i, c, s, 0.0, 0.0, tau_mem, tau_syn) == 8.0 * EPS * 8.25


# -- intervals between two states ------------------------------------------------------------------------------------


def test_a_peak_is_possible_up_to_where_its_two_bounds_are_equal():
    """i - (i - u) z and i_h + (u_h - i_h) z / d, of which one falls and the other rises with z."""
    random = np.random.default_rng(1)
    for _ in range(40):
        u, i, i_h, rise, fall, d = (float(x) for x in random.uniform(0.1, 1.0, 6))
        i, i_h = u + rise, u + rise * i_h
        u_h = i_h + fall
        z = (Fraction(i) - Fraction(i_h)) / (
            (Fraction(u_h) - Fraction(i_h)) / Fraction(d) + Fraction(i) - Fraction(u)
        )
        height = Fraction(i) - (Fraction(i) - Fraction(u)) * z
        c = float(height)
        band = undecided_band(u, i, c)
        assert peak_possible(u, i, c + 0.7 * band, d, u_h, i_h)
        assert not peak_possible(u, i, c + 1.3 * band, d, u_h, i_h)


def test_there_is_a_peak_only_where_v_rises_at_first_and_falls_at_last():
    assert peak_possible(0.0, 2.0, 0.5, 0.5, 1.0, 0.5)
    assert not peak_possible(2.0, 2.0, 0.5, 0.5, 1.0, 0.5)
    assert not peak_possible(2.5, 2.0, 0.5, 0.5, 1.0, 0.5)
    assert not peak_possible(0.0, 2.0, 0.5, 0.5, 0.5, 0.5)
    assert not peak_possible(0.0, 2.0, 0.5, 0.5, 0.25, 0.5)
    # where products with the decay underflow nothing is proven
    for decay in (0.9 * SMALLEST_DECAY, 0.0):
        assert peak_possible(0.0, 2.0, 9.0, decay, 1.0, 0.5)
        assert not peak_possible(2.5, 2.0, 9.0, decay, 1.0, 0.5)
    assert not peak_possible(0.0, 2.0, 9.0, 1.1 * SMALLEST_DECAY, 1.0, 0.5)


def test_a_crossing_is_possible_only_with_a_current_above_the_threshold():
    for d, u_h, i_h in ((0.5, 1.0, 0.5), (0.0625, 0.9, 0.125)):  # at the end, or at a peak before
        assert crossing_possible(0.0, 1.5, 1.0, d, u_h, i_h)
    assert not crossing_possible(0.0, 1.0, 1.0, 0.5, 1.0, 0.5)
    assert crossing_possible(-1.0, 0.5, 1.0, 0.5, 1.0, 1.5)
    assert not crossing_possible(-1.0, 0.5, 1.0, 0.5, 1.0, 1.0)
    # by the voltage at the end alone, down to the band; with neither that nor a peak there is none
    band = undecided_band(-1.0, 1.5, 1.0)
    for u_h, possible in ((1.0, True), (1.0 - band, True), (1.0 - 1.1 * band, False)):
        assert bool(crossing_possible(-1.0, 1.5, 1.0, 0.5, u_h, 1.25)) is possible
    assert not crossing_possible(0.0, 1.5, 1.0, 0.5, 0.5, 0.75)


def test_a_dense_block_advances_as_its_neurons_do_and_names_those_that_may_cross():
    random = np.random.default_rng(2)
    for size, first, low, row, flow in (
        (21, 3, 5, 0, (0.75, 0.25, 0.5)),
        (8, 0, 0, 1, (0.75, 0.25, 0.5)),
        (1, 1, 2, 1, (0.75, 0.25, 0.5)),
        (9, 2, 0, 0, (0.5 * SMALLEST_DECAY, 0.0, 0.0)),
    ):
        n = first + size + 4
        u, i = random.uniform(-1.0, 1.0, (2, 2 * n))
        c = random.uniform(0.1, 1.5, n)
        weights = random.normal(size=low + size + 3)
        now, other = row * n, (1 - row) * n
        ea, eb, k = flow
        before = u.copy(), i.copy()
        flags = np.zeros(32, np.bool_)
        flags[: 8 * ((size + 7) // 8)] = False
        found = np.full(n, -1)
        count = plain(advance_dense_block)(
            (u, i, c), now, other, first, size, weights, low, flow, (flags, flags.view(np.uint64), found)
        )
        own = slice(first, first + size)
        u_0, i_0 = (x[now : now + n][own] for x in before)
        u_h, i_h = u_0 * ea + i_0 * k, i_0 * eb
        np.testing.assert_array_equal(u[other : other + n][own], u_h)
        np.testing.assert_array_equal(i[other : other + n][own], i_h + weights[low : low + size])
        for x, was in zip((u, i), before, strict=True):  # and nothing else is written
            left = np.ones(2 * n, bool)
            left[other : other + n][own] = False
            np.testing.assert_array_equal(x[left], was[left])
        may = [
            first + m
            for m in range(size)
            if u_h[m] >= c[first + m] - undecided_band(u_0[m], i_0[m], c[first + m])
            or peak_possible(u_0[m], i_0[m], c[first + m], ea, u_h[m], i_h[m])
        ]
        assert found[:count].tolist() == may
        assert (found[count:] == -1).all()
        assert size < 9 or 0 < len(may) < size


def in_a_block(states, flow):
    """Which neurons of a block that begins with the first neuron are named, without weights."""
    u, i, c = (np.array(column) for column in zip(*states, strict=True))
    n = c.size
    u, i = (np.concatenate([x, np.zeros(n)]) for x in (u, i))
    flags, found = np.zeros(8 * ((n + 7) // 8), np.bool_), np.full(2 * n, -1)
    candidates = flags, flags.view(np.uint64), found
    count = plain(advance_dense_block)((u, i, c), 0, n, 0, n, np.zeros(n), 0, flow, candidates)
    return found[:count].tolist()


def test_in_a_dense_block_all_may_cross_or_one_that_comes_near_by_its_peak_or_its_last_voltage():
    assert in_a_block([(0.0, 1.0, 0.1)] * 27, (0.5, 0.25, 0.5)) == list(range(27))
    # a peak, and where its two bounds are equal, as above
    random, states, may = np.random.default_rng(7), [], []
    ea, eb, k = flow = 0.25, 0.125, 0.5
    while len(states) < 30:
        u, i = (float(x) for x in random.uniform((-1.0, 0.1), (0.1, 1.0)))
        u_h, i_h = u * ea + i * k, i * eb
        z = (i - i_h) / ((u_h - i_h) / ea + i - u)
        if u_h > i_h:
            c, near = i - (i - u) * z, random.choice([0.7, 1.3])
            if near < 1.0:
                may.append(len(states))
            states.append((u, i, c + near * undecided_band(u, i, c)))
            assert states[-1][2] - undecided_band(*states[-1]) > u_h
    assert in_a_block(states, flow) == may
    # the last voltage at the very edge of the band: 8 steps of 1
    assert in_a_block([(-1.0, 0.0, 0.0)], (8 * EPS, 0.0, 0.0)) == [0]
    assert in_a_block([(-1.0, 0.0, 0.0)], (9 * EPS, 0.0, 0.0)) == []
    # V that does not rise at first has no peak
    assert in_a_block([(0.5, 0.5, 0.5)], (0.5, 0.5, 0.25)) == []


# -- steps -----------------------------------------------------------------------------------------------------------


def states(seed, n):
    """States with time constants of 1/4 to 4, from which V rises."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        tau_mem, tau_syn = 4.0 ** random.uniform(-1.0, 1.0, 2)
        u = random.normal()
        yield float(u), float(u + random.uniform(0.5, 3.0)), float(tau_mem), float(tau_syn)


def test_a_short_step_leaves_the_fourth_power_of_its_length():
    s = 2.0**-13
    for u, i, tau_mem, tau_syn in states(3, 40):
        f = float(arb(u) - voltage(u, i, s, tau_mem, tau_syn))
        shortest = min(tau_mem, tau_syn)
        for back in (1, -1):  # and so does one back
            t = back * s
            f = float(arb(u) - voltage(u, i, t, tau_mem, tau_syn))
            step = taylor_step(f, u, i, 1.0 / tau_mem, 1.0 / tau_syn)
            bends = (1.0 + (abs(i) + abs(u)) / (i - u)) ** 3
            assert abs(step - t) <= 2.0 * s * (s / shortest) ** 3 * bends + 4 * EPS * bends * s


def test_near_a_peak_a_step_leaves_the_third_power_of_its_length():
    """The parabola's own root, corrected for the third derivative."""
    near, checked = 2.0**-10, 0
    for u, i, tau_mem, tau_syn in states(4, 40):
        peak = turn_time(u, i, 1e300, tau_mem, tau_syn)
        if not 2 * near < peak < 5.0:
            continue
        at = peak - near
        current = float(arb(i) * (-arb(at) / arb(tau_syn)).exp())
        v = float(voltage(u, i, at, tau_mem, tau_syn))
        if v > current or current < 0.05:
            continue
        top = turn_time(v, current, 1e300, tau_mem, tau_syn)
        for share in (0.25, 0.5, 0.75):
            s = share * top
            f = float(arb(v) - voltage(v, current, s, tau_mem, tau_syn))
            step = taylor_step(f, v, current, 1.0 / tau_mem, 1.0 / tau_syn)
            assert abs(step - s) <= 4.0 * (near / min(tau_mem, tau_syn)) ** 2 * s
            checked += 1
    assert checked > 30


def test_there_is_no_step_where_v_falls_or_to_above_a_parabola():
    assert taylor_step(-0.5, 2.0, 1.0, 1.0, 1.0) == math.inf
    assert taylor_step(-0.5, 1.0, 1.0, 1.0, 1.0) == math.inf
    # V' = 1 and V'' = -2: up to 1/4
    assert taylor_step(-0.25, 0.0, 1.0, 1.0, 1.0) == math.inf
    assert taylor_step(-0.3, 0.0, 1.0, 1.0, 1.0) == math.inf
    d1 = 2.0**-10
    highest = d1 * d1 / (2.0 * (1.0 + d1))
    assert taylor_step(-0.999 * highest, 1.0 - d1, 1.0, 1.0, 1.0) == pytest.approx(d1, rel=0.1, abs=0.0)
    assert taylor_step(-1.001 * highest, 1.0 - d1, 1.0, 1.0, 1.0) == math.inf


# -- the search ------------------------------------------------------------------------------------------------------


def searched(kind, n):
    """States of which V crosses: (u, i, c, tau_mem, tau_syn), with time constants of 3 to 100 ms."""
    random = np.random.default_rng(5)
    for _ in range(n):
        tau_mem, tau_syn = (float(x) for x in 10.0 ** random.uniform(-2.5, -1.0, 2))
        near, far, share = (float(x) for x in random.uniform(0.0, 1.0, 3))
        if kind in ("above the threshold", "near a peak"):
            u, i = 0.9 - 3.0 * near, 0.9 + 10.0 ** (1.5 * far)
            peak = float(voltage(u, i, turn_time(u, i, 1e300, tau_mem, tau_syn), tau_mem, tau_syn))
            if peak < 0.05:
                continue
            below = 10.0 ** (-9.0 + 7.0 * share) if kind == "near a peak" else 0.02 + 0.98 * share
            c = peak - below * (peak - max(u, 0.0))
        else:
            c = -(10.0 ** (-3.0 + 3.0 * near))
            u = c - 10.0 ** (-3.0 + 4.0 * far)
            i = 3.0 * share if kind == "with a current" else -(10.0 ** (-3.0 + 4.5 * share))
        yield u, i, c, tau_mem, tau_syn


def crossing(u, i, c, tau_mem, tau_syn, low, high):
    """When V rises to c, by Arb, between two times, of which the later may be inf."""

    def above(s):
        return voltage(u, i, s, tau_mem, tau_syn) - c

    if high == math.inf:
        high = low + tau_mem
        while above(high) < 0:
            high *= 2.0
    return root_between(above, low, high)


@pytest.mark.parametrize(
    ("kind", "most", "together"),
    [
        ("above the threshold", 3, 2.15),
        ("near a peak", 2, 2.0),
        ("with a current", 7, 2.1),
        ("against a current", 7, 3.1),
    ],
)
def test_a_crossing_stays_in_its_bracket_and_is_found_in_a_few_steps(kind, most, together):
    """Each costs two exponentials: at most as many, and on the average not many more than is said."""
    taken = []
    for state in searched(kind, 100):
        u, i, c, tau_mem, tau_syn = state
        low, high, s, grazing = first_guess(*state)
        assert not grazing
        turn = turn_time(*state)
        assert low == (turn if i < u and turn < math.inf else 0.0)  # V falls at first
        if c > 0.0:
            assert high == turn
        else:
            high, s = guess_below_leak(*state, low, high, s)
        truth = crossing(*state, low, high)
        done = False
        taken.append(0)
        while not done:
            assert low < s < high
            assert low <= truth * (1 + 4 * EPS)
            assert truth <= high * (1 + 4 * EPS)
            low, high, s, done = refine(*state, low, high, s)
            taken[-1] += 1
        assert (s, False) == crossing_time(*state)
        # V carries a few roundings of its terms; near a peak the error of s is the root of that of V
        rise = float(slope(u, i, truth, tau_mem, tau_syn)) / tau_mem
        current = float(arb(i) * (-truth / tau_syn).exp())
        bend = abs(current / tau_syn + rise) / tau_mem
        band = undecided_band(u, i, c)
        error = min(band / rise, math.sqrt(2 * band / bend))
        assert abs(s - float(truth)) <= 2 * error + 4 * EPS * float(truth)
    assert max(taken) <= most
    assert np.mean(taken) <= together


def test_there_is_no_guess_where_v_does_not_cross():
    tau_mem, tau_syn = 20e-3, 5e-3

    def guess(u, i, c):
        return first_guess(*map(np.float64, (u, i, c, tau_mem, tau_syn)))[
            2
        ]  # which is divided by 0 as in kernels

    # there already, with a current that keeps it above, or not
    assert guess(1.0, 1.5, 1.0) == 0.0
    assert guess(2.0, 1.5, 1.0) == 0.0
    assert guess(1.0, 1.0, 1.0) == math.inf
    assert guess(0.5, -0.5, 0.25) == math.inf
    assert guess(0.0, 0.5, 0.0) == 0.0
    assert guess(-0.5, -0.75, -0.5) == 0.0  # without a current V rises to v_leak
    assert guess(-0.5, 0.0, 0.0) == math.inf
    # a current that is not above the threshold, or whose peak is not
    assert guess(0.0, 1.0, 1.0) == math.inf
    assert guess(0.9, 1.0, 1.0) == math.inf
    peak = float(voltage(0.0, 1.0, turn_time(0.0, 1.0, 1.0, tau_mem, tau_syn), tau_mem, tau_syn))
    for above, crosses in ((-1e-9, False), (1e-9, True)):
        s = guess(0.0, (1.0 + above) / peak, 1.0)
        assert bool(s < math.inf) is crosses
    # towards v_leak: from below, by the threshold's sign
    for i in (0.0, -0.25, 0.25):
        assert 0.0 < guess(-1.0, i, -0.5) < math.inf
    assert guess(-1.0, 0.0, 0.0) == math.inf
    assert guess(-1.0, -0.25, 0.0) == math.inf
    assert 0.0 < guess(-0.25, -0.25, -0.125) < math.inf  # i = u < 0: V falls at first
    assert guess(0.0, 0.0, 0.5) == math.inf


def test_a_peak_that_is_the_threshold_to_the_last_bit_is_no_crossing_and_undecided():
    state = tuple(map(np.float64, (0.25, 3.0, 1.0, 20e-3, 5e-3)))
    ea, _, k = propagator(turn_time(*state), 20e-3, 5e-3)
    u, i = state[:2]
    _, _, s, grazing = first_guess(u, i, u * ea + i * k, *state[3:])
    assert (s, bool(grazing)) == (math.inf, True)
    assert crossing_time(u, i, u * ea + i * k, *state[3:])[1]


def test_v_does_not_reach_a_threshold_that_is_the_current_though_roundings_may():
    random, n = np.random.default_rng(8), 0
    while n < 3:
        c, tau_mem, far = (np.float64(x) for x in random.uniform((0.5, 1e-3, 12.0), (2.0, 0.1, 18.0)))
        u, tau_syn = c * (1.0 - 1e-6), tau_mem * 10.0**far
        turn = turn_time(u, c, c, tau_mem, tau_syn)
        if turn < math.inf:
            ea, _, k = propagator(turn, tau_mem, tau_syn)
            n += u * ea + c * k > c
            _, _, s, grazing = first_guess(u, c, c, tau_mem, tau_syn)
            assert (s, bool(grazing)) == (math.inf, False)


def test_a_guess_lies_in_its_bracket_however_near_the_threshold_is():
    low, high, s, _ = first_guess(*map(np.float64, (0.0, 1.0, 5e-324, 20e-3, 5e-3)))
    assert low < s < high


def test_towards_v_leak_v_rises_at_least_as_fast_as_without_a_current():
    u, c, tau_mem, tau_syn = -2.0, -0.5, 20e-3, 5e-3
    latest = tau_mem * math.log(4.0)
    for i in (0.0, 0.25, 0.75, 2.0):
        low, high, s, _ = first_guess(*map(np.float64, (u, i, c, tau_mem, tau_syn)))
        high, s = guess_below_leak(u, i, c, tau_mem, tau_syn, low, high, s)
        assert high == pytest.approx(latest, rel=1e-14, abs=0.0) or high < latest
        assert low < s <= latest * (1 + 1e-14)
    # however far below it is: beyond that bound by doubling
    found, _ = crossing_time(*map(np.float64, (-1.0, 0.0, -1e-301, tau_mem, tau_syn)))
    assert found == pytest.approx(301 * tau_mem * math.log(10.0), rel=1e-13, abs=0.0)
    # and it may be there
    assert guess_below_leak(-0.25, 0.5, c, tau_mem, tau_syn, 0.0, math.inf, 0.0)[1] == 0.0
    assert crossing_time(*map(np.float64, (-0.25, 0.5, c, tau_mem, tau_syn))) == (0.0, False)
    assert crossing_time(*map(np.float64, (-0.25, -0.5, c, tau_mem, tau_syn)))[0] == 0.0


def test_a_v_that_float64_does_not_see_turn_does_so_when_it_is_the_current():
    """exp(-40) is less than half a rounding."""
    tau_mem, random, hidden = 20e-3, np.random.default_rng(0), False
    while not hidden:
        c, tau_syn = random.uniform(0.5, 0.9), tau_mem * 10.0 ** random.uniform(14, 20)
        u, i = np.nextafter(c, 0.0), np.nextafter(c, 9.0)
        hidden = extremum(u, i, tau_mem, tau_syn) == math.inf
    assert turn_time(u, i, c, tau_mem, tau_syn) == pytest.approx(40 * tau_mem, rel=1e-15, abs=0.0)
    assert turn_time(i, u, c, tau_mem, tau_syn) == math.inf
    assert turn_time(u, i, -c, tau_mem, tau_syn) == turn_time(u, i, 0.0, tau_mem, tau_syn) == math.inf
    assert turn_time(u, u, c, tau_mem, tau_syn) == math.inf
    found = turn_time(0.0, 1.0, 1.0, tau_mem, 5e-3)
    assert found == pytest.approx(20e-3 * 5e-3 / 15e-3 * math.log(4.0), rel=1e-14, abs=0.0)


@pytest.mark.parametrize("n", [1, 23])
def test_crossings_that_are_sought_together_have_the_bits_of_each_alone(n):
    random = np.random.default_rng(6)
    mixed = [
        *itertools.islice(searched("with a current", 8), 8),
        *searched("against a current", 7),
        *searched("above the threshold", 4),
        (2.0, 1.5, 1.0, 20e-3, 5e-3),
        (0.0, 1.0, 1.0, 20e-3, 5e-3),
        (-1.0, 0.0, 0.5, 20e-3, 5e-3),
        (0.0, 1.0 / float(voltage(0.0, 1.0, turn_time(0.0, 1.0, 1.0, 20e-3, 5e-3), 20e-3, 5e-3)), 1.0, 0, 0),
    ]
    chosen = [mixed[k][:3] for k in random.permutation(len(mixed))[:n]]
    columns = np.array(chosen).T.copy()
    times, grazing = np.full(n, np.nan), np.zeros(n, np.bool_)
    room, which, done = np.full((6, n), np.nan), np.full(n, -1), np.zeros(n, np.bool_)
    plain(crossing_times)(n, columns, 20e-3, 5e-3, times, grazing, room, which, done)
    alone = [crossing_time(*state, 20e-3, 5e-3) for state in chosen]
    assert times.tolist() == [s for s, _ in alone]
    assert grazing.tolist() == [g for _, g in alone]
    assert n == 1 or (0.0 in times and math.inf in times and grazing.any())
