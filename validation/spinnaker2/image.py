"""What the host makes of a network before a run: every program's constants and weights, in the numbers of the core.

An image holds no state. Both executions, packet by packet (:mod:`packetwise`) and batched (:mod:`batched`), take an
image, the spikes of the inputs and a loss, and give an :class:`Outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from eventsolve.typing import Integers, Key, Reals
from validation.grid.first_spikes import Silent
from validation.spinnaker2.arithmetic import Arithmetic, Array, Calculator, Number

LOSS = "(loss)"
"""The name of the loss program, which no population has."""


class WeightBlock(NamedTuple):
    """The weights of one projection, (n_pre, n_post)."""

    key: Key
    values: Array
    number: Number


class GradientBlock(NamedTuple):
    """What a layer program accumulated for one projection: the sum of adjoint currents, (n_samples, n_pre, n_post).

    dL/dw in code units (dt times the true gradient) is ``-tau_syn / error_scale`` times it.
    """

    key: Key
    values: Array
    number: Number
    tau_syn: float


class Parameters(NamedTuple):
    """Of one layer, in float64; per-neuron ones are (n_neurons,).

    Attributes
    ----------
    decay_syn, decay_mem : float
        Over one time step, 0 to 1: alpha and beta.
    tau_syn : float
        Seconds; passed on to the optimizer program.
    v_threshold, v_reset : ndarray of float64, (n_neurons,)
        In the unit of the weights.
    """

    decay_syn: float
    decay_mem: float
    tau_syn: float
    v_threshold: Reals
    v_reset: Reals


class LayerImage(NamedTuple):
    """What a layer program is loaded with.

    Attributes
    ----------
    alpha, beta, one_minus_alpha, one_minus_beta : ndarray, ()
        In the decay format.
    v_threshold, v_reset, swing : ndarray, (n_neurons,)
        In the state format; the swing is threshold - reset.
    tau_syn : float
        Seconds.
    afferents : tuple of WeightBlock
        Spikes add them in this order.
    increments : tuple of ndarray, (n_pre, n_post) each
        The same in the state format.
    """

    alpha: Array
    beta: Array
    one_minus_alpha: Array
    one_minus_beta: Array
    v_threshold: Array
    v_reset: Array
    swing: Array
    tau_syn: float
    afferents: tuple[WeightBlock, ...]
    increments: tuple[Array, ...]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.v_threshold.size)

    def part(self, low: int, high: int) -> LayerImage:
        """Return what an element that holds neurons low .. high - 1 is loaded with."""
        neurons = slice(low, high)
        return self._replace(
            v_threshold=self.v_threshold[neurons],
            v_reset=self.v_reset[neurons],
            swing=self.swing[neurons],
            afferents=tuple(b._replace(values=b.values[:, neurons]) for b in self.afferents),
            increments=tuple(w[:, neurons] for w in self.increments),
        )


def layer_image(
    parameters: Parameters, weights: Sequence[WeightBlock], arithmetic: Arithmetic, calculator: Calculator
) -> LayerImage:
    """Encode one layer."""
    a, c = arithmetic, calculator
    threshold, reset = c.encode(parameters.v_threshold, a.state), c.encode(parameters.v_reset, a.state)
    return LayerImage(
        alpha=c.encode(parameters.decay_syn, a.decay),
        beta=c.encode(parameters.decay_mem, a.decay),
        one_minus_alpha=c.encode(1.0 - parameters.decay_syn, a.decay),
        one_minus_beta=c.encode(1.0 - parameters.decay_mem, a.decay),
        v_threshold=threshold,
        v_reset=reset,
        swing=c.subtract(threshold, a.state, reset, a.state, a.state),
        tau_syn=parameters.tau_syn,
        afferents=tuple(weights),
        increments=tuple(c.convert(block.values, block.number, a.state) for block in weights),
    )


@dataclass(frozen=True, eq=False)
class Image:
    """A network as it is loaded.

    Attributes
    ----------
    arithmetic : Arithmetic
    sizes : mapping of str to int
        Neurons of every population, in the order of the network.
    layers : mapping of str to LayerImage
        In the order of the network.
    order : tuple of str
        The layers, each after those from which it receives spikes.
    streams : mapping of str to int
        Of random numbers, for every population and :data:`LOSS`.
    overflows : int
        Numbers that were out of range when they were encoded.
    """

    arithmetic: Arithmetic
    sizes: Mapping[str, int]
    layers: Mapping[str, LayerImage]
    order: tuple[str, ...]
    streams: Mapping[str, int]
    overflows: int

    def with_weights(self, weights: Mapping[Key, Array]) -> Image:
        """Return the image with other weights, (n_pre, n_post) in the weight format."""
        layers, overflows = {}, self.overflows
        for name, layer in self.layers.items():
            calculator = Calculator(self.arithmetic, self.streams[name])
            blocks = [block._replace(values=weights[block.key]) for block in layer.afferents]
            increments = (calculator.convert(b.values, b.number, self.arithmetic.state) for b in blocks)
            layers[name] = layer._replace(afferents=tuple(blocks), increments=tuple(increments))
            overflows += calculator.overflows
        return replace(self, layers=layers, overflows=overflows)

    @property
    def inputs(self) -> list[str]:
        """Populations that are no layers."""
        return [name for name in self.sizes if name not in self.layers]


class LossSettings(NamedTuple):
    """What a loss program is loaded with; see :class:`~validation.spinnaker2.loss_program.LossProgram`."""

    population: str
    labels: Integers
    xi: float
    beta: float
    alpha: float
    silent: Silent
    error_scale: float


class Spikes(NamedTuple):
    """Spikes of one population, (n_spikes,) each, sorted by sample, step and neuron."""

    steps: Integers
    neurons: Integers
    samples: Integers


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of a run; the same for both executions, bit for bit.

    Attributes
    ----------
    spikes : mapping of str to Spikes
        Of every layer.
    errors : mapping of str to ndarray of float64, (n_spikes,)
        dL/dt_k of every spike of a layer or an input, in steps times the error scale; 0 where no error came back.
    losses : ndarray of float64, (n_samples,)
    gradients : tuple of GradientBlock
        Layer by layer in the order of the network.
    traces : mapping of str to (currents, voltages), (n_samples, n_steps, n_neurons) each
        Of every layer, in the state format: I and Vpre. Empty if they were not asked for.
    spike_packets, error_packets : int
        How many were sent.
    guarded : int
        Denominators that were not positive before the guard.
    overflows : int
        Fixed-point results that were out of range, those of loading apart.
    """

    spikes: Mapping[str, Spikes]
    errors: Mapping[str, Reals]
    losses: Reals
    gradients: tuple[GradientBlock, ...]
    traces: Mapping[str, tuple[Array, Array]]
    spike_packets: int
    error_packets: int
    guarded: int
    overflows: int
