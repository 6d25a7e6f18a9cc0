"""Periodic orbits: how perturbations of them grow, and what a kick does to their phase."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from eventsolve.checks import instance, require_one_of
from eventsolve.dynamics import Orbit, OrbitContinuation, PhaseResponse
from eventsolve.plot.style import EXACT, MARKERS, MODEL, QUIET, axes, named

KINDS = ("fold", "branching", "flip", "torus", "graze", "cut", "lift", "swap", "trigger", "release")


def floquet_multipliers(orbit: Orbit, *, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Draw an orbit's Floquet multipliers in the complex plane, with the unit circle.

    Those outside have another colour; the one of a shift in time, of a free orbit, is a ring.
    """
    instance("orbit", orbit, Orbit)
    ax = axes(ax, 3.1, 3.1)
    angle = np.linspace(0.0, 2.0 * np.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), color=QUIET, linewidth=0.8)
    outside = np.abs(orbit.transverse) >= 1.0
    for chosen, color, name in ((~outside, EXACT, label), (outside, MODEL, None)):
        if chosen.any():
            points = orbit.transverse[chosen]
            ax.plot(points.real, points.imag, "o", ms=4, color=color, label=name)
    if orbit.free:
        ax.plot([1.0], [0.0], "o", ms=8, markerfacecolor="none", color=EXACT)
    ax.set_aspect("equal")
    ax.set(xlabel="real part", ylabel="imaginary part")
    return ax


def response_curve(
    response: PhaseResponse, *, ax: Axes | None = None, color: str = EXACT, label: str | None = None
) -> Axes:
    """Draw by how much a kick brings forward all later spikes, over the phase at which it comes.

    In milliseconds, of an infinitesimal kick per unit of it. Kicks after which a trajectory does not settle on the
    orbit again are left out.
    """
    instance("response", response, PhaseResponse)
    ax = axes(ax, 4.5, 2.6)
    order = np.argsort(response.phases)
    advance = np.where(response.settled, response.advance, np.nan)[order] * 1e3
    ax.plot(response.phases[order], advance, ".-", ms=3, lw=0.9, color=color, label=label)
    ax.axhline(0, color=QUIET, linewidth=0.6)
    unit = "ms per unit" if response.kick is None else "ms"
    ax.set(xlabel="phase", ylabel=f"advance ({unit})", xlim=(0.0, 1.0))
    return ax


def orbit_branches(
    continuation: OrbitContinuation,
    population: str | None = None,
    *,
    neuron: int | None = None,
    of: Literal["period", "phases", "multipliers"] = "period",
    ax: Axes | None = None,
) -> Axes:
    """Draw periodic orbits against the value: a bifurcation diagram, stable ones full, others dashed.

    Every event is a mark at the lower edge, by its kind, hollow where the branch goes on or turns, and a thin line.

    Parameters
    ----------
    continuation : OrbitContinuation
    population : str, optional
        Whose phases are drawn.
    neuron : int, optional
        Only one of the population.
    of : {"period", "phases", "multipliers"}
        The period; times of spikes as parts of the period, of a free orbit since the first one, for which a population
        is needed; or the sizes of all multipliers but that of a shift in time.
    ax : Axes, optional

    Raises
    ------
    TypeError
        If it is no OrbitContinuation.
    ValueError
        If the population is unknown, or ``of`` is something else.
    """
    instance("continuation", continuation, OrbitContinuation)
    require_one_of("of", of, ("period", "phases", "multipliers"))
    if not continuation.branches:
        raise ValueError("continuation must have a branch; got one that was ended before its first orbit")
    first = continuation.branches[0].neurons
    if of == "phases" or population is not None:
        require_one_of("population", population, first, ", those that spike")
    if neuron is not None:
        spiking = [] if population is None else sorted(set(first[population].tolist()))
        require_one_of("neuron", neuron, spiking, ", those of the population that spike")
    ax = axes(ax, 6.0, 3.6)
    for branch in continuation.branches:
        if of == "period":
            curves = branch.periods[:, None] * 1e3
        elif of == "multipliers":
            curves = np.abs(branch.multipliers)
        else:
            every = np.concatenate(list(branch.spike_times.values()), axis=1)
            begin = every.min(axis=1, initial=np.inf)[:, None] if continuation.orbit(0, 0).free else 0.0
            assert population is not None
            mine = np.isin(
                branch.neurons[population], branch.neurons[population] if neuron is None else [neuron]
            )
            curves = (branch.spike_times[population][:, mine] - begin) / branch.periods[:, None] % 1.0
        for stable, line in ((True, "-"), (False, "--")):
            # a piece between two orbits is drawn as its first one is
            chosen = branch.stable == stable
            chosen[1:] |= chosen[:-1]
            drawn = np.where(chosen[:, None], curves, np.nan)
            color = EXACT if stable else MODEL
            ax.plot(branch.values, drawn, line, color=color, linewidth=1.2)
    seen = set()
    for event in continuation.events:
        mark, label = MARKERS[KINDS.index(event.kind) % len(MARKERS)], None
        if event.kind not in seen:
            seen.add(event.kind)
            label = event.kind
        face = "none" if event.follows in ("on", "back") else "#000000"
        ax.plot(
            [event.value],
            [0.0],
            mark,
            color="#000000",
            markersize=5,
            markerfacecolor=face,
            label=label,
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            zorder=3,
        )
        ax.axvline(event.value, color=QUIET, linewidth=0.5, alpha=0.6, zorder=0)
    if of == "multipliers":
        ax.axhline(1.0, color=QUIET, linewidth=0.8)
    ylabels = {"period": "period (ms)", "phases": "phase", "multipliers": "size of multipliers"}
    ax.set(xlabel=named(continuation.parameter), ylabel=ylabels[of], xlim=sorted(continuation.over))
    return ax
