"""The first upward threshold crossing between two events, or the proof that there is none (compiled).

V' has at most one root between two events, so V rises on at most one stretch: it can cross upwards at most
once before a reset. With u = V - v_leak, c = v_threshold - v_leak and u(0) < c, in (0, h]:

1. at a crossing tau_mem V' = I - c > 0, and I is monotone: max(I(0), I(h)) > c, or there is none;
2. u(h) >= c: exactly one, because u would have to fall and rise again to have three;
3. u(h) < c: one only if u rises at 0 and falls at h and its peak, which is closed form, is above c.
"""

from __future__ import annotations

import math

from eventsolve.compiled import compiled, inlined
from eventsolve.membrane import extremum, propagator

EPS = 2.220446049250313e-16


@inlined
def undecided_band(u, i, c):
    """Return how far from the threshold float64 cannot tell on which side a voltage is: 8 ulps of the terms of V.

    Each of the terms u exp(-a), i K and c carries at most about three roundings (the argument, exp, the product), and a
    sum of them two more.
    """
    return 8.0 * EPS * (abs(u) + abs(i) + abs(c))


@inlined
def peak_possible(u, i, c, decay_mem, u_h, i_h):
    """Return False if the states at 0 and h prove without a logarithm that no peak between them comes near c.

    There is a peak only if u rises at 0 and falls at h. With z = exp(-s/tau_mem), u(s) <= i - (i - u) z, because the
    current does not exceed i(0), and u(s) <= i_h + (u_h - i_h) z / decay_mem, because it does not fall below i(h);
    decay_mem is exp(-h/tau_mem). One bound falls with z, the other rises, so that none exceeds their value where they
    are equal: the mean of i and i_h with the weights below.
    """
    late = u_h - i_h
    early = (i - u) * decay_mem
    level = c - undecided_band(u, i, c)
    return (early > 0.0) & (late > 0.0) & (late * i + early * i_h >= level * (late + early))


@compiled
def first_crossing(u, i, c, h, decay_mem, u_h, i_h, tau_mem, tau_syn):
    """Return (s, grazing): the first crossing in (0, h] in seconds, or inf, from the states at 0 and h.

    ``grazing`` says that V's peak lies within :func:`undecided_band` of the threshold, so that the answer is
    deterministic but not decided by float64.
    """
    grazing = False
    high, u_high, i_high = h, u_h, i_h
    crosses = max(i, i_h) > c and u_h >= c
    if max(i, i_h) > c and u_h < c and peak_possible(u, i, c, decay_mem, u_h, i_h):
        high = min(extremum(u, i, tau_mem, tau_syn), h)
        ea, eb, k = propagator(high, tau_mem, tau_syn)
        u_high, i_high = u * ea + i * k, i * eb
        crosses = u_high > c
        grazing = abs(u_high - c) <= undecided_band(u, i, c)
    s = refine_crossing(u, i, c, high, u_high, i_high, tau_mem, tau_syn) if crosses else math.inf
    return s, grazing


@inlined
def taylor_step(f, u, i, rate_mem, rate_syn):
    """Return how far to go from a state (u, i) for u to rise by -f, by its first three derivatives; inf if it falls.

    All derivatives are linear in the state, so they cost no exponential. Nearly straight curves take the
    inverse series; others the parabola with a correction, which is right near a grazing peak, where Newton's
    method is not.
    """
    drain = i * rate_syn
    d1 = (i - u) * rate_mem
    if not d1 > 0.0:
        return math.inf
    d2 = -(drain + d1) * rate_mem
    d3 = (drain * rate_syn - d2) * rate_mem
    inverse = 1.0 / d1
    newton = -f * inverse
    bend = 0.5 * d2 * inverse
    twist = d3 * inverse / 6.0
    if abs(bend * newton) < 0.02:
        return newton - newton * newton * (bend - newton * (2.0 * bend * bend - twist))
    if not 4.0 * bend * newton > -1.0:
        return math.inf
    root = math.sqrt(1.0 + 4.0 * bend * newton)
    step = 2.0 * newton / (1.0 + root)
    return step - step * step * step * twist / root


@compiled
def refine_crossing(u, i, c, h, u_h, i_h, tau_mem, tau_syn):
    """Return the crossing of c in (0, h], where u < c <= u_h and u crosses once, to the conditioning of the crossing.

    :func:`taylor_step` from point to point, of fourth order. It cannot leave the bracket [low, high]: it
    bisects instead.
    """
    rate_mem, rate_syn = 1.0 / tau_mem, 1.0 / tau_syn
    shortest = min(tau_mem, tau_syn)
    low, high = 0.0, h
    s = taylor_step(u - c, u, i, rate_mem, rate_syn)
    if not s < min(0.5 * shortest, h):
        s = first_guess(u, i, c, h, u_h, i_h, tau_mem)
    for _ in range(200):
        ea, eb, k = propagator(s, tau_mem, tau_syn)
        v = u * ea + i * k
        f = v - c
        if f < 0.0:
            low = s
        else:
            high = s
        step = taylor_step(f, v, i * eb, rate_mem, rate_syn)
        size = abs(step)
        if size <= EPS * s:
            return s
        if low < s + step < high:
            s += step
            # what is left is of fourth order in the step, against the time constants and the distance to a turn, d1/d2
            slope = (i * eb - v) * rate_mem
            if size < 1e-4 * shortest and size * (abs(i) * eb * rate_syn + slope) * rate_mem < 1e-4 * slope:
                return s
        elif high - low <= EPS * high:
            return high
        else:
            s = 0.5 * (low + high)
    return s


@inlined
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
