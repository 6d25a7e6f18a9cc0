"""What is proven of each sample, as plain numbers that travel between processes and into records.

Samples are independent, and shared out among the workers of any executor: :func:`prove_batch`.

:func:`first_open_question` asks more of a box than a certificate: that all of its networks have one order of events,
the spikes claimed, in one smooth piece. Beyond what :mod:`eventsolve.certify.neuron` proves of every spike, an
arrival and the end of a refractory period then have to be in one order: no spike appears or vanishes where they pass
each other, but derivatives jump.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from eventsolve.certify.arithmetic import (
    Enclosures,
    EventTime,
    Parts,
    at_time,
    bits_of,
    distance,
    enclosures_of,
    later,
    not_before,
    order,
    parts_of,
    rational,
    working_precision,
    written,
)
from eventsolve.certify.boxes import Box, only
from eventsolve.certify.claims import (
    Claims,
    Refutation,
    SampleGradient,
    Tolerances,
    by_sample,
    judge,
    sample_gradient,
    tolerances,
)
from eventsolve.certify.coincidences import coincidences
from eventsolve.certify.gradient import adjoint
from eventsolve.certify.losses import SampleLoss, derivative
from eventsolve.certify.network import MOST_SPIKES, Enclosed, Wiring, enclose
from eventsolve.certify.neuron import Question, Unproven
from eventsolve.checks import count
from eventsolve.frozen import Frozen
from eventsolve.jobs import bar_of, finished
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Reals

MOST_DIGITS = 300
"""Digits that can be asked for: how wide a question is that stays open is a float64 number, which cannot be smaller."""
GUARD_DIGITS = 13
"""Digits of working precision beyond those asked for, to begin with."""
DOUBLINGS = 6
"""How often the working precision is doubled at most."""
MANY = 8
"""How many times the spikes that are claimed a sample may have, besides MOST_SPIKES."""


def checked_digits(given: object) -> int:
    """Return digits to which questions can be decided as an int, or raise a ValueError."""
    why = ", as how far apart the two sides of a question are is known as a float64 number"
    return count("digits", given, 1, MOST_DIGITS, why)


class _Told(NamedTuple):
    """What is told of a neuron at a time in seconds."""

    population: str
    sample: int
    neuron: int
    time: float
    why: str


class OpenQuestion(_Told):
    """A question that stayed undecided: up to ``time``, in seconds, spikes are proven; none if it is below 0."""

    __slots__ = ()

    def __str__(self) -> str:
        until = (
            f"is proven up to {self.time!r} s" if self.time >= 0 else "is not proven from its beginning on"
        )
        return f"neuron {self.neuron} of {self.population!r} in sample {self.sample} {until}: {self.why}"


class OneSidedEnclosure(_Told):
    """A place at whose ``time``, in seconds, events of a neuron come together in an order that may matter.

    Gradients are enclosed as those of the order that they have.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return (
            f"neuron {self.neuron} of {self.population!r} in sample {self.sample}, {self.time!r} s: {self.why}; the "
            "gradient is that of this order, and has another side or none"
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
    undecided : tuple of OpenQuestion
    refuted : tuple of Refutation
    distance : float
        The largest distance of a claimed time from its enclosure's far end, in units in the last place.
    gradient : SampleGradient or None
        None if none was asked for, or something stayed open.
    one_sided : tuple of OneSidedEnclosure
        Where that gradient may have another side.
    exact : mapping of population to tuple of Parts or None
        The enclosures without rounding, which no file keeps: what ``decimals`` that were stored are held against.
    """

    sample: int
    bits: int
    intervals: int
    spike_times: Mapping[str, Enclosures]
    decimals: Mapping[str, tuple[str, ...]]
    tolerances: Mapping[str, Reals]
    undecided: tuple[OpenQuestion, ...]
    refuted: tuple[Refutation, ...]
    distance: float
    gradient: SampleGradient | None
    one_sided: tuple[OneSidedEnclosure, ...] = ()
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
            return enclose(wiring, sample, bits, allow_undecided=False, most_spikes=most_spikes)
        except Unproven as why:
            if why.width <= 10.0**-digits:
                break
            bits *= 2
    return enclose(wiring, sample, bits, allow_undecided=True, most_spikes=most_spikes)


def open_questions_of(box: Box, sample: int, enclosed: Enclosed) -> list[OpenQuestion]:
    """Return what stayed open up to t_end, in the order of time."""
    open_questions = []
    for cell, (until, why) in enclosed.open.items():
        if until <= box.until[sample]:
            name, neuron = box.cell_name(cell)
            open_questions.append(OpenQuestion(name, sample, neuron, until, why.question.value))
    return sorted(open_questions, key=lambda question: question.time)


def prove(
    wiring: Wiring,
    sample: int,
    claimed: Claims,
    *,
    digits: int = 15,
    tolerance: float | None = None,
    task: SampleLoss | None = None,
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
    task : SampleLoss or None
        What to differentiate, if anything.
    """
    box = wiring.box
    n_claimed = sum(len(times) for times, _ in claimed.values())
    enclosed = enclosed_to(wiring, sample, digits, MANY * n_claimed + MOST_SPIKES)
    allowed = (
        tolerances(box, sample, enclosed)
        if tolerance is None
        else Tolerances([tolerance] * len(enclosed.spikes), dict.fromkeys(enclosed.open, tolerance))
    )
    open_questions = open_questions_of(box, sample, enclosed)
    with working_precision(enclosed.bits):
        judgements = {
            name: judge(box, enclosed, allowed, name, sample, times, neurons)
            for name, (times, neurons) in claimed.items()
        }
        for name, judgement in judgements.items():
            open_questions += [
                OpenQuestion(name, sample, neuron, float(box.until[sample]), Question.END.value)
                for neuron in judgement.open_at_end
            ]
        refuted = sorted(
            (refutation for judgement in judgements.values() for refutation in judgement.refuted),
            key=lambda refutation: refutation.when,
        )
        matched = {name: judgement.matched for name, judgement in judgements.items()}
        gradient, one_sided = None, tuple[OneSidedEnclosure, ...]()
        if task is not None and not open_questions and not refuted:
            try:
                gradient, one_sided = _differentiated(box, sample, enclosed, matched, task)
            except Unproven as why:
                name, neuron = box.cell_name(why.cell)
                open_questions.append(
                    OpenQuestion(
                        name, sample, neuron, why.time, f"the gradient is open: {why.question.value}"
                    )
                )
        balls_of = {
            name: [None if k < 0 else enclosed.spikes[k].moment.ball for k in places]
            for name, places in matched.items()
        }
        distances = [
            distance(ball, time) / float(np.spacing(time))
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
                name: np.array([math.nan if k < 0 else allowed.spikes[k] for k in places])
                for name, places in matched.items()
            },
            tuple(open_questions),
            tuple(refuted),
            max(distances, default=0.0),
            gradient,
            one_sided,
            {
                name: tuple(None if ball is None else parts_of(ball) for ball in found)
                for name, found in balls_of.items()
            },
        )


