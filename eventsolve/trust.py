"""trust_radius(): how far parameters or input spikes may move before the order of events changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from eventsolve import distances, perturbation
from eventsolve.adjoint import Gradients, vjp
from eventsolve.checks import first_entry, real_array, shown
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.layered import Spikes, States
from eventsolve.margins import (
    KINDS,
    Margin,
    Rows,
    origins,
    rows_of,
    source_of,
    spiking_layers,
    where_in_words,
)
from eventsolve.network import Network, Projection, parameters_of
from eventsolve.schedule import Layer
from eventsolve.solution import Chunk, Gathered, Solution, own_spikes, places_of

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Pattern: TypeAlias = Mapping[str, Mapping[Any, Reals]]
"""How far each number may move, as a multiple of the radius: by name and key as in Gradients, flat."""

_NEURON = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")
NAMES = ("weight", "delay", *_NEURON, "spike_times")
_ENTRIES = 1 << 22
"""Synapses and arrivals of so many samples are looked at together that there are no more."""


@dataclass(frozen=True, eq=False)
class TrustRadius:
    """How far numbers may move, all at once, before the order of events changes.

    Attributes
    ----------
    of : mapping of str to mapping
        What may move, and by which multiple of the radius, as :func:`trust_radius` was asked.
    first_order : ndarray of float64, (n_samples,)
        The smallest radius at which a distance of :func:`margins` vanishes if all of them were linear: the distance
        over the sum of the sizes of its derivatives. An estimate; inf where nothing can change the order.
    limits : tuple of Margin or None, n_samples of them
        The distance that vanishes first, None where first_order is inf.
    """

    of: Pattern
    first_order: Reals
    limits: tuple[Margin | None, ...]


def trust_radius(
    solution: Solution,
    of: str | Mapping[str, Mapping[Any, Any]] = "weight",
    *,
    threads: int | None = None,
) -> TrustRadius:
    """Return how far parameters or spikes may move before the order of events changes, sample by sample.

    Parameters
    ----------
    solution : Solution
    of : str or mapping of str to mapping
        What moves: ``"weight"``, ``"delay"``, ``"tau_mem"`` or another parameter of neurons, each number by up to the
        radius; ``"spike_times"`` moves every input spike. A mapping gives multiples of the radius, which are numbers or
        like the gradient of that name: ``{"weight": {("in", "hidden"): 0.5 * step}}`` has a radius of 1 where no
        rounding to multiples of ``step`` can change the order, and ``{"weight": {key: abs(weight)}}`` a relative one.
        Under ``"spike_times"`` a population that is no input may stand too: each of its spikes is emitted up to so
        much early or late.
    threads : int, optional
        As in ``solve``; the result has the same bits for any number.

    Raises
    ------
    TypeError
        If ``solution`` is not a Solution.
    ValueError
        For unknown names, shapes that do not fit, or multiples that are not finite and >= 0.
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {type(solution).__name__}")
    pattern = pattern_of(solution, of)
    layers = spiking_layers(solution)
    step = max(1, _ENTRIES // _entries(solution))
    parts = [
        (k, a, min(a + step, high - low))
        for k, (low, high) in enumerate(chunk_ranges(solution.n_samples))
        for a in range(0, high - low, step)
    ]

    def work(k: int) -> tuple[Reals, list[Margin | None]]:
        chunk, first, last = parts[k]
        return _first_order(_part(solution, chunk, first, last), layers, _cut(pattern, solution, parts[k]))

    radii: list[Reals] = [np.empty(0)]
    limits: list[Margin | None] = []
    for (k, first, _), (radius, limit) in zip(parts, map_chunks(work, len(parts), threads), strict=True):
        low = chunk_ranges(solution.n_samples)[k][0] + first
        radii.append(radius)
        limits += [m and m._replace(sample=m.sample + low) for m in limit]
    return TrustRadius(pattern, np.concatenate(radii), tuple(limits))


# -- what moves -----------------------------------------------------------------------------------------------


def pattern_of(solution: Solution, of: str | Mapping[str, Mapping[Any, Any]]) -> Pattern:
    """Return what ``of`` asks for, number by number; errors as of :func:`trust_radius`."""
    network = solution.network
    if isinstance(of, str):
        _require_name(of)
        of = {of: dict.fromkeys(_keys(network, of), 1.0)}
    if not isinstance(of, Mapping):
        raise ValueError(f"of must be one of {NAMES} or a mapping of them; got {shown(of)}")
    pattern = {}
    for name, given in of.items():
        _require_name(name)
        if not isinstance(given, Mapping):
            raise ValueError(f"of[{name!r}] must be a mapping of {_what(name)}s; got {shown(given)}")
        known = _keys(network, name) if name != "spike_times" else tuple(solution.spikes)
        for key in given:
            if key not in known:
                raise ValueError(f"of[{name!r}] names {shown(key)}; there are {list(known)}")
        pattern[name] = MappingProxyType({key: _scale(solution, name, key, x) for key, x in given.items()})
    return MappingProxyType(pattern)


def _require_name(name: object) -> None:
    if name not in NAMES:
        raise ValueError(f"of must name some of {NAMES}; got {shown(name)}")


def _what(name: str) -> str:
    return "projection" if name in ("weight", "delay") else "population"


def _keys(network: Network, name: str) -> tuple[Any, ...]:
    if name in ("weight", "delay"):
        return tuple(network.projections)
    populations = network.populations.values()
    if name == "spike_times":
        return tuple(p.name for p in populations if p.neuron is None)
    return tuple(p.name for p in populations if p.neuron is not None and name in parameters_of(p.neuron))


def _scale(solution: Solution, name: str, key: Any, given: Any) -> Reals:
    """Return the multiples for one key, flat and read-only."""
    label = f"of[{name!r}][{key!r}]"
    if name in ("weight", "delay"):
        values = _per_synapse(label, given, solution.network.projections[key])
    else:
        n = solution.spikes[key].n_spikes if name == "spike_times" else solution.network.population(key).size
        values = real_array(label, given, "a number or an array of numbers")
        if values.shape not in ((), (n,)):
            raise ValueError(f"{label} must be a number or have shape ({n},); got {values.shape}")
        values = np.array(np.broadcast_to(values, (n,)))
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"{label} must be finite and >= 0; {first_entry(values, bad)}")
    values.setflags(write=False)
    return values


