"""Times of events that know where they come from, so that events at exactly one time are told from nearly simultaneous ones.

A moment is a root plus exact delays. The roots are time 0, for all that inputs cause at once, and every threshold crossing,
whose time is only known as a ball. Two moments of one root are compared as rational numbers, others as balls.
"""

from __future__ import annotations

from typing import NamedTuple

from flint import arb, fmpq

from eventsolve.certify import balls

TIME_ZERO = 0
"""The root of times that are numbers."""


class Moment(NamedTuple):
    """A time in seconds: the ball, and if ``offset`` is not None exactly the time of its root plus the offset.

    ``base`` is the root's time to within rounding, and ``key`` this one's: equal for equal moments of one root.
    """

    ball: arb
    key: float
    root: int
    base: float
    offset: fmpq | None


NO_DELAY = fmpq(0)


def rational(number: float) -> fmpq:
    """Return a float64 number exactly."""
    return fmpq(*number.as_integer_ratio())


def at_time(time: float, radius: float = 0.0, earliest: float = 0.0) -> Moment:
    """Return the moment of a float64 time, known to a radius and not to be before the earliest."""
    if not radius:
        return Moment(balls.ball(time), time, TIME_ZERO, 0.0, rational(time))
    return Moment(balls.not_before(earliest, time, radius), time, TIME_ZERO, 0.0, None)


def crossing_at(ball: arb, root: int) -> Moment:
    """Return the moment of a crossing that is known as a ball; every crossing is a root of its own."""
    base = float(ball)
    return Moment(ball, base, root, base, NO_DELAY)


def later(moment: Moment, delay: arb, exact: fmpq | None) -> Moment:
    """Return the moment that comes a delay later; ``exact`` is the delay where it is one number."""
    if exact is None:
        ball = moment.ball + delay
        return Moment(ball, float(ball), moment.root, moment.base, None)
    if exact == NO_DELAY:
        return moment
    if moment.offset is None:
        ball = moment.ball + delay
        return Moment(ball, float(ball), moment.root, moment.base, None)
    offset = moment.offset + exact
    key = moment.base + int(offset.p) / int(offset.q)
    return Moment(moment.ball + delay, key, moment.root, moment.base, offset)


def order(a: Moment, b: Moment) -> int | None:
    """Return -1, 0 or 1 for a before, at or after b, or None where it is not decided."""
    if a.root == b.root and a.offset is not None and b.offset is not None:
        return (a.offset > b.offset) - (a.offset < b.offset)
    return balls.order(a.ball, b.ball)
