"""Losses against formulas written out, and their gradients against central differences in multiprecision."""

import math

import numpy as np
import pytest
from networks import EPS

import eventsolve as es
from eventsolve import multiprecision

NEURON = es.LIF(20e-3, 5e-3)


def spiking(first, *, silent_label=False):
    """A population whose neurons spike first at about the given times: strong inputs, one each."""
    n = len(first)
    net = es.Network()
    net.add_input("in", n)
    net.add_population("out", n, NEURON)
    net.connect("in", "out", np.diag([0.0 if silent_label else 30.0] + [30.0] * (n - 1)))
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[[t] for t in first]])}, 0.05)


class TestTTFSCrossEntropy:
    def loss(self, labels=(1,), **changes):
        return es.losses.TTFSCrossEntropy(
            "out", list(labels), **{"tau0": 2e-3, "tau1": 6e-3, "alpha": 0.1, **changes}
        )

    def test_value_and_gradient(self):
        solution = spiking([1e-3, 2e-3, 4e-3])
        t = solution.spikes["out"].first()[0]
        p = np.exp(-t / 2e-3) / np.exp(-t / 2e-3).sum()
        want = t[1] / 2e-3 + math.log(np.exp(-t / 2e-3).sum()) + 0.1 * (math.exp(t[1] / 6e-3) - 1)
        value, grads = es.value_and_grad(solution, self.loss())
        assert value == pytest.approx(want, rel=1e-13, abs=0.0)
        explicit = -p / 2e-3
        explicit[1] += 1 / 2e-3 + 0.1 / 6e-3 * math.exp(t[1] / 6e-3)
        index = solution.spikes["out"].first_index()[0]
        got = es.losses.TTFSCrossEntropy.evaluate(self.loss(), solution).spike_times["out"]
        np.testing.assert_allclose(got[index], explicit, rtol=1e-12)
        assert np.count_nonzero(got) == 3  # later spikes do not count
        assert grads.silent_samples.size == 0

    def test_silent_label(self):
        solution = spiking([1e-3, 2e-3], silent_label=True)
        with pytest.raises(ValueError, match=r"silent in 1 of 1 samples \(0\)"):
            es.value_and_grad(solution, self.loss([0]))
        value, grads = es.value_and_grad(solution, self.loss([0], silent="skip"))
        assert value == 0.0
        np.testing.assert_array_equal(grads.weight["in", "out"], 0.0)
        np.testing.assert_array_equal(grads.silent_samples, [0])
        t = np.array([0.05, solution.spikes["out"].first()[0, 1]])
        value, grads = es.value_and_grad(solution, self.loss([0], silent="t_end"))
        want = t[0] / 2e-3 + np.logaddexp(-t[0] / 2e-3, -t[1] / 2e-3) + 0.1 * math.expm1(t[0] / 6e-3)
        assert value == pytest.approx(want, rel=1e-13, abs=0.0)
        np.testing.assert_array_equal(grads.silent_samples, [0])

    def test_other_outputs_may_be_silent(self):
        solution = spiking([1e-3, 2e-3], silent_label=True)
        value, grads = es.value_and_grad(solution, self.loss([1]))
        t = solution.spikes["out"].first()[0, 1]
        assert value == pytest.approx(0.1 * math.expm1(t / 6e-3), rel=1e-12, abs=0.0)
        assert grads.silent_samples.size == 0

    @pytest.mark.parametrize("name", ["tau0", "tau1", "alpha"])
    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
    def test_constants(self, name, value):
        with pytest.raises(ValueError, match=name):
            self.loss(**{name: value})

    def test_labels(self):
        solution = spiking([1e-3, 2e-3])
        for labels, message in (([5], "0..1"), ([-1], "0..1"), ([0, 1], "1 samples")):
            with pytest.raises(ValueError, match=message):
                es.value_and_grad(solution, self.loss(labels))
        with pytest.raises(ValueError, match="integers"):
            self.loss([0.5])
        with pytest.raises(ValueError, match="silent"):
            self.loss(silent="ignore")
        with pytest.raises(ValueError, match="not a population"):
            es.value_and_grad(
                solution, es.losses.TTFSCrossEntropy("nobody", [0], tau0=1.0, tau1=1.0, alpha=0.0)
            )


