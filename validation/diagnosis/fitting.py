"""Guesses at the way back with a fitted number: gradients are smooth in the number, so that secants find it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.typing import Reals
from validation.diagnosis.evidence import Answer, Evidence, Place
from validation.diagnosis.guesses import Guess, arrow, together_and_alone
from validation.diagnosis.twins import Twin
from validation.grid.flaws import Flaws

FEW = 4
"""Fewer numbers than this are explained by almost anything."""
GIVEN = ("weight", "delay", "spike_times", "loss")
"""Quantities that every way back computes, whatever is wrong in it."""
STARTS = (0.0, 0.7, -0.45)
"""Values from which the search starts, in the unit of the number."""
LEFT = 1e-3
"""Share of all numbers below which the remainder of a fit ends the search; else it starts again elsewhere."""
ROUNDS = 7
RUNS = 3 * ROUNDS
"""About how many runs a search takes: most searches end soon."""


@dataclass(frozen=True, eq=False)
class Family:
    """Guesses with a number that is 0 where nothing is wrong.

    Attributes
    ----------
    guess : callable
        Takes the number.
    unit : float
        A number that matters.
    """

    guess: Callable[[float], Guess]
    unit: float = 1.0


def families(evidence: Evidence, answer: Answer) -> Iterator[Family]:
    """Yield what may be off by a number on the way back: weights, time constants, thresholds, constants of the loss."""
    yield from _stale(evidence, answer)
    problem, network = evidence.problem, evidence.problem.network
    for keys in together_and_alone(list(network.projections)):
        yield Family(of_weights(evidence, keys))
    for p in network.populations.values():
        if p.neuron is None:
            continue
        for name in ("tau_mem", "tau_syn", *(("v_threshold",) if p.neuron.spiking else ())):
            yield Family(_of_neurons(evidence, p.name, name))
    for name in ("tau0", "tau1", "alpha"):
        if getattr(problem.loss, name, 0.0):
            yield Family(_of_loss(evidence, name))


def _stale(evidence: Evidence, answer: Answer) -> Iterator[Family]:
    """Yield weights w + eta g, where g is the gradient of an update, or its signs."""
    network = evidence.problem.network
    places = [("weight", key) for key in network.projections if ("weight", key) in answer.samples]
    weight = max(
        (float(np.abs(p.weights).max(initial=0.0)) for p in network.projections.values()), default=0.0
    )
    for how, change in (("", lambda g: g), (", by the signs of the gradient", np.sign)):
        steps: dict[Any, Any] = {key: change(answer.samples[q, key].mean(axis=0)) for q, key in places}
        size = max((float(np.abs(step).max(initial=0.0)) for step in steps.values()), default=0.0)
        if size == 0 or weight == 0:
            continue

        def guess(eta: float, how: str = how, steps: Mapping[Any, Any] = steps) -> Guess:
            when = "before" if eta > 0 else "after"
            name = (
                f"stale weights on the way back: it sees other weights than the way there, w {eta:+.3g} dL/dw{how}, "
                f"as {when} an update"
            )
            return Guess(name, "", evidence.problem, Flaws(back=_moved(network, steps, eta)))

        yield Family(guess, weight / size)


def _moved(network: es.Network, steps: Mapping[Any, Any], eta: float) -> es.Network:
    changed = {}
    for key, step in steps.items():
        p = network.projections[key]
        flat = np.asarray(step)
        changed[key] = (
            p.weight + eta * flat if isinstance(p.weight, np.ndarray) else p.shaped(p.weights + eta * flat)
        )
    return network.with_weights(changed)


def of_weights(evidence: Evidence, keys: Sequence[Any]) -> Callable[[float], Guess]:
    """Return the function that takes x to the guess that weights are 1 + x times as large on the way back."""
    network = evidence.problem.network
    of = ", ".join(map(arrow, keys))

    def guess(x: float) -> Guess:
        changed = {k: network.projections[k].shaped(network.projections[k].weights * (1 + x)) for k in keys}
        name = f"on the way back: weights multiplied by {1 + x:.4g}: {of}"
        return Guess(name, "", evidence.problem, Flaws(back=network.with_weights(changed)))

    return guess


def _of_neurons(evidence: Evidence, population: str, name: str) -> Callable[[float], Guess]:
    p = evidence.problem.network.population(population)
    assert p.neuron is not None

    def guess(x: float) -> Guess:
        neuron: Any = replace(p.neuron, **{name: p.parameter(name) * (1 + x)})  # type: ignore[type-var]
        other = evidence.problem.network.with_neurons({population: neuron})
        words = f"on the way back: {name} multiplied by {1 + x:.4g}: {population}"
        return Guess(words, "", evidence.problem, Flaws(back=other))

    return guess


def _of_loss(evidence: Evidence, name: str) -> Callable[[float], Guess]:
    loss: Any = evidence.problem.loss

    def guess(x: float) -> Guess:
        other = replace(evidence.problem, loss=replace(loss, **{name: getattr(loss, name) * (1 + x)}))
        return Guess(f"{name} of the loss multiplied by {1 + x:.4g}", "", other)

    return guess


def fitted(
    evidence: Evidence, twin: Twin, answer: Answer, off: Sequence[Place], family: Family
) -> Guess | None:
    """Return the guess whose number, found by secants, leaves the smallest misfit; None if there is none."""
    if not all(place[0] in GIVEN and place in answer.numbers for place in off):
        return None

    def scaled(numbers: Mapping[Place, Reals]) -> Reals:
        return np.concatenate([np.ravel(numbers[p]) / (answer.scale[p] or 1.0) for p in off])

    def numbers(x: float) -> Reals | None:
        try:
            guess = family.guess(x)
        except ValueError:
            return None
        found = twin.answer(evidence, guess.problem, guess.flaws)
        return None if found is None else scaled(found.numbers)

    got = scaled(evidence.numbers)
    if not np.isfinite(got).all() or np.count_nonzero(got) < FEW:
        return None
    best: tuple[float, float] = float(np.linalg.norm(got - scaled(answer.numbers))), 0.0
    for start in STARTS:
        x, small, last_left = start * family.unit, 1e-4 * family.unit, np.inf
        for _ in range(ROUNDS):
            here, beside = numbers(x), numbers(x + small)
            if here is None or beside is None or here.shape != got.shape:
                break
            left = float(np.linalg.norm(got - here))
            best = min(best, (left, x))
            if not left < 0.7 * last_left:  # it does not converge
                break
            last_left = left
            slope = (beside - here) / small
            square = float(slope @ slope)
            step = float(slope @ (got - here)) / square if square else np.inf
            x += step
            if not np.isfinite(x) or abs(x) > 10 * family.unit or abs(step) <= 1e-9 * abs(x):
                break
        if best[0] <= LEFT * float(np.linalg.norm(got)):
            break
    return family.guess(best[1]) if best[1] else None
