"""What a solution and an orbit that were followed along a parameter have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eventsolve.frozen import Frozen
from eventsolve.shown import Summary, several


@dataclass(frozen=True, eq=False, repr=False)
class Followed(Frozen):
    """Branches along a parameter, and the events on them and between them.

    Attributes
    ----------
    parameter : str
        What has the value, or moves with it.
    over : (float, float)
        The range that was asked for.
    branches, events : tuple
    n_solved : int
        How many networks, or orbits, were solved.
    complete : bool
        Whether they reach to where they were to.
    """

    parameter: str
    over: tuple[float, float]
    branches: tuple[Any, ...]
    events: tuple[Any, ...]
    n_solved: int
    complete: bool

    def _summary(self) -> Summary:
        low, high = self.over
        followed = (
            f", followed to {self.branches[-1].values[-1]:.6g}" if self.branches else ", not followed yet"
        )
        title = (
            f"{type(self).__name__}({self.parameter} from {low:.6g} to {high:.6g}{'' if self.complete else followed}: "
            f"{several(len(self.branches), 'branch', 'branches')}, {several(len(self.events), 'event')})"
        )
        return title, [(f"{event.value:.9g}", event.what()) for event in self.events]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists and numbers, ready for JSON; complex numbers as their two parts."""
        return {
            "parameter": self.parameter,
            "over": list(self.over),
            "complete": self.complete,
            "branches": [branch.to_dict() for branch in self.branches],
            "events": [event.to_dict() for event in self.events],
        }
