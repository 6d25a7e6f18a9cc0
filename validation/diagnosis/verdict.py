"""Diagnose a record: the questions in their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

import eventsolve as es
from eventsolve.checks import instance, non_negative, real
from eventsolve.compare import agreement
from eventsolve.compare.cancelling import roundings_of
from eventsolve.compare.divergence import first_spike_divergence, not_finite
from eventsolve.compare.records import depths
from eventsolve.io import records
from eventsolve.shown import ms
from validation.diagnosis import backward, forward, published, scans, trials
from validation.diagnosis.diagnosis import Diagnosis
from validation.diagnosis.evidence import (
    Answer,
    Evidence,
    Place,
    answer_of,
    evidence_of,
    misfit,
    misfits,
    mismatch,
    on_grid,
    relative,
)
from validation.diagnosis.replays import replayed
from validation.diagnosis.twins import ALWAYS, Scheme, Twin, distinct, together
from validation.diagnosis.work import Work
from validation.diagnosis.writing import label
from validation.oracle import oracle

ROUNDING = math.sqrt(float(np.finfo(np.float64).eps))
"""Relative error within which float64 implementations agree."""
MOST_NAMES = 12
"""Most guesses at spikes whose numbers are compared with the recorded ones, too."""
PATIENCE = 20.0
"""For how long guesses are tried by default, in seconds of a usual machine."""
SETTINGS = 8
"""So few settings of a published implementation that each may be named on a few spikes alone."""
MOST_TOLD = 6
"""Most names that are told of what may be right by chance."""
RIVALS = 4
"""Most other names that are told if they explain as much as the first."""
PAIRED = 3
"""Guesses at spikes for each of which another error is searched for on the way back."""
MANY = 20
"""Fewest spikes that a guess has to put right to be believed although loss and gradients are off."""
FINE = 64
"""Parts of the window: times in continuous time are told apart by one part."""


# what is beyond float64 is like nothing: inf and NaN fit nothing
@np.errstate(over="ignore", invalid="ignore")
def diagnose(
    problem: es.Problem,
    record: records.Record,
    *,
    tolerance: float = ROUNDING,
    window: float | None = None,
    patience: float = PATIENCE,
    exact: records.Record | None = None,
) -> Diagnosis:
    """Say what explains the difference of a record from the exact solution.

    Parameters
    ----------
    problem : Problem
        What the implementation was given.
    record : eventsolve.io.records.Record
        What it computed: any of spikes, loss values and gradients. With a ``time_step`` it is also compared with twins
        on a clock.
    tolerance : float
        Relative error of numbers, and of times against t_end, within which an implementation equals the exact solution.
    window : float, optional
        Seconds by which a spike may be off in continuous time; by default ``tolerance`` times t_end.
    patience : float
        For how long guesses are tried, in seconds of a usual machine. Their cost is counted, not timed, so that a
        verdict is the same everywhere. Guesses for which too little was left are counted in ``untried``.
    exact : eventsolve.io.records.Record, optional
        The result of :func:`validation.oracle.oracle` for the problem, if it is already there.

    Raises
    ------
    ValueError
        If there is nothing to judge, or the record does not fit the problem.
    """
    instance("problem", problem, es.Problem)
    instance("record", record, records.Record)
    tolerance = non_negative("tolerance", tolerance)
    patience = real("patience", patience, "a number of seconds")
    if not patience >= 0:
        raise ValueError(f"patience must be >= 0 seconds; got {patience!r}")
    if record.loss_values is None and not any(record.gradients.values()):
        problem = replace(problem, loss=None)
    if problem.loss is None:
        record = replace(record, gradients={}, loss_values=None)
    if not (record.spikes or record.gradients or record.loss_values is not None):
        raise ValueError(
            "the record has nothing to judge: no spikes, and no loss or gradients with the loss they are of"
        )
    truth = oracle(problem) if exact is None else exact
    window = problem.t_end * tolerance if window is None else window
    rounding = roundings_of(problem.network, truth.weight)
    beside = replace(_continuous(problem, record, window, tolerance), rounding=rounding)
    answer = answer_of(truth, beside)
    if _agrees(beside, answer):
        return Diagnosis("agrees", "equal within rounding", 1.0)
    measured = replayed(beside, tolerance)
    if measured is not None:
        return measured
    scattered = trials.judged(beside, truth)
    if scattered is not None:
        return scattered
    work, step = Work(patience), record.time_step
    if step is None or not beside.spikes or not on_grid(record, step):
        found = _judged(beside, answer, work)
        if step is None or found.verdict != "unexplained":
            return found
    clocked = replace(evidence_of(problem, record, step), lags=(step, -step), rounding=rounding)
    return _judged(clocked, answer_of(truth, clocked), work)


# -- against the exact solution ----------------------------------------------------------------------------------------


def _continuous(problem: es.Problem, record: records.Record, window: float, tolerance: float) -> Evidence:
    """Return the evidence of a record in continuous time, where times are told apart by parts of a window."""
    window = max(window, problem.t_end * 2.0**-40)
    solution, computed = (
        problem.solution.spikes,
        {n: t for n, t in record.spikes.items() if n not in problem.inputs},
    )
    depth = depths(problem.network.populations, problem.network.projections)
    first = first_spike_divergence(solution, computed, window, depth)
    lags = [] if record.time_step is None else [record.time_step, -record.time_step]
    if first is not None and first.got is not None and first.expected is not None:
        late = first.got - first.expected
        lags += [late, float(f"{late:.0e}")]
    evidence = evidence_of(problem, record, window / FINE)
    told = tuple(dict.fromkeys(lag for lag in lags if abs(lag) > window))
    return replace(evidence, within=FINE, lags=told, tolerance=tolerance)


def _agrees(evidence: Evidence, truth: Answer) -> bool:
    if mismatch(evidence, truth.spikes):
        return False
    return all(value <= evidence.tolerance for value in misfits(evidence, truth).values())


# -- against twins -----------------------------------------------------------------------------------------------------


def _judged(evidence: Evidence, truth: Answer, work: Work) -> Diagnosis:
    if (
        evidence.spikes
        and not any(map(len, evidence.spikes.values()))
        and any(map(len, truth.spikes.values()))
    ):
        name = "no neuron spikes at all, as in any network that is wrong enough"
        return Diagnosis("unexplained", name, 0.0, "spikes of all populations")
    bases, refused = forward.bases(evidence)
    declared = forward.declared(evidence, bases)
    others = [] if declared == bases else _with_all_spikes(evidence, bases)
    aside = Work(work.left / 2 if others else 0.0)
    work.left -= aside.left
    found = _judged_by(evidence, truth, declared, refused, work)
    if found.accepted or declared == bases:
        return found
    right = _undeclared(evidence, bases)
    if right and found.verdict != "unexplained":
        return replace(found, rivals=(*found.rivals, _another(evidence, right)))
    if right:
        name = _another(evidence, right)
        return Diagnosis("convention", name, 1.0, "the scheme of the record", str(Twin(right[0])))
    if found.verdict != "unexplained":
        return found
    under = _numbers(evidence, truth, others, aside) if others else found
    if under.verdict != "unexplained":
        return replace(under, name=f"{under.name}; by {_another(evidence, others)}")
    return replace(found, name=found.name + _nearer(evidence, bases, declared))


def _with_all_spikes(evidence: Evidence, bases: Sequence[forward.Base]) -> list[Scheme]:
    """Return the schemes that have every recorded spike, if there are numbers to be judged by them."""
    judged = evidence.spikes and evidence.numbers and on_grid(evidence.record, evidence.time_step)
    return [base.scheme for base in bases if not base.off] if judged else []


def _another(evidence: Evidence, schemes: Sequence[Scheme]) -> str:
    return f"another scheme than the record declares: {together(distinct(schemes, evidence.problem.network))}"


def _undeclared(evidence: Evidence, bases: Sequence[forward.Base]) -> list[Scheme]:
    """Return schemes other than the record declares by which nothing would be wrong."""
    if not on_grid(evidence.record, evidence.time_step):
        return []
    said = evidence.record.scheme.said
    found = forward.matching(evidence, bases) or forward.varied(evidence, bases)
    other = [scheme for scheme in found if not scheme.is_as(said)]
    if not evidence.numbers:
        return other
    every = backward.fits(evidence, other, evidence.problem)
    return list(dict.fromkeys(fit.twin.scheme for fit in every if not fit.off))


def _nearer(evidence: Evidence, bases: Sequence[forward.Base], declared: Sequence[forward.Base]) -> str:
    """Say so if another scheme than the record declares is nearer by half: what is wrong is sought by the declared."""
    near, said = (min((base.off for base in of), default=0) for of in (bases, declared))
    if not evidence.spikes or 2 * near > said or not said:
        return ""
    other = distinct([base.scheme for base in bases if base.off == near], evidence.problem.network)
    counts = f"of all populations {near} spikes differ where {said} do"
    so = f"is nearer ({counts})" if near else "has every recorded spike"
    return f"; another scheme than the record declares {so}: {together(other)}"


def _judged_by(
    evidence: Evidence, truth: Answer, bases: Sequence[forward.Base], refused: Sequence[str], work: Work
) -> Diagnosis:
    """Judge by some schemes, and by those that vary them as far as the record does not declare its own."""
    fits_grid = not evidence.clocked or on_grid(evidence.record, evidence.time_step)
    schemes = forward.matching(evidence, bases) if fits_grid else []
    if schemes:
        return _numbers(evidence, truth, schemes, work)
    known = _published(evidence, truth, work, _told_apart(evidence, bases))
    if known is not None:
        return known
    other = _varied(evidence, truth, bases, work) if fits_grid and evidence.clocked else None
    if other is not None and other.verdict != "unexplained":
        return other
    if not bases:
        return Diagnosis("unexplained", _refused(refused), 0.0)
    written = _ranked(forward.written(evidence, bases))
    # delays with which spikes are as late as if their times alone were, without which that is not told
    shifted = [scheme for r in written if r.moved.late for scheme in r.moved.schemes]
    late = _ranked(forward.delayed(evidence, bases, shifted)) if shifted else []
    if written and written[0].off == 0 and (written[0].fits or written[0].moved.alone):
        return _moved(sorted([*written, *late], key=_order))
    if not all(r.off or not r.believed for r in late):
        return _moved([r for r in late if not r.off])
    written = sorted([*written, *late], key=_order)
    found = list(written)
    believed = [r for r in written if r.believed]
    for stage in forward.guessed(evidence, bases, work) if fits_grid else ():  # else no twin has the spikes
        for guessed in stage:
            ranked = _ranked(guessed)
            found += ranked
            believed += [r for r in ranked if r.believed]
            if any(r.confirmed for r in ranked):
                break
        if any(r not in written and not r.besides for r in believed):
            break
        if any(r.off and r not in written and r.moved.moves >= MANY for r in found):
            break  # all spikes are right with it: what is off beside them is to be looked for
    if all(r.off and not r.besides for r in believed):
        believed = list(_with_another(sorted(found, key=_order), work)) or believed
    if believed:  # others that leave nothing are told beside it, however few spikes tell them
        others = [r for r in found if not r.off and r not in believed]
        return _moved(sorted([*believed, *others], key=lambda r: (not r.believed, *_order(r))))
    likely = sorted(found, key=_order)
    if likely and other is None:
        those = "this" if len(likely) == 1 else "each of these"
        why = f"the spikes that differ are too few to tell what is wrong; {those} would explain them"
        return _undecided(why, likely)
    return other or _unexplained_spikes(evidence, truth, bases, work.untried)


def _refused(reasons: Sequence[str]) -> str:
    """Say why no scheme runs a problem."""
    first = reasons[0] if reasons else "none is tried"
    others = sum(reason != first for reason in reasons)
    more = f" ({others} schemes refuse it for other reasons)" if others else ""
    return f"no known scheme on a clock can run this problem: {first}{more}"


def _varied(evidence: Evidence, truth: Answer, bases: Sequence[forward.Base], work: Work) -> Diagnosis | None:
    """Judge with less usual schemes, if one has the recorded spikes."""
    said = evidence.record.scheme.said
    schemes = [scheme for scheme in forward.varied(evidence, bases) if scheme.is_as(said)]
    return _numbers(evidence, truth, schemes, work) if schemes else None


def _numbers(evidence: Evidence, truth: Answer, schemes: Sequence[Scheme], work: Work) -> Diagnosis:
    """Judge loss and gradients if some schemes have the recorded spikes."""
    if not evidence.numbers:
        return _explained(evidence, truth, None, [Twin(scheme) for scheme in schemes])
    usual = every = backward.fits(evidence, schemes, evidence.problem)
    best = every[0]
    if best.off:  # few spikes tell apart propagators that are nearly alike; gradients do
        near = list(dict.fromkeys(fit.twin.scheme for fit in every))
        if not evidence.spikes:  # without which every scheme has them
            near = near[: forward.NEAREST]
        every = [*backward.fits(evidence, forward.alike(evidence, near), evidence.problem), *every]
        every.sort(key=lambda fit: (len(fit.off), fit.total))
        best = every[0]
    if not best.off:
        return _explained(evidence, truth, best.answer, [fit.twin for fit in _near(every)])
    known = _published(evidence, truth, work)
    if known is not None:
        return known
    conventions = backward.conventions(evidence, every)
    written = [found for found in conventions if not found.free]
    if conventions and conventions[0].edits == 1:
        same = backward.alike(evidence, every, conventions[0], work)
        # one thing on the way back comes before a convention error for each number
        told = [*same, *written] if conventions[0].several else [*written, *same]
        if told:
            return _named(told, evidence, every)
    guessed = backward.guessed(evidence, every, work)
    found = guessed.whole or written or guessed.halves
    if found:
        return _named(found, evidence, every)
    apart = {  # in continuous time there is no step that could be what is left
        place: _apart(best.answer, truth, place) if evidence.clocked else math.inf for place in best.off
    }
    loose = backward.loosely(evidence, best.answer, best.twin, best.off, apart)
    if loose is not None:
        return _named([loose], evidence, every)
    if len(usual[0].off) <= len(best.off):
        every = usual
    return _unexplained_numbers(evidence, truth, every, work.untried)


def _near(every: Sequence[backward.Fit]) -> list[backward.Fit]:
    """Return the fits that are as good as the best one."""
    best = every[0]
    return [f for f in every if len(f.off) == len(best.off) and f.total <= 100 * best.total + 1e-24]


def _named(
    found: Sequence[backward.Found], evidence: Evidence, every: Sequence[backward.Fit] = ()
) -> Diagnosis:
    """Tell what makes a twin's numbers the recorded ones: several schemes may have the same spikes."""
    best = found[0]
    others = dict.fromkeys(fit.twin.scheme for fit in every if fit.twin.scheme != best.twin.scheme)
    near = [f for f in found if f.edits == best.edits and f.after <= 100 * best.after + 1e-24]
    names = dict.fromkeys(name for f in near for name in (f.name, *f.rivals))
    rivals = tuple(name for name in names if name != best.name)[:RIVALS]
    return Diagnosis(
        best.kind,
        best.name,
        max(0.0, 1.0 - math.sqrt(best.after / best.before)) if best.before else 1.0,
        best.where,
        together([best.twin, *others]) if evidence.clocked else "",
        rivals=rivals,
        settings=best.twin.settings(evidence.time_step),
    )


