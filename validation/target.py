"""What an implementation under test takes and gives: the same for the oracle, a chip model, or a user's own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.network import Key
from eventsolve.shown import Shown, Summary, arrow, brief, listed, ms, several


@dataclass(frozen=True, eq=False)
class Trace:
    """Voltages and currents of one population at the times at which the implementation holds them.

    Attributes
    ----------
    times : ndarray of float64, (n_times,)
        Seconds.
    voltage, current : ndarray of float64, (n_samples, n_neurons, n_times)
        In the unit of the weights; the voltage of a spiking step is the one that crossed, before the reset.
    """

    times: NDArray[np.float64]
    voltage: NDArray[np.float64]
    current: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Record(Shown):
    """What one implementation computed for one network, batch and loss; SI units throughout.

    Gradients are of each sample's own loss: not divided by the batch size, not summed over it.

    Attributes
    ----------
    name : str
        Of the implementation and its settings, for tables and titles.
    spikes : mapping of str to SpikeTrains
        By population, inputs included, as the implementation saw them (a time-stepped one holds them on its grid).
    loss : ndarray of float64, (n_samples,), or None
    spike_times : mapping of str to ndarray of float64
        dL/dt_k in 1/s for every spike of a population, in the order of ``spikes[population].times``.
    weight : mapping of (pre, post) to ndarray of float64, (n_samples, n_post, n_pre)
        dL/dw; (1, n_post, n_pre) where only the mean over the batch is known, and then the loss is (1,), too. Of a
        sparse projection a list of one sparse matrix per sample, as ``value_and_grad`` gives them, or
        (n_samples, n_synapses).
    time_step : float or None
        Seconds; None for an implementation in continuous time.
    traces : mapping of str to Trace
        Empty if the implementation does not show them.
    counters : mapping of str to int
        Events worth knowing about, by name, such as saturations.
    delay : mapping of (pre, post) to ndarray of float64, (n_samples, n_post, n_pre)
        dL/d(delay) in 1/s, in the layout of ``weight``; empty if the implementation has none.
    parameters : mapping of str to mapping of str to ndarray of float64, (n_samples, n_neurons)
        dL/d(parameter of a neuron), by the names of :class:`eventsolve.LIF` and then by population.
    notes : tuple of str
        What the implementation changed of the problem, such as delays rounded to its steps, in a sentence each.
    """

    name: str
    spikes: Mapping[str, es.SpikeTrains]
    loss: NDArray[np.float64] | None
    spike_times: Mapping[str, NDArray[np.float64]]
    weight: Mapping[Key, Any]
    time_step: float | None = None
    traces: Mapping[str, Trace] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    delay: Mapping[Key, Any] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, NDArray[np.float64]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def _summary(self) -> Summary:
        clock = "continuous time" if self.time_step is None else f"steps of {ms(self.time_step)}"
        rows: list[tuple[str, object]] = [
            ("spikes", listed(f"{t.n_spikes} of {name}" for name, t in self.spikes.items()) or "none"),
            ("loss", "none" if self.loss is None else brief(self.loss)),
            ("dL/dw", listed(map(arrow, self.weight)) or "none"),
        ]
        rows += [("counters", listed(f"{n} {name}" for name, n in self.counters.items()))] * bool(
            self.counters
        )
        rows += [("notes", "; ".join(self.notes))] * bool(self.notes)
        return f"Record({self.name}: {several(self.n_samples, 'sample')} in {clock})", rows

    @property
    def n_samples(self) -> int:
        """Size of the batch."""
        return next((trains.n_samples for trains in self.spikes.values()), 0)


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
    floating : bool
        Whether that of other numbers is in proportion to them, or the same everywhere.
    """

    time_step: float
    transport: Mapping[Key, int]
    quantum: float
    floating: bool = True

    def radii(self, network: es.Network) -> dict[str, dict[Any, Any]]:
        """Return by how much an implementation may be off, as ``of`` of :func:`eventsolve.estimate_radius`.

        Every spike by a step, to whose end it is rounded, and by the steps that it takes to its targets; every weight
        by half a quantum.
        """
        late = dict.fromkeys(network.populations, 0)
        for key, steps in self.transport.items():
            late[key[0]] = max(late[key[0]], steps)
        longest = max(late.values(), default=0)
        outward = {key[0] for key in self.transport}
        return {
            "spike_times": {
                name: (1.0 + (steps if name in outward else longest)) * self.time_step
                for name, steps in late.items()
            },
            "weight": {
                key: 0.5 * self.quantum * (np.abs(p.weight) if self.floating else 1.0)
                for key, p in network.projections.items()
            },
        }


