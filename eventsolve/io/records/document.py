"""Records as documents of objects, lists, strings, numbers and arrays: what a file holds, in whatever container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.bounded import Budget
from eventsolve.checks import shown
from eventsolve.io.records.fields import (
    Document,
    RecordError,
    indices,
    listed,
    mapping,
    number,
    reals,
    scaled,
    size,
    text,
    times,
)
from eventsolve.io.records.losses import SQUARED, loss_document, loss_of
from eventsolve.io.records.networks import network_document, network_of
from eventsolve.io.records.record import NEURONAL, SYNAPTIC, Record, Reference, Trace
from eventsolve.network import Key, Network
from eventsolve.spiketrains import SpikeTrains

Reals = NDArray[np.float64]

FORMAT, VERSION = "eventsolve-record", 1
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""Of time; a fourth one, "step", is the time step."""
_PER_TIME = ("delay", "tau_mem", "tau_syn", "t_ref", "spike_times")
_STATE_BYTES = 64
"""What solving takes for each neuron of each sample, at least."""
_SPIKE_BYTES = 80
"""What sorting and checking a spike takes besides what is given of it."""
_MOST_COUNTED = 2**63 - 1
_REQUIRED = ("format", "version", "name")
_OPTIONAL = (
    *("t_end", "n_samples", "conventions", "network", "inputs", "spikes", "loss", "loss_values"),
    *("gradients", "traces", "notes", "counters"),
)