@dataclass(frozen=True, eq=False)
class _Ranked:
    """What gives a scheme the recorded spikes, and how well its numbers then fit."""

    moved: forward.Moved
    fits: Sequence[backward.Fit]
    besides: Sequence[backward.Found] = ()

    @property
    def off(self) -> int:
        """How many numbers are off."""
        return len(self.fits[0].off) if self.fits else 0

    @property
    def total(self) -> float:
        """The misfit of all numbers."""
        return self.fits[0].total if self.fits else 0.0

    @property
    def confirmed(self) -> bool:
        """Whether gradients confirm it: they would change with any state at any spike."""
        if not self.fits or (self.off and not self.besides):
            return False
        numbers = self.moved.evidence.numbers
        return any(quantity == "weight" and values.any() for (quantity, _), values in numbers.items())

    @property
    def believed(self) -> bool:
        """Whether it leaves nothing, or puts so many spikes right that the rest must have another reason."""
        if not self.off or self.besides:
            return self.confirmed or self.moved.alone
        return self.moved.moves >= MANY and self.moved.alone


def _order(ranked: _Ranked) -> tuple[int, float]:
    return ranked.off, ranked.total


def _ranked(found: Sequence[forward.Moved]) -> list[_Ranked]:
    """Rank what gives the recorded spikes; what also gives the recorded numbers comes first."""
    ranked = []
    for moved in found[:MOST_NAMES]:
        fits = _fits(moved)
        if moved.numbers is not None and fits and fits[0].off:
            guess = scans.nearest(moved.evidence, fits[0].twin, moved.numbers)
            if guess is not None:
                nearer = replace(moved, name=guess.name, problem=guess.problem)
                others = _fits(nearer)
                if not others[0].off:
                    moved, fits = nearer, others
        conventions = backward.conventions(moved.evidence, fits) if fits and fits[0].off else []
        ranked.append(_Ranked(moved, fits, [found for found in conventions if found.single]))
    return sorted(ranked, key=_order)


