"""The event loop at its edges: what happens at one time, at the end, behind a hold, and when its buffers grow.

Neurons of one pair of time constants advance together, those of several one by one: both ways of every question.
"""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.kernels.membrane import propagator
from eventsolve.solution import Graze

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


@ways
@pytest.mark.parametrize(("excess", "spikes"), [(-3e-15, False), (3e-15, True)])
def test_a_peak_within_roundings_of_the_threshold_is_told_and_spikes_only_above_it(tau_mem, excess, spikes):
    """V = 1 + excess - (s - peak)^2 / (2 tau_mem tau_syn) there; a rounding of V is a tenth of the excess."""
    tau = np.array(tau_mem)
    net = pair(tau_mem)
    s = 5 * MS * tau / (tau - 5 * MS) * np.log(tau / (5 * MS))
    net.connect("in", "n", (1.0 + excess) * np.exp(s / (5 * MS))[:, None])
    given = {"in": es.SpikeTrains.from_lists([[[0.0]], [[0.0, 1.0]]])}
    solution = es.solve(net, given, 1.5)
    assert [w.sample for w in solution.warnings] == [0, 0, 1, 1, 1, 1]
    peaks = np.sort(np.concatenate([s, s, s + 1.0]))
    np.testing.assert_allclose(np.sort([w.time for w in solution.warnings]), peaks, rtol=0, atol=1e-8)
    found = own(solution)
    assert found.times.size == 6 * spikes
    for sample in range(2 * spikes):
        here = slice(found.offsets[sample], found.offsets[sample + 1])
        before = np.sqrt(2 * excess * tau[found.neurons[here]] * 5 * MS)
        late = found.times[here] % 1.0 - s[found.neurons[here]]
        early = found.times[here] < 0.5  # later, an ulp of the time is too coarse
        np.testing.assert_allclose(-late[early], before[early], rtol=0.2, atol=0)


@ways
def test_after_an_arrival_at_a_peak_no_voltage_is_left_at_the_threshold(tau_mem):
    """Float64 does not decide on which side V is: it spikes before the arrival, which is told, or it is below."""
    tau, rng = tau_mem[0], np.random.default_rng(0)
    s = 5 * MS * tau / (tau - 5 * MS) * np.log(tau / (5 * MS))
    spiking = 0
    for _ in range(60):
        net = pair(tau_mem, n_inputs=2)
        weight = np.exp(s / (5 * MS)) * (1.0 + rng.integers(-2, 3) * 2.0**-52)
        net.connect("in", "n", [[weight, 0.0], [0.0, 0.0]])
        net.connect("in", "n", [[0.0, -0.25], [0.0, 0.0]], synapse="delta", name="late")
        arrival = s + rng.uniform(-1e-10, 3e-10)
        solution = solved(net, [[0.0], [arrival]], arrival)
        (v, _) = solution.final_state.layers["n",].u[0]
        spikes = own(solution).times.size
        assert v == pytest.approx(-0.25 if spikes else 0.75, rel=0, abs=1e-6)
        told = {(w.neuron, w.time) for w in solution.warnings if isinstance(w, Graze)}
        assert len(told) == 1 or not (told or spikes)
        assert all(neuron == 0 and abs(time - s) < 1e-8 for neuron, time in told)
        spiking += spikes
    assert 5 < spiking < 55


@ways
def test_a_voltage_that_is_at_the_threshold_as_something_arrives_spikes_before_that(tau_mem):
    """Arrivals some ulps of time before a crossing: by rounding V is the threshold itself, or above, or below."""
    rng, found = np.random.default_rng(1), []
    for weight in rng.uniform(7.0, 14.0, 30):
        net = pair(tau_mem, n_inputs=2)
        net.connect("in", "n", [[weight, 0.0], [0.0, 0.0]])
        net.connect("in", "n", [[0.0, -0.5], [0.0, 0.0]], synapse="delta", name="late")
        (arrival, *_) = own(solved(net, [[0.0], []], 9 * MS)).times
        for _ in range(rng.integers(1, 4)):
            arrival = np.nextafter(arrival, 0.0)
        solution = solved(net, [[0.0], [arrival]], arrival)
        v, spikes = weight * propagator(arrival, 20 * MS, 5 * MS)[2], own(solution)
        assert not any(isinstance(warning, Graze) for warning in solution.warnings)
        assert spikes.times.tolist() == [arrival] * int(v >= 1.0)
        assert spikes.arrivals.tolist() == [2] * int(v >= 1.0)  # those at 0, over both projections
        assert solution.final_state.layers["n",].u[0, 0] == (v if v < 1.0 else 0.0) - 0.5
        found.append(np.sign(v - 1.0))
    assert found.count(0.0) > 2
    assert found.count(-1.0) > 2


