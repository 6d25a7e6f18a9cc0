"""Colours, and the Axes to draw into."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from eventsolve.checks import printable

EXACT, MODEL, QUIET = "#0072B2", "#D55E00", "#767676"
"""Okabe & Ito's blue and vermilion, and a grey for what is not data."""
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vP"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "figure.constrained_layout.use": True,
}
"""For ``matplotlib.rc_context``."""

FEW = 12
"""Up to so many rows or columns are ticked one by one."""


def axes(ax: Axes | None, width: float = 7.0, height: float = 2.6) -> Axes:
    """Return the Axes given, or those of a new figure, inches wide and high.

    Raises
    ------
    TypeError
        If what is given are no Axes.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        # outside of the context, which would undo what a backend sets when the first figure is made
        figure = plt.figure(figsize=(width, height), layout="constrained")
        with mpl.rc_context(STYLE):
            return figure.add_subplot()
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib Axes or None; got {type(ax).__name__}")
    return ax


def named(name: str) -> str:
    """Return a name as matplotlib draws it: printable, not for mathematics, and short enough to leave room."""
    return printable(name, 60).replace("$", r"\$")
