"""What clocked implementations share: steps of time, the networks that they run, and spikes on a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

import networkx as nx
import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve.checks import refuse_units
from eventsolve.network import LIF, Network
from eventsolve.typing import Integers, Reals

InputRounding: TypeAlias = Literal["nearest", "up", "down", "half_up", "next", "truncated"]


def in_steps(times: Reals, time_step: float, rounding: InputRounding = "nearest") -> Integers:
    """Return times in whole steps.

    That is the nearest, ties to the even one, or up ("half_up"); the next "up" or "down"; the "next" one, which is
    later even than a time on a point; or the quotient in float64, "truncated" as it is.

    A time within the rounding of its own representation of a point is on that point, which matters to "up" and "down":
    3.3e-3 s divided by 1e-4 s is 33 in seconds, not in float64.
    """
    exact = np.asarray(times, dtype=np.float64) / time_step
    if rounding == "truncated":
        return np.floor(exact).astype(np.int64)
    nearest = np.rint(exact)
    if rounding == "nearest":
        return nearest.astype(np.int64)
    # times, time_step and the quotient are each rounded by half an eps at most
    few = 2 * np.finfo(np.float64).eps * np.maximum(nearest, 1.0)
    if rounding == "half_up":
        return np.floor(exact + 0.5 + few).astype(np.int64)
    on_grid = np.abs(exact - nearest) <= few
    moved = np.floor(exact) if rounding == "down" else np.ceil(exact)
    if rounding == "next":
        return np.where(on_grid, nearest + 1, moved).astype(np.int64)
    return np.where(on_grid, nearest, moved).astype(np.int64)


def to_steps(
    name: str, trains: es.SpikeTrains, time_step: float, rounding: InputRounding = "nearest"
) -> Integers:
    """Return the grid points of input spikes, in the order of the trains, as :func:`in_steps` rounds.

    Raises
    ------
    ValueError
        If two spikes of a neuron fall on one point.
    """
    steps = in_steps(trains.times, time_step, rounding)
    order = np.lexsort((steps, trains.neurons, trains.samples))
    same = np.ones(max(0, steps.size - 1), dtype=bool)
    for column in (steps, trains.neurons, trains.samples):
        same &= np.diff(column[order]) == 0
    if same.any():
        k = int(np.argmax(same))
        first, second = order[k], order[k + 1]
        others = int(np.count_nonzero(same)) - 1
        raise ValueError(
            f"a neuron can send one spike per step of {time_step!r} s; in sample {trains.samples[first]}, neuron "
            f"{trains.neurons[first]} of input {name!r} spikes at {float(trains.times[first])!r} s and "
            f"{float(trains.times[second])!r} s, both in step {steps[first]}"
            + (f"; there are {others} more such pairs" if others else "")
            + "; take a finer step, or give the second spike a channel of its own with the same weights"
        )
    return steps


MOST_STEPS = 2**31 - 1
"""More than that no clock that is modelled here can count."""


def number_of_steps(t_end: float, time_step: float) -> int:
    """Return how many time steps t_end is, rounded; at least one and at most MOST_STEPS, or a ValueError."""
    refuse_units("t_end", t_end, "a number of seconds")
    n_steps = t_end / time_step
    if not (math.isfinite(t_end) and round(min(n_steps, MOST_STEPS)) >= 1):
        raise ValueError(f"t_end must be at least one time step of {time_step!r} s; got {t_end!r}")
    if n_steps > MOST_STEPS:
        raise ValueError(f"t_end must be at most {MOST_STEPS} time steps of {time_step!r} s; got {t_end!r}")
    return round(n_steps)


def number_of_samples(network: Network, inputs: Mapping[str, es.SpikeTrains]) -> int:
    """Return the number of samples, or raise a ValueError if the inputs do not fit the network or each other."""
    expected = {p.name: p.size for p in network.populations.values() if p.neuron is None}
    if set(inputs) != set(expected):
        raise ValueError(f"inputs must be given for {sorted(expected)}; got {sorted(inputs)}")
    if not inputs:
        raise ValueError("the network has no input, which says how many samples there are")
    for name, trains in inputs.items():
        if trains.n_neurons != expected[name]:
            raise ValueError(
                f"input {name!r} has {expected[name]} neurons; the spikes are of {trains.n_neurons}"
            )
    counts = {trains.n_samples for trains in inputs.values()}
    if len(counts) != 1:
        raise ValueError(f"inputs must have one number of samples; got {sorted(counts)}")
    return counts.pop()


def check_network(network: Network, what: str) -> None:
    """Raise a ValueError unless the network is one that time-stepped implementations run.

    It must be feed-forward, of LIF neurons without refractory period that start at 0 and are reset to a value, with
    dense weights of exponential synapses.
    """
    for population in network.populations.values():
        neuron = population.neuron
        if neuron is not None and not isinstance(neuron, LIF):
            raise ValueError(
                f"population {population.name!r} is {type(neuron).__name__}; {what} runs LIF only"
            )
        if neuron is not None and neuron.reset != "value":
            raise ValueError(f"reset of population {population.name!r} must be 'value': {what} has no other")
        for name in ("t_ref", "v_initial", "i_initial"):
            if np.any(population.parameter(name) != 0):
                raise ValueError(f"{name} of population {population.name!r} must be 0: {what} has none")
    for projection in network.projections.values():
        if projection.synapse != "exponential":
            raise ValueError(f"synapse of {projection.key} must be 'exponential': {what} has no other")
        if sp.issparse(projection.weight):
            raise ValueError(f"weight of {projection.key} is sparse; {what} holds a dense matrix")
    if not nx.is_directed_acyclic_graph(network.graph):
        edges = nx.find_cycle(network.graph)
        cycle = " -> ".join([edge[0] for edge in edges] + [edges[0][0]])
        raise ValueError(f"the network is recurrent ({cycle}); {what} runs feed-forward networks")


def grid_trains(
    steps: Integers, neurons: Integers, samples: Integers, shape: tuple[int, int], time_step: float
) -> tuple[es.SpikeTrains, Integers]:
    """Return spikes at grid points, and the place in the arguments from which each of them came.

    ``shape`` is (n_samples, n_neurons).
    """
    order = np.lexsort((neurons, steps, samples))
    trains = es.SpikeTrains.from_arrays(
        steps[order] * time_step, neurons[order], samples[order], n_samples=shape[0], n_neurons=shape[1]
    )
    return trains, order
