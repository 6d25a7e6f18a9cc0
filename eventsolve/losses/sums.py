"""Losses that add up others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eventsolve.checks import first_entry, real_array, shown
from eventsolve.frozen import Frozen
from eventsolve.losses.evaluation import Evaluation, Loss, VoltageSamples, evaluation_of, merged, require_loss
from eventsolve.shown import called
from eventsolve.solution import Solution
from eventsolve.typing import Reals


@dataclass(frozen=True, eq=False)
class Sum(Frozen):
    """A weighted sum of losses, of whatever populations: a classification with regularisers of the layers before it.

    Parameters
    ----------
    terms : list or tuple of Loss
        At least one.
    weights : array_like, (n_terms,), optional
        By which the terms are multiplied, 1 by default.

    Examples
    --------
    >>> import eventsolve as es
    >>> loss = es.losses.Sum(
    ...     [es.losses.MeanVoltageCrossEntropy("out", [0]), es.losses.SpikeCountLoss("hidden", 14)], [1.0, 1e-4]
    ... )
    """

    terms: Sequence[Loss]
    weights: ArrayLike | None = None

    __repr__ = called

    def __post_init__(self) -> None:
        if not isinstance(self.terms, list | tuple) or not self.terms:
            raise TypeError(f"terms must be a list or tuple of at least one loss; got {shown(self.terms)}")
        for k, term in enumerate(self.terms):
            require_loss(f"terms[{k}]", term)
        object.__setattr__(self, "terms", tuple(self.terms))
        weights = np.ones(len(self.terms)) if self.weights is None else real_array("weights", self.weights)
        if weights.shape != (len(self.terms),):
            raise ValueError(
                f"weights must have one number for each of {len(self.terms)} terms; got shape {weights.shape}"
            )
        if not np.isfinite(weights).all():
            raise ValueError(f"weights must be finite; {first_entry(weights, ~np.isfinite(weights))}")
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by all that a term reads."""
        values = np.zeros(solution.n_samples)
        times: dict[str, Reals] = {}
        voltage_samples: dict[str, list[VoltageSamples]] = {}
        means: dict[tuple[str, float], Reals] = {}
        silent = np.empty(0, np.int64)
        for weight, term in zip(np.asarray(self.weights), self.terms, strict=True):
            evaluation = evaluation_of(term, solution)
            values = values + weight * evaluation.values
            for name, slopes in evaluation.spike_times.items():
                times[name] = times.get(name, 0.0) + weight * np.asarray(slopes)
            for name, read in evaluation.voltages.items():
                voltage_samples.setdefault(name, []).append(
                    read._replace(cotangents=weight * read.cotangents)
                )
            for key, slopes in evaluation.means.items():
                means[key] = means.get(key, 0.0) + weight * np.asarray(slopes)
            silent = np.union1d(silent, evaluation.silent_samples)
        return Evaluation(
            values, times, {name: merged(parts) for name, parts in voltage_samples.items()}, means, silent
        )
