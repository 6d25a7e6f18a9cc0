"""Does the command line do what it says, and fail as it says?"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from validation.cli import app as cli
from validation.durations import seconds
from validation.spinnaker2 import yinyang

SMALL = ["yinyang", "--samples", "2", "--dt", "1ms", "--format", "float32", "--setup", "5-120-3"]


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_a_run_prints_the_table_and_names_the_report(tmp_path):
    result = invoke(*SMALL, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "5-120-3, 1 ms, float32" in result.stdout
    assert "in → hidden" in result.stdout
    assert str(tmp_path / "report.html") in result.stderr
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_json_goes_to_standard_output_and_the_same_to_the_file(tmp_path):
    result = invoke(*SMALL, "--seed", 3, "--json", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["provenance"]["settings"] == {
        "samples": 2,
        "seed": 3,
        "dt": [1e-3],
        "format": ["float32"],
        "setup": ["5-120-3"],
    }
    assert document["runs"][0]["samples"] == 2


def test_spikes_further_apart_than_the_window_are_not_paired(tmp_path):
    missed = {}
    for width in ("1us", "5ms"):
        result = invoke(*SMALL, "--window", width, "--json", "--out", tmp_path)
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        assert document["provenance"]["settings"]["window"] == pytest.approx(seconds(width))
        hidden = document["runs"][0]["spikes"][1]
        assert hidden["window"] == seconds(width)
        missed[width] = hidden["missed"]
    assert missed["1us"] > missed["5ms"]


def test_a_broken_limit_is_named_and_fails(tmp_path):
    result = invoke(*SMALL, "--max-error", "1e-9", "--min-cosine", "1", "--out", tmp_path)
    assert result.exit_code == 1
    assert "limit broken: 5-120-3, 1 ms, float32: dL/dw of in → hidden: relative error" in result.stderr
    assert (tmp_path / "report.html").exists()


def test_limits_that_hold_pass(tmp_path):
    assert invoke(*SMALL, "--max-error", "1e9", "--min-cosine", "-1", "--out", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--samples", "0"),
        ("--samples", "two"),
        ("--seed", "-1"),
        ("--dt", "0"),
        ("--dt", "-1ms"),
        ("--dt", "1 fortnight"),
        ("--dt", "nan"),
        ("--dt", "inf"),
        ("--dt", "0.7ms"),
        ("--dt", "1s"),
        ("--window", "0"),
        ("--window", "wide"),
        ("--format", "s99"),
        ("--setup", "5-5"),
        ("--max-error", "nan"),
        ("--max-error", "-1"),
        ("--min-cosine", "2"),
        ("--min-cosine", "nan"),
    ],
)
def test_a_bad_option_is_named(option, value, tmp_path):
    result = invoke("yinyang", option, value, "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert option in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    result = invoke(*SMALL, "--out", file)
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_an_interrupt_keeps_the_finished_runs(tmp_path, monkeypatch):
    real, seen = yinyang.run, []

    def interrupted(job):
        seen.append(job)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(yinyang, "run", interrupted)
    result = invoke(*SMALL, "--format", "float64", "--out", tmp_path)
    assert result.exit_code == 130
    assert "1 of 2 runs" in result.stderr
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["complete"] is False
    assert [run["title"] for run in document["runs"]] == ["5-120-3, 1 ms, float32"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1ms", 1e-3),
        ("0.1ms", 1e-4),
        ("0.1 ms", 1e-4),
        ("100us", 1e-4),
        ("100 µs", 1e-4),
        ("1e-4", 1e-4),
        ("0.01s", 1e-2),
    ],
)
def test_durations(text, value):
    assert seconds(text) == value


def test_the_campaign_is_every_combination_once(monkeypatch, tmp_path):
    jobs = []
    monkeypatch.setattr(yinyang, "campaign", lambda given: jobs.extend(given) or iter(()))
    invoke("yinyang", "--dt", "1ms", "--dt", "1e-3", "--dt", "0.5ms", "--out", tmp_path)
    assert len(jobs) == len(set(jobs)) == 2 * 2 * 2


def test_help_is_fast_and_imports_nothing_heavy():
    script = (
        "import sys, validation.cli.app as m\n"
        "try: m.app(['yinyang', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numba', 'numpy', 'matplotlib', 'eventsolve'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_an_executor_gives_the_same_runs_in_the_same_order():
    jobs = [yinyang.Job("5-120-3", step, "float32", 2, 1) for step in (1e-3, 0.5e-3)]
    with ThreadPoolExecutor(2) as pool:
        pooled = list(yinyang.campaign(jobs, pool))
    for one, other in zip(yinyang.campaign(jobs), pooled, strict=True):
        assert one.title == other.title
        for key, weight in one.comparison.weight.items():
            assert (weight.model == other.comparison.weight[key].model).all()


@pytest.mark.parametrize(
    ("terminal", "kept", "arguments", "said"),
    [
        (True, False, ["check", "none.json"], True),
        (False, False, ["check", "none.json"], False),
        (True, True, ["check", "none.json"], False),
        (True, False, ["tasks"], False),
        (True, False, ["check", "--help"], False),
    ],
)
def test_who_waits_at_a_terminal_for_kernels_is_told(tmp_path, monkeypatch, terminal, kept, arguments, said):
    folder = tmp_path / "kernels"
    if kept:
        folder.mkdir()
    monkeypatch.setattr("eventsolve.kernel_cache.folder", lambda package: folder)
    monkeypatch.setattr(cli, "at_terminal", lambda: terminal)
    monkeypatch.setattr(sys, "argv", ["eventsolve-validate", *arguments])
    assert ("compiling kernels" in invoke(*arguments).stderr) == said
