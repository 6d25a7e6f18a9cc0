"""Do all who compare say the same of the same two results: which spikes are off, where first, and how many?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.compare import compare, match_spikes
from eventsolve.compare.divergence import (
    first_spike_divergence,
    number_divergence,
    spike_divergence,
)
from eventsolve.compare.matching import all_paired
from eventsolve.io.records import Record
from eventsolve.testing import Mismatch, assert_spikes_match, check_implementation, network_of
from tests.eventsolve.compare.test_compare import STEP, exact_record, model_of, with_train
from validation import check, junit
from validation.grid.time_stepped import TimeStepped
from validation.oracle import oracle
from validation.report import summary
from validation.target import apart

times = st.lists(st.integers(0, 40), max_size=5, unique=True).map(lambda ks: [k * 0.5e-3 for k in sorted(ks)])
trains = st.lists(st.lists(times, min_size=3, max_size=3), min_size=2, max_size=2).map(
    lambda lists: es.SpikeTrains.from_lists(lists, n_neurons=3)
)


def layers():
    """Two layers, of which each sample's two inputs make every neuron spike."""
    net = network_of(
        {"in": 2, "hidden": (2, es.LIF(20e-3, 5e-3)), "out": (2, es.LIF(20e-3, 5e-3))},
        {
            ("in", "hidden"): {"weight": [[7.0, 4.0], [5.0, 6.0]]},
            ("hidden", "out"): {"weight": [[6.0, 5.0], [4.0, 7.0]], "delay": 1e-3},
        },
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3]], [[2e-3], [2.5e-3]]])}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=10e-3, alpha=3e-3)
    return es.Problem(net, inputs, 30e-3, loss)


def moved(trains, sample, neuron, by):
    lists = trains.to_lists()
    lists[sample][neuron][0] += by
    lists[sample][neuron].sort()
    return es.SpikeTrains.from_lists(lists)


@given(trains, trains, st.sampled_from([0.0, 0.5e-3, 1.2e-3, 5e-3]))
def test_what_is_off_is_what_has_no_partner(exact, model, window):
    """One matching, seen by all: how many are off, which is first, and whether any is."""
    match = match_spikes("p", exact, model, window)
    found = spike_divergence(match)
    assert (found is None) == all_paired(exact, model, window) == (not match.missed.size + match.extra.size)
    assert found == first_spike_divergence({"p": exact}, {"p": model}, window)
    if found is None:
        return
    assert (found.count, found.size, found.extra) == (match.missed.size, exact.n_spikes, match.extra.size)
    assert found.count <= found.size
    off = [
        (int(t.samples[k]), float(t.times[k]))
        for t, ks in ((exact, match.missed), (model, match.extra))
        for k in ks
    ]
    first = (found.sample, min(t for t in (found.expected, found.got) if t is not None))
    assert first == min(off)
    if found.expected is not None and found.got is not None:
        assert abs(found.got - found.expected) > window


@given(trains, trains, st.sampled_from([0.5e-3, 1.2e-3]))
def test_an_assertion_fails_where_a_comparison_parts(exact, model, window):
    result = compare(Record("exact", spikes={"p": exact}), Record("mine", spikes={"p": model}), window=window)
    if result.first is None:
        assert_spikes_match({"p": model}, {"p": exact}, atol=window)
        return
    with pytest.raises(Mismatch) as caught:
        assert_spikes_match({"p": model}, {"p": exact}, atol=window)
    assert caught.value.divergence == result.first.divergence
    assert result.first.error == result.first.divergence.count + result.first.divergence.extra


def test_the_first_place_is_one_and_the_same():
    """A hidden spike off by 3 steps, beyond its window of 2.5, and one of the output by 3.2, within its 3.5."""
    problem = layers()
    solution = problem.solution
    spikes = {
        "hidden": moved(solution.spikes["hidden"], 1, 1, 3 * STEP),
        "out": moved(solution.spikes["out"], 0, 0, -3.2 * STEP),
    }
    record = Record("mine", 30e-3, problem.inputs, spikes, problem.network, time_step=STEP)
    run = check.check(record, problem.network, tolerance=0.1, patience=0.1)
    first = run.comparison.first
    assert first.label == "spikes of hidden"
    assert (first.divergence.place, first.divergence.sample, first.divergence.neuron) == ("hidden", 1, 1)
    assert list(run.findings) == ["spikes of hidden"]
    assert run.findings["spikes of hidden"].startswith("spikes differ at neuron 1 of 'hidden' in sample 1")
    assert "part first at the spikes of hidden" in summary(run.comparison)
    assert "neuron 1 of 'hidden'" in junit.to_junit(run).replace("&#x27;", "'")
    assert "'out'" not in " ".join(run.findings.values())


