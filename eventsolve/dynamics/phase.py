r"""How a kick moves the phase of a periodic orbit: exactly, for infinitesimal and for finite kicks.

A kick that comes once moves all later spikes, in the end, by one time: the phase response Z. The same kick, if it
came once in every period, would change the period by as much with the other sign, to first order. So the response to
an infinitesimal one is a derivative of the period: with F(t, T) = 0 the equations of the orbit
(:mod:`eventsolve.dynamics.rhythm`), and f what a unit of the periodic kick adds to them,

.. math:: Z = -\frac{dT}{d\epsilon} = \left[ (F_t, F_T)^{-1} f \right]_T

one solution of the adjoint equations for all kicks. A finite one is solved, until it has settled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import count, index, real, real_array, require_one_of, shown
from eventsolve.dynamics.circuit import response
from eventsolve.dynamics.orbit import Orbit
from eventsolve.frozen import Frozen
from eventsolve.kernels.tables import States
from eventsolve.kinds import require_shapes
from eventsolve.network import Network
from eventsolve.shown import Summary, ms
from eventsolve.solution import Solution
from eventsolve.solve import solve
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State
from eventsolve.typing import Reals

Onto = Literal["V", "I"]

LEFT = 1e-13
"""What may be left of a perturbation after the periods that are solved, by the orbit's largest multiplier."""
MOST_PHASES = 1_000_000
"""Phases that can be asked for by their number; others may be listed."""
MOST_PERIODS = 2000
"""How many periods are solved at most, unless told otherwise."""
SETTLED = 1e-6
"""As a part of the period: how far spikes may be from the orbit's for the trajectory to count as on it again."""


@dataclass(frozen=True, eq=False, repr=False)
class PhaseResponse(Frozen):
    """By how much kicks at different phases bring forward all later spikes.

    Attributes
    ----------
    population : str
    neuron : int
        Which neuron is kicked.
    onto : {"V", "I"}
        Whether the kick adds to its voltage, as a delta synapse does, or to its current.
    kick : float or None
        Its size in the unit of V; None for an infinitesimal kick.
    period : float
        Seconds, of the orbit.
    phases : ndarray of float64, (n,)
        When the kick comes: a fraction of the period, in [0, 1), after the first spike of the orbit's reference neuron.
    advance : ndarray of float64, (n,)
        In seconds, between plus and minus half a period; of an infinitesimal kick in seconds per unit of it. Positive:
        spikes come earlier. Of a trajectory that has not settled on the orbit it means nothing.
    settled : ndarray of bool, (n,)
        Whether the trajectory is on the orbit again at the end; after an infinitesimal kick it is.
    """

    population: str
    neuron: int
    onto: Onto
    kick: float | None
    period: float
    phases: NDArray[np.float64] = field(repr=False)
    advance: NDArray[np.float64] = field(repr=False)
    settled: NDArray[np.bool_] = field(repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, phases="n", advance="n", settled="n")

    def _summary(self) -> Summary:
        size = "infinitesimal" if self.kick is None else f"{self.kick:.6g}"
        low, high = float(self.advance.min(initial=0.0)), float(self.advance.max(initial=0.0))
        unit = "s per unit" if self.kick is None else "s"
        rows: list[tuple[str, object]] = [
            ("kick", f"{size} onto {self.onto} of neuron {self.neuron} of {self.population!r}"),
            ("advance", f"{low:.6g} to {high:.6g} {unit}, at {self.phases.size} phases"),
        ]
        if not self.settled.all():
            rows.append(("(not settled)", f"{np.count_nonzero(~self.settled)} do not return to the orbit"))
        return f"PhaseResponse(period {ms(self.period)})", rows


