"""Is a dump of GeNN recognised, and is each of its faults named from a dump, and none that does not act?"""

import re
from dataclasses import replace

import numpy as np
import pytest
from genn_reference import DATA, reference

import eventsolve as es
from eventsolve.io import records
from validation.diagnosis import diagnose, published
from validation.diagnosis.evidence import evidence_of
from validation.diagnosis.work import Work
from validation.genn import GeNN, adapters

KEYS = {"in_hid": ("in", "hid"), "hid_hid": ("hid", "hid"), "hid_out": ("hid", "out")}


def recorded(net, loss, dt, gradients=""):
    """Return a problem of the reference and the record that GeNN's own arrays make."""
    problem, kind = reference(net, loss, dt), "spiking" if loss.startswith("first") else "li"
    raw = {
        key: DATA[f"{net}/{dt}/{loss}{gradients}/grad/{name}"]
        for name, key in KEYS.items()
        if key in problem.network.projections
    }
    spikes = {}
    for name in ("hid", "out") if kind == "spiking" else ("hid",):
        rows = DATA[f"{net}/{dt}/{kind}/spikes_{name}"]
        spikes[name] = [(rows[rows[:, 0] == s, 2], rows[rows[:, 0] == s, 1]) for s in range(2)]
    return problem, adapters.record("dump", problem, dt * 1e-3, gradients=raw, spikes=spikes)


def dumped(problem, time_step=1e-3, **options):
    """Return the record that GeNN's arrays would make, of a run of the model."""
    outcome, spikes = GeNN(time_step, **options).simulate(problem), {}
    for name, first in outcome.tables.populations.items():
        own = outcome.spikes(name)
        of = [own[outcome.samples[own] == s] for s in range(problem.n_samples)]
        if problem.network.population(name).neuron.spiking:
            times = outcome.clock.times[outcome.fired.steps]
            spikes[name] = [(times[rows], outcome.fired.neurons[rows] - first) for rows in of]
    gradients = {key: outcome.gradient(key) for key in problem.network.projections}
    return adapters.record("dump", problem, time_step, gradients=gradients, spikes=spikes)


@pytest.mark.parametrize(
    ("net", "loss", "dt"),
    [
        ("ff", "avg", 1.0),
        ("ff", "max", 0.1),
        ("ff", "sum", 1.0),
        ("rec", "exp", 1.0),
        ("rec", "first", 0.1),
        ("rec", "first_rmse", 1.0),
        ("rec", "mse", 1.0),
    ],
)
def test_what_genn_recorded_is_recognised(net, loss, dt):
    """All 30 of the reference are; these are the ones of every loss, each net and each step."""
    problem, record = recorded(net, loss, dt)
    found = diagnose(problem, record)
    assert found.verdict == "explained"
    assert found.twin == f"GeNN, {dt:g} ms"
    assert found.following == (
        f"eventsolve-validate attribute RECORD --target genn --set time_step={dt * 1e-3!r}"
    )
    rounding = re.search(r"but for rounding of (\S+)\)", found.sentence)
    assert rounding is None or float(rounding[1]) <= 3e-5


@pytest.mark.parametrize("net", ["ff", "rec"])
def test_the_regulariser_of_a_recorded_run_is_found(net):
    """It was run with a strength of 1e-3 on both sides and 2 spikes, which no neuron exceeds."""
    problem, record = recorded(net, "avg", 1.0, "_reg")
    found = diagnose(problem, record)
    assert found.verdict == "explained"
    assert found.twin == "GeNN, 1 ms, regulariser 0/0.001 at 2"
    assert "reg_lambda_lower=0.001" in found.settings


