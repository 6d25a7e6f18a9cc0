"""A network on a time grid, forward, one sample after the other (compiled)."""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from validation.grid.kernels.numbers import HALF, into
from validation.grid.kernels.rows import cleared, combined, copied, increased, scaled, settled
from validation.grid.kernels.tables import Fired, History, Rings


@compiled
def grown(array):
    """Return an array twice as long with the same beginning."""
    longer = np.empty(2 * array.size, array.dtype)
    for k in range(array.size):  # an assignment of slices takes seconds to compile
        longer[k] = array[k]
    return longer


@compiled
def noted(found, count, step, neuron, voltage, current, lift):
    """Add a spike to a list, and return the list."""
    if count == found.steps.size:
        found = Fired(
            grown(found.steps),
            grown(found.neurons),
            grown(found.voltages),
            grown(found.currents),
            grown(found.lifts),
        )
    found.steps[count], found.neurons[count] = step, neuron
    found.voltages[count], found.currents[count], found.lifts[count] = voltage, current, lift
    return found


@compiled
def no_spikes():
    """Return an empty list of spikes."""
    room = 64
    return Fired(
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room),
        np.empty(room),
        np.empty(room),
    )


@compiled
def no_history(n_steps, n):
    """Return a history to be filled."""
    shape = (n_steps + 1, n)
    return History(np.empty(shape), np.empty(shape), np.ones(shape, np.bool_))


@compiled
def holds(neurons):
    """Say whether a neuron has a refractory period."""
    found = False
    for steps in neurons.t_ref:
        found = found or steps > 0
    return found


@without_refcount
def above(voltage, threshold, rules):
    """Say whether a voltage is one at which a neuron spikes."""
    return voltage > threshold or (rules.inclusive and voltage == threshold)


@without_refcount
def after_reset(voltage, j, neurons):
    """Return the voltage after a spike."""
    drop = neurons.v_threshold[j] - neurons.v_reset[j]
    return voltage - drop if neurons.subtracts[j] else neurons.v_reset[j]


@without_refcount
def sent(source, step, n_steps, synapses, flaws, rings, number, noise, sample):
    """Put a spike's weights into the rings of what is to arrive.

    It is called for every spike, and takes what it needs of :class:`Clocked`: all of that costs a tenth of the run.
    """
    currents, lifts, waiting, taken = rings
    for run in range(synapses.bounds[source], synapses.bounds[source + 1]):
        arrival = step + synapses.steps[run]
        if arrival > n_steps:
            continue
        row, first, target = arrival % waiting.size, synapses.first[run], synapses.target[run]
        if flaws.one_packet:
            packet = taken[row, synapses.group[run]]
            if packet[0] != arrival:
                packet[0], packet[1], packet[2] = arrival, source, step
            elif packet[1] != source or packet[2] != step:
                continue
        ring = lifts[row] if synapses.delta[run] else currents[row]
        for m in range(synapses.length[run]):
            ring[target + m] += synapses.weights[first + m]
        if number.kind != HALF:
            settled(ring[target : target + synapses.length[run]], number, noise, sample)
        waiting[row] += 1


@without_refcount
def sent_inputs(arrived, at, step, n_steps, inputs, synapses, flaws, rings, number, noise, sample):
    """Send the input spikes of a step, which are those from ``arrived`` up to ``at``."""
    for k in range(arrived, at):
        place = arrived + at - 1 - k if flaws.last else k
        sent(inputs.places[place], step, n_steps, synapses, flaws, rings, number, noise, sample)


