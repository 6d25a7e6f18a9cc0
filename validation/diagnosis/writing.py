"""Ways to write right results down otherwise: other units, numbering, factors or layouts, or parts left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

import eventsolve as es
from eventsolve.synapses import Synapses, synapses_of
from eventsolve.typing import Integers, Reals
from validation.diagnosis.evidence import (
    Answer,
    Evidence,
    Place,
    by_neuron,
    differing,
    evidence_of,
    misfit,
    moved_beside,
    reduced,
)
from validation.diagnosis.factors import Numbers, factors
from validation.diagnosis.guesses import arrow, together_and_alone

UNITS = {
    1e-3: "times in milliseconds: 1000 times the seconds",
    1e3: "times too small by 1000: seconds written as milliseconds",
    1e-6: "times in microseconds: 1e6 times the seconds",
    1e6: "times too small by 1e6",
}
"""Factors for recorded times, and what each means."""
PLAIN_FACTOR = "a common factor of"
"""Begins the name of a factor that no convention explains."""
NEARLY = 0.1
"""Largest part of what is off that an explanation may leave."""
FEW = 3
"""Most spikes that may be lost or extra, one by one."""
MOST_NEURONS = 400
"""Largest population whose order of neurons is searched for."""


# -- spikes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rewriting:
    """A convention error in writing spikes down, and what a record says once it is undone."""

    name: str
    where: str
    evidence: Evidence


def rewritings(evidence: Evidence) -> Iterator[Rewriting]:
    """Yield what spikes say once a convention error in writing them down is undone."""
    record, h = evidence.record, evidence.time_step
    units = dict(UNITS)
    if evidence.clocked:
        units[h] = f"{UNITS[h]}; or in steps, which is the same here" if h in UNITS else "times in steps"
    for factor, name in units.items():
        scaled = {p: {"times": record.spikes[p].times * factor} for p in evidence.spikes}
        yield from _rewriting(name, "times of all spikes", evidence, scaled)
    for whose in together_and_alone(list(evidence.spikes)):
        of = "all spikes" if len(whose) == len(evidence.spikes) else f"spikes of {whose[0]}"
        for lag in evidence.lags:
            how = "late" if lag > 0 else "early"
            name = f"times {abs(lag):.6g} s {how}, while spikes act in time"
            if evidence.clocked:
                name = f"times a step {how}: the other end of the step is written down"
            moved = {p: {"times": record.spikes[p].times - lag} for p in whose}
            yield from _rewriting(name, f"times of {of}", evidence, moved)
    for population in evidence.spikes:
        trains = record.spikes[population]
        n = trains.n_neurons
        for by in (1, -1) if n > 2 else ():  # of two neurons it is another order
            j = "+ 1" if by > 0 else "- 1"
            name = f"neuron index off by one in what is written down: neuron j of {population!r} as j {j}"
            rolled = {population: {"neurons": (trains.neurons - by) % n}}
            yield from _rewriting(name, f"spikes of {population}", evidence, rolled)
        for other in evidence.spikes:
            theirs = record.spikes[other]
            if other > population and theirs.n_neurons == n and (trains.n_spikes or theirs.n_spikes):
                swapped = {population: evidence.spikes[other], other: evidence.spikes[population]}
                numbers = {p: v for p, v in evidence.numbers.items() if p[0] != "spike_times"}
                told = replace(evidence, spikes={**evidence.spikes, **swapped}, numbers=numbers)
                yield Rewriting(
                    f"spikes of {population!r} and {other!r} exchanged", f"spikes of {population}", told
                )
    n = record.n_samples
    for by in (1, -1) if n > 1 else ():
        name = f"samples in another order: sample s is written down as s {'+ 1' if by > 0 else '- 1'}"
        columns = {p: {"samples": (record.spikes[p].samples - by) % n} for p in evidence.spikes}
        yield from _rewriting(name, "spikes of all populations", evidence, columns)


def _rewriting(
    name: str, where: str, evidence: Evidence, columns: Mapping[str, Mapping[str, Any]]
) -> Iterator[Rewriting]:
    """Yield a rewriting that changes times, neurons or samples of spikes, if the result is valid."""
    try:
        told = rewritten(evidence, columns)
    except ValueError:  # two spikes of a neuron at one time, or one before the start
        return
    yield Rewriting(name, where, told)


def rewritten(evidence: Evidence, columns: Mapping[str, Mapping[str, Any]]) -> Evidence:
    """Return the evidence with other times, neurons or samples of spikes; dL/dt moves with its spikes."""
    record = evidence.record
    spikes, of_times = dict(record.spikes), dict(record.spike_times)
    for name, changed in columns.items():
        trains = record.spikes[name]
        new = {what: changed.get(what, getattr(trains, what)) for what in ("times", "neurons", "samples")}
        order = np.lexsort((new["neurons"], new["times"], new["samples"]))
        times, neurons, samples = (new[what][order] for what in ("times", "neurons", "samples"))
        spikes[name] = es.SpikeTrains.from_arrays(
            times, neurons, samples, n_samples=trains.n_samples, n_neurons=trains.n_neurons
        )
        if name in of_times:
            of_times[name] = of_times[name][order]
    gradients = {**record.gradients, "spike_times": of_times} if of_times else record.gradients
    moved = replace(record, spikes=spikes, gradients=gradients, traces={})
    found = evidence_of(evidence.problem, moved, evidence.time_step)
    return replace(evidence, record=moved, spikes=found.spikes, numbers=found.numbers)


def lost_or_extra(evidence: Evidence, said: Mapping[str, Integers]) -> tuple[str, str, bool] | None:
    """Say which few spikes of a scheme a record lacks, or which few extra ones it has, if nothing else differs.

    The last says whether spikes show it: what is extra at outputs alone acts on none, and may be of anything.
    """
    lacking, more = [], []
    for name, rows in evidence.beside(said).items():
        mine, theirs = (set(map(tuple, r.tolist())) for r in (rows, said[name]))
        lacking += [(name, *row) for row in theirs - mine]
        more += [(name, *row) for row in mine - theirs]
    off = sorted(lacking or more)
    if (lacking and more) or not 0 < len(off) <= FEW:
        return None
    network = evidence.problem.network
    told = [
        f"neuron {neuron} of {name!r} in sample {sample} at {step * evidence.time_step * 1e3:.6g} ms"
        for name, sample, step, neuron in off
    ]
    acted = all(
        any(
            ((said[other][:, 0] == sample) & (said[other][:, 1] > step)).any()
            for other in (key[1] for key in network.projections if key[0] == name)
            if other in said
        )
        or ((said[name][:, 0] == sample) & (said[name][:, 1] > step) & (said[name][:, 2] == neuron)).any()
        for name, sample, step, neuron in off
    )
    count = "one spike is" if len(off) == 1 else f"{len(off)} spikes are"
    if more:
        words = f"{count} written down without any effect"
    elif acted:
        words = (
            f"{count} not written down, while all of {'its' if len(off) == 1 else 'their'} effects are there"
        )
    else:
        words = f"{count} missing, not sent or not written down"
    where = ", ".join(dict.fromkeys(name for name, *_ in off))
    sends = {key[0] for key in network.projections if key[1] in said}
    return f"{words}: {'; '.join(told)}", f"spikes of {where}", not more or all(n in sends for n, *_ in off)


def left_out(
    evidence: Evidence, got: Mapping[str, Integers], said: Mapping[str, Integers]
) -> tuple[str, str] | None:
    """Say which pattern of spikes a record leaves out, and of what, if it has no other spikes.

    Spikes that are not written down show in what they cause downstream, or in the numbers.
    """
    ends = [rows[:, 1].max() for rows in got.values() if rows.size]
    if ends:
        end = max(ends)
        if all(differing(rows, said[name][said[name][:, 1] <= end]) == 0 for name, rows in got.items()):
            return f"the record ends at step {end}: later spikes are not there", "spikes of all populations"
    for name, rows in got.items():
        if differing(rows, said[name]) == 0:
            continue
        others = {key: value for key, value in got.items() if key != name}
        if any(differing(value, said[key]) for key, value in others.items()):
            return None
        sends = any(key[0] == name and key[1] in got for key in evidence.problem.network.projections)
        found = _pattern(name, rows, said[name], sends or bool(evidence.numbers))
        return None if found is None else (found, f"spikes of {name}")
    return None


def _pattern(name: str, got: Integers, said: Integers, acts: bool) -> str | None:
    first = np.sort(np.unique(said[:, [0, 2]], axis=0, return_index=True)[1])
    if differing(got, said[first]) == 0:
        return f"only the first spike of every neuron of {name!r} is written down"
    missing = np.setdiff1d(said[:, 2], got[:, 2])
    if missing.size and differing(got, said[~np.isin(said[:, 2], missing)]) == 0:
        if not acts:
            return None
        who = ", ".join(map(str, missing[:6].tolist()))
        return (
            f"silent in the record alone: neurons {who} of {name!r} spike, and nothing of it is written down"
        )
    most = int(np.bincount(got[:, 0]).max(initial=0)) if got.size else 0
    rank = np.arange(said.shape[0]) - np.searchsorted(said[:, 0], said[:, 0])
    if differing(got, said[rank < most]) == 0:
        return f"a buffer of {most} spikes per sample of {name!r}: later ones are lost on their way into the record"
    return None


def renumbered(got: Integers, said: Integers, n: int, within: int) -> Integers | None:
    """Return which neuron each of those that are recorded is, (n,), if that explains everything."""
    got = moved_beside(got, said, within, of_any=True)
    if n > MOST_NEURONS or got.shape != said.shape:
        return None
    return _order(*([rows[rows[:, 2] == j][:, :2] for j in range(n)] for rows in (got, said)))


def reordered(got: Mapping[str, Integers], said: Mapping[str, Integers], n: int) -> Integers | None:
    """Return which sample each of those that are recorded is, (n,), if that explains everything."""
    if n > MOST_NEURONS or any(rows.shape != said[name].shape for name, rows in got.items()):
        return None
    mine, theirs = (
        [
            np.concatenate([_marked(k, rows[rows[:, 0] == s][:, 1:]) for k, rows in enumerate(of)])
            for s in range(n)
        ]
        for of in (got.values(), [said[name] for name in got])
    )
    return _order(mine, theirs)


def _marked(mark: int, rows: Integers) -> Integers:
    return np.column_stack([np.full(len(rows), mark), rows])


def _order(mine: Sequence[Integers], theirs: Sequence[Integers]) -> Integers | None:
    """Return which of theirs each of mine is, None if one is none of them."""
    ours = [frozenset(map(tuple, rows.tolist())) for rows in mine]
    others = [frozenset(map(tuple, rows.tolist())) for rows in theirs]
    n = len(ours)
    cost = np.array([[ours[j] != others[k] for k in range(n)] for j in range(n)], dtype=np.float64)
    cost -= 1e-6 * np.eye(n)  # those without spikes stay where they are
    rows, columns = linear_sum_assignment(cost)
    return None if (cost[rows, columns] > 0.5).any() else np.asarray(columns, dtype=np.int64)


# -- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Convention:
    """A convention error in writing numbers down: its name, and how far off the numbers still are with it."""

    name: str
    misfit: float


def _comparable(evidence: Evidence, answer: Answer, place: Place) -> bool:
    """Say whether an answer has numbers other than 0 at a place, and the record finite ones of the same shape."""
    if place not in answer.numbers or not answer.samples.get(place, answer.numbers[place]).any():
        return False
    got = evidence.numbers[place]
    return got.shape == answer.numbers[place].shape and bool(np.isfinite(got).all())


def conventions_of(evidence: Evidence, answer: Answer, place: Place, tolerance: float) -> list[Convention]:
    """Return the convention errors that make an answer's numbers the recorded ones, best first, a mere factor last.

    Where the tolerance is about as wide as what is off, much would be within it, so a convention error has to leave but
    little of what is off.
    """
    if not _comparable(evidence, answer, place):
        return []
    got, said, scale = evidence.numbers[place], answer.numbers[place], answer.scale[place]
    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        most = NEARLY * float(np.linalg.norm(got - said))
        for name, values, size in _candidates(evidence, answer, place):
            off = misfit(got, values, size)
            if not (off <= tolerance and misfit(values, said, scale) > tolerance):
                continue
            if np.linalg.norm(got - values) <= most:
                found.append(Convention(name, off))
    off = misfit(got, said, scale)
    with np.errstate(over="ignore"):
        short = np.array_equal(got, got.astype(np.float16).astype(np.float64))
    if off > tolerance and short and (np.abs(got - said) <= 2.0**-10 * np.abs(said) + 2.0**-24).all():
        found.append(Convention("rounded to float16", 0.0))
    found.sort(key=lambda convention: convention.misfit)
    square = float(np.vdot(said, said))
    ratio = float(np.vdot(said, got)) / square if square else 0.0
    if ratio and got.size > 1 and not misfit(got, said, scale) <= tolerance:
        off = misfit(got, said * ratio, scale * abs(ratio))
        if off <= tolerance and np.linalg.norm(got - said * ratio) <= most:
            found.append(Convention(f"{PLAIN_FACTOR} {ratio:.4g}", off))
    return found


def loose_conventions(evidence: Evidence, answer: Answer, place: Place, tolerance: float) -> list[Convention]:
    """Return the named convention errors that bring numbers within a tolerance of their own size."""
    if not _comparable(evidence, answer, place):
        return []
    got = evidence.numbers[place]
    found = []
    with np.errstate(over="ignore", invalid="ignore"):
        for name, values, _ in _candidates(evidence, answer, place):
            size = min(float(np.linalg.norm(got)), float(np.linalg.norm(values)))
            off = misfit(got, values, size)
            if off <= tolerance:
                found.append(Convention(name, off))
    return sorted(found, key=lambda convention: convention.misfit)


def _candidates(evidence: Evidence, answer: Answer, place: Place) -> Iterator[tuple[str, Reals, float]]:
    """Yield the names of convention errors, the numbers that they give, and the scale of their roundings."""
    quantity, where = place
    said, scale, got = answer.numbers[place], answer.scale[place], evidence.numbers[place]
    record, problem = evidence.record, evidence.problem
    synapses = sparse_synapses(evidence, place)
    neurons = None
    if quantity == "spike_times":
        spikes = answer.spikes.get(str(where))
        trains = problem.inputs.get(str(where))
        if spikes is not None:
            neurons = spikes[np.lexsort((spikes[:, 1], spikes[:, 2], spikes[:, 0])), 2]
        elif trains is not None:
            neurons = trains.neurons[by_neuron(trains)]
    step = evidence.time_step if evidence.clocked else record.time_step
    for name, reason, factor in factors(Numbers(quantity, where, problem, step, synapses, neurons)):
        because = f" ({reason})" if reason else ""
        yield f"a factor {name}{because}", said * factor, float(scale * np.abs(factor).max())
    if not got.any():
        yield (
            "all numbers are 0: never computed, or nothing goes back through spikes",
            np.zeros_like(said),
            scale,
        )
    if quantity in ("weight", "delay") and synapses is None:
        yield "written down transposed", np.swapaxes(said, -1, -2).reshape(said.shape), scale
        for by in (1, -1):
            j = "+ 1" if by > 0 else "- 1"
            yield f"columns shifted: source neuron j is written down as j {j}", np.roll(said, by, -1), scale
            yield f"rows shifted: target neuron j is written down as j {j}", np.roll(said, by, -2), scale
    yield "signs lost: absolute values", np.abs(said), scale
    limit = float(np.abs(got).max(initial=0.0))
    if limit and np.count_nonzero(np.abs(got) == limit) > 1:
        yield f"clipped at {limit:.6g}", np.clip(said, -limit, limit), scale
    rows = answer.samples.get(place)
    if rows is None or rows.shape[0] < 2:
        return
    if record.reduction == "none":
        for by in (1, -1):
            yield (
                f"samples in another order: sample s is written down as s {'+ 1' if by > 0 else '- 1'}",
                np.roll(said, by, 0),
                scale,
            )
        yield (
            "accumulated: the gradients of earlier samples are added",
            np.cumsum(rows, axis=0),
            scale * len(rows),
        )
        return
    n = rows.shape[0]
    sums = np.cumsum(rows, axis=0)
    yield (
        "accumulated: the gradients of earlier samples are added",
        reduced(sums, record.reduction),
        scale * n,
    )
    for which, name in ((0, "first"), (n - 1, "last")):
        for share, of in ((1.0, ""), (1.0 / n, f", divided by {n}")):
            yield f"the {name} sample's alone{of}", rows[which] * share, scale * n
        without = np.delete(rows, which, axis=0)
        yield f"without the {name} sample", reduced(without, record.reduction), scale
        yield (
            f"without the {name} sample, divided by all",
            without.sum(axis=0) / n,
            scale,
        )


def sparse_synapses(evidence: Evidence, place: Place) -> Synapses | None:
    """Return target and source of each number of a sparse projection; None for other numbers."""
    quantity, where = place
    if quantity not in ("weight", "delay") or isinstance(where, str):
        return None
    return synapses_of(evidence.problem.network.projections[where].weight)


def label(place: Place) -> str:
    """Return a quantity and its place in words."""
    quantity, where = place
    if quantity == "loss":
        return "loss"
    name = where if isinstance(where, str) else arrow(where)
    return f"{ {'weight': 'dL/dw', 'spike_times': 'dL/dt'}.get(quantity, f'dL/d{quantity}') } of {name}"
