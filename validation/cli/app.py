"""The command line with all its commands, in the order in which help lists them."""

from __future__ import annotations

import inspect
import shlex
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from validation import exits
from validation.cli import train
from validation.cli.attribute import attribute
from validation.cli.calibrate import calibrate
from validation.cli.compare import compare
from validation.cli.converge import converge
from validation.cli.diagnose import Patience, diagnose, usual_time
from validation.cli.listing import targets, tasks
from validation.cli.localise import localise
from validation.cli.recommend import recommend
from validation.cli.running import Json, Junit, ReportFolder, handed_over
from validation.cli.template import template
from validation.options import InFolder, duration, finite, wrong

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


def at_terminal() -> bool:
    """Say whether somebody may be reading what goes to standard error as it is written."""
    return sys.stderr.isatty()


def _say_that_kernels_are_compiled(command: str | None) -> None:
    """Say at a terminal why the first command takes so long, if it is one that computes."""
    if command in (None, "targets", "tasks", "template") or "--help" in sys.argv or not at_terminal():
        return
    from eventsolve.kernel_cache import folder

    kept = folder("eventsolve.kernels")
    if kept is None or not kept.is_dir():
        typer.echo("compiling kernels: this happens once, and takes about a minute", err=True)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _say_that_kernels_are_compiled(context.invoked_subcommand)


app.command()(targets)
app.command()(tasks)
app.command(cls=InFolder)(compare)
app.command()(template)
app.command(cls=InFolder)(attribute)
app.command(cls=InFolder)(converge)
app.command()(recommend)
app.command(cls=InFolder)(diagnose)
app.command()(localise)
app.command(cls=InFolder)(calibrate)
app.add_typer(train.app, name="train")


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
    out: ReportFolder = Path("validation-report"),
    junit: Junit = None,
    json: Json = False,
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
    patience: Patience = None,
) -> None:
    """Compare what an implementation recorded with the exact solution.

    The verdict comes first: what explains the difference, if something does. Exits with 1 unless the record agrees or
    its time step explains every difference; where a window or a tolerance is given, if a spike or an error is not
    within it; with 2 on a bad option, a file that is no record, or a report that can't be written.
    """
    width = None if window is None else duration("window", window)
    step = None if nir_step is None else duration("nir-step", nir_step)

    from eventsolve.files import write_text
    from eventsolve.io import records
    from eventsolve.solve import StoppedError
    from validation import check as checking
    from validation import report
    from validation.junit import to_junit
    from validation.terminal import console

    try:
        most = max_bytes or records.MAX_BYTES
        without = {
            **{"network": network, "nir-step": nir_step, "window": window, "tolerance": tolerance},
            **{"max-spikes": max_spikes, "patience": patience},
        }
        with handed_over("check", record, without=without, out=out, json=json, junit=junit):
            given = records.read(record, max_bytes=most)
        net = checking.network_of(given, network, nir_step=step, max_bytes=most)
        run = checking.check(
            given,
            net,
            window=width,
            tolerance=tolerance,
            max_spikes=max_spikes,
            patience=usual_time(patience),
        )
    except (ValueError, StoppedError, OSError, ImportError) as error:
        raise wrong(error, "'RECORD'") from None
    if run.diagnosis is not None:
        run = replace(run, next_command=run.diagnosis.following.replace("RECORD", str(record)))
    origin = report.provenance(
        {"record": str(record)} | ({} if network is None else {"network": str(network)}),
        command=shlex.join(["eventsolve-validate", *sys.argv[1:]]),
    )
    report.publish(report.document_of([run], origin), out, json=json)
    if junit is not None:
        write_text(junit, to_junit(run))
    if not run.accepted:
        parted = [stage.label for stage in run.comparison.stages if not stage.agrees]
        console(stderr=True).print(
            f"does not agree: {', '.join(parted)}" if parted else "does not agree", style="bold red"
        )
        raise typer.Exit(exits.DIFFERS)


def _add_commands_of_packages() -> None:
    """Add the commands that packages bring along, from the entry points ``eventsolve.commands``.

    An entry is a function as typer takes it, which keeps its folder from other runs if it has one to write into, or a
    ``typer.Typer`` with commands of its own. One that is called ``train.NAME`` is the command ``train NAME``.
    """
    for entry in sorted(entry_points(group="eventsolve.commands"), key=lambda entry: entry.name):
        try:
            command = entry.load()
        except ImportError as error:
            typer.echo(f"warning: the command {entry.name} cannot be loaded: {error}", err=True)
            continue
        group, _, name = entry.name.rpartition(".")
        home = train.app if group == "train" else app
        if isinstance(command, typer.Typer):
            home.add_typer(command, name=name)
            continue
        writes = {"out", "runs"} & set(inspect.signature(command).parameters)
        home.command(name, cls=InFolder if writes else None)(command)


_add_commands_of_packages()
