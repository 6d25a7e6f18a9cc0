"""A network as the kernels take it: neurons of all populations numbered through, synapses by source."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve.network import Network, Population
from eventsolve.typing import Integers, Key, Reals
from validation.grid.flaws import Packets
from validation.grid.kernels.numbers import Number
from validation.grid.kernels.tables import (
    DECAY_MEM,
    DECAY_SYN,
    DRIVE,
    I_INITIAL,
    REFRACTORY,
    RESET,
    THRESHOLD,
    TRANSFER,
    V_INITIAL,
    Events,
    Neurons,
    Synapses,
)
from validation.grid.number import as_factor, as_number
from validation.grid.scheme import Factors, Propagators, Slopes, factors, slopes
from validation.grid.steps import InputRounding, in_steps, to_steps


@dataclass(frozen=True, eq=False)
class Tables:
    """A network as the kernels take it.

    Attributes
    ----------
    network : Network
    neurons : Neurons
    synapses : Synapses
    inputs, populations : mapping of str to int
        The first source of each input, and the first neuron of each population.
    order : ndarray of int64, (n_synapses,)
        Which synapse, by projection and then as :class:`eventsolve.network.Projection` has them, each of the kernels'
        is.
    time_step : float
    propagators : str
    factors : mapping of str to Factors
    rounded : mapping of str to (int, float)
        Of which delays and refractory periods how many are no whole numbers of steps, and by how many seconds at most
        they are moved.
    """

    network: Network
    neurons: Neurons
    synapses: Synapses
    inputs: Mapping[str, int]
    populations: Mapping[str, int]
    order: Integers
    time_step: float
    propagators: Propagators
    factors: Mapping[str, Factors]
    rounded: Mapping[str, tuple[int, float]]

    def by_projection(self, values: Reals) -> dict[Key, Any]:
        """Return values by synapse, (n_samples, n_synapses), in the layout of each weight, samples first."""
        ordered = np.take(values, np.argsort(self.order), axis=1)
        found, first = {}, 0
        for key, p in self.network.projections.items():
            found[key] = p.shaped(ordered[:, first : first + p.weights.size])
            first += p.weights.size
        return found

    def by_parameter(self, sums: Reals) -> dict[str, dict[str, Reals]]:
        """Return gradients by parameter and population, (n_samples, n_neurons), from those by quantities of a step."""
        found: dict[str, dict[str, Reals]] = {}
        for name, first in self.populations.items():
            population = self.network.population(name)
            f = self.factors[name]
            by = _slopes(_kept(population), self.time_step, self.propagators)
            of = sums[:, :, first : first + population.size]
            drive = of[:, DRIVE]
            moved = of[:, DECAY_MEM] - drive * population.parameter("v_leak")
            gradients = {
                "tau_mem": moved * by.decay_mem + of[:, TRANSFER] * by.transfer_by_mem,
                "tau_syn": of[:, DECAY_SYN] * by.decay_syn + of[:, TRANSFER] * by.transfer_by_syn,
                "v_leak": drive * (1 - f.decay_mem),
                "v_initial": of[:, V_INITIAL],
                "i_initial": of[:, I_INITIAL],
            }
            if population.spiking:
                gradients |= {
                    "v_threshold": of[:, THRESHOLD],
                    "v_reset": of[:, RESET],
                    "t_ref": of[:, REFRACTORY],
                }
            for parameter, values in gradients.items():
                found.setdefault(parameter, {})[name] = values
        return found


def transports(network: Network, transport: int, feedback: int) -> dict[Key, int]:
    """Return the steps of transport of every projection: with feedback, where it is part of a cycle of the network."""
    if not feedback:
        return dict.fromkeys(network.projections, transport)
    loops = {name: k for k, of in enumerate(nx.strongly_connected_components(network.graph)) for name in of}
    return {
        key: transport + (feedback if loops[p.pre] == loops[p.post] else 0)
        for key, p in network.projections.items()
    }


class _Kept:
    """An argument of a function whose last results are kept: the same as another one if their keys are equal.

    What it holds lives as long as it, so that a key may have the number that Python gives to a thing.
    """

    __slots__ = ("key", "of")

    def __init__(self, of: Any, *key: Any) -> None:
        self.of, self.key = of, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


LAST = 16
"""How many results are kept of each function: guesses at what is wrong change one part of a network after another."""
SMALL = 2**16
"""Most synapses, or input spikes, of which anything is kept."""


def _wired(network: Network, transport: Mapping[Key, int]) -> tuple[_Kept, ...]:
    """Return projections by their synapses and delays, whatever their weights, with the steps of transport."""
    found = []
    for key, p in network.projections.items():
        sparse = sp.issparse(p.weight)
        pattern = (p.row_offsets.tobytes(), p.sources.tobytes()) if sparse else p.weight.shape
        found.append(_Kept((p, transport[key]), key, p.synapse, pattern, id(p.delay), transport[key]))
    return tuple(found)


def _is_small(network: Network) -> bool:
    return sum(p.delay.size for p in network.projections.values()) <= SMALL


def levels_of(
    network: Network, time_step: float, transport: Mapping[Key, int]
) -> tuple[tuple[str, ...], ...]:
    """Return the populations of neurons in levels such that spikes that arrive in their own step do so at later ones.

    Each is a level of its own, or all are one where no spike does.

    Raises
    ------
    ValueError
        If there is no such order: a cycle takes no time.
    """
    names = tuple(name for name, p in network.populations.items() if p.neuron is not None)
    found = _levels_of if _is_small(network) else _levels_of.__wrapped__
    return found(names, _wired(network, transport), time_step)


@lru_cache(LAST)
def _levels_of(
    names: tuple[str, ...], wired: tuple[_Kept, ...], time_step: float
) -> tuple[tuple[str, ...], ...]:
    index = {name: k for k, name in enumerate(names)}
    graph = nx.DiGraph()
    graph.add_nodes_from(index)
    for p, transport in (kept.of for kept in wired):
        prompt = p.delay.size > 0 and int(in_steps(p.delay, time_step).min()) + transport == 0
        if prompt and p.pre in index:
            graph.add_edge(p.pre, p.post)
    if not graph.edges:
        return (names,)
    try:
        return tuple((name,) for name in nx.lexicographical_topological_sort(graph, index.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(name for name, _ in nx.find_cycle(graph))
        raise ValueError(
            f"with order 'current_first' a spike cannot arrive in its own step in a cycle ({cycle}); give transport or "
            "feedback a step, or the projections a delay"
        ) from None


def tables_of(
    network: Network,
    time_step: float,
    propagators: Propagators,
    transport: Mapping[Key, int],
    number: Number,
    packets: Packets,
    levels: tuple[tuple[str, ...], ...],
) -> Tables:
    """Return the tables of a network.

    Parameters
    ----------
    network : Network
    time_step : float
        Seconds.
    propagators : {"exact", "exponential", "euler"}
    transport : mapping of projection to int
        After how many steps a spike arrives, beyond its delay.
    number : Number
    packets : str
        As of :class:`validation.grid.flaws.Flaws`.
    levels : tuple of tuple of str
        The populations of neurons, those that are computed together in one level, as :func:`levels_of` gives them.

    Raises
    ------
    ValueError
        If the number format cannot hold a weight or a parameter.
    """
    sizes = tuple((p.name, p.size, p.neuron is None) for p in network.populations.values())
    wiring_of = _wiring if _is_small(network) else _wiring.__wrapped__
    wiring = wiring_of(sizes, _wired(network, transport), time_step, packets, levels)
    spiking = [network.population(name) for level in levels for name in level]
    neurons, of_step, rounded = _neurons(tuple(map(_kept, spiking)), time_step, propagators, number)
    held = [as_number(f"weight of {key}", p.weights, number) for key, p in network.projections.items()]
    return Tables(
        network,
        neurons,
        wiring.synapses._replace(weights=np.concatenate([np.empty(0), *held])[wiring.order]),
        wiring.inputs,
        wiring.populations,
        wiring.order,
        time_step,
        propagators,
        of_step,
        {**rounded, **wiring.rounded},
    )


class _Wiring(NamedTuple):
    """What of :class:`Tables` is the same whatever weights and neurons are; the synapses have no weights."""

    synapses: Synapses
    inputs: Mapping[str, int]
    populations: Mapping[str, int]
    order: Integers
    rounded: Mapping[str, tuple[int, float]]


@lru_cache(LAST)
def _wiring(
    sizes: tuple[tuple[str, int, bool], ...],
    wired: tuple[_Kept, ...],
    time_step: float,
    packets: Packets,
    levels: tuple[tuple[str, ...], ...],
) -> _Wiring:
    """Return where synapses are, of populations with their names, sizes, and whether they are inputs."""
    size_of = {name: size for name, size, _ in sizes}
    inputs, firsts, n_inputs, n = {}, {}, 0, 0
    for name, size, is_input in sizes:
        if is_input:
            inputs[name] = n_inputs
            n_inputs += size
    for name in itertools.chain(*levels):
        firsts[name] = n
        n += size_of[name]
    bounds = np.cumsum([0, *(sum(size_of[name] for name in level) for level in levels)])
    rounded: dict[str, tuple[int, float]] = {}
    first_source = inputs | {name: n_inputs + first for name, first in firsts.items()}
    columns: list[tuple[Integers, Integers, Integers, Integers, Integers]] = []
    for index, (projection, transport) in enumerate(kept.of for kept in wired):
        size = projection.delay.size
        steps = in_steps(projection.delay, time_step)
        _note(rounded, f"delays of {projection.key}", projection.delay, steps, time_step)
        columns.append(
            (
                projection.sources + first_source[projection.pre],
                np.full(size, index),
                projection.targets + firsts[projection.post],
                steps + transport,
                np.full(size, projection.synapse == "delta", dtype=np.int64),
            )
        )
    nothing: list[Any] = [np.empty(0, np.int64)] * 5
    pre, place, post, steps, delta = (np.concatenate(c) for c in zip(nothing, *columns, strict=True))
    order = np.lexsort((post, steps, place, pre))
    pre, place, post, steps, delta = (c[order] for c in (pre, place, post, steps, delta))
    begins = np.ones(pre.size, dtype=bool)
    begins[1:] = post[1:] != post[:-1] + 1
    for column in (pre, place, steps):
        begins[1:] |= column[1:] != column[:-1]
    first = np.flatnonzero(begins)
    posts = {name: k for k, (name, *_) in enumerate(sizes)}
    of_post = np.array([posts[kept.of[0].post] for kept in wired], dtype=np.int64)
    group = {"one": np.zeros_like(place), "one per population": of_post[place] if place.size else place}.get(
        packets, place
    )
    synapses = Synapses(
        np.empty(0),
        np.searchsorted(pre[first], np.arange(n_inputs + n + 1)),
        first,
        post[first],
        np.diff(np.append(first, pre.size)),
        steps[first],
        delta[first] > 0,
        group[first],
        bounds.astype(np.int64),
        len(sizes) + len(wired),
        n_inputs,
        int(steps.max(initial=0)),
        bool(delta.any()),
    )
    return _Wiring(synapses, inputs, firsts, order, rounded)


def _kept(population: Population) -> _Kept:
    return _Kept(population, population.name, population.size, id(population.neuron))


@lru_cache(LAST)
def _slopes(population: _Kept, time_step: float, propagators: Propagators) -> Slopes:
    return slopes(population.of, time_step, propagators)


@lru_cache(LAST)
def _neurons(
    populations: tuple[_Kept, ...], time_step: float, propagators: Propagators, number: Number
) -> tuple[Neurons, Mapping[str, Factors], Mapping[str, tuple[int, float]]]:
    """Return neurons, the factors of a step by population, and what is rounded, as :class:`Tables` has it."""
    of_step: dict[str, Factors] = {}
    rounded: dict[str, tuple[int, float]] = {}
    columns: list[list[Any]] = [[] for _ in Neurons._fields]
    for p in (kept.of for kept in populations):
        f = of_step[p.name] = factors(p, time_step, propagators)
        v_leak, t_ref = p.parameter("v_leak"), p.parameter("t_ref")
        held = in_steps(t_ref, time_step)
        _note(rounded, f"t_ref of {p.name!r}", t_ref, held, time_step)
        own = {
            name: as_number(f"{name} of population {p.name!r}", p.parameter(name), number)
            for name in ("v_threshold", "v_reset", "v_initial", "i_initial")
        }
        row = Neurons(
            decay_mem=as_factor(f.decay_mem, number),
            decay_syn=as_factor(f.decay_syn, number),
            transfer=as_factor(f.transfer, number),
            drive=as_number(f"v_leak of population {p.name!r}", (1 - f.decay_mem) * v_leak, number),
            feed=as_factor((1 - f.decay_syn) * p.parameter("tau_syn") / p.parameter("tau_mem"), number),
            rate_mem=1 / p.parameter("tau_mem"),
            rate_syn=1 / p.parameter("tau_syn"),
            v_leak=v_leak,
            t_ref=held,
            subtracts=np.full(p.size, getattr(p.neuron, "reset", "value") == "subtract"),
            **own,
        )
        for column, values in zip(columns, row, strict=True):
            column.append(values)
    empty = [np.empty(0)] * len(columns)
    types = {"t_ref": np.int64, "subtracts": np.bool_}
    neurons = Neurons(
        *(
            np.concatenate([nothing, *column]).astype(types.get(name, np.float64))
            for name, nothing, column in zip(Neurons._fields, empty, columns, strict=True)
        )
    )
    return neurons, of_step, rounded


def _note(
    rounded: dict[str, tuple[int, float]], what: str, times: Reals, steps: Integers, time_step: float
) -> None:
    """Note how many times are not whole numbers of steps, beyond their own rounding, and by how much at most."""
    off = np.abs(times - steps * time_step)
    count = int(np.count_nonzero(off > 2 * np.finfo(np.float64).eps * np.maximum(times, time_step)))
    if count:
        rounded[what] = (count, float(off.max()))


def events_of(
    samples: Integers, steps: Integers, places: Integers, n_samples: int
) -> tuple[Events, Integers]:
    """Return events by sample and step, and which of those given each of them is."""
    order = np.lexsort((places, steps, samples))
    bounds = np.searchsorted(samples[order], np.arange(n_samples + 1))
    return Events(bounds, steps[order], places[order]), order


def part(events: Events, low: int, high: int) -> tuple[Events, slice]:
    """Return the events of samples low .. high - 1, and which they are."""
    chosen = slice(int(events.bounds[low]), int(events.bounds[high]))
    bounds = events.bounds[low : high + 1] - events.bounds[low]
    return Events(bounds, events.steps[chosen], events.places[chosen]), chosen


def inputs_of(
    tables: Tables,
    inputs: Mapping[str, es.SpikeTrains],
    time_step: float,
    rounding: InputRounding,
    n_samples: int,
) -> tuple[Mapping[str, Integers], Events, Integers]:
    """Return the steps of the spikes of each input; all of them as events; and which of those given each of these is.

    Raises
    ------
    ValueError
        If two spikes of a neuron fall into one step.
    """
    every = tuple(
        _Kept((name, inputs[name]), name, id(inputs[name]), first) for name, first in tables.inputs.items()
    )
    small = sum(trains.n_spikes for trains in inputs.values()) <= SMALL
    return (_inputs_of if small else _inputs_of.__wrapped__)(every, time_step, rounding, n_samples)


@lru_cache(LAST)
def _inputs_of(
    inputs: tuple[_Kept, ...], time_step: float, rounding: InputRounding, n_samples: int
) -> tuple[Mapping[str, Integers], Events, Integers]:
    given, firsts = dict(kept.of for kept in inputs), {kept.of[0]: kept.key[2] for kept in inputs}
    steps = {name: to_steps(name, trains, time_step, rounding) for name, trains in given.items()}
    nothing = np.empty(0, np.int64)
    columns = [(t.samples, steps[name], t.neurons + firsts[name]) for name, t in given.items()]
    samples, all_steps, sources = (np.concatenate(c) for c in zip((nothing,) * 3, *columns, strict=True))
    return steps, *events_of(samples, all_steps, sources, n_samples)
