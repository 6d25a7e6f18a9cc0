"""Kernels: the trajectory of a neuron whose spikes are known, segment by segment, and what it tells (compiled)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, embedded
from eventsolve.kernels.arrivals import Grouped, grouped, schedule_of
from eventsolve.kernels.membrane import extremum, propagator
from eventsolve.kernels.tables import AT_START, Integers, Reals, Sampled, Spikes
from eventsolve.kernels.times import is_after, later

# A neuron's trajectory is cut into segments at its events. Two arrays hold it, one row for each segment:
START, DURATION, VOLTAGE, CURRENT, DECAY_MEM, DECAY_SYN, RESPONSE = 0, 1, 2, 3, 4, 5, 6
"""Columns of its states: start and duration in seconds, u = V - v_leak and i at the start, the propagator."""
HELD, ENDING, WHICH = 0, 1, 2
"""Columns of its events: is V held, what ends it, and which arrival of the schedule, own spike or sample that is."""
ARRIVAL, END, SPIKE, RELEASE, SAMPLED = 0, 1, 2, 3, 4
"""What ends a segment."""


class Segments(NamedTuple):
    """The two."""

    states: Reals
    events: Integers


@compiled
def empty_segments(n):
    """Return room for n Segments."""
    return Segments(np.empty((n, 7)), np.empty((n, 3), np.int64))


@embedded
def replay(neuron, neurons, afferents, schedule, n_arrivals, start, own, n_own, sampled, t_end, segments):
    """Write the trajectory of a neuron whose spikes are known into ``segments``; return how many there are.

    ``own`` are the layer's spikes in a sample and ``sampled`` its voltage samples, each Grouped by neuron. The
    trajectory begins with the start state and ends at t_end, after the first n_arrivals of the schedule, n_own spikes
    and all samples of the neuron. There has to be room for as many segments as those are, one more for each spike, and
    two. In a layer without cycles the states are bit for bit
    those of :func:`eventsolve.kernels.layered.forward`. At one time come a release, the neuron's crossing, voltage
    samples that move with the arrival, the arrival, the spike that it triggers, and behind all arrivals of that time
    voltage samples that are fixed in time.
    """
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    u_reset = neurons.v_reset[neuron] - neurons.v_leak[neuron]
    drop = neurons.v_threshold[neuron] - neurons.v_reset[neuron]
    subtracts = neurons.subtracts[neuron] > 0.0
    t_ref = neurons.t_ref[neuron]
    weights, delta = afferents.weight, afferents.delta
    first_synapse = afferents.offsets[neuron]
    begin, arrival_times, arrival_low, slots, _, decay_mem, decay_syn, response = schedule
    own_times, own_arrivals, own_trigger, own_low = own.of.times, own.of.arrivals, own.of.trigger, own.of.low
    sampled_times, sampled_arrival = sampled.of.times, sampled.of.arrival
    own_places, first_own = own.places, own.offsets[neuron]
    sampled_places, first_sampled = sampled.places, sampled.offsets[neuron]
    n_sampled = sampled.offsets[neuron + 1] - first_sampled
    states, events = segments
    sample = own.sample
    n = 0
    n_spiked = 0
    n_read = 0
    t, u, i = start.time[sample, neuron], start.u[sample, neuron], start.i[sample, neuron]
    free_at, free_low = start.free_at[sample, neuron], start.free_low[sample, neuron]
    held = is_after(free_at, free_low, t, 0.0)
    for j in range(n_arrivals + 1):
        t_next, low_next = (arrival_times[j], arrival_low[j]) if j < n_arrivals else (t_end, 0.0)
        whole = j > 0 or t == begin
        while True:
            stop, ending, which = t_next, ARRIVAL if j < n_arrivals else END, j
            if held:
                if not is_after(free_at, free_low, t_next, low_next):
                    stop, ending = free_at, RELEASE
            elif n_spiked < n_own and own_arrivals[own_places[first_own + n_spiked]] == j:
                which = own_places[first_own + n_spiked]
                stop, ending = own_times[which], SPIKE
            if n_read < n_sampled:
                place = sampled_places[first_sampled + n_read]
                moves_with = sampled_arrival[place]
                if (
                    moves_with == -1 - j < -1
                    or moves_with == AT_START
                    or (moves_with == j and ending <= END)
                    or (moves_with == -1 and sampled_times[place] < stop)
                    or (moves_with == -1 and sampled_times[place] == stop and ending == END)
                ):
                    stop, ending, which = sampled_times[place], SAMPLED, place
            h = stop - t
            if whole and ending <= END:
                ea, eb, k = decay_mem[j], decay_syn[j], response[j]
            else:
                ea, eb, k = propagator(h, tau_mem, tau_syn)
            states[n, START] = t
            states[n, DURATION] = h
            states[n, VOLTAGE] = u
            states[n, CURRENT] = i
            states[n, DECAY_MEM] = ea
            states[n, DECAY_SYN] = eb
            states[n, RESPONSE] = k
            events[n, HELD] = held
            events[n, ENDING] = ending
            events[n, WHICH] = which
            n += 1
            if not held:
                u = u * ea + i * k
            i *= eb
            t = stop
            whole = False
            if ending <= END:
                break
            if ending == SPIKE:
                u = u - drop if subtracts and own_trigger[which] >= 0 else u_reset
                free_at, free_low = later(t, own_low[which], t_ref)
                held = t_ref > 0.0
                n_spiked += 1
            elif ending == RELEASE:
                held = False
            elif ending == SAMPLED:
                n_read += 1
        if j < n_arrivals:
            synapse = first_synapse + slots[j]
            if not delta[synapse]:
                i += weights[synapse]
            elif not held:
                u += weights[synapse]
    return n


@compiled
def no_samples(n):
    """Return that no voltage of n neurons is sampled, Grouped by neuron."""
    nowhere, none = np.empty(0, np.int64), np.zeros(n + 1, np.int64)
    return Grouped(Sampled(np.empty(0), nowhere, none[:1], nowhere, np.empty(0)), 0, none, nowhere)


@compiled
def sample_states(layer, run, times, stop):
    """Return voltage and current at times (n_samples, n_times), each (n_samples, n, n_times); after an event at a time.

    Times of a sample are sorted; before a neuron's start state the result is NaN.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    n_samples = spikes.offsets.size - 1
    n = neurons.tau_mem.size
    voltage = np.full((n_samples, n, times.shape[1]), np.nan)
    current = np.full((n_samples, n, times.shape[1]), np.nan)
    unread = no_samples(n)
    segments = empty_segments(64)
    for sample in range(n_samples):
        given, here = grouped(spikes, sample, n_sources), grouped(own, sample, n)
        for group in range(groups.offsets.size - 1):
            representative = groups.members[groups.offsets[group]]
            schedule = schedule_of(
                representative, neurons, afferents, given, start.time[sample, representative], after, t_end
            )
            tau_mem, tau_syn = neurons.tau_mem[representative], neurons.tau_syn[representative]
            for member in range(groups.offsets[group], groups.offsets[group + 1]):
                if stop[0] != 0:
                    break
                neuron = groups.members[member]
                n_arrivals, n_own = schedule.times.size, here.offsets[neuron + 1] - here.offsets[neuron]
                if n_arrivals + 2 * n_own + 2 > segments.states.shape[0]:
                    segments = empty_segments(2 * (n_arrivals + 2 * n_own + 2))
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    n_arrivals,
                    start,
                    here,
                    n_own,
                    unread,
                    t_end,
                    segments,
                )
                states, events = segments
                segment = 0
                for q in range(times.shape[1]):
                    time = times[sample, q]
                    while segment + 1 < n_segments and states[segment + 1, START] <= time:
                        segment += 1
                    if time < states[segment, START]:
                        continue
                    u, i = states[segment, VOLTAGE], states[segment, CURRENT]
                    ea, eb, k = propagator(time - states[segment, START], tau_mem, tau_syn)
                    if not events[segment, HELD]:
                        u = u * ea + i * k
                    voltage[sample, neuron, q] = neurons.v_leak[neuron] + u
                    current[sample, neuron, q] = i * eb
    return voltage, current


