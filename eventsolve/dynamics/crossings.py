"""What happens between two neighbouring values with different orders of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eventsolve.checks import require_one_of
from eventsolve.dynamics.points import ROUNDINGS, Point
from eventsolve.frozen import Frozen
from eventsolve.kernels import distances
from eventsolve.schedule import Layer
from eventsolve.shown import Summary
from eventsolve.solution import gather
from eventsolve.stability.margins import source_of, spiking_layers
from eventsolve.typing import Booleans, Reals

KINDS = {
    "graze": "where V grazes its threshold",
    "cut": "where {other} comes just as V reaches its threshold",
    "lift": "where {other} just lifts V to its threshold",
    "end": "at t_end",
    "swap": "which {other} passes",
    "trigger": "which {other} just triggers, or just does not",
    "release": "at the end of a refractory period, which {other} passes",
    "order": "where {other} passes another one that keeps it from triggering a spike",
}
"""What an event is, and in words where."""
IN_VOLTAGE = ("graze", "cut", "lift")
"""Where the distance that vanishes is one of voltages; of others it is the time between two events."""
CHANGES = {"gains": "gains a spike", "loses": "loses a spike", "keeps": "keeps its spikes"}
NEAR = 1e-4
"""Of the membrane time constant: a spike that appears at a peak has moved much less from there."""


@dataclass(frozen=True, eq=False, repr=False)
class Event(Frozen):
    """A value at which the order of a neuron's events changes.

    Attributes
    ----------
    value : float
        Where a distance of :func:`eventsolve.margins` vanishes.
    low, high : float
        Neighbouring values that were solved: the order is that of before at ``low``, and the next one at ``high``.
    kind : str
        "graze": the largest voltage is the threshold; "cut": it is so at an arrival that turns it, up to which or from
        which on it rises; "lift": an arrival over a delta synapse just reaches the threshold; "end": a spike passes
        t_end; "swap": a spike and an arrival change places; "trigger": a crossing falls together with the arrival over
        a delta synapse before it; "release": an arrival passes the end of a refractory period; "order": two
        arrivals over delta synapses, one of which keeps the other from triggering a spike, change places.
    change : {"gains", "loses", "keeps"}
        Of the neuron, with a growing value.
    population, neuron, time
        Where and when, in seconds.
    other : str
        The arrival that is involved, in words, empty if there is none.
    slope : float
        The derivative of the distance that vanishes by the value, on the side where it is nearer: in the unit of
        voltage for "graze", "cut" and "lift", in seconds for others where there is a gap on a side. The value is known
        to the rounding of the distance over this.
    gained, lost : tuple of (population, neuron, number)
        How many spikes every neuron has more and fewer behind the event: a spike that appears or vanishes changes what
        it arrives at, at once.
    before, after : mapping of population to ndarray of float64
        One-sided derivatives of all spike times by the value, at ``low`` and at ``high``, as of the branches there.
    """

    value: float
    low: float
    high: float
    kind: str
    change: str
    population: str
    neuron: int
    time: float
    other: str
    slope: float
    gained: tuple[tuple[str, int, int], ...]
    lost: tuple[tuple[str, int, int], ...]
    before: Mapping[str, Reals]
    after: Mapping[str, Reals]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("kind", self.kind, KINDS)
        require_one_of("change", self.change, CHANGES)

    @property
    def n_bytes(self) -> int:
        """How much memory the derivatives take."""
        return sum(d.nbytes for side in (self.before, self.after) for d in side.values())

    def what(self) -> str:
        """Say what happens, without the value."""
        where = KINDS[self.kind].format(other=self.other)
        return f"neuron {self.neuron} of {self.population!r} {CHANGES[self.change]} at {self.time:.6g} s, {where}"

    def __str__(self) -> str:
        return f"at {self.value:.9g}: {self.what()}"

    def _summary(self) -> Summary:
        more = [f"{n:+d} of neuron {k} of {name!r}" for name, k, n in self.gained]
        fewer = [f"{-n:+d} of neuron {k} of {name!r}" for name, k, n in self.lost]
        return f"Event({self})", [("spikes", ", ".join((*more, *fewer)) or "as many as before")]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists and numbers, ready for JSON."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("before", "after"):
            found[name] = {population: d.tolist() for population, d in found[name].items()}
        for name in ("gained", "lost"):
            found[name] = [list(entry) for entry in found[name]]
        return found


def vanishing(point: Point, towards: float, bracket: float) -> Booleans:
    """Return which distances of a point beside an event vanish at it: within its bracket and their rounding.

    ``towards`` is 1 for an event at a larger value, -1 for one at a smaller.
    """
    values, slopes = np.maximum(point.distances.values, 0.0), -towards * point.distances.slopes
    gaps = point.distances.labels[:, distances.KIND] == distances.GAP
    rounding = ROUNDINGS * np.where(gaps, np.abs(point.distances.times), scale_of(point))
    falls = slopes > 0.0
    found = np.zeros(values.size, np.bool_)
    found[falls] = values[falls] <= 4.0 * bracket * slopes[falls] + rounding[falls]
    if not found.any() and falls.any():
        found[np.flatnonzero(falls)[np.argmin(values[falls] / slopes[falls])]] = True
    return found


def scale_of(point: Point) -> Reals:
    """Return the size of voltages at the neuron of each distance."""
    layers = spiking_layers(point.solution)
    of, neuron = point.distances.labels[:, -1], point.distances.labels[:, distances.NEURON]
    scale = np.zeros(neuron.size)
    for number, layer in enumerate(layers):
        n = layer.neurons
        sizes = np.abs(n.v_threshold) + np.abs(n.v_reset) + np.abs(n.v_leak)
        scale[of == number] = sizes[neuron[of == number]]
    return scale


def events_between(low: Point, high: Point) -> list[Event]:
    """Return what happens between two neighbouring values, neuron by neuron, by time."""
    bracket = high.value - low.value
    sides = [(low, vanishing(low, 1.0, bracket)), (high, vanishing(high, -1.0, bracket))]
    places = {
        (int(layer), int(neuron))
        for point, which in sides
        for layer, neuron in point.distances.labels[which][:, [-1, distances.NEURON]]
    }
    gained, lost = _counted(low, high)
    events = []
    for number, neuron in sorted(places):
        rows = [
            [
                k
                for k in np.flatnonzero(which)
                if tuple(point.distances.labels[k, [-1, distances.NEURON]]) == (number, neuron)
            ]
            for point, which in sides
        ]
        layer = spiking_layers(low.solution)[number]
        events.append(_event(low, high, layer, neuron, rows, gained, lost))
    return sorted(events, key=lambda event: event.time)


def _event(
    low: Point,
    high: Point,
    layer: Layer,
    neuron: int,
    rows: list[list[Any]],
    gained: tuple[tuple[str, int, int], ...],
    lost: tuple[tuple[str, int, int], ...],
) -> Event:
    found = [(point, k) for point, ks in zip((low, high), rows, strict=True) for k in ks]
    labels = [point.distances.labels[k] for point, k in found]
    voltages = {int(r[distances.PLACE]) for r in labels if r[distances.KIND] != distances.GAP}
    gaps = {int(r[distances.PLACE]) for r in labels if r[distances.KIND] == distances.GAP}
    population, place = layer.neuron_of(neuron)
    time = float(found[0][0].distances.times[found[0][1]])
    near = NEAR * float(layer.neurons.tau_mem[neuron])
    there = [_spikes_near(p, population, place, time, near) for p in (low, high)]
    change = "keeps" if there[0] == there[1] else "gains" if there[1] else "loses"
    if distances.INSIDE in voltages:
        kind = "graze"
    elif distances.BEFORE_ARRIVAL in gaps:
        kind = "order"
    elif gaps & {distances.AFTER_RELEASE, distances.BEFORE_RELEASE}:
        kind, change = "release", "keeps"
    elif distances.SPIKE_TO_END in gaps or distances.AT_END in voltages:
        kind = "end"
    elif distances.LIFTED in voltages:
        kind = "trigger" if change == "keeps" else "lift"
    else:
        kind = "swap" if change == "keeps" else "cut"
    # of two distances that vanish at one value the one that says what happens; of both sides the nearer
    in_seconds = kind not in IN_VOLTAGE and bool(gaps)
    told = [
        (p, k)
        for (p, k), label in zip(found, labels, strict=True)
        if (label[distances.KIND] == distances.GAP) == in_seconds
    ]
    point, k = min(told, key=lambda f: abs(f[0].distances.values[f[1]] / f[0].distances.slopes[f[1]]))
    slope = float(point.distances.slopes[k])
    value = point.value - max(float(point.distances.values[k]), 0.0) / slope
    time = float(point.distances.times[k])
    other = (
        "" if kind in ("graze", "end") else next(filter(None, (_arrival(p, layer, j) for p, j in found)), "")
    )
    before, after = ({n: p.moved[n][order] for n, order in p.spikes.items()} for p in (low, high))
    return Event(
        min(max(value, low.value), high.value),
        low.value,
        high.value,
        kind,
        change,
        population,
        place,
        time,
        other,
        slope,
        gained,
        lost,
        before,
        after,
    )


def _spikes_near(point: Point, population: str, neuron: int, time: float, near: float) -> bool:
    trains = point.solution.spikes[population]
    return bool((np.abs(trains.times[trains.neurons == neuron] - time) <= near).any())


def _arrival(point: Point, layer: Layer, k: int) -> str:
    """Return in words which arrival a distance is about, empty if none."""
    cause = int(point.distances.causes[k])
    if cause < 0:
        return ""
    numbered = gather(layer, point.solution._chunks[0]).spikes.neurons[cause]
    source, neuron = source_of(layer, np.array([numbered]))
    return f"an arrival from neuron {int(neuron[0])} of {str(source[0])!r}"


def _counted(low: Point, high: Point) -> tuple[tuple[tuple[str, int, int], ...], ...]:
    """Return by how much the number of spikes of each neuron grows, and by how much it falls."""
    gained, lost = [], []
    for name in low.spikes:
        more = (high.solution.spikes[name].counts() - low.solution.spikes[name].counts())[0]
        gained += [(name, int(k), int(more[k])) for k in np.flatnonzero(more > 0)]
        lost += [(name, int(k), int(-more[k])) for k in np.flatnonzero(more < 0)]
    return tuple(gained), tuple(lost)