def _per_synapse(label: str, given: Any, projection: Projection) -> Reals:
    weight = projection.weight
    if sp.issparse(given):
        rows = sp.csr_array(given)
        rows.sort_indices()
        same = sp.issparse(weight) and rows.shape == weight.shape
        if not (
            same
            and np.array_equal(rows.indptr, weight.indptr)
            and np.array_equal(rows.indices, weight.indices)
        ):
            raise ValueError(f"{label} is sparse, so it must store exactly the synapses of a sparse weight")
        return np.array(rows.data, dtype=np.float64)
    values = real_array(label, given, "a number or like the weight")
    if values.shape not in ((), weight.shape) or (values.ndim and sp.issparse(weight)):
        raise ValueError(f"{label} must be a number or like the weight, {weight.shape}; got {values.shape}")
    return np.array(
        np.broadcast_to(values, weight.shape if values.ndim else (projection.weights.size,))
    ).reshape(-1)


# -- parts of a solution --------------------------------------------------------------------------------------


def _entries(solution: Solution) -> int:
    """Return the number of synapses and of arrivals of one sample, on average, at least 1."""
    total = 1
    for p in solution.network.projections.values():
        synapses, neurons = p.weights.size, max(solution.network.population(p.pre).size, 1)
        spikes = solution.spikes[p.pre].n_spikes / max(solution.n_samples, 1)
        total += synapses + int(spikes * synapses / neurons)
    return total


def _part(solution: Solution, k: int, first: int, last: int) -> Solution:
    """Return the solution of the samples first to last of a chunk alone."""
    low = chunk_ranges(solution.n_samples)[k][0]
    chunk = solution.chunks[k]

    def spikes(all_spikes: Mapping[Any, Spikes]) -> dict[Any, Spikes]:
        return {name: _piece(s, first, last) for name, s in all_spikes.items()}

    def states(all_states: Mapping[Any, States]) -> dict[Any, States]:
        return {name: States(*(c[first:last] for c in s)) for name, s in all_states.items()}

    return replace(
        solution,
        spikes={name: t.select(np.arange(low + first, low + last)) for name, t in solution.spikes.items()},
        warnings=(),
        n_samples=last - first,
        chunks=(
            Chunk(
                last - first,
                spikes(chunk.spikes),
                spikes(chunk.carried),
                spikes(chunk.queued),
                states(chunk.start),
                states(chunk.end),
            ),
        ),
    )


