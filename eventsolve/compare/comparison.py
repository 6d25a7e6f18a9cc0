"""Two records side by side: spikes first, then dL/dt of every spike, then the gradients of synapses and neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eventsolve.checks import printable
from eventsolve.compare.agreement import Agreement, Split
from eventsolve.compare.divergence import Divergence, not_finite
from eventsolve.compare.matching import SpikeMatch
from eventsolve.io.records.record import Record
from eventsolve.shown import Shown, Summary, several
from eventsolve.synapses import Synapses
from eventsolve.typing import Booleans, Integers, Key, Owner, Reals


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
    """The gradient of one synapse, mean over the batch; or of one neuron, which has no source neuron."""

    post: int
    pre: int | None
    exact: float
    model: float

    @property
    def error(self) -> float:
        """``model - exact``."""
        return self.model - self.exact

    @property
    def relative_error(self) -> float:
        """``|model - exact| / |exact|``; inf where only the exact one is 0."""
        return float(_ratio(np.asarray(abs(self.error)), np.asarray(abs(self.exact))))


@dataclass(frozen=True, eq=False)
class GradientComparison:
    """One gradient: of the weights or delays of a projection, or of a parameter of the neurons of a population.

    Attributes
    ----------
    quantity : str
        "weight", "delay", or the name of a parameter.
    key : tuple of str, or str
        (pre, post) or (pre, post, name) of a projection; a population.
    exact, model : ndarray of float64, (n_samples, n_post, n_pre), (n_samples, n_synapses) or (n_samples, n)
        Gradients of each sample's own loss, of a sparse projection by synapse; n_samples is 1 if one of the records
        has the gradient of the whole batch alone.
    mean : Agreement
        Of the two gradients averaged over the batch, as training uses them.
    samples : Split
        Of all samples' own gradients taken together.
    per_sample : tuple of Agreement, n_samples of them
    synapses : Synapses or None
        Target and source neuron of each synapse of a sparse projection.
    """

    quantity: str
    key: Owner
    exact: Reals
    model: Reals
    mean: Agreement
    samples: Split
    per_sample: tuple[Agreement, ...]
    synapses: Synapses | None = None

    @property
    def label(self) -> str:
        """The projection or population for titles."""
        return label_of(self.key)

    @cached_property
    def mean_exact(self) -> Reals:
        """The exact gradient averaged over the batch, (n_post, n_pre) or (n_synapses,)."""
        return batch_mean(self.exact)

    @cached_property
    def mean_model(self) -> Reals:
        """The model's gradient averaged over the batch, (n_post, n_pre) or (n_synapses,)."""
        return batch_mean(self.model)

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
        if self.synapses is not None:
            post, pre = (neurons[places].tolist() for neurons in self.synapses)
        elif error.ndim == 2:
            post, pre = (neurons.tolist() for neurons in np.unravel_index(places, error.shape))
        else:
            post, pre = places.tolist(), [None] * places.size
        exact, model = (values.ravel()[places].tolist() for values in (self.mean_exact, self.mean_model))
        return [Synapse(*row) for row in zip(post, pre, exact, model, strict=True)]


@dataclass(frozen=True)
class Stage:
    """One place on the way through forward and backward pass, where two records agree or part.

    Attributes
    ----------
    kind : str
        "spikes", "loss", "dL/dt", "dL/dw", "dL/d" and the name of another quantity, or "voltage".
    where : str
        Population or projection; empty for the loss.
    error : float
        Spikes: missed plus extra ones. Else: relative error norm over all samples; 0 if nothing is off but by
        roundings of terms that cancel (:mod:`eventsolve.compare.cancelling`).
    error_where_spikes_match : float
        The same over samples whose spikes match; 0 if there is none.
    tolerance : float
        Of either error.
    divergence : Divergence or None
        If the two part: the first spike that is off, or the number that is furthest off. Its margin is the tolerance
        times the largest exact number, so that numbers that are off together may each be within it.
    """

    kind: str
    where: str
    error: float
    error_where_spikes_match: float
    tolerance: float
    divergence: Divergence | None = None

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
    gradients : mapping of quantity to mapping of place to GradientComparison
        In backward order; quantities and places that both records have.
    differing_samples : ndarray of bool, (n_samples,)
        Whether a spike on which a gradient depends is missed or extra in any population.
    stages : tuple of Stage
        Spikes in forward order, then loss, dL/dt, dL/dw and the other gradients in backward order. Of populations of
        one depth the one that parts earlier comes first.
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
    gradients: Mapping[str, Mapping[Any, GradientComparison]]
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
                    not_finite(w.model)
                    or f"relative error {w.mean.relative_error:.3g}, cosine {w.mean.cosine:.6f}",
                )
                for w in self.weight.values()
            ),
        ]
        return f"Comparison({self.model.name} with {self.exact.name})", rows

    @property
    def weight(self) -> Mapping[Key, GradientComparison]:
        """dL/dw by projection, in backward order."""
        return self.gradients.get("weight", {})

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


