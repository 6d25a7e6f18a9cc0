"""A derivative that is 0, of terms that cancel: float64's roundings of the terms are no error, and anything else is."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.compare import compare
from eventsolve.compare.cancelling import roundings_of
from eventsolve.losses import MaxVoltageCrossEntropy
from eventsolve.testing import Mismatch, check_implementation
from validation.check import check
from validation.oracle import oracle

KEY = "in", "out"


def one_spike(n, *, sparse=False):
    """Return a problem in which a spike of an input moves the maxima of voltages and leaves them as high."""
    rng = np.random.default_rng([28, n])
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 2, es.LI(tau_mem=20e-3, tau_syn=5e-3))
    weight = rng.normal(1.0, 0.3, (2, 3))
    if sparse:
        weight = sp.csr_array(weight)
    net.connect("in", "out", weight, delay=rng.uniform(1e-3, 5e-3))
    inputs = {"in": es.SpikeTrains.from_lists([[[rng.uniform(1e-3, 8e-3)], [], []]])}
    return es.Problem(net, inputs, 0.06, MaxVoltageCrossEntropy("out", labels=[1]))


def one_spike_between(n):
    """Return a problem in which the one spike of a neuron does so."""
    rng = np.random.default_rng([29, n])
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 1, es.LIF(rng.uniform(8e-3, 25e-3), 5e-3, v_reset=-0.2, t_ref=1e-3))
    net.add_population("out", 2, es.LI(20e-3, rng.uniform(3e-3, 8e-3)))
    net.connect("in", "hidden", rng.uniform(3.0, 6.0, (1, 2)), delay=1e-3)
    net.connect("hidden", "out", rng.normal(1.0, 0.5, (2, 1)), delay=2e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[t] for t in rng.uniform(0.0, 5e-3, 2)]])}
    return es.Problem(net, inputs, 0.1, MaxVoltageCrossEntropy("out", labels=[0]))


def written(problem, change, *quantities):
    """Return the exact record with some gradients changed, as somebody else's."""
    exact = oracle(problem)
    gradients = {
        q: {k: change(values) if q in quantities else values for k, values in places.items()}
        for q, places in exact.gradients.items()
    }
    return exact, replace(exact, name="mine", gradients=gradients)


PROBLEMS = [one_spike(n) for n in range(8)]


def test_float64_has_a_rounding_where_the_derivative_is_0():
    """Of some of these problems at least: else nothing here could fail."""
    found = [es.value_and_grad(p.solution, p.loss)[1] for p in PROBLEMS]
    off = [max(np.abs(g.delay[KEY]).max(), np.abs(g.spike_times["in"]).max()) for g in found]
    assert sum(value > 0 for value in off) >= 3
    for problem, grads, value in zip(PROBLEMS, found, off, strict=True):
        allowed = roundings_of(problem.network, grads.weight)
        assert value <= allowed["delay", KEY] == allowed["spike_times", "in"]
        # a term is w lambda_I = w dL/dw / tau_syn; here it is that of the largest maximum, of weights of 1 at least
        weight = np.maximum(problem.network.projections[KEY].weight, 1.0)
        terms = np.abs(weight * grads.weight[KEY]).max() / 5e-3
        assert allowed["delay", KEY] == pytest.approx(64 * 2.0**-52 * terms, rel=1e-12, abs=0)


@pytest.mark.parametrize("n", range(8))
def test_who_computes_0_is_right(n):
    problem = PROBLEMS[n]
    exact, record = written(problem, lambda values: 0 * values, "delay", "spike_times")
    assert check(record, problem.network).diagnosis.accepted
    comparison = compare(exact, record, window=1e-9)
    assert comparison.first is None
    assert {"dL/dt", "dL/ddelay"} <= {stage.kind for stage in comparison.stages}
    found = check_implementation(
        lambda _: {q: record.gradients[q] for q in ("weight", "delay", "spike_times")},
        problem,
        spikes_atol=0.0,
        rtol=1e-12,
        reduction="none",
    )
    assert len(found) == 4  # the two dL/dt, dL/dw and dL/ddelay


