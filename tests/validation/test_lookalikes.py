"""Where a record does not tell several explanations apart, does a verdict tell all of them?"""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

import eventsolve as es
from eventsolve.compare import agreement
from eventsolve.io.records import Scheme
from tests import planted_records
from tests.clocked_program import Program
from tests.planted_records import FAULTS
from validation.diagnosis import backward, diagnose, forward, published
from validation.diagnosis.evidence import differing, evidence_of
from validation.diagnosis.twins import Clock, Twin, distinct
from validation.diagnosis.work import Work
from validation.grid import TimeStepped
from validation.grid.scheme import Propagators
from validation.loihi2 import Loihi2
from validation.oracle import oracle

STEP = 1e-3


@pytest.fixture(scope="module")
def given():
    return planted_records.problem("plain", 1)


@pytest.fixture(scope="module")
def right(given):
    return Program(h=STEP).run(given)


def noisy(record, size):
    rng = np.random.default_rng(1)
    return {key: g * (1.0 + size * rng.standard_normal(g.shape)) for key, g in record.weight.items()}


def one_neuron():
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "out", [[6.0, 5.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3, 17e-3], [9e-3, 30e-3]]])}
    return es.Problem(net, inputs, 45e-3)


@pytest.mark.parametrize(
    ("ran", "factor", "words"),
    [
        ("exact", 1.1, "exact propagators with weights multiplied by 1.1"),
        ("exponential", 1 / 1.1, "exponential decays with weights multiplied by 0.9"),
    ],
)
def test_weights_off_by_what_propagators_differ_in_are_told_beside_them(ran, factor, words):
    """At 1 ms a current moves V by 1.104 times as much where it is held over the step: few spikes do not tell."""
    problem = one_neuron()
    weight = problem.network.projections["in", "out"].weight
    other = replace(problem, network=problem.network.with_weights({("in", "out"): weight * factor}))
    record = TimeStepped(STEP, propagators=ran).run(other)
    found = diagnose(
        problem, replace(record, network=problem.network, scheme=type(record.scheme)(), traces={})
    )
    assert found.accepted
    assert words in found.sentence


def test_gradients_of_weights_tell_propagators_from_weights(given, right):
    """What they are then is other by the same factor, so that nothing needs to be told."""
    evidence = evidence_of(given, right, STEP)
    assert forward.lookalikes(evidence, [Clock()]) == []
    late = Clock(transport=1)
    assert "every delay a step too long" in forward.lookalikes(evidence, [late])[0]


def test_wrong_gradients_of_spikes_that_several_schemes_have_are_of_no_single_one(given, right):
    found = diagnose(given, replace(right, gradients={"weight": noisy(right, 0.1)}), patience=0.0)
    assert found.verdict == "unexplained"
    assert (
        "exact propagators, inputs to the nearest step; or: exact propagators, current before" in found.name
    )
    single = given.select([0])
    record = Program(h=STEP).run(single)
    alone = replace(record, spikes={}, loss_values=None, gradients={"weight": noisy(record, 0.1)})
    found = diagnose(single, alone, patience=0.0)
    assert "every spike" not in found.name
    assert "no spikes are recorded, and no scheme has these numbers" in found.name
    assert found.twin.startswith("one of 36 schemes")


def test_a_factor_beside_several_schemes_is_of_no_single_one(given, right):
    twice = {key: 2.0 * g for key, g in right.weight.items()}
    found = diagnose(given, replace(right, gradients={"weight": twice}), patience=0.0)
    assert found.name.startswith("a factor 2")
    assert "; or: " in found.twin or found.twin.startswith("one of")


