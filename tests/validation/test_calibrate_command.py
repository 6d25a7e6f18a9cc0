"""The command calibrate: a clocked record tells the effective time constants of its clock."""

import json
import math

import numpy as np
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.io import records
from eventsolve.spiketrains import sorted_trains
from validation import registry
from validation.cli.app import app


def test_a_clocked_record_tells_its_numbers_with_their_errors(tmp_path):
    """Spikes of a chip whose tau_mem is 10 % longer, on a clock of 0.1 ms: the half step that it waits is a shift."""
    rng = np.random.default_rng(1)
    net = es.Network()
    net.add_input("in", 6)
    neuron = {"tau_syn": 5e-3, "t_ref": 1.0}
    net.add_population("hidden", 4, es.LIF(tau_mem=20e-3, **neuron))
    net.connect("in", "hidden", rng.normal(3, 2, (4, 6)))
    chip = net.with_neurons({"hidden": es.LIF(tau_mem=22e-3, **neuron)})
    inputs = {"in": es.SpikeTrains.from_dense(rng.uniform(0, 40e-3, (40, 6, 3)))}
    exact = es.solve(chip, inputs, 60e-3).spikes["hidden"].first()
    step = 1e-4
    clocked = es.SpikeTrains.from_dense(np.round(exact / step) * step)
    record = records.Record.of(es.Problem(net, inputs, 60e-3), "clocked", spikes={"hidden": clocked})
    records.write(record, tmp_path / "clocked.npz")
    said = CliRunner().invoke(
        app,
        [
            *("calibrate", str(tmp_path / "clocked.npz"), "--free", "tau_mem,tau_syn:layer"),
            *("--time-noise", "0.029ms", "--out", str(tmp_path / "report"), "--json"),
        ],
    )
    assert said.exit_code == 0, said.output
    found = json.loads((tmp_path / "report" / "calibration.json").read_text())
    assert found["names"] == ["tau_mem of hidden", "tau_syn of hidden"]
    for value, error, want in zip(found["values"], found["errors"], (1.1, 1.0), strict=True):
        assert abs(value - want) < 4 * error < 0.05
    assert found["undetermined"] == []
    refused = CliRunner().invoke(app, ["calibrate", str(tmp_path / "clocked.npz"), "--free", "tau"])
    assert refused.exit_code == 2
    assert "a name in free must be one of" in " ".join(refused.output.split())


def test_euler_decays_are_found_in_spikes_alone():
    """1 - dt/tau per step is the decay of -dt / log(1 - dt/tau), and a spike waits for half a step."""
    step = 1e-4
    problem = registry.task("yinyang").problem(n_samples=32, seed=1)
    spikes = registry.target("timestepped", time_step=step, propagators="euler").run(problem).spikes
    given = problem.inputs["in"]
    times = np.round(given.times / step) * step
    taken = sorted_trains(times, given.neurons, given.samples, (given.n_samples, given.n_neurons))
    found = es.calibrate(
        problem.network,
        {"in": taken},
        {name: spikes[name] for name in ("hidden", "out")},
        problem.t_end,
        ("tau_mem", "tau_syn", "gain", "latency"),
        of=["hidden"],
        time_noise=step / math.sqrt(12),
    )
    neuron = problem.network.population("hidden")
    for value, error, name in zip(found.values, found.errors, ("tau_mem", "tau_syn"), strict=False):
        tau = neuron.parameter(name)[0]
        assert abs(value + step / tau / math.log(1 - step / tau)) < 4 * error < 0.006
    assert abs(found.values[3] - step / 2) < 4 * found.errors[3] < 0.1 * step