MOVERS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_initial", "i_initial")
"""Parameters of a neuron that move its first spike."""


def test_so_it_is_by_all_that_moves_such_a_spike():
    """Each of these numbers is 0, as the maximum is as high whenever the spike comes: float64 is within the allowed."""
    problems = [p for p in map(one_spike_between, range(24)) if p.solution.spikes["hidden"].n_spikes == 1]
    assert len(problems) >= 8
    somewhere = set()
    for problem in problems:
        grads = es.value_and_grad(problem.solution, problem.loss)[1]
        allowed = roundings_of(problem.network, grads.weight)
        places = [(q, "hidden") for q in MOVERS] + [(q, ("in", "hidden")) for q in ("weight", "delay")]
        for quantity, place in [*places, ("spike_times", "in"), ("spike_times", "hidden")]:
            values = getattr(grads, quantity)[place]
            assert np.abs(values).max() <= allowed[quantity, place]
            if values.any():
                somewhere.add(quantity)
        exact, record = written(problem, lambda values: 0 * values, "spike_times", "delay")
        zero = dict(record.gradients)
        for quantity, place in places[:-1]:
            zero[quantity] = {**zero[quantity], place: 0 * exact.gradients[quantity][place]}
        record = replace(record, gradients=zero)
        assert check(record, problem.network).diagnosis.accepted
        assert compare(exact, record, window=1e-9).first is None
    assert somewhere == {*MOVERS, "weight", "delay", "spike_times"}


@pytest.mark.parametrize("quantity", ["delay", "spike_times"])
def test_a_thousand_roundings_are_an_error(quantity):
    problem = PROBLEMS[0]
    grads = es.value_and_grad(problem.solution, problem.loss)[1]
    off = 1000 / 64 * roundings_of(problem.network, grads.weight)["delay", KEY]
    exact, record = written(problem, lambda values: values + off, quantity)
    run = check(record, problem.network)
    assert not run.diagnosis.accepted
    assert "not 0, which it has to be" in run.diagnosis.sentence
    assert compare(exact, record, window=1e-9).first.kind == (
        "dL/dt" if quantity == "spike_times" else "dL/ddelay"
    )
    with pytest.raises(Mismatch, match=quantity if quantity == "delay" else "dL/dt"):
        check_implementation(
            lambda _: {quantity: record.gradients[quantity]},
            problem,
            spikes_atol=0.0,
            rtol=1e-9,
            reduction="none",
        )


def test_sparse_weights_are_measured_by_their_synapses():
    dense, sparse = one_spike(1), one_spike(1, sparse=True)
    found = [
        roundings_of(p.network, es.value_and_grad(p.solution, p.loss)[1].weight) for p in (dense, sparse)
    ]
    assert found[0] == found[1]
    _, record = written(sparse, lambda values: 0 * values, "delay")
    assert check(record, sparse.network).diagnosis.accepted


@pytest.mark.parametrize("sparse", [False, True])
def test_a_projection_without_synapses_has_no_terms(sparse):
    problem = one_spike(1)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 2, es.LI(tau_mem=20e-3, tau_syn=5e-3))
    net.add_population("nobody", 2 if sparse else 0, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", problem.network.projections[KEY].weight, delay=2e-3)
    net.connect("in", "nobody", sp.csr_array((2, 3)) if sparse else np.zeros((0, 3)))
    given = es.Problem(net, problem.inputs, problem.t_end, problem.loss)
    exact, record = written(given, lambda values: 0 * values, "delay")
    assert check(record, net).diagnosis.accepted
    assert compare(exact, record, window=1e-9).first is None


def test_gradients_of_another_network_are_measured_by_nothing():
    problem = one_spike(1)
    weight = {KEY: np.ones((1, 2, 3)), ("in", "else"): np.ones((1, 4)), ("in", "out", "x"): np.ones((1, 5))}
    found = roundings_of(problem.network, weight)
    assert set(found) == set(roundings_of(problem.network, {KEY: weight[KEY]}))
    assert ("weight", KEY) not in roundings_of(problem.network, {KEY: np.ones((1, 5))})
