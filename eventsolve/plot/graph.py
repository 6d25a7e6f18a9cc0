"""A network as a graph: populations from left to right, as spikes travel."""

from __future__ import annotations

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from eventsolve.checks import instance
from eventsolve.network import LI, Network, Population, Projection
from eventsolve.plot.style import QUIET, SERIES, axes, named

_APART = 2.7, 1.5
"""Between columns and rows."""
_BOX = 28.0
"""Half of what an arrow leaves free around the middle of a population, in points."""


def network(network: Network, *, ax: Axes | None = None) -> Axes:
    """Draw populations with their sizes, and projections with their numbers of synapses and delays.

    Populations of one cycle stand above each other.
    """
    instance("network", network, Network)
    graph = network.graph
    place = _places(graph)
    right = max((x for x, _ in place.values()), default=0.0)
    up = max((y for _, y in place.values()), default=0.0)
    ax = axes(ax, 2.0 + 1.2 * right, 2.3 + 2.4 * up)
    for name, population in network.populations.items():
        ax.text(
            *place[name],
            f"{named(name)}\n{_kind(population)}",
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": _color(population)},
            zorder=3,
        )
    between: dict[frozenset[str], int] = {}
    reach = up
    for projection in network.projections.values():
        ends = frozenset((projection.pre, projection.post))
        nth = between.get(ends, 0)
        between[ends] = nth + 1
        reach = max(reach, abs(_arrow(ax, projection, place, nth)))
    ax.set(xlim=(-0.7, right + 0.7), ylim=(-reach - 0.5, reach + 0.5))
    ax.set_aspect("equal")  # so that a label finds the middle of a bent arrow
    ax.axis("off")
    return ax


def _places(graph: nx.MultiDiGraph) -> dict[str, tuple[float, float]]:
    components = nx.condensation(graph)
    place = {}
    for column, generation in enumerate(nx.topological_generations(components)):
        names = [name for c in sorted(generation) for name in sorted(components.nodes[c]["members"])]
        for row, name in enumerate(names):
            place[name] = _APART[0] * column, _APART[1] * ((len(names) - 1) / 2 - row)
    return place


def _kind(population: Population) -> str:
    kind = "input" if population.neuron is None else type(population.neuron).__name__
    return f"{population.size} {kind}"


def _color(population: Population) -> str:
    if population.neuron is None:
        return QUIET
    return SERIES[2] if isinstance(population.neuron, LI) else SERIES[0]


def _words(projection: Projection) -> str:
    low, high = (f * 1e3 for f in (projection.delay.min(initial=np.inf), projection.delay.max(initial=0.0)))
    n = projection.weights.size
    parts = [f"{n} synapse{'' if n == 1 else 's'}"]
    if high > 0:
        parts.append(f"{low:.3g} ms" if low == high else f"{low:.3g}..{high:.3g} ms")
    if projection.synapse == "delta":
        parts.append("delta")
    if len(projection.key) > 2:
        parts.insert(0, projection.key[2])
    return "\n".join(parts)


def _arrow(ax: Axes, projection: Projection, place: dict[str, tuple[float, float]], nth: int) -> float:
    """Draw the nth arrow between two populations, each bent further and to the other side; return its label's y."""
    (x0, y0), (x1, y1) = place[projection.pre], place[projection.post]
    color = SERIES[1] if projection.synapse == "delta" else "#000000"
    if projection.pre == projection.post:
        side = 1 if y0 >= 0 else -1
        ends, gap, bend = ((x0 - 0.22, y0), (x1 + 0.22, y1)), 16.0, -side * (3.0 + 1.4 * nth)
        words = x0, y0 + side * (0.68 + 0.31 * nth)
    else:
        if abs(x1 - x0) == _APART[0]:
            bend = 0.4 * (-1) ** nth * ((nth + 1) // 2)
        else:  # past what stands between, and there and back on two sides
            bend = 0.5 * (-1) ** (nth * (x0 != x1)) * (1 + nth // 2)
        ends, gap = ((x0, y0), (x1, y1)), _BOX
        words = (x0 + x1) / 2 + 0.5 * bend * (y1 - y0), (y0 + y1) / 2 - 0.5 * bend * (x1 - x0)
    ax.add_patch(
        FancyArrowPatch(
            *ends,
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=gap,
            shrinkB=gap,
            arrowstyle="-|>",
            mutation_scale=12,
            color=color,
            linewidth=1.1,
            zorder=2,
        )
    )
    ax.text(
        *words,
        _words(projection),
        ha="center",
        va="center",
        fontsize=7.5,
        color=color,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        zorder=2.5,
    )
    return words[1]
