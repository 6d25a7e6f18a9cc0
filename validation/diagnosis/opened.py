"""An opened network: every neuron receives the recorded spikes in place of those that the network would send it.

A fault then shows only at the neurons whose spikes their input does not explain, and no longer downstream of them. If
every neuron of the open network spikes as recorded, then so does every neuron of the closed one, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

import eventsolve as es
from eventsolve.typing import Integers
from validation.diagnosis.evidence import Evidence

RECORDED = "{} as recorded"
"""The name of the input that sends the recorded spikes of a population."""


def opened(problem: es.Problem, evidence: Evidence) -> es.Problem | None:
    """Return a problem in which the recorded spikes are inputs; None if a population that sends was not recorded.

    The problem has the same populations, and no loss.
    """
    network = problem.network
    senders = {key[0] for key in network.projections if network.population(key[0]).neuron is not None}
    if not senders <= evidence.spikes.keys():
        return None
    other, inputs = es.Network(), dict(problem.inputs)
    for name, population in network.populations.items():
        if population.neuron is None:
            other.add_input(name, population.size)
    for name in sorted(senders):
        other.add_input(RECORDED.format(name), network.population(name).size)
        inputs[RECORDED.format(name)] = recorded(evidence, name)
    for name, population in network.populations.items():
        if population.neuron is not None:
            other.add_population(name, population.size, population.neuron)
    for key, p in network.projections.items():
        pre = RECORDED.format(key[0]) if key[0] in senders else key[0]
        named = key[2] if len(key) > 2 else None
        other.connect(pre, key[1], p.weight, delay=p.shaped(p.delay), synapse=p.synapse, name=named)
    return replace(problem, network=other, inputs=inputs, loss=None)


def recorded(evidence: Evidence, name: str) -> es.SpikeTrains:
    """Return the recorded spikes of a population, on their steps."""
    rows = evidence.spikes[name]
    return es.SpikeTrains.from_arrays(
        rows[:, 1] * evidence.time_step,
        rows[:, 2],
        rows[:, 0],
        n_samples=evidence.problem.n_samples,
        n_neurons=evidence.problem.network.population(name).size,
    )


@dataclass(frozen=True)
class Odd:
    """The neurons whose spikes their input does not explain.

    Attributes
    ----------
    of : mapping of str to ndarray of int64, (n, 2)
        Sample and neuron of each, by population; without populations that have none.
    """

    of: Mapping[str, Integers]

    @property
    def count(self) -> int:
        """How many pairs of sample and neuron there are."""
        return sum(map(len, self.of.values()))

    @property
    def neurons(self) -> dict[str, tuple[int, ...]]:
        """The neurons, by population, over all samples."""
        return {name: tuple(np.unique(rows[:, 1]).tolist()) for name, rows in self.of.items()}

    @property
    def samples(self) -> tuple[int, ...]:
        """The samples in which there is one."""
        every = [rows[:, 0] for rows in self.of.values()]
        return tuple(np.unique(np.concatenate(every)).tolist()) if every else ()


def odd(evidence: Evidence, said: Mapping[str, Integers]) -> Odd:
    """Return the neurons whose recorded spikes differ from those of an answer of the open network."""
    found = {}
    for name, rows in evidence.spikes.items():
        mine, theirs = (set(map(tuple, r.tolist())) for r in (rows, said[name]))
        pairs = sorted({(sample, neuron) for sample, _, neuron in mine ^ theirs})
        if pairs:
            found[name] = np.array(pairs, dtype=np.int64)
    return Odd(found)
