"""The curve of periodic orbits along a parameter: points on it, its direction, and the next point from one.

Its equations F(times, T, value) = 0 are those of :mod:`eventsolve.dynamics.rhythm`. Beside the value they have one
unknown more than there are equations, so that solutions are a curve, on which the value may turn; with a further
equation, that a point lies in a plane across the direction of the curve, Newton's method finds one (pseudo-arclength:
H. B. Keller, Lectures on Numerical Methods in Bifurcation Problems, 1987).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from eventsolve.dynamics.circuit import Circuit, Numbered, circuit_of, numbered
from eventsolve.dynamics.newton import CLOSE, ROUNDED
from eventsolve.dynamics.orbit import Orbit, framed, orbit_of, repeated
from eventsolve.dynamics.paths import Path
from eventsolve.dynamics.rhythm import Equations, Rhythm
from eventsolve.frozen import FrozenMapping
from eventsolve.patterns import Pattern
from eventsolve.typing import Booleans, Reals

STEPS = 30
"""Newton steps at most."""
DOUBLE = 1e-6
"""The smallest singular value below which there are two directions, as those of branches that cross."""
ALONG = 1e-7
"""Of the largest singular value: below it a step of Newton's method does not follow a direction."""
FARTHEST = 0.1
"""How far off an orbit at a given value may be, in units of the unknowns."""
FINEST = 2.0**-56
"""Of a Newton step, in units of the unknowns: one that is shorter changes nothing."""


class Place(NamedTuple):
    """A point on the curve, or beside it: a rhythm with the numbers that the network has at a value."""

    value: float
    rhythm: Rhythm


