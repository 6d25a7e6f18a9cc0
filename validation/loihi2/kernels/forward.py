"""Loihi 2's step, one sample after the other (compiled).

Row r holds the states after step r + 1. In its order, of every neuron, with rtz cutting towards 0:

    u := rtz(u keep_u) + 64 arriving;   one turn of 2**24 is taken off u beyond (-2**23, 2**23]
    v := rtz(v keep_v) + u + bias;   v is clipped to +-(2**23 - 1)
    if v > threshold: a spike, v := 0

A spike of row r arrives in row r + 1 + its delay. One that is not on the grid, a part f of a step later, does what it
would do there in continuous time: with the response K, w exp(f/tau_syn) arrives at u, and at v alone w (K(1 - f)/K(1) -
exp(f/tau_syn)), in units of a step.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled, embedded, without_refcount
from eventsolve.kernels.membrane import propagator
from validation.loihi2.kernels.tables import Rings

TURN, EDGE = 2.0**24, 2.0**23


@compiled
def grown(array):
    """Return an array twice as long with the same beginning."""
    longer = np.empty(2 * array.size, array.dtype)
    for k in range(array.size):
        longer[k] = array[k]
    return longer


@embedded
def moved_freely(neurons, arriving, bias, u, v):
    """Move all states over a step, without rounding or limits; return how many voltages are beyond their threshold."""
    fired = 0
    for j in range(u.size):
        u[j] = u[j] * neurons.keep_u[j] + 64.0 * arriving[j]
        v[j] = v[j] * neurons.keep_v[j] + u[j] + bias[j]
        fired += v[j] > neurons.threshold[j]
    return fired


@embedded
def moved(neurons, rules, arriving, bias, u, v, counters):
    """Move all states over a step; return how many voltages are beyond their threshold."""
    fired = turns = clips = beyond = 0
    for j in range(u.size):
        current = u[j] * neurons.keep_u[j]
        if rules.truncated:
            current = np.trunc(current)
        current += 64.0 * arriving[j]
        voltage = v[j] * neurons.keep_v[j]
        if rules.truncated:
            voltage = np.trunc(voltage)
        if rules.limited:
            high, low = current > EDGE, current <= -EDGE
            current += TURN * low - TURN * high
            turns += high | low
            beyond += (current > EDGE) | (current <= -EDGE)
        voltage = voltage + current + bias[j]
        if rules.limited:
            clips += (voltage > EDGE - 1.0) | (voltage < 1.0 - EDGE)
            voltage = min(max(voltage, 1.0 - EDGE), EDGE - 1.0)
        fired += voltage > neurons.threshold[j]
        u[j], v[j] = current, voltage
    counters[0] += turns
    counters[1] += clips
    counters[2] += beyond
    return fired


@without_refcount
def cleared(row):
    """Fill a row with zeros."""
    for k in range(row.size):
        row[k] = 0.0


@without_refcount
def sent(matrices, matrix, place, payload, row, waiting):
    """Add a spike's weights to what waits for its arrival."""
    size, post = matrices.size[matrix], matrices.post[matrix]
    first = matrices.first[matrix] + place * size
    weights = matrices.weights[first : first + size]
    base = (row + 1) % waiting.shape[0]
    if not matrices.delayed[matrix]:
        arriving = waiting[base, post : post + size]
        for k in range(size):
            arriving[k] += payload * weights[k]
    else:
        delays = matrices.delays[first : first + size]
        for k in range(size):
            slot = base + delays[k]
            if slot >= waiting.shape[0]:
                slot -= waiting.shape[0]
            waiting[slot, post + k] += payload * weights[k]


@without_refcount
def sent_between(neurons, matrices, matrix, place, payload, rest, row, rings):
    """Add what a spike between two steps brings to what waits for its arrival at u, and at v alone."""
    waiting, jumps, _ = rings
    first, post = matrices.first[matrix] + place * matrices.size[matrix], matrices.post[matrix]
    for k in range(matrices.size[matrix]):
        j, delay, late = post + k, 0, rest
        if matrices.delayed[matrix]:
            delay, late = matrices.delays[first + k], rest + matrices.rests[first + k]
        if late >= 1.0:
            delay, late = delay + 1, late - 1.0
        slot = (row + 1 + delay) % waiting.shape[0]
        weight = payload * matrices.weights[first + k]
        if late > 0.0:
            grown_by = math.exp(late / neurons.tau_syn[j])
            _, _, left = propagator(1.0 - late, neurons.tau_mem[j], neurons.tau_syn[j])
            waiting[slot, j] += weight * grown_by
            jumps[slot, j] += 64.0 * weight * (left / neurons.response[j] - grown_by)
        else:
            waiting[slot, j] += weight


@without_refcount
def summed(matrices, matrix, low, high, base, places, payloads, row, waiting, sums):
    """Add the weights of all spikes of a row over a matrix, shifted once they are summed, delay by delay."""
    size, post = matrices.size[matrix], matrices.post[matrix]
    for d in range(sums.shape[0]):
        for k in range(size):
            sums[d, k] = 0.0
    for s in range(low, high):
        first = matrices.first[matrix] + (places[s] - base) * size
        for k in range(size):
            d = matrices.delays[first + k] if matrices.delayed[matrix] else 0
            sums[d, k] += payloads[s] * matrices.weights[first + k]
    for d in range(sums.shape[0]):
        arriving = waiting[(row + 1 + d) % waiting.shape[0]]
        for k in range(size):
            arriving[post + k] += np.floor(sums[d, k] * matrices.shift[matrix])


