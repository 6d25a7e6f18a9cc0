"""What is claimed, spikes and gradients, beside what is proven.

A claimed time may be away from a proven one by a few roundings of everything that the spike depends on, to first order:
:func:`tolerances`. A rounding error of V is one of the time over V', and one of a time moves V downstream by the
weights that arrive then. Errors add up with their absolute values. That is a standard to hold claims to, in float64;
nothing is proven with it. Gradients of a batch are enclosed in the layout of Gradients, and compared entry by entry.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from flint import arb

from eventsolve.adjoint import Gradients
from eventsolve.certify.arithmetic import (
    Enclosures,
    added,
    enclosures_of,
    is_within,
    joined,
    order_of_balls,
    rounded,
)
from eventsolve.certify.boxes import PARAMETERS, Box
from eventsolve.certify.gradient import Adjoint
from eventsolve.certify.network import Enclosed
from eventsolve.checks import real_array, shown
from eventsolve.frozen import Frozen
from eventsolve.network import Network, parameters_of
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Owner, Reals

Claims: TypeAlias = Mapping[str, tuple[list[float], list[int]]]
"""Times in seconds and neurons of the spikes of one sample, by population, in the order of SpikeTrains."""


class Refutation(NamedTuple):
    """A claim that is proven wrong.

    Attributes
    ----------
    kind : {"missed", "extra", "moved"}
        A spike that the claim lacks, one that there is not, or one at another time.
    population, sample, neuron
    time : float
        When the spike is, in seconds; nan for an extra one.
    claimed : float
        When it is claimed to be, in seconds; nan for a missed one.
    """

    kind: Literal["missed", "extra", "moved"]
    population: str
    sample: int
    neuron: int
    time: float
    claimed: float

    @property
    def when(self) -> float:
        """The earlier of the two times."""
        return min(t for t in (self.time, self.claimed) if not math.isnan(t))

    def __str__(self) -> str:
        who = f"neuron {self.neuron} of {self.population!r} in sample {self.sample}"
        if self.kind == "missed":
            return f"{who} spikes at {self.time!r} s, which is missing"
        if self.kind == "extra":
            return f"{who} does not spike at {self.claimed!r} s, as is claimed"
        return f"{who} spikes at {self.time!r} s, not at {self.claimed!r} s"


@dataclass(frozen=True)
class Judgement:
    """What became of the spikes that one sample claims of one population.

    ``matched`` holds the place of a proven spike among ``Enclosed.spikes`` for every claimed one, -1 where there is
    none. ``open_at_end`` are the neurons of which a box decides only in part whether they spike before t_end.
    """

    matched: list[int]
    refuted: list[Refutation]
    open_at_end: list[int]


def judge(
    box: Box,
    enclosed: Enclosed,
    allowed: Tolerances,
    population: str,
    sample: int,
    times: Sequence[float],
    neurons: Sequence[int],
) -> Judgement:
    """Hold the spikes that are claimed of a population, in the order of SpikeTrains, against those that are proven.

    Of a neuron for which something stays open only spikes before that are judged, by more than one then might be off,
    and of any only those up to when its sample was solved. A spike that comes within its tolerance of t_end may be
    claimed or not.
    """
    place = box.populations[population]
    proven: dict[int, list[int]] = {}
    for k in range(enclosed.n_given, len(enclosed.spikes)):
        cell = enclosed.spikes[k].cell
        if place.start <= cell < place.stop and k not in enclosed.doubtful:
            proven.setdefault(cell - place.start, []).append(k)
    claimed: dict[int, list[int]] = {}
    for q, neuron in enumerate(neurons):
        claimed.setdefault(neuron, []).append(q)
    matched = [-1] * len(times)
    refuted: list[Refutation] = []
    open_at_end: list[int] = []
    for neuron in sorted(proven.keys() | claimed.keys()):
        cell = place.start + neuron
        known_until = enclosed.open.get(cell, (math.inf, None))[0] - allowed.open.get(cell, 0.0)
        mine, true = claimed.get(neuron, []), proven.get(neuron, [])
        here = _Neuron(box, enclosed, allowed.spikes, population, sample, neuron, known_until)
        for q, k in here.pairs(mine, true, times):
            matched[q] = k
        refuted.extend(here.first_error(mine, true, times, matched))
        open_at_end.extend(neuron for k in true if not box.exact and here.straddles_end(k))
    return Judgement(matched, refuted, open_at_end)


class _Neuron(NamedTuple):
    box: Box
    enclosed: Enclosed
    allowed: Sequence[float]
    population: str
    sample: int
    neuron: int
    known_until: float

    def ball(self, k: int) -> arb:
        return self.enclosed.spikes[k].moment.ball

    def straddles_end(self, k: int) -> bool:
        return order_of_balls(self.ball(k), arb(self.until)) is None

    def may_be_absent(self, k: int) -> bool:
        return order_of_balls(self.ball(k) + arb(self.allowed[k]), arb(self.until)) != -1

    @property
    def until(self) -> float:
        return float(self.box.until[self.sample])

    def pairs(self, mine: list[int], true: list[int], times: Sequence[float]) -> Iterator[tuple[int, int]]:
        """Pair claimed with proven spikes, both in the order of time."""
        left = list(true)
        for q in mine:
            while left and not self._fits(times[q], left[0]) and float(self.ball(left[0])) < times[q]:
                left.pop(0)
            if left and self._fits(times[q], left[0]):
                yield q, left.pop(0)

    def _fits(self, time: float, k: int) -> bool:
        return is_within(time, self.ball(k), self.allowed[k])

    def first_error(
        self, mine: list[int], true: list[int], times: Sequence[float], matched: list[int]
    ) -> list[Refutation]:
        """Return the first claimed spike that is none, or the first that is missing; a moved one is both."""
        found = {matched[q] for q in mine}
        extra = [q for q in mine if matched[q] < 0 and times[q] < self.known_until and times[q] <= self.until]
        missed = [k for k in true if k not in found and not self.may_be_absent(k)]
        who = (self.population, self.sample, self.neuron)
        if extra and missed and len(extra) == len(missed):
            return [Refutation("moved", *who, float(self.ball(missed[0])), times[extra[0]])]
        errors = [Refutation("extra", *who, math.nan, times[q]) for q in extra[:1]]
        errors += [Refutation("missed", *who, float(self.ball(k)), math.nan) for k in missed[:1]]
        return sorted(errors, key=lambda error: error.when)[:1]


def checked_claim(own: Mapping[str, SpikeTrains], claimed: object, t_end: float) -> dict[str, SpikeTrains]:
    """Return claimed spikes by population, or raise an error that says which do not fit a solution's own."""
    if not isinstance(claimed, Mapping):
        raise TypeError(f"spikes must be a mapping of population to SpikeTrains; got {shown(claimed)}")
    for name, trains in claimed.items():
        if name not in own:
            raise ValueError(
                f"spikes name {shown(name)}, which is not a spiking population; there are {list(own)}"
            )
        if not isinstance(trains, SpikeTrains):
            raise TypeError(f"spikes[{name!r}] must be SpikeTrains; got {shown(trains)}")
        if (trains.n_samples, trains.n_neurons) != (own[name].n_samples, own[name].n_neurons):
            raise ValueError(
                f"spikes[{name!r}] must have {own[name].n_samples} samples of {own[name].n_neurons} neurons; "
                f"got {trains.n_samples} of {trains.n_neurons}"
            )
        if trains.n_spikes and trains.times.max() > t_end:
            raise ValueError(
                f"spikes[{name!r}] must not be after t_end = {t_end!r} s; got {float(trains.times.max())!r} s"
            )
    return dict(claimed)


