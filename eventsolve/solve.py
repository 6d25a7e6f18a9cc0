"""solve(): from a network and its input spikes to the exact record of every spike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve import layered
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.layered import Spikes
from eventsolve.network import Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.spiketrains import SpikeTrains


class Undecided(NamedTuple):
    """A question that float64 cannot decide, answered deterministically: a peak within a few ulps of the threshold."""

    population: str
    sample: int
    neuron: int
    time: float

    def __str__(self) -> str:
        return (
            f"neuron {self.neuron} of {self.population!r} in sample {self.sample} grazes its threshold at "
            f"{self.time!r} s, to within float64"
        )


class Maxima(NamedTuple):
    """Largest voltages of a readout, each (n_samples, n_neurons): value, time in seconds, arrival ridden on or -1."""

    value: NDArray[np.float64]
    time: NDArray[np.float64]
    arrival: NDArray[np.int64]


Chunk = dict[str, Spikes]
"""The spikes of a range of samples, by population, as kernels take them."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Every spike of a network on a batch of inputs, exact to the conditioning of each threshold crossing.

    Attributes
    ----------
    network : Network
    t_end : float
        Seconds; spikes in (0, t_end] are recorded.
    spikes : mapping of str to SpikeTrains
        By population, inputs included.
    warnings : tuple of Undecided
        Crossings that float64 could not decide. Empty for almost every network.
    n_samples : int
        Size of the batch: that of the inputs, 1 for a network without any.
    """

    network: Network
    t_end: float
    spikes: Mapping[str, SpikeTrains]
    warnings: tuple[Undecided, ...]
    n_samples: int
    chunks: tuple[Chunk, ...] = field(repr=False)

    def voltage(self, population: str, times: ArrayLike) -> NDArray[np.float64]:
        """Return exact voltages at ``times`` in [0, t_end], (n_samples, n_neurons, n_times).

        At the time of a spike it is the voltage after the reset.
        """
        return self._states(population, times)[0]

    def current(self, population: str, times: ArrayLike) -> NDArray[np.float64]:
        """Return exact synaptic currents at ``times`` in [0, t_end], (n_samples, n_neurons, n_times).

        At the time of an arrival it is the current with the new weight.
        """
        return self._states(population, times)[1]

    def maxima(self, population: str) -> Maxima:
        """Return the largest voltage of each LI neuron in [0, t_end], where it is first reached, and what it rides on.

        Raises
        ------
        ValueError
            If the population is not an LI readout: a spiking neuron's largest voltage is its threshold.
        """
        layer = self.layer(population)
        if layer.population.neuron is None or layer.population.neuron.spiking:
            raise ValueError(f"maxima are of LI populations; {population!r} spikes")
        n = layer.population.size
        parts = [
            layered.maxima(
                layer.neurons,
                layer.afferents,
                layer.cohorts,
                layer.n_sources,
                gather(layer, chunk, high - low)[0],
                self.t_end,
            )
            for chunk, (low, high) in zip(self.chunks, chunk_ranges(self.n_samples), strict=True)
        ]
        empty = (np.empty((0, n)), np.empty((0, n)), np.empty((0, n), np.int64))
        return Maxima(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))

    def layer(self, population: str) -> Layer:
        """Return the layer of a population of neurons, or raise a ValueError that says why there is none."""
        for layer in layers_of(self.network):
            if layer.population.name == population:
                return layer
        self.network.population(population)
        raise ValueError(f"{population!r} is an input: it has no voltage")

    def _states(self, population: str, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        layer = self.layer(population)
        asked = np.array(times, dtype=np.float64).reshape(-1)
        bad = ~((asked >= 0) & (asked <= self.t_end))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"times must lie in [0, t_end = {self.t_end!r}]; entry {k} is {float(asked[k])!r}"
            )
        order = np.argsort(asked, kind="stable")
        shape = (self.n_samples, layer.population.size, asked.size)
        voltage, current = np.empty(shape), np.empty(shape)
        for chunk, (low, high) in zip(self.chunks, chunk_ranges(self.n_samples), strict=True):
            v, i = layered.sample_states(
                layer.neurons,
                layer.afferents,
                layer.cohorts,
                layer.n_sources,
                gather(layer, chunk, high - low)[0],
                chunk[population],
                self.t_end,
                asked[order],
            )
            voltage[low:high, :, order], current[low:high, :, order] = v, i
        return voltage, current


def solve(
    network: Network, inputs: Mapping[str, SpikeTrains], t_end: float, *, threads: int | None = None
) -> Solution:
    """Solve an acyclic network exactly.

    Parameters
    ----------
    network : Network
        Cannot be changed afterwards.
    inputs : mapping of str to SpikeTrains
        For every input of the network, all with the same number of samples. Spikes after t_end have no effect.
    t_end : float
        Seconds, >= 0.
    threads : int, optional
        Default: one per usable core. The result has the same bits for any number.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If inputs are missing, unknown, of the wrong size or of different batch sizes, or t_end is not finite and >= 0.
    NotImplementedError
        If the network has a cycle.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {network!r}")
    t_end = checked_duration(t_end)
    n_samples = _checked_inputs(network, inputs)
    layers = layers_of(network)
    ranges = chunk_ranges(n_samples)
    parts = [_input_chunk(inputs, low, high) for low, high in ranges]
    results = list(
        map_chunks(
            lambda k: _solve_chunk(layers, parts[k], ranges[k][1] - ranges[k][0], t_end), len(ranges), threads
        )
    )
    chunks = tuple(chunk for chunk, _ in results)
    warnings = tuple(
        Undecided(name, low + sample, neuron, time)
        for (low, _), (_, doubts) in zip(ranges, results, strict=True)
        for name, sample, neuron, time in doubts
    )
    spikes = {
        name: inputs[name] if population.neuron is None else _joined(chunks, name, n_samples, population.size)
        for name, population in network.populations.items()
    }
    return Solution(network, t_end, MappingProxyType(spikes), warnings, n_samples, chunks)


