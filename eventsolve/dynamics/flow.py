r"""The flow of a network from one time to another, and its exact derivative through every event in between.

The coordinates of a state at a time, population by population, are

* V of every neuron that is free. V of a refractory one is pinned: that direction is lost, and what a perturbation has
  done to its last spike lives on as the time of its release, which is a coordinate instead. Where a spike takes
  v_threshold - v_reset off V, the voltage at which V is pinned keeps what was beyond the threshold, and is one as well;
* I of every neuron that has exponential synapses. Over delta synapses no current flows;
* the time of every spike that has not arrived everywhere. Spikes of inputs are given, and no coordinates.

So the number of coordinates changes with time. No direction that the dynamics keeps is left out, and none is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.adjoint import UndefinedGradientError
from eventsolve.checks import index, instance, real_array, shown
from eventsolve.chunks import chunk_ranges
from eventsolve.dynamics.kernels.flow import Vectors, carry, settled
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.interrupts import call, interruptible
from eventsolve.kernels.tables import Run, Spikes, States
from eventsolve.kernels.times import time_after, time_later
from eventsolve.kinds import require_shapes
from eventsolve.network import Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary, ms, several
from eventsolve.solution import Chunk, Solution, gather, own_spikes, places_of
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State, longest_delays, neurons_of
from eventsolve.typing import Integers, Reals

VOLTAGE, RELEASE, CURRENT, SPIKE = range(4)
KINDS = ("V", "release", "I", "spike")
"""What a coordinate is of: a voltage, the release of a refractory neuron, a current, a spike that is on its way."""


@dataclass(frozen=True, eq=False, repr=False)
class Coordinates(Frozen):
    """What the entries of a vector of perturbations are of: the coordinates of one sample's state at a time.

    Attributes
    ----------
    time : float
        Seconds.
    populations : tuple of str
        Those of neurons, as the network lists them.
    kinds : ndarray of int64, (n,)
        Places in ``KINDS``: "V" and "I", in the unit of V, and "release" and "spike", in seconds.
    population, neuron : ndarray of int64, (n,)
        Whose it is: a place in ``populations``, and the number there.
    spike : ndarray of int64, (n,)
        Which it is of the sample's spikes of its population on their way, in the order of ``State.in_flight``; else
        -1.
    """

    time: float
    populations: tuple[str, ...]
    kinds: Integers
    population: Integers
    neuron: Integers
    spike: Integers

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, kinds="n", population="n", neuron="n", spike="n")

    def __len__(self) -> int:
        return self.kinds.size

    def of(self, kind: str, population: str) -> Integers:
        """Return the places of a population's coordinates of a kind, by neuron, or by spike."""
        return np.flatnonzero(
            (self.kinds == KINDS.index(kind)) & (self.population == self.populations.index(population))
        )

    def names(self) -> list[str]:
        """Return a name of each, such as ``V of neuron 3 of 'hidden'``."""
        return [
            f"{KINDS[kind]} of neuron {neuron} of {self.populations[population]!r}"
            for kind, population, neuron in zip(
                self.kinds.tolist(), self.population.tolist(), self.neuron.tolist(), strict=True
            )
        ]

    def _summary(self) -> Summary:
        counts = np.bincount(self.kinds, minlength=len(KINDS))
        title = f"Coordinates({len(self)} at {ms(self.time)})"
        return title, [(name, int(count)) for name, count in zip(KINDS, counts, strict=True)]


@dataclass(frozen=True, eq=False, repr=False)
class FlowDerivative(Frozen):
    """What perturbations of the state at the start of a solution do, to first order, to its end and its spikes.

    Attributes
    ----------
    start, end : Coordinates
        Of the state at the solution's t_start and t_end.
    given : ndarray of float64, (n_start, n_vectors)
        Perturbations at the start.
    vectors : ndarray of float64, (n_end, n_vectors)
        The same at the end.
    spike_times : mapping of population to ndarray of float64, (n_spikes, n_vectors)
        By how much every spike of the sample moves, in seconds.
    """

    start: Coordinates
    end: Coordinates
    given: Reals
    vectors: Reals
    spike_times: Mapping[str, Reals]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, given="n_start m", vectors="n_end m", spike_times="n_spikes[] m")

    def _summary(self) -> Summary:
        n = self.vectors.shape[1]
        title = f"FlowDerivative({several(n, 'vector')}, {ms(self.start.time)} to {ms(self.end.time)})"
        return title, [
            ("start", f"{len(self.start)} coordinates"),
            ("end", f"{len(self.end)} coordinates"),
            ("spike_times", several(sum(t.shape[0] for t in self.spike_times.values()), "spike")),
        ]