def schema() -> dict[str, Any]:
    """Return the JSON schema of a record as it stands in a ``.json`` file."""
    found = resources.files("eventsolve.io.records").joinpath("schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(found)
    return document


# -- writing -------------------------------------------------------------------------------------------------------


def document_of(record: Record) -> dict[str, Any]:
    """Return a record as a document, in seconds, without what it does not have."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": record.name,
        "n_samples": record.n_samples,
        "conventions": {"time_unit": "s", "reduction": record.reduction},
    }
    if record.t_end is not None:
        document["t_end"] = float(record.t_end)
    if record.time_step is not None:
        document["conventions"]["time_step"] = float(record.time_step)
    if isinstance(record.network, Network):
        document["network"] = network_document(record.network)
    elif record.network is not None:
        document["network"] = {key: value for key, value in record.network._asdict().items() if value}
    for name in ("inputs", "spikes"):
        if getattr(record, name):
            document[name] = {key: _trains_document(trains) for key, trains in getattr(record, name).items()}
    if record.loss is not None:
        document["loss"] = loss_document(record.loss)
    if record.loss_values is not None:
        document["loss_values"] = record.loss_values
    if record.gradients:
        document["gradients"] = {
            quantity: [_synaptic(key, values) for key, values in places.items()]
            if quantity in SYNAPTIC
            else dict(places)
            for quantity, places in record.gradients.items()
        }
    if record.counters:
        document["counters"] = dict(record.counters)
    if record.traces:
        document["traces"] = {
            name: {key: value for key, value in vars(trace).items() if value is not None}
            for name, trace in record.traces.items()
        }
    if record.notes:
        document["notes"] = "\n".join(record.notes)
    return document


def _trains_document(trains: SpikeTrains) -> dict[str, Any]:
    return {
        "n_neurons": trains.n_neurons,
        "times": trains.times,
        "neurons": trains.neurons,
        "samples": trains.samples,
    }


def _synaptic(key: Key, values: Reals) -> dict[str, Any]:
    return dict(zip(("pre", "post", "name"), key, strict=False)) | {"values": values}


# -- reading -------------------------------------------------------------------------------------------------------


def record_of(document: object, budget: Budget) -> Record:
    """Return the record of a document.

    Parameters
    ----------
    document : mapping
        Arrays in it are ndarrays or nested lists.
    budget : Budget
        What reading it may take. It also bounds n_samples times the neurons of all populations, the size of tables.

    Raises
    ------
    RecordError
        If it is not a record, or its parts do not fit each other.
    """
    top = mapping("the record", document, ("format", "version"))
    if top["format"] != FORMAT:
        raise RecordError(f"format must be {FORMAT!r}; got {shown(top['format'])}")
    if isinstance(top["version"], bool) or top["version"] != VERSION:
        raise RecordError(f"version must be {VERSION}, which this release reads; got {shown(top['version'])}")
    mapping("the record", top, _REQUIRED, _OPTIONAL)
    said = mapping("conventions", top.get("conventions", {}), (), ("time_unit", "time_step", "reduction"))
    step = number("conventions.time_step", said["time_step"], positive=True) if "time_step" in said else None
    unit = text("conventions.time_unit", said.get("time_unit", "s"), (*UNITS, "step"))
    if unit == "step" and step is None:
        raise RecordError("conventions must have 'time_step', in seconds, for times in steps")
    seconds = UNITS[unit] if unit != "step" else float(step or 0.0)
    reduction: Any = text("conventions.reduction", said.get("reduction", "mean"), ("mean", "sum", "none"))
    largest = budget.most // _STATE_BYTES
    n_samples = size("n_samples", top.get("n_samples", 1), largest)
    most = largest // max(1, n_samples)

    inputs, orders = _all_trains("inputs", top, n_samples, seconds, most, budget)
    spikes, spike_orders = _all_trains("spikes", top, n_samples, seconds, most, budget)
    orders |= spike_orders
    trains = inputs | spikes
    loss = loss_of("loss", top["loss"], seconds, trains, orders, budget) if "loss" in top else None
    scale = seconds**2 if type(loss).__name__ in SQUARED else 1.0
    values = None
    if "loss_values" in top:
        values = scaled(
            "loss_values", reals("loss_values", top["loss_values"], budget, gaps=True), scale, budget
        )
    return Record(
        name=text("name", top["name"]),
        t_end=times(number("t_end", top["t_end"], positive=True), seconds) if "t_end" in top else None,
        inputs=inputs,
        spikes=spikes,
        network=_network(top["network"], seconds, most, budget) if "network" in top else None,
        loss=loss,
        loss_values=values,
        gradients=_gradients(top.get("gradients", {}), seconds, scale, orders, budget),
        reduction=reduction,
        time_step=step,
        traces={
            name: _trace(f"traces of {name!r}", entry, seconds, budget)
            for name, entry in mapping("traces", top.get("traces", {})).items()
        },
        counters={
            name: size(f"counters of {name!r}", count, _MOST_COUNTED)
            for name, count in mapping("counters", top.get("counters", {})).items()
        },
        notes=tuple(text("notes", top["notes"]).splitlines()) if "notes" in top else (),
    )


def _network(document: object, seconds: float, largest: int, budget: Budget) -> Network | Reference:
    parts = mapping("network", document)
    if "file" not in parts:
        return network_of("network", parts, seconds, largest, budget)
    mapping("network", parts, ("file",), ("sha256",))
    digest = text("network.sha256", parts["sha256"]).lower() if "sha256" in parts else ""
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise RecordError(f"network.sha256 must be 64 hexadecimal digits; got {shown(parts['sha256'])}")
    return Reference(text("network.file", parts["file"]), digest)


def _all_trains(
    where: str, top: Document, n_samples: int, seconds: float, most: int, budget: Budget
) -> tuple[dict[str, SpikeTrains], dict[str, NDArray[np.int64]]]:
    """Return spikes by population, and where each stood in the document."""
    found, orders = {}, {}
    for name, document in mapping(where, top.get(where, {})).items():
        place = f"{where} of {name!r}"
        entry = mapping(place, document, ("n_neurons", "times", "neurons"), ("samples",))
        n_neurons = size(f"{place}.n_neurons", entry["n_neurons"], most)
        most -= n_neurons
        times = scaled(f"{place}.times", reals(f"{place}.times", entry["times"], budget), seconds, budget)
        if times.ndim != 1:
            raise RecordError(f"{place}.times must be a vector; got shape {times.shape}")
        budget.take(_SPIKE_BYTES * times.size + 8 * n_samples, place)
        neurons = indices(f"{place}.neurons", entry["neurons"], n_neurons, budget)
        if "samples" not in entry and n_samples != 1:
            raise RecordError(f"{place} must have 'samples', as n_samples is {n_samples}")
        given = entry.get("samples", np.zeros(times.size, np.int64))
        samples = indices(f"{place}.samples", given, n_samples, budget)
        if not times.size == neurons.size == samples.size:
            raise RecordError(
                f"{place} must have as many times as neurons and samples; "
                f"got {times.size}, {neurons.size} and {samples.size}"
            )
        orders[name] = np.lexsort((neurons, times, samples))
        columns = (column[orders[name]] for column in (times, neurons, samples))
        try:
            found[name] = SpikeTrains.from_arrays(*columns, n_neurons=n_neurons, n_samples=n_samples)
        except ValueError as error:
            raise RecordError(f"{place}: {error}") from error
    return found, orders


def _gradients(
    document: object,
    seconds: float,
    scale: float,
    orders: Mapping[str, NDArray[np.int64]],
    budget: Budget,
) -> dict[str, dict[Any, Reals]]:
    known = (*SYNAPTIC, *NEURONAL, "spike_times")
    found: dict[str, dict[Any, Reals]] = {}
    for quantity, places in mapping("gradients", document, (), known).items():
        by = scale / seconds if quantity in _PER_TIME else scale
        where = f"gradients.{quantity}"
        values: dict[Any, Reals] = {}
        if quantity in SYNAPTIC:
            for k, entry in enumerate(listed(where, places)):
                parts = mapping(f"{where}[{k}]", entry, ("pre", "post", "values"), ("name",))
                key = tuple(
                    text(f"{where}[{k}].{end}", parts[end]) for end in ("pre", "post", "name") if end in parts
                )
                if key in values:
                    raise RecordError(f"{where} has {key!r} twice")
                place = f"{where}[{k}].values"
                values[key] = scaled(place, reals(place, parts["values"], budget, gaps=True), by, budget)
        else:
            for name, given in mapping(where, places).items():
                place = f"{where} of {name!r}"
                values[name] = scaled(place, reals(place, given, budget, gaps=True), by, budget)
                if quantity == "spike_times" and values[name].shape == orders.get(name, np.empty(0)).shape:
                    budget.take(values[name].nbytes, place)
                    values[name] = values[name][orders[name]]
        found[quantity] = values
    return found


def _trace(where: str, document: object, seconds: float, budget: Budget) -> Trace:
    entry = mapping(where, document, ("times", "voltage"), ("current",))
    times = reals(f"{where}.times", entry["times"], budget)
    return Trace(
        scaled(f"{where}.times", times, seconds, budget),
        reals(f"{where}.voltage", entry["voltage"], budget, gaps=True),
        reals(f"{where}.current", entry["current"], budget, gaps=True) if "current" in entry else None,
    )
