"""In which numbers a core holds each quantity, and how it computes with them.

A quantity is floating point or fixed point, each by itself: quantized weights beside a float64 state are a setting
like any other. An operation on fixed-point numbers that gives a fixed-point number is exact and rounded once; one
on floats of one format is the float operation; any other is done in float64 and then rounded into its format.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from validation.fixedpoint import (
    U0_32,
    ArithmeticUnit,
    FixedFormat,
    Overflow,
    Rounding,
    exact_total,
    to_float,
)

Array: TypeAlias = NDArray[Any]
"""Of floats, or of raw fixed-point numbers: what the format beside it says."""


@dataclass(frozen=True)
class FloatFormat:
    """An IEEE format of 32 or 64 bits."""

    bits: Literal[32, 64]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of arrays in this format."""
        return np.dtype(f"float{self.bits}")

    def __str__(self) -> str:
        return f"float{self.bits}"


FLOAT32 = FloatFormat(32)
FLOAT64 = FloatFormat(64)
Number: TypeAlias = FloatFormat | FixedFormat


@dataclass(frozen=True)
class Arithmetic:
    """The number format of every quantity of a core.

    Attributes
    ----------
    name : str
        For titles.
    weight, state, decay : FloatFormat or FixedFormat
        Weights; voltages and currents; the decay factors and their complements to 1.
    adjoint : FloatFormat or FixedFormat
        Adjoint voltages and currents, their jumps, and the payload of error packets.
    probability : FloatFormat or FixedFormat
        Exponentials and probabilities in the loss program, 0 to 1.
    gradient : FloatFormat or FixedFormat
        The accumulator of each synapse.
    rounding, overflow : str
        Of fixed-point results, as in :class:`~validation.fixedpoint.ArithmeticUnit`.
    seed : int
        Of stochastic rounding; every program draws from a stream of its own, and for every sample from another.
    """

    name: str
    weight: Number
    state: Number
    decay: Number
    adjoint: Number
    probability: Number
    gradient: Number
    rounding: Rounding = "half_up"
    overflow: Overflow = "saturate"
    seed: int = 0

    presets: ClassVar[tuple[str, ...]] = ("float64", "float32", "s16.15")

    @classmethod
    def preset(cls, name: str) -> Arithmetic:
        """Return the arithmetic "float64", "float32", or that of a signed fixed-point format such as "s16.15".

        "float32" is what the published program most likely uses. "s16.15" holds weights, state and adjoints in
        s16.15 and decay factors in u0.32, rounds to nearest as the SpiNNaker numeric stack does, and
        accumulates gradients in 64 bits; another format takes the place of s16.15.
        """
        if name == "float64":
            return cls(name, FLOAT64, FLOAT64, FLOAT64, FLOAT64, FLOAT64, FLOAT64)
        if name == "float32":
            return cls(name, FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32)
        try:
            number = FixedFormat.parse(name)
        except ValueError:
            number = U0_32
        if not number.signed or number.value_bits > 62:
            raise ValueError(
                f"format must be one of {', '.join(cls.presets)}, another signed format of up to 63 bits, "
                f"or an Arithmetic; got {name!r}"
            )
        sums = FixedFormat(62 - number.fraction_bits, number.fraction_bits)
        return cls(name, number, number, U0_32, number, FixedFormat(1, 30), sums)


def with_bits(arithmetic: Arithmetic, integer_bits: int, fraction_bits: int) -> Arithmetic:
    """Return an arithmetic whose formats all have so many fraction bits, or more where numbers are small.

    Weights, states, adjoints and gradients have just so many. Decay factors, which a small time step brings close to 0
    and 1, have 17 more, and probabilities 15, as u0.32 and s1.30 have beside s16.15.
    """
    number = FixedFormat(integer_bits, fraction_bits)
    return replace(
        arithmetic,
        name=number.name,
        weight=number,
        state=number,
        adjoint=number,
        gradient=FixedFormat(62 - fraction_bits, fraction_bits),
        decay=FixedFormat(0, min(fraction_bits + 17, 62), signed=False),
        probability=FixedFormat(1, min(fraction_bits + 15, 61)),
    )


