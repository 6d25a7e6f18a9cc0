"""Event by event, at any number of digits.

Sums of times are exact, so that what is at one time is told from what is nearly so. Arrivals at one time act population
by population, in the order in which these are solved; at one, by when their spikes were sent; of those first spikes of
inputs and of populations before, by population and neuron, then those of the same cycle as they occur; then by synapse.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from typing import Any

from eventsolve.checks import instance
from eventsolve.multiprecision.flow import Rise, State, advance, crossing, first_rise
from eventsolve.multiprecision.problems import (
    Context,
    Mpf,
    Problem,
    Spike,
    all_neurons,
    checked_digits,
    context,
    neuron_in,
    problem,
    require_causal,
)
from eventsolve.multiprecision.solution import ExactSolution
from eventsolve.network import Network, solving_order
from eventsolve.spiketrains import SpikeTrains

GUARD_DIGITS = 20


def solve(
    network: Network, inputs: Mapping[str, SpikeTrains], t_end: float, *, digits: int = 30
) -> ExactSolution:
    """Solve a network to a chosen number of digits.

    Parameters
    ----------
    network, inputs, t_end
        As for :func:`problem`, errors too.
    digits : int
        Digits of the spike times, from 1 to 10,000.

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
    digits = checked_digits(digits)
    return solve_problem(problem(network, inputs, t_end), digits=digits)


def solve_problem(given: Problem, *, digits: int = 30) -> ExactSolution:
    """Solve a problem to a chosen number of digits.

    Raises
    ------
    ValueError
        If digits are not from 1 to 10,000, a delay, a t_ref or an input time is negative, a time constant is not
        above 0, v_initial is not below v_threshold, or a neuron would spike twice at one time: two delta arrivals
        may make it, or one whose excess beyond the threshold outlasts a subtraction.
    """
    instance("given", given, Problem)
    require_causal(given)
    return solved_to(given, checked_digits(digits))


