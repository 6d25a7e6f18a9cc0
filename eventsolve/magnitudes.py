"""Times that are legal and most probably in milliseconds where seconds are meant: warned about, with what was meant.

A slip of this kind makes a time a thousand times too long, and then nothing fails: a membrane of 20 s hardly moves
within 60 ms, a delay of 1 s delivers nothing, exp(-t / tau0) is flat. Every bound below wants two signs at once, so
that what is meant stays silent: an integrator without leak (tau_mem of 1000 s or more, or weights to match), one spike
per neuron by a long refractory period (never looked at), delays of a third of a second beside membranes of 20 ms, a
stream that is solved in pieces of a few milliseconds. A network whose times are all in milliseconds, t_end too, is a
scaled one and as good.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from eventsolve.network import LI, LIF, Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.spiketrains import SpikeTrains
from eventsolve.units import UnitWarning

_THOUSAND = 1000.0
_TIME_CONSTANT = 50.0  # times t_end; and at least 1 s, below 1000 s
_DELAY = 10.0, 25.0  # times t_end; times the slowest time constant
_INPUT = 10.0, 0.1  # times t_end before the first input spike; seconds at least
_LOSS = 5.0, 0.1  # times t_end; seconds at least
_PACKAGES = tuple(f"{Path(__file__).parents[1] / name}{os.sep}" for name in ("eventsolve", "validation"))


def warn_of_times(network: Network, inputs: Mapping[str, SpikeTrains], t_end: float) -> None:
    """Warn of time constants, delays and inputs that are far beyond a t_end > 0; the network is one to be solved."""
    if not t_end > 0:
        return
    layers = layers_of(network)
    slowest = max((layer.slowest for layer in layers), default=0.0)
    longest = max((layer.longest_delay for layer in layers), default=0.0)
    # what is typical is no more than the most, which every layer knows: few networks are looked at more closely
    tau_bound = max(1.0, _TIME_CONSTANT * t_end)
    if slowest >= tau_bound:
        _warn_of_taus(network, tau_bound, t_end)
    delay_bound = max(_DELAY[0] * t_end, _DELAY[1] * slowest)
    if longest >= delay_bound:
        for key, projection in network.projections.items():
            if projection.delay.size and (value := _typical(projection.delay)) >= delay_bound:
                _warn(f"delay of {key}", value, f"t_end is {t_end!r} s, so that no spike arrives")
    last = max((float(t.times.max()) for t in inputs.values() if t.n_spikes), default=np.inf)
    if t_end >= _THOUSAND * max(last, slowest, longest) and not any(map(_goes_on, layers)):
        meant = f"the last input spike is at {last!r} s, the slowest time constant {slowest!r} s"
        _warn("t_end", t_end, f"{meant}, and nothing goes on by itself")
    first = min((float(t.times.min()) for t in inputs.values() if t.n_spikes), default=0.0)
    if first >= max(_INPUT[0] * t_end, _INPUT[1]):
        _warn("the first input spike", first, f"t_end is {t_end!r} s, so that no input has an effect")


def _goes_on(layer: Layer) -> bool:
    """Return whether neurons may spike for ever after their last input: in a cycle, or with a leak at the threshold."""
    return layer.cyclic or any(
        bool(np.any(np.asarray(p.neuron.v_leak) >= p.neuron.v_threshold))
        for p in layer.populations
        if isinstance(p.neuron, LIF)
    )


def _warn_of_taus(network: Network, bound: float, t_end: float) -> None:
    for name, population in network.populations.items():
        neuron = population.neuron
        if neuron is None or not population.size:
            continue
        taus = {parameter: _typical(getattr(neuron, parameter)) for parameter in ("tau_mem", "tau_syn")}
        far = {n: value for n, value in taus.items() if bound <= value < _THOUSAND}
        if "tau_syn" in far or not _driven(network, name, neuron):
            for parameter, value in far.items():
                _warn(f"{parameter} of {name!r}", value, f"t_end is {t_end!r} s")


def warn_of_loss(name: str, value: float, t_end: float) -> None:
    """Warn of a constant of a loss that is far beyond a t_end > 0."""
    if t_end > 0 and np.inf > value >= max(_LOSS[0] * t_end, _LOSS[1]):
        _warn(name, value, f"t_end is {t_end!r} s")


def shortest_constant(network: Network) -> float:
    """Return the shortest time constant of a network in seconds, inf without neurons."""
    return min(
        (
            float(np.min(getattr(p.neuron, name)))
            for p in network.populations.values()
            if p.neuron is not None and p.size
            for name in ("tau_mem", "tau_syn")
        ),
        default=np.inf,
    )


def warn_of_step(time_step: float, network: Network) -> None:
    """Warn of a time step that is longer than a time constant."""
    for name, population in network.populations.items():
        if population.neuron is None or not population.size:
            continue
        for parameter in ("tau_mem", "tau_syn"):
            shortest = float(np.min(getattr(population.neuron, parameter)))
            if time_step > shortest:
                _warn("time_step", time_step, f"{parameter} of {name!r} is {shortest!r} s")
                return


def _driven(network: Network, name: str, neuron: LIF | LI) -> bool:
    """Return whether a typical spike moves V by a hundredth of the way to the threshold, as weights made for it do."""
    if not isinstance(neuron, LIF):
        return False
    sizes = [_typical(np.abs(p.weights)) for p in network.afferents(name) if p.weights.size]
    peak = max(sizes, default=0.0) * _typical(neuron.tau_syn) / _typical(neuron.tau_mem)
    return peak >= 0.01 * _typical(np.subtract(neuron.v_threshold, neuron.v_reset))


def _typical(values: float | ArrayLike) -> float:
    """Return the lower median: at least half of the numbers are as large."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), 0.5, method="lower"))


def _warn(what: str, value: float, beside: str) -> None:
    meant = f"{value / _THOUSAND:.12g}"
    warnings.warn(
        f"{what} is {value!r} s and {beside}: were milliseconds meant ({meant})?",
        UnitWarning,
        stacklevel=_level_of_caller(),
    )


def _level_of_caller() -> int:
    """Return the stacklevel, seen from :func:`_warn`, of the first frame outside the packages."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGES):
        level, frame = level + 1, frame.f_back
    return level
