"""margins(): how far a solution is from gaining, losing or reordering an event, and where it is nearest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.interrupts import call
from eventsolve.kernels import distances
from eventsolve.kernels.tables import Spikes
from eventsolve.kinds import require_shapes
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary, several
from eventsolve.solution import Chunk, Gathered, Solution
from eventsolve.typing import Integers, Reals

KINDS = ("voltage", "overshoot", "slope", "gap")
"""In the order of the kernel's kinds."""
_WHERE = {
    distances.AFTER_SPIKE: "after its spike",
    distances.BEFORE_SPIKE: "before its spike",
    distances.AFTER_RELEASE: "after its release",
    distances.BEFORE_RELEASE: "before its release",
    distances.BEFORE_ARRIVAL: "before one that it keeps from making it spike",
}


class Margin(NamedTuple):
    """One distance and its place; ``event`` is the other event of a gap, empty for other kinds."""

    kind: str
    population: str
    sample: int
    neuron: int
    time: float
    value: float
    event: str

    def __str__(self) -> str:
        who = f"neuron {self.neuron} of {self.population!r} in sample {self.sample}"
        if self.kind == "voltage":
            return f"{who} stays {self.value:.3g} below its threshold at {self.time!r} s"
        if self.kind == "overshoot":
            return f"{who} goes {self.value:.3g} beyond its threshold with its spike at {self.time!r} s"
        if self.kind == "slope":
            return f"{who} crosses its threshold at {self.value:.3g}/s with its spike at {self.time!r} s"
        return f"{who} has {self.event}, {self.value:.3g} s from {self.time!r} s"


@dataclass(frozen=True, eq=False, repr=False)
class Distances(Frozen):
    """Distances of one kind in one population, sorted by sample, then value; read-only parallel arrays.

    Attributes
    ----------
    values : ndarray of float64, (n,)
        See :class:`Margins` for what they are. One that float64 cannot tell from 0 may come out a few ulps below it.
    times : ndarray of float64, (n,)
        When, in seconds: of the peak, the spike, or the spike or release that has the gap.
    neurons, samples : ndarray of int64, (n,)
    n_samples : int
    """

    values: Reals
    times: Reals
    neurons: Integers
    samples: Integers
    n_samples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, values="n", times="n", neurons="n", samples="n")

    @cached_property
    def offsets(self) -> Integers:
        """Where each sample starts in the arrays, (n_samples + 1,)."""
        offsets = np.searchsorted(self.samples, np.arange(self.n_samples + 1))
        offsets.setflags(write=False)
        return offsets

    def least(self) -> Reals:
        """Return each sample's smallest value, (n_samples,), inf where there is none."""
        least = np.full(self.n_samples, np.inf)
        some = np.diff(self.offsets) > 0
        least[some] = self.values[self.offsets[:-1][some]]
        return least


@dataclass(frozen=True, eq=False, repr=False)
class Gaps(Distances):
    """Times between an arrival and a spike, a release or another arrival at its neuron, or from a last spike to t_end.

    ``times`` are those of the spike, the release, or the later of two arrivals.

    Attributes
    ----------
    other_times : ndarray of float64, (n,)
        When the arrival is, or t_end, in seconds.
    places : ndarray of int64, (n,)
        0 and 1 for an arrival after and before a spike, 2 and 3 after and before a release, 4 for t_end, 5 for an
        arrival before another one.
    sources : ndarray of str, (n,)
        The population from which the arrival (of two, the earlier one) comes, empty for t_end.
    source_neurons : ndarray of int64, (n,)
        The neuron there, -1 for t_end.
    """

    other_times: Reals
    places: Integers
    sources: NDArray[np.str_]
    source_neurons: Integers

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, times="n", other_times="n", places="n", sources="n", source_neurons="n")

    def event(self, k: int) -> str:
        """Return in words what is on the other side of a gap."""
        return where_in_words(int(self.places[k]), str(self.sources[k]), int(self.source_neurons[k]))


