"""A plain twin of es.observe in mpmath, which shares nothing with the kernels, and moves given spikes with the numbers.

What the gradients along given spikes are derivatives of is here as it is documented: the k-th spike is where

    V(t) + (s_k - V'(t_k)) (t - t_k) = v_threshold + r_k

with the slope s_k that is chosen, the residual r_k and the given time t_k held as they are at the network's own
numbers. When those are moved, spikes are sought anew, in the same order of events; one that a delivery triggered is
where that is.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Held:
    """Of one given spike: who made it and when, after how many arrivals, and what is held of it."""

    sample: int
    population: str
    neuron: int
    time: Any
    n_arrivals: int
    trigger: bool
    residual: Any = None
    slope: Any = None
    ramp: Any = None


NUMBERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


def in_order(solution, ctx):
    """The spikes of all populations in the order in which they occurred, with what the twin does not work out itself.

    That is the order and which spikes a delivery triggers; both are given with a solution whose spikes are known.
    """
    found = []
    for name, trains in solution.spikes.items():
        if solution.network.population(name).neuron is None:
            continue
        chunk = solution._chunks[0].spikes[name]
        for k in range(trains.n_spikes):
            low = ctx.mpf(float(chunk.low[k]))
            time = ctx.mpf(float(trains.times[k])) + low
            triggered = bool(chunk.trigger[k] >= 0)
            found.append(
                (
                    (int(trains.samples[k]), time, triggered),
                    Held(
                        int(trains.samples[k]),
                        name,
                        int(trains.neurons[k]),
                        time,
                        int(chunk.arrivals[k]),
                        triggered,
                    ),
                    (name, k),
                )
            )
    found.sort(key=lambda entry: entry[0])
    return [held for _, held, _ in found], [place for *_, place in found]


def response(ctx, s, neuron):
    """V a time s after a current of 1, backwards too."""
    a, b = neuron.tau_mem, neuron.tau_syn
    if a == b:
        return s / a * ctx.exp(-s / a)
    return b / (b - a) * (ctx.exp(-s / b) - ctx.exp(-s / a))


def flow(ctx, neuron, state, s):
    """(V - v_leak, I) a time s after (u, i)."""
    u, i = state
    return u * ctx.exp(-s / neuron.tau_mem) + i * response(ctx, s, neuron), i * ctx.exp(-s / neuron.tau_syn)


def extremum(ctx, state, neuron):
    """The s at which V' of a state is 0, backwards too, or None."""
    (u, i), a, b = state, neuron.tau_mem, neuron.tau_syn
    if i == 0:
        return None
    if a == b:
        return a * (i - u) / i
    of_syn = i * b / (b - a)
    ratio = -(u - of_syn) * b / (of_syn * a)
    return ctx.log(ratio) / (1 / a - 1 / b) if ratio > 0 else None


def ideal_crossing(ctx, neuron, state, c):
    """The s at which V of a state, carried on in both directions of time, rises through the threshold."""
    turn, step = extremum(ctx, state, neuron), min(neuron.tau_mem, neuron.tau_syn)

    def above(s):
        return flow(ctx, neuron, state, s)[0] > c

    low = high = ctx.mpf(0) if turn is None else turn
    while not above(high):  # unless the turn is a peak
        high += step
    while above(low):  # unless it is a minimum
        low -= step
    for _ in range(ctx.prec + 10):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return low


