"""Losses on voltages against mpmath: integrals by its quadrature, gradients by central differences of the slow solver."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve import multiprecision

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


def softmax_loss(ctx, v, label):
    top = max(v)
    return ctx.log(sum(ctx.exp(x - top) for x in v)) + top - v[label]


def pieces(exact):
    """All times at which a voltage of the outputs has a corner or a jump."""
    times = {exact.context.mpf(0), exact.context.mpf(exact.problem.t_end)}
    for history in exact.states["out"][0]:
        for state in history:
            times |= {t for t in (state.time, state.free) if t <= exact.context.mpf(exact.problem.t_end)}
    return sorted(times)


def integral(exact, function):
    """1/T int function(voltages, t) dt by mpmath, piece by piece; right-continuous at the left ends."""
    ctx = exact.context
    edges = pieces(exact)
    total = ctx.mpf(0)
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        # inside the piece: its last instant belongs to the next one
        total += ctx.quad(
            lambda t: function([exact.voltage("out", 0, n, t) for n in range(2)], t),
            [a, (a + b) / 2, b],
            maxdegree=5,
        )
    return total / exact.problem.t_end


WEIGHTS = {
    "uniform": lambda ctx, x: ctx.mpf(1),
    "exponential": lambda ctx, x: ctx.exp(-x),
    "linear": lambda ctx, x: 1 - x,
    "sigmoid": lambda ctx, x: 1 / (1 + ctx.exp((x - 0.5) / ctx.mpf(0.2))),
}


def mean_loss(weighting):
    def exact_loss(exact):
        ctx = exact.context
        end = exact.problem.t_end
        means = [integral(exact, lambda v, t, n=n: v[n] * WEIGHTS[weighting](ctx, t / end)) for n in range(2)]
        return softmax_loss(ctx, means, LABELS[0])

    return es.losses.MeanVoltageCrossEntropy("out", LABELS, weighting=weighting), exact_loss


def instant_loss():
    return es.losses.InstantCrossEntropy("out", LABELS), lambda exact: integral(
        exact, lambda v, t: softmax_loss(exact.context, v, LABELS[0])
    )


def trajectory_loss():
    def target(times, sample):
        return np.stack([0.5 + 3.0 * times, np.cos(100.0 * times)])

    def exact_loss(exact):
        ctx = exact.context
        return integral(exact, lambda v, t: ((v[0] - 0.5 - 3 * t) ** 2 + (v[1] - ctx.cos(100 * t)) ** 2) / 2)

    return es.losses.TrajectoryMSE("out", target), exact_loss


def sampled_loss():
    times = [3.3e-3, 12.1e-3, 29e-3]

    def function(v):
        return (v**3).sum(axis=(1, 2)), 3 * v**2

    def exact_loss(exact):
        return sum(exact.voltage("out", 0, n, t) ** 3 for n in range(2) for t in times)

    return es.losses.SampledVoltage("out", times, function), exact_loss


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
def test_values_are_those_of_mpmath(name, kind):
    net, inputs = network(kind)
    loss, exact_loss = LOSSES[name]()
    solution = es.solve(net, inputs, T)
    if kind != "LI":
        assert solution.spikes["out"].n_spikes > 1
    value, _ = es.value_and_grad(solution, loss)
    exact = multiprecision.solve(net, inputs, T, digits=20)
    # the mean of a voltage of about 1 over about 40 pieces; spikes are right to about 1e-16 s, of 30e-3 s
    assert value == pytest.approx(float(exact_loss(exact)), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for n in ("exponential", "instant", "trajectory", "sampled") for k in KINDS]
)
def test_gradients_are_central_differences_of_mpmath(name, kind):
    net, inputs = network(kind)
    loss, exact_loss = LOSSES[name]()
    solution = es.solve(net, inputs, T)
    _, grads = es.value_and_grad(solution, loss)
    given = multiprecision.problem(net, inputs, T)
    wanted = [("weight", ("hidden", "out"), 2), ("delay", ("hidden", "out"), 1), ("spike_times", "in", 2)]
    wanted += [(p, "out", 1) for p in ("tau_mem", "tau_syn", "v_leak", "v_initial", "i_initial")]
    if kind != "LI":
        wanted += [(p, "out", 0) for p in ("v_threshold", "v_reset")]
    if kind == "refractory":
        wanted += [("t_ref", "out", 0)]
    if kind == "loop":
        wanted += [("weight", ("out", "out"), 1), ("delay", ("out", "out"), 2)]
    for parameter, where, index in wanted:
        truth = multiprecision.derivative(given, exact_loss, (parameter, where), index, digits=10)
        got = float(getattr(grads, parameter)[where].reshape(-1)[index])
        # central differences are right to 10 digits, the gradient to the conditioning of its spikes
        assert got == pytest.approx(float(truth), rel=1e-8, abs=1e-9), (parameter, where)


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