class Calculator:
    """The operations of one program; every result is given in the format that is asked for.

    Parameters
    ----------
    arithmetic : Arithmetic
    stream : int
        Which stream of random numbers stochastic rounding draws from: that of the host, which loads the program,
    sample : int, optional
        or that of a run of the program on this sample.
    """

    def __init__(self, arithmetic: Arithmetic, stream: int, sample: int | None = None) -> None:
        rng = random_words(arithmetic, stream, sample) if arithmetic.rounding == "stochastic" else None
        self._unit = ArithmeticUnit(arithmetic.rounding, arithmetic.overflow, rng)

    @property
    def overflows(self) -> int:
        """How many fixed-point results were out of range so far."""
        return self._unit.overflows

    def encode(self, values: ArrayLike, number: Number) -> Array:
        """Return float64 values in a format."""
        if isinstance(number, FixedFormat):
            return self._unit.quantize(values, number)
        return np.asarray(values, dtype=np.float64).astype(number.dtype)

    def convert(self, x: Array, source: Number, out: Number) -> Array:
        """Return numbers of one format in another."""
        if source == out:
            return x
        if isinstance(source, FixedFormat) and isinstance(out, FixedFormat):
            return self._unit.convert(x, source, out)
        return self.encode(decode(x, source), out)

    def add(self, x: Array, x_number: Number, y: Array, y_number: Number, out: Number) -> Array:
        """Return x + y."""
        return self._apply(self._unit.add, operator.add, x, x_number, y, y_number, out)

    def subtract(self, x: Array, x_number: Number, y: Array, y_number: Number, out: Number) -> Array:
        """Return x - y."""
        return self._apply(self._unit.subtract, operator.sub, x, x_number, y, y_number, out)

    def multiply(self, x: Array, x_number: Number, y: Array, y_number: Number, out: Number) -> Array:
        """Return x y."""
        return self._apply(self._unit.multiply, operator.mul, x, x_number, y, y_number, out)

    def divide(self, x: Array, x_number: Number, y: Array, y_number: Number, out: Number) -> Array:
        """Return x / y; y must not be 0."""
        return self._apply(self._unit.divide, operator.truediv, x, x_number, y, y_number, out)

    def total(self, x: Array, number: Number) -> Array:
        """Return the sum over the last axis: floats one by one in ascending order, integers exactly."""
        return self.settled(self.summed(x, number, None), number)

    def summed(self, x: Array, number: Number, carried: Array | None) -> Array:
        """Return the sum over the last axis on top of one carried over; that of integers may be out of range."""
        if isinstance(number, FixedFormat):
            total = exact_total(x)
            return total if carried is None else exact_total(np.stack([carried, total], axis=-1))
        terms = x if carried is None else np.concatenate([carried[..., None], x], axis=-1)
        if terms.shape[-1] == 0:
            return np.zeros(terms.shape[:-1], dtype=x.dtype)
        return np.asarray(np.cumsum(terms, axis=-1)[..., -1])

    def settled(self, total: Array, number: Number) -> Array:
        """Bring a sum into its format."""
        return self._unit.fit(total, number) if isinstance(number, FixedFormat) else total

    def _apply(
        self,
        exact: Callable[[Array, FixedFormat, Array, FixedFormat, FixedFormat], Array],
        plain: Callable[[Array, Array], Array],
        x: Array,
        x_number: Number,
        y: Array,
        y_number: Number,
        out: Number,
    ) -> Array:
        """Choose between the three kinds of operation that the module docstring names."""
        if (
            isinstance(x_number, FixedFormat)
            and isinstance(y_number, FixedFormat)
            and isinstance(out, FixedFormat)
        ):
            return exact(x, x_number, y, y_number, out)
        if x_number == y_number == out:
            return np.asarray(plain(x, y))
        return self.encode(plain(decode(x, x_number), decode(y, y_number)), out)


def random_words(arithmetic: Arithmetic, stream: int, sample: int | None) -> np.random.SFC64:
    """Return the generator of a stream, a small and fast one (:class:`Calculator`)."""
    return np.random.SFC64([arithmetic.seed, stream, *(() if sample is None else (sample + 1,))])


def decode(x: Array, number: Number) -> NDArray[np.float64]:
    """Return the values as float64."""
    if isinstance(number, FixedFormat):
        return to_float(x, number)
    return np.asarray(x, dtype=np.float64)


def zeros(shape: tuple[int, ...], number: Number) -> Array:
    """Return zeros in a format."""
    return np.zeros(shape, dtype=np.int64 if isinstance(number, FixedFormat) else number.dtype)


def check_range(what: str, values: NDArray[np.float64], number: Number) -> None:
    """Raise a ValueError unless a format holds all of these values, but for rounding."""
    if not isinstance(number, FixedFormat):
        return
    low, high = number.minimum * number.resolution, number.maximum * number.resolution
    outside = ~((values >= low) & (values <= high))
    if outside.any():
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        others = int(np.count_nonzero(outside)) - 1
        raise ValueError(
            f"{what} must lie in {low!r} to {high!r}, the range of {number}; entry {list(place)} is "
            f"{float(values[place])!r}" + (f", and {others} more are outside" if others else "")
        )
