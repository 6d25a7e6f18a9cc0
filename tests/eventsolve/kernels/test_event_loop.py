"""The event loop at its edges: what happens at one time, at the end, behind a hold, and when its buffers grow.

Neurons of one pair of time constants advance together, those of several one by one: both ways of every question.
"""

from fractions import Fraction

import numpy as np
import pytest

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.kernels.membrane import propagator

MS = 1e-3
ALIKE, UNLIKE = [20 * MS, 20 * MS], [20 * MS, 15 * MS]
ways = pytest.mark.parametrize("tau_mem", [ALIKE, UNLIKE], ids=["together", "alone"])


def pair(
    tau_mem, *, loop=((0.0, 0.0), (0.0, 0.0)), delay=1 * MS, synapse="exponential", n_inputs=1, **neuron
):
    """Two neurons in a cycle, that of a population which hears n_inputs."""
    net = es.Network()
    net.add_input("in", n_inputs)
    net.add_population("n", 2, es.LIF(tau_mem, 5 * MS, **neuron))
    net.connect("n", "n", loop, delay=delay, synapse=synapse)
    return net


def solved(net, times, t_end, **options):
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([times])}, t_end, **options)
    together = np.unique(net.population("n").parameter("tau_mem")).size == 1
    assert solution.layer("n").efferents.dense.tolist() == [together]
    return solution


def own(solution):
    """The spikes of the loop in order of occurrence, with what the event loop notes of them."""
    (chunk,) = solution.chunks
    return chunk.queued["n",]


