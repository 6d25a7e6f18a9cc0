"""What an implementation under test takes and gives: the same for the oracle, a chip model, or a user's own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.network import Key


@dataclass(frozen=True)
class Resolution:
    """How finely an implementation resolves a network.

    Attributes
    ----------
    time_step : float
        Seconds; 0 in continuous time.
    transport : mapping of (pre, post) to int
        After how many steps a spike arrives over a projection, beyond its delay.
    quantum : float
        The distance of two of its numbers near 1, in the unit of the weights.
    """

    time_step: float
    transport: Mapping[Key, int]
    quantum: float


class Target(Protocol):
    """An implementation under test."""

    @property
    def name(self) -> str:
        """Of the implementation and its settings."""

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

        Returns
        -------
        Record
            As :meth:`eventsolve.io.records.Record.of` makes it: of the problem, with each sample's own gradients.

        Raises
        ------
        ValueError
            If the implementation cannot represent the network, the inputs or the loss: it says what, and
            changes nothing silently.
        """


class Resolved(Target, Protocol):
    """A target that says how finely it resolves a network."""

    def resolution(self, network: es.Network) -> Resolution:
        """Return its steps and its quantum."""
