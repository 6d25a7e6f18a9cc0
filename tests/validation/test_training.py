"""Does training do what its recipe says, the same each time, and go on where it stopped?"""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import eventsolve as es
from eventsolve.io import datasets
from validation import __main__ as cli
from validation.spinnaker2 import (
    FLOAT32,
    FLOAT64,
    SGD,
    Adam,
    Arithmetic,
    Chip,
    OptimizerProgram,
    SpiNNaker2Core,
)
from validation.spinnaker2.image import GradientBlock, WeightBlock
from validation.training import campaign, checkpoint, optimizer, search, silence, table, trainer
from validation.training.chip_engine import ChipEngine
from validation.training.engines import KEYS, Activity, network_of
from validation.training.exact_engine import ExactEngine
from validation.training.recipes import BENA, WUNDERLICH, Cosine, Exponential, Parameters, initial_parameters
from validation.training.report import ceiling

SMALL = replace(
    WUNDERLICH,
    setup=replace(WUNDERLICH.setup, name="5-30-3", sizes=(5, 30, 3), moments=((1.5, 0.78), (3.0, 0.7))),
    rule=Adam(2e-2),
    epochs=3,
    n_train=192,
    n_test=64,
)
DELAYED = replace(SMALL, delays=(0.0, 5e-3), delay_rate=50e-6, schedule=Cosine(), remedy="bump")


def states(recipe, seed=1, start=None):
    engine = ExactEngine(recipe, threads=1)
    data = trainer.load_data(recipe, engine)
    first = trainer.initial_state(recipe, engine, seed) if start is None else start
    return list(trainer.train(recipe, engine, seed, first, data))


def same(one, other):
    """Two states, bit for bit but for the time they took."""
    arrays = [
        (
            *s.parameters.arrays,
            *s.moments.first,
            *s.moments.second,
            [e[:-1] for e in s.history],
            s.moments.count,
        )
        for s in (one, other)
    ]
    return all(np.array_equal(a, b) for a, b in zip(*arrays, strict=True)) and one.bump == other.bump


# -- training


def test_loss_falls_and_accuracy_rises():
    history = states(replace(SMALL, epochs=6, n_train=1024))[-1].history
    assert history[-1].loss < 0.7 * history[0].loss
    assert history[-1].test_accuracy > 0.6


def test_a_seed_gives_one_training_and_another_seed_another():
    (first, *_), (again, *_), (other, *_) = states(SMALL), states(SMALL), states(SMALL, seed=2)
    assert same(first, again)
    assert not same(first, other)


def test_a_step_is_the_one_that_finite_differences_give():
    """One SGD step on one batch, against central differences of the loss in each of a few parameters."""
    recipe = replace(
        DELAYED, remedy="none", n_train=8, batch_size=8, epochs=1, rule=SGD(1.0), delay_rate=1e-9
    )
    recipe = replace(recipe, schedule=Exponential(1.0))
    engine = ExactEngine(recipe, threads=1)
    data = trainer.load_data(recipe, engine)
    start = trainer.initial_state(recipe, engine, 3)
    (end,) = trainer.train(recipe, engine, 3, start, data)
    for k, (place, width, rate) in enumerate(
        [((4, 2), 1e-5, 1.0), ((1, 7), 1e-5, 1.0), ((4, 2), 1e-8, 1e-9)]
    ):
        values = []
        for sign in (1, -1):
            arrays = [a.copy() for a in start.parameters.arrays]
            arrays[k][place] += sign * width
            values.append(
                engine.gradient(start.parameters.like(tuple(arrays)), data.train, data.train_labels).loss
            )
        slope = (values[0] - values[1]) / (2 * width)
        step = (start.parameters.arrays[k] - end.parameters.arrays[k])[place] / rate
        # a central difference errs by its curvature term and by the rounding of the loss over its width
        assert step == pytest.approx(slope, rel=1e-4, abs=1e-14 / width)


def test_delays_are_trained_and_stay_causal():
    end = states(replace(DELAYED, delay_rate=2e-3))[-1]
    start = initial_parameters(DELAYED, 1)
    for before, after in zip(start.delays, end.parameters.delays, strict=True):
        assert (after >= 0).all()
        assert (after == 0).any()
        assert not np.array_equal(before, after)


