"""Numbers, losses, sparse weights and shapes of records, each just within its limits and just beyond them."""

import math
import re
import tracemalloc
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.bounded import Budget
from eventsolve.io import records
from eventsolve.io.records import RecordError, fields, losses, networks
from eventsolve.io.records.document import record_of

MS = 1e-3
BUDGET = Budget(10**9)


def one(*times):
    return es.SpikeTrains.from_lists([[list(times)]])


def test_a_number_is_finite_and_not_negative():
    largest = float(np.finfo(np.float64).max)
    for value in (0, 0.0, 1, 5e-324, largest):
        assert fields.number("x", value) == value
    for value in (-5e-324, math.nan, math.inf, -math.inf, 10**400, True, "1", None):
        with pytest.raises(RecordError, match="x must be a finite number >= 0"):
            fields.number("x", value)
    for value in (0, math.nan):
        with pytest.raises(RecordError, match="x must be a finite number > 0"):
            fields.number("x", value, positive=True)


def test_a_size_is_an_integer_up_to_its_largest():
    assert [fields.size("n", value, 5) for value in (0, 5)] == [0, 5]
    for value in (-1, 6, 2.0, True):
        with pytest.raises(RecordError, match=r"n must be an integer in 0\.\.5"):
            fields.size("n", value, 5)


LOSSES = {
    "TTFSCrossEntropy": ({"labels": [0], "alpha": 0.25}, {"tau0": 2.0, "tau1": 6.0}),
    "FirstSpikeCrossEntropy": ({"labels": [0]}, {"tau0": 2.0, "alpha": 0.25}),
    "TargetTimeMSE": ({}, {"targets": [[9.0, 7.0]]}),
    "RelativeMSE": ({"labels": [0]}, {"gap": 3.0}),
    "MaxVoltageCrossEntropy": ({"labels": [0]}, {}),
    "MeanVoltageCrossEntropy": ({"labels": [0], "weighting": "linear"}, {}),
    "SumVoltageCrossEntropy": ({"labels": [0]}, {"time_step": 0.5}),
    "InstantCrossEntropy": ({"labels": [0]}, {}),
    "SpikeCountLoss": ({"target": [2.0, 3.0], "upper": 0.5, "lower": 0.25}, {}),
    "SilentHinge": ({"level": 1.5}, {}),
}
"""Every loss that can be written: what has no unit of time, and what has one."""


@pytest.mark.parametrize("kind", losses.KINDS)
@pytest.mark.parametrize(("unit", "per_second"), [(1.0, 1), (MS, 1000)])
def test_times_of_a_loss_and_nothing_else_are_in_the_files_unit(kind, unit, per_second):
    others, times = LOSSES[kind]
    document = {"kind": kind, "population": "out", **others, **times}
    loss, said = losses.loss_of("loss", document, unit, {}, {}, BUDGET)
    assert said == ()
    assert type(loss).__name__ == kind
    for name, value in others.items():
        found = getattr(loss, name)
        assert found == value if isinstance(value, str) else np.array_equal(found, value)
    for name, value in times.items():
        np.testing.assert_array_equal(getattr(loss, name), np.asarray(value) / per_second)


def test_errors_that_are_given_are_finite_and_one_for_each_spike():
    spikes, orders = {"out": one(1 * MS, 2 * MS)}, {"out": np.array([1, 0])}

    def read(errors):
        document = {"kind": "GivenErrors", "errors": {"out": errors}}
        return losses.loss_of("loss", document, MS, spikes, orders, BUDGET)[0]

    assert read([1.0, 2.0]).errors["out"].tolist() == [
        2000.0,
        1000.0,
    ]  # per second, in the order of the spikes
    for errors in ([1.0], [1.0, 2.0, 3.0], [1.0, math.inf], [[1.0, 2.0]]):
        with pytest.raises(RecordError, match="must be 2 finite numbers, one per spike"):
            read(errors)