def test_what_is_off_and_what_the_step_costs_are_relative_errors_as_check_has_them(given, right):
    record = replace(right, gradients={"weight": noisy(right, 0.02)})
    found = diagnose(given, record, patience=0.0)
    exact, evidence = oracle(given), evidence_of(given, record, STEP)
    twin = Twin(Clock()).answer(evidence, given)
    for key, got in record.weight.items():
        said = twin.numbers["weight", key]
        assert f"{100 * agreement(said, got).relative_error:.3g} % of its twin's" in found.name
        assert (
            f"{100 * agreement(exact.weight[key], said).relative_error:.3g} %"
            in found.name.split("less than")[1]
        )


def test_a_factor_is_seen_through_what_else_is_off_up_to_what_the_step_costs(given, right):
    """Of a tenth at most, of a tenth of what it explains at most, and not of a single number."""
    twice = {key: 2.0 * g for key, g in noisy(right, 0.02).items()}
    record = replace(right, gradients={"weight": twice}, loss_values=None)
    evidence = evidence_of(given, record, STEP)
    twin = Twin(Clock())
    answer, off = twin.answer(evidence, given), list(evidence.numbers)
    found = backward.loosely(evidence, answer, twin, off, dict.fromkeys(off, 0.05))
    assert found.name.startswith("a factor 2")
    assert backward.loosely(evidence, answer, twin, off, dict.fromkeys(off, 0.01)) is None
    assert backward.loosely(evidence, answer, twin, off, {}) is None
    wide = replace(record, gradients={"weight": {key: 2.0 * g for key, g in noisy(right, 0.3).items()}})
    evidence = evidence_of(given, wide, STEP)
    assert backward.loosely(evidence, answer, twin, off, dict.fromkeys(off, 1.0)) is None
    loss = ("loss", "")
    single = replace(evidence, numbers={loss: np.asarray(2.02)})
    said = replace(answer, numbers={loss: np.asarray(1.0)}, samples={}, scale={loss: 1.0})
    assert backward.loosely(single, said, twin, [loss], {loss: 1.0}) is None


def test_spikes_tell_one_of_as_many_guesses_as_their_facts_are_powers_of_two(given, right):
    base = forward.bases(evidence_of(given, right, STEP))[0][0]
    assert base.facts == 0
    told = replace(base)
    vars(told)["facts"] = forward.SURE + 8
    assert told.tells(2**8)
    assert not told.tells(2**8 + 1)


def test_the_fewest_places_that_explain_gradients_are_named(given):
    """Weights into hidden do not go back: those into out were told with them first."""
    record = FAULTS["transposed back"].plant(Program(h=STEP), given)
    found = diagnose(given, record)
    assert found.name == "on the way back: weights transposed: hidden → out read as (n_pre, n_post)"


def test_why_no_scheme_runs_a_problem_is_told_with_what_to_do(given, right):
    t = given.inputs["in"]
    times = np.insert(t.times, 1, t.times[0] + 1e-6)
    neurons, samples = (np.insert(x, 1, x[0]) for x in (t.neurons, t.samples))
    inputs = {"in": es.SpikeTrains.from_arrays(times, neurons, samples, n_samples=5, n_neurons=5)}
    found = diagnose(replace(given, inputs=inputs), replace(right, inputs=inputs), patience=0.0)
    assert "a neuron can send one spike per step of 0.001 s" in found.name
    assert "both in step" in found.name
    assert "give the second spike a channel of its own with the same weights" in found.name


def test_the_defaults_of_a_target_come_first_and_equal_settings_are_told():
    assert next(iter(Loihi2.variants(STEP))) == Loihi2(STEP)
    problem = one_neuron()
    weight = np.array([[6.013, -3.017]])
    problem = replace(problem, network=problem.network.with_weights({("in", "out"): weight}))
    record = Loihi2(STEP, weight_bits=4).run(problem)
    evidence = evidence_of(problem, record, STEP)
    known = published.recognised(evidence, Work(5.0))
    assert known.target.percentile == 100.0
    assert known.alike


