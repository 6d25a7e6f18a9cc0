"""The cheapest time step, format and rounding that gives a wanted gradient cosine on a task, derived and then checked.

Derived on one batch, and checked on another: of the candidates that give the cosine on the first, the cheapest is
recommended that gives it on the second too. What a sample costs is counted by :mod:`validation.spinnaker2.cost`; in one
number, the bytes of what is multiplied and accumulated, of states in their format, and of what goes over the network.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from validation.attribution.study import delayed
from validation.compare import agreement
from validation.fixedpoint import FixedFormat, Rounding
from validation.grid.first_spikes import read_loss
from validation.grid.steps import number_of_steps
from validation.jobs import as_finished
from validation.oracle import oracle
from validation.spinnaker2 import Arithmetic, SpiNNaker2Core
from validation.spinnaker2.cost import cost
from validation.spinnaker2.image import Spikes
from validation.spinnaker2.memory import number_bytes

EFFORT = ("down", "to_zero", "half_up", "nearest_even", "stochastic")
"""Roundings, cheapest first: a shift, a sign more, a bit more, a tie more, a random word more."""


class Setting(NamedTuple):
    """A time step in seconds, a number format and its rounding; ``rounding`` is "" for floating point."""

    time_step: float
    number: str
    rounding: Rounding | str

    def __str__(self) -> str:
        rounding = f", {self.rounding}" if self.rounding else ""
        return f"{self.time_step * 1e3:g} ms, {self.number}{rounding}"


@dataclass(frozen=True, eq=False)
class Batch:
    """A network and samples of a task.

    Attributes
    ----------
    network : Network
        Without delays.
    inputs : mapping of str to SpikeTrains
    t_end : float
        Seconds.
    loss : eventsolve.losses.TTFSCrossEntropy
    """

    network: es.Network
    inputs: Mapping[str, es.SpikeTrains]
    t_end: float
    loss: Any


class Candidate(NamedTuple):
    """What a setting gives and costs; a sample's means.

    Attributes
    ----------
    setting : Setting
    cosine : float
        The least of all projections, of the batch-mean gradient with the exact one, to whose synapses the step of delay
        belongs.
    macs, packet_bytes : float
        Multiply-accumulates, and bytes over the network.
    bytes : float
        ``macs`` times the bytes of a state, and ``packet_bytes``.
    """

    setting: Setting
    cosine: float
    macs: float
    packet_bytes: float
    bytes: float


class Recommendation(NamedTuple):
    """A candidate, and what it gives on the samples on which it was checked."""

    candidate: Candidate
    checked: float


def core_of(setting: Setting, template: SpiNNaker2Core) -> SpiNNaker2Core:
    """Return the chip of a setting."""
    arithmetic = Arithmetic.preset(setting.number)
    if isinstance(arithmetic.state, FixedFormat):
        if setting.rounding not in EFFORT:
            raise ValueError(f"rounding must be one of {', '.join(EFFORT)}; got {setting.rounding!r}")
        arithmetic = replace(arithmetic, rounding=setting.rounding)  # type: ignore[arg-type]
    return replace(template, time_step=setting.time_step, format=arithmetic, traces=False)


def tried(batch: Batch, template: SpiNNaker2Core, setting: Setting) -> Candidate:
    """Return what a setting gives and costs on a batch: a job for any executor."""
    core = core_of(setting, template)
    args = batch.inputs, batch.t_end, batch.loss
    exact = oracle(es.Problem(delayed(batch.network, setting.time_step), *args))
    model = core.run(es.Problem(batch.network, *args))
    cosine = min(
        agreement(w.mean(axis=0), model.weight[key].mean(axis=0)).cosine for key, w in exact.weight.items()
    )
    image = core.image(batch.network)
    reading = read_loss(batch.loss, batch.network, model.n_samples)
    found = cost(
        image,
        reading.population,
        {name: _on_grid(model, name, setting.time_step) for name in image.sizes},
        model.n_samples,
        number_of_steps(batch.t_end, setting.time_step),
        early=reading.alpha > 0,
    )
    size = number_bytes(core.formats.state)
    return Candidate(setting, cosine, found.macs, found.bytes, found.macs * size + found.bytes)


def candidates(
    batch: Batch,
    settings: Sequence[Setting],
    template: SpiNNaker2Core,
    executor: Executor | None = None,
) -> Iterator[Candidate]:
    """Yield what every setting gives and costs, as it finishes."""
    for _, candidate in as_finished(functools.partial(tried, batch, template), settings, executor):
        yield candidate


def ranked(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates, the cheapest first; of equal ones that with the simplest rounding."""
    return sorted(
        found,
        key=lambda c: (
            c.bytes,
            EFFORT.index(c.setting.rounding) if c.setting.rounding else 0,
            -c.setting.time_step,
        ),
    )


def frontier(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with a larger cosine than all that are cheaper, cheapest first."""
    best: list[Candidate] = []
    for candidate in ranked(found):
        if not best or candidate.cosine > best[-1].cosine:
            best.append(candidate)
    return best


def recommended(
    found: Sequence[Candidate], wanted: float, batch: Batch, template: SpiNNaker2Core
) -> Recommendation | None:
    """Return the cheapest candidate that gives a cosine, and gives it again on samples that it was not chosen for.

    Parameters
    ----------
    found : sequence of Candidate
        Of one batch.
    wanted : float
        The least cosine, -1 to 1.
    batch : Batch
        Other samples of the task.
    template : SpiNNaker2Core

    Returns
    -------
    Recommendation or None
        None if no candidate gives it on both.
    """
    if not -1 <= wanted <= 1:
        raise ValueError(f"wanted must be a cosine from -1 to 1; got {wanted!r}")
    for candidate in ranked(found):
        if candidate.cosine >= wanted:
            checked = tried(batch, template, candidate.setting).cosine
            if checked >= wanted:
                return Recommendation(candidate, checked)
    return None


def _on_grid(record: Record, name: str, time_step: float) -> Spikes:
    """Return the spikes of a population at their steps."""
    trains = record.spikes[name]
    return Spikes(np.rint(trains.times / time_step).astype(np.int64), trains.neurons, trains.samples)