def test_errors_go_to_the_spikes_with_which_their_own_pair():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[9.0], [12.0]])
    solution = es.solve(net, {"in": one(1 * MS)}, 40 * MS)
    own = solution.spikes["out"]
    assert own.n_spikes >= 3
    more = [sorted([0.5 * MS, *own.times[own.neurons == 1]]), own.times[own.neurons == 0].tolist()]
    theirs = es.SpikeTrains.from_lists([[more[1], more[0]]])
    errors = np.arange(1.0, theirs.n_spikes + 1)
    extra = int(np.flatnonzero(theirs.times == 0.5 * MS)[0])
    found = losses.GivenErrors({"out": theirs}, {"out": errors}).evaluate(solution)
    assert sorted(found.spike_times["out"].tolist()) == [e for k, e in enumerate(errors) if k != extra]
    for time, neuron, error in zip(own.times, own.neurons, found.spike_times["out"], strict=True):
        (place,) = np.flatnonzero((theirs.times == time) & (theirs.neurons == neuron))
        assert error == errors[place]


def driven(*samples):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 2, es.LIF(20 * MS, 5 * MS))
    net.connect("in", "out", [[9.0], [12.0]])
    return es.solve(net, {"in": es.SpikeTrains.from_lists([[times] for times in samples])}, 40 * MS)


def test_the_loss_of_given_errors_is_the_sum_of_errors_times_times_in_each_sample():
    solution = driven([1 * MS], [], [2 * MS, 5 * MS])
    own = solution.spikes["out"]
    errors = np.arange(1.0, own.n_spikes + 1)
    values = losses.GivenErrors({"out": own}, {"out": errors}).evaluate(solution).values
    sums = [
        sum(e * t for e, t, s in zip(errors, own.times, own.samples, strict=True) if s == k) for k in range(3)
    ]
    assert sums[0] != sums[2] > 0.0
    np.testing.assert_allclose(values, sums, rtol=1e-14)


def test_spikes_pair_with_those_of_errors_however_far_apart_they_are():
    solution = driven([1 * MS])
    own = solution.spikes["out"]
    for theirs in (own.times + 30 * MS, own.times / 100):
        trains = es.SpikeTrains.from_lists([[theirs[own.neurons == n] for n in range(2)]])
        found = losses.GivenErrors({"out": trains}, {"out": np.full(own.n_spikes, 2.0)}).evaluate(solution)
        assert found.spike_times["out"].tolist() == [2.0] * own.n_spikes


def test_errors_of_no_spikes_are_none():
    solution = driven([], [])
    loss = losses.GivenErrors({"out": solution.spikes["out"]}, {"out": np.empty(0)})
    evaluation = loss.evaluate(solution)
    assert evaluation.values.tolist() == [0.0, 0.0]
    assert evaluation.spike_times["out"].size == 0


def test_errors_are_one_for_each_spike_of_a_population_that_has_spikes():
    own = driven([1 * MS]).spikes["out"]
    for n in (own.n_spikes - 1, own.n_spikes + 1):
        with pytest.raises(ValueError, match=rf"errors\['out'\] must have shape \({own.n_spikes},\)"):
            losses.GivenErrors({"out": own}, {"out": np.ones(n)})
    with pytest.raises(ValueError, match=r"a key of errors must be one of \['out'\]; got 'hidden'"):
        losses.GivenErrors({"out": own}, {"hidden": np.ones(own.n_spikes)})


def test_labels_are_as_many_as_32_bits_tell_apart():
    def read(label):
        document = {"kind": "MaxVoltageCrossEntropy", "population": "out", "labels": [0, label]}
        return losses.loss_of("loss", document, MS, {}, {}, BUDGET)[0]

    assert read(2**31 - 1).labels.tolist() == [0, 2**31 - 1]
    with pytest.raises(
        RecordError, match=r"loss.labels must lie in 0\.\.2147483647; entry \[1\] is 2147483648"
    ):
        read(2**31)


@pytest.mark.parametrize("unit", [1.0, MS])
@pytest.mark.parametrize("shared", [True, False])
def test_what_a_loss_takes_is_counted_and_less_than_twice(unit, shared):
    """Beside the numbers themselves, some kilobytes."""
    targets = np.ones((20_000, 2))
    targets.setflags(write=not shared)
    document = {"kind": "TargetTimeMSE", "population": "out", "targets": targets}
    budget = Budget(10**9)
    tracemalloc.start()
    losses.loss_of("loss", document, unit, {}, {}, budget)
    _, taken = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken - 20_000 < budget.most - budget.left < 2 * taken


