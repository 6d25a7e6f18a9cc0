"""solve_first_spikes(): what a loss on first spikes can see, and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.kernels.tables import Spikes, States
from eventsolve.network import Network
from eventsolve.schedule import Layer
from eventsolve.solution import Chunk, Graze, Solution, Stopped, gather
from eventsolve.solve import MAX_SPIKES, Problem, checked_problem, require_later, stopped_error
from eventsolve.solve_chunk import Stop, joined_trains, new_chunks, solve_chunk
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State

PILOT = 16
"""Samples of a large batch that are solved to t_end, for an idea of how far the others have to be."""
SLACK = 1.125
"""How much further than the pilots'; of Gaussian times this leaves one sample in some hundreds to be solved again."""


class Part(NamedTuple):
    """Some samples of a chunk, by number, and ``until`` when each is complete, -inf where it is not."""

    samples: NDArray[np.int64]
    chunk: Chunk
    until: NDArray[np.float64]
    grazes: list[Graze]


def solve_first_spikes(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    population: str,
    *,
    initial: State | None = None,
    max_spikes: int = MAX_SPIKES,
    threads: int | None = None,
) -> Solution:
    """Solve each sample until all neurons of a population have spiked once, or to t_end.

    What remains is out of sight of any loss on that population's first spikes: its value and gradients are those
    of the whole solution, for less work.

    Parameters
    ----------
    population : str
        Of spiking neurons.
    network, inputs, t_end, initial, max_spikes, threads
        As for :func:`eventsolve.solve`.

    Returns
    -------
    Solution
        All spikes up to then, bit for bit those of ``solve``; ``solution.stopped.until`` says until when. What would
        need more of it, such as its final state or a loss on another population, is a ValueError.

    Raises
    ------
    ValueError
        As ``solve``; and if the population is unknown or does not spike.
    SpikeBudgetError, RepeatedSpikeError
        As ``solve``, where a sample stops before its first spikes are complete.
    """
    max_spikes = count("max_spikes", max_spikes)
    problem = Problem(network, inputs, initial, max_spikes)
    t_end, n_samples, layers = checked_problem(problem, t_end)
    neuron = network.population(population).neuron
    if neuron is None or not neuron.spiking:
        kind = "an input" if neuron is None else "an LI population"
        raise ValueError(f"population must be of spiking neurons; {population!r} is {kind}")
    after, t_start = (-1.0, 0.0) if initial is None else (initial.time, initial.time)
    ranges = chunk_ranges(n_samples)
    size = network.population(population).size
    new_chunk = new_chunks(layers, inputs, initial)

    def solved(low: int, high: int, window: float) -> list[Part] | Stop:
        return _to_first_spikes(
            layers, new_chunk(low, high), after, t_start, population, size, window, t_end, max_spikes
        )

    window = t_end
    if n_samples > 4 * PILOT:
        pilot = solved(0, PILOT, t_end)
        if not isinstance(pilot, Stop):
            latest = max(float(part.until.max()) for part in pilot)
            window = min(t_end, t_start + SLACK * (latest - t_start))
    results = map_chunks(lambda k: solved(*ranges[k], window), len(ranges), threads)
    stops = [
        result._replace(sample=low + result.sample)
        for (low, _), result in zip(ranges, results, strict=True)
        if isinstance(result, Stop)
    ]
    if stops:
        raise stopped_error(min(stops), problem)
    parts = [result for result in results if not isinstance(result, Stop)]
    chunks = [_merged(of_chunk) for of_chunk in parts]
    until = np.empty(n_samples)
    warnings = []
    for (low, _), of_chunk in zip(ranges, parts, strict=True):
        for part in of_chunk:
            until[low + part.samples] = part.until
            warnings += [d._replace(sample=low + int(part.samples[d.sample])) for d in part.grazes]
    until.setflags(write=False)
    spikes = joined_trains(network, inputs, chunks, n_samples)
    require_later(network, spikes, initial)
    stopped = Stopped(population, until)
    return Solution._trusted(
        network, t_start, t_end, spikes, tuple(warnings), n_samples, after, tuple(chunks), stopped
    )


def _to_first_spikes(
    layers: tuple[Layer, ...],
    given: Chunk,
    after: float,
    t_start: float,
    population: str,
    size: int,
    window: float,
    t_end: float,
    max_spikes: int,
) -> list[Part] | Stop:
    """Solve a chunk to the end of the window, samples whose first spikes are not complete then to t_end; cut all.

    Where the solver stops on the way, for a runaway loop for instance, that counts only before the first spikes of its
    sample, so that the outcome does not depend on the window.
    """
    remaining = np.arange(given.n_samples)
    end = window
    parts = []
    while True:
        chunk = _of_samples(given, remaining)
        grazes, stop = solve_chunk(layers, chunk, after, end, max_spikes)
        stopped = stop
        while stop is not None and stop.time > t_start:
            end = math.nextafter(stop.time, -math.inf)
            chunk = _of_samples(given, remaining)
            stopped = stop
            grazes, stop = solve_chunk(layers, chunk, after, end, max_spikes)
        if stop is not None:
            return stop._replace(sample=int(remaining[stop.sample]))
        until = np.minimum(_first(chunk.spikes[population], size).max(axis=1, initial=t_start), t_end)
        until[until > end] = -math.inf
        if stopped is not None and until[stopped.sample] == -math.inf:
            return stopped._replace(sample=int(remaining[stopped.sample]))
        grazes = [graze for graze in grazes if graze.time <= until[graze.sample]]
        parts.append(Part(remaining, _cut(layers, chunk, until), until, grazes))
        remaining = remaining[until == -math.inf]
        end = t_end
        if not remaining.size:
            return parts


