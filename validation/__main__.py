"""The command line: ``eventsolve-validate``, or ``python -m validation``."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("bokeh", "jinja2", "matplotlib", "rich", "typer")
"""What the extra ``validate`` brings: the command line, its reports and pictures."""


def main() -> None:
    """Run the command line, or say what it needs and exit with 2."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sentence = f"eventsolve-validate needs {', '.join(missing)}: pip install 'eventsolve[validate]'"
        print(sentence, file=sys.stderr)
        raise SystemExit(2)
    from validation.cli.app import app

    app(prog_name="eventsolve-validate")


if __name__ == "__main__":
    main()