def label_of(key: Key | str) -> str:
    """Return a projection's key for titles, ``pre → post``, or a population."""
    if isinstance(key, str):
        return printable(key)
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
        if not_finite(weight.model) and not (max_error is None and min_cosine is None):
            sentences.append(f"dL/dw of {weight.label}: {not_finite(weight.model)}")
            continue
        error, cosine = weight.mean.relative_error, weight.mean.cosine
        if max_error is not None and not error <= max_error:
            sentences.append(
                f"dL/dw of {weight.label}: relative error {error:.3g} is not within {max_error:g}"
            )
        if min_cosine is not None and not cosine >= min_cosine:
            sentences.append(f"dL/dw of {weight.label}: cosine {cosine:.4f} is not at least {min_cosine:g}")
    return sentences


@dataclass(frozen=True)
class WorstSpike:
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


@np.errstate(over="ignore", invalid="ignore")  # errors beyond float64 are inf
def worst_spike(comparison: Comparison) -> WorstSpike | None:
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
        # one for each sample, or that of the whole batch for all of them
        error += (((weight.model - weight.exact) / scale) ** 2).reshape(len(weight.exact), -1).sum(axis=1)
    error = np.where(np.isfinite(error), error, np.inf)
    looked_at = comparison.differing_samples | ~comparison.differing_samples.any()
    sample = int(np.argmax(np.where(looked_at, error, -1.0)))
    best: tuple[float, WorstSpike] | None = None
    for name, match in comparison.spikes.items():
        if comparison.depth[name] == 0:
            continue
        missed = felt_spikes(comparison.exact, name, match.missed)
        extra = felt_spikes(comparison.model, name, match.extra)
        wrong = [("missed", match.exact, k) for k in missed if match.exact.samples[k] == sample]
        wrong += [("extra", match.model, k) for k in extra if match.model.samples[k] == sample]
        if wrong:
            kind, trains, k = min(wrong, key=lambda entry: float(entry[1].times[entry[2]]))
            return WorstSpike(kind, name, sample, int(trains.neurons[k]), float(trains.times[k]))
        here = match.exact.samples[match.exact_index] == sample
        if name in comparison.spike_times and here.any():
            times = comparison.spike_times[name]
            off = np.where(here, times.absolute_error, -1.0)
            off = np.where(np.isfinite(off), off, np.inf) / (float(np.abs(times.exact).max()) or 1.0)
            k = int(np.argmax(off))
            place = match.exact_index[k]
            found = WorstSpike(
                "matched", name, sample, int(match.exact.neurons[place]), float(match.exact.times[place])
            )
            if best is None or off[k] > best[0]:
                best = float(off[k]), found
    return best[1] if best else None


def felt_spikes(record: Record, population: str, spikes: Integers) -> Integers:
    """Of some spikes of a population, return those on which a gradient depends, as far as the record knows."""
    if population not in record.spike_times:
        return spikes
    felt: Integers = spikes[record.spike_times[population][spikes] != 0]
    return felt


def batch_mean(values: Reals) -> Reals:
    """Return the mean over samples, which are in front; of none 0."""
    mean: Reals = values.sum(axis=0) / max(1, values.shape[0])
    return mean


def _ratio(error: Reals, size: Reals) -> Reals:
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.where((size == 0) & (error == 0), 0.0, error / size)
