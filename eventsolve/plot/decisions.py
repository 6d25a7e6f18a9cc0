"""What a classifier says of every point of a plane."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import first_entry, index_vector, real_array
from eventsolve.plot.style import MARKERS, SERIES, axes


def decision_boundary(
    x: ArrayLike,
    y: ArrayLike,
    classes: ArrayLike,
    *,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the class of every point of a grid as a light area, and labelled points on it.

    Parameters
    ----------
    x, y : array_like, (n_x,), (n_y,)
        Coordinates of the grid, evenly spaced, increasing.
    classes : array_like of int, (n_y, n_x)
        0, 1, ...; -1 where there is none, which stays white.
    points : array_like, (n, 2), optional
    labels : array_like of int, (n,), optional
        True classes of the points, each with a colour and a marker of its own.

    Raises
    ------
    ValueError
        If shapes do not fit, the grid is not evenly spaced and increasing, a class is below -1, or only one of points
        and labels is given.
    """
    columns, rows = _even("x", x), _even("y", y)
    area = np.asarray(classes)
    if area.shape != (rows.size, columns.size) or area.dtype.kind not in "iu":
        raise ValueError(
            f"classes must be integers of shape (n_y, n_x) = {(rows.size, columns.size)}; "
            f"got shape {area.shape} of {area.dtype}"
        )
    if (area < -1).any():
        raise ValueError(f"classes must be >= -1; {first_entry(area, area < -1)}")
    if (points is None) != (labels is None):
        raise ValueError("points and labels must be given together")
    at, true = np.empty((0, 2)), np.empty(0, np.int64)
    if points is not None and labels is not None:
        at = real_array("points", points)
        true = index_vector("labels", labels, len(SERIES))
        if at.shape != (true.size, 2):
            raise ValueError(f"points must have shape (n, 2) with n = {true.size} labels; got {at.shape}")
    n = 1 + max(int(area.max()), int(true.max(initial=-1)), 0)
    if n > len(SERIES):
        raise ValueError(f"classes must be at most {len(SERIES)}, which colours tell apart; got {n}")
    ax = axes(ax, 4.2, 4.0)
    half = (columns[1] - columns[0]) / 2, (rows[1] - rows[0]) / 2
    ax.imshow(
        np.ma.masked_equal(area, -1),
        origin="lower",
        extent=(columns[0] - half[0], columns[-1] + half[0], rows[0] - half[1], rows[-1] + half[1]),
        cmap=ListedColormap([_light(color) for color in SERIES[:n]]),
        vmin=-0.5,
        vmax=n - 0.5,
        interpolation="nearest",
    )
    for k in np.unique(true).tolist():
        here = true == k
        ax.plot(
            *at[here].T, MARKERS[k], color=SERIES[k], markersize=3.5, markeredgewidth=0, label=f"class {k}"
        )
    ax.set(xlabel="x", ylabel="y")
    ax.set_aspect("equal")
    return ax


def _even(name: str, given: ArrayLike) -> NDArray[np.float64]:
    grid = real_array(name, given)
    gaps = np.diff(grid) if grid.ndim == 1 and grid.size > 1 else np.zeros(1)
    # a linspace is off by up to two ulps of its largest point, a gap by four, and two gaps by eight
    rounding = 8 * np.spacing(np.abs(grid).max(initial=1.0))
    if not (gaps.min() > 0 and np.ptp(gaps) <= rounding):
        raise ValueError(f"{name} must be two or more evenly spaced, increasing numbers; got {grid}")
    return grid


def _light(color: str) -> tuple[float, float, float]:
    red, green, blue = (0.66 + 0.34 * c for c in to_rgb(color))
    return red, green, blue
