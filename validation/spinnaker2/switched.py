"""A network between the exact one and the chip: some of the chip's approximations, on a network that has no others.

With all switches on it is the core, bit for bit and counter by counter; with all off, the exact network of continuous
time, to rounding. It shares the layer program's arithmetic with the core, and nothing with the exact solver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.interrupts import call, interruptible
from eventsolve.io.records import Record, Trace
from eventsolve.typing import Integers, Reals
from validation.fixedpoint import FixedFormat
from validation.grid.first_spikes import first_spike_loss, read_loss
from validation.grid.kernels.words import NEAREST_EVEN
from validation.grid.steps import number_of_samples, number_of_steps
from validation.spinnaker2 import operands
from validation.spinnaker2.arithmetic import Arithmetic, Array, Calculator, Number, decode
from validation.spinnaker2.batched import errors_of_loss, gradient_blocks, random_states
from validation.spinnaker2.image import LOSS, GradientBlock, Image, LayerImage, Spikes
from validation.spinnaker2.kernels.either import Held
from validation.spinnaker2.kernels.event_backward import Backward, Fired, backward_events
from validation.spinnaker2.kernels.event_forward import Arrivals, Forward, forward_events
from validation.spinnaker2.kernels.intervals import Dynamics, Factors
from validation.spinnaker2.kernels.tables import BackwardOperands, Jumps
from validation.spinnaker2.layer_program import guarded
from validation.spinnaker2.operands import FLOATING, held, native
from validation.spinnaker2.optimizer_program import sample_gradients
from validation.spinnaker2.switches import Switches, switched_arithmetic
from validation.spinnaker2.target import SpiNNaker2Core
from validation.target import Resolution


class Events(NamedTuple):
    """Spikes of one population, (n_spikes,), sorted by sample, step, offset and neuron."""

    steps: Integers
    offsets: Reals
    neurons: Integers
    samples: Integers

    def times(self, time_step: float) -> Reals:
        """Return their times in seconds."""
        whole = self.offsets == time_step
        return np.where(whole, self.steps * time_step, (self.steps - 1) * time_step + self.offsets)


@dataclass(frozen=True)
class SwitchedCore:
    """A core of which some approximations are off.

    Parameters
    ----------
    core : SpiNNaker2Core
        What it is with all of them on.
    switches : Switches
    """

    core: SpiNNaker2Core
    switches: Switches = field(default=Switches())

    @property
    def name(self) -> str:
        """Of the core and of what is off, or on."""
        on, names = self.switches.on, Switches.names()
        if len(on) == len(names):
            return self.core.name
        if len(on) <= len(names) // 2:
            return f"{self.core.name}, of it {', '.join(on) or 'nothing'}"
        return f"{self.core.name}, without {', '.join(name for name in names if name not in on)}"

    def resolution(self, network: es.Network) -> Resolution:
        """Return how finely the network is resolved, as :meth:`SpiNNaker2Core.resolution` does."""
        whole = self.core.resolution(network)
        return replace(
            whole, transport=dict.fromkeys(network.projections, 1 if self.switches.step_delay else 0)
        )

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch, as :meth:`SpiNNaker2Core.run` does.

        Raises
        ------
        ValueError
            If the core cannot represent the network, the inputs or the loss; or if a denominator is 0 without its
            guard.
        """
        return interruptible(lambda: self._run(problem))

    def _run(self, problem: es.Problem) -> Record:
        network, inputs, t_end, loss = problem.network, problem.inputs, problem.t_end, problem.loss
        core, switches = self.core, self.switches
        arithmetic = switched_arithmetic(core.formats, switches)
        decay = core.decay if switches.euler_decay else "exponential"
        inner = replace(core, format=arithmetic, decay=decay)
        image = inner.image(network)
        n_samples = number_of_samples(network, inputs)
        n_steps = number_of_steps(t_end, core.time_step)
        run = _Run(image, switches, core.time_step, n_samples, n_steps, core.traces)
        events = {name: self._given(name, trains) for name, trains in inputs.items()}
        layers: dict[str, _Layer] = {}
        for name in image.order:
            tau_mem = float(network.population(name).parameter("tau_mem")[0])
            layers[name] = _forward(run, name, _dynamics(run, decay, tau_mem, image.layers[name]), events)
            events[name] = layers[name].events
        reading = read_loss(loss, network, n_samples)
        output = events[reading.population]
        if switches.loss_in_steps:
            settings = inner.loss_settings(loss, network, n_samples)
            spikes = Spikes(output.steps, output.neurons, output.samples)
            program, matrix, overflows = errors_of_loss(image, settings, spikes, n_steps, 0)
            values, last = program.values, n_steps - 2
        else:
            first = np.full((n_samples, image.sizes[reading.population]), np.inf)
            np.minimum.at(first, (output.samples, output.neurons), output.times(core.time_step))
            values, slopes = first_spike_loss(reading, first, n_steps * core.time_step)
            calculator = Calculator(arithmetic, image.streams[LOSS])
            matrix = calculator.encode(slopes * (core.time_step * core.error_scale), arithmetic.adjoint)
            matrix, overflows, last = held(matrix, arithmetic.adjoint), calculator.overflows, n_steps
        answered = _is_first(output) & (output.steps <= last)
        of_loss = np.where(answered, matrix[output.samples, output.neurons], 0)
        back = _backward(run, layers, events, reading.population, of_loss)
        overflow = "saturations" if arithmetic.overflow == "saturate" else "wraps"
        times = np.arange(n_steps, dtype=np.float64) * core.time_step
        return Record.of(
            problem,
            self.name,
            spikes={
                name: self._trains(name, events[name], inputs, (n_samples, size))
                for name, size in image.sizes.items()
            },
            loss_values=values,
            gradients={
                "weight": {
                    b.key: sample_gradients(b, core.error_scale) / core.time_step for b in back.gradients
                },
                "spike_times": {
                    name: errors / (core.error_scale * core.time_step) for name, errors in back.errors.items()
                },
            },
            time_step=core.time_step,
            traces={
                name: Trace(
                    times,
                    operands.values(layers[name].voltages, arithmetic.state).transpose(0, 2, 1),
                    operands.values(layers[name].currents, arithmetic.state).transpose(0, 2, 1),
                )
                for name in image.layers
                if core.traces
            },
            counters={
                "spike_packets": sum(int(np.count_nonzero(e.steps <= run.last)) for e in events.values()),
                "error_packets": int(np.count_nonzero(answered)) + back.error_packets,
                "undelivered_inputs": sum(
                    int(np.count_nonzero(events[name].steps + run.delay > run.last)) for name in inputs
                ),
                "guarded_denominators": back.guarded,
                overflow: image.overflows
                + overflows
                + back.overflows
                + sum(layer.overflows for layer in layers.values()),
            },
        )

    def _given(self, name: str, trains: es.SpikeTrains) -> Events:
        """Return the spikes of an input, on the grid or where they are."""
        dt = self.core.time_step
        if self.switches.input_grid:
            spikes = self.core.on_grid({name: trains})[name]
            return Events(spikes.steps, np.full(spikes.steps.size, dt), spikes.neurons, spikes.samples)
        near = np.rint(trains.times / dt)
        whole = near * dt == trains.times
        steps = np.where(whole, near, np.ceil(trains.times / dt))
        offsets = np.where(whole, dt, np.clip(trains.times - (steps - 1) * dt, 0.0, dt))
        return _sorted(Events(steps.astype(np.int64), offsets, trains.neurons, trains.samples))[0]

    def _trains(
        self, name: str, events: Events, inputs: Mapping[str, es.SpikeTrains], shape: tuple[int, int]
    ) -> es.SpikeTrains:
        if name in inputs and not self.switches.input_grid:
            return inputs[name]
        return es.SpikeTrains.from_arrays(
            events.times(self.core.time_step),
            events.neurons,
            events.samples,
            n_samples=shape[0],
            n_neurons=shape[1],
        )