def test_target_time_mse():
    solution = spiking([1e-3, 2e-3])
    t = solution.spikes["out"].first()
    targets = np.array([[3e-3, 1e-3]])
    loss = es.losses.TargetTimeMSE("out", targets)
    value, _ = es.value_and_grad(solution, loss)
    assert value == pytest.approx(0.5 * ((t - targets) ** 2).sum(), rel=1e-13, abs=0.0)
    got = loss.evaluate(solution).spike_times["out"][solution.spikes["out"].first_index()]
    np.testing.assert_allclose(got, t - targets, rtol=1e-13)
    with pytest.raises(ValueError, match="targets must have shape"):
        es.value_and_grad(solution, es.losses.TargetTimeMSE("out", [[1.0]]))
    with pytest.raises(ValueError, match="finite"):
        es.losses.TargetTimeMSE("out", [[math.inf, 0.0]])
    silent = spiking([1e-3, 2e-3], silent_label=True)
    with pytest.raises(ValueError, match="silent in 1"):
        es.value_and_grad(silent, loss)
    assert es.value_and_grad(silent, es.losses.TargetTimeMSE("out", targets, silent="skip"))[0] == 0.0
    late = es.value_and_grad(silent, es.losses.TargetTimeMSE("out", targets, silent="t_end"))[0]
    assert late == pytest.approx(
        0.5 * ((0.05 - 3e-3) ** 2 + (silent.spikes["out"].first()[0, 1] - 1e-3) ** 2)
    )


def test_relative_mse():
    solution = spiking([1e-3, 2e-3, 5e-3])
    t = solution.spikes["out"].first()[0]
    loss = es.losses.RelativeMSE("out", [0], gap=2e-3)
    errors = t[1:] - t[0] - 2e-3
    assert es.value_and_grad(solution, loss)[0] == pytest.approx(0.5 * (errors**2).sum(), rel=1e-12, abs=0.0)
    got = loss.evaluate(solution).spike_times["out"][solution.spikes["out"].first_index()[0]]
    np.testing.assert_allclose(got, [-errors.sum(), *errors], rtol=1e-12)
    with pytest.raises(ValueError, match="gap"):
        es.losses.RelativeMSE("out", [0], gap=math.nan)


def readout(weights, trains, tau_mem=10e-3, tau_syn=4e-3, delay=0.0, v_leak=0.0):
    net = es.Network()
    net.add_input("in", len(trains))
    net.add_population("out", len(weights), es.LI(tau_mem, tau_syn, v_leak=v_leak))
    net.connect("in", "out", weights, delay=delay)
    return net, {"in": es.SpikeTrains.from_lists([trains])}


def exact_loss(label, times):
    """-ln softmax of the voltages at the times of the maxima."""

    def loss(exact):
        ctx = exact.context
        values = []
        for neuron, time in enumerate(times):
            values.append(exact.voltage("out", 0, neuron, time))
        return ctx.log(sum(ctx.exp(v) for v in values)) - values[label]

    return loss


def test_maximum_voltage_in_the_interior():
    net, inputs = readout([[2.0, 1.0], [0.5, 1.5]], [[1e-3], [4e-3]], delay=1e-3)
    solution = es.solve(net, inputs, 0.05)
    maxima = solution.maxima("out")
    assert (maxima.arrival == -1).all()
    dense = solution.voltage("out", np.linspace(0, 0.05, 20001))[0]
    np.testing.assert_allclose(maxima.value[0], dense.max(axis=1), rtol=1e-7)
    value, grads = es.value_and_grad(solution, es.losses.MaxVoltageCrossEntropy("out", [0]))
    v = maxima.value[0]
    assert value == pytest.approx(math.log(np.exp(v).sum()) - v[0], rel=1e-13, abs=0.0)
    loss = exact_loss(0, [float(t) for t in maxima.time[0]])
    wanted = [
        ("weight", ("in", "out")),
        ("delay", ("in", "out")),
        ("spike_times", "in"),
        ("tau_mem", "out"),
        ("tau_syn", "out"),
        ("v_leak", "out"),
    ]
    for (field, key), want in multiprecision.gradient(net, inputs, 0.05, loss, wanted, digits=12).items():
        got = np.ravel(getattr(grads, field)[key])
        # the place of a maximum is first-order irrelevant, so its rounding enters squared
        np.testing.assert_allclose(
            got, [float(x) for x in np.ravel(want)], rtol=1e-9, atol=1e-12, err_msg=field
        )


