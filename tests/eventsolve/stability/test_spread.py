"""spread: the standard deviations that a mismatch makes, beside those of sampled chips and of jvp."""

import numpy as np
import pytest
from networks import random_case

import eventsolve as es


def test_many_chips_vary_as_much_as_is_expected():
    """A sample's standard deviation is off by 1/sqrt(2 n) of itself; the square of the mismatch is nothing."""
    case = random_case(21, n_samples=1, refractory=False)
    solution = case.solve()
    rng = np.random.default_rng(0)
    sizes = {
        "tau_mem": {n: 1e-4 * solution.network.population(n).parameter("tau_mem") for n in ("hidden", "out")},
        "v_threshold": {"hidden": 2e-4},
        "weight": {("in", "hidden"): 1e-4 * np.abs(solution.network.projections["in", "hidden"].weight)},
        "delay": {("hidden", "out"): 1e-7},
    }
    loss = es.losses.TargetTimeMSE("out", [[10e-3, 12e-3]], silent="skip")
    expected = es.spread(solution, sizes, loss, reduction="sum")
    n_chips, times, losses = 400, {name: [] for name in solution.spikes}, []
    for _ in range(n_chips):
        net = case.net
        neurons = {}
        for name in ("hidden", "out"):
            population = net.population(name)
            values = {
                p: population.parameter(p) for p in ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak")
            }
            for p in ("tau_mem", "v_threshold"):
                sd = sizes[p].get(name, 0.0)
                values[p] = values[p] + sd * rng.normal(size=population.size)
            neurons[name] = es.LIF(**values)
        weight = net.projections["in", "hidden"].weight
        delay = net.projections["hidden", "out"].delay.reshape(2, 4)
        net = net.with_neurons(neurons)
        net = net.with_weights({("in", "hidden"): weight * (1 + 1e-4 * rng.normal(size=weight.shape))})
        net = net.with_delays({("hidden", "out"): delay + 1e-7 * rng.normal(size=delay.shape)})
        chip = case.solve(net=net)
        for name, trains in chip.spikes.items():
            assert np.array_equal(trains.counts(), solution.spikes[name].counts())
            order = np.lexsort((trains.times, trains.neurons))
            times[name].append(trains.times[order])
        losses.append(es.value_and_grad(chip, loss, wrt=("weight",), reduction="sum")[0])
    for name in ("hidden", "out"):
        trains = solution.spikes[name]
        want = expected.spike_times[name][np.lexsort((trains.times, trains.neurons))]
        assert want.size > 0
        assert (want > 0).all()
        np.testing.assert_allclose(np.std(times[name], axis=0), want, rtol=4.5 / np.sqrt(2 * n_chips))
    np.testing.assert_allclose(np.std(losses), expected.loss, rtol=4.5 / np.sqrt(2 * n_chips))
    assert (expected.spike_times["in"] == 0).all()
    assert "median" in repr(expected)


def test_what_moves_together_is_one_cause():
    """Of one cause the standard deviation is how far jvp moves a spike; of several the root of the sum of squares."""
    solution = random_case(1).solve()
    warm = {"tau_mem": {"hidden": 1e-4, "out": 1e-4}, "v_leak": {"hidden": 1e-3}}
    slow = {"delay": {("in", "hidden"): 1e-5}}
    one, two = es.jvp(solution, warm), es.jvp(solution, slow)
    both = es.spread(solution, [warm, slow])
    for name in ("hidden", "out"):
        np.testing.assert_allclose(both.spike_times[name], np.hypot(one[name], two[name]), rtol=1e-14)
        np.testing.assert_array_equal(es.spread(solution, [warm]).spike_times[name], np.abs(one[name]))
    assert both.loss is None
    alone = es.spread(solution, {"v_leak": {"hidden": [1e-3, 0.0, 0.0, 0.0]}})
    first = es.jvp(solution, {"v_leak": {"hidden": [1e-3, 0.0, 0.0, 0.0]}})
    np.testing.assert_array_equal(alone.spike_times["out"], np.abs(first["out"]))


def test_what_it_cannot_take_is_named():
    solution = random_case(1).solve()
    with pytest.raises(
        TypeError, match="of must be a mapping of standard deviations, or a sequence of directions"
    ):
        es.spread(solution, "tau_mem")
    with pytest.raises(ValueError, match="direction must name some of"):
        es.spread(solution, {"gain": {"hidden": 1.0}})
    with pytest.raises(TypeError, match="solution must be a Solution"):
        es.spread({}, {"tau_mem": {"hidden": 1.0}})
