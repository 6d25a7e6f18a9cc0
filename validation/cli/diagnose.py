"""The command ``diagnose``: a verdict, and what applies of attribute, localise and recommend, in one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation import exits
from validation.cli.running import Json, Out, command, handed_over
from validation.options import duration, wrong

if TYPE_CHECKING:
    import eventsolve as es
    from eventsolve.io import records
    from validation.diagnosis import Diagnosis
    from validation.report.document import Section

Patience = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="For how long guesses at what is wrong are tried, where something is, on a usual machine: their cost is "
        "counted, so that the verdict is the same on any other. (default: 20s)",
    ),
]
PAIRS = 4
"""Pairs of orders in which causes are put on and off, at most."""
WANTED = 0.99
"""The cosine for which the cheapest setting is looked for."""


def usual_time(patience: str | None) -> float:
    """Return a patience in seconds of a usual machine, the default if none is given."""
    from validation.diagnosis.verdict import PATIENCE

    return PATIENCE if patience is None else duration("patience", patience)


def diagnose(
    record: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A record: .json, .npz, .h5 or .hdf5.")
    ],
    network: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A record or NIR graph with the network of this one."),
    ] = None,
    patience: Patience = None,
    out: Out = Path("diagnosis-report"),
    json: Json = False,
) -> None:
    """Say what is wrong with what an implementation recorded, if something is, and write all about it into one report.

    First the verdict, as 'check' gives it. Where the time step explains every difference, it is attributed to what the
    implementation approximates, and the cheapest step is named whose gradients are good; where nothing explains the
    record, it is localised step by step. Exits as 'check' does.
    """
    from eventsolve.io import records
    from eventsolve.solve import StoppedError
    from validation import check, report
    from validation.report.document import Points, Words

    try:
        without = {"network": network, "patience": patience}
        with handed_over("diagnose", record, without=without, out=out, name="diagnosis", json=json):
            given = records.read(record)
        net = check.network_of(given, network)
        run = check.check(given, net, patience=usual_time(patience))
    except (ValueError, StoppedError, OSError, ImportError) as error:
        raise wrong(error, "'RECORD'") from None
    verdict = run.diagnosis
    origin = report.provenance({"record": str(record)}, command())
    sections: list[Section] = []
    if verdict is not None:
        if verdict.accepted:
            run = replace(run, next_command=verdict.following.replace("RECORD", str(record)))
        if verdict.settings:
            sections = list(_more(given, given.problem(net), verdict, origin))
    document = report.document_of([run], origin)
    *of_run, last = document.sections
    said = [b.text for s in sections[:1] + sections[-1:] for b in s.blocks if isinstance(b, Words)]
    if said:
        told, head = Points(tuple(dict.fromkeys(said))), document.headline
        at = len(head) - bool(run.next_command)  # which comes last
        document = replace(document, headline=(*head[:at], told, *head[at:]))
    report.publish(replace(document, sections=(*of_run, *sections, last)), out, "diagnosis", json=json)
    if not run.accepted:
        raise typer.Exit(exits.DIFFERS)


def _more(
    record: records.Record, problem: es.Problem, verdict: Diagnosis, origin: dict[str, Any]
) -> Sequence[Section]:
    """Return the sections of a report that the twin of a record gives."""
    from validation import registry
    from validation.report.document import Section, Words
    from validation.target import missing

    twin: Any = registry.target(verdict.target, **registry.settings(list(verdict.settings)))
    if not verdict.accepted:
        if verdict.verdict != "unexplained":
            return []  # what has a name needs no place to be looked at
        try:
            departure = twin.localised(problem, record)
        except ValueError as error:  # a record without traces of every step has no place to be found
            return [Section("Where it departs first", (Words(f"Not localised: {error}", "quiet"),))]
        said = "Every step is as it should be." if departure is None else str(departure)
        return [Section("Where it departs first", (Words(said),))]
    if problem.loss is None:
        return []
    found: list[Section] = []
    for tool, title, sections in (
        ("attribute", "What makes the error", partial(_causes, problem, twin, verdict, origin)),
        ("recommend", "Which step would do", partial(_cheapest, problem, twin)),
    ):
        if missing(twin, tool):
            continue
        try:
            found += sections()
        except ValueError as error:  # the twin, made finer or with an approximation less, refuses the problem
            found.append(Section(title, (Words(f"Not found out: {error}", "quiet"),)))
    return found


def _causes(problem: es.Problem, twin: Any, verdict: Diagnosis, origin: dict[str, Any]) -> Sequence[Section]:
    from validation.attribution import report
    from validation.attribution.ablation import Ablation
    from validation.attribution.causes import attribute
    from validation.attribution.changes import changed
    from validation.report.document import Section

    ablation = Ablation(problem, twin)
    found = None
    for found in attribute(ablation, max_pairs=PAIRS):  # noqa: B007
        pass
    assert found is not None
    document = report.document_of(found, changed(ablation), verdict.twin, origin, complete=True)
    *of_causes, _ = document.sections
    return [Section("What makes the error", tuple(document.headline)), *of_causes]


def _cheapest(problem: es.Problem, twin: Any) -> Sequence[Section]:
    from validation.attribution.recommendation import Candidate, Setting, candidates, recommended
    from validation.report.document import Section, Words

    half = problem.n_samples // 2
    if half == 0:
        return []
    chosen, others = problem.select(range(half)), problem.select(range(half, problem.n_samples))
    steps = [replace(twin, time_step=twin.time_step / k) for k in (1, 2, 5, 10)]
    settings = [Setting(rank, target.name, target) for rank, target in enumerate(steps)]
    found = [one for one in candidates(chosen, settings) if isinstance(one, Candidate)]
    best = recommended(found, WANTED, others)
    said = (
        f"No step down to {steps[-1].time_step * 1e3:g} ms gives a cosine of {WANTED:g} on both halves of the batch."
        if best is None
        else f"The cheapest step with a cosine of {WANTED:g} on both halves of the batch: {best.candidate.setting}, "
        f"{best.candidate.cosine:.4f} on one and {best.checked:.4f} on the other."
    )
    return [Section("Which step would do", (Words(said),))]
