"""Losses on voltages: integrals against a quadrature, gradients against central differences."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from comparing import Comparison
from numpy.polynomial.legendre import leggauss
from scipy.special import logsumexp

import eventsolve as es

T = 30e-3
LABELS = [1]


def network(kind):
    """Two outputs driven through a hidden layer; "LI", "LIF", "refractory" or "loop" (spiking, and recurrent)."""
    rng = np.random.default_rng(5)
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 2, es.LIF(12e-3, 5e-3, v_leak=0.1))
    if kind == "LI":
        net.add_population(
            "out", 2, es.LI([10e-3, 7e-3], [4e-3, 7e-3], v_leak=0.2, v_initial=0.3, i_initial=[0.1, 0.5])
        )
    else:
        t_ref = 2e-3 if kind == "refractory" else 0.0
        neuron = es.LIF([10e-3, 7e-3], [4e-3, 5e-3], 1.1, -0.2, 0.3, t_ref, v_initial=0.1)
        net.add_population("out", 2, neuron)
    net.connect("in", "hidden", rng.uniform(4, 7, (2, 2)), delay=1e-3)
    net.connect("hidden", "out", [[3.1, 2.2], [1.9, 3.7]], delay=[[0.5e-3, 1.5e-3], [0.0, 2.1e-3]])
    if kind == "loop":
        net.connect("out", "out", [[0.0, 0.4], [-0.6, 0.3]], delay=[[1e-3, 1.1e-3], [0.7e-3, 0.9e-3]])
    trains = es.SpikeTrains.from_lists([[[0.0, 4e-3, 11e-3], [1e-3, 7.3e-3]]])
    return net, {"in": trains}


def crossentropy(v, label):
    return logsumexp(v, axis=0) - v[label]


def integral(solution, function):
    """1/T int function(voltages, t) dt by quadrature between all events of the outputs, where voltages are analytic."""
    edges = {0.0, T}
    for p in solution.network.afferents("out"):
        arrivals = solution.spikes[p.pre].times[:, None] + np.unique(p.delay)[None, :]
        edges |= set(arrivals[arrivals < T].tolist())
    spikes = solution.spikes["out"]
    free = spikes.times + solution.network.population("out").parameter("t_ref")[spikes.neurons]
    edges |= set(spikes.times.tolist()) | set(free[free < T].tolist())
    start, end = np.array(list(pairwise(sorted(edges)))).T
    totals = []
    for nodes in (24, 32):
        x, weights = leggauss(nodes)
        t = (start[:, None] + (end - start)[:, None] * (0.5 + 0.5 * x)).ravel()
        values = function(solution.voltage("out", t)[0], t).reshape(start.size, nodes)
        totals.append(float((end - start) @ (values @ weights)) / 2.0 / T)
    assert totals[0] == pytest.approx(totals[1], rel=1e-12, abs=0.0)
    return totals[1]


WEIGHTS = {
    "uniform": np.ones_like,
    "exponential": lambda x: np.exp(-x),
    "linear": lambda x: 1 - x,
    "sigmoid": lambda x: 1 / (1 + np.exp((x - 0.5) / 0.2)),
}


def mean_loss(weighting):
    def plain(solution):
        weight = WEIGHTS[weighting]
        means = [integral(solution, lambda v, t, n=n: v[n] * weight(t / T)) for n in range(2)]
        return crossentropy(np.array(means), LABELS[0])

    return es.losses.MeanVoltageCrossEntropy("out", LABELS, weighting=weighting), plain


def instant_loss():
    return es.losses.InstantCrossEntropy("out", LABELS), lambda solution: integral(
        solution, lambda v, t: crossentropy(v, LABELS[0])
    )


def trajectory_loss():
    def target(times, sample):
        return np.stack([0.5 + 3.0 * times, np.cos(100.0 * times)])

    def plain(solution):
        return integral(solution, lambda v, t: 0.5 * np.sum((v - target(t, 0)) ** 2, axis=0))

    return es.losses.TrajectoryMSE("out", target), plain


def sampled_loss():
    times = [3.3e-3, 12.1e-3, 29e-3]
    loss = es.losses.SampledVoltage("out", times, lambda v: ((v**3).sum(axis=(1, 2)), 3 * v**2))
    return loss, lambda solution: np.sum(solution.voltage("out", times) ** 3)


LOSSES = {
    "mean": lambda: mean_loss("uniform"),
    "exponential": lambda: mean_loss("exponential"),
    "linear": lambda: mean_loss("linear"),
    "sigmoid": lambda: mean_loss("sigmoid"),
    "instant": instant_loss,
    "trajectory": trajectory_loss,
    "sampled": sampled_loss,
}
KINDS = ("LI", "LIF", "refractory", "loop")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSES)
def test_values_are_those_of_a_quadrature(name, kind):
    net, inputs = network(kind)
    loss, plain = LOSSES[name]()
    solution = es.solve(net, inputs, T)
    if kind != "LI":
        assert solution.spikes["out"].n_spikes > 1
    value, _ = es.value_and_grad(solution, loss)
    assert value == pytest.approx(plain(solution), rel=1e-11, abs=0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_central_differences(name, kind):
    net, inputs = network(kind)
    loss, _ = LOSSES[name]()
    solution = es.solve(net, inputs, T)
    value, grads = es.value_and_grad(solution, loss)
    neuron = net.population("out").neuron

    def moved(field, where, place, step):
        if field == "spike_times":
            times = inputs["in"].times.copy()
            times[place] += step
            trains = es.SpikeTrains(times, inputs["in"].neurons, inputs["in"].samples, 1, 2)
            return es.value_and_grad(es.solve(net, {"in": trains}, T), loss)[0]
        if field in ("weight", "delay"):
            p = net.projections[where]
            values = (p.weight if field == "weight" else p.delay.reshape(p.weight.shape)).copy()
            values.reshape(-1)[place] += step
            other = (
                net.with_weights({where: values}) if field == "weight" else net.with_delays({where: values})
            )
        else:
            values = net.population("out").parameter(field)
            values[place] += step
            other = net.with_neurons({"out": replace(neuron, **{field: values})})
        changed = es.solve(other, inputs, T)
        np.testing.assert_array_equal(changed.spikes["out"].neurons, solution.spikes["out"].neurons)
        return es.value_and_grad(changed, loss)[0]

    wanted = [("weight", ("hidden", "out"), 2), ("delay", ("hidden", "out"), 1), ("spike_times", "in", 2)]
    wanted += [(p, "out", 1) for p in ("tau_mem", "tau_syn", "v_leak", "v_initial", "i_initial")]
    if kind != "LI":
        wanted += [("v_threshold", "out", 0), ("v_reset", "out", 0)]
    if kind == "refractory":
        wanted += [("t_ref", "out", 0)]
    if kind == "loop":
        wanted += [("weight", ("out", "out"), 1), ("delay", ("out", "out"), 2)]
    compare = Comparison()
    for field, where, place in wanted:
        step = 1e-8 if field in ("delay", "spike_times", "tau_mem", "tau_syn", "t_ref") else 1e-6
        sides = [moved(field, where, place, k * step) for k in (-2, -1, 1, 2)]
        wide, narrow = (sides[3] - sides[0]) / (4 * step), (sides[2] - sides[1]) / (2 * step)
        bound = 10 * abs(narrow - wide) + 1e-6 * abs(narrow) + 1e-13 * abs(value) / step
        got = float(getattr(grads, field)[where].reshape(-1)[place])
        compare.close(got, (4 * narrow - wide) / 3, bound, (field, where))
    compare.demand(0.9)


class TestBadInput:
    def test_delta_synapses_jump(self):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("out", 1, es.LI(10e-3, 5e-3))
        net.connect("in", "out", [[1.0]], synapse="delta")
        solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, T)
        with pytest.raises(ValueError, match="'out' has delta synapses"):
            es.value_and_grad(solution, es.losses.MeanVoltageCrossEntropy("out", [0]))

    def test_no_trial(self):
        net, inputs = network("LI")
        with pytest.raises(ValueError, match="needs t_end > 0"):
            es.value_and_grad(es.solve(net, inputs, 0.0), es.losses.InstantCrossEntropy("out", [0]))

    def test_inputs_have_no_voltage(self):
        net, inputs = network("LI")
        with pytest.raises(ValueError, match="'in' is an input"):
            es.value_and_grad(es.solve(net, inputs, T), es.losses.InstantCrossEntropy("in", [0]))

    def test_a_weighting_of_no_name(self):
        with pytest.raises(ValueError, match="weighting must be one of"):
            es.losses.MeanVoltageCrossEntropy("out", [0], weighting="late")

    @pytest.mark.parametrize("times", [[-1.0], [np.nan], [2e-3, 1e-3], [1e-3, 1e-3]])
    def test_times_out_of_order(self, times):
        with pytest.raises(ValueError, match="times must be finite, >= 0 and strictly increasing"):
            es.losses.SampledVoltage("out", times, lambda v: (v, v))

    def test_functions_of_other_shapes(self):
        net, inputs = network("LI")
        solution = es.solve(net, inputs, T)
        for loss, message in (
            (es.losses.RunningLoss("out", lambda v, t, s: (t, t)), "must return l"),
            (es.losses.TrajectoryMSE("out", lambda t, s: t[:3]), "the target must return|broadcast"),
            (es.losses.SampledVoltage("out", [1e-3], lambda v: (v, v)), "must return losses"),
            (es.losses.MeanVoltageCrossEntropy("out", [0], weighting=lambda x: 1.0), "one weight for each"),
            (es.losses.MeanVoltageCrossEntropy("out", [2]), "labels must lie in"),
            (es.losses.SampledVoltage("out", [1.0], lambda v: (v, v)), "times must lie in"),
        ):
            with pytest.raises(ValueError, match=message):
                es.value_and_grad(solution, loss)


def test_more_voltages_than_memory_holds_are_refused():
    """Pieces between nodes are as short as V moves by 1: with weights in another unit that was every byte there is."""
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3]]])}
    loss = es.losses.InstantCrossEntropy("read", [0])
    for weight, fits in ((1e3, True), (1e10, False), (1e60, False)):
        net = es.Network()
        net.add_input("in", 1)
        net.add_population("read", 2, es.LI(20e-3, 5e-3))
        net.connect("in", "read", [[weight], [-weight]])
        solution = es.solve(net, inputs, 0.05)
        if fits:
            es.value_and_grad(solution, loss)
            continue
        with pytest.raises(ValueError, match=r"a running loss on 'read' would read up to .* voltages"):
            es.value_and_grad(solution, loss)
