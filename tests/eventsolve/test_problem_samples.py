"""Are some samples of a problem what they were among all of them?"""

import numpy as np
import pytest

import eventsolve as es
from eventsolve.io.records import GivenErrors
from eventsolve.problem import network_of


def problem(loss):
    net = network_of(
        {"in": 2, "out": (2, es.LIF(20e-3, 5e-3))}, {("in", "out"): {"weight": [[9.0, 4.0], [5.0, 8.0]]}}
    )
    times = np.array([[0.0, 2e-3], [1e-3, 1e-3], [3e-3, 0.0], [2e-3, 4e-3]])
    return es.Problem(net, {"in": es.SpikeTrains.from_dense(times)}, 40e-3, loss)


TTFS = es.losses.TTFSCrossEntropy("out", [0, 1, 1, 0], tau0=2e-3, tau1=1e-2, alpha=0.1)
TARGETS = es.losses.TargetTimeMSE("out", 1e-3 * np.arange(8.0).reshape(4, 2))
SOLVED = problem(None).solution.spikes["out"]
ERRORS = GivenErrors({"out": SOLVED}, {"out": np.arange(1.0, SOLVED.n_spikes + 1)})


@pytest.mark.parametrize("loss", [TTFS, TARGETS, ERRORS], ids=["labels", "targets", "errors"])
@pytest.mark.parametrize("samples", [[2], [3, 0], [1, 1], range(4)])
def test_losses_and_gradients_are_those_of_the_whole(loss, samples):
    whole = problem(loss)
    some = whole.select(samples)
    assert some.n_samples == len(samples)
    assert some.network is whole.network
    value, grads = es.value_and_grad(whole.solution, whole.loss, reduction="none")
    part, of_part = es.value_and_grad(some.solution, some.loss, reduction="none")
    np.testing.assert_array_equal(part, value[list(samples)])
    np.testing.assert_array_equal(of_part.weight["in", "out"], grads.weight["in", "out"][list(samples)])


def test_without_a_loss_there_are_inputs_alone():
    assert problem(None).select([1, 2]).loss is None


def test_a_loss_that_is_a_function_is_not_cut():
    loss = es.losses.SpikeTimeLoss(lambda spikes: (np.zeros(4), {}))
    with pytest.raises(ValueError, match="the samples of a SpikeTimeLoss cannot be told apart"):
        problem(loss).select([0])
