"""Losses that read a voltage just as something arrives: the reading moves with the arrival."""

import numpy as np

import eventsolve as es


def test_the_largest_voltage_just_after_a_jump_moves_with_its_delay():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LI(10e-3, 4e-3, v_initial=[0.5, 0.3], v_leak=0.1))
    net.connect("in", "out", [[1.0], [0.6]], synapse="delta", delay=3e-3)
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 15e-3)
    certificate = es.certify(solution, gradients=es.losses.MaxVoltageCrossEntropy("out", [0]))
    assert certificate.proven, str(certificate)
    before = 0.1 + np.array([0.4, 0.2]) * np.exp(-4e-3 / 10e-3)
    low, high = before + np.array([1.0, 0.6])
    p = 1 / (1 + np.exp(low - high))  # the softmax of the second output
    # dV/ddelay after the jump is V' just before it, whatever the height of the jump
    slopes = np.array([-p, p]) * (0.1 - before) / 10e-3
    gradients = certificate.gradients
    np.testing.assert_allclose(gradients.value.midpoints, np.log1p(np.exp(high - low)), rtol=1e-14)
    np.testing.assert_allclose(gradients.delay["in", "out"].midpoints[:, 0], slopes, rtol=1e-12)
    np.testing.assert_allclose(gradients.spike_times["in"].midpoints, slopes.sum(), rtol=1e-12)
    np.testing.assert_allclose(gradients.weight["in", "out"].midpoints[:, 0], [-p, p], rtol=1e-12)
