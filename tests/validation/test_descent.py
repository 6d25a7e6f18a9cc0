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
from validation.cli import app as cli
from validation.grid import TimeStepped
from validation.oracle import Exact, oracle
from validation.registry import target
from validation.spinnaker2 import SpiNNaker2Core
from validation.training import SGD, Adam, checkpoint, choices, trained
from validation.training.descent import accuracy, raised
from validation.training.optimizers import Memory
from validation.training.parameters import Parameters

EVERYTHING = (
    "weight",
    "delay",
    "tau_mem",
    "tau_syn",
    "v_threshold",
    "v_reset",
    "v_leak",
    "t_ref",
    "v_initial",
)
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
        assert values[0][k] == pytest.approx(want, rel=1e-13, abs=0.0)


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
    assert (found.accuracy is None) == isinstance(target, TimeStepped)  # whose readouts decide nothing here


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


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    parameters = Parameters(recurrent().network, EVERYTHING)
    arguments = {"epochs": 3, "batch_size": 4, "test": recurrent(), "quantities": EVERYTHING}
    *_, middle, end = trained(recurrent(), Exact(), Adam(0.01), **arguments)
    said = checkpoint.identity(recurrent(), parameters, {"seed": 0})
    checkpoint.save(tmp_path / "c.npz", middle, parameters, said)
    again = checkpoint.load(tmp_path / "c.npz", parameters, said)
    assert again.history[1:] == middle.history[1:]
    found = last(trained(recurrent(), Exact(), Adam(0.01), **arguments, begin=again))
    for one, other in zip(parameters.values(found.network), parameters.values(end.network), strict=True):
        assert np.array_equal(one, other)
    assert found.history[1:] == end.history[1:]
    other = checkpoint.identity(recurrent(), parameters, {"seed": 1})
    with pytest.raises(checkpoint.CheckpointError, match=r"its settings\.seed is 0, not 1"):
        checkpoint.load(tmp_path / "c.npz", parameters, other)
    other = checkpoint.identity(recurrent(5), parameters, {"seed": 0})
    with pytest.raises(checkpoint.CheckpointError, match="its problem is"):
        checkpoint.load(tmp_path / "c.npz", parameters, other)


@pytest.mark.parametrize("quantity", EVERYTHING)
def test_a_step_in_any_quantity_is_its_exact_gradient_in_its_unit(quantity):
    problem = recurrent()
    found = last(trained(problem, Exact(), SGD(1e-3), epochs=1, batch_size=6, quantities=(quantity,)))
    parameters, record = Parameters(problem.network, (quantity,)), oracle(problem)
    unit = 5e-3 if quantity in ("delay", "tau_mem", "tau_syn", "t_ref") else 1.0
    moved = 0.0
    for place, before, after in zip(
        parameters.places,
        parameters.values(problem.network),
        parameters.values(found.network),
        strict=True,
    ):
        gradient = record.gradients[quantity][place[1]].mean(axis=0).reshape(-1)
        step = -1e-3 * unit * gradient
        if quantity == "t_ref":
            step = np.maximum(step, -before)
        np.testing.assert_allclose(after - before, step, rtol=1e-6, atol=1e-13)
        moved += np.abs(step).sum()
    assert moved > 0


def test_steps_end_where_a_network_would():
    parameters = Parameters(recurrent().network, ("delay", "tau_mem", "t_ref", "v_threshold", "v_reset"))
    values = [
        np.full(v.shape, 9.0 if q == "v_reset" else -9.0)
        for (q, _), v in zip(parameters.places, parameters.values(recurrent().network), strict=True)
    ]
    net = parameters.applied(recurrent().network, values)
    assert not any(p.delay.any() for p in net.projections.values())
    a = net.population("a")
    assert np.allclose(a.parameter("tau_mem"), 0.01 * 20e-3, rtol=1e-12, atol=0.0)
    assert np.allclose(a.parameter("v_threshold"), 9.01, rtol=1e-12, atol=0.0)
    assert not a.parameter("t_ref").any()