@dataclass(frozen=True, eq=False)
class Curve:
    """Equations along a path: numbers are ``start`` + value * ``step`` where they move.

    ``period`` is that of a locked orbit; ``unit`` of the value is the range asked for, in which steps are measured.
    """

    path: Path
    circuit: Circuit
    start: Numbered
    step: Numbered
    period: float
    free: bool
    unit: float

    @property
    def moving(self) -> Booleans:
        """Which synapses have a weight that moves."""
        found: Booleans = self.step.weight != 0.0
        return found

    def at(self, rhythm: Rhythm, value: float) -> Place:
        """Return a rhythm with the numbers at a value, whatever its times."""
        now = rhythm.circuit.numbers()._replace(given=rhythm.given)
        moved = Numbered(
            *(
                np.where(step != 0.0, start + value * step, number)
                for number, start, step in zip(now, self.start, self.step, strict=True)
            )
        )
        numbers = moved._asdict()
        given = numbers.pop("given")
        # V after a spike is v_reset but where it is one of the unknowns
        after = moved.v_reset[rhythm.pattern.cells]
        after[rhythm.pattern.chained] = rhythm.after[rhythm.pattern.chained]
        return Place(
            value, replace(rhythm, circuit=rhythm.circuit._replace(**numbers), given=given, after=after)
        )

    def sizes(self, place: Place) -> Reals:
        """Return the unit of every unknown: of times the period, of V the drop at a reset, and of the value."""
        rhythm = place.rhythm
        of, chained = rhythm.circuit, rhythm.pattern.cells[rhythm.pattern.chained]
        drops = of.v_threshold[chained] - of.v_reset[chained]
        times = np.full(rhythm.times.size, rhythm.period)
        columns = (
            np.concatenate([times[1:], drops, [rhythm.period]])
            if self.free
            else np.concatenate([times, drops])
        )
        return np.append(columns, self.unit)

    def jacobian(self, place: Place, equations: Equations | None = None) -> Reals:
        """Return the derivatives of all equations, (n, n + 1), in units of the unknowns, the value last."""
        found = place.rhythm.equations(self.step) if equations is None else equations
        columns = found.jacobian[:, 1:] if self.free else found.jacobian[:, :-1]
        rows = np.column_stack([columns, found.by_value]) * self.sizes(place)
        scale = np.abs(rows).max(axis=1)
        scaled: Reals = rows / np.where(scale > 0.0, scale, 1.0)[:, None]
        return scaled

    def direction(self, place: Place, along: Reals | None = None) -> Reals | None:
        """Return the unit vector along the curve, to the side of another one or of larger values.

        None if there are two and nothing says which.
        """
        jacobian = self.jacobian(place)
        if not jacobian.size:
            return np.ones(1)
        _, values, rows = np.linalg.svd(jacobian)
        found: Reals = rows[-1]
        if not values[-1] > DOUBLE:
            if along is None:
                return None
            found = rows[-2:].T @ (rows[-2:] @ along)  # branches cross here: straight on
            found /= np.linalg.norm(found)
        side = found[-1] if along is None else float(found @ along)
        return -found if side < 0.0 else found

    def moved(self, place: Place, by: Reals) -> Place:
        """Return a point that differs by a vector, in units of the unknowns."""
        step = by * self.sizes(place)
        m = place.rhythm.times.size
        every = np.zeros(m + place.rhythm.pattern.chained.size + 1)
        if self.free:
            every[1:] = step[:-1]
        else:
            every[:-1] = step[:-1]
        return self.at(place.rhythm.stepped(every), place.value + float(step[-1]))

    def ahead(self, place: Place, direction: Reals, length: float) -> Place | None:
        """Return the point of the curve in the plane across a direction at a length ahead, or None."""
        return self._corrected(self.moved(place, length * direction), direction, abs(length))

    def with_value(self, place: Place, value: float) -> Place | None:
        """Return the point of the curve next to a point with just a value, or None."""
        across = np.zeros(self.sizes(place).size)
        across[-1] = 1.0
        return self._corrected(self.at(place.rhythm, value), across, FARTHEST)

    def _corrected(self, place: Place, across: Reals, most: float) -> Place | None:
        """Return where Newton's method ends, in the plane across a direction; None if farther away than ``most``.

        Next to a point where branches cross rounding would send its steps along the other one: such ones are not made,
        unless the equations ask for them.
        """
        found = self._newton(place, across, most, ALONG)
        return self._newton(place, across, most, 0.0) if found is None else found

    def _newton(self, place: Place, across: Reals, most: float, along: float) -> Place | None:
        """Do so without steps in directions whose singular values are below ``along`` of the largest."""
        sizes, smallest, gone = self.sizes(place), math.inf, np.zeros(across.size)
        of, cells = place.rhythm.circuit, place.rhythm.pattern.cells
        level = float((np.abs(of.v_leak) + np.abs(of.v_threshold))[cells].max(initial=0.0))
        for _ in range(STEPS):
            with np.errstate(all="ignore"):  # what is not finite ends the search
                equations = place.rhythm.equations(self.step)
                columns = equations.jacobian[:, 1:] if self.free else equations.jacobian[:, :-1]
                rows = np.column_stack([columns, equations.by_value]) * sizes
                scale = np.abs(rows).max(axis=1)
                scale[scale == 0.0] = 1.0
                matrix = np.vstack([rows / scale[:, None], across])
                right = np.append(-equations.residual / scale, 0.0)
            if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
                return None
            left, values, back = np.linalg.svd(matrix)
            if not values[-1] > 0.0:
                return None
            inverse = np.where(values > along * values[0], 1.0 / values, 0.0)
            step = back.T @ (inverse * (left.T @ right))
            length = float(np.abs(step).max(initial=0.0))
            solved = float(np.abs(equations.residual).max(initial=0.0)) <= ROUNDED * level
            if length >= 0.5 * smallest and (solved or (not along and smallest <= CLOSE)):
                return place
            smallest, gone = min(smallest, length), gone + step
            if not float(np.linalg.norm(gone)) <= max(most, 1e-6):
                return None
            # the plane keeps the value where it is asked for
            step[-1] = 0.0 if across[-1] == 1.0 else step[-1]
            place = self.moved(place, step * (sizes / self.sizes(place)))
            rhythm = place.rhythm
            previous, laps = rhythm.pattern.before
            since = rhythm.times - rhythm.times[previous] - laps * rhythm.period
            if not ((since > 0.0).all() and rhythm.period > 0.0):
                return None
            if length <= FINEST and (solved or not along):
                return place
        return None

    def orbit(self, place: Place) -> Orbit:
        """Return the orbit at a point; raises a NoOrbitError, or a ValueError where a number leaves its bounds."""
        network, inputs = self.path.at(place.value)
        for name, trains in inputs.items():
            outside = trains.times[(trains.times <= 0.0) | (trains.times > self.period)]
            if outside.size and not self.free:
                raise ValueError(
                    f"spike_times of {name!r} must stay in (0, period = {self.period!r}]; "
                    f"at {place.value!r} one is at {float(outside[0])!r}"
                )
        rhythm = replace(place.rhythm, circuit=place.rhythm.circuit._replace(network=network))
        return orbit_of(framed(rhythm, self.free), inputs, self.free)


def repeated_path(path: Path, period: float, n: int) -> Path:
    """Return a path with n periods of its inputs, whose spikes move alike in each."""
    start, step = dict(path.start), dict(path.step)
    if "spike_times" in step:
        start["spike_times"] = FrozenMapping(
            {
                name: np.concatenate([times + k * period for k in range(n)])
                for name, times in start["spike_times"].items()
            }
        )
        step["spike_times"] = FrozenMapping(
            {name: np.tile(moves, n) for name, moves in step["spike_times"].items()}
        )
    inputs = {name: repeated(trains, period, 0, n) for name, trains in path.inputs.items()}
    return replace(path, inputs=inputs, start=FrozenMapping(start), step=FrozenMapping(step))


def curve_of(path: Path, value: float, period: float, free: bool, unit: float) -> Curve:
    """Return the curve of orbits along a path, with the input spikes in the order that they have at a value."""
    circuit = circuit_of(path.network, path.step)
    inputs = {name: trains.n_spikes for name, trains in path.inputs.items() if trains.n_neurons}

    def flat(numbers: Pattern) -> Numbered:
        ordered = dict(numbers)
        if "spike_times" in numbers:
            start, step = path.start["spike_times"], path.step["spike_times"]
            ordered["spike_times"] = {
                name: times[path.order(name, start[name] + value * step[name])]
                for name, times in numbers["spike_times"].items()
            }
        return numbered(path.network, ordered, path.step, inputs)

    return Curve(path, circuit, flat(path.start), flat(path.step), period, free, unit)
