"""The command ``attribute``: what each approximation of a target contributes to its error.

Its parameters are its options, which typer reads from them: there are as many as a user may choose.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation.cli.given import Options, Samples, Seed, Source, TargetName, given
from validation.cli.running import (
    SEED,
    Json,
    Out,
    Workers,
    again,
    command,
    handed_over,
    pool,
    progress,
    refusals,
)

if TYPE_CHECKING:
    from validation.attribution.causes import Attribution


def attribute(
    task: Source,
    target: TargetName = "",
    options: Options = None,
    samples: Samples = None,
    seed: Seed = SEED,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CAUSE",
            help="An approximation that is on throughout; may be repeated. Of steps of transport the exact network has "
            "the delay, too. (default: those steps)",
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="CAUSE,CAUSE,...", help="Of the sequence. (default: as listed)")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Standard error of a Shapley value at which to stop, in parts of the error.")
    ] = 0.05,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of orders at most.")] = 32,
    workers: Workers = 1,
    out: Out = Path("attribution-report"),
    json: Json = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Print every cause, also those below 1 % of the error.")
    ] = False,
) -> None:
    """Say what each approximation of a target contributes to the error of spike times, dL/dt and gradients.

    Exits with 2 on a bad option and with 130 if interrupted; the report then holds what was finished.
    """
    without = {"target": target, "samples": samples, "keep": keep, "order": order}
    with handed_over("attribute", task, options, without=without, out=out, name="attribution", json=json):
        found_given = given(
            task, target, options, tool="attribute", samples=samples, task_samples=16, seed=seed, others=True
        )

    from validation.attribution import report
    from validation.attribution.ablation import Ablation
    from validation.attribution.causes import attribute as attributions
    from validation.attribution.changes import changed
    from validation.report import provenance, publish
    from validation.terminal import console

    errors = console(stderr=True)
    found: Attribution | None = None
    complete = True
    with refusals():
        of: Any = found_given.target  # which is Ablatable, as was made sure
        ablation = (
            Ablation(found_given.problem, of)
            if keep is None
            else Ablation(found_given.problem, of, tuple(keep))
        )
        changes = changed(ablation)
        with pool(workers) as executor, progress(errors, "runs", None) as advance:
            try:
                for found in attributions(  # noqa: B007
                    ablation,
                    order=None if order is None else order.split(","),
                    seed=seed,
                    tolerance=tolerance,
                    max_pairs=pairs,
                    executor=executor,
                    ran=lambda _: advance(),
                ):
                    pass
            except KeyboardInterrupt:
                complete = False
        if found is None:
            errors.print("interrupted before anything was finished")
            raise typer.Exit(130)
    title = f"{found_given.title}, {found_given.target.name}"
    origin = provenance(
        {"task": task, "target": target, "set": list(options or []), "samples": samples, "seed": seed},
        command(),
    )
    following = again("converge", task, target, options, samples, seed) if hasattr(of, "at") else ""
    document = report.document_of(found, changes, title, origin, complete=complete, following=following)
    publish(document, out, "attribution", json=json, everything=everything)
    if not complete:
        raise typer.Exit(130)
