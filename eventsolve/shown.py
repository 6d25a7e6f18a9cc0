"""How records show themselves: a few lines in a terminal, a small table in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from html import escape
from typing import TypeAlias

import numpy as np

from eventsolve.checks import printable

_NAME, _TEXT, _LINE, _ROWS, _WRITTEN = 40, 240, 100, 16, 8
"""Characters of a name, of a value and of a line at most, rows of a summary, and entries that a call lists."""

Summary: TypeAlias = tuple[str, list[tuple[str, object]]]
"""What a record is, and its most important values by name."""


class Shown:
    """A record with a summary; one that is no dataclass gives :meth:`_summary`."""

    def _summary(self) -> Summary:
        """Return what it is, and its most important values by name: if nothing else, the fields of a dataclass."""
        names = [entry.name for entry in fields(self) if entry.repr]  # type: ignore[arg-type]
        return type(self).__name__, [(name, brief(getattr(self, name))) for name in names]

    def __repr__(self) -> str:
        title, rows = self._shown()
        width = max((len(name) for name, _ in rows), default=0)
        lines = [title]
        for name, value in rows:
            parts = textwrap.wrap(value, _LINE - width, break_on_hyphens=False) or [""]
            heads = [name] + [""] * (len(parts) - 1)
            lines += [f"  {head:<{width}}  {part}" for head, part in zip(heads, parts, strict=True)]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        title, rows = self._shown()
        table = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in rows
        )
        return f'<table><caption style="text-align:left">{escape(title)}</caption>{table}</table>'

    def _shown(self) -> tuple[str, list[tuple[str, str]]]:
        """Return the summary as text that any terminal shows, of bounded size."""
        title, values = self._summary()
        rows = [(_text(name, _NAME), _text(value, _TEXT)) for name, value in values[:_ROWS]]
        more = len(values) - len(rows)
        return _text(title, _LINE), [*rows, *([("...", f"and {more} more")] if more > 0 else [])]


def _text(value: object, most: int) -> str:
    """Return a value on one line; that it is cut off is said."""
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def brief(value: object) -> str:
    """Return a few words on a value, however large it is; arrays are not read."""
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}" if value.ndim else f"{value.item():.6g}"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, Shown):
        return value._shown()[0]
    if isinstance(value, Mapping):
        return listed([arrow(key) for key in value]) or "none"
    if isinstance(value, tuple | list):
        return (value and f"{several(len(value), 'entry', 'entries')}, first {brief(value[0])}") or "none"
    if hasattr(value, "nnz"):
        return f"sparse {value.shape}, {value.nnz} stored"  # type: ignore[attr-defined]
    return str(value)


def arrow(key: object) -> str:
    """Return a population's name, or a projection's key with an arrow."""
    if isinstance(key, tuple) and len(key) in (2, 3):
        return f"{key[0]} → {key[1]}" + (f" ({key[2]})" if len(key) > 2 else "")
    return str(key)


def ms(seconds: float) -> str:
    """Return a duration in milliseconds."""
    return f"{seconds * 1e3:.6g} ms"


def several(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 spike``, ``2 spikes``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], at_most: int = 6) -> str:
    """Return some names, and how many more there are."""
    every = list(names)
    more = len(every) - at_most
    return ", ".join(every[:at_most]) + (f" and {more} more" if more > 0 else "")


def called(record: object) -> str:
    """Return the call that makes a dataclass, of one line, its arrays in brief; for ``__repr__``."""
    assert is_dataclass(record)
    said = []
    for entry in fields(record):
        value = getattr(record, entry.name)
        size = (
            value.size
            if isinstance(value, np.ndarray)
            else len(value)
            if isinstance(value, tuple | list)
            else 1
        )
        said.append(f"{entry.name}={f'<{brief(value)}>' if size > _WRITTEN else _text(repr(value), _TEXT)}")
    return f"{type(record).__name__}({', '.join(said)})"
