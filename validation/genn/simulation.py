"""A problem run in GeNN's arithmetic: the kernels on chunks of samples, and the readout in between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.chunks import joined, map_chunks
from eventsolve.interrupts import call
from eventsolve.magnitudes import warn_of_step
from eventsolve.typing import Integers
from validation.genn import readouts
from validation.genn.causes import Causes
from validation.genn.clock import MAX_STEPS, Clock, Floats, milliseconds
from validation.genn.kernels.backward import backward
from validation.genn.kernels.forward import forward
from validation.genn.kernels.tables import Fired, Found, Push, Rules, States
from validation.genn.kinks import worth
from validation.genn.outcome import Outcome
from validation.genn.tables import Tables, Variant, sent_inputs, tables_of
from validation.grid.steps import number_of_samples, number_of_steps
from validation.grid.tables import part

SAMPLES = 8
"""Of a chunk: samples share nothing, so that any number gives the same bits."""


@dataclass(frozen=True)
class Regulariser:
    """mlGeNN's ``reg_lambda_upper``, ``reg_lambda_lower`` and ``reg_nu_upper``."""

    upper: float
    lower: float
    nu: float


@dataclass(frozen=True)
class Settings:
    """How a problem is run; see :class:`validation.genn.GeNN`. ``time_step`` is in seconds."""

    time_step: float
    causes: Causes
    max_spikes: int
    regulariser: Regulariser
    batched: bool
    consecutive: bool
    variant: Variant
    accumulator: float
    threads: int | None

    @property
    def kind(self) -> Any:
        """Of the floats."""
        return np.float32 if self.causes.single_precision else np.float64

    @property
    def rules(self) -> Rules:
        """As the kernels take them."""
        return Rules(
            zeroed=self.causes.early_zero,
            consecutive=self.consecutive,
            cleared=self.variant != "mlgenn",
            late_jump=self.causes.late_jump,
            inputs_met=self.variant != "mlgenn",
            room=self.max_spikes - 1 if self.causes.ring_buffer else -1,
        )


def simulate(problem: es.Problem, settings: Settings, *, traces: bool, adjoints: bool) -> Outcome:
    """Run a problem forward and, if it has a loss, backward.

    Raises
    ------
    ValueError
        If GeNN cannot represent the network, the inputs or the loss.
    """
    network, causes, kind = problem.network, settings.causes, settings.kind
    n_samples = number_of_samples(network, problem.inputs)
    n_steps = number_of_steps(problem.t_end, settings.time_step)
    if n_steps > MAX_STEPS:
        raise ValueError(
            f"t_end is {n_steps} steps of {settings.time_step!r} s; GeNN's clock is modelled up to {MAX_STEPS}"
        )
    reading = None
    if problem.loss is not None:
        reading = readouts.reading_of(problem.loss, network, n_samples, settings.time_step, settings.variant)
        if settings.accumulator:
            reading = readouts.weighed_by_inputs(reading, problem.loss)
    clock = Clock(milliseconds(settings.time_step), n_steps, kind)
    tables = tables_of(network, settings.time_step, kind, causes, settings.variant)
    warn_of_step(settings.time_step, network)
    sent = sent_inputs(tables.sources, problem.inputs, clock, settings.time_step, causes.late_inputs)
    kinks = reading is not None and reading.name in ("MaxVar", "max") and not causes.kinks
    watched = slice(0, tables.neurons.alpha.size if traces else 0)
    if reading is not None and not reading.of_spikes and not traces:
        first = tables.populations[reading.population]
        watched = slice(first, first + network.population(reading.population).size)
    bounds, fired, states = _forward(tables, clock, sent.events, settings, watched, traces or kinks)
    outcome = Outcome(tables, clock, sent, bounds, fired, states)
    if reading is None:
        return outcome
    trial = readouts.Trial(
        clock,
        causes,
        n_samples if settings.batched else 1,
        np.array(
            [kind(milliseconds(x)) for x in network.population(reading.population).parameter("tau_mem")]
        ),
        np.zeros((n_samples, 0, 0), kind) if reading.of_spikes else outcome.voltage(reading.population),
        outcome.samples,
        fired,
        tables.populations[reading.population],
        outcome.of(reading.population, tables.neurons.v_initial),
        settings.time_step,
        readouts.accumulated(sent.events, clock, milliseconds(settings.accumulator), settings.consecutive)
        if reading.accumulated
        else np.zeros((0, clock.n_steps), kind),
    )
    answer = readouts.answer(reading, trial)
    if kinks:
        answer = replace(answer, at_spike=worth(outcome, trial, answer, reading))
    with np.errstate(divide="ignore"):
        reciprocals = kind(1.0) / fired.slopes
    push = Push(
        trial.first,
        answer.drive,
        answer.kick_step,
        answer.kick,
        answer.at_spike,
        _regularised(outcome, settings, reading.population),
        reciprocals,
    )
    found = _backward(outcome, push, settings, adjoints)
    return replace(outcome, answer=answer, found=found, reading=reading, batch=trial.batch)


