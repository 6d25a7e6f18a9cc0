"""Values of a document, taken one by one: each is what it should be, or a RecordError says where it is not."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.bounded import Budget, Unreadable
from eventsolve.checks import index_vector, real_array, shown

Document = Mapping[str, Any]
_LARGEST = float(np.finfo(np.float64).max)


class RecordError(Unreadable):
    """A file or document that is not a record; the message says where and what was expected."""


def mapping(
    where: str, value: object, required: Collection[str] = (), optional: Collection[str] | None = None
) -> Document:
    """Return a mapping that has all required keys and, unless ``optional`` is None, no others than those named.

    In the latter, whose keys are fixed, "//" is a comment, and not returned.
    """
    if not isinstance(value, Mapping):
        raise RecordError(f"{where} must be an object; got {shown(value)}")
    for key in value:
        if not _is_unicode(key):
            raise RecordError(f"{where} has {shown(key)}, which is no string of characters")
    for key in required:
        if key not in value:
            raise RecordError(f"{where} must have {key!r}; it has {shown(sorted(value))}")
    if optional is not None:
        value = {key: entry for key, entry in value.items() if key != "//"}
        for key in value:
            if key not in required and key not in optional:
                known = ", ".join([*required, *optional])
                raise RecordError(f"{where} has {shown(key)}, which is none of {known}")
    return value


def listed(where: str, value: object) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise RecordError(f"{where} must be a list; got {shown(value)}")
    return value


def text(where: str, value: object, choices: Collection[str] | None = None) -> str:
    """Return a string that is not empty and made of characters, one of some choices if there are any."""
    if not isinstance(value, str) or not value or not _is_unicode(value):
        raise RecordError(f"{where} must be a string; got {shown(value)}")
    if choices is not None and value not in choices:
        raise RecordError(f"{where} must be one of {', '.join(choices)}; got {shown(value)}")
    return value


def _is_unicode(value: str) -> bool:
    """Say whether a string is made of characters: JSON can also name halves of one, which no encoding writes."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def number(where: str, value: object, *, positive: bool = False) -> float:
    """Return a finite number >= 0, or > 0."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not 0 <= value <= _LARGEST or (positive and value == 0):  # type: ignore[operator]
        raise RecordError(
            f"{where} must be a finite number {'> 0' if positive else '>= 0'}; got {shown(value)}"
        )
    return float(value)  # type: ignore[arg-type]


def size(where: str, value: object, largest: int) -> int:
    """Return an integer from 0 to a largest."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise RecordError(f"{where} must be an integer in 0..{largest}; got {shown(value)}")
    return value


def reals(where: str, value: object, budget: Budget, *, gaps: bool = False) -> NDArray[np.float64]:
    """Return float64 numbers of any shape; with ``gaps``, None stands for one that is not a number.

    An array that is float64 already is shared with all that name it, so that it must be read-only.
    """
    if isinstance(value, np.ndarray):
        if value.dtype == np.float64 and not value.flags.writeable:
            return value
        budget.take(8 * value.size, where)
    try:
        found = real_array(where, _without_truth(where, value, gaps))
    except ValueError as error:
        raise RecordError(str(error)) from error
    if not isinstance(value, np.ndarray):
        budget.take(found.nbytes, where)
    found.setflags(write=False)
    return found


def scaled(where: str, values: NDArray[np.float64], by: float, budget: Budget) -> NDArray[np.float64]:
    """Return values times a number, themselves if it is 1."""
    if by == 1.0:
        return values
    budget.take(values.nbytes, where)
    with np.errstate(over="ignore"):  # what becomes infinite is judged by those who know its meaning
        return np.asarray(times(values, by))


def times(values: Any, by: float) -> Any:
    """Return numbers times a unit, rounded once for one such as 1e-3: 9 of it are 0.009, which 9 * 1e-3 is not."""
    # of what is smaller the reciprocal may be infinite
    inverse = round(1.0 / by) if by > 1e-300 else 0
    return values / inverse if inverse and 1.0 / inverse == by else values * by


def indices(where: str, value: object, bound: int, budget: Budget) -> NDArray[np.int64]:
    """Return a vector of integers in 0..bound - 1."""
    if isinstance(value, np.ndarray):
        budget.take(8 * value.size, where)
    try:
        found = index_vector(where, _without_truth(where, value, False), bound)
    except (ValueError, OverflowError) as error:
        raise RecordError(str(error)) from error
    if not isinstance(value, np.ndarray):
        budget.take(found.nbytes, where)
    return found


def _without_truth(where: str, value: Any, gaps: bool) -> Any:
    """Return nested lists with gaps filled; refuse truth values, which numpy would take for numbers among numbers."""
    if isinstance(value, list):
        return [_without_truth(where, entry, gaps) for entry in value]
    if isinstance(value, bool):
        raise RecordError(f"{where} must be numbers; {value!r} is among them")
    return math.nan if gaps and value is None else value
