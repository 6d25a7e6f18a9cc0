"""wrt: only what is asked for is computed, with the bits that it has among all, and the rest does not look like 0."""

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve.patterns import NAMES


def layered(n_samples=3):
    rng = np.random.default_rng(1)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("hidden", 5, es.LIF(20e-3, 5e-3, t_ref=1e-3))
    net.add_population("out", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(6.0, 0.5, (5, 3)), delay=1e-3)
    net.connect("hidden", "out", sp.csr_array(rng.normal(1.0, 0.5, (2, 5))))
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 10e-3, (n_samples, 3)))
    solution = es.solve(net, {"in": trains}, 40e-3)
    return solution, es.losses.MaxVoltageCrossEntropy("out", np.arange(n_samples) % 2)


def cyclic(n_samples=2):
    rng = np.random.default_rng(2)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("loop", 6, es.LIF(20e-3, 5e-3, t_ref=[0.0, 1e-3] * 3, v_leak=0.5))
    net.connect("in", "loop", rng.normal(5.0, 0.5, (6, 3)), delay=1e-3)
    net.connect("loop", "loop", rng.normal(0.0, 0.4, (6, 6)), delay=rng.uniform(0, 3e-3, (6, 6)))
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 10e-3, (n_samples, 3)))
    solution = es.solve(net, {"in": trains}, 40e-3)
    return solution, es.losses.SpikeTimeLoss(lambda spikes: quadratic(spikes))


def together(n_samples=2):
    rng = np.random.default_rng(3)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("loop", 6, es.LIF(20e-3, 5e-3, t_ref=1e-3, v_leak=0.5))
    net.connect("in", "loop", rng.normal(5.0, 0.5, (6, 3)), delay=1e-3)
    net.connect("loop", "loop", rng.normal(0.0, 0.4, (6, 6)), delay=1e-3)
    trains = es.SpikeTrains.from_dense(rng.uniform(0, 10e-3, (n_samples, 3)))
    solution = es.solve(net, {"in": trains}, 40e-3)
    assert solution.layer("loop").efferents.dense.all()
    return solution, es.losses.SpikeTimeLoss(lambda spikes: quadratic(spikes))


def quadratic(spikes):
    trains = spikes["loop"]
    values = np.bincount(trains.samples, weights=50.0 * trains.times**2, minlength=trains.n_samples)
    return values, {"loop": 100.0 * trains.times}


def flat(gradient):
    if isinstance(gradient, tuple):
        return np.stack([matrix.data for matrix in gradient])
    return gradient.data if sp.issparse(gradient) else gradient


@pytest.mark.parametrize("problem", [layered, cyclic, together])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_what_is_asked_for_has_the_bits_that_it_has_among_all(problem, reduction):
    solution, loss = problem()
    value, everything = es.value_and_grad(solution, loss, reduction=reduction)
    assert everything.wrt == NAMES
    for asked in [(name,) for name in NAMES] + [("spike_times", "weight"), ["v_leak", "delay"], {"tau_mem"}]:
        same, some = es.value_and_grad(solution, loss, wrt=asked, reduction=reduction)
        np.testing.assert_array_equal(value, same)
        assert some.wrt == tuple(name for name in NAMES if name in asked)
        for name in NAMES:
            have, want = getattr(some, name), getattr(everything, name)
            if name in asked:
                assert list(have) == list(want)
                for key in want:
                    np.testing.assert_array_equal(flat(have[key]), flat(want[key]))
                assert any(flat(want[key]).any() for key in want)
            else:
                assert len(have) == 0
                assert list(have) == []
                for key in want:
                    assert key not in have
                    with pytest.raises(KeyError, match=f"the gradient for {name} was not asked for: wrt is"):
                        have[key]


def test_vjp_takes_wrt_and_so_does_a_solution_of_first_spikes():
    solution, _ = cyclic()
    cotangent = {"loop": np.ones(solution.spikes["loop"].n_spikes)}
    everything = es.vjp(solution, cotangent)
    some = es.vjp(solution, cotangent, wrt=("weight",))
    for key, want in everything.weight.items():
        np.testing.assert_array_equal(some.weight[key], want)
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("out", 1, es.LIF(20e-3, 5e-3))
    net.connect("in", "out", [[10.0]])
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3, 30e-3]]])}
    stopped = es.solve_first_spikes(net, inputs, 40e-3, "out")
    assert es.vjp(stopped, {"out": [1.0]}, wrt=("weight",)).weight["in", "out"] < 0
    alone = es.vjp(stopped, {"out": [1.0]}, wrt=("spike_times",)).spike_times["in"]
    np.testing.assert_array_equal(alone, es.vjp(stopped, {"out": [1.0]}).spike_times["in"])
    assert alone[0] > 0
    assert alone[1] == 0


def test_names_are_checked_at_the_door():
    solution, loss = layered()
    for call in (
        lambda wrt: es.vjp(solution, {"hidden": np.ones(solution.spikes["hidden"].n_spikes)}, wrt=wrt),
        lambda wrt: es.value_and_grad(solution, loss, wrt=wrt),
    ):
        with pytest.raises(ValueError, match=r"wrt must name some of \('weight', 'delay', .*; got 'weights'"):
            call(("weight", "weights"))
        with pytest.raises(
            TypeError, match=r"wrt must be a collection .* got 'weight': for one name write wrt=\('w"
        ):
            call("weight")
        with pytest.raises(TypeError, match="wrt must be a collection of names"):
            call(3)
        with pytest.raises(ValueError, match="wrt must name at least one of"):
            call(())


def test_what_looks_at_the_flow_of_the_gradient_says_that_it_needs_spike_times():
    _, gradients = es.value_and_grad(*layered(), wrt=("weight",))
    with pytest.raises(ValueError, match=r"one_sided looks at .*: wrt must name 'spike_times', too"):
        _ = gradients.one_sided
    with pytest.raises(ValueError, match=r"flagged looks at .*: wrt must name 'spike_times', too"):
        gradients.flagged(3)
    assert gradients.condition.time_error.keys() == {"hidden"}
    _, more = es.value_and_grad(*layered(), wrt=("weight", "spike_times"))
    assert more.one_sided == ()
    assert more.flagged(3) == ()


def test_gradients_of_a_part_are_copied_and_pickled_as_such():
    _, gradients = es.value_and_grad(*layered(), wrt=("delay",))
    for other in (copy.copy(gradients), copy.deepcopy(gradients), pickle.loads(pickle.dumps(gradients))):
        np.testing.assert_array_equal(other.delay["in", "hidden"], gradients.delay["in", "hidden"])
        assert other.wrt == ("delay",)
        with pytest.raises(KeyError, match="not asked for"):
            _ = other.weight["in", "hidden"]
    assert "not asked for" in repr(gradients.weight)
    assert re.search(r"wrt +delay", repr(gradients))
