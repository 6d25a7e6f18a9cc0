"""Periodic orbits: found from a trajectory that settles or from a guess, and polished to rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count, seconds, shown
from eventsolve.dynamics.flow import Coordinates, flow_derivative
from eventsolve.dynamics.pattern import Circuit, Equations, Pattern, Reals, Rhythm, circuit_of
from eventsolve.frozen import Frozen
from eventsolve.kernels.tables import States
from eventsolve.network import Network
from eventsolve.schedule import layers_of
from eventsolve.shown import Summary, ms, several
from eventsolve.solution import Solution, State
from eventsolve.solve import SpikeBudgetError, solve
from eventsolve.spiketrains import SpikeTrains, sorted_trains

EPS = float(np.finfo(np.float64).eps)
STEPS = 50
"""Newton steps at most; from a near-return a handful suffices, as their error is squared each time."""
NEAR = 0.05
"""How close a trajectory has to return, as a part of the period, for Newton's method to be tried from there."""
CLOSE = 1e-9
"""As a part of the period: how close an arrival may come to a spike or release before they count as a tie."""

ROUNDED = 64 * EPS
"""What may be left of V at a spike for the equations to count as solved, beside the threshold and the leak."""
SINGULAR = 1e13
"""Condition number of the equations, rows scaled to 1, from which float64 does not tell their solution."""
ASTRAY = 1e-6
"""As a part of the period: how far the solver's spikes may be from the orbit's before they count as others."""

Why = Literal["dies out", "runs away", "does not settle", "grazing", "tie", "not isolated", "another orbit"]


class NoOrbitError(RuntimeError):
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
        return _continued(self.network, self.inputs, self.period, self.state, count("periods", periods, 1))

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


