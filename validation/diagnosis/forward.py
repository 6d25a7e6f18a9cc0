"""The way there: which scheme has the recorded spikes, or which convention error or guess makes one have them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.compare.records import depths
from eventsolve.network import Projection
from eventsolve.shown import arrow
from eventsolve.typing import Integers
from validation.diagnosis import guesses, linear, places, scans, writing
from validation.diagnosis.evidence import Evidence, differing, distance, mismatch
from validation.diagnosis.guesses import Guess, Kind
from validation.diagnosis.opened import Odd, odd, opened
from validation.diagnosis.twins import USUAL_PROPAGATORS, Clock, Scheme, Twin, schemes, spikes_off
from validation.diagnosis.work import Work, cost
from validation.grid.flaws import NONE, Flaws
from validation.grid.scheme import Propagators, factors
from validation.grid.tables import transports
from validation.grid.time_stepped import WORDS

ENOUGH = 40
"""Fewest spikes of the samples on which a guess is tried first."""
NEAREST = 3
"""Schemes on which guesses are tried first."""
FEW = 3
"""Most neurons each of which is suspected by itself."""
SURE = 6
"""Facts needed beyond those that one of all guesses explains by chance, if only spikes support a guess."""
FACTS = 64
"""Facts beyond which counting stops: so many distinguish more guesses than there are."""
OF_A_TIME = 8
"""How many facts a spike time in continuous time counts as, since more of its digits are recorded."""
SOME = 3
"""Differing samples on which a place is tried first."""
VARIATIONS = 3
"""Most variations in which a scheme differs from a usual one."""
NEARLY = 0.1
"""Share of spikes that may be off when a guess is tried on a few samples: float32 may move as many."""


@dataclass(frozen=True, eq=False)
class Base:
    """A scheme and its spikes.

    Attributes
    ----------
    scheme : Scheme
    spikes : mapping of str to ndarray of int64
        As in :class:`validation.diagnosis.evidence.Evidence`.
    off : int
        How many spikes of the record differ.
    evidence : Evidence
        What the scheme is compared with.
    odd : Odd or None
        The neurons whose spikes their input does not explain; None if that is not known.
    """

    scheme: Scheme
    spikes: Mapping[str, Integers]
    off: int
    evidence: Evidence
    odd: Odd | None = None

    @property
    def apart(self) -> tuple[int, int]:
        """Distance from the record: the number of neurons, where it is known, then of spikes."""
        return (0 if self.odd is None else self.odd.count), self.off

    @cached_property
    def facts(self) -> int:
        """How many independent facts a guess has to put right at once.

        On a clock :func:`validation.diagnosis.linear.contradictions` counts them, with every neuron given the recorded
        spikes. Where that is impossible, each neuron whose spikes in a sample are off counts as one fact, unless it is
        downstream of another such neuron.
        """
        near = self.evidence.beside(self.spikes)
        if not self.evidence.clocked:
            off = {name: differing(rows, self.spikes[name]) for name, rows in near.items()}
            return OF_A_TIME * _first(self.evidence, off)
        there = located(self.evidence, [self])[0].odd if self.odd is None else self.odd
        if there is not None and isinstance(self.scheme, Clock):
            count = linear.contradictions(self.evidence, self.scheme, there.neurons, FACTS)
            if count is not None:
                return count
        pairs = odd(self.evidence, self.spikes).of
        return _first(self.evidence, {name: len(of) for name, of in pairs.items()})

    def tells(self, guesses: int) -> bool:
        """Say whether spikes alone distinguish one of so many guesses, half of which explain any fact by chance."""
        return self.facts >= math.log2(max(guesses, 1)) + SURE


def bases(evidence: Evidence) -> tuple[list[Base], list[str]]:
    """Return the schemes that can run the problem, and why others cannot.

    Schemes that agree with what the record says of its scheme come first, the nearest of them first. If some schemes
    have the recorded spikes, those that differ in the first few samples are left out.
    """
    few, refused = _few(evidence), list[str]()
    if few is not evidence:
        near = [base.scheme for base in _bases(few, schemes(evidence), refused) if base.off == 0]
        found = _bases(evidence, near, refused)
        if any(base.off == 0 for base in found):
            return found, refused
    return _bases(evidence, schemes(evidence), refused), refused


def _bases(evidence: Evidence, of: Iterable[Scheme], refused: list[str]) -> list[Base]:
    found = []
    spikes_only = replace(evidence, numbers={})
    for scheme in of:
        answer = Twin(scheme).answer(spikes_only, replace(evidence.problem, loss=None), refused=refused)
        if answer is not None:
            found.append(Base(scheme, answer.spikes, mismatch(evidence, answer.spikes), spikes_only))
    said = evidence.record.scheme.said
    return sorted(found, key=lambda base: (not base.scheme.is_as(said), base.off))


def declared(evidence: Evidence, found: Sequence[Base]) -> Sequence[Base]:
    """Return the schemes that are as the record says of its own, or else such as those that are found, but as it says.

    All that are found are returned if it says nothing that decides where spikes are, and in continuous time.
    """
    decides = {f.name for f in fields(Clock)}
    said: dict[str, Any] = {n: v for n, v in evidence.record.scheme.said.items() if n in decides}
    if not said or not evidence.clocked:
        return found
    as_said = [base for base in found if base.scheme.is_as(said)]
    if as_said:
        return found if len(as_said) == len(found) else as_said
    others = dict.fromkeys(replace(base.scheme, **said) for base in found if isinstance(base.scheme, Clock))
    return _bases(evidence, others, [])


def matching(evidence: Evidence, found: Sequence[Base]) -> list[Scheme]:
    """Return the schemes that have the recorded spikes, in float64 or else in float32."""
    exactly = [base.scheme for base in found if base.off == 0]
    if exactly or not found or not evidence.clocked:
        return exactly
    near = [base.scheme for base in found if base.off <= 4 * min(other.off for other in found)]
    single = [s for s in near if spikes_off(evidence, s, evidence.problem, number="float32") == 0]
    at_threshold = [replace(s, inclusive=True) for s in near if isinstance(s, Clock)]
    return single or [s for s in at_threshold if spikes_off(evidence, s, evidence.problem) == 0]


def lookalikes(evidence: Evidence, found: Sequence[Scheme]) -> list[str]:
    """Return other schemes with a plain fault that also have the recorded spikes.

    Two propagators that differ in how far a current moves V have the same spikes if the weights make up for it.
    Gradients of weights tell them apart, since these change by the inverse factor. A step of transport is a step of
    every delay.
    """
    clocks = [scheme for scheme in found if isinstance(scheme, Clock)]
    if not clocks or not evidence.spikes:
        return []
    said = []
    if all(scheme.transport and scheme.order == "voltage_first" for scheme in clocks):
        said.append("a scheme whose spikes act at once, with every delay a step too long")
    if all(scheme.feedback for scheme in clocks):
        in_cycles = transports(evidence.problem.network, 0, 1).items()
        of = ", ".join(arrow(key) for key, late in in_cycles if late)
        said.append(f"a scheme whose spikes act as soon in cycles, with delays a step too long: {of}")
    if all(scheme.input_rounding == "next" for scheme in clocks):
        said.append("a scheme that takes inputs on a step to that step, with their delays a step too long")
    if any(quantity == "weight" for quantity, _ in evidence.numbers):
        return said
    first, network = clocks[0], evidence.problem.network
    gains = {name: _gain(evidence, name) for name in USUAL_PROPAGATORS}
    for name in set(gains) - {scheme.propagators for scheme in clocks}:
        ratio = _gain(evidence, first.propagators) / gains[name]
        for x in dict.fromkeys(float(f"{ratio:.{digits}g}") for digits in (1, 2)):
            keys = network.projections.items()
            other = network.with_weights({key: p.shaped(p.weights * x) for key, p in keys})
            ran = replace(evidence.problem, network=other, loss=None)
            if x != 1.0 and spikes_off(evidence, replace(first, propagators=name), ran) == 0:
                said.append(f"{WORDS[name]} with weights multiplied by {x:g}")
                break
    return said


def _gain(evidence: Evidence, propagators: Propagators) -> float:
    """Return how far a current moves V of the first neuron in a step."""
    p = next(p for p in evidence.problem.network.populations.values() if p.neuron is not None)
    return float(factors(p, evidence.time_step, propagators).transfer[0])


def located(evidence: Evidence, found: Sequence[Base]) -> list[Base]:
    """Return schemes with the neurons whose spikes their input does not explain, those with the fewest first.

    A fault in a population moves everything downstream, under every scheme; but only under the right one do all other
    neurons spike as their input demands.
    """
    there = opened(evidence.problem, evidence) if evidence.clocked else None
    if there is None:
        return list(found)
    said, result = evidence.record.scheme.said, []
    spikes_only = replace(evidence, numbers={})
    for base in found:
        answer = Twin(base.scheme).answer(spikes_only, there)
        result.append(base if answer is None else replace(base, odd=odd(evidence, answer.spikes)))
    if any(base.odd is None for base in result):
        return list(found)
    return sorted(result, key=lambda base: (not base.scheme.is_as(said), base.apart))


def varied(evidence: Evidence, found: Sequence[Base]) -> list[Scheme]:
    """Return the schemes with the recorded spikes that are a few :meth:`Clock.variations` from one of the nearest.

    They are searched for one variation at a time, each of which brings spikes nearer to the recorded ones, on a few
    samples first. If only spikes support them, each variation has to put right more spikes than chance would.
    """
    few, depth = _few(evidence), VARIATIONS
    tried: dict[Clock, _Beside] = {}
    for base in found:
        if isinstance(base.scheme, Clock):
            tried[base.scheme] = _beside(few, base.scheme)
    for scheme in [s for s in tried if s.order == "current_first" and s.transport == 1]:
        other = replace(
            scheme, input_transport=0, points="0..n"
        )  # nearer to the record than what it varies is
        tried[other] = _beside(few, other)
    most = min((base.off for base in found), default=0)
    if not evidence.numbers and not _at_the_end(evidence, found):
        depth = min(depth, most // SURE)
    expanded: set[Clock] = set()
    # nearest in all samples: a few may be those in which a scheme parts early
    first = {base.scheme for base in sorted(found, key=lambda base: base.off)[:NEAREST]}
    for _ in range(depth):
        nearest = {s for by in (_by_distance, _by_start) for s in sorted(tried, key=by(tried))[:NEAREST]}
        for scheme in [s for s in tried if s in (nearest | first) - expanded]:
            expanded.add(scheme)
            for other in scheme.variations(evidence):
                if other not in tried:
                    tried[other] = _beside(few, other)
        total = sum(len(rows) for rows in few.spikes.values())
        right = [scheme for scheme, beside in tried.items() if beside.off <= NEARLY * total]
        right = sorted(right, key=lambda scheme: tried[scheme].off)[: 2 * NEAREST]
        for number in ("float64", "float32"):
            same = [s for s in right if number != "float64" or tried[s].off == 0]
            same = [s for s in same if spikes_off(evidence, s, evidence.problem, number=number) == 0]
            if same:
                return list(same)
    return []


@dataclass(frozen=True)
class _Beside:
    """Distance of a scheme's spikes from the recorded ones.

    Attributes
    ----------
    off : float
        How many spikes differ.
    distance : float
        Sum of their distances in steps.
    start : float
        Sum over samples of the steps up to which they are equal: what acts at a spike changes nothing before it.
    """

    off: float
    distance: float
    start: float


def _beside(evidence: Evidence, scheme: Scheme) -> _Beside:
    answer = Twin(scheme).answer(evidence, replace(evidence.problem, loss=None))
    if answer is None:
        return _Beside(np.inf, np.inf, 0.0)
    first = np.full(evidence.problem.n_samples, evidence.n_steps + 1)
    for name, rows in evidence.spikes.items():
        other = set(map(tuple, rows.tolist())) ^ set(map(tuple, answer.spikes[name].tolist()))
        for sample, step, _ in other:
            first[sample] = min(first[sample], step)
    return _Beside(mismatch(evidence, answer.spikes), distance(evidence, answer.spikes), float(first.sum()))


def _by_distance(tried: Mapping[Clock, _Beside]) -> Callable[[Clock], float]:
    return lambda scheme: tried[scheme].distance


def _by_start(tried: Mapping[Clock, _Beside]) -> Callable[[Clock], float]:
    return lambda scheme: -tried[scheme].start


def alike(evidence: Evidence, schemes: Sequence[Scheme]) -> list[Scheme]:
    """Return the schemes that have the recorded spikes and differ from given ones in one thing."""
    few = _few(evidence)
    clocks = [scheme for scheme in schemes if isinstance(scheme, Clock)]
    others = dict.fromkeys(other for scheme in clocks for other in scheme.variations(evidence))
    return [
        other
        for other in others
        if other not in schemes
        and spikes_off(few, other, few.problem) == 0
        and spikes_off(evidence, other, evidence.problem) == 0
    ]


def _at_the_end(evidence: Evidence, found: Sequence[Base]) -> bool:
    """Say whether a record differs from some scheme only in that it has no spike at the last point."""
    return any(
        all(
            differing(rows, base.spikes[name][base.spikes[name][:, 1] < evidence.n_steps]) == 0
            for name, rows in evidence.spikes.items()
        )
        for base in found
    )


def different(found: Sequence[Base]) -> list[Base]:
    """Return one scheme of each group that has the same spikes."""
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
        The schemes that then have the recorded spikes.
    problem, flaws
        What the schemes run, and with which flaws.
    evidence : Evidence
        What the record says once its spikes are written down in the usual convention.
    moves : int
        How many spikes differ without it.
    numbers : Range or None
        For a guess with a number, the values with which the spikes are right.
    number : str
        Format of states; other formats are tried only if it is "float64".
    alone : bool
        Whether spikes alone tell it from other guesses, by :meth:`Base.tells`.
    """

    name: str
    where: str
    kind: Kind
    schemes: tuple[Scheme, ...]
    problem: es.Problem
    flaws: Flaws
    evidence: Evidence
    moves: int
    numbers: scans.Range | None = None
    number: str = "float64"
    alone: bool = True

    @property
    def late(self) -> bool:
        """Whether times are off by a constant, as a delay before the first population also makes them."""
        return self.where.startswith("times of") and (" late" in self.name or " early" in self.name)