def test_the_published_schedules():
    assert Exponential(0.95).share(3.9, 100) == 0.95**3
    assert Exponential(0.95, every="batch").share(3.5, 100) == pytest.approx(0.95**3.5)
    assert Exponential(0.95, epochs=20).share(45.0, 300) == 0.95**2
    assert Cosine().share(0.0, 10) == 1.0
    assert Cosine().share(5.0, 10) == pytest.approx(0.5)


# -- optimizer


@given(
    st.sampled_from(
        [SGD(0.1, weight_decay=1e-2), Adam(1e-2, weight_decay=1e-3), Adam(1e-3, betas=(0.5, 0.9), eps=1e-6)]
    ),
    st.sampled_from(["float64", "float32", "s16.15"]),
    st.integers(0, 2**32 - 1),
)
def test_steps_are_those_of_the_chips_optimizer_program(rule, preset, seed):
    random = np.random.default_rng(seed)
    arithmetic = Arithmetic.preset(preset)
    program = OptimizerProgram(rule, arithmetic, 1.0, number=FLOAT32)
    values = (optimizer.rounded(random.normal(size=(3, 2)), arithmetic.weight),)
    moments = optimizer.initial_moments(rule, values)
    key = ("in", "out")
    chip = WeightBlock(key, program._calculator.encode(values[0].T, arithmetic.weight), arithmetic.weight)
    for _ in range(3):
        block = GradientBlock(
            key,
            program._calculator.encode(random.normal(size=(1, 2, 3)), arithmetic.gradient),
            arithmetic.gradient,
            5e-3,
        )
        gradient = program.batch_gradient(block).T
        (chip,) = program.update([chip], [block])
        values, moments = optimizer.step([rule], values, [gradient], moments, arithmetic.weight, FLOAT32)
        assert np.array_equal(values[0], program._calculator.convert(chip.values, chip.number, FLOAT64).T)


@pytest.mark.parametrize("rule", [SGD(0.1, weight_decay=1e-2), Adam(1e-2, weight_decay=1e-3)])
def test_a_rule_in_another_unit_takes_the_same_steps(rule):
    random = np.random.default_rng(1)
    values, gradients = (random.normal(size=(4, 3)),), (random.normal(size=(4, 3)),)
    steps = [
        optimizer.step(
            [optimizer.in_unit(rule, unit)],
            values,
            [gradients[0] * unit],
            optimizer.initial_moments(rule, values),
            FLOAT64,
            FLOAT64,
        )[0][0]
        for unit in (1.0, 1e-3)
    ]
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-13)


# -- silent neurons

WEIGHTS = Parameters((np.ones((2, 4)), np.ones((2, 2))))


def activity(hidden, out):
    return Activity(np.zeros(len(hidden), np.int64), (np.array(hidden), np.array(out)))


def test_a_bump_raises_the_foremost_layer_and_doubles():
    hidden_silent = activity([[1, 0], [0, 0]], [[0, 1], [0, 1]])
    raised, bump = silence.bumped(WEIGHTS, hidden_silent, silence.Bump())
    assert bump == silence.Bump(0, silence.FIRST_BUMP)
    assert (raised.weights[0] == 1 + silence.FIRST_BUMP).all()  # both neurons were silent in some sample
    assert raised.weights[1] is WEIGHTS.weights[1]
    assert silence.bumped(WEIGHTS, hidden_silent, bump)[1].amount == 2 * silence.FIRST_BUMP
    out_silent = activity([[1, 1], [1, 0]], [[0, 1], [0, 1]])  # a quarter of the hidden spikes may be missing
    raised, bump = silence.bumped(WEIGHTS, out_silent, bump)
    assert bump == silence.Bump(1, silence.FIRST_BUMP)
    assert raised.weights[1].tolist() == [[1 + silence.FIRST_BUMP] * 2, [1.0, 1.0]]
    awake = activity([[1, 1], [1, 2]], [[1, 1], [3, 1]])
    assert silence.bumped(WEIGHTS, awake, bump) == (WEIGHTS, silence.Bump())


def test_lifting_ends_when_every_neuron_has_spiked():
    recipe = replace(SMALL, n_train=32)
    engine = ExactEngine(recipe, threads=1)
    samples = trainer.load_data(recipe, engine).train
    start = initial_parameters(recipe, 1)
    start = start.like(tuple(0.2 * w for w in start.arrays))
    lifted = silence.lifted(start, lambda p: engine.run(p, samples))
    rises = [after - before for after, before in zip(lifted.weights, start.weights, strict=True)]
    assert all((counts.sum(axis=0) > 0).all() for counts in engine.run(lifted, samples).counts)
    steps = rises[0] * np.sqrt(5)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-12)
    assert rises[0].max() > 0