def solved_to(given: Problem, digits: int) -> ExactSolution:
    """Solve a problem that was checked."""
    ctx = context(_working_digits(given, digits))
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
    t_end, zero = ctx.mpf(given.t_end), ctx.zero
    relative_tolerance = ctx.mpf(10) ** -(digits + GUARD_DIGITS // 2)
    cells = [(name, k) for name, neurons in given.neurons.items() for k in range(len(neurons))]
    neurons = [neuron_in(ctx, given.neurons[name][k]) for name, k in cells]
    place = {cell: i for i, cell in enumerate(cells)}
    cycles = solving_order(given.neurons, (key[:2] for key in given.synapses))
    rank = {name: k for k, name in enumerate(itertools.chain(given.channels, *cycles))}
    level = {name: k for k, cycle in enumerate(cycles) for name in cycle}
    efferents: dict[tuple[str, int], list[tuple[int, Mpf, Mpf, bool]]] = {}
    for key, synapses in given.synapses.items():
        for s in synapses:
            synapse = (place[key[1], s.target], ctx.mpf(s.weight), ctx.mpf(s.delay), s.delta)
            efferents.setdefault((key[0], s.source), []).append(synapse)

    # time, and what decides at one time, down to a serial number; target, weight, delta
    pending: list[tuple[Mpf, tuple[Any, ...], int, Mpf, bool]] = []
    serial = itertools.count()
    spikes: dict[str, list[Spike]] = {name: [] for name in given.neurons}
    histories = [[State(zero, neuron.v_initial, neuron.i_initial, zero)] for neuron in neurons]
    latest = [ctx.ninf] * len(cells)  # every neuron's latest spike

    def emit(cell: tuple[str, int], time: Mpf) -> None:
        for target, weight, delay, delta in efferents.get(cell, ()):
            arrival, number, there = ctx.fadd(time, delay, exact=True), next(serial), level[cells[target][0]]
            within = level.get(cell[0]) == there
            turn = (there, time, within, () if within else (rank[cell[0]], cell[1]), number)
            if arrival <= t_end:
                heapq.heappush(pending, (arrival, turn, target, weight, delta))

    def fire(i: int, time: Mpf, voltage: Mpf, current: Mpf) -> None:
        (name, k), neuron = cells[i], neurons[i]
        if voltage >= neuron.v_threshold or time == latest[i]:
            raise ValueError(
                f"neuron {k} of {name!r} in sample {sample} would spike twice at {ctx.nstr(time, 17)} s"
            )
        latest[i] = time
        spikes[name].append((time, k))
        histories[i].append(State(time, voltage, current, ctx.fadd(time, neuron.t_ref, exact=True)))
        emit((name, k), time)

    def arrive(i: int, time: Mpf, weight: Mpf, delta: bool) -> None:
        neuron, state = neurons[i], histories[i][-1]
        voltage, current = advance(ctx, neuron, state, time)
        if voltage >= neuron.v_threshold:  # a crossing tied with the arrival, whose order rounding has turned
            fire(i, time, neuron.v_reset, current)
            arrive(i, time, weight, delta)
        elif not delta:
            histories[i].append(State(time, voltage, current + weight, max(state.free, time)))
        elif state.free <= time:
            raised = voltage + weight
            if raised < neuron.v_threshold:
                histories[i].append(State(time, raised, current, time))
            else:
                excess = raised - neuron.v_threshold if neuron.subtract else zero
                fire(i, time, neuron.v_reset + excess, current)

    for name, samples in given.inputs.items():
        for time, channel in sorted((ctx.mpf(time), channel) for time, channel in samples[sample]):
            emit((name, channel), time)

    # When each neuron next crosses; where the rise to it is known but not yet the crossing, a time before it.
    rises: list[Rise | None] = [None] * len(cells)
    crossings = [ctx.inf] * len(cells)

    def look_ahead(i: int) -> None:
        rise = rises[i] = first_rise(ctx, neurons[i], histories[i][-1], t_end)
        crossings[i] = ctx.inf if rise is None else rise.start + rise.low

    for i in range(len(cells)):
        look_ahead(i)
    while True:
        i = min(range(len(cells)), key=crossings.__getitem__, default=-1)
        time = crossings[i] if cells else ctx.inf
        arrival = pending[0][0] if pending else ctx.inf
        if min(time, arrival) > t_end:
            break
        if arrival < time:
            changed = set()
            while pending and pending[0][0] == arrival:
                _, _, target, weight, delta = heapq.heappop(pending)
                arrive(target, arrival, weight, delta)
                changed.add(target)
            for target in changed:
                look_ahead(target)
        elif (rise := rises[i]) is not None:
            tolerance = min(neurons[i].tau_mem, neurons[i].tau_syn) * relative_tolerance
            rises[i], crossings[i] = None, crossing(ctx, neurons[i], rise, tolerance)
        else:
            _, current = advance(ctx, neurons[i], histories[i][-1], time)
            fire(i, time, neurons[i].v_reset, current)
            look_ahead(i)
    by_population = {
        name: tuple(tuple(histories[place[name, k]]) for k in range(len(given.neurons[name])))
        for name in given.neurons
    }
    return spikes, by_population


def _working_digits(given: Problem, digits: int) -> int:
    """Add guard digits, and twice those that tau_syn - tau_mem cancels.

    K divides by the difference once, the extremum of V once more.
    """
    ctx = context(2 * digits + GUARD_DIGITS)
    lost = 0
    for neuron in all_neurons(given):
        tau_mem, difference = ctx.mpf(neuron.tau_mem), ctx.fsub(neuron.tau_syn, neuron.tau_mem, exact=True)
        if difference != 0:
            lost = max(lost, int(ctx.ceil(ctx.log10(tau_mem / abs(difference)))))
    return digits + GUARD_DIGITS + 2 * lost
