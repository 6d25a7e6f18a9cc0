"""Schemes that clocked implementations follow: which of them computes what a record says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import get_args

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.units import UnitWarning
from validation.diagnosis.evidence import Answer, Evidence, answer_of, mismatch
from validation.grid import TimeStepped
from validation.grid.flaws import NONE, Flaws
from validation.grid.scheme import Propagators
from validation.grid.steps import InputRounding


@dataclass(frozen=True)
class Scheme:
    """What decides where spikes are on a clock.

    Attributes
    ----------
    propagators, order, transport, input_rounding, inclusive
        As of :class:`validation.grid.TimeStepped`.
    """

    propagators: Propagators = "exact"
    order: str = "voltage_first"
    transport: int = 0
    input_rounding: InputRounding = "nearest"
    inclusive: bool = False

    def __str__(self) -> str:
        how = {
            "exact": "exact propagators",
            "exponential": "exponential decays",
            "euler": "forward Euler",
        }[self.propagators]
        inputs = {"nearest": "the nearest step", "up": "the next step", "down": "the step before"}
        first = ", current before voltage" if self.order == "current_first" else ""
        late = f", spikes act {self.transport} step later" if self.transport else ""
        equal = ", V at the threshold spikes" if self.inclusive else ""
        return f"{how}{first}{late}, inputs to {inputs[self.input_rounding]}{equal}"

    def target(self, time_step: float, number: str = "float64", **settings: str) -> TimeStepped:
        """Return the time-stepped network that follows it."""
        return TimeStepped(
            time_step,
            propagators=self.propagators,
            order=self.order,  # type: ignore[arg-type]
            transport=self.transport,
            input_rounding=self.input_rounding,
            inclusive=self.inclusive,
            number=number,
            traces=False,
            **settings,  # type: ignore[arg-type]
        )


def schemes() -> Iterator[Scheme]:
    """Yield all schemes, usual ones first."""
    for rounding in ("nearest", "up", "down"):
        assert rounding in get_args(InputRounding)
        for order, transport in (("voltage_first", 0), ("current_first", 1), ("voltage_first", 1)):
            for propagators in get_args(Propagators):
                yield Scheme(propagators, order, transport, rounding)


@dataclass(frozen=True)
class Twin:
    """A way in which a clocked implementation may compute: a scheme, its way back, and its number format.

    Attributes
    ----------
    scheme : Scheme
    adjoint, slope, number
        As of :class:`validation.grid.TimeStepped`.
    """

    scheme: Scheme
    adjoint: str = "transpose"
    slope: str = "grid"
    number: str = "float64"

    def __str__(self) -> str:
        back = ", adjoint by a recursion of its own" if self.adjoint == "recursion" else ""
        slope = ", slope at the threshold" if self.slope == "threshold" else ""
        return f"{self.scheme}{back}{slope}, {self.number}"

    def settings(self, time_step: float) -> tuple[str, ...]:
        """Return the options of :class:`validation.grid.TimeStepped` with which it is this twin, as text."""
        target = self.scheme.target(time_step, self.number, adjoint=self.adjoint, slope=self.slope)
        default = {f.name: f.default for f in fields(target)}
        found = {name: getattr(target, name) for name in default if name not in ("time_step", "traces")}
        others = (f"{name}={value}" for name, value in found.items() if value != default[name])
        return (f"time_step={time_step!r}", *others)

    def answer(self, evidence: Evidence, problem: es.Problem, flaws: Flaws = NONE) -> Answer:
        """Return what it says of a problem.

        Raises
        ------
        ValueError
            If it cannot run the problem.
        """
        target = self.scheme.target(evidence.time_step, self.number, adjoint=self.adjoint, slope=self.slope)
        return answer_of(run_unwarned(target, problem, flaws), evidence)


def ways_back(scheme: Scheme) -> Iterator[Twin]:
    """Yield every way in which a scheme's gradients may be computed."""
    for adjoint in ("transpose", "recursion") if scheme.order == "current_first" else ("transpose",):
        for slope in ("grid", "threshold"):
            for number in ("float64", "float32"):
                yield Twin(scheme, adjoint, slope, number)


def run_unwarned(target: TimeStepped, problem: es.Problem, flaws: Flaws) -> Record:
    """Return what a twin computes; what looks like a slip of unit is tried because it may be one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitWarning)
        return target.run_flawed(problem, flaws)


def spikes_off(
    evidence: Evidence, scheme: Scheme, problem: es.Problem, flaws: Flaws = NONE, number: str = "float64"
) -> int | None:
    """Return how many spikes a scheme gets otherwise, None if it cannot run the problem."""
    try:
        target = scheme.target(evidence.time_step, number)
        answer = answer_of(run_unwarned(target, replace(problem, loss=None), flaws), evidence)
    except ValueError:
        return None
    return mismatch(evidence.spikes, answer.spikes)
