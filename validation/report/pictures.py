"""The pictures of a comparison: synapse by synapse, sample by sample, spikes, and the voltage where it goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.compare import Comparison, GradientComparison
from eventsolve.compare.agreement import differing_rows
from eventsolve.compare.comparison import label_of
from eventsolve.compare.matching import SpikeMatch
from eventsolve.io.records import Record
from validation.report import plots
from validation.report.colours import LINES
from validation.report.document import Key, Panel, Picture
from validation.report.runs import READING

if TYPE_CHECKING:
    from validation.report.runs import Excerpt, Run

POINTS = 4000
"""Synapses of a projection that are drawn: those furthest off, and of the others every so many."""
SIDE = 300
"""Rows and columns of a map at most: those with the largest errors."""
SPIKES = 20_000
"""Of a population in a raster at most: the first."""


def of_run(run: Run) -> list[Picture]:
    """Draw one run."""
    comparison = run.comparison
    pictures = [_synapses(comparison)] if comparison.weight else []
    if any(weight.synapses is None for weight in comparison.weight.values()):
        pictures.append(_error_maps(comparison))
    if run.excerpt is not None:
        pictures += [_raster(run, run.excerpt), _voltage(run.excerpt)]
    return pictures


def error_against_time_step(runs: Sequence[Run]) -> Picture | None:
    """Draw the relative error of every projection against the time step; None without several time steps."""
    stepped = [run for run in runs if run.comparison.model.time_step is not None]
    if len({run.comparison.model.time_step for run in stepped}) < 2:
        return None
    names = list(dict.fromkeys(run.series for run in stepped))
    panels = []
    for group, key in dict.fromkeys((run.group, key) for run in stepped for key in run.comparison.weight):
        plot = plots.axes("time step (ms)", "relative error", x_axis_type="log", y_axis_type="log")
        legend = []
        for k, name in enumerate(names):
            shown = [run.comparison for run in stepped if (run.group, run.series) == (group, name)]
            shown = [comparison for comparison in shown if key in comparison.weight]
            steps = [float(comparison.model.time_step or 0) * 1e3 for comparison in shown]
            error = [comparison.weight[key].mean.relative_error for comparison in shown]
            legend.append(plots.curve(plot, k, name, steps, error, ("time step (ms)", "relative error")))
        plots.ticks(plot.xaxis[0], [float(run.comparison.model.time_step or 0) * 1e3 for run in stepped])
        panels.append(plots.panel(plot, f"{group}: {label_of(key)}", legend))
    return Picture(
        "Error against time step",
        "Relative error norm of each layer's gradient, averaged over the batch. Lines are number formats; where "
        "they coincide, the time step makes the error, not the arithmetic.",
        tuple(panels),
        about="concepts/discretization",
    )


def _synapses(comparison: Comparison) -> Picture:
    panels = [_scatter(weight) for weight in comparison.weight.values()]
    return Picture(
        "Synapse by synapse",
        "Each point is one synapse, its gradient averaged over the batch (1 / unit of weight); on the dashed line "
        "both agree. The last panel has the relative error norm of each sample's own gradient; hollow marks are "
        "samples whose spikes differ.",
        (*panels, _samples(comparison)),
        about=READING,
    )


def _scatter(weight: GradientComparison) -> Panel:
    exact, model = weight.mean_exact.reshape(-1), weight.mean_model.reshape(-1)
    post, pre = synapses_of(weight)
    error = np.where(np.isfinite(exact) & np.isfinite(model), np.abs(model - exact), -1.0)
    drawn = _some(error, POINTS)
    drawn = drawn[error[drawn] >= 0]
    reach = 1.05 * float(np.abs([exact[drawn], model[drawn]]).max(initial=0.0)) or 1.0
    plot = plots.axes("exact", "model", x_range=(-reach, reach), y_range=(-reach, reach))
    line = plots.source(x=np.array([-reach, reach]))
    plots.lines(plot, line, "x", "x", colour="quiet", line_dash="dashed", line_width=1)
    columns = plots.source(
        exact=exact[drawn],
        model=model[drawn],
        error=(model - exact)[drawn],
        post=post[drawn],
        pre=pre[drawn],
        names=[_synapse(weight, post[k], pre[k]) for k in drawn],
    )
    hover = {"synapse": "@names", "exact": "@exact{0.0000e+0}", "model": "@model{0.0000e+0}"}
    hover["error"] = "@error{0.0000e+0}"
    plots.marks(plot, columns, "exact", "model", colour="exact", hover=hover, size=5, fill_alpha=0.5)
    few = f", {drawn.size} of {exact.size}" if drawn.size < exact.size else ""
    return plots.panel(plot, f"dL/dw of {weight.label}{few}")


def synapses_of(weight: GradientComparison) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return target and source neuron of every number of a gradient, flat."""
    if weight.synapses is not None:
        return weight.synapses
    post, pre = np.indices(weight.mean_exact.shape).reshape(2, -1)
    return post, pre


