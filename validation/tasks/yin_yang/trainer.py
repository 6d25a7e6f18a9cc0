"""Training: pure functions from one state to the next; everything random comes from the seed and the epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.io import datasets
from eventsolve.typing import Integers
from validation.tasks.yin_yang.engines import Activity, Engine
from validation.tasks.yin_yang.optimizer import Moments, in_unit, initial_moments, rounded, step
from validation.tasks.yin_yang.recipe import VALIDATION_SEED, Parameters, Recipe, initial_parameters
from validation.tasks.yin_yang.silence import Bump, bumped, raised, resolved
from validation.training.batches import through_batches

Progress = Callable[[float, float], None]
"""Is told the epochs done, with a fraction, and the mean loss in this one."""


class Epoch(NamedTuple):
    """What one epoch came to.

    Attributes
    ----------
    loss, train_accuracy : float
        Means over its batches, each with the weights that it had.
    validation_accuracy : float
        After it; 0 without validation.
    test_accuracy : float
        After it.
    hidden_spikes, output_spikes : float
        Per test sample.
    silent : float
        Hidden neurons without a spike in any test sample.
    seconds : float
        Wall-clock time.
    """

    loss: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    hidden_spikes: float
    output_spikes: float
    silent: float
    seconds: float


@dataclass(frozen=True, eq=False)
class State:
    """A training after some epochs; with the recipe, engine and seed it decides all that follows.

    ``best`` are the parameters with the highest validation accuracy so far; without validation, and before the first
    epoch, the last ones.
    """

    parameters: Parameters
    moments: Moments
    best: Parameters
    bump: Bump = field(default=Bump())
    history: tuple[Epoch, ...] = field(default=())

    @property
    def epoch(self) -> int:
        """Epochs trained."""
        return len(self.history)

    @property
    def chosen(self) -> Epoch:
        """The epoch after which the parameters were ``best``."""
        return self.history[_best_epoch(self.history)]


def _best_epoch(history: tuple[Epoch, ...]) -> int:
    """Return the first epoch with the highest validation accuracy, or without validation the last."""
    accuracies = [epoch.validation_accuracy for epoch in history]
    return int(np.argmax(accuracies)) if any(accuracies) else len(history) - 1


@dataclass(frozen=True, eq=False)
class Data:
    """Samples as the engine takes them, with labels."""

    train: NDArray[Any]
    train_labels: Integers
    validation: NDArray[Any]
    validation_labels: Integers
    test: NDArray[Any]
    test_labels: Integers


class DivergedError(ArithmeticError):
    """A batch's gradient is not finite."""


def load_data(recipe: Recipe, engine: Engine) -> Data:
    """Draw the recipe's samples and encode them."""
    train = datasets.yin_yang(recipe.n_train, recipe.train_seed)
    validation = datasets.yin_yang(recipe.n_validation, VALIDATION_SEED)
    test = datasets.yin_yang(recipe.n_test, recipe.test_seed)
    return Data(
        engine.encode(train.points),
        train.labels,
        engine.encode(validation.points),
        validation.labels,
        engine.encode(test.points),
        test.labels,
    )


def initial_state(recipe: Recipe, engine: Engine, seed: int, parameters: Parameters | None = None) -> State:
    """Return the state before the first epoch, with drawn parameters or those given."""
    start = initial_parameters(recipe, seed) if parameters is None else parameters
    start = Parameters(tuple(rounded(w, engine.weight_number) for w in start.weights), start.delays)
    return State(start, initial_moments(recipe.rule, start.arrays), start)


def train(
    recipe: Recipe,
    engine: Engine,
    seed: int,
    state: State,
    data: Data,
    progress: Progress = lambda epochs, loss: None,
) -> Iterator[State]:
    """Yield the state after every epoch that is left.

    Raises
    ------
    DivergedError
        If a gradient is not finite.
    """
    while state.epoch < recipe.epochs:
        state = _after_epoch(recipe, engine, seed, state, data, progress)
        yield state


def accuracy(activity: Activity, labels: Integers) -> float:
    """Return the share of samples whose prediction is the label."""
    return float(np.mean(activity.predictions == labels))


