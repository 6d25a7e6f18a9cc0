"""A layer on several elements: each holds some of its neurons, with their weights, states and gradients.

Spikes go to all of them. The error of a spike is a sum over all neurons of the layer, so each element adds its terms to
the sum that the element before it sends, and the last one brings the sum into its format and sends it back: the order
of summation, and with it every bit, is that of one element.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eventsolve.typing import Reals
from validation.spinnaker2.arithmetic import Array
from validation.spinnaker2.image import GradientBlock, Spikes
from validation.spinnaker2.layer_program import LayerProgram
from validation.spinnaker2.packets import ErrorPackets, SpikePackets


class SplitLayerProgram:
    """One population on several elements.

    Parameters
    ----------
    population : str
    parts : sequence of LayerProgram
    bounds : sequence of int
        Neurons bounds[p] .. bounds[p + 1] - 1 are those of part p.

    Attributes
    ----------
    partial_packets : int
        How many sums were sent from one element to the next.
    """

    def __init__(self, population: str, parts: Sequence[LayerProgram], bounds: Sequence[int]) -> None:
        self.population = population
        self._parts = tuple(parts)
        self._bounds = tuple(bounds)
        self.partial_packets = 0

    def forward(self, step: int, received: Sequence[SpikePackets]) -> SpikePackets | None:
        """Let every part do one step; their packets are received by ascending neuron."""
        sent = [part.forward(step, received) for part in self._parts]
        packets = [
            (p.samples, p.neurons + low) for p, low in zip(sent, self._bounds, strict=False) if p is not None
        ]
        if not packets:
            return None
        samples, neurons = (np.concatenate(column) for column in zip(*packets, strict=True))
        order = np.lexsort((neurons, samples))
        return SpikePackets(self.population, samples[order], neurons[order])

    def backward(self, step: int, received: Sequence[ErrorPackets]) -> Sequence[ErrorPackets]:
        """Pass sums from part to part; errors received go to the part that holds their neuron."""
        errors = []
        for k, packets in self._parts[0].arrived(step):
            total: Array | None = None
            for part in self._parts:
                self.partial_packets += 0 if total is None else packets.samples.size
                total = part.summed(k, packets, total)
            assert total is not None
            errors.append(self._parts[-1].settled(packets, total))
        for part, low, high in zip(self._parts, self._bounds, self._bounds[1:], strict=False):
            part.retreat(step, [_within(packets, low, high) for packets in received])
        return errors

    @property
    def guarded(self) -> int:
        """How many denominators were not positive before the guard."""
        return sum(part.guarded for part in self._parts)

    def spikes_and_errors(self) -> tuple[Spikes, Reals]:
        """Return the spikes of all parts, and dL/dt of each."""
        found = [part.spikes_and_errors() for part in self._parts]
        steps, samples = (
            np.concatenate([getattr(s, name) for s, _ in found]) for name in ("steps", "samples")
        )
        neurons = np.concatenate([s.neurons + low for (s, _), low in zip(found, self._bounds, strict=False)])
        order = np.lexsort((neurons, steps, samples))
        errors = np.concatenate([e for _, e in found])[order]
        return Spikes(steps[order], neurons[order], samples[order]), errors

    def traces(self) -> tuple[Array, Array]:
        """Return currents and voltages, (n_samples, n_steps, n_neurons) each."""
        parts = [part.traces() for part in self._parts]
        return np.concatenate([p[0] for p in parts], axis=2), np.concatenate([p[1] for p in parts], axis=2)

    def gradient_blocks(self) -> list[GradientBlock]:
        """Return what all parts accumulated."""
        blocks = zip(*(part.gradient_blocks() for part in self._parts), strict=True)
        return [b[0]._replace(values=np.concatenate([x.values for x in b], axis=2)) for b in blocks]


def _within(packets: ErrorPackets, low: int, high: int) -> ErrorPackets:
    """Return the packets for neurons low .. high - 1, counted from low."""
    mine = (packets.neurons >= low) & (packets.neurons < high)
    return ErrorPackets(
        packets.population, packets.samples[mine], packets.neurons[mine] - low, packets.payloads[mine]
    )
