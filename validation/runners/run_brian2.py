"""Brian2: exact update on a time grid, the batch as copies side by side. It has no gradients."""

import brian2 as b2
import numpy as np
from exchange import Solver, Spikes, Work, answer


def build(work: Work, dt: float) -> Solver:
    b2.defaultclock.dt = dt * b2.second
    n_samples, n_in = work.times.shape
    equations = "dv/dt = (current - v) / tau_mem : 1\ndcurrent/dt = -current / tau_syn : 1"
    constants = {"tau_mem": work.tau_mem * b2.second, "tau_syn": work.tau_syn * b2.second}
    samples, channels = np.nonzero(np.isfinite(work.times))
    at = np.rint(work.times[samples, channels] / dt) * dt
    source = b2.SpikeGeneratorGroup(n_samples * n_in, samples * n_in + channels, at * b2.second)
    network, groups = b2.Network(source), [source]
    for weight in (work.w1, work.w2):
        n_post, n_pre = weight.shape
        group = b2.NeuronGroup(
            n_samples * n_post,
            equations,
            threshold="v > 1",
            reset="v = 0",
            method="exact",
            namespace=constants,
        )
        synapses = b2.Synapses(groups[-1], group, "w : 1", on_pre="current_post += w")
        post, pre = (index.ravel() for index in np.indices(weight.shape))
        copies = np.arange(n_samples)[:, None]
        synapses.connect(i=(copies * n_pre + pre).ravel(), j=(copies * n_post + post).ravel())
        synapses.w = np.tile(weight.ravel(), n_samples)
        network.add(group, synapses)
        groups.append(group)
    monitors = [b2.SpikeMonitor(group) for group in groups[1:]]
    network.add(monitors)
    network.store()

    def spikes(_):
        def layer(monitor, n):
            neurons = np.asarray(monitor.i)
            return Spikes(neurons // n, neurons % n, np.asarray(monitor.t / b2.second))

        return layer(monitors[0], work.w1.shape[0]), layer(monitors[1], work.w2.shape[0])

    return Solver(lambda _: network.run(work.t_end * b2.second), spikes, prepare=network.restore)


if __name__ == "__main__":
    answer(build, "Brian2", "numpy")
