"""Does training do what its recipe says, and the same each time?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import DELAYED, SMALL, same, states

from validation.spinnaker2 import FLOAT32, FLOAT64, SGD, Adam, Arithmetic, OptimizerProgram
from validation.spinnaker2.image import GradientBlock, WeightBlock
from validation.tasks.yin_yang import optimizer, silence, trainer
from validation.tasks.yin_yang.engines import Activity
from validation.tasks.yin_yang.exact_engine import ExactEngine
from validation.tasks.yin_yang.recipe import Cosine, Exponential, Parameters, initial_parameters

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
        DELAYED, silent_neuron_rule="none", n_train=8, batch_size=8, epochs=1, rule=SGD(1.0), delay_rate=1e-9
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


def test_raising_concerns_hidden_neurons_that_no_sample_of_the_batch_makes_spike():
    raised = silence.raised(WEIGHTS, activity([[0, 0], [1, 0]], [[1, 0], [0, 1]]), np.array([0, 1]), 0.5)
    assert raised.weights[0].tolist() == [[1.0] * 4, [1 + 0.5 * silence.RAISE] * 4]
    assert raised.weights[1].tolist() == WEIGHTS.weights[1].tolist()


def test_raising_concerns_outputs_by_the_share_of_samples_of_their_class_that_do_not_make_them_spike():
    silent_on = activity([[1, 1]] * 4, [[1, 0], [1, 0], [0, 1], [0, 0]])
    raised = silence.raised(WEIGHTS, silent_on, np.array([0, 1, 1, 0]), 0.5)  # misses: 1 in sample 1, 0 in 3
    assert raised.weights[0].tolist() == WEIGHTS.weights[0].tolist()
    assert raised.weights[1].tolist() == [[1 + 0.5 * silence.RAISE_OUTPUT * 0.25] * 2] * 2


def test_resolving_ends_when_every_neuron_has_spiked():
    recipe = replace(SMALL, n_train=32)
    engine = ExactEngine(recipe, threads=1)
    samples = trainer.load_data(recipe, engine).train
    start = initial_parameters(recipe, 1)
    start = start.like(tuple(0.2 * w for w in start.arrays))
    resolved = silence.resolved(start, lambda p: engine.run(p, samples))
    rises = [after - before for after, before in zip(resolved.weights, start.weights, strict=True)]
    assert all((counts.sum(axis=0) > 0).all() for counts in engine.run(resolved, samples).counts)
    steps = rises[0] * np.sqrt(5)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-12)
    assert rises[0].max() > 0


def test_resolving_gives_up_on_what_cannot_spike(monkeypatch):
    monkeypatch.setattr(silence, "MAX_INCREASES", 3)
    with pytest.raises(RuntimeError, match="after 3 increases of their weights, 4 neurons are still silent"):
        silence.resolved(WEIGHTS, lambda parameters: activity([[0, 0]], [[0, 0]]))


# -- validation


def test_the_weights_of_a_validated_training_are_those_of_its_best_epoch():
    recipe = replace(SMALL, rule=Adam(0.1), epochs=6, n_validation=48)
    history = states(recipe)
    engine = ExactEngine(recipe, threads=1)
    data = trainer.load_data(recipe, engine)
    found = [
        trainer.accuracy(engine.run(s.parameters, data.validation), data.validation_labels) for s in history
    ]
    best = int(np.argmax(found))
    assert 0 < best < 5 or found[0] != found[-1]
    assert history[-1].best.arrays == history[best].parameters.arrays
    assert history[-1].chosen == history[best].history[-1]
    unvalidated = states(replace(recipe, n_validation=0))[-1]
    assert unvalidated.best is unvalidated.parameters
    assert unvalidated.chosen is unvalidated.history[-1]
