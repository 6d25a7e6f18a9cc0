"""The layer program over a batch, one sample after the other: the loops of :mod:`..layer_program` (compiled).

There are two of each, for a state (forward) or an adjoint (backward) in fixed point, and in floating point, where
float64 holds numbers of both float formats: an operation in float64, rounded to float32, is the operation in float32.
Their arguments are in :mod:`tables`.

Spikes are kept by cell, sample * n_steps + step: ``bounds`` (n_samples n_steps + 1) says which of the flat arrays
belong to a cell, where they stand by projection and then neuron. Operations follow one another as in the layer program,
which decides which random word rounds which result.
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled
from validation.grid.kernels.words import (
    STOCHASTIC,
    accumulated,
    added,
    divided,
    fitted,
    fitted_pair,
    multiplied,
    next_word,
    quantized,
    subtracted,
    word_for,
)


@compiled
def rounded(x, single):
    """Return a float64 as it is, or as the nearest float32."""
    return np.float64(np.float32(x)) if single else x


@compiled
def grown(array):
    """Return an array twice as long with the same beginning."""
    longer = np.empty(2 * array.size, array.dtype)
    longer[: array.size] = array
    return longer


@compiled
def scaled(out, x, raw, value, operand, number, state, k):
    """Multiply a row by one number, and return the sum of statuses."""
    status = 0
    if operand.plain:
        for j in range(x.size):
            out[j] = (x[j] * raw + operand.bias) >> operand.shift
            if not number.minimum <= out[j] <= number.maximum:
                out[j], s = fitted(out[j], number)
                status += s
        return status
    for j in range(x.size):
        word = word_for(operand, number, state, k)
        out[j], s = multiplied(x[j], raw, value, operand, number, word)
        status += s
    return status


@compiled
def increased(x, y, number):
    """Add a row to another, and return the sum of statuses."""
    status = 0
    for j in range(x.size):
        x[j], s = added(x[j], y[j], number)
        status += s
    return status


@compiled
def answer(synapses, row, lam_v, lam_i, operand, number, state, k):
    """Return the error of a spike that arrived over a row of the weights, and the sum of statuses."""
    high, low, status = 0, np.uint64(0), 0
    for j in range(lam_v.size):
        difference, s = subtracted(lam_v[j], lam_i[j], number)
        status += s
        if operand.plain:
            term = (difference * synapses.weights[row, j] + operand.bias) >> operand.shift
            term, s = fitted(term, number)
        else:
            word = word_for(operand, number, state, k)
            raw = synapses.weights[row, j] if operand.exact else 0
            term, s = multiplied(difference, raw, synapses.weight_values[row, j], operand, number, word)
        status += s
        low = low + np.uint64(term)
        high += (term >> 63) + (1 if low < np.uint64(term) else 0)
    total, s = fitted_pair(high, low, number)
    return total, status + s


@compiled
def accumulate(sums, sample, row, lam_i, number, state):
    """Add a row of adjoint currents to an accumulator, and return the sum of statuses."""
    status = 0
    if sums.raw.shape[0] == 0:
        for j in range(lam_i.size):
            total = sums.values[sample, row, j] + lam_i[j] * number.resolution
            sums.values[sample, row, j] = rounded(total, sums.single)
    elif sums.up == 0 and sums.down == 0:
        return increased(sums.raw[sample, row], lam_i, sums.number)
    else:
        drawn = sums.down > 0 and number.rounding == STOCHASTIC
        for j in range(lam_i.size):
            word = next_word(state, sample) if drawn else np.uint64(0)
            sums.raw[sample, row, j], s = accumulated(
                sums.raw[sample, row, j], lam_i[j], sums.up, sums.down, sums.number, word
            )
            status += s
    return status


@compiled
def answer_float(synapses, row, lam_v, lam_i, single):
    """Return the error of a spike that arrived over a row of the weights, in floating point."""
    total = 0.0
    for j in range(lam_v.size):
        difference = rounded(lam_v[j] - lam_i[j], single)
        term = rounded(synapses.weight_values[row, j] * difference, single)
        total = rounded(total + term, single) if j > 0 else term
    return total


@compiled
def accumulate_float(sums, sample, row, lam_i, state):
    """Add a row of floating-point adjoint currents to an accumulator, and return the sum of statuses."""
    status = 0
    if sums.raw.shape[0] == 0:
        for j in range(lam_i.size):
            sums.values[sample, row, j] = rounded(sums.values[sample, row, j] + lam_i[j], sums.single)
        return status
    drawn = sums.number.rounding == STOCHASTIC
    for j in range(lam_i.size):
        word = next_word(state, sample) if drawn else np.uint64(0)
        old = sums.raw[sample, row, j] * sums.number.resolution
        sums.raw[sample, row, j], s = quantized(old + lam_i[j], sums.number, word)
        status += s
    return status


@compiled
def forward_fixed(number, operand, decays, neurons, arrivals, n_steps, state, currents, voltages, stop):
    """Run a layer whose state is fixed point.

    Parameters
    ----------
    number : Format
        Of the state.
    operand : Operand
        The decay factors.
    decays : Decays
    neurons : Neurons
    arrivals : Cells
        By the step in which spikes were sent; places are rows of the weights.
    n_steps : int
    state : ndarray of uint64, (n_samples, 4)
        Of random words; goes on in place.
    currents, voltages : ndarray of int64, (n_samples, n_steps, n_neurons)
        Filled, if they have samples.

    Returns
    -------
    bounds, places, currents, voltages : ndarray
        Cells of the spikes: their neurons, and I and Vpre of each.
    status : int
        The sum over all operations.
    """
    n_samples, n = state.shape[0], neurons.v_threshold.size
    traced = currents.shape[0] > 0
    bounds = np.zeros(n_samples * n_steps + 1, np.int64)
    places, at_current, at_voltage = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64, np.int64)
    current, voltage = np.zeros(n, np.int64), np.zeros(n, np.int64)
    kept, driven = np.zeros(n, np.int64), np.zeros(n, np.int64)
    count, status = 0, 0
    for sample in range(n_samples):
        current[:] = 0
        voltage[:] = 0
        bounds[sample * n_steps + 1] = count
        for step in range(1, n_steps):
            if stop[0] != 0:
                break
            status += scaled(
                current, current, decays.alpha, decays.alpha_value, operand, number, state, sample
            )
            cell = sample * n_steps + step - 1
            for a in range(arrivals.bounds[cell], arrivals.bounds[cell + 1]):
                status += increased(current, neurons.increments[arrivals.places[a]], number)
            status += scaled(kept, voltage, decays.beta, decays.beta_value, operand, number, state, sample)
            status += scaled(
                driven,
                current,
                decays.one_minus_beta,
                decays.one_minus_beta_value,
                operand,
                number,
                state,
                sample,
            )
            for j in range(n):
                before, s = added(kept[j], driven[j], number)
                status += s
                voltage[j] = before
                if traced:
                    currents[sample, step, j] = current[j]
                    voltages[sample, step, j] = before
                if before > neurons.v_threshold[j]:
                    voltage[j] = neurons.v_reset[j]
                    if count == places.size:
                        places, at_current, at_voltage = grown(places), grown(at_current), grown(at_voltage)
                    places[count], at_current[count], at_voltage[count] = j, current[j], before
                    count += 1
            bounds[sample * n_steps + step + 1] = count
    return bounds, places[:count], at_current[:count], at_voltage[:count], status


@compiled
def forward_float(single, decays, neurons, arrivals, n_steps, n_samples, currents, voltages, stop):
    """Run a layer whose state is floating point; as :func:`forward_fixed`."""
    n = neurons.v_threshold.size
    traced = currents.shape[0] > 0
    bounds = np.zeros(n_samples * n_steps + 1, np.int64)
    places, at_current, at_voltage = np.empty(64, np.int64), np.empty(64), np.empty(64)
    current, voltage = np.zeros(n), np.zeros(n)
    alpha, beta, drive = decays.alpha_value, decays.beta_value, decays.one_minus_beta_value
    count = 0
    for sample in range(n_samples):
        current[:] = 0.0
        voltage[:] = 0.0
        bounds[sample * n_steps + 1] = count
        for step in range(1, n_steps):
            if stop[0] != 0:
                break
            for j in range(n):
                current[j] = rounded(current[j] * alpha, single)
            cell = sample * n_steps + step - 1
            for a in range(arrivals.bounds[cell], arrivals.bounds[cell + 1]):
                row = arrivals.places[a]
                for j in range(n):
                    current[j] = rounded(current[j] + neurons.increments[row, j], single)
            for j in range(n):
                kept, driven = rounded(voltage[j] * beta, single), rounded(current[j] * drive, single)
                before = rounded(kept + driven, single)
                voltage[j] = before
                if traced:
                    currents[sample, step, j] = current[j]
                    voltages[sample, step, j] = before
                if before > neurons.v_threshold[j]:
                    voltage[j] = neurons.v_reset[j]
                    if count == places.size:
                        places, at_current, at_voltage = grown(places), grown(at_current), grown(at_voltage)
                    places[count], at_current[count], at_voltage[count] = j, current[j], before
                    count += 1
            bounds[sample * n_steps + step + 1] = count
    return bounds, places[:count], at_current[:count], at_voltage[:count]


@compiled
def backward_fixed(number, operands, decays, synapses, arrivals, spikes, jumps, sums, n_steps, state, stop):
    """Run the adjoint of a layer, in fixed point.

    Parameters
    ----------
    number : Format
        Of adjoints.
    operands : BackwardOperands
    decays : Decays
    synapses : Synapses
    arrivals, spikes : Cells
        As :func:`forward_fixed` takes and gives them.
    jumps : Jumps
    sums : Sums
        Added to in place.
    n_steps : int
    state : ndarray of uint64, (n_samples, 4)

    Returns
    -------
    payloads : ndarray of int64, (n_arrivals,)
        The error that answers each arrival; 0 for those in the last step, which never arrive.
    errors : ndarray of float64, (n_spikes,)
        dL/dt_k in steps times the error scale.
    status : int
        The sum over all operations.
    """
    n_samples, n = state.shape[0], synapses.weight_values.shape[1]
    payloads, errors = np.zeros(arrivals.places.size, np.int64), np.zeros(spikes.places.size)
    lam_v, lam_i, old_v = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    fed, numerators = np.zeros(n, np.int64), np.zeros(n, np.int64)
    decay, status = operands.decay, 0
    for sample in range(n_samples):
        lam_v[:] = 0
        lam_i[:] = 0
        for step in range(n_steps - 2, -1, -1):
            if stop[0] != 0:
                break
            cell = sample * n_steps + step
            for a in range(arrivals.bounds[cell], arrivals.bounds[cell + 1]):
                payloads[a], s = answer(
                    synapses, arrivals.places[a], lam_v, lam_i, operands.weight, number, state, sample
                )
                status += s
            status += scaled(lam_i, lam_i, decays.alpha, decays.alpha_value, decay, number, state, sample)
            status += scaled(
                fed, lam_v, decays.one_minus_alpha, decays.one_minus_alpha_value, decay, number, state, sample
            )
            status += increased(lam_i, fed, number)
            old_v[:] = lam_v
            status += scaled(lam_v, lam_v, decays.beta, decays.beta_value, decay, number, state, sample)
            first, last = spikes.bounds[cell + 1], spikes.bounds[cell + 2]
            for k in range(first, last):
                j = spikes.places[k]
                word = word_for(operands.swing, number, state, sample)
                raw = synapses.swing[j] if operands.swing.exact else 0
                swung, s = multiplied(old_v[j], raw, synapses.swing_values[j], operands.swing, number, word)
                numerators[k - first], t = added(swung, jumps.errors[k], number)
                received, before = jumps.errors[k] * number.resolution, old_v[j] * number.resolution
                errors[k] = received + before * jumps.drives[k]
                status += s + t
            for k in range(first, last):
                j = spikes.places[k]
                word = next_word(state, sample) if number.rounding == STOCHASTIC else np.uint64(0)
                raw = jumps.slopes[k] if operands.slope.exact else 1
                jump, s = divided(
                    numerators[k - first], raw, jumps.slope_values[k], operands.slope, number, word
                )
                lam_v[j], t = added(lam_v[j], jump, number)
                status += s + t
            for a in range(arrivals.bounds[cell], arrivals.bounds[cell + 1]):
                status += accumulate(sums, sample, arrivals.places[a], lam_i, number, state)
    return payloads, errors, status


@compiled
def backward_float(single, decays, synapses, arrivals, spikes, jumps, sums, n_steps, state, stop):
    """Run the adjoint of a layer, in floating point; as :func:`backward_fixed`."""
    n_samples, n = state.shape[0], synapses.weight_values.shape[1]
    payloads, errors = np.zeros(arrivals.places.size), np.zeros(spikes.places.size)
    lam_v, lam_i, old_v = np.zeros(n), np.zeros(n), np.zeros(n)
    status = 0
    for sample in range(n_samples):
        lam_v[:] = 0.0
        lam_i[:] = 0.0
        for step in range(n_steps - 2, -1, -1):
            if stop[0] != 0:
                break
            cell = sample * n_steps + step
            for a in range(arrivals.bounds[cell], arrivals.bounds[cell + 1]):
                payloads[a] = answer_float(synapses, arrivals.places[a], lam_v, lam_i, single)
            for j in range(n):
                kept = rounded(lam_i[j] * decays.alpha_value, single)
                fed = rounded(lam_v[j] * decays.one_minus_alpha_value, single)
                lam_i[j] = rounded(kept + fed, single)
                old_v[j] = lam_v[j]
                lam_v[j] = rounded(lam_v[j] * decays.beta_value, single)
            for k in range(spikes.bounds[cell + 1], spikes.bounds[cell + 2]):
                j = spikes.places[k]
                swung = rounded(old_v[j] * synapses.swing_values[j], single)
                numerator = rounded(swung + jumps.errors[k], single)
                errors[k] = jumps.errors[k] + old_v[j] * jumps.drives[k]
                jump = rounded(numerator / jumps.slope_values[k], single)
                lam_v[j] = rounded(lam_v[j] + jump, single)
            for a in range(arrivals.bounds[cell], arrivals.bounds[cell + 1]):
                status += accumulate_float(sums, sample, arrivals.places[a], lam_i, state)
    return payloads, errors, status
