"""A comparison as a terminal table, as a JSON file and as one self-contained HTML page.

The JSON file has these keys; lengths of time are seconds, gradients are in 1 / (unit of the weights), and
null stands for a number that is not finite:

``format``, ``version``
    "eventsolve-validation-report" and 1.
``complete``
    False if the campaign was interrupted: ``runs`` then holds those that were finished.
``provenance``
    Versions, platform, time, command and settings.
``runs[]``
    ``title``, ``settings``, ``seconds``, ``summary``, ``findings`` (by stage, where it parts and what that looks like),
    ``counters``, ``tolerance``; ``samples`` and
    ``differing_samples``, the numbers of those in which a spike that a gradient depends on is missed or extra.
``runs[].spikes[]``
    Per population: ``exact``, ``model``, ``matched``, ``missed``, ``extra`` (counts), ``window``,
    ``mean_shift``, ``max_shift``, the latter two also in ``..._steps``.
``runs[].loss``, ``runs[].spike_times[]``, ``runs[].weights[]``
    Agreements: ``count``, ``relative_error``, ``cosine``, ``sign_agreement``, ``both_nonzero``,
    ``largest_error``. A list entry has them for ``everything`` and for samples whose spikes are
    ``matching`` or ``differing``; weights also for the batch ``mean`` and ``per_sample``, with the
    ``worst`` synapses and every synapse's ``exact`` and ``model`` gradient, batch mean, (n_post, n_pre); of a sparse
    projection one number for each of ``synapses``, which are null of a dense one.
``runs[].order``
    ``summary``; ``radius`` of each sample: how many times the model's resolution its numbers may be off before the
    order of events changes, to first order; ``limits``, what changes first; the numbers of the samples
    ``within``, with ``other_spikes``, and with other spikes that stay ``unexplained``. null where it was not asked.
``runs[].not_given``
    What only one of the two has, and which of them does not give it.
``runs[].stages[]``
    ``where``, ``error``, ``error_where_spikes_match`` (null if every sample differs), ``tolerance``,
    ``agrees``, in the order of the computation; ``first_difference`` and ``first_backward_difference`` of a
    run name the first that does not agree, over all samples and over those whose spikes match.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import printable
from eventsolve.compare import Agreement, Comparison, Culprit, GradientComparison, Split, Stage
from eventsolve.files import write_texts
from validation.order import SpikeOrder
from validation.pages import page

if TYPE_CHECKING:
    from rich.table import Table

Setting: TypeAlias = str | int | float


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The voltage of one neuron around one spike, exact and of the model.

    Attributes
    ----------
    culprit : Culprit
        The spike, sample and neuron shown.
    threshold : float
        In the unit of the voltages.
    exact_times, model_times : ndarray of float64, (n_times,)
        Seconds.
    exact_voltage, model_voltage : ndarray of float64, (n_times,)
    exact_spikes, model_spikes : ndarray of float64
        Seconds, of that neuron in that sample and span.
    """

    culprit: Culprit
    threshold: float
    exact_times: NDArray[np.float64]
    exact_voltage: NDArray[np.float64]
    model_times: NDArray[np.float64]
    model_voltage: NDArray[np.float64]
    exact_spikes: NDArray[np.float64]
    model_spikes: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One comparison of a campaign, with what is needed to report it.

    Attributes
    ----------
    title : str
    group, series : str
        Runs of one group share a picture of error against time step, those of one series a line in it.
    settings : mapping of str to str or number
    comparison : Comparison
    excerpt : Excerpt or None
    seconds : float
        Wall-clock time of the run.
    order : SpikeOrder or None
        Whether the model's resolution explains its other spikes, where that was asked.
    findings : mapping of str to str
        By the label of the stage that parts: where first, and what it looks like.
    """

    title: str
    group: str
    series: str
    settings: Mapping[str, Setting]
    comparison: Comparison
    excerpt: Excerpt | None
    seconds: float
    order: SpikeOrder | None = None
    findings: Mapping[str, str] = field(default_factory=dict)


def provenance(settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return what a reader needs to repeat a campaign."""
    packages = ("eventsolve", "numpy", "scipy", "numba", "matplotlib")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "settings": dict(settings),
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in packages},
    }


# -- words ---------------------------------------------------------------------------------------------------


