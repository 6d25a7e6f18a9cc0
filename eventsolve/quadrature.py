"""Where a running loss is read: Gauss-Legendre sums over the pieces between events, on which V is analytic.

Pieces are cut so that V moves by less than the distance to the nearest complex singularity of what is integrated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eventsolve.network import Network
from eventsolve.typing import Reals

if TYPE_CHECKING:
    from eventsolve.solution import Solution


NODES = 12
"""Of the longest pieces, as :func:`_pieces` cuts them: the sum is right to 1e-18 of the integrand's size."""
MOST_VOLTAGES = 2**30
"""Voltages at all nodes, eight gibibytes: what may be more is refused."""


class Nodes(NamedTuple):
    """Where a running loss is read: times in seconds and weights (0 for padding), (n_samples, n_nodes), and voltages.

    ``voltages`` are (n_samples, n_neurons, n_nodes); the weights of a sample add up to 1.
    """

    times: Reals
    weights: Reals
    voltages: Reals


def require_continuous(network: Network, population: str, t_start: float, t_end: float) -> None:
    """Raise a ValueError unless a running loss can be read from a population between two times."""
    if any(p.synapse == "delta" for p in network.afferents(population)):
        raise ValueError(
            f"a running loss needs continuous voltages, but {population!r} has delta synapses; read its voltages at "
            "fixed times with SampledVoltage"
        )
    if not t_end > t_start:
        raise ValueError(f"a mean over the trial needs t_end > {t_start!r}; got {t_end!r}")


def nodes_of(solution: Solution, population: str) -> Nodes:
    """Return the quadrature of the mean over the trial."""
    layer = solution.layer(population)
    require_continuous(solution.network, population, solution.t_start, solution.t_end)
    span = solution.t_end - solution.t_start
    place = layer.slice_of(population)
    if place.stop == place.start:
        empty = np.zeros((solution.n_samples, 0))
        return Nodes(empty, empty, np.zeros((solution.n_samples, 0, 0)))
    shortest = float(min(layer.neurons.tau_mem[place].min(), layer.neurons.tau_syn[place].min()))
    edges = solution.event_times(population)
    padded = np.full((solution.n_samples, max((e.size for e in edges), default=0)), solution.t_end)
    for s, e in enumerate(edges):
        padded[s, : e.size] = e
    voltage, current = solution.states_at(population, padded)
    swing = np.maximum(np.abs(voltage), np.abs(current)).max(axis=(1, 2), initial=0.0)
    longest = shortest / (1.0 + 0.5 * swing)
    most = max(
        (float(np.ceil(np.diff(e) / cut).sum()) for e, cut in zip(edges, longest, strict=True)), default=0.0
    )
    n_voltages = most * NODES * solution.n_samples * (place.stop - place.start)
    if n_voltages > MOST_VOLTAGES:
        raise ValueError(
            f"a running loss on {population!r} would read up to {n_voltages:.3g} voltages, of at most {MOST_VOLTAGES}: "
            f"between its times none moves by much more than 1, and they reach {swing.max():.3g} in {span:.3g} s; take "
            "fewer samples at once, smaller weights, or SampledVoltage, which reads at fixed times"
        )
    found = [_nodes_between(_pieces(e, most), most) for e, most in zip(edges, longest, strict=True)]
    n_nodes = max((places.size for places, _ in found), default=0)
    times, weights = np.full((len(found), n_nodes), solution.t_end), np.zeros((len(found), n_nodes))
    for s, (places, shares) in enumerate(found):
        times[s, : places.size] = places
        weights[s, : places.size] = shares / span
    return Nodes(times, weights, solution.states_at(population, times)[0])


def _nodes_between(edges: Reals, longest: float) -> tuple[Reals, Reals]:
    """Return the nodes of all pieces, in order, and their weights.

    A rule of n nodes is right to rho^(-2n), rho the sum of the half axes of the largest ellipse, its foci at the ends
    of the piece, in which what is integrated is analytic (Trefethen 2008, theorem 4.5). For the longest pieces, of half
    length 1, that reaches 2.9, so that rho = 5.6; for pieces r times as long it reaches 1 + 1.9/r of their half length.
    """
    length = np.diff(edges)
    # an empty piece has no length, and one node of weight 0
    away = 1.0 + 1.9 * longest / np.maximum(length, 1e-9 * longest)
    digits = np.log10(away + np.sqrt(away * away - 1.0))
    n = np.clip(np.ceil(9.0 / digits), 1, NODES).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(n)])
    times, weights = np.empty(first[-1]), np.empty(first[-1])
    for count in np.unique(n):
        x, w = np.polynomial.legendre.leggauss(int(count))
        of = np.flatnonzero(n == count)
        places = first[of][:, None] + np.arange(count)
        times[places] = edges[of][:, None] + length[of][:, None] * (0.5 * (x + 1.0))
        weights[places] = length[of][:, None] * (0.5 * w)
    return times, weights


def _pieces(edges: Reals, longest: float) -> Reals:
    """Return the edges with more between them, so that none are further apart than that."""
    counts = np.maximum(1, np.ceil(np.diff(edges) / longest)).astype(np.int64)
    parts = [
        np.linspace(a, b, n, endpoint=False) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return np.concatenate([*parts, edges[-1:]])
