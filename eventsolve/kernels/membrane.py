r"""The closed form of a neuron's state between two events, and its derivatives (compiled).

.. math::
    \tau_m \dot V = (V_{leak} - V) + I, \qquad \tau_s \dot I = -I

With a = s/tau_mem, b = s/tau_syn and u = V - v_leak, a time s later

    u(s) = u exp(-a) + I K(s),   I(s) = I exp(-b),   K(s) = a G(a, b),   G = (exp(-b) - exp(-a)) / (a - b)

(Wunderlich & Pehle 2021, eq. 1, integrated). G is a divided difference of exp: smooth through a = b, where the formula
above would lose every digit, so near there it is a Taylor series in a - b.
"""

from __future__ import annotations

import math

from eventsolve.compiled import embedded, without_refcount
from eventsolve.kernels.elementary import decay, log_of_sum

SERIES_BELOW = 0.5
"""|a - b| under which series replace differences; above it a difference loses less than two bits."""


@embedded
def exprel(x):
    """Return expm1(x) / x, which is 1 at 0, for |x| <= SERIES_BELOW: its Taylor series, to 5e-17."""
    x2 = x * x
    x4 = x2 * x2
    p0 = 1.0 + x * (1.0 / 2.0)
    p1 = 1.0 / 6.0 + x * (1.0 / 24.0)
    p2 = 1.0 / 120.0 + x * (1.0 / 720.0)
    p3 = 1.0 / 5040.0 + x * (1.0 / 40320.0)
    p4 = 1.0 / 362880.0 + x * (1.0 / 3628800.0)
    p5 = 1.0 / 39916800.0 + x * (1.0 / 479001600.0)
    p6 = 1.0 / 6227020800.0 + x * (1.0 / 87178291200.0)
    return (p0 + x2 * p1) + x4 * ((p2 + x2 * p3) + x4 * ((p4 + x2 * p5) + x4 * p6))


@embedded
def exprel2(x):
    """Return (expm1(x) - x) / x^2, which is 1/2 at 0, for |x| <= SERIES_BELOW: its Taylor series, to 5e-17."""
    x2 = x * x
    x4 = x2 * x2
    p0 = 1.0 / 2.0 + x * (1.0 / 6.0)
    p1 = 1.0 / 24.0 + x * (1.0 / 120.0)
    p2 = 1.0 / 720.0 + x * (1.0 / 5040.0)
    p3 = 1.0 / 40320.0 + x * (1.0 / 362880.0)
    p4 = 1.0 / 3628800.0 + x * (1.0 / 39916800.0)
    p5 = 1.0 / 479001600.0 + x * (1.0 / 6227020800.0)
    p6 = 1.0 / 87178291200.0 + x * (1.0 / 1307674368000.0)
    return (p0 + x2 * p1) + x4 * ((p2 + x2 * p3) + x4 * ((p4 + x2 * p5) + x4 * p6))


@embedded
def propagator(s, tau_mem, tau_syn):
    """Return exp(-s/tau_mem), exp(-s/tau_syn) and K(s): the state a time s later is linear in these three.

    The reciprocals of the time constants are computed once where a loop has many times.
    """
    a = s * (1.0 / tau_mem)
    b = s * (1.0 / tau_syn)
    ea = decay(a)
    eb = decay(b)
    x = a - b
    if abs(x) > SERIES_BELOW:
        return ea, eb, (eb - ea) * (tau_syn / (tau_syn - tau_mem))
    return ea, eb, a * ((ea if x <= 0.0 else eb) * exprel(-abs(x)))


@without_refcount
def propagator_derivatives(s, tau_mem, tau_syn, ea, eb, k):
    """Return dV/dv_leak = 1 - exp(-a), dK/dtau_mem and dK/dtau_syn, from the propagator's own values.

    G_a = dG/da = (exp(-a) - G)/(a - b) = -exp(-a) exprel2(a - b), and G_b likewise with a and b exchanged. None is a
    difference of numbers that are nearly equal, however short the time is; dK/dtau_mem has a zero, and is right to a
    few ulps of its two terms.
    """
    a = s / tau_mem
    b = s / tau_syn
    if a == 0.0:
        return 0.0, 0.0, 0.0
    by_leak = 1.0 - ea if a > SERIES_BELOW else a * exprel(-a)
    x = a - b
    if abs(x) > SERIES_BELOW:
        g = k / a
        g_a = (ea - g) / x
        g_b = (g - eb) / x
    else:
        g_a = -ea * exprel2(x)
        g_b = -eb * exprel2(-x)
    return by_leak, -(k + a * a * g_a) / tau_mem, -a * b * g_b / tau_syn


@embedded
def extremum(u, i, tau_mem, tau_syn):
    """Return the time of V's only extremum after a state (u, i), in seconds, or inf if it has none ahead.

    V' = 0 where exp(delta s) = 1 + delta R with delta = 1/tau_syn - 1/tau_mem and R = (i - u)/(u delta + i/tau_mem).
    Where 1 + delta R cancels it is taken as (i/tau_syn)/(u delta + i/tau_mem), which is the same. One so far ahead that
    its distance in time constants would overflow is none: all has long died away by then.
    """
    delta = (tau_mem - tau_syn) / (tau_mem * tau_syn)
    inverse = 1.0 / (delta if delta != 0.0 else 1.0)
    below = u * delta + i * (1.0 / tau_mem)
    r = (i - u) / below
    x = delta * r
    y = (i * (1.0 / tau_syn)) / below
    rounded = 1.0 + x
    lost = 1.0 - (rounded - x) if x >= 1.0 else x - (rounded - 1.0)
    cancels = x < -0.5
    argument = (y if y > 1e-300 else 1e-300) if cancels else rounded
    time = log_of_sum(argument, 0.0 if cancels else lost) * inverse if abs(x) > 1e-300 else r
    return time if (r > 0.0) & (y > 0.0) & (time < 1e300 * tau_mem) else math.inf