def network_of(weight, shape=(3, 2)):
    document = {
        "populations": [
            {"name": "in", "size": shape[1], "model": "input"},
            {"name": "out", "size": shape[0], "model": "LIF", "tau_mem": 20, "tau_syn": 5, "t_ref": 2},
        ],
        "projections": [{"pre": "in", "post": "out", "weight": weight}],
    }
    return networks.network_of("network", document, MS, 1000, BUDGET)


def test_times_of_neurons_are_in_the_files_unit():
    network = network_of([[1.0, 0.0]] * 3)
    for name, value in (("tau_mem", 20 * MS), ("tau_syn", 5 * MS), ("t_ref", 2 * MS)):
        assert network.population("out").parameter(name).tolist() == [value] * 3


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [
        ([0, 2, 2, 3], [0, 1, 0]),
        ([0, 0, 1, 3], [1, 0, 1]),
        ([0, 1, 3, 3], [1, 0, 1]),
        ([0, 1, 2, 3], [1, 0, 0]),
        ([0, 0, 0, 0], []),
    ],
)
def test_compressed_rows_are_read_whatever_rows_are_empty(indptr, indices):
    """Columns start anew in each row."""
    data = [float(k + 1) for k in range(len(indices))]
    network = network_of({"indptr": indptr, "indices": indices, "data": data})
    dense = network.projections["in", "out"].weight.toarray()
    np.testing.assert_array_equal(dense, sp.csr_array((data, indices, indptr), shape=(3, 2)).toarray())


@pytest.mark.parametrize(
    ("indptr", "indices", "what"),
    [
        ([1, 2, 2, 3], [0, 1, 0], "must be compressed rows"),
        ([0, 2, 2, 2], [0, 1, 0], "must be compressed rows"),
        ([0, 2, 3], [0, 1, 0], "must be compressed rows"),
        ([0, 2, 1, 3], [0, 1, 0], "must be compressed rows"),
        ([0, 2, 2, 3], [0, 0, 0], "must increase within each row"),
        ([0, 2, 2, 3], [1, 0, 0], "must increase within each row"),
        ([0, 0, 0, 2], [1, 1], "must increase within each row"),
    ],
)
def test_what_are_no_compressed_rows_is_refused(indptr, indices, what):
    with pytest.raises(RecordError, match=what):
        network_of({"indptr": indptr, "indices": indices, "data": [1.0] * len(indices)})


@pytest.mark.parametrize(
    ("indices", "data", "shapes"),
    [
        ([0, 1], [1.0] * 3, r"\(4,\), \(2,\) and \(3,\)"),
        ([0, 1, 0, 1], [1.0] * 3, r"\(4,\), \(4,\) and \(3,\)"),
        ([0, 1, 0], [[1.0], [1.0], [1.0]], r"\(4,\), \(3,\) and \(3, 1\)"),
    ],
)
def test_compressed_rows_that_are_not_as_long_as_their_entries_say_how_long_they_are(indices, data, shapes):
    said = rf"compressed rows of a matrix \(3, 2\): indptr \(4,\) from 0 .*; got {shapes}"
    with pytest.raises(RecordError, match=said):
        network_of({"indptr": [0, 2, 2, 3], "indices": indices, "data": data})


