"""Does the check of a record compare what is there, name what is off, and refuse what cannot be checked?"""

import hashlib
import json
import tracemalloc
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.compare import compare
from eventsolve.io import records
from eventsolve.testing import Problem, network_of
from validation import check as checking
from validation.cli import app as cli
from validation.grid import TimeStepped
from validation.junit import to_junit
from validation.report import summary

FIRST, SECOND = ("in", "hidden"), ("hidden", "out")


def problem():
    net = network_of(
        {"in": 2, "hidden": (3, es.LIF(20e-3, 5e-3)), "out": (2, es.LIF(19e-3, 6e-3))},
        {
            FIRST: {"weight": [[9.0, 4.0], [5.0, 8.0], [7.0, 7.0]]},
            SECOND: {"weight": [[8.0, 3.0, 5.0], [4.0, 9.0, 6.0]], "delay": 1e-3},
        },
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0, 6e-3], [2e-3]], [[1e-3], [3e-3]]])}
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=6.4e-3, alpha=3e-3)
    return Problem(net, inputs, 50e-3, loss)


def exact(given=None, reduction="mean", quantities=("weight", "delay", "tau_mem", "spike_times")):
    given = given or problem()
    value, grads = es.value_and_grad(given.solution, given.loss, reduction=reduction)
    spikes = {name: t for name, t in given.solution.spikes.items() if name not in given.inputs}
    return records.Record(
        name="mine",
        t_end=given.t_end,
        inputs=given.inputs,
        spikes=spikes,
        network=given.network,
        loss=given.loss,
        loss_values=np.asarray(value),
        gradients={name: dict(getattr(grads, name)) for name in quantities},
        reduction=reduction,
    )


def changed(record, quantity, place, change):
    gradients = {name: dict(places) for name, places in record.gradients.items()}
    gradients[quantity][place] = change(gradients[quantity][place])
    return replace(record, gradients=gradients)


def parted(run):
    return [stage.label for stage in run.comparison.stages if not stage.agrees]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_exact_record_agrees_everywhere(reduction):
    record = exact(reduction=reduction)
    run = checking.check(record, record.network)
    assert parted(run) == []
    assert run.findings == {}
    labels = {stage.label for stage in run.comparison.stages}
    assert {
        "spikes of out",
        "loss",
        "dL/dt of hidden",
        "dL/dw of in → hidden",
        "dL/dtau_mem of out",
    } <= labels
    assert all(stage.error == 0 for stage in run.comparison.stages if stage.kind == "spikes")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("quantity", "place", "label"),
    [
        ("weight", SECOND, "dL/dw of hidden → out"),
        ("delay", FIRST, "dL/ddelay of in → hidden"),
        ("tau_mem", "hidden", "dL/dtau_mem of hidden"),
        ("spike_times", "hidden", "dL/dt of hidden"),
    ],
)
def test_a_gradient_that_is_off_is_named_with_its_convention_error(quantity, place, label, reduction):
    record = changed(exact(reduction=reduction), quantity, place, lambda values: -6e-3 * values)
    if place != SECOND:
        record = changed(exact(reduction=reduction), quantity, place, lambda values: -5e-3 * values)
    run = checking.check(record, record.network)
    assert parted(run) == [label]
    assert run.diagnosis.verdict == "convention"
    assert "looks like a factor -tau_syn" in run.diagnosis.sentence


@pytest.mark.parametrize(("noise", "named"), [(0.05, True), (2.0, False)])
def test_a_convention_error_is_named_through_what_else_is_off(noise, named):
    """As on a time grid: numbers that are off by more than is allowed even without the convention error."""
    rng = np.random.default_rng(1)
    record = exact()

    def scaled(weight):
        return (weight + noise * np.abs(weight).max() * rng.uniform(-1, 1, weight.shape)) / 5e-3

    run = checking.check(changed(record, "weight", FIRST, scaled), record.network, tolerance=1e-3)
    assert ("a factor 1/tau_syn" in run.diagnosis.sentence) is named
    assert (run.diagnosis.verdict == "convention") is named


