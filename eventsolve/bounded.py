"""Files from anywhere: opened as what they are, and read within a limit of memory that is counted before it is taken.

Every reader of this package opens through :func:`opened`, and takes what it allocates from a :class:`Budget`: text and
what it parses to, arrays by their declared shape, and tables that a few declared numbers would fill. A path is looked
at after it is open, so that nothing can be put in its place in between; pipes and devices are never waited for.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import printable, shown

MAX_BYTES = 2**30
"""What reading a file may take, unless told otherwise: the file, and all that it declares to hold."""
_MAX_ARRAYS = 10_000
_LONGEST_DIRECTORY = 2**22
_DEEPEST = 64
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
"""What zipfile raises for a file that is cut off, damaged, encrypted, or no archive at all."""
_NPY = re.compile(
    rb"\{'descr': '([<>|][iuf][1248]|[<>]U[0-9]{1,9})', 'fortran_order': (False|True), "
    rb"'shape': \(([0-9, ]{0,200})\),? ?\}\s*"
)


class Unreadable(ValueError):
    """A file that is not what it should be, or that would take more memory than it may; the message says which."""


class Budget:
    """Memory that reading may take, and what of it is left."""

    def __init__(self, max_bytes: int) -> None:
        self.most = self.left = max_bytes

    def take(self, n_bytes: int, what: str) -> None:
        """Count memory that is about to be allocated, or raise Unreadable if there is not so much left."""
        if n_bytes > self.left:
            used = self.most - self.left
            raise Unreadable(
                f"{what} would take {n_bytes} bytes" + (f" beside {used} others" if used else "") + ", "
                f"and reading may take at most max_bytes = {self.most}"
            )
        self.left -= n_bytes


@contextmanager
def opened(path: str | os.PathLike[str], max_bytes: int) -> Iterator[IO[bytes]]:
    """Open a regular file of at most so many bytes.

    Raises
    ------
    Unreadable
        If it is larger, or a directory, a pipe, a device or a socket.
    OSError
        If it cannot be opened.
    """
    try:
        # without O_NONBLOCK, a pipe that nobody writes to would be waited for; O_NOCTTY: a terminal stays another's
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a name with a null character
        raise Unreadable(f"{shown(os.fspath(path))} cannot be opened: {error}") from error
    found = os.fstat(descriptor)
    name = shown(os.path.basename(os.fspath(path)))
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise Unreadable(f"{name} must be a regular file, no directory, pipe, device or socket")
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > max_bytes:
            raise Unreadable(
                f"{name} must have at most max_bytes = {max_bytes} bytes; it has {found.st_size}"
            )
        yield file


def content_of(file: IO[bytes], budget: Budget) -> bytes:
    """Return a file's bytes; one that grows while it is read, or hides its size, is read as far as it may be large."""
    size = os.fstat(file.fileno()).st_size
    budget.take(size, "the file")
    content = file.read(size)
    while more := file.read(min(2**16, budget.left + 1)):
        budget.take(2 * len(more), "the file")
        content += more
    return content


# -- JSON ------------------------------------------------------------------------------------------------------------


def parsed(text: bytes, budget: Budget) -> Any:
    """Return the document of JSON in UTF-8, in which no key is given twice and every number is one.

    Raises
    ------
    Unreadable
        If it is anything else, or its objects would take more memory than there is.
    """
    budget.take(_parsed_size(text), "what its JSON says")
    try:
        found = json.loads(text.decode("utf-8"), parse_constant=_not_json, object_pairs_hook=_unique)
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it holds no JSON: {shown_error(error)}") from error
    _check_depth(found)
    return found


