"""What is decided of balls, and how they become float64 numbers: in exact rational numbers, up to the last bit."""

import math
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from enclosing import ends, rational
from flint import arb
from hypothesis import example, given
from hypothesis import strategies as st

from eventsolve.certify import arithmetic
from eventsolve.certify.arithmetic import (
    UNIT,
    Enclosures,
    Undecided,
    added,
    enclosures_of,
    joined,
    working_precision,
)

BITS = 200
numbers = st.floats(-1e6, 1e6) | st.floats(-1e-300, 1e-300)
HAIR = arb(2) ** -150
"""Less than half a step of a float64 number near 1."""
UP = 1 + Fraction(2) ** -28
"""By how much at most Arb rounds the radius up that a ball is made with."""


@pytest.fixture(autouse=True)
def without_slack(request):
    """A radius holds before it is widened by the slack, on which another machine's enclosure rests."""
    if "slack" in request.node.name:
        yield
    else:
        with mock.patch.object(arithmetic, "with_slack", lambda radius: radius):
            yield


@given(st.floats(0.0, 1e300))
@example(5e-324)
def test_the_slack_widens_every_radius_but_one_that_is_exactly_0(radius):
    assert arithmetic.with_slack(0.0) == 0.0
    if radius:
        assert Fraction(arithmetic.with_slack(radius)) > Fraction(radius) * (1 + Fraction(arithmetic.SLACK))
    middle, found = arithmetic.rounded(arb(1, 0.5))
    assert (middle, found) == (1.0, arithmetic.with_slack(arithmetic.upward(arb(1, 0.5).rad())))
    total = added([part(1.0, 0.5)], 1)
    assert Fraction(total.radii[0]) > Fraction(0.5) * (1 + Fraction(arithmetic.SLACK))


def test_so_many_digits_take_so_many_bits():
    for digits in (1, 15, 28, 100):
        bits = arithmetic.bits_of(digits)
        assert 2 ** (bits - 1) < 10**digits <= 2**bits


@given(numbers)
@example(1.0)
@example(0.0)
def test_upward_is_the_least_float64_number_that_is_not_below(x):
    with working_precision(1200):
        assert arithmetic.upward(arb(x)) == x
        for hair in (arb(2) ** -1100, arb(x) * HAIR, -arb(x) * HAIR):
            exact = rational(arb(x) + hair)
            found = arithmetic.upward(arb(x) + hair)
            assert math.nextafter(found, -math.inf) < exact <= found


@given(numbers, st.floats(0.0, 1e3) | st.just(0.0))
@example(1.0, 0.0)
def test_rounded_to_float64_a_ball_still_holds_all_of_itself(middle, spread):
    with working_precision(BITS):
        for ball in (arb(middle, spread) / 3, arb(middle, spread) + HAIR, arb(middle) - HAIR):
            m, r = arithmetic.rounded(ball)
            low, high = ends(ball)
            assert Fraction(m) - Fraction(r) <= low
            assert high <= Fraction(m) + Fraction(r)
            # and no more is lost than half a step of the midpoint and one up, but for what Arb rounds a radius up by
            assert Fraction(r) <= (high - low) / 2 * UP + 2 * Fraction(np.spacing(abs(m)))


def test_a_ball_of_which_nothing_is_known_is_rounded_to_nan():
    m, r = arithmetic.rounded(arb("nan"))
    assert (math.isnan(m), r) == (True, math.inf)
    m, r = arithmetic.rounded(arb("inf"))
    assert (math.isnan(m), r) == (True, math.inf)
    found = enclosures_of([None, arb(2), arb(1, 0.5)])
    np.testing.assert_array_equal(found.midpoints, [np.nan, 2.0, 1.0])
    assert found.radii[:2].tolist() == [math.inf, 0.0]
    assert 0.5 <= found.radii[2] <= 0.5 * UP


def test_the_distance_of_a_number_is_that_of_the_far_end_of_the_ball():
    for number in (3.0, -1.0):
        assert 2.25 <= arithmetic.distance(arb(1, 0.25), number) <= 2.25 * UP
    with working_precision(BITS):
        assert arithmetic.distance(arb(1) + HAIR, 0.0) == math.nextafter(1.0, 2.0)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_number_is_within_a_tolerance_up_to_exactly_there(side):
    with working_precision(BITS):
        for ball, tolerance in (
            (arb(1, 2.0**-10), 2.0**-12),
            (arb(1, 2.0**-10), 0.0),
            (arb(1), 2.0**-12),
            (arb(1), 0.0),
        ):
            edge = rational(ball.rad()) + Fraction(
                tolerance
            )  # a multiple of the step of 2^-52 of numbers near it
            assert float(1 + side * edge) == 1 + side * edge
            assert arithmetic.is_within(float(1 + side * edge), ball, tolerance)
            assert not arithmetic.is_within(float(1 + side * (edge + Fraction(2) ** -52)), ball, tolerance)


