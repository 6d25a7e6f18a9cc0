"""Fine-tuning for Loihi 2: the integers run in the loop, and an exact gradient comes back.

The weights that are trained are real; each run rounds them, and the gradient at the rounded weights is taken for that
at the real ones, as in all quantization-aware training. What the chip does is taken in two ways, by ``gradient``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from validation.grid.steps import InputRounding
from validation.loihi2.quantities import Kernel, Scale
from validation.loihi2.target import Loihi2

Gradient = Literal["along_spikes", "straight_through"]


@dataclass(frozen=True)
class Loihi2InLoop:
    """Loihi 2 forward, and a gradient from the exact adjoint.

    Parameters
    ----------
    time_step, weight_bits, scale, percentile, kernel, input_rounding
        As of :class:`validation.loihi2.Loihi2`.
    gradient : {"along_spikes", "straight_through"}
        Whether the gradient is taken along the spikes that the integers made (:func:`eventsolve.observe`, with the
        slopes that V has there), or at the exact solution of the network that the program stands for, whose own spikes
        the chip's grid and states do not move.
    threads : int, optional
        As in :func:`eventsolve.solve`.
    """

    time_step: float
    weight_bits: int | str | tuple[int, ...] = field(default=8, kw_only=True)
    scale: Scale = field(default="power_of_two", kw_only=True)
    percentile: float = field(default=100.0, kw_only=True)
    kernel: Kernel = field(default="exact", kw_only=True)
    input_rounding: InputRounding = field(default="nearest", kw_only=True)
    gradient: Gradient = field(default="along_spikes", kw_only=True)
    threads: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.gradient not in get_args(Gradient):
            raise ValueError(
                f"gradient must be one of {', '.join(get_args(Gradient))}; got {self.gradient!r}"
            )
        object.__setattr__(self, "time_step", self.chip.time_step)
        object.__setattr__(self, "weight_bits", self.chip.weight_bits)

    @property
    def chip(self) -> Loihi2:
        """The target that runs forward."""
        return Loihi2(
            self.time_step,
            weight_bits=self.weight_bits,
            scale=self.scale,
            percentile=self.percentile,
            kernel=self.kernel,
            input_rounding=self.input_rounding,
            threads=self.threads,
        )

    @property
    def name(self) -> str:
        """Of the implementation and its settings."""
        return f"{self.chip.name}, in the loop, gradient {self.gradient.replace('_', ' ')}"

    def run(self, problem: es.Problem) -> Record:
        """Run the integers forward; gradients of weights, of each sample's own loss, from the exact adjoint.

        Raises
        ------
        ValueError
            If Loihi 2 or NetX cannot represent the network.
        """
        record = self.chip.run(problem)
        if problem.loss is None:
            return replace(record, name=self.name)
        left = self.chip.export(problem.network).dequantized()
        inputs = {name: record.spikes[name] for name in problem.inputs}
        if self.gradient == "along_spikes":
            given = {
                name: record.spikes[name]
                for name, population in problem.network.populations.items()
                if population.spiking
            }
            solution: es.Solution = es.observe(
                left, inputs, given, problem.t_end + self.time_step, undefined="zero", threads=self.threads
            )
        else:
            solution = es.solve(left, inputs, problem.t_end, threads=self.threads)
        _, found = es.value_and_grad(solution, problem.loss, wrt=("weight",), reduction="none")
        weight = {key: np.asarray(values) for key, values in found.weight.items()}
        return replace(record, name=self.name, gradients={"weight": weight})
