"""Numbers that carry a unit: what they are in seconds, or a refusal. The unit is never dropped.

They are known by what they offer, so that no library of units has to be installed: ``quantities`` and ``neo``,
``pint``, ``astropy`` and ``brian2``, besides numpy's and Python's own durations. A list may hold some.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray


class UnitWarning(UserWarning):
    """A number that is legal and most probably in another unit than its user believes; it says which."""


_PLAIN = {
    float,
    int,
    bool,
    complex,
    str,
    bytes,
    type(None),
    *(np.dtype(code).type for code in "bBhHiIlLqQefdgFD?"),
}
_UNITS = ("units", "unit", "dimensions")  # of quantities and pint, astropy, brian2
_DURATIONS = {
    "W": Fraction(604800),
    "D": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
    "ps": Fraction(1, 10**12),
    "fs": Fraction(1, 10**15),
    "as": Fraction(1, 10**18),
}
_EXACT = 2**53  # every integer up to here is a float64


def with_unit(given: object) -> object | None:
    """Return the first object in a number, an array or nested lists that carries a unit, None if none does."""
    return next(_with_units(given), None)


def in_seconds(given: object) -> Any:
    """Return a number, an array or nested lists with each duration in it replaced by its seconds, rounded once.

    Raises
    ------
    ValueError
        If something in it carries a unit that is not one of time: its argument is that object.
    """
    if _carries_unit(given):
        return _seconds(given)
    if isinstance(given, list | tuple) and with_unit(given) is not None:
        return [in_seconds(entry) for entry in given]
    return given


def _with_units(given: object) -> Iterator[object]:
    if _carries_unit(given):
        yield given
    elif isinstance(given, list | tuple) and not _PLAIN.issuperset(map(type, given)):
        for entry in given:
            if type(entry) not in _PLAIN:
                yield from _with_units(entry)


def _carries_unit(value: object) -> bool:
    if type(value) is np.ndarray:
        return bool(value.dtype.kind == "m")
    if type(value) in _PLAIN or isinstance(value, list | tuple):
        return False
    if isinstance(value, datetime.timedelta | np.timedelta64):
        return True
    kind = type(value)  # an instance may answer to any name, such as a table to those of its columns
    return any(hasattr(kind, name) and getattr(value, name, None) is not None for name in _UNITS)


def _seconds(value: Any) -> Any:
    """Return a duration, or an array of them, in seconds."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "m":
        array = np.asarray(value)
        unit, count = np.datetime_data(array.dtype)
        if unit not in _DURATIONS:
            raise ValueError(value)
        seconds = _scaled(array.astype(np.int64), count * _DURATIONS[unit])
        seconds[np.isnat(array)] = np.nan
        return seconds
    try:
        if hasattr(value, "rescale"):
            factor, numbers = value.units.rescale("s").magnitude, value.magnitude
        elif hasattr(value, "units") and hasattr(value, "magnitude"):
            factor, numbers = type(value)(1, value.units).to("second").magnitude, value.magnitude
        elif hasattr(value, "unit") and hasattr(value, "value"):
            factor, numbers = value.unit.to("s"), value.value
        elif str(getattr(value, "dimensions", "")) == "s":  # brian2 keeps numbers in SI units
            factor, numbers = 1.0, np.asarray(value)
        else:
            raise ValueError(value)
    except (TypeError, ValueError) as error:
        raise ValueError(value) from error
    array = np.asarray(numbers)
    if array.dtype.kind not in "iuf":
        return numbers  # for the door to refuse
    return _scaled(array, Fraction(f"{float(factor):.15g}"))


def _scaled(numbers: NDArray[Any], factor: Fraction) -> NDArray[np.float64]:
    """Return the doubles nearest to numbers times a factor: 9 times 1/1000 is 0.009, which 9 * 1e-3 is not."""
    small = numbers.dtype.kind == "f" or (np.abs(numbers) <= _EXACT).all()
    with np.errstate(over="ignore"):
        if small and factor.numerator == 1 and factor.denominator <= 10**22:
            return np.asarray(numbers.astype(np.float64) / factor.denominator)
        if small and factor.denominator == 1 and factor.numerator <= _EXACT:
            return np.asarray(numbers.astype(np.float64) * factor.numerator)
    flat = [_product(number, factor) for number in numbers.reshape(-1).tolist()]
    return np.array(flat, dtype=np.float64).reshape(numbers.shape)


def _product(number: float, factor: Fraction) -> float:
    if not np.isfinite(number):
        return number
    try:
        return float(Fraction(number) * factor)
    except OverflowError:
        return np.inf if number > 0 else -np.inf
