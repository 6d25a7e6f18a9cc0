r"""Kernels: weighted integrals of the voltage of a readout, and their derivatives, arrival by arrival (compiled).

A readout has no threshold, so that what one arrival adds to V does not depend on any other, and

.. math::
    m = \int f(t) V(t) dt = \sum_k w_k\, g(t_k) + \dots, \qquad g(t) = f(t) \int_0^s e^{-r x} K(x) dx

with s = t_end - t what is left of the trial and f(t) = f_0 exp(-r (t - t_start)), r >= 0. With a = s/tau_mem + r s and
b = s/tau_syn + r s the integral is s^2/tau_mem exp[0, -a, -b], a divided difference of exp: a number without
cancellation, however long s is and however near the time constants are to each other. So are, each a sum of terms of
one sign,

    dg/dt            -f (r s^2/tau_mem exp[0, -a, -b] + s/tau_mem exp[-a, -b])
    dg/dtau_mem      -f (s/tau_mem)^2 (exp[-a, -a, -b] + r s exp[0, -a, -a, -b])
    dg/dtau_syn       f s^3/(tau_mem tau_syn^2) exp[0, -a, -b, -b]

and V and the leak act alike, by f s exp[0, -a] and f s^2/tau_mem exp[0, -r s, -a] (V at the start kept).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import grouped, schedule_of
from eventsolve.kernels.elementary import decay
from eventsolve.kernels.membrane import exprel, propagator, propagator_derivatives

SERIES_BELOW = 0.5
"""Distance of two exponents under which their difference is a series: that of :mod:`eventsolve.kernels.membrane`."""
NEAR = 1.0
"""Distance of the outer of three or four exponents under which a divided difference is a series.

