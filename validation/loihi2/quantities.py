"""A network in Loihi 2's quantities, each rounded or not.

Let a = exp(-dt/tau_mem) and b = exp(-dt/tau_syn), and let K(dt) be the voltage that a current of 1 causes in a step.
Then u := b u + K w, v := a v + u is the exact solution at the steps: v of row k is V(k dt) - v_reset. In place of K
mlGeNN's exporter takes k = (1 - a) (tau_syn/dt) (1 - b), the response of GeNN's own update.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from scipy.special import exprel

import eventsolve as es
from eventsolve.checks import duration, real
from eventsolve.network import LI, LIF, Network, Population, Projection
from eventsolve.typing import Reals
from validation.loihi2.causes import ALL
from validation.loihi2.netx import BIAS_EXP, NETX_DELAY, netx_weights
from validation.loihi2.program import DECAY, LARGEST_THRESHOLD, Dense, Layer, integer

Scale: TypeAlias = Literal["power_of_two", "full"]
Kernel: TypeAlias = Literal["exact", "mlgenn"]

NEVER = LARGEST_THRESHOLD + 1
"""A threshold that no voltage reaches."""
MLGENN_READOUT = 2**16
"""The threshold that mlGeNN writes for a readout, which fires once its voltage exceeds 2**22."""


@dataclass(frozen=True)
class Settings:
    """The settings with which a network becomes integers.

    Attributes
    ----------
    time_step : float
        Seconds.
    weight_bits : int or tuple of int
        2..8, signs included: one number for all layers, or one per layer.
    scale : {"power_of_two", "full"}
        Whether a population's quantum is a power of two, as in mlGeNN, or turns the largest weight into the largest
        integer.
    percentile : float
        Computed of the positive weights, and of the absolute values of the others. The larger one is represented;
        larger weights may be clipped.
    kernel : {"exact", "mlgenn"}
        How weights are scaled. With "mlgenn" the readout also has the threshold of mlGeNN's exporter, which it may
        reach.
    """

    time_step: float
    weight_bits: int | tuple[int, ...] = 8
    scale: Scale = "power_of_two"
    percentile: float = 100.0
    kernel: Kernel = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_step", duration("time_step", self.time_step))
        if isinstance(self.weight_bits, tuple | list):
            bits: int | tuple[int, ...] = tuple(integer("weight_bits", n, 2, 8) for n in self.weight_bits)
        else:
            bits = integer("weight_bits", self.weight_bits, 2, 8)
        object.__setattr__(self, "weight_bits", bits)
        object.__setattr__(self, "percentile", real("percentile", self.percentile))
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must be in (0, 100]; got {self.percentile!r}")
        for name, allowed in (("scale", ("power_of_two", "full")), ("kernel", ("exact", "mlgenn"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")

    def bits_of(self, n_layers: int) -> tuple[int, ...]:
        """Return the bits of each layer, or raise a ValueError if they are given for another number of layers."""
        bits = self.weight_bits if isinstance(self.weight_bits, tuple) else (self.weight_bits,) * n_layers
        if len(bits) != n_layers:
            raise ValueError(
                f"weight_bits must be one number, or one for each of {n_layers} layers; got {bits}"
            )
        return bits


def response(time_step: float, tau_mem: Reals, tau_syn: Reals) -> Reals:
    """Return K(dt): V after a step that began with V at rest and a current of 1."""
    a, b = time_step / tau_mem, time_step / tau_syn
    return np.asarray(a * np.exp(-a) * exprel(a - b))


def mlgenn_response(time_step: float, tau_mem: Reals, tau_syn: Reals) -> Reals:
    """Return k, which mlGeNN takes in place of K(dt)."""
    a, b = time_step / tau_mem, time_step / tau_syn
    return np.asarray(-np.expm1(-a) * (-np.expm1(-b) / b))


def decay_of(time_step: float, tau: Reals) -> Reals:
    """Return by how many 4096ths a state decays in a step, without rounding."""
    return np.asarray(-DECAY * np.expm1(-time_step / tau))


def tau_of(time_step: float, decay: Reals) -> Reals:
    """Return the time constant of a decay: inf for 0, and 0 for 4096."""
    with np.errstate(divide="ignore"):
        return np.asarray(-time_step / np.log1p(-decay / DECAY))


class Wires(NamedTuple):
    """A projection in the chip's quantities.

    Attributes
    ----------
    projection : Projection
    weights : ndarray of float64, (n_synapses,)
        Effective weights in quanta, after what lava-dl changes.
    meant : ndarray of float64, (n_synapses,)
        Weights in quanta before lava-dl changes them.
    steps : ndarray of float64, (n_synapses,)
        Delays in steps.
    scaled : ndarray of float64, (n_synapses,)
        Weights in quanta before they are rounded or clipped.
    dense : Dense or None
        The matrix that the chip holds, if weights are rounded and clipped; with delays, if these are rounded.
    """

    projection: Projection
    weights: Reals
    meant: Reals
    steps: Reals
    scaled: Reals
    dense: Dense | None = None

    def matrix(self, values: Reals) -> Reals:
        """Return values by synapse as a matrix (n_post, n_pre), 0 where there is no synapse."""
        shaped = self.projection.shaped(values)
        return np.asarray(shaped.toarray() if sp.issparse(shaped) else shaped)

    def by_synapse(self, matrix: Reals) -> Reals:
        """Return the entries of a matrix (n_post, n_pre) where there are synapses, (n_synapses,)."""
        if not sp.issparse(self.projection.weight):
            return matrix.reshape(-1)
        return np.asarray(matrix[self.projection.targets, self.projection.sources])


class Part(NamedTuple):
    """A population in the chip's quantities, rounded by some causes.

    Attributes
    ----------
    population : Population
    quantum : float
        One weight unit, in the unit of the network's voltages.
    wires : tuple of Wires
        From the population before, and from itself.
    decay_u, decay_v : ndarray of float64, (n,)
        4096ths.
    threshold, bias : ndarray of float64, (n,)
        In quanta; a bias is added in each step.
    v_reset : ndarray of float64, (n,)
        In the network's unit; it is 0 on the chip.
    v_initial : ndarray of float64, (n,)
        v before the first step, in quanta.
    tau_mem, tau_syn : ndarray of float64, (n,)
        Time constants of the decays, in seconds.
    """

    population: Population
    quantum: float
    wires: tuple[Wires, ...]
    decay_u: Reals
    decay_v: Reals
    threshold: Reals
    bias: Reals
    v_reset: Reals
    v_initial: Reals
    tau_mem: Reals
    tau_syn: Reals

    @property
    def readout(self) -> bool:
        """Whether the population does not spike."""
        return isinstance(self.population.neuron, LI)


def parts_of(network: Network, settings: Settings, on: Collection[str] = ALL) -> tuple[Part, ...]:
    """Return the populations of a network in the chip's quantities, in their order.

    Parameters
    ----------
    network : Network
    settings : Settings
    on : collection of str
        The active causes; without a cause, its numbers are the network's own.

    Raises
    ------
    ValueError
        If Loihi 2 or NetX cannot represent the network.
    """
    names = chain_of(network)[1:]
    bits = settings.bits_of(len(names))
    return tuple(_part(network, name, settings, n, on) for name, n in zip(names, bits, strict=True))


def chain_of(network: Network) -> list[str]:
    """Return the populations of a chain in order, the input first, or raise a ValueError if the network is none."""
    populations = network.populations
    inputs = [name for name, p in populations.items() if p.neuron is None]
    if len(inputs) != 1:
        raise ValueError(
            f"NetX holds a chain of layers behind one input; the network has {len(inputs)} inputs"
        )
    follows: dict[str, str] = {}
    for key, projection in network.projections.items():
        if len(key) > 2:
            raise ValueError(f"NetX holds one matrix between two layers; {key} is a further one")
        if projection.synapse != "exponential":
            raise ValueError(
                f"synapse of {key} must be 'exponential': a delta synapse needs a layer of its own"
            )
        if projection.pre == projection.post:
            continue
        if projection.pre in follows:
            raise ValueError(
                f"NetX holds a chain of layers; {projection.pre!r} leads to {follows[projection.pre]!r} and to "
                f"{projection.post!r}"
            )
        follows[projection.pre] = projection.post
    chain = inputs
    while chain[-1] in follows and len(chain) <= len(populations):
        chain.append(follows[chain[-1]])
    if len(chain) > len(populations) or len(follows) != len(chain) - 1:
        raise ValueError(
            "NetX holds a chain of layers, each of which may lead to itself; the network has a cycle of several"
        )
    lost = [name for name in populations if name not in chain]
    if lost or len(chain) < 2:
        raise ValueError(
            f"NetX holds a chain of layers behind the input; {', '.join(map(repr, lost)) or 'no layer'} is not in it"
        )
    return chain


def _part(network: Network, name: str, settings: Settings, bits: int, on: Collection[str]) -> Part:
    population, dt = network.population(name), settings.time_step
    neuron = population.neuron
    if isinstance(neuron, LIF):
        if population.parameter("t_ref").any():
            raise ValueError(
                f"t_ref of population {name!r} must be 0: Lava has no integer refractory period, and NetX ignores it"
            )
        if neuron.reset != "value":
            raise ValueError(
                f"reset of population {name!r} must be 'value': Loihi 2 sets v to 0 and does not subtract"
            )
    if population.parameter("i_initial").any():
        raise ValueError(f"i_initial of population {name!r} must be 0: NetX has no initial states")
    tau_mem, tau_syn = population.parameter("tau_mem"), population.parameter("tau_syn")
    decays = []
    for what, tau in (("tau_syn", tau_syn), ("tau_mem", tau_mem)):
        decay = decay_of(dt, tau)
        if "decays" in on:
            whole = np.rint(decay)
            if (whole == 0).any() or (whole == DECAY).any():
                bad = float(tau[(whole == 0) | (whole == DECAY)][0])
                raise ValueError(
                    f"{what} of population {name!r} is {bad!r} s: at steps of {dt!r} s a state decays by less than "
                    f"1/{DECAY}, or wholly, in a step"
                )
            decay = whole
        decays.append(decay)
    if "decays" in on:
        held_syn, held_mem = tau_of(dt, decays[0]), tau_of(dt, decays[1])
    else:
        held_syn, held_mem = tau_syn, tau_mem
    meant = response(dt, tau_mem, tau_syn)
    gain = mlgenn_response(dt, tau_mem, tau_syn) if settings.kernel == "mlgenn" and "kernel" in on else meant
    projections = sorted(network.afferents(name), key=lambda p: p.pre == name)
    scaled = [np.repeat(gain, np.diff(p.row_offsets)) * p.weights for p in projections]
    quantum = quantum_of(name, np.concatenate(scaled), settings, bits)
    wires = _rounded(
        [
            Wires(p, w / quantum, w / quantum, _steps(p, dt, on), w / quantum)
            for p, w in zip(projections, scaled, strict=True)
        ],
        bits,
        on,
    )
    v_reset = population.parameter("v_reset")
    v_leak, keep = population.parameter("v_leak"), 1.0 - decay_of(dt, tau_mem) / DECAY
    bias = (v_leak - v_reset) * -np.expm1(-dt / tau_mem) / quantum
    threshold = (population.parameter("v_threshold") - v_reset) / quantum
    if "threshold" in on:
        bias = np.rint(bias)
        if (np.abs(bias) >= 2**12).any():
            most = float(bias[np.argmax(np.abs(bias))])
            raise ValueError(
                f"v_leak of population {name!r} is a bias of {most:.0f} weight units in each step, beyond 13 bits"
            )
        if isinstance(neuron, LI):
            threshold = np.full(population.size, MLGENN_READOUT if settings.kernel == "mlgenn" else np.inf)
        else:
            threshold = np.rint(threshold)
            _check_threshold(network, name, threshold, settings)
    v_initial = (population.parameter("v_initial") - v_reset) / quantum / keep
    if "truncation" in on:
        v_initial = np.rint(v_initial * 64) / 64
    return Part(
        population,
        quantum,
        tuple(wires),
        decay_u=decays[0],
        decay_v=decays[1],
        threshold=threshold,
        bias=bias,
        v_reset=v_reset,
        v_initial=v_initial,
        tau_mem=held_mem,
        tau_syn=held_syn,
    )


def quantum_of(name: str, scaled: Reals, settings: Settings, bits: int) -> float:
    """Return a population's weight unit, from the weights of all its synapses times their response."""
    positive, others = scaled[scaled > 0], -scaled[scaled <= 0]
    largest = max(float(np.percentile(part, settings.percentile)) for part in (positive, others) if part.size)
    if not largest > 0:
        raise ValueError(
            f"weights to population {name!r} are 0 up to their percentile {settings.percentile:g}"
        )
    if settings.scale == "full":
        return largest / ((1 << (bits - 1)) - 1)
    top = math.frexp(largest)[1] - 1
    return math.ldexp(1.0, top - (bits - 2))


