"""Trials of a noisy implementation: is a mean within its standard error accepted, and a bias told with its z?"""

import re
from dataclasses import replace

import numpy as np
import pytest

import eventsolve as es
from eventsolve.testing import network_of
from validation.diagnosis import diagnose
from validation.diagnosis.trials import Deviations, bias
from validation.oracle import oracle

N_TRIALS = 16


@pytest.fixture(scope="module")
def exact():
    """Return the exact solution of two samples, each of which was run so many times."""
    net = network_of(
        {"in": 2, "out": (2, es.LIF(20e-3, 5e-3))}, {("in", "out"): {"weight": [[9.0, 4.0], [5.0, 8.0]]}}
    )
    inputs = es.SpikeTrains.from_lists([[[0.0], [2e-3]], [[1e-3], [0.5e-3]]] * N_TRIALS)
    loss = es.losses.TTFSCrossEntropy("out", [0, 1] * N_TRIALS, tau0=2e-3, tau1=15e-3, alpha=3e-3)
    return es.Problem(net, {"in": inputs}, 50e-3, loss)


def scattered(problem, rng, *, late=0.0, factor=1.0):
    """Return a record of spikes that scatter by 20 us, and gradients by 5 %, with a bias."""
    right = oracle(problem)
    trains = right.spikes["out"]
    times = trains.times + rng.normal(late, 20e-6, trains.n_spikes)
    order = np.lexsort((times, trains.samples))
    moved = replace(trains, times=times[order], neurons=trains.neurons[order], samples=trains.samples[order])
    weight = {
        key: factor * g * (1 + 0.05 * rng.standard_normal((len(g), 1, 1))) for key, g in right.weight.items()
    }
    return replace(
        right,
        spikes={**right.spikes, "out": moved},
        loss_values=None,
        gradients={"weight": weight},
        trials=N_TRIALS,
    )


def test_a_mean_within_its_standard_error_agrees(exact):
    found = diagnose(exact, scattered(exact, np.random.default_rng(0)))
    assert found.verdict == "agrees", found
    assert "the mean of 16 trials is within its standard error" in found.name


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"late": 50e-6}, r"first spikes of out: late by [45]\d"),
        ({"factor": 0.8}, r"dL/dw of in → out: -(19|2\d)"),
    ],
)
def test_a_bias_beyond_it_is_told_with_its_z(exact, changed, words):
    found = diagnose(exact, scattered(exact, np.random.default_rng(0), **changed))
    assert (found.verdict, found.accepted) == ("unexplained", False)
    assert "further from the exact solution than their spread explains" in found.name
    assert re.search(words + ".*z = ", found.name), found.name


def test_chance_is_as_likely_as_it_says():
    """Of 400 means of noise whose numbers go together, 5 % are below 0.05: 20, and 6 to 36 with odds of 1000 to 1."""
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((3, 10))
    below = 0
    for k in range(400):
        noise = Deviations("", rng.standard_normal((12, 3)) @ mixing, np.zeros(10), "{}")
        below += bias(noise, np.random.default_rng(k)).chance < 0.05
    assert 6 <= below <= 36
