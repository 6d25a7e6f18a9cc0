"""Kernel: the adjoint of one population, backwards through its recorded spikes (compiled).

p_V = dL/dV and p_I = dL/dI run backwards from 0 at t_end. Between events the state is linear in its start,
u(h) = u exp(-a) + i K, i(h) = i exp(-b), so the adjoint is the transposed propagator, and the derivative for
a parameter is that of the propagator: the integrals of Wunderlich & Pehle (2021), done. At events:

    arrival of weight w     dL/dw += p_I,  dL/dt = w (p_I/tau_syn - p_V/tau_mem) to the spike that caused it and its
                            delay; no p_V while V is held. Over a delta synapse dL/dw += p_V, dL/dt = w p_V/tau_mem,
                            and nothing while V is held
    crossing                e = cotangent - p_V slope_right;  dL/dv_reset += p_V;  p_V := -e/slope_left
    triggered spike         e alike, but it goes to the arrival, whose time the spike has;  dL/dv_reset += p_V;
                            p_V := 0, or with a reset by subtraction p_V stays and dL/dv_threshold -= p_V
    release                 p_V slope_right goes to the spike and to t_ref;  p_V is now that of the voltage held
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import Grouped, group_by, schedule_of
from eventsolve.kernels.membrane import propagator_derivatives
from eventsolve.kernels.tables import AT_START
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
    VOLTAGE,
    WHICH,
    Segments,
    replay,
)


@without_refcount
def back_through(
    neuron,
    neurons,
    afferents,
    schedule,
    states,
    events,
    n_segments,
    own_trigger,
    slopes,
    cotangents,
    sampled,
    boundary,
    sample,
    errors,
    totals,
    d_weight,
    d_delay,
    d_parameters,
    row,
    wanted,
):
    """Add what one neuron's trajectory contributes to all gradients; return its first spike without a slope, or -1."""
    tau_mem, tau_syn, t_ref = neurons.tau_mem[neuron], neurons.tau_syn[neuron], neurons.t_ref[neuron]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    u_reset = neurons.v_reset[neuron] - neurons.v_leak[neuron]
    drop = neurons.v_threshold[neuron] - neurons.v_reset[neuron]
    subtracts = neurons.subtracts[neuron] > 0.0
    weights, delta = afferents.weight, afferents.delta
    first_synapse = afferents.offsets[neuron]
    slots, causes = schedule.slots, schedule.spikes
    sampled_cotangents, sampled_arrival = sampled.cotangents, sampled.arrival
    grazing = -1
    p_v = 0.0
    p_i = 0.0
    released = 0.0  # -dL/dt of when V was released
    if boundary.shape[0] > 0:
        p_v, p_i, released = (
            boundary[sample, 0, neuron],
            boundary[sample, 1, neuron],
            -boundary[sample, 2, neuron],
        )
    inherited = 0.0
    triggered = False
    d_tau_mem = 0.0
    d_tau_syn = 0.0
    d_threshold = 0.0
    d_reset = 0.0
    d_leak = 0.0
    d_ref = 0.0
    for g in range(n_segments - 1, -1, -1):
        u, i, h = states[g, VOLTAGE], states[g, CURRENT], states[g, DURATION]
        ea, eb, k = states[g, DECAY_MEM], states[g, DECAY_SYN], states[g, RESPONSE]
        held = events[g, HELD]
        ending = events[g, ENDING]
        which = events[g, WHICH]
        if ending == ARRIVAL:
            if p_i != 0.0 or p_v != 0.0 or triggered:
                synapse = first_synapse + slots[which]
                if not delta[synapse]:
                    by_weight = p_i
                    error = weights[synapse] * (p_i / tau_syn - (0.0 if held else p_v / tau_mem))
                elif held:
                    by_weight, error = 0.0, 0.0
                elif triggered:
                    by_weight = p_v
                    error = inherited + p_v * (i * eb - (u * ea + i * k)) / tau_mem
                    triggered = False
                else:
                    by_weight = p_v
                    error = weights[synapse] * p_v / tau_mem
                if wanted.weight:
                    d_weight[row, synapse] += by_weight
                if wanted.delay:
                    d_delay[row, synapse] += error
                errors[causes[which]] += error
        elif ending == SPIKE:
            current = i * eb
            triggered = own_trigger[which] >= 0
            error = cotangents[which]
            if t_ref > 0.0:
                error -= released
                d_ref -= released
                released = 0.0
            else:
                after = p_v * (current - (u - drop if triggered and subtracts else u_reset)) / tau_mem
                error -= after
                d_ref -= after
            totals[which] = error
            d_reset += p_v
            if triggered:
                inherited = error
                if subtracts:
                    d_threshold -= p_v
                else:
                    p_v = 0.0
            else:
                p_v = 0.0
                if error != 0.0:
                    slope_left = slopes[which] if slopes.size > 0 else (current - c) / tau_mem
                    if slope_left > 0.0:
                        p_v = -error / slope_left
                        d_threshold -= p_v
                    else:
                        grazing = which
        elif ending == RELEASE:
            released = p_v * (i * eb - u) / tau_mem
        elif ending == SAMPLED:
            p_v += sampled_cotangents[which]
            moves_with = sampled_arrival[which]
            if moves_with not in (-1, AT_START):
                arrival = moves_with if moves_with >= 0 else -2 - moves_with
                error = sampled_cotangents[which] * (i * eb - (u * ea + i * k)) / tau_mem
                if wanted.delay:
                    d_delay[row, first_synapse + slots[arrival]] += error
                errors[causes[arrival]] += error
        if p_i == 0.0 and p_v == 0.0:
            continue
        if wanted.flow:
            d_tau_syn += p_i * i * eb * h / (tau_syn * tau_syn)
            if not held:
                k_leak, k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
                d_tau_mem += p_v * (u * ea * h / (tau_mem * tau_mem) + i * k_mem)
                d_tau_syn += p_v * i * k_syn
                d_leak += p_v * k_leak
        p_i *= eb
        if not held:
            p_i += p_v * k
            p_v *= ea
    d_parameters[row, 0, neuron] += d_tau_mem
    d_parameters[row, 1, neuron] += d_tau_syn
    d_parameters[row, 2, neuron] += d_threshold
    d_parameters[row, 3, neuron] += d_reset
    d_parameters[row, 4, neuron] += d_leak
    d_parameters[row, 5, neuron] += d_ref
    d_parameters[row, 6, neuron] += p_v
    d_parameters[row, 7, neuron] += p_i
    if boundary.shape[0] > 0:
        boundary[sample, 0, neuron], boundary[sample, 1, neuron], boundary[sample, 2, neuron] = (
            p_v,
            p_i,
            -released,
        )
    return grazing


