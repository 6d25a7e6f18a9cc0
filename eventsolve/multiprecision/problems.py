"""What is to be solved: a network and its input, every number an mpf."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mpmath.ctx_mp import MPContext

from eventsolve.checks import count, instance, non_negative, seconds
from eventsolve.network import LIF, Network, Population
from eventsolve.spiketrains import SpikeTrains, require_spike_trains
from eventsolve.typing import Key

Mpf: TypeAlias = Any
"""An mpmath number; a Problem may hold mpf of any context."""
Context: TypeAlias = Any
Spike: TypeAlias = tuple[Mpf, int]
"""(time in seconds, neuron)."""
Parameter: TypeAlias = tuple[str, Any]
"""("weight" | "delay", projection key), ("spike_times", input) or (parameter of neurons, population)."""

NEURON_PARAMETERS = (
    *("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref"),
    *("v_initial", "i_initial"),
)


@dataclass(frozen=True)
class Neuron:
    """One neuron's parameters: seconds, and the unit of the weights; ``v_threshold`` is inf for an LI.

    ``subtract`` says that a spike takes v_threshold - v_reset off V, instead of setting V to v_reset.
    """

    tau_mem: Mpf
    tau_syn: Mpf
    v_threshold: Mpf
    v_reset: Mpf
    v_leak: Mpf
    t_ref: Mpf
    v_initial: Mpf = 0
    i_initial: Mpf = 0
    subtract: bool = False


@dataclass(frozen=True)
class Synapse:
    """A spike of ``source`` adds ``weight`` to the current of ``target``, ``delay`` seconds later.

    A ``delta`` synapse adds it to the voltage instead, unless that is held.
    """

    source: int
    target: int
    weight: Mpf
    delay: Mpf
    delta: bool = False


@dataclass(frozen=True)
class Problem:
    """A network and its input, every number an mpf.

    Attributes
    ----------
    neurons : mapping of population to tuple of Neuron
        Every population that is not an input; their order is that of spikes at one time.
    synapses : mapping of (pre, post, ...) to tuple of Synapse
        In the order in which arrivals act that one spike causes at one time; of a projection read from a
        network, in the order of ``Projection.weights``.
    inputs : mapping of input to tuple over samples of tuple of (time, channel)
        Of spike trains, in the order of ``SpikeTrains.times``; every input has the same number of samples.
    channels : mapping of input to int
        Number of channels of every input.
    t_end : mpf
        Seconds.
    """

    neurons: Mapping[str, tuple[Neuron, ...]]
    synapses: Mapping[Key, tuple[Synapse, ...]]
    inputs: Mapping[str, tuple[tuple[Spike, ...], ...]]
    channels: Mapping[str, int]
    t_end: Mpf

    @property
    def n_samples(self) -> int:
        """Size of the batch; 1 for a problem without inputs."""
        return next((len(samples) for samples in self.inputs.values()), 1)

    def size(self, population: str) -> int:
        """Return the number of neurons of a population, or of channels of an input."""
        return self.channels[population] if population in self.channels else len(self.neurons[population])


def problem(network: Network, inputs: Mapping[str, SpikeTrains], t_end: float) -> Problem:
    """Read the problem from a network, taking every float64 exactly as it is.

    Parameters
    ----------
    network : Network
        May be recurrent.
    inputs : mapping of str to SpikeTrains
        One batch per input population, of equal n_samples.
    t_end : float
        Seconds, finite, >= 0.

    Raises
    ------
    ValueError
        If ``inputs`` does not name exactly the input populations, sizes do not fit, or t_end is not finite
        and >= 0.
    """
    instance("network", network, Network)
    require_spike_trains("inputs", inputs)
    populations = network.populations
    channels = {name: p.size for name, p in populations.items() if p.neuron is None}
    if set(inputs) != set(channels):
        raise ValueError(f"inputs must name the input populations {sorted(channels)}; got {sorted(inputs)}")
    for name, trains in inputs.items():
        if trains.n_neurons != channels[name]:
            raise ValueError(
                f"input {name!r} has {channels[name]} channels; its spikes have {trains.n_neurons}"
            )
    n_samples = {name: trains.n_samples for name, trains in inputs.items()}
    if len(set(n_samples.values())) > 1:
        raise ValueError(f"every input must have the same number of samples; got {n_samples}")
    t_end = non_negative("t_end", seconds("t_end", t_end))
    exact = context(20).mpf  # 20 digits hold every float64
    neurons = {
        name: tuple(
            Neuron(**dict(zip(NEURON_PARAMETERS, map(exact, values), strict=True)), subtract=_subtracts(p))
            for values in zip(*(p.parameter(name).tolist() for name in NEURON_PARAMETERS), strict=True)
        )
        for name, p in populations.items()
        if p.neuron is not None
    }
    synapses = {}
    for key, projection in network.projections.items():
        delta = projection.synapse == "delta"
        columns = (projection.sources, projection.targets, projection.weights, projection.delay)
        synapses[key] = tuple(
            Synapse(int(source), int(target), exact(float(weight)), exact(float(delay)), delta)
            for source, target, weight, delay in zip(*columns, strict=True)
        )
    spikes = {
        name: tuple(
            tuple(
                (exact(float(t)), int(k)) for t, k in zip(trains.times[a:b], trains.neurons[a:b], strict=True)
            )
            for a, b in itertools.pairwise(trains.offsets)
        )
        for name, trains in inputs.items()
    }
    return Problem(neurons, synapses, spikes, channels, exact(float(t_end)))


def _subtracts(population: Population) -> bool:
    return isinstance(population.neuron, LIF) and population.neuron.reset == "subtract"


MOST_DIGITS = 10_000
"""Digits that can be asked for: in so many a spike takes seconds, in ten times as many some hundred times as long."""


def checked_digits(given: object) -> int:
    """Return digits of a result as an int, or raise a ValueError."""
    return count("digits", given, 1, MOST_DIGITS, ", in which a single spike takes seconds")


def context(digits: int) -> Context:
    """Return an mpmath context of its own."""
    ctx = MPContext()
    ctx.dps = digits
    return ctx


def neuron_in(ctx: Context, neuron: Neuron) -> Neuron:
    """Return the neuron's numbers in a context, which then rounds every expression of them."""
    return replace(neuron, **{name: ctx.mpf(getattr(neuron, name)) for name in NEURON_PARAMETERS})


