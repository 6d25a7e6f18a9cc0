"""Rows of words in the table of trainings: are they what their commands train, and does the page say so?"""

import json
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.tables import training
from validation.cli import app as cli
from validation.genn import GeNN
from validation.tasks.keywords import words
from validation.tasks.keywords.speech import synthesizer
from validation.training.archive import CHECKPOINT

SEEDS = (42, 43)


def test_a_row_of_words_is_what_its_command_trains_and_stands_on_the_page(tmp_path, monkeypatch):
    rows = {row.name: replace(row, size=words.Size(4, 2, 1, 2, 2e-3)) for row in words.ROWS}
    row, told = rows["words-mean"], []
    with ThreadPoolExecutor(1) as pool:
        ends = words.run_row(row, tmp_path, pool, lambda: told.append(1), SEEDS)
    assert len(told) == 2
    # the row's command goes on from the row's checkpoint, which it would refuse of any other training
    shutil.copy(tmp_path / f"{row.name}-42" / CHECKPOINT, tmp_path / f"{row.name}-42.npz")
    monkeypatch.chdir(tmp_path)
    command = [*shlex.split(row.command(42))[1:], "--resume"]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    assert f"loss {ends[0].loss:.4f}" in result.stdout
    other = command[: command.index("--loss")] + command[command.index("--loss") + 2 :]
    refused = CliRunner().invoke(cli.app, other)
    assert refused.exit_code == 2
    # the finding: of a uniform mean hardly anything reaches the hidden neurons, of an exponential one it does
    assert words.reach(rows["words-exponential"], 42) > 1e3 * words.reach(row, 42) > 0
    # the table goes on, too
    monkeypatch.setattr(
        words,
        "trained",
        lambda *_, begin, **__: iter(()) if begin is not None else pytest.fail("it has ended"),
    )
    monkeypatch.setattr(words, "seconds_of_an_epoch", lambda row, seed: 1.0)
    again = [words.train(row, tmp_path, seed) for seed in SEEDS]
    documents = [words.document(row, again, SEEDS)]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "training.json").write_text(
        json.dumps({"rows": [{"name": "exact-slow", "recipe": {}}]})
    )
    assert [found["name"] for found in training.merged(documents, tmp_path / "docs")] == [
        "exact-slow",
        row.name,
    ]
    data, page = training.write(documents, tmp_path / "docs")
    assert json.loads(data.read_text())["words"] == documents
    assert training.merged([], tmp_path / "docs") == documents
    text = page.read_text()
    assert row.command(42) in text
    accuracies = [100 * end.accuracy for end in ends]
    assert f"| {np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f} |" in text


def test_a_row_on_genn_is_what_its_command_trains_and_has_the_accuracy_of_its_readouts(tmp_path, monkeypatch):
    (row,) = (row for row in words.ROWS if row.name == "words-max-genn-1ms-mended")
    row = replace(row, size=words.Size(4, 6, 1, 3, 2e-2))
    end = words.train(row, tmp_path, 42)
    shutil.copy(tmp_path / f"{row.name}-42" / CHECKPOINT, tmp_path / f"{row.name}-42.npz")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, [*shlex.split(row.command(42))[1:], "--resume"])
    assert result.exit_code == 0, result.output
    assert f"accuracy {100 * end.accuracy:.1f} %" in result.stdout
    # by hand: the largest voltages of the record's own trace, of the last epoch's network on the other samples
    problem = words.problem_of(row, 12, 42)
    test = replace(problem.select(range(6, 12)), network=end.network)
    trace = GeNN(1e-3, faithful=False).run(test).traces["out"]
    assert end.accuracy == np.mean(trace.voltage.max(axis=2).argmax(axis=1) == test.loss.labels)
    document = words.document(row, [end], (42,))
    assert document["engine"] == "genn"
    assert document["seconds_of_an_epoch"] > 0
    _, page = training.write([document], tmp_path)
    assert "genn, time_step=1ms, faithful=false" in page.read_text()


def test_without_a_synthesizer_the_table_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("validation.tasks.keywords.recordings.kept_in", lambda: synthesizer() and tmp_path)
    result = CliRunner().invoke(
        training.app,
        ["--only", "words-mean", "--runs", str(tmp_path), "--out", str(tmp_path / "docs")],
    )
    assert result.exit_code == 2
    assert "espeak-ng" in result.stderr
    assert not (tmp_path / "docs").exists()
