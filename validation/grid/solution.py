"""A network solved on a time grid, as losses read it: everything is at points of the grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

import eventsolve as es
from eventsolve.network import Network
from eventsolve.quadrature import Nodes, require_continuous
from eventsolve.solution import Maxima, SilentMaxima
from eventsolve.typing import Integers, Reals

States = tuple[Reals, Reals]


@dataclass(frozen=True, eq=False)
class GridSolution:
    """What losses ask of a :class:`eventsolve.Solution`, on a grid.

    Voltages are read at the nearest point that is computed, after a reset there and after what arrives there. The mean
    of a running loss is over the points at which states move, a step each; a largest voltage is the first largest at a
    point.

    Attributes
    ----------
    network : Network
    spikes : mapping of str to SpikeTrains
    n_samples : int
    first, n_steps : int
        The first and the last point at which states move.
    time_step : float
        Seconds.
    t_end : float
        Seconds, of the whole run.
    stamp : int
        By how many steps times are told later than their point.
    states : callable
        Takes nothing and returns V and I of all populations, (n_samples, n_steps + 1, n_neurons).
    populations : mapping of str to int
        The first neuron of each population in ``states``.
    """

    network: Network
    spikes: Mapping[str, es.SpikeTrains]
    n_samples: int
    first: int
    n_steps: int
    time_step: float
    t_end: float
    stamp: int
    states: Callable[[], States] = field(repr=False)
    populations: Mapping[str, int] = field(repr=False)

    t_start = 0.0
    stopped = None

    @cached_property
    def _all_states(self) -> States:
        return self.states()

    def voltage(self, population: str, times: ArrayLike) -> Reals:
        """Return voltages (n_samples, n_neurons, n_times)."""
        return self._at(population, times)[0]

    def current(self, population: str, times: ArrayLike) -> Reals:
        """Return currents (n_samples, n_neurons, n_times)."""
        return self._at(population, times)[1]

    def states_at(self, population: str, times: Reals) -> States:
        """Return V and I (n_samples, n_neurons, n_times) at times of each sample, (n_samples, n_times)."""
        steps = self.step_of(times)[:, :, None]
        v, i = (np.take_along_axis(self._of(population, k), steps, axis=1) for k in (0, 1))
        return v.transpose(0, 2, 1), i.transpose(0, 2, 1)

    def maxima(self, population: str) -> Maxima:
        """Return the largest voltage of each LI neuron, and the point at which it is reached first."""
        neuron = self.network.population(population).neuron
        if neuron is None or neuron.spiking:
            raise ValueError(f"maxima are of LI populations; {population!r} is none")
        voltages = self._of(population, 0)
        steps = voltages.argmax(axis=1)
        values = np.take_along_axis(voltages, steps[:, None], axis=1)[:, 0]
        return Maxima(values, (steps + self.stamp) * self.time_step, np.full(steps.shape, -1))

    def silent_maxima(self, population: str) -> SilentMaxima:
        """Return the largest voltage of every neuron in every sample in which it does not spike."""
        samples, neurons = np.nonzero(self.spikes[population].counts() == 0)
        voltages = self._of(population, 0)[samples, :, neurons]
        steps = voltages.argmax(axis=1)
        values = voltages[np.arange(steps.size), steps]
        return SilentMaxima(
            samples, neurons, values, (steps + self.stamp) * self.time_step, np.full(steps.shape, -1)
        )

    def mean_voltages(self, population: str, rate: float) -> None:
        """Return nothing: a mean of the points is a sum over nodes."""

    def nodes(self, population: str) -> Nodes:
        """Return the points at which states move, each with one step's share of the mean."""
        require_continuous(self.network, population, 0.0, self.t_end)
        times = (np.arange(self.first, self.n_steps + 1) + self.stamp) * self.time_step
        shape = (self.n_samples, times.size)
        return Nodes(
            np.broadcast_to(times, shape),
            np.full(shape, 1.0 / times.size),
            self._of(population, 0)[:, self.first :].transpose(0, 2, 1),
        )

    def require_whole(self, what: str) -> None:
        """Do nothing: all samples are solved to the end."""

    def step_of(self, times: Reals) -> Integers:
        """Return the nearest point of times, or raise a ValueError if one lies outside of the run."""
        steps = np.rint(times / self.time_step).astype(np.int64)
        outside = (steps < 0) | (steps > round(self.t_end / self.time_step) + self.stamp)
        if outside.any():
            raise ValueError(
                f"times must lie in [0, t_end = {self.t_end!r}]; got {float(times[outside][0])!r}"
            )
        return np.clip(steps - self.stamp, 0, self.n_steps)

    def _at(self, population: str, times: ArrayLike) -> States:
        asked = np.asarray(times, dtype=np.float64).reshape(-1)
        return self.states_at(population, np.broadcast_to(asked, (self.n_samples, asked.size)))

    def _of(self, population: str, which: int) -> Reals:
        """Return V or I of a population, (n_samples, n_steps + 1, n_neurons)."""
        if population not in self.populations:
            self.network.population(population)
            raise ValueError(f"{population!r} is an input: it has no voltage")
        first = self.populations[population]
        return self._all_states[which][:, :, first : first + self.network.population(population).size]
