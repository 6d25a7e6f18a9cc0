"""From a network to the order in which it is solved: strongly connected components, sources before targets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from eventsolve.frozen import FrozenMapping
from eventsolve.kernels.tables import Afferents, ByTarget, Efferents, Neurons, ScheduleGroups, States
from eventsolve.network import Network, Population, Projection, solving_order
from eventsolve.typing import Integers, Key


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
    efferents : Efferents or None
        What the event queue needs; None where the layer has neither a cycle nor delta synapses, and is advanced
        neuron by neuron. Synapses by target are only laid out where they are asked for: a large network has room for
        one list of them.
    """

    populations: tuple[Population, ...]
    offsets: Integers
    projections: tuple[Projection, ...]
    sources: tuple[str, ...]
    source_offsets: Integers
    precedence: tuple[int, ...]
    cyclic: bool
    neurons: Neurons
    efferents: Efferents | None

    @cached_property
    def _by_target(self) -> tuple[Afferents, Integers]:
        return _afferents(
            self.projections,
            dict(zip(self.name, self.offsets.tolist(), strict=False)),
            _first_sources(self.sources, self.source_offsets, self.name, self.offsets),
            self.size,
        )

    @property
    def afferents(self) -> Afferents:
        """Synapses by target."""
        return self._by_target[0]

    @property
    def order(self) -> Integers:
        """Where each of ``afferents`` is among the synapses of the projections, one after another, (n_synapses,)."""
        return self._by_target[1]

    @cached_property
    def by_source(self) -> Efferents:
        """Synapses by source, also where the layer is advanced neuron by neuron."""
        if self.efferents is not None:
            return self.efferents
        first_source = _first_sources(self.sources, self.source_offsets, self.name, self.offsets)
        return _efferents(
            self.neurons,
            self.projections,
            [p.weights for p in self.projections],
            self.offsets,
            dict(zip(self.name, self.offsets.tolist(), strict=False)),
            first_source,
            self.n_sources,
        )

    @cached_property
    def groups(self) -> ScheduleGroups:
        """Neurons that hear the same after the same delays, with the same time constants."""
        return _schedule_groups(self.neurons, self.afferents)

    @cached_property
    def by_target(self) -> ByTarget:
        """The layer as kernels take it that go through its neurons one by one."""
        return ByTarget(self.neurons, self.afferents, self.groups, self.n_sources)

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
    def n_synapses(self) -> int:
        """Number of synapses."""
        return sum(p.weights.size for p in self.projections)

    @cached_property
    def _synapses(self) -> Mapping[Key, slice | Integers]:
        """Where every projection's synapses are in ``afferents``, in the projection's own order."""
        if len(self.projections) == 1:
            return {self.projections[0].key: slice(None)}  # which is by target already
        return self._by_key(self.order)

    @cached_property
    def _bundled_synapses(self) -> Mapping[Key, Integers]:
        """The same of those of ``efferents``, which are laid out once more for it, with numbers for weights."""
        stops = np.cumsum([p.weights.size for p in self.projections])
        numbers = np.split(np.arange(self.n_synapses, dtype=np.float64), stops[:-1])
        first_source = _first_sources(self.sources, self.source_offsets, self.name, self.offsets)
        laid_out = _efferents(
            self.neurons,
            self.projections,
            numbers,
            self.offsets,
            dict(zip(self.name, self.offsets.tolist(), strict=False)),
            first_source,
            self.n_sources,
        )
        return self._by_key(laid_out.weight.astype(np.int64))

    @cached_property
    def bundles(self) -> Integers:
        """The bundle of ``efferents`` that each of ``afferents`` is in, (n_synapses,)."""
        assert self.efferents is not None
        bundles = np.empty(self.n_synapses, np.int64)
        for p in self.projections:
            places = self._bundled_synapses[p.key]
            bundles[self._synapses[p.key]] = np.searchsorted(self.efferents.first, places, side="right") - 1
        return bundles

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
    def delays(self) -> Mapping[Key, Any]:
        """The delays of each projection: a number where it is that of all, else like the weight, in seconds."""
        return FrozenMapping({p.key: _delays_of(p) for p in self.projections})

    @cached_property
    def slowest(self) -> float:
        """The longest time constant of a neuron, in seconds; 0 without neurons."""
        return float(max(self.neurons.tau_mem.max(initial=0.0), self.neurons.tau_syn.max(initial=0.0)))

    @cached_property
    def longest_delay(self) -> float:
        """In seconds, over all synapses; 0 without any."""
        return max((float(p.delay.max(initial=0.0)) for p in self.projections), default=0.0)

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


