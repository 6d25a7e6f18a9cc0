"""The event loop against one of a page: exact sums on a heap, closed forms, and bisection for each crossing.

Populations are of every kind: of unlike neurons, and of such that advance together, which hear whole populations or
parts of them, over delta synapses too, or each source by itself.
"""

import heapq
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import brentq

import eventsolve as es

MS = 1e-3
SIZES = {"unlike": 3, "few": 4, "many": 5}
PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")


class Case(NamedTuple):
    """A network whose populations are one cycle, and the times of its inputs, by sample."""

    net: es.Network
    times: list
    t_end: float

    def trains(self, low=-1.0, high=math.inf):
        return {
            "in": es.SpikeTrains.from_lists(
                [[[t for t in row if low < t <= high] for row in sample] for sample in self.times]
            )
        }


def case(seed):
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 3)
    for name in rng.permutation(list(SIZES)):
        n = SIZES[name]
        tau_syn = 4 * MS if name != "unlike" else np.array([3.0, 4.0, 5.0]) * MS
        neuron = es.LIF(
            tau_syn * rng.choice([2.0, 3.0, 0.4]),
            tau_syn,
            v_threshold=rng.uniform(0.8, 1.2, n),
            v_reset=rng.uniform(-0.3, 0.3, n),
            v_leak=rng.uniform(-0.3, 0.5, n),
            t_ref=rng.choice([0.0, 1.5 * MS, 3 * MS], n),
            v_initial=rng.uniform(-0.3, 0.6, n),
            i_initial=rng.normal(0, 1, n),
            reset=str(rng.choice(["value", "subtract"])),
        )
        net.add_population(str(name), n, neuron)

    def connect(pre, post, mean, scale, *, delay, synapse="exponential", share=1.0):
        shape = (SIZES[post], SIZES.get(pre, 3))
        weight = rng.normal(mean, scale, shape)
        if share < 1.0:
            weight = sp.csr_array(weight * (rng.random(shape) < share))
        net.connect(pre, post, weight, delay=delay, synapse=synapse, name=f"{pre} {post} {synapse} {delay}")

    def each(pre, post):
        return rng.uniform(0.3, 4.0, (SIZES[post], SIZES.get(pre, 3))) * MS

    for name in SIZES:
        connect("in", name, 1.8, 1.5, delay=0.2 * MS)
    connect("in", "many", 0.3, 0.3, delay=each("in", "many"), synapse="delta")
    connect("in", "few", 0.3, 0.3, delay=1.1 * MS, synapse="delta")
    connect("few", "many", 0.1, 0.8, delay=each("few", "many"))
    connect("many", "many", -0.4, 0.5, delay=1 * MS)
    connect("many", "few", 0.02, 0.2, delay=0.7 * MS, synapse="delta")
    connect("unlike", "few", 0.1, 0.7, delay=0.9 * MS)
    connect("few", "few", 0.0, 0.7, delay=1.3 * MS, share=0.5)
    connect("few", "unlike", 0.2, 0.8, delay=2.1 * MS, share=0.4)
    connect("unlike", "unlike", 0.05, 0.3, delay=0.6 * MS, synapse="delta", share=0.6)
    connect("many", "unlike", 0.0, 0.6, delay=each("many", "unlike"))
    times = [[np.sort(rng.uniform(0, 20 * MS, 4)).tolist() for _ in range(3)] for _ in range(2)]
    return Case(net, times, 25 * MS)


class Neuron:
    """One neuron: u = V - v_leak and I at a time, until when V is held, and when something arrived."""

    def __init__(self, values, subtracts):
        self.tau_mem, self.tau_syn, threshold, reset, leak, self.t_ref, v, self.i = values
        self.level, self.reset, self.u, self.height = (
            threshold - leak,
            reset - leak,
            v - leak,
            threshold - reset,
        )
        self.subtracts, self.time, self.free_at, self.arrivals = subtracts, 0.0, Fraction(0), []

    def after(self, s):
        a, b = math.exp(-s / self.tau_mem), math.exp(-s / self.tau_syn)
        return self.u * a + self.i * self.tau_syn / (self.tau_syn - self.tau_mem) * (b - a), self.i * b

    def move(self, to):
        free_at = float(self.free_at)
        if free_at > self.time:
            held_to = min(free_at, to)
            self.i *= math.exp(-(held_to - self.time) / self.tau_syn)
            self.time = held_to
        self.u, self.i = self.after(to - self.time)
        self.time = to

    def crossing(self):
        """V rises while I is above it, until they meet: it crosses before that, or not at all."""
        wait = max(0.0, float(self.free_at) - self.time)
        i = self.i * math.exp(-wait / self.tau_syn)
        if not i > self.level:
            return math.inf
        ahead = Neuron.__new__(Neuron)
        vars(ahead).update(vars(self), i=i)
        longest = 30 * max(self.tau_mem, self.tau_syn)
        u, i = ahead.after(longest)
        if i > u:  # it rises towards v_leak, which is below the threshold
            return math.inf
        peak = brentq(lambda s: ahead.after(s)[1] - ahead.after(s)[0], 0.0, longest, xtol=1e-18)
        if ahead.after(peak)[0] < self.level:
            return math.inf
        return self.time + wait + brentq(lambda s: ahead.after(s)[0] - self.level, 0.0, peak, xtol=1e-18)


