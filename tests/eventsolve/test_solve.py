"""The float64 solver against the multiprecision one, in every regime that it covers, and its bad inputs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from networks import EPS, RATIOS, gradient_bounds, random_case, time_bounds

import eventsolve as es
from eventsolve import multiprecision

INF = math.inf


def one_neuron(neuron, weight=1.0, delay=0.0):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, neuron)
    net.connect("in", "out", [[weight]], delay=delay)
    return net


def times(net, inputs, t_end, population="out"):
    trains = es.SpikeTrains.from_lists([[inputs]])
    return es.solve(net, {"in": trains}, t_end).spikes[population].times


def assert_times_are_exact(net, inputs, t_end):
    """Assert that spike times are those in many digits, to what rounding does to them; return how many there are."""
    solution = es.solve(net, inputs, t_end)
    want = multiprecision.solve(net, inputs, t_end).to_spiketrains("out")
    found, bounds = solution.spikes["out"], es.gradient_condition(solution).time_error["out"]
    np.testing.assert_array_equal(found.neurons, want.neurons)
    assert (np.abs(found.times - want.times) <= bounds + EPS * want.times).all()
    assert bounds.max() < 1e-3 * np.diff(want.times).min(initial=t_end)  # else it says nothing
    return solution


def assert_as_multiprecision(case):
    solution = case.solve()
    truth = multiprecision.solve(case.net, case.inputs, case.t_end, digits=25)
    bounds = time_bounds(solution)
    for name in ("hidden", "out"):
        spikes, want = solution.spikes[name], truth.to_spiketrains(name)
        assert np.array_equal(spikes.counts(), want.counts())
        assert np.array_equal(spikes.neurons, want.neurons)
        assert (np.abs(spikes.times - want.times) <= bounds[name] + EPS * want.times).all()
    return solution, truth


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("seed", range(4))
def test_every_ratio_of_time_constants(ratio, seed):
    # a fast membrane fires thousands of times in the whole trial
    t_end = 12e-3 if ratio < 0.5 else 50e-3
    assert_as_multiprecision(replace(random_case(1000 + seed, ratio=ratio, leak=False), t_end=t_end))


@pytest.mark.parametrize("tau_mem", [5e-3, 10e-3, 20e-3, 17.3e-3])
def test_yinyang_at_other_time_constants(tau_mem):
    rng = np.random.default_rng(1)
    neuron = es.LIF(tau_mem=tau_mem, tau_syn=5e-3)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 12, neuron)
    net.add_population("out", 3, neuron)
    net.connect("in", "hidden", rng.normal(1.5, 0.78, (12, 5)))
    net.connect("hidden", "out", rng.normal(0.93, 0.1, (3, 12)))
    points = rng.uniform(0, 30e-3, (2, 5))
    inputs = {"in": es.SpikeTrains.from_dense(points)}
    solution = es.solve(net, inputs, t_end=60e-3)
    truth = multiprecision.solve(net, inputs, t_end=60e-3, digits=25)
    bounds = es.gradient_condition(solution).time_error
    for name in ("hidden", "out"):
        want = truth.to_spiketrains(name)
        assert np.array_equal(solution.spikes[name].neurons, want.neurons)
        assert (np.abs(solution.spikes[name].times - want.times) <= bounds[name] + EPS * want.times).all()


def test_gradients_are_those_of_the_multiprecision_solver():
    case = random_case(3, n_samples=1)
    solution, _ = assert_as_multiprecision(case)
    cotangent = np.cos(np.arange(solution.spikes["out"].n_spikes))
    grads = es.vjp(solution, {"out": cotangent})

    def loss(exact):
        return sum(c * t for c, (t, _) in zip(cotangent.tolist(), exact.spikes["out"][0], strict=True))

    wanted = [("weight", ("in", "out")), ("delay", ("hidden", "out")), ("spike_times", "in")]
    wanted += [(p, "hidden") for p in ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref")]
    truth = multiprecision.gradient(case.net, case.inputs, case.t_end, loss, wanted, digits=15)
    bounds = gradient_bounds(solution, {"out": cotangent})
    for parameter, want in truth.items():
        got = np.asarray(getattr(grads, parameter[0])[parameter[1]], dtype=float).reshape(-1)
        want = np.array([float(x) for x in np.ravel(want)])
        room = bounds[parameter[0]] + 1e-15 * np.abs(want).max()  # and the digits that were asked for
        np.testing.assert_allclose(got, want, rtol=0, atol=room, err_msg=parameter[0])
        assert np.abs(want).max() > 1e6 * room


def test_many_spikes_between_two_inputs():
    net = one_neuron(es.LIF(tau_mem=20e-3, tau_syn=50e-3), weight=40.0)
    solution = assert_times_are_exact(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.1)
    assert solution.spikes["out"].n_spikes > 50


def test_a_bias_above_threshold_fires_with_its_closed_form_period():
    tau, leak, reset = 20e-3, 1.5, -0.25
    net = es.Network()
    net.add_population("out", 1, es.LIF(tau, 5e-3, v_leak=leak, v_reset=reset))
    spikes = es.solve(net, {}, 1.0).spikes["out"].times
    first = tau * math.log(leak / (leak - 1.0))
    period = tau * math.log((leak - reset) / (leak - 1.0))
    # the state is reset at each spike, so only the additions of times accumulate
    want = first + period * np.arange(spikes.size)
    assert spikes.size == 1 + int((1.0 - first) / period)
    np.testing.assert_allclose(spikes, want, rtol=4 * EPS * spikes.size)


def test_a_rebound_after_inhibition():
    net = one_neuron(es.LIF(20e-3, 5e-3, v_leak=1.01), weight=-30.0)
    solution = assert_times_are_exact(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 0.3)
    assert solution.spikes["out"].n_spikes > 0


def test_the_voltage_is_held_for_the_refractory_period_while_the_current_integrates():
    net = one_neuron(es.LIF(20e-3, 5e-3, v_reset=0.1, t_ref=4e-3), weight=20.0)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 2e-3]]])}, 0.05)
    spike = solution.spikes["out"].times[0]
    assert np.diff(solution.spikes["out"].times).min() > 4e-3
    held = spike + np.array([0.0, 1e-3, 3.9e-3])
    np.testing.assert_array_equal(solution.voltage("out", held)[0, 0], 0.1)
    got = solution.current("out", [held[1]])[0, 0, 0]
    arrivals = [t for t in (0.0, 2e-3) if t <= held[1]]
    assert got == pytest.approx(
        sum(20.0 * math.exp(-(held[1] - t) / 5e-3) for t in arrivals), rel=1e-14, abs=0.0
    )


@pytest.mark.parametrize("neuron", [es.LIF(20e-3, 5e-3, v_leak=0.2), es.LI(7e-3, 7e-3, v_leak=-0.3)])
def test_states_are_those_of_the_multiprecision_solver(neuron):
    net = one_neuron(neuron, weight=12.0, delay=1e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[2e-3, 9e-3]]])}
    asked = np.array([0.0, 2.5e-3, 30e-3, 9e-3, 50e-3])
    solution = es.solve(net, inputs, 50e-3)
    exact = multiprecision.solve(net, inputs, 50e-3)
    for k, t in enumerate(asked):
        want = float(exact.voltage("out", 0, 0, float(t)))
        assert solution.voltage("out", asked)[0, 0, k] == pytest.approx(want, rel=1e-11, abs=1e-12)


def test_sparse_weights_are_dense_weights_with_fewer_synapses():
    rng = np.random.default_rng(5)
    dense = np.where(rng.random((6, 4)) < 0.5, rng.normal(5, 2, (6, 4)), 0.0)
    solutions = []
    for weight in (dense, sp.csc_array(dense)):
        net = es.Network()
        net.add_input("in", 4)
        net.add_population("out", 6, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", weight)
        solutions.append(
            es.solve(net, {"in": es.SpikeTrains.from_dense(rng.permutation(4)[None] * 1e-3)}, 0.05)
        )
        rng = np.random.default_rng(5)
        rng.random((6, 4)), rng.normal(5, 2, (6, 4))
    a, b = solutions
    late = 2 * es.gradient_condition(a).time_error["out"]
    assert (np.abs(a.spikes["out"].times - b.spikes["out"].times) <= late).all()
    ones = np.ones(a.spikes["out"].n_spikes)
    full, stored = (es.vjp(s, {"out": ones}).weight["in", "out"] for s in solutions)
    assert sp.issparse(stored)
    assert stored.nnz == np.count_nonzero(dense)
    room = 2 * gradient_bounds(a, {"out": ones})["weight"]
    np.testing.assert_allclose(stored.toarray(), np.where(dense != 0, full, 0.0), rtol=0, atol=room)
    assert np.abs(full).max() > 1e6 * room


def test_several_projections_between_two_populations_and_several_inputs():
    net = es.Network()
    net.add_input("a", 1)
    net.add_input("b", 2)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("a", "out", [[6.0]])
    net.connect("b", "out", [[3.0, -1.0]], delay=[[1e-3, 0.0]])
    net.connect("a", "out", [[4.0]], delay=5e-3, name="late")
    inputs = {"a": es.SpikeTrains.from_lists([[[1e-3]]]), "b": es.SpikeTrains.from_lists([[[2e-3], [0.0]]])}
    solution = assert_times_are_exact(net, inputs, 0.05)
    grads = es.vjp(solution, {"out": np.ones(solution.spikes["out"].n_spikes)})
    assert grads.weight["a", "out", "late"].shape == (1, 1)
    assert set(grads.spike_times) == {"a", "b", "out"}


def test_a_grazing_peak_is_reported():
    # tau_mem = 2 tau_syn: the peak of a unit synapse is 1/4 at s = tau_mem ln 2, so weight 4 grazes threshold 1
    net = one_neuron(es.LIF(20e-3, 10e-3), weight=4.0)
    (warning,) = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.1).warnings
    assert warning.population == "out"
    assert warning.time == pytest.approx(20e-3 * math.log(2.0))
    assert "grazes" in str(warning)


@pytest.mark.parametrize(("factor", "n_spikes"), [(1 - 1e-12, 0), (1 + 1e-12, 1)])
def test_just_below_and_above_a_grazing_peak(factor, n_spikes):
    net = one_neuron(es.LIF(20e-3, 10e-3), weight=4.0 * factor)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.1)
    assert solution.spikes["out"].n_spikes == n_spikes
    assert solution.warnings == ()


class TestEmpty:
    def test_no_samples(self):
        case = random_case(0)
        empty = es.SpikeTrains.from_lists([], n_neurons=3)
        solution = es.solve(case.net, {"in": empty}, 0.05)
        assert solution.n_samples == 0
        assert solution.spikes["out"].first().shape == (0, 2)
        grads = es.vjp(solution, {"out": []})
        np.testing.assert_array_equal(grads.weight["in", "hidden"], np.zeros((4, 3)))
        assert es.vjp(solution, {"out": []}, reduction="none").weight["in", "hidden"].shape == (0, 4, 3)
        assert solution.voltage("out", [0.01]).shape == (0, 2, 1)

    def test_no_neurons_no_connections(self):
        net = es.Network()
        net.add_input("in", 0)
        net.add_population("out", 0, es.LIF(20e-3, 5e-3))
        net.add_population("alone", 2, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", np.zeros((0, 0)))
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[]])}, 0.05)
        assert solution.spikes["out"].n_spikes == solution.spikes["alone"].n_spikes == 0
        np.testing.assert_array_equal(solution.voltage("alone", [0.0, 0.05]), 0.0)

    def test_an_empty_network(self):
        assert dict(es.solve(es.Network(), {}, 1.0).spikes) == {}

    def test_t_end_zero(self):
        case = random_case(0)
        solution = es.solve(case.net, case.inputs, 0.0)
        assert solution.spikes["out"].n_spikes == 0
        np.testing.assert_array_equal(solution.voltage("out", [0.0]), 0.0)

    def test_no_input_spikes(self):
        case = random_case(0, leak=False)
        silence = es.SpikeTrains.from_lists([[[], [], []]])
        assert es.solve(case.net, {"in": silence}, 0.05).spikes["out"].n_spikes == 0


class TestBadInput:
    @pytest.fixture
    def case(self):
        return random_case(0)

    @pytest.mark.parametrize("t_end", [math.nan, INF, -1.0, "soon", None, [1.0, 2.0]])
    def test_t_end(self, case, t_end):
        with pytest.raises(ValueError, match="t_end"):
            es.solve(case.net, case.inputs, t_end)

    @pytest.mark.parametrize("threads", [0, -1, 1.5, True])
    def test_threads(self, case, threads):
        with pytest.raises(ValueError, match="threads"):
            es.solve(case.net, case.inputs, 0.05, threads=threads)

    def test_network(self, case):
        with pytest.raises(TypeError, match="network"):
            es.solve("net", case.inputs, 0.05)

    def test_inputs(self, case):
        trains = case.inputs["in"]
        with pytest.raises(ValueError, match="lack 'in'"):
            es.solve(case.net, {}, 0.05)
        with pytest.raises(ValueError, match="'inn'"):
            es.solve(case.net, {"in": trains, "inn": trains}, 0.05)
        with pytest.raises(TypeError, match="SpikeTrains"):
            es.solve(case.net, {"in": [[0.0]]}, 0.05)
        with pytest.raises(ValueError, match="3 neurons"):
            es.solve(case.net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.05)

    def test_batches_of_different_size(self):
        net = es.Network()
        net.add_input("a", 1)
        net.add_input("b", 1)
        one, two = es.SpikeTrains.from_lists([[[]]]), es.SpikeTrains.from_lists([[[]], [[]]])
        with pytest.raises(ValueError, match="one number of samples"):
            es.solve(net, {"a": one, "b": two}, 1.0)

    @pytest.mark.parametrize("asked", [[-1e-3], [0.06], [math.nan]])
    def test_voltage_times(self, case, asked):
        with pytest.raises(ValueError, match="times must lie in"):
            case.solve().voltage("out", asked)

    def test_voltage_names(self, case):
        with pytest.raises(ValueError, match="'nobody' is not a population"):
            case.solve().voltage("nobody", [0.0])
        with pytest.raises(ValueError, match="input"):
            case.solve().voltage("in", [0.0])
        with pytest.raises(ValueError, match="LI"):
            case.solve().maxima("out")

    def test_cotangents(self, case):
        solution = case.solve()
        n = solution.spikes["out"].n_spikes
        with pytest.raises(ValueError, match="nobody"):
            es.vjp(solution, {"nobody": []})
        with pytest.raises(ValueError, match=f"{n} spikes"):
            es.vjp(solution, {"out": np.zeros(n + 1)})
        with pytest.raises(ValueError, match="entry 1 is nan"):
            es.vjp(solution, {"out": [0.0, math.nan] + [0.0] * (n - 2)})
        with pytest.raises(ValueError, match="reduction"):
            es.vjp(solution, {}, reduction="mean")

    def test_a_solved_network_cannot_change(self, case):
        case.solve()
        with pytest.raises(RuntimeError, match="with_weights"):
            case.net.add_input("more", 1)

    def test_an_undefined_gradient_is_refused_by_place(self):
        # a spike recorded where a weaker network's voltage would not rise through the threshold
        net = one_neuron(es.LIF(20e-3, 5e-3), weight=8.0)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.05)
        solution = solution._with(network=net.with_weights({("in", "out"): [[1.0]]}))
        with pytest.raises(es.UndefinedGradientError, match="neuron 0 of 'out' in sample 0"):
            es.vjp(solution, {"out": [1.0]})