@without_refcount
def group_backward(
    neurons,
    afferents,
    members,
    member,
    last,
    schedule,
    start,
    sample,
    own,
    slopes,
    by_neuron,
    own_places,
    cotangents,
    sampled,
    by_sampled,
    sampled_places,
    boundary,
    t_end,
    states,
    events,
    errors,
    totals,
    d_weight,
    d_delay,
    d_parameters,
    row,
    wanted,
    stop,
):
    """Go back through trajectories of members[member:last] that the loss depends on; return as :func:`back_through`."""
    own_times, own_arrivals, own_triggers = own.times, own.arrivals, own.trigger
    here, read = (
        Grouped(own, sample, by_neuron, own_places),
        Grouped(sampled, sample, by_sampled, sampled_places),
    )
    segments = Segments(states, events)
    grazing = -1
    while member < last and stop[0] == 0:
        neuron = members[member]
        n_own = by_neuron[neuron + 1] - by_neuron[neuron]
        n_sampled = by_sampled[neuron + 1] - by_sampled[neuron]
        n_arrivals, t_last = schedule.times.size, t_end
        if n_sampled == 0 and not goes_on(neuron, boundary, sample):
            n_own = count_contributing(neuron, cotangents, by_neuron, own_places)
            spike = own_places[by_neuron[neuron] + n_own - 1]
            n_arrivals, t_last = own_arrivals[spike], own_times[spike]
        n_segments = replay(
            neuron, neurons, afferents, schedule, n_arrivals, start, here, n_own, read, t_last, segments
        )
        found = back_through(
            neuron,
            neurons,
            afferents,
            schedule,
            states,
            events,
            n_segments,
            own_triggers,
            slopes,
            cotangents,
            sampled,
            boundary,
            sample,
            errors,
            totals,
            d_weight,
            d_delay,
            d_parameters,
            row,
            wanted,
        )
        if found >= 0 and (grazing < 0 or found < grazing):
            grazing = found
        member = next_contributing(
            members, member + 1, last, cotangents, by_neuron, own_places, by_sampled, boundary, sample
        )
    return grazing


