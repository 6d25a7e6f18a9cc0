"""Random networks: what the strategies of :mod:`eventsolve.testing` draw, from a seed; needs the extra ``testing``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.checks import count
from eventsolve.problem import Problem
from eventsolve.solve import StoppedError
from eventsolve.spiketrains import sorted_trains

MOST_LAYERS, MOST_NEURONS = 8, 64
_EXAMPLES = 10
"""Of which the last one is taken whose loss depends on a weight: Hypothesis begins with the smallest there is."""
_DRAWN = 2
"""Samples that Hypothesis draws: margins that hold in many at once are hardly ever found."""
_REACHES = (0.1, 0.03, 0.01, 0.0)
"""By how much input spikes of further samples are moved, in parts of t_end, until their loss is defined."""


@dataclass(frozen=True)
class Random:
    """Small random networks, any part of which may be recurrent, delayed, refractory or a readout.

    Attributes
    ----------
    layers : int
        Hidden and output layers at most.
    size : int
        Neurons of a layer at most.
    recurrent, delays : bool or None
        Whether there are any; None: drawn.
    t_end : float
        Seconds.

    Raises
    ------
    ValueError
        For layers or sizes that are less than 1, or of which a network would be drawn for minutes.
    """

    layers: int = 2
    size: int = 6
    recurrent: bool | None = None
    delays: bool | None = None
    t_end: float = 50e-3

    def __post_init__(self) -> None:
        count("layers", self.layers, 1, MOST_LAYERS)
        count("size", self.size, 1, MOST_NEURONS)

    @property
    def name(self) -> str:
        """The task and its bounds."""
        return f"random networks of up to {self.layers} layers of up to {self.size} neurons"

    def problem(self, n_samples: int = 4, seed: int = 42) -> Problem:
        """Return the problem that a seed draws; samples beyond the second have moved inputs of the first two.

        Raises
        ------
        ImportError
            If Hypothesis is not installed.
        ValueError
            For bounds that make no sense.
        """
        try:
            import hypothesis
        except ImportError as error:
            raise ImportError("random networks need hypothesis: pip install eventsolve[testing]") from error
        from eventsolve.testing.strategies import problems

        n = count("n_samples", n_samples)
        drawn: list[Problem] = []

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=_EXAMPLES,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            problems(
                layers=(1, self.layers),
                size=(1, self.size),
                recurrent=self.recurrent,
                delays=self.delays,
                samples=(min(n, _DRAWN),) * 2,
                t_end=self.t_end,
            )
        )
        def take(problem: Any) -> None:
            drawn.append(problem)

        take()
        found = next((problem for problem in reversed(drawn) if _moves(problem)), drawn[-1])
        return _enlarged(found, n, np.random.default_rng(seed))


def _enlarged(problem: Problem, n: int, random: np.random.Generator) -> Problem:
    """Return the problem with n samples, the first of which are its own; others are like them, with moved inputs."""
    own = problem.n_samples
    samples = [problem.select([k]) for k in range(own)]
    samples += [_moved(samples[k % own], random) for k in range(own, n)]
    inputs = {
        name: sorted_trains(
            np.concatenate([one.inputs[name].times for one in samples]),
            np.concatenate([one.inputs[name].neurons for one in samples]),
            np.repeat(np.arange(n), [one.inputs[name].n_spikes for one in samples]),
            (n, trains.n_neurons),
        )
        for name, trains in problem.inputs.items()
    }
    return replace(problem.select(np.arange(n) % own), inputs=inputs)


def _moved(sample: Problem, random: np.random.Generator) -> Problem:
    """Return a sample with inputs moved as far as its loss remains defined."""
    assert sample.loss is not None
    for reach in _REACHES:
        inputs = {
            name: sorted_trains(
                np.abs(t.times + reach * sample.t_end * random.uniform(-1, 1, t.n_spikes)),
                t.neurons,
                t.samples,
                (1, t.n_neurons),
            )
            for name, t in sample.inputs.items()
        }
        moved = replace(sample, inputs=inputs)
        try:
            value, _ = es.value_and_grad(moved.solution, sample.loss)
        except (ValueError, StoppedError):
            continue
        if np.isfinite(value):
            return moved
    return sample


def _moves(problem: Problem) -> bool:
    """Return whether the loss of a problem depends on any weight."""
    assert problem.loss is not None  # strategies always draw one
    _, grads = es.value_and_grad(problem.solution, problem.loss)
    return any(np.any(np.asarray(grads.weight[key]) != 0) for key in problem.network.projections)
