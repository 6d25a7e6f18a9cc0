"""Where an enclosed gradient has two sides: events of a neuron at exactly one time whose order matters to a loss.

A gradient is that of the order in which the events of every neuron are known. Where two come at exactly one time, other
numbers put them into the other order; where V is then another one to first order, or another event comes about, the
gradient is a derivative only for changes that keep the order. As everywhere in this package, what is not proven to be
harmless is told:

- a release and an arrival: V feels the weight or not. A refractory period of 0 ends with its spike.
- a spike that an arrival triggers, and other arrivals: another of them might trigger it, or keep it from spiking; or V
  keeps one that comes before the spike and not one that comes after, or the other way round, which is so after a reset
  by value if V is free at once, and by subtraction if it is not. The arrival that triggers it may also lift V to its
  threshold and no further.
- arrivals over delta synapses, if in another order one of them would trigger a spike.
- what a loss reads, and any other event: V has a kink there, or jumps.
- a spike and t_end.

Only neurons on which the loss may depend are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from flint import arb

from eventsolve.certify.arithmetic import ZERO, EventTime, at_time, order, surely_less, surely_zero
from eventsolve.certify.boxes import Box
from eventsolve.certify.gradient import Adjoint, End, Trajectory, is_free_at_once
from eventsolve.certify.network import Enclosed


class Why(Enum):
    """What comes at one time, as a sentence about "it", a neuron."""

    RELEASE = "something arrives exactly as its refractory period ends"
    CROSSING = "something arrives exactly as it crosses its threshold"
    TRIGGER = "something arrives exactly with what triggers its spike"
    BARELY = "an arrival may lift it to its threshold and no further"
    ORDER = "arrivals come at exactly one time, and in another order it may spike"
    READ = "a loss reads its voltage exactly as something happens to it"
    END = "it spikes exactly at t_end"


class Arrival(NamedTuple):
    """One of a group: its place among the segments and in the history, its weight, and which spike causes it."""

    place: int
    which: int
    weight: arb
    delta: bool
    spike: int
    held: bool
    root: int


class Group(NamedTuple):
    """Segments of a trajectory whose ends are at exactly one time: arrivals that have a weight, and the rest.

    A spike sets V free ``at_once`` where there is no refractory period.
    """

    trajectory: Trajectory
    at_once: bool
    moment: EventTime
    voltage: arb
    arrivals: list[Arrival]
    spikes: list[int]
    releases: list[int]
    reads: list[int]


def coincidences(
    box: Box,
    enclosed: Enclosed,
    trajectories: Mapping[int, Trajectory],
    found: Adjoint,
    read: Iterable[str],
) -> list[tuple[int, EventTime, Why]]:
    """Return all that may matter to a gradient, by time and cell.

    Parameters
    ----------
    box, enclosed, trajectories
        Of a sample of which nothing is open, with the loss's reads.
    found : Adjoint
        Of the loss.
    read : iterable of str
        Populations that the loss reads, also where that has no derivative, as of outputs that are silent.
    """
    end = at_time(float(box.t_end))
    places: list[tuple[int, EventTime, Why]] = []
    for cell in sorted(_contributing(box, enclosed, trajectories, found, read)):
        if cell in trajectories:
            for group in _groups(box, enclosed, trajectories[cell]):
                reasons = _reasons(enclosed, group, found, end)
                places += [(cell, group.moment, why) for why in dict.fromkeys(reasons)]
    return sorted(places, key=lambda place: (place[1].key, place[1].low))


def _contributing(
    box: Box,
    enclosed: Enclosed,
    trajectories: Mapping[int, Trajectory],
    found: Adjoint,
    read: Iterable[str],
) -> set[int]:
    """Return the cells on which the loss may depend: those that it reads or differentiates, and all before them."""
    cells = {enclosed.spikes[k].cell for k, total in enumerate(found.spike_times) if not surely_zero(total)}
    cells |= {c for c, t in trajectories.items() if any(not surely_zero(r.cotangent) for r in t.reads)}
    names = set(read) | {
        name
        for name, place in box.populations.items()
        if not cells.isdisjoint(range(place.start, place.stop))
    }
    while True:
        before = {key[0] for key in box.synapses.slices if key[1] in names and key[0] in box.populations}
        if before <= names:
            break
        names |= before
    return {c for name in names for c in range(box.populations[name].start, box.populations[name].stop)}


def _groups(box: Box, enclosed: Enclosed, trajectory: Trajectory) -> Iterator[Group]:
    """Yield what comes together, and spikes that come alone."""
    segments, at_once = trajectory.segments, is_free_at_once(box, trajectory.cell)
    stop = 0
    while stop < len(segments):
        begin, stop = stop, stop + 1
        while stop < len(segments) and surely_zero(segments[stop].duration):
            stop += 1
        if stop == begin + 1 and segments[begin].end is not End.SPIKE:
            continue
        first = segments[begin]
        group = Group(trajectory, at_once, first.moment, first.last_voltage, [], [], [], [])
        for place in range(begin, stop):
            segment = segments[place]
            if segment.end is End.SPIKE:
                group.spikes.append(place)
            elif segment.end is End.RELEASE:
                group.releases.append(place)
            elif segment.end is End.READ:
                if not surely_zero(trajectory.reads[segment.which].cotangent):
                    group.reads.append(place)
            else:
                event = enclosed.history[segment.which]
                weight = box.synapses.weight.at(event.synapse)
                if not surely_zero(weight):
                    delta = bool(box.synapses.delta[event.synapse])
                    of_event = (event.spike, segment.held, event.moment.root)
                    group.arrivals.append(Arrival(place, segment.which, weight, delta, *of_event))
        yield group


def _reasons(enclosed: Enclosed, group: Group, found: Adjoint, end: EventTime) -> Iterator[Why]:
    trajectory, after = group.trajectory, found.after[group.trajectory.cell]
    yield from _of_reads(group)
    free_from = [*group.releases, *(group.spikes if group.at_once else [])]
    for arrival in group.arrivals:
        freed = bool(free_from) and free_from[0] < arrival.place and not arrival.held
        if freed and (arrival.delta or not surely_zero(after[arrival.place])):
            yield Why.RELEASE
    if not group.spikes:
        jumps = [a.weight for a in group.arrivals if a.delta and not a.held]
        highest = group.voltage + sum((weight.max(ZERO) for weight in jumps), ZERO)
        if len(jumps) > 1 and not surely_less(highest, trajectory.parameters.threshold):
            yield Why.ORDER
        return
    for place in group.spikes:
        spike = enclosed.history[trajectory.segments[place].which].spike
        if order(enclosed.spikes[spike].moment, end) == 0 and not surely_zero(found.spike_times[spike]):
            yield Why.END
        trigger = enclosed.spikes[spike].trigger
        # its own arrivals, without a delay, come after it however it moves
        others = [a for a in group.arrivals if a.spike != spike]
        if trigger < 0:
            # nor does what goes back to it by way of others come earlier
            if any(a.root != group.moment.root for a in others):
                yield Why.CROSSING
        else:
            (lift,) = (a.weight for a in others if a.which == trigger)
            rest = [a for a in others if a.which != trigger]
            yield from _of_trigger(group, place, lift, rest, after)


def _of_trigger(
    group: Group, place: int, lift: arb, others: list[Arrival], after: list[arb]
) -> Iterator[Why]:
    """Yield what may matter of the arrivals that come exactly with the one that triggers a spike."""
    p = group.trajectory.parameters
    jumps = [a.weight for a in others if a.delta]
    more, less = sum((w.max(ZERO) for w in jumps), ZERO), sum((w.min(ZERO) for w in jumps), ZERO)
    if not surely_less(p.threshold, group.voltage + less + lift):
        yield Why.TRIGGER if jumps else Why.BARELY
    if jumps and not surely_less(group.voltage + more, p.threshold):
        yield Why.TRIGGER
    if p.subtracts != group.at_once:  # V keeps what comes on one side of the spike and not on the other
        if any(a.delta or not surely_zero(after[max(a.place, place)]) for a in others):
            yield Why.TRIGGER
        return
    again = group.voltage + lift + more - (p.threshold - p.reset)
    if p.subtracts and jumps and not surely_less(again, p.threshold):
        yield Why.TRIGGER


def _of_reads(group: Group) -> Iterable[Why]:
    """Yield what may matter of the reads of a group: anything that happens to V with them but what they move with."""
    for place in group.reads:
        read = group.trajectory.reads[group.trajectory.segments[place].which]
        moved = any(not a.held and a.which != read.arrival for a in group.arrivals)
        if moved or group.spikes or group.releases:
            yield Why.READ