def test_the_same_in_a_sparse_network():
    given = problem()
    net = network_of(
        {"in": 2, "hidden": (3, es.LIF(20e-3, 5e-3)), "out": (2, es.LIF(19e-3, 6e-3))},
        {
            FIRST: {"weight": given.network.projections[FIRST].weight},
            SECOND: {"weight": sp.csr_array([[8.0, 0, 5], [0, 9, 6]])},
        },
    )
    given = replace(given, network=net)
    for reduction in ("mean", "none"):
        _, grads = es.value_and_grad(given.solution, given.loss, reduction=reduction)
        stored = grads.weight[SECOND]
        flat = np.stack([m.data for m in stored]) if reduction == "none" else stored.data
        record = exact(given, reduction, quantities=("spike_times",))
        record = replace(record, gradients={"weight": {SECOND: flat}, "delay": {SECOND: np.zeros_like(flat)}})
        run = checking.check(record, net)
        assert parted(run) == ["dL/ddelay of hidden → out"]
        record = replace(record, gradients={"weight": {SECOND: -flat}})
        run = checking.check(record, net)
        assert "looks like a factor -1" in run.diagnosis.sentence


def test_spikes_that_are_off_are_named_with_their_convention_error():
    given = problem()
    slower = given.network.with_delays({FIRST: 1e-3})
    late = es.solve(slower, given.inputs, given.t_end)
    record = replace(
        exact(), spikes={"hidden": late.spikes["hidden"]}, gradients={}, loss_values=None, loss=None
    )
    run = checking.check(record, record.network)
    assert parted(run) == ["spikes of hidden"]
    assert "delay 0.001 s too long: in → hidden" in run.diagnosis.sentence
    assert "times 0.001 s late, while spikes act in time" in run.diagnosis.sentence  # of one population alone


def test_a_loss_that_is_off_is_named():
    record = exact()
    run = checking.check(replace(record, loss_values=record.loss_values * 2), record.network)
    assert parted(run) == ["loss"]
    assert "a factor N" in run.diagnosis.sentence


@pytest.mark.parametrize(
    "left_out",
    [
        {"gradients": {}},
        {"gradients": {}, "loss_values": None, "loss": None},
        {"spikes": {}, "gradients": {}},
        {"loss_values": None},
    ],
)
def test_partial_records_are_checked_as_far_as_they_go(left_out, tmp_path):
    from validation import report

    record = replace(exact(), **left_out)
    run = checking.check(record, record.network)
    assert parted(run) == []
    assert run.comparison.stages
    report.write(report.document_of([run], report.provenance({}, "check")), tmp_path)
    assert "mine" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("time_step", [None, 0.5e-3])
def test_numbers_that_are_not_finite_are_told_as_such_and_off_by_no_percentage(bad, time_step):
    right = exact(quantities=("weight",))
    if time_step is not None:
        right = TimeStepped(time_step).run(problem())

    def broken(values):
        changed = np.array(values)
        changed.reshape(-1)[[1, 3]] = bad
        return changed

    wrong = changed(right, "weight", SECOND, broken)
    run = checking.check(wrong, wrong.network, patience=0.0)
    place = [int(i) for i in np.argwhere(~np.isfinite(wrong.weight[SECOND]))[0]]
    size = wrong.weight[SECOND].size
    assert (
        f"dL/dw of hidden → out not finite in 2 of {size} entries, entry {place} is {bad}"
        in run.diagnosis.name
    )
    assert "%" not in run.diagnosis.name
    assert "with numbers that are not finite" in summary(run.comparison)
    assert f"got {bad!r}, which is" in run.findings["dL/dw of hidden → out"]


def test_a_gradient_that_has_to_be_0_is_off_by_no_percentage():
    given = problem()
    net = network_of(
        {"in": 2, "quiet": 1, "hidden": (3, es.LIF(20e-3, 5e-3))},
        {
            FIRST: {"weight": [[9.0, 4.0], [5.0, 8.0], [7.0, 7.0]]},
            ("quiet", "hidden"): {"weight": np.ones((3, 1))},
        },
    )
    inputs = {**given.inputs, "quiet": es.SpikeTrains.from_lists([[[]], [[]]])}
    loss = es.losses.TTFSCrossEntropy("hidden", [0, 1], tau0=2e-3, tau1=6.4e-3, alpha=3e-3)
    right = exact(Problem(net, inputs, 50e-3, loss), quantities=("weight",))
    wrong = changed(right, "weight", ("quiet", "hidden"), np.ones_like)
    run = checking.check(wrong, net, patience=0.0)
    assert "dL/dw of quiet → hidden not 0, which it has to be" in run.diagnosis.name


