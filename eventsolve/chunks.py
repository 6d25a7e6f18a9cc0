"""Batches as chunks of samples, on all cores, with the same bits for any number of threads.

A chunk has a fixed number of samples, whatever the machine: sums over samples are taken inside a chunk in the order of
its samples, and over chunks in the order of the chunks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count
from eventsolve.interrupts import (
    Flag,
    NotCompiled,
    Stopped,
    attempt,
    interruptible,
    new_flag,
    with_flag,
    within,
)

SAMPLES_PER_CHUNK = 64

Result = TypeVar("Result")


def chunk_ranges(n_samples: int) -> list[tuple[int, int]]:
    """Return the sample ranges [low, high) of the chunks."""
    return [(low, min(low + SAMPLES_PER_CHUNK, n_samples)) for low in range(0, n_samples, SAMPLES_PER_CHUNK)]


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays as one, which is the only one itself."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def map_chunks(work: Callable[[int], Result], n_chunks: int, threads: int | None) -> list[Result]:
    """Return work(0), work(1), ..., computed by up to ``threads`` threads (None: one per usable core).

    The calling thread is one of them: to start a pool and wake it takes longer than a small batch. If some work
    fails no more is begun, and the error of the first chunk is raised; if it is interrupted, all of it stops. Work may
    be begun again, so that nothing but what it returns may outlive it.

    Raises
    ------
    ValueError
        If ``threads`` is not None or an integer >= 1.
    """
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    else:
        threads = count("threads", threads, 1)
    if min(threads, n_chunks) <= 1 or within():
        return interruptible(lambda: [work(k) for k in range(n_chunks)])
    remaining = deque(range(n_chunks))
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}

    def take() -> None:
        while not errors:
            try:
                k = remaining.popleft()
            except IndexError:
                return
            try:
                results[k] = work(k)
            except (Stopped, NotCompiled):
                remaining.appendleft(k)
                raise
            except BaseException as error:
                errors[k] = error

    heard: set[int] = set()
    while remaining and not errors:
        stop = new_flag()

        def take_beside(stop: Flag = stop) -> None:
            with suppress(Stopped):
                with_flag(take, stop)

        others = [Thread(target=take_beside) for _ in range(min(threads, len(remaining)) - 1)]

        def start_and_take(others: list[Thread] = others) -> None:
            for thread in others:
                if thread.ident is None:
                    thread.start()
            take()

        try:
            with suppress(Stopped):
                attempt(start_and_take, stop, heard)
            for thread in others:
                if thread.ident is not None:
                    thread.join()
        except BaseException:
            stop[0] = 1
            raise
    if errors:
        raise errors[min(errors)]
    return [results[k] for k in range(n_chunks)]
