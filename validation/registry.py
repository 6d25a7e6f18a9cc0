"""Targets and tasks by name, from entry points: a package adds its own to the group that they are found in.

.. code-block:: cfg

    [options.entry_points]
    eventsolve.targets =
        mychip = mypackage.chip:MyChip
    eventsolve.tasks =
        mytask = mypackage.task:MyTask

An entry is a class whose arguments are its options, for a frozen dataclass its fields. In text an option is
``name=value``, a time with or without a unit (``time_step=0.1ms``).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from eventsolve.checks import shown
from validation.durations import number
from validation.target import Target
from validation.tasks.task import Task

TARGETS, TASKS = "eventsolve.targets", "eventsolve.tasks"


def names(group: str) -> tuple[str, ...]:
    """Return the names of a group's entries, in alphabetical order."""
    return tuple(sorted(_entries(group)))


def target(name: str, **options: Any) -> Target:
    """Return a target by its name.

    Parameters
    ----------
    name : str
        Of an entry point in the group ``eventsolve.targets``.
    **options
        Arguments of the target, as values or as text.

    Raises
    ------
    ValueError
        If there is no such target or option, or a value does not fit.
    ImportError
        If the target needs a package that is not installed.
    """
    made: Target = _made(TARGETS, "target", name, options)
    return made


def task(name: str, **options: Any) -> Task:
    """Return a task by its name, from the group ``eventsolve.tasks``; otherwise as :func:`target`."""
    made: Task = _made(TASKS, "task", name, options)
    return made


def kind(group: str, name: str) -> Any:
    """Return the class of an entry; raises as :func:`target`."""
    return _loaded(group, name)


def options_of(group: str, name: str) -> Mapping[str, Any]:
    """Return the options of an entry and their defaults, ``dataclasses.MISSING`` for one that has to be given."""
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(_loaded(group, name))
        if field.init
    }


def settings(given: list[str]) -> dict[str, str]:
    """Return options from texts ``name=value``, several of them in one text separated by commas.

    Raises
    ------
    ValueError
        If a text is no such option, or an option is given twice.
    """
    found: dict[str, str] = {}
    for text in (part for entry in given for part in entry.split(",")):
        name, equals, value = text.partition("=")
        if not (equals and name.strip()):
            raise ValueError(f"an option must be name=value; got {shown(text)}")
        if name.strip() in found:
            raise ValueError(f"the option {name.strip()!r} is given twice")
        found[name.strip()] = value.strip()
    return found


@functools.cache
def _entries(group: str) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def _entry(group: str, kind: str, name: str) -> EntryPoint:
    entries = _entries(group)
    if name not in entries:
        close = difflib.get_close_matches(name, entries, n=1)
        raise ValueError(
            f"there is no {kind} {name!r}; there are {', '.join(sorted(entries)) or 'none'}"
            + (f": was {close[0]!r} meant?" if close else "")
        )
    return entries[name]


def _loaded(group: str, name: str) -> Any:
    return _entry(group, group.rpartition(".")[2].rstrip("s"), name).load()


def _made(group: str, kind: str, name: str, options: Mapping[str, Any]) -> Any:
    made = _entry(group, kind, name).load()
    fields = {field.name for field in dataclasses.fields(made) if field.init}
    for option in options:
        if option not in fields:
            raise ValueError(
                f"the {kind} {name!r} has no option {option!r}; it has {', '.join(sorted(fields)) or 'none'}"
            )
    needed = [
        option
        for option, default in options_of(group, name).items()
        if default is dataclasses.MISSING and option not in options
    ]
    if needed:
        raise ValueError(f"the {kind} {name!r} needs {' and '.join(f'{option}=...' for option in needed)}")
    types = get_type_hints(made)
    return made(
        **{
            option: _parsed(option, value, types[option]) if isinstance(value, str) else value
            for option, value in options.items()
        }
    )


def _parsed(option: str, text: str, kind: Any) -> Any:
    """Return the value of an option from its text, by the type that it is declared with."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if NoneType in kinds and text.lower() == "none":
        return None
    for one in kinds:
        if get_origin(one) is Literal and text in get_args(one):
            return text
        if one is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if one is int and text.removeprefix("-").isdecimal():
            return int(text)
        if one is float and (read := _number(text)) is not None:
            return read
    choices = [one for one in kinds if get_origin(one) is Literal]
    if not choices and any(one not in (bool, int, float, NoneType) for one in kinds):
        return text  # which the entry judges itself
    allowed = [str(value) for one in choices for value in get_args(one)] or [_word(one) for one in kinds]
    raise ValueError(f"{option} must be {' or '.join(allowed)}; got {shown(text)}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return number(text)


def _word(kind: Any) -> str:
    return {
        bool: "true or false",
        int: "an integer",
        float: "a number, with a unit if it is a time",
        NoneType: "none",
    }.get(kind, str(kind))
