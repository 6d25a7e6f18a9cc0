"""The closed form to the digits that float64 has: each bound counts roundings, and most numbers come near to it."""

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
    ],
)
def test_there_is_none_where_v_meets_its_current_at_no_time_ahead(u, i, tau_mem, tau_syn):
    assert extremum_of(u, i, tau_mem, tau_syn) is None
    assert extremum(u, i, tau_mem, tau_syn) == math.inf
