"""Assertions for users' test suites: the exact result beside theirs, and where the two part first.

Tolerances are explicit. Spike times may be off by ``atol`` seconds. A number of a gradient may be off by
``atol + rtol * max |expected|`` over all numbers of its quantity and place: an entry that nearly cancels carries the
error of the entries that it is the sum of, so that a tolerance relative to itself would mean nothing. Where terms of
a gradient cancel, roundings of these are allowed, too (:mod:`eventsolve.compare.cancelling`).
"""

from __future__ import annotations

import sys
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np

from eventsolve.adjoint import Gradients, value_and_grad
from eventsolve.checks import (
    duration,
    instance,
    non_negative,
    real_array,
    require_mapping,
    require_one_of,
    seconds,
    shown,
)
from eventsolve.compare.cancelling import roundings_of
from eventsolve.compare.divergence import (
    Divergence,
    first_spike_divergence,
    margin_of,
    number_divergence,
    spike_time_divergence,
    within,
)
from eventsolve.compare.matching import match_spikes
from eventsolve.compare.records import depths
from eventsolve.io.records.record import QUANTITIES, Record
from eventsolve.network import Network
from eventsolve.problem import Problem
from eventsolve.reductions import USUAL, Reduction
from eventsolve.schedule import layers_of
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.synapses import by_synapse, synapses_of
from eventsolve.testing import failing
from eventsolve.testing.mismatch import Mismatch, Named, diagnosed
from eventsolve.typing import ByOwner, Reals, Weights
from eventsolve.units import UnitWarning

Spikes: TypeAlias = SpikeTrains | Mapping[str, SpikeTrains] | Solution
Results: TypeAlias = Mapping[str, Any]
Implementation: TypeAlias = Callable[[Problem], Results]


def assert_spikes_match(
    actual: Spikes, expected: Spikes, *, atol: float, time_step: float | None = None
) -> None:
    """Raise a :class:`Mismatch` that names the first spike that is late, early, missed or extra.

    Parameters
    ----------
    actual : SpikeTrains, or mapping of population to SpikeTrains, or Solution
        Some of the populations may be left out.
    expected : as actual
        With a :class:`~eventsolve.Solution`, the message also says what would give these spikes.
    atol : float
        Seconds, >= 0.
    time_step : float, optional
        Seconds, of a time-stepped implementation, which is then held against what a clock does to the exact result.

    Raises
    ------
    Mismatch
        If a spike is off.
    ValueError
        If there is nothing to compare, or names or sizes differ.
    """
    atol = non_negative("atol", seconds("atol", atol))
    time_step = _step(time_step)
    got, wanted = _trains("actual", actual), _trains("expected", expected)
    if isinstance(actual, SpikeTrains) != isinstance(expected, SpikeTrains):
        raise ValueError("actual and expected must both be SpikeTrains, or both have populations by name")
    _check_names("actual", got, wanted)
    _check_sizes(got, wanted)
    network = expected.network if isinstance(expected, Solution) else None
    first = first_spike_divergence(wanted, got, atol, None if network is None else _depths(network))
    if first is None:
        return
    found = None
    if isinstance(expected, Solution) and expected.t_start == 0 and expected.stopped is None:
        inputs = {name: t for name, t in wanted.items() if expected.network.population(name).neuron is None}
        problem = Problem(expected.network, inputs, expected.t_end)
        found = diagnosed(problem, _record(problem, {"spikes": got}, time_step), tolerance=0.0, window=atol)
    raise Mismatch(first, found)


