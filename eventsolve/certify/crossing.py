r"""Whether a neuron crosses its threshold in an interval without events, and when: proven, or Undecided.

V' is a sum of two exponentials, so it has at most one root, and a root of it where I < 0 is a minimum of V, because
there tau_mem V'' = I' = -I/tau_syn. From V < v_threshold at the start of an interval it follows that

(a)  where V' >= 0 at some l and V(l) < v_threshold, V has not reached the threshold up to l: its maximum lies at an
     end; so does it where I <= 0 at the start;
(b)  where I < v_threshold - v_leak and 0 < v_threshold - v_leak at some l with V(l) < v_threshold, V does not reach it
     after l: to reach it from below takes V' >= 0, that is I >= v_threshold - v_leak, and I decays to 0;
(c)  where V' > 0 on a ball of times that contains a root of V - v_threshold, that root is the first crossing: (a) holds
     at the ball's lower end;
(d)  where V(l) < v_threshold and V(r) >= v_threshold at some r > l, the first crossing lies between the two: one before
     l would make V rise, fall and rise again, and V' have two roots.

By (a) and (b) at one time l just before the peak of V, a crossing is excluded without knowing where the peak is.

The numbers that say about where to look (:func:`peak_time` and the like) are float64, or midpoints of balls, and claim
nothing: proofs begin where they point to, and hold or fail by themselves.
"""

from __future__ import annotations

import math

from flint import arb, ctx

from eventsolve.certify.arithmetic import (
    UNIT,
    ZERO,
    surely_at_most,
    surely_inside,
    surely_less,
    undecided,
)
from eventsolve.certify.membrane import Listed, Membrane

CLOSE = 1e-6
"""How close, relatively, a peak may come to the threshold before float64 is no longer asked."""
CONVERGED = 2.0**-50
"""How long, relatively, a step of Newton's method is that roundings make."""
LATE = 2.0**-20
BISECTIONS = 1100
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
    for _ in range(BISECTIONS):
        v, i = _state(excess, current, s, tau_mem, tau_syn)
        low, high = (s, high) if v < level else (low, s)
        following = s - (v - level) * tau_mem / (i - v) if i > v else low
        if abs(following - s) <= CONVERGED * s:
            return following
        s = following if low < following < high else 0.5 * (low + high)
        if s in (low, high):
            return s
    return s


def _state(excess: float, current: float, s: float, tau_mem: float, tau_syn: float) -> tuple[float, float]:
    x, y = s / tau_mem, s / tau_syn
    d = abs(y - x)
    response = x * math.exp(-min(x, y)) * (-math.expm1(-d) / d if d else 1.0)
    return excess * math.exp(-x) + current * response, current * math.exp(-y)


def peak_time(membrane: Membrane) -> arb:
    """Return about when V has its only extremum, as an exact time; nan if it has none."""
    rates = membrane.rates
    gap, tau_mem = rates.gap.mid(), rates.tau_mem.mid()
    current, excess = membrane.current.mid(), (membrane.voltage - membrane.leak).mid()
    divisor = (excess * gap + current / tau_mem).mid()
    s = ((current - excess) / divisor).mid()
    if gap != 0:
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
    time = (low + arb(ahead)).mid()
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
        step = (gap / slope).mid()
        if not slope > 0 or abs(step) > abs(before) / 2 or not low < time - step < high:
            time, step = ((low + high) / 2).mid(), (high - low).mid()
        else:
            time = (time - step).mid()
    return time


WIDENINGS = 12
"""How often the ball in which a crossing is sought is doubled."""
HALVINGS = 24
"""How often the ends are halved of what a box leaves of an interval."""


