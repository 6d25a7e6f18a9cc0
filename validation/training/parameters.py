"""What is trained of a network: some of its numbers, one array for each kind and place, in units that make them alike.

Times are in units of the network's shortest time constant, all else as it is, so that one learning rate fits all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.io.records.record import NEURONAL, SYNAPTIC
from eventsolve.magnitudes import shortest_constant
from eventsolve.network import TIMES
from eventsolve.typing import Reals

Place = tuple[str, Any]
"""A quantity, and the projection or population that has it."""

TRAINABLE = (*SYNAPTIC, *NEURONAL)
LEAST = 0.01
"""Of a time constant, and of the threshold above the reset, in parts of what it was: there a step ends."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """What is trained.

    Attributes
    ----------
    network : Network
        From which training begins.
    quantities : tuple of str
        Of "weight", "delay" and neuron parameters. Delays are trained of projections that have some: those without stay
        without.

    Raises
    ------
    ValueError
        If there are none, one is named twice, or one is no quantity that can be trained.
    """

    network: es.Network
    quantities: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.quantities if name not in TRAINABLE]
        if unknown or not self.quantities or len(set(self.quantities)) < len(self.quantities):
            raise ValueError(
                f"what is trained must be some of {', '.join(TRAINABLE)}, each once; got {', '.join(self.quantities)}"
            )
        for name in self.quantities:
            if name not in {quantity for quantity, _ in self.places}:
                raise ValueError(f"the network has no {name} to train")

    @property
    def places(self) -> tuple[Place, ...]:
        """Where numbers are trained, in a fixed order."""
        neurons = [n for n, p in self.network.populations.items() if p.neuron is not None]
        spiking = [n for n in neurons if self.network.population(n).neuron.spiking]  # type: ignore[union-attr]
        found: list[Place] = []
        for quantity in self.quantities:
            if quantity in SYNAPTIC:
                found += [
                    (quantity, key)
                    for key, p in self.network.projections.items()
                    if quantity == "weight" or p.delay.any()
                ]
            else:
                known = spiking if quantity in ("v_threshold", "v_reset", "t_ref") else neurons
                found += [(quantity, name) for name in known]
        return tuple(found)

    def unit(self, quantity: str) -> float:
        """Return in what a quantity is trained: seconds of a time, 1 of others."""
        return shortest_constant(self.network) if quantity in TIMES else 1.0

    def values(self, network: es.Network) -> tuple[Reals, ...]:
        """Return the numbers of a network, in their units, one vector for each place."""
        return tuple(_numbers(network, *place) / self.unit(place[0]) for place in self.places)

    def gradients(self, record: Record) -> tuple[Reals, ...]:
        """Return the batch-mean gradients of a record by :meth:`values`.

        Raises
        ------
        ValueError
            If the record lacks one, or one is not finite.
        """
        found = []
        for quantity, place in self.places:
            given = record.gradients.get(quantity, {})
            if place not in given:
                raise ValueError(
                    f"{record.name!r} gives no dL/d({quantity}) of {place}, which training needs"
                )
            mean = np.asarray(given[place].mean(axis=0).reshape(-1), dtype=np.float64)
            if not np.isfinite(mean).all():
                raise ValueError(
                    f"dL/d({quantity}) of {place} is not finite; {record.name!r} cannot be trained on"
                )
            found.append(mean * self.unit(quantity))
        return tuple(found)

    def applied(self, network: es.Network, values: Sequence[Reals]) -> es.Network:
        """Return a network with these numbers, those that no network can have moved to the nearest that it can."""
        changed: dict[str, dict[Any, Reals]] = {name: {} for name in self.quantities}
        for (quantity, place), value in zip(self.places, values, strict=True):
            changed[quantity][place] = value * self.unit(quantity)
        if "weight" in changed:
            network = network.with_weights(
                {key: network.projections[key].shaped(w) for key, w in changed.pop("weight").items()}
            )
        if "delay" in changed:
            network = network.with_delays(
                {
                    key: network.projections[key].shaped(np.maximum(d, 0.0))
                    for key, d in changed.pop("delay").items()
                }
            )
        of: dict[str, dict[str, Reals]] = {}
        for quantity, places in changed.items():
            for name, value in places.items():
                of.setdefault(name, {})[quantity] = value
        neurons = {name: self._neuron(network, name, fields) for name, fields in of.items()}
        return network.with_neurons(neurons) if neurons else network

    def _neuron(self, network: es.Network, name: str, fields: Mapping[str, Reals]) -> es.LIF | es.LI:
        first, population = self.network.population(name), network.population(name)
        given = dict(fields)
        for time in ("tau_mem", "tau_syn"):
            if time in given:
                given[time] = np.maximum(given[time], LEAST * first.parameter(time))
        if "t_ref" in given:
            given["t_ref"] = np.maximum(given["t_ref"], 0.0)
        if "v_threshold" in given or "v_reset" in given:
            reset = given.get("v_reset", population.parameter("v_reset"))
            threshold = given.get("v_threshold", population.parameter("v_threshold"))
            least = reset + LEAST * (first.parameter("v_threshold") - first.parameter("v_reset"))
            given["v_threshold"] = np.maximum(threshold, least)
        neuron: Any = population.neuron
        changed: es.LIF | es.LI = replace(neuron, **given)
        return changed


def _numbers(network: es.Network, quantity: str, place: Any) -> Reals:
    if quantity == "weight":
        return np.array(network.projections[place].weights)
    if quantity == "delay":
        return np.array(network.projections[place].delay, dtype=np.float64).reshape(-1)
    return np.array(network.population(place).parameter(quantity))
