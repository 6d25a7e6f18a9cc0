"""What a sample costs: packets, bytes, multiply-accumulates and exponentials, with errors sparse or dense.

A spike that arrives at a layer costs an addition per neuron forward, and backward a multiply-accumulate per neuron for
the error that answers it and an addition per neuron for the gradient. Every neuron and step costs three
multiply-accumulates forward (the current decays, the voltage decays and is driven) and three backward. An own spike
costs a multiplication and a division. Dense errors would answer every neuron in every step, whether it spiked or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from validation.spinnaker2.image import Image, Spikes
from validation.spinnaker2.memory import KEY_BYTES, number_bytes
from validation.spinnaker2.routing import HEADER_BYTES


@dataclass(frozen=True)
class LayerCost:
    """Of one layer, per sample.

    Attributes
    ----------
    layer : str
    arriving, spikes : float
        Spikes that arrive, projections counted apart, and own spikes.
    additions : float
        Of weights to currents, and of adjoint currents to gradients.
    neuron_macs : float
        Multiply-accumulates of neurons and adjoints, every step.
    jump_macs, divisions : float
        Of own spikes.
    error_macs, error_packets, error_bytes : float
        Of the errors that answer arriving spikes.
    dense_error_macs, dense_error_packets, dense_error_bytes : float
        If every source neuron were answered in every step in which a spike of it could arrive.
    """

    layer: str
    arriving: float
    spikes: float
    additions: float
    neuron_macs: float
    jump_macs: float
    divisions: float
    error_macs: float
    error_packets: float
    error_bytes: float
    dense_error_macs: float
    dense_error_packets: float
    dense_error_bytes: float


@dataclass(frozen=True)
class Cost:
    """Of a network, per sample.

    Attributes
    ----------
    n_samples : int
        Over which was averaged.
    layers : tuple of LayerCost
    spike_packets, spike_bytes : float
        Of inputs and layers; a multicast packet counts once.
    loss_packets, loss_bytes : float
        Errors that the loss sends.
    exponentials, loss_divisions : float
    """

    n_samples: int
    layers: tuple[LayerCost, ...]
    spike_packets: float
    spike_bytes: float
    loss_packets: float
    loss_bytes: float
    exponentials: float
    loss_divisions: float

    @property
    def macs(self) -> float:
        """Multiply-accumulates, with sparse errors."""
        return sum(c.neuron_macs + c.jump_macs + c.error_macs for c in self.layers)

    @property
    def dense_macs(self) -> float:
        """Multiply-accumulates, with dense errors."""
        return sum(c.neuron_macs + c.jump_macs + c.dense_error_macs for c in self.layers)

    @property
    def bytes(self) -> float:
        """On the network on chip, with sparse errors; weights and gradients apart."""
        return self.spike_bytes + self.loss_bytes + sum(c.error_bytes for c in self.layers)

    @property
    def dense_bytes(self) -> float:
        """On the network on chip, with dense errors; weights and gradients apart."""
        return self.spike_bytes + self.loss_bytes + sum(c.dense_error_bytes for c in self.layers)


def cost(
    image: Image, output: str, spikes: Mapping[str, Spikes], n_samples: int, n_steps: int, *, early: bool
) -> Cost:
    """Return the mean cost of the samples of a batch, one element per layer.

    Parameters
    ----------
    image : Image
    output : str
        The population that the loss reads.
    spikes : mapping of str to Spikes
        Of every population.
    n_samples, n_steps : int
    early : bool
        Whether the loss has an early-spike term, which costs another exponential.
    """
    per = 1.0 / max(n_samples, 1)
    delivered = {name: int(np.count_nonzero(s.steps < n_steps - 1)) * per for name, s in spikes.items()}
    sent = {name: int(np.count_nonzero(s.steps < n_steps)) * per for name, s in spikes.items()}
    spike_bytes = HEADER_BYTES + KEY_BYTES
    error_bytes = spike_bytes + number_bytes(image.arithmetic.adjoint)
    layers = []
    for name, layer in image.layers.items():
        sources = [block.key[0] for block in layer.afferents]
        arriving = sum(delivered[source] for source in sources)
        dense = sum(image.sizes[source] for source in sources) * (n_steps - 1)
        layers.append(
            LayerCost(
                layer=name,
                arriving=arriving,
                spikes=sent[name],
                additions=2 * arriving * layer.size,
                neuron_macs=6.0 * layer.size * (n_steps - 1),
                jump_macs=sent[name],
                divisions=sent[name],
                error_macs=arriving * layer.size,
                error_packets=arriving,
                error_bytes=arriving * error_bytes,
                dense_error_macs=float(dense * layer.size),
                dense_error_packets=float(dense),
                dense_error_bytes=float(dense * error_bytes),
            )
        )
    out = spikes[output]
    cells = (out.samples * image.sizes[output] + out.neurons)[out.steps < n_steps - 1]
    answered = np.unique(cells).size * per
    total = sum(sent.values())
    return Cost(
        n_samples=n_samples,
        layers=tuple(layers),
        spike_packets=total,
        spike_bytes=total * spike_bytes,
        loss_packets=answered,
        loss_bytes=answered * error_bytes,
        exponentials=image.sizes[output] + float(early),
        loss_divisions=float(image.sizes[output]),
    )
