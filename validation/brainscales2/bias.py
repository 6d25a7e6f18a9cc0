"""How far the gradient in the loop is from the true one of the chip, by cause and by slope.

The true gradient is the exact one of the network that the chip really is, without noise, by what was programmed:
weights, and the delays of circuits in tau. A bias is an error that is left without noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io import datasets
from eventsolve.typing import Key, Reals
from validation.attribution.shapley import Coalition, Shapley, changes, estimated, order_pairs, path
from validation.brainscales2.closed_forms import SLOPES, Slope
from validation.brainscales2.loop import Found, Way, gradient
from validation.brainscales2.networks import SETUPS, TAU, Parameters, Setup, problem
from validation.brainscales2.target import BrainScaleS2, judged
from validation.brainscales2.training import Plan, accuracy, circuits, points, train

FIXED = ("threshold_mean", "threshold_spread", "tau_spread", "gain_spread", "delay_spread")
"""Causes that are the chip's for good."""

TABLE: tuple[tuple[str, tuple[str, ...], Mapping[str, float]], ...] = (
    ("threshold mean +0.13", ("threshold_mean",), {}),
    ("threshold sd 0.08", ("threshold_spread",), {}),
    ("threshold sd 0.3", ("threshold_spread",), {"threshold_spread": 0.3}),
    ("tau sd 5 %", ("tau_spread",), {}),
    ("tau sd 10 %", ("tau_spread",), {"tau_spread": 0.1}),
    ("gain sd 10 %", ("gain_spread",), {}),
    ("gain sd 20 %", ("gain_spread",), {"gain_spread": 0.2}),
    ("delay sd 0.1 tau", ("delay_spread",), {}),
    ("weights unrounded", ("weight_grid", "unrounded"), {}),
    ("all fixed causes", FIXED, {}),
)
"""Rows of the table: causes, and how large they are where that is not the default."""


@dataclass(frozen=True, eq=False)
class Gap:
    """How far a gradient is from another: the norm of the difference relative to it, and the cosine of the two."""

    error: float
    cosine: float


def gap(got: Reals, want: Reals) -> Gap:
    """Return how far one vector is from another, which must not be 0."""
    size = float(np.linalg.norm(want))
    if size == 0:
        raise ValueError("the true gradient is 0, as of outputs that are silent: train for more epochs")
    both = size * float(np.linalg.norm(got))
    return Gap(float(np.linalg.norm(got - want)) / size, float(got @ want) / both if both else 0.0)


def flat(weight: Mapping[Key, Reals], delay: Mapping[Key, Reals]) -> Reals:
    """Return batch means as one vector in tau: weights, then the delays of circuits."""
    parts = [values.ravel() / TAU**2 for values in weight.values()]
    lines: dict[str, Any] = {}
    for key, values in delay.items():
        lines[key[0]] = lines.get(key[0], 0.0) + values.sum(axis=0) / TAU
    return np.concatenate([*parts, *lines.values()])


def in_the_loop(
    chip: BrainScaleS2, batch: es.Problem, slopes: Iterable[Slope] = SLOPES
) -> dict[Slope, Reals]:
    """Return the batch-mean gradient along what one run of a chip measures, with several slopes."""
    measured, _ = chip.measured(batch)
    spikes = {
        name: measured.trains(name) for name, p in batch.network.populations.items() if p.neuron is not None
    }
    _, errors = judged(batch, spikes)
    seen = batch.network if chip.has("unrounded") else chip.programmed(batch.network)

    def mean(found: Found) -> Reals:
        weight, delay = ({key: v.mean(axis=0) for key, v in of.items()} for of in (found.weight, found.delay))
        return flat(weight, delay)

    return {slope: mean(gradient(seen, measured, errors, Way(slope, cap=chip.cap))) for slope in slopes}


def true(chip: BrainScaleS2, batch: es.Problem) -> Reals:
    """Return the exact batch-mean gradient of the network that a chip is."""
    assert batch.loss is not None
    real = replace(batch, network=chip.chip(batch.network))
    _, grads = es.value_and_grad(real.solution, batch.loss, wrt=("weight", "delay"))
    delayed = {key: grads.delay[key] for key, p in batch.network.projections.items() if p.delay.any()}
    return flat(chip.by_programmed(batch.network, grads.weight), delayed)


