"""certify(): a solution, or a claim from elsewhere, proven spike by spike in ball arithmetic.

What is proven, under which assumptions and how, is in docs/certificates.md. In short: :mod:`balls` alone compares,
:mod:`flow` has the closed form between events, :mod:`crossing` decides an interval, :mod:`cells` a neuron, :mod:`forward` a
sample; :mod:`claims` holds the result against what is claimed. Nothing is shared with the float64 kernels or the
multiprecision solver.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from typing import Any

from rich.console import Console
from rich.progress import Progress

from eventsolve.certify.boxes import Box, Radii, box_of, only
from eventsolve.certify.certificate import Certificate as Certificate
from eventsolve.certify.certificate import fingerprint_of
from eventsolve.certify.claims import Claims, by_sample, checked_claim
from eventsolve.certify.claims import Refutation as Refutation
from eventsolve.certify.forward import Wiring
from eventsolve.certify.samples import Doubt as Doubt
from eventsolve.certify.samples import Enclosures as Enclosures
from eventsolve.certify.samples import SampleProof, prove
from eventsolve.checks import count, shown
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains

SAMPLES_PER_JOB = 8
"""Samples that one job of an executor certifies."""


def certify(
    solution: Solution,
    *,
    spikes: Mapping[str, SpikeTrains] | None = None,
    digits: int = 15,
    tolerance: float | None = None,
    radii: Radii | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> Certificate:
    """Prove in ball arithmetic that a network has the spikes that a solution says, or refute it.

    Every spike is derived anew, independently of the float64 kernels: for every neuron and every interval between events it
    is proven that there is no threshold crossing, or exactly one first, which is enclosed. The precision of a sample is
    raised until everything is decided.

    Parameters
    ----------
    solution : Solution
        Its network, inputs and duration are the problem. The float64 numbers are taken exactly as they are, also of a state
        that the solution went on from.
    spikes : mapping of population to SpikeTrains, optional
        A claim from elsewhere, of the same samples, to be judged instead of the solution's own spikes. Populations that it
        does not name are not judged.
    digits : int
        A question is decided if its two sides differ by more than 10**-digits, relative to the larger: how far a peak is
        from the threshold, or how far apart two events are. What is closer may stay undecided.
    tolerance : float, optional
        How far a claimed spike may be from the proven one, in seconds. By default a few units in the last place of every
        number that the spike depends on, times its conditioning: see :mod:`eventsolve.certify.tolerances`.
    radii : mapping, optional
        Makes numbers intervals, see :func:`eventsolve.certify.boxes.box_of`. What is proven then holds for every network in
        the box.
    executor : concurrent.futures.Executor, optional
        To certify samples in parallel; python-flint has one precision per process, so that threads take turns.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Certificate
        After a KeyboardInterrupt of the samples that were done until then.

    Raises
    ------
    ValueError
        If claimed spikes or radii do not fit the solution, or the digits or the tolerance are out of range.
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {shown(solution)}")
    if count("digits", digits) < 1:
        raise ValueError("digits must be >= 1; got 0")
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be finite and >= 0 seconds, or None; got {tolerance!r}")
    box = box_of(solution, radii)
    spiking = {n: t for n, t in solution.spikes.items() if n in box.populations and n in _spiking(solution)}
    claimed = spiking if spikes is None else checked_claim(spiking, spikes, solution.t_end)
    jobs = [
        (only(box, samples), samples, _claims(claimed, samples), digits, tolerance)
        for samples in _ranges(solution.n_samples)
    ]
    proofs = sorted(_finished(jobs, executor, progress), key=lambda proof: proof.sample)
    return Certificate(digits, tolerance, solution.n_samples, tuple(proofs), fingerprint_of(box, claimed))


def _spiking(solution: Solution) -> set[str]:
    populations = solution.network.populations.items()
    return {name for name, p in populations if p.neuron is not None and p.neuron.spiking}


def _ranges(n_samples: int) -> list[range]:
    starts = range(0, n_samples, SAMPLES_PER_JOB)
    return [range(low, min(low + SAMPLES_PER_JOB, n_samples)) for low in starts]


def _claims(claimed: Mapping[str, SpikeTrains], samples: range) -> list[Claims]:
    return [{name: by_sample(trains, sample) for name, trains in claimed.items()} for sample in samples]


def _prove_all(
    box: Box, samples: range, claims: Sequence[Claims], digits: int, tolerance: float | None
) -> list[SampleProof]:
    """Certify some samples: the job of one process."""
    wiring = Wiring(box, everything=False)
    return [
        prove(wiring, sample, claim, digits=digits, tolerance=tolerance)
        for sample, claim in zip(samples, claims, strict=True)
    ]


def _finished(
    jobs: Sequence[tuple[Any, ...]], executor: Executor | None, progress: bool
) -> list[SampleProof]:
    """Return what all jobs give, or after a KeyboardInterrupt those that are done."""
    done: list[SampleProof] = []
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("certifying", total=sum(len(job[1]) for job in jobs))
        try:
            for proofs in _results(jobs, executor):
                done += proofs
                bar.advance(task, len(proofs))
        except KeyboardInterrupt:
            return done
    return done


def _results(jobs: Sequence[tuple[Any, ...]], executor: Executor | None) -> Iterator[list[SampleProof]]:
    if executor is None:
        yield from (_prove_all(*job) for job in jobs)
        return
    futures = [executor.submit(_prove_all, *job) for job in jobs]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
