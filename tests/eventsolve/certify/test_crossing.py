"""One interval: whatever is guessed, no crossing is claimed that is none, and none is denied that is one.

Guesses of where a peak or a crossing is choose what is tried, and nothing else: here they are wrong on purpose, and
often at the places where a hypothesis of the lemma fails, as where V comes down again after the peak.
"""

import itertools
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from enclosing import WIDE, exactly, response
from flint import arb
from mpmath.ctx_mp import MPContext

from eventsolve.certify import crossing
from eventsolve.certify.arithmetic import Undecided, ball, working_precision
from eventsolve.certify.membrane import Held, rates_of

BITS = 100
MP = MPContext()
MP.dps = 60
TAU = [(20e-3, 5e-3), (5e-3, 5e-3), (4e-3, 9e-3)]


class Course:
    """V of one network from a start on, with its only extremum, beside a threshold."""

    def __init__(self, tau_mem, tau_syn, leak, voltage, current, threshold):
        self.taus = MP.mpf(tau_mem), MP.mpf(tau_syn)
        self.leak, self.excess, self.current = MP.mpf(leak), MP.mpf(voltage) - MP.mpf(leak), MP.mpf(current)
        self.threshold = MP.mpf(threshold)
        self.extremum = self._extremum()

    def at(self, s):
        """V."""
        mem, syn = self.taus
        decay, left = MP.exp(-s / mem), MP.exp(-s / syn)
        k = s / mem * decay if mem == syn else syn / (syn - mem) * (left - decay)
        return self.leak + self.excess * decay + self.current * k

    def _extremum(self):
        """When V' = 0, or None: I(s) = V(s) - v_leak there."""
        mem, syn = self.taus
        gap = 1 / syn - 1 / mem
        divisor = self.excess * gap + self.current / mem
        if divisor == 0:
            return None
        s = (self.current - self.excess) / divisor
        if gap != 0:
            if 1 + gap * s <= 0:
                return None
            s = MP.log(1 + gap * s) / gap
        return s if s > 0 else None

    def crosses(self, end):
        """Whether V reaches the threshold up to an end: there or at its extremum."""
        tops = [end, *([self.extremum] if self.extremum and self.extremum < end else [])]
        return any(self.at(s) >= self.threshold for s in tops)

    def about(self, end):
        """About when V reaches the threshold, from below or from above, up to an end."""
        places = [0.0, *([float(self.extremum)] if self.extremum and self.extremum < end else []), end]
        for low, high in itertools.pairwise(places):
            above = [self.at(s) >= self.threshold for s in (low, high)]
            if above[0] != above[1]:
                for _ in range(20):
                    middle = (low + high) / 2
                    low, high = (
                        (middle, high) if (self.at(middle) >= self.threshold) == above[0] else (low, middle)
                    )
                yield high


def drawn(rng):
    """Numbers of a neuron that starts below its threshold, and how long nothing arrives; most come close to it."""
    tau_mem, tau_syn = TAU[rng.integers(len(TAU))]
    leak = float(rng.choice([0.0, 0.0, -0.5, 1.5]))
    voltage = float(rng.uniform(-1.0, 0.99))
    current = float(rng.choice([rng.uniform(-8, 2), rng.uniform(1, 12), rng.uniform(4, 8)]))
    end = float(rng.choice([rng.uniform(1e-3, 10e-3), rng.uniform(5e-3, 100e-3)]))
    return tau_mem, tau_syn, leak, voltage, current, end


def starting(numbers, *, listed):
    """The membrane of numbers that are balls, from time 0 on."""
    tau_mem, tau_syn, leak, voltage, current = numbers
    held = Held(rates_of(tau_mem, tau_syn), leak, ball(0.0), current, listed)
    return held.released(ball(0.0), voltage)


