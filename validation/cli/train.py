"""The commands ``train``, to which packages add their own, and ``train task``: any network on any target.

The parameters of a command are its options, which typer reads from them: there are as many as a user may choose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from validation import exits
from validation.cli.given import SUFFIXES, Options, Seed, Source, TargetName, given
from validation.cli.running import SEED, consoles, refusals
from validation.options import MOST_SAMPLES, file, wrong

if TYPE_CHECKING:
    from rich.console import Console

    from validation.training import Epoch

ALONG = ("measured", "threshold", "crossing", "straight_through")


class _Trainings(TyperGroup):
    """Commands, and any task or record by its name in place of ``task NAME``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is meant."""
        known = not args or args[0].startswith("-") or self.get_command(ctx, args[0]) is not None
        return super().resolve_command(ctx, args if known else ["task", *args])


app = typer.Typer(
    cls=_Trainings,
    no_args_is_help=True,
    help="Train any network of a task or a record on any target (train TASK), or as published.",
)


@app.callback()
def _commands() -> None:
    """Keep each a command of its own."""


@app.command("task")
def train_task(
    task: Source,
    target: TargetName = "exact",
    options: Options = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:OPTION=VALUE,...]",
            help="A loss of a record, such as MeanVoltageCrossEntropy or TTFSCrossEntropy:tau0=0.5ms,tau1=6ms,alpha=0; "
            "population and labels are those of the task's own. (default: that)",
        ),
    ] = None,
    parameters: Annotated[
        str,
        typer.Option(
            "--train",
            metavar="WHAT,WHAT,...",
            help="weight, delay, tau_mem, tau_syn, v_threshold, v_reset, v_leak, t_ref, v_initial, i_initial.",
        ),
    ] = "weight",
    optimizer: Annotated[
        str,
        typer.Option(metavar="NAME[:OPTION=VALUE,...]", help="adam or sgd, such as sgd:momentum=0.9."),
    ] = "adam",
    rate: Annotated[
        float,
        typer.Option(help="The learning rate; times are trained in units of the shortest time constant."),
    ] = 1e-3,
    raise_silent: Annotated[
        float,
        typer.Option(
            min=0,
            help="By how much, after each batch, weights grow onto neurons that were silent in all of it.",
        ),
    ] = 0.0,
    epochs: Annotated[int, typer.Option(min=1, help="How often every sample is seen.")] = 10,
    batch: Annotated[int, typer.Option(min=1, help="Samples per batch.")] = 32,
    samples: Annotated[
        int | None,
        typer.Option(min=2, max=MOST_SAMPLES, help="To train on. (default: 256 of a task; half of a record)"),
    ] = None,
    seed: Seed = SEED,
    along: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help=f"Take exact gradients with the target in the loop, which need give nothing but spikes: along these, "
            f"with one of the slopes {', '.join(ALONG[:-1])}, or at the exact solution of the network that it holds, "
            f"{ALONG[-1]}. (default: the target's own gradients)",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, callback=file, help="File in which the training is kept after every epoch, .npz."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, callback=file, help="A record for the trained network, .json, .npz or .h5."
        ),
    ] = None,
) -> None:
    """Train the network of a task or a record on a target, and test it on as many other samples.

    The name of a task may stand for 'task NAME'. Exits with 1 if the loss is not finite at the end, with 2 on a bad
    option, or what the target cannot run, and with 130 if interrupted; the checkpoint then holds the last whole epoch,
    and --resume goes on from it to the bits that an uninterrupted training has.
    """
    if along is not None and along not in ALONG:
        raise typer.BadParameter(f"{along!r} is not one of {', '.join(ALONG)}", param_hint="'--along'")
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{out} must end with {', '.join(SUFFIXES)}", param_hint="'--out'")
    if resume and (checkpoint is None or not checkpoint.exists()):
        raise typer.BadParameter("there is no checkpoint to go on from", param_hint="'--resume'")
    if checkpoint is not None and checkpoint.exists() and not resume:
        raise typer.BadParameter(
            f"{checkpoint} exists; --resume goes on from it, another file begins anew",
            param_hint="'--checkpoint'",
        )

    from validation.training import choices

    with refusals():
        rule = choices.optimizer(optimizer, rate)
    found = given(
        task,
        target,
        options,
        tool="train" if along is None else "compare",
        samples=None if samples is None else 2 * samples,
        task_samples=512,
        seed=seed,
        least=2,
    )

    from eventsolve.io import records
    from validation.training import InTheLoop, trained
    from validation.training import checkpoint as checkpoints
    from validation.training.parameters import Parameters

    learner: Any = found.target if along is None else InTheLoop(found.target, along)  # type: ignore[arg-type]
    errors, tables = consoles()
    last: Epoch | None = None
    interrupted = False
    with refusals():
        problem = found.problem if loss is None else choices.loss(loss, found.problem)
        half = problem.n_samples // 2
        training, test = (problem.select(range(low, high)) for low, high in ((0, half), (half, 2 * half)))
        wanted = Parameters(problem.network, tuple(name.strip() for name in parameters.split(",")))
        settings = {"target": learner.name, "loss": loss, "optimizer": repr(rule), "batch": batch}
        said = checkpoints.identity(
            problem,
            wanted,
            {**settings, "raise_silent": raise_silent, "seed": seed, "options": found.options},
        )
        if resume and checkpoint is not None:
            last = checkpoints.load(checkpoint, wanted, said)
            tables.print(_line(last), soft_wrap=True)
        shown = _Shown(errors, math.ceil(half / batch))
        following = trained(
            training,
            learner,
            rule,
            epochs=epochs,
            batch_size=batch,
            test=test,
            seed=seed,
            quantities=wanted.quantities,
            raise_silent=raise_silent,
            begin=last,
            told=shown.told,
        )
        try:
            for last in shown.each(following):
                if checkpoint is not None:
                    checkpoints.save(checkpoint, last, wanted, said)
                tables.print(_line(last), soft_wrap=True)
        except KeyboardInterrupt:
            interrupted = True
    if out is not None and last is not None:
        name = f"{found.title}, trained on {learner.name} for {last.number} epochs"
        record = records.Record(name, test.t_end, test.inputs, network=last.network, loss=test.loss)
        try:
            records.write(record, out)
        except (ValueError, ImportError) as error:
            raise wrong(error, "'--out'") from None
        errors.print(f"network: {out}", soft_wrap=True)
    if interrupted:
        done = 0 if last is None else last.number
        goes_on = "; --resume goes on" if checkpoint is not None and last is not None else ""
        errors.print(f"interrupted: {done} of {epochs} epochs were finished{goes_on}", soft_wrap=True)
        raise typer.Exit(exits.INTERRUPTED)
    if last is None or (last.number and not math.isfinite(last.loss)):
        raise typer.Exit(exits.DIFFERS)


class _Shown:
    """A bar for every epoch, gone when its line is printed."""

    def __init__(self, console: Console, n_batches: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("batches"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._make, self._console, self._n = Progress, console, n_batches
        self._bar: Progress | None = None

    def told(self, batches: int, loss: float) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=batches, description=f"loss {loss:.4f}")

    def each(self, epochs: Iterator[Epoch]) -> Iterator[Epoch]:
        while True:
            with self._make(*self._columns, console=self._console, transient=True) as self._bar:
                self._bar.add_task("", total=self._n)
                found = next(epochs, None)
            if found is None:
                return
            yield found


def _line(epoch: Epoch) -> str:
    words = [f"epoch {epoch.number:3d}"]
    if epoch.number:
        words.append(f"loss {epoch.loss:.4f}")
    words.append(f"on other samples {epoch.test_loss:.4f}")
    if epoch.accuracy is not None:
        words.append(f"accuracy {100 * epoch.accuracy:.1f} %")
    return ", ".join(words)
