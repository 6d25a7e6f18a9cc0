r"""Formulas as MathML, which browsers draw themselves: pages need no script, and no other site.

latex2mathml writes ``\mathrm{mem}`` as three letters, each a symbol of its own, and ``\dot V`` as something above V.
Browsers then space the letters like a product, and put the dot far from the letter: a word and an accent are meant.
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

_LETTER = r'<mi mathvariant="normal">(\w)</mi>'
_ACCENT = re.compile(r"<mover>((?:(?!<mover>).)*?)<mo>(&#x002D9;|&#x0005E;|&#x000AF;)</mo></mover>")


def formula(latex: str, display: str) -> str:
    """Return the MathML of a formula, ``display`` being "inline" or "block"."""
    words = re.sub(
        f"(?:{_LETTER}){{2,}}",
        lambda found: f"<mi>{''.join(re.findall(_LETTER, found[0]))}</mi>",
        convert(latex, display=display),
    )
    return _ACCENT.sub(r'<mover accent="true">\1<mo stretchy="false">\2</mo></mover>', words)


def inline(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(formula(node.astext(), "inline"))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula of its own."""
    writer.body.append(f'<div class="math">{formula(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer, which ``html_math_renderer`` names."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
