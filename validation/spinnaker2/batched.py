"""A batched run: the bits and the counters of a run packet by packet (:mod:`packetwise`), compiled and in threads.

Since a packet arrives one step after it was sent, and nothing flows back before all steps are done, a layer can run all
its steps once those before it have, and samples do not meet before the optimizer program sums over them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from eventsolve.chunks import map_chunks
from eventsolve.interrupts import call
from eventsolve.typing import Integers, Reals
from validation.fixedpoint import FixedFormat
from validation.spinnaker2 import operands
from validation.spinnaker2.arithmetic import Array, Calculator, decode, random_words
from validation.spinnaker2.image import LOSS, GradientBlock, Image, LayerImage, LossSettings, Outcome, Spikes
from validation.spinnaker2.kernels import steps
from validation.spinnaker2.kernels.tables import Cells
from validation.spinnaker2.layer_program import guarded
from validation.spinnaker2.loss_program import LossProgram
from validation.spinnaker2.operands import Tables, held, native

_SAMPLES_PER_CHUNK = 64


def run(
    image: Image,
    inputs: Mapping[str, Spikes],
    loss: LossSettings,
    n_steps: int,
    *,
    traces: bool = False,
    first_sample: int = 0,
    threads: int | None = None,
) -> Outcome:
    """Run a batch forward and backward.

    Parameters
    ----------
    image : Image
    inputs : mapping of str to Spikes
    loss : LossSettings
    n_steps : int
        Steps 0 .. n_steps - 1, of which step 0 is the initial state.
    traces : bool
        Whether to keep currents and voltages.
    first_sample : int
        By which random numbers tell samples of one batch from those of another.
    threads : int, optional
        By default one per usable core. The bits do not depend on it.

    Raises
    ------
    ValueError
        If a label is silent where the loss refuses that, or a result is not finite and has no place in its format.
    """
    chunks = _forward_in_chunks(image, inputs, loss.labels.size, n_steps, traces, first_sample, threads)
    layers = {name: _joined(name, chunks, n_steps) for name in image.layers}
    program, errors, overflows = errors_of_loss(image, loss, layers[loss.population], n_steps, first_sample)
    returned = list(
        map_chunks(
            lambda c: _return(
                image,
                chunks[c],
                n_steps,
                loss.population,
                _of_loss(chunks[c], loss, program, errors, n_steps),
            ),
            len(chunks),
            threads,
        )
    )
    found = {name: np.concatenate([r.errors[name] for r in returned]) for name in image.sizes}
    for name, spikes in inputs.items():
        sent, found[name] = found[name], np.zeros(spikes.steps.size)
        found[name][spikes.steps < n_steps] = sent
    sums = {name: np.concatenate([r.gradients[name] for r in returned]) for name in image.layers}
    return Outcome(
        spikes=layers,
        errors=found,
        losses=program.values,
        gradients=tuple(
            block
            for name, layer in image.layers.items()
            for block in gradient_blocks(image, layer, sums[name])
        ),
        traces={
            name: (
                np.concatenate([c.traces[name][0] for c in chunks]),
                np.concatenate([c.traces[name][1] for c in chunks]),
            )
            for name in image.layers
            if traces
        },
        spike_packets=sum(cells.places.size for c in chunks for cells in c.cells.values()),
        error_packets=int(np.count_nonzero(program.first < n_steps - 1))
        + sum(r.error_packets for r in returned),
        guarded=sum(r.guarded for r in returned),
        overflows=overflows + sum(c.overflows for c in chunks) + sum(r.overflows for r in returned),
    )


def forward(
    image: Image,
    inputs: Mapping[str, Spikes],
    n_samples: int,
    n_steps: int,
    *,
    first_sample: int = 0,
    threads: int | None = None,
) -> dict[str, Spikes]:
    """Run a batch forward and return the spikes of every layer."""
    chunks = _forward_in_chunks(image, inputs, n_samples, n_steps, False, first_sample, threads)
    return {name: _joined(name, chunks, n_steps) for name in image.layers}


def first_spikes(
    image: Image,
    inputs: Mapping[str, Spikes],
    population: str,
    n_samples: int,
    n_steps: int,
    *,
    first_sample: int = 0,
    threads: int | None = None,
) -> Integers:
    """Run a batch forward and return the step of every first spike, n_steps where there is none; (n_samples, n)."""
    chunks = _forward_in_chunks(image, inputs, n_samples, n_steps, False, first_sample, threads)
    return first_of(_joined(population, chunks, n_steps), (n_samples, image.sizes[population]), n_steps)


def first_of(spikes: Spikes, shape: tuple[int, int], n_steps: int) -> Integers:
    """Return the step of the first spike of every sample and neuron, n_steps where there is none."""
    first = np.full(shape, n_steps, dtype=np.int64)
    np.minimum.at(first, (spikes.samples, spikes.neurons), spikes.steps)
    return first


# -- forward


class _Chunk(NamedTuple):
    """What the samples low .. high - 1 did forward, by population; cells count samples from low.

    ``at_spikes`` are I and Vpre of every spike of a layer, as :func:`operands.held` has them.
    """

    low: int
    high: int
    tables: Mapping[str, Tables]
    cells: dict[str, Cells]
    at_spikes: dict[str, tuple[Array, Array]]
    traces: dict[str, tuple[Array, Array]]
    states: dict[str, Array]
    overflows: int


def _forward_in_chunks(
    image: Image,
    inputs: Mapping[str, Spikes],
    n_samples: int,
    n_steps: int,
    traces: bool,
    first_sample: int,
    threads: int | None,
) -> list[_Chunk]:
    """Run all samples forward."""
    sent = {name: _sent(spikes, n_samples, n_steps) for name, spikes in inputs.items()}
    workers = threads or (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    size = min(_SAMPLES_PER_CHUNK, max(1, -(-n_samples // workers)))
    ranges = [(low, min(low + size, n_samples)) for low in range(0, n_samples, size)] or [(0, 0)]
    tables = {name: operands.tables(layer, image.arithmetic) for name, layer in image.layers.items()}
    return list(
        map_chunks(
            lambda c: _forward(image, tables, sent, *ranges[c], n_steps, traces, first_sample),
            len(ranges),
            threads,
        )
    )


def _sent(spikes: Spikes, n_samples: int, n_steps: int) -> Cells:
    """Return the cells of an input, whose spikes after the last step are never sent."""
    kept = spikes.steps < n_steps
    cells = spikes.samples[kept] * n_steps + spikes.steps[kept]
    return Cells(np.searchsorted(cells, np.arange(n_samples * n_steps + 1)), spikes.neurons[kept])


def _forward(
    image: Image,
    tables: Mapping[str, Tables],
    sent: Mapping[str, Cells],
    low: int,
    high: int,
    n_steps: int,
    traces: bool,
    first_sample: int,
) -> _Chunk:
    a = image.arithmetic
    dtype = np.int64 if isinstance(a.state, FixedFormat) else np.float64
    cells, at_spikes, histories, states = {}, {}, {}, {}
    for name, given in sent.items():
        bounds = given.bounds[low * n_steps : high * n_steps + 1]
        cells[name] = Cells(bounds - bounds[0], given.places[bounds[0] : bounds[-1]])
    overflows = 0
    for name in image.order:
        layer = image.layers[name]
        states[name] = random_states(image, name, first_sample + low, first_sample + high)
        shape = (high - low if traces else 0, n_steps, layer.size)
        history = np.zeros(shape, dtype), np.zeros(shape, dtype)
        arrivals, _ = _arrivals(layer, cells, (high - low) * n_steps)
        decays, neurons, _ = tables[name]
        if isinstance(a.state, FixedFormat):
            number, factor = operands.fixed(a.state, a), operands.factor(a.state, a.decay, a)
            bounds, places, *at, status = call(
                steps.forward_fixed,
                number,
                factor,
                decays,
                neurons,
                arrivals,
                n_steps,
                states[name],
                *history,
            )
            overflows += operands.overflows(status, name)
        else:
            bounds, places, *at = call(
                steps.forward_float,
                a.state.bits == 32,
                decays,
                neurons,
                arrivals,
                n_steps,
                high - low,
                *history,
            )
        cells[name], at_spikes[name] = Cells(bounds, places), (at[0], at[1])
        if traces:
            histories[name] = history
    return _Chunk(low, high, tables, cells, at_spikes, histories, states, overflows)


def random_states(image: Image, name: str, low: int, high: int) -> Array:
    """Return the generators of a layer program in samples low .. high - 1, (n_samples, 4)."""
    states = np.zeros((high - low, 4), np.uint64)
    if image.arithmetic.rounding == "stochastic":
        for k in range(high - low):
            words = random_words(image.arithmetic, image.streams[name], low + k)
            states[k] = words.state["state"]["state"]
    return states


def _arrivals(layer: LayerImage, cells: Mapping[str, Cells], n_cells: int) -> tuple[Cells, Integers]:
    """Return what arrives at a layer, places being rows of its weights, and the order that merged its projections."""
    sources = [cells[block.key[0]] for block in layer.afferents]
    if len(sources) == 1:
        return sources[0], np.arange(sources[0].places.size)
    starts = np.cumsum([0, *(block.values.shape[0] for block in layer.afferents)])
    nothing = np.empty(0, np.int64)
    rows = np.concatenate([nothing, *(c.places + s for c, s in zip(sources, starts, strict=False))])
    order = np.argsort(np.concatenate([nothing, *(_cell_of(c) for c in sources)]), kind="stable")
    bounds = sum((c.bounds for c in sources), np.zeros(n_cells + 1, np.int64))
    return Cells(bounds, rows[order]), order


def _cell_of(cells: Cells) -> Integers:
    """Return the cell of every place."""
    return np.repeat(np.arange(cells.bounds.size - 1), np.diff(cells.bounds))


def _joined(name: str, chunks: Sequence[_Chunk], n_steps: int) -> Spikes:
    """Return the spikes of a layer in all chunks."""
    where = np.concatenate([_cell_of(c.cells[name]) + c.low * n_steps for c in chunks])
    places = np.concatenate([c.cells[name].places for c in chunks])
    return Spikes(where % n_steps, places, where // n_steps)


# -- the loss


def errors_of_loss(
    image: Image, loss: LossSettings, output: Spikes, n_steps: int, first_sample: int
) -> tuple[LossProgram, Array, int]:
    """Return the loss program after all spikes, its errors (n_samples, n_neurons), and how many were out of range."""
    a, size = image.arithmetic, image.sizes[loss.population]

    def told(labels: Integers, spikes: Spikes, sample: int | None) -> tuple[LossProgram, Calculator]:
        calculator = Calculator(a, image.streams[LOSS], sample)
        program = LossProgram(loss._replace(labels=labels), size, n_steps, a, calculator)
        program.note(spikes.samples, spikes.neurons, spikes.steps)
        return program, calculator

    program, calculator = told(loss.labels, output, None)
    answered = (program.first < n_steps - 1).any(axis=1)
    assert program.values.shape == answered.shape  # or it has refused a silent label
    if a.rounding != "stochastic":
        errors = held(program.errors, a.adjoint) if answered.any() else np.zeros(program.first.shape)
        return program, errors, calculator.overflows
    errors, overflows = held(np.zeros(program.first.shape), a.adjoint), 0
    for k in np.flatnonzero(answered):
        here = output.samples == k
        one = Spikes(output.steps[here], output.neurons[here], np.zeros_like(output.samples[here]))
        alone, calculator = told(loss.labels[[k]], one, first_sample + int(k))
        errors[k] = held(alone.errors, a.adjoint)[0]
        overflows += calculator.overflows
    return program, errors, overflows


def _of_loss(chunk: _Chunk, loss: LossSettings, program: LossProgram, errors: Array, n_steps: int) -> Array:
    """Return what the loss sends for every spike of its population in a chunk: 0 but for answered first spikes."""
    cells = chunk.cells[loss.population]
    where = _cell_of(cells)
    samples, steps = chunk.low + where // n_steps, where % n_steps
    answered = (program.first[samples, cells.places] == steps) & (steps < n_steps - 1)
    return np.where(answered, errors[samples, cells.places], 0)


# -- backward


class _Returned(NamedTuple):
    """What the backward pass of a chunk found.

    ``errors`` are of every sent spike of every population, in float64; ``gradients`` of every layer, (n_samples, n_pre
    of all projections, n_neurons).
    """

    errors: dict[str, Reals]
    gradients: dict[str, Array]
    error_packets: int
    guarded: int
    overflows: int


def _return(image: Image, chunk: _Chunk, n_steps: int, output: str, of_loss: Array) -> _Returned:
    a = image.arithmetic
    calculator = Calculator(a, 0)
    senders = {name: k for k, name in enumerate([*image.layers, LOSS])}
    answers: dict[str, list[tuple[int, Array]]] = {name: [] for name in image.sizes}
    answers[output].append((senders[LOSS], of_loss))
    errors, gradients = {}, {}
    error_packets = n_guarded = overflows = 0
    for name in reversed(image.order):
        layer, (decays, _, synapses) = image.layers[name], chunk.tables[name]
        cells = chunk.cells[name]
        arrivals, order = _arrivals(layer, chunk.cells, (chunk.high - chunk.low) * n_steps)
        received = np.zeros_like(native(held(cells.places, a.adjoint), a.adjoint))
        for answer in _in_order(answers[name]):
            received = calculator.add(received, a.adjoint, native(answer, a.adjoint), a.adjoint, a.adjoint)
        current, voltage = (native(x, a.state) for x in chunk.at_spikes[name])
        slopes = calculator.subtract(current, a.state, voltage, a.state, a.state)
        n_guarded += int(np.count_nonzero(slopes <= 0))
        drives = decode(current, a.state) - decode(layer.v_reset, a.state)[cells.places]
        jumps = operands.jumps(held(received, a.adjoint), guarded(slopes, a.state), drives, a)
        sums = operands.sums(chunk.high - chunk.low, synapses, a)
        rest = (decays, synapses, arrivals, cells, jumps, sums, n_steps, chunk.states[name].copy())
        if isinstance(a.adjoint, FixedFormat):
            number = operands.fixed(a.adjoint, a)
            payloads, errors[name], status = call(steps.backward_fixed, number, operands.backward(a), *rest)
        else:
            payloads, errors[name], status = call(steps.backward_float, a.adjoint.bits == 32, *rest)
        overflows += operands.overflows(status, name)
        gradients[name] = sums.raw if isinstance(a.gradient, FixedFormat) else sums.values
        answered = np.empty_like(payloads)
        answered[order] = payloads
        start = 0
        for block in layer.afferents:
            source = chunk.cells[block.key[0]]
            stop = start + source.places.size
            answers[block.key[0]].append((senders[name], answered[start:stop]))
            error_packets += int(np.count_nonzero(_cell_of(source) % n_steps < n_steps - 1))
            start = stop
    for name in image.inputs:
        errors[name] = np.zeros(chunk.cells[name].places.size)
        for answer in _in_order(answers[name]):
            errors[name] += operands.values(answer, a.adjoint)
    return _Returned(errors, gradients, error_packets, n_guarded, overflows + calculator.overflows)


def _in_order(answers: list[tuple[int, Array]]) -> list[Array]:
    """Return answers by the program that sent them, those of one program by projection."""
    return [answer for _, answer in sorted(answers, key=lambda sent: sent[0])]


def gradient_blocks(image: Image, layer: LayerImage, sums: Array) -> list[GradientBlock]:
    """Return the gradients of each projection of a layer."""
    number, blocks, start = image.arithmetic.gradient, [], 0
    for block in layer.afferents:
        stop = start + block.values.shape[0]
        blocks.append(GradientBlock(block.key, native(sums[:, start:stop], number), number, layer.tau_syn))
        start = stop
    return blocks
