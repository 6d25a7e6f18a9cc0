"""The first crossing after a state, against a bracketed search in many digits that shares no code with it."""

import math

import numpy as np
import pytest
from mpmath import mp, mpf

from eventsolve.kernels.cells import no_crossing_before
from eventsolve.kernels.crossing import (
    EPS,
    crossing_possible,
    crossing_time,
    peak_possible,
    turn_time,
    undecided_after,
    undecided_band,
)
from eventsolve.kernels.membrane import extremum, propagator


def voltage(u, i, s, tau_mem, tau_syn):
    """V - v_leak a time s after the state."""
    a, b = mp.exp(-s / tau_mem), mp.exp(-s / tau_syn)
    k = s / tau_mem * a if tau_mem == tau_syn else tau_syn / (tau_syn - tau_mem) * (b - a)
    return u * a + i * k


def first_crossing(u, i, c, tau_mem, tau_syn):
    """The first s > 0 at which V rises to c, by the sign of V' and bisection; None if there is none, and the peak."""
    u, i, c, tau_mem, tau_syn = (mpf(float(x)) for x in (u, i, c, tau_mem, tau_syn))
    low, turn = mpf(0), None
    if i != 0:
        if tau_mem == tau_syn:
            turn = tau_mem * (1 - u / i)
        else:
            b = i * tau_syn / (tau_syn - tau_mem)
            ratio = -((u - b) / tau_mem) / (b / tau_syn)
            if ratio > 0:
                turn = mp.log(ratio) / (1 / tau_mem - 1 / tau_syn)
    if turn is not None and turn <= mpf(10) ** -30 * tau_mem:  # a start at the turn itself
        turn = None
    rising = i > u or (i == u and i < 0)
    peak = None
    if rising and turn is not None:
        peak = voltage(u, i, turn, tau_mem, tau_syn)
        if peak <= c:
            return None, peak
        high = min(tau_mem, turn)  # the peak may be very far ahead
        while voltage(u, i, high, tau_mem, tau_syn) < c:
            high = min(2 * high, turn)
    elif rising or turn is not None:
        if c >= 0:
            return None, peak
        low = mpf(0) if rising else turn
        high = low + max(tau_mem, tau_syn)
        while voltage(u, i, high, tau_mem, tau_syn) < c:
            high = 2 * high
    else:
        return None, peak
    for _ in range(430):
        middle = (low + high) / 2
        if voltage(u, i, middle, tau_mem, tau_syn) >= c:
            high = middle
        else:
            low = middle
    return high, peak


def states(seed, n):
    """States far and near, currents tiny and large, ratios of 1e-3 to 1e3 and nearly 1, thresholds of either sign."""
    rng = np.random.default_rng(seed)
    for tau_mem in (2e-5, 8e-3, 3.0):  # far slower and far faster than the current
        for i in (0.0, 1e-60, -1e-60, 1e-300, 1e-309, -1e-309, 5e-324, -1e-3, -0.3, 0.2):
            for u, c in ((-1.2, -0.2), (-1.2, -1e-9), (-1e-3, -1e-3 * (1 - 1e-9))):
                yield u, i, c, tau_mem, 8e-3
    # a peak whose 1 + delta R cancels; a long step whose terms cancel
    yield -1019.6154566256347, 5.591636084765027e-11, 0.0, 1.8478113548157963e-07, 1.1760710908e-04
    yield (
        -2.903903076832802e-06,
        -2.9017968228313184e-06,
        -5.29e-18,
        5.787056963623923e-4,
        5.787056963623805e-4,
    )
    for _ in range(n):
        tau_syn = 10.0 ** rng.uniform(-4, -1)
        kind = rng.integers(4)
        ratio = [1.0, 10.0 ** rng.uniform(-3, 3), rng.uniform(0.5, 5), 1 + 10.0 ** -rng.uniform(1, 16)][kind]
        c = rng.choice([rng.uniform(0.1, 2.0), -rng.uniform(0.01, 1.0), 10.0 ** -rng.uniform(1, 12), 0.0])
        u = c - 10.0 ** rng.uniform(-12, 1)
        i = rng.choice(
            [
                0.0,
                rng.normal(0, 3),
                10.0 ** rng.uniform(-80, 3),
                -(10.0 ** rng.uniform(-80, 3)),
                c * (1 + 1e-9),
                u,
            ]
        )
        yield float(u), float(i), float(c), float(tau_syn * ratio), float(tau_syn)


