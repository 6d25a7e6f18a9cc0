"""NEST with precise spike times, the batch as copies side by side. It has no gradients.

NEST wants a delay and a refractory period of a step h at least. A spike's way through a layer is h late by that, which
is taken off again; the refractory period stays, and moves every spike of a neuron but its first.
"""

import nest
import numpy as np
from exchange import Solver, Spikes, Work, answer

MS = 1e3


def build(work: Work, model: str, dt: float) -> Solver:
    nest.verbosity = nest.VerbosityLevel.ERROR
    step = dt * MS
    n_samples, n_in = work.times.shape

    def prepare():
        nest.ResetKernel()
        nest.resolution = step
        times = work.times * MS + step  # a generator cannot fire at 0
        sources = nest.Create("spike_generator", times.size, {"precise_times": True})
        sources.set([{"spike_times": [t]} for t in times.ravel()])
        pre_nodes = np.asarray(sources.tolist()).reshape(n_samples, n_in)
        recorders = []
        for weight in (work.w1, work.w2):
            layer = nest.Create(
                model,
                n_samples * weight.shape[0],
                {
                    "tau_m": work.tau_mem * MS,
                    "C_m": work.tau_mem * MS,  # tau_m / C_m of 1 ms/pF makes 1 pA drive to 1 mV
                    "tau_syn_ex": work.tau_syn * MS,
                    "tau_syn_in": work.tau_syn * MS,
                    "V_th": 1.0,
                    "V_reset": 0.0,
                    "E_L": 0.0,
                    "V_m": 0.0,
                    "t_ref": step,
                },
            )
            nodes = np.asarray(layer.tolist()).reshape(n_samples, weight.shape[0])
            post, pre = (index.ravel() for index in np.indices(weight.shape))
            n = n_samples * weight.size
            nest.Connect(
                pre_nodes[:, pre].ravel(),
                nodes[:, post].ravel(),
                "one_to_one",
                {"weight": np.tile(weight.ravel(), n_samples), "delay": np.full(n, step)},
            )
            recorder = nest.Create("spike_recorder")
            nest.Connect(layer, recorder)
            recorders.append((recorder, int(nodes[0, 0]), weight.shape[0]))
            pre_nodes = nodes
        return recorders

    def forward(recorders):
        nest.Simulate(np.ceil((work.t_end + 3 * dt) / dt) * step)
        return recorders

    def spikes(recorders):
        layers = []
        for depth, (recorder, first, n) in enumerate(recorders):
            neurons, times = (np.asarray(recorder.events[name]) for name in ("senders", "times"))
            times = times / MS - (2 + depth) * dt
            inside = times <= work.t_end
            cell = neurons[inside] - first
            layers.append(Spikes(cell // n, cell % n, times[inside]))
        return layers[0], layers[1]

    return Solver(forward, spikes, prepare=prepare)


if __name__ == "__main__":
    answer(build, "nest-simulator")
