"""Numbers of a network that are free: what each moves, how residuals go with it, and what stays possible."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from eventsolve.checks import require_one_of, shown
from eventsolve.matched_spikes import shortest_intervals
from eventsolve.network import LI, LIF, TIMES, Network, Projection
from eventsolve.observe import Observation
from eventsolve.shown import arrow
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Booleans, Key, Reals

FACTORS = ("tau_mem", "tau_syn", "gain")
SHIFTS = ("v_threshold", "v_reset", "v_leak", "v_initial", "i_initial", "t_ref", "delay")
OF_SYNAPSES = ("gain", "delay")
OF_RECORDS = ("latency",)
"""Of how spikes are measured, not of the network: how long after its crossing a neuron spikes."""
QUANTITIES = (*FACTORS, *SHIFTS, *OF_RECORDS)
LEVELS = ("neuron", "layer", "chip", "source", "synapse")


class Part(NamedTuple):
    """What one number moves: of a population or a projection, which neurons or synapses; ``posts`` hear of it.

    Parts with the same ``colour`` of one place touch different posts.
    """

    place: Any
    mask: Booleans
    posts: Booleans
    colour: int


class Number(NamedTuple):
    """A number that is free: a factor or a shift of one quantity in some places."""

    quantity: str
    name: str
    parts: tuple[Part, ...]


class Undetermined(NamedTuple):
    """A direction that the spikes cannot tell: numbers by name, with how far each goes (of its own unit) along it."""

    numbers: tuple[str, ...]
    steps: tuple[float, ...]

    def __str__(self) -> str:
        return " ".join(f"{step:+.3g} {name}" for name, step in zip(self.numbers, self.steps, strict=True))


def flat(by_population: Mapping[str, Reals]) -> Reals:
    """Return the numbers of all populations, one after another."""
    return np.concatenate([np.empty(0), *by_population.values()])


def reach_of(network: Network, observation: Observation) -> Reals:
    """Return v_threshold - v_reset of a network's neurons, for every spike that was given."""
    found = [np.empty(0)]
    for name in observation.slopes:
        population = network.population(name)
        reach = population.parameter("v_threshold") - population.parameter("v_reset")
        found.append(reach[observation.spikes[name].neurons])
    return np.concatenate(found)


def jacobian_of_reach(observation: Observation, numbers: tuple[Number, ...]) -> Reals:
    """Return the derivatives of v_threshold - v_reset for every spike that was given."""
    columns = []
    for number in numbers:
        sign = {"v_threshold": 1.0, "v_reset": -1.0}.get(number.quantity, 0.0)
        of = {part.place: sign * part.mask for part in number.parts} if sign else {}
        rows = [
            of[name][trains.neurons] if name in of else np.zeros(trains.n_spikes)
            for name in observation.slopes
            for trains in [observation.spikes[name]]
        ]
        columns.append(np.concatenate([np.empty(0), *rows]))
    return np.stack(columns, axis=1)


def sizes_of(network: Network, numbers: tuple[Number, ...]) -> Reals:
    """Return how large a step of each number is: 1 of a factor, the membrane time constant or the reach of a shift."""
    found = []
    for number in numbers:
        place = number.parts[0].place
        population = network.population(place[1] if number.quantity in OF_SYNAPSES else place)
        if number.quantity in FACTORS:
            found.append(1.0)
        elif number.quantity in (*TIMES, *OF_RECORDS):
            found.append(float(population.parameter("tau_mem").min()))
        else:
            found.append(float((population.parameter("v_threshold") - population.parameter("v_reset")).min()))
    return np.array(found)


def levels_of(free: object) -> dict[str, str]:
    """Return the level of each quantity that is free, or raise an error that says which there are."""
    if isinstance(free, str) or not isinstance(free, Mapping | Collection):
        raise TypeError(
            f"free must be a mapping of quantity to level, or names of quantities; got {shown(free)}"
        )
    for quantity in free:
        require_one_of("a name in free", quantity, QUANTITIES)
    levels = dict(free) if isinstance(free, Mapping) else dict.fromkeys(free, "layer")
    for quantity, level in levels.items():
        require_one_of(f"free[{quantity!r}]", level, LEVELS if quantity in OF_SYNAPSES else LEVELS[:3])
    if not levels:
        raise ValueError(f"free must name at least one of {QUANTITIES}")
    return levels