class Twin:
    """Along spikes that are known up to some place; ``problem`` has every number, as multiprecision writes them."""

    def __init__(self, ctx, problem):
        self.ctx, self.problem = ctx, problem
        self.sent = {}  # (sample, population, neuron) -> times
        self.resets = {}  # (sample, population, neuron) -> [(time, n_arrivals, V - v_leak after it)]
        for name, samples in problem.inputs.items():
            for sample, spikes in enumerate(samples):
                for time, channel in spikes:
                    self.sent.setdefault((sample, name, channel), []).append(time)

    def arrivals(self, who):
        """(time, weight, is delta) of all that has been sent to a neuron, in order of time."""
        sample, name, neuron = who
        found = [
            (ctx_time + synapse.delay, synapse.weight, synapse.delta)
            for key, synapses in self.problem.synapses.items()
            if key[1] == name
            for synapse in synapses
            if synapse.target == neuron
            for ctx_time in self.sent.get((sample, key[0], synapse.source), [])
        ]
        return sorted(found, key=lambda arrival: arrival[0])

    def before(self, who, n_arrivals):
        """(time, (u, i)) of a neuron after its last event, of its first arrivals and all of its known spikes."""
        ctx, neuron = self.ctx, self.problem.neurons[who[1]][who[2]]
        arrivals, resets = self.arrivals(who)[:n_arrivals], self.resets.get(who, [])
        time, free = ctx.mpf(0), ctx.mpf(0)
        state = (neuron.v_initial - neuron.v_leak, neuron.i_initial)

        def to_time(to):
            nonlocal time, state
            if free > time:  # V is held
                until = min(to, free)
                state = state[0], state[1] * ctx.exp(-(until - time) / neuron.tau_syn)
                time = until
            if to > time:
                state, time = flow(ctx, neuron, state, to - time), to

        k = 0
        for spike_time, count, u in [*resets, (None, n_arrivals, None)]:
            for at, weight, delta in arrivals[k:count]:
                to_time(at)
                if not delta:
                    state = state[0], state[1] + weight
                elif not free > at:
                    state = state[0] + weight, state[1]
            k = max(k, count)
            if spike_time is not None:
                to_time(spike_time)
                state = u, state[1]
                free = spike_time + neuron.t_ref
        if free > time:
            to_time(free)
        return time, state

    def threshold(self, who):
        neuron = self.problem.neurons[who[1]][who[2]]
        return neuron.v_threshold - neuron.v_leak

    def reset(self, held, time):
        """Let a spike take place."""
        who = held.sample, held.population, held.neuron
        neuron = self.problem.neurons[who[1]][who[2]]
        u = neuron.v_reset - neuron.v_leak
        if held.trigger and neuron.subtract:
            _, (before, _) = self.before(who, held.n_arrivals)
            u = before - (neuron.v_threshold - neuron.v_reset)
        self.resets.setdefault(who, []).append((time, held.n_arrivals, u))
        self.sent.setdefault(who, []).append(time)


def hold(ctx, problem, spikes, slopes):
    """What is held of given spikes at the network's own numbers; ``slopes`` names the slope of every population."""
    twin, found = Twin(ctx, problem), []
    for held in spikes:
        who = held.sample, held.population, held.neuron
        neuron = problem.neurons[who[1]][who[2]]
        c = twin.threshold(who)
        start, state = twin.before(who, held.n_arrivals)
        if not held.trigger:
            u, i = flow(ctx, neuron, state, held.time - start)
            rate = (i - u) / neuron.tau_mem
            chosen = (i - c) / neuron.tau_mem if slopes[held.population] == "threshold" else rate
            if slopes[held.population] == "crossing":
                s = ideal_crossing(ctx, neuron, state, c)
                u_there, i_there = flow(ctx, neuron, state, s)
                there = (i_there - u_there) / neuron.tau_mem
                chosen = there * ctx.exp(-(held.time - start - s) / neuron.tau_mem)
            held = replace(held, residual=u - c, slope=chosen, ramp=chosen - rate)
        found.append(held)
        twin.reset(held, held.time)
    return found


def moved(ctx, problem, spikes):
    """When the given spikes occur in a problem whose numbers are moved a little, what is held of them being held."""
    twin, times = Twin(ctx, problem), []
    for held in spikes:
        who = held.sample, held.population, held.neuron
        neuron = problem.neurons[who[1]][who[2]]
        if held.trigger:
            time = twin.arrivals(who)[held.n_arrivals - 1][0]
        else:
            start, state = twin.before(who, held.n_arrivals)
            level = twin.threshold(who) + held.residual
            time = held.time
            for _ in range(4):  # Newton, whose digits double, from where it is but for the step
                u, i = flow(ctx, neuron, state, time - start)
                time -= (u + held.ramp * (time - held.time) - level) / ((i - u) / neuron.tau_mem + held.ramp)
        times.append(time)
        twin.reset(held, time)
    return times


def derivative(ctx, problem_at, spikes, h):
    """Central differences of all spike times; ``problem_at(step)`` is the problem a step along a direction."""
    ahead, behind = (moved(ctx, problem_at(sign * h), spikes) for sign in (1, -1))
    return np.array([float((a - b) / (2 * h)) for a, b in zip(ahead, behind, strict=True)])


def rounded_anew(ctx, problem, spikes, rng, size):
    """The problem and the given times with every number off by up to ``size`` of itself."""

    def off(value):
        return ctx.mpf(value) * (1 + ctx.mpf(float(rng.uniform(-size, size))))

    neurons = {
        name: tuple(
            replace(
                n, **{p: off(getattr(n, p)) for p in NUMBERS if p != "v_threshold" or n.v_threshold < ctx.inf}
            )
            for n in of
        )
        for name, of in problem.neurons.items()
    }
    synapses = {
        key: tuple(replace(s, weight=off(s.weight), delay=off(s.delay)) for s in of)
        for key, of in problem.synapses.items()
    }
    times = [spike if spike.trigger else replace(spike, time=off(spike.time)) for spike in spikes]
    return replace(problem, neurons=neurons, synapses=synapses), times