def periodic_orbit(
    network: Network,
    inputs: Mapping[str, SpikeTrains] | None = None,
    *,
    period: float | None = None,
    transient: float | None = None,
    initial: State | None = None,
    guess: Orbit | tuple[Mapping[str, SpikeTrains], float] | None = None,
    most: int = 16,
    max_spikes: int = 100_000,
) -> Orbit:
    """Find a periodic orbit of a network, by Newton's method with exact derivatives.

    The unknowns are the times of the spikes of one period, and of a network without input the period: see
    :mod:`eventsolve.dynamics.pattern`. Where to begin is a guess, or a trajectory that nearly returns. What is found is
    solved once more: the network makes exactly these spikes.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains, optional
        One sample of one period of the inputs, in [0, period] seconds; left out, or without any spike, for an orbit
        that the network makes by itself.
    period : float, optional
        Of the inputs, in seconds; has to be given with them. The orbit's own may be a multiple.
    transient : float, optional
        For how many seconds the trajectory may take to settle. By default 200 periods of the inputs, or 200 times the
        longest of the network's time constants, delays and refractory periods.
    initial : State, optional
        Where the trajectory begins, as for :func:`eventsolve.solve`; its time has to be a multiple of a period.
    guess : Orbit, or (spikes, period), optional
        Begin with these spikes of one period instead of a trajectory, of each population of neurons, in seconds, and
        with this period; found is an orbit with as many spikes of each neuron, stable or not. An orbit may be one of
        another network with the same neurons.
    most : int
        Up to which multiple of the inputs' period, or number of spikes of the reference neuron, to look for one.
    max_spikes : int
        How many spikes the trajectory may have.

    Returns
    -------
    Orbit

    Raises
    ------
    NoOrbitError
        With the reason, and what was found so far.
    RepeatedSpikeError
        If a neuron would spike twice at one time.
    TypeError, ValueError
        If the arguments are something else, or do not fit together.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {shown(network)}")
    most, max_spikes = count("most", most, 1), count("max_spikes", max_spikes, 1)
    given = _one_period(network, inputs, period)
    network.freeze()
    circuit = circuit_of(network)
    if guess is not None:
        if initial is not None or transient is not None:
            raise ValueError("initial and transient are those of a trajectory; a guess needs none")
        return _from_guess(circuit, given, period, guess)
    if transient is None:
        durations = (circuit.tau_mem, circuit.tau_syn, circuit.t_ref, circuit.delay)
        longest = max(float(column.max(initial=0.0)) for column in durations)
        transient = 200.0 * (longest if period is None else period)
    else:
        transient = seconds("transient", transient)
        if not 0.0 < transient < math.inf:
            raise ValueError(f"transient must be finite and > 0; got {transient!r}")
    if period is None:
        return _settled_free(circuit, given, transient, initial, most, max_spikes)
    return _settled_locked(circuit, given, period, transient, initial, most, max_spikes)


# -- inputs ---------------------------------------------------------------------------------------------------------


def _one_period(
    network: Network, inputs: Mapping[str, SpikeTrains] | None, period: float | None
) -> dict[str, SpikeTrains]:
    """Return the inputs of one period in (0, period], all of them, or raise a ValueError."""
    sizes = {name: p.size for name, p in network.populations.items() if p.neuron is None}
    trains = dict(inputs or {})
    for name in trains:
        if name not in sizes:
            raise ValueError(
                f"inputs name {shown(name)}, which is not an input; the inputs are {sorted(sizes)}"
            )
        if not isinstance(trains[name], SpikeTrains):
            raise TypeError(f"inputs[{name!r}] must be SpikeTrains; got {type(trains[name]).__name__}")
    spiking = any(t.n_spikes for t in trains.values())
    if period is None:
        if spiking:
            raise ValueError(
                "period, that of the inputs in seconds, must be given with inputs that have spikes"
            )
    else:
        period = seconds("period", period)
        if not 0.0 < period < math.inf:
            raise ValueError(f"period must be finite and > 0; got {period!r}")
        if not sizes:
            raise ValueError(f"period is that of the inputs, of which the network has none; got {period!r}")
    found = {}
    for name, size in sizes.items():
        one = trains.get(name, SpikeTrains.from_lists([[[] for _ in range(size)]], n_neurons=size))
        if (one.n_samples, one.n_neurons) != (1, size):
            raise ValueError(
                f"inputs[{name!r}] must have one sample of {size} neurons; got {one.n_samples} of {one.n_neurons}"
            )
        if period is not None:
            if one.times.max(initial=0.0) > period:
                raise ValueError(
                    f"inputs[{name!r}] must lie in [0, period = {period!r}]; "
                    f"got a spike at {float(one.times.max())!r} s"
                )
            times = np.where(one.times == 0.0, period, one.times)
            for neuron in range(size):
                own = times[one.neurons == neuron]
                if np.unique(own).size < own.size:
                    raise ValueError(
                        f"inputs[{name!r}] has spikes of neuron {neuron} both at 0 and at the period, which are one"
                    )
            one = sorted_trains(times, one.neurons, one.samples, (1, size))
        found[name] = one
    return found


def _repeated(trains: SpikeTrains, period: float, first: int, n: int) -> SpikeTrains:
    """Return a train of one period repeated n times, from the period of that number on."""
    laps = np.repeat(np.arange(first, first + n), trains.n_spikes)
    return sorted_trains(
        np.tile(trains.times, n) + laps * period,
        np.tile(trains.neurons, n),
        np.zeros(laps.size, np.int64),
        (1, trains.n_neurons),
    )


def _continued(
    network: Network, inputs: Mapping[str, SpikeTrains], period: float, state: State, periods: int
) -> Solution:
    first = round(state.time / period)
    repeated = {name: _repeated(one, period, first, periods) for name, one in inputs.items()}
    # the sum by which an input at the end of the last period has its time
    return solve(network, repeated, period + (first + periods - 1) * period, initial=state)


# -- from a trajectory ------------------------------------------------------------------------------------------------


def _trajectory(
    network: Network, inputs: Mapping[str, SpikeTrains], t_end: float, initial: State | None, max_spikes: int
) -> Solution:
    try:
        return solve(network, inputs, t_end, initial=initial, max_spikes=max_spikes)
    except SpikeBudgetError as error:
        raise NoOrbitError("runs away", str(error), error.solution) from error


class Raster:
    """All spikes of the neurons of one sample as cells and times, in order of time."""

    def __init__(self, circuit: Circuit, spikes: Mapping[str, SpikeTrains]) -> None:
        names = [n for n, p in circuit.network.populations.items() if p.neuron is not None and p.size]
        nothing: NDArray[Any] = np.empty(0)
        times = np.concatenate([nothing, *(spikes[n].times for n in names)])
        cells = np.concatenate(
            [nothing, *(spikes[n].neurons + circuit.first[n] - circuit.n_channels for n in names)]
        ).astype(np.int64)
        order = np.lexsort((cells, times))
        self.times, self.cells = times[order], cells[order]

    def window(self, low: float, high: float) -> tuple[Reals, NDArray[np.int64]]:
        """Return the spikes in (low, high], cell after cell."""
        here = (self.times > low) & (self.times <= high)
        order = np.lexsort((self.times[here], self.cells[here]))
        return self.times[here][order], self.cells[here][order]

    def mismatch(self, end: float, period: float) -> float:
        """Return by how much the spikes of the last period before a time differ from those a period earlier."""
        now, cells = self.window(end - period, end)
        before, others = self.window(end - 2.0 * period, end - period)
        if not np.array_equal(cells, others):
            return math.inf
        return float(np.abs(now - before - period).max(initial=0.0))


def _settled_free(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    transient: float,
    initial: State | None,
    most: int,
    max_spikes: int,
) -> Orbit:
    start = 0.0 if initial is None else initial.time
    solution = _trajectory(circuit.network, inputs, start + transient, initial, max_spikes)
    raster = Raster(circuit, solution.spikes)
    late = raster.times > start + 0.5 * transient
    if not late.any():
        last = f"the last is at {float(raster.times[-1])!r} s" if raster.times.size else "there is none"
        raise NoOrbitError("dies out", f"no spike in the second half of {transient!r} s; {last}", solution)
    # the neuron with the fewest spikes: those in one period are most easily told
    counts = np.bincount(raster.cells[late], minlength=circuit.n_cells)
    reference = int(np.argmin(np.where(counts > 0, counts, np.iinfo(np.int64).max)))
    own = raster.times[raster.cells == reference]

    def candidates() -> Iterator[tuple[float, float]]:
        for q in range(1, min(most, own.size - 1) + 1):
            period = float(own[-1] - own[-1 - q])
            # end in the longest pause of that period
            times = raster.times[(raster.times > own[-1] - period) & (raster.times <= own[-1])]
            gaps = np.diff(np.concatenate([[own[-1] - period], times]))
            k = int(np.argmax(gaps))
            yield float(times[k] - 0.5 * gaps[k]), period

    return _polished(circuit, inputs, raster, candidates(), solution, free=True)


def _settled_locked(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    period: float,
    transient: float,
    initial: State | None,
    most: int,
    max_spikes: int,
) -> Orbit:
    first = 0 if initial is None else round(initial.time / period)
    if initial is not None and abs(initial.time - first * period) > 4.0 * EPS * initial.time:
        raise ValueError(
            f"initial.time must be a multiple of the period {period!r} s, as inputs begin anew then; "
            f"got {initial.time!r}"
        )
    n = max(2, math.ceil(transient / period))
    repeated = {name: _repeated(one, period, first, n) for name, one in inputs.items()}
    end = (first + n) * period
    solution = _trajectory(circuit.network, repeated, end, initial, max_spikes)
    raster = Raster(circuit, solution.spikes)
    of = ((end, q * period) for q in range(1, min(most, n // 2) + 1))
    return _polished(circuit, inputs, raster, of, solution, free=False, input_period=period)


def _polished(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    raster: Raster,
    candidates: Iterator[tuple[float, float]],
    solution: Solution,
    *,
    free: bool,
    input_period: float = 0.0,
) -> Orbit:
    """Return the first orbit that Newton's method finds from a near-return of a trajectory, and that it stays on.

    It does so on a stable one, and by symmetry, to rounding, on one that is not.
    """
    tried = [(raster.mismatch(end, period) / period, end, period) for end, period in candidates]
    closest = min((near for near, *_ in tried), default=math.inf)
    failure, unstable = None, None
    for near, end, period in tried:
        if near > min(NEAR, max(CLOSE, 100.0 * closest)):
            continue
        times, cells = raster.window(end - period, end)
        n = 1 if free else round(period / input_period)
        given = {name: _repeated(one, input_period, 0, n) for name, one in inputs.items()}
        try:
            orbit = _orbit_at(circuit, given, times - (end - period), cells, period, free)
        except NoOrbitError as error:
            if near <= CLOSE:  # it has settled: why there is no orbit is the same for multiples of the period
                raise NoOrbitError(error.why, error.sentence, error.solution or solution, unstable) from error
            failure = failure or error
            continue
        if orbit.stable or near <= CLOSE:
            return orbit
        unstable = unstable or orbit
    told = f"at best to {closest:.3g} of a period" if closest < math.inf else "not even with the same neurons"
    beside = f"; it comes near an orbit, {unstable._words()}" if unstable is not None else ""
    raise NoOrbitError(
        "does not settle",
        f"by {solution.t_end!r} s the trajectory does not return, {told}{beside}: "
        "a longer transient, or a larger most, may show an orbit",
        solution,
        unstable,
    ) from failure


# -- from spikes ------------------------------------------------------------------------------------------------------


def _from_guess(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    input_period: float | None,
    guess: Orbit | tuple[Mapping[str, SpikeTrains], float],
) -> Orbit:
    if not isinstance(guess, Orbit) and not (
        isinstance(guess, tuple) and len(guess) == 2 and isinstance(guess[0], Mapping)
    ):
        raise TypeError(f"guess must be an Orbit, or (spikes, period); got {shown(guess)}")
    spikes, period = (guess.spikes, guess.period) if isinstance(guess, Orbit) else guess
    period = seconds("the guess's period", period)
    if not 0.0 < period < math.inf:
        raise ValueError(f"the guess's period must be finite and > 0; got {period!r}")
    for name, population in circuit.network.populations.items():
        if population.neuron is None:
            continue
        trains = spikes.get(name)
        if not isinstance(trains, SpikeTrains) or (trains.n_samples, trains.n_neurons) != (
            1,
            population.size,
        ):
            raise ValueError(
                f"guess must have spikes of {name!r}, one sample of {population.size} neurons; got {shown(trains)}"
            )
    n = 1
    if input_period is not None:
        n = round(period / input_period)
        if n < 1 or abs(period - n * input_period) > 4.0 * EPS * period:
            raise ValueError(
                f"the guess's period must be a multiple of the inputs' {input_period!r} s; got {period!r}"
            )
    given = {name: _repeated(one, input_period or 0.0, 0, n) for name, one in inputs.items()}
    raster = Raster(circuit, spikes)
    return _orbit_at(circuit, given, raster.times, raster.cells, period, input_period is None)


def _orbit_at(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    times: Reals,
    cells: NDArray[np.int64],
    period: float,
    free: bool,
) -> Orbit:
    """Return the orbit near spikes of one period."""
    if free and not times.size:
        raise NoOrbitError("dies out", "a network without input and without spikes is at rest")
    order = np.lexsort((cells, times))
    pattern = _pattern_of(circuit, inputs, times[order], cells[order], period)
    rhythm = _solved(_begun(pattern, times[order], period), free)
    rhythm = _framed(rhythm, free)
    equations = rhythm.equations()
    if equations.gap < CLOSE * period:
        raise NoOrbitError(
            "tie",
            f"an arrival comes within {equations.gap:.3g} s of a spike or release whose order with it matters",
        )
    state, spikes = _state_of(rhythm, inputs), _spikes_of(rhythm, inputs)
    solution = _made(rhythm, inputs, state, spikes)
    monodromy = _monodromy(solution)
    multipliers = np.linalg.eigvals(monodromy).astype(np.complex128)
    multipliers = multipliers[np.lexsort((-multipliers.imag, -multipliers.real, -np.abs(multipliers)))]
    return Orbit(
        circuit.network,
        inputs,
        rhythm.period,
        free,
        spikes,
        circuit.cell_name(int(rhythm.pattern.cells[0])) if times.size else None,
        state,
        monodromy,
        multipliers,
        float(np.abs(equations.residual).max(initial=0.0)),
        rhythm,
    )


def _pattern_of(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    times: Reals,
    cells: NDArray[np.int64],
    period: float,
) -> Pattern:
    """Return which spikes there are, and which delta synapse triggers those that happen as one delivers."""
    nothing = np.empty(0, np.int64)
    channels = np.concatenate(
        [nothing, *(one.neurons + circuit.first[n] for n, one in inputs.items() if one.n_neurons)]
    )
    given = np.concatenate([np.empty(0), *(one.times for one in inputs.values() if one.n_neurons)])
    sources = np.concatenate([circuit.n_channels + cells, channels.astype(np.int64)])
    events = np.concatenate([times, given])
    cause, lag, lift = np.full(cells.size, -1), np.zeros(cells.size), np.zeros(cells.size)
    lifting = np.flatnonzero(circuit.delta & (circuit.weight > 0.0))
    for k, cell in enumerate(cells) if lifting.size else ():
        at = lifting[circuit.target[lifting] == cell]
        event, synapse = np.nonzero(sources[:, None] == circuit.source[at][None, :])
        late = times[k] - events[event] - circuit.delay[at[synapse]]
        off = np.abs(late - np.round(late / period) * period)
        near = np.flatnonzero(off <= 1e-9 * period)
        if near.size:
            best = near[np.argmin(off[near])]
            cause[k], s = event[best], at[synapse[best]]
            lag[k], lift[k] = circuit.delay[s], circuit.weight[s]
    return Pattern(circuit, cells, cause.astype(np.int64), lag, lift, channels.astype(np.int64), given)


def _begun(pattern: Pattern, times: Reals, period: float) -> Rhythm:
    """Return where Newton's method begins: after a chained reset V is as if it had been lifted from v_leak."""
    of = pattern.circuit
    after = of.v_reset[pattern.cells].copy()
    rhythm = Rhythm(pattern, times, after, period)
    for _ in range(3 if pattern.chained.size else 0):
        for k in pattern.chained.tolist():
            cell = int(pattern.cells[k])
            v = rhythm.voltage(cell, float(times[k]), rhythm.spike_before(k), k)
            after[k] = v.voltage + pattern.lift[k] - (of.v_threshold[cell] - of.v_reset[cell])
    return rhythm