def test_lifting_gives_up_on_what_cannot_spike(monkeypatch):
    monkeypatch.setattr(silence, "MAX_LIFTS", 3)
    with pytest.raises(RuntimeError, match="after 3 lifts, 4 neurons are still silent"):
        silence.lifted(WEIGHTS, lambda parameters: activity([[0, 0]], [[0, 0]]))


# -- checkpoints


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    whole = states(DELAYED)
    engine, path = ExactEngine(DELAYED, threads=1), tmp_path / "checkpoint.npz"
    checkpoint.save(path, whole[0], DELAYED, engine, 1)
    loaded = checkpoint.load(path, DELAYED, engine, 1)
    assert same(loaded, whole[0])
    assert same(states(DELAYED, start=loaded)[-1], whole[-1])


@pytest.fixture
def saved(tmp_path):
    engine, path = ExactEngine(SMALL), tmp_path / "checkpoint.npz"
    checkpoint.save(path, trainer.initial_state(SMALL, engine, 1), SMALL, engine, 1)
    return path


def rewritten(path, **changes):
    """The checkpoint with some arrays replaced, or taken out if they are None."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameter_0": None}, "it has no 'parameter_0'"),
        ({"parameter_0": np.zeros((3, 3))}, "must be float64 of shape (30, 5)"),
        ({"parameter_0": np.full((30, 5), np.nan)}, "must be finite"),
        ({"parameter_0": np.zeros((30, 5), np.float32)}, "must be float64"),
        ({"parameter_0": np.zeros((3000, 500))}, "was not expected"),
        ({"parameter_0": np.array([{}], dtype=object)}, "was not expected"),
        ({"counters": np.array([1, 7])}, "a number of steps and a layer"),
        ({"counters": np.array([-1, 0])}, "a number of steps and a layer"),
        ({"history": np.zeros((9, 7))}, "was not expected"),
        ({"history": np.zeros((2, 3))}, "must be float64 of shape (2, 7)"),
        ({"identity": np.array("{}")}, "is of another training"),
        ({"identity": np.array("}")}, "does not say what training"),
        ({"identity": np.array(3)}, "must be text"),
        ({"stowaway": np.zeros(3)}, "holds 'stowaway'"),
    ],
)
def test_a_hostile_checkpoint_is_refused(saved, changes, said):
    rewritten(saved, **changes)
    with pytest.raises(checkpoint.CheckpointError) as error:
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)
    assert said in str(error.value)


def test_a_pickle_in_a_checkpoint_is_never_loaded(saved):
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"
    members["bump_amount.npy"] = (
        header + len(text).to_bytes(2, "little") + text + b"cos\nsystem\n(S'false'\ntR."
    )
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(checkpoint.CheckpointError, match="was not expected"):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", bytes(1000)])
def test_what_is_no_archive_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="is no checkpoint"):
        checkpoint.load(path, SMALL, ExactEngine(SMALL), 1)


@given(st.data())
def test_a_damaged_checkpoint_is_refused_or_the_one_that_was_written(tmp_path_factory, data):
    engine, path = ExactEngine(SMALL), tmp_path_factory.mktemp("damaged") / "checkpoint.npz"
    state = trainer.initial_state(SMALL, engine, 1)
    checkpoint.save(path, state, SMALL, engine, 1)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = checkpoint.load(path, SMALL, engine, 1)
    except checkpoint.CheckpointError:
        return
    assert same(loaded, state)


def test_a_checkpoint_of_another_training_names_the_difference(saved):
    other = replace(SMALL, rule=Adam(1e-3))
    with pytest.raises(checkpoint.CheckpointError, match=r"its recipe.rule.learning_rate is 0.02, not 0.001"):
        checkpoint.load(saved, other, ExactEngine(other), 1)
    with pytest.raises(checkpoint.CheckpointError, match="its seed is 1, not 2"):
        checkpoint.load(saved, SMALL, ExactEngine(SMALL), 2)


# -- command line

QUICK = ["train", "yinyang", "--epochs", 2, "--train-samples", 64, "--test-samples", 32, "--threads", 1]


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_a_training_leaves_a_report_and_a_checkpoint(tmp_path):
    result = invoke(*QUICK, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "after 2 epochs" in result.stderr
    document = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert document["complete"] is True
    assert len(document["history"]) == 2
    assert document["recipe"]["rule"]["kind"] == "Adam"
    assert "Decisions" in (tmp_path / "training.html").read_text(encoding="utf-8")
    again = invoke(*QUICK, "--out", tmp_path)
    assert again.exit_code == 2
    assert "--resume" in again.stderr


def test_an_interrupt_keeps_the_last_whole_epoch(tmp_path, monkeypatch):
    real, calls = ExactEngine.gradient, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(ExactEngine, "gradient", interrupted)
    result = invoke(*QUICK, "--out", tmp_path / "stopped")
    assert result.exit_code == 130
    assert "1 of 2 epochs" in result.stderr
    assert json.loads((tmp_path / "stopped" / "training.json").read_text())["complete"] is False
    monkeypatch.undo()
    assert invoke(*QUICK, "--resume", "--out", tmp_path / "stopped").exit_code == 0
    assert invoke(*QUICK, "--out", tmp_path / "whole").exit_code == 0
    with (
        np.load(tmp_path / "stopped" / campaign.CHECKPOINT) as one,
        np.load(tmp_path / "whole" / campaign.CHECKPOINT) as other,
    ):
        for name in one.files:
            columns = slice(None, -1) if name == "history" else slice(None)
            assert np.array_equal(
                one[name][..., columns] if one[name].ndim else one[name],
                other[name][..., columns] if other[name].ndim else other[name],
            )


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--engine", "quantum", "--engine"),
        ("--recipe", "cake", "recipe"),
        ("--epochs", "0", "--epochs"),
        ("--batch", "65", "batch_size"),
        ("--learning-rate", "nan", "learning_rate"),
        ("--learning-rate", "-1", "learning_rate"),
        ("--seed", "-1", "--seed"),
        ("--weights", "nowhere.npz", "--weights"),
    ],
)
def test_a_bad_option_is_named(option, value, named, tmp_path):
    result = invoke(*QUICK, option, value, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert not (tmp_path / "out").exists()


def test_there_is_nothing_to_resume(tmp_path):
    result = invoke(*QUICK, "--resume", "--out", tmp_path)
    assert result.exit_code == 2
    assert "--resume" in result.stderr


# -- the chip, and from the exact engine to it

CODED = replace(
    BENA,
    setup=replace(BENA.setup, name="5-20-3", sizes=(5, 20, 3), moments=((2.0, 1.0), (2.0, 1.0))),
    epochs=2,
    n_train=44,
    n_test=32,
)


@pytest.mark.parametrize("arithmetic", ["float32", "s16.15"])
def test_the_chip_engine_takes_the_steps_of_the_chip(arithmetic):
    """Weights after two epochs, against the chip's own step and optimizer program, bit for bit."""
    engine = ChipEngine(CODED, arithmetic, threads=1)
    data = trainer.load_data(CODED, engine)
    start = trainer.initial_state(CODED, engine, 5)
    *_, end = trainer.train(CODED, engine, 5, start, data)
    core = SpiNNaker2Core(1e-3, arithmetic, decay="exponential", traces=False)
    rule = optimizer.in_unit(CODED.rule, 1e-3)
    chip = Chip(network_of(CODED, start.parameters), core, t_end=27e-3, rule=rule)
    state = chip.initial
    points = datasets.yin_yang(CODED.n_train, CODED.train_seed)
    trains = datasets.encode_steps(points.points)
    for epoch in range(CODED.epochs):
        order = np.random.default_rng([5, 2, epoch]).permutation(CODED.n_train)
        for batch in range(CODED.n_batches):
            chosen = order[batch * CODED.batch_size : (batch + 1) * CODED.batch_size]
            loss = es.losses.TTFSCrossEntropy(
                "out", points.labels[chosen], tau0=1.5e-3, tau1=0.1, alpha=0.01, silent="t_end"
            )
            rate = rule.learning_rate * 0.95 ** (epoch + batch / CODED.n_batches)
            state, _ = chip.step(state, {"in": trains.select(chosen)}, loss, learning_rate=rate)
    for key, weight in zip(KEYS, end.parameters.weights, strict=True):
        assert np.array_equal(weight, chip.weights(state)[key])
    test = datasets.encode_steps(datasets.yin_yang(CODED.n_test, CODED.test_seed).points)
    found = engine.run(end.parameters, data.test)
    assert np.array_equal(found.predictions, chip.predict(state, {"in": test}, "out"))
    record = core.run(
        network_of(CODED, end.parameters), {"in": test}, 27e-3, replace(loss, labels=[0] * CODED.n_test)
    )
    for counts, name in zip(found.counts, ("hidden", "out"), strict=True):
        assert np.array_equal(counts, record.spikes[name].counts())