def checked_populations(of: Collection[str], given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the populations of which numbers are free, or raise an error that says which can be."""
    if isinstance(of, str) or not isinstance(of, Collection):
        raise TypeError(f"of must be a collection of populations; got {shown(of)}")
    for name in of:
        require_one_of("a name in of", name, given, ", the populations whose spikes are given")
    names = tuple(name for name in given if name in of)
    if not names:
        raise ValueError(f"of must name at least one of {given}; got {shown(of)}")
    return names


def numbers_of(network: Network, levels: Mapping[str, str], names: tuple[str, ...]) -> tuple[Number, ...]:
    """Return all numbers that are free, in the order of the quantities, then of the places."""
    found: list[Number] = []
    for quantity, level in levels.items():
        places = (
            [
                (p.key, arrow(p.key), list(_of_projection(p, level)))
                for p in network.projections.values()
                if p.post in names
            ]
            if quantity in OF_SYNAPSES
            else [(name, name, list(_of_neurons(network.population(name).size, level))) for name in names]
        )
        if level == "chip":
            parts = tuple(Part(key, *pieces[0][1:]) for key, _, pieces in places)
            found.append(Number(quantity, f"{quantity} of the chip", parts))
            continue
        for key, label, pieces in places:
            for which, mask, posts, colour in pieces:
                found.append(
                    Number(quantity, f"{quantity} of {label}{which}", (Part(key, mask, posts, colour),))
                )
    return tuple(found)


def _of_neurons(n: int, level: str) -> Iterator[tuple[str, Booleans, Booleans, int]]:
    """Yield which neurons a number is of: its name, the neurons, who hear of it, a colour."""
    for mask, which in (
        [(row, f"[{k}]") for k, row in enumerate(np.eye(n, dtype=bool))]
        if level == "neuron"
        else [(np.ones(n, bool), "")]
    ):
        yield which, mask, mask, 0


def _of_projection(p: Projection, level: str) -> Iterator[tuple[str, Booleans, Booleans, int]]:
    """Yield which synapses a number is of: its name, the synapses, the neurons that hear of it, and a colour."""
    n_post, n_pre = p.weight.shape
    posts = p.targets
    every = np.ones(n_post, bool)
    if level == "neuron":
        for n in range(n_post):
            yield f"[{n}]", posts == n, np.arange(n_post) == n, 0
    elif level == "source":
        for n in range(n_pre):
            yield f"[:, {n}]", p.sources == n, every, n
    elif level == "synapse":
        for k, (post, pre) in enumerate(zip(posts.tolist(), p.sources.tolist(), strict=True)):
            yield f"[{post}, {pre}]", np.arange(posts.size) == k, np.arange(n_post) == post, pre
    else:
        yield "", np.ones(posts.size, bool), every, 0


def moved_network(network: Network, numbers: tuple[Number, ...], x: Reals) -> Network:
    """Return the network with its free numbers moved."""
    neurons: dict[str, dict[str, Reals]] = {}
    weights: dict[Key, Reals] = {}
    delays: dict[Key, Reals] = {}
    projections = network.projections
    for number, step in zip(numbers, x.tolist(), strict=True):
        for part in () if number.quantity in OF_RECORDS else number.parts:
            if number.quantity == "gain":
                values = weights.setdefault(part.place, projections[part.place].weights.copy())
            elif number.quantity == "delay":
                values = delays.setdefault(part.place, projections[part.place].delay.copy())
            else:
                population = network.population(part.place)
                of = neurons.setdefault(population.name, {})
                values = of.setdefault(number.quantity, population.parameter(number.quantity))
            values[part.mask] = (
                values[part.mask] * math.exp(step) if number.quantity in FACTORS else values[part.mask] + step
            )
    if weights:
        network = network.with_weights({key: projections[key].shaped(w) for key, w in weights.items()})
    if delays:
        network = network.with_delays(
            {key: projections[key].shaped(np.maximum(d, 0.0)) for key, d in delays.items()}
        )
    moved: dict[str, LIF | LI] = {}
    for name, parameters in neurons.items():
        neuron = network.population(name).neuron
        assert neuron is not None  # as it has parameters
        moved[name] = replace(neuron, **parameters)  # type: ignore[arg-type]
    return network.with_neurons(moved)


def _steps(network: Network, quantity: str, part: Part) -> tuple[str, Any, Reals]:
    """Return the kind, the place and how far each of its numbers goes for a step of 1 of a free number."""
    if quantity in OF_SYNAPSES:
        p = network.projections[part.place]
        if quantity == "gain":
            return "weight", part.place, p.weights * part.mask
        return "delay", part.place, part.mask.astype(np.float64)
    steps = part.mask.astype(np.float64)
    if quantity in FACTORS:
        steps *= network.population(part.place).parameter(quantity)
    return quantity, part.place, steps


def direction_of_numbers(
    network: Network, numbers: tuple[Number, ...], steps: Reals
) -> dict[str, dict[Any, Any]]:
    """Return how far all numbers of a network go as its free ones make these steps."""
    found: dict[str, dict[Any, Any]] = {}
    for number, step in zip(numbers, steps.tolist(), strict=True):
        for part in () if number.quantity in OF_RECORDS else number.parts:
            kind, place, values = _steps(network, number.quantity, part)
            found.setdefault(kind, {})
            found[kind][place] = found[kind].get(place, 0.0) + step * values
    for kind in {"weight", "delay"} & found.keys():
        found[kind] = {key: network.projections[key].shaped(values) for key, values in found[kind].items()}
    return found


def jacobian_of(
    observation: Observation, numbers: tuple[Number, ...], apart: bool, threads: int | None
) -> Reals:
    """Return the derivatives of all residuals by all free numbers, (n_spikes, n).

    A neuron whose spikes are all held, and all of whose sources' are, hears of its own numbers alone: if all
    populations are given (``apart``), those of one colour are moved together, and told apart by whose the spike is.
    """
    network, trains = observation.network, observation.spikes
    sizes = [trains[name].n_spikes for name in observation.slopes]
    starts = dict(zip(observation.slopes, np.cumsum([0, *sizes]).tolist(), strict=False))
    jacobian = np.zeros((sum(sizes), len(numbers)))
    together: dict[Any, list[tuple[int, Part]]] = {}
    for k, number in enumerate(numbers):
        for part in () if number.quantity in OF_RECORDS else number.parts:
            together.setdefault(
                (number.quantity, part.place, part.colour) if apart else (k, part.place), []
            ).append((k, part))
    for group in together.values():
        quantity, place = numbers[group[0][0]].quantity, group[0][1].place
        steps = np.zeros(len(numbers))
        steps[[k for k, _ in group]] = 1.0
        direction = direction_of_numbers(
            network, tuple(Number(quantity, "", (part,)) for _, part in group), np.ones(len(group))
        )
        moved = observation.residual_along(direction, threads=threads)
        if not apart:
            jacobian[:, group[0][0]] += flat(moved)
            continue
        post = place[1] if quantity in OF_SYNAPSES else place
        rows = slice(starts[post], starts[post] + trains[post].n_spikes)
        for k, part in group:
            jacobian[rows, k] += moved[post] * part.posts[trains[post].neurons]
    return jacobian


def late_spikes(observation: Observation, numbers: tuple[Number, ...]) -> Reals:
    """Return how many of each number every spike that was given is late by, (n_spikes, n): 0 or 1, of latencies."""
    columns = []
    for number in numbers:
        of: dict[str, Reals] = {}
        if number.quantity in OF_RECORDS:
            of = {part.place: part.mask.astype(np.float64) for part in number.parts}
        columns.append(
            flat(
                {
                    name: of[name][observation.spikes[name].neurons]
                    if name in of
                    else np.zeros(observation.spikes[name].n_spikes)
                    for name in observation.slopes
                }
            )
        )
    return np.stack(columns, axis=1)


def bounds_of(
    network: Network, numbers: tuple[Number, ...], spikes: Mapping[str, SpikeTrains]
) -> tuple[Reals, Reals]:
    """Return between which limits the numbers stay: factors of e^3, and whatever makes a neuron and a delay."""
    low, high = np.full(len(numbers), -np.inf), np.full(len(numbers), np.inf)
    for k, number in enumerate(numbers):
        if number.quantity in FACTORS:
            low[k], high[k] = -3.0, 3.0
        for part in number.parts:
            if number.quantity == "delay":
                low[k] = max(low[k], -network.projections[part.place].delay[part.mask].min(initial=np.inf))
                continue
            if number.quantity not in ("v_threshold", "v_reset", "v_initial", "t_ref"):
                continue
            population = network.population(part.place)
            of = {
                name: population.parameter(name)[part.mask]
                for name in ("v_threshold", "v_reset", "v_initial", "t_ref")
            }
            room = 0.999 * np.minimum(
                of["v_threshold"] - np.maximum(of["v_reset"], of["v_initial"]), of["v_threshold"]
            )
            if number.quantity == "v_threshold":
                low[k] = max(low[k], -room.min(initial=np.inf))
            elif number.quantity == "t_ref":
                low[k] = max(low[k], -of["t_ref"].min(initial=np.inf))
                shortest = shortest_intervals(spikes[population.name])[part.mask]
                high[k] = min(high[k], (shortest - of["t_ref"]).min(initial=np.inf))
            else:
                high[k] = min(
                    high[k], (0.999 * (of["v_threshold"] - of[number.quantity])).min(initial=np.inf)
                )
    return low, high


def undetermined(directions: Reals, numbers: tuple[Number, ...]) -> tuple[Undetermined, ...]:
    """Return a basis of what cannot be told, (n_blind, n), of as few numbers each as elimination finds, by name."""
    rows, found = directions.copy(), []
    pivots: list[int] = []
    for k in range(len(rows)):
        at, pivot = divmod(int(np.argmax(np.abs(rows[k:]))), rows.shape[1])
        rows[[k, k + at]] = rows[[k + at, k]]
        rows[k] /= rows[k, pivot]
        others = np.arange(len(rows)) != k
        rows[others] -= rows[others, pivot][:, None] * rows[k]
        pivots.append(pivot)
    for row in rows[np.argsort(pivots)]:
        told = np.flatnonzero(np.abs(row) > 1e-6)
        found.append(Undetermined(tuple(numbers[k].name for k in told), tuple(row[told].tolist())))
    return tuple(found)
