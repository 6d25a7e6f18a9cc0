"""What a wrong gradient or loss looks like: the usual slips of convention, each as the numbers that it would give.

A slip is recognised where its numbers are the ones that were got, within the margin of the check that failed. So it
names what would explain them, not what is certainly there: of a batch of two, a sum for a mean is also a factor 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.adjoint import value_and_grad
from eventsolve.compare.divergence import margin_of, within
from eventsolve.network import Key
from eventsolve.problem import Problem
from eventsolve.synapses import Synapses, by_synapse
from eventsolve.testing import plain_adjoint
from eventsolve.testing.plain_adjoint import Rules

Reals = NDArray[np.float64]
Reduction: TypeAlias = Literal["mean", "sum", "none"]
MOST_WORK = 200_000
"""Of a problem for which wrong adjoints are computed in plain Python, which takes some microseconds for each step."""
SHOWN = 3
"""Slips that a message names at most, best fit first."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known where a loss or gradient is off.

    Attributes
    ----------
    quantity : str
        "loss", or a gradient's name.
    place : str or tuple of str
        Population or projection; "" for the loss.
    expected : ndarray of float64
        As :class:`eventsolve.Gradients` has it under ``reduction``.
    reduction : {"mean", "sum", "none"}
    problem : Problem or None
        None where only numbers are compared.
    time_step : float or None
        Seconds, of the implementation.
    synapses : Synapses or None
        Of a sparse projection, whose ``expected`` has an entry for each instead of a matrix.
    """

    quantity: str
    place: str | Key
    expected: Reals
    reduction: Reduction = "mean"
    problem: Problem | None = None
    time_step: float | None = None
    synapses: Synapses | None = None

    @property
    def population(self) -> str | None:
        """The neurons whose parameters enter: the target of a projection, or the population itself."""
        if self.problem is None or not self.place:
            return None
        name = self.place if isinstance(self.place, str) else self.place[1]
        return name if self.problem.network.population(name).neuron is not None else None

    def per_entry(self, values: Reals) -> Reals:
        """Return one value per neuron, (n,), so that it multiplies ``expected``."""
        if self.quantity == "spike_times" and self.problem is not None and isinstance(self.place, str):
            entries: Reals = values[self.problem.solution.spikes[self.place].neurons]
            return entries
        if self.synapses is not None:
            return values[self.synapses[0]]
        return values[:, None] if self.quantity in ("weight", "delay") else values


# -- factors -------------------------------------------------------------------------------------------------------

Factor: TypeAlias = Callable[[Evidence], ArrayLike | None]


def _parameter(*names: str) -> Factor:
    """Return the product of parameters of the neurons concerned, as a factor."""

    def factor(evidence: Evidence) -> ArrayLike | None:
        if evidence.population is None or evidence.problem is None:
            return None
        population = evidence.problem.network.population(evidence.population)
        values = np.prod([population.parameter(name) for name in names], axis=0)
        return evidence.per_entry(values) if np.isfinite(values).all() else None

    return factor


def _gain(constant: str) -> Factor:
    """Return the weight that a time step gives to its input, as a factor."""

    def factor(evidence: Evidence) -> ArrayLike | None:
        tau = _parameter(constant)(evidence)
        return (
            None
            if tau is None or evidence.time_step is None
            else -np.expm1(-evidence.time_step / np.asarray(tau))
        )

    return factor


def _time_step(evidence: Evidence) -> ArrayLike | None:
    return evidence.time_step


def _duration(evidence: Evidence) -> ArrayLike | None:
    return None if evidence.problem is None else evidence.problem.t_end


def _n_samples(evidence: Evidence) -> ArrayLike | None:
    return None if evidence.problem is None else evidence.problem.n_samples


def _n_outputs(evidence: Evidence) -> ArrayLike | None:
    name = getattr(evidence.problem.loss, "population", None) if evidence.problem is not None else None
    return (
        None if name is None or evidence.problem is None else evidence.problem.network.population(name).size
    )


def _product(first: Factor, second: Factor) -> Factor:
    """Return the product of two factors, where both are known."""

    def factor(evidence: Evidence) -> ArrayLike | None:
        a, b = first(evidence), second(evidence)
        return None if a is None or b is None else np.multiply(a, b)

    return factor


def _over(above: Factor, below: Factor) -> Factor:
    """Return the quotient of two factors, where both are known."""

    def factor(evidence: Evidence) -> ArrayLike | None:
        a, b = above(evidence), below(evidence)
        return None if a is None or b is None else np.divide(a, b)

    return factor


def _constant(value: float) -> Factor:
    return lambda evidence: value


FACTORS: dict[str, tuple[Factor, str]] = {
    "tau_syn": (_parameter("tau_syn"), "p_I = -tau_syn lambda_I, or weights in units of charge"),
    "tau_mem": (_parameter("tau_mem"), "p_V = -tau_mem lambda_V"),
    "tau_mem/tau_syn": (
        _over(_parameter("tau_mem"), _parameter("tau_syn")),
        "one time constant for the other",
    ),
    "tau_mem tau_syn": (_parameter("tau_mem", "tau_syn"), ""),
    "v_threshold": (_parameter("v_threshold"), "voltages in units of the threshold"),
    "N": (_n_samples, "the number of samples: a sum in place of a mean, or the reverse"),
    "n_outputs": (_n_outputs, "the number of outputs: a mean over them in place of a sum, or the reverse"),
    "2": (_constant(2.0), "the 1/2 of a squared error"),
    "1000": (_constant(1e3), "milliseconds for seconds"),
    "1e6": (_constant(1e6), "milliseconds for seconds, squared"),
    "time_step": (_time_step, "times in steps, or a sum over steps for an integral"),
    "t_end": (_duration, "an integral in place of a mean over the trial, or the reverse"),
    "t_end/time_step": (_over(_duration, _time_step), "a sum over steps in place of a mean, or the reverse"),
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
"""By how much conventions differ, and why: a factor is tried both ways up and with both signs."""


def factors(evidence: Evidence) -> Iterator[tuple[str, str, Reals]]:
    """Yield every factor's name, reason and value that is known and not 1, with both signs; first the bare sign."""
    yield "-1", "a sign, as for an optimiser that adds", np.float64(-1.0) * np.ones(())
    for name, (function, reason) in FACTORS.items():
        found = function(evidence)
        if found is None:
            continue
        value = np.asarray(found, dtype=np.float64)
        if (value == 1.0).all() or not (value > 0).all():
            continue
        whole = name if name.isalnum() or name.isidentifier() or name.startswith("(") else f"({name})"
        for sign, minus in ((1.0, ""), (-1.0, "-")):
            yield f"{minus}{name}", reason, sign * value
            yield f"{minus}1/{whole}", reason, sign / value


