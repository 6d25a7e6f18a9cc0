"""The approximations of a time-stepped network, one by one: all on, it is itself; all off, it is on a fine grid.

On no grid is it exact: "none" of an attribution is what a step of a :data:`FINER` th still does. A cause acts over the
steps that there are: without ``time_step`` Euler's factors are those of the fine step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.network import Network
from validation.fixedpoint import FixedFormat
from validation.grid.number import FLOATS
from validation.target import Resolution

if TYPE_CHECKING:
    from validation.grid.time_stepped import TimeStepped

FINER = 16
"""By how much the step is finer without ``time_step``; 16, so that :data:`_BITS` are whole numbers."""
_BITS = {"down": 4, "to_zero": 4, "half_up": 2, "nearest_even": 2, "stochastic": 2}
"""More bits on the finer grid, by rounding: 16 times as many roundings add up to as much as before if each is 16 times
finer where they are to one side, and 4 times where they are to either (their variances add)."""
_WIDEST = 52


def causes(target: TimeStepped) -> dict[str, str]:
    """Return what each approximation that a target makes does, by the option that makes it."""
    said = {
        "time_step": "spikes, arrivals, delays and what the loss reads are on a grid",
        "propagators": f"states move by {target.propagators} factors of a step",
        "input_rounding": f"inputs are moved {target.input_rounding} to the grid, not to the nearest point",
        "transport": f"a spike arrives {_late(target)} after it was sent, beyond its delay",
        "order": "the voltage moves with the current at the end of a step, after arrivals, with any transport",
        "points": f"states move at points {target.points}, not 1..n",
        "stamp": f"spikes are told {target.stamp} steps after the point at which they were seen",
        "late_reset": "a reset comes a step late",
        "hold": f"V is held {target.hold:+d} steps longer than the refractory period",
        "slope_current": f"slopes at a spike are those of the I {target.slope_current}, not of that which was seen",
        "slope": "slopes at a spike are those of V at threshold, not of the V that was seen",
        "adjoint": "adjoints move by a recursion of their own, not by the transpose; with order only",
        "inclusive": "V equal to the threshold is a spike",
        "number": f"states, weights and adjoints are {target.number}",
        "rounding": f"fixed-point results are rounded {target.rounding}, not to the nearest even",
        "overflow": f"numbers end at the range of {target.number}",
    }
    return {name: text for name, text in said.items() if _makes(target, name)}


def _makes(target: TimeStepped, cause: str) -> bool:
    fixed = target.number not in FLOATS
    return {
        "time_step": True,
        "propagators": target.propagators != "exact",
        "input_rounding": target.input_rounding != "nearest",
        "transport": target.transport > 0 or target.feedback > 0 or bool(target.input_transport),
        "order": target.order != "voltage_first",
        "points": target.points != "1..n",
        "stamp": target.stamp > 0,
        "late_reset": target.late_reset,
        "hold": target.hold != 0,
        "slope_current": target.slope_current != "seen",
        "slope": target.slope != "grid",
        "adjoint": target.adjoint != "transpose",
        "inclusive": target.inclusive,
        "number": target.number != "float64",
        "rounding": fixed and target.rounding != "nearest_even",
        "overflow": fixed and FixedFormat.parse(target.number).value_bits < _WIDEST,
    }[cause]


def _late(target: TimeStepped) -> str:
    """Return after how many steps spikes arrive, in words."""
    steps = f"{target.transport} step{'' if target.transport == 1 else 's'}"
    if target.input_transport is not None:
        steps += f", an input's {target.input_transport},"
    return f"{steps}, {target.feedback} more in cycles," if target.feedback else steps


@dataclass(frozen=True)
class Loaded:
    """A time-stepped network whose weights are loaded in a coarser format than it computes in."""

    target: TimeStepped
    weights: FixedFormat

    @property
    def name(self) -> str:
        """Of the target, and the format of its weights."""
        return f"{self.target.name}, weights in {self.weights}"

    def resolution(self, network: Network) -> Resolution:
        """Return how finely the network is resolved."""
        return self.target.resolution(network)

    def run(self, problem: es.Problem) -> Record:
        """Run the network with its weights to the nearest of their format, ties to the even one."""
        loaded = {
            key: p.shaped(np.rint(p.weights / self.weights.resolution) * self.weights.resolution)
            for key, p in problem.network.projections.items()
        }
        return self.target.run(dataclasses.replace(problem, network=problem.network.with_weights(loaded)))


def with_causes(target: TimeStepped, on: Iterable[str]) -> TimeStepped | Loaded:
    """Return a target with some of its approximations.

    Raises
    ------
    ValueError
        If it has no such cause.
    """
    known, chosen = causes(target), set(on)
    unknown = sorted(chosen - set(known))
    if unknown:
        raise ValueError(f"causes of {target.name!r} are {', '.join(known)}; got {unknown}")
    if chosen == set(known):
        return target
    parts = FINER if "time_step" not in chosen else 1
    late = "transport" in chosen
    ordered = "order" in chosen and (late or "transport" not in known)
    made = replace(
        target,
        time_step=target.time_step / parts,
        propagators=target.propagators if "propagators" in chosen else "exact",
        input_rounding=target.input_rounding if "input_rounding" in chosen else "nearest",
        transport=target.transport * parts if late else 0,
        input_transport=target.input_transport * parts
        if late and target.input_transport is not None
        else None,
        feedback=target.feedback * parts if late else 0,
        order=target.order if ordered else "voltage_first",
        points=target.points if "points" in chosen else "1..n",
        stamp=target.stamp if "stamp" in chosen else 0,
        late_reset=target.late_reset and "late_reset" in chosen,
        hold=target.hold if "hold" in chosen else 0,
        slope_current=target.slope_current if "slope_current" in chosen else "seen",
        slope=target.slope if "slope" in chosen else "grid",
        adjoint=target.adjoint if "adjoint" in chosen and ordered else "transpose",
        inclusive=target.inclusive and "inclusive" in chosen,
        number=_number(target, chosen, parts),
        rounding=target.rounding if "rounding" in chosen else "nearest_even",
        traces=False,
    )
    if parts > 1 and "number" in chosen and target.number not in FLOATS:
        return Loaded(made, FixedFormat.parse(target.number))
    return made


def _number(target: TimeStepped, chosen: set[str], parts: int) -> str:
    """Return the number format that is left; on a finer grid it is finer, too, so that rounding does as much."""
    if "number" not in chosen:
        return "float64"
    if target.number in FLOATS:
        return target.number
    given = FixedFormat.parse(target.number)
    more = 0 if parts == 1 else _BITS[target.rounding if "rounding" in chosen else "nearest_even"]
    fraction = min(given.fraction_bits + more, _WIDEST - given.integer_bits)
    integer = given.integer_bits if "overflow" in chosen else _WIDEST - fraction
    return FixedFormat(integer, fraction, given.signed).name
