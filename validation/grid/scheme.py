"""What one time step does to a neuron: factors by which V and I move, and their derivatives by its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import exprel, factorial

from eventsolve.network import Population
from eventsolve.typing import Reals

Propagators: TypeAlias = Literal["exact", "exponential", "euler", "scaled", "implicit", "rk2", "rk4"]


_EXPONENTIAL = 1 / factorial(np.arange(17))
"""The first terms of the exponential's series."""


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


def factors(population: Population, time_step: float, propagators: Propagators) -> Factors:
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
    a, b = time_step / population.parameter("tau_mem"), time_step / population.parameter("tau_syn")
    if propagators == "euler":
        return Factors(1 - a, 1 - b, a)
    if propagators == "implicit":
        decay_mem = 1 / (1 + a)
        return Factors(decay_mem, 1 / (1 + b), a * decay_mem)
    if propagators in ("rk2", "rk4"):
        terms = _EXPONENTIAL[: int(propagators[2:]) + 1]
        decay_mem, decay_syn = (np.polynomial.polynomial.polyval(-x, terms) for x in (a, b))
        return Factors(
            decay_mem, decay_syn, sum((term for *_, term in _series(a, b, terms)), np.zeros_like(a))
        )
    decay_mem, decay_syn = np.exp(-a), np.exp(-b)
    if propagators == "scaled":
        return Factors(decay_mem, decay_syn, a)
    if propagators == "exponential":
        return Factors(decay_mem, decay_syn, -np.expm1(-a))
    return Factors(decay_mem, decay_syn, a * np.exp(-np.minimum(a, b)) * exprel(-np.abs(a - b)))


def slopes(population: Population, time_step: float, propagators: Propagators) -> Slopes:
    """Return the derivatives of :func:`factors`, whose arguments it takes."""
    tau_mem, tau_syn = population.parameter("tau_mem"), population.parameter("tau_syn")
    decay_mem, decay_syn, transfer = factors(population, time_step, propagators)
    a, b = time_step / tau_mem, time_step / tau_syn
    nothing = np.zeros_like(a)
    if propagators == "euler":
        return Slopes(a / tau_mem, b / tau_syn, -a / tau_mem, nothing)
    if propagators == "implicit":
        by_mem = a * decay_mem**2 / tau_mem
        return Slopes(by_mem, b * decay_syn**2 / tau_syn, -by_mem, nothing)
    if propagators in ("rk2", "rk4"):
        terms = _EXPONENTIAL[: int(propagators[2:]) + 1]
        by_mem, by_syn = (
            np.polynomial.polynomial.polyval(-x, terms[:-1]) * x / tau
            for x, tau in ((a, tau_mem), (b, tau_syn))
        )
        of_mem, of_syn = nothing, nothing
        for i, k, term in _series(a, b, terms):
            of_mem, of_syn = of_mem + (i + 1) * term, of_syn + k * term
        return Slopes(by_mem, by_syn, -of_mem / tau_mem, -of_syn / tau_syn)
    by_mem, by_syn = a * decay_mem / tau_mem, b * decay_syn / tau_syn
    if propagators == "scaled":
        return Slopes(by_mem, by_syn, -a / tau_mem, nothing)
    if propagators == "exponential":
        return Slopes(by_mem, by_syn, -by_mem, nothing)
    # transfer = a G, G = (exp(-b) - exp(-a))/(a - b), whose derivative by a is (exp(-a) - G)/(a - b)
    of_mem = transfer + a**2 * _by_first(a, b, transfer / a)
    of_syn = a * b * _by_first(b, a, transfer / a)
    return Slopes(by_mem, by_syn, -of_mem / tau_mem, -of_syn / tau_syn)


def _series(a: Reals, b: Reals, terms: Reals) -> Iterator[tuple[int, int, Reals]]:
    """Yield i, k and a (-a)^i (-b)^k / (i + k + 1)!, which add up to the transfer of the exponential's series."""
    for i in range(terms.size - 1):
        for k in range(terms.size - 1 - i):
            yield i, k, a * (-a) ** i * (-b) ** k * terms[i + k + 1]


def _by_first(a: Reals, b: Reals, g: Reals) -> Reals:
    """Return dG/da, where a and b are close as a series that does not cancel: -exp(-a) sum (a - b)^n / (n + 2)!."""
    x = a - b
    near = np.abs(x) < 0.5  # the first term left out is below 0.5^15/17! = 9e-20
    series = -np.exp(-a) * np.polynomial.polynomial.polyval(x, _EXPONENTIAL[2:17])
    return np.where(near, series, (np.exp(-a) - g) / np.where(near, 1.0, x))
