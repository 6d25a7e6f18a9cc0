"""Kernel: how every spike of a layer moves, to first order, forwards through its recorded spikes (compiled).

The transpose of :mod:`eventsolve.kernels.layered_adjoint` and :mod:`eventsolve.kernels.recurrent_adjoint`. dV and dI
are changes at a fixed time; between events they are carried by the propagator, and its derivatives add what changes of
time constants and of v_leak do. At events that move by dt:

    arrival of weight w     dI += dw + w dt/tau_syn,  dV -= w dt/tau_mem unless V is held.
                            Over a delta synapse dV += dw + w dt/tau_mem, and nothing while V is held
    crossing                dt = (dv_threshold - dV)/slope_left;  dV := dv_reset - dt slope_right
    triggered spike         dt is that of its arrival;  dV alike, or with a reset by subtraction
                            dV += dt slope_ahead - dv_threshold + dv_reset - dt slope_right
    release                 where V is held, dt slope_right is taken off here, and with dt + dt_ref
    sample                  of the voltage at a place that moves with an arrival: dV + dt slope_left

A neuron's nodes are its own spikes and the places at which a loss samples its voltage while it is free. Each neuron's
trajectory is gone through on its own, which gives what dV and dI are just before every node if they are 0 after the one
before it and no spike of the layer moves (:func:`go_through`). Then nodes are taken in the order in which they occurred
(:func:`couple`): what is left after a node is carried on to the next one of its neuron, and each spike's deliveries
within the layer to their targets' next nodes. Memory grows with spikes, not with deliveries.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import grouped, order_by_time, schedule_of
from eventsolve.kernels.membrane import propagator, propagator_derivatives
from eventsolve.kernels.perturbation import (
    I_INITIAL,
    T_REF,
    TAU_MEM,
    TAU_SYN,
    V_INITIAL,
    V_LEAK,
    V_RESET,
    V_THRESHOLD,
    Scales,
)
from eventsolve.kernels.queues import tied_before
from eventsolve.kernels.tables import AT_START, Efferents, Integers, Reals, Spikes
from eventsolve.kernels.times import is_after, later
from eventsolve.kernels.trajectories import (
    ARRIVAL,
    CURRENT,
    DECAY_MEM,
    DECAY_SYN,
    DURATION,
    ENDING,
    HELD,
    RELEASE,
    RESPONSE,
    SAMPLED,
    SPIKE,
    START,
    VOLTAGE,
    WHICH,
    empty_segments,
    replay,
)


class Feedback(NamedTuple):
    """Synapses within a layer, those of its own neurons behind those of ``n_external``, and the spikes from outside."""

    cyclic: bool
    n_external: int
    efferents: Efferents
    given: Spikes


class Direction(NamedTuple):
    """What moves, and how far.

    Attributes
    ----------
    steps : Scales
        Weights, delays and parameters of neurons.
    origin, moves : (n_spikes,)
        Which of the layer's own spikes each source spike is, or -1, and how far it moves if it is none, in seconds.
    emitted : (n_own,)
        How much later each own spike is emitted, beside what moves it.
    """

    steps: Scales
    origin: Integers
    moves: Reals
    emitted: Reals


class Nodes(NamedTuple):
    """Spikes and samples of one trial by neuron, then as they come: offsets[n] to offsets[n + 1] are neuron n's.

    Attributes
    ----------
    spike, sampled : which it is among the layer's spikes and the voltage samples, -1 for the other kind
    held : whether it samples V while that is held, by the spike before it or from the start
    cause : the spike of the layer with whose arrival the place of a sample moves, or -1
    time : in seconds
    v, i : dV and dI just before it, from what is the neuron's own and from outside of the layer; after its trigger
    shift : how far that moves a triggered spike; what it adds to the voltage sampled at a place that moves
    left, right, ahead : V' before a spike, where V moves on after it, and before its trigger
    rise : by how much a sampled voltage changes with the time of its cause
    last_low, last_sent, last_sent_low, last_own : of the last arrival at the float64 time of a spike that its neuron
        had received: what its time leaves of an exact sum, -inf if there was none; when it was sent, as which own spike
    """

    offsets: Integers
    spike: Integers
    sampled: Integers
    held: Integers
    cause: Integers
    time: Reals
    v: Reals
    i: Reals
    shift: Reals
    left: Reals
    right: Reals
    ahead: Reals
    rise: Reals
    last_low: Reals
    last_sent: Reals
    last_sent_low: Reals
    last_own: Reals


@without_refcount
def go_through(
    neuron,
    neurons,
    afferents,
    schedule,
    spikes,
    segments,
    n_segments,
    own_trigger,
    slopes,
    sampled_arrival,
    direction,
    nodes,
):
    """Write one neuron's nodes."""
    states, events = segments
    steps, origin, moves = direction.steps, direction.origin, direction.moves
    tau_mem, tau_syn, t_ref = neurons.tau_mem[neuron], neurons.tau_syn[neuron], neurons.t_ref[neuron]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    subtracts = neurons.subtracts[neuron] > 0.0
    first_synapse = afferents.offsets[neuron]
    slots, causes = schedule.slots, schedule.spikes
    d = steps.neurons
    d_mem, d_syn, d_leak = d[TAU_MEM, neuron], d[TAU_SYN, neuron], d[V_LEAK, neuron]
    free = d_mem != 0.0 or d_syn != 0.0 or d_leak != 0.0
    v, i = d[V_INITIAL, neuron], d[I_INITIAL, neuron]
    node = nodes.offsets[neuron]
    last_spike, last_arrival = -1, -1
    slope, inherited = 0.0, 0.0
    for g in range(n_segments):
        u, current, h = states[g, VOLTAGE], states[g, CURRENT], states[g, DURATION]
        ea, eb, k = states[g, DECAY_MEM], states[g, DECAY_SYN], states[g, RESPONSE]
        held, ending, which = events[g, HELD], events[g, ENDING], events[g, WHICH]
        if not held:
            v = v * ea + i * k
            if free:
                k_leak, k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
                v += d_leak * k_leak + d_syn * current * k_syn
                v += d_mem * (u * ea * h / (tau_mem * tau_mem) + current * k_mem)
        i = i * eb + d_syn * current * eb * h / (tau_syn * tau_syn)
        if ending == ARRIVAL:
            last_arrival = which
            synapse = first_synapse + slots[which]
            moved = steps.delay[synapse] + moves[causes[which]]
            weight, changed = afferents.weight[synapse], steps.weight[synapse]
            if not afferents.delta[synapse]:
                i += changed + weight * moved / tau_syn
                if not held:
                    v -= weight * moved / tau_mem
            elif not held:
                v += changed
                following = events[g + 1, WHICH]
                if events[g + 1, ENDING] == SPIKE and own_trigger[following] >= 0:
                    slope = (current * eb - (u * ea + current * k)) / tau_mem
                    inherited = moved
                else:
                    v += weight * moved / tau_mem
        elif ending == SPIKE:
            triggered = own_trigger[which] >= 0
            last_spike = node
            nodes.spike[node] = which
            nodes.time[node] = states[g, START] + h
            nodes.v[node], nodes.i[node] = v, i
            nodes.last_low[node] = -math.inf
            if last_arrival >= 0 and schedule.times[last_arrival] == nodes.time[node]:
                cause = causes[last_arrival]
                nodes.last_low[node], nodes.last_own[node] = schedule.low[last_arrival], 1.0 * origin[cause]
                nodes.last_sent[node], nodes.last_sent_low[node] = spikes.times[cause], spikes.low[cause]
            nodes.left[node] = slopes[which] if slopes.size > 0 else (current * eb - c) / tau_mem
            if triggered:
                nodes.ahead[node], nodes.shift[node] = slope, inherited
            v, i = d[V_RESET, neuron], 0.0
            if triggered and subtracts:
                v -= d[V_THRESHOLD, neuron]
            if t_ref == 0.0:
                right = (current * eb - states[g + 1, VOLTAGE]) / tau_mem
                nodes.right[node] = right
                v -= right * d[T_REF, neuron]
            node += 1
        elif ending == RELEASE:
            if last_spike >= 0:
                right = (current * eb - u) / tau_mem
                nodes.right[last_spike] = right
                v -= right * d[T_REF, neuron]
        elif ending == SAMPLED:
            nodes.sampled[node] = which
            nodes.time[node] = states[g, START] + h
            nodes.held[node] = held
            nodes.v[node], nodes.i[node] = v, i
            moves_with = sampled_arrival[which]
            if moves_with not in (-1, AT_START):
                arrival = moves_with if moves_with >= 0 else -2 - moves_with
                synapse = first_synapse + slots[arrival]
                rise = (current * eb - (u * ea + current * k)) / tau_mem
                cause = causes[arrival]
                nodes.shift[node] = rise * (steps.delay[synapse] + moves[cause])
                nodes.cause[node] = origin[cause]
                # a sample just after an arrival comes before what the layer's own arrival, by moving, does to V
                nodes.rise[node] = rise if moves_with >= 0 else rise + afferents.weight[synapse] / tau_mem
            if not held:
                v, i = 0.0, 0.0
            node += 1


