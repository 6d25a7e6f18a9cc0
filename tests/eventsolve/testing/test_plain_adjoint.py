"""Does the adjoint that errors are planted in give the exact gradient while nothing is wrong with it?"""

import networks
import numpy as np
import pytest
from loops import Loop, solved

import eventsolve as es
from eventsolve.testing import plain_adjoint

EPS = np.finfo(float).eps


def assert_same(solution, loss):
    """Either takes a few roundings per event, of numbers as large as the largest of their kind, amplified by 1/V'."""
    _, exact = es.value_and_grad(solution, loss, reduction="none")
    plain = plain_adjoint.gradients(solution, loss.evaluate(solution))
    events = 1000 * (1 + sum(trains.n_spikes for trains in solution.spikes.values()))
    steepest = max(float(np.abs(v).max(initial=0.0)) for v in plain["spike_times"].values())
    for quantity in ("weight", "delay", "spike_times"):
        for place, got in plain[quantity].items():
            want = getattr(exact, quantity)[place]
            scale = np.abs(want).max(initial=0.0) + steepest * 1e-3
            np.testing.assert_allclose(got.reshape(want.shape), want, rtol=0, atol=events * EPS * scale)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "loss",
    [
        es.losses.TTFSCrossEntropy("out", [0, 1], tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3, silent="skip"),
        es.losses.MeanVoltageCrossEntropy("out", [0, 1]),
    ],
    ids=["times", "voltages"],
)
def test_without_an_error_it_is_the_gradient_of_feed_forward_networks(seed, loss):
    assert_same(networks.random_case(seed).solve(), loss)


@pytest.mark.parametrize("seed", [0, 1])
def test_without_an_error_it_is_the_gradient_of_recurrent_networks(seed):
    loop = Loop(seed)
    loop.weight = {key: w for key, w in loop.weight.items() if len(key) == 2}
    solution = solved(loop)
    if solution is None:
        pytest.fail("this seed was chosen because its network can be solved")
    labels = np.zeros(solution.n_samples, dtype=int)
    assert_same(
        solution, es.losses.TTFSCrossEntropy("b", labels, tau0=1e-3, tau1=1e-2, alpha=0.0, silent="skip")
    )


def test_a_zero_delay_self_connection_is_felt_after_the_spike():
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("a", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "a", [[9.0]])
    net.connect("a", "a", [[-1.0]])
    solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0, 4e-3]]])}, 50e-3)
    assert solution.spikes["a"].n_spikes > 1
    assert_same(solution, es.losses.TargetTimeMSE("a", [[0.0]]))


def test_what_is_not_written_out_gives_nothing():
    delta = Loop(0).solve()
    labels = np.zeros(delta.n_samples, dtype=int)
    loss = es.losses.TTFSCrossEntropy("b", labels, tau0=1e-3, tau1=1e-2, alpha=0.0, silent="skip")
    assert plain_adjoint.gradients(delta, loss.evaluate(delta)) is None
