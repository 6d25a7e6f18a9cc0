"""A few files of the campaign of :mod:`tests.mutated_files`: is each read or refused in time and memory?"""

import random

from tests import mutated_files


def test_mutated_files_are_read_or_refused(tmp_path, capfd):
    result = mutated_files.campaign(100, seed=7, keep=tmp_path)
    assert capfd.readouterr() == ("", "")  # and what is reported of each is shown to nobody
    assert result["wrong"] == []
    assert sum(counts["files"] for counts in result["kinds"].values()) == 100
    for kind, counts in result["kinds"].items():
        assert counts["refused"] > 0, kind
        assert counts["accepted"] + counts["refused"] == counts["files"]


def test_the_good_files_are_accepted_and_a_file_of_a_seed_is_always_the_same(tmp_path):
    good = mutated_files.originals(tmp_path)
    for kind in good:
        assert mutated_files.READERS[kind](tmp_path / f"good.{kind}") == "accepted"
        first, second = (
            [mutated_files.changed(kind, good[kind], random.Random(f"1/{k}")) for k in range(5)]
            for _ in range(2)
        )
        assert first == second


def test_a_process_that_hangs_or_dies_is_noticed(tmp_path, monkeypatch):
    mutated_files.originals(tmp_path)
    reading = mutated_files.Reading(tmp_path / "good.json")
    assert reading.read(tmp_path / "good.json")[0] == "accepted"
    reading.process.kill()
    reading.process.wait()
    assert reading.read(tmp_path / "good.json")[0] == "crash"
    assert reading.process is None
    monkeypatch.setattr(mutated_files, "PATIENCE", 0.0)
    assert reading.read(tmp_path / "good.json")[0] == "hang"
    reading.close()