def _synapse(weight: GradientComparison, post: int, pre: int) -> str:
    return f"{weight.key[1]} {post} ← {weight.key[0]} {pre}"


def _some(error: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return at most so many places: half of them with the largest errors, the others evenly among the rest."""
    order = np.argsort(-error, kind="stable")
    if order.size <= most:
        return order
    rest = order[most // 2 :]
    even: NDArray[np.int64] = rest[np.linspace(0, rest.size - 1, most - most // 2).astype(np.int64)]
    return np.concatenate([order[: most // 2], even])


def _samples(comparison: Comparison) -> Panel:
    plot = plots.axes("sample", "relative error of dL/dw", y_axis_type="log")
    legend = []
    for k, weight in enumerate(comparison.weight.values()):
        error = np.array([sample.relative_error for sample in weight.per_sample])
        cosine = np.array([sample.cosine for sample in weight.per_sample])
        differing = differing_rows(comparison.differing_samples, error.size)
        colour = LINES[k % len(LINES)]
        for group, hollow in ((~differing, False), (differing, True)):
            shown = np.flatnonzero(group & np.isfinite(error) & (error > 0))
            columns = plots.source(
                sample=shown,
                error=error[shown],
                cosine=cosine[shown],
                of=[weight.label] * shown.size,
                spikes=["differ" if hollow else "match"] * shown.size,
            )
            hover = {"sample": "@sample", "dL/dw of": "@of", "relative error": "@error{0.0000e+0}"}
            hover |= {"cosine": "@cosine{0.0000}", "spikes": "@spikes"}
            plots.marks(
                plot,
                columns,
                "sample",
                "error",
                colour=colour,
                hover=hover,
                hollow=hollow,
                line_width=1.4,
                size=7,
            )
        legend.append(Key(weight.label, colour))
    if np.isfinite(comparison.tolerance) and comparison.tolerance > 0:
        plots.rule(plot, y=comparison.tolerance, dash="dotted")
        legend.append(Key("tolerance", "quiet", "┄"))
    return plots.panel(plot, "each sample's gradient", legend)


def _error_maps(comparison: Comparison) -> Picture:
    weights = [weight for weight in comparison.weight.values() if weight.synapses is None]
    panels = []
    for weight in weights:
        error = weight.mean_model - weight.mean_exact
        plot, few = gradient_map(error)
        panels.append(plots.panel(plot, f"{weight.label}{few}", MAP_LEGEND))
    return Picture(
        "Error of every synapse",
        "Model minus exact dL/dw, averaged over the batch, in 1 / unit of weight. Colours end at the 98th percentile.",
        tuple(panels),
        wide=True,
        about=READING,
    )


MAP_LEGEND = (Key("too large", "model", "■"), Key("too small", "exact", "■"), Key("not a number", "ink", "■"))


def gradient_map(values: NDArray[np.float64]) -> tuple[Any, str]:
    """Draw a number for each synapse, (n_post, n_pre), the shorter side upwards; and say which part it is."""
    n_post, n_pre = values.shape
    size = np.where(np.isfinite(values), np.abs(values), np.inf)
    rows, columns = (np.sort(_some(size.max(axis=k, initial=0.0), SIDE)) for k in (1, 0))
    shown = values[np.ix_(rows, columns)]
    targets, sources = np.meshgrid(rows, columns, indexing="ij")
    up, along = "target neuron", "source neuron"
    if n_post > n_pre:
        shown, targets, sources, up, along = shown.T, targets.T, sources.T, along, up
        rows, columns = columns, rows
    bound = float(np.quantile(np.abs(shown[np.isfinite(shown)]), 0.98)) if np.isfinite(shown).any() else 1.0
    height = int(np.clip(110 + 12 * shown.shape[0], 150, 420))
    ranges = {"x_range": (-0.5, shown.shape[1] - 0.5), "y_range": (-0.5, shown.shape[0] - 0.5)}
    plot = plots.axes(along, up, height=height, **ranges)
    plot.grid.visible = False
    plots.few_ticks(plot.yaxis[0], rows.tolist())
    plots.few_ticks(plot.xaxis[0], columns.tolist())
    if shown.size:
        plots.heat_map(plot, shown, {"target": targets, "source": sources}, bound or 1.0)
    few = shown.size < values.size
    return plot, f", the {shown.size} of {values.size} furthest off" if few else ""


def _raster(run: Run, excerpt: Excerpt) -> Picture:
    comparison = run.comparison
    sample = excerpt.worst.sample
    matches = list(comparison.spikes.values())[::-1]
    spikes = [trains.times[trains.samples == sample] * 1e3 for m in matches for trains in (m.exact, m.model)]
    last = max((float(times.max(initial=0.0)) for times in spikes), default=0.0) or 1.0
    panels: list[Panel] = []
    for match in matches:
        n = match.exact.n_neurons
        ranges = {"x_range": (-0.02 * last, 1.02 * last), "y_range": (-0.8, max(n, 1) - 0.2)}
        plot = plots.axes("time (ms)", "neuron", height=int(np.clip(90 + 3 * n, 130, 420)), **ranges)
        plots.few_ticks(plot.yaxis[0], range(n))
        _spikes(plot, "exact", comparison.exact, match, sample)
        _spikes(plot, "model", comparison.model, match, sample)
        panels.append(plots.panel(plot, match.population, () if panels else RASTER_LEGEND))
    return Picture(
        f"Spikes of sample {sample}",
        f"The sample whose gradient is furthest off{_among(comparison)}: spikes of every neuron, exact and model.",
        tuple(panels),
        wide=True,
        about=READING,
    )


def _partners(match: SpikeMatch, of: str) -> NDArray[np.int64]:
    """Return the place of every spike's partner among those of the other, -1 where it has none."""
    trains, mine, theirs = match.exact, match.exact_index, match.model_index
    if of == "model":
        trains, mine, theirs = match.model, theirs, mine
    partners = np.full(trains.n_spikes, -1)
    partners[mine] = theirs
    return partners


def _spikes(plot: Any, name: str, record: Record, match: SpikeMatch, sample: int) -> None:
    """Draw a sample's spikes as ticks, those of the model below the exact ones, and marks around those alone."""
    exact, population, partners = name == "exact", match.population, _partners(match, name)
    trains, other = (match.exact, match.model) if exact else (match.model, match.exact)
    places = np.flatnonzero(trains.samples == sample)[:SPIKES]
    paired = partners[places] >= 0
    later = np.full(places.size, np.nan)
    later[paired] = other.times[partners[places[paired]]] - trains.times[places[paired]]
    known = record.spike_times.get(population)
    alone = "missed" if exact else "extra"
    columns = plots.source(
        time=trains.times[places] * 1e3,
        height=trains.neurons[places] + (0.17 if exact else -0.17),
        neuron=[f"{population} {neuron}" for neuron in trains.neurons[places]],
        kind=np.where(paired, "matched", alone),
        later=1e3 * (later if exact else -later),
        gradient=np.full(places.size, np.nan) if known is None else known[places],
    )
    hover = {name: "@neuron", "time (ms)": "@time{0.0000}", "spike": "@kind"}
    hover |= {"model later by (ms)": "@later{0.0000}", "dL/dt (1/s)": "@gradient{0.000e+0}"}
    size = float(np.clip(260 / max(trains.n_neurons, 1), 5, 16))
    tick = {"marker": "dash", "angle": np.pi / 2, "line_width": 1.8, "size": size}
    plots.marks(plot, columns, "time", "height", colour=name, hover=hover, **tick)
    single = places[~paired]
    columns = plots.source(time=trains.times[single] * 1e3, height=trains.neurons[single])
    ring = {"marker": "circle" if exact else "square", "size": 10, "line_width": 1.2, "hollow": True}
    plots.marks(plot, columns, "time", "height", colour="ink", hover={}, **ring)


RASTER_LEGEND = (
    Key("exact", "exact", "|"),
    Key("model", "model", "|"),
    Key("missed", "ink", "○"),
    Key("extra", "ink", "□"),
)


def _voltage(excerpt: Excerpt) -> Picture:
    worst = excerpt.worst
    span = (float(excerpt.exact_times[0]) * 1e3, float(excerpt.exact_times[-1]) * 1e3)
    plot = plots.axes("time (ms)", "voltage (unit of weight)", x_range=span)
    exact = plots.source(time=excerpt.exact_times * 1e3, voltage=excerpt.exact_voltage)
    drawn = plots.lines(plot, exact, "time", "voltage", colour="exact")
    plots.tell(plot, [drawn], {"exact": "@voltage{0.0000}", "time (ms)": "@time{0.000}"})
    model = plots.source(time=excerpt.model_times * 1e3, voltage=excerpt.model_voltage)
    plots.lines(plot, model, "time", "voltage", colour="model", line_width=1)
    hover = {"model": "@voltage{0.0000}", "time (ms)": "@time{0.000}"}
    plots.marks(plot, model, "time", "voltage", colour="model", hover=hover, size=5)
    plots.rule(plot, y=excerpt.threshold)
    plots.rule(plot, x=worst.time * 1e3, dash="dotted")
    top = max(excerpt.threshold, float(np.max(excerpt.model_voltage, initial=excerpt.threshold)))
    height = top - min(float(np.min(excerpt.exact_voltage, initial=0)), 0.0)
    for k, (name, times) in enumerate((("exact", excerpt.exact_spikes), ("model", excerpt.model_spikes))):
        columns = plots.source(time=times * 1e3, height=np.full(times.size, top + height * (0.14 - 0.07 * k)))
        plots.marks(
            plot,
            columns,
            "time",
            "height",
            colour=name,
            hover={f"{name} spike (ms)": "@time{0.0000}"},
            marker="dash",
            angle=np.pi / 2,
            size=12,
            line_width=2,
        )
    legend = (
        Key("exact", "exact", "—"),
        Key("model", "model", "●"),
        Key("threshold", "quiet", "╌"),
        Key(f"{worst.kind} spike", "quiet", "┆"),
        Key("the neuron's spikes", "ink", "|"),
    )
    return Picture(
        f"Where it goes wrong: neuron {worst.neuron} of {worst.population}, sample {worst.sample}",
        f"Membrane voltage around the {worst.kind} spike at {worst.time * 1e3:.4g} ms. The model's points are the "
        "voltages that it holds at its time steps, before a reset.",
        (plots.panel(plot, "", legend),),
        wide=True,
        about=READING,
    )


def _among(comparison: Comparison) -> str:
    return " among those whose spikes differ" if comparison.differing_samples.any() else ""