def assert_gradients_match(
    actual: Gradients | Mapping[str, ByOwner[Weights]],
    expected: Gradients | Mapping[str, ByOwner[Weights]],
    *,
    rtol: float,
    atol: float = 0.0,
    reduction: Reduction = USUAL,
    problem: Problem | None = None,
    time_step: float | None = None,
) -> None:
    """Raise a :class:`Mismatch` that names the gradient that is off, where, and what it looks like.

    Parameters
    ----------
    actual, expected : Gradients, or mapping of quantity to mapping of place to array
        Quantities are the attributes of :class:`eventsolve.Gradients`, places are populations or projections. Of
        ``actual`` some may be left out; dL/dt is in the order of the expected spikes.
    rtol, atol : float
        See the module docstring; atol in the unit of the gradient.
    reduction : {"mean", "sum", "none"}
        How both are reduced over the batch.
    problem : Problem, optional
        With it and its loss, the message also says what would give these gradients.
    time_step : float, optional
        Seconds, of a time-stepped implementation.

    Raises
    ------
    Mismatch
        If an entry is off.
    ValueError
        If there is nothing to compare, or names or shapes differ.
    """
    terms = _Terms(rtol, atol, reduction, problem, time_step)
    got, wanted = _quantities("actual", actual), _quantities("expected", expected)
    if not any(got.values()):
        raise ValueError("actual must have a gradient to compare; got none")
    _check_names("actual", got, wanted)
    for quantity, places in got.items():
        _check_names(f"{quantity} of actual", places, wanted[quantity])
    agreed: list[str] = []
    roundings = {} if problem is None else roundings_of(problem.network, wanted.get("weight", {}))
    for quantity, place in _backward(problem, got):
        rounding = roundings.get((quantity, place), 0.0)
        trains = problem.solution.spikes[place] if problem is not None and quantity == "spike_times" else None
        compared = _compared(
            terms, quantity, place, wanted[quantity][place], got[quantity][place], trains, rounding
        )
        if not isinstance(compared, Divergence):
            agreed.append(f"{quantity} of {place!r}")
            continue
        found, facts = None, _ratio(terms, wanted[quantity][place], got[quantity][place])
        if problem is not None and problem.loss is not None:
            found = terms.diagnosed(problem, got, 0.0)
        raise Mismatch(compared, found, tuple(agreed), () if found is not None else facts)


class Unsupported(NotImplementedError):
    """What an implementation raises for a problem that it does not claim to solve; the message says what it lacks."""


def _pass_over(reason: Unsupported) -> NoReturn:
    """Have a problem passed over: by Hypothesis, which draws another, or by the test runner, which skips the test."""
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is not None and hypothesis.currently_in_test_context():
        hypothesis.event(f"not supported: {reason}")
        hypothesis.reject()
    raise unittest.SkipTest(f"not supported: {reason}") from reason


