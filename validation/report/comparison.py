"""The document of a campaign of comparisons: verdict, runs of which equal ones share a row, and each run in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eventsolve.compare import Comparison, Split
from validation.report.data import data_of
from validation.report.document import Block, Cell, Document, Points, Section, Table, Words, where_from
from validation.report.runs import READING, Run
from validation.report.words import degrees, joined, number, percent, steps, summary

SAME = 0.01
"""Of an error: a difference between two runs below it makes no difference."""
NOTHING = "-"
"""In a cell that has no number."""
WORST = 6
"""Synapses of a projection that are listed."""


def document_of(runs: Sequence[Run], origin: Mapping[str, Any], *, complete: bool = True) -> Document:
    """Return what a campaign found."""
    from validation.report import pictures

    alike = groups(runs)
    overview = pictures.error_against_time_step(runs)
    sections = [] if overview is None else [Section("All runs", (overview,))]
    sections += [_section(runs.index(same[0]), same) for same in alike]
    return Document(
        title="Validation report",
        headline=headline(runs, complete=complete),
        sections=(*sections, where_from(origin)),
        origin=origin,
        data=data_of(runs, origin, complete=complete),
    )


# -- the headline ----------------------------------------------------------------------------------------------


def headline(runs: Sequence[Run], *, complete: bool = True) -> tuple[Block, ...]:
    """Return the verdict, a table in which equal runs share a row, what a time step does, and what to run next."""
    blocks: list[Block] = []
    if not complete:
        blocks.append(
            Words("The campaign was interrupted; this report holds the runs that were finished.", "notice")
        )
    if not runs:
        return tuple(blocks)
    alike = groups(runs)
    judged = [run for run in runs if run.diagnosis is not None]
    blocks += [_said(run, runs) for run in judged] if len(judged) == len(runs) else [_verdict(runs)]
    blocks.append(_table(runs, alike))
    said = [run.diagnosis.costs for run in judged if run.diagnosis is not None and run.diagnosis.costs]
    said += [*_formats(runs, alike), *_time_steps(alike)]
    said += [text for run in runs for text in run.findings.values()]
    said += [
        f"{run.title}: {run.order}" for run in runs if run.order is not None and run.order.unexplained.any()
    ]
    if said:
        blocks.append(Points(tuple(said)))
    following = next((run.next_command for run in runs if run.next_command), "")
    if following:
        blocks.append(Words(following, "command"))
    return tuple(blocks)


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Return runs that differ in their series alone, and in that by less than 1 % of their errors, together."""
    found: list[list[Run]] = []
    for run in runs:
        for same in found:
            if _alike(same[0], run):
                same.append(run)
                break
        else:
            found.append([run])
    return found


def _alike(one: Run, other: Run) -> bool:
    a, b = one.comparison, other.comparison
    if (one.group, a.model.time_step) != (other.group, b.model.time_step) or one.series == other.series:
        return False
    if (a.missed, a.extra, list(a.weight)) != (b.missed, b.extra, list(b.weight)):
        return False
    for key, weight in a.weight.items():
        apart = float(np.linalg.norm(b.weight[key].mean_model - weight.mean_model))
        error = float(np.linalg.norm(weight.mean_model - weight.mean_exact))
        if not apart <= SAME * error:
            return False
    return True


def _title(same: Sequence[Run]) -> str:
    first = same[0]
    if len(same) > 1 and first.title.endswith(first.series):
        return first.title.removesuffix(first.series) + joined([run.series for run in same], "or")
    return joined([run.title for run in same], "or")


def _said(run: Run, runs: Sequence[Run]) -> Words:
    """Return the verdict on one record."""
    assert run.diagnosis is not None
    sentence = run.diagnosis.sentence
    return Words(sentence if len(runs) == 1 else f"{run.title}: {sentence}", "verdict", good=run.accepted)


def _verdict(runs: Sequence[Run]) -> Words:
    parted = [run for run in runs if run.comparison.first is not None]
    if not parted:
        what = "All runs agree" if len(runs) > 1 else f"{runs[0].title} agrees"
        return Words(f"agrees: {what} with the exact solution, within tolerance.", "verdict")
    orders = [run.order for run in parted if run.order is not None]
    if orders and len(orders) == len(parted):
        strange = [run for run in parted if run.order is not None and run.order.unexplained.any()]
        if not strange:
            what = (
                "they scatter enough"
                if any(run.spread for run in parted)
                else "the time step and the number format are coarse enough"
            )
            return Words(
                f"explained: where spikes differ from the exact ones, {what} to change the order of events.",
                "verdict",
            )
        return Words(
            f"unexplained: in {len(strange)} of {len(runs)} runs, first {strange[0].title}, spikes differ although the "
            "resolution does not explain it.",
            "verdict",
            good=False,
        )
    first = parted[0].comparison.first
    which = "" if len(runs) == 1 else f" in {len(parted)} of {len(runs)} runs, first {parted[0].title}"
    where = f", first at the {first.label}" if first is not None else ""
    return Words(f"differs: the two part{which}{where}.", "verdict", good=False)


