"""One value on a path: the solution there, the order of its events, and how near and fast every other order comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from eventsolve.dynamics.paths import Path
from eventsolve.interrupts import call
from eventsolve.kernels import distance_tangents, distances
from eventsolve.kernels.trajectories import ARRIVAL, ENDING, HELD, SPIKE
from eventsolve.patterns import Pattern, scales_of
from eventsolve.solution import Solution
from eventsolve.solve import solve
from eventsolve.stability.margins import rows_of, spiking_layers
from eventsolve.stability.parts import LayerPart, given, layer_part_of, places_in
from eventsolve.state import State
from eventsolve.tangents import jvp
from eventsolve.typing import Booleans, Integers, Reals

ROUNDINGS = 2.0**-44
"""Relative to the terms of which a difference is, or of which a time is made, below which it may be nothing."""


class Distances(NamedTuple):
    """All distances of a point, layer by layer: how far, when, how fast that changes with the value, and what it is.

    A distance is named by integers that are the same wherever the order of events is: its layer, kind and neuron, how
    often that has spiked before, and the arrival that it is about or that began its interval: synapse, and which spike
    of its source. ``labels`` are the kernel's, and the layer; ``causes`` are places among the spikes of its sources.
    """

    values: Reals
    slopes: Reals
    times: Reals
    names: Integers
    labels: Integers
    causes: Integers


class Point(NamedTuple):
    """A value on a path with all that is known of it.

    ``order`` says in which order every neuron has its events: of each spike the neuron and whether an arrival triggers
    it, of each arrival the synapse, which spike of its source it is, and between which spikes of its target it comes.
    ``tied`` are arrivals that come at one time with a spike or a release, whatever the value.
    """

    value: float
    solution: Solution
    spikes: dict[str, Integers]
    moved: Mapping[str, Reals]
    order: tuple[Integers, ...]
    tied: frozenset[tuple[int, ...]]
    distances: Distances

    @property
    def n_bytes(self) -> int:
        """About how much memory it takes: its arrays, and a solution that has four numbers for every spike."""
        arrays = (*self.spikes.values(), *self.moved.values(), *self.order, *self.distances)
        return sum(array.nbytes for array in arrays) + 32 * sum(a.size for a in self.spikes.values())


class PathProblem(NamedTuple):
    """What is solved at every value."""

    path: Path
    t_end: float
    initial: State | None
    max_spikes: int


def solved(task: PathProblem, value: float) -> Solution:
    """Return the solution at a value, or raise as :func:`eventsolve.solve` and :meth:`Path.at` do."""
    network, inputs = task.path.at(value)
    return solve(network, inputs, task.t_end, initial=task.initial, max_spikes=task.max_spikes, threads=1)


def point_at(task: PathProblem, value: float) -> Point:
    """Return all that is known at a value; errors as of :func:`solved` and :func:`eventsolve.jvp`."""
    solution = solved(task, value).from_start()
    direction = task.path.direction_at(value)
    moved = jvp(solution, shaped(direction, solution), threads=1).spike_times
    order: list[Integers] = []
    found = []
    for number, layer in enumerate(spiking_layers(solution)):
        layer_part = layer_part_of(solution, layer)
        heard = (layer.afferents.weight != 0.0) | (scales_of(layer, direction).weight != 0.0)
        order += _order(layer_part, heard)
        found.append(_distances(solution, layer_part, heard, direction, moved, number))
    joined = Distances(*(np.concatenate(columns) for columns in zip(_NOTHING, *found, strict=True)))
    spikes = {
        name: np.lexsort((trains.times, trains.neurons))
        for name, trains in solution.spikes.items()
        if solution.network.population(name).spiking
    }
    return Point(value, solution, spikes, moved, tuple(order), _ties(joined), joined)


def shaped(pattern: Pattern, solution: Solution) -> dict[str, dict[Any, Any]]:
    """Return numbers by name and key like what they are of."""
    projections = solution.network.projections
    return {
        name: {
            key: projections[key].shaped(values) if name in ("weight", "delay") else values
            for key, values in by_key.items()
        }
        for name, by_key in pattern.items()
    }


_NOTHING = Distances(
    np.empty(0),
    np.empty(0),
    np.empty(0),
    np.empty((0, 6), np.int64),
    np.empty((0, 7), np.int64),
    np.empty(0, np.int64),
)


def same_order(one: Point, other: Point) -> bool:
    """Return whether two points have their events in one order, but for those that are at one time anyway.

    An arrival that one of them has and the other does not, with the same spikes, passes t_end, which changes nothing.
    """
    for a, b in zip(one.order[::2], other.order[::2], strict=True):
        if not np.array_equal(a, b):
            return False
    tied = one.tied & other.tied
    for layer, (a, b) in enumerate(zip(one.order[1::2], other.order[1::2], strict=True)):
        if a.shape != b.shape:
            keys = [(arrivals[:, 0] << 32) + arrivals[:, 1] for arrivals in (a, b)]
            a, b = a[np.isin(keys[0], keys[1])], b[np.isin(keys[1], keys[0])]
        differ = np.flatnonzero((a != b).any(axis=1))
        if any((layer, *a[k, :2].tolist()) not in tied or (a[k, :2] != b[k, :2]).any() for k in differ):
            return False
    return True


def _order(layer_part: LayerPart, heard: Booleans) -> list[Integers]:
    """Return a layer's spikes, (n_spikes, 2), and arrivals, (n_arrivals, 3), as Point has them."""
    own, (trajectories,) = layer_part.own, layer_part.trajectories
    by_neuron = np.argsort(own.neurons, kind="stable")
    spikes = np.stack([own.neurons, own.trigger >= 0], axis=1)[by_neuron]
    before, arrives = _before(layer_part), trajectories.events[:, ENDING] == ARRIVAL
    arrives[arrives] = heard[trajectories.synapses[arrives]]
    slots = 2 * before[arrives] - trajectories.events[arrives, HELD]
    ordinals = _ordinals(layer_part.gathered.spikes.neurons)[trajectories.causes[arrives]]
    arrivals = np.stack([trajectories.synapses[arrives], ordinals, slots], axis=1)
    return [spikes, arrivals[np.lexsort(arrivals.T[::-1])]]


