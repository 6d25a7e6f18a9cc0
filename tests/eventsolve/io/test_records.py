"""Do records come back as they were written, in all containers, units and orders, whole and in part?"""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

import eventsolve as es
from eventsolve.bounded import Budget
from eventsolve.io import records
from eventsolve.io.records import fields
from eventsolve.io.records.record import STATES
from eventsolve.testing import Problem, network_of, strategies

CONTAINERS = ("json", "npz", "h5")
MS = 1e-3


def complete(problem, reduction="mean"):
    """The exact solution as a record that has everything."""
    value, grads = es.value_and_grad(problem.solution, problem.loss, reduction=reduction)
    times = np.linspace(0.0, problem.t_end, 5)
    neurons = [name for name, p in problem.network.populations.items() if p.neuron is not None]
    return records.Record(
        name="exact",
        t_end=problem.t_end,
        inputs=problem.inputs,
        spikes={name: problem.solution.spikes[name] for name in neurons},
        network=problem.network,
        loss=problem.loss,
        loss_values=np.asarray(value),
        gradients={
            name: dict(getattr(grads, name))
            for name in ("weight", "delay", "tau_mem", "v_threshold", "spike_times")
        },
        reduction=reduction,
        time_step=1e-4,
        traces={
            name: records.Trace(
                times, problem.solution.voltage(name, times), problem.solution.current(name, times)
            )
            for name in neurons
        },
        notes="all of it",
    )


def example():
    net = network_of(
        {"in": 2, "out": (2, es.LIF(20e-3, [5e-3, 4e-3], t_ref=1e-3))},
        {("in", "out"): {"weight": [[9.0, 4.0], [5.0, 8.0]], "delay": 1e-3}},
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3]], [[2e-3], [2.5e-3]]])}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=10e-3, alpha=3e-3)
    return Problem(net, inputs, 50e-3, loss)


def assert_same(one, other):
    for name in (
        "name",
        "t_end",
        "reduction",
        "time_step",
        "notes",
        "scheme",
        "own_reset",
        "trials",
        "counters",
    ):
        assert getattr(one, name) == getattr(other, name)
    assert repr(Problem(one.network, one.inputs, one.t_end, one.loss)) == repr(
        Problem(other.network, other.inputs, other.t_end, other.loss)
    )
    for name in ("inputs", "spikes"):
        assert list(getattr(one, name)) == list(getattr(other, name))
        for population, trains in getattr(one, name).items():
            got = getattr(other, name)[population]
            assert (got.n_samples, got.n_neurons) == (trains.n_samples, trains.n_neurons)
            for column in ("times", "neurons", "samples"):
                np.testing.assert_array_equal(getattr(got, column), getattr(trains, column))
    np.testing.assert_array_equal(one.loss_values, other.loss_values)
    for quantity, places in one.gradients.items():
        assert set(places) == set(other.gradients[quantity])
        for place, values in places.items():
            np.testing.assert_array_equal(values, other.gradients[quantity][place])
    for population, trace in one.traces.items():
        again = other.traces[population]
        for name in ("times", "voltage", *STATES):
            np.testing.assert_array_equal(getattr(trace, name), getattr(again, name))
        assert_same_values(trace.currents, again.currents)
    assert list(one.weights) == list(other.weights)
    for when, matrices in one.weights.items():
        assert_same_values(matrices, other.weights[when])


def assert_same_values(one, other):
    assert list(one) == list(other)
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key])


@settings(max_examples=4)
@given(strategies.problems(samples=(1, 2)))
def test_every_container_gives_back_every_bit(problem):
    import tempfile
    from pathlib import Path

    record = complete(problem, "none")
    with tempfile.TemporaryDirectory() as folder:
        for ending in CONTAINERS:
            path = Path(folder) / f"record.{ending}"
            records.write(record, path)
            assert_same(record, records.read(path))
        jsonschema.validate(json.loads((Path(folder) / "record.json").read_text("utf-8")), records.schema())


