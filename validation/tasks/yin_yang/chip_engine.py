"""The chip engine: the batched model of the on-chip programs, in any of its number formats.

In float32 it is the published off-chip code, which is the chip's float twin; in s16.15 it is the chip. Both decay
exponentially, as the latest version of that code does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from eventsolve.typing import Integers, Reals
from validation.spinnaker2 import FLOAT32, Adam, FloatFormat, OptimizerProgram, SpiNNaker2Core, batched
from validation.spinnaker2.arithmetic import Number
from validation.spinnaker2.image import LossSettings, Spikes
from validation.tasks.yin_yang.engines import Activity, Outcome, network_of
from validation.tasks.yin_yang.recipe import Parameters, Recipe
from validation.tasks.yin_yang.task import encoded

TIME_STEP = 1e-3
"""Of the published program, seconds."""


@dataclass(frozen=True)
class ChipEngine:
    """Discretised EventProp in steps of 1 ms, every layer one step late.

    Silent outputs count as spikes at the end: ties, and a sample without spikes, go to the lowest class (Béna et al.
    2024). Weights are kept in the core's format, gradients and moments in float32, as by its optimizer program.

    Parameters
    ----------
    recipe : Recipe
        Without trained delays; its transport is not used.
    arithmetic : str
        "s16.15", "float32" or "float64".
    threads : int, optional
        By default one per usable core; changes no bit.

    Raises
    ------
    ValueError
        If the recipe trains delays, has a jitter or a loss that the chip has not, or the arithmetic is unknown.
    """

    recipe: Recipe
    arithmetic: str
    threads: int | None = field(default=None, kw_only=True)
    moment_number: FloatFormat = field(default=FLOAT32, init=False)
    gradient_unit: float = field(default=TIME_STEP, init=False)

    def __post_init__(self) -> None:
        if self.recipe.setup.loss != "ttfs":
            raise ValueError(
                f"recipe {self.recipe.name!r} has the loss {self.recipe.setup.loss!r}; the chip has 'ttfs' alone"
            )
        if self.recipe.delays is not None or self.recipe.jitter:
            what = "trains delays" if self.recipe.delays is not None else "has a jitter"
            raise ValueError(
                f"recipe {self.recipe.name!r} {what}; on the chip every layer delays by one time step"
            )
        self._core  # noqa: B018 refuses an unknown arithmetic

    @property
    def name(self) -> str:
        """In a few words."""
        return self.arithmetic if self.arithmetic.startswith("float") else f"spinnaker2 {self.arithmetic}"

    @property
    def weight_number(self) -> Number:
        """In which weights are kept."""
        return self._core.formats.weight

    @property
    def charge(self) -> float:
        """What a spike over a synapse of weight 1 delivers: the sum of its decaying current, over tau_syn."""
        tau_syn = self.recipe.setup.tau_syn
        return -TIME_STEP / (tau_syn * math.expm1(-TIME_STEP / tau_syn))

    def encode(self, points: Reals) -> Integers:
        """Return the step of every input neuron's spike."""
        return np.rint(encoded(self.recipe.setup, points).first() / TIME_STEP).astype(np.int64)

    def run(self, parameters: Parameters, samples: Integers) -> Activity:
        """Run forward only."""
        image = self._core.image(network_of(self.recipe, parameters))
        spikes = batched.forward(image, _spikes(samples), len(samples), self._n_steps, threads=self.threads)
        return self._activity(spikes["hidden"], spikes["out"], len(samples))

    def gradient(self, parameters: Parameters, samples: Integers, labels: Integers) -> Outcome:
        """Run forward and backward."""
        setup = self.recipe.setup
        loss = LossSettings(
            "out",
            labels,
            xi=setup.tau0 / TIME_STEP,
            beta=setup.tau1 / TIME_STEP,
            alpha=setup.alpha,
            silent=setup.silent,
            error_scale=self._core.error_scale,
        )
        image = self._core.image(network_of(self.recipe, parameters))
        outcome = batched.run(image, _spikes(samples), loss, self._n_steps, threads=self.threads)
        gradients = tuple(self._optimizer.batch_gradient(block).T for block in outcome.gradients)
        activity = self._activity(outcome.spikes["hidden"], outcome.spikes["out"], len(samples))
        return Outcome(float(np.mean(outcome.losses)), gradients, activity)

    @cached_property
    def _core(self) -> SpiNNaker2Core:
        return SpiNNaker2Core(TIME_STEP, self.arithmetic, decay="exponential", traces=False)

    @cached_property
    def _optimizer(self) -> OptimizerProgram:
        """The chip's optimizer program, for its sum over the batch."""
        return OptimizerProgram(
            Adam(1.0), self._core.formats, self._core.error_scale, number=self.moment_number
        )

    @property
    def _n_steps(self) -> int:
        return round(self.recipe.setup.t_end / TIME_STEP)

    def _activity(self, hidden: Spikes, out: Spikes, n_samples: int) -> Activity:
        _, n_hidden, n_out = self.recipe.setup.sizes
        first = np.full((n_samples, n_out), self._n_steps)
        np.minimum.at(first, (out.samples, out.neurons), out.steps)
        counts = [
            np.bincount(s.samples * n + s.neurons, minlength=n_samples * n).reshape(n_samples, n)
            for s, n in ((hidden, n_hidden), (out, n_out))
        ]
        return Activity(first.argmin(axis=1), tuple(counts))


def _spikes(steps: Integers) -> dict[str, Spikes]:
    """Return one spike of every input neuron, sorted by sample, step and neuron."""
    neurons = np.argsort(steps, axis=1, kind="stable")
    samples = np.repeat(np.arange(len(steps)), steps.shape[1])
    return {"in": Spikes(np.take_along_axis(steps, neurons, axis=1).ravel(), neurons.ravel(), samples)}
