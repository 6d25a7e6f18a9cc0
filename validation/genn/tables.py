"""A network as GeNN runs it: what its kernels take, in GeNN's units, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy.special import exprel

import eventsolve as es
from eventsolve.network import Network, Population
from eventsolve.typing import Integers, Key
from validation.genn.causes import Causes
from validation.genn.clock import Clock, Floats, milliseconds
from validation.genn.kernels.tables import Neurons, Projections, Synapses
from validation.grid.kernels.tables import Events
from validation.grid.steps import in_steps

Variant: TypeAlias = Literal["mlgenn", "genn_eventprop"]

LONGEST_DELAY = 65534
"""Steps: mlGeNN's compiler refuses more than 65535, counting one for a spike without delay."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A network as the kernels take it.

    Attributes
    ----------
    network : Network
    neurons : Neurons
    projections : Projections
    synapses : Synapses
    sources, populations : mapping of str to int
        The first source, and the first neuron, of each population.
    order : tuple of ndarray of int64
        For every projection which of its synapses, as :class:`eventsolve.network.Projection` has them, each of the
        kernels' is; these have the projections one after the other.
    rounded : mapping of (pre, post) to (int, float)
        How many of a projection's delays are no whole numbers of steps, and by how many seconds at most they are moved.
    """

    network: Network
    neurons: Neurons
    projections: Projections
    synapses: Synapses
    sources: Mapping[str, int]
    populations: Mapping[str, int]
    order: tuple[Integers, ...]
    rounded: Mapping[Key, tuple[int, float]]

    def by_projection(self, values: Floats, factor: float = 1.0) -> dict[Key, Any]:
        """Return values by synapse, (n_samples, n_synapses), in the layout of each weight, samples first.

        They are float64, and multiplied by a factor.
        """
        found, first = {}, 0
        for (key, p), order in zip(self.network.projections.items(), self.order, strict=True):
            own = values[:, first : first + p.weights.size]
            first += p.weights.size
            if isinstance(p.weight, np.ndarray):  # whose order is that of the other layout
                n_post, n_pre = p.weight.shape
                by_source = np.multiply(own, factor, dtype=np.float64).reshape(-1, n_pre, n_post)
                found[key] = by_source.transpose(0, 2, 1)
                continue
            sorted_back: Any = np.empty(own.shape)
            sorted_back[:, order] = own
            found[key] = p.shaped(sorted_back * factor)
        return found


def tables_of(network: Network, time_step: float, kind: Any, causes: Causes, variant: Variant) -> Tables:
    """Return the tables of a network.

    Parameters
    ----------
    network : Network
    time_step : float
        Seconds.
    kind : type
        Of the floats.
    causes : Causes
    variant : {"mlgenn", "genn_eventprop"}

    Raises
    ------
    ValueError
        If GeNN cannot run the network.
    """
    check_network(network)
    (check_mlgenn if variant == "mlgenn" else check_paper)(network)
    populations = [p for p in network.populations.values() if p.neuron is not None]
    inputs = [p for p in network.populations.values() if p.neuron is None]
    sources, firsts = {}, {}
    count = 0
    for p in inputs:
        sources[p.name] = count
        count += p.size
    n_inputs = count
    for p in populations:
        sources[p.name], firsts[p.name] = count, count - n_inputs
        count += p.size
    rounded: dict[Key, tuple[int, float]] = {}
    channel, places, columns, rows, orders = 0, [], [], [], []
    n_synapses = 0
    for projection in network.projections.values():
        steps = _delays(projection, time_step, rounded)
        n_targets, first = network.population(projection.post).size, firsts[projection.post]
        targets = projection.targets
        pre = projection.sources + sources[projection.pre]
        if isinstance(projection.weight, np.ndarray):
            order = np.arange(pre.size).reshape(projection.weight.shape).T.ravel()
        else:
            order = np.lexsort((targets, pre))
        pre, targets = pre[order], targets[order]
        begins = np.flatnonzero(np.diff(pre, prepend=-1))
        length = np.diff(np.append(begins, pre.size))
        same = np.ones_like(begins)
        rows.append(
            (
                pre[begins],
                begins + n_synapses,
                length,
                channel * same,
                first * same,
                length == n_targets,
                np.full(begins.size, steps.any()),
            )
        )
        columns.append((projection.weights[order].astype(kind), targets, steps[order]))
        places.append((channel, first, n_targets))
        orders.append(order)
        channel += n_targets
        n_synapses += pre.size
    nothing: list[Any] = [np.empty(0, kind)] + [np.empty(0, np.int64)] * 2
    weights, target, steps = (np.concatenate(c) for c in zip(nothing, *columns, strict=True))
    no_row: list[Any] = [np.empty(0, np.int64)] * 5 + [np.empty(0, np.bool_)] * 2
    by_column = [np.concatenate(c) for c in zip(no_row, *rows, strict=True)]
    by_source = np.argsort(by_column[0], kind="stable")
    of_source, begin, length, of_channel, of_post, dense, delayed = (c[by_source] for c in by_column)
    synapses = Synapses(
        weights,
        target,
        steps,
        np.searchsorted(of_source, np.arange(count + 1)),
        begin,
        length,
        of_channel,
        of_post,
        dense,
        delayed,
        n_inputs,
        int(steps.max(initial=0)),
    )
    by_projection = np.array(places, dtype=np.int64).reshape(-1, 3)
    return Tables(
        network,
        _neurons(populations, time_step, kind, causes, not causes.gain or variant != "mlgenn"),
        Projections(*(by_projection[:, k].copy() for k in range(3))),
        synapses,
        sources,
        firsts,
        tuple(orders),
        rounded,
    )


def _neurons(
    populations: list[Population], time_step: float, kind: Any, causes: Causes, exact: bool
) -> Neurons:
    """Return the constants of all neurons, computed in float64 and rounded once, as mlGeNN's compiler does."""
    dt, columns = milliseconds(time_step), []
    for p in populations:
        of = {name: p.parameter(name) for name in ("v_threshold", "v_reset", "v_initial", "v_leak")}
        tau_mem, tau_syn, t_ref = (
            np.array([milliseconds(x) for x in p.parameter(name)]) for name in ("tau_mem", "tau_syn", "t_ref")
        )
        alpha, beta = np.exp(-dt / tau_mem), np.exp(-dt / tau_syn)
        same = tau_mem == tau_syn
        scale, slope = tau_syn / dt * (1.0 - beta), dt / (tau_syn * (1.0 - beta))
        drive = kind(1.0) - alpha.astype(kind)
        if exact:
            drive = dt / tau_mem * alpha * exprel(dt / tau_mem - dt / tau_syn)
            scale = slope = np.ones(p.size)
        if not causes.late_current:
            slope = slope * beta
        swing = of["v_threshold"] - (0.0 if causes.zero_reset else of["v_reset"])
        columns.append(
            Neurons(
                alpha=alpha,
                beta=beta,
                scale=scale,
                drive=drive,
                slope=slope,
                a=np.where(same, dt / tau_syn, tau_mem / np.where(same, 1.0, tau_mem - tau_syn)),
                spread=np.where(same, beta, alpha.astype(kind) - beta.astype(kind)),
                tau_syn=tau_syn,
                bias=(1.0 - alpha) * of["v_leak"],
                v_initial=of["v_initial"],
                theta=of["v_threshold"],
                v_reset=of["v_reset"],
                t_ref=t_ref,
                swing=swing,
                subtracts=np.full(p.size, getattr(p.neuron, "reset", "value") == "subtract"),
            )
        )
    return Neurons(
        *(
            np.concatenate([np.empty(0), *(c[k] for c in columns)]).astype(
                np.bool_ if name == "subtracts" else kind
            )
            for k, name in enumerate(Neurons._fields)
        )
    )


