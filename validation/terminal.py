"""The terminal: what is printed stands there as it is, whatever names it contains."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from eventsolve.checks import printable

WIDTH = 110
"""Columns where the output is no terminal, so that tables fit."""


class _Plain(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_lines(text), **options)


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that takes nothing in a text for markup, emoji or a control sequence, and colours nothing."""
    found = _Plain(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)
    if width is None and not found.is_terminal:
        found.width = max(found.width, WIDTH)
    return found


def cell(text: str) -> Text:
    """Return a text for a table that any console may print."""
    return Text(_lines(text))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
