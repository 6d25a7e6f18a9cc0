"""The closed form to the digits that float64 has: each bound counts roundings, and most numbers come near to it."""

import inspect
import math

import numpy as np
import pytest
from mpmath.ctx_mp import MPContext

from eventsolve.kernels.crossing import EPS
from eventsolve.kernels.membrane import SERIES_BELOW, exprel, exprel2, extremum, propagator

MP = MPContext()
MP.dps = 80


def exact(*numbers):
    return [MP.mpf(x) for x in numbers]


@pytest.mark.parametrize(
    ("function", "formula"),
    [(exprel, lambda x: MP.expm1(x) / x), (exprel2, lambda x: (MP.expm1(x) - x) / x**2)],
)
def test_series_are_right_up_to_where_they_are_used(function, formula):
    """To 5e-17 by the terms that are left out, and half an ulp each of the last sums."""
    for x in np.linspace(-SERIES_BELOW, SERIES_BELOW, 201).tolist():
        if x:
            assert abs(function(x) / formula(MP.mpf(x)) - 1) <= 2 * EPS


@pytest.mark.parametrize(("function", "skipped"), [(exprel, 1), (exprel2, 2)])
def test_series_are_taylors_to_the_last_coefficient(function, skipped):
    """A quotient each, which is rounded once; the least of them change no sum that has been rounded."""
    of_x = inspect.unwrap(function)(np.polynomial.Polynomial([0.0, 1.0]))
    assert of_x.coef.tolist() == [1.0 / math.factorial(n + skipped) for n in range(14)]


def test_the_response_is_right_whatever_the_ratio_of_the_time_constants():
    """A difference of exponentials is off by coth(1/4) < 4.1 times as many roundings as they are, 1 + a each."""
    rng, worst = np.random.default_rng(1), 0.0
    for _ in range(1000):
        tau_mem = 20e-3
        tau_syn = float(tau_mem * np.exp(rng.choice([rng.uniform(-2, 2), 1e-3 * rng.normal(), 0.0])))
        s = float(tau_mem * np.exp(rng.uniform(-3, 1)))
        ea, eb, k = propagator(s, tau_mem, tau_syn)
        t, m, y = exact(s, tau_mem, tau_syn)
        mem, syn = MP.exp(-t / m), MP.exp(-t / y)
        response = t / m * mem if tau_mem == tau_syn else y / (y - m) * (syn - mem)
        a, b = s / tau_mem, s / tau_syn
        for found, right, size, times in ((ea, mem, a, 1), (eb, syn, b, 1), (k, response, max(a, b), 4.1)):
            off = float(abs(found / right - 1)) / EPS / (times * (2 + 2 * size))
            assert off <= 1, (s, tau_mem, tau_syn)
            worst = max(worst, off)
    assert worst > 0.2


def extremum_of(u, i, tau_mem, tau_syn):
    """When V' = 0, in many digits, or None: where the logarithm has an argument, and the time is ahead."""
    u, i, m, y = exact(u, i, tau_mem, tau_syn)
    delta = 1 / y - 1 / m
    below = u * delta + i / m
    if below == 0:
        return None
    argument = 1 + delta * (i - u) / below
    if argument <= 0:
        return None
    time = (i - u) / below if delta == 0 else MP.log(argument) / delta
    return time if time > 0 else None


def test_an_extremum_is_right_near_and_far_and_where_time_constants_differ_much():
    """To the roundings of about three quotients, and of a sum that may cancel, and the logarithm's."""
    near = far = 0
    for ratio in (0.01, 0.25, 0.999, 1.0, 1.001, 4.0, 30.0, 900.0):
        tau_mem, tau_syn = 20e-3, 20e-3 * ratio
        for u, i in ((0.0, 3.0), (0.0, 0.25), *((1.0 - 2.0**-k, 1.0) for k in (1, 8, 20, 40))):
            right = extremum_of(u, i, tau_mem, tau_syn)
            found = extremum(u, i, tau_mem, tau_syn)
            delta = (tau_mem - tau_syn) / (tau_mem * tau_syn)
            cancels = (abs(u * delta) + abs(i / tau_mem)) / abs(u * delta + i / tau_mem)
            assert abs(found / right - 1) <= (8 + 2 * cancels) * EPS, (u, i, ratio)
            near += right < 1e-6 * tau_mem
            far += right > tau_mem
    assert near > 10
    assert far > 10


@pytest.mark.parametrize(
    ("u", "i", "tau_mem", "tau_syn"),
    [
        (-5.0, -0.5, 5e-3, 20e-3),  # V follows a slow I from below, and never meets it
        (2.0, 1.0, 20e-3, 5e-3),  # V is above I, and falls for ever
        (0.5, 0.0, 20e-3, 5e-3),
        (-0.5, 0.0, 20e-3, 5e-3),
        (0.5, 0.0, 5e-3, 20e-3),  # without a current V falls, and is never at 0
        (0.5, 0.5, 20e-3, 5e-3),  # V is at it now, and ahead is none
        (0.5, 0.5, 20e-3, 20e-3),
    ],
)
def test_there_is_none_where_v_meets_its_current_at_no_time_ahead(u, i, tau_mem, tau_syn):
    assert extremum_of(u, i, tau_mem, tau_syn) is None
    assert extremum(u, i, tau_mem, tau_syn) == math.inf


def test_an_extremum_at_which_all_has_died_away_is_none():
    """It is i - u over i time constants away, where both are one: farther than 1e300 of them nobody measures."""
    for tau in (5e-3, 2.0):
        assert extremum(-1.0, 1e-299, tau, tau) == pytest.approx(1e299 * tau, rel=4 * EPS, abs=0.0)
        assert extremum(-1.0, 1e-301, tau, tau) == math.inf


def test_an_extremum_of_what_is_below_normal_numbers_is_far_away():
    """It is taken as where V has fallen to 1e-300 of what it was: as many time constants away, to a fifteenth."""
    tau_mem, tau_syn = 5e-3, 20e-3
    for i in (1e-290, 1e-299, 1e-305, 1e-310, 1e-320):
        with MP.workdps(400):
            right = extremum_of(1.0, -i, tau_mem, tau_syn)
        assert right * 14 / 15 <= extremum(1.0, -i, tau_mem, tau_syn) <= right * (1 + 8 * EPS)
