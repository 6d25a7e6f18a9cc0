"""A periodic orbit, and all that follows from the times of its spikes: state, monodromy, multipliers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count, duration, index, instance, real, shown
from eventsolve.dynamics.flow import Coordinates, flow_derivative
from eventsolve.dynamics.rhythm import Rhythm
from eventsolve.errors import Carrying
from eventsolve.frozen import Frozen
from eventsolve.kernels.tables import States
from eventsolve.network import Network
from eventsolve.schedule import layers_of
from eventsolve.shown import Summary, ms, several
from eventsolve.solution import Solution
from eventsolve.solve import SpikeBudgetError, solve
from eventsolve.spiketrains import SpikeTrains, require_spike_trains, sorted_trains
from eventsolve.state import State, delays_of, longest_delays, neurons_of
from eventsolve.typing import Reals

ASTRAY = 1e-6
"""As a part of the period: how far the solver's spikes may be from the orbit's before they count as others."""

Why = Literal["dies out", "runs away", "does not settle", "grazing", "tie", "not isolated", "another orbit"]


class NoOrbitError(Carrying, RuntimeError):
    """No periodic orbit was found.

    Attributes
    ----------
    why : {"dies out", "runs away", "does not settle", "grazing", "tie", "not isolated", "another orbit"}
        Nothing spikes any more; more spikes than allowed; the trajectory was not periodic by its end, or Newton's
        method does not settle on a solution; a spike loses its
        slope, where no derivative exists; two events coincide whose order matters, where the derivative has two sides;
        orbits fill a continuum, as of neurons that do not hear each other, so that none is singled out; the spikes that
        solve the equations are not those that the network makes.
    sentence : str
        What happened, with numbers.
    solution : Solution or None
        The trajectory that was looked at, or what the network does instead.
    orbit : Orbit or None
        An orbit that was found on the way, but is unstable and so not what the trajectory settles on.
    """

    def __init__(
        self, why: Why, sentence: str, solution: Solution | None = None, orbit: Orbit | None = None
    ) -> None:
        super().__init__(f"{why}: {sentence}")
        self.why, self.sentence, self.solution, self.orbit = why, sentence, solution, orbit


@dataclass(frozen=True, eq=False, repr=False)
class Orbit(Frozen):
    """A periodic orbit of a network.

    Attributes
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains
        Of one period of the orbit, in (0, period] seconds.
    period : float
        Seconds.
    free : bool
        Whether the network keeps its own time, without input; else it is locked to the period of its inputs.
    spikes : mapping of str to SpikeTrains
        Of one period, by population, inputs included, in (0, period] seconds. Time 0 of a free orbit is in the middle
        of the longest time in which nothing happens.
    reference : (str, int) or None
        The neuron whose first spike has the phase 0; None if the orbit has no spikes.
    state : State
        At the beginning of a period, from which :meth:`solution` goes on; its time is a multiple of the period.
    monodromy : ndarray of float64, (n, n)
        The derivative of the state a period later by the state, in the coordinates of
        :func:`eventsolve.dynamics.coordinates`.
    multipliers : ndarray of complex128, (n,)
        Its eigenvalues, the largest first. That of a shift in time, of a free orbit, is 1.
    residual : float
        What is left of the equations: the largest distance of V from the threshold at a spike, in the unit of V, and of
        a triggered spike from its arrival, in seconds.
    """

    network: Network
    inputs: Mapping[str, SpikeTrains]
    period: float
    free: bool
    spikes: Mapping[str, SpikeTrains]
    reference: tuple[str, int] | None
    state: State = field(repr=False)
    monodromy: NDArray[np.float64] = field(repr=False)
    multipliers: NDArray[np.complex128]
    residual: float
    _rhythm: Rhythm = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no orbit, as all that reads it would, in words that name nothing.

        Raises
        ------
        TypeError, ValueError
        """
        instance("network", self.network, Network)
        instance("state", self.state, State)
        instance("free", self.free, bool)
        vars(self)["period"] = duration("period", self.period)
        vars(self)["residual"] = real("residual", self.residual)
        for name in ("inputs", "spikes"):
            require_spike_trains(name, getattr(self, name))
        if set(self.spikes) != set(self.network.populations):
            raise ValueError(
                f"spikes must be those of {sorted(self.network.populations)}; got {sorted(self.spikes)}"
            )
        if self.reference is not None:
            if not (isinstance(self.reference, tuple) and len(self.reference) == 2):
                raise TypeError(
                    f"reference must be (population, neuron) or None; got {shown(self.reference)}"
                )
            name, neuron = self.reference
            index("neuron of reference", neuron, self.network.population(name).size)
        for name, ndim in (("multipliers", 1), ("monodromy", 2)):
            given = getattr(self, name)
            if not isinstance(given, np.ndarray) or given.dtype.kind not in "fc" or given.ndim != ndim:
                what = "a vector" if ndim == 1 else "a matrix"
                raise TypeError(f"{name} of an orbit must be {what} of numbers; got {shown(given)}")
        super().__post_init__()

    @property
    def n_spikes(self) -> int:
        """Spikes of all neurons in one period."""
        return self._rhythm.pattern.n_spikes

    @cached_property
    def transverse(self) -> NDArray[np.complex128]:
        """The multipliers but for the one of a shift in time, which is 1: all of a locked orbit."""
        if not self.free:
            return self.multipliers
        return np.delete(self.multipliers, int(np.argmin(np.abs(self.multipliers - 1.0))))

    @property
    def stable(self) -> bool:
        """Whether small perturbations die out, but for a shift in time: every other multiplier is below 1 in size.

        As far as float64 tells; :func:`eventsolve.certify_orbit` proves it.
        """
        return bool(np.abs(self.transverse).max(initial=0.0) < 1.0)

    @property
    def phase_zero(self) -> float:
        """When the reference neuron spikes first, in seconds; 0 for an orbit without spikes."""
        if self.reference is None:
            return 0.0
        name, neuron = self.reference
        return float(self.spikes[name][0, neuron][0])

    def solution(self, periods: int = 1) -> Solution:
        """Solve the network from the orbit's state on, for so many periods; times begin at ``state.time``."""
        return continued(self.network, self.inputs, self.period, self.state, count("periods", periods, 1))

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = [
            ("spikes", f"{several(self.n_spikes, 'spike')} in a period"),
            ("stability", self._words()),
            ("residual", f"{self.residual:.3g}"),
        ]
        return f"Orbit({'free' if self.free else 'locked'}, period {ms(self.period)})", rows

    def _words(self) -> str:
        largest = self.transverse[:1]
        if not largest.size:
            return "stable: no other multiplier than that of time"
        value = complex(largest[0])
        number = f"{value.real:.6g}" if value.imag == 0.0 else f"{value.real:.6g} {value.imag:+.6g}i"
        return f"{'stable' if self.stable else 'not stable'}, largest multiplier {number}"


