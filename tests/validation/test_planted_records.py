"""Verdicts on records of an implementation that shares no code with the diagnosis; `make planted` judges all."""

from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from eventsolve.io.records import Record
from tests import planted_records
from tests.clocked_program import Program
from tests.planted_records import FAULTS, RIGHT, TOLD, Case, judged
from validation.diagnosis import diagnose, forward, linear, published
from validation.diagnosis.evidence import differing, distance, evidence_of
from validation.diagnosis.twins import Clock, Twin, schemes
from validation.diagnosis.writing import conventions_of
from validation.grid import TimeStepped

STEP = 1e-3


@pytest.fixture(scope="module")
def given():
    return planted_records.problem("plain", 1)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_implementation_is_accepted(given, name):
    record = Program(h=STEP, **{k: v for k, v in vars(RIGHT[name]).items() if k != "h"}).run(given)
    verdict, found = judged(Case("correct", "plain", STEP, name, "", record, given))
    assert verdict == "accepted", found


@pytest.mark.parametrize(
    "name",
    [
        "two neurons swapped",
        "neurons rolled",
        "two samples swapped",
        "gradient float16",
        "gradient clipped",
        "slope of the wrong sign",
        "tau_syn back",
        "one spike not written",
        "one spike too many",
        "one weight 0",
        "one packet lost",
    ],
)
def test_a_fault_is_named(given, name):
    fault = FAULTS[name]
    record = fault.plant(Program(h=STEP), given)
    verdict, found = judged(Case(name, "plain", STEP, "exact", fault.words, record, given))
    assert verdict == "named", found
    assert found.explains > 0.99


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        ("one weight halved", "means", "one synapse has another weight, about 1.026 in place of 2.052"),
        ("weights swapped across", "spikes", "two synapses exchanged: in → hidden, from neuron 1 to 2"),
        ("rows swapped", "spikes", "weights of neurons 1 and 4 of 'hidden' exchanged"),
        ("weights of one source", "spikes", "multiplied by about 1.4, all that neuron 2 of 'in' has"),
        ("threshold of one", "means", "v_threshold is about 0.8 in place of 1: neuron 3 of 'hidden'"),
        ("leak instead", "means", "v_leak is about 0.1 in place of 0: hidden"),
        ("start at", "means", "v_initial is about 0.4 in place of 0: hidden"),
        ("weights plus a constant", "means", "a constant of about 0.2 is added to all weights"),
    ],
)
def test_a_number_that_is_off_is_computed_from_the_spikes(given, name, told, words):
    """Of whole batches, or of spikes alone, in which all that comes after the one neuron differs, too."""
    record = TOLD[told](FAULTS[name].plant(Program(h=STEP), given))
    found = diagnose(given, record)
    assert found.verdict == "fault"
    assert words in found.name


@pytest.mark.parametrize("kind", ["plain", "subtract", "refractory", "leak", "delays", "recurrent"])
def test_what_v_is_made_of_tells_every_spike(kind):
    """V less its threshold is above 0 where a neuron spikes, and nowhere else, for every neuron of a right record."""
    problem = planted_records.problem(kind, 1)
    evidence = evidence_of(problem, Program(h=STEP).run(problem), STEP)
    for name in evidence.spikes:
        for neuron in range(problem.network.population(name).size):
            made = linear.responses(evidence, Clock(), name, neuron)
            assert made.spiking.shape[0] > 0
            assert (made.spiking @ made.values > 0).all()
            assert (made.silent @ made.values <= 0).all()


def test_populations_without_spikes_are_compared():
    """Searching for a number failed with a population that is silent in the record and with every number."""
    rows = np.empty((0, 3), dtype=np.int64)
    assert differing(rows, rows + 0) == 0
    net = es.Network()
    net.add_input("in", 1)
    for name in ("loud", "quiet"):
        net.add_population(name, 2, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "loud", [[9.0], [7.0]])
    net.connect("loud", "quiet", [[0.1, 0.1], [0.0, 0.1]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3, 9e-3, 20e-3]]])}
    problem = es.Problem(net, inputs, 40e-3)
    for weights in (
        [[8.1], [6.3]],
        [[8.2], [6.1]],
    ):  # the latter: as 3 bits on Loihi 2 make them
        record = TimeStepped(STEP).run(
            replace(problem, network=net.with_weights({("in", "loud"): np.array(weights)}))
        )
        evidence = evidence_of(problem, record, STEP)
        assert distance(evidence, evidence.spikes) == 0.0
        found = diagnose(problem, record, patience=2.0)
        assert found.verdict == "unexplained"  # of two neurons' few spikes, much would make them
        assert "weights multiplied by about 0.9" in found.sentence