@pytest.mark.parametrize(
    ("weight", "delay", "written"),
    [
        ([[9.0]], 2 * MS, 2 * MS),
        ([[9.0, 8.0]], 2 * MS, 2 * MS),
        ([[9.0, 8.0]], [[0.0, 2 * MS]], [[0.0, 2 * MS]]),
        ([[9.0, 8.0]], 0.0, None),
        (sp.csr_array([[9.0, 8.0]]), 2 * MS, 2 * MS),
        (sp.csr_array([[9.0, 8.0]]), sp.csr_array([[1 * MS, 2 * MS]]), [1 * MS, 2 * MS]),
    ],
)
@pytest.mark.parametrize("name", [None, "second"])
@pytest.mark.parametrize("synapse", ["exponential", "delta"])
def test_a_document_of_a_network_says_what_is_not_as_usual_and_gives_the_network_back(
    weight, delay, written, name, synapse
):
    net = es.Network()
    net.add_input("in", 2 if sp.issparse(weight) else len(weight[0]))
    net.add_population("out", 1, es.LI(20 * MS, 5 * MS))
    net.connect("in", "out", weight, delay=delay, name=name, synapse=synapse)
    document = networks.network_document(net)
    (said,) = document["projections"]
    assert said.keys() - {"pre", "post", "weight"} == {
        *(("name",) if name else ()),
        *(("delay",) if written else ()),
        *(("synapse",) if synapse == "delta" else ()),
    }
    assert said.get("name") == name
    assert said.get("synapse", "exponential") == synapse
    assert np.array_equal(said.get("delay"), written)
    (found,) = networks.network_of("network", document, 1.0, 9, BUDGET).projections.values()
    (given,) = net.projections.values()
    assert (found.key, found.synapse) == (given.key, synapse)
    for one, other in ((found.weights, given.weights), (found.delay, given.delay)):
        np.testing.assert_array_equal(one, other)
    assert sp.issparse(found.weight) == sp.issparse(weight)


def counted_and_taken(populations, projections=()):
    budget = Budget(10**9)
    document = {"populations": populations, "projections": list(projections)}
    tracemalloc.start()
    networks.network_of("network", document, MS, 10**6, budget)
    _, taken = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return budget.most - budget.left, taken


def population(name, n, model, tau_mem=20.0):
    return {"name": name, "size": n, "model": model} | (
        {} if model == "input" else {"tau_mem": tau_mem, "tau_syn": 5.0}
    )


def test_neurons_are_counted_one_by_one_and_those_that_have_a_state_the_most():
    counted = {
        (model, n): counted_and_taken([population("a", n, model)])[0]
        for model in networks.MODELS
        for n in (100, 1000, 10_000)
    }
    for model in networks.MODELS:
        # apart from what is counted for each parameter, whatever the number of neurons
        assert counted[model, 10_000] - counted[model, 1000] == 10 * (
            counted[model, 1000] - counted[model, 100]
        )
    assert counted["LIF", 1000] == counted["LI", 1000] > 5 * counted["input", 1000]


def test_parameters_of_neurons_are_counted_with_their_copies():
    n = 20_000
    one = counted_and_taken([population("a", n, "LIF")])
    each = counted_and_taken([population("a", n, "LIF", np.linspace(20.0, 21.0, n))])
    assert each[0] - one[0] >= each[1] - one[1] >= 8 * n


@pytest.mark.parametrize("shape", [(20_000, 1), (1, 20_000)])
@pytest.mark.parametrize("kind", ["dense", "sparse", "without entries"])
def test_what_weights_and_delays_take_is_counted(shape, kind):
    """Apart from populations, and some kilobytes."""
    weight, delay = np.ones(shape), np.ones(shape)
    if kind != "dense":
        matrix = sp.csr_array(weight if kind == "sparse" else shape)
        weight = {name: getattr(matrix, name) for name in ("indptr", "indices", "data")}
        delay = np.ones(matrix.nnz)
    populations = [population("in", shape[1], "input"), population("out", shape[0], "LIF")]
    connected = {"pre": "in", "post": "out", "weight": weight, "delay": delay}
    counted, taken = counted_and_taken(populations, [connected])
    assert counted - counted_and_taken(populations)[0] >= taken - 20_000


