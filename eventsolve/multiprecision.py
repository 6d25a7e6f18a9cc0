"""The slow truth: the same problem in mpmath at any number of digits, written to be obviously right.

Nothing here is shared with the float64 kernels. A :class:`Problem` holds every parameter as an mpf, so that
it can be given in decimals and perturbed far below the resolution of float64; :func:`problem` reads one from
a network, whose float64 numbers it takes exactly as they are. :func:`solve` runs it forward, :func:`gradient`
differentiates by central differences; ``solve_problem`` and ``derivative`` do so for a ``Problem``.

Between two events a neuron is in closed form, with s the time since the state (MODEL: Wunderlich & Pehle
2021, eq. 1)::

    I(s) = I0 exp(-s/tau_syn)
    V(s) = v_leak + (V0 - v_leak) exp(-s/tau_mem) + I0 K(s)
    K(s) = tau_syn/(tau_syn - tau_mem) (exp(-s/tau_syn) - exp(-s/tau_mem))
         = (s/tau_mem) exp(-s/tau_mem) at equality

K is evaluated as it stands: the digits that its cancellation costs are bought as working precision.

Order of events: by time; at one time crossings come before deliveries, crossings by population (in the order in
which the network lists them) and then neuron, deliveries by the spike that causes them (inputs first, then
spikes in order of occurrence) and then synapse. Whether two times are equal is decided at the working
precision.

All numbers are mpf of a context of their own (``solution.context``); the global precision of mpmath is
neither read nor changed. In an expression of two mpf the left one's context rounds: start from the solution's
numbers or its context.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from mpmath.ctx_mp import MPContext
from numpy.typing import NDArray

from eventsolve.network import Key, Network
from eventsolve.spiketrains import SpikeTrains

Mpf: TypeAlias = Any
"""An mpmath number; a Problem may hold mpf of any context."""
Context: TypeAlias = Any
Spike: TypeAlias = tuple[Mpf, int]
"""(time in seconds, neuron)."""
Parameter: TypeAlias = tuple[str, Any]
"""("weight" | "delay", projection key), ("spike_times", input) or (parameter of neurons, population)."""

GUARD_DIGITS = 20
NEURON_PARAMETERS = (
    "tau_mem",
    "tau_syn",
    "v_threshold",
    "v_reset",
    "v_leak",
    "t_ref",
    "v_initial",
    "i_initial",
)


class RepeatedSpike(ArithmeticError):
    """A neuron's voltage is at or above the threshold after a reset by subtraction: it would spike twice at once."""


class SpikeCountChanged(ArithmeticError):
    """A spike appears or vanishes within one difference step: the gradient is not defined there."""


# -- the problem ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neuron:
    """One neuron's parameters: seconds, and the unit of the weights; ``v_threshold`` is inf for an LI."""

    tau_mem: Mpf
    tau_syn: Mpf
    v_threshold: Mpf
    v_reset: Mpf
    v_leak: Mpf
    t_ref: Mpf
    v_initial: Mpf = 0
    i_initial: Mpf = 0
    subtracts: bool = False


@dataclass(frozen=True)
class Synapse:
    """A spike of ``source`` adds ``weight`` to the current of ``target``, or to V (delta), ``delay`` seconds later."""

    source: int
    target: int
    weight: Mpf
    delay: Mpf
    delta: bool = False


