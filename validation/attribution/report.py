"""An attribution, and a convergence, in the terminal, as JSON and as one self-contained HTML page.

The JSON file of an attribution has these keys; null stands for a number that is not finite:

``format``, ``version``, ``complete``, ``provenance``
    "eventsolve-attribution-report" and 1; False if it was interrupted; what is needed to repeat it.
``title``, ``kept``, ``order``, ``pairs``, ``settled``, ``runs``
    Of the study; pairs of orders, whether sampling errors are within the tolerance, different sets of switches run.
``quantities[]``
    ``name``, ``chip`` (its error), ``none`` (with no switch) and per switch ``alone``, ``off`` (by how much the chip's
    error falls without it), ``sequence``, ``shapley``, ``standard_error``. Spike times are in seconds, others relative.
``projections[]``
    ``projection``, ``shares`` of its error by switch, ``changed_samples`` (the part of samples whose spikes changed),
    ``synapses``: the Shapley values of every switch, (n_post, n_pre), in 1 / (unit of the weights).
``changed_spikes[]``
    As :class:`validation.attribution.changes.ChangedSpike`.

That of a convergence: ``errors[]``, as :class:`validation.attribution.convergence.Errors`; ``orders[]``, in float64:
``of``, ``up_to`` (a time step), ``order``, ``low``, ``high``, ``samples``; ``crossovers[]``: ``bits``, ``time_step`` or
null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eventsolve.files import write_texts
from validation.attribution import pictures
from validation.attribution.causes import Attribution
from validation.attribution.changes import Changes
from validation.attribution.convergence import Errors, Order, crossover, observed_order
from validation.compare import label_of
from validation.pages import page
from validation.pictures import Picture
from validation.report import number, percent

if TYPE_CHECKING:
    from rich.table import Table

LISTED = 40
"""Changed spikes that a page shows; the JSON file has all."""


def document(
    found: Attribution, changes: Changes, title: str, origin: Mapping[str, Any], *, complete: bool
) -> dict[str, Any]:
    """Return an attribution as a JSON document; the module's docstring documents the keys."""
    projections = [
        {
            "projection": list(key),
            "shares": found.shares(key),
            "changed_samples": changes.shares[key],
            "synapses": {name: part.tolist() for name, part in found.synapses(key).items()},
        }
        for key in found.study.projections
    ]
    return {
        "format": "eventsolve-attribution-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "title": title,
        "kept": list(found.study.kept),
        "order": list(found.order),
        "pairs": found.shapley.n_pairs if found.shapley else 0,
        "settled": found.settled,
        "runs": found.n_runs,
        "quantities": _quantities(found),
        "projections": projections,
        "changed_samples": changes.n_changed,
        "samples": changes.n_samples,
        "changed_spikes": [spike._asdict() for spike in changes.spikes],
    }


def _quantities(found: Attribution) -> list[dict[str, Any]]:
    listed = []
    for k, quantity in enumerate(found.study.quantities):
        steps, blamed = found.waterfall(quantity), found.blame(quantity)
        switches = {
            name: {
                "alone": float(found.alone[row, k]),
                "off": float(found.without[row, k]),
                "sequence": steps[name],
                "shapley": blamed[name][0] if blamed else None,
                "standard_error": blamed[name][1] if blamed else None,
            }
            for row, name in enumerate(found.study.causes)
        }
        listed.append(
            {"name": quantity, "chip": found.errors[quantity], "none": steps["none"], "switches": switches}
        )
    return listed


def headline(found: Attribution) -> list[str]:
    """Return the quantities to look at first: the directions of the gradients, or spike times if there are none."""
    directions = [quantity for quantity in found.study.quantities if quantity.startswith("direction")]
    return directions or [quantity for quantity in found.study.quantities if quantity.startswith("spike")]


def table(found: Attribution, quantity: str) -> Table:
    """Return a table for the terminal: one quantity, a row per switch that changes something."""
    from rich import box
    from rich.table import Table

    result = Table(box=box.SIMPLE_HEAD, title=_title(quantity), title_justify="left", pad_edge=False)
    result.add_column("switch")
    for heading in ("alone", "last", "in sequence", "Shapley value", "± 1 s.e."):
        result.add_column(heading, justify="right", no_wrap=True)
    entry = _quantities(found)[found.study.quantities.index(quantity)]
    result.add_row("none", "", "", number(entry["none"]), "", "")
    for name, parts in entry["switches"].items():
        if any(parts.values()):
            result.add_row(name, *("" if v is None else number(v) for v in parts.values()))
    result.add_section()
    total = "" if found.shapley is None else number(entry["chip"] - entry["none"])
    result.add_row("chip", "", "", number(entry["chip"]), total, "")
    return result


