"""Do the commands of ``train`` do what they say, and fail as they say?"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from trainings import CODED, SMALL
from typer.testing import CliRunner

from benchmarks.tables import training
from validation.cli import app as cli
from validation.tasks.yin_yang import campaign, search
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.recipe import RECIPES, VALIDATION_SEED
from validation.training.archive import CHECKPOINT

QUICK = ["train", "yinyang", "--epochs", 2, "--train-samples", 64, "--test-samples", 32, "--threads", 1]


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_a_training_leaves_a_report_and_a_checkpoint(tmp_path):
    result = invoke(*QUICK, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "after 2 epochs" in result.stderr
    document = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert document["complete"] is True
    assert len(document["history"]) == 2
    assert document["recipe"]["rule"]["kind"] == "Adam"
    assert "Decisions" in (tmp_path / "training.html").read_text(encoding="utf-8")
    again = invoke(*QUICK, "--out", tmp_path)
    assert again.exit_code == 2
    assert "--resume" in again.stderr


def test_an_interrupt_keeps_the_last_whole_epoch(tmp_path, monkeypatch):
    real, calls = ExactEngine.gradient, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(ExactEngine, "gradient", interrupted)
    result = invoke(*QUICK, "--out", tmp_path / "stopped")
    assert result.exit_code == 130
    assert "1 of 2 epochs" in result.stderr
    assert json.loads((tmp_path / "stopped" / "training.json").read_text())["complete"] is False
    monkeypatch.undo()
    assert invoke(*QUICK, "--resume", "--out", tmp_path / "stopped").exit_code == 0
    assert invoke(*QUICK, "--out", tmp_path / "whole").exit_code == 0
    with (
        np.load(tmp_path / "stopped" / CHECKPOINT) as one,
        np.load(tmp_path / "whole" / CHECKPOINT) as other,
    ):
        for name in one.files:
            columns = slice(None, -1) if name == "history" else slice(None)
            assert np.array_equal(
                one[name][..., columns] if one[name].ndim else one[name],
                other[name][..., columns] if other[name].ndim else other[name],
            )


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--engine", "quantum", "--engine"),
        ("--recipe", "cake", "recipe"),
        ("--format", "float32", "number format"),
        ("--epochs", "0", "--epochs"),
        ("--batch", "65", "batch_size"),
        ("--learning-rate", "nan", "learning_rate"),
        ("--learning-rate", "-1", "learning_rate"),
        ("--seed", "-1", "--seed"),
        ("--weights", "nowhere.npz", "--weights"),
    ],
)
def test_a_bad_option_is_named(option, value, named, tmp_path):
    result = invoke(*QUICK, option, value, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert not (tmp_path / "out").exists()


def test_there_is_nothing_to_resume(tmp_path):
    result = invoke(*QUICK, "--resume", "--out", tmp_path)
    assert result.exit_code == 2
    assert "--resume" in result.stderr


# -- search and table


def test_a_search_tries_what_its_seed_says_on_the_validation_set(tmp_path):
    def tried(folder, seed):
        base = campaign.Job("exact", replace(SMALL, epochs=1, n_train=64, n_test=32), seed, tmp_path / folder)
        with ThreadPoolExecutor(1) as pool:
            return search.search(base, 3, executor=pool, parallel=1)

    first, again, other = tried("first", 1), tried("again", 1), tried("other", 2)
    rules = [[t.job.recipe.rule for t in trials] for trials in (first, again, other)]
    assert rules[0] == rules[1] != rules[2]
    assert [t.accuracy for t in first] == [t.accuracy for t in again]
    assert {t.job.recipe.test_seed for t in first} == {VALIDATION_SEED}
    assert all(t.job.checkpoint.exists() for t in first)


def test_a_search_in_several_processes_leaves_its_trials(tmp_path):
    result = invoke(
        *(
            "train",
            "search",
            "--trials",
            3,
            "--workers",
            2,
            "--epochs",
            1,
            "--train-samples",
            64,
            "--test-samples",
            32,
        ),
        *("--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "search.json").read_text())
    assert len(found) == 3
    assert [t["accuracy"] for t in found] == sorted((t["accuracy"] for t in found), reverse=True)
    assert "validation" not in result.stdout
    again = invoke("train", "search", "--out", tmp_path / "out")
    assert again.exit_code == 2
    assert "--out" in again.stderr


def test_the_table_has_a_line_per_row_and_a_row_that_follows_starts_where_the_other_ended(
    tmp_path, monkeypatch
):
    exact = replace(CODED, name="quick-exact", epochs=1)
    monkeypatch.setattr(
        training, "RECIPES", {"quick": replace(CODED, name="quick", epochs=1), "quick-exact": exact}
    )
    rows = (
        training.Row("pre", "exact", "quick-exact"),
        training.Row("post", "float32", "quick", follows="pre"),
    )
    results = [training.run_row(row, tmp_path / "runs") for row in rows]
    documents = [training.document(row, found) for row, found in zip(rows, results, strict=True)]
    for run, result in zip(documents[1]["runs"], results[1], strict=True):
        assert run["before"] == result.before
        assert f"--weights pre-{run['seed']}/checkpoint.npz" in run["command"]
    _, page = training.write(documents, tmp_path / "docs")
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| p")]
    assert len(lines) == 2
    mean = np.mean([100 * run["test_accuracy"] for run in documents[1]["runs"]])
    assert f"{mean:.2f} ±" in lines[1]


def test_an_interrupted_table_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "run_row", interrupted)
    of = ["--only", "exact-slow", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "docs")]
    result = CliRunner().invoke(training.app, of)
    assert result.exit_code == 130
    assert "0 of 1 rows" in result.stderr
    assert not (tmp_path / "docs").exists()
    assert CliRunner().invoke(training.app, ["--only", "exact-quick", "--out", of[-1]]).exit_code == 2


def test_every_recipe_is_listed_and_every_row_can_be_built(tmp_path):
    listed = invoke("train", "recipes").stdout
    for name in RECIPES:
        assert name in listed
    seen = set()
    for row in training.ROWS:
        assert not row.follows or row.follows in seen
        seen.add(row.name)
        for job in training.jobs(row, tmp_path):
            job.build()
