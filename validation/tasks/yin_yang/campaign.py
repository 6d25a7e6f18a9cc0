"""Trainings as independent jobs: a job can run in any process, goes on where it stopped, and leaves its checkpoint.

A list of jobs is worked through by :func:`eventsolve.jobs.as_finished`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from validation.tasks.yin_yang import checkpoint, trainer
from validation.tasks.yin_yang.choices import build_engine
from validation.tasks.yin_yang.engines import Engine
from validation.tasks.yin_yang.recipe import Recipe
from validation.tasks.yin_yang.trainer import Data, Progress, State
from validation.training.archive import CHECKPOINT


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    engine : str
        "exact", "float32", "spinnaker2" or "genn".
    recipe : Recipe
    seed : int
    folder : Path
        Of its checkpoint; made if needed. A checkpoint that is there is gone on from.
    arithmetic : str, optional
        Of the engine "spinnaker2"; "s16.15" unless given.
    weights : Path, optional
        A checkpoint from whose weights to start.
    threads : int, optional
    time_step : float, optional
        Of the engine "genn", seconds; 1 ms unless given.
    """

    engine: str
    recipe: Recipe
    seed: int
    folder: Path
    arithmetic: str | None = field(default=None, kw_only=True)
    weights: Path | None = field(default=None, kw_only=True)
    threads: int | None = field(default=1, kw_only=True)
    time_step: float | None = field(default=None, kw_only=True)

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.folder / CHECKPOINT

    def build(self) -> Engine:
        """Return the engine, or raise a ValueError if it cannot do what the recipe asks for."""
        return build_engine(self.engine, self.recipe, self.arithmetic, self.threads, self.time_step)


def start(job: Job, engine: Engine) -> State:
    """Return the state in the job's checkpoint, or the one before the first epoch.

    Raises
    ------
    CheckpointError
        If either checkpoint cannot be read or is of another training.
    """
    if job.checkpoint.exists():
        return checkpoint.load(job.checkpoint, job.recipe, engine, job.seed)
    return beginning(job, engine)


def beginning(job: Job, engine: Engine) -> State:
    """Return the state before the first epoch."""
    state = trainer.initial_state(job.recipe, engine, job.seed)
    if job.weights is None:
        return state
    given = checkpoint.load_weights(job.weights, state.parameters, engine)
    return trainer.initial_state(job.recipe, engine, job.seed, given)


def states(
    job: Job, engine: Engine, state: State, data: Data, progress: Progress = lambda epochs, loss: None
) -> Iterator[State]:
    """Yield the state after every epoch that is left, each saved before."""
    job.folder.mkdir(parents=True, exist_ok=True)
    for following in trainer.train(job.recipe, engine, job.seed, state, data, progress):
        checkpoint.save(job.checkpoint, following, job.recipe, engine, job.seed)
        yield following


@dataclass(frozen=True)
class Result:
    """What a job came to: the test accuracy before its first epoch, and its epochs."""

    before: float
    state: State


def run(job: Job) -> Result:
    """Train to the end."""
    engine = job.build()
    data = trainer.load_data(job.recipe, engine)
    state = start(job, engine)
    for following in states(job, engine, state, data):
        state = following
    first = engine.run(beginning(job, engine).parameters, data.test)
    return Result(trainer.accuracy(first, data.test_labels), state)