@pytest.mark.parametrize(("upper", "lower", "nu"), [(2e-3, 5e-4, 1.0), (1e-3, 1e-3, 0.0), (0.0, 3e-4, 14.0)])
def test_regularisers_of_a_batch_are_found(upper, lower, nu):
    problem = reference("rec", "avg", 1.0)
    target = GeNN(
        1e-3, batched=True, reg_lambda_upper=upper, reg_lambda_lower=lower, reg_nu_upper=nu, traces=False
    )
    found = diagnose(problem, replace(target.run(problem), loss_values=None))
    assert found.verdict == "explained"
    settings = dict(text.split("=") for text in found.settings)
    own = {"reg_lambda_upper": upper, "reg_lambda_lower": lower, "reg_nu_upper": nu}
    for name, value in own.items():
        if name != "reg_lambda_lower" or nu > 0:  # below 0 spikes there is no neuron
            assert float(settings.get(name, 0.0)) == pytest.approx(value, rel=1e-3, abs=0.0), name


# -- faults


def alone(times, n_trials=1):
    """One neuron, two readouts, 20 ms: the network of the reference whose runs end in every way."""
    network = es.Network()
    network.add_input("in", 1)
    network.add_population("hid", 1, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[30.0]])
    network.connect("hid", "out", [[1.0], [-1.0]])
    trains = es.SpikeTrains.from_lists([[[t * 1e-3 for t in times]]] + [[[]]] * (n_trials - 1))
    return es.Problem(
        network, {"in": trains}, 20e-3, es.losses.MeanVoltageCrossEntropy("out", [0] * n_trials)
    )


@pytest.mark.parametrize(
    ("late", "fault", "where"),
    [
        ("none", None, ""),
        ("16.5", "early_zero", "1 spike of hid, the first at step 19 of sample 0"),
        ("17.5", "last_spike", "dL/dw of hid → out, by 100 %"),
        ("18.5", "last_spike", "dL/dw of in → hid, by 100 %, most from in 0 to hid 0 in sample 0"),
    ],
)
def test_how_a_recorded_trial_ends_is_told(late, fault, where):
    problem = alone([2.5] + ([] if late == "none" else [float(late)]))
    times = DATA[f"ends/{late}/spikes_hid"]
    raw = {
        key: DATA[f"ends/{late}/grad_{name}"].reshape(1, *problem.network.projections[key].weight.T.shape)
        for name, key in KEYS.items()
        if key in problem.network.projections
    }
    record = adapters.record(
        "dump", problem, 1e-3, gradients=raw, spikes={"hid": [(times, np.zeros(times.size))]}
    )
    found = diagnose(problem, record)
    assert found.accepted is (fault is None)
    assert found.twin == "GeNN, 1 ms"
    if fault is not None:
        assert re.findall(r"looks like (\w+):", found.sentence) == [fault]
        assert where in found.where


@pytest.mark.parametrize(("net", "dt"), [("ff", 1.0), ("rec", 0.1)])
def test_a_recorded_temperature_is_named(net, dt):
    problem, record = recorded(net, "first_temperature", dt)
    found = diagnose(problem, record)
    assert found.verdict == "fault"
    assert found.name.startswith("temperature: the temperature divides the slope of the softmax")


def test_what_leaks_into_the_next_trial_is_named():
    problem = alone([2.5, 18.5], n_trials=2)
    found = diagnose(problem, dumped(problem, trials="consecutive"))
    assert found.name.startswith("early_zero: currents end a step early")
    assert "spikes of hid, the first at step 0 of sample 1" in found.where
    assert "consecutive trials" in found.twin


@pytest.mark.parametrize(("late", "spikes"), [("17.5", [0, 2, 4, 8]), ("18.5", [0, 1, 3, 5, 9])])
def test_what_leaked_into_the_next_trial_of_a_recorded_run_is_named(late, spikes):
    """GeNN ran a silent trial after the first: it spikes where V was reset while there was a current."""
    problem = alone([2.5, float(late)], n_trials=2)
    v, current = (DATA[f"ends/{late}/next_trial_{name}_hid"][:, 0] for name in ("V", "I_in"))
    following = np.flatnonzero((v == 0) & (current > 0))
    assert following.tolist() == spikes
    trains = [(times, np.zeros(len(times))) for times in (DATA[f"ends/{late}/spikes_hid"], following * 1.0)]
    found = diagnose(problem, adapters.record("dump", problem, 1e-3, gradients={}, spikes={"hid": trains}))
    assert found.twin == "GeNN, 1 ms, consecutive trials"
    assert re.findall(r"looks like (\w+):", found.sentence) == ["early_zero"]
    assert f"{len(spikes)} spikes of hid, the first at step 0 of sample 1" in found.where


