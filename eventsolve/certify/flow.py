r"""A neuron between two events in balls: the propagator of its voltage and current, and its derivatives.

.. math:: \tau_{mem} \dot V = v_{leak} - V + I, \qquad \tau_{syn} \dot I = -I

With x = s/tau_mem and y = s/tau_syn, s seconds multiply V - v_leak by exp(-x) and I by exp(-y), and a unit of current
adds the response K(s) = x D(x, y) to V, where D(x, y) = (exp(-x) - exp(-y)) / (y - x), exp(-x) at x = y, is a divided
difference: positive and smooth, and its derivatives are divided differences again. None of them cancels when written as

.. math:: D = e^{-\min(x, y)} M_0(d), \quad d = |y - x|, \quad M_0 = \int_0^1 e^{-d t} dt,
    \quad M_1 = \int_0^1 t e^{-d t} dt
"""

from __future__ import annotations

from typing import NamedTuple

from flint import arb, ctx

from eventsolve.certify.balls import ONE, ZERO, decreasing, surely_zero

NARROW = 40
"""Bits to which a ball is known for it to be put into a formula as it is; of a wider one the two ends are."""
SERIES_BELOW = 0.5
"""Up to which d the moment M_0 - M_1 is summed as a series."""
TINY = 5e-324


class Rates(NamedTuple):
    """A neuron's time constants in seconds, and 1/tau_mem, 1/tau_syn and their difference 1/tau_syn - 1/tau_mem."""

    tau_mem: arb
    tau_syn: arb
    mem: arb
    syn: arb
    gap: arb


class Derivatives(NamedTuple):
    """Derivatives of the response K by s, tau_mem and tau_syn."""

    by_time: arb
    by_tau_mem: arb
    by_tau_syn: arb


def rates_of(tau_mem: arb, tau_syn: arb) -> Rates:
    """Return the rates of two time constants; their difference is exactly 0 for the same two numbers."""
    gap = (tau_mem - tau_syn) / (tau_mem * tau_syn)
    return Rates(tau_mem, tau_syn, ONE / tau_mem, ONE / tau_syn, gap)


def propagator(rates: Rates, s: arb) -> tuple[arb, arb, arb]:
    """Return exp(-s/tau_mem), exp(-s/tau_syn) and K(s), for s of either sign."""
    decay_mem, decay_syn = (-(s * rates.mem)).exp(), (-(s * rates.syn)).exp()
    return decay_mem, decay_syn, s * rates.mem * divided_difference(rates, s, decay_mem, decay_syn)


def divided_difference(rates: Rates, s: arb, decay_mem: arb, decay_syn: arb) -> arb:
    """Return D(s/tau_mem, s/tau_syn), given both exponentials."""
    d = s * rates.gap
    return decay_mem * mean_decay(d) if float(d) >= 0.0 else decay_syn * mean_decay(-d)


def mean_decay(d: arb) -> arb:
    """Return M_0(d) = (1 - exp(-d))/d, 1 at 0."""
    return _mean_decay_at(d) if d.rel_accuracy_bits() >= NARROW else decreasing(_mean_decay_at, d)


def response_derivatives(rates: Rates, s: arb, decay_mem: arb, decay_syn: arb, response: arb) -> Derivatives:
    """Return the derivatives of K, given the propagator.

    From dD/dx = -exp(-min) m(x) and dD/dy = -exp(-min) m(y), where m is M_0 - M_1 for the smaller of the two and M_1
    for the larger.
    """
    x, y, d = s * rates.mem, s * rates.syn, s * rates.gap
    if float(d) >= 0.0:
        early, late = _moments(d)
        d_x, d_y = decay_mem * early, decay_mem * late
    else:
        early, late = _moments(-d)
        d_x, d_y = decay_syn * late, decay_syn * early
    difference = divided_difference(rates, s, decay_mem, decay_syn)
    return Derivatives(
        (decay_syn - response) * rates.mem,
        -x * rates.mem * (difference - x * d_x),
        x * y * rates.syn * d_y,
    )


def _moments(d: arb) -> tuple[arb, arb]:
    """Return M_0(d) - M_1(d) and M_1(d)."""
    if d.rel_accuracy_bits() < NARROW:
        return decreasing(_early_at, d), decreasing(_late_at, d)
    early = _early_at(d)
    return early, _mean_decay_at(d) - early


def _mean_decay_at(d: arb) -> arb:
    return ONE if surely_zero(d) else (-d).expm1() / -d


def _early_at(d: arb) -> arb:
    """Return M_0 - M_1 = (d - 1 + exp(-d))/d²."""
    return _series(d) if abs(float(d)) <= SERIES_BELOW else (d + (-d).expm1()) / (d * d)


def _late_at(d: arb) -> arb:
    """Return M_1 = (1 - (1 + d) exp(-d))/d²."""
    return _mean_decay_at(d) - _early_at(d)


def _series(d: arb) -> arb:
    r"""Return sum_k (-d)^k / (k + 2)! up to d = 1/2; the terms left out add up to less than twice the first of them."""
    term, total, k = ONE / 2, ZERO, 2
    while abs(float(term)) > 2.0 ** -(ctx.prec + 8):
        total += term
        k += 1
        term = -term * d / k
    return total + arb(0, 2.0 * abs(float(term)) + TINY)
