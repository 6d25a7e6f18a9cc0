"""The pictures of an attribution and of a convergence, off screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from eventsolve import plot
from eventsolve.plot.style import MODEL, QUIET, SERIES, STYLE, named
from validation.attribution.causes import Attribution
from validation.attribution.convergence import Errors
from validation.compare import label_of
from validation.pictures import Picture, canvas, finished

NEXT_TO_NOTHING = 1e-3
"""Of the largest bar of a waterfall."""
LINES = 6
"""Formats in one picture, at most: more coincide, and cannot be told apart."""


def waterfall(found: Attribution, quantity: str) -> Picture:
    """Draw how a quantity's error builds up along the sequence; switches that change next to nothing share a bar."""
    import matplotlib as mpl

    every = found.waterfall(quantity)
    least = NEXT_TO_NOTHING * max(map(abs, every.values()))
    parts = {name: value for name, value in every.items() if abs(value) > least}
    parts["the rest"] = math.fsum(value for value in every.values() if abs(value) <= least)
    unit = {"spike": " (s)", "direction": ", 1 - cosine"}.get(quantity.split()[0], "")
    with mpl.rc_context(STYLE):
        figure, ((axis,),) = canvas(11.0, 3.4, 1, 1)
        plot.waterfall(parts, total="chip", ylabel=f"error{unit}", ax=axis)
    return finished(
        figure,
        f"Error of {spoken(quantity)}, in sequence",
        "Each bar is what turning on one more approximation changes; the last is the chip.",
    )


def spoken(quantity: str) -> str:
    """Return the name of a quantity as it stands in a sentence."""
    return f"the {quantity}" if quantity.startswith("direction") else quantity


def blame(found: Attribution, quantity: str) -> Picture | None:
    """Draw Shapley values with twice their standard errors; None before there are any."""
    import matplotlib as mpl

    values = {name: entry for name, entry in found.blame(quantity).items() if any(entry)}
    if not values:
        return None
    unit = {"spike": " (s)", "direction": ", 1 - cosine"}.get(quantity.split()[0], "")
    with mpl.rc_context(STYLE):
        figure, ((axis,),) = canvas(11.0, 1.0 + 0.22 * len(values), 1, 1)
        names = sorted(values, key=lambda name: values[name][0])
        worth, errors = (np.array([values[name][k] for name in names]) for k in (0, 1))
        axis.barh(
            np.arange(len(names)),
            worth,
            xerr=2 * np.where(np.isfinite(errors), errors, 0.0),
            color=[MODEL if v > 0 else SERIES[2] for v in worth],
            error_kw={"elinewidth": 0.9, "ecolor": QUIET},
        )
        axis.set_yticks(np.arange(len(names)), names)
        axis.axvline(0, color=QUIET, linewidth=0.6)
        axis.set_xlabel("Shapley value" + unit)
    return finished(
        figure,
        f"Error of {spoken(quantity)}, averaged over orders",
        "Shapley values; lines are two standard errors of sampling orders either way.",
    )


def synapses(found: Attribution) -> Picture | None:
    """Draw what the three switches with most weight do, synapse by synapse; None before there are Shapley values.

    Colours end at the 98th percentile: behind a grazing spike a few synapses have gradients many times too large.
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    if found.shapley is None:
        return None
    keys = found.study.projections
    with mpl.rc_context(STYLE):
        figure, axes = canvas(11.0, 2.6 * len(keys), len(keys), 3)
        for row, key in zip(axes, keys, strict=True):
            parts = found.synapses(key)
            blamed = found.blame(f"direction of dL/dw of {label_of(key)}")
            largest = sorted(parts, key=lambda name: -blamed[name][0])[:3]
            for axis, name in zip(row, largest, strict=True):
                bound = float(np.quantile(np.abs(parts[name]), 0.98)) or 1.0
                shown = axis.imshow(
                    parts[name],
                    cmap="RdBu_r",
                    vmin=-bound,
                    vmax=bound,
                    aspect="auto",
                    interpolation="nearest",
                )
                figure.colorbar(shown, ax=axis, extend="both")
                for side in (axis.xaxis, axis.yaxis):
                    side.set_major_locator(MaxNLocator(integer=True))
                axis.set(
                    title=f"{named(label_of(key))}: {named(name)}",
                    xlabel="source neuron",
                    ylabel="target neuron",
                )
    return finished(
        figure,
        "Synapse by synapse",
        "What the three switches with most weight add to the batch-mean dL/dw, Shapley values; colours end at the 98th "
        "percentile.",
    )


def steps(found: Sequence[Errors]) -> Picture | None:
    """Draw errors of the batch mean, and of samples that keep their spikes, against the time step; None with one."""
    import matplotlib as mpl

    if len({e.grain.time_step for e in found}) < 2:
        return None
    formats = sorted({e.grain.bits for e in found}, key=lambda b: (b is None, b or 0))
    drawn = [formats[k] for k in np.unique(np.linspace(0, len(formats) - 1, LINES).round().astype(int))]
    with mpl.rc_context(STYLE):
        figure, ((left, right),) = canvas(11.0, 3.4, 1, 2)
        for axis, of in ((left, _of_mean), (right, _of_kept)):
            lines = {}
            for b in drawn:
                points = [(e.grain.time_step * 1e3, of(e)) for e in found if e.grain.bits == b]
                lines["float64" if b is None else f"{b} bits"] = tuple(zip(*points, strict=True))
            plot.convergence(lines, ax=axis)  # type: ignore[arg-type]
        left.set_title("batch mean")
        right.set_title("samples that keep their spikes, median")
        left.legend(frameon=False)
    return finished(
        figure,
        "Error against the time step",
        "Relative error of dL/dw, all projections together. A sample whose spikes change has the gradient of another "
        "smooth piece, and the batch mean with it.",
    )


def _of_mean(errors: Errors) -> float:
    return errors.mean


def _of_kept(errors: Errors) -> float:
    kept = errors.gradient[errors.same & np.isfinite(errors.gradient)]
    return float(np.median(kept)) if kept.size else math.nan


def bits(found: Sequence[Errors]) -> Picture | None:
    """Draw what bits do against their number, a line per time step; None with a single format."""
    return _lines(
        {
            f"{step * 1e3:g} ms": [
                (float(e.grain.bits), e.beside)
                for e in found
                if e.grain.time_step == step and e.grain.bits is not None
            ]
            for step in sorted({e.grain.time_step for e in found}, reverse=True)
        },
        "fraction bits",
        "What bits do",
        "Distance of the batch-mean dL/dw from that of float64 at the same time step, relative to the exact one.",
    )


def _lines(
    points: dict[str, list[tuple[float, float]]], xlabel: str, title: str, caption: str
) -> Picture | None:
    import matplotlib as mpl

    if max((len({x for x, _ in line}) for line in points.values()), default=0) < 2:
        return None
    with mpl.rc_context(STYLE):
        figure, ((axis,),) = canvas(11.0, 3.4, 1, 1)
        plot.convergence(
            {name: tuple(zip(*line, strict=True)) for name, line in points.items() if line},  # type: ignore[misc]
            ax=axis,
            xlabel=xlabel,
        )
        axis.legend(frameon=False, ncols=3)
    return finished(figure, title, caption)
