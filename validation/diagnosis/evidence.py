"""The content of a record and of a guess: spikes as steps of the clock, numbers reduced as in the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

import eventsolve as es
from eventsolve.compare import agreement
from eventsolve.compare.cancelling import ROUNDINGS
from eventsolve.io import records
from eventsolve.typing import Integers, Key, Reals
from validation.grid.flaws import Flaws
from validation.grid.time_stepped import ForwardRun, TimeStepped

Place: TypeAlias = tuple[str, str | Key]
"""A quantity and its population or projection; ("loss", "") for the loss."""
FAR = 50
"""Steps beyond which a spike no longer counts as the same spike, moved."""
LAST_STEP = 2**60
"""The difference of two steps is a whole number of 64 bits."""
CANCELLED = 2.0**-20
"""The part of their terms that numbers are taken for at least: 64 roundings of the terms are a part of it of 1.5e-8."""
ON_GRID = 1e-3
"""How far a time may lie from a point of the grid to count as on it, as a part of a step."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a guess says.

    Attributes
    ----------
    spikes : mapping of str to ndarray of int64, (n_spikes, 3)
        Sample, step and neuron; sorted in this order.
    numbers : mapping of Place to ndarray of float64
        Reduced as in the record.
    samples : mapping of Place to ndarray of float64, (n_samples, ...)
        The numbers of each sample; without dL/dt, which belongs to spikes.
    scale : mapping of Place to float
        The norm of the sum of the samples' absolute values, by which roundings are measured; where terms cancel,
        :data:`CANCELLED` of these at least.
    """

    spikes: Mapping[str, Integers]
    numbers: Mapping[Place, Reals]
    samples: Mapping[Place, Reals]
    scale: Mapping[Place, float]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a record says.

    Attributes
    ----------
    problem : Problem
    record : Record
    time_step : float
        Seconds.
    spikes : mapping of str to ndarray of int64, (n_spikes, 3)
        Of computed populations, as in :class:`Answer`.
    numbers : mapping of Place to ndarray of float64
    within : int
        How many steps a spike may be off: 0 on a clock.
    lags : tuple of float
        Seconds by which all spikes may be late: the step of a clock, or what the first spike suggests.
    tolerance : float
        Relative error of numbers in continuous time.
    rounding : mapping of Place to float
        By how much numbers of a sample may be off where their terms cancel, as
        :func:`eventsolve.compare.cancelling.roundings_of` tells.
    run_forward : callable
        :meth:`validation.grid.TimeStepped.run_forward`, which has the last runs at hand: many ways back start from the
        same one, in two number formats.
    """

    problem: es.Problem
    record: records.Record
    time_step: float
    spikes: Mapping[str, Integers]
    numbers: Mapping[Place, Reals]
    within: int = 0
    lags: tuple[float, ...] = ()
    tolerance: float = 0.0
    rounding: Mapping[Place, float] = field(default_factory=dict)
    run_forward: Callable[[TimeStepped, es.Problem, Flaws], ForwardRun] = field(
        default_factory=lambda: lru_cache(maxsize=2)(TimeStepped.run_forward), repr=False
    )

    @property
    def clocked(self) -> bool:
        """Whether the steps are those of a clock."""
        return self.within == 0

    @property
    def n_steps(self) -> int:
        """Steps of a sample."""
        return round(self.problem.t_end / self.time_step)

    @property
    def n_spikes(self) -> int:
        """Recorded spikes; without any, as many as the problem allows."""
        return sum(map(len, self.spikes.values())) if self.spikes else self.problem.max_spikes

    def beside(self, said: Mapping[str, Integers]) -> Mapping[str, Integers]:
        """Return the recorded spikes; those near enough to spikes of an answer are moved onto them."""
        if self.clocked:
            return self.spikes
        return {
            name: moved_beside(rows, said[name], self.within) if name in said else rows
            for name, rows in self.spikes.items()
        }

    def first_samples(self, count: int) -> Evidence:
        """Return the evidence of the first samples only, without numbers."""
        if count >= self.problem.n_samples:
            return self
        spikes = {name: rows[rows[:, 0] < count] for name, rows in self.spikes.items()}
        return replace(self, problem=cut(self.problem, count), spikes=spikes, numbers={})

    def only(self, samples: Sequence[int]) -> Evidence:
        """Return the evidence of some samples only, ascending, without numbers."""
        spikes = {}
        for name, rows in self.spikes.items():
            own = rows[np.isin(rows[:, 0], samples)]
            spikes[name] = np.column_stack([np.searchsorted(samples, own[:, 0]), own[:, 1:]])
        problem = replace(self.problem, loss=None).select(samples)
        return replace(self, problem=problem, spikes=spikes, numbers={})

    def of_first_samples(self, problem: es.Problem) -> es.Problem:
        """Return another problem with as many samples as this evidence has."""
        return cut(problem, self.problem.n_samples)


