"""From a network to the order in which it is solved: strongly connected components, sources before targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from eventsolve.layered import Afferents, Cohorts, Neurons
from eventsolve.network import Network, Population, Projection


@dataclass(frozen=True, eq=False)
class Layer:
    """One population with all that its kernels need.

    Attributes
    ----------
    sources : tuple of str
        Populations that project here. Their neurons are numbered through, those of sources[k] from source_offsets[k].
    order : ndarray of int64, (n_synapses,)
        Where each synapse of ``afferents`` stands among the synapses of the projections, one projection after another.
    """

    population: Population
    projections: tuple[Projection, ...]
    sources: tuple[str, ...]
    source_offsets: NDArray[np.int64]
    neurons: Neurons
    afferents: Afferents
    cohorts: Cohorts
    order: NDArray[np.int64]

    @property
    def n_sources(self) -> int:
        """Number of source neurons."""
        return int(self.source_offsets[-1])

    def by_projection(self, values: NDArray[np.float64]) -> dict[Any, NDArray[np.float64]]:
        """Split values per synapse, (..., n_synapses) in the order of ``afferents``, by projection key."""
        ungrouped = np.empty_like(values)
        ungrouped[..., self.order] = values
        stops = np.cumsum([p.weights.size for p in self.projections])
        return {
            p.key: ungrouped[..., stop - p.weights.size : stop]
            for p, stop in zip(self.projections, stops, strict=True)
        }


def layers_of(network: Network) -> tuple[Layer, ...]:
    """Return the network's populations as layers in topological order; this freezes it, and is done once.

    Raises
    ------
    NotImplementedError
        If the network has a cycle.
    """
    if network.layers is None:
        graph = network.graph
        for component in nx.strongly_connected_components(graph):
            if len(component) > 1 or any(graph.has_edge(name, name) for name in component):
                raise NotImplementedError(
                    f"cyclic networks are not solved yet; the populations {sorted(component)} form a cycle"
                )
        network.freeze()
        ordered = nx.lexicographical_topological_sort(graph, key=list(network.populations).index)
        names = [name for name in ordered if network.population(name).neuron is not None]
        network.layers = tuple(_layer(network, name) for name in names)
    layers: tuple[Layer, ...] = network.layers
    return layers


def _layer(network: Network, name: str) -> Layer:
    population = network.population(name)
    projections = tuple(network.afferents(name))
    sources = tuple(dict.fromkeys(p.pre for p in projections))
    sizes = [network.population(source).size for source in sources]
    source_offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    start = dict(zip(sources, source_offsets.tolist(), strict=False))
    n = population.size
    empty = np.empty(0)
    rows = np.concatenate(
        [np.repeat(np.arange(n), np.diff(p.row_offsets)) for p in projections] or [np.empty(0, np.int64)]
    )
    order = np.argsort(rows, kind="stable").astype(np.int64)
    source = np.concatenate([p.sources + start[p.pre] for p in projections] or [empty]).astype(np.int64)
    weight = np.concatenate([p.weights for p in projections] or [empty])
    delay = np.concatenate([p.delay for p in projections] or [empty])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)
    afferents = Afferents(offsets, source[order], weight[order], delay[order])
    neurons = Neurons(*(population.parameter(field) for field in Neurons._fields))
    return Layer(
        population,
        projections,
        sources,
        source_offsets,
        neurons,
        afferents,
        _cohorts(neurons, afferents),
        order,
    )


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
