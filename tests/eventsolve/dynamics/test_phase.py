"""Phase responses beside a textbook's closed form, the flow's left eigenvector, and kicks that are solved."""

import itertools
import pickle

import numpy as np
import pytest

import eventsolve as es
from eventsolve.dynamics import periodic_orbit, phase_response, velocity

TAU_MEM, TAU_SYN, LEAK, T_REF = 20e-3, 5e-3, 1.5, 2e-3


@pytest.fixture(scope="module")
def alone():
    net = es.Network()
    net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF))
    net.connect("n", "n", [[0.0]])
    return periodic_orbit(net)


@pytest.fixture(scope="module")
def couple():
    """Two neurons that inhibit each other, with a delay, and settle fast; one of them faster than the other."""
    net = es.Network()
    neuron = es.LIF([20e-3, 18e-3], TAU_SYN, v_leak=LEAK, t_ref=T_REF, v_initial=[0.0, 0.5])
    net.add_population("n", 2, neuron)
    net.connect("n", "n", [[0.0, -0.4], [-0.5, 0.0]], delay=2e-3)
    return periodic_orbit(net)


def test_the_closed_form_of_a_neuron_alone(alone):
    """Z_V = exp(-(T - t)/tau_mem) tau_mem / (v_leak - v_threshold), and nothing while it is held.

    A unit of current acts for as long as it lasts: Z_I is the integral of Z_V times what it does to V', 1/tau_mem.
    """
    period = alone.period
    found = phase_response(alone, "n", phases=200)
    time = found.phases * period
    voltage = np.where(time > T_REF, np.exp(-(period - time) / TAU_MEM) * TAU_MEM / (LEAK - 1.0), 0.0)
    assert np.abs(found.advance - voltage).max() <= 1e-15
    k = phase_response(alone, "n", onto="I", phases=[0.5])
    start = 0.5 * period

    def z(t):
        phase = t % period
        return np.where(phase > T_REF, np.exp(-(period - phase) / TAU_MEM) * TAU_MEM / (LEAK - 1.0), 0.0)

    # Gauss-Legendre on the pieces between releases and spikes, of 12 periods, after which exp(-58) is left
    nodes, weights = np.polynomial.legendre.leggauss(40)
    edges = np.sort(np.concatenate([[start], period * np.arange(1, 13), period * np.arange(1, 12) + T_REF]))
    total = 0.0
    for low, high in itertools.pairwise(edges.tolist()):
        t = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        total += 0.5 * (high - low) * float(weights @ (z(t) * np.exp(-(t - start) / TAU_SYN))) / TAU_MEM
    assert abs(k.advance[0] - total) <= 1e-13 * abs(total)


def test_the_left_eigenvector_of_the_flow_says_the_same(couple):
    """At the beginning of a period the response is the left eigenvector of multiplier 1, normed on the velocity."""
    values, vectors = np.linalg.eig(couple.monodromy.T)
    left = vectors[:, np.argmin(np.abs(values - 1.0))].real
    left = left / (left @ velocity(couple.network, couple.state))
    begin = [-couple.phase_zero / couple.period % 1.0]
    found = [
        phase_response(couple, "n", n, onto=onto, phases=begin).advance[0]
        for onto in ("V", "I")
        for n in (0, 1)
    ]
    assert np.abs(np.array(found) - left[:4]).max() <= 1e-12 * np.abs(left).max()
    assert np.abs(left[:4]).min() > 1e-4


@pytest.mark.parametrize("onto", ["V", "I"])
@pytest.mark.parametrize("neuron", [0, 1])
def test_the_infinitesimal_response_is_the_limit_of_finite_ones(couple, onto, neuron):
    """Halving a kick halves what is left between the two, which is of second order."""
    exact = phase_response(couple, "n", neuron, onto=onto, phases=6)
    off = []
    for kick in (2e-4, 1e-4):
        solved = phase_response(couple, "n", neuron, onto=onto, kick=kick, phases=6)
        assert solved.settled.all()
        off.append(np.abs(solved.advance / kick - exact.advance))
    assert (off[1] <= 0.55 * off[0] + 1e-9).all()
    assert off[1].max() <= 0.02 * np.abs(exact.advance).max()
    assert off[1].max() > 0.0


def test_a_finite_kick_of_a_neuron_alone(alone):
    """V is lifted: the time to the threshold is a logarithm, and beyond it the neuron spikes at once."""
    period = alone.period
    found = phase_response(alone, "n", kick=0.2, phases=[0.05, 0.5, 0.95])
    time = found.phases * period
    lifted = LEAK - (LEAK - 0.0) * np.exp(-(time - T_REF) / TAU_MEM) + 0.2
    left = TAU_MEM * np.log(np.maximum((LEAK - lifted) / (LEAK - 1.0), 1.0))
    expected = np.where(time < T_REF, 0.0, period - time - left)
    assert found.settled.all()
    assert np.abs(found.advance - expected).max() <= 1e-12
    assert expected[2] == period - time[2]


def test_a_kick_that_leads_elsewhere_is_told():
    """The excitatory pair has two stable orbits, mirror images of each other: a large kick changes sides."""
    net = es.Network()
    net.add_population("n", 2, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF, v_initial=[0.0, 0.5]))
    net.connect("n", "n", [[0.0, 0.4], [0.4, 0.0]], delay=3e-3)
    found = phase_response(periodic_orbit(net), "n", 1, kick=0.3, phases=4, periods=800)
    assert not found.settled.all()
    assert "(not settled)" in repr(found)


def test_what_is_not_asked_sensibly_is_refused(alone):
    for arguments, message in (
        ({"onto": "U"}, r"onto must be one of \['V', 'I'\]; got 'U'"),
        ({"phases": [1.0]}, r"phases must be one or more numbers in \[0, 1\)"),
        ({"phases": []}, "phases must be one or more numbers"),
        ({"phases": [[0.1]]}, "phases must be one or more numbers"),
        ({"phases": 0}, "phases must be an integer >= 1"),
        ({"periods": 3}, "an infinitesimal one needs none"),
        ({"kick": np.inf}, "kick must be finite"),
        ({"kick": 0.1, "periods": 0}, "periods must be an integer >= 1"),
        ({"neuron": 1}, "neuron"),
    ):
        with pytest.raises(ValueError, match=message):
            phase_response(alone, "n", **arguments)
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("in", "n", [[7.0]])
    locked = periodic_orbit(net, {"in": es.SpikeTrains.from_lists([[[5e-3]]])}, period=30e-3)
    with pytest.raises(ValueError, match="locked to its input"):
        phase_response(locked, "n")


def test_a_response_is_a_record(alone):
    found = pickle.loads(pickle.dumps(phase_response(alone, "n", phases=5)))
    assert found.advance.shape == found.phases.shape == (5,)
    assert len(repr(found).splitlines()) == 3
    with pytest.raises(ValueError, match="read-only"):
        found.advance[0] = 1.0