def cut(problem: es.Problem, count: int) -> es.Problem:
    """Return the first samples of a problem, without its loss."""
    if count >= problem.n_samples:
        return problem
    return replace(problem, inputs={name: t[:count] for name, t in problem.inputs.items()}, loss=None)


def evidence_of(problem: es.Problem, record: records.Record, time_step: float) -> Evidence:
    """Return what a record says of a problem."""
    spikes = {
        name: rows_of(trains, time_step)
        for name, trains in record.spikes.items()
        if name not in problem.inputs
    }
    numbers: dict[Place, Reals] = {}
    if record.loss_values is not None:
        numbers["loss", ""] = np.asarray(record.loss_values, dtype=np.float64)
    for quantity, places in record.gradients.items():
        for place, values in places.items():
            values = np.asarray(values, dtype=np.float64)
            if quantity == "spike_times":
                assert isinstance(place, str)
                values = values[by_neuron(record.trains[place])]
            numbers[quantity, place] = values
    return Evidence(problem, record, time_step, spikes, numbers)


def on_grid(record: records.Record, time_step: float) -> bool:
    """Say whether all computed spikes lie on points of the grid."""
    steps = [trains.times / time_step for name, trains in record.spikes.items() if name not in record.inputs]
    return all(bool((np.abs(s - np.rint(s)) <= ON_GRID).all()) for s in steps)


def rows_of(trains: es.SpikeTrains, time_step: float) -> Integers:
    """Return sample, step and neuron of every spike, sorted; those beyond LAST_STEP are not told apart."""
    with np.errstate(over="ignore"):
        steps = np.rint(np.minimum(trains.times / time_step, LAST_STEP)).astype(np.int64)
    rows = np.stack([trains.samples, steps, trains.neurons], axis=1).astype(np.int64)
    return rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]


def by_neuron(trains: es.SpikeTrains) -> Integers:
    """Return the order in which dL/dt is kept: by sample, neuron and time. Rounding to a grid does not change it."""
    order: Integers = np.lexsort((trains.times, trains.neurons, trains.samples))
    return order


def answer_of(computed: records.Record, evidence: Evidence) -> Answer:
    """Return what a run says, in the layout of the record."""
    record, h, n = evidence.record, evidence.time_step, max(1, evidence.problem.n_samples)
    spikes = {name: rows_of(computed.spikes[name], h) for name in evidence.spikes}
    numbers: dict[Place, Reals] = {}
    samples: dict[Place, Reals] = {}
    scale: dict[Place, float] = {}
    share = n if record.reduction == "mean" else 1
    for quantity, place in evidence.numbers:
        terms = (
            CANCELLED / ROUNDINGS * evidence.rounding.get((quantity, place), 0.0)
        )  # of a sample's own loss
        if quantity == "spike_times":
            found = computed.spike_times.get(place)  # type: ignore[arg-type]
            if found is not None:
                values = found[by_neuron(computed.trains[place])]  # type: ignore[index]
                numbers[quantity, place] = values = values / share
                least = terms * math.sqrt(values.size) / share
                scale[quantity, place] = max(float(np.linalg.norm(values)), least)
            continue
        rows = _rows(computed, quantity, place)
        if rows is None:
            continue
        samples[quantity, place] = rows
        numbers[quantity, place] = reduced(rows, record.reduction)
        sizes = np.abs(rows) if record.reduction == "none" else np.abs(rows).sum(axis=0) / share
        least = terms * math.sqrt(sizes.size) * (n if record.reduction == "sum" else 1)
        scale[quantity, place] = max(float(np.linalg.norm(sizes)), least)
    return Answer(spikes, numbers, samples, scale)


def _rows(computed: records.Record, quantity: str, place: Any) -> Reals | None:
    """Return a quantity of every sample, or None if it was not computed."""
    if quantity == "loss":
        return computed.loss_values
    return computed.gradients.get(quantity, {}).get(place)


def reduced(rows: Reals, reduction: str) -> Reals:
    """Return values of every sample reduced over the batch."""
    if reduction == "none":
        return rows
    total: Reals = rows.sum(axis=0)
    return total / max(1, rows.shape[0]) if reduction == "mean" else total


# -- how far they are apart ------------------------------------------------------------------------------------------


def mismatch(evidence: Evidence, said: Mapping[str, Integers]) -> int:
    """Return how many spikes only the record or only an answer has."""
    return sum(differing(rows, said[name]) for name, rows in evidence.beside(said).items() if name in said)


