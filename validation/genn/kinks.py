"""What a maximum at a kink is worth to the spike that makes it, which GeNN leaves out.

Where a readout rises until a spike arrives and falls after it, its maximum moves along the rising branch with the
arrival: dm/dt_arrival is V' just before. At a smooth maximum V' is 0, and nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from validation.genn.clock import Floats
from validation.genn.outcome import Outcome
from validation.genn.readouts import Answer, Reading, Trial


def worth(outcome: Outcome, trial: Trial, answer: Answer, reading: Reading) -> Floats:
    """Return what jumps have beside their formula, (n_spikes,), of the maxima of MaxVar, or of genn_eventprop's.

    dL/dt of the arrival is -g V'. By GeNN's factor T/(1 - alpha) it is -D tau_mem (1 - alpha) V', D = g/(tau_mem B T)
    being the drive of one step; by that of genn_eventprop, T, it is -tau_mem V' times its kick, which is
    of the voltage after the step before.
    """
    population = reading.population
    kind, clock = trial.clock.kind, trial.clock
    added = np.zeros(trial.found.steps.size)
    network = outcome.tables.network
    v_leak = network.population(population).parameter("v_leak")
    current = sum(
        (outcome.current(p.key).astype(np.float64) for p in network.afferents(population)),
        start=np.zeros(trial.voltage.shape),
    )
    lasting = -np.expm1(-clock.time_step / trial.tau_mem.astype(np.float64))
    if reading.paper:
        places = [
            (s, j, int(answer.kick_step[s, j]) - 1) for s, j in zip(*np.nonzero(answer.kick), strict=True)
        ]
        sizes = [float(answer.kick[s, j]) for s, j, _ in places]
    else:
        places = [(s, j, int(n)) for s, n, j in zip(*np.nonzero(answer.drive), strict=True)]
        sizes = [float(answer.drive[s, n, j] * lasting[j]) for s, j, n in places]
    for (sample, output, step), size in zip(places, sizes, strict=True):
        before = v_leak[output] + current[sample, step, output] - trial.voltage[sample, step, output]
        after = before
        for spike, weight in _arrivals(outcome, population, sample, step, output):
            after += weight
            if before > 0 >= after and spike >= 0:
                slope = before / float(trial.tau_mem[output])
                jump = -size * float(trial.tau_mem[output]) * slope
                added[spike] += jump / trial.found.slopes[spike]
            if before > 0 >= after:
                break
    return added.astype(kind)


def _arrivals(
    outcome: Outcome, population: str, sample: int, step: int, output: int
) -> Iterator[tuple[int, float]]:
    """Yield what arrives at a neuron at the end of a step, by projection and source: a spike, or -1, and its weight."""
    tables, events = outcome.tables, outcome.sent.events
    own = slice(int(outcome.bounds[sample]), int(outcome.bounds[sample + 1]))
    for projection in tables.network.afferents(population):
        low, high = projection.row_offsets[output], projection.row_offsets[output + 1]
        delays = np.rint(projection.delay[low:high] / (1e-3 * outcome.clock.time_step)).astype(int)
        from_neurons = projection.pre in tables.populations
        for source, weight, delay in zip(
            projection.sources[low:high], projection.weights[low:high], delays, strict=True
        ):
            if from_neurons:
                neuron = tables.populations[projection.pre] + source
                here = (outcome.fired.steps[own] == step - delay) & (outcome.fired.neurons[own] == neuron)
                for spike in np.flatnonzero(here):
                    yield own.start + int(spike), float(weight)
                continue
            sent = slice(int(events.bounds[sample]), int(events.bounds[sample + 1]))
            place = tables.sources[projection.pre] + source
            if ((events.steps[sent] == step - delay) & (events.places[sent] == place)).any():
                yield -1, float(weight)
