"""Which recipe and which engine a name on the command line stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from validation.recipes.chip_engine import ChipEngine
from validation.recipes.engines import Engine
from validation.recipes.exact_engine import ExactEngine
from validation.recipes.recipe import BENA, RECIPES, WUNDERLICH, Recipe

DEFAULTS: Mapping[str, Recipe] = {"exact": WUNDERLICH, "float32": BENA, "spinnaker2": BENA}
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


def build_engine(name: str, recipe: Recipe, arithmetic: str | None, threads: int | None) -> Engine:
    """Return the engine "exact", "float32" or "spinnaker2" for a recipe.

    ``arithmetic`` is a choice of the last one, s16.15 by default.

    Raises
    ------
    ValueError
        If the engine cannot do what the recipe asks for, or has no choice of arithmetic.
    """
    if arithmetic is not None and name != "spinnaker2":
        raise ValueError(
            f"the number format is a choice of the engine 'spinnaker2' alone; got {arithmetic!r}"
        )
    if name == "exact":
        return ExactEngine(recipe, threads=threads)
    return ChipEngine(recipe, "float32" if name == "float32" else arithmetic or "s16.15", threads=threads)