def differing(got: Integers, said: Integers) -> int:
    """Return how many rows only one of two arrays has."""
    if got.shape == said.shape and np.array_equal(got, said):
        return 0
    a, b = _codes(got, said)
    one, first = np.unique(a, return_counts=True)
    two, second = np.unique(b, return_counts=True)
    both, i, j = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    return int(a.size + b.size - 2 * np.minimum(first[i], second[j]).sum()) if both.size else a.size + b.size


def distance(evidence: Evidence, said: Mapping[str, Integers]) -> float:
    """Return the sum of distances, in steps, between recorded spikes and those of an answer, neuron by neuron in order.

    A missing or extra spike counts as much as one that is far away.
    """
    far = FAR if evidence.clocked else max(1, round(evidence.problem.t_end / evidence.time_step / 50))
    return sum(
        _distance(rows, said[name], far) for name, rows in evidence.beside(said).items() if name in said
    )


def _distance(got: Integers, said: Integers, far: int) -> float:
    one, two = (_ranked(rows) for rows in (got, said))
    a, b = _codes(*(rows[:, [0, 3, 2]] for rows in (one, two)))  # sample, rank and neuron
    _, i, j = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    apart = np.minimum(np.abs(one[i, 1] - two[j, 1]), far)
    return float(apart.sum()) + far * (len(a) + len(b) - 2 * len(i))


def _ranked(rows: Integers) -> Integers:
    """Return rows with the rank of each spike among those of its neuron in its sample."""
    rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (np.diff(rows[:, [0, 2]], axis=0) != 0).any(axis=1)
    first = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
    return np.column_stack([rows, np.arange(len(rows)) - first])


def moved_beside(got: Integers, said: Integers, within: int, *, of_any: bool = False) -> Integers:
    """Return rows moved onto the nearest other row of the same neuron, or ``of_any``, where it is near enough."""
    if not (within and got.size and said.size):
        return got
    whose = np.concatenate([got, said])[:, [0] if of_any else [0, 2]]
    group = np.unique(whose, axis=0, return_inverse=True)[1].reshape(-1)
    steps, n = np.append(got[:, 1], said[:, 1]), group.size
    order = np.lexsort((steps, group))  # of equal ones, those that are moved come first
    place, is_said = np.arange(n), order >= len(got)
    before = np.maximum.accumulate(np.where(is_said, place, -1))
    after = np.minimum.accumulate(np.where(is_said, place, n)[::-1])[::-1]
    moves = np.zeros((2, n), dtype=np.int64)
    for move, at in zip(moves, (before, after), strict=True):
        there = order[np.clip(at, 0, n - 1)]
        same = (at >= 0) & (at < n) & (group[there] == group[order])
        move[order] = np.where(same, steps[there] - steps[order], 4 * LAST_STEP)
    nearest = np.where(np.abs(moves[0]) <= np.abs(moves[1]), *moves)[: len(got)]
    moved = got.copy()
    moved[:, 1] += np.where(np.abs(nearest) <= within, nearest, 0)
    return moved[np.lexsort((moved[:, 2], moved[:, 1], moved[:, 0]))]


def _codes(*rows: Integers) -> list[Integers]:
    """Return every row as one number."""
    every = np.concatenate([np.zeros((1, 3), dtype=np.int64), *rows])
    low, high = every.min(axis=0), every.max(axis=0)
    samples, steps, neurons = high - low + 1
    if float(samples) * float(steps) * float(neurons) > 2.0**62:
        whole = np.unique(np.concatenate(rows), axis=0, return_inverse=True)[1].reshape(-1)
        return np.split(whole, np.cumsum([len(r) for r in rows])[:-1])
    return [((r[:, 0] - low[0]) * steps + (r[:, 1] - low[1])) * neurons + (r[:, 2] - low[2]) for r in rows]


def misfit(got: Reals, said: Reals, scale: float) -> float:
    """Return the distance of numbers from others, relative to their scale; inf if they cannot be compared."""
    if got.shape != said.shape or not (np.isfinite(got).all() and np.isfinite(said).all()):
        return np.inf
    error = float(np.linalg.norm(got - said))
    if not np.isfinite(error):  # the squares are beyond float64
        largest = max(float(np.abs(got).max()), float(np.abs(said).max()))
        error = largest * float(np.linalg.norm(got / largest - said / largest))
    return error / scale if scale > 0 else (0.0 if error == 0 else np.inf)


def relative(got: Reals, said: Reals) -> float:
    """Return the relative error of numbers, computed as in a comparison; inf if they cannot be compared."""
    if got.shape != said.shape:
        return np.inf
    found = agreement(said, got).relative_error
    return found if np.isfinite(found) else np.inf


def misfits(evidence: Evidence, answer: Answer) -> dict[Place, float]:
    """Return the misfit of every number of the record, inf where the answer has none."""
    return {
        place: misfit(got, answer.numbers[place], answer.scale[place]) if place in answer.numbers else np.inf
        for place, got in evidence.numbers.items()
    }
