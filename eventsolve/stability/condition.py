"""gradient_condition(): how many digits of the derivatives of every spike time float64 can know.

A running error analysis to first order, with the triangle inequality, forwards through every trajectory
(:func:`eventsolve.kernels.perturbation.transport`):

1. how far V, I and every spike time may be off: a few roundings of each term of V and I between two events, against V'
   at a crossing, and the times of everything that arrives;
2. for every kind of parameter, how large the derivatives by all of its numbers may be, as for weights sum_w |dt_k/dw|;
3. how far these may be off. dt_k = -dV/V' has the relative error of V', which is that of I(t_k) over tau_mem V': where
   a crossing grazes, the time is off by eps/V', V' by V'' eps/V', and the derivative relatively by V'' eps/V'^2. Every
   jump of dV and dI happens at a time that is off, and between events dV and dI have, as sources, V' (for tau_mem), I
   (for tau_syn) and 1 (for v_leak), for a duration that is off: one of h seconds between two events at times t is known
   to eps t/h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import instance, require_mapping, shown
from eventsolve.chunks import map_chunks
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.interrupts import call
from eventsolve.kernels import perturbation
from eventsolve.kernels.distances import Trajectories
from eventsolve.kernels.perturbation import Changes, Reach, Scales
from eventsolve.kernels.trajectories import (
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
from eventsolve.patterns import NAMES, NEURON_PARAMETERS
from eventsolve.schedule import Layer
from eventsolve.solution import Solution
from eventsolve.stability.margins import spiking_layers
from eventsolve.stability.parts import LayerPart, given, layer_part_of, part_of, part_ranges, places_in
from eventsolve.typing import Reals

ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
"""Of a sum of three terms: each carries at most about three roundings (the argument, exp, the product), the sum two.