def decided(membrane, end, threshold, guesses):
    """What is found with these guesses of the peak, of a late time and of the crossing."""
    peak, late, cross = guesses
    with (
        mock.patch.object(crossing, "peak_time", return_value=peak),
        mock.patch.object(crossing, "latest_time", return_value=late),
        mock.patch.object(crossing, "crossing_time", return_value=cross),
    ):
        return crossing.first_crossing(membrane, membrane.moved(ball(end)), threshold)


def some_guesses(rng, course, end):
    places = [
        *course.about(end),
        *([float(course.extremum)] if course.extremum else []),
        end * rng.uniform(),
        end,
        0.0,
    ]

    def one():
        place = places[rng.integers(len(places))]
        return arb(float(place * (1 + rng.choice([0.0, 1e-3, -1e-3, 0.1, -0.1]))))

    return one(), one(), one()


def assert_right(found, courses, end):
    """Every course crosses first within what is found, or none does."""
    for course in courses:
        if found is None:
            assert not course.crosses(MP.mpf(end))
        else:
            middle, radius = (MP.mpf(exactly(x)) for x in (found.mid(), found.rad()))
            assert not course.crosses(middle - radius)
            assert course.crosses(middle + radius)


@pytest.mark.parametrize("listed", [False, True])
def test_one_network_whatever_is_guessed(listed):
    rng, outcomes = np.random.default_rng(1), Counter()
    with working_precision(BITS):
        for _ in range(300):
            *numbers, end = drawn(rng)
            membrane, course = starting(map(ball, numbers), listed=listed), Course(*numbers, 1.0)
            try:
                found = decided(membrane, end, ball(1.0), some_guesses(rng, course, end))
            except Undecided:
                outcomes["open"] += 1
            else:
                assert_right(found, [course], end)
                outcomes["none" if found is None else "crossing"] += 1
    assert outcomes["none"] > 50
    assert outcomes["crossing"] > 30


@pytest.mark.parametrize("listed", [False, True])
def test_one_network_is_decided_with_the_guesses_that_are_made(listed):
    rng, outcomes = np.random.default_rng(2), Counter()
    with working_precision(BITS):
        for _ in range(200):
            *numbers, end = drawn(rng)
            membrane = starting(map(ball, numbers), listed=listed)
            found = crossing.first_crossing(membrane, membrane.moved(ball(end)), ball(1.0))
            assert_right(found, [Course(*numbers, 1.0)], end)
            if found is not None:
                assert found.rad() <= 1e-24  # far within a step of float64
            outcomes["none" if found is None else "crossing"] += 1
    assert min(outcomes.values()) > 50


@pytest.mark.parametrize("spread", [1e-6, 3e-3, 3e-2])
def test_a_box_of_networks_whatever_is_guessed(spread):
    rng, outcomes = np.random.default_rng(3), Counter()
    with working_precision(BITS):
        for k in range(150):
            *numbers, end = drawn(rng)
            radii = np.array([1e-2, 1e-2, 1.0, 1.0, 4.0]) * spread * rng.integers(0, 2, 5)
            balls = [arb(m, r) if r else arb(m) for m, r in zip(numbers, radii.tolist(), strict=True)]
            threshold = arb(1.0, spread / 2)
            if not balls[3] < threshold:
                numbers[3] = 0.5
                balls[3] = arb(0.5, float(radii[3]))
            membrane, middle = starting(balls, listed=True), Course(*numbers, 1.0)
            guesses = some_guesses(rng, middle, end)
            try:
                if k % 2:
                    found = decided(membrane, end, threshold, guesses)
                else:
                    found = crossing.first_crossing(membrane, membrane.moved(ball(end)), threshold)
            except Undecided:
                outcomes["open"] += 1
                continue
            corners = [rng.choice([-1, 1], 6) for _ in range(3)] + [(0, 0, 0, -1, -1, 1), (0, 0, 1, 1, 1, -1)]
            courses = []
            for signs in corners:
                ends = [
                    exactly(b.mid()) + int(s) * exactly(b.rad())
                    for s, b in zip(signs, (*balls, threshold), strict=True)
                ]
                courses.append(Course(*ends))
            assert_right(found, courses, end)
            outcomes["none" if found is None else "crossing"] += 1
    assert outcomes["none"] > 25
    assert outcomes["crossing"] > 8


