"""Do the assertions pass what matches, name the first place that does not, and refuse what cannot be compared?"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.testing import (
    Mismatch,
    Problem,
    assert_gradients_match,
    assert_spikes_match,
    check_implementation,
    network_of,
)
from eventsolve.testing.canonical import PROBLEMS

EXPECTED = es.SpikeTrains.from_lists([[[1e-3, 5e-3], [2e-3]], [[], [4e-3, 9e-3]]])
FIRST, SECOND = ("in", "hidden"), ("hidden", "out")


def layered(sparse=False):
    weight = [[9.0, 4.0], [0.0, 8.0], [7.0, 7.0]]
    net = network_of(
        {"in": 2, "hidden": (3, es.LIF(20e-3, 5e-3)), "out": (2, es.LIF(20e-3, 5e-3))},
        {
            FIRST: {"weight": sp.csr_array(weight) if sparse else weight},
            SECOND: {"weight": [[8.0, 3.0, 5.0], [4.0, 9.0, 6.0]], "delay": 1e-3},
        },
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 6e-3], [2e-3]], [[1e-3], [3e-3]]])}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3)
    return Problem(net, inputs, 50e-3, loss)


def everything(problem, reduction="mean"):
    value, grads = es.value_and_grad(problem.solution, problem.loss, reduction=reduction)
    quantities = ("weight", "delay", "tau_mem", "v_reset", "spike_times")
    return {
        "spikes": dict(problem.solution.spikes),
        "loss": value,
        **{name: dict(getattr(grads, name)) for name in quantities},
    }


def moved(trains, k, by):
    times = trains.times.copy()
    times[k] += by
    return replace(trains, times=times)


# -- spikes --------------------------------------------------------------------------------------------------------


def test_spikes_within_the_tolerance_match():
    assert_spikes_match(moved(EXPECTED, 1, 1e-6), EXPECTED, atol=1.1e-6)
    assert_spikes_match({"a": EXPECTED}, {"a": EXPECTED, "b": EXPECTED}, atol=0.0)


def test_the_earliest_spike_that_is_late_is_named():
    with pytest.raises(Mismatch) as caught:
        assert_spikes_match(moved(moved(EXPECTED, 1, 1e-6), 2, 1e-3), EXPECTED, atol=1e-7)
    found = caught.value.divergence
    assert (found.sample, found.neuron, found.spike) == (0, 1, 0)
    assert (found.expected, found.got, found.count, found.size) == (2e-3, 2e-3 + 1e-6, 2, 5)
    assert "spikes differ at neuron 1 in sample 0, spike 0: expected 0.002 s, got 0.002001 s" in str(
        caught.value
    )


def test_a_missed_spike_is_not_a_row_of_late_ones():
    got = es.SpikeTrains.from_lists([[[5e-3], [2e-3]], [[], [4e-3, 9e-3]]])
    with pytest.raises(Mismatch) as caught:
        assert_spikes_match({"a": got}, {"a": EXPECTED}, atol=1e-7)
    found = caught.value.divergence
    assert (found.expected, found.got, found.count) == (1e-3, None, 1)
    assert "expected a spike at 0.001 s, got none" in str(caught.value)


def test_an_extra_spike_is_named():
    got = es.SpikeTrains.from_lists([[[1e-3, 5e-3], [2e-3]], [[7e-3], [4e-3, 9e-3]]])
    with pytest.raises(
        Mismatch, match=r"neuron 0 in sample 1, spike 0: expected no spike, got one at 0.007 s"
    ):
        assert_spikes_match(got, EXPECTED, atol=1e-7)


def test_of_all_populations_the_earliest_spike_is_named():
    with pytest.raises(Mismatch, match="'b'"):
        assert_spikes_match(
            {"a": moved(EXPECTED, 2, 1e-3), "b": moved(EXPECTED, 0, 1e-4)},
            {"a": EXPECTED, "b": EXPECTED},
            atol=1e-7,
        )


@pytest.mark.parametrize(
    ("actual", "expected", "atol", "words"),
    [
        (EXPECTED, EXPECTED, -1.0, "atol must be finite and >= 0; got -1.0"),
        (EXPECTED, EXPECTED, float("nan"), "atol must be finite"),
        ({}, {"a": EXPECTED}, 0.0, "no population"),
        ({"b": EXPECTED}, {"a": EXPECTED}, 0.0, r"'b'; expected are \['a'\]"),
        (EXPECTED, {"a": EXPECTED}, 0.0, "must both be"),
        ([1.0], EXPECTED, 0.0, r"got \[1.0\]"),
        (EXPECTED.select([0]), EXPECTED, 0.0, "n_samples 2; got 1"),
    ],
)
def test_spikes_that_cannot_be_compared_are_refused(actual, expected, atol, words):
    with pytest.raises(ValueError, match=words):
        assert_spikes_match(actual, expected, atol=atol)


# -- gradients -----------------------------------------------------------------------------------------------------


def test_gradients_match_themselves_and_within_the_tolerance():
    problem = layered()
    _, grads = es.value_and_grad(problem.solution, problem.loss)
    assert_gradients_match(grads, grads, rtol=0.0)
    nearly = {"weight": {SECOND: grads.weight[SECOND] * (1 + 1e-7)}}
    assert_gradients_match(nearly, grads, rtol=1.1e-7, problem=problem)
    with pytest.raises(Mismatch):
        assert_gradients_match(nearly, grads, rtol=0.9e-7, problem=problem)


def test_the_worst_synapse_is_named():
    problem = layered()
    _, grads = es.value_and_grad(problem.solution, problem.loss)
    wrong = grads.weight[SECOND].copy()
    wrong[1, 2] += 1.0
    with pytest.raises(
        Mismatch, match=r"dL/dw differ at synapse \[post 1, pre 2\] of \('hidden', 'out'\): expected"
    ):
        assert_gradients_match({"weight": {SECOND: wrong}}, grads, rtol=1e-9)


def test_explanations_are_named_with_the_problem_and_plain_ones_without():
    problem = layered()
    _, grads = es.value_and_grad(problem.solution, problem.loss)
    wrong = {"weight": {SECOND: -grads.weight[SECOND] * 5e-3}}
    with pytest.raises(Mismatch, match="looks like: a factor -tau_syn"):
        assert_gradients_match(wrong, grads, rtol=1e-9, problem=problem)
    with pytest.raises(Mismatch, match=r"all of them are -0.005 times what was expected"):
        assert_gradients_match(wrong, grads, rtol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_everything_that_is_right_passes(reduction):
    problem = layered()
    results = everything(problem, reduction)
    errors = check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=0.0, reduction=reduction)
    assert set(errors.values()) == {0.0}
    assert {"spikes of 'out'", "loss", "weight of ('in', 'hidden')", "spike_times of 'hidden'"} <= set(errors)


def test_gradients_by_synapse_are_compared_with_sparse_ones():
    problem = layered(sparse=True)
    for reduction in ("mean", "none"):
        _, grads = es.value_and_grad(problem.solution, problem.loss, reduction=reduction)
        exact = grads.weight[FIRST]
        flat = np.stack([w.data for w in exact]) if reduction == "none" else exact.data
        terms = {"rtol": 1e-9, "reduction": reduction, "problem": problem}
        assert_gradients_match({"weight": {FIRST: flat}}, grads, **terms)
        with pytest.raises(Mismatch, match=r"(?s)synapse \[post .*looks like: a factor -1") as off:
            assert_gradients_match({"weight": {FIRST: -flat}}, grads, **terms)
        post, pre = exact[0].nonzero() if reduction == "none" else exact.nonzero()
        assert (off.value.divergence.neuron, off.value.divergence.source) in set(zip(post, pre, strict=True))


def test_one_matrix_is_not_a_gradient_by_sample():
    problem = layered(sparse=True)
    _, grads = es.value_and_grad(problem.solution, problem.loss, reduction="none")
    one = {"weight": {FIRST: grads.weight[FIRST][0]}}
    with pytest.raises(ValueError, match="must be by sample, as many matrices as there are samples; got one"):
        assert_gradients_match(one, grads, rtol=1e-9, reduction="none", problem=problem)


def test_a_gradient_of_a_million_by_a_million_neurons_is_compared():
    n = 10**6
    expected = sp.csr_array(([1.0, 2.0, 3.0], ([5, 7, 9], [1, 0, n - 1])), shape=(n, n))
    other = sp.csr_array(([0.0, 1.0, 2.0, 3.5], ([2, 5, 7, 9], [2, 1, 0, n - 1])), shape=(n, n))
    beyond = sp.csr_array(([9.0, 1.0, 2.0, 3.0], ([2, 5, 7, 9], [n - 3, 1, 0, n - 1])), shape=(n, n))
    key = ("a", "b")
    assert_gradients_match({"weight": {key: expected}}, {"weight": {key: expected}}, rtol=1e-12)
    with pytest.raises(Mismatch, match=r"synapse \[post 9, pre 999999\].*expected 3\.0, got 3\.5"):
        assert_gradients_match({"weight": {key: other}}, {"weight": {key: expected}}, rtol=1e-12)
    with pytest.raises(ValueError, match=r"is 9\.0 at \[2, 999997\], where there is no synapse"):
        assert_gradients_match({"weight": {key: beyond}}, {"weight": {key: expected}}, rtol=1e-12)


def test_sparse_gradients_are_compared_at_their_synapses():
    problem = layered(sparse=True)
    results = everything(problem)
    check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=0.0)
    dense = results["weight"][FIRST].toarray()
    dense[1, 0] = 7.0  # there is no such synapse
    check_implementation(lambda _: {"weight": {FIRST: dense}}, problem, spikes_atol=0.0, rtol=0.0)
    dense[1, 1] += 1.0
    with pytest.raises(Mismatch, match=r"post 1, pre 1"):
        check_implementation(lambda _: {"weight": {FIRST: dense}}, problem, spikes_atol=0.0, rtol=1e-9)


def test_gradients_by_spike_times_go_with_the_spikes_that_come_with_them():
    net = network_of(
        {"in": 2, "out": (2, es.LIF(20e-3, 5e-3))}, {("in", "out"): {"weight": [[9.0, 0.0], [0.0, 9.0]]}}
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [0.2e-3]]])}
    problem = Problem(net, inputs, 5e-3, es.losses.TargetTimeMSE("out", [[0.0, 1e-3]]))
    results = everything(problem)
    assert problem.solution.spikes["out"].neurons.tolist() == [0, 1]
    swapped = es.SpikeTrains.from_arrays(problem.solution.spikes["out"].times, [1, 0], n_neurons=2)
    results["spikes"] = {"out": swapped}
    results["spike_times"] = {"out": results["spike_times"]["out"][::-1]}
    check_implementation(lambda _: results, problem, spikes_atol=0.3e-3, rtol=0.0)


def test_the_first_quantity_in_the_order_of_the_computation_is_named():
    problem = layered()
    results = everything(problem)
    for places in (results["weight"], results["spike_times"]):
        for place in places:
            places[place] = places[place] * 2.0
    with pytest.raises(Mismatch) as caught:
        check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=1e-9)
    assert (caught.value.divergence.quantity, caught.value.divergence.place) == ("spike_times", "out")
    results["spike_times"]["out"] = results["spike_times"]["out"] / 2.0
    with pytest.raises(Mismatch) as caught:
        check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=1e-9)
    assert (caught.value.divergence.quantity, caught.value.divergence.place) == ("weight", SECOND)
    assert "what comes before agrees: spikes of 'in'" in str(caught.value)


def test_samples_are_named_where_they_are_kept():
    problem = layered()
    results = everything(problem, "none")
    results["weight"][SECOND] = results["weight"][SECOND].copy()
    results["weight"][SECOND][1, 0, 2] += 1.0
    with pytest.raises(Mismatch, match=r"synapse \[post 0, pre 2\] of \('hidden', 'out'\) in sample 1"):
        check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=1e-9, reduction="none")


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({}, "nothing to compare"),
        ({"spikes": {}, "weight": {}}, "nothing to compare"),
        ({"weights": {}}, "'weights', which is none of spikes, loss, weight"),
        ([1], "must return a mapping"),
        ({"weight": {("in", "out"): 1.0}}, "expected are"),
        ({"loss": "low"}, "loss must be numbers"),
        ({"loss": [1.0, 2.0]}, r"loss must have shape \(\); got \(2,\)"),
        ({"spike_times": {"out": [1.0]}}, "must have shape"),
        ({"spikes": {"out": EXPECTED.select([0])}}, "n_samples 2; got 1"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(results, words):
    with pytest.raises(ValueError, match=words):
        check_implementation(lambda _: results, layered(), spikes_atol=0.0, rtol=0.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rtol": -1.0}, "rtol"),
        ({"atol": float("inf")}, "atol"),
        ({"spikes_atol": -1e-9}, "spikes_atol"),
        ({"reduction": "max"}, "reduction"),
        ({"time_step": 0.0}, "time_step"),
    ],
)
def test_terms_that_mean_nothing_are_refused(options, words):
    problem = layered()
    with pytest.raises(ValueError, match=words):
        check_implementation(lambda p: everything(p), problem, **{"spikes_atol": 0.0, "rtol": 0.0, **options})


def test_gradients_need_a_loss():
    problem = replace(layered(), loss=None)
    results = {"weight": {SECOND: np.zeros((2, 3))}}
    with pytest.raises(ValueError, match="the problem has no loss"):
        check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=0.0)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"spikes": 3}, "spikes of the implementation must be a mapping"),
        ({"spikes": [[1e-3]]}, "spikes of the implementation must be a mapping"),
        ({"weight": 3}, "weight of the implementation must be a mapping"),
        ({"spikes": {"out": [1e-3]}}, "spikes of 'out' must be a SpikeTrains"),
    ],
)
def test_results_of_another_kind_are_refused_by_name(results, words):
    problem = PROBLEMS["two layers"]()
    with pytest.raises(TypeError, match=words):
        check_implementation(lambda _: results, problem, spikes_atol=0.0, rtol=0.0)


def test_what_cannot_be_called_is_no_implementation():
    with pytest.raises(TypeError, match="implementation must be a function of a Problem; got 3"):
        check_implementation(3, PROBLEMS["two layers"](), spikes_atol=0.0, rtol=0.0)
