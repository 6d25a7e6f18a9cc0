"""Samples to learn: handwritten digits that come with scikit-learn, and the original files of MNIST or of its form."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.bounded import MAX_BYTES, Budget, Unreadable, content_of, opened
from eventsolve.checks import printable
from eventsolve.files import whole
from validation.sbp.weights import Flags, binary, one_hot

N_TRAINING = 1437
"""Of the 1797 digits; the others are for testing."""
_SPLIT = 42
_IMAGES, _LABELS = 0x803, 0x801
"""The first four bytes of a file of bytes in three dimensions, and in one."""


class Samples(NamedTuple):
    """Inputs (n_samples, n_in), binary, and labels (n_samples,), of ``n_classes``."""

    inputs: Flags
    labels: NDArray[np.int64]
    n_classes: int

    @property
    def targets(self) -> Flags:
        """A one at each label, (n_samples, n_classes)."""
        return one_hot(self.labels, self.n_classes)


def samples(inputs: ArrayLike, labels: ArrayLike, n_classes: int = 10) -> Samples:
    """Return checked samples from arrays.

    Raises
    ------
    ValueError
        If an input is not binary, a label is not one of 0..n_classes - 1, or there are not as many of both.
    """
    x = binary("inputs", inputs)
    one_hot(labels, n_classes)
    found = np.asarray(labels, dtype=np.int64)
    if len(found) != len(x):
        raise ValueError(f"labels must be as many as inputs; got {len(found)} and {len(x)}")
    return Samples(x, found, n_classes)


def digits() -> tuple[Samples, Samples]:
    """Return 1437 handwritten digits to learn and 360 others, of 8 x 8 pixels: a spike where one is above 7 of 16.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    """
    from validation.tasks.digits import images

    every = images()
    x = every.grey > 7 / 16
    order = np.random.default_rng(_SPLIT).permutation(len(x))
    return tuple(  # type: ignore[return-value]
        samples(x[part], every.labels[part]) for part in (order[:N_TRAINING], order[N_TRAINING:])
    )


def idx(
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    *,
    crop: int = 4,
    threshold: float = 0.5,
    max_bytes: int = MAX_BYTES,
) -> Samples:
    """Read images and labels of the original files of MNIST, or of others of its form, compressed (``.gz``) or not.

    Parameters
    ----------
    images, labels : path
        ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, say.
    crop : int
        Pixels that are cut off on each side; 4 leaves 20 x 20 of 28 x 28, as published.
    threshold : float
        A pixel above it, in parts of 255, is a spike.
    max_bytes : int
        What reading a file may take, with all that it says to hold.

    Raises
    ------
    eventsolve.bounded.Unreadable
        If a file is not what it should be, or too large.
    ValueError
        If nothing is left of an image, or the files do not have as many samples.
    OSError
        If one cannot be opened.
    """
    grey, found = _idx(images, _IMAGES, max_bytes), _idx(labels, _LABELS, max_bytes)
    height, width = grey.shape[1:]
    if isinstance(crop, bool) or not isinstance(crop, int) or not 0 <= 2 * crop < min(height, width):
        raise ValueError(
            f"crop must be an integer >= 0 that leaves some of {height} x {width} pixels; got {crop!r}"
        )
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must lie in 0..1, below 1; got {threshold!r}")
    inner = grey[:, crop : height - crop, crop : width - crop]
    return samples((inner > 255 * threshold).reshape(len(inner), -1), found.astype(np.int64))


def _idx(path: str | os.PathLike[str], magic: int, max_bytes: int) -> NDArray[np.uint8]:
    """Return the bytes of a file in the shape that its head says."""
    name = printable(Path(path).name)
    budget = Budget(max_bytes)
    with opened(path, max_bytes) as file:
        content = content_of(file, budget)
    if content[:2] == b"\x1f\x8b":
        content = _unpacked(name, content, budget)
    n_dims = magic & 0xFF
    head: Any = np.frombuffer(content[: 4 + 4 * n_dims].ljust(4 + 4 * n_dims, b"\0"), dtype=">u4")
    if int(head[0]) != magic:
        raise Unreadable(
            f"{name} must begin with {magic:#010x}, as a file of {'images' if n_dims == 3 else 'labels'}"
        )
    shape = tuple(map(int, head[1:]))
    n_bytes = len(content) - 4 - 4 * n_dims
    if int(np.prod(shape, dtype=object)) != n_bytes:
        raise Unreadable(f"{name} says that it holds {' x '.join(map(str, shape))} bytes; it has {n_bytes}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def _unpacked(name: str, content: bytes, budget: Budget) -> bytes:
    """Return what is compressed, of which no more is unpacked than there may be."""
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        found = unpacking.decompress(content, budget.left + 1)
    except zlib.error as error:
        raise Unreadable(f"{name} is no whole gzip file: {error}") from error
    budget.take(len(found), f"what {name} unpacks to")
    if not unpacking.eof:
        raise Unreadable(f"{name} is no whole gzip file: it ends too early")
    return found


def write_idx(values: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Write bytes as a file of MNIST's form, compressed if its name ends with ``.gz``."""
    head = np.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
    content = head + np.ascontiguousarray(values, dtype=np.uint8).tobytes()
    with whole(path) as beside:
        beside.write_bytes(gzip.compress(content) if str(path).endswith(".gz") else content)
