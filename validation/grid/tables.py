"""A network as the kernels take it: neurons of all populations numbered through, synapses by source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

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
from validation.grid.scheme import Factors, Propagators, factors, slopes
from validation.grid.steps import in_steps


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
            f, by = self.factors[name], slopes(population, self.time_step, self.propagators)
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


def levels_of(network: Network, time_step: float, transport: Mapping[Key, int]) -> list[list[str]]:
    """Return the populations of neurons in levels such that spikes that arrive in their own step do so at later ones.

    Each is a level of its own, or all are one where no spike does.

    Raises
    ------
    ValueError
        If there is no such order: a cycle takes no time.
    """
    index = {name: k for k, (name, p) in enumerate(network.populations.items()) if p.neuron is not None}
    graph = nx.DiGraph()
    graph.add_nodes_from(index)
    for key, p in network.projections.items():
        prompt = p.delay.size > 0 and int(in_steps(p.delay, time_step).min()) + transport[key] == 0
        if prompt and p.pre in index:
            graph.add_edge(p.pre, p.post)
    if not graph.edges:
        return [list(index)]
    try:
        return [[name] for name in nx.lexicographical_topological_sort(graph, index.get)]
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
    levels: Sequence[Sequence[str]],
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
    levels : sequence of sequence of str
        The populations of neurons, those that are computed together in one level, as :func:`levels_of` gives them.

    Raises
    ------
    ValueError
        If the number format cannot hold a weight or a parameter.
    """
    populations = list(network.populations.values())
    spiking = [network.population(name) for level in levels for name in level]
    inputs, firsts, n_inputs, n = {}, {}, 0, 0
    for p in populations:
        if p.neuron is None:
            inputs[p.name] = n_inputs
            n_inputs += p.size
    for p in spiking:
        firsts[p.name] = n
        n += p.size
    bounds = np.cumsum([0, *(sum(network.population(name).size for name in level) for level in levels)])
    rounded: dict[str, tuple[int, float]] = {}
    of_step = {p.name: factors(p, time_step, propagators) for p in spiking}
    neurons = _neurons(spiking, of_step, time_step, number, rounded)
    first_source = inputs | {name: n_inputs + first for name, first in firsts.items()}
    columns: list[tuple[Integers, Integers, Integers, Reals, Integers, Integers]] = []
    for index, projection in enumerate(network.projections.values()):
        size = projection.weights.size
        steps = in_steps(projection.delay, time_step)
        _note(rounded, f"delays of {projection.key}", projection.delay, steps, time_step)
        columns.append(
            (
                projection.sources + first_source[projection.pre],
                np.full(size, index),
                projection.targets + firsts[projection.post],
                as_number(f"weight of {projection.key}", projection.weights, number),
                steps + transport[projection.key],
                np.full(size, projection.synapse == "delta", dtype=np.int64),
            )
        )
    nothing: list[Any] = [np.empty(0, np.int64)] * 3 + [np.empty(0)] + [np.empty(0, np.int64)] * 2
    pre, place, post, weight, steps, delta = (np.concatenate(c) for c in zip(nothing, *columns, strict=True))
    order = np.lexsort((post, steps, place, pre))
    pre, place, post, weight, steps, delta = (c[order] for c in (pre, place, post, weight, steps, delta))
    begins = np.ones(pre.size, dtype=bool)
    begins[1:] = post[1:] != post[:-1] + 1
    for column in (pre, place, steps):
        begins[1:] |= column[1:] != column[:-1]
    first = np.flatnonzero(begins)
    posts = {p.name: k for k, p in enumerate(populations)}
    of_post = np.array([posts[p.post] for p in network.projections.values()], dtype=np.int64)
    group = {"one": np.zeros_like(place), "one per population": of_post[place] if place.size else place}.get(
        packets, place
    )
    synapses = Synapses(
        weight,
        np.searchsorted(pre[first], np.arange(n_inputs + n + 1)),
        first,
        post[first],
        np.diff(np.append(first, pre.size)),
        steps[first],
        delta[first] > 0,
        group[first],
        bounds.astype(np.int64),
        len(populations) + len(network.projections),
        n_inputs,
        int(steps.max(initial=0)),
        bool(delta.any()),
    )
    return Tables(network, neurons, synapses, inputs, firsts, order, time_step, propagators, of_step, rounded)


def _neurons(
    populations: list[Population],
    of_step: Mapping[str, Factors],
    time_step: float,
    number: Number,
    rounded: dict[str, tuple[int, float]],
) -> Neurons:
    columns: list[list[Any]] = [[] for _ in Neurons._fields]
    for p in populations:
        f = of_step[p.name]
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
    return Neurons(
        *(
            np.concatenate([nothing, *column]).astype(types.get(name, np.float64))
            for name, nothing, column in zip(Neurons._fields, empty, columns, strict=True)
        )
    )


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
    tables: Tables, inputs: Mapping[str, es.SpikeTrains], steps: Mapping[str, Integers], n_samples: int
) -> tuple[Events, Integers]:
    """Return all input spikes, and which of those of the inputs, one after the other, each of them is."""
    nothing = np.empty(0, np.int64)
    columns = [
        (inputs[name].samples, steps[name], inputs[name].neurons + first)
        for name, first in tables.inputs.items()
    ]
    samples, all_steps, sources = (np.concatenate(c) for c in zip((nothing,) * 3, *columns, strict=True))
    return events_of(samples, all_steps, sources, n_samples)
