"""Networks with everything in them and a readout, for what differentiates by all of their numbers."""

import numpy as np
import scipy.sparse as sp
from loops import Loop

import eventsolve as es

VOLTAGE_TIMES = (7.3e-3, 21.1e-3, 44.9e-3)


def chain(n_samples=2, seed=3):
    """in -> hidden -> out, readouts beside spiking outputs, delta synapses among exponential ones, no cycle."""
    rng = np.random.default_rng(seed)
    net = es.Network()
    net.add_input("in", 3)
    net.add_population("hidden", 4, es.LIF(12e-3, 5e-3, v_leak=rng.uniform(-0.2, 0.4, 4), t_ref=1e-3))
    net.add_population("out", 2, es.LIF([10e-3, 7e-3], 4e-3, 1.1, -0.2, 0.1))
    net.add_population(
        "read", 2, es.LI([10e-3, 7e-3], [4e-3, 7e-3], 0.2, v_initial=0.1, i_initial=[0.3, 0.2])
    )
    net.connect("in", "hidden", rng.uniform(2, 5, (4, 3)), delay=rng.uniform(0, 3e-3, (4, 3)))
    net.connect("hidden", "out", rng.uniform(1, 3, (2, 4)), delay=1e-3)
    net.connect("hidden", "read", rng.normal(0.5, 2.0, (2, 4)), delay=rng.uniform(0, 3e-3, (2, 4)))
    trains = [[np.sort(rng.uniform(0, 20e-3, 3)) for _ in range(3)] for _ in range(n_samples)]
    return net, {"in": es.SpikeTrains.from_lists(trains)}


def readout_problem(seed):
    """Return (network, dense input times, t_end): in -> a <-> b with delta synapses, b -> read, sparse."""
    loop = Loop(seed, n=3)
    net = loop.network()
    rng = np.random.default_rng([seed, 1])
    net.add_population("read", 2, es.LI(tau_mem=rng.uniform(5e-3, 20e-3, 2), tau_syn=4e-3, v_leak=0.2))
    entries = (np.array([0, 1, 1]), np.array([1, 0, 2]))
    weight = sp.csr_array((rng.normal(0, 2, 3), entries), shape=(2, 3))
    net.connect("b", "read", weight, delay=sp.csr_array((rng.uniform(0, 3e-3, 3), entries), shape=(2, 3)))
    return net, loop.trains()["in"].to_dense(), loop.t_end
