"""The command ``compare``: any target beside the oracle, on any task or record."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from validation import exits
from validation.cli.given import Options, Samples, Seed, Source, TargetName, given
from validation.cli.running import SEED, Json, Junit, ReportFolder, again, handed_over
from validation.options import duration, finite, wrong


def compare(
    task: Source,
    target: TargetName = "",
    options: Options = None,
    samples: Samples = None,
    seed: Seed = SEED,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Spikes further apart are not paired. (default: 1.5 time steps and one per layer)",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="Relative error within which loss and gradients agree. (default: what the time step allows)",
        ),
    ] = None,
    out: ReportFolder = Path("validation-report"),
    junit: Junit = None,
    json: Json = False,
    max_error: Annotated[
        float | None,
        typer.Option(
            min=0, callback=finite, help="Fail if any layer's relative gradient error exceeds this."
        ),
    ] = None,
    min_cosine: Annotated[
        float | None,
        typer.Option(
            min=-1, max=1, callback=finite, help="Fail if any layer's gradient cosine is below this."
        ),
    ] = None,
) -> None:
    """Compare a target with the exact solver on a task or a record, spike by spike and gradient by gradient.

    It measures: without limits it ends with 0, whatever the verdict that it prints. Exits with 1 if a limit is broken,
    and with 2 on a bad option, or what the target cannot run.
    """
    width = None if window is None else duration("window", window)
    limits = {"max-error": max_error, "min-cosine": min_cosine}
    without = {"target": target, "samples": samples, "window": window, "tolerance": tolerance, **limits}
    with handed_over("compare", task, options, without=without, out=out, json=json, junit=junit):
        found = given(task, target, options, tool="compare", samples=samples, seed=seed, others=True)

    from eventsolve.compare.comparison import broken_limits
    from eventsolve.files import write_text
    from validation import report
    from validation.junit import to_junit
    from validation.runs import compared
    from validation.terminal import console

    problem = found.problem
    settings: dict[str, report.Setting] = {
        "task": found.title,
        "target": found.target.name,
        "samples": problem.n_samples,
        "end": f"{problem.t_end * 1e3:g} ms",
    }
    if found.record is None:
        settings["seed"] = seed
    try:
        run = compared(
            problem,
            found.target,
            title=f"{found.title}; {found.target.name}",
            group=found.title,
            series=found.target.name,
            settings=settings,
            window=width,
            tolerance=tolerance,
            next_command=again("attribute", task, target, options, samples, seed)
            if hasattr(found.target, "causes")
            else "",
        )
    except (ValueError, ImportError) as error:
        raise wrong(error) from None
    origin = report.provenance(
        {"task": task, "target": target, "set": list(options or []), "samples": problem.n_samples},
        command=shlex.join(["eventsolve-validate", *sys.argv[1:]]),
    )
    report.publish(report.document_of([run], origin), out, json=json)
    if junit is not None:
        write_text(junit, to_junit(run))
    broken = broken_limits(run.comparison, max_error, min_cosine)
    for sentence in broken:
        console(stderr=True).print(f"limit broken: {sentence}", style="bold red", soft_wrap=True)
    if broken:
        raise typer.Exit(exits.DIFFERS)
