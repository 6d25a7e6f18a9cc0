"""One neuron in balls: what provably happens to it, event by event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from flint import arb, fmpq

from eventsolve.certify.arithmetic import (
    NO_DELAY,
    ZERO,
    EventTime,
    Undecided,
    is_less,
    later,
    order,
    order_of_balls,
    rooted,
    surely_equal,
    surely_less,
    undecided,
    vague,
)
from eventsolve.certify.crossing import first_crossing
from eventsolve.certify.membrane import Held, Membrane, Rates
from eventsolve.errors import Carrying


class Question(Enum):
    """What can stay undecided, as a sentence about "it", a neuron."""

    GRAZING = "it comes too close to its threshold to tell whether it spikes"
    TIE = "two events come too close to tell their order, which matters"
    REPEATED = "it may spike twice at one time"
    SLOPE = "it may reach its threshold without a slope, where no gradient exists"
    MAXIMUM = "its voltage is about as large in two places"
    RUNAWAY = "the network makes far more spikes than claimed"
    DOUBTFUL_SOURCE = "spikes that may reach it are not decided"
    END = "of the networks in the box some spike before t_end and some after it"


class Unproven(Carrying, ArithmeticError):
    """A question about one cell that balls of this precision leave open, at about a time in seconds.

    ``width`` is how wide it is, relatively: what more digits might decide; 0 where that is not asked.
    """

    def __init__(self, cell: int, time: float, question: Question, width: float = 0.0) -> None:
        super().__init__(f"cell {cell}, {time!r} s: {question.value}")
        self.cell, self.time, self.question, self.width = cell, time, question, width


class Constants(NamedTuple):
    """A neuron's parameters; ``exact_t_ref`` is None where t_ref is not one number."""

    rates: Rates
    threshold: arb
    reset: arb
    leak: arb
    t_ref: arb
    exact_t_ref: fmpq | None
    subtracts: bool


class Simultaneous(NamedTuple):
    """Arrivals from ``low`` to ``high`` whose order is open, or one whose time is a ball, and what they may do to V.

    ``before`` is the event before them all, None at the start, and ``membrane`` the one before them, at ``low``. Their
    weights lift I by at most ``rise`` and V by at most ``lift``.
    """

    before: EventTime | None
    membrane: Membrane
    low: arb
    high: arb
    rise: arb
    lift: arb


