"""Operations on numbers that are fixed point or floating point, by one name (compiled).

A number is an int64, raw, or a float64, as its type says, which chooses the operation when a kernel is compiled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from eventsolve.compiled import compiled
from validation.grid.kernels.words import (
    STOCHASTIC,
    Format,
    added,
    divided,
    multiplied,
    next_word,
    subtracted,
    word_for,
)
from validation.spinnaker2.kernels.steps import accumulate, accumulate_float, answer, answer_float, rounded


class Held(NamedTuple):
    """A number format: ``fixed`` for raw numbers, ``single`` whether floats are float32."""

    fixed: Format
    single: bool


def either(fixed, floating):
    """Return a function that is the first for an int64 as its first argument, or an array of them, else the second."""

    def chosen(x, *rest):
        return (fixed if np.asarray(x).dtype.kind == "i" else floating)(x, *rest)

    @overload(chosen)
    def typed(x, *rest):
        kind = x.dtype if isinstance(x, types.Array) else x
        function = fixed if isinstance(kind, types.Integer) else floating
        return lambda x, *rest: function(x, *rest)

    return chosen


@compiled
def _times_fixed(x, raw, value, operand, held, state, k):
    word = word_for(operand, held.fixed, state, k)
    return multiplied(x, raw, value, operand, held.fixed, word)


@compiled
def _times_float(x, raw, value, operand, held, state, k):
    return rounded(x * value, held.single), 0


@compiled
def _plus_fixed(x, y, held):
    return added(x, y, held.fixed)


@compiled
def _plus_float(x, y, held):
    return rounded(x + y, held.single), 0


@compiled
def _over_fixed(x, raw, value, operand, held, state, k):
    word = next_word(state, k) if held.fixed.rounding == STOCHASTIC else np.uint64(0)
    if operand.exact and raw < 0:
        x, s = subtracted(0, x, held.fixed)
        jump, t = divided(x, -raw, value, operand, held.fixed, word)
        return jump, s + t
    return divided(x, raw, value, operand, held.fixed, word)


@compiled
def _over_float(x, raw, value, operand, held, state, k):
    return rounded(x / value, held.single), 0


@compiled
def _value_fixed(x, held):
    return x * held.fixed.resolution


@compiled
def _value_float(x, held):
    return x


@compiled
def _answer_fixed(lam_v, lam_i, synapses, row, operand, held, state, k):
    return answer(synapses, row, lam_v, lam_i, operand, held.fixed, state, k)


@compiled
def _answer_float(lam_v, lam_i, synapses, row, operand, held, state, k):
    return answer_float(synapses, row, lam_v, lam_i, held.single), 0


@compiled
def _accumulate_fixed(lam_i, sums, sample, row, held, state):
    return accumulate(sums, sample, row, lam_i, held.fixed, state)


@compiled
def _accumulate_float(lam_i, sums, sample, row, held, state):
    return accumulate_float(sums, sample, row, lam_i, state)


times = either(_times_fixed, _times_float)
plus = either(_plus_fixed, _plus_float)
over = either(_over_fixed, _over_float)
value_of = either(_value_fixed, _value_float)
answered = either(_answer_fixed, _answer_float)
accumulated = either(_accumulate_fixed, _accumulate_float)


@compiled
def scaled_row(out, x, raw, value, operand, held, state, k):
    """Multiply a row by one number, and return the sum of statuses."""
    status = 0
    for j in range(x.size):
        out[j], s = times(x[j], raw, value, operand, held, state, k)
        status += s
    return status


@compiled
def increased_row(x, y, held):
    """Add a row to another, and return the sum of statuses."""
    status = 0
    for j in range(x.size):
        x[j], s = plus(x[j], y[j], held)
        status += s
    return status
