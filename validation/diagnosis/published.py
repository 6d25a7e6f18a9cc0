"""Published implementations: which of the registered ones computed a record, and which of its faults act there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from validation import registry
from validation.diagnosis import backward
from validation.diagnosis.evidence import (
    Answer,
    Evidence,
    Place,
    answer_of,
    differing,
    misfit,
    misfits,
    mismatch,
)
from validation.diagnosis.work import Work, cost
from validation.diagnosis.writing import Convention, conventions_of, label
from validation.target import Grain, Target, forward_only

MATTERS = 0.01
"""Share of a gradient that a fault has to move to be named."""


class Fault(NamedTuple):
    """A fault of an implementation that acts: its name, its meaning, and where it shows."""

    name: str
    meaning: str
    where: str


@dataclass(frozen=True, eq=False)
class Recognised:
    """A registered implementation with the recorded spikes, and with the recorded numbers but for convention errors.

    Attributes
    ----------
    entry : str
        Its name in the registry.
    target : Target
    answer : Answer
    conventions : mapping of Place to list of Convention
        Convention errors of the numbers that are written down otherwise.
    rounding : float
        The largest misfit of the others.
    alike : tuple of str
        Other settings that compute the same, unless it has the defaults, which are tried first.
    """

    entry: str
    target: Target
    answer: Answer
    conventions: Mapping[Place, Sequence[Convention]]
    rounding: float
    alike: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        """The options of this target that are not the defaults, as text."""
        made: Any = self.target
        known = registry.options_of(registry.TARGETS, self.entry)
        found = {f.name: getattr(made, f.name) for f in fields(made) if f.init and f.name != "traces"}
        return tuple(
            f"{name}={_text(value)}" for name, value in found.items() if _text(value) != _text(known[name])
        )


def _text(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def recognised(evidence: Evidence, work: Work, told: float = math.inf) -> Recognised | None:
    """Return the registered implementation that computes what a record says, if there is one.

    One without convention errors is preferred. Settings that only the record shows are searched for as far as ``work``
    allows. Of a target with more variants than are ``told`` apart only the default is believed: among hundreds of
    variants one moves a few neurons as some other cause does.
    """
    with_conventions = None
    every = list(_variants(evidence, told))
    for entry, variants in every:
        for k, target in enumerate(variants):
            found = _judged(evidence, entry, target)
            if found is not None and not found.conventions:
                others = variants[k + 1 :] if k else []  # beside the defaults there is nothing to tell
                return replace(found, alike=tuple(_alike(evidence, entry, others, work)))
            with_conventions = with_conventions or found
    return with_conventions or next(_tuned(evidence, every, work), None)


def _alike(evidence: Evidence, entry: str, others: Sequence[Target], work: Work) -> Iterator[str]:
    """Yield the names of other variants that compute what a record says, as far as ``work`` allows."""
    for target in others:
        if work.allows(cost(evidence, back=True)):
            found = _judged(evidence, entry, target)
            if found is not None and not found.conventions:
                yield found.target.name


def _variants(evidence: Evidence, told: float) -> Iterator[tuple[str, list[Target]]]:
    """Yield the variants of every registered target that lists them, at the recorded time step.

    If there are more than are ``told`` apart, only the default is yielded.
    """
    graded = any(quantity != "loss" for quantity, _ in evidence.numbers)
    for entry in registry.names(registry.TARGETS):
        kind = registry.kind(registry.TARGETS, entry)
        variants = getattr(kind, "variants", None)
        if variants is not None and not (graded and forward_only(kind)):
            found = list(variants(evidence.time_step))
            if len(found) > told:
                found = [registry.target(entry, time_step=evidence.time_step)]
            yield entry, found


def _tuned(
    evidence: Evidence, every: Sequence[tuple[str, Sequence[Target]]], work: Work
) -> Iterator[Recognised]:
    """Yield targets that fit, with settings that change only gradients, if their spikes are right."""
    for entry, target in ((entry, target) for entry, variants in every for target in variants):
        tuned = getattr(target, "tuned", None)
        if tuned is None or _answered(evidence, target) is None:
            continue
        for other in tuned(evidence.problem, evidence.record):
            if not work.allows(
                3 * cost(evidence, back=True)
            ):  # two runs to make the next one, and one to judge it
                return
            found = _judged(evidence, entry, other)
            if found is not None and not found.conventions:
                yield found


def _answered(evidence: Evidence, target: Target) -> Answer | None:
    """Return a target's answer; None if it cannot run the problem or has other spikes."""
    try:
        answer = _answer(evidence, target)
    except ValueError:
        return None
    return None if mismatch(evidence, answer.spikes) else answer


def _answer(evidence: Evidence, target: Target) -> Answer:
    return answer_of(target.run(evidence.problem), evidence)


