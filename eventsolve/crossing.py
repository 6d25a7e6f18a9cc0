"""The first upward threshold crossing between two events, or the proof that there is none (compiled).

V' has at most one root between two events, so V rises on at most one stretch: it can cross upwards at most once before a
reset. With u = V - v_leak, c = v_threshold - v_leak and u(0) < c, in (0, h]:

1. at a crossing tau_mem V' = I - c > 0, and I is monotone: max(I(0), I(h)) > c, or there is none;
2. u(h) >= c: exactly one, because u would have to fall and rise again to have three;
3. u(h) < c: one only if u rises at 0 and falls at h and its peak, which is closed form, is above c.
"""

from __future__ import annotations

import math

from eventsolve.compiled import compiled
from eventsolve.membrane import extremum, propagator

EPS = 2.220446049250313e-16


@compiled
def undecided_band(u, i, c):
    """Return how far from the threshold float64 cannot tell on which side a voltage is: 8 ulps of the terms of V.

    Each of the terms u exp(-a), i K and c carries at most about three roundings (the argument, exp, the product), and a
    sum of them two more.
    """
    return 8.0 * EPS * (abs(u) + abs(i) + abs(c))


@compiled
def peak_possible(u, i, c, decay_mem, u_h, i_h):
    """Return False if the states at 0 and h prove without a logarithm that no peak between them comes near c.

    There is a peak only if u rises at 0 and falls at h. Up to it u rises no faster than with the current i(0), after it u
    falls no faster than it would decay towards i(h); decay_mem is exp(-h/tau_mem).
    """
    level = c - undecided_band(u, i, c)
    return (
        (i > u)
        & (i_h < u_h)
        & (i - (i - u) * decay_mem >= level)
        & (u_h - i_h >= (level - i_h) * decay_mem)
    )


@compiled
def first_crossing(u, i, c, h, decay_mem, u_h, i_h, tau_mem, tau_syn):
    """Return (s, grazing): the first crossing in (0, h] in seconds, or inf, from the states at 0 and h.

    ``grazing`` says that V's peak lies within :func:`undecided_band` of the threshold, so that the answer is
    deterministic but not decided by float64.
    """
    if max(i, i_h) <= c:
        return math.inf, False
    if u_h >= c:
        return refine_crossing(u, i, c, h, u_h, i_h, tau_mem, tau_syn), False
    if not peak_possible(u, i, c, decay_mem, u_h, i_h):
        return math.inf, False
    s = min(extremum(u, i, tau_mem, tau_syn), h)
    ea, eb, k = propagator(s, tau_mem, tau_syn)
    peak = u * ea + i * k
    grazing = abs(peak - c) <= undecided_band(u, i, c)
    if peak <= c:
        return math.inf, grazing
    return refine_crossing(u, i, c, s, peak, i * eb, tau_mem, tau_syn), grazing


@compiled
def refine_crossing(u, i, c, h, u_h, i_h, tau_mem, tau_syn):
    """Return the crossing of c in (0, h], where u < c <= u_h and u crosses once, to the conditioning of the crossing.

    Each step solves the second-order Taylor model at the current point and corrects it by the third derivative (all
    derivatives are linear in the state, so they cost no exponential): order four, and right near a grazing peak, where
    Newton's method is not. It cannot leave the bracket [low, high]: it bisects instead.
    """
    low, high = 0.0, h
    s = first_guess(u, i, c, h, u_h, i_h, tau_mem)
    for _ in range(200):
        ea, eb, k = propagator(s, tau_mem, tau_syn)
        current = i * eb
        v = u * ea + i * k
        f = v - c
        if f < 0.0:
            low = s
        else:
            high = s
        d1 = (current - v) / tau_mem
        d2 = -(current / tau_syn + d1) / tau_mem
        d3 = (current / (tau_syn * tau_syn) - d2) / tau_mem
        disc = d1 * d1 - 2.0 * f * d2
        step = math.inf
        if d1 > 0.0 and disc > 0.0:
            root = math.sqrt(disc)
            step = -2.0 * f / (d1 + root)
            step -= step * step * step * d3 / (6.0 * root)
        if not (low < s + step < high):
            if abs(step) <= EPS * s:
                return s
            step = 0.5 * (low + high) - s
            if low + 0.5 * (high - low) <= low or high - low <= EPS * high:
                return high
            s += step
            continue
        s += step
        # the next correction would be of fourth order in the step against the scales of the derivatives
        size = abs(step)
        if size * (abs(d2) + abs(d3) * size) < 1e-5 * d1 and size < 1e-5 * min(tau_mem, tau_syn):
            return s
        if size <= EPS * s:
            return s
    return s


@compiled
def first_guess(u, i, c, h, u_h, i_h, tau_mem):
    """Return a point in (0, h] near the crossing: inverse cubic Hermite interpolation, or a parabola below a peak."""
    rise = u_h - u
    level = (c - u) / rise
    slope0 = (i - u) / tau_mem
    slope1 = (i_h - u_h) / tau_mem
    if slope0 > 0.0 and slope1 > 0.0:
        m0 = min(rise / (slope0 * h), 3.0)
        m1 = min(rise / (slope1 * h), 3.0)
        z = 1.0 - level
        guess = level * level * (3.0 - 2.0 * level) + m0 * level * z * z - m1 * level * level * z
    elif slope0 > 0.0:
        guess = 1.0 - math.sqrt(1.0 - level)
    else:
        guess = math.sqrt(level)
    s = guess * h
    return s if 0.0 < s <= h else h