def by_sample(trains: SpikeTrains, sample: int) -> tuple[list[float], list[int]]:
    """Return times and neurons of one sample."""
    first, last = itertools.islice(trains.offsets.tolist(), sample, sample + 2)
    return trains.times[first:last].tolist(), trains.neurons[first:last].tolist()


ROUNDINGS = 4
"""How often every number may be rounded on its way."""
ERROR = ROUNDINGS * 2.0**-53


@dataclass(slots=True)
class _Errors:
    """One neuron at ``time``: I, the sizes of the terms of V and of I, and what V and I may be off."""

    time: float
    free_at: float
    current: float
    voltage_size: float
    current_size: float
    voltage_error: float = 0.0
    current_error: float = 0.0


class Tolerances(NamedTuple):
    """How far times may be off, in seconds: of ``Enclosed.spikes``, and of one as a cell begins to be open."""

    spikes: list[float]
    open: dict[int, float]


def tolerances(box: Box, sample: int, enclosed: Enclosed) -> Tolerances:
    """Return how far the time of each spike may be off, and of one that an open cell might make."""
    p = {name: numbers.middle.tolist() for name, numbers in box.parameters.items()}
    weight, delta = box.synapses.weight.middle.tolist(), box.synapses.delta.tolist()
    cells: dict[int, _Errors] = {}
    found = [0.0] * len(enclosed.spikes)

    def rounding_of(c: int, cell: _Errors) -> float:
        size: float = cell.voltage_size + abs(p["v_leak"][c]) + abs(p["v_threshold"][c])
        return ERROR * size

    def crossing_error(c: int, cell: _Errors) -> float:
        return _crossing_error(
            cell.voltage_error + rounding_of(c, cell),
            cell.current + p["v_leak"][c] - p["v_threshold"][c],
            cell.current,
            p["tau_mem"][c],
            p["tau_syn"][c],
        )

    for event in enclosed.history:
        c, time = event.cell, event.moment.key
        cell = cells.get(c)
        if cell is None:
            cell = cells[c] = _begin(box, sample, c)
        tau_mem, tau_syn = p["tau_mem"][c], p["tau_syn"][c]
        _advance(cell, time, tau_mem, tau_syn)
        rounding = rounding_of(c, cell)
        if event.synapse >= 0:
            w = abs(weight[event.synapse])
            moved = w * (found[event.spike] + ERROR * time)
            cell.voltage_error += rounding + moved / tau_mem
            if delta[event.synapse]:
                cell.voltage_size += w
            else:
                cell.current += weight[event.synapse]
                cell.current_size += w
                cell.current_error += ERROR * cell.current_size + moved / tau_syn
            continue
        trigger = enclosed.spikes[event.spike].trigger
        error = found[enclosed.history[trigger].spike] if trigger >= 0 else crossing_error(c, cell)
        error += ERROR * time
        found[event.spike] = error
        cell.free_at = time + p["t_ref"][c]
        if trigger >= 0 and box.subtracts[c]:  # V is lowered from where it was, and stays as uncertain
            cell.voltage_size += abs(p["v_threshold"][c] - p["v_reset"][c])
            cell.voltage_error += rounding
            continue
        cell.voltage_size = abs(p["v_reset"][c] - p["v_leak"][c])
        cell.voltage_error = error * abs(cell.current + p["v_leak"][c] - p["v_reset"][c]) / tau_mem
    at_open = {}
    for c, (time, _) in enclosed.open.items():
        cell = cells.get(c) or _begin(box, sample, c)
        _advance(cell, time, p["tau_mem"][c], p["tau_syn"][c])
        at_open[c] = crossing_error(c, cell) + ERROR * time
    return Tolerances(found, at_open)