def _first(spikes: Spikes, size: int) -> NDArray[np.float64]:
    """Return the first spike times, (n_samples, size), inf where silent."""
    first = np.full((spikes.offsets.size - 1, size), np.inf)
    np.minimum.at(first, (_samples(spikes), spikes.neurons), spikes.times)
    return first


def _samples(spikes: Spikes) -> NDArray[np.int64]:
    return np.repeat(np.arange(spikes.offsets.size - 1), np.diff(spikes.offsets))


def _offsets(samples: NDArray[np.int64], n_samples: int) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(samples, minlength=n_samples))]).astype(np.int64)


def _of_samples(given: Chunk, samples: NDArray[np.int64]) -> Chunk:
    """Return those samples of a chunk of which nothing is solved yet."""
    if samples.size == given.n_samples:
        return given._replace(spikes=dict(given.spikes), queued={}, end={})
    place = np.full(given.n_samples, -1)
    place[samples] = np.arange(samples.size)

    def chosen(spikes: Spikes) -> Spikes:
        of = place[_samples(spikes)]
        keep = of >= 0
        return _kept(spikes, keep)._replace(offsets=_offsets(of[keep], samples.size))

    return Chunk(
        samples.size,
        {name: chosen(spikes) for name, spikes in given.spikes.items()},
        {name: chosen(spikes) for name, spikes in given.carried.items()},
        {},
        {name: States(*(column[samples] for column in states)) for name, states in given.start.items()},
        {},
    )


def _kept(spikes: Spikes, keep: NDArray[Any]) -> Spikes:
    """Return some spikes, or all in another order; their offsets remain to be set."""
    return Spikes(
        spikes.times[keep],
        spikes.neurons[keep],
        spikes.offsets,
        spikes.arrivals[keep],
        spikes.trigger[keep],
        spikes.low[keep],
    )


def _cut(layers: tuple[Layer, ...], chunk: Chunk, until: NDArray[np.float64]) -> Chunk:
    """Return the chunk without what comes after ``until``, (n_samples,), in its samples."""

    def before(spikes: Spikes) -> Spikes:
        samples = _samples(spikes)
        keep = spikes.times <= until[samples]
        return _kept(spikes, keep)._replace(offsets=_offsets(samples[keep], until.size))

    queued = {}
    for layer in layers:
        if layer.efferents is not None:
            given = gather(layer, chunk._replace(queued={})).spikes
            keep = given.times <= until[_samples(given)]
            own = chunk.queued[layer.name]
            triggers = _renumbered(own, given, keep, layer.efferents.delay.size)
            queued[layer.name] = before(own._replace(trigger=triggers))
    spikes = {name: before(spikes) for name, spikes in chunk.spikes.items()}
    return chunk._replace(spikes=spikes, queued=queued, end={})


def _renumbered(own: Spikes, given: Spikes, keep: NDArray[np.bool_], n_bundles: int) -> NDArray[np.int64]:
    """Return the triggers of the event queue's spikes where only those spikes that it was given remain.

    A trigger is rank * n_bundles + bundle, its rank among the spikes given to the sample and, behind them, its own; -1,
    for none, is the last bundle of rank -1, which is as it was.
    """
    rank, bundle = np.divmod(own.trigger, n_bundles)
    samples = _samples(own)
    kept = np.concatenate([[0], np.cumsum(keep)])
    first, last = given.offsets[samples], given.offsets[samples + 1]
    # given spikes are in order of time, so that those that remain are the first ones
    rank = np.where(rank < last - first, rank, rank - (last - first) + kept[last] - kept[first])
    return rank * n_bundles + bundle


def _merged(parts: list[Part]) -> Chunk:
    """Return the parts of a chunk, of which the first has all samples, as one."""
    whole = parts[0].chunk
    if len(parts) == 1:
        return whole

    def joined(pieces: list[Spikes]) -> Spikes:
        samples = np.concatenate([p.samples[_samples(s)] for p, s in zip(parts, pieces, strict=True)])
        order = np.argsort(samples, kind="stable")
        columns = Spikes(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
        return _kept(columns, order)._replace(offsets=_offsets(samples, whole.n_samples))

    return whole._replace(
        spikes={name: joined([p.chunk.spikes[name] for p in parts]) for name in whole.spikes},
        queued={name: joined([p.chunk.queued[name] for p in parts]) for name in whole.queued},
    )
