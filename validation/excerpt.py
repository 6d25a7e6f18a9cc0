"""The voltage of one neuron around one spike, exact and of the model, for reports."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import eventsolve as es
from eventsolve.compare import Comparison, WorstSpike
from eventsolve.io.records import Record
from validation.report import Excerpt


def excerpt_around(
    worst: WorstSpike | None,
    comparison: Comparison,
    net: es.Network,
    inputs: Mapping[str, es.SpikeTrains],
    t_end: float,
) -> Excerpt | None:
    """Cut the voltage of one neuron around one spike: 12 time steps either side, but 4 to 12 ms."""
    if worst is None or worst.population not in comparison.model.traces:
        return None
    reach = float(np.clip(12 * (comparison.model.time_step or 0.0), 4e-3, 12e-3))
    start, stop = max(0.0, worst.time - reach), min(t_end, worst.time + reach)
    alone = {name: trains.select([worst.sample]) for name, trains in inputs.items()}
    solution = es.solve(net, alone, t_end=t_end)
    times = np.linspace(start, stop, 1001)
    trace = comparison.model.traces[worst.population]
    shown = (trace.times >= start) & (trace.times <= stop)
    spikes = [_spikes_of(record, worst, start, stop) for record in (comparison.exact, comparison.model)]
    return Excerpt(
        worst=worst,
        threshold=float(net.population(worst.population).parameter("v_threshold")[worst.neuron]),
        exact_times=times,
        exact_voltage=solution.voltage(worst.population, times)[0, worst.neuron],
        model_times=trace.times[shown],
        model_voltage=trace.voltage[worst.sample, worst.neuron, shown],
        exact_spikes=spikes[0],
        model_spikes=spikes[1],
    )


def _spikes_of(record: Record, worst: WorstSpike, start: float, stop: float) -> np.ndarray:
    trains = record.spikes[worst.population]
    here = (trains.samples == worst.sample) & (trains.neurons == worst.neuron)
    here &= (trains.times >= start) & (trains.times <= stop)
    times: np.ndarray = trains.times[here]
    return times