@ways
@pytest.mark.parametrize("begin", [2.0**-7, 2.0**-7 + 2.0**-10])
@pytest.mark.parametrize("stop", [None, 2.0**-7 + 2.0**-9])
def test_a_crossing_at_once_after_a_release_at_the_end_belongs_to_the_end(tau_mem, begin, stop):
    """From a V just below the threshold, with a current that began as the neuron was held, or before."""
    below, released = np.nextafter(1.0, 0.0), 2.0**-7 + 2.0**-8
    net = pair(tau_mem, delay=20 * MS, n_inputs=2, t_ref=2.0**-8, v_reset=below)
    net.connect("in", "n", [[1000.0, 0.0], [0.0, 0.0]])
    net.connect("in", "n", [[0.0, 2.0], [0.0, 0.0]], synapse="delta", name="jump")
    state, after, times = None, -1.0, []
    for end in (stop, released) if stop else (released,):
        given = [[t for t in (row,) if after < t <= end] for row in (begin, 2.0**-7)]
        solution = solved(net, given, end, initial=state)
        state, after = solution.final_state, end
        times += own(solution).times.tolist()
    assert times == [2.0**-7, released]


@ways
def test_a_crossing_at_once_after_an_arrival_at_the_end_belongs_to_the_end(tau_mem):
    net = pair(tau_mem, n_inputs=2)
    net.connect("in", "n", [[np.nextafter(1.0, 0.0), 0.0], [0.0, 0.0]], synapse="delta", name="jump")
    net.connect("in", "n", [[0.0, 100.0], [0.0, 0.0]])
    assert own(solved(net, [[2.0**-7], [2.0**-7]], 2.0**-7)).times.tolist() == [2.0**-7]


@ways
@pytest.mark.parametrize("first", [False, True])
def test_an_arrival_that_comes_in_between_has_its_own_weights(tau_mem, first):
    """Exactly before another at the same float64 time, from a spike that occurs after that one is looked at."""
    kick, other = ([12.0], [0.0]), ([0.25], [0.5])
    columns = (other, kick) if first else (kick, other)
    ties = 0
    for k in range(40):
        net = pair(tau_mem, n_inputs=2, t_ref=50 * MS)
        net.connect("in", "n", np.hstack(columns))
        (crossing, *_) = own(solved(net, [[], [0.0]] if first else [[0.0], []], 9 * MS)).times
        arrival = crossing + (9.0 + 0.03 * k) * MS
        delay = float(Fraction(arrival) - Fraction(crossing))
        if crossing + delay != arrival or Fraction(crossing) + Fraction(delay) >= Fraction(arrival):
            continue
        net = pair(tau_mem, loop=[[0.0, 0.0], [2.0, 0.0]], delay=delay, n_inputs=2, t_ref=50 * MS)
        net.connect("in", "n", np.hstack(columns))
        solution = solved(net, [[arrival], [0.0]] if first else [[0.0], [arrival]], arrival)
        assert own(solution).times.tolist() == [crossing]
        assert solution.final_state.layers["n",].i[0, 1] == 2.0 + 0.5
        ties += 1
    assert ties > 5


@ways
def test_more_spikes_are_under_way_than_there_is_room_for_at_first(tau_mem):
    """Of a neuron that spikes every millisecond by itself; a tenth of a second later the other one hears of each."""
    delay = 120.1 * MS
    net = pair(tau_mem, loop=[[0.0, 0.0], [2.0, 0.0]], delay=delay, synapse="delta", v_leak=[20.0, 0.0])
    spikes = own(es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, 240 * MS))
    sent = spikes.times[spikes.neurons == 0]
    arrivals = [Fraction(t) + Fraction(delay) for t in sent]
    assert spikes.times[spikes.neurons == 1].tolist() == [float(t) for t in arrivals if t <= 240 * MS]
    assert ((sent > 0.0) & (sent <= delay)).sum() > 110


