"""The one way in which kernels are compiled: numba, cached on disk, without the GIL, never with fast-math.

numba keys its cache on the file of the compiled function alone, so an edit in a formula that another file inlines would
go unnoticed and yesterday's mathematics would run. Here every cache entry carries a digest of all kernel files instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def digest(files: Iterable[Path]) -> str:
    """Return the digest of files, which stamps what is compiled from them."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_HERE = Path(__file__)
_DIGEST = digest([_HERE, *sorted((_HERE.parent / "kernels").glob("*.py"))])


def stamped(kernel: Any, stamp: str) -> Any:
    """Let the cache entry of a kernel be as old as its stamp, not as its own file.

    The stamp stands in the version as well, which numba compares before it reads the rest: an index of other files may
    name types that are no longer there.
    """
    if hasattr(kernel, "_cache"):  # not under NUMBA_DISABLE_JIT=1
        file = kernel._cache._cache_file
        file._source_stamp = stamp
        file._version = f"{file._version} {stamp}"
    return kernel


def compiled(function: Function) -> Function:
    """Compile on first call; under NUMBA_DISABLE_JIT=1 a kernel stays the plain Python that it is written in."""
    kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    result: Function = stamped(kernel, _DIGEST)
    return result


def borrowing(function: Function) -> Function:
    """Compile a kernel that makes no array and returns none, without counting references to those that it is given.

    numba counts them atomically, for every array that is passed or taken out of a tuple: more than small kernels cost.
    """
    options: dict[str, Any] = {"_nrt": False}
    kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    result: Function = stamped(kernel, _DIGEST)
    return result


def inlined(function: Function) -> Function:
    """Compile a formula into every kernel that uses it: a call costs as much as the formula."""
    formula: Any = numba.njit(inline="always", error_model="numpy")(function)
    result: Function = formula
    return result