def small():
    return network_of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"t_end": math.inf}, "t_end must be finite and > 0"),
        ({"t_end": math.nan}, "t_end must be finite and > 0"),
        ({"trials": 2, "inputs": {"in": es.SpikeTrains.from_lists([[[], []]] * 3)}}, "divides 3 samples"),
        ({"loss_values": np.zeros(2)}, r"loss values must have shape \(\)"),
        ({"loss_values": np.zeros(()), "reduction": "none"}, r"loss values must have shape \(1,\)"),
        ({"spikes": {"out": es.SpikeTrains.from_lists([[[], []]])}}, "must be of 3 neurons; got 2"),
        ({"spikes": {"out": es.SpikeTrains.from_lists([[[]] * 4])}}, "must be of 3 neurons; got 4"),
        (
            {
                "spikes": {"out": one(1.0)},
                "gradients": {"spike_times": {"out": np.zeros((1, 1))}},
                "network": None,
            },
            r"dL/dt of 'out' must have shape \(1,\)",
        ),
        (
            {
                "traces": {
                    "out": records.Trace(
                        np.zeros(1), np.zeros((1, 3, 1)), currents={("in", "in"): np.zeros((1, 3, 1))}
                    )
                }
            },
            "which is no projection to it",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given, what):
    with pytest.raises(RecordError, match=what):
        records.Record("x", **({"t_end": 1.0, "network": small()} | given))


SILENT = {"in": es.SpikeTrains.from_lists([[[], []]])}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"t_end": 0.0}, "t_end must be finite and > 0, or left out; got 0.0"),
        ({"time_step": 0.0}, "time_step must be finite and > 0"),
        ({"time_step": math.inf}, "time_step must be finite and > 0"),
        ({"trials": 0}, "trials must be an integer >= 1 that divides 1 samples; got 0"),
        ({"weights": {"later": {}}}, "weights has 'later', which is none of forward, backward, updated"),
        ({"weights": {"forward": {("in", "a"): np.zeros((3, 2))}}}, r"weights, forward, has \('in', 'a'\)"),
        (
            {"weights": {"updated": {("in", "out"): np.zeros((2, 3))}}},
            r"weights, updated, of \('in', 'out'\) must have shape \(3, 2\); got \(2, 3\)",
        ),
        ({"gradients": {"charge": {}}}, "gradients has 'charge', which is none of weight, delay"),
        ({"gradients": {"weight": {"out": np.zeros(3)}}}, "gradient of weight has 'out'; there are"),
        ({"gradients": {"tau_mem": {("in", "out"): np.zeros(3)}}}, "gradient of tau_mem has .*; there are"),
        (
            {
                "inputs": SILENT,
                "gradients": {"spike_times": {"in": np.zeros(0)}, "tau_mem": {"out": np.zeros(2)}},
            },
            r"tau_mem of 'out' must have shape \(3,\) with reduction 'mean'; got \(2,\)",
        ),
        (
            {"reduction": "none", "gradients": {"weight": {("in", "out"): np.zeros((2, 3, 3))}}},
            r"must have shape \(2, 3, 2\) with reduction 'none'; got \(2, 3, 3\)",
        ),
        ({"gradients": {"spike_times": {"out": np.zeros(0)}}}, "dL/dt of 'out' has no spikes beside it"),
        (
            {"inputs": SILENT, "arrivals": {"in": es.SpikeTrains.from_lists([[[], []]] * 2)}},
            "arrivals of 'in' has 2 samples, where others have 1",
        ),
        ({"spikes": {"other": one(1.0)}}, r"spikes has 'other', which is not a population"),
        ({"arrivals": {"in": one(1.0)}}, "arrivals of 'in' must be of 2 neurons; got 1"),
        ({"inputs": {"out": es.SpikeTrains.from_lists([[[]] * 3])}}, "inputs has 'out', which is no input"),
        (
            {"traces": {"out": records.Trace(np.zeros(5), np.zeros((1, 4, 5)))}},
            "voltage of 'out' must be of 3 neurons; got 4",
        ),
        (
            {"traces": {"out": records.Trace(np.zeros(5), np.zeros((1, 3, 6)))}},
            r"voltage of 'out' must have shape .* = \(1, n, 5\); got \(1, 3, 6\)",
        ),
        (
            {"traces": {"out": records.Trace(np.zeros((1, 5)), np.zeros((1, 3, 5)))}},
            "must be a vector of finite",
        ),
        (
            {"traces": {"out": records.Trace(np.array([math.nan]), np.zeros((1, 3, 1)))}},
            "must be a vector of finite numbers",
        ),
        (
            {"traces": {"out": records.Trace(np.zeros(1), np.zeros((1, 3, 1)), slope=np.zeros((1, 3, 2)))}},
            r"slope of 'out' must have the voltage's shape, \(1, 3, 1\); got \(1, 3, 2\)",
        ),
    ],
)
def test_a_part_that_does_not_fit_is_refused_by_name(given, what):
    with pytest.raises(RecordError, match=what):
        records.Record("x", **({"t_end": 1.0, "network": small()} | given))


