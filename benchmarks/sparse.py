"""Time sparse networks, up to a million neurons: python benchmarks/sparse.py.

Driven neurons with 100 inhibitory delta synapses each, without delay, are set against a plain compiled event loop that
finds the same spikes: one indexed heap of next spikes, one exponential and one logarithm for each synaptic event, the
family of algorithms of SparseProp (Engelken 2023). Medians over the repetitions, one thread; synapses are laid out
once, before. The peak is that of the process so far: run one size alone for that of its own.
"""

import argparse
import math
import resource
import statistics
import time

import numba
import numpy as np
import scipy.sparse as sp

import eventsolve as es

N_SYNAPSES = 100
TAU = 20e-3


@numba.njit
def put(heap, place, key, k):
    """Move the neuron at a place of the heap to where it belongs."""
    neuron = heap[k]
    while k > 0 and key[heap[(k - 1) >> 1]] > key[neuron]:
        heap[k] = heap[(k - 1) >> 1]
        place[heap[k]] = k
        k = (k - 1) >> 1
    while 2 * k + 1 < heap.size:
        child = 2 * k + 1
        if child + 1 < heap.size and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[heap[child]] >= key[neuron]:
            break
        heap[k] = heap[child]
        place[heap[k]] = k
        k = child
    heap[k] = neuron
    place[neuron] = k


@numba.njit
def plain_loop(starts, targets, weights, v_initial, drive, tau, t_end):
    """Return the numbers of spikes and of synaptic events, and the sum of all spike times."""
    n = v_initial.size
    v, last, key = v_initial.copy(), np.zeros(n), np.empty(n)
    for m in range(n):
        key[m] = tau * math.log((drive[m] - v[m]) / (drive[m] - 1.0))
    heap = np.argsort(key)
    place = np.empty(n, np.int64)
    for k in range(n):
        place[heap[k]] = k
    n_spikes, n_events, total = 0, 0, 0.0
    while key[heap[0]] <= t_end:
        neuron = heap[0]
        now = key[neuron]
        n_spikes += 1
        total += now
        v[neuron], last[neuron] = 0.0, now
        key[neuron] = now + tau * math.log(drive[neuron] / (drive[neuron] - 1.0))
        put(heap, place, key, 0)
        for s in range(starts[neuron], starts[neuron + 1]):
            m = targets[s]
            v[m] = drive[m] + (v[m] - drive[m]) * math.exp((last[m] - now) / tau) + weights[s]
            last[m] = now
            key[m] = now + (tau * math.log((drive[m] - v[m]) / (drive[m] - 1.0)) if v[m] < 1.0 else 0.0)
            put(heap, place, key, place[m])
            n_events += 1
    return n_spikes, n_events, total


def driven(n: int, rng):
    """Return the weights of n driven neurons, by target, their voltages and the voltages to which they are driven."""
    sources = np.sort(rng.integers(0, n, (n, N_SYNAPSES), dtype=np.int32), axis=1).reshape(-1)
    strength = rng.standard_normal(n * N_SYNAPSES)
    strength *= 0.005
    strength += 0.02
    np.negative(np.abs(strength, out=strength), out=strength)
    weight = sp.csr_array((strength, sources, np.arange(n + 1, dtype=np.int32) * N_SYNAPSES), shape=(n, n))
    weight.sum_duplicates()
    return weight, rng.uniform(0, 0.9, n), rng.uniform(1.3, 1.8, n)


def median_time(function, repeat: int):
    """Return the median of the wall-clock times in seconds, and what the function returned."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def plain_time(by_source, v_initial, drive, t_end: float, repeat: int):
    """Return how long the plain loop takes in seconds, and what it returned."""
    arguments = (by_source.indptr, by_source.indices, by_source.data, v_initial, drive, TAU)
    plain_loop(*arguments, 0.0)
    return median_time(lambda: plain_loop(*arguments, t_end), repeat)


def row(n: int, t_end: float, repeat: int) -> None:
    weight, v_initial, drive = driven(n, np.random.default_rng(0))
    plain, (n_spikes, n_events, total) = plain_time(weight.tocsc(), v_initial, drive, t_end, repeat)
    net = es.Network()
    net.add_population("loop", n, es.LIF(TAU, 5e-3, v_leak=drive, v_initial=v_initial))
    net.connect("loop", "loop", weight, synapse="delta")
    del weight
    start = time.perf_counter()
    es.solve(net, {}, 0.0, threads=1)
    layout = time.perf_counter() - start
    ours, solution = median_time(lambda: es.solve(net, {}, t_end, threads=1), repeat)
    spikes = solution.spikes["loop"]
    if spikes.n_spikes != n_spikes or not math.isclose(spikes.times.sum(), total, rel_tol=1e-9):
        raise SystemExit(
            f"the plain loop finds {n_spikes} spikes, es.solve {spikes.n_spikes}: not the same work"
        )
    scale = 1e9 / n_events
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{n:9d} neurons {n_spikes:7d} spikes  plain loop {plain * scale:6.1f}  es.solve {ours * scale:6.1f} ns "
        f"per event  ratio {ours / plain:5.2f}  laid out in {layout:6.1f} s  peak {peak:5.2f} GiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--neurons", type=int, nargs="*", default=[1000, 10_000, 100_000])
    arguments = parser.parse_args()
    for n in arguments.neurons:
        row(n, {1000: 0.5, 10_000: 0.2, 100_000: 0.05}.get(n, 0.01), arguments.repeat)


if __name__ == "__main__":
    main()
