"""How large the library is, and how long it takes to start: python benchmarks/size.py [TREE ...].

Prints one column for each checkout, this one by default, so that two versions stand side by side; --page also writes
them as docs/reference/size.md, which `make size` does for a version that it checks out. Lines, files and
parameters are counted in the sources; public names are what the packages of eventsolve offer, without their modules.
The time of the tests is that in what `make test` printed, where --suite names it. The wheel is built, and its size with
everything that it needs is that of the installed distributions. A start is the README's ten lines in a fresh
interpreter, once with an empty cache of kernels and once with a full one, in seconds of processor time: what else runs
on the machine matters little.
"""

import argparse
import ast
import importlib.metadata
import os
import re
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from pathlib import Path

from eventsolve.files import write_text

PACKAGES = ("eventsolve", "validation")
MANY = 12
"""More parameters than a kernel should have."""
PAGE = """# Size

How large the library is and how long it takes to start, before its rooms were put in order and after. Made by
`make size`; do not edit. Public names are what the packages of `eventsolve` offer, without their modules; a start is
the ten lines of the README in a fresh interpreter, in seconds of processor time, with an empty cache of kernels (cold)
and a full one (warm).

"""
NAMES = """
import importlib, pkgutil, sys, types
import eventsolve
found = set()
for path in ("eventsolve", *(m.name for m in pkgutil.walk_packages(eventsolve.__path__, "eventsolve.") if m.ispkg)):
    if "kernels" in path:
        continue
    module = importlib.import_module(path)
    for name in dir(module):
        if name.startswith("_"):
            continue
        try:
            value = getattr(module, name)
        except ImportError:
            continue  # an extra that is not installed
        if isinstance(value, types.ModuleType):
            continue
        if getattr(value, "__module__", path).startswith("eventsolve"):
            found.add((path, name))
print(len([name for path, name in found if path == "eventsolve"]), len({name for _, name in found}))
"""


def version(tree: Path) -> str:
    """Return the version of a checkout, with its commit."""
    text = (tree / "eventsolve" / "_version.py").read_text()
    commit = subprocess.run(
        ["git", "-C", tree, "rev-parse", "--short=7", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    number = re.search(r"__version__ = .(.+).$", text, re.MULTILINE)[1]
    return f"{number}, {commit}"


def sources(tree: Path, *folders: str) -> Iterator[Path]:
    """Yield the Python files of some folders of a checkout."""
    for folder in folders:
        yield from sorted((tree / folder).rglob("*.py"))


def n_lines(files: Iterable[Path]) -> int:
    """Return how many lines some files have."""
    return sum(len(file.read_text().splitlines()) for file in files)


def parameters(tree: Path) -> list[tuple[int, str]]:
    """Return (how many parameters, where) of every function of both packages, most first."""
    found = []
    for file in sources(tree, *PACKAGES):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args
                n = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
                found.append((n, f"{file.relative_to(tree)}: {node.name}"))
    return sorted(found, reverse=True)


def processor_time(tree: Path, code: str, cache: str) -> float:
    """Return the processor seconds that a fresh interpreter takes for some lines."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", code], cwd=cache, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wheel_sizes(tree: Path) -> tuple[float, float]:
    """Return the sizes of the wheel and of what is in it, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        copy.mkdir()
        archive = subprocess.run(
            ["git", "-C", tree, "archive", "HEAD"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", copy], input=archive, check=True)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder]
        subprocess.run([*command, copy], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            return wheel.stat().st_size / 1e6, sum(info.file_size for info in opened.infolist()) / 1e6


def installed_size(tree: Path, extras: tuple[str, ...]) -> float:
    """Return the size of the distributions that a checkout needs, as they are installed here, in MB."""
    setup = ConfigParser()
    setup.read(tree / "setup.cfg")
    wanted = setup["options"]["install_requires"].split("\n")
    for extra in extras:
        wanted += setup["options.extras_require"][extra].split("\n")
    names = [re.match(r"[\w.-]+", line).group() for line in wanted if re.match(r"\w", line)]
    seen: dict[str, float] = {}
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in seen:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or Python
        files = [distribution.locate_file(file) for file in distribution.files or ()]
        seen[name] = sum(os.path.getsize(file) for file in files if os.path.isfile(file)) / 1e6
        for line in distribution.requires or ():
            if "extra ==" not in line:
                names.append(re.match(r"[\w.-]+", line).group())
    return sum(seen.values())


def suite(log: Path | None) -> str:
    """Return how many tests passed, and how long that took, as pytest says in its last line; a dash without a log."""
    if log is None:
        return "-"
    said = re.findall(r"(\d+) passed.* in ([\d.]+)s", log.read_text())
    if not said:
        raise ValueError(f"{log} must be what pytest printed; it does not say how many tests passed")
    passed, seconds = said[-1]
    return f"{int(passed):,}, {float(seconds):.0f} s"


def measured(tree: Path) -> dict[str, str]:
    """Return what a checkout measures, by what it is."""
    rows = {}
    for folder in (*PACKAGES, "tests"):
        files = list(sources(tree, folder))
        rows[f"`{folder}`: files, lines"] = f"{len(files)}, {n_lines(files):,}"
    kernels = [file for file in sources(tree, *PACKAGES) if "kernels" in file.parts]
    rows["kernels: files, lines"] = f"{len(kernels)}, {n_lines(kernels):,}"
    counts = parameters(tree)
    many = [n for n, _ in counts if n > MANY]
    rows["most parameters of a function"] = ", ".join(str(n) for n, _ in counts[:5])
    rows[f"functions with more than {MANY} parameters"] = str(len(many))
    environment = os.environ | {"PYTHONPATH": str(tree)}
    names = subprocess.run(
        [sys.executable, "-c", NAMES], cwd=tree, env=environment, check=True, capture_output=True, text=True
    )
    own, all_names = names.stdout.split()[-2:]
    rows["public names: of `eventsolve`, of all its packages"] = f"{own}, {all_names}"
    wheel, unpacked = wheel_sizes(tree)
    rows["wheel, unpacked"] = f"{wheel:.2f} MB, {unpacked:.2f} MB"
    rows["with what it needs; with `validate`"] = (
        f"{unpacked + installed_size(tree, ()):.0f} MB, {unpacked + installed_size(tree, ('validate',)):.0f} MB"
    )
    readme = (tree / "README.md").read_text()
    lines = next(
        block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "value_and_grad(" in block
    )
    with tempfile.TemporaryDirectory() as cache:
        rows["`import eventsolve`"] = f"{processor_time(tree, 'import eventsolve', cache):.2f} s"
        cold, warm = processor_time(tree, lines, cache), processor_time(tree, lines, cache)
    rows["the README's ten lines, cold and warm"] = f"{cold:.1f} s, {warm:.1f} s"
    return rows


def main() -> None:
    """Measure the checkouts that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trees", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    parser.add_argument("--page", type=Path, help="a page to write with the table")
    parser.add_argument("--suite", type=Path, help="what `make test` printed in the last tree")
    given = parser.parse_args()
    trees = [tree.resolve() for tree in given.trees]
    columns = [measured(tree) for tree in trees]
    for column, log in zip(columns, [None] * (len(trees) - 1) + [given.suite], strict=True):
        column["`make test`, in two processes: tests, time"] = suite(log)
    lines = ["| | " + " | ".join(map(version, trees)) + " |", "|---" * (len(trees) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(column[name] for column in columns) + " |" for name in columns[0]]
    print("\n".join(lines))
    if given.page:
        write_text(given.page, PAGE + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
