"""Is a record of a chip in the loop accepted where it is right, and is what is wrong in it named, and nothing else?"""

from dataclasses import replace

import numpy as np
import pytest
from bss2 import TAU, golden_chip, golden_problem

import eventsolve as es
from eventsolve.io import records
from validation import registry
from validation.brainscales2 import BrainScaleS2
from validation.brainscales2.loop import Flaws, gradient
from validation.brainscales2.replay import ideal_spikes
from validation.brainscales2.target import as_gradients, judged
from validation.diagnosis import diagnose
from validation.diagnosis.evidence import evidence_of

SEEDS = range(2)
RIGHT = "the gradient is that of the ideal network along the recorded spikes"


def batch(seed, setup="chip-axonal"):
    return registry.task("delgrad", setup=setup).problem(16, seed)


def looped(chip, problem, flaws=None, weights=None):
    """The record of a chip whose loop has something wrong: flaws of the measured batch, or other weights."""
    record = chip.run(problem)
    measured, _ = chip.measured(problem)
    held = chip.programmed(problem.network)
    _, errors = judged(problem, {name: measured.trains(name) for name in record.spikes})
    wrong = flaws(held, measured) if flaws else Flaws()
    found = gradient(held if weights is None else weights, measured, errors, chip.way, wrong)
    return replace(record, gradients=as_gradients(found, record))


def through(network, record, power):
    """A record with gradients of delays times, or by, the derivative of their sigmoid from 2 to 3.5 tau."""
    derivative = {
        key: (p.delay - 2 * TAU) * (3.5 * TAU - p.delay) / (1.5 * TAU)
        for key, p in network.projections.items()
    }
    delay = {k: v * derivative[k].reshape(v.shape[1:]) ** power for k, v in record.delay.items()}
    return replace(record, gradients={**record.gradients, "delay": delay})


@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (0, {"slope": "crossing"}),
        (1, {"slope": "measured"}),
        (2, {"slope": "threshold"}),
        (3, {"flavour": "jaxsnn"}),
    ],
)
def test_a_chip_whose_loop_is_right_is_accepted(seed, settings):
    problem = batch(seed, ("chip-axonal", "chip-weights")[seed % 2])
    chip = BrainScaleS2(seed, without="unrounded", trials=2, **settings)
    record = chip.run(problem)
    verdict = diagnose(record.problem(), record)
    assert verdict.verdict == "explained", verdict
    assert RIGHT in str(verdict)


def test_the_chip_that_was_worked_out_elsewhere_is_accepted_from_its_file(tmp_path):
    problem = golden_problem()
    record = golden_chip(slope="measured").run(problem)
    records.write(record, tmp_path / "golden.json")
    read = records.read(tmp_path / "golden.json")
    assert read.arrivals["hidden"] == record.arrivals["hidden"]
    assert "of the modelled V and I at the measured time" in str(diagnose(read.problem(), read))


FAULTS = {
    "wrong sign of dt/dt_i": {"flaws": lambda held, measured: Flaws(arrival_sign=-1.0)},
    "count as causes up to the modelled spike": {
        "flaws": lambda held, measured: Flaws(
            causal={name: ideal_spikes(held, name, measured) for name in ("hidden", "out")}
        )
    },
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("slope", ["crossing", "measured", "threshold"])
def test_what_is_wrong_in_the_loop_is_named(name, slope):
    told = 0
    for seed in SEEDS:
        problem = batch(seed)
        chip = BrainScaleS2(seed, slope=slope, without="unrounded")
        record, right = looped(chip, problem, **FAULTS[name]), chip.run(problem)
        if all(np.array_equal(w, right.weight[key]) for key, w in record.weight.items()):
            continue  # the ideal neuron spikes after the same inputs, and nothing is wrong in the record
        verdict = diagnose(problem, record)
        assert verdict.verdict == "fault", verdict
        assert name in verdict.name
        told += 1
    assert told > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gradient_at_weights_before_they_were_rounded_is_named(seed):
    problem = batch(seed)
    verdict = diagnose(problem, BrainScaleS2(seed).run(problem))
    assert verdict.verdict == "fault"
    assert verdict.name == "the gradient is taken at the weights before they were rounded"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sigmoid_of_delays_is_told_apart_from_its_absence(seed):
    problem = batch(seed)
    right = BrainScaleS2(seed, without="unrounded").run(problem)
    given = diagnose(problem, through(problem.network, right, 1))
    assert (given.verdict, given.name[:52]) == (
        "convention",
        "dL/d(delay) times the derivative of a sigmoid: by it",
    )
    missing = diagnose(problem, through(problem.network, right, -1))
    assert missing.verdict == "fault"
    assert missing.name == "the derivative of a sigmoid is missing in the gradient of delays"


def copied(seed, tiled):
    """A network of 4 inputs with five copies each, whose delays are repeated as the copies are, or tiled."""
    problem = batch(seed)
    old = problem.network
    rows = [old.projections["in", "hidden", f"row {c}"] for c in range(5)]
    delays = np.random.default_rng(seed).permutation(np.linspace(2.0, 3.5, 4)) * TAU
    net = es.Network()
    net.add_input("in", 20)
    for name in ("hidden", "out"):
        net.add_population(name, old.population(name).size, old.population(name).neuron)
    first = np.stack([p.weight for p in rows], axis=2).reshape(-1, 20)
    line = np.tile(delays, 5) if tiled else np.repeat(delays, 5)
    net.connect("in", "hidden", first, delay=np.broadcast_to(line, first.shape))
    second = old.projections["hidden", "out"]
    net.connect("hidden", "out", second.weight, delay=second.shaped(second.delay))
    times = np.repeat(problem.inputs["in"].first(), 5, axis=1)
    return replace(problem, network=net, inputs={"in": es.SpikeTrains.from_dense(times)})


@pytest.mark.parametrize("arrivals", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_copies_whose_delays_are_in_another_order_are_named(seed, arrivals):
    problem = copied(seed, tiled=False)
    without = "unrounded" if arrivals else "unrounded+delay_spread+jitter+time_grid+delay_grid"
    chip = BrainScaleS2(seed, without=without)
    for tiled in (True, False):
        record = replace(chip.run(copied(seed, tiled)), network=problem.network)
        record = record if arrivals else replace(record, arrivals={})
        verdict = diagnose(problem, record)
        if tiled:
            assert verdict.verdict == "fault", verdict
            assert (
                "the 5 copies of each input of 'in' stand together, and their delays do not" in verdict.name
            )
        else:
            assert verdict.verdict == "explained", verdict


def test_numbers_that_nothing_here_explains_get_no_name_of_a_loop():
    for seed in range(4):
        problem, rng = batch(seed), np.random.default_rng(seed)
        record = BrainScaleS2(seed, without="unrounded").run(problem)
        bent = {key: w * (1 + 1e-6 * rng.standard_normal(w.shape)) for key, w in record.weight.items()}
        wrong = replace(record, gradients={**record.gradients, "weight": bent})
        for given in (wrong, replace(wrong, arrivals={})):
            evidence = evidence_of(problem, given, problem.t_end * 1e-8)
            assert BrainScaleS2.replay(evidence, 1e-8) is None


def test_spikes_that_scatter_more_than_a_chips_are_not_explained():
    problem = batch(1)
    chip = BrainScaleS2(1, without="unrounded", threshold_spread=0.8, gain_spread=0.5)
    record = chip.run(problem)
    verdict = diagnose(problem, record)
    assert verdict.verdict == "unexplained", verdict
    assert "more than 2 times as far as on chips of the model" in verdict.name
