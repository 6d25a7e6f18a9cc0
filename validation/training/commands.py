"""The command line's ``train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from validation.training.engines import Engine
    from validation.training.recipes import Recipe
    from validation.training.trainer import State

ENGINES = ("exact", "float32", "spinnaker2")
CHECKPOINT = "checkpoint.npz"

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

    from validation.training.checkpoint import CheckpointError
    from validation.training.choices import build_engine, choose_recipe
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
        machine = build_engine(engine, chosen, arithmetic, threads)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    errors = Console(stderr=True)
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise typer.BadParameter(
            f"{checkpoint} exists; --resume goes on from it, another --out begins anew", param_hint="'--out'"
        )
    if resume and not checkpoint.exists():
        raise typer.BadParameter(f"there is no {checkpoint} to go on from", param_hint="'--resume'")
    out.mkdir(parents=True, exist_ok=True)
    try:
        state, complete = _trained(chosen, machine, seed, checkpoint, weights, errors)
    except CheckpointError as error:
        raise typer.BadParameter(str(error)) from None
    except DivergedError as error:
        errors.print(
            f"diverged: {error}; {checkpoint} holds the epochs before", style="bold red", highlight=False
        )
        raise typer.Exit(1) from None
    _report(state, chosen, machine, seed, out, errors, complete=complete)
    if not complete:
        errors.print(f"interrupted: {state.epoch} of {chosen.epochs} epochs were finished; --resume goes on")
        raise typer.Exit(130)


def _trained(
    recipe: Recipe, engine: Engine, seed: int, checkpoint: Path, weights: Path | None, console: Console
) -> tuple[State, bool]:
    """Train with a progress bar; return the last whole epoch's state and whether that is the end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from validation.training import trainer
    from validation.training.checkpoint import load, load_weights, save

    if checkpoint.exists():
        state = load(checkpoint, recipe, engine, seed)
    else:
        state = trainer.initial_state(recipe, engine, seed)
        if weights is not None:
            given = load_weights(weights, state.parameters)
            state = trainer.initial_state(recipe, engine, seed, given)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(_words(state), total=recipe.epochs, completed=state.epoch)

        try:
            data = trainer.load_data(recipe, engine)
            states = trainer.train(
                recipe, engine, seed, state, data, lambda epochs, loss: bar.update(task, completed=epochs)
            )
            for state in states:
                save(checkpoint, state, recipe, engine, seed)
                bar.update(task, completed=state.epoch, description=_words(state))
        except KeyboardInterrupt:
            return state, False
    return state, True


def _words(state: State) -> str:
    if not state.history:
        return "test accuracy -"
    return f"test accuracy {100 * state.history[-1].test_accuracy:.2f} %"


def _report(
    state: State, recipe: Recipe, engine: Engine, seed: int, out: Path, console: Console, *, complete: bool
) -> None:
    from validation.report import provenance
    from validation.training import report
    from validation.training.trainer import seconds_of

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
    html, data = report.write(out, state, recipe, engine, seed, origin, complete=complete)
    console.print(f"report: {html}\n        {data}", highlight=False, soft_wrap=True)
