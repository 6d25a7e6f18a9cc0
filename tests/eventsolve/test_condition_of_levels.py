"""The size of the potentials themselves counts: V is known to a rounding of v_threshold and v_leak."""

import numpy as np
import pytest

import eventsolve as es
from eventsolve import multiprecision

EPS = np.finfo(float).eps


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_a_spike_time_is_known_to_a_rounding_of_the_level_of_the_potentials_over_its_slope(level):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population(
        "out",
        1,
        es.LIF(20e-3, 5e-3, v_threshold=level + 1.0, v_reset=level, v_leak=level, v_initial=level),
    )
    net.connect("in", "out", [[12.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3]]])}
    solution = es.solve(net, inputs, 4e-3)
    (time,) = solution.spikes["out"].times.tolist()
    (bound,) = es.gradient_condition(solution).time_error["out"]
    truth = multiprecision.solve(net, inputs, 4e-3, digits=30).spikes["out"][0][0][0]
    assert abs(float(truth - time)) <= bound
    # at the threshold V' is (I - 1)/tau_mem; a rounding of either potential is half an ulp of it
    slope = (12.0 * np.exp(-(time - 1e-3) / 5e-3) - 1.0) / 20e-3
    assert level * EPS / slope <= bound
    assert bound <= 64 * (2 * level + 14.0) * EPS / slope
