"""Two records side by side: spikes first, then dL/dt of every spike, then the gradient of every synapse.

Everything here is a pure function of two :class:`~eventsolve.io.records.Record` objects. Gradients are compared as
those of each sample's own loss; where a record has only their sum or mean over the batch, as the mean. A number that
is not finite makes every figure that contains it NaN, and NaN is within no limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from eventsolve.checks import printable, seconds
from eventsolve.io.records import Record
from eventsolve.matching import Booleans, Integers, Reals, SpikeMatch, match_spikes
from eventsolve.network import Key, Network
from eventsolve.shown import Shown, Summary, several
from eventsolve.synapses import Synapses, synapses_of

# -- numbers against numbers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How well a set of numbers agrees with the exact ones.

    Attributes
    ----------
    count : int
        How many numbers were compared.
    relative_error : float
        ``|model - exact| / |exact|`` in the Euclidean norm; 0 if both are zero, inf if only the exact ones
        are.
    cosine : float
        Of the angle between the two; 1 if both are zero, 0 if only one of them is.
    sign_agreement : float
        Share of equal signs where both numbers are non-zero; NaN if that is nowhere.
    both_nonzero : int
        At how many places both numbers are non-zero.
    largest_error : float
        Largest ``|model - exact|``, in the unit of the numbers.
    """

    count: int
    relative_error: float
    cosine: float
    sign_agreement: float
    both_nonzero: int
    largest_error: float


def agreement(exact: Reals, model: Reals) -> Agreement:
    """Compare two arrays of one shape, number by number."""
    e, m = np.ravel(exact), np.ravel(model)
    if not (np.isfinite(e).all() and np.isfinite(m).all()):
        return Agreement(e.size, np.nan, np.nan, np.nan, 0, np.nan)
    both = (e != 0) & (m != 0)
    signs = float(np.mean(np.sign(e[both]) == np.sign(m[both]))) if both.any() else np.nan
    largest = float(np.abs(m - e).max(initial=0.0))
    scale = max(np.abs(e).max(initial=0.0), np.abs(m).max(initial=0.0))
    if scale == 0:
        return Agreement(e.size, 0.0, 1.0, signs, 0, 0.0)
    e, m = e / scale, m / scale
    norm_e, norm_m = float(np.linalg.norm(e)), float(np.linalg.norm(m))
    error = float(np.linalg.norm(m - e)) / norm_e if norm_e else np.inf
    cosine = float(np.clip((e / norm_e) @ (m / norm_m), -1.0, 1.0)) if norm_e and norm_m else 0.0
    return Agreement(e.size, error, cosine, signs, int(both.sum()), largest)


@dataclass(frozen=True)
class Split:
    """One comparison over all samples, over those whose spikes match, and over :attr:`Comparison.differing_samples`."""

    everything: Agreement
    matching: Agreement
    differing: Agreement


# -- gradients -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TimesComparison:
    """dL/dt_k of one population, over its paired spikes.

    Attributes
    ----------
    population : str
    exact, model : ndarray of float64, (n_matched,)
        1/s, in the order of :attr:`SpikeMatch.exact_index`.
    agreement : Split
    """

    population: str
    exact: Reals
    model: Reals
    agreement: Split

    @property
    def absolute_error(self) -> Reals:
        """``|model - exact|``, (n_matched,), 1/s."""
        return np.abs(self.model - self.exact)

    @property
    def relative_error(self) -> Reals:
        """``|model - exact| / |exact|``, (n_matched,); inf where only the exact one is 0."""
        return _ratio(self.absolute_error, np.abs(self.exact))


@dataclass(frozen=True)
class Synapse:
    """The gradient of one synapse, mean over the batch."""

    post: int
    pre: int
    exact: float
    model: float

    @property
    def error(self) -> float:
        """``model - exact``."""
        return self.model - self.exact

    @property
    def relative_error(self) -> float:
        """``|model - exact| / |exact|``; inf where only the exact one is 0."""
        return float(_ratio(np.array([abs(self.error)]), np.array([abs(self.exact)]))[0])