def written(evidence: Evidence, found: Sequence[Base]) -> list[Moved]:
    """Return the convention errors in writing spikes down that make a scheme right."""
    every = list(writing.rewritings(evidence))
    on = {base.scheme: base for base in found}
    return [
        replace(moved, alone=moved.alone and on[moved.schemes[0]].tells(len(every)))
        for moved in _written(evidence, found, every)
    ]


def _written(evidence: Evidence, found: Sequence[Base], every: Sequence[writing.Rewriting]) -> list[Moved]:
    problem, result = evidence.problem, []
    for rewriting in every:
        right = tuple(b.scheme for b in found if mismatch(rewriting.evidence, b.spikes) == 0)
        if right:
            where, told = rewriting.where, rewriting.evidence
            result.append(
                Moved(rewriting.name, where, "convention", right, problem, NONE, told, found[0].off)
            )
    if result:
        return result
    for base in found:
        near = evidence.beside(base.spikes)
        left_out = writing.left_out(evidence, near, base.spikes)
        said = (*left_out, True) if left_out else writing.lost_or_extra(evidence, base.spikes)
        if said is not None:
            name, where, shown_by_spikes = said
            numbers = {p: v for p, v in evidence.numbers.items() if p[0] != "spike_times"}
            shown = replace(evidence, spikes=base.spikes, numbers=numbers)
            return [
                Moved(
                    name,
                    where,
                    "fault",
                    (base.scheme,),
                    problem,
                    NONE,
                    shown,
                    base.off,
                    alone=shown_by_spikes,
                )
            ]
    for base in found:
        for how in (_renumbered, _reordered):
            moved = how(evidence, base)
            if moved is not None:
                return [moved]
    return []


