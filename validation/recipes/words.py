"""Spoken digits with one loss beside the other and all else equal: rows of the table of trainings.

Nowotny, Turner & Knight (2024) find that the loss decides whether a recurrent network learns them ("loss shaping").
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eventsolve import Problem, value_and_grad
from validation.recipes.campaign import CHECKPOINT
from validation.registry import target, task
from validation.tasks.keywords.recordings import BLOCK
from validation.training import checkpoint, choices, trained
from validation.training.descent import Epoch
from validation.training.parameters import Parameters

HIDDEN, SAMPLES, EPOCHS, BATCH, RATE = 64, 150, 12, 5, 2e-3


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
    """

    name: str
    loss: str | None
    said: str
    first_spikes: bool = False
    raise_silent: float = 0.0

    def command(self, seed: int) -> str:
        """Return the command line of one of its trainings."""
        words = ["eventsolve-validate", "train", "keywords", "--set", f"hidden={HIDDEN}"]
        words += ["--set", "first_spikes=true"] if self.first_spikes else []
        words += ["--loss", self.loss] if self.loss else []
        words += ["--raise-silent", f"{self.raise_silent:g}"] if self.raise_silent else []
        words += ["--samples", str(SAMPLES), "--epochs", str(EPOCHS), "--batch", str(BATCH)]
        words += ["--rate", f"{RATE:g}", "--seed", str(seed), "--checkpoint", f"{self.name}-{seed}.npz"]
        return shlex.join(words)


ROWS = (
    WordsRow("words-exponential", None, "mean voltage, weight exp(-t/T)"),
    WordsRow("words-mean", "MeanVoltageCrossEntropy", "mean voltage"),
    WordsRow("words-sum", "SumVoltageCrossEntropy:time_step=1ms", "sum of voltages over steps of 1 ms"),
    WordsRow("words-max", "MaxVoltageCrossEntropy", "largest voltage"),
    WordsRow(
        "words-first", None, "times of first spikes, of LIF outputs", first_spikes=True, raise_silent=2e-3
    ),
)


def problem_of(row: WordsRow, n_samples: int, seed: int) -> Problem:
    """Return what a row trains on, its first utterances."""
    of_task = task("keywords", hidden=HIDDEN, first_spikes=row.first_spikes)
    problem = of_task.problem(n_samples=n_samples, seed=seed)
    return problem if row.loss is None else choices.loss(row.loss, problem)


def reach(row: WordsRow, seed: int) -> float:
    """Return the norm of the gradient by weights from the inputs to that by those to the outputs, before training."""
    problem = problem_of(row, min(BLOCK, SAMPLES), seed)
    assert problem.loss is not None  # the task's own, or the row's
    weight = value_and_grad(problem.solution, problem.loss, wrt=("weight",))[1].weight
    return float(np.linalg.norm(weight["in", "hidden"]) / np.linalg.norm(weight["hidden", "out"]))


def train(row: WordsRow, seed: int, folder: Path) -> Epoch:
    """Train to the end, from the checkpoint that is there, which is that of the row's command."""
    rule, exact = choices.optimizer("adam", RATE), target("exact")
    problem = problem_of(row, 2 * SAMPLES, seed)
    parameters = Parameters(problem.network, ("weight",))
    settings = {"target": exact.name, "loss": row.loss, "optimizer": repr(rule), "batch": BATCH}
    said = checkpoint.identity(
        problem, parameters, {**settings, "raise_silent": row.raise_silent, "seed": seed, "options": {}}
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CHECKPOINT
    last = checkpoint.load(file, parameters, said) if file.exists() else None
    for following in trained(
        problem.select(range(SAMPLES)),
        exact,
        rule,
        epochs=EPOCHS,
        batch_size=BATCH,
        test=problem.select(range(SAMPLES, 2 * SAMPLES)),
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
    jobs = [executor.submit(train, row, seed, folder / f"{row.name}-{seed}") for seed in seeds]
    try:
        for _ in as_completed(jobs):
            finished()
    finally:
        for job in jobs:
            job.cancel()
    return [job.result() for job in jobs]


def document(row: WordsRow, epochs: Sequence[Epoch], seeds: Sequence[int]) -> dict[str, Any]:
    """Return a row as JSON; of a checkpoint that has gone further, up to where the row ends."""
    return {
        "name": row.name,
        "loss": row.loss,
        "said": row.said,
        "network": f"700-{HIDDEN}-20",
        "samples": SAMPLES,
        "epochs": EPOCHS,
        "reach": [reach(row, seed) for seed in seeds],
        "runs": [
            {
                "seed": seed,
                "command": row.command(seed),
                "losses": [step.loss for step in epoch.history[1 : EPOCHS + 1]],
                "test_losses": [step.test_loss for step in epoch.history[: EPOCHS + 1]],
                "test_accuracies": [step.accuracy for step in epoch.history[: EPOCHS + 1]],
            }
            for seed, epoch in zip(seeds, epochs, strict=True)
        ],
    }
