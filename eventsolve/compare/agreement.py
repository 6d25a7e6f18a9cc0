"""How well numbers agree with the exact ones: as a whole, and over the samples whose spikes match.

A number that is not finite makes every figure that contains it NaN, and NaN is within no limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eventsolve.typing import Booleans, Reals


@dataclass(frozen=True)
class Agreement:
    """How well a set of numbers agrees with the exact ones.

    Attributes
    ----------
    count : int
        How many numbers were compared.
    relative_error : float
        ``|model - exact| / |exact|`` in the Euclidean norm; 0 if both are zero, inf if only the exact ones
        are.
    cosine : float
        Of the angle between the two; 1 if both are zero, 0 if only one of them is.
    sign_agreement : float
        Share of equal signs where both numbers are non-zero; NaN if that is nowhere.
    both_nonzero : int
        At how many places both numbers are non-zero.
    largest_error : float
        Largest ``|model - exact|``, in the unit of the numbers.
    """

    count: int
    relative_error: float
    cosine: float
    sign_agreement: float
    both_nonzero: int
    largest_error: float


def agreement(exact: Reals, model: Reals) -> Agreement:
    """Compare two arrays of one shape, number by number."""
    e, m = np.ravel(exact), np.ravel(model)
    if not (np.isfinite(e).all() and np.isfinite(m).all()):
        return Agreement(e.size, np.nan, np.nan, np.nan, 0, np.nan)
    both = (e != 0) & (m != 0)
    signs = float(np.mean(np.sign(e[both]) == np.sign(m[both]))) if both.any() else np.nan
    largest = float(np.abs(m - e).max(initial=0.0))
    scale = max(np.abs(e).max(initial=0.0), np.abs(m).max(initial=0.0))
    if scale == 0:
        return Agreement(e.size, 0.0, 1.0, signs, 0, 0.0)
    e, m = e / scale, m / scale
    norm_e, norm_m = float(np.linalg.norm(e)), float(np.linalg.norm(m))
    error = float(np.linalg.norm(m - e)) / norm_e if norm_e else np.inf
    cosine = _cosine(e / norm_e, m / norm_m) if norm_e and norm_m else 0.0
    return Agreement(e.size, error, cosine, signs, int(both.sum()), largest)


def _cosine(u: Reals, v: Reals) -> float:
    """Return the cosine between vectors of length 1, by how far apart they are: exactly 1 of equal ones."""
    apart, opposite = float(np.linalg.norm(u - v)), float(np.linalg.norm(u + v))
    return max(1.0 - 0.5 * apart**2, -1.0) if apart <= opposite else min(0.5 * opposite**2 - 1.0, 1.0)


@dataclass(frozen=True)
class Split:
    """One comparison over all samples, over those whose spikes match, and over :attr:`Comparison.differing_samples`."""

    everything: Agreement
    matching: Agreement
    differing: Agreement


def differing_rows(differing: Booleans, n_rows: int) -> Booleans:
    """Return which rows of a gradient differ in their spikes: samples, or their mean if any of them does."""
    return differing if differing.size == n_rows else np.full(n_rows, differing.any())


def split(exact: Reals, model: Reals, differing: Booleans) -> Split:
    """Compare two arrays whose rows are samples, or the mean over the batch: all, and by whether spikes match."""
    differing = differing_rows(differing, exact.shape[0])
    return Split(
        agreement(exact, model),
        agreement(exact[~differing], model[~differing]),
        agreement(exact[differing], model[differing]),
    )
