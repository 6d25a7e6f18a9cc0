"""Possible origins of a record: the schemes of clocked implementations, and the exact solver."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeAlias, cast, get_args

import networkx as nx
import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.losses import Evaluation
from eventsolve.solve import StoppedError
from eventsolve.testing import plain_adjoint
from eventsolve.typing import Integers
from eventsolve.units import UnitWarning
from validation.diagnosis.evidence import Answer, Evidence, answer_of, mismatch, rows_of
from validation.grid import TimeStepped
from validation.grid.flaws import NONE, Flaws
from validation.grid.scheme import Propagators
from validation.grid.steps import InputRounding, in_steps
from validation.grid.time_stepped import WORDS, Points
from validation.oracle import oracle


@dataclass(frozen=True)
class Clock:
    """The settings that decide where spikes are on a clock.

    Attributes
    ----------
    propagators, order, transport, feedback, points, input_rounding, inclusive, input_transport, stamp, late_reset, hold
        As of :class:`validation.grid.TimeStepped`.
    """

    propagators: Propagators = "exact"
    order: str = "voltage_first"
    transport: int = 0
    feedback: int = 0
    points: Points = "1..n"
    input_rounding: InputRounding = "nearest"
    inclusive: bool = False
    input_transport: int | None = None
    stamp: int = 0
    late_reset: bool = False
    hold: int = 0

    def __str__(self) -> str:
        inputs = {
            "nearest": "the nearest step",
            "up": "the next step",
            "down": "the step before",
            "half_up": "the nearest step, halves up",
            "next": "the next step even if they are on one",
            "truncated": "the step that their float64 quotient has",
        }
        first = ", current before voltage" if self.order == "current_first" else ""
        late = f", spikes act {self.transport} step later" if self.transport else ""
        if first and not late:
            late = ", spikes act in their own step"
        late += ", inputs in their own" if self.input_transport == 0 and self.transport else ""
        late += f", {self.feedback} step later in cycles" if self.feedback else ""
        points = f", states move at points {self.points}" if self.points != "1..n" else ""
        equal = ", V at the threshold spikes" if self.inclusive else ""
        points += ", spikes told at the end of their step" if self.stamp else ""
        reset = ", resets a step late" if self.late_reset else ""
        reset += ", V held a step less than t_ref" if self.hold < 0 else ""
        return f"{WORDS[self.propagators]}{first}{late}, inputs to {inputs[self.input_rounding]}{points}{reset}{equal}"

    def is_as(self, said: Mapping[str, Any]) -> bool:
        """Say whether it agrees with everything that a record says of its scheme."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return all(mine[name] == value for name, value in said.items() if name in mine)

    def by_voltage(self, network: es.Network) -> Clock:
        """Return the scheme with V first that has the same spikes in every run of a network, or this scheme itself.

        A current that decays and receives spikes a step late before it moves V equals the current that, a step later,
        moves V before it decays and receives spikes on time. Only an initial current differs: it decays once more.
        """
        neurons = [p for p in network.populations.values() if p.neuron is not None]
        jumps = any(p.synapse == "delta" for p in network.projections.values())
        if jumps or any(p.parameter("i_initial").any() for p in neurons):
            return self
        if self.order != "current_first" or not self.transport or self.input_transport is not None:
            return self
        return replace(self, order="voltage_first", transport=self.transport - 1)

    def target(self, time_step: float, number: str = "float64", **settings: str) -> TimeStepped:
        """Return the time-stepped target that follows this scheme."""
        return TimeStepped(
            time_step,
            propagators=self.propagators,
            order=self.order,  # type: ignore[arg-type]
            transport=self.transport,
            feedback=self.feedback,
            points=self.points,
            input_rounding=self.input_rounding,
            inclusive=self.inclusive,
            input_transport=self.input_transport,
            stamp=self.stamp,
            late_reset=self.late_reset,
            hold=self.hold,
            number=number,
            traces=False,
            **settings,  # type: ignore[arg-type]
        )

    def run(
        self, evidence: Evidence, problem: es.Problem, flaws: Flaws, number: str, **settings: str
    ) -> Record:
        """Run a problem; raises a ValueError if it cannot be run."""
        forward = evidence.run_forward(self.target(evidence.time_step, number), problem, flaws.forward)
        return self.target(evidence.time_step, number, **settings).run_back(forward, flaws)

    def spikes(
        self, evidence: Evidence, problem: es.Problem, flaws: Flaws, number: str
    ) -> Mapping[str, Integers]:
        """Return the spikes of a problem alone, as :class:`Answer` has them; raises a ValueError as :meth:`run`."""
        return self.target(evidence.time_step, number).run_spikes(problem, flaws.forward)

    def ways_back(self, numbers: Sequence[str] = ("float64", "float32")) -> Iterator[Twin]:
        """Yield every usual way to compute its gradients, in some number formats."""
        for adjoint in ("transpose", "recursion") if self.order == "current_first" else ("transpose",):
            for slope in ("grid", "threshold"):
                for number in numbers:
                    yield Twin(self, adjoint, slope, number)

    def other_ways_back(self, numbers: Sequence[str] = ("float64", "float32")) -> Iterator[Twin]:
        """Yield ways to compute gradients that take another current for the slopes at spikes."""
        currents = ("end",) if self.order == "current_first" else ("moved_by", "end")
        for current, slope, number in itertools.product(currents, ("grid", "threshold"), numbers):
            yield Twin(self, "transpose", slope, number, current)

    def variations(self, evidence: Evidence) -> Iterator[Clock]:
        """Yield schemes that differ in one of the things in which implementations differ less often."""
        network = evidence.problem.network
        neurons = [p for p in network.populations.values() if p.neuron is not None]
        spiking = [p for p in neurons if p.spiking]
        inner = [p for key, p in network.projections.items() if key[0] not in evidence.problem.inputs]
        for propagators in get_args(Propagators):
            yield replace(self, propagators=propagators)
        for rounding in get_args(InputRounding):
            yield replace(self, input_rounding=rounding)
        for points in get_args(Points):
            yield replace(self, points=points)
        yield replace(self, inclusive=not self.inclusive)
        if self.order == "current_first" and self.transport == 1:
            yield replace(self, input_transport=0, points="0..n")
        if self.order == "current_first" and self.transport == 0 and not any(p.delay.any() for p in inner):
            yield replace(self, stamp=1, points="0..n-1")
        held = [bool(p.parameter("t_ref").any()) for p in spiking]
        if not any(held):
            yield replace(self, late_reset=True)
        if sum(held) > 1:  # of a single population it is as likely an oversight
            yield replace(self, hold=-1)


