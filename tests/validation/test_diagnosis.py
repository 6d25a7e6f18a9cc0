"""Are correct clocked implementations accepted, planted faults named, and nothing named that is not there?"""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import eventsolve as es
from eventsolve.io import records
from eventsolve.shown import arrow
from validation.diagnosis import diagnose, forward, guesses
from validation.diagnosis.evidence import evidence_of
from validation.diagnosis.twins import Twin, schemes
from validation.grid import TimeStepped
from validation.grid.flaws import NONE, Flaws
from validation.oracle import oracle
from validation.spinnaker2 import SpiNNaker2Core
from validation.tasks.yin_yang.task import YinYang

DATA = Path(__file__).parents[1] / "data" / "diagnose"
INDEX = json.loads((DATA / "index.json").read_text())


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: f"{entry['file']}-{entry['kind']}")
def test_every_record_with_a_known_verdict_is_judged_rightly(entry):
    """16 correct implementations and 19 planted faults, at 1 ms, 0.1 ms and 10 us, that share no code with this."""
    record = records.read(DATA / entry["file"])
    found = diagnose(record.problem(), record, patience=600.0)
    assert found.accepted is (entry["set"] == "a")
    assert any(re.search(word, found.sentence, re.IGNORECASE) for word in entry["keywords"]), found.sentence
    if entry["where_keywords"]:
        assert any(re.search(word, found.sentence, re.IGNORECASE) for word in entry["where_keywords"])
        assert found.explains > 0.99


# -- planted here: does a diagnosis tell its own guesses apart? ---------------------------------------------------


def seen(name, *, time_step=1e-3, problem=None, flaws=NONE):
    """Return the problem of a recorded network, and a record of it with something wrong."""
    given = records.read(DATA / name).problem()
    target = TimeStepped(time_step, traces=False)
    found = target.run_flawed(given if problem is None else problem(given), flaws)
    spikes = {p: trains for p, trains in found.spikes.items() if p not in given.inputs}
    return given, replace(found, network=given.network, inputs=given.inputs, loss=given.loss, spikes=spikes)


def with_neurons(population, **changed):
    def change(problem):
        neuron = problem.network.population(population).neuron
        network = problem.network.with_neurons({population: replace(neuron, **changed)})
        return replace(problem, network=network)

    return change


def with_parameters(parameter, factor):
    def change(problem):
        populations = problem.network.populations.items()
        return replace(
            problem,
            network=problem.network.with_neurons(
                {
                    name: replace(p.neuron, **{parameter: factor * p.parameter(parameter)})
                    for name, p in populations
                    if p.neuron is not None
                }
            ),
        )

    return change


def with_weights(key, change):
    def changed(problem):
        p = problem.network.projections[key]
        return replace(problem, network=problem.network.with_weights({key: p.shaped(change(p.weights))}))

    return changed


