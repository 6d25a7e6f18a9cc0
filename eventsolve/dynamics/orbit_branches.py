"""Periodic orbits along a parameter, through every value where one loses stability or its events change their order."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from eventsolve.checks import index, real, require_one_of
from eventsolve.dynamics import orders
from eventsolve.dynamics.circuit import circuit_of
from eventsolve.dynamics.crossings import CHANGES, KINDS
from eventsolve.dynamics.curves import Curve, Place, curve_of, repeated_path
from eventsolve.dynamics.followed import Followed
from eventsolve.dynamics.newton import EPS, pattern_of
from eventsolve.dynamics.orbit import NoOrbitError, Orbit, framed, quiet_time
from eventsolve.dynamics.orders import TIED, Distances, Order, distances_of, order_of
from eventsolve.dynamics.paths import Path
from eventsolve.dynamics.rhythm import Rhythm
from eventsolve.dynamics.searches import orbit_at, periodic_orbit
from eventsolve.dynamics.walks import Halted, Tally, said
from eventsolve.frozen import Frozen
from eventsolve.kinds import require_shapes
from eventsolve.shown import Summary, several
from eventsolve.solve import RepeatedSpikeError
from eventsolve.typing import Integers, Reals

FIRST, LONGEST, SHORTEST = 0.01, 0.05, 1e-9
"""Lengths of steps, in units of the period and of the range."""
TURN = 0.97
"""The cosine by which the direction may turn in one step."""
GOOD_FOR = 0.5
"""Of the way on which the first distance would vanish if it were linear."""
SAME = 1e-9
"""As a part of the period: by how much the spikes of one orbit may differ that is found twice."""
NUDGE = 1e-7
"""The length of a step by which distances are differentiated, or that leads past an event."""
NEAR = 1e-9
"""In range: how near a branch has to come to where a distance would vanish for it to end there."""
BESIDE = 1e-6
"""How far from an event, in range, the network is looked at on its other side."""
MOST = 16
"""Which multiple of the inputs' period, or how often the reference neuron may spike, in an orbit that is looked for."""
ASIDE = (1e-2, 1e-3, 1e-4)
"""Lengths of the first step onto a branch that crosses, of which the first that leads there is taken."""
LOSSES = {
    "fold": "a multiplier passes +1 and the branch turns back",
    "branching": "a multiplier passes +1, and another branch crosses",
    "flip": "a multiplier passes -1",
    "torus": "a pair of multipliers passes the unit circle",
}
"""Events of multipliers, in words."""
FOLLOWING = {
    "on": "goes on",
    "back": "turns back",
    "ends": "ends",
    "jumps": "ends, and another one is followed",
    "known": "ends, and the network settles on one that was followed before",
}