def _differentiated(
    box: Box, sample: int, enclosed: Enclosed, matched: dict[str, list[int]], task: SampleLoss
) -> tuple[SampleGradient, tuple[OneSidedEnclosure, ...]]:
    """Enclose a sample's loss and its gradient, and say where that may have another side."""
    places = dict(matched)
    first = enclosed.n_given - sum(int((t.samples == sample).sum()) for t in box.trains.values())
    for name, train in box.trains.items():
        count = int((train.samples == sample).sum())
        places[name] = list(range(first, first + count))
        first += count
    at = derivative(box, sample, enclosed, places, task)
    found = adjoint(box, enclosed, at.trajectories, at.cotangents)
    one_sided = []
    for cell, moment, why in coincidences(box, enclosed, at.trajectories, found, task.read):
        name, neuron = box.cell_name(cell)
        one_sided.append(OneSidedEnclosure(name, sample, neuron, moment.key, why.value))
    return sample_gradient(found, at.value, places, task.divisor), tuple(one_sided)


def first_open_question(wiring: Wiring, sample: int, claimed: Claims, digits: int) -> OpenQuestion | None:
    """Return the first question that keeps a sample's box from being proven one piece, None if it is.

    Parameters
    ----------
    wiring : Wiring
        Of the box.
    sample : int
    claimed : mapping of population to (times, neurons)
        The spikes of the network in the middle, in the order of SpikeTrains.
    digits : int
        As for :func:`eventsolve.certify`.
    """
    box = wiring.box
    enclosed = enclosed_to(wiring, sample, digits)
    open_questions = open_questions_of(box, sample, enclosed)
    with working_precision(enclosed.bits):
        allowed = tolerances(box, sample, enclosed)
        for name, (times, neurons) in claimed.items():
            found = judge(box, enclosed, allowed, name, sample, times, neurons)
            open_questions += [
                OpenQuestion(name, sample, n, box.t_end, Question.END.value) for n in found.open_at_end
            ]
            open_questions += [OpenQuestion(name, sample, r.neuron, r.when, str(r)) for r in found.refuted]
        open_questions += _releases(box, sample, enclosed)
    return min(open_questions, key=lambda question: question.time, default=None)


