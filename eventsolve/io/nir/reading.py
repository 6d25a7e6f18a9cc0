"""from_nir(): the network of a NIR graph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import networkx as nx
import nir
import numpy as np
import scipy.sparse as sp

from eventsolve.bounded import MAX_BYTES, Budget, Unreadable, opened, shown_error
from eventsolve.checks import printable, real_array, seconds, shown
from eventsolve.io.hdf5 import read_arrays
from eventsolve.network import LI, LIF, Network
from eventsolve.typing import Reals
from eventsolve.units import UnitWarning

_CURRENT_BASED = (nir.CubaLIF, nir.CubaLI)
_NEURONS = (*_CURRENT_BASED, nir.LIF, nir.LI)
_MAPS = (nir.Affine, nir.Linear, nir.Scale, nir.Delay)
_NEURON_BYTES, _SYNAPSE_BYTES = 64, 64
"""What a channel takes on its way, and a synapse when it is connected: copies of its weight and delay, and checks."""
_SPIKING = (nir.Input, nir.CubaLIF, nir.LIF)
_TOO_STRONG = 10.0  # times from v_reset to v_threshold


def read(
    path: str | PathLike[str],
    *,
    time_unit: float = 1.0,
    dt: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> Network:
    """Read the network of a file that holds a NIR graph.

    Parameters
    ----------
    path : path
    time_unit, dt : float
        As for :func:`from_nir`, warnings too.
    max_bytes : int
        What reading may take: the file, what it declares to hold, and the network that follows from it.

    Raises
    ------
    ValueError
        If the file holds no NIR graph, or one that cannot be represented; nothing is allocated beyond the limit.
    OSError
        If it cannot be opened.
    """
    name = printable(Path(path).name)
    budget = Budget(max_bytes)
    try:
        with opened(path, max_bytes) as file:
            document = _nested(read_arrays(file, budget, groups=True)).get("node")
    except Unreadable as error:
        raise Unreadable(f"{name} holds no NIR graph: {error}") from error
    if not isinstance(document, dict):
        raise Unreadable(f"{name} holds no NIR graph: it must have a group 'node'")
    try:
        # as nir.read does it, but for shapes, which are checked here: it trusts that every node has what its kind needs
        graph = nir.dict2NIRNode(document | {"type_check": False})
    except Exception as error:
        raise Unreadable(
            f"{name} holds no NIR graph: it is not built as NIR says: {shown_error(error)}"
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise Unreadable(f"{name} holds no NIR graph, but a {type(graph).__name__}")
    try:
        return _network_of(graph, time_unit, dt, budget)
    except ValueError as error:
        raise Unreadable(f"{name}: {error}") from error


def _nested(arrays: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return the groups of an HDF5 file as dictionaries."""
    whole: dict[str, Any] = {}
    for path, values in arrays.items():
        group = whole
        for name in path[:-1]:
            group = group[name]
        group[path[-1]] = {} if values is None else values
    return whole


def from_nir(
    graph: Any, *, time_unit: float = 1.0, dt: float | None = None, max_bytes: int = MAX_BYTES
) -> Network:
    """Return the network that a NIR graph describes.

    Inputs and neurons keep their names, neurons their parameters, one by one. What lies between two of them (Affine,
    Linear, Scale, Delay, or nothing) becomes a projection (pre, post); of several between the same two each is called
    after its nodes, (pre, post, "fc+fc_delay"). Graphs within the graph are taken apart: node b of node a is "a.b".

    Parameters
    ----------
    graph : nir.NIRGraph
        May be recurrent. ``nir.read(path)`` gives it.
    time_unit : float
        Seconds per unit of time of the graph, which NIR leaves open; 1e-3 for one in milliseconds.
    dt : float, optional
        Seconds: the step of the clock on which the graph was written. Its spikes are then pulses of height 1 that last
        one step, as in graphs of snnTorch (dt=1e-4) or Norse; by default they are NIR's Dirac pulses. The module
        docstring says what comes of it.
    max_bytes : int
        What the network may take: a few numbers of a graph may declare any number of neurons and synapses.

    Warns
    -----
    UnitWarning
        If dt is not given and the graph looks as if it was written on a clock: one spike over its typical synapse
        drives V more than ten times as far as from v_reset to v_threshold.

    Raises
    ------
    TypeError
        If ``graph`` is not a nir.NIRGraph.
    ValueError
        If a node cannot be represented: it is named, with the reason.
    """
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph; got {type(graph).__name__}")
    return _network_of(graph, time_unit, dt, Budget(max_bytes))