def _fits(moved: forward.Moved) -> list[backward.Fit]:
    if not moved.evidence.numbers:
        return []
    return backward.fits(moved.evidence, moved.schemes, moved.problem, moved.flaws, moved.number)


def _with_another(found: Sequence[_Ranked], work: Work) -> Iterator[_Ranked]:
    """Yield what gives the recorded spikes together with another error on the way back, if both leave nothing."""
    for ranked in found[:PAIRED]:
        moved = ranked.moved
        if not ranked.off or moved.number != "float64":
            continue
        there = replace(moved.evidence, problem=moved.problem)
        besides = backward.guessed(there, ranked.fits, work, moved.flaws).whole
        if besides:
            yield replace(ranked, besides=besides)


def _moved(ranked: Sequence[_Ranked]) -> Diagnosis:
    """Tell what gives a scheme the recorded spikes."""
    best = ranked[0]
    name, moved = best.moved.name, best.moved
    besides = best.besides
    if besides:
        name = f"{name}; besides, {besides[0].name}, at {besides[0].where}"
    near = [r.moved.name for r in ranked if r.off == best.off and r.total <= 100 * best.total + 1e-24]
    twin = best.fits[0].twin if best.fits else Twin(moved.schemes[0])
    if len({n.partition(":")[0] for n in near}) > RIVALS:
        return _undecided("too much would explain it", ranked)
    left = best.fits[0] if best.fits and not besides else None
    off = left.off if left is not None else []
    remains = tuple(
        _off_by(moved.evidence, left.answer, place, left.misfits[place], "is ")
        for place in off
        if left is not None
    )
    return Diagnosis(
        moved.kind,
        name,
        1.0,
        moved.where,
        str(twin) if moved.evidence.clocked else "",
        rivals=tuple(n for n in dict.fromkeys(near) if n != moved.name)[:RIVALS],
        settings=twin.settings(moved.evidence.time_step),
        remains=remains,
    )


