"""Kernel: which events of a neuron come at one time although their order matters to a loss (compiled).

Events of one trajectory follow each other in an order that is total; a gradient is that of this order. Where two are at
exactly one time, and the loss or its derivatives would be others if they came the other way round, it has two sides:

    release, arrival    V feels the weight or not: p_V after it is not 0. Over a delta synapse V jumps or not
    crossing, arrival   what arrived before would change the slope, or make the crossing: e_k or p_V is not 0, or the
                        crossing would vanish. Over a delta synapse always
    trigger, arrival    over a delta synapse, if it would trigger instead, or keep the other from it; else if V keeps it
                        in one order and not in the other, which is so after a reset by value if V is free at once, and
                        by subtraction if it is not. Over an exponential one in these cases, if p_V is not 0
    two arrivals        over delta synapses, if one keeps the other from triggering, as in
                        :func:`eventsolve.kernels.distances.swap_rows`
    sample, other event   V at the sample has a kink there, or jumps
    spike, end          it is recorded or not, and the loss depends on it

A refractory period of 0 ends with its spike. Here p_V = dL/dV just after the two, and e_k = dL/dt_k. What a spike
would do that the other order adds or takes away is in no adjoint, so such an order counts always.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import grouped, schedule_of
from eventsolve.kernels.tables import AT_START, Integers, Reals
from eventsolve.kernels.times import later
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
    SAMPLED,
    SPIKE,
    START,
    VOLTAGE,
    WHICH,
    Segments,
    empty_segments,
    replay,
)

SAMPLE, NEURON, FIRST, FIRST_SPIKE, FIRST_SYNAPSE, SECOND, SECOND_SPIKE, SECOND_SYNAPSE = range(8)
"""Columns of one: what comes first and second, as what ends a segment; the spike that each is or goes with
(of an arrival one of the sources, else an own one, or -1), and the synapse of an arrival, or -1."""


class Followed(NamedTuple):
    """One neuron's trajectory, and for each segment what the order of events depends on.

    ``p_after`` is p_V at its start, just after what ended the one before, and 0 behind the last; ``low`` what the time
    of its end leaves of an exact sum; ``released`` which own spike a release follows that ends it.
    """

    states: Reals
    events: Integers
    p_after: Reals
    low: Reals
    released: Integers


@compiled
def room_for(n):
    """Return what n segments fit in."""
    states, events = empty_segments(n)
    return Followed(states, events, np.empty(n + 1), np.empty(n), np.empty(n, np.int64))


@without_refcount
def adjoint_of(neuron, neurons, followed, n_segments, own_trigger, totals, sampled_cotangents):
    """Write p_V."""
    states, events, p_after, _, _ = followed
    tau_mem = neurons.tau_mem[neuron]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    subtracts = neurons.subtracts[neuron] > 0.0
    p = 0.0
    for g in range(n_segments - 1, -1, -1):
        ending, which = events[g, ENDING], events[g, WHICH]
        p_after[g + 1] = p
        if ending == SAMPLED:
            p += sampled_cotangents[which]
        elif ending == SPIKE and own_trigger[which] >= 0:
            p = p if subtracts else 0.0
        elif ending == SPIKE:
            slope = (states[g, CURRENT] * states[g, DECAY_SYN] - c) / tau_mem
            p = -totals[which] / slope if slope > 0.0 else 0.0
        if not events[g, HELD]:
            p *= states[g, DECAY_MEM]
    p_after[0] = p


@without_refcount
def times_low(neuron, neurons, schedule, own, followed, n_segments, start_free_low, sampled_arrival):
    """Write what the time of each segment's end leaves of its exact sum, and which own spike a release follows."""
    _, events, _, low, released = followed
    last, free_low = -1, start_free_low
    t_ref = neurons.t_ref[neuron]
    arrival_low, own_times, own_low = schedule.low, own.times, own.low
    for g in range(n_segments):
        ending, which = events[g, ENDING], events[g, WHICH]
        released[g] = last
        low[g] = 0.0
        if ending == ARRIVAL:
            low[g] = arrival_low[which]
        elif ending == SPIKE:
            last = which
            low[g] = own_low[which]
            _, free_low = later(own_times[which], own_low[which], t_ref)
        elif ending == RELEASE:
            low[g] = free_low
        elif ending == SAMPLED and sampled_arrival[which] not in (-1, AT_START):
            moves_with = sampled_arrival[which]
            low[g] = arrival_low[moves_with if moves_with >= 0 else -2 - moves_with]


