"""Random networks: what the strategies of :mod:`eventsolve.testing` draw, from a seed; needs the extra ``testing``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.checks import count
from eventsolve.problem import Problem

_EXAMPLES = 10
"""Of which the last one is taken whose loss depends on a weight: Hypothesis begins with the smallest there is."""


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
    """

    layers: int = 2
    size: int = 6
    recurrent: bool | None = None
    delays: bool | None = None
    t_end: float = 50e-3

    @property
    def name(self) -> str:
        """The task and its bounds."""
        return f"random networks of up to {self.layers} layers of up to {self.size} neurons"

    def problem(self, n_samples: int = 4, seed: int = 42) -> Problem:
        """Return the problem that a seed draws.

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
                samples=(n, n),
                t_end=self.t_end,
            )
        )
        def take(problem: Any) -> None:
            drawn.append(problem)

        take()
        return next((problem for problem in reversed(drawn) if _moves(problem)), drawn[-1])


def _moves(problem: Problem) -> bool:
    """Return whether the loss of a problem depends on any weight."""
    assert problem.loss is not None  # strategies always draw one
    _, grads = es.value_and_grad(problem.solution, problem.loss)
    return any(np.any(np.asarray(grads.weight[key]) != 0) for key in problem.network.projections)