def _judged(evidence: Evidence, entry: str, target: Target) -> Recognised | None:
    answer = _answered(evidence, target)
    if answer is None or not all(place in answer.numbers for place in evidence.numbers):
        return None
    values, limits = misfits(evidence, answer), _limits(evidence, target, answer)
    off = [place for place, value in values.items() if not value <= limits[place]]
    by_place = {
        place: _unscaled(evidence, target, answer, place, limits[place])
        or conventions_of(evidence, answer, place, limits[place])
        for place in off
    }
    if not all(by_place.values()) or (off and not backward.shared(by_place)):
        return None
    rounding = max((value for place, value in values.items() if place not in by_place), default=0.0)
    return Recognised(entry, target, answer, by_place, rounding)


def _unscaled(
    evidence: Evidence, target: Any, answer: Answer, place: Place, tolerance: float
) -> list[Convention]:
    """Return the convention error of a gradient that lacks the implementation's own factor, if that is what is off."""
    if place[0] != "weight" or not hasattr(target, "gradient_factor"):
        return []
    factor = target.gradient_factor(evidence.problem)
    off = misfit(evidence.numbers[place] * factor, answer.numbers[place], answer.scale[place])
    if not off <= tolerance:
        return []
    return [Convention(f"the raw gradient of {target.name}: times {factor:.6g} it is dL/dw", off)]


def _limits(evidence: Evidence, target: Any, answer: Answer) -> dict[Place, float]:
    """Return how much of each number's misfit rounding may cause; measured where the target also computes in float64.

    Another float32 may differ by several times the difference of float32 and float64 on this problem.
    """
    least = 4 * math.sqrt(evidence.n_steps) * 2.0**-24
    limits = dict.fromkeys(evidence.numbers, least)
    if not hasattr(target, "at") or not target.resolution(evidence.problem.network).floating:
        return limits
    finer = _answered(evidence, target.at(Grain(evidence.time_step, None)))
    if finer is None:
        return limits
    for place in evidence.numbers:
        moved = misfit(answer.numbers[place], finer.numbers[place], finer.scale[place])
        limits[place] = min(backward.LARGEST, 8 * (moved if np.isfinite(moved) else 0.0) + least)
    return limits


# -- faults ----------------------------------------------------------------------------------------------------------


def faults(evidence: Evidence, found: Recognised) -> list[Fault]:
    """Return the faults of an implementation that act.

    A fault acts if the result without it is another: other spikes, other numbers, or a refusal. Two faults may hide
    each other. So all faults that do not change the spikes are removed first, and then each is added by itself.
    """
    target: Any = found.target
    if not hasattr(target, "faults"):
        return []
    meanings, acting = target.causes(), []
    for name in target.faults():
        try:
            other = _answer(evidence, target.with_causes([cause for cause in meanings if cause != name]))
        except ValueError as error:
            acting.append(Fault(name, meanings[name], f"the loss, which asks to refuse it: {error}"))
            continue
        if any(differing(rows, other.spikes[key]) for key, rows in found.answer.spikes.items()):
            acting.append(Fault(name, meanings[name], _moved(evidence, found.answer, other)))
    others = [name for name in target.faults() if name not in {fault.name for fault in acting}]
    kept = [cause for cause in meanings if cause not in others]
    mended = _answer(evidence, target.with_causes(kept))
    for name in others:
        where = _moved(evidence, _answer(evidence, target.with_causes([*kept, name])), mended)
        if where:
            acting.append(Fault(name, meanings[name], where))
    return acting


def _moved(evidence: Evidence, answer: Answer, mended: Answer) -> str:
    """Return which spikes and numbers a fault moves, in words; empty if none."""
    return "; ".join([*_moved_spikes(answer, mended), *_moved_numbers(evidence, answer, mended)])


def _moved_spikes(answer: Answer, mended: Answer) -> Iterator[str]:
    for name, rows in answer.spikes.items():
        count = differing(rows, mended.spikes[name])
        if count:
            other = set(map(tuple, rows.tolist())) ^ set(map(tuple, mended.spikes[name].tolist()))
            sample, step, neuron = min(other)
            spikes = "1 spike" if count == 1 else f"{count} spikes"
            yield f"{spikes} of {name}, the first at step {step} of sample {sample}, neuron {neuron}"


def _moved_numbers(evidence: Evidence, answer: Answer, mended: Answer) -> Iterator[str]:
    for place in evidence.numbers:
        if place not in answer.numbers or place not in mended.numbers:
            continue
        one, other = answer.numbers[place], mended.numbers[place]
        off = misfit(one, other, mended.scale[place])
        if off <= MATTERS:
            continue
        text = f"{label(place)}, by {100 * off:.3g} %" if np.isfinite(off) else label(place)
        if one.shape == other.shape and place[0] in ("weight", "delay") and one.ndim > 1:
            *sample, post, pre = np.unravel_index(int(np.abs(one - other).argmax()), one.shape)
            text += f", most from {place[1][0]} {pre} to {place[1][1]} {post}"
            text += f" in sample {sample[0]}" if sample else ""
        yield text
