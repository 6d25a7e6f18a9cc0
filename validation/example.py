"""An example of a record with every part filled, and every key explained: what a user's own dump is made like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io import records
from eventsolve.io.records.document import document_of
from eventsolve.problem import network_of
from validation.grid import TimeStepped

N_SAMPLES, TIME_STEP, T_END = 2, 1e-3, 30e-3


def example_network() -> es.Network:
    """Return a small network in which everything occurs: two layers, a delay, a refractory period."""
    return network_of(
        {
            "in": 2,
            "hidden": (3, es.LIF(20e-3, 5e-3, t_ref=2e-3)),
            "out": (2, es.LIF(20e-3, 5e-3)),
        },
        {
            ("in", "hidden"): {"weight": [[5.0, 3.0], [4.0, 4.5], [2.5, 6.0]]},
            ("hidden", "out"): {"weight": [[3.5, 2.0, 1.5], [1.0, 2.5, 4.0]], "delay": 1e-3},
        },
    )


def example(network: es.Network, seed: int = 0) -> records.Record:
    """Return what an implementation on a clock records of a network: inputs are drawn, all else is computed.

    Parameters
    ----------
    network : Network
        The loss is on its last population that spikes or, without one, its last readout.
    seed : int
        Of inputs and labels.

    Raises
    ------
    ValueError
        If the network has no population to read, or no input.
    """
    populations = list(network.populations.values())
    inputs = {p.name: p.size for p in populations if p.neuron is None}
    read = [p for p in populations if p.neuron is not None and p.size]
    if not read or not inputs:
        raise ValueError("the network must have an input, and a population for a loss to read")
    random = np.random.default_rng(seed)
    output = next((p for p in reversed(read) if p.spiking), read[-1])
    labels = random.integers(0, output.size, N_SAMPLES)
    loss: Any = (
        es.losses.TTFSCrossEntropy(output.name, labels, tau0=2e-3, tau1=10e-3, alpha=3e-3, silent="t_end")
        if output.spiking
        else es.losses.MaxVoltageCrossEntropy(output.name, labels)
    )
    trains = {
        name: es.SpikeTrains.from_dense(
            np.round(random.uniform(0, 0.4 * T_END, (N_SAMPLES, size)) / TIME_STEP) * TIME_STEP
        )
        for name, size in inputs.items()
    }
    got = TimeStepped(TIME_STEP).run(es.Problem(network, trains, T_END, loss))
    held = {
        key: p.weight if isinstance(p.weight, np.ndarray) else p.weights
        for key, p in network.projections.items()
    }
    return replace(
        got,
        name="my implementation, 1 ms",
        spikes={name: spikes for name, spikes in got.spikes.items() if name not in inputs},
        weights={when: held for when in ("forward", "backward")},
        arrivals=_arrivals(network, got.spikes, T_END),
        notes=(
            "An example: put your own numbers in the place of these, and leave out what you do not have.",
        ),
    )


def _arrivals(
    network: es.Network, spikes: Mapping[str, es.SpikeTrains], t_end: float
) -> dict[str, es.SpikeTrains]:
    """Return when spikes arrive of the populations that send all of theirs with one delay."""
    delays: dict[str, set[float]] = {}
    for projection in network.projections.values():
        delays.setdefault(projection.pre, set()).update(np.unique(projection.delay))
    found = {}
    for name, (delay, *others) in delays.items():
        if not others:
            sent = spikes[name]
            there = sent.times + delay <= t_end
            found[name] = es.SpikeTrains.from_arrays(
                sent.times[there] + delay,
                sent.neurons[there],
                sent.samples[there],
                n_samples=sent.n_samples,
                n_neurons=sent.n_neurons,
            )
    return found


def explained(record: records.Record) -> str:
    """Return a record as JSON in which every object begins with what its keys mean, under the key "//"."""
    schema = records.schema()
    document: dict[str, Any] = json.loads(
        json.dumps(document_of(record), default=lambda array: array.tolist())
    )
    document["conventions"] |= {
        "stamp": "end",
        "own_reset": record.own_reset,
        "factors": {"weight": {"factor": 1.0, "name": "dL/dw itself"}},
        "trials": record.trials,
    }
    return "\n".join(_lines(_commented(document, schema, schema, []))) + "\n"


def _commented(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], given: list[Any]) -> Any:
    """Return a value with comments in its objects, by the descriptions of a schema, each where it is first needed."""
    schema = _of(value, schema, root)
    if isinstance(value, list):
        return [_commented(entry, schema.get("items", {}), root, given) for entry in value]
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    others = schema.get("additionalProperties") or {}
    inner = {key: known.get(key, others) for key in value}
    said = {key: _said(value[key], inner[key], root) for key in value if key in known}
    comment = {key: text for key, text in said.items() if text}
    told = comment and comment not in given
    if told:
        given.append(comment)
    own = {key: _commented(entry, inner[key], root, given) for key, entry in value.items()}
    return {"//": comment, **own} if told else own


def _of(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a schema that a value follows: what it refers to, and the alternative that has its keys."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for other in schema.get("anyOf", ()):
        found = _of(value, other, root)
        properties = found.get("properties", {})
        if (
            isinstance(value, dict)
            and properties
            and set(value) <= set(properties)
            and _chosen(value, properties)
        ):
            return found
    return schema


def _chosen(value: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Say whether the constants of an alternative are a value's."""
    return all(
        value[key] in part.get("enum", [part.get("const", value[key])])
        for key, part in properties.items()
        if key in value and not isinstance(value[key], dict | list)
    )


def _said(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Return what a schema says of a value, or of an object's or a list's entries."""
    own = schema.get("description", "")
    found = _of(value, schema, root)
    inner = found.get("additionalProperties") if isinstance(value, dict) else found.get("items")
    texts = [own]
    if isinstance(inner, dict):
        first = next(iter(value.values() if isinstance(value, dict) else value), None)
        texts.append(_of(first, inner, root).get("description", ""))
    if "properties" in found or not own:
        texts.append(found.get("description", ""))
    return " ".join(dict.fromkeys(text for text in texts if text))


_WIDTH = 110


def _lines(value: Any, indent: str = "", end: str = "") -> list[str]:
    """Return JSON with a line for whatever fits into one."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(indent) + len(flat) <= _WIDTH:
        return [indent + flat + end]
    numbers = isinstance(value, list) and not any(isinstance(entry, dict | list) for entry in value)
    if numbers:
        return [indent + flat + end]
    items: list[tuple[str, Any]] = (
        [(json.dumps(key, ensure_ascii=False) + ": ", entry) for key, entry in value.items()]
        if isinstance(value, dict)
        else [("", entry) for entry in value]
    )
    first, last = "{}" if isinstance(value, dict) else "[]"
    lines = [indent + first]
    for k, (key, entry) in enumerate(items):
        inner = _lines(entry, indent + " ", "," if k < len(items) - 1 else "")
        lines += [f"{indent} {key}{inner[0].strip()}", *inner[1:]]
    return [*lines, indent + last + end]