@compiled
def maxima(layer, run, stop):
    """Return each readout's largest voltage up to t_end, when it is first reached, and the arrival that it moves with.

    Each (n_samples, n). The arrival is -1 for a maximum in the interior of an interval or at an end of the trial. At a
    kink (the voltage rises up to an arrival and falls after it) it is the first arrival at that time, of the neuron's
    schedule; where the arrival itself lifts the voltage, over a delta synapse, it is -2 - arrival. The place of such a
    maximum moves with the arrival. AT_START is one at the start of the trial, if something arrives then. Of a neuron
    that is held at the start, which has spiked before, none is looked for: NaN.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, _, start, after, t_end = run
    n_samples = spikes.offsets.size - 1
    n = neurons.tau_mem.size
    value = np.empty((n_samples, n))
    time = np.empty((n_samples, n))
    arrival = np.full((n_samples, n), -1)
    unread = no_samples(n)
    nothing, none = np.empty(0, np.int64), np.zeros(n + 1, np.int64)
    silence = Spikes(np.empty(0), nothing, nothing, nothing, nothing, np.empty(0))
    segments = empty_segments(64)
    for sample in range(n_samples):
        given, here = grouped(spikes, sample, n_sources), Grouped(silence, sample, none, nothing)
        for group in range(groups.offsets.size - 1):
            representative = groups.members[groups.offsets[group]]
            schedule = schedule_of(
                representative, neurons, afferents, given, start.time[sample, representative], after, t_end
            )
            tau_mem, tau_syn = neurons.tau_mem[representative], neurons.tau_syn[representative]
            n_arrivals = schedule.times.size
            if n_arrivals + 2 > segments.states.shape[0]:
                segments = empty_segments(2 * (n_arrivals + 2))
            states, events = segments
            for member in range(groups.offsets[group], groups.offsets[group + 1]):
                if stop[0] != 0:
                    break
                neuron = groups.members[member]
                if is_after(
                    start.free_at[sample, neuron], start.free_low[sample, neuron], schedule.begin, 0.0
                ):
                    value[sample, neuron] = time[sample, neuron] = math.nan
                    continue
                n_segments = replay(
                    neuron, neurons, afferents, schedule, n_arrivals, start, here, 0, unread, t_end, segments
                )
                first_synapse = afferents.offsets[neuron]
                best = states[0, VOLTAGE]
                time[sample, neuron] = states[0, START]
                if events[0, ENDING] == ARRIVAL and states[0, DURATION] == 0.0:
                    arrival[sample, neuron] = AT_START
                for g in range(n_segments):
                    u, i, h = states[g, VOLTAGE], states[g, CURRENT], states[g, DURATION]
                    u_end = u * states[g, DECAY_MEM] + i * states[g, RESPONSE]
                    i_end = i * states[g, DECAY_SYN]
                    lifted = g > 0 and afferents.delta[first_synapse + schedule.slots[events[g - 1, WHICH]]]
                    if lifted and u > best:
                        best = u
                        time[sample, neuron] = states[g, START]
                        arrival[sample, neuron] = -2 - events[g - 1, WHICH]
                    if i > u and i_end < u_end:
                        s = min(extremum(u, i, tau_mem, tau_syn), h)
                        ea, _, k = propagator(s, tau_mem, tau_syn)
                        peak = u * ea + i * k
                        if peak > best:
                            best = peak
                            time[sample, neuron] = states[g, START] + s
                            arrival[sample, neuron] = -1
                    elif u_end > best:
                        best = u_end
                        time[sample, neuron] = states[g, START] + h
                        arrival[sample, neuron] = events[g, WHICH] if events[g, ENDING] == ARRIVAL else -1
                value[sample, neuron] = neurons.v_leak[neuron] + best
    return value, time, arrival