def flow_derivative(
    solution: Solution, vectors: ArrayLike | None = None, *, sample: int = 0
) -> FlowDerivative:
    """Carry perturbations of the state at a solution's start to its end, exactly, through all events.

    Parameters
    ----------
    solution : Solution
        Of :func:`eventsolve.solve`, from the beginning or from the final state of another solution.
    vectors : array_like, (n_start,) or (n_start, n_vectors), optional
        Perturbations of the coordinates at the start; by default of each alone, which gives the whole derivative.
    sample : int
        Which sample of the batch.

    Returns
    -------
    FlowDerivative

    Raises
    ------
    ValueError
        If the vectors do not fit, the sample does not exist, or the solution ends with first spikes or has spikes that
        were given.
    UndefinedGradientError
        If a spike that a vector moves grazes its threshold.

    Notes
    -----
    Derivatives of pieces compose: that from t0 to t2 is that from t1 to t2 applied to the ``vectors`` of that from t0
    to t1.
    At exact ties it is that of the order that the solution took.

    Examples
    --------
    A perturbation of V decays until the neuron spikes, by V'+/V'- there, and on:

    >>> import eventsolve as es
    >>> from eventsolve.dynamics import flow_derivative
    >>> net = es.Network()
    >>> net.add_population("n", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3, v_leak=2.0))
    >>> derivative = flow_derivative(es.solve(net, {}, t_end=20e-3))
    >>> derivative.end.names()
    ["V of neuron 0 of 'n'"]
    >>> derivative.vectors.round(4)  # exp(-1) 2/1
    array([[0.7358]])
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {shown(solution)}")
    solution.require_whole("the derivative of its flow")
    solution.require_solved("the derivative of the flow is that")
    sample = index("sample", sample, solution.n_samples)
    number, low = next((k, a) for k, (a, b) in enumerate(chunk_ranges(solution.n_samples)) if a <= sample < b)
    chunk, here = solution._chunks[number], sample - low
    starts = {name: _row(states, here) for name, states in chunk.start.items()}
    start = _coordinates(solution.network, starts, _carried(chunk, here), solution.t_start)
    given = np.eye(len(start)) if vectors is None else real_array("vectors", vectors)
    if given.ndim == 1:
        given = given[:, None]
    if given.ndim != 2 or given.shape[0] != len(start) or not np.isfinite(given).all():
        raise ValueError(
            f"vectors must be finite, with one row for each of {len(start)} coordinates at the start; "
            f"got {shown(vectors)}"
        )
    return interruptible(lambda: _carried_through(solution, chunk, here, start, given))


def coordinates(network: Network, state: State, *, sample: int = 0) -> Coordinates:
    """Return the coordinates of one sample of a state.

    Raises
    ------
    ValueError
        If the sample does not exist.
    """
    return _coordinates(network, _rows(network, state, sample), _in_flight(state, sample), state.time)


def position(network: Network, state: State, *, sample: int = 0) -> Reals:
    """Return the values of the coordinates of one sample of a state, (n,): in the unit of V, and times in seconds.

    Raises
    ------
    ValueError
        As for :func:`coordinates`.
    """
    where = coordinates(network, state, sample=sample)
    values = np.empty(len(where))
    for layer, row in _by_layer(network, state, sample):
        u, i, _ = call(settled, layer.neurons, row, 0, state.time)
        for kind, column in (("V", u + layer.neurons.v_leak), ("I", i), ("release", row.free_at[0])):
            _fill(values, where, kind, layer, column)
    for name, spikes in _in_flight(state, sample).items():
        if name in where.populations:
            values[where.of("spike", name)] = spikes.times
    return values


def velocity(network: Network, state: State, *, sample: int = 0) -> Reals:
    """Return how fast the state moves: the derivative of each coordinate of one sample, (n,), while nothing happens.

    In the unit of V per second, and -1 for times: seen from the state, they come nearer. Without inputs the flow
    carries it to the velocity at a later time: it is the perturbation that does not grow.

    Raises
    ------
    ValueError
        As for :func:`coordinates`.
    """
    where = coordinates(network, state, sample=sample)
    moving = np.full(len(where), -1.0)
    for layer, row in _by_layer(network, state, sample):
        _, i, slope = call(settled, layer.neurons, row, 0, state.time)
        _fill(moving, where, "V", layer, slope)
        _fill(moving, where, "I", layer, -i / layer.neurons.tau_syn)
    return moving


def displaced(network: Network, state: State, by: ArrayLike, *, sample: int = 0) -> State:
    """Return a state of one sample, moved by a vector of its coordinates.

    Parameters
    ----------
    network : Network
    state : State
    by : array_like, (n,)
        By how much each of ``coordinates(network, state)`` moves.
    sample : int
        The one that is moved; the state that is returned has no other.

    Raises
    ------
    ValueError
        If the vector does not fit, or takes a voltage to its threshold, the release of a neuron to before the state's
        time, or a spike past it or so far back that it has arrived.
    """
    where = coordinates(network, state, sample=sample)
    moved = real_array("by", by)
    if moved.shape != (len(where),) or not np.isfinite(moved).all():
        raise ValueError(
            f"by must be finite, one number for each of {len(where)} coordinates; got {shown(by)}"
        )
    layers = {}
    for layer, row in _by_layer(network, state, sample):
        u, i, _ = call(settled, layer.neurons, row, 0, state.time)
        free_at, free_low = row.free_at[0].copy(), row.free_low[0].copy()
        for population, place in layer.slices.items():
            for kind, column in (("V", u), ("I", i), ("release", free_at)):
                at = where.of(kind, population)
                column[place.start + where.neuron[at]] += moved[at]
            held = place.start + where.neuron[where.of("release", population)]
            rest = moved[where.of("release", population)] != 0.0
            free_low[held[rest]] = 0.0
            early = held[~time_after(free_at[held], free_low[held], state.time, 0.0)]
            if early.size:
                raise ValueError(
                    f"by releases neuron {int(early[0]) - place.start} of {population!r} at "
                    f"{float(free_at[early[0]])!r} s, not after the state's {state.time!r} s"
                )
        level = layer.neurons.v_threshold - layer.neurons.v_leak
        over = np.flatnonzero(u >= level)
        if over.size:
            population, neuron = layer.neuron_of(int(over[0]))
            raise ValueError(f"by takes V of neuron {neuron} of {population!r} to its threshold or beyond")
        now = np.full((1, layer.size), state.time)
        layers[layer.name] = States(now, u[None], i[None], free_at[None], free_low[None], now)
    in_flight, low, turns = {}, {}, {}
    longest = longest_delays(state.delays)
    for name, spikes in _in_flight(state, sample).items():
        times, rests = spikes.times.copy(), spikes.low.copy()
        if name in where.populations:
            shift = moved[where.of("spike", name)]
            times += shift
            rests[shift != 0.0] = 0.0
            wrong = ~_under_way(times, rests, longest[name], state.time)
            if wrong.any():
                k = int(np.argmax(wrong))
                raise ValueError(
                    f"by moves a spike of neuron {int(spikes.neurons[k])} of {name!r} to {float(times[k])!r} s, where "
                    f"it is not on its way at {state.time!r} s"
                )
        order = np.lexsort((spikes.arrivals, rests, times))
        none = np.zeros(times.size, np.int64)
        in_flight[name] = SpikeTrains._trusted(
            times[order], spikes.neurons[order], none, 1, network.population(name).size
        )
        low[name], turns[name] = rests[order], spikes.arrivals[order]
    return State(
        state.time,
        1,
        FrozenMapping(in_flight),
        FrozenMapping(low),
        FrozenMapping(turns),
        FrozenMapping(layers),
        FrozenMapping(neurons_of(network)),
        state.delays,
    )


# -- coordinates of what kernels take ---------------------------------------------------------------------------


class _Under(NamedTuple):
    """Spikes of one population in one sample that are on their way; ``arrivals`` are their turns."""

    times: Reals
    neurons: Integers
    low: Reals
    arrivals: Integers


def _row(states: States, sample: int) -> States:
    return States(*(column[sample : sample + 1].copy() for column in states))


def _rows(network: Network, state: State, sample: int) -> dict[tuple[str, ...], States]:
    instance("network", network, Network)
    instance("state", state, State)
    index("sample", sample, state.n_samples)
    state.require_fit("state", network)
    return {name: _row(states, sample) for name, states in state.layers.items()}


def _by_layer(network: Network, state: State, sample: int) -> list[tuple[Layer, States]]:
    return [(layer, state.taken_over("state", layer, sample, sample + 1)) for layer in layers_of(network)]


def _fill(values: Reals, where: Coordinates, kind: str, layer: Layer, column: Reals) -> None:
    """Write the coordinates of a kind from a column of all neurons of a layer."""
    for population, place in layer.slices.items():
        at = where.of(kind, population)
        values[at] = column[place][where.neuron[at]]


def _in_flight(state: State, sample: int) -> dict[str, _Under]:
    found = {}
    for name, trains in state.in_flight.items():
        here = trains.samples == sample
        found[name] = _Under(
            trains.times[here], trains.neurons[here], state.low[name][here], state.turns[name][here]
        )
    return found


def _carried(chunk: Chunk, sample: int) -> dict[str, _Under]:
    return {name: _piece(spikes, sample) for name, spikes in chunk.carried.items()}


def _piece(spikes: Spikes, sample: int) -> _Under:
    here = slice(spikes.offsets[sample], spikes.offsets[sample + 1])
    return _Under(spikes.times[here], spikes.neurons[here], spikes.low[here], spikes.arrivals[here])


def _under_way(times: Reals, low: Reals, longest: float, now: float) -> NDArray[np.bool_]:
    """Return which spikes were sent by a time and have not arrived everywhere."""
    arrival, rest = time_later(times, low, longest)
    under_way: NDArray[np.bool_] = ~time_after(times, low, now, 0.0) & time_after(arrival, rest, now, 0.0)
    return under_way


def with_current(layer: Layer) -> NDArray[np.bool_]:
    """Return which neurons of a layer have exponential synapses."""
    found = np.zeros(layer.size, np.bool_)
    for p in layer.projections:
        if p.synapse != "delta":
            found[layer.slice_of(p.post)] |= np.diff(p.row_offsets) > 0
    return found


def _coordinates(
    network: Network, rows: Mapping[tuple[str, ...], States], under_way: Mapping[str, _Under], time: float
) -> Coordinates:
    names = tuple(name for name, p in network.populations.items() if p.neuron is not None)
    parts: list[tuple[int, int, Integers, bool]] = []
    for layer in layers_of(network):
        row = rows[layer.name]
        held = time_after(row.free_at[0], row.free_low[0], time, 0.0)
        free = ~held | (layer.neurons.subtracts > 0.0)
        flows = with_current(layer)
        for name, place in layer.slices.items():
            for kind, there in ((VOLTAGE, free), (RELEASE, held), (CURRENT, flows)):
                parts.append((names.index(name), kind, np.flatnonzero(there[place]), False))
    for name, spikes in under_way.items():
        if name in names:
            parts.append((names.index(name), SPIKE, spikes.neurons, True))
    parts.sort(key=lambda part: part[:2])
    nothing = np.empty(0, np.int64)
    sizes = [neurons.size for _, _, neurons, _ in parts]
    numbers = [
        np.arange(n) if is_spike else np.full(n, -1) for n, (*_, is_spike) in zip(sizes, parts, strict=True)
    ]
    return Coordinates(
        time,
        names,
        np.repeat(np.array([kind for _, kind, _, _ in parts], np.int64), sizes),
        np.repeat(np.array([k for k, *_ in parts], np.int64), sizes),
        np.concatenate([nothing, *(neurons for _, _, neurons, _ in parts)]),
        np.concatenate([nothing, *numbers]),
    )


# -- through the layers -----------------------------------------------------------------------------------------


def _carried_through(
    solution: Solution, chunk: Chunk, sample: int, start: Coordinates, given: Reals
) -> FlowDerivative:
    network, n_vectors = solution.network, given.shape[1]
    before = {}
    for name, spikes in chunk.carried.items():
        before[name] = np.zeros((spikes.times.size, n_vectors))
        if name in start.populations:
            before[name][spikes.offsets[sample] : spikes.offsets[sample + 1]] = given[start.of("spike", name)]
    moved = {name: np.zeros((spikes.times.size, n_vectors)) for name, spikes in chunk.spikes.items()}
    ended = {}
    for layer in layers_of(network):
        own = own_spikes(layer, chunk)
        sources, own_of, moves = _sources(layer, chunk, before, moved)
        v, i, release = np.zeros((3, layer.size, n_vectors))
        for name, place in layer.slices.items():
            for kind, rows in (("V", v), ("I", i), ("release", release)):
                at = start.of(kind, name)
                rows[place.start + start.neuron[at]] = given[at]
        own_moves = np.zeros((own.times.size, n_vectors))
        grazing = call(
            carry,
            layer.neurons,
            layer.by_source,
            Run(sources, own, chunk.start[layer.name], solution.after, solution.t_end),
            own_of,
            sample,
            solution.t_start,
            Vectors(moves, own_moves, v, i, release),
        )
        if grazing >= 0:
            name, neuron = layer.neuron_of(int(own.neurons[grazing]))
            raise UndefinedGradientError(
                f"the derivative of the flow is not defined: neuron {neuron} of {name!r} "
                f"{solution.without_slope(float(own.times[grazing]))}, and a vector moves it"
            )
        for name, places in places_of(layer, own).items():
            moved[name] = own_moves[places]
            place = layer.slice_of(name)
            ended[name] = (v[place], i[place], release[place])
    ends = {name: _row(states, sample) for name, states in chunk.end.items()}
    under_way, still = {}, {}
    delays = longest_delays({key: p.delay for key, p in network.projections.items()})
    for name, longest in delays.items():
        sent = [(chunk.carried[name], before[name])] if name in chunk.carried else []
        sent.append((chunk.spikes[name], moved[name]))
        found = [_late(spikes, rows, sample, longest, solution.t_end) for spikes, rows in sent]
        under_way[name] = _Under(
            np.concatenate([late.times for late, _ in found]),
            np.concatenate([late.neurons for late, _ in found]),
            np.concatenate([late.low for late, _ in found]),
            np.concatenate([late.arrivals for late, _ in found]),
        )
        still[name] = np.concatenate([rows for _, rows in found])
    end = _coordinates(network, ends, under_way, solution.t_end)
    vectors = np.empty((len(end), n_vectors))
    for name in end.populations:
        for kind, rows in zip(("V", "I", "release"), ended[name], strict=True):
            at = end.of(kind, name)
            vectors[at] = rows[end.neuron[at]]
        if name in still:
            vectors[end.of("spike", name)] = still[name]
    spike_times = {
        name: rows[chunk.spikes[name].offsets[sample] : chunk.spikes[name].offsets[sample + 1]]
        for name, rows in moved.items()
        if name in end.populations
    }
    return FlowDerivative(start, end, given, vectors, FrozenMapping(spike_times))


def _late(spikes: Spikes, rows: Reals, sample: int, longest: float, now: float) -> tuple[_Under, Reals]:
    """Return those of a sample's spikes that are on their way, and their rows."""
    piece = _piece(spikes, sample)
    late = _under_way(piece.times, piece.low, longest, now)
    under_way = _Under(piece.times[late], piece.neurons[late], piece.low[late], piece.arrivals[late])
    return under_way, rows[spikes.offsets[sample] : spikes.offsets[sample + 1]][late]


