"""eventax: an ODE solver with event detection, as it comes (Euler steps), or with the most accurate of its parts.

Its default tolerances are absolute and only make sense in milliseconds, which it therefore gets.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from eventax.evnn import FFEvNN
from eventax.neuron_models import LIF
from exchange import Solver, Spikes, Work, answer

MS = 1e3


def build(work: Work, accurate: bool) -> Solver:
    jax.config.update("jax_enable_x64", accurate)
    (n_hidden, n_in), n_out = work.w1.shape, work.w2.shape[0]
    n, dtype = n_hidden + n_out, jnp.float64 if accurate else jnp.float32
    weights = np.zeros((n + n_in, n))
    weights[:n_hidden, n_hidden:] = work.w2.T
    weights[n:, :n_hidden] = work.w1.T
    precise = {}
    if accurate:
        finder = optimistix.Bisection(1e-13, 1e-13)
        precise = {"solver": diffrax.Dopri8(), "solver_stepsize": 1.0, "root_finder": finder}
    model = FFEvNN(
        layers=[n_hidden, n_out],
        in_size=n_in,
        neuron_model=LIF,
        max_solver_time=work.t_end * MS,
        max_event_steps=3 * int(work.most_spikes.sum()) + n_in,
        key=jax.random.PRNGKey(0),
        dtype=dtype,
        init_weights=jnp.asarray(weights, dtype),
        thresh=1.0,
        tsyn=work.tau_syn * MS,
        tmem=work.tau_mem * MS,
        init_bias=jnp.zeros(n, dtype),
        **precise,
    )
    times, labels = jnp.asarray(work.times * MS, dtype)[:, :, None], jnp.asarray(work.labels)

    @eqx.filter_jit
    def run(model):
        return jax.vmap(model.record)(times)[:2]

    def losses(model):
        first = jax.vmap(model.ttfs)(times) / MS
        label = jnp.take_along_axis(first, labels[:, None], axis=1)[:, 0]
        values = label / work.tau0 + jax.nn.logsumexp(-first / work.tau0, axis=1)
        return values + work.alpha * (jnp.exp(label / work.tau1) - 1)

    slope = eqx.filter_jit(eqx.filter_grad(lambda model: jnp.mean(losses(model))))

    def gradient():
        found = np.asarray(jax.block_until_ready(slope(model)).neuron_model.weights)
        return found[n:, :n_hidden].T, found[:n_hidden, n_hidden:].T

    def each():
        found = np.asarray(eqx.filter_jit(eqx.filter_jacrev(losses))(model).neuron_model.weights)
        return found[:, n:, :n_hidden].transpose(0, 2, 1), found[:, :n_hidden, n_hidden:].transpose(0, 2, 1)

    def spikes(recorded):
        times, neurons = np.asarray(recorded[0]) / MS, np.asarray(recorded[1])
        fired = np.isfinite(times) & (neurons < n)

        def layer(low, high):
            samples, places = np.nonzero(fired & (neurons >= low) & (neurons < high))
            return Spikes(samples, neurons[samples, places].astype(int) - low, times[samples, places])

        return layer(0, n_hidden), layer(n_hidden, n)

    return Solver(lambda _: jax.block_until_ready(run(model)), spikes, gradient, each=each)


if __name__ == "__main__":
    answer(build, "eventax", "diffrax", "jax")
