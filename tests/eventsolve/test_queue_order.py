"""The event queue against exact arithmetic: networks whose spike times are sums of given numbers, and nothing else.

Every weight lifts a neuron far beyond its threshold over a delta synapse, whatever its voltage is, and a neuron without
leak current never crosses by itself. So all that happens is decided by the order of exact times, which a few lines of
Python find with fractions. Delays and times are taken from grids on which many sums are equal, some of them only before
they are rounded.
"""

import heapq
import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es

N_IN, N = 6, 9
T_END = 20e-3


def problem(seed, *, n_spikes, kind):
    rng = np.random.default_rng(seed)
    grid = np.array([1e-3, 2e-3, 3e-3, 0.1e-3, 0.2e-3, 0.3e-3])
    t_ref = rng.choice([0.4e-3, 1e-3, 1.1e-3, 3e-3], N)

    def delays(shape):
        chosen = rng.choice(grid, shape)
        if kind == "one delay":
            return np.full(shape, 1e-3)
        if kind == "a grid":
            return chosen
        return np.where(rng.random(shape) < 0.5, chosen, rng.uniform(0.1e-3, 5e-3, shape))

    synapses = {}
    for pre, n_pre in (("in", N_IN), ("loop", N)):
        there = rng.random((N, n_pre)) < 0.6
        synapses[pre] = (np.where(there, 10.0, 0.0), delays((N, n_pre)))
    times = np.sort(rng.choice(np.arange(1, 50) * 1e-4, (N_IN, n_spikes)), axis=1)
    times += np.arange(n_spikes) * 1e-3  # one neuron spikes once at a time
    return t_ref, synapses, times


def solved(t_ref, synapses, *samples):
    net = es.Network()
    net.add_input("in", N_IN)
    net.add_population("loop", N, es.LIF(20e-3, 5e-3, t_ref=t_ref))
    for pre, (weight, delay) in synapses.items():
        rows = sp.csr_array(weight)
        there = weight != 0.0
        delays = sp.csr_array((delay[there], rows.indices, rows.indptr), shape=weight.shape)
        net.connect(pre, "loop", rows, delay=delays, synapse="delta")
    inputs = es.SpikeTrains.from_lists([[list(row) for row in times] for times in samples])
    return es.solve(net, {"in": inputs}, T_END)


def expected(t_ref, synapses, times):
    """Return (time, neuron, cause) of all spikes in order of occurrence, by exact sums.

    The cause is the spike that triggers it, numbered from the inputs on by time, with the source that this is of.
    """
    end = Fraction(T_END)
    sources = {(pre, k): [] for pre, (weight, _) in synapses.items() for k in range(weight.shape[1])}
    for pre, (weight, delay) in synapses.items():
        for post, k in zip(*np.nonzero(weight), strict=True):
            sources[pre, int(k)].append((Fraction(delay[post, k]), int(post)))
    given = sorted((t, k) for k, row in enumerate(times) for t in row)
    under_way = []

    def send(source, sent, rank):
        for delay, post in sources[source]:
            heapq.heappush(under_way, (sent + delay, sent, rank, delay, post, source))

    for rank, (t, k) in enumerate(given):
        send(("in", k), Fraction(t), rank)
    free_at = [Fraction(0)] * N
    spikes = []
    while under_way and under_way[0][0] <= end:
        arrival, _, rank, _, post, source = heapq.heappop(under_way)
        if free_at[post] > arrival:
            continue
        free_at[post] = arrival + Fraction(t_ref[post])
        send(("loop", post), arrival, len(given) + len(spikes))
        spikes.append((arrival, post, (rank, source)))
    return spikes


@pytest.mark.parametrize("kind", ["one delay", "a grid", "any"])
@pytest.mark.parametrize("seed", range(6))
def test_spikes_come_in_the_order_of_exact_sums(seed, kind):
    given = problem(seed, n_spikes=12, kind=kind)
    spikes = expected(*given)
    solution = solved(*given)
    (queued,) = (chunk.queued["loop",] for chunk in solution.chunks)
    assert len(spikes) > 60
    assert queued.neurons.tolist() == [neuron for _, neuron, _ in spikes]
    assert queued.times.tolist() == [float(t) for t, *_ in spikes]