@without_refcount
def received(node, arrival_low, rank, own_spike, nodes, sent, sent_low):
    """Return whether a crossing's neuron had received a delivery of its float64 time, or that comes behind its last."""
    low, when, when_low = nodes.last_low[node], nodes.last_sent[node], nodes.last_sent_low[node]
    if arrival_low != low:
        return arrival_low < low
    if sent[rank] != when:
        return sent[rank] < when
    if sent_low[rank] != when_low:
        return sent_low[rank] < when_low
    return own_spike <= nodes.last_own[node]


@without_refcount
def next_node(
    first,
    last,
    arrival,
    arrival_low,
    rank,
    own_spike,
    key,
    n_bundles,
    nodes,
    triggers,
    own_low,
    sent,
    sent_low,
):
    """Return the first of a neuron's nodes, first to last, that a delivery comes before, but for samples of a held V.

    ``rank`` is that of the spike that is delivered, ``own_spike`` its number and ``key`` that of the delivery.
    """
    a, b = first, last
    times, spikes = nodes.time, nodes.spike
    while a < b:
        middle = (a + b) >> 1
        t = times[middle]
        before = t < arrival or (t == arrival and spikes[middle] >= 0)
        if before and t == arrival and triggers[spikes[middle]] < 0:
            before = not received(middle, arrival_low, rank, own_spike, nodes, sent, sent_low)
        if t == arrival and spikes[middle] >= 0 and triggers[spikes[middle]] >= 0:
            trigger = triggers[spikes[middle]]
            cause = trigger // n_bundles
            before = trigger < key
            if cause != rank:
                before = tied_before(own_low[spikes[middle]], cause, arrival_low, rank, sent, sent_low)
        if before:
            a = middle + 1
        else:
            b = middle
    while a < last and nodes.held[a]:
        a += 1
    return a


