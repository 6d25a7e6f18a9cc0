r"""The equations of a periodic orbit, in the times of its spikes.

A periodic orbit of a network is a list of spikes that repeats with a period T. Given the times of all spikes of one
period, V and I of every neuron are closed forms: what arrived once per period since ever is a geometric series. With r
the end of a neuron's refractory period after its spike before, b its arrivals up to r (the latest of each), and a those
after r, all once per period,

.. math::
    V(t) = v_{leak} + (V_r - v_{leak}) e^{-(t-r)/\tau_m} + I_r K(t - r) + \sum_a w K(t - a), \qquad
    I_r = \frac{\sum_b w e^{-(r-b)/\tau_s}}{1 - e^{-T/\tau_s}}

with K of :mod:`eventsolve.kernels.membrane`; a delta synapse has exp(-(t-a)/tau_mem) instead of K. What has to hold is
one equation for each spike: V reaches the threshold at its time, or, of a spike that a delta synapse triggers, its time
is that of the arrival. V_r is v_reset; only of neurons that subtract, and spikes that are triggered, is it one more
unknown, with the equation of that reset. So the orbit is a finite system of smooth equations, whose derivatives are as
exact as its values. Of a free orbit T is unknown too, and the time of one spike given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.network import Network

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


class Circuit(NamedTuple):
    """A network as arrays: neurons numbered through as cells, and its synapses of a weight other than 0.

    Sources are numbered through, inputs first, cells after them. ``first`` is by population the number of its first
    source. Parameters are (n_cells,), a readout's v_threshold is inf.
    """

    network: Network
    first: dict[str, int]
    n_channels: int
    n_cells: int
    tau_mem: Reals
    tau_syn: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals
    t_ref: Reals
    subtracts: Booleans
    source: Integers
    target: Integers
    weight: Reals
    delay: Reals
    delta: Booleans

    def cell_name(self, cell: int) -> tuple[str, int]:
        """Return the population of a cell and its number there."""
        number = self.n_channels + cell
        name = max((n for n, first in self.first.items() if first <= number), key=self.first.__getitem__)
        return name, number - self.first[name]

    def cells_of(self, name: str) -> slice:
        """Return the cells of a population of neurons."""
        low = self.first[name] - self.n_channels
        return slice(low, low + self.network.population(name).size)


def circuit_of(network: Network) -> Circuit:
    """Return a network as arrays."""
    populations = network.populations
    inputs = [p for p in populations.values() if p.neuron is None]
    cells = [p for p in populations.values() if p.neuron is not None]
    first, n = {}, 0
    for p in (*(p for p in inputs if p.size), *(p for p in cells if p.size)):
        first[p.name] = n
        n += p.size
    n_channels = sum(p.size for p in inputs)

    def parameter(name: str) -> Reals:
        return np.concatenate([np.empty(0), *(p.parameter(name) for p in cells)])

    columns: list[tuple[NDArray[Any], ...]] = [(np.empty(0),) * 5]
    for projection in network.projections.values():
        if not projection.weights.size:
            continue
        rows = np.repeat(np.arange(projection.row_offsets.size - 1), np.diff(projection.row_offsets))
        matters = projection.weights != 0.0
        column = (
            projection.sources + first[projection.pre],
            rows + first[projection.post] - n_channels,
            projection.weights,
            projection.delay,
            np.full(projection.weights.size, projection.synapse == "delta"),
        )
        columns.append(tuple(values[matters] for values in column))
    source, target, weight, delay, delta = (np.concatenate(column) for column in zip(*columns, strict=True))
    subtracts = [getattr(p.neuron, "reset", "value") == "subtract" for p in cells]
    return Circuit(
        network,
        first,
        n_channels,
        n - n_channels,
        parameter("tau_mem"),
        parameter("tau_syn"),
        parameter("v_threshold"),
        parameter("v_reset"),
        parameter("v_leak"),
        parameter("t_ref"),
        np.repeat(subtracts, [p.size for p in cells]).astype(np.bool_),
        source.astype(np.int64),
        target.astype(np.int64),
        weight,
        delay,
        delta.astype(np.bool_),
    )


def response(s: Reals | float, tau_mem: float, tau_syn: float) -> Reals:
    """Return K(s), what a unit of current does to V after s >= 0 seconds, without cancellation."""
    a, b = np.asarray(s) / tau_mem, np.asarray(s) / tau_syn
    d = np.abs(a - b)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(d > 0.0, -np.expm1(-d) / d, 1.0)
    found: Reals = a * np.exp(-np.minimum(a, b)) * mean
    return found


class Arrivals(NamedTuple):
    """What arrives at one cell once per period: from which event, how strong, how late, and over which kind."""

    event: Integers
    weight: Reals
    delay: Reals
    delta: Booleans


class Voltage(NamedTuple):
    """V and I of a cell just before a time, and how V goes with the times of events, V after the last spike, and T.

    ``by_event`` is (n_events,); ``gap`` is how close, in seconds, an arrival comes to the release or to the time.
    """

    voltage: float
    current: float
    by_event: Reals
    by_start: float
    by_period: float
    gap: float


class Equations(NamedTuple):
    """Residuals and derivatives, rows first of spikes, then of chained resets.

    Columns are the times of spikes, the voltages after chained spikes, and the period. ``slopes`` is V' just before
    each spike, in the unit of V per second; inf for one that is triggered.
    """

    residual: Reals
    jacobian: Reals
    slopes: Reals
    gap: float


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which neuron spikes when in one period, and by what.

    Attributes
    ----------
    circuit : Circuit
    cells : ndarray of int64, (n_spikes,)
        In the order of their first times.
    cause : ndarray of int64, (n_spikes,)
        The event whose arrival triggers the spike, over a delta synapse; -1 for a crossing. Events are the spikes and
        then the input spikes.
    lag : ndarray of float64, (n_spikes,)
        Seconds from that event to its arrival; 0 for a crossing.
    lift : ndarray of float64, (n_spikes,)
        Its weight; 0 for a crossing.
    channels : ndarray of int64, (n_inputs,)
        The source of each input spike.
    given : ndarray of float64, (n_inputs,)
        Their times, in seconds, in (0, T].
    """

    circuit: Circuit
    cells: Integers
    cause: Integers
    lag: Reals
    lift: Reals
    channels: Integers
    given: Reals

    @property
    def n_spikes(self) -> int:
        """Spikes of one period."""
        return int(self.cells.size)

    @cached_property
    def chained(self) -> Integers:
        """Spikes after which V is no given number: triggered ones of neurons that subtract."""
        return np.flatnonzero((self.cause >= 0) & self.circuit.subtracts[self.cells])

    @cached_property
    def roots(self) -> Integers:
        """By event the crossing that it follows at a fixed time, as what triggers it does; -1 of all that inputs do.

        Events of one root cannot move apart.
        """
        found = np.concatenate([np.arange(self.n_spikes), np.full(self.given.size, -1)])
        for _ in range(self.n_spikes):
            following = np.where(self.cause >= 0, found[self.cause], found[: self.n_spikes])
            if np.array_equal(following, found[: self.n_spikes]):
                break
            found[: self.n_spikes] = following
        return found

    @cached_property
    def own(self) -> dict[int, Integers]:
        """By cell that spikes its spikes, in their order."""
        return {int(c): np.flatnonzero(self.cells == c) for c in np.unique(self.cells)}

    @cached_property
    def arrivals(self) -> list[Arrivals]:
        """What arrives at each cell."""
        of = self.circuit
        sources = np.concatenate([of.n_channels + self.cells, self.channels])
        found = []
        for cell in range(of.n_cells):
            at = np.flatnonzero(of.target == cell)
            events, synapses = np.nonzero(sources[:, None] == of.source[at][None, :])
            here = at[synapses]
            found.append(Arrivals(events.astype(np.int64), of.weight[here], of.delay[here], of.delta[here]))
        return found

    def triggers(self, spike: int) -> Booleans:
        """Say which of the arrivals at its cell triggers a spike, by its event and delay; none does a crossing."""
        arriving = self.arrivals[int(self.cells[spike])]
        same = (arriving.event == self.cause[spike]) & (arriving.delay == self.lag[spike])
        found: Booleans = same & arriving.delta & (arriving.weight == self.lift[spike])
        return found