@compiled
def advance(clocked, sample, history, start, before, found, count, stop):
    """Run one sample.

    Parameters
    ----------
    clocked : Clocked
    sample : int
    history : History
        Filled.
    start : tuple of ndarray of float64, (n_neurons,)
        V and I before the first move.
    before : tuple of ndarray of float64, (n_samples, n_steps + 1, n_neurons)
        V and I as they are when spikes are looked for; filled, if they have samples.
    found : Fired
    count : int
        How many spikes are in the list.
    stop : ndarray of int64, (1,)
        As :func:`eventsolve.interrupts.call` passes it.

    Returns
    -------
    found, count
    """
    neurons, synapses, rules, flaws, number, inputs, n_steps, noise = clocked
    n = neurons.v_threshold.size
    traced = before[0].shape[0] > 0
    rows = min(synapses.longest, n_steps) + 1
    currents, lifts = np.zeros((rows, n)), np.zeros((rows, n if synapses.any_delta else 0))
    waiting = np.zeros(rows, np.int64)
    taken = np.full((rows if flaws.one_packet else 0, synapses.n_groups, 3), -1)
    rings = Rings(currents, lifts, waiting, taken)
    held_until, lifted = np.full(n, -1), np.zeros(n)
    driven = np.empty(n)
    any_held = holds(neurons)
    at = inputs.bounds[sample]
    for step in range(n_steps + 1):
        if stop[0] != 0:
            break
        row, begin = step % rows, count
        v, i, free = history.voltage[step], history.current[step], history.free[step]
        moves = step > 0 or rules.moves_at_0
        was_v = history.voltage[step - 1] if step > 0 else start[0]
        was_i = history.current[step - 1] if step > 0 else start[1]
        arrived = at
        while at < inputs.bounds[sample + 1] and inputs.steps[at] == step:
            at += 1
        if rules.current_first:
            sent_inputs(arrived, at, step, n_steps, inputs, synapses, flaws, rings, number, noise, sample)
        for level in range(synapses.levels.size - 1):
            low, high = synapses.levels[level], synapses.levels[level + 1]
            own_v, own_i, crossed = v[low:high], i[low:high], 0
            if moves:
                scaled(own_i, was_i[low:high], neurons.decay_syn[low:high], number, noise, sample)
            else:
                copied(own_v, was_v[low:high])
                copied(own_i, was_i[low:high])
            if rules.current_first and waiting[row] > 0:
                increased(own_i, currents[row, low:high], number, noise, sample)
                cleared(currents[row, low:high])
            if moves:
                combined(
                    own_v, was_v[low:high], neurons.decay_mem[low:high],
                    own_i if rules.current_first else was_i[low:high], neurons.transfer[low:high],
                    driven[low:high], number, noise, sample,
                )  # fmt: skip
                increased(own_v, neurons.drive[low:high], number, noise, sample)
                if any_held:
                    for j in range(low, high):
                        free[j] = step > held_until[j]
                        v[j] = v[j] if free[j] or flaws.drifts else was_v[j]
                for j in range(low, high):
                    crossed += v[j] > neurons.v_threshold[j]
                if rules.inclusive:
                    for j in range(low, high):
                        crossed += v[j] == neurons.v_threshold[j]
            if rules.current_first and synapses.any_delta and waiting[row] > 0:
                for j in range(low, high):
                    lift, lifts[row, j] = lifts[row, j], 0.0
                    if lift != 0.0 and free[j]:
                        was_above = above(v[j], neurons.v_threshold[j], rules)
                        v[j] = into(v[j] + lift, number, noise, sample)
                        if above(v[j], neurons.v_threshold[j], rules):
                            crossed += 1
                            lifted[j] = 0.0 if was_above else lift
            if traced:
                copied(before[0][sample, step, low:high], own_v)
                copied(before[1][sample, step, low:high], own_i)
            first = count
            if crossed > 0:
                for j in range(low, high):
                    if above(v[j], neurons.v_threshold[j], rules) and (free[j] or not flaws.drifts):
                        found = noted(found, count, step, j, v[j], i[j], lifted[j])
                        count += 1
                        i[j] = 0.0 if flaws.resets_current else i[j]
                        v[j] = into(after_reset(v[j], j, neurons), number, noise, sample)
                        held_until[j] = step + neurons.t_ref[j]
                        lifted[j] = 0.0
            if rules.current_first:
                for k in range(first, count):
                    source = synapses.n_inputs + found.neurons[first + count - 1 - k if flaws.last else k]
                    sent(source, step, n_steps, synapses, flaws, rings, number, noise, sample)
        if rules.current_first:
            waiting[row] = 0
            continue
        sent_inputs(arrived, at, step, n_steps, inputs, synapses, flaws, rings, number, noise, sample)
        first = begin
        while True:
            for k in range(first, count):
                source = synapses.n_inputs + found.neurons[first + count - 1 - k if flaws.last else k]
                sent(source, step, n_steps, synapses, flaws, rings, number, noise, sample)
            first = count
            if waiting[row] == 0:
                break
            waiting[row] = 0
            increased(i, currents[row], number, noise, sample)
            cleared(currents[row])
            if synapses.any_delta:
                for j in range(n):
                    lift, lifts[row, j] = lifts[row, j], 0.0
                    if lift == 0.0 or not free[j] or step < held_until[j]:
                        continue
                    was_above = above(v[j], neurons.v_threshold[j], rules)
                    v[j] = into(v[j] + lift, number, noise, sample)
                    if was_above or not above(v[j], neurons.v_threshold[j], rules):
                        continue
                    again = False
                    for k in range(begin, count):
                        again = again or found.neurons[k] == j
                    if not again:  # once per step: else in the next one
                        found = noted(found, count, step, j, v[j], i[j], lift)
                        count += 1
                        v[j] = into(after_reset(v[j], j, neurons), number, noise, sample)
                        held_until[j] = step + neurons.t_ref[j]
    return found, count


@without_refcount
def carry(history, n_steps, flaws, start):
    """Let the next sample begin where this one ended, if states are carried."""
    if flaws.carries_voltage:
        copied(start[0], history.voltage[n_steps])
    if flaws.carries_current:
        copied(start[1], history.current[n_steps])


@compiled
def forward(clocked, before, after, stop):
    """Run all samples.

    Parameters
    ----------
    clocked : Clocked
    before : tuple of ndarray of float64, (n_samples, n_steps + 1, n_neurons)
        As :func:`advance` takes it.
    after : tuple of ndarray of float64, (n_samples, n_steps + 1, n_neurons)
        V and I after resets and arrivals; filled, if they have samples.

    Returns
    -------
    bounds : ndarray of int64, (n_samples + 1,)
        Which spikes are a sample's.
    found : Fired
    """
    neurons, n_steps, flaws = clocked.neurons, clocked.n_steps, clocked.flaws
    n_samples = clocked.inputs.bounds.size - 1
    bounds = np.zeros(n_samples + 1, np.int64)
    history = no_history(n_steps, neurons.v_threshold.size)
    start = (neurons.v_initial.copy(), neurons.i_initial.copy())
    found, count = no_spikes(), bounds[0]  # an int64: the literal 0 is a type of its own, compiled again
    for sample in range(n_samples):
        found, count = advance(clocked, sample, history, start, before, found, count, stop)
        bounds[sample + 1] = count
        carry(history, n_steps, flaws, start)
        if after[0].shape[0] > 0:
            for step in range(n_steps + 1):
                copied(after[0][sample, step], history.voltage[step])
                copied(after[1][sample, step], history.current[step])
    return bounds, Fired(
        found.steps[:count],
        found.neurons[:count],
        found.voltages[:count],
        found.currents[:count],
        found.lifts[:count],
    )
