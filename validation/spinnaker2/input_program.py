"""The input program: sends the spikes of a data set, and collects the errors that come back for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eventsolve.typing import Integers
from validation.spinnaker2.arithmetic import Number, decode
from validation.spinnaker2.packets import ErrorPackets, SpikePackets


class InputProgram:
    """Sends given spikes.

    Parameters
    ----------
    population : str
    steps, neurons, samples : ndarray of int64, (n_spikes,)
        Sorted by sample, step and neuron. Spikes at steps that are never run are never sent.
    shape : (n_samples, n_neurons)
    number : FloatFormat or FixedFormat
        Of error payloads.

    Attributes
    ----------
    errors : ndarray of float64, (n_spikes,)
        dL/dt of every spike in steps times the error scale, 0 where no error came back.
    """

    def __init__(
        self,
        population: str,
        steps: Integers,
        neurons: Integers,
        samples: Integers,
        shape: tuple[int, int],
        number: Number,
    ) -> None:
        self.population = population
        self.errors: NDArray[np.float64] = np.zeros(steps.size)
        self._number = number
        self._shape = shape
        self._by_step: dict[int, tuple[Integers, SpikePackets]] = {}
        for step in np.unique(steps):
            places = np.flatnonzero(steps == step)
            places = places[np.lexsort((neurons[places], samples[places]))]
            self._by_step[int(step)] = places, SpikePackets(population, samples[places], neurons[places])

    def forward(self, step: int, received: Sequence[SpikePackets]) -> SpikePackets | None:
        """Return the spikes of this step."""
        assert not received
        return self._by_step[step][1] if step in self._by_step else None

    def backward(self, step: int, received: Sequence[ErrorPackets]) -> Sequence[ErrorPackets]:
        """Collect the errors of the spikes at ``step + 1``."""
        if received:
            arrived = np.zeros(self._shape)
            for packets in received:
                np.add.at(arrived, (packets.samples, packets.neurons), decode(packets.payloads, self._number))
            places, sent = self._by_step[step + 1]
            self.errors[places] = arrived[sent.samples, sent.neurons]
        return ()
