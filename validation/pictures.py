"""The pictures of a report, drawn off screen and given as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eventsolve import plot
from eventsolve.compare import Comparison, label_of
from eventsolve.compare.agreement import differing_rows
from eventsolve.plot.style import EXACT, FEW, MARKERS, MODEL, QUIET, SERIES, STYLE, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from eventsolve.network import Key
    from validation.report import Excerpt, Run


@dataclass(frozen=True)
class Picture:
    """An image and its words.

    Attributes
    ----------
    uri : str
        A ``data:`` URI.
    width : int
        On the page, in CSS pixels.
    title, caption : str
    """

    uri: str
    width: int
    title: str
    caption: str


def of_run(run: Run) -> list[Picture]:
    """Draw one run: synapse by synapse, error maps, raster, voltage."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        pictures = [_synapses(run.comparison)] if run.comparison.weight else []
        if any(weight.synapses is None for weight in run.comparison.weight.values()):
            pictures.append(_error_maps(run.comparison))
        if run.excerpt is not None:
            pictures += [_raster(run, run.excerpt), _voltage(run.excerpt)]
    return pictures


def error_against_time_step(runs: Sequence[Run]) -> Picture | None:
    """Draw the relative error of every projection against the time step; None without time-stepped runs."""
    stepped = [run for run in runs if run.comparison.model.time_step is not None]
    panels = list(dict.fromkeys((run.group, key) for run in stepped for key in run.comparison.weight))
    if not panels:
        return None
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return _lines(stepped, panels)


def _lines(stepped: list[Run], panels: list[tuple[str, Key]]) -> Picture:
    names = list(dict.fromkeys(run.series for run in stepped))
    steps = sorted({float(run.comparison.model.time_step or 0) * 1e3 for run in stepped})
    figure, axes = canvas(11.0, 3.1, 1, len(panels), sharey=True)
    for axis, (group, key) in zip(axes.flat, panels, strict=True):
        lines = {}
        for name in names:
            shown = [
                run.comparison
                for run in stepped
                if (run.group, run.series) == (group, name) and key in run.comparison.weight
            ]
            lines[named(name)] = (
                [float(c.model.time_step or 0) * 1e3 for c in shown],
                [c.weight[key].mean.relative_error for c in shown],
            )
        plot.convergence(lines, ax=axis, ylabel="")
        axis.set_title(f"{named(group)}\n{named(label_of(key))}")
        axis.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.flat[0].set_ylabel("relative error of dL/dw")
    axes.flat[0].legend(frameon=False)
    return finished(
        figure,
        "Error against time step",
        "Relative error norm of each layer's gradient, averaged over the batch, against the model's time "
        "step. Lines are number formats; where they coincide, the time step makes the error, not the "
        "arithmetic.",
    )


def _synapses(comparison: Comparison) -> Picture:
    weights = list(comparison.weight.values())
    figure, axes = canvas(11.0, 3.6, 1, len(weights) + 1)
    for axis, weight in zip(axes.flat, weights, strict=False):
        plot.gradient_scatter(weight.mean_exact, weight.mean_model, ax=axis)
        axis.set_title(named(weight.label))
    axis = axes.flat[-1]
    for k, weight in enumerate(weights):
        error = np.array([sample.relative_error for sample in weight.per_sample])
        samples = np.arange(error.size)
        differing = differing_rows(comparison.differing_samples, error.size)
        for group, face in ((~differing, SERIES[k % 6]), (differing, "none")):
            shown = group & np.isfinite(error) & (error > 0)
            axis.semilogy(
                samples[shown],
                error[shown],
                MARKERS[k % 6],
                color=SERIES[k % 6],
                markerfacecolor=face,
                markersize=5,
            )
        axis.plot([], [], MARKERS[k % 6], color=SERIES[k % 6], label=named(weight.label))
    axis.plot([], [], "o", color=QUIET, markerfacecolor="none", label="hollow: spikes differ")
    axis.axhline(comparison.tolerance, color=QUIET, linestyle=":", linewidth=1, label="tolerance")
    axis.set(title="each sample's gradient", xlabel="sample", ylabel="relative error of dL/dw")
    axis.legend(frameon=False, fontsize=8)
    return finished(
        figure,
        "Synapse by synapse",
        "Left: each point is one synapse, its gradient averaged over the batch; on the dashed line both "
        "agree; circles are the three synapses furthest off (post ← pre). Right: relative error norm of each "
        "sample's own gradient.",
    )


