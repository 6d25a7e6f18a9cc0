"""The way there: which scheme has the recorded spikes, or which slip or guess makes one have them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import eventsolve as es
from validation.diagnosis import guesses, writing
from validation.diagnosis.evidence import Evidence, answer_of, differing, mismatch
from validation.diagnosis.guesses import Guess, Kind
from validation.diagnosis.twins import Scheme, schemes, spikes_off
from validation.grid.flaws import NONE, Flaws
from validation.grid.steps import Integers

ENOUGH = 40
"""Spikes with which a guess is tried first."""
NEARLY = 0.1
"""Share of spikes that may be off where a guess is tried on a few samples, as float32 may have them."""


@dataclass(frozen=True, eq=False)
class Base:
    """A scheme, and the spikes that it has.

    Attributes
    ----------
    scheme : Scheme
    spikes : mapping of str to ndarray of int64
        As in :class:`validation.diagnosis.evidence.Evidence`.
    off : int
        Spikes that the record has otherwise.
    """

    scheme: Scheme
    spikes: Mapping[str, Integers]
    off: int


def bases(evidence: Evidence) -> list[Base]:
    """Return the schemes that can run the problem, nearest first; of those that have the same spikes all."""
    found = []
    for scheme in schemes():
        try:
            target = scheme.target(evidence.time_step)
            computed = target.run(replace(evidence.problem, loss=None))
        except ValueError:
            continue
        spikes = answer_of(computed, replace(evidence, numbers={})).spikes
        found.append(Base(scheme, spikes, mismatch(evidence.spikes, spikes)))
    return sorted(found, key=lambda base: base.off)


def matching(evidence: Evidence, found: Sequence[Base]) -> list[Scheme]:
    """Return the schemes that have the recorded spikes, in float64 or else in float32."""
    exactly = [base.scheme for base in found if base.off == 0]
    if exactly or not found:
        return exactly
    near = [base.scheme for base in found if base.off <= 4 * found[0].off]
    single = [s for s in near if spikes_off(evidence, s, evidence.problem, number="float32") == 0]
    at_threshold = [replace(s, inclusive=True) for s in near]
    return single or [s for s in at_threshold if spikes_off(evidence, s, evidence.problem) == 0]


def different(found: Sequence[Base]) -> list[Base]:
    """Return one scheme of those that have the same spikes."""
    chosen: list[Base] = []
    for base in found:
        if all(
            any(differing(rows, other.spikes[name]) for name, rows in base.spikes.items()) for other in chosen
        ):
            chosen.append(base)
    return chosen


@dataclass(frozen=True, eq=False)
class Moved:
    """What gives a scheme the recorded spikes.

    Attributes
    ----------
    name, where, kind : str
    schemes : tuple of Scheme
        That have them then.
    problem, flaws
        What they run, and how.
    evidence : Evidence
        What the record says if its spikes are written down as is usual.
    before : int
        Spikes that are off without it.
    """

    name: str
    where: str
    kind: Kind
    schemes: tuple[Scheme, ...]
    problem: es.Problem
    flaws: Flaws
    evidence: Evidence
    before: int


def written(evidence: Evidence, found: Sequence[Base]) -> list[Moved]:
    """Return the slips of writing spikes down that make a scheme right."""
    problem, result = evidence.problem, []
    for rewriting in writing.rewritings(evidence):
        right = tuple(b.scheme for b in found if mismatch(rewriting.evidence.spikes, b.spikes) == 0)
        if right:
            result.append(
                Moved(
                    rewriting.name,
                    rewriting.where,
                    "convention",
                    right,
                    problem,
                    NONE,
                    rewriting.evidence,
                    found[0].off,
                )
            )
    if result:
        return result
    for base in found:
        said = writing.left_out(evidence.spikes, base.spikes)
        if said is not None:
            shown = replace(evidence, spikes=base.spikes)
            return [Moved(*said, "fault", (base.scheme,), problem, NONE, shown, base.off)]
    for base in found:
        off = [name for name, rows in evidence.spikes.items() if differing(rows, base.spikes[name])]
        texts = [
            writing.renumbered(
                name, evidence.spikes[name], base.spikes[name], problem.network.population(name).size
            )
            for name in off
        ]
        if texts and all(texts):
            shown = replace(evidence, spikes=base.spikes)
            name = "; ".join(text for text in texts if text)
            return [
                Moved(
                    name,
                    f"spikes of {', '.join(off)}",
                    "convention",
                    (base.scheme,),
                    problem,
                    NONE,
                    shown,
                    base.off,
                )
            ]
    return []


def guessed(evidence: Evidence, found: Sequence[Base], until: float) -> tuple[list[Moved], int]:
    """Return the guesses with which a scheme has the recorded spikes, and for how many there was no time.

    ``until`` is by :func:`time.process_time`.
    """
    untried = 0
    few = _few(evidence)
    every = list(guesses.forward(few))
    whole = list(guesses.forward(evidence))
    for base in different(found):
        result = []
        for guess, small in zip(whole, every, strict=True):
            if time.process_time() > until:
                untried += 1
                continue
            off = spikes_off(few, base.scheme, small.problem, small.flaws)
            total = sum(len(rows) for rows in few.spikes.values())
            if off is None or off > NEARLY * max(total, 10):
                continue
            if (number := _right(evidence, base.scheme, guess)) is not None:
                same = tuple(
                    b.scheme for b in found if b.off == base.off and _has(evidence, b.scheme, guess, number)
                )
                result.append(
                    Moved(
                        guess.name,
                        guess.where,
                        guess.kind,
                        same or (base.scheme,),
                        guess.problem,
                        guess.flaws,
                        evidence,
                        found[0].off,
                    )
                )
        if result:
            return result, untried
    return [], untried


def _few(evidence: Evidence) -> Evidence:
    """Return the first samples alone, enough of them to judge, and two at least."""
    count = min(2, evidence.problem.n_samples)
    while count < evidence.problem.n_samples:
        few = evidence.first_samples(count)
        if sum(len(rows) for rows in few.spikes.values()) >= ENOUGH:
            return few
        count += 1
    return evidence


def _right(evidence: Evidence, scheme: Scheme, guess: Guess) -> str | None:
    """Return the number format in which a guess has the recorded spikes, if there is one."""
    return next((n for n in ("float64", "float32") if _has(evidence, scheme, guess, n)), None)


def _has(evidence: Evidence, scheme: Scheme, guess: Guess, number: str) -> bool:
    return spikes_off(evidence, scheme, guess.problem, guess.flaws, number) == 0