@dataclass(frozen=True, eq=False)
class WeightComparison:
    """dL/dw of one projection, in 1 / (unit of the weights).

    Attributes
    ----------
    key : tuple of str
        (pre, post) or (pre, post, name).
    exact, model : ndarray of float64, (n_samples, n_post, n_pre) or (n_samples, n_synapses)
        Gradients of each sample's own loss; of a sparse projection by synapse.
    mean : Agreement
        Of the two gradients averaged over the batch, as training uses them.
    samples : Split
        Of all samples' own gradients taken together.
    per_sample : tuple of Agreement, n_samples of them
    synapses : Synapses or None
        Target and source neuron of each synapse of a sparse projection.
    """

    key: Key
    exact: Reals
    model: Reals
    mean: Agreement
    samples: Split
    per_sample: tuple[Agreement, ...]
    synapses: Synapses | None = None

    @property
    def label(self) -> str:
        """The key for titles."""
        return label_of(self.key)

    @cached_property
    def mean_exact(self) -> Reals:
        """The exact gradient averaged over the batch, (n_post, n_pre) or (n_synapses,)."""
        return _batch_mean(self.exact)

    @cached_property
    def mean_model(self) -> Reals:
        """The model's gradient averaged over the batch, (n_post, n_pre) or (n_synapses,)."""
        return _batch_mean(self.model)

    @property
    def absolute_error(self) -> Reals:
        """``|model - exact|`` of the means, (n_post, n_pre)."""
        return np.abs(self.mean_model - self.mean_exact)

    @property
    def relative_error(self) -> Reals:
        """``|model - exact| / |exact|`` of the means, (n_post, n_pre); inf where only the exact one is 0."""
        return _ratio(self.absolute_error, np.abs(self.mean_exact))

    def worst(self, count: int) -> list[Synapse]:
        """Return the synapses with the largest absolute errors, worst first; not finite ones lead."""
        error = np.where(np.isfinite(self.absolute_error), self.absolute_error, np.inf)
        places = np.argsort(-error, axis=None, kind="stable")[:count]
        if self.synapses is None:
            post, pre = np.unravel_index(places, error.shape)
        else:
            post, pre = (neurons[places] for neurons in self.synapses)
        exact, model = self.mean_exact.reshape(-1)[places], self.mean_model.reshape(-1)[places]
        columns = (column.tolist() for column in (post, pre, exact, model))
        return [Synapse(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Stage:
    """One place on the way through forward and backward pass, where two records agree or part.

    Attributes
    ----------
    kind : str
        "spikes", "loss", "dL/dt" or "dL/dw".
    where : str
        Population or projection; empty for the loss.
    error : float
        Spikes: missed plus extra ones. Else: relative error norm over all samples.
    error_where_spikes_match : float
        The same over samples whose spikes match; 0 if there is none.
    tolerance : float
        Of either error.
    """

    kind: str
    where: str
    error: float
    error_where_spikes_match: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.error <= self.tolerance

    @property
    def agrees_where_spikes_match(self) -> bool:
        """Whether the error over samples whose spikes match is within the tolerance; NaN is not."""
        return self.error_where_spikes_match <= self.tolerance

    @property
    def label(self) -> str:
        """The place in words."""
        where = printable(self.where)
        return {"spikes": f"spikes of {where}", "loss": "loss"}.get(self.kind, f"{self.kind} of {where}")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """Two records side by side.

    Attributes
    ----------
    exact, model : Record
    depth : mapping of str to int
        Projections on the longest way from an input to the population.
    tolerance : float
        Relative error beyond which a backward :class:`Stage` counts as parted.
    spikes : mapping of str to SpikeMatch
        In forward order.
    loss : Agreement or None
        Of the samples' losses, if both records have them.
    spike_times : mapping of str to TimesComparison
        In backward order; populations for which both records have dL/dt_k.
    weight : mapping of (pre, post) to WeightComparison
        In backward order.
    differing_samples : ndarray of bool, (n_samples,)
        Whether a spike on which a gradient depends is missed or extra in any population.
    stages : tuple of Stage
        Spikes in forward order, then loss, dL/dt and dL/dw in backward order.
    not_given : tuple of str
        What only one of the two has, and which of them does not give it.
    """

    exact: Record
    model: Record
    depth: Mapping[str, int]
    tolerance: float
    spikes: Mapping[str, SpikeMatch]
    loss: Agreement | None
    spike_times: Mapping[str, TimesComparison]
    weight: Mapping[Key, WeightComparison]
    differing_samples: Booleans
    stages: tuple[Stage, ...]
    not_given: tuple[str, ...] = ()

    def _summary(self) -> Summary:
        first = (
            "they agree within tolerance" if self.first is None else f"they part at the {self.first.label}"
        )
        n_spikes = sum(match.exact.n_spikes for match in self.computed)
        rows: list[tuple[str, object]] = [
            ("first", first),
            ("spikes", f"{self.missed} missed and {self.extra} extra, of {several(n_spikes, 'exact spike')}"),
            *(
                (
                    f"dL/dw {w.label}",
                    f"relative error {w.mean.relative_error:.3g}, cosine {w.mean.cosine:.6f}",
                )
                for w in self.weight.values()
            ),
        ]
        return f"Comparison({self.model.name} with {self.exact.name})", rows

    @property
    def first(self) -> Stage | None:
        """The first place where the records part, None if they agree everywhere."""
        return next((stage for stage in self.stages if not stage.agrees), None)

    @property
    def first_backward(self) -> Stage | None:
        """The first place of the backward pass where they part on samples whose spikes match."""
        backward = (stage for stage in self.stages if stage.kind != "spikes")
        return next((stage for stage in backward if not stage.agrees_where_spikes_match), None)

    @property
    def computed(self) -> list[SpikeMatch]:
        """The spikes of all populations but inputs, in forward order."""
        return [match for name, match in self.spikes.items() if self.depth[name]]

    @property
    def missed(self) -> int:
        """Spikes that only the exact record has, over all populations but inputs."""
        return sum(match.missed.size for match in self.computed)

    @property
    def extra(self) -> int:
        """Spikes that only the model has, over all populations but inputs."""
        return sum(match.extra.size for match in self.computed)


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
        rounding error, 1.5e-8.
    depth : mapping of str to int, optional
        Projections on the longest way from an input to each population; by default as the weights say.

    Raises
    ------
    ValueError
        If the records have nothing in common, or differ in sizes or samples, or the model has populations or
        projections that the exact one has not, or the window is missing or negative.
    """
    not_given = _not_given(exact, model)
    if depth is None:
        network = next((r.network for r in (exact, model) if isinstance(r.network, Network)), None)
        depth = (
            depths(exact.trains, exact.weight)
            if network is None
            else depths(network.populations, network.projections)
        )
    if window is None and model.time_step is None:
        raise ValueError("window must be given for a model in continuous time")
    theirs = model.trains
    forward = sorted((name for name in exact.trains if name in theirs), key=lambda name: depth[name])
    spikes = {}
    for name in forward:
        width = (
            seconds("window", window)
            if window is not None
            else (depth[name] + 1.5) * float(model.time_step or 0.0)
        )
        spikes[name] = match_spikes(name, exact.trains[name], theirs[name], width)
    differing = np.zeros(exact.n_samples, dtype=np.bool_)
    for match in spikes.values():
        differing[match.exact.samples[_felt(exact, match.population, match.missed)]] = True
        differing[match.model.samples[_felt(model, match.population, match.extra)]] = True
    limit = _default_tolerance(exact, model, depth) if tolerance is None else tolerance
    stages = [_spike_stage(match) for match in spikes.values()]
    loss = None
    if exact.loss_values is not None and model.loss_values is not None:
        loss = _split(*_beside(exact, model, exact.loss_values, model.loss_values), differing)
        stages.append(Stage("loss", "", loss.everything.relative_error, loss.matching.relative_error, limit))
    times: dict[str, TimesComparison] = {}
    weights: dict[Key, WeightComparison] = {}
    for name in sorted(depth, key=lambda name: -depth[name]):
        if name in spikes and name in exact.spike_times and name in model.spike_times:
            times[name] = _compare_times(exact, model, spikes[name], differing)
            both = times[name].agreement
            stages.append(
                Stage("dL/dt", name, both.everything.relative_error, both.matching.relative_error, limit)
            )
        for key in (key for key in exact.weight if key[1] == name and key in model.weight):
            weights[key] = _compare_weights(key, exact, model, differing)
            both = weights[key].samples
            stages.append(
                Stage(
                    "dL/dw",
                    label_of(key),
                    both.everything.relative_error,
                    both.matching.relative_error,
                    limit,
                )
            )
    return Comparison(
        exact,
        model,
        depth,
        limit,
        spikes,
        loss.everything if loss is not None else None,
        times,
        weights,
        differing,
        tuple(stages),
        not_given,
    )


def label_of(key: Key) -> str:
    """Return a projection's key for titles: ``pre → post``."""
    return printable(f"{key[0]} → {key[1]}" + (f" ({key[2]})" if len(key) > 2 else ""))


def broken_limits(
    comparison: Comparison, max_error: float | None = None, min_cosine: float | None = None
) -> list[str]:
    """Return a sentence for every layer whose gradient, averaged over the batch, breaks a limit.

    Parameters
    ----------
    comparison : Comparison
    max_error : float, optional
        Largest relative error norm that is allowed.
    min_cosine : float, optional
        Smallest cosine that is allowed.
    """
    sentences = []
    for weight in comparison.weight.values():
        error, cosine = weight.mean.relative_error, weight.mean.cosine
        if max_error is not None and not error <= max_error:
            sentences.append(
                f"dL/dw of {weight.label}: relative error {error:.3g} is not within {max_error:g}"
            )
        if min_cosine is not None and not cosine >= min_cosine:
            sentences.append(f"dL/dw of {weight.label}: cosine {cosine:.4f} is not at least {min_cosine:g}")
    return sentences


@dataclass(frozen=True)
class Culprit:
    """The spike at which to look first.

    Attributes
    ----------
    kind : str
        "missed", "extra", or "matched" for a paired one whose dL/dt is furthest off.
    population : str
    sample, neuron : int
    time : float
        Seconds, in the exact record; of an extra spike in the model.
    """

    kind: str
    population: str
    sample: int
    neuron: int
    time: float


def worst_spike(comparison: Comparison) -> Culprit | None:
    """Return the spike at which to look first, None if no population but inputs spikes.

    In the sample with the largest gradient error: the earliest missed or extra spike, of those on which a
    gradient depends, of the shallowest population that has one; if all match, the spike whose dL/dt is furthest
    off, relative to its population's dL/dt.
    """
    if not comparison.differing_samples.size:
        return None
    error = np.zeros(comparison.differing_samples.size)
    for weight in comparison.weight.values():
        scale = float(np.abs(weight.exact).max(initial=0.0)) or 1.0
        off = (((weight.model - weight.exact) / scale) ** 2).reshape(len(weight.exact), -1).sum(axis=1)
        error += off if off.size == error.size else off.sum()
    error = np.where(np.isfinite(error), error, np.inf)
    ranked = np.argsort(-np.where(comparison.differing_samples, error, -1.0), kind="stable")
    sample = int(ranked[0]) if comparison.differing_samples.any() else int(np.argmax(error))
    best: tuple[float, Culprit] | None = None
    for name, match in comparison.spikes.items():
        if comparison.depth[name] == 0:
            continue
        missed = _felt(comparison.exact, name, match.missed)
        extra = _felt(comparison.model, name, match.extra)
        wrong = [("missed", match.exact, k) for k in missed if match.exact.samples[k] == sample]
        wrong += [("extra", match.model, k) for k in extra if match.model.samples[k] == sample]
        if wrong:
            kind, trains, k = min(wrong, key=lambda entry: float(entry[1].times[entry[2]]))
            return Culprit(kind, name, sample, int(trains.neurons[k]), float(trains.times[k]))
        here = match.exact.samples[match.exact_index] == sample
        if name in comparison.spike_times and here.any():
            times = comparison.spike_times[name]
            off = np.where(here, times.absolute_error, -1.0)
            off = np.where(np.isfinite(off), off, np.inf) / (float(np.abs(times.exact).max()) or 1.0)
            k = int(np.argmax(off))
            place = match.exact_index[k]
            found = Culprit(
                "matched", name, sample, int(match.exact.neurons[place]), float(match.exact.times[place])
            )
            if best is None or off[k] > best[0]:
                best = float(off[k]), found
    return best[1] if best else None


def _felt(record: Record, population: str, spikes: Integers) -> Integers:
    """Of some spikes of a population, return those on which a gradient depends, as far as the record knows."""
    if population not in record.spike_times:
        return spikes
    felt: Integers = spikes[record.spike_times[population][spikes] != 0]
    return felt


def _not_given(exact: Record, model: Record) -> tuple[str, ...]:
    """Return what only one of two records has, or raise a ValueError where they cannot be of the same problem."""
    found, common = [], False
    for label, what in (
        ("spikes of", "trains"),
        ("loss", "loss_values"),
        ("dL/dt of", "spike_times"),
        ("dL/dw of", "weight"),
    ):
        mine, theirs = getattr(exact, what), getattr(model, what)
        if what == "loss_values":
            given = [("", values is not None) for values in (mine, theirs)]
            mine, theirs = ({name: None for name, there in [entry] if there} for entry in given)
        foreign = [name for name in theirs if name not in mine]
        if mine and foreign:
            raise ValueError(
                f"{what} must be of populations and projections that {exact.name!r} has, {list(mine)}; "
                f"{model.name!r} has {foreign}"
            )
        common = common or any(name in theirs for name in mine)
        for given_by, other, by in ((mine, theirs, model), (theirs, mine, exact)):
            for name in given_by:
                if name not in other:
                    where = name if isinstance(name, str) else label_of(name)
                    found.append(
                        f"{printable(f'{label} {where}'.strip())}, which {printable(by.name)} does not give"
                    )
    if not common and (exact.trains or model.trains):
        raise ValueError(f"{exact.name!r} and {model.name!r} have nothing in common to compare")
    return tuple(found)


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


def _spike_stage(match: SpikeMatch) -> Stage:
    return Stage("spikes", match.population, float(match.missed.size + match.extra.size), 0.0, 0.0)


def _compare_times(exact: Record, model: Record, match: SpikeMatch, differing: Booleans) -> TimesComparison:
    e = _of_own_loss(exact, exact.spike_times[match.population])[match.exact_index]
    m = _of_own_loss(model, model.spike_times[match.population])[match.model_index]
    return TimesComparison(
        match.population, e, m, _split(e, m, differing[match.exact.samples[match.exact_index]])
    )


def _compare_weights(key: Key, one: Record, other: Record, differing: Booleans) -> WeightComparison:
    exact, model = _beside(one, other, one.weight[key], other.weight[key])
    if exact.shape != model.shape:
        raise ValueError(
            f"weight of {key} must have one shape; got exact {exact.shape} and model {model.shape}"
        )
    per_sample = tuple(agreement(e, m) for e, m in zip(exact, model, strict=True))
    mean = agreement(_batch_mean(exact), _batch_mean(model))
    return WeightComparison(
        key,
        exact,
        model,
        mean,
        _split(exact, model, differing),
        per_sample,
        _synapses(key, one, other) if exact.ndim == 2 else None,
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
    """Return values of both, samples first; their means, as of one sample, where one is reduced over the batch."""
    e, m = _rows(exact, e), _rows(model, m)
    return (e, m) if exact.reduction == model.reduction == "none" else (_one_row(e), _one_row(m))


def _rows(record: Record, values: Reals) -> Reals:
    """Return values with samples in front; a mean over the batch as of a single one."""
    if record.reduction == "none":
        return values
    rows: Reals = values[None] / (max(1, record.n_samples) if record.reduction == "sum" else 1)
    return rows


def _one_row(values: Reals) -> Reals:
    return _batch_mean(values)[None]


def _of_own_loss(record: Record, spike_times: Reals) -> Reals:
    """Return dL/dt of the losses of the samples that the spikes are of."""
    return spike_times * record.n_samples if record.reduction == "mean" else spike_times


def differing_rows(differing: Booleans, n_rows: int) -> Booleans:
    """Return which rows of a gradient differ in their spikes: samples, or their mean if any of them does."""
    return differing if differing.size == n_rows else np.full(n_rows, differing.any())


def _split(exact: Reals, model: Reals, differing: Booleans) -> Split:
    differing = differing_rows(differing, exact.shape[0])
    return Split(
        agreement(exact, model),
        agreement(exact[~differing], model[~differing]),
        agreement(exact[differing], model[differing]),
    )


def _batch_mean(values: Reals) -> Reals:
    mean: Reals = values.sum(axis=0) / max(1, values.shape[0])
    return mean


def _ratio(error: Reals, size: Reals) -> Reals:
    ratio = np.full(error.shape, np.inf)
    np.divide(error, size, out=ratio, where=size != 0)
    ratio[(size == 0) & (error == 0)] = 0.0
    ratio[np.isnan(error)] = np.nan
    return ratio
