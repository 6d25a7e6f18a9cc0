"""What is left of a gradient whose terms cancel: by how much roundings of the terms may move it.

Many losses do not change as a spike moves: the maximum of a voltage that a single spike makes moves with it, and is as
high. By its time and by its delay the derivative is 0, of terms that are not, and float64 has a rounding of them; so it
has by all that moves the spike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np

from eventsolve.network import Network, Population, parameters_of
from eventsolve.synapses import by_synapse

ROUNDINGS = 64 * float(np.finfo(np.float64).eps)
"""By which part of its terms a sum of them may be off."""


def roundings_of(network: Network, weight: Mapping[Any, Any]) -> dict[tuple[str, Any], float]:
    """Return by how much gradients may be off where their terms cancel.

    A spike acts on its target by terms of the size of w lambda_I = w dL/dw / tau (MODEL, Backward). The largest w dL/dw
    of the synapses of its target, and of all behind it, is what the roundings of dL/dt, and of dL/ddelay to there, are
    measured by, over the smaller time constant; and of dL/dw, and of the parameters of a neuron, that of the synapses
    behind that neuron: over the largest weight, a time constant, or the distance from rest to threshold. So roundings
    of dL/dt count as if a spike moved by its time constant for a weight twice as large. Weights, which may be 0, are
    taken for this distance at least, as V is rounded by it.

    Parameters
    ----------
    network : Network
    weight : mapping of projection to array
        The exact dL/dw, in any layout that gradients have; projections may be left out, or be none of the network's.

    Returns
    -------
    mapping of (quantity, place) to float
    """
    onto, largest = dict.fromkeys(network.populations, 0.0), dict[Any, float]()
    for key, values in weight.items():
        projection = network.projections.get(key)
        flat = by_synapse("weight", values, values)
        if projection is None or not flat.size or flat.size % projection.weights.size:
            continue  # what is of another network is no matter of roundings
        flat = flat.reshape(-1, projection.weights.size)
        height = _sizes(network.population(projection.post))[1]
        sizes = np.maximum(np.abs(projection.weights), height)
        terms = float((np.abs(flat) * sizes).max(initial=0.0))
        onto[projection.post] = max(onto[projection.post], terms if np.isfinite(terms) else 0.0)
        largest[key] = float(sizes.max(initial=height))
    behind = {
        name: max((onto[other] for other in _behind(network, name)), default=0.0)
        for name in network.populations
    }
    found: dict[tuple[str, Any], float] = {}
    for name, p in network.populations.items():
        if p.neuron is None:
            continue
        tau, height = _sizes(p)
        for parameter in parameters_of(p.neuron):
            unit = {"tau_mem": tau, "tau_syn": tau, "t_ref": tau}.get(parameter, height)
            found[parameter, name] = ROUNDINGS * behind[name] / unit
    for key, size in largest.items():
        pre, post = key[0], key[1]
        late = ROUNDINGS * max(onto[post], behind[post]) / _sizes(network.population(post))[0]
        found["delay", key] = late
        found["spike_times", pre] = max(late, found.get(("spike_times", pre), 0.0))
        found["weight", key] = ROUNDINGS * behind[post] / size
    return found


def _behind(network: Network, name: str) -> set[str]:
    """Return the populations that spikes of one reach."""
    return {post for _, post, *_ in nx.edge_bfs(network.graph, name)}


def _sizes(population: Population) -> tuple[float, float]:
    """Return the smallest time constant, and the smallest distance from rest to threshold, 1 without a threshold."""
    tau = min(float(population.parameter(name).min(initial=np.inf)) for name in ("tau_mem", "tau_syn"))
    height = population.parameter("v_threshold") - population.parameter("v_leak")
    some = np.abs(height[np.isfinite(height) & (height != 0)])
    return tau, float(some.min(initial=np.inf)) if some.size else 1.0