def test_one_layer_alone_is_checked_with_errors_from_outside():
    """With one spike per neuron, dL/dt of a hidden spike is all that comes to it from outside."""
    given = problem()
    once = es.LIF(20e-3, 5e-3, t_ref=1.0)
    given = replace(given, network=given.network.with_neurons({"hidden": once}))
    _, grads = es.value_and_grad(given.solution, given.loss)
    spikes = given.solution.spikes
    net = network_of(
        {"in": 2, "hidden": (3, once)}, {FIRST: {"weight": given.network.projections[FIRST].weight}}
    )
    errors = records.GivenErrors({"hidden": spikes["hidden"]}, {"hidden": grads.spike_times["hidden"]})
    gradients = {"weight": {FIRST: grads.weight[FIRST]}}
    record = records.Record(
        "one layer",
        given.t_end,
        given.inputs,
        {"hidden": spikes["hidden"]},
        net,
        errors,
        None,
        gradients,
        "sum",
    )
    assert parted(checking.check(record, net)) == []
    wrong = changed(record, "weight", FIRST, np.negative)
    assert parted(checking.check(wrong, net)) == ["dL/dw of in → hidden"]


def test_a_time_stepped_implementation_agrees_to_its_step_and_parts_beyond_it(tmp_path):
    given, step = replace(problem(), t_end=13e-3), 0.02e-3
    target = TimeStepped(step)
    ran = target.run(es.Problem(given.network, given.inputs, given.t_end, given.loss))
    record = records.Record(
        target.name,
        given.t_end,
        given.inputs,
        {name: trains for name, trains in ran.spikes.items() if name != "in"},
        given.network,
        given.loss,
        ran.loss_values,
        {"weight": dict(ran.weight), "spike_times": dict(ran.spike_times)},
        "none",
        step,
        {name: records.Trace(t.times, t.voltage, t.current) for name, t in ran.traces.items()},
    )
    records.write(record, tmp_path / "r.npz")
    record = records.read(tmp_path / "r.npz")
    run = checking.check(record, record.network, window=0.2e-3, tolerance=0.1)
    assert parted(run) == []
    voltages = [stage for stage in run.comparison.stages if stage.kind == "voltage"]
    assert [stage.where for stage in voltages] == ["hidden", "out"]
    assert all(stage.error < 0.1 for stage in voltages)
    assert run.excerpt is not None
    assert parted(checking.check(record, record.network, window=0.2e-3, tolerance=1e-6))


def test_what_a_record_does_not_give_is_listed():
    record = exact(quantities=("weight", "tau_mem"))
    run = checking.check(record, record.network)
    assert "dL/dt of out, which mine does not give" in run.comparison.not_given
    lacking = "delay, tau_syn, v_threshold, v_reset, v_leak, t_ref, v_initial, i_initial"
    assert f"gradients of {lacking}, which mine does not give" in run.comparison.not_given
    assert not any("tau_mem" in said or "dL/dw" in said for said in run.comparison.not_given)
    lossless = checking.check(replace(record, loss=None), record.network)
    assert parted(lossless) == []
    assert {stage.kind for stage in lossless.comparison.stages} == {"spikes"}
    assert "dL/dw of in → hidden, as the record gives no loss that it is of" in lossless.comparison.not_given
    assert "loss, as the record gives no loss that it is of" in lossless.comparison.not_given
    silent = checking.check(replace(record, spikes={"out": record.spikes["out"]}), record.network)
    assert "spikes of hidden, which mine does not give" in silent.comparison.not_given
    wrong = changed(record, "weight", FIRST, np.negative)
    assert "dL/dw of in → hidden" in parted(checking.check(replace(wrong, spikes={}), record.network))


def test_a_record_that_asks_for_any_number_of_spikes_is_refused(tmp_path):
    """Three hundred bytes asked for 10^10 spikes, and took gigabytes and minutes."""
    net = network_of({"tonic": (1, es.LIF(20e-3, 5e-3, v_leak=2.0))})
    silent = {"tonic": es.SpikeTrains.from_lists([[[]]])}
    record = records.Record("tonic", 1e8, {}, silent, net, time_step=1e-3)
    with pytest.raises(es.SpikeBudgetError, match="more than max_spikes = 1048576 spikes"):
        checking.check(record, net)
    records.write(replace(record, t_end=10.0), tmp_path / "r.json")
    refused = invoke(tmp_path / "r.json", "--out", tmp_path, "--max-spikes", "100")
    assert refused.exit_code == 2
    assert "max_spikes = 100" in " ".join(refused.stderr.replace("│", " ").split())
    refused = invoke(tmp_path / "r.json", "--out", tmp_path, "--max-bytes", "1000")
    assert refused.exit_code == 2
    assert "max_bytes = 1000" in " ".join(refused.stderr.replace("│", " ").split())