def _solved(rhythm: Rhythm, free: bool) -> Rhythm:
    """Return the solution of the equations near a rhythm; of a free one the first spike keeps its time."""
    size = rhythm.times.size + rhythm.pattern.chained.size + 1
    columns = np.arange(1, size) if free else np.arange(size - 1)
    of = rhythm.pattern.circuit
    level = float((np.abs(of.v_leak) + np.abs(of.v_threshold))[rhythm.pattern.cells].max(initial=0.0))
    smallest = math.inf
    equations = rhythm.equations()
    for _ in range(STEPS):
        _require_slopes(rhythm, equations)
        step = np.zeros(size)
        jacobian = equations.jacobian[:, columns]
        scale = np.abs(jacobian).max(axis=1, initial=0.0)
        if columns.size and not np.linalg.cond(jacobian / scale[:, None]) < SINGULAR:
            raise NoOrbitError(
                "not isolated", "the equations of the orbit are singular, so that others lie next to it"
            )
        step[columns] = np.linalg.solve(jacobian, -equations.residual)
        length = float(np.abs(step[: rhythm.times.size]).max(initial=0.0)) + abs(float(step[-1]))
        if not length < rhythm.period:
            raise NoOrbitError("does not settle", "Newton's method leaves the guess by more than a period")
        exact = float(np.abs(equations.residual).max(initial=0.0)) <= ROUNDED * level
        if length >= 0.5 * smallest and (exact or smallest <= CLOSE * rhythm.period):
            return (
                rhythm  # rounding, as steps do not get shorter any more; next to a bifurcation they are long
            )
        smallest = min(smallest, length)
        following = _damped(rhythm, equations, step)
        rhythm, equations = following, following.equations()
        if length == 0.0:
            return rhythm
    raise NoOrbitError(
        "does not settle", f"Newton's method does not converge: its last step is {length:.3g} s"
    )


