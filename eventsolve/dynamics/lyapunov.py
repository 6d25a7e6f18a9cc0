r"""lyapunov_spectrum(): how fast perturbations of a network's state grow or decay in the long run.

Vectors are carried by the exact derivative of the flow and orthogonalised again and again (Benettin et al. 1980): the
logarithms of how much each grows, beyond what lies in those before it, add up to its exponent. Norms are taken in units
in which no unit of voltage or time is seen: V and I by v_threshold - v_reset, times by tau_mem.

The solution goes on piece by piece from its final state, so that memory does not grow with its length. Pieces are
halved where vectors come so near to each other that more than half of the digits of what is left would be lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import numpy as np

from eventsolve.adjoint import UndefinedGradientError
from eventsolve.checks import count, duration, seconds, shown
from eventsolve.dynamics.flow import KINDS, Coordinates, coordinates, flow_derivative, with_current
from eventsolve.errors import Carrying
from eventsolve.frozen import Frozen, read_only
from eventsolve.interrupts import Interrupted
from eventsolve.jobs import Advance, advancing, bar_of, finished
from eventsolve.kinds import require_shapes
from eventsolve.network import Network
from eventsolve.schedule import layers_of
from eventsolve.shown import Summary, ms, several
from eventsolve.solution import Solution
from eventsolve.solve import MAX_SPIKES, SpikeBudgetError, StoppedError, solve
from eventsolve.spiketrains import SpikeTrains, require_spike_trains
from eventsolve.state import State
from eventsolve.typing import Reals

Inputs: TypeAlias = Mapping[str, SpikeTrains] | Callable[[float, float], Mapping[str, SpikeTrains]]

BLOCKS = 32
"""Into how many stretches of one length the time is divided."""
GROUPS = 8
"""Into how many, at least, for the errors: long ones, as what follows upon each other is correlated."""
LOST = 1e-8
"""Of a vector, the part that the others leave over: below this, half of its digits are gone."""
SPIKES_PER_PIECE = 20_000
"""About how many spikes are kept at once."""


class LyapunovError(Carrying, RuntimeError):
    """The exponents asked for do not exist or were not reached; ``so_far`` is the spectrum until then, or None."""

    def __init__(self, why: str, so_far: LyapunovSpectrum | None) -> None:
        rest = (
            "; there is nothing before it"
            if so_far is None
            else "; the error's .so_far is what was found before"
        )
        super().__init__(why + rest)
        self.why, self.so_far = why, so_far


@dataclass(frozen=True, eq=False, repr=False)
class LyapunovSpectrum(Frozen):
    """The largest Lyapunov exponents of a network, from trajectories of one or more initial states.

    Attributes
    ----------
    rates : ndarray of float64, (n_samples, n_blocks, k)
        How fast each vector grew in each stretch of time, in 1/s; -inf where its direction was lost.
    block : float
        How long a stretch is, in seconds.
    transient : float
        How long was waited before the first, in seconds.
    n_spikes : int
        Spikes in the time that counts, of all samples.
    n_intervals : int
        How often vectors were orthogonalised in it.
    """

    rates: Reals
    block: float
    transient: float
    n_spikes: int
    n_intervals: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, rates="n_samples n_blocks k")

    @cached_property
    def exponents(self) -> Reals:
        """The exponents in 1/s, (k,), means over time and samples.

        One is -inf if its direction was lost, as by a spike over a delta synapse, which forgets V; or shrank so much
        from one orthogonalisation to the next that float64 does not know it from that.
        """
        return read_only(self.rates.mean(axis=(0, 1)))  # type: ignore[no-any-return]

    @cached_property
    def errors(self) -> Reals:
        """Standard errors of the exponents in 1/s, (k,); inf from one stretch alone, 0 of a lost direction.

        From the scatter of eighths of the time; or where it is larger, from how far a vector's length departs from
        its steady growth, by which the two ends differ also where all is periodic; or from the scatter of the samples.
        """
        return read_only(_errors(self.rates))  # type: ignore[no-any-return]

    @cached_property
    def times(self) -> Reals:
        """The ends of the stretches in seconds, (n_blocks,), from where the transient ended."""
        return read_only(self.block * np.arange(1, self.rates.shape[1] + 1))  # type: ignore[no-any-return]

    @cached_property
    def convergence(self) -> Reals:
        """The exponents as they were known at each of ``times``, (n_blocks, k)."""
        sums = np.cumsum(self.rates.mean(axis=0), axis=0)
        return read_only(sums / np.arange(1, sums.shape[0] + 1)[:, None])  # type: ignore[no-any-return]

    @cached_property
    def settled(self) -> bool:
        """Whether the two halves of the time agree: else the transient was longer than what was waited for.

        They differ by at most five standard errors of the difference, and what makes a vector e^2 times as long.
        """
        half = self.rates.shape[1] // 2
        if half < 2:
            return False
        first, last = self.rates[:, :half], self.rates[:, -half:]
        known = np.isfinite(self.exponents)
        apart = abs(first.mean(axis=(0, 1))[known] - last.mean(axis=(0, 1))[known])
        allowed = 5.0 * np.hypot(_errors(first), _errors(last))[known] + 2.0 / (half * self.block)
        return bool((apart <= allowed).all())

    def _summary(self) -> Summary:
        n_samples, n_blocks, k = self.rates.shape
        title = f"LyapunovSpectrum({several(k, 'exponent')}, {several(n_samples, 'sample')})"
        values = [f"{x:.4g} ± {e:.2g}" for x, e in zip(self.exponents, self.errors, strict=True)]
        rows: list[tuple[str, object]] = [
            ("exponents", ", ".join(values[:6]) + (f", ... {values[-1]}" if k > 6 else "") + " 1/s"),
            (
                "time",
                f"{ms(n_blocks * self.block)} after {ms(self.transient)}, {several(self.n_spikes, 'spike')}",
            ),
        ]
        if n_blocks < 4:
            rows.append(("(not settled)", "ended too early to compare the two halves of the time"))
        elif not self.settled:
            rows.append(("(not settled)", "the two halves of the time differ: wait for a longer transient"))
        return title, rows


class _Job(NamedTuple):
    """What one trajectory is computed from."""

    network: Network
    initial: State | None
    inputs: Inputs
    sample: int
    t: float
    k: int
    transient: float
    max_spikes: int
    seed: int


def lyapunov_spectrum(
    network: Network,
    initial: State | Sequence[State] | None,
    t: float,
    k: int,
    inputs: Inputs | None = None,
    *,
    transient: float | None = None,
    seed: int = 0,
    max_spikes: int = MAX_SPIKES,
    executor: Executor | None = None,
    progress: bool = False,
) -> LyapunovSpectrum:
    """Return the k largest Lyapunov exponents of a network, with their errors.

    Parameters
    ----------
    network : Network
    initial : State, sequence of State, or None
        Where trajectories begin: each sample of each state is one, and the exponents are the means over all. None
        begins one at time 0 with the neurons' v_initial and i_initial.
    t : float
        How long exponents are averaged over, in seconds.
    k : int
        How many exponents: at most one for every neuron (its voltage or release) and one for every neuron with
        exponential synapses (its current). The coordinates of spikes in flight follow from these in time.
    inputs : mapping of str to SpikeTrains, or callable, optional
        Spikes of the network's inputs until ``transient + t`` after the beginning, with a sample for each trajectory.
        Or a function of two times in seconds that returns those after the first, up to the second: of any length, in
        constant memory. An executor of processes has to be able to pickle it.
    transient : float, optional
        How long to wait first, in seconds: by default t / 4. Vectors turn to their directions in its second half.
    seed : int
        Seed of the initial vectors.
    max_spikes : int
        How many spikes a trajectory may have; a runaway loop has more.
    executor : concurrent.futures.Executor, optional
        Computes trajectories in parallel; the result does not depend on it.
    progress : bool
        Whether to show a progress bar on stderr: of the time, or with an executor of trajectories.

    Returns
    -------
    LyapunovSpectrum
        ``.exponents``, ``.errors``, ``.convergence``; ``.settled`` says whether the transient was long enough for
        the two halves of the time to agree. Stable chaos has transients that grow with the network and look settled.

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, does not fit, or k is larger than the number of coordinates.
    LyapunovError
        If the network falls silent, has more than max_spikes, or would spike twice at one time, or a spike grazes its
        threshold so that no derivative exists; with what was found until then.
    Interrupted
        After a KeyboardInterrupt, with the spectrum of the finished trajectories; if none has finished, of the current
        one, or None before its first block is done.

    Examples
    --------
    A neuron that is driven spikes for ever. The flow carries a perturbation along itself to one along itself, which
    neither grows nor decays:

    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_population("n", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3, v_leak=2.0))
    >>> es.lyapunov_spectrum(net, None, t=10.0, k=1).exponents.round(1) + 0.0
    array([0.])
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {shown(network)}")
    t = duration("t", t)
    waited = t / 4 if transient is None else seconds("transient", transient)
    if not 0.0 <= waited < math.inf:
        raise ValueError(f"transient must be finite and >= 0; got {transient!r}")
    given: Inputs = {} if inputs is None else inputs
    starts = _starts(initial)
    size = _dimension(network)
    k = count("k", k)
    if not 1 <= k <= size:
        raise ValueError(
            f"k must be an integer from 1 to the number of voltages and currents, {size}; got {k!r}"
        )
    seed, max_spikes = count("seed", seed, most=None), count("max_spikes", max_spikes, 1)
    if not callable(given):
        if not isinstance(given, Mapping):
            raise TypeError(
                f"inputs must be a mapping of input to SpikeTrains, or callable; got {shown(given)}"
            )
        for name, trains in given.items():
            if not isinstance(trains, SpikeTrains) or trains.n_samples != len(starts):
                raise ValueError(
                    f"inputs[{name!r}] must be SpikeTrains with a sample for each of {len(starts)} trajectories; "
                    f"got {shown(trains)}"
                )
    jobs = [
        _Job(network, state, given, number, t, k, waited, max_spikes, seed)
        for number, state in enumerate(starts)
    ]
    if executor is None:
        with advancing(bar_of(progress, "averaging", t * len(jobs))) as advance:
            numbered, interrupt = finished(partial(_numbered, advance=advance), jobs, None, None)
    else:
        numbered, interrupt = finished(_numbered, jobs, executor, bar_of(progress, "averaging", len(jobs)))
    done = [spectrum for _, spectrum in sorted(numbered, key=itemgetter(0))]
    if interrupt is not None:
        if isinstance(interrupt, Interrupted) and not done:
            raise interrupt
        raise Interrupted(_together(done) if done else None) from interrupt
    return _together(done)


