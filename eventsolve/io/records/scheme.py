"""How an implementation computes, as far as it says so: what a record is held against depends on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from eventsolve.checks import shown
from eventsolve.io.records.fields import RecordError

Propagators = Literal["exact", "exponential", "euler", "scaled", "implicit", "rk2", "rk4"]
InputRounding = Literal["none", "nearest", "up", "down", "half_up", "next", "truncated"]
Order = Literal["voltage_first", "current_first"]
Slope = Literal["grid", "threshold"]
Traced = Literal["seen", "left"]

CHOICES: dict[str, tuple[str, ...]] = {
    "propagators": get_args(Propagators),
    "order": get_args(Order),
    "input_rounding": get_args(InputRounding),
    "slope": get_args(Slope),
    "traced_voltage": get_args(Traced),
    "traced_current": get_args(Traced),
}
TRUTHS = ("inclusive", "reset_between_samples", "one_spike")


@dataclass(frozen=True)
class Scheme:
    """What an implementation on a clock says of how it computes; None where it says nothing.

    Attributes
    ----------
    propagators : {"exact", "exponential", "euler", "scaled", "implicit", "rk2", "rk4"} or None
        How states move over a step: exactly; with exponential decays, V driven by (1 - exp(-h/tau_mem)) I; by forward
        Euler; with exponential decays, V driven by h/tau_mem I; by backward Euler; by a Runge-Kutta method.
    order : {"voltage_first", "current_first"} or None
        Whether over a step V moves with the current at its beginning, or with that at its end, after arrivals.
    input_rounding : {"none", "nearest", "up", "down", "half_up", "next", "truncated"} or None
        To which point of the grid an input spike is moved: "nearest" with ties to the even one, "half_up" with ties
        up; "next" is later even than a time on a point; "truncated" is the quotient in float64 as it is.
    transport : int or None
        After how many steps a spike arrives, beyond its delay: 0 acts in its own step, 1 in the next one.
    inclusive : bool or None
        Whether V equal to the threshold is a spike, or only V above it.
    slope : {"grid", "threshold"} or None
        Whether V' at a spike, by which the way back divides, is that of the V that was seen, or of V at threshold.
    number : str or None
        Format of numbers, such as "float32" or "s16.15".
    reset_between_samples : bool or None
        Whether states begin anew in each sample, or go on from the one before.
    one_spike : bool or None
        Whether a neuron spikes at most once in a sample.
    traced_voltage, traced_current : {"seen", "left"} or None
        Whether traces hold V and I as they were seen when spikes were looked for, or as a step left them: V after the
        reset, I after what arrived.

    Raises
    ------
    RecordError
        If a value is none of these.
    """

    propagators: Propagators | None = None
    order: Order | None = None
    input_rounding: InputRounding | None = None
    transport: int | None = None
    inclusive: bool | None = None
    slope: Slope | None = None
    number: str | None = None
    reset_between_samples: bool | None = None
    one_spike: bool | None = None
    traced_voltage: Traced | None = None
    traced_current: Traced | None = None

    def __post_init__(self) -> None:
        said: dict[str, Any] = self.said
        for name, choices in CHOICES.items():
            if name in said and not (isinstance(said[name], str) and said[name] in choices):
                raise RecordError(
                    f"{name} of the scheme must be one of {', '.join(choices)}; got {shown(said[name])}"
                )
        for name in TRUTHS:
            if name in said and not isinstance(said[name], bool):
                raise RecordError(f"{name} of the scheme must be true or false; got {shown(said[name])}")
        steps = said.get("transport", 0)
        if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps < 2**31:
            raise RecordError(f"transport of the scheme must be an integer >= 0; got {shown(steps)}")
        if "number" in said and not (isinstance(self.number, str) and self.number):
            raise RecordError(f"number of the scheme must be the name of a format; got {shown(self.number)}")

    @property
    def said(self) -> dict[str, Any]:
        """What is known, by name."""
        known = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in known.items() if value is not None}


UNSAID = Scheme()
"""Of an implementation that says nothing of how it computes."""
