r"""The equations of a periodic orbit in balls, and how a perturbation is carried once around it.

Times are written as an unknown, which is that of a threshold crossing, plus an exact offset, plus a number of periods:
a spike that a delta synapse triggers has the time of an arrival, and its unknown is that of the spike before. So the
order of events that cannot move apart is decided exactly, and that of all others by their balls, or not at all.

Since its last release at r, V of a neuron is a sum: what is left of V_r - v_leak, the current at r, a geometric series
of all arrivals up to r, and the arrivals since. It is V of the orbit if the neuron makes the spikes of the orbit
and no others, which :mod:`eventsolve.certify.orbits` proves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from flint import arb, fmpq

from eventsolve.certify.arithmetic import (
    NO_DELAY,
    ONE,
    ZERO,
    EventTime,
    at_time,
    later,
    order,
    positive,
    rooted,
    undecided,
)
from eventsolve.certify.membrane import Rates, propagator

LAPS = 10**6
"""Roots of the unknowns lie so far apart, so that each has one of its own in so many periods around the first."""
AT_END = 1
"""The root of the end of a free period."""


class Constant(NamedTuple):
    """A cell's parameters as balls of exact numbers, and its refractory period as a rational number.

    ``flows`` says whether it has exponential synapses, without which no current is part of the state.
    """

    rates: Rates
    threshold: arb
    reset: arb
    leak: arb
    t_ref: arb
    exact_t_ref: fmpq
    subtracts: bool
    spiking: bool
    flows: bool


class Arrival(NamedTuple):
    """What arrives at a cell once per period: of which event, after which delay, and how strong."""

    event: int
    delay: arb
    exact: fmpq
    weight: arb
    delta: bool


class Event(NamedTuple):
    """A spike of a period, or of an input: its time is that of an unknown (-1: none), an offset and so many periods.

    ``cause`` is the arrival that triggers it, at its cell, or -1.
    """

    cell: int
    unknown: int
    offset: fmpq
    laps: int
    cause: int


class Term(NamedTuple):
    """V, I and the sizes of V's terms, and derivatives of V: by V after the last spike, its release, and arrivals."""

    voltage: arb
    current: arb
    size: arb
    by_start: arb
    by_release: arb
    by_arrivals: tuple[tuple[int, int, arb], ...]
    by_period: arb


