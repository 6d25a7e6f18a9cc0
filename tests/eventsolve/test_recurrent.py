"""Cycles, delta synapses, initial states and streams, against solvers that share no kernel with the event queue."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from comparing import Comparison
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from loops import Loop, solved

import eventsolve as es
from eventsolve import multiprecision

PARAMETERS = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")
NEURON = es.LIF(20e-3, 5e-3)
SEEDS = st.integers(0, 2**32 - 1)


def test_a_spike_comes_back_over_a_self_connection():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, NEURON)
    net.connect("in", "out", [[16.0]])
    net.connect("out", "out", [[-3.0]], delay=2e-3)
    loop = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 30e-3)
    first = loop.spikes["out"].times[0]
    # the same as an input that inhibits 2 ms after every spike
    twin = es.Network()
    twin.add_input("in", 2)
    twin.add_population("out", 1, NEURON)
    twin.connect("in", "out", [[16.0, -3.0]])
    back = loop.spikes["out"].times + 2e-3
    again = es.solve(twin, {"in": es.SpikeTrains.from_lists([[[0.0], back[back <= 30e-3]]])}, 30e-3)
    assert loop.spikes["out"].n_spikes > 1
    assert loop.spikes["out"].times[0] == first
    np.testing.assert_array_equal(loop.spikes["out"].times, again.spikes["out"].times)


def largest(gradient):
    """Where a derivative is largest, and a difference says most."""
    return np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)


def test_every_gradient_is_the_central_difference():
    compare, kinks = Comparison(), []
    hold_gradients_to_differences(compare, kinks)
    # over all networks together: in one of them nothing may move a spike, or kinks lie near
    compare.demand(0.5)
    assert len(kinks) < 0.05 * compare.compared, kinks


@settings(max_examples=20)
@given(seed=SEEDS)
@example(seed=508545)  # a kink: an exact tie
@example(seed=89572994)  # whose gradient is 0 throughout
def hold_gradients_to_differences(compare, kinks, seed):
    loop = Loop(seed)
    base = solved(loop)
    assume(base is not None)
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=base.spikes[name].n_spikes) for name in ("a", "b")}
    grads = es.vjp(base, cotangents)
    places = [
        (loop.neurons[name], p, largest(getattr(grads, p)[name]), getattr(grads, p)[name])
        for name in ("a", "b")
        for p in PARAMETERS
    ]
    for values, gradient in ((loop.weight, grads.weight), (loop.delay, grads.delay)):
        places += [(values, key, largest(gradient[key]), gradient[key]) for key in values]

    def moved(values, key, place, step):
        kept = values[key]
        values[key] = kept.copy()
        values[key][place] += step
        solution = solved(loop)
        values[key] = kept
        same = solution is not None and all(
            np.array_equal(solution.spikes[name].neurons, base.spikes[name].neurons) for name in cotangents
        )
        return sum(cotangents[name] @ solution.spikes[name].times for name in cotangents) if same else None

    for values, key, place, gradient in places:
        if key == "t_ref" and values[key][place] == 0:
            continue  # what is less is no network
        step = 1e-9 if values is loop.delay or key in ("tau_mem", "tau_syn", "t_ref") else 1e-7
        sides = [moved(values, key, place, k * step) for k in (-2, -1, 1, 2)]
        if any(side is None for side in sides):
            kinks.append((seed, key))
            continue
        # at an exact tie, as equal delays make them, there are two derivatives: the gradient is that of the order taken
        now = sum(cotangents[name] @ base.spikes[name].times for name in cotangents)
        left = (3 * now - 4 * sides[1] + sides[0]) / (2 * step), (now - sides[1]) / step
        right = (4 * sides[2] - 3 * now - sides[3]) / (2 * step), (sides[2] - now) / step
        rounding = 64 * np.finfo(float).eps * (base.spikes["a"].n_spikes + base.spikes["b"].n_spikes) / step
        off = [
            abs(second - gradient[place]) - (1e-6 * abs(gradient[place]) + abs(second - first) + rounding)
            for second, first in (left, right)
        ]
        second, first = (left, right)[int(np.argmin(off))]
        tolerance = 1e-6 * abs(gradient[place]) + abs(second - first) + rounding
        compare.close(gradient[place], second, tolerance, (key, place))


@settings(max_examples=30)
@given(SEEDS)
@example(289813263)  # a cut between a spike and the next delivery to its population, which advances together
def test_a_stream_in_pieces_has_the_bits_of_one_in_one_go(seed):
    loop = Loop(seed)
    whole = solved(loop)
    assume(whole is not None)
    rng = np.random.default_rng(seed)
    cuts = rng.uniform(0, loop.t_end, 3)
    some = np.concatenate([whole.spikes["a"].times, whole.spikes["in"].times, whole.spikes["b"].times])
    cuts = np.sort(np.concatenate([cuts, rng.choice(some, 2)]))
    net, state, low = loop.network(), None, -1.0
    pieces = []
    for cut in (*cuts, loop.t_end):
        piece = es.solve(net, loop.trains(low, cut), cut, initial=state)
        pieces.append(piece)
        state, low = piece.final_state, cut
    for name in ("a", "b"):
        want = whole.spikes[name]
        got = [
            np.concatenate([getattr(p.spikes[name], f) for p in pieces])
            for f in ("times", "neurons", "samples")
        ]
        order = np.lexsort((got[1], got[0], got[2]))
        for array, field in zip(got, ("times", "neurons", "samples"), strict=True):
            np.testing.assert_array_equal(array[order], getattr(want, field))
        # voltages are read by going through a neuron's own events, fewer than the queue has stopped at
        got, want = pieces[-1].voltage(name, [loop.t_end]), whole.voltage(name, [loop.t_end])
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)


@settings(max_examples=15)
@given(SEEDS)
def test_batch_is_loop_and_order_of_samples_changes_no_bit(seed):
    loop = Loop(seed)
    whole = solved(loop)
    assume(whole is not None)
    net = loop.network()
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=whole.spikes[name].n_spikes) for name in ("a", "b")}
    grads = es.vjp(whole, cotangents, reduction="none")
    for sample in (1, 0):
        alone = es.solve(net, {"in": whole.spikes["in"].select([sample])}, loop.t_end)
        for name in ("a", "b"):
            here = whole.spikes[name].samples == sample
            np.testing.assert_array_equal(alone.spikes[name].times, whole.spikes[name].times[here])
        own = es.vjp(alone, {n: c[whole.spikes[n].samples == sample] for n, c in cotangents.items()})
        for key in loop.weight:
            np.testing.assert_array_equal(own.weight[key], grads.weight[key][sample])


def alike(seed, n=12, *, dense):
    """One population with common time constants: kept at one time if dense, neuron by neuron if sparse."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.1, 0.4, (n, n)) * (rng.random((n, n)) < 0.2)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population(
        "loop", n, es.LIF(10e-3, 5e-3, v_leak=rng.uniform(-0.3, 1.2, n), t_ref=rng.choice([0.0, 1e-3]))
    )
    inputs = rng.normal(1.0, 1.0, (n, 3)) * (rng.random((n, 3)) < 0.2)
    net.connect("in", "loop", inputs if dense else sp.csr_array(inputs))
    net.connect("loop", "loop", weight if dense else sp.csr_array(weight), delay=1e-3)
    trains = es.SpikeTrains.from_lists([[np.sort(rng.uniform(0, 30e-3, 4)) for _ in range(3)]])
    return es.solve(net, {"in": trains}, 40e-3, max_spikes=5000)


