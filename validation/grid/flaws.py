"""What a clocked implementation may do wrongly, each on purpose: with this a diagnosis tries its guesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

from eventsolve.losses import Evaluation
from eventsolve.network import Network
from validation.grid.kernels import tables
from validation.grid.solution import GridSolution

Packets: TypeAlias = Literal["all", "one per projection", "last per projection", "one per population", "one"]
Reading: TypeAlias = Callable[[Evaluation, GridSolution], Evaluation]


@dataclass(frozen=True)
class Flaws:
    """What is wrong; by default nothing.

    Attributes
    ----------
    carries_voltage, carries_current : bool
        A sample begins with V, and with I, of the end of the one before.
    adjoint_carried : bool
        Its adjoint begins, at its end, with that of the one before.
    packets : str
        Of several packets that arrive at one step only one is delivered, to each projection, population, or at all: the
        one sent first, an input's before others, then that of the lowest number; or of a projection the highest.
    resets_current : bool
        A spike puts the current of its neuron to 0, too.
    drifts : bool
        V moves on in a refractory period, in which the neuron merely sends no spike.
    current_share, voltage_share : float
        Of p_I/tau_syn and of p_V/tau_mem in dL/dt of an arrival.
    reset_share : float
        Of the reset's own term in dL/dt of a spike.
    told_share : float
        Of the same in what is told of dL/dt, if it is left out there alone.
    slope_after : bool
        The jump divides by V' after the reset.
    carries : bool
        The jump is added to p_V in place of replacing it.
    drives : float
        Share of I in the slopes at a spike.
    jump_share : float
        Of the jump at a spike.
    level : bool
        The jump divides by 1/tau_mem, no slope.
    first_only : bool
        There is no jump at any spike of a neuron but its first.
    back : Network or None
        The network that the way back sees, if it is another one.
    reading : callable or None
        Takes what the loss gives and the solution on the grid, and returns what is taken for it.
    """

    carries_voltage: bool = False
    carries_current: bool = False
    adjoint_carried: bool = False
    packets: Packets = "all"
    resets_current: bool = False
    drifts: bool = False
    current_share: float = 1.0
    voltage_share: float = 1.0
    reset_share: float = 1.0
    told_share: float = 1.0
    slope_after: bool = False
    carries: bool = False
    drives: float = 1.0
    jump_share: float = 1.0
    level: bool = False
    first_only: bool = False
    back: Network | None = None
    reading: Reading | None = None

    def joined(self, other: Flaws) -> Flaws:
        """Return these with what is wrong in others."""
        wrong = {f.name: getattr(other, f.name) for f in fields(self)}
        return replace(self, **{n: value for n, value in wrong.items() if value != getattr(NONE, n)})

    @property
    def forward(self) -> Flaws:
        """Those that change spikes."""
        return Flaws(**{name: getattr(self, name) for name in _FORWARD})

    @property
    def in_order(self) -> bool:
        """Whether a sample depends on the one before it."""
        return self.carries_voltage or self.carries_current or self.adjoint_carried

    def of_kernels(self) -> tables.Flaws:
        """Return what the kernels take."""
        own = {
            name: getattr(self, name) for name in tables.Flaws._fields if name not in ("one_packet", "last")
        }
        return tables.Flaws(
            one_packet=self.packets != "all", last=self.packets == "last per projection", **own
        )


_FORWARD = ("carries_voltage", "carries_current", "packets", "resets_current", "drifts")
NONE = Flaws()
