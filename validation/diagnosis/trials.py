"""Several trials of a noisy implementation: whether their mean is the exact solution, as far as their spread tells.

The differences of a quantity from the exact solution are one vector per trial. Without a bias these vectors have mean
0, and random signs leave their distribution unchanged; so the length of their sum is compared with its lengths under
random signs. Differences along one direction, a common shift of times or the exact gradient, have a t statistic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from eventsolve.io.records import Record
from eventsolve.typing import Reals
from validation.diagnosis.diagnosis import Diagnosis
from validation.diagnosis.evidence import Evidence, Place
from validation.diagnosis.writing import label

SURE = 1e-3
"""Probability of calling an unbiased record biased, over all its quantities."""
FLIPS = 20_000
"""How many random signs are drawn: enough to resolve :data:`SURE` over a dozen tests."""
FEWEST = 3
"""Fewest trials whose spread says anything."""


@dataclass(frozen=True, eq=False)
class Deviations:
    """How a quantity differs from the exact one: a vector per trial, (n_trials, n), and what it is relative to.

    ``along`` is a direction, and ``words`` formats how far along it the mean lies.
    """

    of: str
    values: Reals
    along: Reals
    words: str


@dataclass(frozen=True)
class Bias:
    """How far the mean of some deviations is from 0: the probability of that by chance, and a description."""

    of: str
    chance: float
    words: str


def judged(evidence: Evidence, exact: Record) -> Diagnosis | None:
    """Return the verdict on a record of differing trials; None if trials do not differ or were not recorded singly."""
    n_trials = evidence.record.trials
    every = [d for d in deviations(evidence, exact) if d.values.size] if n_trials >= FEWEST else []
    if not any(np.ptp(d.values, axis=0).any() for d in every):
        return None
    found = [bias(d, np.random.default_rng(k)) for k, d in enumerate(every)]
    biased = [b for b in found if b.chance < SURE / len(found)]
    if not biased:
        least = min(found, key=lambda b: b.chance)
        return Diagnosis(
            "agrees",
            f"the mean of {n_trials} trials is within its standard error; furthest off is {least.of}: {least.words}",
            1.0,
        )
    words = "; ".join(f"{b.of}: {b.words}" for b in biased)
    return Diagnosis(
        "unexplained",
        f"the mean of {n_trials} trials is further from the exact solution than their spread explains: {words}",
        0.0,
        biased[0].of,
    )


def bias(deviations: Deviations, rng: np.random.Generator) -> Bias:
    """Return how far the mean of deviations is from 0."""
    x = deviations.values
    n = len(x)
    if not np.isfinite(x).all():
        return Bias(deviations.of, 0.0, "not finite")
    lengths = x @ deviations.along
    mean, error = float(lengths.mean()), float(lengths.std(ddof=1)) / np.sqrt(n)
    z = mean / error if error > 0 else (0.0 if mean == 0 else np.inf * np.sign(mean))
    one = float(2 * stats.t.sf(abs(z), n - 1))
    gram = x @ x.T
    signs = rng.choice([-1.0, 1.0], (FLIPS, n))
    drawn = np.einsum("fj,fj->f", signs @ gram, signs)
    all_of_them = (1 + np.count_nonzero(drawn >= gram.sum() * (1 - 1e-12))) / (1 + FLIPS)
    words = f"{deviations.words.format(mean)}, z = {z:.2g}"
    if all_of_them < one:
        words += f"; over all of its numbers, {all_of_them:.1g} likely by chance"
    return Bias(deviations.of, min(one, all_of_them), words)


def deviations(evidence: Evidence, exact: Record) -> Iterator[Deviations]:
    """Yield how counts and times of spikes, loss and gradients of single trials differ from the exact ones."""
    record, n_trials = evidence.record, evidence.record.trials
    for name in evidence.spikes:
        got, said = record.spikes[name], exact.spikes[name]
        of = f"spikes of {name}"
        counts = (got.counts() - said.counts()).reshape(n_trials, -1).astype(np.float64)
        yield Deviations(
            of, counts, np.ones(counts.shape[1]) / counts.shape[1], "{:+.3g} of each neuron in a sample"
        )
        with np.errstate(invalid="ignore"):  # of neurons that are silent in both
            late = (got.first() - said.first()).reshape(n_trials, -1)
        late = late[:, np.isfinite(late).all(axis=0)]
        if late.size:
            along = np.ones(late.shape[1]) / late.shape[1] * 1e6
            yield Deviations(f"first {of}", late, along, "late by {:.4g} us")
    if record.reduction != "none":
        return
    for place, values in evidence.numbers.items():
        if place[0] == "spike_times":
            continue
        rows = _exact(exact, place)
        if rows is None or rows.shape != values.shape:
            continue
        said_rows, off = (a.reshape(n_trials, -1) for a in (rows, values - rows))
        mean = said_rows.mean(axis=0)
        square = float(mean @ mean)
        if square:
            yield Deviations(label(place), off, mean / square * 100, "{:+.3g} % along the exact one")


def _exact(exact: Record, place: Place) -> Reals | None:
    quantity, where = place
    if quantity == "loss":
        return exact.loss_values
    return exact.gradients.get(quantity, {}).get(where)
