"""The adjoint of MODEL, Backward, event by event in plain Python, so that one thing in it can be wrong on purpose.

With :data:`RIGHT` it gives what :func:`eventsolve.value_and_grad` gives, to rounding, and shares no code with it;
every other :class:`Rules` is the gradient of an implementation with a known slip. Slow: for problems of tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import exprel

from eventsolve.losses import Loss
from eventsolve.network import Key, Projection
from eventsolve.solution import Solution

Reals = NDArray[np.float64]


class Rules(NamedTuple):
    """What happens at events; the defaults are right.

    Attributes
    ----------
    current_share, voltage_share : float
        Of p_I/tau_syn and of p_V/tau_mem in dL/dt_del = w (p_I/tau_syn - p_V/tau_mem).
    slope_after : bool
        Divide by V'+, the slope after the reset, in place of V'-.
    reset_term : bool
        Whether e_k has the term -p_V+ V'+.
    carries : bool
        Add -e_k/V'- to p_V at a spike, in place of setting p_V to it.
    delayed : bool
        Read the adjoint of the target at t_k + d, when the spike arrives, or at t_k.
    """

    current_share: float = 1.0
    voltage_share: float = 1.0
    slope_after: bool = False
    reset_term: bool = True
    carries: bool = False
    delayed: bool = True


RIGHT = Rules()

_READ, _ARRIVAL, _RELEASE, _SPIKE = range(4)
"""Kinds of event, in the order in which those at one time are undone."""


class _Event(NamedTuple):
    """``place`` is the arrival, the spike (also of a release), or the voltage read that it is."""

    time: float
    kind: int
    population: str
    neuron: int
    place: int


class _Arrival(NamedTuple):
    key: Key
    synapse: int
    weight: float
    source: str
    spike: int


def gradients(
    solution: Solution, loss: Loss, rules: Rules = RIGHT
) -> Mapping[str, Mapping[Any, Reals]] | None:
    """Return every sample's gradients by weights, delays and spike times.

    Returns
    -------
    mapping of quantity to mapping of place to ndarray, or None
        "weight" and "delay" by projection, (n_samples, n_synapses) in the order of ``Projection.weights``;
        "spike_times" by population, (n_spikes,). None for what is not written out here: delta synapses, and losses
        that read a voltage at a place that moves with an arrival.
    """
    network = solution.network
    projections = network.projections
    evaluation = loss.evaluate(solution)
    if any(p.synapse == "delta" for p in projections.values()):
        return None
    if any((reads.arrivals != -1).any() for reads in evaluation.voltages.values()):
        return None
    shapes = {key: (solution.n_samples, p.weights.size) for key, p in projections.items()}
    weight = {key: np.zeros(shape) for key, shape in shapes.items()}
    delay = {key: np.zeros(shape) for key, shape in shapes.items()}
    errors = {name: np.zeros(trains.n_spikes) for name, trains in solution.spikes.items()}
    for name, explicit in evaluation.spike_times.items():
        errors[name] += explicit
    neurons = {
        name: _parameters(solution, name) for name, p in network.populations.items() if p.neuron is not None
    }
    slopes = {name: _slopes(solution, name) for name in neurons}
    for sample in range(solution.n_samples):
        state = {name: np.zeros((2, network.population(name).size)) for name in neurons}
        since = {name: np.full(network.population(name).size, solution.t_end) for name in neurons}
        events, arrivals = _events(solution, evaluation.voltages, sample, rules)
        held: dict[tuple[str, int], float] = {}
        for event in sorted(events, key=lambda e: (-e.time, e.kind)):
            name, n = event.population, event.neuron
            if event.kind == _SPIKE and name not in neurons:
                continue
            p = neurons[name]
            tau_mem, tau_syn = p["tau_mem"][n], p["tau_syn"][n]
            _step_back(state[name], n, since[name][n] - event.time, tau_mem, tau_syn)
            since[name][n] = event.time
            p_v, p_i = state[name][:, n]
            if event.kind == _READ:
                state[name][0, n] += evaluation.voltages[name].cotangents[event.place]
            elif event.kind == _ARRIVAL:
                a = arrivals[event.place]
                moved = a.weight * (rules.current_share * p_i / tau_syn - rules.voltage_share * p_v / tau_mem)
                weight[a.key][sample, a.synapse] += p_i
                delay[a.key][sample, a.synapse] += moved
                errors[a.source][a.spike] += moved
            elif event.kind == _RELEASE:
                held[name, event.place] = p_v
                state[name][0, n] = 0.0
            else:
                before, after, released = (column[event.place] for column in slopes[name])
                freed = held.pop((name, event.place), p_v if p["t_ref"][n] == 0 else 0.0)
                if rules.reset_term:
                    errors[name][event.place] -= freed * released
                with np.errstate(divide="ignore", invalid="ignore"):
                    jump = -errors[name][event.place] / (after if rules.slope_after else before)
                state[name][0, n] = (freed if rules.carries else 0.0) + jump
    return {"weight": weight, "delay": delay, "spike_times": errors}


def _step_back(state: Reals, n: int, length: float, tau_mem: float, tau_syn: float) -> None:
    """Undo a stretch without events: p_V' = p_V/tau_mem, p_I' = p_I/tau_syn - p_V/tau_mem."""
    p_v, p_i = state[:, n]
    a, b = length / tau_mem, length / tau_syn
    drive = a * math.exp(-min(a, b)) * float(exprel(-abs(a - b)))
    state[:, n] = p_v * math.exp(-a), p_i * math.exp(-b) + p_v * drive


def _parameters(solution: Solution, name: str) -> dict[str, Reals]:
    population = solution.network.population(name)
    return {
        key: population.parameter(key)
        for key in ("tau_mem", "tau_syn", "v_reset", "v_threshold", "v_leak", "t_ref")
    }


def _slopes(solution: Solution, name: str) -> tuple[Reals, Reals, Reals]:
    """Return V' of every spike just before it, with V at the reset, and when V is free again (0 after t_end)."""
    trains, p = solution.spikes[name], _parameters(solution, name)
    if not trains.n_spikes:
        return np.empty(0), np.empty(0), np.empty(0)
    n = trains.neurons
    leak, tau = p["v_leak"][n], p["tau_mem"][n]
    free = trains.times + p["t_ref"][n]
    rows = np.arange(trains.n_spikes)
    at = solution.current(name, trains.times)[trains.samples, n, rows]
    own = _arriving_with(solution, name)
    later = solution.current(name, np.minimum(free, solution.t_end))[trains.samples, n, rows]
    before = (leak - p["v_threshold"][n] + at - own) / tau
    after = (leak - p["v_reset"][n] + at - own) / tau
    released = np.where(p["t_ref"][n] > 0, (leak - p["v_reset"][n] + later) / tau, after)
    return before, after, np.where(free <= solution.t_end, released, 0.0)