@dataclass(frozen=True)
class Problem:
    """A network and its input, every number an mpf.

    Attributes
    ----------
    neurons : mapping of population to tuple of Neuron
        Every population that is not an input.
    synapses : mapping of (pre, post, ...) to tuple of Synapse
        Of a projection read from a network, in the order of ``Projection.weights``.
    inputs : mapping of input to tuple over samples of tuple of (time, channel)
        Of spike trains, in the order of ``SpikeTrains.times``; every input has the same number of samples.
    channels : mapping of input to int
        Number of channels of every input.
    t_end : mpf
        Seconds.
    """

    neurons: Mapping[str, tuple[Neuron, ...]]
    synapses: Mapping[Key, tuple[Synapse, ...]]
    inputs: Mapping[str, tuple[tuple[Spike, ...], ...]]
    channels: Mapping[str, int]
    t_end: Mpf

    @property
    def n_samples(self) -> int:
        """Size of the batch; 1 for a problem without inputs."""
        return next((len(samples) for samples in self.inputs.values()), 1)

    def size(self, population: str) -> int:
        """Return the number of neurons of a population, or of channels of an input."""
        return self.channels[population] if population in self.channels else len(self.neurons[population])


def problem(network: Network, inputs: Mapping[str, SpikeTrains], t_end: float) -> Problem:
    """Read the problem from a network, taking every float64 exactly as it is.

    Parameters
    ----------
    network : Network
        May be recurrent.
    inputs : mapping of str to SpikeTrains
        One batch per input population, of equal n_samples.
    t_end : float
        Seconds, finite, >= 0.

    Raises
    ------
    ValueError
        If ``inputs`` does not name exactly the input populations, sizes do not fit, or t_end is not finite
        and >= 0.
    """
    populations = network.populations
    channels = {name: p.size for name, p in populations.items() if p.neuron is None}
    if set(inputs) != set(channels):
        raise ValueError(f"inputs must name the input populations {sorted(channels)}; got {sorted(inputs)}")
    for name, trains in inputs.items():
        if trains.n_neurons != channels[name]:
            raise ValueError(
                f"input {name!r} has {channels[name]} channels; its spikes have {trains.n_neurons}"
            )
    n_samples = {name: trains.n_samples for name, trains in inputs.items()}
    if len(set(n_samples.values())) > 1:
        raise ValueError(f"every input must have the same number of samples; got {n_samples}")
    if not (np.isfinite(t_end) and t_end >= 0):
        raise ValueError(f"t_end must be finite and >= 0; got {t_end!r}")
    exact = _context(20).mpf  # 20 digits hold every float64
    neurons = {
        name: tuple(
            Neuron(**dict(zip(NEURON_PARAMETERS, map(exact, values), strict=True)), subtracts=subtracts)
            for values in zip(
                *(p.parameter(parameter).tolist() for parameter in NEURON_PARAMETERS), strict=True
            )
        )
        for name, p in populations.items()
        if p.neuron is not None
        for subtracts in [getattr(p.neuron, "reset", "value") == "subtract"]
    }
    synapses = {}
    for key, projection in network.projections.items():
        targets = np.repeat(np.arange(populations[projection.post].size), np.diff(projection.row_offsets))
        columns = (projection.sources, targets, projection.weights, projection.delay)
        synapses[key] = tuple(
            Synapse(
                int(source),
                int(target),
                exact(float(weight)),
                exact(float(delay)),
                projection.synapse == "delta",
            )
            for source, target, weight, delay in zip(*columns, strict=True)
        )
    spikes = {
        name: tuple(
            tuple(
                (exact(float(t)), int(k)) for t, k in zip(trains.times[a:b], trains.neurons[a:b], strict=True)
            )
            for a, b in itertools.pairwise(trains.offsets)
        )
        for name, trains in inputs.items()
    }
    return Problem(neurons, synapses, spikes, channels, exact(float(t_end)))


# -- forward -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """A neuron just after an event: V is held until ``free``, the end of its refractory period if any."""

    time: Mpf
    voltage: Mpf
    current: Mpf
    free: Mpf