def _begin(box: Box, sample: int, cell: int) -> _Errors:
    if box.start is not None:
        time, excess, current, free_at, _ = (float(column[cell]) for column in box.start[sample])
        return _Errors(time, free_at, current, abs(excess), abs(current))
    voltage, leak, current = (
        float(box.parameters[name].middle[cell]) for name in ("v_initial", "v_leak", "i_initial")
    )
    return _Errors(0.0, 0.0, current, abs(voltage - leak), abs(current))


def _crossing_error(error: float, drive: float, current: float, tau_mem: float, tau_syn: float) -> float:
    """Return the error of a crossing, for an error of V: over V', or for a small V' the root of it over V''/2."""
    slope, bend = drive / tau_mem, (abs(current) / tau_syn + abs(drive) / tau_mem) / tau_mem
    steep = error / slope if slope > 0.0 else math.inf
    return min(steep, math.sqrt(2.0 * error / bend) if bend > 0.0 else math.inf)


def _advance(cell: _Errors, time: float, tau_mem: float, tau_syn: float) -> None:
    if cell.free_at > cell.time:
        held = max(min(time, cell.free_at) - cell.time, 0.0)
        kept = math.exp(-held / tau_syn)
        cell.current *= kept
        cell.current_size *= kept
        cell.current_error *= kept
        cell.time = min(time, cell.free_at)
    s = max(time - cell.time, 0.0)
    decay_mem, decay_syn = math.exp(-s / tau_mem), math.exp(-s / tau_syn)
    d = abs(s / tau_mem - s / tau_syn)
    response = s / tau_mem * max(decay_mem, decay_syn) * (-math.expm1(-d) / d if d else 1.0)
    cell.voltage_size = cell.voltage_size * decay_mem + cell.current_size * response
    cell.voltage_error = cell.voltage_error * decay_mem + cell.current_error * response
    cell.current *= decay_syn
    cell.current_size *= decay_syn
    cell.current_error *= decay_syn
    cell.time = time


