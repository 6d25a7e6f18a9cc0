"""The Yin-Yang data set (Kriener, Göltz & Petrovici 2022) with the two networks that were published for it."""

from __future__ import annotations

from dataclasses import dataclass

from eventsolve.problem import Problem
from validation.yinyang import SETUPS, problem_of


@dataclass(frozen=True)
class YinYang:
    """Points of the Yin-Yang data set, by the time of the first output spike.

    Attributes
    ----------
    setup : str
        "5-200-3" (Wunderlich & Pehle 2021) or "5-120-3" (Béna et al. 2024).

    Raises
    ------
    ValueError
        If there is no such set-up.
    """

    setup: str = "5-200-3"

    def __post_init__(self) -> None:
        if self.setup not in SETUPS:
            raise ValueError(f"setup must be one of {', '.join(SETUPS)}; got {self.setup!r}")

    @property
    def name(self) -> str:
        """The task and its set-up."""
        return f"Yin-Yang, {self.setup}"

    def problem(self, n_samples: int = 32, seed: int = 42) -> Problem:
        """Return points and initial weights that ``seed`` draws, as published."""
        return problem_of(SETUPS[self.setup], n_samples, seed)
