"""Checkpoints: one npz file of arrays and text, never pickled, written whole or not at all.

Reading trusts nothing: a file that is not exactly the state of a training of this recipe, on this engine, with this
seed is refused, and nothing larger than such a state is unpacked.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.io.records.files import BROKEN
from validation.training.engines import Engine
from validation.training.optimizer import Moments
from validation.training.recipes import Parameters, Reals, Recipe, described
from validation.training.silence import Bump
from validation.training.trainer import Epoch, State, initial_state

FORMAT = "eventsolve-training-1"
_LONGEST_TEXT = 1 << 20


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or is of another training."""


def save(path: Path, state: State, recipe: Recipe, engine: Engine, seed: int) -> None:
    """Write a state; an interrupt leaves the file that was there before."""
    arrays: dict[str, Any] = {"identity": np.array(_identity(recipe, engine, seed))}
    for name in ("parameters", "best"):
        arrays |= {f"{name}_{k}": array for k, array in enumerate(getattr(state, name).arrays)}
    for name in ("first", "second"):
        arrays |= {f"{name}_{k}": array for k, array in enumerate(getattr(state.moments, name))}
    arrays["counters"] = np.array([state.moments.count, state.bump.layer], dtype=np.int64)
    arrays["charge"] = np.array(engine.charge)
    arrays["bump_amount"] = np.array(state.bump.amount)
    arrays["history"] = np.array(state.history, dtype=np.float64).reshape(-1, len(Epoch._fields))
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(path: Path, recipe: Recipe, engine: Engine, seed: int) -> State:
    """Read a state that :func:`save` wrote for this recipe, engine and seed.

    Raises
    ------
    CheckpointError
        If the file is anything else.
    """
    fresh = initial_state(recipe, engine, seed)
    like: dict[str, Any] = {}
    for name in ("parameters", "best"):
        like |= {f"{name}_{k}": array for k, array in enumerate(fresh.parameters.arrays)}
    for name in ("first", "second"):
        like |= {f"{name}_{k}": array for k, array in enumerate(getattr(fresh.moments, name))}
    like |= {"counters": np.zeros(2, np.int64), "bump_amount": np.zeros(()), "charge": np.zeros(())}
    with _opened(path) as archive:
        identity = _text(path, archive, "identity")
        _check_identity(path, identity, _identity(recipe, engine, seed))
        n_epochs = _rows(path, archive, recipe.epochs)
        like["history"] = np.zeros((n_epochs, len(Epoch._fields)))
        arrays = {name: _array(path, archive, name, expected) for name, expected in like.items()}
        surplus = sorted({Path(n).stem for n in archive.namelist()} - set(like) - {"identity"})
    if surplus:
        raise CheckpointError(f"{path} holds {surplus[0]!r}, which no checkpoint has")
    count, layer = (int(n) for n in arrays["counters"])
    if count < 0 or not -1 <= layer < len(fresh.parameters.weights):
        raise CheckpointError(
            f"counters in {path} must be a number of steps and a layer; got {[count, layer]}"
        )
    parameters, best = (fresh.parameters.like(_numbered(arrays, name)) for name in ("parameters", "best"))
    if any((delay < 0).any() for delay in parameters.delays + best.delays):
        raise CheckpointError(f"delays in {path} must be >= 0")
    return State(
        parameters,
        Moments(count, _numbered(arrays, "first"), _numbered(arrays, "second")),
        best,
        Bump(layer, float(arrays["bump_amount"])),
        tuple(Epoch(*row) for row in arrays["history"].tolist()),
    )


def load_weights(path: Path, like: Parameters, engine: Engine) -> Parameters:
    """Read weights that any recipe and engine trained, scaled so that a spike delivers the same charge on this engine.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint, or of another network.
    """
    with _opened(path) as archive:
        _text(path, archive, "identity")
        charge = float(_array(path, archive, "charge", np.zeros(())))
        weights = tuple(_array(path, archive, f"best_{k}", w) for k, w in enumerate(like.weights))
    if not charge > 0:
        raise CheckpointError(f"charge in {path} must be > 0; got {charge!r}")
    return Parameters(tuple(w * (charge / engine.charge) for w in weights), like.delays)


def _identity(recipe: Recipe, engine: Engine, seed: int) -> str:
    """Return what decides a training, and no mere words."""
    numbers = {name: value for name, value in described(recipe).items() if name not in ("name", "source")}
    return json.dumps(
        {"format": FORMAT, "engine": engine.name, "seed": seed, "recipe": numbers}, sort_keys=True
    )


def _check_identity(path: Path, found: str, wanted: str) -> None:
    if found == wanted:
        return
    try:
        document = json.loads(found)
    except json.JSONDecodeError:
        raise CheckpointError(f"{path} does not say what training it is of") from None
    there, here = _flat(document), _flat(json.loads(wanted))
    for name in here:
        if there.get(name) != here[name]:
            raise CheckpointError(
                f"{path} is of another training: its {name} is {there.get(name)!r}, not {here[name]!r}"
            )
    raise CheckpointError(
        f"{path} is of another training: it has {sorted(set(there) - set(here))[0]!r} beside"
    )


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(document, Mapping):
        return {prefix.rstrip("."): document}
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.")
    return flat


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except BROKEN as error:
        raise CheckpointError(f"{path} is no checkpoint: {error}") from None


def _text(path: Path, archive: zipfile.ZipFile, name: str) -> str:
    array = _read(path, archive, name, _LONGEST_TEXT)
    if array.shape != () or array.dtype.kind != "U":
        raise CheckpointError(f"{name} in {path} must be text; got {array.dtype} of shape {array.shape}")
    return str(array)


def _array(path: Path, archive: zipfile.ZipFile, name: str, expected: NDArray[Any]) -> NDArray[Any]:
    array = _read(path, archive, name, expected.nbytes)
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise CheckpointError(
            f"{name} in {path} must be {expected.dtype} of shape {expected.shape}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise CheckpointError(f"{name} in {path} must be finite")
    return array


def _rows(path: Path, archive: zipfile.ZipFile, most: int) -> int:
    history = _read(path, archive, "history", 8 * len(Epoch._fields) * most)
    if history.ndim != 2 or not 0 <= len(history) <= most:
        raise CheckpointError(
            f"history in {path} must have one row for each of up to {most} epochs; got {history.shape}"
        )
    return len(history)


def _read(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    try:
        with archive.open(f"{name}.npy") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("its npy version is not 1.0")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            n_bytes = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or n_bytes > most:
                raise ValueError(f"{dtype} of shape {shape} was not expected")
            content = file.read(n_bytes + 1)
    except KeyError:
        raise CheckpointError(f"{path} is no checkpoint: it has no {name!r}") from None
    except BROKEN as error:
        raise CheckpointError(f"{name} in {path} cannot be read: {error}") from None
    if len(content) != n_bytes:
        raise CheckpointError(f"{name} in {path} has {len(content)} bytes where {n_bytes} were announced")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if by_columns else "C")


def _numbered(arrays: Mapping[str, Reals], name: str) -> tuple[Reals, ...]:
    found = sorted((int(key.rsplit("_", 1)[1]), key) for key in arrays if key.startswith(f"{name}_"))
    return tuple(arrays[key] for _, key in found)
