"""Errors over a resolution, and by their causes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from eventsolve.checks import first_entry, instance, real_array
from eventsolve.plot.style import EXACT, MARKERS, MODEL, QUIET, SERIES, axes


def convergence(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    ax: Axes | None = None,
    xlabel: str = "time step (ms)",
    ylabel: str = "relative error of dL/dw",
) -> Axes:
    """Draw errors against a step, both logarithmic; lines that coincide are moved apart a little.

    Parameters
    ----------
    lines : mapping of str to (steps, errors)
        By name; steps > 0, in the unit that ``xlabel`` names. Errors that are 0 or not finite are not drawn.

    Raises
    ------
    ValueError
        If steps and errors of a line differ in length, or a step is not > 0.
    """
    instance("lines", lines, Mapping)
    checked = {}
    for name, (steps, errors) in lines.items():
        x, y = real_array(f"steps of {name!r}", steps), real_array(f"errors of {name!r}", errors)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(
                f"steps and errors of {name!r} must have one length; got shapes {x.shape} and {y.shape}"
            )
        bad = ~(np.isfinite(x) & (x > 0))
        if bad.any():
            raise ValueError(f"steps of {name!r} must be finite and > 0; {first_entry(x, bad)}")
        checked[name] = x, y
    ax = axes(ax, 4.5, 3.1)
    for k, (name, (x, y)) in enumerate(checked.items()):
        order = np.lexsort((y, x))
        order = order[np.isfinite(y[order]) & (y[order] > 0)]
        apart = 1 + 0.03 * (k - (len(checked) - 1) / 2) * min(1.0, 5 / len(checked))
        mark = MARKERS[k % len(MARKERS)]
        ax.loglog(
            x[order] * apart, y[order], f"{mark}-", color=SERIES[k % len(SERIES)], label=name, alpha=0.85
        )
    ticks = np.unique(np.concatenate([x for x, _ in checked.values()])) if checked else np.empty(0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.grid(alpha=0.25, which="both", linewidth=0.5)
    return ax


def waterfall(
    contributions: Mapping[str, float], *, total: str = "total", ylabel: str, ax: Axes | None = None
) -> Axes:
    """Draw numbers that add up: each bar begins where the last one ended, and the last bar is their sum.

    Parameters
    ----------
    contributions : mapping of str to float
        By cause, in the order in which they are stacked; negative ones go down.
    total : str
        Name of the last bar.
    ylabel : str
        What is added up, and its unit.

    Raises
    ------
    ValueError
        If there is none, or one is not finite.
    """
    instance("contributions", contributions, Mapping)
    values = real_array("contributions", list(contributions.values()))
    if not values.size:
        raise ValueError("contributions must name at least one cause")
    if not np.isfinite(values).all():
        raise ValueError(f"contributions must be finite; {first_entry(values, ~np.isfinite(values))}")
    ends = np.cumsum(values)
    starts = ends - values
    ax = axes(ax, 1.2 + 0.9 * values.size, 3.2)
    places = np.arange(values.size + 1)
    colors = [MODEL if v > 0 else SERIES[2] for v in values] + [EXACT]
    bars = ax.bar(places, [*values, ends[-1]], bottom=[*starts, 0.0], width=0.62, color=colors)
    ax.hlines(ends, places[:-1] + 0.31, places[1:] - 0.31, color=QUIET, linewidth=0.8)
    ax.bar_label(bars, [f"{v:+.3g}" for v in values] + [f"{ends[-1]:.3g}"], padding=2, fontsize=8)
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.margins(y=0.12)
    ax.set_xticks(places, [*contributions, total], rotation=20, ha="right")
    ax.set_ylabel(ylabel)
    return ax