class ByHand:
    """One sample of a case: ``spikes`` of (time, neuron, arrivals until then, what triggers it) as they occur."""

    def __init__(self, case, solution, sample):
        self.layer = solution.layer("few")
        self.neurons, self.sources, self.spikes, self.under_way = {}, {}, [], []
        self.end = Fraction(case.t_end)
        for name, size in SIZES.items():
            population, first = case.net.population(name), self.layer.slice_of(name).start
            columns = [population.parameter(p) for p in PARAMETERS]
            subtracts = population.neuron.reset == "subtract"
            for k in range(size):
                self.neurons[first + k] = Neuron([float(column[k]) for column in columns], subtracts)
        for projection, of in enumerate(case.net.projections.values()):
            self._read(of, projection)
        self.given = sorted((t, k) for k, row in enumerate(case.times[sample]) for t in row)
        for rank, (t, k) in enumerate(self.given):
            self._send(Fraction(t), rank, ("in", k))
        self.ahead = {m: neuron.crossing() for m, neuron in self.neurons.items()}
        while True:
            m = min(self.ahead, key=self.ahead.get)
            arrival = self.under_way[0][0] if self.under_way else self.end + 1
            if min(self.ahead[m], arrival) > self.end:
                break
            if self.ahead[m] <= arrival:
                self._fire(m, Fraction(self.ahead[m]), None)
                self.ahead[m] = self.neurons[m].crossing()
            else:
                self._deliver(*heapq.heappop(self.under_way))
        for neuron in self.neurons.values():
            neuron.move(case.t_end)

    def _read(self, of, projection):
        """Bundle the synapses of a projection by source and delay."""
        first = self.layer.slice_of(of.post).start
        if sp.issparse(of.weight):
            rows = of.weight.tocoo()
            places, weights = zip(*rows.coords, strict=True), rows.data
        else:
            places, weights = np.ndindex(of.weight.shape), of.weight.ravel()
        for (post, pre), weight, delay in zip(places, weights.tolist(), of.delay.tolist(), strict=True):
            source = ("in", pre) if of.pre == "in" else ("own", self.layer.slice_of(of.pre).start + pre)
            bundles = self.sources.setdefault(source, {})
            _, targets = bundles.setdefault((delay, projection), (of.synapse == "delta", []))
            targets.append((first + post, weight))

    def _send(self, sent, rank, source):
        for (delay, projection), bundle in self.sources.get(source, {}).items():
            heapq.heappush(self.under_way, (sent + Fraction(delay), sent, rank, projection, delay, bundle))

    def _deliver(self, arrival, _, rank, projection, delay, bundle):
        delta, targets = bundle
        lifted = []
        for m, weight in targets:
            neuron = self.neurons[m]
            neuron.move(float(arrival))
            neuron.arrivals.append(arrival)
            if not delta:
                neuron.i += weight
            elif neuron.free_at <= arrival:
                neuron.u += weight
                if neuron.u >= neuron.level:
                    lifted.append(m)
        for m in lifted:
            self._fire(m, arrival, (rank, projection, delay))
        self.ahead |= {m: self.neurons[m].crossing() for m, _ in targets}

    def _fire(self, m, now, cause):
        neuron = self.neurons[m]
        neuron.move(float(now))
        neuron.u = neuron.u - neuron.height if cause and neuron.subtracts else neuron.reset
        neuron.free_at = now + Fraction(neuron.t_ref)
        self.spikes.append((now, m, len(neuron.arrivals), cause))
        self._send(now, len(self.given) + len(self.spikes) - 1, ("own", m))


def exact(times, low):
    return [Fraction(t) + Fraction(rest) for t, rest in zip(times.tolist(), low.tolist(), strict=True)]


def assert_end(final, hand, layer, sample, t_end):
    """The states of a solution at its end, moved on by the closed form, are those by hand."""
    states = final.layers[layer.name]
    for m, neuron in hand.neurons.items():
        other = Neuron.__new__(Neuron)
        vars(other).update(
            vars(neuron),
            time=float(states.time[sample, m]),
            u=float(states.u[sample, m]),
            i=float(states.i[sample, m]),
            free_at=Fraction(states.free_at[sample, m]),
        )
        assert abs(float(Fraction(states.free_at[sample, m]) - neuron.free_at)) < 1e-12
        other.move(t_end)
        assert other.u == pytest.approx(neuron.u, rel=0, abs=1e-9)
        assert other.i == pytest.approx(neuron.i, rel=0, abs=1e-9)
    times = final.layers[layer.name].free_at[sample]
    lows = final.layers[layer.name].free_low[sample]
    assert (np.abs(lows) <= 0.5 * np.spacing(times)).all()


