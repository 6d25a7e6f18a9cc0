"""The loop of every training: a state that goes through the batches of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from eventsolve.typing import Integers

State = TypeVar("State")
Result = TypeVar("Result")


def through_batches(
    state: State,
    order: Integers,
    size: int,
    step: Callable[[State, Integers], tuple[State, Result]],
    told: Callable[[list[Result]], object] = lambda results: None,
    *,
    whole: bool = False,
) -> tuple[State, list[Result]]:
    """Return the state after an epoch, and what each of its batches came to.

    Parameters
    ----------
    state
        Before it; whatever ``step`` takes.
    order : ndarray of int64, (n_samples,)
        The samples in the order in which they are seen.
    size : int
        Of a batch, in samples.
    step : callable
        Returns the next state, and what the batch came to, of a state and the batch's samples.
    told : callable
        Is told after each batch what those up to there came to.
    whole : bool
        Whether samples at the end that fill no batch are left out, rather than a smaller batch.
    """
    results: list[Result] = []
    end = order.size - order.size % size if whole else order.size
    for low in range(0, end, size):
        state, result = step(state, order[low : min(low + size, end)])
        results.append(result)
        told(results)
    return state, results