def phase_response(
    orbit: Orbit,
    population: str,
    neuron: int = 0,
    *,
    onto: Onto = "V",
    kick: float | None = None,
    phases: int | ArrayLike = 64,
    periods: int | None = None,
    threads: int | None = None,
) -> PhaseResponse:
    """Return by how much a kick brings forward all later spikes of a free orbit, by the phase at which it comes.

    Parameters
    ----------
    orbit : Orbit
        One that the network makes by itself.
    population : str
    neuron : int
        Which neuron is kicked.
    onto : {"V", "I"}
        Whether V is moved, which a neuron that is held after a spike ignores, or I.
    kick : float, optional
        Size of the kick in the unit of V. By default the kick is infinitesimal, and the response is the exact
        derivative, from the adjoint of the orbit's equations; otherwise the network is solved with the kick until it
        has settled.
    phases : int or array_like, (n,)
        When the kick comes, in [0, 1) of a period after the first spike of the orbit's reference neuron; or how many
        phases, in the middles of equal parts of the period.
    periods : int, optional
        How many periods to solve after a finite kick; by default until 1e-13 of a small perturbation is left, at most
        2000.
    threads : int, optional
        As in ``solve``, which is given all finite kicks as one batch.

    Returns
    -------
    PhaseResponse

    Raises
    ------
    ValueError
        If the orbit is locked to its input, which sets its phase, or, for a finite kick, is not stable, so that nothing
        returns to it; or if arguments do not fit.
    """
    if not isinstance(orbit, Orbit):
        raise TypeError(f"orbit must be an Orbit; got {shown(orbit)}")
    if not orbit.free:
        raise ValueError(
            "orbit is locked to its input, which sets its phase; a phase response is that of a free one"
        )
    require_one_of("onto", onto, ("V", "I"))
    of = orbit.network.population(population)
    if of.neuron is None:
        raise ValueError(f"population {population!r} is an input: it has no neurons to kick")
    neuron = index("neuron", neuron, of.size)
    if threads is not None:
        count("threads", threads, 1)  # also where nothing is solved
    if isinstance(phases, int | np.integer) and not isinstance(phases, bool):
        n = count("phases", phases, 1, MOST_PHASES)
        asked = (np.arange(n) + 0.5) / n
    else:
        asked = real_array("phases", phases, "an integer or numbers")
        if asked.ndim > 1 or not asked.size or not ((asked >= 0.0) & (asked < 1.0)).all():
            raise ValueError(f"phases must be one or more numbers in [0, 1); got {shown(phases)}")
        asked = asked.reshape(-1)
    if kick is None:
        if periods is not None:
            raise ValueError(
                "periods are those to solve after a finite kick; an infinitesimal one needs none"
            )
        advance = _infinitesimal(orbit, population, neuron, onto, asked)
        settled = np.ones(asked.size, np.bool_)
    else:
        kick = real("kick", kick)
        if not math.isfinite(kick):
            raise ValueError(f"kick must be finite; got {kick!r}")
        if not orbit.stable:
            raise ValueError("orbit is not stable: after a finite kick, the network does not return to it")
        advance, settled = _finite(
            orbit, population, neuron, onto, asked, kick, _periods(orbit, periods), threads
        )
    return PhaseResponse(population, neuron, onto, kick, orbit.period, asked, advance, settled)


def _infinitesimal(orbit: Orbit, population: str, neuron: int, onto: Onto, phases: Reals) -> Reals:
    rhythm = orbit._rhythm
    pattern, of, period = rhythm.pattern, rhythm.circuit, rhythm.period
    cell = of.cells_of(population).start + neuron
    jacobian = rhythm.equations().jacobian[:, 1:]
    last_row = np.zeros(jacobian.shape[1])
    last_row[-1] = 1.0
    adjoint = np.linalg.solve(jacobian.T, last_row)
    tau_mem, tau_syn = float(of.tau_mem[cell]), float(of.tau_syn[cell])
    places = {int(k): pattern.n_spikes + i for i, k in enumerate(pattern.chained)}
    time = orbit.phase_zero + phases * period
    found = np.zeros(phases.size)
    releases = rhythm.releases(*pattern.before)
    for k in np.flatnonzero(pattern.cells == cell):
        at, release = float(rhythm.times[k]), float(releases[k])
        latest = time + (np.ceil((at - time) / period) - 1.0) * period
        inside = latest > release
        s = np.where(inside, at - latest, 0.0)
        if onto == "V":
            moved = np.where(inside, np.exp(-s / tau_mem), 0.0)
        else:
            before = np.where(inside, latest - period, latest)
            kept = np.exp(-(release - before) / tau_syn) / -math.expm1(-period / tau_syn)
            moved = np.where(inside, response(s, tau_mem, tau_syn), 0.0)
            moved = moved + kept * response(at - release, tau_mem, tau_syn)
        if pattern.cause[k] < 0:
            found += adjoint[k] * moved
        elif int(k) in places:
            found -= adjoint[places[int(k)]] * moved
    return found


