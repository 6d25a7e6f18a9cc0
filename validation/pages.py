"""Pages from templates, of this package or a folder; whatever is put into one is made printable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eventsolve.checks import printable


def page(
    template: str,
    contents: Mapping[str, Any],
    filters: Mapping[str, Callable[..., str]] | None = None,
    *,
    html: bool = True,
    folder: Path | None = None,
) -> str:
    """Return a template filled in; a name that it lacks is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder) if folder else jinja2.PackageLoader("validation"),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(**contents)


def _printable(value: Any) -> Any:
    """Return text printable line by line, however long (pictures are texts, too), and anything else as it is."""
    if type(value) is not str:
        return value
    return "\n".join(printable(line, sys.maxsize - 1) for line in value.split("\n"))
