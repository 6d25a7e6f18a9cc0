"""Compiled kernels are kept in the user's folder, for all that they are made of; nothing there can be in the way."""

import configparser
import hashlib
import importlib
import inspect
import os
import py_compile
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numba
import numpy as np
import platformdirs
import pytest
from numba.core import caching
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

import eventsolve
from eventsolve import kernel_cache
from eventsolve.compiled import compiled
from eventsolve.kernel_cache import FOLDERS, KernelCache

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
FORMULA = """
from eventsolve.compiled import embedded

@embedded
def times(x):
    return {factor} * x
"""
SUM = """
from typing import NamedTuple
from eventsolve.compiled import compiled
from few.kernels.formula import times

class {pair}(NamedTuple):
    {fields}: float

@compiled
def total(pair, x):
    return pair[0] + times(x)

def run():
    return total({pair}(1.0), 1.0), sum(total.outer.stats.cache_hits.values())
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return the folder that is given to numba; whatever imports the package ``few`` is as in a fresh process."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(kernel_cache, "_NOT_KEPT", [])
    monkeypatch.syspath_prepend(tmp_path)
    # bytecode is that of sources of the same second and size, which these tests change
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kernel_cache.folder.cache_clear()
    yield tmp_path / "kept"
    kernel_cache.folder.cache_clear()
    forget()


def forget():
    for name in [name for name in sys.modules if name.split(".")[0] == "few"]:
        del sys.modules[name]
    kernel_cache.folder.cache_clear()
    importlib.invalidate_caches()


def written(folder, factor=1, pair="Pair", fields="value"):
    """Write the package ``few``, with a kernel that inlines a formula of another file."""
    kernels = folder / "few" / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    for package in (folder / "few", kernels):
        (package / "__init__.py").touch()
    (kernels / "formula.py").write_text(FORMULA.format(factor=factor))
    (kernels / "sums.py").write_text(SUM.format(pair=pair, fields=fields))
    return folder / "few"


def run():
    """Return the sum, and whether it was compiled before, as a process that has not imported ``few`` yet."""
    forget()
    value, hits = importlib.import_module("few.kernels.sums").run()
    return value, bool(hits)


def entries(kept):
    return sorted(kept.rglob("*.kernel"))


def test_a_kernel_is_compiled_once_and_nothing_is_written_beside_its_source(kept, tmp_path):
    package = written(tmp_path)
    before = {file for file in package.rglob("*") if "__pycache__" not in file.name}
    assert run() == (2.0, False)
    assert run() == (2.0, True)
    assert [file.name.split("-")[0] for file in entries(kept)] == ["sums_total"]
    assert not [file for file in tmp_path.rglob("*.nb?")]
    after = {file for file in package.rglob("*") if "__pycache__" not in str(file)}
    assert after == before
    assert not list(kept.rglob("*.tmp"))


def test_an_edit_in_another_file_is_noticed(kept, tmp_path):
    written(tmp_path)
    assert run() == (2.0, False)
    written(tmp_path, factor=10)
    assert run() == (11.0, False)
    written(tmp_path)
    assert run() == (2.0, True)


def test_a_type_that_is_gone_is_not_in_the_way(kept, tmp_path):
    written(tmp_path)
    run()
    written(tmp_path, pair="Couple", fields="number")
    assert run() == (2.0, False)


@pytest.mark.parametrize(
    "setting",
    [("OPT", 0), ("BOUNDSCHECK", 1), ("SLP_VECTORIZE", 1)],
)
def test_what_numba_is_told_is_part_of_the_key(kept, monkeypatch, setting):
    before = kernel_cache.folder("eventsolve.kernels")
    monkeypatch.setattr(numba.config, *setting)
    kernel_cache.folder.cache_clear()
    assert kernel_cache.folder("eventsolve.kernels") != before


def test_versions_are_part_of_the_key(kept, monkeypatch):
    found = {kernel_cache.folder("eventsolve.kernels")}
    for module, name in ((numba, "__version__"), (np, "__version__"), (kernel_cache, "__version__")):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, "0.0.1")
            kernel_cache.folder.cache_clear()
            found.add(kernel_cache.folder("eventsolve.kernels"))
    assert len(found) == 4


def test_the_ways_of_compiling_and_the_kernels_of_eventsolve_are_part_of_every_key(
    kept, tmp_path, monkeypatch
):
    written(tmp_path)
    shutil.copytree(
        ROOT / "eventsolve", tmp_path / "eventsolve", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path.joinpath(*name.split(".")))
    keys = [kernel_cache.folder.__wrapped__("few.kernels")]
    for file in ("compiled.py", "kernel_cache.py", "kernels/crossing.py", "solve.py"):
        with (tmp_path / "eventsolve" / file).open("a") as stream:
            stream.write("\n")
        keys.append(kernel_cache.folder.__wrapped__("few.kernels"))
    assert len(set(keys)) == 4
    assert keys[-1] == keys[-2]  # solve.py is no kernel


def test_the_kernels_of_another_folder_of_the_same_package_are_part_of_the_key(kept, tmp_path):
    package = written(tmp_path)
    other = package / "deeper" / "kernels"
    other.mkdir(parents=True)
    (other / "formulas.py").write_text(FORMULA.format(factor=2))
    (package / "kernels" / "formula.py").write_text(
        "from few.deeper.kernels.formulas import times as times\n"
    )
    assert run() == (3.0, False)
    assert run() == (3.0, True)
    (other / "formulas.py").write_text(FORMULA.format(factor=4))
    assert run() == (5.0, False)


def test_functions_that_look_alike_in_two_modules_are_two_entries(kept, tmp_path):
    package = written(tmp_path)
    for name, sign in (("first", "+"), ("other", "-")):
        (package / "kernels" / f"{name}.py").write_text(
            f"from math import {'sin' if sign == '+' else 'cos'} as wave\n"
            "from eventsolve.compiled import compiled\n\n@compiled\ndef g(x):\n    return wave(x)\n"
        )
    forget()
    codes = []
    for name in ("first", "other"):
        kernel = importlib.import_module(f"few.kernels.{name}").g
        codes.append(kernel.__wrapped__.__code__.co_code)
        assert kernel(0.0) == (0.0 if name == "first" else 1.0)
        assert not kernel.outer.stats.cache_hits
    assert codes[0] == codes[1]


DAMAGES = {
    "empty": lambda content: b"",
    "a checksum alone": lambda content: content[:32],
    "cut": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a bit of code flipped": lambda content: content[:-200] + bytes([content[-200] ^ 1]) + content[-199:],
    "a bit of checksum flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "a class that is gone": lambda content: whole(b"cnowhere\nNothing\n."),
    "another signature": lambda content: whole(dumps(((numba.types.int64,), None))),
}


def whole(entry):
    return hashlib.sha256(entry).digest() + entry


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_compiled_again(kept, tmp_path, damage):
    written(tmp_path)
    run()
    (entry,) = entries(kept)
    content = entry.read_bytes()
    entry.write_bytes(damage(content))
    assert run() == (2.0, False)
    assert entries(kept) == [entry]
    assert run() == (2.0, True)


def test_old_folders_are_removed_and_those_of_other_packages_are_not(kept, tmp_path):
    written(tmp_path)
    run()
    (entry,) = entries(kept)
    stale = [entry.parent.with_name(f"few.kernels-0.0.{k}-{k:020x}") for k in range(FOLDERS + 3)]
    other = entry.parent.with_name("few.kernels_of_others-0.0.1-00000000000000000000")
    for k, folder in enumerate([other, *stale]):
        folder.mkdir()
        (folder / "f.kernel").touch()
        os.utime(folder, (1e9 + k, 1e9 + k))
    os.utime(stale[0])  # an old version that is in use
    written(tmp_path, factor=2)
    assert run() == (3.0, False)
    left = set(entry.parent.parent.iterdir())
    assert left >= {other, entry.parent, stale[0], *stale[-(FOLDERS - 3) :]}
    assert len(left) == FOLDERS + 1
    written(tmp_path)
    assert run() == (2.0, True)


def test_a_folder_that_is_used_is_young(kept, tmp_path):
    written(tmp_path)
    run()
    (entry,) = entries(kept)
    os.utime(entry.parent, (1e9, 1e9))
    kernel_cache._mark_used.cache_clear()
    assert run() == (2.0, True)
    assert entry.parent.stat().st_mtime > time.time() - 3600


def test_a_folder_that_vanishes_is_made_again(kept, tmp_path):
    written(tmp_path)
    forget()
    sums = importlib.import_module("few.kernels.sums")
    assert sums.run() == (2.0, 0)
    shutil.rmtree(kept)
    assert sums.total(sums.Pair(1), 1) == 2
    assert len(entries(kept)) == 1


def test_recompiling_forgets_what_was_kept(kept, tmp_path):
    written(tmp_path)
    run()
    sums = sys.modules["few.kernels.sums"]
    sums.total.outer.recompile()
    assert run() == (2.0, True)
    assert len(entries(kept)) == 1


def test_closures_and_functions_of_scripts_stay_in_memory(kept):
    def scaled(factor):
        def times(x):
            return factor * x

        return times

    assert KernelCache(scaled(2.0)).cache_path is None
    function = scaled.__class__(scaled.__code__, {}, "scaled")
    function.__module__ = "__main__"
    assert KernelCache(function).cache_path is None
    assert kernel_cache._NOT_KEPT == []


def homeless(*names, **options):
    raise RuntimeError("could not determine the home directory")


def tilde(*names, **options):
    return Path("~/.cache/eventsolve")


@pytest.mark.parametrize("reason", ["a file is in the way", "no home", "~ is no home", "no sources"])
def test_where_nothing_can_be_kept_it_is_said_once(kept, tmp_path, monkeypatch, reason):
    written(tmp_path)
    if reason == "a file is in the way":
        kept.touch()
    elif "home" in reason:
        monkeypatch.setattr(numba.config, "CACHE_DIR", "")
        monkeypatch.setattr(platformdirs, "user_cache_path", homeless if reason == "no home" else tilde)
    else:
        monkeypatch.setattr(kernel_cache, "_modules", lambda folder: iter(()))
    with pytest.warns(RuntimeWarning, match="stay in memory") as said:
        answers = [run(), run()]
    assert answers == [(2.0, False)] * 2
    assert len(said) == 1
    assert not list(tmp_path.rglob("*.kernel"))
    assert not Path("~").exists()


# -- other processes -----------------------------------------------------------------------------------------------

PROGRAM = "from few.kernels.sums import run; print(*run())"


def start(folder, *path, program=PROGRAM, **environment):
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **environment}
    given.pop("NUMBA_DISABLE_JIT", None)
    command = [sys.executable, "-c", program]
    return subprocess.Popen(
        command, env=given, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_processes_that_compile_at_once_agree(tmp_path):
    written(tmp_path)
    kept = tmp_path / "kept"
    together = (
        "import pathlib; from few.kernels.sums import run\n"
        "pathlib.Path('ready{}').touch()\n"
        "while not (pathlib.Path('ready0').exists() and pathlib.Path('ready1').exists()): pass\n"
        "print(*run())"
    )
    programs = [together.format(k) for k in range(2)]
    at_once = [start(tmp_path, tmp_path, ROOT, program=p, NUMBA_CACHE_DIR=str(kept)) for p in programs]
    answers = [process.communicate() for process in at_once]
    assert all(answer[0].split()[0] == "2.0" for answer in answers), answers
    assert not any(answer[1] for answer in answers), answers
    assert len(entries(kept)) == 1
    assert not list(kept.rglob("*.tmp"))
    assert start(tmp_path, tmp_path, ROOT, NUMBA_CACHE_DIR=str(kept)).communicate() == ("2.0 1\n", "")


@pytest.mark.parametrize("form", ["zip", "pyc"])
def test_the_package_works_from_a_zip_and_without_its_sources(tmp_path, form):
    place = tmp_path / "place"
    place.mkdir()
    written(place)
    shutil.copytree(ROOT / "eventsolve", place / "eventsolve", ignore=shutil.ignore_patterns("__pycache__"))
    if form == "zip":
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w") as file:
            for source in sorted(place.rglob("*.*")):
                file.write(source, source.relative_to(place))
        shutil.rmtree(place)
    else:
        path = place
        for source in sorted(place.rglob("*.py")):
            py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")), doraise=True)
            source.unlink()
    kept = tmp_path / "kept"
    found = "import eventsolve; print(eventsolve.__file__);" + PROGRAM
    for hits in ("0", "1"):
        process = start(tmp_path, path, program=found, NUMBA_CACHE_DIR=str(kept))
        out, err = process.communicate()
        assert err == ""
        assert out.split()[0].startswith(str(path))
        assert out.split()[1:] == ["2.0", hits]
    assert len(entries(kept)) == 1


def test_a_process_that_may_write_nowhere_says_so_once(tmp_path):
    written(tmp_path)
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file")
    process = start(tmp_path, tmp_path, ROOT, HOME=nowhere, XDG_CACHE_HOME=nowhere, NUMBA_CACHE_DIR="")
    out, err = process.communicate()
    assert out == "2.0 0\n"
    assert err.count("stay in memory") == 1


# -- kernels inside of others --------------------------------------------------------------------------------------


def test_a_kernel_is_one_part_whatever_integer_it_is_given_and_is_called_from_python_as_well():
    @compiled
    def twice(x):
        return 2 * x

    @compiled
    def sum_of(n):
        return twice(n) + twice(0) + twice(1)

    assert sum_of(3) == 8
    assert len(twice.inner.overloads) == 1
    assert not twice.overloads
    assert twice(4) == 8
    assert len(twice.overloads) == 1


def test_what_goes_wrong_in_a_part_is_an_error_of_the_whole():
    @compiled
    def rows(n):
        return np.empty(n)

    @compiled
    def size(n):
        return rows(n).size

    assert size(2) == 2
    with pytest.raises(ValueError, match="negative"):
        size(-1)


def test_a_part_has_no_machine_code_of_its_own():
    @compiled
    def half(x):
        return 0.5 * x

    @compiled
    def quarter(x):
        return half(half(x))

    assert quarter(2.0) == 0.5
    (part,) = half.inner.overloads.values()
    assert part.library.get_pointer_to_function(part.fndesc.llvm_func_name) == 0
    assert not part.library._codegen._engine.is_symbol_defined(part.fndesc.llvm_cpython_wrapper_name)


# -- what numba does not promise -----------------------------------------------------------------------------------


def test_numba_asks_a_cache_for_what_it_has():
    asked = set(re.findall(r"self\._cache\.(\w+)", inspect.getsource(Dispatcher)))
    assert asked == {"cache_path", "load_overload", "save_overload", "flush"}
    assert asked <= set(dir(KernelCache))
    for name in ("load_overload", "save_overload"):
        theirs, ours = (
            list(inspect.signature(getattr(c, name)).parameters) for c in (caching.Cache, KernelCache)
        )
        assert len(theirs) == len(ours)
    assert type(numba.njit(lambda x: x)._cache) is caching.NullCache


def test_versions_of_numba_are_bounded():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    (bound,) = re.findall(
        r"^numba>=[\d.]+,<(\d+)\.(\d+)$", parser["options"]["install_requires"], re.MULTILINE
    )
    assert tuple(map(int, numba.__version__.split(".")[:2])) < tuple(map(int, bound))


def test_every_kernel_of_the_package_is_kept_so():
    from eventsolve.kernels import layered, recurrent

    for kernel in (layered.forward, recurrent.solve_queue):
        assert isinstance(kernel.outer._cache, KernelCache)
        assert Path(kernel.outer.stats.cache_path).name.startswith(
            f"eventsolve.kernels-{eventsolve.__version__}-"
        )