# -- one trajectory ---------------------------------------------------------------------------------------------


def _starts(initial: object) -> list[State | None]:
    """Return a state of one sample for each trajectory."""
    if initial is None:
        return [None]
    states = [initial] if isinstance(initial, State) else initial
    if not isinstance(states, Sequence) or isinstance(states, str) or not states:
        raise TypeError(f"initial must be a State, a sequence of them, or None; got {shown(initial)}")
    found: list[State | None] = []
    for state in states:
        if not isinstance(state, State):
            raise TypeError(f"initial must be a State, a sequence of them, or None; got {shown(state)}")
        found += [_single(state, sample) for sample in range(state.n_samples)]
    if not found:
        raise ValueError("initial must have at least one sample")
    return found


def _single(state: State, sample: int) -> State:
    """Return one sample of a state."""
    if state.n_samples == 1:
        return state
    here = {name: trains.samples == sample for name, trains in state.in_flight.items()}
    return State(
        state.time,
        1,
        {name: trains.select([sample]) for name, trains in state.in_flight.items()},
        {name: state.low[name][kept] for name, kept in here.items()},
        {name: state.turns[name][kept] for name, kept in here.items()},
        {
            name: type(states)(*(column[sample : sample + 1] for column in states))
            for name, states in state.layers.items()
        },
        state.neurons,
        state.delays,
    )