# -- from a rhythm ----------------------------------------------------------------------------------------------------


def orbit_of(rhythm: Rhythm, inputs: Mapping[str, SpikeTrains], free: bool) -> Orbit:
    """Return the orbit of a rhythm that solves its equations, or raise if the network does not make its spikes."""
    state, spikes = _state_of(rhythm, inputs), _spikes_of(rhythm, inputs)
    solution = _made(rhythm, inputs, state, spikes)
    monodromy = _monodromy(solution)
    multipliers = np.linalg.eigvals(monodromy).astype(np.complex128)
    multipliers = multipliers[np.lexsort((-multipliers.imag, -multipliers.real, -np.abs(multipliers)))]
    of = rhythm.circuit
    return Orbit(
        of.network,
        inputs,
        rhythm.period,
        free,
        spikes,
        of.cell_name(int(rhythm.pattern.cells[0])) if rhythm.times.size else None,
        state,
        monodromy,
        multipliers,
        float(np.abs(rhythm.equations().residual).max(initial=0.0)),
        rhythm,
    )


def quiet_time(rhythm: Rhythm) -> float:
    """Return a time in the middle of the longest one of a period in which nothing happens, in seconds."""
    of, period = rhythm.circuit, rhythm.period
    events = [rhythm.times, rhythm.times + of.t_ref[rhythm.pattern.cells], rhythm.arriving]
    at = np.sort(np.concatenate(events) % period)
    gaps = np.diff(np.concatenate([at, [at[0] + period]]))
    k = int(np.argmax(np.where(gaps >= gaps.max() * (1.0 - 1e-6), 1, 0)))
    return float(at[k] + 0.5 * gaps[k])


def framed(rhythm: Rhythm, free: bool) -> Rhythm:
    """Return the rhythm with its spikes in (0, period], in order; time 0 of a free one is where nothing happens."""
    pattern, period = rhythm.pattern, rhythm.period
    start = quiet_time(rhythm) if free else 0.0
    times = rhythm.times - start
    times -= (np.ceil(times / period) - 1.0) * period
    order = np.argsort(times, kind="stable")
    m = order.size
    place = np.arange(pattern.n_events)
    place[order] = np.arange(m)
    cause = pattern.cause[order]
    moved = replace(
        pattern,
        cells=pattern.cells[order],
        cause=np.where(cause >= 0, place[cause], -1) if m else cause,
        synapse=pattern.synapse[order],
    )
    return replace(rhythm, pattern=moved, times=times[order], after=rhythm.after[order])


def _spikes_of(rhythm: Rhythm, inputs: Mapping[str, SpikeTrains]) -> dict[str, SpikeTrains]:
    of, cells = rhythm.circuit, rhythm.pattern.cells
    found = {}
    for name, population in of.network.populations.items():
        if population.neuron is None:
            found[name] = inputs[name]
            continue
        low = of.first.get(name, of.n_channels) - of.n_channels
        here = (cells >= low) & (cells < low + population.size)
        zeros = np.zeros(np.count_nonzero(here), np.int64)
        found[name] = sorted_trains(rhythm.times[here], cells[here] - low, zeros, (1, population.size))
    return found