def _piece(spikes: Spikes, first: int, last: int) -> Spikes:
    piece = slice(spikes.offsets[first], spikes.offsets[last])
    return Spikes(
        spikes.times[piece],
        spikes.neurons[piece],
        spikes.offsets[first : last + 1] - spikes.offsets[first],
        spikes.arrivals[piece],
        spikes.trigger[piece],
    )


def _cut(pattern: Pattern, solution: Solution, part: tuple[int, int, int]) -> Pattern:
    """Return the pattern of the part's own spikes."""
    k, first, last = part
    low = chunk_ranges(solution.n_samples)[k][0]
    spikes = {
        name: scale[solution.spikes[name].offsets[low + first] : solution.spikes[name].offsets[low + last]]
        for name, scale in pattern.get("spike_times", {}).items()
    }
    return {**pattern, "spike_times": spikes}


# -- to first order -------------------------------------------------------------------------------------------


class Study(NamedTuple):
    """A layer of a part of a solution: its own spikes, those of its sources, and every sample's lives and distances."""

    layer: Layer
    own: Spikes
    gathered: Gathered
    origin: Integers
    lives: list[distances.Lives]
    rows: Rows


class Ranked(NamedTuple):
    """Distances of one sample in all layers, by a lower bound on the radius at which each vanishes."""

    lower: Reals
    layer: Integers
    numbers: Reals
    labels: Integers
    causes: Integers


def _first_order(part: Solution, layers: list[Layer], pattern: Pattern) -> tuple[Reals, list[Margin | None]]:
    """Return each sample's first-order radius, and the distance that vanishes there.

    The triangle inequality bounds every distance's radius from below; distances are differentiated in the order of
    these bounds, one of each sample at a time, until no other can be nearer.
    """
    studies = [_study(part, layer, _scales(layer, pattern)) for layer in layers]
    ranked = list(_ranked(part, studies, pattern))
    radius = np.full(part.n_samples, np.inf)
    nearest = np.full(part.n_samples, -1)
    at = np.zeros(part.n_samples, np.int64)
    while True:
        asked = np.array(
            [k < r.lower.size and r.lower[k] < best for k, r, best in zip(at, ranked, radius, strict=True)]
        )
        for s in np.flatnonzero(asked):
            if ranked[s].lower[at[s]] == 0.0:  # no distance is left, or it depends on a spike without a slope
                radius[s], nearest[s], asked[s] = 0.0, at[s], False
        if not asked.any():
            break
        for s, found in zip(
            np.flatnonzero(asked), _radii(part, studies, pattern, ranked, at, asked), strict=True
        ):
            if found < radius[s]:
                radius[s], nearest[s] = found, at[s]
        at += asked
    limits = [_limit(studies, ranked[s], s, int(k)) if k >= 0 else None for s, k in enumerate(nearest)]
    return radius, limits


def _study(part: Solution, layer: Layer, scales: perturbation.Scales) -> Study:
    chunk = part.chunks[0]
    heard = (layer.afferents.weight != 0.0) | (scales.weight > 0.0)
    rows, gathered = rows_of(part, layer, chunk, heard, np.iinfo(np.int64).max)
    own = own_spikes(layer, chunk)
    lives = [
        distances.lives_of(
            layer.neurons,
            layer.afferents,
            layer.cohorts,
            layer.n_sources,
            gathered.spikes,
            chunk.start[layer.name],
            part.after,
            own,
            part.t_end,
            sample,
        )
        for sample in range(part.n_samples)
    ]
    return Study(layer, own, gathered, origins(layer, gathered, own), lives, rows)


