"""Gradients by central differences, in as many digits as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count, instance, require_one_of, shown
from eventsolve.jobs import advancing, bar_of
from eventsolve.multiprecision.forward import GUARD_DIGITS, solved_to
from eventsolve.multiprecision.problems import (
    MOST_DIGITS,
    NEURON_PARAMETERS,
    Context,
    Mpf,
    Parameter,
    Problem,
    all_neurons,
    checked_digits,
    context,
    is_readout,
    problem,
    require_causal,
)
from eventsolve.multiprecision.solution import ExactSolution
from eventsolve.network import Network
from eventsolve.spiketrains import SpikeTrains

Loss: TypeAlias = Callable[[ExactSolution], Mpf]


class SpikeCountChanged(ArithmeticError):
    """A spike appears or vanishes within one difference step: the gradient is not defined there."""


def gradient(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    loss: Loss,
    wrt: Iterable[Parameter],
    *,
    digits: int = 30,
    step: float | None = None,
    progress: bool = False,
) -> dict[Parameter, NDArray[np.object_]]:
    """Differentiate a loss by central differences, two or three forward solutions for every number.

    Parameters
    ----------
    network, inputs, t_end
        As for :func:`problem`, errors too.
    loss : callable
        Takes an :class:`ExactSolution` and returns an mpf (any reduction over samples is its own affair). It
        must compute in the solution's numbers and ``solution.context``: a global ``mpmath.mpf`` rounds to the
        global precision.
    wrt : iterable of parameters
        ("weight", key), ("delay", key), ("spike_times", input), or (name, population) with a name of
        ``tau_mem``, ``tau_syn``, ``v_threshold``, ``v_reset``, ``v_leak``, ``t_ref``, ``v_initial`` and
        ``i_initial``.
    digits : int
        Digits of the result relative to its natural scale, see Notes; from 1 to 10,000.
    step : float, optional
        Relative step; by default 10**-(digits/2 + 10).
    progress : bool
        Whether to show a progress bar of the numbers on stderr.

    Returns
    -------
    dict of parameter to ndarray of mpf
        (n_synapses,) for "weight" and "delay", in the order of ``Projection.weights``; (n_spikes,) for
        "spike_times", in the order of ``SpikeTrains.times``; else (n,).

    Raises
    ------
    SpikeCountChanged
        If a neuron's number of spikes changes within a step.
    ValueError
        If a parameter does not exist, digits are not from 1 to 10,000, or the step is not from 1e-10000 to 1e-3.

    Notes
    -----
    The step h is ``step`` times the scale of the parameter: the time constant itself, the smallest time
    constant for other times, the smallest v_threshold - v_reset for weights and voltages. The truncation
    error of (f(+h) - f(-h))/2h is h² f'''/6: with the default step 10**-(digits + 20) f''', which leaves f'''
    twenty digits to grow near a grazing crossing. The forward solutions are computed to digits - log10(step)
    digits, so that rounding, divided by h, stays below 10**-digits of the scale as well. A derivative much
    smaller than loss/scale has accordingly fewer digits.

    A number that must not become negative and lies within h of it (a zero delay, a zero t_ref, an input at
    time 0) is differentiated from the right, (-3 f(0) + 4 f(h) - f(2h))/2h, whose truncation error h² f'''/3
    is of the same order. A perturbed problem is thereby always causal.

    A step in a time also takes arrivals at one time apart. Where the result depends on their order (delta
    synapses near the threshold) there is no gradient; unless a spike appears or vanishes, this goes unnoticed.
    """
    digits = checked_digits(digits)
    given = problem(network, inputs, t_end)
    gradients = {p: np.empty(len(_values(given, p)), dtype=np.object_) for p in wrt}
    n_numbers = sum(column.size for column in gradients.values())
    with advancing(bar_of(progress, "differentiating", n_numbers)) as advance:
        for parameter, column in gradients.items():
            for index in range(column.size):
                column[index] = derivative(given, loss, parameter, index, digits=digits, step=step)
                advance(1)
    return gradients


def derivative(
    given: Problem,
    loss: Loss,
    parameter: Parameter,
    index: int,
    *,
    digits: int = 30,
    step: float | None = None,
) -> Mpf:
    """Differentiate a loss with respect to one number of a problem; everything as in :func:`gradient`."""
    instance("given", given, Problem)
    if not callable(loss):
        raise TypeError(f"loss must be a function of an ExactSolution; got {shown(loss)}")
    digits = checked_digits(digits)
    require_causal(given)
    numbers = _values(given, parameter)
    count("index", index, 0, len(numbers) - 1)
    ctx = context(2 * digits + GUARD_DIGITS)
    relative = ctx.mpf(10) ** -(digits // 2 + 10) if step is None else _checked_step(ctx, step)
    solved_digits = digits + int(ctx.ceil(-ctx.log10(relative)))
    ctx = context(solved_digits + GUARD_DIGITS)
    value = ctx.mpf(numbers[index])
    h = relative * _scale(ctx, given, parameter, value)
    one_sided = parameter[0] in ("delay", "t_ref", "spike_times") and value < h
    stencil = {0: -3, 1: 4, 2: -1} if one_sided else {-1: -1, 1: 1}
    solutions = {
        k: solved_to(_replaced(given, parameter, index, value + k * h), solved_digits) for k in stencil
    }
    counted = {k: _counts(solution) for k, solution in solutions.items()}
    reference = next(iter(counted.values()))
    for k, found in counted.items():
        for where in reference:
            if found[where] != reference[where]:
                population, sample, neuron = where
                raise SpikeCountChanged(
                    f"the gradient is not defined: neuron {neuron} of {population!r} in sample {sample} has "
                    f"{reference[where]} or {found[where]} spikes, as {parameter} [{index}] moves by "
                    f"{ctx.nstr(abs(k) * h, 3)}"
                )
    terms = [stencil[k] * _checked_value(ctx, loss(solution)) for k, solution in solutions.items()]
    return sum(terms, ctx.mpf(0)) / (2 * h)


def _checked_value(ctx: Context, value: Any) -> Mpf:
    try:
        return ctx.mpf(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"loss must return a number; got {shown(value)}") from error


def _checked_step(ctx: Context, step: object) -> Mpf:
    try:
        relative = ctx.mpf(step)
    except (TypeError, ValueError):
        relative = ctx.nan
    if not ctx.mpf(10) ** -MOST_DIGITS <= relative <= ctx.mpf("1e-3"):
        raise ValueError(f"step must be a number from 1e-{MOST_DIGITS} to 1e-3; got {shown(step)}")
    return relative


def _values(given: Problem, parameter: Parameter) -> list[Mpf]:
    """Every number that a parameter names, in the order of the gradient."""
    if not (isinstance(parameter, tuple) and len(parameter) == 2 and isinstance(parameter[0], str)):
        raise TypeError(
            f"a parameter must be (name, population) or (name, projection), a tuple; got {shown(parameter)}"
        )
    name, where = parameter
    if name in ("weight", "delay"):
        _require_known(parameter, given.synapses)
        return [getattr(synapse, name) for synapse in given.synapses[where]]
    if name == "spike_times":
        _require_known(parameter, given.inputs)
        return [time for sample in given.inputs[where] for time, _ in sample]
    if name not in NEURON_PARAMETERS:
        raise ValueError(
            f"parameter {name!r} is none of {('weight', 'delay', 'spike_times', *NEURON_PARAMETERS)}"
        )
    _require_known(parameter, given.neurons)
    neurons = given.neurons[where]
    if name in ("v_threshold", "v_reset", "t_ref") and any(map(is_readout, neurons)):
        raise ValueError(f"population {where!r} does not spike: it has no {name}")
    return [getattr(neuron, name) for neuron in neurons]


def _replaced(given: Problem, parameter: Parameter, index: int, value: Mpf) -> Problem:
    """Return the problem with one number replaced."""
    name, where = parameter
    if name in ("weight", "delay"):
        synapses = _at(given.synapses[where], index, lambda synapse: replace(synapse, **{name: value}))
        return replace(given, synapses={**given.synapses, where: synapses})
    if name == "spike_times":
        samples = given.inputs[where]
        flat = [(number, spike) for number, sample in enumerate(samples) for spike in sample]
        flat = list(_at(flat, index, lambda entry: (entry[0], (value, entry[1][1]))))
        moved = tuple(tuple(spike for number, spike in flat if number == k) for k in range(len(samples)))
        return replace(given, inputs={**given.inputs, where: moved})
    neurons = _at(given.neurons[where], index, lambda neuron: replace(neuron, **{name: value}))
    return replace(given, neurons={**given.neurons, where: neurons})


def _at(items: Sequence[Any], index: int, change: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple(change(item) if k == index else item for k, item in enumerate(items))


def _scale(ctx: Context, given: Problem, parameter: Parameter, value: Mpf) -> Mpf:
    """Return the size against which a step in the parameter is small."""
    name = parameter[0]
    if name in ("tau_mem", "tau_syn"):
        return value
    if name in ("delay", "t_ref", "spike_times"):
        return min((ctx.mpf(min(n.tau_mem, n.tau_syn)) for n in all_neurons(given)), default=ctx.mpf(1))
    spans = (ctx.mpf(n.v_threshold) - ctx.mpf(n.v_reset) for n in all_neurons(given) if not is_readout(n))
    return min(spans, default=ctx.mpf(1))


def _counts(solution: ExactSolution) -> dict[tuple[str, int, int], int]:
    counts = {
        (population, sample, neuron): 0
        for population, samples in solution.spikes.items()
        for sample in range(len(samples))
        for neuron in range(solution.problem.size(population))
    }
    for population, samples in solution.spikes.items():
        for sample, spikes in enumerate(samples):
            for _, neuron in spikes:
                counts[population, sample, neuron] += 1
    return counts


def _require_known(parameter: Parameter, known: Mapping[Any, Any]) -> None:
    require_one_of(f"what {parameter[0]!r} is of", parameter[1], known)
