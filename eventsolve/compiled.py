"""The one way in which kernels are compiled: numba, kept on disk, without the GIL, never with fast-math."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.extending import intrinsic, models, overload, register_model

from eventsolve.kernel_cache import KernelCache

Function = TypeVar("Function", bound=Callable[..., Any])


class _Inner(types.Dispatcher):
    """The numba type of a kernel where another calls it; a 0 there is any integer: none is compiled for one value."""

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        return super().get_call_type(context, tuple(map(types.unliteral, args)), kws)


register_model(_Inner)(models.OpaqueModel)


class _PartLibrary(JITCodeLibrary):
    """The code of a part, which is optimised and made machine code only in the kernels that it is linked into."""

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        """What numba tells of the Python objects that code uses: a part, which is nowhere in memory, uses none."""
        return SimpleNamespace(set_env=lambda name, environment: None)


class _PartCompiler(Compiler):
    """numba's compiler, with such a library."""

    def __init__(self, typing: Any, target: Any, _: Any, *rest: Any) -> None:
        library: Any = _PartLibrary
        super().__init__(typing, target, library(target.codegen(), "part"), *rest)  # type: ignore[no-untyped-call]


class _Kernel:
    """A kernel, compiled for calls from Python, and apart from that as a part of those that call it.

    To take the arguments of a call from Python apart is more code than most kernels have, where they are records of
    arrays; a part has none of it. What is called from Python is kept on disk, with all its parts.
    """

    def __init__(self, function: Callable[..., Any], outer: Any, inner: Any) -> None:
        functools.update_wrapper(self, function)
        self.outer, self.inner = outer, inner
        outer._cache = KernelCache(function)
        self._numba_type_ = _Inner(inner)

    def __call__(self, *arguments: Any) -> Any:
        return self.outer(*arguments)

    @property
    def overloads(self) -> Any:
        """What it is compiled to for calls from Python, by the types of arguments."""
        return self.outer.overloads


def compiled(function: Function, **options: Any) -> Function:
    """Compile on first call; under NUMBA_DISABLE_JIT=1 a kernel stays the plain Python that it is written in.

    A kernel may use what is in the folder of its module, in a folder ``kernels`` of its package, and in
    ``eventsolve.kernels``: changes there are noticed.
    """
    jit: Any = numba.njit
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, **options}
    outer = jit(**options)(function)
    inner = jit(no_cpython_wrapper=True, pipeline_class=_PartCompiler, **options)(function)
    kernel: Any = outer if outer is function else _Kernel(function, outer, inner)
    result: Function = kernel
    return result


def without_refcount(function: Function) -> Function:
    """Compile a kernel that makes no array and returns none, without counting references to those that it is given.

    numba counts them atomically, for every array that is passed or taken out of a tuple: more than small kernels cost.
    """
    return compiled(function, _nrt=False)


def embedded(function: Function) -> Function:
    """Compile such a kernel into its callers: where a call costs as much as a formula, or hands over many arrays."""
    return compiled(function, _nrt=False, forceinline=True)


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
