"""Batches as chunks of samples, on all cores, with the same bits for any number of threads.

A chunk has a fixed number of samples, whatever the machine: sums over samples are taken inside a chunk in the order of
its samples, and over chunks in the order of the chunks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

SAMPLES_PER_CHUNK = 64

Result = TypeVar("Result")


def chunk_ranges(n_samples: int) -> list[tuple[int, int]]:
    """Return the sample ranges [low, high) of the chunks."""
    return [(low, min(low + SAMPLES_PER_CHUNK, n_samples)) for low in range(0, n_samples, SAMPLES_PER_CHUNK)]


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays as one, which is the only one itself."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def map_chunks(work: Callable[[int], Result], n_chunks: int, threads: int | None) -> Iterator[Result]:
    """Yield work(0), work(1), ... in order, computed by up to ``threads`` threads (None: one per usable core).

    Raises
    ------
    ValueError
        If ``threads`` is not None or an integer >= 1.
    """
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elif isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be None or an integer >= 1; got {threads!r}")
    if min(threads, n_chunks) <= 1:
        yield from map(work, range(n_chunks))
        return
    with ThreadPoolExecutor(min(threads, n_chunks)) as pool:
        yield from pool.map(work, range(n_chunks))
