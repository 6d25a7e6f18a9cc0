"""Where a running loss is read: Gauss-Legendre sums over the pieces between events, on which V is analytic.

Pieces are cut so that V moves by less than the distance to the nearest complex singularity of what is integrated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.network import Network

if TYPE_CHECKING:
    from eventsolve.solution import Solution

Reals = NDArray[np.float64]

NODES = 12
"""Per piece: with V within a piece as :func:`_pieces` cuts it, the sum is right to 1e-18 of the integrand's size."""


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
    padded = np.full((solution.n_samples, max(e.size for e in edges)), solution.t_end)
    for s, e in enumerate(edges):
        padded[s, : e.size] = e
    voltage, current = solution.states_at(population, padded)
    swing = np.maximum(np.abs(voltage), np.abs(current)).max(axis=(1, 2), initial=0.0)
    x, w = np.polynomial.legendre.leggauss(NODES)
    x, w = 0.5 * (x + 1.0), 0.5 * w
    pieces = [_pieces(e, shortest / (1.0 + 0.5 * a)) for e, a in zip(edges, swing, strict=True)]
    n_nodes = max(p.size - 1 for p in pieces) * NODES
    times, weights = np.full((len(pieces), n_nodes), solution.t_end), np.zeros((len(pieces), n_nodes))
    for s, p in enumerate(pieces):
        length = np.diff(p)
        times[s, : length.size * NODES] = (p[:-1, None] + length[:, None] * x).reshape(-1)
        weights[s, : length.size * NODES] = (length[:, None] * w).reshape(-1) / span
    return Nodes(times, weights, solution.states_at(population, times)[0])


def _pieces(edges: Reals, longest: float) -> Reals:
    """Return the edges with more between them, so that none are further apart than that."""
    counts = np.maximum(1, np.ceil(np.diff(edges) / longest)).astype(np.int64)
    parts = [
        np.linspace(a, b, n, endpoint=False) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return np.concatenate([*parts, edges[-1:]])
