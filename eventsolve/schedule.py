"""From a network to the order in which it is solved: strongly connected components, sources before targets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.kernels.tables import Afferents, Cohorts, Efferents, Neurons, States
from eventsolve.network import Key, Network, Population, Projection, solving_order

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layer:
    """Populations that are solved together, with all that their kernels need: one, or those of a cycle.

    Their neurons are numbered through, those of ``populations[k]`` from ``offsets[k]``; so are the neurons of the
    sources, those of ``sources[k]`` from ``source_offsets[k]``.

    Attributes
    ----------
    sources : tuple of str
        Populations outside the layer that project here. The layer's own neurons follow behind them where it is cyclic.
    precedence : tuple of int
        The order of the sources in which spikes sent at one time act: inputs, then populations as they are solved.
    order : ndarray of int64, (n_synapses,)
        Where each synapse of ``afferents`` stands among the synapses of the projections, one projection after another.
    efferents : Efferents or None
        What the event queue needs; None where the layer has neither a cycle nor delta synapses, and is marched through.
    bundled : ndarray of int64, (n_synapses,), or None
        Where each synapse of ``efferents`` stands among those of ``afferents``.
    """

    populations: tuple[Population, ...]
    offsets: Integers
    projections: tuple[Projection, ...]
    sources: tuple[str, ...]
    source_offsets: Integers
    precedence: tuple[int, ...]
    cyclic: bool
    neurons: Neurons
    afferents: Afferents
    cohorts: Cohorts
    order: Integers
    efferents: Efferents | None
    bundled: Integers | None

    @cached_property
    def name(self) -> tuple[str, ...]:
        """Names of the populations."""
        return tuple(population.name for population in self.populations)

    @cached_property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.offsets[-1])

    @cached_property
    def n_external(self) -> int:
        """Number of source neurons outside the layer."""
        return int(self.source_offsets[-1])

    @cached_property
    def n_sources(self) -> int:
        """Number of source neurons, those of the layer itself included if it is cyclic."""
        return self.n_external + (self.size if self.cyclic else 0)

    @cached_property
    def slices(self) -> Mapping[str, slice]:
        """The place of every population's neurons among those of the layer."""
        return {
            name: slice(a, b)
            for name, (a, b) in zip(self.name, itertools.pairwise(self.offsets.tolist()), strict=True)
        }

    def slice_of(self, population: str) -> slice:
        """Return the place of a population's neurons among those of the layer."""
        return self.slices[population]

    def neuron_of(self, number: int) -> tuple[str, int]:
        """Return the population of one of the layer's neurons, and its number there."""
        k = int(np.searchsorted(self.offsets, number, side="right")) - 1
        return self.name[k], number - int(self.offsets[k])

    def by_projection(self, values: NDArray[np.float64]) -> dict[Key, NDArray[np.float64]]:
        """Split values per synapse, (..., n_synapses) in the order of ``afferents``, by projection key."""
        return {key: values[..., place] for key, place in self._synapses.items()}

    def bundles_by_projection(self, values: NDArray[np.float64]) -> dict[Key, NDArray[np.float64]]:
        """Split values per synapse, (..., n_synapses) in the order of ``efferents``, by projection key."""
        return {key: values[..., place] for key, place in self._bundled_synapses.items()}

    @cached_property
    def _synapses(self) -> Mapping[Key, slice | Integers]:
        """Where every projection's synapses are in ``afferents``, in the projection's own order."""
        if len(self.projections) == 1:
            return {self.projections[0].key: slice(None)}  # which is by target already
        return self._by_key(self.order)

    @cached_property
    def _bundled_synapses(self) -> Mapping[Key, Integers]:
        """The same of those of ``efferents``."""
        assert self.bundled is not None
        return self._by_key(self.order[self.bundled])

    def _by_key(self, order: Integers) -> dict[Key, Integers]:
        """Return by key which synapses are a projection's, of which ``order`` says where they stand among all."""
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        stops = np.cumsum([p.weights.size for p in self.projections])
        return {
            p.key: place[stop - p.weights.size : stop]
            for p, stop in zip(self.projections, stops, strict=True)
        }

    @cached_property
    def parameters(self) -> tuple[tuple[str, str, int, slice], ...]:
        """(parameter, population, row of the kernels' gradients, place of its neurons) for each that a neuron has."""
        return tuple(
            (name, population.name, row, self.slice_of(population.name))
            for population in self.populations
            for row, name in enumerate(Neurons._fields[:-1])
            if hasattr(population.neuron, name)
        )

    @cached_property
    def slowest(self) -> float:
        """The longest time constant of a neuron, in seconds; 0 without neurons."""
        return float(max(self.neurons.tau_mem.max(initial=0.0), self.neurons.tau_syn.max(initial=0.0)))

    @cached_property
    def longest_delay(self) -> float:
        """In seconds, over all synapses; 0 without any."""
        return float(self.afferents.delay.max(initial=0.0))

    @cached_property
    def initial(self) -> States:
        """The states of one sample at time 0."""
        zero = np.zeros((1, self.size))
        u = self.neurons.v_initial - self.neurons.v_leak
        return States(zero, u[None], self.neurons.i_initial[None], zero, zero, zero)