def _ranked(part: Solution, studies: list[Study], pattern: Pattern) -> Iterator[Ranked]:
    """Yield each sample's distances, nearest first by their bounds."""
    moved = {
        name: pattern["spike_times"].get(name, np.zeros(spikes.n_spikes))
        for name, spikes in part.spikes.items()
    }
    found = []
    for study in studies:
        bounds, spikes = _bounds(study, pattern, moved)
        moved |= spikes
        value = np.maximum(study.rows.numbers[:, distances.VALUE], 0.0)
        lower = np.divide(value, bounds, out=np.full(value.size, np.inf), where=bounds > 0.0)
        found.append(np.where(np.isfinite(bounds), lower, 0.0))
    for s in range(part.n_samples):
        pieces = [
            (lower[a:b], np.full(b - a, k), rows.numbers[a:b], rows.labels[a:b], rows.causes[a:b])
            for k, (lower, study) in enumerate(zip(found, studies, strict=True))
            for rows in [study.rows]
            for a, b in [rows.offsets[s : s + 2]]
        ]
        columns = Ranked(*(np.concatenate(c) for c in zip(_NOTHING, *pieces, strict=True)))
        counts = (columns.labels[:, distances.KIND] != distances.SLOPE) & np.isfinite(columns.lower)
        order = np.flatnonzero(counts)[np.argsort(columns.lower[counts], kind="stable")]
        yield Ranked(*(c[order] for c in columns))


_NOTHING = Ranked(
    np.empty(0), np.empty(0, np.int64), np.empty((0, 4)), np.empty((0, 6), np.int64), np.empty(0, np.int64)
)


def _bounds(study: Study, pattern: Pattern, moved: Mapping[str, Reals]) -> tuple[Reals, dict[str, Reals]]:
    """Bound how far each of a layer's distances moves at radius 1, and each of its spikes, by population."""
    layer, own, rows = study.layer, study.own, study.rows
    scales, given = _scales(layer, pattern), _given(study.gathered, moved)
    emitted, reach = np.zeros(own.times.size), np.zeros(own.times.size)
    places = _places(layer, own)
    for name, place in places.items():
        emitted[place] = pattern["spike_times"].get(name, 0.0)
    bounds = np.zeros(rows.causes.size)
    for s, lives in enumerate(study.lives):
        changes = perturbation.changes_of(layer.neurons, layer.afferents, lives, own.trigger, scales, emitted)
        reached = perturbation.transport(
            layer.neurons, layer.afferents, lives, own, s, study.origin, given, changes, reach
        )
        here = slice(rows.offsets[s], rows.offsets[s + 1])
        bounds[here] = perturbation.bounds_of(
            layer.neurons,
            layer.afferents,
            lives,
            own.trigger,
            study.origin,
            given,
            scales,
            reached,
            rows.numbers[here],
            rows.labels[here],
        )
    return bounds, {name: reach[place] for name, place in places.items()}


def _places(layer: Layer, own: Spikes) -> dict[str, NDArray[np.int64]]:
    """Return by population which of a layer's spikes are its own, in the order of its spike trains."""
    if layer.efferents is None:
        return {layer.name[0]: np.arange(own.times.size)}
    return places_of(layer, own)


def _scales(layer: Layer, pattern: Pattern) -> perturbation.Scales:
    synapses = {
        name: np.concatenate(
            [pattern.get(name, {}).get(p.key, np.zeros(p.weights.size)) for p in layer.projections]
            + [np.empty(0)]
        )[layer.order]
        for name in ("weight", "delay")
    }
    neurons = np.zeros((8, layer.size))
    for k, name in enumerate(_NEURON):
        for population, scale in pattern.get(name, {}).items():
            if population in layer.name:
                neurons[k, layer.slice_of(population)] = scale
    return perturbation.Scales(synapses["weight"], synapses["delay"], neurons)


def _given(gathered: Gathered, moved: Mapping[str, Reals]) -> Reals:
    """Return a number for each spike of a layer's sources, 0 for those of the layer itself and of an earlier run."""
    parts = [np.zeros(size) if name is None else moved[name] for name, size in gathered.parts]
    joined = np.concatenate([*parts, np.empty(0)])
    return joined if gathered.order is None else joined[gathered.order]


