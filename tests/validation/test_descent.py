"""Does gradient descent descend, on any network and any target, and do optimizers what they are published to do?"""

import json
from dataclasses import replace

import numpy as np
import pytest
from cores import chain_problem
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.io import records
from eventsolve.problem import network_of
from validation import __main__ as cli
from validation.grid import TimeStepped
from validation.oracle import Exact, oracle
from validation.spinnaker2 import SpiNNaker2Core
from validation.training import SGD, Adam, trained
from validation.training.optimizers import Memory

PROBLEM = es.Problem(*chain_problem(n_samples=12))


def recurrent(n_samples=6):
    """Three layers' worth of everything: a cycle, delays, a readout, a loss on voltages."""
    rng = np.random.default_rng(1)
    net = network_of(
        {
            "in": 3,
            "a": (4, es.LIF(20e-3, 5e-3)),
            "b": (3, es.LIF(20e-3, 5e-3)),
            "out": (2, es.LI(20e-3, 5e-3)),
        },
        {
            ("in", "a"): {"weight": rng.normal(7.0, 1.0, (4, 3))},
            ("a", "a"): {"weight": rng.normal(0.5, 0.5, (4, 4)), "delay": 2e-3},
            ("a", "b"): {"weight": rng.normal(4.0, 1.0, (3, 4)), "delay": 1e-3},
            ("b", "out"): {"weight": rng.normal(0.0, 2.0, (2, 3))},
        },
    )
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 10e-3, (n_samples, 3)))
    loss = es.losses.MeanVoltageCrossEntropy("out", rng.integers(0, 2, n_samples))
    return es.Problem(net, {"in": trains}, 40e-3, loss)


def last(iterator):
    *_, found = iterator
    return found


# -- optimizers


def plain_adam(w, gradients, rate, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0):
    """Algorithm 2 of Loshchilov & Hutter (2019), number by number."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        w -= rate * (m / (1 - beta1**t) / ((v / (1 - beta2**t)) ** 0.5 + eps) + decay * w)
    return w


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_the_published_one(decay):
    rng = np.random.default_rng(0)
    w, steps = rng.normal(size=5), rng.normal(size=(7, 5))
    values, memory = (w,), Memory()
    for g in steps:
        values, memory = Adam(0.05, weight_decay=decay).step(values, (g,), memory)
    for k in range(5):
        want = plain_adam(w[k], steps[:, k], 0.05, decay=decay)
        assert values[0][k] == pytest.approx(want, rel=1e-13)


def test_momentum_adds_up_what_was():
    w, g = np.array([1.0]), np.array([0.5])
    values, memory = (w,), Memory()
    for _ in range(3):
        values, memory = SGD(0.1, momentum=0.5).step(values, (g,), memory)
    assert values[0][0] == pytest.approx(1.0 - 0.1 * 0.5 * (1 + 1.5 + 1.75))
    decayed, _ = SGD(0.1, weight_decay=0.2).step((w,), (g,), Memory())
    assert decayed[0][0] == pytest.approx(1.0 - 0.1 * (0.5 + 0.2))
    assert (w[0], g[0]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (SGD, {"rate": 0.0}, "rate must be > 0"),
        (SGD, {"rate": 1.0, "momentum": 1.0}, "momentum must be >= 0 and below 1"),
        (Adam, {"rate": 1.0, "eps": 0.0}, "eps must be > 0"),
        (Adam, {"rate": 1.0, "beta2": -0.1}, "beta2 must be >= 0"),
    ],
)
def test_rules_that_are_none(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(**arguments)


# -- descent


def test_a_step_is_the_rule_on_the_exact_mean_gradient():
    found = last(trained(PROBLEM, Exact(), SGD(1e-3), epochs=1, batch_size=12))
    record = oracle(PROBLEM)
    for key, p in PROBLEM.network.projections.items():
        want = p.weight - 1e-3 * record.weight[key].mean(axis=0)
        np.testing.assert_allclose(found.network.projections[key].weight, want, rtol=1e-12)
    assert found.loss == pytest.approx(record.loss_values.mean())


@pytest.mark.parametrize(
    ("problem", "target"),
    [
        (PROBLEM, Exact()),
        (PROBLEM, SpiNNaker2Core(1e-3, "s16.15", traces=False)),
        (recurrent(), Exact()),
        (recurrent(), TimeStepped(5e-4, number="s16.15", traces=False)),
    ],
    ids=["exact", "chip", "recurrent, exact", "recurrent, fixed point"],
)
def test_the_loss_falls_on_any_network_and_target(problem, target):
    *_, found = (epochs := list(trained(problem, target, Adam(0.1), epochs=10, batch_size=4, test=problem)))
    assert found.test_loss < 0.9 * epochs[0].test_loss
    assert (found.accuracy is None) == (problem is not PROBLEM)


def test_weights_stay_in_the_numbers_that_a_target_holds():
    target = TimeStepped(1e-3, number="s8.7", traces=False)
    found = last(trained(PROBLEM, target, SGD(1e-2), epochs=1, batch_size=4))
    for p in found.network.projections.values():
        assert np.array_equal(p.weight * 2**7, np.rint(p.weight * 2**7))
    core = SpiNNaker2Core(1e-3, "s8.7")
    for key, p in core.held(PROBLEM.network).projections.items():
        given = PROBLEM.network.projections[key].weight
        assert np.abs(p.weight - given).max() <= 2**-8
        assert np.array_equal(p.weight * 2**7, np.rint(p.weight * 2**7))


def test_the_same_seed_gives_the_same_weights():
    one, two, other = (
        last(trained(PROBLEM, Exact(), SGD(1e-3), epochs=2, batch_size=5, seed=seed)) for seed in (1, 1, 2)
    )
    key = ("in", "hidden")
    assert np.array_equal(one.network.projections[key].weight, two.network.projections[key].weight)
    assert not np.array_equal(one.network.projections[key].weight, other.network.projections[key].weight)


def test_what_cannot_be_trained():
    with pytest.raises(ValueError, match="problem must have a loss to be trained on"):
        next(trained(replace(PROBLEM, loss=None), Exact(), SGD(1.0), epochs=1))
    with pytest.raises(ValueError, match="epochs and batch_size must be >= 1; got 0 and 32"):
        next(trained(PROBLEM, Exact(), SGD(1.0), epochs=0))


# -- on the command line


def test_a_trained_network_is_written_and_can_be_compared(tmp_path):
    out = tmp_path / "trained.json"
    arguments = [
        "digits",
        "--set",
        "hidden=10",
        "--samples",
        "8",
        "--epochs",
        "2",
        "--batch",
        "4",
        "--rate",
        "0.01",
    ]
    result = CliRunner().invoke(cli.app, ["train", "task", *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch   0", "epoch   1", "epoch   2"]
    assert "accuracy" in lines[-1]
    network = records.read(out).network
    assert [p.size for p in network.populations.values()] == [64, 10, 10]
    assert "trained on exact for 2 epochs" in json.loads(out.read_text("utf-8"))["name"]


def test_an_optimizer_that_is_none():
    result = CliRunner().invoke(cli.app, ["train", "task", "digits", "--optimizer", "lion"])
    assert result.exit_code == 2
    assert "'lion' is not one of adam, sgd" in " ".join(result.stderr.replace("│", " ").split())