def summary(comparison: Comparison) -> str:
    """Say in plain words how far two records agree."""
    n_spikes = sum(match.exact.n_spikes for match in comparison.computed)
    missed, extra = comparison.missed, comparison.extra
    n_samples, n_differing = comparison.differing_samples.size, int(comparison.differing_samples.sum())
    if missed or extra:
        where = f"{n_differing} of {n_samples} samples" if n_differing else "no sample"
        spikes = f"Of {n_spikes} spikes the model misses {missed} and adds {extra}; gradients depend on them in {where}"
    else:
        spikes = f"All {n_spikes} spikes are matched"
    cosines = " and ".join(
        f"{number(weight.mean.cosine)} with that of {weight.label}" for weight in comparison.weight.values()
    )
    words = [spikes]
    if cosines:
        words.append(f"its mean gradient has a cosine of {cosines}")
    if comparison.first is None:
        words.append("the two agree everywhere within tolerance")
    else:
        words.append(f"the two part first at the {_place(comparison.first)}")
    text = "; ".join(words) + "."
    if comparison.not_given:
        text += f" Not compared: {printable('; '.join(comparison.not_given), 1000)}."
    backward = comparison.first_backward
    if comparison.first is not None and comparison.first.kind == "spikes" and n_differing < n_samples:
        matching = n_samples - n_differing
        samples = "one sample" if matching == 1 else f"{matching} samples"
        place = (
            f"parts first at the {_place(backward, matching=True)}" if backward else "agrees within tolerance"
        )
        text += f" On the {samples} whose spikes match, the backward pass {place}."
    return text


def _place(stage: Stage, *, matching: bool = False) -> str:
    if stage.kind == "spikes":
        return stage.label
    error = stage.error_where_spikes_match if matching else stage.error
    return f"{stage.label} (relative error {number(error)}, tolerance {number(stage.tolerance)})"


def number(value: float) -> str:
    """Return a number in at most four significant digits."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _steps(seconds: float, comparison: Comparison) -> float:
    step = comparison.model.time_step
    return seconds / step if step else math.nan


# -- terminal ------------------------------------------------------------------------------------------------


def table(runs: Sequence[Run]) -> Table:
    """Return a table for the terminal, one row per run and layer of weights."""
    from rich import box
    from rich.table import Table

    from validation.terminal import cell

    result = Table(box=box.SIMPLE_HEAD, title="exact against model", title_justify="left", pad_edge=False)
    result.add_column("run\n  where the two part first", overflow="fold")
    result.add_column("spikes\nmissed, extra", justify="right")
    result.add_column("max shift\n(steps)", justify="right")
    result.add_column("gradient of", overflow="fold")
    for heading in ("relative\nerror", "cosine", "equal\nsigns"):
        result.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        c = run.comparison
        shift = max((match.max_shift for match in c.computed), default=0.0)
        steps = f"{_steps(shift, c):.2f}" if c.model.time_step else f"{number(shift)} s"
        heads = [
            [run.title, f"{c.missed}, {c.extra}", steps],
            [
                f"  {c.first.label if c.first else 'nowhere'}",
                f"of {sum(m.exact.n_spikes for m in c.computed)}",
                "",
            ],
        ]
        weights = list(c.weight.values())
        for k in range(max(len(heads), len(weights))):
            head = heads[k] if k < len(heads) else [""] * 3
            cells = [""] * 4
            if k < len(weights):
                mean = weights[k].mean
                error, signs = number(mean.relative_error), percent(mean.sign_agreement)
                cells = [weights[k].label, error, f"{mean.cosine:.4f}", signs]
            result.add_row(*map(cell, (*head, *cells)))
        result.add_section()
    return result


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return "undefined" if math.isnan(share) else f"{100 * share:.1f} %"


# -- JSON ----------------------------------------------------------------------------------------------------


def to_json(runs: Sequence[Run], origin: Mapping[str, Any], *, complete: bool = True) -> str:
    """Return the report as JSON; the module's docstring documents the keys."""
    document = {
        "format": "eventsolve-validation-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "runs": [_run_document(run) for run in runs],
    }
    return json.dumps(_finite(document), allow_nan=False, indent=1) + "\n"


