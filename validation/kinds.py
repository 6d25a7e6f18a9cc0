"""Records that are not of a network in continuous time, and judge themselves: the commands hand them over.

A package adds a format of records by an entry point that has the format's name:

.. code-block:: cfg

    [options.entry_points]
    eventsolve.records =
        my-format = mypackage.records:judged

An entry is a function of a document, as :func:`eventsolve.io.records.document_in` reads it from JSON, a zip of arrays
or HDF5, and of the memory that may still be taken. It returns what fulfils :class:`Judged`, or raises a ValueError.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import typer

from eventsolve.files import write_text
from eventsolve.io.records import KINDS, OtherRecord
from validation import exits
from validation.options import wrong
from validation.report.document import Document, Words


class Judgement(NamedTuple):
    """What there is to say of a record, and whether nothing is wrong with it."""

    document: Document
    accepted: bool


class Judged(Protocol):
    """A record that brings what the commands need."""

    @property
    def name(self) -> str:
        """Of the implementation."""

    def judged(self, tool: str, origin: Mapping[str, Any], options: Mapping[str, str]) -> Judgement:
        """Return what a command says of it: "check", "diagnose", "localise", "attribute" or "compare".

        Raises
        ------
        ValueError
            If it has no answer to the command, or there is no such option.
        """


def tell(
    tool: str,
    record: OtherRecord,
    source: str,
    origin: Mapping[str, Any],
    options: Sequence[str] | None = None,
    *,
    out: Path | None = None,
    name: str = "report",
    json: bool = False,
    junit: Path | None = None,
) -> typer.Exit:
    """Say what a record of another format says to a command, in all faces of a report; return how the command ends.

    With no folder ``out`` it is only printed. Commands to type next name the file, ``source``, for RECORD.

    Raises
    ------
    typer.BadParameter
        If it cannot be read, or has no answer.
    """
    from validation import registry, report
    from validation.junit import of_judgement
    from validation.report.faces import to_terminal
    from validation.terminal import console

    try:
        (entry,) = (entry for entry in entry_points(group=KINDS) if entry.name == record.format)
        own: Judged = entry.load()(record.document, record.budget)
        judgement = own.judged(tool, origin, registry.settings(list(options or [])))
    except (ValueError, ImportError) as error:
        raise wrong(error) from None
    headline = tuple(
        replace(block, text=block.text.replace("RECORD", shlex.quote(source)))
        if isinstance(block, Words) and block.tone == "command"
        else block
        for block in judgement.document.headline
    )
    if out is None:
        to_terminal(headline, console())
    else:
        report.publish(replace(judgement.document, headline=headline), out, name, json=json)
    if junit is not None:
        write_text(junit, of_judgement(judgement.document, judgement.accepted))
    return typer.Exit(0 if judgement.accepted else exits.DIFFERS)
