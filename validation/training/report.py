"""A training as a JSON file and as one self-contained HTML page.

The JSON file has these keys:

``format``, ``version``
    "eventsolve-training-report" and 1.
``complete``
    False if the training was interrupted: ``history`` then ends with the last whole epoch.
``provenance``
    Versions, platform, time, command and settings.
``engine``, ``seed``, ``recipe``
    What was trained, in full.
``history[]``
    Per epoch: ``loss``, ``train_accuracy``, ``test_accuracy``, ``hidden_spikes``, ``output_spikes``, ``silent``,
    ``seconds``, as in :class:`validation.training.trainer.Epoch`.
``ceiling``
    The best accuracy that any network can have on the test set with the inputs' code; null for a continuous one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from eventsolve.io import datasets
from validation.pictures import Picture
from validation.report import number, percent
from validation.training import pictures
from validation.training.engines import Engine
from validation.training.recipes import Recipe, described
from validation.training.trainer import State

GRID = 201
"""Points along a side of the picture of decisions."""


def ceiling(recipe: Recipe) -> float | None:
    """Return the best test accuracy of any network that sees the inputs' discrete code, None if it is continuous.

    Samples with one code get one answer, the most frequent of their classes at best.
    """
    if recipe.setup.encoding == "continuous":
        return None
    data = datasets.yin_yang(recipe.n_test, recipe.test_seed)
    _, codes = np.unique(datasets.latency_steps(data.points), axis=0, return_inverse=True)
    counts = np.zeros((codes.max() + 1, 3), dtype=np.int64)
    np.add.at(counts, (codes.ravel(), data.labels), 1)
    return float(counts.max(axis=1).sum() / recipe.n_test)


def document(
    state: State,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    origin: Mapping[str, Any],
    *,
    complete: bool = True,
) -> dict[str, Any]:
    """Return the report as a JSON document; the module's docstring documents the keys."""
    return {
        "format": "eventsolve-training-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "engine": engine.name,
        "seed": seed,
        "recipe": described(recipe),
        "ceiling": ceiling(recipe),
        "history": [epoch._asdict() for epoch in state.history],
    }


def to_html(
    state: State,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    origin: Mapping[str, Any],
    *,
    complete: bool = True,
) -> str:
    """Return the report as one HTML page that needs nothing but itself."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("validation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent)
    shown = [_decisions(state, recipe, engine)]
    if state.history:
        shown.insert(0, pictures.curves(state.history, ceiling(recipe)))
    page: str = environment.get_template("training.html.j2").render(
        state=state,
        recipe=recipe,
        described=described(recipe),
        engine=engine.name,
        seed=seed,
        origin=origin,
        complete=complete,
        ceiling=ceiling(recipe),
        pictures=shown,
    )
    return page


def write(
    folder: Path,
    state: State,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    origin: Mapping[str, Any],
    *,
    complete: bool = True,
) -> tuple[Path, Path]:
    """Write ``training.html`` and ``training.json`` into a folder; return their paths."""
    html, data = folder / "training.html", folder / "training.json"
    content = document(state, recipe, engine, seed, origin, complete=complete)
    data.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    html.write_text(to_html(state, recipe, engine, seed, origin, complete=complete), encoding="utf-8")
    return html, data


def _decisions(state: State, recipe: Recipe, engine: Engine) -> Picture:
    grid = np.linspace(0.0, 1.0, GRID)
    x, y = np.meshgrid(grid, grid)
    inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= 0.25
    points = np.stack([x[inside], y[inside], 1.0 - x[inside], 1.0 - y[inside]], axis=1)
    predicted = np.full(x.shape, -2, dtype=np.int64)
    predicted[inside] = engine.run(state.parameters, engine.encode(points)).predictions
    data = datasets.yin_yang(recipe.n_test, recipe.test_seed)
    test = engine.run(state.parameters, engine.encode(data.points)).predictions
    return pictures.decisions(grid, predicted, data.points, data.labels, test)