def checked_duration(t_end: float) -> float:
    """Return t_end as a float, or raise a ValueError that says what is wrong with it."""
    try:
        value = float(t_end)
    except (TypeError, ValueError) as error:
        raise ValueError(f"t_end must be a number of seconds; got {t_end!r}") from error
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"t_end must be finite and >= 0; got {t_end!r}")
    return value


def gather(layer: Layer, chunk: Chunk, n_samples: int) -> tuple[Spikes, NDArray[np.int64] | None]:
    """Return the spikes of all sources of a layer, numbered through, and where each came from among them.

    The second value is None where nothing moved, else entry k says which of the concatenated spikes of the sources
    spike k is.
    """
    if len(layer.sources) == 1:
        return chunk[layer.sources[0]], None
    parts = [chunk[source] for source in layer.sources]
    nothing = np.empty(0, np.int64)
    samples = np.concatenate(
        [np.repeat(np.arange(n_samples), np.diff(p.offsets)) for p in parts] or [nothing]
    )
    order = np.argsort(samples, kind="stable")
    neurons = [p.neurons + start for p, start in zip(parts, layer.source_offsets, strict=False)]
    joined = Spikes(
        np.concatenate([p.times for p in parts] or [np.empty(0)])[order],
        np.concatenate(neurons or [nothing])[order],
        sum((p.offsets for p in parts), np.zeros(n_samples + 1, np.int64)),
        np.zeros(order.size, np.int64),
    )
    return joined, order


def _solve_chunk(
    layers: tuple[Layer, ...], inputs: Chunk, n_samples: int, t_end: float
) -> tuple[Chunk, list[tuple[str, int, int, float]]]:
    chunk = dict(inputs)
    doubts: list[tuple[str, int, int, float]] = []
    for layer in layers:
        name = layer.population.name
        chunk[name], samples, neurons, times = layered.march(
            layer.neurons,
            layer.afferents,
            layer.cohorts,
            layer.n_sources,
            gather(layer, chunk, n_samples)[0],
            t_end,
        )
        doubts.extend(
            zip([name] * samples.size, samples.tolist(), neurons.tolist(), times.tolist(), strict=True)
        )
    return chunk, doubts


def _input_chunk(inputs: Mapping[str, SpikeTrains], low: int, high: int) -> Chunk:
    chunk = {}
    for name, trains in inputs.items():
        offsets = trains.offsets[low : high + 1]
        piece = slice(offsets[0], offsets[-1])
        times = trains.times[piece].copy()
        chunk[name] = Spikes(
            times, trains.neurons[piece].copy(), offsets - offsets[0], np.zeros(times.size, np.int64)
        )
    return chunk


def _joined(chunks: tuple[Chunk, ...], name: str, n_samples: int, n_neurons: int) -> SpikeTrains:
    parts = [chunk[name] for chunk in chunks]
    counts = np.concatenate([np.diff(p.offsets) for p in parts] or [np.empty(0, np.int64)])
    return SpikeTrains(
        np.concatenate([p.times for p in parts] or [np.empty(0)]),
        np.concatenate([p.neurons for p in parts] or [np.empty(0, np.int64)]),
        np.repeat(np.arange(n_samples), counts),
        n_samples,
        n_neurons,
    )


def _checked_inputs(network: Network, inputs: Mapping[str, SpikeTrains]) -> int:
    wanted = {name: p.size for name, p in network.populations.items() if p.neuron is None}
    for name in inputs:
        if name not in wanted:
            raise ValueError(f"inputs name {name!r}, which is not an input; the inputs are {sorted(wanted)}")
    sizes = {}
    for name, size in wanted.items():
        if name not in inputs:
            raise ValueError(f"inputs lack {name!r}; the inputs are {sorted(wanted)}")
        trains = inputs[name]
        if not isinstance(trains, SpikeTrains):
            raise TypeError(f"inputs[{name!r}] must be SpikeTrains; got {type(trains).__name__}")
        if trains.n_neurons != size:
            raise ValueError(f"inputs[{name!r}] must have {size} neurons; got {trains.n_neurons}")
        sizes[name] = trains.n_samples
    if len(set(sizes.values())) > 1:
        raise ValueError(f"inputs must have one number of samples; got {sizes}")
    return next(iter(sizes.values()), 1)
