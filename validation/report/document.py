"""What a report says, without how it looks: the terminal, the page and the JSON file are made from one document.

``about`` is the page of the documentation that explains a part, "howto/validate_a_chip#how-to-read-it".

A :class:`Document` begins with its headline, blocks that the terminal prints and the page shows first: the verdict, a
table, sentences, the next command. Its sections are for the page; its data, and the sentences of its headline, for
programs.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal, NamedTuple, TypeAlias


@dataclass(frozen=True)
class Words:
    """A paragraph, or a command to type; a verdict says with ``good`` whether it is what one hopes for."""

    text: str
    tone: Literal["plain", "verdict", "lead", "quiet", "notice", "command"] = "plain"
    good: bool = True


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: tuple[str, ...]


class Cell(NamedTuple):
    """A cell that is a link into the page, or beyond what is tolerated."""

    text: str
    anchor: str = ""
    beyond: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under heads; columns hold numbers, but those in ``words``.

    Attributes
    ----------
    title : str
    heads : tuple of str
        A line break in a head is one on the screen.
    rows, rest : tuple of rows of str or Cell
        ``rest`` is shown on request: folded on the page, and in the terminal where it is asked for.
    words : tuple of int
    note : str
        What the columns are.
    folded : str
        What the rest is.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    rest: tuple[tuple[str | Cell, ...], ...] = ()
    words: tuple[int, ...] = (0,)
    note: str = ""
    folded: str = ""
    about: str = ""


class Key(NamedTuple):
    """An entry of a legend: what, in which colour of :data:`validation.report.colours.NAMES`, with which mark."""

    text: str
    colour: str
    mark: str = "●"


@dataclass(frozen=True)
class Panel:
    """Axes of a picture: a plot of Bokeh as JSON, which shows names and values of what the mouse is over."""

    plot: Mapping[str, Any]
    title: str = ""
    legend: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Panels side by side where there is room, and their words; ``wide`` ones have a row for themselves."""

    title: str
    caption: str
    panels: tuple[Panel, ...]
    wide: bool = False
    about: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    items: tuple[tuple[str, str], ...]


Block: TypeAlias = Words | Points | Table | Picture | Facts


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    title : str
    blocks : tuple of blocks
    anchor : str
        To link to it; "" if nothing does.
    """

    title: str
    blocks: tuple[Block, ...]
    anchor: str = ""


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes
    ----------
    title : str
    headline : tuple of blocks
        What everybody should see.
    sections : tuple of Section
    origin : mapping
        From :func:`provenance`.
    data : mapping
        For programs.
    """

    title: str
    headline: tuple[Block, ...]
    sections: tuple[Section, ...]
    origin: Mapping[str, Any]
    data: Mapping[str, Any] = field(repr=False)


def sentences(blocks: Sequence[Block]) -> list[str]:
    """Return the words of a headline, a sentence each, without tables."""
    found: list[str] = []
    for block in blocks:
        if isinstance(block, Words):
            found.append(block.text)
        elif isinstance(block, Points):
            found += block.items
    return found


def provenance(settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return what a reader needs to repeat a campaign."""
    packages = ("eventsolve", "numpy", "scipy", "numba")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "settings": dict(settings),
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in packages},
    }


def where_from(origin: Mapping[str, Any]) -> Section:
    """Return the section that says how a report was made."""
    settings = [(name, str(value)) for name, value in origin["settings"].items()]
    versions = [(name, version) for name, version in origin["versions"].items()]
    facts = [
        ("command", origin["command"]),
        ("time", origin["time"]),
        *settings,
        ("python", f"{origin['python']} on {origin['platform']}"),
        *versions,
    ]
    return Section("Where this comes from", (Facts(tuple(facts)),))
