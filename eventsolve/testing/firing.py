"""Networks whose weights are scaled, neuron by neuron, until each spikes as often as wanted and keeps its distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.network import Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.solution import Solution
from eventsolve.solve import StoppedError, solve
from eventsolve.spiketrains import SpikeTrains
from eventsolve.stability.margins import KINDS, margins
from eventsolve.typing import Key

_GAINS = (1.0, 1.5, 2.0, 3.0, 0.7, 0.5, 0.35, 4.5, 0.25, 7.0, 0.15)
_STRENGTHS = (1.0, 0.5, 0.2, 0.1)
_MAX_SPIKES = 500
_TOO_FEW, _FITTING, _TOO_MANY, _TOO_NEAR = range(4)


class Wanted(NamedTuple):
    """What spikes should be like.

    Attributes
    ----------
    inputs : mapping of str to SpikeTrains
    t_end : float
        Seconds.
    rate : (float, float)
        Fewest and most spikes of every neuron, on average over the samples.
    bounds : (float, float, float)
        Smallest :func:`separation`: slope, voltage, gap.
    always : tuple of str
        Populations of which every neuron is to spike in every sample.
    """

    inputs: Mapping[str, SpikeTrains]
    t_end: float
    rate: tuple[float, float]
    bounds: tuple[float, float, float]
    always: tuple[str, ...]


def firing(network: Network, wanted: Wanted) -> Network | None:
    """Return the network with scaled weights, or None if there is a neuron that no gain lets fire as wanted."""
    for layer in layers_of(network):
        scaled = _firing_layer(network, layer, wanted)
        if scaled is None:
            return None
        network = scaled
    return network


def separation(solution: Solution, name: str) -> NDArray[np.float64]:
    """Return how far each neuron of a population is from other spikes, inf where there is nothing to measure.

    Returns
    -------
    ndarray of float64, (3, n)
        The smallest margins over all samples: of slopes, times tau_mem/v_threshold; of voltages below the threshold and
        of spikes above it, over v_threshold; of gaps in time, in seconds. See :class:`~eventsolve.Margins`.
    """
    population, found = solution.network.population(name), margins(solution)
    tau_mem, threshold = population.parameter("tau_mem"), population.parameter("v_threshold")
    unit = {"slope": threshold / tau_mem, "voltage": threshold, "overshoot": threshold}
    least = {kind: np.full(population.size, np.inf) for kind in KINDS}
    for kind, smallest in least.items():
        distances = getattr(found, kind)[name]
        np.minimum.at(smallest, distances.neurons, distances.values)
        smallest /= unit.get(kind, 1.0)
    return np.array([least["slope"], np.minimum(least["voltage"], least["overshoot"]), least["gap"]])


def _firing_layer(network: Network, layer: Layer, wanted: Wanted) -> Network | None:
    """Scale the weights to each neuron of a layer by the first gain with which it fires as wanted.

    Neurons that do not project to each other are independent of each other's gain. Connections within a cycle are
    left out at first, and then as strong as they can be.
    """
    sizes = {p.name: p.size for p in layer.populations if p.spiking}
    weights = {key: p.weight for key, p in network.projections.items() if key[1] in sizes}
    within = {key: weight for key, weight in weights.items() if key[0] in layer.name}
    driving = {key: weight for key, weight in weights.items() if key not in within}
    names = [other.name for other in layers_of(network)]
    later = {name for other in names[names.index(layer.name) + 1 :] for name in other}
    silent = {
        key: 0.0 * p.weight for key, p in network.projections.items() if key in within or key[1] in later
    }

    gain = {name: np.zeros(n) for name, n in sizes.items()}
    for sign in (1.0, -1.0):
        low, high = ({name: np.full(n, end) for name, n in sizes.items()} for end in (0.0, np.inf))
        for g in _GAINS:
            pending = {name: (gain[name] == 0) & (g > low[name]) & (g < high[name]) for name in sizes}
            if not any(of.any() for of in pending.values()):
                continue
            tried = {name: np.where(gain[name] == 0, sign * g, gain[name]) for name in sizes}
            for name, seen in _judged(
                network.with_weights(silent | _scaled(driving, tried)), sizes, wanted
            ).items():
                gain[name][pending[name] & (seen == _FITTING)] = sign * g
                low[name][pending[name] & (seen == _TOO_FEW)] = g
                high[name][pending[name] & (seen == _TOO_MANY)] = g
    if not all(of.all() for of in gain.values()):
        return None
    for strength in _STRENGTHS if within else ():
        inside = {key: np.round(weight * strength, 3) for key, weight in within.items()}
        found = _judged(network.with_weights(silent | _scaled(driving, gain) | inside), sizes, wanted)
        if all((of == _FITTING).all() for of in found.values()):
            return network.with_weights(_scaled(driving, gain) | inside)
    return None if within else network.with_weights(_scaled(driving, gain))


def _scaled(weights: Mapping[Key, Any], gains: Mapping[str, NDArray[np.float64]]) -> dict[Key, Any]:
    """Return weights times the gain of their target, all of them positive where that is negative.

    A gain grows by 3 % from neuron to neuron, or rows that are drawn alike would spike at one time.
    """
    scaled = {}
    for key, weight in weights.items():
        gain = gains[key[1]][:, None]
        apart = 1.0 + 0.03 * np.arange(gain.size)[:, None]
        scaled[key] = np.round(np.where(gain < 0, np.abs(weight), weight) * np.abs(gain) * apart, 3)
    return scaled


def _judged(network: Network, names: Mapping[str, int], wanted: Wanted) -> dict[str, NDArray[np.int64]]:
    """Return how each neuron fires."""
    try:
        solution = solve(network, wanted.inputs, wanted.t_end, max_spikes=_MAX_SPIKES)
    except StoppedError:
        return {name: np.full(n, _TOO_MANY) for name, n in names.items()}
    judged = {}
    for name, n in names.items():
        counts = solution.spikes[name].counts()
        mean = counts.mean(axis=0)
        found = np.full(n, _FITTING)
        found[mean > wanted.rate[1]] = _TOO_MANY
        few = mean < wanted.rate[0]
        found[few | ~counts.all(axis=0) if name in wanted.always else few] = _TOO_FEW
        if (found == _FITTING).any():
            for distance, bound in zip(separation(solution, name), wanted.bounds, strict=True):
                found[(found == _FITTING) & ~(distance >= bound)] = _TOO_NEAR
        judged[name] = found
    for warning in solution.warnings:
        if warning.population in judged:
            judged[warning.population][warning.neuron] = _TOO_NEAR
    return judged
