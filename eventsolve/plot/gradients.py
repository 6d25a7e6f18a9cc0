"""One gradient beside another, and synapse by synapse."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from eventsolve.checks import real_array
from eventsolve.plot.style import EXACT, FEW, MODEL, QUIET, axes, named

UNIT = "dL/dw  (1 / unit of weight)"
FURTHEST = 3
"""How many of the points that are furthest off are circled and named."""


def gradient_scatter(
    exact: ArrayLike,
    model: ArrayLike,
    *,
    ax: Axes | None = None,
    unit: str = UNIT,
) -> Axes:
    """Draw one gradient against another, the same ones on the dashed line; circles are those furthest off.

    Parameters
    ----------
    exact, model : array_like, (n_post, n_pre) or (n,)
        What is not finite is not drawn. The circled ones are named ``post ← pre``, or by their place.
    unit : str
        What the numbers are, for the axes.

    Raises
    ------
    ValueError
        If the shapes differ, or have more than two dimensions.
    """
    x, y = real_array("exact", exact), real_array("model", model)
    if x.shape != y.shape or x.ndim not in (1, 2):
        raise ValueError(
            f"exact and model must have one shape, (n_post, n_pre) or (n,); got {x.shape} and {y.shape}"
        )
    error = np.where(np.isfinite(x) & np.isfinite(y), np.abs(y - x), np.inf)
    furthest = np.argsort(-error, axis=None, kind="stable")[:FURTHEST]
    places = [tuple(int(i) for i in np.unravel_index(k, x.shape)) for k in furthest]
    places = [p for p in places if np.isfinite(y[p]) and y[p] != x[p]]
    finite = np.isfinite(x) & np.isfinite(y)
    reach = 1.05 * float(max(np.abs(x[finite]).max(initial=0), np.abs(y[finite]).max(initial=0))) or 1.0
    ax = axes(ax, 3.6, 3.6)
    ax.plot([-reach, reach], [-reach, reach], "--", color=QUIET, linewidth=1, zorder=1)
    ax.axhline(0, color=QUIET, linewidth=0.4)
    ax.axvline(0, color=QUIET, linewidth=0.4)
    ax.scatter(x[finite], y[finite], s=9, color=EXACT, alpha=0.55, linewidths=0, zorder=2)
    for p in places:
        ax.plot(x[p], y[p], "o", color=MODEL, markersize=6, markerfacecolor="none", zorder=3)
    if places:
        names = "\n".join(" ← ".join(str(i) for i in p) for p in places)
        words = f"furthest off\n{names}"
        ax.text(0.98, 0.02, words, transform=ax.transAxes, ha="right", va="bottom", fontsize=8, color=MODEL)
    ax.set(xlabel=f"exact {unit}", ylabel=f"model {unit}", xlim=(-reach, reach), ylim=(-reach, reach))
    ax.set_aspect("equal", adjustable="box")
    return ax


def gradient_map(
    values: ArrayLike,
    *,
    ax: Axes | None = None,
    pre: str = "source",
    post: str = "target",
    label: str = UNIT,
) -> Axes:
    """Draw one number for every synapse: white is 0, black is not a number.

    Parameters
    ----------
    values : array_like, (n_post, n_pre)
        The longer axis lies down.
    pre, post : str
        Names of the two populations.
    label : str
        Of the colour bar.

    Raises
    ------
    ValueError
        If the array has another shape, or no entries.
    """
    array = real_array("values", values)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"values must have shape (n_post, n_pre) and entries; got {array.shape}")
    wide = array.shape[1] >= array.shape[0]
    shown = np.ma.masked_invalid(array if wide else array.T)
    reach = (float(np.ma.abs(shown).max()) if shown.count() else 0.0) or 1.0
    ax = axes(ax, height=2.0)
    shades = mpl.colormaps["PuOr_r"].with_extremes(bad="#000000")
    image = ax.imshow(shown, aspect="auto", cmap=shades, vmin=-reach, vmax=reach, interpolation="nearest")
    names = f"{named(pre)} neuron", f"{named(post)} neuron"
    ax.set(xlabel=names[0 if wide else 1], ylabel=names[1 if wide else 0])
    ax.set_yticks(range(shown.shape[0]) if shown.shape[0] <= FEW else ax.get_yticks()[1:-1])
    if shown.shape[1] <= FEW:
        ax.set_xticks(range(shown.shape[1]))
    bar = ax.figure.colorbar(image, ax=ax, pad=0.01)
    bar.set_label(label)
    bar.ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    return ax