def test_maximum_voltage_at_a_kink_moves_with_the_arrival():
    # a late inhibitory input cuts the rise: the maximum lies at its arrival
    net, inputs = readout([[2.0, -8.0]], [[0.0], [3e-3]])
    solution = es.solve(net, inputs, 0.05)
    maxima = solution.maxima("out")
    assert maxima.time[0, 0] == 3e-3
    assert maxima.arrival[0, 0] == 1

    def vmax(t_inhibition, t_excitation=0.0, weight=2.0):
        s = t_inhibition - t_excitation
        return weight * 4.0 / (4.0 - 10.0) * (math.exp(-s / 4e-3) - math.exp(-s / 10e-3))

    assert maxima.value[0, 0] == pytest.approx(vmax(3e-3), rel=1e-13, abs=0.0)
    reads = es.losses.VoltageSamples(
        np.array([0]), np.array([0]), maxima.time[0], maxima.arrival[0], np.array([1.0])
    )

    class VMax:
        def evaluate(self, solution):
            return es.losses.Evaluation(maxima.value[:, 0], voltages={"out": reads})

    _, grads = es.value_and_grad(solution, VMax())
    slope = 2.0 * 4.0 / (4.0 - 10.0) * (math.exp(-3 / 10) / 10e-3 - math.exp(-3 / 4) / 4e-3)
    assert slope > 0
    # V' is a difference of these, of which each is right to four roundings
    np.testing.assert_allclose(grads.spike_times["in"], [-slope, slope], rtol=64 * EPS)
    np.testing.assert_allclose(grads.weight["in", "out"], [[vmax(3e-3) / 2.0, 0.0]], rtol=1e-12)


def test_maximum_voltage_at_the_ends_of_a_trial():
    net, inputs = readout([[-1.0], [5.0]], [[1e-3]])
    solution = es.solve(net, inputs, 2e-3)
    maxima = solution.maxima("out")
    np.testing.assert_array_equal(maxima.time[0], [0.0, 2e-3])
    assert maxima.value[0, 0] == 0.0
    _, grads = es.value_and_grad(solution, es.losses.MaxVoltageCrossEntropy("out", [1]))
    assert grads.weight["in", "out"][0, 0] == 0.0
    assert grads.weight["in", "out"][1, 0] < 0.0


def test_maximum_voltage_is_of_readouts():
    with pytest.raises(ValueError, match="LI"):
        es.value_and_grad(spiking([1e-3]), es.losses.MaxVoltageCrossEntropy("out", [0]))


class TestSpikeTimeLoss:
    def test_any_function(self):
        solution = spiking([1e-3, 2e-3])
        loss = es.losses.SpikeTimeLoss(
            lambda spikes: ([spikes["out"].times.sum()], {"out": np.ones(spikes["out"].n_spikes)})
        )
        value, grads = es.value_and_grad(solution, loss)
        assert value == solution.spikes["out"].times.sum()
        want = es.vjp(solution, {"out": np.ones(solution.spikes["out"].n_spikes)})
        np.testing.assert_array_equal(grads.weight["in", "out"], want.weight["in", "out"])

    @pytest.mark.parametrize(
        ("values", "derivative", "message"),
        [
            ([0.0, 0.0], {}, "one loss for each of 1 samples"),
            ([0.0], {"nobody": []}, "nobody"),
            ([0.0], {"out": [1.0]}, "spikes"),
        ],
    )
    def test_what_it_returns_is_checked(self, values, derivative, message):
        with pytest.raises(ValueError, match=message):
            es.value_and_grad(spiking([1e-3, 2e-3]), es.losses.SpikeTimeLoss(lambda _: (values, derivative)))


def test_reductions():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, NEURON)
    net.connect("in", "out", [[30.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3]], [[2e-3]], [[4e-3]]])}
    solution = es.solve(net, inputs, 0.05)
    loss = es.losses.TargetTimeMSE("out", np.zeros((3, 1)))
    results = {r: es.value_and_grad(solution, loss, reduction=r) for r in ("mean", "sum", "none")}
    assert results["mean"][0] == pytest.approx(results["sum"][0] / 3)
    assert results["none"][0].shape == (3,)
    np.testing.assert_allclose(
        3 * results["mean"][1].weight["in", "out"], results["sum"][1].weight["in", "out"], rtol=1e-14
    )
    np.testing.assert_allclose(
        results["none"][1].weight["in", "out"].sum(axis=0), results["sum"][1].weight["in", "out"], rtol=1e-14
    )
    empty = es.solve(net, {"in": es.SpikeTrains.from_lists([], n_neurons=1)}, 0.05)
    nothing = es.losses.TargetTimeMSE("out", np.zeros((0, 1)))
    with pytest.raises(ValueError, match="empty batch"):
        es.value_and_grad(empty, nothing)
    assert es.value_and_grad(empty, nothing, reduction="sum")[0] == 0.0
