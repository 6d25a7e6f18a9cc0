"""solve(): from a network and its input spikes to the exact record of every spike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve import lives
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.layered import BUDGET, Spikes, States, march
from eventsolve.network import Network
from eventsolve.recurrent import solve_queue
from eventsolve.schedule import Layer, layers_of
from eventsolve.spiketrains import SpikeTrains

MAX_SPIKES = 10_000_000
"""Spikes that one sample of one layer may have unless told otherwise."""


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


class StoppedError(RuntimeError):
    """The solver stopped before t_end, at ``time`` in seconds, at a neuron of a population in one sample.

    ``solution`` is everything before that time, of all samples.
    """

    def __init__(
        self, why: str, population: str, neuron: int, sample: int, time: float, problem: Problem
    ) -> None:
        super().__init__(
            f"neuron {neuron} of {population!r} in sample {sample} {why} {time!r} s; "
            "the error's .solution holds everything before that time"
        )
        self.population, self.neuron, self.sample, self.time = population, neuron, sample, time
        self._problem = problem

    @cached_property
    def solution(self) -> Solution:
        """Everything before the time at which the solver stopped."""
        network, inputs, initial, max_spikes = self._problem
        before = math.nextafter(self.time, 0.0)
        try:
            return solve(network, inputs, before, initial=initial, max_spikes=max_spikes)
        except StoppedError as earlier:  # in another sample
            return earlier.solution


class SpikeBudgetError(StoppedError):
    """A sample has more spikes than ``max_spikes``, as a runaway loop has."""


class RepeatedSpikeError(StoppedError):
    """A neuron would spike twice at one time: its voltage is still, or to within float64 again, at its threshold."""


class Problem(NamedTuple):
    """What solve() was asked."""

    network: Network
    inputs: Mapping[str, SpikeTrains]
    initial: State | None
    max_spikes: int


class Maxima(NamedTuple):
    """Largest voltages of a readout, each (n_samples, n_neurons).

    Value, time in seconds, and the arrival that it rides on: -1 if none, -2 - arrival if the arrival lifts V to it.
    """

    value: NDArray[np.float64]
    time: NDArray[np.float64]
    arrival: NDArray[np.int64]


class Chunk(NamedTuple):
    """A range of samples as kernels take it.

    ``spikes`` are by population, sorted by time, then neuron; ``queued`` those of layers that the event queue solved,
    in order of occurrence; ``carried`` those before the start that are still on their way. ``start`` and ``end`` are
    the states of the layers.
    """

    n_samples: int
    spikes: dict[str, Spikes]
    carried: Mapping[str, Spikes]
    queued: dict[tuple[str, ...], Spikes]
    start: dict[tuple[str, ...], States]
    end: dict[tuple[str, ...], States]


@dataclass(frozen=True, eq=False)
class State:
    """Where a solution stopped, for :func:`solve` to go on from, bit for bit as if it had not stopped.

    Attributes
    ----------
    time : float
        Seconds: the solution's t_end.
    n_samples : int
    on_the_way : mapping of str to SpikeTrains
        Spikes up to then that have synapses over which they have not arrived.
    layers : mapping of population names to States
        Every neuron's state after its last event.
    """

    time: float
    n_samples: int
    on_the_way: Mapping[str, SpikeTrains]
    layers: Mapping[tuple[str, ...], States] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Solution:
    """Every spike of a network on a batch of inputs, exact to the conditioning of each threshold crossing.

    Attributes
    ----------
    network : Network
    t_start, t_end : float
        Seconds; spikes in (t_start, t_end] are recorded, and those triggered at time 0.
    spikes : mapping of str to SpikeTrains
        By population, inputs included.
    warnings : tuple of Undecided
        Crossings that float64 could not decide. Empty for almost every network.
    n_samples : int
        Size of the batch: that of the inputs, 1 for a network without any.
    """

    network: Network
    t_start: float
    t_end: float
    spikes: Mapping[str, SpikeTrains]
    warnings: tuple[Undecided, ...]
    n_samples: int
    after: float = field(repr=False)
    chunks: tuple[Chunk, ...] = field(repr=False)

    @cached_property
    def final_state(self) -> State:
        """Where this solution stopped, for ``solve(..., initial=...)``."""
        delays: dict[str, float] = {}
        for p in self.network.projections.values():
            delays[p.pre] = max(delays.get(p.pre, 0.0), float(p.delay.max(initial=0.0)))
        on_the_way = {}
        for name, longest in delays.items():
            times, neurons, samples = self.arriving(name, longest)
            on_the_way[name] = SpikeTrains(
                times, neurons, samples, self.n_samples, self.network.population(name).size
            )
        states = {
            layer.name: States(
                *(
                    np.concatenate([*columns, np.empty((0, layer.size))])
                    for columns in zip(*(chunk.end[layer.name] for chunk in self.chunks), strict=True)
                )
            )
            if self.chunks
            else _initial_states(layer, 0)
            for layer in layers_of(self.network)
        }
        return State(self.t_end, self.n_samples, MappingProxyType(on_the_way), MappingProxyType(states))

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

    def maxima(self, population: str) -> Maxima:
        """Return the largest voltage of each LI neuron up to t_end, where it is first reached, and what it rides on.

        Raises
        ------
        ValueError
            If the population is not an LI readout: a spiking neuron's largest voltage is its threshold.
        """
        layer = self.layer(population)
        neuron = self.network.population(population).neuron
        if neuron is None or neuron.spiking:
            raise ValueError(f"maxima are of LI populations; {population!r} spikes")
        n = layer.size
        parts = [
            lives.maxima(
                layer.neurons,
                layer.afferents,
                layer.cohorts,
                layer.n_sources,
                gather(layer, chunk).spikes,
                chunk.start[layer.name],
                self.after,
                self.t_end,
            )
            for chunk in self.chunks
        ]
        empty = (np.empty((0, n)), np.empty((0, n)), np.empty((0, n), np.int64))
        return Maxima(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))

    def layer(self, population: str) -> Layer:
        """Return the layer that a population of neurons is in, or raise a ValueError that says why there is none."""
        for layer in layers_of(self.network):
            if population in layer.name:
                return layer
        self.network.population(population)
        raise ValueError(f"{population!r} is an input: it has no voltage")

    def states_at(
        self, population: str, times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return voltage and current at sorted times of each sample, (n_samples, n_times); see :meth:`voltage`."""
        layer = self.layer(population)
        place = layer.slice_of(population)
        shape = (self.n_samples, place.stop - place.start, times.shape[1])
        voltage, current = np.empty(shape), np.empty(shape)
        for chunk, (low, high) in zip(self.chunks, chunk_ranges(self.n_samples), strict=True):
            v, i = lives.sample_states(
                layer.neurons,
                layer.afferents,
                layer.cohorts,
                layer.n_sources,
                gather(layer, chunk).spikes,
                chunk.start[layer.name],
                self.after,
                own_spikes(layer, chunk),
                self.t_end,
                times[low:high],
            )
            voltage[low:high], current[low:high] = v[:, place], i[:, place]
        return voltage, current

    def start_states(self, population: str) -> States:
        """Return the states with which a population's neurons began, each (n_samples, n_neurons)."""
        layer = self.layer(population)
        place = layer.slice_of(population)
        parts = [[column[:, place] for column in chunk.start[layer.name]] for chunk in self.chunks]
        empty = [np.empty((0, place.stop - place.start))] * 4
        return States(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))

    def arriving(
        self, population: str, delay: float = math.inf
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return (times, neurons, samples) of a population's spikes that are under way for so long, past t_end."""
        parts = [
            part
            for chunk, (low, _) in zip(self.chunks, chunk_ranges(self.n_samples), strict=True)
            for part in _still_on_the_way(chunk, population, low, self.t_end, delay)
        ]
        nothing = (np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
        times, neurons, samples = (np.concatenate(columns) for columns in zip(nothing, *parts, strict=True))
        return times, neurons, samples

    def _states(self, population: str, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self.layer(population)
        asked = np.array(times, dtype=np.float64).reshape(-1)
        bad = ~((asked >= self.t_start) & (asked <= self.t_end))
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"times must lie in [{self.t_start!r}, t_end = {self.t_end!r}]; entry {k} is {float(asked[k])!r}"
            )
        order = np.argsort(asked, kind="stable")
        back = np.argsort(order, kind="stable")
        everywhere = np.ascontiguousarray(np.broadcast_to(asked[order], (self.n_samples, asked.size)))
        voltage, current = self.states_at(population, everywhere)
        return voltage[..., back], current[..., back]


def solve(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    *,
    initial: State | None = None,
    max_spikes: int = MAX_SPIKES,
    threads: int | None = None,
) -> Solution:
    """Solve a network exactly.

    Parameters
    ----------
    network : Network
        Cannot be changed afterwards.
    inputs : mapping of str to SpikeTrains
        For every input of the network, all with the same number of samples. Spikes after t_end have no effect.
    t_end : float
        Seconds, >= 0.
    initial : State, optional
        Where a solution of this network, or of one with other numbers, stopped: ``solution.final_state``. Time goes on
        from there, so that inputs and t_end lie after it. By default V and I are the neurons' v_initial and
        i_initial at time 0.
    max_spikes : int
        How many spikes a sample may have in a population, or in the populations of a cycle.
    threads : int, optional
        Default: one per usable core. The result has the same bits for any number.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If inputs are missing, unknown, of the wrong size or of different batch sizes, t_end is not finite and >= 0, or
        the initial state does not fit.
    SpikeBudgetError
        If a sample has more than max_spikes, as a runaway loop has.
    RepeatedSpikeError
        If a neuron would spike twice at one time.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {network!r}")
    t_end = checked_duration(t_end)
    if isinstance(max_spikes, bool) or not isinstance(max_spikes, int) or max_spikes < 0:
        raise ValueError(f"max_spikes must be an integer >= 0; got {max_spikes!r}")
    n_samples = _checked_inputs(network, inputs)
    layers = layers_of(network)
    if initial is not None:
        _check_initial(network, layers, inputs, n_samples, initial, t_end)
    after, t_start = (-1.0, 0.0) if initial is None else (initial.time, initial.time)
    ranges = chunk_ranges(n_samples)
    chunks = [_chunk(layers, inputs, initial, low, high) for low, high in ranges]
    results = list(
        map_chunks(lambda k: _solve_chunk(layers, chunks[k], after, t_end, max_spikes), len(ranges), threads)
    )
    stops = [
        (when, low + sample, layer, where, status)
        for (low, _), (_, found) in zip(ranges, results, strict=True)
        for layer, (status, sample, where, when) in found
    ]
    if stops:
        time, sample, layer, where, status = min(stops, key=lambda stop: stop[:2])
        population, neuron = layer.neuron_of(where)
        problem = Problem(network, inputs, initial, max_spikes)
        if status == BUDGET:
            why = f"makes more than max_spikes = {max_spikes} spikes of {', '.join(layer.name)} at"
            raise SpikeBudgetError(why, population, neuron, sample, time, problem)
        raise RepeatedSpikeError("would spike twice at", population, neuron, sample, time, problem)
    warnings = tuple(
        Undecided(layer.neuron_of(where)[0], low + sample, layer.neuron_of(where)[1], time)
        for (low, _), (doubts, _) in zip(ranges, results, strict=True)
        for layer, sample, where, time in doubts
    )
    spikes = {
        name: inputs[name] if population.neuron is None else _joined(chunks, name, n_samples, population.size)
        for name, population in network.populations.items()
    }
    return Solution(
        network, t_start, t_end, MappingProxyType(spikes), warnings, n_samples, after, tuple(chunks)
    )


def checked_duration(t_end: float) -> float:
    """Return t_end as a float, or raise a ValueError that says what is wrong with it."""
    try:
        value = float(t_end)
    except (TypeError, ValueError) as error:
        raise ValueError(f"t_end must be a number of seconds; got {t_end!r}") from error
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"t_end must be finite and >= 0; got {t_end!r}")
    return value


# -- spikes on their way from layer to layer -------------------------------------------------------------------


class Gathered(NamedTuple):
    """Spikes of all sources of a layer, sample by sample, source after source, numbered through.

    ``order`` says where each came from in the concatenation of ``parts``, which names the population of each part and
    its number of spikes, None for spikes that cannot be moved any more; it is None where nothing moved.
    """

    spikes: Spikes
    order: NDArray[np.int64] | None
    parts: tuple[tuple[str | None, int], ...]


def gather(layer: Layer, chunk: Chunk, own: Spikes | None = None) -> Gathered:
    """Return the spikes of all sources of a layer; of a cyclic one those of its own that are carried, and ``own``."""
    parts: list[tuple[str | None, int, Spikes]] = []
    for source, first in zip(layer.sources, layer.source_offsets.tolist(), strict=False):
        if source in chunk.carried:
            parts.append((None, first, chunk.carried[source]))
        parts.append((source, first, chunk.spikes[source]))
    if layer.cyclic:
        for name, first in zip(layer.name, layer.offsets.tolist(), strict=False):
            if name in chunk.carried:
                parts.append((None, layer.n_external + first, chunk.carried[name]))
        own = chunk.queued.get(layer.name) if own is None else own
        if own is not None:
            parts.append((None, layer.n_external, own))
    names = tuple((name, part.times.size) for name, _, part in parts)
    if len(parts) == 1 and parts[0][1] == 0:
        return Gathered(parts[0][2], None, names)
    nothing = np.empty(0, np.int64)
    samples = np.concatenate(
        [np.repeat(np.arange(chunk.n_samples), np.diff(p.offsets)) for _, _, p in parts] or [nothing]
    )
    order = np.argsort(samples, kind="stable")
    joined = Spikes(
        np.concatenate([p.times for _, _, p in parts] or [np.empty(0)])[order],
        np.concatenate([p.neurons + first for _, first, p in parts] or [nothing])[order],
        sum((p.offsets for _, _, p in parts), np.zeros(chunk.n_samples + 1, np.int64)),
        np.zeros(order.size, np.int64),
        np.full(order.size, -1),
    )
    return Gathered(joined, order, names)


def own_spikes(layer: Layer, chunk: Chunk) -> Spikes:
    """Return the spikes of a layer, its neurons numbered through, in order of occurrence."""
    return chunk.queued[layer.name] if layer.efferents is not None else chunk.spikes[layer.name[0]]


def places_of(layer: Layer, own: Spikes) -> dict[str, NDArray[np.int64]]:
    """Return by population which of a layer's spikes are its own, by sample, time and neuron."""
    samples = np.repeat(np.arange(own.offsets.size - 1), np.diff(own.offsets))
    order = np.lexsort((own.neurons, own.times, samples))
    block = np.searchsorted(layer.offsets, own.neurons[order], side="right") - 1
    return {name: order[block == k] for k, name in enumerate(layer.name)}


def _solve_chunk(
    layers: tuple[Layer, ...], chunk: Chunk, after: float, t_end: float, max_spikes: int
) -> tuple[list[tuple[Layer, int, int, float]], list[tuple[Layer, tuple[int, int, int, float]]]]:
    """Fill in the chunk; return where float64 could not decide, and where and why a layer stopped early."""
    doubts: list[tuple[Layer, int, int, float]] = []
    for layer in layers:
        start = chunk.start[layer.name]
        if layer.efferents is None:
            given = gather(layer, chunk).spikes
            ended, found, end, samples, neurons, times = march(
                layer.neurons,
                layer.afferents,
                layer.cohorts,
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
            ended, found, end, samples, neurons, times = solve_queue(
                layer.neurons, layer.efferents, layer.n_external, given, start, after, t_end, max_spikes
            )
            chunk.queued[layer.name] = found
            for name, places in places_of(layer, found).items():
                chunk.spikes[name] = _population_spikes(found, places, layer.slice_of(name).start)
        chunk.end[layer.name] = end
        doubts.extend(
            zip([layer] * samples.size, samples.tolist(), neurons.tolist(), times.tolist(), strict=True)
        )
        if ended[0]:
            return doubts, [(layer, ended)]
    return doubts, []


def _population_spikes(own: Spikes, places: NDArray[np.int64], first: int) -> Spikes:
    samples = np.repeat(np.arange(own.offsets.size - 1), np.diff(own.offsets))[places]
    return Spikes(
        own.times[places],
        own.neurons[places] - first,
        np.searchsorted(samples, np.arange(own.offsets.size)),
        own.arrivals[places],
        own.trigger[places],
    )


def _chunk(
    layers: tuple[Layer, ...], inputs: Mapping[str, SpikeTrains], initial: State | None, low: int, high: int
) -> Chunk:
    """Return the chunk of samples low..high before anything is solved."""
    spikes = {name: _piece(trains, low, high) for name, trains in inputs.items()}
    if initial is None:
        start = {layer.name: _initial_states(layer, high - low) for layer in layers}
        return Chunk(high - low, spikes, {}, {}, start, {})
    carried = {name: _piece(trains, low, high) for name, trains in initial.on_the_way.items()}
    start = {
        name: States(*(column[low:high] for column in states)) for name, states in initial.layers.items()
    }
    return Chunk(high - low, spikes, carried, {}, start, {})


def _initial_states(layer: Layer, n_samples: int) -> States:
    zero = np.zeros((n_samples, layer.size))
    u, i = (
        np.ascontiguousarray(np.broadcast_to(values, zero.shape))
        for values in (layer.neurons.v_initial - layer.neurons.v_leak, layer.neurons.i_initial)
    )
    return States(zero, u, i, zero)


def _piece(trains: SpikeTrains, low: int, high: int) -> Spikes:
    offsets = trains.offsets[low : high + 1]
    piece = slice(offsets[0], offsets[-1])
    times = trains.times[piece].copy()
    return Spikes(
        times,
        trains.neurons[piece].copy(),
        offsets - offsets[0],
        np.zeros(times.size, np.int64),
        np.full(times.size, -1),
    )


def _still_on_the_way(
    chunk: Chunk, name: str, low: int, t_end: float, delay: float
) -> list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
    """Return (times, neurons, samples) of a population's spikes that have not arrived everywhere, sample by sample."""
    sources = [chunk.carried[name]] if name in chunk.carried else []
    sources.append(chunk.spikes[name])
    found = []
    for sample in range(chunk.n_samples):
        for spikes in sources:
            piece = slice(spikes.offsets[sample], spikes.offsets[sample + 1])
            times, neurons = spikes.times[piece], spikes.neurons[piece]
            late = (times <= t_end) & (times + delay > t_end)
            found.append((times[late], neurons[late], np.full(np.count_nonzero(late), low + sample)))
    return found


def _joined(chunks: list[Chunk], name: str, n_samples: int, n_neurons: int) -> SpikeTrains:
    parts = [chunk.spikes[name] for chunk in chunks]
    counts = np.concatenate([np.diff(p.offsets) for p in parts] or [np.empty(0, np.int64)])
    return SpikeTrains(
        np.concatenate([p.times for p in parts] or [np.empty(0)]),
        np.concatenate([p.neurons for p in parts] or [np.empty(0, np.int64)]),
        np.repeat(np.arange(n_samples), counts),
        n_samples,
        n_neurons,
    )


def _check_initial(
    network: Network,
    layers: tuple[Layer, ...],
    inputs: Mapping[str, SpikeTrains],
    n_samples: int,
    initial: State,
    t_end: float,
) -> None:
    if not isinstance(initial, State):
        raise TypeError(f"initial must be the final_state of a solution; got {type(initial).__name__}")
    sizes = {layer.name: layer.size for layer in layers}
    given = {name: states.u.shape[1] for name, states in initial.layers.items()}
    if sizes != given:
        raise ValueError(f"initial must be of the same populations, {sizes}; got {given}")
    if initial.n_samples != n_samples:
        raise ValueError(f"initial has {initial.n_samples} samples, inputs have {n_samples}")
    if t_end < initial.time:
        raise ValueError(f"t_end must not be before the initial state's {initial.time!r} s; got {t_end!r}")
    for name, trains in inputs.items():
        if trains.n_spikes and trains.times.min() <= initial.time:
            raise ValueError(
                f"inputs[{name!r}] must lie after the initial state's {initial.time!r} s; "
                f"got a spike at {float(trains.times.min())!r} s"
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
