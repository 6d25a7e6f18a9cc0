"""solve(): from a network and its input spikes to the exact record of every spike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from eventsolve.checks import count, seconds, shown
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.errors import Carrying
from eventsolve.kernels.tables import BUDGET
from eventsolve.magnitudes import warn_of_times
from eventsolve.network import LARGEST, Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.solution import Chunk, Graze, Solution
from eventsolve.solve_chunk import Stop, joined_trains, new_chunks, solve_chunk
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State

MAX_SPIKES = 10_000_000
"""Spikes that one sample of one layer may have unless told otherwise."""


class StoppedError(Carrying, RuntimeError):
    """The solver stopped before t_end, at ``time`` in seconds, at a neuron of a population in one sample.

    ``sentence`` says so; ``solution`` is everything before that time, of all samples.
    """

    def __init__(
        self, why: str, population: str, neuron: int, sample: int, time: float, problem: Problem
    ) -> None:
        self.sentence = f"neuron {neuron} of {population!r} in sample {sample} {why} {time!r} s"
        super().__init__(f"{self.sentence}; the error's .solution holds everything before that time")
        self.population, self.neuron, self.sample, self.time = population, neuron, sample, time
        self._problem = problem

    @cached_property
    def solution(self) -> Solution:
        """Everything before the time at which the solver stopped."""
        network, inputs, initial, max_spikes = self._problem
        before = math.nextafter(self.time, 0.0)
        try:
            return solve(network, inputs, before, initial=initial, max_spikes=max_spikes)
        except StoppedError as earlier:  # in another sample
            return earlier.solution


class SpikeBudgetError(StoppedError):
    """A sample has more spikes than ``max_spikes``, as a runaway loop has."""


class RepeatedSpikeError(StoppedError):
    """A neuron would spike twice at one time: its voltage is still, or to within float64 again, at its threshold.

    Two times that are one in float64, though their exact sums differ, are one time: a spike train has it once.
    """


def stopped_error(stop: Stop, problem: Problem) -> StoppedError:
    """Return the error that says where and why the solver stopped."""
    if stop.status == BUDGET:
        why = f"makes more than max_spikes = {problem.max_spikes} spikes of {', '.join(stop.layer)} at"
        return SpikeBudgetError(why, stop.population, stop.neuron, stop.sample, stop.time, problem)
    return RepeatedSpikeError(
        "would spike twice at", stop.population, stop.neuron, stop.sample, stop.time, problem
    )


class Problem(NamedTuple):
    """What solve() was asked."""

    network: Network
    inputs: Mapping[str, SpikeTrains]
    initial: State | None
    max_spikes: int


def solve(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    *,
    initial: State | None = None,
    max_spikes: int = MAX_SPIKES,
    threads: int | None = None,
) -> Solution:
    """Solve a network exactly.

    Parameters
    ----------
    network : Network
        Cannot be changed afterwards.
    inputs : mapping of str to SpikeTrains
        For every input of the network, all with the same number of samples. Spikes after t_end have no effect.
    t_end : float
        Seconds, >= 0.
    initial : State, optional
        Where a solution of this network, or of one with other numbers, stopped: ``solution.final_state``. V, I and
        refractory periods go on from what they were, by the numbers of this network. Spikes on their way arrive by the
        delays they were sent with; a network that has others where a spike is on its way is refused. Time goes on from
        there, so that inputs and t_end lie after it. By default V and I are the neurons' v_initial and i_initial at
        time 0.
    max_spikes : int
        How many spikes a sample may have in a population, or in the populations of a cycle.
    threads : int, optional
        Default: one per usable core. The result has the same bits for any number.

    Returns
    -------
    Solution

    Warns
    -----
    UnitWarning
        If a time constant, a delay or the first input is so far beyond t_end that milliseconds seem to be meant.

    Raises
    ------
    ValueError
        If inputs are missing, unknown, of the wrong size or of different batch sizes, t_end is not finite and >= 0, or
        the initial state does not fit, has a V that is not below this network's threshold, or spikes on their way
        over synapses or delays that are others here.
    SpikeBudgetError
        If a sample has more than max_spikes, as a runaway loop has.
    RepeatedSpikeError
        If a neuron would spike twice at one time.
    """
    problem = Problem(network, inputs, initial, count("max_spikes", max_spikes))
    t_end, n_samples, layers = checked_problem(problem, t_end)
    return solved(problem, t_end, n_samples, layers, threads)


def solved(
    problem: Problem, t_end: float, n_samples: int, layers: tuple[Layer, ...], threads: int | None
) -> Solution:
    """Return the solution of a problem that was checked."""
    network, inputs, initial, max_spikes = problem
    after, t_start = (-1.0, 0.0) if initial is None else (initial.time, initial.time)
    ranges = chunk_ranges(n_samples)
    new_chunk = new_chunks(layers, inputs, initial)

    def work(k: int) -> tuple[Chunk, list[Graze], Stop | None]:
        chunk = new_chunk(*ranges[k])
        return chunk, *solve_chunk(layers, chunk, after, t_end, max_spikes)

    results = map_chunks(work, len(ranges), threads)
    stops = [
        stop._replace(sample=low + stop.sample)
        for (low, _), (_, _, stop) in zip(ranges, results, strict=True)
        if stop is not None
    ]
    if stops:
        raise stopped_error(min(stops), problem)
    warnings = tuple(
        graze._replace(sample=low + graze.sample)
        for (low, _), (_, grazes, _) in zip(ranges, results, strict=True)
        for graze in grazes
    )
    chunks = tuple(chunk for chunk, _, _ in results)
    spikes = joined_trains(network, inputs, chunks, n_samples)
    require_later(network, spikes, initial)
    return Solution._trusted(network, t_start, t_end, spikes, warnings, n_samples, after, chunks)


def require_later(network: Network, spikes: Mapping[str, SpikeTrains], initial: State | None) -> None:
    """Raise a ValueError if a neuron spikes before the time of the state: none does that was solved up to it."""
    if initial is None:
        return
    for name, trains in spikes.items():
        solved = network.population(name).neuron is not None
        if solved and trains.n_spikes and trains.times.min() < initial.time:
            k = int(np.argmin(trains.times))
            raise ValueError(
                f"initial must be a state that was solved to its time, {initial.time!r} s; neuron "
                f"{int(trains.neurons[k])} of {name!r} in sample {int(trains.samples[k])} would have spiked before "
                f"that, at {float(trains.times[k])!r} s"
            )


def checked_problem(problem: Problem, t_end: float) -> tuple[float, int, tuple[Layer, ...]]:
    """Return t_end as a float, the number of samples and the layers, or raise as :func:`solve` does."""
    network, inputs, initial, _ = problem
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {shown(network)}")
    t_end = checked_duration(t_end)
    n_samples = _checked_inputs(network, inputs)
    warn_of_times(network, inputs, t_end)
    layers = layers_of(network)
    if initial is not None:
        _check_initial(network, inputs, n_samples, initial, t_end)
    return t_end, n_samples, layers


def checked_duration(t_end: float) -> float:
    """Return t_end as a float, or raise a ValueError that says what is wrong with it."""
    value = seconds("t_end", t_end)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"t_end must be finite and >= 0; got {t_end!r}")
    if value > LARGEST:
        raise ValueError(f"t_end must be at most 2**200 s, {LARGEST:.3g}; got {t_end!r}")
    return value


def _check_initial(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    n_samples: int,
    initial: State,
    t_end: float,
) -> None:
    if not isinstance(initial, State):
        raise TypeError(f"initial must be the final_state of a solution; got {type(initial).__name__}")
    initial.require_fit("initial", network)
    if initial.n_samples != n_samples:
        raise ValueError(f"initial has {initial.n_samples} samples, inputs have {n_samples}")
    if t_end < initial.time:
        raise ValueError(f"t_end must not be before the initial state's {initial.time!r} s; got {t_end!r}")
    initial.require_arrivals("initial", network)
    for name, trains in inputs.items():
        if trains.n_spikes and trains.times.min() <= initial.time:
            raise ValueError(
                f"inputs[{name!r}] must lie after the initial state's {initial.time!r} s; "
                f"got a spike at {float(trains.times.min())!r} s"
            )


def _checked_inputs(network: Network, inputs: Any) -> int:
    wanted = {name: p.size for name, p in network.populations.items() if p.neuron is None}
    if not isinstance(inputs, Mapping):
        example = "{" + ", ".join(f"{name!r}: trains" for name in sorted(wanted)) + "}"
        raise TypeError(
            f"inputs must be a mapping of input to SpikeTrains, here {example}; got {shown(inputs)}"
        )
    for name in inputs:
        if name not in wanted:
            raise ValueError(f"inputs name {name!r}, which is not an input; the inputs are {sorted(wanted)}")
    sizes = {}
    for name, size in wanted.items():
        if name not in inputs:
            raise ValueError(f"inputs lack {name!r}; the inputs are {sorted(wanted)}")
        trains = inputs[name]
        if not isinstance(trains, SpikeTrains):
            raise TypeError(f"inputs[{name!r}] must be SpikeTrains; got {type(trains).__name__}")
        if trains.n_neurons != size:
            raise ValueError(f"inputs[{name!r}] must have {size} neurons; got {trains.n_neurons}")
        sizes[name] = trains.n_samples
    if len(set(sizes.values())) > 1:
        raise ValueError(f"inputs must have one number of samples; got {sizes}")
    return next(iter(sizes.values()), 1)