def _delays_of(projection: Projection) -> Any:
    """Return a projection's delays; a sparse matrix also says which synapses there are, over which spikes are sent."""
    delay = projection.delay
    first = float(delay[0]) if delay.size else 0.0
    if (delay == first).all() and not (first and sp.issparse(projection.weight)):
        return first
    return projection.shaped(delay)


def _layer(network: Network, names: list[str], rank: Mapping[str, int], *, cyclic: bool) -> Layer:
    populations = tuple(network.population(name) for name in names)
    offsets = np.concatenate([[0], np.cumsum([p.size for p in populations])]).astype(np.int64)
    projections = tuple(p for name in names for p in network.afferents(name))
    sources = tuple(dict.fromkeys(p.pre for p in projections if p.pre not in names))
    sizes = [network.population(source).size for source in sources]
    source_offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    fields = {
        field: np.concatenate([p.parameter(field) for p in populations]) for field in Neurons._fields[:-1]
    }
    subtracts = [float(getattr(p.neuron, "reset", "value") == "subtract") for p in populations]
    neurons = Neurons(**fields, subtracts=np.repeat(subtracts, [p.size for p in populations]))
    n_sources = int(source_offsets[-1]) + (int(offsets[-1]) if cyclic else 0)
    queued = cyclic or any(p.synapse == "delta" for p in projections)
    return Layer(
        populations,
        offsets,
        projections,
        sources,
        source_offsets,
        tuple(sorted(range(len(sources)), key=lambda k: rank[sources[k]])),
        cyclic,
        neurons,
        _efferents(
            neurons,
            projections,
            [p.weights for p in projections],
            offsets,
            dict(zip(names, offsets.tolist(), strict=False)),
            _first_sources(sources, source_offsets, names, offsets),
            n_sources,
        )
        if queued
        else None,
    )


def _first_sources(
    sources: Iterable[str], source_offsets: Integers, names: Iterable[str], offsets: Integers
) -> dict[str, int]:
    """Return the number of the first neuron of every population that projects to a layer, those of its own included."""
    own = {name: int(source_offsets[-1] + first) for name, first in zip(names, offsets, strict=False)}
    return dict(zip(sources, source_offsets.tolist(), strict=False)) | own


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

    rows = joined([first_target[p.post] + p.targets for p in projections], np.int64)
    order = np.argsort(rows, kind="stable").astype(np.int64)
    source = joined([p.sources + first_source[p.pre] for p in projections], np.int64)
    weight = joined([p.weights for p in projections], np.float64)
    delay = joined([p.delay for p in projections], np.float64)
    delta = joined([np.full(p.weights.size, p.synapse == "delta") for p in projections], np.bool_)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
    return Afferents(offsets, source[order], weight[order], delay[order], delta[order]), order


def _schedule_groups(neurons: Neurons, afferents: Afferents) -> ScheduleGroups:
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
    members = [i for group in alike.values() for i in group]
    sizes = [len(group) for group in alike.values()]
    rows = [
        np.stack(
            [afferents.weight[afferents.offsets[i] : afferents.offsets[i + 1]] for i in group]
        ).T.reshape(-1)
        for group in alike.values()
    ]
    return ScheduleGroups(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.array(members, dtype=np.int64),
        np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int64),
        np.concatenate([*rows, np.empty(0)]),
    )