def _before(layer_part: LayerPart) -> Integers:
    """Return how often its neuron has spiked before each segment ends."""
    (trajectories,) = layer_part.trajectories
    spikes = np.concatenate([[0], np.cumsum(trajectories.events[:, ENDING] == SPIKE)])
    before = np.empty(trajectories.events.shape[0], np.int64)
    for first, last in zip(trajectories.first.tolist(), trajectories.last.tolist(), strict=True):
        before[first:last] = spikes[first:last] - spikes[first]
    return before


def _ordinals(neurons: Integers) -> Integers:
    """Return for spikes in the order of time how many of the same neuron came before."""
    order = np.argsort(neurons, kind="stable")
    ranked = neurons[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if ranked.size else ranked
    ordinals = np.empty(neurons.size, np.int64)
    ordinals[order] = np.arange(neurons.size) - np.repeat(starts, np.diff([*starts, neurons.size]))
    return ordinals


def _distances(
    solution: Solution,
    layer_part: LayerPart,
    heard: Booleans,
    direction: Pattern,
    moved: Mapping[str, Reals],
    number: int,
) -> Distances:
    """Return the distances of a layer."""
    layer, own, (trajectories,) = layer_part.layer, layer_part.own, layer_part.trajectories
    rows, _ = rows_of(solution, layer, solution._chunks[0], heard, np.iinfo(np.int64).max)
    own_moves = np.zeros(own.times.size)
    for name, place in places_in(layer, own).items():
        own_moves[place] = moved[name]
    sources = given(layer_part.gathered, moved)
    inside = layer_part.origin >= 0
    sources[inside] = own_moves[layer_part.origin[inside]]
    slopes, sizes = call(
        distance_tangents.tangents_of,
        layer.neurons,
        layer.afferents,
        trajectories,
        own.trigger,
        sources,
        own_moves,
        scales_of(layer, direction),
        rows.numbers,
        rows.labels,
    )
    labels, numbers = rows.labels, rows.numbers
    slopes[np.abs(slopes) <= ROUNDINGS * sizes] = 0.0
    counts = labels[:, distances.KIND] != distances.SLOPE
    neurons = labels[:, distances.NEURON]
    segments = trajectories.first[neurons] + labels[:, distances.SEGMENT]
    gaps = labels[:, distances.KIND] == distances.GAP
    about = trajectories.first[neurons] + labels[:, distances.OTHER]
    # what is below the threshold is told by the arrival before it, and that of a spike by the spike
    about[~gaps] = segments[~gaps] - 1
    about[(about < trajectories.first[neurons]) | (labels[:, distances.KIND] == distances.SURPLUS)] = -1
    synapses, causes = (
        np.where(about >= 0, column[about], -1) for column in (trajectories.synapses, trajectories.causes)
    )
    ordinal = np.append(_ordinals(layer_part.gathered.spikes.neurons), -1)[causes]
    whose = labels[:, distances.WHOSE]
    counted = np.where(
        whose >= 0, np.append(_ordinals(own.neurons), -1)[whose], _before(layer_part)[segments]
    )
    kind = 8 * labels[:, distances.KIND] + np.where(gaps, labels[:, distances.PLACE], 0)
    names = np.stack([np.full(kind.size, number), kind, neurons, counted, synapses, ordinal], axis=1)
    return Distances(
        numbers[counts, distances.VALUE],
        slopes[counts],
        numbers[counts, distances.TIME],
        names[counts],
        np.column_stack([labels, np.full(neurons.size, number)])[counts],
        rows.causes[counts],
    )


def _ties(distances_of: Distances) -> frozenset[tuple[int, ...]]:
    """Return the arrivals, by layer, synapse and spike, that are at one time with another event and stay there."""
    gaps = distances_of.labels[:, distances.KIND] == distances.GAP
    still = gaps & (distances_of.slopes == 0.0)
    still &= distances_of.values <= ROUNDINGS * np.abs(distances_of.times)
    return frozenset((n[0], n[4], n[5]) for n in distances_of.names[still].tolist())
