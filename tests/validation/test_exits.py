"""Does every command end as is documented, and print on any stream?"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMANDS, ROOT, SMALL
from typer.testing import CliRunner

import eventsolve as es
from validation import exits
from validation.cli import app as cli


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def process(*arguments, **options):
    command = [sys.executable, "-m", "validation", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, "check": False} | options
    return subprocess.run(command, **options)


def test_the_version_is_printed():
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"eventsolve {es.__version__}\n")


def test_the_help_says_what_the_exit_status_means():
    said = " ".join(invoke("--help").stdout.split())
    for status in ("0 it agrees", "1 it differs", "2 the input", "70 an internal error", "130 interrupted"):
        assert status in said


WITHOUT = {
    *("recommend", "localise", "targets", "tasks", "train recipes"),
    *("chip", "export", "loihi2", "sbp record", "sbp train"),
}
WITH_OUT = set(COMMANDS) - WITHOUT


def test_every_command_is_here():
    names = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    inner = {
        f"{group.name} {command.name or command.callback.__name__}"
        for group in cli.app.registered_groups
        for command in group.typer_instance.registered_commands
    }
    assert names | inner == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_crash_is_an_internal_error(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target, arguments = COMMANDS[command]

    def crash(*given, **options):
        raise KeyError("nothing that a user did")

    monkeypatch.setattr(target, crash)
    result = invoke(*arguments)
    assert result.exit_code == exits.INTERNAL == 70, result.output
    assert "KeyError: 'nothing that a user did'" in result.stderr
    assert "internal error" in result.stderr


def test_what_takes_more_memory_than_there_is_is_wrong_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target, arguments = next(iter(COMMANDS.values()))

    def fill(*given, **options):
        raise MemoryError("Unable to allocate 477. GiB")

    monkeypatch.setattr(target, fill)
    result = invoke(*arguments)
    assert result.exit_code == exits.WRONG, result.output
    assert "more memory than there is (Unable to allocate 477. GiB): ask for fewer samples" in result.stderr
    assert "internal error" not in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_fails_is_wrong_input_or_output(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target, arguments = COMMANDS[command]

    def full(*given, **options):
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr(target, full)
    result = invoke(*arguments)
    assert result.exit_code == exits.WRONG == 2, result.output
    assert "No space left on device" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", sorted(WITH_OUT))
@pytest.mark.parametrize("place", ["file", "file/folder", "missing/../file/folder"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(command, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    target, arguments = COMMANDS[command]
    monkeypatch.setattr(target, lambda *given, **options: pytest.fail("the work began"))
    result = invoke(*arguments, "--out", tmp_path / place)
    assert result.exit_code == 2, result.output
    assert "Invalid value for '--out'" in result.stderr


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(tmp_path)))
    assert invoke(*SMALL, "--out", tmp_path / "new").exit_code == 2
    assert invoke("check", ROOT / "setup.cfg", "--junit", tmp_path / "junit.xml").exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_stream_that_is_not_utf_8_gets_what_it_can_show(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT)}
    result = process(*SMALL, "--out", tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert "in \\u2192 hidden" in result.stdout.decode("cp1252")
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_help_and_tables_are_printed_on_any_stream(encoding):
    for arguments in (["--help"], ["yinyang", "--help"], ["train", "recipes"]):
        result = CliRunner(charset=encoding).invoke(cli.app, arguments)
        assert result.exit_code == 0, result.output
        assert len(result.stdout) > 100


def test_json_is_json_on_any_stream(tmp_path):
    result = invoke(*SMALL, "--json", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.isascii()
    assert "\\u2192" in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_that_is_full_is_output_that_cannot_be_written():
    with open("/dev/full", "wb") as full:
        for arguments in (["--version"], ["train", "recipes"]):
            result = process(*arguments, stdout=full, env={**os.environ, "PYTHONPATH": str(ROOT)})
            assert result.returncode == 2, arguments
            assert b"No space left on device" in result.stderr
            assert b"Traceback" not in result.stderr


def test_standard_output_that_nobody_reads_ends_silently_as_by_its_signal():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        result = process("train", "recipes", stdout=closed, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert result.returncode == exits.UNREAD == 128 + signal.SIGPIPE
        assert result.stderr == b""


def test_a_failure_in_another_process_is_what_it_would_be_here():
    from eventsolve.jobs import LostJobsError
    from validation.cli.running import refusals

    for cause, raised in ((ValueError("8 bits"), cli.typer.BadParameter), (KeyError("a"), LostJobsError)):
        with pytest.raises(raised), refusals():
            raise LostJobsError(("job",), 1, cause) from cause


def test_a_network_that_runs_away_is_wrong_input_and_another_error_is_not(tmp_path, monkeypatch):
    from eventsolve.io import records
    from eventsolve.solve import StoppedError
    from validation import check

    monkeypatch.setattr(records, "read", lambda *given, **options: None)
    monkeypatch.setattr(check, "network_of", lambda *given, **options: None)
    for error, status in ((StoppedError.__new__(StoppedError), 2), (RuntimeError("a mistake"), 70)):

        def fail(*given, error=error, **options):
            raise error

        monkeypatch.setattr(check, "check", fail)
        result = invoke("check", ROOT / "setup.cfg", "--out", tmp_path)
        assert result.exit_code == status, result.output
