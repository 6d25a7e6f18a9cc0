"""Kernels: how far each neuron of a solution is from another order of its events (compiled).

A neuron's events are its spikes, its releases from the refractory period and its arrivals, but for those of weight 0.
There is one row for

- every interval between two events in which V is free and does not end at the threshold: threshold - V where V is
  largest (one in which V only falls from where the interval before left it has none: that is the other's);
- every spike: V - threshold where V, without the reset, would be largest up to the next arrival that it has no part in;
  and its slope;
- every arrival and the spike or release before it, and the one after it; every last spike and t_end: the time between;
- two arrivals over delta synapses whose order keeps the neuron from spiking (:func:`swap_rows`): the time between.

An arrival and a spike have an order by nature where one causes the other: there is no row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, embedded, without_refcount
from eventsolve.kernels.arrivals import group_by, grouped, n_arrivals_at_most, schedule_of
from eventsolve.kernels.membrane import extremum, propagator
from eventsolve.kernels.tables import Integers, Reals
from eventsolve.kernels.trajectories import (
    ARRIVAL,
    CURRENT,
    DECAY_MEM,
    DECAY_SYN,
    DURATION,
    END,
    ENDING,
    HELD,
    RELEASE,
    RESPONSE,
    SPIKE,
    START,
    VOLTAGE,
    WHICH,
    Segments,
    empty_segments,
    no_samples,
    replay,
)


class Trajectories(NamedTuple):
    """Trajectories of all neurons of a layer in one sample: neuron n has the segments first[n] to last[n].

    ``synapses`` and ``causes`` are those of the arrival that ends a segment: the latter a place among the spikes of the
    sources.
    """

    first: Integers
    last: Integers
    states: Reals
    events: Integers
    synapses: Integers
    causes: Integers


@compiled
def trajectories_of(layer, run, sample, stop):
    """Return the Trajectories of one sample."""
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    n = neurons.tau_mem.size
    given, here = grouped(spikes, sample, n_sources), grouped(own, sample, n)
    room = 0
    for neuron in range(n):
        room += n_arrivals_at_most(neuron, afferents, given.offsets) + 2
        room += 2 * (here.offsets[neuron + 1] - here.offsets[neuron])
    first, last = np.empty(n, np.int64), np.empty(n, np.int64)
    states, events = empty_segments(room)
    synapses, causes = np.full(room, -1), np.full(room, -1)
    unread = no_samples(n)
    used = 0
    for group in range(groups.offsets.size - 1):
        representative = groups.members[groups.offsets[group]]
        schedule = schedule_of(
            representative, neurons, afferents, given, start.time[sample, representative], after, t_end
        )
        for member in range(groups.offsets[group], groups.offsets[group + 1]):
            if stop[0] != 0:
                break
            neuron = groups.members[member]
            first[neuron] = used
            used += replay(
                neuron,
                neurons,
                afferents,
                schedule,
                schedule.times.size,
                start,
                here,
                here.offsets[neuron + 1] - here.offsets[neuron],
                unread,
                t_end,
                Segments(states[used:], events[used:]),
            )
            last[neuron] = used
            for g in range(first[neuron], used):
                if events[g, ENDING] == ARRIVAL:
                    synapses[g] = afferents.offsets[neuron] + schedule.slots[events[g, WHICH]]
                    causes[g] = schedule.spikes[events[g, WHICH]]
    return Trajectories(first, last, states[:used], events[:used], synapses[:used], causes[:used])


# A row has numbers and labels:
VALUE, TIME, REACH, OTHER_TIME = 0, 1, 2, 3
"""The distance; when, in seconds; how long after the start of its segment; when the other event is."""
KIND, PLACE, NEURON, SEGMENT, WHOSE, OTHER = 0, 1, 2, 3, 4, 5
"""What kind of distance and of place; of which neuron; its segment, of those of the neuron; the own spike, or the one
that is released; the segment that the other event ends: what lifts V, cuts its rise off, or has a gap."""
BELOW, SURPLUS, SLOPE, GAP = 0, 1, 2, 3
"""Kinds."""
INSIDE, AT_ARRIVAL, AT_END, LIFTED, FRESH = 0, 1, 2, 3, 4
"""Where V is largest: inside an interval, just before an arrival, at t_end, just after a delta arrival, or just after a
reset, a release or the start."""
AFTER_SPIKE, BEFORE_SPIKE, AFTER_RELEASE, BEFORE_RELEASE, SPIKE_TO_END, BEFORE_ARRIVAL = 0, 1, 2, 3, 4, 5
"""Where the arrival of a gap is; SPIKE_TO_END has none. With BEFORE_ARRIVAL the row's segment ends with another one."""


