"""jaxsnn's event-based EventProp in double precision. Its solver knows tau_mem / tau_syn of 1 and 2 only."""

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from exchange import Solver, Spikes, Work, answer  # noqa: E402
from jaxsnn.event.loss import first_spike  # noqa: E402
from jaxsnn.event.modules import LIF, Linear, Source  # noqa: E402
from jaxsnn.event.modules.lif.lif import LIFParameters  # noqa: E402
from jaxsnn.event.topology import Topology  # noqa: E402
from jaxsnn.event.types import Spike  # noqa: E402


def build(work: Work) -> Solver:
    n_hidden, n_out = work.w1.shape[0], work.w2.shape[0]
    neuron = LIFParameters(tau_syn=work.tau_syn, tau_mem=work.tau_mem, v_th=1.0, v_leak=0.0, v_reset=0.0)
    # a layer's steps: the spikes that come in and those that it fires, at most
    steps = (int(work.most_spikes[0]) + work.times.shape[1] + 1, int(work.most_spikes.sum()) + 1)
    topology = Topology(t_max=work.t_end, backprop_method="eventprop")
    topology.add(
        {
            "in": Source(work.times.shape[1]),
            "hidden": LIF(n_hidden, steps[0], neuron),
            "out": LIF(n_out, steps[1], neuron),
            "first": Linear(pre_weights=work.w1.T),
            "second": Linear(pre_weights=work.w2.T),
        }
    )
    topology.connect([("in", "first"), ("first", "hidden"), ("hidden", "second"), ("second", "out")])
    init, apply = topology.done()
    parameters = init(jax.random.PRNGKey(0))
    channel = np.argsort(work.times, axis=1)
    zeros = jnp.zeros(work.times.shape)
    inputs = {
        "in": Spike(
            time=jnp.asarray(np.take_along_axis(work.times, channel, axis=1)),
            idx=jnp.asarray(channel),
            current=zeros,
            layer_idx=zeros.astype(int),
            internal=jnp.ones(work.times.shape, dtype=bool),
        )
    }
    labels = jnp.asarray(work.labels)

    def losses(parameters):
        first = jax.vmap(first_spike, in_axes=(0, None))(apply(inputs, parameters)["out"], n_out)
        label = jnp.take_along_axis(first, labels[:, None], axis=1)[:, 0]
        values = label / work.tau0 + jax.nn.logsumexp(-first / work.tau0, axis=1)
        return values + work.alpha * (jnp.exp(label / work.tau1) - 1)

    run = jax.jit(lambda parameters: apply(inputs, parameters))
    slope = jax.jit(jax.grad(lambda parameters: jnp.mean(losses(parameters))))

    def gradient():
        found = jax.block_until_ready(slope(parameters))
        return np.asarray(found["first"]).T, np.asarray(found["second"]).T

    def each():
        found = jax.jit(jax.jacrev(losses))(parameters)
        return tuple(np.asarray(found[name]).transpose(0, 2, 1) for name in ("first", "second"))

    def spikes(events):
        def layer(name):
            samples, places = np.nonzero(
                np.asarray(events[name].internal) & (np.asarray(events[name].idx) >= 0)
            )
            return Spikes(
                samples,
                np.asarray(events[name].idx)[samples, places],
                np.asarray(events[name].time)[samples, places],
            )

        return layer("hidden"), layer("out")

    return Solver(lambda _: jax.block_until_ready(run(parameters)), spikes, gradient, each=each)


if __name__ == "__main__":
    answer(build, "jaxsnn", "jax")
