"""HDF5 files from anywhere, read in a process of its own: what it may take in memory and time is limited from outside.

The extra ``h5py``. What a file declares is added up before any of it is read; links to elsewhere, virtual and external
data and filters that would have to be loaded are refused.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.bounded import Budget, Unreadable, parsed
from eventsolve.checks import printable

_PROCESS = Path(__file__).with_name("hdf5_process.py")
PATIENCE = 20.0
"""Seconds that a file may take, and one more for each _SPEED bytes that it may hold."""
_SPEED = 2**24


class Rows(NamedTuple):
    """Rows of a dataset that holds a vector in each: those that were asked for, empty where there is none."""

    n_rows: int
    parts: list[NDArray[Any]]


@contextmanager
def filled(beside: Path) -> Iterator[Any]:
    """Yield a file to fill, in memory, and write it at the end: HDF5 ends the process where a disk is full."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 files need h5py: pip install eventsolve[h5py]") from error
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    beside.write_bytes(content.getbuffer())


def read_arrays(
    file: IO[bytes],
    budget: Budget,
    *,
    groups: bool = False,
    names: Mapping[str, Sequence[int] | None] | None = None,
    matching: str | None = None,
) -> dict[tuple[str, ...], Any]:
    """Return the datasets of an HDF5 file by their path, arrays read-only; of a group None.

    Parameters
    ----------
    file : binary file
        At its start, with a descriptor.
    budget : Budget
    groups : bool
        Whether there may be groups and text: datasets of text are str, or nested lists of str.
    names : mapping of path to sequence of int or None, optional
        Read only these. A dataset of vectors, one per row, is returned as :class:`Rows`: these, or all.
    matching : str, optional
        Read only datasets whose whole path, with slashes, matches this regular expression, and of these only such as
        hold something: others may be of any kind. With ``groups``.

    Raises
    ------
    Unreadable
        If it is anything else, declares more than there is memory for, or keeps the HDF5 library busy for too long.
    ImportError
        Without h5py.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ImportError("HDF5 files need h5py: pip install eventsolve[h5py]")
    wanted = {"max_bytes": budget.left, "groups": groups, "names": names, "matching": matching}
    patience = PATIENCE + budget.left / _SPEED
    process = subprocess.Popen(
        [sys.executable, "-P", str(_PROCESS), json.dumps(wanted)],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(patience, stop)
    timer.start()
    try:
        with process:
            out, errors = process.stdout, process.stderr
            found = _received(out, budget) if out else None
            said = errors.read(2000).decode("utf-8", "replace").strip() if errors else ""
    finally:
        timer.cancel()
        process.kill()
    if late.is_set():
        raise Unreadable(f"the HDF5 library did not finish reading it within {patience:.0f} s")
    if process.returncode or found is None:
        raise Unreadable(
            printable(said.splitlines()[-1] if said else "the HDF5 library broke down reading it")
        )
    return found


def _received(stream: IO[bytes], budget: Budget) -> dict[tuple[str, ...], Any] | None:
    """Return what the process sends, None if it stops before the end."""
    line = stream.readline(budget.left + 1)
    if not line.endswith(b"\n"):
        return None
    found: dict[tuple[str, ...], Any] = {}
    for entry in parsed(line, budget):
        path = tuple(entry["path"])
        if "group" in entry:
            found[path] = None
            continue
        if "text" in entry:
            found[path] = _shaped(entry["text"], entry["shape"])
            continue
        dtype, shapes = np.dtype(entry["dtype"]), [entry.get("shape")]
        if "lengths" in entry:
            shapes = [[length] for length in entry["lengths"]]
        parts = []
        for shape in shapes:
            n_bytes = math.prod(shape) * dtype.itemsize
            budget.take(n_bytes, f"array {printable('/'.join(path))!r}")
            raw = stream.read(n_bytes)
            if len(raw) < n_bytes:
                return None
            parts.append(np.frombuffer(raw, dtype).reshape(shape) if n_bytes else np.empty(shape, dtype))
        found[path] = Rows(entry["rows"], parts) if "lengths" in entry else parts[0]
    return found


def _shaped(texts: list[str], shape: Sequence[int]) -> Any:
    if not shape:
        return texts[0]
    return np.array(texts, dtype=object).reshape(shape).tolist()
