"""Ways to apply the derivatives of a loss wrongly: at the wrong spike, or at the wrong step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from eventsolve.losses import Evaluation, VoltageSamples
from validation.diagnosis.evidence import Evidence
from validation.grid.flaws import Reading
from validation.grid.solution import GridSolution

LATE = (1, 2, 5, 10, 20, 50, 100, -1, -2, -5, -10)
"""Steps by which a readout may be read late."""


def readings(evidence: Evidence) -> Iterator[tuple[str, Reading]]:
    """Yield what may be wrong, in words, and the function that does it."""
    yield "error on the last spike of an output, not on the first", _on_the_last
    yield "error on every spike of an output, not on the first alone", _on_every
    yield "readout read at the end of the run", _at_the_end
    for steps in LATE if evidence.clocked else ():
        late = f"{abs(steps)} step{'s' if abs(steps) > 1 else ''} {'late' if steps > 0 else 'early'}"
        yield f"readout read {late}", _late(steps)


def _spread(evaluation: Evaluation, solution: GridSolution, last: bool) -> Evaluation:
    """Return the errors of the first spikes, moved to the last spike of each neuron, or to all of its spikes."""
    found = {}
    for name, errors in evaluation.spike_times.items():
        trains = solution.spikes[name]
        of = trains.samples * trains.n_neurons + trains.neurons
        total = np.bincount(of, weights=errors, minlength=trains.n_samples * trains.n_neurons)[of]
        if last:
            latest = np.full(trains.n_samples * trains.n_neurons, -np.inf)
            np.maximum.at(latest, of, trains.times)
            total = np.where(trains.times == latest[of], total, 0.0)
        found[name] = total
    return replace(evaluation, spike_times=found)


def _on_the_last(evaluation: Evaluation, solution: GridSolution) -> Evaluation:
    return _spread(evaluation, solution, True)


def _on_every(evaluation: Evaluation, solution: GridSolution) -> Evaluation:
    return _spread(evaluation, solution, False)


def _at_the_end(evaluation: Evaluation, solution: GridSolution) -> Evaluation:
    reads = {
        name: read._replace(times=np.full_like(read.times, solution.t_end))
        for name, read in evaluation.voltages.items()
    }
    return replace(evaluation, voltages=reads)


def _late(steps: int) -> Reading:
    def moved(evaluation: Evaluation, solution: GridSolution) -> Evaluation:
        reads = {}
        for name, read in evaluation.voltages.items():
            at = np.clip(read.times + steps * solution.time_step, 0.0, solution.t_end)
            reads[name] = VoltageSamples(read.samples, read.neurons, at, read.arrivals, read.cotangents)
        return replace(evaluation, voltages=reads)

    return moved
