"""Fields of a record at the door: what is given is of the kind that the field is annotated with, or is refused by name.

What the numbers of a record mean is left to its own constructor, which knows.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from eventsolve.checks import count, flag, instance, real, real_array, require_mapping, require_one_of, shown

Taken = Callable[[str, Any], Any]
"""Returns what was given by the name of a field as the kind that it must be, or raises an error that says it."""


@cache
def kinds_of(record: Any) -> dict[str, Taken]:
    """Return what takes each public field of a dataclass, but for those that may be anything."""
    hints = get_type_hints(record)
    public = (field.name for field in fields(record) if not field.name.startswith("_"))
    return {name: taken for name in public if (taken := _kind(hints[name])) is not None}


def _kind(hint: Any) -> Taken | None:
    """Return what takes values of a type; None for one that is not decided by looking, such as a function."""
    plain: dict[Any, Taken] = {float: real, int: _integer, bool: flag, complex: _complex}
    origin, parts = get_origin(hint), get_args(hint)
    if hint in plain:
        return plain[hint]
    if origin is np.ndarray:
        return _array(get_args(parts[1])[0])
    if origin is tuple:
        return _tuple(parts)
    if origin is Sequence:
        return _tuple((parts[0], ...))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(parts[0] is str, _kind(parts[1]))
    if origin is Literal:
        return _choice(parts)
    if origin in (Union, types.UnionType):
        return _optional(parts)
    if hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return None
    return _instance(hint)


def _integer(name: str, given: Any) -> int:
    if name.startswith("n_"):
        return count(name, given)
    if type(given) is int:
        return given
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise ValueError(f"{name} must be an integer; got {shown(given)}")
    return int(given)


def _complex(name: str, given: Any) -> complex:
    if isinstance(given, complex | np.complexfloating):
        return complex(given)
    return complex(real(name, given))


def _instance(kind: type) -> Taken:
    def taken(name: str, given: Any) -> Any:
        if type(given) is not kind:
            instance(name, given, kind)
        return given

    return taken


def _choice(choices: tuple[Any, ...]) -> Taken:
    def taken(name: str, given: Any) -> Any:
        if not (type(given) is str and given in choices):
            require_one_of(name, given, choices)
        return given

    return taken


def _array(scalar: type) -> Taken:
    """Return what takes arrays of one dtype; those of float64 also from what else are real numbers."""

    def taken(name: str, given: Any) -> Any:
        if isinstance(given, np.ndarray) and given.dtype.type is scalar and not np.ma.isMaskedArray(given):
            return given
        if scalar is np.float64:
            return real_array(name, given)
        of = given.dtype if isinstance(given, np.ndarray) else shown(given)
        raise TypeError(f"{name} must be an array of {scalar.__name__}; got {of}")

    return taken


def _tuple(parts: tuple[Any, ...]) -> Taken | None:
    any_length = len(parts) == 2 and parts[1] is Ellipsis
    kinds = [_kind(part) for part in (parts[:1] if any_length else parts)]

    def taken(name: str, given: Any) -> Any:
        if not isinstance(given, tuple | list) or not (any_length or len(given) == len(kinds)):
            wanted = "a tuple" if any_length else f"a tuple of {len(kinds)}"
            raise TypeError(f"{name} must be {wanted}; got {shown(given)}")
        each = kinds * len(given) if any_length else kinds
        items = [
            value if kind is None else kind(f"{name}[{k}]", value)
            for k, (kind, value) in enumerate(zip(each, given, strict=True))
        ]
        return tuple(items)

    return taken


def _mapping(by_name: bool, kind: Taken | None) -> Taken:
    def taken(name: str, given: Any) -> Any:
        if type(given) is not dict:
            require_mapping(name, given, "names to what belongs to them")
        values = tuple(given.values())
        if not values:
            return given
        if by_name:
            for key in given:
                if not isinstance(key, str):
                    raise TypeError(f"{name} must be by name; got {shown(key)}")
        if kind is None:
            return given
        try:
            items = [kind(name, value) for value in values]
        except (TypeError, ValueError):  # again, by the names of entries, which take longest to make
            items = [kind(f"{name}[{key!r}]", value) for key, value in given.items()]
        same = all(map(operator.is_, items, values))
        return given if same else dict(zip(given, items, strict=True))

    return taken


def _optional(parts: tuple[Any, ...]) -> Taken | None:
    """Return what takes None or values of one type; a union of more is left to the record's own constructor."""
    others = [part for part in parts if part is not type(None)]
    kind = _kind(others[0]) if len(others) == 1 and len(others) < len(parts) else None
    if kind is None:
        return None
    return lambda name, given: None if given is None else kind(name, given)


def require_shapes(record: Any, **shapes: str) -> None:
    """Raise a ValueError unless the named fields have shapes that agree.

    A shape is as documented, such as "n k": a name is one number wherever it stands, and that of an integer field is
    that integer; "n[]" is a number of its own for every key of a mapping. Of a tuple the shape is its length; a mapping
    has one of everything in it, and the keys of all that have such a number are the same.
    """
    sizes: dict[tuple[str, Any], tuple[int, str]] = {}
    by_key = [name for name, shape in shapes.items() if "[]" in shape]
    for name in by_key[1:]:
        if set(getattr(record, name)) != set(getattr(record, by_key[0])):
            keys = [list(getattr(record, n)) for n in (by_key[0], name)]
            raise ValueError(f"{name} must have the keys of {by_key[0]}, {keys[0]}; got {keys[1]}")
    for name, shape in shapes.items():
        given, axes = getattr(record, name), shape.split()
        for key, part in given.items() if isinstance(given, Mapping) else ((None, given),):
            where = name if key is None else f"{name}[{key!r}]"
            found = part.shape if isinstance(part, np.ndarray) else (len(part),)
            if len(found) != len(axes):
                raise ValueError(f"{where} must have the axes ({', '.join(axes)}); got shape {found}")
            for axis, size in zip(axes, found, strict=True):
                known = getattr(record, axis, None)
                place = (axis, key if axis.endswith("[]") else None)
                wanted, of = (
                    (known, axis) if isinstance(known, int) else sizes.setdefault(place, (size, where))
                )
                if size != wanted:
                    raise ValueError(f"{where} must have {wanted} entries, as {of} says; got shape {found}")