def _releases(box: Box, sample: int, enclosed: Enclosed) -> list[OpenQuestion]:
    """Return the arrivals that may come before or after the end of a refractory period."""
    held_until: dict[int, EventTime] = {}
    if box.start is not None:
        start = box.start[sample]
        for c, (time, *free) in enumerate(
            zip(start.time.tolist(), start.free_at.tolist(), start.free_low.tolist(), strict=True)
        ):
            if free > [time, 0.0]:
                held_until[c] = at_time(*free)
    open_questions = []
    t_ref = box.parameters["t_ref"]
    for event in enclosed.history:
        c = event.cell
        if event.synapse < 0:
            middle, radius = float(t_ref.middle[c]), float(t_ref.radius[c])
            held_until.pop(c, None)
            if middle + radius > 0.0:
                exact = None if radius else rational(middle)
                held_until[c] = later(event.moment, not_before(0.0, middle, radius), exact)
        elif c in held_until and order(held_until[c], event.moment) is None:
            name, neuron = box.cell_name(c)
            open_questions.append(OpenQuestion(name, sample, neuron, event.moment.key, Question.TIE.value))
    return open_questions


SAMPLES_PER_JOB = 8
"""Samples that a worker certifies at a time."""


class Job(NamedTuple):
    """What a worker certifies at a time: some samples, what is claimed of them, and how."""

    box: Box
    samples: range
    claims: Sequence[Claims]
    tasks: Sequence[SampleLoss | None]
    digits: int
    tolerance: float | None


def prove_batch(
    box: Box,
    claimed: Mapping[str, SpikeTrains],
    tasks: Sequence[SampleLoss | None],
    digits: int,
    tolerance: float | None,
    executor: Executor | None,
    *,
    progress: bool,
) -> tuple[list[SampleProof], KeyboardInterrupt | None]:
    """Certify all samples; after a KeyboardInterrupt return those that are done, and the interrupt."""
    jobs = [
        Job(
            only(box, samples),
            samples,
            _claims(claimed, samples),
            [tasks[sample] for sample in samples],
            digits,
            tolerance,
        )
        for samples in _ranges(box.n_samples)
    ]
    bar = bar_of(progress, "certifying", box.n_samples)
    proofs, interrupt = finished(_prove_all, jobs, executor, bar)
    return sorted(proofs, key=lambda proof: proof.sample), interrupt


def _ranges(n_samples: int) -> list[range]:
    starts = range(0, n_samples, SAMPLES_PER_JOB)
    return [range(low, min(low + SAMPLES_PER_JOB, n_samples)) for low in starts]


def _claims(claimed: Mapping[str, SpikeTrains], samples: range) -> list[Claims]:
    return [{name: by_sample(trains, sample) for name, trains in claimed.items()} for sample in samples]


def _prove_all(batch: Job) -> list[SampleProof]:
    """Certify some samples: the job of one process."""
    wiring = Wiring(batch.box, everything=any(task is not None for task in batch.tasks))
    return [
        prove(wiring, sample, claim, digits=batch.digits, tolerance=batch.tolerance, task=task)
        for sample, claim, task in zip(batch.samples, batch.claims, batch.tasks, strict=True)
    ]


def fingerprint_of(box: Box, claimed: Mapping[str, SpikeTrains]) -> str:
    """Return the SHA-256 of all numbers of a problem and of the spikes claimed for it."""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        for value in values:
            if isinstance(value, np.ndarray):
                kind = np.int64 if value.dtype.kind in "iub" else np.float64
                digest.update(repr(value.shape).encode())
                digest.update(np.ascontiguousarray(value, dtype=kind).tobytes())
            else:
                digest.update(repr(value).encode())

    add(sorted(box.inputs.items()), list(box.populations.items()), box.n_channels, box.n_samples)
    add(box.after, box.t_start, box.t_end, box.until, box.subtracts)
    for name, numbers in box.parameters.items():
        add(name, numbers.middle, numbers.radius)
    synapses = box.synapses
    add(list(synapses.slices.items()), synapses.source, synapses.target, synapses.delta)
    add(synapses.weight.middle, synapses.weight.radius, synapses.delay.middle, synapses.delay.radius)
    for trains in (box.trains, box.carried):
        for name, train in trains.items():
            add(name, train.times.middle, train.times.radius, train.neurons, train.samples)
            if trains is box.carried:
                add(train.low, train.turns)
    for sample, start in (box.start or {}).items():
        add(sample, *start)
    for name, spikes in claimed.items():
        add(name, spikes.times, spikes.neurons, spikes.samples)
    return digest.hexdigest()
