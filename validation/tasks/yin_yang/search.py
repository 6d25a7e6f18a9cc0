"""Search for learning rate, batch size and weight decay, by Optuna (Akiba et al. 2019), over any executor.

Trials are judged on the published validation set, whose seed is 41, never on the test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any

import optuna

from validation.tasks.yin_yang.campaign import Job, Result, run
from validation.tasks.yin_yang.recipe import VALIDATION_SEED
from validation.tasks.yin_yang.trainer import DivergedError

BATCH_SIZES = (16, 22, 32, 64, 128)


@dataclass(frozen=True)
class Trial:
    """One training of the search.

    Attributes
    ----------
    number : int
    job : Job
    accuracy : float
        On the validation set after the last epoch; 0 if it diverged.
    """

    number: int
    job: Job
    accuracy: float


def search(
    base: Job,
    n_trials: int,
    *,
    executor: Executor,
    parallel: int,
    finished: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Train ``n_trials`` times, ``parallel`` at a time, and return the trials in the order in which they were begun.

    With one trial at a time, the job's seed decides what is tried; with more, so does which finishes first. Learning
    rates lie within a factor of ten of the recipe's, both ways; weight decays, where the recipe has one, within a
    factor of a hundred.

    Parameters
    ----------
    base : Job
        Its recipe says all that is not searched for; its folder gets one folder per trial.
    n_trials, parallel : int
    executor : concurrent.futures.Executor
    finished : callable
        Is told every trial as it finishes. What it raises ends the search.
    """
    base = replace(base, recipe=replace(base.recipe, test_seed=VALIDATION_SEED))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=base.seed))
    running: dict[Future[Result], tuple[optuna.trial.Trial, Job]] = {}
    trials: list[Trial] = []
    try:
        while len(trials) < n_trials:
            while len(running) < min(parallel, n_trials - len(trials)):
                asked = study.ask()
                job = _job(base, asked)
                running[executor.submit(run, job)] = asked, job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                asked, job = running.pop(future)
                trials.append(Trial(asked.number, job, _accuracy(future)))
                study.tell(asked, trials[-1].accuracy)
                finished(trials[-1])
    finally:
        for future in running:
            future.cancel()
    return sorted(trials, key=lambda trial: trial.number)


def _job(base: Job, asked: optuna.trial.Trial) -> Job:
    rule, sizes = base.recipe.rule, [n for n in BATCH_SIZES if n <= base.recipe.n_train]
    rate = rule.learning_rate
    changes: dict[str, Any] = {
        "learning_rate": asked.suggest_float("learning_rate", rate / 10, rate * 10, log=True)
    }
    if rule.weight_decay > 0:
        low, high = rule.weight_decay / 100, rule.weight_decay * 100
        changes["weight_decay"] = asked.suggest_float("weight_decay", low, high, log=True)
    size = asked.suggest_categorical("batch_size", sizes or [base.recipe.n_train])
    recipe = replace(base.recipe, rule=replace(rule, **changes), batch_size=int(size))
    return replace(base, recipe=recipe, folder=base.folder / f"trial-{asked.number:03d}")


def _accuracy(future: Future[Result]) -> float:
    try:
        accuracy = future.result().state.history[-1].test_accuracy
    except DivergedError:
        return 0.0
    assert math.isfinite(accuracy)
    return accuracy