Above it, a difference of the two of one order less loses less than three bits.
"""
TERMS = 18
"""Of that series, whose terms fall faster than NEAR^k / k!."""


class Window(NamedTuple):
    """An integral over a trial: f(t) = scale exp(-rate (t - start)) up to the end; seconds, 1/s."""

    start: float
    end: float
    scale: float
    rate: float


@without_refcount
def difference_2(a, b):
    """Return exp[-a, -b], the divided difference of exp, for a, b >= 0."""
    low, gap = min(a, b), abs(a - b)
    if gap <= SERIES_BELOW:
        return decay(low) * exprel(-gap)
    return (decay(low) - decay(low + gap)) / gap


@without_refcount
def difference_3(a, b, c):
    """Return exp[-a, -b, -c] for 0 <= a, b, c."""
    if a > b:
        a, b = b, a
    if b > c:
        b, c = c, b
    if a > b:
        a, b = b, a
    if c - a > NEAR:
        return (difference_2(a, b) - difference_2(b, c)) / (c - a)
    return series(c - a, c - b, 0.0, c, 0.5, 2.0)


@without_refcount
def difference_4(a, b, c, d):
    """Return exp[-a, -b, -c, -d] for 0 <= a <= b <= c <= d."""
    if d - a > NEAR:
        return (difference_3(a, b, c) - difference_3(b, c, d)) / (d - a)
    return series(d - a, d - b, d - c, d, 1.0 / 6.0, 3.0)


@without_refcount
def series(x, y, z, lowest, term, order):
    """Return exp(-lowest) sum_k h_k(x, y, z) / (order + k)!, all of one sign: h_k are their complete symmetric sums.

    ``term`` is 1 / order!.
    """
    p = q = h = 1.0
    total = term
    for k in range(1, TERMS):
        p *= x
        q = q * y + p
        h = h * z + q
        term /= order + k
        total += h * term
    return decay(lowest) * total


@without_refcount
def of_voltage(s, tau_mem, rate):
    """Return int_0^s exp(-rate x) exp(-x/tau_mem) dx: what one of V adds."""
    return s * difference_2(0.0, s / tau_mem + rate * s)


@without_refcount
def of_current(s, tau_mem, tau_syn, rate):
    """Return int_0^s exp(-rate x) K(x) dx: what one of I adds."""
    a, b = s / tau_mem + rate * s, s / tau_syn + rate * s
    return s * (s / tau_mem) * difference_3(0.0, a, b)


@without_refcount
def of_leak(s, tau_mem, rate):
    """Return int_0^s exp(-rate x) (1 - exp(-x/tau_mem)) dx: what one of v_leak adds to V that starts elsewhere."""
    return s * (s / tau_mem) * difference_3(0.0, rate * s, s / tau_mem + rate * s)


@without_refcount
def by_time(s, tau_mem, tau_syn, rate):
    """Return how what one of I adds, weighted, changes as it comes later."""
    return -(
        rate * of_current(s, tau_mem, tau_syn, rate)
        + s / tau_mem * difference_2(s / tau_mem + rate * s, s / tau_syn + rate * s)
    )


@without_refcount
def by_tau_mem(s, tau_mem, tau_syn, rate):
    """Return the derivative of ``of_current`` by tau_mem."""
    a, b = s / tau_mem + rate * s, s / tau_syn + rate * s
    early = difference_4(0.0, a, a, b) if a <= b else difference_4(0.0, b, a, a)
    return -((s / tau_mem) ** 2) * (difference_3(a, a, b) + rate * s * early)


@without_refcount
def by_tau_syn(s, tau_mem, tau_syn, rate):
    """Return the derivative of ``of_current`` by tau_syn."""
    a, b = s / tau_mem + rate * s, s / tau_syn + rate * s
    shape = difference_4(0.0, a, b, b) if a <= b else difference_4(0.0, b, b, a)
    return s * (s / tau_mem) * (s / tau_syn) / tau_syn * shape


@without_refcount
def weight_at(window, time):
    """Return f(t)."""
    return window.scale * decay(window.rate * (time - window.start))


@compiled
def mean_voltages(layer, run, window, stop):
    """Return the integral of f(t) V(t) of every readout, (n_samples, n).

    Start states may be from before the window, arrivals are those in (after, end].
    """
    neurons, afferents, groups, n_sources = layer
    spikes, _, start, after, _ = run
    n_samples = spikes.offsets.size - 1
    found = np.zeros((n_samples, neurons.tau_mem.size))
    members, group_offsets = groups.members, groups.offsets
    weights, start_times = afferents.weight, start.time
    span = window.end - window.start
    for sample in range(n_samples):
        given = grouped(spikes, sample, n_sources)
        for group in range(group_offsets.size - 1):
            if stop[0] != 0:
                break
            first = members[group_offsets[group]]
            tau_mem, tau_syn = neurons.tau_mem[first], neurons.tau_syn[first]
            schedule = schedule_of(
                first, neurons, afferents, given, start_times[sample, first], after, window.end
            )
            shares = arrival_shares(schedule, tau_mem, tau_syn, window)
            for place in range(group_offsets[group], group_offsets[group + 1]):
                neuron = members[place]
                leak = neurons.v_leak[neuron]
                ea, eb, k = propagator(window.start - start_times[sample, neuron], tau_mem, tau_syn)
                i = start.i[sample, neuron]
                u = start.u[sample, neuron] * ea + i * k
                total = leak * of_leak(span, tau_mem, window.rate) + (leak + u) * of_voltage(
                    span, tau_mem, window.rate
                )
                total = window.scale * (total + i * eb * of_current(span, tau_mem, tau_syn, window.rate))
                found[sample, neuron] = total + product(
                    weights, afferents.offsets[neuron], schedule.slots, shares
                )
    return found


@compiled
def arrival_shares(schedule, tau_mem, tau_syn, window):
    """Return g of every arrival."""
    times = schedule.times
    shares = np.empty(times.size)
    for k in range(times.size):
        shares[k] = weight_at(window, times[k]) * of_current(
            window.end - times[k], tau_mem, tau_syn, window.rate
        )
    return shares


@without_refcount
def product(weights, first, slots, shares):
    """Return the sum of the shares, by the weights of the synapses through which they come."""
    total = 0.0
    for k in range(slots.size):
        total += weights[first + slots[k]] * shares[k]
    return total


@compiled
def mean_voltages_back(layer, run, window, cotangents, wanted, per_sample, n_synapses, stop):
    """Return what ``mean_voltages`` times cotangents, (n_samples, n), contributes to the gradients of its layer.

    Returns
    -------
    errors, d_weight, d_delay, d_parameters
        As of :func:`eventsolve.kernels.layered_adjoint.backward`.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, _, start, after, _ = run
    n_samples = spikes.offsets.size - 1
    n_rows = n_samples if per_sample else 1
    errors = np.zeros(spikes.times.size)
    d_weight = np.zeros((n_rows, n_synapses if wanted.weight else 0))
    d_delay = np.zeros((n_rows, n_synapses if wanted.delay else 0))
    d_parameters = np.zeros((n_rows, 8, neurons.tau_mem.size))
    members, group_offsets = groups.members, groups.offsets
    start_times = start.time
    for sample in range(n_samples):
        row = sample if per_sample else 0
        given = grouped(spikes, sample, n_sources)
        for group in range(group_offsets.size - 1):
            if stop[0] != 0:
                break
            first = members[group_offsets[group]]
            tau_mem, tau_syn = neurons.tau_mem[first], neurons.tau_syn[first]
            schedule = schedule_of(
                first, neurons, afferents, given, start_times[sample, first], after, window.end
            )
            shares = arrival_shares(schedule, tau_mem, tau_syn, window)
            shifts = np.empty(shares.size)
            flow = np.empty((2, shares.size if wanted.flow else 0))
            for k in range(shares.size):
                s, f = window.end - schedule.times[k], weight_at(window, schedule.times[k])
                shifts[k] = f * by_time(s, tau_mem, tau_syn, window.rate)
                if wanted.flow:
                    flow[0, k] = f * by_tau_mem(s, tau_mem, tau_syn, window.rate)
                    flow[1, k] = f * by_tau_syn(s, tau_mem, tau_syn, window.rate)
            for place in range(group_offsets[group], group_offsets[group + 1]):
                neuron = members[place]
                cotangent = cotangents[sample, neuron]
                if cotangent == 0.0:
                    continue
                arrivals_back(
                    afferents.offsets[neuron],
                    afferents.weight,
                    schedule.slots,
                    schedule.spikes,
                    cotangent,
                    shares,
                    shifts,
                    errors,
                    d_weight,
                    d_delay,
                    row,
                    wanted,
                )
                if wanted.flow:
                    for k in range(2):
                        d_parameters[row, k, neuron] += cotangent * product(
                            afferents.weight, afferents.offsets[neuron], schedule.slots, flow[k]
                        )
                start_back(neuron, neurons, start, sample, window, cotangent, d_parameters, row, wanted)
    return errors, d_weight, d_delay, d_parameters


