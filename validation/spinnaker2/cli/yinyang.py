"""The command ``yinyang``: the core beside the oracle on Yin-Yang, over time steps and number formats."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from validation import exits
from validation.cli.running import Json, ReportFolder
from validation.options import MOST_SAMPLES, duration, finite

if TYPE_CHECKING:
    from rich.console import Console

    from validation.report import Run
    from validation.spinnaker2.yinyang import Job

SETUPS = ("5-200-3", "5-120-3")
FORMATS = ("s16.15", "float32", "float64")


def yinyang(
    samples: Annotated[
        int, typer.Option(min=1, max=MOST_SAMPLES, help="Points of the Yin-Yang data set.")
    ] = 32,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of points and initial weights.")] = 42,
    dt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DURATION",
            help="Time step, e.g. 1ms or 1e-4 (seconds); may be repeated. (default: 1ms and 0.1ms)",
        ),
    ] = None,
    arithmetic: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"Arithmetic: {', '.join(FORMATS)}; may be repeated. (default: s16.15 and float32)",
        ),
    ] = None,
    setup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="5-200-3 (continuous encoding) or 5-120-3 (27-step code); may be repeated. (default: both)",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Spikes further apart are not paired. (default: 3.5 time steps, but at least 1ms)",
        ),
    ] = None,
    out: ReportFolder = Path("validation-report"),
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
    """Compare a SpiNNaker2 core with the exact solver on Yin-Yang, gradient by gradient.

    Exits with 1 if a limit is broken, with 2 on a bad option, and with 130 if interrupted; the report then
    holds the finished runs.
    """
    setups = _chosen("setup", setup, SETUPS, SETUPS)
    formats = _chosen("format", arithmetic, ("s16.15", "float32"), FORMATS)
    steps = list(dict.fromkeys(duration("dt", text) for text in dt or ["1ms", "0.1ms"]))
    width = None if window is None else duration("window", window)

    from validation import report
    from validation.spinnaker2.yinyang import Job
    from validation.terminal import console

    try:
        jobs = [Job(s, step, f, samples, seed, width) for s in setups for step in steps for f in formats]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--dt'") from None
    origin = report.provenance(
        {"samples": samples, "seed": seed, "dt": steps, "format": formats, "setup": setups}
        | ({} if width is None else {"window": width}),
        command=shlex.join(["eventsolve-validate", *sys.argv[1:]]),
    )
    errors = console(stderr=True)
    runs, complete = _finished(jobs, errors)
    report.publish(report.document_of(runs, origin, complete=complete), out, json=json)
    if not complete:
        errors.print(f"interrupted: {len(runs)} of {len(jobs)} runs were finished")
        raise typer.Exit(130)
    if _print_broken(runs, max_error, min_cosine, errors):
        raise typer.Exit(exits.DIFFERS)


def _finished(jobs: list[Job], console: Console) -> tuple[list[Run], bool]:
    """Work through the jobs with a progress bar; return the finished runs and whether these are all."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from validation.spinnaker2.yinyang import campaign

    runs: list[Run] = []
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(jobs[0].title, total=len(jobs))
        try:
            for run in campaign(jobs):
                runs.append(run)
                following = jobs[len(runs)].title if len(runs) < len(jobs) else ""
                progress.update(task, advance=1, description=following)
        except KeyboardInterrupt:
            return runs, False
    return runs, True


def _print_broken(
    runs: list[Run], max_error: float | None, min_cosine: float | None, console: Console
) -> bool:
    """Print every limit that is broken, with its run and layer; return whether there is one."""
    from eventsolve.compare.comparison import broken_limits

    sentences = [
        f"{run.title}: {text}"
        for run in runs
        for text in broken_limits(run.comparison, max_error, min_cosine)
    ]
    for sentence in sentences:
        console.print(f"limit broken: {sentence}", style="bold red", soft_wrap=True)
    return bool(sentences)


def _chosen(
    option: str, given: list[str] | None, default: tuple[str, ...], known: tuple[str, ...]
) -> list[str]:
    chosen = list(dict.fromkeys(given or default))
    for name in chosen:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=f"'--{option}'")
    return chosen