class Cell:
    """One spiking neuron, as it is after the last event that is proven.

    V is free where ``membrane`` is not None; else it is ``held`` until ``release`` and then ``voltage``. Every spike is
    reported to ``fired`` with the cell, its moment and whether an arrival triggered it.
    """

    def __init__(
        self,
        number: int,
        constants: Constants,
        held: Held,
        start: EventTime,
        release: EventTime,
        voltage: arb,
        fired: Callable[[Cell, EventTime, bool], None],
        roots: Iterator[int],
    ) -> None:
        self.number, self.constants = number, constants
        self.fired, self.roots = fired, roots
        self.membrane: Membrane | None = None
        self.held, self.release, self.voltage = held, release, voltage
        self.last = start
        self.last_spike: EventTime | None = None
        self.crossing: arb | None = None
        self.intervals = 0
        self.simultaneous: Simultaneous | None = None
        if order(release, start) == 0:
            free = self._set_free()
            # what arrives as it starts, or in a box perhaps before, joins a group with nothing in it
            self.simultaneous = Simultaneous(None, free, free.origin, free.origin, ZERO, ZERO)

    def settle(self, until: EventTime) -> None:
        """Prove which spikes the neuron makes before a moment that is after its last event, if nothing arrives."""
        while True:
            if self.membrane is None:
                side = order(until, self.release)
                if side is None or side < 0:
                    return
                self._set_free()
                if side == 0:
                    return
            free = self.ahead()
            end = until.ball.lower()
            last = free.moved(end)
            found = self._next_crossing(free, last)
            if found is None or (side := order_of_balls(found, until.ball)) == 1:
                self.membrane = last
                return
            if side != -1:
                raise self._unproven(until, Question.TIE, undecided(found, until.ball))
            self._spike(free, rooted(found, next(self.roots)), self.constants.reset, triggered=False)

    def next_spike(self, until: EventTime) -> EventTime | None:
        """Return the moment of the next spike if it provably comes before a moment and nothing arrives, else None."""
        if self.membrane is None:
            self._set_free()
        free = self.ahead()
        try:
            found = self._next_crossing(free, free.moved(until.ball.lower()))
        except Unproven:
            return None
        if found is None or order_of_balls(found, until.ball) != -1:
            return None
        return rooted(found, next(self.roots))

    def spike(self, moment: EventTime) -> None:
        """Spike, at what next_spike() returns."""
        self._spike(self.ahead(), moment, self.constants.reset, triggered=False)

    def ahead(self) -> Membrane:
        """Return the membrane from which the next spike comes, if nothing arrives."""
        return self.held.released(self.release.ball, self.voltage) if self.membrane is None else self.membrane

    def look_ahead(self, until: EventTime) -> float:
        """Return about when the next crossing is, and inf where there is none or balls cannot tell."""
        free = self.ahead()
        try:
            found = first_crossing(free, free.moved(until.ball.lower()), self.constants.threshold)
        except Undecided:
            return math.inf
        return math.inf if found is None else float(found)

    def receive(self, moment: EventTime, weight: arb, delta: bool) -> None:
        """Let a weight arrive, after proving what happens before it."""
        side = order(moment, self.last)
        if side == 1:
            self.settle(moment)
        elif side != 0 and self.simultaneous is None:
            raise self._unproven(moment, Question.TIE, undecided(moment.ball, self.last.ball))
        if self.membrane is not None and surely_less(moment.ball.lower(), self.membrane.origin):
            self.membrane = self.membrane.moved(moment.ball.lower())
        if self.membrane is None:
            position = order(moment, self.release)
            if position == -1:
                if not delta:
                    self.held = self.held.arrived(moment.ball, weight)
                return
            if delta:
                raise self._unproven(moment, Question.TIE, undecided(moment.ball, self.release.ball))
            self._receive_at_release(moment, weight)
        elif delta and side in (0, 1):
            self._receive_jump(self.membrane, moment, weight, side)
        else:
            self._join_crowd(self.membrane, moment, weight, delta, side)
            self.membrane = self.membrane.arrived(moment.ball, weight, delta=delta)

    def _receive_at_release(self, moment: EventTime, weight: arb) -> None:
        """Let a weight arrive as V is released, in an order that is open: what counts is the later of the two times."""
        late = moment.ball.max(self.release.ball)
        passed = (self.release.ball - moment.ball).max(ZERO)
        weight *= (-(passed * self.constants.rates.syn)).exp()
        free = self._set_free()
        self._join_crowd(free, vague(late), weight, False, None)
        self.membrane = free.arrived(late, weight, delta=False)

    def _receive_jump(self, free: Membrane, moment: EventTime, weight: arb, side: int | None) -> None:
        """Let a weight lift V, at a time that is not in doubt."""
        constants, time = self.constants, moment.ball
        voltage = free.voltage
        if not surely_equal(time, free.origin):
            voltage += free.slope(time.union(free.origin)) * (time - free.origin)
        raised = voltage + weight
        if not surely_less(voltage, constants.threshold):
            raise self._unproven(moment, Question.TIE, undecided(voltage, constants.threshold))
        if self._decide(raised, constants.threshold, moment, Question.GRAZING):
            self._join_crowd(free, moment, weight, True, side)
            self.membrane = free.arrived(time, weight, delta=True)
            return
        if self.last_spike is not None and order(moment, self.last_spike) != 1:
            raise self._unproven(moment, Question.REPEATED, undecided(time, self.last_spike.ball))
        after = constants.reset
        if constants.subtracts:
            after = raised - (constants.threshold - constants.reset)
            if not self._decide(after, constants.threshold, moment, Question.REPEATED):
                raise Unproven(self.number, moment.key, Question.REPEATED)
        self._spike(free, moment, after, triggered=True)

    def _join_crowd(
        self, free: Membrane, moment: EventTime, weight: arb, delta: bool, side: int | None
    ) -> None:
        """Prove that V stays below the threshold while arrivals overlap, in whatever order they come.

        From the lower end of their times V follows tau_mem V' <= v_leak + I - V with I at most its positive part before
        them plus their positive weights, and jumps by at most their positive weights.
        """
        low, high, simultaneous = moment.ball.lower(), moment.ball.upper(), self.simultaneous
        rise, lift = (ZERO, weight.max(ZERO)) if delta else (weight.max(ZERO), ZERO)
        alone = Simultaneous(self.last, free, low, high, rise, lift)
        if simultaneous is None or side == 1:
            joined = alone
        else:
            # what comes exactly at the last one's time is after what that is after, even where balls do not tell
            if simultaneous.before is not None and side != 0 and order(moment, simultaneous.before) != 1:
                raise self._unproven(moment, Question.TIE, undecided(moment.ball, simultaneous.before.ball))
            membrane = (
                simultaneous.membrane.moved(low)
                if surely_less(low, simultaneous.low)
                else simultaneous.membrane
            )
            low, high = low.min(simultaneous.low), high.max(simultaneous.high)
            joined = Simultaneous(
                simultaneous.before, membrane, low, high, simultaneous.rise + rise, simultaneous.lift + lift
            )
        if side == 1:
            self.last = moment
        elif side != 0:
            self.last = vague(low.union(high))
        self.simultaneous, self.known = joined, False
        self._bound(alone if side == 0 else joined, moment)

    def _bound(self, simultaneous: Simultaneous, moment: EventTime) -> None:
        if surely_equal(simultaneous.low, simultaneous.high):
            return
        constants, before = self.constants, simultaneous.membrane
        drive = constants.leak + before.current.max(ZERO) + simultaneous.rise - before.voltage
        growth = (simultaneous.high - before.origin) * constants.rates.mem * drive.max(ZERO)
        highest = before.voltage + simultaneous.lift + growth
        if not surely_less(highest, constants.threshold):
            raise self._unproven(moment, Question.TIE, undecided(highest, constants.threshold))

    def _set_free(self) -> Membrane:
        free = self.membrane = self.held.released(self.release.ball, self.voltage)
        self.last = self.release
        self.known = False  # whether the next crossing is, which is then ``crossing``, if nothing arrives
        return free

    def _spike(self, free: Membrane, moment: EventTime, voltage: arb, *, triggered: bool) -> None:
        constants = self.constants
        self.held, self.membrane = free.held(moment.ball), None
        self.voltage, self.last, self.last_spike, self.simultaneous = voltage, moment, moment, None
        self.release = later(moment, constants.t_ref, constants.exact_t_ref)
        if constants.exact_t_ref == NO_DELAY:
            self._set_free()
        self.fired(self, moment, triggered)

    def _next_crossing(self, free: Membrane, last: Membrane) -> arb | None:
        if not self.known:
            self.intervals += 1
            try:
                found = first_crossing(free, last, self.constants.threshold)
            except Undecided as open_question:
                raise Unproven(
                    self.number, float(last.origin), Question.GRAZING, open_question.width
                ) from open_question
            if found is None:
                return None
            self.known, self.crossing = True, found
        return self.crossing

    def _decide(self, a: arb, b: arb, moment: EventTime, question: Question) -> bool:
        try:
            return is_less(a, b)
        except Undecided as open_question:
            raise self._unproven(moment, question, open_question) from open_question

    def _unproven(self, moment: EventTime, question: Question, why: Undecided) -> Unproven:
        return Unproven(self.number, moment.key, question, why.width)
