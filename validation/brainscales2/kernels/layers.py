"""A layer of neurons that start at rest and count once: first spikes, and the gradient along measured ones (compiled).

Times are in the nominal tau_syn; a neuron's own time constants are ``factor`` times the nominal ones, and tau_mem is
``ratio`` tau_syn, 1 or 2. In its own time x since an event at which it has v and i, with c = v_threshold - v_leak,

    ratio 1:  V = (v + i x) exp(-x)               crosses where v + i x = c exp(x)
    ratio 2:  V = (v + i) z - i z^2, z = exp(-x/2)   crosses where i z^2 - (v + i) z + c = 0
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from eventsolve.compiled import compiled

NO_CROSSING = np.inf
CROSSING, MEASURED, THRESHOLD = 0, 1, 2
"""Slopes."""


class Neurons(NamedTuple):
    """Of a layer: v_threshold - v_leak and how much slower than nominal each is, (n_neurons,); tau_mem by tau_syn."""

    levels: Any
    factors: Any
    ratio: int


class Gradients(NamedTuple):
    """dL/dw and dL/d(delay), summed over samples, (n_neurons, n_inputs); dL/dt of arrivals, (n_samples, n_inputs)."""

    weights: Any
    delays: Any
    arrivals: Any


@compiled
def rising(v, i, c, start):
    """Return where v + i x = c exp(x) first, from a start to its left; inf where it never is.

    The difference is concave: Newton's steps come from the left and stay there.
    """
    if not i > 0.0:
        return NO_CROSSING
    if v + i * math.log(i / c) - i < 0.0:
        return NO_CROSSING
    x = start
    for _ in range(100):
        e = c * math.exp(x)
        slope = i - e
        if not slope > 0.0:
            return x
        following = x - (v + i * x - e) / slope
        if not following > x:
            return x
        x = following
    return x


@compiled
def until_crossing(v, i, c, ratio):
    """Return after how long a neuron below its threshold crosses it; inf where it never does."""
    if not i > 0.0:
        return NO_CROSSING
    if ratio == 1:
        return rising(v, i, c, 0.0) if i > c else NO_CROSSING
    total = v + i
    radicand = total * total - 4.0 * i * c
    if radicand < 0.0 or not 0.0 < total < 2.0 * i:
        return NO_CROSSING
    return -2.0 * math.log((total + math.sqrt(radicand)) / (2.0 * i))


@compiled
def first_spikes(arrivals, delays, weights, levels, factors, ratio, found, stop):
    """Fill in first spikes, inf where there is none.

    Parameters
    ----------
    arrivals : ndarray, (n_samples, n_inputs)
        inf where silent.
    delays, weights : ndarray, (n_neurons, n_inputs)
    levels, factors : ndarray, (n_neurons,)
    ratio : int
    found : ndarray, (n_samples, n_neurons)
    stop : Flag
    """
    n_inputs = arrivals.shape[1]
    order, times = np.arange(n_inputs), np.empty(n_inputs)
    for s in range(arrivals.shape[0]):
        if stop[0]:
            return
        for p in range(weights.shape[0]):
            for k in range(n_inputs):
                times[k] = arrivals[s, k] + delays[p, k]
            for k in range(1, n_inputs):  # nearly in order, as of the neuron before
                one, at = order[k], k
                while at > 0 and times[order[at - 1]] > times[one]:
                    order[at] = order[at - 1]
                    at -= 1
                order[at] = one
            v = i = last = 0.0
            found[s, p] = np.inf
            for k in range(n_inputs + 1):
                following = times[order[k]] if k < n_inputs else np.inf
                x = until_crossing(v, i, levels[p], ratio) * factors[p]
                if last + x <= following:
                    found[s, p] = last + x
                    break
                if following == np.inf:
                    break
                dt = (following - last) / factors[p]
                if ratio == 1:
                    decay = math.exp(-dt)
                    v, i = (v + i * dt) * decay, i * decay
                else:
                    z = math.exp(-0.5 * dt)
                    v, i = (v + i) * z - i * z * z, i * z * z
                i += weights[p, order[k]]
                last = following


@compiled
def along(arrivals, delays, weights, spikes, errors, neurons, slope, cap, gradients, stop):
    """Add to gradients along measured spikes, and return how many of them had no slope, or were dropped by the cap.

    Parameters
    ----------
    arrivals, delays, weights
        As measured; as of :func:`first_spikes`.
    spikes, errors : ndarray, (n_samples, n_neurons)
        Measured spikes, and dL/dt.
    neurons : Neurons
        As they are believed to be.
    slope : int
    cap : float
        Of abs(dL/dw) of a sample and a neuron, whose part in dL/dw is dropped if one is larger.
    gradients : Gradients
    stop : Flag
    """
    levels, factors, ratio = neurons
    dw, dd, dt = gradients
    n_inputs = arrivals.shape[1]
    values, rises = np.empty(n_inputs), np.empty(n_inputs)
    unsolved = dropped = 0
    for s in range(arrivals.shape[0]):
        if stop[0]:
            return unsolved, dropped
        for p in range(weights.shape[0]):
            at = spikes[s, p]
            if at == np.inf:
                continue
            v = i = rise = 0.0
            for k in range(n_inputs):
                x = (at - arrivals[s, k] - delays[p, k]) / factors[p]
                if not x > 0.0:
                    values[k] = rises[k] = 0.0
                    continue
                e = math.exp(-x)
                if ratio == 1:
                    values[k], rises[k] = x * e, (1.0 - x) * e
                else:
                    z = math.exp(-0.5 * x)
                    values[k], rises[k] = z - e, e - 0.5 * z
                v += weights[p, k] * values[k]
                i += weights[p, k] * e
                rise += weights[p, k] * rises[k]
            if slope == THRESHOLD:
                rise = (i - levels[p]) / ratio
            elif slope == CROSSING:
                rise = at_crossing(v, i, levels[p], ratio)
            if rise == 0.0 or np.isnan(rise):
                unsolved += 1
                continue
            push = errors[s, p] * factors[p] / rise
            largest = 0.0
            for k in range(n_inputs):
                largest = max(largest, abs(values[k] * push))
            kept = largest <= cap
            if not kept:
                dropped += 1
            for k in range(n_inputs):
                if kept:
                    dw[p, k] -= values[k] * push
                by_time = weights[p, k] * rises[k] * push / factors[p]
                dd[p, k] += by_time
                dt[s, k] += by_time
    return unsolved, dropped


@compiled
def at_crossing(v, i, c, ratio):
    """Return DelGrad's 1 + W or S, as V' at a spike where the model has v and i; NaN where it has no crossing."""
    if ratio == 1:
        if not i > 0.0:
            return np.nan
        x = rising(v, i, c, -v / i)
        return np.nan if x == NO_CROSSING else i - v - i * x
    total = v + i
    radicand = total * total - 4.0 * i * c
    if radicand < 0.0 or not (i > 0.0 and total > 0.0):
        return np.nan
    return 0.5 * math.sqrt(radicand)