def _delays(
    projection: es.network.Projection, time_step: float, rounded: dict[Key, tuple[int, float]]
) -> Integers:
    """Return the delays of a projection in steps, the nearest, as mlGeNN rounds those of an array."""
    steps = in_steps(projection.delay, time_step)
    if steps.max(initial=0) > LONGEST_DELAY:
        raise ValueError(
            f"delay of {projection.key} is up to {int(steps.max())} steps of {time_step!r} s; GeNN's buffer has room "
            f"for {LONGEST_DELAY}"
        )
    off = np.abs(projection.delay - steps * time_step)
    count = int(
        np.count_nonzero(off > 2 * np.finfo(np.float64).eps * np.maximum(projection.delay, time_step))
    )
    if count:
        rounded[projection.key] = (count, float(off.max()))
    return steps


def check_network(network: Network) -> None:
    """Raise a ValueError unless mlGeNN's EventProp compiler runs the network."""
    for population in network.populations.values():
        neuron, name = population.neuron, population.name
        if neuron is None:
            continue
        if np.any(population.parameter("i_initial") != 0):
            raise ValueError(f"i_initial of population {name!r} must be 0: GeNN starts without currents")
        if neuron.spiking and np.any(population.parameter("v_leak") != 0):
            raise ValueError(
                f"v_leak of population {name!r} must be 0: mlGeNN's LIF has no bias, only its LI has"
            )
    for projection in network.projections.values():
        if projection.synapse != "exponential":
            raise ValueError(
                f"synapse of {projection.key} must be 'exponential': mlGeNN's EventProp compiler knows no other"
            )


def check_mlgenn(network: Network) -> None:
    """Raise a ValueError unless mlGeNN's EventProp compiler takes the time constants."""
    for name, population in network.populations.items():
        if population.neuron is None:
            continue
        for parameter in ("tau_mem", "tau_syn"):
            values = population.parameter(parameter)
            if np.unique(values).size > 1:
                raise ValueError(
                    f"{parameter} of population {name!r} differs between neurons, {float(values.min())!r} to "
                    f"{float(values.max())!r} s; mlGeNN's EventProp compiler takes one for all"
                )
        same = population.parameter("tau_mem") == population.parameter("tau_syn")
        if same.any():
            raise ValueError(
                f"tau_mem and tau_syn of population {name!r} are equal at neuron {int(np.argmax(same))}, where "
                "GeNN divides tau_mem by their difference: mlGeNN ends with a ZeroDivisionError"
            )