def all_neurons(given: Problem) -> Iterator[Neuron]:
    """Yield every neuron of a problem."""
    return itertools.chain.from_iterable(given.neurons.values())


def is_readout(neuron: Neuron) -> bool:
    """Say whether a neuron never spikes."""
    return bool(neuron.v_threshold == float("inf"))


def require_causal(given: Problem) -> None:
    """Raise if something would act before it happens, or a neuron starts beyond its threshold."""
    for key, synapses in given.synapses.items():
        if any(synapse.delay < 0 for synapse in synapses):
            raise ValueError(f"delay of {key} must be >= 0")
    for name, samples in given.inputs.items():
        if any(time < 0 for sample in samples for time, _ in sample):
            raise ValueError(f"spike times of input {name!r} must be >= 0")
    for name, neurons in given.neurons.items():
        if any(neuron.t_ref < 0 for neuron in neurons):
            raise ValueError(f"t_ref of population {name!r} must be >= 0")
        for k, neuron in enumerate(neurons):
            if not (neuron.tau_mem > 0 and neuron.tau_syn > 0):
                raise ValueError(f"tau_mem and tau_syn of neuron {k} of {name!r} must be > 0")
            if neuron.v_initial >= neuron.v_threshold:
                raise ValueError(f"v_initial of neuron {k} of {name!r} must be below its v_threshold")
