"""Random networks that keep their own time or follow an input, and so may have periodic orbits."""

import numpy as np

import eventsolve as es


def rhythmic(seed):
    """A recurrent network, driven from outside or by its leak."""
    rng = np.random.default_rng(seed)
    n, free = int(rng.integers(1, 4)), bool(rng.integers(2))
    net = es.Network()
    neuron = es.LIF(
        rng.uniform(10e-3, 30e-3, n),
        rng.uniform(3e-3, 12e-3, n),
        v_leak=rng.uniform(1.1, 1.6, n) if free else rng.uniform(-0.2, 0.8, n),
        t_ref=rng.choice([0.0, 2e-3]),
        v_initial=rng.uniform(0.0, 0.9, n),
        reset=str(rng.choice(["value", "subtract"])),
    )
    net.add_population("n", n, neuron)
    synapse = str(rng.choice(["exponential", "delta"]))
    delay = rng.uniform(0.5e-3, 5e-3, (n, n))
    net.connect("n", "n", rng.normal(0, 0.2, (n, n)), delay=delay, synapse=synapse)
    if free:
        return net, {}
    net.add_input("in", 2)
    net.connect("in", "n", rng.uniform(1.0, 5.0, (n, 2)), delay=1e-3)
    net.connect("in", "n", rng.uniform(0.0, 0.9, (n, 2)), delay=2e-3, synapse="delta", name="d")
    period = float(rng.uniform(15e-3, 40e-3))
    trains = es.SpikeTrains.from_lists([[[0.3 * period], [0.6 * period]]])
    return net, {"inputs": {"in": trains}, "period": period}
