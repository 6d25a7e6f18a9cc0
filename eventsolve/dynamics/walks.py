"""From one value to another, through every value between where the order of events changes.

:mod:`eventsolve.dynamics.continuation` says how.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from eventsolve.adjoint import UndefinedGradientError
from eventsolve.dynamics.crossings import Event, events_between, vanishing
from eventsolve.dynamics.points import PathProblem, Point, point_at, same_order
from eventsolve.solve import RepeatedSpikeError, SpikeBudgetError, StoppedError

GOOD_FOR = 0.5
"""Of the way on which the first distance would vanish if it were linear."""
NUDGES = 16
"""How often another value nearby is tried where one has no derivatives, 4 times as far away each time."""
SLOW = 3
"""After so many steps that have not halved a bracket it is halved."""
WIDTH = 4
"""Of a bracket, in steps of the resolution, when it is narrow enough."""
AHEAD = 2**28
"""Bytes of solutions between here and the end of the range that are kept; those beyond are solved anew."""

Names: TypeAlias = frozenset[tuple[int, ...]]
"""Of distances."""


class Failure(NamedTuple):
    """A value at which there is no solution, or none that has derivatives."""

    value: float
    why: Exception


class Goal(NamedTuple):
    """A value to go to: which distances vanish just behind it, and what happens there, and what comes after."""

    point: Point | Failure
    vanish: Names = frozenset()
    events: tuple[Event, ...] = ()
    after: Point | None = None
    appear: Names = frozenset()


class Halted(Exception):
    """A walk cannot go on; the message says why."""


@dataclass
class Tally:
    """What a walk has taken: solutions and bytes, each up to a most at which it is halted; and which value it is at.

    ``told`` hears of all that.
    """

    max_solves: int
    max_bytes: int
    told: Callable[[Tally], None]
    value: float
    n_solved: int = 0
    n_bytes: int = 0

    def solve(self, what: str) -> None:
        """Count one more solution."""
        if self.n_solved >= self.max_solves:
            raise Halted(f"max_solves = {self.max_solves} {what} were solved")
        self.n_solved += 1
        self.told(self)

    def keep(self, value: float, n_bytes: int) -> None:
        """Count what is kept of a value."""
        self.value, self.n_bytes = value, self.n_bytes + n_bytes
        self.told(self)
        if self.n_bytes > self.max_bytes:
            raise Halted(
                f"what was found takes more than max_bytes = {self.max_bytes}: follow a smaller range, or allow more"
            )


def said(error: Exception) -> str:
    """Return what an error says, without what it carries, which no longer is that error's."""
    return error.sentence if isinstance(error, StoppedError) else str(error)


def reach(point: Point, towards: float, without: Names = frozenset()) -> float:
    """Return how far a value may grow (towards is 1), or fall (-1), until a distance vanishes, if all are linear."""
    values, slopes = np.maximum(point.distances.values, 0.0), -towards * point.distances.slopes
    falls = slopes > 0.0
    if without:
        falls &= np.array([tuple(name) not in without for name in point.distances.names.tolist()], np.bool_)
    return float((values[falls] / slopes[falls]).min(initial=math.inf))


def names_of(point: Point, towards: float, bracket: float) -> Names:
    """Return which distances of a point beside an event vanish at it."""
    return frozenset(map(tuple, point.distances.names[vanishing(point, towards, bracket)].tolist()))


def _bytes_of(goal: Goal) -> int:
    points = [point for point in (goal.point, goal.after) if isinstance(point, Point)]
    return sum(point.n_bytes for point in points)