@compiled
def couple(sample, neurons, feedback, start, own, direction, nodes, t_end, cotangents, moved, loss, stop):
    """Write how far one sample's spikes move and what samples add to its loss; return a spike without slope, or -1."""
    cyclic, n_external, efferents, given = feedback
    steps, emitted = direction.steps, direction.emitted
    start_free_at, start_free_low = start.free_at, start.free_low
    tau_mems, tau_syns, t_refs = neurons.tau_mem, neurons.tau_syn, neurons.t_ref
    subtracts = neurons.subtracts
    offsets, spikes, times = nodes.offsets, nodes.spike, nodes.time
    triggers, own_low = own.trigger, own.low
    n_bundles = efferents.delay.size
    low, high = own.offsets[sample], own.offsets[sample + 1]
    n_given = given.offsets[sample + 1] - given.offsets[sample]
    sent, sent_low = np.empty(n_given + high - low), np.empty(n_given + high - low)  # by rank
    for k in range(n_given):
        sent[k] = given.times[given.offsets[sample] + k]
        sent_low[k] = given.low[given.offsets[sample] + k]
    for k in range(low, high):
        sent[n_given + k - low], sent_low[n_given + k - low] = own.times[k], own_low[k]
    neuron_of = np.empty(times.size, np.int64)
    keys = np.empty(times.size, np.int64)  # at one time spikes come in their order, then voltage samples
    for m in range(t_refs.size):
        for k in range(offsets[m], offsets[m + 1]):
            neuron_of[k] = m
            keys[k] = spikes[k] - low if spikes[k] >= 0 else high - low
    v, i, shift = nodes.v.copy(), nodes.i.copy(), nodes.shift.copy()
    order = order_by_time(times, keys)
    grazing = -1
    for o in range(order.size):
        if stop[0] != 0:
            break
        node = order[o]
        n, now = neuron_of[node], times[node]
        if spikes[node] < 0:
            change = v[node] + shift[node]
            if nodes.cause[node] >= 0:
                change += nodes.rise[node] * moved[nodes.cause[node]]
            loss[sample] += cotangents[nodes.sampled[node]] * change
            if not nodes.held[node] and node + 1 < offsets[n + 1]:
                ea, eb, k = propagator(times[node + 1] - now, tau_mems[n], tau_syns[n])
                v[node + 1] += v[node] * ea + i[node] * k
                i[node + 1] += i[node] * eb
            continue
        spike = spikes[node]
        kept = 0.0
        if triggers[spike] >= 0:
            dt = shift[node]
            if subtracts[n] > 0.0:
                kept = v[node] + nodes.ahead[node] * dt
        else:
            missing = steps.neurons[V_THRESHOLD, n] - v[node]
            dt = 0.0
            if missing != 0.0:
                if nodes.left[node] > 0.0:
                    dt = missing / nodes.left[node]
                elif grazing < 0 or spike < grazing:
                    grazing = spike
        dt += emitted[spike]
        moved[spike] = dt
        following = node + 1
        while following < offsets[n + 1] and nodes.held[following]:
            v[following] += kept
            following += 1
        if following < offsets[n + 1]:
            free_at = now
            i_free = i[node]
            if t_refs[n] > 0.0:
                free_at, _ = later(now, own_low[spike], t_refs[n])
                i_free *= math.exp(-t_refs[n] / tau_syns[n])
            ea, eb, k = propagator(times[following] - free_at, tau_mems[n], tau_syns[n])
            v[following] += (kept - dt * nodes.right[node]) * ea + i_free * k
            i[following] += i_free * eb
        if not cyclic or dt == 0.0:
            continue
        rank = n_given + spike - low
        source = n_external + n
        for bundle in range(efferents.offsets[source], efferents.offsets[source + 1]):
            arrival, arrival_low = later(now, own_low[spike], efferents.delay[bundle])
            if is_after(arrival, arrival_low, t_end, 0.0):
                break
            key = rank * n_bundles + bundle
            delta = efferents.delta[bundle]
            for s in range(efferents.first[bundle], efferents.first[bundle + 1]):
                m = efferents.target[s]
                first, last = offsets[m], offsets[m + 1]
                a = next_node(
                    first,
                    last,
                    arrival,
                    arrival_low,
                    rank,
                    spike,
                    key,
                    n_bundles,
                    nodes,
                    triggers,
                    own_low,
                    sent,
                    sent_low,
                )
                if a == last:
                    continue
                if spikes[a] >= 0 and triggers[spikes[a]] == key:
                    shift[a] += dt
                    continue
                before = a - 1
                while before >= first and spikes[before] < 0:
                    before -= 1
                held_to, held_low = start_free_at[sample, m], start_free_low[sample, m]
                if before >= first:
                    held_to, held_low = later(times[before], own_low[spikes[before]], t_refs[m])
                held = is_after(held_to, held_low, arrival, arrival_low)
                jump = efferents.weight[s] * dt
                if held and (before < first or t_refs[m] > 0.0):
                    if delta:
                        continue
                    left = jump / tau_syns[m] * math.exp(-(held_to - arrival) / tau_syns[m])
                    _, eb, k = propagator(times[a] - held_to, tau_mems[m], tau_syns[m])
                    v[a] += left * k
                    i[a] += left * eb
                    continue
                ea, eb, k = propagator(times[a] - arrival, tau_mems[m], tau_syns[m])
                if delta:
                    v[a] += jump / tau_mems[m] * ea
                else:
                    v[a] += jump * (k / tau_syns[m] - ea / tau_mems[m])
                    i[a] += jump / tau_syns[m] * eb
    return grazing