@pytest.mark.parametrize("seed", range(12))
def test_neurons_together_and_alone_are_the_same_neurons(seed):
    together, alone = alike(seed, dense=True), alike(seed, dense=False)
    assert together.layer("loop").efferents.dense.all()
    assert not alone.layer("loop").efferents.dense.any()
    np.testing.assert_array_equal(together.spikes["loop"].neurons, alone.spikes["loop"].neurons)
    # they advance over other intervals, and round otherwise; what rounding does to times grows along a loop
    late = sum(es.gradient_condition(solution).time_error["loop"] for solution in (together, alone))
    assert (np.abs(together.spikes["loop"].times - alone.spikes["loop"].times) <= late).all()
    assert np.median(late) < 1e-9 * together.t_end


def test_a_zero_delay_moves_currents_at_once_and_voltages_later():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 2, NEURON)
    net.connect("in", "a", [[8.0], [0.0]])
    net.connect("a", "a", [[0.0, 0.0], [9.0, 0.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 10e-3)
    first, second = solution.spikes["a"].first()[0]
    assert second > first
    assert solution.current("a", [first])[0, 1, 0] == 9.0
    assert solution.voltage("a", [first])[0, 1, 0] == 0.0


class TestDelta:
    def net(self, weight, *, neuron=NEURON, delay=0.0):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 1, neuron)
        net.connect("in", "out", [[weight]], delay=delay, synapse="delta")
        return net

    def solve(self, net, times, t_end=20e-3):
        return es.solve(net, {"in": es.SpikeTrains.from_lists([[times]])}, t_end)

    def test_the_voltage_jumps_and_decays(self):
        solution = self.solve(self.net(0.5), [1e-3])
        v = solution.voltage("out", [0.9e-3, 1e-3, 11e-3])[0, 0]
        np.testing.assert_allclose(v, [0.0, 0.5, 0.5 * math.exp(-0.5)], rtol=1e-15)

    def test_a_triggered_spike_has_the_time_of_its_arrival(self):
        solution = self.solve(self.net(1.0, delay=2e-3), [1e-3, 5e-3])
        np.testing.assert_array_equal(solution.spikes["out"].times, np.array([1e-3, 5e-3]) + 2e-3)
        grads = es.vjp(solution, {"out": [1.0, 10.0]})
        np.testing.assert_array_equal(grads.spike_times["in"], [1.0, 10.0])
        assert grads.delay["in", "out"] == 11.0
        assert grads.weight["in", "out"] == 0.0

    def test_just_below_threshold_nothing_happens(self):
        assert self.solve(self.net(np.nextafter(1.0, 0.0)), [1e-3]).spikes["out"].n_spikes == 0

    def test_subtraction_keeps_the_excess(self):
        neuron = es.LIF(20e-3, 5e-3, v_reset=-0.25, reset="subtract")
        solution = self.solve(self.net(1.75, neuron=neuron), [1e-3])
        assert solution.voltage("out", [1e-3])[0, 0, 0] == 0.5
        value = self.solve(self.net(1.75, neuron=es.LIF(20e-3, 5e-3, v_reset=-0.25)), [1e-3])
        assert value.voltage("out", [1e-3])[0, 0, 0] == -0.25

    def test_a_held_voltage_ignores_it(self):
        neuron = es.LIF(20e-3, 5e-3, t_ref=3e-3)
        solution = self.solve(self.net(1.5, neuron=neuron), [1e-3, 2e-3, 3.9e-3, 4.5e-3])
        np.testing.assert_array_equal(solution.spikes["out"].times, [1e-3, 4.5e-3])

    def test_at_the_time_of_an_input_at_zero(self):
        np.testing.assert_array_equal(self.solve(self.net(2.0), [0.0]).spikes["out"].times, [0.0])

    def test_two_spikes_at_one_time_are_refused_by_name(self):
        net = self.net(2.5, neuron=es.LIF(20e-3, 5e-3, reset="subtract"))
        with pytest.raises(
            es.RepeatedSpikeError, match=r"neuron 0 of 'out' in sample 0 would spike twice at 0\.001 s"
        ) as e:
            self.solve(net, [1e-3])
        assert e.value.solution.spikes["out"].n_spikes == 0

    def test_an_li_readout_jumps_and_its_largest_voltage_may_be_the_jump(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 2, es.LI(20e-3, 5e-3))
        net.connect("in", "out", [[1.0], [0.3]], synapse="delta", delay=1e-3)
        solution = self.solve(net, [1e-3, 6e-3])
        maxima = solution.maxima("out")
        expected = 1.0 + math.exp(-0.25)
        np.testing.assert_allclose(maxima.value[0], [expected, 0.3 * expected], rtol=1e-15)
        np.testing.assert_array_equal(maxima.time[0], [7e-3, 7e-3])
        # dV_max/dt of the second arrival is V' before it, of the first what its decay leaves
        _, grads = es.value_and_grad(solution, es.losses.MaxVoltageCrossEntropy("out", [0]))
        p = 1 / (1 + math.exp(0.7 * expected))
        slope = -p * 0.7 * math.exp(-0.25) / 20e-3
        np.testing.assert_allclose(grads.spike_times["in"], [slope, -slope], rtol=1e-12)
        np.testing.assert_allclose(grads.weight["in", "out"][:, 0], [-p * expected, p * expected], rtol=1e-12)


def test_initial_states_have_their_closed_form():
    net = es.Network()
    net.add_population("free", 1, es.LI(20e-3, 5e-3, v_leak=0.2, v_initial=0.7, i_initial=0.5))
    net.add_population("fires", 1, es.LIF(20e-3, 5e-3, v_leak=2.0, v_initial=0.5))
    solution = es.solve(net, {}, 10e-3)
    t = 4e-3
    a, b = math.exp(-t / 20e-3), math.exp(-t / 5e-3)
    want = 0.2 + 0.5 * a + 0.5 * 5 / (5 - 20) * (b - a)
    assert solution.voltage("free", [t])[0, 0, 0] == pytest.approx(want, rel=1e-14, abs=0.0)
    crossing = 20e-3 * math.log(1.5 / 1.0)
    assert solution.spikes["fires"].times[0] == pytest.approx(crossing, rel=1e-14, abs=0.0)
    grads = es.vjp(solution, {"fires": [1.0]})
    # V(t) = 2 - 1.5 exp(-t/tau): dt/dV(0) = -exp(-t/tau)/V'
    assert grads.v_initial["fires"][0] == pytest.approx(-20e-3 / 1.5, rel=1e-13, abs=0.0)


class TestErrors:
    def runaway(self, delay):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("calm", 1, NEURON)
        net.add_population("loop", 2, NEURON)
        net.connect("in", "calm", [[8.0]])
        net.connect("in", "loop", [[8.0], [8.5]])
        net.connect("loop", "loop", np.full((2, 2), 50.0), delay=delay)
        return net, {"in": es.SpikeTrains.from_lists([[[0.0]], [[]]])}

    @pytest.mark.parametrize("delay", [0.0, 1e-4])
    def test_a_runaway_loop_ends_at_its_budget_and_gives_what_it_has(self, delay):
        net, inputs = self.runaway(delay)
        with pytest.raises(
            es.SpikeBudgetError, match="of 'loop' in sample 0 makes more than max_spikes = 100"
        ) as e:
            es.solve(net, inputs, 1.0, max_spikes=100)
        assert 0 < e.value.time < 1.0
        before = e.value.solution
        assert before.spikes["loop"].n_spikes <= 100
        assert before.spikes["loop"].times.max(initial=0.0) < e.value.time
        full = es.solve(net, inputs, before.t_end)
        np.testing.assert_array_equal(before.spikes["calm"].times, full.spikes["calm"].times)

    def test_the_budget_holds_without_cycles_too(self):
        net = es.Network()
        net.add_population("tonic", 1, es.LIF(1e-3, 1e-3, v_leak=50.0))
        with pytest.raises(es.SpikeBudgetError, match="'tonic'"):
            es.solve(net, {}, 10.0, max_spikes=1000)

    @pytest.mark.parametrize("budget", [-1, 1.5, True, "many", math.nan])
    def test_a_bad_budget(self, budget):
        with pytest.raises(ValueError, match="max_spikes"):
            es.solve(es.Network(), {}, 1.0, max_spikes=budget)

    @pytest.mark.parametrize("cyclic", [False, True])
    def test_two_spikes_within_an_ulp(self, cyclic):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("fast", 1, es.LIF(1e-3, 1e-3))
        net.connect("in", "fast", [[1e18]])
        if cyclic:
            net.connect("fast", "fast", [[0.0]])
        with pytest.raises(es.RepeatedSpikeError, match="'fast'") as e:
            es.solve(net, {"in": es.SpikeTrains.from_lists([[[1.0]]])}, 2.0)
        assert e.value.time == pytest.approx(1.0)
        assert e.value.solution.t_end < e.value.time

    def test_initial_states_that_do_not_fit(self):
        loop = Loop(3)
        net = loop.network()
        state = es.solve(net, loop.trains(high=10e-3), 10e-3).final_state
        later = loop.trains(low=10e-3)
        with pytest.raises(ValueError, match="t_end must not be before"):
            es.solve(net, loop.trains(low=10e-3, high=5e-3), 5e-3, initial=state)
        with pytest.raises(ValueError, match=r"inputs\['in'\] must lie after"):
            es.solve(net, loop.trains(), 50e-3, initial=state)
        with pytest.raises(ValueError, match="initial has 2 samples"):
            es.solve(net, {"in": later["in"].select([0])}, 50e-3, initial=state)
        with pytest.raises(
            ValueError, match="initial must have as many neurons as the network: 10 in the cycle"
        ):
            es.solve(Loop(3, n=5).network(), later, 50e-3, initial=state)
        with pytest.raises(TypeError, match="initial must be the final_state"):
            es.solve(net, later, 50e-3, initial=10e-3)


@pytest.mark.parametrize("seed", [seed for seed in range(26) if seed != 3])  # which runs away
def test_spikes_are_those_of_the_multiprecision_solver(seed):
    loop = Loop(seed, n=3, t_end=25e-3)
    solution = loop.solve()
    truth = multiprecision.solve(loop.network(), loop.trains(), loop.t_end, digits=25)
    for name in ("a", "b"):
        got, want = solution.spikes[name], truth.to_spiketrains(name)
        np.testing.assert_array_equal(got.counts(), want.counts())
        np.testing.assert_array_equal(got.neurons, want.neurons)
        reach = spread(solution, name)
        assert (np.abs(got.times - want.times) <= reach).all()


def spread(solution, name):
    """Bound the error of every spike time to first order: that of V at every crossing, by what depends on it."""
    eps, names = np.finfo(float).eps, ("a", "b")
    local = {}
    for other in names:
        spikes, population = solution.spikes[other], solution.network.population(other)
        current = solution.current(other, spikes.times)[
            spikes.samples, spikes.neurons, np.arange(spikes.n_spikes)
        ]
        tau_mem, threshold, leak = (
            population.parameter(p)[spikes.neurons] for p in ("tau_mem", "v_threshold", "v_leak")
        )
        slope = np.abs(leak - threshold + current) / tau_mem
        arrivals = sum(
            solution.spikes[p.pre].counts().sum(axis=1).max() for p in solution.network.afferents(other)
        )
        size = sum(np.abs(p.weight).max() for p in solution.network.afferents(other)) * (1 + arrivals)
        local[other] = 8 * eps * (2 + arrivals) * (size + 3) / slope + eps * solution.t_end
    local["in"] = np.zeros(solution.spikes["in"].n_spikes)
    bounds = []
    for k in range(solution.spikes[name].n_spikes):
        reach = es.vjp(solution, {name: np.arange(solution.spikes[name].n_spikes) == k}).spike_times
        bounds.append(sum(np.abs(reach[other]) @ local[other] for other in (*names, "in")))
    return np.array(bounds)


@pytest.mark.parametrize("loop", [None, np.asarray, sp.csr_array])
def test_a_jump_to_the_threshold_itself_makes_a_spike(loop):
    """V is 0 before it, and weights are a rounding below the threshold, the threshold, and a rounding above it."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 3, es.LIF(20e-3, 5e-3))
    weight = (loop or np.asarray)([[np.nextafter(1.0, 0.0)], [1.0], [np.nextafter(1.0, 2.0)]])
    net.connect("in", "out", weight, synapse="delta")
    if loop is not None:  # in which neurons are advanced together, or one by one
        net.connect("out", "out", loop(np.eye(3) * 1e-300), delay=1e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[2e-3]]])}
    solution = es.solve(net, inputs, 10e-3)
    spikes = solution.spikes["out"]
    assert spikes.neurons.tolist() == [1, 2]
    assert spikes.times.tolist() == [2e-3, 2e-3]
    # by the arrival, with which it moves, and not by a crossing, which V would leave falling
    assert es.vjp(solution, {"out": [1.0, 1.0]}).spike_times["in"].tolist() == [2.0]
    assert [neuron for _, neuron in multiprecision.solve(net, inputs, 10e-3).spikes["out"][0]] == [1, 2]
