"""GeNN's clock: milliseconds and steps, in the numbers that GeNN computes them in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
"""float32, or float64 where a run is not in single precision."""

MAX_STEPS = 2**20
"""Of a trial. Float32 has 24 bits: beyond 2**24 steps its clock would stand still, and long before meet no spike."""


def milliseconds(seconds: float) -> float:
    """Return a time in ms: of 3.3e-3 s the number 3.3 that was meant, and not a neighbour that a product gives."""
    return float(f"{float(seconds) * 1e3:.15g}")


@dataclass(frozen=True)
class Clock:
    """Steps of a trial.

    Attributes
    ----------
    time_step : float
        ms.
    n_steps : int
    kind : type
        numpy.float32 or numpy.float64.
    """

    time_step: float
    n_steps: int
    kind: Any

    @property
    def trial(self) -> float:
        """Its length, ms."""
        return self.time_step * self.n_steps

    @cached_property
    def times(self) -> Floats:
        """The time t_n at which each step begins, (n_steps,)."""
        times: Floats = np.arange(self.n_steps).astype(self.kind) * self.kind(self.time_step)
        return times

    @cached_property
    def met_by_pointer(self) -> NDArray[np.bool_]:
        """Whether the read pointer finds a spike of each step, (n_steps,), in the step in which it has to.

        It looks in the backward step before the spike's own, and there is none before the first: a spike of the last
        step is never found.
        """
        met = np.zeros(self.n_steps, dtype=bool)
        looks = self._back(self.times[self.n_steps - 2 :: -1]) if self.n_steps > 1 else self.times[:0]
        step, close = self.kind(self.time_step), self.kind(1e-3) * self.kind(self.time_step)
        met[: looks.size] = np.abs(looks - self.times[: looks.size] - step) < close
        return met

    @cached_property
    def met_by_step(self) -> NDArray[np.bool_]:
        """Whether a backward step knows the time of its forward step, (n_steps,), of a maximum or a first spike."""
        close = self.kind(1e-3) * self.kind(self.time_step)
        met: NDArray[np.bool_] = np.abs(self._back(self.times[::-1]) - self.times) < close
        return met

    def _back(self, times: Floats) -> Floats:
        """Return the time of the forward step that is treated at a time."""
        back: Floats = self.kind(self.trial) - times - self.kind(self.time_step)
        return back