def _run_document(run: Run) -> dict[str, Any]:
    c = run.comparison
    return {
        "title": run.title,
        "settings": dict(run.settings),
        "seconds": run.seconds,
        "summary": summary(c),
        "findings": dict(run.findings),
        "counters": dict(c.model.counters),
        "tolerance": c.tolerance,
        "time_step": c.model.time_step,
        "samples": int(c.differing_samples.size),
        "differing_samples": np.flatnonzero(c.differing_samples).tolist(),
        "spikes": [
            {
                "population": name,
                "depth": c.depth[name],
                "exact": match.exact.n_spikes,
                "model": match.model.n_spikes,
                "matched": int(match.exact_index.size),
                "missed": int(match.missed.size),
                "extra": int(match.extra.size),
                "window": match.window,
                "mean_shift": match.mean_shift,
                "max_shift": match.max_shift,
                "mean_shift_steps": _steps(match.mean_shift, c),
                "max_shift_steps": _steps(match.max_shift, c),
            }
            for name, match in c.spikes.items()
        ],
        "order": None if run.order is None else _order_document(run.order),
        "loss": None if c.loss is None else asdict(c.loss),
        "spike_times": [
            {"population": name, **_split(times.agreement)} for name, times in c.spike_times.items()
        ],
        "weights": [_weight_document(weight) for weight in c.weight.values()],
        "stages": [
            {
                "where": stage.label,
                "error": stage.error,
                "error_where_spikes_match": (
                    None if c.differing_samples.all() else stage.error_where_spikes_match
                ),
                "tolerance": stage.tolerance,
                "agrees": stage.agrees,
            }
            for stage in c.stages
        ],
        "not_given": list(c.not_given),
        "first_difference": c.first.label if c.first else None,
        "first_backward_difference": c.first_backward.label if c.first_backward else None,
    }


def _order_document(order: SpikeOrder) -> dict[str, Any]:
    return {
        "summary": str(order),
        "radius": order.radius.tolist(),
        "limits": [None if limit is None else str(limit) for limit in order.limits],
        "within": np.flatnonzero(order.within).tolist(),
        "other_spikes": np.flatnonzero(order.other_spikes).tolist(),
        "unexplained": np.flatnonzero(order.unexplained).tolist(),
    }


def _weight_document(weight: GradientComparison) -> dict[str, Any]:
    return {
        "projection": list(weight.key),
        "mean": asdict(weight.mean),
        **_split(weight.samples),
        "per_sample": [asdict(sample) for sample in weight.per_sample],
        "worst": [asdict(synapse) | {"error": synapse.error} for synapse in weight.worst(10)],
        "synapses": None
        if weight.synapses is None
        else dict(zip(("post", "pre"), map(np.ndarray.tolist, weight.synapses), strict=True)),
        "exact": weight.mean_exact.tolist(),
        "model": weight.mean_model.tolist(),
    }


def _split(split: Split) -> dict[str, dict[str, Any]]:
    groups: dict[str, Agreement] = {
        "everything": split.everything,
        "matching": split.matching,
        "differing": split.differing,
    }
    return {name: asdict(group) for name, group in groups.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- HTML ----------------------------------------------------------------------------------------------------


def to_html(runs: Sequence[Run], origin: Mapping[str, Any], *, complete: bool = True) -> str:
    """Return the report as one HTML page that needs nothing but itself."""
    from validation import pictures

    sections = [
        {
            "run": run,
            "c": run.comparison,
            "anchor": f"run-{k + 1}",
            "summary": summary(run.comparison),
            "steps": lambda seconds, c=run.comparison: _steps(seconds, c),
            "pictures": pictures.of_run(run),
        }
        for k, run in enumerate(runs)
    ]
    contents = {
        "sections": sections,
        "origin": origin,
        "complete": complete,
        "overview": pictures.error_against_time_step(runs),
    }
    return page("report.html.j2", contents, {"number": number, "percent": percent})


def write(
    runs: Sequence[Run], origin: Mapping[str, Any], folder: Path, *, complete: bool = True
) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into a folder, made if needed; return their paths."""
    texts = {
        "report.json": to_json(runs, origin, complete=complete),
        "report.html": to_html(runs, origin, complete=complete),
    }
    data, html = write_texts(folder, texts)
    return html, data
