"""Networks as documents; times in seconds on this side, in the document's unit on the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from eventsolve.bounded import Budget
from eventsolve.io.records.fields import (
    RecordError,
    indices,
    listed,
    mapping,
    reals,
    scaled,
    size,
    text,
)
from eventsolve.network import LI, LIF, Network, Projection, parameters_of

MODELS = {"input": None, "LIF": LIF, "LI": LI}
_SYNAPSE_BYTES = 48
"""What connecting takes for each synapse: copies of its weight and delay, and their checks."""
_NEURON_BYTES = 512
"""What solving takes for each neuron besides its state in each sample: its parameters, in every form."""
_TIMES = ("tau_mem", "tau_syn", "t_ref")
_PARAMETERS = {
    "LIF": ("v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial", "reset"),
    "LI": ("v_leak", "v_initial", "i_initial"),
}


def network_document(network: Network) -> dict[str, Any]:
    """Return a network as a document, in seconds."""
    populations = []
    for population in network.populations.values():
        neuron = population.neuron
        entry: dict[str, Any] = {"name": population.name, "size": population.size, "model": "input"}
        if neuron is not None:
            entry["model"] = type(neuron).__name__
            entry |= {name: getattr(neuron, name) for name in parameters_of(neuron)}
        if isinstance(neuron, LIF):
            entry["reset"] = neuron.reset
        populations.append(entry)
    return {
        "populations": populations,
        "projections": [_projection_document(p) for p in network.projections.values()],
    }


def _projection_document(projection: Projection) -> dict[str, Any]:
    entry: dict[str, Any] = {"pre": projection.pre, "post": projection.post}
    if len(projection.key) > 2:
        entry["name"] = projection.key[2]
    weight, delay = projection.weight, projection.delay
    if sp.issparse(weight):
        entry["weight"] = {"indptr": weight.indptr, "indices": weight.indices, "data": weight.data}
    else:
        entry["weight"] = weight
    if delay.any():
        uniform = bool((delay == delay[0]).all())
        entry["delay"] = (
            float(delay[0]) if uniform else delay if sp.issparse(weight) else delay.reshape(weight.shape)
        )
    if projection.synapse != "exponential":
        entry["synapse"] = projection.synapse
    return entry


def network_of(where: str, document: object, seconds: float, largest: int, budget: Budget) -> Network:
    """Return the network of a document.

    Parameters
    ----------
    where : str
        What errors call it.
    document : mapping
    seconds : float
        That its unit of time lasts.
    largest : int
        Neurons that it may have in all.
    budget : Budget

    Raises
    ------
    RecordError
        If it is not a network.
    """
    parts = mapping(where, document, ("populations", "projections"), ())
    network = Network()
    left = largest
    for k, entry in enumerate(listed(f"{where}.populations", parts["populations"])):
        left -= _add_population(network, f"{where}.populations[{k}]", entry, seconds, left, budget)
    for k, entry in enumerate(listed(f"{where}.projections", parts["projections"])):
        _connect(network, f"{where}.projections[{k}]", entry, seconds, budget)
    return network


def _add_population(
    network: Network, where: str, document: object, seconds: float, largest: int, budget: Budget
) -> int:
    entry = mapping(where, document, ("name", "size", "model"))
    name = text(f"{where}.name", entry["name"])
    model = text(f"{where}.model", entry["model"], MODELS)
    n = size(f"{where}.size", entry["size"], largest)
    budget.take((64 if model == "input" else _NEURON_BYTES) * n, f"{where} of {n} neurons")
    if model == "input":
        mapping(where, entry, ("name", "size", "model"), ())
        _at(where, lambda: network.add_input(name, n))
        return n
    optional = _PARAMETERS[model]
    mapping(where, entry, ("name", "size", "model", "tau_mem", "tau_syn"), optional)
    values: dict[str, Any] = {}
    for parameter in ("tau_mem", "tau_syn", *optional):
        if parameter == "reset" and parameter in entry:
            values[parameter] = text(f"{where}.reset", entry[parameter], ("value", "subtract"))
        elif parameter in entry:
            scale, place = seconds if parameter in _TIMES else 1.0, f"{where}.{parameter}"
            values[parameter] = scaled(place, reals(place, entry[parameter], budget), scale, budget)
            budget.take(2 * values[parameter].nbytes, place)
    kind: Any = MODELS[model]
    _at(where, lambda: network.add_population(name, n, kind(**values)))
    return n


def _connect(network: Network, where: str, document: object, seconds: float, budget: Budget) -> None:
    entry = mapping(where, document, ("pre", "post", "weight"), ("name", "delay", "synapse"))
    pre, post = (text(f"{where}.{end}", entry[end]) for end in ("pre", "post"))
    name = text(f"{where}.name", entry["name"]) if "name" in entry else None
    synapse: Any = text(f"{where}.synapse", entry.get("synapse", "exponential"), ("exponential", "delta"))
    for end in (pre, post):
        _at(where, lambda end=end: network.population(end))
    shape = (network.population(post).size, network.population(pre).size)
    delay: Any = scaled(
        f"{where}.delay", reals(f"{where}.delay", entry.get("delay", 0.0), budget), seconds, budget
    )
    if isinstance(entry["weight"], dict):
        weight = _sparse(f"{where}.weight", entry["weight"], shape, budget)
        if delay.ndim:
            if delay.shape != weight.data.shape:
                raise RecordError(
                    f"{where}.delay must be a number or have shape {weight.data.shape}, one per stored weight; "
                    f"got {delay.shape}"
                )
            delay = sp.csr_array((delay, weight.indices, weight.indptr), shape=shape)
    else:
        weight = reals(f"{where}.weight", entry["weight"], budget)
        budget.take(_SYNAPSE_BYTES * weight.size, f"{where}.weight")
    _at(where, lambda: network.connect(pre, post, weight, delay=delay, synapse=synapse, name=name))


def _sparse(where: str, document: object, shape: tuple[int, int], budget: Budget) -> Any:
    """Return compressed rows whose columns are sorted and unique, as gradients are in the order of the file's."""
    entry = mapping(where, document, ("indptr", "indices", "data"), ())
    data = reals(f"{where}.data", entry["data"], budget)
    budget.take(2 * _SYNAPSE_BYTES * data.size + 32 * shape[0], where)
    indptr = indices(f"{where}.indptr", entry["indptr"], data.size + 1, budget)
    columns = indices(f"{where}.indices", entry["indices"], shape[1], budget)
    rows_fit = indptr.shape == (shape[0] + 1,) and indptr[0] == 0 and indptr[-1] == data.size
    if not rows_fit or (np.diff(indptr) < 0).any() or columns.shape != data.shape:
        raise RecordError(
            f"{where} must be compressed rows of a matrix {shape}: indptr ({shape[0] + 1},) from 0 to the number of "
            f"entries, indices and data of that length; got {indptr.shape}, {columns.shape} and {data.shape}"
        )
    if not _increasing(indptr, columns):
        raise RecordError(f"{where}.indices must increase within each row")
    return sp.csr_array((data, columns, indptr), shape=shape)


def _increasing(indptr: NDArray[np.int64], columns: NDArray[np.int64]) -> bool:
    steps = np.diff(columns)
    within = np.ones(steps.size, dtype=np.bool_)
    within[indptr[(indptr > 0) & (indptr <= steps.size)] - 1] = False
    return bool((steps[within] > 0).all())


def _at(where: str, build: Any) -> None:
    """Call what adds to the network, and say where the document is wrong if it refuses."""
    try:
        build()
    except (ValueError, TypeError) as error:
        raise RecordError(f"{where}: {error}") from error
