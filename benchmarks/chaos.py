"""Chaos and stable chaos of inhibitory networks, beside what was published: python benchmarks/chaos.py.

Neurons that a constant drive would make spike without end inhibit each other at random, K synapses each, over a delay:
the balanced state, of about 11 spikes a second, as irregular as a Poisson process. The charge of a synapse stays the
same as its time constant changes. What is shown:

- The largest exponent beside the 0 of the flow itself is negative for fast synapses, also for delta synapses, and
  positive for slow ones (Jahnke, Memmesheimer & Timme 2009; Angulo-Garcia & Torcini 2015).
- Over delta synapses it is negative for every in-degree (Jahnke, Memmesheimer & Timme 2009); over slow ones its sign
  and size change with it.
- Where it is negative, small perturbations decay, and larger ones part two trajectories for good although both are
  stable (Monteforte & Wolf 2012).
- Small ones of these networks end on a periodic orbit, after a transient that grows exponentially with their size
  (Zillmer, Brunel & Hansel 2009).
- What k vectors cost beside the solution along which they are carried.

Errors are standard errors over networks drawn anew, or over trials.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import time

import numpy as np
import scipy.sparse as sp

import eventsolve as es
from eventsolve.dynamics import coordinates, displaced, flow_derivative

TAU_MEM, DELAY = 20e-3, 1e-3


def balanced(n, k_in, tau_syn, seed, *, jump=None, drive=None):
    """N neurons with K inhibitory synapses each; tau_syn None for delta synapses. Weights go as 1/sqrt(K)."""
    rng = np.random.default_rng(seed)
    jump = -2.0 / math.sqrt(k_in) if jump is None else jump
    drive = 1.0 + 0.4 * math.sqrt(k_in) if drive is None else drive
    neuron = es.LIF(TAU_MEM, tau_syn or TAU_MEM, v_leak=drive, v_initial=rng.uniform(0, 0.99, n))
    net = es.Network()
    net.add_population("n", n, neuron)
    sources = [np.sort(rng.choice(np.delete(np.arange(n), m), k_in, replace=False)) for m in range(n)]
    weight = jump if tau_syn is None else jump * TAU_MEM / tau_syn
    weights = sp.csr_array(
        (np.full(n * k_in, weight), np.concatenate(sources), np.arange(n + 1) * k_in), shape=(n, n)
    )
    net.connect("n", "n", weights, delay=DELAY, synapse="exponential" if tau_syn else "delta")
    return net


def irregularity(net, t):
    """Spikes a second, and the mean coefficient of variation of a neuron's intervals, in the second half of a time."""
    spikes = es.solve(net, {}, t).spikes["n"]
    late = spikes.times > t / 2
    variations = []
    for m in range(spikes.n_neurons):
        gaps = np.diff(spikes.times[late & (spikes.neurons == m)])
        if gaps.size > 3:
            variations.append(gaps.std() / gaps.mean())
    return late.sum() / (t / 2) / spikes.n_neurons, statistics.fmean(variations)


def beside_the_flow(found):
    """Return the largest exponent but for that of the flow, which is the one nearest to 0, and its error."""
    rest = np.delete(np.arange(found.exponents.size), np.argmin(abs(found.exponents)))
    k = rest[np.argmax(found.exponents[rest])]
    return float(found.exponents[k]), float(found.errors[k])


def largest(n, k_in, tau_syn, t, n_networks):
    """Return a row: spikes a second, CV, mean exponent beside the flow's, its standard error, and what that says."""
    values, errors, seen = [], [], []
    for seed in range(n_networks):
        net = balanced(n, k_in, tau_syn, seed)
        seen.append(irregularity(net, 4.0))
        value, error = beside_the_flow(es.lyapunov_spectrum(net, None, t, 6, transient=2.0))
        values.append(value)
        errors.append(error)
    mean = statistics.fmean(values)
    error = math.hypot(*errors) / n_networks
    if n_networks > 1:
        error = max(error, statistics.stdev(values) / math.sqrt(n_networks))
    rate, variation = np.mean(seen, axis=0)
    sign = "stable" if mean < -3 * error else "chaotic" if mean > 3 * error else "undecided"
    return f"{rate:.1f} | {variation:.2f} | {mean:.2f} | {error:.2f} | {sign}"


