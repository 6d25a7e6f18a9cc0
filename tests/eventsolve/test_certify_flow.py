"""Enclosures of the closed form: do they hold what mpmath computes in 450 digits, and how wide are they?"""

import pytest
from enclosing import WIDE, exactly, holds, radius, response
from flint import arb
from hypothesis import example, given
from hypothesis import strategies as st

from eventsolve.certify import arithmetic, membrane
from eventsolve.certify.arithmetic import Undecided, working_precision

BITS = 100
TAU_SYN = 5e-3
RATIOS = [1.0, 2.0, 0.5, 4.0, 1e-3, 1e3, *(1.0 + side * 10.0**-k for k in (1, 8, 12, 16) for side in (-1, 1))]
ratios = st.sampled_from(RATIOS) | st.floats(1e-3, 1e3)
times = st.floats(1e-12, 1.0) | st.sampled_from([0.0, 5e-324, -1e-20])


@given(ratios, times)
@example(1.0 + 2e-16, 1e-3)
@example(1e-3, 1.0)
def test_the_propagator_holds_the_truth_and_loses_few_bits_at_any_ratio(ratio, s):
    tau_mem, truth = ratio * TAU_SYN, WIDE.mpf(s)
    with working_precision(BITS):
        rates = membrane.rates_of(arithmetic.ball(tau_mem), arithmetic.ball(TAU_SYN))
        found = membrane.propagator(rates, arithmetic.ball(s))
    a, b = WIDE.mpf(tau_mem), WIDE.mpf(TAU_SYN)
    wanted = WIDE.exp(-truth / a), WIDE.exp(-truth / b), response(truth, a, b)
    for ball, want in zip(found, wanted, strict=True):
        assert holds(ball, want)
    # an exponent x of size |s/tau| is known to |x| 2^-BITS, and so is exp(-x), relatively; K has a few roundings more
    size = 1 + abs(truth) / min(a, b)
    assert radius(found[2]) <= 64 * size * abs(wanted[2]) * WIDE.mpf(2) ** -BITS


@given(ratios, st.floats(1e-6, 0.5))
def test_the_derivatives_of_the_response_hold_central_differences(ratio, s):
    tau_mem = ratio * TAU_SYN
    with working_precision(BITS):
        rates = membrane.rates_of(arithmetic.ball(tau_mem), arithmetic.ball(TAU_SYN))
        found = membrane.response_derivatives(
            rates, arithmetic.ball(s), *membrane.propagator(rates, arithmetic.ball(s))
        )
    point = [WIDE.mpf(s), WIDE.mpf(tau_mem), WIDE.mpf(TAU_SYN)]
    for k, ball in enumerate(found):
        h = point[k] * WIDE.mpf(10) ** -25
        ends = [[x + side * h * (j == k) for j, x in enumerate(point)] for side in (-1, 1)]
        difference = (response(*ends[1]) - response(*ends[0])) / (2 * h)
        # the error of a central difference is h² f'''/6: 50 digits below f, whose derivatives grow by at most s/tau + 1
        slack = WIDE.mpf(10) ** -50 * (1 + point[0] / min(point[1:])) ** 3 / point[k]
        assert abs(exactly(ball.mid()) - difference) <= radius(ball) + slack


@given(
    st.floats(1e-5, 1e-1),
    st.floats(0.0, 0.3),
    st.floats(0.0, 0.3),
    st.floats(-1.0, 1.0),
    st.floats(-1.0, 1.0),
)
def test_a_wide_ball_holds_all_of_its_points(s, s_radius, tau_radius, at_s, at_tau):
    with working_precision(BITS):
        wide = arb(s, s * s_radius), arb(8e-3, 8e-3 * tau_radius)
        rates = membrane.rates_of(wide[1], arithmetic.ball(TAU_SYN))
        propagated = membrane.propagator(rates, wide[0])
        derivatives = membrane.response_derivatives(rates, wide[0], *propagated)
    with working_precision(20 * BITS):  # points, as good as exact
        point = wide[0].mid() + wide[0].rad() * at_s, wide[1].mid() + wide[1].rad() * at_tau
        inner = membrane.rates_of(point[1], arithmetic.ball(TAU_SYN))
        inside = membrane.propagator(inner, point[0])
        exact = (*inside, *membrane.response_derivatives(inner, point[0], *inside))
    for outer, value in zip((*propagated, *derivatives), exact, strict=True):
        assert outer.contains(value)


