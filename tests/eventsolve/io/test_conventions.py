"""Does a record say what real dumps are like, and are its numbers read as what they stand for?"""

from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventsolve as es
from eventsolve.compare import compare
from eventsolve.io import records
from eventsolve.io.records.document import document_of
from eventsolve.io.records.scheme import CHOICES
from tests.eventsolve.io.test_records import assert_same, document, example, read
from validation import check
from validation.grid.time_stepped import TimeStepped
from validation.oracle import oracle

CONTAINERS = ("json", "npz", "h5")
KEY = ("in", "out")


def everything():
    """A record with every key that is optional."""
    record = TimeStepped(1e-4, transport=1, propagators="euler").run(example())
    trace = record.traces["out"]
    states = {
        name: trace.voltage + shift
        for name, shift in (("adjoint_voltage", 1.0), ("adjoint_current", 2.0), ("slope", 3.0))
    }
    weight = record.network.projections[KEY].weight
    return replace(
        record,
        traces={"out": replace(trace, **states, currents={KEY: trace.current - 1.0})},
        counters={"dropped packets": 3, "spikes left out": 0},
        arrivals={"out": record.spikes["out"]},
        own_reset=False,
        trials=2,
        notes=("First.", "Second."),
        weights={"forward": {KEY: weight}, "backward": {KEY: weight + 0.5}, "updated": {KEY: weight - 0.01}},
        scheme=replace(
            record.scheme,
            number="s16.15",
            one_spike=True,
            reset_between_samples=False,
            traced_current="left",
        ),
    )


@pytest.mark.parametrize("ending", CONTAINERS)
def test_everything_comes_back(tmp_path, ending):
    record = everything()
    records.write(record, tmp_path / f"r.{ending}")
    again = records.read(tmp_path / f"r.{ending}")
    assert_same(record, again)
    assert again.scheme == records.Scheme(
        "euler", "voltage_first", "nearest", 1, False, "grid", "s16.15", False, True, "seen", "left"
    )


def test_everything_is_in_the_schema(tmp_path):
    import json

    records.write(everything(), tmp_path / "r.json")
    written = json.loads((tmp_path / "r.json").read_text("utf-8"))
    jsonschema.validate(written, records.schema())
    assert set(written) == set(records.schema()["properties"])
    known = records.schema()["properties"]
    assert set(written["scheme"]) == set(known["scheme"]["properties"])
    for name, choices in CHOICES.items():
        assert tuple(known["scheme"]["properties"][name]["enum"]) == choices


def test_old_records_are_read_alike(tmp_path):
    """What says nothing new is what it was."""
    record = read(tmp_path, document())
    assert (record.scheme, record.own_reset, record.trials) == (records.Scheme(), True, 1)
    assert (record.weights, record.counters) == ({}, {})
    assert not {"scheme", "weights", "counters"} & set(document_of(record))
    assert set(document_of(record)["conventions"]) == {"time_unit", "reduction", "time_step"}


def test_times_that_start_their_step_become_those_of_its_end(tmp_path):
    spikes = {"out": {"n_neurons": 2, "times": [3, 4], "neurons": [0, 1], "samples": [0, 1]}}
    traces = {"out": {"times": [0, 1], "voltage": np.zeros((2, 2, 2)).tolist()}}
    conventions = {"time_unit": "ms", "time_step": 5e-4}
    given = document(spikes=spikes, traces=traces)
    read_as = {
        stamp: read(tmp_path, given | {"conventions": conventions | {"stamp": stamp}})
        for stamp in ("end", "start")
    }
    np.testing.assert_array_equal(read_as["end"].spikes["out"].times, [3e-3, 4e-3])
    np.testing.assert_array_equal(read_as["start"].spikes["out"].times, [3.5e-3, 4.5e-3])
    np.testing.assert_array_equal(read_as["start"].traces["out"].times, [5e-4, 1.5e-3])
    assert read_as["start"].inputs["in"] == read_as["end"].inputs["in"]
    with pytest.raises(records.RecordError, match="must have 'time_step', for times that are the start"):
        read(tmp_path, given | {"conventions": {"time_unit": "ms", "stamp": "start"}})


