"""A record of learning before the commands: check, diagnose, localise, attribute and compare, as one document each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from eventsolve.bounded import Budget
from validation.kinds import Judgement
from validation.report.document import Block, Document, Picture, Points, Section, Table, Words, where_from
from validation.report.words import number
from validation.sbp import reference
from validation.sbp.diagnosis import PHASES, Diagnosis, diagnosed, simulated
from validation.sbp.guesses import right
from validation.sbp.ladder import Rung, ladder
from validation.sbp.record import Record, record_of
from validation.sbp.rule import Rule
from validation.sbp.wiring import LEARNING

OPTIONS = ("read", "error", "edge", "limits", "dead")
"""Of the rule that ``compare`` compares with."""
MOST_NEURONS = 400
"""In a picture of a trial."""


def judged(document: object, budget: Budget) -> JudgedRecord:
    """Return the record of a document, ready for the commands; raises RecordError."""
    return JudgedRecord(record_of(document, budget))


@dataclass(frozen=True)
class JudgedRecord:
    """A record and what each command says of it."""

    record: Record

    @property
    def name(self) -> str:
        """Of the record."""
        return self.record.name

    def judged(self, tool: str, origin: Mapping[str, Any], options: Mapping[str, str]) -> Judgement:
        """Return what a command says; see :class:`validation.kinds.Judged`."""
        if tool == "compare":
            return compared(self.record, origin, rule_of(options))
        if options:
            raise ValueError(f"{tool} takes no options for a record of learning; got {', '.join(options)}")
        if tool == "attribute":
            return attributed(self.record, origin)
        return checked(self.record, origin, tool)


def rule_of(options: Mapping[str, str]) -> Rule:
    """Return the rule that options name, as text."""
    values: dict[str, Any] = {}
    for name, text in options.items():
        if name not in OPTIONS:
            raise ValueError(f"a rule of learning has no option {name!r}; it has {', '.join(OPTIONS)}")
        values[name] = int(text) if name in ("edge", "dead") and text.isdecimal() else text
    return replace(Rule(), **values)


def checked(record: Record, origin: Mapping[str, Any], tool: str = "check") -> Judgement:
    """Return the verdict of a record, where it departs first, and the causes."""
    found = diagnosed(record)
    words = [Words(found.sentence, "verdict", good=found.accepted)]
    points = [*_places(found), *found.notes, *covered(record)]
    headline: list[Block] = [*words, *([Points(tuple(points))] if points else [])]
    sections = []
    if tool != "localise":
        read = found.reads[0] if found.reads else (record.read or "before")
        sections = [Section("Cause by cause", (_rungs(ladder(record, read)),)), *_picture(record, found)]
        if not found.accepted:
            headline.append(Words("eventsolve-validate attribute RECORD", "command"))
    data = {
        "format": "eventsolve-learning-report",
        "version": 1,
        "verdict": found.verdict,
        "sentence": found.sentence,
        "names": list(found.names),
        "kinds": list(found.kinds),
        "reads": list(found.reads),
        "place": _place_data(found),
        "notes": points,
    }
    return Judgement(_document(record, headline, sections, origin, data), found.accepted)


def attributed(record: Record, origin: Mapping[str, Any]) -> Judgement:
    """Return how near each approximation, on top of those before it, comes to a record."""
    found = diagnosed(record)
    read = found.reads[0] if found.reads else (record.read or "before")
    rungs = ladder(record, read)
    nearest = next((rung for rung in rungs if rung.trials == 0), None)
    said = (
        f"Nothing is left of the difference from exact backpropagation once there is: {nearest.cause}."
        if nearest is not None
        else f"No approximation explains the updates: {rungs[-1].trials} of {record.n_trials} are not the circuit's."
    )
    data = {
        "format": "eventsolve-learning-attribution",
        "version": 1,
        "read": read,
        "rungs": [rung._asdict() for rung in rungs],
        "verdict": found.verdict,
    }
    headline: list[Block] = [Words(said, "verdict", good=nearest is not None), _rungs(rungs)]
    return Judgement(_document(record, headline, [], origin, data), True)


def compared(record: Record, origin: Mapping[str, Any], rule: Rule) -> Judgement:
    """Return how near a rule comes to a record, update by update, from the weights before each."""
    rows, apart, copies = [], 0, None
    for trial in range(record.n_trials):
        weights = record.weights(trial)
        if "o->hT" in record.before and "oTm->hT" in record.before:
            copies = record.before["o->hT"][trial], record.before["oTm->hT"][trial]
        x, t = record.inputs[trial : trial + 1], record.targets[trial : trial + 1]
        one = reference.learned(weights, x, t, rule, copies=copies if rule.limits == "chip" else None)
        copies = (one.plus, one.minus) if rule.error == "sign" else None
        unequal = [
            int((np.asarray(new) != record.after[name][trial]).sum())
            for name, new in zip(("x->h", "h->o"), one.weights, strict=True)
        ]
        apart += any(unequal)
        changed = [int((record.after[n][trial] != record.before[n][trial]).sum()) for n in ("x->h", "h->o")]
        rows.append((str(trial), *(str(n) for pair in zip(changed, unequal, strict=True) for n in pair)))
    said = (
        f"All {record.n_trials} updates of {record.name} are those of: {rule.name}."
        if not apart
        else f"{apart} of {record.n_trials} updates of {record.name} are not those of: {rule.name}."
    )
    heads = ("trial", "W1\nchanged", "W1\nunequal", "W2\nchanged", "W2\nunequal")
    shown = [row for row in rows if row[2] != "0" or row[4] != "0"]
    table = Table("update by update", heads, tuple(shown[:10]), tuple(shown[10:]), folded="more trials")
    headline: list[Block] = [Words(said, "verdict", good=not apart), *([table] if shown else [])]
    data = {
        "format": "eventsolve-learning-comparison",
        "version": 1,
        "rule": rule.name,
        "trials": record.n_trials,
        "unequal_trials": apart,
        "columns": [" ".join(head.split()) for head in heads],
        "rows": [[int(entry) for entry in row] for row in rows],
    }
    return Judgement(_document(record, headline, [], origin, data), not apart)


def covered(record: Record) -> list[str]:
    """Say what of the circuit these trials do not ask, so that a fault of it would not show."""
    counts = np.zeros(6, dtype=np.int64)
    ends = set()
    for trial in range(record.n_trials):
        weights = record.weights(trial)
        x = record.inputs[trial : trial + 1]
        found = reference.learned(weights, x, record.targets[trial : trial + 1])
        counts += found.counts[0]
        z1 = x[0].astype(np.int64) @ weights.w1
        ends |= {int(z) for z in (*z1, *found.z2[0]) if z in (0, 1024)}
    said = []
    for n, what in zip(
        counts[2:],
        ("a missed target within its box", "a false output within its box", "a positive", "a negative"),
        strict=True,
    ):
        if not n:
            hidden = "" if "box" in what else " error of a hidden neuron within its box"
            said.append(f"no trial has {what}{hidden}")
    if 1024 not in ends:
        said.append("no sum is 1024, at the upper edge of a box")
    if 0 not in ends:
        said.append("no sum is 0, at the lower edge of a box")
    return [f"Not asked by these trials: {'; '.join(said)}."] if said else []


def _places(found: Diagnosis) -> list[str]:
    place = found.place
    if place is None:
        return []
    said = []
    if place.weight is not None:
        said.append(f"The first unequal weight: {place.weight}; {place.unequal} are unequal in all.")
    if place.spike is not None:
        said.append(f"The first unequal spike: {place.spike}.")
    if place.phases:
        phases = " or ".join(map(str, place.phases))
        said.append(f"It begins in phase {phases}, at population {place.population}.")
    return said


def _place_data(found: Diagnosis) -> dict[str, Any] | None:
    place = found.place
    if place is None:
        return None
    return {
        "weight": None if place.weight is None else place.weight._asdict(),
        "spike": None if place.spike is None else place.spike._asdict(),
        "phases": list(place.phases),
        "population": place.population,
        "unequal": place.unequal,
    }


def _rungs(rungs: list[Rung]) -> Table:
    heads = (
        "with, on top",
        "trials\nunequal",
        "weights\nunequal",
        "error\nof dW1",
        "cosine",
        "error\nof dW2",
        "cosine",
    )
    rows = tuple(
        (
            rung.cause,
            str(rung.trials),
            str(rung.weights),
            *(
                "" if math.isnan(value) else number(value)
                for pair in zip(rung.error, rung.cosine, strict=True)
                for value in pair
            ),
        )
        for rung in rungs
    )
    note = "Errors are |dW - dW recorded| / |dW recorded| over all trials, each from the weights recorded before it."
    return Table("from exact backpropagation to the circuit", heads, rows, note=note)


def _picture(record: Record, found: Diagnosis) -> list[Section]:
    """Return the raster of the first trial that departs, or of the first one, beside the circuit's."""
    from validation.report.document import Key
    from validation.report.plots import axes, marks, panel, source

    if not record.spikes:
        return []
    trials = (
        [p.trial for p in (found.place.spike, found.place.weight) if p is not None]
        if found.place is not None
        else []
    )
    at = min(trials, default=0)
    read = found.reads[0] if found.reads else (record.read or "before")
    run = next(islice(simulated(record, right(read), record.consecutive is not False), at, None))
    names = [name for name in LEARNING.names if name in record.spikes]
    rows: dict[str, list[tuple[int, int, str, int]]] = {"both": [], "only recorded": [], "only expected": []}
    base = 0
    for name in names:
        recorded, expected = record.spikes[name][at], run.spikes[name]
        for place, phase in enumerate(PHASES):
            for i in range(min(recorded.shape[1], MOST_NEURONS)):
                if recorded[phase, i] or expected[phase, i]:
                    which = (
                        "both"
                        if recorded[phase, i] and expected[phase, i]
                        else ("only recorded" if recorded[phase, i] else "only expected")
                    )
                    rows[which].append((place + 1, base + i, name, i))
        base += min(recorded.shape[1], MOST_NEURONS) + 1
    plot = axes("step of the trial (12 is phase 0)", "neuron", height=420)
    looks = {"both": "ink", "only recorded": "model", "only expected": "exact"}
    for which, colour in looks.items():
        if rows[which]:
            step, y, name_of, neuron = (list(column) for column in zip(*rows[which], strict=True))
            columns = source(step=step, y=y, name=name_of, neuron=neuron)
            hover = {"of": "@name", "neuron": "@neuron", "step": "@step"}
            marks(plot, columns, "step", "y", colour=colour, hover=hover, size=4)
    legend = tuple(Key(which, colour) for which, colour in looks.items())
    caption = f"Trial {at}: every spike by phase, populations from below: {', '.join(names)}."
    return [Section("Phase by phase", (Picture("Spikes", caption, (panel(plot, "", legend),), wide=True),))]


def _document(
    record: Record,
    headline: list[Block],
    sections: list[Section],
    origin: Mapping[str, Any],
    data: dict[str, Any],
) -> Document:
    sizes = "-".join(map(str, record.sizes))
    about = {"name": record.name, "network": sizes, "trials": record.n_trials}
    title = f"{record.name}: {record.n_trials} trials of {sizes}"
    return Document(
        title,
        tuple(headline),
        (*sections, where_from(origin)),
        origin,
        {"provenance": dict(origin), **about, **data},
    )
