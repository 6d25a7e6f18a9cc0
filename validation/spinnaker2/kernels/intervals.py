"""What happens to a neuron between two events, some approximations of the chip on (:mod:`..switches`, compiled)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled
from validation.grid.kernels.words import quantized
from validation.spinnaker2.kernels.either import Held
from validation.spinnaker2.kernels.steps import rounded
from validation.spinnaker2.kernels.tables import Decays


class Factors(NamedTuple):
    """How factors are encoded: in fixed point if ``exact``, else as floats."""

    held: Held
    exact: bool


class Dynamics(NamedTuple):
    """Of a layer, between events.

    Attributes
    ----------
    time_step, tau_mem, tau_syn : float
        Seconds.
    grid, euler, one_step, late : bool
        The switches ``spike_grid``, ``euler_decay``, ``one_step_integral`` and ``late_jump``.
    factors : Factors
    step : Decays
        Factors of a whole step as the layer was loaded with them, with 1 - alpha and 1 - beta.
    """

    time_step: float
    tau_mem: float
    tau_syn: float
    grid: bool
    euler: bool
    one_step: bool
    late: bool
    factors: Factors
    step: Decays


@compiled
def transfer(h, tau_mem, tau_syn):
    """Return K(h), the voltage that a unit of current makes (MODEL, Forward), without cancellation."""
    a, b = h / tau_mem, h / tau_syn
    d = abs(a - b)
    relative = -math.expm1(-d) / d if d > 0.0 else 1.0
    return a * math.exp(-min(a, b)) * relative


@compiled
def encoded(value, factors):
    """Return a factor as a raw number and its value."""
    if not factors.exact:
        return 0, rounded(value, factors.held.single)
    raw, _ = quantized(value, factors.held.fixed, np.uint64(0))
    return raw, raw * factors.held.fixed.resolution


@compiled
def decays_over(h, d):
    """Return the factors of an interval; those of feeding are exact integrals unless the one-step integral is on."""
    whole = h == d.time_step
    if whole and d.one_step:
        return d.step
    syn = mem = 0.0
    if whole:
        alpha, alpha_value, beta, beta_value = (
            d.step.alpha,
            d.step.alpha_value,
            d.step.beta,
            d.step.beta_value,
        )
    else:
        syn = 1.0 - h / d.tau_syn if d.euler else math.exp(-h / d.tau_syn)
        mem = 1.0 - h / d.tau_mem if d.euler else math.exp(-h / d.tau_mem)
        alpha, alpha_value = encoded(syn, d.factors)
        beta, beta_value = encoded(mem, d.factors)
    if d.one_step:
        feed_i, feed_i_value = encoded(1.0 - syn, d.factors)
        feed_v, feed_v_value = encoded(1.0 - mem, d.factors)
    else:
        k = transfer(h, d.tau_mem, d.tau_syn)
        feed_i, feed_i_value = encoded(d.tau_mem / d.tau_syn * k, d.factors)
        feed_v, feed_v_value = encoded(k, d.factors)
    return Decays(alpha, beta, feed_i, feed_v, alpha_value, beta_value, feed_i_value, feed_v_value)


@compiled
def voltage(s, v, i, d):
    """Return V at s with the exact integral, and tau_mem V'."""
    k, syn = transfer(s, d.tau_mem, d.tau_syn), math.exp(-s / d.tau_syn)
    if d.euler:
        return (1.0 - s / d.tau_mem) * v + k * i, i * (syn - k) - v
    now = math.exp(-s / d.tau_mem) * v + k * i
    return now, i * syn - now


@compiled
def crossing(v, i, driving, h, threshold, d):
    """Return when V first reaches the threshold from below in (0, h], or -1.

    With the one-step integral V moves towards the driving current, always in one direction. Else V' has at most one
    root where V can rise to the threshold at all: with exponential decay as in MODEL, with Euler decay because K is
    concave up to the shorter time constant, and a step is shorter. So V is bracketed by its peak, and bisected to the
    last bit.
    """
    if v >= threshold:
        return -1.0
    if d.one_step:
        if driving <= threshold:
            return -1.0
        part = (threshold - v) / (driving - v)
        s = d.tau_mem * part if d.euler else -d.tau_mem * math.log1p(-part)
        return s if s <= h else -1.0
    if i <= 0.0 or i <= v or (not d.euler and i <= threshold):
        return -1.0
    low, peak = 0.0, h
    if voltage(h, v, i, d)[1] < 0.0:
        while True:
            middle = 0.5 * (low + peak)
            if middle <= low or middle >= peak:
                break
            if voltage(middle, v, i, d)[1] > 0.0:
                low = middle
            else:
                peak = middle
    if voltage(peak, v, i, d)[0] < threshold:
        return -1.0
    low = 0.0
    while True:
        middle = 0.5 * (low + peak)
        if middle <= low or middle >= peak:
            return peak
        if voltage(middle, v, i, d)[0] < threshold:
            low = middle
        else:
            peak = middle
