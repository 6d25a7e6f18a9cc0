"""The three faces of a document: what a terminal prints of it, the page, and the JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventsolve.files import NotWrittenError, write_texts
from validation.report.document import Block, Cell, Document, Points, Table, Words, sentences

if TYPE_CHECKING:
    import rich.table
    from rich.console import Console


# -- terminal --------------------------------------------------------------------------------------------------


def to_terminal(blocks: Sequence[Block], console: Console, *, everything: bool = False) -> None:
    """Print the headline of a document, with ``everything`` also the rows that are shown on request."""
    for block in blocks:
        if isinstance(block, Words):
            prefix = "next: " if block.tone == "command" else ""
            style = {"verdict": "bold green" if block.good else "bold red", "notice": "bold"}.get(block.tone)
            console.print(f"{prefix}{block.text}", style=style, soft_wrap=True)
        elif isinstance(block, Points):
            for item in block.items:
                console.print(f"- {item}", soft_wrap=True)
        elif isinstance(block, Table):
            console.print(_rich(block, everything))


def _rich(table: Table, everything: bool) -> rich.table.Table:
    from rich import box
    from rich.table import Table as Rich

    from validation.terminal import cell

    hidden = f"{table.folded}: --all" if table.rest and not everything else None
    result = Rich(
        box=box.SIMPLE_HEAD,
        title=table.title,
        title_justify="left",
        caption=hidden,
        caption_justify="left",
        pad_edge=False,
    )
    numeric = _numeric(table)
    for k, head in enumerate(table.heads):
        if k in numeric:
            result.add_column(cell(head), justify="right", no_wrap=True)
        else:
            result.add_column(cell(head), overflow="fold")
    for row in (*table.rows, *(table.rest if everything else ())):
        result.add_row(*(cell(_text(entry)) for entry in row))
    return result


def _text(entry: str | Cell) -> str:
    return entry.text if isinstance(entry, Cell) else entry


def _numeric(table: Table) -> set[int]:
    return set(range(len(table.heads))) - set(table.words)


# -- JSON ------------------------------------------------------------------------------------------------------


def to_json(document: Document) -> str:
    """Return a document's data, and the sentences of its headline, as text; null stands for what is not finite."""
    content = {**document.data, "headline": sentences(document.headline)}
    return json.dumps(_finite(content), allow_nan=False, indent=1) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- HTML ------------------------------------------------------------------------------------------------------


def to_html(document: Document) -> str:
    """Return a document as one page that needs nothing but itself."""
    from validation.report.html import html

    return html(document)


def publish(
    document: Document, folder: Path, name: str = "report", *, json: bool = False, everything: bool = False
) -> None:
    """Show a document in all its faces: write its files, print its headline and say where the files are.

    With ``json`` the JSON is printed to standard output, and all else to standard error.
    """
    from validation.terminal import console

    headline = console(stderr=json)
    try:
        page, data = write(document, folder, name)  # first: whoever reads what is printed may stop
    except NotWrittenError:
        to_terminal(document.headline, headline, everything=everything)
        raise
    to_terminal(document.headline, headline, everything=everything)
    console(stderr=True).print(f"report: {page}\n        {data}", soft_wrap=True)
    if json:
        print(to_json(document), end="")


def write(document: Document, folder: Path, name: str = "report") -> tuple[Path, Path]:
    """Write ``NAME.html`` and ``NAME.json`` into a folder, made if needed; return their paths."""
    texts = {f"{name}.json": to_json(document), f"{name}.html": to_html(document)}
    data, page = write_texts(folder, texts)
    return page, data
