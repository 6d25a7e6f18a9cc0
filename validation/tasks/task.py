"""What a task is: a data set, and networks and losses for it, as problems."""

from __future__ import annotations

from typing import Protocol

from eventsolve.testing import Problem


class Task(Protocol):
    """A data set with its networks and losses; its options are the fields of a frozen dataclass."""

    @property
    def name(self) -> str:
        """The task and its options, for titles."""

    def problem(self, n_samples: int = 32, seed: int = 42) -> Problem:
        """Return a batch.

        Parameters
        ----------
        n_samples : int
        seed : int
            Of all that is drawn: initial weights, and samples where they are drawn.

        Raises
        ------
        ValueError
            If there are not as many samples.
        """
