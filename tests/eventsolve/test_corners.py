"""Every corner, with the behaviour that is stated for it."""

import math

import numpy as np
import pytest
from mpmath import mp, mpf

import eventsolve as es
from eventsolve import multiprecision

EPS = 2.0**-52


def one(weight, neuron, times, t_end, **options):
    """One neuron with one synapse."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, neuron)
    net.connect("in", "out", [[weight]], **options)
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[times]])}, t_end)


def peak_weight(tau_mem, tau_syn):
    """The weight whose response peaks at exactly 1, in many digits."""
    with mp.workdps(40):
        a, b = mpf(tau_mem), mpf(tau_syn)
        t = a if a == b else a * b / (a - b) * mp.log(a / b)
        k = t / a * mp.exp(-t / a) if a == b else b / (b - a) * (mp.exp(-t / b) - mp.exp(-t / a))
        return 1 / k


@pytest.mark.parametrize("distance", [0.0, EPS, 2 * EPS, 8 * EPS, 1e-14, 1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("constants", [(20e-3, 5e-3), (5e-3, 5e-3), (5e-3, 5e-3 * (1 + 1e-9)), (4e-3, 9e-3)])
def test_grazing_from_either_side(distance, side, constants):
    weight = float(peak_weight(*constants) * (1 + side * mpf(distance)))
    neuron = es.LIF(*constants)
    solution = one(weight, neuron, [0.0], 0.1)
    with mp.workdps(40):
        above = mpf(weight) / peak_weight(*constants) - 1
    spikes = solution.spikes["out"].n_spikes
    if abs(above) > 64 * EPS:
        assert spikes == (above > 0)
    elif spikes != (above > 0):
        assert solution.warnings  # float64 cannot decide, and says so
    if abs(above) < 2 * EPS:
        assert solution.warnings
    if spikes and above > 1e-13:
        truth = multiprecision.solve(solution.network, {"in": solution.spikes["in"]}, 0.1, digits=25)
        slope = math.sqrt(2 * float(above))  # of the parabola below the peak, over its time constants
        error = abs(solution.spikes["out"].times[0] - float(truth.spikes["out"][0][0][0]))
        assert error <= 64 * EPS * max(constants) / slope


class TestTies:
    def test_deliveries_at_one_time_add_up(self):
        net = es.Network()
        net.add_input("in", 3)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[3.0, 4.0, -1.0]])
        together = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [1e-3], [1e-3]]])}, 0.05)
        alone = one(6.0, es.LIF(20e-3, 5e-3), [1e-3], 0.05)
        np.testing.assert_array_equal(together.spikes["out"].times, alone.spikes["out"].times)

    def test_spikes_of_two_neurons_at_one_time_come_by_neuron(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("pair", 2, es.LIF(20e-3, 5e-3))
        net.connect("in", "pair", [[8.0], [8.0]])
        net.connect("pair", "pair", [[0.0, 1.0], [1.0, 0.0]], delay=1e-3)
        spikes = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 0.02).spikes["pair"]
        np.testing.assert_array_equal(spikes.neurons[:2], [0, 1])
        assert spikes.times[0] == spikes.times[1]

    def test_a_crossing_comes_before_a_delivery_at_its_time(self):
        neuron = es.LIF(20e-3, 5e-3)
        crossing = one(8.0, neuron, [0.0], 0.05).spikes["out"].times[0]
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 1, neuron)
        net.connect("in", "out", [[8.0, -100.0]])
        tied = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [crossing]]])}, 0.05)
        np.testing.assert_array_equal(tied.spikes["out"].times, [crossing])

    def test_the_same_deltas_at_one_time_come_by_source(self):
        net = es.Network()
        net.add_input("in", 3)
        net.add_population("out", 1, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", [[0.6, 0.6, 0.3]], synapse="delta")
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3], [1e-3], [1e-3]]])}, 0.05)
        np.testing.assert_array_equal(solution.spikes["out"].times, [1e-3])
        assert solution.voltage("out", [1e-3])[0, 0, 0] == 0.3
        # the second one lifted V to the threshold: the spike has its time
        grads = es.vjp(solution, {"out": [1.0]})
        np.testing.assert_array_equal(grads.spike_times["in"], [0.0, 1.0, 0.0])


def test_spikes_at_zero_and_at_the_end():
    neuron = es.LIF(20e-3, 5e-3)
    crossing = one(8.0, neuron, [0.0], 0.05).spikes["out"].times[0]
    assert one(8.0, neuron, [0.0], crossing).spikes["out"].times.tolist() == [crossing]
    assert one(8.0, neuron, [0.0], np.nextafter(crossing, 0)).spikes["out"].n_spikes == 0
    at_end = one(8.0, neuron, [0.05], 0.05)
    assert at_end.current("out", [0.05])[0, 0, 0] == 8.0
    assert one(2.0, neuron, [0.0], 0.0, synapse="delta").spikes["out"].times.tolist() == [0.0]


RATIOS = [10.0**k for k in (-3, -2, -1, 1, 2, 3)]
RATIOS += [1.0 + side * 10.0**-k for k in range(1, 17) for side in (-1, 1)]


@pytest.mark.parametrize("ratio", RATIOS)
def test_every_ratio_of_the_time_constants(ratio):
    tau_syn = 5e-3
    weight = 2.5 * float(peak_weight(ratio * tau_syn, tau_syn))
    t_end = 4 * tau_syn * min(1.0, 30 * ratio)
    solution = one(weight, es.LIF(ratio * tau_syn, tau_syn), [0.0], t_end)
    truth = multiprecision.solve(solution.network, {"in": solution.spikes["in"]}, t_end, digits=25)
    got, want = solution.spikes["out"].times, truth.to_spiketrains("out").times
    assert got.size == want.size > 0
    # spike after spike, each with a few roundings of the terms of V over its slope, which is at least about 1/tau_mem
    np.testing.assert_allclose(
        got, want, rtol=64 * EPS * got.size, atol=64 * EPS * got.size * ratio * tau_syn
    )


@pytest.mark.parametrize("exponent", [-300, -30, -3, 3, 6])
def test_weights_of_every_size(exponent):
    weight = 10.0**exponent
    t_end = 2e-3 if exponent < 6 else 2e-6
    solution = one(weight, es.LIF(20e-3, 5e-3), [0.0], t_end)
    v = solution.voltage("out", [t_end / 2])[0, 0, 0]
    truth = multiprecision.solve(solution.network, {"in": solution.spikes["in"]}, t_end, digits=25)
    got, want = solution.spikes["out"].times, truth.to_spiketrains("out").times
    assert (got.size > 0) == (exponent > 0)
    np.testing.assert_allclose(got, want, rtol=16 * EPS * max(1, got.size))
    if exponent < 0:
        assert v == pytest.approx(float(truth.voltage("out", 0, 0, t_end / 2)), rel=8 * EPS, abs=0.0)


def test_denormal_numbers_are_numbers():
    solution = one(5e-324, es.LIF(20e-3, 5e-3), [5e-324], 1e-3)
    assert solution.current("out", [5e-324])[0, 0, 0] == 5e-324
    assert solution.spikes["out"].n_spikes == 0


def test_a_silence_of_a_million_time_constants():
    neuron = es.LIF(20e-3, 5e-3)
    start = 20e-3 * 1e6
    late = one(8.0, neuron, [0.0, start], start + 0.05)
    early = one(8.0, neuron, [0.0], 0.05).spikes["out"].times
    got = late.spikes["out"].times
    np.testing.assert_array_equal(got[: early.size], early)
    np.testing.assert_allclose(got[early.size :] - start, early, rtol=0, atol=np.spacing(start))


def test_a_million_tonic_spikes():
    tau, leak = 1e-3, 1.5
    net = es.Network()
    net.add_population("tonic", 1, es.LIF(tau, tau, v_leak=leak))
    period = tau * math.log(leak / (leak - 1))
    n = 1_000_000
    times = es.solve(net, {}, (n + 0.5) * period).spikes["tonic"].times
    assert times.size == n
    # each adds the rounding of a sum of times, of either sign or, at worst, of one
    np.testing.assert_allclose(times, period * np.arange(1, n + 1), rtol=n * EPS)


def test_a_late_rebound_long_after_inhibition():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_leak=1.0 + 1e-12))
    net.connect("in", "out", [[-1e3]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 1.0)
    truth = multiprecision.solve(net, {"in": solution.spikes["in"]}, 1.0, digits=25)
    (got,), (want,) = solution.spikes["out"].times, truth.to_spiketrains("out").times
    assert got > 0.5
    # V creeps up to the threshold: its slope is 1e-12 / tau_mem
    assert got == pytest.approx(want, abs=64 * EPS / 1e-12 * 20e-3)


def test_two_crossings_within_an_ulp_of_time():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("pair", 2, es.LIF(20e-3, 5e-3, v_threshold=[1.0, 1.0 + EPS]))
    net.connect("in", "pair", [[8.0], [8.0]])
    net.connect("pair", "pair", [[0.0, -1.0], [-1.0, 0.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 3e-3)
    truth = multiprecision.solve(net, {"in": solution.spikes["in"]}, 3e-3, digits=30)
    np.testing.assert_array_equal(solution.spikes["pair"].neurons, truth.to_spiketrains("pair").neurons)


class TestNothing:
    def test_no_neurons(self):
        net = es.Network()
        net.add_input("in", 0)
        net.add_population("out", 0, es.LIF(20e-3, 5e-3))
        net.connect("in", "out", np.zeros((0, 0)))
        net.connect("out", "out", np.zeros((0, 0)), delay=1e-3)
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[]], n_neurons=0)}, 1.0)
        assert solution.spikes["out"].n_spikes == 0
        assert es.vjp(solution, {"out": []}).weight["out", "out"].shape == (0, 0)

    def test_an_empty_batch(self):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("loop", 2, es.LIF(20e-3, 5e-3))
        net.connect("in", "loop", np.ones((2, 2)))
        net.connect("loop", "loop", np.ones((2, 2)))
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([], n_neurons=2)}, 1.0)
        assert solution.voltage("loop", [0.5]).shape == (0, 2, 1)
        assert solution.final_state.n_samples == 0
        assert es.vjp(solution, {}, reduction="none").v_leak["loop"].shape == (0, 2)

    def test_an_empty_network(self):
        assert dict(es.solve(es.Network(), {}, 1.0).spikes) == {}

    def test_no_time(self):
        net = es.Network()
        net.add_population("loop", 1, es.LIF(20e-3, 5e-3, v_leak=2.0))
        net.connect("loop", "loop", [[1.0]])
        assert es.solve(net, {}, 0.0).spikes["loop"].n_spikes == 0

    @pytest.mark.parametrize("field", ["v_initial"])
    def test_neurons_that_start_at_the_threshold_are_refused(self, field):
        with pytest.raises(
            ValueError, match=f"{field} must be below v_threshold; got {field} 1.0 with v_threshold 1.0"
        ):
            es.LIF(20e-3, 5e-3, **{field: 1.0})
