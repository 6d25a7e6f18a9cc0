"""Independent jobs on any ``concurrent.futures.Executor``, so that no result is lost that was finished.

A pool of processes serves one machine; Dask's ``Client.get_executor()`` and ``mpi4py.futures.MPIPoolExecutor`` serve
a cluster (``docs/howto/scale_out.md``). Function and jobs travel between processes: a function at the top of a
module, and jobs that are plain records. A job that fails costs its own result; a worker that is lost costs what its
executor can no longer do: nothing with Dask, which does it again, and with a pool of processes all that had not
finished. Which jobs those were is said at the end, by :class:`LostJobsError`, whose ``jobs`` can be handed in again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from typing import Any, TypeVar

from eventsolve.errors import Carrying

Job = TypeVar("Job")
Result = TypeVar("Result")


class LostJobsError(Carrying, RuntimeError):
    """Some jobs did not finish; all others did, and their results were given before. The first failure is the cause.

    Attributes
    ----------
    jobs : tuple
        Those without a result, in the order in which they were handed in.
    """

    def __init__(self, jobs: tuple[Any, ...], n_jobs: int, first: BaseException) -> None:
        super().__init__(
            f"{len(jobs)} of {n_jobs} jobs did not finish; the first is {jobs[0]!r}: {type(first).__name__}: {first}"
        )
        self.jobs = jobs


def as_finished(
    function: Callable[[Job], Result], jobs: Iterable[Job], executor: Executor | None = None
) -> Iterator[tuple[Job, Result]]:
    """Yield every job with its result, each as it finishes; closing the iterator cancels those that have not started.

    Parameters
    ----------
    function : callable
        From a job to its result.
    jobs : iterable
    executor : Executor, optional
        Without one, jobs are done here, one after the other.

    Raises
    ------
    LostJobsError
        At the end, if jobs failed or were lost with their workers. Without an executor, a job's own error at once.
    """
    yield from _gathered(function, jobs, executor, as_completed)


def in_order(
    function: Callable[[Job], Result], jobs: Iterable[Job], executor: Executor | None = None
) -> Iterator[tuple[Job, Result]]:
    """Yield every job with its result in the order of the jobs; otherwise as :func:`as_finished`."""
    yield from _gathered(function, jobs, executor, iter)


def _gathered(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    executor: Executor | None,
    order: Callable[[dict[Future[Result], int]], Iterator[Future[Result]]],
) -> Iterator[tuple[Job, Result]]:
    if executor is None:
        yield from ((job, function(job)) for job in jobs)
        return
    waiting = tuple(jobs)
    lost: dict[int, BaseException] = {}
    futures: dict[Future[Result], int] = {}
    try:
        for number, job in enumerate(waiting):
            try:
                futures[executor.submit(function, job)] = number
            except BrokenExecutor as error:  # a worker was lost meanwhile
                lost[number] = error
        for future in order(futures):
            number = futures[future]
            try:
                result = future.result()
            except Exception as error:
                lost[number] = error
                continue
            yield waiting[number], result
    finally:
        for future in futures:
            future.cancel()
    if lost:
        numbers = sorted(lost)
        first = lost[numbers[0]]
        raise LostJobsError(tuple(waiting[n] for n in numbers), len(waiting), first) from first
