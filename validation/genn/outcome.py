"""What a run gives: everything in GeNN's own terms, and the record that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record, Trace
from eventsolve.typing import Integers, Key, Reals
from validation.genn.adapters import gradient_factor
from validation.genn.clock import Clock, Floats
from validation.genn.kernels.tables import Fired, Found, States
from validation.genn.readouts import Answer, Reading
from validation.genn.tables import Sent, Tables
from validation.grid.steps import grid_trains


@dataclass(frozen=True, eq=False)
class Outcome:
    """A run in GeNN's own terms: milliseconds, the floats of the run, weights (n_pre, n_post).

    Attributes
    ----------
    tables : Tables
    clock : Clock
    sent : Sent
        The input spikes.
    bounds : ndarray of int64, (n_samples + 1,)
        Which of ``fired`` are a sample's.
    fired : Fired
        Spikes of neurons: steps, neurons (numbered through), I - V, and V before the reset.
    states : States
        V after each step and reset, and the currents of each projection after their decay; without traces, V of a
        readout whose voltage is read, and no currents.
    answer : Answer or None
        What the readout says; None without a loss.
    found : Found or None
        Gradient and DelayGradient, (n_samples, n_synapses), in the kernels' order; the adjoints after every step.
    reading : Reading or None
    batch : int
        By which GeNN divided.
    """

    tables: Tables
    clock: Clock
    sent: Sent
    bounds: Integers
    fired: Fired
    states: States
    answer: Answer | None = None
    found: Found | None = None
    reading: Reading | None = None
    batch: int = 1

    @property
    def samples(self) -> Integers:
        """The sample of each spike."""
        return np.repeat(np.arange(self.bounds.size - 1), np.diff(self.bounds))

    @property
    def traced(self) -> bool:
        """Whether V of all neurons and all currents were kept."""
        n_samples = self.bounds.size - 1
        whole = self.states.voltage.shape[2] == self.tables.neurons.alpha.size
        return whole and len(self.states.current) == len(self.states.voltage) == n_samples

    def gradient(self, key: Key) -> Reals:
        """Return GeNN's raw ``Gradient`` of a dense projection, (n_samples, n_pre, n_post)."""
        assert self.found is not None
        values = self.tables.by_projection(self.found.weight)[key]
        return np.asarray(values.transpose(0, 2, 1))

    def of(self, population: str, values: Floats) -> Floats:
        """Return the part of an array (..., n_neurons) that is a population's."""
        first = self.tables.populations[population]
        part: Floats = values[..., first : first + self.tables.network.population(population).size]
        return part

    def voltage(self, population: str) -> Floats:
        """Return V of a population after each step and reset, (n_samples, n_steps, n), where it was kept."""
        first = self.tables.populations[population] - self.states.first
        part: Floats = self.states.voltage[
            ..., first : first + self.tables.network.population(population).size
        ]
        return part

    def current(self, key: Key) -> Floats:
        """Return a projection's currents after each step, (n_samples, n_steps, n_post)."""
        index = list(self.tables.network.projections).index(key)
        first, size = (int(x[index]) for x in (self.tables.projections.channel, self.tables.projections.size))
        part: Floats = self.states.current[..., first : first + size]
        return part

    def spikes(self, population: str) -> Integers:
        """Return which of ``fired`` are a population's."""
        first = self.tables.populations[population]
        last = first + self.tables.network.population(population).size
        return np.flatnonzero((self.fired.neurons >= first) & (self.fired.neurons < last))


def record_of(outcome: Outcome, problem: es.Problem, name: str, time_step: float) -> Record:
    """Return the record of a run: seconds, and gradients of the loss itself, of each sample's own.

    Parameters
    ----------
    outcome : Outcome
    problem : Problem
    name : str
    time_step : float
        Seconds.
    """
    tables, network = outcome.tables, outcome.tables.network
    n_samples = outcome.bounds.size - 1
    spikes, places = {}, {}
    for population in network.populations.values():
        if population.neuron is None:
            spikes[population.name] = outcome.sent.spikes[population.name]
            continue
        own = outcome.spikes(population.name)
        spikes[population.name], order = grid_trains(
            outcome.fired.steps[own],
            outcome.fired.neurons[own] - tables.populations[population.name],
            outcome.samples[own],
            (n_samples, population.size),
            time_step,
        )
        places[population.name] = own[order]
    notes = [
        f"{count} delays of {key} are rounded to steps of {time_step!r} s, by up to {most:.2g} s"
        for key, (count, most) in tables.rounded.items()
    ]
    record = Record.of(
        problem,
        name,
        spikes=spikes,
        time_step=time_step,
        traces=_traces(outcome, time_step) if outcome.traced else {},
        counters={"waiting_inputs": outcome.sent.waiting, "lost_inputs": outcome.sent.lost},
        notes=notes,
    )
    if outcome.answer is None or outcome.found is None or outcome.reading is None:
        return record
    reading = outcome.reading
    tau_mem = float(network.population(reading.population).parameter("tau_mem")[0])
    factor = gradient_factor(
        reading.name, tau_mem=tau_mem, time_step=time_step, t_end=outcome.clock.n_steps * time_step
    )
    factor *= outcome.batch if reading.divided else 1

    found = outcome.found
    delays = tables.by_projection(found.delay, 1e3 * factor) if found.delay.size else {}
    return replace(
        record,
        loss_values=outcome.answer.values * (1e-6 if reading.name == "RelativeMSE" else 1.0),
        gradients={
            "weight": tables.by_projection(found.weight, factor),
            "delay": {
                key: delays[key] for key, p in network.projections.items() if key in delays and p.delay.any()
            },
            "spike_times": {
                population: 1e3 * factor * found.error[own].astype(np.float64)
                for population, own in places.items()
            },
        },
        counters={**record.counters, "unheard_spikes": int(np.count_nonzero(~found.heard))},
    )


def _traces(outcome: Outcome, time_step: float) -> dict[str, Trace]:
    """Return V before resets, and I, at the end of each step."""
    times: Any = time_step * np.arange(1, outcome.clock.n_steps + 1)
    voltage: Any = outcome.states.voltage.astype(np.float64)
    voltage[outcome.samples, outcome.fired.steps, outcome.fired.neurons] = outcome.fired.voltages
    found, network = {}, outcome.tables.network
    for name in outcome.tables.populations:
        v = outcome.of(name, voltage)
        i = np.zeros_like(v)
        for projection in network.afferents(name):
            i += outcome.current(projection.key)
        found[name] = Trace(times, v.transpose(0, 2, 1), i.transpose(0, 2, 1))
    return found