def test_the_size_of_the_batch_is_that_of_whatever_has_samples():
    values, trace = np.ones(4), records.Trace(np.zeros(2), np.zeros((4, 3, 2)))
    trains = {"out": es.SpikeTrains.from_lists([[[]] * 3] * 4)}
    for given in (
        *({name: trains} for name in ("inputs", "spikes", "arrivals")),
        {"traces": {"out": trace}},
        {"loss_values": values, "reduction": "none"},
        {"gradients": {"weight": {("in", "out"): np.zeros((4, 3, 2))}}, "reduction": "none"},
        {"gradients": {"tau_mem": {"out": np.zeros((4, 3))}}, "reduction": "none"},
    ):
        assert records.Record("x", **given).n_samples == 4
    # of gradients over the batch, and of spikes in the whole batch, the first axis is another
    for given in (
        {"gradients": {"weight": {("in", "out"): np.zeros((4, 2))}}, "loss_values": np.ones(())},
        {"gradients": {"delay": {}}, "reduction": "none"},
    ):
        assert records.Record("x", **given).n_samples == 1


def test_gradients_of_sparse_projections_are_by_synapse_and_of_others_as_they_are():
    weight, rows = sp.csr_array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]), np.arange(6.0).reshape(3, 2)
    by_synapse = rows[weight.toarray() != 0.0]
    masked = sp.csr_array(np.where(weight.toarray() == 0.0, 0.0, rows))  # 0 at [0, 0] is not stored
    for like, reduction, given, found in (
        (weight, "mean", rows, by_synapse),
        (weight, "mean", by_synapse, by_synapse),
        (weight, "mean", by_synapse.tolist(), by_synapse),
        (weight, "none", np.stack([rows, 2 * rows]), np.stack([by_synapse, 2 * by_synapse])),
        (
            weight,
            "none",
            [masked, 2 * masked],
            np.stack([by_synapse, 2 * by_synapse]),
        ),
        (weight, "none", np.stack([by_synapse] * 2), np.stack([by_synapse] * 2)),
        (weight.toarray(), "mean", sp.csr_array(rows), rows),
        (weight.toarray(), "mean", rows, rows),
        (weight.toarray(), "none", [sp.csr_array(rows)] * 2, np.stack([rows] * 2)),
    ):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 3, es.LIF(20 * MS, 5 * MS))
        net.connect("in", "out", like)
        record = records.Record(
            "x", network=net, gradients={"weight": {("in", "out"): given}}, reduction=reduction
        )
        np.testing.assert_array_equal(record.weight["in", "out"], found)
    for given, beyond in (
        (sp.csr_array(rows), "1.0 at [0, 1]"),
        (sp.csr_array([[0.0, 0.0], [math.nan, 0.0], [0.0, 0.0]]), "nan at [1, 0]"),
    ):
        net = es.Network()
        net.add_input("in", 2)
        net.add_population("out", 3, es.LIF(20 * MS, 5 * MS))
        net.connect("in", "out", weight)
        with pytest.raises(ValueError, match=re.escape(f"is {beyond}, where there is no synapse")):
            records.Record("x", network=net, gradients={"weight": {("in", "out"): given}}, reduction="mean")
    for given in (sp.csr_array(rows), [sp.csr_array(rows), sp.csr_array(rows)], [sp.csr_array(rows), rows]):
        with pytest.raises(
            RecordError, match=r"gradient of weight of \('in', 'out'\) is sparse; which synapses"
        ):
            records.Record("x", gradients={"weight": {("in", "out"): given}}, reduction="none")
    for given in ([[1.0, 2.0]], [], rows):  # what is not sparse says itself what it is of
        found = records.Record("x", gradients={"weight": {("in", "out"): given}}).weight["in", "out"]
        np.testing.assert_array_equal(found, given)


