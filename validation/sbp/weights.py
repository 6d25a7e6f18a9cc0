"""Weights of a network and its samples, checked at the door: on the grid of the chip, binary, and of one size."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import first_entry, real_array, shown
from validation.sbp.kernels.tables import Matrices
from validation.sbp.rule import CHIP, THRESHOLD, Rule

Integers = NDArray[np.int32]
Flags = NDArray[np.bool_]


class Weights(NamedTuple):
    """W1 (n_in, n_hidden) and W2 (n_hidden, n_out), pre before post, in units of which a threshold has 1024."""

    w1: NDArray[Any]
    w2: NDArray[Any]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Inputs, hidden neurons, outputs."""
        return self.w1.shape[0], self.w1.shape[1], self.w2.shape[1]


def initial(sizes: tuple[int, int, int], seed: int, rule: Rule = CHIP) -> Weights:
    """Return weights as the authors draw them: normal, of deviation 1024 sqrt(2/(n_pre + n_post)), within +-240.

    Those of an integer rule are cut to its grid towards 0. Those of all others are those of eight bits, so that rules
    are compared from equal weights.

    Raises
    ------
    ValueError
        If a layer has no neuron.
    """
    for name, size in zip(("n_in", "n_hidden", "n_out"), sizes, strict=True):
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(
                f"{name} must be an integer >= 1, as a layer of no neurons computes nothing; got {size!r}"
            )
    random = np.random.default_rng(seed)
    unit = rule.unit if rule.error == "sign" else CHIP.unit
    drawn = []
    for pre, post in pairwise(sizes):
        values = random.normal(0.0, np.sqrt(2 / (pre + post)) * THRESHOLD, (pre, post))
        drawn.append(np.trunc(np.clip(values, -240, 240) / unit) * unit + 0.0)
    return Weights(*drawn)


def on_grid(
    name: str, given: ArrayLike, rule: Rule = CHIP, shape: tuple[int | None, ...] = (None, None)
) -> Integers:
    """Return weights as integers on a rule's fine grid, or say which of them the rule cannot hold.

    Raises
    ------
    ValueError
        If the shape is another one, a layer has size 0, or a weight is off the rule's grid or beyond its limits.
    """
    values = real_array(name, given, "weights")
    check_shape(name, values, shape)
    low, high = rule.bounds
    off = ~np.isfinite(values) | (values != np.round(values / rule.unit) * rule.unit)
    if off.any():
        raise ValueError(
            f"{name} must be multiples of {rule.unit:g}, the grid of weights; {first_entry(values, off)}"
        )
    beyond = (values < low) | (values > high)
    if beyond.any():
        raise ValueError(
            f"{name} must lie in {low:g}..{high:g}, the range of weights; {first_entry(values, beyond)}"
        )
    return (values * rule.fine).astype(np.int32)


def check_shape(name: str, values: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    """Raise a ValueError unless an array has a shape, in which None is any size but 0."""
    fits = len(values.shape) == len(shape) and all(
        given == wanted if wanted is not None else given > 0
        for given, wanted in zip(values.shape, shape, strict=True)
    )
    if not fits:
        words = ", ".join("at least 1" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have the shape ({words}); got {values.shape}")


def matrices(weights: Weights, rule: Rule) -> Matrices:
    """Return copies for the kernels, +W2^T and -W2^T among them, the latter within the limits.

    Raises
    ------
    ValueError
        If the rule cannot hold a weight, or the matrices do not fit together.
    """
    if rule.error == "real":
        reals = [real_array(name, w) for name, w in zip(("w1", "w2"), weights, strict=True)]
        check_shape("w1", reals[0], (None, None))
        check_shape("w2", reals[1], (reals[0].shape[1], None))
        for name, values in zip(("w1", "w2"), reals, strict=True):
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite; {first_entry(values, ~np.isfinite(values))}")
        return Matrices(reals[0], reals[1], np.empty((0, 0)), np.empty((0, 0)))
    w1 = on_grid("w1", weights.w1, rule)
    w2 = on_grid("w2", weights.w2, rule, (w1.shape[1], None))
    return Matrices(w1, w2, np.ascontiguousarray(w2.T), mirrored(w2, rule))


def mirrored(w2: Integers, rule: Rule) -> Integers:
    """Return -W2^T on the fine grid as far as a rule can hold it: of -256 it is 254."""
    numbers = rule.numbers
    return np.clip(-w2.T, numbers.low, numbers.high).astype(np.int32)


def binary(name: str, given: ArrayLike, n: int | None = None) -> Flags:
    """Return samples (n_samples, n) of zeros and ones, or raise a ValueError."""
    values = np.asarray(given)
    if values.dtype != np.bool_:
        values = real_array(name, given, "zeros and ones")
    if values.ndim != 2 or not values.shape[1] or (n is not None and values.shape[1] != n):
        raise ValueError(
            f"{name} must have the shape (n_samples, {'n' if n is None else n}); got {values.shape}"
        )
    other = (values != 0) & (values != 1)
    if other.any():
        raise ValueError(
            f"{name} must be binary, 0 or 1, as an input is a spike or none; {first_entry(values, other)}"
        )
    return np.ascontiguousarray(values == 1)


def one_hot(labels: ArrayLike, n_out: int) -> Flags:
    """Return targets (n_samples, n_out) with a 1 at each label.

    Raises
    ------
    ValueError
        If a label is no integer, or not one of 0..n_out - 1.
    """
    found = np.asarray(labels)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(
            f"labels must be a vector of integers; got {found.dtype} of shape {found.shape}: {shown(labels)}"
        )
    outside = (found < 0) | (found >= n_out)
    if outside.any():
        raise ValueError(
            f"labels must lie in 0..{n_out - 1}, one for each output; {first_entry(found, outside)}"
        )
    return np.asarray(np.arange(n_out) == found[:, np.newaxis])
