"""How the kernels of this package are compiled: as those of :mod:`eventsolve`, with a digest of their own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from eventsolve.compiled import digest, stamped

Function = TypeVar("Function", bound=Callable[..., Any])
_HERE = Path(__file__)
_DIGEST = digest([_HERE, *sorted(_HERE.parent.glob("*/kernels/*.py"))])


def compiled(function: Function) -> Function:
    """Compile on first call."""
    kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    result: Function = stamped(kernel, _DIGEST)
    return result