def test_hundreds_of_neurons_tell_apart_as_many_settings_as_there_are():
    """Of 342 and more, the settings that they tell apart are no float64 any more."""
    net, rng = es.Network(), np.random.default_rng(0)
    net.add_input("in", 1)
    net.add_population("n", 400, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "n", rng.uniform(6.0, 9.0, (400, 1)))
    problem = es.Problem(net, {"in": es.SpikeTrains.from_lists([[[1e-3]]])}, 15e-3)
    noisy = net.with_weights({("in", "n"): rng.uniform(10.0, 20.0, (400, 1))})
    record = TimeStepped(STEP).run(replace(problem, network=noisy))
    assert diagnose(problem, record, patience=0.1).verdict == "unexplained"


def test_what_is_off_by_less_than_the_step_costs_is_not_the_steps_doing(given):
    """A way back of one's own looks so, and so does a small fault: neither is told to be the other."""
    right, rng = Program(h=STEP).run(given), np.random.default_rng(0)
    noisy = {key: g * (1.0 + 0.01 * rng.standard_normal(g.shape)) for key, g in right.weight.items()}
    found = diagnose(given, replace(right, gradients={**right.gradients, "weight": noisy}))
    assert (found.verdict, found.accepted) == ("unexplained", False)
    assert "that a time step of 1 ms costs: an unknown way back, or a fault" in found.name


def test_two_faults_that_only_together_leave_nothing_are_named(given):
    ran = replace(given, network=given.network.with_delays({("in", "hidden"): STEP}))
    found = diagnose(given, Program(h=STEP, p_v=0.0).run(given, ran))
    assert found.verdict == "fault"
    assert "delay a step too long" in found.name
    assert "besides, no p_V in dL/dt of an arrival" in found.name
    assert found.remains == ()


@pytest.fixture
def alone(monkeypatch):
    """The right scheme alone is tried, and nothing that is published: the others take seconds."""
    monkeypatch.setattr(published, "recognised", lambda *a: None)
    monkeypatch.setattr(forward, "schemes", lambda evidence: iter([Clock()]))
    monkeypatch.setattr(forward, "alike", lambda *a: [])
    monkeypatch.setattr(forward, "varied", lambda *a: [])


def scaled(record, *factors):
    """Return a record that tells gradients of weights alone, each projection's times a factor."""
    weight = {key: g * x for (key, g), x in zip(record.weight.items(), factors, strict=True)}
    return replace(record, loss_values=None, gradients={"weight": weight})


@pytest.fixture(scope="module")
def deep():
    return planted_records.problem("deep", 1).select([0, 1])


def test_as_many_factors_as_gradients_are_no_explanation(deep, alone):
    """Summed a step late they are 0.9989, 0.9979 and 0.9971 times what they should be, about, and were named so."""
    right = Program(h=STEP).run(deep)
    found = diagnose(deep, scaled(right, 0.97, 1.05, 1.1), patience=0.0)
    assert found.verdict == "unexplained"
    one = diagnose(deep, scaled(right, 1.0, 1.0, 1.1), patience=0.0)
    assert one.name == "a common factor of 1.1"


def test_a_guess_beside_which_one_convention_error_explains_the_rest_is_named_and_beside_two_is_not(
    deep, alone
):
    """Of three gradients summed a step late, a wrong sign, a factor -1 and one of 0.996 were three stories."""
    wrong = Program(h=STEP, p_v=0.0).run(deep)
    found = diagnose(deep, scaled(wrong, 1.0, 1.0, -1.0), patience=0.2)
    assert found.verdict == "fault"
    assert "no p_V in dL/dt of an arrival" in found.name
    assert "; besides, a factor -1" in found.name
    found = diagnose(deep, scaled(wrong, 1.0, -1.0, 0.9), patience=0.2)
    assert found.verdict == "unexplained"