def test_a_large_sparse_network_is_never_made_dense():
    """20,000 by 20,000 are 3 GB, of which 20 synapses are stored."""
    n, rng = 20_000, np.random.default_rng(2)
    weight = sp.csr_array(
        (rng.uniform(5, 9, 20), (rng.permutation(n)[:20], rng.permutation(n)[:20])), shape=(n, n)
    )
    net = network_of(
        {"in": n, "out": (n, es.LIF(20e-3, 5e-3, t_ref=1.0))}, {("in", "out"): {"weight": weight}}
    )
    sources = np.sort(weight.tocoo().coords[1])
    inputs = {"in": es.SpikeTrains.from_arrays(np.full(20, 1e-3), sources, n_neurons=n)}
    solution = es.solve(net, inputs, 20e-3)
    errors = {"out": np.linspace(1, 2, solution.spikes["out"].n_spikes)}
    assert errors["out"].size > 10
    loss = records.GivenErrors({"out": solution.spikes["out"]}, errors)
    gradient = es.value_and_grad(solution, loss, reduction="sum")[1].weight["in", "out"].data
    wrong = gradient.copy()
    k = int(np.abs(gradient).argmax())
    wrong[k] *= -1.5
    for given, label in ((gradient, None), (wrong, "dL/dw of in → out")):
        gradients = {"weight": {("in", "out"): given}}
        record = records.Record(
            "large", 20e-3, inputs, {"out": solution.spikes["out"]}, net, loss, None, gradients, "sum"
        )
        tracemalloc.start()
        run = checking.check(record, net)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200e6
        assert parted(run) == ([] if label is None else [label])
    assert (
        f"synapse [post {net.projections['in', 'out'].weight.tocoo().coords[0][k]}, pre"
        in run.findings["dL/dw of in → out"]
    )


# -- networks from another file --------------------------------------------------------------------------------------


def test_a_network_may_be_in_another_file(tmp_path):
    record = exact()
    path = tmp_path / "net.json"
    records.write(records.Record("net", 1.0, network=record.network), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    referring = replace(record, network=records.Reference("net.json", digest))
    with pytest.raises(records.RecordError, match=r"the network is in 'net\.json'; give its file"):
        checking.network_of(referring, None)
    assert parted(checking.check(referring, checking.network_of(referring, path))) == []
    with pytest.raises(records.RecordError, match="is another file than the record refers to"):
        checking.network_of(replace(record, network=records.Reference("net.json", "0" * 64)), path)
    with pytest.raises(records.RecordError, match="nowhere"):
        checking.network_of(replace(record, network=None), None)


def test_a_network_may_be_a_nir_graph(tmp_path):
    nir = pytest.importorskip("nir", reason="NIR graphs need the package nir")
    from eventsolve.io.nir import to_nir

    record = exact(quantities=("tau_mem",))
    path = tmp_path / "net.nir"
    nir.write(path, to_nir(record.network))
    network = checking.network_of(replace(record, network=records.Reference("net.nir")), path)
    assert parted(checking.check(replace(record, network=None), network)) == []


def test_a_network_that_does_not_fit_is_refused(tmp_path):
    record = exact()
    path = tmp_path / "net.json"
    other = network_of({"in": 1, "hidden": (3, es.LIF(20e-3, 5e-3))})
    records.write(records.Record("net", 1.0, network=other), path)
    with pytest.raises(records.RecordError, match=r"must be of 1 neurons; got 2|is not a population"):
        checking.network_of(record, path)
    records.write(records.Record("net", 1.0), path)
    with pytest.raises(records.RecordError, match="holds no network"):
        checking.network_of(record, path)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ({"inputs": {}}, r"no spikes of the inputs \['in'\]"),
        ({"spikes": {}, "gradients": {}, "loss_values": None}, "nothing to compare"),
        ({"loss": None, "spikes": {}}, "no loss that they are of"),
    ],
)
def test_what_cannot_be_checked_is_refused(left_out, words):
    record = exact(quantities=("weight",))
    with pytest.raises(records.RecordError, match=words):
        checking.check(replace(record, **left_out), record.network)


# -- the command -------------------------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["check", *(str(a) for a in arguments)])


def test_the_command_reports_and_passes(tmp_path):
    records.write(exact(), tmp_path / "r.npz")
    result = invoke(tmp_path / "r.npz", "--out", tmp_path / "report", "--junit", tmp_path / "junit.xml")
    assert result.exit_code == 0, result.output
    assert "mine" in result.stdout
    assert (tmp_path / "report" / "report.html").exists()
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert suite.get("failures") == "0"
    assert int(suite.get("tests")) == len(list(suite.iter("testcase"))) > 5


