"""Where a gradient has two sides: events of one neuron at exactly one time, whose order matters to the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from eventsolve.chunks import chunk_ranges
from eventsolve.interrupts import call
from eventsolve.kernels import coincidences, trajectories
from eventsolve.kernels.tables import Sampled
from eventsolve.sampled import joined_samples
from eventsolve.schedule import Layer, layers_of
from eventsolve.solution import Chunk, Gathered, Solution, places_of
from eventsolve.stability.margins import origins, source_of
from eventsolve.typing import Integers, Key, Reals

_WORDS = {
    trajectories.END: "t_end",
    trajectories.SPIKE: "its spike",
    trajectories.RELEASE: "the end of its refractory period",
    trajectories.SAMPLED: "a sample of its voltage",
}


class OneSided(NamedTuple):
    """Two events of a neuron at one time whose order matters; a gradient is that of the order in which they stand.

    ``first`` and ``second`` say in words what they are.
    """

    population: str
    sample: int
    neuron: int
    time: float
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"{self.second} comes at the very time of {self.first} at neuron {self.neuron} of {self.population!r} in "
            f"sample {self.sample}, {self.time!r} s: the gradient is that of this order, and has another side or none"
        )


class Mover(NamedTuple):
    """What moves an event: a spike, by population and place in the solution, and a synapse's delay or t_ref.

    The spike is None if it cannot be moved, and the synapse if there is none.
    """

    spike: tuple[str, int] | None
    synapse: tuple[Key, int] | None
    release: bool


class Coincidence(NamedTuple):
    """A place where a gradient has two sides, and what moves the two events."""

    place: OneSided
    first: Mover
    second: Mover


def coincidences_of(
    solution: Solution,
    totals: Mapping[str, Reals],
    sampled: Sequence[Mapping[str, Sampled]],
    of_loss: Sequence[str],
) -> list[Coincidence]:
    """Return all that matter to a gradient, by sample, time, population and neuron.

    Parameters
    ----------
    solution : Solution
    totals : mapping of population to ndarray, (n_spikes,)
        dL/dt of every spike, with all that it changes.
    sampled : list of mapping of population to Sampled
        Of every chunk, where the loss reads voltages.
    of_loss : sequence of str
        Populations that the loss reads, also where that has no derivative.
    """
    contributing = _contributing(solution, totals, of_loss)
    found: list[Coincidence] = []
    solved = {name: _solved(solution, name) for name in solution.spikes}
    starts = dict.fromkeys(solution.spikes, 0)
    for chunk, here, (low, _) in zip(solution.chunks, sampled, chunk_ranges(solution.n_samples), strict=True):
        for layer in layers_of(solution.network):
            if not contributing.isdisjoint(layer.name):
                places = {
                    name: solved[name][starts[name] : starts[name] + spikes.times.size]
                    for name, spikes in chunk.spikes.items()
                }
                found += _of_layer(solution, layer, chunk, low, places, totals, here)
        for name, spikes in chunk.spikes.items():
            starts[name] += spikes.times.size
    if solution.stopped is not None:
        until = solution.stopped.until
        found = [tie for tie in found if tie.place.time <= until[tie.place.sample]]
    return sorted(found, key=lambda tie: (tie.place.sample, tie.place.time, tie.place[:4]))


def _contributing(solution: Solution, totals: Mapping[str, Reals], of_loss: Sequence[str]) -> set[str]:
    """Return the populations on which the loss may depend: those it reads or differentiates, and all before them."""
    names = set(of_loss) | {name for name, values in totals.items() if values.any()}
    while True:
        before = {p.pre for p in solution.network.projections.values() if p.post in names}
        if before <= names:
            return names
        names |= before


def _solved(solution: Solution, name: str) -> Integers:
    """Return which spikes of a population its chunks hold: all, but of inputs after their sample was stopped."""
    trains = solution.spikes[name]
    if solution.stopped is None:
        return np.arange(trains.n_spikes)
    return np.flatnonzero(trains.times <= solution.stopped.until[trains.samples])


def _of_layer(
    solution: Solution,
    layer: Layer,
    chunk: Chunk,
    low: int,
    numbers: Mapping[str, Integers],
    totals: Mapping[str, Reals],
    sampled: Mapping[str, Sampled],
) -> Iterator[Coincidence]:
    """Yield those of a layer in a chunk; ``numbers`` are those of its spikes in the solution, by population."""
    run, gathered = solution.run_of(layer, chunk)
    own = run.own
    places = places_of(layer, own)
    mine = np.zeros(own.times.size)
    own_place: list[tuple[str, int] | None] = [None] * own.times.size
    for name, place in places.items():
        mine[place] = totals[name][numbers[name]]
        for spike, number in zip(place.tolist(), numbers[name].tolist(), strict=True):
            own_place[spike] = (name, number)
    labels, times = call(
        coincidences.coincidences,
        layer.by_target,
        run,
        origins(layer, gathered, own),
        mine,
        joined_samples(layer, sampled, chunk.n_samples),
    )
    if not times.size:
        return
    source_place = _source_places(layer, gathered, numbers, own_place)
    keys = _keys(layer)
    for row, time in zip(labels.tolist(), times.tolist(), strict=True):
        population, neuron = layer.neuron_of(row[coincidences.NEURON])
        sides = []
        for column in (coincidences.FIRST, coincidences.SECOND):
            kind, spike, synapse = row[column : column + 3]
            if kind == trajectories.ARRIVAL:
                names, sender = source_of(layer, gathered.spikes.neurons[spike : spike + 1])
                word = f"an arrival from neuron {int(sender[0])} of {str(names[0])!r}"
                sides.append((word, Mover(source_place[spike], keys[synapse], False)))
            else:
                moved = own_place[spike] if spike >= 0 else None
                sides.append((_WORDS[kind], Mover(moved, None, kind == trajectories.RELEASE and spike >= 0)))
        (first, first_mover), (second, second_mover) = sides
        where = OneSided(population, low + row[coincidences.SAMPLE], neuron, time, first, second)
        yield Coincidence(where, first_mover, second_mover)


def _source_places(
    layer: Layer, gathered: Gathered, numbers: Mapping[str, Integers], own_place: list[tuple[str, int] | None]
) -> list[tuple[str, int] | None]:
    """Return which spike of the solution each spike of a layer's sources is, None for those of an earlier run."""
    found: list[tuple[str, int] | None] = []
    for name, size in gathered.parts:
        found += [None] * size if name is None else [(name, k) for k in numbers[name].tolist()]
    if layer.cyclic:
        found[len(found) - len(own_place) :] = own_place
    return found if gathered.order is None else [found[k] for k in gathered.order.tolist()]


def _keys(layer: Layer) -> list[tuple[Key, int]]:
    """Return the projection of each synapse of a layer, and its place there."""
    found: list[tuple[Key, int]] = [(("", ""), -1)] * layer.order.size
    for key, places in layer.by_projection(np.arange(layer.order.size, dtype=np.float64)).items():
        for k, synapse in enumerate(places.astype(np.int64).tolist()):
            found[synapse] = (key, k)
    return found