def test_one_arrival_makes_hundreds_of_neurons_spike():
    n = 300
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", n, es.LIF(np.linspace(15.0, 20.0, n) * MS, 5 * MS))
    net.connect("n", "n", sp.csr_array(([0.0], ([0], [0])), shape=(n, n)))
    net.connect("in", "n", np.full((n, 1), 2.0), synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1 * MS]]])}, 2 * MS)
    assert not solution.layer("n").efferents.dense.any()
    assert own(solution).neurons.tolist() == [*range(n)]


def test_hundreds_of_peaks_are_undecided_at_once():
    """Of populations that all advance up to the end together, behind one whose neurons do not."""
    tau, n, names = 20 * MS, 60, [f"p{k}" for k in range(6)]
    s = 5 * MS * tau / (tau - 5 * MS) * np.log(tau / (5 * MS))
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("unlike", 2, es.LIF(UNLIKE, 5 * MS))
    for before, name in zip(["unlike", *names], names, strict=False):
        net.add_population(name, n, es.LIF(tau, 5 * MS))
        net.connect("in", name, np.full((n, 1), np.exp(s / (5 * MS))))
        net.connect(
            before, name, sp.csr_array(([0.0], ([0], [0])), shape=(n, 2 if before == "unlike" else n))
        )
    net.connect(names[-1], "unlike", sp.csr_array(([0.0], ([0], [0])), shape=(2, n)))
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 2 * s)
    assert solution.layer("p0").efferents.dense.tolist() == [False] + [True] * 6
    assert solution.layer("p0").name[0] == "unlike"
    assert sorted((w.population, w.neuron) for w in solution.warnings) == [
        (name, k) for name in names for k in range(n)
    ]


@ways
def test_as_many_spikes_as_are_allowed_and_the_first_that_is_one_too_many(tau_mem):
    net = pair(tau_mem)
    net.connect("in", "n", [[2.0], [0.0]], synapse="delta")
    times = [1 * MS, 2 * MS, 3 * MS, 4 * MS]
    assert own(solved(net, [times], 5 * MS, max_spikes=4)).times.tolist() == times
    with pytest.raises(es.SpikeBudgetError, match="neuron 0 of 'n' in sample 0") as e:
        solved(net, [times], 5 * MS, max_spikes=2)
    assert e.value.time == 3 * MS


@pytest.mark.parametrize("samples", [([2, 3], [1, 2, 3]), ([2, 3], [])])
def test_of_samples_the_first_that_does_not_end_is_told(samples):
    net = pair(ALIKE)
    net.connect("in", "n", [[2.0], [0.0]], synapse="delta")
    given = {"in": es.SpikeTrains.from_lists([[[t * MS for t in times]] for times in samples])}
    with pytest.raises(es.SpikeBudgetError, match="neuron 0 of 'n' in sample 0") as e:
        es.solve(net, given, 5 * MS, max_spikes=1)
    assert e.value.time == 3 * MS


def test_the_spikes_of_a_single_neuron_come_back_to_it():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(20 * MS, 5 * MS))
    net.connect("n", "n", [[2.0]], delay=2**-10, synapse="delta")
    net.connect("in", "n", [[2.0]], synapse="delta")
    spikes = own(es.solve(net, {"in": es.SpikeTrains.from_lists([[[2**-10]]])}, 2**-8))
    assert spikes.times.tolist() == [2**-10, 2 * 2**-10, 3 * 2**-10, 4 * 2**-10]


@ways
def test_neurons_that_nobody_hears_spike_more_often_than_there_is_room_for_at_first(tau_mem):
    """From leak alone: V = 2 - 2 exp(-s / tau_mem) after each spike, which is at 1 after tau_mem log 2."""
    net = pair(tau_mem, loop=sp.csr_array((2, 2)), v_leak=2.0)
    n, tau = 50, np.array(tau_mem)
    t_end = (n + 0.5) * 20 * MS * np.log(2.0)
    spikes = own(es.solve(net, {"in": es.SpikeTrains.from_lists([[[]]])}, t_end))
    for m in range(2):
        times = spikes.times[spikes.neurons == m]
        exact = tau[m] * np.log(2.0) * np.arange(1, times.size + 1)
        np.testing.assert_allclose(times, exact, rtol=1e-13, atol=0)
    assert spikes.times.size > 2 * n - 1


