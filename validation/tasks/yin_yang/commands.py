"""The commands ``train yinyang``, ``train recipes`` and ``train search``.

Their parameters are their options, which typer reads from them: there are as many as a user may choose.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from validation import exits
from validation.options import MOST_SAMPLES, duration, folder, wrong

if TYPE_CHECKING:
    from rich.console import Console

    from validation.tasks.yin_yang.campaign import Job
    from validation.tasks.yin_yang.engines import Engine
    from validation.tasks.yin_yang.trainer import State

RecipeEpochs = Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")]
RecipeSamples = Annotated[int | None, typer.Option(min=1, max=MOST_SAMPLES, help="Instead of the recipe's.")]
ENGINES = ("exact", "float32", "spinnaker2", "genn")


def yinyang(
    engine: Annotated[str, typer.Option(metavar="ENGINE", help=f"One of {', '.join(ENGINES)}.")] = "exact",
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A recipe of `train recipes`. (default: the engine's own)"),
    ] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Of the chip model: s16.15, float32, float64. (default: s16.15)",
        ),
    ] = None,
    time_step: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Of the engine genn. (default: 1ms)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of initial weights and batches.")] = 42,
    epochs: RecipeEpochs = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Samples per batch, instead of the recipe's.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.")] = None,
    train_samples: RecipeSamples = None,
    test_samples: RecipeSamples = None,
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
            file_okay=False, callback=folder, help="Folder for checkpoint.npz, training.html and .json."
        ),
    ] = Path("training"),
) -> None:
    """Train on Yin-Yang, with a checkpoint after every epoch.

    Exits with 1 if the training diverges, with 2 on a bad option, and with 130 if interrupted; the checkpoint then
    holds the last whole epoch, and --resume goes on from it to the bits that an uninterrupted training has.
    """
    _known_engine(engine)

    from validation.tasks.yin_yang import campaign
    from validation.tasks.yin_yang.choices import choose_recipe
    from validation.tasks.yin_yang.trainer import DivergedError
    from validation.terminal import console
    from validation.training.archive import CheckpointError

    changes = {
        "epochs": epochs,
        "batch_size": batch,
        "learning_rate": learning_rate,
        "n_train": train_samples,
        "n_test": test_samples,
    }
    try:
        chosen = choose_recipe(engine, recipe, {k: v for k, v in changes.items() if v is not None})
        job = campaign.Job(
            engine,
            chosen,
            seed,
            out,
            arithmetic=arithmetic,
            weights=weights,
            threads=threads,
            time_step=None if time_step is None else duration("time-step", time_step),
        )
        machine = job.build()
    except ValueError as error:
        raise wrong(error) from None
    errors = console(stderr=True)
    if job.checkpoint.exists() and not resume:
        raise typer.BadParameter(
            f"{job.checkpoint} exists; --resume goes on from it, another --out begins anew",
            param_hint="'--out'",
        )
    if resume and weights is not None:
        raise typer.BadParameter("begins a training; --resume goes on with one", param_hint="'--weights'")
    if resume and not job.checkpoint.exists():
        raise wrong(f"there is no {job.checkpoint} to go on from", "'--resume'")
    try:
        state, complete = _trained(job, machine, campaign.start(job, machine), errors)
    except CheckpointError as error:
        raise wrong(error) from None
    except DivergedError as error:
        errors.print(f"diverged: {error}; {job.checkpoint} holds the epochs before", style="bold red")
        raise typer.Exit(exits.DIFFERS) from None
    _report(job, machine, state, errors, complete=complete)
    if not complete:
        errors.print(f"interrupted: {state.epoch} of {chosen.epochs} epochs were finished; --resume goes on")
        raise typer.Exit(130)


def recipes() -> None:
    """List the recipes."""
    from rich.table import Table

    from validation.tasks.yin_yang.recipe import RECIPES
    from validation.terminal import console

    table = Table("recipe", "network", "epochs", "batch", "samples", "learning rate", "whence", box=None)
    for r in RECIPES.values():
        numbers = (r.epochs, r.batch_size, r.n_train, r.rule.learning_rate)
        table.add_row(r.name, r.setup.name, *(f"{n:g}" for n in numbers), r.source)
    console(width=150).print(table)


def search(
    engine: Annotated[str, typer.Option(metavar="ENGINE", help=f"One of {', '.join(ENGINES)}.")] = "exact",
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="(default: the engine's own)")] = None,
    arithmetic: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Of the chip model: s16.15, float32, float64. (default: s16.15)",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1)] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time, each a process on one thread.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 42,
    epochs: RecipeEpochs = None,
    train_samples: RecipeSamples = None,
    test_samples: Annotated[
        int | None, typer.Option(min=1, max=MOST_SAMPLES, help="Of validation, instead of the recipe's.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            file_okay=False, callback=folder, help="Folder for search.json and the trials' checkpoints."
        ),
    ] = Path("search"),
) -> None:
    """Search for learning rate, batch size and weight decay on the validation set; needs the extra optuna."""
    _known_engine(engine)
    try:
        from validation.tasks.yin_yang import search as searching
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"searching needs {error.name}: pip install 'eventsolve[optuna]'", param_hint="'search'"
        ) from None

    import json
    from concurrent.futures import ProcessPoolExecutor

    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from eventsolve.files import LOCK, write_texts
    from validation.tasks.yin_yang import campaign
    from validation.tasks.yin_yang.choices import choose_recipe
    from validation.tasks.yin_yang.recipe import described
    from validation.terminal import console

    changes = {"epochs": epochs, "n_train": train_samples, "n_test": test_samples}
    try:
        chosen = choose_recipe(engine, recipe, {k: v for k, v in changes.items() if v is not None})
        base = campaign.Job(engine, chosen, seed, out, arithmetic=arithmetic)
        base.build()
    except ValueError as error:
        raise wrong(error) from None
    if any(file.name != LOCK for file in out.iterdir()):
        raise wrong(f"{out} is not empty", "'--out'")
    errors = console(stderr=True)
    found: list[searching.Trial] = []
    complete = True
    columns = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TextColumn("trials"),
        TimeElapsedColumn(),
    )
    with ProcessPoolExecutor(workers) as pool, Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=trials)

        def finished(trial: searching.Trial) -> None:
            found.append(trial)
            best = max(t.accuracy for t in found)
            bar.update(task, advance=1, description=f"best validation accuracy {100 * best:.2f} %")

        try:
            searching.search(base, trials, executor=pool, parallel=workers, finished=finished)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            complete = False
    found.sort(key=lambda trial: -trial.accuracy)
    document = [
        {
            "trial": t.number,
            "accuracy": t.accuracy,
            "seed": seed,
            "engine": engine,
            "recipe": described(t.job.recipe),
        }
        for t in found
    ]
    (written,) = write_texts(out, {"search.json": json.dumps(document, indent=1) + "\n"})
    for t in found[:5]:
        rule = t.job.recipe.rule
        typer.echo(
            f"{100 * t.accuracy:.2f} %  trial {t.number}: learning rate {rule.learning_rate:.3g}, "
            f"weight decay {rule.weight_decay:.3g}, batch {t.job.recipe.batch_size}"
        )
    errors.print(f"search: {written}", soft_wrap=True)
    if not complete:
        raise typer.Exit(130)


def _known_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise typer.BadParameter(f"{engine!r} is not one of {', '.join(ENGINES)}", param_hint="'--engine'")


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

    from validation.tasks.yin_yang import campaign, trainer

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
            data = trainer.load_data(job.recipe, engine)
            rest = campaign.states(
                job, engine, state, data, lambda epochs, loss: bar.update(task, completed=epochs)
            )
            for state in rest:
                bar.update(task, completed=state.epoch, description=_words(state))
        except KeyboardInterrupt:
            return state, False
    return state, True


def _words(state: State) -> str:
    if not state.history:
        return "test accuracy -"
    return f"test accuracy {100 * state.chosen.test_accuracy:.2f} %"


def _report(job: Job, engine: Engine, state: State, console: Console, *, complete: bool) -> None:
    from validation.report import provenance, write
    from validation.tasks.yin_yang import report
    from validation.tasks.yin_yang.trainer import seconds_of

    recipe, seed = job.recipe, job.seed
    origin = provenance(
        {"engine": engine.name, "recipe": recipe.name, "seed": seed},
        command=shlex.join(["eventsolve-validate", *sys.argv[1:]]),
    )
    if state.history:
        console.print(
            f"{recipe.setup.name}, {engine.name}, {recipe.name}, seed {seed}: {_words(state)} "
            f"after {state.epoch} epochs in {seconds_of(state.history):.0f} s",
            soft_wrap=True,
        )
    job.folder.mkdir(parents=True, exist_ok=True)
    document = report.document_of(state, recipe, engine, seed, origin, complete=complete)
    html, data = write(document, job.folder, "training")
    console.print(f"report: {html}\n        {data}", soft_wrap=True)
