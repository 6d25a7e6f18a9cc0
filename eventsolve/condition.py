"""gradient_condition(): how many digits of the derivatives of every spike time float64 can know.

A running error analysis to first order, with the triangle inequality, forwards through every life
(:func:`eventsolve.kernels.perturbation.transport`), three times:

1. how far V, I and every spike time may be off: a few roundings of each term of V and I between two events, against V'
   at a crossing, and the times of everything that arrives;
2. how large the derivatives by all weights and thresholds may be: sum_w |dt_k/dw| + sum_n |dt_k/dv_threshold_n|;
3. how far these may be off. dt_k = -dV/V' has the relative error of V', which is that of I(t_k) over tau_mem V': where
   a crossing grazes, the time is off by eps/V', V' by V'' eps/V', and the derivative relatively by V'' eps/V'^2. Every
   jump of dV and dI happens at a time that is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import shown
from eventsolve.chunks import map_chunks
from eventsolve.interrupts import call
from eventsolve.kernels import perturbation
from eventsolve.kernels.distances import Lives
from eventsolve.kernels.lives import (
    ARRIVAL,
    CURRENT,
    DECAY_MEM,
    DECAY_SYN,
    DURATION,
    ENDING,
    HELD,
    RELEASE,
    RESPONSE,
    SPIKE,
    START,
    VOLTAGE,
    WHICH,
)
from eventsolve.kernels.perturbation import Changes, Reach
from eventsolve.margins import spiking_layers
from eventsolve.schedule import Layer
from eventsolve.solution import Solution
from eventsolve.studies import Study, given, part_of, part_ranges, places_in, study_of

Reals = NDArray[np.float64]

ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
"""Of a sum of three terms: each carries at most about three roundings (the argument, exp, the product), the sum two."""
SPACING = float(np.finfo(np.float64).eps)
"""Of times: half an ulp from each of two roundings."""


class IllConditioned(NamedTuple):
    """A spike whose time has derivatives of few digits."""

    population: str
    sample: int
    neuron: int
    time: float
    digits: float

    def __str__(self) -> str:
        return (
            f"the derivatives of the spike of neuron {self.neuron} of {self.population!r} in sample {self.sample} at "
            f"{self.time!r} s have {max(self.digits, 0.0):.1f} digits"
        )


@dataclass(frozen=True, eq=False)
class Condition:
    """How well float64 knows the derivatives of spike times; every field in the order of ``solution.spikes``.

    Attributes
    ----------
    solution : Solution
    time_error : mapping of spiking population to ndarray, (n_spikes,)
        A bound, to first order, on how far the spike time is from the exact one, in seconds.
    size : mapping of spiking population to ndarray, (n_spikes,)
        A bound on sum_w abs(dt_k/dw) + sum_n abs(dt_k/dv_threshold_n) over all weights and thresholds, in seconds per
        unit of V: what its contributions add up to in size.
    error : mapping of spiking population to ndarray, (n_spikes,)
        A bound, to first order, on the sum of the errors of these derivatives; inf where a spike has no slope.
    """

    solution: Solution
    time_error: Mapping[str, Reals]
    size: Mapping[str, Reals]
    error: Mapping[str, Reals]

    @property
    def digits(self) -> dict[str, Reals]:
        """Decimal digits to which the derivatives of each spike time are known, relative to ``size``.

        0 or less: nothing is known. Inf for a spike that no weight moves.
        """
        found = {}
        for name, error in self.error.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                digits = np.where(error > 0.0, -np.log10(error / self.size[name]), np.inf)
            found[name] = np.where(np.isfinite(error), digits, -np.inf)
        return found

    def flagged(
        self, digits: float, *, among: Mapping[str, Reals] | None = None
    ) -> tuple[IllConditioned, ...]:
        """Return the spikes whose times have derivatives of fewer digits, by population, in their order.

        With ``among``, a number for every spike of each population, only those whose number is not 0.
        """
        if not isinstance(digits, float | int) or isinstance(digits, bool) or not digits >= 0:
            raise ValueError(f"digits must be a number >= 0; got {shown(digits)}")
        found = []
        for name, known in self.digits.items():
            spikes = self.solution.spikes[name]
            few = known < digits
            for k in np.flatnonzero(few if among is None else few & (among[name] != 0.0)).tolist():
                who = (int(spikes.samples[k]), int(spikes.neurons[k]), float(spikes.times[k]))
                found.append(IllConditioned(name, *who, float(known[k])))
        return tuple(found)


def gradient_condition(solution: Solution, *, threads: int | None = None) -> Condition:
    """Return how many digits float64 knows of the derivatives of every spike time.

    A gradient that flows through a spike has no more digits than the derivatives of the spike's time.

    Parameters
    ----------
    solution : Solution
    threads : int, optional
        As in ``solve``; the result has the same bits for any number.

    Raises
    ------
    TypeError
        If ``solution`` is not a Solution.
    ValueError
        If the solution ends with first spikes.
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {type(solution).__name__}")
    solution.require_whole("the condition of gradients")
    layers, ranges = spiking_layers(solution), part_ranges(solution)
    parts = map_chunks(lambda k: _condition(part_of(solution, *ranges[k]), layers), len(ranges), threads)
    columns: dict[str, list[tuple[Reals, ...]]] = {
        name: [(np.empty(0),) * 3] for layer in layers for name in layer.name
    }
    for found in parts:
        for name, column in found.items():
            columns[name].append(column)
    fields: tuple[dict[str, Reals], ...] = ({}, {}, {})
    for name, pieces in columns.items():
        for field, column in zip(fields, zip(*pieces, strict=True), strict=True):
            field[name] = np.concatenate(column)
            field[name].setflags(write=False)
    return Condition(solution, *(MappingProxyType(field) for field in fields))


