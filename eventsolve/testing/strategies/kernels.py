"""Kernels are compiled before the first draw, lest Hypothesis judge examples by the one that compiles."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from eventsolve.adjoint import value_and_grad
from eventsolve.testing.canonical import PROBLEMS
from eventsolve.testing.firing import separation


def once_compiled(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for which kernels are compiled as a test begins, not as its module is imported."""

    def ready() -> st.SearchStrategy[Any]:
        _compile_kernels()
        return strategy

    return st.deferred(ready)


@cache
def _compile_kernels() -> None:
    """Solve, differentiate and read what takes every kernel that a test on drawn networks is likely to call."""
    for name in ("two layers", "a recurrent layer", "a readout"):
        problem = PROBLEMS[name]()
        separation(problem.solution, "hidden")
        value_and_grad(problem.solution, problem.loss)  # type: ignore[arg-type]
        problem.solution.voltage("hidden", [0.0])