TOLERANCE = 1e-10
"""By how much a float64 gradient may miss its enclosure, relative to the largest entry of its array."""
TERMS = 64 * float(np.finfo(np.float64).eps)
"""How far it may be off, relative to the sizes of the terms that an entry is the sum of, where these cancel: each is a
product of some numbers along a way through the network, and rounded as often."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientEnclosures(Frozen):
    """A gradient as :class:`eventsolve.Gradients`, every array as midpoints and radii; ``value`` is the loss's.

    ``value`` is nan with an infinite radius for a loss that has no enclosure. Per synapse, ``weight`` and ``delay`` are
    laid out as the weight that was given, a sparse one's as (n_synapses,) in the order of ``Projection.weights``.
    """

    value: Enclosures
    weight: Mapping[Any, Enclosures]
    delay: Mapping[Any, Enclosures]
    tau_mem: Mapping[str, Enclosures]
    tau_syn: Mapping[str, Enclosures]
    v_threshold: Mapping[str, Enclosures]
    v_reset: Mapping[str, Enclosures]
    v_leak: Mapping[str, Enclosures]
    t_ref: Mapping[str, Enclosures]
    v_initial: Mapping[str, Enclosures]
    i_initial: Mapping[str, Enclosures]
    spike_times: Mapping[str, Enclosures]


class Mismatch(NamedTuple):
    """A claimed gradient that is proven wrong, with what is claimed and what is proven of its worst entry."""

    parameter: str
    key: Owner
    entry: tuple[int, ...]
    claimed: float
    proven: float

    def __str__(self) -> str:
        where = f"{self.parameter}[{self.key!r}]{list(self.entry)}"
        return f"the gradient for {where} is {self.proven!r}, not {self.claimed!r}"


@dataclass(frozen=True, eq=False, repr=False)
class SampleGradient(Frozen):
    """One sample's part of a gradient: flat enclosures by name, and those of its spikes by population.

    ``sizes`` has for each of these arrays how large the terms are that each entry is the sum of, by its name and, of
    spike times, population.
    """

    value: Enclosures
    weight: Enclosures
    delay: Enclosures
    parameters: Mapping[str, Enclosures]
    spike_times: Mapping[str, Enclosures]
    sizes: Mapping[tuple[str, str], Reals]


def sample_gradient(
    found: Adjoint, value: arb | None, matched: Mapping[str, Sequence[int]], divisor: int
) -> SampleGradient:
    """Return one sample's part of a gradient as plain numbers."""
    unknown = Enclosures(np.array(math.nan), np.array(math.inf))
    middle, radius = (math.nan, math.inf) if value is None else rounded(value / divisor)
    return SampleGradient(
        unknown if value is None else Enclosures(np.array(middle), np.array(radius)),
        enclosures_of(found.weight),
        enclosures_of(found.delay),
        {name: enclosures_of(found.parameters[name]) for name in PARAMETERS},
        {name: enclosures_of(found.spike_times[k] for k in places) for name, places in matched.items()},
        {
            ("weight", ""): np.array(found.weight.sizes),
            ("delay", ""): np.array(found.delay.sizes),
            **{(name, ""): np.array(found.parameters[name].sizes) for name in PARAMETERS},
            **{
                ("spike_times", name): np.array([found.spike_times.sizes[k] for k in places])
                for name, places in matched.items()
            },
        },
    )


