"""Number formats by name: what the kernels compute in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from eventsolve.typing import Reals
from validation.fixedpoint import FixedFormat, Overflow, Rounding
from validation.grid.kernels.numbers import DOUBLE, FIXED, HALF, SINGLE, Noise, Number
from validation.grid.kernels.words import NOT_FINITE, STOCHASTIC, Format

FLOATS: Mapping[str, int] = MappingProxyType({"float64": DOUBLE, "float32": SINGLE, "float16": HALF})
_TYPES: Mapping[int, Any] = MappingProxyType({DOUBLE: np.float64, SINGLE: np.float32, HALF: np.float16})


def steps_and_formats(option: str) -> tuple[dict[str, Any], ...]:
    """Return settings to choose among, by time step and number format, which the target's ``option`` takes."""
    numbers = [
        {option: name, "rounding": rounding}
        for name in ("s8.7", "s8.11", "s16.15", "s12.19")
        for rounding in ("down", "half_up", "stochastic")
    ]
    steps = (1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
    return tuple({"time_step": h} | n for h in steps for n in [*numbers, {option: "float32"}])


def kernel_format(number: FixedFormat, rounding: Rounding, overflow: Overflow) -> Format:
    """Return a fixed-point format, and how results get into it, as kernels take it."""
    bits = number.value_bits + number.signed
    return Format(
        minimum=number.minimum,
        maximum=number.maximum,
        mask=-1 if bits == 64 else (1 << bits) - 1,
        resolution=number.resolution,
        scale=2.0**number.fraction_bits,
        limit=2.0**number.value_bits,
        rounding=get_args(Rounding).index(rounding),
        wraps=overflow == "wrap",
    )


def kernel_number(name: str, rounding: Rounding, overflow: Overflow) -> Number:
    """Return a format of :data:`FLOATS`, or a fixed-point one such as "s16.15", or raise a ValueError."""
    if name in FLOATS:
        return Number(FLOATS[name], kernel_format(FixedFormat(1, 0), rounding, overflow))
    try:
        parsed = FixedFormat.parse(name)
    except ValueError as error:
        raise ValueError(
            f"number must be {', '.join(map(repr, FLOATS))} or a fixed-point format; {error}"
        ) from None
    if parsed.value_bits > 52:
        raise ValueError(f"number must have at most 52 bits beside its sign, as float64 has; got {name!r}")
    return Number(FIXED, kernel_format(parsed, rounding, overflow))


def quantum(number: Number) -> float:
    """Return the distance of two numbers near 1."""
    if number.kind == FIXED:
        return number.format.resolution
    return float(np.finfo(_TYPES[number.kind]).eps)


def as_number(what: str, values: Reals, number: Number) -> Reals:
    """Return parameters in a format, to the nearest, ties to the even one.

    Raises
    ------
    ValueError
        If one is out of range, naming it as ``what``.
    """
    if number.kind == DOUBLE:
        return values
    if number.kind != FIXED:
        held: Reals = values.astype(_TYPES[number.kind]).astype(np.float64)
        return held
    scaled = np.rint(values * number.format.scale)
    bad = np.isfinite(values) & ((scaled < number.format.minimum) | (scaled > number.format.maximum))
    if bad.any():
        raise ValueError(f"{what} has {float(values[bad][0])!r}, which the number format cannot hold")
    return np.asarray(scaled * number.format.resolution)


def as_factor(values: Reals, number: Number) -> Reals:
    """Return factors by which states are multiplied: float32 beside float32; others multiply by float64."""
    return values.astype(np.float32).astype(np.float64) if number.kind == SINGLE else values


def noise_of(number: Number, low: int, high: int, seed: int) -> Noise:
    """Return the random words of samples low .. high - 1, each sample's own, and counts of results out of range."""
    words = np.zeros((high - low, 4), dtype=np.uint64)
    if number.kind == FIXED and number.format.rounding == STOCHASTIC:
        for sample in range(low, high):
            words[sample - low] = np.random.SFC64([seed, sample]).state["state"]["state"]
    return Noise(words, np.zeros(high - low, np.int64))


def overflows(noise: Noise) -> int:
    """Return how many results were out of range, or raise a ValueError if one was not finite."""
    total = int(noise.overflows.sum())
    if total >= NOT_FINITE:
        raise ValueError("a result is not finite and cannot be held in fixed point")
    return total
