"""The exact record, in the form in which every implementation under test gives its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.io.records.record import QUANTITIES
from eventsolve.reductions import Reduction


def oracle(problem: es.Problem, wrt: Collection[str] | None = None) -> Record:
    """Solve a problem exactly and record its spikes, losses and gradients; without a loss spikes alone.

    Parameters
    ----------
    problem : Problem
    wrt : collection of str, optional
        Of which quantities gradients are wanted, as :func:`eventsolve.value_and_grad` takes them; by default of all.

    Returns
    -------
    Record
        Without traces: ``problem.solution.voltage`` gives the voltage at any time.
    """
    solution = problem.solution
    if problem.loss is None:
        return Record.of(problem, "exact", spikes=solution.spikes)
    value, grads = es.value_and_grad(solution, problem.loss, wrt=wrt, reduction="none")
    return Record.of(
        problem,
        "exact",
        spikes=solution.spikes,
        loss_values=np.asarray(value, dtype=np.float64),
        gradients={
            quantity: getattr(grads, quantity) for quantity in QUANTITIES if wrt is None or quantity in wrt
        },
    )


def reduced(record: Record, reduction: Reduction) -> Record:
    """Return a record of every sample's own loss and gradients with them reduced over the batch."""
    if reduction == "none":
        return record
    share = 1.0 / max(1, record.n_samples) if reduction == "mean" else 1.0
    gradients = {
        quantity: {
            place: values * share if quantity == "spike_times" else values.sum(axis=0) * share
            for place, values in places.items()
        }
        for quantity, places in record.gradients.items()
    }
    values = None if record.loss_values is None else np.asarray(record.loss_values.sum() * share)
    return replace(record, reduction=reduction, loss_values=values, gradients=gradients)


@dataclass(frozen=True)
class Exact:
    """The exact solver as a target: to train on, and to see that tools find nothing where nothing is.

    Parameters
    ----------
    wrt : collection of str, optional
        Of which quantities it gives gradients, by default of all: fewer take less time. In a text they are parted by +.
    """

    name: ClassVar[str] = "exact"
    wrt: Collection[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.wrt, str):
            object.__setattr__(self, "wrt", tuple(self.wrt.split("+")))

    def run(self, problem: es.Problem) -> Record:
        """Return what :func:`oracle` does."""
        return oracle(problem, self.wrt)
