"""A SpiNNaker2 core as an implementation under test: a network goes in, a record comes out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import networkx as nx
import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import duration, real
from eventsolve.io.records import Record, Trace
from eventsolve.magnitudes import warn_of_step
from eventsolve.network import LIF, Network, Population
from validation.fixedpoint import FixedFormat, Rounding
from validation.grid.first_spikes import read_loss
from validation.grid.number import steps_and_formats
from validation.grid.steps import check_network, grid_trains, number_of_samples, number_of_steps, to_steps
from validation.spinnaker2 import batched, packetwise
from validation.spinnaker2.arithmetic import Arithmetic, Array, Calculator, check_range, decode, with_bits
from validation.spinnaker2.cost import cost
from validation.spinnaker2.image import (
    LOSS,
    Image,
    LossSettings,
    Outcome,
    Parameters,
    Spikes,
    WeightBlock,
    layer_image,
)
from validation.spinnaker2.memory import number_bytes
from validation.spinnaker2.optimizer_program import OptimizerProgram, sample_gradients
from validation.spinnaker2.switches import SAID, Switches
from validation.target import Cost, Grain, Resolution, Resolved

if TYPE_CHECKING:
    from validation.spinnaker2.localisation import Finding

Decay = Literal["euler", "exponential"]


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
    format : Arithmetic or str
        Or the name of a preset: "float64", "float32", "s16.15".
    decay : {"euler", "exponential"}
        Decay factors 1 - dt/tau, as in the version that was validated against the chip, or exp(-dt/tau), as in the
        simulator's latest version.
    error_scale : float
        By which the loss program multiplies errors, so that adjoints use the range of a fixed-point format. 1 to 256
        suits s16.15: rare jumps reach 130 times an error of 1. Powers of two change no bit in floating point.
    traces : bool
        Whether the record shows voltages and currents, 16 bytes per sample, neuron and step.
    rounding : {"down", "to_zero", "half_up", "nearest_even", "stochastic"}, optional
        Of fixed-point results, which the format takes over in the place of its own.
    """

    time_step: float
    format: Arithmetic | str = "float32"
    decay: Decay = field(default="euler", kw_only=True)
    error_scale: float = field(default=32.0, kw_only=True)
    traces: bool = field(default=True, kw_only=True)
    rounding: Rounding | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))
        object.__setattr__(self, "error_scale", real("error_scale", self.error_scale))
        if not (math.isfinite(self.error_scale) and self.error_scale > 0):
            raise ValueError(f"error_scale must be finite and > 0; got {self.error_scale!r}")
        if self.decay not in get_args(Decay):
            raise ValueError(f"decay must be one of {', '.join(get_args(Decay))}; got {self.decay!r}")
        if isinstance(self.format, str):
            object.__setattr__(self, "format", Arithmetic.preset(self.format))
        if self.rounding is not None:
            if self.rounding not in get_args(Rounding):
                raise ValueError(
                    f"rounding must be one of {', '.join(get_args(Rounding))}; got {self.rounding!r}"
                )
            object.__setattr__(self, "format", replace(self.formats, rounding=self.rounding))
            object.__setattr__(self, "rounding", None)  # the format has it, and another format its own

    @property
    def name(self) -> str:
        """Of the core and its settings."""
        return f"SpiNNaker2 core, {self.time_step * 1e3:g} ms, {self.formats.name}, {self.decay}"

    @property
    def formats(self) -> Arithmetic:
        """The number format of every quantity."""
        assert isinstance(self.format, Arithmetic)
        return self.format

    def resolution(self, network: Network) -> Resolution:
        """Return how finely the core resolves a network: every spike takes a step to its targets."""
        number = self.formats.weight
        fixed = isinstance(number, FixedFormat)
        quantum = number.resolution if isinstance(number, FixedFormat) else float(np.finfo(number.dtype).eps)
        return Resolution(self.time_step, dict.fromkeys(network.projections, 1), quantum, floating=not fixed)

    def causes(self) -> dict[str, str]:
        """Return what each switch of :class:`validation.spinnaker2.Switches` does."""
        return dict(SAID)

    def kept(self) -> tuple[str, ...]:
        """Return the step that every layer takes, which is a delay and no error."""
        return ("step_delay",)

    def with_causes(self, on: Iterable[str]) -> Resolved:
        """Return the core with some of its approximations, a :class:`validation.spinnaker2.SwitchedCore`."""
        from validation.spinnaker2.switched import SwitchedCore  # which is of a core

        return SwitchedCore(replace(self, traces=False), Switches.only(on))

    def at(self, grain: Grain) -> SpiNNaker2Core:
        """Return the core at another time step, in formats of 16 integer bits; its rounding and overflow are kept."""
        if grain.bits is None:
            arithmetic = replace(Arithmetic.preset("float64"), rounding=self.formats.rounding)
        else:
            arithmetic = with_bits(self.formats, 16, grain.bits)
        return replace(self, time_step=grain.time_step, format=arithmetic, traces=False)

    def cost(self, problem: es.Problem, record: Record) -> Cost:
        """Return what a sample costs on average, as :mod:`validation.spinnaker2.cost` counts it."""
        image = self.image(problem.network)
        reading = read_loss(problem.loss, problem.network, record.n_samples)
        found = cost(
            image,
            reading.population,
            {name: self._at_steps(record, name) for name in image.sizes},
            record.n_samples,
            number_of_steps(problem.t_end, self.time_step),
            early=reading.alpha > 0,
        )
        size = number_bytes(self.formats.state)
        return Cost(found.macs, found.bytes, found.macs * size + found.bytes)

    def held(self, network: Network) -> Network:
        """Return the network with its weights as the layer programs hold them."""
        image = self.image(network)
        blocks = [block for layer in image.layers.values() for block in layer.afferents]
        return network.with_weights({b.key: decode(b.values, b.number).T for b in blocks})

    @staticmethod
    def settings() -> tuple[dict[str, Any], ...]:
        """Return time steps from 1 ms to 10 us with formats of 16 to 32 bits, each rounding, and float32."""
        return steps_and_formats("format")

    def localised(
        self, problem: es.Problem, record: Record, *, previous: Network | None = None, rtol: float = 0.0
    ) -> Finding | None:
        """Return the program that departs from the model first; see :mod:`validation.spinnaker2.localisation`."""
        from validation.spinnaker2.localisation import localised  # which runs cores

        return localised(self, problem, record, previous=previous, rtol=rtol)

    def _at_steps(self, record: Record, name: str) -> Spikes:
        trains = record.trains[name]
        steps = np.rint(trains.times / self.time_step).astype(np.int64)
        return Spikes(steps, trains.neurons, trains.samples)

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

        Parameters
        ----------
        problem : Problem
            Input times are rounded to steps, ties to the even one, and t_end is, too: the core runs
            n_steps = t_end / time_step steps, the first being the initial state. The loss is a
            :class:`eventsolve.losses.TTFSCrossEntropy`.

        Returns
        -------
        Record
            Input spikes from step n_steps - 1 on are never delivered; ``counters["undelivered_inputs"]`` counts them.

        Raises
        ------
        ValueError
            If the core cannot represent the network, the inputs, or the loss.
        """
        image, spikes, settings, n_steps = self._loaded(problem)
        outcome = batched.run(image, spikes, settings, n_steps, traces=self.traces)
        return self._record(problem, image, spikes, n_steps, outcome)

    @classmethod
    def variants(cls, time_step: float) -> Iterator[SpiNNaker2Core]:
        """Yield cores of every preset of number formats and either decay, as a record may come from any of them."""
        for format in ("float32", "s16.15", "float64"):
            for decay in get_args(Decay):
                yield cls(time_step, format, decay=decay, traces=False)

    def run_packet_by_packet(
        self, problem: es.Problem, parts: Mapping[str, Sequence[int]] | None = None
    ) -> Record:
        """Give the record of :meth:`run`, bit for bit, from programs that exchange packets; slow.

        Parameters
        ----------
        problem : Problem
            As for :meth:`run`.
        parts : mapping of str to sequence of int, optional
            Neurons of each element of a layer that several elements hold; one element holds any other layer. Not with
            stochastic rounding.
        """
        image, spikes, settings, n_steps = self._loaded(problem)
        outcome = packetwise.run(image, spikes, settings, n_steps, parts=parts)
        return self._record(problem, image, spikes, n_steps, outcome)

    def train_step(self, problem: es.Problem, optimizer: OptimizerProgram) -> tuple[Network, Record]:
        """Run a batch as :meth:`run` does, and return the network with updated weights beside the record."""
        image, spikes, settings, n_steps = self._loaded(problem)
        outcome = batched.run(image, spikes, settings, n_steps, traces=self.traces)
        weights = [block for layer in image.layers.values() for block in layer.afferents]
        updated = optimizer.update(weights, outcome.gradients)
        record = self._record(problem, image, spikes, n_steps, outcome)
        return problem.network.with_weights({b.key: decode(b.values, b.number).T for b in updated}), record

    def _loaded(self, problem: es.Problem) -> tuple[Image, dict[str, Spikes], LossSettings, int]:
        network, inputs = problem.network, problem.inputs
        image = self.image(network)
        n_samples = number_of_samples(network, inputs)
        n_steps = number_of_steps(problem.t_end, self.time_step)
        warn_of_step(self.time_step, network)
        return image, self.on_grid(inputs), self.loss_settings(problem.loss, network, n_samples), n_steps

    # -- what programs are loaded with

    def image(self, network: Network) -> Image:
        """Return what the programs are loaded with, or raise a ValueError if the core cannot represent the network."""
        _check_network(network)
        a, populations = self.formats, network.populations
        streams = {name: k + 1 for k, name in enumerate([*populations, LOSS])}
        layers, overflows = {}, 0
        for name, population in populations.items():
            if not isinstance(population.neuron, LIF):
                continue
            calculator = Calculator(a, streams[name])
            parameters = self._parameters(population, population.neuron)
            weights = [
                WeightBlock(p.key, calculator.encode(p.weight.T, a.weight), a.weight)
                for p in network.afferents(name)
            ]
            layers[name] = layer_image(parameters, weights, a, calculator)
            overflows += calculator.overflows
        order = tuple(name for name in nx.topological_sort(network.graph) if name in layers)
        sizes = {name: population.size for name, population in populations.items()}
        return Image(a, sizes, layers, order, streams, overflows)

    def on_grid(self, inputs: Mapping[str, es.SpikeTrains]) -> dict[str, Spikes]:
        """Return the spikes of inputs at their steps, or raise a ValueError if two of a neuron share one."""
        found = {}
        for name, trains in inputs.items():
            steps = to_steps(name, trains, self.time_step)
            order = np.lexsort((trains.neurons, steps, trains.samples))
            found[name] = Spikes(steps[order], trains.neurons[order], trains.samples[order])
        return found

    def loss_settings(self, loss: Any, network: Network, n_samples: int) -> LossSettings:
        """Return what the loss program is loaded with, or raise a ValueError if it is another loss."""
        reading = read_loss(loss, network, n_samples)
        return LossSettings(
            reading.population,
            reading.labels,
            xi=reading.tau0 / self.time_step,
            beta=reading.tau1 / self.time_step,
            alpha=reading.alpha,
            silent=reading.silent,
            error_scale=self.error_scale,
        )

    def _parameters(self, population: Population, neuron: LIF) -> Parameters:
        factors = {}
        for name in ("tau_syn", "tau_mem"):
            tau = float(np.ravel(getattr(neuron, name))[0])
            if self.time_step >= tau:
                raise ValueError(
                    f"the core needs time_step < {name}; got {self.time_step!r} s and {tau!r} s "
                    f"in population {population.name!r}"
                )
            ratio = self.time_step / tau
            factors[name] = 1.0 - ratio if self.decay == "euler" else math.exp(-ratio)
        levels = {name: population.parameter(name) for name in ("v_threshold", "v_reset")}
        for name, values in levels.items():
            check_range(f"{name} of population {population.name!r}", values, self.formats.state)
        return Parameters(
            decay_syn=factors["tau_syn"],
            decay_mem=factors["tau_mem"],
            tau_syn=float(np.ravel(neuron.tau_syn)[0]),
            v_threshold=levels["v_threshold"],
            v_reset=levels["v_reset"],
        )

    # -- from code units to SI

    def _record(
        self,
        problem: es.Problem,
        image: Image,
        inputs: Mapping[str, Spikes],
        n_steps: int,
        outcome: Outcome,
    ) -> Record:
        n_samples = outcome.losses.size
        spikes = {**inputs, **outcome.spikes}
        trains = {
            name: grid_trains(*spikes[name], (n_samples, size), self.time_step)[0]
            for name, size in image.sizes.items()
        }
        times = np.arange(n_steps, dtype=np.float64) * self.time_step
        overflow = "saturations" if self.formats.overflow == "saturate" else "wraps"
        return Record.of(
            problem,
            self.name,
            spikes=trains,
            loss_values=outcome.losses,
            gradients={
                "weight": {
                    b.key: sample_gradients(b, self.error_scale) / self.time_step for b in outcome.gradients
                },
                "spike_times": {
                    name: errors / (self.error_scale * self.time_step)
                    for name, errors in outcome.errors.items()
                },
            },
            time_step=self.time_step,
            traces={
                name: Trace(times, self._trace(voltages), self._trace(currents))
                for name, (currents, voltages) in outcome.traces.items()
                if self.traces
            },
            counters={
                "spike_packets": outcome.spike_packets,
                "error_packets": outcome.error_packets,
                "undelivered_inputs": sum(
                    int(np.count_nonzero(s.steps >= n_steps - 1)) for s in inputs.values()
                ),
                "guarded_denominators": outcome.guarded,
                overflow: image.overflows + outcome.overflows,
            },
        )

    def _trace(self, history: Array) -> NDArray[np.float64]:
        return decode(history, self.formats.state).transpose(0, 2, 1)


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