@dataclass(frozen=True)
class Continuous:
    """The exact solver; with flaws, its adjoint event by event."""

    inclusive: ClassVar[bool] = False

    def is_as(self, said: Mapping[str, Any]) -> bool:
        """Return True: what a record says of a scheme on a clock does not concern continuous time."""
        return True

    def __str__(self) -> str:
        return "continuous time"

    def run(
        self, evidence: Evidence, problem: es.Problem, flaws: Flaws, number: str, **settings: str
    ) -> Record:
        """Run a problem; raises a ValueError if it cannot be run, or not with these flaws."""
        if problem is not evidence.problem:
            problem = replace(problem, max_spikes=min(problem.max_spikes, 100 + 10 * evidence.n_spikes))
        if flaws == NONE:
            return oracle(problem)
        rules, reading = rules_of(flaws), flaws.reading
        solution, loss = problem.solution, problem.loss
        if loss is None or rules is None:
            raise ValueError("the exact solver has no such flaws")
        if plain_adjoint.work(solution) > MOST_WORK:
            raise ValueError("the adjoint event by event would take too long")
        evaluation: Evaluation = loss.evaluate(solution)
        if reading is not None:
            evaluation = reading(evaluation, cast(Any, solution))  # which is read as one on a grid is
        found = plain_adjoint.gradients(solution, evaluation, rules)
        if found is None:
            raise ValueError("the adjoint event by event cannot run this problem")
        projections = problem.network.projections
        gradients = {
            quantity: {
                place: values if isinstance(place, str) else projections[place].shaped(values)
                for place, values in places.items()
            }
            for quantity, places in found.items()
        }
        values = np.asarray(evaluation.values, dtype=np.float64)
        return Record.of(
            problem, "exact, flawed", spikes=solution.spikes, loss_values=values, gradients=gradients
        )

    def spikes(
        self, evidence: Evidence, problem: es.Problem, flaws: Flaws, number: str
    ) -> Mapping[str, Integers]:
        """Return the spikes of a problem alone, as :class:`Answer` has them; raises a ValueError as :meth:`run`."""
        found = self.run(evidence, replace(problem, loss=None), flaws, number)
        return {name: rows_of(found.spikes[name], evidence.time_step) for name in evidence.spikes}

    def ways_back(self, numbers: Sequence[str] = ("float64",)) -> Iterator[Twin]:
        """Yield the one way in which its gradients are computed."""
        yield Twin(self)


Scheme: TypeAlias = Clock | Continuous


def together(schemes: Sequence[Scheme | Twin]) -> str:
    """Describe schemes that a record does not tell apart: each if they are few, else the first and their number."""
    every = list(dict.fromkeys(map(str, schemes)))
    if len(every) <= FEW:
        return "; or: ".join(every)
    return f"one of {len(every)} schemes that have the same, such as: {every[0]}"


def distinct(schemes: Sequence[Scheme], network: es.Network) -> list[Scheme]:
    """Return one scheme of each group that has the same spikes in every run of a network."""
    found: dict[Scheme, Scheme] = {}
    for scheme in schemes:
        found.setdefault(scheme.by_voltage(network) if isinstance(scheme, Clock) else scheme, scheme)
    return list(found.values())