def test_a_convention_error_leaves_little_of_what_is_off_however_wide_the_tolerance(given):
    """Of fine steps float32 rounds by a third of what a fault may move, and a factor in place of it was named."""
    right = Program(h=STEP).run(given)
    evidence = evidence_of(given, right, STEP)
    answer = Twin(Clock()).answer(evidence, given)
    place = ("weight", ("in", "hidden"))
    said = answer.numbers[place]
    rng = np.random.default_rng(0)
    aside = rng.standard_normal(said.shape) * np.linalg.norm(said) / np.sqrt(said.size)
    for share, believed in ((0.02, True), (0.5, False)):
        got = said * 0.997 + 0.003 * share * aside
        told = replace(evidence, numbers={place: got})
        assert bool(conventions_of(told, answer, place, 2e-3)) is believed


def test_times_that_a_shorter_delay_makes_early_are_not_told_without_it(alone):
    """In s16.15, whose gradients no twin has, they were told to be written down early, and the loss to be off, too."""
    problem = planted_records.problem("delays", 1)
    record = FAULTS["delay -1"].plant(planted_records.MACHINES["fixed"](STEP), problem)
    found = diagnose(problem, TOLD["means"](record), patience=0.0)
    assert found.name == "delay a step too short: in → hidden"
    assert not any("loss" in what for what in found.remains)


def test_spikes_near_those_of_a_scheme_are_not_accepted_for_that(given):
    """Every spike is within a step of a scheme's, and it was accepted; so were weights that are off by a little."""
    right = Program(h=STEP).run(given)
    trains = right.spikes["out"]
    late = trains.times + STEP * (np.arange(trains.n_spikes) == trains.n_spikes - 1)
    moved = {**right.spikes, "out": planted_records.rebuilt(trains, times=late)}
    found = diagnose(given, replace(right, spikes=moved, gradients={}, loss_values=None), patience=0.1)
    assert (found.verdict, found.accepted) == ("unexplained", False)
    assert "a finer step tells them apart" in found.name


def test_neurons_and_their_gradients_in_another_order_go_together(given):
    """Of a cycle of three the order and its inverse differ, and dL/dt is in the order of what is written down."""
    right = Program(h=STEP).run(given)
    trains = right.spikes["hidden"]
    order = np.array([2, 0, 1, 3, 4, 5, 6])  # neuron k is written down as order[k]
    columns = trains.times, order[trains.neurons], trains.samples
    place = np.lexsort(columns[1::-1] + columns[2:])
    written = planted_records.rebuilt(trains, neurons=columns[1])
    record = Record.of(
        given,
        "mine",
        spikes={**right.spikes, "hidden": written},
        time_step=STEP,
        gradients={
            "weight": right.weight,
            "spike_times": {"hidden": right.spike_times["hidden"][place], "out": right.spike_times["out"]},
        },
    )
    found = diagnose(given, record)
    assert found.verdict == "convention"
    assert (
        found.name == "neurons in another order: of 'hidden', 0..6 are written down as [2, 0, 1, 3, 4, 5, 6]"
    )
    assert found.explains == 1.0


def test_a_verdict_does_not_depend_on_the_clock_of_the_machine(given, monkeypatch):
    """Guesses cost counted work: with little of it the same ones are left untried, however fast time goes by."""
    monkeypatch.setattr("time.process_time", iter(np.arange(0.0, 1e9, 1e3)).__next__)
    record = FAULTS["gradient noise"].plant(Program(h=STEP), given)
    a, b = (diagnose(given, record, patience=0.2) for _ in range(2))
    assert a.untried == b.untried > 0
    assert a == b


