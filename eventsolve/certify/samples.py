"""What is proven of one sample, as plain numbers that travel between processes and into records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.certify import balls
from eventsolve.certify.adjoint import adjoint
from eventsolve.certify.balls import Parts, bits_of, parts_of, written
from eventsolve.certify.boxes import Box
from eventsolve.certify.cells import Question, Unproven
from eventsolve.certify.claims import Claims, Refutation, judge
from eventsolve.certify.enclosures import Enclosures, enclosures_of
from eventsolve.certify.forward import MOST_SPIKES, Enclosed, Wiring, enclose
from eventsolve.certify.gradients import SampleGradient, sample_gradient
from eventsolve.certify.losses import Task, derivative
from eventsolve.certify.tolerances import tolerances
from eventsolve.frozen import Frozen

Reals = NDArray[np.float64]

GUARD_DIGITS = 13
"""Digits of working precision beyond those asked for, to begin with."""
DOUBLINGS = 6
"""How often the working precision is doubled at most."""
MANY = 8
"""How many times the spikes that are claimed a sample may have, besides MOST_SPIKES."""


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


@dataclass(frozen=True, eq=False, repr=False)
class SampleProof(Frozen):
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
    gradient : SampleGradient or None
        None if none was asked for, or something stayed open.
    exact : mapping of population to tuple of Parts or None
        The enclosures without rounding, which no file keeps: what ``decimals`` that were stored are held against.
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
    gradient: SampleGradient | None
    exact: Mapping[str, tuple[Parts | None, ...]] = field(default_factory=dict)


def enclosed_to(wiring: Wiring, sample: int, digits: int, most_spikes: int = MOST_SPIKES) -> Enclosed:
    """Enclose a sample's spikes, with a precision that is doubled until all is decided that so many digits can decide.

    A question stays open if the two sides differ, relatively, by at most 10**-digits. Of a box that holds more than one
    network what is open is so because of its size: no precision is added.
    """
    bits = bits_of(digits + GUARD_DIGITS)
    for _ in range(DOUBLINGS):
        if not wiring.box.exact:
            break
        try:
            return enclose(wiring, sample, bits, settle_for_less=False, most_spikes=most_spikes)
        except Unproven as why:
            if why.width <= 10.0**-digits:
                break
            bits *= 2
    return enclose(wiring, sample, bits, settle_for_less=True, most_spikes=most_spikes)


def doubts_of(box: Box, sample: int, enclosed: Enclosed) -> list[Doubt]:
    """Return what stayed open up to t_end, in the order of time."""
    doubts = []
    for cell, (until, why) in enclosed.open.items():
        if until <= box.until[sample]:
            name, neuron = box.cell_name(cell)
            doubts.append(Doubt(name, sample, neuron, until, why.question.value))
    return sorted(doubts, key=lambda doubt: doubt.time)


def prove(
    wiring: Wiring,
    sample: int,
    claimed: Claims,
    *,
    digits: int = 15,
    tolerance: float | None = None,
    task: Task | None = None,
) -> SampleProof:
    """Certify one sample.

    Parameters
    ----------
    wiring : Wiring
        Of everything, for a gradient.
    sample : int
    claimed : Claims
        Of all spiking populations, for a gradient.
    digits : int
        See :func:`enclosed_to`.
    tolerance : float or None
        Seconds that a claimed time may be off; None: by :func:`tolerances`.
    task : Task or None
        What to differentiate, if anything.
    """
    box = wiring.box
    n_claimed = sum(len(times) for times, _ in claimed.values())
    enclosed = enclosed_to(wiring, sample, digits, MANY * n_claimed + MOST_SPIKES)
    allowed = tolerances(box, sample, enclosed) if tolerance is None else [tolerance] * len(enclosed.spikes)
    doubts = doubts_of(box, sample, enclosed)
    with balls.working_precision(enclosed.bits):
        judgements = {
            name: judge(box, enclosed, allowed, name, sample, times, neurons)
            for name, (times, neurons) in claimed.items()
        }
        for name, judgement in judgements.items():
            doubts += [
                Doubt(name, sample, neuron, float(box.until[sample]), Question.END.value)
                for neuron in judgement.open_at_end
            ]
        refuted = sorted(
            (refutation for judgement in judgements.values() for refutation in judgement.refuted),
            key=lambda refutation: refutation.when,
        )
        matched = {name: judgement.matched for name, judgement in judgements.items()}
        gradient = None
        if task is not None and not doubts and not refuted:
            try:
                gradient = _differentiated(box, sample, enclosed, matched, task)
            except Unproven as why:
                name, neuron = box.cell_name(why.cell)
                doubts.append(
                    Doubt(name, sample, neuron, why.time, f"the gradient is open: {why.question.value}")
                )
        balls_of = {
            name: [None if k < 0 else enclosed.spikes[k].moment.ball for k in places]
            for name, places in matched.items()
        }
        distances = [
            balls.distance(ball, time) / float(np.spacing(time))
            for name, (times, _) in claimed.items()
            for time, ball in zip(times, balls_of[name], strict=True)
            if ball is not None
        ]
        return SampleProof(
            sample,
            enclosed.bits,
            enclosed.intervals,
            {name: enclosures_of(found) for name, found in balls_of.items()},
            {
                name: tuple("" if ball is None else written(ball) for ball in found)
                for name, found in balls_of.items()
            },
            {
                name: np.array([math.nan if k < 0 else allowed[k] for k in places])
                for name, places in matched.items()
            },
            tuple(doubts),
            tuple(refuted),
            max(distances, default=0.0),
            gradient,
            {
                name: tuple(None if ball is None else parts_of(ball) for ball in found)
                for name, found in balls_of.items()
            },
        )


def _differentiated(
    box: Box, sample: int, enclosed: Enclosed, matched: dict[str, list[int]], task: Task
) -> SampleGradient:
    """Enclose a sample's loss and its gradient."""
    places = dict(matched)
    first = enclosed.n_given - sum(int((t.samples == sample).sum()) for t in box.trains.values())
    for name, train in box.trains.items():
        count = int((train.samples == sample).sum())
        places[name] = list(range(first, first + count))
        first += count
    at = derivative(box, sample, enclosed, places, task)
    found = adjoint(box, enclosed, at.lives, at.cotangents)
    return sample_gradient(found, at.value, places, task.divisor)
