"""Records as documents of objects, lists, strings, numbers and arrays: what a file holds, in whatever container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
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
from eventsolve.io.records.record import (
    PASSES,
    QUANTITIES,
    STATES,
    SYNAPTIC,
    Record,
    Reference,
    Trace,
)
from eventsolve.io.records.scheme import CHOICES, UNSAID, Scheme
from eventsolve.network import Network
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Key, Reals

FORMAT, VERSION = "eventsolve-record", 1
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""Of time; a fourth one, "step", is the time step."""
_PER_TIME = ("delay", "tau_mem", "tau_syn", "t_ref", "spike_times")
_CONVENTIONS = (*("time_unit", "time_step", "reduction", "stamp", "own_reset", "factors", "trials"),)
_STATE_BYTES = 64
"""What solving takes for each neuron of each sample, at least."""
_SPIKE_BYTES = 120
"""What sorting and checking a spike takes besides what is given of it."""
_SMALLEST = 1e-100
_MOST_COUNTED = 2**63 - 1
_REQUIRED = ("format", "version", "name")
_OPTIONAL = (
    *("t_end", "n_samples", "conventions", "network", "inputs", "spikes", "loss", "loss_values"),
    *("gradients", "traces", "notes", "counters", "scheme", "weights", "arrivals"),
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
    if not record.own_reset:
        document["conventions"]["own_reset"] = False
    if record.trials != 1:
        document["conventions"]["trials"] = record.trials
    if record.scheme.said:
        document["scheme"] = record.scheme.said
    if record.time_step is not None:
        document["conventions"]["time_step"] = float(record.time_step)
    if isinstance(record.network, Network):
        document["network"] = network_document(record.network)
    elif record.network is not None:
        document["network"] = {key: value for key, value in record.network._asdict().items() if value}
    for name in ("inputs", "spikes", "arrivals"):
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
        document["traces"] = {name: _trace_document(trace) for name, trace in record.traces.items()}
    if record.weights:
        document["weights"] = {
            when: [_synaptic(key, values) for key, values in matrices.items()]
            for when, matrices in record.weights.items()
        }
    if record.notes:
        document["notes"] = "\n".join(record.notes)
    return document


def _trace_document(trace: Trace) -> dict[str, Any]:
    document = {key: value for key, value in vars(trace).items() if value is not None and key != "currents"}
    if trace.currents:
        document["currents"] = [_synaptic(key, values) for key, values in trace.currents.items()]
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
    said = mapping("conventions", top.get("conventions", {}), (), _CONVENTIONS)
    step = number("conventions.time_step", said["time_step"], positive=True) if "time_step" in said else None
    unit = text("conventions.time_unit", said.get("time_unit", "s"), (*UNITS, "step"))
    if unit == "step" and step is None:
        raise RecordError("conventions must have 'time_step', in seconds, for times in steps")
    seconds = UNITS[unit] if unit != "step" else float(step or 0.0)
    reduction: Any = text("conventions.reduction", said.get("reduction", "mean"), ("mean", "sum", "none"))
    largest = budget.most // _STATE_BYTES
    n_samples = size("n_samples", top.get("n_samples", 1), largest)
    most = largest // max(1, n_samples)

    stamp = text("conventions.stamp", said.get("stamp", "end"), ("end", "start"))
    if stamp == "start" and step is None:
        raise RecordError("conventions must have 'time_step', for times that are the start of their step")
    later = float(step or 0.0) / seconds if stamp == "start" else 0.0
    own_reset = said.get("own_reset", True)
    if not isinstance(own_reset, bool):
        raise RecordError(f"conventions.own_reset must be true or false; got {shown(own_reset)}")
    factors, remarks = _factors(said.get("factors", {}))
    inputs, orders = _all_trains("inputs", top, n_samples, seconds, 0.0, most, budget)
    spikes, spike_orders = _all_trains("spikes", top, n_samples, seconds, later, most, budget)
    orders |= spike_orders
    trains = inputs | spikes
    loss = None
    if "loss" in top:
        loss, other = loss_of("loss", top["loss"], seconds, trains, orders, budget)
        remarks += other
    scale = seconds**2 if type(loss).__name__ in SQUARED else 1.0
    values = None
    if "loss_values" in top:
        values = scaled(
            "loss_values",
            reals("loss_values", top["loss_values"], budget, gaps=True),
            scale / factors.get("loss", 1.0),
            budget,
        )
    return Record(
        name=text("name", top["name"]),
        t_end=times(number("t_end", top["t_end"], positive=True), seconds) if "t_end" in top else None,
        inputs=inputs,
        spikes=spikes,
        network=_network(top["network"], seconds, most, budget) if "network" in top else None,
        loss=loss,
        loss_values=values,
        gradients=_gradients(top.get("gradients", {}), seconds, scale, factors, orders, budget),
        reduction=reduction,
        time_step=step,
        traces={
            name: _trace(f"traces of {name!r}", entry, seconds, later, budget)
            for name, entry in mapping("traces", top.get("traces", {})).items()
        },
        counters={
            name: size(f"counters of {name!r}", count, _MOST_COUNTED)
            for name, count in mapping("counters", top.get("counters", {})).items()
        },
        notes=(*(text("notes", top["notes"]).splitlines() if "notes" in top else ()), *remarks),
        scheme=_scheme(top["scheme"]) if "scheme" in top else UNSAID,
        own_reset=own_reset,
        weights={
            when: _by_projection(f"weights.{when}", matrices, 1.0, budget)
            for when, matrices in mapping("weights", top.get("weights", {}), (), PASSES).items()
        },
        trials=size("conventions.trials", said["trials"], largest) if "trials" in said else 1,
        arrivals=_all_trains("arrivals", top, n_samples, seconds, later, most, budget)[0],
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


def _factors(document: object) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return by what numbers of each quantity are to be divided, and a sentence on each."""
    factors, remarks = {}, []
    for quantity, given in mapping("conventions.factors", document, (), ("loss", *QUANTITIES)).items():
        where = f"conventions.factors.{quantity}"
        entry = mapping(where, given, ("factor",), ("name",))
        factor = entry["factor"]
        real = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not real or not _SMALLEST <= abs(factor) <= 1.0 / _SMALLEST:
            raise RecordError(
                f"{where}.factor must be a number with {_SMALLEST:g} <= |factor| <= {1 / _SMALLEST:g}; "
                f"got {shown(factor)}"
            )
        factors[quantity] = float(factor)
        name = text(f"{where}.name", entry["name"]) if "name" in entry else f"{factor!r} times it"
        remarks.append(f"{quantity} was written as {name}, and divided by {float(factor)!r}.")
    return factors, tuple(remarks)


def _scheme(document: object) -> Scheme:
    entry = mapping("scheme", document, (), tuple(field.name for field in fields(Scheme)))
    for name, value in entry.items():
        if value is None:
            raise RecordError(f"scheme.{name} must be left out where it is not known; got null")
    if "number" in entry:
        text("scheme.number", entry["number"])
    for name, choices in CHOICES.items():
        if name in entry:
            text(f"scheme.{name}", entry[name], choices)
    return Scheme(**entry)


def _all_trains(
    where: str, top: Document, n_samples: int, seconds: float, later: float, most: int, budget: Budget
) -> tuple[dict[str, SpikeTrains], dict[str, NDArray[np.int64]]]:
    """Return spikes by population, and where each stood in the document."""
    found, orders = {}, {}
    for name, document in mapping(where, top.get(where, {})).items():
        place = f"{where} of {name!r}"
        entry = mapping(place, document, ("n_neurons", "times", "neurons"), ("samples",))
        n_neurons = size(f"{place}.n_neurons", entry["n_neurons"], most)
        most -= n_neurons
        times = _times(f"{place}.times", entry["times"], seconds, later, budget)
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
        _check_once(place, times, neurons, samples)
        columns = (column[orders[name]] for column in (times, neurons, samples))
        try:
            found[name] = SpikeTrains.from_arrays(*columns, n_neurons=n_neurons, n_samples=n_samples)
        except ValueError as error:
            raise RecordError(f"{place}: {error}") from error
    return found, orders


def _check_once(place: str, times: Reals, neurons: NDArray[np.int64], samples: NDArray[np.int64]) -> None:
    """Raise a RecordError if a neuron spikes twice at one time, which on a clock is in one step."""
    order = np.lexsort((times, neurons, samples))
    columns = [column[order] for column in (times, neurons, samples)]
    twice = np.flatnonzero(np.logical_and.reduce([column[1:] == column[:-1] for column in columns]))
    if twice.size:
        time, neuron, sample = (column[twice[0]].item() for column in columns)
        raise RecordError(
            f"{place}: neuron {neuron} spikes twice at {time!r} s in sample {sample}; {twice.size} spikes repeat a "
            "time of their neuron in all. A record has one spike of a neuron at one time: give times within the step, "
            "or leave out all but the first and count the others in 'counters'"
        )


def _gradients(
    document: object,
    seconds: float,
    scale: float,
    factors: Mapping[str, float],
    orders: Mapping[str, NDArray[np.int64]],
    budget: Budget,
) -> dict[str, dict[Any, Reals]]:
    found: dict[str, dict[Any, Reals]] = {}
    for quantity, places in mapping("gradients", document, (), QUANTITIES).items():
        by = (scale / seconds if quantity in _PER_TIME else scale) / factors.get(quantity, 1.0)
        where = f"gradients.{quantity}"
        values: dict[Any, Reals] = {}
        if quantity in SYNAPTIC:
            values = _by_projection(where, places, by, budget)
        else:
            for name, given in mapping(where, places).items():
                place = f"{where} of {name!r}"
                values[name] = scaled(place, reals(place, given, budget, gaps=True), by, budget)
                if quantity == "spike_times" and values[name].shape == orders.get(name, np.empty(0)).shape:
                    budget.take(values[name].nbytes, place)
                    values[name] = values[name][orders[name]]
        found[quantity] = values
    return found


def _times(where: str, value: object, seconds: float, later: float, budget: Budget) -> Reals:
    """Return times in seconds, which are given in another unit and are that much ``later``, in that unit."""
    given = reals(where, value, budget)
    if later:
        budget.take(given.nbytes, where)
        given = given + later
    return scaled(where, given, seconds, budget)


def _by_projection(where: str, document: object, by: float, budget: Budget) -> dict[Any, Reals]:
    values: dict[Any, Reals] = {}
    for k, entry in enumerate(listed(where, document)):
        parts = mapping(f"{where}[{k}]", entry, ("pre", "post", "values"), ("name",))
        key = tuple(
            text(f"{where}[{k}].{end}", parts[end]) for end in ("pre", "post", "name") if end in parts
        )
        if key in values:
            raise RecordError(f"{where} has {key!r} twice")
        place = f"{where}[{k}].values"
        values[key] = scaled(place, reals(place, parts["values"], budget, gaps=True), by, budget)
    return values


def _trace(where: str, document: object, seconds: float, later: float, budget: Budget) -> Trace:
    entry = mapping(where, document, ("times", "voltage"), (*STATES, "currents"))
    times = _times(f"{where}.times", entry["times"], seconds, later, budget)
    states = {
        name: scaled(
            f"{where}.{name}",
            reals(f"{where}.{name}", entry[name], budget, gaps=True),
            1.0 / seconds if name == "slope" else 1.0,
            budget,
        )
        for name in ("voltage", *STATES)
        if name in entry
    }
    return Trace(
        times, **states, currents=_by_projection(f"{where}.currents", entry.get("currents", []), 1.0, budget)
    )
