"""Does every command and code block of the documents run as printed?

The blocks of a page share one namespace, in their order: ``python`` is executed, ``pycon`` is a session whose output is
compared. A ``bash`` block is one of the two of README.md that ``.ci/run`` executes, or it is executed here, under
``pytest -m notebooks``, those of a page one after the other in one folder. In that folder are the files that the page
shows, blocks whose first line is a comment with their name; what is installed there is found there, and nowhere else.
"""

import contextlib
import doctest
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot

ROOT = Path(__file__).parents[1]
PAGES = [
    Path("README.md"),
    *sorted(p.relative_to(ROOT) for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = {"bash", "cfg", "c", "json", "text", "toml", "yaml"}
FILE = re.compile(r"# ([\w.]+\.(?:py|toml))\n")


def blocks(page):
    """The code blocks of a page: (line, language, text)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in BLOCK.finditer(text)]


def commands(page):
    """The texts of the bash blocks of a page that are executed here, in their order."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    elsewhere = re.findall(r"^<!-- ci: \w+ -->\n```bash\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return [text for _, language, text in blocks(page) if language == "bash" and text not in elsewhere]


def files(page):
    """The files that a page shows: (name, text)."""
    return [(name[1], text) for _, _, text in blocks(page) if (name := FILE.match(text))]


WITH_CODE = [
    page for page in PAGES if any(language in ("python", "pycon") for _, language, _ in blocks(page))
]
WITH_COMMANDS = [page for page in PAGES if commands(page)]


@contextlib.contextmanager
def drawing():
    """Figures and their style, of a page that draws many, end with it."""
    with matplotlib.rc_context({"figure.max_open_warning": 0}):
        yield
    pyplot.close("all")


@pytest.mark.notebooks
@pytest.mark.parametrize("page", WITH_CODE, ids=str)
def test_code_runs_as_printed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    scripts = [text for name, text in files(page) if any(f"python {name}" in c for c in commands(page))]
    runner = doctest.DocTestRunner(verbose=False)
    with drawing():
        for line, language, text in blocks(page):
            if text in scripts:
                continue  # which the commands of the page run
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
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=str)
def test_commands_run_as_printed(page, tmp_path):
    for name, text in files(page):
        (tmp_path / name).write_text(text, encoding="utf-8")
    prefix = tmp_path / "installed"  # PIP_TARGET would reach the environment that pip builds in as well
    site = sysconfig.get_path("purelib", vars={"base": str(prefix)})
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{site}",
        "PIP_PREFIX": str(prefix),
        "PIP_NO_DEPS": "1",
    }
    for text in commands(page):
        subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, env=environment, check=True)


@pytest.mark.notebooks
def test_the_target_of_the_tutorial_keeps_what_a_target_promises(tmp_path):
    for name, text in files("docs/tutorials/add_a_target.md"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    entries = tmp_path / "toy_chip-1.0.dist-info"
    entries.mkdir()
    (entries / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-chip\nVersion: 1.0\n", "utf-8")
    (entries / "entry_points.txt").write_text("[eventsolve.targets]\ntoy = toy:Toy\n", "utf-8")
    held = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/validation/test_targets.py", "-k", "toy"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert held.returncode == 0, held.stdout
    assert "4 passed" in held.stdout


def test_there_are_commands_of_both_kinds():
    assert WITH_COMMANDS
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


def test_the_gallery_has_every_picture():
    from eventsolve import plot

    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    for name in (name for name in dir(plot) if name[0] != "_" and callable(getattr(plot, name))):
        assert f"plot.{name}(" in text, name
    shown = re.findall(r"^!\[.+\]\((gallery/.*)\)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(f"gallery/{p.name}" for p in (ROOT / "docs" / "gallery").iterdir())


@pytest.mark.parametrize("page", [Path("CONTRIBUTING.md"), *PAGES], ids=str)
def test_files_that_a_page_names_are_there(page):
    """A name may leave out the package, or stand for a file of a folder that the same page names."""
    text = (ROOT / page).read_text(encoding="utf-8")
    own = {name for name in FILE.findall(text)} | {
        "event_prop_compiler.py",
        "test_mine.py",
    }  # a user's, mlGeNN's
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text)) - own
    for name in named - {"validation/runners/run_NAME.py"}:
        here = [path for path in ROOT.glob(f"*/**/{name}") if "build" not in path.parts] + [*ROOT.glob(name)]
        assert here, name