def test_a_ball_ends_where_it_may_not_be_earlier():
    with working_precision(BITS):
        whole = arithmetic.not_before(0.0, 2.0, 1.0)
        assert ends(whole) == ends(arb(2, 1))
        for middle, radius in ((0.0, 1.0), (0.5, 1.0)):
            low, high = ends(arithmetic.not_before(0.0, middle, radius))
            assert 1 - UP <= low <= 0
            assert middle + radius <= high <= (middle + radius) * UP


def test_nothing_is_sure_of_balls_that_overlap():
    a, b = arb(1, 2.0**-40), arb(1 + 2.0**-40, 2.0**-40)
    for one, other in ((a, b), (b, a)):
        assert not arithmetic.surely_less(one, other)
        assert not arithmetic.surely_at_most(one, other)
        assert not arithmetic.surely_equal(one, other)
        assert arithmetic.order_of_balls(one, other) is None
        with pytest.raises(Undecided):
            arithmetic.is_less(one, other)
    assert not arithmetic.surely_equal(a, a)
    assert not arithmetic.surely_zero(arb(0, 1e-300))
    assert arithmetic.may_be_zero(arb(1, 1))


def test_what_is_sure_of_balls_that_do_not_overlap():
    a, b = arb(1, 0.25), arb(2, 0.25)
    assert arithmetic.is_less(a, b)
    assert not arithmetic.is_less(b, a)
    assert not arithmetic.is_less(arb(1), arb(1))
    assert (
        arithmetic.order_of_balls(a, b),
        arithmetic.order_of_balls(b, a),
        arithmetic.order_of_balls(arb(1), arb(1)),
    ) == (-1, 1, 0)
    assert (
        arithmetic.surely_less(a, b),
        arithmetic.surely_less(b, a),
        arithmetic.surely_less(arb(1), arb(1)),
    ) == (
        True,
        False,
        False,
    )
    assert (arithmetic.surely_at_most(arb(1), arb(1)), arithmetic.surely_at_most(b, a)) == (True, False)
    assert arithmetic.surely_equal(arb(1), arb(1))
    assert arithmetic.surely_zero(arb(0))
    assert not arithmetic.may_be_zero(a)


def test_what_is_proven_to_be_positive_is_above_0_as_a_whole():
    for ball in (arb(1), arb(1, 0.5), arb(2.0**-1000)):
        assert arithmetic.positive(ball) is ball
    for ball in (arb(0), arb(1, 1), arb(1, 2), arb(-1, 0.5), arb(-1), arb(0, 1)):
        with pytest.raises(Undecided):
            arithmetic.positive(ball)


def test_inside_is_the_interior():
    outer = arb(1, 0.5)
    assert arithmetic.surely_inside(arb(1, 0.25), outer)
    assert not arithmetic.surely_inside(outer, outer)
    for side in (-1, 1):
        assert not arithmetic.surely_inside(arb(1 + side * 0.375, 0.25), outer)
        assert not arithmetic.surely_inside(arb(1 + side, 0.25), outer)


def test_how_undecided_two_balls_are_is_the_width_relative_to_the_larger():
    assert arithmetic.undecided(arb(1, 0.25), arb(-4, 0.5)).width == pytest.approx(
        0.75 / 4, rel=1e-8, abs=0.0
    )
    assert arithmetic.undecided(arb(-2, 0.25), arb(1)).width == pytest.approx(0.125, rel=1e-8, abs=0.0)
    assert arithmetic.undecided(arb(0), arb(0)).width == 0.0
    assert arithmetic.undecided(arb(0, 1), arb(0)).width == math.inf
    assert arithmetic.undecided(arb("inf"), arb(1, 1)).width == math.inf


def test_a_decreasing_function_is_enclosed_by_its_ends():
    with working_precision(BITS):
        found = arithmetic.decreasing(lambda x: -x * x * x, arb(1, 0.5))
        low, high = ends(found)
        for side in (-1, 1):  # held, and not wider than the ends are apart
            value = -(Fraction(1 + side * 0.5) ** 3)
            assert low <= value <= high
        assert high - low <= Fraction(3.25) * UP