def _damped(rhythm: Rhythm, equations: Equations, step: Reals) -> Rhythm:
    """Return the rhythm after a step, of half the length as long as the order of a neuron's spikes would change."""
    for _ in range(30):
        found = rhythm.stepped(step)
        intervals = [np.diff(found.times[own]) for own in found.pattern.own.values()]
        spans = [found.times[own][-1] - found.times[own][0] for own in found.pattern.own.values()]
        if all((i > 0.0).all() for i in intervals) and all(0.0 <= s < found.period for s in spans):
            return found
        step = 0.5 * step
    raise NoOrbitError("does not settle", "Newton's method lets two spikes of a neuron meet")


def _require_slopes(rhythm: Rhythm, equations: Equations) -> None:
    pattern, of = rhythm.pattern, rhythm.pattern.circuit
    flat = np.flatnonzero(~(equations.slopes > 0.0))
    if flat.size:
        k = int(flat[0])
        name, neuron = of.cell_name(int(pattern.cells[k]))
        raise NoOrbitError(
            "grazing",
            f"V of neuron {neuron} of {name!r} does not rise where it is to reach its threshold, "
            f"at {float(rhythm.times[k])!r} s of the orbit: its slope is {float(equations.slopes[k]):.3g} per s, "
            "and multipliers grow as one over it",
        )