@dataclass(frozen=True, eq=False, repr=False)
class Margins(Frozen):
    """How far a solution is from another order of events. Each field is by spiking population.

    Events of a neuron are its spikes, the ends of its refractory periods and its arrivals, except those of weight 0;
    nothing after t_end is looked at. With ``nearest`` only so many of each kind, population and sample are kept.

    Attributes
    ----------
    voltage : mapping of str to Distances
        Spikes that nearly were: v_threshold - V where V is largest, of every interval between two events in which V is
        not held and does not reach the threshold. An interval in which V only falls, from where the interval before
        left it, has the peak of that one.
    overshoot : mapping of str to Distances
        Of every spike: V - v_threshold where V is largest after it, had it not been reset, up to the neuron's next
        arrival that neither it nor a later spike of the neuron itself sends: at a peak, without which the spike would
        vanish, or at the arrival, behind which it would pass. Of a spike that a delta synapse triggers: how far that
        lifts V beyond the threshold.
    slope : mapping of str to Distances
        V' at every spike that crosses the threshold, in the unit of V per second.
    gap : mapping of str to Gaps
        Seconds between every arrival and the spike or release before it, and the one after it, and between a neuron's
        last spike and t_end. What an arrival causes at once has no gap from it, nor has an own spike from its arrival
        at the same neuron. And between two arrivals over delta synapses if the earlier one, alone or with others
        between the two, keeps the later one from making the neuron spike.
    n_samples : int
    """

    voltage: Mapping[str, Distances]
    overshoot: Mapping[str, Distances]
    slope: Mapping[str, Distances]
    gap: Mapping[str, Gaps]
    n_samples: int

    @cached_property
    def least(self) -> Mapping[str, Reals]:
        """Each sample's smallest distance of each kind over all populations, (n_samples,), inf where there is none."""
        nothing = np.full(self.n_samples, np.inf)
        least: dict[str, Reals] = {
            kind: np.minimum.reduce([nothing, *(d.least() for d in getattr(self, kind).values())])
            for kind in KINDS
        }
        return FrozenMapping(least)

    def smallest(self, n: int = 1) -> dict[str, tuple[Margin, ...]]:
        """Return the n smallest distances of each kind in the whole batch, smallest first."""
        n = count("n", n)
        found = {}
        for kind in KINDS:
            pool = [
                (distance.values[k], place, k)
                for place, distance in enumerate(getattr(self, kind).values())
                for k in np.argsort(distance.values, kind="stable")[:n].tolist()
            ]
            names = list(getattr(self, kind))
            found[kind] = tuple(self._margin(kind, names[place], k) for _, place, k in sorted(pool)[:n])
        return found

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = []
        for kind in KINDS:
            every = getattr(self, kind)
            leads = {name: d.offsets[:-1][np.diff(d.offsets) > 0] for name, d in every.items()}
            places = {name: int(k[np.argmin(every[name].values[k])]) for name, k in leads.items() if k.size}
            firsts = [(float(every[name].values[k]), name, k) for name, k in places.items()]
            nearest = str(self._margin(kind, *min(firsts)[1:])) if firsts else "none"
            rows.append((kind, nearest))
        return f"Margins({several(self.n_samples, 'sample')}; the smallest of each kind)", rows

    def _margin(self, kind: str, population: str, k: int) -> Margin:
        d = getattr(self, kind)[population]
        return Margin(
            kind,
            population,
            int(d.samples[k]),
            int(d.neurons[k]),
            float(d.times[k]),
            float(d.values[k]),
            d.event(k) if isinstance(d, Gaps) else "",
        )


