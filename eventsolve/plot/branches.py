"""What an exact flow shows: branches with the events between them, phase portraits, return maps, who moves whom."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from eventsolve.checks import index, instance, real_array, require_one_of, shown
from eventsolve.dynamics import Branch, Continuation, Sensitivity
from eventsolve.plot.gradients import gradient_map
from eventsolve.plot.style import EXACT, MARKERS, MODEL, QUIET, SERIES, axes, named
from eventsolve.plot.traces import states_drawn
from eventsolve.solution import Solution
from eventsolve.typing import Owner, Reals

POINTS = 60
"""Of a curve over the whole range."""
STILL = 1e-9
"""Of the range of a state: what changes less at an event, from the float64 before it, does not jump."""
KINDS = ("graze", "cut", "lift", "end", "swap", "trigger", "release", "order")


def branches(
    continuation: Continuation,
    population: str,
    *,
    neuron: int | None = None,
    of: Literal["times", "intervals"] = "times",
    ax: Axes | None = None,
) -> Axes:
    """Draw every spike time, or interval between a neuron's spikes, against the value: a bifurcation diagram.

    Curves are straight between values that are solved anew; events of the neurons drawn are marks, by kind, at their
    value and time, hollow where no spike appears or vanishes, and all others thin lines.

    Parameters
    ----------
    continuation : Continuation
    population : str
    neuron : int, optional
        Only one of the population.
    of : {"times", "intervals"}
    ax : Axes, optional

    Raises
    ------
    TypeError
        If it is no Continuation.
    ValueError
        If the population or the neuron is unknown, or ``of`` is something else.
    """
    instance("continuation", continuation, Continuation)
    require_one_of("of", of, ("times", "intervals"))
    if not continuation.branches:
        raise ValueError("continuation must have a branch; got one that was ended before its first value")
    require_one_of("population", population, continuation.branches[0].neurons, ", those that spike")
    if neuron is not None:
        neuron = index("neuron", neuron, continuation.n_neurons(population))
    ax = axes(ax, 6.0, 3.6)
    for branch in continuation.branches:
        of_whom = branch.neurons[population]
        values, times = _curves(continuation, branch, population)
        for k in range(of_whom.size):
            if neuron is not None and of_whom[k] != neuron:
                continue
            color = SERIES[int(of_whom[k]) % len(SERIES)]
            if of == "times":
                ax.plot(values, times[:, k] * 1e3, color=color, linewidth=1.2)
            elif k and of_whom[k] == of_whom[k - 1]:
                ax.plot(values, (times[:, k] - times[:, k - 1]) * 1e3, color=color, linewidth=1.2)
    marked = set()
    for event in continuation.events:
        mine = event.population == population and neuron in (None, event.neuron)
        if mine and of == "times":
            label = None if event.kind in marked else event.kind
            marked.add(event.kind)
            mark = MARKERS[KINDS.index(event.kind) % len(MARKERS)]
            hollow = event.change == "keeps"
            ax.plot(
                event.value,
                event.time * 1e3,
                mark,
                color="#000000",
                markersize=4.5,
                markerfacecolor="none" if hollow else "#000000",
                label=label,
                zorder=3,
            )
        else:
            ax.axvline(event.value, color=QUIET, linewidth=0.5, alpha=0.6, zorder=0)
    ax.set(
        xlabel=named(continuation.parameter),
        ylabel="spike time (ms)" if of == "times" else "interval (ms)",
        xlim=continuation.over,
    )
    return ax


def _curves(continuation: Continuation, branch: Branch, population: str) -> tuple[Reals, Reals]:
    """Return values and spike times, (n, n_spikes), solved anew at values that lie closer near the ends of a branch.

    There, beside a spike that appears, times change like a root.
    """
    low, high = branch.values[[0, -1]]
    part = (high - low) / (continuation.over[1] - continuation.over[0])
    n = max(4, round(POINTS * part**0.5))
    inner = low + (high - low) * 0.5 * (1.0 - np.cos(np.pi * np.arange(1, n) / n))
    values, times = list(branch.values), list(branch.spike_times[population])
    for value in inner[(inner > low) & (inner < high)].tolist():
        trains = continuation.solution_at(value).spikes[population]
        if trains.n_spikes == branch.neurons[population].size:
            values.append(value)
            times.append(trains.times[np.lexsort((trains.times, trains.neurons))])
    order = np.argsort(values)
    return np.array(values)[order], np.stack(times)[order]


def phase_portrait(
    solution: Solution,
    population: str,
    *,
    neuron: int = 0,
    sample: int = 0,
    ax: Axes | None = None,
    color: str = EXACT,
    label: str | None = None,
) -> Axes:
    """Draw I against V of one neuron, from event to event; jumps at arrivals and resets are dotted.

    Raises
    ------
    TypeError
        If it is no Solution.
    ValueError
        If the population is unknown or an input, or there is no such neuron or sample.
    """
    instance("solution", solution, Solution)
    ax = axes(ax, 4.2, 3.6)
    voltages, currents = (
        states_drawn(solution, population, neuron, sample, states)
        for states in (solution.voltage, solution.current)
    )
    gap = np.full((voltages.shape[0], 1), np.nan)
    v, i = (np.hstack([values, gap]).reshape(-1) for values in (voltages, currents))
    ax.plot(v, i, color=color, linewidth=1.4, label=label)
    ends = np.stack([voltages[:-1, -1], voltages[1:, 0], currents[:-1, -1], currents[1:, 0]])
    sizes = [STILL * float(np.ptp(values)) for values in (voltages, currents)]
    jumps = ends[:, (np.abs(ends[0] - ends[1]) > sizes[0]) | (np.abs(ends[2] - ends[3]) > sizes[1])]
    ax.plot(jumps[:2], jumps[2:], color=color, linestyle=":", linewidth=0.9)
    ax.plot(voltages[:1, 0], currents[:1, 0], "o", color=color, markersize=4)
    threshold = float(solution.network.population(population).parameter("v_threshold")[neuron])
    if np.isfinite(threshold):
        ax.axvline(threshold, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    ax.set(xlabel="V (unit of weight)", ylabel="I (unit of weight)")
    return ax


def return_map(
    values: ArrayLike, *, ax: Axes | None = None, name: str = "interval (ms)", color: str = EXACT
) -> Axes:
    """Draw each of a sequence of numbers against the one before it; what comes back to itself lies on the dashed line.

    Parameters
    ----------
    values : array_like, (n,)
        For instance intervals between the spikes of a neuron, in milliseconds.
    ax : Axes, optional
    name : str
        What they are, and their unit.
    color : str

    Raises
    ------
    ValueError
        If they are not a vector of two or more finite numbers.
    """
    sequence = real_array("values", values)
    if sequence.ndim != 1 or sequence.size < 2 or not np.isfinite(sequence).all():
        raise ValueError(f"values must be a vector of two or more finite numbers; got {shown(values)}")
    ax = axes(ax, 3.6, 3.6)
    low, high = float(sequence.min()), float(sequence.max())
    room = 0.05 * (high - low) or 1.0
    ends = (low - room, high + room)
    ax.plot(ends, ends, "--", color=QUIET, linewidth=1, zorder=1)
    steps = np.repeat(sequence, 2)
    ax.plot(steps[1:-2], steps[2:-1], color=QUIET, linewidth=0.5, alpha=0.6, zorder=1)
    ax.plot(sequence[:-1], sequence[1:], ".", color=color, markersize=4, zorder=2)
    ax.plot(sequence[-2], sequence[-1], "o", color=MODEL, markersize=5, markerfacecolor="none", zorder=3)
    ax.set(xlabel=f"{name}", ylabel=f"next {name}", xlim=ends, ylim=ends)
    ax.set_aspect("equal", adjustable="box")
    return ax


def sensitivity(
    sensitivity: Sensitivity, population: str, name: str, key: Owner, *, ax: Axes | None = None
) -> Axes:
    """Draw how far each number of one kind moves each spike of a population, one row for every spike.

    Raises
    ------
    TypeError
        If it is no Sensitivity.
    ValueError
        If there is no such block, or it has no entries.
    """
    instance("sensitivity", sensitivity, Sensitivity)
    block = (population, name, key)
    for k, what in enumerate(("population", "name", "key")):
        same = {known[k]: None for known in sensitivity.blocks if known[:k] == block[:k]}
        require_one_of(what, block[k], same)
    moves = f"{population} spike"
    ax = gradient_map(
        sensitivity.blocks[population, name, key],
        ax=ax,
        pre=f"{name} of {key[0] if isinstance(key, tuple) else key}",
        post=moves,
        label=f"dt/d {name} (s per step)",
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_label_text(axis.get_label_text().removesuffix(" neuron"))
    return ax