def check_paper(network: Network) -> None:
    """Raise a ValueError unless genn_eventprop has the network: without bias, refractory period and delays."""
    for name, population in network.populations.items():
        for parameter in ("t_ref", "v_leak"):
            if np.any(population.parameter(parameter) != 0):
                raise ValueError(f"{parameter} of population {name!r} must be 0: genn_eventprop has none")
        if getattr(population.neuron, "reset", "value") != "value":
            raise ValueError(f"reset of population {name!r} must be 'value': genn_eventprop has no other")
    for projection in network.projections.values():
        if projection.delay.any():
            raise ValueError(f"delay of {projection.key} must be 0: genn_eventprop delays inputs alone")


@dataclass(frozen=True, eq=False)
class Sent:
    """Input spikes as GeNN sends them.

    Attributes
    ----------
    events : Events
    spikes : mapping of str to SpikeTrains
        With the times that GeNN records.
    waiting, lost : int
        How many had to wait because their neuron had sent another one in their step, and how many were not sent before
        the end of the trial.
    """

    events: Events
    spikes: Mapping[str, es.SpikeTrains]
    waiting: int
    lost: int


def sent_inputs(
    sources: Mapping[str, int],
    inputs: Mapping[str, es.SpikeTrains],
    clock: Clock,
    time_step: float,
    late: bool,
) -> Sent:
    """Return input spikes at the steps in which they are sent: one of a neuron per step.

    ``late`` is GeNN: the first step not before the spike, which arrives a step later. Otherwise they arrive at the
    nearest step, and are sent one before, which may be -1. ``sources`` are the first sources of the inputs; seconds.
    """
    waiting = lost = 0
    columns, spikes = [], {}
    for name, trains in inputs.items():
        if not late:
            first = in_steps(trains.times, time_step) - 1
        elif clock.kind is np.float64:
            first = in_steps(trains.times, time_step, "up")
        else:
            first = np.searchsorted(clock.times, (trains.times * 1e3).astype(np.float32))
        steps = _one_per_step(np.minimum(first, clock.n_steps), trains, clock.n_steps)
        order = _in_order(trains.samples, steps, trains.neurons, trains.n_neurons, clock.n_steps)
        order = order[steps[order] < clock.n_steps]
        lost += steps.size - order.size
        waiting += int(np.count_nonzero(steps[order] > first[order]))
        steps, neurons, samples = steps[order], trains.neurons[order], trains.samples[order]
        columns.append((samples, steps, neurons + sources[name]))
        spikes[name] = es.SpikeTrains.from_arrays(
            (steps + (0 if late else 1)) * time_step,
            neurons,
            samples,
            n_samples=trains.n_samples,
            n_neurons=trains.n_neurons,
        )
    nothing = (np.empty(0, np.int64),) * 3
    samples, steps, places = (np.concatenate(c) for c in zip(nothing, *columns, strict=True))
    n_samples = next(iter(inputs.values())).n_samples
    order = _in_order(samples, steps, places, int(places.max(initial=0)) + 1, clock.n_steps)
    bounds = np.searchsorted(samples[order], np.arange(n_samples + 1))
    return Sent(Events(bounds, steps[order], places[order]), spikes, waiting, lost)


def shifted(trains: es.SpikeTrains, by: float) -> es.SpikeTrains:
    """Return spikes some seconds later."""
    return es.SpikeTrains.from_arrays(
        trains.times + by,
        trains.neurons,
        trains.samples,
        n_samples=trains.n_samples,
        n_neurons=trains.n_neurons,
    )


def _in_order(samples: Integers, steps: Integers, places: Integers, n_places: int, n_steps: int) -> Integers:
    """Return the order by sample, step, from -1 to ``n_steps``, and place."""
    keys = (samples * (n_steps + 2) + steps + 1) * n_places + places
    return np.argsort(keys, kind="stable")


def _one_per_step(first: Integers, trains: es.SpikeTrains, n_steps: int) -> Integers:
    """Return the steps in which spikes are sent: of each neuron the next free one."""
    whose = trains.samples * trains.n_neurons + trains.neurons
    order = _in_order(trains.samples, first, trains.neurons, trains.n_neurons, n_steps)
    crowded = np.zeros(trains.n_samples * trains.n_neurons, dtype=bool)
    twice = (np.diff(first[order]) == 0) & (np.diff(whose[order]) == 0)
    crowded[whose[order][1:][twice]] = True
    own = np.flatnonzero(crowded[whose])
    # trains are sorted by sample and time, which a stable order of neurons leaves
    own = own[np.argsort(whose[own], kind="stable")]
    steps = first.copy()
    rank, group = np.arange(own.size), np.cumsum(np.diff(whose[own], prepend=-1) != 0)
    # between two neurons the slack is so large that none waits for a spike of the one before
    far = n_steps + own.size + 2
    slack = np.maximum.accumulate(first[own] - rank + 2 * far * group) if own.size else rank
    steps[own] = slack - 2 * far * group + rank
    return np.minimum(steps, n_steps)
