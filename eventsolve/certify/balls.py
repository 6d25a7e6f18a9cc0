"""Balls: real numbers known to lie within a radius of a midpoint, and all that is ever decided about them.

A ball is an ``arb`` of python-flint: every operation encloses the exact result for all numbers of its operands. Arb
answers a comparison that overlapping balls leave open with False, so nothing outside this module compares balls.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flint import arb, ctx

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


class Undecided(ArithmeticError):
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


def order(a: arb, b: arb) -> int | None:
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
