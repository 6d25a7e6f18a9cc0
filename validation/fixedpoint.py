"""Fixed-point formats, rounding and overflow, exact to the last bit.

A number x of a format with f fraction bits is held as the integer ("raw") x 2^f in an int64 array. Every
operation forms its exact integer result first, rounds it once, and then brings it into the range of the
format. It works in int64 where the formats prove that the exact result fits, and on Python integers
otherwise (two unsigned 32-bit fractions, for example): slower, never different.

The rounding modes are those of spinn_common (``round.h``) and of common hardware. With n bits
dropped from the integer p:

- "down"           p >> n, towards minus infinity, what a plain shift does
- "to_zero"        towards zero
- "half_up"        (p >> n) + ((p >> (n - 1)) & 1), to the nearest, ties towards plus infinity
- "nearest_even"   to the nearest, ties to even
- "stochastic"     (p >> n) + (u < p mod 2^n) with u the top n bits of a random word: up with probability
  (p mod 2^n) / 2^n, for negative numbers too
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import count

Raw: TypeAlias = NDArray[np.int64]
Rounding: TypeAlias = Literal["down", "to_zero", "half_up", "nearest_even", "stochastic"]
Overflow: TypeAlias = Literal["saturate", "wrap"]

_INT64_BOUND = 2**63 - 1


@dataclass(frozen=True)
class FixedFormat:
    """A fixed-point format.

    Attributes
    ----------
    integer_bits, fraction_bits : int
        >= 0, together 1 to 63; the sign bit is not counted.
    signed : bool
        Two's complement if True.
    """

    integer_bits: int
    fraction_bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        bits = tuple(count(name, getattr(self, name)) for name in ("integer_bits", "fraction_bits"))
        if min(bits) < 0 or not 1 <= sum(bits) <= 63:
            raise ValueError(
                f"integer_bits and fraction_bits must be >= 0 and 1 to 63 together; "
                f"got {bits[0]} and {bits[1]}"
            )

    @classmethod
    def parse(cls, text: str) -> FixedFormat:
        """Read a name such as "s16.15" or "u0.32"."""
        match = re.fullmatch(r"([su])(\d+)\.(\d+)", text)
        if match is None:
            raise ValueError(f"{text!r} is not a fixed-point format; write s16.15 or u0.32")
        return cls(int(match[2]), int(match[3]), match[1] == "s")

    @property
    def name(self) -> str:
        """Such as "s16.15"."""
        return f"{'s' if self.signed else 'u'}{self.integer_bits}.{self.fraction_bits}"

    @property
    def value_bits(self) -> int:
        """Bits without the sign."""
        return self.integer_bits + self.fraction_bits

    @property
    def minimum(self) -> int:
        """Smallest raw number."""
        return -(1 << self.value_bits) if self.signed else 0

    @property
    def maximum(self) -> int:
        """Largest raw number."""
        return (1 << self.value_bits) - 1

    @property
    def bound(self) -> int:
        """Largest magnitude of a raw number."""
        return max(-self.minimum, self.maximum)

    @property
    def resolution(self) -> float:
        """The value of one raw unit (LSB)."""
        return float(2.0**-self.fraction_bits)

    def __str__(self) -> str:
        return self.name


S16_15 = FixedFormat(16, 15)
"""``accum`` of ISO/IEC TR 18037, as ARM compilers have it."""
S0_31 = FixedFormat(0, 31)
"""``long fract``."""
U0_32 = FixedFormat(0, 32, signed=False)
"""``unsigned long fract``, in which decay factors are stored."""
S8_7 = FixedFormat(8, 7)
"""``short accum``, a 16-bit weight."""


def to_float(raw: ArrayLike, number: FixedFormat) -> NDArray[np.float64]:
    """Return the values; exact for up to 53 value bits, else rounded to the nearest float64."""
    values: NDArray[np.float64] = np.ldexp(np.asarray(raw, dtype=np.float64), -number.fraction_bits)
    return values


class ArithmeticUnit:
    """Fixed-point operations under one rounding mode and one way to overflow.

    Parameters
    ----------
    rounding : {"down", "to_zero", "half_up", "nearest_even", "stochastic"}
        See the module docstring.
    overflow : {"saturate", "wrap"}
        To the nearest number of the format, or modulo 2^(number of its bits).
    rng : numpy BitGenerator, optional
        Needed for "stochastic", which takes a word of 64 bits per element of every operation that rounds, in the order
        of the elements.

    Attributes
    ----------
    overflows : int
        How many results so far were out of the range of their format.
    """

    def __init__(
        self,
        rounding: Rounding = "half_up",
        overflow: Overflow = "saturate",
        rng: np.random.BitGenerator | None = None,
    ) -> None:
        if rounding not in get_args(Rounding):
            raise ValueError(f"rounding must be one of {', '.join(get_args(Rounding))}; got {rounding!r}")
        if overflow not in get_args(Overflow):
            raise ValueError(f"overflow must be one of {', '.join(get_args(Overflow))}; got {overflow!r}")
        if rounding == "stochastic" and rng is None:
            raise ValueError("stochastic rounding needs rng, a numpy BitGenerator")
        self.rounding = rounding
        self.overflow = overflow
        self.rng = rng
        self.overflows = 0

    # -- to and between formats ------------------------------------------------------------------------------

    def quantize(self, values: ArrayLike, out: FixedFormat) -> Raw:
        """Return the raw numbers of floating-point values, rounded once.

        Exact for every finite float64; under "stochastic" the probability is the fraction up to 2^-53.

        Raises
        ------
        ValueError
            If a value is NaN or infinite.
        """
        x = np.asarray(values, dtype=np.float64)
        if not np.isfinite(x).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
            raise ValueError(
                f"values must be finite to be held in {out}; values{list(place)} is {float(x[place])!r}"
            )
        with np.errstate(over="ignore"):
            scaled = np.ldexp(x, out.fraction_bits)
        whole = self._round_float(scaled)
        limit = float(1 << out.value_bits)
        high, low = whole >= limit, whole < (-limit if out.signed else 0.0)
        inside = ~(high | low)
        self.overflows += int(x.size - np.count_nonzero(inside))
        raw = np.where(inside, whole, 0.0).astype(np.int64)
        if self.overflow == "saturate":
            raw = np.where(high, out.maximum, np.where(low, out.minimum, raw))
        elif not inside.all():
            modulus = 1 << (out.value_bits + out.signed)
            for k in map(tuple, np.argwhere(~inside)):  # beyond 2^1023 every float64 is a multiple of 2^64
                wide = int(whole[k]) % modulus if np.isfinite(whole[k]) else 0
                raw[k] = wide - modulus if wide > out.maximum else wide
        return np.asarray(raw, dtype=np.int64)

    def convert(self, x: Raw, source: FixedFormat, out: FixedFormat) -> Raw:
        """Return numbers of one format in another."""
        if source == out:
            return x
        return self._settle(np.asarray(x, dtype=np.int64), source.bound, source.fraction_bits, out)

    # -- arithmetic ------------------------------------------------------------------------------------------

    def add(self, x: Raw, x_format: FixedFormat, y: Raw, y_format: FixedFormat, out: FixedFormat) -> Raw:
        """Return x + y, rounded once if ``out`` has fewer fraction bits than an operand."""
        return self._sum(x, x_format, y, y_format, out, 1)

    def subtract(self, x: Raw, x_format: FixedFormat, y: Raw, y_format: FixedFormat, out: FixedFormat) -> Raw:
        """Return x - y, rounded once if ``out`` has fewer fraction bits than an operand."""
        return self._sum(x, x_format, y, y_format, out, -1)

    def multiply(self, x: Raw, x_format: FixedFormat, y: Raw, y_format: FixedFormat, out: FixedFormat) -> Raw:
        """Return x y, rounded once."""
        bound = x_format.bound * y_format.bound
        word = _word(bound)
        product: NDArray[Any] = np.asarray(x).astype(word, copy=False) * np.asarray(y).astype(
            word, copy=False
        )
        return self._settle(product, bound, x_format.fraction_bits + y_format.fraction_bits, out)

    def divide(self, x: Raw, x_format: FixedFormat, y: Raw, y_format: FixedFormat, out: FixedFormat) -> Raw:
        """Return x / y, rounded once: "stochastic" rounds up with the probability of the exact fraction.

        Raises
        ------
        ZeroDivisionError
            If an element of y is 0.
        """
        if not np.all(y):
            raise ZeroDivisionError(
                f"division by zero in {y_format}: {np.size(y) - np.count_nonzero(y)} elements of y are 0"
            )
        shift = out.fraction_bits + y_format.fraction_bits - x_format.fraction_bits
        up, down = max(shift, 0), max(-shift, 0)
        word = _word(max(x_format.bound << up, y_format.bound << down))
        numerator = np.asarray(np.asarray(x).astype(word, copy=False) << up, dtype=word)
        divisor = np.asarray(np.asarray(y).astype(word, copy=False) << down, dtype=word)
        sign = np.where(divisor < 0, -1, 1).astype(word, copy=False)
        numerator, divisor = np.asarray(numerator * sign, dtype=word), np.asarray(divisor * sign, dtype=word)
        quotient = numerator // divisor
        return self.fit(self._round(quotient, numerator - quotient * divisor, divisor), out)

    def total(self, x: Raw, number: FixedFormat) -> Raw:
        """Return the sum over the last axis, formed exactly and brought into range once at its end."""
        return self.fit(exact_total(x), number)

    # -- the two steps that every operation ends with --------------------------------------------------------

    def _sum(
        self, x: Raw, x_format: FixedFormat, y: Raw, y_format: FixedFormat, out: FixedFormat, sign: int
    ) -> Raw:
        fraction = max(x_format.fraction_bits, y_format.fraction_bits)
        x_up, y_up = fraction - x_format.fraction_bits, fraction - y_format.fraction_bits
        bound = (x_format.bound << x_up) + (y_format.bound << y_up)
        word = _word(bound)
        left: NDArray[Any] = np.asarray(x).astype(word, copy=False)
        right: NDArray[Any] = np.asarray(y).astype(word, copy=False)
        if x_up or y_up:
            left, right = left << x_up, right << y_up
        return self._settle(left + right if sign > 0 else left - right, bound, fraction, out)

    def _settle(self, x: NDArray[Any], bound: int, fraction_bits: int, out: FixedFormat) -> Raw:
        """Bring integers with ``fraction_bits`` into a format."""
        n = fraction_bits - out.fraction_bits
        if n < 0:
            return self.fit(x.astype(_word(bound << -n), copy=False) << -n, out)
        if n == 0:
            return self.fit(x, out)
        if n > 62:
            x = x.astype(object)
        return self.fit(self._round(x >> n, x & ((1 << n) - 1), 1 << n), out)

    def _round(self, floor: NDArray[Any], rest: NDArray[Any], divisor: Any) -> NDArray[Any]:
        """Round floor + rest / divisor, 0 <= rest < divisor."""
        if self.rounding == "down":
            return floor
        if self.rounding == "to_zero":
            up = (floor < 0) & (rest != 0)
        elif self.rounding == "half_up":
            up = rest >= divisor - rest
        elif self.rounding == "nearest_even":
            other = divisor - rest
            up = (rest > other) | ((rest == other) & ((floor & 1) != 0))
        else:
            up = self._uniform(divisor, np.shape(rest)) < rest
        return np.asarray(floor + up)

    def _uniform(self, divisor: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return floor(w divisor / 2^64), 0 .. divisor - 1, for random words w; more words for a divisor above 2^64."""
        divisors = np.asarray(divisor)
        if divisors.ndim == 0 and 1 < divisor <= 1 << 62 and int(divisor).bit_count() == 1:
            words = self._words(math.prod(shape)) >> np.uint64(65 - int(divisor).bit_length())
            return words.astype(np.int64).reshape(shape)
        n_words = max(1, -(-(int(np.max(divisors, initial=1)) - 1).bit_length() // 64))
        words = self._words(math.prod(shape) * n_words).astype(object).reshape(*shape, n_words)
        wide = sum(words[..., k] << (64 * k) for k in range(n_words))
        return np.asarray((wide * divisors) >> (64 * n_words))

    def _words(self, n: int) -> NDArray[np.uint64]:
        assert self.rng is not None
        return np.asarray(self.rng.random_raw(n), dtype=np.uint64)

    def _round_float(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.rounding == "down":
            return np.floor(x)
        if self.rounding == "to_zero":
            return np.trunc(x)
        if self.rounding == "nearest_even":
            return np.rint(x)
        floor = np.floor(x)
        rest = np.zeros_like(x)
        np.subtract(x, floor, out=rest, where=np.isfinite(x))
        if self.rounding == "half_up":
            return np.asarray(floor + (rest >= 0.5))
        fractions = (self._words(x.size) >> np.uint64(11)) * 2.0**-53
        return np.asarray(floor + (fractions.reshape(x.shape) < rest))

    def fit(self, x: NDArray[Any], out: FixedFormat) -> Raw:
        """Bring integers into the range of a format, and count those that were not."""
        x = np.asarray(x)
        if not x.ndim:  # numpy turns one number of Python's into a type of its own choice
            return self.fit(x.astype(object if x.dtype.kind != "i" else x.dtype).reshape(1), out).reshape(())
        if x.size == 0 or (x.min() >= out.minimum and x.max() <= out.maximum):
            return x.astype(np.int64, copy=False)
        self.overflows += int(np.count_nonzero((x < out.minimum) | (x > out.maximum)))
        if self.overflow == "saturate":
            return np.asarray(np.clip(x, out.minimum, out.maximum).astype(np.int64))
        modulus = 1 << (out.value_bits + out.signed)
        if modulus > 1 << 62:
            x = x.astype(object)
        low = x & (modulus - 1)
        return np.asarray(np.where(low > out.maximum, low - modulus, low).astype(np.int64))


def exact_total(x: ArrayLike) -> NDArray[Any]:
    """Return the sum of integers over the last axis, in int64 if that is wide enough."""
    terms = np.asarray(x)
    peak = max(int(np.max(terms, initial=0)), -int(np.min(terms, initial=0)))
    word = _word(peak * max(1, terms.shape[-1]))
    return np.asarray(terms.astype(word, copy=False).sum(axis=-1), dtype=word)


def _word(bound: int) -> type[Any]:
    """Return the narrowest element type that holds integers up to a magnitude: int64, or Python's own."""
    return np.int64 if bound <= _INT64_BOUND else object
