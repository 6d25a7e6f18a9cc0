"""Diagnose a record: the questions, in their order."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

import eventsolve as es
from eventsolve.compare import agreement
from eventsolve.compare.divergence import first_spike_divergence
from eventsolve.compare.records import depths
from eventsolve.io import records
from eventsolve.testing import slips, spike_slips
from validation.diagnosis import backward, forward, published
from validation.diagnosis.diagnosis import Diagnosis
from validation.diagnosis.evidence import (
    Answer,
    Evidence,
    Place,
    answer_of,
    evidence_of,
    misfit,
    misfits,
    on_grid,
)
from validation.diagnosis.guesses import Kind
from validation.diagnosis.replays import replayed
from validation.diagnosis.twins import Scheme, Twin
from validation.diagnosis.writing import label, slips_of, sparse_synapses
from validation.oracle import oracle

ROUNDING = math.sqrt(float(np.finfo(np.float64).eps))
"""Relative error within which float64 implementations agree."""
MOST_NAMES = 12
"""Guesses of which it is looked whether they have the recorded numbers, too."""
PATIENCE = 20.0
"""CPU seconds for which guesses are tried, unless told otherwise."""


def diagnose(
    problem: es.Problem, record: records.Record, *, tolerance: float = ROUNDING, patience: float = PATIENCE
) -> Diagnosis:
    """Say what explains how a record differs from the exact solution.

    Parameters
    ----------
    problem : Problem
        What the implementation was given.
    record : eventsolve.io.records.Record
        What it computed: any of spikes, loss values and gradients. With a ``time_step`` it is held against twins on a
        clock, too.
    tolerance : float
        Relative error of numbers, and of times against t_end, within which an implementation equals the exact solution.
    patience : float
        CPU seconds for which guesses are tried. Those for which there was no time are counted in ``untried``.

    Raises
    ------
    ValueError
        If there is nothing to judge, or the record does not fit the problem.
    """
    if record.loss_values is None and not any(record.gradients.values()):
        problem = replace(problem, loss=None)
    if problem.loss is None:
        record = replace(record, gradients={}, loss_values=None)
    if not (record.spikes or record.gradients or record.loss_values is not None):
        raise ValueError(
            "the record has nothing to judge: no spikes, and no loss or gradients with the loss they are of"
        )
    step = record.time_step
    exact = evidence_of(problem, record, step or problem.t_end * ROUNDING)
    truth = _exact(exact)
    if _agrees(exact, truth, tolerance):
        return Diagnosis("agrees", "equal within rounding", 1.0)
    measured = replayed(exact, tolerance)
    if measured is not None:
        return measured
    if step is None:
        return _continuous(exact, truth, tolerance)
    return _clocked(exact, truth, step, time.process_time() + patience)


# -- against the exact solution ----------------------------------------------------------------------------------------


def _exact(evidence: Evidence) -> Answer:
    return answer_of(oracle(evidence.problem), evidence)


def _agrees(evidence: Evidence, truth: Answer, tolerance: float) -> bool:
    solution = evidence.problem.solution
    spikes = {name: t for name, t in evidence.record.spikes.items() if name not in evidence.problem.inputs}
    if first_spike_divergence(solution.spikes, spikes, evidence.problem.t_end * tolerance) is not None:
        return False
    return all(value <= tolerance for value in misfits(evidence, truth).values())


def _continuous(evidence: Evidence, truth: Answer, tolerance: float) -> Diagnosis:
    """Judge an implementation without a clock: slips of convention, and wrong adjoints of the exact solution."""
    problem, record = evidence.problem, evidence.record
    width = problem.t_end * tolerance
    spikes = {name: t for name, t in record.spikes.items() if name not in problem.inputs}
    first = first_spike_divergence(problem.solution.spikes, spikes, width)
    if first is not None:
        named = spike_slips.recognised_spikes(problem, spikes, first, atol=width, time_step=None)
        if named:
            told = named[0].startswith(("times", "neurons", "a step of delay: every"))
            where = f"spikes of {first.place}"
            return Diagnosis("convention" if told else "fault", named[0], 1.0, where, rivals=named[1:])
        return Diagnosis("unexplained", str(first), 0.0, f"spikes of {first.place}")
    values = misfits(evidence, truth)
    off = [place for place, value in values.items() if not value <= tolerance]
    by_place: dict[Place, tuple[str, ...]] = {}
    for place in off:
        quantity, place_of = place
        written = tuple(slip.name for slip in slips_of(evidence, truth, place, tolerance))
        synapses = sparse_synapses(evidence, place)
        of = slips.Evidence(
            quantity, place_of, truth.numbers[place], record.reduction, problem, synapses=synapses
        )
        wrong = slips.recognised(of, evidence.numbers[place], rtol=tolerance, atol=0.0) if not written else ()
        by_place[place] = written or wrong
    where = backward.places(evidence, off)
    shared = [n for n in by_place[off[0]] if all(n in found for found in by_place.values())]
    loose = None if all(by_place.values()) else backward.loosely(evidence, truth, off)
    if loose is not None:
        return _named([loose], None)
    if shared:
        kind: Kind = "fault" if shared[0] in slips.ADJOINTS else "convention"
        return Diagnosis(kind, shared[0], 1.0, where, rivals=tuple(shared[1:3]))
    if all(by_place.values()):
        name = "; ".join(f"{found[0]}, at {label(place)}" for place, found in by_place.items())
        kind = "fault" if any(f[0] in slips.ADJOINTS for f in by_place.values()) else "convention"
        return Diagnosis(kind, name, 1.0, where)
    text = ", ".join(f"{label(place)} off by {100 * values[place]:.3g} %" for place in off)
    return Diagnosis("unexplained", text, 0.0, where)


# -- against twins on the clock --------------------------------------------------------------------------------------


def _clocked(evidence: Evidence, truth: Answer, step: float, until: float) -> Diagnosis:
    bases = forward.bases(evidence)
    schemes = forward.matching(evidence, bases) if on_grid(evidence.record, step) else []
    if schemes:
        return _numbers(evidence, truth, schemes, until)
    known = _published(evidence, truth, until)
    if known is not None:
        return known
    if not bases:
        return Diagnosis("unexplained", "no scheme on a clock that is known here runs this problem", 0.0)
    written = _ranked(forward.written(evidence, bases))
    if written and written[0].off == 0 and written[0].fits:
        return _moved(written)
    found, untried = forward.guessed(evidence, bases, until)
    ranked = sorted([*written, *_ranked(found)], key=lambda r: (r.off, r.total))
    if ranked:
        return _moved(ranked)
    return _unexplained_spikes(evidence, truth, bases, untried)


def _numbers(evidence: Evidence, truth: Answer, schemes: Sequence[Scheme], until: float) -> Diagnosis:
    """Judge loss and gradients where the spikes are those of some schemes."""
    if not evidence.numbers:
        return _explained(evidence, truth, None, Twin(schemes[0]))
    every = backward.fits(evidence, schemes, evidence.problem)
    best = every[0]
    if not best.off:
        return _explained(evidence, truth, best.answer, best.twin)
    known = _published(evidence, truth, until)
    if known is not None:
        return known
    written = backward.slips(evidence, every)
    if written and written[0].edits == 1:
        return _named(written, evidence.time_step)
    guessed = backward.guessed(evidence, every, until)
    found = guessed.whole or written or guessed.halves
    if found:
        return _named(found, evidence.time_step)
    loose = backward.loosely(evidence, every[0].answer, every[0].off)
    if loose is not None:
        return _named([loose], evidence.time_step, every[0].twin)
    return _unexplained_numbers(evidence, truth, every, guessed.untried)


def _named(found: Sequence[backward.Found], time_step: float | None, twin: Twin | None = None) -> Diagnosis:
    best = found[0]
    near = [f.name for f in found if f.edits == best.edits and f.after <= 100 * best.after + 1e-24]
    rivals = tuple(name for name in dict.fromkeys(near) if name != best.name)[:3]
    return Diagnosis(
        best.kind,
        best.name,
        max(0.0, 1.0 - math.sqrt(best.after / best.before)) if best.before else 1.0,
        best.where,
        "" if time_step is None else str(twin or best.twin),
        rivals=rivals,
        settings=() if time_step is None else (twin or best.twin).settings(time_step),
    )


@dataclass(frozen=True, eq=False)
class _Ranked:
    """What gives a scheme the recorded spikes, and how its numbers fit then."""

    moved: forward.Moved
    fits: Sequence[backward.Fit]
    off: int
    total: float


def _ranked(found: Sequence[forward.Moved]) -> list[_Ranked]:
    """Return what has the recorded numbers, too, first."""
    ranked = []
    for moved in found[:MOST_NAMES]:
        fits = []
        if moved.evidence.numbers:
            fits = backward.fits(moved.evidence, moved.schemes, moved.problem, moved.flaws)
        ranked.append(
            _Ranked(moved, fits, len(fits[0].off), fits[0].total) if fits else _Ranked(moved, fits, 0, 0.0)
        )
    return sorted(ranked, key=lambda r: (r.off, r.total))


def _moved(ranked: Sequence[_Ranked]) -> Diagnosis:
    """Tell what gives a scheme the recorded spikes."""
    best = ranked[0]
    name, moved = best.moved.name, best.moved
    if best.off:
        besides = backward.slips(moved.evidence, best.fits)
        if besides:
            name = f"{name}; besides, {besides[0].name}, at {besides[0].where}"
    near = [r.moved.name for r in ranked if r.off == best.off and r.total <= 100 * best.total + 1e-24]
    twin = best.fits[0].twin if best.fits else Twin(moved.schemes[0])
    return Diagnosis(
        moved.kind,
        name,
        1.0,
        moved.where,
        str(twin),
        rivals=tuple(n for n in dict.fromkeys(near) if n != moved.name)[:3],
        settings=twin.settings(moved.evidence.time_step),
    )


def _explained(evidence: Evidence, truth: Answer, answer: Answer | None, twin: Twin) -> Diagnosis:
    return Diagnosis(
        "explained",
        _equal(evidence, str(twin)),
        1.0,
        twin=str(twin),
        costs=_costs(evidence, truth, answer),
        settings=twin.settings(evidence.time_step),
    )


def _equal(evidence: Evidence, twin: str) -> str:
    h = evidence.time_step
    return f"equals the discretized algorithm at a time step of {h * 1e3:g} ms ({twin}); nothing is wrong"


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


def _published(evidence: Evidence, truth: Answer, until: float) -> Diagnosis | None:
    """Return a verdict if a registered target computes what the record says, with or without slips of writing."""
    found = published.recognised(evidence, until)
    if found is None:
        return None
    if found.slips:
        shared, where = backward.shared(found.slips), backward.places(evidence, list(found.slips))
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
            said = Diagnosis("explained", _equal(evidence, f"{found.target.name}{left}"), 1.0)
        said = replace(said, costs=_costs(evidence, truth, found.answer))
    return replace(said, twin=found.target.name, settings=found.settings, target=found.entry)


# -- what nothing explains ------------------------------------------------------------------------------------------


def _unexplained_numbers(
    evidence: Evidence, truth: Answer, every: Sequence[backward.Fit], untried: int
) -> Diagnosis:
    best = every[0]
    apart = {p: _apart(best.answer, truth, p) for p in best.misfits}
    if not untried and all(best.misfits[place] <= apart[place] for place in best.off):
        return Diagnosis(
            "explained",
            f"as near to the discretized algorithm at a time step of {evidence.time_step * 1e3:g} ms ({best.twin}) as "
            "that is to the exact solution, though equal to no scheme that is known here",
            1.0 - max(best.misfits[p] / apart[p] if apart[p] else 1.0 for p in best.off) / 2,
            twin=str(best.twin),
            costs=_costs(evidence, truth, best.answer),
            settings=best.twin.settings(evidence.time_step),
        )
    text = ", ".join(f"{label(p)} off by {100 * best.misfits[p]:.3g} % of its twin's" for p in best.off)
    return Diagnosis(
        "unexplained",
        f"every spike is that of the discretized algorithm ({best.twin.scheme}), but {text}",
        0.0,
        backward.places(evidence, best.off),
        str(best.twin),
        settings=best.twin.settings(evidence.time_step),
        untried=untried,
    )


def _apart(answer: Answer, truth: Answer, place: Place) -> float:
    """Return how far a twin's numbers are from the exact ones, 0 where they cannot be compared."""
    if place not in truth.numbers or place not in answer.numbers:
        return 0.0
    if truth.numbers[place].shape != answer.numbers[place].shape:
        return 0.0
    return misfit(answer.numbers[place], truth.numbers[place], answer.scale[place])