def _steps(projection: Projection, dt: float, on: Collection[str]) -> Reals:
    steps = projection.delay / dt
    if "delays" not in on:
        return steps
    steps = np.rint(steps)
    if (steps > NETX_DELAY).any():
        raise ValueError(
            f"delay of {projection.key} must be at most {NETX_DELAY} steps of {dt!r} s; the longest is "
            f"{float(projection.delay.max())!r} s"
        )
    return steps


def _rounded(wires: list[Wires], bits: int, on: Collection[str]) -> list[Wires]:
    """Return the weights that a layer's bits hold, as lava-dl makes them act."""
    limit, found = 1 << (bits - 1), []
    for wire in wires:
        weights = wire.scaled
        if "weight_rounding" in on:
            weights = np.rint(weights)
        if "weight_clipping" in on:
            weights = np.clip(weights, -limit, limit - 1)
        found.append(wire._replace(weights=weights, meant=weights))
    if not {"weight_rounding", "weight_clipping"} <= set(on):
        return found
    whole = [wire.matrix(wire.meant).astype(np.int64) for wire in found]
    shifted, exponent, n_bits = netx_weights(whole, f"population {wires[0].projection.post!r}")
    held = []
    for wire, values in zip(found, shifted, strict=True):
        delays = wire.matrix(wire.steps).astype(np.int64) if "delays" in on else np.int64(0)
        dense = Dense(values, delays, exponent, n_bits)  # type: ignore[arg-type]
        held.append(wire._replace(weights=wire.by_synapse(dense.effective), dense=dense))
    return held


