"""Is what exact solutions add to Loihi 2 right: separation, prediction, recommendation; and do its commands say it?"""

import json

import numpy as np
import pytest
from loihi2_reference import EXAMPLE
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.io import records
from validation.attribution.ablation import Ablation
from validation.attribution.causes import attribute
from validation.cli.app import app
from validation.diagnosis import diagnose
from validation.loihi2 import Loihi2, read_netx, run
from validation.loihi2 import network_of as network_of_program
from validation.loihi2.adapters import record
from validation.loihi2.recommendation import agreement_of, best_step, cheapest, cheapest_bits, over_steps
from validation.loihi2.separation import direction_to, separate, shifts
from validation.target import require
from validation.tasks.yin_yang import checkpoint
from validation.tasks.yin_yang.choices import choose_recipe
from validation.tasks.yin_yang.engines import network_of
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.trainer import initial_state
from validation.training import Adam, InTheLoop, trained

DT = 1e-3


def small(seed=1, n_samples=4, spiking=True):
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 12, es.LIF(20e-3, 5e-3))
    net.add_population("out", 3, es.LIF(20e-3, 5e-3) if spiking else es.LI(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(1.5, 1.5, (12, 5)))
    net.connect("hidden", "out", rng.normal(0.5, 0.7, (3, 12)))
    times = np.sort(rng.uniform(0, 30e-3, (n_samples, 5, 3)), axis=2)
    return es.Problem(net, {"in": es.SpikeTrains.from_dense(times)}, 50e-3)


def test_shifts_are_of_neurons_with_as_many_spikes():
    one = es.SpikeTrains.from_lists([[[1e-3, 4e-3], [2e-3], []], [[5e-3], [], []]])
    two = es.SpikeTrains.from_lists([[[2e-3, 6e-3], [2e-3, 3e-3], []], [[4e-3], [], [1e-3]]])
    late, share = shifts(one, two)
    np.testing.assert_allclose(late, [1e-3, 2e-3, -1e-3])
    assert share == 2 / 4  # of four that spike in either, two have as many


def test_the_direction_is_that_in_which_small_changes_move_spikes():
    problem = small()
    direction = direction_to(problem.network, Loihi2(DT).export(problem.network).dequantized())
    assert set(direction) == {"weight", "tau_mem", "tau_syn", "v_threshold"} - {"v_threshold"}
    weights, step = direction["weight"], 1e-4
    near = {key: problem.network.projections[key].weight + step * change for key, change in weights.items()}
    closer = es.solve(problem.network.with_weights(near), problem.inputs, problem.t_end).spikes["out"]
    exact = problem.solution.spikes["out"]
    late, share = shifts(exact, closer)
    assert share == 1
    moved = es.jvp(problem.solution, {"weight": weights})["out"]
    order = np.lexsort((exact.times, exact.neurons, exact.samples))
    # what is left is of second order: of changes of 1e-4 about 1e-4 times how curved crossings are
    assert np.linalg.norm(late - step * moved[order]) < 0.02 * np.linalg.norm(late)


def test_what_first_order_foresees_lies_beside_what_happens():
    problem, weights = small(seed=2, n_samples=16), ("weight_rounding", "weight_clipping")
    every = separate(problem, Loihi2(DT), "out", weights)
    first = separate(problem, Loihi2(DT), "out", weights, first=True)
    assert (
        every.of_parameters.size == every.foreseen.size > first.of_parameters.size == first.foreseen.size > 20
    )
    assert np.corrcoef(first.of_parameters, first.foreseen)[0, 1] > 0.5
    fine = separate(problem, Loihi2(DT, weight_bits=8), "hidden", ("decays",))
    assert np.corrcoef(fine.of_parameters, fine.foreseen)[0, 1] > 0.9


def test_parameters_are_told_apart_from_grid_and_states():
    problem = small()
    found = separate(problem, Loihi2(DT), "hidden")
    alone = es.solve(Loihi2(DT).export(problem.network).dequantized(), problem.inputs, problem.t_end)
    late, share = shifts(problem.solution.spikes["hidden"], alone.spikes["hidden"])
    np.testing.assert_array_equal(found.of_parameters, late)
    assert found.same_parameters == share
    chip, _ = shifts(problem.solution.spikes["hidden"], Loihi2(DT).run(problem).spikes["hidden"])
    np.testing.assert_array_equal(found.of_all, chip)
    assert np.abs(found.of_parameters).mean() < np.abs(found.of_all).mean()
    assert found.radius < 1
    assert "parameters" in repr(found)
    with pytest.raises(ValueError, match="causes must be of kernel"):
        separate(problem, Loihi2(DT), "hidden", ["grid"])
    with pytest.raises(ValueError, match="'in' has no spikes of its own"):
        separate(problem, Loihi2(DT), "in")


def test_a_step_is_best_that_is_neither_long_nor_short():
    problem = small(n_samples=8)
    found = over_steps(problem, Loihi2(DT), (5e-3, 1e-3, 1e-4, 2e-5, 5e-6, 1e-6))
    assert found[-1].agreement is None
    assert "tau_mem" in found[-1].why
    best = best_step(found)
    assert 5e-6 < best.target.time_step < 5e-3
    with pytest.raises(ValueError, match="tau_mem"):
        best_step(found[-1:])


@pytest.mark.parametrize("spiking", [True, False])
def test_bits_are_taken_off_until_they_are_missed(spiking):
    problem, target = small(spiking=spiking), Loihi2(DT)
    least = 0.5
    found = cheapest_bits(problem, target, least, "spikes")
    assert found is not None
    first, second = found.target.weight_bits
    assert agreement_of(problem, found.target.run(problem)).spikes >= least
    assert min(first, second) < 8
    assert cheapest_bits(problem, target, 1.0, "spikes") is None
    with pytest.raises(ValueError, match="least must be a share"):
        cheapest_bits(problem, target, 2.0)
    whole = agreement_of(problem, Loihi2(DT).with_causes([]).run(problem)) if spiking else None
    assert whole is None or whole[:3] == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("weighting", ["exponential", "uniform"])
def test_logits_and_labels_agree_as_the_voltages_say(weighting):
    """By hand from the record's and the exact voltages: sums over steps, argmax, cosine of what is left of a mean."""
    problem = small(spiking=False, n_samples=8)
    labels = np.arange(8) % 3
    loss = es.losses.MeanVoltageCrossEntropy("out", labels, weighting=weighting)
    problem = es.Problem(problem.network, problem.inputs, problem.t_end, loss)
    record = Loihi2(DT).run(problem)
    times = np.linspace(0, 50e-3, 1001)
    logits = []
    for at, v in (
        (record.traces["out"].times, record.traces["out"].voltage),
        (times, problem.solution.voltage("out", times)),
    ):
        w = np.exp(-at / 50e-3) if weighting == "exponential" else np.ones_like(at)
        logits.append(sum(w[k] * v[:, :, k] for k in range(at.size)))
    found = agreement_of(problem, record)
    chip, exact = logits
    assert found.accuracy == np.mean(chip.argmax(axis=1) == labels)
    assert found.decisions == np.mean(chip.argmax(axis=1) == exact.argmax(axis=1))
    cosines = [np.corrcoef(a, b)[0, 1] for a, b in zip(chip, exact, strict=True)]
    assert found.logits == pytest.approx(np.mean(cosines), rel=1e-12, abs=0.0)
    np.testing.assert_array_equal(Loihi2(DT).decisions(problem), chip.argmax(axis=1))
    # without the grid or any other cause, logits are those of the exact network at the same times
    whole = Loihi2(DT).with_causes([])
    np.testing.assert_allclose(
        whole.run(problem).traces["out"].voltage, problem.solution.voltage("out", record.traces["out"].times)
    )
    assert Loihi2(DT).decisions(small()) is None


def test_the_cheapest_is_sought_at_every_step():
    problem = small(n_samples=8)
    steps = over_steps(problem, Loihi2(DT), (2e-3, 1e-3, 5e-4, 1e-6))
    found = cheapest(problem, steps, 0.5, "spikes")
    alone = [cheapest_bits(problem, Loihi2(step), 0.5, "spikes") for step in (2e-3, 1e-3, 5e-4)]
    reached = [one for one in alone if one is not None]
    assert found.cost.bytes == min(one.cost.bytes for one in reached)
    assert len({one.target.time_step for one in reached}) > 1
    assert cheapest(problem, steps, 1.0, "spikes") is None
    with pytest.raises(ValueError, match="of 'out', which spikes; got 'logits'"):
        cheapest(problem, steps, 0.5, "logits")
    with pytest.raises(ValueError, match="samples without labels; got 'accuracy'"):
        cheapest(problem, steps, 0.5, "accuracy")


@pytest.mark.parametrize(
    ("command", "instead"), [("recommend", "--of spikes"), ("converge", "finest not the best")]
)
def test_commands_that_need_gradients_say_which_one_does_not(command, instead):
    arguments = ["0.9"] if command == "recommend" else []
    result = CliRunner().invoke(app, [command, *arguments, "digits", "--target", "loihi2"])
    assert result.exit_code == 2
    said = " ".join(result.output.replace("│", " ").split())
    assert "eventsolve-validate loihi2 TASK" in said
    assert instead in said


def test_bits_may_be_given_for_each_layer():
    problem = small()
    one, two = Loihi2(DT, weight_bits="8+4"), Loihi2(DT, weight_bits=(8, 4))
    assert one == two
    assert "8-4 bits" in one.name
    layers = one.export(problem.network).program.layers
    assert [
        int(np.abs(layer.ff.effective).max()) <= limit for layer, limit in zip(layers, (128, 8), strict=True)
    ]
    assert np.abs(layers[1].ff.effective).max() in (4, 5, 6, 7)
    with pytest.raises(ValueError, match="one for each of 2 layers"):
        Loihi2(DT, weight_bits="8+4+2").export(problem.network)
    with pytest.raises(ValueError, match="several with \\+ between them"):
        Loihi2(DT, weight_bits="8+x")


# -- records of Lava or hardware


def dumped(problem, target):
    """What Lava would have recorded, by the program alone."""
    made = target.export(problem.network)
    moved = target.run(problem).trains["in"]
    sent = np.zeros((problem.n_samples, 51, 5), int)
    sent[moved.samples, np.rint(moved.times / DT).astype(int), moved.neurons] = 1
    found = run(made.program, sent)
    return record("dump", problem, made, {"hidden": found.s[0], "out": found.s[1]}), found


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": "mlgenn", "percentile": 99.0, "input_rounding": "up"},
        {"weight_bits": 5},
        {"weight_bits": 3, "scale": "full", "input_rounding": "down"},
    ],
)
def test_a_dump_is_the_record_of_the_target_and_recognised_with_its_settings(settings):
    problem = small()
    target = Loihi2(DT, **settings)
    held, found = dumped(problem, target)
    assert held.spikes["hidden"] == target.run(problem).spikes["hidden"]
    verdict = diagnose(problem, held)
    assert "Loihi 2" in verdict.twin
    said = dict(text.split("=") for text in verdict.settings)
    told = all(said.get(name) == str(value) for name, value in settings.items())
    assert told or target.name in verdict.name  # beside simpler settings that have the same spikes
    one = es.Problem(problem.network, {"in": problem.inputs["in"].select([0])}, problem.t_end)
    single = record("one", one, target.export(problem.network), {"hidden": found.s[0][0]})
    assert single.spikes["hidden"].n_spikes == found.s[0][0].sum()
    with pytest.raises(ValueError, match=r"spikes of 'hidden' must have shape \(4, 51, 12\)"):
        record("bad", problem, target.export(problem.network), {"hidden": found.s[0][:, :50]})