# -- gradients of another computation --------------------------------------------------------------------------------

ADJOINTS: dict[str, Rules] = {
    "V' after the reset in place of V' before it, in p_V = -e_k/V'": Rules(slope_after=True),
    "no term -p_V V' of the reset in e_k: what the voltage does after a spike does not depend on when it was": Rules(
        reset_term=False
    ),
    "p_V not reset at spikes: -e_k/V' is added to it": Rules(carries=True),
    "no p_V in dL/dt of a delivery, w (p_I/tau_syn - p_V/tau_mem): lambda_I alone goes back": Rules(
        voltage_share=0.0
    ),
    "no p_I in dL/dt of a delivery, w (p_I/tau_syn - p_V/tau_mem): lambda_V alone goes back": Rules(
        current_share=0.0
    ),
    "the wrong sign of p_V in dL/dt of a delivery, w (p_I/tau_syn - p_V/tau_mem)": Rules(voltage_share=-1.0),
    "the wrong sign of dL/dt of a delivery, w (p_I/tau_syn - p_V/tau_mem)": Rules(-1.0, -1.0),
    "nothing goes back through spikes: every spike has only the loss's own dL/dt": Rules(0.0, 0.0),
    "delays forgotten on the way back: the target's adjoint is read when the spike leaves": Rules(
        delayed=False
    ),
}
"""One thing wrong in the adjoint of MODEL, Backward."""