def _periods(orbit: Orbit, periods: int | None) -> int:
    if periods is not None:
        return count("periods", periods, 1)
    largest = float(np.abs(orbit.transverse).max(initial=0.0))
    if largest <= LEFT:
        return 3
    return min(3 + math.ceil(math.log(LEFT) / math.log(largest)), MOST_PERIODS)


def _finite(
    orbit: Orbit,
    population: str,
    neuron: int,
    onto: Onto,
    phases: Reals,
    kick: float,
    periods: int,
    threads: int | None,
) -> tuple[Reals, NDArray[np.bool_]]:
    network, period = orbit.network, orbit.period
    name = _new_name(network)
    kicked = network.cut_at(())
    kicked.add_input(name, 1)
    weight = np.zeros((network.population(population).size, 1))
    weight[neuron] = kick
    kicked.connect(name, population, weight, synapse="delta" if onto == "V" else "exponential")
    n = phases.size
    times = orbit.state.time + (orbit.phase_zero + phases * period) % period
    times = np.where(times > orbit.state.time, times, times + period)
    # one sample more, without a kick: how the rounding of late times adds up, it shows as well
    inputs = {other: _silent(n + 1, size) for other, size in _inputs(network)}
    inputs[name] = SpikeTrains.from_arrays(
        times, np.zeros(n, np.int64), np.arange(n), n_neurons=1, n_samples=n + 1
    )
    t_end = orbit.state.time + (periods + 2) * period
    solution = solve(
        kicked, inputs, t_end, initial=_repeated_state(orbit.state, n + 1, name), threads=threads
    )
    shifts, settled = zip(*(_shift(orbit, solution, sample) for sample in range(n + 1)), strict=True)
    return _around(shifts[-1] - np.array(shifts[:-1]), period), np.array(settled[:-1])


def _shift(orbit: Orbit, solution: Solution, sample: int) -> tuple[float, bool]:
    """Return by how much the last spikes come later than the orbit's, and whether they are its spikes."""
    period, by = orbit.period, 0.0
    pairs, extra = [], False
    for name, population in orbit.network.populations.items():
        if not population.spiking:
            continue
        for neuron in range(population.size):
            said = orbit.spikes[name][0, neuron]
            made = solution.spikes[name][sample, neuron] - orbit.state.time
            last = made[max(made.size - said.size, 0) :]
            extra |= bool(
                said.size != last.size
                or (made > solution.t_end - orbit.state.time - period).sum() > said.size + 1
            )
            pairs.append((said, last))
            if (name, neuron) == orbit.reference:
                own, end = said, last
    best = math.inf
    for spike in own if end.size else ():
        shift = float(end[-1] - spike)
        off = max(
            float(np.abs(_around(last[:, None] - said[None, :] - shift, period)).min(axis=1).max())
            for said, last in pairs
            if said.size and last.size
        )
        if off < best:
            best, by = off, shift
    return by, best <= SETTLED * period and not extra


def _around(times: Reals, period: float) -> Reals:
    """Return times less whole periods, between plus and minus half a period."""
    found: Reals = times - np.round(times / period) * period
    return found


def _new_name(network: Network) -> str:
    name = "kick"
    while name in network.populations:
        name += "_"
    return name


def _inputs(network: Network) -> list[tuple[str, int]]:
    return [(name, p.size) for name, p in network.populations.items() if p.neuron is None]


def _silent(n_samples: int, n_neurons: int) -> SpikeTrains:
    nothing = np.empty(0, np.int64)
    return SpikeTrains.from_arrays(np.empty(0), nothing, nothing, n_neurons=n_neurons, n_samples=n_samples)


def _repeated_state(state: State, n: int, name: str) -> State:
    """Return a state once for each of n samples, of a network with one more input."""
    in_flight, low, turns = {}, {}, {}
    for other, trains in state.in_flight.items():
        samples = np.repeat(np.arange(n), trains.n_spikes)
        in_flight[other] = SpikeTrains.from_arrays(
            np.tile(trains.times, n),
            np.tile(trains.neurons, n),
            samples,
            n_neurons=trains.n_neurons,
            n_samples=n,
        )
        low[other], turns[other] = np.tile(state.low[other], n), np.tile(state.turns[other], n)
    in_flight[name] = _silent(n, 1)
    low[name], turns[name] = np.empty(0), np.empty(0, np.int64)
    layers = {
        layer: States(*(np.repeat(column, n, axis=0) for column in states))
        for layer, states in state.layers.items()
    }
    return State(state.time, n, in_flight, low, turns, layers, state.neurons, state.delays)