@without_refcount
def largest(u, i, h, ea, eb, k, tau_mem, tau_syn):
    """Return (s, u, place) of the largest u up to h after a state: INSIDE, or AT_ARRIVAL for h, or FRESH for 0."""
    u_end = u * ea + i * k
    if (i > u) & (i * eb < u_end):
        s = min(extremum(u, i, tau_mem, tau_syn), h)
        ea, _, k = propagator(s, tau_mem, tau_syn)
        return s, u * ea + i * k, INSIDE
    if u_end > u:
        return h, u_end, AT_ARRIVAL
    return 0.0, u, FRESH


@embedded
def write_row(rows, n, kind, place, neuron, segment, whose, other, value, time, reach, other_time):
    """Write a row behind the first n; return n + 1."""
    numbers, labels = rows
    numbers[n, VALUE], numbers[n, TIME], numbers[n, REACH], numbers[n, OTHER_TIME] = (
        value,
        time,
        reach,
        other_time,
    )
    labels[n, KIND], labels[n, PLACE], labels[n, NEURON] = kind, place, neuron
    labels[n, SEGMENT], labels[n, WHOSE], labels[n, OTHER] = segment, whose, other
    return n + 1


@without_refcount
def voltage_rows(neuron, neurons, afferents, heard, trajectories, own, origin, rows, n):
    """Write one neuron's peaks below threshold and its spikes behind the first n rows; return their number.

    ``origin`` says which of the layer's ``own`` spikes a spike of the sources is, or -1: of a spike that does not come,
    and of those after it, nothing arrives at the neuron itself.
    """
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    states, events, synapses, causes, delta = (
        trajectories.states,
        trajectories.events,
        trajectories.synapses,
        trajectories.causes,
        afferents.delta,
    )
    own_trigger = own.trigger
    first, last = trajectories.first[neuron], trajectories.last[neuron]
    for g in range(first, last):
        if events[g, HELD]:
            continue
        t, u, i, h = states[g, START], states[g, VOLTAGE], states[g, CURRENT], states[g, DURATION]
        ea, eb, k = states[g, DECAY_MEM], states[g, DECAY_SYN], states[g, RESPONSE]
        ending, which = events[g, ENDING], events[g, WHICH]
        at = g - first
        if ending == SPIKE and own_trigger[which] >= 0:
            n = write_row(rows, n, SURPLUS, LIFTED, neuron, at, which, at - 1, u - c, t, 0.0, t)
        elif ending == SPIKE:
            slope = (i * eb - c) / tau_mem
            n = write_row(rows, n, SLOPE, INSIDE, neuron, at, which, at, slope, t + h, h, t + h)
            stop = g + 1  # the arrival, or the end, up to which V would go on without the reset
            while events[stop, ENDING] > END or (
                events[stop, ENDING] == ARRIVAL
                and (
                    not heard[synapses[stop]]
                    or (origin[causes[stop]] >= which and own.neurons[origin[causes[stop]]] == neuron)
                )
            ):
                stop += 1
            long = states[stop, START] + states[stop, DURATION] - t
            ea, eb, k = propagator(long, tau_mem, tau_syn)
            s, top, place = largest(u, i, long, ea, eb, k, tau_mem, tau_syn)
            if place == AT_ARRIVAL and events[stop, ENDING] == END:
                place = AT_END
            n = write_row(rows, n, SURPLUS, place, neuron, at, which, stop - first, top - c, t + h, s, t + s)
        else:
            s, top, place = largest(u, i, h, ea, eb, k, tau_mem, tau_syn)
            other = at
            if place == AT_ARRIVAL and ending == END:
                place = AT_END
            elif place == AT_ARRIVAL and ending == ARRIVAL and not heard[synapses[g]]:
                continue  # V rises on as if nothing had arrived
            elif place == FRESH and g > first and events[g - 1, ENDING] == ARRIVAL:
                if not (delta[synapses[g - 1]] and heard[synapses[g - 1]]):
                    continue
                place, other = LIFTED, at - 1
            n = write_row(rows, n, BELOW, place, neuron, at, -1, other, c - top, t + s, s, t + s)
    return n


