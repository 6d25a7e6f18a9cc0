"""A document as a page: dark or light as the reader's system is, for any width, and nothing loaded from elsewhere."""

from __future__ import annotations

import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from validation.pages import page
from validation.report.colours import AREAS, NAMES, diverging
from validation.report.document import Block, Cell, Document, Facts, Picture, Points, Table, Words

SOURCE = Path(__file__).parents[2] / "docs"


def html(document: Document) -> str:
    """Return a document as one page that needs nothing but itself."""
    blocks = [*document.headline, *(block for section in document.sections for block in section.blocks)]
    plots = [panel.plot for block in blocks if isinstance(block, Picture) for panel in block.panels]
    contents = {
        "document": document,
        "kind": _kind,
        "cell": _cell,
        "about": about,
        "script": _script() if plots else "",
        "place": iter(range(len(plots))).__next__,
        "data": Markup(_inert(plots)),
        "style": Markup(_style()),
        "colours": {name: f"var(--{name})" for name in (*NAMES, *AREAS)},
    }
    return page("document.html.j2", contents)


def _kind(block: Block) -> str:
    kinds = {Words: "words", Points: "points", Table: "table", Picture: "picture", Facts: "facts"}
    return kinds[type(block)]


def _cell(entry: str | Cell) -> Cell:
    return entry if isinstance(entry, Cell) else Cell(entry)


def _inert(value: Any) -> str:
    """Return JSON that ends no element and starts none, whatever names it holds."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _style() -> str:
    """Return the style sheet, with the colours of both schemes."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("validation"), autoescape=False)
    every = NAMES | AREAS
    light = " ".join(f"--{name}: {colour};" for name, (colour, _) in every.items())
    dark = " ".join(f"--{name}: {colour};" for name, (_, colour) in every.items())
    return environment.get_template("style.css").render(light=light, dark=dark)


def _script() -> Markup:
    """Return Bokeh's own script, from its package, and the one that puts its plots into the page."""
    from bokeh.resources import Resources

    bokeh = Resources(mode="inline", components=["bokeh"], minified=True).js_raw[0]
    light, dark = diverging()
    known = {
        "colours": {colour: f"--{name}" for name, (colour, _) in (NAMES | AREAS).items()},
        "palettes": {"light": light, "dark": dark},
    }
    own = (Path(__file__).parents[1] / "templates" / "plots.js").read_text(encoding="utf-8")
    return Markup(f"{bokeh}\nconst KNOWN = {_inert(known)};\n{own}")


# -- the documentation -----------------------------------------------------------------------------------------


def about(place: str) -> tuple[str, str]:
    """Return title and address of a page of the documentation; the address is "" if no copy of it is known.

    The address is on the site that the installed package names as its documentation, or in the checkout that it is
    installed from: of the site that is built there, or of its source.
    """
    name, _, fragment = place.partition("#")
    urls = metadata.metadata("eventsolve").get_all("Project-URL") or []
    site = next(
        (url.partition(",")[2].strip() for url in urls if url.lower().startswith("documentation,")), ""
    )
    title, source = TITLES[name], SOURCE / f"{name}.md"
    built = SOURCE / "_build" / "html" / "docs" / f"{name}.html"
    if site:
        address = f"{site.rstrip('/')}/docs/{name}.html"
    elif built.is_file():
        address = built.as_uri()
    elif source.is_file():
        return title, source.as_uri()
    else:
        return title, ""
    return title, f"{address}#{fragment}" if fragment else address


TITLES = {
    "howto/validate_a_chip": "Validate a chip model",
    "howto/train": "Train",
    "howto/explain_an_error": "Why is this gradient different?",
    "concepts/margins": "Margins and trust radii",
    "concepts/adjoint": "The adjoint",
    "concepts/discretization": "Discretization",
    "concepts/number_formats": "Number formats",
    "training": "Training on four engines",
}
"""Of the pages that reports refer to."""