@pytest.mark.parametrize("kind", ["plain", "delays", "recurrent", "refractory", "subtract"])
def test_current_before_voltage_with_a_step_of_transport_has_the_same_spikes(kind):
    problem = replace(planted_records.problem(kind, 1), loss=None)
    evidence = evidence_of(problem, TimeStepped(STEP).run(problem), STEP)
    for propagators in get_args(Propagators):
        for late in (1, 2):
            scheme = Clock(propagators, "current_first", late, points="0..n", inclusive=late == 2)
            other = scheme.by_voltage(problem.network)
            assert (other.order, other.transport) == ("voltage_first", late - 1)
            one, two = (Twin(s).answer(evidence, problem).spikes for s in (scheme, other))
            assert all(len(rows) and differing(rows, two[name]) == 0 for name, rows in one.items())


def test_where_current_before_voltage_has_other_spikes_it_is_another_scheme(given):
    """With a current from the start, delta synapses, inputs in their own step, or no transport."""
    late = Clock(order="current_first", transport=1)
    for scheme in (replace(late, input_transport=0), replace(late, transport=0)):
        assert scheme.by_voltage(given.network) == scheme
    neuron = replace(given.network.population("hidden").neuron, i_initial=3.0)
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.connect("in", "out", [[1.2]], synapse="delta")
    inputs = {"in": es.SpikeTrains.from_lists([[[3e-3, 17e-3]]])}
    charged = replace(given, network=given.network.with_neurons({"hidden": neuron}), loss=None)
    for problem in (charged, es.Problem(net, inputs, 40e-3)):
        assert late.by_voltage(problem.network) == late
        evidence = evidence_of(problem, TimeStepped(STEP).run(problem), STEP)
        one, two = (Twin(s).answer(evidence, problem).spikes for s in (late, Clock()))
        assert any(differing(rows, two[name]) for name, rows in one.items())


def test_schemes_that_always_have_the_same_spikes_are_told_as_one(given, right):
    record = replace(right, gradients={}, loss_values=None)
    found = diagnose(given, record)
    assert "(exact propagators, inputs to the nearest step, float64; spikes are always the same" in found.name
    assert "; or: " not in found.name
    assert distinct([Clock(), Clock(order="current_first", transport=1)], given.network) == [Clock()]


def test_settings_that_few_spikes_do_not_tell_apart_are_not_tuned_either(given, right):
    """All variants of a target are as many guesses where their other settings are searched for, too."""
    evidence = replace(evidence_of(given, right, STEP), numbers={})
    every = list(published._variants(evidence, math.inf))
    few = list(published._variants(evidence, 1))
    assert max(len(variants) for _, variants in every) > 1
    assert {entry: len(variants) for entry, variants in few} == {entry: 1 for entry, _ in every}


def recurrent_on_grid():
    """Inputs on points of the grid; what arrives in a cycle comes two steps later."""
    rng = np.random.default_rng(2)
    net = es.Network()
    net.add_input("in", 4)
    net.add_population("hid", 8, es.LIF(20e-3, 5e-3))
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "hid", rng.uniform(2.0, 6.0, (8, 4)), delay=1e-3)
    net.connect("hid", "hid", rng.normal(0.0, 1.5, (8, 8)), delay=2e-3)
    net.connect("hid", "out", rng.uniform(0.5, 2.0, (2, 8)))
    samples = [[sorted(rng.choice(20, 3, replace=False) * STEP) for _ in range(4)] for _ in range(6)]
    return es.Problem(net, {"in": es.SpikeTrains.from_lists(samples)}, 40e-3)


def late(problem, key):
    p = problem.network.projections[key]
    network = problem.network.with_delays({key: p.shaped(p.delay + STEP)})
    record = TimeStepped(STEP, traces=False).run(replace(problem, network=network))
    return replace(record, network=problem.network)


DECLARED = Scheme(propagators="exact", order="voltage_first", input_rounding="nearest", transport=0)


