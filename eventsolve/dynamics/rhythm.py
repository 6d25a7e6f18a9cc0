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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from eventsolve.dynamics.circuit import Circuit, Numbered, still_of
from eventsolve.dynamics.kernels import voltages as kernel
from eventsolve.dynamics.pattern import Pattern, ragged
from eventsolve.interrupts import call
from eventsolve.typing import Booleans, Integers, Reals


class Points(NamedTuple):
    """Cells and times, (n,), as :meth:`Rhythm.voltages` takes them."""

    cells: Integers
    times: Reals
    last: Integers
    laps: Integers
    before: bool
    at: Integers
    spikes: Integers


class Times(NamedTuple):
    """Of a rhythm, by event or spike, what its kernel takes; after ``chained`` spikes V is no given number."""

    events: Reals
    after: Reals
    period: float
    triggering: Integers
    roots: Integers
    chained: Booleans


class Voltages(NamedTuple):
    """V and I of cells at times, (n,), and how V goes with the times of events, V after the last spike, and T.

    ``by_event`` is (n, n_events). ``by_value`` is by a step along a parameter, input spikes included. ``gap`` is how
    close, in seconds, an arrival comes to the release or, of a spike, to its time.
    """

    voltage: Reals
    current: Reals
    by_event: Reals
    by_start: Reals
    by_period: Reals
    by_value: Reals
    gap: Reals


class Equations(NamedTuple):
    """Residuals and derivatives, rows first of spikes, then of chained resets.

    Columns are the times of spikes, the voltages after chained spikes, and the period. ``slopes`` is V' just before
    each spike, in the unit of V per second; inf for one that is triggered. ``by_value`` is the derivative by a step
    along a parameter; ``overshoot`` by how much what triggers a spike takes V beyond the threshold, inf for a crossing.
    """

    residual: Reals
    jacobian: Reals
    slopes: Reals
    overshoot: Reals
    by_value: Reals
    gap: float