def _condition(part: Solution, layers: list[Layer]) -> dict[str, tuple[Reals, ...]]:
    """Return the error of every spike time of a part, and size and error of its derivatives, by population."""
    zero = {name: np.zeros(spikes.n_spikes) for name, spikes in part.spikes.items()}
    moved, size, error = dict(zero), dict(zero), dict(zero)
    for layer in layers:
        study = study_of(part, layer)
        before = tuple(given(study.gathered, by) for by in (moved, size, error))
        found = tuple(np.zeros(study.own.times.size) for _ in range(3))
        for s in range(part.n_samples):
            _condition_of(study, s, before, found)
        for name, places in places_in(layer, study.own).items():
            moved[name], size[name], error[name] = (column[places] for column in found)
    return {name: (moved[name], size[name], error[name]) for layer in layers for name in layer.name}


def _condition_of(study: Study, sample: int, before: tuple[Reals, ...], found: tuple[Reals, ...]) -> None:
    """Write how far each own spike of a sample may be off, and size and error of its derivatives."""
    layer, own, lives = study.layer, study.own, study.lives[sample]

    def carried(changes: Changes, k: int) -> Reach:
        reach: Reach = call(
            perturbation.transport,
            layer.neurons,
            layer.afferents,
            lives,
            own,
            sample,
            study.origin,
            before[k],
            changes,
            found[k],
        )
        return reach

    with np.errstate(invalid="ignore"):  # 0 times inf, at spikes without a slope
        events = _Events(layer, lives, own.trigger)
        off = carried(events.roundings(), 0)
        scales = perturbation.Scales(
            np.ones(layer.order.size), np.zeros(layer.order.size), np.zeros((8, layer.size))
        )
        scales.neurons[perturbation.V_THRESHOLD] = 1.0
        nothing = np.zeros(own.times.size)
        unit = call(
            perturbation.changes_of, layer.neurons, layer.afferents, lives, own.trigger, scales, nothing
        )
        size = carried(unit, 1)
        carried(events.errors(off, size, unit, study.origin, before), 2)


