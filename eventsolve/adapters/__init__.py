"""The exact solver and its exact gradient as a part of other frameworks' programs; each module needs its own extra."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from eventsolve.adapters import jax as jax
    from eventsolve.adapters import torch as torch
else:
    from eventsolve.lazily import attached as _attached

    __getattr__, __dir__ = _attached(__name__, "jax", "torch")
