"""What the kernels take: numbers, formats and tables of an image, as raw int64 and as float64 values.

Kernels hold fixed-point numbers as raw int64, and numbers of both float formats as float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.typing import Reals
from validation.fixedpoint import FixedFormat, to_float
from validation.grid.kernels.words import NOT_FINITE, Format, Operand
from validation.grid.number import kernel_format
from validation.spinnaker2.arithmetic import Arithmetic, Array, Number, decode
from validation.spinnaker2.image import LayerImage
from validation.spinnaker2.kernels.tables import BackwardOperands, Decays, Jumps, Neurons, Sums, Synapses

_WORD = 2**63 - 1
FLOATING = Operand(exact=False, shift=0, wide=False, plain=False, bias=0)
"""An operand whose operations are done in float64."""


def held(x: Array, number: Number) -> Array:
    """Return numbers of a format as the kernels hold them."""
    return x.astype(np.int64 if isinstance(number, FixedFormat) else np.float64, copy=False)


def native(x: Array, number: Number) -> Array:
    """Return held numbers as a :class:`Calculator` takes them."""
    return x if isinstance(number, FixedFormat) else x.astype(number.dtype, copy=False)


def values(x: Array, number: Number) -> Reals:
    """Return the values of held numbers."""
    return to_float(x, number) if isinstance(number, FixedFormat) else x


def fixed(number: FixedFormat, arithmetic: Arithmetic) -> Format:
    """Return a format and how results get into it."""
    return kernel_format(number, arithmetic.rounding, arithmetic.overflow)


def factor(number: FixedFormat, other: Number, arithmetic: Arithmetic) -> Operand:
    """Say how numbers of another format multiply those of this one."""
    if not isinstance(other, FixedFormat):
        return FLOATING
    shift, rounding = other.fraction_bits, arithmetic.rounding
    bias = 1 << (shift - 1) if rounding == "half_up" and shift > 0 else 0
    largest = max(number.minimum * other.minimum, number.maximum * other.maximum) + bias
    wide = number.bound * other.bound > _WORD
    plain = rounding in ("down", "half_up") and not wide and largest <= _WORD
    return Operand(exact=True, shift=shift, wide=wide, plain=plain, bias=bias)


def divisor(number: FixedFormat, other: Number) -> Operand:
    """Say how numbers of another format divide those of this one."""
    if not isinstance(other, FixedFormat):
        return FLOATING
    wide = number.bound << other.fraction_bits > _WORD
    return Operand(exact=True, shift=other.fraction_bits, wide=wide, plain=False, bias=0)


def backward(a: Arithmetic) -> BackwardOperands:
    """Say how everything else meets a fixed-point adjoint."""
    assert isinstance(a.adjoint, FixedFormat)
    return BackwardOperands(
        decay=factor(a.adjoint, a.decay, a),
        weight=factor(a.adjoint, a.weight, a),
        swing=factor(a.adjoint, a.state, a),
        slope=divisor(a.adjoint, a.state),
    )


class Tables(NamedTuple):
    """A layer as the kernels take it."""

    decays: Decays
    neurons: Neurons
    synapses: Synapses


def tables(layer: LayerImage, a: Arithmetic) -> Tables:
    """Return the tables of a layer."""
    factors = (layer.alpha, layer.beta, layer.one_minus_alpha, layer.one_minus_beta)
    raw = isinstance(a.decay, FixedFormat)
    weights = _rows([block.values for block in layer.afferents], layer.size, a.weight)
    return Tables(
        Decays(
            *(int(f) if raw else 0 for f in factors),
            *(float(decode(f, a.decay)) for f in factors),
        ),
        Neurons(
            held(layer.v_threshold, a.state).copy(),
            held(layer.v_reset, a.state).copy(),
            held(_rows(list(layer.increments), layer.size, a.state), a.state),
        ),
        Synapses(
            _raw(weights, a.weight),
            decode(weights, a.weight),
            _raw(layer.swing, a.state),
            decode(layer.swing, a.state),
        ),
    )


def jumps(errors: Array, slopes: Array, drives: Reals, a: Arithmetic) -> Jumps:
    """Return what the kernels are told of spikes: held errors, native slopes, I - v_reset."""
    return Jumps(errors, _raw(slopes, a.state), decode(slopes, a.state), drives)


def sums(n_samples: int, synapses: Synapses, a: Arithmetic) -> Sums:
    """Return empty accumulators."""
    shape, nothing = (n_samples, *synapses.weight_values.shape), (0, 0, 0)
    if not isinstance(a.gradient, FixedFormat):
        ignored = fixed(FixedFormat(1, 0), a)
        return Sums(np.zeros(nothing, np.int64), np.zeros(shape), ignored, 0, 0, a.gradient.bits == 32)
    more = a.gradient.fraction_bits - a.adjoint.fraction_bits if isinstance(a.adjoint, FixedFormat) else 0
    number = fixed(a.gradient, a)
    return Sums(np.zeros(shape, np.int64), np.zeros(nothing), number, max(more, 0), max(-more, 0), False)


def overflows(status: int, population: str) -> int:
    """Return how many results were out of range, or raise a ValueError if one was not finite."""
    if status >= NOT_FINITE:
        raise ValueError(
            f"a result of population {population!r} is not finite and cannot be held in fixed point; "
            "where float meets fixed point, numbers must stay finite"
        )
    return int(status)


def _rows(blocks: list[Array], n: int, number: Number) -> Array:
    """Return the weights of all projections below one another."""
    dtype = np.int64 if isinstance(number, FixedFormat) else number.dtype
    return np.concatenate([np.zeros((0, n), dtype), *blocks])


def _raw(x: Array, number: Number) -> Array:
    """Return raw numbers as they are, and nothing of the same rank for floats."""
    return x.copy() if isinstance(number, FixedFormat) else np.zeros((0,) * x.ndim, np.int64)