def _undecided(why: str, ranked: Sequence[_Ranked]) -> Diagnosis:
    """Tell side by side explanations that may be right by chance."""
    names = list(dict.fromkeys(r.moved.name for r in ranked))
    more = f"; and {len(names) - MOST_TOLD} others" if len(names) > MOST_TOLD else ""
    best = ranked[0]
    twin = best.fits[0].twin if best.fits else Twin(best.moved.schemes[0])
    return Diagnosis(
        "unexplained", f"{why}: {'; '.join(names[:MOST_TOLD])}{more}", 0.0, best.moved.where, str(twin)
    )


def _explained(evidence: Evidence, truth: Answer, answer: Answer | None, twins: Sequence[Twin]) -> Diagnosis:
    twin = twins[0]
    schemes = list(dict.fromkeys(t.scheme for t in twins))
    others = schemes[1:] if evidence.numbers else distinct(schemes, evidence.problem.network)[1:]
    words = together([twin, *map(Twin, others)])
    if len(others) < len(schemes) - 1:
        words += f"; {ALWAYS}"
    return Diagnosis(
        "explained",
        _equal(evidence, words, forward.lookalikes(evidence, schemes)),
        1.0,
        twin=str(twin),
        costs=_costs(evidence, truth, answer),
        settings=twin.settings(evidence.time_step),
    )


