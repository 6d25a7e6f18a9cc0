"""Periodic orbits: found from a trajectory that settles or from a guess, and polished to rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import count, instance, seconds, shown
from eventsolve.dynamics.circuit import Circuit, circuit_of
from eventsolve.dynamics.newton import CLOSE, EPS, begun, pattern_of, solved
from eventsolve.dynamics.orbit import NoOrbitError, Orbit, framed, orbit_of, repeated
from eventsolve.jobs import Advance, advancing, bar_of
from eventsolve.network import Network
from eventsolve.solution import Solution
from eventsolve.solve import SpikeBudgetError, solve
from eventsolve.spiketrains import SpikeTrains, sorted_trains
from eventsolve.state import State
from eventsolve.typing import Integers, Reals

NEAR = 0.05
"""How close a trajectory has to return, as a part of the period, for Newton's method to be tried from there."""


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
    progress: bool = False,
) -> Orbit:
    """Find a periodic orbit of a network, by Newton's method with exact derivatives.

    The unknowns are the times of the spikes of one period, and of a network without input the period: see
    :mod:`eventsolve.dynamics.rhythm`. Where to begin is a guess, or a trajectory that nearly returns. What is found is
    solved once more: the network makes exactly these spikes.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains, optional
        One sample of one period of the inputs, in [0, period] seconds; left out, or without any spike, for an orbit
        that the network makes by itself.
    period : float, optional
        Period of the inputs in seconds, required with inputs. The orbit's own period may be a multiple of it.
    transient : float, optional
        How long the trajectory may take to settle, in seconds. By default 200 periods of the inputs, or 200 times the
        longest of the network's time constants, delays and refractory periods.
    initial : State, optional
        Where the trajectory begins, as for :func:`eventsolve.solve`; its time has to be a multiple of a period.
    guess : Orbit, or (spikes, period), optional
        Start from these spikes of one period (of each population of neurons, in seconds) and this period instead of a
        trajectory. The orbit that is found has as many spikes of each neuron, and may be unstable. A guess may be the
        orbit of another network with the same neurons.
    most : int
        The largest multiple of the inputs' period, or number of spikes of the reference neuron, to try.
    max_spikes : int
        How many spikes the trajectory may have.
    progress : bool
        Whether to show a progress bar on stderr: half of it is the trajectory, half Newton's method from near-returns.

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
    if initial is not None:
        instance("initial", initial, State)
    most, max_spikes = count("most", most, 1), count("max_spikes", max_spikes, 1)
    given = _one_period(network, inputs, period)
    network.freeze()
    circuit = circuit_of(network)
    if guess is not None:
        if initial is not None or transient is not None:
            raise ValueError("initial and transient are those of a trajectory; a guess needs none")
        with advancing(bar_of(progress, "searching an orbit", 1.0)) as advance:
            orbit = _from_guess(circuit, given, period, guess)
            advance(1.0)
        return orbit
    durations = (circuit.tau_mem, circuit.tau_syn, circuit.t_ref, circuit.delay)
    longest = 200.0 * max(float(column.max(initial=0.0)) for column in durations)
    if transient is None:
        transient = longest if period is None else 200.0 * period
    else:
        transient = seconds("transient", transient)
        if not 0.0 < transient < math.inf:
            raise ValueError(f"transient must be finite and > 0; got {transient!r}")
    with advancing(bar_of(progress, "searching an orbit", 1.0)) as advance:
        if period is None:
            return _settled_free(circuit, given, transient, initial, most, max_spikes, longest, advance)
        return _settled_locked(circuit, given, period, transient, initial, most, max_spikes, advance)


# -- inputs ---------------------------------------------------------------------------------------------------------


def _one_period(
    network: Network, inputs: Mapping[str, SpikeTrains] | None, period: float | None
) -> dict[str, SpikeTrains]:
    """Return the inputs of one period in (0, period], all of them, or raise a ValueError."""
    sizes = {name: p.size for name, p in network.populations.items() if p.neuron is None}
    if inputs is not None:
        instance("inputs", inputs, Mapping)
    trains = dict(inputs or {})
    for name in trains:
        if name not in sizes:
            raise ValueError(
                f"inputs name {shown(name)}, which is not an input; the inputs are {sorted(sizes)}"
            )
        if not isinstance(trains[name], SpikeTrains):
            raise TypeError(f"inputs[{name!r}] must be SpikeTrains; got {type(trains[name]).__name__}")
    spiking = any(t.n_spikes for t in trains.values())
    if period is not None and sizes and not spiking:
        raise ValueError(
            f"period is that of the inputs, of which none has a spike; leave it out, got {shown(period)}"
        )
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


# -- from a trajectory ------------------------------------------------------------------------------------------------


def _trajectory(
    network: Network, inputs: Mapping[str, SpikeTrains], t_end: float, initial: State | None, max_spikes: int
) -> Solution:
    try:
        return solve(network, inputs, t_end, initial=initial, max_spikes=max_spikes)
    except SpikeBudgetError as error:
        more = "if it does not run away, allow more, or a shorter transient"
        raise NoOrbitError("runs away", f"{error.sentence}; {more}", error.solution) from error


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

    def window(self, low: float, high: float) -> tuple[Reals, Integers]:
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
    longest: float,
    advance: Advance,
) -> Orbit:
    start = 0.0 if initial is None else initial.time
    solution = _trajectory(circuit.network, inputs, start + transient, initial, max_spikes)
    raster = Raster(circuit, solution.spikes)
    late = raster.times > start + 0.5 * transient
    if not late.any():
        last = f"the last is at {float(raster.times[-1])!r} s" if raster.times.size else "there is none"
        said = f"no spike in the second half of {transient!r} s; {last}"
        on = _trajectory(circuit.network, inputs, solution.t_end + longest, solution.final_state, max_spikes)
        later = Raster(circuit, on.spikes).times
        if later.size:
            raise NoOrbitError(
                "does not settle",
                f"{said}, but the next is at {float(later[0])!r} s: a longer transient may show an orbit",
                solution,
            )
        raise NoOrbitError(
            "dies out",
            f"{said}: another initial state, or a guess, may lead to an orbit, if there is one",
            solution,
        )
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

    return _polished(circuit, inputs, raster, candidates(), solution, advance, free=True)


def _settled_locked(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    period: float,
    transient: float,
    initial: State | None,
    most: int,
    max_spikes: int,
    advance: Advance,
) -> Orbit:
    first = 0 if initial is None else round(initial.time / period)
    if initial is not None and abs(initial.time - first * period) > 4.0 * EPS * initial.time:
        raise ValueError(
            f"initial.time must be a multiple of the period {period!r} s, as inputs begin anew then; "
            f"got {initial.time!r}"
        )
    n = max(2, math.ceil(transient / period))
    given = {name: repeated(one, period, first, n) for name, one in inputs.items()}
    end = (first + n) * period
    solution = _trajectory(circuit.network, given, end, initial, max_spikes)
    raster = Raster(circuit, solution.spikes)
    of = ((end, q * period) for q in range(1, min(most, n // 2) + 1))
    return _polished(circuit, inputs, raster, of, solution, advance, free=False, input_period=period)


def _polished(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    raster: Raster,
    candidates: Iterator[tuple[float, float]],
    solution: Solution,
    advance: Advance,
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
    returns = [one for one in tried if one[0] <= min(NEAR, max(CLOSE, 100.0 * closest))]
    advance(0.5)
    for k, (near, end, period) in enumerate(returns):
        advance(0.0, f"Newton's method from a period of {period:.6g} s")
        times, cells = raster.window(end - period, end)
        n = 1 if free else round(period / input_period)
        given = {name: repeated(one, input_period, 0, n) for name, one in inputs.items()}
        try:
            orbit = orbit_at(circuit, given, times - (end - period), cells, period, free)
        except NoOrbitError as error:
            if near <= CLOSE:  # it has settled: why there is no orbit is the same for multiples of the period
                raise NoOrbitError(error.why, error.sentence, error.solution or solution, unstable) from error
            failure = failure or error
        else:
            if orbit.stable or near <= CLOSE:
                advance(0.5 * (len(returns) - k) / len(returns))
                return orbit
            unstable = unstable or orbit
        advance(0.5 / len(returns))
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
    given = {name: repeated(one, input_period or 0.0, 0, n) for name, one in inputs.items()}
    raster = Raster(circuit, spikes)
    return orbit_at(circuit, given, raster.times, raster.cells, period, input_period is None)


def orbit_at(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    times: Reals,
    cells: Integers,
    period: float,
    free: bool,
) -> Orbit:
    """Return the orbit near spikes of one period."""
    if free and not times.size:
        raise NoOrbitError("dies out", "a network without input and without spikes is at rest")
    order = np.lexsort((cells, times))
    pattern, given = pattern_of(circuit, inputs, times[order], cells[order], period)
    rhythm = framed(solved(begun(pattern, given, times[order], period), free), free)
    gap = rhythm.equations().gap
    if gap < CLOSE * period:
        raise NoOrbitError(
            "tie",
            f"an arrival comes within {gap:.3g} s of a spike or release whose order with it matters",
        )
    return orbit_of(rhythm, inputs, free)
