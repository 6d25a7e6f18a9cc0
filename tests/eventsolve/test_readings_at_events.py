"""A loss that reads V at the very time of an event reads it after it, and its gradient is that of what is read."""

import numpy as np
import pytest
from directions import differences, signed_step

import eventsolve as es
from eventsolve import adjoint, multiprecision
from eventsolve.kernels.tables import AT_START
from eventsolve.losses import Evaluation
from eventsolve.patterns import NAMES

MS = 1e-3
DIGITS = 30


def network(kind, *, cyclic, weight=1.0):
    """Two neurons that hear an input at 2 ms over either kind of synapse, and one jump that makes a neuron spike."""
    net = es.Network()
    net.add_input("in", 2)
    if kind == "readout":
        net.add_population("out", 2, es.LI(20 * MS, 5 * MS, v_initial=0.3, i_initial=0.5))
    else:
        t_ref = 3 * MS if kind == "held" else 0.0
        reset = "subtract" if kind == "subtract" else "value"
        net.add_population(
            "out",
            2,
            es.LIF(20 * MS, 5 * MS, v_initial=0.3, i_initial=0.5, t_ref=t_ref, v_reset=-0.2, reset=reset),
        )
    net.connect("in", "out", [[0.25 * weight, 0.0], [-0.5, 0.0]], delay=1 * MS, synapse="delta", name="jump")
    net.connect("in", "out", [[0.9, 0.1], [0.0, 0.7]], delay=1 * MS)
    if kind != "readout":
        net.connect("in", "out", [[0.0, 1.3], [0.0, 0.0]], delay=1 * MS, synapse="delta", name="spike")
    if cyclic:
        net.connect("out", "out", [[0.0, 0.4], [0.3, 0.0]], delay=0.7 * MS)
    return net


INPUT = {"in": es.SpikeTrains.from_lists([[[1 * MS], [1 * MS, 4 * MS]]])}
SLOPES = np.array([[[1.0, 0.3], [2.0, -0.7]]])


def read(times):
    return es.losses.SampledVoltage(
        "out", times, lambda v: ((v * SLOPES[:, :, : v.shape[2]]).sum((1, 2)), SLOPES[:, :, : v.shape[2]])
    )


@pytest.mark.parametrize(
    ("kind", "cyclic"),
    [
        ("readout", False),
        *((kind, cyclic) for kind in ("free", "held", "subtract") for cyclic in (False, True)),
    ],
)
def test_gradients_by_weights_are_those_of_the_voltage_after_the_event(kind, cyclic):
    """Of weights, which move no arrival: on both sides."""
    net = network(kind, cyclic=cyclic)
    times = [2 * MS, 5 * MS]
    solution = es.solve(net, INPUT, 8 * MS)
    if kind != "readout":
        assert np.isin(2 * MS, solution.spikes["out"].times)  # one is reset at the time of a reading
    value, grads = es.value_and_grad(solution, read(times))
    assert value == pytest.approx(float((solution.voltage("out", times) * SLOPES).sum()), rel=1e-15, abs=0.0)

    def exact(solution):
        return sum(
            solution.context.mpf(float(SLOPES[0, n, q])) * solution.voltage("out", 0, n, t)
            for n in range(2)
            for q, t in enumerate(times)
        )

    keys = [("weight", key) for key in net.projections]
    truth = multiprecision.gradient(net, INPUT, 8 * MS, exact, keys, digits=DIGITS)
    informative = 0
    for name, key in keys:
        found, expected = grads.weight[key].reshape(-1), np.array([float(t) for t in truth[name, key]])
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
        informative += np.count_nonzero(np.abs(expected) > 1e-10)
    assert informative >= 4
    direction = {"weight": {key: np.ones(p.weight.shape) for key, p in net.projections.items()}}
    forward = es.jvp(solution, direction, read(times))
    backward = sum(float(g.sum()) for g in grads.weight.values())
    assert float(np.sum(forward.loss)) == pytest.approx(backward, rel=1e-12, abs=0.0)


def test_a_maximum_at_the_start_is_before_what_arrives_then():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LI(20 * MS, 5 * MS, v_initial=[0.5, 0.2]))
    net.connect("in", "out", [[-0.3], [0.4]], synapse="delta")
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 8 * MS)
    assert solution.maxima("out").arrival.tolist() == [[AT_START, -2]]
    assert solution.maxima("out").value.tolist() == [[0.5, pytest.approx(0.6)]]
    loss = es.losses.MaxVoltageLoss("out", lambda m: (m.sum(axis=1), np.ones_like(m)))
    # beside readings at a fixed time, which is after what arrives then
    for whole in (loss, es.losses.Sum([loss, read([0.0])])):
        _, grads = es.value_and_grad(solution, whole)
        more = 0.0 if whole is loss else 1.0
        assert grads.v_initial["out"].tolist() == [1.0 + more, 1.0 + 2.0 * more]
        assert grads.weight["in", "out"].tolist() == [[more], [1.0 + 2.0 * more]]
    certificate = es.certify(solution, gradients=es.losses.MaxVoltageCrossEntropy("out", [0]))
    assert certificate.proven, str(certificate)


