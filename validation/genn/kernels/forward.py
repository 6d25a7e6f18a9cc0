"""GeNN's network forward, one sample after the other (compiled).

Step n, in its order: the spikes of step n - 1 add their weights to the currents of their projections; then, of every
neuron,

    Isyn = sum over projections of I scale;   I := I beta
    V := alpha V + drive Isyn + bias
    if V >= theta: the spike is noted with slope Isyn - V, and V := v_reset

All currents are set to 0 as the last step begins, before the spikes of the last but one arrive: what these and those of
the last step add is left to the next trial, unless currents are cleared again in between, as genn_eventprop does.
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from validation.genn.kernels.tables import Fired


@compiled
def grown(array):
    """Return an array twice as long with the same beginning."""
    longer = np.empty(2 * array.size, array.dtype)
    for k in range(array.size):
        longer[k] = array[k]
    return longer


@compiled
def noted(found, count, step, neuron, slope, voltage):
    """Add a spike to a list, and return the list."""
    if count == found.steps.size:
        found = Fired(grown(found.steps), grown(found.neurons), grown(found.slopes), grown(found.voltages))
    found.steps[count], found.neurons[count] = step, neuron
    found.slopes[count], found.voltages[count] = slope, voltage
    return found


@without_refcount
def cleared(row):
    """Fill a row with zeros."""
    for k in range(row.size):
        row[k] = 0


@without_refcount
def sent(source, step, synapses, currents, waiting):
    """Add a spike's weights, in step ``step``, to the currents, or to the rings of what waits for its delay."""
    for row in range(synapses.bounds[source], synapses.bounds[source + 1]):
        first, channel = synapses.first[row], synapses.channel[row]
        if synapses.delayed[row]:
            for k in range(first, first + synapses.length[row]):
                place = (step + synapses.steps[k]) % waiting.shape[0]
                waiting[place, channel + synapses.targets[k]] += synapses.weights[k]
        elif synapses.dense[row]:
            for k in range(synapses.length[row]):
                currents[channel + k] += synapses.weights[first + k]
        else:
            for k in range(first, first + synapses.length[row]):
                currents[channel + synapses.targets[k]] += synapses.weights[k]


@without_refcount
def gathered(neurons, projections, currents, total):
    """Fill ``total`` with the currents of every neuron, scaled, and let them decay."""
    cleared(total)
    for p in range(projections.size.size):
        channel, post = projections.channel[p], projections.post[p]
        for k in range(projections.size[p]):
            total[post + k] += currents[channel + k] * neurons.scale[post + k]
            currents[channel + k] *= neurons.beta[post + k]


@compiled
def forward(neurons, projections, synapses, rules, inputs, n_steps, time_step, states, any_held, stop):
    """Run all samples.

    Parameters
    ----------
    neurons : Neurons
    projections : Projections
    synapses : Synapses
    rules : Rules
    inputs : validation.grid.kernels.tables.Events
        Steps from -1 on: what is sent in step -1 arrives in step 0.
    n_steps : int
    time_step : ndarray, (1,)
        ms.
    states : States
        Filled, where they have samples.
    any_held : bool
        Whether a neuron has a refractory period.
    stop : ndarray of int64, (1,)
        As :func:`eventsolve.interrupts.call` passes it.

    Returns
    -------
    bounds : ndarray of int64, (n_samples + 1,)
        Which spikes are a sample's.
    found : Fired
    """
    n, n_samples = neurons.alpha.size, inputs.bounds.size - 1
    v, total, held = neurons.v_initial.copy(), np.zeros_like(neurons.alpha), np.zeros_like(neurons.alpha)
    n_channels = projections.size.sum()
    currents = np.zeros(n_channels, neurons.alpha.dtype)
    waiting = np.zeros((synapses.longest + 1, n_channels), neurons.alpha.dtype)
    bounds = np.zeros(n_samples + 1, np.int64)
    found = Fired(
        np.empty(64, np.int64),
        np.empty(64, np.int64),
        np.empty(64, neurons.alpha.dtype),
        np.empty(64, neurons.alpha.dtype),
    )
    count = before = bounds[0]
    at = last_input = inputs.bounds[0]
    for sample in range(n_samples):
        if not rules.consecutive:
            cleared(currents)
            for row in range(waiting.shape[0]):
                cleared(waiting[row])
            before, last_input = count, at
        elif rules.cleared:
            cleared(currents)
        for j in range(n):
            v[j], held[j] = neurons.v_initial[j], 0
        for step in range(n_steps):
            if stop[0] != 0:
                break
            clock = step if not rules.consecutive else sample * n_steps + step
            if rules.zeroed and step == n_steps - 1:
                cleared(currents)
                for row in range(waiting.shape[0]):
                    cleared(waiting[row])
            while last_input < at:
                sent(inputs.places[last_input], clock, synapses, currents, waiting)
                last_input += 1
            while at < inputs.bounds[sample + 1] and inputs.steps[at] < step:
                sent(inputs.places[at], clock, synapses, currents, waiting)
                at += 1
            last_input = at
            while at < inputs.bounds[sample + 1] and inputs.steps[at] == step:
                at += 1
            for k in range(before, count):
                sent(synapses.n_inputs + found.neurons[k], clock, synapses, currents, waiting)
            before = count
            if synapses.longest > 0:
                arriving = waiting[clock % waiting.shape[0]]
                for c in range(n_channels):
                    currents[c] += arriving[c]
                cleared(arriving)
            gathered(neurons, projections, currents, total)
            crossed = 0
            if any_held:
                for j in range(n):
                    if held[j] > 0:
                        held[j] -= time_step[0]
                    else:
                        v[j] = neurons.alpha[j] * v[j] + neurons.drive[j] * total[j] + neurons.bias[j]
                for j in range(n):
                    crossed += v[j] >= neurons.theta[j] and held[j] <= 0
            else:
                for j in range(n):
                    v[j] = neurons.alpha[j] * v[j] + neurons.drive[j] * total[j] + neurons.bias[j]
                for j in range(n):
                    crossed += v[j] >= neurons.theta[j]
            if crossed > 0:
                for j in range(n):
                    if v[j] >= neurons.theta[j] and held[j] <= 0:
                        found = noted(found, count, step, j, total[j] * neurons.slope[j] - v[j], v[j])
                        count += 1
                        if neurons.subtracts[j]:
                            v[j] -= neurons.theta[j] - neurons.v_reset[j]
                        else:
                            v[j] = neurons.v_reset[j]
                        held[j] = neurons.t_ref[j]
            if states.voltage.shape[0] > 0:
                for j in range(states.voltage.shape[2]):
                    states.voltage[sample, step, j] = v[states.first + j]
            if states.current.shape[0] > 0:
                for c in range(n_channels):
                    states.current[sample, step, c] = currents[c]
        at = inputs.bounds[sample + 1]
        bounds[sample + 1] = count
        if rules.consecutive and not rules.zeroed:  # a trial leaves nothing to the next one
            cleared(currents)
            for row in range(waiting.shape[0]):
                cleared(waiting[row])
            before, last_input = count, at
    return bounds, Fired(
        found.steps[:count], found.neurons[:count], found.slopes[:count], found.voltages[:count]
    )