@ways
def test_a_ring_that_outgrows_every_buffer_keeps_exact_times_and_what_triggers_them(tau_mem):
    """Each neuron lifts the other over the threshold: spike k is k delays after the first, exactly."""
    sent, delay, n = 0.7 * MS, 0.3 * MS, 300
    net = pair(tau_mem, loop=[[0.0, 2.0], [2.0, 0.0]], delay=delay, synapse="delta")
    net.connect("in", "n", [[2.0], [0.0]], synapse="delta")
    t_end = sent + (n - 0.5) * delay
    solution = solved(net, [[sent]], t_end)
    spikes = own(solution)
    exact = [Fraction(sent) + k * Fraction(delay) for k in range(n)]
    assert spikes.times.tolist() == [float(t) for t in exact]
    assert [Fraction(t) + Fraction(low) for t, low in zip(spikes.times, spikes.low, strict=True)] == exact
    assert spikes.neurons.tolist() == [k % 2 for k in range(n)]
    assert (spikes.low != 0.0).sum() > n / 2
    # the last one moves by as much as all delays together, by which it is n - 1 later
    grads = es.vjp(solution, {"n": np.arange(n) == n - 1})
    assert grads.delay["n", "n"].tolist() == [[0.0, (n - 1) // 2], [(n - 1) // 2 + 1, 0.0]]
    assert grads.spike_times["in"].tolist() == [1.0]


@ways
def test_undecided_peaks_are_kept_when_buffers_grow(tau_mem):
    """V of both peaks at the threshold after every input, whose time constants are past before the next one."""
    n, every, tau = 120, 2.0, np.array(tau_mem)
    net = pair(tau_mem)
    s = 5 * MS * tau / (tau - 5 * MS) * np.log(tau / (5 * MS))
    net.connect("in", "n", np.exp(s / (5 * MS))[:, None])
    times = np.arange(n) * every
    solution = solved(net, [times], n * every)
    peaks = sorted((neuron, time) for neuron in range(2) for time in times + s[neuron])
    found = sorted((w.neuron, w.time) for w in solution.warnings)
    assert [neuron for neuron, _ in found] == [neuron for neuron, _ in peaks]
    np.testing.assert_allclose([t for _, t in found], [t for _, t in peaks], rtol=0, atol=1e-8)


@ways
def test_what_happens_at_the_end_belongs_to_it_and_what_is_later_is_on_its_way(tau_mem):
    net = pair(tau_mem, loop=[[0.0, 0.0], [2.0, 0.0]], delay=2**-9, synapse="delta")
    net.connect("in", "n", [[2.0], [0.0]], synapse="delta")
    sent = 2**-10
    at_end = solved(net, [[sent]], sent + 2**-9)
    assert own(at_end).times.tolist() == [sent, sent + 2**-9]
    cut = np.nextafter(sent + 2**-9, 0.0)
    before = solved(net, [[sent]], cut)
    assert own(before).times.tolist() == [sent]
    nothing = {"in": es.SpikeTrains.from_lists([[[]]])}
    after = es.solve(net, nothing, 10 * MS, initial=before.final_state)
    assert own(after).times.tolist() == [sent + 2**-9]


@pytest.mark.filterwarnings("ignore::eventsolve.UnitWarning")  # the input comes after twelve days
@ways
def test_a_crossing_at_the_end_belongs_to_it(tau_mem):
    """Even if that is rounded down to it, from where V is below the threshold; a float64 less is before it."""
    rng, sent, below = np.random.default_rng(0), 2.0**20, 0
    for weight in rng.uniform(9.0, 20.0, 12):
        net = pair(tau_mem)
        net.connect("in", "n", [[weight], [0.0]])
        (crossing, *_) = own(solved(net, [[sent]], sent + 8 * MS)).times
        assert own(solved(net, [[sent]], crossing)).times.tolist() == [crossing]
        assert own(solved(net, [[sent]], np.nextafter(crossing, 0.0))).times.size == 0
        below += weight * propagator(crossing - sent, 20 * MS, 5 * MS)[2] < 1.0
    assert 2 < below < 10


@ways
@pytest.mark.parametrize("held", [False, True])
def test_an_arrival_brings_the_next_spike_nearer(tau_mem, held):
    """Of a neuron that would spike later, or of one that is held; nothing else arrives to make one look again."""
    net = pair(tau_mem, t_ref=4 * MS, n_inputs=2)
    net.connect("in", "n", [[2.0 if held else 0.0, 0.0], [0.0, 0.0]], synapse="delta", name="jump")
    net.connect("in", "n", [[0.0 if held else 8.0, 30.0], [0.0, 0.1]])
    inputs = [[1 * MS], [2 * MS]]
    spikes = own(solved(net, inputs, 9 * MS))
    truth = multiprecision.solve(net, {"in": es.SpikeTrains.from_lists([inputs])}, 9 * MS, digits=20)
    exact = [float(t) for t, _ in truth.spikes["n"][0]]
    assert len(exact) == 2
    np.testing.assert_allclose(spikes.times, exact, rtol=1e-14, atol=0)


@ways
def test_an_arrival_at_a_release_is_ignored_only_before_it_exactly(tau_mem):
    """Released at the exact sum of 1 ms and the period; the second input arrives at sums that round to that."""
    t_ref, ignored, heard = 0.3 * MS, 0, 0
    release = Fraction(1 * MS) + Fraction(t_ref)
    for k in range(40):
        sent = (0.013 + 0.01 * k) * MS
        delay = float(release - Fraction(sent))
        arrival = Fraction(sent) + Fraction(delay)
        net = pair(tau_mem, t_ref=t_ref, n_inputs=2)
        net.connect("in", "n", [[2.0, 0.0], [0.0, 0.0]], synapse="delta", name="first")
        net.connect("in", "n", [[0.0, 2.0], [0.0, 0.0]], delay=delay, synapse="delta", name="second")
        spikes = own(solved(net, [[1 * MS], [sent]], 3 * MS))
        assert spikes.times.tolist() == [1 * MS, float(arrival)][: 1 + (arrival >= release)]
        tied = float(arrival) == float(release)
        ignored, heard = ignored + (tied and arrival < release), heard + (tied and arrival >= release)
    assert min(ignored, heard) > 5


@ways
def test_without_a_period_no_arrival_at_a_crossing_is_ignored(tau_mem):
    """A crossing comes before what arrives at its float64 time, even if by its exact time that would be earlier."""
    net = pair(tau_mem, n_inputs=2)
    net.connect("in", "n", [[12.0, 0.0], [0.0, 0.0]])
    (crossing, *_) = own(solved(net, [[1 * MS], []], 9 * MS)).times
    sent = [(0.013 + 0.01 * k) * MS for k in range(40)]
    delays = [float(Fraction(crossing) - Fraction(t)) for t in sent]
    ties = [(t, d) for t, d in zip(sent, delays, strict=True) if t + d == crossing]
    assert sum(Fraction(t) + Fraction(d) < Fraction(crossing) for t, d in ties) > 5
    for t, delay in ties:
        late = pair(tau_mem, n_inputs=2)
        late.connect("in", "n", [[12.0, 0.0], [0.0, 0.0]])
        late.connect("in", "n", [[0.0, -0.5], [0.0, 0.0]], delay=delay, synapse="delta", name="late")
        solution = solved(late, [[1 * MS], [t]], np.nextafter(crossing, 1.0))
        assert own(solution).times.tolist() == [crossing]
        assert abs(solution.final_state.layers["n",].u[0, 0] + 0.5) < 1e-15


@ways
def test_a_reset_by_subtraction_to_the_threshold_is_a_second_spike_and_below_it_is_none(tau_mem):
    def jump(weight):
        net = pair(tau_mem, reset="subtract")
        net.connect("in", "n", [[weight], [0.0]], synapse="delta")
        return solved(net, [[1 * MS]], 2 * MS)

    with pytest.raises(es.RepeatedSpikeError, match=r"neuron 0 of 'n' in sample 0 would spike twice"):
        jump(2.0)
    once = jump(np.nextafter(2.0, 0.0))
    assert own(once).times.tolist() == [1 * MS]
    assert once.voltage("n", [1 * MS])[0, 0, 0] == np.nextafter(2.0, 0.0) - 1.0


@ways
def test_a_crossing_leaves_v_reset_behind_with_either_reset(tau_mem):
    found = []
    for reset in ("value", "subtract"):
        net = pair(tau_mem, reset=reset, v_reset=-0.25)
        net.connect("in", "n", [[25.0], [0.0]])
        found.append(own(solved(net, [[1 * MS]], 8 * MS)).times)
    assert found[0].size > 2
    np.testing.assert_array_equal(*found)


@ways
def test_arrivals_that_a_held_neuron_ignores_are_counted(tau_mem):
    net = pair(tau_mem, t_ref=3 * MS)
    net.connect("in", "n", [[1.5], [0.1]], synapse="delta")
    solution = solved(net, [[1 * MS, 2 * MS, 3.9 * MS, 4.5 * MS]], 6 * MS)
    spikes = own(solution)
    assert spikes.times[spikes.neurons == 0].tolist() == [1 * MS, 4.5 * MS]
    assert spikes.arrivals[spikes.neurons == 0].tolist() == [1, 5]  # its own spike among them


@ways
def test_a_spike_that_comes_back_at_once_is_one_too_many_where_it_triggers_another(tau_mem):
    def back(weight, **neuron):
        net = pair(tau_mem, loop=[[weight, 0.0], [0.0, 0.0]], delay=0.0, synapse="delta", **neuron)
        net.connect("in", "n", [[1.0], [0.0]], synapse="delta", name="begin")
        return solved(net, [[1 * MS]], 2 * MS, max_spikes=50)

    with pytest.raises(
        es.RepeatedSpikeError, match=r"neuron 0 of 'n' in sample 0 would spike twice at 0\.001 s"
    ):
        back(1.0)
    below = back(0.75)
    assert own(below).times.tolist() == [1 * MS]
    assert below.voltage("n", [1 * MS])[0, 0, 0] == 0.75
    assert own(back(1.0, t_ref=1.5 * MS)).times.tolist() == [1 * MS]  # while V is held


def test_a_bundle_that_waits_for_a_crossing_goes_on_where_it_was():
    """An arrival within roundings of a crossing of its third target: the first two have heard it by then."""
    rng, w = np.random.default_rng(3), 0.25
    for _ in range(40):
        weight = rng.uniform(7.0, 12.0)
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("n", 3, es.LIF([20 * MS, 15 * MS, rng.uniform(8 * MS, 20 * MS)], 5 * MS))
        net.connect("n", "n", np.zeros((3, 3)), delay=1 * MS)
        net.connect("in", "n", [[0.0, w], [0.0, w], [weight, w]])
        (crossing, *_) = own(es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], []]])}, 12 * MS)).times
        arrival = crossing
        for _ in range(rng.integers(1, 4)):
            arrival = np.nextafter(arrival, 0.0)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [arrival]]])}, arrival)
        assert not solution.layer("n").efferents.dense.any()
        assert solution.final_state.layers["n",].i[0, :2].tolist() == [w, w]
