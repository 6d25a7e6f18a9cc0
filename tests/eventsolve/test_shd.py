"""Files of the Spiking Heidelberg Digits: read as published, written without loss, refused where they make no sense."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import spike_lists

import eventsolve as es
from eventsolve import files

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
from eventsolve.io.shd import read_shd, write_shd  # noqa: E402


def published(path, recordings, labels):
    """Write a file as it is published: float16 times, units by recording, further groups beside."""
    with h5py.File(path, "w") as file:
        for key, place, kind in (("times", 0, np.float16), ("units", 1, np.uint16)):
            column = file.create_dataset(f"spikes/{key}", (len(recordings),), dtype=h5py.vlen_dtype(kind))
            for k, recording in enumerate(recordings):
                column[k] = np.array(recording[place], dtype=kind)
        file.create_dataset("labels", data=np.array(labels, dtype=np.uint16))
        file.create_dataset("extra/speaker", data=np.zeros(len(recordings), np.uint16))
    return path


def test_a_published_file_is_read(tmp_path):
    path = published(
        tmp_path / "shd.h5", [([0.25, 0.125], [3, 699]), ([], []), ([0.5, 0.5], [0, 1])], [4, 19, 0]
    )
    found = read_shd(path)
    assert (found.trains.n_samples, found.trains.n_neurons, found.n_dropped) == (3, 700, 0)
    np.testing.assert_array_equal(found.labels, [4, 19, 0])
    np.testing.assert_array_equal(found.trains.times, [0.125, 0.25, 0.5, 0.5])
    np.testing.assert_array_equal(found.trains.neurons, [699, 3, 0, 1])
    np.testing.assert_array_equal(found.trains.samples, [0, 0, 2, 2])
    some = read_shd(path, samples=[2, 0])
    np.testing.assert_array_equal(some.labels, [0, 4])
    np.testing.assert_array_equal(some.trains.times, found.trains.select([2, 0]).times)


def test_two_spikes_of_a_unit_at_one_time_are_told(tmp_path):
    path = published(tmp_path / "shd.h5", [([0.5, 0.5, 0.5, 0.75], [7, 7, 8, 7])], [1])
    with pytest.raises(
        ValueError, match=r"recording 0 of .* has unit 7 twice at 0\.5 s, and 0 more of the kind"
    ):
        read_shd(path)
    found = read_shd(path, repeated="drop")
    assert found.n_dropped == 1
    np.testing.assert_array_equal(found.trains.times, [0.5, 0.5, 0.75])


@settings(max_examples=10)  # each is read in a process of its own
@given(drawn=spike_lists())
def test_recordings_return_from_a_file_with_every_bit(tmp_path_factory, drawn):
    lists, n_neurons = drawn
    trains = es.SpikeTrains.from_lists(lists, n_neurons=n_neurons)
    path = tmp_path_factory.mktemp("shd") / "some.h5"
    labels = np.arange(trains.n_samples)
    write_shd(path, trains, labels)
    found = read_shd(path, n_units=n_neurons)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.trains.n_samples == trains.n_samples
    for column in ("times", "neurons", "samples"):
        np.testing.assert_array_equal(getattr(found.trains, column), getattr(trains, column))


def test_files_that_contradict_themselves_are_refused(tmp_path):
    def refused(sentence, recordings, labels, **settings):
        with pytest.raises(ValueError, match=sentence):
            read_shd(published(tmp_path / "bad.h5", recordings, labels), **settings)

    refused("times, units and a label for each recording; it has 1, 1 and 2", [([0.5], [1])], [0, 1])
    refused(
        "recording 0 of .* must have a time in seconds for each of 2 units; got 1", [([0.5], [1, 2])], [0]
    )
    refused(r"units of recording 0 of .* must lie in 0\.\.699; entry \[0\] is 700", [([0.5], [700])], [0])
    refused("recording 0 of .* must have times that are finite and >= 0", [([-0.5], [1])], [0])
    refused("recording 0 of .* must have times that are finite and >= 0", [([np.nan], [1])], [0])
    refused(r"samples must lie in 0\.\.0; entry \[0\] is 1", [([0.5], [1])], [0], samples=[1])
    refused("repeated must be 'raise' or 'drop'; got 'keep'", [([0.5], [1])], [0], repeated="keep")


def test_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes"] = np.zeros(3)
        file["labels"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"other\.h5 holds no recordings: it must have a group 'spikes'"):
        read_shd(tmp_path / "other.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match="file signature not found"):
        read_shd(tmp_path / "text.h5")


def test_what_cannot_be_written_is_refused(tmp_path):
    trains = es.SpikeTrains.from_lists([[[0.5]]])
    with pytest.raises(ValueError, match="labels must have one entry for each of 1 samples; got 2"):
        write_shd(tmp_path / "x.h5", trains, [0, 1])
    write_shd(tmp_path / "x.h5", trains, [0])
    with pytest.raises(FileExistsError):
        write_shd(tmp_path / "x.h5", trains, [0])


def test_an_interrupt_leaves_no_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)  # all is written by then, beside
    with pytest.raises(KeyboardInterrupt):
        write_shd(tmp_path / "x.h5", es.SpikeTrains.from_lists([[[0.5]]]), [0])
    assert list(tmp_path.iterdir()) == []
