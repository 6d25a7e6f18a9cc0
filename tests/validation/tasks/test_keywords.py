import io
import os
import stat
import sys

import numpy as np
import pytest

from validation.tasks.keywords import recordings as module
from validation.tasks.keywords import speech
from validation.tasks.keywords.ear import Ear, centre_frequencies, spikes_of
from validation.tasks.keywords.recordings import BLOCK, recordings
from validation.tasks.keywords.speech import VOICES, WORDS, utterance
from validation.tasks.keywords.task import Keywords

RATE = 22050.0
_SYNTHESIZER = """#!{python}
# says a word as a tone, and writes a WAV file to a pipe as espeak-ng does: without knowing its length
import struct, sys
import numpy as np
if "--version" in sys.argv:
    print("eSpeak NG text-to-speech: 0.0  Data at: nowhere")
else:
    pitch = 200.0 + 10.0 * int(sys.argv[sys.argv.index("-p") + 1])
    tone = (8000 * np.sin(2 * np.pi * pitch * np.arange(1500) / 22050)).astype("<i2").tobytes()
    unknown = 0x7FFFFFFF
    header = b"RIFF" + struct.pack("<I", unknown) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 22050, 44100, 2, 16)
    sys.stdout.buffer.write(header + b"data" + struct.pack("<I", unknown) + tone)
"""


@pytest.fixture
def synthesizer(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "espeak-ng"
    program.parent.mkdir()
    program.write_text(_SYNTHESIZER.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(module, "kept_in", lambda: tmp_path / "kept")
    monkeypatch.setattr(module, "BLOCK", 2)
    monkeypatch.setattr(module, "SHIPPED", {"train": 0, "validation": 0, "test": 0})
    return tmp_path / "kept"


def test_shipped_recordings_are_of_all_words_and_as_busy_as_the_spiking_heidelberg_digits():
    for split in ("train", "validation", "test"):
        found = recordings(split, BLOCK)
        assert found.labels.tolist() == list(range(len(WORDS)))
        counts = found.trains.counts().sum(axis=1)
        assert found.trains.n_neurons == 700
        assert 5000 < counts.mean() < 11000  # Cramer et al. (2022), table 1: about 8000
        assert found.trains.times.max() < 1.6


def test_fewer_recordings_are_the_first_of_more():
    few, more = recordings("test", 3), recordings("test", 7)
    first = more.trains.samples < 3
    assert np.array_equal(few.trains.times, more.trains.times[first])
    assert np.array_equal(few.trains.neurons, more.trains.neurons[first])
    assert np.array_equal(few.labels, more.labels[:3])


def test_no_voice_is_in_two_splits():
    voices = [voice for split in VOICES.values() for voice in split]
    assert len(set(voices)) == len(voices)


def test_what_is_said_follows_from_split_and_number():
    said = [utterance("train", k) for k in range(200)]
    assert said == [utterance("train", k) for k in range(200)]
    assert len({(u.voice, u.rate, u.pitch) for u in said}) > 150
    assert [utterance("train", k) != utterance("test", k) for k in range(50)].count(False) == 0


@pytest.mark.parametrize("frequency", [200.0, 1000.0, 4000.0])
def test_a_tone_is_heard_where_its_frequency_is(frequency):
    sound = np.sin(2 * np.pi * frequency * np.arange(4000) / RATE)
    times, channels = spikes_of(sound, RATE, seed=1)
    assert (np.diff(times) >= 0).all()
    busiest = centre_frequencies(Ear())[int(np.median(channels))]
    bandwidth = 24.7 * (1.0 + 4.37e-3 * frequency)
    assert abs(busiest - frequency) < 2.0 * bandwidth  # loud tones spread, more so upwards
    assert times.size > 500


def test_the_same_sound_and_seed_give_the_same_spikes_and_another_seed_others():
    sound = np.sin(2 * np.pi * 500.0 * np.arange(3000) / RATE)
    first, again, other = (spikes_of(sound, RATE, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_a_louder_sound_is_heard_alike_because_its_level_is_set():
    sound = np.sin(2 * np.pi * 500.0 * np.arange(3000) / RATE)
    assert np.array_equal(spikes_of(sound, RATE, 1)[0], spikes_of(64.0 * sound, RATE, 1)[0])


def test_silence_is_refused():
    with pytest.raises(ValueError, match="silent"):
        spikes_of(np.zeros(1000), RATE, 1)


def test_what_is_not_shipped_is_made_kept_and_not_made_again(synthesizer, monkeypatch):
    found = recordings("test", 3)
    assert sorted(file.name for file in synthesizer.iterdir()) == ["test-000.npz", "test-001.npz"]
    assert found.trains.n_samples == 3
    assert found.trains.counts().sum(axis=1).min() > 0
    monkeypatch.setattr(module, "make", None)  # which would fail
    again = recordings("test", 3)
    assert np.array_equal(found.trains.times, again.trains.times)
    assert np.array_equal(found.labels, again.labels)


def test_what_is_interrupted_leaves_no_half_a_file(synthesizer, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recordings("test", 1)
    assert list(synthesizer.iterdir()) == []


def test_without_a_synthesizer_it_says_how_to_get_one(synthesizer, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="apt install espeak-ng"):
        recordings("train", 1)


def test_a_synthesizer_that_fails_is_named_with_what_it_should_have_said(monkeypatch):
    monkeypatch.setattr(speech, "synthesizer", lambda: "false")
    with pytest.raises(RuntimeError, match="espeak-ng does not say 'zero'"):
        speech.spoken(utterance("train", 0))
    monkeypatch.setattr(speech, "synthesizer", lambda: "echo")
    with pytest.raises(RuntimeError, match="writes no WAV file"):
        speech.spoken(utterance("train", 0))


@pytest.mark.parametrize(("split", "n"), [("train", 10**6), ("dev", 1), ("train", -1)])
def test_recordings_that_there_are_not_are_refused(split, n):
    with pytest.raises(ValueError, match=r"n must|split must"):
        recordings(split, n)


def test_the_task_is_a_recurrent_network_with_a_readout():
    problem = Keywords(hidden=16, split="test").problem(n_samples=2, seed=3)
    assert ("hidden", "hidden") in problem.network.projections
    assert problem.inputs["in"].times.max() <= problem.t_end
    assert problem.solution.spikes["hidden"].n_spikes > 0


def test_outputs_may_spike_and_then_the_loss_is_of_first_spikes():
    problem = Keywords(hidden=16, first_spikes=True).problem(n_samples=20)
    first = problem.solution.spikes["out"].first()
    assert np.isfinite(first).all()  # no output is out of reach of the gradient, at first
    slopes = problem.loss.evaluate(problem.solution).spike_times["out"]
    assert np.count_nonzero(slopes) > first.shape[0]
    with pytest.raises(ValueError, match="with first_spikes it is left alone; got 'uniform'"):
        Keywords(first_spikes=True, weighting="uniform")


def test_a_wav_file_of_unknown_length_is_read_whole():
    from scipy.io import wavfile

    stream = io.BytesIO()
    wavfile.write(stream, 22050, np.arange(100, dtype=np.int16))
    whole = stream.getvalue()
    start = whole.find(b"data")
    unknown = (
        whole[:4] + b"\xff\xff\xff\x7f" + whole[8 : start + 4] + b"\xff\xff\xff\x7f" + whole[start + 8 :]
    )
    assert wavfile.read(io.BytesIO(speech._complete(unknown)))[1].tolist() == list(range(100))
