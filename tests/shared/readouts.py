"""A recurrent network with everything in it and a readout, for what differentiates by all of its numbers."""

import numpy as np
import scipy.sparse as sp
from loops import Loop

import eventsolve as es

VOLTAGE_TIMES = (7.3e-3, 21.1e-3, 44.9e-3)


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
