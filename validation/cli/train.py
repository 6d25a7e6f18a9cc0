"""The command ``train task``: any network on any target, by gradient descent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validation import exits
from validation.cli.given import SUFFIXES, Options, Seed, Source, TargetName, given
from validation.cli.running import SEED, consoles, refusals
from validation.options import file, wrong

if TYPE_CHECKING:
    from validation.training import Epoch, Optimizer

OPTIMIZERS = ("adam", "sgd")
SLOPES = ("measured", "threshold", "crossing")


def train_task(
    task: Source,
    target: TargetName = "exact",
    options: Options = None,
    optimizer: Annotated[str, typer.Option(help=f"One of {', '.join(OPTIMIZERS)}.")] = "adam",
    rate: Annotated[float, typer.Option(help="The optimizer's learning rate.")] = 1e-3,
    epochs: Annotated[int, typer.Option(min=1, help="How often every sample is seen.")] = 10,
    batch: Annotated[int, typer.Option(min=1, help="Samples per batch.")] = 32,
    samples: Annotated[
        int | None, typer.Option(min=2, help="To train on. (default: 256 of a task; half of a record)")
    ] = None,
    seed: Seed = SEED,
    along: Annotated[
        str | None,
        typer.Option(
            metavar="SLOPE",
            help=f"Take exact gradients along the target's spikes, which need be all that it gives: one of "
            f"{', '.join(SLOPES)}. (default: the target's own gradients)",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, callback=file, help="A record for the trained network, .json, .npz or .h5."
        ),
    ] = None,
) -> None:
    """Train the network of a task or a record on a target, and test it on as many other samples.

    Exits with 1 if the loss is not finite at the end, and with 2 on a bad option, or what the target cannot run.
    """
    if optimizer not in OPTIMIZERS:
        raise typer.BadParameter(
            f"{optimizer!r} is not one of {', '.join(OPTIMIZERS)}", param_hint="'--optimizer'"
        )
    if along is not None and along not in SLOPES:
        raise typer.BadParameter(f"{along!r} is not one of {', '.join(SLOPES)}", param_hint="'--along'")
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{out} must end with {', '.join(SUFFIXES)}", param_hint="'--out'")
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
    from validation.training import SGD, Adam, InTheLoop, trained

    learner: Any = found.target if along is None else InTheLoop(found.target, along)  # type: ignore[arg-type]
    errors, tables = consoles()
    last: Epoch | None = None
    with refusals():
        rule: Optimizer = Adam(rate) if optimizer == "adam" else SGD(rate)
        half = found.problem.n_samples // 2
        training, test = (
            found.problem.select(range(low, high)) for low, high in ((0, half), (half, 2 * half))
        )
        for last in trained(training, learner, rule, epochs=epochs, batch_size=batch, test=test, seed=seed):
            tables.print(_line(last), soft_wrap=True)
    assert last is not None
    if out is not None:
        name = f"{found.title}, trained on {learner.name} for {epochs} epochs"
        try:
            records.write(records.Record(name, network=last.network), out)
        except (ValueError, ImportError) as error:
            raise wrong(error, "'--out'") from None
        errors.print(f"network: {out}", soft_wrap=True)
    if not math.isfinite(last.loss):
        raise typer.Exit(exits.DIFFERS)


def _line(epoch: Epoch) -> str:
    words = [f"epoch {epoch.number:3d}"]
    if epoch.number:
        words.append(f"loss {epoch.loss:.4f}")
    words.append(f"on other samples {epoch.test_loss:.4f}")
    if epoch.accuracy is not None:
        words.append(f"accuracy {100 * epoch.accuracy:.1f} %")
    return ", ".join(words)
