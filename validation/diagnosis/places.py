"""Guesses at one place, a synapse or a packet: there are too many to try all, but where spikes part first tells which.

A lost packet is modelled by an input with one spike that cancels the packet's effect, and a packet that arrives twice
by an input that repeats it. The way back through such a network is that of an implementation that does not know of the
fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

import eventsolve as es
from eventsolve.network import Projection
from eventsolve.typing import Integers, Key, Reals
from validation.diagnosis.evidence import Evidence
from validation.diagnosis.guesses import Guess, arrow

MOST = 300
"""How many places of a kind are tried, beginning with those that matter most to the neuron that parts first."""
CORRECTION = "what a packet should not have brought"


@dataclass(frozen=True)
class Parting:
    """Where the spikes of a sample part first.

    Attributes
    ----------
    sample, step : int
    neurons : mapping of (str, int) to int
        The neurons that part at that step, by population and number: 1 if only the record has a spike there, -1 if only
        the scheme has.
    """

    sample: int
    step: int
    neurons: Mapping[tuple[str, int], int]


def partings(evidence: Evidence, said: Mapping[str, Integers]) -> list[Parting]:
    """Return where recorded spikes first part from those of a scheme, for each sample in which they do."""
    rows: dict[int, dict[int, dict[tuple[str, int], int]]] = {}
    for name, got in evidence.beside(said).items():
        mine, theirs = (set(map(tuple, r.tolist())) for r in (got, said[name]))
        for sign, only in ((1, mine - theirs), (-1, theirs - mine)):
            for sample, step, neuron in only:
                rows.setdefault(sample, {}).setdefault(step, {})[name, neuron] = sign
    return [Parting(s, min(steps), steps[min(steps)]) for s, steps in sorted(rows.items())]


def synapses(evidence: Evidence, parted: Sequence[Parting]) -> Iterator[Guess]:
    """Yield each synapse whose absence might explain the neuron that parts first in every sample."""
    network = evidence.problem.network
    of_all = set.intersection(*(set(p.neurons) for p in parted)) if parted else set()
    for population, neuron in sorted(of_all):
        places = [
            (abs(float(p.weights[k])), key, k)
            for key, p in network.projections.items()
            if key[1] == population
            for k in _synapses_into(p, neuron).tolist()
            if p.weights[k]
        ]
        for _, key, k in sorted(places, key=lambda place: -place[0])[:MOST]:
            p = network.projections[key]
            weights = p.weights.copy()
            weights[k] = 0.0
            yield Guess(
                f"one synapse missing: weight 0 from neuron {int(p.sources[k])} of {key[0]!r} to neuron {neuron} of "
                f"{population!r}",
                f"weights {arrow(key)}; spikes of {population}",
                replace(evidence.problem, network=network.with_weights({key: p.shaped(weights)})),
            )


def packets(evidence: Evidence, said: Mapping[str, Integers], parted: Sequence[Parting]) -> Iterator[Guess]:
    """Yield each packet whose loss or second arrival might explain the neurons that part first, if one sample parts."""
    if len(parted) != 1:
        return
    problem = evidence.problem
    sent = _sent(evidence, said)
    places = []
    for (population, neuron), sign in parted[0].neurons.items():
        for key, p in problem.network.projections.items():
            if key[1] == population and key[0] in sent:
                found = _arrived(p, neuron, sent[key[0]], parted[0], evidence.time_step)
                places += [(effect, sign, key, source, at, neuron) for effect, source, at in found]
    told = set()
    for effect, sign, key, source, at, neuron in sorted(places, key=lambda place: -abs(place[0]))[:MOST]:
        for copies, words in ((-1, "does not arrive"), (1, "arrives twice")):
            if copies * effect * sign < 0:  # it would do the reverse
                continue
            for targets, keys in _reached(problem.network, key, neuron):
                if (copies, targets, source, at, keys) in told:
                    continue
                told.add((copies, targets, source, at, keys))
                of = f"of neuron {source} of {key[0]!r} in sample {parted[0].sample} at {at * 1e3:.6g} ms"
                where = f"at neuron {neuron} of {key[1]!r}" if targets is not None else f"at {_names(keys)}"
                kind = "one packet lost" if copies < 0 else "one packet twice"
                yield Guess(
                    f"{kind}: the spike {of} {words} {where}",
                    f"spikes of {key[1]} in sample {parted[0].sample}",
                    _corrected(problem, keys, source, targets, parted[0].sample, at, copies),
                )


def _names(keys: tuple[Key, ...]) -> str:
    return " and ".join(repr(name) for name in dict.fromkeys(key[1] for key in keys))


def _reached(network: es.Network, key: Key, neuron: int) -> Iterator[tuple[int | None, tuple[Key, ...]]]:
    """Yield who may not have got a packet: one neuron, those of its projection, those of all its source has."""
    every = tuple(other for other in network.projections if other[0] == key[0])
    yield None, every
    if len(every) > 1:
        yield None, (key,)
    yield neuron, (key,)


def _synapses_into(p: Projection, neuron: int) -> Integers:
    return np.arange(p.row_offsets[neuron], p.row_offsets[neuron + 1])


def _sent(evidence: Evidence, said: Mapping[str, Integers]) -> dict[str, es.SpikeTrains]:
    """Return all spikes of a scheme, at their times."""
    sent = dict(evidence.problem.inputs)
    for name, p in evidence.problem.network.populations.items():
        if name in sent or name not in said:
            continue
        if not evidence.clocked:
            sent[name] = evidence.problem.solution.spikes[name]
        else:
            rows = said[name]
            sent[name] = es.SpikeTrains.from_arrays(
                rows[:, 1] * evidence.time_step,
                rows[:, 2],
                rows[:, 0],
                n_samples=evidence.problem.n_samples,
                n_neurons=p.size,
            )
    return sent


def _arrived(
    p: Projection, neuron: int, sent: es.SpikeTrains, parting: Parting, time_step: float
) -> Iterator[tuple[float, int, float]]:
    """Yield the approximate effect, the source and the time of each packet at a neuron before it parts."""
    here = _synapses_into(p, neuron)
    weights, delays = dict(zip(p.sources[here].tolist(), here.tolist(), strict=True)), p.delay
    own = sent.samples == parting.sample
    now = (parting.step + 1) * time_step
    for source, at in zip(sent.neurons[own].tolist(), sent.times[own].tolist(), strict=True):
        k = weights.get(source)
        if k is not None and p.weights[k] and at + delays[k] <= now:
            yield float(p.weights[k]) / (1.0 + (now - at - delays[k]) / now), source, at


def _corrected(
    problem: es.Problem,
    keys: tuple[Key, ...],
    source: int,
    target: int | None,
    sample: int,
    at: float,
    copies: int,
) -> es.Problem:
    """Return a problem to which a packet's effect is added ``copies`` times."""
    network = problem.network
    other = es.Network()
    for name, population in network.populations.items():
        if population.neuron is None:
            other.add_input(name, population.size)
        else:
            other.add_population(name, population.size, population.neuron)
    other.add_input(CORRECTION, 1)
    for key, p in network.projections.items():
        named = key[2] if len(key) > 2 else None
        other.connect(*key[:2], p.weight, delay=p.shaped(p.delay), synapse=p.synapse, name=named)
    for key in keys:
        p = network.projections[key]
        weight, delay = (_column(p, values, source) for values in (p.weights, p.delay))
        if target is not None:
            weight = np.where(np.arange(weight.size) == target, weight, 0.0)
        other.connect(
            CORRECTION,
            key[1],
            copies * weight[:, None],
            delay=delay[:, None],
            synapse=p.synapse,
            name=" → ".join(key),
        )
    own = es.SpikeTrains.from_arrays(
        np.array([at]), np.array([0]), np.array([sample]), n_samples=problem.n_samples, n_neurons=1
    )
    return replace(problem, network=other, inputs={**problem.inputs, CORRECTION: own})


def _column(p: Projection, values: Reals, source: int) -> Reals:
    """Return the values of a source's synapses by target, 0 where it has none."""
    column = np.zeros(p.row_offsets.size - 1)
    own = p.sources == source
    column[p.targets[own]] = values[own]
    return column