def first_crossing(membrane: Membrane, last: Membrane, threshold: arb) -> arb | None:
    """Return a ball around the first time after a membrane's last event at which V reaches the threshold.

    Parameters
    ----------
    membrane : Membrane
        With V below the threshold at its last event, and no crossing from there to its origin.
    last : Membrane
        The same moved to the end of the interval, up to which nothing arrives.
    threshold : arb
        Of V.

    Returns
    -------
    arb or None
        Seconds; None if there is provably no crossing up to the end. A crossing that overlaps the end may be after it.

    Raises
    ------
    Undecided
        If the balls are too wide to tell.
    """
    level = threshold - membrane.leak
    if surely_less(membrane.current, level) and surely_less(ZERO, level):
        return None  # (b)
    if surely_at_most(threshold, last.voltage):
        return _located(membrane, threshold, last.origin)
    if surely_less(last.voltage, threshold) and (
        surely_at_most(last.voltage - last.leak, last.current) or surely_at_most(membrane.current, ZERO)
    ):
        return None  # (a)
    peak = peak_time(membrane)
    if not surely_less(peak, last.origin):
        latest = membrane.moved(latest_time(membrane, level))
        if surely_less(latest.origin, last.origin) and surely_less(latest.current, level):
            return first_crossing(membrane, latest, threshold)  # (b) from there on
        raise undecided(last.voltage, threshold)
    voltage, current = membrane.at(peak)
    if surely_at_most(threshold, voltage):
        return _located(membrane, threshold, peak)
    # Before the peak V' is about I/(tau_mem tau_syn) times the distance, which shall exceed the radius of V'.
    doubt = current.rad() + (voltage - membrane.leak).rad() + abs(current) * arb(2) ** (8 - ctx.prec)
    step = (4 * doubt * membrane.rates.tau_syn / abs(current)).mid()
    if _excluded(membrane, threshold, level, peak, step):
        return None
    raise undecided(voltage, threshold)


def _excluded(membrane: Membrane, threshold: arb, level: arb, peak: arb, step: arb) -> bool:
    """Say whether a crossing is excluded by what V and I are at about its peak."""
    low, high = (peak - step).mid(), (peak + step).mid()
    voltage, current = membrane.at(low)
    if not surely_at_most(voltage - membrane.leak, current):
        return False
    if surely_less(current, level) and surely_less(ZERO, level):
        return True  # (a) up to low, where V - v_leak <= I < v_threshold - v_leak, and (b) from there on
    # of a box: the peak lies between low and high, and V there is V at one place plus what V' makes of the distance
    if not surely_less(membrane.slope(high), ZERO):
        return False
    around = low.union(high)
    return surely_less(membrane.at(peak)[0] + membrane.slope(around) * (around - peak), threshold)


def _located(membrane: Membrane, threshold: arb, high: arb) -> arb:
    """Return a ball around the first crossing, by one step of the interval Newton method."""
    guess = crossing_time(membrane, threshold, high)
    voltage, _ = membrane.at(guess)
    gap, slope = voltage - threshold, membrane.slope(guess)
    reach = 2 * abs(gap / slope).upper() + abs(guess) * arb(2) ** (4 - ctx.prec)
    for _ in range(WIDENINGS):
        around = guess + reach * UNIT
        slope = membrane.slope(around)
        if not surely_less(ZERO, slope):
            break
        found = guess - gap / slope
        if surely_inside(found, around):
            return found  # (c)
        reach *= 2
    if isinstance(membrane, Listed):
        return _between(membrane, threshold, guess, high)
    raise undecided(voltage, threshold)


def _between(membrane: Membrane, threshold: arb, guess: arb, high: arb) -> arb:
    """Return a ball around the first crossing by (d).

    It is found by halving, from a guess on; a box may hold networks whose V' is as good as 0 where they cross.
    """
    low, first = membrane.origin, guess.min(high)  # (d) is about places before high
    for _ in range(HALVINGS):
        middle = ((low + first) / 2).mid()
        if surely_less(membrane.at(middle)[0], threshold):
            low = middle
        else:
            first = middle
    last = guess
    for _ in range(HALVINGS):
        middle = ((last + high) / 2).mid()
        if surely_at_most(threshold, membrane.at(middle)[0]):
            high = middle
        else:
            last = middle
    return low.union(high)
