"""What sets GeNN's EventProp apart from the exact one, piece by piece: each can be left out, to see what it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

MEANINGS = {
    "grid": "spikes happen at steps, and losses are read there",
    "late_inputs": "an input spike arrives 1 to 2 steps late",
    "gain": "V moves by (1 - alpha) times the mean current of a step, not by the exact integral",
    "late_current": "a jump divides by I at the start of the step less V at its end",
    "late_jump": "backwards, a spike's jump comes after the decay of its step",
    "shifted_weight": "the exponential readout weighs a voltage with the times of two different steps",
    "single_precision": "everything is float32",
    "early_zero": "currents end a step early, and what the last spikes add is found by the next trial",
    "last_spike": "a spike in the last step keeps its neuron from learning of any",
    "matching": "float32 clocks that do not agree on a spike's time keep its neuron from learning of it",
    "ring_buffer": "spikes beyond the ring buffer are not learned of",
    "kinks": "a largest voltage at a kink is treated as if it were smooth",
    "silence": "silent outputs get a phantom spike, or count as a spike at t = 0",
    "temperature": "the temperature divides the slope of the softmax, and not its times",
    "zero_reset": "jumps know no reset but to 0",
}
"""What each cause does, in a sentence; :class:`Causes` says what is left without it."""


@dataclass(frozen=True)
class Causes:
    """Which approximations and faults are in place.

    The first group belongs to the scheme and its time step, the second (:data:`FAULTS`) is not needed for it.

    Attributes
    ----------
    grid : bool
        Spikes happen at steps, losses are read at steps. Off: the network is solved exactly, and of what follows only
        ``late_inputs`` and ``temperature`` have a meaning.
    late_inputs : bool
        An input spike is sent at the first step that is not before it, and arrives a step later: 1 to 2 steps late.
        Off: it arrives at the nearest step; without the grid, in time.
    gain : bool
        V moves by (1 - alpha) times the mean current of the step. Off: by the exact integral.
    late_current : bool
        A jump divides by I at the start of the step less V at its end. Off: both at its end.
    late_jump : bool
        Backwards, the jump of a spike comes after the decay of its step. Off: before it, when its arrivals are read.
    shifted_weight : bool
        The exponential readout weighs V(n + 1) with the time of step n forwards, and of step n + 1 backwards. Off: with
        that of step n + 1 both ways.
    single_precision : bool
        Everything is float32. Off: float64.
    early_zero : bool
        Currents are set to 0 before the last step, and what spikes of the last two steps add afterwards is found by the
        next trial. Off: currents last to the end, and nothing is left behind.
    last_spike : bool
        A spike in the last step is never met backwards, so that its neuron's earlier ones are not, either. Off: it is.
    matching : bool
        Backwards, a spike is met only if float32 clocks agree on its time within a thousandth of a step. Off: always.
    ring_buffer : bool
        ``max_spikes`` - 1 spikes of a neuron are remembered, in two trials together. Off: all.
    kinks : bool
        A largest voltage at a kink is treated as if it were smooth. Off: it moves along with the arrival that makes it.
    silence : bool
        What GeNN does of silent outputs: a phantom spike for a silent label, a spike at t = 0 in the relative error.
        Off: what the loss says (``silent``).
    temperature : bool
        The softmax of first spike times divides its slope by its temperature, and not its times. Off: both.
    zero_reset : bool
        Jumps know no reset but to 0. Off: they know the neuron's own.
    """

    grid: bool = True
    late_inputs: bool = True
    gain: bool = True
    late_current: bool = True
    late_jump: bool = True
    shifted_weight: bool = True
    single_precision: bool = True
    early_zero: bool = True
    last_spike: bool = True
    matching: bool = True
    ring_buffer: bool = True
    kinks: bool = True
    silence: bool = True
    temperature: bool = True
    zero_reset: bool = True

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all causes."""
        return tuple(f.name for f in fields(cls))

    @property
    def on(self) -> tuple[str, ...]:
        """The names of those in place."""
        return tuple(name for name in self.names() if getattr(self, name))

    def without(self, names: Iterable[str]) -> Causes:
        """Return the same without some.

        Raises
        ------
        ValueError
            If a name is not one of a cause.
        """
        left_out = list(names)
        for name in left_out:
            if name not in self.names():
                raise ValueError(f"causes are {', '.join(self.names())}; got {name!r}")
        return replace(self, **dict.fromkeys(left_out, False))


FAULTS = (
    "early_zero",
    "last_spike",
    "matching",
    "ring_buffer",
    "kinks",
    "silence",
    "temperature",
    "zero_reset",
)
"""What ``GeNN(time_step, faithful=False)`` mends."""
