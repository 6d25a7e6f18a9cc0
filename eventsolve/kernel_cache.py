"""Where compiled kernels are kept: in the user's cache folder, never beside the sources; else in memory alone.

A folder belongs to all that decides what the kernels of a package compile to: the sources beside them, those of every
folder ``kernels`` from which they may be inlined, and the versions of this package, Python, numba and numpy. A file in
it is one kernel for one signature on one CPU. It begins with its checksum, and appears whole or not at all: processes
may compile, use and clear the folder at once, and what is damaged is compiled again.

numba's own cache knows an entry by the file of its function alone and believes what it reads. Its index gives names to
files: of two processes that write it at once, one can leave a signature with the code of another.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import platformdirs
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from eventsolve._version import __version__

FOLDERS = 16
"""How many folders of a package's kernels are kept, for other versions and sources: those used last."""

_CHECKSUM = hashlib.sha256().digest_size
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML")


class KernelCache:
    """The cache of one kernel, in the place of numba's own: what numba asks of one, and no more."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        code, module = kernel.__code__, kernel.__module__
        self._name = re.sub(r"\W+", "_", f"{module.rpartition('.')[2]}.{kernel.__qualname__}", flags=re.ASCII)
        self._function = (module, kernel.__qualname__, code.co_firstlineno, code.co_code)
        # what a closure holds is in no source
        self._folder = folder(module.rpartition(".")[0]) if kernel.__closure__ is None else None

    @property
    def cache_path(self) -> str | None:
        """Where the kernel is kept, if it is; numba shows it with the statistics of a kernel."""
        return None if self._folder is None else str(self._folder)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return what was compiled for a signature and this CPU, or None."""
        if self._folder is None:
            return None
        target.refresh()
        file = self._folder / self._entry(signature, target)
        try:
            content = file.read_bytes()
        except OSError:  # there is none, or none for this user
            return None
        checksum, entry = content[:_CHECKSUM], content[_CHECKSUM:]
        if hashlib.sha256(entry).digest() != checksum:
            return None
        try:
            known, parts = pickle.loads(entry)
        except Exception:  # it names what is no longer there; compiling again is always right
            return None
        if known != signature:  # types that are written alike
            return None
        _mark_used(self._folder)
        return CompileResult._rebuild(target, *parts)

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled for a signature and this CPU, or say once that nothing is kept."""
        if self._folder is None:
            return
        if result.library.has_dynamic_globals:
            _say_not_kept(f"{self._name} holds an address of this process")
            return
        entry = dumps((signature, result._reduce()))
        file = self._folder / self._entry(signature, result.target_context)
        try:
            _write(file, hashlib.sha256(entry).digest() + entry)
        except OSError as error:
            _say_not_kept(error)

    def flush(self) -> None:
        """Forget the kernel for every signature, as numba asks before it compiles again."""
        if self._folder is not None:
            for file in self._folder.glob(f"{self._name}-*.kernel"):
                file.unlink(missing_ok=True)

    def _entry(self, signature: Any, target: Any) -> str:
        key = repr((str(signature), target.codegen().magic_tuple(), self._function))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.kernel"


@cache
def folder(package: str) -> Path | None:
    """Return where the kernels of a package are kept, or None if they stay in memory."""
    if not package:  # those of a script or a prompt: what they are made of is not known
        return None
    versions = (llvmlite.__version__, numba.__version__, np.__version__, EXTENSION_SUFFIXES)
    key = hashlib.sha256(repr((versions, [getattr(numba.config, name) for name in _SETTINGS])).encode())
    try:
        ours = importlib.resources.files("eventsolve")
        ways = (part for part in _modules(ours) if part[0].startswith(("compiled.", "kernel_cache.")))
        kernels = (*_kernels(ours), *_kernels(importlib.resources.files(package.split(".")[0])))
        own = [*_modules(importlib.resources.files(package))]
        if not own:
            raise FileNotFoundError(f"the sources of {package} are not to be found")
        for name, content in (*ways, *kernels, *own):
            key.update(f"{name} {len(content)} ".encode() + content)
        return _root() / f"{package}-{__version__}-{key.hexdigest()[:20]}"
    except (OSError, RuntimeError) as error:  # RuntimeError: of a user who has no home
        _say_not_kept(error)
        return None


def _modules(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a folder's modules, as source or compiled, on disk or in a zip file."""
    for file in _sorted(folder):
        if file.name.endswith((".py", ".pyc")):
            yield file.name, file.read_bytes()


def _kernels(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of every folder ``kernels`` below this one."""
    for inner in _sorted(folder):
        if inner.name == "kernels":
            yield from _modules(inner)
        elif inner.is_dir():
            yield from _kernels(inner)


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted(folder.iterdir(), key=lambda inner: inner.name)


def _root() -> Path:
    """Return the folder of all compiled kernels: below ``NUMBA_CACHE_DIR`` if that is set."""
    chosen: str = getattr(numba.config, "CACHE_DIR")  # noqa: B009
    if chosen:
        return Path(chosen, "eventsolve", "kernels").absolute()
    root = platformdirs.user_cache_path("eventsolve", appauthor=False) / "kernels"
    if not root.is_absolute():  # as older platformdirs say it
        raise FileNotFoundError(f"{root} is no whole path")
    return root


def _write(file: Path, content: bytes) -> None:
    """Let a file appear as a whole, and its folder in place of the one that its package used least lately."""
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True, exist_ok=True)
        _clear(file.parent)
    from eventsolve.files import whole  # which locks, too: nothing to wait for at an import

    with whole(file) as beside:
        beside.write_bytes(content)


def _clear(newest: Path) -> None:
    """Remove the folders of a package beyond the newest; a process that still uses one compiles again."""
    package = newest.name.rsplit("-", 2)[0]
    ages = {}
    for other in newest.parent.glob(f"{package}-*"):
        with contextlib.suppress(OSError):  # another process removes it too
            ages[other] = other.stat().st_mtime_ns
    ages.pop(newest, None)
    for old in sorted(ages, key=ages.__getitem__, reverse=True)[FOLDERS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


@cache
def _mark_used(used: Path) -> None:
    """Let a folder be as young as its last use, once in each process."""
    with contextlib.suppress(OSError):  # it is another user's, or just removed
        os.utime(used)


_NOT_KEPT: list[str] = []


def _say_not_kept(reason: object) -> None:
    """Say once in a process that every process compiles anew."""
    if not _NOT_KEPT:
        _NOT_KEPT.append(str(reason))
        warnings.warn(
            f"compiled kernels stay in memory, and the next process compiles them again: {reason}. "
            "NUMBA_CACHE_DIR may name a folder to keep them in.",
            RuntimeWarning,
            stacklevel=2,
        )
