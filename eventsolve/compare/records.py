"""Two records of one problem, put side by side.

Gradients are compared as both records reduce them over the batch, or where they do so differently as means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import networkx as nx
import numpy as np

from eventsolve.checks import instance, non_negative, printable, seconds
from eventsolve.compare.agreement import Split, agreement, split
from eventsolve.compare.cancelling import roundings_of
from eventsolve.compare.comparison import (
    Comparison,
    GradientComparison,
    Stage,
    TimesComparison,
    batch_mean,
    felt_spikes,
    label_of,
)
from eventsolve.compare.divergence import (
    NAMES,
    Divergence,
    margin_of,
    number_divergence,
    spike_divergence,
    spike_time_divergence,
    when,
)
from eventsolve.compare.matching import SpikeMatch, match_spikes
from eventsolve.io.records.record import NEURONAL, SYNAPTIC, Record
from eventsolve.network import Network
from eventsolve.synapses import Synapses, synapses_of
from eventsolve.typing import Booleans, Key, Reals

_SELDOM = ("delay", *NEURONAL)
"""Gradients that few implementations give, so that they are told in one line if there are none of a kind."""


@np.errstate(over="ignore", invalid="ignore")  # errors and means beyond float64 are inf, or NaN
def compare(
    exact: Record,
    model: Record,
    *,
    window: float | None = None,
    tolerance: float | None = None,
    depth: Mapping[str, int] | None = None,
) -> Comparison:
    """Put a model's record beside the exact one, in what both have; the rest is listed in ``not_given``.

    Samples are told apart by their spikes: one differs if it misses a spike with ``dL/dt`` other than 0 in the
    exact record, or has an extra one with ``dL/dt`` other than 0 in the model's. A spike with ``dL/dt`` of 0, such as
    one after the last that the loss reads, comes or goes without changing any gradient. Where a record has no
    ``dL/dt`` for a population, all its spikes count.

    Parameters
    ----------
    exact, model : Record
        Of one network, batch and loss.
    window : float, optional
        Seconds within which spikes can be paired. By default ``(depth + 1.5)`` time steps of the model for
        each population, its depth being the projections from the inputs to it: a time-stepped implementation
        adds up to one step of rounding and one of transport per layer, half of it on average. A model in
        continuous time has no such scale, so there it has to be given.
    tolerance : float, optional
        Relative error beyond which loss, dL/dt and dL/dw count as parted. By default the relative error of
        spike times that the time step allows: greatest depth times time step over the median exact spike time
        of the deepest population; in continuous time, or without spikes there, the square root of the
        rounding error, 1.5e-8. Where terms of a gradient cancel to 0, roundings of these terms are no error.
    depth : mapping of str to int, optional
        Projections on the longest way from an input to each population; by default as the weights say.

    Raises
    ------
    ValueError
        If the records have nothing in common, or differ in sizes or samples, or the model has populations or
        projections that the exact one has not, or the window is missing or negative.
    """
    for name, record in (("exact", exact), ("model", model)):
        instance(name, record, Record)
    if tolerance is not None:
        tolerance = non_negative("tolerance", tolerance)
    not_given = _not_given(exact, model)
    network = next((r.network for r in (exact, model) if isinstance(r.network, Network)), None)
    roundings = {} if network is None else roundings_of(network, exact.weight)
    if depth is None:
        depth = (
            depths(exact.trains, exact.weight)
            if network is None
            else depths(network.populations, network.projections)
        )
    if window is None and model.time_step is None:
        raise ValueError("window must be given for a model in continuous time")
    theirs = model.trains
    forward = sorted((name for name in exact.trains if name in theirs), key=lambda name: depth[name])
    spikes: dict[str, SpikeMatch] = {}
    for name in forward:
        width = (
            seconds("window", window)
            if window is not None
            else (depth[name] + 1.5) * float(model.time_step or 0.0)
        )
        spikes[name] = match_spikes(name, exact.trains[name], theirs[name], width)
    differing = np.zeros(exact.n_samples, dtype=np.bool_)
    for match in spikes.values():
        differing[match.exact.samples[felt_spikes(exact, match.population, match.missed)]] = True
        differing[match.model.samples[felt_spikes(model, match.population, match.extra)]] = True
    limit = _default_tolerance(exact, model, depth) if tolerance is None else tolerance
    partial = _without_own_reset(exact, model, depth)
    not_given += tuple(
        f"dL/dt of {printable(name)}, as one of the two has no term of the neuron's own reset"
        for name in partial
    )
    stages = _spike_stages(spikes, depth)
    per_sample = exact.reduction == model.reduction == "none"
    loss = None
    if exact.loss_values is not None and model.loss_values is not None:
        pair = _beside(exact, model, exact.loss_values, model.loss_values)
        loss = split(*pair, differing)
        worst = _furthest("loss", "", *pair, limit, per_sample=per_sample)
        stages.append(_stage("loss", "", loss, limit, worst))
    times: dict[str, TimesComparison] = {}
    gradients: dict[str, dict[Any, GradientComparison]] = {}
    for name in sorted(depth, key=lambda name: -depth[name]):
        if name in spikes and name in exact.spike_times and name in model.spike_times and name not in partial:
            times[name] = found = _compare_times(exact, model, spikes[name], differing)
            rounding = roundings.get(("spike_times", name), 0.0)
            margin = max(margin_of(found.exact, limit, 0.0), rounding)
            match = spikes[name]
            worst = spike_time_divergence(
                name, match.exact, found.exact, found.model, margin, of=match.exact_index, always=True
            )
            stages.append(_stage("dL/dt", name, found.agreement, limit, worst, rounding))
        for quantity in (*SYNAPTIC, *NEURONAL):
            mine, others = (record.gradients.get(quantity, {}) for record in (exact, model))
            for key in mine:
                if key in others and (key if isinstance(key, str) else key[1]) == name:
                    one = _compare_gradients(quantity, key, exact, model, differing)
                    gradients.setdefault(quantity, {})[key] = one
                    rounding = roundings.get((quantity, key), 0.0)
                    off = _furthest(
                        quantity,
                        key,
                        one.exact,
                        one.model,
                        limit,
                        rounding,
                        per_sample=per_sample,
                        synapses=one.synapses,
                    )
                    kind = NAMES.get(quantity, f"dL/d{quantity}")
                    stages.append(_stage(kind, label_of(key), one.samples, limit, off, rounding))
    return Comparison(
        exact,
        model,
        depth,
        limit,
        spikes,
        loss.everything if loss is not None else None,
        times,
        gradients,
        differing,
        tuple(stages),
        not_given,
    )


def _without_own_reset(exact: Record, model: Record, depth: Mapping[str, int]) -> list[str]:
    """Return the populations whose dL/dt the two records give in different conventions; inputs have no reset."""
    if exact.own_reset == model.own_reset:
        return []
    return [name for name in model.spike_times if name in exact.spike_times and depth[name]]


def _stage(
    kind: str, where: str, found: Split, limit: float, worst: Divergence | None, rounding: float = 0.0
) -> Stage:
    one, other = (
        0.0 if of.largest_error <= rounding else of.relative_error
        for of in (found.everything, found.matching)
    )
    return Stage(kind, where, one, other, limit, None if one <= limit else worst)


def _spike_stages(spikes: Mapping[str, SpikeMatch], depth: Mapping[str, int]) -> list[Stage]:
    """Return a stage for each population, near the inputs first, and of one depth the one that parts earlier."""
    off = {name: spike_divergence(match) for name, match in spikes.items()}

    def order(name: str) -> tuple[int, int, float]:
        divergence = off[name]
        return depth[name], *((1, 0.0) if divergence is None else (0, when(divergence)[1]))

    stages = []
    for name in sorted(spikes, key=order):
        count = float(spikes[name].missed.size + spikes[name].extra.size)
        stages.append(Stage("spikes", name, count, 0.0, 0.0, off[name]))
    return stages


def _furthest(
    quantity: str,
    place: Any,
    exact: Reals,
    model: Reals,
    limit: float,
    rounding: float = 0.0,
    *,
    per_sample: bool,
    synapses: Synapses | None = None,
) -> Divergence | None:
    """Return the number that is furthest off; if not ``per_sample``, of the single row of a batch."""
    e, m = (exact, model) if per_sample else (exact[0], model[0])
    margin = max(margin_of(e, limit, 0.0), rounding)
    return number_divergence(
        quantity, place, e, m, margin, per_sample=per_sample, synapses=synapses, always=True
    )


def _not_given(exact: Record, model: Record) -> tuple[str, ...]:
    """Return what only one of two records has, or raise a ValueError where they cannot be of the same problem."""
    found, common = [], False
    whole: dict[str, list[str]] = {}
    for label, what, mine, theirs in _parts(exact, model):
        foreign = [name for name in theirs if name not in mine]
        if mine and foreign:
            raise ValueError(
                f"{what} must be of populations and projections that {exact.name!r} has, {list(mine)}; "
                f"{model.name!r} has {foreign}"
            )
        common = common or any(name in theirs for name in mine)
        for given_by, other, by in ((mine, theirs, model), (theirs, mine, exact)):
            lacking = [name for name in given_by if name not in other]
            if lacking and not other and what in _SELDOM:
                whole.setdefault(by.name, []).append(what)
                continue
            found += [
                f"{printable(f'{label} {label_of(name)}'.strip())}, which {printable(by.name)} does not give"
                for name in lacking
            ]
    if not common and (exact.trains or model.trains):
        raise ValueError(f"{exact.name!r} and {model.name!r} have nothing in common to compare")
    found += [
        f"gradients of {', '.join(quantities)}, which {printable(name)} does not give"
        for name, quantities in whole.items()
    ]
    return tuple(found)


def _parts(exact: Record, model: Record) -> Iterator[tuple[str, str, Mapping[Any, Any], Mapping[Any, Any]]]:
    """Yield what can be compared in words, its name, and what each record has of it by place."""
    yield "spikes of", "spikes", exact.trains, model.trains
    mine, theirs = ({} if r.loss_values is None else {"": r.loss_values} for r in (exact, model))
    yield "loss", "loss", mine, theirs
    for quantity in ("spike_times", *SYNAPTIC, *NEURONAL):
        e, m = exact.gradients.get(quantity, {}), model.gradients.get(quantity, {})
        yield f"{NAMES.get(quantity, f'dL/d{quantity}')} of", quantity, e, m


def depths(populations: Iterable[str], projections: Iterable[Key]) -> dict[str, int]:
    """Return the projections on the longest way to each population; populations of one cycle count as one."""
    graph = nx.DiGraph()
    graph.add_nodes_from(populations)
    graph.add_edges_from((key[0], key[1]) for key in projections)
    components = nx.condensation(graph)
    depth: dict[str, int] = {}
    level: dict[int, int] = {}
    for component in nx.topological_sort(components):
        level[component] = max(
            (level[before] + 1 for before in components.predecessors(component)), default=0
        )
        depth.update(dict.fromkeys(components.nodes[component]["members"], level[component]))
    return {name: depth[name] for name in graph}


def _default_tolerance(exact: Record, model: Record, depth: Mapping[str, int]) -> float:
    mine, theirs = exact.trains, model.trains
    common = (name for name in mine if name in theirs)
    deepest = max(common, key=lambda name: depth[name], default=None)
    if model.time_step is not None and deepest is not None and mine[deepest].n_spikes:
        latest = float(np.median(mine[deepest].times))
        if latest > 0:
            return depth[deepest] * model.time_step / latest
    return float(np.sqrt(np.finfo(np.float64).eps))


def _compare_times(exact: Record, model: Record, match: SpikeMatch, differing: Booleans) -> TimesComparison:
    name = match.population
    e, m = exact.spike_times[name], model.spike_times[name]
    if exact.reduction != model.reduction:
        e, m = _of_own_loss(exact, e), _of_own_loss(model, m)
    e, m = e[match.exact_index], m[match.model_index]
    return TimesComparison(name, e, m, split(e, m, differing[match.exact.samples[match.exact_index]]))


def _compare_gradients(
    quantity: str, key: Any, one: Record, other: Record, differing: Booleans
) -> GradientComparison:
    exact, model = _beside(one, other, one.gradients[quantity][key], other.gradients[quantity][key])
    if exact.shape != model.shape:
        raise ValueError(
            f"{quantity} of {key} must have one shape; got exact {exact.shape} and model {model.shape}"
        )
    per_sample = tuple(agreement(e, m) for e, m in zip(exact, model, strict=True))
    mean = agreement(batch_mean(exact), batch_mean(model))
    by_synapse = quantity in SYNAPTIC and exact.ndim == 2
    return GradientComparison(
        quantity,
        key,
        exact,
        model,
        mean,
        split(exact, model, differing),
        per_sample,
        _synapses(key, one, other) if by_synapse else None,
    )


def _synapses(key: Key, *of: Record) -> Synapses:
    for record in of:
        if isinstance(record.network, Network):
            found = synapses_of(record.network.projections[key].weight)
            if found is not None:
                return found
    raise ValueError(
        f"dL/dw of {key} is by synapse; which they are of only the network says, and there is none"
    )


def _beside(exact: Record, model: Record, e: Reals, m: Reals) -> tuple[Reals, Reals]:
    """Return values of both with samples in front: one for the batch where both reduce it alike, or its mean."""
    if exact.reduction == model.reduction:
        return (e, m) if exact.reduction == "none" else (e[None], m[None])
    return _mean_row(exact, e), _mean_row(model, m)


def _mean_row(record: Record, values: Reals) -> Reals:
    if record.reduction == "none":
        return batch_mean(values)[None]
    row: Reals = values[None] / (max(1, record.n_samples) if record.reduction == "sum" else 1)
    return row


def _of_own_loss(record: Record, spike_times: Reals) -> Reals:
    """Return dL/dt of the losses of the samples that the spikes are of."""
    return spike_times * record.n_samples if record.reduction == "mean" else spike_times
