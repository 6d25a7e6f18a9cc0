"""The JAX function: what JAX differentiates by it is what eventsolve solves."""

import os

import numpy as np
import pytest
from readouts import VOLTAGE_TIMES, readout_problem

import eventsolve as es

jax = pytest.importorskip("jax", reason="JAX is not installed")
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

from eventsolve.adapters.arrays import QUANTITIES  # noqa: E402
from eventsolve.adapters.jax import exact_function  # noqa: E402


@pytest.fixture(autouse=True)
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def classifier(seed=0, n_samples=4):
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("hidden", 6, es.LIF(20e-3, 5e-3))
    net.add_population("out", 2, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(4.0, 2.0, (6, 3)))
    net.connect("hidden", "out", rng.normal(2.5, 1.0, (2, 6)), delay=1e-3)
    return net, rng.uniform(0, 10e-3, (n_samples, 3))


@pytest.mark.parametrize("seed", [4, 8])
def test_gradients_are_derivatives(seed):
    """By every parameter and every input time, in units in which all are of order 1."""
    net, times, t_end = readout_problem(seed)
    solve, parameters = exact_function(
        net, t_end, n_spikes=20, outputs=("a", "b", "read"), trainable=QUANTITIES, voltage_times=VOLTAGE_TIMES
    )
    start = {
        q: {k: v for k, v in found.items() if q != "t_ref" or v.all()} for q, found in parameters.items()
    }
    kept = [(q, k, 1.0 if q[0] in "wvi" else 1e-3) for q, found in start.items() for k in found]
    shown = {name: np.isfinite(r) for name, r in solve(parameters, {"in": times}).items()}
    assert sum(s.sum() for s in shown.values()) > 12

    def results(moves, shift):
        moved = {q: dict(found) for q, found in parameters.items()}
        for (q, k, scale), move in zip(kept, moves, strict=True):
            moved[q][k] = start[q][k] + scale * move
        found = solve(moved, {"in": times + 1e-3 * shift})
        return [(1.0 if n == "read" else 1e3) * jnp.where(shown[n], found[n], 0.0) for n in shown]

    moves = [jnp.zeros(start[q][k].shape) for q, k, _ in kept]
    # times in ms are known to 1e-11, over steps of 2e-5; truncation is of second order in the step
    check_grads(
        results, (moves, jnp.zeros(times.shape)), order=1, modes=["rev"], eps=1e-5, atol=1e-5, rtol=1e-5
    )


def test_a_compiled_loss_has_the_gradient_of_the_loss_here():
    net, times = classifier()
    labels = np.array([0, 1, 1, 0])
    tau0, tau1, alpha = 0.5e-3, 6.4e-3, 3e-3
    solve, parameters = exact_function(net, 60e-3, n_spikes={"out": 30})

    @jax.jit
    @jax.value_and_grad
    def value_and_grad(parameters):
        first = solve(parameters, {"in": times})["out"][..., 0]
        label = jnp.take_along_axis(first, labels[:, None], axis=1)[:, 0]
        values = label / tau0 + jax.nn.logsumexp(-first / tau0, axis=1) + alpha * jnp.expm1(label / tau1)
        return values.mean()

    value, gradient = value_and_grad(parameters)
    solution = es.solve(net, {"in": es.SpikeTrains.from_dense(times)}, 60e-3)
    loss = es.losses.TTFSCrossEntropy("out", labels, tau0=tau0, tau1=tau1, alpha=alpha)
    want, grads = es.value_and_grad(solution, loss)
    assert float(value) == pytest.approx(want, rel=1e-13, abs=0.0)
    for key in net.projections:
        exact = grads.weight[key]
        np.testing.assert_allclose(
            gradient["weight"]["->".join(key)], exact, rtol=0, atol=1e-12 * np.abs(exact).max()
        )


def test_mapped_over_networks_it_solves_each():
    net, times = classifier()
    solve, parameters = exact_function(net, 60e-3, n_spikes=40)
    factors = np.array([0.9, 1.0, 1.1])
    weights = {k: factors[:, None, None] * w for k, w in parameters["weight"].items()}
    mapped = jax.vmap(lambda w: solve({"weight": w}, {"in": times})["out"])(weights)
    for factor, result in zip(factors, mapped, strict=True):
        scaled = net.with_weights({k: factor * p.weight for k, p in net.projections.items()})
        want = es.solve(scaled, {"in": es.SpikeTrains.from_dense(times)}, 60e-3).spikes["out"].to_dense(40)
        np.testing.assert_array_equal(result, want)


def test_spikes_without_room_are_an_error():
    net, times = classifier()
    solve, parameters = exact_function(net, 60e-3, n_spikes=1)
    with pytest.raises(Exception, match="n_spikes must be at least"):
        jax.block_until_ready(solve(parameters, {"in": times}))


def test_single_precision_is_refused():
    net, times = classifier()
    solve, parameters = exact_function(net, 60e-3, n_spikes=1)
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(ValueError, match="exact spike times need float64"):
        solve(parameters, {"in": times})


def test_what_does_not_fit_is_refused():
    net, times = classifier()
    with pytest.raises(ValueError, match="n_spikes must have an entry for output 'out'"):
        exact_function(net, 60e-3, n_spikes={"hidden": 3})
    solve, parameters = exact_function(net, 60e-3, n_spikes=30)
    with pytest.raises(ValueError, match=r"inputs must be given for \['in'\]; got \['input'\]"):
        solve(parameters, {"input": times})


def test_what_jax_would_wait_for_for_ever_is_refused_on_one_core(monkeypatch):
    net, times = classifier()
    function, parameters = exact_function(net, 60e-3, n_spikes=40)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    many = np.full((3000, *times.shape[1:]), np.inf)
    with pytest.raises(
        ValueError, match=r"wait for ever with arrays of \d+ bytes: .*jax_cpu_enable_async_dispatch"
    ):
        function(parameters, {"in": many})
    function(parameters, {"in": times})