@given(st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6))
def test_a_factor_is_taken_out_again(factor):
    from eventsolve.bounded import Budget
    from eventsolve.io.records.document import record_of

    problem = example()
    exact = oracle(problem)
    plain = replace(exact, reduction="none", time_step=1e-3)
    written = document_of(plain)
    written["gradients"]["weight"] = [
        entry | {"values": factor * entry["values"]} for entry in written["gradients"]["weight"]
    ]
    written["loss_values"] = factor * plain.loss_values
    factors = {"weight": {"factor": factor, "name": "dt dL/dw"}, "loss": {"factor": factor}}
    written["conventions"]["factors"] = factors
    record = record_of(written, Budget(2**26))
    np.testing.assert_allclose(record.weight[KEY], exact.weight[KEY], rtol=1e-15)
    np.testing.assert_allclose(record.loss_values, exact.loss_values, rtol=1e-15)
    np.testing.assert_array_equal(record.gradients["tau_mem"]["out"], exact.gradients["tau_mem"]["out"])
    assert f"weight was written as dt dL/dw, and divided by {factor!r}." in record.notes


def test_what_pytorch_eventprop_writes_is_read_as_the_gradient(tmp_path):
    """Its weight gradients are dt times the sum over the batch of dL/dw."""
    problem, step = example(), 1e-3
    _, grads = es.value_and_grad(problem.solution, problem.loss, reduction="sum")
    written = document_of(oracle(problem))
    written["conventions"] |= {
        "reduction": "sum",
        "time_step": step,
        "factors": {"weight": {"factor": step, "name": "dt dL/dw"}},
    }
    del written["loss_values"]
    values = (step * grads.weight[KEY]).tolist()
    written["gradients"] = {"weight": [{"pre": "in", "post": "out", "values": values}]}
    import json

    record = read(tmp_path, json.dumps(written, default=lambda array: array.tolist()))
    run = check.check(record, record.network)
    assert run.comparison.first is None
    assert run.comparison.weight[KEY].mean.relative_error < 1e-15