@dataclass(frozen=True)
class ExactSolution:
    """Every spike of a problem, and every neuron's state after each of its events.

    Attributes
    ----------
    problem : Problem
        As it was given.
    digits : int
        Digits to which spike times are right, up to the conditioning of the crossings.
    context : MPContext
        The mpmath context of every number here; its precision exceeds ``digits``. Use its functions in a
        loss.
    spikes : mapping of population to tuple over samples of tuple of (time, neuron)
        Seconds, sorted by time and then neuron; inputs included.
    states : mapping of population to [sample][neuron] -> tuple of State
        In the order of time, the first at time 0; without inputs.
    """

    problem: Problem
    digits: int
    context: Context
    spikes: Mapping[str, tuple[tuple[Spike, ...], ...]]
    states: Mapping[str, tuple[tuple[tuple[State, ...], ...], ...]]

    def first(self, population: str) -> list[list[Mpf]]:
        """Return the first spike times in seconds, [sample][neuron], inf where silent."""
        firsts = []
        for spikes in self.spikes[population]:
            row = [self.context.inf] * self.problem.size(population)
            for time, neuron in reversed(spikes):
                row[neuron] = time
            firsts.append(row)
        return firsts

    def to_spiketrains(self, population: str) -> SpikeTrains:
        """Return the spikes with their times rounded to the nearest float64."""
        rows = [
            (sample, float(time), neuron)
            for sample, spikes in enumerate(self.spikes[population])
            for time, neuron in spikes
        ]
        rows.sort()  # rounding may have made times equal
        return SpikeTrains.from_arrays(
            np.array([time for _, time, _ in rows], dtype=np.float64),
            np.array([neuron for *_, neuron in rows], dtype=np.int64),
            np.array([sample for sample, *_ in rows], dtype=np.int64),
            n_neurons=self.problem.size(population),
            n_samples=self.problem.n_samples,
        )

    def voltage(self, population: str, sample: int, neuron: int, time: Any) -> Mpf:
        """Return V at a time in seconds; at a spike the value after it (right-continuous).

        Raises
        ------
        ValueError
            If the time lies outside 0..t_end.
        """
        return self._state_at(population, sample, neuron, time)[0]

    def current(self, population: str, sample: int, neuron: int, time: Any) -> Mpf:
        """Return I at a time in seconds, at a delivery the value after it; errors as for :meth:`voltage`."""
        return self._state_at(population, sample, neuron, time)[1]

    def _state_at(self, population: str, sample: int, neuron: int, time: Any) -> tuple[Mpf, Mpf]:
        ctx = self.context
        t = ctx.mpf(time)
        if not 0 <= t <= ctx.mpf(self.problem.t_end):
            raise ValueError(f"time must lie in 0..t_end = {ctx.nstr(self.problem.t_end)}; got {ctx.nstr(t)}")
        states = self.states[population][sample][neuron]
        state = states[bisect_right([state.time for state in states], t) - 1]
        parameters = _neuron_in(ctx, self.problem.neurons[population][neuron])
        return _advance(ctx, parameters, state, t)


def solve(
    network: Network, inputs: Mapping[str, SpikeTrains], t_end: float, *, digits: int = 30
) -> ExactSolution:
    """Solve a network to a chosen number of digits.

    Parameters
    ----------
    network, inputs, t_end
        As for :func:`problem`, errors too.
    digits : int
        Digits of the spike times.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=2.0, tau_syn=1.0))
    >>> net.connect("in", "out", [[8.0]])
    >>> exact = solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 1.0)
    >>> print(exact.context.nstr(exact.first("out")[0][0], 25))
    0.3166943676407498777864777
    """
    return solve_problem(problem(network, inputs, t_end), digits=digits)


def solve_problem(given: Problem, *, digits: int = 30) -> ExactSolution:
    """Solve a problem to a chosen number of digits; delays, t_ref and input times must be >= 0."""
    _require_causal(given)
    ctx = _context(_working_digits(given, digits))
    runs = [_run(ctx, given, sample, digits) for sample in range(given.n_samples)]
    spikes: dict[str, tuple[tuple[Spike, ...], ...]] = {
        name: tuple(tuple(sorted((ctx.mpf(t), k) for t, k in train)) for train in samples)
        for name, samples in given.inputs.items()
    }
    spikes |= {name: tuple(tuple(sorted(run[0][name])) for run in runs) for name in given.neurons}
    states = {name: tuple(run[1][name] for run in runs) for name in given.neurons}
    return ExactSolution(given, digits, ctx, spikes, states)