def _framed(rhythm: Rhythm, free: bool) -> Rhythm:
    """Return the rhythm with its spikes in (0, period], in order; time 0 of a free one is where nothing happens."""
    pattern, of, period = rhythm.pattern, rhythm.pattern.circuit, rhythm.period
    start = 0.0
    if free:
        events = [rhythm.times, rhythm.times + of.t_ref[pattern.cells]]
        events += [rhythm.events[a.event] + a.delay for a in pattern.arrivals]
        at = np.sort(np.concatenate(events) % period)
        gaps = np.diff(np.concatenate([at, [at[0] + period]]))
        k = int(np.argmax(np.where(gaps >= gaps.max() * (1.0 - 1e-6), 1, 0)))
        start = float(at[k] + 0.5 * gaps[k])
    times = rhythm.times - start
    times -= (np.ceil(times / period) - 1.0) * period
    order = np.argsort(times, kind="stable")
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    m = order.size
    cause = pattern.cause[order]
    cause = np.where(
        (cause >= 0) & (cause < m), place[np.clip(cause, 0, max(m - 1, 0))] if m else cause, cause
    )
    moved = Pattern(
        of,
        pattern.cells[order],
        cause,
        pattern.lag[order],
        pattern.lift[order],
        pattern.channels,
        pattern.given,
    )
    return Rhythm(moved, times[order], rhythm.after[order], period)


