"""The way back: which twin computes the recorded numbers, or which convention error or guess makes one compute them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

import eventsolve as es
from validation.diagnosis import fitting, guesses
from validation.diagnosis.evidence import Answer, Evidence, Place, misfit, misfits, mismatch
from validation.diagnosis.guesses import Guess
from validation.diagnosis.twins import Clock, Scheme, Twin
from validation.diagnosis.work import Work, cost
from validation.diagnosis.writing import (
    NEARLY,
    PLAIN_FACTOR,
    Convention,
    conventions_of,
    label,
    loose_conventions,
)
from validation.grid.flaws import NONE, Flaws

LOOSE = 0.1
"""Misfit beyond which no convention error is believed."""
LARGEST = 1e-3
"""Beyond this no rounding of float32 is believed."""


@dataclass(frozen=True, eq=False)
class Fit:
    """How well a twin's numbers are the recorded ones.

    Attributes
    ----------
    twin : Twin
    answer : Answer
    misfits, tolerances : mapping of Place to float
        Of each number, and how much of it is rounding.
    """

    twin: Twin
    answer: Answer
    misfits: Mapping[Place, float]
    tolerances: Mapping[Place, float]

    @property
    def off(self) -> list[Place]:
        """The numbers that are off."""
        return [place for place, value in self.misfits.items() if not value <= self.tolerances[place]]

    @property
    def total(self) -> float:
        """The misfit of all numbers, each counting as 1 at most."""
        return float(sum(min(1.0, value) ** 2 for value in self.misfits.values()))


def fits(
    evidence: Evidence,
    schemes: Sequence[Scheme],
    problem: es.Problem,
    flaws: Flaws = NONE,
    number: str = "float64",
) -> list[Fit]:
    """Return how well every way back of some schemes fits, best first, in float64 and float32 or another format.

    Ways that differ in the current of the slopes are looked at if no usual one leaves nothing, and told if they do.

    How much rounding may do is measured: what float32 does to this problem's numbers against float64 is what another
    float32 may do, several times; float64 does as much less as its roundings are finer.
    """
    numbers = ("float64", "float32") if number == "float64" else (number,)
    found = [f for s in schemes for f in _fits(evidence, s.ways_back(numbers), problem, flaws)]
    if found and all(fit.off for fit in found):
        clocks = [s for s in schemes if isinstance(s, Clock)]
        others = [f for s in clocks for f in _fits(evidence, s.other_ways_back(numbers), problem, flaws)]
        found += [fit for fit in others if not fit.off]
    return sorted(found, key=lambda fit: (len(fit.off), fit.total))


def _fits(evidence: Evidence, twins: Iterable[Twin], problem: es.Problem, flaws: Flaws) -> Iterator[Fit]:
    pairs: dict[Twin, dict[str, tuple[Twin, Answer]]] = {}
    for twin in twins:
        answer = twin.answer(evidence, problem, flaws)
        if answer is not None:
            pairs.setdefault(replace(twin, number=""), {})[twin.number] = twin, answer
    for of in pairs.values():
        limits = _limits(evidence, of)
        for number, (twin, answer) in of.items():
            yield Fit(twin, answer, misfits(evidence, answer), limits[number])


def _limits(evidence: Evidence, of: Mapping[str, tuple[Twin, Answer]]) -> dict[str, dict[Place, float]]:
    """Return how much of each number may be rounding, by number format."""
    if not evidence.clocked:
        return {"float64": dict.fromkeys(evidence.numbers, evidence.tolerance)}
    least = np.sqrt(evidence.n_steps) * 2.0**-24
    single: dict[Place, float] = {}
    for place in evidence.numbers:
        moved = 0.0
        if "float32" in of and "float64" in of:
            a, b = of["float32"][1], of["float64"][1]
            if place in a.numbers and place in b.numbers:
                moved = misfit(a.numbers[place], b.numbers[place], b.scale[place])
        single[place] = min(LARGEST, 8 * (moved if np.isfinite(moved) else 0.0) + 4 * least)
    double = {place: 16 * 2.0**-29 * value for place, value in single.items()}
    return {"float64": double} | dict.fromkeys(of.keys() - {"float64"}, single)


@dataclass(frozen=True)
class Found:
    """What makes a twin's numbers the recorded ones.

    Attributes
    ----------
    name, where, kind : str
    twin : Twin
    before, after : float
        Total misfit without and with it.
    edits : int
        How many things it supposes.
    rivals : tuple of str
        Other names of the same.
    several : bool
        Whether it is the same thing with another number at each of several places.
    free : bool
        Whether a factor that no convention explains is told beside other things, or another one at each of several
        places: as many numbers as are explained are made up for it.
    """

    name: str
    where: str
    kind: guesses.Kind
    twin: Twin
    before: float
    after: float
    edits: int = 1
    rivals: tuple[str, ...] = ()
    several: bool = False
    free: bool = False

    @property
    def single(self) -> bool:
        """Whether it supposes one thing only, and no number for each that it explains."""
        return self.edits == 1 and not self.free

    @property
    def nearly_all(self) -> bool:
        """Whether it leaves but little of the misfit."""
        return self.after <= NEARLY**2 * self.before


def conventions(evidence: Evidence, every: Sequence[Fit]) -> list[Found]:
    """Return the convention errors that make a fit right, fewest first."""
    found = []
    for fit in every:
        by_place = _written(evidence, fit.answer, fit.off, _wide(fit, every))
        if by_place:
            found.append(_told(evidence, fit, by_place))
    return sorted(found, key=lambda f: (f.edits, f.after))


def _written(
    evidence: Evidence, answer: Answer, off: Sequence[Place], wide: Mapping[Place, float]
) -> dict[Place, list[Convention]]:
    """Return the convention errors with which each number that is off is the recorded one; nothing if one has none."""
    by_place: dict[Place, list[Convention]] = {}
    for place in off:
        by_place[place] = conventions_of(evidence, answer, place, wide[place])
        if not by_place[place]:
            return {}
    return by_place


def loosely(
    evidence: Evidence, answer: Answer, twin: Twin, off: Sequence[Place], apart: Mapping[Place, float]
) -> Found | None:
    """Return the convention error that leaves at most a tenth of the misfit of each number that is off, if one does.

    So a factor is seen through what else is off, as in an implementation whose scheme is not known: by no more than
    ``apart``, what the time step does. A single number is a tenth away from some factor by chance.
    """
    left = misfits(evidence, answer)
    if all(evidence.numbers[place].size == 1 for place in off):
        return None
    common: set[str] | None = None
    by_place: dict[Place, list[Convention]] = {}
    for place in off:
        tolerance = min(LOOSE, left[place] / 10, apart.get(place, 0.0))
        by_place[place] = loose_conventions(evidence, answer, place, tolerance)
        names = {convention.name for convention in by_place[place]}
        common = names if common is None else common & names
    if not common:
        return None
    after = {
        name: sum(s.misfit**2 for f in by_place.values() for s in f if s.name == name) for name in common
    }
    best = min(common, key=lambda name: after[name])
    before = float(sum(min(1.0, left[place]) ** 2 for place in off))
    where = places(evidence, off)
    return Found(best, where, "convention", twin, before, float(after[best]))


def shared(by_place: Mapping[Place, Sequence[Convention]]) -> list[str]:
    """Return the names of convention errors that explain every one of some places, in the order of the first."""
    first = next(iter(by_place.values()))
    return telling(
        s.name for s in first if all(any(s.name == t.name for t in found) for found in by_place.values())
    )


def telling(names: Iterable[str]) -> list[str]:
    """Return names without that of a mere factor, unless there is no other."""
    every = list(dict.fromkeys(names))
    return [name for name in every if not name.startswith(PLAIN_FACTOR)] or every


def _wide(fit: Fit, every: Sequence[Fit]) -> dict[Place, float]:
    """Return the tolerances of float32 of the same way back: an error of the size of rounding has no name."""
    way = replace(fit.twin, number="float32")
    of = [f for f in every if replace(f.twin, number="float32") == way]
    return {place: max(f.tolerances[place] for f in of) for place in fit.misfits}


def _told(evidence: Evidence, fit: Fit, by_place: Mapping[Place, list[Convention]]) -> Found:
    """Return the convention errors of several places in as few words as possible: one name for all, or one for each."""
    common = shared(by_place)
    after = sum(
        min(1.0, min(s.misfit for s in by_place[p]) if p in by_place else value) ** 2
        for p, value in fit.misfits.items()
    )
    if common:
        best = min(
            common, key=lambda name: max(s.misfit for f in by_place.values() for s in f if s.name == name)
        )
        others = tuple(name for name in common if name != best)
        where = places(evidence, list(by_place))
        return Found(best, where, "convention", fit.twin, fit.total, after, rivals=others)
    texts: dict[str, list[Place]] = {}
    for place, found in by_place.items():
        texts.setdefault(" or ".join(telling(convention.name for convention in found)[:2]), []).append(place)
    name = "; ".join(f"{text}, at {places(evidence, of)}" for text, of in texts.items())
    kinds = {re.split(r"\d", text)[0] for text in texts}  # of the same kind with other numbers
    return Found(
        name,
        places(evidence, list(by_place)),
        "convention",
        fit.twin,
        fit.total,
        after,
        len(kinds),
        several=True,
        free=len(texts) > 1 and any(text.startswith(PLAIN_FACTOR) for text in texts),
    )


def places(evidence: Evidence, off: Sequence[Place]) -> str:
    """Return places in words, all of a quantity together where they are all there are."""
    words = []
    for quantity in dict.fromkeys(quantity for quantity, _ in off):
        mine = [place for place in off if place[0] == quantity]
        all_of = [place for place in evidence.numbers if place[0] == quantity]
        if quantity in ("weight", "delay") and len(mine) == len(all_of) > 1:
            words.append(f"{'dL/dw' if quantity == 'weight' else 'dL/ddelay'} of every projection")
        else:
            words += [label(place) for place in mine]
    right = [label(place) for place in evidence.numbers if place[0] == "weight" and place not in off]
    if right and any(place[0] == "weight" for place in off):
        words.append(f"{', '.join(right)} is right" if len(right) == 1 else f"{', '.join(right)} are right")
    return "; ".join(words)


@dataclass(frozen=True)
class Guessed:
    """What came of guessing.

    Attributes
    ----------
    whole : tuple of Found
        Guesses that leave nothing but rounding.
    halves : tuple of Found
        Those that put some numbers right, and all others together with one convention error.
    """

    whole: tuple[Found, ...]
    halves: tuple[Found, ...]


def guessed(evidence: Evidence, every: Sequence[Fit], work: Work, flaws: Flaws = NONE) -> Guessed:
    """Return the guesses that make a twin's numbers the recorded ones, best first.

    Parameters
    ----------
    evidence : Evidence
    every : sequence of Fit
        From :func:`fits`. Once a guess leaves nothing on one way back, others are tried on that one alone.
    work : Work
        What they may cost.
    flaws : Flaws
        What is wrong with it all, if something is.
    """
    whole: list[Found] = []
    ways = [(fit, _wide(fit, every)) for fit in _ways(every)]
    known = ((guess, fit, wide) for guess in guesses.backward(evidence) for fit, wide in ways)
    rounded = ((guess, fit, wide) for guess in guesses.rounded(evidence) for fit, wide in ways if not whole)
    fitted = () if flaws != NONE else _fitted_on(evidence, ways, whole, work)
    every_way = (
        (replace(guess, flaws=flaws.joined(guess.flaws)), fit, wide)
        for guess, fit, wide in itertools.chain(known, rounded, fitted)
    )
    return _tried(evidence, every_way, work, whole)


def alike(evidence: Evidence, every: Sequence[Fit], told: Found, work: Work) -> list[Found]:
    """Return the wrong adjoints that give the same numbers as a convention error, where that is likely.

    It is where some gradients are right, which begin nearer to the loss, or where few numbers are off.
    """
    fit = next(f for f in every if f.twin == told.twin)
    few = sum(int(np.count_nonzero(evidence.numbers[place])) for place in fit.off) < fitting.FEW
    if not few and not any(q == "weight" and (q, where) not in fit.off for q, where in evidence.numbers):
        return []
    wide = _wide(fit, every)
    every_guess = itertools.chain(guesses.adjoints(evidence), _scaled_back(evidence, fit))
    return list(_tried(evidence, ((guess, fit, wide) for guess in every_guess), work, []).whole)


def _scaled_back(evidence: Evidence, fit: Fit) -> Iterator[Guess]:
    """Yield weights on the way back multiplied by what gradients are off by: theirs is a factor, too, of all before."""
    ratios = []
    for place in fit.off:
        if place[0] == "weight" and place in fit.answer.numbers:
            said = fit.answer.numbers[place]
            square = float(np.vdot(said, said))
            if said.shape == evidence.numbers[place].shape and square:
                ratios.append(float(np.vdot(said, evidence.numbers[place])) / square)
    for ratio in dict.fromkeys(float(f"{ratio:.10g}") for ratio in ratios if np.isfinite(ratio)):
        for keys in guesses.together_and_alone(list(evidence.problem.network.projections)):
            yield fitting.of_weights(evidence, keys)(ratio - 1)


def _tried(
    evidence: Evidence,
    candidates: Iterable[tuple[Guess, Fit, Mapping[Place, float]]],
    work: Work,
    whole: list[Found],
) -> Guessed:
    """Return which guesses on which ways back leave nothing but rounding; those are added to ``whole`` on the way."""
    halves: list[Found] = []
    price = cost(evidence, back=True)
    for guess, fit, wide in candidates:
        if whole and fit.twin != whole[0].twin:
            continue
        if not work.allows(price):
            continue
        answer = fit.twin.answer(evidence, guess.problem, guess.flaws)
        if answer is None or mismatch(evidence, answer.spikes):
            continue
        values = misfits(evidence, answer)
        if not evidence.clocked:  # whose adjoint event by event gives no gradients of neurons
            values = {place: value for place, value in values.items() if place in answer.numbers}
        if not any(_moved_by(answer, fit.answer, place) > wide[place] for place in values):
            continue
        off = [place for place in values if not values[place] <= wide[place]]
        after = sum(min(1.0, value) ** 2 for value in values.values())
        where = places(evidence, fit.off)
        if not off and any(place in values for place in fit.off):
            found = Found(guess.name, where, guess.kind, fit.twin, fit.total, after)
            if found.nearly_all:
                whole.append(found)
        elif off and not whole and any(place in values and place not in off for place in fit.off):
            by_place = _written(evidence, answer, off, wide)
            if by_place:
                told = _told(evidence, Fit(fit.twin, answer, values, wide), by_place)
                name = f"{guess.name}; besides, {told.name}, at {told.where}"
                found = Found(name, where, guess.kind, fit.twin, fit.total, told.after, 2)
                if told.single and found.nearly_all:
                    halves.append(found)
    return Guessed(
        tuple(
            sorted(
                whole,
                key=lambda f: (
                    f.after > 100 * min(w.after for w in whole) + 1e-24,
                    f.name.count("→"),
                    f.after,
                ),
            )
        ),
        tuple(sorted(halves, key=lambda f: (f.edits, f.after))),
    )


Way: TypeAlias = tuple[Fit, Mapping[Place, float]]


def _fitted_on(
    evidence: Evidence, ways: Sequence[Way], found: Sequence[Found], work: Work
) -> Iterator[tuple[Guess, Fit, Mapping[Place, float]]]:
    """Yield guesses with a number, which has to be searched for, on every way back, unless something else was found."""
    price = fitting.RUNS * cost(evidence, back=True)
    for fit, wide in ways:
        for family in fitting.families(evidence, fit.answer):
            if found or not work.allows(price):
                continue
            guess = fitting.fitted(evidence, fit.twin, fit.answer, fit.off, family)
            if guess is not None:
                yield guess, fit, wide


def _ways(every: Sequence[Fit]) -> list[Fit]:
    """Return one fit of those in float64 that have the same numbers, nearest first."""
    chosen: list[Fit] = []
    for fit in every:
        if fit.twin.number == "float64" and not any(
            all(_moved_by(fit.answer, other.answer, p) <= other.tolerances[p] for p in fit.misfits)
            for other in chosen
        ):
            chosen.append(fit)
    return chosen


def _moved_by(answer: Answer, other: Answer, place: Place) -> float:
    if place not in answer.numbers or place not in other.numbers:
        return 0.0 if place not in answer.numbers and place not in other.numbers else np.inf
    return misfit(answer.numbers[place], other.numbers[place], other.scale[place])
