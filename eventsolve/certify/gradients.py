"""Gradients of a batch in balls, in the layout of Gradients, and how a float64 gradient compares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from flint import arb
from numpy.typing import NDArray

from eventsolve.adjoint import Gradients
from eventsolve.certify.adjoint import Adjoint
from eventsolve.certify.balls import rounded
from eventsolve.certify.boxes import PARAMETERS, Box
from eventsolve.certify.enclosures import Enclosures, added, enclosures_of, joined
from eventsolve.checks import real_array
from eventsolve.frozen import Frozen
from eventsolve.network import Network, parameters_of

Reals = NDArray[np.float64]

TOLERANCE = 1e-10
"""By how much a float64 gradient may miss its enclosure, relative to the largest entry of its array."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientEnclosures(Frozen):
    """A gradient as :class:`eventsolve.Gradients`, every array as midpoints and radii; ``value`` is the loss's.

    ``value`` is nan with an infinite radius for a loss that has no enclosure. Per synapse, ``weight`` and ``delay`` are
    laid out as the weight that was given, a sparse one's as (n_synapses,) in the order of ``Projection.weights``.
    """

    value: Enclosures
    weight: Mapping[Any, Enclosures]
    delay: Mapping[Any, Enclosures]
    tau_mem: Mapping[str, Enclosures]
    tau_syn: Mapping[str, Enclosures]
    v_threshold: Mapping[str, Enclosures]
    v_reset: Mapping[str, Enclosures]
    v_leak: Mapping[str, Enclosures]
    t_ref: Mapping[str, Enclosures]
    v_initial: Mapping[str, Enclosures]
    i_initial: Mapping[str, Enclosures]
    spike_times: Mapping[str, Enclosures]


class Misfit(NamedTuple):
    """A claimed gradient that is proven wrong, with what is claimed and what is proven of its worst entry."""

    parameter: str
    key: Any
    entry: tuple[int, ...]
    claimed: float
    proven: float

    def __str__(self) -> str:
        where = f"{self.parameter}[{self.key!r}]{list(self.entry)}"
        return f"the gradient for {where} is {self.proven!r}, not {self.claimed!r}"


@dataclass(frozen=True, eq=False, repr=False)
class SampleGradient(Frozen):
    """One sample's part of a gradient: flat enclosures by name, and those of its spikes by population."""

    value: Enclosures
    weight: Enclosures
    delay: Enclosures
    parameters: Mapping[str, Enclosures]
    spike_times: Mapping[str, Enclosures]


def sample_gradient(
    found: Adjoint, value: arb | None, matched: Mapping[str, Sequence[int]], divisor: int
) -> SampleGradient:
    """Return one sample's part of a gradient as plain numbers."""
    unknown = Enclosures(np.array(math.nan), np.array(math.inf))
    middle, radius = (math.nan, math.inf) if value is None else rounded(value / divisor)
    return SampleGradient(
        unknown if value is None else Enclosures(np.array(middle), np.array(radius)),
        enclosures_of(found.weight),
        enclosures_of(found.delay),
        {name: enclosures_of(found.parameters[name]) for name in PARAMETERS},
        {name: enclosures_of(found.spike_times[k] for k in places) for name, places in matched.items()},
    )


def gradient_of(network: Network, box: Box, parts: Sequence[SampleGradient]) -> GradientEnclosures:
    """Return the gradient of a batch."""
    values = [part.value for part in parts]
    value = added([Enclosures(v.midpoints.reshape(1), v.radii.reshape(1)) for v in values], 1)
    n_synapses = box.synapses.source.size
    by_synapse: dict[str, dict[Any, Enclosures]] = {}
    for name in ("weight", "delay"):
        total = added([getattr(part, name) for part in parts], n_synapses)
        by_synapse[name] = {}
        for key, place in box.synapses.slices.items():
            weight = network.projections[key].weight
            shape = weight.shape if isinstance(weight, np.ndarray) else (place.stop - place.start,)
            by_synapse[name][key] = Enclosures(*(column[place].reshape(shape) for column in total))
    by_cell: dict[str, dict[str, Enclosures]] = {}
    for name in PARAMETERS:
        total = added([part.parameters[name] for part in parts], box.n_cells)
        by_cell[name] = {
            population: Enclosures(*(column[place] for column in total))
            for population, place in box.populations.items()
            if name in _parameters(network, population)
        }
    times = {
        name: joined([p.spike_times[name] for p in parts]) for name in (parts[0].spike_times if parts else ())
    }
    return GradientEnclosures(
        Enclosures(value.midpoints[0], value.radii[0]),
        **by_synapse,
        **by_cell,
        spike_times=times,
    )


def _parameters(network: Network, population: str) -> tuple[str, ...]:
    neuron = network.population(population).neuron
    return () if neuron is None else parameters_of(neuron)


def arrays_of(gradients: GradientEnclosures) -> Iterator[tuple[str, Any, Enclosures]]:
    """Yield (parameter, key, enclosures) of every array of a gradient."""
    for f in fields(gradients):
        if f.name != "value":
            for key, enclosures in getattr(gradients, f.name).items():
                yield f.name, key, enclosures


def compared(proven: GradientEnclosures, claimed: Gradients) -> tuple[tuple[Misfit, ...], float]:
    """Return where a float64 gradient misses its enclosures, array by array, and by how many ulps at most.

    An array's ulp is that of its largest entry.

    Raises
    ------
    ValueError
        If the gradient is not one of this solution, summed over the samples.
    """
    misfits, farthest = [], 0.0
    for name, key, (middle, radius) in arrays_of(proven):
        values = _claimed(claimed, name, key)
        if values.shape != middle.shape:
            raise ValueError(
                f"claimed_gradients.{name}[{key!r}] must have shape {middle.shape}; got {values.shape}"
            )
        if not values.size:
            continue
        size = float(np.abs(middle).max())
        off = np.abs(values - middle)
        if size > 0.0:
            farthest = max(farthest, float((off + radius).max()) / float(np.spacing(size)))
        wrong = ~(off - radius <= TOLERANCE * size)
        if wrong.any():
            worst = int(np.argmax(np.where(np.isnan(off), np.inf, off - radius)))
            entry = tuple(int(i) for i in np.unravel_index(worst, values.shape))
            misfits.append(Misfit(name, key, entry, float(values[entry]), float(middle[entry])))
    return tuple(misfits), farthest


def _claimed(claimed: Gradients, name: str, key: Any) -> Reals:
    given = getattr(claimed, name).get(key)
    if given is None:
        raise ValueError(f"claimed_gradients.{name} lacks {key!r}")
    return real_array(f"claimed_gradients.{name}[{key!r}]", given.data if sp.issparse(given) else given)
