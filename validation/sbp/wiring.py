"""The circuit as tables: populations, fixed connections, gates of the chain, plastic projections.

A trial has twelve phases, 1 to 11 and then 0. Gate g_p fires in phase p - 1, so that what it lifts is decided in phase
p. Rewritten from the authors' program (lanl/spikingBackprop at f725a74, ``backprop_network``, ``network_parameters``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from validation.sbp.kernels.tables import Tables
from validation.sbp.rule import THRESHOLD, Rule

SILENCE = -8192
"""The bias of everything that computes: nothing fires unless it is lifted."""
GATE, HALF, OPEN, RELAY, INHIBIT, CHAIN = 8704, 512, 8192, 520, -8128, 9280
"""Fixed weights: silence lifted and half the threshold given; half of it; lifted alone; a relay's spike, ..."""
LAYERS = ("in", "hidden", "out")


class Population(NamedTuple):
    """Neurons of the size of a layer; ``pause`` steps after a spike the next one may come."""

    name: str
    layer: str
    pause: int = 2
    bias: int = SILENCE


class Relay(NamedTuple):
    """A fixed connection, neuron by neuron; a spike arrives 1 + delay steps later."""

    pre: str
    post: str
    weight: int
    delay: int = 0


class Lift(NamedTuple):
    """What gate ``gate`` gives to all neurons of a population."""

    gate: int
    post: str
    weight: int
    delay: int = 0


class Plastic(NamedTuple):
    """An all-to-all projection and what its weights are: "w1", "w2", "plus" (+W2^T) or "minus" (-W2^T)."""

    pre: str
    post: str
    holds: str
    learns: bool = True

    @property
    def name(self) -> str:
        """As records call it."""
        return f"{self.pre}->{self.post}"


@dataclass(frozen=True)
class Wiring:
    """A circuit of any layer sizes.

    Attributes
    ----------
    populations, relays, lifts, plastic : tuples
    chain : tuple of int
        Of gate k the delay of its spike to the next one; there are as many phases as gates.
    rewarded : frozenset of int
        The phases in which weights grow between what fires on both sides, rather than shrink.
    reaches : tuple of (str, int)
        Which population is reached from outside, and in which phase.
    threshold : int
        A neuron fires above it.
    step : int
        What learning adds or takes.
    """

    populations: tuple[Population, ...]
    relays: tuple[Relay, ...]
    lifts: tuple[Lift, ...]
    plastic: tuple[Plastic, ...]
    chain: tuple[int, ...]
    rewarded: frozenset[int]
    reaches: tuple[tuple[str, int], ...]
    threshold: int = THRESHOLD
    step: int = 2

    @property
    def n_phases(self) -> int:
        """Steps of a trial."""
        return len(self.chain)

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(f"g{k:02d}" for k in range(self.n_phases))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of populations, gates last."""
        return (*(p.name for p in self.populations), *self.gates)

    @cached_property
    def longest(self) -> int:
        """The longest delay."""
        return max((*(r.delay for r in self.relays), *(r.delay for r in self.lifts), *self.chain), default=0)

    @cached_property
    def _layer(self) -> dict[str, int]:
        return {p.name: LAYERS.index(p.layer) for p in self.populations}

    def size(self, name: str, sizes: tuple[int, int, int]) -> int:
        """Return the neurons of a population, 1 of a gate."""
        layer = self._layer.get(name)
        return 1 if layer is None else sizes[layer]

    def bounds(self, sizes: tuple[int, int, int]) -> dict[str, slice]:
        """Return which neurons are a population's, by name."""
        found, first = {}, 0
        for name in self.names:
            found[name] = slice(first, first + self.size(name, sizes))
            first = found[name].stop
        return found

    def places(self, sizes: tuple[int, int, int]) -> dict[str, slice]:
        """Return which weights are a plastic projection's, by its name."""
        found, first = {}, 0
        for p in self.plastic:
            found[p.name] = slice(first, first + self.size(p.pre, sizes) * self.size(p.post, sizes))
            first = found[p.name].stop
        return found

    @lru_cache(maxsize=8)  # noqa: B019, as wirings are few and small
    def tables(self, sizes: tuple[int, int, int]) -> Tables:
        """Return the circuit as the kernel takes it."""
        at = self.bounds(sizes)
        names = {name: k for k, name in enumerate(self.names)}
        settings = {p.name: (p.bias, p.pause) for p in self.populations} | dict.fromkeys(self.gates, (0, 1))
        n_each = [self.size(name, sizes) for name in self.names]
        bias, pause = (
            np.repeat(np.array(column, dtype=np.int64), n_each)
            for column in zip(*(settings[name] for name in self.names), strict=True)
        )
        rows = [
            (at[r.pre].start, at[r.post].start, self.size(r.post, sizes), r.weight, r.delay, False)
            for r in self.relays
        ]
        rows += [
            (
                at[self.gates[f.gate]].start,
                at[f.post].start,
                self.size(f.post, sizes),
                f.weight,
                f.delay,
                True,
            )
            for f in self.lifts
        ]
        rows += [
            (at[gate].start, at[self.gates[(k + 1) % self.n_phases]].start, 1, CHAIN, self.chain[k], True)
            for k, gate in enumerate(self.gates)
        ]
        connections = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
        places = self.places(sizes)
        pre, post, size, weight, delay, fans = connections
        return Tables(
            np.array([0, *(at[name].stop for name in self.names)]),
            *(bias, pause, pre, post, size, weight, delay, fans.astype(np.bool_)),
            np.array([names[p.pre] for p in self.plastic], dtype=np.int64),
            np.array([names[p.post] for p in self.plastic], dtype=np.int64),
            np.array([places[p.name].start for p in self.plastic], dtype=np.int64),
            np.array([p.learns for p in self.plastic], dtype=np.bool_),
            np.array([phase in self.rewarded for phase in range(self.n_phases)]),
        )


