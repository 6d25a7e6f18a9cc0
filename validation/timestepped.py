r"""A float64 network on a time grid with exact propagators: what EventProp on a GPU typically computes.

Between grid points the state is exact; spikes, arrivals and resets happen on grid points only. At point k, h apart:

    I[k] = exp(-h/tau_syn) I[k-1]+
    V[k] = v_leak + exp(-h/tau_mem) (V[k-1]+ - v_leak) + K I[k-1]+,   K as in MODEL, Forward
    spike where V[k] > v_threshold:  V[k]+ = v_reset
    I[k]+ = I[k] + weights of the spikes that arrive at k

The adjoint is the transpose of these propagators, with the jump of the exact adjoint (MODEL, Backward) at spikes,
whose slope is taken at the grid point: V'- = (v_leak - V[k] + I[k]) / tau_mem.

The functions on grids and losses below serve every time-stepped implementation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import networkx as nx
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import exprel, logsumexp

import eventsolve as es
from eventsolve.checks import duration, refuse_units
from eventsolve.magnitudes import warn_of_step
from eventsolve.network import LIF, Key, Network, Population, Projection
from validation.target import Record, Trace

Reals: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Silent: TypeAlias = Literal["raise", "skip", "t_end"]

# -- what time-stepped implementations share


def to_steps(name: str, trains: es.SpikeTrains, time_step: float) -> Integers:
    """Return the grid points of input spikes, in the order of the trains: the nearest, ties to the even one.

    Raises
    ------
    ValueError
        If two spikes of a neuron fall on one point.
    """
    steps = np.rint(trains.times / time_step).astype(np.int64)
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
        )
    return steps


def number_of_steps(t_end: float, time_step: float) -> int:
    """Return how many time steps t_end is, rounded; at least one, or a ValueError."""
    refuse_units("t_end", t_end, "a number of seconds")
    if not (math.isfinite(t_end) and round(t_end / time_step) >= 1):
        raise ValueError(f"t_end must be at least one time step of {time_step!r} s; got {t_end!r}")
    return round(t_end / time_step)


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


class TTFSLoss(NamedTuple):
    """What a time-stepped implementation reads of a time-to-first-spike cross-entropy; seconds."""

    population: str
    labels: Integers
    tau0: float
    tau1: float
    alpha: float
    silent: Silent


def read_loss(loss: Any, network: Network, n_samples: int) -> TTFSLoss:
    """Return the attributes of a loss, or raise a ValueError if it is another one or does not fit the network."""
    missing = [name for name in TTFSLoss._fields if not hasattr(loss, name)]
    if missing:
        raise ValueError(
            f"loss must be a time-to-first-spike cross-entropy; {type(loss).__name__} has no {', '.join(missing)}"
        )
    output = network.population(loss.population)
    if output.neuron is None:
        raise ValueError(f"the loss reads {output.name!r}, which is an input")
    labels = np.asarray(loss.labels)
    if labels.shape != (n_samples,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers of shape ({n_samples},); got {labels.dtype} of shape {labels.shape}"
        )
    if ((labels < 0) | (labels >= output.size)).any():
        raise ValueError(f"labels must lie in 0..{output.size - 1}; got {labels.min()} to {labels.max()}")
    if loss.silent not in ("raise", "skip", "t_end"):
        raise ValueError(f"silent must be 'raise', 'skip' or 't_end'; got {loss.silent!r}")
    return TTFSLoss(output.name, labels.astype(np.int64), loss.tau0, loss.tau1, loss.alpha, loss.silent)


def refuse_silent(population: str, silent: NDArray[np.bool_]) -> None:
    """Raise the ValueError for samples whose label is silent, if there are any."""
    if silent.any():
        where = np.flatnonzero(silent)
        listed = ", ".join(str(s) for s in where[:10]) + (", ..." if where.size > 10 else "")
        raise ValueError(
            f"the label's output in {population!r} is silent in {where.size} of {silent.size} samples ({listed}), "
            "where the loss is not defined; choose silent='skip' or silent='t_end' to go on without them"
        )


def first_spike_loss(loss: TTFSLoss, first: Reals, t_end: float) -> tuple[Reals, Reals]:
    """Return t_y/tau0 + ln sum exp(-t/tau0) + alpha (exp(t_y/tau1) - 1) of each sample, and its derivative by t.

    Parameters
    ----------
    loss : TTFSLoss
    first : ndarray of float64, (n_samples, n_neurons)
        First spike times in seconds, inf where silent.
    t_end : float
        Seconds: what a silent output counts as under the policy "t_end", without a derivative.

    Returns
    -------
    values : ndarray of float64, (n_samples,)
    slopes : ndarray of float64, (n_samples, n_neurons)
        1/s.
    """
    silent = np.isinf(first)
    first = np.where(silent, t_end, first) if loss.silent == "t_end" else first.copy()
    rows = np.arange(len(first))
    missing = np.isinf(first[rows, loss.labels])
    if loss.silent == "raise":
        refuse_silent(loss.population, missing)
    first[missing] = 0.0
    label = first[rows, loss.labels]
    exponents = -first / loss.tau0
    total = logsumexp(exponents, axis=1)
    values = label / loss.tau0 + total + loss.alpha * np.expm1(label / loss.tau1)
    slopes = -np.exp(exponents - total[:, None]) / loss.tau0
    slopes[rows, loss.labels] += 1 / loss.tau0 + loss.alpha / loss.tau1 * np.exp(label / loss.tau1)
    slopes[silent | missing[:, None]] = 0.0
    return np.where(missing, 0.0, values), slopes


# -- the implementation


class _Layer(NamedTuple):
    """One population: its forward history, (n_steps + 1, n_samples, n_neurons); spikes are (n_spikes,), by step."""

    current: Reals
    voltage: Reals
    steps: Integers
    samples: Integers
    neurons: Integers


class _Constants(NamedTuple):
    """Of one population, (n_neurons,): decays over one step, K, and the parameters of its neurons."""

    decay_syn: Reals
    decay_mem: Reals
    transfer: Reals
    tau_syn: Reals
    tau_mem: Reals
    v_threshold: Reals
    v_reset: Reals
    v_leak: Reals


@dataclass(frozen=True)
class TimeStepped:
    """Networks on a time grid with exact propagators; see the module docstring.

    It runs feed-forward LIF networks with parameters per neuron, without refractory periods, with dense weights, delays
    on the grid, and time-to-first-spike cross-entropy. Input spikes are moved to the nearest grid point.

    Parameters
    ----------
    time_step : float
        Seconds.
    """

    time_step: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))

    @property
    def name(self) -> str:
        """Of the implementation and its time step."""
        return f"time-stepped, {self.time_step * 1e3:g} ms, float64"

    def run(self, network: Network, inputs: Mapping[str, es.SpikeTrains], t_end: float, loss: Any) -> Record:
        """Run the network forward and backward on a batch.

        Parameters
        ----------
        network : Network
        inputs : mapping of str to SpikeTrains
        t_end : float
            Seconds, rounded to the grid; spikes are detected from the first grid point after 0 up to t_end.
        loss : eventsolve.losses.TTFSCrossEntropy
            Or anything with its attributes.

        Returns
        -------
        Record
            Traces are left limits: before the reset, and before spikes arrive. ``counters["falling_crossings"]`` counts
            spikes whose voltage had passed its peak when the grid saw it above threshold; their slope, and with it the
            sign of their gradient, is wrong.

        Raises
        ------
        ValueError
            If the network, the inputs or the loss are not among those that the class docstring lists.
        """
        check_network(network, "the time-stepped network")
        n_samples = number_of_samples(network, inputs)
        n_steps = number_of_steps(t_end, self.time_step)
        warn_of_step(self.time_step, network)
        reading = read_loss(loss, network, n_samples)
        delays = {key: self._delay_steps(p) for key, p in network.projections.items()}
        order = list(nx.topological_sort(network.graph))
        populations = network.populations
        constants = {
            name: self._constants(populations[name]) for name in order if populations[name].neuron is not None
        }
        layers: dict[str, _Layer] = {}
        for name in order:
            if name in inputs:
                steps = to_steps(name, inputs[name], self.time_step)
                layers[name] = _Layer(
                    np.empty(0), np.empty(0), steps, inputs[name].samples, inputs[name].neurons
                )
                continue
            shape = (n_steps + 1, n_samples, populations[name].size)
            arriving = np.zeros(shape)
            for p in network.afferents(name):
                place, _, synapse = _arrivals(layers[p.pre], delays[p.key], n_steps)
                np.add.at(arriving, place, p.weight[synapse])
            layers[name] = _forward(constants[name], arriving)

        outputs = layers[reading.population]
        values, errors = _evaluate(
            reading,
            outputs,
            (n_samples, populations[reading.population].size),
            self.time_step * n_steps,
            self.time_step,
        )
        spike_errors = {name: np.zeros(layer.steps.size) for name, layer in layers.items()}
        spike_errors[reading.population] += errors
        weight: dict[Key, Reals] = {}
        falling = 0
        for name in reversed(order):
            if name in inputs:
                continue
            c, layer = constants[name], layers[name]
            p_i, p_v, falls = _backward(c, layer, spike_errors[name])
            falling += falls
            for p in network.afferents(name):
                place, spike, (post, pre) = _arrivals(layers[p.pre], delays[p.key], n_steps)
                weight[p.key] = np.zeros((n_samples, *p.weight.shape))
                np.add.at(weight[p.key], (place[1], post, pre), p_i[place])
                moved = p.weight[post, pre] * (p_i[place] / c.tau_syn[post] - p_v[place] / c.tau_mem[post])
                np.add.at(spike_errors[p.pre], spike, moved)

        spikes, sorted_errors = {}, {}
        for name, population in populations.items():
            layer = layers[name]
            spikes[name], places = grid_trains(
                layer.steps, layer.neurons, layer.samples, (n_samples, population.size), self.time_step
            )
            sorted_errors[name] = spike_errors[name][places]
        times = np.arange(n_steps + 1, dtype=np.float64) * self.time_step
        return Record(
            name=self.name,
            spikes=spikes,
            loss=values,
            spike_times=sorted_errors,
            weight={key: weight[key] for key in network.projections},
            time_step=self.time_step,
            traces={
                name: Trace(
                    times, layers[name].voltage.transpose(1, 2, 0), layers[name].current.transpose(1, 2, 0)
                )
                for name in constants
            },
            counters={"falling_crossings": falling},
        )

    def _delay_steps(self, projection: Projection) -> Integers:
        """Return the delays in steps, (n_post, n_pre)."""
        delay = projection.delay.reshape(projection.weight.shape) / self.time_step
        steps = np.rint(delay)
        off = np.abs(delay - steps) > 1e-9 * np.maximum(1.0, steps)
        if off.any():
            post, pre = (int(i) for i in np.argwhere(off)[0])
            raise ValueError(
                f"delays of {projection.key} must be multiples of the time step of {self.time_step!r} s; "
                f"that from neuron {pre} to neuron {post} is {float(delay[post, pre] * self.time_step)!r} s"
            )
        return steps.astype(np.int64)

    def _constants(self, population: Population) -> _Constants:
        tau_mem, tau_syn = population.parameter("tau_mem"), population.parameter("tau_syn")
        a, b = self.time_step / tau_mem, self.time_step / tau_syn
        return _Constants(
            np.exp(-b),
            np.exp(-a),
            a * np.exp(-np.minimum(a, b)) * exprel(-np.abs(a - b)),
            tau_syn,
            tau_mem,
            *(population.parameter(name) for name in ("v_threshold", "v_reset", "v_leak")),
        )


def _arrivals(
    source: _Layer, delays: Integers, n_steps: int
) -> tuple[tuple[Integers, Integers, Integers], Integers, tuple[Integers, Integers]]:
    """Return where spikes arrive: (step, sample, target neuron), the spike, and the synapse (post, pre)."""
    n_post = delays.shape[0]
    steps = source.steps[:, None] + delays.T[source.neurons]
    spike, post = np.nonzero(steps <= n_steps) if n_post else (np.empty(0, np.int64), np.empty(0, np.int64))
    return (steps[spike, post], source.samples[spike], post), spike, (post, source.neurons[spike])


def _forward(c: _Constants, arriving: Reals) -> _Layer:
    """Run one population; ``arriving`` is the jump of the current at every grid point."""
    currents, voltages = np.zeros_like(arriving), np.zeros_like(arriving)
    current, voltage = arriving[0].copy(), np.zeros_like(arriving[0])
    found: list[tuple[Integers, Integers, Integers]] = []
    for k in range(1, len(arriving)):
        voltages[k] = voltage = c.v_leak + c.decay_mem * (voltage - c.v_leak) + c.transfer * current
        currents[k] = current = c.decay_syn * current
        fired = voltage > c.v_threshold
        samples, neurons = np.nonzero(fired)
        found.append((np.full(samples.size, k), samples, neurons))
        voltage = np.where(fired, c.v_reset, voltage)
        current = current + arriving[k]
    nothing = np.empty(0, np.int64)
    steps, samples, neurons = (np.concatenate([nothing, *column]) for column in zip(*found, strict=True))
    return _Layer(currents, voltages, steps, samples, neurons)


def _backward(c: _Constants, layer: _Layer, errors: Reals) -> tuple[Reals, Reals, int]:
    """Run the adjoint of one population.

    ``errors`` holds what is known of dL/dt_k, and is completed in place by the term -p_V+ V'+ (MODEL, Backward).

    Returns
    -------
    p_i, p_v : ndarray of float64, (n_steps + 1, n_samples, n_neurons)
        dL/dI and dL/dV just after each grid point.
    falling : int
        Spikes whose slope is not positive.
    """
    p_i, p_v = np.zeros_like(layer.current), np.zeros_like(layer.voltage)
    bounds = np.searchsorted(layer.steps, np.arange(len(p_i) + 1))
    falling = 0
    for k in range(len(p_i) - 1, 0, -1):
        after_v = p_v[k]
        before_v = after_v.copy()
        spikes = slice(bounds[k], bounds[k + 1])
        if spikes.start < spikes.stop:
            here = layer.samples[spikes], layer.neurons[spikes]
            n = here[1]
            current, voltage = layer.current[k][here], layer.voltage[k][here]
            slope = (c.v_leak[n] - voltage + current) / c.tau_mem[n]
            slope_after = (c.v_leak[n] - c.v_reset[n] + current) / c.tau_mem[n]
            errors[spikes] -= after_v[here] * slope_after
            with np.errstate(divide="ignore", invalid="ignore"):
                before_v[here] = -errors[spikes] / slope
            falling += int(np.count_nonzero(slope <= 0))
        p_v[k - 1] = c.decay_mem * before_v
        p_i[k - 1] = c.decay_syn * p_i[k] + c.transfer * before_v
    return p_i, p_v, falling


def _evaluate(
    loss: TTFSLoss, output: _Layer, shape: tuple[int, int], t_end: float, time_step: float
) -> tuple[Reals, Reals]:
    """Return the loss of each sample, and its derivative by spike."""
    first = np.full(shape, np.inf)
    where = np.full(shape, -1, dtype=np.int64)
    _, earliest = np.unique(
        output.samples * shape[1] + output.neurons, return_index=True
    )  # spikes are by step
    place = output.samples[earliest], output.neurons[earliest]
    first[place], where[place] = output.steps[earliest] * time_step, earliest
    values, slopes = first_spike_loss(loss, first, t_end)
    errors = np.zeros(output.steps.size)
    errors[where[where >= 0]] = slopes[where >= 0]
    return values, errors
