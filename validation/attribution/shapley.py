"""What players contribute to a game whose worth is a vector: along one order, and averaged over orders (Shapley 1953).

The Shapley value of a player is the change of the worth when the player joins, averaged over all orders in which
players may join. Along every order the changes add up to the whole, and so do their means. Orders are sampled in pairs
of an order and its reverse, each of which is uniform: a player that joins early in one joins late in the other
(Mitchell et al., *Sampling permutations for Shapley value estimation*, 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eventsolve.typing import Reals

Coalition = frozenset[str]


@dataclass(frozen=True, eq=False)
class Shapley:
    """Estimates from pairs of orders.

    Attributes
    ----------
    values : ndarray of float64, (n_players, n)
    standard_errors : ndarray of float64, (n_players, n)
        Of sampling orders; inf with a single pair.
    n_pairs : int
    """

    values: Reals
    standard_errors: Reals
    n_pairs: int


def path(order: Sequence[str]) -> list[Coalition]:
    """Return who has joined before, and after each player of an order, (n_players + 1,)."""
    return [frozenset(order[:k]) for k in range(len(order) + 1)]


def changes(order: Sequence[str], players: Sequence[str], worth: Mapping[Coalition, Reals]) -> Reals:
    """Return by how much the worth changes as each player joins, (n_players, n), in the order of ``players``."""
    steps = np.diff([worth[coalition] for coalition in path(order)], axis=0)
    rank = {name: k for k, name in enumerate(order)}
    return np.asarray(steps[[rank[name] for name in players]])


def order_pairs(players: Sequence[str], seed: int) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield random orders, each with its reverse, for ever; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    while True:
        order = tuple(players[k] for k in rng.permutation(len(players)))
        yield order, order[::-1]


def estimated(pairs: Sequence[Reals]) -> Shapley:
    """Return the mean over pairs of orders, and its standard error.

    Parameters
    ----------
    pairs : sequence of ndarray of float64, (n_players, n)
        Means of :func:`changes` along an order and its reverse; at least one.
    """
    stacked = np.stack(pairs)
    n = stacked.shape[0]
    errors = np.full(stacked.shape[1:], np.inf) if n == 1 else stacked.std(axis=0, ddof=1) / np.sqrt(n)
    return Shapley(stacked.mean(axis=0), errors, n)
