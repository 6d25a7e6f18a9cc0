"""Spikes, and how near others are to appearing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from eventsolve.checks import first_entry, index, instance, real_array
from eventsolve.plot.style import EXACT, FEW, QUIET, SERIES, axes
from eventsolve.spiketrains import SpikeTrains


def raster(
    trains: SpikeTrains,
    *,
    sample: int = 0,
    ax: Axes | None = None,
    color: str = EXACT,
    label: str | None = None,
    offset: float = 0.0,
) -> Axes:
    """Draw one sample's spikes, a row for every neuron.

    Parameters
    ----------
    trains : SpikeTrains
    sample : int
    ax : Axes, optional
    color, label : str
    offset : float
        By how many rows the ticks are moved up, so that two trains can share a row.

    Raises
    ------
    TypeError
        If they are no SpikeTrains.
    ValueError
        If there is no such sample.
    """
    instance("trains", trains, SpikeTrains)
    here = trains.samples == index("sample", sample, trains.n_samples)
    few = trains.n_neurons <= FEW
    ax = axes(ax)
    ax.plot(
        trains.times[here] * 1e3,
        trains.neurons[here] + offset,
        "|",
        color=color,
        markersize=9 if few else 4,
        markeredgewidth=1.3,
        label=label,
    )
    ax.set(xlabel="time (ms)", ylabel="neuron", ylim=(-0.9, max(trains.n_neurons, 1) - 0.1))
    if few:
        ax.set_yticks(range(trains.n_neurons))
    return ax


def margin_strips(margins: Mapping[str, ArrayLike], *, unit: str, ax: Axes | None = None) -> Axes:
    """Draw how far off each of many events is, one strip of ticks for each kind, on a logarithmic axis.

    Parameters
    ----------
    margins : mapping of str to array_like, (n,)
        By kind, >= 0; inf where there is none, which is not drawn. A margin of 0 stands as a circle at the left edge.
    unit : str
        Of the margins, for the axis.

    Raises
    ------
    ValueError
        If there is no kind, or a margin is negative or NaN.
    """
    instance("margins", margins, Mapping)
    if not margins:
        raise ValueError("margins must name at least one kind")
    strips = {kind: real_array(f"margins[{kind!r}]", given).reshape(-1) for kind, given in margins.items()}
    for kind, values in strips.items():
        bad = ~(values >= 0)
        if bad.any():
            raise ValueError(f"margins[{kind!r}] must be >= 0; {first_entry(values, bad)}")
    drawn = np.concatenate([v[(v > 0) & np.isfinite(v)] for v in strips.values()])
    low = 10.0 ** np.floor(np.log10(drawn.min())) / 10 if drawn.size else 0.1
    ax = axes(ax, height=0.6 + 0.5 * len(strips))
    for row, (kind, values) in enumerate(strips.items()):
        finite = values[(values > 0) & np.isfinite(values)]
        color = SERIES[row % len(SERIES)]
        ax.plot(finite, np.full(finite.size, row), "|", color=color, markersize=14, alpha=0.6, label=kind)
        if finite.size:
            ax.plot(finite.min(), row, "o", color=color, markersize=5)
        n_zero = int(np.count_nonzero(values == 0))
        if n_zero:
            ax.plot(low, row, "o", color="#000000", markerfacecolor="none", markersize=7)
            ax.annotate(f"{n_zero} at 0", (low, row), (8, 6), textcoords="offset points", fontsize=8)
    ax.set_xscale("log")
    ax.set(xlabel=f"margin ({unit})", ylim=(len(strips) - 0.5, -0.5), xlim=(low / 1.5, None))
    ax.set_yticks(range(len(strips)), list(strips))
    ax.grid(axis="x", color=QUIET, alpha=0.25, linewidth=0.5)
    return ax