def test_the_command_fails_and_says_why(tmp_path):
    record = changed(exact(), "weight", SECOND, lambda values: values * 6e-3)
    records.write(record, tmp_path / "r.json")
    result = invoke(tmp_path / "r.json", "--out", tmp_path, "--junit", tmp_path / "junit.xml", "--json")
    assert result.exit_code == 1
    assert "does not agree: dL/dw of hidden → out" in " ".join(result.stderr.split())
    assert "looks like a factor tau_syn" in " ".join(result.stderr.split())
    (document,) = json.loads(result.stdout)["runs"]
    assert "looks like a factor tau_syn" in document["diagnosis"]["sentence"]
    assert document["findings"] == {}  # what has a name explains what is off
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert suite.get("failures") == "2"  # the verdict and the stage
    verdict, stage = suite.iter("failure")
    assert "looks like a factor tau_syn" in verdict.text
    assert "relative error 0.994" in stage.text


def test_the_tolerance_and_the_window_decide(tmp_path):
    record = changed(exact(), "weight", SECOND, lambda values: values * 1.01)
    record = replace(record, spikes={name: _later(trains, 1e-4) for name, trains in record.spikes.items()})
    record = replace(record, gradients={"weight": record.gradients["weight"]})
    for window, tolerance, off in ((0.2e-3, 0.02, 0), (0.05e-3, 0.02, 2), (0.2e-3, 0.005, 1)):
        assert len(parted(checking.check(record, record.network, window=window, tolerance=tolerance))) == off
    records.write(replace(record, gradients={}), tmp_path / "r.h5")
    assert invoke(tmp_path / "r.h5", "--out", tmp_path, "--window", "0.2ms").exit_code == 0
    assert invoke(tmp_path / "r.h5", "--out", tmp_path, "--tolerance", "0.005").exit_code == 1


def _later(trains, by):
    return replace(trains, times=trains.times + by)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "eventsolve-record", "version": 9}'])
def test_a_file_that_is_no_record_exits_with_2(content, tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    result = invoke(path, "--out", tmp_path)
    assert result.exit_code == 2
    assert "is not a record" in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "report.html").exists()


def test_junit_holds_any_name():
    record = exact()
    run = checking.check(replace(record, name="\x00<&>\ud800"), record.network)
    assert ElementTree.fromstring(to_junit(run)).get("name") == r"\x00<&>\ud800"


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("step", [None, 1e-300])
@pytest.mark.parametrize(
    "wrong",
    [
        {"gradients": {"weight": {FIRST: 1.7e308}, "spike_times": {"hidden": -1.7e308}}},
        {"gradients": {"tau_mem": {"hidden": -1e200}}, "loss_values": [1.7e308, -1.7e308]},
        {"spikes": {"out": 1e200}},
    ],
)
def test_numbers_at_the_ends_of_float64_are_judged_as_others_are(wrong, step):
    """Warnings of numpy came out, a spike far away ended in a traceback, and a guess at weights beyond all bounds in a
    refusal of the record."""
    record = exact(reduction="none")
    gradients = {quantity: dict(places) for quantity, places in record.gradients.items()}
    for quantity, places in wrong.get("gradients", {}).items():
        for place, size in places.items():
            gradients[quantity][place] = np.full_like(gradients[quantity][place], size)
            gradients[quantity][place][..., ::2] *= -1.0
    spikes = dict(record.spikes)
    for name, late in wrong.get("spikes", {}).items():
        times = spikes[name].times.copy()
        times[spikes[name].samples == 1] += late * np.arange((spikes[name].samples == 1).sum())
        spikes[name] = es.SpikeTrains.from_arrays(
            times, spikes[name].neurons, samples=spikes[name].samples, n_neurons=2, n_samples=2
        )
        gradients = {}
    record = replace(
        record,
        gradients=gradients,
        spikes=spikes,
        loss_values=np.asarray(wrong.get("loss_values", record.loss_values)),
        time_step=step,
    )
    run = checking.check(record, record.network, patience=0.3)
    assert run.diagnosis.verdict in ("fault", "unexplained"), run.diagnosis
    assert "not 0, which it has to be" not in run.diagnosis.name