@compiled
def backward(
    neurons,
    afferents,
    groups,
    n_sources,
    spikes,
    start,
    after,
    own,
    slopes,
    cotangents,
    sampled,
    boundary,
    t_end,
    wanted,
    per_sample,
    n_neurons,
    n_synapses,
    stop,
):
    """Return the gradients that one layer contributes.

    Parameters
    ----------
    spikes, own : Spikes
        Of the sources, numbered through, and of the layer itself.
    start : States
        With which it began; arrivals in (after, t_end] were taken.
    slopes : (n_own,) or (0,)
        V' before every own spike where it was observed; by default it follows from I and the threshold.
    cotangents : (n_own,)
        dL/dt of every own spike from the loss and from everything downstream.
    sampled : Sampled
        Where a loss samples the voltage of a readout.
    boundary : (n_samples, 3, n) or (0, 3, n)
        dL/dV and dL/dI of every neuron at t_end, and dL/dt of its release if it is held then; replaced by those of the
        start states.
    wanted : Wanted
        What of the rest is to be left out.
    per_sample : bool
        One row of gradients for each sample, or a single one for their sum, added in the order of the samples.

    Returns
    -------
    errors : (n_spikes,)
        dL/dt of every source spike through this layer.
    totals : (n_own,)
        e = dL/dt of every own spike, with everything that the spike changes.
    d_weight, d_delay : (n_rows, n_synapses), or (n_rows, 0) if not wanted
    d_parameters : (n_rows, 8, n)
        tau_mem, tau_syn, v_threshold, v_reset, v_leak, t_ref, and V and I of the start states; those of the flow are 0
        if not wanted.
    grazing : int
        The first own spike with an error whose slope is not positive, where no gradient exists; -1 if there is none.
    """
    n_samples = spikes.offsets.size - 1
    n_rows = n_samples if per_sample else 1
    errors = np.zeros(spikes.times.size)
    totals = np.zeros(own.times.size)
    d_weight = np.zeros((n_rows, n_synapses if wanted.weight else 0))
    d_delay = np.zeros((n_rows, n_synapses if wanted.delay else 0))
    d_parameters = np.zeros((n_rows, 8, n_neurons))
    grazing = -1
    states, events = np.empty((256, 7)), np.empty((256, 3), np.int64)
    # once: in a loop that would count references
    members, group_offsets = groups.members, groups.offsets
    start_times, own_times = start.time, own.times
    own_neurons, own_offsets = own.neurons, own.offsets
    read_neurons, read_offsets = sampled.neurons, sampled.offsets
    spike_neurons, spike_offsets = spikes.neurons, spikes.offsets
    for sample in range(n_samples):
        row = sample if per_sample else 0
        by_source, places = group_by(
            spike_neurons, spike_offsets[sample], spike_offsets[sample + 1], n_sources
        )
        by_neuron, own_places = group_by(own_neurons, own_offsets[sample], own_offsets[sample + 1], n_neurons)
        by_sampled, sampled_places = group_by(
            read_neurons, read_offsets[sample], read_offsets[sample + 1], n_neurons
        )
        for group in range(group_offsets.size - 1):
            if stop[0] != 0:
                break
            first, last = group_offsets[group], group_offsets[group + 1]
            member = next_contributing(
                members, first, last, cotangents, by_neuron, own_places, by_sampled, boundary, sample
            )
            if member == last:
                continue
            # nothing after the last spike with a cotangent can change the loss
            horizon = last_contribution(
                members,
                member,
                last,
                cotangents,
                by_neuron,
                own_places,
                own_times,
                by_sampled,
                boundary,
                sample,
                t_end,
            )
            representative = members[first]
            schedule = schedule_of(
                representative,
                neurons,
                afferents,
                Grouped(spikes, sample, by_source, places),
                start_times[sample, representative],
                after,
                horizon,
            )
            n_own = own_offsets[sample + 1] - own_offsets[sample]
            n_sampled = read_offsets[sample + 1] - read_offsets[sample]
            room = schedule.times.size + 2 * n_own + n_sampled + 2
            if room > states.shape[0]:
                states, events = np.empty((2 * room, 7)), np.empty((2 * room, 3), np.int64)
            found = group_backward(
                neurons,
                afferents,
                members,
                member,
                last,
                schedule,
                start,
                sample,
                own,
                slopes,
                by_neuron,
                own_places,
                cotangents,
                sampled,
                by_sampled,
                sampled_places,
                boundary,
                t_end,
                states,
                events,
                errors,
                totals,
                d_weight,
                d_delay,
                d_parameters,
                row,
                wanted,
                stop,
            )
            if found >= 0 and (grazing < 0 or found < grazing):
                grazing = found
    return errors, totals, d_weight, d_delay, d_parameters, grazing