@without_refcount
def matters(a, b, neuron, neurons, afferents, schedule, followed, n_segments, own, origin, totals, sampled):
    """Return whether the order of two events at one time matters, those that end the segments a < b."""
    states, events, p_after, _, _ = followed
    first, second = events[a, ENDING], events[b, ENDING]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    held_after = neurons.t_ref[neuron] > 0.0
    subtracts = neurons.subtracts[neuron] > 0.0
    first_synapse = afferents.offsets[neuron]
    if second == END:
        return first == SPIKE and totals[events[a, WHICH]] != 0.0
    if first == SAMPLED or second == SAMPLED:
        sample_at, other = (a, b) if first == SAMPLED else (b, a)
        if sampled.cotangents[events[sample_at, WHICH]] == 0.0 or events[other, ENDING] == SAMPLED:
            return False
        if events[other, ENDING] != ARRIVAL:
            return True
        moves_with = sampled.arrival[events[sample_at, WHICH]]
        mine = events[other, WHICH]
        weight = afferents.weight[first_synapse + schedule.slots[mine]]
        return weight != 0.0 and moves_with != mine and moves_with != -2 - mine and not events[other, HELD]
    if second == ARRIVAL:
        synapse = first_synapse + schedule.slots[events[b, WHICH]]
        weight, delta = afferents.weight[synapse], afferents.delta[synapse]
        if weight == 0.0:
            return False
        if first == RELEASE:
            return not events[b, HELD] and (delta or p_after[b + 1] != 0.0)
        if first == SPIKE and own.trigger[events[a, WHICH]] < 0:
            if origin[schedule.spikes[events[b, WHICH]]] == events[a, WHICH]:
                return False  # its own spike, back without delay
            slope = states[a, CURRENT] * states[a, DECAY_SYN] - c
            return (
                delta
                or slope + weight <= 0.0
                or totals[events[a, WHICH]] != 0.0
                or (not held_after and p_after[b + 1] != 0.0)
            )
    if first == ARRIVAL and second == ARRIVAL:
        return pair_matters(a, b, first_synapse, c, afferents, schedule, followed, own)
    # an arrival and a spike that another arrival at that time triggers
    spike = a if first == SPIKE else b
    other = b if first == SPIKE else a
    if events[spike, ENDING] != SPIKE or events[other, ENDING] != ARRIVAL or other == spike - 1:
        return False
    if own.trigger[events[spike, WHICH]] < 0:
        return False  # a crossing that comes after an arrival, within float64: the arrival makes it
    trigger = spike - 1
    if other > spike and origin[schedule.spikes[events[other, WHICH]]] == events[spike, WHICH]:
        return False
    synapse = first_synapse + schedule.slots[events[other, WHICH]]
    weight, delta = afferents.weight[synapse], afferents.delta[synapse]
    lift = afferents.weight[first_synapse + schedule.slots[events[trigger, WHICH]]]
    if weight == 0.0 or events[min(other, trigger), HELD]:
        return False
    if delta:
        before = states[trigger, VOLTAGE] * states[trigger, DECAY_MEM]
        before += states[trigger, CURRENT] * states[trigger, RESPONSE]
        if other < trigger:
            before -= weight
        # what else arrives at that time may come between the two, or not
        more = 0.0
        g = trigger
        while g > 0 and states[g, DURATION] == 0.0:
            g -= 1
        while g <= spike or states[g, DURATION] == 0.0:
            if events[g, ENDING] == ARRIVAL and g != other and g != trigger:
                synapse = first_synapse + schedule.slots[events[g, WHICH]]
                if afferents.delta[synapse]:
                    more += abs(afferents.weight[synapse])
            g += 1
            if g == n_segments:
                break
        if other < trigger and weight > 0.0 and before - more + lift < c:
            return True  # the trigger needs it
        if other > spike and weight > 0.0 and before + more + weight >= c:
            return True  # it would trigger
        if other > spike and weight < 0.0 and before - more + weight + lift < c:
            return True  # it would keep the trigger from it
    return subtracts == held_after and (delta or p_after[max(other, spike) + 1] != 0.0)


@without_refcount
def pair_matters(a, b, first_synapse, c, afferents, schedule, followed, own):
    """Return whether the first of two arrivals keeps the second from making the neuron spike."""
    states, events, _, _, _ = followed
    weights, delta, slots = afferents.weight, afferents.delta, schedule.slots
    one, two = first_synapse + slots[events[a, WHICH]], first_synapse + slots[events[b, WHICH]]
    if events[a, HELD] or not (delta[one] and delta[two] and weights[one] < 0.0 < weights[two]):
        return False
    if events[b + 1, ENDING] == SPIKE and own.trigger[events[b + 1, WHICH]] >= 0:
        return False  # a pair of the arrival and the spike
    taken = 0.0
    for g in range(a + 1, b):
        if events[g, ENDING] == SPIKE:
            return False
        if events[g, ENDING] == ARRIVAL:
            synapse = first_synapse + slots[events[g, WHICH]]
            if delta[synapse] and weights[synapse] < 0.0:
                taken -= weights[synapse]
    short = c - weights[two]
    short -= states[b, VOLTAGE] * states[b, DECAY_MEM] + states[b, CURRENT] * states[b, RESPONSE]
    return short <= -weights[one] or taken < short <= taken - weights[one]