def _work(problem: Problem) -> int:
    """Return about how many steps of plain Python an adjoint takes: neurons of all samples, and arrivals of spikes."""
    network, spikes = problem.network, problem.solution.spikes
    arrivals = sum(
        spikes[p.pre].n_spikes * -(-p.weights.size // max(1, network.population(p.pre).size))
        for p in network.projections.values()
    )
    return arrivals + problem.n_samples * sum(p.size for p in network.populations.values())


def _adjoint(evidence: Evidence, rules: Rules) -> Reals | None:
    """Return the gradient that these rules give, reduced as the expected one is."""
    problem = evidence.problem
    if problem is None or problem.loss is None or evidence.quantity not in ("weight", "delay", "spike_times"):
        return None
    if _work(problem) > MOST_WORK:
        return None
    found = plain_adjoint.gradients(problem.solution, problem.loss, rules)
    if found is None:
        return None
    values = found[evidence.quantity][evidence.place]
    scale = 1.0 / problem.n_samples if evidence.reduction == "mean" else 1.0
    if evidence.quantity == "spike_times":
        return values * scale
    rows = values if evidence.reduction == "none" else values.sum(axis=0) * scale
    if evidence.synapses is not None:
        return np.asarray(rows, dtype=np.float64)
    return np.asarray(problem.network.projections[cast(Key, evidence.place)].shaped(rows), dtype=np.float64)


def _without_early_term(evidence: Evidence) -> Reals | None:
    """Return loss or gradient without the early-spike term of a time-to-first-spike cross-entropy."""
    problem = evidence.problem
    if problem is None or not getattr(problem.loss, "alpha", 0.0):
        return None
    loss: Any = replace(problem.loss, alpha=0.0)  # type: ignore[type-var]
    value, grads = value_and_grad(problem.solution, loss, reduction=evidence.reduction)
    if evidence.quantity == "loss":
        return np.asarray(value, dtype=np.float64)
    found = getattr(grads, evidence.quantity)[evidence.place]
    return by_synapse(evidence.quantity, found, found)


def _transposed(evidence: Evidence) -> Reals | None:
    """Return the numbers of a projection with target and source neurons in the other order."""
    if evidence.quantity not in ("weight", "delay"):
        return None
    if evidence.synapses is not None:
        return None if evidence.problem is None else _transposed_synapses(evidence, evidence.synapses)
    return np.swapaxes(evidence.expected, -1, -2).reshape(evidence.expected.shape)


def _transposed_synapses(evidence: Evidence, synapses: Synapses) -> Reals | None:
    """Return the same of a sparse projection, if it is square: where the other order has no synapse, 0."""
    assert evidence.problem is not None
    shape = evidence.problem.network.projections[cast(Key, evidence.place)].weight.shape
    if shape[0] != shape[1]:
        return None
    there = {(int(post), int(pre)): k for k, (post, pre) in enumerate(zip(*synapses, strict=True))}
    places = np.array([there.get((int(pre), int(post)), -1) for post, pre in zip(*synapses, strict=True)])
    return np.where(places >= 0, evidence.expected[..., places], 0.0)


def predictions(evidence: Evidence) -> Iterator[tuple[str, Reals]]:
    """Yield every slip that applies, in words, and the numbers that it gives."""
    for name, reason, factor in factors(evidence):
        yield f"a factor {name}" + (f" ({reason})" if reason else ""), evidence.expected * factor
    transposed = _transposed(evidence)
    if transposed is not None:
        yield "a transposition: (n_pre, n_post) in place of (n_post, n_pre)", transposed
    silent = _without_early_term(evidence)
    if silent is not None:
        yield "no early-spike term, alpha (exp(t/tau1) - 1), in the loss", silent
    for name, rules in ADJOINTS.items():
        found = _adjoint(evidence, rules)
        if found is not None:
            yield name, found


def recognised(evidence: Evidence, got: Reals, *, rtol: float, atol: float) -> tuple[str, ...]:
    """Return what wrong numbers look like, best fit first; a constant ratio without a name is said as it is."""
    if not np.isfinite(got).all():
        return ()
    fits = []
    with np.errstate(over="ignore", invalid="ignore"):  # a slip whose numbers are not finite explains nothing
        for words, predicted in predictions(evidence):
            margin = margin_of(predicted, rtol, atol)
            if within(predicted, got, margin) and not within(predicted, evidence.expected, 0.0):
                fits.append((float(np.abs(got - predicted).max(initial=0.0)), words))
    if fits:
        return tuple(words for _, words in sorted(fits, key=lambda fit: fit[0])[:SHOWN])
    square = float(np.vdot(evidence.expected, evidence.expected))
    if np.count_nonzero(evidence.expected) > 1 and square > 0:
        ratio = float(np.vdot(evidence.expected, got)) / square
        if ratio and within(evidence.expected * ratio, got, margin_of(evidence.expected * ratio, rtol, atol)):
            return (f"a common factor of {ratio:.6g}, which has no name here",)
    return ()