# -- guesses are good ones -----------------------------------------------------------------------------------------


def states(rng, n):
    """Excess, current, level and time constants, of which many have a peak not far from the level."""
    for _ in range(n):
        level = float(rng.choice([rng.uniform(0.05, 3.0), rng.uniform(-2.0, 0.0), 0.0], p=[0.7, 0.2, 0.1]))
        excess = level - float(rng.choice([1.0, 1e-3]) * rng.uniform())
        current = float(rng.choice([rng.uniform(-8, 2), rng.uniform(0, 12) * max(level, 0.1)]))
        yield excess, current, level, *TAU[rng.integers(len(TAU))]


def test_float64_guesses_a_crossing_to_its_rounding_or_says_that_it_is_unclear():
    rng, outcomes = np.random.default_rng(5), Counter()
    for excess, current, level, *taus in states(rng, 300):
        course = Course(*taus, 0.0, excess, current, level)
        guess = crossing.crossing_ahead(excess, current, level, *taus)
        top = course.extremum if course.extremum and current > 0 else MP.mpf(5)  # V is at rest by then
        if np.isnan(guess):
            height = course.at(course.extremum)
            assert abs(height - course.threshold) <= 1.01e-6 * (abs(height) + abs(course.threshold))
        elif guess == np.inf:
            assert course.at(top) < level
        else:
            # what a few roundings of the terms of V make of the time
            slope = (current * MP.exp(-guess / taus[1]) - level) / taus[0]
            within = 8 * 2.0**-52 * ((abs(excess) + abs(current) + abs(level)) / slope + guess)
            assert course.at(guess - within) < level < course.at(guess + within)
            assert guess < top
        outcomes["unclear" if np.isnan(guess) else "none" if guess == np.inf else level > 0] += 1
    assert min(outcomes[kind] for kind in ("none", True, False)) > 20


@pytest.mark.parametrize("taus", TAU)
@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_float64_is_not_asked_about_a_peak_at_the_level(taus, level):
    highest = Course(*taus, 0.0, 0.0, 1.0, level)
    current = float(MP.mpf(level) / highest.at(highest.extremum))
    for off, clear in ((0.0, False), (1e-7, False), (-1e-7, False), (1e-5, True), (-1e-5, True)):
        guess = crossing.crossing_ahead(0.0, current * (1 + off), level, *taus)
        assert np.isnan(guess) != clear
        if clear:
            assert (guess < np.inf) == (off > 0)


def test_float64_is_not_asked_where_v_is_not_below_its_level_or_nothing_is_finite():
    for numbers in (
        (1.0, 3.0, 1.0),
        (2.0, 3.0, 1.0),
        (-np.inf, 3.0, 1.0),
        (0.0, np.inf, 1.0),
        (0.0, 3.0, np.inf),
    ):
        assert np.isnan(crossing.crossing_ahead(*numbers, 20e-3, 5e-3))


def test_a_current_no_higher_than_the_level_reaches_none_above_the_leak():
    """However close V and its peak are to it."""
    for current in (1.0, 1.0 - 1e-9, 0.0, -1.0):
        assert crossing.crossing_ahead(1.0 - 1e-9, current, 1.0, 20e-3, 5e-3) == np.inf


