"""Balls as float64 numbers, which travel between processes and into records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from flint import arb
from numpy.typing import NDArray

from eventsolve.certify.balls import SLACK, rounded, with_slack

Reals = NDArray[np.float64]


class Enclosures(NamedTuple):
    """Midpoints and radii of balls in float64, rounding included; nan and inf where nothing is known."""

    midpoints: Reals
    radii: Reals


def enclosures_of(numbers: Iterable[arb | None]) -> Enclosures:
    """Return balls as float64 midpoints and radii; None is unknown."""
    pairs = [(math.nan, math.inf) if number is None else rounded(number) for number in numbers]
    return Enclosures(np.array([m for m, _ in pairs]), np.array([r for _, r in pairs]))


def added(parts: Sequence[Enclosures], size: int) -> Enclosures:
    """Return the sum of enclosures (size,), its roundings in the radii."""
    middle, radius = np.zeros(size), np.zeros(size)
    for part in parts:
        middle = middle + part.midpoints
        # this sum is rounded by at most half its spacing; the two of radii by at most half a step each, so one step up
        radius = np.nextafter(radius + part.radii + np.spacing(np.abs(middle)), np.inf)
    return Enclosures(middle, np.array([with_slack(r) for r in radius.tolist()]))


def same(said: Enclosures, proven: Enclosures) -> NDArray[np.bool_]:
    """Say of which entries the enclosure that is said is the one that is proven, neither known included.

    They may be apart by half the slack that either has, so that what is said follows from what is proven without it.
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(said.midpoints - proven.midpoints) + np.abs(said.radii - proven.radii)
        unknown = np.isnan(said.midpoints) & np.isnan(proven.midpoints)
        alike: NDArray[np.bool_] = unknown | (off <= 0.5 * SLACK * proven.radii)
    return alike


def joined(parts: Sequence[Enclosures]) -> Enclosures:
    """Return enclosures one after the other."""
    nothing = Enclosures(np.empty(0), np.empty(0))
    return Enclosures(*(np.concatenate(columns) for columns in zip(nothing, *parts, strict=True)))
