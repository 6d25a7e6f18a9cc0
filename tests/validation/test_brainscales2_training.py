"""DelGrad's trainings: is a compiled step what the chip and the exact solver say, and does the command do its work?"""

import json
from dataclasses import replace

import numpy as np
import pytest
from comparing import Comparison
from typer.testing import CliRunner

import eventsolve as es
from benchmarks.tables.delgrad import app
from eventsolve.io import datasets
from validation import registry
from validation.brainscales2 import BrainScaleS2
from validation.brainscales2.causes import MEANINGS
from validation.brainscales2.networks import SETUPS, TAU, by_parameter, initial, keys, network, problem
from validation.brainscales2.training import Plan, backward, circuits, forward, ideal, loss, points, train

FIXED = (
    "threshold_mean",
    "threshold_spread",
    "tau_spread",
    "gain_spread",
    "delay_spread",
    "weight_grid",
    "delay_grid",
    "time_grid",
)
N = 12


def firing(setup, seed=3):
    """Parameters with which most neurons spike."""
    parameters = initial(setup, seed)
    lifted = tuple(w + {1.0: 1.0, 2.6: 0.7}[setup.threshold] for w in parameters.weights)
    return replace(parameters, weights=lifted)


def by_projection(setup, step):
    """The weight gradients of a step, in eventsolve's unit and in seconds."""
    found = {}
    for names, gradient in zip(keys(setup), step.gradients, strict=False):
        found |= {key: g * TAU**2 / setup.ratio for key, g in zip(names, gradient, strict=True)}
    return found


def by_delay(setup, parameters, delay):
    """The delay gradients of a record or the oracle, by the parameters, in tau."""
    found = []
    for k, names in enumerate(keys(setup)):
        total = sum(np.asarray(delay[key]) for key in names)
        axis = {"axonal": 0, "dendritic": 1, "synaptic": None}[setup.delays]
        total = total if axis is None else total.sum(axis=axis)
        found.append(total / TAU * by_parameter(setup, parameters.delays[k]))
    return found


@pytest.mark.parametrize("name", ["weights", "axonal", "dendritic", "synaptic", "chip-axonal"])
def test_an_exact_step_is_the_oracles(name):
    setup = SETUPS[name]
    parameters, data = firing(setup), datasets.yin_yang(N, 7)
    times, labels = points(N, 7)
    batch = problem(setup, parameters, data)
    measured = forward(setup, parameters, times, ideal(setup), np.random.default_rng(0))
    condition = es.gradient_condition(batch.solution)
    compared = Comparison()
    for population, found in zip(("hidden", "out"), measured.spikes, strict=True):
        trains = batch.solution.spikes[population]
        want = trains.first()
        np.testing.assert_array_equal(np.isfinite(want), np.isfinite(found))
        error = 2 * condition.time_error[population] + 4 * np.finfo(float).eps * trains.times
        compared.close(found[trains.samples, trains.neurons] * TAU, trains.times, error)
    step = backward(setup, parameters, measured, labels, ideal(setup), "exact", cap=np.inf)
    value, grads = es.value_and_grad(batch.solution, batch.loss, reduction="none")
    if np.isfinite(measured.spikes[-1]).all():
        assert step.loss * TAU**2 == pytest.approx(value.mean(), rel=1e-9, abs=0.0)
    # relative to the largest of a kind: spikes here have gradients to nine digits and more
    assert min(d.min(initial=16.0) for d in condition.digits.values()) > 9
    whole = np.isfinite(measured.spikes[-1]).all(
        axis=1
    )  # the oracle's loss skips samples with silent outputs
    assert whole.all()
    for key, got in by_projection(setup, step).items():
        want = grads.weight[key].mean(axis=0)
        compared.close(got, want, 1e-9 * np.abs(want).max())
    if setup.delays is not None:
        want = by_delay(setup, parameters, {key: g.mean(axis=0) for key, g in grads.delay.items()})
        for got, expected in zip(step.gradients[2:], want, strict=True):
            compared.close(got, expected, 1e-9 * np.abs(expected).max())
    compared.demand(0.75)  # the others are synapses whose input comes too late, 0 of both


