"""How the kernels of this package are compiled: as those of :mod:`eventsolve`, with a digest of their own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from eventsolve.compiled import digest, stamped

KERNEL_FILES = (
    "compiled.py",
    "spinnaker2/words.py",
    "spinnaker2/tables.py",
    "spinnaker2/kernels.py",
    "spinnaker2/either.py",
    "spinnaker2/intervals.py",
    "spinnaker2/event_forward.py",
    "spinnaker2/event_backward.py",
)
"""Every file of this package that holds compiled code, in the order of their imports."""

Function = TypeVar("Function", bound=Callable[..., Any])
_DIGEST = digest(Path(__file__).parent / name for name in KERNEL_FILES)


def compiled(function: Function) -> Function:
    """Compile on first call."""
    kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    result: Function = stamped(kernel, _DIGEST)
    return result