@without_refcount
def count_contributing(neuron, cotangents, by_neuron, own_places):
    """Return the number of the neuron's spikes up to the last one with a cotangent."""
    n = by_neuron[neuron + 1] - by_neuron[neuron]
    while n > 0 and cotangents[own_places[by_neuron[neuron] + n - 1]] == 0.0:
        n -= 1
    return n


@without_refcount
def goes_on(neuron, boundary, sample):
    """Return whether something that comes after t_end depends on the neuron's state then."""
    return boundary.shape[0] > 0 and (
        boundary[sample, 0, neuron] != 0.0
        or boundary[sample, 1, neuron] != 0.0
        or boundary[sample, 2, neuron] != 0.0
    )


@without_refcount
def last_contribution(
    members,
    first,
    last,
    cotangents,
    by_neuron,
    own_places,
    own_times,
    by_sampled,
    boundary,
    sample,
    t_end,
):
    """Return when all is over that members[first:last] depend on: their last spike with a cotangent, or t_end."""
    latest = 0.0
    for member in range(first, last):
        neuron = members[member]
        if by_sampled[neuron + 1] > by_sampled[neuron] or goes_on(neuron, boundary, sample):
            return t_end
        n = count_contributing(neuron, cotangents, by_neuron, own_places)
        if n > 0:
            latest = max(latest, own_times[own_places[by_neuron[neuron] + n - 1]])
    # with arrivals at that float64 time, which by their exact times may be later
    return min(np.nextafter(latest, t_end), t_end)


@without_refcount
def next_contributing(members, first, last, cotangents, by_neuron, own_places, by_sampled, boundary, sample):
    """Return the first place from ``first`` on whose neuron the loss depends on, or ``last``.

    By a spike with a cotangent, a sample, or its state at t_end.
    """
    for member in range(first, last):
        neuron = members[member]
        if by_sampled[neuron + 1] > by_sampled[neuron] or goes_on(neuron, boundary, sample):
            return member
        if count_contributing(neuron, cotangents, by_neuron, own_places) > 0:
            return member
    return last
