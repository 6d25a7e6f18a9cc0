"""trust_radius(certify=False): how far numbers may move before the order of events changes, were distances linear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.adjoint import Gradients, vjp
from eventsolve.chunks import map_chunks
from eventsolve.frozen import Frozen
from eventsolve.interrupts import call
from eventsolve.kernels import distance_gradients, distances, perturbation
from eventsolve.kinds import require_shapes
from eventsolve.patterns import NEURON_PARAMETERS, Pattern, moving, pattern_of, scales_of
from eventsolve.schedule import Layer
from eventsolve.shown import Summary, several
from eventsolve.solution import Solution
from eventsolve.stability.margins import (
    KINDS,
    Margin,
    Rows,
    rows_of,
    source_of,
    spiking_layers,
    where_in_words,
)
from eventsolve.stability.parts import LayerPart, given, layer_part_of, part_of, part_ranges, places_in
from eventsolve.typing import Direction, Integers, Reals


@dataclass(frozen=True, eq=False, repr=False)
class RadiusEstimate(Frozen):
    """How far numbers may move, all at once, before the order of events changes, to first order.

    Attributes
    ----------
    of : mapping of str to mapping
        What moves, and by which multiple of the radius: (n_synapses,) for a projection, (n,) or (n_spikes,).
    radius : ndarray of float64, (n_samples,)
        The smallest radius at which a distance of :func:`eventsolve.margins` vanishes if all of them were linear: the
        distance over the sum of the sizes of its derivatives. Inf where nothing that moves can change the order.
    limits : tuple of Margin or None, n_samples of them
        The distance that vanishes first, None where the radius is inf.
    """

    of: Pattern
    radius: Reals
    limits: tuple[Margin | None, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, radius="n", limits="n")

    def _summary(self) -> Summary:
        rows = [("of", moving(self.of)), ("radius", span(self.radius)), *limit_of(self.radius, self.limits)]
        return f"RadiusEstimate({several(self.radius.size, 'sample')})", rows


def span(radius: Reals) -> str:
    """Return the radii of a batch from the smallest to the largest, with the sample of the smallest."""
    if not radius.size:
        return "none"
    return f"{radius.min():.3g} (sample {int(np.argmin(radius))}) to {radius.max():.3g}"


def limit_of(radius: Reals, limits: Sequence[Margin | None]) -> list[tuple[str, object]]:
    """Return as a row of a summary what limits the sample with the smallest radius."""
    limit = limits[int(np.argmin(radius))] if radius.size else None
    return [] if limit is None else [("limit", limit)]


def estimate_radius(
    solution: Solution, of: str | Direction = "weight", *, threads: int | None = None
) -> RadiusEstimate:
    """Return what :func:`eventsolve.trust_radius` says to first order, sample by sample."""
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {type(solution).__name__}")
    solution.require_whole("trust radii")
    solution.require_solved("trust radii are")
    solution = solution.from_start()  # what was before is no part of it, and does not move
    pattern = pattern_of(solution, of)
    layers = spiking_layers(solution)
    ranges = part_ranges(solution)

    def work(k: int) -> tuple[Reals, list[Margin | None]]:
        return _first_order(part_of(solution, *ranges[k]), layers, _cut(pattern, solution, *ranges[k]))

    radii: list[Reals] = [np.empty(0)]
    limits: list[Margin | None] = []
    for (low, _), (radius, limit) in zip(ranges, map_chunks(work, len(ranges), threads), strict=True):
        radii.append(radius)
        limits += [m and m._replace(sample=m.sample + low) for m in limit]
    return RadiusEstimate(pattern, np.concatenate(radii), tuple(limits))


def _cut(pattern: Pattern, solution: Solution, first: int, last: int) -> Pattern:
    """Return the pattern with the spikes of some samples only."""
    spikes = {
        name: scale[solution.spikes[name].offsets[first] : solution.spikes[name].offsets[last]]
        for name, scale in pattern.get("spike_times", {}).items()
    }
    return {**pattern, "spike_times": spikes}


# -- to first order -------------------------------------------------------------------------------------------


GRAZING = -1.0
"""The lower bound of a distance that depends on a spike without a slope, which any change may take away."""


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
    layer_parts = [layer_part_of(part, layer) for layer in layers]
    rows = [_rows(part, layer_part, pattern) for layer_part in layer_parts]
    ranked = list(_ranked(part, layer_parts, rows, pattern))
    radius = np.full(part.n_samples, np.inf)
    nearest = np.full(part.n_samples, -1)
    at = np.zeros(part.n_samples, np.int64)
    while True:
        asked = np.array(
            [k < r.lower.size and r.lower[k] < best for k, r, best in zip(at, ranked, radius, strict=True)]
        )
        for s in np.flatnonzero(asked):
            if ranked[s].lower[at[s]] < 0.0:
                radius[s], nearest[s], asked[s] = 0.0, at[s], False
        if not asked.any():
            break
        for s, found in zip(
            np.flatnonzero(asked), _radii(part, layer_parts, pattern, ranked, at, asked), strict=True
        ):
            if found < radius[s]:
                radius[s], nearest[s] = found, at[s]
        at += asked
    limits = [_limit(layer_parts, ranked[s], s, int(k)) if k >= 0 else None for s, k in enumerate(nearest)]
    return radius, limits


def _rows(part: Solution, layer_part: LayerPart, pattern: Pattern) -> Rows:
    """Return all distances of a layer; a weight of 0 that may move makes events."""
    layer = layer_part.layer
    heard = (layer.afferents.weight != 0.0) | (scales_of(layer, pattern).weight > 0.0)
    (chunk,) = part._chunks
    return rows_of(part, layer, chunk, heard, np.iinfo(np.int64).max)[0]


def _ranked(
    part: Solution, layer_parts: list[LayerPart], all_rows: list[Rows], pattern: Pattern
) -> Iterator[Ranked]:
    """Yield each sample's distances, nearest first by their bounds."""
    moved = {
        name: pattern["spike_times"].get(name, np.zeros(spikes.n_spikes))
        for name, spikes in part.spikes.items()
    }
    found = []
    for layer_part, rows in zip(layer_parts, all_rows, strict=True):
        bounds, spikes = _bounds(layer_part, rows, pattern, moved)
        moved |= spikes
        value = np.maximum(rows.numbers[:, distances.VALUE], 0.0)
        lower = np.divide(value, bounds, out=np.full(value.size, np.inf), where=bounds > 0.0)
        found.append(np.where(np.isfinite(bounds), lower, GRAZING))
    for s in range(part.n_samples):
        pieces = [
            (lower[a:b], np.full(b - a, k), rows.numbers[a:b], rows.labels[a:b], rows.causes[a:b])
            for k, (lower, rows) in enumerate(zip(found, all_rows, strict=True))
            for a, b in [rows.offsets[s : s + 2]]
        ]
        joined: list[Any] = [np.concatenate(c) for c in zip(_NOTHING, *pieces, strict=True)]
        columns = Ranked(*joined)
        counts = (columns.labels[:, distances.KIND] != distances.SLOPE) & np.isfinite(columns.lower)
        order = np.flatnonzero(counts)[np.argsort(columns.lower[counts], kind="stable")]
        yield Ranked(*(column[order] for column in joined))


