"""How records show themselves: a few lines in a terminal, a small table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from eventsolve.checks import printable

_TEXT = 100
"""Characters of a value at most."""


class Shown:
    """A record with a summary; its class gives :meth:`_summary`."""

    def _summary(self) -> tuple[str, Mapping[str, object]]:
        """Return what it is, and its most important values by name; the class's name alone if it has none."""
        return type(self).__name__, {}

    def __repr__(self) -> str:
        title, values = self._summary()
        width = max((len(name) for name in values), default=0)
        return "\n".join([title, *(f"  {name:<{width}}  {_text(value)}" for name, value in values.items())])

    def _repr_html_(self) -> str:
        title, values = self._summary()
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(_text(value))}</td></tr>'
            for name, value in values.items()
        )
        return f'<table><caption style="text-align:left">{escape(title)}</caption>{rows}</table>'


def _text(value: object) -> str:
    """Return a value on one line."""
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 4]} ..."


def several(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 spike``, ``2 spikes``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