def layers_of(network: Network) -> tuple[Layer, ...]:
    """Return the network's layers, sources before targets; this freezes the network, and is done once."""
    if network.layers is None:
        network.freeze()
        graph = network.graph
        inputs = [name for name, population in network.populations.items() if population.neuron is None]
        solved = solving_order(
            (name for name in network.populations if name not in inputs), (edge[:2] for edge in graph.edges)
        )
        rank = {name: k for k, name in enumerate(itertools.chain(inputs, *solved))}
        network.layers = tuple(
            _layer(network, names, rank, cyclic=len(names) > 1 or graph.has_edge(*names * 2))
            for names in solved
        )
    layers: tuple[Layer, ...] = network.layers
    return layers


def _layer(network: Network, names: list[str], rank: Mapping[str, int], *, cyclic: bool) -> Layer:
    populations = tuple(network.population(name) for name in names)
    offsets = np.concatenate([[0], np.cumsum([p.size for p in populations])]).astype(np.int64)
    projections = tuple(p for name in names for p in network.afferents(name))
    sources = tuple(dict.fromkeys(p.pre for p in projections if p.pre not in names))
    sizes = [network.population(source).size for source in sources]
    source_offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    first_target = dict(zip(names, offsets.tolist(), strict=False))
    first_source = dict(zip(sources, source_offsets.tolist(), strict=False))
    first_source |= {name: int(source_offsets[-1]) + first for name, first in first_target.items()}
    afferents, order = _afferents(projections, first_target, first_source, int(offsets[-1]))
    fields = {
        field: np.concatenate([p.parameter(field) for p in populations]) for field in Neurons._fields[:-1]
    }
    subtracts = [float(getattr(p.neuron, "reset", "value") == "subtract") for p in populations]
    neurons = Neurons(**fields, subtracts=np.repeat(subtracts, [p.size for p in populations]))
    n_sources = int(source_offsets[-1]) + (int(offsets[-1]) if cyclic else 0)
    queued = cyclic or any(p.synapse == "delta" for p in projections)
    efferents, bundled = (
        _efferents(neurons, afferents, order, [p.weights.size for p in projections], offsets, n_sources)
        if queued
        else (None, None)
    )
    return Layer(
        populations,
        offsets,
        projections,
        sources,
        source_offsets,
        tuple(sorted(range(len(sources)), key=lambda k: rank[sources[k]])),
        cyclic,
        neurons,
        afferents,
        _cohorts(neurons, afferents),
        order,
        efferents,
        bundled,
    )