def moments_at(d):
    """M_0, M_0 - M_1 and M_1 as they stand."""
    decay = WIDE.exp(-d)
    return (1 - decay) / d, (d - 1 + decay) / d**2, (1 - (1 + d) * decay) / d**2


@given(st.floats(1e-3, 30.0), st.floats(1e-9, 0.9))
@example(0.6, 0.5)  # from where a series is summed to where none is
def test_moments_over_a_wide_ball_range_from_one_end_to_the_other(middle, spread):
    with working_precision(BITS):
        d = arb(middle, middle * spread)
        found = membrane.mean_decay(d), *membrane._moments(d)
        ends = [moments_at(exactly(d.mid()) + side * exactly(d.rad())) for side in (1, -1)]
    for ball, low, high in zip(found, *ends, strict=True):
        assert holds(ball, low)
        assert holds(ball, high)
        assert 2 * radius(ball) <= (high - low) * (1 + WIDE.mpf(2) ** -26) + high * WIDE.mpf(2) ** (20 - BITS)


@given(st.floats(0.0, 0.5), st.integers(0, 1200))
@example(1.0, BITS + 6)  # the first term that is left out is 1/6 of it, and what is summed is exactly 1/2
@example(1.0, BITS + 4)
@example(1.0, 1100)  # as above, and less than float64 holds
@example(0.5, 0)
def test_the_series_holds_what_it_leaves_out(factor, power):
    with working_precision(BITS):
        d = arb(factor) * arb(2) ** -power
        found = membrane._series(d)
    if factor == 0.0:
        assert holds(found, WIDE.mpf(1) / 2)
    else:
        term, truth, k = WIDE.mpf(1) / 2, WIDE.zero, 2
        while abs(term) > WIDE.mpf(10) ** -440:
            truth += term
            k += 1
            term = -term * exactly(d) / k
        assert holds(found, truth)
    assert radius(found) <= WIDE.mpf(2) ** (4 - BITS)


def test_a_wide_time_widens_the_response_by_no_more_than_its_slower_decay():
    with working_precision(BITS):
        for tau_mem, tau_syn in ((5e-6, 5e-3), (5e-3, 5e-6)):  # 200 of the faster constants
            rates = membrane.rates_of(arithmetic.ball(tau_mem), arithmetic.ball(tau_syn))
            wide = arb(1e-3, 1e-5)
            propagated = membrane.propagator(rates, wide)
            assert propagated[2].rad() < 0.03 * propagated[2].mid()
            by_tau_syn = membrane.response_derivatives(rates, wide, *propagated).by_tau_syn
            assert by_tau_syn.rad() < 0.1 * abs(by_tau_syn.mid())


def test_overlapping_balls_are_not_compared():
    one = arb(1, 1e-20)
    with pytest.raises(Undecided, match="relative width of 1e-20"):
        arithmetic.is_less(arb(1), one)
    assert not arithmetic.surely_less(arb(1), one)
    assert not arithmetic.surely_at_most(one, arb(1))
    assert arithmetic.order_of_balls(one, arb(1)) is None
    assert arithmetic.order_of_balls(arb(1), arb(1)) == 0
    assert (arithmetic.is_less(arb(0), one), arithmetic.is_less(one, arb(0))) == (True, False)


@given(st.floats(-1e3, 1e3), st.floats(0.0, 1.0))
def test_a_ball_rounded_to_float64_still_holds_it(middle, spread):
    with working_precision(BITS):
        ball = (arb(middle, spread) + 1) / 3
        m, r = arithmetic.rounded(ball)
        assert arb(m, r).contains(ball)


def test_precision_is_restored_and_each_thread_takes_its_turn():
    from flint import ctx

    before = ctx.prec
    with working_precision(77):
        with working_precision(200):
            assert ctx.prec == 200
        assert ctx.prec == 77
    assert ctx.prec == before
