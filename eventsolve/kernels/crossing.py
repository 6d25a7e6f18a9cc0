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

import numpy as np

from eventsolve.compiled import embedded, without_refcount
from eventsolve.kernels.elementary import log1p
from eventsolve.kernels.membrane import extremum, propagator

EPS = 2.220446049250313e-16
SMALLEST_DECAY = 1e-280
"""Below it products with a decay lose digits, as numbers become denormal."""


@embedded
def undecided_band(u, i, c):
    """Return how far from the threshold float64 cannot tell at any time on which side a voltage is.

    It is 8 ulps of the terms of V, which after a time are smaller, and known better: :func:`undecided_after`.
    """
    return 8.0 * EPS * (abs(u) + abs(i) + abs(c))


@embedded
def undecided_after(u, i, c, s, ea, k, tau_mem, tau_syn):
    """Return how far from the threshold float64 cannot tell on which side a voltage is a time s after a state.

    With a = s/tau_mem and b = s/tau_syn, and roundings of half an ulp: u exp(-a) has 2 a + 3 of them, those of the
    argument and of its product. So has i K; where K comes from a difference of exp(-a) and exp(-b), of which the larger
    is at most 2.6 times as large, it has 2.6 (2 a + 2 b + 2) and 3; and their sum and c have two more. 8 ulps of each
    term, 1 + a + b times those that decay, are more than all. So are 8 ulps of u and i themselves, as x exp(-x) < 0.4.
    """
    steps = 1.0 + s / tau_mem + s / tau_syn
    whole = abs(u) + abs(i)
    left = (abs(u) * ea + abs(i) * k) * (steps if steps < 1e3 else 0.0)
    return 8.0 * EPS * ((left if (steps < 1e3) & (left < whole) else whole) + abs(c))


@embedded
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


@embedded
def crossing_possible(u, i, c, decay_mem, u_h, i_h):
    """Return False if the states at 0 and h prove that V does not reach c between them, and cannot seem to."""
    return ((i > c) | (i_h > c)) & (
        (u_h >= c - undecided_band(u, i, c)) | peak_possible(u, i, c, decay_mem, u_h, i_h)
    )


@embedded
def taylor_step(f, u, i, rate_mem, rate_syn):
    """Return how far to go from a state (u, i) for u to rise by -f, by its first three derivatives; inf if it falls.

    All derivatives are linear in the state, so they cost no exponential. Nearly straight curves take the
    inverse series; others the parabola with a correction, which is right near a grazing peak, where Newton's
    method is not.
    """
    drain = i * rate_syn
    d1 = (i - u) * rate_mem
    d2 = -(drain + d1) * rate_mem
    d3 = (drain * rate_syn - d2) * rate_mem
    rises = d1 > 0.0
    inverse = 1.0 / (d1 if rises else 1.0)
    newton = -f * inverse
    bend = 0.5 * d2 * inverse
    twist = d3 * inverse * (1.0 / 6.0)
    q = bend * newton
    straight = abs(q) < 0.02
    series = newton - newton * newton * (bend - newton * (2.0 * bend * bend - twist))
    square = 1.0 + 4.0 * q
    # no root; or overflow, where V has all but died away
    bends = (square > 0.0) & (square < 1e300)
    root = math.sqrt(square if bends else 1.0)
    inverse = 1.0 / (root * (1.0 + root))
    step = 2.0 * newton * root * inverse
    curved = step - step * step * step * twist * (1.0 + root) * inverse
    return (series if straight else curved) if rises & (straight | bends) else math.inf


@embedded
def turn_time(u, i, c, tau_mem, tau_syn):
    """Return when V turns after a state, in seconds, or inf."""
    turn = extremum(u, i, tau_mem, tau_syn)
    # a V above v_leak must fall again, but where tau_syn / tau_mem is beyond float64 it is all but i by then
    return 40.0 * tau_mem if (i > u) & (c > 0.0) & (turn == math.inf) else turn


