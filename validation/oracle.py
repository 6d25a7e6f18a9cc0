"""The exact record, in the form in which every implementation under test gives its own."""

from __future__ import annotations

import numpy as np

import eventsolve as es
from eventsolve.io.records.record import NEURONAL
from validation.target import Record


def oracle(problem: es.Problem) -> Record:
    """Solve a problem exactly and record its spikes, losses and gradients; without a loss spikes alone.

    Returns
    -------
    Record
        Without traces: ``es.solve(...).voltage`` gives the voltage at any time.
    """
    solution = problem.solution
    if problem.loss is None:
        return Record("exact", dict(solution.spikes), None, {}, {})
    value, grads = es.value_and_grad(solution, problem.loss, reduction="none")
    return Record(
        name="exact",
        spikes=dict(solution.spikes),
        loss=np.asarray(value, dtype=np.float64),
        spike_times=dict(grads.spike_times),
        weight=dict(grads.weight),
        delay=dict(grads.delay),
        parameters={name: dict(getattr(grads, name)) for name in NEURONAL},
    )
