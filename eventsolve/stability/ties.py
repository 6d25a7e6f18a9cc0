"""Events whose order matters and float64 cannot tell: solution.warnings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.interrupts import call
from eventsolve.kernels import ties as kernels
from eventsolve.kernels import trajectories
from eventsolve.solution import Chunk, Solution, places_of
from eventsolve.stability.margins import origins, source_of, spiking_layers

_EVENTS = {
    trajectories.SPIKE: "its own threshold crossing",
    trajectories.RELEASE: "the end of its refractory period",
    trajectories.ARRIVAL: "another arrival",
}


class Tie(NamedTuple):
    """Two events of a neuron that are too close for float64 to tell their order, which matters.

    Attributes
    ----------
    population, sample, neuron
        Of the neuron.
    time : float
        Seconds: when the first event is, in the order that was taken.
    event : str
        What that is, in words.
    source, source_neuron
        Whose spike arrives with it.
    arrival : float
        Seconds: when that does.
    """

    population: str
    sample: int
    neuron: int
    time: float
    event: str
    source: str
    source_neuron: int
    arrival: float

    def __str__(self) -> str:
        return (
            f"neuron {self.neuron} of {self.population!r} in sample {self.sample}: {self.event} at {self.time!r} s and "
            f"the arrival at {self.arrival!r} s of a spike of neuron {self.source_neuron} of {self.source!r} are too "
            "close for float64 to tell their order, which matters"
        )


def ties(solution: Solution, *, threads: int | None = None) -> tuple[Tie, ...]:
    """Return the ties of a solution, by sample, then time: those of computed times, whose order matters.

    Where all terms of two times are given numbers, or they go back to one threshold crossing, their order is exact
    and they are none.
    """
    ranges = chunk_ranges(solution.n_samples)

    def work(k: int) -> list[Tie]:
        return _of_chunk(solution, solution._chunks[k], ranges[k][0])

    found = [tie for part in map_chunks(work, len(solution._chunks), threads) for tie in part]
    if solution.stopped is not None:
        until = solution.stopped.until
        found = [tie for tie in found if max(tie.time, tie.arrival) <= until[tie.sample]]
    return tuple(sorted(found, key=lambda tie: (tie.sample, tie.time)))


def _given(n: int) -> kernels.Roots:
    """Return the roots of n spikes whose times are sums of given numbers."""
    return kernels.Roots(np.full(n, kernels.GIVEN), np.zeros(n))


def _of_those(roots: kernels.Roots, places: NDArray[np.int64] | slice) -> kernels.Roots:
    return kernels.Roots(roots.numbers[places], roots.errors[places])


def _of_chunk(solution: Solution, chunk: Chunk, low: int) -> list[Tie]:
    roots = {name: _given(spikes.times.size) for name, spikes in chunk.spikes.items()}
    found: list[Tie] = []
    n_roots = 0
    for layer in spiking_layers(solution):
        run, gathered = solution.run_of(layer, chunk)
        own = run.own
        parts = [_given(size) if name is None else roots[name] for name, size in gathered.parts]
        given = kernels.Roots(
            np.concatenate([np.empty(0, np.int64), *(part.numbers for part in parts)]),
            np.concatenate([np.empty(0), *(part.errors for part in parts)]),
        )
        if gathered.order is not None:
            given = _of_those(given, gathered.order)
        numbers, labels, samples, own_roots = call(
            kernels.ties,
            layer.by_target,
            run,
            origins(layer, gathered, own),
            given,
            1 if layer.efferents is None else layer.efferents.delay.size,
            n_roots,
        )
        n_roots += own.times.size
        places = {layer.name[0]: slice(None)} if layer.efferents is None else places_of(layer, own)
        for name, place in places.items():
            roots[name] = _of_those(own_roots, place)
        sources, source_neurons = source_of(layer, gathered.spikes.neurons[labels[:, kernels.CAUSE]])
        for (time, arrival), (neuron, event, _), sample, source, of in zip(
            numbers.tolist(),
            labels.tolist(),
            samples.tolist(),
            sources.tolist(),
            source_neurons.tolist(),
            strict=True,
        ):
            population, number = layer.neuron_of(neuron)
            found.append(Tie(population, low + sample, number, time, _EVENTS[event], source, of, arrival))
    return found
