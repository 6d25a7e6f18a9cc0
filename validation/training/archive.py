"""Checkpoints of trainings: one npz file of arrays and text, never pickled, written whole or not at all.

Reading trusts nothing: what is not exactly what a training of the same identity would have written is refused, and
nothing larger is unpacked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.bounded import Budget, Unreadable, arrays_of, opened, parsed
from eventsolve.checks import printable, shown
from eventsolve.files import whole

CHECKPOINT = "checkpoint.npz"
"""Of a training, in its folder."""
_LONGEST_TEXT = 1 << 20


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or is of another training."""


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays; an interrupt leaves the file that was there before."""
    with whole(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)


def check_known(where: str, arrays: Mapping[str, NDArray[Any]], known: Mapping[str, Any]) -> None:
    """Raise a CheckpointError for an array that is not among those known, beside the identity."""
    unknown = sorted(set(arrays) - set(known) - {"identity"})
    if unknown:
        raise CheckpointError(f"{where} holds {shown(unknown[0])}, which no checkpoint has")


def told(identity: str) -> Any:
    """Return what an identity says as JSON, None if it is none."""
    try:
        return parsed(identity.encode("utf-8", "replace"), Budget(_LONGEST_TEXT))
    except Unreadable:
        return None


def check_identity(where: str, found: str, wanted: str) -> None:
    """Raise a CheckpointError that says in what two trainings differ, if they do."""
    if found == wanted:
        return
    document = told(found)
    if document is None:
        raise CheckpointError(f"{where} does not say what training it is of")
    there, here = _flat(document), _flat(json.loads(wanted))
    for name in here:
        if there.get(name) != here[name]:
            raise CheckpointError(
                f"{where} is of another training: its {printable(name)} is {shown(there.get(name))}, "
                f"not {shown(here[name])}"
            )
    beside = sorted(set(there) - set(here))
    if beside:
        raise CheckpointError(f"{where} is of another training: it has {shown(beside[0])} beside")
    raise CheckpointError(f"{where} says of what training it is in other words than are written")


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, Mapping):
        return {prefix.rstrip("."): document}
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.")
    return flat


def arrays_in(path: Path, most: int) -> Mapping[str, NDArray[Any]]:
    """Return what a file holds, if that is no more than so much and a text."""
    limit = 2 * most + _LONGEST_TEXT  # and the headers of the archive
    try:
        with opened(path, limit) as file:
            return arrays_of(file, Budget(limit))
    except Unreadable as error:
        raise CheckpointError(f"{printable(str(path))} is no checkpoint: {error}") from None


def text_in(where: str, arrays: Mapping[str, NDArray[Any]], name: str) -> str:
    """Return a text."""
    array = held_in(where, arrays, name)
    if array.shape != () or array.dtype.kind != "U":
        raise CheckpointError(f"{name} in {where} must be text; got {array.dtype} of shape {array.shape}")
    try:
        return str(array)
    except ValueError as error:  # numbers that are no characters
        raise CheckpointError(f"{name} in {where} must be text: {error}") from None


def array_in(
    where: str, arrays: Mapping[str, NDArray[Any]], name: str, expected: NDArray[Any], *, finite: bool = True
) -> NDArray[Any]:
    """Return an array of the shape and kind that is expected, of finite numbers unless told otherwise."""
    array = held_in(where, arrays, name)
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise CheckpointError(
            f"{name} in {where} must be {expected.dtype} of shape {expected.shape}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    if finite and not np.isfinite(array).all():
        raise CheckpointError(f"{name} in {where} must be finite")
    return array


def held_in(where: str, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return an array that has to be there."""
    if name not in arrays:
        raise CheckpointError(f"{where} is no checkpoint: it has no {name!r}")
    return arrays[name]
