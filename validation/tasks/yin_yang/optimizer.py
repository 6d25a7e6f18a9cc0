"""One optimizer step, as a pure function, in the number formats of an engine.

The formulas are those of the chip's optimizer program, rounding included: gradient and moments are rounded into their
format whenever they are stored, weights into theirs, and the expressions in between are in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eventsolve.typing import Reals
from validation.fixedpoint import ArithmeticUnit, FixedFormat, to_float
from validation.spinnaker2 import SGD, Adam
from validation.spinnaker2.arithmetic import Number


@dataclass(frozen=True, eq=False)
class Moments:
    """What Adam remembers; arrays are like those that are trained. SGD remembers nothing, and has no arrays.

    Attributes
    ----------
    count : int
        Steps taken.
    first, second : tuple of ndarray of float64
    """

    count: int = 0
    first: tuple[Reals, ...] = ()
    second: tuple[Reals, ...] = ()


def initial_moments(rule: SGD | Adam, values: Sequence[Reals]) -> Moments:
    """Return the moments before the first step."""
    if isinstance(rule, SGD):
        return Moments()
    return Moments(0, tuple(np.zeros_like(v) for v in values), tuple(np.zeros_like(v) for v in values))


def in_unit(rule: SGD | Adam, unit: float) -> SGD | Adam:
    """Return the rule that does with gradients times ``unit`` what ``rule`` does with the true ones."""
    if isinstance(rule, SGD):
        return SGD(rule.learning_rate / unit, weight_decay=rule.weight_decay * unit)
    return replace(rule, weight_decay=rule.weight_decay * unit, eps=rule.eps * unit)


def step(
    rules: Sequence[SGD | Adam],
    values: Sequence[Reals],
    gradients: Sequence[Reals],
    moments: Moments,
    value_number: Number,
    moment_number: Number,
) -> tuple[tuple[Reals, ...], Moments]:
    """Return new values and moments.

    Parameters
    ----------
    rules : sequence of SGD or Adam
        One for each array, all of one kind.
    values, gradients : sequence of ndarray of float64
    moments : Moments
    value_number, moment_number : FloatFormat or FixedFormat
        Of the values; of the gradients and moments.
    """
    count = moments.count + 1
    new_values, first, second = [], [], []
    for k, (rule, value, gradient) in enumerate(zip(rules, values, gradients, strict=True)):
        g = rounded(gradient, moment_number) + rule.weight_decay * value
        if isinstance(rule, SGD):
            new_values.append(rounded(value - rule.learning_rate * g, value_number))
            continue
        beta1, beta2 = rule.betas
        first.append(rounded((1 - beta1) * g + beta1 * moments.first[k], moment_number))
        second.append(rounded((1 - beta2) * g**2 + beta2 * moments.second[k], moment_number))
        m, v = first[k] / (1 - beta1**count), second[k] / (1 - beta2**count)
        change = rule.learning_rate * m / (np.sqrt(v) + rule.eps)
        new_values.append(rounded(value - change, value_number))
    return tuple(new_values), Moments(count, tuple(first), tuple(second))


def rounded(values: Reals, number: Number) -> Reals:
    """Return values as a number format holds them: to the nearest, out of range to the end of the range."""
    if isinstance(number, FixedFormat):
        return to_float(ArithmeticUnit("half_up", "saturate").quantize(values, number), number)
    return values.astype(number.dtype).astype(np.float64)