def test_of_inputs_halfway_between_points_both_ways_to_round_them_are_usual():
    """Microseconds on a clock of 10 us, where every fault was held against a scheme whose inputs were elsewhere."""
    problem = planted_records.problem("leak", 1)
    record = Program(h=1e-3).run(problem)  # only its layout matters
    assert not any(_rounds_half_up(s) for s in schemes(evidence_of(problem, record, 1e-3)))
    assert any(_rounds_half_up(s) for s in schemes(evidence_of(problem, record, 1e-5)))


def _rounds_half_up(scheme):
    return isinstance(scheme, Clock) and scheme.input_rounding == "half_up"


@pytest.mark.parametrize(
    ("told", "words"), [("means", "delay 2 steps too long: in → hidden"), ("spikes", "delay 2")]
)
def test_late_times_are_told_with_the_delay_that_makes_the_same(given, told, words):
    found = diagnose(given, TOLD[told](FAULTS["delay +2"].plant(Program(h=STEP), given)))
    assert any(words in name for name in (found.name, *found.rivals))


def test_a_factor_is_told_with_the_weights_that_make_the_same_on_the_way_back(given):
    record = TOLD["means"](FAULTS["stale weights"].plant(Program(h=STEP), given))
    found = diagnose(given, record)
    assert any(
        "on the way back: weights multiplied by 1.02: hidden → out" in name
        for name in (found.name, *found.rivals)
    )


def test_outputs_without_a_spike_are_not_told_from_those_that_are_not_written_down(given):
    """Of spikes alone: nothing comes of theirs."""
    found = diagnose(given, TOLD["spikes"](FAULTS["weights negated"].plant(Program(h=STEP), given)))
    assert found.verdict == "unexplained" or "silent in the record alone" not in found.sentence


def noisy(seed):
    """Return a problem of one neuron with 8 inputs, and the spikes that it has with each weight 5 % off by chance."""
    rng, net = np.random.default_rng(seed), es.Network()
    net.add_input("in", 8)
    net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    weights = rng.normal(1.6, 1.2, (1, 8)).round(3)
    net.connect("in", "out", weights)
    spans = (0.0, 15e-3, 30e-3)
    lists = [[[round(rng.uniform(a, a + 13e-3), 6) for a in spans] for _ in range(8)] for _ in range(4)]
    problem = es.Problem(net, {"in": es.SpikeTrains.from_lists(lists)}, 60e-3)
    other = net.with_weights({("in", "out"): weights * rng.normal(1.0, 0.05, (1, 8))})
    record = TimeStepped(STEP).run(replace(problem, network=other))
    return problem, replace(record, network=net, traces={})


@pytest.mark.parametrize(
    ("seed", "words"),
    [(5, "one spike is written down without any effect"), (7, "one synapse has another weight")],
)
def test_what_fits_few_spikes_of_one_neuron_is_told_and_not_named(seed, words):
    """Of some 25 spikes of which few differ, one of two dozen numbers would make them, too, and each was named."""
    found = diagnose(*noisy(seed), patience=1.0)
    assert found.verdict == "unexplained"
    assert words in found.name


@pytest.mark.parametrize("kind", ["plain", "recurrent"])
def test_a_neuron_contradicts_a_scheme_as_often_as_something_is_wrong_with_it(kind):
    """What comes after a spike that is off is none of its own: all get the recorded spikes and resets."""
    problem = planted_records.problem(kind, 1)
    neurons = {"hidden": range(7), "out": range(3)}
    right = evidence_of(problem, Program(h=STEP).run(problem), STEP)
    assert linear.contradictions(right, Clock(), neurons, 100) == 0
    spikes = right.record.spikes["hidden"]
    kept = np.arange(spikes.n_spikes) != 3
    lost = es.SpikeTrains.from_arrays(
        spikes.times[kept], spikes.neurons[kept], spikes.samples[kept], n_samples=5, n_neurons=7
    )
    without = replace(right.record, spikes={**right.record.spikes, "hidden": lost}, gradients={})
    there = evidence_of(problem, without, STEP)
    assert linear.contradictions(there, Clock(), {"hidden": [int(spikes.neurons[3])]}, 100) >= 1
    assert linear.contradictions(there, Clock(), {"hidden": range(7), "out": range(3)}, 100) > 1