def trained(setup: Setup, epochs: int, seed: int = 0) -> Parameters:
    """Return parameters of the ideal network after some epochs."""
    return list(train(Plan(setup, "exact", seed, epochs)))[-1].parameters


def batch_of(setup: Setup, parameters: Parameters, n_samples: int) -> es.Problem:
    """Return points of the published test set."""
    return problem(setup, parameters, datasets.yin_yang(n_samples, 40))


def biases(
    batch: es.Problem, chips: int, causes: Sequence[str], settings: Mapping[str, float]
) -> dict[Slope, list[Gap]]:
    """Return the bias of every slope on some chips that have some causes alone."""
    found: dict[Slope, list[Gap]] = {slope: [] for slope in SLOPES}
    for seed in range(chips):
        chip = BrainScaleS2(seed, **settings).with_causes(causes)  # type: ignore[arg-type]
        want = true(chip, batch)
        for slope, got in in_the_loop(chip, batch).items():
            found[slope].append(gap(got, want))
    return found


@dataclass(frozen=True, eq=False)
class Averaging:
    """What averaging trials does for the gradient of one batch on one chip.

    Attributes
    ----------
    noise : float
        Of a single trial: the root of its mean squared distance from the mean, relative to the true gradient.
    bias : float
        Of the mean of all trials, less what is left of the noise; 0 if that is all.
    """

    noise: float
    bias: float

    @property
    def enough(self) -> float:
        """From how many trials on the noise of their mean is below the bias; inf without one."""
        return np.inf if self.bias == 0 else max(1.0, float(np.ceil((self.noise / self.bias) ** 2)))


def averaging(batch: es.Problem, chip: BrainScaleS2, trials: int) -> dict[Slope, Averaging]:
    """Return noise and bias over trials of a batch."""
    want = true(chip, batch)
    runs = [in_the_loop(replace(chip, noise_seed=chip.noise_seed + k), batch) for k in range(trials)]
    found = {}
    for slope in SLOPES:
        rows = np.stack([run[slope] for run in runs]) / np.linalg.norm(want)
        mean = rows.mean(axis=0)
        noise = float(((rows - mean) ** 2).sum() / (trials - 1))
        left = float(((mean - want / np.linalg.norm(want)) ** 2).sum()) - noise / trials
        found[slope] = Averaging(noise**0.5, max(left, 0.0) ** 0.5)
    return found


def calibrated(batch: es.Problem, chips: int, shares: Sequence[float]) -> dict[float, dict[Slope, list[Gap]]]:
    """Return the bias where so much of every fixed cause is left after a calibration."""
    sizes = {name: getattr(BrainScaleS2(), name) for name in FIXED}
    return {
        share: biases(batch, chips, FIXED, {name: share * size for name, size in sizes.items()})
        for share in shares
    }


def blame(batch: es.Problem, chips: int, pairs: int, seed: int = 0) -> Shapley:
    """Return what each fixed cause adds to the bias of each slope, as Shapley values of the mean error over chips."""

    def worth(on: Coalition) -> Reals:
        found = biases(batch, chips, sorted(on), {})
        return np.array([np.mean([one.error for one in found[slope]]) for slope in SLOPES])

    return _shapley(worth, pairs, seed)


def accuracies(setup: Setup, parameters: Parameters, chips: int, pairs: int, seed: int = 0) -> Shapley:
    """Return what each fixed cause takes from the test accuracy of weights that an ideal network has learned."""
    test = points(1000, 40)

    def worth(on: Coalition) -> Reals:
        rights = []
        for chip in range(chips):
            circuit = circuits(setup, BrainScaleS2(chip).with_causes(on))
            rights.append(accuracy(setup, parameters, circuit, *test, np.random.default_rng(chip))[0])
        return np.array([np.mean(rights)])

    return _shapley(worth, pairs, seed)


def _shapley(worth: Any, pairs: int, seed: int) -> Shapley:
    known: dict[Coalition, Reals] = {}
    found: list[Reals] = []
    for _, orders in zip(range(pairs), order_pairs(FIXED, seed), strict=False):
        for coalition in (c for order in orders for c in path(order)):
            if coalition not in known:
                known[coalition] = worth(coalition)
        found.append(np.mean([changes(order, FIXED, known) for order in orders], axis=0))
    return estimated(found)


SETUP = SETUPS["chip-axonal"]
