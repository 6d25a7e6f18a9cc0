"""What is certified: a network and its inputs, every number a float64 midpoint with a radius that is mostly 0."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from flint import arb
from numpy.typing import NDArray

from eventsolve.certify.arithmetic import ball
from eventsolve.checks import first_entry, real_array, seconds_array, shown
from eventsolve.chunks import chunk_ranges
from eventsolve.network import TIMES, Network
from eventsolve.solution import Solution
from eventsolve.typing import Integers, Key, Reals

Radii: TypeAlias = Mapping[str, Any]
"""Radii by parameter: a number for all of it, or by projection key, population or input, numbers or arrays like it."""

PARAMETERS = (
    *("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref"),
    *("v_initial", "i_initial"),
)


@dataclass(frozen=True, eq=False)
class Numbers:
    """Midpoints and radii, arrays of one shape."""

    middle: Reals
    radius: Reals

    def at(self, k: int) -> arb:
        """Return one of them as a ball."""
        return ball(float(self.middle[k]), float(self.radius[k]))


@dataclass(frozen=True, eq=False)
class Synapses:
    """Every synapse, (n_synapses,), projection after projection; ``slices`` says where each projection's are.

    Sources are numbered through, inputs first; targets are cells.
    """

    source: Integers
    target: Integers
    weight: Numbers
    delay: Numbers
    delta: NDArray[np.bool_]
    slices: Mapping[Key, slice]


@dataclass(frozen=True, eq=False)
class Train:
    """Spikes that are given: those of an input, or of a population before the start that are on their way.

    ``low`` is what the times leave of exact sums, ``turns`` the order in which those occurred that are at one time.
    """

    times: Numbers
    neurons: Integers
    samples: Integers
    low: Reals
    turns: Integers


class Start(NamedTuple):
    """The float64 state in which a sample began, (n_cells,): when, V - v_leak, I, and when V is free, in two parts."""

    time: Reals
    excess: Reals
    current: Reals
    free_at: Reals
    free_low: Reals


class Given(NamedTuple):
    """One spike that is given, as :class:`Train` has it."""

    time: float
    radius: float
    neuron: int
    low: float
    turn: int


@dataclass(frozen=True, eq=False)
class Box:
    """All networks that the numbers allow.

    The neurons of all populations are numbered through as cells, in the order of the populations.

    Attributes
    ----------
    inputs : mapping of str to int
        Where the channels of each input begin among the sources.
    populations : mapping of str to slice
        Where the neurons of each population are among the cells; cell c is source ``n_channels + c``.
    parameters : mapping of str to Numbers, (n_cells,)
        A readout's v_threshold is inf.
    subtracts : ndarray of bool, (n_cells,)
    trains : mapping of str to Train
        The inputs.
    carried : mapping of str to Train
        Spikes before ``after`` that are on their way; their arrivals are those later than it.
    start : mapping of sample to Start, or None
        None: V and I are v_initial and i_initial at time 0. The radii of these are of V and I at t_start else.
    begins : ndarray, (n_cells,)
        The largest V with which each begins in a sample, at t_start.
    after, t_start, t_end : float
        Seconds.
    until : ndarray, (n_samples,)
        Up to when each sample was solved, in seconds: t_end, but for a solution of first spikes.
    exact : bool
        Whether all radii are 0.
    """

    inputs: Mapping[str, int]
    n_channels: int
    populations: Mapping[str, slice]
    parameters: Mapping[str, Numbers]
    subtracts: NDArray[np.bool_]
    synapses: Synapses
    trains: Mapping[str, Train]
    carried: Mapping[str, Train]
    start: Mapping[int, Start] | None
    begins: Reals
    after: float
    t_start: float
    t_end: float
    until: Reals
    n_samples: int
    exact: bool

    @property
    def n_cells(self) -> int:
        """Number of neurons."""
        return int(self.subtracts.size)

    def cell_name(self, cell: int) -> tuple[str, int]:
        """Return the population of a cell and its number there."""
        for name, place in self.populations.items():
            if place.start <= cell < place.stop:
                return name, cell - place.start
        raise IndexError(cell)


def box_of(solution: Solution, radii: Radii | None = None) -> Box:
    """Read the problem that a solution solves, with float64 numbers exactly as they are, within radii.

    Parameters
    ----------
    solution : Solution
    radii : mapping, optional
        From "weight", "delay", "spike_times", "tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref",
        "v_initial" and "i_initial" to a number >= 0 for all of it, or to a mapping by projection key, input or
        population, to numbers or arrays like the parameter.

    Raises
    ------
    ValueError
        If radii name what does not exist, are negative, not finite or of another shape, or a box holds networks that
        are none: a time constant that is not positive, or v_reset or v_initial not below v_threshold. Of delays,
        refractory periods and input times the box holds those that are not negative.
    """
    network = solution.network
    radii = _checked_names({} if radii is None else radii)
    populations = network.populations
    inputs, offset = {}, 0
    for name, p in populations.items():
        if p.neuron is None:
            inputs[name] = offset
            offset += p.size
    n_channels, offset = offset, 0
    cells = {}
    for name, p in populations.items():
        if p.neuron is not None:
            cells[name] = slice(offset, offset + p.size)
            offset += p.size
    parameters = {
        field: Numbers(
            _joined([populations[name].parameter(field) for name in cells]),
            _joined([_radius_of(radii, field, name, (populations[name].size,)) for name in cells]),
        )
        for field in PARAMETERS
    }
    sources = inputs | {name: n_channels + place.start for name, place in cells.items()}
    synapses = _synapses(network, sources, cells, radii)
    trains = {}
    for name in inputs:
        spikes = solution.spikes[name]
        radius = _radius_of(radii, "spike_times", name, spikes.times.shape)
        trains[name] = _train(Numbers(spikes.times, radius), spikes.neurons, spikes.samples)
    _require_known(radii, network, inputs, cells)
    start = _start(solution, cells) if solution.after >= 0.0 else None
    all_radii = [*(n.radius for n in parameters.values()), synapses.weight.radius, synapses.delay.radius]
    all_radii += [train.times.radius for train in trains.values()]
    box = Box(
        inputs,
        n_channels,
        cells,
        parameters,
        np.concatenate(
            [
                np.full(populations[n].size, getattr(populations[n].neuron, "reset", "value") == "subtract")
                for n in cells
            ]
            or [np.empty(0, np.bool_)]
        ),
        synapses,
        trains,
        _carried(solution, populations) if start is not None else {},
        start,
        parameters["v_initial"].middle if start is None else _begins(solution, cells),
        solution.after,
        solution.t_start,
        solution.t_end,
        np.full(solution.n_samples, solution.t_end) if solution.stopped is None else solution.stopped.until,
        solution.n_samples,
        exact=not any(r.any() for r in all_radii),
    )
    _require_networks(box)
    return box


def _joined(parts: list[Reals]) -> Reals:
    return np.concatenate([*parts, np.empty(0)])


def _synapses(
    network: Network, sources: Mapping[str, int], cells: Mapping[str, slice], radii: Radii
) -> Synapses:
    columns: list[tuple[NDArray[Any], ...]] = []
    slices: dict[Key, slice] = {}
    first = 0
    for key, p in network.projections.items():
        n = p.weights.size
        slices[key] = slice(first, first + n)
        first += n
        shape = (n,) if sp.issparse(p.weight) else p.weight.shape
        columns.append(
            (
                p.sources + sources[p.pre],
                p.targets + cells[p.post].start,
                p.weights,
                _radius_of(radii, "weight", key, shape).ravel(),
                p.delay,
                _radius_of(radii, "delay", key, shape).ravel(),
                np.full(n, p.synapse == "delta"),
            )
        )
    nothing = (*[np.empty(0, np.int64)] * 2, *[np.empty(0)] * 4, np.empty(0, np.bool_))
    joined: list[NDArray[Any]] = [np.concatenate(parts) for parts in zip(nothing, *columns, strict=True)]
    source, target, weight, weight_radius, delay, delay_radius, delta = joined
    return Synapses(
        source, target, Numbers(weight, weight_radius), Numbers(delay, delay_radius), delta, slices
    )


def _train(times: Numbers, neurons: Integers, samples: Integers) -> Train:
    n = neurons.size
    return Train(times, neurons, samples, np.zeros(n), np.zeros(n, np.int64))


def _start(solution: Solution, cells: Mapping[str, slice]) -> dict[int, Start]:
    populations = [solution.start_states(name) for name in cells]
    nothing = [np.empty((solution.n_samples, 0))] * len(Start._fields)
    states = [(of.time, of.u, of.i, of.free_at, of.free_low) for of in populations]
    columns = [np.concatenate(parts, axis=1) for parts in zip(nothing, *states, strict=True)]
    return {sample: Start(*(column[sample] for column in columns)) for sample in range(solution.n_samples)}


def _begins(solution: Solution, cells: Mapping[str, slice]) -> Reals:
    """Return the largest V of each cell at t_start, with what float64 may have taken from it."""
    states, largest = solution.from_start(), [np.empty(0)]
    for name in cells:
        u, leak = states.start_states(name).u, solution.network.population(name).parameter("v_leak")
        above = u + leak + 8 * np.finfo(np.float64).eps * (abs(u) + abs(leak))
        largest.append(above.max(axis=0, initial=-np.inf))
    return np.concatenate(largest)


def _carried(solution: Solution, populations: Mapping[str, Any]) -> dict[str, Train]:
    carried = {}
    for name in populations:
        times, neurons, samples = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        low, turns = [np.empty(0)], [np.empty(0, np.int64)]
        for chunk, (first, _) in zip(solution._chunks, chunk_ranges(solution.n_samples), strict=True):
            if name in chunk.carried:
                spikes = chunk.carried[name]
                times.append(spikes.times)
                neurons.append(spikes.neurons)
                samples.append(np.repeat(np.arange(chunk.n_samples) + first, np.diff(spikes.offsets)))
                low.append(spikes.low)
                turns.append(spikes.arrivals)
        t = np.concatenate(times)
        if t.size:
            carried[name] = Train(
                Numbers(t, np.zeros(t.size)),
                np.concatenate(neurons),
                np.concatenate(samples),
                np.concatenate(low),
                np.concatenate(turns),
            )
    return carried


def _checked_names(radii: Radii) -> Radii:
    known = ("weight", "delay", "spike_times", *PARAMETERS)
    if not isinstance(radii, Mapping):
        raise TypeError(f"radii must be a mapping of parameter to radius; got {shown(radii)}")
    for name in radii:
        if name not in known:
            raise ValueError(f"radii name {shown(name)}, which is not a parameter; there are {known}")
    return radii


def _require_known(
    radii: Radii, network: Network, inputs: Mapping[str, int], cells: Mapping[str, slice]
) -> None:
    for name, given in radii.items():
        if isinstance(given, Mapping):
            known: list[Any] = list(cells)
            if name in ("weight", "delay"):
                known = list(network.projections)
            elif name == "spike_times":
                known = list(inputs)
            elif name in ("v_threshold", "v_reset", "t_ref"):
                known = [cell for cell in cells if network.population(cell).spiking]
            for key in given:
                if key not in known:
                    raise ValueError(f"radii[{name!r}] name {shown(key)}; there are {known}")


def _radius_of(radii: Radii, name: str, key: Any, shape: tuple[int, ...]) -> Reals:
    given = radii.get(name, 0.0)
    what = f"radii[{name!r}]"
    if isinstance(given, Mapping):
        given = given.get(key, 0.0)
        what += f"[{key!r}]"
    taken = seconds_array if name in TIMES else real_array
    values = taken(what, given, f"a number or an array of shape {shape}")
    if values.shape not in ((), shape):
        raise ValueError(f"{what} must be a number or have shape {shape}; got {values.shape}")
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"{what} must be finite and >= 0; {first_entry(values, bad)}")
    return np.array(np.broadcast_to(values, shape))


def _require_networks(box: Box) -> None:
    """Raise if a box reaches beyond what a network may be."""
    for name in ("tau_mem", "tau_syn"):
        n = box.parameters[name]
        bad = n.radius >= n.middle
        if bad.any():
            k = int(np.argmax(bad))
            raise ValueError(
                f"radii[{name!r}] must leave {name} > 0; neuron {box.cell_name(k)} has {float(n.middle[k])!r} "
                f"with a radius of {float(n.radius[k])!r}"
            )
    threshold = box.parameters["v_threshold"]
    starting = "v_initial" if box.start is None else "V, with which the solution goes on,"
    for name, middle, radius in (
        ("v_reset", box.parameters["v_reset"].middle, box.parameters["v_reset"].radius),
        (starting, box.begins, box.parameters["v_initial"].radius),
    ):
        # what is less after rounding is less before it
        bad = (radius + threshold.radius > 0) & ~(middle + radius < threshold.middle - threshold.radius)
        if bad.any():
            raise ValueError(
                f"radii must leave {name} below v_threshold; neuron {box.cell_name(int(np.argmax(bad)))} does not"
            )


def only(box: Box, samples: Sequence[int]) -> Box:
    """Return the box with what concerns some samples, which keep their numbers."""

    def some(train: Train) -> Train:
        here = np.isin(train.samples, samples)
        times = Numbers(train.times.middle[here], train.times.radius[here])
        return Train(times, train.neurons[here], train.samples[here], train.low[here], train.turns[here])

    return replace(
        box,
        trains={name: some(train) for name, train in box.trains.items()},
        carried={name: some(train) for name, train in box.carried.items()},
        start=None if box.start is None else {sample: box.start[sample] for sample in samples},
    )


def sample_spikes(train: Train, sample: int) -> list[Given]:
    """Return the spikes of one sample, in the order of the train."""
    columns = (train.times.middle, train.times.radius, train.neurons, train.low, train.turns)
    here = np.flatnonzero(train.samples == sample)
    return [Given(*row) for row in zip(*(column[here].tolist() for column in columns), strict=True)]


def source_names(box: Box) -> dict[str, int]:
    """Return where the neurons of each input and population begin among the sources."""
    return dict(
        itertools.chain(
            box.inputs.items(), ((n, box.n_channels + p.start) for n, p in box.populations.items())
        )
    )
