"""Independent jobs, shared out among the workers of any executor, with a bar of progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Advance(Protocol):
    """Takes a bar of progress further, and says beside it what is being done."""

    def __call__(self, by: float, words: str | None = None, /) -> None:
        """Go further by a part of the total; words, if any, replace the name of the bar."""


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
    with advancing(bar) as advance:
        try:
            for results in _results(work, jobs, executor):
                done += results
                advance(len(results))
        except KeyboardInterrupt as interrupt:
            return done, interrupt
    return done, None


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
