"""Spoken digits with one loss beside the other and all else equal: rows of the table of trainings.

Nowotny, Turner & Knight (2024) find that the loss decides whether a recurrent network learns them ("loss shaping").
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eventsolve import Problem
from eventsolve.jobs import as_finished
from validation.registry import settings, target, task
from validation.target import untraced
from validation.tasks.keywords.recordings import BLOCK
from validation.training import checkpoint, choices, trained
from validation.training.archive import CHECKPOINT
from validation.training.descent import Epoch
from validation.training.parameters import Parameters


@dataclass(frozen=True)
class Size:
    """How large a training is: hidden neurons, utterances to train on and as many to test, epochs, batch, rate."""

    hidden: int
    samples: int
    epochs: int
    batch: int
    rate: float


SMALL = Size(hidden=64, samples=150, epochs=12, batch=5, rate=2e-3)
LARGE = Size(hidden=256, samples=200, epochs=12, batch=8, rate=1e-3)
"""Network and rate of mlGeNN's example for the Spiking Heidelberg Digits; utterances, batches and epochs are fewer."""


@dataclass(frozen=True)
class WordsRow:
    """A loss with several seeds.

    Attributes
    ----------
    name : str
        Of its folder.
    loss : str or None
        As on the command line; None is the task's own, the mean voltage with weight exp(-t/T).
    said : str
        What the loss reads.
    first_spikes : bool
        Whether the outputs spike, as the task's option.
    raise_silent : float
        By how much weights onto silent neurons grow, as the command's option.
    engine : str
        The target on which it is trained.
    options : str
        Of the target, NAME=VALUE,... as on the command line.
    size : Size
    """

    name: str
    loss: str | None
    said: str
    first_spikes: bool = False
    raise_silent: float = 0.0
    engine: str = "exact"
    options: str = ""
    size: Size = SMALL

    @property
    def settings(self) -> dict[str, str]:
        """The options of the target."""
        return settings([self.options] if self.options else [])

    def command(self, seed: int) -> str:
        """Return the command line of one of its trainings."""
        words = ["eventsolve-validate", "train", "keywords", "--set", f"hidden={self.size.hidden}"]
        words += ["--set", "first_spikes=true"] if self.first_spikes else []
        words += [] if self.engine == "exact" else ["--target", self.engine]
        words += ["--set", self.options] if self.options else []
        words += ["--loss", self.loss] if self.loss else []
        words += ["--raise-silent", f"{self.raise_silent:g}"] if self.raise_silent else []
        words += ["--samples", str(self.size.samples), "--epochs", str(self.size.epochs)]
        words += [
            "--batch",
            str(self.size.batch),
            "--rate",
            f"{self.size.rate:g}",
            "--seed",
            str(seed),
            "--checkpoint",
            f"{self.name}-{seed}.npz",
        ]
        return shlex.join(words)


_OF_LOSSES = (
    WordsRow("words-exponential", None, "mean voltage, weight exp(-t/T)"),
    WordsRow("words-mean", "MeanVoltageCrossEntropy", "mean voltage"),
    WordsRow("words-sum", "SumVoltageCrossEntropy:time_step=1ms", "sum of voltages over steps of 1 ms"),
    WordsRow("words-max", "MaxVoltageCrossEntropy", "largest voltage"),
    WordsRow(
        "words-first", None, "times of first spikes, of LIF outputs", first_spikes=True, raise_silent=2e-3
    ),
)
_ON_GENN = {
    "words-exponential": ("2ms", "1ms", "1ms,faithful=false", "0.1ms"),
    "words-mean": ("1ms",),
    "words-sum": ("1ms", "1ms,without=single_precision"),
    "words-max": ("1ms", "1ms,faithful=false"),
    "words-first": ("1ms", "1ms,faithful=false"),
    "words-large": ("1ms",),
}
"""Steps, and what else is set, with which the same is trained on GeNN."""


def _on_genn(row: WordsRow, options: str) -> WordsRow:
    step, _, other = options.partition(",")
    called = {"": "", "faithful=false": "-mended", "without=single_precision": "-float64"}
    name = f"{row.name}-genn-{step}{called[other]}"
    return replace(row, name=name, engine="genn", options=f"time_step={options}")


ROWS: tuple[WordsRow, ...] = tuple(
    one
    for row in (*_OF_LOSSES, replace(_OF_LOSSES[0], name="words-large", size=LARGE))
    for one in (row, *(_on_genn(row, options) for options in _ON_GENN[row.name]))
)


