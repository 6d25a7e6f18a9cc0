"""Balls, times of events in balls, and the float64 numbers that balls become.

A ball is a real number known to lie within a radius of a midpoint: an ``arb`` of python-flint, every operation of which
encloses the exact result for all numbers of its operands. Arb answers a comparison that overlapping balls leave open
with False, so nothing outside this module compares balls.

An :class:`EventTime` is the time of an event that knows where it comes from, so that equal times are told from nearly
equal ones: a root plus exact delays. The roots are time 0, for times that are numbers, and every event whose time is
only known as a ball: a threshold crossing, or an input spike of a box. Two times of one root are compared as rational
numbers, others as balls.

:class:`Enclosures` are balls as float64 numbers, which travel between processes and into records.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from flint import arb, ctx, fmpq
from numpy.typing import NDArray

from eventsolve.errors import Carrying
from eventsolve.typing import Reals

ZERO, ONE = arb(0), arb(1)
UNIT = arb(0, 1)
"""The ball from -1 to 1."""

Parts = tuple[int, int, int, int]
"""A ball without rounding: mantissas and exponents of 2 of its midpoint and its radius."""
SHOWN_DIGITS = 60
"""Digits in which an enclosure is written down."""
SLACK = 2.0**-10
"""By how much float64 radii are larger than they need be, relatively. On another machine or with another version of
Arb the ball that is rounded is another one, by far less than this: a certificate is confirmed there, too, and what it
says follows from what is proven there."""
WIDER, WIDEST = 8, 128
"""How many times the radius of a ball a decimal one has that is written, for the same reason, and may have at most."""
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?"
_WRITTEN = re.compile(rf"{_NUMBER}|\[(?:{_NUMBER} )?\+/- {_NUMBER}\]")
_PRECISION = threading.RLock()


class Undecided(Carrying, ArithmeticError):
    """Two balls overlap, so that no order is proven; ``width`` is how wide they are, relative to their size."""

    def __init__(self, width: float) -> None:
        super().__init__(f"balls overlap, with a relative width of {width:.3g}")
        self.width = width


@contextmanager
def working_precision(bits: int) -> Iterator[None]:
    """Compute with so many bits; one thread at a time, as python-flint has one precision for all."""
    with _PRECISION:
        before = ctx.prec
        ctx.prec = bits
        try:
            yield
        finally:
            ctx.prec = before


def bits_of(digits: float) -> int:
    """Return how many bits hold so many decimal digits."""
    return math.ceil(digits * math.log2(10))


def ball(midpoint: float, radius: float = 0.0) -> arb:
    """Return the ball of two float64 numbers, which are taken exactly as they are."""
    return arb(midpoint, radius) if radius else arb(midpoint)


def not_before(earliest: float, midpoint: float, radius: float) -> arb:
    """Return the part of a ball that is not less than a float64 number, which the midpoint is not."""
    whole = ball(midpoint, radius)
    return whole if whole >= earliest else between(arb(earliest), whole.upper())


def between(low: arb, high: arb) -> arb:
    """Return a ball around all numbers from one to the other."""
    return low.union(high)


def is_less(a: arb, b: arb) -> bool:
    """Say whether a < b, or raise Undecided."""
    if a < b:
        return True
    if a >= b:
        return False
    raise undecided(a, b)


def positive(a: arb) -> arb:
    """Return a ball that is proven to be above 0, or raise Undecided."""
    if not a > 0:
        raise undecided(a, ZERO)
    return a


def distance(a: arb, number: float) -> float:
    """Return how far a float64 number may be from a ball's number, rounded up."""
    return upward(abs(a - arb(number)).upper())


def rounded(a: arb) -> tuple[float, float]:
    """Return float64 midpoint and radius of a ball around a, the radius a little larger than it need be: see SLACK."""
    middle = float(a.mid())
    return (middle, with_slack(distance(a, middle))) if math.isfinite(middle) else (math.nan, math.inf)