class _Run(NamedTuple):
    """What a batch has in common; ``n_steps`` counts the initial state, as the core does."""

    image: Image
    switches: Switches
    time_step: float
    n_samples: int
    n_steps: int
    traces: bool

    @property
    def arithmetic(self) -> Arithmetic:
        return self.image.arithmetic

    @property
    def last(self) -> int:
        """The last step that is run."""
        return self.n_steps - 1 if self.switches.spike_grid else self.n_steps

    @property
    def delay(self) -> int:
        return int(self.switches.step_delay)

    def bounds(self, cells: Integers) -> Integers:
        """Return where each cell begins in sorted cells."""
        return np.searchsorted(cells, np.arange(self.n_samples * (self.last + 1) + 1))

    def cells(self, events: Events) -> Integers:
        return events.samples * (self.last + 1) + events.steps


class _Layer(NamedTuple):
    """What a layer did forward: its spikes, I and V of each, what arrived, and where the arrivals come from.

    ``sources`` are pairs of a projection's source and which of its spikes arrived; ``order`` sorts all of them.
    """

    dynamics: Dynamics
    events: Events
    at_currents: Array
    at_voltages: Array
    arrivals: Arrivals
    sources: list[tuple[str, Integers]]
    order: Integers
    state: Array
    currents: Array
    voltages: Array
    overflows: int


