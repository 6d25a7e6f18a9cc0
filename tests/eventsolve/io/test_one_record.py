"""Is what targets return what files hold, whatever part of it there is, and in whatever layout?"""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.compare import compare
from eventsolve.io import records
from eventsolve.io.records.record import QUANTITIES
from tests.eventsolve.io.test_records import assert_same, example
from validation.grid.time_stepped import TimeStepped
from validation.oracle import oracle

CONTAINERS = ("json", "npz", "h5")


@pytest.mark.parametrize("ending", CONTAINERS)
@pytest.mark.parametrize("run", [oracle, TimeStepped(1e-4).run], ids=["oracle", "time-stepped"])
def test_what_a_target_returns_can_be_written_and_comes_back(tmp_path, run, ending):
    record = run(example())
    records.write(record, tmp_path / f"r.{ending}")
    again = records.read(tmp_path / f"r.{ending}")
    assert_same(record, again)
    assert again.counters == record.counters
    assert again.n_samples == 2
    assert compare(record, replace(again, name="again"), window=0.0).first is None


def test_a_record_is_of_its_problem():
    problem = example()
    record = records.Record.of(problem, "mine", spikes={"out": problem.solution.spikes["out"]})
    assert (record.t_end, record.network, record.loss) == (problem.t_end, problem.network, problem.loss)
    assert (record.reduction, record.loss_values, record.weight) == ("none", None, {})
    assert record.trains == {"in": problem.inputs["in"], "out": problem.solution.spikes["out"]}
    moved = es.SpikeTrains.from_lists([[[1e-3], [1e-3]], [[2e-3], [3e-3]]])
    assert replace(record, spikes={"in": moved}).trains["in"] is moved


def test_the_oracle_gives_the_gradient_of_everything():
    problem = example()
    record = oracle(problem)
    _, grads = es.value_and_grad(problem.solution, problem.loss, reduction="none")
    assert tuple(record.gradients) == QUANTITIES
    for quantity in QUANTITIES:
        for place, values in getattr(grads, quantity).items():
            np.testing.assert_array_equal(record.gradients[quantity][place], values)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_sparse_gradients_are_by_synapse_in_any_layout(reduction):
    weight = sp.csr_array(np.array([[9.0, 0.0, 4.0], [0.0, 8.0, 0.0]]))
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", weight)
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3], []], [[2e-3], [2.5e-3], [3e-3]]])}
    problem = replace(example(), network=net, inputs=inputs)
    _, grads = es.value_and_grad(problem.solution, problem.loss, reduction=reduction)
    given = grads.weight["in", "out"]
    rows = list(given) if reduction == "none" else [given]
    flat, dense = np.stack([row.data for row in rows]), np.stack([row.toarray() for row in rows])
    others = [sp.coo_array(row) for row in dense]  # without what is stored as 0
    layouts = [flat, dense, others] if reduction == "none" else [flat[0], dense[0], others[0]]
    for values in (given, *layouts):
        record = records.Record(
            "mine",
            1.0,
            inputs,
            network=net,
            gradients={"weight": {("in", "out"): values}},
            reduction=reduction,
        )
        np.testing.assert_array_equal(
            record.weight["in", "out"], flat if reduction == "none" else flat[0], strict=True
        )
    with pytest.raises(records.RecordError, match="only the network says"):
        records.Record("mine", gradients={"weight": {("in", "out"): given}}, reduction=reduction)


def test_any_part_says_how_many_samples_there_are():
    record = records.Record("values alone", loss_values=np.ones(3), reduction="none")
    assert record.n_samples == 3
    assert records.Record("a mean", loss_values=np.array(1.0)).n_samples == 1
    gradients = {"weight": {("in", "out"): np.zeros((4, 2, 2))}}
    assert records.Record("gradients", gradients=gradients, reduction="none").n_samples == 4
    trace = records.Trace(np.zeros(1), np.zeros((3, 1, 1)))
    with pytest.raises(records.RecordError, match=r"loss values must have shape \(3,\)"):
        records.Record("two", traces={"out": trace}, loss_values=np.ones(4), reduction="none")


def test_gradients_reduced_in_other_ways_are_compared_as_means():
    """Of two records one of which has each sample's own gradients and the other their sum, or the mean."""
    problem = example()
    exact = oracle(problem)
    for reduction in ("mean", "sum", "none"):
        value, grads = es.value_and_grad(problem.solution, problem.loss, reduction=reduction)
        given = {quantity: getattr(grads, quantity) for quantity in ("weight", "spike_times")}
        record = replace(
            exact, name="mine", loss_values=np.asarray(value), gradients=given, reduction=reduction
        )
        found = compare(exact, record, window=0.0, tolerance=1e-14)
        assert found.first is None
        wrong = replace(record, gradients={"weight": {("in", "out"): 1.5 * grads.weight["in", "out"]}})
        found = compare(exact, wrong, window=0.0, tolerance=1e-14)
        assert found.first.label == "dL/dw of in → out"
        assert found.weight["in", "out"].mean.relative_error == pytest.approx(0.5)


def test_a_record_cannot_be_changed_and_can_be_sent_away():
    record = replace(oracle(example()), notes=["first", "second"])
    for one in (record, pickle.loads(pickle.dumps(record))):
        assert one.notes == ("first", "second")
        with pytest.raises(ValueError, match="read-only"):
            one.gradients["weight"]["in", "out"][0] = 0.0
        with pytest.raises(TypeError):
            one.gradients["weight"]["in", "out"] = 0.0