def _check_threshold(network: Network, name: str, threshold: Reals, settings: Settings) -> None:
    if (threshold > LARGEST_THRESHOLD).any():
        least = least_time_step(network, settings)
        fitting = f"steps of {least:.3g} s or more fit" if np.isfinite(least) else "no time step fits"
        raise ValueError(
            f"v_threshold of population {name!r} is {threshold.max():.0f} weight units at steps of "
            f"{settings.time_step!r} s, beyond 17 bits, so that it would never fire; {fitting}"
        )
    if (threshold < 1).any():
        raise ValueError(
            f"v_threshold of population {name!r} is less than half a weight unit at steps of {settings.time_step!r} s, "
            "so that any voltage would fire"
        )


def least_time_step(network: Network, settings: Settings) -> float:
    """Return the shortest step in seconds, to 1 %, at which every threshold fits 17 bits; inf if none does.

    A quantum is about in proportion to the step, as long as that is shorter than the time constants: thresholds in
    quanta grow as steps become shorter. Steps beyond the time constants are not looked at.
    """

    def fits(step: float) -> bool:
        parts = parts_of(network, replace(settings, time_step=step), ())
        return all((np.rint(p.threshold) <= LARGEST_THRESHOLD).all() for p in parts if not p.readout)

    high = min(
        float(p.parameter(tau).min())
        for p in network.populations.values()
        if p.neuron is not None
        for tau in ("tau_mem", "tau_syn")
    )
    if not fits(high):
        return math.inf
    low = high
    while fits(low):
        low, high = low / 2, low
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


