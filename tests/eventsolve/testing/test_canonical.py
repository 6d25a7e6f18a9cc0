"""Are the canonical problems well posed, away from ties and grazes, and really different?"""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.testing import check_implementation
from eventsolve.testing.canonical import PROBLEMS
from eventsolve.testing.firing import separation


@pytest.mark.parametrize("name", PROBLEMS)
def test_they_have_a_gradient_and_keep_their_distances(name):
    problem = PROBLEMS[name]()
    value, grads = es.value_and_grad(problem.solution, problem.loss)
    assert np.isfinite(value)
    assert all(np.abs(np.asarray(w)).max() > 0 for w in grads.weight.values())
    for population in problem.network.populations.values():
        if population.neuron is not None and population.neuron.spiking:
            slope, voltage, gap = separation(problem.solution, population.name)
            assert slope.min() > 0.05
            assert voltage.min() > 0.01
            assert gap.min() > 2e-6


def test_no_two_print_alike():
    assert len({repr(make()) for make in PROBLEMS.values()}) == len(PROBLEMS)


def test_the_exact_solution_passes_all():
    for make in PROBLEMS.values():
        problem = make()
        spikes = problem.solution.spikes
        check_implementation(lambda _, spikes=spikes: {"spikes": spikes}, problem, spikes_atol=0.0, rtol=0.0)