@dataclass(frozen=True, eq=False, repr=False)
class OrbitEvent(Frozen):
    """A value at which a periodic orbit changes its stability or the order of its events.

    Attributes
    ----------
    value : float
        Known to rounding; where a branch turns back as another one crosses it, to two thirds of the digits.
    kind : str
        "fold", "branching": a multiplier is 1, and the branch turns back or another one crosses it; "flip": one is -1;
        "torus": a pair is on the unit circle; or of the order of events as :class:`eventsolve.dynamics.Event` has it,
        "graze", "cut", "lift", "swap", "trigger" or "release".
    change : {"gains", "loses", "keeps"}
        Whether the neuron gains or loses a spike as the branch goes on.
    follows : {"on", "back", "ends", "jumps", "known"}
        What the branch does: goes on, turns back to where it came from, or ends. Then the network may settle on another
        orbit from there, which is followed ("jumps") unless it lies on a branch that is there already ("known").
    population, neuron : str, int
        Of an event in the order; empty and -1 else.
    time : float
        In seconds of the orbit's period; nan of one of stability.
    other : str
        The arrival that is involved, in words; empty if there is none.
    multiplier : complex
        That passes the unit circle; nan if none does.
    stable : (bool, bool)
        Whether orbits are stable just before it, and just behind it; there False where the branch ends.
    """

    value: float
    kind: str
    change: str
    follows: str
    population: str
    neuron: int
    time: float
    other: str
    multiplier: complex
    stable: tuple[bool, bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("kind", self.kind, [*KINDS, *LOSSES])
        require_one_of("change", self.change, CHANGES)
        require_one_of("follows", self.follows, FOLLOWING)

    def what(self) -> str:
        """Say what happens, without the value."""
        if self.kind == "branching" and self.follows == "back":
            return f"{LOSSES[self.kind]}, where this one turns back"
        if self.kind in LOSSES:
            angle = "" if self.kind != "torus" else f", at {cmath.phase(self.multiplier):.6g} rad"
            return f"{LOSSES[self.kind]}{angle}"
        where = KINDS[self.kind].format(other=self.other)
        who = f"neuron {self.neuron} of {self.population!r} {CHANGES[self.change]} at {self.time:.6g} s of the period"
        lost = {(True, False): ", unstable", (False, True): ", stable"}.get(self.stable, "")
        goes = FOLLOWING[self.follows] + (lost if self.follows in ("on", "back") else "")
        return f"{who}, {where}: the branch {goes}"

    def __str__(self) -> str:
        return f"at {self.value:.9g}: {self.what()}"

    def _summary(self) -> Summary:
        return f"OrbitEvent({self})", []

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists and numbers, ready for JSON; a complex number as its two parts."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["multiplier"] = [self.multiplier.real, self.multiplier.imag]
        found["stable"] = list(self.stable)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class OrbitBranch(Frozen):
    """Orbits with the same spikes in one order of events, in the order in which they follow upon each other.

    Attributes
    ----------
    values : ndarray of float64, (n_values,)
        Increasing or falling; they turn at a fold.
    periods : ndarray of float64, (n_values,)
        Seconds.
    neurons : mapping of population to ndarray of int64, (n_spikes,)
        Whose spike each is.
    spike_times : mapping of population to ndarray of float64, (n_values, n_spikes)
        In seconds; those of one spike change continuously, and so need not stay in the period.
    multipliers : ndarray of complex128, (n_values, n)
        The largest first, that of a shift in time of a free orbit left out; filled up with 0.
    stable : ndarray of bool, (n_values,)
    """

    values: Reals
    periods: Reals
    neurons: Mapping[str, Integers]
    spike_times: Mapping[str, Reals]
    multipliers: NDArray[np.complex128]
    stable: NDArray[np.bool_]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(
            self, values="n", periods="n", neurons="k[]", spike_times="n k[]", multipliers="n m", stable="n"
        )
        if not self.values.size:
            raise ValueError("values must have at least one entry; got none")

    def _summary(self) -> Summary:
        counts = [(name, several(neurons.size, "spike")) for name, neurons in self.neurons.items()]
        ends = f"{self.values[0]:.6g} to {self.values[-1]:.6g}"
        return f"OrbitBranch({ends}, {several(self.values.size, 'value')})", list(counts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists and numbers, ready for JSON; complex numbers as their two parts."""
        return {
            "values": self.values.tolist(),
            "periods": self.periods.tolist(),
            "neurons": {name: n.tolist() for name, n in self.neurons.items()},
            "spike_times": {name: t.tolist() for name, t in self.spike_times.items()},
            "multipliers": np.stack([self.multipliers.real, self.multipliers.imag], -1).tolist(),
            "stable": self.stable.tolist(),
        }


@dataclass(frozen=True, eq=False, repr=False)
class OrbitContinuation(Followed):
    """A periodic orbit along a parameter: branches, and the events on them and between them.

    Attributes
    ----------
    parameter : str
        What has the value, or moves with it.
    over : (float, float)
        From where, to where.
    branches : tuple of OrbitBranch
    events : tuple of OrbitEvent
        Both in the order in which they were met.
    n_solved : int
        How many orbits were solved.
    complete : bool
        Whether a branch was followed until it left the range, at either end. If not, the last event says where it
        ends, or :class:`ContinuationError` why.
    """

    branches: tuple[OrbitBranch, ...]
    events: tuple[OrbitEvent, ...]
    _paths: tuple[Path, ...] = field(repr=False)
    _orbits: tuple[tuple[Orbit, ...], ...] = field(repr=False)

    def orbit(self, branch: int, k: int) -> Orbit:
        """Return the orbit at the k-th value of a branch."""
        of = self._orbits[index("branch", branch, len(self._orbits))]
        return of[index("k", k, len(of))]

    def orbit_at(self, value: float, branch: int | None = None) -> Orbit:
        """Return the orbit at a value, solved anew from the nearest one, on the first branch that has the value.

        Raises
        ------
        ValueError
            If it is no number, or no branch, or not this one, has it.
        """
        value = real("value", value)
        many = len(self.branches)
        numbers = range(many) if branch is None else [index("branch", branch, many)]
        for number in numbers:
            values = self.branches[number].values
            if values.min() <= value <= values.max():
                nearest = self._orbits[number][int(np.argmin(np.abs(values - value)))]
                network, inputs = self._paths[number].at(float(value))
                period = None if nearest.free else nearest.period
                return periodic_orbit(network, inputs, period=period, guess=nearest)
        raise ValueError(f"value must lie on a branch; got {value!r}")


class Node(NamedTuple):
    """A point on the curve, and all that is known there; slopes are those of distances by the length of the way."""

    branch: int
    path: Path
    place: Place
    direction: Reals
    order: Order
    distances: Distances
    slopes: Reals
    orbit: Orbit

    @property
    def n_bytes(self) -> int:
        """About how much memory it takes: the arrays of which there are many numbers."""
        return sum(a.nbytes for a in (*self.order, *self.distances, self.slopes, self.orbit.monodromy))


class Blocked(Exception):
    """A step cannot be made as long as it is; the message says why."""


class Side(NamedTuple):
    """Where another branch crosses a curve, which way the curve goes, and whether the other has twice the period."""

    curve: Curve
    place: Place
    along: Reals
    doubles: bool


@dataclass
class OrbitWalk:
    """A walk along curves, what it has taken, and whether it has left the range.

    With ``crossing`` branches that cross are followed too, once the branch itself has ended: ``sides`` are where. What
    was walked is in ``met``. Where numbers leave their bounds before the end of the range the walk ends there, at
    ``bound``, and ``beyond`` says why.
    """

    path: Path
    low: float
    high: float
    tally: Tally
    crossing: bool = False
    branch: int = 0
    left: bool = False
    period: float = math.nan
    sides: list[Side] = field(default_factory=list)
    met: list[tuple[Curve, Node, Node]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the last value that the network has."""
        self.bound, self.beyond = _bound(self.path, self.low, self.high)

    @property
    def unit(self) -> float:
        """Of the value: the range, up to where the network ends."""
        return abs(self.bound - self.low) or abs(self.high - self.low)

    def steps(self, orbit: Orbit) -> Iterator[Node | OrbitEvent]:
        """Yield orbits from one value towards the other, and what happens between them."""
        self.period = orbit.period
        curve = curve_of(self.path, self.low, orbit.period, orbit.free, self.unit)
        here = self._first(curve, orbit, self.low, math.copysign(1.0, self.high - self.low))
        yield here
        if self.bound == self.low:
            raise Halted(f"at {self.low!r}, {self.beyond}") from self.beyond
        halted: Halted | None = None
        try:
            yield from self._along(curve, here, alone=False)
        except Halted as why:
            halted = why
        while self.sides:
            side = self.sides.pop(0)
            for sign in (1.0,) if side.doubles else (1.0, -1.0):
                try:
                    yield from self._aside(side, sign)
                except Halted as why:
                    halted = halted or why
        if halted is not None:
            raise halted

    def _along(self, curve: Curve, here: Node, *, alone: bool) -> Iterator[Node | OrbitEvent]:
        """Yield what follows upon a node; where a branch that is ``alone`` ends, what the network settles on is not."""
        trail = [here]
        length, left, why = FIRST, _NONE, ""
        while True:
            ended: tuple[Place, int] | None = None
            if length < SHORTEST:
                ended = self._vanished(trail, here)
                if abs(here.place.value - self.bound) <= BESIDE * self.unit and self.beyond is not None:
                    raise Halted(f"at {here.place.value!r}, {self.beyond}") from self.beyond
                if ended is None:
                    raise Halted(
                        f"at {here.place.value!r}, {why}, with steps down to {SHORTEST:g} of the range"
                    )
            else:
                try:
                    walked = self._step(curve, here, length, left)
                except Blocked as blocked:
                    length, why = 0.5 * length, str(blocked)
                    continue
                yield from [event for event, _ in walked.events]
                yield walked.end
                self.sides += self._crossing(curve, here, walked)
                at_bound = abs(walked.end.place.value - self.bound) <= NEAR * self.unit
                if self.beyond is not None and at_bound:
                    raise Halted(f"at {walked.end.place.value!r}, {self.beyond}") from self.beyond
                if walked.leaves:
                    self.left = self.left or not alone
                    return
                here, length, left = walked.end, min(1.6 * length, LONGEST), _NONE
                self.met.append((curve, trail[-1], here))
                trail.append(here)
                if not walked.rows.size:
                    continue
                if all(_goes_on(here, int(k)) for k in walked.rows):
                    onward, follows = self._past(curve, here, walked.at, walked.rows)
                    stable = onward.orbit.stable
                    yield from [
                        _event(here, walked.at, int(k), "keeps", follows, stable) for k in walked.rows
                    ]
                    here = onward
                    left = np.flatnonzero(np.abs(here.distances.values) <= 1e3 * NUDGE * np.abs(here.slopes))
                else:
                    ended = walked.at, int(walked.rows[0])
            if ended is not None:
                at, row = ended
                change = _change(here, row)
                value = at.value + math.copysign(BESIDE * self.unit, here.direction[-1])
                if alone or not self._within(value):
                    yield _event(here, at, row, change, "ends")
                    return
                try:
                    path, found = self._settled(here.orbit, value)
                except (NoOrbitError, RepeatedSpikeError, ValueError) as error:
                    yield _event(here, at, row, change, "ends")
                    raise Halted(
                        f"the branch ends at {at.value!r}, and beyond it the network settles on no orbit: {said(error)}"
                    ) from error
                if self._is_known(found, value):
                    yield _event(here, at, row, change, "known", found.stable)
                    return
                yield _event(here, at, row, change, "jumps", found.stable)
                curve = curve_of(path, value, found.period, found.free, self.unit)
                self.branch += 1
                here, left = self._first(curve, found, value, math.copysign(1.0, here.direction[-1])), _NONE
            length, trail = FIRST, [here]
            yield here

    def _within(self, value: float) -> bool:
        return min(self.low, self.bound) <= value <= max(self.low, self.bound)

    def _crossing(self, curve: Curve, here: Node, walked: Walked) -> list[Side]:
        """Return what crosses on a step: orbits of twice the period at a flip, others of the same at a branching."""
        if not self.crossing:
            return []
        found = []
        for event, place in walked.events:
            doubled = round(2.0 * place.rhythm.period / self.period)
            if event.kind == "branching" or (event.kind == "flip" and doubled <= MOST):
                found.append(Side(curve, place, here.direction, event.kind == "flip"))
        return found

    def _aside(self, side: Side, sign: float) -> Iterator[Node | OrbitEvent]:
        """Yield what lies on one side of a branch that crosses, unless it was followed before."""
        curve, place, along = side.curve, side.place, side.along
        if side.doubles:
            curve, place = _doubled(curve, place)
            along = np.zeros(curve.sizes(place).size)
            along[-1] = 1.0  # what has another value is the branch that has lost its stability
        _, _, rows = np.linalg.svd(curve.jacobian(place))
        plane = rows[-2:]
        across = plane @ along
        direction = sign * (plane.T @ np.array([across[1], -across[0]]))
        direction /= np.linalg.norm(direction)
        self.branch += 1
        for length in ASIDE:
            found = curve.ahead(place, direction, length)
            onward = None if found is None else curve.direction(found, direction)
            if found is None or onward is None:
                continue
            if not self._within(found.value):
                return
            try:
                here = self._node(curve, found, onward)
            except Blocked:
                continue
            if (here.distances.values < 0.0).any():
                continue
            if not self._is_known(here.orbit, here.place.value):
                yield here
                yield from self._along(curve, here, alone=True)
            return
        raise Halted(f"at {place.value!r}, Newton's method does not find the branch that crosses")

    def _vanished(self, trail: list[Node], here: Node) -> tuple[Place, int] | None:
        """Return where a branch ends that comes ever closer without reaching it, and the distance that vanishes there.

        A distance that has halved again since some node, and vanishes close by if it is linear in the value.
        """
        value, last = here.place.value, here.distances.values
        found: list[tuple[float, int]] = []
        for row in np.flatnonzero(np.isfinite(last)).tolist():
            for before in reversed(trail):
                if before.distances.values[row] > max(2.0 * last[row], 0.0):
                    fall = float(before.distances.values[row] - last[row])
                    found.append(((value - before.place.value) * float(last[row]) / fall, row))
                    break
        near = [(abs(way), way, row) for way, row in found if abs(way) <= NEAR * self.unit]
        if not near:
            return None
        _, way, row = min(near)
        return here.place._replace(value=value + way), row

    def _is_known(self, orbit: Orbit, value: float) -> bool:
        """Return whether an orbit at a value lies between two nodes of a branch."""
        for curve, *ends in self.met:
            if not min(n.place.value for n in ends) <= value <= max(n.place.value for n in ends):
                continue
            nearest = min(ends, key=lambda node: abs(node.place.value - value))
            place = curve.with_value(nearest.place, value)
            if place is None or place.rhythm.times.size != orbit.n_spikes:
                continue
            there, here = framed(place.rhythm, curve.free), orbit._rhythm
            laps = 1 if curve.free else round(curve.period / self.period)
            if any(_apart(here, there, k * self.period) <= SAME * orbit.period for k in range(laps)):
                return True
        return False

    def _first(self, curve: Curve, orbit: Orbit, value: float, towards: float) -> Node:
        """Return the first node of a branch, of an orbit that the network has at a value."""
        place = curve.at(orbit._rhythm, value)
        direction = curve.direction(place)
        if direction is None:
            raise Halted(
                f"at {value!r}, the direction of the branch is not known: its equations are singular"
            )
        try:
            node = self._node(curve, place, direction * towards)
        except Blocked as blocked:
            raise Halted(f"at {value!r}, {blocked}") from blocked.__cause__
        if (node.distances.values < 0.0).any():
            raise Halted(f"at {value!r}, two events are too close to each other for their order to be told")
        return node

    def _node(self, curve: Curve, place: Place, direction: Reals) -> Node:
        orbit = self._orbit(curve, place)
        order = order_of(place.rhythm, curve.moving)
        distances = distances_of(place.rhythm, order)
        further = distances_of(curve.moved(place, NUDGE * direction).rhythm, order)
        with np.errstate(invalid="ignore"):
            slopes = (further.values - distances.values) / NUDGE
        slopes[~np.isfinite(slopes)] = 0.0
        return Node(self.branch, curve.path, place, direction, order, distances, slopes, orbit)

    def _ahead(self, curve: Curve, here: Node, length: float) -> Place:
        found = curve.ahead(here.place, here.direction, length)
        if found is None:
            raise Blocked("Newton's method does not find the next orbit")
        return found

    def _step(self, curve: Curve, here: Node, length: float, left: Integers) -> Walked:
        """Return what is met on a step of a length, up to the first change of order or the end of the range."""
        there = self._ahead(curve, here, length)

        def distance_at(row: int, h: float) -> float:
            return float(distances_of(self._ahead(curve, here, h).rhythm, here.order).values[row])

        values = distances_of(there.rhythm, here.order).values
        crossing = np.flatnonzero((values < 0.0) & (here.distances.values > 0.0))
        if np.isin(crossing, left).any():
            raise Blocked("two events are too close to be told apart")
        roots = np.array([_root(partial(distance_at, k), length) for k in crossing.tolist()])
        stop = float(roots.min(initial=math.inf))
        bound = self.bound if (there.value - self.bound) * (self.bound - self.low) > 0.0 else None
        bound = self.low if (there.value - self.low) * (self.bound - self.low) < 0.0 else bound
        if bound is not None:
            exit_at = _root(lambda h: self._ahead(curve, here, h).value - bound, length)
            if exit_at <= stop:
                place = curve.with_value(self._ahead(curve, here, exit_at), bound)
                if place is None:
                    raise Blocked("Newton's method does not find the orbit at the end of the range")
                end = self._node(curve, place, self._turned(curve, here, place))
                return Walked(self._lost(curve, here, end, exit_at), end, True, _NONE, place)
        if stop < math.inf:
            rows = _told(here, crossing[roots <= stop + 1e-9 * length])
            short = stop * (1.0 - 1e-9)
            place = self._ahead(curve, here, short)
            end = self._node(curve, place, self._turned(curve, here, place))
            if not end.order.same(here.order):
                raise Blocked("two events are too close to be told apart")
            events = self._lost(curve, here, end, short)
            return Walked(events, end, False, rows, self._ahead(curve, here, stop))
        end = self._node(curve, there, self._turned(curve, here, there))
        if not end.order.same(here.order):
            raise Blocked("the order of events changes without a distance that vanishes")
        if GOOD_FOR * (_reach(here, 1.0, left)[0] + _reach(end, -1.0, left)[0]) < length:
            raise Blocked("an event may lie close by")
        return Walked(self._lost(curve, here, end, length), end, False, _NONE, there)

    def _turned(self, curve: Curve, here: Node, place: Place) -> Reals:
        direction = curve.direction(place, here.direction)
        if direction is None or direction @ here.direction < TURN:
            raise Blocked("the branch turns sharply")
        return direction

    def _lost(self, curve: Curve, here: Node, end: Node, length: float) -> list[tuple[OrbitEvent, Place]]:
        """Return by their place on a smooth piece, with it, where multipliers pass the unit circle."""

        def place_at(h: float) -> Place:
            return {0.0: here.place, length: end.place}.get(h) or self._ahead(curve, here, h)

        def turning(h: float) -> float:
            direction = curve.direction(place_at(h), here.direction)
            if direction is None:
                raise Blocked("the branch cannot be followed through a singular point")
            return float(direction[-1])

        def branching(h: float) -> float:
            return float(np.linalg.det(np.vstack([curve.jacobian(place_at(h)), here.direction])))

        def transverse(h: float) -> NDArray[np.complex128]:
            known = {0.0: here.orbit, length: end.orbit}
            return known[h].transverse if h in known else self._orbit(curve, place_at(h)).transverse

        def flipping(h: float) -> float:
            return float(np.prod(1.0 + transverse(h)).real)

        found: list[tuple[float, str]] = []
        turns = False
        tests: list[tuple[str, Callable[[float], float]]] = [
            ("fold", turning),
            ("branching", branching),
            ("flip", flipping),
        ]
        for kind, test in tests:
            if test(0.0) * test(length) < 0.0:
                found.append((_root(test, length), kind))
        counts = [_unstable(node.orbit.transverse) for node in (here, end)]
        changed = abs(counts[1] - counts[0])
        if not found and changed:
            # a pair, or several at once, as symmetry has them
            which = min(counts)
            at = _root(lambda h: float(np.abs(transverse(h))[which]) - 1.0, length)
            passing = complex(transverse(at)[which])
            kind = "torus" if abs(passing.imag) > 1e-6 else ("branching" if passing.real > 0.0 else "flip")
            found.append((at, kind))
        elif (changed - len(found)) % 2 and length > 1e-4:
            raise Blocked("two multipliers pass the unit circle close by")
        if {"fold", "branching"} <= {kind for _, kind in found}:
            # one of two branches that cross turns back where they do
            found = [(at, kind) for at, kind in found if kind != "branching"]
            found = [(at, "branching" if kind == "fold" else kind) for at, kind in found]
            turns = True
        events = []
        found.sort()
        for at, kind in found:
            place = place_at(at)
            follows = "back" if kind == "fold" or (kind == "branching" and turns) else "on"
            target = {"fold": 1.0, "branching": 1.0, "flip": -1.0}.get(kind)
            if target is not None:
                multiplier = complex(target)
            else:
                multiplier = complex(transverse(at)[min(counts)])
                multiplier = complex(multiplier.real, abs(multiplier.imag))
            stable = (
                found.index((at, kind)) == 0 and here.orbit.stable,
                found[-1] == (at, kind) and end.orbit.stable,
            )
            none = ("", -1, math.nan, "")
            event = OrbitEvent(place.value, kind, "keeps", follows, *none, multiplier, stable)
            events.append((event, place))
        return events

    def _orbit(self, curve: Curve, place: Place) -> Orbit:
        self.tally.solve("orbits")
        try:
            return curve.orbit(place)
        except (NoOrbitError, RepeatedSpikeError, ValueError) as error:
            raise Blocked(said(error)) from error

    def _past(self, curve: Curve, here: Node, at: Place, rows: Integers) -> tuple[Node, str]:
        """Return the first node behind an event through which orbits go on, and whether the value turns there."""
        beyond = curve.moved(at, NUDGE * here.direction)
        direction = curve.direction(beyond, here.direction)
        if direction is None:
            raise Halted(f"at {at.value!r}, the direction of the branch behind the event is not known")
        row = int(rows[0])
        gaps = [
            distances_of(curve.moved(beyond, sign * 0.1 * NUDGE * direction).rhythm, here.order).values[row]
            for sign in (-1.0, 1.0)
        ]
        if gaps[1] > gaps[0]:
            direction = -direction
        place = curve.ahead(at, direction, 10.0 * NUDGE)
        self.branch += 1
        if place is None:
            raise Halted(f"at {at.value!r}, Newton's method does not find an orbit behind the event")
        onward = curve.direction(place, direction)
        try:
            node = self._node(curve, place, direction if onward is None else onward)
        except Blocked as blocked:
            raise Halted(f"behind {at.value!r}, {blocked}") from blocked.__cause__
        return node, "on" if direction[-1] * here.direction[-1] > 0.0 else "back"

    def _settled(self, orbit: Orbit, value: float) -> tuple[Path, Orbit]:
        """Return what the network settles on at another value, from an orbit's state on, and the path of its inputs."""
        network, inputs = self.path.at(value)
        period = None if orbit.free else self.period
        settled = periodic_orbit(network, inputs, period=period, initial=orbit.state, most=MOST)
        n = 1 if orbit.free else round(settled.period / self.period)
        path = repeated_path(self.path, self.period, n)
        return path, kept_orbit(path, value, settled)


def _bound(path: Path, low: float, high: float) -> tuple[float, ValueError | None]:
    """Return the last value on the way at which there is a network, as nearly as events are told apart; what ends it.

    Numbers move in proportion to the value, and bounds are half-lines, so that all values before it have one.
    """
    try:
        path.at(high)
    except ValueError as error:
        beyond = error
    else:
        return high, None
    path.at(low)
    inside, outside = low, high
    while abs(outside - inside) > TIED * max(abs(inside - low), abs(low)):
        middle = inside + 0.5 * (outside - inside)
        if middle in (inside, outside):
            break
        try:
            path.at(middle)
            inside = middle
        except ValueError as error:
            outside, beyond = middle, error
    return inside, beyond


_NONE = np.empty(0, np.int64)


class Walked(NamedTuple):
    """One step: events of multipliers on it and their places, its end, whether it leaves the range there.

    Else ``rows`` are which distances vanish, and ``at`` the place where they do.
    """

    events: list[tuple[OrbitEvent, Place]]
    end: Node
    leaves: bool
    rows: Integers
    at: Place


def _apart(one: Rhythm, other: Rhythm, late: float) -> float:
    """Return how far the spikes of two rhythms are apart at most, the other one so late; inf if other neurons spike."""
    apart = abs(one.period - other.period)
    for cell in range(one.circuit.n_cells):
        ours = one.times[one.pattern.cells == cell]
        theirs = other.times[other.pattern.cells == cell]
        if ours.size != theirs.size:
            return math.inf
        off = np.sort((ours + late) % one.period) - np.sort(theirs % other.period)
        apart = max(apart, float(np.abs(off).max(initial=0.0)))
    return apart


def _doubled(curve: Curve, place: Place) -> tuple[Curve, Place]:
    """Return the curve of orbits of twice the period, and the same orbit, gone through twice, on it."""
    once, value = place.rhythm, place.value
    path = repeated_path(curve.path, curve.period, 2)
    network, inputs = path.at(value)
    network.freeze()
    times = np.concatenate([once.times, once.times + once.period])
    cells, after = np.tile(once.pattern.cells, 2), np.tile(once.after, 2)
    order = np.lexsort((cells, times))
    circuit, period = circuit_of(network, path.step), 2.0 * once.period
    pattern, given = pattern_of(circuit, inputs, times[order], cells[order], period)
    twice = Rhythm(pattern, circuit, given, times[order], after[order], period)
    longer = curve_of(path, value, period, curve.free, curve.unit)
    return longer, longer.at(twice, value)


def kept_orbit(path: Path, value: float, orbit: Orbit) -> Orbit:
    """Return an orbit at a value on a path, near another one, with every synapse that moves on it."""
    network, inputs = path.at(value)
    network.freeze()
    circuit = circuit_of(network, path.step)
    rhythm = orbit._rhythm
    return orbit_at(circuit, inputs, rhythm.times, rhythm.pattern.cells, orbit.period, orbit.free)


def _root(function: Callable[[float], float], length: float) -> float:
    """Return where a function vanishes on the way, to rounding."""
    ends = function(0.0), function(length)
    if ends[0] * ends[1] > 0.0:
        raise Blocked("a distance changes its sign twice close by")
    return float(brentq(function, 0.0, length, xtol=4.0 * EPS * length, rtol=4.0 * EPS))


def _reach(node: Node, towards: float, left: Integers) -> tuple[float, int]:
    """Return how far ahead, or behind with ``towards`` -1, the first distance vanishes, if all are linear; and which.

    inf and -1 if none does.
    """
    values, falls = node.distances.values.copy(), -towards * node.slopes
    values[left] = math.inf
    some = np.flatnonzero((falls > 0.0) & np.isfinite(values))
    if not some.size:
        return math.inf, -1
    ways = np.maximum(values[some], 0.0) / falls[some]
    return float(ways.min()), int(some[np.argmin(ways)])


def _told(node: Node, rows: Integers) -> Integers:
    """Return rows without those that others tell: V is at its threshold also where a spike meets an arrival."""
    kinds, arrivals = node.distances.kinds[rows], node.distances.arrivals[rows]
    meets = arrivals[kinds == orders.BEFORE_SPIKE]
    found: Integers = rows[(kinds != orders.BELOW) | ~np.isin(arrivals, meets)]
    return found


def _unstable(multipliers: NDArray[np.complex128]) -> int:
    return int(np.count_nonzero(np.abs(multipliers) > 1.0))


def _goes_on(node: Node, row: int) -> bool:
    """Return whether orbits go on through an event: an exponential synapse's arrival passes a spike or release."""
    kind, arrival = int(node.distances.kinds[row]), int(node.distances.arrivals[row])
    if kind in (orders.BELOW, orders.SLOPE, orders.LIFT):
        return False
    rhythm = node.place.rhythm
    of, synapse = rhythm.circuit, int(rhythm.pattern.arrivals.synapse[arrival])
    if of.delta[synapse]:
        return False
    return not _cuts(node, row)


def _cuts(node: Node, row: int) -> bool:
    """Return whether an arrival that is about to come before a crossing keeps V from reaching its threshold."""
    rhythm, spike = node.place.rhythm, int(node.distances.spikes[row])
    of, arrival = rhythm.circuit, int(node.distances.arrivals[row])
    cell, synapse = int(node.distances.cells[row]), int(rhythm.pattern.arrivals.synapse[arrival])
    kind = int(node.distances.kinds[row])
    after = kind == orders.AFTER_SPIKE or (kind == orders.AFTER_RELEASE and of.t_ref[cell] == 0.0)
    if not after or rhythm.pattern.cause[spike] >= 0 or of.delta[synapse]:
        return False
    slope = node.distances.values[(node.distances.kinds == orders.SLOPE) & (node.distances.spikes == spike)][
        0
    ]
    return bool(slope + of.weight[synapse] / of.tau_mem[cell] <= 0.0)


def _just_triggers(node: Node, row: int) -> bool:
    """Return whether V reaches its threshold by itself just before the arrival that now triggers the spike."""
    triggering = node.place.rhythm.pattern.triggering
    arrival = int(node.distances.arrivals[row])
    return int(node.distances.kinds[row]) == orders.BELOW and arrival >= 0 and arrival in triggering


def _change(node: Node, row: int) -> str:
    kind = int(node.distances.kinds[row])
    if _just_triggers(node, row):
        return "keeps"
    if kind == orders.BELOW:
        return "gains"
    return "loses" if kind in (orders.SLOPE, orders.LIFT) or _cuts(node, row) else "keeps"


def _event(node: Node, at: Place, row: int, change: str, follows: str, stable: bool = False) -> OrbitEvent:
    """Return what a vanishing distance is; ``stable`` are orbits on the other side."""
    rhythm, distances = node.place.rhythm, node.distances
    of, arrivals = rhythm.circuit, rhythm.pattern.arrivals
    kind, arrival = int(distances.kinds[row]), int(distances.arrivals[row])
    cell = int(distances.cells[row])
    synapse = int(arrivals.synapse[arrival]) if arrival >= 0 else -1
    delta = arrival >= 0 and bool(of.delta[synapse])
    released = kind == orders.BEFORE_RELEASE or (kind == orders.AFTER_RELEASE and of.t_ref[cell] > 0.0)
    if _just_triggers(node, row):
        what = "trigger"
    elif kind == orders.BELOW:
        what = "graze" if arrival < 0 else "lift" if delta and of.weight[synapse] > 0.0 else "cut"
    elif kind in (orders.SLOPE, orders.LIFT):
        what = "graze" if kind == orders.SLOPE else "lift"
    elif released:
        what = "release"
    else:
        what = "cut" if _cuts(node, row) else "trigger" if delta else "swap"
    other = ""
    if arrival >= 0:
        event = int(arrivals.event[arrival])
        n = rhythm.pattern.n_spikes
        source, neuron = (
            of.cell_name(int(rhythm.pattern.cells[event]))
            if event < n
            else of.source_name(int(rhythm.pattern.channels[event - n]))
        )
        other = f"an arrival from neuron {neuron} of {source!r}"
    name, neuron = of.cell_name(cell)
    # the time is counted as in the orbit, whose period may begin elsewhere
    start = quiet_time(rhythm) if node.orbit.free else 0.0
    time = float(distances.times[row] - start) % rhythm.period
    none = complex(math.nan, math.nan)
    sides = (node.orbit.stable, stable)
    return OrbitEvent(at.value, what, change, follows, name, neuron, time, other, none, sides)


def branch_of(nodes: list[Node]) -> OrbitBranch:
    """Return the branch of nodes with one order of events."""
    rhythms = [node.place.rhythm for node in nodes]
    pattern, of = rhythms[0].pattern, rhythms[0].circuit
    neurons, times = {}, {}
    for name, population in of.network.populations.items():
        if not population.spiking:
            continue
        cells = of.cells_of(name) if population.size else slice(0, 0)
        mine = np.flatnonzero((pattern.cells >= cells.start) & (pattern.cells < cells.stop))
        mine = mine[np.argsort(pattern.cells[mine], kind="stable")]
        neurons[name] = pattern.cells[mine] - cells.start
        times[name] = np.stack([rhythm.times[mine] for rhythm in rhythms])
    transverse = [node.orbit.transverse for node in nodes]
    multipliers = np.zeros((len(nodes), max(t.size for t in transverse)), np.complex128)
    for row, found in zip(multipliers, transverse, strict=True):
        row[: found.size] = found
    return OrbitBranch(
        np.array([node.place.value for node in nodes]),
        np.array([rhythm.period for rhythm in rhythms]),
        neurons,
        times,
        multipliers,
        np.array([node.orbit.stable for node in nodes]),
    )