def test_a_problem_wants_the_network_the_inputs_and_the_end():
    net, inputs = small(), SILENT
    whole = records.Record("x", 1.0, inputs, network=net)
    assert whole.problem().network is net
    other = small()
    assert whole.problem(other).network is other
    referred = records.Record("x", 1.0, inputs, network=records.Reference("net.nir"))
    assert referred.problem(net).network is net
    for record, said in (
        (referred, "the network of the record x is in 'net.nir'; give it"),
        (records.Record("x", 1.0, inputs), "the network of the record x is nowhere; give it"),
        (records.Record("x", 1.0, network=net), r"the record x has no spikes of the inputs \['in'\]"),
        (records.Record("x", None, inputs, network=net), "does not say when the run ended, t_end"),
    ):
        with pytest.raises(RecordError, match=said):
            record.problem()


def test_a_record_shows_what_it_has_and_what_it_has_not():
    def shown(record):
        title, *rows = repr(record).splitlines()
        return title, dict(row.split(maxsplit=1) for row in rows)

    assert records.Record("bare").own_reset  # and its dL/dt are as the exact ones, if it has any
    title, rows = shown(records.Record("bare"))
    assert title == "Record(bare: 1 sample in continuous time)"
    assert rows == dict.fromkeys(("network", "inputs", "spikes", "loss", "gradients"), "none")
    title, rows = shown(
        records.Record(
            "mine",
            0.25,
            SILENT,
            {"out": es.SpikeTrains.from_lists([[[0.1, 0.2], [], []]])},
            small(),
            es.losses.SilentHinge("out", level=1.5),
            np.ones(()),
            {"weight": {("in", "out"): np.zeros((3, 2))}, "delay": {}},
            time_step=2 * MS,
            traces={"out": records.Trace(np.zeros(1), np.zeros((1, 3, 1)))},
            notes=["a note", "another"],
            counters={"saturations": 3},
        )
    )
    assert title == "Record(mine: 1 sample, 250 ms in steps of 2 ms)"
    assert rows.pop("network").startswith("Network(")
    assert rows.pop("loss") == "SilentHinge"
    assert rows == {
        "inputs": "in",
        "spikes": "2 of out",
        "gradients": "weight",
        "traces": "out",
        "counters": "3 saturations",
        "notes": "a note another",
    }


def test_currents_are_of_projections_to_their_population():
    net = small()
    net.add_population("next", 3, es.LIF(20 * MS, 5 * MS))
    net.connect("out", "next", np.zeros((3, 3)))
    trace = records.Trace(np.zeros(1), np.zeros((1, 3, 1)), currents={("out", "next"): np.zeros((1, 3, 1))})
    records.Record("x", network=net, traces={"next": trace})
    with pytest.raises(RecordError, match="which is no projection to it"):
        records.Record("x", network=net, traces={"out": trace})


def test_derivatives_by_spike_times_are_of_the_spikes_that_were_computed():
    """Of an input that the implementation moved: of the moved ones."""
    given, moved = one(1 * MS, 2 * MS), one(1 * MS)
    record = records.Record(
        "x", inputs={"in": given}, spikes={"in": moved}, gradients={"spike_times": {"in": np.zeros(1)}}
    )
    assert record.spike_times["in"].shape == (1,)
    with pytest.raises(RecordError, match="must have shape"):
        records.Record(
            "x", inputs={"in": given}, spikes={"in": moved}, gradients={"spike_times": {"in": np.zeros(2)}}
        )


@pytest.mark.parametrize(
    ("by", "exact"), [(1e-3, "1/1000"), (1e-6, "1/1000000"), (0.5, "1/2"), (1.0, 1), (1.5, "3/2")]
)
def test_numbers_times_a_unit_are_rounded_once(by, exact):
    for value in (1.0, 3.0, 9.0, 29.0, 2.0**-30):
        assert fields.times(value, by) == float(Fraction(value) * Fraction(exact))
        assert fields.times(np.array([value]), by).tolist() == [fields.times(value, by)]


