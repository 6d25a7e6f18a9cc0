"""Files that are whole or absent: what is written is written beside, and takes the file's place when it is complete."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".eventsolve.lock"
"""In a folder that a run writes into."""


class NotWrittenError(OSError):
    """A file could not be written; what was there before is there still."""


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to, which replaces the file at the end, and is removed if writing fails or is interrupted.

    A device or a pipe is written to directly.

    Raises
    ------
    NotWrittenError
        If the file system refuses: no room, no permission, no such folder.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_file() or target.is_dir()):
        yield target
        return
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o7777)
        beside.replace(target)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # of a library's own error, too
        raise NotWrittenError(f"{os.fspath(path)} cannot be written: {reason}") from error
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of UTF-8, what is no character as its number; see :func:`whole`."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_texts(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write files by name into a folder, which is made if needed, and return their paths in that order.

    Raises
    ------
    NotWrittenError
        If one cannot be written. All then lie in a folder for temporary files, if there they can: the error says where.
    """
    try:
        return _write_all(folder, texts)
    except NotWrittenError as error:
        try:
            kept = Path(tempfile.mkdtemp(prefix="eventsolve-"))
            _write_all(kept, texts)
        except OSError:
            raise error from None
        raise NotWrittenError(f"{error}; it was written into {kept} instead") from error


def _write_all(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWrittenError(f"{folder} cannot be made: {error.strerror or error}") from error
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder, which is made if needed, from all other runs.

    Raises
    ------
    NotWrittenError
        If another run has it, or it cannot be written into.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise NotWrittenError(f"another run is writing into {folder}") from None
    except OSError as error:
        raise NotWrittenError(f"{folder} cannot be written into: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove what is open
            (folder / LOCK).unlink()
        lock.release()
        if made:
            with suppress(OSError):  # not empty
                folder.rmdir()
