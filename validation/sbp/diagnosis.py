"""A record of learning against circuits: is it the published one, and if not, which one thing is wrong.

Each trial is run from the weights that were recorded before it; copies that were not recorded go on as the circuit has
them, and so do spikes that are under way. A circuit explains a record if it gives all of its weights and spikes, to the
last bit. What several explain is not told apart, and is said to be one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.frozen import FrozenMapping
from validation.sbp import circuit
from validation.sbp.guesses import Guess, guesses, right
from validation.sbp.record import Record
from validation.sbp.rule import CHIP, Read
from validation.sbp.weights import Integers
from validation.sbp.wiring import LEARNING

PHASES = (*range(1, LEARNING.n_phases), 0)
"""Of a trial, in their order."""
LEARNS = {"w1": (7, 11), "w2": (5, 9), "plus": (5, 9), "minus": (5, 9)}
"""In which phases weights grow and shrink."""
MOST_NAMES = 6
"""In a sentence."""


class Trial(NamedTuple):
    """What a circuit does in a trial: spikes (12, n) by population, and weights after it by projection."""

    spikes: Mapping[str, NDArray[np.bool_]]
    weights: Mapping[str, Integers]


class UnequalWeight(NamedTuple):
    """A weight that is not what a circuit makes of it."""

    trial: int
    projection: str
    pre: int
    post: int
    before: int
    expected: int
    got: int

    def __str__(self) -> str:
        """Say which it is."""
        return (
            f"trial {self.trial}, {self.projection}[{self.pre}, {self.post}]: from {self.before} to {self.got}, "
            f"where {self.expected} was expected"
        )


class UnequalSpike(NamedTuple):
    """A spike that is missing or extra; ``lifted`` says whether anything lifts the population in this phase."""

    trial: int
    phase: int
    population: str
    neuron: int
    extra: bool
    lifted: bool

    def __str__(self) -> str:
        """Say which it is."""
        word = "fires" if self.extra else "does not fire"
        ungated = ", which no gate lifts: an ungated spike" if self.extra and not self.lifted else ""
        return f"trial {self.trial}, phase {self.phase}: {self.population}[{self.neuron}] {word}{ungated}"


@dataclass(frozen=True)
class Place:
    """Where a record first is not what a circuit does.

    Attributes
    ----------
    weight : UnequalWeight or None
        The first one, by trial and then in the order in which projections learn.
    spike : UnequalSpike or None
        The first one of the populations that were recorded, by trial and phase.
    phases : tuple of int
        In which it may have begun: that of the spike, or else those in which the weight learns what it lacks.
    population : str
        Where it began: that of the spike, or the one behind the weight.
    unequal : int
        Weights that are unequal, over all trials.
    """

    weight: UnequalWeight | None
    spike: UnequalSpike | None
    phases: tuple[int, ...]
    population: str
    unequal: int


@dataclass(frozen=True)
class Diagnosis:
    """What explains a record.

    Attributes
    ----------
    verdict : {"agrees", "fault", "unexplained"}
    sentence : str
    names : tuple of str
        Of a fault: each thing that, wrong alone, explains every bit; several if the record does not tell them apart.
    kinds : tuple of str
        Theirs; see :class:`validation.sbp.guesses.Guess`.
    reads : tuple of str
        Orders of reading and learning that the record allows, if it agrees.
    place : Place or None
        Where it departs first from the circuit, if it does.
    notes : tuple of str
        What else there is to say, such as copies that have parted.
    """

    verdict: str
    sentence: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    reads: tuple[Read, ...]
    place: Place | None
    notes: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict == "agrees"


def simulated(record: Record, guess: Guess, consecutive: bool) -> Iterator[Trial]:
    """Yield what a circuit makes of each trial, from the weights that were recorded before it."""
    known = record.before
    state = _begun(record, guess)
    for trial in range(record.n_trials):
        weights = {name: known[name][trial] if name in known else w for name, w in state.weights.items()}
        if not consecutive:
            state = circuit.begun(weights, guess.wiring)
        state = circuit.State(FrozenMapping(weights), state.lines, state.step)
        ran = _ran(record, guess, state, trial, trial + 1)
        yield Trial({n: s[0] for n, s in ran.spikes.items()}, {n: w[0] for n, w in ran.weights.items()})
        state = ran.state


def _begun(record: Record, guess: Guess) -> circuit.State:
    """Return a circuit before the first trial, with what was recorded, and what follows from it for all else."""
    held = guess.began(record.derived) | {name: w[0] for name, w in record.before.items()}
    return circuit.begun(held, guess.wiring)


def _ran(record: Record, guess: Guess, state: circuit.State, low: int, high: int) -> circuit.Trials:
    return circuit.ran(state, record.inputs[low:high], record.targets[low:high], guess.wiring, guess.rule)


def explains(record: Record, guess: Guess) -> bool:
    """Say whether a circuit gives all that was recorded, to the last bit."""
    if not starts_so(record, guess):
        return False
    for consecutive in (True, False) if record.consecutive is None else (record.consecutive,):
        n_equal = _n_equal(record, guess, consecutive)
        if n_equal in (0, record.n_trials):  # before the first trial, nothing can be under way
            return n_equal > 0
    return False


def _n_equal(record: Record, guess: Guess, consecutive: bool) -> int:
    """Return a number of trials from the first on that a circuit gives: all, or at most as many as it does."""
    if not consecutive or record.between:
        for trial, found in enumerate(simulated(record, guess, consecutive)):
            weights = {name: values[np.newaxis] for name, values in found.weights.items()}
            spikes = {name: values[np.newaxis] for name, values in found.spikes.items()}
            if not _equal(record, weights, spikes, trial, trial + 1):
                return trial
        return record.n_trials
    # as long as all is equal, a trial goes on from what was recorded before it
    state, low, n = _begun(record, guess), 0, 1
    while low < record.n_trials:
        high = min(low + n, record.n_trials)
        ran = _ran(record, guess, state, low, high)
        if not _equal(record, ran.weights, ran.spikes, low, high):
            return low
        state, low, n = ran.state, high, 4 * n
    return low


def _equal(
    record: Record, weights: Mapping[str, Any], spikes: Mapping[str, Any], low: int, high: int
) -> bool:
    return all(
        np.array_equal(values[low:high], weights[name]) for name, values in record.after.items()
    ) and all(np.array_equal(values[low:high], spikes[name]) for name, values in record.spikes.items())


def starts_so(record: Record, guess: Guess) -> bool:
    """Say whether copies that were recorded begin as a circuit has them.

    +W2^T and the copies for the box are always equal to what they copy; -W2^T may have parted where W2 was at a limit.
    """
    expected = guess.began(record.derived)
    found = {name: record.before[name][0] for name in record.before}
    for name, values in found.items():
        started = guess.start is not None and guess.start.projection == name
        if (name != "oTm->hT" or started) and not np.array_equal(values, expected[name]):
            return False
    if "oTm->hT" in found and not (guess.start and guess.start.projection == "oTm->hT"):
        w2 = record.before["h->o"][0]
        wrong = np.array_equal(found["oTm->hT"], w2.T) or not found["oTm->hT"].any()
        return not (wrong and w2.any())
    return True


def diagnosed(record: Record) -> Diagnosis:
    """Say what explains a record."""
    reads: tuple[Read, ...] = (record.read,) if record.read is not None else ("before", "after")
    notes = tuple(_notes(record))
    found = tuple(read for read in reads if explains(record, right(read)))
    if found and not (record.consecutive and record.between):
        how = (
            f"with spikes weighted {found[0]} their step's learning"
            if len(found) == 1
            else "in either order of reading and learning, which these trials do not tell apart"
        )
        said = f"{record.name} learns as the circuit does, in every bit of {record.n_trials} trials, {how}."
        return Diagnosis("agrees", said, (), (), found, None, notes)
    base = found[0] if found else min(reads, key=lambda read: departure(record, right(read)).unequal)
    place = departure(record, right(base))
    if found:
        said = f"{record.name} does not keep its weights from one trial to the next: {record.between}."
        return Diagnosis("fault", said, ("weights change between trials",), ("between",), found, place, notes)
    matching: dict[str, Guess] = {}
    for read in reads:
        asked: set[Guess] = set()
        for guess in guesses(read):
            same = replace(guess, kind="", says="")  # a gate that lifts one population has two names
            if same not in asked and guess.says not in matching and explains(record, guess):
                matching[guess.says] = guess
            asked.add(same)
    if not matching:
        said = f"{record.name} does not learn as the circuit does, and no single fault that is known explains it."
        return Diagnosis("unexplained", said, (), (), (), place, notes)
    names = tuple(_each_kind_first(matching))
    kinds = tuple(dict.fromkeys(guess.kind for guess in matching.values()))
    if len(names) == 1:
        said = f"{record.name} has a fault that explains every bit: {names[0]}."
    else:
        said = (
            f"{record.name} has one of {len(names)} faults, each of which explains every bit, and which these trials "
            f"do not tell apart: {'; or '.join(names[:MOST_NAMES])}"
            + (f"; and {len(names) - MOST_NAMES} more." if len(names) > MOST_NAMES else ".")
        )
        silent = [name for name in LEARNING.names if name not in record.spikes]
        if silent:
            notes = (*notes, f"Spikes that were not recorded may tell them apart: of {', '.join(silent)}.")
    return Diagnosis("fault", said, names, kinds, (), place, notes)


def _each_kind_first(matching: Mapping[str, Guess]) -> list[str]:
    """Return names in such an order that the first of each kind come before the second ones."""
    seen: Counter[str] = Counter()
    places = {}
    for name, guess in matching.items():
        places[name] = seen[guess.kind]
        seen[guess.kind] += 1
    return sorted(matching, key=places.__getitem__)


def departure(record: Record, guess: Guess) -> Place:
    """Return where a record first is not what a circuit does."""
    weight: UnequalWeight | None = None
    spike: UnequalSpike | None = None
    unequal = 0
    order = [p.name for p in LEARNING.plastic if LEARNS[p.holds] == (5, 9)]
    order += [p.name for p in LEARNING.plastic if p.name not in order]
    for trial, found in enumerate(simulated(record, guess, record.consecutive is not False)):
        for name in (n for n in order if n in record.after):
            expected, got = found.weights[name], record.after[name][trial]
            apart = np.argwhere(expected != got)
            unequal += len(apart)
            if len(apart) and weight is None:
                i, j = map(int, apart[0])
                before = int(record.before[name][trial][i, j])
                weight = UnequalWeight(trial, name, i, j, before, int(expected[i, j]), int(got[i, j]))
        if spike is None:
            spike = _first_spike(record, trial, found)
    if spike is not None and (weight is None or spike.trial <= weight.trial):
        return Place(weight, spike, (spike.phase,), spike.population, unequal)
    if weight is None:
        return Place(None, spike, (), "", unequal)
    projection = next(p for p in LEARNING.plastic if p.name == weight.projection)
    return Place(weight, spike, _phases(weight, LEARNS[projection.holds]), projection.post, unequal)


def _phases(weight: UnequalWeight, learns: tuple[int, int]) -> tuple[int, ...]:
    """Return in which phases a weight may have missed, or won, what it is off by."""
    off = weight.got - weight.expected
    grow, shrink = learns
    if abs(off) != 2:
        return learns
    wanted = weight.expected - weight.before
    if wanted == 0:  # something was learned that should not have been
        return (grow,) if off > 0 else (shrink,)
    return (grow,) if wanted > 0 else (shrink,)


def _first_spike(record: Record, trial: int, found: Trial) -> UnequalSpike | None:
    for phase in PHASES:
        for name in (name for name in LEARNING.names if name in record.spikes):
            apart = np.flatnonzero(record.spikes[name][trial, phase] != found.spikes[name][phase])
            if len(apart):
                extra = bool(record.spikes[name][trial, phase, apart[0]])
                return UnequalSpike(trial, phase, name, int(apart[0]), extra, is_lifted(name, phase))
    return None


def is_lifted(population: str, phase: int) -> bool:
    """Say whether a gate, or another neuron in its place, lifts a population in a phase; gates need none."""
    if population in LEARNING.gates:
        return True
    return any(f.gate == phase and f.post == population and f.weight > 0 for f in LEARNING.lifts) or (
        (population in ("dp", "dm") and phase == 4)
        or (population in ("h", "h_lo", "h_hi") and phase in (7, 11))
    )


def _notes(record: Record) -> Iterator[str]:
    if record.between and record.consecutive is None:
        yield f"Trials are taken one by one, as weights change between them: {record.between}."
    w2, minus = record.after["h->o"], record.after.get("oTm->hT")
    if minus is not None:
        apart = int((minus[-1] != -w2[-1].T).sum())
        if apart:
            yield (
                f"-W2^T is not the negative of W2 in {apart} of {minus[-1].size} weights after the last trial; in a "
                "right circuit that is so where one was at a limit."
            )
    low, high = CHIP.bounds
    limit = sum(int(((w[-1] <= low) | (w[-1] >= high)).sum()) for w in (record.after["x->h"], w2))
    if limit:
        yield f"{limit} weights of W1 and W2 are at a limit after the last trial."
    ungated = sum(
        int(values[:, phase].sum())
        for name, values in record.spikes.items()
        for phase in PHASES
        if not is_lifted(name, phase)
    )
    if ungated:
        yield f"Ungated spikes, of neurons that no gate lifts: {ungated}."
