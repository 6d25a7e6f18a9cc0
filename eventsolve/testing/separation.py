"""How far a problem is from one with other spikes: steep crossings, peaks away from the threshold, events apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import exprel

from eventsolve.network import Population
from eventsolve.solution import Solution

Reals = NDArray[np.float64]


class Separation(NamedTuple):
    """The smallest distances of every neuron of a population, each (n,); inf where there is nothing to measure.

    Attributes
    ----------
    slope : ndarray of float64
        tau_mem V' / v_threshold just before a spike, no unit.
    voltage : ndarray of float64
        Of a voltage's local maximum, or its end, below the threshold, in units of v_threshold.
    gap : ndarray of float64
        Seconds between a spike, or the end of its refractory period, and any other event of the neuron, an arrival
        among them, and t_end. Two arrivals may tie: their order changes nothing.
    """

    slope: Reals
    voltage: Reals
    gap: Reals


def separation(solution: Solution, name: str) -> Separation:
    """Return the smallest distances of a population of spiking neurons, over all samples."""
    population = solution.network.population(name)
    smallest = np.full((3, population.size), np.inf)
    for sample in range(solution.n_samples):
        for n in range(population.size):
            smallest[:, n] = np.minimum(smallest[:, n], _of_neuron(solution, population, sample, n))
    return Separation(*smallest)


def _of_neuron(solution: Solution, population: Population, sample: int, n: int) -> tuple[float, float, float]:
    name, t_end = population.name, solution.t_end
    trains = solution.spikes[name]
    spikes = trains.times[(trains.samples == sample) & (trains.neurons == n)]
    spikes = spikes[spikes <= t_end]
    t_ref, threshold, leak = (population.parameter(p)[n] for p in ("t_ref", "v_threshold", "v_leak"))
    own = np.concatenate([spikes, spikes + t_ref]) if t_ref else spikes
    times = np.concatenate([_arrivals(solution, name, sample, n), own])
    mine = np.repeat([False, True], [times.size - own.size, own.size])
    order = np.argsort(times, kind="stable")
    times, mine = times[order], mine[order]
    gap = min(
        np.diff(times)[mine[1:] | mine[:-1]].min(initial=np.inf), np.abs(t_end - own).min(initial=np.inf)
    )
    times = times[times <= t_end]

    rise = leak - threshold + solution.current(name, spikes)[sample, n]
    starts = np.unique(np.concatenate([[0.0], times]))
    stops = np.append(starts[1:], t_end)
    free = ~((starts[:, None] >= spikes) & (starts[:, None] < spikes + t_ref)).any(axis=1)
    free &= ~np.isin(stops, spikes)  # what ends in a spike reaches the threshold
    v, i = (f(name, starts[free])[sample, n] for f in (solution.voltage, solution.current))
    below = threshold - _peaks(population, n, v, i, (stops - starts)[free])
    slope, voltage = (float((x / threshold).min(initial=np.inf)) for x in (rise, below))
    return slope, voltage, float(gap)


def _arrivals(solution: Solution, name: str, sample: int, n: int) -> Reals:
    found = [np.empty(0)]
    for p in solution.network.afferents(name):
        trains = solution.spikes[p.pre]
        synapses = slice(*p.row_offsets[n : n + 2])
        for source, delay in zip(p.sources[synapses], p.delay[synapses], strict=True):
            found.append(trains.times[(trains.samples == sample) & (trains.neurons == source)] + delay)
    return np.concatenate(found)


def _peaks(population: Population, n: int, v: Reals, i: Reals, length: Reals) -> Reals:
    """Return the largest V inside, or at the end of, stretches without events that start from V and I."""
    tau_m, tau_s, leak = (float(population.parameter(p)[n]) for p in ("tau_mem", "tau_syn", "v_leak"))
    rate = 1.0 / tau_s - 1.0 / tau_m
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = (i - (v - leak)) / ((v - leak) * rate + i / tau_m)  # V' = 0 where expm1(rate s)/rate is that
        top = rest if rate == 0 else np.log1p(rate * rest) / rate
    inside = np.where((top > 0) & (top < length), top, length)

    def voltage(s: Reals) -> Reals:
        a, b = s / tau_m, s / tau_s
        later: Reals = (
            leak + (v - leak) * np.exp(-a) + i * a * np.exp(-np.minimum(a, b)) * exprel(-np.abs(a - b))
        )
        return later

    return np.maximum(voltage(inside), voltage(length))