@dataclass(frozen=True, eq=False)
class Rhythm:
    """Which events there are, and balls of the unknown times, of V after chained spikes, and of the period.

    Attributes
    ----------
    constants : sequence of Constant
        Of all cells.
    arrivals : sequence of sequences of Arrival
        At each cell.
    events : sequence of Event
        Spikes, in order, and then those of inputs, whose cell is -1.
    n_spikes : int
    times : sequence of arb
        Of the unknowns, in seconds.
    chained : mapping of spike to arb
        V after spikes that are triggered in neurons that subtract.
    period : arb
    exact_period : fmpq or None
        None if it is unknown.
    """

    constants: Sequence[Constant]
    arrivals: Sequence[Sequence[Arrival]]
    events: Sequence[Event]
    n_spikes: int
    times: Sequence[arb]
    chained: Mapping[int, arb]
    period: arb
    exact_period: fmpq | None

    @cached_property
    def own(self) -> dict[int, list[int]]:
        """By cell its spikes, in order."""
        found: dict[int, list[int]] = {}
        for k in range(self.n_spikes):
            found.setdefault(self.events[k].cell, []).append(k)
        return found

    def moment(self, event: int, laps: int, delay: fmpq = NO_DELAY) -> EventTime:
        """Return when an event happens, or a delay after it, so many periods later than its own time."""
        of = self.events[event]
        laps += of.laps
        offset = of.offset + delay
        if self.exact_period is not None:
            offset, laps = offset + laps * self.exact_period, 0
        if of.unknown < 0:
            return later(at_time(0.0), arb(offset), offset)
        base = self.times[of.unknown] + laps * self.period
        begun = rooted(base, (of.unknown + 1) * LAPS + laps)
        return later(begun, arb(offset), offset)

    def last_spike(self, cell: int, time: EventTime) -> tuple[int, int] | None:
        """Return a cell's last spike up to a time, and how many periods later than its own time; None if silent."""
        best = None
        for k in self.own.get(cell, ()):
            laps = math.floor((time.key - self.moment(k, 0).key) / float(self.period) + 0.5)
            while (side := _order(self.moment(k, laps), time)) == 1:
                laps -= 1
            while side != 0 and _order(self.moment(k, laps + 1), time) != 1:
                laps += 1
            if best is None or _order(self.moment(k, laps), self.moment(*best)) == 1:
                best = (k, laps)
        return best

    def spike_before(self, spike: int, laps: int = 0) -> tuple[int, int]:
        """Return the spike of the same cell before a spike."""
        own = self.own[self.events[spike].cell]
        place = own.index(spike)
        return own[place - 1], laps if place else laps - 1

    def release(self, last: tuple[int, int]) -> EventTime:
        """Return when a cell is free again after a spike."""
        constant = self.constants[self.events[last[0]].cell]
        return later(self.moment(*last), constant.t_ref, constant.exact_t_ref)

    def after(self, spike: int) -> arb:
        """Return V after a spike."""
        return self.chained.get(spike, self.constants[self.events[spike].cell].reset)

    def latest(self, arrival: Arrival, time: EventTime, *, including: bool) -> int:
        """Return how many periods after its event's own time an arrival is that is the latest before a time, or at it.

        Raises
        ------
        Undecided
            If it may be before or after.
        """
        first = self.moment(arrival.event, 0, arrival.exact)
        laps = math.floor((time.key - first.key) / float(self.period) + 0.5)
        bound = 0 if including else -1
        while _order(self.moment(arrival.event, laps, arrival.exact), time) > bound:
            laps -= 1
        while _order(self.moment(arrival.event, laps + 1, arrival.exact), time) <= bound:
            laps += 1
        return laps

    def voltage(self, cell: int, time: EventTime, last: tuple[int, int] | None, spike: int = -1) -> Term:
        """Return V and I of a free cell at a time, before its spike then, if any, and what V depends on.

        ``last`` is its spike before; a cell without is as if released one period ago with the V that it has.
        """
        constant, period = self.constants[cell], self.period
        rates = constant.rates
        if last is None:
            release, gone = None, period
        else:
            release = self.release(last)
            gone = time.ball - release.ball
        decay_mem, decay_syn, k = propagator(rates, gone)
        steep = (decay_syn - k) * rates.mem
        kept = (-(period * rates.syn)).exp()
        lost = -((-(period * rates.syn)).expm1())
        excess, total, size, by_period = ZERO, ZERO, ZERO, ZERO
        at_release = ZERO
        by_arrivals = []
        for number, arrival in enumerate(self.arrivals[cell]):
            triggers = spike >= 0 and self.events[spike].cause == number
            laps = self.latest(arrival, time, including=spike < 0)
            when = self.moment(arrival.event, laps, arrival.exact)
            inside = True
            if release is not None and last is not None:
                side = _order(when, release)
                inside = side == 1
                if side == 0 and arrival.delta and self.events[last[0]].cause != number:
                    raise undecided(when.ball, release.ball)
            if arrival.delta and spike >= 0 and not triggers:
                following = self.moment(arrival.event, laps + 1, arrival.exact)
                if _order(following, time) == 0:
                    raise undecided(following.ball, time.ball)
            weight = arrival.weight
            by_time = ZERO
            if inside:
                e_mem, e_syn, late = propagator(rates, time.ball - when.ball)
                part = weight * (e_mem if arrival.delta else late)
                slope = weight * rates.mem * (e_mem if arrival.delta else late - e_syn)
                excess, size, by_time = excess + part, size + abs(part), slope
                by_period += laps * slope
                if not arrival.delta:
                    total += weight * e_syn
            if not arrival.delta:
                before = self.moment(arrival.event, laps - inside, arrival.exact)
                since = (time.ball - period if release is None else release.ball) - before.ball
                early = weight * (-(since * rates.syn)).exp() / lost
                at_release += early
                slope = early * rates.syn * k
                by_time += slope
                size += abs(early * k)
                by_period += (laps - inside) * slope
            by_arrivals.append((arrival.event, laps, by_time))
        by_period -= at_release * k * kept * rates.syn / lost
        excess += at_release * k
        total += at_release * decay_syn
        if last is None:
            scale = ONE / -((-(period * rates.mem)).expm1())
            return Term(constant.leak + scale * excess, total, size * scale, ZERO, ZERO, (), ZERO)
        start = self.after(last[0]) - constant.leak
        by_release = start * decay_mem * rates.mem - at_release * (k * rates.syn + steep)
        return Term(
            constant.leak + start * decay_mem + excess,
            total,
            size + abs(start) * decay_mem + abs(constant.leak),
            decay_mem,
            by_release,
            tuple(by_arrivals),
            by_period + last[1] * by_release,
        )

    def current(self, cell: int, time: EventTime, *, including: bool = True) -> arb:
        """Return I of a cell at a time, with what arrives then or without."""
        rates = self.constants[cell].rates
        total = ZERO
        for arrival in self.arrivals[cell]:
            if not arrival.delta:
                laps = self.latest(arrival, time, including=including)
                since = time.ball - self.moment(arrival.event, laps, arrival.exact).ball
                total += arrival.weight * (-(since * rates.syn)).exp()
        return total / -((-(self.period * rates.syn)).expm1())