def _equal(evidence: Evidence, twin: str, same: Sequence[str] = ()) -> str:
    h = evidence.time_step
    unless = f", unless it is {', or '.join(same)}, which have the same" if same else ""
    return f"equals the discretized algorithm at a time step of {h * 1e3:g} ms ({twin}); nothing is wrong{unless}"


def _costs(evidence: Evidence, truth: Answer, twin: Answer | None) -> str:
    """Say in a sentence what the time step does to this network."""
    h = evidence.time_step
    texts = []
    for name, rows in evidence.spikes.items():
        counts = len(rows), len(truth.spikes[name])
        if counts[0] != counts[1]:
            texts.append(f"{name} has {counts[0]} spikes, exactly {counts[1]}")
    for place, values in (twin.numbers if twin is not None else {}).items():
        if place[0] == "weight" and place in truth.numbers and values.shape == truth.numbers[place].shape:
            texts.append(f"cosine {agreement(truth.numbers[place], values).cosine:.4f} of {label(place)}")
    return f"what {h * 1e3:g} ms does to this network: {', '.join(texts)}" if texts else ""


def _told_apart(evidence: Evidence, bases: Sequence[forward.Base]) -> float:
    """Return how many settings of an implementation spikes tell apart, if there is nothing but spikes."""
    if evidence.numbers or not evidence.clocked or not bases:
        return math.inf
    return max(SETTINGS, 2.0 ** (min(bases, key=lambda base: base.off).facts - forward.SURE))