@pytest.mark.parametrize("engine", ["crossing", "measured", "threshold", "true"])
@pytest.mark.parametrize("name", ["chip-weights", "chip-axonal"])
def test_a_step_on_a_chip_is_the_targets(name, engine):
    setup = SETUPS[name]
    parameters, data = firing(setup), datasets.yin_yang(N, 7)
    times, labels = points(N, 7)
    exact = engine == "true"  # compared with the gradient at times that nobody has rounded
    off = tuple(cause for cause in MEANINGS if cause not in FIXED or (exact and cause == "time_grid"))
    chip = BrainScaleS2(5, slope="measured" if engine == "true" else engine, without=off)
    batch = problem(setup, parameters, data)
    record = chip.run(batch)
    circuit = circuits(setup, chip)
    measured = forward(setup, parameters, times, circuit, np.random.default_rng(0))
    for population, found in zip(("hidden", "out"), measured.spikes, strict=True):
        want = record.spikes[population].first() / TAU
        np.testing.assert_allclose(found, want, rtol=1e-11)  # grazing spikes apart, which this batch has not
    step = backward(setup, parameters, measured, labels, circuit, engine, cap=np.inf)
    weight, delay = record.weight, record.delay
    if exact:
        real = replace(batch, network=chip.chip(batch.network))
        _, grads = es.value_and_grad(real.solution, batch.loss, reduction="none")
        weight, delay = chip.by_programmed(batch.network, grads.weight), grads.delay
    for key, got in by_projection(setup, step).items():
        want = weight[key].mean(axis=0)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * np.abs(want).max())
    if setup.delays is not None:
        want = by_delay(setup, parameters, {key: g.mean(axis=0) for key, g in delay.items()})
        for got, expected in zip(step.gradients[2:], want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_what_is_silent_adds_a_constant_and_no_slope():
    setup = SETUPS["weights"]
    outputs = np.array([[1.0, 2.0, np.inf], [np.inf, 1.0, 2.0], [1.0, 1.5, 1.2]])
    values, slope = loss(setup, outputs, np.array([0, 0, 0]))
    np.testing.assert_allclose(values, [0.5 * 0.8**2 + 100, 300, 0.5 * (0.3**2)])
    np.testing.assert_allclose(slope, [[-0.8, 0.8, 0.0], [0, 0, 0], [-0.3, 0.3, 0.0]], atol=1e-15)


def test_a_batch_with_too_much_silence_lifts_weights_and_a_training_learns():
    setup = SETUPS["chip-weights"]
    trained = list(train(Plan(setup, "measured", 0, epochs=6, n_train=1000)))
    assert 0 < trained[-1].bumped < 1
    assert trained[-1].history[-1] > 0.5
    for weight in trained[-1].parameters.weights:
        assert np.abs(weight).max() <= 2.1
    again = list(train(Plan(setup, "measured", 0, epochs=6, n_train=1000)))
    assert again[-1].history == trained[-1].history


def test_the_task_gives_every_network():
    for name, setup in SETUPS.items():
        made = registry.task("delgrad", setup=name).problem(5, 1)
        assert made.network.population("hidden").size == setup.hidden
        assert (network(setup, initial(setup, 1)).projections.keys()) == made.network.projections.keys()
    with pytest.raises(ValueError, match="setup must be one of weights, axonal"):
        registry.task("delgrad", setup="H30")


def test_the_script_goes_on_where_it_was_and_refuses_what_it_cannot(tmp_path):
    out = tmp_path / "delgrad.json"
    arguments = ["--setup", "synaptic-5", "--seeds", "2", "--epochs", "1", "--out", str(tmp_path)]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "synaptic-5" in first.output
    held = out.read_text()
    assert len(json.loads(held)) == 2
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0
    assert out.read_text() == held
    out.write_text("[1]")
    assert "holds no trainings" in CliRunner().invoke(app, arguments).output
    wrong = CliRunner().invoke(app, ["--setup", "H30", "--out", str(tmp_path / "x")])
    assert wrong.exit_code == 2
    assert "setup must be one of" in wrong.output
    misfit = CliRunner().invoke(app, ["--setup", "weights", "--engine", "true", "--out", str(tmp_path / "x")])
    assert "does not fit the chip" in misfit.output.replace("\n", " ")
