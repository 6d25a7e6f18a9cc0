"""Batches: samples are independent, and shared out among the workers of any executor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from eventsolve.certify.boxes import Box, only
from eventsolve.certify.claims import Claims, by_sample
from eventsolve.certify.forward import Wiring
from eventsolve.certify.losses import Task
from eventsolve.certify.samples import SampleProof, prove
from eventsolve.spiketrains import SpikeTrains

SAMPLES_PER_JOB = 8
"""Samples that a worker certifies at a time."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batch(NamedTuple):
    """What a worker certifies at a time: some samples, what is claimed of them, and how."""

    box: Box
    samples: range
    claims: Sequence[Claims]
    tasks: Sequence[Task | None]
    digits: int
    tolerance: float | None


def prove_batch(
    box: Box,
    claimed: Mapping[str, SpikeTrains],
    tasks: Sequence[Task | None],
    digits: int,
    tolerance: float | None,
    executor: Executor | None,
    *,
    progress: bool,
) -> tuple[list[SampleProof], KeyboardInterrupt | None]:
    """Certify all samples; after a KeyboardInterrupt return those that are done, and the interrupt."""
    jobs = [
        Batch(
            only(box, samples),
            samples,
            _claims(claimed, samples),
            [tasks[sample] for sample in samples],
            digits,
            tolerance,
        )
        for samples in _ranges(box.n_samples)
    ]
    bar = ("certifying", box.n_samples) if progress else None
    proofs, interrupt = finished(_prove_all, jobs, executor, bar)
    return sorted(proofs, key=lambda proof: proof.sample), interrupt


def _ranges(n_samples: int) -> list[range]:
    starts = range(0, n_samples, SAMPLES_PER_JOB)
    return [range(low, min(low + SAMPLES_PER_JOB, n_samples)) for low in starts]


def _claims(claimed: Mapping[str, SpikeTrains], samples: range) -> list[Claims]:
    return [{name: by_sample(trains, sample) for name, trains in claimed.items()} for sample in samples]


def _prove_all(batch: Batch) -> list[SampleProof]:
    """Certify some samples: the job of one process."""
    wiring = Wiring(batch.box, everything=any(task is not None for task in batch.tasks))
    return [
        prove(wiring, sample, claim, digits=batch.digits, tolerance=batch.tolerance, task=task)
        for sample, claim, task in zip(batch.samples, batch.claims, batch.tasks, strict=True)
    ]


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


def fingerprint_of(box: Box, claimed: Mapping[str, SpikeTrains]) -> str:
    """Return the SHA-256 of all numbers of a problem and of the spikes claimed for it."""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        for value in values:
            if isinstance(value, np.ndarray):
                kind = np.int64 if value.dtype.kind in "iub" else np.float64
                digest.update(repr(value.shape).encode())
                digest.update(np.ascontiguousarray(value, dtype=kind).tobytes())
            else:
                digest.update(repr(value).encode())

    add(sorted(box.inputs.items()), list(box.populations.items()), box.n_channels, box.n_samples)
    add(box.after, box.t_start, box.t_end, box.until, box.subtracts)
    for name, numbers in box.parameters.items():
        add(name, numbers.middle, numbers.radius)
    synapses = box.synapses
    add(list(synapses.slices.items()), synapses.source, synapses.target, synapses.delta)
    add(synapses.weight.middle, synapses.weight.radius, synapses.delay.middle, synapses.delay.radius)
    for trains in (box.trains, box.carried):
        for name, train in trains.items():
            add(name, train.times.middle, train.times.radius, train.neurons, train.samples)
            if trains is box.carried:
                add(train.low, train.turns)
    for sample, start in (box.start or {}).items():
        add(sample, *start)
    for name, spikes in claimed.items():
        add(name, spikes.times, spikes.neurons, spikes.samples)
    return digest.hexdigest()
