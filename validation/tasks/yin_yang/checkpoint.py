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
from eventsolve.bounded import MAX_BYTES
from eventsolve.checks import printable
from eventsolve.typing import Reals
from validation.tasks.yin_yang.engines import Engine, network_of
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.optimizer import Moments
from validation.tasks.yin_yang.recipe import (
    RECIPES,
    Parameters,
    Recipe,
    described,
    in_new_names,
    initial_parameters,
)
from validation.tasks.yin_yang.silence import Bump
from validation.tasks.yin_yang.trainer import Epoch, State, initial_state
from validation.training.archive import CheckpointError as CheckpointError
from validation.training.archive import (
    array_in,
    arrays_in,
    check_identity,
    check_known,
    held_in,
    text_in,
    told,
    write,
)

FORMAT = "eventsolve-training-1"


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
    write(path, arrays)


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
    arrays = arrays_in(
        path, sum(array.nbytes for array in like.values()) + 8 * len(Epoch._fields) * recipe.epochs
    )
    found = _in_new_names(text_in(where, arrays, "identity"))
    check_identity(where, found, _identity(recipe, engine, seed))
    like["history"] = np.zeros((_rows(where, arrays, recipe.epochs), len(Epoch._fields)))
    check_known(where, arrays, like)
    arrays = {name: array_in(where, arrays, name, expected) for name, expected in like.items()}
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
    arrays = arrays_in(path, MAX_BYTES // 4)
    text_in(where, arrays, "identity")
    charge = float(array_in(where, arrays, "charge", np.zeros(())))
    weights = tuple(array_in(where, arrays, f"best_{k}", w) for k, w in enumerate(like.weights))
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
    arrays = arrays_in(path, MAX_BYTES // 4)
    document = told(text_in(where, arrays, "identity"))
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
        array_in(where, arrays, f"best_{k + len(like.weights)}", delay) for k, delay in enumerate(like.delays)
    )
    return network_of(recipe, Parameters(held.weights, delays), recipe.transport)


def _identity(recipe: Recipe, engine: Engine, seed: int) -> str:
    """Return what decides a training, and no mere words."""
    numbers = {name: value for name, value in described(recipe).items() if name not in ("name", "source")}
    return json.dumps(
        {"format": FORMAT, "engine": engine.name, "seed": seed, "recipe": numbers}, sort_keys=True
    )


def _in_new_names(identity: str) -> str:
    """Return an identity, perhaps of version 0.1.0, in the names of now."""
    document = told(identity)
    recipe = document.get("recipe") if isinstance(document, dict) else None
    if not isinstance(recipe, dict) or "remedy" not in recipe:
        return identity
    return json.dumps({**document, "recipe": in_new_names(recipe)}, sort_keys=True)


def _rows(where: str, arrays: Mapping[str, NDArray[Any]], most: int) -> int:
    history = held_in(where, arrays, "history")
    if history.ndim != 2 or not 0 <= len(history) <= most:
        raise CheckpointError(
            f"history in {where} must have one row for each of up to {most} epochs; got {history.shape}"
        )
    return len(history)


def _numbered(arrays: Mapping[str, Reals], name: str) -> tuple[Reals, ...]:
    found = sorted((int(key.rsplit("_", 1)[1]), key) for key in arrays if key.startswith(f"{name}_"))
    return tuple(arrays[key] for _, key in found)
