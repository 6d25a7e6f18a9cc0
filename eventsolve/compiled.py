"""The one way in which kernels are compiled: numba, kept on disk, without the GIL, never with fast-math."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from eventsolve.kernel_cache import KernelCache

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function, **options: Any) -> Function:
    """Compile on first call; under NUMBA_DISABLE_JIT=1 a kernel stays the plain Python that it is written in.

    A kernel may use what is in the folder of its module, in a folder ``kernels`` of its package, and in
    ``eventsolve.kernels``: changes there are noticed.
    """
    kernel: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    if kernel is not function:
        kernel._cache = KernelCache(function)
    result: Function = kernel
    return result


def borrowing(function: Function) -> Function:
    """Compile a kernel that makes no array and returns none, without counting references to those that it is given.

    numba counts them atomically, for every array that is passed or taken out of a tuple: more than small kernels cost.
    """
    return compiled(function, _nrt=False)


def inlined(function: Function) -> Function:
    """Compile a formula into every kernel that uses it: a call costs as much as the formula."""
    formula: Any = numba.njit(inline="always", error_model="numpy")(function)
    result: Function = formula
    return result