def test_few_steps_lead_to_a_crossing():
    """Newton's method doubles the digits; halving takes a step for each bit, 50 and 100."""
    rng, n = np.random.default_rng(6), Counter()
    float64 = mock.Mock(wraps=crossing._state)
    with working_precision(BITS), mock.patch.object(crossing, "_state", float64):
        for excess, current, level, *taus in states(rng, 200):
            float64.reset_mock()
            guess = crossing.crossing_ahead(excess, current, level, *taus)
            if guess < np.inf:
                n["float64"] = max(n["float64"], float64.call_count)
                membrane = starting(map(ball, (*taus, 0.25, excess + 0.25, current)), listed=False)
                ahead = crossing.crossing_ahead
                for start, about in (("from its guess", ahead), ("from the middle", lambda *_: np.nan)):
                    balls = mock.Mock(wraps=membrane, origin=membrane.origin, rates=membrane.rates)
                    balls.configure_mock(
                        voltage=membrane.voltage, leak=membrane.leak, current=membrane.current
                    )
                    with mock.patch.object(crossing, "crossing_ahead", about):
                        time = crossing.crossing_time(balls, ball(level + 0.25), ball(1.5 * guess))
                    assert abs(float(time) - guess) <= 1e-8 * guess
                    n[start] = max(n[start], balls.at.call_count)
    assert n["float64"] <= 16
    assert n["from its guess"] <= 3
    assert n["from the middle"] <= 12


def test_a_late_time_is_shortly_after_the_current_is_at_the_level():
    with working_precision(BITS):
        for current, level in ((3.0, 1.0), (3.0, 0.25), (0.5, 0.25), (1e-3, 1e-9), (1.0 + 1e-9, 1.0)):
            membrane = starting(map(ball, (20e-3, 5e-3, 0.0, 0.0, current)), listed=False)
            latest = crossing.latest_time(membrane, ball(level))
            assert 1 - 1e-4 < float(membrane.at(latest)[1]) / level < 1
        for level in (0.0, -1.0, 3.0, 4.0):
            membrane = starting(map(ball, (20e-3, 5e-3, 0.0, 0.0, 3.0)), listed=False)
            assert crossing.latest_time(membrane, ball(level)) == membrane.origin


# -- the hypotheses of the lemma, one at a time --------------------------------------------------------------------


def interval(voltage, current, end, *, leak=0.0, tau=(20e-3, 5e-3), listed=False):
    membrane = starting(
        [
            ball(tau[0]),
            ball(tau[1]),
            *(x if isinstance(x, arb) else ball(x) for x in (leak, voltage, current)),
        ],
        listed=listed,
    )
    return crossing.first_crossing(membrane, membrane.moved(ball(end)), ball(1.0))


def test_a_current_below_the_level_excludes_a_crossing_only_above_the_leak():
    with working_precision(BITS):
        assert interval(0.9, 0.9, 0.1) is None
        # v_leak is above the threshold: however low the current, V gets there
        assert interval(0.5, -3.0, 0.3, leak=2.0) is not None
        # and as it decays V rises towards v_leak = threshold, which it does not reach, but comes as near as one likes
        with pytest.raises(Undecided):
            interval(0.5, -1e-40, 2.0, leak=1.0)


def test_a_current_that_is_not_surely_below_the_level_excludes_nothing():
    with working_precision(BITS):
        with pytest.raises(Undecided):
            interval(arb(1.0, 2.0**-60) - arb(2) ** -61, 1.0 + 2.0**-50, 1e-3)
        with pytest.raises(Undecided):
            interval(0.2, arb(6.0, 2.0), 0.1, listed=True)


def test_an_end_below_the_threshold_and_rising_excludes_a_crossing_and_falling_does_not():
    with working_precision(BITS):
        assert interval(0.0, 8.0, 1e-3) is None
        assert interval(0.0, 8.0, 0.1) is not None  # V comes back below the threshold before the end
        assert interval(0.9, -1.0, 0.1) is None  # V falls from the start