def test_what_the_exact_engine_learned_is_handed_on_with_its_charge(tmp_path):
    exact = replace(CODED, name="exact", transport=0.5e-3)
    first = campaign.Job("exact", exact, 7, tmp_path / "exact")
    campaign.run(first)
    second = campaign.Job("float32", CODED, 7, tmp_path / "chip", weights=first.checkpoint)
    learned = campaign.start(first, first.build()).parameters.weights
    handed = campaign.beginning(second, second.build()).parameters.weights
    for before, after in zip(learned, handed, strict=True):  # 5 ms of current at once, against steps of 1 ms
        expected = optimizer.rounded(before * 5 * (1 - np.exp(-1 / 5)), FLOAT32)
        np.testing.assert_allclose(after, expected, rtol=2**-23)
    with pytest.raises(checkpoint.CheckpointError, match="must be float64 of shape"):
        campaign.beginning(replace(second, recipe=SMALL), replace(second, recipe=SMALL).build())


def test_the_chip_trains_no_delays():
    with pytest.raises(ValueError, match="every layer delays by one time step"):
        ChipEngine(DELAYED, "float32")


def test_the_ceiling_of_the_code_is_the_published_one():
    """Measured by others as 96.97 % with 27 steps; a grid of a fifth of a million points errs by less than 0.05 %."""
    assert ceiling("code") == pytest.approx(0.9697, abs=5e-4)
    assert ceiling("continuous") is None


