"""The pictures of an attribution and of a convergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from eventsolve.compare.comparison import label_of
from eventsolve.typing import Key
from validation.attribution.causes import Attribution
from validation.attribution.convergence import Errors
from validation.attribution.report import spoken, unit_of
from validation.report import document, plots
from validation.report.document import Picture
from validation.report.pictures import MAP_LEGEND, gradient_map

NEXT_TO_NOTHING = 1e-3
"""Of the largest bar of a waterfall."""
FORMATS = 6
"""Formats in one picture, at most: more coincide, and cannot be told apart."""


def waterfall(found: Attribution, quantity: str) -> Picture:
    """Draw how a quantity's error builds up along the sequence; causes that change next to nothing share a bar."""
    every = found.waterfall(quantity)
    least = NEXT_TO_NOTHING * max(map(abs, every.values()))
    parts = {name: value for name, value in every.items() if abs(value) > least}
    parts["the rest"] = math.fsum(value for value in every.values() if abs(value) <= least)
    steps = np.array(list(parts.values()))
    ends = np.cumsum(steps)
    names = [*parts, "all"]
    plot = plots.axes("", f"error ({unit_of(quantity)})", height=340, x_range=names)
    plots.bars(
        plot,
        names,
        [*np.minimum(ends, ends - steps), min(0.0, ends[-1])],
        [*np.maximum(ends, ends - steps), max(0.0, ends[-1])],
        [*steps, ends[-1]],
        [*("model" if value > 0 else "green" for value in steps), "exact"],
    )
    return Picture(
        f"Error of {spoken(quantity)}, in sequence",
        "Each bar is what turning on one more approximation changes; the last is all of them.",
        (plots.panel(plot, "", (*SIGNS, document.Key("all", "exact", "■"))),),
        wide=True,
        about="howto/explain_an_error",
    )


SIGNS = (document.Key("larger", "model", "■"), document.Key("smaller", "green", "■"))


def blame(found: Attribution, quantity: str) -> Picture | None:
    """Draw Shapley values with twice their standard errors; None before there are any."""
    values = {name: entry for name, entry in found.blame(quantity).items() if any(entry)}
    if not values:
        return None
    names = sorted(values, key=lambda name: -values[name][0])
    worth, errors = (np.array([values[name][k] for name in names]) for k in (0, 1))
    reach = 2 * np.where(np.isfinite(errors), errors, 0.0)
    low, high = min(0.0, float((worth - reach).min())), max(0.0, float((worth + reach).max()))
    room = 0.05 * (high - low)
    plot = plots.axes(
        "",
        f"Shapley value ({unit_of(quantity)})",
        height=340,
        x_range=names,
        y_range=(low - room, high + room),
    )
    colours = ["model" if value > 0 else "green" for value in worth]
    plots.bars(plot, names, np.minimum(worth, 0.0), np.maximum(worth, 0.0), worth, colours)
    plots.whiskers(plot, names, worth - reach, worth + reach)
    return Picture(
        f"Error of {spoken(quantity)}, averaged over orders",
        "Shapley values; lines are two standard errors of sampling orders either way.",
        (plots.panel(plot, "", SIGNS),),
        wide=True,
        about="howto/explain_an_error",
    )


def synapses(found: Attribution, keys: Sequence[Key]) -> Picture | None:
    """Draw what the three causes with most weight do, synapse by synapse of dense projections; None without such.

    Colours end at the 98th percentile: behind a grazing spike a few synapses have gradients many times too large.
    """
    if found.shapley is None:
        return None
    panels = []
    for key in keys:
        parts = {name: part for name, part in found.synapses(key).items() if part.ndim == 2}
        blamed = found.blame(f"direction of dL/dw of {label_of(key)}")
        for name in sorted(parts, key=lambda name: -blamed[name][0])[:3]:
            plot, few = gradient_map(parts[name])
            panels.append(plots.panel(plot, f"{label_of(key)}: {name}{few}", MAP_LEGEND[:2]))
    if not panels:
        return None
    return Picture(
        "Synapse by synapse",
        "What the three causes with most weight add to the batch-mean dL/dw, Shapley values; colours end at the 98th "
        "percentile.",
        tuple(panels),
        wide=True,
        about="howto/explain_an_error",
    )


def steps(found: Sequence[Errors]) -> Picture | None:
    """Draw errors of the batch mean, and of samples that keep their spikes, against the time step; None with one."""
    if len({e.grain.time_step for e in found}) < 2:
        return None
    formats = sorted({e.grain.bits for e in found}, key=lambda b: (b is None, b or 0))
    drawn = [formats[k] for k in np.unique(np.linspace(0, len(formats) - 1, FORMATS).round().astype(int))]
    of: dict[str, Callable[[Errors], float]] = {
        "batch mean": lambda e: e.mean,
        "samples that keep their spikes, median": _of_kept,
    }
    panels = []
    for title, value in of.items():
        plot = plots.axes(
            "time step (ms)", "relative error", height=340, x_axis_type="log", y_axis_type="log"
        )
        legend = []
        for k, b in enumerate(drawn):
            points = [(e.grain.time_step * 1e3, value(e)) for e in found if e.grain.bits == b]
            name = "float64" if b is None else f"{b} bits"
            x, y = zip(*points, strict=True)
            legend.append(plots.curve(plot, k, name, x, y, ("time step (ms)", "relative error")))
        plots.ticks(plot.xaxis[0], [e.grain.time_step * 1e3 for e in found])
        panels.append(plots.panel(plot, title, legend))
    return Picture(
        "Error against the time step",
        "Relative error of dL/dw, all projections together. A sample whose spikes change has the gradient of another "
        "smooth piece, and the batch mean with it.",
        tuple(panels),
        about="concepts/discretization",
    )


def _of_kept(errors: Errors) -> float:
    kept = errors.gradient[errors.same & np.isfinite(errors.gradient)]
    return float(np.median(kept)) if kept.size else math.nan


def bits(found: Sequence[Errors]) -> Picture | None:
    """Draw what bits do against their number, a line per time step; None with a single format."""
    fixed = [e for e in found if e.grain.bits is not None]
    if len({e.grain.bits for e in fixed}) < 2:
        return None
    plot = plots.axes("fraction bits", "relative error of dL/dw", height=340, y_axis_type="log")
    legend = []
    for k, step in enumerate(sorted({e.grain.time_step for e in fixed}, reverse=True)):
        points = [(e.grain.bits or 0, e.beside) for e in fixed if e.grain.time_step == step]
        x, y = zip(*points, strict=True)
        legend.append(plots.curve(plot, k, f"{step * 1e3:g} ms", x, y, ("fraction bits", "relative error")))
    return Picture(
        "What bits do",
        "Distance of the batch-mean dL/dw from that of float64 at the same time step, relative to the exact one.",
        (plots.panel(plot, "", legend),),
        wide=True,
        about="concepts/number_formats",
    )
