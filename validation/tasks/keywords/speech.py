"""Who says what, and how: spoken digits in English and German from the speech synthesizer espeak-ng.

The recordings of a split are numbered. What is said in recording k, by whom and how, follows from the split and k
alone, so that more recordings of a split begin with those that there were. Words go round; voices, rates and pitches
are drawn. A voice is in one split only.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

Split: TypeAlias = Literal["train", "validation", "test"]

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
)
"""The 20 classes, those of the Spiking Heidelberg Digits: English digits, then German ones."""

VOICES: dict[Split, tuple[str, ...]] = {
    "train": (
        *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "klatt", "klatt2", "klatt4"),
        *("Alex", "Andrea", "Andy", "belinda", "benjamin", "boris", "david", "edward", "Gene", "linda"),
        *("michael", "mike", "steph", "norbert"),
    ),
    "validation": ("m8", "f5", "klatt3", "Annie", "john", "steph2", "max"),
    "test": ("klatt5", "Alicia", "caleb", "ed", "Henrique", "robert", "steph3", "paul"),
}
"""Variants of espeak-ng's voices, by the split that they speak in."""

_ACCENTS = (("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029"), ("de",))
_RATES, _PITCHES = (110, 190), (25, 75)
_NUMBER: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
_RUNAWAY = 60
"""Seconds after which a synthesizer is given up; a word takes a hundredth."""


@dataclass(frozen=True)
class Utterance:
    """What is said in a recording.

    Attributes
    ----------
    label : int
        Place in :data:`WORDS`.
    voice : str
        As espeak-ng takes it: an accent and a variant.
    rate : int
        Words per minute.
    pitch : int
        0 to 99.
    seed : int
        Of the ear that hears it.
    """

    label: int
    voice: str
    rate: int
    pitch: int
    seed: int


def utterance(split: Split, number: int) -> Utterance:
    """Return what is said in one recording of a split."""
    random = np.random.default_rng([_NUMBER[split], number])
    label = number % len(WORDS)
    accents = _ACCENTS[label // 10]
    accent = accents[random.integers(len(accents))]
    variant = VOICES[split][random.integers(len(VOICES[split]))]
    rate, pitch = (int(random.integers(low, high + 1)) for low, high in (_RATES, _PITCHES))
    return Utterance(label, f"{accent}+{variant}", rate, pitch, int(random.integers(2**31)))


def synthesizer() -> str:
    """Return the path of espeak-ng.

    Raises
    ------
    FileNotFoundError
        If it is not installed; the sentence says how it is.
    """
    found = shutil.which("espeak-ng")
    if found is None:
        raise FileNotFoundError(
            "spoken digits are made by the program espeak-ng, which is not installed "
            "(Debian, Ubuntu: apt install espeak-ng; macOS: brew install espeak-ng)"
        )
    return found


def version() -> str:
    """Return what espeak-ng says of its version: other versions speak otherwise."""
    told = subprocess.run([synthesizer(), "--version"], capture_output=True, check=True, timeout=_RUNAWAY)
    return told.stdout.decode(errors="replace").split("Data at")[0].strip()


def spoken(said: Utterance) -> tuple[NDArray[np.float64], float]:
    """Return the sound of an utterance, and its samples per second.

    Raises
    ------
    FileNotFoundError
        If espeak-ng is not installed.
    RuntimeError
        If it does not speak.
    """
    word = WORDS[said.label]
    command = [synthesizer(), "-v", said.voice, "-s", str(said.rate), "-p", str(said.pitch), "--stdout", word]
    try:
        told = subprocess.run(command, capture_output=True, check=True, timeout=_RUNAWAY)
        rate, sound = wavfile.read(io.BytesIO(_complete(told.stdout)))
    except (subprocess.SubprocessError, ValueError) as error:
        raise RuntimeError(f"espeak-ng does not say {word!r} in the voice {said.voice}: {error}") from error
    return np.asarray(sound, dtype=np.float64), float(rate)


def _complete(stream: bytes) -> bytes:
    """Return a WAV file whose header says how long it is: espeak-ng writes to a pipe before it knows."""
    start = stream.find(b"data") + 8
    if start < 8:
        raise ValueError("it writes no WAV file")
    length = len(stream) - start
    return (
        stream[:4] + (len(stream) - 8).to_bytes(4, "little") + stream[8 : start - 4]
        + length.to_bytes(4, "little") + stream[start:]
    )  # fmt: skip