def document(**changes):
    """A small record as somebody else would write it."""
    return {
        "format": "eventsolve-record",
        "version": 1,
        "name": "by hand",
        "t_end": 50.0,
        "n_samples": 2,
        "conventions": {"time_unit": "ms", "time_step": 0.0005, "reduction": "mean"},
        "network": {
            "populations": [
                {"name": "in", "size": 2, "model": "input"},
                {"name": "out", "size": 2, "model": "LIF", "tau_mem": 20, "tau_syn": [5, 4], "t_ref": 1},
            ],
            "projections": [{"pre": "in", "post": "out", "weight": [[9, 4], [5, 8]], "delay": 1}],
        },
        "inputs": {
            "in": {"n_neurons": 2, "times": [0, 1, 2, 2.5], "neurons": [0, 1, 0, 1], "samples": [0, 0, 1, 1]}
        },
        **changes,
    }


def read(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return records.read(path)


def test_times_are_in_seconds_whatever_the_file_says(tmp_path):
    gradients = {
        "tau_mem": {"out": [3.0, 4.0]},
        "delay": [{"pre": "in", "post": "out", "values": [[1.0, 2.0], [3.0, 4.0]]}],
        "weight": [{"pre": "in", "post": "out", "values": [[1.0, 2.0], [3.0, 4.0]]}],
    }
    record = read(tmp_path, document(gradients=gradients))
    expected = example()
    assert repr(Problem(record.network, record.inputs, 50e-3)) == repr(replace(expected, loss=None))
    assert record.t_end == 50 * MS
    assert record.time_step == 0.5e-3
    np.testing.assert_array_equal(record.gradients["tau_mem"]["out"], np.array([3.0, 4.0]) / MS)
    np.testing.assert_array_equal(record.gradients["delay"]["in", "out"][1], np.array([3.0, 4.0]) / MS)
    np.testing.assert_array_equal(record.gradients["weight"]["in", "out"][1], [3.0, 4.0])


@pytest.mark.parametrize("quantity", [*records.record.SYNAPTIC, *records.record.NEURONAL, "spike_times"])
@pytest.mark.parametrize(("unit", "seconds"), [("s", 1.0), ("ms", 1e-3), ("us", 1e-6)])
def test_a_derivative_by_a_time_is_per_second_whatever_the_unit_and_others_are_as_they_stand(
    tmp_path, quantity, unit, seconds
):
    """dL/dtheta of a loss that has no unit of time, for every quantity that there is."""
    is_time = quantity in ("delay", "tau_mem", "tau_syn", "t_ref", "spike_times")
    synaptic = quantity in records.record.SYNAPTIC
    values = (
        [[1.0, 2.0], [3.0, 4.0]]
        if synaptic
        else [1.0, 2.0, 3.0, 4.0]
        if quantity == "spike_times"
        else [3.0, 4.0]
    )
    place = (
        [{"pre": "in", "post": "out", "values": values}]
        if synaptic
        else {"in" if quantity == "spike_times" else "out": values}
    )
    given = document(
        conventions={"time_unit": unit, "reduction": "mean"},
        gradients={quantity: place},
        t_end=50e-3 / seconds,
    )
    given["inputs"]["in"]["times"] = [t * MS / seconds for t in given["inputs"]["in"]["times"]]
    (found,) = read(tmp_path, given).gradients[quantity].values()
    np.testing.assert_allclose(found, np.array(values) / (seconds if is_time else 1.0), rtol=1e-15)


def test_times_may_be_steps(tmp_path):
    conventions = {"time_unit": "step", "time_step": 0.0005}
    inputs = {"in": {"n_neurons": 2, "times": [0, 2, 4, 5], "neurons": [0, 1, 0, 1], "samples": [0, 0, 1, 1]}}
    record = read(tmp_path, document(conventions=conventions, inputs=inputs, t_end=100))
    np.testing.assert_array_equal(record.inputs["in"].times, example().inputs["in"].times)
    assert record.t_end == 50 * MS


@pytest.mark.parametrize(("unit", "power"), [("s", 0), ("ms", -3), ("us", -6)])
def test_whole_numbers_of_a_unit_are_the_nearest_seconds(unit, power, tmp_path):
    spikes = {"out": {"n_neurons": 2, "times": [7, 9, 29], "neurons": [0, 1, 1], "samples": [0, 0, 1]}}
    record = read(tmp_path, document(conventions={"time_unit": unit}, spikes=spikes, t_end=57, gradients={}))
    assert record.spikes["out"].times.tolist() == [float(f"{k}e{power}") for k in (7, 9, 29)]
    assert record.t_end == float(f"57e{power}")


def test_a_loss_that_is_a_square_of_times_is_in_the_square_of_their_unit(tmp_path):
    changes = {
        "loss": {"kind": "TargetTimeMSE", "population": "out", "targets": [[1, 2], [3, 4]]},
        "loss_values": 5.0,
        "gradients": {
            "weight": [{"pre": "in", "post": "out", "values": [[7, 0], [0, 0]]}],
            "spike_times": {"in": [1, 2, 3, 4]},
        },
    }
    record = read(tmp_path, document(**changes))
    np.testing.assert_array_equal(record.loss.targets, np.array([[1, 2], [3, 4]]) * MS)
    assert record.loss_values == 5e-6
    assert record.gradients["weight"]["in", "out"][0, 0] == 7e-6
    np.testing.assert_array_equal(
        record.gradients["spike_times"]["in"], np.array([1, 2, 3, 4]) * (MS**2 / MS)
    )


def test_spikes_may_stand_in_any_order_and_their_gradients_follow(tmp_path):
    inputs = {
        "in": {"n_neurons": 2, "times": [2.5, 1, 0, 2], "neurons": [1, 1, 0, 0], "samples": [1, 0, 0, 1]}
    }
    changes = {"inputs": inputs, "gradients": {"spike_times": {"in": [4, 2, 1, 3]}}}
    record = read(tmp_path, document(**changes))
    np.testing.assert_array_equal(record.inputs["in"].times, example().inputs["in"].times)
    np.testing.assert_array_equal(record.gradients["spike_times"]["in"], np.array([1.0, 2.0, 3.0, 4.0]) / MS)


def test_given_errors_follow_the_spikes_too_and_pair_with_another_runs(tmp_path):
    problem = example()
    trains = problem.solution.spikes["out"]
    back = slice(None, None, -1)
    spikes = {
        "n_neurons": 2,
        "times": (trains.times[back] / MS + 0.01).tolist(),
        "neurons": trains.neurons[back].tolist(),
        "samples": trains.samples[back].tolist(),
    }
    errors = np.arange(trains.n_spikes) + 1.0
    loss = {"kind": "GivenErrors", "errors": {"out": errors[back].tolist()}}
    record = read(tmp_path, document(spikes={"out": spikes}, loss=loss))
    _, grads = es.value_and_grad(problem.solution, record.loss, reduction="sum")
    expected = es.vjp(problem.solution, {"out": errors / MS})
    np.testing.assert_allclose(grads.weight["in", "out"], expected.weight["in", "out"], rtol=1e-12)


def test_sparse_networks_come_back(tmp_path):
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    weight = sp.csr_array([[9.0, 0.0, 1.0], [0.0, 8.0, 0.0]])
    net.connect("in", "out", weight, delay=weight * 1e-3)
    record = records.Record(
        "sparse", 10 * MS, network=net, gradients={"weight": {("in", "out"): np.array([1.0, 2.0, 3.0])}}
    )
    for ending in CONTAINERS:
        records.write(record, tmp_path / f"r.{ending}")
        again = records.read(tmp_path / f"r.{ending}")
        (projection,) = again.network.projections.values()
        np.testing.assert_array_equal(projection.weight.toarray(), weight.toarray())
        np.testing.assert_array_equal(projection.delay, net.projections["in", "out"].delay)
        np.testing.assert_array_equal(again.gradients["weight"]["in", "out"], [1.0, 2.0, 3.0])


def test_what_is_not_a_number_survives(tmp_path):
    gradient = np.array([[1.0, np.nan], [np.inf, 2.0]])
    record = records.Record("broken", 10 * MS, gradients={"weight": {("in", "out"): gradient}})
    for ending in CONTAINERS:
        records.write(record, tmp_path / f"r.{ending}")
        got = records.read(tmp_path / f"r.{ending}").gradients["weight"]["in", "out"]
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(gradient))