def _published(evidence: Evidence, truth: Answer, work: Work, told: float = math.inf) -> Diagnosis | None:
    """Return a verdict if a registered target computes what the record says, with or without convention errors."""
    if not evidence.clocked:
        return None
    found = published.recognised(evidence, work, told)
    if found is None:
        return None
    if found.conventions:
        shared, where = backward.shared(found.conventions), backward.places(evidence, list(found.conventions))
        said = Diagnosis("convention", shared[0], 1.0, where, rivals=tuple(shared[1:3]))
    else:
        left = f", but for rounding of {found.rounding:.1g}" if found.rounding else ""
        acting = published.faults(evidence, found)
        if acting:
            texts = "; ".join(f"{fault.name}: {fault.meaning}" for fault in acting)
            where = "; ".join(dict.fromkeys(fault.where for fault in acting))
            said = Diagnosis(
                "fault", f"{texts}; so does {found.target.name}, and all is equal to it{left}", 1.0, where
            )
        else:
            said = Diagnosis(
                "explained", _equal(evidence, f"{found.target.name}{left}{_alike(found.alike)}"), 1.0
            )
        said = replace(said, costs=_costs(evidence, truth, found.answer))
    return replace(said, twin=found.target.name, settings=found.settings, target=found.entry)


def _alike(names: Sequence[str]) -> str:
    """Say which other settings compute the same, or how many there are."""
    if len(names) > RIVALS:
        return f"; {len(names)} other settings compute the same, such as: {names[0]}"
    return "".join(f"; or: {name}" for name in names)


