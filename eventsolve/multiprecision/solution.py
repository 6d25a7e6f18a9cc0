"""What a solution holds: every spike, and every neuron's state after each of its events."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from eventsolve.multiprecision.flow import State, advance
from eventsolve.multiprecision.problems import Context, Mpf, Problem, Spike, neuron_in
from eventsolve.spiketrains import SpikeTrains


@dataclass(frozen=True)
class ExactSolution:
    """Every spike of a problem, and every neuron's state after each of its events.

    Attributes
    ----------
    problem : Problem
        As it was given.
    digits : int
        Digits to which spike times are right, up to the conditioning of the crossings.
    context : MPContext
        The mpmath context of every number here; its precision exceeds ``digits``. Use its functions in a
        loss.
    spikes : mapping of population to tuple over samples of tuple of (time, neuron)
        Seconds, sorted by time and then neuron; inputs included.
    states : mapping of population to [sample][neuron] -> tuple of State
        In the order of time, the first at time 0; without inputs.
    """

    problem: Problem
    digits: int
    context: Context
    spikes: Mapping[str, tuple[tuple[Spike, ...], ...]]
    states: Mapping[str, tuple[tuple[tuple[State, ...], ...], ...]]

    def first(self, population: str) -> list[list[Mpf]]:
        """Return the first spike times in seconds, [sample][neuron], inf where silent."""
        firsts = []
        for spikes in self.spikes[population]:
            row = [self.context.inf] * self.problem.size(population)
            for time, neuron in reversed(spikes):
                row[neuron] = time
            firsts.append(row)
        return firsts

    def to_spiketrains(self, population: str) -> SpikeTrains:
        """Return the spikes with their times rounded to the nearest float64."""
        rows = [
            (sample, float(time), neuron)
            for sample, spikes in enumerate(self.spikes[population])
            for time, neuron in spikes
        ]
        rows.sort()  # rounding may have made times equal
        return SpikeTrains.from_arrays(
            np.array([time for _, time, _ in rows], dtype=np.float64),
            np.array([neuron for *_, neuron in rows], dtype=np.int64),
            np.array([sample for sample, *_ in rows], dtype=np.int64),
            n_neurons=self.problem.size(population),
            n_samples=self.problem.n_samples,
        )

    def voltage(self, population: str, sample: int, neuron: int, time: float | Mpf) -> Mpf:
        """Return V at a time in seconds; at an event the value after it (right-continuous).

        Raises
        ------
        ValueError
            If the time lies outside 0..t_end.
        """
        return self._at(bisect_right, population, sample, neuron, time)[0]

    def current(self, population: str, sample: int, neuron: int, time: float | Mpf) -> Mpf:
        """Return I at a time in seconds, at an arrival the value after it; errors as for :meth:`voltage`."""
        return self._at(bisect_right, population, sample, neuron, time)[1]

    def voltage_before(self, population: str, sample: int, neuron: int, time: float | Mpf) -> Mpf:
        """Return the limit of V from the left, before every event at that time; at 0 it is v_initial.

        Errors as for :meth:`voltage`.
        """
        return self._at(bisect_left, population, sample, neuron, time)[0]

    def current_before(self, population: str, sample: int, neuron: int, time: float | Mpf) -> Mpf:
        """Return the limit of I from the left; everything as for :meth:`voltage_before`."""
        return self._at(bisect_left, population, sample, neuron, time)[1]

    def _at(
        self, bisect: Callable[..., int], population: str, sample: int, neuron: int, time: float | Mpf
    ) -> tuple[Mpf, Mpf]:
        ctx = self.context
        t = ctx.mpf(time)
        if not 0 <= t <= ctx.mpf(self.problem.t_end):
            raise ValueError(f"time must lie in 0..t_end = {ctx.nstr(self.problem.t_end)}; got {ctx.nstr(t)}")
        states = self.states[population][sample][neuron]
        state = states[max(bisect(states, t, key=attrgetter("time")) - 1, 0)]
        parameters = neuron_in(ctx, self.problem.neurons[population][neuron])
        return advance(ctx, parameters, state, t)
