"""The documents of an attribution and of a convergence: terminal, HTML page and JSON file.

The JSON file of an attribution has these keys; null stands for a number that is not finite:

``format``, ``version``, ``complete``, ``provenance``, ``headline``
    "eventsolve-attribution-report" and 1; False if it was interrupted; what is needed to repeat it; what was found.
``title``, ``kept``, ``order``, ``pairs``, ``settled``, ``runs``
    Of the ablation; pairs of orders, whether sampling errors are within the tolerance, different sets of switches run.
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
null; ``refused[]``: ``time_step``, ``bits``, ``why``, where the target could not be run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eventsolve.compare.comparison import label_of
from eventsolve.compare.records import depths
from eventsolve.typing import Key
from validation.attribution.ablation import Refusal
from validation.attribution.causes import Attribution
from validation.attribution.changes import Changes
from validation.attribution.convergence import Errors, Order, crossover, observed_order
from validation.report.comparison import SAME
from validation.report.document import Block, Document, Picture, Points, Section, Table, Words, where_from
from validation.report.words import joined, number, percent
from validation.target import Grain

LISTED, MOST = 20, 400
"""Changed spikes that a page shows at once, and on request; the JSON file has all."""


def document_of(
    found: Attribution,
    changes: Changes,
    title: str,
    origin: Mapping[str, Any],
    *,
    complete: bool,
    following: str = "",
) -> Document:
    """Return what an attribution found: the largest cause of every layer first; ``following`` is what to run next."""
    from validation.attribution import pictures

    blocks: list[Block] = []
    if not complete:
        blocks.append(Words("The attribution was interrupted; it holds what was finished.", "notice"))
    blocks += _verdict(found)
    entries = {entry["name"]: entry for entry in _quantities(found)}
    first = headline(found)
    blocks += [_table(entries[quantity]) for quantity in first]
    blocks.append(Points(tuple(summary(found, changes))))
    if following:
        blocks.append(Words(following, "command"))
    drawn: list[Picture | None] = []
    for quantity in first:
        drawn += [pictures.waterfall(found, quantity), pictures.blame(found, quantity)]
    drawn.append(pictures.synapses(found, projections(found)))
    shown: list[Block] = [picture for picture in drawn if picture is not None]
    others: list[Block] = [_table(entry) for name, entry in entries.items() if name not in first]
    sections = [Section("Causes", tuple(shown))] if shown else []
    sections += [Section("All quantities", tuple(others))] if others else []
    sections += [Section("Spikes that changed", (_spikes(changes),))] if changes.spikes else []
    return Document(
        title=f"Why {title} differs from the exact gradient",
        headline=tuple(blocks),
        sections=(*sections, where_from(origin)),
        origin=origin,
        data=data_of(found, changes, title, origin, complete=complete),
    )


def projections(found: Attribution) -> list[Key]:
    """Return the projections, those to the outputs first."""
    network = found.ablation.problem.network
    depth = depths(network.populations, network.projections)
    return sorted(found.ablation.projections, key=lambda key: -depth[key[1]])


def _verdict(found: Attribution) -> list[Block]:
    """Say in one sentence which cause makes most of the error of each headline quantity."""
    largest: dict[str, list[str]] = {}
    for quantity in headline(found):
        blamed, error = found.blame(quantity), found.errors[quantity]
        if blamed and error:
            name, (value, _) = max(blamed.items(), key=lambda entry: entry[1][0])
            of, unit = (
                quantity.removeprefix("direction of dL/dw of ").removeprefix("spike times of "),
                unit_of(quantity),
            )
            part = (
                percent(value / error)
                if value <= error
                else "more than the whole error; other causes undo a part"
            )
            part += f" of {unit}" if unit == "1 - cosine" and value <= error else ""
            largest.setdefault(name, []).append(f"{of} ({part})")
    if not largest:
        return []
    if len(largest) == 1:
        ((name, parts),) = largest.items()
        return [Words(f"The largest cause of every layer is {name}: {joined(parts)}.", "verdict")]
    said = [f"{name} for {joined(parts)}" for name, parts in largest.items()]
    return [Words(f"The largest cause is {'; '.join(said)}.", "verdict")]


def data_of(
    found: Attribution, changes: Changes, title: str, origin: Mapping[str, Any], *, complete: bool
) -> dict[str, Any]:
    """Return an attribution as data; the module's docstring documents the keys."""
    projections = [
        {
            "projection": list(key),
            "shares": found.shares(key),
            "changed_samples": changes.shares[key],
            "synapses": {name: part.tolist() for name, part in found.synapses(key).items()},
        }
        for key in found.ablation.projections
    ]
    return {
        "format": "eventsolve-attribution-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "title": title,
        "kept": list(found.ablation.kept),
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
    for k, quantity in enumerate(found.ablation.quantities):
        steps, blamed = found.waterfall(quantity), found.blame(quantity)
        switches = {
            name: {
                "alone": float(found.alone[row, k]),
                "off": float(found.without[row, k]),
                "sequence": steps[name],
                "shapley": blamed[name][0] if blamed else None,
                "standard_error": blamed[name][1] if blamed else None,
            }
            for row, name in enumerate(found.ablation.causes)
        }
        listed.append(
            {"name": quantity, "chip": found.errors[quantity], "none": steps["none"], "switches": switches}
        )
    return listed


def headline(found: Attribution) -> list[str]:
    """Return the quantities to look at first: the directions of the gradients, or whatever there is without gradients.

    Quantities of the outputs come first.
    """
    directions = [f"direction of dL/dw of {label_of(key)}" for key in projections(found)]
    times = [quantity for quantity in found.ablation.quantities if quantity.startswith("spike")]
    decisive = [name for name in found.ablation.quantities if name.startswith("V of") or name == "loss"]
    return directions or [*decisive, *times[::-1]]


def summary(found: Attribution, changes: Changes) -> list[str]:
    """Say where the error of the gradients comes from, in a sentence for each projection."""
    lines = []
    for key in projections(found):
        quantity = f"dL/dw of {label_of(key)}"
        turned = found.errors[f"direction of {quantity}"]
        text = f"{quantity}: relative error {number(found.errors[quantity])}, cosine {1 - turned:.4f}"
        blamed = found.blame(f"direction of {quantity}")
        if blamed and turned:
            named = sorted(blamed.items(), key=lambda entry: -entry[1][0])[:3]
            parts = [
                f"{percent(value / turned)} by {name}" for name, (value, _) in named if value >= SAME * turned
            ]
            text += f"; of 1 - cosine {', '.join(parts)}" if parts else ""
        lines.append(
            f"{text}; {percent(changes.shares[key])} of the squared error of single samples sits on the "
            f"{changes.n_changed} of {changes.n_samples} whose spikes changed."
        )
    return lines


def spoken(quantity: str) -> str:
    """Return the name of a quantity as it stands in a sentence."""
    return f"the {quantity}" if quantity.startswith("direction") else quantity


def unit_of(quantity: str) -> str:
    """Return the unit of a quantity's error."""
    return {"spike": "s", "direction": "1 - cosine"}.get(quantity.split()[0], "relative")


def _table(entry: Mapping[str, Any]) -> Table:
    """Return a quantity by cause; causes of less than 1 % of the error are folded."""
    least = SAME * abs(entry["chip"])
    rows: list[tuple[str, ...]] = [("none", "", "", number(entry["none"]), "", "")]
    rest: list[tuple[str, ...]] = []
    for name, parts in entry["switches"].items():
        cells = (name, *("" if value is None else number(value) for value in parts.values()))
        *sizes, _ = (abs(value or 0.0) for value in parts.values())
        if max(sizes) >= least > 0:
            rows.append(cells)
        elif max(sizes):
            rest.append(cells)
    averaged = all(parts["shapley"] is not None for parts in entry["switches"].values())
    total = number(entry["chip"] - entry["none"]) if averaged else ""
    rows.append(("all", "", "", number(entry["chip"]), total, ""))
    return Table(
        f"Error of {spoken(entry['name'])}, {unit_of(entry['name'])}",
        ("cause", "alone", "last", "in sequence", "Shapley value", "± 1 s.e."),
        tuple(rows),
        rest=tuple(rest),
        folded=f"{len(rest)} more, each below {SAME:.0%} of the error",
        note="How much each approximation changes the error: alone, after all others, in sequence, and averaged over "
        "all orders. The averages add up.",
        about="howto/explain_an_error",
    )


def _spikes(changes: Changes) -> Table:
    rows = [
        (s.kind, s.population, str(s.sample), str(s.neuron), f"{s.time * 1e3:.4f}", number(s.margin))
        for s in sorted(changes.spikes, key=lambda s: (not s.felt, s.sample, s.time))
    ]
    more = len(rows) - LISTED
    return Table(
        "Missed and extra spikes",
        ("", "population", "sample", "neuron", "time (ms)", "margin"),
        tuple(rows[:LISTED]),
        rest=tuple(rows[LISTED:MOST]),
        words=(0, 1),
        folded=f"{min(more, MOST - LISTED)} more; the JSON file has all {len(rows)}" if more > 0 else "",
        note="The margin is how far the exact voltage goes beyond the threshold with a spike that is missed, or "
        "stays below it where one is extra. Spikes on which a gradient depends come first.",
        about="concepts/margins",
    )


# -- convergence


LEAST_SAMPLES = 4
"""Fewest samples from which an order is determined: with fewer its confidence interval says nothing."""


def orders(found: Sequence[Errors]) -> list[tuple[str, float, Order]]:
    """Return the observed orders in the time step in float64: the quantity, the coarsest time step, and the order.

    Only samples whose neurons keep their numbers of spikes enter, from the finest time step up to the coarsest at which
    there are enough such samples.
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
    """Return, by fraction bits, the time step in seconds below which the bits cause the larger error."""
    plain = {e.grain.time_step: e.mean for e in found if e.grain.bits is None}
    result: dict[int, float | None] = {}
    for bits in dict.fromkeys(e.grain.bits for e in found if e.grain.bits is not None):
        line = {e.grain.time_step: e.beside for e in found if e.grain.bits == bits and e.beside > 0}
        steps = sorted(step for step in line if plain.get(step, 0.0) > 0)
        if steps and bits is not None:
            result[bits] = crossover(steps, [plain[s] for s in steps], [line[s] for s in steps])
    return result


def convergence_of(
    found: Sequence[Errors],
    refused: Sequence[Refusal[Grain]],
    title: str,
    origin: Mapping[str, Any],
    *,
    complete: bool,
) -> Document:
    """Return what a convergence found."""
    from validation.attribution import pictures

    blocks: list[Block] = []
    if not complete:
        blocks.append(Words("The convergence was interrupted; it holds what was finished.", "notice"))
    said = convergence_summary(found)
    n_formats = len({grain.bits for grain in (*(e.grain for e in found), *(r.of for r in refused))})
    points = [*said[1:], *([left_out(refused, n_formats)] if refused else [])]
    blocks += [Words(said[0], "verdict")] if said else []
    blocks += [_formats(found)] if found else []
    blocks += [Points(tuple(points))] if points else []
    drawn = [pictures.steps(found), pictures.bits(found)]
    shown: list[Block] = [picture for picture in drawn if picture is not None]
    return Document(
        title=f"Convergence of {title}",
        headline=tuple(blocks),
        sections=(Section("Errors", (*shown, _resolutions(found))), where_from(origin)),
        origin=origin,
        data=convergence_data(found, refused, title, origin, complete=complete),
    )


def left_out(refused: Sequence[Refusal[Grain]], n_formats: int) -> str:
    """Say in a sentence at which grains the target could not be run, and why at the first of them."""
    by_step: dict[float, list[str]] = {}
    for refusal in refused:
        by_step.setdefault(refusal.of.time_step, []).append(format_of(refusal.of.bits))
    alike: dict[str, list[str]] = {}
    for step, formats in by_step.items():
        words = "" if len(formats) == n_formats else f" with {joined(formats)}"
        alike.setdefault(words, []).append(f"{step * 1e3:.4g}")
    parts = [f"{joined(steps)} ms{words}" for words, steps in alike.items()]
    return f"Left out: {'; '.join(parts)}. The first of them: {refused[0].why}."


def format_of(bits: int | None) -> str:
    """Return a number of fraction bits in words."""
    return "float64" if bits is None else f"{bits} bits"


def convergence_data(
    found: Sequence[Errors],
    refused: Sequence[Refusal[Grain]],
    title: str,
    origin: Mapping[str, Any],
    *,
    complete: bool,
) -> dict[str, Any]:
    """Return a convergence as data."""
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
        "refused": [{**r.of._asdict(), "why": r.why} for r in refused],
    }


def _resolutions(found: Sequence[Errors]) -> Table:
    """Return a row per resolution."""
    rows = [
        (
            f"{e.grain.time_step * 1e3:.4g}",
            format_of(e.grain.bits),
            f"{int(e.same.sum())} of {e.same.size}",
            number(e.mean),
            f"{e.cosine:.5f}",
            number(e.beside),
        )
        for e in found
    ]
    heads = (
        "time step\n(ms)",
        "format",
        "samples with\nall spikes",
        "relative\nerror",
        "cosine",
        "by bits",
    )
    note = "Of the batch-mean dL/dw. By bits: its distance from that of float64 at the same time step."
    return Table("Every resolution", heads, tuple(rows), words=(), note=note, about="howto/explain_an_error")


def convergence_summary(found: Sequence[Errors]) -> list[str]:
    """Say of which order the errors are, and where the bits dominate."""
    lines = []
    known = orders(found)
    if found and not known:
        lines.append(
            f"No order in the time step can be determined: for that, {LEAST_SAMPLES} samples have to keep their spikes "
            f"at the two finest steps."
            if len({e.grain.time_step for e in found}) > 1
            else "A single time step determines no order."
        )
    for kind, up_to, o in known:
        what = {"spike_times": "spike times", "gradient": "gradients"}[kind]
        lines.append(
            f"In float64 errors of {what} are of order {o.order:.3g} in the time step (95 %: {o.low:.3g} to "
            f"{o.high:.3g}), up to {up_to * 1e3:g} ms, over the {o.n_samples} samples that keep their spikes."
        )
    crossed = crossovers(found)
    below = [f"{step * 1e3:.3g} ms with {bits}" for bits, step in crossed.items() if step is not None]
    if below:
        lines.append(f"Fraction bits cause the larger error below a time step of {', '.join(below)}.")
    never = [str(bits) for bits, step in crossed.items() if step is None]
    if never:
        lines.append(
            f"The time step causes the larger error throughout with {', '.join(never)} fraction bits."
        )
    return lines


def _formats(found: Sequence[Errors]) -> Table:
    """Return the error of the batch mean, a row per time step; adjacent formats that show the same share a column."""
    formats = list(dict.fromkeys(e.grain.bits for e in found))
    by = {e.grain: e for e in found}
    steps = list(dict.fromkeys(e.grain.time_step for e in found))
    columns: list[tuple[list[int | None], list[str]]] = []
    for bits in formats:
        there = [by.get(Grain(step, bits)) for step in steps]
        cells = ["-" if e is None else f"{e.mean:.2g}" for e in there]
        if len(columns) > 1 and columns[-1][1] == cells:  # never with float64, which comes first
            columns[-1][0].append(bits)
        else:
            columns.append(([bits], cells))
    heads = [str(b[0]) if len(b) == 1 else f"{b[0]} to {b[-1]}" for b, _ in columns]
    same = {e.grain.time_step: f"{int(e.same.sum())} of {e.same.size}" for e in reversed(found)}
    return Table(
        "Relative error of the batch-mean dL/dw, by fraction bits",
        ("time step", "same spikes", *("float64" if head == "None" else head for head in heads)),
        tuple(
            (f"{step * 1e3:.4g} ms", same[step], *(cells[k] for _, cells in columns))
            for k, step in enumerate(steps)
        ),
        words=(),
        note="Samples with the same spikes are those in which every neuron spikes as often as in the exact network, in "
        "the first format that could be run; - where none could.",
        about="concepts/number_formats",
    )