def _efferents(
    neurons: Neurons,
    projections: tuple[Projection, ...],
    weights_of: Sequence[NDArray[np.float64]],
    offsets: Integers,
    first_target: Mapping[str, int],
    first_source: Mapping[str, int],
    n_sources: int,
) -> Efferents:
    """Group the synapses of every source into bundles of one delay and one projection; weights are by projection."""
    laid_out = [
        _bundles(p, w, first_target[p.post], first_source[p.pre])
        for p, w in zip(projections, weights_of, strict=True)
    ]
    sizes = np.diff(offsets)
    block_of = {name: k for k, name in enumerate(first_target)}
    blocks = [np.full(b.sources.size, block_of[p.post]) for p, b in zip(projections, laid_out, strict=True)]
    deltas = [
        np.full(b.sources.size, p.synapse == "delta") for p, b in zip(projections, laid_out, strict=True)
    ]
    block, sources, delay, lengths = (
        np.concatenate([np.empty(0), *columns])
        for columns in (
            blocks,
            [b.sources for b in laid_out],
            [b.delays for b in laid_out],
            [np.diff(b.first) for b in laid_out],
        )
    )
    block, sources, lengths = block.astype(np.int64), sources.astype(np.int64), lengths.astype(np.int64)
    delta = np.concatenate([np.empty(0, np.bool_), *deltas])
    touched = np.bincount(block, weights=lengths, minlength=sizes.size)
    possible = np.bincount(block, minlength=sizes.size) * sizes
    alike = [
        np.unique(values[a:b]).size == 1
        for a, b in itertools.pairwise(offsets)
        for values in (neurons.tau_mem, neurons.tau_syn)
    ]
    if len(laid_out) == 1:
        first, targets, weights = laid_out[0].first, laid_out[0].targets, laid_out[0].weights
    else:
        order = np.lexsort((delay, sources))  # stable: then by projection
        starts = (np.cumsum(lengths) - lengths)[order]
        block, sources, delay, delta = block[order], sources[order], delay[order], delta[order]
        lengths = lengths[order]
        first = np.concatenate([[0], np.cumsum(lengths)])
        place = np.repeat(starts - first[:-1], lengths) + np.arange(first[-1])
        targets = np.concatenate([np.empty(0, np.int32), *(b.targets for b in laid_out)])[place]
        weights = np.concatenate([np.empty(0), *(b.weights for b in laid_out)])[place]
    return Efferents(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(sources, minlength=n_sources))]).astype(np.int64),
        delay=delay,
        block=block,
        delta=delta,
        first=first.astype(np.int64),
        target=targets,
        weight=weights,
        blocks=offsets,
        dense=np.array(alike, dtype=np.bool_).reshape(-1, 2).all(axis=1) & (touched >= 0.25 * possible),
    )


class _Bundles(NamedTuple):
    """A projection's synapses by source, delay and target; bundle b has those from first[b] to first[b + 1]."""

    sources: Integers
    delays: NDArray[np.float64]
    first: Integers
    targets: NDArray[np.int32]
    weights: NDArray[np.float64]


def _bundles(
    projection: Projection, weights: NDArray[np.float64], first_target: int, first_source: int
) -> _Bundles:
    n_post, n_pre = projection.weight.shape
    delay = projection.delay
    one_delay = bool((delay == delay[:1]).all())
    if sp.issparse(projection.weight):
        by_source = projection.shaped(weights).tocsc()
        starts, targets, weights = (
            by_source.indptr,
            by_source.indices.astype(np.int32, copy=False),
            by_source.data,
        )
        if not one_delay:
            delay = projection.shaped(delay).tocsc().data
    else:
        starts = np.arange(n_pre + 1) * n_post
        targets = np.tile(np.arange(n_post, dtype=np.int32), n_pre)
        weights = np.array(weights.reshape(n_post, n_pre).T).reshape(-1)
        delay = delay.reshape(n_post, n_pre).T.reshape(-1)
    targets += np.int32(first_target)  # which are a copy
    if one_delay:
        heard = np.flatnonzero(np.diff(starts))
        first = np.append(starts[:-1][heard], starts[-1])
        return _Bundles(
            heard + first_source,
            np.full(heard.size, delay[0] if delay.size else 0.0),
            first.astype(np.int64),
            targets,
            weights,
        )
    sources = np.repeat(np.arange(n_pre), np.diff(starts))
    order = np.lexsort((targets, delay, sources))
    sources, delay = sources[order], delay[order]
    begins = np.ones(sources.size, np.bool_)
    begins[1:] = (sources[1:] != sources[:-1]) | (delay[1:] != delay[:-1])
    first = np.flatnonzero(begins)
    return _Bundles(
        sources[first] + first_source,
        delay[first],
        np.append(first, sources.size),
        targets[order],
        weights[order],
    )
