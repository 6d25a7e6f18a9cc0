"""The command line: ``eventsolve-validate``, or ``python -m validation``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from validation import attribution_commands as attribution
from validation import exits
from validation.chip_command import chip
from validation.options import InFolder, duration, file, finite, folder, wrong
from validation.training import commands as training

if TYPE_CHECKING:
    from rich.console import Console

    from validation.report import Run
    from validation.yinyang import Job

SETUPS = ("5-200-3", "5-120-3")
FORMATS = ("s16.15", "float32", "float64")

app = typer.Typer(
    name="eventsolve-validate",
    cls=exits.Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Put the spikes and gradients of an implementation under test beside the exact ones.",
    epilog=exits.STATUS,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from eventsolve import __version__

        typer.echo(f"eventsolve {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


app.command()(chip)
app.command(cls=InFolder)(attribution.attribute)
app.command(cls=InFolder)(attribution.converge)
app.command()(attribution.recommend)
app.command()(attribution.localise)
app.add_typer(training.app, name="train")


def _chosen(
    option: str, given: list[str] | None, default: tuple[str, ...], known: tuple[str, ...]
) -> list[str]:
    chosen = list(dict.fromkeys(given or default))
    for name in chosen:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}", param_hint=f"'--{option}'")
    return chosen


@app.command(cls=InFolder)
def check(
    record: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A record: .json, .npz, .h5 or .hdf5.")
    ],
    network: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A record or NIR graph with the network of this one.",
        ),
    ] = None,
    nir_step: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="The step of the clock on which a NIR graph was written: its spikes then have height 1 for one step. "
            "(default: they are Dirac pulses)",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Spikes further apart are not paired. (default: 1.5 time steps and one per layer; "
            "in continuous time 1.5e-8 of the duration)",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="Relative error that loss and gradients may have, whatever explains it. (default: none is set)",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(file_okay=False, callback=folder, help="Folder for report.html and report.json.")
    ] = Path("validation-report"),
    junit: Annotated[
        Path | None, typer.Option(dir_okay=False, callback=file, help="File for JUnit XML.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the JSON report to standard output.")] = False,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            min=1, help="What reading a file may take, with all it declares to hold. (default: 1 GiB)"
        ),
    ] = None,
    max_spikes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Spikes that a sample of the exact solution may have. (default: ten times as many as are recorded, "
            "and at least a million over all samples)",
        ),
    ] = None,
) -> None:
    """Compare what an implementation recorded with the exact solution.

    The verdict comes first: what explains the difference, if something does. Exits with 1 unless the record agrees or
    its time step explains every difference; where a window or a tolerance is given, if a spike or an error is not
    within it; with 2 on a bad option, a file that is no record, or a report that can't be written.
    """
    width = None if window is None else duration("window", window)
    step = None if nir_step is None else duration("nir-step", nir_step)

    from rich.text import Text

    from eventsolve.checks import printable
    from eventsolve.files import write_text
    from eventsolve.io import records
    from eventsolve.solve import StoppedError
    from validation import check as checking
    from validation import report
    from validation.junit import to_junit
    from validation.terminal import console

    try:
        most = max_bytes or records.MAX_BYTES
        given = records.read(record, max_bytes=most)
        net = checking.network_of(given, network, nir_step=step, max_bytes=most)
        run = checking.check(given, net, window=width, tolerance=tolerance, max_spikes=max_spikes)
    except (ValueError, StoppedError, OSError, ImportError) as error:
        raise wrong(error, "'RECORD'") from None
    origin = report.provenance(
        {"record": str(record)} | ({} if network is None else {"network": str(network)}),
        command=shlex.join(["eventsolve-validate", *sys.argv[1:]]),
    )
    errors, tables = console(stderr=True), console(stderr=json)
    if run.diagnosis is not None:
        style = "bold green" if run.diagnosis.accepted else "bold red"
        tables.print(Text(printable(run.diagnosis.sentence), style=style), soft_wrap=True)
        if run.diagnosis.costs:
            tables.print(Text(printable(run.diagnosis.costs)), soft_wrap=True)
    tables.print(report.table([run]))
    for finding in run.findings.values():
        tables.print(finding, soft_wrap=True)
    html, data = report.write([run], origin, out)
    errors.print(f"report: {html}\n        {data}", soft_wrap=True)
    if junit is not None:
        write_text(junit, to_junit(run))
    if json:
        typer.echo(report.to_json([run], origin), nl=False)
    if not run.accepted:
        parted = [stage.label for stage in run.comparison.stages if not stage.agrees]
        errors.print(f"does not agree: {', '.join(parted)}" if parted else "does not agree", style="bold red")
        raise typer.Exit(exits.DIFFERS)


@app.command(cls=InFolder)
def yinyang(
    samples: Annotated[int, typer.Option(min=1, help="Points of the Yin-Yang data set.")] = 32,
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
    out: Annotated[
        Path, typer.Option(file_okay=False, callback=folder, help="Folder for report.html and report.json.")
    ] = Path("validation-report"),
    json: Annotated[bool, typer.Option("--json", help="Print the JSON report to standard output.")] = False,
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
    from validation.terminal import console
    from validation.yinyang import Job

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
    tables = console(stderr=json)
    tables.print(report.table(runs))
    for run in runs:
        if run.order is not None and run.order.unexplained.any():
            tables.print(f"{run.title}: {run.order}", soft_wrap=True)
    html, data = report.write(runs, origin, out, complete=complete)
    errors.print(f"report: {html}\n        {data}", soft_wrap=True)
    if json:
        typer.echo(report.to_json(runs, origin, complete=complete), nl=False)
    if not complete:
        errors.print(f"interrupted: {len(runs)} of {len(jobs)} runs were finished")
        raise typer.Exit(130)
    if _print_broken(runs, max_error, min_cosine, errors):
        raise typer.Exit(exits.DIFFERS)


def _finished(jobs: list[Job], console: Console) -> tuple[list[Run], bool]:
    """Work through the jobs with a progress bar; return the finished runs and whether these are all."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from validation.yinyang import campaign

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
    from validation.compare import broken_limits

    sentences = [
        f"{run.title}: {text}"
        for run in runs
        for text in broken_limits(run.comparison, max_error, min_cosine)
    ]
    for sentence in sentences:
        console.print(f"limit broken: {sentence}", style="bold red", soft_wrap=True)
    return bool(sentences)


def main() -> None:
    """Run the command line."""
    app(prog_name="eventsolve-validate")


if __name__ == "__main__":
    main()
