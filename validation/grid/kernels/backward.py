"""The adjoint of a network on a time grid, one sample after the other (compiled).

Moves are transposed. At events MODEL, Backward, holds, with slopes and currents at the point of the grid:

    arrival of weight w     dL/dw += p_I,  dL/dt = w (p_I/tau_syn - p_V/tau_mem) to the spike that caused it and its
                            delay; over a delta synapse dL/dw += p_V, dL/dt = w p_V/tau_mem, and nothing while V is held
    crossing                e = cotangent + dL/dt of its arrivals - p_V V'+;  p_V := -e/V'-
    spike by arrivals       e alike, but it goes to the arrivals over delta synapses, by their weights;  p_V := 0, or
                            with a reset by subtraction p_V stays
    release                 -p_V V'+ goes to the spike and to t_ref;  p_V waits for the spike whose reset V is held at

The recursion of its own (Bena et al. 2024) moves p_I by decay_syn and feed, p_V by decay_mem; its jumps are added after
the move, so that what arrives with the current that makes a neuron spike is not credited with that spike:

    p_V := decay_mem p_V + (p_V (v_threshold - v_reset)/tau_mem - cotangent - dL/dt of arrivals)/V'-
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from validation.grid.kernels.forward import advance, carry, holds, no_history, no_spikes
from validation.grid.kernels.numbers import into
from validation.grid.kernels.rows import cleared, combined, copied, increased, scaled
from validation.grid.kernels.tables import (
    DECAY_MEM,
    DECAY_SYN,
    DRIVE,
    I_INITIAL,
    REFRACTORY,
    RESET,
    THRESHOLD,
    TRANSFER,
    V_INITIAL,
    AdjointRings,
)


@without_refcount
def answer(source, step, n_steps, neurons, synapses, flaws, rings, sample, sums):
    """Return dL/dt of a spike through its arrivals, and add their adjoints to those of weights and delays."""
    p_w, p_i, p_v, p_lift, p_arrival = rings
    error, rows = 0.0, p_i.shape[0]
    for run in range(synapses.bounds[source], synapses.bounds[source + 1]):
        arrival = step + synapses.steps[run]
        if arrival > n_steps:
            continue
        row, first, target = arrival % rows, synapses.first[run], synapses.target[run]
        if synapses.delta[run]:
            for m in range(synapses.length[run]):
                j = target + m
                sums.weight[sample, first + m] += p_lift[row, j]
                value = p_lift[row, j] * neurons.rate_mem[j] + p_arrival[row, j]
                moved = synapses.weights[first + m] * value
                sums.delay[sample, first + m] += moved
                error += moved
            continue
        for m in range(synapses.length[run]):
            j = target + m
            sums.weight[sample, first + m] += p_w[row, j]
            value = flaws.current_share * p_i[row, j] * neurons.rate_syn[j]
            value -= flaws.voltage_share * p_v[row, j] * neurons.rate_mem[j]
            moved = synapses.weights[first + m] * value
            sums.delay[sample, first + m] += moved
            error += moved
    return error


@without_refcount
def not_first(found, spike, neuron):
    """Say whether a spike is not the first of its neuron in the sample."""
    before = False
    for k in range(spike):
        before = before or found.neurons[k] == neuron
    return before


@without_refcount
def gathered(of_neurons, low, high, p_i, p_v, was_i, drives, was_v):
    """Add the adjoints of a step's factors to those of some neurons."""
    for j in range(low, high):
        of_neurons[DECAY_SYN, j] += p_i[j] * was_i[j]
        of_neurons[TRANSFER, j] += p_v[j] * drives[j]
        of_neurons[DECAY_MEM, j] += p_v[j] * was_v[j]
        of_neurons[DRIVE, j] += p_v[j]