@embedded
def first_guess(u, i, c, tau_mem, tau_syn):
    """Return (low, high, s, grazing): where V crosses c after a state with u < c, a first guess; s is inf if nowhere.

    s is 0 where V is there already. ``high`` is inf where V rises towards v_leak without a peak: there, and for every
    c < 0, :func:`guess_below_leak` has more to say. ``grazing`` says that V's peak lies within :func:`undecided_after`
    of the threshold.
    """
    rate_mem, rate_syn = 1.0 / tau_mem, 1.0 / tau_syn
    shortest = tau_mem if tau_mem < tau_syn else tau_syn
    turn = turn_time(u, i, c, tau_mem, tau_syn)
    turns = turn < math.inf
    until = turn if turns else 0.0
    ea, _, k = propagator(until, tau_mem, tau_syn)
    u_turn = u * ea + i * k
    band = undecided_after(u, i, c, until, ea, k, tau_mem, tau_syn)
    rises = i > u
    peaks = rises & turns
    # a peak, or a minimum after which V rises towards c < 0, or neither
    low = turn if turns & (i < u) else 0.0
    high = turn if peaks else math.inf
    height = (u_turn - c) / (u_turn - u if u_turn > u else 1.0)
    from_peak = turn * (1.0 - math.sqrt(height if height > 0.0 else 0.0))
    near = taylor_step(u - c, u, i, rate_mem, rate_syn)
    far = (from_peak if from_peak > 0.0 else 0.5 * turn) if peaks else low + shortest
    s = near if (near < 0.5 * shortest) & (near < high) & (near > low) else far
    reaches = (u_turn > c) if peaks else (c < 0.0) & (rises | turns | ((i == u) & (i < 0.0)))
    positive = i if i > 0.0 else 0.0
    s = s if (positive > c) & reaches else math.inf
    below = u < c
    grazing = (positive > c) & below & peaks & (abs(u_turn - c) <= band)
    return low, high, s if below else (0.0 if positive > c else math.inf), grazing


@without_refcount
def guess_below_leak(u, i, c, tau_mem, tau_syn, low, high, s):
    """Return (high, s) of :func:`first_guess` again for c < 0, where V may rise without a peak or to a far one."""
    if not 0.0 < s < math.inf:
        return high, s
    if i >= 0.0:
        # V rises at least as fast as without current
        latest = tau_mem * log1p((u - c) / c) if (u - c) / c < 1e300 else math.inf
        if latest < high:
            return latest * (1.0 + 8.0 * EPS), min(s, latest)
    elif s >= 0.5 * min(tau_mem, tau_syn):
        ea, _, k = propagator(low, tau_mem, tau_syn)
        fall = (u * ea + i * k - c) / c
        guess = low + max(tau_mem, tau_syn) * log1p(min(fall, 1e300))
        if low < guess < high:
            return high, guess
    return high, s


@embedded
def refine(u, i, c, tau_mem, tau_syn, low, high, s):
    """Return (low, high, s, done): a better guess of where V crosses c, which lies between low and high.

    It takes a step of third order, or where that would leave the bracket a half of it. It is done when the step is a
    rounding error, or so short that what is left of it, which is of fourth order, is one.
    """
    rate_mem, rate_syn = 1.0 / tau_mem, 1.0 / tau_syn
    shortest = tau_mem if tau_mem < tau_syn else tau_syn
    ea, eb, k = propagator(s, tau_mem, tau_syn)
    v = u * ea + i * k
    current = i * eb
    f = v - c
    below = f < 0.0
    low = s if below else low
    high = high if below else s
    step = taylor_step(f, v, current, rate_mem, rate_syn)
    size = abs(step)
    exact = size <= EPS * s
    inside = (low < s + step) & (s + step < high)
    # against the time constants and the distance to a turn, d1/d2; far away its terms may cancel to a short one
    slope = (current - v) * rate_mem
    near = (size < 1e-4 * shortest) & (abs(f) < 2e-4 * shortest * slope)
    close = near & (size * (abs(current) * rate_syn + slope) * rate_mem < 1e-4 * slope)
    bounded = high < math.inf
    narrow = bounded & (high - low <= EPS * high)
    middle = 0.5 * (low + high) if bounded else 2.0 * low + shortest
    otherwise = high if narrow else middle
    return (
        low,
        high,
        s if exact else (s + step if inside else otherwise),
        exact | (close if inside else narrow),
    )


MAX_STEPS = 200


@without_refcount
def crossing_time(u, i, c, tau_mem, tau_syn):
    """Return (s, grazing): when V first reaches the threshold after a state if nothing arrives, in seconds, or inf.

    0 if it is there already. ``grazing`` says that V's peak lies within :func:`undecided_after` of the threshold: the
    answer is then deterministic, but not decided by float64.
    """
    low, high, s, grazing = first_guess(u, i, c, tau_mem, tau_syn)
    if c < 0.0:
        high, s = guess_below_leak(u, i, c, tau_mem, tau_syn, low, high, s)
    done = not 0.0 < s < math.inf
    for _ in range(MAX_STEPS):
        if done:
            break
        low, high, s, done = refine(u, i, c, tau_mem, tau_syn, low, high, s)
    return s, grazing