# -- what an orbit holds --------------------------------------------------------------------------------------------


def _spikes_of(rhythm: Rhythm, inputs: Mapping[str, SpikeTrains]) -> dict[str, SpikeTrains]:
    of, cells = rhythm.pattern.circuit, rhythm.pattern.cells
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
    of, period = rhythm.pattern.circuit, rhythm.period
    network = of.network
    longest: dict[str, float] = {}
    for p in network.projections.values():
        longest[p.pre] = max(longest.get(p.pre, 0.0), float(p.delay.max(initial=0.0)))
    n = 1 + math.ceil(max(longest.values(), default=0.0) / period)
    time = n * period
    spikes = _spikes_of(rhythm, inputs)
    on_the_way, low, turns = {}, {}, {}
    for name, delay in longest.items():
        trains = _repeated(spikes[name], period, 0, n)
        late = trains.times + delay > time
        on_the_way[name] = sorted_trains(
            trains.times[late],
            trains.neurons[late],
            trains.samples[late],
            (1, trains.n_neurons),
        )
        low[name] = np.zeros(on_the_way[name].n_spikes)
        turns[name] = np.arange(on_the_way[name].n_spikes, dtype=np.int64)
    u, i, free_at = (np.zeros((1, of.n_cells)) for _ in range(3))
    free_at[:] = -math.inf
    for cell in range(of.n_cells):
        last = rhythm.last_spike(cell, 0.0)
        i[0, cell] = rhythm.current(cell, 0.0)
        if last is not None and (release := rhythm.release_of(last)) > 0.0:
            u[0, cell], free_at[0, cell] = rhythm.after[last[0]] - of.v_leak[cell], time + release
        else:
            u[0, cell] = rhythm.voltage(cell, 0.0, last).voltage - of.v_leak[cell]
    layers = {}
    for layer in layers_of(network):
        places = [
            np.arange(of.cells_of(name).start, of.cells_of(name).stop) for name in layer.name if of.n_cells
        ]
        at = np.concatenate([np.empty(0, np.int64), *places]).astype(np.int64)
        when = np.full((1, at.size), time)
        layers[layer.name] = States(
            when,
            u[:, at],
            i[:, at],
            np.where(np.isfinite(free_at[:, at]), free_at[:, at], when),
            0.0 * when,
            when.copy(),
        )
    return State(time, 1, on_the_way, low, turns, layers)


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
    of, period = rhythm.pattern.circuit, rhythm.period
    try:
        solution = _continued(of.network, inputs, period, state, 1)
    except SpikeBudgetError as error:
        raise NoOrbitError("runs away", str(error), error.solution) from error
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
        for neuron in range(population.size):
            off = np.abs(made[0, neuron] - state.time - said[0, neuron])
            if off.max(initial=0.0) > ASTRAY * period:
                raise NoOrbitError(
                    "another orbit",
                    f"a spike of neuron {neuron} of {name!r} is {float(off.max()):.3g} s off what was solved for",
                    solution,
                )
    return solution