def _radii(
    part: Solution,
    studies: list[Study],
    pattern: Pattern,
    ranked: list[Ranked],
    at: Integers,
    chosen: NDArray[np.bool_],
) -> Reals:
    """Return distance over sum of the sizes of its derivatives, of one distance of each chosen sample."""
    cotangents = {name: np.zeros(trains.n_spikes) for name, trains in part.spikes.items()}
    local = []
    for k, study in enumerate(studies):
        layer, own, gathered = study.layer, study.own, study.gathered
        gradient = perturbation.Gradient(
            np.zeros(gathered.spikes.times.size),
            np.zeros(own.times.size),
            np.zeros((part.n_samples, layer.order.size)),
            np.zeros((part.n_samples, layer.order.size)),
            np.zeros((part.n_samples, 8, layer.size)),
        )
        for s in np.flatnonzero(chosen):
            row = at[s]
            if ranked[s].layer[row] == k:
                perturbation.gradient_of(
                    ranked[s].numbers[row],
                    ranked[s].labels[row],
                    layer.neurons,
                    layer.afferents,
                    study.lives[s],
                    own.trigger,
                    gradient,
                    s,
                )
        by_source = np.empty_like(gradient.sources)
        by_source[slice(None) if gathered.order is None else gathered.order] = gradient.sources
        start = 0
        for name, size in gathered.parts:
            if name is not None:
                cotangents[name] += by_source[start : start + size]
            start += size
        by_own = gradient.own + (by_source[by_source.size - own.times.size :] if layer.cyclic else 0.0)
        for name, places in _places(layer, own).items():
            cotangents[name] += by_own[places]
        local.append(gradient)
    total = _moved(part, studies, pattern, vjp(part, cotangents, reduction="none", threads=1), local)[chosen]
    value = np.array([max(ranked[s].numbers[at[s], distances.VALUE], 0.0) for s in np.flatnonzero(chosen)])
    return np.divide(value, total, out=np.full(value.size, np.inf), where=total > 0.0)


def _moved(
    part: Solution,
    studies: list[Study],
    pattern: Pattern,
    gradients: Gradients,
    local: list[perturbation.Gradient],
) -> Reals:
    """Return how far each sample's distance moves at radius 1, to first order: sum_k scale_k |derivative_k|."""
    total = np.zeros(part.n_samples)
    for study, own in zip(studies, local, strict=True):
        layer = study.layer
        for name, d in (("weight", own.weight), ("delay", own.delay)):
            by_projection = layer.by_projection(d)
            for key, scale in pattern.get(name, {}).items():
                if key in by_projection:
                    total += np.abs(_flat(getattr(gradients, name)[key]) + by_projection[key]) @ scale
        for k, name in enumerate(_NEURON):
            for population, scale in pattern.get(name, {}).items():
                if population in layer.name:
                    d = own.neurons[:, k, layer.slice_of(population)]
                    total += np.abs(getattr(gradients, name)[population] + d) @ scale
    for name, scale in pattern["spike_times"].items():
        moved = np.abs(gradients.spike_times[name]) * scale
        total += np.bincount(part.spikes[name].samples, weights=moved, minlength=part.n_samples)
    return total


def _flat(gradient: Any) -> Reals:
    """Return each sample's gradient of a weight or delay, (n_samples, n_synapses)."""
    if isinstance(gradient, list):
        return np.stack([matrix.data for matrix in gradient])
    flat: Reals = gradient.reshape(gradient.shape[0], -1)
    return flat


def _limit(studies: list[Study], ranked: Ranked, sample: int, k: int) -> Margin:
    """Return one of a sample's distances as a Margin."""
    study = studies[ranked.layer[k]]
    labels, numbers, cause = ranked.labels[k], ranked.numbers[k], ranked.causes[k]
    population, neuron = study.layer.neuron_of(int(labels[distances.NEURON]))
    kind = KINDS[labels[distances.KIND]]
    event = ""
    if kind == "gap":
        number = study.gathered.spikes.neurons[cause] if cause >= 0 else -1
        source, source_neuron = source_of(study.layer, np.array([number]))
        event = where_in_words(int(labels[distances.PLACE]), str(source[0]), int(source_neuron[0]))
    time, value = float(numbers[distances.TIME]), float(numbers[distances.VALUE])
    return Margin(kind, population, sample, neuron, time, value, event)
