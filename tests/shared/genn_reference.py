"""The problems that GeNN was run on, from ``tests/data/genn_reference.npz``."""

from pathlib import Path

import numpy as np

import eventsolve as es

DATA = np.load(Path(__file__).parents[1] / "data" / "genn_reference.npz")
LABELS = [0, 2]


def reference(net, loss, dt):
    """Return a problem of the reference; ``dt`` in ms."""
    spiking = loss.startswith("first")
    w_in, w_out = DATA[f"{net}/w_in"], DATA[f"{net}/w_{'spike' if spiking else 'out'}"]
    neurons = {"tau_mem": 20e-3, "tau_syn": 5e-3}
    network = es.Network()
    network.add_input("in", w_in.shape[0])
    network.add_population("hid", w_in.shape[1], es.LIF(**neurons))
    network.add_population("out", 3, es.LIF(**neurons) if spiking else es.LI(**neurons))
    network.connect("in", "hid", w_in.T)
    if net == "rec":
        network.connect("hid", "hid", DATA["rec/w_rec"].T)
    network.connect("hid", "out", w_out.T)
    samples, inputs, times = DATA[f"{net}/inputs"][np.lexsort(DATA[f"{net}/inputs"].T[[1, 2, 0]])].T
    trains = es.SpikeTrains.from_arrays(
        times * 1e-3, inputs.astype(int), samples.astype(int), n_samples=2, n_neurons=5
    )
    losses, target = es.losses, DATA[f"{net}/1.0/mse/target"]
    made = {
        "avg": lambda: losses.MeanVoltageCrossEntropy("out", LABELS),
        "exp": lambda: losses.MeanVoltageCrossEntropy("out", LABELS, weighting="exponential"),
        "max": lambda: losses.MaxVoltageCrossEntropy("out", LABELS),
        "mse": lambda: losses.TrajectoryMSE(
            "out", lambda times, s: target[s][np.rint(times / 1e-3).astype(int) - 1].T
        ),
        "sum": lambda: losses.SumVoltageCrossEntropy("out", LABELS, time_step=dt * 1e-3),
        "first": lambda: losses.FirstSpikeCrossEntropy("out", LABELS, tau0=1e-3, alpha=0.1e-3),
        "first_temperature": lambda: losses.FirstSpikeCrossEntropy("out", LABELS, tau0=0.5e-3, alpha=0.1e-3),
        "first_rmse": lambda: losses.RelativeMSE("out", LABELS, gap=1e-3),
    }
    return es.Problem(network, {"in": trains}, 50e-3, made[loss]())
