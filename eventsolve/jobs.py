"""Independent jobs, shared out among the workers of any executor, with a bar of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def finished(
    work: Callable[[Job], Sequence[Result]],
    jobs: Sequence[Job],
    executor: Executor | None,
    bar: tuple[str, int] | None,
) -> tuple[list[Result], KeyboardInterrupt | None]:
    """Return what the work gives for all jobs; after a KeyboardInterrupt what is done, and the interrupt.

    A bar is shown for its name and how many results there will be.

    Raises
    ------
    ImportError
        If a bar is wanted and rich, which draws it, is not installed.
    """
    done: list[Result] = []
    with nullcontext(_unseen) if bar is None else _advancing(*bar) as advance:
        try:
            for results in _results(work, jobs, executor):
                done += results
                advance(len(results))
        except KeyboardInterrupt as interrupt:
            return done, interrupt
    return done, None


def _unseen(n: int) -> None:
    pass


@contextmanager
def _advancing(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr, and give what takes it further."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        raise ImportError("progress bars need rich: pip install 'eventsolve[validate]'") from error
    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield partial(progress.advance, progress.add_task(name, total=total))


def _results(
    work: Callable[[Job], Sequence[Result]], jobs: Sequence[Job], executor: Executor | None
) -> Iterator[Sequence[Result]]:
    if executor is None:
        yield from map(work, jobs)
        return
    futures = [executor.submit(work, job) for job in jobs]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
