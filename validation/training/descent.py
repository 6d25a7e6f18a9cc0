"""Gradient descent on a network's numbers: any network, any loss, any target that gives their gradients.

A batch is a problem of some samples. The target runs it and gives the gradients, the optimizer changes the numbers in
float64, and a target that holds weights in numbers of its own rounds them from one update to the next. The order of
samples comes from the seed and the epoch alone, so that a training that was stopped goes on to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.checks import count, real
from eventsolve.io.records import Record
from eventsolve.losses import Evaluation
from eventsolve.typing import Integers
from validation.oracle import Exact
from validation.target import Target, untraced
from validation.training.batches import through_batches
from validation.training.optimizers import Memory, Optimizer
from validation.training.parameters import Parameters

OF_VOLTAGES = (
    es.losses.MaxVoltageCrossEntropy,
    es.losses.MeanVoltageCrossEntropy,
    es.losses.SumVoltageCrossEntropy,
)
"""Cross-entropies of one number for each class."""


class Row(NamedTuple):
    """What an epoch came to: see :class:`Epoch`; NaN for what there is not."""

    loss: float
    test_loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Epoch:
    """Where a training is after an epoch.

    Attributes
    ----------
    number : int
        From 1 on; 0 is before the first.
    loss : float
        Mean over the training samples, each with the numbers that its batch saw; NaN before the first epoch.
    test_loss : float
        Mean over the test samples, with ``network``; NaN without any.
    accuracy : float or None
        Of test samples, the part whose label is decided for: by the first spike, or by the readout of the exact solver
        and of targets that say what theirs decide; None where nothing decides, or the loss has no labels.
    network : Network
    memory : Memory
        Of the optimizer.
    history : tuple of Row
        Of every epoch up to here, the one before the first among them.
    """

    number: int
    loss: float
    test_loss: float
    accuracy: float | None
    network: es.Network
    memory: Memory = field(repr=False)
    history: tuple[Row, ...] = field(repr=False)


def trained(
    problem: es.Problem,
    target: Target,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int = 32,
    test: es.Problem | None = None,
    seed: int = 0,
    quantities: tuple[str, ...] = ("weight",),
    raise_silent: float = 0.0,
    begin: Epoch | None = None,
    told: Callable[[int, float], object] = lambda batch, loss: None,
) -> Iterator[Epoch]:
    """Yield where a training is: before it begins, and after every epoch that is left.

    Parameters
    ----------
    problem : Problem
        The training samples, with a loss, and the network to begin with.
    target : Target
    optimizer : Optimizer
        Its rate is of numbers in the units of :class:`validation.training.parameters.Parameters`.
    epochs, batch_size : int
        At least 1. The last batch of an epoch may be smaller.
    test : Problem, optional
        Other samples for the same network.
    seed : int
        Of the order of samples, another one in every epoch.
    quantities : tuple of str
        What is trained: "weight", "delay", and neuron parameters.
    raise_silent : float
        By how much, after a batch, all weights onto a neuron grow that spiked in none of its samples, where no gradient
        says so; in the unit of the weights, >= 0.
    begin : Epoch, optional
        From which to go on.
    told : callable
        Is told the batches done of an epoch, and the mean loss up to there.

    Raises
    ------
    ValueError
        If the problem has no loss, the target gives no gradient of what is trained, or one is not finite.
    """
    if problem.loss is None:
        raise ValueError("problem must have a loss to be trained on; it has none")
    if count("epochs", epochs) < 1 or count("batch_size", batch_size) < 1:
        raise ValueError(f"epochs and batch_size must be >= 1; got {epochs} and {batch_size}")
    if not 0 <= real("raise_silent", raise_silent) < np.inf:
        raise ValueError(f"raise_silent must be finite and >= 0; got {raise_silent!r}")
    parameters = Parameters(problem.network, quantities)
    target = replace(target, wrt=quantities) if isinstance(target, Exact) else untraced(target)
    if begin is None:
        network = _held(target, problem.network)
        row = Row(float("nan"), *tested(test, target, network))
        begin = _epoch(network, Memory(), (row,))
        yield begin

    def step(state: tuple[es.Network, Memory], chosen: Integers) -> tuple[tuple[es.Network, Memory], float]:
        network, memory = state
        record = target.run(replace(problem.select(chosen), network=network))
        if record.loss_values is None:
            raise ValueError(f"{record.name!r} gives no loss, which training needs")
        gradients = parameters.gradients(record)
        values, memory = optimizer.step(parameters.values(network), gradients, memory)
        network = parameters.applied(network, values)
        if raise_silent:
            network = raised(network, record, raise_silent)
        return (_held(target, network), memory), float(np.sum(record.loss_values))

    def tell(losses: list[float]) -> None:
        told(len(losses), _total(losses) / min(len(losses) * batch_size, problem.n_samples))

    state, history = (begin.network, begin.memory), begin.history
    for number in range(begin.number + 1, epochs + 1):
        order = np.random.default_rng([seed, number]).permutation(problem.n_samples)
        state, losses = through_batches(state, order, batch_size, step, tell)
        history = (*history, Row(_total(losses) / order.size, *tested(test, target, state[0])))
        yield _epoch(*state, history)


def _total(losses: list[float]) -> float:
    """Return their sum, one after the other, as every version of Python adds them."""
    return reduce(add, losses, 0.0)


def raised(network: es.Network, record: Record, amount: float) -> es.Network:
    """Return the network with larger weights onto every neuron that spiked in no sample of a record."""
    weights = {}
    for key, projection in network.projections.items():
        post = network.population(projection.post)
        if post.neuron is None or not post.neuron.spiking:
            continue
        silent = record.trains[post.name].counts().sum(axis=0) == 0
        per_row = np.repeat(silent, np.diff(projection.row_offsets))
        if per_row.any():
            weights[key] = projection.shaped(projection.weights + amount * per_row)
    return network.with_weights(weights) if weights else network


def _epoch(network: es.Network, memory: Memory, history: tuple[Row, ...]) -> Epoch:
    last = history[-1]
    accuracy = None if np.isnan(last.accuracy) else last.accuracy
    return Epoch(len(history) - 1, last.loss, last.test_loss, accuracy, network, memory, history)


def _held(target: Target, network: es.Network) -> es.Network:
    held = getattr(target, "held", None)
    found: es.Network = held(network) if callable(held) else network
    return found


def tested(test: es.Problem | None, target: Target, network: es.Network) -> tuple[float, float]:
    """Return the mean loss and the accuracy on samples, NaN for what there is not."""
    if test is None:
        return float("nan"), float("nan")
    problem = replace(test, network=network)
    if isinstance(target, Exact):
        loss: Any = problem.loss
        evaluation: Evaluation = loss.evaluate(problem.solution)
        return float(np.mean(evaluation.values)), accuracy(problem, problem.solution.spikes, evaluation)
    record = target.run(problem)
    if record.loss_values is None:
        raise ValueError(f"{record.name!r} gives no loss, which training needs")
    return float(np.mean(record.loss_values)), accuracy_of(problem, target, record.trains)


def accuracy_of(problem: es.Problem, target: Target, trains: Mapping[str, es.SpikeTrains]) -> float:
    """Return the part of samples that a target decides rightly, by its spikes, or by what it says of its readouts."""
    labels, decide = getattr(problem.loss, "labels", None), getattr(target, "decisions", None)
    decided = decide(problem) if labels is not None and callable(decide) else None
    return accuracy(problem, trains) if decided is None else float(np.mean(decided == np.asarray(labels)))


def accuracy(
    problem: es.Problem, trains: Mapping[str, es.SpikeTrains], evaluation: Evaluation | None = None
) -> float:
    """Return the part of samples that are decided rightly; NaN where nothing decides.

    An output that spikes decides by the first spike. A readout decides by the largest of what a cross-entropy of its
    voltages compares: from an exact evaluation, as the loss is -ln of the label's share s_l, and its derivatives by the
    voltages of another neuron k and of the label are as s_k to s_l - 1.
    """
    labels, name = getattr(problem.loss, "labels", None), getattr(problem.loss, "population", "")
    neuron = problem.network.population(name).neuron if name else None
    if labels is None or neuron is None:
        return float("nan")
    labels = np.asarray(labels)
    rows = np.arange(labels.size)
    if neuron.spiking:
        first = trains[name].first()
        return float(np.mean(np.isfinite(first).any(axis=1) & (first.argmin(axis=1) == labels)))
    if evaluation is None or not isinstance(problem.loss, OF_VOLTAGES):
        return float("nan")
    slopes = np.zeros((labels.size, problem.network.population(name).size))
    for (of, _), cotangents in evaluation.means.items():
        slopes += cotangents if of == name else 0.0
    if name in evaluation.voltages:
        reads = evaluation.voltages[name]
        np.add.at(slopes, (reads.samples, reads.neurons), reads.cotangents)
    share, all_others = np.exp(-evaluation.values), -slopes[rows, labels]
    slopes[rows, labels] = 0.0
    largest = np.divide(slopes.max(axis=1), all_others, out=np.zeros(labels.size), where=all_others > 0)
    return float(np.mean(share > largest * (1 - share)))