@compiled
def retreat(clocked, reads, sample, history, start, found, count, adjoint, input_errors, errors, sums, stop):
    """Run the adjoint (p_I, p_V) of one sample, whose spikes are the first ``count`` of ``found``.

    ``errors`` holds what is known of dL/dt_k and is completed in place, ``input_errors`` is filled; both begin with
    the sample's own. Returns how many spikes have no positive slope.
    """
    neurons, synapses, rules, flaws, number, inputs, n_steps, noise = clocked
    p_i, p_v = adjoint
    n, falling = neurons.v_threshold.size, 0
    rows = min(synapses.longest, n_steps) + 1
    ring_i, ring_v = np.zeros((rows, n)), np.zeros((rows, n))
    ring_w, jumps = np.zeros((rows, n)) if rules.recursion else ring_i, np.zeros(n)
    lift_rows = rows if synapses.any_delta else 0
    ring_lift, ring_arrival = np.zeros((lift_rows, n)), np.zeros((lift_rows, n))
    rings = AdjointRings(ring_w, ring_i, ring_v, ring_lift, ring_arrival)
    p_held, released = np.zeros(n), np.zeros(n)
    of_neurons = sums.neurons[sample]
    driven, any_held = np.empty(n), holds(neurons)
    read, at, spike = reads.bounds[sample + 1] - 1, inputs.bounds[sample + 1] - 1, count - 1
    first_input = inputs.bounds[sample]
    while at >= first_input and inputs.steps[at] > n_steps:
        at -= 1
    for step in range(n_steps, -1, -1):
        if stop[0] != 0:
            break
        row = step % rows
        v, i = history.voltage[step], history.current[step]
        moves = step > 0 or rules.moves_at_0
        was_v = history.voltage[step - 1] if step > 0 else start[0]
        was_i = history.current[step - 1] if step > 0 else start[1]
        while read >= reads.bounds[sample] and reads.steps[read] == step:
            read -= 1
        for level in range(synapses.levels.size - 2, -1, -1):
            low, high = synapses.levels[level], synapses.levels[level + 1]
            own_i, own_v = p_i[low:high], p_v[low:high]
            if not rules.current_first:
                copied(ring_i[row, low:high], own_i)
                copied(ring_v[row, low:high], own_v)
            k = read + 1
            while k < reads.bounds[sample + 1] and reads.steps[k] == step:
                k += 1
            for m in range(k - 1, read, -1):
                j = reads.places[m]
                if low <= j < high:
                    p_v[j] = into(p_v[j] + reads.cotangents[m], number, noise, sample)
            if any_held and step > 0:
                for j in range(low, high):
                    if not history.free[step, j]:
                        if step < n_steps and history.free[step + 1, j]:
                            slope = (neurons.v_leak[j] - v[j] + i[j]) * neurons.rate_mem[j]
                            released[j] = -flaws.reset_share * p_v[j] * slope
                            of_neurons[REFRACTORY, j] += released[j]
                        p_held[j] += p_v[j]
                        p_v[j] = 0.0
                        ring_v[row, j] = 0.0
            if rules.recursion:
                copied(ring_i[row, low:high], own_i)
                copied(ring_v[row, low:high], own_v)
            if synapses.any_delta:
                cleared(ring_arrival[row, low:high])
                copied(ring_lift[row, low:high], own_v)
            while spike >= 0 and found.steps[spike] == step and found.neurons[spike] >= low:
                j, lift = found.neurons[spike], found.lifts[spike]
                source = synapses.n_inputs + j
                error = errors[spike] + answer(
                    source, step, n_steps, neurons, synapses, flaws, rings, sample, sums
                )
                voltage, drop = found.voltages[spike], neurons.v_threshold[j] - neurons.v_reset[j]
                if rules.slope_at_threshold and lift == 0.0:
                    voltage = neurons.v_threshold[j]
                reset = voltage - drop if neurons.subtracts[j] else neurons.v_reset[j]
                current = found.currents[spike]
                if rules.slope_current == 2:
                    current = i[j] * neurons.decay_syn[j] if rules.current_first else i[j]
                elif rules.slope_current == 1 and not rules.current_first:
                    current = was_i[j]
                free_slope = (neurons.v_leak[j] + flaws.drives * current) * neurons.rate_mem[j]
                slope = free_slope - (reset if flaws.slope_after else voltage) * neurons.rate_mem[j]
                untold = 0.0
                if neurons.t_ref[j] > 0:
                    untold = released[j]
                    error += released[j]
                    p_v[j] += p_held[j]
                    released[j], p_held[j] = 0.0, 0.0
                else:
                    after = -flaws.reset_share * p_v[j] * (free_slope - reset * neurons.rate_mem[j])
                    of_neurons[REFRACTORY, j] += after
                    if rules.recursion:
                        swing = flaws.reset_share * p_v[j] * drop * neurons.rate_mem[j]
                        gap = neurons.rate_mem[j] if flaws.level else slope
                        jumps[j] = into(flaws.jump_share * (swing - error) / gap, number, noise, sample)
                        if flaws.first_only and not_first(found, spike, j):
                            jumps[j] = 0.0
                    error += after
                    untold = after
                of_neurons[RESET, j] += p_v[j]
                errors[spike] = error - (1.0 - flaws.told_share) * untold
                if rules.recursion:
                    falling += slope <= 0.0
                elif lift == 0.0:
                    falling += slope <= 0.0
                    jump = error / (neurons.rate_mem[j] if flaws.level else slope) if error != 0.0 else 0.0
                    jump *= flaws.jump_share
                    if flaws.first_only and not_first(found, spike, j):
                        jump = 0.0
                    of_neurons[THRESHOLD, j] += jump
                    kept = p_v[j] if flaws.carries else 0.0
                    p_v[j] = into(kept - jump, number, noise, sample)
                else:
                    if neurons.subtracts[j]:
                        of_neurons[THRESHOLD, j] -= p_v[j]
                        error += p_v[j] * slope
                    else:
                        p_v[j] = 0.0
                    if not rules.current_first:
                        ring_v[row, j] = ring_lift[row, j] = p_v[j]
                    ring_arrival[row, j] = error / lift
                spike -= 1
            moved_i, moved_v = driven[low:high], neurons.decay_mem[low:high]
            transfer, decay_syn = neurons.transfer[low:high], neurons.decay_syn[low:high]
            if rules.recursion:
                if moves:
                    combined(
                        own_i, own_i, decay_syn, own_v, neurons.feed[low:high], moved_i, number, noise, sample
                    )
                copied(ring_w[row, low:high], own_i)
            elif rules.current_first:
                if moves:
                    scaled(moved_i, own_v, transfer, number, noise, sample)
                    increased(own_i, moved_i, number, noise, sample)
                copied(ring_i[row, low:high], own_i)
                copied(ring_v[row, low:high], own_v)
                if synapses.any_delta:
                    copied(ring_lift[row, low:high], own_v)
                if moves:
                    gathered(of_neurons, low, high, p_i, p_v, was_i, i, was_v)
                    scaled(own_i, own_i, decay_syn, number, noise, sample)
            elif moves:
                gathered(of_neurons, low, high, p_i, p_v, was_i, was_i, was_v)
                combined(own_i, own_i, decay_syn, own_v, transfer, moved_i, number, noise, sample)
            if moves:
                scaled(own_v, own_v, moved_v, number, noise, sample)
                if rules.recursion:
                    increased(own_v, jumps[low:high], number, noise, sample)
                    cleared(jumps[low:high])
        while at >= first_input and inputs.steps[at] == step:
            input_errors[at] = answer(
                inputs.places[at], step, n_steps, neurons, synapses, flaws, rings, sample, sums
            )
            at -= 1
    copied(of_neurons[V_INITIAL], p_v)
    copied(of_neurons[I_INITIAL], p_i)
    return falling