# -- what nothing explains ------------------------------------------------------------------------------------------


def _unexplained_numbers(
    evidence: Evidence, truth: Answer, every: Sequence[backward.Fit], untried: int
) -> Diagnosis:
    best = every[0]
    if not evidence.clocked:
        text = ", ".join(_off_by(evidence, best.answer, p, best.misfits[p]) for p in best.off)
        right = "every spike is right, but " if evidence.spikes else ""
        return Diagnosis(
            "unexplained", right + text, 0.0, backward.places(evidence, best.off), untried=untried
        )
    nearest = list(dict.fromkeys(fit.twin.scheme for fit in every if len(fit.off) == len(best.off)))
    off = {place: _off(evidence, best.answer, place) for place in best.off}
    text = ", ".join(_off_by(evidence, best.answer, p, by, of=" of its twin's") for p, by in off.items())
    right = f"every spike is that of the discretized algorithm ({together(nearest)}), but "
    if not evidence.spikes:
        right = f"no spikes are recorded, and no scheme has these numbers; beside the nearest ({best.twin.scheme}) "
    return Diagnosis(
        "unexplained",
        right + text + _beside_step(evidence, truth, best),
        0.0,
        backward.places(evidence, best.off),
        together([best.twin, *(s for s in nearest if s != best.twin.scheme)]),
        settings=best.twin.settings(evidence.time_step),
        untried=untried,
    )


def _off_by(evidence: Evidence, answer: Answer, place: Place, by: float, verb: str = "", of: str = "") -> str:
    """Say by how much recorded numbers are off from an answer's; where that is no number, why."""
    off = not_finite(evidence.numbers[place])
    if not off:
        beside = "off beyond all bounds" if place in answer.numbers else "without anything beside it"
        off = f"off by {100 * by:.3g} %{of}" if math.isfinite(by) else beside
        if place in answer.numbers and _is_0(answer, place):
            off = "not 0, which it has to be"
    return f"{label(place)} {verb}{off}"


def _is_0(answer: Answer, place: Place) -> bool:
    """Say whether an answer's numbers are 0, or roundings of terms that cancel."""
    numbers = answer.numbers[place]
    return misfit(np.zeros_like(numbers), numbers, answer.scale[place]) <= ROUNDING


def _beside_step(evidence: Evidence, truth: Answer, best: backward.Fit) -> str:
    """Say so if the difference is less than the effect of the time step: an unknown way back may cause it, too."""
    moved = {place: _apart(best.answer, truth, place) for place in best.off}
    if any(not _off(evidence, best.answer, place) <= by for place, by in moved.items()):
        return ""
    costs = ", ".join(f"{100 * by:.3g} %" for by in moved.values())
    return (
        f", less than the {costs} that a time step of {evidence.time_step * 1e3:g} ms costs: an unknown way back, or a "
        "fault too small to tell from one; a finer step tells them apart"
    )


def _off(evidence: Evidence, answer: Answer, place: Place) -> float:
    """Return the relative error of a recorded number beside an answer's."""
    return relative(evidence.numbers[place], answer.numbers[place]) if place in answer.numbers else math.inf


def _apart(answer: Answer, truth: Answer, place: Place) -> float:
    """Return the relative error of a twin's numbers beside the exact ones, 0 where they cannot be compared."""
    if place not in truth.numbers or place not in answer.numbers:
        return 0.0
    off = relative(answer.numbers[place], truth.numbers[place])
    return off if math.isfinite(off) else 0.0