@without_refcount
def gap_rows(neuron, heard, trajectories, own_trigger, origin, rows, n):
    """Write one neuron's gaps behind the first n rows; return their number.

    ``origin`` says which of the layer's own spikes a spike of the sources is, or -1.
    """
    states, events, synapses, causes = (
        trajectories.states,
        trajectories.events,
        trajectories.synapses,
        trajectories.causes,
    )
    first, last = trajectories.first[neuron], trajectories.last[neuron]
    whose, spiked_at, since, place = -1, 0.0, -np.inf, AFTER_RELEASE
    for g in range(first, last):
        at, time = g - first, states[g, START] + states[g, DURATION]
        if events[g, ENDING] == SPIKE:
            whose, spiked_at, since, place = events[g, WHICH], time, time, AFTER_SPIKE
        elif events[g, ENDING] == RELEASE:
            since, place = time, AFTER_RELEASE
        elif events[g, ENDING] == END:
            if whose >= 0:
                gap = time - spiked_at
                n = write_row(rows, n, GAP, SPIKE_TO_END, neuron, at, whose, at, gap, spiked_at, 0.0, time)
        elif (
            since > -np.inf and heard[synapses[g]] and (place == AFTER_RELEASE or origin[causes[g]] != whose)
        ):
            n = write_row(rows, n, GAP, place, neuron, at, whose, at, time - since, since, 0.0, time)
    until, place, trigger = np.inf, BEFORE_SPIKE, -1
    for g in range(last - 1, first - 1, -1):
        at, time = g - first, states[g, START] + states[g, DURATION]
        if events[g, ENDING] == SPIKE:
            whose, until, place = events[g, WHICH], time, BEFORE_SPIKE
            trigger = g - 1 if own_trigger[whose] >= 0 else -1
        elif events[g, ENDING] == RELEASE:
            until, place = time, BEFORE_RELEASE
            back = g - 1
            while back >= first and events[back, ENDING] != SPIKE:
                back -= 1
            whose = events[back, WHICH] if back >= first else -1
        elif events[g, ENDING] == ARRIVAL and until < np.inf and heard[synapses[g]] and g != trigger:
            n = write_row(rows, n, GAP, place, neuron, at, whose, at, until - time, until, 0.0, time)
    return n


@without_refcount
def swap_rows(neuron, neurons, afferents, heard, trajectories, own_trigger, writes, rows, n):
    """Write the gaps between two arrivals whose order matters behind the first n rows; return their number.

    Between two resets or releases V and I are linear in what arrives, so that its order changes what V is between two
    arrivals, but not what it is behind them. It changes spikes only where V is lifted over the threshold in between: by
    a delta synapse of weight w > 0 that does not reach it now, but would before an earlier arrival of weight w' < 0,
    also over a delta synapse. With D = threshold - V just behind the later one, and l what the earlier one takes from V
    there (-w' less the decay in between), it would

    - if D <= l: that arrival alone makes the difference;
    - if T < D <= T + l, T being what all such arrivals between the two take: it would before all of them, and that one
      is the last that it has to pass.

    Where V is held, and over exponential synapses, arrivals commute. Without ``writes`` rows are counted only.
    """
    states, events, synapses = trajectories.states, trajectories.events, trajectories.synapses
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    weights, delta = afferents.weight, afferents.delta
    first, last = trajectories.first[neuron], trajectories.last[neuron]
    for g in range(first, last - 1):
        if events[g, ENDING] != ARRIVAL or events[g, HELD]:
            continue
        if not (delta[synapses[g]] and weights[synapses[g]] > 0.0):
            continue
        if events[g + 1, ENDING] == SPIKE and own_trigger[events[g + 1, WHICH]] >= 0:
            continue  # it is triggered by this arrival: there is a gap to the spike
        short = c - (states[g, VOLTAGE] * states[g, DECAY_MEM] + states[g, CURRENT] * states[g, RESPONSE])
        short -= weights[synapses[g]]
        later = states[g, START] + states[g, DURATION]
        taken, left = 0.0, states[g, DECAY_MEM]
        back = g - 1
        while back >= first and events[back, ENDING] == ARRIVAL:
            if delta[synapses[back]] and weights[synapses[back]] < 0.0 and heard[synapses[back]]:
                takes = -weights[synapses[back]] * left
                if short <= takes or taken < short <= taken + takes:
                    time = states[back, START] + states[back, DURATION]
                    if writes:
                        at, other = g - first, back - first
                        gap = later - time
                        write_row(rows, n, GAP, BEFORE_ARRIVAL, neuron, at, -1, other, gap, later, 0.0, time)
                    n += 1
                taken += takes
            left *= states[back, DECAY_MEM]
            back -= 1
    return n


