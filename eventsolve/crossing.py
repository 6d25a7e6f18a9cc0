"""The first upward threshold crossing after a state, or the proof that there is none (compiled).

V' has at most one root after a state (u, i), u = V - v_leak, if nothing arrives, so V rises on at most one stretch: it
can cross upwards at most once before a reset. With c = v_threshold - v_leak and u < c:

1. at a crossing tau_mem V' = I - c > 0, and I moves monotonically to 0: max(i, 0) > c, or there is none;
2. where V rises to a peak, which is closed form, it crosses on the way if the peak is above c, and never after;
3. where V rises without a peak, it rises to v_leak: it crosses if c < 0.

The crossing is a function of the state alone, whatever comes next: the same bits for any end of the interval. In an
interval of length h whose last state is known there is none unless u(h) >= c or :func:`peak_possible`.
"""

from __future__ import annotations

import math

from eventsolve.compiled import compiled, inlined
from eventsolve.membrane import extremum, propagator

EPS = 2.220446049250313e-16
SMALLEST_DECAY = 1e-280
"""Below it products with a decay lose digits, as numbers become denormal."""


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
    are equal: the mean of i and i_h with the weights below. Where they underflow nothing is proven.
    """
    late = u_h - i_h
    early = (i - u) * decay_mem
    level = c - undecided_band(u, i, c)
    bound = (late > 0.0) & (late * i + early * i_h >= level * (late + early))
    return (i > u) & (bound | (decay_mem < SMALLEST_DECAY))


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
    if not -1.0 < 4.0 * bend * newton < 1e300:  # no root; or overflow, where V has all but died away
        return math.inf
    root = math.sqrt(1.0 + 4.0 * bend * newton)
    step = 2.0 * newton / (1.0 + root)
    return step - step * step * step * twist / root


@compiled
def crossing_time(u, i, c, tau_mem, tau_syn):
    """Return (s, grazing): when V first reaches the threshold after a state if nothing arrives, in seconds, or inf.

    0 if it is there already. ``grazing`` says that V's peak lies within :func:`undecided_band` of the threshold: the
    answer is then deterministic, but not decided by float64.
    """
    if not max(i, 0.0) > c:
        return math.inf, False
    if u >= c:
        return 0.0, False
    rate_mem, rate_syn = 1.0 / tau_mem, 1.0 / tau_syn
    shortest = min(tau_mem, tau_syn)
    low, high = 0.0, math.inf
    grazing = False
    bracketed = False
    s = taylor_step(u - c, u, i, rate_mem, rate_syn)
    if not 0.0 < s < 0.5 * shortest:
        low, high, s, grazing = bracket(u, i, c, tau_mem, tau_syn)
        bracketed = True
        if s == math.inf:
            return s, grazing
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
            break
        if low < s + step < high:
            # what is left is of fourth order in the step, against the time constants and the distance to a turn, d1/d2
            slope = (i * eb - v) * rate_mem
            s += step
            if size < 1e-4 * shortest and size * (abs(i) * eb * rate_syn + slope) * rate_mem < 1e-4 * slope:
                break
        elif high < math.inf and high - low <= EPS * high:
            s = high
            break
        elif bracketed:
            s = 0.5 * (low + high) if high < math.inf else 2.0 * low + shortest
        else:
            low, high, s, grazing = bracket(u, i, c, tau_mem, tau_syn)
            bracketed = True
            if s == math.inf:
                return s, grazing
    if not bracketed:
        # the peak is about slope^2 / (2 |V''|) above: only where that is little is it worth a logarithm
        slope = (i * eb - c) * rate_mem
        bend = abs(i * eb * rate_syn + slope) * rate_mem
        if slope * slope <= 4.0 * bend * undecided_band(u, i, c):
            grazing = bracket(u, i, c, tau_mem, tau_syn)[3]
    return s, grazing


@inlined
def turn_time(u, i, c, tau_mem, tau_syn):
    """Return when V turns after a state, in seconds, or inf."""
    turn = extremum(u, i, tau_mem, tau_syn)
    # a V above v_leak must fall again, but where tau_syn / tau_mem is beyond float64 it is all but i by then
    return 40.0 * tau_mem if i > u and c > 0.0 and turn == math.inf else turn


@compiled
def bracket(u, i, c, tau_mem, tau_syn):
    """Return (low, high, s, grazing): where V crosses c after a state with u < c, a first guess; s is inf if nowhere.

    ``high`` is inf where V rises towards v_leak without a peak.
    """
    turn = turn_time(u, i, c, tau_mem, tau_syn)
    if i > u and turn < math.inf:
        ea, _, k = propagator(turn, tau_mem, tau_syn)
        peak = u * ea + i * k
        grazing = abs(peak - c) <= undecided_band(u, i, c)
        if not peak > c:
            return 0.0, turn, math.inf, grazing
        guess = turn * (1.0 - math.sqrt((peak - c) / (peak - u)))
        if c < 0.0 <= i:
            # V rises at least as fast as without current, which matters where the peak is far beyond v_leak
            latest = tau_mem * math.log(u / c)
            if latest < turn:
                return 0.0, latest * (1.0 + 4.0 * EPS), min(guess, latest), grazing
        return 0.0, turn, guess, grazing
    if c >= 0.0 or (i <= u and turn == math.inf and not (i == u and i < 0.0)):
        return 0.0, 0.0, math.inf, False
    if i >= 0.0:
        latest = tau_mem * math.log(u / c)
        return 0.0, latest * (1.0 + 4.0 * EPS), latest, False
    low, u_low = 0.0, u
    if i < u:
        ea, _, k = propagator(turn, tau_mem, tau_syn)
        low, u_low = turn, u * ea + i * k
    return low, math.inf, low + max(tau_mem, tau_syn) * math.log(u_low / c), False
