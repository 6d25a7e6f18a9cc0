"""Parts of a solution that are small enough to look at the trajectories of all their neurons at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.chunks import SAMPLES_PER_CHUNK, chunk_ranges
from eventsolve.frozen import FrozenMapping
from eventsolve.interrupts import call
from eventsolve.kernels import distances
from eventsolve.kernels.tables import Spikes, States
from eventsolve.schedule import Layer
from eventsolve.solution import Chunk, Gathered, Solution, places_of
from eventsolve.stability.margins import origins
from eventsolve.typing import Integers, Reals

ENTRIES = 1 << 22
"""Synapses and arrivals of so many samples are looked at together that there are no more."""


class LayerPart(NamedTuple):
    """A layer of a part of a solution: its own spikes, those of its sources, and every sample's trajectories."""

    layer: Layer
    own: Spikes
    gathered: Gathered
    origin: Integers
    trajectories: list[distances.Trajectories]


def part_ranges(solution: Solution) -> list[tuple[int, int]]:
    """Return the sample ranges [low, high) of the parts, each within a chunk."""
    step = max(1, ENTRIES // _entries(solution))
    return [
        (a, min(a + step, high))
        for low, high in chunk_ranges(solution.n_samples)
        for a in range(low, high, step)
    ]


def _entries(solution: Solution) -> int:
    """Return the number of synapses and of arrivals of one sample, on average, at least 1."""
    total = 1
    for p in solution.network.projections.values():
        synapses, neurons = p.weights.size, max(solution.network.population(p.pre).size, 1)
        spikes = solution.spikes[p.pre].n_spikes / max(solution.n_samples, 1)
        total += synapses + int(spikes * synapses / neurons)
    return total


def part_of(solution: Solution, first: int, last: int) -> Solution:
    """Return the solution of the samples first to last, all of one chunk, alone."""
    chunk = solution._chunks[first // SAMPLES_PER_CHUNK]
    ranges = slice(first, last)
    first, last = first % SAMPLES_PER_CHUNK, (last - 1) % SAMPLES_PER_CHUNK + 1

    def spikes(all_spikes: Mapping[Any, Spikes]) -> dict[Any, Spikes]:
        return {name: _cut(s, first, last) for name, s in all_spikes.items()}

    def states(all_states: Mapping[Any, States]) -> dict[Any, States]:
        return {name: States(*(c[first:last] for c in s)) for name, s in all_states.items()}

    numbers = np.arange(ranges.start, ranges.stop)
    return solution._with(
        spikes=FrozenMapping({name: t.select(numbers) for name, t in solution.spikes.items()}),
        grazing=(),
        n_samples=last - first,
        _chunks=(
            Chunk(
                last - first,
                spikes(chunk.spikes),
                spikes(chunk.carried),
                spikes(chunk.queued),
                states(chunk.start),
                states(chunk.end),
            ),
        ),
    )


def _cut(spikes: Spikes, first: int, last: int) -> Spikes:
    piece = slice(spikes.offsets[first], spikes.offsets[last])
    return Spikes(
        spikes.times[piece],
        spikes.neurons[piece],
        spikes.offsets[first : last + 1] - spikes.offsets[first],
        spikes.arrivals[piece],
        spikes.trigger[piece],
        spikes.low[piece],
    )


def layer_part_of(part: Solution, layer: Layer) -> LayerPart:
    """Return the trajectories of all neurons of a layer."""
    chunk = part._chunks[0]
    run, gathered = part.run_of(layer, chunk)
    trajectories = [
        call(distances.trajectories_of, layer.by_target, run, sample) for sample in range(part.n_samples)
    ]
    return LayerPart(layer, run.own, gathered, origins(layer, gathered, run.own), trajectories)


def places_in(layer: Layer, own: Spikes) -> dict[str, NDArray[np.int64]]:
    """Return by population which of a layer's spikes are its own, in the order of its spike trains."""
    if layer.efferents is None:
        return {layer.name[0]: np.arange(own.times.size)}
    return places_of(layer, own)


def given(gathered: Gathered, moved: Mapping[str, Reals]) -> Reals:
    """Return a number for each spike of a layer's sources, 0 for those of the layer itself and of an earlier run."""
    parts = [np.zeros(size) if name is None else moved[name] for name, size in gathered.parts]
    joined = np.concatenate([*parts, np.empty(0)])
    return joined if gathered.order is None else joined[gathered.order]
