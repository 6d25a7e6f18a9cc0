"""gradient_sides(): for which numbers a gradient is one-sided, and on which side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.adjoint import Gradients, vjp
from eventsolve.checks import count, shown
from eventsolve.frozen import FrozenMapping
from eventsolve.jobs import advancing, bar_of
from eventsolve.patterns import NAMES
from eventsolve.solution import Solution
from eventsolve.stability.one_sided import Mover, OneSided
from eventsolve.typing import Reals

Sides = Mapping[str, Mapping[Any, NDArray[np.int8]]]

TWO_SIDED, RIGHT, LEFT, NEITHER = 0, 1, -1, 2
"""What :func:`gradient_sides` says of a number."""


def gradient_sides(gradients: Gradients, *, threads: int | None = None, progress: bool = False) -> Sides:
    """Return for every number whether its gradient is the derivative for a growing and a falling one.

    At each place of ``gradients.one_sided`` two events come at one time, and the gradient is that of their order. A
    number that moves both alike keeps it; one that grows keeps it if that makes the second later than the first, and
    one that falls if it makes it earlier. One that has to grow for one place and to fall for another, or one at 0 that
    would have to be negative, changes some order however it moves: its entry in the gradient is a derivative only along
    with those of others, for changes of several numbers that keep every order.

    Parameters
    ----------
    gradients : Gradients
        From ``vjp`` or ``value_and_grad``.
    threads : int, optional
        As in ``solve``.
    progress : bool
        Whether to show a progress bar on stderr, of the places of the sample that has most.

    Returns
    -------
    mapping of name to mapping of key to ndarray of int8
        Names and keys are those of ``gradients``. By weight and delay flat, in the order of ``Projection.weights``, by
        parameter (n,), all with n_samples as first axis if the reduction was "none"; by spike time (n_spikes,), as if
        it were moved by itself. 0: the derivative for both; 1: only for a growing number; -1: only for a falling one;
        2: for neither.

    Raises
    ------
    TypeError
        If ``gradients`` is not a Gradients.
    UndefinedGradientError
        If a spike that moves one of the events grazes its threshold.
    """
    if not isinstance(gradients, Gradients):
        raise TypeError(f"gradients must be a Gradients; got {shown(gradients)}")
    if threads is not None:
        count("threads", threads, 1)  # also where there is nothing to do
    solution = gradients.solution
    grows, falls = (_zeros(solution) for _ in range(2))
    ties = list(gradients.coincidences)
    rounds = max(Counter(tie.place.sample for tie in ties).values(), default=0)
    with advancing(bar_of(progress, "differentiating", rounds)) as advance:
        while ties:
            # one of each sample at a time
            now = {tie.place.sample: tie for tie in reversed(ties)}
            ties = [tie for tie in ties if now[tie.place.sample] is not tie]
            first, second = (
                _by_numbers(
                    solution, {tie.place.sample: (of(tie), tie.place) for tie in now.values()}, threads
                )
                for of in (attrgetter("first"), attrgetter("second"))
            )
            for name, by_key in first.items():
                for key, before in by_key.items():
                    grows[name][key] |= second[name][key] > before
                    falls[name][key] |= second[name][key] < before
            advance(1)
    sides: dict[str, Mapping[Any, NDArray[np.int8]]] = {}
    for name in NAMES:
        found = {}
        for key in grows[name]:
            up, down = grows[name][key], falls[name][key]
            if not gradients.per_sample and name != "spike_times":
                up, down = np.asarray(up.any(axis=0)), np.asarray(down.any(axis=0))
            stuck = down & (up | (_values(solution, name, key) == 0.0))
            side = np.where(stuck, NEITHER, np.where(up, RIGHT, np.where(down, LEFT, TWO_SIDED)))
            found[key] = side.astype(np.int8)
            found[key].setflags(write=False)
        sides[name] = FrozenMapping(found)
    return FrozenMapping(sides)


def _values(solution: Solution, name: str, key: Any) -> Reals:
    """Return the numbers that must not be negative, and ones for others."""
    if name == "delay":
        return solution.network.projections[key].delay
    if name == "t_ref":
        return solution.network.population(key).parameter("t_ref")
    return solution.spikes[key].times if name == "spike_times" else np.ones(1)


def _shapes(solution: Solution) -> dict[str, dict[Any, tuple[int, ...]]]:
    network, n = solution.network, solution.n_samples
    synapses = {key: (n, p.weights.size) for key, p in network.projections.items()}
    shapes: dict[str, dict[Any, tuple[int, ...]]] = {"weight": dict(synapses), "delay": dict(synapses)}
    shapes["spike_times"] = {name: (trains.n_spikes,) for name, trains in solution.spikes.items()}
    for name in NAMES[2:-1]:
        shapes[name] = {
            p.name: (n, p.size)
            for p in network.populations.values()
            if p.neuron is not None and (p.neuron.spiking or name not in ("v_threshold", "v_reset", "t_ref"))
        }
    return shapes


def _zeros(solution: Solution) -> dict[str, dict[Any, NDArray[np.bool_]]]:
    return {
        name: {key: np.zeros(shape, np.bool_) for key, shape in by_key.items()}
        for name, by_key in _shapes(solution).items()
    }


def _by_numbers(
    solution: Solution, events: Mapping[int, tuple[Mover, OneSided]], threads: int | None
) -> dict[str, dict[Any, Reals]]:
    """Return how the time of one event of each sample moves with all numbers."""
    cotangents = {name: np.zeros(trains.n_spikes) for name, trains in solution.spikes.items()}
    for mover, _ in events.values():
        if mover.spike is not None:
            cotangents[mover.spike[0]][mover.spike[1]] = 1.0
    gradients = vjp(solution, cotangents, reduction="none", threads=threads)
    found: dict[str, dict[Any, Reals]] = {}
    for name, shapes in _shapes(solution).items():
        by_key = getattr(gradients, name)
        found[name] = {key: _flat(by_key[key]).reshape(shape).copy() for key, shape in shapes.items()}
    for sample, (mover, place) in events.items():
        _move(found, mover, sample, place.population, place.neuron)
    return found


def _move(
    found: dict[str, dict[Any, Reals]], mover: Mover, sample: int, population: str, neuron: int
) -> None:
    """Add what moves an event behind its spike."""
    if mover.synapse is not None:
        key, synapse = mover.synapse
        found["delay"][key][sample, synapse] += 1.0
    if mover.release:
        found["t_ref"][population][sample, neuron] += 1.0


def _flat(gradient: Any) -> Reals:
    if isinstance(gradient, tuple):
        return np.stack([matrix.data for matrix in gradient]) if gradient else np.empty(0)
    return np.asarray(gradient)
