"""The document of a training: terminal, HTML page and JSON file.

The JSON file has these keys:

``format``, ``version``
    "eventsolve-training-report" and 1.
``complete``
    False if the training was interrupted: ``history`` then ends with the last whole epoch.
``provenance``
    Versions, platform, time, command and settings.
``headline``
    What it reached, in sentences.
``engine``, ``seed``, ``recipe``
    What was trained, in full.
``history[]``
    Per epoch: ``loss``, ``train_accuracy``, ``validation_accuracy``, ``test_accuracy``, ``hidden_spikes``,
    ``output_spikes``, ``silent``, ``seconds``, as in :class:`validation.tasks.yin_yang.trainer.Epoch`.
``ceiling``
    The best accuracy that any network can have with the inputs' code; null for a continuous one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from eventsolve.io import datasets
from validation.report import number, percent
from validation.report.document import Block, Document, Facts, Picture, Section, Words, where_from
from validation.tasks.yin_yang import pictures
from validation.tasks.yin_yang.engines import Engine
from validation.tasks.yin_yang.recipe import Recipe, described
from validation.tasks.yin_yang.trainer import State

GRID = 201
"""Points along a side of the picture of decisions."""
CEILING_GRID = 500
"""Points along a side from which the ceiling of a code is found."""


@functools.cache
def ceiling(encoding: str) -> float | None:
    """Return the best accuracy of any network that sees the inputs' discrete code, None if it is continuous.

    Points with one code get one answer, the likeliest of their classes at best. Points are those of a fine grid,
    weighted so that every class has a third, as in the data set.
    """
    if encoding == "continuous":
        return None
    axis = (np.arange(CEILING_GRID) + 0.5) / CEILING_GRID
    x, y = (a.ravel() for a in np.meshgrid(axis, axis))
    inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
    x, y = x[inside], y[inside]
    labels = np.array([datasets.yin_yang_class(*point) for point in zip(x.tolist(), y.tolist(), strict=True)])
    steps = datasets.latency_steps(np.stack([x, y, 1.0 - x, 1.0 - y], axis=1))
    _, codes = np.unique(steps, axis=0, return_inverse=True)
    shares = np.zeros((codes.max() + 1, 3))
    np.add.at(shares, (codes.ravel(), labels), 1.0 / (3 * np.bincount(labels))[labels])
    return float(shares.max(axis=1).sum())


def data_of(
    state: State,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    origin: Mapping[str, Any],
    *,
    complete: bool = True,
) -> dict[str, Any]:
    """Return a training as data; the module's docstring documents the keys."""
    return {
        "format": "eventsolve-training-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "engine": engine.name,
        "seed": seed,
        "recipe": described(recipe),
        "ceiling": ceiling(recipe.setup.encoding),
        "history": [epoch._asdict() for epoch in state.history],
    }


def document_of(
    state: State,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    origin: Mapping[str, Any],
    *,
    complete: bool = True,
) -> Document:
    """Return what a training reached, and how."""
    blocks: list[Block] = []
    if not complete:
        done = f"{state.epoch} of {recipe.epochs} epochs"
        blocks.append(Words(f"The training was interrupted after {done}.", "notice"))
    most = ceiling(recipe.setup.encoding)
    if state.history:
        blocks.append(Words(_reached(state, recipe, most), "verdict"))
    blocks.append(Words(f"Recipe {recipe.name} ({recipe.source}), seed {seed}.", "quiet"))
    shown = [_decisions(state, recipe, engine)]
    if state.history:
        shown.insert(0, pictures.curves(state.history, most))
    facts = Facts(tuple((name, str(value)) for name, value in described(recipe).items()))
    return Document(
        title=f"{recipe.setup.name} on Yin-Yang, {engine.name}",
        headline=tuple(blocks),
        sections=(Section("Training", tuple(shown)), Section("Recipe", (facts,)), where_from(origin)),
        origin=origin,
        data=data_of(state, recipe, engine, seed, origin, complete=complete),
    )


def _reached(state: State, recipe: Recipe, most: float | None) -> str:
    last = state.chosen
    best = f", with the weights that were best on {recipe.n_validation} points of validation" * bool(
        recipe.n_validation
    )
    cap = "" if most is None else f", of at most {percent(most)} that the code of the inputs allows"
    return (
        f"Test accuracy {percent(last.test_accuracy)} on {recipe.n_test} points after {state.epoch} epochs{best}{cap}. "
        f"{number(last.hidden_spikes)} hidden spikes per sample; {int(last.silent)} of {recipe.setup.sizes[1]} hidden "
        "neurons are silent."
    )


def _decisions(state: State, recipe: Recipe, engine: Engine) -> Picture:
    grid = np.linspace(0.0, 1.0, GRID)
    x, y = np.meshgrid(grid, grid)
    inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
    points = np.stack([x[inside], y[inside], 1.0 - x[inside], 1.0 - y[inside]], axis=1)
    predicted = np.full(x.shape, -2, dtype=np.int64)
    predicted[inside] = engine.run(state.best, engine.encode(points)).predictions
    data = datasets.yin_yang(recipe.n_test, recipe.test_seed)
    test = engine.run(state.best, engine.encode(data.points)).predictions
    return pictures.decisions(grid, predicted, data.points, data.labels, test)