@without_refcount
def delivered(neurons, matrices, rules, source, low, high, base, spikes, row, rings):
    """Send the spikes low..high of a row, whose source layer begins at ``base``, over all matrices that lead away.

    ``spikes`` are their places, payloads and rests, as of :class:`Sent`.
    """
    if low == high:
        return
    places, payloads, rests = spikes
    waiting, _, sums = rings
    for matrix in range(matrices.bounds[source], matrices.bounds[source + 1]):
        if rules.between:
            for s in range(low, high):
                sent_between(neurons, matrices, matrix, places[s] - base, payloads[s], rests[s], row, rings)
        elif matrices.summed[matrix]:
            summed(matrices, matrix, low, high, base, places, payloads, row, waiting, sums)
        else:
            for s in range(low, high):
                sent(matrices, matrix, places[s] - base, payloads[s], row, waiting)


@compiled
def forward(neurons, layers, matrices, rules, inputs, n_rows, keep, kept_from, stop):
    """Run all samples.

    Parameters
    ----------
    neurons : Neurons
    layers : Layers
    matrices : Matrices
    rules : Rules
    inputs : Sent
    n_rows : int
    keep : ndarray of float64, (n_samples, 2, n_rows, n_kept)
        Filled with u, and with v after its reset, of the neurons from ``kept_from`` on.
    kept_from : int
    stop : ndarray of int64, (1,)
        As :func:`eventsolve.interrupts.call` passes it.

    Returns
    -------
    bounds : ndarray of int64, (n_samples + 1,)
        Which spikes are a sample's.
    rows, fired : ndarray of int64, (n_spikes,)
        Row and neuron, in order.
    counters : ndarray of int64, (3,)
        Currents that were turned over, voltages that were clipped, currents that were more than one turn out.
    """
    n, n_layers, n_samples = neurons.bias.size, layers.first.size, inputs.bounds.size - 1
    u, v = np.zeros(n), np.zeros(n)
    waiting = np.zeros((matrices.longest + 3, n))
    jumps = np.zeros((waiting.shape[0] if rules.between else 0, n))
    sums = np.zeros((matrices.longest + 1, n))
    rings = Rings(waiting, jumps, sums)
    given = (inputs.places, inputs.payloads, inputs.rests)
    ones, zeros, drive = np.ones(n), np.zeros(n), np.zeros(n)
    rows, fired = np.empty(64, np.int64), np.empty(64, np.int64)
    bounds, counters = np.zeros(n_samples + 1, np.int64), np.zeros(3, np.int64)
    count = 0
    for sample in range(n_samples):
        phase = sample * n_rows if rules.consecutive else 0
        if not rules.consecutive:
            for k in range(waiting.shape[0]):
                cleared(waiting[k])
            for k in range(jumps.shape[0]):
                cleared(jumps[k])
        for j in range(n):
            u[j], v[j] = neurons.u0[j], neurons.v0[j]
        at = inputs.bounds[sample]
        for row in range(n_rows):
            if stop[0] != 0:
                break
            for k in range(n_layers):
                if layers.interval[k] > 0 and (row + 1) % layers.interval[k] == layers.offset[k]:
                    cleared(u[layers.first[k] : layers.first[k] + layers.size[k]])
                    cleared(v[layers.first[k] : layers.first[k] + layers.size[k]])
            clock = phase + row
            arriving = waiting[clock % waiting.shape[0]]
            bias = neurons.bias
            if rules.between:
                jumping = jumps[clock % jumps.shape[0]]
                for j in range(n):
                    drive[j] = neurons.bias[j] + jumping[j]
                cleared(jumping)
                bias = drive
            if rules.truncated or rules.limited:
                crossed = moved(neurons, rules, arriving, bias, u, v, counters)
            else:
                crossed = moved_freely(neurons, arriving, bias, u, v)
            cleared(arriving)
            begin = at
            while at < inputs.bounds[sample + 1] and inputs.rows[at] == row:
                at += 1
            delivered(neurons, matrices, rules, 0, begin, at, 0, given, clock, rings)
            if crossed > 0:
                low = count
                for j in range(n):
                    if v[j] > neurons.threshold[j]:
                        if count == rows.size:
                            rows, fired = grown(rows), grown(fired)
                        rows[count], fired[count] = row, j
                        count += 1
                        v[j] = 0.0
                for k in range(n_layers):
                    high = low
                    while high < count and fired[high] < layers.first[k] + layers.size[k]:
                        high += 1
                    part = fired[low:high]
                    spikes = (part, ones, zeros)
                    delivered(
                        neurons, matrices, rules, k + 1, 0, part.size, layers.first[k], spikes, clock, rings
                    )
                    low = high
            for k in range(keep.shape[3]):
                keep[sample, 0, row, k] = u[kept_from + k]
                keep[sample, 1, row, k] = v[kept_from + k]
        bounds[sample + 1] = count
    return bounds, rows[:count], fired[:count], counters
