import numpy as np
import pytest

import eventsolve as es
from validation import registry

SMALL = {
    "delgrad": {},
    "digits": {"hidden": 20},
    "keywords": {"hidden": 12},
    "random": {"size": 2},
    "yinyang": {},
}


def test_every_task_has_a_small_version_here():
    assert set(SMALL) == set(registry.names(registry.TASKS))


@pytest.mark.parametrize("name", SMALL)
def test_a_task_gives_a_batch_with_gradients_which_its_seed_draws(name):
    task = registry.task(name, **SMALL[name])
    first, again, other = (task.problem(n_samples=3, seed=seed) for seed in (1, 1, 2))
    assert first.n_samples == 3
    value, grads = es.value_and_grad(first.solution, first.loss)
    assert np.isfinite(value)
    largest = max(np.abs(grads.weight[key]).max() for key in first.network.projections)
    assert 0 < largest < np.inf
    for key, projection in first.network.projections.items():
        assert np.array_equal(projection.weights, again.network.projections[key].weights)
    assert any(
        key not in other.network.projections
        or not np.array_equal(projection.weights, other.network.projections[key].weights)
        for key, projection in first.network.projections.items()
    )


@pytest.mark.parametrize("name", ["digits", "keywords"])
def test_a_task_says_how_many_samples_it_has(name):
    with pytest.raises(ValueError, match=r"n(_samples)? must be at most"):
        registry.task(name).problem(n_samples=10**6)


def test_many_samples_of_a_random_network_differ_and_have_a_loss():
    problem = registry.task("random", size=2, layers=1).problem(n_samples=24, seed=1)
    trains = problem.inputs["in"]
    assert len({tuple(trains[k].times) for k in range(24)}) == 24
    values, _ = es.value_and_grad(problem.solution, problem.loss, reduction="none")
    assert np.isfinite(values).all()
