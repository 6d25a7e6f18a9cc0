"""The gradient in the loop: formulas of the ideal network, where the chip's spikes and arrivals were measured.

    dt/dw_i = -K(t - t_i) / V',     dt/dt_i = w_i K'(t - t_i) / V',     dt_i/dd = 1

of every spike that counts, the first of its neuron, and of every input that arrived before it. The three ways of
computing V' (:data:`validation.brainscales2.closed_forms.SLOPES`) agree on a chip that is ideal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

import eventsolve as es
from eventsolve.network import Population, solving_order
from eventsolve.typing import Key, Reals
from validation.brainscales2.closed_forms import RATIOS, Slope, kernel, slopes


@dataclass(frozen=True, eq=False)
class Measured:
    """What was recorded of a batch.

    Attributes
    ----------
    spikes : mapping of str to ndarray, (n_samples, n_neurons, n_spikes)
        Seconds, inf where silent; one spike of every neuron, several of an input.
    arrivals : mapping of str to ndarray, like its spikes
        When the spikes of a population came out of its delay circuits; without such circuits its spikes.
    """

    spikes: Mapping[str, Reals]
    arrivals: Mapping[str, Reals]

    def trains(self, population: str) -> es.SpikeTrains:
        """Return the spikes of a population."""
        return es.SpikeTrains.from_dense(self.spikes[population])


@dataclass(frozen=True, eq=False)
class Way:
    """How the gradient is taken.

    Attributes
    ----------
    slope : {"crossing", "measured", "threshold"}
    least : float
        A denominator I - v_threshold closer to 0 is replaced by this, in the unit of the weights (1e-6 in jaxsnn).
    cap : float
        Of a sample, what a neuron's weights get is dropped if one of them gets more, as loss per weight; not what goes
        on to delays and to the spikes before.
    """

    slope: Slope
    least: float = 0.0
    cap: float = np.inf


@dataclass(frozen=True, eq=False)
class Flaws:
    """What may be wrong in it; see :mod:`validation.brainscales2.replay`.

    Attributes
    ----------
    arrival_sign : float
        By which dt/dt_i is multiplied.
    causal : mapping of str to ndarray, (n_samples, n_neurons)
        Times up to which inputs count for a population's spikes, in place of the measured ones.
    """

    arrival_sign: float = 1.0
    causal: Mapping[str, Reals] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Found:
    """A gradient, of each sample's own loss.

    Attributes
    ----------
    weight : mapping of (pre, post) to ndarray, (n_samples, n_post, n_pre)
    delay : mapping of (pre, post) to ndarray, as weight
        1/s.
    spike_times : mapping of str to ndarray, as the spikes of :class:`Measured`
        dL/dt, 1/s, 0 where silent.
    unsolved, falling, dropped : int
        Spikes where the ideal neuron has no crossing, whose gradient is 0; where V' is not > 0; which the cap drops.
    """

    weight: Mapping[Key, Reals]
    delay: Mapping[Key, Reals]
    spike_times: Mapping[str, Reals]
    unsolved: int
    falling: int
    dropped: int


def ratio_of(population: Population) -> tuple[float, float]:
    """Return tau_mem / tau_syn and tau_syn of a population whose neurons are all alike.

    Raises
    ------
    ValueError
        If they are not.
    """
    values = {name: population.parameter(name) for name in ("tau_mem", "tau_syn")}
    for name, taus in values.items():
        if taus.size and (taus != taus[0]).any():
            raise ValueError(
                f"{name} of {population.name!r} must be one number, to which its neurons are calibrated"
            )
    tau_mem, tau_syn = (float(taus[0]) if taus.size else 1.0 for taus in values.values())
    return tau_mem / tau_syn, tau_syn


def check_way(network: es.Network, slope: Slope) -> None:
    """Raise a ValueError if a network's gradient cannot be taken in a way."""
    for population in network.populations.values():
        if population.neuron is None:
            continue
        ratio, _ = ratio_of(population)
        if slope == "crossing" and ratio not in RATIOS:
            raise ValueError(
                f"slope 'crossing' has closed forms for tau_mem / tau_syn of 1 and 2; {population.name!r} has "
                f"{ratio:.6g}: take slope 'measured' or 'threshold'"
            )