_NOTHING = Ranked(
    np.empty(0), np.empty(0, np.int64), np.empty((0, 4)), np.empty((0, 6), np.int64), np.empty(0, np.int64)
)


def _bounds(
    layer_part: LayerPart, rows: Rows, pattern: Pattern, moved: Mapping[str, Reals]
) -> tuple[Reals, dict[str, Reals]]:
    """Bound how far each of a layer's distances moves at radius 1, and each of its spikes, by population."""
    layer, own = layer_part.layer, layer_part.own
    scales, sources = scales_of(layer, pattern), given(layer_part.gathered, moved)
    emitted, reach = np.zeros(own.times.size), np.zeros(own.times.size)
    places = places_in(layer, own)
    for name, place in places.items():
        emitted[place] = pattern["spike_times"].get(name, 0.0)
    bounds = np.zeros(rows.causes.size)
    for s, trajectories in enumerate(layer_part.trajectories):
        changes = call(
            perturbation.changes_of,
            layer.neurons,
            layer.afferents,
            trajectories,
            own.trigger,
            scales,
            emitted,
        )
        reached = call(
            perturbation.transport,
            layer.neurons,
            layer.afferents,
            trajectories,
            own,
            s,
            layer_part.origin,
            sources,
            changes,
            reach,
        )
        here = slice(rows.offsets[s], rows.offsets[s + 1])
        bounds[here] = call(
            perturbation.bounds_of,
            layer.neurons,
            layer.afferents,
            trajectories,
            own.trigger,
            layer_part.origin,
            sources,
            scales,
            reached,
            rows.numbers[here],
            rows.labels[here],
        )
    return bounds, {name: reach[place] for name, place in places.items()}