def _afferents(
    projections: tuple[Projection, ...],
    first_target: Mapping[str, int],
    first_source: Mapping[str, int],
    n: int,
) -> tuple[Afferents, Integers]:
    """Return the synapses by target neuron, of one neuron by projection, and where each was."""
    nothing = np.empty(0)

    def joined(columns: list[Any], kind: Any) -> NDArray[Any]:
        return np.concatenate([*columns, nothing]).astype(kind)

    rows = joined(
        [
            first_target[p.post] + np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets))
            for p in projections
        ],
        np.int64,
    )
    order = np.argsort(rows, kind="stable").astype(np.int64)
    source = joined([p.sources + first_source[p.pre] for p in projections], np.int64)
    weight = joined([p.weights for p in projections], np.float64)
    delay = joined([p.delay for p in projections], np.float64)
    delta = joined([np.full(p.weights.size, p.synapse == "delta") for p in projections], np.bool_)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
    return Afferents(offsets, source[order], weight[order], delay[order], delta[order]), order


def _cohorts(neurons: Neurons, afferents: Afferents) -> Cohorts:
    alike: dict[tuple[float, float, bytes, bytes], list[int]] = {}
    for i in range(neurons.tau_mem.size):
        row = slice(afferents.offsets[i], afferents.offsets[i + 1])
        key = (
            float(neurons.tau_mem[i]),
            float(neurons.tau_syn[i]),
            afferents.source[row].tobytes(),
            afferents.delay[row].tobytes(),
        )
        alike.setdefault(key, []).append(i)
    members = [i for cohort in alike.values() for i in cohort]
    sizes = [len(cohort) for cohort in alike.values()]
    rows = [
        np.stack(
            [afferents.weight[afferents.offsets[i] : afferents.offsets[i + 1]] for i in cohort]
        ).T.reshape(-1)
        for cohort in alike.values()
    ]
    return Cohorts(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.array(members, dtype=np.int64),
        np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int64),
        np.concatenate([*rows, np.empty(0)]),
    )


def _efferents(
    neurons: Neurons,
    afferents: Afferents,
    order: Integers,
    lengths: list[int],
    offsets: Integers,
    n_sources: int,
) -> tuple[Efferents, Integers]:
    """Group the synapses of every source into bundles of one delay and one projection; return also which each was."""
    n = neurons.tau_mem.size
    target = np.repeat(np.arange(n), np.diff(afferents.offsets))
    projection = np.repeat(np.arange(len(lengths)), lengths)[order]
    by_source = np.lexsort((target, projection, afferents.delay, afferents.source))
    source, delay = afferents.source[by_source], afferents.delay[by_source]
    target, projection = target[by_source], projection[by_source]
    starts = np.ones(source.size, np.bool_)
    starts[1:] = np.any([column[1:] != column[:-1] for column in (source, delay, projection)], axis=0)
    first = np.flatnonzero(starts)
    block = np.searchsorted(offsets, target[first], side="right") - 1
    lengths_of = np.diff(np.append(first, source.size))
    sizes = np.diff(offsets)
    touched = np.bincount(block, weights=lengths_of, minlength=sizes.size)
    possible = np.bincount(block, minlength=sizes.size) * sizes
    alike = [
        np.unique(values[a:b]).size == 1
        for a, b in itertools.pairwise(offsets)
        for values in (neurons.tau_mem, neurons.tau_syn)
    ]
    efferents = Efferents(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(source[first], minlength=n_sources))]).astype(
            np.int64
        ),
        delay=delay[first],
        block=block.astype(np.int64),
        delta=afferents.delta[by_source][first],
        first=np.append(first, source.size).astype(np.int64),
        target=target.astype(np.int64),
        weight=afferents.weight[by_source],
        blocks=offsets,
        together=np.array(alike, dtype=np.bool_).reshape(-1, 2).all(axis=1) & (touched >= 0.25 * possible),
    )
    return efferents, by_source
