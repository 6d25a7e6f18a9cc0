"""The state of a training in a file: the numbers that are trained, what the optimizer remembers, the epochs so far."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.bounded import MAX_BYTES
from eventsolve.checks import printable
from validation.training.archive import (
    CheckpointError,
    array_in,
    arrays_in,
    check_identity,
    check_known,
    held_in,
    text_in,
    write,
)
from validation.training.descent import Epoch, Row
from validation.training.optimizers import Memory
from validation.training.parameters import Parameters

FORMAT = "eventsolve-descent-1"


def identity(problem: es.Problem, parameters: Parameters, settings: Mapping[str, Any]) -> str:
    """Return what decides a training, but for how long it goes on: its samples, network and settings."""
    digest = hashlib.sha256()
    for trains in problem.inputs.values():
        for array in (trains.times, trains.neurons, trains.samples):
            digest.update(array.tobytes())
    for projection in problem.network.projections.values():
        digest.update(projection.weights.tobytes() + projection.delay.tobytes())
    labels = getattr(problem.loss, "labels", None)
    digest.update(b"" if labels is None else np.asarray(labels).tobytes())
    content = {
        "format": FORMAT,
        "problem": digest.hexdigest(),
        "parameters": [f"{quantity} of {place}" for quantity, place in parameters.places],
        "settings": dict(settings),
    }
    return json.dumps(content, sort_keys=True)


def save(path: Path, epoch: Epoch, parameters: Parameters, said: str) -> None:
    """Write a state; an interrupt leaves the file that was there before."""
    arrays: dict[str, Any] = {"identity": np.array(said)}
    arrays |= _named("value", parameters.values(epoch.network))
    for k, kept in enumerate(epoch.memory.arrays):
        arrays |= _named(f"memory_{k}", kept)
    arrays["counters"] = np.array([epoch.memory.steps, len(epoch.memory.arrays)], dtype=np.int64)
    arrays["history"] = np.array(epoch.history, dtype=np.float64).reshape(-1, len(Row._fields))
    write(path, arrays)


def load(path: Path, parameters: Parameters, said: str) -> Epoch:
    """Read a state that :func:`save` wrote for a training of the same identity.

    Raises
    ------
    CheckpointError
        If the file is anything else.
    """
    where, fresh = printable(str(path)), parameters.values(parameters.network)
    arrays = arrays_in(path, min(MAX_BYTES // 4, 8 * sum(v.nbytes for v in fresh) + (1 << 20)))
    check_identity(where, text_in(where, arrays, "identity"), said)
    steps, n_kept = (int(n) for n in array_in(where, arrays, "counters", np.zeros(2, np.int64)))
    history = held_in(where, arrays, "history")
    if steps < 0 or not 0 <= n_kept <= 4 or history.ndim != 2 or len(history) < 1:
        raise CheckpointError(f"counters and history in {where} are of no training")
    like = _named("value", fresh)
    for k in range(n_kept):
        like |= _named(f"memory_{k}", fresh)
    known = {**like, "counters": 0, "history": 0}
    check_known(where, arrays, known)
    history = array_in(where, arrays, "history", np.zeros((len(history), len(Row._fields))), finite=False)
    read = {name: array_in(where, arrays, name, expected) for name, expected in like.items()}
    rows = tuple(Row(*row) for row in history.tolist())
    kept = tuple(tuple(read[f"memory_{k}_{j}"] for j in range(len(fresh))) for k in range(n_kept))
    try:
        network = parameters.applied(parameters.network, [read[f"value_{j}"] for j in range(len(fresh))])
    except ValueError as error:
        raise CheckpointError(f"numbers in {where} are of no network: {error}") from None
    last = rows[-1]
    accuracy = None if np.isnan(last.accuracy) else last.accuracy
    return Epoch(len(rows) - 1, last.loss, last.test_loss, accuracy, network, Memory(steps, kept), rows)


def _named(name: str, arrays: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}_{k}": array for k, array in enumerate(arrays)}