def test_voltages_of_a_dump_are_in_the_unit_of_the_network():
    problem, target = small(spiking=False), Loihi2(DT)
    made = target.export(problem.network)
    moved = target.run(problem).trains["in"]
    sent = np.zeros((problem.n_samples, 51, 5), int)
    sent[moved.samples, np.rint(moved.times / DT).astype(int), moved.neurons] = 1
    found = run(made.program, sent)
    held = record("dump", problem, made, {"hidden": found.s[0]}, {"out": found.v[1]})
    np.testing.assert_array_equal(held.traces["out"].voltage, target.run(problem).traces["out"].voltage)


# -- commands


def test_export_writes_what_lava_reads_and_says_what_rounding_did(tmp_path):
    path = tmp_path / "digits.net"
    result = CliRunner().invoke(app, ["export", "digits", "--set", "time_step=0.5ms", "--out", str(path)])
    assert result.exit_code == 0, result.output
    for part in ("Loihi 2, 0.5 ms, 8 bits", "quanta rms", "quantum", f"file: {path}"):
        assert part in result.output
    assert read_netx(path).sizes == (100, 10)
    network = small().network
    records.write(records.Record("a network", network=network), tmp_path / "net.json")
    result = CliRunner().invoke(
        app, ["export", str(tmp_path / "net.json"), "--set", "weight_bits=4", "--json", "--out", str(path)]
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["roundings"]["in->hidden"]["n_synapses"] == 60
    assert read_netx(path) == Loihi2(DT, weight_bits=4).export(network).program


def test_export_takes_a_checkpoint_of_a_training(tmp_path):
    recipe = choose_recipe("exact", None, {"epochs": 1})
    engine = ExactEngine(recipe)
    state = initial_state(recipe, engine, 3)
    path = tmp_path / "state.npz"
    checkpoint.save(path, state, recipe, engine, 3)
    net = checkpoint.network_in(path)
    want = network_of(recipe, state.best)
    for key, projection in want.projections.items():
        np.testing.assert_array_equal(net.projections[key].weight, projection.weight)
    result = CliRunner().invoke(app, ["export", str(path), "--out", str(tmp_path / "a.net")])
    assert result.exit_code == 0, result.output
    assert read_netx(tmp_path / "a.net") == Loihi2(DT).export(want).program


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--set", "weight_bits=1"], "weight_bits must be an integer in 2..8"),
        (["digits", "--target", "genn"], "has no file to be exported to"),
        (["nothing.npz"], "there is no file"),
        (["digits", "--set", "time_step=1us"], "decays by less than"),
        (["setup.cfg.npz"], "there is no file"),
        (["digits", "--out", "/nowhere/at/all/a.net"], "a.net cannot be written: No such file or directory"),
    ],
)
def test_export_refuses_by_a_sentence(arguments, message):
    result = CliRunner().invoke(app, ["export", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_the_command_says_which_step_and_which_bits():
    command = ["loihi2", "digits", "--samples", "2", "--wanted", "0.5", "--of", "spikes", "--json"]
    refused = CliRunner().invoke(app, [*command[:-2], "spike"])
    assert refused.exit_code == 2
    assert "is not one of spikes, logits, decisions, accuracy" in " ".join(
        refused.output.replace("│", " ").split()
    )
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["best"]["time_step"] in [one["time_step"] for one in said["steps"]]
    assert 0 < said["thresholds_fit_from"] < 1e-3


def test_the_command_keeps_to_a_step_and_to_bits_that_are_given():
    command = [
        "loihi2",
        "digits",
        "--samples",
        "2",
        "--set",
        "time_step=5ms",
        "--set",
        "target.weight_bits=2",
    ]
    result = CliRunner().invoke(app, [*command, "--wanted", "1"])
    assert result.exit_code == 1, result.output
    assert result.output.count(" ms, ") == 1
    assert "2 bits are not enough for 100% of decisions at any of these time steps" in result.output


def test_the_example_stands_for_a_network_only_with_its_readout():
    net = network_of_program(read_netx(EXAMPLE), DT)
    assert [p.size for p in net.populations.values()] == [8, 10, 6, 3]
    assert not net.population("layer2").neuron.spiking
    assert float(net.population("layer0").parameter("v_threshold")[0]) == 500.0


# -- in the loop


@pytest.mark.parametrize("along", ["measured", "straight_through"])
def test_a_gradient_in_the_loop_is_that_of_the_exact_adjoint(along):
    problem = small(n_samples=2)
    loss = es.losses.TTFSCrossEntropy("out", [0, 1], tau0=2e-3, tau1=0.1, alpha=0.0, silent="t_end")
    problem = es.Problem(problem.network, problem.inputs, problem.t_end, loss)
    record = InTheLoop(Loihi2(DT), along).run(problem)
    chip = Loihi2(DT).run(problem)
    assert record.spikes["out"] == chip.spikes["out"]
    np.testing.assert_array_equal(record.loss_values, chip.loss_values)
    left = Loihi2(DT).export(problem.network).dequantized()
    if along == "straight_through":
        moved = es.Problem(left, {"in": chip.spikes["in"]}, problem.t_end, loss)
        _, want = es.value_and_grad(moved.solution, loss, reduction="none")
    else:
        # along the spikes that were made, the loss is theirs, and so is its derivative by their times
        given = {name: chip.spikes[name] for name in ("hidden", "out")}
        seen = es.observe(left, {"in": chip.spikes["in"]}, given, problem.t_end, undefined="zero")
        value, want = es.value_and_grad(seen, loss, reduction="none")
        np.testing.assert_allclose(value, chip.loss_values, rtol=1e-12)
    for key, values in want.weight.items():
        assert values.any()
        np.testing.assert_allclose(record.weight[key], values, rtol=1e-12)


def test_training_in_the_loop_lowers_the_loss_of_the_chip():
    problem = small(n_samples=6)
    loss = es.losses.TTFSCrossEntropy(
        "out", [0, 1, 2, 0, 1, 2], tau0=2e-3, tau1=0.1, alpha=0.0, silent="t_end"
    )
    problem = es.Problem(problem.network, problem.inputs, problem.t_end, loss)
    epochs = list(trained(problem, InTheLoop(Loihi2(DT, weight_bits=5)), Adam(0.02), epochs=10, batch_size=6))
    assert epochs[-1].loss < epochs[1].loss
    with pytest.raises(
        ValueError, match="along must be one of measured, threshold, crossing, straight_through"
    ):
        InTheLoop(Loihi2(DT), "none")
    with pytest.raises(ValueError, match="train needs a target with gradients, which Loihi2 has not"):
        require(Loihi2, "train")


def test_voltages_and_losses_are_attributed_where_there_are_no_gradients():
    problem = small(spiking=False)
    loss = es.losses.MeanVoltageCrossEntropy("out", [0, 1, 2, 0], weighting="exponential")
    ablation = Ablation(es.Problem(problem.network, problem.inputs, problem.t_end, loss), Loihi2(DT))
    assert ablation.quantities == ("V of out", "loss", "spike times of hidden")
    (*_, found) = attribute(ablation, max_pairs=2)
    assert found.levels[0, :3] == pytest.approx(0, abs=1e-12)  # with no cause it is the exact network
    record = Loihi2(DT).run(ablation.problem)
    times, got = record.traces["out"].times, record.traces["out"].voltage
    exact = ablation.problem.solution.voltage("out", times)
    assert found.errors["V of out"] == pytest.approx(np.linalg.norm(got - exact) / np.linalg.norm(exact))
    values = loss.evaluate(ablation.problem.solution).values
    apart = np.abs(record.loss_values - values).mean() / np.abs(values).mean()
    assert found.errors["loss"] == pytest.approx(apart)
    for quantity in ("V of out", "loss"):
        assert sum(value for value, _ in found.blame(quantity).values()) == pytest.approx(
            found.errors[quantity]
        )
