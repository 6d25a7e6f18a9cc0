"""A network as arrays, and what a step along a parameter does to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.network import Network
from eventsolve.patterns import NEURON_PARAMETERS
from eventsolve.patterns import Pattern as Numbers
from eventsolve.typing import Booleans, Integers, Reals


class Numbered(NamedTuple):
    """The numbers of a circuit that may move, in its order; ``given`` are the times of input spikes, as in a Pattern.

    As what they are, or by how much each moves for a step of 1 along a parameter.
    """

    tau_mem: Reals
    tau_syn: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals
    t_ref: Reals
    weight: Reals
    delay: Reals
    given: Reals


class Circuit(NamedTuple):
    """A network as arrays: neurons numbered through as cells, and its synapses of a weight other than 0.

    Sources are numbered through, inputs first, cells after them. ``first`` is by population the number of its first
    source. Parameters are (n_cells,), a readout's v_threshold is inf.
    """

    network: Network
    first: dict[str, int]
    n_channels: int
    n_cells: int
    tau_mem: Reals
    tau_syn: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals
    t_ref: Reals
    subtracts: Booleans
    source: Integers
    target: Integers
    weight: Reals
    delay: Reals
    delta: Booleans

    def cell_name(self, cell: int) -> tuple[str, int]:
        """Return the population of a cell and its number there."""
        return self.source_name(self.n_channels + cell)

    def source_name(self, number: int) -> tuple[str, int]:
        """Return the population of a source and its number there."""
        name = max((n for n, first in self.first.items() if first <= number), key=self.first.__getitem__)
        return name, number - self.first[name]

    def cells_of(self, name: str) -> slice:
        """Return the cells of a population of neurons."""
        low = self.first[name] - self.n_channels
        return slice(low, low + self.network.population(name).size)

    def numbers(self) -> Numbered:
        """Return the numbers of it, without input spikes."""
        return Numbered(
            self.tau_mem,
            self.tau_syn,
            self.v_threshold,
            self.v_reset,
            self.v_leak,
            self.t_ref,
            self.weight,
            self.delay,
            np.empty(0),
        )


def circuit_of(network: Network, kept: Numbers | None = None) -> Circuit:
    """Return a network as arrays, with synapses of any weight that ``kept`` has a number for other than 0."""
    populations = network.populations
    inputs = [p for p in populations.values() if p.neuron is None]
    cells = [p for p in populations.values() if p.neuron is not None]
    first, n = {}, 0
    for p in (*(p for p in inputs if p.size), *(p for p in cells if p.size)):
        first[p.name] = n
        n += p.size
    n_channels = sum(p.size for p in inputs)

    def parameter(name: str) -> Reals:
        return np.concatenate([np.empty(0), *(p.parameter(name) for p in cells)])

    columns: list[tuple[NDArray[Any], ...]] = [(np.empty(0),) * 5]
    for key, projection in network.projections.items():
        if not projection.weights.size:
            continue
        column = (
            projection.sources + first[projection.pre],
            projection.targets + first[projection.post] - n_channels,
            projection.weights,
            projection.delay,
            np.full(projection.weights.size, projection.synapse == "delta"),
        )
        matters = _matters(network, key, kept)
        columns.append(tuple(values[matters] for values in column))
    source, target, weight, delay, delta = (np.concatenate(column) for column in zip(*columns, strict=True))
    subtracts = [getattr(p.neuron, "reset", "value") == "subtract" for p in cells]
    return Circuit(
        network,
        first,
        n_channels,
        n - n_channels,
        parameter("tau_mem"),
        parameter("tau_syn"),
        parameter("v_threshold"),
        parameter("v_reset"),
        parameter("v_leak"),
        parameter("t_ref"),
        np.repeat(subtracts, [p.size for p in cells]).astype(np.bool_),
        source.astype(np.int64),
        target.astype(np.int64),
        weight,
        delay,
        delta.astype(np.bool_),
    )


def _matters(network: Network, key: Any, kept: Numbers | None) -> Booleans:
    """Return which synapses of a projection are in the circuit."""
    found: Booleans = network.projections[key].weights != 0.0
    if kept is not None and key in kept.get("weight", {}):
        found = found | (kept["weight"][key] != 0.0)
    return found


def numbered(network: Network, numbers: Numbers, kept: Numbers, inputs: Mapping[str, int]) -> Numbered:
    """Return numbers by name and key, flat, in the order of ``circuit_of(network, kept)``; 0 where there is none.

    ``inputs`` says how many spikes each of them has, which follow upon each other in this order.
    """
    cells = [p for p in network.populations.values() if p.neuron is not None]
    nothing = np.empty(0)
    columns = {}
    for name in NEURON_PARAMETERS:
        by_key = numbers.get(name, {})
        columns[name] = np.concatenate(
            [nothing, *(np.asarray(by_key.get(p.name, np.zeros(p.size))) for p in cells)]
        )
    for name in ("weight", "delay"):
        by_key = numbers.get(name, {})
        columns[name] = np.concatenate(
            [
                nothing,
                *(
                    np.asarray(by_key.get(key, np.zeros(p.weights.size)))[_matters(network, key, kept)]
                    for key, p in network.projections.items()
                ),
            ]
        )
    times = numbers.get("spike_times", {})
    given = np.concatenate([nothing, *(np.asarray(times.get(n, np.zeros(k))) for n, k in inputs.items())])
    return Numbered(
        columns["tau_mem"],
        columns["tau_syn"],
        columns["v_threshold"],
        columns["v_reset"],
        columns["v_leak"],
        columns["t_ref"],
        columns["weight"],
        columns["delay"],
        given,
    )


def still_of(numbers: Numbered, n_given: int) -> Numbered:
    """Return the step along which nothing moves."""
    cells, synapses = np.zeros(numbers.v_leak.size), np.zeros(numbers.weight.size)
    return Numbered(*(cells,) * 6, synapses, synapses, np.zeros(n_given))


def response(s: Reals | float, tau_mem: Reals | float, tau_syn: Reals | float) -> Reals:
    """Return K(s), what a unit of current does to V after s >= 0 seconds, without cancellation."""
    a, b = np.asarray(s) / tau_mem, np.asarray(s) / tau_syn
    d = np.abs(a - b)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(d > 0.0, -np.expm1(-d) / d, 1.0)
    found: Reals = a * np.exp(-np.minimum(a, b)) * mean
    return found
