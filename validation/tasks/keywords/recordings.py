"""Recordings of spoken digits as spikes: shipped, kept in the user's cache folder, or made.

Recordings come in blocks of :data:`BLOCK`, a file each, so that what was made is kept when the rest is interrupted, and
blocks are independent jobs for any executor. They lie under a key of everything that they follow from: the
synthesizer's version, the ear and these sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import count
from eventsolve.files import whole
from eventsolve.jobs import in_order
from validation.tasks.keywords import cochlea, ear, speech
from validation.tasks.keywords.speech import Split

BLOCK = 20
"""Recordings in a file: every word once."""
SIZES: dict[Split, int] = {"train": 8000, "validation": 1000, "test": 2000}
"""Recordings of the whole data set, about those of the Spiking Heidelberg Digits."""
SHIPPED: dict[Split, int] = {"train": 1, "validation": 1, "test": 1}
"""Blocks of each split that come with the package."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """Spikes and labels of recordings.

    Attributes
    ----------
    trains : SpikeTrains
        A sample per recording, a neuron per channel, 700 of them.
    labels : ndarray of int64, (n_samples,)
        Places in :data:`validation.tasks.keywords.speech.WORDS`.
    """

    trains: es.SpikeTrains
    labels: NDArray[np.int64]


class Block(NamedTuple):
    """Recordings number * BLOCK .. of a split, to be made."""

    split: Split
    number: int
    folder: str


def recordings(split: Split, n: int, executor: Executor | None = None) -> Recordings:
    """Return the first recordings of a split; what is neither shipped nor kept is made and kept.

    Parameters
    ----------
    split : {"train", "validation", "test"}
    n : int
        Up to :data:`SIZES`; the first :data:`BLOCK` come with the package, all others need espeak-ng once.
    executor : Executor, optional
        That makes blocks; by default they are made here.

    Raises
    ------
    ValueError
        If there is no such split, or it has fewer recordings.
    FileNotFoundError
        If recordings have to be made, and espeak-ng is not installed.
    """
    if split not in SIZES:
        raise ValueError(f"split must be one of {', '.join(SIZES)}; got {split!r}")
    if count("n", n) > SIZES[split]:
        raise ValueError(f"n must be at most the {SIZES[split]} recordings of {split}; got {n}")
    files = [path for _, path in made(split, n, executor)]
    return _joined(files, n)


def made(split: Split, n: int, executor: Executor | None = None) -> Iterator[tuple[int, Path]]:
    """Yield the number and the file of every block that the first ``n`` recordings take, each when it is there."""
    needed = range(-(-n // BLOCK))
    shipped = {
        k: Path(__file__).parent / "shipped" / f"{split}-{k:03d}.npz" for k in needed[: SHIPPED[split]]
    }
    if len(needed) <= len(shipped):
        yield from shipped.items()
        return
    folder = kept_in()
    missing = [Block(split, k, str(folder)) for k in needed if not _file(folder, split, k).is_file()]
    absent = {block.number for block in missing}
    coming = in_order(make, missing, executor)
    for k in needed:
        if k in absent:
            next(coming)
        yield k, _file(folder, split, k)


@cache
def kept_in() -> Path:
    """Return the folder of what is made with this synthesizer, ear and sources."""
    sources = [Path(str(module.__file__)).read_bytes() for module in (cochlea, ear, speech)]
    told = repr((speech.version(), ear.Ear(), BLOCK)).encode()
    digest = hashlib.sha256(b"\0".join([told, *sources])).hexdigest()[:16]
    return platformdirs.user_cache_path("eventsolve") / "keywords" / digest


def _file(folder: Path, split: Split, number: int) -> Path:
    return folder / f"{split}-{number:03d}.npz"


def make(block: Block) -> Path:
    """Make the recordings of a block, write them to its file, which is whole or absent, and return the file."""
    heard = []
    for number in range(block.number * BLOCK, (block.number + 1) * BLOCK):
        said = speech.utterance(block.split, number)
        sound, rate = speech.spoken(said)
        heard.append((said.label, rate, *ear.spikes_of(sound, rate, said.seed)))
    labels, rates, times, channels = zip(*heard, strict=True)
    steps = [np.rint(t * rate).astype(np.uint16) for t, rate in zip(times, rates, strict=True)]
    folder = Path(block.folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = _file(folder, block.split, block.number)
    with whole(file) as beside, beside.open("wb") as stream:
        np.savez_compressed(
            stream,
            labels=np.array(labels, dtype=np.uint8),
            rates=np.array(rates),
            sizes=np.array([s.size for s in steps]),
            steps=np.concatenate(steps),
            channels=np.concatenate(channels).astype(np.uint16),
        )
    return file


def _joined(files: list[Path], n: int) -> Recordings:
    labels, samples, times, channels, first = [], [], [], [], 0
    for file in files:
        with np.load(file) as block:
            sizes, rates = block["sizes"], block["rates"]
            numbers = np.repeat(np.arange(sizes.size), sizes)
            times.append(block["steps"] / rates[numbers])
            samples.append(numbers + first)
            channels.append(block["channels"].astype(np.int64))
            labels.append(block["labels"].astype(np.int64))
            first += sizes.size
    nothing = np.empty(0, np.int64)
    all_samples = np.concatenate([nothing, *samples])
    wanted = all_samples < n
    trains = es.SpikeTrains.from_arrays(
        np.concatenate([np.empty(0), *times])[wanted],
        np.concatenate([nothing, *channels])[wanted],
        all_samples[wanted],
        n_neurons=ear.N_CHANNELS,
        n_samples=n,
    )
    chosen = np.concatenate([nothing, *labels])[:n]
    chosen.setflags(write=False)
    return Recordings(trains, chosen)
