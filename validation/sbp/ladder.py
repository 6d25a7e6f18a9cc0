"""Cause by cause, from exact backpropagation to the circuit: what each approximation adds to an update.

The causes, in the order in which each is put on top of those before it: the sign of the hidden error, the order of
transport, the upper edge of the box, the limits with their two copies of W2, and what only the circuit has: ungated
spikes and refractory periods.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.typing import Reals
from validation.sbp import reference
from validation.sbp.diagnosis import simulated
from validation.sbp.guesses import right
from validation.sbp.record import Record
from validation.sbp.rule import EXACT, THRESHOLD, Read, Rule


class Rung(NamedTuple):
    """An approximation, and how near the updates with it and all before it are to those recorded.

    Attributes
    ----------
    cause : str
    trials : int
        In which an update of W1 or W2 is another one.
    weights : int
        That are other ones after their trial, over all trials.
    error : tuple of float
        ``|dW - dW recorded| / |dW recorded|``, Frobenius over all trials, of W1 and of W2; nan if nothing was learned.
    cosine : tuple of float
        Of dW and dW recorded, of W1 and of W2.
    first : int or None
        The first trial in which an update is another one.
    """

    cause: str
    trials: int
    weights: int
    error: tuple[float, float]
    cosine: tuple[float, float]
    first: int | None


def rules(read: Read, edge: int = THRESHOLD) -> list[tuple[str, Rule]]:
    """Return the causes up to the closed form, each with the rule that has it and all before it."""
    sign = replace(EXACT, error="sign")
    order = replace(sign, read=read)
    box = replace(order, edge=edge)
    return [
        ("exact backpropagation", EXACT),
        ("the sign of the hidden error", sign),
        (f"transport {read} learning", order),
        (f"the upper edge of the box at {edge}", box),
        ("limits, and two copies of W2", replace(box, limits="chip")),
    ]


def ladder(record: Record, read: Read) -> list[Rung]:
    """Return how near each rung comes to a record, the circuit last."""
    d_recorded = [record.after[name].astype(np.float64) - record.before[name] for name in ("x->h", "h->o")]
    rungs = []
    for cause, rule in rules(read):
        found = [np.empty(d.shape) for d in d_recorded]
        copies = None
        for trial in range(record.n_trials):
            weights = record.weights(trial)
            if rule.limits == "chip":
                copies = _copies(record, trial, copies)
            one = reference.learned(
                weights,
                record.inputs[trial : trial + 1],
                record.targets[trial : trial + 1],
                rule,
                copies=copies,
            )
            if rule.limits == "chip":
                copies = (one.plus, one.minus)
            for d, new, old in zip(found, one.weights, weights, strict=True):
                d[trial] = new - np.asarray(old, dtype=np.float64)
        rungs.append(_rung(cause, found, d_recorded))
    circuit = [np.empty(d.shape) for d in d_recorded]
    for trial, run in enumerate(simulated(record, right(read), record.consecutive is not False)):
        for d, name in zip(circuit, ("x->h", "h->o"), strict=True):
            d[trial] = run.weights[name] - record.before[name][trial].astype(np.float64)
    return [*rungs, _rung("the circuit: ungated spikes, refractory periods", circuit, d_recorded)]


def _copies(
    record: Record, trial: int, before: tuple[NDArray[np.int32], NDArray[np.int32]] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Return +W2^T and -W2^T before a trial: as they were recorded, or have become since; None if as W2 is."""
    if "o->hT" in record.before and "oTm->hT" in record.before:
        return record.before["o->hT"][trial], record.before["oTm->hT"][trial]
    if before is None or record.consecutive is False:
        return None
    return before


def _rung(cause: str, found: list[Reals], recorded: list[Reals]) -> Rung:
    apart = [d != r for d, r in zip(found, recorded, strict=True)]
    by_trial = np.logical_or(*(a.any(axis=(1, 2)) for a in apart))
    error, cosine = [], []
    for d, r in zip(found, recorded, strict=True):
        norm = float(np.linalg.norm(r))
        error.append(float(np.linalg.norm(d - r)) / norm if norm else float("nan"))
        both = norm * float(np.linalg.norm(d))
        cosine.append(float((d * r).sum()) / both if both else float("nan"))
    return Rung(
        cause,
        int(by_trial.sum()),
        int(sum(a.sum() for a in apart)),
        (error[0], error[1]),
        (cosine[0], cosine[1]),
        int(by_trial.argmax()) if by_trial.any() else None,
    )
