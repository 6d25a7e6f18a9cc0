"""What solve() gives: every spike, and from it voltages and currents at any time, and where to go on from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import (
    non_negative,
    real_array,
    require_mapping,
    require_one_of,
    seconds_array,
    shown,
)
from eventsolve.chunks import chunk_ranges
from eventsolve.frozen import Frozen, FrozenMapping, read_only
from eventsolve.interrupts import call
from eventsolve.kernels import trajectories
from eventsolve.kernels.cells import states_at
from eventsolve.kernels.tables import Run, Spikes, States
from eventsolve.kernels.times import time_after, time_later
from eventsolve.mean_voltages import is_readout, mean_voltages_of
from eventsolve.network import Network
from eventsolve.quadrature import Nodes, nodes_of
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary, ms, several
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State, delays_of, initial_states, longest_delays, neurons_of

if TYPE_CHECKING:
    from eventsolve.stability.ties import Tie


class Graze(NamedTuple):
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
    """Largest voltages of a readout, each (n_samples, n_neurons).

    Value, time in seconds, and the arrival that it moves with: -1 if none, -2 - arrival if the arrival lifts V to it.
    """

    value: NDArray[np.float64]
    time: NDArray[np.float64]
    arrival: NDArray[np.int64]


class SilentMaxima(NamedTuple):
    """Largest voltages of neurons that do not spike, each (n_silent,), by sample, then neuron; as in Maxima."""

    samples: NDArray[np.int64]
    neurons: NDArray[np.int64]
    value: NDArray[np.float64]
    time: NDArray[np.float64]
    arrival: NDArray[np.int64]


class UnderWay(NamedTuple):
    """Spikes that have not arrived everywhere, and of those of a cycle when they occurred, as in :class:`State`.

    ``places`` say which of the solution's spikes each is, -1 - k for the k-th of those under way at its start.
    """

    times: NDArray[np.float64]
    neurons: NDArray[np.int64]
    samples: NDArray[np.int64]
    low: NDArray[np.float64]
    turns: NDArray[np.int64]
    places: NDArray[np.int64]


class Stopped(NamedTuple):
    """That each sample was solved only to the first spikes of a population: ``until`` seconds, (n_samples,)."""

    population: str
    until: NDArray[np.float64]


class Chunk(NamedTuple):
    """A range of samples as kernels take it.

    ``spikes`` are by population, sorted by time, then neuron; ``queued`` those of layers that the event queue solved,
    in order of occurrence; ``carried`` those before the start that are still on their way, whose ``arrivals`` count
    them in order of occurrence. ``start`` and ``end`` are the states of the layers.
    """

    n_samples: int
    spikes: dict[str, Spikes]
    carried: Mapping[str, Spikes]
    queued: dict[tuple[str, ...], Spikes]
    start: dict[tuple[str, ...], States]
    end: dict[tuple[str, ...], States]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Solution(Frozen):
    """Every spike of a network on a batch of inputs, exact to the conditioning of each threshold crossing.

    Attributes
    ----------
    network : Network
    t_start, t_end : float
        Seconds; spikes in (t_start, t_end] are recorded, and those triggered at time 0.
    spikes : mapping of str to SpikeTrains
        By population, inputs included.
    grazing : tuple of Graze
        Peaks of which float64 cannot tell whether they reach the threshold.
    n_samples : int
        Size of the batch: that of the inputs, 1 for a network without any.
    stopped : Stopped or None
        How far each sample was solved by :func:`eventsolve.solve_first_spikes`; None where all were, to t_end.
    """

    network: Network
    t_start: float
    t_end: float
    spikes: Mapping[str, SpikeTrains]
    grazing: tuple[Graze, ...] = field(repr=False)
    n_samples: int
    after: float = field(repr=False)
    _chunks: tuple[Chunk, ...] = field(repr=False)
    stopped: Stopped | None = None

    def __init__(self, *parts: object, **named: object) -> None:
        """Refuse to be put together, or changed by ``dataclasses.replace``.

        Raises
        ------
        TypeError
        """
        kind = type(self).__name__
        raise TypeError(
            f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind} cannot be put together, nor a part of it replaced, as "
            "they were worked out together: solve or observe again with what is to change, and judge spikes from "
            "elsewhere by certify(solution, spikes=...)"
        )

    @classmethod
    def _trusted(
        cls,
        network: Network,
        t_start: float,
        t_end: float,
        spikes: FrozenMapping[str, SpikeTrains],
        grazing: tuple[Graze, ...],
        n_samples: int,
        after: float,
        chunks: tuple[Chunk, ...],
        stopped: Stopped | None = None,
    ) -> Self:
        """Return the solution whose spikes were joined from its chunks by the solver."""
        solution = cls.__new__(cls)
        vars(solution).update(
            network=network,
            t_start=t_start,
            t_end=t_end,
            spikes=spikes,
            grazing=grazing,
            n_samples=n_samples,
            after=after,
            _chunks=chunks,
            stopped=stopped,
        )
        return solution

    def _with(self, **parts: Any) -> Self:
        """Return this solution with other parts, which belong together."""
        made = type(self).__new__(type(self))
        vars(made).update({of.name: getattr(self, of.name) for of in fields(self)} | parts)
        return made

    def _summary(self) -> Summary:
        title = f"Solution({several(self.n_samples, 'sample')}, {self.t_start * 1e3:.6g} to {ms(self.t_end)})"
        rows: list[tuple[str, object]] = [
            (name, f"{several(t.n_spikes, 'spike')} of {several(t.n_neurons, 'neuron')}")
            for name, t in self.spikes.items()
            if getattr(self.network.population(name).neuron, "spiking", True)
        ]
        if self.stopped is not None:
            rows.append(("(stopped)", f"each sample at the first spikes of {self.stopped.population}"))
        if self.grazing:
            rows.append(("(undecided)", f"{several(len(self.grazing), 'peak')}; first, {self.grazing[0]}"))
        return title, rows

    @cached_property
    def chunks(self) -> tuple[Chunk, ...]:
        """The batch as kernels took it and left it, read-only."""
        chunks: tuple[Chunk, ...] = read_only(self._chunks)
        return chunks

    @cached_property
    def warnings(self) -> tuple[Graze | Tie, ...]:
        """Whatever float64 could not decide, and answered deterministically; empty for almost every network.

        Grazing peaks, and then :class:`~eventsolve.ties.Tie`: events too close to tell their order, which matters, if
        the time of one is computed. They are looked for when they are asked for.
        """
        from eventsolve.stability.ties import ties

        return (*self.grazing, *ties(self))

    @cached_property
    def final_state(self) -> State:
        """Where this solution stopped, for ``solve(..., initial=...)``."""
        self.require_whole("final_state")
        self.require_solved("final_state is that")
        in_flight, low, turns = {}, {}, {}
        for name, under_way in self.under_way.items():
            in_flight[name] = SpikeTrains._trusted(
                under_way.times,
                under_way.neurons,
                under_way.samples,
                self.n_samples,
                self.network.population(name).size,
            )
            low[name], turns[name] = under_way.low, under_way.turns
        states = {
            layer.name: States(
                *(
                    np.concatenate([*columns, np.empty((0, layer.size))])
                    for columns in zip(*(chunk.end[layer.name] for chunk in self._chunks), strict=True)
                )
            )
            if self._chunks
            else initial_states(layer, 0)
            for layer in layers_of(self.network)
        }
        return State(
            self.t_end,
            self.n_samples,
            in_flight,
            low,
            turns,
            states,
            neurons_of(self.network),
            delays_of(self.network),
        )

    @cached_property
    def under_way(self) -> Mapping[str, UnderWay]:
        """The spikes of ``final_state.in_flight``, by population."""
        delays = longest_delays({key: p.delay for key, p in self.network.projections.items()})
        return {name: self.arriving(name, longest) for name, longest in delays.items()}

    def voltage(self, population: str, times: ArrayLike) -> NDArray[np.float64]:
        """Return exact voltages at ``times`` in [t_start, t_end], (n_samples, n_neurons, n_times).

        At the time of a spike it is the voltage after the reset.
        """
        return self._states(population, times)[0]

    def current(self, population: str, times: ArrayLike) -> NDArray[np.float64]:
        """Return exact synaptic currents at ``times`` in [t_start, t_end], (n_samples, n_neurons, n_times).

        At the time of an arrival it is the current with the new weight.
        """
        return self._states(population, times)[1]

    def event_times(self, population: str) -> list[NDArray[np.float64]]:
        """Return, sample by sample, all times at which V or I of one of its neurons is not smooth, and both ends.

        Sorted, in seconds, in [t_start, t_end]: own spikes, the ends of refractory periods, and arrivals.
        """
        starts = self.start_states(population)
        trains = self.spikes[population]
        free = trains.times + self.network.population(population).parameter("t_ref")[trains.neurons]
        arrivals = []
        for p in self.network.afferents(population):
            order = np.argsort(p.sources, kind="stable")
            first = np.searchsorted(p.sources[order], np.arange(self.network.population(p.pre).size + 1))
            arrivals.append((self.arriving(p.pre), p.delay[order], first))
        found = []
        for s in range(self.n_samples):
            here = trains.samples == s
            times = [np.array([self.t_start, self.t_end]), trains.times[here], free[here], starts.free_at[s]]
            for (t, neurons, samples, low, *_), delays, first in arrivals:
                of = samples == s
                counts = np.diff(first)[neurons[of]]
                offsets = np.repeat(
                    first[neurons[of]] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts
                )
                after = delays[np.arange(counts.sum()) + offsets]
                times.append(time_later(np.repeat(t[of], counts), np.repeat(low[of], counts), after)[0])
            all_times = np.unique(np.concatenate(times))
            found.append(all_times[(all_times >= self.t_start) & (all_times <= self.t_end)])
        return found

    def maxima(self, population: str) -> Maxima:
        """Return the largest voltage of each LI neuron up to t_end, where it is first reached, and what it moves with.

        Raises
        ------
        ValueError
            If the population is not an LI readout: a spiking neuron's largest voltage is its threshold.
        """
        self.require_whole("maxima")
        neuron = self.network.population(population).neuron
        if neuron is None or neuron.spiking:
            self.layer(population)
            raise ValueError(f"maxima are of LI populations; {population!r} spikes")
        return self.largest_voltages(population)

    def silent_maxima(self, population: str) -> SilentMaxima:
        """Return the largest voltage of every LIF neuron in every sample in which it does not spike, as :meth:`maxima`.

        Raises
        ------
        ValueError
            If the population does not spike at all.
        """
        self.require_whole("maxima")
        neuron = self.network.population(population).neuron
        if neuron is None or not neuron.spiking:
            self.layer(population)
            raise ValueError(f"silent_maxima are of populations that spike; {population!r} is LI")
        silent = self.spikes[population].counts() == 0
        held = silent & (self.start_states(population).free_at > self.t_start)
        if held.any():
            sample, n = (int(k) for k in np.argwhere(held)[0])
            raise ValueError(
                f"neuron {n} of {population!r} in sample {sample} is held as this stream goes on, at {self.t_start!r} "
                "s, by a spike before; its largest voltage is not looked for: solve in one go, or go on later"
            )
        samples, neurons = at = np.nonzero(silent)
        found = self.largest_voltages(population)
        return SilentMaxima(samples, neurons, found.value[at], found.time[at], found.arrival[at])

    def largest_voltages(self, population: str) -> Maxima:
        """Return the largest voltages of a population as if no neuron of it spiked; NaN of those held at t_start."""
        layer = self.layer(population)
        place = layer.slice_of(population)
        parts = [
            call(
                trajectories.maxima,
                layer.by_target,
                self.run_of(layer, chunk)[0]._replace(start=self._starts(layer, chunk)),
            )
            for chunk in self._chunks
        ]
        n = layer.size
        empty = (np.empty((0, n)), np.empty((0, n)), np.empty((0, n), np.int64))
        return Maxima(*(np.concatenate(columns)[:, place] for columns in zip(empty, *parts, strict=True)))

    def _starts(self, layer: Layer, chunk: Chunk) -> States:
        """Return the states of a layer at t_start, where those of a stream that went on are of earlier events."""
        start = chunk.start[layer.name]
        if not (start.time < self.t_start).any():
            return start
        return States(*call(states_at, layer.neurons, start, self.t_start))

    def from_start(self) -> Solution:
        """Return the same solution, its neurons' states at the start those at t_start itself.

        V and I are rounded once more, so that solving on from them need not have the same bits.
        """
        if self.after < 0.0 or not any(  # from time 0, or from a state at t_start
            (start.time < self.t_start).any() for of in self._chunks for start in of.start.values()
        ):
            return self
        layers = layers_of(self.network)
        chunks = tuple(
            chunk._replace(start={layer.name: self._starts(layer, chunk) for layer in layers})
            for chunk in self._chunks
        )
        return self._with(_chunks=chunks)

    def mean_voltages(self, population: str, rate: float) -> NDArray[np.float64] | None:
        """Return the means 1/T int exp(-rate t/T) V(t) dt of a readout over the trial, rate >= 0, in closed form.

        (n_samples, n_neurons), t from the start of the trial; None of a population that spikes, which has none.
        """
        self.require_whole("a mean voltage")
        self.layer(population)
        rate = non_negative("rate", rate)
        return mean_voltages_of(self, population, rate) if is_readout(self, population) else None

    def nodes(self, population: str) -> Nodes:
        """Return where a running loss of a population is read, so that its mean over the trial is exact to rounding."""
        return nodes_of(self, population)

    def require_times(self, name: str, by_population: object) -> None:
        """Raise an error unless it is an array of a number for each spike of some populations."""
        require_mapping(name, by_population, "population to array")
        assert isinstance(by_population, Mapping)
        for population, values in by_population.items():
            require_one_of(f"a population of {name}", population, self.spikes)
            n_spikes = self.spikes[population].n_spikes
            if not isinstance(values, np.ndarray) or values.shape != (n_spikes,):
                got = f"shape {values.shape}" if isinstance(values, np.ndarray) else shown(values)
                raise ValueError(
                    f"{name}[{population!r}] must have an entry for each of the solution's {n_spikes} spikes; got {got}"
                )

    def require_losses(self, name: str, value: Any) -> None:
        """Raise an error unless it is a number, one for each sample, or None."""
        if value is not None and real_array(name, value).shape not in ((), (self.n_samples,)):
            raise ValueError(
                f"{name} must be a number, or one for each of {self.n_samples} samples; got {shown(value)}"
            )

    def require_whole(self, what: str) -> None:
        """Raise a ValueError that names what is asked for if samples were solved to their first spikes only."""
        if self.stopped is not None:
            raise ValueError(
                f"this solution ends with the first spikes of {self.stopped.population!r}, in some sample at "
                f"{float(self.stopped.until.min())!r} s; for {what} use eventsolve.solve"
            )

    def require_solved(self, what: str) -> None:
        """Raise a ValueError that says what is asked of the network's own spikes if some were given: here none were."""

    def without_slope(self, time: float) -> str:
        """Return what a neuron does whose spike at a time has no derivative."""
        return f"grazes its threshold at {time!r} s with no slope"

    def slopes_of_layer(self, k: int, layer: Layer) -> NDArray[np.float64]:
        """Return V' before every spike of a layer in chunk k, in 1/s; empty where I and the threshold say it."""
        return np.empty(0)

    def layer(self, population: str) -> Layer:
        """Return the layer that a population of neurons is in, or raise a ValueError that says why there is none."""
        self.network.population(population)
        for layer in layers_of(self.network):
            if population in layer.name:
                return layer
        raise ValueError(f"{population!r} is an input: it has no voltage")

    def states_at(
        self, population: str, times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return voltage and current at sorted times of each sample, (n_samples, n_times); see :meth:`voltage`."""
        if self.stopped is not None and (times > self.stopped.until[:, None]).any():
            self.require_whole("a voltage or current after that")
        layer = self.layer(population)
        place = layer.slice_of(population)
        shape = (self.n_samples, place.stop - place.start, times.shape[1])
        voltage, current = np.empty(shape), np.empty(shape)
        for chunk, (low, high) in zip(self._chunks, chunk_ranges(self.n_samples), strict=True):
            v, i = call(
                trajectories.sample_states,
                layer.by_target,
                self.run_of(layer, chunk)[0],
                times[low:high],
            )
            voltage[low:high], current[low:high] = v[:, place], i[:, place]
        return voltage, current

    def run_of(self, layer: Layer, chunk: Chunk) -> tuple[Run, Gathered]:
        """Return what a layer did in a chunk, as kernels take it, and whose spikes those of its sources are."""
        gathered = gather(layer, chunk)
        start = chunk.start[layer.name]
        return Run(gathered.spikes, own_spikes(layer, chunk), start, self.after, self.t_end), gathered

    def start_states(self, population: str) -> States:
        """Return the states with which a population's neurons began, each (n_samples, n_neurons)."""
        layer = self.layer(population)
        place = layer.slice_of(population)
        parts = [[column[:, place] for column in chunk.start[layer.name]] for chunk in self._chunks]
        empty = [np.empty((0, place.stop - place.start))] * len(States._fields)
        return States(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))

    def arriving(self, population: str, delay: float = math.inf) -> UnderWay:
        """Return a population's spikes that are under way for so long, past t_end, sample by sample."""
        parts, n_carried, n_spikes = [], 0, 0
        for chunk, (low, _) in zip(self._chunks, chunk_ranges(self.n_samples), strict=True):
            for part in _still_in_flight(self.network, chunk, population, low, self.t_end, delay):
                first = np.where(part.places < 0, -n_carried, n_spikes)
                parts.append(part._replace(places=part.places + first))
            n_spikes += chunk.spikes[population].times.size
            if population in chunk.carried:
                n_carried += chunk.carried[population].times.size
        nothing = np.empty(0, np.int64)
        empty = UnderWay(np.empty(0), nothing, nothing, np.empty(0), nothing, nothing)
        return UnderWay(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))

    def in_order(self, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return times sorted for every sample, (n_samples, n_times), and where each of those given went.

        Raises
        ------
        ValueError
            If one lies outside [t_start, t_end].
        """
        asked = seconds_array("times", times).reshape(-1)
        bad = ~((asked >= self.t_start) & (asked <= self.t_end))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"times must lie in [{self.t_start!r}, t_end = {self.t_end!r}]; entry {k} is {float(asked[k])!r}"
            )
        order = np.argsort(asked, kind="stable")
        everywhere = np.tile(
            asked[order], (self.n_samples, 1)
        )  # its own: kernels compile anew for a read-only view
        return everywhere, np.argsort(order, kind="stable")

    def _states(self, population: str, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self.layer(population)
        everywhere, back = self.in_order(times)
        voltage, current = self.states_at(population, everywhere)
        return voltage[..., back], current[..., back]


# -- spikes on their way from layer to layer -------------------------------------------------------------------


class Gathered(NamedTuple):
    """Spikes of all sources of a layer, sample by sample, source after source or in order of time, numbered through.

    ``order`` says where each came from in the concatenation of ``parts``, which names the population of each part and
    its number of spikes, None for spikes that cannot be moved any more; it is None where nothing moved. ``carried``
    names the population of each part that was under way at the start, None for others.
    """

    spikes: Spikes
    order: NDArray[np.int64] | None
    parts: tuple[tuple[str | None, int], ...]
    carried: tuple[str | None, ...]


def gather(layer: Layer, chunk: Chunk) -> Gathered:
    """Return the spikes of all sources of a layer; of a cyclic one its own too, those that are carried and new ones.

    For the event queue they are in order of time, exactly; those of one time by source, then in order of occurrence.
    """
    parts: list[tuple[str | None, int, Spikes]] = []
    carried: list[str | None] = []
    sources = list(zip(layer.sources, layer.source_offsets.tolist(), strict=False))
    for source, first in sources if layer.efferents is None else [sources[k] for k in layer.precedence]:
        if source in chunk.carried:
            parts.append((None, first, chunk.carried[source]))
            carried.append(source)
        parts.append((source, first, chunk.spikes[source]))
        carried.append(None)
    n_others = len(parts)
    if layer.cyclic:
        for name, first in zip(layer.name, layer.offsets.tolist(), strict=False):
            if name in chunk.carried:
                parts.append((None, layer.n_external + first, chunk.carried[name]))
                carried.append(name)
    n_earlier = len(parts)
    if layer.cyclic and layer.name in chunk.queued:
        parts.append((None, layer.n_external, chunk.queued[layer.name]))
        carried.append(None)
    names = tuple((name, part.times.size) for name, _, part in parts)
    if len(parts) == 1 and parts[0][1] == 0 and (layer.efferents is None or not parts[0][2].low.any()):
        return Gathered(parts[0][2], None, names, tuple(carried))
    nothing, nowhen = np.empty(0, np.int64), np.empty(0)
    samples, times, neurons, low = (
        np.concatenate(columns)
        for columns in zip(
            (nothing, nowhen, nothing, nowhen),
            *(
                (np.repeat(np.arange(chunk.n_samples), np.diff(p.offsets)), p.times, p.neurons + first, p.low)
                for _, first, p in parts
            ),
            strict=True,
        )
    )
    if layer.efferents is None:
        order = np.argsort(samples, kind="stable")
    else:
        group = np.repeat(
            [min(k, n_others) + (k >= n_earlier) for k in range(len(parts))],
            [p.times.size for _, _, p in parts],
        )
        turns = np.concatenate(
            [
                nothing,
                *(
                    p.arrivals if n_others <= k < n_earlier else np.zeros(p.times.size, np.int64)
                    for k, (_, _, p) in enumerate(parts)
                ),
            ]
        )
        order = np.lexsort((turns, group, low, times, samples))
    joined = Spikes(
        times[order],
        neurons[order],
        sum((p.offsets for _, _, p in parts), np.zeros(chunk.n_samples + 1, np.int64)),
        np.zeros(order.size, np.int64),
        np.full(order.size, -1),
        low[order],
    )
    return Gathered(joined, order, names, tuple(carried))


def own_spikes(layer: Layer, chunk: Chunk) -> Spikes:
    """Return the spikes of a layer, its neurons numbered through, in order of occurrence."""
    return chunk.queued[layer.name] if layer.efferents is not None else chunk.spikes[layer.name[0]]


def places_of(layer: Layer, own: Spikes) -> dict[str, NDArray[np.int64]]:
    """Return by population which of a layer's spikes are its own, by sample, time and neuron."""
    t, n = own.times, own.neurons
    ordered = (t[1:] > t[:-1]) | ((t[1:] == t[:-1]) & (n[1:] > n[:-1]))
    starts = own.offsets[1:-1]
    ordered[starts[(starts > 0) & (starts < t.size)] - 1] = True
    if ordered.all():  # as they are but for spikes at one time
        order = np.arange(t.size)
    else:
        samples = np.repeat(np.arange(own.offsets.size - 1), np.diff(own.offsets))
        order = np.lexsort((n, t, samples))
    block = np.searchsorted(layer.offsets, own.neurons[order], side="right") - 1
    return {name: order[block == k] for k, name in enumerate(layer.name)}


def _still_in_flight(
    network: Network, chunk: Chunk, name: str, low: int, t_end: float, delay: float
) -> list[UnderWay]:
    """Return a population's spikes that have not arrived everywhere, sample by sample."""
    spikes = chunk.spikes[name]
    turns = np.zeros(spikes.times.size, np.int64)
    for layer in layers_of(network):
        if name in layer.name and layer.efferents is not None:
            turns = places_of(layer, own_spikes(layer, chunk))[name]
    places = np.arange(spikes.times.size)
    sources = [(spikes, turns, places)]
    if name in chunk.carried:
        carried = chunk.carried[name]
        sources.insert(0, (carried, carried.arrivals, -1 - np.arange(carried.times.size)))
    found = []
    for sample in range(chunk.n_samples):
        for of, occurred, numbers in sources:
            piece = slice(of.offsets[sample], of.offsets[sample + 1])
            times, rests = of.times[piece], of.low[piece]
            arrival, rest = (
                time_later(times, rests, delay) if math.isfinite(delay) else (np.full(times.size, delay), 0.0)
            )
            late = (times <= t_end) & time_after(arrival, rest, t_end, 0.0)
            found.append(
                UnderWay(
                    times[late],
                    of.neurons[piece][late],
                    np.full(np.count_nonzero(late), low + sample),
                    rests[late],
                    occurred[piece][late],
                    numbers[piece][late],
                )
            )
    return found
