"""Weights, thresholds and initial states with which neurons would spike as recorded, given the spikes that they get.

Between its spikes, which are recorded, V of a neuron is linear in its weights, its leak, its reset and its initial
state. That it crosses the threshold where it spikes, and nowhere else, bounds by how much any one of them may be off:
all numbers that do are an interval, which is computed and not searched for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.network import Population, Projection
from eventsolve.typing import Integers, Key, Reals
from validation.diagnosis.evidence import Evidence
from validation.diagnosis.guesses import arrow, with_parameters
from validation.diagnosis.scans import Family, Range
from validation.diagnosis.twins import Clock
from validation.grid.scheme import factors
from validation.grid.steps import in_steps, to_steps
from validation.grid.tables import transports

LARGEST = 20_000_000
"""Most numbers of a neuron that are kept."""
OWN = ("v_leak", "v_initial", "i_initial", "v_reset", "v_threshold")
"""Parameters of a neuron in which V is linear, in the order of their columns after those of synapses."""
STEP = 1.5e-5
"""What a step of a neuron costs here, in seconds of a usual machine."""
ROUND = 17
"""Most digits of a number."""


class Synapse(NamedTuple):
    """A projection, and the place of the synapse in its weights."""

    key: Key
    place: int


@dataclass(frozen=True, eq=False)
class Responses:
    """What V less its threshold is made of.

    Attributes
    ----------
    synapses : list of Synapse
        Those of the neuron, by column.
    values : ndarray of float64, (n_synapses + 5,)
        Weights, and the parameters of ``OWN``.
    silent, spiking : ndarray of float64, (n_points, n_synapses + 5)
        What V less its threshold changes by, per unit of each, where the neuron is free and does not spike, and where
        it does.
    """

    synapses: list[Synapse]
    values: Reals
    silent: Reals
    spiking: Reals

    def bounds(self, direction: Reals) -> tuple[float, float]:
        """Return the least and largest x with which values + x direction make the neuron spike as recorded."""
        low, high = -np.inf, np.inf
        for points, sign in ((self.silent, 1.0), (self.spiking, -1.0)):
            level, slope = sign * (points @ self.values), sign * (points @ direction)
            with np.errstate(divide="ignore", invalid="ignore"):
                x = -level / slope
            if (level[slope == 0] > 0).any():
                return np.inf, -np.inf
            high = min(high, float(x[slope > 0].min(initial=np.inf)))
            low = max(low, float(x[slope < 0].max(initial=-np.inf)))
        return low, high


def responses(evidence: Evidence, scheme: Clock, population: str, neuron: int) -> Responses | None:
    """Return what V of a neuron is made of, None if that is too much, or not linear."""
    made = _made(evidence, scheme, population, neuron)
    if made is None or (made.spikes & ~made.checked).any():
        return None
    silent, spiking = made.points[made.checked & ~made.spikes], made.points[made.spikes]
    return Responses(made.synapses, made.values, silent, spiking)


class _Made(NamedTuple):
    """What V less its threshold is made of at every point, (n_points, n_samples, n), and where spikes are told."""

    synapses: list[Synapse]
    values: Reals
    points: Reals
    checked: Any
    spikes: Any


def _made(
    evidence: Evidence, scheme: Clock, population: str, neuron: int, *, together: bool = False
) -> _Made | None:
    """Return what V of a neuron is made of, a column for each of its synapses or for all ``together``."""
    problem = evidence.problem
    network, n_samples, n_steps = problem.network, problem.n_samples, evidence.n_steps
    into = {key: p for key, p in network.projections.items() if key[1] == population}
    places = {key: np.arange(p.row_offsets[neuron], p.row_offsets[neuron + 1]) for key, p in into.items()}
    synapses = [Synapse(key, int(k)) for key, of in places.items() for k in of]
    weights = [float(network.projections[s.key].weights[s.place]) for s in synapses]
    width = len(OWN) + (1 if together else len(synapses))
    if n_samples * (n_steps + 1) * width > LARGEST or any(p.synapse == "delta" for p in into.values()):
        return None
    p = network.population(population)
    late = transports(network, scheme.transport, scheme.feedback)
    arrivals = np.zeros((n_steps + 1, n_samples, width))
    for column, (key, k) in enumerate(synapses):
        samples, steps = _sent(evidence, scheme, key, network.projections[key], k)
        steps = steps + late[key]
        inside = steps <= n_steps
        at, brought = (0, weights[column]) if together else (column, 1.0)
        np.add.at(arrivals[..., at], (steps[inside], samples[inside]), brought)
    own = [float(p.parameter(name)[neuron]) for name in OWN]
    values = np.array([*([1.0] if together else weights), *own])
    spikes = np.zeros((n_steps + 1, n_samples), dtype=np.bool_)
    rows = evidence.spikes[population]
    mine = rows[rows[:, 2] == neuron]
    if mine.size and (mine[:, 1].min() < 0 or mine[:, 1].max() > n_steps):
        return None
    spikes[mine[:, 1], mine[:, 0]] = True
    points, free = _run(p, neuron, evidence.time_step, scheme, arrivals, spikes)
    checked = free.copy()
    checked[0] = False  # no spike is looked for before the first step
    return _Made(synapses, values, points, checked, spikes)


def contradictions(
    evidence: Evidence, scheme: Clock, neurons: Mapping[str, Sequence[int]], enough: int
) -> int | None:
    """Return how often some neurons contradict a scheme, up to about ``enough``; None if V is not linear.

    Each neuron receives the recorded spikes and is reset at its recorded ones, so that no contradiction follows from
    another. A contradiction is a recorded spike at which V is held or not above the threshold, or a stretch without a
    spike in which V is above it.
    """
    count = 0
    for population, of in neurons.items():
        for neuron in of:
            if count >= enough:
                return count
            made = _made(evidence, scheme, population, neuron, together=True)
            if made is None:
                return None
            above = (made.points @ made.values > 0) & made.checked
            silent = above & ~made.spikes
            count += int((silent[1:] & ~silent[:-1]).sum() + silent[:1].sum() + (made.spikes & ~above).sum())
    return count


def _sent(
    evidence: Evidence, scheme: Clock, key: Key, projection: Projection, place: int
) -> tuple[Integers, Integers]:
    """Return samples and steps at which packets arrive over a synapse, if they are not in transport."""
    problem, h = evidence.problem, evidence.time_step
    source = projection.sources[place]
    if key[0] in problem.inputs:
        trains = problem.inputs[key[0]]
        own = trains.neurons == source
        samples, steps = trains.samples[own], to_steps(key[0], trains, h, scheme.input_rounding)[own]
    else:
        rows = evidence.spikes[key[0]]
        own = rows[:, 2] == source
        samples, steps = rows[own, 0], rows[own, 1]
    delay = int(in_steps(projection.delay[place : place + 1], h)[0])
    return samples, steps + delay


def _run(
    p: Population, neuron: int, h: float, scheme: Clock, arrivals: Reals, spikes: Any
) -> tuple[Reals, Any]:
    """Return V less its threshold per unit of every column, and where V is free, step by step."""
    decay_mem, decay_syn, transfer = (x[neuron] for x in factors(p, h, scheme.propagators))
    n_steps, n_samples, width = arrivals.shape
    leak, v_initial, i_initial, v_reset, v_threshold = range(width - len(OWN), width)
    subtracts = getattr(p.neuron, "reset", "value") == "subtract"
    held = int(in_steps(p.parameter("t_ref")[neuron : neuron + 1], h)[0])
    v, i = np.zeros((n_samples, width)), np.zeros((n_samples, width))
    v[:, v_initial], i[:, i_initial] = 1.0, 1.0
    points, free = np.empty_like(arrivals), np.ones(spikes.shape, dtype=np.bool_)
    until = np.full(n_samples, -1)
    for k in range(n_steps):
        if k:
            was, i = i, decay_syn * i
            if scheme.order == "current_first":
                i = i + arrivals[k]
                was = i
            moved = decay_mem * v + transfer * was
            moved[:, leak] += 1 - decay_mem
            free[k] = k > until
            v = moved if free[k].all() else np.where(free[k][:, None], moved, v)
        points[k] = v
        fires = spikes[k]
        if fires.any():
            v = v.copy()
            if subtracts:
                v[fires, v_threshold] -= 1.0
            else:
                v[fires] = 0.0
            v[fires, v_reset] += 1.0
            until[fires] = k + held
        if scheme.order != "current_first":
            i = i + arrivals[k]
    points[:, :, v_threshold] -= 1.0
    return points, free


# -- what may be off ---------------------------------------------------------------------------------------------------


def of_a_neuron(evidence: Evidence, scheme: Clock, population: str, neuron: int) -> Iterator[Range]:
    """Yield each number of one neuron that may be another, with all those with which it spikes as recorded."""
    found = responses(evidence, scheme, population, neuron)
    if found is None or not found.spiking.size:  # silent: whatever is little enough makes it so
        return
    network = evidence.problem.network
    whose = f"neuron {neuron} of {population!r}"
    where = f"spikes of {population}, {whose}"
    for column, (key, place) in enumerate(found.synapses):
        p = network.projections[key]
        weight, source = float(p.weights[place]), int(p.sources[place])

        def words(x: float, key: Key = key, source: int = source, weight: float = weight) -> str:
            of = f"from neuron {source} of {key[0]!r} to {whose}"
            if x == 0:
                return f"one synapse missing: weight 0 in place of {weight:.4g} {of}"
            return f"one synapse has another weight, about {x:.4g} in place of {weight:.4g}: {of}"

        def changed(x: float, key: Key = key, place: int = place) -> es.Network:
            p = network.projections[key]
            weights = p.weights.copy()
            weights[place] = x
            return network.with_weights({key: p.shaped(weights)})

        unit = np.zeros(found.values.size)
        unit[column] = 1.0
        top = 10 * max(float(np.abs(p.weights).max()), 1e-300)
        low, high = (weight + x for x in found.bounds(unit))
        yield from _range(
            Family(words, f"weights {arrow(key)}; {where}", changed, ()), low, high, top, (0.0, -weight)
        )
    n = len(found.synapses)
    rows = np.concatenate([found.values[:n], np.zeros(len(OWN))])
    low, high = (1 + x for x in found.bounds(rows))
    yield from _range(_scaled(network, population, neuron, where), low, high, 10.0, (0.0, -1.0))
    yield from _of_parameters(network, population, (neuron,), [found], whose, where)


def of_a_population(evidence: Evidence, scheme: Clock, population: str) -> Iterator[Range]:
    """Yield each number of all neurons of a population that may be another, as :func:`of_a_neuron`."""
    network = evidence.problem.network
    size = network.population(population).size
    every = [responses(evidence, scheme, population, neuron) for neuron in range(size)]
    found = [r for r in every if r is not None]
    if len(found) < size:
        return
    where = f"spikes of {population}"
    yield from _of_parameters(network, population, tuple(range(size)), found, population, where)
    for key in (key for key in network.projections if key[1] == population):
        yield from _of_sources(network, key, found, where)
        p = network.projections[key]
        ones = [np.array([float(s.key == key) for s in r.synapses] + [0.0] * len(OWN)) for r in found]
        low, high = (1 + x for x in _joint((r, r.values * one) for r, one in zip(found, ones, strict=True)))

        def multiplied(x: float, key: Key = key) -> str:
            return f"weights multiplied by about {x:.4g}: {arrow(key)}"

        def scaled(x: float, key: Key = key) -> es.Network:
            p = network.projections[key]
            return network.with_weights({key: p.shaped(p.weights * x)})

        family = Family(multiplied, f"weights {arrow(key)}; {where}", scaled, ())
        yield from _range(family, low, high, 10.0, (0.0, -1.0))
        low, high = _joint(zip(found, ones, strict=True))

        def words(x: float, key: Key = key) -> str:
            return f"a constant of about {x:.4g} is added to all weights: {arrow(key)}"

        def added(x: float, key: Key = key) -> es.Network:
            p = network.projections[key]
            return network.with_weights({key: p.shaped(p.weights + x)})

        top = 10 * float(np.abs(p.weights).max(initial=0.0))
        yield from _range(Family(words, f"weights {arrow(key)}; {where}", added, ()), low, high, top, ())


def _of_sources(network: es.Network, key: Key, found: Sequence[Responses], where: str) -> Iterator[Range]:
    """Yield the neurons that may send by other weights than they have."""
    p = network.projections[key]
    for source in np.unique(p.sources).tolist():
        directions = []
        for r in found:
            mine = [s.key == key and p.sources[s.place] == source for s in r.synapses]
            directions.append((r, np.where([*mine, *[False] * len(OWN)], r.values, 0.0)))

        def words(x: float, source: int = source) -> str:
            of = f"that neuron {source} of {key[0]!r} has to {key[1]!r}"
            return (
                f"weights missing: 0, all {of}"
                if x == 0
                else f"weights multiplied by about {x:.4g}, all {of}"
            )

        def scaled(x: float, source: int = source) -> es.Network:
            return network.with_weights({key: p.shaped(np.where(p.sources == source, x, 1.0) * p.weights)})

        low, high = (1 + x for x in _joint(directions))
        family = Family(words, f"weights {arrow(key)}; {where}", scaled, ())
        yield from _range(family, low, high, 10.0, (0.0, -1.0))


def _of_parameters(
    network: es.Network,
    population: str,
    neurons: tuple[int, ...],
    found: Sequence[Responses],
    whose: str,
    where: str,
) -> Iterator[Range]:
    """Yield the parameters of neurons that may have another value, the same one for all."""
    p = network.population(population)
    for column, name in enumerate(OWN):
        values = p.parameter(name)
        if np.ptp(values[list(neurons)]) != 0:
            continue
        now = float(values[neurons[0]])
        unit = np.zeros(len(OWN))
        unit[column] = 1.0
        low, high = _joint((r, np.concatenate([np.zeros(len(r.synapses)), unit])) for r in found)

        def words(x: float, name: str = name, now: float = now) -> str:
            return f"{name} is about {x:.4g} in place of {now:.4g}: {whose}"

        def changed(x: float, name: str = name, values: Reals = values) -> es.Network:
            other = values.copy()
            other[list(neurons)] = x
            return with_parameters(network, population, **{name: other})

        yield from _range(
            Family(words, where, changed, ()), now + low, now + high, 10 * (abs(now) + 1), (0.0,)
        )


def _scaled(network: es.Network, population: str, neuron: int, where: str) -> Family:
    """Return that all weights of a neuron are multiplied by a number."""

    def changed(x: float) -> es.Network:
        scaled = {}
        for key, p in network.projections.items():
            if key[1] == population:
                weights = p.weights.copy()
                weights[p.row_offsets[neuron] : p.row_offsets[neuron + 1]] *= x
                scaled[key] = p.shaped(weights)
        return network.with_weights(scaled)

    words = f"all weights of neuron {neuron} of {population!r} multiplied by about {{:.4g}}"
    return Family(words.format, where, changed, ())


def _joint(directions: Any) -> tuple[float, float]:
    """Return the bounds that several neurons have in common."""
    low, high = -np.inf, np.inf
    for found, direction in directions:
        one, other = found.bounds(direction)
        low, high = max(low, one), min(high, other)
        if not low < high:
            break
    return low, high


def _range(
    family: Family, low: float, high: float, top: float, round_ones: Sequence[float]
) -> Iterator[Range]:
    """Yield the numbers between bounds, and beside them those up to ``top``, if there are any."""
    low, high = max(low, -top), min(high, top)
    if not low < high:
        return
    inside = [x for x in round_ones if low < x < high]
    yield Range(family, low, high, inside[0] if inside else roundest(low, high))


def roundest(low: float, high: float) -> float:
    """Return the number of fewest digits between two, nearest to their middle."""
    middle = (low + high) / 2
    for digits in range(1, ROUND):
        x = float(f"{middle:.{digits}g}")
        if low < x < high:
            return x
    return middle


def swaps(
    evidence: Evidence, scheme: Clock, population: str, neurons: Sequence[int]
) -> Iterator[tuple[str, str, es.Network]]:
    """Yield two synapses, or two rows of a projection, exchanged, with which one or two neurons spike as recorded."""
    network = evidence.problem.network
    found = {n: responses(evidence, scheme, population, n) for n in neurons}
    if any(r is None for r in found.values()):
        return
    for key, p in network.projections.items():
        if key[1] != population:
            continue
        yield from _two_synapses(network, key, p, neurons, found)
        if len(neurons) == 2 and isinstance(p.weight, np.ndarray):
            weight = p.weight.copy()
            weight[list(neurons)] = weight[list(neurons)[::-1]]
            yield (
                f"weights of neurons {neurons[0]} and {neurons[1]} of {population!r} exchanged: {arrow(key)}",
                f"weights {arrow(key)}; spikes of {population}",
                network.with_weights({key: weight}),
            )


def _two_synapses(
    network: es.Network, key: Key, p: Projection, neurons: Sequence[int], found: Mapping[int, Any]
) -> Iterator[tuple[str, str, es.Network]]:
    own = [
        (n, column, s.place) for n in neurons for column, s in enumerate(found[n].synapses) if s.key == key
    ]
    for a, (n, i, one) in enumerate(own):
        for m, j, other in own[a + 1 :]:
            if len(neurons) == 2 and n == m:
                continue
            off = p.weights[other] - p.weights[one]
            if off == 0 or not _fits(found, ((n, i, off), (m, j, -off))):
                continue
            weights = p.weights.copy()
            weights[[one, other]] = weights[[other, one]]
            texts = (f"from neuron {int(p.sources[k])} to {q}" for k, q in ((one, n), (other, m)))
            yield (
                f"two synapses exchanged: {arrow(key)}, {' and '.join(texts)}",
                f"weights {arrow(key)}; spikes of {key[1]}",
                network.with_weights({key: p.shaped(weights)}),
            )


def _fits(found: Mapping[int, Any], changes: Sequence[tuple[int, int, float]]) -> bool:
    """Say whether neurons spike as recorded with some of their numbers changed by so much."""
    directions: dict[int, Reals] = {}
    for n, column, by in changes:
        directions.setdefault(n, np.zeros(found[n].values.size))[column] += by
    return all(low < 1.0 < high for low, high in (found[n].bounds(d) for n, d in directions.items()))