def summary(found: Attribution, changes: Changes) -> str:
    """Say in plain words where the error of the gradients comes from."""
    lines = []
    for key in found.study.projections:
        quantity = f"dL/dw of {label_of(key)}"
        turned = found.errors[f"direction of {quantity}"]
        text = f"{quantity}: relative error {number(found.errors[quantity])}, cosine {1 - turned:.4f}"
        blamed = found.blame(f"direction of {quantity}")
        if blamed and turned:
            named = sorted(blamed.items(), key=lambda entry: -entry[1][0])[:3]
            parts = [f"{percent(value / turned)} by {name}" for name, (value, _) in named if value > 0]
            text += f"; of 1 - cosine {', '.join(parts)}"
        lines.append(
            f"{text}; {percent(changes.shares[key])} of the squared error of single samples sits on the "
            f"{changes.n_changed} of {changes.n_samples} whose spikes changed."
        )
    return "\n".join(lines)


def to_html(
    found: Attribution, changes: Changes, title: str, origin: Mapping[str, Any], *, complete: bool
) -> str:
    """Return the report as one HTML page that needs nothing but itself."""
    shown: list[Picture | None] = []
    for quantity in headline(found):
        shown += [pictures.waterfall(found, quantity), pictures.blame(found, quantity)]
    shown.append(pictures.synapses(found))
    return _page(
        title=f"Why {title} differs from the exact gradient",
        lead=summary(found, changes).split("\n"),
        notice=None if complete else "The attribution was interrupted; it holds what was finished.",
        tables=[_html_table(q) for q in _quantities(found)]
        + ([_html_spikes(changes)] if changes.spikes else []),
        pictures=[picture for picture in shown if picture is not None],
        origin=origin,
    )


def _title(quantity: str) -> str:
    unit = {"spike": ", s", "direction": ", 1 - cosine"}.get(quantity.split()[0], ", relative")
    return f"Error of {pictures.spoken(quantity)}{unit}"


def _html_table(entry: Mapping[str, Any]) -> dict[str, Any]:
    rows = [["none", "", "", number(entry["none"]), "", ""]]
    for name, parts in entry["switches"].items():
        if any(parts.values()):
            rows.append([name, *("" if v is None else number(v) for v in parts.values())])
    rows.append(["chip", "", "", number(entry["chip"]), "", ""])
    heads = ["switch", "alone", "last", "in sequence", "Shapley value", "± 1 s.e."]
    return {"title": _title(entry["name"]), "heads": heads, "rows": rows}


def _html_spikes(changes: Changes) -> dict[str, Any]:
    rows = [
        [s.kind, s.population, str(s.sample), str(s.neuron), f"{s.time * 1e3:.4f}", number(s.margin)]
        for s in sorted(changes.spikes, key=lambda s: (not s.felt, s.sample, s.time))[:LISTED]
    ]
    of = f", {LISTED} of {len(changes.spikes)}" if len(changes.spikes) > LISTED else ""
    heads = ["spike", "population", "sample", "neuron", "time (ms)", "margin"]
    return {"title": f"Spikes that changed{of}", "heads": heads, "rows": rows}


# -- convergence


LEAST_SAMPLES = 4
"""From which an order is told: of fewer its confidence interval says nothing."""


def orders(found: Sequence[Errors]) -> list[tuple[str, float, Order]]:
    """Return the observed orders in the time step in float64: of what, up to which time step in seconds, and the order.

    They are of samples whose neurons keep their numbers of spikes, from the finest time step up to the coarsest at
    which there are enough of them.
    """
    line = sorted((e for e in found if e.grain.bits is None), key=lambda e: e.grain.time_step)
    kept = np.logical_and.accumulate([e.same for e in line])
    line = line[: int((kept.sum(axis=1) >= LEAST_SAMPLES).sum())] if line else []
    listed = []
    for kind in ("spike_times", "gradient"):
        if len(line) > 1:
            sizes = [e.grain.time_step for e in line]
            order = observed_order(sizes, np.stack([getattr(e, kind) for e in line])[:, kept[len(line) - 1]])
            if order is not None:
                listed.append((kind, sizes[-1], order))
    return listed


def crossovers(found: Sequence[Errors]) -> dict[int, float | None]:
    """Return, by fraction bits, the time step in seconds below which bits make the larger error."""
    plain = {e.grain.time_step: e.mean for e in found if e.grain.bits is None}
    result: dict[int, float | None] = {}
    for bits in dict.fromkeys(e.grain.bits for e in found if e.grain.bits is not None):
        line = {e.grain.time_step: e.beside for e in found if e.grain.bits == bits and e.beside > 0}
        steps = sorted(step for step in line if plain.get(step, 0.0) > 0)
        if steps and bits is not None:
            result[bits] = crossover(steps, [plain[s] for s in steps], [line[s] for s in steps])
    return result