class _Back(NamedTuple):
    """What the backward pass found."""

    errors: dict[str, Reals]
    gradients: list[GradientBlock]
    error_packets: int
    guarded: int
    overflows: int


def _dynamics(run: _Run, decay: str, tau_mem: float, layer: LayerImage) -> Dynamics:
    s, number = run.switches, run.arithmetic.decay
    factors = Factors(_held(number, run.arithmetic), isinstance(number, FixedFormat))
    if run.arithmetic.rounding == "stochastic":  # factors of parts of a step are not rounded by a program
        even = factors.held.fixed._replace(rounding=NEAREST_EVEN)
        factors = factors._replace(held=factors.held._replace(fixed=even))
    return Dynamics(
        run.time_step,
        tau_mem,
        layer.tau_syn,
        grid=s.spike_grid,
        euler=decay == "euler",
        one_step=s.one_step_integral,
        late=s.late_jump,
        factors=factors,
        step=operands.tables(layer, run.arithmetic).decays,
    )


def _held(number: Number, a: Arithmetic) -> Held:
    if isinstance(number, FixedFormat):
        return Held(operands.fixed(number, a), False)
    return Held(operands.fixed(FixedFormat(1, 0), a), number.bits == 32)


def _forward(run: _Run, name: str, dynamics: Dynamics, events: Mapping[str, Events]) -> _Layer:
    image, a = run.image, run.arithmetic
    layer = image.layers[name]
    arrivals, sources, order = _arriving(run, layer, events)
    state = random_states(image, name, 0, run.n_samples)
    dtype = np.int64 if isinstance(a.state, FixedFormat) else np.float64
    shape = run.n_samples, run.n_steps if run.traces else 0, layer.size
    currents, voltages = np.zeros(shape, dtype), np.zeros(shape, dtype)
    operand = operands.factor(a.state, a.decay, a) if isinstance(a.state, FixedFormat) else FLOATING
    neurons = operands.tables(layer, a).neurons
    found, count, status = call(
        forward_events,
        Forward(_held(a.state, a), operand, dynamics, neurons, state),
        arrivals,
        run.last,
        currents,
        voltages,
    )
    cells, neuron, offsets, at_currents, at_voltages = (column[:count] for column in found)
    events_found = Events(cells % (run.last + 1), offsets, neuron, cells // (run.last + 1))
    spikes, places = _sorted(events_found)
    return _Layer(
        dynamics,
        spikes,
        at_currents[places],
        at_voltages[places],
        arrivals,
        sources,
        order,
        state,
        currents,
        voltages,
        operands.overflows(status, name),
    )


def _arriving(
    run: _Run, layer: LayerImage, events: Mapping[str, Events]
) -> tuple[Arrivals, list[tuple[str, Integers]], Integers]:
    rows, cells, offsets = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    sources, start = [], 0
    for block in layer.afferents:
        source = events[block.key[0]]
        arriving = np.flatnonzero(source.steps + run.delay <= run.last)
        sources.append((block.key[0], arriving))
        rows.append(source.neurons[arriving] + start)
        cells.append(run.cells(source)[arriving] + run.delay)
        offsets.append(source.offsets[arriving])
        start += block.values.shape[0]
    row, cell, offset = np.concatenate(rows), np.concatenate(cells), np.concatenate(offsets)
    order = np.lexsort((row, offset, cell))
    return Arrivals(run.bounds(cell[order]), offset[order], row[order]), sources, order


def _backward(
    run: _Run, layers: Mapping[str, _Layer], events: Mapping[str, Events], output: str, of_loss: Array
) -> _Back:
    image, a, switches = run.image, run.arithmetic, run.switches
    calculator = Calculator(a, 0)
    senders = {name: k for k, name in enumerate([*image.layers, LOSS])}
    answers: dict[str, list[tuple[int, Array]]] = {name: [] for name in image.sizes}
    answers[output].append((senders[LOSS], of_loss))
    fixed = isinstance(a.adjoint, FixedFormat)
    scalings = operands.backward(a) if fixed else BackwardOperands(FLOATING, FLOATING, FLOATING, FLOATING)
    errors, gradients = {}, {}
    error_packets = n_guarded = overflows = 0
    for name in reversed(image.order):
        layer, done = image.layers[name], layers[name]
        spikes = done.events
        received = native(held(np.zeros(spikes.steps.size), a.adjoint), a.adjoint)
        for _, answer in sorted(answers[name], key=lambda sent: sent[0]):
            received = calculator.add(received, a.adjoint, native(answer, a.adjoint), a.adjoint, a.adjoint)
        current = native(done.at_currents, a.state)
        level = native(done.at_voltages, a.state) if switches.overshoot else layer.v_threshold[spikes.neurons]
        slopes = calculator.subtract(current, a.state, level, a.state, a.state)
        if switches.guard:
            n_guarded += int(np.count_nonzero(slopes <= 0))
            slopes = guarded(slopes, a.state)
        elif not np.all(slopes):
            raise ValueError(
                f"without its guard, the denominator of {int(np.count_nonzero(slopes == 0))} spikes of {name!r} is 0"
            )
        drives = decode(current, a.state) - decode(layer.v_reset, a.state)[spikes.neurons]
        synapses = operands.tables(layer, a).synapses
        raw_slopes = slopes if isinstance(a.state, FixedFormat) else np.zeros(slopes.size, np.int64)
        raw_swing = layer.swing if isinstance(a.state, FixedFormat) else np.zeros(layer.size, np.int64)
        sums = operands.sums(run.n_samples, synapses, a)
        payloads, errors[name], status = call(
            backward_events,
            Backward(
                _held(a.adjoint, a),
                scalings,
                done.dynamics,
                synapses._replace(swing=raw_swing),
                Fired(run.bounds(run.cells(spikes)), spikes.offsets, spikes.neurons),
                Jumps(held(received, a.adjoint), raw_slopes, decode(slopes, a.state), drives),
                done.state,
            ),
            done.arrivals,
            sums,
            run.last,
        )
        overflows += operands.overflows(status, name)
        raw = sums.raw if isinstance(a.gradient, FixedFormat) else sums.values
        gradients[name] = gradient_blocks(image, layer, raw)
        error_packets += payloads.size
        unsorted = np.empty_like(payloads)
        unsorted[done.order] = payloads
        start = 0
        for source, arrived in done.sources:
            answer = held(np.zeros(events[source].steps.size), a.adjoint)
            answer[arrived] = unsorted[start : start + arrived.size]
            answers[source].append((senders[name], answer))
            start += arrived.size
    for name in image.inputs:
        errors[name] = np.zeros(events[name].steps.size)
        for _, answer in sorted(answers[name], key=lambda sent: sent[0]):
            errors[name] += operands.values(answer, a.adjoint)
    blocks = [block for name in image.layers for block in gradients[name]]
    return _Back(errors, blocks, error_packets, n_guarded, overflows + calculator.overflows)


def _sorted(events: Events) -> tuple[Events, Integers]:
    """Return spikes by sample, step, offset and neuron, and from which place each of them came."""
    order = np.lexsort((events.neurons, events.offsets, events.steps, events.samples))
    steps, offsets, neurons, samples = events
    return Events(steps[order], offsets[order], neurons[order], samples[order]), order


def _is_first(events: Events) -> np.ndarray:
    """Say which spikes are the first of their neuron, given that they are sorted by time within a sample."""
    _, places = np.unique(np.stack([events.samples, events.neurons]), axis=1, return_index=True)
    first = np.zeros(events.steps.size, dtype=bool)
    first[places] = True
    return first