def test_of_a_box_the_sign_of_a_slope_is_that_of_every_network():
    with working_precision(BITS):
        # V of the network in the middle falls from the start, below the level; of another it rises above
        assert interval(0.999, 0.9, 0.1) is None
        assert interval(0.999, 1.2, 0.1) is not None
        with pytest.raises(Undecided):
            interval(0.999, arb(0.9, 0.3), 0.1, listed=True)
        # all currents below the level, and slopes of either sign
        assert interval(arb(0.5, 0.1), arb(0.5, 0.3), 1e-3, listed=True) is None
        # I <= 0 and v_leak above the threshold: V falls up to the end
        assert interval(0.5, -8.0, 1e-3, leak=2.0) is None


def test_of_a_box_a_current_that_is_negative_is_so_for_every_network():
    with working_precision(BITS):
        assert Course(20e-3, 5e-3, 0.0, 0.5, 8.9, 1.0).crosses(MP.mpf(0.1))
        with pytest.raises(Undecided):
            interval(0.5, arb(-0.1, 9.0), 0.1, listed=True)
        assert interval(0.5, arb(-0.2, 0.1), 0.1, listed=True) is None


def test_of_a_box_a_current_below_the_level_about_a_peak_is_so_for_every_network():
    """Wherever the peak is guessed; networks of the box follow a slow current over the threshold."""
    voltage, current, tau, end = (0.2, 0.1), (0.9, 0.3), (1e-3, 20e-3), 0.1
    highest = Course(*tau, 0.0, sum(voltage), sum(current), 1.0)
    assert highest.crosses(MP.mpf(end))
    assert not Course(*tau, 0.0, voltage[0], current[0], 1.0).crosses(MP.mpf(end))
    with working_precision(BITS):
        for guess in np.linspace(1e-3, 0.99 * end, 99).tolist():
            with mock.patch.object(crossing, "peak_time", return_value=ball(guess)), pytest.raises(Undecided):
                interval(arb(*voltage), arb(*current), end, tau=tau, listed=True)


def test_of_a_box_an_end_that_is_rising_is_so_for_every_network():
    """The network in the middle rises up to the end, but one that starts higher crosses before and is back below."""
    middle, reach, peak_above = 0.3, 0.01, 2e-6
    with working_precision(BITS):
        low, high = 1.0, 10.0
        for _ in range(80):
            current = (low + high) / 2
            upper = Course(20e-3, 5e-3, 0.0, middle + reach, current, 1.0)
            low, high = (low, current) if upper.at(upper.extremum) > 1 + peak_above else (current, high)
        end = float(Course(20e-3, 5e-3, 0.0, middle, current, 1.0).extremum) - 1e-6
        assert upper.crosses(MP.mpf(end))
        assert upper.at(MP.mpf(end)) < 1
        with pytest.raises(Undecided):
            interval(arb(middle, reach), current, end, listed=True)


@pytest.mark.parametrize("listed", [False, True])
def test_a_ball_too_narrow_for_its_crossing_is_not_returned(listed):
    """However narrow the ball is in which a step of Newton's method is tried, what it finds has to lie within."""
    rng, outcomes = np.random.default_rng(4), Counter()
    with working_precision(BITS):
        for k in range(200):
            *numbers, end = drawn(rng)
            course = Course(*numbers, 1.0)
            membrane = starting(map(ball, numbers), listed=listed)
            places = [*course.about(end), end * rng.uniform()]
            cross = arb(float(places[rng.integers(len(places))]) * (1 + 0.01 * rng.uniform(-1, 1)))
            with (
                mock.patch.object(crossing, "UNIT", arb(0, 2.0 ** -(k % 20))),
                mock.patch.object(crossing, "crossing_time", return_value=cross),
            ):
                try:
                    found = crossing.first_crossing(membrane, membrane.moved(ball(end)), ball(1.0))
                except Undecided:
                    outcomes["open"] += 1
                    continue
            assert_right(found, [course], end)
            outcomes["none" if found is None else "crossing"] += 1
    assert outcomes["crossing"] > 20


