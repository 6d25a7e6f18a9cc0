"""Is all that the guided tour of CONTRIBUTING names still there?"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_what_the_tour_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tour = text[text.index("## Guided tour") : text.index("## Add a target")]
    files = [path for package in ("eventsolve", "validation") for path in (ROOT / package).rglob("*.py")]
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in files)))
    paths = {path.relative_to(ROOT).as_posix() for path in files}
    named = re.findall(r"`([\w/.]+)`", tour)
    assert len(named) > 50
    for name in named:
        if name.endswith(".py"):
            assert any(path.endswith(f"/{name}") or path == name for path in paths), name
        elif name.endswith("/"):
            assert any(
                path.startswith((name, f"eventsolve/{name}", f"validation/{name}")) for path in paths
            ), name
        else:
            assert name.split(".")[-1] in words, name
