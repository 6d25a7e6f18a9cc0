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
from eventsolve.kernels.arrivals import grouped, schedule_of
from eventsolve.kernels.membrane import propagator_derivatives
from eventsolve.kernels.tables import AT_START, Sums
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
    empty_segments,
    replay,
)


@without_refcount
def back_through(
    neuron, neurons, afferents, schedule, segments, n_segments, own_trigger, cotangents, sample, sums, row
):
    """Add what one neuron's trajectory contributes to all gradients; return its first spike without a slope, or -1."""
    states, events = segments
    own_cotangents, slopes, sampled, boundary = cotangents
    errors, totals, d_weight, d_delay, d_parameters, wanted = sums
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
            error = own_cotangents[which]
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
def group_backward(layer, run, group, member, schedule, here, cotangents, read, segments, sums, row, stop):
    """Go back through trajectories of a group, from a member on, that the loss depends on.

    ``here`` and ``read`` are the layer's own spikes and samples of one sample by neuron. Returns as
    :func:`back_through`.
    """
    neurons, afferents, start, sample = layer.neurons, layer.afferents, run.start, here.sample
    own_times, own_arrivals, own_triggers = run.own.times, run.own.arrivals, run.own.trigger
    members, last = layer.groups.members, layer.groups.offsets[group + 1]
    grazing = -1
    while member < last and stop[0] == 0:
        neuron = members[member]
        n_own = here.offsets[neuron + 1] - here.offsets[neuron]
        n_arrivals, t_last = schedule.times.size, run.t_end
        if read.offsets[neuron + 1] == read.offsets[neuron] and not goes_on(neuron, cotangents, sample):
            n_own = count_contributing(neuron, cotangents, here)
            spike = here.places[here.offsets[neuron] + n_own - 1]
            n_arrivals, t_last = own_arrivals[spike], own_times[spike]
        n_segments = replay(
            neuron, neurons, afferents, schedule, n_arrivals, start, here, n_own, read, t_last, segments
        )
        found = back_through(
            neuron,
            neurons,
            afferents,
            schedule,
            segments,
            n_segments,
            own_triggers,
            cotangents,
            sample,
            sums,
            row,
        )
        if found >= 0 and (grazing < 0 or found < grazing):
            grazing = found
        member = next_contributing(members, member + 1, last, cotangents, here, read)
    return grazing


@compiled
def empty_sums(n_spikes, n_own, n_rows, n_synapses, n, wanted):
    """Return Sums of nothing."""
    return Sums(
        np.zeros(n_spikes),
        np.zeros(n_own),
        np.zeros((n_rows, n_synapses if wanted.weight else 0)),
        np.zeros((n_rows, n_synapses if wanted.delay else 0)),
        np.zeros((n_rows, 8, n)),
        wanted,
    )


@compiled
def backward(layer, run, cotangents, wanted, per_sample, n_synapses, stop):
    """Return the gradients that one layer contributes.

    Parameters
    ----------
    layer : ByTarget
    run : Run
    cotangents : Cotangents
    wanted : Wanted
        What of the rest is to be left out.
    per_sample : bool
        One row of gradients for each sample, or a single one for their sum, added in the order of the samples.
    n_synapses : int

    Returns
    -------
    sums : Sums
    grazing : int
        The first own spike with an error whose slope is not positive, where no gradient exists; -1 if there is none.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    n_samples, n = spikes.offsets.size - 1, neurons.tau_mem.size
    n_rows = n_samples if per_sample else 1
    sums = empty_sums(spikes.times.size, own.times.size, n_rows, n_synapses, n, wanted)
    grazing = -1
    segments = empty_segments(256)
    # once: in a loop that would count references
    members, group_offsets, start_times, sampled = (
        groups.members,
        groups.offsets,
        start.time,
        cotangents.sampled,
    )
    for sample in range(n_samples):
        row = sample if per_sample else 0
        given = grouped(spikes, sample, n_sources)
        here, read = grouped(own, sample, n), grouped(sampled, sample, n)
        for group in range(group_offsets.size - 1):
            if stop[0] != 0:
                break
            first, last = group_offsets[group], group_offsets[group + 1]
            member = next_contributing(members, first, last, cotangents, here, read)
            if member == last:
                continue
            # nothing after the last spike with a cotangent can change the loss
            horizon = last_contribution(members, member, last, cotangents, here, read, t_end)
            representative = members[first]
            schedule = schedule_of(
                representative, neurons, afferents, given, start_times[sample, representative], after, horizon
            )
            room = schedule.times.size + 2 * here.places.size + read.places.size + 2
            if room > segments.states.shape[0]:
                segments = empty_segments(2 * room)
            found = group_backward(
                layer, run, group, member, schedule, here, cotangents, read, segments, sums, row, stop
            )
            if found >= 0 and (grazing < 0 or found < grazing):
                grazing = found
    return sums, grazing


@without_refcount
def count_contributing(neuron, cotangents, here):
    """Return the number of the neuron's spikes up to the last one with a cotangent."""
    first = here.offsets[neuron]
    n = here.offsets[neuron + 1] - first
    while n > 0 and cotangents.spikes[here.places[first + n - 1]] == 0.0:
        n -= 1
    return n


@without_refcount
def goes_on(neuron, cotangents, sample):
    """Return whether something that comes after t_end depends on the neuron's state then."""
    boundary = cotangents.boundary
    return boundary.shape[0] > 0 and (
        boundary[sample, 0, neuron] != 0.0
        or boundary[sample, 1, neuron] != 0.0
        or boundary[sample, 2, neuron] != 0.0
    )


@without_refcount
def last_contribution(members, first, last, cotangents, here, read, t_end):
    """Return when all is over that members[first:last] depend on: their last spike with a cotangent, or t_end."""
    latest = 0.0
    for member in range(first, last):
        neuron = members[member]
        if read.offsets[neuron + 1] > read.offsets[neuron] or goes_on(neuron, cotangents, here.sample):
            return t_end
        n = count_contributing(neuron, cotangents, here)
        if n > 0:
            latest = max(latest, here.of.times[here.places[here.offsets[neuron] + n - 1]])
    # with arrivals at that float64 time, which by their exact times may be later
    return min(np.nextafter(latest, t_end), t_end)


@without_refcount
def next_contributing(members, first, last, cotangents, here, read):
    """Return the first place from ``first`` on whose neuron the loss depends on, or ``last``.

    By a spike with a cotangent, a sample, or its state at t_end.
    """
    for member in range(first, last):
        neuron = members[member]
        if read.offsets[neuron + 1] > read.offsets[neuron] or goes_on(neuron, cotangents, here.sample):
            return member
        if count_contributing(neuron, cotangents, here) > 0:
            return member
    return last