def test_weights_onto_silent_neurons_grow():
    net = recurrent().network
    quiet = net.with_weights({("in", "a"): net.projections["in", "a"].weight * [[0.0], [1.0], [1.0], [1.0]]})
    quiet = quiet.with_weights({("a", "a"): 0.0 * net.projections["a", "a"].weight})
    record = oracle(replace(recurrent(), network=quiet))
    assert (record.spikes["a"].counts().sum(axis=0) == 0).tolist() == [True, False, False, False]
    moved = raised(quiet, record, 0.5)
    for pre in ("in", "a"):
        grown = moved.projections[pre, "a"].weight - quiet.projections[pre, "a"].weight
        assert (grown[0] == 0.5).all()
        assert not grown[1:].any()


def test_a_readout_decides_by_its_largest_mean_voltage():
    problem = recurrent()
    solution, labels = problem.solution, np.asarray(problem.loss.labels)
    times = np.linspace(0.0, 40e-3, 4001)
    means = solution.voltage("out", times).mean(axis=2)
    found = accuracy(problem, solution.spikes, problem.loss.evaluate(solution))
    assert found == np.mean(means.argmax(axis=1) == labels)
    assert 0 < found < 1


def test_the_exact_target_gives_the_gradients_that_are_asked_for():
    assert set(target("exact", wrt="weight+delay").run(recurrent()).gradients) == {"weight", "delay"}
    assert target("exact").wrt is None


def test_a_loss_and_an_optimizer_by_name():
    other = choices.loss("MeanVoltageCrossEntropy:weighting=exponential", recurrent()).loss
    assert (other.population, other.weighting) == ("out", "exponential")
    assert choices.optimizer("sgd:momentum=0.9", 0.1) == SGD(0.1, momentum=0.9)
    for text, message in (
        ("Mean", "loss 'Mean' is not one of"),
        ("TTFSCrossEntropy:tau0=1ms", "the loss TTFSCrossEntropy needs tau1=... and alpha=..."),
        ("MeanVoltageCrossEntropy:tau=1", "has no option 'tau'"),
    ):
        with pytest.raises(ValueError, match=message):
            choices.loss(text, recurrent())


def test_what_cannot_be_trained():
    with pytest.raises(ValueError, match="what is trained must be some of weight, delay"):
        Parameters(PROBLEM.network, ("weights",))
    with pytest.raises(ValueError, match="the network has no delay to train"):
        Parameters(PROBLEM.network, ("delay",))
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


BRIEF = ["digits", "--set", "hidden=10", "--samples", "8", "--batch", "4", "--train", "weight,tau_mem"]


def train(*arguments):
    return CliRunner().invoke(cli.app, ["train", *map(str, arguments)])


def test_the_name_of_a_task_is_enough_and_a_checkpoint_goes_on(tmp_path, monkeypatch):
    whole = train(*BRIEF, "--epochs", 3, "--out", tmp_path / "whole.npz")
    assert whole.exit_code == 0, whole.output
    kept = ["--epochs", 3, "--checkpoint", tmp_path / "c.npz", "--out", tmp_path / "part.npz"]
    real, saved = checkpoint.save, []

    def save(*given):
        real(*given)
        saved.append(given)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save)
    part = train(*BRIEF, *kept)
    assert part.exit_code == 130, part.output
    assert "interrupted: 1 of 3 epochs were finished; --resume goes on" in part.stderr
    again = train(*BRIEF, *kept)
    assert again.exit_code == 2
    assert "--resume goes on from it" in " ".join(again.stderr.replace("│", " ").split())
    resumed = train(*BRIEF, *kept, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    one, other = (records.read(tmp_path / f"{name}.npz").network for name in ("whole", "part"))
    assert np.array_equal(one.population("out").neuron.tau_mem, other.population("out").neuron.tau_mem)


def test_another_loss_is_trained_on_request():
    result = train(*BRIEF, "--epochs", 1, "--loss", "TTFSCrossEntropy:tau0=1ms,tau1=5ms,alpha=0,silent=skip")
    assert result.exit_code == 0, result.output
    assert train("digit").exit_code == 2


def test_an_optimizer_that_is_none():
    result = CliRunner().invoke(cli.app, ["train", "task", "digits", "--optimizer", "lion"])
    assert result.exit_code == 2
    assert "optimizer 'lion' is not one of adam, sgd" in " ".join(result.stderr.replace("│", " ").split())