def _error_maps(comparison: Comparison) -> Picture:
    weights = [weight for weight in comparison.weight.values() if weight.synapses is None]
    figure, axes = canvas(11.0, 1.5 * len(weights) + 0.3, len(weights), 1)
    for axis, weight in zip(axes.flat, weights, strict=True):
        pre, post, *_ = weight.key
        error = weight.mean_model - weight.mean_exact
        plot.gradient_map(error, ax=axis, pre=pre, post=post, label="model - exact")
        axis.set_title(named(weight.label))
    return finished(
        figure,
        "Error of every synapse",
        "Model minus exact dL/dw, averaged over the batch, in 1 / unit of weight; white is no error, black "
        "is not a number.",
    )


def _raster(run: Run, excerpt: Excerpt) -> Picture:
    comparison = run.comparison
    sample = excerpt.culprit.sample
    matches = list(comparison.spikes.values())
    heights = [float(np.clip(match.exact.n_neurons, 5, 40) ** 0.6) for match in matches]
    figure, axes = canvas(11.0, 4.8, len(matches), 1, sharex=True, height_ratios=heights[::-1])
    for axis, match in zip(axes.flat, matches[::-1], strict=True):
        for trains, colour, name, dy in (
            (match.exact, EXACT, "exact", 0.22),
            (match.model, MODEL, "model", -0.22),
        ):
            few = trains.n_neurons <= FEW
            plot.raster(trains, sample=sample, ax=axis, color=colour, label=name, offset=dy if few else 0.0)
        for trains, index, mark, name in (
            (match.exact, match.missed, "o", "missed"),
            (match.model, match.extra, "s", "extra"),
        ):
            places = index[trains.samples[index] == sample]
            axis.plot(
                trains.times[places] * 1e3,
                trains.neurons[places],
                mark,
                markersize=8,
                markerfacecolor="none",
                color="#000000",
                markeredgewidth=0.9,
                label=name,
            )
        axis.set_ylabel(named(match.population))
        axis.label_outer()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, frameon=False)
    return finished(
        figure,
        f"Spikes of sample {sample}",
        f"The sample whose gradient is furthest off{_among(comparison)}: spikes of every neuron, exact and "
        "model; circles are missed spikes, squares extra ones.",
    )


def _voltage(excerpt: Excerpt) -> Picture:
    culprit = excerpt.culprit
    figure, axes = canvas(11.0, 3.0, 1, 1)
    axis = axes.flat[0]
    axis.plot(excerpt.exact_times * 1e3, excerpt.exact_voltage, color=EXACT, linewidth=1.4, label="exact")
    axis.plot(
        excerpt.model_times * 1e3,
        excerpt.model_voltage,
        "o-",
        color=MODEL,
        markersize=3,
        linewidth=0.8,
        label="model",
    )
    axis.axhline(excerpt.threshold, color=QUIET, linestyle="--", linewidth=1, label="threshold")
    axis.axvline(
        culprit.time * 1e3, color="#000000", linestyle=":", linewidth=1, label=f"{culprit.kind} spike"
    )
    top = max(excerpt.threshold, float(np.max(excerpt.model_voltage, initial=excerpt.threshold)))
    span = top - min(float(np.min(excerpt.exact_voltage, initial=0)), 0.0)
    for k, (times, colour) in enumerate(((excerpt.exact_spikes, EXACT), (excerpt.model_spikes, MODEL))):
        height = top + span * (0.14 - 0.07 * k)
        axis.plot(
            times * 1e3, np.full(times.size, height), "|", color=colour, markersize=9, markeredgewidth=1.6
        )
    axis.set(xlabel="time (ms)", ylabel="voltage (unit of weight)", xlim=excerpt.exact_times[[0, -1]] * 1e3)
    figure.legend(loc="outside upper right", ncols=4, frameon=False)
    return finished(
        figure,
        f"Where it goes wrong: neuron {culprit.neuron} of {culprit.population}, sample {culprit.sample}",
        f"Membrane voltage around the {culprit.kind} spike at {culprit.time * 1e3:.4g} ms; ticks above are "
        "the neuron's spikes. The model's points are the voltages that it holds at its time steps, before a "
        "reset.",
    )


def _among(comparison: Comparison) -> str:
    return " among those whose spikes differ" if comparison.differing_samples.any() else ""


def canvas(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    """Return a figure off screen, inches wide and high, and its axes, (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def finished(figure: Figure, title: str, caption: str) -> Picture:
    """Return a figure as it goes into a page."""
    from PIL import Image

    with io.BytesIO() as raw, io.BytesIO() as small:
        figure.savefig(raw, format="png", dpi=150)
        image = Image.open(raw).convert("RGB").quantize(96, dither=Image.Dither.NONE)
        image.save(small, format="png", optimize=True)
        data = base64.b64encode(small.getvalue()).decode("ascii")
    return Picture(f"data:image/png;base64,{data}", round(figure.get_figwidth() * 100), title, caption)