def _table(runs: Sequence[Run], alike: Sequence[Sequence[Run]]) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for same in alike:
        c = same[0].comparison
        shift = max((match.max_shift for match in c.computed), default=0.0)
        late = f"{steps(shift, c):.2f} steps" if c.model.time_step else f"{number(shift)} s"
        heads: list[tuple[str | Cell, ...]] = [
            (Cell(_title(same), _anchor(runs.index(same[0]))), f"{c.missed}, {c.extra}", late),
            (
                f"  {f'parts first at: {c.first.label}' if c.first else 'parts nowhere'}",
                f"of {_spikes(c)}",
                "",
            ),
        ]
        weights = list(c.weight.values())
        for k in range(max(len(heads), len(weights))):
            cells = ("", "", "", "")
            if k < len(weights):
                mean = weights[k].mean
                cells = (
                    weights[k].label,
                    number(mean.relative_error),
                    f"{mean.cosine:.4f}",
                    percent(mean.sign_agreement),
                )
            rows.append((*(heads[k] if k < len(heads) else ("", "", "")), *cells))
    return Table(
        "Model against exact",
        (
            "run",
            "spikes\nmissed, extra",
            "largest\nshift",
            "gradient of",
            "relative\nerror",
            "cosine",
            "equal\nsigns",
        ),
        tuple(rows),
        words=(0, 3),
        note="Gradients are averaged over the batch. The relative error is the Euclidean norm of the difference "
        "over that of the exact gradient; the cosine is that of the angle between the two; signs are compared where "
        "both are not 0.",
        about=READING,
    )


def _spikes(comparison: Comparison) -> int:
    return sum(match.exact.n_spikes for match in comparison.computed)


def _formats(runs: Sequence[Run], alike: Sequence[Sequence[Run]]) -> list[str]:
    """Say where the number format makes a difference, if there are several."""
    if len({run.series for run in runs}) < 2:
        return []
    places = {(run.group, run.comparison.model.time_step) for run in runs}
    together = [(same[0].group, same[0].comparison.model.time_step) for same in alike]
    apart = [place for place in dict.fromkeys(together) if together.count(place) > 1]
    if not apart:
        return [f"The number format makes no difference: below {SAME:.0%} of the error."]
    if len(apart) == len(places):
        return []
    where = joined([f"{group} at {_ms(step)}" for group, step in apart])
    return [f"The number format makes no difference (below {SAME:.0%} of the error) but for {where}."]


def _ms(step: float | None) -> str:
    return "continuous time" if step is None else f"{step * 1e3:g} ms"


def _time_steps(alike: Sequence[Sequence[Run]]) -> Iterator[str]:
    """Say of each network what becomes of it at a time step: by what, is for others to say."""
    first = [same[0] for same in alike]
    stepped = [run for run in first if run.comparison.model.time_step is not None and not run.spread]
    for group in dict.fromkeys(run.group for run in stepped):
        of_group = [run for run in stepped if run.group == group]
        steps: dict[float, Run] = {}
        for run in of_group:
            steps.setdefault(float(run.comparison.model.time_step or 0), run)
        said = [
            _effect(run.comparison, k == 0) for k, (_, run) in enumerate(sorted(steps.items(), reverse=True))
        ]
        yield f"{group}: {'; '.join(said)}."


def _effect(c: Comparison, whole: bool) -> str:
    lost = f"loses {c.missed} and adds {c.extra}" if c.missed or c.extra else "keeps every one"
    text = f"at {'a time step of ' if whole else ''}{_ms(c.model.time_step)} it {lost} of {_spikes(c)} spikes"
    turned = [f"{degrees(weight.mean.cosine)}" for weight in c.weight.values()]
    names = [weight.label for weight in c.weight.values()]
    if not turned:
        return text
    if not whole:
        return f"{text}, its gradients {joined(turned)} off"
    pairs = list(zip(names, turned, strict=True))
    what = joined(
        [f"{'that' if k else 'its gradient'} of {name} {angle} off" for k, (name, angle) in enumerate(pairs)]
    )
    return f"{text}, {what} (90° is a random direction)"


# -- each run --------------------------------------------------------------------------------------------------


def _anchor(k: int) -> str:
    return f"run-{k + 1}"