def test_what_a_record_declares_of_its_scheme_is_held_against_it():
    """A delay of inputs that is a step too long was told as inputs that wait for the next step, and accepted."""
    problem = recurrent_on_grid()
    record = late(problem, ("in", "hid"))
    silent = diagnose(problem, replace(record, scheme=Scheme()))
    assert silent.accepted
    assert "unless it is a scheme that takes inputs on a step to that step, with their delays" in silent.name
    found = diagnose(problem, replace(record, scheme=DECLARED))
    assert found.verdict == "fault"
    assert found.name.startswith("delay a step too long: in → hid")
    assert "inputs to the next step even if they are on one" in found.rivals[-1]
    assert found.rivals[-1].startswith("another scheme than the record declares: ")


def test_a_right_record_that_declares_another_scheme_is_told_so():
    problem = recurrent_on_grid()
    record = TimeStepped(STEP, propagators="euler", traces=False).run(problem)
    for said in (Scheme(), Scheme(propagators="euler"), replace(DECLARED, propagators="euler")):
        assert diagnose(problem, replace(record, scheme=said)).accepted
    found = diagnose(problem, replace(record, scheme=DECLARED), patience=1.0)
    assert found.verdict == "convention"
    assert found.name.startswith("another scheme than the record declares: ")
    assert "forward Euler" in found.name


def test_where_the_declared_scheme_explains_nothing_a_nearer_one_is_told():
    """By the scheme that is declared neither the fault can be found nor the scheme told to be wrong."""
    problem = recurrent_on_grid().select([0, 1])
    record = TimeStepped(STEP, propagators="euler", traces=False).run(problem)
    hidden = record.spikes["hid"]
    kept = np.random.default_rng(1).random(hidden.times.size) < 0.8
    columns = {name: getattr(hidden, name)[kept] for name in ("times", "neurons", "samples")}
    lost = replace(hidden, **columns)
    record = replace(record, spikes={**record.spikes, "hid": lost}, scheme=DECLARED)
    found = diagnose(problem, record, patience=0.0)
    assert found.verdict == "unexplained"
    assert "; another scheme than the record declares is nearer (" in found.name
    assert "forward Euler" in found.name
    told = diagnose(problem, replace(record, scheme=replace(DECLARED, propagators="euler")), patience=0.0)
    assert "declares is nearer" not in told.name


def test_wrong_gradients_of_a_scheme_that_is_not_declared_are_told_by_it(given):
    """It was told that another scheme has every recorded spike, and of the gradients nothing."""
    record = TimeStepped(STEP, propagators="euler", traces=False).run(given)
    gradients = {quantity: dict(places) for quantity, places in record.gradients.items()}
    gradients["weight"] = {key: -2.0 * values for key, values in record.weight.items()}
    declared = Scheme(propagators="exact", order="voltage_first", input_rounding="nearest", transport=0)
    by_euler = diagnose(
        given, replace(record, gradients=gradients, scheme=Scheme(propagators="euler")), patience=1.0
    )
    found = diagnose(given, replace(record, gradients=gradients, scheme=declared), patience=1.0)
    assert found.verdict == by_euler.verdict != "unexplained"
    assert found.name.startswith(by_euler.name)
    assert "; by another scheme than the record declares: " in found.name
    assert "forward Euler" in found.name


def test_wrong_gradients_of_a_scheme_that_is_declared_are_not_another_schemes(given, right):
    said = Scheme(order="voltage_first", transport=0)
    twice = {key: 2.0 * g for key, g in right.weight.items()}
    found = diagnose(given, replace(right, scheme=said, gradients={"weight": twice}), patience=0.0)
    assert found.name.startswith("a factor 2")
    assert not any("than the record declares" in rival for rival in found.rivals)
    assert diagnose(given, replace(right, scheme=said)).accepted


def test_a_step_more_in_cycles_may_be_a_delay():
    problem = recurrent_on_grid()
    found = diagnose(problem, late(problem, ("hid", "hid")))
    assert found.accepted
    assert "whose spikes act as soon in cycles, with delays a step too long: hid → hid" in found.name
