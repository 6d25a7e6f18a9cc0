"""The chip: what its neurons, synapses and delay circuits are really like, and what it does with a batch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.typing import Key, Reals
from validation.brainscales2.loop import Measured, layers_of


@dataclass(frozen=True, eq=False)
class Mismatch:
    """How a chip differs from its data sheet, for good; what is not named is as it should be.

    Attributes
    ----------
    threshold : mapping of str to ndarray, (n_neurons,)
        Added to v_threshold.
    tau : mapping of str to ndarray, (n_neurons,)
        By which tau_mem and tau_syn are multiplied.
    gain : mapping of (pre, post) to ndarray, (n_post, n_pre)
        By which weights are multiplied.
    delay : mapping of str to ndarray, (n_neurons,)
        Seconds that are added to the delays of a population's circuits.
    """

    threshold: Mapping[str, Reals] = field(default_factory=dict)
    tau: Mapping[str, Reals] = field(default_factory=dict)
    gain: Mapping[Key, Reals] = field(default_factory=dict)
    delay: Mapping[str, Reals] = field(default_factory=dict)

    def check(self, network: es.Network) -> None:
        """Raise a ValueError unless it fits a network."""
        sizes: dict[Any, tuple[int, ...]] = {name: (p.size,) for name, p in network.populations.items()}
        neurons = {name: sizes[name] for name, p in network.populations.items() if p.neuron is not None}
        shapes: dict[str, dict[Any, tuple[int, ...]]] = {
            "threshold": neurons,
            "tau": neurons,
            "gain": {key: p.weight.shape for key, p in network.projections.items()},
            "delay": sizes,
        }
        for what, known in shapes.items():
            for place, values in getattr(self, what).items():
                if place not in known:
                    raise ValueError(f"{what} of the mismatch names {place!r}; there are {list(known)}")
                if np.shape(values) != known[place] or not np.isfinite(values).all():
                    raise ValueError(
                        f"{what} of {place!r} in the mismatch must be finite numbers of shape {known[place]}; got "
                        f"shape {np.shape(values)}"
                    )


@dataclass(frozen=True)
class Noise:
    """What is another in every trial, 0 for nothing.

    Attributes
    ----------
    threshold : float
        Standard deviation, of every neuron in every trial.
    jitter : float
        Standard deviation in seconds, of every spike, and again of what a delay circuit sends.
    lost, extra : float
        Probability that a spike is lost, and that a neuron seems to spike at a random time of a sample.
    t_ref : float or None
        Seconds after which a neuron may spike again; None: as the network says, which is never.
    time_stamp : float
        Seconds, of recorded times.
    """

    threshold: float = 0.0
    jitter: float = 0.0
    lost: float = 0.0
    extra: float = 0.0
    t_ref: float | None = None
    time_stamp: float = 0.0


@dataclass
class Counters:
    """What happened on the way."""

    lost: int = 0
    extra: int = 0
    repeated: int = 0


def random(*of: int | str) -> np.random.Generator:
    """Return random numbers of their own for what is named, so that one cause does not change another's."""
    return np.random.default_rng([zlib.crc32(x.encode()) if isinstance(x, str) else x for x in of])


def lines_of(network: es.Network) -> dict[str, Reals]:
    """Return the delays of the circuits that delay the spikes of each population, seconds, (n_neurons,).

    Raises
    ------
    ValueError
        If delays are not one for each neuron that sends.
    """
    found: dict[str, Reals] = {}
    for p in network.projections.values():
        delays = np.asarray(p.shaped(p.delay))
        own = delays[0] if len(delays) else np.zeros(delays.shape[1])
        if (delays != own).any():
            raise ValueError(
                f"delays on the chip are those of circuits behind the neurons that send, one for each: every column "
                f"of the delays of {p.key} must be one number"
            )
        if (found.setdefault(p.pre, own) != own).any():
            raise ValueError(
                f"{p.pre!r} has one delay circuit for each neuron: the delays of {p.key} must be those of its other "
                "projections"
            )
    return {name: delays for name, delays in found.items() if delays.any()}


def with_lines(network: es.Network, lines: Mapping[str, Reals]) -> es.Network:
    """Return a network with other delays of its circuits."""
    return network.with_delays(
        {
            key: np.broadcast_to(lines[p.pre], np.asarray(p.weight).shape)
            for key, p in network.projections.items()
            if p.pre in lines
        }
    )


def mismatched(network: es.Network, mismatch: Mismatch) -> es.Network:
    """Return the network that a chip really is, without noise.

    Raises
    ------
    ValueError
        If a threshold comes down to the reset, or a delay below 0.
    """
    neurons: dict[str, Any] = {}
    for name, population in network.populations.items():
        if population.neuron is None:
            continue
        changed: dict[str, Any] = {}
        if name in mismatch.threshold:
            changed["v_threshold"] = population.parameter("v_threshold") + mismatch.threshold[name]
        if name in mismatch.tau:
            for tau in ("tau_mem", "tau_syn"):
                changed[tau] = population.parameter(tau) * mismatch.tau[name]
        if changed:
            neurons[name] = replace(population.neuron, **changed)
    weights = {key: np.asarray(network.projections[key].weight) * gain for key, gain in mismatch.gain.items()}
    lines = {name: delays + mismatch.delay.get(name, 0.0) for name, delays in lines_of(network).items()}
    return with_lines(network.with_neurons(neurons).with_weights(weights), lines)