# -- the network that is left ------------------------------------------------------------------------------------------


def network_of_parts(
    network: Network, parts: tuple[Part, ...], settings: Settings, on: Collection[str]
) -> Network:
    """Return the network in continuous time that is left once parameters are rounded, and states are not.

    Numbers that no cause touched are those of the network, bit for bit.
    """
    dt = settings.time_step
    other = es.Network()
    weights, delays = {}, {}
    for name in network.populations:
        population = network.population(name)
        if population.neuron is None:
            other.add_input(name, population.size)
            continue
        part = next(p for p in parts if p.population.name == name)
        other.add_population(name, population.size, _neuron(part, settings, on))
    touched = {"kernel", "weight_rounding", "weight_clipping", "decays"} & set(on)
    for part in parts:
        unit = part.quantum / response(dt, part.tau_mem, part.tau_syn)
        for wire in part.wires:
            projection = wire.projection
            if touched:
                weights[projection.key] = np.repeat(unit, np.diff(projection.row_offsets)) * wire.weights
            if "delays" in on:
                delays[projection.key] = wire.steps * dt
    for key, projection in network.projections.items():
        other.connect(
            projection.pre,
            projection.post,
            projection.shaped(weights.get(key, projection.weights)),
            delay=projection.shaped(delays.get(key, projection.delay)),
        )
    return other


