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
        # a term is w lambda_I = w dL/dw / tau_syn; here it is that of the largest maximum
        weight = problem.network.projections[KEY].weight
        terms = np.abs(weight * grads.weight[KEY]).max() / 5e-3
        assert allowed["delay", KEY] == pytest.approx(64 * 2.0**-52 * terms, rel=1e-12)


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