def _network_of(graph: Any, time_unit: float, dt: float | None, budget: Budget) -> Network:
    time_unit = checked_unit(time_unit)
    pulse = 1.0 if dt is None else checked_unit(dt, "dt") / time_unit
    wiring = _Wiring(*_taken_apart(graph), budget)
    network = Network()
    arriving = {}
    for name, node in wiring.nodes.items():
        if isinstance(node, nir.Input):
            size = wiring.size(name)
            budget.take(_NEURON_BYTES * size, f"input {name!r} of {size} neurons")
            network.add_input(name, size)
        elif isinstance(node, _NEURONS):
            size = wiring.size(name)
            budget.take(_NEURON_BYTES * size, f"population {name!r} of {size} neurons")
            arriving[name] = wiring.arriving(name)
            network.add_population(name, size, _neuron(name, size, node, arriving[name][1], time_unit))
    for post, (paths, _) in arriving.items():
        node, size = wiring.nodes[post], wiring.size(post)
        gain = _array(post, size, node, "r")
        if isinstance(node, _CURRENT_BASED):
            gain = gain * _array(post, size, node, "w_in") / _array(post, size, node, "tau_syn")
        else:
            gain = gain / _array(post, size, node, "tau")
        gain = gain * pulse
        for path in paths:
            several = sum(other.source == path.source for other in paths) > 1
            budget.take(_SYNAPSE_BYTES * _stored(path.matrix), f"projection {(path.source, post)}")
            network.connect(
                path.source,
                post,
                _rows_times(gain, path.matrix),
                delay=path.delays(time_unit),
                synapse="exponential" if isinstance(node, _CURRENT_BASED) else "delta",
                name=_projection_name(path, post) if several else None,
            )
    if dt is None:
        _warn_if_clocked(network, wiring)
    return network