@contextmanager
def _units_as_drawn() -> Iterator[None]:
    """Let no problem be warned of its units: strategies draw targets beyond the end on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitWarning)
        yield


@_units_as_drawn()
def check_implementation(
    implementation: Implementation,
    problem: Problem,
    *,
    spikes_atol: float,
    rtol: float,
    atol: float = 0.0,
    reduction: Reduction = USUAL,
    time_step: float | None = None,
) -> dict[str, float]:
    """Run an implementation on a problem and compare what it gives with the exact solution.

    Spikes are compared first, then the loss, then gradients in the order of the backward pass, so that the first
    that is off is the nearest to the cause.

    Parameters
    ----------
    implementation : callable
        Takes a :class:`Problem` and returns a mapping that has any of "spikes" (by population), "loss", and gradients
        by quantity and place: "weight", "delay", "spike_times" (in the order of the spikes that it returns), ...
    problem : Problem
    spikes_atol : float
        Seconds by which a spike may be off.
    rtol, atol : float
        Of the loss and the gradients; see the module docstring.
    reduction : {"mean", "sum", "none"}
        How the implementation reduces loss and gradients over the batch.
    time_step : float, optional
        Seconds, of a time-stepped implementation.

    Returns
    -------
    mapping of str to float
        What was compared, and the largest error in it.

    Raises
    ------
    Mismatch
        At the first quantity that is off.
    ValueError
        If the implementation returns nothing to compare, or other names or shapes than the problem has.
    unittest.SkipTest
        If the implementation raises :class:`Unsupported`. In a Hypothesis test the example is rejected instead, so that
        others are drawn: a test fails that finds no problem which the implementation supports. How many were rejected,
        and why, is among the events of ``--hypothesis-show-statistics``.
    """
    spikes_atol = non_negative("spikes_atol", seconds("spikes_atol", spikes_atol))
    terms = _Terms(rtol, atol, reduction, problem, time_step)
    if not callable(implementation):
        raise TypeError(f"implementation must be a function of a Problem; got {shown(implementation)}")
    test = failing.of(implementation)
    if test is not None and test.passes_over(problem):
        _pass_over(Unsupported("the failing problems that are known are small enough"))
    try:
        results = implementation(problem)
    except Unsupported as reason:
        _pass_over(reason)
    known = ("spikes", "loss", *QUANTITIES)
    if not isinstance(results, Mapping):
        raise ValueError(f"the implementation must return a mapping; got {shown(results)}")
    for name in results:
        if name not in known:
            raise ValueError(f"the implementation returns {shown(name)}, which is none of {', '.join(known)}")
        if name != "loss":
            require_mapping(f"{name} of the implementation", results[name], "places to what is there")
    agreed: dict[str, float] = {}
    for name, compared in _stages(terms, problem, results, spikes_atol):
        if not isinstance(compared, Divergence):
            agreed[name] = compared
            continue

        def found() -> Named | None:
            return terms.diagnosed(problem, results, spikes_atol)

        named = found() if test is None else test.named(problem, found)
        raise Mismatch(compared, named, tuple(agreed))
    if not agreed:
        raise ValueError("the implementation returns nothing to compare")
    return agreed


def _stages(
    terms: _Terms, problem: Problem, results: Results, spikes_atol: float
) -> Iterator[tuple[str, float | Divergence]]:
    """Yield what is compared, and the largest error in it or where it parts, in the order of the computation."""
    spikes, gradients = dict(results.get("spikes", {})), {q: results[q] for q in QUANTITIES if q in results}
    if spikes:
        yield from _compared_spikes(problem, spikes, spikes_atol)
    if "loss" in results or any(gradients.values()):
        if problem.loss is None:
            raise ValueError("the problem has no loss, with which a loss or gradient could be compared")
        value, exact = value_and_grad(problem.solution, problem.loss, reduction=terms.reduction)
        if "loss" in results:
            yield "loss", _compared(terms, "loss", "", value, results["loss"], None)
        for quantity, places in gradients.items():
            _check_names(f"{quantity} of the implementation", places, getattr(exact, quantity))
        roundings = roundings_of(problem.network, exact.weight)
        for quantity, place in _backward(problem, gradients):
            trains, got = None, gradients[quantity][place]
            if quantity == "spike_times":
                trains = problem.solution.spikes[place]
                got = _in_order(place, got, spikes.get(place, trains), trains, spikes_atol)
            wanted = getattr(exact, quantity)[place]
            rounding = roundings.get((quantity, place), 0.0)
            yield f"{quantity} of {place!r}", _compared(terms, quantity, place, wanted, got, trains, rounding)


# -- one comparison ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Terms:
    """On what terms numbers are compared; as the arguments of :func:`check_implementation`."""

    rtol: float
    atol: float
    reduction: Reduction
    problem: Problem | None
    time_step: float | None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
        require_one_of("reduction", self.reduction, ("mean", "sum", "none"))
        if self.problem is not None:
            instance("problem", self.problem, Problem)
        object.__setattr__(self, "time_step", _step(self.time_step))

    def diagnosed(self, problem: Problem, results: Results, window: float) -> Named | None:
        """Return what explains results that failed, if there is something to ask."""
        record = _record(problem, results, self.time_step, self.reduction)
        return diagnosed(problem, record, tolerance=self.rtol, window=window)


def _record(
    problem: Problem, results: Results, time_step: float | None, reduction: Reduction = USUAL
) -> Record:
    """Return results as the record of an implementation."""
    spikes = dict(results.get("spikes", {}))
    of_spikes = results.get("spike_times", {})
    spikes |= {name: problem.solution.spikes[name] for name in of_spikes if name not in spikes}
    return Record(
        "the implementation",
        problem.t_end,
        problem.inputs,
        spikes,
        problem.network,
        problem.loss,
        np.asarray(results["loss"], dtype=np.float64) if "loss" in results else None,
        {quantity: dict(results[quantity]) for quantity in QUANTITIES if quantity in results},
        reduction,
        time_step,
    )


def _compared_spikes(
    problem: Problem, spikes: Mapping[str, SpikeTrains], atol: float
) -> Iterator[tuple[str, float | Divergence]]:
    """Yield the largest shift of every population, or the first spike that is off."""
    exact = problem.solution.spikes
    _check_names("the implementation's spikes", spikes, exact)
    _check_sizes(spikes, exact)
    first = first_spike_divergence(exact, spikes, atol, _depths(problem.network))
    if first is not None:
        yield "spikes", first
    for name, trains in spikes.items():
        yield f"spikes of {name!r}", match_spikes(name, exact[name], trains, atol).max_shift


def _compared(
    terms: _Terms,
    quantity: str,
    place: Any,
    expected: Any,
    got: Any,
    trains: SpikeTrains | None,
    rounding: float = 0.0,
) -> float | Divergence:
    """Return the largest error of one array, or where it is off."""
    name = _named(quantity, place)
    wanted, actual = by_synapse(name, expected, expected), by_synapse(name, got, expected)
    synapses = synapses_of(expected)
    if actual.shape != wanted.shape:
        turned = wanted.ndim > 1 and actual.shape == np.swapaxes(wanted, -1, -2).shape
        raise ValueError(
            f"{name} must have shape {wanted.shape}; got {actual.shape}"
            + (", a transposition: weights are (n_post, n_pre)" if turned else "")
        )
    margin = max(margin_of(wanted, terms.rtol, terms.atol), rounding)
    if trains is not None:
        first = spike_time_divergence(place, trains, wanted, actual, margin)
    else:
        per_sample = terms.reduction == "none" and quantity != "spike_times"
        first = number_divergence(
            quantity, place, wanted, actual, margin, per_sample=per_sample, synapses=synapses
        )
    return float(np.abs(actual - wanted).max(initial=0.0)) if first is None else first


def _ratio(terms: _Terms, expected: Any, got: Any) -> tuple[str, ...]:
    """Say by which factor all numbers are off, if it is one."""
    wanted, actual = by_synapse("expected", expected, expected), by_synapse("actual", got, expected)
    square = float(np.vdot(wanted, wanted))
    if np.count_nonzero(wanted) > 1 and square > 0 and np.isfinite(actual).all():
        ratio = float(np.vdot(wanted, actual)) / square
        if ratio and within(wanted * ratio, actual, margin_of(wanted * ratio, terms.rtol, terms.atol)):
            return (f"all of them are {ratio:.6g} times what was expected",)
    return ()


def _in_order(place: str, values: Any, got: SpikeTrains, expected: SpikeTrains, atol: float) -> Reals:
    """Return dL/dt of an implementation's spikes in the order of the expected ones, with which they pair."""
    array = real_array(_named("spike_times", place), values)
    if array.shape != (got.n_spikes,):
        raise ValueError(f"dL/dt of {place!r} must have shape ({got.n_spikes},); got {array.shape}")
    match = match_spikes(place, expected, got, atol)
    ordered = np.empty(expected.n_spikes)
    ordered[match.exact_index] = array[match.model_index]
    return ordered