@compiled
def move(layer, run, feedback, slopes, sampled, direction, stop):
    """Return how far every spike of a layer moves and what that of its voltages adds to a loss, to first order.

    Parameters
    ----------
    layer : ByTarget
    run : Run
    feedback : Feedback
    slopes : (n_own,) or (0,)
        V' before every own spike where it was observed; by default it follows from I and the threshold.
    sampled : Sampled
        Where a loss samples the voltages of the layer.
    direction : Direction

    Returns
    -------
    moved : (n_own,)
    loss : (n_samples,)
    grazing : int
        The first own spike that moves and has no slope, where no derivative exists; -1 if there is none.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    n_samples = own.offsets.size - 1
    n = neurons.tau_mem.size
    moved, loss = np.zeros(own.times.size), np.zeros(n_samples)
    grazing = -1
    segments = empty_segments(256)
    for sample in range(n_samples):
        given = grouped(spikes, sample, n_sources)
        here, read = grouped(own, sample, n), grouped(sampled, sample, n)
        by_neuron, by_sampled = here.offsets, read.offsets
        n_nodes = here.places.size + read.places.size
        numbers, marks = np.zeros((12, n_nodes)), np.full((4, n_nodes), -1)
        marks[2] = 0
        nodes = Nodes(
            by_neuron + by_sampled,
            marks[0],
            marks[1],
            marks[2],
            marks[3],
            numbers[0],
            numbers[1],
            numbers[2],
            numbers[3],
            numbers[4],
            numbers[5],
            numbers[6],
            numbers[7],
            numbers[8],
            numbers[9],
            numbers[10],
            numbers[11],
        )
        for group in range(groups.offsets.size - 1):
            if stop[0] != 0:
                break
            first, last = groups.offsets[group], groups.offsets[group + 1]
            latest = 0.0
            for member in range(first, last):
                neuron = groups.members[member]
                if by_sampled[neuron + 1] > by_sampled[neuron]:
                    latest = t_end
                elif by_neuron[neuron + 1] > by_neuron[neuron]:
                    latest = max(latest, own.times[here.places[by_neuron[neuron + 1] - 1]])
            # with arrivals at that float64 time, which by their exact times may be later
            horizon = min(np.nextafter(latest, t_end), t_end)
            representative = groups.members[first]
            schedule = schedule_of(
                representative, neurons, afferents, given, start.time[sample, representative], after, horizon
            )
            room = schedule.times.size + 2 * here.places.size + read.places.size + 2
            if room > segments.states.shape[0]:
                segments = empty_segments(2 * room)
            for member in range(first, last):
                if stop[0] != 0:
                    break
                neuron = groups.members[member]
                n_own = by_neuron[neuron + 1] - by_neuron[neuron]
                n_sampled = by_sampled[neuron + 1] - by_sampled[neuron]
                if n_own + n_sampled == 0:
                    continue
                n_arrivals, t_last = schedule.times.size, t_end
                if n_sampled == 0:
                    spike = here.places[by_neuron[neuron + 1] - 1]
                    n_arrivals, t_last = own.arrivals[spike], own.times[spike]
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    n_arrivals,
                    start,
                    here,
                    n_own,
                    read,
                    t_last,
                    segments,
                )
                go_through(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    spikes,
                    segments,
                    n_segments,
                    own.trigger,
                    slopes,
                    sampled.arrival,
                    direction,
                    nodes,
                )
        found = couple(
            sample,
            neurons,
            feedback,
            start,
            own,
            direction,
            nodes,
            t_end,
            sampled.cotangents,
            moved,
            loss,
            stop,
        )
        if found >= 0 and (grazing < 0 or found < grazing):
            grazing = found
    return moved, loss, grazing
