"""The spikes of two records, paired: which match, which are missed or extra, how far they moved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eventsolve.checks import seconds
from eventsolve.frozen import Frozen
from eventsolve.kinds import require_shapes
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Integers, Reals


@dataclass(frozen=True, eq=False, repr=False)
class SpikeMatch(Frozen):
    """The spikes of one population, paired.

    Attributes
    ----------
    population : str
    exact, model : SpikeTrains
    window : float
        Seconds; spikes further apart than this are not paired.
    exact_index, model_index : ndarray of int64, (n_matched,)
        Places of the paired spikes in ``exact.times`` and ``model.times``, by sample, neuron and time.
    missed, extra : ndarray of int64
        Places in ``exact.times`` of spikes without partner, and in ``model.times``.
    """

    population: str
    exact: SpikeTrains
    model: SpikeTrains
    window: float
    exact_index: Integers
    model_index: Integers
    missed: Integers
    extra: Integers

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, exact_index="n", model_index="n", missed="m", extra="e")

    @cached_property
    def shift(self) -> Reals:
        """How much later each paired spike is in the model, (n_matched,), seconds."""
        shift: Reals = self.model.times[self.model_index] - self.exact.times[self.exact_index]
        return shift

    @property
    def mean_shift(self) -> float:
        """Mean of :attr:`shift` in seconds, 0 without pairs."""
        return float(self.shift.mean()) if self.shift.size else 0.0

    @property
    def max_shift(self) -> float:
        """Largest absolute :attr:`shift` in seconds, 0 without pairs."""
        return float(np.abs(self.shift).max(initial=0.0))


def match_spikes(population: str, exact: SpikeTrains, model: SpikeTrains, window: float) -> SpikeMatch:
    """Pair the spikes of every neuron in every sample, in order.

    Among all pairings that keep the order of the spikes and pair none further apart than ``window`` seconds,
    take one with the most pairs, and among those one with the smallest sum of absolute shifts.
    """
    window = seconds("window", window)
    if not window >= 0:
        raise ValueError(f"window must be >= 0 seconds; got {window!r}")
    for what in ("n_samples", "n_neurons"):
        a, b = getattr(exact, what), getattr(model, what)
        if a != b:
            raise ValueError(f"spikes of {population!r} must agree in {what}; got exact {a} and model {b}")
    n_trains = exact.n_samples * exact.n_neurons
    order_e, train_e, starts_e = _by_train(exact, n_trains)
    order_m, train_m, starts_m = _by_train(model, n_trains)
    count_e, count_m = np.diff(starts_e), np.diff(starts_m)
    simple = count_e == count_m
    first, second = order_e[simple[train_e]], order_m[simple[train_m]]
    apart = np.abs(model.times[second] - exact.times[first]) > window
    simple[train_e[simple[train_e]][apart]] = False
    pairs = [
        (order_e[simple[train_e]], order_m[simple[train_m]])
    ]  # one to one is optimal where it is allowed
    hard = np.flatnonzero(~simple & (count_e > 0) & (count_m > 0))
    hard = hard[np.argsort(count_e[hard] * count_m[hard], kind="stable")]
    while hard.size:
        n, m = count_e[hard].max() + 1, count_m[hard].max() + 1
        chunk = hard[-max(1, int(4_000_000 // (n * m))) :]
        hard = hard[: hard.size - chunk.size]
        where_e, where_m = _padded(starts_e, count_e, chunk), _padded(starts_m, count_m, chunk)
        t_e = np.where(where_e >= 0, exact.times[order_e][where_e], np.inf)
        t_m = np.where(where_m >= 0, model.times[order_m][where_m], -np.inf)
        row, i, j = _best_pairs(t_e, t_m, window)
        pairs.append((order_e[where_e[row, i]], order_m[where_m[row, j]]))
    index_e, index_m = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
    rank = np.lexsort((exact.times[index_e], exact.neurons[index_e], exact.samples[index_e]))
    missed = np.setdiff1d(np.arange(exact.n_spikes), index_e)
    extra = np.setdiff1d(np.arange(model.n_spikes), index_m)
    return SpikeMatch(population, exact, model, window, index_e[rank], index_m[rank], missed, extra)


def all_paired(exact: SpikeTrains, model: SpikeTrains, window: float) -> bool:
    """Say whether :func:`match_spikes` would leave no spike without partner: no neuron has one more or one less."""
    mine, theirs = (_by_train(trains, trains.n_samples * trains.n_neurons) for trains in (exact, model))
    if not np.array_equal(mine[1], theirs[1]):
        return False
    return bool((np.abs(model.times[theirs[0]] - exact.times[mine[0]]) <= window).all())


def _by_train(trains: SpikeTrains, n_trains: int) -> tuple[Integers, Integers, Integers]:
    train = trains.samples * trains.n_neurons + trains.neurons
    order = np.lexsort((trains.times, train))
    return order, train[order], np.searchsorted(train[order], np.arange(n_trains + 1))


def _padded(starts: Integers, counts: Integers, chosen: Integers) -> Integers:
    slots = np.arange(counts[chosen].max())
    return np.where(slots < counts[chosen, None], starts[chosen, None] + slots, -1)


def _best_pairs(t_e: Reals, t_m: Reals, window: float) -> tuple[Integers, Integers, Integers]:
    """Align each row of two padded arrays; a pair's score is 1 less a penalty whose sum stays below 1."""
    n_rows, n = t_e.shape
    m = t_m.shape[1]
    score = np.zeros((n_rows, n + 1, m + 1))
    for k in range(n):
        shift = np.abs(t_m - t_e[:, k, None])
        allowed = shift <= window
        gain = np.full(shift.shape, -np.inf)
        gain[allowed] = 1.0 - (shift[allowed] / (window * (min(n, m) + 1)) if window else 0.0)
        best = score[:, k].copy()
        best[:, 1:] = np.maximum(best[:, 1:], score[:, k, :-1] + gain)
        score[:, k + 1] = np.maximum.accumulate(best, axis=1)
    rows, i, j = np.arange(n_rows), np.full(n_rows, n), np.full(n_rows, m)  # walk back from the last corner
    found: list[tuple[Integers, Integers, Integers]] = [(rows[:0], i[:0], j[:0])]
    while rows.size:
        here = score[rows, i, j]
        up = here == score[rows, i - 1, j]
        left = ~up & (here == score[rows, i, j - 1])
        pair = ~up & ~left
        found.append((rows[pair], i[pair] - 1, j[pair] - 1))
        i, j = i - (up | pair), j - (left | pair)
        going = (i > 0) & (j > 0)
        rows, i, j = rows[going], i[going], j[going]
    row, first, second = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return row, first, second