def _state_of(rhythm: Rhythm, inputs: Mapping[str, SpikeTrains]) -> State:
    """Return the state at the beginning of a period, late enough for all spikes on their way to have times >= 0."""
    of, period = rhythm.circuit, rhythm.period
    network = of.network
    longest = longest_delays({key: p.delay for key, p in network.projections.items()})
    n = 1 + math.ceil(max(longest.values(), default=0.0) / period)
    time = n * period
    spikes = _spikes_of(rhythm, inputs)
    in_flight, low, turns = {}, {}, {}
    for name, delay in longest.items():
        trains = repeated(spikes[name], period, 0, n)
        late = trains.times + delay > time
        in_flight[name] = sorted_trains(
            trains.times[late],
            trains.neurons[late],
            trains.samples[late],
            (1, trains.n_neurons),
        )
        low[name] = np.zeros(in_flight[name].n_spikes)
        turns[name] = np.arange(in_flight[name].n_spikes, dtype=np.int64)
    v, i, release = rhythm.at_start()
    layers = {}
    for layer in layers_of(network):
        places = [
            np.arange(of.cells_of(name).start, of.cells_of(name).stop) for name in layer.name if of.n_cells
        ]
        at = np.concatenate([np.empty(0, np.int64), *places]).astype(np.int64)
        when = np.full((1, at.size), time)
        layers[layer.name] = States(
            when,
            (v - of.v_leak)[None, at],
            i[None, at],
            time + release[None, at],
            0.0 * when,
            when.copy(),
        )
    return State(time, 1, in_flight, low, turns, layers, neurons_of(network), delays_of(network))


def _monodromy(solution: Solution) -> Reals:
    """Return the derivative of the state at the end of a period by that at its start, coordinate by coordinate."""
    derivative = flow_derivative(solution)
    rows, columns = _keys(derivative.end), _keys(derivative.start)
    if sorted(rows) != sorted(columns):
        raise NoOrbitError(
            "tie", "an event falls on the beginning of a period: let the inputs begin elsewhere", solution
        )
    place = {key: k for k, key in enumerate(rows)}
    return derivative.vectors[[place[key] for key in columns]]


def _keys(where: Coordinates) -> list[tuple[int, int, int, int]]:
    """Return what each coordinate is of; spikes of one neuron are counted, as those of several may be at one time."""
    seen: dict[tuple[int, int, int], int] = {}
    found = []
    for key in zip(where.kinds.tolist(), where.population.tolist(), where.neuron.tolist(), strict=True):
        seen[key] = seen.get(key, -1) + 1
        found.append((*key, seen[key]))
    return found


def _made(
    rhythm: Rhythm, inputs: Mapping[str, SpikeTrains], state: State, spikes: Mapping[str, SpikeTrains]
) -> Solution:
    """Return one period, solved from the state on, or raise if its spikes are other ones than the orbit says."""
    of, period = rhythm.circuit, rhythm.period
    try:
        solution = continued(of.network, inputs, period, state, 1)
    except SpikeBudgetError as error:
        raise NoOrbitError("runs away", error.sentence, error.solution) from error
    for name, population in of.network.populations.items():
        if population.neuron is None:
            continue
        made, said = solution.spikes[name], spikes[name]
        for neuron in np.flatnonzero(made.counts()[0] != said.counts()[0]).tolist():
            raise NoOrbitError(
                "another orbit",
                f"neuron {neuron} of {name!r} spikes {int(made.counts()[0, neuron])} times in the period, where the "
                f"equations were solved for {int(said.counts()[0, neuron])}",
                solution,
            )
        first, second = (np.lexsort((trains.times, trains.neurons)) for trains in (made, said))
        off = np.abs(made.times[first] - state.time - said.times[second])
        if off.max(initial=0.0) > ASTRAY * period:
            neuron = int(said.neurons[second[np.argmax(off)]])
            raise NoOrbitError(
                "another orbit",
                f"a spike of neuron {neuron} of {name!r} is {float(off.max()):.3g} s off what was solved for",
                solution,
            )
    return solution


def repeated(trains: SpikeTrains, period: float, first: int, n: int) -> SpikeTrains:
    """Return a train of one period repeated n times, from the period of that number on."""
    laps = np.repeat(np.arange(first, first + n), trains.n_spikes)
    return sorted_trains(
        np.tile(trains.times, n) + laps * period,
        np.tile(trains.neurons, n),
        np.zeros(laps.size, np.int64),
        (1, trains.n_neurons),
    )


def continued(
    network: Network, inputs: Mapping[str, SpikeTrains], period: float, state: State, periods: int
) -> Solution:
    """Solve a network from an orbit's state on, for so many periods of an orbit."""
    first = round(state.time / period)
    given = {name: repeated(one, period, first, periods) for name, one in inputs.items()}
    # the sum by which an input at the end of the last period has its time
    return solve(network, given, period + (first + periods - 1) * period, initial=state)