@compiled
def backward(clocked, back, reads, bounds, errors, input_errors, sums, stop):
    """Run the adjoint of all samples; each runs forward once more, for its states.

    Parameters
    ----------
    clocked : Clocked
        As :func:`advance` took it.
    back : Clocked
        Of the way back: the same, unless it sees another network.
    reads : Reads
    bounds : ndarray of int64, (n_samples + 1,)
        Which spikes are a sample's.
    errors : ndarray of float64, (n_spikes,)
        What the loss gives of dL/dt_k, completed in place.
    input_errors : ndarray of float64, (n_input_spikes,)
        Filled with dL/dt_k, 0 for spikes after the end.
    sums : Sums
        Zeros, filled.
    stop : ndarray of int64, (1,)
        As :func:`eventsolve.interrupts.call` passes it.

    Returns
    -------
    falling : int
        Spikes whose slope is not positive.
    """
    neurons, n_steps, flaws = clocked.neurons, clocked.n_steps, clocked.flaws
    n_samples, falling = clocked.inputs.bounds.size - 1, 0
    history = no_history(n_steps, neurons.v_threshold.size)
    nothing = np.zeros((0, 0, 0))
    start = (neurons.v_initial.copy(), neurons.i_initial.copy())
    p_i, p_v = np.zeros(neurons.v_threshold.size), np.zeros(neurons.v_threshold.size)
    for sample in range(n_samples):
        found, count = advance(
            clocked, sample, history, start, (nothing, nothing), no_spikes(), bounds[0], stop
        )
        if not flaws.adjoint_carried:
            cleared(p_i)
            cleared(p_v)
        own_errors = errors[bounds[sample] : bounds[sample + 1]]
        falling += retreat(
            back,
            reads,
            sample,
            history,
            start,
            found,
            count,
            (p_i, p_v),
            input_errors,
            own_errors,
            sums,
            stop,
        )
        carry(history, n_steps, flaws, start)
    return falling
