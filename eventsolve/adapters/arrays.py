"""A network as a function of arrays, with its pullback: what every framework with automatic differentiation wants.

Spike times are dense here, (n_samples, n_neurons, n_spikes) in seconds, inf where there is no further spike. An entry
of inf has no derivative: whatever cotangent stands there is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from eventsolve.adjoint import value_and_grad
from eventsolve.checks import real_array, seconds_array, shown
from eventsolve.losses import Evaluation, SampledVoltage, VoltageSamples
from eventsolve.network import LI, LIF, TIMES, Network
from eventsolve.solution import Solution
from eventsolve.solve import MAX_SPIKES, checked_duration, solve
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Key, Reals

SYNAPTIC = ("weight", "delay")
SPIKING = ("v_threshold", "v_reset", "t_ref")
QUANTITIES = (*SYNAPTIC, "tau_mem", "tau_syn", *SPIKING, "v_leak", "v_initial", "i_initial")


class Place(NamedTuple):
    """One array of parameters: a quantity of a projection (by key) or of a population (by name)."""

    quantity: str
    of: Key | str

    @property
    def label(self) -> str:
        """What it belongs to in one word: ``pre->post``, ``pre->post:name``, or the population."""
        if isinstance(self.of, str):
            return self.of
        return "->".join(self.of[:2]) + "".join(f":{name}" for name in self.of[2:])


class Pullback(NamedTuple):
    """Cotangents of the parameters, by place, and of the input times, by input, in the shapes that they were given."""

    parameters: tuple[Reals, ...]
    times: tuple[Reals, ...]


@dataclass(frozen=True, eq=False)
class ArrayProblem:
    """Which arrays go in and which come out; see the module docstring.

    Attributes
    ----------
    network : Network
        Gives the structure, and whatever is not in ``places``.
    t_end : float
        Seconds.
    places : tuple of Place
        The parameters that are arguments.
    inputs, outputs : tuple of str
        In the order of arguments and results. A result is spike times, or of an LI population voltages.
    voltage_times : ndarray of float64, (n_times,)
        Seconds at which voltages are read.
    max_spikes : int
        As in ``solve``.
    """

    network: Network
    t_end: float
    places: tuple[Place, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    voltage_times: Reals
    max_spikes: int

    def initial(self) -> tuple[Reals, ...]:
        """Return the parameters that the network was given: like a dense weight, (n_synapses,), or (n,)."""
        return tuple(self._initial(place) for place in self.places)

    def with_parameters(self, parameters: Sequence[ArrayLike]) -> Network:
        """Return the network with other parameters, checked as the network checks its own."""
        network = self.network
        weights: dict[Key, Any] = {}
        delays: dict[Key, Any] = {}
        neurons: dict[str, LIF | LI] = {}
        for place, given in zip(self.places, parameters, strict=True):
            taken = seconds_array if place.quantity in TIMES else real_array
            values = taken(f"{place.quantity} of {place.of}", given)
            if isinstance(place.of, str):
                neuron = neurons.get(place.of, network.population(place.of).neuron)
                changes: dict[str, Any] = {place.quantity: values}
                assert neuron is not None
                neurons[place.of] = replace(neuron, **changes)
            else:
                (weights if place.quantity == "weight" else delays)[place.of] = self._like_weight(
                    place.of, values
                )
        if neurons:
            network = network.with_neurons(neurons)
        if delays:
            network = network.with_delays(delays)
        return network.with_weights(weights)

    def solve(self, parameters: Sequence[ArrayLike], times: Sequence[ArrayLike]) -> Solution:
        """Return the solution for some parameters and dense input times."""
        inputs = {name: SpikeTrains.from_dense(t) for name, t in zip(self.inputs, times, strict=True)}
        return solve(self.with_parameters(parameters), inputs, self.t_end, max_spikes=self.max_spikes)

    def results(self, solution: Solution, n_spikes: Mapping[str, int] | None = None) -> tuple[Reals, ...]:
        """Return what the outputs are: dense times as wide as the longest train, or as ``n_spikes`` says."""
        return tuple(
            solution.spikes[name].to_dense(None if n_spikes is None else n_spikes[name])
            if self.spiking(name)
            else solution.voltage(name, self.voltage_times)
            for name in self.outputs
        )

    def spiking(self, name: str) -> bool:
        """Return whether a result is spike times."""
        return isinstance(self.network.population(name).neuron, LIF)

    def pullback(
        self, solution: Solution, times: Sequence[ArrayLike], cotangents: Sequence[ArrayLike]
    ) -> Pullback:
        """Return the cotangents of parameters and input times, exactly, for those of the results."""
        given = {
            name: real_array(f"the cotangent of {name!r}", c)
            for name, c in zip(self.outputs, cotangents, strict=True)
        }
        wrt = {place.quantity for place in self.places} | ({"spike_times"} if self.inputs else set())
        if not wrt:
            return Pullback((), ())
        _, grads = value_and_grad(solution, _Cotangents(self, given), wrt=wrt, reduction="sum")
        found = (getattr(grads, place.quantity)[place.of] for place in self.places)
        parameters = tuple(np.array(g.data if sp.issparse(g) else g) for g in found)
        return Pullback(
            parameters,
            tuple(
                _on_dense(seconds_array("times", t), solution.spikes[name], grads.spike_times[name])
                for name, t in zip(self.inputs, times, strict=True)
            ),
        )

    def _initial(self, place: Place) -> Reals:
        if isinstance(place.of, str):
            return self.network.population(place.of).parameter(place.quantity)
        projection = self.network.projections[place.of]
        values = projection.weights if place.quantity == "weight" else projection.delay
        return np.array(values if sp.issparse(projection.weight) else values.reshape(projection.weight.shape))

    def _like_weight(self, key: Key, values: Reals) -> Any:
        weight = self.network.projections[key].weight
        if not sp.issparse(weight):
            return values
        if values.shape != weight.data.shape:
            raise ValueError(
                f"values of the sparse projection {key} must have shape {weight.data.shape}, one for each stored "
                f"entry; got {values.shape}"
            )
        return sp.csr_array((values, weight.indices, weight.indptr), shape=weight.shape)


def array_problem(
    network: Network,
    t_end: float,
    *,
    outputs: Sequence[str] | None = None,
    trainable: Sequence[str] = ("weight",),
    voltage_times: ArrayLike = (),
    max_spikes: int = MAX_SPIKES,
) -> ArrayProblem:
    """Return a network as a function of arrays.

    Parameters
    ----------
    network : Network
        Cannot be changed afterwards.
    t_end : float
        Seconds, >= 0.
    outputs : sequence of str, optional
        Populations whose spike times, or voltages for LI, are results; by default those that project nowhere.
    trainable : sequence of str
        Quantities that are arguments: "weight", "delay", "tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak",
        "t_ref", "v_initial", "i_initial"; of all projections or populations that have them.
    voltage_times : array_like, (n_times,)
        Seconds, strictly increasing; needed if an output is an LI.
    max_spikes : int
        As in ``eventsolve.solve``.

    Raises
    ------
    ValueError
        If a name is unknown, an output is an input, or an LI is an output without times to read it at.
    """
    network.freeze()
    populations = network.populations
    if outputs is None:
        projecting = {p.pre for p in network.projections.values()}
        outputs = [n for n, p in populations.items() if p.neuron is not None and n not in projecting]
    times = seconds_array("voltage_times", voltage_times)
    if not outputs:
        raise ValueError("outputs must name a population: every population of the network projects to one")
    for name in outputs:
        neuron = network.population(name).neuron
        if neuron is None:
            raise ValueError(f"outputs name {name!r}, which is an input")
        if not neuron.spiking and not times.size:
            raise ValueError(f"voltage_times must be given, as output {name!r} is an LI")
    for quantity in trainable:
        if quantity not in QUANTITIES:
            raise ValueError(f"trainable must be among {QUANTITIES}; got {shown(quantity)}")
    places = [
        Place(quantity, of)
        for quantity in dict.fromkeys(trainable)
        for of in (network.projections if quantity in SYNAPTIC else populations)
        if quantity in SYNAPTIC or _has(network, str(of), quantity)
    ]
    return ArrayProblem(
        network,
        checked_duration(t_end),
        tuple(places),
        tuple(name for name, p in populations.items() if p.neuron is None),
        tuple(outputs),
        times,
        max_spikes,
    )


def _has(network: Network, name: str, quantity: str) -> bool:
    neuron = network.population(name).neuron
    return neuron is not None and (neuron.spiking or quantity not in SPIKING)


class _Cotangents(NamedTuple):
    """A loss whose derivative by the results is given: the sum of results times cotangents, but for its value."""

    problem: ArrayProblem
    given: Mapping[str, Reals]

    def evaluate(self, solution: Solution) -> Evaluation:
        spikes: dict[str, Reals] = {}
        voltages: dict[str, VoltageSamples] = {}
        nothing = np.zeros(solution.n_samples)
        for name, cotangent in self.given.items():
            if self.problem.spiking(name):
                trains = solution.spikes[name]
                spikes[name] = cotangent[trains.samples, trains.neurons, trains.slots()]
            else:
                function = partial(_linear, cotangent)
                reading = SampledVoltage(name, self.problem.voltage_times, function).evaluate(solution)
                voltages |= reading.voltages
        return Evaluation(nothing, spikes, voltages)


def _linear(cotangent: Reals, _: Reals) -> tuple[Reals, Reals]:
    return np.zeros(len(cotangent)), cotangent


def _on_dense(times: Reals, trains: SpikeTrains, gradient: Reals) -> Reals:
    """Place the gradient of each spike where its time stands in the array that it was taken from."""
    dense = np.zeros(times.shape)
    columns = times[:, :, None] if times.ndim == 2 else times
    order = np.argsort(columns, axis=2, kind="stable")
    slot = order[trains.samples, trains.neurons, trains.slots()]
    dense.reshape(columns.shape)[trains.samples, trains.neurons, slot] = gradient
    return dense
