"""The command line's ``train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from validation.training.campaign import Job
    from validation.training.engines import Engine
    from validation.training.trainer import State

ENGINES = ("exact", "float32", "spinnaker2")

app = typer.Typer(no_args_is_help=True, help="Train on the exact engine, the chip model, or its float twin.")


@app.callback()
def _commands() -> None:
    """Keep each a command of its own."""


@app.command()
def yinyang(
    engine: Annotated[str, typer.Option(metavar="ENGINE", help=f"One of {', '.join(ENGINES)}.")] = "exact",
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A recipe of `train recipes`. (default: the engine's own)"),
    ] = None,
    arithmetic: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Of the chip model: s16.15, float32, float64.")
    ] = "s16.15",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of initial weights and batches.")] = 42,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Samples per batch, instead of the recipe's.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    train_samples: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    test_samples: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Checkpoint of any engine from whose weights to start."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="(default: one per usable core)")] = None,
    out: Annotated[
        Path,
        typer.Option(
            file_okay=False, writable=True, help="Folder for checkpoint.npz, training.html and .json."
        ),
    ] = Path("training"),
) -> None:
    """Train on Yin-Yang, with a checkpoint after every epoch.

    Exits with 1 if the training diverges, with 2 on a bad option, and with 130 if interrupted; the checkpoint then
    holds the last whole epoch, and --resume goes on from it to the bits that an uninterrupted training has.
    """
    if engine not in ENGINES:
        raise typer.BadParameter(f"{engine!r} is not one of {', '.join(ENGINES)}", param_hint="'--engine'")

    from rich.console import Console

    from validation.training import campaign
    from validation.training.checkpoint import CheckpointError
    from validation.training.choices import choose_recipe
    from validation.training.trainer import DivergedError

    changes = {
        "epochs": epochs,
        "batch_size": batch,
        "learning_rate": learning_rate,
        "n_train": train_samples,
        "n_test": test_samples,
    }
    try:
        chosen = choose_recipe(engine, recipe, {k: v for k, v in changes.items() if v is not None})
        job = campaign.Job(engine, chosen, seed, out, arithmetic=arithmetic, weights=weights, threads=threads)
        machine = job.build()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    errors = Console(stderr=True)
    if job.checkpoint.exists() and not resume:
        raise typer.BadParameter(
            f"{job.checkpoint} exists; --resume goes on from it, another --out begins anew",
            param_hint="'--out'",
        )
    if resume and not job.checkpoint.exists():
        raise typer.BadParameter(f"there is no {job.checkpoint} to go on from", param_hint="'--resume'")
    try:
        state, complete = _trained(job, machine, campaign.start(job, machine), errors)
    except CheckpointError as error:
        raise typer.BadParameter(str(error)) from None
    except DivergedError as error:
        errors.print(
            f"diverged: {error}; {job.checkpoint} holds the epochs before", style="bold red", highlight=False
        )
        raise typer.Exit(1) from None
    _report(job, machine, state, errors, complete=complete)
    if not complete:
        errors.print(f"interrupted: {state.epoch} of {chosen.epochs} epochs were finished; --resume goes on")
        raise typer.Exit(130)


def _trained(job: Job, engine: Engine, state: State, console: Console) -> tuple[State, bool]:
    """Train with a progress bar; return the last whole epoch's state and whether that is the end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from validation.training import campaign

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(_words(state), total=job.recipe.epochs, completed=state.epoch)
        try:
            rest = campaign.states(
                job, engine, state, lambda epochs, loss: bar.update(task, completed=epochs)
            )
            for state in rest:
                bar.update(task, completed=state.epoch, description=_words(state))
        except KeyboardInterrupt:
            return state, False
    return state, True


def _words(state: State) -> str:
    if not state.history:
        return "test accuracy -"
    return f"test accuracy {100 * state.history[-1].test_accuracy:.2f} %"


def _report(job: Job, engine: Engine, state: State, console: Console, *, complete: bool) -> None:
    from validation.report import provenance
    from validation.training import report
    from validation.training.trainer import seconds_of

    recipe, seed = job.recipe, job.seed
    origin = provenance(
        {"engine": engine.name, "recipe": recipe.name, "seed": seed},
        command=shlex.join(["eventsolve-validate", *sys.argv[1:]]),
    )
    if state.history:
        console.print(
            f"{recipe.setup.name}, {engine.name}, {recipe.name}, seed {seed}: {_words(state)} "
            f"after {state.epoch} epochs in {seconds_of(state.history):.0f} s",
            highlight=False,
            soft_wrap=True,
        )
    job.folder.mkdir(parents=True, exist_ok=True)
    html, data = report.write(job.folder, state, recipe, engine, seed, origin, complete=complete)
    console.print(f"report: {html}\n        {data}", highlight=False, soft_wrap=True)