def _unexplained_spikes(
    evidence: Evidence, truth: Answer, bases: Sequence[forward.Base], untried: int
) -> Diagnosis:
    """Say where spikes part first, and whether all of them are as near as the time step allows."""
    if not evidence.clocked:
        return _first_spike(evidence, untried)
    nearest = bases[0]
    beside = _is_beside(evidence, nearest)
    near = ""
    if beside:
        near = (
            "; every spike is within a step per layer of it, as with an unknown scheme, or a fault too small to tell "
            "from one; a finer step tells them apart"
        )
        off = [place for place, value in misfits(evidence, truth).items() if not value <= backward.LOOSE]
        twin = Twin(nearest.scheme)
        answer = twin.answer(evidence, evidence.problem) if off else None
        apart = {} if answer is None else {place: _apart(answer, truth, place) for place in off}
        loose = backward.loosely(evidence, truth, twin, off, apart)
        if loose is not None:
            return _named([loose], evidence)
    for name in evidence.problem.network.populations:
        if name in evidence.spikes:
            got, said = evidence.spikes[name], nearest.spikes[name]
            mine, other = set(map(tuple, got.tolist())), set(map(tuple, said.tolist()))
            parted = sorted(mine ^ other)
            if parted:
                sample, at, neuron = parted[0]
                what = "a spike that" if parted[0] in mine else "no spike, where"
                whose = "no twin has" if parted[0] in mine else "the nearest twin has one"
                return Diagnosis(
                    "unexplained",
                    f"neuron {neuron} of {name!r} in sample {sample} has {what} {whose}, at step {at}; "
                    f"{len(parted)} of {len(mine | other)} spikes differ{_late(evidence, name)}{near}",
                    0.0,
                    f"spikes of {name}",
                    str(nearest.scheme),
                    settings=Twin(nearest.scheme).settings(evidence.time_step),
                    untried=untried,
                )
    return Diagnosis("unexplained", "nothing known explains it", 0.0)


def _first_spike(evidence: Evidence, untried: int) -> Diagnosis:
    """Say which spike first parts from the exact ones."""
    problem = evidence.problem
    computed = {name: evidence.record.spikes[name] for name in evidence.spikes}
    depth = depths(problem.network.populations, problem.network.projections)
    first = first_spike_divergence(
        problem.solution.spikes, computed, evidence.within * evidence.time_step, depth
    )
    if first is None:  # within the rounding of the window
        return Diagnosis("unexplained", "spikes are off by about the tolerance", 0.0, untried=untried)
    why = f"{first}{_late(evidence, str(first.place))}"
    return Diagnosis("unexplained", why, 0.0, f"spikes of {first.place}", untried=untried)


def _late(evidence: Evidence, name: str) -> str:
    """Say how many spikes of a population come after the run has ended, by more than a step."""
    t_end = evidence.problem.t_end
    late = evidence.record.spikes[name].times > t_end + (evidence.time_step if evidence.clocked else 0.0)
    n = int(np.count_nonzero(late))
    return f"; {n} of them come{'s' if n == 1 else ''} after t_end, {ms(t_end)}" if n else ""


def _is_beside(evidence: Evidence, base: forward.Base) -> bool:
    """Say whether every spike is one of a scheme's, moved by at most one step, and one more per layer before it."""
    network = evidence.problem.network
    depth = depths(network.populations, network.projections)
    for name, rows in evidence.spikes.items():
        a, b = (r[np.lexsort((r[:, 1], r[:, 2], r[:, 0]))] for r in (rows, base.spikes[name]))
        if a.shape != b.shape or (a[:, [0, 2]] != b[:, [0, 2]]).any():
            return False
        if np.abs(a[:, 1] - b[:, 1]).max(initial=0) > depth[name] + 1:
            return False
    return True