def _renumbered(evidence: Evidence, base: Base) -> Moved | None:
    """Return the order in which neurons are written down, if nothing else is off."""
    near, network = evidence.beside(base.spikes), evidence.problem.network
    off = [name for name, rows in near.items() if differing(rows, base.spikes[name])]
    columns, texts = {}, []
    for name in off:
        n = network.population(name).size
        order = writing.renumbered(evidence.spikes[name], base.spikes[name], n, evidence.within)
        if order is None:
            return None
        columns[name] = {"neurons": order[evidence.record.spikes[name].neurons]}
        texts.append(f"of {name!r}, 0..{n - 1} are written down as {np.argsort(order).tolist()}")
    if not off:
        return None
    name, where = f"neurons in another order: {'; '.join(texts)}", f"spikes of {', '.join(off)}"
    shown = writing.rewritten(evidence, columns)
    return Moved(name, where, "convention", (base.scheme,), evidence.problem, NONE, shown, base.off)


def _reordered(evidence: Evidence, base: Base) -> Moved | None:
    """Return the order in which samples are written down, if nothing else is off."""
    n = evidence.record.n_samples
    order = writing.reordered(evidence.spikes, base.spikes, n) if evidence.clocked and n > 1 else None
    if order is None or not base.off:
        return None
    name = f"samples in another order: of the spikes, 0..{n - 1} are written down as {np.argsort(order).tolist()}"
    columns = {p: {"samples": order[evidence.record.spikes[p].samples]} for p in evidence.spikes}
    shown = writing.rewritten(evidence, columns)
    where = "spikes of all populations"
    return Moved(name, where, "convention", (base.scheme,), evidence.problem, NONE, shown, base.off)