@pytest.mark.parametrize("max_spikes", [2, 4])
def test_a_full_ring_buffer_is_named_with_its_size(max_spikes):
    problem = alone([2.5])
    found = diagnose(problem, dumped(problem, max_spikes=max_spikes))
    assert found.name.startswith("ring_buffer: ")
    assert f"max_spikes={max_spikes}" in found.settings


def test_clocks_that_do_not_meet_are_named():
    base = alone([603, 612, 625])
    problem = replace(base, t_end=1.0)
    found = diagnose(problem, dumped(problem, 0.05e-3))
    assert found.name.startswith("matching: float32 clocks")
    assert "by 60 %" in found.where


def test_a_maximum_at_a_kink_is_named():
    network = es.Network()
    network.add_input("in", 2)
    network.add_population("hid", 2, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[12.0, 0.0], [0.0, 8.5]])
    network.connect("hid", "out", [[3.128, -6.0], [1.0, 2.0]])
    trains = es.SpikeTrains.from_lists([[[0.3e-3], [2.8e-3]]])
    problem = es.Problem(network, {"in": trains}, 40e-3, es.losses.MaxVoltageCrossEntropy("out", [1]))
    found = diagnose(problem, dumped(problem, 1e-4))
    assert found.name.startswith("kinks: ")
    assert "most from in 0 to hid 1" in found.where


def test_a_silent_label_is_named_where_the_loss_refuses_it():
    network = es.Network()
    network.add_input("in", 1)
    network.add_population("out", 2, es.LIF(20e-3, 5e-3))
    network.connect("in", "out", [[8.0], [0.5]])
    trains = es.SpikeTrains.from_lists([[[1e-3]]])
    loss = es.losses.FirstSpikeCrossEntropy("out", [1], tau0=1e-3, alpha=0.1e-3)
    problem = es.Problem(network, {"in": trains}, 20e-3, loss)
    record = dumped(problem)
    evidence = evidence_of(problem, record, 1e-3)
    found = published.recognised(evidence, Work(np.inf))
    (fault,) = published.faults(evidence, found)
    assert fault.name == "silence"
    assert "the loss, which asks to refuse it: " in fault.where


def test_convention_errors_are_seen_through_genn():
    """GeNN's own arrays as they are, which lack tau_mem in ms, and the direction of a descent."""
    problem, record = recorded("rec", "avg", 1.0)
    raw = {key: values / 20.0 for key, values in record.weight.items()}
    found = diagnose(problem, replace(record, gradients={"weight": raw}))
    assert found.verdict == "convention"
    assert found.name == "the raw gradient of GeNN, 1 ms: times 20 it is dL/dw"
    negative = {key: -values for key, values in record.weight.items()}
    found = diagnose(problem, replace(record, gradients={"weight": negative}))
    assert found.verdict == "convention"
    assert found.twin == "GeNN, 1 ms"


def test_a_gradient_of_nothing_known_is_not_taken_for_genn(tmp_path):
    """One entry is 1 % off; a file changes nothing."""
    _, record = recorded("ff", "avg", 1.0)
    wrong = {key: np.array(values) for key, values in record.weight.items()}
    wrong["in", "hid"][0, 1, 2] *= 1.01
    records.write(replace(record, gradients={"weight": wrong}), tmp_path / "dump.npz")
    read = records.read(tmp_path / "dump.npz")
    assert not diagnose(read.problem(), read, patience=0.5).accepted