def test_every_place_that_parts_says_where():
    problem = layers()
    spikes = {name: moved(problem.solution.spikes[name], 0, 1, 6e-3) for name in ("hidden", "out")}
    record = Record("mine", 30e-3, problem.inputs, spikes, problem.network, time_step=STEP)
    run = check.check(record, problem.network, tolerance=0.1, patience=0.1)
    parting = [stage for stage in run.comparison.stages if not stage.agrees]
    assert [stage.label for stage in parting] == ["spikes of hidden", "spikes of out"] == list(run.findings)
    for stage in parting:
        assert stage.divergence.place == stage.where


def test_a_layer_before_another_is_first_whenever_it_spikes():
    exact = exact_record()
    late = with_train(exact, "hidden", lambda lists: lists[2][3].pop(1))
    both = with_train(replace(late, name="exact", time_step=None), "out", lambda lists: lists[0][0].pop(0))
    assert compare(exact, both).first.where == "hidden"
    depth = {"in": 0, "hidden": 1, "out": 2}
    spikes = {name: both.spikes[name] for name in ("out", "hidden")}
    assert first_spike_divergence(exact.spikes, spikes, STEP, depth).place == "hidden"
    assert first_spike_divergence(exact.spikes, spikes, STEP).place == "out"


def test_more_extra_spikes_than_expected_ones_are_counted_apart():
    """It said that 4 of 3 are off."""
    exact = es.SpikeTrains.from_lists([[[1e-3, 5e-3, 9e-3]]])
    model = es.SpikeTrains.from_lists([[[5e-3, 12e-3, 13e-3, 14e-3]]])
    with pytest.raises(Mismatch, match="2 of 3 are off or missing, 3 got are not expected"):
        assert_spikes_match(model, exact, atol=1e-4)


def test_numbers_that_differ_are_shown_to_differ():
    """It said: expected 10.2016, got 10.2016."""
    assert apart(10.20161, 10.20162).startswith("expected 10.20161, got 10.20162")
    assert apart(10.2016, 10.2016) == "expected 10.2016, got 10.2016"
    assert apart(1.0, np.nextafter(1.0, 2.0)).startswith("expected 1, got 1.0000000000000002")


def test_numbers_that_are_off_together_and_not_alone_say_so():
    """The norm is beyond the tolerance, and no entry by itself: none was named, without a word."""
    exact = exact_record()
    weight = exact.weight["in", "hidden"]
    off = model_of(exact, weight=exact.weight | {("in", "hidden"): weight + 0.09 * np.abs(weight).max()})
    stage = compare(exact, off, tolerance=0.1).first
    assert stage.kind == "dL/dw"
    assert stage.divergence.count == 0
    assert str(stage.divergence).endswith(f"none of {weight.size} by itself")
    assert number_divergence("weight", "x", weight, weight + 0.01, 1.0, per_sample=True) is None


@pytest.mark.parametrize("quantity", ["delay", "tau_mem", "v_threshold", "t_ref", "i_initial"])
def test_gradients_of_delays_and_neurons_are_compared_too(quantity):
    problem = layers()
    exact = oracle(problem)
    place = ("hidden", "out") if quantity == "delay" else "hidden"
    wrong = exact.gradients[quantity][place].copy()
    wrong[1, 0] += 1.0
    record = replace(exact, name="mine", gradients=exact.gradients | {quantity: {place: wrong}})
    result = compare(exact, record, window=1e-9)
    where = "hidden → out" if quantity == "delay" else "hidden"
    assert [stage.label for stage in result.stages if not stage.agrees] == [f"dL/d{quantity} of {where}"]
    assert (result.first.divergence.sample, result.first.divergence.neuron) == (1, 0)
    (worst,) = result.gradients[quantity][place].worst(1)
    assert (worst.post, worst.pre) == ((0, 0) if quantity == "delay" else (0, None))
    assert worst.error == pytest.approx(0.5)
    run = check.check(record, problem.network, window=1e-9, patience=0.1)
    assert [stage.label for stage in run.comparison.stages if not stage.agrees] == [result.first.label]

    def theirs(problem):
        return {"spikes": problem.solution.spikes, quantity: {place: wrong}}

    with pytest.raises(Mismatch) as caught:
        check_implementation(theirs, problem, spikes_atol=1e-9, rtol=1e-6, reduction="none")
    assert replace(caught.value.divergence, margin=0.0) == replace(result.first.divergence, margin=0.0)


def test_a_time_stepped_network_is_compared_in_all_that_it_gives():
    problem = layers()
    exact, model = oracle(problem), TimeStepped(1e-6).run(problem)
    result = compare(exact, model, window=1e-4, tolerance=0.1)
    assert result.first is None
    assert {"delay", "tau_mem", "tau_syn", "v_threshold", "v_leak"} <= set(result.gradients)
    assert result.not_given == ()
