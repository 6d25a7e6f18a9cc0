"""Event times: times of one root are compared as the rational numbers that they are, others as balls."""

from fractions import Fraction

import pytest
from enclosing import rational
from flint import arb
from hypothesis import example, given
from hypothesis import strategies as st

from eventsolve.certify import arithmetic
from eventsolve.certify.arithmetic import ball, working_precision

BITS = 100
seconds = st.floats(0.0, 1.0) | st.sampled_from([0.1, 0.2, 0.3, 2.0**-60, 5e-324])


@pytest.fixture(autouse=True)
def precision():
    with working_precision(BITS):
        yield


def after(moment, *delays):
    for delay in delays:
        moment = arithmetic.later(moment, ball(delay), arithmetic.rational(delay))
    return moment


@given(st.lists(seconds, min_size=1, max_size=4), st.lists(seconds, min_size=1, max_size=4))
@example([0.1, 0.2], [0.3])  # 2^-55 less than the float64 sum, and more than 0.3
@example([0.1, 0.2], [0.2, 0.1])
def test_the_order_of_numbers_is_that_of_their_exact_sums(a, b):
    one, other = (after(arithmetic.at_time(times[0]), *times[1:]) for times in (a, b))
    exact = [sum(map(Fraction, times)) for times in (a, b)]
    assert arithmetic.order(one, other) == (exact[0] > exact[1]) - (exact[0] < exact[1])
    elapsed = arithmetic.elapsed(one, other)
    assert rational(elapsed.mid()) - rational(elapsed.rad()) <= exact[1] - exact[0]
    assert exact[1] - exact[0] <= rational(elapsed.mid()) + rational(elapsed.rad())
    for moment, time in ((one, exact[0]), (other, exact[1])):
        # a key is the nearest float64 number, and with the low part as good as twice float64
        assert moment.key == float(time)
        assert abs(Fraction(moment.key) + Fraction(moment.low) - time) <= time * Fraction(
            2
        ) ** -104 + Fraction(5e-324)


def test_what_a_float64_time_leaves_of_an_exact_sum_counts():
    moment = arithmetic.at_time(0.25, 2.0**-60)
    assert moment.ball.contains(arb(0.25) + arb(2) ** -60)
    assert moment.ball.is_exact()
    assert arithmetic.order(moment, arithmetic.at_time(0.25)) == 1
    assert arithmetic.elapsed(arithmetic.at_time(0.25), moment) == arb(2) ** -60


def test_the_key_of_a_ball_is_about_its_midpoint():
    vague = arithmetic.vague(arb(0.25, 1e-3))
    assert (vague.key, vague.low) == (0.25, 0.0)


def test_moments_of_one_crossing_are_told_apart_though_it_is_a_ball():
    crossing = arithmetic.rooted(arb(0.25, 1e-3), 1)
    early, late = after(crossing, 1e-9), after(crossing, 2e-9)
    assert (arithmetic.order(early, late), arithmetic.order(late, early)) == (-1, 1)
    assert arithmetic.order(after(crossing, 1e-9), early) == 0
    assert arithmetic.order(crossing, crossing) == 0
    assert rational(arithmetic.elapsed(early, late).mid()) == Fraction(2e-9) - Fraction(1e-9)
    assert arithmetic.elapsed(early, late).is_exact()


def test_moments_of_different_crossings_are_told_apart_only_where_their_balls_are():
    one, other = arithmetic.rooted(arb(0.25, 1e-3), 1), arithmetic.rooted(arb(0.25, 1e-3), 2)
    assert arithmetic.order(one, other) is None
    assert arithmetic.order(after(one, 1e-9), other) is None
    assert arithmetic.order(one, after(other, 1e-2)) == -1
    assert arithmetic.order(one, arithmetic.at_time(0.25)) is None
    passed = arithmetic.elapsed(one, other)
    for side in (-2e-3, 2e-3):  # each may be anywhere in its own ball
        assert passed.contains(arb(side) * (1 - arb(2) ** -40))


def test_a_delay_that_is_no_number_leaves_only_the_ball():
    start = arithmetic.at_time(0.25)
    vague = arithmetic.later(start, arb(1e-3, 1e-6), None)
    assert vague.offset is None
    assert arithmetic.order(vague, vague) is None
    assert arithmetic.order(vague, after(start, 1e-3)) is None
    again = after(vague, 1e-3)
    assert again.offset is None
    assert again.ball.contains(arb(0.25) + arb(1e-3) + arb(1e-3))
    assert not arithmetic.elapsed(start, vague).is_exact()


def test_no_delay_leaves_a_moment_as_it_is():
    crossing = arithmetic.rooted(arb(0.25, 1e-3), 1)
    assert arithmetic.later(crossing, ball(0.0), arithmetic.NO_DELAY) is crossing
    assert (
        arithmetic.later(arithmetic.vague(crossing.ball), ball(0.0), arithmetic.NO_DELAY).ball
        is crossing.ball
    )


def test_the_key_of_a_crossing_is_its_midpoint_to_twice_float64():
    middle = arb(1) / 3
    crossing = arithmetic.rooted(middle, 1)
    assert crossing.key == 1 / 3
    key = Fraction(crossing.key) + Fraction(crossing.low)
    assert abs(key - rational(middle.mid())) <= Fraction(2) ** -106
    # what derives from it is taken from there: the base is the key and the low part
    assert Fraction(int(crossing.base.p), int(crossing.base.q)) == key
    arrival = after(crossing, 0.1)
    assert abs(Fraction(arrival.key) + Fraction(arrival.low) - key - Fraction(0.1)) <= Fraction(2) ** -106