@pytest.mark.parametrize("seed", range(8))
def test_crossings_are_those_of_a_bracketed_search(seed):
    found = 0
    with mp.workdps(45):
        # np.float64, as arrays give it: uncompiled, a Python float would not divide by 0
        for u, i, c, tau_mem, tau_syn in map(np.float64, states(seed, 150)):
            s, grazing = crossing_time(u, i, c, tau_mem, tau_syn)
            want, peak = first_crossing(u, i, c, tau_mem, tau_syn)
            state = (u, i, c, tau_mem, tau_syn)
            band = undecided_band(u, i, c)
            if peak is not None and abs(peak - mpf(c)) <= band_at_peak(*state) / 4:
                assert grazing, state
            if peak is not None and abs(peak - mpf(c)) <= 2 * band:
                continue
            assert (s < math.inf) == (want is not None), state
            if want is None:
                continue
            found += 1
            current = mpf(i) * mp.exp(-want / tau_syn)
            slope = (current - mpf(c)) / tau_mem
            # V carries a few roundings of its terms; near a peak the error of s is the root of that of V
            bend = abs(current / tau_syn + slope) / tau_mem
            error = min(float(band / slope), math.sqrt(float(2 * band / bend)) if bend else math.inf)
            assert abs(s - float(want)) <= 2 * error + 4 * EPS * float(want), (state, s, float(want))
    assert found > 20


def test_no_voltage_comes_near_the_threshold_before_it():
    """V first seems to cross at c less the band. In a tenth of the cases or more, twice the time would be too late."""
    near = asked = 0
    with mp.workdps(45):
        for u, i, c, tau_mem, tau_syn in map(np.float64, states(0, 100)):
            level = c - undecided_band(u, i, c)
            wait = no_crossing_before(0.0, u, i, -1.0, c, tau_mem)
            if not u < level:
                assert wait in (0.0, math.inf)
                continue
            found, peak = first_crossing(u, i, level, tau_mem, tau_syn)
            asked += 1
            if found is None:
                assert peak is None or peak <= level
                continue
            assert wait < math.inf
            assert mpf(wait) <= found
            near += mpf(2.1 * wait) > found
            assert voltage(mpf(u), mpf(i), mpf(wait), mpf(tau_mem), mpf(tau_syn)) < level
    assert asked > 60
    assert near > 0.1 * asked


@pytest.mark.parametrize("free_at", [0.5e-3, 3e-3])
def test_a_held_neuron_is_not_asked_before_its_release(free_at):
    wait = no_crossing_before(0.0, -1.0, 3.0, -1.0, 0.5, 20e-3)
    assert no_crossing_before(0.0, -1.0, 3.0, free_at, 0.5, 20e-3) == free_at + wait
    assert no_crossing_before(0.0, -1.0, 0.4, free_at, 0.5, 20e-3) == math.inf


# -- intervals in which a crossing is excluded without looking for it ------------------------------------------------


def possible(u, i, c, h, tau_mem, tau_syn):
    """What is said of an interval from its two ends."""
    ea, eb, k = propagator(h, tau_mem, tau_syn)
    return bool(crossing_possible(u, i, c, ea, u * ea + i * k, i * eb))


def test_no_interval_in_which_v_crosses_is_passed_over():
    """Of all signs and lengths, up to those over which everything has died away in float64."""
    rng = np.random.default_rng(7)
    crossed = excluded = late = 0
    for _ in range(4000):
        tau_mem, tau_syn = rng.choice([20e-3, 5e-3, 1e-3], 2) * (1 + rng.choice([0.0, 1e-9]))
        c = rng.choice([1.0, 0.1, -0.2, -1.0])
        u = c - abs(rng.normal()) * rng.choice([1.0, 1e-3])
        i = rng.choice([rng.uniform(c, c + 10), rng.uniform(u, u + 3), rng.normal()])
        h = float(rng.choice([rng.uniform(0, 1e-2), rng.uniform(0, 0.2), 20.0]))
        tau_mem, tau_syn, c, u, i = map(float, (tau_mem, tau_syn, c, u, i))
        s, _ = crossing_time(u, i, c, tau_mem, tau_syn)
        said = possible(u, i, c, h, tau_mem, tau_syn)
        if s <= h:
            assert said, (u, i, c, h, tau_mem, tau_syn, s)
            crossed += 1
            late += (i <= c) or h == 20.0
        else:
            excluded += not said
    # and they were of use, on either side
    assert crossed > 800
    assert late > 100
    assert excluded > 800


