"""Assertions for users' test suites: the exact result beside theirs, and where the two part first.

Tolerances are explicit. Spike times may be off by ``atol`` seconds. A number of a gradient may be off by
``atol + rtol * max |expected|`` over all numbers of its quantity and place: an entry that nearly cancels carries the
error of the entries that it is the sum of, so that a tolerance relative to itself would mean nothing.
"""

from __future__ import annotations

import math
import sys
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eventsolve.adjoint import Gradients, value_and_grad
from eventsolve.checks import duration, real, real_array, seconds, shown
from eventsolve.compare.divergence import (
    first_spike_divergence,
    margin_of,
    number_divergence,
    spike_time_divergence,
)
from eventsolve.compare.matching import match_spikes
from eventsolve.compare.records import depths
from eventsolve.io.records.record import QUANTITIES
from eventsolve.network import Network
from eventsolve.problem import Problem
from eventsolve.schedule import layers_of
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.synapses import by_synapse, synapses_of
from eventsolve.testing.mismatch import Mismatch
from eventsolve.testing.slips import Evidence, Reduction, recognised
from eventsolve.testing.spike_slips import recognised_spikes
from eventsolve.units import UnitWarning

Reals = NDArray[np.float64]
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
        With a :class:`~eventsolve.Solution`, the message also names the convention slips that would give these spikes.
    atol : float
        Seconds, >= 0.
    time_step : float, optional
        Seconds, of a time-stepped implementation: a slip that is a step of delay is then recognised in any case.

    Raises
    ------
    Mismatch
        If a spike is off.
    ValueError
        If there is nothing to compare, or names or sizes differ.
    """
    atol = _non_negative("atol", seconds("atol", atol))
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
    slips: tuple[str, ...] = ()
    if isinstance(expected, Solution) and expected.t_start == 0 and expected.stopped is None:
        inputs = {name: t for name, t in wanted.items() if expected.network.population(name).neuron is None}
        problem = Problem(expected.network, inputs, expected.t_end)
        slips = recognised_spikes(problem, got, first, atol=atol, time_step=time_step)
    raise Mismatch(first, slips)


def assert_gradients_match(
    actual: Gradients | Mapping[str, Mapping[Any, Any]],
    expected: Gradients | Mapping[str, Mapping[Any, Any]],
    *,
    rtol: float,
    atol: float = 0.0,
    reduction: Reduction = "mean",
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
        With it, the message also names slips that depend on time constants, on the batch, or on the spikes.
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
    agreed: dict[str, float] = {}
    for quantity, place in _backward(problem, got):
        trains = problem.solution.spikes[place] if problem is not None and quantity == "spike_times" else None
        name = f"{quantity} of {place!r}"
        agreed[name] = _matching(
            terms, quantity, place, wanted[quantity][place], got[quantity][place], trains, agreed
        )


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
    reduction: Reduction = "mean",
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
    spikes_atol = _non_negative("spikes_atol", seconds("spikes_atol", spikes_atol))
    terms = _Terms(rtol, atol, reduction, problem, time_step)
    time_step = terms.time_step
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
    spikes, gradients = dict(results.get("spikes", {})), {q: results[q] for q in QUANTITIES if q in results}
    agreed: dict[str, float] = {}
    if spikes:
        agreed |= _matching_spikes(problem, spikes, spikes_atol, time_step)
    if "loss" in results or any(gradients.values()):
        if problem.loss is None:
            raise ValueError("the problem has no loss, with which a loss or gradient could be compared")
        value, exact = value_and_grad(problem.solution, problem.loss, reduction=reduction)
        if "loss" in results:
            agreed["loss"] = _matching(terms, "loss", "", value, results["loss"], None, agreed)
        for quantity, places in gradients.items():
            _check_names(f"{quantity} of the implementation", places, getattr(exact, quantity))
        for quantity, place in _backward(problem, gradients):
            trains, got = None, gradients[quantity][place]
            if quantity == "spike_times":
                trains = problem.solution.spikes[place]
                got = _in_order(place, got, spikes.get(place, trains), trains, spikes_atol)
            agreed[f"{quantity} of {place!r}"] = _matching(
                terms, quantity, place, getattr(exact, quantity)[place], got, trains, agreed
            )
    if not agreed:
        raise ValueError("the implementation returns nothing to compare")
    return agreed


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
            object.__setattr__(self, name, _non_negative(name, real(name, getattr(self, name))))
        if self.reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {shown(self.reduction)}")
        object.__setattr__(self, "time_step", _step(self.time_step))


def _matching_spikes(
    problem: Problem, spikes: Mapping[str, SpikeTrains], atol: float, time_step: float | None
) -> dict[str, float]:
    """Return the largest shift of every population, or raise a Mismatch."""
    exact = problem.solution.spikes
    _check_names("the implementation's spikes", spikes, exact)
    _check_sizes(spikes, exact)
    first = first_spike_divergence(exact, spikes, atol, _depths(problem.network))
    if first is not None:
        raise Mismatch(first, recognised_spikes(problem, spikes, first, atol=atol, time_step=time_step))
    return {
        f"spikes of {name!r}": match_spikes(name, exact[name], trains, atol).max_shift
        for name, trains in spikes.items()
    }


def _matching(
    terms: _Terms,
    quantity: str,
    place: Any,
    expected: Any,
    got: Any,
    trains: SpikeTrains | None,
    agreed: Mapping[str, float],
) -> float:
    """Return the largest error of one array, or raise a Mismatch."""
    name = _named(quantity, place)
    wanted, actual = by_synapse(name, expected, expected), by_synapse(name, got, expected)
    synapses = synapses_of(expected)
    if actual.shape != wanted.shape:
        turned = wanted.ndim > 1 and actual.shape == np.swapaxes(wanted, -1, -2).shape
        raise ValueError(
            f"{name} must have shape {wanted.shape}; got {actual.shape}"
            + (", a transposition: weights are (n_post, n_pre)" if turned else "")
        )
    margin = margin_of(wanted, terms.rtol, terms.atol)
    if trains is not None:
        first = spike_time_divergence(place, trains, wanted, actual, margin)
    else:
        first = number_divergence(
            quantity,
            place,
            wanted,
            actual,
            margin,
            per_sample=terms.reduction == "none" and quantity != "spike_times",
            synapses=synapses,
        )
    if first is None:
        return float(np.abs(actual - wanted).max(initial=0.0))
    evidence = Evidence(quantity, place, wanted, terms.reduction, terms.problem, terms.time_step, synapses)
    slips = recognised(evidence, actual, rtol=terms.rtol, atol=terms.atol)
    raise Mismatch(first, slips, tuple(agreed))


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


def _backward(problem: Problem | None, got: Mapping[str, Mapping[Any, Any]]) -> Iterator[tuple[str, Any]]:
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


def _quantities(name: str, gradients: Any) -> Mapping[str, Mapping[Any, Any]]:
    if isinstance(gradients, Gradients):
        return {quantity: getattr(gradients, quantity) for quantity in QUANTITIES}
    if not isinstance(gradients, Mapping):
        raise ValueError(
            f"{name} must be Gradients or a mapping of quantity to gradients; got {shown(gradients)}"
        )
    for quantity in gradients:
        if quantity not in QUANTITIES:
            raise ValueError(f"{name} has {shown(quantity)}, which is none of {', '.join(QUANTITIES)}")
    return gradients


def _check_names(name: str, got: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    for place in got:
        if place not in expected:
            raise ValueError(f"{name} has {shown(place)}; expected are {list(expected)}")


def _check_sizes(got: Mapping[str, SpikeTrains], expected: Mapping[str, SpikeTrains]) -> None:
    if not got:
        raise ValueError("actual must have spikes to compare; got no population")
    for name, trains in got.items():
        for size in ("n_samples", "n_neurons"):
            a, b = getattr(trains, size), getattr(expected[name], size)
            if a != b:
                raise ValueError(f"spikes of {name!r} must have {size} {b}; got {a}")


def _named(quantity: str, place: Any) -> str:
    return f"{quantity} of {place!r}" if place else quantity


def _non_negative(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and >= 0; got {value!r}")
    return value


def _step(time_step: object) -> float | None:
    return None if time_step is None else duration("time_step", time_step)