def _pieces(
    network: Network, inputs: Inputs, sample: int
) -> Callable[[float, float], dict[str, SpikeTrains]]:
    """Return the inputs of one trajectory after a time, up to another."""
    if callable(inputs):
        of: Callable[[float, float], Mapping[str, SpikeTrains]] = inputs

        def called(after: float, to: float) -> dict[str, SpikeTrains]:
            given = of(after, to)
            require_spike_trains(f"what inputs({after!r}, {to!r}) returns", given)
            return {name: trains.select([sample]) for name, trains in given.items()}

        return called
    alone = {name: trains.select([sample]) for name, trains in inputs.items()}

    def piece(after: float, to: float) -> dict[str, SpikeTrains]:
        found = {}
        for name, trains in alone.items():
            a, b = np.searchsorted(trains.times, (after, to), side="right")
            found[name] = SpikeTrains._trusted(
                trains.times[a:b], trains.neurons[a:b], trains.samples[a:b], 1, trains.n_neurons
            )
        return found

    return piece


def _units(network: Network, where: Coordinates) -> Reals:
    """Return the unit of each coordinate, (n,): of V and I what a spike takes off V, of times tau_mem."""
    spans, taus = {}, {}
    for name in where.populations:
        population = network.population(name)
        taus[name] = population.parameter("tau_mem")
        if population.neuron is not None and population.neuron.spiking:
            spans[name] = population.parameter("v_threshold") - population.parameter("v_reset")
    largest = max((float(span.max(initial=0.0)) for span in spans.values()), default=0.0) or 1.0
    units = np.empty(len(where))
    for number, name in enumerate(where.populations):
        here = where.population == number
        span = spans.get(name, np.full(taus[name].size, largest))
        timed = np.isin(where.kinds[here], (KINDS.index("release"), KINDS.index("spike")))
        neuron = where.neuron[here]
        units[here] = np.where(timed, taus[name][neuron], span[neuron])
    return units