@without_refcount
def releases(a, b, neuron, neurons, afferents, schedule, followed):
    """Return whether it matters that an arrival, which ends segment b, comes with a spike and no refractory period."""
    events, p_after = followed.events, followed.p_after
    if neurons.t_ref[neuron] > 0.0 or events[a, ENDING] != SPIKE or events[b, ENDING] != ARRIVAL:
        return False
    synapse = afferents.offsets[neuron] + schedule.slots[events[b, WHICH]]
    return afferents.weight[synapse] != 0.0 and (afferents.delta[synapse] or p_after[b + 1] != 0.0)


@without_refcount
def write_event(labels, n, column, g, ending, neuron, afferents, schedule, followed):
    """Write what ends a segment into a row of labels, from a column on."""
    events, released = followed.events, followed.released
    which = events[g, WHICH]
    spike, synapse = -1, -1
    if ending == ARRIVAL:
        spike = schedule.spikes[which]
        synapse = afferents.offsets[neuron] + schedule.slots[which]
    elif ending == SPIKE:
        spike = which
    elif ending == RELEASE:
        spike = which if events[g, ENDING] == SPIKE else released[g]
    labels[n, column], labels[n, column + 1], labels[n, column + 2] = ending, spike, synapse


@compiled
def coincidences(layer, run, origin, totals, sampled, stop):
    """Return (labels, times) of those of all samples, neuron by neuron.

    ``origin`` says which of the layer's own spikes a spike of the sources is, or -1; ``totals`` is dL/dt_k of every own
    spike.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    n_samples = spikes.offsets.size - 1
    n_neurons = neurons.tau_mem.size
    labels, times = np.empty((64, 8), np.int64), np.empty(64)
    n = 0
    followed = room_for(64)
    for sample in range(n_samples):
        if stop[0] != 0:
            break
        given = grouped(spikes, sample, n_sources)
        here, read = grouped(own, sample, n_neurons), grouped(sampled, sample, n_neurons)
        for group in range(groups.offsets.size - 1):
            representative = groups.members[groups.offsets[group]]
            schedule = schedule_of(
                representative, neurons, afferents, given, start.time[sample, representative], after, t_end
            )
            for member in range(groups.offsets[group], groups.offsets[group + 1]):
                neuron = groups.members[member]
                n_own = here.offsets[neuron + 1] - here.offsets[neuron]
                n_sampled = read.offsets[neuron + 1] - read.offsets[neuron]
                room = schedule.times.size + 2 * n_own + n_sampled + 2
                if room > followed.low.size:
                    followed = room_for(2 * room)
                states, events, _, low, _ = followed
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    schedule.times.size,
                    start,
                    here,
                    n_own,
                    read,
                    t_end,
                    Segments(states, events),
                )
                adjoint_of(neuron, neurons, followed, n_segments, own.trigger, totals, sampled.cotangents)
                free_low = start.free_low[sample, neuron]
                times_low(neuron, neurons, schedule, own, followed, n_segments, free_low, sampled.arrival)
                for b in range(1, n_segments):
                    a = b - 1
                    while a >= 0 and states[a + 1, DURATION] == 0.0:
                        crossed = events[a, ENDING] == SPIKE and own.trigger[events[a, WHICH]] < 0
                        first = events[a, ENDING]
                        found = (low[a] == low[b] or crossed) and matters(
                            a,
                            b,
                            neuron,
                            neurons,
                            afferents,
                            schedule,
                            followed,
                            n_segments,
                            own,
                            origin,
                            totals,
                            sampled,
                        )
                        # a refractory period of 0 ends here, too
                        ended = (low[a] == low[b] or crossed) and releases(
                            a, b, neuron, neurons, afferents, schedule, followed
                        )
                        for row in range(2):
                            ending = first if row == 0 else RELEASE
                            if not (found if row == 0 else ended):
                                continue
                            if n == times.size:
                                labels = np.concatenate((labels, np.empty_like(labels)))
                                times = np.concatenate((times, np.empty_like(times)))
                            times[n] = states[b, START] + states[b, DURATION]
                            labels[n, SAMPLE], labels[n, NEURON] = sample, neuron
                            write_event(labels, n, FIRST, a, ending, neuron, afferents, schedule, followed)
                            last = events[b, ENDING]
                            write_event(labels, n, SECOND, b, last, neuron, afferents, schedule, followed)
                            n += 1
                        a -= 1
    return labels[:n], times[:n]