@pytest.mark.parametrize("by", [0.0, 5e-324, 1e-309, 1e-300, 1e300, math.inf])
def test_a_unit_of_any_size_multiplies(by):
    assert fields.times(2.0, by) == 2.0 * by
    assert fields.times(np.array([2.0, 3.0]), by).tolist() == [2.0 * by, 3.0 * by]


def test_steps_of_any_length_are_units():
    document = {"format": "eventsolve-record", "version": 1, "name": "x", "t_end": 5}
    for step in (5e-324, 1e-309, 1e-3, 1e300):
        said = {"conventions": {"time_unit": "step", "time_step": step}}
        assert record_of(document | said, BUDGET).t_end == fields.times(5.0, step)


def test_what_is_scaled_by_1_is_itself_and_costs_nothing():
    values = np.array([1.0, 3.0])
    budget = Budget(100)
    assert fields.scaled("x", values, 1.0, budget) is values
    assert budget.left == 100
    for by in (2.0, 0.0):
        assert fields.scaled("x", values, by, budget).tolist() == [by, 3 * by]
    assert budget.left == 100 - 2 * 16


def test_numbers_of_other_kinds_are_copied_though_they_cannot_be_written():
    given = np.array([1.5, 2.5], dtype=np.float32)
    given.setflags(write=False)
    budget = Budget(100)
    found = fields.reals("x", given, budget)
    assert (found.dtype, found.tolist(), budget.left) == (np.float64, [1.5, 2.5], 100 - 16)
    assert not found.flags.writeable


def test_truth_values_and_gaps_are_no_numbers_wherever_they_are():
    for value in (True, [True], [1, [False]]):
        with pytest.raises(RecordError, match=r"x must be numbers; (True|False) is among them"):
            fields.reals("x", value, BUDGET)
        with pytest.raises(RecordError, match=r"x must be numbers; (True|False) is among them"):
            fields.indices("x", value, 9, BUDGET)
    np.testing.assert_array_equal(
        fields.reals("x", [1.0, None, 2.0], BUDGET, gaps=True), [1.0, math.nan, 2.0]
    )
    for read in (fields.reals, partial(fields.indices, bound=9)):
        with pytest.raises(RecordError, match=r"x must be .*None"):
            read("x", [1, None], budget=BUDGET)


def test_an_object_has_what_it_needs_and_nothing_that_is_not_known():
    given = {"a": 1, "//": "a comment", "b": 2}
    assert fields.mapping("x", given) is given
    assert fields.mapping("x", given, ("a",), ("b", "c")) == {"a": 1, "b": 2}
    assert fields.mapping("x", {"b": 2}, (), ("b",)) == {"b": 2}
    for required, optional, said in (
        (("c",), None, "x must have 'c'; it has"),
        (("a",), (), "x has 'b', which is none of a"),
        ((), ("a",), "x has 'b', which is none of a"),
    ):
        with pytest.raises(RecordError, match=said):
            fields.mapping("x", given, required, optional)
    for value, said in (([], "x must be an object"), ({"\ud800": 1}, "which is no string of characters")):
        with pytest.raises(RecordError, match=said):
            fields.mapping("x", value)


def test_a_text_is_of_characters_and_one_of_those_that_there_are():
    assert fields.text("x", "é") == fields.text("x", "é", ("a", "é")) == "é"
    for value in ("", "\ud800", 1, None):
        with pytest.raises(RecordError, match="x must be a string"):
            fields.text("x", value)
    with pytest.raises(RecordError, match="x must be one of a, b; got 'c'"):
        fields.text("x", "c", ("a", "b"))
    assert fields.listed("x", [1]) == [1]
    with pytest.raises(RecordError, match="x must be a list"):
        fields.listed("x", (1,))


def test_what_reading_takes_is_counted_once_for_arrays_and_for_lists():
    for read, values in (
        (fields.reals, [1.0, 2.0, 3.0]),
        (partial(fields.indices, bound=9), [1, 2, 3]),
    ):
        for given in (values, np.array(values, dtype=np.float32 if read is fields.reals else np.int32)):
            budget = Budget(100)
            read("numbers", given, budget=budget)
            assert budget.left == 100 - 24
