"""In which order a periodic orbit has its events, and how far it is from every other order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.dynamics.kernels import voltages as kernel
from eventsolve.dynamics.rhythm import Rhythm
from eventsolve.interrupts import call
from eventsolve.kernels.distances import AT_ARRIVAL
from eventsolve.typing import Booleans, Integers, Reals

BELOW, SLOPE, LIFT, AFTER_SPIKE, AFTER_RELEASE, BEFORE_RELEASE, BEFORE_SPIKE = range(7)
"""Kinds: threshold - the largest V from an event to the next one that is no crossing; V' at a crossing; by how much a
delta synapse takes V beyond the threshold; the time between an arrival and its neuron's spike or release."""
TIED = 2.0**-40
"""As a part of the period: events as close as that, of which one causes the other, are at one time."""


class Order(NamedTuple):
    """Where every arrival of a period comes among the events of its target.

    By arrival: ``last`` is the spike before it, -1 of a silent target, so many ``laps`` periods later than its own
    time; ``held`` whether it comes before the release. ``counts`` are those that are events: of a weight other than 0,
    or one that moves; neither triggering a spike nor at one time with it for good.
    """

    last: Integers
    laps: Integers
    held: Booleans
    counts: Booleans

    def same(self, other: Order) -> bool:
        """Return whether two orders are one, of what counts: what is at one time with a spike has no order with it."""
        if not np.array_equal(self.counts, other.counts):
            return False
        here = self.counts
        return all(np.array_equal(a[here], b[here]) for a, b in zip(self[:3], other[:3], strict=True))


class Distances(NamedTuple):
    """Distances from other orders: rows are the same ones as long as the Order is. Of what is none it is inf.

    ``cells`` are whose they are, ``spikes`` the spike that it is about, ``arrivals`` the arrival, -1 if none; ``times``
    in seconds.
    """

    values: Reals
    kinds: Integers
    cells: Integers
    spikes: Integers
    arrivals: Integers
    times: Reals


def order_of(rhythm: Rhythm, moving: Booleans) -> Order:
    """Return the order of events; synapses that are ``moving`` count also with a weight of 0."""
    pattern, of = rhythm.pattern, rhythm.circuit
    _, event, synapse = pattern.arrivals
    cells = of.target[synapse]
    counts = (of.weight != 0.0)[synapse] | moving[synapse]
    counts[pattern.triggering[pattern.triggering >= 0]] = False
    if not rhythm.times.size:
        nothing = np.zeros(event.size, np.int64)
        return Order(nothing - 1, nothing, nothing > 0, counts)
    last, laps = rhythm.last_spikes(cells, rhythm.arriving)
    spiking = last >= 0
    since = rhythm.arriving - rhythm.times[last] - laps * rhythm.period
    roots = pattern.roots
    tied = spiking & (roots[event] == roots[last]) & (since <= TIED * rhythm.period)
    following, turns = _following(rhythm, last)
    until = rhythm.times[following] + (laps + turns) * rhythm.period - rhythm.arriving
    tied |= spiking & (roots[event] == roots[following]) & (until <= TIED * rhythm.period)
    return Order(last, laps, spiking & (since < of.t_ref[cells]), counts & ~tied)


