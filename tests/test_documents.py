"""Does every command and code block of the documents run as printed?

The blocks of a page share one namespace, in their order: ``python`` is executed, ``pycon`` is a session whose output is
compared. A ``bash`` block is one of the two of README.md that ``.ci/run`` executes, or it is executed here, under
``pytest -m notebooks``; one that several pages hold, once.
"""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    Path("README.md"),
    *sorted(p.relative_to(ROOT) for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = {"bash", "cfg", "c", "json", "text", "yaml"}


def blocks(page):
    """The code blocks of a page: (line, language, text)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in BLOCK.finditer(text)]


def commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^<!-- ci: \w+ -->\n```bash\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE))
    found = []
    for page in PAGES:
        for line, language, text in blocks(page):
            if language == "bash" and text not in known:
                known.add(text)
                found.append((page, line, text))
    return found


WITH_CODE = [
    page for page in PAGES if any(language in ("python", "pycon") for _, language, _ in blocks(page))
]


@pytest.mark.parametrize("page", WITH_CODE, ids=str)
def test_code_runs_as_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    runner = doctest.DocTestRunner(verbose=False)
    for line, language, text in blocks(page):
        if language == "python":
            exec(compile("\n" * line + text, str(page), "exec"), namespace)
        elif language == "pycon":
            test = doctest.DocTestParser().get_doctest(text, namespace, str(page), str(page), line)
            runner.run(test, clear_globs=False)
            namespace |= test.globs
        else:
            assert language in ELSEWHERE, (page, line, language)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("page", "line", "text"), commands(), ids=lambda value: str(value).split("\n")[0][:40]
)
def test_commands_run_as_printed(page, line, text, tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        check=True,
    )


def test_there_are_commands_of_both_kinds():
    assert commands()
    assert any(language == "bash" for _, language, _ in blocks("docs/start.md"))


def test_the_reference_has_every_public_name():
    import eventsolve
    from eventsolve import losses

    text = "".join(
        (ROOT / "docs" / "api" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("networks", "solving", "gradients", "proof", "dynamics")
    )
    for name in dir(eventsolve):
        value = getattr(eventsolve, name)
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("eventsolve"):
            assert f"eventsolve.{name}\n" in text, name
    listed = (ROOT / "docs" / "api" / "losses.md").read_text(encoding="utf-8")
    for name in (n for n in vars(losses) if n[0].isupper()):
        assert re.search(rf"\b{name}\b", listed), name
