"""Reads an HDF5 file on standard input in a process of its own, which :mod:`eventsolve.io.hdf5` starts and limits.

The HDF5 library is not made for files from just anywhere: a changed byte can send it into an endless loop. Here it may.
Standard output gets one line of JSON, which lists what there is, and then the bytes of every array; a file that is
refused gets a sentence on standard error. Imports nothing of this package, so that it starts fast.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

FILTERS = (1, 2, 3, 4, 5, 6, 32000)
"""Deflate, shuffle, Fletcher's checksum, szip, n-bit, scale-offset and LZF: what HDF5 and h5py bring along."""
MOST_OBJECTS = 10_000
DEEPEST = 32
SPARE_BYTES = 2**26
"""Of address space, for the library itself."""


class Refused(Exception):
    """A file that is not what it should be."""


def main() -> None:
    """Do what the module says; arguments are JSON: max_bytes, groups, names with rows or None, and matching."""
    wanted = json.loads(sys.argv[1])
    _limit_memory(wanted["max_bytes"])
    try:
        with h5py.File(sys.stdin.buffer, "r") as file:
            _send(file, **wanted)
    except Refused as error:
        sys.exit(str(error))
    except MemoryError:
        sys.exit(f"reading it takes more than max_bytes = {wanted['max_bytes']}")
    except Exception as error:  # whatever h5py raises for a file that is none
        sys.exit(f"it is no HDF5 file of arrays: {' '.join(str(error).split())}")


def _limit_memory(max_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # not on macOS, which does not keep to the limit either
        return
    resource.setrlimit(resource.RLIMIT_AS, (used + max_bytes + SPARE_BYTES,) * 2)


def _send(
    file: Any,
    max_bytes: int,
    groups: bool,
    names: dict[str, list[int] | None] | None,
    matching: str | None,
) -> None:
    found = [*_walked(file, (), groups, [0])] if names is None else [(*name.split("/"),) for name in names]
    if matching is not None:
        found = [path for path in found if path[-1] is None or _matches(file, path, re.compile(matching))]
    left = max_bytes
    entries: list[dict[str, Any]] = []
    held: list[Any] = []
    for path in found:  # first what they declare, all of them
        if path[-1] is not None:
            dataset = _dataset(file, path)
            if dataset.dtype.kind in "iufb":
                left = _taken(left, dataset.nbytes, max_bytes)
    for path in found:
        if path[-1] is None:
            entries.append({"path": path[:-1], "group": True})
            continue
        dataset = _dataset(file, path)
        entry: dict[str, Any] = {"path": path}
        entries.append(entry)
        kind = h5py.check_vlen_dtype(dataset.dtype)
        if dataset.dtype.kind in "iufb":
            entry |= {"dtype": dataset.dtype.str, "shape": dataset.shape}
            held.append(dataset)
        elif groups and h5py.check_string_dtype(dataset.dtype) is not None:
            left, entry["text"] = _texts(dataset, left, max_bytes)
            entry["shape"] = dataset.shape
        elif names is not None and kind is not None:
            left, parts = _rows(path, dataset, names["/".join(path)], np.dtype(kind), left, max_bytes)
            entry |= {"dtype": np.dtype(kind).str, "lengths": [part.size for part in parts]}
            entry["rows"] = len(dataset)
            held.extend(parts)
        else:
            raise Refused(f"array {_said(path)} must hold integers or real numbers in this file")
    sys.stdout.buffer.write(json.dumps(entries).encode("ascii") + b"\n")
    for values in held:
        sys.stdout.buffer.write(np.ascontiguousarray(values[()]).tobytes())
    sys.stdout.buffer.flush()


def _matches(file: Any, path: tuple[str, ...], pattern: re.Pattern[str]) -> bool:
    """Return whether a dataset is of those that are asked for, and not null."""
    if not pattern.fullmatch("/".join(path)):
        return False
    dataset = file["/".join(path)]
    return not isinstance(dataset, h5py.Dataset) or dataset.shape is not None


def _walked(group: Any, path: tuple[str, ...], groups: bool, count: list[int]) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every dataset, and that of every group with None at its end, following no link to elsewhere."""
    if len(path) > DEEPEST:
        raise Refused(f"its groups must be at most {DEEPEST} deep")
    for name in group:
        count[0] += 1
        if count[0] > MOST_OBJECTS:
            raise Refused(f"it must hold at most {MOST_OBJECTS} arrays")
        here = (*path, name)
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise Refused(f"{_said(here)} must be a dataset of this file")
        if groups and isinstance(group[name], h5py.Group):
            yield (*here, None)
            yield from _walked(group[name], here, groups, count)
        else:
            yield here


def _dataset(file: Any, path: tuple[str, ...]) -> Any:
    group = file
    for name in path[:-1]:
        group = group.get(name)
        if not isinstance(group, h5py.Group):
            raise Refused(f"it must have a group {name!r}")
    link = group.get(path[-1], getlink=True)
    if link is None:
        raise Refused(f"it must have a dataset {_said(path)}; it holds {sorted(file)}")
    dataset = group[path[-1]] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"{_said(path)} must be a dataset of this file")
    if dataset.external or dataset.is_virtual or dataset.shape is None:
        raise Refused(f"array {_said(path)} must hold integers or real numbers in this file")
    if dataset.dtype.kind in "iufb" and dataset.dtype.itemsize > 8:
        raise Refused(f"array {_said(path)} must hold numbers of at most 8 bytes")
    created = dataset.id.get_create_plist()
    for k in range(created.get_nfilters()):
        if created.get_filter(k)[0] not in FILTERS:
            raise Refused(f"array {_said(path)} must not need filter {created.get_filter(k)[0]}")
    return dataset


def _taken(left: int, n_bytes: int, max_bytes: int) -> int:
    if n_bytes > left:
        raise Refused(
            f"its arrays must have at most max_bytes = {max_bytes} bytes; they have {max_bytes - left + n_bytes}"
        )
    return left - n_bytes


def _texts(dataset: Any, left: int, max_bytes: int) -> tuple[int, list[str]]:
    """Return texts one by one: any number of them may be one text in the file."""
    left = _taken(left, 16 * dataset.size, max_bytes)
    texts = []
    for place in np.ndindex(dataset.shape):
        value = dataset[place]
        text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        left = _taken(left, 4 * len(text) + 64, max_bytes)
        texts.append(text)
    return left, texts


def _rows(
    path: tuple[str, ...], dataset: Any, rows: list[int] | None, kind: Any, left: int, max_bytes: int
) -> tuple[int, list[Any]]:
    if kind.kind not in "iuf" or kind.itemsize > 8 or dataset.ndim != 1:
        raise Refused(f"array {_said(path)} must have one vector of integers or real numbers for each row")
    left = _taken(left, 16 * math.prod(dataset.shape), max_bytes)
    parts = []
    for row in range(len(dataset)) if rows is None else rows:
        part = dataset[row] if row < len(dataset) else np.empty(0, kind)
        left = _taken(left, part.nbytes + 128, max_bytes)
        parts.append(part)
    return left, parts


def _said(path: tuple[str, ...]) -> str:
    return repr("/".join(path))


if __name__ == "__main__":
    main()
