"""What all commands do alike, whatever they are asked."""

import pytest
from typer.testing import CliRunner

from eventsolve.files import NotWrittenError, claimed
from validation import report
from validation.cli import app as cli

SMALL = ["yinyang", "--samples", "2", "--dt", "1ms", "--format", "float32", "--setup", "5-120-3"]

CORE = ["yinyang", "--target", "spinnaker2", "--set", "time_step=1ms"]


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


COMMANDS = {
    "yinyang": SMALL,
    "attribute": ["attribute", *CORE, "--samples", "2"],
    "converge": ["converge", *CORE, "--samples", "2"],
    "train": ["train", "yinyang", "--epochs", "1"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_run_into_a_folder_is_told_so(name, tmp_path):
    with claimed(tmp_path):
        result = invoke(*COMMANDS[name], "--out", tmp_path)
    assert result.exit_code == 2
    told = " ".join(result.stderr.replace("│", " ").split())
    assert "another run is writing into" in told


def test_a_report_without_room_is_kept_and_said_where(tmp_path, monkeypatch):
    """The folder is there and writable, but a directory has the name of the report."""
    (tmp_path / "report.html").mkdir()
    result = invoke(*SMALL, "--out", tmp_path)
    assert result.exit_code == 2
    assert "in → hidden" in result.stdout
    assert "report.html cannot be written: " in result.stderr
    assert "it was written into" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [(KeyboardInterrupt(), 130, "interrupted"), (NotWrittenError("no room"), 2, "Error: no room")],
)
def test_whatever_comes_out_of_a_command_ends_in_a_sentence(error, status, sentence, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(report, "provenance", fails)
    result = invoke(*SMALL, "--out", tmp_path)
    assert result.exit_code == status
    assert result.stderr.strip() == sentence


def test_an_interrupted_command_below_another_exits_alike(monkeypatch):
    monkeypatch.setattr("validation.terminal.console", lambda *_, **__: exec("raise KeyboardInterrupt"))
    result = invoke("train", "recipes")
    assert (result.exit_code, result.stderr.strip()) == (130, "interrupted")