def _after_epoch(
    recipe: Recipe, engine: Engine, seed: int, state: State, data: Data, progress: Progress
) -> State:
    start = time.perf_counter()
    order = np.random.default_rng([seed, 2, state.epoch]).permutation(recipe.n_train)
    random = np.random.default_rng([seed, 3, state.epoch])

    def step(reached: tuple[State, int], chosen: Integers) -> tuple[tuple[State, int], tuple[float, float]]:
        before, batch = reached
        samples, labels = data.train[chosen], data.train_labels[chosen]
        after, loss, right = _after_batch(recipe, engine, before, batch, samples, labels, random)
        return (after, batch + 1), (loss, right)

    def tell(results: list[tuple[float, float]]) -> None:
        done = state.epoch + len(results) / recipe.n_batches
        progress(done, float(np.mean([loss for loss, _ in results])))

    (state, _), results = through_batches((state, 0), order, recipe.batch_size, step, tell, whole=True)
    activity = engine.run(state.parameters, data.test)
    hidden, out = activity.counts
    validation = 0.0
    if recipe.n_validation:
        validation = accuracy(engine.run(state.parameters, data.validation), data.validation_labels)
    epoch = Epoch(
        loss=float(np.mean([loss for loss, _ in results])),
        train_accuracy=float(np.mean([right for _, right in results])),
        validation_accuracy=validation,
        test_accuracy=accuracy(activity, data.test_labels),
        hidden_spikes=float(hidden.sum() / len(hidden)),
        output_spikes=float(out.sum() / len(out)),
        silent=float(np.count_nonzero((hidden == 0).all(axis=0))),
        seconds=time.perf_counter() - start,
    )
    history = (*state.history, epoch)
    best = state.parameters if _best_epoch(history) == state.epoch else state.best
    return replace(state, history=history, best=best)


def _after_batch(
    recipe: Recipe,
    engine: Engine,
    state: State,
    batch: int,
    samples: NDArray[Any],
    labels: Integers,
    random: np.random.Generator,
) -> tuple[State, float, float]:
    """Return the next state, the loss and the accuracy of one batch."""
    parameters = state.parameters
    if recipe.silent_neuron_rule == "resolve":
        parameters = resolved(parameters, lambda p: engine.run(p, samples))
    outcome = engine.gradient(_jittered(recipe, parameters, random), samples, labels)
    gradients = outcome.gradients[: len(parameters.arrays)]
    result = outcome.loss, accuracy(outcome.activity, labels)
    if recipe.silent_neuron_rule == "bump":
        higher, bump = bumped(parameters, outcome.activity, state.bump)
        state = replace(state, bump=bump)
        if higher is not parameters:
            return replace(state, parameters=higher), *result
    if not all(np.isfinite(g).all() for g in gradients):
        raise DivergedError(f"the gradient of batch {batch} of epoch {state.epoch + 1} is not finite")
    share = recipe.schedule.share(state.epoch + batch / recipe.n_batches, recipe.epochs)
    weight_rule = in_unit(recipe.rule, engine.gradient_unit)
    weight_rule = replace(weight_rule, learning_rate=weight_rule.learning_rate * share)
    delay_rule = replace(weight_rule, learning_rate=recipe.delay_rate * share, weight_decay=0.0)
    rules = [weight_rule] * len(parameters.weights) + [delay_rule] * len(parameters.delays)
    arrays, moments = step(
        rules, parameters.arrays, gradients, state.moments, engine.weight_number, engine.moment_number
    )
    parameters = _causal(parameters.like(arrays))
    if recipe.silent_neuron_rule == "raise":
        parameters = raised(parameters, outcome.activity, labels, share)
    return replace(state, parameters=parameters, moments=moments), *result


def _jittered(recipe: Recipe, parameters: Parameters, random: np.random.Generator) -> Parameters:
    """Return parameters with a delay for every synapse, drawn for each hidden neuron, if the recipe has a jitter."""
    if recipe.jitter == 0:
        return parameters
    first, second = (np.full_like(w, recipe.transport) for w in parameters.weights)
    second += random.uniform(-recipe.jitter, recipe.jitter, size=len(first))
    return Parameters(parameters.weights, (first, second))


def _causal(parameters: Parameters) -> Parameters:
    """Return parameters whose delays are not negative: the step is projected onto what can be."""
    return Parameters(parameters.weights, tuple(np.maximum(d, 0.0) for d in parameters.delays))


def seconds_of(history: tuple[Epoch, ...]) -> float:
    """Return the wall-clock time of all epochs."""
    return sum(epoch.seconds for epoch in history)
