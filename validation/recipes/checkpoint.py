"""Checkpoints: one npz file of arrays and text, never pickled, written whole or not at all.

Reading trusts nothing: a file that is not exactly the state of a training of this recipe, on this engine, with this
seed is refused, and nothing larger than such a state is unpacked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.bounded import MAX_BYTES, Budget, Unreadable, arrays_of, opened, parsed
from eventsolve.checks import printable, shown
from eventsolve.files import whole
from validation.recipes.engines import Engine, network_of
from validation.recipes.exact_engine import ExactEngine
from validation.recipes.optimizer import Moments
from validation.recipes.recipe import (
    RECIPES,
    Parameters,
    Reals,
    Recipe,
    described,
    initial_parameters,
)
from validation.recipes.silence import Bump
from validation.recipes.trainer import Epoch, State, initial_state

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
    with whole(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)


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
    where = printable(str(path))
    arrays = _arrays(
        path, sum(array.nbytes for array in like.values()) + 8 * len(Epoch._fields) * recipe.epochs
    )
    _check_identity(where, _text(where, arrays, "identity"), _identity(recipe, engine, seed))
    like["history"] = np.zeros((_rows(where, arrays, recipe.epochs), len(Epoch._fields)))
    surplus = sorted(set(arrays) - set(like) - {"identity"})
    if surplus:
        raise CheckpointError(f"{where} holds {shown(surplus[0])}, which no checkpoint has")
    arrays = {name: _array(where, arrays, name, expected) for name, expected in like.items()}
    count, layer = (int(n) for n in arrays["counters"])
    if count < 0 or not -1 <= layer < len(fresh.parameters.weights):
        raise CheckpointError(
            f"counters in {where} must be a number of steps and a layer; got {[count, layer]}"
        )
    parameters, best = (fresh.parameters.like(_numbered(arrays, name)) for name in ("parameters", "best"))
    if any((delay < 0).any() for delay in parameters.delays + best.delays):
        raise CheckpointError(f"delays in {where} must be >= 0")
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
    where = printable(str(path))
    arrays = _arrays(path, MAX_BYTES // 4)
    _text(where, arrays, "identity")
    charge = float(_array(where, arrays, "charge", np.zeros(())))
    weights = tuple(_array(where, arrays, f"best_{k}", w) for k, w in enumerate(like.weights))
    if not charge > 0:
        raise CheckpointError(f"charge in {where} must be > 0; got {charge!r}")
    return Parameters(tuple(w * (charge / engine.charge) for w in weights), like.delays)


def network_in(path: Path) -> es.Network:
    """Return the network with the best weights of a checkpoint, of any engine, as the exact engine has it.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint, or of a training of no known recipe.
    """
    where = printable(str(path))
    arrays = _arrays(path, MAX_BYTES // 4)
    try:
        document = parsed(_text(where, arrays, "identity").encode("utf-8", "replace"), Budget(_LONGEST_TEXT))
    except Unreadable:
        document = None
    said = document.get("recipe") if isinstance(document, dict) else None
    for recipe in RECIPES.values():
        known = json.loads(json.dumps(described(recipe)))
        if isinstance(said, dict) and all(said.get(name) == known[name] for name in ("setup", "delays")):
            break
    else:
        raise CheckpointError(f"{where} is of a training of no known recipe")
    like = initial_parameters(recipe, 0)
    held = load_weights(path, like, ExactEngine(recipe))
    delays = tuple(
        _array(where, arrays, f"best_{k + len(like.weights)}", delay) for k, delay in enumerate(like.delays)
    )
    return network_of(recipe, Parameters(held.weights, delays), recipe.transport)


def _identity(recipe: Recipe, engine: Engine, seed: int) -> str:
    """Return what decides a training, and no mere words."""
    numbers = {name: value for name, value in described(recipe).items() if name not in ("name", "source")}
    return json.dumps(
        {"format": FORMAT, "engine": engine.name, "seed": seed, "recipe": numbers}, sort_keys=True
    )


def _check_identity(where: str, found: str, wanted: str) -> None:
    if found == wanted:
        return
    try:
        document = parsed(found.encode("utf-8", "replace"), Budget(_LONGEST_TEXT))
    except Unreadable:
        raise CheckpointError(f"{where} does not say what training it is of") from None
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


def _arrays(path: Path, most: int) -> Mapping[str, NDArray[Any]]:
    """Return what a file holds, if that is no more than so much and a text."""
    limit = 2 * most + _LONGEST_TEXT  # and the headers of the archive
    try:
        with opened(path, limit) as file:
            return arrays_of(file, Budget(limit))
    except Unreadable as error:
        raise CheckpointError(f"{printable(str(path))} is no checkpoint: {error}") from None


def _text(where: str, arrays: Mapping[str, NDArray[Any]], name: str) -> str:
    array = _held(where, arrays, name)
    if array.shape != () or array.dtype.kind != "U":
        raise CheckpointError(f"{name} in {where} must be text; got {array.dtype} of shape {array.shape}")
    try:
        return str(array)
    except ValueError as error:  # numbers that are no characters
        raise CheckpointError(f"{name} in {where} must be text: {error}") from None


def _array(where: str, arrays: Mapping[str, NDArray[Any]], name: str, expected: NDArray[Any]) -> NDArray[Any]:
    array = _held(where, arrays, name)
    if array.shape != expected.shape or array.dtype != expected.dtype:
        raise CheckpointError(
            f"{name} in {where} must be {expected.dtype} of shape {expected.shape}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise CheckpointError(f"{name} in {where} must be finite")
    return array


def _rows(where: str, arrays: Mapping[str, NDArray[Any]], most: int) -> int:
    history = _held(where, arrays, "history")
    if history.ndim != 2 or not 0 <= len(history) <= most:
        raise CheckpointError(
            f"history in {where} must have one row for each of up to {most} epochs; got {history.shape}"
        )
    return len(history)


def _held(where: str, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise CheckpointError(f"{where} is no checkpoint: it has no {name!r}")
    return arrays[name]


def _numbered(arrays: Mapping[str, Reals], name: str) -> tuple[Reals, ...]:
    found = sorted((int(key.rsplit("_", 1)[1]), key) for key in arrays if key.startswith(f"{name}_"))
    return tuple(arrays[key] for _, key in found)