# -- arguments -----------------------------------------------------------------------------------------------------


def _backward(problem: Problem | None, got: Mapping[str, ByOwner[Weights]]) -> Iterator[tuple[str, Any]]:
    """Yield (quantity, place) in the order of the backward pass if it is known, dL/dt of a population first."""
    order = [q for q in ("spike_times", *QUANTITIES) if q in got]
    places = list(dict.fromkeys(place for q in order for place in got[q]))
    if problem is not None:
        layers = [layer.name for layer in layers_of(problem.network)]
        depth = {name: k for k, names in enumerate(layers) for name in names}
        places.sort(key=lambda place: -depth.get(place if isinstance(place, str) else place[1], -1))
    seen = set()
    for place in places:
        for quantity in order:
            if place in got[quantity] and (quantity, place) not in seen:
                seen.add((quantity, place))
                yield quantity, place


def _depths(network: Network) -> dict[str, int]:
    return depths(network.populations, network.projections)


def _trains(name: str, spikes: Spikes) -> Mapping[str, SpikeTrains]:
    if isinstance(spikes, Solution):
        return spikes.spikes
    found = {"": spikes} if isinstance(spikes, SpikeTrains) else spikes
    if not isinstance(found, Mapping) or not all(isinstance(t, SpikeTrains) for t in found.values()):
        raise ValueError(
            f"{name} must be SpikeTrains, by population or alone, or a Solution; got {shown(spikes)}"
        )
    return found


def _quantities(name: str, gradients: Any) -> Mapping[str, ByOwner[Weights]]:
    if isinstance(gradients, Gradients):
        return {quantity: getattr(gradients, quantity) for quantity in QUANTITIES}
    if not isinstance(gradients, Mapping):
        raise ValueError(
            f"{name} must be Gradients or a mapping of quantity to gradients; got {shown(gradients)}"
        )
    for quantity in gradients:
        if quantity not in QUANTITIES:
            raise ValueError(f"{name} has {shown(quantity)}, which is none of {', '.join(QUANTITIES)}")
        require_mapping(f"{name}[{quantity!r}]", gradients[quantity], "place to array")
    return gradients


def _check_names(name: str, got: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    for place in got:
        if place not in expected:
            raise ValueError(f"{name} has {shown(place)}; expected are {list(expected)}")


def _check_sizes(got: Mapping[str, SpikeTrains], expected: Mapping[str, SpikeTrains]) -> None:
    if not got:
        raise ValueError("actual must have spikes to compare; got no population")
    for name, trains in got.items():
        instance(f"spikes of {name!r}", trains, SpikeTrains)
        for size in ("n_samples", "n_neurons"):
            a, b = getattr(trains, size), getattr(expected[name], size)
            if a != b:
                raise ValueError(f"spikes of {name!r} must have {size} {b}; got {a}")


def _named(quantity: str, place: Any) -> str:
    return f"{quantity} of {place!r}" if place else quantity


def _step(time_step: object) -> float | None:
    return None if time_step is None else duration("time_step", time_step)
