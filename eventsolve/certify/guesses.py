"""Where to look: about when a neuron crosses its threshold and when its voltage peaks, without any claim.

Proofs begin where these numbers point to, and hold or fail by themselves. Numbers here are float64, or midpoints of
balls.
"""

from __future__ import annotations

import math

from flint import arb, ctx

from eventsolve.certify.balls import ONE
from eventsolve.certify.membranes import Membrane

CLOSE = 1e-6
"""How close, relatively, a peak may come to the threshold before float64 is no longer asked."""
LATE = 2.0**-20
HALVINGS = 1100
"""Steps that bring any float64 bracket down to its last bit."""


def crossing_ahead(excess: float, current: float, level: float, tau_mem: float, tau_syn: float) -> float:
    """Return about how long until V - v_leak reaches a level from below, in seconds; inf if never, nan if unclear."""
    try:
        if not excess < level or not all(map(math.isfinite, (excess, current, level))):
            return math.nan
        if current <= level and level > 0.0:
            return math.inf
        rising = current > excess
        top = _peak(excess, current, tau_mem, tau_syn) if rising else math.inf
        if top < math.inf:
            height = current * math.exp(-top / tau_syn)
            if abs(height - level) <= CLOSE * (abs(height) + abs(level)):
                return math.nan
            if height < level:
                return math.inf
        elif level >= 0.0:
            return math.inf
        return _root(excess, current, level, tau_mem, tau_syn, top)
    except (OverflowError, ZeroDivisionError):
        return math.nan


def _peak(excess: float, current: float, tau_mem: float, tau_syn: float) -> float:
    if current <= 0.0:
        return math.inf
    gap = (tau_mem - tau_syn) / (tau_mem * tau_syn)
    divisor = excess * gap + current / tau_mem
    s = (current - excess) / divisor if divisor != 0.0 else math.inf
    if gap == 0.0:
        return s if s > 0.0 else math.inf
    if not s < math.inf or gap * s <= -1.0:
        return math.inf
    s = math.log1p(gap * s) / gap
    return s if s > 0.0 else math.inf


def _root(excess: float, current: float, level: float, tau_mem: float, tau_syn: float, high: float) -> float:
    low = 0.0
    if high == math.inf:
        high = min(tau_mem, tau_syn)
        while _state(excess, current, high, tau_mem, tau_syn)[0] < level:
            low, high = high, 2.0 * high
    s = 0.5 * (low + high)
    for _ in range(HALVINGS):
        v, i = _state(excess, current, s, tau_mem, tau_syn)
        low, high = (s, high) if v < level else (low, s)
        following = s - (v - level) * tau_mem / (i - v) if i > v else low
        if not low < following < high:
            following = 0.5 * (low + high)
        if abs(following - s) <= 1e-16 * s or following in (low, high):
            return following
        s = following
    return s


def _state(excess: float, current: float, s: float, tau_mem: float, tau_syn: float) -> tuple[float, float]:
    x, y = s / tau_mem, s / tau_syn
    d = abs(y - x)
    response = x * math.exp(-min(x, y)) * (-math.expm1(-d) / d if d else 1.0)
    return excess * math.exp(-x) + current * response, current * math.exp(-y)


def peak_time(membrane: Membrane) -> arb | None:
    """Return about when V has its only extremum, as an exact time; None if it has none."""
    rates = membrane.rates
    gap, tau_mem = rates.gap.mid(), rates.tau_mem.mid()
    current, excess = membrane.current.mid(), (membrane.voltage - membrane.leak).mid()
    divisor = (excess * gap + current / tau_mem).mid()
    if divisor == 0:
        return None
    s = ((current - excess) / divisor).mid()
    if gap != 0:
        if (ONE + gap * s).mid() <= 0:
            return None
        s = (gap * s).log1p() / gap
    return (membrane.origin + s).mid()


def latest_time(membrane: Membrane, level: arb) -> arb:
    """Return a time shortly after I decays to a level, as an exact one; the origin where it does not."""
    current, level = membrane.current.mid(), level.mid()
    if not 0 < level < current:
        return membrane.origin
    return (membrane.origin + membrane.rates.tau_syn * ((current / level).log() * (1 + LATE) + LATE)).mid()


def crossing_time(membrane: Membrane, threshold: arb, high: arb) -> arb:
    """Return about when V first reaches the threshold, as an exact time, given one at which it is above.

    Newton's method within a bracket, until V is at the threshold to within its own radius.
    """
    low, high, target = membrane.origin, high.mid(), threshold.mid()
    ahead = crossing_ahead(
        float(membrane.voltage - membrane.leak),
        float(membrane.current),
        float(threshold - membrane.leak),
        float(membrane.rates.tau_mem),
        float(membrane.rates.tau_syn),
    )
    time = (low + arb(ahead)).mid() if ahead < math.inf else ((low + high) / 2).mid()
    step = (high - low).mid()
    for _ in range(2 * ctx.prec):
        if not low < time < high:
            time = ((low + high) / 2).mid()
        voltage, _ = membrane.at(time)
        gap = (voltage - target).mid()
        if abs(gap) <= voltage.rad():
            return time
        low, high = (time, high) if gap < 0 else (low, time)
        slope, before = membrane.slope(time).mid(), step
        if slope > 0:
            step = (gap / slope).mid()
        if not slope > 0 or abs(step) > abs(before) / 2 or not low < time - step < high:
            time, step = ((low + high) / 2).mid(), (high - low).mid()
        else:
            time = (time - step).mid()
    return time