def with_slack(radius: float) -> float:
    """Return a radius larger by SLACK, but for one that is exactly 0."""
    return math.nextafter(radius * (1.0 + SLACK), math.inf) if radius else 0.0


def written(a: arb) -> str:
    """Return a ball around a in decimal digits, "[midpoint +/- radius]" or an exact number: see WIDER."""
    return str(arb(a.mid(), WIDER * a.rad()).str(SHOWN_DIGITS))


def parts_of(a: arb) -> Parts:
    """Return a ball as integers, without any rounding."""
    mantissa, exponent = a.mid().man_exp()
    size, scale = a.rad().man_exp()
    return int(mantissa), int(exponent), int(size), int(scale)


def is_written(text: str) -> bool:
    """Say whether a text has the form that :func:`written` gives, and no exponent that would take long to read."""
    return len(text) <= 4 * SHOWN_DIGITS and _WRITTEN.fullmatch(text) is not None


def says_no_more(text: str, proven: Parts) -> bool:
    """Say whether a decimal ball follows from one that is proven: it holds it, and is not idly wide."""
    mantissa, exponent, size, scale = proven
    with working_precision(abs(mantissa).bit_length() + bits_of(4 * SHOWN_DIGITS)):
        middle, radius = (arb((mantissa, exponent)), arb((size, scale)))
        said = arb(text)
        width = WIDEST * radius + abs(middle) * arb(10) ** (2 - SHOWN_DIGITS)
        return bool(said.contains(arb(middle, radius))) and bool(said.rad() <= width)


def upward(a: arb) -> float:
    """Return a float64 number not below an exact one."""
    number = float(a)
    return number if arb(number) >= a else math.nextafter(number, math.inf)


def is_within(number: float, a: arb, tolerance: float) -> bool:
    """Say whether a float64 number is no further from a ball than a tolerance: a question about exact numbers."""
    return bool(abs(arb(number) - a.mid()) <= a.rad() + arb(tolerance))


def surely_less(a: arb, b: arb) -> bool:
    """Say whether a < b is proven; False says nothing."""
    return bool(a < b)


def surely_at_most(a: arb, b: arb) -> bool:
    """Say whether a <= b is proven; False says nothing."""
    return bool(a <= b)


def surely_equal(a: arb, b: arb) -> bool:
    """Say whether a = b is proven; False says nothing."""
    return bool(a == b)


def surely_zero(a: arb) -> bool:
    """Say whether a is exactly 0."""
    return bool(a == 0)


def surely_inside(a: arb, b: arb) -> bool:
    """Say whether the whole of a is proven to lie in the interior of b; False says nothing."""
    return bool(b.contains_interior(a))


def may_be_zero(a: arb) -> bool:
    """Say whether 0 is not excluded."""
    return not bool(a != 0)


def order_of_balls(a: arb, b: arb) -> int | None:
    """Return -1, 0 or 1 for a < b, a = b or a > b, or None where it is not decided."""
    if a < b:
        return -1
    if a > b:
        return 1
    return 0 if a == b else None


def undecided(a: arb, b: arb) -> Undecided:
    """Return the error that says that the two balls overlap."""
    spread, size = float(a.rad()) + float(b.rad()), max(abs(float(a.mid())), abs(float(b.mid())))
    return Undecided(spread / size if size and math.isfinite(size) else math.inf if spread else 0.0)


def decreasing(function: Callable[[arb], arb], x: arb) -> arb:
    """Return the range of a decreasing function over a ball, from its values at the two ends."""
    return between(function(x.upper()), function(x.lower()))


TIME_ZERO, UNROOTED = 0, -1
"""The root of times that are numbers, and that of times of which nothing is known but a ball."""


class EventTime(NamedTuple):
    """A time in seconds: a ball, and if ``offset`` is not None exactly the time of its root plus the offset.

    ``key`` and ``low`` add up to about the time, to twice float64, and are the same for equal moments of one root;
    ``base`` is the root's time as they take it.
    """

    ball: arb
    key: float
    low: float
    root: int
    base: fmpq
    offset: fmpq | None


