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
"""Misfit beyond which nothing is believed to be rounding of float32."""


@dataclass(frozen=True, eq=False)
class Fit:
    """How well a twin's numbers fit the recorded ones.

    Attributes
    ----------
    twin : Twin
    answer : Answer
    misfits, tolerances : mapping of Place to float
        The misfit of each number, and how much of it rounding may cause.
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
        """The sum of squared misfits, each at most 1."""
        return float(sum(min(1.0, value) ** 2 for value in self.misfits.values()))


def fits(
    evidence: Evidence,
    schemes: Sequence[Scheme],
    problem: es.Problem,
    flaws: Flaws = NONE,
    number: str = "float64",
) -> list[Fit]:
    """Return how well every way back of some schemes fits, best first, in float64 and float32 or another format.

    Ways back that take another current for the slopes are tried only if every usual one leaves something, and returned
    only if they leave nothing.

    The effect of rounding is measured: another float32 may differ by several times the difference of float32 and
    float64 on this problem; float64 may differ by as much less as its roundings are finer.
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
    """Return how much of each number's misfit rounding may cause, by number format."""
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
    """What turns a twin's numbers into the recorded ones.

    Attributes
    ----------
    name, where, kind : str
    twin : Twin
    before, after : float
        Total misfit without and with it.
    edits : int
        How many errors it assumes.
    rivals : tuple of str
        Other names of the same error.
    several : bool
        Whether it is one error with a different number at each of several places.
    free : bool
        Whether it has a factor that no convention explains beside other errors, or a different factor at each of
        several places: it then has as many free numbers as it explains.
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
        """Whether it assumes one error only, and no free number for each number that it explains."""
        return self.edits == 1 and not self.free

    @property
    def nearly_all(self) -> bool:
        """Whether it leaves only a small part of the misfit."""
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

    This finds a factor behind other errors of up to ``apart``, the effect of the time step, as in an implementation of
    an unknown scheme. It is not tried on single numbers, which are within a tenth of some factor by chance.
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
    """Return names without those of mere factors, unless there are no others."""
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
    """Return places in words; all places of a quantity are named together."""
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
    """The results of guessing.

    Attributes
    ----------
    whole : tuple of Found
        The guesses that leave nothing but rounding.
    halves : tuple of Found
        The guesses that put some numbers right, and the others together with one convention error.
    """

    whole: tuple[Found, ...]
    halves: tuple[Found, ...]


def guessed(evidence: Evidence, every: Sequence[Fit], work: Work, flaws: Flaws = NONE) -> Guessed:
    """Return the guesses that make a twin's numbers the recorded ones, best first.

    Parameters
    ----------
    evidence : Evidence
    every : sequence of Fit
        From :func:`fits`. Once a guess leaves nothing on one way back, others are tried on that way only.
    work : Work
        The work that is left for guesses.
    flaws : Flaws
        Flaws that every guess has besides.
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
    """Return the wrong adjoints that give the same numbers as a convention error, where such adjoints are likely.

    They are likely if some gradients of weights are right, or if few numbers are off.
    """
    fit = next(f for f in every if f.twin == told.twin)
    few = sum(int(np.count_nonzero(evidence.numbers[place])) for place in fit.off) < fitting.FEW
    if not few and not any(q == "weight" and (q, where) not in fit.off for q, where in evidence.numbers):
        return []
    wide = _wide(fit, every)
    every_guess = itertools.chain(guesses.adjoints(evidence), _scaled_back(evidence, fit))
    return list(_tried(evidence, ((guess, fit, wide) for guess in every_guess), work, []).whole)


def _scaled_back(evidence: Evidence, fit: Fit) -> Iterator[Guess]:
    """Yield weights on the way back, multiplied by the ratio of gradients: it scales all earlier gradients, too."""
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
    """Return the guesses that leave nothing but rounding; each is added to ``whole`` once it is found."""
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
    """Yield guesses whose number is fitted, on every way back, until something is found."""
    price = fitting.RUNS * cost(evidence, back=True)
    for fit, wide in ways:
        for family in fitting.families(evidence, fit.answer):
            if found or not work.allows(price):
                continue
            guess = fitting.fitted(evidence, fit.twin, fit.answer, fit.off, family)
            if guess is not None:
                yield guess, fit, wide


def _ways(every: Sequence[Fit]) -> list[Fit]:
    """Return one float64 fit of each group that has the same numbers, nearest first."""
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
