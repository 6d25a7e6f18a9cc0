"""What commands share that run for a while: where they print, how they go on, and what they leave."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation.options import file, folder, wrong

if TYPE_CHECKING:
    from rich.console import Console

SEED = 42
"""Of all that a task and a command draw, unless it is given."""
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
Out = Annotated[Path, typer.Option(file_okay=False, callback=folder, help="Folder for HTML and JSON.")]
ReportFolder = Annotated[
    Path, typer.Option(file_okay=False, callback=folder, help="Folder for report.html and report.json.")
]
Junit = Annotated[Path | None, typer.Option(dir_okay=False, callback=file, help="File for JUnit XML.")]
Json = Annotated[bool, typer.Option("--json", help="Print the JSON report to standard output.")]


def command() -> str:
    """Return the command line, to be repeated."""
    return shlex.join(["eventsolve-validate", *sys.argv[1:]])


def again(
    tool: str, task: str, target: str, options: Sequence[str] | None, samples: int | None, seed: int
) -> str:
    """Return the command line of another tool on the same samples of a task, and the same target."""
    given = [part for option in options or [] for part in ("--set", option)]
    given += [] if samples is None else ["--samples", str(samples)]
    given += [] if seed == SEED else ["--seed", str(seed)]
    return shlex.join(["eventsolve-validate", tool, task, "--target", target, *given])


@contextmanager
def handed_over(
    tool: str,
    source: object,
    options: Sequence[str] | None = None,
    *,
    without: Mapping[str, object],
    **faces: Any,
) -> Iterator[None]:
    """Let a record of another format, which is read in this context, answer the command.

    ``without`` are options that such a record has no use for, which is said where one is given; ``faces`` are those of
    ``tell``.
    """
    from eventsolve.io.records import OtherRecord

    try:
        yield
    except OtherRecord as other:
        from validation.kinds import tell
        from validation.report import provenance

        for name, value in without.items():
            if value is not None and value != "":
                raise typer.BadParameter(
                    f"a record of the format {other.format!r} judges itself and has no use for it",
                    param_hint=f"'--{name}'",
                ) from None
        origin = provenance({"set": list(options or [])}, command())
        raise tell(tool, other, str(source), origin, options, **faces) from None


def consoles() -> tuple[Console, Console]:
    """Return where progress and errors go, and where tables go."""
    from validation.terminal import console

    return console(stderr=True), console()


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the model refuses, here or in another process, into a bad option."""
    from eventsolve.jobs import LostJobsError

    try:
        yield
    except LostJobsError as error:
        if not isinstance(error.__cause__, ValueError):
            raise
        raise wrong(error) from None
    except ValueError as error:
        raise wrong(error) from None


@contextmanager
def pool(workers: int) -> Iterator[Executor | None]:
    """Yield so many processes, None for this one."""
    if workers == 1:
        yield None
        return
    with ProcessPoolExecutor(workers) as workers_of:
        yield workers_of


@contextmanager
def progress(console: Console, unit: str, total: int | None) -> Iterator[Any]:
    """Show a bar, and yield what moves it on by one."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(unit, total=total)
        yield lambda: progress.advance(bar)