def problem_of(row: WordsRow, n_samples: int, seed: int) -> Problem:
    """Return what a row trains on, its first utterances."""
    of_task = task("keywords", hidden=row.size.hidden, first_spikes=row.first_spikes)
    problem = of_task.problem(n_samples=n_samples, seed=seed)
    return problem if row.loss is None else choices.loss(row.loss, problem)


def reach(row: WordsRow, seed: int) -> float:
    """Return the norm of the gradient by weights from the inputs to that by those to the outputs, before training."""
    record = untraced(target(row.engine, **row.settings)).run(
        problem_of(row, min(BLOCK, row.size.samples), seed)
    )
    weight = {key: values.mean(axis=0) for key, values in record.weight.items()}
    return float(np.linalg.norm(weight["in", "hidden"]) / np.linalg.norm(weight["hidden", "out"]))


def seconds_of_an_epoch(row: WordsRow, seed: int) -> float:
    """Return the CPU seconds of an epoch from the weights with which a training begins, without its test."""
    problem, rule = problem_of(row, row.size.samples, seed), choices.optimizer("adam", row.size.rate)
    engine = target(row.engine, **row.settings)
    seconds = []
    for part in (problem.select(range(row.size.batch)), problem):  # the first compiles
        start = time.process_time()
        for _ in trained(
            part, engine, rule, epochs=1, batch_size=row.size.batch, raise_silent=row.raise_silent
        ):
            pass
        seconds.append(time.process_time() - start)
    return seconds[-1]


def train(row: WordsRow, folder: Path, seed: int) -> Epoch:
    """Train to the end in a folder among others, from the checkpoint that is there, that of the row's command."""
    rule, engine = choices.optimizer("adam", row.size.rate), target(row.engine, **row.settings)
    problem = problem_of(row, 2 * row.size.samples, seed)
    parameters = Parameters(problem.network, ("weight",))
    said = checkpoint.identity(
        problem,
        parameters,
        {
            "target": engine.name,
            "loss": row.loss,
            "optimizer": repr(rule),
            "batch": row.size.batch,
            "raise_silent": row.raise_silent,
            "seed": seed,
            "options": row.settings,
        },
    )
    folder = folder / f"{row.name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CHECKPOINT
    last = checkpoint.load(file, parameters, said) if file.exists() else None
    for following in trained(
        problem.select(range(row.size.samples)),
        engine,
        rule,
        epochs=row.size.epochs,
        batch_size=row.size.batch,
        test=problem.select(range(row.size.samples, 2 * row.size.samples)),
        seed=seed,
        raise_silent=row.raise_silent,
        begin=last,
    ):
        checkpoint.save(file, following, parameters, said)
        last = following
    assert last is not None  # one is there, or has just been made
    return last


def run_row(
    row: WordsRow,
    folder: Path,
    executor: Executor,
    finished: Callable[[], None],
    seeds: Sequence[int],
) -> list[Epoch]:
    """Train a row, and return where it ends by seed."""
    ends = {}
    for seed, end in as_finished(partial(train, row, folder), seeds, executor):
        ends[seed] = end
        finished()
    return [ends[seed] for seed in seeds]


def _finite(values: Sequence[float]) -> list[float | None]:
    """Return numbers as JSON has them: None stands for the loss of a silent label on GeNN, which is infinite."""
    return [value if math.isfinite(value) else None for value in values]


def document(row: WordsRow, epochs: Sequence[Epoch], seeds: Sequence[int]) -> dict[str, Any]:
    """Return a row as JSON; of a checkpoint that has gone further, up to where the row ends."""
    return {
        "name": row.name,
        "loss": row.loss,
        "engine": row.engine,
        "options": row.options,
        "said": row.said,
        "network": f"700-{row.size.hidden}-20",
        "samples": row.size.samples,
        "epochs": row.size.epochs,
        "reach": [reach(row, seed) for seed in seeds],
        "seconds_of_an_epoch": seconds_of_an_epoch(row, seeds[0]),
        "runs": [
            {
                "seed": seed,
                "command": row.command(seed),
                "losses": _finite([step.loss for step in epoch.history[1 : row.size.epochs + 1]]),
                "test_losses": _finite([step.test_loss for step in epoch.history[: row.size.epochs + 1]]),
                "test_accuracies": [step.accuracy for step in epoch.history[: row.size.epochs + 1]],
            }
            for seed, epoch in zip(seeds, epochs, strict=True)
        ],
    }
