"""Norse: Euler steps and surrogate gradients, back-propagated through time, single precision as it comes."""

import numpy as np
import torch
from exchange import Solver, Spikes, Work, answer
from norse.torch.functional.lif import LIFFeedForwardState, LIFParameters, lif_feed_forward_step


def build(work: Work, dt: float) -> Solver:
    torch.set_num_threads(1)
    n_steps = round(work.t_end / dt)
    n_samples, n_in = work.times.shape
    raster = torch.zeros(n_steps, n_samples, n_in)
    samples, channels = np.nonzero(np.isfinite(work.times))
    raster[np.rint(work.times[samples, channels] / dt), samples, channels] = 1.0
    neuron = LIFParameters(
        tau_syn_inv=torch.tensor(1 / work.tau_syn), tau_mem_inv=torch.tensor(1 / work.tau_mem)
    )
    weights = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in (work.w1, work.w2)]
    labels = torch.tensor(work.labels)

    def run():
        states = [LIFFeedForwardState(*(torch.zeros(n_samples, w.shape[0]) for _ in "vi")) for w in weights]
        fired = ([], [])
        for step in range(n_steps):
            spikes = raster[step]
            for layer, weight in enumerate(weights):
                spikes, states[layer] = lif_feed_forward_step(spikes @ weight.T, states[layer], neuron, dt)
                fired[layer].append(spikes)
        return [torch.stack(layer) for layer in fired]

    def forward(_):
        with torch.no_grad():
            return run()

    def losses():
        # dt times the number of steps survived without a spike: t_end where silent
        first = dt * (1 + torch.cumprod(1 - run()[1], dim=0).sum(dim=0))
        label = first.gather(1, labels[:, None])[:, 0]
        values = label / work.tau0 + torch.logsumexp(-first / work.tau0, dim=1)
        return values + work.alpha * (torch.exp(label / work.tau1) - 1)

    def gradient():
        return tuple(g.numpy() for g in torch.autograd.grad(losses().mean(), weights))

    def each():
        found = [torch.autograd.grad(value, weights, retain_graph=True) for value in losses()]
        return tuple(torch.stack(layer).numpy() for layer in zip(*found, strict=True))

    def spikes(fired):
        def layer(raster):
            steps, samples, neurons = np.nonzero(raster.numpy())
            return Spikes(samples, neurons, (steps + 1) * dt)

        return layer(fired[0]), layer(fired[1])

    return Solver(forward, spikes, gradient, each=each)


if __name__ == "__main__":
    answer(build, "norse", "torch")
