"""One sample, event by event, in balls: every spike of every network in a box, or where it stays open.

Events are taken in about the order of their times, which float64 keys give. What is proven does not rest on that order:
each cell refuses an event whose place among its own events is not proven, and the spikes of all cells follow from
there, since nothing acts before it happens.

At one time a neuron's own crossing comes before arrivals. These come population by population, in the order in which
populations are solved; at one, by when their spikes were sent; of those first spikes of inputs and of populations
before, by population and neuron, then those of the same cycle as they occur; then by synapse.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from flint import arb, fmpq

from eventsolve.certify.arithmetic import (
    EventTime,
    at_time,
    ball,
    elapsed,
    later,
    not_before,
    order,
    rational,
    rooted,
    surely_zero,
    working_precision,
)
from eventsolve.certify.boxes import Box, sample_spikes, source_names
from eventsolve.certify.crossing import crossing_ahead
from eventsolve.certify.membrane import Held, Rates, propagator, rates_of
from eventsolve.certify.neuron import Cell, Constants, Question, Unproven
from eventsolve.network import solving_order

BEYOND = 2.0**-36
"""How far past t_end spikes are sought, relative to it: float64 may take one for a spike before."""


MOST_SPIKES = 10_000
"""Spikes of one sample after which a network counts as one that runs away, unless told otherwise."""


class Target(NamedTuple):
    """One synapse of a bundle."""

    cell: int
    synapse: int
    weight: arb
    delta: bool


class Bundle(NamedTuple):
    """Synapses of one source with one delay to one cycle of populations, or one population that is in none.

    ``level`` is the place of that in the order in which they are solved. ``exact`` is None where the delay is not one
    number.
    """

    delay: arb
    exact: fmpq | None
    level: int
    targets: tuple[Target, ...]


class Turn(NamedTuple):
    """What decides between arrivals at one time, after their bundle's level: when their spike was sent, and by whom.

    The spike comes from the level itself if ``within``.
    """

    key: float
    low: float
    within: bool
    place: tuple[int, int]
    bundle: int


class Sent(Enum):
    """What a delivery brings: a spike, or all that may come of a cell from then on, which is lost to what is proven.

    Of a cell that is open only behind t_end that is behind t_end, also where it may begin at any time behind.
    """

    SPIKE = auto()
    LOST = auto()
    LOST_BEHIND = auto()


class Spike(NamedTuple):
    """A spike of a cell; of a source that is given, the cell is -1.

    ``trigger`` is the place in the history of the arrival that triggered it, or -1.
    """

    cell: int
    moment: EventTime
    trigger: int


class Event(NamedTuple):
    """Something that happened to a cell: an arrival over a synapse of a spike, or a spike of its own (synapse -1)."""

    cell: int
    moment: EventTime
    spike: int
    synapse: int


@dataclass(frozen=True, eq=False)
class Enclosed:
    """What is proven of one sample.

    Attributes
    ----------
    bits : int
        Working precision.
    spikes : list of Spike
        Given ones first: those carried, then the inputs', in the order of the box; then those of cells as they occur.
    n_given : int
    history : list of Event
        Of all cells; those of one cell in their order.
    open : mapping of int to (float, Unproven)
        Cells of which not everything is proven: the time in seconds up to which it is, and why.
    doubtful : set of int
        Spikes of such cells that came before it turned out that something earlier is open, which may prevent them.
    intervals : int
        How many intervals between events were decided.
    """

    bits: int
    spikes: list[Spike]
    n_given: int
    history: list[Event]
    open: dict[int, tuple[float, Unproven]]
    doubtful: set[int]
    intervals: int


class Wiring:
    """A box as lists of synapses by source, for many samples.

    ``everything`` includes what cannot move a spike: synapses of weight 0 and those of readouts.
    """

    def __init__(self, box: Box, *, everything: bool) -> None:
        self.box, self.everything = box, everything
        threshold = box.parameters["v_threshold"].middle
        self.spiking = [math.isfinite(v) for v in threshold.tolist()]
        synapses = box.synapses
        columns = zip(
            synapses.source.tolist(),
            synapses.target.tolist(),
            synapses.weight.middle.tolist(),
            synapses.weight.radius.tolist(),
            synapses.delay.middle.tolist(),
            synapses.delay.radius.tolist(),
            synapses.delta.tolist(),
            strict=True,
        )
        self.level_of_source = _levels(box)
        level_of_cell = self.level_of_source[box.n_channels :]
        groups: dict[int, dict[tuple[float, int, int], list[Target]]] = {}
        radii: dict[tuple[float, int, int], float] = {}
        for k, (source, target, w, w_radius, delay, d_radius, delta) in enumerate(columns):
            if not everything and (not self.spiking[target] or (w == 0.0 and w_radius == 0.0)):
                continue
            # delays that vary by themselves are each their own
            key = (delay, level_of_cell[target], k if d_radius else -1)
            radii[key] = d_radius
            groups.setdefault(source, {}).setdefault(key, []).append(
                Target(target, k, ball(w, w_radius), delta)
            )
        self.bundles = {
            source: [
                Bundle(
                    not_before(0.0, key[0], radii[key]),
                    None if radii[key] else rational(key[0]),
                    key[1],
                    tuple(targets),
                )
                for key, targets in sorted(group.items(), key=lambda item: item[0])
            ]
            for source, group in groups.items()
        }


def _levels(box: Box) -> list[int]:
    """Return the level of every source, those of inputs first, which are -1."""
    levels = [-1] * (box.n_channels + box.n_cells)
    edges = ((key[0], key[1]) for key in box.synapses.slices)
    for level, names in enumerate(solving_order(box.populations, edges)):
        for name in names:
            place = box.populations[name]
            size = place.stop - place.start
            levels[box.n_channels + place.start : box.n_channels + place.stop] = [level] * size
    return levels


def enclose(
    wiring: Wiring, sample: int, bits: int, *, allow_undecided: bool, most_spikes: int = MOST_SPIKES
) -> Enclosed:
    """Enclose every spike of one sample, computing with so many bits.

    Parameters
    ----------
    allow_undecided : bool
        Go on without a cell of which something stays open, and without all that it may reach, instead of raising.
    most_spikes : int
        After how many spikes cells are left open as they spike.

    Raises
    ------
    Unproven
        If balls of this precision leave something open.
    """
    with working_precision(bits):
        return _Run(wiring, sample, bits, allow_undecided, most_spikes).result()


class _Run:
    """The queues of deliveries and of crossings that may come next, and all cells."""

    def __init__(
        self, wiring: Wiring, sample: int, bits: int, allow_undecided: bool, most_spikes: int
    ) -> None:
        box = wiring.box
        self.most_spikes = most_spikes
        self.wiring, self.box, self.bits, self.allow_undecided = wiring, box, bits, allow_undecided
        until = float(box.until[sample])
        self.t_end = at_time(until)
        self.horizon = at_time(until + BEYOND * (until - box.t_start))
        self.spikes: list[Spike] = []
        self.history: list[Event] = []
        self.open: dict[int, tuple[float, Unproven]] = {}
        self.doubtful: set[int] = set()
        self.closed: set[int] = set()
        self.deliveries: list[tuple[float, float, int, Turn, int, int, EventTime, Bundle, Sent]] = []
        self.serial = itertools.count()
        self.crossings: list[tuple[float, float, int, int]] = []
        self.versions = [0] * box.n_cells
        self.arriving: Event | None = None
        self.roots = itertools.count(1)
        rates: dict[tuple[float, ...], Rates] = {}
        self.cells = {c: self._cell(c, sample, rates) for c in range(box.n_cells) if wiring.spiking[c]}
        self._set_out(sample)

    def _cell(self, c: int, sample: int, rates: dict[tuple[float, ...], Rates]) -> Cell:
        box = self.box
        row = {name: (float(n.middle[c]), float(n.radius[c])) for name, n in box.parameters.items()}
        taus = (*row["tau_mem"], *row["tau_syn"])
        if taus not in rates:
            rates[taus] = rates_of(ball(*row["tau_mem"]), ball(*row["tau_syn"]))
        leak, (t_ref, t_ref_radius) = ball(*row["v_leak"]), row["t_ref"]
        constants = Constants(
            rates[taus],
            ball(*row["v_threshold"]),
            ball(*row["v_reset"]),
            leak,
            not_before(0.0, t_ref, t_ref_radius),
            None if t_ref_radius else rational(t_ref),
            bool(box.subtracts[c]),
        )
        voltage, current, start = ball(*row["v_initial"]), ball(*row["i_initial"]), at_time(0.0)
        release = start
        if box.start is not None:
            if (
                box.exact
            ):  # from its last event, whose numbers are exact: a spike is where it was before the cut
                time, excess, now, free_at, free_low = (float(column[c]) for column in box.start[sample])
                voltage, current, start = ball(row["v_leak"][0]) + excess, ball(now), at_time(time)
                release = at_time(free_at, free_low)
            else:
                voltage, current, start, release = went_on(box, sample, c)
            release = max(start, release, key=lambda m: (m.key, m.low))
        held = Held(constants.rates, leak, start.ball, current, not box.exact)
        return Cell(c, constants, held, start, release, voltage, self._fired, self.roots)

    def _set_out(self, sample: int) -> None:
        """Send the spikes that are given on their way."""
        box, names = self.box, source_names(self.box)
        after = at_time(box.after)
        for name, train in box.carried.items():
            for spike in sample_spikes(train, sample):
                moment, source = at_time(spike.time, spike.low), names[name] + spike.neuron
                due: dict[int | None, list[Bundle]] = {}
                for bundle in self.wiring.bundles.get(source, []):
                    due.setdefault(order(later(moment, bundle.delay, bundle.exact), after), []).append(bundle)
                # what has arrived in some networks of the box, and in others has not, is open
                self._deliver_later(moment, due.get(None, []), source, Sent.LOST, spike.turn)
                self._send(moment, due.get(1, []), source, turn=spike.turn)
        for name, train in box.trains.items():
            for spike in sample_spikes(train, sample):
                moment, source = at_time(spike.time), names[name] + spike.neuron
                if spike.radius:
                    ball_of = not_before(box.t_start, spike.time, spike.radius)
                    moment = rooted(ball_of, next(self.roots))
                self._send(moment, self.wiring.bundles.get(source, []), source)
        self.n_given = len(self.spikes)

    def _send(
        self,
        moment: EventTime,
        bundles: list[Bundle],
        source: int,
        *,
        cell: int = -1,
        trigger: int = -1,
        turn: int | None = None,
    ) -> None:
        self._deliver_later(moment, bundles, source, Sent.SPIKE, turn)
        self.spikes.append(Spike(cell, moment, trigger))

    def _deliver_later(
        self, moment: EventTime, bundles: list[Bundle], source: int, sent: Sent, turn: int | None = None
    ) -> None:
        """Queue what a spike brings, or what is lost; ``turn`` is when it occurred in its cycle, else now."""
        spike = len(self.spikes)
        level = self.wiring.level_of_source[source]
        for k, bundle in enumerate(bundles):
            arrival = later(moment, bundle.delay, bundle.exact)
            if order(arrival, self.horizon) != 1:
                within = bundle.level == level
                place = (spike if turn is None else turn, 0) if within else (level, source)
                waiting = (
                    *(arrival.key, arrival.low, bundle.level),
                    *(Turn(moment.key, moment.low, within, place, k), next(self.serial)),
                    *(spike, arrival, bundle, sent),
                )
                heapq.heappush(self.deliveries, waiting)

    # -- events ----------------------------------------------------------------------------------------------------

    def result(self) -> Enclosed:
        """Work through the queues to the end."""
        for cell in self.cells.values():
            self._look_ahead(cell)
        n_spikes = -1
        # a spike that the queue of crossings has overlooked is found at the end, and so is a cell that stays open
        while n_spikes < len(self.spikes) or self.deliveries:
            self._work_through()
            n_spikes = len(self.spikes)
            for cell in self.cells.values():
                if cell.number not in self.closed and order(self.horizon, cell.last) == 1:
                    self._guarded(cell, self.horizon, cell.settle, self.horizon)
        intervals = sum(cell.intervals for cell in self.cells.values())
        return Enclosed(
            self.bits, self.spikes, self.n_given, self.history, self.open, self.doubtful, intervals
        )

    def _work_through(self) -> None:
        deliveries, crossings = self.deliveries, self.crossings
        while deliveries or crossings:
            if crossings and (not deliveries or crossings[0][:2] <= deliveries[0][:2]):
                _, _, number, version = heapq.heappop(crossings)
                if version == self.versions[number] and number not in self.closed:
                    self._spike_next(self.cells[number], deliveries[0][:2] if deliveries else (math.inf, 0.0))
                continue
            *_, spike, moment, bundle, sent = heapq.heappop(deliveries)
            for target in bundle.targets:
                if sent is Sent.SPIKE:
                    self._arrive(target, moment, spike)
                else:
                    self._reach(target, moment, behind=sent is Sent.LOST_BEHIND)

    def _spike_next(self, cell: Cell, next_delivery: tuple[float, float]) -> None:
        when = cell.next_spike(self.horizon)
        if when is not None and (when.key, when.low) <= next_delivery:
            self._guarded(cell, when, cell.spike, when)
        elif when is not None:
            heapq.heappush(self.crossings, (when.key, when.low, cell.number, self.versions[cell.number]))

    def _arrive(self, target: Target, moment: EventTime, spike: int) -> None:
        arriving = Event(target.cell, moment, spike, target.synapse)
        cell = self.cells.get(target.cell)
        if cell is None or surely_zero(target.weight):
            self.history.append(arriving)
            return
        if cell.number in self.closed:
            if cell.number not in self.open and order(moment, self.t_end) != 1:
                self._leave(cell, Unproven(cell.number, moment.key, Question.TIE), moment)
            return
        self.arriving = arriving
        self._guarded(cell, moment, cell.receive, moment, target.weight, target.delta)
        if self.arriving is not None:
            self.history.append(arriving)
            self.arriving = None
        self._look_ahead(cell)

    def _fired(self, cell: Cell, moment: EventTime, triggered: bool) -> None:
        """Take note of a spike, and send it on its way."""
        trigger = -1
        if triggered and self.arriving is not None:
            trigger = len(self.history)
            self.history.append(self.arriving)
            self.arriving = None
        self.history.append(Event(cell.number, moment, len(self.spikes), -1))
        source = self.box.n_channels + cell.number
        bundles = self.wiring.bundles.get(source, [])
        self._send(moment, bundles, source, cell=cell.number, trigger=trigger)
        self._look_ahead(cell)
        if len(self.spikes) - self.n_given > self.most_spikes:
            raise Unproven(cell.number, moment.key, Question.RUNAWAY)

    def _look_ahead(self, cell: Cell) -> None:
        """Queue the time at which a cell seems to cross its threshold, if nothing arrives."""
        self.versions[cell.number] += 1
        if cell.number in self.closed:
            return
        free = cell.ahead()
        when = float(free.origin) + crossing_ahead(
            float(free.voltage - free.leak),
            float(free.current),
            float(cell.constants.threshold - free.leak),
            float(free.rates.tau_mem),
            float(free.rates.tau_syn),
        )
        if math.isnan(when):
            when = cell.look_ahead(self.horizon)
        if when <= self.horizon.key:
            heapq.heappush(self.crossings, (when, 0.0, cell.number, self.versions[cell.number]))

    # -- what stays open -------------------------------------------------------------------------------------------

    def _guarded(self, cell: Cell, moment: EventTime, act: Callable[..., None], *arguments: Any) -> None:
        """Act on a cell up to a moment; where that leaves a question open, raise it or go on without the cell.

        What is open only after t_end is of no concern, if the moment is.
        """
        try:
            act(*arguments)
        except Unproven as why:
            if order(moment, self.t_end) == 1 and self._is_settled(cell):
                self._close(cell, max(self.t_end, cell.last, key=lambda m: (m.key, m.low)), Sent.LOST_BEHIND)
            else:
                self._leave(cell, why, moment)

    def _is_settled(self, cell: Cell) -> bool:
        """Say whether a cell is proven up to t_end, given that nothing else arrives until then."""
        if order(self.t_end, cell.last) != 1:
            return order(cell.last, self.t_end) == 1
        try:
            cell.settle(self.t_end)
        except Unproven:
            return False
        return True

    def _leave(self, cell: Cell, why: Unproven, moment: EventTime) -> None:
        """Go on without a cell of which something is open at a moment and let its targets know, or raise why.

        It is proven up to its last event; where the moment may come first, up to that and to what it may come before.
        """
        if not self.allow_undecided:
            raise why
        since = cell.last
        if order(moment, cell.last) != 1:
            doubtful = self._not_before(cell, moment)
            since = min(
                [moment, *(self.spikes[k].moment for k in doubtful)], key=lambda m: float(m.ball.lower())
            )
            self.doubtful.update(doubtful)
        self.open[cell.number] = (float(since.ball.lower()), self.open.get(cell.number, (0.0, why))[1])
        self._close(cell, since, Sent.LOST)

    def _not_before(self, cell: Cell, moment: EventTime) -> list[int]:
        """Return the spikes of a cell that are not proven to come before a moment."""
        return [
            k
            for k, spike in enumerate(self.spikes)
            if spike.cell == cell.number and order(spike.moment, moment) != -1
        ]

    def _close(self, cell: Cell, since: EventTime, lost: Sent) -> None:
        """Go on without a cell of which nothing is proven from a moment on, and let its targets know what is lost."""
        self.closed.add(cell.number)
        source = self.box.n_channels + cell.number
        self._deliver_later(since, self.wiring.bundles.get(source, []), source, lost)

    def _reach(self, target: Target, moment: EventTime, *, behind: bool) -> None:
        """Go on without a cell that a lost one may reach from a moment on, or only ``behind`` it and t_end."""
        cell = self.cells.get(target.cell)
        if cell is None or surely_zero(target.weight):
            return
        if behind or order(moment, self.t_end) == 1:
            self._reach_behind(cell, moment)
            return
        if cell.number not in self.closed and order(moment, cell.last) == 1:
            self._guarded(cell, moment, cell.settle, moment)
        if cell.number not in self.open or float(moment.ball.lower()) < self.open[cell.number][0]:
            self._leave(cell, Unproven(cell.number, moment.key, Question.DOUBTFUL_SOURCE), moment)

    def _reach_behind(self, cell: Cell, moment: EventTime) -> None:
        """Go on without a cell that a lost one may reach behind t_end alone: nothing changes up to there."""
        if cell.number in self.open:
            return
        if cell.number not in self.closed and not self._is_settled(cell):
            self._leave(cell, Unproven(cell.number, moment.key, Question.DOUBTFUL_SOURCE), moment)
            return
        doubtful = self._not_before(cell, moment)
        if cell.number not in self.closed or not self.doubtful.issuperset(doubtful):
            self.doubtful.update(doubtful)
            self._close(cell, moment, Sent.LOST_BEHIND)


def went_on(box: Box, sample: int, cell: int) -> tuple[arb, arb, EventTime, EventTime]:
    """Return V, I, where a stream goes on, and when V was or will be released.

    Up to then a neuron followed the numbers in the middle of the box: what is within it begins with the same V and I,
    but for the radii of v_initial and i_initial, which are theirs.
    """
    assert box.start is not None
    n = {name: ball(float(box.parameters[name].middle[cell])) for name in ("tau_mem", "tau_syn", "v_leak")}
    time, excess, now, free_at, free_low = (float(column[cell]) for column in box.start[sample])
    rates, since, begin = rates_of(n["tau_mem"], n["tau_syn"]), at_time(time), at_time(box.t_start)
    release = at_time(free_at, free_low)
    moves = max(since, release, key=lambda m: (m.key, m.low))
    held_until = moves if (moves.key, moves.low) < (begin.key, begin.low) else begin
    _, decay_syn, _ = propagator(rates, elapsed(since, held_until))
    u, i = ball(excess), ball(now) * decay_syn
    decay_mem, decay_syn, response = propagator(rates, elapsed(held_until, begin))
    around = [ball(0.0, float(box.parameters[name].radius[cell])) for name in ("v_initial", "i_initial")]
    voltage, current = n["v_leak"] + u * decay_mem + i * response, i * decay_syn
    return voltage + around[0], current + around[1], begin, release