_H, _O = ("h", "h_lo", "h_hi"), ("o", "o_lo", "o_hi")


def _each(gate: int, posts: Iterable[str], weight: int) -> tuple[Lift, ...]:
    return tuple(Lift(gate, post, weight) for post in posts)


def _of(name: str, posts: Iterable[str], weight: int, delay: int) -> tuple[Relay, ...]:
    return tuple(Relay(name, post, weight, delay) for post in posts)


LEARNING = Wiring(
    populations=(
        *(Population(name, "in") for name in ("x", "m_x")),
        *(Population(name, "hidden") for name in (*_H, "m_h", "c_h")),
        Population("hT", "hidden", pause=1),
        *(Population(name, "out") for name in (*_O, "oTm", "t", "dm", "dp")),
    ),
    relays=(
        Relay("x", "m_x", RELAY, 4),
        Relay("h", "m_h", RELAY),
        *(Relay("o_lo", post, GATE) for post in ("dp", "dm")),
        Relay("o_hi", "dm", -RELAY),
        Relay("o", "dm", RELAY),
        Relay("t", "dm", -RELAY),
        Relay("t", "dp", RELAY),
        Relay("o", "dp", -RELAY),
        *_of("dp", _O, RELAY, 0),
        *_of("dm", _O, RELAY, 4),
        Relay("dm", "oTm", RELAY),
        Relay("dp", "oTm", RELAY, 4),
        *(Relay("m_h", post, RELAY, delay) for delay in (1, 5) for post in ("h", "hT")),
        *_of("hT", _H, RELAY, 0),
        *(Relay("m_x", "x", RELAY, delay) for delay in (0, 4)),
        Relay("h_lo", "c_h", RELAY, 3),
        Relay("h_hi", "c_h", -RELAY, 3),
        *(relay for delay in (0, 4) for relay in _of("c_h", _H, GATE, delay)),
    ),
    lifts=(
        *_each(0, _O, INHIBIT),
        Lift(1, "x", GATE),
        *(Lift(2, post, weight) for post, weight in zip(_H, (GATE, GATE + HALF, OPEN), strict=True)),
        *(Lift(3, post, weight) for post, weight in zip(_O, (GATE, GATE + HALF, OPEN), strict=True)),
        *_each(3, ("t", "m_h"), GATE),
        *_each(4, ("hT", "oTm"), INHIBIT),
        *_each(5, ("h", "hT", *_O, "oTm"), GATE),
        Lift(6, "hT", GATE + HALF),
        *_each(6, ("m_x", "c_h"), GATE),
        *_each(6, _O, INHIBIT),
        Lift(7, "x", GATE),
        *_each(8, _H, INHIBIT),
        *_each(9, ("h", "hT", *_O, "oTm"), GATE),
        Lift(10, "hT", GATE + HALF),
        *_each(10, _O, INHIBIT),
        Lift(11, "x", GATE),
    ),
    plastic=(
        *(Plastic("x", post, "w1") for post in _H),
        *(Plastic("h", post, "w2") for post in _O),
        Plastic("o", "hT", "plus"),
        Plastic("oTm", "hT", "minus"),
    ),
    chain=(0,) * 12,
    rewarded=frozenset((5, 7)),
    reaches=(("x", 1), ("t", 3)),
)
"""Learning: twelve phases."""

INFERENCE = Wiring(
    populations=(Population("x", "in"), Population("h", "hidden"), Population("o", "out")),
    relays=(),
    lifts=(Lift(1, "x", GATE), Lift(2, "h", GATE), Lift(3, "o", GATE)),
    plastic=(Plastic("x", "h", "w1", learns=False), Plastic("h", "o", "w2", learns=False)),
    chain=(0,) * 4,
    rewarded=frozenset(),
    reaches=(("x", 1),),
)
"""Inference alone: four phases."""


def wired(rule: Rule) -> Wiring:
    """Return the circuit that learns by a rule of signs.

    An edge at 1023 is a unit more for what looks at it; an error up to ``dead`` has no sign if hT is lifted less by it.

    Raises
    ------
    ValueError
        If no circuit does, as the error is the real one, or there is no box, or weights need a finer unit than 1.
    """
    if rule.error != "sign" or rule.fine != 1 or not rule.box:
        raise ValueError(
            f"a circuit has a box, and computes the sign of the error in integers; got {rule.name}"
        )
    lifts = tuple(
        f._replace(weight=f.weight + THRESHOLD - rule.edge)
        if f.weight == OPEN
        else f._replace(weight=f.weight - rule.dead)
        if f.post == "hT" and f.weight > GATE
        else f
        for f in LEARNING.lifts
    )
    return replace(LEARNING, lifts=lifts)
