"""The cheapest setting of a target that reaches a wanted gradient cosine on a task, derived and then checked.

Settings are derived on some samples and checked on others. The recommendation is the cheapest setting that reaches the
cosine on both. The target counts what a sample costs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import eventsolve as es
from eventsolve.compare import agreement
from eventsolve.jobs import as_finished
from eventsolve.typing import Key, Reals
from validation.attribution.ablation import Refusal, batch_means, meant
from validation.oracle import oracle
from validation.target import Cost, Costed


@dataclass(frozen=True)
class Setting:
    """A target with some of its options chosen.

    Attributes
    ----------
    rank : int
        Its place among the settings that are tried, simplest first.
    label : str
        Its options in words.
    target : Costed
    """

    rank: int
    label: str
    target: Costed

    def __str__(self) -> str:
        return self.label


class Candidate(NamedTuple):
    """What a setting gives and costs.

    Attributes
    ----------
    setting : Setting
    cosine : float
        Between the batch-mean gradient and the exact one, the smallest over all projections. The exact network has the
        steps of transport that the target intends as delays.
    cost : Cost
        Average cost of a sample.
    """

    setting: Setting
    cosine: float
    cost: Cost


class Recommendation(NamedTuple):
    """A candidate, and what it gives on the samples on which it was checked."""

    candidate: Candidate
    checked: float


def tried(problem: es.Problem, setting: Setting) -> Candidate | Refusal[Setting]:
    """Return what a setting gives and costs on a problem, or why it cannot be run; a job for any executor."""
    try:
        return _tried(problem, setting)
    except ValueError as error:
        return Refusal(setting, str(error))


def _tried(problem: es.Problem, setting: Setting) -> Candidate:
    target = setting.target
    model = target.run(problem)
    got = batch_means(model)
    exact = _exact_means(meant(problem, target))
    cosines = [agreement(mean, got[key]).cosine for key, mean in exact.items() if mean.any()]
    if not cosines:
        raise ValueError("the gradients of all weights are 0, so that they have no cosine")
    return Candidate(setting, min(cosines), target.cost(problem, model))


@functools.lru_cache(maxsize=1)
def _exact_means(problem: es.Problem) -> dict[Key, Reals]:
    """Return the exact batch means, once for all settings that approximate the same problem."""
    return batch_means(oracle(problem))


def candidates(
    problem: es.Problem, settings: Sequence[Setting], executor: Executor | None = None
) -> Iterator[Candidate | Refusal[Setting]]:
    """Yield what every setting gives and costs, or why it cannot be run, as it finishes.

    Raises
    ------
    ValueError
        At the end, if none of them can be run.
    """
    refused: list[Refusal[Setting]] = []
    for _, found in as_finished(functools.partial(tried, problem), settings, executor):
        yield found
        if isinstance(found, Refusal):
            refused.append(found)
    if refused and len(refused) == len(settings):
        raise ValueError(refused[0].why)


def ranked(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates, the cheapest first; among equally cheap ones the simplest first."""
    return sorted(found, key=lambda c: (c.cost.bytes, c.setting.rank))


def frontier(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates whose cosine is larger than that of every cheaper one, cheapest first."""
    best: list[Candidate] = []
    for candidate in ranked(found):
        if not best or candidate.cosine > best[-1].cosine:
            best.append(candidate)
    return best


def recommended(found: Sequence[Candidate], wanted: float, problem: es.Problem) -> Recommendation | None:
    """Return the cheapest candidate that reaches a cosine, also on samples for which it was not chosen.

    Parameters
    ----------
    found : sequence of Candidate
        What settings give on some samples.
    wanted : float
        The least cosine, -1 to 1.
    problem : Problem
        With other samples.

    Returns
    -------
    Recommendation or None
        None if no candidate reaches the cosine on both; a candidate that cannot be run on the others does not.

    Raises
    ------
    ValueError
        If no candidate that reaches it on some samples can be run on the others.
    """
    if not -1 <= wanted <= 1:
        raise ValueError(f"wanted must be a cosine from -1 to 1; got {wanted!r}")
    good = [candidate for candidate in ranked(found) if candidate.cosine >= wanted]
    refused: list[Refusal[Setting]] = []
    for candidate in good:
        again = tried(problem, candidate.setting)
        if isinstance(again, Refusal):
            refused.append(again)
        elif again.cosine >= wanted:
            return Recommendation(candidate, again.cosine)
    if refused and len(refused) == len(good):
        raise ValueError(f"on other samples {refused[0].of} cannot be run: {refused[0].why}")
    return None