@without_refcount
def advance_dense_block(states, now, other, first, n, weights, low, flow, candidates):
    """Advance n neurons from ``first`` on, add the weights from ``low`` on that arrive then, and find who may cross.

    Their states (u, i, c) are those from ``now`` on in u and i; the new ones, of the propagator ``flow``, are written
    to the places from ``other`` on. Returns the number of neurons found, of the ``candidates``: flags, the same eight
    by eight, and neurons. All others provably do not cross: it is :func:`crossing_possible`.
    """
    u, i, c = states
    ea, eb, k = flow
    flags, words, found = candidates
    silence = ea < SMALLEST_DECAY
    for m in range(n):
        # unsigned: no index counts from the end, so that the loop is vectorised
        j = np.uint64(first) + np.uint64(m)
        u_0, i_0, c_0 = u[np.uint64(now) + j], i[np.uint64(now) + j], c[j]
        u_h = u_0 * ea + i_0 * k
        i_h = i_0 * eb
        level = c_0 - undecided_band(u_0, i_0, c_0)
        late = u_h - i_h
        early = (i_0 - u_0) * ea
        peak = (late > 0.0) & (late * i_0 + early * i_h >= level * (late + early))
        flags[m] = (u_h >= level) | ((i_0 > u_0) & (peak | silence))
        u[np.uint64(other) + j] = u_h
        i[np.uint64(other) + j] = i_h + weights[np.uint64(low) + np.uint64(m)]
    count = 0
    for w in range((n + 7) >> 3):
        if words[w] != 0:
            for m in range(8 * w, min(8 * w + 8, n)):
                if flags[m]:
                    found[count] = first + m
                    count += 1
    return count


LOW, HIGH, GUESS, LEVEL, VOLTAGE, CURRENT = 0, 1, 2, 3, 4, 5
"""Rows of the room in which crossing times are sought."""


@without_refcount
def crossing_times(n, states, tau_mem, tau_syn, times, grazing, room, which, done):
    """Write :func:`crossing_time` of n states (rows u, i and c) into ``times`` and ``grazing``, with the same bits.

    All take a step before any takes the next one, so that steps are vectorised; those not done move up in ``room``,
    (6, n), and in ``which`` and ``done``, (n,).
    """
    for m in range(n):
        low, high, s, graze = first_guess(states[0, m], states[1, m], states[2, m], tau_mem, tau_syn)
        room[LOW, m], room[HIGH, m], times[m], grazing[m] = low, high, s, graze
    for m in range(n):
        u, i, c = states[0, m], states[1, m], states[2, m]
        if c < 0.0:
            room[HIGH, m], times[m] = guess_below_leak(
                u, i, c, tau_mem, tau_syn, room[LOW, m], room[HIGH, m], times[m]
            )
    left = 0
    for m in range(n):
        room[LOW, left], room[HIGH, left], room[GUESS, left] = room[LOW, m], room[HIGH, m], times[m]
        room[VOLTAGE, left], room[CURRENT, left], room[LEVEL, left] = states[0, m], states[1, m], states[2, m]
        which[left] = m
        left += (times[m] > 0.0) & (times[m] < math.inf)
    steps = 0
    while left > 0 and steps < MAX_STEPS:
        steps += 1
        for w in range(left):
            room[LOW, w], room[HIGH, w], room[GUESS, w], done[w] = refine(
                room[VOLTAGE, w],
                room[CURRENT, w],
                room[LEVEL, w],
                tau_mem,
                tau_syn,
                room[LOW, w],
                room[HIGH, w],
                room[GUESS, w],
            )
        n, left = left, 0
        for w in range(n):
            times[which[w]] = room[GUESS, w]
            room[LOW, left], room[HIGH, left], room[GUESS, left] = room[LOW, w], room[HIGH, w], room[GUESS, w]
            room[VOLTAGE, left], room[CURRENT, left], room[LEVEL, left] = (
                room[VOLTAGE, w],
                room[CURRENT, w],
                room[LEVEL, w],
            )
            which[left] = which[w]
            left += not done[w]
