"""Factors between conventions: by how much the same numbers differ as two people write them down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import eventsolve as es
from eventsolve.synapses import Synapses
from eventsolve.typing import Integers, Key, Reals


@dataclass(frozen=True, eq=False)
class Numbers:
    """Which numbers a factor multiplies.

    Attributes
    ----------
    quantity : str
        "loss", or a gradient's name.
    place : str or tuple of str
        Population or projection; "" for the loss.
    problem : Problem
    time_step : float or None
        Seconds, of the implementation.
    synapses : Synapses or None
        Of a sparse projection, whose numbers are one for each instead of a matrix.
    neurons : ndarray of int64 or None
        Of dL/dt: whose spike each number is of.
    """

    quantity: str
    place: str | Key
    problem: es.Problem
    time_step: float | None = None
    synapses: Synapses | None = None
    neurons: Integers | None = None

    @property
    def population(self) -> str | None:
        """The neurons whose parameters enter: the target of a projection, or the population itself."""
        if not self.place:
            return None
        name = self.place if isinstance(self.place, str) else self.place[1]
        return name if self.problem.network.population(name).neuron is not None else None

    def per_entry(self, values: Reals) -> Reals:
        """Return one value per neuron, (n,), so that it multiplies the numbers."""
        if self.neurons is not None:
            return values[self.neurons]
        if self.synapses is not None:
            return values[self.synapses[0]]
        return values[:, None] if self.quantity in ("weight", "delay") else values


Factor: TypeAlias = Callable[[Numbers], ArrayLike | None]


def _parameter(*names: str) -> Factor:
    """Return the product of parameters of the contributing neurons, as a factor."""

    def factor(numbers: Numbers) -> ArrayLike | None:
        if numbers.population is None:
            return None
        population = numbers.problem.network.population(numbers.population)
        values = np.prod([population.parameter(name) for name in names], axis=0)
        return numbers.per_entry(values) if np.isfinite(values).all() else None

    return factor


def _gain(constant: str) -> Factor:
    """Return the factor by which a time step scales its input."""

    def factor(numbers: Numbers) -> ArrayLike | None:
        tau = _parameter(constant)(numbers)
        return (
            None
            if tau is None or numbers.time_step is None
            else -np.expm1(-numbers.time_step / np.asarray(tau))
        )

    return factor


def _time_step(numbers: Numbers) -> ArrayLike | None:
    return numbers.time_step


def _duration(numbers: Numbers) -> ArrayLike | None:
    return numbers.problem.t_end


def _n_samples(numbers: Numbers) -> ArrayLike | None:
    return numbers.problem.n_samples


def _n_outputs(numbers: Numbers) -> ArrayLike | None:
    name = getattr(numbers.problem.loss, "population", None)
    return None if name is None else numbers.problem.network.population(name).size


def _product(first: Factor, second: Factor) -> Factor:
    """Return the product of two factors, where both are known."""

    def factor(numbers: Numbers) -> ArrayLike | None:
        a, b = first(numbers), second(numbers)
        return None if a is None or b is None else np.multiply(a, b)

    return factor


def _over(above: Factor, below: Factor) -> Factor:
    """Return the quotient of two factors, where both are known."""

    def factor(numbers: Numbers) -> ArrayLike | None:
        a, b = above(numbers), below(numbers)
        return None if a is None or b is None else np.divide(a, b)

    return factor


def _constant(value: float) -> Factor:
    return lambda numbers: value


FACTORS: dict[str, tuple[Factor, str]] = {
    "tau_syn": (_parameter("tau_syn"), "p_I = -tau_syn lambda_I, or weights in units of charge"),
    "tau_mem": (_parameter("tau_mem"), "p_V = -tau_mem lambda_V"),
    "tau_mem/tau_syn": (
        _over(_parameter("tau_mem"), _parameter("tau_syn")),
        "one time constant for the other",
    ),
    "v_threshold": (_parameter("v_threshold"), "voltages in units of the threshold"),
    "N": (_n_samples, "the number of samples: a sum in place of a mean, or the reverse"),
    "n_outputs": (_n_outputs, "the number of outputs: a mean over them in place of a sum, or the reverse"),
    "2": (_constant(2.0), "the 1/2 of a squared error"),
    "1000": (_constant(1e3), "milliseconds for seconds"),
    "1e6": (_constant(1e6), "milliseconds for seconds, squared"),
    "time_step": (_time_step, "times in steps, or a sum over steps for an integral"),
    "t_end": (_duration, "an integral in place of a mean over the trial, or the reverse"),
    "t_end/time_step": (_over(_duration, _time_step), "a sum over steps in place of a mean, or the reverse"),
    "tau_mem tau_syn": (_parameter("tau_mem", "tau_syn"), ""),
    "tau_mem t_end": (
        _product(_parameter("tau_mem"), _duration),
        "an integral for a mean, and lambda_V for p_V",
    ),
    "tau_mem t_end/time_step": (
        _product(_parameter("tau_mem"), _over(_duration, _time_step)),
        "a sum over steps for a mean, and lambda_V for p_V",
    ),
    "(1 - exp(-time_step/tau_syn))": (_gain("tau_syn"), "input scaled by what a step forgets"),
    "(1 - exp(-time_step/tau_mem))": (_gain("tau_mem"), "input scaled by what a step forgets"),
}
"""Factors between conventions, and why: each is tried with its inverse, and with both signs."""


def factors(numbers: Numbers) -> Iterator[tuple[str, str, Reals]]:
    """Yield name, reason and value of every known factor other than 1, with both signs; the bare sign comes first."""
    yield "-1", "a sign, as for an optimiser that adds", np.float64(-1.0) * np.ones(())
    for name, (function, reason) in FACTORS.items():
        found = function(numbers)
        if found is None:
            continue
        value = np.asarray(found, dtype=np.float64)
        if (value == 1.0).all() or not (value > 0).all():
            continue
        whole = name if name.isalnum() or name.isidentifier() or name.startswith("(") else f"({name})"
        for sign, minus in ((1.0, ""), (-1.0, "-")):
            yield f"{minus}{name}", reason, sign * value
            yield f"{minus}1/{whole}", reason, sign / value