def name_of(tau_syn):
    return "delta" if tau_syn is None else f"{tau_syn * 1e3:g}"


def show_exponents(n, k_in, t, n_networks):
    print(
        f"\nLargest exponent beside the flow's 0, N = {n}, K = {k_in}, {n_networks} networks of {t:g} s each\n"
    )
    print("| tau_syn (ms) | spikes/s | CV | exponent (1/s) | error (1/s) | |")
    print("|---|---|---|---|---|---|")
    for tau_syn in (None, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3):
        print(f"| {name_of(tau_syn)} | {largest(n, k_in, tau_syn, t, n_networks)} |", flush=True)


def show_degrees(n, t, n_networks):
    print(
        f"\nLargest exponent beside the flow's 0 against in-degree, N = {n}, {n_networks} networks of {t:g} s each\n"
    )
    print("| tau_syn (ms) | K | spikes/s | CV | exponent (1/s) | error (1/s) | |")
    print("|---|---|---|---|---|---|---|")
    for tau_syn in (None, 5e-3, 20e-3):
        for k_in in (12, 25, 50, 100, 200):
            print(f"| {name_of(tau_syn)} | {k_in} | {largest(n, k_in, tau_syn, t, n_networks)} |", flush=True)


def parted(net, state, by, t):
    """Whether a state that is moved spikes in another order at last."""
    one = es.solve(net, {}, t, initial=state).spikes["n"].neurons
    two = es.solve(net, {}, t, initial=displaced(net, state, by)).spikes["n"].neurons
    return not np.array_equal(one[-300:-100], two[-300:-100])


def show_perturbations(n, k_in, trials):
    net = balanced(n, k_in, None, 0)
    print(
        f"\nPerturbations of V by a vector of a length, N = {n}, K = {k_in}, delta synapses, {trials} trials\n"
    )
    print("| length (thresholds) | part for good | error |")
    print("|---|---|---|")
    for size in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1):
        rng = np.random.default_rng(1)
        state, count = es.solve(net, {}, 0.5).final_state, 0
        for trial in range(trials):
            where = coordinates(net, state)
            by = np.zeros(len(where))
            at = where.of("V", "n")
            direction = -abs(rng.normal(size=at.size))  # away from the threshold
            by[at] = size * direction / np.linalg.norm(direction)
            count += parted(net, state, by, state.time + 0.4)
            state = es.solve(net, {}, 0.5 + 0.05 * (trial + 1), initial=state).final_state
        share = count / trials
        print(
            f"| {size:g} | {share:.2f} | {math.sqrt(max(share * (1 - share), 1 / trials) / trials):.2f} |",
            flush=True,
        )


def settled(net, t):
    """When a network reaches its periodic orbit, and the period; inf and nan if not by a time.

    V of all neurons just after the spikes of one neuron: of what comes again within 1e-9 the last time, how far back
    was it so before, within 1e-6.
    """
    solution = es.solve(net, {}, t)
    spikes = solution.spikes["n"]
    times = spikes.times[spikes.neurons == np.bincount(spikes.neurons).argmax()]
    v = solution.voltage("n", times)[0]
    again = np.flatnonzero(abs(v[:, :-1] - v[:, -1:]).max(axis=0) < 1e-9)
    if not again.size:
        return math.inf, math.nan
    apart = abs(v[:, v.shape[1] - 1 - again[-1] :] - v[:, : again[-1] + 1]).max(axis=0) > 1e-6
    first = np.flatnonzero(apart)[-1] + 1 if apart.any() else 0
    return float(times[first]), float(times[-1] - times[again[-1]])