def test_a_maximum_at_an_arrival_moves_with_it():
    """The first arrival or a later one, at which V turns down or is lifted: by differences in many digits."""
    net = es.Network()
    net.add_input("in", 3)
    rise, fall = (0.3, 0.9), (0.5, 0.1)
    v, i = np.transpose([rise, rise, fall, fall])
    net.add_population("out", 4, es.LI(20 * MS, 5 * MS, v_leak=0.1, v_initial=v, i_initial=i))
    # the first two are turned down by a current, at their first arrival and at their second; the others are lifted
    net.connect(
        "in",
        "out",
        [[-9, 0, 0], [0.5, -9, 0.0], [0.1, 0.3, 0], [0.1, 0, 0.4]],
        delay=np.array([[1.0, 2.5, 3.0], [0.5, 1.5, 2.0], [4.0, 5.0, 6.0], [0.3, 0.4, 0.7]]) * MS,
    )
    net.connect(
        "in",
        "out",
        [[0, 0, 0], [0, 0, -0.2], [0.6, 0, -0.3], [0, 1.2, 0]],
        delay=np.array([[7.0, 6.0, 6.5], [7.0, 6.0, 6.5], [0.2, 5.5, 6.0], [3.5, 1.0, 2.0]]) * MS,
        synapse="delta",
        name="jump",
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[1 * MS], [2 * MS], [2.5 * MS]]])}
    solution = es.solve(net, inputs, 12 * MS)
    slopes = np.array([1.0, 0.7, -1.3, 0.4])
    kinks = solution.maxima("out").arrival[0].tolist()
    assert kinks[0] == 0
    assert kinks[1] > 0
    assert kinks[2] == -2
    assert kinks[3] < -2
    loss = es.losses.MaxVoltageLoss("out", lambda v: (v @ slopes, np.broadcast_to(slopes, v.shape)))
    value, grads = es.value_and_grad(solution, loss)

    def exact(found):
        """V at its largest over all arrivals, just before and after each."""
        (spikes,), total = found.problem.inputs["in"], found.context.mpf(0)
        for n in range(4):
            times = [
                found.context.mpf(spikes[synapse.source][0]) + synapse.delay
                for synapses in found.problem.synapses.values()
                for synapse in synapses
                if synapse.target == n
            ]
            at = [v("out", 0, n, t) for v in (found.voltage, found.voltage_before) for t in times]
            total += float(slopes[n]) * max(at)
        return [total]

    problem = multiprecision.problem(net, inputs, 12 * MS)
    assert value == pytest.approx(float(exact(multiprecision.solve_problem(problem))[0]), rel=1e-14, abs=0.0)
    signs, informative = np.random.default_rng(2), 0
    for name in NAMES:
        for key in ("in",) if name == "spike_times" else getattr(grads, name):
            found = getattr(grads, name)[key]
            values = (
                net.projections[key].delay.reshape(found.shape) if name == "delay" else np.ones(found.shape)
            )
            step = signed_step(signs, name, values)
            (expected,) = differences(problem, {name: {key: step}}, exact)
            terms = found * step  # each of which is right to a few roundings at each of six arrivals
            assert abs(terms.sum() - float(expected)) <= 64 * 2.0**-52 * np.abs(terms).sum()
            informative += abs(expected) > 1e-6
    assert informative == 10


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("cyclic", [False, True])
def test_what_arrives_at_the_end_is_in_the_state_then(cyclic, sign):
    """A weight is added to I, or to V, with the very factor that the loss has there."""
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[0.3], [0.2]], name="current")
    net.connect("in", "out", [[0.1], [0.2]], synapse="delta", name="jump")
    if cyclic:
        net.connect("out", "out", np.zeros((2, 2)), delay=1 * MS)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[3 * MS]]])}, 3 * MS)
    for component, moved, other in ((0, "jump", "current"), (1, "current", "jump")):
        final = np.zeros((1, 3, 2))
        final[0, component] = sign, 0.0
        cut = adjoint.CutAdjoint({("out",): final}, {})
        _, contributions, _ = adjoint.back(solution, Evaluation(np.empty(0)), NAMES, False, None, cut)
        found = adjoint.by_name(adjoint.layers_of(net), contributions, NAMES, False)["weight"]
        assert found["in", "out", moved].tolist() == [[sign], [0.0]]
        assert found["in", "out", other].tolist() == [[0.0], [0.0]]