def convergence_document(
    found: Sequence[Errors], title: str, origin: Mapping[str, Any], *, complete: bool
) -> dict[str, Any]:
    """Return a convergence as a JSON document."""
    return {
        "format": "eventsolve-convergence-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "title": title,
        "errors": [
            {
                **e.grain._asdict(),
                "mean": e.mean,
                "cosine": e.cosine,
                "beside": e.beside,
                "same": int(e.same.sum()),
                "spike_times": e.spike_times.tolist(),
                "gradient": e.gradient.tolist(),
            }
            for e in found
        ],
        "orders": [
            {"of": kind, "up_to": dt, "order": o.order, "low": o.low, "high": o.high, "samples": o.n_samples}
            for kind, dt, o in orders(found)
        ],
        "crossovers": [{"bits": b, "time_step": step} for b, step in crossovers(found).items()],
    }


def convergence_html(
    found: Sequence[Errors], title: str, origin: Mapping[str, Any], *, complete: bool
) -> str:
    """Return a convergence as one HTML page."""
    shown = [pictures.steps(found), pictures.bits(found)]
    return _page(
        title=f"Convergence of {title}",
        lead=convergence_summary(found),
        notice=None if complete else "The convergence was interrupted; it holds what was finished.",
        tables=[convergence_rows(found)],
        pictures=[picture for picture in shown if picture is not None],
        origin=origin,
    )


def convergence_rows(found: Sequence[Errors]) -> dict[str, Any]:
    """Return a table: a row per resolution."""
    rows = [
        [
            f"{e.grain.time_step * 1e3:g}",
            "float64" if e.grain.bits is None else str(e.grain.bits),
            f"{int(e.same.sum())} of {e.same.size}",
            number(e.mean),
            f"{e.cosine:.5f}",
            number(e.beside),
        ]
        for e in found
    ]
    heads = [
        "time step (ms)",
        "fraction bits",
        "samples with all spikes",
        "relative error",
        "cosine",
        "by bits",
    ]
    return {"title": "Batch-mean dL/dw", "heads": heads, "rows": rows}


def convergence_summary(found: Sequence[Errors]) -> list[str]:
    """Say of which order errors are, and where bits dominate."""
    lines = []
    for kind, up_to, o in orders(found):
        what = {"spike_times": "spike times", "gradient": "gradients"}[kind]
        lines.append(
            f"In float64 errors of {what} are of order {o.order:.3g} in the time step (95 %: {o.low:.3g} to "
            f"{o.high:.3g}), up to {up_to * 1e3:g} ms, over the {o.n_samples} samples that keep their spikes."
        )
    crossed = crossovers(found)
    below = [f"{step * 1e3:.3g} ms with {bits}" for bits, step in crossed.items() if step is not None]
    if below:
        lines.append(f"Fraction bits make the larger error below a time step of {', '.join(below)}.")
    never = [str(bits) for bits, step in crossed.items() if step is None]
    if never:
        lines.append(
            f"The time step makes the larger error throughout with {', '.join(never)} fraction bits."
        )
    return lines


def convergence_table(found: Sequence[Errors]) -> Table:
    """Return a table for the terminal: the error of the batch mean, a row per time step and a column per format."""
    from rich import box
    from rich.table import Table

    formats = list(dict.fromkeys(e.grain.bits for e in found))
    title = "relative error of the batch-mean dL/dw, by fraction bits"
    result = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    result.add_column("time step", justify="right", no_wrap=True)
    result.add_column("same spikes", justify="right", no_wrap=True)
    for bits in formats:
        result.add_column("float64" if bits is None else str(bits), justify="right", no_wrap=True)
    by = {(e.grain.time_step, e.grain.bits): e for e in found}
    for step in dict.fromkeys(e.grain.time_step for e in found):
        row = [by.get((step, bits)) for bits in formats]
        first = next(e for e in row if e is not None)
        cells = ("" if e is None else f"{e.mean:.2g}" for e in row)
        result.add_row(f"{step * 1e3:g} ms", f"{int(first.same.sum())} of {first.same.size}", *cells)
    return result


# -- pages and files


def _page(**contents: Any) -> str:
    return page("attribution.html.j2", contents)


def to_json(content: Mapping[str, Any]) -> str:
    """Return a document as text."""
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def write(folder: Path, name: str, content: Mapping[str, Any], html: str) -> tuple[Path, Path]:
    """Write ``NAME.html`` and ``NAME.json`` into a folder, made if needed; return their paths."""
    data, page = write_texts(folder, {f"{name}.json": to_json(content), f"{name}.html": html})
    return page, data


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