@pytest.mark.parametrize("bad", [0, 1e-320, 1e300, True, "2", None])
def test_factors_that_are_none(tmp_path, bad):
    conventions = {"factors": {"weight": {"factor": bad}}}
    with pytest.raises(records.RecordError, match=r"conventions.factors.weight.factor must be a number with"):
        read(tmp_path, document(conventions=conventions))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"scheme": {"propagators": "heun"}},
            r"scheme.propagators must be one of exact, exponential, euler",
        ),
        ({"scheme": {"transport": -1}}, "transport of the scheme must be an integer >= 0"),
        ({"scheme": {"transport": True}}, "transport of the scheme must be an integer >= 0"),
        ({"scheme": {"inclusive": 1}}, "inclusive of the scheme must be true or false"),
        ({"scheme": {"number": ""}}, "scheme.number must be a string"),
        ({"scheme": {"number": None}}, "scheme.number must be left out where it is not known"),
        ({"scheme": {"speed": 1}}, "scheme has 'speed', which is none of"),
        ({"counters": {"drops": -1}}, "counters of 'drops' must be an integer in 0"),
        ({"counters": {"drops": 1.5}}, "counters of 'drops' must be an integer in 0"),
        ({"conventions": {"own_reset": 1}}, "own_reset must be true or false"),
        ({"conventions": {"trials": 3}}, "trials must be an integer >= 1 that divides 2 samples"),
        ({"conventions": {"trials": 0}}, "trials must be an integer >= 1 that divides 2 samples"),
        ({"conventions": {"stamp": "middle"}}, "conventions.stamp must be one of end, start"),
        (
            {"weights": {"sideways": []}},
            "weights has 'sideways', which is none of forward, backward, updated",
        ),
        (
            {"weights": {"forward": [{"pre": "in", "post": "out", "values": [1.0]}]}},
            r"weights, forward, of \('in', 'out'\) must have shape \(2, 2\)",
        ),
        ({"weights": {"forward": [{"pre": "out", "post": "in", "values": [1.0]}]}}, "weights, forward, has"),
        (
            {"traces": {"out": {"times": [0], "voltage": [[[0], [0]]] * 2, "slope": [0]}}},
            "slope of 'out' must have the voltage's shape",
        ),
        (
            {
                "traces": {
                    "out": {
                        "times": [0],
                        "voltage": [[[0], [0]]] * 2,
                        "currents": [{"pre": "out", "post": "in", "values": [[[0], [0]]] * 2}],
                    }
                }
            },
            r"currents of 'out' has \('out', 'in'\), which is no projection to it",
        ),
        ({"loss": {"kind": "Other"}}, "loss must have 'name'"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused(tmp_path, changes, words):
    with pytest.raises(records.RecordError, match=words):
        read(tmp_path, document(**changes))


def test_two_spikes_of_a_neuron_in_one_step_are_refused_with_what_to_do(tmp_path):
    twice = {"n_neurons": 2, "times": [7, 3, 7, 7, 3], "neurons": [1, 0, 1, 0, 0], "samples": [0, 0, 0, 0, 0]}
    conventions = {"time_unit": "step", "time_step": 1e-3}
    with pytest.raises(records.RecordError) as caught:
        read(tmp_path, document(spikes={"out": twice}, conventions=conventions))
    assert "neuron 0 spikes twice at 0.003 s in sample 0; 2 spikes repeat a time" in str(caught.value)
    assert "count the others in 'counters'" in str(caught.value)
    once = twice | {"times": [7, 3, 8, 7, 4]}
    assert read(tmp_path, document(spikes={"out": once}, conventions=conventions)).spikes["out"].n_spikes == 5


def test_a_loss_of_another_tool_is_kept_by_name_and_not_compared(tmp_path):
    problem = example()
    written = document_of(oracle(problem))
    written["loss"] = {"kind": "Other", "name": "mlGeNN's sparse cross-entropy, temperature 2"}
    import json

    record = read(tmp_path, json.dumps(written, default=lambda array: array.tolist()))
    assert record.loss is None
    assert record.weight.keys() == {KEY}
    assert any("temperature 2" in note for note in record.notes)
    run = check.check(record, record.network)
    assert {stage.kind for stage in run.comparison.stages} == {"spikes"}
    assert "dL/dw of in → out, as the record gives no loss that it is of" in run.comparison.not_given


def test_a_run_without_an_end_is_a_record_and_a_check_says_what_it_lacks(tmp_path):
    without = {key: value for key, value in document().items() if key != "t_end"}
    record = read(tmp_path, without)
    assert record.t_end is None
    assert "in steps" in repr(record)
    with pytest.raises(records.RecordError, match="does not say when the run ended, t_end"):
        check.check(replace(record, spikes={"out": example().solution.spikes["out"]}), record.network)


def test_errors_without_the_own_resets_term_are_compared_for_inputs_alone():
    exact = oracle(example())
    wrong = exact.spike_times | {"out": exact.spike_times["out"] + 1.0}
    given = replace(exact, name="mine", gradients=exact.gradients | {"spike_times": wrong})
    assert compare(exact, given, window=1e-9).first.label == "dL/dt of out"
    partial = compare(exact, replace(given, own_reset=False), window=1e-9)
    assert partial.first is None
    assert list(partial.spike_times) == ["in"]
    assert "dL/dt of out, as one of the two has no term of the neuron's own reset" in partial.not_given


def test_the_time_stepped_reference_says_its_scheme():
    target = TimeStepped(1e-3, propagators="exponential", order="current_first", transport=2, number="s16.15")
    scheme = target.run(example()).scheme
    assert all(
        getattr(scheme, name) == getattr(target, name) for name in scheme.said if hasattr(target, name)
    )
    assert (scheme.reset_between_samples, scheme.one_spike) == (True, False)
