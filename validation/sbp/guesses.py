"""What may be wrong with a circuit, one thing at a time: each a circuit of its own, to be held against a record."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from validation.sbp.rule import CHIP, Read, Rule
from validation.sbp.weights import Integers
from validation.sbp.wiring import GATE, HALF, LEARNING, OPEN, SILENCE, Lift, Relay, Wiring

Held = Mapping[str, Integers]


class Start(NamedTuple):
    """What a projection holds to begin with: its weights times a factor."""

    projection: str
    factor: int


@dataclass(frozen=True)
class Guess:
    """A circuit as it may be.

    Attributes
    ----------
    kind : str
        Of what is wrong: "delay", "gate", "reinforcement", "edge", "learning", "start", "pause", "relay", "bias" or
        "limits"; "" if nothing is.
    says : str
        What is wrong, in words.
    wiring : Wiring
    rule : Rule
    start : Start, optional
        What is wrong from the beginning.
    """

    kind: str
    says: str
    wiring: Wiring = LEARNING
    rule: Rule = CHIP
    start: Start | None = None

    def began(self, held: Held) -> dict[str, Integers]:
        """Return what projections hold to begin with, of what they should."""
        found = dict(held)
        if self.start is not None:
            name, factor = self.start
            low, high = self.rule.bounds
            found[name] = np.clip(factor * found[name], int(low), int(high)).astype(np.int32)
        return found


def right(read: Read) -> Guess:
    """Return the circuit as it is published, with an order of reading and learning."""
    return Guess("", f"spikes weighted {read} their step's learning", rule=Rule(read=read))


def guesses(read: Read) -> Iterator[Guess]:
    """Yield circuits with one thing wrong."""
    for make in (_limits, _edges, _starts, _learning, _reinforcement, _pauses, _gates, _relays, _biases):
        for guess in make():
            yield replace(guess, rule=replace(guess.rule, read=read))


def _limits() -> Iterator[Guess]:
    yield Guess("limits", "weights end at -254 and 254", rule=Rule(limits="symmetric"))
    yield Guess("limits", "weights have no limits", rule=Rule(limits="none"))


def _edges() -> Iterator[Guess]:
    usual = {"h": GATE, "h_lo": GATE + HALF, "h_hi": OPEN, "o": GATE, "o_lo": GATE + HALF, "o_hi": OPEN}
    ends = {"": (512, "fires"), "_lo": (0, "lower edge"), "_hi": (1024, "upper edge")}
    for mark, (edge, word) in ends.items():
        for layers in (("h", "o"), ("h",), ("o",)):
            posts = {layer + mark for layer in layers}
            for change in (1, -2):  # sums are even: one less is as two less, and one more is as none
                lifts = tuple(
                    lift._replace(weight=lift.weight + change)
                    if lift.post in posts and lift.gate in (2, 3) and lift.weight == usual[lift.post]
                    else lift
                    for lift in LEARNING.lifts
                )
                says = f"{' and '.join(sorted(posts))} {word} above {edge - change}, not above {edge}"
                yield Guess("edge", says, replace(LEARNING, lifts=lifts))
    yield Guess(
        "edge",
        "neurons fire at their threshold, not above it",
        replace(LEARNING, threshold=LEARNING.threshold - 1),
    )


def _starts() -> Iterator[Guess]:
    names = {"o->hT": "+W2^T", "oTm->hT": "-W2^T"}
    for p in LEARNING.plastic:
        name = names.get(p.name, f"the copy {p.name}")
        if p.name in ("x->h", "h->o"):
            continue
        yield Guess("start", f"{name} starts with the wrong sign", start=Start(p.name, -1))
        yield Guess("start", f"{name} starts at 0", start=Start(p.name, 0))


def _learning() -> Iterator[Guess]:
    groups: list[tuple[str, ...]] = [(p.name,) for p in LEARNING.plastic]
    groups += [
        ("x->h_lo", "x->h_hi"),
        ("h->o_lo", "h->o_hi"),
        ("o->hT", "oTm->hT"),
        ("x->h", "x->h_lo", "x->h_hi"),
    ]
    groups += [("h->o", "h->o_lo", "h->o_hi"), ("h->o", "h->o_lo", "h->o_hi", "o->hT", "oTm->hT")]
    for group in groups:
        plastic = tuple(p._replace(learns=p.learns and p.name not in group) for p in LEARNING.plastic)
        yield Guess(
            "learning",
            f"{' and '.join(group)} {_verb(group, 'learn')} nothing",
            replace(LEARNING, plastic=plastic),
        )


def _verb(group: tuple[str, ...], verb: str) -> str:
    return verb if len(group) > 1 else f"{verb}s"


def _reinforcement() -> Iterator[Guess]:
    for n in range(5):
        for phases in combinations((5, 7, 9, 11), n):
            if phases != (5, 7):
                yield _rewarded(phases)
    yield _rewarded((4, 6))
    yield _rewarded((6, 8))
    for step in (4, 6, 8):
        yield Guess("reinforcement", f"weights change by {step}, not by 2", replace(LEARNING, step=step))


def _rewarded(phases: tuple[int, ...]) -> Guess:
    words = (
        f"in {'phase' if len(phases) == 1 else 'phases'} {' and '.join(map(str, phases))}"
        if phases
        else "never"
    )
    if phases in ((5,), (7,)):
        words += " alone"
    return Guess(
        "reinforcement",
        f"reinforcement comes {words}, not in phases 5 and 7",
        replace(LEARNING, rewarded=frozenset(phases)),
    )


def _pauses() -> Iterator[Guess]:
    groups = [tuple(p.name for p in LEARNING.populations if p.pause == 2)]
    groups += [(p.name,) for p in LEARNING.populations]
    groups += [("h", "h_lo", "h_hi"), ("o", "o_lo", "o_hi")]
    for more in (1, 2, 3):
        populations = tuple(p._replace(pause=p.pause + more) for p in LEARNING.populations)
        says = f"the refractory periods of all populations are longer by {more}"
        yield Guess("pause", says, replace(LEARNING, populations=populations))
        for group in groups:
            populations = tuple(
                p._replace(pause=p.pause + more) if p.name in group else p for p in LEARNING.populations
            )
            was = {p.name: p.pause for p in LEARNING.populations}[group[0]]
            whom = "all but hT" if len(group) > 10 else " and ".join(group)
            says = f"the refractory period of {whom} is {was + more}, not {was}"
            yield Guess("pause", says, replace(LEARNING, populations=populations))


def _gates() -> Iterator[Guess]:
    for gate in range(LEARNING.n_phases):
        of = f"gate {gate} (phase {gate})"
        late = _lifted([f for f in LEARNING.lifts if f.gate == gate], late=1)
        yield Guess("gate", f"{of} comes one step late", late)
        onward = tuple(int(k == gate) for k in range(LEARNING.n_phases))
        says = f"all that {of} sends comes one step late, to the next gate, too"
        yield Guess("gate", says, replace(late, chain=onward))
        chain = tuple(int(k == (gate - 1) % LEARNING.n_phases) for k in range(LEARNING.n_phases))
        yield Guess(
            "gate", f"{of} is reached one step late, and all that follow it", replace(LEARNING, chain=chain)
        )
    phases = sorted({(f.gate, _family(f.post)) for f in LEARNING.lifts})
    for gate, family in phases:
        posts = sorted({f.post for f in LEARNING.lifts if f.gate == gate and _family(f.post) == family})
        for some in (posts, *([[p] for p in posts] if len(posts) > 1 else [])):
            here = [f for f in LEARNING.lifts if f.gate == gate and f.post in some]
            whom = f"gate {gate} to {' and '.join(some)}"
            yield Guess("gate", f"{whom} comes one step late", _lifted(here, late=1))
            yield Guess("gate", f"{whom} comes one step early", _lifted(here, late=-1))
            yield Guess("gate", f"{whom} is missing", _lifted(here, late=None))


def _lifted(some: Collection[Lift], late: int | None) -> Wiring:
    """Return the circuit with some lifts late, early or missing."""
    lifts = []
    for lift in LEARNING.lifts:
        if lift not in some:
            lifts.append(lift)
        elif late is not None and late > 0:
            lifts.append(lift._replace(delay=lift.delay + late))
        elif late is not None:
            lifts.append(lift._replace(gate=(lift.gate + late) % LEARNING.n_phases))
    return replace(LEARNING, lifts=tuple(lifts))


def _family(name: str) -> str:
    """Return what a population and its copies are called together."""
    return name.removesuffix("_lo").removesuffix("_hi")


def _relays() -> Iterator[Guess]:
    families: dict[tuple[str, str, int, int], list[Relay]] = {}
    for relay in LEARNING.relays:
        families.setdefault((relay.pre, _family(relay.post), relay.weight, relay.delay), []).append(relay)
    for group in families.values():
        for some in (group, *([[relay] for relay in group] if len(group) > 1 else [])):
            first = some[0]
            whom = f"{first.pre}->{_family(first.post) + '*' if len(some) > 1 else first.post}"
            for delay in (first.delay - 1, first.delay + 1):
                if delay >= 0:
                    says = f"the delay of {whom} is {delay}, not {first.delay}"
                    yield Guess("delay", says, _relayed(some, delay=delay))
            if first.delay:
                whom = f"{whom} of delay {first.delay}"
            yield Guess("relay", f"{whom} is missing", _relayed(some, weight=0))
            yield Guess("relay", f"{whom} has the wrong sign", _relayed(some, weight=-first.weight))


def _relayed(some: list[Relay], **values: Any) -> Wiring:
    relays = tuple(relay._replace(**values) if relay in some else relay for relay in LEARNING.relays)
    return replace(LEARNING, relays=relays)


def _biases() -> Iterator[Guess]:
    everyone = tuple(p.name for p in LEARNING.populations)
    for group in (everyone, ("h", "h_lo", "h_hi"), ("o", "o_lo", "o_hi"), *((name,) for name in everyone)):
        for share in (4, 2, 1, 0):
            bias = SILENCE * share // 8
            populations = tuple(p._replace(bias=bias) if p.name in group else p for p in LEARNING.populations)
            whom = "all populations" if len(group) > 3 else " and ".join(group)
            says = f"the bias of {whom} is {bias}, not {SILENCE}: neurons fire that nothing lifts"
            yield Guess("bias", says, replace(LEARNING, populations=populations))
