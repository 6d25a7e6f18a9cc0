"""What moves, and how far: the numbers of a network and its spikes, by multiples of a radius or along a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from eventsolve.checks import first_entry, real_array, refuse_units, seconds_array, shown
from eventsolve.frozen import FrozenMapping
from eventsolve.kernels.perturbation import Scales
from eventsolve.network import TIMES, Network, Projection, parameters_of
from eventsolve.schedule import Layer
from eventsolve.shown import arrow, listed
from eventsolve.solution import Solution
from eventsolve.synapses import canonical_rows, same_synapses
from eventsolve.typing import Direction, Reals

Pattern: TypeAlias = Mapping[str, Mapping[Any, Reals]]
"""Numbers by name and key, as in Gradients: (n_synapses,) for a projection, (n,) or (n_spikes,)."""

NEURON_PARAMETERS = (
    *("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref"),
    *("v_initial", "i_initial"),
)
NAMES = ("weight", "delay", *NEURON_PARAMETERS, "spike_times")


def pattern_of(solution: Solution, of: str | Direction) -> Pattern:
    """Return what ``of`` asks for, number by number; errors as of :func:`eventsolve.trust_radius`."""
    if isinstance(of, str):
        _require_name("of", of)
        of = {of: dict.fromkeys(_keys(solution.network, of), 1.0)}
    if not isinstance(of, Mapping):
        raise ValueError(f"of must be one of {NAMES} or a mapping of them; got {shown(of)}")
    return _numbers(solution, "of", of, 0.0)


def direction_of(solution: Solution, direction: Direction, what: str = "direction") -> Pattern:
    """Return how far each number of a network and of its spikes moves; errors as of :func:`eventsolve.jvp`.

    They speak of ``what``, the argument.
    """
    if not isinstance(direction, Mapping):
        raise TypeError(f"{what} must be a mapping of some of {NAMES}; got {shown(direction)}")
    return _numbers(solution, what, direction, -np.inf)


def require_key(solution: Solution, what: str, name: str, key: object) -> None:
    """Raise a ValueError unless there are numbers of that name for a key."""
    known = _keys(solution.network, name) if name != "spike_times" else tuple(solution.spikes)
    if type(key) not in (str, tuple) or key not in known:
        raise ValueError(f"{what} names {shown(key)}; there are {list(known)}")


def scales_of(layer: Layer, pattern: Pattern) -> Scales:
    """Return a pattern's numbers for the synapses and neurons of a layer, as kernels take them; 0 where it has none."""
    synapses = {
        name: np.concatenate(
            [pattern.get(name, {}).get(p.key, np.zeros(p.weights.size)) for p in layer.projections]
            + [np.empty(0)]
        )[layer.order]
        for name in ("weight", "delay")
    }
    neurons = np.zeros((8, layer.size))
    for k, name in enumerate(NEURON_PARAMETERS):
        for population, scale in pattern.get(name, {}).items():
            if population in layer.name:
                neurons[k, layer.slice_of(population)] = scale
    return Scales(synapses["weight"], synapses["delay"], neurons)


def _numbers(solution: Solution, what: str, given: Direction, lowest: float) -> Pattern:
    """Return every number of a mapping by name and key, each checked to be finite and no less than ``lowest``."""
    pattern = {}
    for name, by_key in given.items():
        _require_name(what, name)
        if not isinstance(by_key, Mapping):
            raise ValueError(f"{what}[{name!r}] must be a mapping of {_what(name)}s; got {shown(by_key)}")
        for key in by_key:
            require_key(solution, f"{what}[{name!r}]", name, key)
        pattern[name] = FrozenMapping(
            {
                key: _scale(solution, f"{what}[{name!r}][{key!r}]", name, key, x, lowest)
                for key, x in by_key.items()
            }
        )
    return FrozenMapping(pattern)


def moving(pattern: Pattern) -> str:
    """Say what moves."""
    return "; ".join(f"{name} of {listed(map(arrow, places))}" for name, places in pattern.items())


def _require_name(what: str, name: object) -> None:
    if name not in NAMES:
        raise ValueError(f"{what} must name some of {NAMES}; got {shown(name)}")


def _what(name: str) -> str:
    return "projection" if name in ("weight", "delay") else "population"


def _keys(network: Network, name: str) -> tuple[Any, ...]:
    if name in ("weight", "delay"):
        return tuple(network.projections)
    populations = network.populations.values()
    if name == "spike_times":
        return tuple(p.name for p in populations if p.neuron is None)
    return tuple(p.name for p in populations if p.neuron is not None and name in parameters_of(p.neuron))


def _scale(solution: Solution, label: str, name: str, key: Any, given: Any, lowest: float) -> Reals:
    """Return the numbers for one key, flat and read-only."""
    if name in ("weight", "delay"):
        values = _per_synapse(name, label, given, solution.network.projections[key])
    else:
        n = solution.spikes[key].n_spikes if name == "spike_times" else solution.network.population(key).size
        values = _taken(name)(label, given, "a number or an array of numbers")
        if values.shape not in ((), (n,)):
            raise ValueError(f"{label} must be a number or have shape ({n},); got {values.shape}")
        values = np.array(np.broadcast_to(values, (n,)))
    bad = ~(np.isfinite(values) & (values >= lowest))
    if bad.any():
        bound = " and >= 0" if lowest == 0.0 else ""
        raise ValueError(f"{label} must be finite{bound}; {first_entry(values, bad)}")
    values.setflags(write=False)
    return values


def _taken(name: str) -> Callable[..., Reals]:
    return seconds_array if name in TIMES else real_array


def _per_synapse(name: str, label: str, given: Any, projection: Projection) -> Reals:
    weight = projection.weight
    if sp.issparse(given):
        refuse_units(label, getattr(given, "data", None))
        rows = canonical_rows(given)
        if not (sp.issparse(weight) and same_synapses(rows, weight)):
            raise ValueError(f"{label} is sparse, so it must store exactly the synapses of a sparse weight")
        return np.array(rows.data, dtype=np.float64)
    values = _taken(name)(label, given, "a number or like the weight")
    if values.shape not in ((), weight.shape) or (values.ndim and sp.issparse(weight)):
        raise ValueError(f"{label} must be a number or like the weight, {weight.shape}; got {values.shape}")
    return np.array(
        np.broadcast_to(values, weight.shape if values.ndim else (projection.weights.size,))
    ).reshape(-1)
