"""Numbers that states are held in: float64, float32, float16 or fixed point (compiled).

All are float64 between operations. An operation is done in float64 and its result brought into the format, which is
what the operation is in float32 and float16, and in fixed point but for ties that float64 cannot tell.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from eventsolve.compiled import without_refcount
from validation.grid.kernels.words import STOCHASTIC, Format, next_word, quantized

Array = Any

DOUBLE, SINGLE, FIXED, HALF = range(4)
HALF_LIMIT = 65520.0
"""From which on a number rounds to infinity in float16."""


class Number(NamedTuple):
    """A number format: its kind, one of the constants above, and what it is if it is fixed point."""

    kind: int
    format: Format


class Noise(NamedTuple):
    """Of every sample: the state of its random words, (n_samples, 4), and how many results were out of range."""

    words: Array
    overflows: Array


@without_refcount
def fitted(x, format, noise, k):
    """Return a float64 as a number of a fixed-point format."""
    word = next_word(noise.words, k) if format.rounding == STOCHASTIC else np.uint64(0)
    raw, status = quantized(x, format, word)
    noise.overflows[k] += status
    return raw * format.resolution


@without_refcount
def halved(x):
    """Return a float64 as the nearest float16, ties to the even one."""
    if not abs(x) < HALF_LIMIT:
        return x * math.inf
    unit = 2.0 ** (max(math.frexp(x)[1], -13) - 11)
    return np.rint(x / unit) * unit


@without_refcount
def into(x, number, noise, k):
    """Return a float64 as the nearest number of a format, in sample k."""
    if number.kind == DOUBLE:
        return x
    if number.kind == SINGLE:
        return np.float64(np.float32(x))
    if number.kind == HALF:
        return halved(x)
    return fitted(x, number.format, noise, k)