@dataclass
class Walk:
    """A walk, and what it has taken."""

    task: PathProblem
    tally: Tally

    def steps(self, low: float, high: float) -> Iterator[Point | tuple[Event, ...]]:
        """Yield points from one value to another, and between those with different orders what happens."""
        here = self._point(low)
        yield here
        left: Names = frozenset()
        ahead = [Goal(self._tried(high))]
        while ahead:
            while len(ahead) > 3 and sum(map(_bytes_of, ahead)) > AHEAD:
                del ahead[1]  # the end of the range stays; what lies before it is found again
            goal = ahead[-1]
            narrow = goal.point.value - here.value <= WIDTH * self._resolution(here.value, goal.point.value)
            if isinstance(goal.point, Failure):
                if narrow:
                    raise Halted(f"at {goal.point.value!r}, {said(goal.point.why)}") from goal.point.why
                ahead.append(Goal(self._between(here, goal.point)))
            elif not same_order(here, goal.point):
                ahead.append(self._event(here, goal.point))
            elif narrow or self._covered(here, goal.point, left, goal.vanish):
                ahead.pop()
                left = goal.appear
                if goal.point.value > here.value:
                    yield goal.point
                here = goal.point
                if goal.after is not None:
                    yield goal.events
                    yield goal.after
                    here = goal.after
            else:
                ahead.append(Goal(self._between(here, goal.point)))

    def _covered(self, here: Point, there: Point, left: Names, right: Names) -> bool:
        """Return whether what two points are good for covers all between; what vanishes at its ends does so there."""
        good = reach(here, 1.0, right) + reach(there, -1.0, left)
        return GOOD_FOR * good >= there.value - here.value

    def _event(self, here: Point, there: Point) -> Goal:
        """Return the goal just before an event between two points of different order, as much as possible the first."""
        low, high = here, there
        last_zero, last_way, push, slow = math.inf, 0.0, 1.0, 0
        while True:
            width, finest = high.value - low.value, self._resolution(low.value, high.value)
            if width <= WIDTH * finest:
                break
            way, side, sign = reach(low, 1.0), low, 1.0
            if (
                high is not there and (back := reach(high, -1.0)) < way
            ):  # there may be more events before that
                way, side, sign = back, high, -1.0
            zero = side.value + sign * way
            if math.isfinite(last_zero) and last_way > 0.0:
                # beyond the zero by twice the error of Newton's step, so that the bracket closes from both sides
                error = abs(zero - last_zero) * (way / last_way) ** 2
                value = zero + sign * max(2.0 * finest, 2.0 * error) * push
            else:
                value = zero
            last_zero, last_way = zero, way
            if slow >= SLOW or not low.value < value < high.value:
                value, slow = low.value + 0.5 * width, 0
            found = self._tried(value, low.value, high.value)
            if isinstance(found, Failure):
                if width > finest * 4.0 ** (NUDGES // 2):
                    return Goal(found)
                break  # nothing in it can be solved: two spikes at one time, say
            first = same_order(here, found)
            low, high = (found, high) if first else (low, found)
            push = 2.0 * push if first == (sign > 0) else 1.0
            slow = slow + 1 if high.value - low.value > 0.5 * width else 0
        bracket = high.value - low.value
        return Goal(
            low,
            names_of(low, 1.0, bracket),
            tuple(events_between(low, high)),
            high,
            names_of(high, -1.0, bracket),
        )

    def _between(self, here: Point, there: Point | Failure) -> Point | Failure:
        value = here.value + 0.5 * (there.value - here.value)
        return self._tried(value, here.value, there.value)

    def _tried(self, value: float, low: float = math.nan, high: float = math.nan) -> Point | Failure:
        """Return the point at a value, or at one nearby between two others where it has no derivatives."""
        finest = self._resolution(low, high) if low < high else 0.0
        first: Failure | None = None
        for k in range(NUDGES if low < high else 1):
            at = value + (0.0 if k == 0 else (-1.0) ** k * finest * 4.0 ** (k // 2))
            if k and not low < at < high:
                continue
            try:
                return self._point(at)
            except SpikeBudgetError as error:
                return Failure(at, error)
            except (UndefinedGradientError, RepeatedSpikeError, ValueError) as error:
                first = first or Failure(at, error)  # which it may be at one value only
        assert first is not None
        return first

    def _point(self, value: float) -> Point:
        self.tally.solve("networks")
        return point_at(self.task, value)

    def _resolution(self, low: float, high: float) -> float:
        path, t_end = self.task.path, self.task.t_end
        return max(path.resolution(low, t_end), path.resolution(high, t_end))
