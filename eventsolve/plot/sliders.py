"""A picture with sliders where they can be moved, and without them elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from eventsolve.checks import real_array, shown

STEPS = 100
"""Of a slider, from end to end."""


def ipywidgets() -> ModuleType | None:
    """Return the module, or None where it is not installed."""
    try:
        return importlib.import_module("ipywidgets")
    except ImportError:
        return None


def explore(draw: Callable[..., Any], **ranges: tuple[float, float, float]) -> None:
    """Draw with a slider for every argument; without ``ipywidgets``, once with the start values.

    Parameters
    ----------
    draw : callable
        Takes the arguments named and draws into a new figure.
    **ranges : (low, high, start)
        With low <= start <= high.

    Raises
    ------
    TypeError
        If draw cannot be called.
    ValueError
        If a range is not of that kind.
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function that draws; got {shown(draw)}")
    for name, given in ranges.items():
        values = real_array(name, given, "(low, high, start)")
        if values.shape != (3,) or not values[0] <= values[2] <= values[1]:
            raise ValueError(
                f"{name} must be (low, high, start) with low <= start <= high; got {shown(given)}"
            )
    widgets = ipywidgets()
    if widgets is None:
        draw(**{name: start for name, (_, _, start) in ranges.items()})
        return

    def drawn(**values: float) -> None:  # interact would show what draw returns
        draw(**values)

    widgets.interact(
        drawn,
        **{
            name: widgets.FloatSlider(
                value=start, min=low, max=high, step=(high - low) / STEPS, readout_format=".3g"
            )
            for name, (low, high, start) in ranges.items()
        },
    )
