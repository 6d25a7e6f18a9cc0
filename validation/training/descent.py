"""Gradient descent on a problem's weights: any network, any loss, any target that gives dL/dw.

A batch is a problem of some samples. The target runs it and gives the gradients, the optimizer changes the weights in
float64, and a target that holds weights in numbers of its own rounds them from one update to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import count
from eventsolve.io.records import Record
from eventsolve.network import Key
from validation.target import Target
from validation.training.optimizers import Memory, Optimizer

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Epoch:
    """Where a training is after an epoch.

    Attributes
    ----------
    number : int
        From 1 on; 0 is before the first.
    loss : float
        Mean over the training samples, each with the weights that its batch saw; NaN before the first epoch.
    test_loss : float
        Mean over the test samples, with the weights of ``network``; NaN without any.
    accuracy : float or None
        Of test samples, the part whose label's neuron spikes first; None where the loss has no labels of spiking
        neurons.
    network : Network
    """

    number: int
    loss: float
    test_loss: float
    accuracy: float | None
    network: es.Network


def trained(
    problem: es.Problem,
    target: Target,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int = 32,
    test: es.Problem | None = None,
    seed: int = 0,
) -> Iterator[Epoch]:
    """Yield where a training is: before it begins, and after every epoch.

    Parameters
    ----------
    problem : Problem
        The training samples, with a loss, and the network to begin with.
    target : Target
    optimizer : Optimizer
    epochs, batch_size : int
        At least 1. The last batch of an epoch may be smaller.
    test : Problem, optional
        Other samples for the same network.
    seed : int
        Of the order of samples, another one in every epoch.

    Raises
    ------
    ValueError
        If the problem has no loss, the target gives no dL/dw of a projection, or a gradient is not finite.
    """
    if problem.loss is None:
        raise ValueError("problem must have a loss to be trained on; it has none")
    if count("epochs", epochs) < 1 or count("batch_size", batch_size) < 1:
        raise ValueError(f"epochs and batch_size must be >= 1; got {epochs} and {batch_size}")
    network = _held(target, problem.network)
    yield Epoch(0, float("nan"), *_tested(test, target, network), network)
    random = np.random.default_rng(seed)
    memory = Memory()
    values = {key: np.array(p.weights) for key, p in network.projections.items()}
    for number in range(1, epochs + 1):
        order = random.permutation(problem.n_samples)
        total = 0.0
        for low in range(0, order.size, batch_size):
            batch = replace(problem.select(order[low : low + batch_size]), network=network)
            record = target.run(batch)
            gradients = mean_gradients(record, network)
            if record.loss_values is None:
                raise ValueError(f"{record.name!r} gives no loss, which training needs")
            new, memory = optimizer.step(tuple(values.values()), tuple(gradients.values()), memory)
            network = _held(target, _with(network, dict(zip(values, new, strict=True))))
            values = {key: np.array(p.weights) for key, p in network.projections.items()}
            total += float(np.sum(record.loss_values))
        yield Epoch(number, total / order.size, *_tested(test, target, network), network)


def mean_gradients(record: Record, network: es.Network) -> dict[Key, Reals]:
    """Return the batch-mean dL/dw of every synapse, (n_synapses,), by projection."""
    found = {}
    for key in network.projections:
        if key not in record.weight:
            raise ValueError(f"{record.name!r} gives no dL/dw of {key}, which training needs")
        mean = record.weight[key].mean(axis=0).reshape(-1)
        if not np.isfinite(mean).all():
            raise ValueError(f"dL/dw of {key} is not finite; {record.name!r} cannot be trained on")
        found[key] = np.asarray(mean, dtype=np.float64)
    return found


def _with(network: es.Network, values: dict[Key, Reals]) -> es.Network:
    return network.with_weights({key: network.projections[key].shaped(w) for key, w in values.items()})


def _held(target: Target, network: es.Network) -> es.Network:
    held = getattr(target, "held", None)
    found: es.Network = held(network) if callable(held) else network
    return found


def _tested(test: es.Problem | None, target: Target, network: es.Network) -> tuple[float, float | None]:
    """Return the mean loss and the accuracy on samples."""
    if test is None:
        return float("nan"), None
    record = target.run(replace(test, network=network))
    if record.loss_values is None:
        raise ValueError(f"{record.name!r} gives no loss, which training needs")
    return float(np.mean(record.loss_values)), accuracy(test, record)


def accuracy(problem: es.Problem, record: Record) -> float | None:
    """Return the part of samples in which the label's neuron spikes first; None where no spikes decide."""
    labels, population = getattr(problem.loss, "labels", None), getattr(problem.loss, "population", "")
    neuron = problem.network.population(population).neuron if population else None
    if labels is None or neuron is None or not neuron.spiking:
        return None
    first = record.trains[population].first()
    decided = np.isfinite(first).any(axis=1)
    return float(np.mean(decided & (first.argmin(axis=1) == np.asarray(labels))))
