"""Does training on GeNN descend GeNN's gradient, beside the exact engine from equal seeds?"""

import json
from dataclasses import replace

import numpy as np
import pytest
from trainings import CODED, DELAYED, SMALL, same

import eventsolve as es
from benchmarks.tables import training
from validation.genn import GeNN
from validation.tasks.yin_yang import trainer
from validation.tasks.yin_yang.chip_engine import ChipEngine
from validation.tasks.yin_yang.choices import build_engine, choose_recipe
from validation.tasks.yin_yang.engines import KEYS, network_of
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.genn_engine import GeNNEngine
from validation.tasks.yin_yang.recipe import MLGENN, initial_parameters

RELATIVE = replace(
    MLGENN,
    setup=replace(MLGENN.setup, name="4-20-3", sizes=(4, 20, 3), moments=((3.5, 1.0), (4.0, 0.7))),
    epochs=2,
    n_train=96,
    n_test=32,
    batch_size=32,
)


FIRST = replace(RELATIVE, setup=replace(RELATIVE.setup, loss="first_spike", tau0=0.5e-3, alpha=3e-6))


@pytest.mark.parametrize("recipe", [SMALL, FIRST, RELATIVE], ids=["ttfs", "first_spike", "relative"])
def test_at_a_fine_step_loss_and_gradient_are_those_of_the_exact_engine(recipe):
    """Every output spikes: at 10 us the gradients are within 2 %, at 1 ms 10 % away or more, so that this can fail."""
    exact, parameters = ExactEngine(recipe, threads=1), initial_parameters(recipe, 3)
    data = trainer.load_data(recipe, exact)
    samples, labels = data.train[:16], data.train_labels[:16]
    wanted = exact.gradient(parameters, samples, labels)
    assert (wanted.activity.counts[1] > 0).all()
    off = []
    for step in (1e-3, 1e-5):
        found = GeNNEngine(recipe, step, threads=1).gradient(parameters, samples, labels)
        pairs = zip(found.gradients, wanted.gradients, strict=True)
        off.append(max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs))
    assert off[0] > 0.1
    assert off[1] < 0.02
    assert found.loss == pytest.approx(wanted.loss, rel=0.02, abs=0.0)


def test_its_gradient_is_the_targets_and_training_goes_on_from_equal_weights():
    engine = GeNNEngine(RELATIVE, 1e-3, threads=1)
    data = trainer.load_data(RELATIVE, engine)
    start = trainer.initial_state(RELATIVE, engine, 5)
    exact = trainer.initial_state(RELATIVE, ExactEngine(RELATIVE, threads=1), 5)
    for mine, theirs in zip(start.parameters.weights, exact.parameters.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs.astype(np.float32))
    problem = es.Problem(
        network_of(RELATIVE, start.parameters),
        {"in": es.SpikeTrains.from_dense(data.train[:8])},
        RELATIVE.setup.t_end,
        es.losses.RelativeMSE("out", data.train_labels[:8], gap=1e-3, silent="t_end"),
    )
    record = GeNN(1e-3, traces=False).run(problem)
    found = engine.gradient(start.parameters, data.train[:8], data.train_labels[:8])
    for key, gradient in zip(KEYS, found.gradients, strict=True):
        np.testing.assert_array_equal(gradient, record.weight[key].mean(axis=0))
    assert found.loss == np.mean(record.loss_values)
    first, again = (list(trainer.train(RELATIVE, engine, 5, start, data)) for _ in range(2))
    assert len(first) == RELATIVE.epochs
    assert same(first[-1], again[-1])
    assert any(
        (a != b).any() for a, b in zip(first[-1].parameters.weights, start.parameters.weights, strict=True)
    )


def test_what_an_engine_cannot_do_is_refused():
    with pytest.raises(ValueError, match="has delays; its losses are of GeNN without them"):
        GeNNEngine(DELAYED, 1e-3)
    with pytest.raises(ValueError, match=r"time_step must be finite and > 0; got -0\.001"):
        GeNNEngine(SMALL, -1e-3)
    with pytest.raises(ValueError, match="has the loss 'relative'; the chip has 'ttfs' alone"):
        ChipEngine(replace(CODED, setup=replace(CODED.setup, loss="relative")), "float32")
    with pytest.raises(
        ValueError, match=r"the time step is a choice of the engine 'genn' alone; got 0\.001 s"
    ):
        build_engine("exact", SMALL, None, 1, 1e-3)
    assert build_engine("genn", SMALL, None, 1).name == "genn 1 ms"
    assert choose_recipe("genn", None, {}) == MLGENN
    assert choose_recipe("genn", None, {}).setup.sizes[0] == 4


def test_a_table_of_some_rows_keeps_the_others(tmp_path):
    names = [row.name for row in training.ROWS]
    kept = [
        {"name": names[2], "recipe": {"remedy": "lift"}, "runs": 1},
        {"name": names[0], "recipe": {}, "runs": 2},
    ]
    (tmp_path / "training.json").write_text(json.dumps({"rows": kept}))
    new = [{"name": names[1], "runs": 3}, {"name": names[0], "runs": 4}]
    found = training.merged(new, tmp_path)
    assert [row["name"] for row in found] == names[:3]
    assert [row["runs"] for row in found] == [4, 3, 1]
    assert found[2]["recipe"] == {"silent_neuron_rule": "resolve"}  # as 0.1.0 wrote it, in the names of now
    assert training.merged(new, tmp_path / "nowhere") == [new[1], new[0]]
    steps = {row.name: row.command(7) for row in training.ROWS if row.time_step}
    assert "--engine genn" in steps["genn-first-0.1ms"]
    assert "--time-step 0.1ms" in steps["genn-first-0.1ms"]
    assert (
        training.jobs(next(r for r in training.ROWS if r.name == "genn-first-0.1ms"), tmp_path)[0].time_step
        == 1e-4
    )