@pytest.mark.parametrize("seed", [1, 2, 8])
def test_the_event_loop_is_that_of_a_page(seed):
    given = case(seed)
    solution = es.solve(given.net, given.trains(), given.t_end)
    layer = solution.layer("few")
    assert solution.warnings == ()
    assert layer.efferents.dense.tolist() == [name != "unlike" for name in layer.name]
    (chunk,) = solution.chunks
    queued, efferents = chunk.queued[layer.name], layer.efferents
    for sample in range(len(given.times)):
        hand = ByHand(given, solution, sample)
        here = slice(queued.offsets[sample], queued.offsets[sample + 1])
        times, low = queued.times[here], queued.low[here]
        assert queued.neurons[here].tolist() == [m for _, m, *_ in hand.spikes]
        np.testing.assert_allclose(times, [float(t) for t, *_ in hand.spikes], rtol=1e-9, atol=0)
        assert queued.arrivals[here].tolist() == [n for *_, n, _ in hand.spikes]
        sent = [Fraction(t) for t, _ in hand.given] + exact(times, low)
        for k, (trigger, (_, m, _, cause)) in enumerate(
            zip(queued.trigger[here].tolist(), hand.spikes, strict=True)
        ):
            if cause is None:
                assert trigger == -1
                assert low[k] == 0.0
                continue
            rank, bundle = divmod(trigger, efferents.delay.size)
            assert (rank, efferents.delay[bundle]) == (cause[0], cause[2])
            assert efferents.delta[bundle]
            assert m in efferents.target[efferents.first[bundle] : efferents.first[bundle + 1]]
            assert sent[rank] + Fraction(efferents.delay[bundle]) == sent[len(hand.given) + k]
        assert_end(solution.final_state, hand, layer, sample, given.t_end)


@pytest.mark.parametrize("seed", [7, 8, 14])
def test_so_is_one_that_goes_on_from_where_another_stopped(seed):
    given = case(seed)
    cut = float(np.random.default_rng(seed).uniform(6 * MS, 15 * MS))
    before = es.solve(given.net, given.trains(high=cut), cut)
    after = es.solve(given.net, given.trains(low=cut), given.t_end, initial=before.final_state)
    layer = after.layer("few")
    (chunk,) = after.chunks
    queued = chunk.queued[layer.name]
    assert after.warnings == ()
    for sample in range(len(given.times)):
        hand = ByHand(given, after, sample)
        here = slice(queued.offsets[sample], queued.offsets[sample + 1])
        later = [spike for spike in hand.spikes if spike[0] > cut]
        assert queued.neurons[here].tolist() == [m for _, m, *_ in later]
        np.testing.assert_allclose(queued.times[here], [float(t) for t, *_ in later], rtol=1e-9, atol=0)
        assert queued.arrivals[here].tolist() == [
            n - sum(arrival <= cut for arrival in hand.neurons[m].arrivals) for _, m, n, _ in later
        ]
        assert_end(after.final_state, hand, layer, sample, given.t_end)


def test_what_a_crossing_sends_without_delay_waits_for_the_delivery_that_it_interrupts():
    """Rounding has V at the threshold as something arrives, an exact sum above its float64; each weight counts once."""
    rng, interrupted, current, tau_syn = np.random.default_rng(0), 0, [0.5, 0.0, 0.2], 5 * MS
    late, loop = np.array([0.1, 0.1, 0.2]), np.array([0.3, 0.0, 0.1])

    def solved(weight, sent, delay, loop):
        net = es.Network()
        net.add_input("in", 1)
        net.add_input("late", 1)
        net.add_population("n", 3, es.LIF([20 * MS, 21 * MS, 22 * MS], tau_syn, t_ref=1.0))
        net.connect("in", "n", [[current[0]], [weight], [current[2]]])
        net.connect("late", "n", late[:, None], delay=delay)
        net.connect("n", "n", np.outer(loop, [0.0, 1.0, 0.0]))
        inputs = {
            "in": es.SpikeTrains.from_lists([[[1 * MS]]]),
            "late": es.SpikeTrains.from_lists([[[sent]]]),
        }
        return es.solve(net, inputs, 9 * MS)

    for weight in np.linspace(8.0, 14.0, 12):
        crossing = solved(weight, 8 * MS, 0.0, loop).spikes["n"].times[0]
        for ulps in (1, 2):
            arrival = crossing - ulps * np.spacing(crossing)
            delays = rng.uniform(0.2, 0.9, 99) * MS
            delay = next(
                d
                for d in delays.tolist()
                if Fraction(arrival - d) + Fraction(d) > Fraction(arrival) and arrival - d + d == arrival
            )
            solution = solved(weight, arrival - delay, delay, loop)
            assert solution.spikes["n"].times.tolist() == [pytest.approx(crossing, rel=1e-14, abs=0.0)]
            states, (queued,) = solution.final_state.layers["n",], (c.queued["n",] for c in solution.chunks)
            since = states.time[0] - arrival
            expected = np.array([current[0], weight, current[2]]) * np.exp(
                -(states.time[0] - 1 * MS) / tau_syn
            )
            expected += (late + loop) * np.exp(-since / tau_syn)
            np.testing.assert_allclose(states.i[0], expected, rtol=32 * 2.0**-52)
            interrupted += queued.low[0] > 0.0
    assert interrupted >= 3
