"""What wrong spikes look like: the network that would give them, or the way they were written down.

A slip is recognised where another network, solved exactly, has the spikes that were got, within the margin of the
check that failed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from eventsolve.compare.divergence import Divergence
from eventsolve.compare.matching import all_paired
from eventsolve.network import Key, Network, Projection
from eventsolve.problem import Problem
from eventsolve.solve import StoppedError, solve
from eventsolve.spiketrains import SpikeTrains
from eventsolve.testing.slips import SHOWN, Evidence, factors
from eventsolve.units import UnitWarning

Trains: TypeAlias = Mapping[str, SpikeTrains]

# -- other networks ------------------------------------------------------------------------------------------------


def _other_neurons(network: Network, change: Callable[[Any], dict[str, Any]]) -> Network:
    """Return the network with changed parameters of every neuron."""
    changed = {
        p.name: replace(p.neuron, **change(p.neuron))
        for p in network.populations.values()
        if p.neuron is not None
    }
    return network.with_neurons(changed)


def _other_delays(network: Network, delays: Mapping[Key, Any]) -> Network:
    """Return the network with other delays, (n_synapses,) by projection."""
    projections = network.projections
    return network.with_delays({key: projections[key].shaped(values) for key, values in delays.items()})


def _laid_out_otherwise(projection: Projection) -> Any:
    """Return the weights as they are if (n_pre, n_post) is read as (n_post, n_pre)."""
    dense = projection.weight if isinstance(projection.weight, np.ndarray) else projection.weight.toarray()
    return dense.T.reshape(dense.shape)


def _swapped(neuron: Any) -> dict[str, Any]:
    return {"tau_mem": neuron.tau_syn, "tau_syn": neuron.tau_mem}


def _without(**values: float) -> Callable[[Any], dict[str, Any]]:
    """Return a change that puts a parameter at a value, where the neuron has it."""

    def change(neuron: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if hasattr(neuron, name)}

    return change


NEURONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "tau_mem and tau_syn swapped": _swapped,
    "t_ref ignored": _without(t_ref=0.0),
    "v_leak ignored: a leak to 0": _without(v_leak=0.0),
    "v_reset ignored: a reset to 0": _without(v_reset=0.0),
    "v_initial and i_initial ignored: a start from 0": _without(v_initial=0.0, i_initial=0.0),
}
"""Changed parameters that give other spikes."""


def networks(problem: Problem, steps: tuple[float, ...]) -> Iterator[tuple[str, Network]]:
    """Yield other networks and what is wrong with them; ``steps`` are delays in seconds that may be too many."""
    network = problem.network
    projections = network.projections
    if any(p.delay.any() for p in projections.values()):
        none = {key: np.zeros_like(p.delay) for key, p in projections.items()}
        yield "delays ignored", _other_delays(network, none)
    inputs = set(problem.inputs)
    for step in steps:
        how = f"{abs(step):.6g} s {'more' if step > 0 else 'less'}"
        for whose, chosen in (
            ("every projection", list(projections)),
            ("projections from inputs", [key for key in projections if key[0] in inputs]),
            ("projections between neurons", [key for key in projections if key[0] not in inputs]),
        ):
            if chosen:
                later = {key: np.maximum(projections[key].delay + step, 0.0) for key in chosen}
                yield f"a step of delay: {how} on {whose}", _other_delays(network, later)
    dense = {key: p for key, p in projections.items() if isinstance(p.weight, np.ndarray)}
    for keys in [list(dense), *([key] for key in dense)]:
        if keys:
            of = "all weights" if len(keys) == len(dense) else f"the weights of {keys[0]!r}"
            yield (
                f"a transposition: {of} read as (n_pre, n_post)",
                network.with_weights({key: _laid_out_otherwise(dense[key]) for key in keys}),
            )
    for name, change in NEURONS.items():
        yield name, _other_neurons(network, change)
    silence = _without(t_ref=2.0 * problem.t_end)
    yield "one spike per neuron: silence after the first", _other_neurons(network, silence)


def scaled(problem: Problem, time_step: float | None) -> Iterator[tuple[str, Network]]:
    """Yield the network with all weights multiplied by a factor between conventions."""
    projections = problem.network.projections
    found: dict[str, dict[Any, Any]] = {}
    reasons: dict[str, str] = {}
    for key, p in projections.items():
        evidence = Evidence("weight", key, np.empty(p.weight.shape), problem=problem, time_step=time_step)
        for name, reason, factor in factors(evidence):
            rows = np.broadcast_to(factor if factor.ndim else factor[None, None], (p.weight.shape[0], 1))
            per_synapse = np.repeat(rows[:, 0], np.diff(p.row_offsets))
            found.setdefault(name, {})[key] = p.shaped(p.weights * per_synapse)
            reasons[name] = reason
    for name, weights in found.items():
        if len(weights) == len(projections):
            because = f" ({reasons[name]})" if reasons[name] else ""
            yield f"weights multiplied by {name}{because}", problem.network.with_weights(weights)


def _solved(problem: Problem, network: Network) -> Trains | None:
    """Return the spikes of another network; None if it runs away, and so is not what was got."""
    budget = 100 + 10 * max((trains.n_spikes for trains in problem.solution.spikes.values()), default=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitWarning)  # it is tried because it is wrong
            return solve(network, problem.inputs, problem.t_end, max_spikes=budget).spikes
    except StoppedError:
        return None


# -- other ways to write spikes down -------------------------------------------------------------------------------


def _moved(trains: SpikeTrains, times: Any) -> SpikeTrains | None:
    """Return the spikes at other times, None if they are none: before 0, or twice at one time in one neuron."""
    order = np.lexsort((trains.neurons, times, trains.samples))
    moved = times[order], trains.neurons[order], trains.samples[order]
    try:
        return SpikeTrains(*moved, trains.n_samples, trains.n_neurons)
    except ValueError:
        return None


def _stamped(expected: Trains, got: Trains, factor: float, shift: float) -> Trains | None:
    """Return the spikes that were got as they are if the expected ones are written down at factor * t + shift."""
    found = {name: _moved(expected[name], expected[name].times * factor + shift) for name in got}
    whole = {name: trains for name, trains in found.items() if trains is not None}
    return whole if len(whole) == len(found) else None


def _renumbered(expected: Trains, got: Trains, windows: Mapping[str, float]) -> str | None:
    """Say in which order the neurons are, if another order makes them agree."""
    for name, trains in got.items():
        n = trains.n_neurons
        atol = windows[name]
        if all_paired(expected[name], trains, atol):
            continue
        cost = np.array(
            [[not _same_neuron(expected[name], i, trains, j, atol) for j in range(n)] for i in range(n)]
        )
        rows, columns = linear_sum_assignment(cost)
        if cost[rows, columns].any():
            return None
        order = np.argsort(columns)
        return f"neurons of {name!r} in another order: 0..{n - 1} are {order.tolist()}"
    return None


def _same_neuron(a: SpikeTrains, i: int, b: SpikeTrains, j: int, atol: float) -> bool:
    mine, other = a.neurons == i, b.neurons == j
    if not np.array_equal(a.samples[mine], b.samples[other]):
        return False
    return bool((np.abs(a.times[mine] - b.times[other]) <= atol).all())


def recognised_spikes(
    problem: Problem,
    got: Trains,
    first: Divergence,
    *,
    atol: float | Mapping[str, float],
    time_step: float | None,
) -> tuple[str, ...]:
    """Return what wrong spikes look like.

    Parameters
    ----------
    problem : Problem
    got : mapping of population to SpikeTrains
    first : Divergence
        The first of them that is off: by how much it is late is tried as a delay.
    atol : float or mapping of population to float
        Seconds.
    time_step : float or None
        Seconds, of the implementation.
    """
    expected = problem.solution.spikes
    windows = atol if isinstance(atol, Mapping) else dict.fromkeys(got, atol)
    if any(expected[name].n_spikes for name in got) and not any(trains.n_spikes for trains in got.values()):
        return ("no neuron spikes at all",)  # which any network does that is wrong enough
    steps = _steps(first, time_step)
    found = [
        f"times in milliseconds: {factor:g} times the seconds"
        for factor in (1e3, 1e-3)
        if _fits(
            _stamped(expected, got, factor, 0.0),
            got,
            {name: window * max(1.0, factor) for name, window in windows.items()},
        )
    ]
    order = _renumbered(expected, got, windows)
    found += [order] if order else []
    for step in steps:
        if _fits(_stamped(expected, got, 1.0, step), got, windows):
            found.append(f"a step of delay: every spike is written down {step:+.6g} s off, and acts in time")
    for words, network in (*networks(problem, steps), *scaled(problem, time_step)):
        if len(found) >= SHOWN:
            break
        if _fits(_solved(problem, network), got, windows):
            found.append(words)
    return tuple(dict.fromkeys(found))[:SHOWN]


def _steps(first: Divergence, time_step: float | None) -> tuple[float, ...]:
    """Return the delays to try: the time step, and by how much the first spike is late, also as a round number."""
    steps = [] if time_step is None else [time_step, -time_step]
    if first.got is not None and first.expected is not None:
        late = first.got - first.expected
        steps += [late, float(f"{late:.0e}")]
    return tuple(dict.fromkeys(step for step in steps if step))


def _fits(predicted: Trains | None, got: Trains, windows: Mapping[str, float]) -> bool:
    return predicted is not None and all(
        all_paired(predicted[name], trains, windows[name]) for name, trains in got.items()
    )
