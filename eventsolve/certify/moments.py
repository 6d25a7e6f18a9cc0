"""Times of events that know where they come from, so that equal ones are told from nearly equal ones.

A moment is a root plus exact delays. The roots are time 0, for times that are numbers, and every event whose time is
only known as a ball: a threshold crossing, or an input spike of a box. Two moments of one root are compared as rational
numbers, others as balls.
"""

from __future__ import annotations

from typing import NamedTuple

from flint import arb, fmpq

from eventsolve.certify import balls

TIME_ZERO, UNROOTED = 0, -1
"""The root of times that are numbers, and that of times of which nothing is known but a ball."""


class Moment(NamedTuple):
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


def _keyed(ball: arb, root: int, base: fmpq, offset: fmpq) -> Moment:
    time = base + offset
    key = int(time.p) / int(time.q)
    rest = time - rational(key)
    return Moment(ball, key, int(rest.p) / int(rest.q), root, base, offset)


def vague(ball: arb) -> Moment:
    """Return a moment of which nothing is known but the ball."""
    return Moment(ball, float(ball), 0.0, UNROOTED, NO_DELAY, None)


def at_time(time: float, low: float = 0.0) -> Moment:
    """Return the moment of a float64 time, and what it leaves of an exact sum."""
    return Moment(balls.ball(time) + low, time, low, TIME_ZERO, NO_DELAY, rational(time) + rational(low))


def rooted(ball: arb, root: int) -> Moment:
    """Return the moment of an event that is known as a ball, and is a root of its own."""
    key = float(ball)
    low = float(ball - key)
    return Moment(ball, key, low, root, rational(key) + rational(low), NO_DELAY)


def later(moment: Moment, delay: arb, exact: fmpq | None) -> Moment:
    """Return the moment that comes a delay later; ``exact`` is the delay where it is one number."""
    if exact == NO_DELAY:
        return moment
    if exact is None or moment.offset is None:
        return vague(moment.ball + delay)
    return _keyed(moment.ball + delay, moment.root, moment.base, moment.offset + exact)


def order(a: Moment, b: Moment) -> int | None:
    """Return -1, 0 or 1 for a before, at or after b, or None where it is not decided."""
    if a.root == b.root and a.offset is not None and b.offset is not None:
        return int(a.offset > b.offset) - int(a.offset < b.offset)
    return balls.order(a.ball, b.ball)


def elapsed(a: Moment, b: Moment) -> arb:
    """Return the seconds from one moment to a later one."""
    if a.root == b.root and a.offset is not None and b.offset is not None:
        return arb(b.offset - a.offset)
    return b.ball - a.ball
