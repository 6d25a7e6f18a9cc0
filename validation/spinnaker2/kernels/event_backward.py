"""The adjoint of a layer from event to event; cells and intervals as in :mod:`event_forward` (compiled)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from eventsolve.compiled import compiled
from validation.spinnaker2.kernels.either import (
    Held,
    accumulated,
    answered,
    increased_row,
    over,
    plus,
    scaled_row,
    times,
    value_of,
)
from validation.spinnaker2.kernels.intervals import Dynamics, decays_over
from validation.spinnaker2.kernels.tables import BackwardOperands, Jumps, Synapses

Array = Any


class Fired(NamedTuple):
    """Spikes of a layer, by cell, offset and neuron."""

    bounds: Array
    offsets: Array
    neurons: Array


class Backward(NamedTuple):
    """A layer on its way back, and how it is computed; ``state`` is of random words and goes on in place."""

    held: Held
    operands: BackwardOperands
    dynamics: Dynamics
    synapses: Synapses
    fired: Fired
    jumps: Jumps
    state: Array


@compiled
def returned(lam_v, lam_i, f, operand, held, state, k):
    """Return the adjoints of a neuron an interval earlier, without jumps, and the sum of statuses."""
    kept, s = times(lam_i, f.alpha, f.alpha_value, operand, held, state, k)
    fed, t = times(lam_v, f.one_minus_alpha, f.one_minus_alpha_value, operand, held, state, k)
    lam_i, u = plus(kept, fed, held)
    lam_v, w = times(lam_v, f.beta, f.beta_value, operand, held, state, k)
    return lam_v, lam_i, s + t + u + w


@compiled
def swung(lam_v, j, spike, synapses, jumps, operand, held, state, k):
    """Return the numerator of a jump of neuron j, dL/dt of its spike, and the sum of statuses."""
    part, s = times(lam_v, synapses.swing[j], synapses.swing_values[j], operand, held, state, k)
    numerator, t = plus(part, jumps.errors[spike], held)
    error = value_of(jumps.errors[spike], held) + value_of(lam_v, held) * jumps.drives[spike]
    return numerator, error, s + t


@compiled
def jumped(lam_v, numerator, spike, jumps, operand, held, state, k):
    """Return the adjoint voltage after a jump, and the sum of statuses."""
    jump, s = over(numerator, jumps.slopes[spike], jumps.slope_values[spike], operand, held, state, k)
    lam_v, t = plus(lam_v, jump, held)
    return lam_v, s + t


@compiled
def retreat_late(lam_v, lam_i, h, first, last, layer, k, errors):
    """Go back over an interval with spikes first .. last - 1 as the layer program does; return the sum of statuses.

    All jumps are of the adjoint voltage at the interval's end, and are added at its beginning.
    """
    held, operands, d, synapses, fired, jumps, state = layer
    f, decay = decays_over(h, d), operands.decay
    old_v, fed, numerators = lam_v.copy(), np.empty_like(lam_v), np.empty(last - first, lam_v.dtype)
    status = scaled_row(lam_i, lam_i, f.alpha, f.alpha_value, decay, held, state, k)
    status += scaled_row(fed, lam_v, f.one_minus_alpha, f.one_minus_alpha_value, decay, held, state, k)
    status += increased_row(lam_i, fed, held)
    status += scaled_row(lam_v, lam_v, f.beta, f.beta_value, decay, held, state, k)
    for spike in range(first, last):
        j = fired.neurons[spike]
        numerators[spike - first], errors[spike], s = swung(
            old_v[j], j, spike, synapses, jumps, operands.swing, held, state, k
        )
        status += s
    for spike in range(first, last):
        j = fired.neurons[spike]
        lam_v[j], s = jumped(
            lam_v[j], numerators[spike - first], spike, jumps, operands.slope, held, state, k
        )
        status += s
    return status


@compiled
def retreat(lam_v, lam_i, begin, end, first, last, layer, k, errors):
    """Go back from ``end`` to ``begin`` with spikes first .. last - 1 when they were; return the sum of statuses."""
    held, operands, d, synapses, fired, jumps, state = layer
    reached, status = np.full(lam_v.size, end), 0
    for spike in range(last - 1, first - 1, -1):
        j = fired.neurons[spike]
        gap = reached[j] - fired.offsets[spike]
        if gap > 0.0:
            f = decays_over(gap, d)
            lam_v[j], lam_i[j], s = returned(lam_v[j], lam_i[j], f, operands.decay, held, state, k)
            status += s
            reached[j] = fired.offsets[spike]
        numerator, errors[spike], s = swung(
            lam_v[j], j, spike, synapses, jumps, operands.swing, held, state, k
        )
        lam_v[j], t = jumped(lam_v[j], numerator, spike, jumps, operands.slope, held, state, k)
        status += s + t
    whole = decays_over(end - begin, d)
    for j in range(lam_v.size):
        if reached[j] > begin:
            f = whole
            if reached[j] < end:
                f = decays_over(reached[j] - begin, d)
            lam_v[j], lam_i[j], s = returned(lam_v[j], lam_i[j], f, operands.decay, held, state, k)
            status += s
    return status


@compiled
def backward_events(layer, arrivals, sums, n_steps, stop):
    """Run the adjoint of a layer over steps n_steps .. 0.

    Parameters
    ----------
    layer : Backward
        The number format is that of adjoints, whose type the errors of the jumps have; ``state`` is (n_samples, 4).
    arrivals : Arrivals
    sums : Sums
        Added to in place.
    n_steps : int

    Returns
    -------
    payloads : ndarray, (n_arrivals,)
        The error that answers each arrival.
    errors : ndarray of float64, (n_spikes,)
        dL/dt_k in steps times the error scale.
    status : int
        The sum over all operations.
    """
    held, operands, d, synapses, fired, jumps, state = layer
    n, kind = synapses.weight_values.shape[1], jumps.errors.dtype
    payloads, errors = np.zeros(arrivals.rows.size, kind), np.zeros(fired.neurons.size)
    lam_v, lam_i, status = np.zeros(n, kind), np.zeros(n, kind), 0
    for sample in range(state.shape[0]):
        lam_v[:] = 0
        lam_i[:] = 0
        for step in range(n_steps, -1, -1):
            if stop[0] != 0:
                break
            cell = sample * (n_steps + 1) + step
            lowest, after = arrivals.bounds[cell], arrivals.bounds[cell + 1]
            first_spike, spikes_after = fired.bounds[cell], fired.bounds[cell + 1]
            end = d.time_step
            while end > 0.0 or after > lowest:
                first = after
                while first > lowest and arrivals.offsets[first - 1] == end:
                    first -= 1
                begin = arrivals.offsets[first - 1] if first > lowest else 0.0
                for a in range(first, after):
                    payloads[a], s = answered(
                        lam_v, lam_i, synapses, arrivals.rows[a], operands.weight, held, state, sample
                    )
                    status += s
                if not d.late:
                    for a in range(first, after):
                        status += accumulated(lam_i, sums, sample, arrivals.rows[a], held, state)
                if begin < end and step > 0:
                    spike = spikes_after
                    while spike > first_spike and fired.offsets[spike - 1] > begin:
                        spike -= 1
                    if d.late:
                        status += retreat_late(
                            lam_v, lam_i, end - begin, spike, spikes_after, layer, sample, errors
                        )
                    else:
                        status += retreat(
                            lam_v, lam_i, begin, end, spike, spikes_after, layer, sample, errors
                        )
                    spikes_after = spike
                if d.late:
                    for a in range(first, after):
                        status += accumulated(lam_i, sums, sample, arrivals.rows[a], held, state)
                after, end = first, begin
    return payloads, errors, status
