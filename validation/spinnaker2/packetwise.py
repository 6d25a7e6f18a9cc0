"""A run packet by packet: programs on elements, in lock step. Slow and readable, it says what the batched run computes.

Every sample has a copy of the chip to itself. Without stochastic rounding the copies do the same operations, and one
program object stands for a program's copies in all samples; with it, each copy draws random numbers of its own, and
the samples are run one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from validation.spinnaker2.arithmetic import Calculator
from validation.spinnaker2.core import Core
from validation.spinnaker2.image import LOSS, GradientBlock, Image, LossSettings, Outcome, Spikes
from validation.spinnaker2.input_program import InputProgram
from validation.spinnaker2.layer_program import LayerProgram
from validation.spinnaker2.loss_program import LossProgram
from validation.spinnaker2.packets import Program
from validation.spinnaker2.split_layer import SplitLayerProgram


def run(
    image: Image,
    inputs: Mapping[str, Spikes],
    loss: LossSettings,
    n_steps: int,
    first_sample: int = 0,
    parts: Mapping[str, Sequence[int]] | None = None,
) -> Outcome:
    """Run a batch forward and backward.

    Parameters
    ----------
    image : Image
    inputs : mapping of str to Spikes
    loss : LossSettings
    n_steps : int
        Steps 0 .. n_steps - 1, of which step 0 is the initial state.
    first_sample : int
        By which random numbers tell samples of one batch from those of another.
    parts : mapping of str to sequence of int, optional
        Neurons of each element of a layer that several elements hold.

    Raises
    ------
    ValueError
        If a label is silent where the loss refuses that, or a layer is to be split under stochastic rounding: elements
        draw their own random numbers, and no other number of elements gives the same bits.
    """
    split = dict(parts or {})
    if image.arithmetic.rounding != "stochastic":
        return _run(image, inputs, loss, n_steps, None, split)
    if split:
        raise ValueError(
            f"stochastic rounding needs one element per layer; parts are given for {sorted(split)}"
        )
    n_samples = loss.labels.size
    if n_samples == 0:
        return _run(image, inputs, loss, n_steps, first_sample, split)
    alone = []
    for k in range(n_samples):
        here = {name: s.samples == k for name, s in inputs.items()}
        one = {name: Spikes(*(x[here[name]] for x in s)) for name, s in inputs.items()}
        one = {name: s._replace(samples=s.samples - k) for name, s in one.items()}
        labels = loss._replace(labels=loss.labels[[k]])
        alone.append(_run(image, one, labels, n_steps, first_sample + k, split))
    return _joined(alone)


def _run(
    image: Image,
    inputs: Mapping[str, Spikes],
    loss: LossSettings,
    n_steps: int,
    sample: int | None,
    parts: Mapping[str, Sequence[int]],
) -> Outcome:
    n_samples = loss.labels.size
    a = image.arithmetic
    sources = {
        name: InputProgram(name, *spikes, (n_samples, image.sizes[name]), a.adjoint)
        for name, spikes in inputs.items()
    }
    calculators = {name: Calculator(a, image.streams[name], sample) for name in image.layers}
    calculators[LOSS] = Calculator(a, image.streams[LOSS], sample)
    layers: dict[str, LayerProgram | SplitLayerProgram] = {}
    for name, layer in image.layers.items():
        if name in parts:
            bounds = np.cumsum([0, *parts[name]]).tolist()
            programs = [
                LayerProgram(name, layer.part(low, high), n_samples, n_steps, a, calculators[name])
                for low, high in pairwise(bounds)
            ]
            layers[name] = SplitLayerProgram(name, programs, bounds)
        else:
            layers[name] = LayerProgram(name, layer, n_samples, n_steps, a, calculators[name])
    loss_program = LossProgram(loss, image.sizes[loss.population], n_steps, a, calculators[LOSS])
    listens = {
        name: list(dict.fromkeys(block.key[0] for block in layer.afferents))
        for name, layer in image.layers.items()
    }
    listens |= {name: [] for name in inputs}
    everything: dict[str, Program] = {**sources, **layers, LOSS: loss_program}
    core = Core(everything, {**listens, LOSS: [loss.population]}, n_steps)
    core.forward(list(inputs), [LOSS])
    losses = loss_program.values
    core.backward(list(inputs))

    found = {name: layer.spikes_and_errors() for name, layer in layers.items()}
    errors = {name: source.errors for name, source in sources.items()}
    errors.update({name: e for name, (_, e) in found.items()})
    return Outcome(
        spikes={name: spikes for name, (spikes, _) in found.items()},
        errors=errors,
        losses=losses,
        gradients=tuple(block for layer in layers.values() for block in layer.gradient_blocks()),
        traces={name: layer.traces() for name, layer in layers.items()},
        spike_packets=core.spike_packets,
        error_packets=core.error_packets,
        guarded=sum(layer.guarded for layer in layers.values()),
        overflows=sum(calculator.overflows for calculator in calculators.values()),
    )


def _joined(alone: Sequence[Outcome]) -> Outcome:
    """Put samples that were run alone together into a batch."""
    first = alone[0]
    spikes, errors, traces = {}, {}, {}
    for name in first.spikes:
        columns = list(zip(*(o.spikes[name] for o in alone), strict=True))
        samples = [np.full(steps.size, k) for k, steps in enumerate(columns[0])]
        spikes[name] = Spikes(np.concatenate(columns[0]), np.concatenate(columns[1]), np.concatenate(samples))
        traces[name] = (
            np.concatenate([o.traces[name][0] for o in alone]),
            np.concatenate([o.traces[name][1] for o in alone]),
        )
    for name in first.errors:
        errors[name] = np.concatenate([o.errors[name] for o in alone])
    gradients = []
    for k, block in enumerate(first.gradients):
        values = np.concatenate([o.gradients[k].values for o in alone])
        gradients.append(GradientBlock(block.key, values, block.number, block.tau_syn))
    return Outcome(
        spikes=spikes,
        errors=errors,
        losses=np.concatenate([o.losses for o in alone]),
        gradients=tuple(gradients),
        traces=traces,
        spike_packets=sum(o.spike_packets for o in alone),
        error_packets=sum(o.error_packets for o in alone),
        guarded=sum(o.guarded for o in alone),
        overflows=sum(o.overflows for o in alone),
    )