def _warn_if_clocked(network: Network, wiring: _Wiring) -> None:
    """Warn if one spike typically drives V far beyond the threshold, as pulses of height 1 taken for Dirac's do."""
    lifts, taus, steps = [np.empty(0)], [np.empty(0)], [np.empty(0)]
    for p in network.projections.values():
        post = network.population(p.post)
        if not isinstance(post.neuron, LIF):
            continue
        tau_mem, tau_syn = post.parameter("tau_mem"), post.parameter("tau_syn")
        # V's peak over I's, to 40%
        share = tau_syn / (tau_mem + tau_syn) if p.synapse == "exponential" else np.ones(post.size)
        share /= post.parameter("v_threshold") - post.parameter("v_reset")
        lifts.append(np.abs(p.weights) * np.repeat(share, np.diff(p.row_offsets)))
        taus.append(tau_mem)
        with np.errstate(divide="ignore", over="ignore"):  # r may be 0, of neurons that feel nothing
            steps.append(tau_mem / _array(p.post, post.size, wiring.nodes[p.post], "r"))
    lift, tau, step = (np.concatenate(parts) for parts in (lifts, taus, steps))
    lift = lift[lift > 0]
    if not lift.size or np.median(lift) <= _TOO_STRONG:
        return
    known = (
        np.isfinite(step).all() and np.ptp(step) <= 1e-6 * step[0] and (step < 0.5 * tau).all()
    )  # exporters write r = tau / dt
    warnings.warn(
        f"one spike over a typical synapse of this graph drives V {np.median(lift):.3g} times as far as from v_reset "
        "to v_threshold; was it written on a clock, with spikes of height 1 for one step? Then give the step in "
        f"seconds{f', perhaps {step[0]:.3g}' if known else ''}: from_nir(graph, dt=...)",
        UnitWarning,
        stacklevel=4,
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """A way from an input or population: ``matrix`` (n, n_source); delays add up per source and per row, graph units.

    ``matrix`` is sparse and diagonal as long as no Linear or Affine is on the way: ``elementwise``.
    """

    source: str
    matrix: Any
    early: Reals
    late: Reals
    elementwise: bool = True
    nodes: tuple[str, ...] = ()

    def delays(self, time_unit: float) -> Any:
        """Return the delays in seconds as ``Network.connect`` takes them."""
        if not (self.early.any() or self.late.any()):
            return 0.0
        if not sp.issparse(self.matrix):
            return (self.late[:, None] + self.early) * time_unit
        row, column = self.matrix.tocoo().coords
        delays = (self.late[row] + self.early[column]) * time_unit
        return sp.csr_array((delays, (row, column)), shape=self.matrix.shape)


class _Wiring:
    """A flat graph, and what arrives at its nodes through maps without neurons."""

    def __init__(self, nodes: dict[str, Any], edges: list[tuple[str, str]], budget: Budget) -> None:
        self.nodes, self.budget = nodes, budget
        self.before: dict[str, list[str]] = {name: [] for name in nodes}
        for pre, post in edges:
            for name in (pre, post):
                if name not in nodes:
                    raise ValueError(f"edge {(pre, post)} names {name!r}, which is not a node of the graph")
            if pre in self.before[post]:
                raise ValueError(f"edge {(pre, post)} occurs twice; NIR does not say whether it counts twice")
            self.before[post].append(pre)
        for name, node in nodes.items():
            if not isinstance(node, _NEURONS + _MAPS + (nir.Input, nir.Output, _Wire)):
                known = ", ".join(kind.__name__ for kind in _NEURONS + _MAPS)
                raise ValueError(
                    f"node {name!r} is a {type(node).__name__}, which cannot be represented; {known} can"
                )
        maps = nx.DiGraph(
            (pre, post)
            for pre, post in edges
            if all(isinstance(nodes[n], (*_MAPS, _Wire)) for n in (pre, post))
        )
        if not nx.is_directed_acyclic_graph(maps):
            loop = [pre for pre, *_ in nx.find_cycle(maps)]
            raise ValueError(f"nodes {loop} are a loop without a neuron, which cannot be represented")
        self._sizes = _sizes(nodes, edges)
        for name, node in nodes.items():
            if isinstance(node, nir.Output):
                for path in self.arriving(name)[0]:
                    if path.nodes:
                        raise ValueError(
                            f"nodes {list(path.nodes)} lie between {path.source!r} and output {name!r}; an "
                            "output is the spikes of a population, or its voltage, as they are"
                        )

    def size(self, name: str) -> int:
        """Return how many channels leave a node."""
        size = self._sizes[name, "out"]
        if size is None:
            raise ValueError(
                f"node {name!r} has scalars only, and nothing that it is connected to says its size"
            )
        return size

    def arriving(self, name: str) -> tuple[list[_Path], Reals]:
        """Return the paths that end at a node, and the constant that arrives there, (n,), 0-dimensional without any."""
        paths: list[_Path] = []
        constant = np.zeros(())
        for pre in self.before[name]:
            found, bias = self._leaving(pre, for_output=isinstance(self.nodes[name], nir.Output))
            paths += found
            constant = constant + bias
        return paths, constant

    def _leaving(self, name: str, *, for_output: bool) -> tuple[list[_Path], Reals]:
        node = self.nodes[name]
        if isinstance(node, nir.Output):
            raise ValueError(f"output {name!r} leads on to other nodes, which cannot be represented")
        if isinstance(node, (nir.Input, *_NEURONS)):
            if not (for_output or isinstance(node, _SPIKING)):
                raise ValueError(
                    f"node {name!r} is a {type(node).__name__} and leads on to other nodes; it has no spikes to send"
                )
            n = self.size(name)
            self.budget.take(_NEURON_BYTES * n, f"node {name!r} of {n} channels")
            return [_Path(name, sp.eye_array(n, format="csr"), np.zeros(n), np.zeros(n))], np.zeros(())
        paths, constant = self.arriving(name)
        if isinstance(node, _Wire):
            return paths, constant
        return [_through(name, node, path, self.budget) for path in paths], _constant_through(
            name, node, constant
        )


class _Wire:
    """What the Input and Output nodes of a graph within a graph are."""


def _taken_apart(graph: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the nodes and edges of a graph, those of graphs in it included, whose ends become wires."""
    nodes: dict[str, Any] = {}
    edges = [(str(pre), str(post)) for pre, post in graph.edges]
    ends: dict[str, dict[str, list[str]]] = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, between = _taken_apart(node)
        ends[name] = {
            "Input": [f"{name}.{k}" for k, n in inner.items() if isinstance(n, nir.Input)],
            "Output": [f"{name}.{k}" for k, n in inner.items() if isinstance(n, nir.Output)],
        }
        nodes |= {
            f"{name}.{k}": _Wire() if isinstance(n, nir.Input | nir.Output) else n for k, n in inner.items()
        }
        edges += [(f"{name}.{pre}", f"{name}.{post}") for pre, post in between]

    def end(name: str, kind: str) -> str:
        if name not in ends:
            return name
        if len(ends[name][kind]) != 1:
            raise ValueError(
                f"graph {name!r} has {len(ends[name][kind])} {kind} nodes; one is needed to know where an edge leads"
            )
        return ends[name][kind][0]

    return nodes, [(end(pre, "Output"), end(post, "Input")) for pre, post in edges]


def _through(name: str, node: Any, path: _Path, budget: Budget) -> _Path:
    """Return the path that goes on through a map."""
    path = replace(path, nodes=(*path.nodes, name))
    n = path.matrix.shape[0]
    budget.take(_NEURON_BYTES * n, f"node {name!r}")
    if isinstance(node, nir.Delay):
        delay = _vector(name, "delay", node.delay, n)
        return (
            replace(path, early=path.early + delay)
            if path.elementwise
            else replace(path, late=path.late + delay)
        )
    if isinstance(node, nir.Scale):
        budget.take(24 * _stored(path.matrix), f"node {name!r}")
        return replace(path, matrix=_rows_times(_vector(name, "scale", node.scale, n), path.matrix))
    weight = real_array(f"weight of node {name!r}", node.weight)
    if weight.ndim != 2 or weight.shape[1] != n:
        raise ValueError(f"weight of node {name!r} must have shape (n, {n}); got {weight.shape}")
    budget.take(
        8 * weight.size + 8 * weight.shape[0] * path.matrix.shape[1], f"the product of nodes {path.nodes}"
    )
    if path.late.size and np.ptp(path.late) > 0:
        raise ValueError(
            f"node {name!r} mixes channels that nodes {list(path.nodes[:-1])} delay differently after mixing others: "
            "a synapse has one delay"
        )
    shift = path.late[0] if path.late.size else 0.0
    matrix = weight if path.elementwise and _is_identity(path.matrix) else weight @ path.matrix
    return replace(
        path, matrix=matrix, early=path.early + shift, late=np.zeros(weight.shape[0]), elementwise=False
    )


def _constant_through(name: str, node: Any, constant: Reals) -> Reals:
    """Return the constant that leaves a map."""
    if isinstance(node, nir.Delay):
        if constant.any() and np.any(node.delay):
            raise ValueError(
                f"node {name!r} delays a bias, which would set in later; that cannot be represented"
            )
        return constant
    if isinstance(node, nir.Scale):
        return np.asarray(constant * node.scale)
    passed = node.weight @ constant if constant.ndim else constant
    if isinstance(node, nir.Affine):
        passed = passed + _vector(name, "bias", node.bias, len(node.weight))
    return np.asarray(passed)


def _neuron(name: str, size: int, node: Any, constant: Reals, time_unit: float) -> LIF | LI:
    """Return the neurons of a node that receives a constant input."""
    r, v_leak = _array(name, size, node, "r"), _array(name, size, node, "v_leak")
    parameters: dict[str, Any]
    if isinstance(node, _CURRENT_BASED):
        drive = r * _array(name, size, node, "w_in") * constant
        parameters = {
            "tau_mem": _array(name, size, node, "tau_mem") * time_unit,
            "tau_syn": _array(name, size, node, "tau_syn") * time_unit,
            "i_initial": 0.0 - drive,
        }
    else:
        drive = r * constant
        tau = _array(name, size, node, "tau") * time_unit
        parameters = {"tau_mem": tau, "tau_syn": tau}  # no current ever flows
    parameters["v_leak"] = v_leak + drive
    try:
        if isinstance(node, nir.CubaLI | nir.LI):
            return LI(**parameters)
        return LIF(**parameters | {key: _array(name, size, node, key) for key in ("v_threshold", "v_reset")})
    except ValueError as error:
        raise ValueError(f"node {name!r} cannot be represented: {error}") from error


def _projection_name(path: _Path, post: str) -> str | None:
    """Return the name of one of several projections: that which :func:`to_nir` gave it, else those of its nodes."""
    own = f"{path.source}->{post}"
    for node in path.nodes:
        if node == own:
            return None
        if node.startswith(f"{own}:") and not node.endswith(":delay"):
            return node.removeprefix(f"{own}:")
    return "+".join(path.nodes) or "direct"


def _sizes(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> dict[tuple[str, str], int | None]:
    """Return how many channels enter and leave every node, None where nothing says it.

    A node whose parameters are single numbers has as many as what it is connected to.
    """
    ends = nx.Graph((((pre, "out"), (post, "in")) for pre, post in edges))
    said: dict[tuple[str, str], int] = {}
    for name, node in nodes.items():
        if isinstance(node, nir.Affine | nir.Linear):
            ends.add_nodes_from([(name, "in"), (name, "out")])
            if np.ndim(node.weight) == 2:
                said[name, "out"], said[name, "in"] = np.shape(node.weight)
            continue
        ends.add_edge((name, "in"), (name, "out"))
        own = _own_size(name, node)
        if own is not None:
            said[name, "out"] = own
    sizes: dict[tuple[str, str], int | None] = {}
    for joined in nx.connected_components(ends):
        known = [(said[end] == 1, str(end), said[end]) for end in joined if end in said]
        size = min(known)[2] if known else None  # one number may stand for many
        sizes |= {end: size if said.get(end, 1) == 1 else said[end] for end in joined}
    return sizes


def _own_size(name: str, node: Any) -> int | None:
    """Return the size that a node's own parameters have, None if they are scalars."""
    if isinstance(node, nir.Input):
        shapes = [tuple(np.atleast_1d(np.asarray(node.input_type["input"])).tolist())]
    elif isinstance(node, _NEURONS):
        shapes = [np.shape(value) for value in vars(node).values() if isinstance(value, np.ndarray)]
    elif isinstance(node, nir.Scale | nir.Delay):
        shapes = [np.shape(node.scale if isinstance(node, nir.Scale) else node.delay)]
    else:
        return None
    shape = max(shapes, key=lambda shape: (int(np.prod(shape)), len(shape)))
    if any(n != 1 for n in shape[:-1]):
        raise ValueError(f"node {name!r} has shape {shape}; a population has one dimension")
    return int(shape[-1]) if shape else None


def _array(name: str, size: int, node: Any, parameter: str) -> Reals:
    values = _vector(name, parameter, getattr(node, parameter), size)
    if (
        parameter in ("r", "w_in") and not np.isfinite(values).all()
    ):  # else what it multiplies would be blamed
        raise ValueError(
            f"{parameter} of node {name!r} must be finite; got {shown(getattr(node, parameter))}"
        )
    return values


def _vector(name: str, parameter: str, values: Any, n: int) -> Reals:
    array = real_array(f"{parameter} of node {name!r}", values)
    if array.ndim > 1 and array.shape[:-1] == (1,) * (array.ndim - 1):
        array = array.reshape(-1)  # of a batch of one
    if array.shape not in ((), (1,), (n,)):
        raise ValueError(f"{parameter} of node {name!r} must have shape ({n},); got {array.shape}")
    return np.array(np.broadcast_to(array, (n,)))


def _stored(matrix: Any) -> int:
    return int(matrix.nnz if sp.issparse(matrix) else matrix.size)


def _rows_times(factor: Reals, matrix: Any) -> Any:
    return sp.csr_array(sp.diags_array(factor) @ matrix) if sp.issparse(matrix) else factor[:, None] * matrix


def _is_identity(matrix: Any) -> bool:
    return bool((matrix.diagonal() == 1.0).all())


def checked_unit(time_unit: object, name: str = "time_unit") -> float:
    """Return a unit of time in seconds, or raise a ValueError."""
    value = seconds(name, time_unit)
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be a finite number of seconds > 0; got {shown(time_unit)}")
    return value
