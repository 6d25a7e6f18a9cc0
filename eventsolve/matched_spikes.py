"""Which of measured spikes are a neuron's own: spikes by neuron, put in and left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from eventsolve.network import Network
from eventsolve.spiketrains import SpikeTrains, sorted_trains
from eventsolve.typing import Booleans, Reals


def none_of(trains: SpikeTrains) -> SpikeTrains:
    """Return a batch of the same size without spikes."""
    return chosen(trains, np.zeros(trains.n_spikes, bool))


def chosen(trains: SpikeTrains, which: Booleans) -> SpikeTrains:
    """Return some of the spikes."""
    return SpikeTrains(
        trains.times[which], trains.neurons[which], trains.samples[which], trains.n_samples, trains.n_neurons
    )


def joined_spikes(one: SpikeTrains, other: SpikeTrains) -> SpikeTrains:
    """Return the spikes of both."""
    times, neurons, samples = (
        np.concatenate([getattr(trains, column) for trains in (one, other)])
        for column in ("times", "neurons", "samples")
    )
    return sorted_trains(times, neurons, samples, (one.n_samples, one.n_neurons))


def each_spike(trains: SpikeTrains) -> list[tuple[int, int, float]]:
    """Return (sample, neuron, time) of every spike."""
    return list(zip(trains.samples.tolist(), trains.neurons.tolist(), trains.times.tolist(), strict=True))


def among(trains: SpikeTrains, others: SpikeTrains) -> Booleans:
    """Return which spikes are among others."""
    known = set(each_spike(others))
    return np.array([spike in known for spike in each_spike(trains)], dtype=bool)


def firsts(trains: SpikeTrains, which: Booleans) -> Booleans:
    """Return which of some spikes are the first of these of their neuron and sample."""
    found = np.zeros(trains.n_spikes, bool)
    places = np.flatnonzero(which)
    of = trains.samples[places] * trains.n_neurons + trains.neurons[places]
    found[places[np.unique(of, return_index=True)[1]]] = True
    return found


def from_first(trains: SpikeTrains, which: Booleans) -> Booleans:
    """Return which spikes are the first of some of their neuron and sample, or after it."""
    first = {(s, n): t for s, n, t in each_spike(chosen(trains, firsts(trains, which)))}
    return np.array([t >= first.get((s, n), math.inf) for s, n, t in each_spike(trains)], dtype=bool)


def _by_neuron(trains: SpikeTrains) -> dict[tuple[int, int], list[float]]:
    found: dict[tuple[int, int], list[float]] = {}
    for sample, neuron, time in each_spike(trains):
        found.setdefault((sample, neuron), []).append(time)
    return found


def free_for(new: SpikeTrains, trains: SpikeTrains, t_ref: Reals) -> Booleans:
    """Return which spikes could be put between those that there are, without one in a refractory period."""
    times = _by_neuron(trains)
    return np.array(
        [
            all(abs(t - time) > t_ref[neuron] for t in times.get((sample, neuron), []))
            for sample, neuron, time in each_spike(new)
        ],
        dtype=bool,
    )


def shortest_intervals(trains: SpikeTrains) -> Reals:
    """Return each neuron's shortest interval between two spikes, inf without any."""
    shortest = np.full(trains.n_neurons, np.inf)
    for (_, neuron), times in _by_neuron(trains).items():
        if len(times) > 1:
            shortest[neuron] = min(shortest[neuron], float(np.diff(times).min()))
    return shortest


def without_early(
    network: Network, spikes: Mapping[str, SpikeTrains]
) -> tuple[dict[str, SpikeTrains], dict[str, SpikeTrains]]:
    """Return the spikes without those in a refractory period, which no parameters explain, and those."""
    kept, early = {}, {}
    for name, trains in spikes.items():
        known = isinstance(trains, SpikeTrains) and name in network.populations
        if not known or trains.n_neurons != network.population(name).size:
            kept[name] = trains  # for observe to refuse
            continue
        t_ref = network.population(name).parameter("t_ref").tolist()
        free: dict[tuple[int, int], float] = {}
        good = np.ones(trains.n_spikes, bool)
        for k, (sample, neuron, time) in enumerate(each_spike(trains)):
            good[k] = t_ref[neuron] == 0.0 or time >= free.get((sample, neuron), 0.0)
            if good[k]:
                free[sample, neuron] = time + t_ref[neuron]
        kept[name], early[name] = chosen(trains, good), chosen(trains, ~good)
    return kept, early
