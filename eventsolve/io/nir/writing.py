"""to_nir(): a NIR graph of a network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import nir
import numpy as np
import scipy.sparse as sp

from eventsolve.checks import first_entry
from eventsolve.io.nir.reading import checked_unit
from eventsolve.network import LIF, Network, Population, Projection
from eventsolve.typing import Reals


def to_nir(network: Network, *, time_unit: float = 1.0, outputs: Sequence[str] | None = None) -> Any:
    """Return a NIR graph of a network.

    Weights stand in Linear nodes as they are, which w_in = tau_syn makes exact; an initial current becomes the bias of
    an Affine (see the module docstring), and delays become Delay nodes. Sparse weights become dense.

    Parameters
    ----------
    network : Network
    time_unit : float
        Seconds per unit of time of the graph.
    outputs : sequence of str, optional
        Populations that lead to Output nodes; by default those that project nowhere, or all if each projects somewhere.

    Returns
    -------
    nir.NIRGraph

    Raises
    ------
    ValueError
        If NIR cannot express something: a refractory period, an initial voltage, exponential and delta synapses on one
        population, delays that are neither the same for all targets nor for all sources, or a name with a slash.
    """
    time_unit = checked_unit(time_unit)
    populations = network.populations
    if outputs is None:
        projecting = {p.pre for p in network.projections.values()}
        neurons = [name for name, p in populations.items() if p.neuron is not None]
        outputs = [name for name in neurons if name not in projecting] or neurons
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, population in populations.items():
        if population.neuron is None:
            _add(nodes, name, nir.Input(input_type={"input": np.array([population.size])}))
            continue
        node, bias = _node(population, network.afferents(name), time_unit)
        _add(nodes, name, node)
        for projection in network.afferents(name):
            bias = _add_projection(nodes, edges, projection, bias, time_unit)
        if bias is not None:
            raise ValueError(
                f"i_initial of population {name!r} is not 0: NIR expresses it by the bias of a projection whose "
                "delays, if any, are those of its sources, and there is none"
            )
    for name in outputs:
        size = network.population(name).size
        _add(nodes, f"{name}:output", nir.Output(output_type={"output": np.array([size])}))
        edges.append((name, f"{name}:output"))
    return nir.NIRGraph(nodes=nodes, edges=edges)


def _node(population: Population, afferents: list[Projection], time_unit: float) -> tuple[Any, Reals | None]:
    """Return the node of a population, and the bias that stands for its initial current, if it has one."""
    name, neuron = population.name, population.neuron
    kinds = {p.synapse for p in afferents}
    if len(kinds) > 1:
        raise ValueError(f"population {name!r} has exponential and delta synapses; a NIR neuron has one kind")
    for parameter in ("t_ref", "v_initial", *(("i_initial",) if "delta" in kinds else ())):
        values = population.parameter(parameter)
        if values.any():
            raise ValueError(
                f"{parameter} of population {name!r} must be 0, as NIR has none; {first_entry(values, values != 0)}"
            )
    if "delta" in kinds and isinstance(neuron, LIF) and neuron.reset == "subtract":
        raise ValueError(f"population {name!r} resets by subtraction; a NIR neuron is set to v_reset")
    tau_mem, tau_syn = (population.parameter(tau) / time_unit for tau in ("tau_mem", "tau_syn"))
    v_leak, current = population.parameter("v_leak"), population.parameter("i_initial")
    thresholds = (
        {key: population.parameter(key) for key in ("v_threshold", "v_reset")}
        if isinstance(neuron, LIF)
        else {}
    )
    if "delta" in kinds:
        kind = nir.LIF if thresholds else nir.LI
        return kind(tau=tau_mem, r=tau_mem.copy(), v_leak=v_leak, **thresholds), None
    kind = nir.CubaLIF if thresholds else nir.CubaLI
    ones = np.ones(population.size)
    node = kind(
        tau_mem=tau_mem, tau_syn=tau_syn, r=ones, w_in=tau_syn.copy(), v_leak=v_leak + current, **thresholds
    )
    return node, -current / tau_syn if current.any() else None


def _add_projection(
    nodes: dict[str, Any],
    edges: list[tuple[str, str]],
    projection: Projection,
    bias: Reals | None,
    time_unit: float,
) -> Reals | None:
    """Add the nodes of a projection, and the bias if they can take it; return the bias if they cannot."""
    name = "->".join(projection.key[:2]) + "".join(f":{n}" for n in projection.key[2:])
    weight = projection.weight.toarray() if sp.issparse(projection.weight) else np.array(projection.weight)
    early, late = _separated(projection, time_unit)
    chain: list[tuple[str, Any]] = []
    if early.any():
        chain.append((f"{name}:delay", nir.Delay(delay=early)))
    if bias is not None and not late.any():
        chain.append((name, nir.Affine(weight=weight, bias=bias)))
        bias = None
    else:
        chain.append((name, nir.Linear(weight=weight)))
    if late.any():
        chain.append((f"{name}:delay", nir.Delay(delay=late)))
    for key, node in chain:
        _add(nodes, key, node)
    stations = [projection.pre, *(key for key, _ in chain), projection.post]
    edges += itertools.pairwise(stations)
    return bias


def _separated(projection: Projection, time_unit: float) -> tuple[Reals, Reals]:
    """Return delays per source (n_pre,) and per target (n_post,), one of which is 0, in units of the graph."""
    n_post, n_pre = projection.weight.shape
    delays = projection.delay / time_unit
    early, late = np.zeros(n_pre), np.zeros(n_post)
    early[projection.sources], late[projection.targets] = delays, delays
    if np.array_equal(early[projection.sources], delays):
        return early, np.zeros(n_post)
    if np.array_equal(late[projection.targets], delays):
        return np.zeros(n_pre), late
    raise ValueError(
        f"delays of {projection.key} differ from synapse to synapse; NIR delays whole channels, before or after a node "
        "with weights"
    )


def _add(nodes: dict[str, Any], name: str, node: Any) -> None:
    if "/" in name:
        raise ValueError(f"name {name!r} must not contain '/', which parts the names of a NIR file")
    if name in nodes:
        raise ValueError(f"name {name!r} would stand for two nodes; rename the population or projection")
    nodes[name] = node
