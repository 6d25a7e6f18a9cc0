"""The layer program: one population of LIF neurons, forward and backward (Béna et al. 2024, arXiv 2412.15021).

The equations are those of the authors' simulator (GabrielBena/pytorch-eventprop). With alpha and beta the decay
factors of current and voltage over one time step, forward for k = 1 .. n_steps - 1:

    I[k]    = alpha I[k-1] + W s_in[k-1]
    Vpre[k] = beta V[k-1] + (1 - beta) I[k]
    s[k]    = Vpre[k] > v_threshold
    V[k]    = v_reset where s[k], else Vpre[k]

and backward for i = n_steps - 2 .. 0, with E the errors received for the own spikes:

    error of a spike at i that arrived here = W^T (lamV[i+1] - lamI[i+1])
    lamI[i] = alpha lamI[i+1] + (1 - alpha) lamV[i+1]
    jump    = s[i+1] ((v_threshold - v_reset) lamV[i+1] + E[i+1]) / (I[i+1] - Vpre[i+1] + 1e-10)
    lamV[i] = beta lamV[i+1] + jump
    gradient += lamI[i] s_in[i]^T

In fixed point the denominator is guarded by max(., 1 LSB) instead of + 1e-10. The factor -tau_syn of the gradient is
left to the optimizer program: adjoint currents would underflow with it.

Order of summation, which decides the last bit: an arriving spike adds its weights one packet after the other, by
projection and then by ascending source neuron; an outgoing error is summed over ascending target neurons, projections
separately; gradients are summed backwards in time. In fixed point every product is rounded, and every addition
saturates, except inside the sum of an outgoing error, which is formed in 64 bits and saturates at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.typing import Integers
from validation.fixedpoint import FixedFormat
from validation.spinnaker2.arithmetic import Arithmetic, Array, Calculator, Number, decode, zeros
from validation.spinnaker2.image import GradientBlock, LayerImage, Spikes
from validation.spinnaker2.packets import ErrorPackets, SpikePackets


class SpikeErrors(NamedTuple):
    """dL/dt_k of the spikes of one step, in steps times the error scale; (n_spikes,) each."""

    step: int
    samples: Integers
    neurons: Integers
    errors: NDArray[np.float64]


class LayerProgram:
    """One population; see the module docstring.

    Parameters
    ----------
    population : str
    image : LayerImage
        What it is loaded with.
    n_samples, n_steps : int
    arithmetic : Arithmetic
    calculator : Calculator

    Attributes
    ----------
    currents, voltages : ndarray, (n_steps, n_samples, n_neurons)
        I and Vpre of every step, in the state format.
    spikes : list of SpikePackets
        By step.
    spike_errors : list of SpikeErrors
        What the backward pass found, last step first.
    guarded : int
        How many denominators were not positive before the guard.
    """

    def __init__(
        self,
        population: str,
        image: LayerImage,
        n_samples: int,
        n_steps: int,
        arithmetic: Arithmetic,
        calculator: Calculator,
    ) -> None:
        self.population = population
        self._formats = a = arithmetic
        self._calculator = calculator
        self._image = image
        shape = (n_samples, image.size)
        self._current = zeros(shape, a.state)
        self._voltage = zeros(shape, a.state)
        self.currents = zeros((n_steps, *shape), a.state)
        self.voltages = zeros((n_steps, *shape), a.state)
        nothing = np.empty(0, np.int64)
        self.spikes = [SpikePackets(population, nothing, nothing) for _ in range(n_steps)]
        self._arrived: list[list[tuple[int, SpikePackets]]] = [[] for _ in range(n_steps)]

        self._adjoint_current = zeros(shape, a.adjoint)
        self._adjoint_voltage = zeros(shape, a.adjoint)
        self._gradients = [zeros((n_samples, *block.values.shape), a.gradient) for block in image.afferents]
        self.spike_errors: list[SpikeErrors] = []
        self.guarded = 0

    def forward(self, step: int, received: Sequence[SpikePackets]) -> SpikePackets | None:
        """Do one step of the neurons and return their spikes."""
        c, a, image = self._calculator, self._formats, self._image
        current = c.multiply(self._current, a.state, image.alpha, a.decay, a.state)
        for k, block in enumerate(image.afferents):
            for packets in received:
                if packets.population == block.key[0]:
                    self._arrived[step].append((k, packets))
                    self._deliver(current, image.increments[k], packets)
        voltage = c.add(
            c.multiply(self._voltage, a.state, image.beta, a.decay, a.state),
            a.state,
            c.multiply(current, a.state, image.one_minus_beta, a.decay, a.state),
            a.state,
            a.state,
        )
        fired = voltage > image.v_threshold
        self._current = current
        self._voltage = np.where(fired, image.v_reset, voltage)
        self.currents[step], self.voltages[step] = current, voltage
        samples, neurons = np.nonzero(fired)
        if not samples.size:
            return None
        self.spikes[step] = SpikePackets(self.population, samples, neurons)
        return self.spikes[step]

    def _deliver(self, current: Array, weights: Array, packets: SpikePackets) -> None:
        """Add the weights of each packet to the current, in place: in each sample one packet after the other."""
        state = self._formats.state
        for samples, neurons in _one_per_sample(packets):
            current[samples] = self._calculator.add(current[samples], state, weights[neurons], state, state)

    def backward(self, step: int, received: Sequence[ErrorPackets]) -> Sequence[ErrorPackets]:
        """Do one step of the adjoint; return the errors of the spikes that arrived at ``step + 1``."""
        errors = [self.settled(packets, self.summed(k, packets, None)) for k, packets in self.arrived(step)]
        self.retreat(step, received)
        return errors

    def arrived(self, step: int) -> list[tuple[int, SpikePackets]]:
        """Return the packets that were sent in a step, each with the number of its projection."""
        return self._arrived[step + 1]

    def retreat(self, step: int, received: Sequence[ErrorPackets]) -> None:
        """Do one step of the adjoint and of the gradients."""
        c, a, image = self._calculator, self._formats, self._image
        lam_v, lam_i = self._adjoint_voltage, self._adjoint_current
        self._adjoint_current = c.add(
            c.multiply(lam_i, a.adjoint, image.alpha, a.decay, a.adjoint),
            a.adjoint,
            c.multiply(lam_v, a.adjoint, image.one_minus_alpha, a.decay, a.adjoint),
            a.adjoint,
            a.adjoint,
        )
        self._adjoint_voltage = c.multiply(lam_v, a.adjoint, image.beta, a.decay, a.adjoint)
        if self.spikes[step + 1].samples.size:
            self._jump(step + 1, lam_v, received)
        for k, (_, samples, neurons) in self._arrived[step + 1]:
            sums = self._gradients[k]
            sums[samples, neurons] = c.add(
                sums[samples, neurons], a.gradient, self._adjoint_current[samples], a.adjoint, a.gradient
            )

    def summed(self, k: int, packets: SpikePackets, carried: Array | None) -> Array:
        """Return W^T (lamV - lamI) for the source neurons of packets over projection k, on top of a carried sum."""
        c, a = self._calculator, self._formats
        _, samples, neurons = packets
        lam_v, lam_i = self._adjoint_voltage[samples], self._adjoint_current[samples]
        difference = c.subtract(lam_v, a.adjoint, lam_i, a.adjoint, a.adjoint)
        block = self._image.afferents[k]
        products = c.multiply(block.values[neurons], block.number, difference, a.adjoint, a.adjoint)
        return c.summed(products, a.adjoint, carried)

    def settled(self, packets: SpikePackets, total: Array) -> ErrorPackets:
        """Return the errors that answer packets."""
        payloads = self._calculator.settled(total, self._formats.adjoint)
        return ErrorPackets(packets.population, packets.samples, packets.neurons, payloads)

    def _jump(self, step: int, lam_v: Array, received: Sequence[ErrorPackets]) -> None:
        """Add the jumps of the spikes at ``step`` to the adjoint voltage."""
        c, a = self._calculator, self._formats
        _, samples, neurons = self.spikes[step]
        error = zeros(lam_v.shape, a.adjoint)
        for _, to_samples, to_neurons, payloads in received:
            place = to_samples, to_neurons
            error[place] = c.add(error[place], a.adjoint, payloads, a.adjoint, a.adjoint)
        here = samples, neurons
        current = self.currents[step][here]
        numerator = c.add(
            c.multiply(lam_v[here], a.adjoint, self._image.swing[neurons], a.state, a.adjoint),
            a.adjoint,
            error[here],
            a.adjoint,
            a.adjoint,
        )
        slope = c.subtract(current, a.state, self.voltages[step][here], a.state, a.state)
        self.guarded += int(np.count_nonzero(slope <= 0))
        slope = guarded(slope, a.state)
        jump = c.divide(numerator, a.adjoint, slope, a.state, a.adjoint)
        self._adjoint_voltage[here] = c.add(
            self._adjoint_voltage[here], a.adjoint, jump, a.adjoint, a.adjoint
        )
        # What lambda_V^- (I - v_threshold) is in continuous time, where the jump replaces lambda_V^+ (MODEL, Backward)
        total = decode(error[here], a.adjoint) + decode(lam_v[here], a.adjoint) * (
            decode(current, a.state) - decode(self._image.v_reset, a.state)[neurons]
        )
        self.spike_errors.append(SpikeErrors(step, samples, neurons, total))

    def spikes_and_errors(self) -> tuple[Spikes, NDArray[np.float64]]:
        """Return the own spikes by sample, step and neuron, and dL/dt of each in steps times the error scale."""
        found = self.spike_errors[::-1]
        step = np.concatenate([np.empty(0, np.int64), *(np.full(e.samples.size, e.step) for e in found)])
        neuron = np.concatenate([np.empty(0, np.int64), *(e.neurons for e in found)])
        sample = np.concatenate([np.empty(0, np.int64), *(e.samples for e in found)])
        order = np.argsort(sample, kind="stable")
        errors = np.concatenate([np.empty(0), *(e.errors for e in found)])
        return Spikes(step[order], neuron[order], sample[order]), errors[order]

    def traces(self) -> tuple[Array, Array]:
        """Return currents and voltages, (n_samples, n_steps, n_neurons) each."""
        return self.currents.swapaxes(0, 1), self.voltages.swapaxes(0, 1)

    def gradient_blocks(self) -> list[GradientBlock]:
        """Return what was accumulated, for the optimizer program."""
        return [
            GradientBlock(block.key, sums, self._formats.gradient, self._image.tau_syn)
            for block, sums in zip(self._image.afferents, self._gradients, strict=True)
        ]


def guarded(slope: Array, number: Number) -> Array:
    """Return denominators that cannot be 0 (but for a float of exactly -1e-10)."""
    if isinstance(number, FixedFormat):
        return np.maximum(slope, 1)
    return np.asarray(slope + slope.dtype.type(1e-10))


def _one_per_sample(packets: SpikePackets) -> Iterator[tuple[Integers, Integers]]:
    """Split packets into rounds: the first of every sample, then the second of those that have one, and so on."""
    _, samples, neurons = packets
    rank = np.arange(samples.size) - np.searchsorted(samples, samples)
    for r in range(int(rank.max()) + 1):
        chosen = rank == r
        yield samples[chosen], neurons[chosen]
