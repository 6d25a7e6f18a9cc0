"""The one way in which kernels are compiled: numba, kept on disk, without the GIL, never with fast-math."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, overload

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


def without_refcount(function: Function) -> Function:
    """Compile a kernel that makes no array and returns none, without counting references to those that it is given.

    numba counts them atomically, for every array that is passed or taken out of a tuple: more than small kernels cost.
    """
    return compiled(function, _nrt=False)


def embedded(function: Function) -> Function:
    """Compile such a kernel into its caller: to hand over many arrays costs more than a small part of a loop."""
    return compiled(function, _nrt=False, forceinline=True)


def inlined(function: Function) -> Function:
    """Compile a formula into every kernel that uses it: a call costs as much as the formula."""
    formula: Any = numba.njit(inline="always", error_model="numpy")(function)
    result: Function = formula
    return result


def prefetch(array: Any, index: Any) -> None:
    """Ask for a row of an array before its turn comes: in a kernel, the memory's delay passes meanwhile."""


@intrinsic
def _prefetch(_: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = context.make_array(array)(context, builder, arguments[0])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        step = cgutils.unpack_tuple(builder, rows.strides, array.ndim)[0]
        offset = builder.mul(arguments[1], step)
        place = builder.gep(builder.bitcast(rows.data, byte), [offset])
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, word(1), word(3), word(1)])  # to write, to keep, data
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.int64), generate


@overload(prefetch, strict=False)
def _prefetched(array: Any, index: Any) -> Any:
    emit: Any = _prefetch
    return lambda array, index: emit(array, index)
