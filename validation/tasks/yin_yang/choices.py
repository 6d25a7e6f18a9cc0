"""Which recipe and which engine a name on the command line stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from validation.tasks.yin_yang.chip_engine import ChipEngine
from validation.tasks.yin_yang.engines import Engine
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.genn_engine import GeNNEngine
from validation.tasks.yin_yang.recipe import BENA, MLGENN, RECIPES, WUNDERLICH, Recipe

DEFAULTS: Mapping[str, Recipe] = {"exact": WUNDERLICH, "float32": BENA, "spinnaker2": BENA, "genn": MLGENN}
"""By engine: the published recipe."""


def choose_recipe(engine: str, name: str | None, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe by name, or the engine's own, with some of its fields, or its learning rate, changed.

    Raises
    ------
    ValueError
        If there is no such recipe, or a change is out of range.
    """
    if name is not None and name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}; got {name!r}")
    recipe = DEFAULTS[engine] if name is None else RECIPES[name]
    fields = dict(changes)
    if "learning_rate" in fields:
        fields["rule"] = replace(recipe.rule, learning_rate=fields.pop("learning_rate"))
    return replace(recipe, **fields)


def build_engine(
    name: str,
    recipe: Recipe,
    arithmetic: str | None,
    threads: int | None,
    time_step: float | None = None,
) -> Engine:
    """Return the engine "exact", "float32", "spinnaker2" or "genn" for a recipe.

    ``arithmetic`` is a choice of "spinnaker2", s16.15 by default, and ``time_step``, in seconds, one of "genn", 1 ms.

    Raises
    ------
    ValueError
        If the engine cannot do what the recipe asks for, or has no choice of arithmetic or time step.
    """
    if arithmetic is not None and name != "spinnaker2":
        raise ValueError(
            f"the number format is a choice of the engine 'spinnaker2' alone; got {arithmetic!r}"
        )
    if time_step is not None and name != "genn":
        raise ValueError(f"the time step is a choice of the engine 'genn' alone; got {time_step!r} s")
    if name == "genn":
        return GeNNEngine(recipe, 1e-3 if time_step is None else time_step, threads=threads)
    if name == "exact":
        return ExactEngine(recipe, threads=threads)
    return ChipEngine(recipe, "float32" if name == "float32" else arithmetic or "s16.15", threads=threads)
