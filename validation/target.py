"""What an implementation under test takes and gives: the same for the oracle, a chip model, or a user's own code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.typing import Key

if TYPE_CHECKING:
    from validation.diagnosis.diagnosis import Diagnosis
    from validation.diagnosis.evidence import Evidence


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
    spread : float
        Seconds by which spikes may be off besides, as those of analog circuits are.
    """

    time_step: float
    transport: Mapping[Key, int]
    quantum: float
    floating: bool = True
    spread: float = 0.0

    def radii(self, network: es.Network) -> dict[str, dict[Any, Any]]:
        """Return by how much an implementation may be off, as ``of`` of :func:`eventsolve.trust_radius`.

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
                name: (1.0 + (steps if name in outward else longest)) * self.time_step + self.spread
                for name, steps in late.items()
            },
            "weight": {
                key: 0.5 * self.quantum * (np.abs(p.weight) if self.floating else 1.0)
                for key, p in network.projections.items()
            },
        }

    def window(self, depth: int) -> float:
        """Return the seconds within which spikes of a population are paired, so many layers behind the inputs.

        One and a half steps, and for each layer another one and the spread.
        """
        return (depth + 1.5) * self.time_step + depth * self.spread


class Target(Protocol):
    """An implementation under test; one that has no gradients says so by an attribute ``forward_only``, True.

    What does for it what a command cannot do, it may say in an attribute ``instead``: a sentence by command.
    """

    @property
    def name(self) -> str:
        """Of the implementation and its settings."""

    def run(self, problem: es.Problem) -> Record:
        """Run the network forward and backward on a batch.

        Returns
        -------
        Record
            As :meth:`eventsolve.io.records.Record.of` makes it: of the problem, with each sample's own gradients,
            unless it is forward only.

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


class Refinable(Resolved, Protocol):
    """A target that can be had finer in time, and in bits."""

    def at(self, grain: Grain) -> Resolved:
        """Return the same implementation at another time step, and in other numbers."""


class Ablatable(Resolved, Protocol):
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


class Varied(Target, Protocol):
    """A target that a record may turn out to be a run of, in one of its variants."""

    @classmethod
    def variants(cls, time_step: float) -> Iterable[Varied]:
        """Return what a record of a time step, in seconds, may come from, likely ones first."""


class Faulty(Varied, Ablatable, Protocol):
    """A target some of whose causes are faults, which a diagnosis names where they act."""

    def faults(self) -> tuple[str, ...]:
        """Return those of its causes that its scheme does not need."""


class Tuned(Varied, Protocol):
    """A target with settings that spikes do not show, but gradients do."""

    def tuned(self, problem: es.Problem, record: Record) -> Iterable[Tuned]:
        """Return the same with other settings from which a record's gradients may come, given that its spikes do."""

    def gradient_factor(self, problem: es.Problem) -> float:
        """Return by what the implementation's own gradient of a sample has to be multiplied to be dL/dw."""


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


class Costed(Resolved, Protocol):
    """A target that knows what a run costs."""

    def cost(self, problem: es.Problem, record: Record) -> Cost:
        """Return what a sample of a run costs on average."""

    @staticmethod
    def settings() -> Sequence[Mapping[str, Any]]:
        """Return options that trade accuracy for cost, worth trying, simplest first; others are as they are chosen."""


def apart(expected: float, got: float) -> str:
    """Return two numbers in so many digits that they differ, and by how much where that takes more than a few."""
    if expected == got or not (math.isfinite(expected) and math.isfinite(got)):
        return f"expected {expected:.6g}, got {got:.6g}"
    digits = next(n for n in range(6, 18) if f"{expected:.{n}g}" != f"{got:.{n}g}")
    text = f"expected {expected:.{digits}g}, got {got:.{digits}g}"
    if digits > 6:
        text += f", {abs(got - expected) / max(abs(expected), abs(got)):.1g} of it apart"
    return text


class Trainable(Target, Protocol):
    """A target that holds weights in numbers of its own."""

    def held(self, network: es.Network) -> es.Network:
        """Return the network with its weights to the nearest that the target holds, from one update to the next."""


class Rounding(Target, Protocol):
    """A target that holds another network than the one that it is given, but trains that one."""

    def stands_for(self, network: es.Network) -> es.Network:
        """Return the network in continuous time that what the target holds stands for, with the same names."""


class Deciding(Target, Protocol):
    """A target with readouts of voltages that decide by something which its records do not hold."""

    def decisions(self, problem: es.Problem) -> NDArray[np.int64] | None:
        """Return the class of each sample, (n_samples,), None where no readout of voltages decides."""


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


class Replayable(Target, Protocol):
    """A target in the loop: nothing here computes the spikes of its records, but their gradients follow from these."""

    @staticmethod
    def replay(evidence: Evidence, tolerance: float) -> Diagnosis | None:
        """Return the verdict on a record whose gradients follow from its own spikes; None if they do not.

        Parameters
        ----------
        evidence : Evidence
            What the record says.
        tolerance : float
            Relative error of numbers within which they are the record's.
        """


TOOLS: Mapping[str, tuple[type, ...]] = {
    "compare": (Target,),
    "attribute": (Resolved, Ablatable),
    "converge": (Resolved, Refinable),
    "recommend": (Resolved, Costed),
    "localise": (Localisable,),
    "train": (Target,),
}
"""What each command asks of a target."""
OF_GRADIENTS = ("converge", "recommend", "train")
"""Commands that a forward-only target is of no use to."""


def untraced(target: Target) -> Target:
    """Return a target whose records have no traces, if it has a say: of fine steps they are gigabytes."""
    made: Any = target
    return replace(made, traces=False) if getattr(target, "traces", False) is True else target


def forward_only(target: object) -> bool:
    """Return whether a target, or its class, has no gradients."""
    return bool(getattr(target, "forward_only", False))


def missing(target: object, tool: str) -> tuple[str, ...]:
    """Return what a target, or its class, lacks for a command: methods, by their names with (), and gradients."""
    names = dict.fromkeys(
        name
        for protocol in (Target, *TOOLS[tool])
        for name in vars(protocol)
        if not name.startswith("_") and name != "name"
    )
    lacking = [f"{name}()" for name in names if not callable(getattr(target, name, None))]
    return (*lacking, *(["gradients"] if tool in OF_GRADIENTS and forward_only(target) else []))


def require(target: object, tool: str) -> None:
    """Raise a ValueError that says what a target, or its class, lacks for a command, if it does."""
    lacking = missing(target, tool)
    if lacking:
        name = target.__name__ if isinstance(target, type) else getattr(target, "name", type(target).__name__)
        able = [other for other in TOOLS if not missing(target, other)]
        instead = getattr(target, "instead", {}).get(tool, "")
        raise ValueError(
            f"{tool} needs a target with {' and '.join(lacking)}, which {name} has not; "
            f"it can {', '.join(able) or 'do nothing'}" + (f"; {instead}" if instead else "")
        )
