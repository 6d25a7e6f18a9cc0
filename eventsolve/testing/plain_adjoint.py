"""The adjoint of MODEL, Backward, event by event in plain Python, so that one thing in it can be wrong on purpose.

With :data:`RIGHT` it gives what :func:`eventsolve.value_and_grad` gives, to rounding, and shares no code with it;
every other :class:`Rules` is the gradient of an implementation with a known error. Slow: for problems of tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import exprel

from eventsolve.losses import Evaluation, read_at_nodes
from eventsolve.network import Network, Projection
from eventsolve.solution import Solution
from eventsolve.typing import Key, Reals


class Rules(NamedTuple):
    """What happens at events; the defaults are right.

    Attributes
    ----------
    current_share, voltage_share : float
        Of p_I/tau_syn and of p_V/tau_mem in dL/dt_del = w (p_I/tau_syn - p_V/tau_mem).
    reset_share : float
        Of the term -p_V+ V'+ in e_k.
    told_share : float
        Of the same in the dL/dt_k that is returned, if it is left out there alone.
    slope_after : bool
        Divide by V'+, the slope after the reset, in place of V'-.
    carries : bool
        Add -e_k/V'- to p_V at a spike, in place of setting p_V to it.
    drives : float
        Share of I in the slopes at a spike.
    jump_share : float
        Of -e_k/V'- at a spike.
    level : bool
        Divide by 1/tau_mem, no slope.
    first_only : bool
        No -e_k/V'- at any spike of a neuron but its first.
    back : Network or None
        The network that the way back sees, if it is another one: its weights, delays and neurons.
    """

    current_share: float = 1.0
    voltage_share: float = 1.0
    reset_share: float = 1.0
    told_share: float = 1.0
    slope_after: bool = False
    carries: bool = False
    drives: float = 1.0
    jump_share: float = 1.0
    level: bool = False
    first_only: bool = False
    back: Network | None = None


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


def work(solution: Solution) -> int:
    """Return about how many steps of plain Python an adjoint takes: neurons of all samples, and arrivals of spikes."""
    network, spikes = solution.network, solution.spikes
    arrivals = sum(
        spikes[p.pre].n_spikes * -(-p.weights.size // max(1, network.population(p.pre).size))
        for p in network.projections.values()
    )
    return arrivals + solution.n_samples * sum(p.size for p in network.populations.values())


def gradients(
    solution: Solution, evaluation: Evaluation, rules: Rules = RIGHT
) -> Mapping[str, Mapping[Any, Reals]] | None:
    """Return every sample's gradients by weights, delays and spike times, of a loss that was evaluated.

    Returns
    -------
    mapping of quantity to mapping of place to ndarray, or None
        "weight" and "delay" by projection, (n_samples, n_synapses) in the order of ``Projection.weights``;
        "spike_times" by population, (n_spikes,). None for what is not written out here: delta synapses, and losses
        that read a voltage at a place that moves with an arrival.
    """
    network = rules.back or solution.network
    evaluation = read_at_nodes(solution, evaluation)
    projections = network.projections
    if any(p.synapse == "delta" for p in projections.values()):
        return None
    if any((reads.arrivals != -1).any() for reads in evaluation.voltages.values()):
        return None
    shapes = {key: (solution.n_samples, p.weights.size) for key, p in projections.items()}
    weight = {key: np.zeros(shape) for key, shape in shapes.items()}
    delay = {key: np.zeros(shape) for key, shape in shapes.items()}
    errors = {name: np.zeros(trains.n_spikes) for name, trains in solution.spikes.items()}
    untold = {name: np.zeros(trains.n_spikes) for name, trains in solution.spikes.items()}
    for name, explicit in evaluation.spike_times.items():
        errors[name] += explicit
    neurons = {
        name: _parameters(network, name) for name, p in network.populations.items() if p.neuron is not None
    }
    slopes = {name: _slopes(solution, network, name, rules) for name in neurons}
    firsts = {name: _firsts(solution, name) for name in neurons}
    for sample in range(solution.n_samples):
        state = {name: np.zeros((2, network.population(name).size)) for name in neurons}
        since = {name: np.full(network.population(name).size, solution.t_end) for name in neurons}
        events, arrivals = _events(solution, network, evaluation.voltages, sample)
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
                own = -rules.reset_share * freed * released
                errors[name][event.place] += own
                untold[name][event.place] = (1.0 - rules.told_share) * own
                slope = 1.0 / tau_mem if rules.level else after if rules.slope_after else before
                with np.errstate(divide="ignore", invalid="ignore"):
                    jump = -rules.jump_share * errors[name][event.place] / slope
                if rules.first_only and not firsts[name][event.place]:
                    jump = 0.0
                state[name][0, n] = (freed if rules.carries else 0.0) + jump
    told = {name: values - untold[name] for name, values in errors.items()}
    return {"weight": weight, "delay": delay, "spike_times": told}


def _step_back(state: Reals, n: int, length: float, tau_mem: float, tau_syn: float) -> None:
    """Undo a stretch without events: p_V' = p_V/tau_mem, p_I' = p_I/tau_syn - p_V/tau_mem."""
    p_v, p_i = state[:, n]
    a, b = length / tau_mem, length / tau_syn
    drive = a * math.exp(-min(a, b)) * float(exprel(-abs(a - b)))
    state[:, n] = p_v * math.exp(-a), p_i * math.exp(-b) + p_v * drive


def _parameters(network: Network, name: str) -> dict[str, Reals]:
    population = network.population(name)
    return {
        key: population.parameter(key)
        for key in ("tau_mem", "tau_syn", "v_reset", "v_threshold", "v_leak", "t_ref")
    }


def _firsts(solution: Solution, name: str) -> NDArray[np.bool_]:
    """Say which spikes are the first of their neuron in their sample, (n_spikes,)."""
    trains = solution.spikes[name]
    found = np.zeros(trains.n_spikes, dtype=np.bool_)
    found[np.unique(np.stack([trains.samples, trains.neurons]), axis=1, return_index=True)[1]] = True
    return found


def _slopes(solution: Solution, network: Network, name: str, rules: Rules) -> tuple[Reals, Reals, Reals]:
    """Return V' of every spike just before it, with V at the reset, and when V is free again (0 after t_end)."""
    trains, p = solution.spikes[name], _parameters(network, name)
    if not trains.n_spikes:
        return np.empty(0), np.empty(0), np.empty(0)
    n = trains.neurons
    leak, tau = p["v_leak"][n], p["tau_mem"][n]
    free = trains.times + p["t_ref"][n]
    rows = np.arange(trains.n_spikes)
    at = solution.current(name, trains.times)[trains.samples, n, rows] - _arriving_with(solution, name)
    later = solution.current(name, np.minimum(free, solution.t_end))[trains.samples, n, rows]
    before = (leak - solution.network.population(name).parameter("v_threshold")[n] + rules.drives * at) / tau
    after = (leak - p["v_reset"][n] + rules.drives * at) / tau
    released = np.where(p["t_ref"][n] > 0, (leak - p["v_reset"][n] + later) / tau, after)
    return before, after, np.where(free <= solution.t_end, released, 0.0)