def measure(
    network: es.Network,
    inputs: Mapping[str, es.SpikeTrains],
    t_end: float,
    noise: Noise,
    seeds: tuple[int, int],
    counters: Counters,
) -> Measured:
    """Run a trial of a batch on a chip, layer by layer.

    Parameters
    ----------
    network : Network
        What the chip is, as :func:`mismatched` gives it, without cycles.
    inputs : mapping of str to SpikeTrains
    t_end : float
        Seconds.
    noise : Noise
    seeds : (int, int)
        Of the noise, and of the trial.
    counters : Counters
        To which is added.
    """
    lines = lines_of(network)
    spikes: dict[str, Reals] = {}
    arrivals: dict[str, Reals] = {}
    sent: dict[str, Reals] = {}
    for name in (name for names in layers_of(network) for name in names):
        population = network.population(name)
        if population.neuron is None:
            spikes[name] = emitted = inputs[name].to_dense()
        else:
            fired = _layer(network, name, sent, t_end, noise, random(*seeds, "threshold", name))
            emitted = _as_sent(fired.to_dense(), name, t_end, noise, seeds, counters)
            spikes[name] = _recorded(emitted, noise.time_stamp)[:, :, :1]
            counters.repeated += int(np.isfinite(emitted[:, :, 1:]).sum())
        sent[name] = emitted
        if name in lines:
            delayed = emitted + lines[name][:, None]
            if noise.jitter:
                delayed = delayed + noise.jitter * _normal(random(*seeds, "delay jitter", name), emitted)
            sent[name] = np.maximum(delayed, 0.0)
            arrivals[name] = _recorded(sent[name], noise.time_stamp)[:, :, : spikes[name].shape[2]]
        else:
            arrivals[name] = spikes[name]
    return Measured(spikes, arrivals)


def _layer(
    network: es.Network,
    name: str,
    sent: Mapping[str, Reals],
    t_end: float,
    noise: Noise,
    rng: np.random.Generator,
) -> es.SpikeTrains:
    """Return all spikes of a population's neurons, solved exactly from what was sent to them."""
    population = network.population(name)
    neuron: Any = population.neuron
    if noise.threshold:
        moved = population.parameter("v_threshold") + noise.threshold * rng.standard_normal(population.size)
        neuron = replace(neuron, v_threshold=moved)
    if noise.t_ref is not None:
        neuron = replace(neuron, t_ref=noise.t_ref)
    layer = es.Network()
    inputs = {}
    for pre in dict.fromkeys(p.pre for p in network.afferents(name)):
        layer.add_input(pre, network.population(pre).size)
        inputs[pre] = es.SpikeTrains.from_dense(sent[pre])
    layer.add_population(name, population.size, neuron)
    for p in network.afferents(name):
        layer.connect(p.pre, name, p.weight, name=p.key[2] if len(p.key) > 2 else None)
    return es.solve(layer, inputs, t_end).spikes[name]


def _as_sent(
    fired: Reals, name: str, t_end: float, noise: Noise, seeds: tuple[int, int], counters: Counters
) -> Reals:
    """Return what neurons send, which is not all that they fired, nor at that time."""
    times = fired
    if noise.jitter:
        times = times + noise.jitter * _normal(random(*seeds, "jitter", name), times)
        times = np.where(times > t_end, np.inf, np.maximum(times, 0.0))
    if noise.lost:
        drawn = random(*seeds, "lost", name).random((times.shape[2], *times.shape[:2]))
        lost = np.isfinite(times) & (drawn.transpose(1, 2, 0) < noise.lost)
        counters.lost += int(lost.sum())
        times = np.where(lost, np.inf, times)
    if noise.extra:
        rng = random(*seeds, "extra", name)
        at = np.where(rng.random(times.shape[:2]) < noise.extra, t_end * rng.random(times.shape[:2]), np.inf)
        counters.extra += int(np.isfinite(at).sum())
        times = np.concatenate([times, at[:, :, None]], axis=2)
    result: Reals = np.sort(times, axis=2)
    return result


def _recorded(times: Reals, step: float) -> Reals:
    """Return times as they are written down."""
    return np.rint(times / step) * step if step else times


def _normal(rng: np.random.Generator, times: Reals) -> Reals:
    """Return a normal number for every spike: the first ones are the same, however many there are."""
    drawn: Reals = rng.standard_normal((times.shape[2], *times.shape[:2])).transpose(1, 2, 0)
    return drawn
