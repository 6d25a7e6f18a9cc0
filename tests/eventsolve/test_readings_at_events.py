"""A loss that reads V at the very time of an event reads it after it, and its gradient is that of what is read."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.kernels.tables import AT_START

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
