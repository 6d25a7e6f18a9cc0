"""Random networks, weights and samples for what learns by spiking backpropagation."""

from typing import NamedTuple

import numpy as np

from validation.sbp.rule import Rule
from validation.sbp.weights import Weights

LARGEST = 36
"""Neurons of a layer of which no sum reaches 9216, above which neurons fire that were not lifted."""


class Lesson(NamedTuple):
    rule: Rule
    weights: Weights
    inputs: np.ndarray
    targets: np.ndarray


def lesson(seed, n_samples=6, largest=12, rule=None):
    """A network of random sizes with weights small, large or at their limits; samples with any targets."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, largest + 1, 3)
    if rule is None:
        rule = Rule(read=str(rng.choice(["before", "after"])), limits=str(rng.choice(["chip", "symmetric"])))
    low, high = (-254, 254) if rule.limits == "symmetric" else (-256, 254)
    kind = rng.integers(3)

    def drawn(pre, post):
        if kind == 0:  # as they are initialised, so that sums lie about the thresholds
            values = rng.normal(0, 1024 * np.sqrt(2 / (pre + post)), (pre, post))
        elif kind == 1:
            values = rng.integers(low, high + 1, (pre, post))
        else:  # many at a limit, and sums at an end of the box
            values = rng.choice([low, low + 2, high - 2, high, 128, 256, 0], (pre, post))
        return np.clip(np.trunc(values / 2) * 2, low, high).astype(int)

    x = rng.random((n_samples, sizes[0])) < rng.uniform(0.3, 0.9)
    t = rng.random((n_samples, sizes[2])) < rng.uniform(0.1, 0.6)
    return Lesson(rule, Weights(drawn(*sizes[:2]), drawn(*sizes[1:])), x, t)


def digits(n_samples, seed=0):
    """Samples of ten classes that look alike within a class, with one target each."""
    rng = np.random.default_rng(seed)
    shapes = rng.random((10, 64)) < 0.4
    labels = rng.integers(0, 10, n_samples)
    x = shapes[labels] ^ (rng.random((n_samples, 64)) < 0.05)
    return x, labels