def test_partial_records_are_records(tmp_path):
    for name in ("network", "inputs"):
        partial = {key: value for key, value in document().items() if key != name}
        assert read(tmp_path, partial).name == "by hand"
    bare = read(tmp_path, {"format": "eventsolve-record", "version": 1, "name": "bare", "t_end": 1})
    assert (bare.spikes, bare.n_samples, bare.time_step) == ({}, 1, None)
    reference = read(tmp_path, document(network={"file": "net.npz", "sha256": "A" * 64})).network
    assert reference == records.Reference("net.npz", "a" * 64)


def test_a_loss_that_computes_what_it_likes_is_not_written(tmp_path):
    loss = es.losses.SpikeTimeLoss(lambda spikes: ([0.0], {}))
    with pytest.raises(ValueError, match="loss must be one of TTFSCrossEntropy"):
        records.write(records.Record("x", 1.0, loss=loss), tmp_path / "r.json")
    loss = es.losses.MeanVoltageCrossEntropy("out", [0], weighting=np.ones_like)
    with pytest.raises(ValueError, match="weighting of MeanVoltageCrossEntropy"):
        records.write(records.Record("x", 1.0, loss=loss), tmp_path / "r.json")


@pytest.mark.parametrize(
    "loss",
    [
        es.losses.FirstSpikeCrossEntropy("out", [0, 1], tau0=2e-3, alpha=1e-5, silent="skip"),
        es.losses.SumVoltageCrossEntropy("out", [0, 1], time_step=1e-3),
        es.losses.SpikeCountLoss("out", 14.0, upper=0.5),
        es.losses.SpikeCountLoss("out", [14.0, 3.0], lower=0.25),
        es.losses.SilentHinge("out", 1.0),
    ],
    ids=repr,
)
def test_losses_come_back_with_their_times(tmp_path, loss):
    for ending in CONTAINERS:
        records.write(records.Record("x", 10 * MS, loss=loss), tmp_path / f"r.{ending}")
        again = records.read(tmp_path / f"r.{ending}").loss
        assert type(again) is type(loss)
        assert repr(again) == repr(loss)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end with \.json, \.npz, \.h5, \.hdf5; got 'r\.pkl'"):
        records.read(tmp_path / "r.pkl")


