"""A SpiNNaker2 core as an implementation under test: a network goes in, a record comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.network import LIF, Network, Population
from validation.fixedpoint import FixedFormat
from validation.spinnaker2.arithmetic import Arithmetic, Calculator, Number, decode
from validation.spinnaker2.core import Core
from validation.spinnaker2.input_program import InputProgram
from validation.spinnaker2.layer_program import LayerProgram, Parameters
from validation.spinnaker2.loss_program import LossProgram
from validation.spinnaker2.optimizer_program import OptimizerProgram, sample_gradients
from validation.spinnaker2.packets import GradientBlock, Program, WeightBlock
from validation.target import Record, Trace
from validation.timestepped import (
    check_network,
    grid_trains,
    number_of_samples,
    number_of_steps,
    read_loss,
    to_steps,
)

Decay = Literal["euler", "exponential"]
_LOSS = "(loss)"


@dataclass(frozen=True)
class SpiNNaker2Core:
    """Discretised EventProp on SpiNNaker2 cores: input, layer and loss programs that exchange packets.

    It runs what the published program runs: LIF populations with one tau_mem and one tau_syn each, v_leak 0 and
    t_ref 0, dense weights without delays (every layer delays by one time step), no recurrence, and
    time-to-first-spike cross-entropy. Skip connections and any depth are allowed.

    Parameters
    ----------
    time_step : float
        Seconds.
    arithmetic : Arithmetic or str
        Or the name of a preset: "float64", "float32", "s16.15".
    decay : {"euler", "exponential"}
        Decay factors 1 - dt/tau, as in the version that was validated against the chip, or exp(-dt/tau), as in the
        simulator's latest version.
    error_scale : float
        By which the loss program multiplies errors, so that adjoints use the range of a fixed-point format. 1 to 256
        suits s16.15: rare jumps reach 130 times an error of 1. Powers of two change no bit in floating point.
    traces : bool
        Whether the record shows voltages and currents, 16 bytes per sample, neuron and step.
    """

    time_step: float
    arithmetic: Arithmetic | str = "float32"
    decay: Decay = field(default="euler", kw_only=True)
    error_scale: float = field(default=32.0, kw_only=True)
    traces: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("time_step", "error_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and > 0; got {value!r}")
        if self.decay not in get_args(Decay):
            raise ValueError(f"decay must be one of {', '.join(get_args(Decay))}; got {self.decay!r}")
        if isinstance(self.arithmetic, str):
            object.__setattr__(self, "arithmetic", Arithmetic.preset(self.arithmetic))

    @property
    def name(self) -> str:
        """Of the core and its settings."""
        return f"SpiNNaker2 core, {self.time_step * 1e3:g} ms, {self._formats.name}, {self.decay}"

    @property
    def _formats(self) -> Arithmetic:
        assert isinstance(self.arithmetic, Arithmetic)
        return self.arithmetic

    def run(self, network: Network, inputs: Mapping[str, es.SpikeTrains], t_end: float, loss: Any) -> Record:
        """Run the network forward and backward on a batch.

        Parameters
        ----------
        network : Network
        inputs : mapping of str to SpikeTrains
            For every input of the network; times are rounded to steps, ties to the even one.
        t_end : float
            Seconds, rounded to steps: the core runs n_steps = t_end / time_step of them, the first being the
            initial state.
        loss : eventsolve.losses.TTFSCrossEntropy
            Or anything with its attributes.

        Returns
        -------
        Record
            Input spikes from step n_steps - 1 on are never delivered; ``counters["undelivered_inputs"]`` counts them.

        Raises
        ------
        ValueError
            If the core cannot represent the network, the inputs, or the loss.
        """
        return self._run(network, inputs, t_end, loss)[0]

    def train_step(
        self,
        network: Network,
        inputs: Mapping[str, es.SpikeTrains],
        t_end: float,
        loss: Any,
        optimizer: OptimizerProgram,
    ) -> tuple[Network, Record]:
        """Run a batch as :meth:`run` does, and return the network with updated weights beside the record."""
        record, weights, gradients = self._run(network, inputs, t_end, loss)
        updated = optimizer.update(weights, gradients)
        return network.with_weights({b.key: decode(b.values, b.number).T for b in updated}), record

    def _run(
        self, network: Network, inputs: Mapping[str, es.SpikeTrains], t_end: float, loss: Any
    ) -> tuple[Record, list[WeightBlock], list[GradientBlock]]:
        _check_network(network)
        n_samples = number_of_samples(network, inputs)
        n_steps = number_of_steps(t_end, self.time_step)
        steps = {name: to_steps(name, trains, self.time_step) for name, trains in inputs.items()}

        populations = network.populations
        sources = [
            InputProgram(
                name,
                steps[name],
                trains.neurons,
                trains.samples,
                (n_samples, trains.n_neurons),
                self._formats.adjoint,
            )
            for name, trains in inputs.items()
        ]
        calculators = {
            name: Calculator(self._formats, stream=k + 1) for k, name in enumerate([*populations, _LOSS])
        }
        weights = {
            name: [
                WeightBlock(
                    p.key, calculators[name].encode(p.weight.T, self._formats.weight), self._formats.weight
                )
                for p in network.afferents(name)
            ]
            for name in populations
        }
        layers = [
            LayerProgram(
                name,
                self._parameters(population, population.neuron),
                weights[name],
                n_samples,
                n_steps,
                self._formats,
                calculators[name],
            )
            for name, population in populations.items()
            if isinstance(population.neuron, LIF)
        ]
        loss_program = self._loss_program(loss, network, n_samples, n_steps, calculators[_LOSS])
        programs: dict[str, Program] = {program.population: program for program in sources}
        programs.update({program.population: program for program in layers})
        programs[_LOSS] = loss_program
        listens = {name: list(dict.fromkeys(p.pre for p in network.afferents(name))) for name in populations}
        core = Core(programs, {**listens, _LOSS: [loss_program.population]}, n_steps)
        core.forward(list(inputs), [_LOSS])
        values = loss_program.values
        core.backward(list(inputs))

        spikes, errors = {}, {}
        for source in sources:
            name, trains = source.population, inputs[source.population]
            shape = (n_samples, trains.n_neurons)
            spikes[name], order = grid_trains(
                steps[name], trains.neurons, trains.samples, shape, self.time_step
            )
            errors[name] = self._per_second(source.errors[order])
        for layer in layers:
            name, found = layer.population, layer.spike_errors
            step = _joined([np.full(e.samples.size, e.step) for e in found], np.int64)
            neuron = _joined([e.neurons for e in found], np.int64)
            sample = _joined([e.samples for e in found], np.int64)
            shape = (n_samples, populations[name].size)
            spikes[name], order = grid_trains(step, neuron, sample, shape, self.time_step)
            errors[name] = self._per_second(_joined([e.errors for e in found], np.float64)[order])
        gradients = [block for layer in layers for block in layer.gradient_blocks()]
        overflow = "saturations" if self._formats.overflow == "saturate" else "wraps"
        record = Record(
            name=self.name,
            spikes={name: spikes[name] for name in populations},
            loss=values,
            spike_times={name: errors[name] for name in populations},
            weight={b.key: sample_gradients(b, self.error_scale) / self.time_step for b in gradients},
            time_step=self.time_step,
            traces={layer.population: self._trace(layer) for layer in layers} if self.traces else {},
            counters={
                "spike_packets": core.spike_packets,
                "error_packets": core.error_packets,
                "undelivered_inputs": sum(int(np.count_nonzero(s >= n_steps - 1)) for s in steps.values()),
                "guarded_denominators": sum(layer.guarded for layer in layers),
                overflow: sum(calculator.overflows for calculator in calculators.values()),
            },
        )
        return record, [block for layer in layers for block in weights[layer.population]], gradients

    # -- what programs are loaded with

    def _parameters(self, population: Population, neuron: LIF) -> Parameters:
        factors = {}
        for name in ("tau_syn", "tau_mem"):
            tau = float(np.ravel(getattr(neuron, name))[0])
            if self.decay == "euler" and self.time_step >= tau:
                raise ValueError(
                    f"Euler decay needs time_step < {name}; got {self.time_step!r} s and {tau!r} s "
                    f"in population {population.name!r}"
                )
            ratio = self.time_step / tau
            factors[name] = 1.0 - ratio if self.decay == "euler" else math.exp(-ratio)
        levels = {name: population.parameter(name) for name in ("v_threshold", "v_reset")}
        for name, values in levels.items():
            _check_range(f"{name} of population {population.name!r}", values, self._formats.state)
        return Parameters(
            decay_syn=factors["tau_syn"],
            decay_mem=factors["tau_mem"],
            tau_syn=float(np.ravel(neuron.tau_syn)[0]),
            v_threshold=levels["v_threshold"],
            v_reset=levels["v_reset"],
        )

    def _loss_program(
        self, loss: Any, network: Network, n_samples: int, n_steps: int, calculator: Calculator
    ) -> LossProgram:
        reading = read_loss(loss, network, n_samples)
        return LossProgram(
            reading.population,
            reading.labels,
            network.population(reading.population).size,
            n_steps,
            xi=reading.tau0 / self.time_step,
            beta=reading.tau1 / self.time_step,
            alpha=reading.alpha,
            silent=reading.silent,
            error_scale=self.error_scale,
            arithmetic=self._formats,
            calculator=calculator,
        )

    # -- from code units to SI

    def _per_second(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return dL/dt in 1/s from dL/dt in steps times the error scale."""
        return errors / (self.error_scale * self.time_step)

    def _trace(self, layer: LayerProgram) -> Trace:
        voltage, current = (decode(x, self._formats.state) for x in (layer.voltages, layer.currents))
        times = np.arange(voltage.shape[0], dtype=np.float64) * self.time_step
        return Trace(times, voltage.transpose(1, 2, 0), current.transpose(1, 2, 0))


# -- what the core cannot represent


def _check_network(network: Network) -> None:
    check_network(network, "the core")
    for population in network.populations.values():
        for name in ("tau_mem", "tau_syn"):
            if np.unique(population.parameter(name)).size > 1:
                raise ValueError(
                    f"{name} of population {population.name!r} differs between neurons; a core has one decay factor"
                )
        if np.any(population.parameter("v_leak") != 0):
            raise ValueError(f"v_leak of population {population.name!r} must be 0: the core has none")
    for projection in network.projections.values():
        if np.any(projection.delay != 0):
            raise ValueError(
                f"delay of {projection.key} must be 0: on the core every layer delays by one time step"
            )


def _check_range(what: str, values: NDArray[np.float64], number: Number) -> None:
    if not isinstance(number, FixedFormat):
        return
    low, high = number.minimum * number.resolution, number.maximum * number.resolution
    if ((values < low) | (values > high)).any():
        raise ValueError(
            f"{what} must lie in {low!r} to {high!r}, the range of {number}; got {values.tolist()}"
        )


def _joined(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
