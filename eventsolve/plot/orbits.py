"""Periodic orbits: how perturbations of them grow, and what a kick does to their phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from eventsolve.plot.style import EXACT, MODEL, QUIET, axes

if TYPE_CHECKING:
    from eventsolve.dynamics import Orbit, PhaseResponse


def floquet_multipliers(orbit: Orbit, *, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Draw an orbit's Floquet multipliers in the complex plane, with the unit circle.

    Those outside have another colour; the one of a shift in time, of a free orbit, is a ring.
    """
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
    ax = axes(ax, 4.5, 2.6)
    order = np.argsort(response.phases)
    advance = np.where(response.settled, response.advance, np.nan)[order] * 1e3
    ax.plot(response.phases[order], advance, ".-", ms=3, lw=0.9, color=color, label=label)
    ax.axhline(0, color=QUIET, linewidth=0.6)
    unit = "ms per unit" if response.kick is None else "ms"
    ax.set(xlabel="phase", ylabel=f"advance ({unit})", xlim=(0.0, 1.0))
    return ax