def guessed(evidence: Evidence, found: Sequence[Base], work: Work) -> Iterator[Iterator[list[Moved]]]:
    """Yield the guesses with which a scheme has the recorded spikes, as far as the work allows to try them.

    They come in stages, and within a stage scheme by scheme; each is tried when it is asked for. The nearest schemes
    come before the others, and in each group the guesses whose number has to be searched for come last.
    """
    few = _few(evidence)
    every = list(guesses.forward(evidence))
    found = located(evidence, found)
    bases = different(found)
    stages = itertools.product((bases[:NEAREST], bases[NEAREST:]), ((_short, _plain, _placed), (_searched,)))
    for group, kinds in stages:
        yield (_with_schemes(of(evidence, few, found, base, every, work) for of in kinds) for base in group)


def _with_schemes(of_kinds: Iterable[Iterable[Moved]]) -> list[Moved]:
    """Return the guesses with which a scheme has all recorded spikes, which those of a few samples may not be."""
    return [moved for found in of_kinds for moved in found if moved.schemes]


def _short(
    evidence: Evidence, few: Evidence, found: Sequence[Base], base: Base, every: Sequence[Guess], work: Work
) -> Iterator[Moved]:
    """Yield the guess that states are held in few bits, if that gives the recorded spikes."""
    if not evidence.clocked or not work.allows(cost(few)):
        return
    if spikes_off(few, base.scheme, few.problem, number="float16") == 0:
        name, where = "states in float16: V and I are held in 11 bits", "spikes of all populations"
        moved = _on_all_like(evidence, found, base, Guess(name, where, evidence.problem), "float16")
        yield replace(moved, number="float16", alone=base.tells(work.tried))