TRAINS = document()["inputs"]["in"]
POPULATION = document()["network"]["populations"][1]
PROJECTION = document()["network"]["projections"][0]


def network(**changes):
    return {"network": {**document()["network"], **changes}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "csv"}, "format must be 'eventsolve-record'; got 'csv'"),
        ({"format": []}, "format must be 'eventsolve-record'; got \\[\\]"),
        ({"format": {}}, "format must be 'eventsolve-record'; got {}$"),
        ({"version": 2}, "version must be 1"),
        ({"version": True}, "version must be 1"),
        ({"colour": "red"}, "the record has 'colour', which is none of format, version"),
        ({"name": ""}, "name must be a string"),
        ({"t_end": 0}, "t_end must be a finite number > 0; got 0"),
        ({"t_end": True}, "t_end must be a finite number"),
        ({"t_end": [1]}, "t_end must be a finite number"),
        ({"n_samples": -1}, "n_samples must be an integer in 0.."),
        ({"n_samples": 10**18}, "n_samples must be an integer in 0.."),
        ({"n_samples": 1.5}, "n_samples must be an integer"),
        (
            {"conventions": {"time_unit": "h"}},
            "conventions.time_unit must be one of s, ms, us, step; got 'h'",
        ),
        ({"conventions": {"time_unit": "step"}}, "conventions must have 'time_step'"),
        ({"conventions": {"time_step": 0}}, "conventions.time_step must be a finite number > 0"),
        ({"conventions": {"reduction": "max"}}, "conventions.reduction must be one of mean, sum, none"),
        ({"network": []}, "network must be an object"),
        ({"network": {"file": "a", "sha256": "12"}}, "network.sha256 must be 64 hexadecimal digits"),
        (network(populations={}), "network.populations must be a list"),
        (
            network(populations=[{**POPULATION, "model": "HH"}]),
            "model must be one of input, LIF, LI; got 'HH'",
        ),
        (network(populations=[{**POPULATION, "size": 10**12}]), "size must be an integer in 0.."),
        (
            network(populations=[{**POPULATION, "tau_mem": -1}]),
            r"populations\[0\]: tau_mem must be finite and > 0",
        ),
        (network(populations=[{**POPULATION, "tau_mem": [1, 2, 3]}]), "must have one length"),
        (network(populations=[{**POPULATION, "tau": 1}]), r"populations\[0\] has 'tau'"),
        (network(populations=[POPULATION] * 2, projections=[]), "'out' of a population is taken"),
        (network(projections=[{**PROJECTION, "pre": "no"}]), r"projections\[0\]: 'no' is not a population"),
        (
            network(projections=[{**PROJECTION, "weight": [[1, 2]]}]),
            r"must have shape \(n_post, n_pre\) = \(2, 2\)",
        ),
        (network(projections=[{**PROJECTION, "weight": [[1, 2], [3]]}]), "weight must be numbers"),
        (network(projections=[{**PROJECTION, "weight": [[1, 2], [3, "4"]]}]), "weight must be numbers"),
        (network(projections=[{**PROJECTION, "delay": -1}]), "must be finite and >= 0"),
        (
            network(
                projections=[{**PROJECTION, "weight": {"indptr": [0, 1, 9], "indices": [0], "data": [1.0]}}]
            ),
            "indptr must lie in 0..1",
        ),
        (
            network(
                projections=[{**PROJECTION, "weight": {"indptr": [0, 1, 1], "indices": [7], "data": [1.0]}}]
            ),
            "indices must lie in 0..1",
        ),
        (
            network(
                projections=[
                    {**PROJECTION, "weight": {"indptr": [0, 2, 2], "indices": [1, 0], "data": [1, 2]}}
                ]
            ),
            "indices must increase within each row",
        ),
        (
            network(
                projections=[{**PROJECTION, "weight": {"indptr": [0, 2], "indices": [0, 1], "data": [1, 2]}}]
            ),
            "must be compressed rows",
        ),
        (
            {"inputs": {"in": {**TRAINS, "times": [0, 1, 2]}}},
            "as many times as neurons and samples; got 3, 4 and 4",
        ),
        ({"inputs": {"in": {**TRAINS, "times": [0, 1, 2, -1]}}}, "times must be finite and >= 0"),
        (
            {"inputs": {"in": {**TRAINS, "times": [0, 0, 2, 2], "neurons": [0] * 4}}},
            "neuron 0 spikes twice at 0.0 s in sample 0; 2 spikes repeat",
        ),
        ({"inputs": {"in": {**TRAINS, "neurons": [0, 1, 0, 2]}}}, "neurons must lie in 0..1; entry .3. is 2"),
        ({"inputs": {"in": {**TRAINS, "samples": [0, 0, 1, 2]}}}, "samples must lie in 0..1"),
        ({"inputs": {"in": {**TRAINS, "n_neurons": 3}}}, "inputs of 'in' must be of 2 neurons; got 3"),
        ({"inputs": {"other": TRAINS}}, "inputs has 'other', which is not a population"),
        ({"inputs": {"out": TRAINS}}, "inputs has 'out', which is no input"),
        ({"inputs": {"in": {k: v for k, v in TRAINS.items() if k != "samples"}}}, "must have 'samples'"),
        ({"loss": {"kind": "Pickle"}}, "loss.kind must be one of TTFSCrossEntropy"),
        ({"loss": {"kind": "RelativeMSE", "population": "out", "labels": [0, 1]}}, "loss must have 'gap'"),
        ({"loss": {"kind": "GivenErrors", "errors": {"out": [1.0]}}}, "'out', of which there are no spikes"),
        ({"loss": {"kind": "GivenErrors", "errors": {"in": [1.0]}}}, "4 finite numbers, one per spike"),
        ({"loss_values": [1.0, 2.0]}, r"loss values must have shape \(\) with reduction 'mean'; got \(2,\)"),
        ({"gradients": {"weights": []}}, "gradients has 'weights', which is none of weight"),
        ({"gradients": {"weight": [{"pre": "in", "post": "no", "values": 1}]}}, "gradient of weight has"),
        (
            {"gradients": {"weight": [{"pre": "in", "post": "out", "values": [1, 2]}]}},
            r"must have shape \(2, 2\) with reduction 'mean'; got \(2,\)",
        ),
        ({"gradients": {"tau_mem": {"out": [1.0]}}}, r"must have shape \(2,\)"),
        ({"gradients": {"spike_times": {"in": [1.0]}}}, r"dL/dt of 'in' must have shape \(4,\); got \(1,\)"),
        ({"gradients": {"spike_times": {"out": [1.0]}}}, "dL/dt of 'out' has no spikes beside it"),
        ({"traces": {"out": {"times": [0, 1], "voltage": [[[0, 1]]]}}}, r"\(2, n, 2\); got \(1, 1, 2\)"),
    ],
)
def test_what_is_not_a_record_is_refused_by_name(changes, words, tmp_path):
    with pytest.raises(records.RecordError, match=words) as caught:
        read(tmp_path, document(**changes))
    assert str(caught.value).startswith("record.json is not a record: ")