@pytest.mark.parametrize("kind", ["one delay", "a grid", "any"])
def test_a_spike_moves_with_all_that_triggered_it(kind):
    """By whole numbers, as no voltage matters: what counts of a spike counts of its cause, and of the delay between."""
    t_ref, synapses, *samples = *problem(0, n_spikes=12, kind=kind), problem(1, n_spikes=12, kind=kind)[2]
    solution = solved(t_ref, synapses, *samples)
    spikes, given = solution.spikes["loop"], solution.spikes["in"]
    rng = np.random.default_rng(3)
    cotangents = rng.integers(-3, 4, spikes.n_spikes).astype(float)
    grads = es.vjp(solution, {"loop": cotangents}, reduction="none")
    for sample, times in enumerate(samples):
        order = expected(t_ref, synapses, times)
        first, last = spikes.offsets[sample : sample + 2]
        place = {(float(t), post): k for k, (t, post, _) in enumerate(order)}
        of = [place[row] for row in zip(spikes.times[first:last], spikes.neurons[first:last], strict=True)]
        n_given = times.size
        total = np.zeros(n_given + len(order))
        total[n_given + np.array(of)] = cotangents[first:last]
        delay = {pre: np.zeros(weight.shape) for pre, (weight, _) in synapses.items()}
        for k in reversed(range(len(order))):
            _, post, (rank, (pre, source)) = order[k]
            total[rank] += total[n_given + k]
            delay[pre][post, source] += total[n_given + k]
        for pre in synapses:
            found = grads.delay[pre, "loop"][sample]
            np.testing.assert_array_equal(found.toarray(), delay[pre])
            assert not grads.weight[pre, "loop"][sample].data.any()
        in_order = np.lexsort((given.neurons[given.samples == sample], given.times[given.samples == sample]))
        np.testing.assert_array_equal(
            grads.spike_times["in"][given.samples == sample][in_order], total[:n_given]
        )
        np.testing.assert_array_equal(grads.spike_times["loop"][first:last], total[n_given:][of])


def test_the_cases_have_ties_of_which_rounding_would_break_some():
    ties, broken = 0, 0
    for seed in range(6):
        spikes = expected(*problem(seed, n_spikes=12, kind="a grid"))
        for (a, *_), (b, *_) in itertools.pairwise(spikes):
            ties += float(a) == float(b)
            broken += float(a) == float(b) and a != b
    assert ties > 100
    assert broken > 10


def test_many_deliveries_at_one_time_come_by_their_spikes():
    """300 sources spike at once, in another order than that of their numbers, and all arrive within a few ulps."""
    rng = np.random.default_rng(0)
    n = 300
    sent = 1e-3 + rng.permutation(n) * 1e-6
    delay = 5e-3 - sent  # so that sums differ by roundings alone
    net = es.Network()
    net.add_input("in", n)
    net.add_population("out", n, es.LIF(20e-3, 5e-3, t_ref=1.0))
    ones = sp.csr_array(np.eye(n) * 10.0)
    net.connect("in", "out", ones, delay=sp.csr_array(np.diag(delay)), synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[t] for t in sent]])}, 10e-3)
    (queued,) = (chunk.queued["out",] for chunk in solution.chunks)
    exact = [Fraction(t) + Fraction(d) for t, d in zip(sent, delay, strict=True)]
    assert len({float(t) for t in exact}) < 10
    assert queued.neurons.tolist() == sorted(range(n), key=lambda k: (exact[k], sent[k], k))


def test_a_forward_solve_lays_out_no_list_of_synapses_by_target():
    solution = solved(*problem(0, n_spikes=2, kind="any"))
    layer = solution.layer("loop")
    assert "_by_target" not in vars(layer)
    assert layer.afferents.weight.size == layer.efferents.weight.size
    assert "_by_target" in vars(layer)
