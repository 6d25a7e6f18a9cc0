"""The cache of compiled kernels: an entry made from other files is neither used nor in the way."""

import subprocess
import sys

PROGRAM = """
from typing import NamedTuple

import numba

from eventsolve.compiled import stamped


class {name}(NamedTuple):
    value: float


def add(pair, x):
    return pair.value + {factor} * x


add = stamped(numba.njit(cache=True)(add), "{stamp}")
print(add({name}(1.0), 1.0), *add.stats.cache_hits.values())
"""


def run(folder, **parts):
    (folder / "program.py").write_text(PROGRAM.format(**parts))
    command = [sys.executable, "-B", "-c", f"import sys; sys.path.append({str(folder)!r}); import program"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_an_entry_is_found_by_its_stamp_alone(tmp_path):
    assert run(tmp_path, name="Pair", factor=1, stamp="first") == ["2.0"]
    assert run(tmp_path, name="Pair", factor=1, stamp="first") == ["2.0", "1"]
    # The stamp, not the file, decides: it is made of all files that are compiled together.
    assert run(tmp_path, name="Pair", factor=10, stamp="first") == ["2.0", "1"]
    assert run(tmp_path, name="Pair", factor=10, stamp="second") == ["11.0"]


def test_an_entry_that_names_a_type_that_is_gone(tmp_path):
    run(tmp_path, name="Pair", factor=1, stamp="first")
    assert run(tmp_path, name="Couple", factor=1, stamp="second") == ["2.0"]
