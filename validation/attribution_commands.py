"""The commands ``attribute``, ``converge`` and ``recommend``, on Yin-Yang, and ``localise``, of a record."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation import exits
from validation.options import duration, folder, wrong

if TYPE_CHECKING:
    from rich.console import Console

    from validation.attribution.causes import Attribution
    from validation.attribution.convergence import Errors
    from validation.attribution.recommendation import Batch, Candidate

Setup = Annotated[str, typer.Option(metavar="NETWORK", help="5-120-3 (27-step code) or 5-200-3.")]
Samples = Annotated[int, typer.Option(min=2, help="Points of the Yin-Yang data set.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of points, weights and orders.")]
Decay = Annotated[str, typer.Option(help="Decay factors: euler or exponential.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
Out = Annotated[Path, typer.Option(file_okay=False, callback=folder, help="Folder for HTML and JSON.")]
Json = Annotated[bool, typer.Option("--json", help="Print the JSON report to standard output.")]


def attribute(
    setup: Setup = "5-120-3",
    samples: Samples = 16,
    seed: Seed = 42,
    dt: Annotated[str, typer.Option(metavar="DURATION", help="Time step.")] = "1ms",
    arithmetic: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="float32, float64 or a format such as s16.15.")
    ] = "s16.15",
    decay: Decay = "euler",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SWITCH",
            help="A switch that is on throughout; may be repeated. With step_delay, the exact network has that delay "
            "too. (default: step_delay)",
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="SWITCH,SWITCH,...", help="Of the sequence. (default: as listed)")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Standard error of a Shapley value at which to stop, in parts of the error.")
    ] = 0.05,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of orders at most.")] = 32,
    workers: Workers = 1,
    out: Out = Path("attribution-report"),
    json: Json = False,
) -> None:
    """Say what each of the chip's approximations contributes to the error of spike times, dL/dt and gradients.

    Exits with 2 on a bad option and with 130 if interrupted; the report then holds what was finished.
    """
    from validation.attribution import report
    from validation.attribution.causes import attribute as attributions
    from validation.attribution.changes import changed
    from validation.attribution.study import Study
    from validation.report import provenance
    from validation.spinnaker2 import SpiNNaker2Core

    errors, tables = _consoles(json)
    task = _batch(setup, samples, seed)
    found: Attribution | None = None
    complete = True
    with _refusals():
        core = SpiNNaker2Core(duration("dt", dt), arithmetic, decay=decay, traces=False)  # type: ignore[arg-type]
        study = Study(task.network, task.inputs, task.t_end, task.loss, core, tuple(keep or ["step_delay"]))
        changes = changed(study)
        with _pool(workers) as executor, _progress(errors, "runs", None) as advance:
            try:
                for found in attributions(  # noqa: B007
                    study,
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
    title = f"{setup}, {core.name}"
    for quantity in report.headline(found):
        tables.print(report.table(found, quantity))
    tables.print(report.summary(found, changes), soft_wrap=True)
    origin = provenance({"samples": samples, "seed": seed, "setup": setup}, _command())
    content = report.document(found, changes, title, origin, complete=complete)
    html = report.to_html(found, changes, title, origin, complete=complete)
    _finish(out, "attribution", content, html, json, errors)
    if not complete:
        raise typer.Exit(130)


def converge(
    setup: Setup = "5-200-3",
    samples: Samples = 8,
    seed: Seed = 42,
    dt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DURATION", help="Time step; may be repeated. (default: 2ms to 1us, 11 of them)"
        ),
    ] = None,
    bits: Annotated[
        list[int] | None,
        typer.Option(min=0, max=40, help="Fraction bits; may be repeated. (default: 4, 8, ... 40)"),
    ] = None,
    decay: Decay = "euler",
    workers: Workers = 1,
    out: Out = Path("convergence-report"),
    json: Json = False,
) -> None:
    """Show errors over time steps and fraction bits: their order, and the time step below which bits dominate.

    float64 is always among the formats. Exits as attribute does.
    """
    from validation.attribution import report
    from validation.attribution.convergence import Task
    from validation.attribution.convergence import converge as converged
    from validation.report import provenance
    from validation.spinnaker2 import SpiNNaker2Core

    errors, tables = _consoles(json)
    task = _batch(setup, samples, seed)
    default = ["2ms", "1ms", "500us", "200us", "100us", "50us", "20us", "10us", "5us", "2us", "1us"]
    steps = [duration("dt", text) for text in dict.fromkeys(dt or default)]
    numbers: list[int | None] = [None, *dict.fromkeys(bits if bits is not None else range(4, 41, 4))]
    found: list[Errors] = []
    complete = True
    with _refusals():
        core = SpiNNaker2Core(1e-3, "s16.15", decay=decay, traces=False)  # type: ignore[arg-type]
        work = Task(task.network, task.inputs, task.t_end, task.loss, core)
        total = len(steps) * len(numbers)
        with _pool(workers) as executor, _progress(errors, "runs", total) as advance:
            try:
                for one in converged(work, steps, numbers, executor):
                    found.append(one)
                    advance()
            except KeyboardInterrupt:
                complete = False
    found.sort(key=lambda e: (e.resolution.bits is not None, e.resolution.bits or 0, -e.resolution.time_step))
    tables.print(report.convergence_table(found))
    for line in report.convergence_summary(found):
        tables.print(line, soft_wrap=True)
    origin = provenance({"samples": samples, "seed": seed, "setup": setup}, _command())
    title = f"{setup}, {decay}"
    content = report.convergence_document(found, title, origin, complete=complete)
    html = report.convergence_html(found, title, origin, complete=complete)
    _finish(out, "convergence", content, html, json, errors)
    if not complete:
        raise typer.Exit(130)


def recommend(
    cosine: Annotated[
        float, typer.Argument(min=-1, max=1, help="The least gradient cosine, of every layer.")
    ],
    setup: Setup = "5-120-3",
    samples: Samples = 32,
    seed: Seed = 42,
    dt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DURATION", help="Time step; may be repeated. (default: 1ms to 10us, 7 of them)"
        ),
    ] = None,
    arithmetic: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="May be repeated. (default: s8.7, s8.11, s16.15, s12.19, float32)",
        ),
    ] = None,
    rounding: Annotated[
        list[str] | None,
        typer.Option(help="Of fixed point; may be repeated. (default: down, half_up, stochastic)"),
    ] = None,
    workers: Workers = 1,
) -> None:
    """Recommend the cheapest time step, format and rounding that gives a gradient cosine, checked on other samples.

    Exits with 1 if none does.
    """
    import itertools

    from rich import box
    from rich.table import Table

    from validation.attribution.recommendation import Setting, candidates, frontier, ranked, recommended
    from validation.report import number
    from validation.spinnaker2 import SpiNNaker2Core

    errors, tables = _consoles(json=False)
    steps = [duration("dt", t) for t in dt or ["1ms", "500us", "200us", "100us", "50us", "20us", "10us"]]
    numbers = arithmetic or ["s8.7", "s8.11", "s16.15", "s12.19", "float32"]
    roundings = rounding or ["down", "half_up", "stochastic"]
    settings = [
        Setting(step, name, mode)
        for step, name in itertools.product(steps, numbers)
        for mode in ([""] if name.startswith("float") else roundings)
    ]
    found: list[Candidate] = []
    with _refusals():
        core = SpiNNaker2Core(1e-3, "s16.15", traces=False)
        with _pool(workers) as executor, _progress(errors, "settings", len(settings)) as advance:
            try:
                for candidate in candidates(_batch(setup, samples, seed), settings, core, executor):
                    found.append(candidate)
                    advance()
            except KeyboardInterrupt:
                errors.print(f"interrupted: {len(found)} of {len(settings)} settings were tried")
                raise typer.Exit(130) from None
        best = recommended(found, cosine, _batch(setup, samples, seed, shift=1), core)
    title = "settings that are better than all cheaper ones; costs per sample"
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for heading in ("setting", "cosine", "multiply-accumulates", "packet bytes", "bytes"):
        shown.add_column(heading, justify="left" if heading == "setting" else "right")
    rows = {*frontier(found), *([best.candidate] if best is not None else [])}
    for c in ranked(list(rows)):
        mark = "[bold]" if best is not None and c == best.candidate else ""
        cells = (f"{c.cosine:.4f}", number(c.macs), number(c.packet_bytes), number(c.bytes))
        shown.add_row(f"{mark}{c.setting}", *(f"{mark}{cell}" for cell in cells))
    tables.print(shown)
    if best is None:
        errors.print(f"no setting gives a cosine of {cosine:g} on both batches")
        raise typer.Exit(exits.DIFFERS)
    tables.print(
        f"{best.candidate.setting}: cosine {best.candidate.cosine:.4f}, on other samples {best.checked:.4f}",
    )


def localise(
    record: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="A record of a chip, with traces: .json, .npz, .h5 or .hdf5."
        ),
    ],
    network: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A record or NIR graph with the network of this one."),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="One with the weights of the batch before, which may be stale."
        ),
    ] = None,
    arithmetic: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="float32, float64 or a format such as s16.15.")
    ] = "s16.15",
    decay: Decay = "euler",
    rtol: Annotated[
        float, typer.Option(min=0, help="How far numbers may be off, relative to the largest of their kind.")
    ] = 0.0,
) -> None:
    """Name the program of a chip that departs from its model first, the layer and the quantity, and a likely cause.

    The record needs a time step, and traces of every layer at every step; for the way back also the loss, and dL/dt and
    dL/dw of every sample. Exits with 1 if something is off, with 2 on a bad option or a record that is not enough.
    """
    from eventsolve.io import records
    from eventsolve.solve import StoppedError
    from validation import check
    from validation.attribution.localisation import localised
    from validation.spinnaker2 import SpiNNaker2Core

    _, tables = _consoles(json=False)
    try:
        given = records.read(record)
        if given.time_step is None or given.loss is None or given.t_end is None:
            raise ValueError(
                "the record needs a time step and a loss, which the chip's programs know, and t_end"
            )
        net = check.network_of(given, network)
        old = None if before is None else check.network_of(records.read(before), None)
        core = SpiNNaker2Core(given.time_step, arithmetic, decay=decay)  # type: ignore[arg-type]
        found = localised(
            core,
            net,
            given.inputs,
            given.t_end,
            given.loss,
            given,
            previous=old,
            rtol=rtol,
        )
    except (ValueError, StoppedError, OSError, ImportError) as error:
        raise wrong(error, "'RECORD'") from None
    if found is None:
        tables.print(f"{given.name} does what {core.name} does")
        return
    tables.print(str(found), soft_wrap=True)
    raise typer.Exit(exits.DIFFERS)


# -- what they share


def _batch(setup: str, samples: int, seed: int, shift: int = 0) -> Batch:
    """Return a Yin-Yang task; with ``shift`` other points for the same weights."""
    import eventsolve as es
    from eventsolve.io import datasets
    from validation.attribution.recommendation import Batch
    from validation.tasks.yin_yang import SETUPS, encoded, network

    if setup not in SETUPS:
        raise typer.BadParameter(f"{setup!r} is not one of {', '.join(SETUPS)}", param_hint="'--setup'")
    chosen = SETUPS[setup]
    data = datasets.yin_yang(samples, seed + shift)
    loss = es.losses.TTFSCrossEntropy(
        "out", data.labels, tau0=chosen.tau0, tau1=chosen.tau1, alpha=chosen.alpha, silent=chosen.silent
    )
    return Batch(network(chosen, seed), {"in": encoded(chosen, data.points)}, chosen.t_end, loss)


def _command() -> str:
    return shlex.join(["eventsolve-validate", *sys.argv[1:]])


def _consoles(json: bool) -> tuple[Console, Console]:
    """Return where progress and errors go, and where tables go."""
    from validation.terminal import console

    return console(stderr=True), console(stderr=json)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the model refuses, here or in another process, into a bad option."""
    from validation.jobs import LostJobsError

    try:
        yield
    except LostJobsError as error:
        if not isinstance(error.__cause__, ValueError):
            raise
        raise wrong(error) from None
    except ValueError as error:
        raise wrong(error) from None


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    if workers == 1:
        yield None
        return
    with ProcessPoolExecutor(workers) as pool:
        yield pool


@contextmanager
def _progress(console: Console, unit: str, total: int | None) -> Iterator[Any]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(unit, total=total)
        yield lambda: progress.advance(bar)


def _finish(out: Path, name: str, content: dict[str, Any], html: str, json: bool, console: Console) -> None:
    """Write the report and say where it is."""
    from validation.attribution import report

    page, data = report.write(out, name, content, html)
    console.print(f"report: {page}\n        {data}", soft_wrap=True)
    if json:
        typer.echo(report.to_json(content), nl=False)
