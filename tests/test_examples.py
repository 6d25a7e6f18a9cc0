"""Do the examples run as they stand, and say what the documentation says that they say?"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventsolve.io import records
from validation import check as checking

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BUG, MENDED = "np.outer(lambda_i, spikes[k])", "np.outer(tau_syn * lambda_i, spikes[k])"


AT_ONCE = """
from hypothesis import Phase, settings

settings.register_profile("at once", phases=[Phase.generate], database=None, derandomize=True)
settings.load_profile("at once")
"""
"""What fails is not made smaller first, which takes most of the time."""


def suite(folder):
    """Run the property test as a user would, with few examples."""
    options = [
        "-p",
        "no:eventsolve",
        "-p",
        "pytest_eventsolve",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, "--eventsolve-examples", "3", "test_lif.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    for name in ("lif.py", "test_lif.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "conftest.py").write_text(AT_ONCE, encoding="utf-8")
    return tmp_path


def test_ten_lines_name_the_planted_bug(folder):
    result = suite(folder)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "dL/dw differ at synapse [" in result.stdout
    assert "looks like: a factor 1/tau_syn" in result.stdout
    assert "what comes before agrees: spikes of 'in', spikes of 'out'" in result.stdout
    assert "network_of(" in result.stdout
    assert "eventsolve: 1 tests, 1 differ" in result.stdout


def test_without_the_bug_it_passes(folder):
    text = (folder / "lif.py").read_text("utf-8")
    assert text.count(BUG) == 1
    (folder / "lif.py").write_text(text.replace(BUG, MENDED), encoding="utf-8")
    result = suite(folder)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_record_written_in_c_is_a_record_that_checks(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path / "write_record"
    subprocess.run(
        [
            compiler,
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            program,
            EXAMPLES / "write_record.c",
            "-lm",
        ],
        check=True,
    )
    with (tmp_path / "neuron.json").open("wb") as file:
        subprocess.run([program], stdout=file, check=True)
    record = records.read(tmp_path / "neuron.json")
    run = checking.check(record, record.network)
    assert [stage.label for stage in run.comparison.stages if not stage.agrees] == []
    assert {"spikes of out", "loss", "dL/dw of in → out"} <= {stage.label for stage in run.comparison.stages}
