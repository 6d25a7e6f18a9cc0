"""Lyapunov exponents, and how they converge."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from eventsolve.checks import instance
from eventsolve.dynamics import LyapunovSpectrum
from eventsolve.plot.style import EXACT, MODEL, QUIET, SERIES, axes


def spectrum(found: LyapunovSpectrum, *, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Draw the exponents in their order, with bars of two standard errors; above 0 in another colour.

    What is -inf is marked at the lower edge by a triangle.
    """
    instance("found", found, LyapunovSpectrum)
    ax = axes(ax, 4.5, 3.1)
    values, errors = found.exponents, found.errors
    places = np.arange(1, values.size + 1)
    known = np.isfinite(values)
    above = known & (values > 2 * errors)
    shown = np.where(np.isfinite(errors), 2 * errors, 0.0)
    for chosen, color, name in ((known & ~above, EXACT, label), (above, MODEL, None)):
        if chosen.any():
            ax.errorbar(
                places[chosen], values[chosen], shown[chosen], fmt="o", ms=3, lw=0.8, color=color, label=name
            )
    if (~known).any():
        lowest = np.zeros(np.count_nonzero(~known))
        ax.plot(
            places[~known], lowest, "v", ms=4, color=QUIET, transform=ax.get_xaxis_transform(), clip_on=False
        )
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="number", ylabel="exponent (1/s)")
    return ax


def exponent_convergence(found: LyapunovSpectrum, *, ax: Axes | None = None) -> Axes:
    """Draw the exponents as they were known after a time, with bands of two standard errors of the whole.

    At most six: the largest, the smallest, and those between at equal distances.
    """
    instance("found", found, LyapunovSpectrum)
    ax = axes(ax, 4.5, 3.1)
    finite = np.flatnonzero(np.isfinite(found.exponents))
    chosen = np.unique(finite[np.linspace(0, finite.size - 1, min(6, finite.size)).astype(int)])
    for color, k in zip(SERIES, chosen.tolist(), strict=False):
        ax.plot(found.times, found.convergence[:, k], color=color, lw=1.0, label=f"number {k + 1}")
        if np.isfinite(found.errors[k]):
            low, high = (found.exponents[k] + sign * 2 * found.errors[k] for sign in (-1, 1))
            ax.axhspan(low, high, color=color, alpha=0.12, lw=0)
    ax.axhline(0, color=QUIET, linewidth=0.6)
    ax.set(xlabel="time (s)", ylabel="exponent (1/s)")
    return ax
