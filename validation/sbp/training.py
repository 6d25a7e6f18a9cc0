"""Learning from samples by circuit, closed form or exact backpropagation, from equal weights and in equal order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from validation.sbp import circuit, reference
from validation.sbp.images import Samples
from validation.sbp.rule import CHIP, EXACT, THRESHOLD, Rule
from validation.sbp.weights import Weights, initial
from validation.sbp.wiring import INFERENCE

PUBLISHED = 0.963
"""Test accuracy of 400-400-10 on MNIST after 60 epochs on the chip (Renner et al. 2024)."""


class Accuracy(NamedTuple):
    """Shares of samples answered rightly.

    Attributes
    ----------
    exact : float
        Each output fires if and only if it should.
    spikes : float
        The first output that fires is the label's; output 0 if none does.
    sums : float
        The label's output has the largest sum.
    """

    exact: float
    spikes: float
    sums: float


class Epoch(NamedTuple):
    """How far learning is.

    Attributes
    ----------
    number : int
        From 1.
    learning : int
        Samples with an output that was wrong within its box; of the circuit, those that changed a weight.
    test : Accuracy
    weights : Weights
        At the end of the epoch.
    at_limit : int
        Weights at a limit of the rule.
    """

    number: int
    learning: int
    test: Accuracy
    weights: Weights
    at_limit: int


class Operations(NamedTuple):
    """What a sample takes on average: spikes, synaptic events over fixed and over plastic synapses, weights changed."""

    steps: int
    spikes: float
    fixed: float
    plastic: float
    updates: float


def accuracy(weights: Weights, test: Samples, rule: Rule = CHIP) -> Accuracy:
    """Return how many samples are answered rightly."""
    z2 = reference.outputs(weights, test.inputs, rule)
    fired = z2 > THRESHOLD // 2
    return Accuracy(
        float((fired == test.targets).all(axis=1).mean()),
        float((fired.argmax(axis=1) == test.labels).mean()),
        float((z2.argmax(axis=1) == test.labels).mean()),
    )


def trained(
    training: Samples,
    test: Samples,
    rule: Rule = CHIP,
    *,
    hidden: int = 100,
    epochs: int = 30,
    seed: int = 0,
    engine: Literal["closed form", "circuit"] = "closed form",
) -> Iterator[Epoch]:
    """Learn all samples in each epoch, one by one, in an order that the seed draws, from weights that it draws.

    Raises
    ------
    ValueError
        If sizes do not fit, or a circuit is asked for another rule than one of signs.
    """
    n_in = training.inputs.shape[1]
    if test.inputs.shape[1] != n_in or test.n_classes != training.n_classes:
        raise ValueError(
            f"test must have {n_in} inputs and {training.n_classes} classes, as training has; got "
            f"{test.inputs.shape[1]} and {test.n_classes}"
        )
    if engine not in ("closed form", "circuit"):
        raise ValueError(f"engine must be closed form or circuit; got {engine!r}")
    targets = training.targets
    random = np.random.default_rng(seed)
    weights: Weights = initial((n_in, hidden, training.n_classes), seed, rule)
    copies: Any = None
    state = None
    for number in range(1, epochs + 1):
        order = random.permutation(len(training.inputs))
        if engine == "circuit":
            state = state or circuit.begun(circuit.held(weights, rule=rule))
            ran = circuit.ran(state, training.inputs[order], targets[order], None, rule, record=False)
            state = ran.state
            weights = Weights(state.weights["x->h"], state.weights["h->o"])
            learning = int((ran.counts[:, 3] > 0).sum())
        else:
            found = reference.learned(weights, training.inputs, targets, rule, copies=copies, order=order)
            weights = found.weights
            copies = None if rule.error == "real" else (found.plus, found.minus)
            learning = int(found.counts[:, 2:4].any(axis=1).sum())
        low, high = rule.bounds
        at_limit = sum(int(((w <= low) | (w >= high)).sum()) for w in map(np.asarray, weights))
        yield Epoch(number, learning, accuracy(weights, test, rule), weights, at_limit)


def operations(weights: Weights, some: Samples) -> tuple[Operations, Operations]:
    """Return what a sample takes to be learned and to be answered, as the circuit counts it."""
    learning = circuit.learned(weights, some.inputs, some.targets, record=False)
    answering = circuit.ran(
        circuit.begun(circuit.held(weights, INFERENCE), INFERENCE), some.inputs, None, INFERENCE, record=False
    )
    return (
        Operations(12, *map(float, learning.counts.mean(axis=0))),
        Operations(4, *map(float, answering.counts.mean(axis=0))),
    )


@dataclass(frozen=True)
class Row:
    """A rule of the table, by what it changes."""

    name: str
    rule: Rule
    engine: Literal["closed form", "circuit"] = "closed form"


ROWS = (
    Row("chip, circuit of twelve steps", CHIP, "circuit"),
    Row("chip, closed form", CHIP),
    Row("transport after learning", Rule(read="after")),
    Row("sign, no limits", Rule(limits="none")),
    Row("real error, no limits: exact", EXACT),
    Row("real error, limits of 8 bits", Rule(error="real")),
    Row("no box", Rule(box=False)),
    Row("real error, no box, no limits", Rule(error="real", limits="none", box=False)),
    *(Row(f"{bits} bits", Rule(bits=bits)) for bits in (5, 6, 7, 9, 10)),
    *(Row(f"no sign of errors up to {dead}", Rule(dead=dead)) for dead in (32, 64, 128)),
)
"""What the table compares: the approximations one by one, weights of other bits, and what may mend the sign."""


class Result(NamedTuple):
    """A rule after its trainings: of each seed the last epoch, and how many samples changed weights in the first."""

    row: Row
    last: tuple[Epoch, ...]
    first_learning: tuple[int, ...]

    def spread(self, of: Callable[[Epoch], float]) -> tuple[float, float]:
        """Return the mean over seeds and its standard deviation, nan for one seed."""
        values = [of(epoch) for epoch in self.last]
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def table(
    training: Samples,
    test: Samples,
    rows: Sequence[Row] = ROWS,
    *,
    hidden: int,
    epochs: int,
    seeds: Sequence[int],
) -> Iterator[Result]:
    """Train every rule from the weights and in the order of each seed, and yield what comes of it."""
    for row in rows:
        runs = [
            list(
                trained(training, test, row.rule, hidden=hidden, epochs=epochs, seed=seed, engine=row.engine)
            )
            for seed in seeds
        ]
        yield Result(row, tuple(run[-1] for run in runs), tuple(run[0].learning for run in runs))
