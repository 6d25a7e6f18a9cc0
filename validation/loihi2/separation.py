"""Errors of rounded parameters, separated from those of grid and states, and predicted: only exact solutions can do so.

The network that a program stands for is solved in continuous time. The differences between its spikes and those of the
intended network are caused by the rounding of parameters; further differences on the chip, by its grid and states.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve.compare.matching import match_spikes
from eventsolve.frozen import Frozen
from eventsolve.network import Network
from eventsolve.shown import Summary
from eventsolve.typing import Integers, Reals, Weights
from validation.loihi2.causes import PARAMETERS
from validation.loihi2.quantities import network_of_parts, parts_of
from validation.loihi2.target import Loihi2


def shifts(exact: es.SpikeTrains, other: es.SpikeTrains) -> tuple[Reals, float]:
    """Return how much later spikes are, neuron by neuron, in seconds, and the share of neurons with equal spike counts.

    Only neurons with as many spikes in both enter the shifts. The share is among neurons that spike in either.
    """
    one, two = exact.counts(), other.counts()
    same = one == two
    late = []
    for trains in (exact, other):
        order = _by_neuron(trains)
        kept = order[same[trains.samples[order], trains.neurons[order]]]
        late.append(trains.times[kept])
    spiking = (one > 0) | (two > 0)
    return late[1] - late[0], float(same[spiking].mean()) if spiking.any() else 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Separation(Frozen):
    """Shifts of one population's spikes by cause, in seconds, for neurons with the right number of spikes.

    Attributes
    ----------
    population : str
    of_parameters : ndarray of float64
        Shifts caused by rounded parameters alone.
    of_all : ndarray of float64
        Shifts on the chip.
    same_parameters, same_all : float
        Shares of neurons with the right number of spikes.
    foreseen : ndarray of float64
        Prediction of ``of_parameters`` to first order, by the exact derivative along the rounding errors.
    missed, extra : int
        Spikes that rounded parameters alone take away and add.
    margin, margin_missed : float
        Median overshoot of V beyond the threshold, in the unit of the voltage: of all spikes, and of those that rounded
        parameters take away; NaN if there are none.
    radius : float
        Median over samples of the factor by which rounding errors of either sign may grow before, to first order, they
        change the order of events. Below 1 a certificate is hardly possible.
    """

    population: str
    of_parameters: Reals
    of_all: Reals
    same_parameters: float
    same_all: float
    foreseen: Reals
    missed: int
    extra: int
    margin: float
    margin_missed: float
    radius: float

    def _summary(self) -> Summary:
        of, rest = self.of_parameters, self.of_parameters - self.foreseen
        right = "of neurons with the right number of spikes"
        correlation = np.corrcoef(of, self.foreseen)[0, 1] if of.size > 1 and of.any() else np.nan
        rows: list[tuple[str, object]] = [
            ("parameters", f"{_ms(of)}, {self.same_parameters:.1%} {right}"),
            (
                "foreseen",
                f"{_ms(self.foreseen)}, leaves {1e3 * _rms(rest):.3g} ms rms, correlation {correlation:.2f}",
            ),
            ("chip", f"{_ms(self.of_all)}, {self.same_all:.1%} {right}"),
            ("changed", f"{self.missed} spikes missed, {self.extra} extra, by parameters alone"),
            (
                "margins",
                f"{self.margin_missed:.2g} of the missed spikes, {self.margin:.2g} of all (median overshoot of V)",
            ),
            (
                "order",
                f"kept up to {self.radius:.2g} of the rounding errors to first order"
                + ("" if self.radius >= 1 else ": hardly a certificate at so few bits"),
            ),
        ]
        return f"Separation({self.population})", rows


def _rms(values: Reals) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _ms(values: Reals) -> str:
    mean = float(values.mean()) if values.size else 0.0
    return f"mean {1e3 * mean:+.3g} ms, rms {1e3 * _rms(values):.3g} ms"


def separate(
    problem: es.Problem,
    target: Loihi2,
    population: str,
    causes: Collection[str] = PARAMETERS,
    *,
    first: bool = False,
) -> Separation:
    """Separate the effect of rounded parameters on a population's spikes from that of grid and states, and predict it.

    Parameters
    ----------
    problem : Problem
    target : Loihi2
    population : str
    causes : collection of str
        Causes from :data:`validation.loihi2.causes.PARAMETERS`.
    first : bool
        Whether to look only at the first spike of each neuron.

    Raises
    ------
    ValueError
        If a cause is none of the parameters, the population has no spikes of its own, or the target cannot represent
        the network.
    """
    other = sorted(set(causes) - set(PARAMETERS))
    if other:
        raise ValueError(f"causes must be of {', '.join(PARAMETERS)}; got {', '.join(map(repr, other))}")
    neuron = problem.network.population(population).neuron
    if neuron is None or not neuron.spiking:
        raise ValueError(f"{population!r} has no spikes of its own")
    settings = target.settings_of_export
    rounded = network_of_parts(problem.network, parts_of(problem.network, settings, causes), settings, causes)
    solution = problem.solution
    direction = direction_to(problem.network, rounded)
    moved = np.asarray(es.jvp(solution, direction)[population])
    distances = es.margins(solution).overshoot[population]
    exact = solution.spikes[population]
    overshoot = np.empty(exact.n_spikes)  # of every spike, in the order of the spikes
    overshoot[_by_neuron(exact)] = distances.values[
        np.lexsort((distances.times, distances.neurons, distances.samples))
    ]
    alone = es.solve(rounded, problem.inputs, problem.t_end).spikes[population]
    chip = target.run(problem).spikes[population]
    if first:
        kept = _places(exact)
        moved, overshoot = moved[kept], overshoot[kept]
        exact, alone, chip = (_firsts(trains) for trains in (exact, alone, chip))
    same = (exact.counts() == alone.counts())[exact.samples, exact.neurons]
    order = _by_neuron(exact)
    of_parameters, share = shifts(exact, alone)
    of_all, share_all = shifts(exact, chip)
    match = match_spikes(population, exact, alone, problem.t_end)
    estimate = es.trust_radius(solution, of=_sizes(direction), certify=False)
    return Separation(
        population,
        of_parameters,
        of_all,
        share,
        share_all,
        moved[order[same[order]]],
        int(match.missed.size),
        int(match.extra.size),
        float(np.median(overshoot)) if overshoot.size else np.nan,
        float(np.median(overshoot[match.missed])) if match.missed.size else np.nan,
        float(np.median(estimate.radius)),
    )


def _by_neuron(trains: es.SpikeTrains) -> Integers:
    """Return the order of spikes by sample, neuron and time."""
    return np.lexsort((trains.times, trains.neurons, trains.samples))


def _places(trains: es.SpikeTrains) -> Integers:
    """Return the indices of first spikes, in order."""
    index = trains.first_index()
    return np.sort(index[index >= 0])


def _firsts(trains: es.SpikeTrains) -> es.SpikeTrains:
    """Return the first spike of every neuron."""
    kept = _places(trains)
    return es.SpikeTrains.from_arrays(
        trains.times[kept],
        trains.neurons[kept],
        trains.samples[kept],
        n_neurons=trains.n_neurons,
        n_samples=trains.n_samples,
    )


def direction_to(network: Network, other: Network) -> dict[str, dict[Any, Weights]]:
    """Return by how much the numbers of another network differ, as :func:`eventsolve.jvp` takes a direction."""
    found: dict[str, dict[Any, Weights]] = {}
    for key, projection in network.projections.items():
        for name, one, two in (
            ("weight", projection.weights, other.projections[key].weights),
            ("delay", projection.delay, other.projections[key].delay),
        ):
            if (one != two).any():
                found.setdefault(name, {})[key] = projection.shaped(two - one)
    for place, population in network.populations.items():
        if population.neuron is None:
            continue
        for name in ("tau_mem", "tau_syn", "v_threshold", "v_leak"):
            before, after = population.parameter(name), other.population(place).parameter(name)
            if (before != after).any():
                found.setdefault(name, {})[place] = after - before
    return found


def _sizes(direction: dict[str, dict[Any, Weights]]) -> dict[str, dict[Any, Weights]]:
    """Return the absolute values of changes."""
    return {
        name: {place: abs(v) if sp.issparse(v) else np.abs(np.asarray(v)) for place, v in places.items()}
        for name, places in direction.items()
    }
