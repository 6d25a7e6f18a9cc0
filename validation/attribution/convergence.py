"""A target's error as a function of its time step and fraction bits: its order, and where the bits dominate.

A sample whose spikes stay the same is on one smooth piece, where rounding of times and numbers causes errors of first
order. A sample whose spikes change is on another piece, and its error has no order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

import eventsolve as es
from eventsolve.checks import real_array
from eventsolve.io.records import Record
from eventsolve.jobs import as_finished
from eventsolve.magnitudes import shortest_constant
from eventsolve.typing import Booleans, Reals
from validation.attribution.ablation import Refusal, batch_means, late
from validation.oracle import oracle
from validation.target import Grain, Refinable

N_STEPS = 8
"""How many time steps are tried by default: they cover more than two orders of magnitude."""
BITS = range(4, 41, 4)
"""Fraction bits that are tried by default."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors at one time step and number of bits; arrays are (n_samples,).

    Attributes
    ----------
    grain : Grain
    spike_times : ndarray of float64
        Largest distance of two paired spikes in seconds; NaN where spikes changed.
    gradient : ndarray of float64
        Relative error of dL/dw, all projections together; NaN where the exact gradient is 0.
    same : ndarray of bool
        Whether every neuron has as many spikes as in the exact network.
    mean : float
        Relative error of the batch-mean dL/dw.
    cosine : float
        Between the two batch-mean gradients.
    beside : float
        Distance of the batch-mean dL/dw from that of float64 at the same time step, relative to the exact gradient:
        the error that the bits alone cause. 0 for float64.
    """

    grain: Grain
    spike_times: Reals
    gradient: Reals
    same: Booleans
    mean: float
    cosine: float
    beside: float


def time_steps(problem: es.Problem) -> tuple[float, ...]:
    """Return time steps worth trying, in seconds, coarsest first.

    A series 1, 2, 5 from two fifths of the shortest time constant down, each to the next that divides the run.
    """
    shortest = min(shortest_constant(problem.network), problem.t_end)
    top = math.floor(math.log10(0.4 * shortest * (1 + 1e-9)))
    series = (m * 10.0**k for k in range(top, top - 5, -1) for m in (5, 2, 1))
    chosen = itertools.islice((h for h in series if h <= 0.4 * shortest * (1 + 1e-9)), N_STEPS)
    parts = dict.fromkeys(max(round(problem.t_end / step), 2) for step in chosen)
    return tuple(float(f"{problem.t_end / n:.12g}") for n in parts)


def errors(job: tuple[es.Problem, Refinable, Grain]) -> Errors | Refusal[Grain]:
    """Run a target at one grain and compare it with the exact network and with float64; a job for any executor.

    The exact network has the target's steps of transport as delays.
    """
    try:
        return _errors(*job)
    except ValueError as error:
        return Refusal(job[2], str(error))


def _errors(problem: es.Problem, target: Refinable, grain: Grain) -> Errors:
    made = target.at(grain)
    exact = oracle(late(problem, made.resolution(problem.network)))
    model = made.run(problem)
    want, got = _means(exact), _means(model)
    scale = float(np.linalg.norm(want))
    beside = 0.0
    if grain.bits is not None:
        fine = target.at(grain._replace(bits=None)).run(problem)
        beside = float(np.linalg.norm(got - _means(fine))) / scale if scale else np.nan
    same, distances = _spikes(exact, model)
    norms, off = np.zeros(exact.n_samples), np.zeros(exact.n_samples)
    for key, weight in exact.weight.items():
        norms += _squares(weight)
        off += _squares(model.weight[key] - weight)
    gradient = np.full(norms.shape, np.nan)
    np.divide(np.sqrt(off), np.sqrt(norms), out=gradient, where=norms > 0)
    size = scale * float(np.linalg.norm(got))
    return Errors(
        grain,
        distances,
        gradient,
        same,
        mean=float(np.linalg.norm(got - want)) / scale if scale else np.nan,
        cosine=float(np.vdot(want, got)) / size if size else np.nan,
        beside=beside,
    )


def _squares(values: Reals) -> Reals:
    return np.asarray((values.reshape(len(values), -1) ** 2).sum(axis=1))


def converge(
    problem: es.Problem,
    target: Refinable,
    time_steps: Sequence[float],
    bits: Sequence[int | None],
    executor: Executor | None = None,
) -> Iterator[Errors | Refusal[Grain]]:
    """Yield the errors at every time step and number of fraction bits, or why the target cannot run, as they finish.

    Raises
    ------
    ValueError
        If a time step is not > 0 and does not divide ``t_end`` into at least two whole steps, or fraction bits are not
        0 to 40. At the end, if the target can be run at none of them.
    """
    for step in real_array("time_steps", list(time_steps)).tolist():
        n = problem.t_end / step if step > 0 else 0.0
        if n < 1.5 or abs(n - round(n)) > 1e-9 * n:
            raise ValueError(
                f"time_steps must divide the {problem.t_end!r} s of the run into two or more whole steps; "
                f"got {step!r} s{_nearest(problem.t_end, n)}"
            )
    for b in bits:
        if b is not None and not 0 <= b <= 40:
            raise ValueError(f"bits must be 0 to 40, or None for float64; got {b!r}")
    jobs = [(problem, target, Grain(step, b)) for step, b in itertools.product(time_steps, bits)]
    refused: list[Refusal[Grain]] = []
    for _, found in as_finished(errors, jobs, executor):
        yield found
        if isinstance(found, Refusal):
            refused.append(found)
    if refused and len(refused) == len(jobs):
        raise ValueError(refused[0].why)


def _nearest(t_end: float, n: float) -> str:
    return f", of which {t_end / max(round(n), 2):.12g} s is the nearest that does" if n > 0 else ""


class Order(NamedTuple):
    """The power with which an error falls, its confidence interval, and the samples from which it comes."""

    order: float
    low: float
    high: float
    n_samples: int


def observed_order(sizes: Sequence[float], found: Reals, confidence: float = 0.95) -> Order | None:
    """Return the order of errors that fall like a power of a size.

    For every sample, least squares give the slope of its logarithmic errors over logarithmic sizes. The order is the
    mean of these slopes, with Student's confidence interval. Samples with an error that is 0 or not finite at any size
    are left out.

    Parameters
    ----------
    sizes : sequence of float, n_sizes of them
        Time steps, or resolutions of formats; > 0.
    found : ndarray of float64, (n_sizes, n_samples)
    confidence : float
        0 to 1.

    Returns
    -------
    Order or None
        None with fewer than two samples or sizes.
    """
    known = np.isfinite(found).all(axis=0) & (np.nan_to_num(found) > 0).all(axis=0)
    n = int(known.sum())
    if n < 2 or len(set(sizes)) < 2:
        return None
    x = np.log(real_array("sizes", list(sizes)))
    x = x - x.mean()
    slopes = x @ np.log(found[:, known]) / (x @ x)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * float(slopes.std(ddof=1)) / np.sqrt(n)
    mean = float(slopes.mean())
    return Order(mean, float(mean - half), float(mean + half), n)


def crossover(
    time_steps: Sequence[float], of_steps: Sequence[float], of_bits: Sequence[float]
) -> float | None:
    """Return the time step below which the bits cause the larger error, by logarithmic interpolation, or None.

    Parameters
    ----------
    time_steps : sequence of float
        Seconds, ascending.
    of_steps, of_bits : sequence of float
        Errors at these, > 0.
    """
    ratio = np.log(np.asarray(of_bits)) - np.log(np.asarray(of_steps))
    if not np.isfinite(ratio).all():
        raise ValueError("errors must be finite and > 0 to have a crossover")
    if ratio[0] <= 0:
        return None
    if (ratio > 0).all():
        return float(time_steps[-1])
    k = int(np.argmax(ratio <= 0))
    x = np.log(np.asarray(time_steps))
    part = ratio[k - 1] / (ratio[k - 1] - ratio[k])
    return float(np.exp(x[k - 1] + part * (x[k] - x[k - 1])))


def _means(record: Record) -> Reals:
    """Return the batch-mean gradients of all projections in one vector."""
    means = batch_means(record)
    return np.concatenate([np.empty(0), *(means[key].ravel() for key in sorted(means))])


def _spikes(exact: Record, model: Record) -> tuple[Booleans, Reals]:
    """Return in which samples all spike counts are equal, and in those the largest distance of corresponding spikes."""
    n = exact.n_samples
    same, apart = np.ones(n, np.bool_), np.zeros(n)
    for name, e in exact.spikes.items():
        m = model.spikes[name]
        equal = (e.counts() == m.counts()).all(axis=1)
        same &= equal
        here, there = equal[e.samples], equal[m.samples]
        a, b = (np.lexsort((t.times, t.neurons, t.samples)) for t in (e, m))
        a, b = a[here[a]], b[there[b]]
        np.maximum.at(apart, e.samples[a], np.abs(m.times[b] - e.times[a]))
    apart[~same] = np.nan
    return same, apart