ALWAYS = "spikes are always the same with current before voltage and transport of a step more"
"""What is said if :func:`distinct` leaves some out."""
FEW = 2
"""Most schemes that are described one by one."""
MOST_WORK = 200_000
"""Most steps of plain Python, of some microseconds each, for one adjoint event by event."""


def rules_of(flaws: Flaws) -> plain_adjoint.Rules | None:
    """Return the rules with which the adjoint event by event has these flaws; None if it has no rule for one."""
    known = plain_adjoint.Rules._fields
    if replace(flaws, reading=None, **{name: getattr(NONE, name) for name in known}) != NONE:
        return None
    return plain_adjoint.Rules(**{name: getattr(flaws, name) for name in known})


USUAL_PROPAGATORS: tuple[Propagators, ...] = ("exact", "exponential", "euler")
USUAL_ROUNDINGS: tuple[InputRounding, ...] = ("nearest", "up", "down")


def _has_ties(evidence: Evidence) -> bool:
    """Say whether an input lies halfway between two points, as one in ten does at microseconds and steps of 10 us."""
    h = evidence.time_step
    every = [trains.times for trains in evidence.problem.inputs.values()]
    return any((in_steps(times, h) != in_steps(times, h, "half_up")).any() for times in every)


def schemes(evidence: Evidence) -> Iterator[Scheme]:
    """Yield the usual schemes; :meth:`Clock.variations` has others."""
    if not evidence.clocked:
        yield Continuous()
        return
    orders: list[tuple[str, int, int, Points]] = [
        ("voltage_first", 0, 0, "1..n"),
        ("current_first", 1, 0, "1..n"),
        ("voltage_first", 1, 0, "1..n"),
        ("current_first", 0, 0, "0..n"),
    ]
    if not nx.is_directed_acyclic_graph(evidence.problem.network.graph):
        orders += [("current_first", 0, 1, "0..n"), ("voltage_first", 0, 1, "1..n")]
    for rounding in (*USUAL_ROUNDINGS, *(("half_up",) if _has_ties(evidence) else ())):
        for order, transport, feedback, points in orders:
            for propagators in USUAL_PROPAGATORS:
                yield Clock(propagators, order, transport, feedback, points, rounding)


@dataclass(frozen=True)
class Twin:
    """A way to compute: a scheme, its way back, and its number format.

    Attributes
    ----------
    scheme : Clock or Continuous
    adjoint, slope, number, slope_current
        As of :class:`validation.grid.TimeStepped`.
    """

    scheme: Scheme
    adjoint: str = "transpose"
    slope: str = "grid"
    number: str = "float64"
    slope_current: str = "seen"

    def __str__(self) -> str:
        if isinstance(self.scheme, Continuous):
            return str(self.scheme)
        back = ", adjoint by a recursion of its own" if self.adjoint == "recursion" else ""
        slope = ", slope at the threshold" if self.slope == "threshold" else ""
        current = {
            "seen": "",
            "moved_by": ", slope with the current that moved V",
            "end": ", slope with the current at the end of the step",
        }[self.slope_current]
        return f"{self.scheme}{back}{slope}{current}, {self.number}"

    def settings(self, time_step: float) -> tuple[str, ...]:
        """Return the options that make :class:`validation.grid.TimeStepped` this twin, as text."""
        if isinstance(self.scheme, Continuous):
            return ()
        target = self.scheme.target(time_step, self.number, **self._back)
        default = {f.name: f.default for f in fields(target)}
        found = {name: getattr(target, name) for name in default if name not in ("time_step", "traces")}
        others = (f"{name}={value}" for name, value in found.items() if value != default[name])
        return (f"time_step={time_step!r}", *others)

    @property
    def _back(self) -> dict[str, str]:
        return {"adjoint": self.adjoint, "slope": self.slope, "slope_current": self.slope_current}

    def answer(
        self,
        evidence: Evidence,
        problem: es.Problem,
        flaws: Flaws = NONE,
        *,
        refused: list[str] | None = None,
    ) -> Answer | None:
        """Return the twin's answer to a problem; None if it cannot run it, or has far more spikes than were recorded.

        The reason is added to ``refused``.
        """
        try:
            with _any_unit():
                found = self.scheme.run(evidence, problem, flaws, self.number, **self._back)
        except (ValueError, StoppedError) as error:
            if refused is not None:
                refused.append(str(error))
            return None
        return answer_of(found, evidence)


@contextmanager
def _any_unit() -> Iterator[None]:
    """Do not warn: what looks like a wrong unit is tried because it may be one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitWarning)
        yield


def spikes_off(
    evidence: Evidence, scheme: Scheme, problem: es.Problem, flaws: Flaws = NONE, number: str = "float64"
) -> int | None:
    """Return how many spikes of a scheme differ from the record; None if it cannot run the problem."""
    try:
        with _any_unit():
            spikes = scheme.spikes(evidence, problem, flaws, number)
    except (ValueError, StoppedError):
        return None
    return mismatch(evidence, spikes)