# -- sums in float64 -----------------------------------------------------------------------------------------------


def exact_sum(parts, k):
    """The least and the largest that entry k may be."""
    middle = sum(Fraction(float(p.midpoints[k])) for p in parts)
    radius = sum(Fraction(float(p.radii[k])) for p in parts)
    return middle - radius, middle + radius


def assert_holds_the_sum(parts):
    total = added(parts, 1)
    middle, radius = Fraction(float(total.midpoints[0])), Fraction(float(total.radii[0]))
    low, high = exact_sum(parts, 0)
    assert middle - radius <= low
    assert high <= middle + radius


def part(middle, radius):
    return Enclosures(np.array([middle]), np.array([radius]))


@given(st.lists(st.tuples(numbers, st.floats(0.0, 1e3)), max_size=5))
@example([(1.0, 0.0), (2.0**-54, 0.0)])  # the rounding of the midpoints, alone
@example([(0.0, 1.0), (0.0, 2.0**-54)])  # that of the radii, alone
@example([(0.0, 1.0), (0.0, 2.0**-54), (0.0, 2.0**-54)])
@example([(1.0, 2.0**-52), (2.0**-53, 2.0**-105)])  # both at once
def test_the_sum_of_enclosures_holds_every_sum(pairs):
    assert_holds_the_sum([part(m, r) for m, r in pairs])


def test_the_sum_of_enclosures_is_hardly_wider_than_need_be():
    total = added([part(1.0, 0.5)] * 4, 1)
    assert total.midpoints[0] == 4.0
    assert 2.0 <= total.radii[0] <= 2.0 + 4 * (4.0 * 2.0**-52 + 2.0 * 2.0**-52)
    assert not added([], 3).midpoints.any()


@pytest.mark.parametrize("field", [0, 1])
def test_enclosures_are_the_same_up_to_half_their_slack(field):
    proven = Enclosures(np.array([3.0, np.nan, 3.0]), np.array([2.0, np.inf, 0.0]))
    for side in (-1, 1):
        for off, alike in ((2.0**-10, True), (2.0**-10 + 2.0**-50, False)):  # 2 * SLACK / 2
            said = [column.copy() for column in proven]
            said[field][0] += side * off
            assert arithmetic.same(Enclosures(*said), proven).tolist() == [alike, True, True]
    said = [column.copy() for column in proven]
    said[0][1], said[1][1] = 3.0, 2.0
    said[0][2] += 2.0**-50
    assert arithmetic.same(Enclosures(*said), proven).tolist() == [True, False, False]
    assert arithmetic.same(proven, Enclosures(*said)).tolist() == [True, False, False]


def test_enclosures_are_joined_in_their_order():
    found = joined([part(1.0, 0.5), part(2.0, 0.25)])
    np.testing.assert_array_equal(found.midpoints, [1.0, 2.0])
    np.testing.assert_array_equal(found.radii, [0.5, 0.25])
    assert joined([]).radii.size == 0


def test_what_is_written_of_a_ball_follows_from_it_and_nothing_narrower_or_idly_wide_does():
    with working_precision(BITS):
        for ball in (arb(1) / 3, arb(2), arb(-1, 0.5), arb(0, 1e-30), arb(1e-3, 1e-12)):
            text, parts = arithmetic.written(ball), arithmetic.parts_of(ball)
            assert arithmetic.is_written(text)
            assert arithmetic.says_no_more(text, parts)
        third = arb(1) / 3
        text = arithmetic.written(third)
        assert not arithmetic.says_no_more(text, arithmetic.parts_of(third + arb(0, 1e-3)))
        assert not arithmetic.says_no_more("[0.3 +/- 0.1]", arithmetic.parts_of(third))
        assert not arithmetic.says_no_more(text, arithmetic.parts_of(third + 1))


def test_a_text_is_a_decimal_ball_of_a_length_and_an_exponent_that_take_no_time_to_read():
    longest = "0." + "1" * (4 * arithmetic.SHOWN_DIGITS - 2)
    assert arithmetic.is_written(longest)
    assert not arithmetic.is_written(longest + "1")
    assert arithmetic.is_written("[1.5e-30 +/- 2.5e-40]")
    for text in ("", "1e9999", "[1 +/- 2] ", "nan", "[1 +/- ]", "1 +/- 2"):
        assert not arithmetic.is_written(text)


def test_the_unit_is_what_lies_from_minus_one_to_one():
    low, high = ends(UNIT)
    assert -UP <= low <= -1
    assert 1 <= high <= UP