def margins(solution: Solution, *, nearest: int | None = None, threads: int | None = None) -> Margins:
    """Return how far a solution is from gaining, losing or reordering an event, at every place.

    Parameters
    ----------
    solution : Solution
    nearest : int, optional
        How many to keep of each kind, population and sample: those with the smallest distances.
    threads : int, optional
        As in ``solve``; the result has the same bits for any number.

    Raises
    ------
    TypeError
        If ``solution`` is not a Solution.
    ValueError
        If ``nearest`` is not an integer >= 1, or the solution ends with first spikes.
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {type(solution).__name__}")
    solution.require_whole("margins")
    solution.require_solved("margins are")
    layers = spiking_layers(solution)
    most = np.iinfo(np.int64).max if nearest is None else count("nearest", nearest, 1)
    ranges = chunk_ranges(solution.n_samples)

    def work(k: int) -> list[tuple[Rows, Gathered]]:
        chunk = solution._chunks[k]
        return [rows_of(solution, layer, chunk, layer.afferents.weight != 0.0, most) for layer in layers]

    columns: dict[str, dict[str, list[tuple[NDArray[np.generic], ...]]]] = {kind: {} for kind in KINDS}
    for layer in layers:
        for name in layer.name:
            for kind in KINDS:
                columns[kind][name] = [_columns(kind, layer, _NO_ROWS, np.empty(0, np.int64), name, 0)]
    for (low, _), results in zip(ranges, map_chunks(work, len(ranges), threads), strict=True):
        for layer, (rows, gathered) in zip(layers, results, strict=True):
            for name in layer.name:
                for kind in KINDS:
                    columns[kind][name].append(
                        _columns(kind, layer, rows, gathered.spikes.neurons, name, low)
                    )

    def joined(kind: str, record: Callable[..., Distances]) -> FrozenMapping[str, Distances]:
        found = {}
        for name, parts in columns[kind].items():
            values, times, neurons, samples, *rest = (np.concatenate(c) for c in zip(*parts, strict=True))
            found[name] = record(values, times, neurons, samples, solution.n_samples, *rest)
        return FrozenMapping(found)

    return Margins(
        joined("voltage", Distances),
        joined("overshoot", Distances),
        joined("slope", Distances),
        joined("gap", Gaps),  # type: ignore[arg-type]
        solution.n_samples,
    )


class Rows(NamedTuple):
    """What :func:`eventsolve.kernels.distances.distances` gives: one row for each distance, sample by sample."""

    numbers: Reals
    labels: Integers
    causes: Integers
    offsets: Integers


_NO_ROWS = Rows(np.empty((0, 4)), np.empty((0, 6), np.int64), np.empty(0, np.int64), np.zeros(1, np.int64))


def spiking_layers(solution: Solution) -> list[Layer]:
    """Return the layers that spike."""
    return [layer for layer in layers_of(solution.network) if any(p.spiking for p in layer.populations)]


def origins(layer: Layer, gathered: Gathered, own: Spikes) -> Integers:
    """Return which of the layer's own spikes each spike of its sources is, -1 for those of others."""
    origin = np.full(gathered.spikes.times.size, -1)
    if layer.cyclic:
        first = origin.size - own.times.size  # its own come last where they are joined
        place = np.arange(origin.size) if gathered.order is None else gathered.order
        origin[place >= first] = place[place >= first] - first
    return origin


def rows_of(
    solution: Solution, layer: Layer, chunk: Chunk, heard: NDArray[np.bool_], nearest: int
) -> tuple[Rows, Gathered]:
    """Return a chunk's distances in one layer, and the spikes of its sources; ``heard`` synapses make events."""
    run, gathered = solution.run_of(layer, chunk)
    origin = origins(layer, gathered, run.own)
    found = call(distances.distances, layer.by_target, run, heard, origin, layer.offsets, nearest)
    return Rows(*found), gathered


def where_in_words(place: int, source: str, source_neuron: int) -> str:
    """Return what is on the other side of a gap, and which side that is."""
    if place == distances.SPIKE_TO_END:
        return "its last spike before t_end"
    return f"an arrival from neuron {source_neuron} of {source!r} {_WHERE[place]}"


def source_of(layer: Layer, neurons: Integers) -> tuple[NDArray[np.str_], Integers]:
    """Return population and number of neurons numbered through the sources of a layer; empty and -1 for -1."""
    firsts = np.concatenate([[-1], layer.source_offsets[:-1], layer.n_external + layer.offsets[:-1]])
    names = np.array(["", *layer.sources, *layer.name])
    block = np.searchsorted(firsts, neurons, side="right") - 1
    return names[block], neurons - firsts[block] - (block == 0)


def _columns(
    kind: str, layer: Layer, rows: Rows, source_neurons: Integers, population: str, low: int
) -> tuple[NDArray[np.generic], ...]:
    """Return the columns of one kind and population, as Distances or Gaps take them."""
    place = layer.slice_of(population)
    neurons = rows.labels[:, distances.NEURON]
    chosen = rows.labels[:, distances.KIND] == KINDS.index(kind)
    chosen &= (neurons >= place.start) & (neurons < place.stop)
    samples = low + np.repeat(np.arange(rows.offsets.size - 1), np.diff(rows.offsets))[chosen]
    numbers, labels, causes = rows.numbers[chosen], rows.labels[chosen], rows.causes[chosen]
    common = (
        numbers[:, distances.VALUE].copy(),
        numbers[:, distances.TIME].copy(),
        labels[:, distances.NEURON] - place.start,
        samples,
    )
    if kind != "gap":
        return common
    numbered = np.full(causes.size, -1)
    numbered[causes >= 0] = source_neurons[causes[causes >= 0]]
    return (
        *common,
        numbers[:, distances.OTHER_TIME].copy(),
        labels[:, distances.PLACE].copy(),
        *source_of(layer, numbered),
    )
