"""The exact engine: continuous time, every spike where it is, exact gradients for weights and delays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

import eventsolve as es
from eventsolve.typing import Integers, Reals
from validation.spinnaker2 import FLOAT64, FloatFormat
from validation.tasks.yin_yang.engines import KEYS, Activity, Outcome, first_output, loss_of, network_of
from validation.tasks.yin_yang.recipe import Parameters, Recipe
from validation.tasks.yin_yang.task import encoded

_SAMPLES_AT_ONCE = 1024


@dataclass(frozen=True)
class ExactEngine:
    """``eventsolve.solve`` and ``eventsolve.value_and_grad``.

    An input without a spike of an output decides for none of the classes (Wunderlich & Pehle 2021).

    Parameters
    ----------
    recipe : Recipe
    threads : int, optional
        As in ``eventsolve.solve``; changes no bit.
    """

    recipe: Recipe
    threads: int | None = field(default=None, kw_only=True)
    name: str = field(default="exact", init=False)
    weight_number: FloatFormat = field(default=FLOAT64, init=False)
    moment_number: FloatFormat = field(default=FLOAT64, init=False)
    gradient_unit: float = field(default=1.0, init=False)
    charge: float = field(default=1.0, init=False)

    def encode(self, points: Reals) -> Reals:
        """Return the spike time of every input neuron, seconds."""
        return encoded(self.recipe.setup, points).first()

    def run(self, parameters: Parameters, samples: Reals) -> Activity:
        """Solve, some samples at a time."""
        net = network_of(self.recipe, parameters, self.recipe.transport)
        parts = [
            _activity(self._solve(net, samples[low : low + _SAMPLES_AT_ONCE]))
            for low in range(0, len(samples), _SAMPLES_AT_ONCE)
        ]
        return Activity(
            np.concatenate([part.predictions for part in parts]),
            tuple(np.concatenate(counts) for counts in zip(*(part.counts for part in parts), strict=True)),
        )

    def gradient(self, parameters: Parameters, samples: Reals, labels: Integers) -> Outcome:
        """Solve, and go back."""
        solution = self._solve(network_of(self.recipe, parameters, self.recipe.transport), samples)
        loss = loss_of(self.recipe.setup, labels)
        wrt = ("weight", "delay") if parameters.delays else ("weight",)
        value, grads = es.value_and_grad(solution, loss, wrt=wrt, threads=self.threads)
        arrays = [grads.weight[key] for key in KEYS]
        if parameters.delays:
            arrays += [grads.delay[key] for key in KEYS]
        return Outcome(float(value), tuple(arrays), _activity(solution))

    def _solve(self, net: es.Network, samples: Reals) -> es.Solution:
        inputs = {"in": es.SpikeTrains.from_dense(samples)}
        return es.solve(net, inputs, t_end=self.recipe.setup.t_end, threads=self.threads)


def _activity(solution: es.Solution) -> Activity:
    spikes = solution.spikes
    return Activity(first_output(spikes["out"]), (spikes["hidden"].counts(), spikes["out"].counts()))