def gradient_of(network: Network, box: Box, parts: Sequence[SampleGradient]) -> GradientEnclosures:
    """Return the gradient of a batch."""
    values = [part.value for part in parts]
    value = added([Enclosures(v.midpoints.reshape(1), v.radii.reshape(1)) for v in values], 1)
    n_synapses = box.synapses.source.size
    by_synapse: dict[str, dict[Any, Enclosures]] = {}
    for name in ("weight", "delay"):
        total = added([getattr(part, name) for part in parts], n_synapses)
        by_synapse[name] = {}
        for key, place in box.synapses.slices.items():
            weight = network.projections[key].weight
            shape = weight.shape if isinstance(weight, np.ndarray) else (place.stop - place.start,)
            by_synapse[name][key] = Enclosures(*(column[place].reshape(shape) for column in total))
    by_cell: dict[str, dict[str, Enclosures]] = {}
    for name in PARAMETERS:
        total = added([part.parameters[name] for part in parts], box.n_cells)
        by_cell[name] = {
            population: Enclosures(*(column[place] for column in total))
            for population, place in box.populations.items()
            if name in _parameters(network, population)
        }
    times = {
        name: joined([p.spike_times[name] for p in parts]) for name in (parts[0].spike_times if parts else ())
    }
    return GradientEnclosures(
        Enclosures(value.midpoints[0], value.radii[0]),
        **by_synapse,
        **by_cell,
        spike_times=times,
    )


def _parameters(network: Network, population: str) -> tuple[str, ...]:
    neuron = network.population(population).neuron
    return () if neuron is None else parameters_of(neuron)


def arrays_of(gradients: GradientEnclosures) -> Iterator[tuple[str, Owner, Enclosures]]:
    """Yield (parameter, key, enclosures) of every array of a gradient."""
    for f in fields(gradients):
        if f.name != "value":
            for key, enclosures in getattr(gradients, f.name).items():
                yield f.name, key, enclosures


def largest_terms(box: Box, parts: Sequence[SampleGradient]) -> dict[tuple[str, Owner], float]:
    """Return for every array of a batch's gradient the largest sum of the sizes of the terms of an entry.

    Where terms cancel, float64 knows no entry better than by the rounding of these.
    """
    found: dict[tuple[str, Owner], float] = {}
    if not parts:
        return found
    slices: dict[str, Mapping[Any, slice]] = {"weight": box.synapses.slices, "delay": box.synapses.slices}
    slices |= dict.fromkeys(PARAMETERS, box.populations)
    for name, places in slices.items():
        total = np.sum([part.sizes[name, ""] for part in parts], axis=0)
        found |= {(name, key): float(total[place].max(initial=0.0)) for key, place in places.items()}
    for key in parts[0].spike_times:
        found["spike_times", key] = max(
            float(part.sizes["spike_times", key].max(initial=0.0)) for part in parts
        )
    return found


def compared(
    proven: GradientEnclosures, claimed: Gradients, terms: Mapping[tuple[str, Owner], float]
) -> tuple[tuple[Mismatch, ...], float]:
    """Return where a float64 gradient misses its enclosures, array by array, and by how many ulps at most.

    An array's ulp is that of its largest entry; where terms cancel so far that their rounding is more than what is
    allowed for that entry, of these.

    Parameters
    ----------
    proven : GradientEnclosures
    claimed : Gradients
    terms : mapping of (parameter, key) to float
        As :func:`largest_terms` gives them.

    Raises
    ------
    ValueError
        If the gradient is not one of this solution, summed over the samples.
    """
    mismatches, farthest = [], 0.0
    for name, key, (middle, radius) in arrays_of(proven):
        values = _claimed(claimed, name, key)
        if values.shape != middle.shape:
            raise ValueError(
                f"claimed_gradients.{name}[{key!r}] must have shape {middle.shape}; got {values.shape}"
            )
        if not values.size:
            continue
        size = float(np.abs(middle).max())
        allowed = TOLERANCE * size
        if TERMS * terms[name, key] > allowed:
            size = terms[name, key]
            allowed = TERMS * size
        off = np.abs(values - middle)
        if size > 0.0:
            farthest = max(farthest, float((off + radius).max()) / float(np.spacing(size)))
        wrong = ~(off - radius <= allowed)
        if wrong.any():
            worst = int(np.argmax(np.where(np.isnan(off), np.inf, off - radius)))
            entry = tuple(int(i) for i in np.unravel_index(worst, values.shape))
            mismatches.append(Mismatch(name, key, entry, float(values[entry]), float(middle[entry])))
    return tuple(mismatches), farthest


def _claimed(claimed: Gradients, name: str, key: Any) -> Reals:
    given = getattr(claimed, name).get(key)
    if given is None:
        raise ValueError(f"claimed_gradients.{name} lacks {key!r}")
    return real_array(f"claimed_gradients.{name}[{key!r}]", given.data if sp.issparse(given) else given)