@compiled
def rows_of(neurons, afferents, heard, trajectories, own, origin):
    """Return (numbers, labels) of all rows of one sample, neuron by neuron."""
    rows = np.empty((0, 4)), np.empty((0, 6), np.int64)
    room = 4 * trajectories.events.shape[0]
    for neuron in range(neurons.tau_mem.size):
        room = swap_rows(neuron, neurons, afferents, heard, trajectories, own.trigger, False, rows, room)
    rows = np.empty((room, 4)), np.empty((room, 6), np.int64)
    n = 0
    for neuron in range(neurons.tau_mem.size):
        n = voltage_rows(neuron, neurons, afferents, heard, trajectories, own, origin, rows, n)
        n = gap_rows(neuron, heard, trajectories, own.trigger, origin, rows, n)
        n = swap_rows(neuron, neurons, afferents, heard, trajectories, own.trigger, True, rows, n)
    return rows[0][:n], rows[1][:n]


@without_refcount
def keep_nearest(places, n, values, nearest):
    """Sort the ``nearest`` of places[:n] to the front by their values; what is equal keeps its order."""
    for k in range(1, n):
        place = places[k]
        value = values[place]
        kept = min(k, nearest)
        if kept == nearest and values[places[kept - 1]] <= value:
            continue
        at = kept if kept < nearest else kept - 1
        while at > 0 and values[places[at - 1]] > value:
            places[at] = places[at - 1]
            at -= 1
        places[at] = place


@compiled
def nearest_rows(numbers, labels, blocks, nearest):
    """Return which rows are the nearest of their kind and block of neurons: by kind, block and distance."""
    n_blocks = blocks.size - 1
    groups = np.empty(labels.shape[0], np.int64)
    for row in range(groups.size):
        block = 0
        while labels[row, NEURON] >= blocks[block + 1]:
            block += 1
        groups[row] = labels[row, KIND] * n_blocks + block
    offsets, places = group_by(groups, 0, groups.size, (GAP + 1) * n_blocks)
    values = numbers[:, VALUE].copy()
    n = 0
    for group in range(offsets.size - 1):
        mine = places[offsets[group] : offsets[group + 1]]
        if mine.size // 4 > nearest:  # as a product may overflow
            keep_nearest(mine, mine.size, values, nearest)
        else:
            mine = mine[np.argsort(values[mine], kind="mergesort")]
        kept = min(mine.size, nearest)
        for k in range(kept):
            places[n + k] = mine[k]
        n += kept
    return places[:n]


@compiled
def distances(layer, run, heard, origin, blocks, nearest, stop):
    """Return the rows of all samples of a chunk: numbers, labels, causes of the other events and offsets of samples.

    An arrival over a synapse that is not ``heard`` is no event; ``origin`` says which of the layer's own spikes a spike
    of the sources is, or -1. Of each sample come the ``nearest`` of each kind and block of neurons, by kind, block and
    distance. A cause is a place among the spikes of the sources, or -1.
    """
    n_samples = run.own.offsets.size - 1
    numbers, labels, causes = np.empty((256, 4)), np.empty((256, 6), np.int64), np.empty(256, np.int64)
    offsets = np.zeros(n_samples + 1, np.int64)
    n = 0
    for sample in range(n_samples):
        trajectories = trajectories_of(layer, run, sample, stop)
        if stop[0] != 0:  # some trajectories are not written
            break
        found, named = rows_of(layer.neurons, layer.afferents, heard, trajectories, run.own, origin)
        chosen = nearest_rows(found, named, blocks, nearest)
        while n + chosen.size > causes.size:
            numbers = np.concatenate((numbers, np.empty_like(numbers)))
            labels = np.concatenate((labels, np.empty_like(labels)))
            causes = np.concatenate((causes, np.empty_like(causes)))
        for row in chosen:
            for column in range(numbers.shape[1]):
                numbers[n, column] = found[row, column]
            for column in range(labels.shape[1]):
                labels[n, column] = named[row, column]
            causes[n] = trajectories.causes[trajectories.first[named[row, NEURON]] + named[row, OTHER]]
            n += 1
        offsets[sample + 1] = n
    return numbers[:n], labels[:n], causes[:n], offsets