def _placed(
    evidence: Evidence, few: Evidence, found: Sequence[Base], base: Base, every: Sequence[Guess], work: Work
) -> Iterator[Moved]:
    """Yield faults of one synapse, one neuron or one packet, and numbers that can be computed."""
    for numbers in _linear(evidence, base, work):
        guess = numbers.guess(evidence.problem, numbers.roundest)
        if work.allows(cost(evidence)) and (number := _right(evidence, base.scheme, guess)):
            moved = _on_all_like(evidence, found, base, guess, number)
            yield replace(moved, alone=base.tells(work.tried), numbers=numbers)
    parted = places.partings(evidence, base.spikes)
    some = [parting.sample for parting in parted[:SOME]]
    part, price = evidence.only(some), cost(evidence) * len(some) / evidence.problem.n_samples
    missing = places.synapses(evidence, parted) if base.odd is None else _swapped(evidence, base, work)
    for guess in itertools.chain(missing, places.packets(evidence, base.spikes, parted)):
        if not work.allows(price):
            continue
        small = replace(guess.problem, loss=None).select(some)
        if spikes_off(part, base.scheme, small) == 0 and (number := _right(evidence, base.scheme, guess)):
            moved = _on_all_like(evidence, found, base, guess, number)
            yield replace(moved, alone=base.tells(work.tried))