def _regularised(outcome: Outcome, settings: Settings, readout: str) -> Floats:
    """Return what every jump of a neuron takes off lambda_V, (n_samples, n_neurons): hidden ones only."""
    kind, regulariser = settings.kind, settings.regulariser
    n_samples, n = outcome.bounds.size - 1, outcome.tables.neurons.alpha.size
    counts = np.zeros((n_samples, n), np.int64)
    np.add.at(counts, (outcome.samples, outcome.fired.neurons), 1)
    batch = n_samples if settings.batched else 1
    if settings.batched:
        counts[:] = counts.sum(axis=0)
    if settings.variant == "mlgenn":
        excess: Any = counts - int(regulariser.nu * batch)
        share = batch * batch
    else:
        excess = counts / batch - regulariser.nu
        share = batch
    upper, lower = (kind(k / share) for k in (regulariser.upper, regulariser.lower))
    push: Floats = np.where(excess > 0, upper, lower) * excess.astype(kind)
    outcome.of(readout, push)[:] = 0
    return push


def _ranges(n_samples: int, settings: Settings) -> list[tuple[int, int]]:
    """Return the samples of each chunk: trials that follow each other are one."""
    size = max(n_samples, 1) if settings.consecutive else SAMPLES
    return [(low, min(low + size, n_samples)) for low in range(0, n_samples, size)] or [(0, 0)]


def _forward(
    tables: Tables, clock: Clock, events: Any, settings: Settings, watched: slice, currents: bool
) -> tuple[Integers, Fired, States]:
    """Run forward; V is kept of some neurons, if they are any, and the currents of all or none."""
    kind, n_samples = settings.kind, events.bounds.size - 1
    n_channels, n_watched = int(tables.projections.size.sum()), watched.stop - watched.start
    ranges = _ranges(n_samples, settings)
    any_held = bool((tables.neurons.t_ref > 0).any())
    voltage = np.empty((n_samples if n_watched else 0, clock.n_steps, n_watched), kind)
    current = np.empty((n_samples if currents else 0, clock.n_steps, n_channels), kind)

    def work(k: int) -> tuple[Integers, Fired]:
        low, high = ranges[k]
        bounds, fired = call(
            forward,
            tables.neurons,
            tables.projections,
            tables.synapses,
            settings.rules,
            part(events, low, high)[0],
            clock.n_steps,
            np.array([clock.time_step], kind),
            States(voltage[low:high], current[low:high], watched.start),
            any_held,
        )
        return bounds, fired

    results = map_chunks(work, len(ranges), settings.threads)
    counts = np.concatenate([np.diff(r[0]) for r in results])
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    fired = Fired(*(joined(columns) for columns in zip(*(r[1] for r in results), strict=True)))
    return bounds, fired, States(voltage, current, watched.start)


def _backward(outcome: Outcome, push: Push, settings: Settings, adjoints: bool) -> Found:
    tables, clock, kind = outcome.tables, outcome.clock, settings.kind
    events, bounds = outcome.sent.events, outcome.bounds
    n, n_synapses = tables.neurons.alpha.size, tables.synapses.weights.size
    ranges = _ranges(bounds.size - 1, settings)
    matched = clock.met_by_pointer.copy()
    if not settings.causes.matching:
        matched[:-1] = True
    if not settings.causes.last_spike:
        matched[-1] = True

    n_samples, n_spikes = bounds.size - 1, int(bounds[-1])
    kept = n_samples if adjoints else 0
    whole = Found(
        np.empty((n_samples, n_synapses), kind),
        np.empty((n_samples, n_synapses if tables.synapses.longest else 0), kind),
        np.empty(n_spikes, kind),
        np.empty(n_spikes, np.bool_),
        *(np.empty((kept, clock.n_steps, n), kind) for _ in range(2)),
    )

    def work(k: int) -> None:
        low, high = ranges[k]
        own = slice(int(bounds[low]), int(bounds[high]))
        out = Found(
            whole.weight[low:high],
            whole.delay[low:high],
            whole.error[own],
            whole.heard[own],
            whole.lambda_v[low:high],
            whole.lambda_i[low:high],
        )
        for values in (out.weight, out.delay, out.error, out.heard):
            values[:] = 0
        call(
            backward,
            tables.neurons,
            tables.synapses,
            settings.rules,
            part(events, low, high)[0],
            clock.n_steps,
            bounds[low : high + 1] - bounds[low],
            Fired(*(x[own] for x in outcome.fired)),
            matched,
            Push(
                push.first,
                push.drive[low:high],
                push.kick_step[low:high],
                push.kick[low:high],
                push.at_spike[own],
                push.at_spikes[low:high],
                push.reciprocals[own],
            ),
            out,
        )

    map_chunks(work, len(ranges), settings.threads)
    return whole