def _section(k: int, same: Sequence[Run]) -> Section:
    from validation.report import pictures

    run = same[0]
    c = run.comparison
    blocks: list[Block] = []
    if run.diagnosis is not None:
        blocks.append(Words(run.diagnosis.sentence, "lead", good=run.accepted))
    blocks.append(Words(summary(c), "lead" if run.diagnosis is None else "quiet", good=c.first is None))
    if len(same) > 1:
        others = joined([other.title for other in same[1:]])
        blocks.append(
            Words(f"Shown is {run.title}; {others} differs from it by less than {SAME:.0%} of the error.")
        )
    if run.order is not None:
        blocks.append(Words(str(run.order), good=not run.order.unexplained.any()))
    if run.findings:
        blocks.append(Points(tuple(run.findings.values())))
    if c.not_given:
        blocks.append(Words(f"Not compared: {'; '.join(c.not_given)}.", "quiet"))
    settings = [f"{name} {value}" for name, value in run.settings.items()]
    counters = [f"{name.replace('_', ' ')} {value}" for name, value in c.model.counters.items()]
    blocks.append(Words(f"{'; '.join([*settings, *counters, f'{run.seconds:.1f} s'])}.", "quiet"))
    blocks += [_stages(c), _populations(c)]
    if c.weight or c.spike_times:
        blocks.append(_gradients(c))
    blocks += [_worst(c)] if c.weight else []
    return Section(_title(same), (*blocks, *pictures.of_run(run)), _anchor(k))


def _stages(c: Comparison) -> Table:
    rows = []
    for stage in c.stages:
        off = not stage.agrees
        cells: tuple[str | Cell, ...]
        if stage.kind == "spikes":
            cells = (Cell(f"{stage.error:.0f} spikes", beyond=off), NOTHING, "0")
        else:
            matching = NOTHING if c.differing_samples.all() else number(stage.error_where_spikes_match)
            cells = (
                Cell(number(stage.error), beyond=off),
                Cell(matching, beyond=not stage.agrees_where_spikes_match),
                number(stage.tolerance),
            )
        rows.append((Cell(stage.label, beyond=off), *cells))
    return Table(
        "Where the two part",
        ("in order of computation", "error,\nall samples", "error, samples\nwhose spikes match", "tolerance"),
        tuple(rows),
        note="What is beyond its tolerance stands out. Spikes: missed and extra ones. A sample's spikes match if no "
        "spike is missed or extra on which a gradient depends, that is one with dL/dt other than 0.",
        about=READING,
    )


def _populations(c: Comparison) -> Table:
    rows = [
        (
            name,
            *map(str, (match.exact.n_spikes, match.exact_index.size, match.missed.size, match.extra.size)),
            f"{match.mean_shift * 1e3:+.4f}",
            f"{match.max_shift * 1e3:.4f}",
        )
        for name, match in list(c.spikes.items())[::-1]
    ]
    step = f" One time step is {_ms(c.model.time_step)}." if c.model.time_step else ""
    windows = joined(
        list(dict.fromkeys(number(match.window * 1e3) for match in list(c.spikes.values())[::-1])), "or"
    )
    return Table(
        "Spikes",
        ("population", "exact", "matched", "missed", "extra", "mean\nshift", "largest\nshift"),
        tuple(rows),
        note="Shifts in ms; a positive one means that the model spikes later. "
        f"Spikes are paired within {windows} ms.{step}",
        about="concepts/margins",
    )


def _gradients(c: Comparison) -> Table:
    rows = [(f"dL/dt of {name}", *_split(times.agreement)) for name, times in c.spike_times.items()]
    rows += [(f"dL/dw of {weight.label}", *_split(weight.samples)) for weight in c.weight.values()]
    differing = int(c.differing_samples.sum())
    matching = c.differing_samples.size - differing
    return Table(
        "Gradients",
        (
            "",
            *("all samples:\nrelative error", "cosine", "equal\nsigns"),
            *(f"{matching} whose spikes\nmatch: error", "cosine"),
            *(f"{differing} with other\nspikes: error", "cosine"),
        ),
        tuple(rows),
        note="Each sample's own gradients, taken together: dL/dt (1/s) over matched spikes, dL/dw (1 / unit of "
        "weight) per synapse.",
        about="concepts/adjoint",
    )


def _split(split: Split) -> Iterator[str]:
    yield from (number(split.everything.relative_error), f"{split.everything.cosine:.4f}")
    yield percent(split.everything.sign_agreement)
    for group in (split.matching, split.differing):
        yield from (
            (number(group.relative_error), f"{group.cosine:.4f}") if group.count else (NOTHING, NOTHING)
        )


def _worst(c: Comparison) -> Table:
    rows = [
        (
            f"{weight.key[1]} {synapse.post} ← {weight.key[0]} {synapse.pre}",
            number(synapse.exact),
            number(synapse.model),
            number(synapse.error),
            number(synapse.relative_error),
        )
        for weight in c.weight.values()
        for synapse in weight.worst(WORST)
    ]
    return Table(
        "Worst synapses",
        ("target ← source", "exact", "model", "error", "relative\nerror"),
        tuple(rows),
        note="dL/dw averaged over the batch, of each projection those furthest off.",
        about=READING,
    )