def _neuron(part: Part, settings: Settings, on: Collection[str]) -> LIF | LI:
    neuron = part.population.neuron
    assert neuron is not None
    changed: dict[str, Reals] = {}
    if "decays" in on:
        changed |= {"tau_mem": part.tau_mem, "tau_syn": part.tau_syn}
    if {"threshold", "decays"} & set(on):
        # on the chip a leak is a bias, whose voltage at rest goes with the decay
        rise = -np.expm1(-settings.time_step / part.tau_mem)
        changed["v_leak"] = part.v_reset + part.bias * part.quantum / rise
    if isinstance(neuron, LIF) and "threshold" in on:
        changed["v_threshold"] = part.v_reset + part.threshold * part.quantum
    given = {name: getattr(neuron, name) for name in ("tau_mem", "tau_syn", "v_leak", "v_initial")}
    if isinstance(neuron, LIF):
        given |= {"v_threshold": neuron.v_threshold, "v_reset": neuron.v_reset}
        return LIF(**(given | changed))
    return LI(**(given | changed))


def layer_of(part: Part) -> Layer:
    """Return the layer of integers of a population that all causes have rounded."""
    matrices = [wire.dense for wire in part.wires]
    assert matrices[0] is not None
    return Layer(
        matrices[0],
        matrices[1] if len(matrices) > 1 else None,
        du=part.decay_u.astype(np.int64) - 1,
        dv=part.decay_v.astype(np.int64),
        vth=np.minimum(part.threshold, NEVER).astype(np.int64),
        bias_mant=part.bias.astype(np.int64),
        bias_exp=BIAS_EXP,  # type: ignore[arg-type]
        v0=np.rint(part.v_initial * 64).astype(np.int64),
    )
