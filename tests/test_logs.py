"""Logs of long runs: what is finished is there when a run goes on, and nothing of another run is taken for it."""

import pytest

from tests.shared import logs
from tests.shared.logs import resumed


def test_a_run_goes_on_from_what_is_finished_of_it(tmp_path, monkeypatch):
    path = tmp_path / "reports" / "log.jsonl"
    with resumed(path, seed=1, each=2) as log:
        assert log.entries == []
        log.add(first=0, wrong=0)
        log.add(first=2, wrong=1)
    with resumed(path, seed=2, each=2) as log:
        assert log.entries == []
        log.add(first=0, wrong=5)
    with resumed(path, seed=1, each=2) as log:
        assert [(entry["first"], entry["wrong"]) for entry in log.entries] == [(0, 0), (2, 1)]
    monkeypatch.setattr(logs, "digest", lambda: "of other sources")
    with resumed(path, seed=1, each=2) as log:
        assert log.entries == []


def test_two_runs_do_not_write_into_one_log(tmp_path):
    path = tmp_path / "log.jsonl"
    with resumed(path, seed=1), pytest.raises(SystemExit, match="another run"), resumed(path, seed=1):
        pass


def test_an_entry_that_cannot_be_written_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    with resumed(path) as log:
        log.add(first=0)
        before = path.read_bytes()
        monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "no room")))
        with pytest.raises(OSError, match="cannot be written: No space left on device"):
            log.add(first=1)
    assert path.read_bytes() == before


def test_results_rest_on_every_source(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "ROOT", tmp_path)
    file = tmp_path / "eventsolve" / "kernels" / "crossing.py"
    file.parent.mkdir(parents=True)
    file.write_text("a = 1")
    before = logs.digest()
    file.write_text("a = 2")
    assert logs.digest() != before
