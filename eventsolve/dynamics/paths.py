"""One number, or a direction of many, along which a network and its inputs move: every network on it by its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import index, shown
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.network import Network
from eventsolve.patterns import NAMES, NEURON_PARAMETERS, Pattern, direction_of, moving, require_key
from eventsolve.shown import Summary, arrow
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Direction, Owner, Place, Reals

Parameter: TypeAlias = Direction | tuple[str, Owner] | tuple[str, Owner, Place]
"""A direction, as :func:`eventsolve.jvp` takes it, or (name, key) or (name, key, place) of what has the value."""


@dataclass(frozen=True, eq=False, repr=False)
class Path(Frozen):
    """Networks and inputs by a value: each number is ``start`` + value * ``step``.

    Attributes
    ----------
    network : Network
        Of which all other numbers are.
    inputs : mapping of str to SpikeTrains
    start, step : mapping of str to mapping
        Of what moves, flat, as :func:`eventsolve.jvp` names it; input spikes in the order of ``inputs``.
    words : str
        What moves.
    """

    network: Network
    inputs: Mapping[str, SpikeTrains]
    start: Pattern
    step: Pattern
    words: str

    def _summary(self) -> Summary:
        return f"Path({self.words})", []

    def at(self, value: float) -> tuple[Network, dict[str, SpikeTrains]]:
        """Return the network and the inputs at a value; a ValueError says which number it takes out of its bounds."""
        moved = {
            name: {key: start + value * self.step[name][key] for key, start in by_key.items()}
            for name, by_key in self.start.items()
        }
        return rebuilt(self.network, self.inputs, moved)

    def direction_at(self, value: float) -> Pattern:
        """Return how far each number moves for a step of 1, input spikes in the order that they have at a value."""
        moved = dict(self.step)
        if "spike_times" in moved:
            moved["spike_times"] = FrozenMapping(
                {
                    name: step[self.order(name, self.start["spike_times"][name] + value * step)]
                    for name, step in moved["spike_times"].items()
                }
            )
        return FrozenMapping(moved)

    def resolution(self, value: float, t_end: float) -> float:
        """Return how little a value may change before no number of the network changes any more, nor itself.

        A delay or another duration changes nothing by less than what a time next to t_end can be told from the next.
        """
        finest = np.inf
        for name, by_key in self.step.items():
            for key, step in by_key.items():
                some = step != 0.0
                numbers = self.start[name][key][some] + value * step[some]
                spacings = np.spacing(np.abs(numbers))
                if name in ("delay", "t_ref", "spike_times"):
                    spacings = np.maximum(spacings, np.spacing(t_end))
                finest = min(finest, float((spacings / np.abs(step[some])).min(initial=np.inf)))
        return max(finest, float(np.spacing(abs(value))))

    def order(self, name: str, times: Reals) -> NDArray[np.intp]:
        """Return the order in which the spikes of an input come at times."""
        return _in_order(self.inputs[name], times)


def _in_order(trains: SpikeTrains, times: Reals) -> NDArray[np.intp]:
    return np.lexsort((trains.neurons, times, trains.samples))


def rebuilt(
    network: Network, inputs: Mapping[str, SpikeTrains], numbers: Mapping[str, Mapping[Any, Reals]]
) -> tuple[Network, dict[str, SpikeTrains]]:
    """Return a network and inputs with other numbers, flat, by name and key; errors as of what takes them."""
    projections = network.projections
    if "weight" in numbers:
        network = network.with_weights({k: projections[k].shaped(w) for k, w in numbers["weight"].items()})
    if "delay" in numbers:
        network = network.with_delays({k: projections[k].shaped(d) for k, d in numbers["delay"].items()})
    neurons: dict[str, dict[str, Reals]] = {}
    for name in NEURON_PARAMETERS:
        for population, values in numbers.get(name, {}).items():
            neurons.setdefault(population, {})[name] = values
    changed = {}
    for name, parameters in neurons.items():
        neuron = network.population(name).neuron
        assert neuron is not None
        changed[name] = replace(neuron, **parameters)  # type: ignore[arg-type]
    if changed:
        network = network.with_neurons(changed)
    moved = dict(inputs)
    for name, times in numbers.get("spike_times", {}).items():
        trains, order = inputs[name], _in_order(inputs[name], times)
        moved[name] = SpikeTrains.from_arrays(
            times[order],
            trains.neurons[order],
            trains.samples[order],
            n_neurons=trains.n_neurons,
            n_samples=trains.n_samples,
        )
    return network, moved


def path_of(solution: Solution, parameter: Parameter) -> Path:
    """Return the path that a parameter names, of the network and the inputs of a solution.

    Raises
    ------
    TypeError, ValueError
        If it names what there is not, or nothing that moves, or spikes that are no inputs.
    """
    inputs = {n: t for n, t in solution.spikes.items() if solution.network.population(n).neuron is None}
    if isinstance(parameter, tuple):
        step, words = _named(solution, parameter)
    else:
        if not isinstance(parameter, Mapping):
            raise TypeError(_expected(parameter))
        step = direction_of(solution, parameter, "parameter")
        words = f"along {moving(step)}"
    for name in step.get("spike_times", {}):
        if name not in inputs:
            raise ValueError(
                f"parameter must move spikes of inputs only, {sorted(inputs)}; got those of {name!r}, "
                "which the network makes"
            )
    if not any(array.any() for by_key in step.values() for array in by_key.values()):
        raise ValueError(f"parameter must move at least one number; got {shown(parameter)}")
    one = isinstance(parameter, tuple)
    start = {
        name: {
            key: np.where(array != 0.0, 0.0, values) if one else values
            for key, array in by_key.items()
            for values in [numbers_of(solution, name, key)]
        }
        for name, by_key in step.items()
    }
    return Path(solution.network, inputs, start, step, words)


def _expected(parameter: object) -> str:
    return (
        "parameter must be (name, key) or (name, key, place), or a direction as a mapping of name to {key: numbers}, "
        f"with a name of {NAMES}; got {shown(parameter)}"
    )


def _named(solution: Solution, parameter: tuple[Any, ...]) -> tuple[Pattern, str]:
    """Return the direction of a number that is named by (name, key) or (name, key, place), and what it is called."""
    if len(parameter) not in (2, 3) or not isinstance(parameter[0], str) or parameter[0] not in NAMES:
        raise ValueError(_expected(parameter))
    name, key = parameter[:2]
    require_key(solution, f"parameter {name!r}", name, key)
    step = direction_of(solution, {name: {key: 1.0}}, "parameter")
    words = f"{name} of {arrow(key)}"
    if len(parameter) == 2:
        return step, words
    size = step[name][key].size
    if name in ("weight", "delay"):
        projection = solution.network.projections[key]
        rows, columns = projection.weight.shape
        if not (isinstance(parameter[2], tuple) and len(parameter[2]) == 2):
            raise ValueError(f"place of a {name} must be (post, pre); got {shown(parameter[2])}")
        post, pre = (index("place", p, n) for p, n in zip(parameter[2], (rows, columns), strict=True))
        low, high = projection.row_offsets[post : post + 2]
        found = np.flatnonzero(projection.sources[low:high] == pre)
        if not found.size:
            raise ValueError(
                f"place {(post, pre)} of {key} is no synapse: the sparse weight does not store it"
            )
        place, words = int(low + found[0]), f"{words} ({pre} to {post})"
    else:
        place = index("place", parameter[2], size)
        words = f"{words}, {'spike' if name == 'spike_times' else 'neuron'} {place}"
    only = np.zeros(size)
    only[place] = 1.0
    return FrozenMapping({name: FrozenMapping({key: only})}), words


def numbers_of(solution: Solution, name: str, key: Any) -> Reals:
    """Return the numbers of one name and key, flat."""
    network = solution.network
    if name == "weight":
        return np.array(network.projections[key].weights)
    if name == "delay":
        return np.array(network.projections[key].delay)
    if name == "spike_times":
        return np.array(solution.spikes[key].times)
    return network.population(key).parameter(name)