def test_one_network_that_is_too_flat_at_its_threshold_asks_for_more_digits_and_a_box_does_not():
    with working_precision(BITS):
        highest = Course(20e-3, 5e-3, 0.0, 0.0, 1.0, 1.0)
        current = float((1 + MP.mpf(1.1e-6)) / highest.at(highest.extremum))
        voltage = arb(0.0, 1e-6)
        with pytest.raises(Undecided):
            interval(voltage, current, 0.1)
        found = interval(voltage, current, 0.1, listed=True)
        courses = [Course(20e-3, 5e-3, 0.0, v, current, 1.0) for v in (-1e-6, 0.0, 1e-6)]
        assert_right(found, courses, 0.1)
        first, last = (next(courses[k].about(0.1)) for k in (2, 0))
        assert 2 * float(found.rad()) < 3 * (last - first)


def test_an_end_at_the_threshold_is_not_below_it():
    with working_precision(BITS):
        end = 2e-3
        k = response(WIDE.mpf(end), WIDE.mpf(20e-3), WIDE.mpf(5e-3))
        current = float(1 / k)  # V is at the threshold to half a rounding of the current
        with pytest.raises(Undecided):
            interval(0.0, arb(current, abs(current) * 2.0**-52), end)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_peak_that_balls_do_not_tell_from_the_threshold_stays_open(side):
    with working_precision(BITS):
        tau_mem, tau_syn = WIDE.mpf(20e-3), WIDE.mpf(5e-3)
        peak = tau_mem * tau_syn / (tau_mem - tau_syn) * WIDE.log(tau_mem / tau_syn)
        highest = float(1 / response(peak, tau_mem, tau_syn))
        assert (interval(0.0, highest * (1 + side * 1e-10), 0.1) is None) == (side < 0)
        with pytest.raises(Undecided):
            interval(0.0, arb(highest, highest * 1e-15), 0.1)
        with pytest.raises(Undecided):
            interval(0.0, arb(highest, highest * 1e-15), 0.1, listed=True)


@pytest.mark.parametrize("leak", [-0.5, 0.0, 0.2])
@pytest.mark.parametrize("start", [0.5, 0.56, 0.6])
def test_a_small_box_of_leaks_leaves_no_peak_open_that_is_far_below(leak, start):
    """V - v_leak is as uncertain as v_leak, also where V, so soon after the start, is not."""
    with working_precision(BITS):
        for radius in (1e-2, 1e-4, 1e-8, 1e-12):
            held = Held(rates_of(ball(20e-3), ball(2e-3)), ball(leak, radius), ball(0.0), ball(4.0), True)
            free = held.released(ball(0.0), ball(start))
            assert crossing.first_crossing(free, free.moved(ball(20e-3)), ball(1.0)) is None


@pytest.mark.parametrize("radius", [1e-4, 1e-8])
def test_a_peak_of_a_small_box_of_leaks_is_excluded_up_to_half_its_radius_and_none_that_crosses(radius):
    """I there is about the level, which is as uncertain as v_leak; V, so soon after the start, is less so."""
    taus, leak, voltage, current, end = (20e-3, 2e-3), 0.2, 0.5, 4.0, 20e-3
    corners = [Course(*taus, leak + side * radius, voltage, current, 1.0) for side in (-1, 1)]
    lowest, highest = (course.at(course.extremum) for course in corners)
    assert highest - lowest < radius / 2
    with working_precision(BITS):
        held = Held(rates_of(*map(ball, taus)), ball(leak, radius), ball(0.0), ball(current), listed=True)
        free = held.released(ball(0.0), ball(voltage))
        last = free.moved(ball(end))
        assert crossing.first_crossing(free, last, ball(float(highest + radius / 2))) is None
        for share in (0.1, 0.5, 0.9):
            with pytest.raises(Undecided):
                crossing.first_crossing(free, last, ball(float(lowest + share * (highest - lowest))))