That of an argument a is eps a, so that a exp(-a) is off by (1 + a) exp(-a) roundings, and K, which is a difference of
two exponentials where these are apart by more than exp(1/2), by coth(1/4) < 4.1 times as many.
"""
SPACING = float(np.finfo(np.float64).eps)
"""Of times: half an ulp from each of two roundings."""


class IllConditioned(NamedTuple):
    """A spike whose time has derivatives of few digits, and the parameter of which they are fewest."""

    population: str
    sample: int
    neuron: int
    time: float
    digits: float
    parameter: str

    def __str__(self) -> str:
        return (
            f"the derivatives of the spike of neuron {self.neuron} of {self.population!r} in sample {self.sample} at "
            f"{self.time!r} s by {self.parameter} have {max(self.digits, 0.0):.1f} digits"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Condition(Frozen):
    """How well float64 knows the derivatives of spike times; every field in the order of ``solution.spikes``.

    Attributes
    ----------
    solution : Solution
    time_error : mapping of spiking population to ndarray, (n_spikes,)
        A bound, to first order, on how far the spike time is from the exact one, in seconds.
    sizes : mapping of parameter to mapping of spiking population to ndarray, (n_spikes,)
        By the names of gradients ("weight", ..., "spike_times", which are those of inputs): a bound on the sum of
        abs(dt_k/dtheta) over all numbers of that name, in seconds per unit of the parameter. It is what their
        contributions add up to in size, so that one which others cancel counts.
    errors : mapping of parameter to mapping of spiking population to ndarray, (n_spikes,)
        A bound, to first order, on the sum of the errors of these derivatives; inf where a spike has no slope.
    """

    solution: Solution
    time_error: Mapping[str, Reals]
    sizes: Mapping[str, Mapping[str, Reals]]
    errors: Mapping[str, Mapping[str, Reals]]

    def __post_init__(self) -> None:
        instance("solution", self.solution, Solution)
        self.solution.require_times("time_error", self.time_error)
        for name in ("sizes", "errors"):
            require_mapping(name, getattr(self, name), "parameter to population to array")
            for parameter, found in getattr(self, name).items():
                self.solution.require_times(f"{name}[{parameter!r}]", found)
        super().__post_init__()

    @property
    def size(self) -> dict[str, Reals]:
        """Sizes by weight and by v_threshold together, by population: both are in seconds per unit of V."""
        return {name: size + self.sizes["v_threshold"][name] for name, size in self.sizes["weight"].items()}

    @property
    def error(self) -> dict[str, Reals]:
        """Errors by weight and by v_threshold together, by population."""
        return {
            name: error + self.errors["v_threshold"][name] for name, error in self.errors["weight"].items()
        }

    @property
    def digits(self) -> dict[str, Reals]:
        """Decimal digits to which the derivatives of each spike time are known, by population.

        Of the parameter of which they are fewest, relative to its ``sizes``. 0 or less: nothing is known. Inf for a
        spike that only the time of an arrival moves.
        """
        return {name: np.min(known, axis=0, initial=np.inf) for name, known in self._known().items()}

    def _known(self) -> dict[str, Reals]:
        """Return by population how many digits are known by each parameter of each spike, (n_parameters, n_spikes)."""
        found = {}
        for name in self.time_error:
            size, error = (
                np.stack([by[name] for by in all_of.values()]) for all_of in (self.sizes, self.errors)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                digits = np.where(error > 0.0, -np.log10(error / size), np.inf)
            found[name] = np.where(np.isfinite(error), digits, -np.inf)
        return found

    def flagged(
        self, digits: float, *, among: Mapping[str, Reals] | None = None
    ) -> tuple[IllConditioned, ...]:
        """Return the spikes whose times have derivatives of fewer digits by some parameter, by population, in order.

        With ``among``, a number for every spike of each population, only those whose number is not 0.
        """
        if not isinstance(digits, float | int) or isinstance(digits, bool) or not digits >= 0:
            raise ValueError(f"digits must be a number >= 0; got {shown(digits)}")
        found = []
        parameters = tuple(self.sizes)
        for name, known in self._known().items():
            spikes = self.solution.spikes[name]
            worst = np.argmin(known, axis=0)
            few = (known < digits).any(axis=0)
            for k in np.flatnonzero(few if among is None else few & (among[name] != 0.0)).tolist():
                who = (int(spikes.samples[k]), int(spikes.neurons[k]), float(spikes.times[k]))
                found.append(IllConditioned(name, *who, float(known[worst[k], k]), parameters[worst[k]]))
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
    solution.require_solved("the condition of gradients is that")
    solution = solution.from_start()  # what was before is no part of it, and not differentiated
    layers, ranges = spiking_layers(solution), part_ranges(solution)
    parts = map_chunks(lambda k: _condition(part_of(solution, *ranges[k]), layers), len(ranges), threads)
    columns: dict[str, list[Reals]] = {
        name: [np.empty((_N_COLUMNS, 0))] for layer in layers for name in layer.name
    }
    for found in parts:
        for name, column in found.items():
            columns[name].append(column)
    joined = {name: np.concatenate(pieces, axis=1) for name, pieces in columns.items()}

    def by_parameter(first: int) -> Mapping[str, Mapping[str, Reals]]:
        return FrozenMapping(
            {
                name: FrozenMapping({population: column[first + k] for population, column in joined.items()})
                for k, name in enumerate(NAMES)
            }
        )

    return Condition(
        solution,
        FrozenMapping({population: column[0] for population, column in joined.items()}),
        by_parameter(1),
        by_parameter(1 + len(NAMES)),
    )


_N_COLUMNS = 1 + 2 * len(NAMES)
"""Of every spike: the error of its time, then by parameter the sizes, and then the errors, of its derivatives."""


def _condition(part: Solution, layers: list[Layer]) -> dict[str, Reals]:
    """Return the columns of every spike of a part, by population."""
    columns = {name: np.zeros((_N_COLUMNS, spikes.n_spikes)) for name, spikes in part.spikes.items()}
    for name, p in part.network.populations.items():
        if p.neuron is None:
            columns[name][1 + NAMES.index("spike_times")] = 1.0
    for layer in layers:
        layer_part = layer_part_of(part, layer)
        # the last column is of no spike, which does not move
        before = np.zeros((_N_COLUMNS, layer_part.origin.size + 1))
        for k in range(_N_COLUMNS):
            before[k, :-1] = given(layer_part.gathered, {name: c[k] for name, c in columns.items()})
        found = np.zeros((_N_COLUMNS, layer_part.own.times.size + 1))
        for s in range(part.n_samples):
            _condition_of(layer_part, s, before, found)
        for name, places in places_in(layer, layer_part.own).items():
            columns[name] = found[:, places]
    return {name: columns[name] for layer in layers for name in layer.name}


def _condition_of(layer_part: LayerPart, sample: int, before: Reals, found: Reals) -> None:
    """Write the columns of the own spikes of a sample into ``found``; ``before`` has those of the sources."""
    layer, own, trajectories = layer_part.layer, layer_part.own, layer_part.trajectories[sample]

    def carried(changes: Changes, k: int) -> Reach:
        reach: Reach = call(
            perturbation.transport,
            layer.neurons,
            layer.afferents,
            trajectories,
            own,
            sample,
            layer_part.origin,
            before[k],
            changes,
            found[k],
        )
        return reach

    with np.errstate(invalid="ignore"):  # 0 times inf, at spikes without a slope
        events = _Events(layer_part, trajectories)
        off = carried(events.roundings(), 0)
        nothing = np.zeros(own.times.size)
        for k, name in enumerate(NAMES, start=1):
            scales = scales_of(layer, name)
            unit = call(
                perturbation.changes_of,
                layer.neurons,
                layer.afferents,
                trajectories,
                own.trigger,
                scales,
                nothing,
            )
            size = carried(unit, k)
            more = events.errors(off, size, unit, scales, before[0], before[k])
            carried(more, k + len(NAMES))


def scales_of(layer: Layer, name: str) -> Scales:
    """Return the scales of a layer's parameters: 1 for all numbers of that name."""
    synapses, neurons = layer.order.size, np.zeros((len(NEURON_PARAMETERS), layer.size))
    scales = Scales(np.zeros(synapses), np.zeros(synapses), neurons)
    if name == "weight":
        scales.weight[:] = 1.0
    elif name == "delay":
        scales.delay[:] = 1.0
    elif name in NEURON_PARAMETERS:
        scales.neurons[NEURON_PARAMETERS.index(name)] = 1.0
    return scales


