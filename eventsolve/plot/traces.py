"""States over time, and their adjoints, drawn piece by piece: no line joins the two sides of an event."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from eventsolve.adjoint_states import AdjointStates
from eventsolve.checks import index, instance
from eventsolve.plot.style import EXACT, MODEL, QUIET, axes
from eventsolve.solution import Solution
from eventsolve.typing import Reals

POINTS = 800
"""Over the whole trial, spread over the pieces by their lengths; every piece has 8 at least."""


def voltage(
    solution: Solution,
    population: str,
    *,
    neuron: int = 0,
    sample: int = 0,
    ax: Axes | None = None,
    color: str = EXACT,
    label: str | None = None,
) -> Axes:
    """Draw one neuron's voltage, the fall from its threshold at every spike dotted, and its threshold dashed.

    Raises
    ------
    TypeError
        If it is no Solution.
    ValueError
        If the population is unknown or an input, or there is no such neuron or sample.
    """
    instance("solution", solution, Solution)
    ax = _drawn(
        solution, population, neuron, sample, solution.event_times, solution.voltage, axes(ax), color, label
    )
    parameters = solution.network.population(population)
    spikes = solution.spikes[population]
    own = spikes.times[(spikes.samples == sample) & (spikes.neurons == neuron)]
    if own.size:
        places = np.concatenate([np.nextafter(own, -np.inf).clip(solution.t_start), own])
        before, after = solution.voltage(population, places)[sample, neuron].reshape(2, -1)
        ax.vlines(own * 1e3, after, before, color=color, linestyle=":", linewidth=1.0)
    threshold = float(parameters.parameter("v_threshold")[neuron])
    if np.isfinite(threshold):
        ax.axhline(threshold, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    ax.set_ylabel("V (unit of weight)")
    return ax


def current(
    solution: Solution,
    population: str,
    *,
    neuron: int = 0,
    sample: int = 0,
    ax: Axes | None = None,
    color: str = EXACT,
    label: str | None = None,
) -> Axes:
    """Draw one neuron's synaptic current; errors as for :func:`voltage`."""
    instance("solution", solution, Solution)
    ax = _drawn(
        solution, population, neuron, sample, solution.event_times, solution.current, axes(ax), color, label
    )
    ax.set_ylabel("I (unit of weight)")
    return ax


def adjoint_voltage(
    states: AdjointStates,
    population: str,
    *,
    neuron: int = 0,
    sample: int = 0,
    ax: Axes | None = None,
    color: str = MODEL,
    label: str | None = None,
) -> Axes:
    """Draw dL/dV of one neuron, which jumps at its spikes; errors as for :func:`voltage`."""
    return _adjoint_drawn(states, "voltage", population, neuron, sample, ax, color, label)


def adjoint_current(
    states: AdjointStates,
    population: str,
    *,
    neuron: int = 0,
    sample: int = 0,
    ax: Axes | None = None,
    color: str = MODEL,
    label: str | None = None,
) -> Axes:
    """Draw dL/dI of one neuron, which has no jumps; errors as for :func:`voltage`."""
    return _adjoint_drawn(states, "current", population, neuron, sample, ax, color, label)


def _adjoint_drawn(
    states: AdjointStates,
    what: Literal["voltage", "current"],
    population: str,
    neuron: int,
    sample: int,
    ax: Axes | None,
    color: str,
    label: str | None,
) -> Axes:
    instance("states", states, AdjointStates)
    values = states.voltage if what == "voltage" else states.current
    ax = _drawn(
        states.solution, population, neuron, sample, states.event_times, values, axes(ax), color, label
    )
    ax.axhline(0.0, color=QUIET, linewidth=0.5, zorder=1)
    ax.set_ylabel(f"dL/d{'V' if what == 'voltage' else 'I'} (1 / unit of weight)")
    return ax


def _drawn(
    solution: Solution,
    population: str,
    neuron: int,
    sample: int,
    event_times: Callable[[str], list[Reals]],
    states: Callable[[str, Reals], Reals],
    ax: Axes,
    color: str,
    label: str | None,
) -> Axes:
    pieces = _checked_pieces(solution, population, neuron, sample, event_times)
    values = states(population, pieces.reshape(-1))[sample, neuron].reshape(pieces.shape)
    # a NaN after every piece lifts the pen
    gap = np.full((pieces.shape[0], 1), np.nan)
    times, heights = (np.hstack([a, gap]).reshape(-1) for a in (pieces * 1e3, values))
    ax.plot(times, heights, color=color, linewidth=1.4, solid_capstyle="round", label=label)
    ax.set_xlabel("time (ms)")
    if solution.t_end > solution.t_start:
        ax.set_xlim(solution.t_start * 1e3, solution.t_end * 1e3)
    return ax


def states_drawn(
    solution: Solution, population: str, neuron: int, sample: int, states: Callable[[str, Reals], Reals]
) -> Reals:
    """Return one neuron's states as they are drawn, (n_pieces, n_points): every piece between two events a row."""
    pieces = _checked_pieces(solution, population, neuron, sample, solution.event_times)
    values: Reals = states(population, pieces.reshape(-1))[sample, neuron].reshape(pieces.shape)
    return values


def _checked_pieces(
    solution: Solution, population: str, neuron: int, sample: int, event_times: Callable[[str], list[Reals]]
) -> Reals:
    """Return the times of all pieces, or raise a ValueError if there is no such neuron or sample."""
    solution.layer(population)
    index("neuron", neuron, solution.network.population(population).size)
    return _pieces(event_times(population)[index("sample", sample, solution.n_samples)])


def _pieces(edges: Reals) -> Reals:
    """Return the times at which to sample each piece, (n_pieces, n_points), up to the last float64 before its end."""
    pairs = [(a, np.nextafter(b, a)) for a, b in itertools.pairwise(edges)]
    pairs[-1:] = [(pairs[-1][0], edges[-1])] if pairs else [(edges[0], edges[0])]
    n_points = max(8, round(POINTS / len(pairs)))
    return np.stack([np.linspace(a, b, n_points) for a, b in pairs])
