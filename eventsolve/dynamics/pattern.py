"""Which neuron spikes when in one period of an orbit, by what, and what arrives where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from eventsolve.dynamics.circuit import Circuit
from eventsolve.typing import Booleans, Integers


class Arrivals(NamedTuple):
    """What arrives once per period, cell after cell: from which event, over which synapse.

    Those of a cell have the places from ``first[cell]`` up to, not with, ``first[cell + 1]``.
    """

    first: Integers
    event: Integers
    synapse: Integers


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which neuron spikes when in one period, and by what: no times, and no numbers of the network.

    Attributes
    ----------
    circuit : Circuit
        Of which only is taken what is connected to what, and how.
    cells : ndarray of int64, (n_spikes,)
        In the order of their first times.
    cause : ndarray of int64, (n_spikes,)
        The event whose arrival triggers the spike, over a delta synapse; -1 for a crossing. Events are the spikes and
        then the input spikes.
    synapse : ndarray of int64, (n_spikes,)
        Over which it arrives; -1 for a crossing.
    channels : ndarray of int64, (n_inputs,)
        The source of each input spike.
    """

    circuit: Circuit
    cells: Integers
    cause: Integers
    synapse: Integers
    channels: Integers

    @property
    def n_spikes(self) -> int:
        """Spikes of one period."""
        return int(self.cells.size)

    @property
    def n_events(self) -> int:
        """Spikes and input spikes of one period."""
        return int(self.cells.size + self.channels.size)

    @cached_property
    def chained(self) -> Integers:
        """Spikes after which V is no given number: triggered ones of neurons that subtract."""
        return np.flatnonzero((self.cause >= 0) & self.circuit.subtracts[self.cells])

    @cached_property
    def roots(self) -> Integers:
        """By event the crossing that it follows at a fixed time, as what triggers it does; -1 of all that inputs do.

        Events of one root cannot move apart.
        """
        found = np.concatenate([np.arange(self.n_spikes), np.full(self.channels.size, -1)])
        for _ in range(self.n_spikes):
            following = np.where(self.cause >= 0, found[self.cause], found[: self.n_spikes])
            if np.array_equal(following, found[: self.n_spikes]):
                break
            found[: self.n_spikes] = following
        return found

    @cached_property
    def own(self) -> tuple[Integers, Integers]:
        """All spikes cell after cell, in their order, (n_spikes,), and where each cell's begin, (n_cells + 1,)."""
        order = np.argsort(self.cells, kind="stable")
        return order, _first(self.cells, self.circuit.n_cells)

    @cached_property
    def before(self) -> tuple[Integers, Integers]:
        """Of each spike the one of its cell before it, and how many periods later than its own time: 0 or -1."""
        order, first = self.own
        previous, laps = np.empty(order.size, np.int64), np.zeros(order.size, np.int64)
        previous[order[1:]] = order[:-1]
        begins = first[:-1][np.diff(first) > 0]
        previous[order[begins]] = order[first[1:][np.diff(first) > 0] - 1]
        laps[order[begins]] = -1
        return previous, laps

    @cached_property
    def arrivals(self) -> Arrivals:
        """What arrives at each cell."""
        of = self.circuit
        sources = np.concatenate([of.n_channels + self.cells, self.channels])
        by_source = np.argsort(sources, kind="stable")
        begins = _first(sources, of.n_channels + of.n_cells)
        synapse, place = ragged(begins, of.source)
        order = np.argsort(of.target[synapse], kind="stable")
        synapse = synapse[order]
        return Arrivals(_first(of.target[synapse], of.n_cells), by_source[place[order]], synapse)

    @cached_property
    def triggering(self) -> Integers:
        """Of each spike the place of the arrival that triggers it; -1 for a crossing."""
        first, event, synapse = self.arrivals
        found = np.full(self.n_spikes, -1, np.int64)
        for k in np.flatnonzero(self.cause >= 0):
            here = slice(*first[self.cells[k] : self.cells[k] + 2].tolist())
            same = (event[here] == self.cause[k]) & (synapse[here] == self.synapse[k])
            found[k] = here.start + int(np.argmax(same))
        return found

    @cached_property
    def delta(self) -> Booleans:
        """Of each arrival whether it is over a delta synapse."""
        return self.circuit.delta[self.arrivals.synapse]


def ragged(first: Integers, groups: Integers) -> tuple[Integers, Integers]:
    """Return of members of groups that begin at ``first``, group after group: which group it is, and the place."""
    counts = first[groups + 1] - first[groups]
    of = np.repeat(np.arange(groups.size), counts)
    before = np.cumsum(counts) - counts
    return of, np.arange(of.size) - before[of] + first[groups][of]


def _first(groups: Integers, n: int) -> Integers:
    """Return where each of n groups begins when members are sorted by group, and the number of all, (n + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=n))]).astype(np.int64)