def layers_of(network: es.Network) -> list[list[str]]:
    """Return the populations of a network, sources first, those of a cycle together."""
    return solving_order(network.populations, [(p.pre, p.post) for p in network.projections.values()])


def gradient(
    network: es.Network, measured: Measured, errors: Mapping[str, Reals], way: Way, flaws: Flaws = Flaws()
) -> Found:
    """Return the gradient along what was measured.

    Parameters
    ----------
    network : Network
        As it is known: nominal parameters, and the weights that the formulas see.
    measured : Measured
    errors : mapping of str to ndarray, (n_samples, n_neurons)
        dL/dt of the spikes that the loss reads, 1/s.
    way : Way
    flaws : Flaws
    """
    projections = network.projections
    total = {name: np.zeros_like(times) for name, times in measured.spikes.items()}
    for name, error in errors.items():
        total[name][:, :, 0] += error
    weight: dict[Key, Reals] = {}
    delay: dict[Key, Reals] = {}
    unsolved = falling = dropped = 0
    for name in (name for names in reversed(layers_of(network)) for name in names):
        afferents = network.afferents(name)
        population = network.population(name)
        if population.neuron is None or not afferents:
            continue
        spikes = measured.spikes[name][:, :, 0]
        ratio, tau = ratio_of(population)
        level = population.parameter("v_threshold") - population.parameter("v_leak")
        blocks = [measured.arrivals[p.pre] for p in afferents]
        arrivals = np.concatenate([b.reshape(len(b), -1) for b in blocks], axis=1)[:, :, None] / tau
        rows = np.concatenate(
            [
                np.repeat(np.asarray(p.weight).T, block.shape[2], axis=0)
                for p, block in zip(afferents, blocks, strict=True)
            ]
        )
        until = flaws.causal.get(name, spikes)
        causal = (arrivals < until[:, None, :] / tau) & np.isfinite(spikes)[:, None, :]
        at = np.where(np.isfinite(spikes), spikes, 0.0) / tau
        slope = slopes(arrivals, rows, at, causal, level, ratio, way.slope)
        if way.least:
            slope = np.where(np.abs(slope) * ratio > way.least, slope, way.least / ratio)
        felt = np.isfinite(spikes)
        solved = felt & np.isfinite(slope) & (slope != 0)
        unsolved += int(np.count_nonzero(felt & ~solved))
        falling += int(np.count_nonzero(solved & (slope < 0)))
        # 1/V' in seconds: a time in tau_syn, and dL/dt per second
        push = np.where(solved, total[name][:, :, 0] * tau / np.where(solved, slope, 1.0), 0.0)
        value, rise, _ = kernel(np.where(causal, at[:, None, :] - arrivals, 0.0), ratio)
        by_weight = np.where(causal, -value, 0.0) * push[:, None, :]
        if np.isfinite(way.cap):
            over = np.abs(by_weight).max(axis=1) > way.cap
            dropped += int(np.count_nonzero(over))
            by_weight = np.where(over[:, None, :], 0.0, by_weight)
        by_time = np.where(causal, flaws.arrival_sign * rows * rise, 0.0) * push[:, None, :] / tau
        first = 0
        for p, block in zip(afferents, blocks, strict=True):
            n, n_pre, n_slots = block.shape
            part = slice(first, first + n_pre * n_slots)
            first += n_pre * n_slots
            shape = (n, n_pre, n_slots, population.size)
            own = by_time[:, part].reshape(shape)
            weight[p.key] = by_weight[:, part].reshape(shape).sum(axis=2).transpose(0, 2, 1)
            if p.delay.any():
                delay[p.key] = own.sum(axis=2).transpose(0, 2, 1)
            total[p.pre] += own.sum(axis=3)
    return Found(
        {key: weight[key] for key in projections},
        {key: delay[key] for key in projections if key in delay},
        total,
        unsolved,
        falling,
        dropped,
    )
