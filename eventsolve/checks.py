"""Numbers at the door: what a caller gives becomes a copy, or an error that names it and the first bad entry.

Whatever is shown of what a caller gave, in errors, on a terminal or in a report, goes through :func:`shown` (values) or
:func:`printable` (names and sentences).

Text, truth values, complex numbers and masked entries are refused: numpy would turn each into a number quietly. So are
numbers that carry a unit, but for times, which become seconds. What range a number may lie in is left to the callers,
who know its meaning.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.units import in_seconds, with_unit

_SHOWN = 200
_LARGE = (str, bytes, list, tuple, dict, set, frozenset)
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 8
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 2 * _SHOWN
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = _BRIEF.maxfrozenset = _SHOWN


def shown(value: object) -> str:
    """Return the repr of a value, shortened to what an error message can carry; of a large one, only its beginning."""
    try:
        text = _BRIEF.repr(value) if isinstance(value, _LARGE) else repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = f"{type(value).__name__} of very many digits"
    return _shortened(printable(text, len(text)), _SHOWN)


def printable(text: str, most: int = 2000) -> str:
    r"""Return text that any terminal, HTML or XML shows as it is: other characters as Python escapes, the end cut off.

    >>> printable("layer\x1b[31m")
    'layer\\x1b[31m'
    """
    head = text[: most + 1]
    if not head.isprintable():
        head = "".join(c if c.isprintable() else repr(c)[1:-1] for c in head)
    return head if len(text) <= most else _shortened(head, most)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def instance(name: str, given: object, kind: type) -> None:
    """Raise a TypeError if what was given is of another class."""
    if not isinstance(given, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}; got {shown(given)}")


def require_mapping(name: str, given: object, of: str) -> None:
    """Raise a TypeError if what was given is no mapping, which is of what to what."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping of {of}; got {shown(given)}")


def non_negative(name: str, given: object) -> float:
    """Return a finite number >= 0 as a float, or raise a ValueError."""
    value = real(name, given)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and >= 0; got {value!r}")
    return value


def first_entry(values: NDArray[Any], bad: NDArray[np.bool_]) -> str:
    """Say which is the first bad entry, and what it is."""
    if not values.ndim:
        return f"it is {values.item()!r}"
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    value = values[place]
    return f"entry {list(place)} is {value.item() if isinstance(value, np.generic) else value!r}"


def real_array(name: str, given: object, expected: str = "numbers") -> NDArray[np.float64]:
    """Return a float64 copy of real numbers of any shape, NaN and infinities included.

    Raises
    ------
    ValueError
        If ``given`` is ragged, or holds anything but plain real numbers: "{name} must be {expected}; ...".
    """
    if type(given) is np.ndarray and given.dtype == np.float64:
        return np.array(given, order="C")
    array = _array(name, given, expected)
    if array.dtype.kind not in "iufO" and not isinstance(given, np.ndarray):
        array = np.asarray(given, dtype=object)  # [1.0, "2"] as it was given, not as one type for all
    if array.dtype.kind == "O":
        real = [isinstance(v, numbers.Real) and not isinstance(v, bool | np.bool_) for v in array.flat]
        foreign = ~np.array(real, dtype=np.bool_).reshape(array.shape)
    else:
        foreign = np.full(array.shape, array.dtype.kind not in "iuf")
        if array.dtype.kind == "c" and array.imag.any():
            foreign = array.imag != 0
    if foreign.any() or array.dtype.kind not in "iufO":
        detail = first_entry(array, foreign) if foreign.any() else f"got an array of {array.dtype}"
        raise ValueError(f"{name} must be {expected}; {detail}")
    try:
        with np.errstate(over="ignore"):  # a long double beyond float64 becomes inf, which the caller judges
            return np.array(array, dtype=np.float64, order="C")
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {expected}; got {shown(given)}") from error


def real(name: str, given: object, expected: str = "a number") -> float:
    """Return a real number as a float, NaN and infinities included, or raise a ValueError as :func:`real_array`."""
    if type(given) is float:
        return given
    value = real_array(name, given, expected)
    if value.ndim:
        raise ValueError(f"{name} must be {expected}; got {shown(given)}")
    return float(value)