def _run(
    ctx: Context, given: Problem, sample: int, digits: int
) -> tuple[dict[str, list[Spike]], dict[str, tuple[tuple[State, ...], ...]]]:
    """Solve one sample: the spikes and the histories of states of every population."""
    t_end, zero = ctx.mpf(given.t_end), ctx.mpf(0)
    cells = [(name, k) for name, neurons in given.neurons.items() for k in range(len(neurons))]
    neurons = [_neuron_in(ctx, given.neurons[name][k]) for name, k in cells]
    place = {cell: i for i, cell in enumerate(cells)}
    efferents: dict[tuple[str, int], list[tuple[int, Mpf, Mpf, bool]]] = {}
    for key, synapses in given.synapses.items():
        for s in synapses:
            synapse = (place[key[1], s.target], ctx.mpf(s.weight), ctx.mpf(s.delay), s.delta)
            efferents.setdefault((key[0], s.source), []).append(synapse)

    pending: list[
        tuple[Mpf, int, int, Mpf, bool]
    ] = []  # deliveries: time, serial number, target, weight, delta
    serial = itertools.count()

    def emit(cell: tuple[str, int], time: Mpf) -> None:
        for target, weight, delay, delta in efferents.get(cell, ()):
            if time + delay <= t_end:
                heapq.heappush(pending, (time + delay, next(serial), target, weight, delta))

    for name, samples in given.inputs.items():
        for time, channel in samples[sample]:
            emit((name, channel), ctx.mpf(time))

    def crossing(i: int) -> Mpf:
        tolerance = min(neurons[i].tau_mem, neurons[i].tau_syn) * ctx.mpf(10) ** -(digits + GUARD_DIGITS // 2)
        return _first_crossing(ctx, neurons[i], histories[i][-1], t_end, tolerance)

    spikes: dict[str, list[Spike]] = {name: [] for name in given.neurons}
    histories = [[State(zero, neuron.v_initial, neuron.i_initial, zero)] for neuron in neurons]
    crossings = [crossing(i) for i in range(len(cells))]

    def fire(i: int, time: Mpf, voltage: Mpf, current: Mpf) -> None:
        """Let a neuron spike from a voltage: the threshold, or one to which a delta synapse has lifted it."""
        name, k = cells[i]
        after = neurons[i].v_reset
        if neurons[i].subtracts:
            after = voltage - (neurons[i].v_threshold - neurons[i].v_reset)
        if after >= neurons[i].v_threshold or (
            histories[i][-1].time == time and (time, k) in spikes[name][-n:]
        ):
            raise RepeatedSpike(
                f"neuron {k} of {name!r} in sample {sample} would spike twice at {ctx.nstr(time)} s"
            )
        spikes[name].append((time, k))
        histories[i].append(State(time, after, current, time + neurons[i].t_ref))
        emit(cells[i], time)

    n = len(cells)
    while True:
        spike_time, i = min(zip(crossings, itertools.count(), strict=False), default=(ctx.inf, -1))
        delivery_time = pending[0][0] if pending else ctx.inf
        if min(spike_time, delivery_time) > t_end:
            break
        if spike_time <= delivery_time:
            _, current = _advance(ctx, neurons[i], histories[i][-1], spike_time)
            fire(i, spike_time, neurons[i].v_threshold, current)
            crossings[i] = crossing(i)
        else:
            changed = set()
            while pending and pending[0][0] == delivery_time:
                _, _, target, weight, delta = heapq.heappop(pending)
                voltage, current = _advance(ctx, neurons[target], histories[target][-1], delivery_time)
                free = max(histories[target][-1].free, delivery_time)
                changed.add(target)
                if not delta:
                    current += weight
                elif free == delivery_time:
                    voltage += weight
                    if voltage >= neurons[target].v_threshold:
                        fire(target, delivery_time, voltage, current)
                        continue
                histories[target].append(State(delivery_time, voltage, current, free))
            for target in changed:
                crossings[target] = crossing(target)
    by_population = {
        name: tuple(tuple(histories[place[name, k]]) for k in range(len(given.neurons[name])))
        for name in given.neurons
    }
    return spikes, by_population


def _advance(ctx: Context, neuron: Neuron, state: State, time: Mpf) -> tuple[Mpf, Mpf]:
    """V and I at a time not before the state, if nothing happens between."""
    current = state.current * ctx.exp(-(time - state.time) / neuron.tau_syn)
    if time <= state.free:
        return state.voltage, current
    i0 = _current_when_free(ctx, neuron, state)
    return _voltage(ctx, neuron, state.voltage, i0, time - state.free), current


def _current_when_free(ctx: Context, neuron: Neuron, state: State) -> Mpf:
    return state.current * ctx.exp(-(state.free - state.time) / neuron.tau_syn)


def _voltage(ctx: Context, neuron: Neuron, v0: Mpf, i0: Mpf, s: Mpf) -> Mpf:
    """V(s) from V(0) = v0 and I(0) = i0: the module's closed form."""
    tau_mem, tau_syn = neuron.tau_mem, neuron.tau_syn
    decay = ctx.exp(-s / tau_mem)
    if tau_mem == tau_syn:
        response = s / tau_mem * decay
    else:
        response = tau_syn / (tau_syn - tau_mem) * (ctx.exp(-s / tau_syn) - decay)
    return neuron.v_leak + (v0 - neuron.v_leak) * decay + i0 * response


def _slope(neuron: Neuron, v: Mpf, i: Mpf) -> Mpf:
    """V' by the differential equation."""
    return (neuron.v_leak - v + i) / neuron.tau_mem


def _extremum(ctx: Context, neuron: Neuron, v0: Mpf, i0: Mpf) -> Mpf | None:
    """Return the only s at which V'(s) = 0 can hold, or None; it may be negative.

    With b = i0 tau_syn/(tau_syn - tau_mem) and a = v0 - v_leak - b::

        V - v_leak = a exp(-s/tau_mem) + b exp(-s/tau_syn)
        V' = 0  where  exp(s/tau_mem - s/tau_syn) = -(a/tau_mem)/(b/tau_syn)

    and at equality::

        V - v_leak = (v0 - v_leak + i0 s/tau_mem) exp(-s/tau_mem)
        V' = 0  where  i0 s/tau_mem = i0 - (v0 - v_leak)
    """
    tau_mem, tau_syn = neuron.tau_mem, neuron.tau_syn
    if i0 == 0:
        return None
    if tau_mem == tau_syn:
        return tau_mem * (1 - (v0 - neuron.v_leak) / i0)
    b = i0 * tau_syn / (tau_syn - tau_mem)
    a = v0 - neuron.v_leak - b
    ratio = -(a / tau_mem) / (b / tau_syn)
    return ctx.log(ratio) / (1 / tau_mem - 1 / tau_syn) if ratio > 0 else None


def _first_crossing(ctx: Context, neuron: Neuron, state: State, t_end: Mpf, tolerance: Mpf) -> Mpf:
    """Return when V first reaches the threshold up to t_end, if nothing happens before, or inf."""
    if neuron.v_threshold == ctx.inf or state.free > t_end:
        return ctx.inf
    if state.voltage >= neuron.v_threshold:  # a spike tied with a delivery, whose order rounding has turned
        return state.free
    v0, i0 = state.voltage, _current_when_free(ctx, neuron, state)
    zero, span = ctx.mpf(0), t_end - state.free
    extremum = _extremum(ctx, neuron, v0, i0)
    ends = [zero, extremum, span] if extremum is not None and 0 < extremum < span else [zero, span]
    for low, high in itertools.pairwise(ends):  # V is monotone between the two, and below threshold at low
        if _voltage(ctx, neuron, v0, i0, high) >= neuron.v_threshold:
            return state.free + _rising_root(ctx, neuron, v0, i0, low, high, tolerance)
    return ctx.inf


def _rising_root(ctx: Context, neuron: Neuron, v0: Mpf, i0: Mpf, low: Mpf, high: Mpf, tolerance: Mpf) -> Mpf:
    """Return s to the tolerance; V rises from below threshold at ``low`` to threshold or more at ``high``.

    Newton inside the bracket, bisection where Newton leaves it or slows down. A Newton step is believed only
    once V is found below threshold at s - tolerance and not below it at s + tolerance.
    """

    def above(s: Mpf) -> bool:
        return bool(_voltage(ctx, neuron, v0, i0, s) >= neuron.v_threshold)

    s, last_step = (low + high) / 2, high - low
    while high - low > tolerance:
        v = _voltage(ctx, neuron, v0, i0, s)
        if v >= neuron.v_threshold:
            high = s
        else:
            low = s
        slope = _slope(neuron, v, i0 * ctx.exp(-s / neuron.tau_syn))
        step = (neuron.v_threshold - v) / slope if slope > 0 else ctx.inf
        newton = s + step
        if abs(step) <= tolerance and not above(newton - tolerance) and above(newton + tolerance):
            return newton
        if abs(step) > tolerance and abs(step) <= last_step / 2 and low < newton < high:
            s, last_step = newton, abs(step)
        else:
            s, last_step = (low + high) / 2, high - low
    return high


# -- gradients -----------------------------------------------------------------------------------------------

Loss: TypeAlias = Callable[[ExactSolution], Any]


def gradient(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    loss: Loss,
    wrt: Iterable[Parameter],
    *,
    digits: int = 30,
    step: float | None = None,
) -> dict[Parameter, NDArray[np.object_]]:
    """Differentiate a loss by central differences, two or three forward solutions for every number.

    Parameters
    ----------
    network, inputs, t_end
        As for :func:`problem`, errors too.
    loss : callable
        Takes an :class:`ExactSolution` and returns an mpf (any reduction over samples is its own affair). It
        must compute in the solution's numbers and ``solution.context``: a global ``mpmath.mpf`` rounds to the
        global precision.
    wrt : iterable of parameters
        ("weight", key), ("delay", key), ("spike_times", input), or (name, population) with a name of
        ``tau_mem``, ``tau_syn``, ``v_threshold``, ``v_reset``, ``v_leak`` and ``t_ref``.
    digits : int
        Digits of the result relative to its natural scale, see Notes.
    step : float, optional
        Relative step; by default 10**-(digits/2 + 10).

    Returns
    -------
    dict of parameter to ndarray of mpf
        (n_synapses,) for "weight" and "delay", in the order of ``Projection.weights``; (n_spikes,) for
        "spike_times", in the order of ``SpikeTrains.times``; else (n,).

    Raises
    ------
    SpikeCountChanged
        If a neuron's number of spikes changes within a step.
    ValueError
        If a parameter does not exist, or the step is not in (0, 1e-3].

    Notes
    -----
    The step h is ``step`` times the scale of the parameter: the time constant itself, the smallest time
    constant for other times, the smallest v_threshold - v_reset for weights and voltages. The truncation
    error of (f(+h) - f(-h))/2h is h² f'''/6: with the default step 10**-(digits + 20) f''', which leaves f'''
    twenty digits to grow near a grazing crossing. The forward solutions are computed to digits - log10(step)
    digits, so that rounding, divided by h, stays below 10**-digits of the scale as well. A derivative much
    smaller than loss/scale has accordingly fewer digits.

    A number that must not become negative and lies within h of it (a zero delay, a zero t_ref, an input at
    time 0) is differentiated from the right, (-3 f(0) + 4 f(h) - f(2h))/2h, whose truncation error h² f'''/3
    is of the same order. A perturbed problem is thereby always causal.
    """
    given = problem(network, inputs, t_end)
    gradients = {}
    for parameter in wrt:
        values = _values(given, parameter)
        column = np.empty(len(values), dtype=np.object_)
        for index in range(len(values)):
            column[index] = derivative(given, loss, parameter, index, digits=digits, step=step)
        gradients[parameter] = column
    return gradients


def derivative(
    given: Problem,
    loss: Loss,
    parameter: Parameter,
    index: int,
    *,
    digits: int = 30,
    step: float | None = None,
) -> Mpf:
    """Differentiate a loss with respect to one number of a problem; everything as in :func:`gradient`."""
    ctx = _context(2 * digits + GUARD_DIGITS)
    relative = ctx.mpf(10) ** -(digits // 2 + 10) if step is None else ctx.mpf(step)
    if not 0 < relative <= ctx.mpf("1e-3"):
        raise ValueError(f"step must lie in (0, 1e-3]; got {step!r}")
    solved_digits = digits + int(ctx.ceil(-ctx.log10(relative)))
    ctx = _context(solved_digits + GUARD_DIGITS)
    value = ctx.mpf(_values(given, parameter)[index])
    h = relative * _scale(ctx, given, parameter, value)
    one_sided = parameter[0] in ("delay", "t_ref", "spike_times") and value < h
    stencil = {0: -3, 1: 4, 2: -1} if one_sided else {-1: -1, 1: 1}
    solutions = {
        k: solve_problem(_replaced(given, parameter, index, value + k * h), digits=solved_digits)
        for k in stencil
    }
    counts = {k: _counts(solution) for k, solution in solutions.items()}
    reference = next(iter(counts.values()))
    for k, count in counts.items():
        for where in reference:
            if count[where] != reference[where]:
                population, sample, neuron = where
                raise SpikeCountChanged(
                    f"the gradient is not defined: neuron {neuron} of {population!r} in sample {sample} has "
                    f"{reference[where]} or {count[where]} spikes, as {parameter} [{index}] moves by "
                    f"{ctx.nstr(abs(k) * h, 3)}"
                )
    terms = [stencil[k] * ctx.mpf(loss(solution)) for k, solution in solutions.items()]
    return sum(terms, ctx.mpf(0)) / (2 * h)


def _values(given: Problem, parameter: Parameter) -> list[Mpf]:
    """Every number that a parameter names, in the order of the gradient."""
    name, where = parameter
    if name in ("weight", "delay"):
        _require_known(parameter, given.synapses)
        return [getattr(synapse, name) for synapse in given.synapses[where]]
    if name == "spike_times":
        _require_known(parameter, given.inputs)
        return [time for sample in given.inputs[where] for time, _ in sample]
    if name not in NEURON_PARAMETERS:
        raise ValueError(
            f"parameter {name!r} is none of {('weight', 'delay', 'spike_times', *NEURON_PARAMETERS)}"
        )
    _require_known(parameter, given.neurons)
    neurons = given.neurons[where]
    if name in ("v_threshold", "v_reset", "t_ref") and any(map(_is_readout, neurons)):
        raise ValueError(f"population {where!r} does not spike: it has no {name}")
    return [getattr(neuron, name) for neuron in neurons]


def _replaced(given: Problem, parameter: Parameter, index: int, value: Mpf) -> Problem:
    """Return the problem with one number replaced."""
    name, where = parameter
    if name in ("weight", "delay"):
        synapses = _at(given.synapses[where], index, lambda synapse: replace(synapse, **{name: value}))
        return replace(given, synapses={**given.synapses, where: synapses})
    if name == "spike_times":
        samples = given.inputs[where]
        flat = [(number, spike) for number, sample in enumerate(samples) for spike in sample]
        flat = list(_at(flat, index, lambda entry: (entry[0], (value, entry[1][1]))))
        moved = tuple(tuple(spike for number, spike in flat if number == k) for k in range(len(samples)))
        return replace(given, inputs={**given.inputs, where: moved})
    neurons = _at(given.neurons[where], index, lambda neuron: replace(neuron, **{name: value}))
    return replace(given, neurons={**given.neurons, where: neurons})


def _at(items: Sequence[Any], index: int, change: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple(change(item) if k == index else item for k, item in enumerate(items))


def _scale(ctx: Context, given: Problem, parameter: Parameter, value: Mpf) -> Mpf:
    """Return the size against which a step in the parameter is small."""
    name = parameter[0]
    if name in ("tau_mem", "tau_syn"):
        return value
    if name in ("delay", "t_ref", "spike_times"):
        return min((ctx.mpf(min(n.tau_mem, n.tau_syn)) for n in _all_neurons(given)), default=ctx.mpf(1))
    spans = (ctx.mpf(n.v_threshold) - ctx.mpf(n.v_reset) for n in _all_neurons(given) if not _is_readout(n))
    return min(spans, default=ctx.mpf(1))


def _counts(solution: ExactSolution) -> dict[tuple[str, int, int], int]:
    counts = {
        (population, sample, neuron): 0
        for population, samples in solution.spikes.items()
        for sample in range(len(samples))
        for neuron in range(solution.problem.size(population))
    }
    for population, samples in solution.spikes.items():
        for sample, spikes in enumerate(samples):
            for _, neuron in spikes:
                counts[population, sample, neuron] += 1
    return counts


# -- precision -----------------------------------------------------------------------------------------------


def _context(digits: int) -> Context:
    context = MPContext()
    context.dps = digits
    return context


def _working_digits(given: Problem, digits: int) -> int:
    """Add guard digits, and twice those that tau_syn - tau_mem cancels.

    K divides by the difference once, the extremum of V once more.
    """
    ctx = _context(2 * digits + GUARD_DIGITS)
    lost = 0
    for neuron in _all_neurons(given):
        tau_mem, difference = ctx.mpf(neuron.tau_mem), ctx.fsub(neuron.tau_syn, neuron.tau_mem, exact=True)
        if difference != 0:
            lost = max(lost, int(ctx.ceil(ctx.log10(tau_mem / abs(difference)))))
    return digits + GUARD_DIGITS + 2 * lost


def _neuron_in(ctx: Context, neuron: Neuron) -> Neuron:
    """Return the neuron's numbers in a context, which then rounds every expression of them."""
    return replace(neuron, **{name: ctx.mpf(getattr(neuron, name)) for name in NEURON_PARAMETERS})


def _all_neurons(given: Problem) -> Iterator[Neuron]:
    return itertools.chain.from_iterable(given.neurons.values())


def _is_readout(neuron: Neuron) -> bool:
    return bool(neuron.v_threshold == float("inf"))


def _require_causal(given: Problem) -> None:
    """Raise if something would act before it happens."""
    for key, synapses in given.synapses.items():
        if any(synapse.delay < 0 for synapse in synapses):
            raise ValueError(f"delay of {key} must be >= 0")
    for name, samples in given.inputs.items():
        if any(time < 0 for sample in samples for time, _ in sample):
            raise ValueError(f"spike times of input {name!r} must be >= 0")
    for name, neurons in given.neurons.items():
        if any(neuron.t_ref < 0 for neuron in neurons):
            raise ValueError(f"t_ref of population {name!r} must be >= 0")


def _require_known(parameter: Parameter, known: Mapping[Any, Any]) -> None:
    if parameter[1] not in known:
        raise ValueError(f"{parameter} names nothing of this problem; there are {list(known)}")
