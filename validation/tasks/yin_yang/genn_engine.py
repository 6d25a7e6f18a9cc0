"""The GeNN engine: the discretised EventProp that mlGeNN trains with, faults and all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.typing import Integers, Reals
from validation.genn import GeNN
from validation.genn.tables import Variant
from validation.spinnaker2 import FLOAT32, FloatFormat
from validation.tasks.yin_yang.engines import KEYS, Activity, Outcome, first_output, loss_of, network_of
from validation.tasks.yin_yang.recipe import Parameters, Recipe
from validation.tasks.yin_yang.task import encoded

_SAMPLES_AT_ONCE = 512


@dataclass(frozen=True)
class GeNNEngine:
    """:class:`validation.genn.GeNN` with its faults: mlGeNN for relative times, genn_eventprop for the cross-entropies.

    That is whose losses they are. An input without a spike of an output decides for none of the classes; the mean loss
    is over the samples that have one, since GeNN has none where a label is silent. mlGeNN learns nothing from the last
    batch of an epoch; here every batch is learned from, as on the other engines.

    Parameters
    ----------
    recipe : Recipe
        Without delays.
    time_step : float
        Seconds.
    threads : int, optional
        As in ``eventsolve.solve``; changes no bit.

    Raises
    ------
    ValueError
        If the recipe has delays or a jitter, or the step does not fit.
    """

    recipe: Recipe
    time_step: float
    threads: int | None = field(default=None, kw_only=True)
    weight_number: FloatFormat = field(default=FLOAT32, init=False)
    moment_number: FloatFormat = field(default=FLOAT32, init=False)
    gradient_unit: float = field(default=1.0, init=False)
    charge: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if self.recipe.delays is not None or self.recipe.transport:
            raise ValueError(f"recipe {self.recipe.name!r} has delays; its losses are of GeNN without them")
        self._target  # noqa: B018 refuses a step that is none

    @property
    def name(self) -> str:
        """In a few words."""
        return f"genn {self.time_step * 1e3:g} ms"

    def encode(self, points: Reals) -> Reals:
        """Return the spike time of every input neuron, seconds."""
        return encoded(self.recipe.setup, points).first()

    def run(self, parameters: Parameters, samples: Reals) -> Activity:
        """Run forward only, some samples at a time."""
        net = network_of(self.recipe, parameters)
        parts = [
            _activity(self._target.run(self._problem(net, samples[low : low + _SAMPLES_AT_ONCE])))
            for low in range(0, len(samples), _SAMPLES_AT_ONCE)
        ]
        return Activity(
            np.concatenate([part.predictions for part in parts]),
            tuple(np.concatenate(counts) for counts in zip(*(part.counts for part in parts), strict=True)),
        )

    def gradient(self, parameters: Parameters, samples: Reals, labels: Integers) -> Outcome:
        """Run forward and backward."""
        problem = self._problem(network_of(self.recipe, parameters), samples)
        record = self._target.run(replace(problem, loss=loss_of(self.recipe.setup, labels)))
        gradients = tuple(record.weight[key].mean(axis=0) for key in KEYS)
        values = np.asarray(record.loss_values)
        heard = values[np.isfinite(values)]
        return Outcome(float(heard.mean()) if heard.size else 0.0, gradients, _activity(record))

    def _problem(self, net: es.Network, samples: Reals) -> es.Problem:
        return es.Problem(net, {"in": es.SpikeTrains.from_dense(samples)}, self.recipe.setup.t_end)

    @property
    def _target(self) -> GeNN:
        variant: Variant = "mlgenn" if self.recipe.setup.loss == "relative" else "genn_eventprop"
        return GeNN(self.time_step, variant=variant, traces=False, threads=self.threads)


def _activity(record: Record) -> Activity:
    trains = record.trains
    return Activity(first_output(trains["out"]), (trains["hidden"].counts(), trains["out"].counts()))