class Target(Protocol):
    """An implementation under test."""

    @property
    def name(self) -> str:
        """Of the implementation and its settings."""

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

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


class Grain(NamedTuple):
    """A time step in seconds, and fraction bits of numbers; None for float64."""

    time_step: float
    bits: int | None


class Refinable(Target, Protocol):
    """A target that can be had finer in time, and in bits."""

    def at(self, grain: Grain) -> Resolved:
        """Return the same implementation at another time step, and in other numbers."""


class Ablatable(Target, Protocol):
    """A target that names its approximations, each of which can be turned off."""

    def causes(self) -> Mapping[str, str]:
        """Return what each of its approximations does, in a sentence, by name."""

    def kept(self) -> tuple[str, ...]:
        """Return the causes that are no error but how the implementation is meant, such as its steps of transport.

        Those that are left on unless something else is asked for; the exact network then has their delays too.
        """

    def with_causes(self, on: Iterable[str]) -> Resolved:
        """Return the implementation with some approximations: with all it is itself, with none as exact as it can be.

        Raises
        ------
        ValueError
            If there is no such cause.
        """


class Cost(NamedTuple):
    """What a sample costs on average.

    Attributes
    ----------
    operations : float
        Multiply-accumulates.
    packet_bytes : float
        That go from core to core.
    bytes : float
        The operands of operations, and ``packet_bytes``: the cost in one number.
    """

    operations: float
    packet_bytes: float
    bytes: float


class Costed(Target, Protocol):
    """A target that knows what a run costs."""

    def cost(self, problem: es.Problem, record: Record) -> Cost:
        """Return what a sample of a run costs on average."""

    def settings(self) -> Mapping[str, tuple[Any, ...]]:
        """Return the options that trade accuracy for cost, with values worth trying, simplest first."""


class Localisable(Target, Protocol):
    """A target whose steps can be held against the record of an implementation of it."""

    def localised(
        self, problem: es.Problem, record: Record, *, previous: es.Network | None = None, rtol: float = 0.0
    ) -> object | None:
        """Return where a record departs from what the target does first, as something that prints; None if nowhere.

        Parameters
        ----------
        problem : Problem
        record : Record
        previous : Network, optional
            With the weights of the batch before, which an implementation may have kept.
        rtol : float
            By how much numbers may be off, relative to the largest of their kind.

        Raises
        ------
        ValueError
            If the target cannot represent the problem, or the record has not enough to tell.
        """


TOOLS: Mapping[str, tuple[type, ...]] = {
    "compare": (Target,),
    "attribute": (Ablatable,),
    "converge": (Refinable,),
    "recommend": (Costed,),
    "localise": (Localisable,),
}
"""What each command asks of a target."""


def missing(target: object, tool: str) -> tuple[str, ...]:
    """Return the methods that a target, or its class, lacks for a command."""
    wanted = (Target, *TOOLS[tool])
    names = dict.fromkeys(
        name for protocol in wanted for name in vars(protocol) if not name.startswith("_") and name != "name"
    )
    return tuple(name for name in names if not callable(getattr(target, name, None)))


def require(target: Target, tool: str) -> None:
    """Raise a ValueError that says what a target lacks for a command, if it does."""
    lacking = missing(target, tool)
    if lacking:
        able = [name for name in TOOLS if not missing(target, name)]
        raise ValueError(
            f"{tool} needs a target with {' and '.join(f'{name}()' for name in lacking)}, which {target.name!r} has "
            f"not; it can {', '.join(able) or 'do nothing'}"
        )