def _arriving_with(solution: Solution, name: str) -> Reals:
    """Return the weight that arrives at a neuron at the very time of its spike, which its slope does not feel yet."""
    trains = solution.spikes[name]
    total = np.zeros(trains.n_spikes)
    for p in solution.network.afferents(name):
        sources = solution.spikes[p.pre]
        posts = np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets))
        for k in range(trains.n_spikes):
            for s in np.flatnonzero(posts == trains.neurons[k]):
                here = (sources.samples == trains.samples[k]) & (sources.neurons == p.sources[s])
                arrived = sources.times[here] + p.delay[s] == trains.times[k]
                total[k] += p.weights[s] * np.count_nonzero(arrived)
    return total


def _by_source(projection: Projection) -> dict[int, list[int]]:
    """Return the synapses of every source neuron that has any, in their order."""
    synapses: dict[int, list[int]] = {}
    for s, source in enumerate(projection.sources.tolist()):
        synapses.setdefault(source, []).append(s)
    return synapses


def _events(
    solution: Solution, reads: Mapping[str, Any], sample: int, rules: Rules
) -> tuple[list[_Event], list[_Arrival]]:
    """Return all events of a sample up to t_end, in no order, and what arrives."""
    events: list[_Event] = []
    arrivals: list[_Arrival] = []
    for name, read in reads.items():
        t_ref, own = solution.network.population(name).parameter("t_ref"), solution.spikes[name]
        for k in np.flatnonzero(read.samples == sample):
            last = own.times[
                (own.samples == sample) & (own.neurons == read.neurons[k]) & (own.times <= read.times[k])
            ]
            if last.size and read.times[k] < last[-1] + t_ref[read.neurons[k]]:
                continue  # V is held: what is read there is v_reset
            events.append(_Event(float(read.times[k]), _READ, name, int(read.neurons[k]), int(k)))
    for name, trains in solution.spikes.items():
        t_ref = solution.network.population(name).parameter("t_ref")
        efferents = [
            (p, np.repeat(np.arange(p.row_offsets.size - 1), np.diff(p.row_offsets)), _by_source(p))
            for p in solution.network.projections.values()
            if p.pre == name
        ]
        for k in np.flatnonzero(trains.samples == sample):
            time, neuron = float(trains.times[k]), int(trains.neurons[k])
            if time > solution.t_end:
                continue
            events.append(_Event(time, _SPIKE, name, neuron, int(k)))
            free = time + float(t_ref[neuron])
            if time < free <= solution.t_end:
                events.append(_Event(free, _RELEASE, name, neuron, int(k)))
            for p, posts, synapses in efferents:
                for s in synapses.get(neuron, []):
                    arrival = time + float(p.delay[s])
                    if arrival <= solution.t_end:
                        felt = arrival if rules.delayed else time
                        events.append(_Event(felt, _ARRIVAL, p.post, int(posts[s]), len(arrivals)))
                        arrivals.append(_Arrival(p.key, int(s), float(p.weights[s]), name, int(k)))
    return events, arrivals
