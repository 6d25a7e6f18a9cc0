"""What each approximation of a target contributes to its error: alone, in sequence, and averaged over sequences."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from eventsolve.checks import count
from eventsolve.frozen import Frozen
from eventsolve.jobs import as_finished
from eventsolve.typing import Key, Reals
from validation.attribution.ablation import Ablation, observe
from validation.attribution.shapley import Coalition, Shapley, changes, estimated, order_pairs, path

LEAST_PAIRS = 16
"""Pairs of orders before a standard error is trusted: fewer pairs may all miss an effect that few orders have."""


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Frozen):
    """What every cause of an ablation contributes. Rows of arrays are causes; columns are the observed numbers.

    Attributes
    ----------
    ablation : Ablation
    alone : ndarray of float64, (n_causes, n)
        Change from the exact system when only this cause is turned on.
    without : ndarray of float64, (n_causes, n)
        Change when this cause is turned on last, after all others.
    order : tuple of str
        The causes in the order in which the sequence turns them on.
    levels : ndarray of float64, (n_causes + 1, n)
        Observed numbers with no cause, and after each cause of the sequence; the last row is the target's.
    shapley : Shapley or None
        None before the first pair of orders.
    settled : bool
        Whether sampling errors are within the tolerance that was asked for.
    n_runs : int
        How many different sets of causes were run.
    """

    ablation: Ablation
    alone: Reals
    without: Reals
    order: tuple[str, ...]
    levels: Reals
    shapley: Shapley | None
    settled: bool
    n_runs: int

    @property
    def errors(self) -> dict[str, float]:
        """The target's error of every quantity."""
        n = len(self.ablation.quantities)
        return dict(zip(self.ablation.quantities, self.levels[-1, :n].tolist(), strict=True))

    def waterfall(self, quantity: str) -> dict[str, float]:
        """Return a quantity's error with no cause, as "none", and how much each cause of the sequence adds to it.

        They add up to the target's error.
        """
        column = self._column(quantity)
        steps = np.diff(self.levels[:, column]).tolist()
        return {"none": float(self.levels[0, column]), **dict(zip(self.order, steps, strict=True))}

    def blame(self, quantity: str) -> dict[str, tuple[float, float]]:
        """Return the Shapley value of every cause and its standard error; empty before the first pair of orders."""
        if self.shapley is None:
            return {}
        column = self._column(quantity)
        found = zip(self.shapley.values[:, column], self.shapley.standard_errors[:, column], strict=True)
        return {
            name: (float(value), float(error))
            for name, (value, error) in zip(self.ablation.causes, found, strict=True)
        }

    def synapses(self, key: Key) -> dict[str, Reals]:
        """Return the Shapley value of every cause in the batch-mean dL/dw of a projection, (n_post, n_pre) each.

        With the gradient that no cause gives they add up to the target's, synapse by synapse.
        """
        if self.shapley is None:
            return {}
        values = self.ablation.gradients(self.shapley.values)[key]
        return dict(zip(self.ablation.causes, values, strict=True))

    def shares(self, key: Key) -> dict[str, float]:
        """Return each cause's share of a projection's error, "none" first; shares add up to 1.

        The error is a vector, the sum of the causes' contributions. A share is the component of a contribution along
        the error, relative to the error. It is negative where a cause makes the error smaller.
        """
        exact = self.ablation.exact_means[key]
        none, whole = self.ablation.gradients(self.levels[[0, -1]])[key]
        error = whole - exact
        square = float(np.vdot(error, error))
        if square == 0:
            return {}
        parts = {"none": none - exact} | self.synapses(key)
        return {name: float(np.vdot(part, error)) / square for name, part in parts.items()}

    def _column(self, quantity: str) -> int:
        if quantity not in self.ablation.quantities:
            raise ValueError(
                f"quantity must be one of {', '.join(self.ablation.quantities)}; got {quantity!r}"
            )
        return self.ablation.quantities.index(quantity)


def attribute(
    ablation: Ablation,
    *,
    order: Sequence[str] | None = None,
    seed: int = 0,
    tolerance: float = 0.02,
    max_pairs: int = 64,
    executor: Executor | None = None,
    ran: Callable[[int], object] | None = None,
) -> Iterator[Attribution]:
    """Yield increasingly accurate attributions: first without Shapley values, then after every pair of orders.

    It ends when every standard error is at most ``tolerance`` times the target's error of the same quantity, or after
    ``max_pairs``. The result does not depend on the executor.

    Parameters
    ----------
    ablation : Ablation
    order : sequence of str, optional
        The order of the sequence; by default that of the causes.
    seed : int
        Seed of the sampled orders.
    tolerance : float
        Of the standard errors, relative to the target's error; > 0.
    max_pairs : int
        Largest number of pairs of orders; 0 for no Shapley values.
    executor : Executor, optional
        For the runs of different sets of causes.
    ran : callable, optional
        Called after each set of causes with the number of sets that have been run.

    Raises
    ------
    ValueError
        If ``order`` does not hold every cause of the ablation once, the tolerance is not > 0, or a set of causes
        cannot be run.
    """
    players = ablation.causes
    sequence = players if order is None else tuple(order)
    if sorted(sequence) != sorted(players):
        raise ValueError(f"order must hold each of {', '.join(players)} once; got {', '.join(sequence)}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be > 0; got {tolerance!r}")
    most = count("max_pairs", max_pairs)
    worth: dict[Coalition, Reals] = {}

    def ensure(coalitions: Iterable[Coalition]) -> None:
        missing = [c for c in dict.fromkeys(coalitions) if c not in worth]
        for coalition, values in as_finished(functools.partial(observe, ablation), missing, executor):
            worth[coalition] = values
            if ran is not None:
                ran(len(worth))

    everyone, nobody = frozenset(players), frozenset[str]()
    _ = ablation.quantities  # before the ablation travels to other processes
    ensure([*path(sequence), *(c for p in players for c in (frozenset({p}), everyone - {p}))])
    result = Attribution(
        ablation,
        alone=np.stack([worth[frozenset({p})] - worth[nobody] for p in players]),
        without=np.stack([worth[everyone] - worth[everyone - {p}] for p in players]),
        order=sequence,
        levels=np.stack([worth[c] for c in path(sequence)]),
        shapley=None,
        settled=False,
        n_runs=len(worth),
    )
    yield result
    n = len(ablation.quantities)
    limits = tolerance * worth[everyone][:n]
    pairs: list[Reals] = []
    for one, other in order_pairs(players, seed):
        if result.settled or len(pairs) >= most:
            return
        ensure([*path(one), *path(other)])
        pairs.append((changes(one, players, worth) + changes(other, players, worth)) / 2)
        shapley = estimated(pairs)
        settled = len(pairs) >= LEAST_PAIRS and bool((shapley.standard_errors[:, :n] <= limits).all())
        result = Attribution(
            ablation, result.alone, result.without, sequence, result.levels, shapley, settled, len(worth)
        )
        yield result
