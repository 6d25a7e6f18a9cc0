"""What is proven of one sample, as plain numbers that travel between processes and into records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.certify import balls
from eventsolve.certify.balls import bits_of
from eventsolve.certify.boxes import Box
from eventsolve.certify.cells import Question, Unproven
from eventsolve.certify.claims import Claims, Refutation, judge
from eventsolve.certify.forward import Enclosed, Wiring, enclose
from eventsolve.certify.tolerances import tolerances

Reals = NDArray[np.float64]

GUARD_DIGITS = 13
"""Digits of working precision beyond those asked for, to begin with."""
DOUBLINGS = 6
"""How often the working precision is doubled at most."""
SHOWN_DIGITS = 60
"""Digits in which an enclosure is written down."""


class Doubt(NamedTuple):
    """A question that stayed undecided: up to ``time``, in seconds, the neuron's spikes are proven."""

    population: str
    sample: int
    neuron: int
    time: float
    why: str

    def __str__(self) -> str:
        return (
            f"neuron {self.neuron} of {self.population!r} in sample {self.sample} is proven up to {self.time!r} s: "
            f"{self.why}"
        )


class Enclosures(NamedTuple):
    """Midpoints and radii of balls in float64, rounding included; nan and inf where nothing is known."""

    midpoints: Reals
    radii: Reals


@dataclass(frozen=True, eq=False)
class SampleProof:
    """What is proven of one sample.

    Attributes
    ----------
    sample : int
    bits, intervals : int
        Working precision at which all was decided, and how many intervals between events were.
    spike_times : mapping of population to Enclosures
        For every claimed spike, in the order in which they are claimed.
    decimals : mapping of population to tuple of str
        The same in all digits.
    tolerances : mapping of population to ndarray, (n_spikes,)
        What a claimed time may be off, in seconds.
    undecided : tuple of Doubt
    refuted : tuple of Refutation
    distance : float
        The largest distance of a claimed time from its enclosure's far end, in units in the last place.
    """

    sample: int
    bits: int
    intervals: int
    spike_times: Mapping[str, Enclosures]
    decimals: Mapping[str, tuple[str, ...]]
    tolerances: Mapping[str, Reals]
    undecided: tuple[Doubt, ...]
    refuted: tuple[Refutation, ...]
    distance: float


def enclosed_to(wiring: Wiring, sample: int, digits: int) -> Enclosed:
    """Enclose a sample's spikes, with a precision that is doubled until all is decided that so many digits can decide.

    A question stays open if the two sides differ, relatively, by at most 10**-digits. Of a box that holds more than one
    network what is open is so because of its size: no precision is added.
    """
    bits = bits_of(digits + GUARD_DIGITS)
    for _ in range(DOUBLINGS):
        if not wiring.box.exact:
            break
        try:
            return enclose(wiring, sample, bits, settle_for_less=False)
        except Unproven as why:
            if why.width <= 10.0**-digits:
                break
            bits *= 2
    return enclose(wiring, sample, bits, settle_for_less=True)


def doubts_of(box: Box, sample: int, enclosed: Enclosed) -> list[Doubt]:
    """Return what stayed open up to t_end, in the order of time."""
    doubts = []
    for cell, (until, why) in enclosed.open.items():
        if until <= box.t_end:
            name, neuron = box.cell_name(cell)
            doubts.append(Doubt(name, sample, neuron, until, why.question.value))
    return sorted(doubts, key=lambda doubt: doubt.time)


def prove(
    wiring: Wiring,
    sample: int,
    claimed: Claims,
    *,
    digits: int,
    tolerance: float | None,
) -> SampleProof:
    """Certify one sample.

    Parameters
    ----------
    wiring : Wiring
    sample : int
    claimed : mapping of population to (times, neurons)
        Spikes in the order of SpikeTrains.
    digits : int
    tolerance : float or None
        Seconds that a claimed time may be off; None: by :func:`tolerances`.
    """
    box = wiring.box
    enclosed = enclosed_to(wiring, sample, digits)
    return _judged(box, sample, enclosed, claimed, tolerance)


def _judged(
    box: Box,
    sample: int,
    enclosed: Enclosed,
    claimed: Claims,
    tolerance: float | None,
) -> SampleProof:
    allowed = tolerances(box, sample, enclosed) if tolerance is None else [tolerance] * len(enclosed.spikes)
    doubts = doubts_of(box, sample, enclosed)
    refuted: list[Refutation] = []
    spike_times, decimals, used = {}, {}, {}
    farthest = 0.0
    with balls.working_precision(enclosed.bits):
        for name, (times, neurons) in claimed.items():
            judgement = judge(box, enclosed, allowed, name, sample, times, neurons)
            refuted += judgement.refuted
            doubts += [
                Doubt(name, sample, neuron, time, Question.END.value)
                for neuron, time in judgement.open_at_end
            ]
            middles, radii, texts, tolerated = [], [], [], []
            for time, k in zip(times, judgement.matched, strict=True):
                ball = None if k < 0 else enclosed.spikes[k].moment.ball
                middle, radius = (math.nan, math.inf) if ball is None else balls.rounded(ball)
                middles.append(middle)
                radii.append(radius)
                texts.append("" if ball is None else ball.str(SHOWN_DIGITS))
                tolerated.append(math.nan if k < 0 else allowed[k])
                if ball is not None:
                    farthest = max(farthest, balls.distance(ball, time) / np.spacing(time))
            spike_times[name] = Enclosures(np.array(middles), np.array(radii))
            decimals[name] = tuple(texts)
            used[name] = np.array(tolerated)
    refuted.sort(key=lambda refutation: refutation.when)
    return SampleProof(
        sample,
        enclosed.bits,
        enclosed.intervals,
        spike_times,
        decimals,
        used,
        tuple(doubts),
        tuple(refuted),
        float(farthest),
    )
