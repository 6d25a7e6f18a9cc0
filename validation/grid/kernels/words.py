"""One fixed-point result at a time, in machine words: what :mod:`validation.fixedpoint` does with arrays (compiled).

An exact result is formed in 64 bits, or in 128 as a pair (high: int64, low: uint64), is rounded once, and is brought
into its format. Every function returns the raw number and its status: 0, 1 if it was out of range, NOT_FINITE if there
is no such number. In all of them the result and the first operand have one format, as in every program of the core.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled

NOT_FINITE = 1 << 48
"""A status that stands apart in a sum of statuses: there are never so many results out of range."""
DOWN, TO_ZERO, HALF_UP, NEAREST_EVEN, STOCHASTIC = range(5)

_LOW_HALF = 0xFFFFFFFF


class Format(NamedTuple):
    """A fixed-point format, and how results get into it.

    Attributes
    ----------
    minimum, maximum : int
        Of raw numbers.
    mask : int
        The bits of a raw number, -1 for all 64.
    resolution, scale, limit : float
        2^-f, 2^f, and the smallest power of two above the maximum.
    rounding : int
        One of the constants above.
    wraps : bool
        Else it saturates.
    """

    minimum: int
    maximum: int
    mask: int
    resolution: float
    scale: float
    limit: float
    rounding: int
    wraps: bool


class Operand(NamedTuple):
    """What multiplies or divides numbers of a format.

    Attributes
    ----------
    exact : bool
        Whether it is a fixed-point number too; else the operation is done in float64 and rounded.
    shift : int
        Its fraction bits, 0 to 63.
    wide : bool
        Whether the exact result may need more than 64 bits.
    plain : bool
        Whether ``(x y + bias) >> shift`` is the rounded product.
    bias : int
        1/2 for "half_up".
    """

    exact: bool
    shift: int
    wide: bool
    plain: bool
    bias: int


@compiled
def next_word(state, k):
    """Return the next 64 random bits of generator k (SFC64, C. Doty-Humphrey), whose state is state[k]."""
    a, b, c, n = state[k, 0], state[k, 1], state[k, 2], state[k, 3]
    word = a + b + n
    state[k, 0] = b ^ (b >> np.uint64(11))
    state[k, 1] = c + (c << np.uint64(3))
    state[k, 2] = ((c << np.uint64(24)) | (c >> np.uint64(40))) + word
    state[k, 3] = n + np.uint64(1)
    return word


@compiled
def word_for(operand, number, state, k):
    """Return the random word with which a product is rounded: 0 if it needs none."""
    if number.rounding == STOCHASTIC and (operand.shift > 0 or not operand.exact):
        return next_word(state, k)
    return np.uint64(0)


@compiled
def wrapped(low, number):
    """Return the number of the format whose bits are the last ones of an int64."""
    bits = low & number.mask
    return bits - number.mask - 1 if bits > number.maximum else bits


@compiled
def fitted(x, number):
    """Bring an int64 into range."""
    if number.minimum <= x <= number.maximum:
        return x, 0
    if number.wraps:
        return wrapped(x, number), 1
    return (number.maximum if x > 0 else number.minimum), 1


@compiled
def fitted_pair(high, low, number):
    """Bring a 128-bit integer into range."""
    x = np.int64(low)
    if high == x >> 63:
        return fitted(x, number)
    if number.wraps:
        return wrapped(x, number), 1
    return (number.maximum if high >= 0 else number.minimum), 1


@compiled
def rounds_up(negative, odd, rest, other, below, rounding):
    """Say whether a floor with a rest > 0 is rounded up.

    ``negative`` and ``odd`` are of the floor; ``other`` is divisor - rest; ``below`` tells whether a uniform random
    number lies below the rest.
    """
    if rounding == HALF_UP:
        return rest >= other
    if rounding == TO_ZERO:
        return negative
    if rounding == NEAREST_EVEN:
        return rest > other or (rest == other and odd)
    if rounding == STOCHASTIC:
        return below
    return False


@compiled
def shift_rounds_up(negative, odd, rest, n, rounding, word):
    """Say whether a floor from which n bits, 1 to 63, were dropped is rounded up; ``rest`` are these bits."""
    if rest == 0:
        return False
    other = ((1 << (n - 1)) - rest) + (1 << (n - 1))
    return rounds_up(negative, odd, rest, other, np.int64(word >> np.uint64(64 - n)) < rest, rounding)


@compiled
def product(x, y):
    """Return x y of two int64 in 128 bits."""
    x_low, y_low = x & _LOW_HALF, y & _LOW_HALF
    x_high, y_high = x >> 32, y >> 32
    lowest = np.int64((np.uint64(x_low) * np.uint64(y_low)) >> np.uint64(32))
    middle = x_high * y_low + lowest
    other = x_low * y_high + (middle & _LOW_HALF)
    return x_high * y_high + (middle >> 32) + (other >> 32), np.uint64(x) * np.uint64(y)


@compiled
def settled(high, low, n, number, word):
    """Drop n bits, 0 to 63, of a 128-bit integer and bring it into range."""
    if n == 0:
        return fitted_pair(high, low, number)
    rest = np.int64(low) & ((1 << n) - 1)
    low = (low >> np.uint64(n)) | (np.uint64(high) << np.uint64(64 - n))
    high = high >> n
    if shift_rounds_up(high < 0, (low & np.uint64(1)) != 0, rest, n, number.rounding, word):
        low = low + np.uint64(1)
        if low == 0:
            high = high + 1
    return fitted_pair(high, low, number)


@compiled
def quantized(value, number, word):
    """Return a float64 in the format, rounded once."""
    scaled = value * number.scale
    floor = np.floor(scaled)
    whole = floor
    if number.rounding == TO_ZERO:
        whole = np.trunc(scaled)
    elif number.rounding == NEAREST_EVEN:
        whole = np.rint(scaled)
    elif np.isfinite(scaled):
        if number.rounding == HALF_UP:
            whole = floor + (1.0 if scaled - floor >= 0.5 else 0.0)
        elif number.rounding == STOCHASTIC:
            whole = floor + (1.0 if np.float64(word >> np.uint64(11)) * 2.0**-53 < scaled - floor else 0.0)
    lowest = 0.0 if number.minimum == 0 else -number.limit
    if lowest <= whole < number.limit:
        return np.int64(whole), 0
    if not np.isfinite(value):
        return 0, NOT_FINITE
    if not number.wraps:
        return (number.maximum if whole > 0 else number.minimum), 1
    if not np.isfinite(whole):  # beyond 2^1023 every float64 is a multiple of 2^64
        return 0, 1
    low = np.fmod(whole, 2.0**64)  # exact, as is what follows
    if low >= 2.0**63:
        low -= 2.0**64
    elif low < -(2.0**63):
        low += 2.0**64
    return wrapped(np.int64(low), number), 1


@compiled
def added(x, y, number):
    """Return x + y of one format."""
    total = x + y
    if ((x ^ total) & (y ^ total)) < 0:  # beyond 64 bits
        if number.wraps:
            return wrapped(total, number), 1
        return (number.maximum if x > 0 else number.minimum), 1
    return fitted(total, number)


@compiled
def subtracted(x, y, number):
    """Return x - y of one format."""
    difference = x - y
    if ((x ^ y) & (x ^ difference)) < 0:
        if number.wraps:
            return wrapped(difference, number), 1
        return (number.maximum if x >= 0 else number.minimum), 1
    return fitted(difference, number)


@compiled
def multiplied(x, raw, value, operand, number, word):
    """Return x times an operand, given as a raw number or, where it is not exact, by its value."""
    if not operand.exact:
        return quantized(x * number.resolution * value, number, word)
    if operand.wide:
        high, low = product(x, raw)
        return settled(high, low, operand.shift, number, word)
    n, exact = operand.shift, x * raw
    if n == 0:
        return fitted(exact, number)
    floor = exact >> n
    up = shift_rounds_up(floor < 0, (floor & 1) != 0, exact & ((1 << n) - 1), n, number.rounding, word)
    return fitted(floor + (1 if up else 0), number)


@compiled
def divided(x, raw, value, operand, number, word):
    """Return x over an operand, whose raw number is > 0."""
    if not operand.exact:
        return quantized(x * number.resolution / value, number, word)
    if operand.wide:
        high, low, rest = quotient(x, operand.shift, raw)
    else:
        numerator = x << operand.shift
        floor = numerator // raw
        high, low, rest = floor >> 63, np.uint64(floor), numerator - floor * raw
    odd = (low & np.uint64(1)) != 0
    below = product_high(word, raw) < rest
    if rest > 0 and rounds_up(high < 0, odd, rest, raw - rest, below, number.rounding):
        low = low + np.uint64(1)
        if low == 0:
            high = high + 1
    return fitted_pair(high, low, number)


@compiled
def product_high(word, y):
    """Return the upper 64 of the 128 bits of an unsigned word times an int64 >= 0."""
    low, factor, half = word & np.uint64(_LOW_HALF), np.uint64(y), np.uint64(32)
    factor_low, factor_high, upper = factor & np.uint64(_LOW_HALF), factor >> half, word >> half
    middle = upper * factor_low + ((low * factor_low) >> half)
    other = low * factor_high + (middle & np.uint64(_LOW_HALF))
    return np.int64(upper * factor_high + (middle >> half) + (other >> half))


@compiled
def quotient(x, n, divisor):
    """Return floor(x 2^n / divisor) in 128 bits and the rest, for a divisor > 0: long division, bit by bit."""
    negative = x < 0
    size = np.uint64(-x) if negative else np.uint64(x)
    high = size >> np.uint64(64 - n) if n > 0 else np.uint64(0)
    low, one, by = size << np.uint64(n), np.uint64(1), np.uint64(divisor)
    rest = np.uint64(0)
    for _ in range(128):
        rest = (rest << one) | (high >> np.uint64(63))
        high = (high << one) | (low >> np.uint64(63))
        low = low << one
        if rest >= by:
            rest = rest - by
            low = low | one
    if not negative:
        return np.int64(high), low, np.int64(rest)
    if rest > 0:
        return np.int64(~high), ~low, np.int64(by - rest)
    return np.int64(~high) + (1 if low == 0 else 0), ~low + one, np.int64(0)


@compiled
def accumulated(x, y, up, down, number, word):
    """Return x + y 2^up 2^-down, where y has other fraction bits: one of ``up`` and ``down`` is 0."""
    rest = np.int64(0)
    if up > 0:
        high, low = y >> (64 - up), np.uint64(y) << np.uint64(up)
    else:
        rest = y & ((1 << down) - 1)
        y = y >> down
        high, low = y >> 63, np.uint64(y)
    low = low + np.uint64(x)
    high = high + (x >> 63) + (1 if low < np.uint64(x) else 0)
    if down > 0 and shift_rounds_up(high < 0, (low & np.uint64(1)) != 0, rest, down, number.rounding, word):
        low = low + np.uint64(1)
        if low == 0:
            high = high + 1
    return fitted_pair(high, low, number)