def _sources(
    layer: Layer, chunk: Chunk, before: Mapping[str, Reals], moved: Mapping[str, Reals]
) -> tuple[Spikes, Integers, Reals]:
    """Return all that is sent to a layer, in order of time, exactly; which own spike each is; by how much it moves."""
    gathered = gather(layer, chunk)
    spikes, order = gathered.spikes, gathered.order
    columns = []
    for source in layer.sources if layer.efferents is None else [layer.sources[k] for k in layer.precedence]:
        columns += [before[source], moved[source]] if source in before else [moved[source]]
    if layer.cyclic:
        columns += [before[name] for name in layer.name if name in before]
    n_given, n_vectors = sum(rows.shape[0] for rows in columns), moved[layer.name[0]].shape[1]
    n_own = spikes.times.size - n_given
    moves = np.concatenate([*columns, np.zeros((n_own, n_vectors))])
    if order is None:
        order = np.arange(spikes.times.size)
    if layer.efferents is None:  # gather sorts within samples only, and a layer is stepped through in order
        samples = np.repeat(np.arange(chunk.n_samples), np.diff(spikes.offsets))
        again = np.lexsort((spikes.low, spikes.times, samples))
        order = order[again]
        spikes = spikes._replace(
            times=spikes.times[again],
            neurons=spikes.neurons[again],
            arrivals=spikes.arrivals[again],
            trigger=spikes.trigger[again],
            low=spikes.low[again],
        )
    return spikes, np.where(order >= n_given, order - n_given, -1), moves[order]