def _arriving_with(solution: Solution, name: str) -> Reals:
    """Return the weight that arrives at a neuron at the very time of its spike, which its slope does not feel yet."""
    trains = solution.spikes[name]
    total = np.zeros(trains.n_spikes)
    for p in solution.network.afferents(name):
        sources = solution.spikes[p.pre]
        for k in range(trains.n_spikes):
            for s in np.flatnonzero(p.targets == trains.neurons[k]):
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
    solution: Solution, network: Network, reads: Mapping[str, Any], sample: int
) -> tuple[list[_Event], list[_Arrival]]:
    """Return all events of a sample up to t_end, in no order, and what arrives."""
    events: list[_Event] = []
    arrivals: list[_Arrival] = []
    for name, read in reads.items():
        t_ref, own = network.population(name).parameter("t_ref"), solution.spikes[name]
        for k in np.flatnonzero(read.samples == sample):
            last = own.times[
                (own.samples == sample) & (own.neurons == read.neurons[k]) & (own.times <= read.times[k])
            ]
            if last.size and read.times[k] < last[-1] + t_ref[read.neurons[k]]:
                continue  # V is held: what is read there is v_reset
            events.append(_Event(float(read.times[k]), _READ, name, int(read.neurons[k]), int(k)))
    for name, trains in solution.spikes.items():
        t_ref = network.population(name).parameter("t_ref")
        efferents = [(p, p.targets, _by_source(p)) for p in network.projections.values() if p.pre == name]
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
                        events.append(_Event(arrival, _ARRIVAL, p.post, int(posts[s]), len(arrivals)))
                        arrivals.append(_Arrival(p.key, int(s), float(p.weights[s]), name, int(k)))
    return events, arrivals