def _order(a: EventTime, b: EventTime) -> int:
    side = order(a, b)
    if side is None:
        raise undecided(a.ball, b.ball)
    return side


# -- once around ----------------------------------------------------------------------------------------------------

Row = list[arb]


def monodromy(rhythm: Rhythm) -> list[Row]:
    """Return the derivative of the state a period after time 0 by that at time 0.

    The state is V of every cell, I of every cell with exponential synapses, the releases of cells that are held, and
    the times of spikes on their way. It is found spike by spike: what moves V at the time of a spike moves the spike,
    by 1/V', and whatever follows.

    Raises
    ------
    Undecided
        If an event may be before or after time 0, or a slope may be 0.
    """
    return _Sweep(rhythm).rows()


class _Sweep:
    def __init__(self, rhythm: Rhythm) -> None:
        self.rhythm = rhythm
        self.start, self.n = at_time(0.0), len(rhythm.constants)
        if rhythm.exact_period is None:
            self.end = rooted(rhythm.period, AT_END)
        else:
            self.end = later(self.start, arb(rhythm.exact_period), rhythm.exact_period)
        self.lasts = [rhythm.last_spike(cell, self.start) for cell in range(self.n)]
        held = [
            cell
            for cell, last in enumerate(self.lasts)
            if last is not None and _order(rhythm.release(last), self.start) == 1
        ]
        way = []
        for k in range(rhythm.n_spikes):
            heard = [a for arriving in rhythm.arrivals for a in arriving if a.event == k]
            lap = 1
            while any(_order(rhythm.moment(k, -lap, a.exact), self.start) == 1 for a in heard):
                way.append((k, lap))
                lap += 1
        with_current = [cell for cell in range(self.n) if rhythm.constants[cell].flows]
        places = itertools.count(self.n)
        self.currents = dict(zip(with_current, places, strict=False))
        self.held = dict(zip(held, places, strict=False))
        self.way = dict(zip(way, places, strict=False))
        self.size = self.n + len(with_current) + len(held) + len(way)
        self.moved: dict[int, Row] = {}
        self.jumps: dict[int, Row] = {}

    def unit(self, k: int) -> Row:
        return [ONE if i == k else ZERO for i in range(self.size)]

    def zero(self) -> Row:
        return [ZERO] * self.size

    def event(self, k: int, laps: int) -> Row:
        """Return how the time of an event moves, so many periods after its own."""
        if k >= self.rhythm.n_spikes:
            return self.zero()
        if laps == 0:
            return self.moved[k]
        if (k, -laps) not in self.way:
            raise undecided(
                self.rhythm.moment(k, laps).ball, ZERO
            )  # of no spike that is on its way as a period begins
        return self.unit(self.way[k, -laps])

    def arrived(
        self, cell: int, low: EventTime, high: EventTime, spike: int
    ) -> list[tuple[arb, Arrival, Row]]:
        """Return the arrivals after one time and before another, or at it if nothing spikes then."""
        found = []
        for arrival in self.rhythm.arrivals[cell]:
            laps = self.rhythm.latest(arrival, high, including=spike < 0)
            when = self.rhythm.moment(arrival.event, laps, arrival.exact)
            if _order(when, low) == 1:
                found.append((when.ball, arrival, self.event(arrival.event, laps)))
        return found

    def current(self, cell: int, time: EventTime) -> Row:
        """Return how I moves at a time."""
        if cell not in self.currents:
            return self.zero()
        syn = self.rhythm.constants[cell].rates.syn
        row = scaled(self.unit(self.currents[cell]), (-(time.ball * syn)).exp())
        for when, arrival, moved in self.arrived(cell, self.start, time, -1):
            if not arrival.delta:
                by = arrival.weight * syn * (-((time.ball - when) * syn)).exp()
                row = added(row, scaled(moved, by))
        return row

    def state(self, cell: int, time: EventTime, last: tuple[int, int] | None, spike: int) -> tuple[Row, arb]:
        """Return how V of a free cell moves at a time, and V' there."""
        rhythm, constant = self.rhythm, self.rhythm.constants[cell]
        rates = constant.rates
        within = last is not None and last[1] == 0
        now = rhythm.voltage(cell, time, last, spike)
        slope = (constant.leak - now.voltage + now.current) * rates.mem
        if last is not None and (within or cell in self.held):
            release = rhythm.release(last)
            by_start = self.jumps.get(last[0], self.zero()) if within else self.unit(cell)
            by_release = self.moved[last[0]] if within else self.unit(self.held[cell])
            current = rhythm.current(cell, release)
            start = rhythm.after(last[0]) - constant.leak
            by_current = added(self.current(cell, release), scaled(by_release, -current * rates.syn))
        else:
            release, by_release = self.start, self.zero()
            by_start, by_current = self.unit(cell), self.current(cell, self.start)
            current, start = ZERO, ZERO
        decay_mem, decay_syn, k = propagator(rates, time.ball - release.ball)
        steep = (decay_syn - k) * rates.mem
        row = added(scaled(by_start, decay_mem), scaled(by_current, k))
        row = added(row, scaled(by_release, start * decay_mem * rates.mem - current * steep))
        for when, arrival, moved in self.arrived(cell, release, time, spike):
            e_mem, e_syn, late = propagator(rates, time.ball - when)
            by = arrival.weight * rates.mem * (e_mem if arrival.delta else late - e_syn)
            row = added(row, scaled(moved, by))
        return row, slope

    def rows(self) -> list[Row]:
        """Work through the spikes of a period, and return the rows of the matrix."""
        rhythm = self.rhythm
        for k in sorted(range(rhythm.n_spikes), key=lambda k: rhythm.moment(k, 0).key):
            of = rhythm.events[k]
            row, slope = self.state(of.cell, rhythm.moment(k, 0), rhythm.spike_before(k), k)
            if of.cause < 0:
                self.moved[k] = scaled(row, -ONE / positive(slope))
                continue
            arrival = rhythm.arrivals[of.cell][of.cause]
            laps = rhythm.latest(arrival, rhythm.moment(k, 0), including=True)
            self.moved[k] = self.event(arrival.event, laps)
            if k in rhythm.chained:
                self.jumps[k] = added(row, scaled(self.moved[k], slope))
        rows = [self.zero() for _ in range(self.size)]
        for cell in range(self.n):
            before = self.lasts[cell]
            last = None if before is None else (before[0], before[1] + 1)
            if cell in self.currents:
                rows[self.currents[cell]] = self.current(cell, self.end)
            if cell in self.held:
                assert last is not None
                rows[cell] = self.jumps.get(last[0], self.zero())
                rows[self.held[cell]] = self.moved[last[0]]
            else:
                rows[cell] = self.state(cell, self.end, last, -1)[0]
        for (k, lap), place in self.way.items():
            rows[place] = self.event(k, 1 - lap)
        return rows


def scaled(row: Row, by: arb) -> Row:
    """Return a multiple of a row."""
    return [by * x for x in row]


def added(a: Row, b: Row) -> Row:
    """Return the sum of two rows."""
    return [x + y for x, y in zip(a, b, strict=True)]
