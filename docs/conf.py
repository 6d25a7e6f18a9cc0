"""The documentation site: ``make docs``.

Its source is the repository itself, so that a link between a page, a notebook and CONTRIBUTING is right in both places.
"""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "eventsolve"
author = "eventsolve contributors"
copyright = author
release = importlib.metadata.version("eventsolve")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "mathml",
    "myst_nb",
    "numpydoc",
]
root_doc = "docs/index"
include_patterns = ["docs/**/*.md", "docs/*.md", "notebooks/*.ipynb", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = ["docs/_build", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

html_theme = "furo"
html_title = "eventsolve"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_docs.html"}

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks hold what they gave: `make notebooks` checks it

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have shapes and units besides
numpydoc_show_class_members = False
