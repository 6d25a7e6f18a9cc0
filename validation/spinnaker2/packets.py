"""What programs say to each other: nothing but packets, and every packet arrives one step after it was sent.

The key of a packet is (source population, neuron). A spike packet has no payload, an error packet carries one
number, and both directions are equally sparse: an error packet answers a spike packet. Samples are separate copies
of the chip that run side by side, so one object holds what one population sends in one step in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from eventsolve.typing import Integers
from validation.spinnaker2.arithmetic import Array


class SpikePackets(NamedTuple):
    """Spikes of one population in one step, sorted by sample and then neuron; (n_packets,) each."""

    population: str
    samples: Integers
    neurons: Integers


class ErrorPackets(NamedTuple):
    """dL/dt of spikes of one population, in steps times the error scale, in the adjoint format; (n_packets,) each."""

    population: str
    samples: Integers
    neurons: Integers
    payloads: Array


class Program(Protocol):
    """A program on a processing element, in lock step with the others."""

    def forward(self, step: int, received: Sequence[SpikePackets]) -> SpikePackets | None:
        """Do step 1 .. n_steps - 1 with the spikes that were sent in the step before, and return those of this one."""

    def backward(self, step: int, received: Sequence[ErrorPackets]) -> Sequence[ErrorPackets]:
        """Do step n_steps - 2 .. 0 with the errors of spikes at step + 1, and return those of spikes at this step."""