def _radii(
    part: Solution,
    layer_parts: list[LayerPart],
    pattern: Pattern,
    ranked: list[Ranked],
    at: Integers,
    chosen: NDArray[np.bool_],
) -> Reals:
    """Return distance over sum of the sizes of its derivatives, of one distance of each chosen sample."""
    cotangents = {name: np.zeros(trains.n_spikes) for name, trains in part.spikes.items()}
    local = []
    for k, layer_part in enumerate(layer_parts):
        layer, own, gathered = layer_part.layer, layer_part.own, layer_part.gathered
        gradient = distance_gradients.Gradient(
            np.zeros(gathered.spikes.times.size),
            np.zeros(own.times.size),
            np.zeros((part.n_samples, layer.order.size)),
            np.zeros((part.n_samples, layer.order.size)),
            np.zeros((part.n_samples, len(NEURON_PARAMETERS), layer.size)),
        )
        for s in np.flatnonzero(chosen):
            row = at[s]
            if ranked[s].layer[row] == k:
                call(
                    distance_gradients.gradient_of,
                    ranked[s].numbers[row],
                    ranked[s].labels[row],
                    layer.neurons,
                    layer.afferents,
                    layer_part.trajectories[s],
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
        for name, places in places_in(layer, own).items():
            cotangents[name] += by_own[places]
        local.append(gradient)
    gradients = vjp(part, cotangents, wrt=pattern, reduction="none", threads=1)
    total = _moved(part, layer_parts, pattern, gradients, local)[chosen]
    value = np.array([max(ranked[s].numbers[at[s], distances.VALUE], 0.0) for s in np.flatnonzero(chosen)])
    radii: Reals = np.divide(value, total, out=np.full(value.size, np.inf), where=total > 0.0)
    return radii


def _moved(
    part: Solution,
    layer_parts: list[LayerPart],
    pattern: Pattern,
    gradients: Gradients,
    local: list[distance_gradients.Gradient],
) -> Reals:
    """Return how far each sample's distance moves at radius 1, to first order: sum_k scale_k |derivative_k|."""
    total = np.zeros(part.n_samples)
    for layer_part, own in zip(layer_parts, local, strict=True):
        layer = layer_part.layer
        for name, d in (("weight", own.weight), ("delay", own.delay)):
            by_projection = layer.by_projection(d)
            for key, scale in pattern.get(name, {}).items():
                if key in by_projection:
                    total += _size(_flat(getattr(gradients, name)[key]) + by_projection[key], scale)
        for k, name in enumerate(NEURON_PARAMETERS):
            for population, scale in pattern.get(name, {}).items():
                if population in layer.name:
                    d = own.neurons[:, k, layer.slice_of(population)]
                    total += _size(getattr(gradients, name)[population] + d, scale)
    for name, scale in pattern["spike_times"].items():
        moved = np.abs(gradients.spike_times[name]) * scale
        total += np.bincount(part.spikes[name].samples, weights=moved, minlength=part.n_samples)
    return total


def _size(gradient: Reals, scale: Reals) -> Reals:
    """Return sum_k scale_k |gradient_k| of each sample, (n_samples,), with the same bits for any number of samples."""
    size: Reals = (np.abs(gradient) * scale).sum(axis=1)
    return size


def _flat(gradient: Any) -> Reals:
    """Return each sample's gradient of a weight or delay, (n_samples, n_synapses)."""
    if isinstance(gradient, tuple):
        return np.stack([matrix.data for matrix in gradient])
    flat: Reals = gradient.reshape(gradient.shape[0], -1)
    return flat


def _limit(layer_parts: list[LayerPart], ranked: Ranked, sample: int, k: int) -> Margin:
    """Return one of a sample's distances as a Margin."""
    layer_part = layer_parts[ranked.layer[k]]
    labels, numbers, cause = ranked.labels[k], ranked.numbers[k], ranked.causes[k]
    population, neuron = layer_part.layer.neuron_of(int(labels[distances.NEURON]))
    kind = KINDS[labels[distances.KIND]]
    event = ""
    if kind == "gap":
        number = layer_part.gathered.spikes.neurons[cause] if cause >= 0 else -1
        (source,), (source_neuron,) = source_of(layer_part.layer, np.array([number]))
        event = where_in_words(int(labels[distances.PLACE]), str(source), int(source_neuron))
    time, value = float(numbers[distances.TIME]), float(numbers[distances.VALUE])
    return Margin(kind, population, sample, neuron, time, value, event)
