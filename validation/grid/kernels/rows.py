"""Operations on rows of numbers, each result rounded to the format that they are held in (compiled)."""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import without_refcount
from validation.grid.kernels.numbers import DOUBLE, HALF, SINGLE, halved
from validation.grid.kernels.words import STOCHASTIC, next_word, quantized


@without_refcount
def settled(row, number, noise, k):
    """Round a row to a format, in sample k."""
    if number.kind == DOUBLE:
        return
    if number.kind == SINGLE:
        for j in range(row.size):
            row[j] = np.float64(np.float32(row[j]))
        return
    if number.kind == HALF:
        for j in range(row.size):
            row[j] = halved(row[j])
        return
    format, total, word = number.format, 0, np.uint64(0)
    for j in range(row.size):
        if format.rounding == STOCHASTIC:
            word = next_word(noise.words, k)
        raw, status = quantized(row[j], format, word)
        row[j] = raw * format.resolution
        total += status
    noise.overflows[k] += total


@without_refcount
def scaled(out, x, factors, number, noise, k):
    """Multiply a row by another."""
    for j in range(x.size):
        out[j] = x[j] * factors[j]
    settled(out, number, noise, k)


@without_refcount
def increased(x, y, number, noise, k):
    """Add a row to another."""
    for j in range(x.size):
        x[j] = x[j] + y[j]
    settled(x, number, noise, k)


@without_refcount
def combined(out, x, a, y, b, spare, number, noise, k):
    """Set a row to a x + b y."""
    if number.kind == DOUBLE:
        for j in range(x.size):
            out[j] = x[j] * a[j] + y[j] * b[j]
        return
    scaled(spare, y, b, number, noise, k)
    scaled(out, x, a, number, noise, k)
    increased(out, spare, number, noise, k)


@without_refcount
def copied(row, values):
    """Fill a row with the values of another."""
    for j in range(values.size):
        row[j] = values[j]


@without_refcount
def cleared(row):
    """Fill a row with zeros."""
    for j in range(row.size):
        row[j] = 0.0