def seconds_array(name: str, given: object, expected: str = "numbers in seconds") -> NDArray[np.float64]:
    """Return times of any shape in seconds, a float64 copy; those that carry a unit are converted, rounded once.

    Raises
    ------
    ValueError
        As :func:`real_array`, or if a unit is not one of time.
    """
    try:
        given = in_seconds(given)
    except ValueError as error:
        raise ValueError(
            f"{name} must be {expected}, or carry a unit of time; got {shown(error.args[0])}"
        ) from error
    return real_array(name, given, expected)


def seconds(name: str, given: object, expected: str = "a number of seconds") -> float:
    """Return a time in seconds as a float, or raise a ValueError as :func:`seconds_array`."""
    if type(given) is float:
        return given
    value = seconds_array(name, given, expected)
    if value.ndim:
        raise ValueError(f"{name} must be {expected}; got {shown(given)}")
    return float(value)


def duration(name: str, given: object) -> float:
    """Return a time that is finite and > 0 in seconds, or raise a ValueError."""
    value = seconds(name, given)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and > 0; got {value!r}")
    return value


def require_one_of(name: str, given: object, choices: Iterable[object], where: str = "") -> None:
    """Raise a ValueError unless what was given is one of some choices; of whatever kind it is, arrays included."""
    known = list(choices)
    plain = given.item() if isinstance(given, np.generic) else given
    if not any(type(plain) is type(choice) and plain == choice for choice in known):
        raise ValueError(f"{name} must be one of {known}{where}; got {shown(given)}")


def index_vector(name: str, given: object, bound: int) -> NDArray[np.int64]:
    """Return an int64 copy of a vector of integers in 0..bound - 1, or raise a ValueError that names another."""
    array = _array(name, given, "a vector of integers")
    if array.size == 0 and array.dtype.kind in "fO":  # numpy's types for an empty list
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be a vector of integers; got shape {array.shape} of {array.dtype}: {shown(given)}"
        )
    bad = (array < 0) | (array >= bound)
    if bad.any():
        allowed = f"lie in 0..{bound - 1}" if bound else "be empty, as there are none to choose from"
        raise ValueError(f"{name} must {allowed}; {first_entry(array, bad)}")
    return array.astype(np.int64)


def index(name: str, given: object, bound: int) -> int:
    """Return an integer in 0..bound - 1 as an int, or raise a ValueError."""
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 0 <= given < bound:
        allowed = f"an integer in 0..{bound - 1}" if bound else "one of those there are, which is none"
        raise ValueError(f"{name} must be {allowed}; got {shown(given)}")
    return int(given)


def count(name: str, given: object, least: int = 0, most: int | None = 2**63 - 1, why: str = "") -> int:
    """Return an integer that is at least and at most so large as an int, or raise a ValueError.

    By default it is one that kernels can take; ``why`` is said of one that is too large.
    """
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < least:
        raise ValueError(f"{name} must be an integer >= {least}; got {shown(given)}")
    if most is not None and given > most:
        raise ValueError(f"{name} must be at most {most}{why}; got {shown(given)}")
    return int(given)


def flag(name: str, given: object) -> bool:
    """Return a truth value as a bool, or raise a TypeError: of anything else it is not clear whether it says yes."""
    if type(given) is bool:
        return given
    if not isinstance(given, bool | np.bool_):
        raise TypeError(f"{name} must be True or False; got {shown(given)}")
    return bool(given)


def refuse_units(name: str, given: object, expected: str = "numbers") -> None:
    """Raise a ValueError if anything in a number, an array or nested lists carries a unit."""
    foreign = with_unit(given)
    if foreign is not None:
        raise ValueError(f"{name} must be {expected}, without a unit; got {shown(foreign)}")


def _array(name: str, given: object, expected: str) -> NDArray[Any]:
    refuse_units(name, given, expected)
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:  # ragged lists, or an object that refuses
        raise ValueError(f"{name} must be {expected}; got {shown(given)}") from error
    if np.ma.isMaskedArray(given) and np.ma.getmaskarray(given).any():
        place = [int(i) for i in np.argwhere(np.ma.getmaskarray(given))[0]]
        raise ValueError(
            f"{name} must be {expected}; " + (f"entry {place} is masked" if place else "it is masked")
        )
    return array