def test_a_held_neuron_is_looked_at_with_its_own_voltage_and_current():
    """Among such that advance together: another one is far below, with a strong negative current."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("n", 4, es.LIF(20 * MS, 5 * MS, t_ref=2 * MS))
    net.connect("n", "n", np.zeros((4, 4)), delay=20 * MS)
    net.connect("in", "n", [[0.0, 0.0], [-60.0, -60.0], [0.0, 0.0], [40.0, 40.0]], delay=1 * MS)
    net.connect("in", "n", [[0.0, 0.0], [-50.0, 0.0], [0.0, 0.0], [2.0, 0.0]], synapse="delta", name="jump")
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS], [1.5 * MS]]])}
    solution = es.solve(net, inputs, 12 * MS)
    assert solution.layer("n").efferents.dense.all()
    truth = multiprecision.solve(net, inputs, 12 * MS, digits=20)
    exact = [float(t) for t, _ in truth.spikes["n"][0]]
    assert len(exact) > 3
    assert own(solution).neurons.tolist() == [3] * len(exact)
    np.testing.assert_allclose(own(solution).times, exact, rtol=1e-14, atol=0)


def test_what_arrives_at_one_time_is_heard_by_neurons_that_advance_together_before_one_crosses():
    """By exact times a crossing that the first arrival alone would bring, within the same float64, is later."""
    net = pair(ALIKE, n_inputs=3)
    below = np.nextafter(1.0, 0.0)
    net.connect("in", "n", [[below, 0.0, 0.0], [0.0, 0.0, 0.0]], synapse="delta", name="jump")
    net.connect("in", "n", [[0.0, 1000.0, -1000.0], [0.0, 0.0, 0.0]])
    inputs = [[2.0**-7], [2.0**-7], [2.0**-7]]
    truth = multiprecision.solve(net, {"in": es.SpikeTrains.from_lists([inputs])}, 9 * MS, digits=20)
    assert truth.spikes["n"] == ((),)
    assert own(solved(net, inputs, 9 * MS)).times.size == 0


@ways
def test_of_neurons_that_one_arrival_stops_the_first_is_told(tau_mem):
    """Each of the two would make a spike too many: its first, or a second one at the same time."""

    def stopped(error, weights, times, **options):
        net = pair(tau_mem, n_inputs=2, reset="subtract")
        net.connect("in", "n", weights, synapse="delta")
        with pytest.raises(error, match="neuron 0 of 'n' in sample 0") as e:
            solved(net, times, 2 * MS, **options)
        assert e.value.time == 1 * MS

    both = [[1.5, 1.5], [1.5, 1.5]]
    stopped(es.SpikeBudgetError, both, [[1 * MS], []], max_spikes=0)
    stopped(es.RepeatedSpikeError, [[2.5, 0.0], [2.5, 0.0]], [[1 * MS], []])
    stopped(es.RepeatedSpikeError, both, [[1 * MS], [1 * MS]])


@ways
def test_a_second_spike_that_is_there_by_rounding_as_something_arrives_comes_before_that(tau_mem):
    """Of a neuron that was held since anything arrived; an ulp of time before it crosses again."""
    rng, spiking = np.random.default_rng(2), 0
    for weight in rng.uniform(14.0, 20.0, 30):
        net = pair(tau_mem, n_inputs=2, t_ref=1 * MS, delay=20 * MS)
        net.connect("in", "n", [[weight, 0.0], [0.0, 0.0]])
        net.connect("in", "n", [[0.0, -0.5], [0.0, 0.0]], synapse="delta", name="late")
        (first, arrival, *_) = own(solved(net, [[0.0], []], 12 * MS)).times
        arrival = np.nextafter(arrival, 0.0)
        solution = solved(net, [[0.0], [arrival]], arrival)
        spikes = own(solution).times.tolist()
        assert spikes in ([first], [first, arrival])
        # held after a second one, V does not hear what arrives
        v = 0.5 if spikes == [first] else 0.0
        assert solution.final_state.layers["n",].u[0, 0] == pytest.approx(v, rel=0, abs=1e-12)
        spiking += spikes != [first]
    assert 0 < spiking < 30