def show_transients(k_in, n_networks):
    print(
        f"\nTransients before the periodic orbit, delta synapses, K = {k_in}, {n_networks} networks of each size\n"
    )
    print("| N | median (s) | quarter to three quarters (s) | median period (s) | not settled |")
    print("|---|---|---|---|---|")
    sizes, logs = [], []
    for n, t in ((12, 20.0), (16, 40.0), (20, 80.0), (24, 160.0)):
        found = np.array(
            [settled(balanced(n, k_in, None, seed, jump=-0.63, drive=2.6), t) for seed in range(n_networks)]
        )
        waits, periods = found[:, 0], found[np.isfinite(found[:, 1]), 1]
        low, middle, high = np.quantile(np.where(np.isfinite(waits), waits, 1e9), (0.25, 0.5, 0.75))
        missing = int((~np.isfinite(waits)).sum())
        print(
            f"| {n} | {middle:.2f} | {low:.2f} to {high:.2f} | {np.median(periods):.2f} | {missing} |",
            flush=True,
        )
        sizes += [n] * int(np.isfinite(waits).sum())
        logs += np.log(waits[np.isfinite(waits)]).tolist()
    (slope, _), covariance = np.polyfit(sizes, logs, 1, cov=True)
    print(f"\nThe logarithm grows by {slope:.3f} ± {math.sqrt(covariance[0, 0]):.3f} for each neuron.")


def show_errors(n, k_in, t, n_trajectories):
    print(f"\nAre errors what they say? N = {n}, K = {k_in}, {n_trajectories} trajectories of {t:g} s each\n")
    print(
        "| tau_syn (ms) | number | exponent (1/s) | spread (1/s) | mean error (1/s) | rms of deviation over error |"
    )
    print("|---|---|---|---|---|---|")
    for tau_syn in (None, 20e-3):
        net = balanced(n, k_in, tau_syn, 3)
        found = []
        for seed in range(n_trajectories):
            start = {"v_initial": np.random.default_rng([9, seed]).uniform(0, 0.99, n)}
            other = net.with_neurons({"n": dataclasses.replace(net.population("n").neuron, **start)})
            state = es.solve(other, {}, 0.0).final_state
            found.append(es.lyapunov_spectrum(net, state, t, 3, transient=t / 3, seed=seed))
        values, errors = (np.array([getattr(one, name) for one in found]) for name in ("exponents", "errors"))
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
        relative = np.sqrt((((values - mean) / errors) ** 2).mean(axis=0))
        name = name_of(tau_syn)
        for k in range(3):
            numbers = f"{mean[k]:.2f} | {spread[k]:.2f} | {errors[:, k].mean():.2f} | {relative[k]:.2f}"
            print(f"| {name} | {k + 1} | {numbers} |", flush=True)


def show_costs(n, k_in, t):
    print(f"\nTime of k vectors beside that of the solution, N = {n}, K = {k_in}, one thread\n")
    print("| synapses | solution (ms) | " + " | ".join(f"k = {k}" for k in (1, 4, 16, 64)) + " |")
    print("|---|---|---|---|---|---|")
    for tau_syn in (None, 5e-3):
        net = balanced(n, k_in, tau_syn, 0)
        state = es.solve(net, {}, 0.2).final_state

        def run(net=net, state=state):
            return es.solve(net, {}, state.time + t, initial=state, threads=1)

        alone, row = best(run), []
        solution = run()
        for k in (1, 4, 16, 64):
            vectors = np.random.default_rng(0).normal(size=(len(coordinates(net, state)), k))
            taken = best(lambda solution=solution, vectors=vectors: flow_derivative(solution, vectors))
            row.append(f"{taken / alone:.2f}")
        name = "exponential" if tau_syn else "delta"
        print(f"| {name} | {alone * 1e3:.1f} | " + " | ".join(row) + " |", flush=True)


def best(work, repetitions=5):
    """Return the shortest processor time of some runs, the first of which compiles and does not count."""
    work()
    taken = []
    for _ in range(repetitions):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return min(taken)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=["exponents", "degrees", "errors", "perturbations", "transients", "costs"]
    )
    parser.add_argument("--neurons", type=int, default=400)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0, help="that exponents are averaged over")
    given = parser.parse_args()
    shown = {
        "exponents": lambda: show_exponents(given.neurons, 100, given.seconds, given.networks),
        "degrees": lambda: show_degrees(given.neurons, given.seconds, given.networks),
        "errors": lambda: show_errors(100, 30, 3.0, 6 * given.networks),
        "perturbations": lambda: show_perturbations(given.neurons, 100, 30),
        "transients": lambda: show_transients(10, 5 * given.networks),
        "costs": lambda: show_costs(2000, 100, 0.1),
    }
    for name, show in shown.items():
        if given.only in (None, name):
            show()


if __name__ == "__main__":
    main()