@dataclass(frozen=True, eq=False)
class Rhythm:
    """A pattern with the numbers of a network and times, in seconds: of its spikes (n_spikes,), and its period.

    ``given`` are the times of the input spikes, ``after`` is V after each spike. It is continued periodically to all
    times. Whether it is an orbit, :meth:`equations` say.
    """

    pattern: Pattern
    circuit: Circuit
    given: Reals
    times: Reals
    after: Reals
    period: float

    @cached_property
    def events(self) -> Reals:
        """Times of all events of a period: spikes, then inputs."""
        return np.concatenate([self.times, self.given])

    @cached_property
    def arriving(self) -> Reals:
        """The time of each arrival that comes of an event at its own time."""
        _, event, synapse = self.pattern.arrivals
        return self.events[event] + self.circuit.delay[synapse]

    def last_spikes(self, cells: Integers, times: Reals) -> tuple[Integers, Integers]:
        """Return each cell's last spike up to a time, -1 of a silent one, and how many periods later than its time."""
        order, first = self.pattern.own
        rows, places = ragged(first, cells)
        spikes = order[places]
        laps = np.floor((times[rows] - self.times[spikes]) / self.period)
        latest = np.lexsort((self.times[spikes] + laps * self.period, rows))
        ends = np.flatnonzero(np.diff(np.append(rows[latest], -1)) != 0)
        last, periods = np.full(cells.size, -1, np.int64), np.zeros(cells.size, np.int64)
        last[rows[latest[ends]]] = spikes[latest[ends]]
        periods[rows[latest[ends]]] = laps[latest[ends]].astype(np.int64)
        return last, periods

    def releases(self, last: Integers, laps: Integers) -> Reals:
        """Return when cells are free again after spikes, so many periods later."""
        t_ref = self.circuit.t_ref[self.pattern.cells[last]]
        found: Reals = self.times[last] + laps * self.period + t_ref
        return found

    def voltages(
        self,
        cells: Integers,
        times: Reals,
        last: Integers,
        laps: Integers,
        *,
        before: bool,
        at: Integers | None = None,
        spikes: Integers | None = None,
        step: Numbered | None = None,
    ) -> Voltages:
        """Return V and I of cells that are free at times, just before or just after what arrives then.

        ``last`` and ``laps`` are of the spike before, as :meth:`last_spikes` has them; a cell without is as if released
        one period ago with the V that it has. ``at`` are the arrivals whose times they are, -1 of none; ``spikes`` the
        spikes at those times, if they are.
        """
        pattern = self.pattern
        nothing = np.full(cells.size, -1, np.int64)
        points = Points(
            cells,
            times,
            last,
            laps,
            before,
            nothing if at is None else at,
            nothing if spikes is None else spikes,
        )
        numbers = self.circuit.numbers()
        chained = np.zeros(pattern.n_spikes, np.bool_)
        chained[pattern.chained] = True
        rhythm = Times(self.events, self.after, self.period, pattern.triggering, pattern.roots, chained)
        still = still_of(numbers, pattern.channels.size) if step is None else step
        found = call(kernel.voltages, points, numbers, still, pattern.arrivals, pattern.delta, rhythm)
        return Voltages(*found)

    def at_start(self) -> tuple[Reals, Reals, Reals]:
        """Return V and I of every cell at time 0, and when it is free, in seconds; not after 0 of those that are."""
        of = self.circuit
        cells, zeros = np.arange(of.n_cells), np.zeros(of.n_cells)
        last, laps = self.last_spikes(cells, zeros)
        release = np.where(last >= 0, self.releases(last, laps), 0.0) if self.times.size else zeros
        held = (release > 0.0) & (last >= 0)
        # of a held one V is known, and nothing else is asked than I
        asked = np.where(held, -1, last)
        found = self.voltages(cells, zeros, asked, laps, before=False)
        v = np.where(held, self.after[last], found.voltage) if self.times.size else found.voltage
        return v, self.currents(cells, zeros), np.where(held, release, 0.0)

    def currents(self, cells: Integers, times: Reals) -> Reals:
        """Return I of cells at times, with what arrives then."""
        of = self.circuit
        rows, places = ragged(self.pattern.arrivals.first, cells)
        synapses = self.pattern.arrivals.synapse[places]
        tau_syn = of.tau_syn[cells]
        late = times[rows] - self.arriving[places]
        ago = late - np.floor(late / self.period) * self.period
        kept = np.where(of.delta[synapses], 0.0, of.weight[synapses] * np.exp(-ago / tau_syn[rows]))
        total = np.bincount(rows, kept, minlength=cells.size).astype(np.float64)  # also of no terms
        found: Reals = total / -np.expm1(-self.period / tau_syn)
        return found

    def equations(self, step: Numbered | None = None) -> Equations:
        """Return what is left of every equation, and the derivatives."""
        pattern, of = self.pattern, self.circuit
        m, chained, cells = pattern.n_spikes, pattern.chained, pattern.cells
        size = m + chained.size
        place = np.full(m, -1, np.int64)
        place[chained] = m + np.arange(chained.size)
        last, laps = pattern.before
        every = np.arange(m)
        v = self.voltages(
            cells,
            self.times,
            last,
            laps,
            before=True,
            at=pattern.triggering,
            spikes=every,
            step=step,
        )
        threshold = of.v_threshold[cells]
        slopes = (of.v_leak[cells] - v.voltage + v.current) / of.tau_mem[cells]
        rows = np.zeros((m, size + 1))
        rows[:, :m] = v.by_event[:, :m]
        rows[every, every] += slopes
        rows[:, -1] = v.by_period
        after = place[last] if m else last
        rows[every[after >= 0], after[after >= 0]] = v.by_start[after >= 0]
        residual, jacobian, changes = np.zeros(size), np.zeros((size, size + 1)), np.zeros(size)
        residual[:m], jacobian[:m], changes[:m] = v.voltage - threshold, rows, v.by_value
        if step is not None:
            changes[:m] -= step.v_threshold[cells]
        triggered = np.flatnonzero(pattern.cause >= 0)
        slopes = np.where(pattern.cause >= 0, math.inf, slopes)
        overshoot = np.full(m, math.inf)
        if triggered.size:
            cause, synapse = pattern.cause[triggered], pattern.synapse[triggered]
            overshoot[triggered] = residual[triggered] + of.weight[synapse]
            late = self.times[triggered] - self.events[cause] - of.delay[synapse]
            turns = np.round(late / self.period)
            residual[triggered] = late - turns * self.period
            jacobian[triggered] = 0.0
            jacobian[triggered, triggered] = 1.0
            heard = cause < m
            jacobian[triggered[heard], cause[heard]] -= 1.0
            jacobian[triggered, -1] = -turns
            if step is not None:
                changes[triggered] = -step.delay[synapse]
                changes[triggered[~heard]] -= step.given[cause[~heard] - m]
        if chained.size:
            drop = threshold[chained] - of.v_reset[cells[chained]]
            lift = of.weight[pattern.synapse[chained]]
            residual[m:] = self.after[chained] - (v.voltage[chained] + lift - drop)
            jacobian[m:] = -rows[chained]
            jacobian[place[chained], place[chained]] += 1.0
            if step is not None:
                changes[m:] = step.v_threshold[cells[chained]] - step.v_reset[cells[chained]]
                changes[m:] -= v.by_value[chained] + step.weight[pattern.synapse[chained]]
        return Equations(residual, jacobian, slopes, overshoot, changes, float(v.gap.min(initial=math.inf)))

    def stepped(self, step: Reals) -> Rhythm:
        """Return the rhythm after a step of all unknowns, in the order of the columns of :class:`Equations`."""
        m = self.pattern.n_spikes
        after = self.after.copy()
        after[self.pattern.chained] += step[m:-1]
        return replace(self, times=self.times + step[:m], after=after, period=self.period + float(step[-1]))
