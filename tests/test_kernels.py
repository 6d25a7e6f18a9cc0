"""Is every compiled kernel the plain Python that it is written in, bit for bit?"""

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTHING = "e3b0c44298fc1c14"
"""The digest of no number at all."""


def kernels():
    """Every function that is compiled, by file: those of folders named kernels."""
    for package in ("eventsolve", "validation"):
        for file in sorted((ROOT / package).rglob("kernels/*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and node.decorator_list:
                    yield file.relative_to(ROOT).as_posix(), node.name


def lines(**environment):
    script = ROOT / "tests" / "shared" / "every_kernel.py"
    path = os.pathsep.join((str(ROOT), str(script.parent)))
    result = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            str(script),
        ],  # numpy warns where compiled code gives NaN or inf in silence
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()


def test_the_compiled_kernels_are_their_python_twins_bit_for_bit():
    compiled, plain = lines(NUMBA_DISABLE_JIT="0"), lines(NUMBA_DISABLE_JIT="1")
    n = len(compiled)
    assert compiled == plain[:n]
    digests = [word for line in compiled for word in line.split()[1:]]
    assert NOTHING not in digests
    assert len(digests) > 150
    ran = {tuple(line.split()[1:]) for line in plain[n:]}
    assert not set(kernels()) - ran
