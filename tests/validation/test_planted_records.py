"""Verdicts on records of an implementation that shares no code with the diagnosis; `make planted` judges all."""

from dataclasses import replace

import numpy as np
import pytest

from eventsolve.io.records import Record
from tests import planted_records
from tests.planted_records import FAULTS, RIGHT, Case, Program, judged
from validation.diagnosis import diagnose

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
        "no p_V",
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


def test_what_is_off_by_less_than_the_step_costs_is_not_the_steps_doing(given):
    """A way back of one's own looks so, and so does a small fault: neither is told to be the other."""
    right, rng = Program(h=STEP).run(given), np.random.default_rng(0)
    noisy = {key: g * (1.0 + 0.01 * rng.standard_normal(g.shape)) for key, g in right.weight.items()}
    found = diagnose(given, replace(right, gradients={**right.gradients, "weight": noisy}))
    assert (found.verdict, found.accepted) == ("unexplained", False)
    assert "less than a time step of 1 ms costs: a way back that is not known here, or a fault" in found.name


def test_two_faults_that_only_together_leave_nothing_are_named(given):
    ran = replace(given, network=given.network.with_delays({("in", "hidden"): STEP}))
    found = diagnose(given, Program(h=STEP, p_v=0.0).run(given, ran))
    assert found.verdict == "fault"
    assert "delay a step too long" in found.name
    assert "besides, no p_V in dL/dt of an arrival" in found.name
    assert found.remains == ()


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