def distances_of(rhythm: Rhythm, order: Order) -> Distances:
    """Return how far a rhythm is from any order but this one; distances from what is on the other side are below 0."""
    pattern, of, period = rhythm.pattern, rhythm.circuit, rhythm.period
    m = pattern.n_spikes
    spikes = np.arange(m)
    target = of.target[pattern.arrivals.synapse]
    begins = np.append(rhythm.times, 0.0)
    held = np.flatnonzero(order.counts & order.held)
    free = np.flatnonzero(order.counts & ~order.held)
    # the times of arrivals since the spike before, or of those of silent neurons in a period
    since = rhythm.arriving - begins[order.last] - order.laps * period
    mute = order.last < 0
    since = np.where(mute, since - np.floor(since / period) * period, since)
    following, turns = _following(rhythm, spikes)
    lengths = np.append(rhythm.times[following] + turns * period - rhythm.times, period)

    # each free interval begins with an arrival or a release, or is a silent neuron's without arrivals
    heard = np.bincount(target[free], minlength=of.n_cells) > 0
    silent = np.bincount(pattern.cells, minlength=of.n_cells) == 0
    alone = np.flatnonzero(silent & ~heard & np.isfinite(of.v_threshold))
    nothing, nobody = np.full(m, -1), np.full(alone.size, -1)
    arrival = np.concatenate([free, nothing, nobody]).astype(np.int64)
    last = np.concatenate([order.last[free], spikes, nobody]).astype(np.int64)
    cells = np.concatenate([target[free], pattern.cells, alone]).astype(np.int64)
    start = np.concatenate([since[free], of.t_ref[pattern.cells], np.zeros(alone.size)])
    end, ends_with = _ends(last, cells, start, arrival, lengths)
    triggered = pattern.cause >= 0
    closes = np.flatnonzero((ends_with < 0) & (last >= 0))
    ends_with[closes] = pattern.triggering[following[last[closes]]]
    crosses = np.zeros(last.size, np.bool_)
    crosses[closes] = ~triggered[following[last[closes]]]
    times = begins[last] + start
    laps = np.zeros(last.size, np.int64)
    looked = (cells, times, last, laps)
    v = rhythm.voltages(*looked, before=False, at=arrival)
    leak = of.v_leak[cells]
    long = np.maximum(end - start, 0.0)
    when, place = call(kernel.peaks, v.voltage - leak, v.current, long, of.tau_mem[cells], of.tau_syn[cells])
    at = np.where(place == AT_ARRIVAL, ends_with, np.where(when == 0.0, arrival, -1))
    top = rhythm.voltages(cells, times + when, last, laps, before=True, at=at).voltage
    below = of.v_threshold[cells] - np.where(when == 0.0, v.voltage, top)
    below[crosses | ~np.isfinite(of.v_threshold[cells])] = np.inf

    equations = rhythm.equations()
    after_spike = np.where(mute, np.inf, since)
    release = np.append(of.t_ref[pattern.cells], 0.0)[order.last]
    after_release = np.where(mute, np.inf, since - release)
    until = np.where(mute, np.inf, lengths[order.last] - since)
    next_spike = np.append(following, -1)[order.last]

    # by kind: distances, and their cells, spikes, arrivals and times
    of_arrivals = [
        (AFTER_SPIKE, held, after_spike, order.last),
        (BEFORE_RELEASE, held, -after_release, order.last),
        (AFTER_RELEASE, free, after_release, order.last),
        (BEFORE_SPIKE, free, until, next_spike),
    ]
    kinds = np.repeat([BELOW, SLOPE, LIFT], [last.size, m, m])
    return Distances(
        np.concatenate([below, equations.slopes, equations.overshoot, *(d[w] for _, w, d, _ in of_arrivals)]),
        np.concatenate([kinds, *(np.full(w.size, kind) for kind, w, *_ in of_arrivals)]).astype(np.int64),
        np.concatenate([cells, pattern.cells, pattern.cells, *(target[w] for _, w, *_ in of_arrivals)]),
        np.concatenate([last, spikes, spikes, *(about[w] for _, w, _, about in of_arrivals)]),
        np.concatenate([at, nothing, pattern.triggering, *(w for _, w, *_ in of_arrivals)]),
        np.concatenate(
            [times + when, rhythm.times, rhythm.times, *(rhythm.arriving[w] for _, w, *_ in of_arrivals)]
        ),
    )


def _following(rhythm: Rhythm, spikes: Integers) -> tuple[Integers, Integers]:
    """Return of spikes the next one of the same cell, and how many periods later than its own time: 0 or 1."""
    previous, laps = rhythm.pattern.before
    following, turns = np.empty(previous.size, np.int64), np.empty(previous.size, np.int64)
    following[previous] = np.arange(previous.size)
    turns[previous] = -laps
    return following[spikes], turns[spikes]


def _ends(
    last: Integers, cells: Integers, start: Reals, arrival: Integers, lengths: Reals
) -> tuple[Reals, Integers]:
    """Return when intervals end, in the same count as they start, and with which arrival; -1: with a spike.

    Those of a silent cell follow upon each other round and round.
    """
    group = np.where(last >= 0, last, lengths.size + cells)
    order = np.lexsort((arrival, start, group))
    end, ends_with = np.empty(start.size), np.full(start.size, -1, np.int64)
    ranked = group[order]
    closes = np.append(ranked[1:] != ranked[:-1], True)[: ranked.size]
    opens = np.flatnonzero(np.append(True, closes[:-1]))[np.cumsum(np.append(0, closes[:-1]))]
    following = np.append(order[1:], -1)[: order.size]
    end[order] = np.where(closes, lengths[np.minimum(last[order], lengths.size - 1)], start[following])
    ends_with[order] = np.where(closes, -1, arrival[following])
    # the last interval of a silent cell ends where its first one began, a period later
    wraps = closes & (last[order] < 0)
    first = order[opens]
    end[order[wraps]] = start[first[wraps]] + lengths[-1]
    ends_with[order[wraps]] = arrival[first[wraps]]
    return end, ends_with