def test_an_array_that_cannot_be_written_is_shared_and_any_other_is_copied_and_counted():
    held = np.arange(3.0)
    held.setflags(write=False)
    budget = Budget(100)
    assert fields.reals("held", held, budget) is held
    assert budget.left == 100
    copied = fields.reals("open", np.arange(3.0), budget)
    assert budget.left == 100 - 24
    assert not copied.flags.writeable


def test_gradients_that_are_masked_or_of_no_parameter_are_refused():
    net = network_of({"in": 1, "out": (1, es.LI(20e-3, 5e-3))}, {("in", "out"): {"weight": [[2.0]]}})

    def record(gradients):
        return records.Record(
            "mine", 0.05, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, network=net, gradients=gradients
        )

    assert record({"v_leak": {"out": np.zeros(1)}}).gradients["v_leak"]["out"].shape == (1,)
    for gradients, words in (
        ({"v_threshold": {"out": np.zeros(1)}}, "'out', which is LI and has no v_threshold"),
        ({"v_leak": {"in": np.zeros(1)}}, "'in', which is an input and has no v_leak"),
        ({"weight": {("in", "out"): np.ma.array([[1.0]], mask=[[True]])}}, r"entry \[0, 0\] is masked"),
    ):
        with pytest.raises(records.RecordError, match=words):
            record(gradients)
    plain = record({"weight": {("in", "out"): np.ma.array([[1.0]])}}).gradients["weight"]["in", "out"]
    assert type(plain) is np.ndarray