@pytest.mark.parametrize(
    ("flaws", "words"),
    [
        (Flaws(slope_after=True), "V' after the reset"),
        (Flaws(carries=True), "p_V not reset at a spike"),
        (Flaws(voltage_share=0.0), "no p_V in dL/dt of an arrival"),
        (Flaws(current_share=0.0), "no p_I in dL/dt of an arrival"),
        (Flaws(current_share=0.0, voltage_share=0.0), "nothing goes back through spikes"),
        (Flaws(adjoint_carried=True), "adjoint carried from sample to sample"),
        (Flaws(drives=0.0), "no current in V'"),
        (Flaws(level=True), "no V' in the jump"),
        (Flaws(first_only=True), "only the first spike of a neuron"),
        (Flaws(told_share=0.0), "written down without the term of the spike's own reset"),
        (Flaws(resets_current=True), "the current is reset at a spike"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_one_thing_wrong_in_the_machine_is_named(flaws, words):
    problem, record = seen("a01.json", flaws=flaws)
    found = diagnose(problem, record, patience=600.0)
    assert words in found.sentence
    assert found.verdict == (
        "convention" if flaws.told_share == 0 or words.startswith("nothing") else "fault"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            with_weights(("in", "hidden"), lambda w: 1.5 * w),
            r"weights multiplied by about 1\.\d+: in → hidden",
        ),
        (with_neurons("hidden", reset="subtract"), "reset by subtraction"),
        (with_neurons("hidden", t_ref=1.0), "one spike per neuron"),
        # with weights 1.05 times too small there are the same spikes, and gradients that are 1.05 times as large
        (with_parameters("v_threshold", 1.05), r"v_threshold multiplied by about 1\.0\d+: hidden, out"),
        (with_parameters("tau_mem", 0.8), r"tau_mem multiplied by about 0\.\d+: hidden, out"),
    ],
)
def test_one_thing_wrong_in_the_network_is_named(change, words):
    problem, record = seen("a01.json", problem=change)
    found = diagnose(problem, record, patience=600.0)
    assert found.verdict == "fault"
    assert re.search(words, found.sentence), found.sentence


def test_a_guess_that_no_scheme_has_in_all_samples_is_not_told(monkeypatch):
    on_all_like = forward._on_all_like
    monkeypatch.setattr(forward, "_on_all_like", lambda *of: replace(on_all_like(*of), schemes=()))
    problem, record = seen("a01.json", problem=with_neurons("hidden", reset="subtract"))
    found = diagnose(problem, record, patience=2.0)
    assert found.verdict == "unexplained"
    assert "subtraction" not in found.sentence


@pytest.mark.parametrize("time_step", [1e-3, 1e-4])
def test_correct_cores_of_every_format_are_accepted(time_step):
    problem = YinYang().problem(n_samples=4)
    for core in SpiNNaker2Core.variants(time_step):
        assert diagnose(problem, core.run(problem)).verdict == "explained", core.name


def test_the_exact_solution_agrees_and_two_things_wrong_have_no_name():
    problem = records.read(DATA / "a01.json").problem()
    assert diagnose(problem, oracle(problem)).verdict == "agrees"
    rng = np.random.default_rng(3)
    exact = oracle(problem)
    noisy = {key: w * rng.uniform(-2, 2, w.shape) for key, w in exact.weight.items()}
    found = diagnose(problem, replace(exact, gradients={"weight": noisy}))
    assert found.verdict == "unexplained"
    assert "dL/dw" in found.where


def test_a_spike_that_is_somewhere_else_is_not_the_time_steps_doing():
    """It was accepted, as the furthest of all schemes is as far from the exact spikes."""
    problem, record = seen("a01.json")
    trains = record.spikes["hidden"]
    late = trains.times.copy()
    late[3] += 6e-3
    order = np.lexsort((trains.neurons, late, trains.samples))
    moved = replace(trains, times=late[order], neurons=trains.neurons[order], samples=trains.samples[order])
    record = replace(record, spikes={**record.spikes, "hidden": moved}, gradients={}, loss_values=None)
    found = diagnose(problem, record, patience=3.0)
    assert found.verdict == "unexplained"
    assert "hidden" in found.where


def test_a_guess_names_only_what_it_changes():
    """A refractory period of what has none was told as ignored, and a delay of one step as two too short."""
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("held", 2, es.LIF(20e-3, 5e-3, t_ref=2e-3))
    net.add_population("leaky", 2, es.LIF(5e-3, 5e-3, v_leak=0.2, v_reset=[0.0, 0.1]))
    net.connect("in", "held", [[1.5, 2.0], [3.0, 1.0]], delay=1e-3)
    net.connect("held", "leaky", [[1.0, -2.0], [0.5, 0.3]], delay=[[0.0, 2e-3], [0.0, 0.0]])
    trains = {"in": es.SpikeTrains.from_lists([[[1e-3], [4e-3]]])}
    problem = es.Problem(net, trains, 20e-3)
    record = records.Record(
        "mine", spikes={"held": es.SpikeTrains.from_lists([[[5e-3], []]])}, time_step=1e-3
    )
    told = {}
    for name, _, changed in guesses.networks(evidence_of(problem, record, 1e-3)):
        for key, p in net.projections.items():
            other = changed.projections[key]
            same = np.array_equal(p.weights, other.weights) and np.array_equal(p.delay, other.delay)
            assert (arrow(key) in name) is not same, name
        for population in ("held", "leaky"):
            a, b = net.population(population).neuron, changed.population(population).neuron
            same = all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(es.LIF))
            assert (population in re.split("[ ,]+", name.rpartition(":")[2])) is not same or "→" in name, name
        what, _, of = name.partition(":")
        told.setdefault(what, []).append(of.strip())
    assert (
        told["refractory period ignored (t_ref = 0)"]
        == told["refractory period a step too short"]
        == ["held"]
    )
    assert told["leak ignored (v_leak = 0)"] == told["reset to 0 in place of v_reset"] == ["leaky"]
    assert told["tau_mem and tau_syn swapped"] == ["held"]
    assert "initial state ignored" not in told
    assert told["sign of inhibition lost"] == [f"absolute value of the weights: {arrow(('held', 'leaky'))}"]
    assert told["delay 2 steps too short"] == [arrow(("held", "leaky"))]
    assert len(told["delay a step too short"]) == len(told["delay 2 steps too long"]) == 3


def test_spikes_alone_are_those_of_a_whole_answer():
    """Some schemes with some guesses each: what is judged by spikes alone is what is judged by all numbers."""
    record = records.read(DATA / "b10.json")
    evidence = evidence_of(record.problem(), record, record.time_step)
    compared = 0
    for scheme in [*schemes(evidence)][::9]:
        for guess in [*guesses.forward(evidence)][::7]:
            answer = Twin(scheme).answer(evidence, replace(guess.problem, loss=None), guess.flaws)
            if answer is not None:
                spikes = scheme.spikes(evidence, guess.problem, guess.flaws, "float64")
                for population, rows in answer.spikes.items():
                    np.testing.assert_array_equal(spikes[population], rows)
                    compared += len(rows)
    assert compared > 10_000