# -- search and table


def test_a_search_tries_what_its_seed_says_on_the_validation_set(tmp_path):
    def tried(folder, seed):
        base = campaign.Job("exact", replace(SMALL, epochs=1, n_train=64, n_test=32), seed, tmp_path / folder)
        with ThreadPoolExecutor(1) as pool:
            return search.search(base, 3, executor=pool, parallel=1)

    first, again, other = tried("first", 1), tried("again", 1), tried("other", 2)
    rules = [[t.job.recipe.rule for t in trials] for trials in (first, again, other)]
    assert rules[0] == rules[1] != rules[2]
    assert [t.accuracy for t in first] == [t.accuracy for t in again]
    assert {t.job.recipe.test_seed for t in first} == {search.VALIDATION_SEED}
    assert all(t.job.checkpoint.exists() for t in first)


def test_a_search_in_several_processes_leaves_its_trials(tmp_path):
    result = invoke(
        *(
            "train",
            "search",
            "--trials",
            3,
            "--jobs",
            2,
            "--epochs",
            1,
            "--train-samples",
            64,
            "--test-samples",
            32,
        ),
        *("--out", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "search.json").read_text())
    assert len(found) == 3
    assert [t["accuracy"] for t in found] == sorted((t["accuracy"] for t in found), reverse=True)
    assert "validation" not in result.stdout
    again = invoke("train", "search", "--out", tmp_path / "out")
    assert again.exit_code == 2
    assert "--out" in again.stderr


def test_the_table_has_a_line_per_row_and_a_row_that_follows_starts_where_the_other_ended(
    tmp_path, monkeypatch
):
    exact = replace(CODED, name="quick-exact", epochs=1)
    monkeypatch.setattr(
        table, "RECIPES", {"quick": replace(CODED, name="quick", epochs=1), "quick-exact": exact}
    )
    rows = (table.Row("pre", "exact", "quick-exact"), table.Row("post", "float32", "quick", follows="pre"))
    results = [table.run_row(row, tmp_path / "runs") for row in rows]
    documents = [table.document(row, found) for row, found in zip(rows, results, strict=True)]
    for run, result in zip(documents[1]["runs"], results[1], strict=True):
        assert run["before"] == result.before
        assert f"--weights pre-{run['seed']}/checkpoint.npz" in run["command"]
    _, page = table.write(documents, tmp_path / "docs")
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| p")]
    assert len(lines) == 2
    mean = np.mean([100 * run["test_accuracy"][-1] for run in documents[1]["runs"]])
    assert f"{mean:.2f} ±" in lines[1]