class _Walk:
    """One trajectory and the vectors along it: where it is, what the vectors are, and how long pieces are."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.network = job.network
        self.inputs = _pieces(job.network, job.inputs, job.sample)
        self.n_spikes = self.n_intervals = 0
        self.last_spike = -math.inf
        self.vectors: Reals | None = None
        if job.initial is None:
            self.state = self._solved(-1.0, 0.0, None).final_state
        else:
            self.state = job.initial
        self.fastest = _fastest(job.network)
        self.length = 4.0 * self.fastest

    def _solved(self, after: float, to: float, state: State | None) -> Solution:
        left = self.job.max_spikes - self.n_spikes
        return solve(
            self.network, self.inputs(after, to), to, initial=state, max_spikes=max(left, 0), threads=1
        )

    def _note(self, solution: Solution) -> int:
        """Count the spikes of a piece that is kept."""
        trains = [solution.spikes[p.name] for p in self.network.populations.values() if p.neuron is not None]
        n = sum(t.n_spikes for t in trains)
        self.n_spikes += n
        self.last_spike = max([self.last_spike, *(float(t.times.max()) for t in trains if t.n_spikes)])
        return n

    def wait(self, end: float) -> None:
        """Go on to a time, without vectors."""
        while self.state.time < end:
            to = min(end, self.state.time + self.length)
            if not to > self.state.time:
                to = end
            solution = self._solved(self.state.time, to, self.state)
            n = self._note(solution)
            self.length = _next_length(self.length, to - self.state.time, n)
            self.state = solution.final_state

    def turn(self) -> None:
        """Begin with vectors in any directions."""
        where = coordinates(self.network, self.state)
        rng = np.random.default_rng([self.job.seed, self.job.sample])
        given = rng.normal(size=(len(where), self.job.k))
        self.vectors = np.linalg.qr(given)[0]

    def carry(self, end: float) -> Reals:
        """Go on to a time with the vectors; return the logarithms of how much each grew, (k,), -inf if it was lost."""
        assert self.vectors is not None
        grown = np.zeros(self.job.k)
        grown[self.vectors.shape[1] :] = -math.inf
        if not self.vectors.shape[1]:  # all are lost
            self.wait(end)
            return grown
        shortest = 2.0**-40 * max(end, 1e-300)
        while self.state.time < end:
            to = min(end, self.state.time + self.length)
            if end - to < shortest:
                to = end
            solution = self._solved(self.state.time, to, self.state)
            found = flow_derivative(
                solution, self.vectors * _units(self.network, coordinates(self.network, self.state))[:, None]
            )
            carried = found.vectors / _units(self.network, found.end)[:, None]
            n = sum(rows.shape[0] for rows in found.spike_times.values())
            sizes = np.sqrt((carried * carried).sum(axis=0))
            left, kept = np.zeros(0), np.zeros(0)
            if np.isfinite(sizes).all():
                q, r = np.linalg.qr(carried)
                left = abs(np.diag(r))
                kept = np.divide(left, sizes, out=np.zeros_like(left), where=sizes > 0.0)
            step = to - self.state.time
            near = not kept.size or kept.min() < LOST
            if near and (n > 1 or step > self.fastest) and step > 8 * shortest:
                self.length = step / 2
                continue
            if not kept.size:
                raise LyapunovError(
                    f"a single spike makes a vector longer than float64 holds, before {to!r} s", None
                )
            # what rounding leaves of a direction that is gone
            lost = kept <= 8 * carried.shape[0] * np.finfo(float).eps
            whole = ~lost
            self._note(solution)
            grown[: left.size][lost] = -math.inf
            grown[: left.size][whole] += np.log(left[whole])
            if lost.any():
                grown = np.concatenate(
                    [grown[: left.size][whole], np.full(self.job.k - int(whole.sum()), -math.inf)]
                )
                q = q[:, whole]
            self.vectors = q
            self.n_intervals += 1
            self.state = solution.final_state
            if not whole.any():
                self.wait(end)
            elif kept[whole].min() > math.sqrt(LOST):
                self.length = _next_length(max(self.length, step), step, n)
        return grown


def _next_length(length: float, step: float, n_spikes: int) -> float:
    """Return how long the next piece may be, of what was asked for, what was taken and how many spikes that had."""
    if n_spikes > SPIKES_PER_PIECE:
        return step * SPIKES_PER_PIECE / n_spikes
    return max(length, 1.5 * step) if math.isfinite(length) else math.inf


def _numbered(job: _Job, advance: Advance | None = None) -> list[tuple[int, LyapunovSpectrum]]:
    """Return which trajectory it is, and its spectrum: a job for any executor, done in any order."""
    return [(job.sample, _trajectory(job, advance))]


def _trajectory(job: _Job, advance: Advance | None) -> LyapunovSpectrum:
    """Return the spectrum of one trajectory; ``advance`` is told of every stretch of time."""
    rates: list[Reals] = []
    block = job.t / BLOCKS
    begin = 0.0
    counts: list[tuple[int, int]] = []  # of spikes and intervals, when stretches began and ended

    def so_far(until: float = math.inf) -> LyapunovSpectrum | None:
        done = rates[: int(min(max((until - begin) / block, 0.0), len(rates)))]
        if not done:
            return None
        n_spikes, n_intervals = (b - a for a, b in zip(counts[0], counts[len(done)], strict=True))
        return LyapunovSpectrum(np.array(done)[None], block, job.transient, n_spikes, n_intervals)

    where = f"the trajectory of sample {job.sample}"
    try:
        walk = _Walk(job)
        start = walk.state.time
        begin = start + job.transient
        walk.wait(start + job.transient / 2)
        walk.turn()
        walk.carry(begin)
        counts.append((walk.n_spikes, walk.n_intervals))
        for number in range(1, BLOCKS + 1):
            end = begin + job.t * (number / BLOCKS)
            rate = walk.carry(end) / block
            counts.append((walk.n_spikes, walk.n_intervals))
            rates.append(rate)
            if advance is not None:
                advance(block, f"averaging trajectory {job.sample}, {walk.n_spikes} spikes")
            silent = end - max(walk.last_spike, begin)
            if silent > job.t / 2 and _spikes(job.network):
                last = (
                    f"its last spike is at {walk.last_spike!r} s"
                    if walk.last_spike > 0
                    else "it has not spiked"
                )
                raise LyapunovError(
                    f"{where} is silent: {last}, and in {ms(silent)} there was none; what is left is the decay of V "
                    "and I, or t is too short",
                    so_far(walk.last_spike),
                )
    except SpikeBudgetError as stopped:
        raise LyapunovError(
            f"{where} has more than max_spikes = {job.max_spikes} spikes, at {stopped.time!r} s", so_far()
        ) from stopped
    except StoppedError as stopped:
        raise LyapunovError(f"{where} ended: {stopped.sentence}", so_far()) from stopped
    except UndefinedGradientError as undefined:
        raise LyapunovError(f"{where} ended: {undefined.args[0]}", so_far()) from undefined
    except KeyboardInterrupt as interrupt:
        raise Interrupted(so_far()) from interrupt
    found = so_far()
    assert found is not None
    return found


def _spikes(network: Network) -> bool:
    return any(p.neuron is not None and p.neuron.spiking for p in network.populations.values())


def _fastest(network: Network) -> float:
    """Return the shortest time constant in seconds."""
    times = [
        float(p.parameter(name).min(initial=math.inf))
        for p in network.populations.values()
        if p.neuron is not None
        for name in ("tau_mem", "tau_syn")
    ]
    return min(times, default=math.inf)


def _dimension(network: Network) -> int:
    """Return how many directions persist: a voltage or release of each neuron, and a current where there is one."""
    return sum(layer.size + int(with_current(layer).sum()) for layer in layers_of(network))


# -- of all trajectories ----------------------------------------------------------------------------------------


def _together(parts: Sequence[LyapunovSpectrum]) -> LyapunovSpectrum:
    n_blocks = min(part.rates.shape[1] for part in parts)
    return replace(
        parts[0],
        rates=np.concatenate([part.rates[:, :n_blocks] for part in parts]),
        n_spikes=sum(part.n_spikes for part in parts),
        n_intervals=sum(part.n_intervals for part in parts),
    )


def _errors(rates: Reals) -> Reals:
    """Return the standard errors of the means of rates over time and samples, (k,); 0 where a direction was lost."""
    n_samples, n_blocks, k = rates.shape
    if n_blocks < 2:
        return np.where(np.isfinite(rates).all(axis=(0, 1)), np.inf, 0.0)
    lost = ~np.isfinite(rates).all(axis=(0, 1))
    known = np.where(lost, 0.0, rates)
    width = max(n_blocks // GROUPS, 1)
    m = n_blocks // width
    means = known[:, : m * width].reshape(n_samples, m, width, k).mean(axis=2)
    ends = (np.cumsum(known - known.mean(axis=1, keepdims=True), axis=1) / n_blocks).std(axis=1)
    squares: Reals = np.maximum(means.var(axis=1, ddof=1) / m, 2.0 * ends**2).sum(axis=0) / n_samples**2
    if n_samples > 1:
        squares = np.maximum(squares, known.mean(axis=1).var(axis=0, ddof=1) / n_samples)
    return np.where(lost, 0.0, np.sqrt(squares))