@dataclass(frozen=True, eq=False)
class Rhythm:
    """A pattern with times, in seconds: of its spikes (n_spikes,), and its period; and V after each spike.

    It is continued periodically to all times. Whether it is an orbit, :meth:`equations` say.
    """

    pattern: Pattern
    times: Reals
    after: Reals
    period: float

    @cached_property
    def events(self) -> Reals:
        """Times of all events of a period: spikes, then inputs."""
        return np.concatenate([self.times, self.pattern.given])

    def last_spike(self, cell: int, time: float) -> tuple[int, int] | None:
        """Return a cell's last spike up to a time, and how many periods later than its own time; None if silent."""
        own = self.pattern.own.get(cell)
        if own is None:
            return None
        laps = np.floor((time - self.times[own]) / self.period)
        k = int(np.argmax(self.times[own] + laps * self.period))
        return int(own[k]), int(laps[k])

    def spike_before(self, spike: int) -> tuple[int, int]:
        """Return the spike of the same cell before a spike, and how many periods later than its own time: 0 or -1."""
        own = self.pattern.own[int(self.pattern.cells[spike])]
        place = int(np.searchsorted(own, spike))
        return int(own[place - 1]), 0 if place else -1

    def release_of(self, last: tuple[int, int]) -> float:
        """Return when a cell is free again after a spike, so many periods later."""
        t_ref = float(self.pattern.circuit.t_ref[self.pattern.cells[last[0]]])
        return float(self.times[last[0]]) + last[1] * self.period + t_ref

    def arrivals_before(self, cell: int, time: float, spike: int) -> Reals:
        """Return how many periods later than the first each arrival is that is the latest before a time.

        If the cell spikes then, what triggers it comes after; without a spike, an arrival at the time is before.
        """
        of, arriving = self.pattern, self.pattern.arrivals[cell]
        turns = (time - self.events[arriving.event] - arriving.delay) / self.period
        if spike < 0:
            return np.floor(turns)
        return np.where(of.triggers(spike), np.round(turns), np.ceil(turns)) - 1.0

    def voltage(self, cell: int, time: float, last: tuple[int, int] | None, spike: int = -1) -> Voltage:
        """Return V and I of a cell that is free at a time, just before it if it spikes then.

        ``last`` is its spike before; a cell without is as if released one period ago with the V that it has.
        """
        of, period = self.pattern.circuit, self.period
        tau_mem, tau_syn, leak = float(of.tau_mem[cell]), float(of.tau_syn[cell]), float(of.v_leak[cell])
        event, weight, delay, delta = self.pattern.arrivals[cell]
        laps = self.arrivals_before(cell, time, spike)
        at = self.events[event] + delay + laps * period
        release = time - period if last is None else self.release_of(last)
        inside = at > release
        reset = np.zeros(event.size, np.bool_) if last is None else self.pattern.triggers(last[0])
        if (
            last is not None
        ):  # what triggered that spike came before its reset, also where there is no time between
            inside &= ~(reset & (np.abs(at - (release - float(of.t_ref[cell]))) < 0.5 * period))
        # the current at the release, a geometric series
        kept, lost = math.exp(-period / tau_syn), -math.expm1(-period / tau_syn)
        before = np.where(inside, at - period, at)
        early = np.where(delta, 0.0, weight * np.exp(-(release - before) / tau_syn)) / lost
        gone = time - release
        decay_mem, decay_syn = math.exp(-gone / tau_mem), math.exp(-gone / tau_syn)
        k = float(response(gone, tau_mem, tau_syn))
        current = float(early.sum())
        # what arrived since
        s, late = np.where(inside, time - at, 0.0), np.where(inside, weight, 0.0)
        late_mem, late_syn, late_k = np.exp(-s / tau_mem), np.exp(-s / tau_syn), response(s, tau_mem, tau_syn)
        excess = current * k + float((late * np.where(delta, late_mem, late_k)).sum())
        total = current * decay_syn + float(late[~delta] @ late_syn[~delta])
        by_late = late * np.where(delta, late_mem, late_k - late_syn) / tau_mem
        by_early = early / tau_syn * k
        by_event: Reals = np.zeros(self.events.size)
        by_event += np.bincount(event, by_late + by_early, minlength=self.events.size)
        by_period = float((laps * by_late + (laps - inside) * by_early).sum())
        by_period -= current * k * kept / tau_syn / lost
        if last is None:
            scale = -1.0 / math.expm1(-period / tau_mem)
            return Voltage(leak + scale * excess, total, scale * by_event, 0.0, math.nan, math.inf)
        start = float(self.after[last[0]]) - leak
        by_release = start * decay_mem / tau_mem - current * (k / tau_syn + (decay_syn - k) / tau_mem)
        by_event[last[0]] += by_release
        by_period += last[1] * by_release
        roots = self.pattern.roots[event]
        counts = (delta & ~reset) | (roots != self.pattern.roots[last[0]])
        near = np.abs(at - release)[counts].min(initial=math.inf)
        if spike >= 0:
            counts = (delta & ~self.pattern.triggers(spike)) | (roots != self.pattern.roots[spike])
            near = min(near, np.minimum(time - at, at + period - time)[counts].min(initial=math.inf))
        return Voltage(leak + start * decay_mem + excess, total, by_event, decay_mem, by_period, float(near))

    def current(self, cell: int, time: float) -> float:
        """Return I of a cell at a time, with what arrives then."""
        tau_syn = float(self.pattern.circuit.tau_syn[cell])
        event, weight, delay, delta = self.pattern.arrivals[cell]
        at = self.events[event] + delay + self.arrivals_before(cell, time, -1) * self.period
        kept = np.where(delta, 0.0, np.exp(-(time - at) / tau_syn))
        return float(weight @ kept) / -math.expm1(-self.period / tau_syn)

    def equations(self) -> Equations:
        """Return what is left of every equation, and the derivatives."""
        pattern, of = self.pattern, self.pattern.circuit
        m, chained = pattern.n_spikes, pattern.chained
        place = {int(k): m + i for i, k in enumerate(chained)}
        residual = np.zeros(m + chained.size)
        jacobian = np.zeros((m + chained.size, m + chained.size + 1))
        slopes, gap = np.full(m, math.inf), math.inf
        for k in range(m):
            cell, last = int(pattern.cells[k]), self.spike_before(k)
            v = self.voltage(cell, float(self.times[k]), last, k)
            gap = min(gap, v.gap)
            threshold = float(of.v_threshold[cell])
            slope = (float(of.v_leak[cell]) - v.voltage + v.current) / float(of.tau_mem[cell])
            row = np.zeros(jacobian.shape[1])
            row[:m] = v.by_event[:m]
            row[k] += slope
            row[-1] = v.by_period
            if last[0] in place:
                row[place[last[0]]] = v.by_start
            cause = int(pattern.cause[k])
            if cause < 0:
                residual[k], jacobian[k], slopes[k] = v.voltage - threshold, row, slope
                continue
            late = float(self.times[k] - self.events[cause]) - float(pattern.lag[k])
            laps = round(late / self.period)
            residual[k] = late - laps * self.period
            jacobian[k, k] = 1.0
            if cause < m:
                jacobian[k, cause] -= 1.0
            jacobian[k, -1] = -laps
            if k in place:
                drop = threshold - float(of.v_reset[cell])
                residual[place[k]] = self.after[k] - (v.voltage + float(pattern.lift[k]) - drop)
                jacobian[place[k]] = -row
                jacobian[place[k], place[k]] += 1.0
        return Equations(residual, jacobian, slopes, gap)

    def stepped(self, step: Reals) -> Rhythm:
        """Return the rhythm after a step of all unknowns, in the order of the columns of :class:`Equations`."""
        m = self.pattern.n_spikes
        after = self.after.copy()
        after[self.pattern.chained] += step[m:-1]
        return Rhythm(self.pattern, self.times + step[:m], after, self.period + float(step[-1]))