def test_a_peak_that_float64_does_not_tell_from_the_threshold_is_not_passed_over():
    """However close to it the interval ends, so that its bound is the peak's own height."""
    rng = np.random.default_rng(3)
    below = 0
    for _ in range(3000):
        tau_mem, tau_syn = 20e-3, float(rng.choice([5e-3, 20e-3, 40e-3]))
        i = rng.uniform(0.5, 5)
        u, i = float(i - rng.uniform(0, 1) * 10.0 ** rng.uniform(-6, -1)), float(i)
        turn = extremum(u, i, tau_mem, tau_syn)
        ea, eb, k = propagator(turn * (1 + 10.0 ** float(rng.uniform(-6, 0))), tau_mem, tau_syn)
        e, _, k_turn = propagator(turn, tau_mem, tau_syn)
        peak = u * e + i * k_turn
        c = peak + int(rng.integers(-3, 4)) * EPS * peak
        u_h, i_h = u * ea + i * k, i * eb
        if u_h <= i_h:
            continue
        assert abs(peak - c) <= undecided_band(u, i, c)
        assert peak_possible(u, i, c, ea, u_h, i_h), (u, i, c, ea)
        for share, undecided in ((0.9, True), (-0.9, True), (1.1, False), (-1.1, False)):
            level = peak + share * band_at_peak(u, i, peak, tau_mem, tau_syn)
            if u < level:
                assert bool(crossing_time(u, i, level, tau_mem, tau_syn)[1]) is undecided
        late, early = u_h - i_h, (i - u) * ea
        below += late * i + early * i_h < c * (late + early)
    assert below > 50  # which rounding alone puts below the threshold


def test_an_interval_is_excluded_where_v_stays_far_below():
    assert not possible(0.0, 0.9, 1.0, 20e-3, 20e-3, 5e-3)
    assert not possible(0.0, 2.0, 1.0, 20e-3, 20e-3, 5e-3)
    assert possible(0.0, 6.4, 1.0, 20e-3, 20e-3, 5e-3)


def band_at_peak(u, i, c, tau_mem, tau_syn):
    s = turn_time(u, i, c, tau_mem, tau_syn)
    ea, _, k = propagator(s, tau_mem, tau_syn)
    return undecided_after(u, i, c, s, ea, k, tau_mem, tau_syn)


@pytest.mark.parametrize("far", [1e3, 1e6, 1e12])
def test_how_far_v_was_from_its_threshold_does_not_matter_once_it_has_decayed(far):
    """Peaks beyond the band at the peak are on the side that is found, however much wider that of the state is."""
    rng = np.random.default_rng(int(far) % 97)
    narrower = 0
    with mp.workdps(60):
        for _ in range(40):
            tau_mem = rng.uniform(5e-3, 50e-3)
            tau_syn = tau_mem * rng.uniform(1.5, 30.0)
            u, low, high = -far * rng.uniform(0.5, 2.0), 0.0, 1e6 * far
            for _ in range(80):  # the current with which V peaks at about 1
                i = 0.5 * (low + high)
                s = turn_time(*map(np.float64, (u, i, 1.0, tau_mem, tau_syn)))
                ea, _, k = propagator(s, tau_mem, tau_syn)
                low, high = (low, i) if u * ea + i * k > 1.0 else (i, high)
            height = u * ea + i * k  # and not 1: i has 53 bits
            narrow, wide = band_at_peak(u, i, 1.0, tau_mem, tau_syn), undecided_band(u, i, 1.0)
            for sign in (-1.0, 1.0):
                beyond = sign * np.exp(
                    rng.uniform(np.log(1.5 * narrow), np.log(max(0.9 * wide, 2.0 * narrow)))
                )
                state = tuple(map(np.float64, (u, i, height - beyond, tau_mem, tau_syn)))
                s, grazing = crossing_time(*state)
                peak = first_crossing(*state[:2], np.float64(1e300), *state[3:])[1]
                assert abs(peak - mpf(float(state[2]))) > 1.2 * narrow
                assert (s < math.inf) == (peak > mpf(float(state[2]))), state
                assert not grazing
                narrower += abs(beyond) < wide
    assert narrower > 40


def test_a_peak_that_rounding_hides_is_undecided_and_not_passed_over():
    """I hardly decays, so that V rises to all but I, which is above the threshold by an ulp, as V is below it at first.

    u delta + i/tau_mem, which is u/tau_syn + (i - u)/tau_mem > 0, is then lost in its roundings, and with it the peak.
    """
    rng = np.random.default_rng(0)
    n = 20_000
    tau_mem, c = rng.uniform(10e-3, 40e-3, n), rng.uniform(0.5, 2.0, n)
    tau_syn = tau_mem * 10.0 ** rng.uniform(14, 20, n)
    u, i = np.nextafter(c, 0.0), np.nextafter(c, 9.0)
    hidden = u * ((tau_mem - tau_syn) / (tau_mem * tau_syn)) + i * (1.0 / tau_mem) <= 0.0
    assert hidden.sum() > 100
    # numbers of numpy, which divide by 0 as compiled code does, and those of Python do not
    for state in zip(*(column[hidden][:300] for column in (u, i, c, tau_mem, tau_syn)), strict=True):
        assert extremum(state[0], state[1], *state[3:]) == math.inf
        s, grazing = crossing_time(*state)
        assert grazing
        assert s > 0.0
