"""The exact record, in the form in which every implementation under test gives its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import eventsolve as es
from validation.target import Record


def oracle(network: es.Network, inputs: Mapping[str, es.SpikeTrains], t_end: float, loss: Any) -> Record:
    """Solve a network exactly and record its spikes, losses and gradients.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains
    t_end : float
        Seconds.
    loss : loss of ``eventsolve.losses``, or None
        Without one there are spikes alone.

    Returns
    -------
    Record
        Without traces: ``es.solve(...).voltage`` gives the voltage at any time.
    """
    solution = es.solve(network, inputs, t_end=t_end)
    if loss is None:
        return Record("exact", dict(solution.spikes), None, {}, {})
    value, grads = es.value_and_grad(solution, loss, reduction="none")
    return Record(
        name="exact",
        spikes=dict(solution.spikes),
        loss=np.asarray(value, dtype=np.float64),
        spike_times=dict(grads.spike_times),
        weight=dict(grads.weight),
    )
