"""A chunk of samples through all layers, and chunks joined to spike trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.chunks import joined
from eventsolve.frozen import FrozenMapping
from eventsolve.interrupts import call
from eventsolve.kernels.layered import forward
from eventsolve.kernels.recurrent import solve_queue
from eventsolve.kernels.tables import Spikes, States
from eventsolve.network import Network
from eventsolve.schedule import Layer
from eventsolve.solution import Chunk, Graze, gather, places_of
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State, initial_states


class Stop(NamedTuple):
    """Where a layer stopped before t_end, and the kernels' status that says why; stops are ordered by time."""

    time: float
    sample: int
    population: str
    neuron: int
    status: int
    layer: tuple[str, ...]


def solve_chunk(
    layers: tuple[Layer, ...], chunk: Chunk, after: float, t_end: float, max_spikes: int
) -> tuple[list[Graze], Stop | None]:
    """Fill in the chunk; return where float64 could not decide, and where and why a layer stopped early, if one did."""
    grazes: list[Graze] = []
    for layer in layers:
        start = chunk.start[layer.name]
        if layer.efferents is None:
            given = gather(layer, chunk).spikes
            ended, found, end, samples, neurons, times = call(
                forward,
                layer.neurons,
                layer.afferents,
                layer.groups,
                layer.n_sources,
                given,
                start,
                after,
                t_end,
                max_spikes,
            )
            chunk.spikes[layer.name[0]] = found
        else:
            given = gather(layer, chunk).spikes
            end = States(*(column.copy() for column in start))
            ended, found, samples, neurons, times = call(
                solve_queue,
                layer.neurons,
                layer.efferents,
                layer.n_external,
                given,
                end,
                after,
                t_end,
                max_spikes,
            )
            chunk.queued[layer.name] = found
            for name, places in places_of(layer, found).items():
                chunk.spikes[name] = spikes_of_population(found, places, layer.slice_of(name).start)
        chunk.end[layer.name] = end
        for sample, where, time in zip(samples.tolist(), neurons.tolist(), times.tolist(), strict=True):
            population, neuron = layer.neuron_of(where)
            grazes.append(Graze(population, sample, neuron, time))
        status, sample, where, time = ended
        if status:
            return grazes, Stop(float(time), sample, *layer.neuron_of(where), status, layer.name)
    return grazes, None


def spikes_of_population(own: Spikes, places: NDArray[np.int64], first: int) -> Spikes:
    """Return those of a layer's spikes that are at some places, their neurons numbered from ``first`` on."""
    samples = np.repeat(np.arange(own.offsets.size - 1), np.diff(own.offsets))[places]
    return Spikes(
        own.times[places],
        own.neurons[places] - first,
        np.searchsorted(samples, np.arange(own.offsets.size)),
        own.arrivals[places],
        own.trigger[places],
        own.low[places],
    )


def new_chunks(
    layers: tuple[Layer, ...], inputs: Mapping[str, SpikeTrains], initial: State | None
) -> Callable[[int, int], Chunk]:
    """Return what gives the chunk of samples low..high before anything is solved.

    Chunks of one size that begin at time 0 have the arrays of their start states in common.
    """

    @cache
    def at_0(n_samples: int) -> dict[tuple[str, ...], States]:
        return {layer.name: initial_states(layer, n_samples) for layer in layers}

    def chunk(low: int, high: int) -> Chunk:
        spikes = {name: _piece(trains, low, high) for name, trains in inputs.items()}
        if initial is None:
            return Chunk(high - low, spikes, {}, {}, at_0(high - low), {})
        carried = {
            name: _piece(trains, low, high, initial.low[name], initial.turns[name])
            for name, trains in initial.in_flight.items()
        }
        start = {layer.name: initial.taken_over("initial", layer, low, high) for layer in layers}
        return Chunk(high - low, spikes, carried, {}, start, {})

    return chunk


def _piece(
    trains: SpikeTrains,
    low: int,
    high: int,
    rests: NDArray[np.float64] | None = None,
    turns: NDArray[np.int64] | None = None,
) -> Spikes:
    offsets = trains.offsets[low : high + 1]
    piece = slice(offsets[0], offsets[-1])
    times = trains.times[piece].copy()
    return Spikes(
        times,
        trains.neurons[piece].copy(),
        offsets - offsets[0],
        np.zeros(times.size, np.int64) if turns is None else turns[piece].copy(),
        np.full(times.size, -1),
        np.zeros(times.size) if rests is None else rests[piece].copy(),
    )


def joined_trains(
    network: Network, inputs: Mapping[str, SpikeTrains], chunks: Sequence[Chunk], n_samples: int
) -> FrozenMapping[str, SpikeTrains]:
    """Return the spikes of all populations, inputs as they are."""
    return FrozenMapping(
        {
            name: inputs[name]
            if population.neuron is None
            else _joined(chunks, name, n_samples, population.size)
            for name, population in network.populations.items()
        }
    )


def _joined(chunks: Sequence[Chunk], name: str, n_samples: int, n_neurons: int) -> SpikeTrains:
    parts = [chunk.spikes[name] for chunk in chunks]
    nothing = np.empty(0, np.int64)
    counts = joined([p.offsets[1:] - p.offsets[:-1] for p in parts] or [nothing])
    return SpikeTrains._trusted(
        joined([p.times for p in parts] or [np.empty(0)]),
        joined([p.neurons for p in parts] or [nothing]),
        np.repeat(np.arange(n_samples), counts),
        n_samples,
        n_neurons,
    )