NO_DELAY = fmpq(0)


def rational(number: float) -> fmpq:
    """Return a float64 number exactly."""
    return fmpq(*number.as_integer_ratio())


def _keyed(ball: arb, root: int, base: fmpq, offset: fmpq) -> EventTime:
    time = base + offset
    key = int(time.p) / int(time.q)
    rest = time - rational(key)
    return EventTime(ball, key, int(rest.p) / int(rest.q), root, base, offset)


def vague(ball: arb) -> EventTime:
    """Return a moment of which nothing is known but the ball."""
    return EventTime(ball, float(ball), 0.0, UNROOTED, NO_DELAY, None)


def at_time(time: float, low: float = 0.0) -> EventTime:
    """Return the moment of a float64 time, and what it leaves of an exact sum."""
    return EventTime(ball(time) + low, time, low, TIME_ZERO, NO_DELAY, rational(time) + rational(low))


def rooted(ball: arb, root: int) -> EventTime:
    """Return the moment of an event that is known as a ball, and is a root of its own."""
    key = float(ball)
    low = float(ball - key)
    return EventTime(ball, key, low, root, rational(key) + rational(low), NO_DELAY)


def later(moment: EventTime, delay: arb, exact: fmpq | None) -> EventTime:
    """Return the moment that comes a delay later; ``exact`` is the delay where it is one number."""
    if exact == NO_DELAY:
        return moment
    if exact is None or moment.offset is None:
        return vague(moment.ball + delay)
    return _keyed(moment.ball + delay, moment.root, moment.base, moment.offset + exact)


def order(a: EventTime, b: EventTime) -> int | None:
    """Return -1, 0 or 1 for a before, at or after b, or None where it is not decided."""
    if a.root == b.root and a.offset is not None and b.offset is not None:
        return int(a.offset > b.offset) - int(a.offset < b.offset)
    return order_of_balls(a.ball, b.ball)


def elapsed(a: EventTime, b: EventTime) -> arb:
    """Return the seconds from one moment to a later one."""
    if a.root == b.root and a.offset is not None and b.offset is not None:
        return arb(b.offset - a.offset)
    return b.ball - a.ball


class Enclosures(NamedTuple):
    """Midpoints and radii of balls in float64, rounding included; nan and inf where nothing is known."""

    midpoints: Reals
    radii: Reals


def enclosures_of(numbers: Iterable[arb | None]) -> Enclosures:
    """Return balls as float64 midpoints and radii; None is unknown."""
    pairs = [(math.nan, math.inf) if number is None else rounded(number) for number in numbers]
    return Enclosures(np.array([m for m, _ in pairs]), np.array([r for _, r in pairs]))


def added(parts: Sequence[Enclosures], size: int) -> Enclosures:
    """Return the sum of enclosures (size,), its roundings in the radii."""
    middle, radius = np.zeros(size), np.zeros(size)
    for part in parts:
        middle = middle + part.midpoints
        # this sum is rounded by at most half its spacing; the two of radii by at most half a step each, so one step up
        radius = np.nextafter(radius + part.radii + np.spacing(np.abs(middle)), np.inf)
    return Enclosures(middle, np.array([with_slack(r) for r in radius.tolist()]))


def same(said: Enclosures, proven: Enclosures) -> NDArray[np.bool_]:
    """Say of which entries the enclosure that is said is the one that is proven, neither known included.

    They may be apart by half the slack that either has, so that what is said follows from what is proven without it.
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(said.midpoints - proven.midpoints) + np.abs(said.radii - proven.radii)
        unknown = np.isnan(said.midpoints) & np.isnan(proven.midpoints)
        alike: NDArray[np.bool_] = unknown | (off <= 0.5 * SLACK * proven.radii)
    return alike


def joined(parts: Sequence[Enclosures]) -> Enclosures:
    """Return enclosures one after the other."""
    nothing = Enclosures(np.empty(0), np.empty(0))
    return Enclosures(*(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True)))
