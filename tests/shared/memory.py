"""How much memory something takes, and what takes a lot of it."""

import ctypes
import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import eventsolve as es


def peak(work):
    """By how many bytes the process grows while it works, at most."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

    def now(what):
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(what))

    before = now("VmRSS")
    result = work()
    return now("VmHWM") - before, result


def in_a_fresh_process(measure, *arguments):
    """What a function of a test module measures in a process that has done nothing else, of which no memory is free."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(measure, *arguments).result()


def noisy(seconds):
    """A loop that is driven for so long, and a readout of it."""
    rng = np.random.default_rng(0)
    net = es.Network()
    net.add_input("in", 50)
    net.add_population("hidden", 100, es.LIF(20e-3, 5e-3, t_ref=2e-3))
    net.add_population("out", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(0.3, 0.3, (100, 50)), delay=1e-3)
    net.connect("hidden", "hidden", rng.normal(-0.02, 0.1, (100, 100)), delay=5e-3)
    net.connect("hidden", "out", rng.normal(0, 0.3, (2, 100)))
    n = int(2000 * seconds)
    times, neurons = np.sort(rng.uniform(0, seconds, n)), rng.integers(0, 50, n)
    return net, {"in": es.SpikeTrains(times, neurons, np.zeros(n, np.int64), 1, 50)}