@without_refcount
def arrivals_back(
    first, weights, slots, causes, cotangent, shares, shifts, errors, d_weight, d_delay, row, wanted
):
    """Add what the arrivals at one readout contribute."""
    for k in range(slots.size):
        synapse = first + slots[k]
        error = cotangent * weights[synapse] * shifts[k]
        errors[causes[k]] += error
        if wanted.weight:
            d_weight[row, synapse] += cotangent * shares[k]
        if wanted.delay:
            d_delay[row, synapse] += error


@without_refcount
def start_back(neuron, neurons, start, sample, window, cotangent, d_parameters, row, wanted):
    """Add what V and I at the start of one readout contribute, and its leak."""
    tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
    rate, span, before = window.rate, window.end - window.start, window.start - start.time[sample, neuron]
    ea, eb, k = propagator(before, tau_mem, tau_syn)
    scale = cotangent * window.scale
    p_v = scale * of_voltage(span, tau_mem, rate)
    p_i = scale * of_current(span, tau_mem, tau_syn, rate)
    u, i = start.u[sample, neuron], start.i[sample, neuron]
    if wanted.flow:
        k_leak, k_mem, k_syn = propagator_derivatives(before, tau_mem, tau_syn, ea, eb, k)
        here = u * ea + i * k
        a = span / tau_mem + rate * span
        d_parameters[row, 0, neuron] += (
            scale * here * (span / tau_mem) ** 2 * difference_3(0.0, a, a)
            + scale * i * eb * by_tau_mem(span, tau_mem, tau_syn, rate)
            + p_v * (u * ea * before / (tau_mem * tau_mem) + i * k_mem)
        )
        d_parameters[row, 1, neuron] += (
            scale * i * eb * by_tau_syn(span, tau_mem, tau_syn, rate)
            + p_i * i * eb * before / (tau_syn * tau_syn)
            + p_v * i * k_syn
        )
        d_parameters[row, 4, neuron] += scale * of_leak(span, tau_mem, rate) + p_v * k_leak
    d_parameters[row, 6, neuron] += p_v * ea
    d_parameters[row, 7, neuron] += p_i * eb + p_v * k


@compiled
def mean_adjoint(neurons, window, cotangents, times, stop):
    """Return p_V and p_I of ``mean_voltages`` times cotangents at times (n_samples, n_times).

    Each (n_samples, n, n_times).
    """
    n_samples, n = cotangents.shape
    p_v, p_i = np.zeros((n_samples, n, times.shape[1])), np.zeros((n_samples, n, times.shape[1]))
    for sample in range(n_samples):
        for neuron in range(n):
            if stop[0] != 0:
                break
            tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
            for q in range(times.shape[1]):
                s = window.end - times[sample, q]
                f = cotangents[sample, neuron] * weight_at(window, times[sample, q])
                p_v[sample, neuron, q] = f * of_voltage(s, tau_mem, window.rate)
                p_i[sample, neuron, q] = f * of_current(s, tau_mem, tau_syn, window.rate)
    return p_v, p_i