def _check_depth(document: Any) -> None:
    """Raise Unreadable unless a document is so flat that functions may call themselves on what is in it."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            entry
            for value in level
            for entry in (value.values() if isinstance(value, dict) else value)
            if isinstance(entry, dict | list)
        ]
        if not level:
            return
    raise Unreadable(f"it holds no JSON: it is nested too deeply, more than {_DEEPEST} times")


def _parsed_size(text: bytes) -> int:
    """Return a bound on what decoding and parsing takes, from the number of each kind of token.

    In CPython a list takes 88 bytes with its first entry, an object 240, a value 32 and 9 for its place, a text 64
    besides its characters, and a key 180 until it is known not to be given twice. Characters take up to four bytes
    each as soon as one of the text does.
    """
    if not text:
        return 0
    highest = int(np.frombuffer(text, np.uint8).max())
    width = 1 if highest < 0xC4 else 2 if highest < 0xF0 else 4
    lists, objects, commas, quotes, colons = (text.count(token) for token in (b"[", b"{", b",", b'"', b":"))
    values = commas + lists + objects + 1
    return 2 * width * len(text) + 88 * lists + 240 * objects + 41 * values + 32 * quotes + 180 * colons


def _not_json(constant: str) -> NoReturn:
    raise Unreadable(f"{constant} is no number in JSON; write null for what is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Unreadable(f"key {shown(key)} must not be given twice")
        found[key] = value
    return found


def shown_error(error: BaseException) -> str:
    """Return what an error of a library says, without characters that a terminal would obey."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return printable(" ".join(str(error).split())) or type(error).__name__


# -- zip files of .npy arrays ----------------------------------------------------------------------------------------


def arrays_of(file: IO[bytes], budget: Budget) -> dict[str, NDArray[Any]]:
    """Return the arrays of a zip of .npy files by name, read-only: of integers, real numbers or text, never pickled.

    Raises
    ------
    Unreadable
        If it is anything else, or declares more than there is memory for.
    """
    directory = _Directory(file, min(_LONGEST_DIRECTORY, budget.most // 16 + 2**16))
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(directory) as archive:
            directory.most = budget.most
            members = archive.infolist()
            if len(members) > _MAX_ARRAYS:
                raise Unreadable(f"it must hold at most {_MAX_ARRAYS} arrays; it holds {len(members)}")
            budget.take(sum(member.file_size for member in members), "its arrays")
            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise Unreadable(f"array {shown(member.filename)} must be stored or deflated")
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise Unreadable(f"array {shown(name)} must not be there twice")
                with archive.open(member) as packed:
                    arrays[name] = _npy(name, packed.read(member.file_size))
    except Unreadable:
        raise
    except _BROKEN as error:
        raise Unreadable(f"it is no zip of arrays: {shown_error(error)}") from error
    return arrays


class _Directory(io.RawIOBase):
    """A file of which so much is read at once at most: the directory of a zip is read whole, and takes much more."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most = file, most

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise Unreadable("its directory is too long for the arrays that it may hold")
        found = self.file.read(self.most + 1 if size < 0 else size)
        if len(found) > self.most:
            raise Unreadable("its directory is too long for the arrays that it may hold")
        return found

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _npy(name: str, raw: bytes) -> NDArray[Any]:
    """Return the array of a .npy file, version 1 or 2."""
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(raw[:8])
    if width is None:
        raise Unreadable(
            f"array {shown(name)} must be a .npy file of version 1 or 2; it starts with {raw[:8]!r}"
        )
    start = 8 + width + int.from_bytes(raw[8 : 8 + width], "little")
    header = raw[8 + width : start]
    found = _NPY.fullmatch(header)
    if found is None:
        raise Unreadable(
            f"array {shown(name)} must hold integers or real numbers of 1 to 8 bytes, or text; "
            f"its header is {shown(header)}"
        )
    try:
        dtype = np.dtype(found[1].decode())
        shape = tuple(int(n) for n in found[3].replace(b",", b" ").split())
    except (TypeError, ValueError) as error:
        raise Unreadable(f"array {shown(name)} has a header that makes no sense: {error}") from error
    n_bytes = len(raw) - start
    if math.prod(shape) * dtype.itemsize != n_bytes or len(shape) > 8:
        raise Unreadable(f"array {shown(name)} declares {dtype} of shape {shape} and has {n_bytes} bytes")
    if not n_bytes:
        return np.empty(shape, dtype)  # np.frombuffer wants at least one byte
    order: Any = "F" if found[2] == b"True" else "C"
    return np.frombuffer(raw, dtype=dtype, offset=start).reshape(shape, order=order)