def _unexplained_spikes(
    evidence: Evidence, truth: Answer, bases: Sequence[forward.Base], untried: int
) -> Diagnosis:
    """Say where spikes part first, or that all of them are where the time step allows."""
    nearest = bases[0]
    beside = _is_beside(evidence, nearest)
    if beside and not untried and _off_within(evidence, truth, bases):
        return Diagnosis(
            "explained",
            "as near to the exact solution as the discretized algorithm at a time step of "
            f"{evidence.time_step * 1e3:g} ms, and every spike within a step per layer of it, though equal to no "
            "scheme that is known here",
            0.5,
            twin=str(nearest.scheme),
            settings=Twin(nearest.scheme).settings(evidence.time_step),
        )
    if beside:
        off = [place for place, value in misfits(evidence, truth).items() if not value <= backward.LOOSE]
        loose = backward.loosely(evidence, truth, off) if off else None
        if loose is not None:
            return _named([loose], evidence.time_step, Twin(nearest.scheme))
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
                    f"{len(parted)} of {len(mine | other)} spikes differ",
                    0.0,
                    f"spikes of {name}",
                    str(nearest.scheme),
                    settings=Twin(nearest.scheme).settings(evidence.time_step),
                    untried=untried,
                )
    return Diagnosis("unexplained", "nothing that is known here explains it", 0.0)


def _is_beside(evidence: Evidence, base: forward.Base) -> bool:
    """Say whether every spike is one of a scheme's, moved by a step for each layer before it and one more at most."""
    network = evidence.problem.network
    depth = depths(network.populations, network.projections)
    for name, rows in evidence.spikes.items():
        a, b = (r[np.lexsort((r[:, 1], r[:, 2], r[:, 0]))] for r in (rows, base.spikes[name]))
        if a.shape != b.shape or (a[:, [0, 2]] != b[:, [0, 2]]).any():
            return False
        if np.abs(a[:, 1] - b[:, 1]).max(initial=0) > depth[name] + 1:
            return False
    return True


def _off_within(evidence: Evidence, truth: Answer, bases: Sequence[forward.Base]) -> bool:
    """Say whether no number is further from the exact one than some scheme's."""
    mine = misfits(evidence, truth)
    if not mine:
        return True
    fits = backward.fits(evidence, [base.scheme for base in forward.different(bases)[:4]], evidence.problem)
    return all(
        any(value <= _apart(fit.answer, truth, place) for fit in fits) for place, value in mine.items()
    )
