"""In the loop: exact gradients along a target's spikes, for training on whatever spikes."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.io.records import Record
from validation.cli.app import app
from validation.oracle import Exact, oracle
from validation.registry import target, task
from validation.target import Resolution
from validation.training import SGD, InTheLoop, trained


def mean_gradients(record, network):
    """The batch-mean dL/dw of every synapse, by projection."""
    return {key: record.weight[key].mean(axis=0).reshape(-1) for key in network.projections}


def problem(n_samples=4):
    return task("yinyang").problem(n_samples=n_samples, seed=1)


class Forward:
    """A chip of thresholds of its own, which gives spikes and nothing else."""

    name = "chip"

    def __init__(self, offset=0.0):
        self.offset = offset

    def run(self, given):
        neurons = {
            name: replace(p.neuron, v_threshold=p.neuron.v_threshold + self.offset)
            for name, p in given.network.populations.items()
            if p.neuron is not None
        }
        solution = es.solve(given.network.with_neurons(neurons), given.inputs, given.t_end)
        return Record.of(given, self.name, spikes=solution.spikes)

    def true(self, given):
        neurons = {
            name: replace(p.neuron, v_threshold=p.neuron.v_threshold + self.offset)
            for name, p in given.network.populations.items()
            if p.neuron is not None
        }
        return oracle(replace(given, network=given.network.with_neurons(neurons)))


@pytest.mark.parametrize("slope", ["measured", "threshold", "crossing"])
def test_along_the_exact_spikes_is_the_exact_gradient(slope):
    given = problem()
    found, want = InTheLoop(Exact(), slope).run(given), oracle(given)
    np.testing.assert_allclose(found.loss_values, want.loss_values, rtol=1e-13)
    for key, values in want.weight.items():
        np.testing.assert_allclose(found.weight[key], values, rtol=0, atol=1e-9 * np.abs(values).max())
    assert f"({slope} slope)" in found.name


@pytest.mark.parametrize("along", ["measured", "straight_through"])
def test_a_readout_that_never_spikes_is_read_in_the_loop(along):
    """Its loss is of voltages; on the exact target both ways are the exact gradient, inputs' spike times included."""
    given = task("keywords", hidden=8).problem(n_samples=2, seed=1)
    found, want = InTheLoop(Exact(), along).run(given), oracle(given)
    np.testing.assert_allclose(found.loss_values, want.loss_values, rtol=1e-12)
    for key, values in want.weight.items():
        np.testing.assert_allclose(found.weight[key], values, rtol=0, atol=1e-9 * np.abs(values).max())
    assert set(found.spike_times) == (set() if along == "straight_through" else {"in", "hidden"})


def test_of_a_chip_with_other_thresholds_the_measured_slope_is_its_own_gradient():
    given, chip = problem(), Forward(0.07)
    want = mean_gradients(chip.true(given), given.network)
    for slope, right in (("measured", True), ("threshold", False), ("crossing", False)):
        found = mean_gradients(InTheLoop(chip, slope).run(given), given.network)
        off = max(np.abs(found[key] - values).max() / np.abs(values).max() for key, values in want.items())
        assert (off < 1e-9) == right


def test_steps_of_transport_are_delays_along_the_spikes():
    """A target that says its spikes take two steps: V at its spikes is what arrives then."""

    class Late(Forward):
        def resolution(self, network):
            return Resolution(1e-3, dict.fromkeys(network.projections, 2), 1e-9)

        def run(self, given):
            late = {key: p.shaped(p.delay + 2e-3) for key, p in given.network.projections.items()}
            exact = es.solve(given.network.with_delays(late), given.inputs, given.t_end)
            return Record.of(given, self.name, spikes=exact.spikes)

    given = problem()
    late = {key: p.shaped(p.delay + 2e-3) for key, p in given.network.projections.items()}
    want = mean_gradients(oracle(replace(given, network=given.network.with_delays(late))), given.network)
    found = mean_gradients(InTheLoop(Late()).run(given), given.network)
    for key, values in want.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-9 * np.abs(values).max())


def test_a_chip_without_gradients_is_trained():
    given = problem(8)
    epochs = list(trained(given, InTheLoop(Forward(0.05)), SGD(1e-2), epochs=3, batch_size=8, test=given))
    assert epochs[-1].test_loss < epochs[0].test_loss


def test_a_target_that_does_not_give_all_spikes_is_refused():
    class Silent:
        name = "silent"

        def run(self, given):
            return Record.of(given, self.name, spikes={})

    with pytest.raises(ValueError, match="'silent' gives no spikes of 'hidden' to take gradients along"):
        InTheLoop(Silent()).run(problem())


def test_clocked_targets_have_gradients_along_their_spikes_that_come_nearer_with_the_step():
    given = task("yinyang").problem(n_samples=32, seed=42)
    exact = np.concatenate([*mean_gradients(oracle(given), given.network).values()])
    errors = []
    for step in ("1ms", "0.1ms"):
        record = InTheLoop(target("spinnaker2", time_step=step)).run(given)
        found = np.concatenate([*mean_gradients(record, given.network).values()])
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert errors[1] < 0.3
    assert errors[0] > 2 * errors[1]


def test_the_command_trains_along():
    command = ["train", "task", "yinyang", "--samples", "4", "--epochs", "1", "--target", "exact"]
    said = CliRunner().invoke(app, [*command, "--along", "measured"])
    assert said.exit_code == 0, said.output
    assert "epoch   1" in said.output
    refused = CliRunner().invoke(app, [*command, "--along", "own"])
    assert refused.exit_code == 2
    assert "'own' is not one of measured" in " ".join(refused.output.split())