@pytest.mark.parametrize("on_clock", [True, False])
def test_spikes_after_the_end_are_told_as_such(on_clock):
    record = TimeStepped(1e-3, traces=False).run(problem()) if on_clock else exact()
    last = record.spikes["out"]
    times = last.times.copy()
    times[-1] = record.t_end + 0.08
    late = es.SpikeTrains.from_arrays(
        times, last.neurons, samples=last.samples, n_neurons=2, n_samples=last.n_samples
    )
    record = replace(record, spikes={**record.spikes, "out": late}, gradients={}, loss_values=None)
    told = checking.check(record, record.network, patience=20.0).diagnosis
    assert f"1 of them comes after t_end, {record.t_end * 1e3:.6g} ms" in told.sentence


def test_spikes_are_compared_where_the_exact_output_is_silent_and_has_no_loss():
    """A weight with another sign than the machine's: what its loss would be is not defined, what its spikes say is."""
    lif = es.LIF(20e-3, 5e-3)
    net = network_of(
        {"in": 2, "hidden": (2, lif), "out": (1, lif)},
        {FIRST: {"weight": [[9.0, 0.0], [0.0, 9.0]]}, SECOND: {"weight": [[7.0, 6.0]]}},
    )
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3], [2e-3]]])}
    ran = exact(Problem(net, inputs, 0.05, es.losses.TargetTimeMSE("out", [[0.02]])))
    said = net.with_weights({("hidden", "out"): [[-7.0, 6.0]]})
    run = checking.check(replace(ran, network=said), said)
    assert not run.accepted
    assert "sign of inhibition lost: absolute value of the weights: hidden → out" in run.diagnosis.sentence
    assert run.comparison.extra == 2
    (reason,) = (text for text in run.comparison.not_given if text.startswith("loss and gradients"))
    assert "silent in 1 of 1 samples" in reason
    with pytest.raises(es.losses.SilentOutputError, match="where the loss is not defined"):
        checking.check(replace(ran, network=said, spikes={}, gradients={"weight": ran.weight}), said)


@pytest.mark.parametrize(
    "second", [sp.csr_array([[0.0, 3.0], [1.0, 2.0]]), np.ones((2, 2)), sp.csr_array(np.eye(2))]
)
def test_two_sparse_projections_of_other_synapses_are_never_exchanged(second):
    """Weights of one were tried at the synapses of the other, which ended in an error."""
    net = network_of({"in": 2, "out": (2, es.LIF(20e-3, 5e-3))})
    net.connect("in", "out", sp.csr_array([[9.0, 0.0], [5.0, 8.0]]))
    net.connect("in", "out", second, name="second")
    inputs = {"in": es.SpikeTrains.from_lists([[[0.0], [2e-3]]])}
    loss = es.losses.TTFSCrossEntropy("out", [0], tau0=2e-3, tau1=6.4e-3, alpha=3e-3)
    record = exact(Problem(net, inputs, 50e-3, loss), quantities=("weight",))
    assert checking.check(record, net).accepted
    wrong = changed(record, "weight", ("in", "out"), lambda g: g * np.arange(1.0, 1.0 + g.size))
    run = checking.check(wrong, net)
    assert not run.accepted
    assert "dL/dw of in → out" in run.diagnosis.sentence


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((3, None), {}, "record must be a Record; got 3"),
        ((None, 3), {}, "network must be a Network; got 3"),
        ((None, None), {"tolerance": float("nan")}, "tolerance must be finite and >= 0; got nan"),
        ((None, None), {"tolerance": -1}, "tolerance must be finite and >= 0; got -1.0"),
        ((None, None), {"tolerance": True}, "tolerance must be a number; it is True"),
        ((None, None), {"tolerance": "a"}, "tolerance must be a number; it is 'a'"),
        ((None, None), {"patience": "a"}, "patience must be a number of seconds; it is 'a'"),
        ((None, None), {"patience": float("nan")}, "patience must be >= 0 seconds; got nan"),
    ],
)
def test_what_is_no_argument_is_refused_by_name(arguments, options, words):
    record = exact()
    given = [
        of if of is not None else right for of, right in zip(arguments, (record, record.network), strict=True)
    ]
    with pytest.raises((TypeError, ValueError), match=words):
        checking.check(*given, **options)


def test_only_records_are_put_side_by_side():
    record = exact()
    for pair, words in (
        ((record, None), "model must be a Record; got None"),
        ((3, record), "exact must be a Record"),
    ):
        with pytest.raises(TypeError, match=words):
            compare(*pair, window=1e-9)
    with pytest.raises(ValueError, match="tolerance must be finite and >= 0"):
        compare(record, record, window=1e-9, tolerance=float("nan"))
