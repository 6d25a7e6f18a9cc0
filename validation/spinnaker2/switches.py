"""The approximations of the chip, one by one: all on, a network is the chip's; all off, it is the exact one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from validation.fixedpoint import FixedFormat
from validation.spinnaker2.arithmetic import FLOAT64, Arithmetic, Number


@dataclass(frozen=True)
class Switches:
    """Which approximations are on.

    A network with some of them is computed from event to event: from grid point to grid point, with arrivals and spikes
    between them where these are not on the grid. What a switch does where others are off is stated with it.

    Attributes
    ----------
    input_grid : bool
        Input spikes are moved to the nearest step. Off: they arrive when they are given.
    spike_grid : bool
        Voltages are compared with the threshold at grid points, of which the last is one before the end. Off: a spike
        happens where the voltage, between two events, first reaches the threshold, up to the end.
    step_delay : bool
        A spike arrives one time step after it was sent. Off: at once.
    euler_decay : bool
        Between events h apart, factors are 1 - h/tau, if they are so on the core. Off: exp(-h/tau).
    one_step_integral : bool
        Between two events the voltage is driven by the current at the end, what arrives there included, and the
        adjoint current by the adjoint voltage at the end: factors 1 - beta and 1 - alpha. Off: by what decays
        meanwhile, with the exact integral.
    overshoot : bool
        The denominator of a jump is I - V. Off: I - v_threshold. Without ``spike_grid`` both are the same.
    guard : bool
        Denominators are guarded against 0. Off: one that is 0 is refused.
    late_jump : bool
        Backwards, jumps and gradients are taken at the far end of the interval in which spikes and arrivals lie. Off:
        when they happen.
    weight_format, state_format, decay_format, adjoint_format : bool
        The number formats of the core. Off: float64.
    rounding : bool
        The core's rounding of fixed-point results. Off: to the nearest, ties to even.
    saturation : bool
        The core's ranges of fixed-point weights, states and adjoints. Off: the same resolution without end, as far as
        62 bits and a sign go.
    loss_in_steps : bool
        The loss program: first spikes in whole steps, in its number format, none of the last step answered. Off: the
        loss of the first spikes in seconds.
    optimizer_format : bool
        Gradients are accumulated in the core's gradient format. Off: in float64.
    """

    input_grid: bool = True
    spike_grid: bool = True
    step_delay: bool = True
    euler_decay: bool = True
    one_step_integral: bool = True
    overshoot: bool = True
    guard: bool = True
    late_jump: bool = True
    weight_format: bool = True
    state_format: bool = True
    decay_format: bool = True
    adjoint_format: bool = True
    rounding: bool = True
    saturation: bool = True
    loss_in_steps: bool = True
    optimizer_format: bool = True

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all switches."""
        return tuple(f.name for f in fields(cls))

    @classmethod
    def only(cls, names: Iterable[str]) -> Switches:
        """Return some switches on and all others off.

        Raises
        ------
        ValueError
            If a name is not a switch.
        """
        chosen = set(names)
        unknown = sorted(chosen - set(cls.names()))
        if unknown:
            raise ValueError(f"switches are {', '.join(cls.names())}; got {unknown}")
        return cls(**{name: name in chosen for name in cls.names()})

    @property
    def on(self) -> tuple[str, ...]:
        """The names of those that are on."""
        return tuple(name for name in self.names() if getattr(self, name))


SAID = {
    "input_grid": "input spikes are moved to the nearest step",
    "spike_grid": "voltages are compared with the threshold at grid points",
    "step_delay": "a spike arrives one time step after it was sent",
    "euler_decay": "decay factors are 1 - h/tau, if they are so on the core",
    "one_step_integral": "voltages are driven by the current at the end of a step, and adjoints alike",
    "overshoot": "the denominator of a jump is I - V, not I - v_threshold",
    "guard": "denominators are guarded against 0",
    "late_jump": "backwards, jumps and gradients are taken at the far end of the step",
    "weight_format": "weights are in the core's format",
    "state_format": "voltages and currents are in the core's format",
    "decay_format": "decay factors are in the core's format",
    "adjoint_format": "adjoints are in the core's format",
    "rounding": "fixed-point results are rounded as on the core, not to the nearest even",
    "saturation": "fixed-point numbers end at the core's ranges",
    "loss_in_steps": "the loss reads first spikes in whole steps, in its number format",
    "optimizer_format": "gradients are accumulated in the core's gradient format",
}
"""What each switch does, in a few words; :class:`Switches` says it all."""


def switched_arithmetic(arithmetic: Arithmetic, switches: Switches) -> Arithmetic:
    """Return the number formats that are left."""

    def held(number: Number, on: bool) -> Number:
        if not on:
            return FLOAT64
        if switches.saturation or not isinstance(number, FixedFormat) or number.value_bits >= 62:
            return number
        return FixedFormat(62 - number.fraction_bits, number.fraction_bits, number.signed)

    return replace(
        arithmetic,
        weight=held(arithmetic.weight, switches.weight_format),
        state=held(arithmetic.state, switches.state_format),
        decay=arithmetic.decay if switches.decay_format else FLOAT64,
        adjoint=held(arithmetic.adjoint, switches.adjoint_format),
        gradient=arithmetic.gradient if switches.optimizer_format else FLOAT64,
        rounding=arithmetic.rounding if switches.rounding else "nearest_even",
    )
