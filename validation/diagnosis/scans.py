"""Guesses with a number that has to be found: a factor on weights, thresholds or time constants, a limit of weights.

Spikes on a clock change by whole steps, so that all of them are right over a range of numbers. A number of the range is
found by trying many, and then more around the best one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

import eventsolve as es
from eventsolve.typing import Reals
from validation.diagnosis.evidence import Evidence, distance, misfits
from validation.diagnosis.guesses import Guess, arrow, together_and_alone, with_parameters
from validation.diagnosis.opened import opened
from validation.diagnosis.twins import Scheme, Twin

FACTORS = (0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99, 1.01, 1.05, 1.1, 1.2, 1.25, 1.5, 2.0, 4.0, 10.0)
LIMITS = tuple(np.linspace(0.1, 0.95, 18).tolist())
ROUNDS = 7
"""Rounds, each of which tries numbers between the best one and its neighbours."""
BETTER = 0.8
"""More numbers are tried only if the best of the first ones leaves less than this share of the distance."""
RUNS = len(FACTORS) + 1 + 2 * ROUNDS
"""About how many runs a search takes on average: most end with the first numbers."""


@dataclass(frozen=True, eq=False)
class Family:
    """Guesses that differ in a number.

    Attributes
    ----------
    words : callable
        Takes the number and returns what is wrong.
    where : str
    network : callable
        Takes the number and returns the network.
    numbers : tuple of float
        The numbers that are tried first, ascending.
    """

    words: Callable[[float], str]
    where: str
    network: Callable[[float], es.Network]
    numbers: tuple[float, ...]


def families(network: es.Network, suspects: Mapping[str, Sequence[int]]) -> Iterator[Family]:
    """Yield all families of guesses; of single neurons those of the suspects, which are by population."""
    projections = network.projections
    for whose in together_and_alone(list(projections)):
        of = ", ".join(map(arrow, whose))
        top = max(float(np.abs(projections[k].weights).max(initial=0.0)) for k in whose)

        def scaled(x: float, whose: list[Any] = whose) -> es.Network:
            return network.with_weights({k: projections[k].shaped(projections[k].weights * x) for k in whose})

        def clipped(x: float, whose: list[Any] = whose, top: float = top) -> es.Network:
            of = {k: np.clip(projections[k].weights, -x * top, x * top) for k in whose}
            return network.with_weights({k: projections[k].shaped(w) for k, w in of.items()})

        where = f"weights {of}; spikes of {whose[0][1]}"
        yield Family(lambda x, of=of: f"weights multiplied by about {x:.4g}: {of}", where, scaled, FACTORS)  # type: ignore[misc]
        yield Family(
            lambda x, of=of, top=top: f"weights saturate at a limit of about {x * top:.4g}: {of}",  # type: ignore[misc]
            where,
            clipped,
            LIMITS,
        )
    neurons = [p for p in network.populations.values() if p.neuron is not None]
    spiking = [p.name for p in neurons if p.spiking]
    every = [p.name for p in neurons]
    for name, whose in (("v_threshold", spiking), ("tau_mem", every), ("tau_syn", every)):
        for populations in together_and_alone(whose):
            yield _of_populations(network, populations, name)
    for population in spiking:
        yield _of_resets(network, population)
    for population, places in suspects.items():
        for neuron in places:
            for name in ("v_threshold", "tau_mem", "tau_syn"):
                yield _of_neuron(network, population, name, neuron)


def _of_populations(network: es.Network, populations: list[str], name: str) -> Family:
    """Return the guess that a parameter of all neurons of some populations is another one, by one factor."""

    def changed(x: float) -> es.Network:
        other = network
        for p in populations:
            other = with_parameters(other, p, **{name: network.population(p).parameter(name) * x})
        return other

    whose = ", ".join(populations)
    return Family(
        lambda x: f"{name} multiplied by about {x:.4g}: {whose}", f"spikes of {whose}", changed, FACTORS
    )


def _of_neuron(network: es.Network, population: str, name: str, neuron: int) -> Family:
    values: Reals = network.population(population).parameter(name)
    whose = f"neuron {neuron} of {population!r}"

    def changed(x: float) -> es.Network:
        other = values.copy()
        other[neuron] *= x
        return with_parameters(network, population, **{name: other})

    return Family(
        lambda x: f"{name} multiplied by about {x:.4g}: {whose}",
        f"spikes of {population}, {whose}",
        changed,
        FACTORS,
    )


def _of_resets(network: es.Network, population: str) -> Family:
    p = network.population(population)
    threshold, reset = p.parameter("v_threshold"), p.parameter("v_reset")

    def changed(x: float) -> es.Network:
        return with_parameters(network, population, v_reset=threshold - x * (threshold - reset))

    def words(x: float) -> str:
        at = np.unique(threshold - x * (threshold - reset))
        to = f" (v_reset about {at[0]:.4g})" if at.size == 1 else ""
        return f"V falls by about {x:.4g} times as much at a reset{to}: {population}"

    return Family(words, f"spikes of {population}", changed, FACTORS)


@dataclass(frozen=True, eq=False)
class Range:
    """The numbers of a family, least to most, with which all spikes are right, and the roundest of them."""

    family: Family
    least: float
    most: float
    roundest: float

    def guess(self, problem: es.Problem, number: float) -> Guess:
        """Return the guess with one of its numbers."""
        family = self.family
        return Guess(family.words(number), family.where, replace(problem, network=family.network(number)))


def searched(evidence: Evidence, scheme: Scheme, family: Family) -> Range | None:
    """Return the numbers of a family with which all spikes are right, if there are any."""
    problem = evidence.problem
    opens = evidence.clocked and opened(problem, evidence) is not None

    def off(x: float) -> float:
        try:
            other: es.Problem | None = replace(problem, network=family.network(x), loss=None)
            other = opened(other, evidence) if opens and other is not None else other
        except ValueError:
            return np.inf
        assert other is not None
        answer = Twin(scheme).answer(evidence, other)
        if answer is None:
            return np.inf
        return distance(evidence, answer.spikes)

    tried = {x: off(x) for x in (*family.numbers, 1.0)}
    rounds = ROUNDS if evidence.clocked else 2 * ROUNDS
    for _ in range(rounds if min(tried.values()) < BETTER * tried[1.0] else 0):
        best = min(tried, key=lambda x: (tried[x], abs(np.log(x))))
        if tried[best] == 0 or best == 1.0:
            break
        ordered = sorted(tried)
        k = ordered.index(best)
        around = [ordered[max(0, k - 1)], best, ordered[min(len(ordered) - 1, k + 1)]]
        for low, high in itertools.pairwise(around):
            for x in np.linspace(low, high, 5)[1:-1].tolist():
                tried[x] = off(x)
    right = [x for x, value in tried.items() if value == 0 and x != 1.0]
    if not right:
        return None
    chosen = min(right, key=lambda x: (len(f"{x:.6g}"), abs(np.log(x))))
    return Range(family, min(right), max(right), chosen)


def nearest(evidence: Evidence, twin: Twin, found: Range) -> Guess | None:
    """Return the guess whose number leaves least of the misfit of loss and gradients, None if there is but one."""

    def left(x: float) -> float:
        answer = twin.answer(evidence, found.guess(evidence.problem, x).problem)
        return np.inf if answer is None else sum(min(1.0, v) ** 2 for v in misfits(evidence, answer).values())

    if found.least == found.most:
        return None
    best = minimize_scalar(left, bounds=(found.least, found.most), method="bounded", options={"xatol": 1e-9})
    return found.guess(
        evidence.problem, float(f"{best.x:.6g}") if left(float(f"{best.x:.6g}")) <= best.fun else best.x
    )