class _Events:
    """The segments of all lives of a sample as columns, (n_segments,), and masks of what ends them."""

    def __init__(self, layer: Layer, lives: Lives, own_trigger: NDArray[np.int64]) -> None:
        neurons, states, events = layer.neurons, lives.states, lives.events
        neuron = np.empty(events.shape[0], np.int64)
        for n in range(layer.size):
            neuron[lives.first[n] : lives.last[n]] = n
        self.lives = lives
        self.tau_mem, self.tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
        self.drop = (neurons.v_threshold - neurons.v_reset)[neuron]
        self.level = np.abs(neurons.v_threshold[neuron]) + np.abs(neurons.v_leak[neuron])
        self.u, self.i = np.abs(states[:, VOLTAGE]), np.abs(states[:, CURRENT])
        self.decay_mem, self.decay_syn = states[:, DECAY_MEM], states[:, DECAY_SYN]
        self.response = states[:, RESPONSE]
        self.time = states[:, START] + states[:, DURATION]
        self.current = self.i * self.decay_syn
        self.held = events[:, HELD] != 0
        self.arrives, self.spikes = events[:, ENDING] == ARRIVAL, events[:, ENDING] == SPIKE
        self.released = events[:, ENDING] == RELEASE
        self.which = np.where(self.spikes, events[:, WHICH], 0)
        self.crosses = self.spikes.copy()
        self.crosses[self.spikes] = own_trigger[self.which[self.spikes]] < 0
        self.subtracts = self.spikes & ~self.crosses & (neurons.subtracts[neuron] > 0.0)
        self.synapse = np.where(self.arrives, lives.synapses, 0)
        self.cause = np.where(self.arrives, lives.causes, 0)
        weight, delta = layer.afferents.weight, layer.afferents.delta
        none = np.zeros(1)
        self.weight = np.where(self.arrives, np.abs(weight if weight.size else none)[self.synapse], 0.0)
        self.delta = self.arrives & (delta if delta.size else none.astype(np.bool_))[self.synapse]
        # which spike each release follows
        last = np.maximum.accumulate(np.where(self.spikes, np.arange(neuron.size), -1))
        self.follows = np.where(self.released & (last >= lives.first[neuron]), self.which[last], -1)
        signed = states[:, CURRENT] * self.decay_syn
        after = np.append(states[1:, VOLTAGE], 0.0)
        self.slope_after = np.abs(signed - np.where(self.released, states[:, VOLTAGE], after)) / self.tau_mem

    def roundings(self) -> Changes:
        """Return what rounding changes in every segment."""
        terms = self.u + self.i + self.level
        zero = np.zeros(self.u.size)
        return Changes(zero, zero, ROUNDING * terms, ROUNDING * self.i, SPACING * np.abs(self.time))

    def errors(
        self, off: Reach, size: Reach, unit: Changes, origin: NDArray[np.int64], before: tuple[Reals, ...]
    ) -> Changes:
        """Return what changes the derivatives by itself in every segment."""
        own = origin[self.cause] if origin.size else np.zeros(self.u.size, np.int64)

        def of_arrival(reach: Reach, outside: Reals) -> Reals:
            if not origin.size:
                return np.zeros(self.u.size)
            inside = reach.spikes[np.maximum(own, 0)] if reach.spikes.size else outside[self.cause]
            values: Reals = np.where(self.arrives, np.where(own >= 0, inside, outside[self.cause]), 0.0)
            return values

        def of_spike(reach: Reach) -> Reals:
            if not reach.spikes.size:
                return np.zeros(self.u.size)
            place = np.where(self.spikes, self.which, self.follows)
            values: Reals = np.where(place >= 0, reach.spikes[np.maximum(place, 0)], 0.0)
            return values

        zero = np.zeros(self.u.size)
        late_v = ROUNDING * (self.decay_mem * size.v + self.response * size.i)
        late_i = ROUNDING * self.decay_syn * size.i
        size_v = np.where(self.held, size.v, self.decay_mem * size.v + self.response * size.i + unit.late_v)
        size_i = self.decay_syn * size.i
        early_v, early_i = np.zeros((2, self.u.size + 1))
        # an arrival's jumps of dI and dV, at a time that is off
        moved, shifted = of_arrival(off, before[0]) + SPACING * np.abs(self.time), of_arrival(size, before[1])
        jump_i = np.where(
            self.arrives & ~self.delta, self.weight * shifted / self.tau_syn + unit_after(unit.early_i), 0.0
        )
        jump_v = np.where(
            self.arrives & ~self.held, self.weight * shifted / self.tau_mem + unit_after(unit.early_v), 0.0
        )
        early_i[1:] += jump_i * (moved / self.tau_syn + ROUNDING)
        early_v[1:] += np.where(self.held, 0.0, (jump_i + jump_v) * moved / self.tau_mem + ROUNDING * jump_v)
        # a crossing divides by a slope that is off, at a time that is
        late, reach = of_spike(off), of_spike(size)
        off_i = self.decay_syn * off.i + ROUNDING * self.i + self.current * late / self.tau_syn
        off_slope = (off_i + ROUNDING * (self.current + self.u + self.level)) / self.tau_mem
        late_v += np.where(
            self.crosses,
            (size_i + size_v) / self.tau_mem * late + (off_slope + ROUNDING * self.slope_after) * reach,
            0.0,
        )
        # a reset or release multiplies by one
        restarts = (self.spikes & ~np.append(self.held[1:], True)) | self.released
        late_reset = off_slope * reach + (self.slope_after * reach + size_v) * late / self.tau_mem
        early_v[1:] += np.where(restarts, late_reset + ROUNDING * self.slope_after * reach, 0.0)
        early_v[1:] += np.where(
            self.subtracts, self.drop * reach / self.tau_mem * (late / self.tau_mem + ROUNDING), 0.0
        )
        return Changes(early_v[:-1], early_i[:-1], late_v, late_i, zero)


def unit_after(column: Reals) -> Reals:
    """Return what stands one segment later."""
    return np.append(column[1:], 0.0)
