"""What one time step does to a neuron: factors by which V and I move, and their derivatives by its parameters."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import exprel, factorial

from eventsolve.network import Population
from eventsolve.typing import Reals

Propagators: TypeAlias = Literal["exact", "exponential", "euler", "scaled", "implicit", "rk2", "rk4"]


class Factors(NamedTuple):
    """V becomes decay_mem V + transfer I + (1 - decay_mem) v_leak, and I becomes decay_syn I; each (n_neurons,)."""

    decay_mem: Reals
    decay_syn: Reals
    transfer: Reals


class Slopes(NamedTuple):
    """Derivatives of :class:`Factors` by the time constants, 1/s; each decay has one of its own."""

    decay_mem: Reals
    decay_syn: Reals
    transfer_by_mem: Reals
    transfer_by_syn: Reals


def factors(population: Population, time_step: float, propagators: Propagators) -> tuple[Factors, Slopes]:
    """Return the factors of a step.

    Parameters
    ----------
    population : Population
    time_step : float
        Seconds.
    propagators : {"exact", "exponential", "euler", "scaled", "implicit", "rk2", "rk4"}
        MODEL, Forward; or exponential decays, with I held over the step: transfer = 1 - decay_mem; or
        decay = 1 - time_step/tau and transfer = time_step/tau_mem; or exponential decays with that transfer; or
        backward Euler; or Runge-Kutta's of second or of fourth order, which are those of the exponential's series.
    """
    tau_mem, tau_syn = population.parameter("tau_mem"), population.parameter("tau_syn")
    a, b = time_step / tau_mem, time_step / tau_syn
    if propagators == "euler":
        return Factors(1 - a, 1 - b, a), Slopes(a / tau_mem, b / tau_syn, -a / tau_mem, np.zeros_like(a))
    if propagators == "implicit":
        decay_mem, decay_syn = 1 / (1 + a), 1 / (1 + b)
        by_mem = a * decay_mem**2 / tau_mem
        return (
            Factors(decay_mem, decay_syn, a * decay_mem),
            Slopes(by_mem, b * decay_syn**2 / tau_syn, -by_mem, np.zeros_like(a)),
        )
    if propagators in ("rk2", "rk4"):
        return _series(a, b, tau_mem, tau_syn, int(propagators[2:]))
    decay_mem, decay_syn = np.exp(-a), np.exp(-b)
    by_mem, by_syn = a * decay_mem / tau_mem, b * decay_syn / tau_syn
    if propagators == "scaled":
        return Factors(decay_mem, decay_syn, a), Slopes(by_mem, by_syn, -a / tau_mem, np.zeros_like(a))
    if propagators == "exponential":
        return (
            Factors(decay_mem, decay_syn, -np.expm1(-a)),
            Slopes(by_mem, by_syn, -by_mem, np.zeros_like(a)),
        )
    transfer = a * np.exp(-np.minimum(a, b)) * exprel(-np.abs(a - b))
    # transfer = a G, G = (exp(-b) - exp(-a))/(a - b), whose derivative by a is (exp(-a) - G)/(a - b)
    of_mem = transfer + a**2 * _by_first(a, b, transfer / a)
    of_syn = a * b * _by_first(b, a, transfer / a)
    return (
        Factors(decay_mem, decay_syn, transfer),
        Slopes(by_mem, by_syn, -of_mem / tau_mem, -of_syn / tau_syn),
    )


def _series(a: Reals, b: Reals, tau_mem: Reals, tau_syn: Reals, order: int) -> tuple[Factors, Slopes]:
    """Return the factors of the series up to an order, whose transfer is a sum of a (-a)^i (-b)^k / (i + k + 1)!."""
    terms = 1 / factorial(np.arange(order + 1))
    decay_mem, decay_syn = (np.polynomial.polynomial.polyval(-x, terms) for x in (a, b))
    by_mem, by_syn = (
        np.polynomial.polynomial.polyval(-x, terms[:-1]) * x / tau for x, tau in ((a, tau_mem), (b, tau_syn))
    )
    transfer, of_mem, of_syn = np.zeros_like(a), np.zeros_like(a), np.zeros_like(a)
    for i in range(order):
        for k in range(order - i):
            term = a * (-a) ** i * (-b) ** k * terms[i + k + 1]
            transfer = transfer + term
            of_mem, of_syn = of_mem + (i + 1) * term, of_syn + k * term
    return Factors(decay_mem, decay_syn, transfer), Slopes(
        by_mem, by_syn, -of_mem / tau_mem, -of_syn / tau_syn
    )


def _by_first(a: Reals, b: Reals, g: Reals) -> Reals:
    """Return dG/da, where a and b are close as a series that does not cancel: -exp(-a) sum (a - b)^n / (n + 2)!."""
    x = a - b
    near = np.abs(x) < 0.5  # the first term left out is below 0.5^15/17! = 9e-20
    series = -np.exp(-a) * np.polynomial.polynomial.polyval(x, 1 / factorial(np.arange(2, 17)))
    return np.where(near, series, (np.exp(-a) - g) / np.where(near, 1.0, x))
