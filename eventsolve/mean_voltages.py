"""Weighted mean voltages of readouts over the trial in closed form, forward, back, and along a direction.

What one arrival adds depends on no other, as a readout has no threshold: there are no pieces and no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from eventsolve.chunks import chunk_ranges
from eventsolve.interrupts import call
from eventsolve.kernels import mean_voltages as kernels
from eventsolve.kernels.tables import Run, Wanted
from eventsolve.quadrature import require_continuous
from eventsolve.schedule import Layer
from eventsolve.typing import Reals

if TYPE_CHECKING:
    from eventsolve.kernels.perturbation import Scales
    from eventsolve.solution import Chunk, Solution

Means = Mapping[tuple[str, float], Reals]
"""Numbers (n_samples, n_neurons) by population and rate: of its means 1/T int exp(-rate x) V dt with x = t/T."""


Trial = tuple[float, float]
"""From when to when a mean is taken, in seconds, of which a solution may be a piece."""


def window_of(solution: Solution, rate: float, trial: Trial | None = None) -> kernels.Window:
    """Return a solution's share in the mean over a trial with a weight of exp(-rate x), x from 0 to 1.

    As kernels take it. The trial is the solution by default.
    """
    begin, end = (solution.t_start, solution.t_end) if trial is None else trial
    span = end - begin
    scale = math.exp(-rate * ((solution.t_start - begin) / span)) / span
    return kernels.Window(float(solution.t_start), float(solution.t_end), scale, rate / span)


def is_readout(solution: Solution, population: str) -> bool:
    """Return whether a population is one of neurons without threshold."""
    neuron = solution.network.population(population).neuron
    return neuron is not None and not neuron.spiking


def mean_voltages_of(solution: Solution, population: str, rate: float, trial: Trial | None = None) -> Reals:
    """Return a solution's share in the weighted mean voltages of a readout over a trial, (n_samples, n_neurons)."""
    layer = solution.layer(population)
    require_continuous(solution.network, population, solution.t_start, solution.t_end)
    window = window_of(solution, rate, trial)
    parts = [
        call(
            kernels.mean_voltages,
            layer.by_target,
            solution.run_of(layer, chunk)[0],
            window,
        )
        for chunk in solution._chunks
    ]
    return np.concatenate([np.empty((0, layer.size)), *parts])


def means_back(
    solution: Solution,
    layer: Layer,
    k: int,
    run: Run,
    means: Means,
    wanted: Wanted,
    per_sample: bool,
    trial: Trial | None = None,
) -> list[tuple[Reals, Reals, Reals, Reals]]:
    """Return what every mean of a layer's readouts, by its cotangents, adds in chunk k to what ``backward`` returns.

    (errors of the sources' spikes, d_weight, d_delay, d_parameters)
    """
    if not means:
        return []
    low, high = chunk_ranges(solution.n_samples)[k]
    return [
        call(
            kernels.mean_voltages_back,
            layer.by_target,
            run,
            window_of(solution, rate, trial),
            cotangents[low:high].copy(),
            wanted,
            per_sample,
            layer.n_synapses,
        )
        for (population, rate), cotangents in means.items()
        if population in layer.name
    ]


def means_forward(
    solution: Solution,
    layer: Layer,
    k: int,
    run: Run,
    means: Means,
    moved: Reals,
    steps: Scales,
) -> Reals:
    """Return the derivative of every sample's sum of means times cotangents along a direction, in chunk k.

    ``moved`` says how far the spikes of the sources move. A mean is linear in what it is the sum of: the derivative is
    the product of its gradient with the direction.
    """
    chunk: Chunk = solution._chunks[k]
    total = np.zeros(chunk.n_samples)
    of = np.repeat(np.arange(chunk.n_samples), np.diff(run.spikes.offsets))
    everything = Wanted(True, True, True)
    for errors, d_weight, d_delay, d_parameters in means_back(
        solution, layer, k, run, means, everything, True
    ):
        np.add.at(total, of, errors * moved)
        for row in range(chunk.n_samples):
            total[row] += (
                np.sum(d_weight[row] * steps.weight)
                + np.sum(d_delay[row] * steps.delay)
                + np.sum(d_parameters[row] * steps.neurons)
            )
    return total


def mean_adjoint_of(
    solution: Solution,
    layer: Layer,
    k: int,
    means: Means,
    times: Reals,
    trial: Trial | None = None,
) -> tuple[Reals, Reals]:
    """Return what means contribute to p_V and p_I of a layer in chunk k at times, (n_samples, n, n_times)."""
    low, high = chunk_ranges(solution.n_samples)[k]
    shape = (high - low, layer.size, times.shape[1])
    p_v, p_i = np.zeros(shape), np.zeros(shape)
    for (population, rate), cotangents in means.items():
        if population in layer.name:
            by_v, by_i = call(
                kernels.mean_adjoint,
                layer.neurons,
                window_of(solution, rate, trial),
                cotangents[low:high].copy(),
                times,
            )
            p_v += by_v
            p_i += by_i
    return p_v, p_i