def _linear(evidence: Evidence, base: Base, work: Work) -> Iterator[scans.Range]:
    """Yield numbers of one neuron or population that would explain the unexplained spikes."""
    if base.odd is None or len(base.odd.of) != 1:
        return
    assert isinstance(base.scheme, Clock)
    ((population, neurons),) = base.odd.neurons.items()
    size = evidence.problem.network.population(population).size
    price = cost(evidence) + linear.STEP * evidence.n_steps
    into = _into(evidence, population)
    sources = sum(np.unique(p.sources).size for p in into)
    parameters = 1 + len(linear.OWN)
    if len(neurons) == 1:
        own = sum(int(np.diff(p.row_offsets)[neurons[0]]) for p in into)
        if work.allows(price, own + parameters):
            yield from linear.of_a_neuron(evidence, base.scheme, population, neurons[0])
    if work.allows(size * price, sources + len(into) + parameters):
        yield from linear.of_a_population(evidence, base.scheme, population)


def _into(evidence: Evidence, population: str) -> list[Projection]:
    return [p for key, p in evidence.problem.network.projections.items() if key[1] == population]


def _swapped(evidence: Evidence, base: Base, work: Work) -> Iterator[Guess]:
    """Yield guesses that two synapses of a projection are exchanged."""
    if base.odd is None or len(base.odd.of) != 1:
        return
    assert isinstance(base.scheme, Clock)
    ((population, neurons),) = base.odd.neurons.items()
    if len(neurons) > 2:
        return
    price = len(neurons) * (cost(evidence) + linear.STEP * evidence.n_steps)
    every = [int(np.diff(p.row_offsets)[n]) for n in neurons for p in _into(evidence, population)]
    if not work.allows(price, sum(every) ** 2 // (2 * len(neurons))):
        return
    for name, where, network in linear.swaps(evidence, base.scheme, population, neurons):
        yield Guess(name, where, replace(evidence.problem, network=network))


def delayed(evidence: Evidence, found: Sequence[Base], like: Sequence[Scheme]) -> list[Moved]:
    """Return the delays that give the recorded spikes to a scheme that moves states ``like`` given schemes.

    A scheme that sends spikes a step later, for example, needs other delays. They are so few that all are tried.
    """
    of = set(map(_moves, like))
    every = [guess for guess in guesses.forward(evidence) if guess.name.startswith("delay ")]
    few = _few(evidence)
    work, bases = Work(math.inf), different([base for base in found if _moves(base.scheme) in of])
    return _with_schemes(_plain(evidence, few, found, base, every, work) for base in bases)


def _moves(scheme: Scheme) -> tuple[str, ...]:
    """Return the properties of a scheme that no delay can make up for."""
    return (scheme.propagators, scheme.input_rounding) if isinstance(scheme, Clock) else ()


def _first(evidence: Evidence, off: Mapping[str, int]) -> int:
    """Return how many are off in the first populations where any are; those downstream follow from them."""
    network, levels = evidence.problem.network, dict[int, int]()
    depth = depths(network.populations, network.projections)
    for name, number in off.items():
        levels[depth[name]] = levels.get(depth[name], 0) + number
    return next((levels[level] for level in sorted(levels) if levels[level]), 0)


def _plain(
    evidence: Evidence, few: Evidence, found: Sequence[Base], base: Base, every: Sequence[Guess], work: Work
) -> Iterator[Moved]:
    price = cost(few)
    for guess in every:
        if not work.allows(price):
            continue
        small = few.of_first_samples(guess.problem)
        off = spikes_off(few, base.scheme, small, guess.flaws)
        total = sum(len(rows) for rows in few.spikes.values())
        if off is None or off > NEARLY * max(total, 10):
            continue
        if (number := _right(evidence, base.scheme, guess)) is not None:
            moved = _on_all_like(evidence, found, base, guess, number)
            yield replace(moved, alone=base.tells(work.tried))


def _searched(
    evidence: Evidence, few: Evidence, found: Sequence[Base], base: Base, every: Sequence[Guess], work: Work
) -> Iterator[Moved]:
    """Yield the guesses whose number is found by a search."""
    price = scans.RUNS * cost(few)
    for family in scans.families(evidence.problem.network, _suspects(evidence, base)):
        if not work.allows(price):
            continue
        if scans.searched(few, base.scheme, family) is None:
            continue
        numbers = scans.searched(evidence, base.scheme, family)
        if numbers is not None:
            guess = numbers.guess(evidence.problem, numbers.roundest)
            moved = _on_all_like(evidence, found, base, guess, "float64")
            yield replace(moved, numbers=numbers, alone=base.tells(work.tried))


def _on_all_like(evidence: Evidence, found: Sequence[Base], base: Base, guess: Guess, number: str) -> Moved:
    """Return a guess with all schemes to which it gives the recorded spikes, of those as near to the record as one."""
    alike = (b.scheme for b in found if b.apart == base.apart)
    schemes = tuple(scheme for scheme in alike if _has(evidence, scheme, guess, number))
    return Moved(guess.name, guess.where, guess.kind, schemes, guess.problem, guess.flaws, evidence, base.off)


def _suspects(evidence: Evidence, base: Base) -> dict[str, tuple[int, ...]]:
    """Return the neurons whose spikes differ in the first population where any do, if they are few."""
    if base.odd is not None:
        few = sum(map(len, base.odd.neurons.values())) <= FEW
        return base.odd.neurons if few else {}
    for name in evidence.problem.network.populations:
        if name not in evidence.spikes:
            continue
        got, said = evidence.beside(base.spikes)[name], base.spikes[name]
        neurons = np.union1d(got[:, 2], said[:, 2])
        off = [n for n in neurons.tolist() if differing(got[got[:, 2] == n], said[said[:, 2] == n])]
        if off:
            return {name: tuple(off)} if len(off) <= FEW else {}
    return {}


def _few(evidence: Evidence) -> Evidence:
    """Return the first samples only: enough to judge, and at least two."""
    count = min(2, evidence.problem.n_samples)
    while count < evidence.problem.n_samples:
        few = evidence.first_samples(count)
        if sum(len(rows) for rows in few.spikes.values()) >= ENOUGH:
            return few
        count += 1
    return evidence


def _right(evidence: Evidence, scheme: Scheme, guess: Guess) -> str | None:
    """Return the first number format in which a guess gives the recorded spikes, if there is one."""
    numbers = ("float64", "float32") if evidence.clocked else ("float64",)
    return next((n for n in numbers if _has(evidence, scheme, guess, n)), None)


def _has(evidence: Evidence, scheme: Scheme, guess: Guess, number: str) -> bool:
    return spikes_off(evidence, scheme, guess.problem, guess.flaws, number) == 0