class _Events:
    """The segments of all trajectories of a sample as columns, (n_segments,), and masks of what ends them."""

    def __init__(self, layer_part: LayerPart, trajectories: Trajectories) -> None:
        layer, own_trigger = layer_part.layer, layer_part.own.trigger
        neurons, states, events = layer.neurons, trajectories.states, trajectories.events
        neuron = np.empty(events.shape[0], np.int64)
        for n in range(layer.size):
            neuron[trajectories.first[n] : trajectories.last[n]] = n
        self.neuron = neuron
        self.tau_mem, self.tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
        self.drop = (neurons.v_threshold - neurons.v_reset)[neuron]
        self.level = np.abs(neurons.v_threshold[neuron]) + np.abs(neurons.v_leak[neuron])
        u, i, h = states[:, VOLTAGE], states[:, CURRENT], states[:, DURATION]
        self.u, self.i, self.duration = np.abs(u), np.abs(i), h
        self.decay_mem, self.decay_syn = states[:, DECAY_MEM], states[:, DECAY_SYN]
        self.response = states[:, RESPONSE]
        self.time = states[:, START] + h
        self.current = self.i * self.decay_syn
        # what V and I at the end owe to the parameters, per unit of u and i at the start
        k_leak, k_mem, k_syn = call(perturbation.derivatives_of, neurons, trajectories)
        self.by_leak, self.by_mem_i, self.by_syn_i = k_leak, np.abs(k_mem), np.abs(k_syn)
        self.by_mem_u = self.decay_mem * h / self.tau_mem**2
        self.decay_by_syn = self.decay_syn * h / self.tau_syn**2
        self.held = events[:, HELD] != 0
        self.held_next = next_of(self.held)
        self.arrives, self.spikes = events[:, ENDING] == ARRIVAL, events[:, ENDING] == SPIKE
        self.released = events[:, ENDING] == RELEASE
        # which of the own spikes each spike is, and which one each release follows, -1 for others
        last = np.maximum.accumulate(np.where(self.spikes, np.arange(neuron.size), -1))
        follows = self.released & (last >= trajectories.first[neuron])
        self.spike = np.where(self.spikes | follows, events[last, WHICH], -1)
        self.crosses = self.spikes.copy()
        self.crosses[self.spikes] = own_trigger[self.spike[self.spikes]] < 0
        self.subtracts = self.spikes & ~self.crosses & neurons.subtracts.astype(np.bool_)[neuron]
        # of what arrives; where nothing does the index is -1, of what is appended
        self.cause = trajectories.causes
        self.own = np.append(layer_part.origin, -1)[self.cause]
        self.weight = np.abs(np.append(layer.afferents.weight, 0.0))[trajectories.synapses]
        self.delta = np.append(layer.afferents.delta, False)[trajectories.synapses]
        self.slope_before = (
            np.abs(i * self.decay_syn - (u * self.decay_mem + i * self.response)) / self.tau_mem
        )
        after = next_of(u)
        self.slope_after = np.abs(i * self.decay_syn - np.where(self.released, u, after)) / self.tau_mem

    def roundings(self) -> Changes:
        """Return what rounding changes in every segment."""
        a, b = self.duration / self.tau_mem, self.duration / self.tau_syn
        terms = self.u * (self.decay_mem * (1.0 + a)) + self.level
        terms += self.i * np.minimum(4.1 * self.response * (1.0 + a + b), 1.0)
        zero = np.zeros(self.u.size)
        return Changes(zero, zero, ROUNDING * terms, ROUNDING * self.i, SPACING * np.abs(self.time))

    def errors(
        self, off: Reach, size: Reach, unit: Changes, scales: Scales, off_given: Reals, size_given: Reals
    ) -> Changes:
        """Return what changes the derivatives by itself in every segment.

        ``off`` is how far V, I and spike times are off, ``size`` how large the derivatives are; the last two arguments
        are both of the spikes of the sources. Behind all spikes stands a 0, for none.
        """
        d = scales.neurons[:, self.neuron]
        d_mem, d_syn, d_leak, d_ref = (
            d[k]
            for k in (perturbation.TAU_MEM, perturbation.TAU_SYN, perturbation.V_LEAK, perturbation.T_REF)
        )
        tau_mem, tau_syn = self.tau_mem, self.tau_syn

        def of_arrival(reach: Reach, outside: Reals) -> Reals:
            values: Reals = np.where(self.own >= 0, reach.spikes[self.own], outside[self.cause])
            return values

        # between events: every term is rounded, and what parameters owe to V and I is off as these are
        owed_v = d_leak * self.by_leak
        owed_v += d_mem * (self.by_mem_u * self.u + self.by_mem_i * self.i) + d_syn * self.by_syn_i * self.i
        owed_i = d_syn * self.decay_by_syn * self.i
        late_v = ROUNDING * (self.decay_mem * size.v + self.response * size.i + owed_v)
        late_v += d_mem * (self.by_mem_u * off.v + self.by_mem_i * off.i) + d_syn * self.by_syn_i * off.i
        late_i = ROUNDING * (self.decay_syn * size.i + owed_i) + d_syn * self.decay_by_syn * off.i
        size_v = self.decay_mem * size.v + self.response * size.i + unit.late_v
        size_i = self.decay_syn * size.i + unit.late_i
        # how fast dV goes before a spike, and after any event
        speed = (size_i + size_v + d_leak) / tau_mem + self.slope_before * d_mem / tau_mem
        speed_after = (
            next_of(size.v) + next_of(size.i) + d_leak
        ) / tau_mem + self.slope_after * d_mem / tau_mem
        # an arrival's jumps of dI and dV, and of their sources, at a time that is off
        moved = of_arrival(off, off_given) + SPACING * np.abs(self.time)
        shifted = of_arrival(size, size_given) + unit.shift
        jump_i = np.where(
            self.arrives & ~self.delta, self.weight * shifted / tau_syn + next_of(unit.early_i), 0.0
        )
        jump_v = np.where(
            self.arrives & ~self.held, self.weight * shifted / tau_mem + next_of(unit.early_v), 0.0
        )
        weight_i = np.where(self.delta, 0.0, self.weight)
        behind_i = jump_i * (moved / tau_syn + ROUNDING) + weight_i * d_syn / tau_syn**2 * moved
        turn_v = (jump_i + jump_v) / tau_mem + self.weight * d_mem / tau_mem**2
        behind_v = np.where(self.held, 0.0, turn_v * moved + ROUNDING * jump_v)
        # a crossing divides by a slope that is off, at a time that is
        late, reach = off.spikes[self.spike], size.spikes[self.spike]
        off_i = self.decay_syn * off.i + ROUNDING * self.i + self.current * late / tau_syn
        off_slope = (off_i + ROUNDING * (self.current + self.u + self.level)) / tau_mem
        late_v += np.where(
            self.crosses,
            speed * late + (off_slope + ROUNDING * self.slope_after) * reach,
            0.0,
        )
        # a reset or release multiplies by one; after a subtraction V is off as it was before
        restarts = (self.spikes & ~self.held_next) | self.released
        reach = reach + np.where(restarts, d_ref, 0.0)
        off_after = off_slope + np.where(self.subtracts | self.released, off.v, 0.0) / tau_mem
        late_reset = (off_after + ROUNDING * self.slope_after) * reach + speed_after * late
        behind_v += np.where(restarts, late_reset, 0.0)
        left = np.where(self.held_next, self.slope_before, self.drop / tau_mem)
        turned = off_slope * reach + (speed + speed_after) * late + ROUNDING * left * reach
        behind_v += np.where(self.subtracts, turned, 0.0)
        # what is behind the event that ends a segment is at the start of the next one
        return Changes(np.roll(behind_v, 1), np.roll(behind_i, 1), late_v, late_i, np.zeros(self.u.size))


def next_of(column: NDArray[Any]) -> NDArray[Any]:
    """Return what stands one segment later; no event ends the last one, behind which stands the first."""
    return np.roll(column, -1)
