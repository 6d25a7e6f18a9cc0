"""The size of the potentials themselves counts: V is known to a rounding of v_threshold and v_leak."""

import math

import mpmath
import numpy as np
import pytest

import eventsolve as es
from eventsolve import multiprecision
from eventsolve.stability.condition import _Events
from eventsolve.stability.margins import spiking_layers
from eventsolve.stability.parts import layer_part_of

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


def test_what_a_decay_owes_to_its_time_constant_is_its_derivative():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_initial=0.5))
    net.connect("in", "out", [[8.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3, 3e-3]]])}
    part = es.solve(net, inputs, 30e-3)
    events = _Events(layer_part := layer_part_of(part, *spiking_layers(part)), *layer_part.trajectories)
    assert events.duration.size > 3
    for h, by_mem, by_syn in zip(events.duration, events.by_mem_u, events.decay_by_syn, strict=True):
        for tau, found in ((20e-3, by_mem), (5e-3, by_syn)):
            wanted = mpmath.diff(lambda x, h=h: mpmath.exp(-mpmath.mpf(h) / x), tau)
            assert found == pytest.approx(float(wanted), rel=16 * EPS, abs=0.0)


def test_a_spike_time_is_known_to_eight_roundings_of_every_term_and_two_of_the_time():
    # V rises from -3 towards 1.5 and crosses 1; nothing arrives, and there is no current
    net = es.Network()
    net.add_population("out", 1, es.LIF(20e-3, 5e-3, v_leak=1.5, v_initial=-3.0, t_ref=1.0))
    solution = es.solve(net, {}, 0.1)
    (time,) = solution.spikes["out"].times.tolist()
    (bound,) = es.gradient_condition(solution).time_error["out"]
    a = time / 20e-3
    # u exp(-a), whose argument is rounded too, or all of u; and v_threshold and v_leak
    terms = 4.5 * min(math.exp(-a) * (1 + a), 1.0) + 2.5
    slope = 0.5 / 20e-3
    assert bound == pytest.approx(8 * EPS * terms / slope + EPS * time, rel=1e-12, abs=0.0)


def test_the_error_of_a_spike_time_is_what_its_two_arrivals_carry():
    """V is off by 8 roundings of its terms and I by 8 of itself; what arrives, by half an ulp of its time twice."""
    tau_mem, tau_syn, (w1, w2), (t1, t2) = 20e-3, 5e-3, (4.0, 9.0), (1e-3, 3e-3)
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(tau_mem, tau_syn))
    net.connect("in", "out", [[w1, w2]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[t1], [t2]]])}, 8e-3)
    time, *_ = solution.spikes["out"].times.tolist()
    (bound, *_) = es.gradient_condition(solution).time_error["out"]
    assert time > t2

    def propagator(h):
        ea, eb = math.exp(-h / tau_mem), math.exp(-h / tau_syn)
        return ea, eb, tau_syn / (tau_mem - tau_syn) * (ea - eb)

    v = i = off_v = off_i = start = 0.0
    for end, weight in ((t1, w1), (t2, w2), (time, 0.0)):
        ea, eb, k = propagator(h := end - start)
        a, b = h / tau_mem, h / tau_syn
        terms = 1.0 + v * min(ea * (1 + a), 1.0) + i * min(4.1 * k * (1 + a + b), 1.0)
        off_v, off_i = off_v * ea + off_i * k + 8 * EPS * terms, off_i * eb + 8 * EPS * i
        off_v, off_i = off_v + weight * EPS * end / tau_mem, off_i + weight * EPS * end / tau_syn
        v, i, start = v * ea + i * k, i * eb + weight, end
    assert v == pytest.approx(1.0, rel=1e-12, abs=0.0)
    assert bound == pytest.approx(off_v * tau_mem / (i - 1.0) + EPS * time, rel=1e-9, abs=0.0)
