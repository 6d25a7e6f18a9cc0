"""Independent jobs on any ``concurrent.futures.Executor``, so that no result is lost that was finished.

A pool of processes serves one machine; Dask's ``Client.get_executor()`` and ``mpi4py.futures.MPIPoolExecutor`` serve
a cluster (``docs/howto/scale_out.md``). Function and jobs travel between processes: a function at the top of a
module, and jobs that are plain records. A job that fails costs its own result; a worker that is lost costs what its
executor can no longer do: nothing with Dask, which does it again, and with a pool of processes all that had not
finished. Which jobs those were is said at the end, by :class:`LostJobsError`, whose ``jobs`` can be handed in again.

A verb whose jobs are parts of one answer takes :func:`finished`: there one that fails ends all, with its own error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from eventsolve.checks import flag, shown
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
    *,
    patient: bool = True,
) -> Iterator[tuple[Job, Result]]:
    """Yield jobs with their results; a ``patient`` one waits for the others when one is lost."""
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
                if not patient:
                    raise
                lost[number] = error
        for future in order(futures):
            number = futures[future]
            try:
                result = future.result()
            except Exception as error:
                if not patient:
                    raise
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


class Advance(Protocol):
    """Takes a bar of progress further, and says beside it what is being done."""

    def __call__(self, by: float, words: str | None = None, /) -> None:
        """Go further by a part of the total; words, if any, replace the name of the bar."""


def finished(
    work: Callable[[Job], Sequence[Result]],
    jobs: Sequence[Job],
    executor: Executor | None,
    bar: tuple[str, float] | None,
) -> tuple[list[Result], KeyboardInterrupt | None]:
    """Return what the work gives for all jobs; after a KeyboardInterrupt what is done, and the interrupt.

    A bar is shown for its name and how many results there will be.

    Raises
    ------
    ImportError
        If a bar is wanted and rich, which draws it, is not installed.
    TypeError
        If the executor is none.
    """
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, or what has its submit; got {shown(executor)}"
        )
    done: list[Result] = []
    with advancing(bar) as advance:
        try:
            for _, results in _gathered(work, jobs, executor, as_completed, patient=False):
                done += results
                advance(len(results))
        except KeyboardInterrupt as interrupt:
            return done, interrupt
    return done, None


def bar_of(progress: object, name: str, total: float) -> tuple[str, float] | None:
    """Return a bar with a name and a total if progress is to be shown, None if not.

    Raises
    ------
    TypeError
        If ``progress`` is not a truth value.
    """
    return (name, total) if flag("progress", progress) else None


@contextmanager
def advancing(bar: tuple[str, float] | None) -> Iterator[Advance]:
    """Show a bar for a name and a total on stderr, or none, and give what takes it further.

    Raises
    ------
    ImportError
        If a bar is wanted and rich, which draws it, is not installed.
    """
    if bar is None:
        yield lambda by, words=None: None
        return
    name, total = bar
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        raise ImportError("progress bars need rich: pip install 'eventsolve[validate]'") from error
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda by, words=None: progress.update(task, advance=by, description=words)
