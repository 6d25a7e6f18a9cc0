"""Faults planted in random networks, each of which a certificate must refuse: ``python -m tests.planted_faults``.

The networks are those of the campaign. A spike is removed, added, or moved by 1e-12 s, two neurons exchange a spike, or
an entry of a gradient is off by 1e-9 of the largest of its array. A spike that no float64 solver could tell from one
moved so far, by the tolerance that the certificate states for it, is left out; so is a gradient of which float64 knows
fewer digits than are asked for, by the condition of its spikes. A right gradient that is refused for no such reason is
a failure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from rich.progress import track

import eventsolve as es
from tests.campaign import draw

MOVED = 1e-12
OFF = 1e-9
PER_NETWORK = 5
"""Faults of one kind that are planted in one network."""

Spikes = dict[str, es.SpikeTrains]


def solutions(seed: int) -> Iterator[tuple[np.random.Generator, es.Solution, es.Certificate]]:
    """Yield small networks that spike, and are certified."""
    index = 0
    while True:
        case = draw(seed, index)
        index += 1
        try:
            solution = es.solve(case.net, case.inputs, case.t_end, max_spikes=60, threads=1)
        except (es.SpikeBudgetError, es.RepeatedSpikeError):
            continue
        certificate = es.certify(solution, digits=30)
        if certificate.proven and sum(m.size for m, _ in certificate.spike_times.values()):
            yield np.random.default_rng([seed, index, 2]), solution, certificate


def rebuilt(
    trains: es.SpikeTrains, times: np.ndarray, neurons: np.ndarray, samples: np.ndarray
) -> es.SpikeTrains:
    """Return spike trains of changed spikes."""
    order = np.lexsort((neurons, times, samples))
    return es.SpikeTrains.from_arrays(
        times[order], neurons[order], samples[order], n_neurons=trains.n_neurons, n_samples=trains.n_samples
    )


def some_spike(
    rng: np.random.Generator, solution: es.Solution, certificate: es.Certificate
) -> tuple[str, int]:
    """Return the population and the place of a spike."""
    sizes = {name: middle.size for name, (middle, _) in certificate.spike_times.items()}
    k = int(rng.integers(sum(sizes.values())))
    for name, size in sizes.items():
        if k < size:
            return name, k
        k -= size
    raise AssertionError


def removed(rng: np.random.Generator, solution: es.Solution, certificate: es.Certificate) -> Spikes | None:
    """Remove a spike."""
    name, k = some_spike(rng, solution, certificate)
    t = solution.spikes[name]
    if solution.t_end - t.times[k] <= 2 * certificate.tolerances[name][k]:
        return None
    return {name: rebuilt(t, np.delete(t.times, k), np.delete(t.neurons, k), np.delete(t.samples, k))}


def added(rng: np.random.Generator, solution: es.Solution, certificate: es.Certificate) -> Spikes | None:
    """Add a spike anywhere."""
    name, _ = some_spike(rng, solution, certificate)
    t = solution.spikes[name]
    time = rng.uniform(solution.t_start, solution.t_end)
    neuron, sample = int(rng.integers(t.n_neurons)), int(rng.integers(t.n_samples))
    columns = (np.append(t.times, time), np.append(t.neurons, neuron), np.append(t.samples, sample))
    return {name: rebuilt(t, *columns)}


def moved(rng: np.random.Generator, solution: es.Solution, certificate: es.Certificate) -> Spikes | None:
    """Move a spike to either side."""
    name, k = some_spike(rng, solution, certificate)
    t = solution.spikes[name]
    if certificate.tolerances[name][k] + certificate.spike_times[name].radii[k] > MOVED / 2:
        return None
    times = t.times.copy()
    times[k] += MOVED * (
        1 if times[k] < MOVED else -1 if times[k] + MOVED > solution.t_end else rng.choice([-1, 1])
    )
    if abs(times[k] - t.times[k]) < MOVED / 2:  # less than an ulp of a late time
        return None
    return {name: rebuilt(t, times, t.neurons, t.samples)}


def swapped(rng: np.random.Generator, solution: es.Solution, certificate: es.Certificate) -> Spikes | None:
    """Let two neurons exchange spikes that follow on each other."""
    name, k = some_spike(rng, solution, certificate)
    t = solution.spikes[name]
    if k + 1 == t.n_spikes or t.samples[k] != t.samples[k + 1] or t.neurons[k] == t.neurons[k + 1]:
        return None
    if t.times[k + 1] - t.times[k] <= 2 * (certificate.tolerances[name][k : k + 2].sum() + MOVED):
        return None
    neurons = t.neurons.copy()
    neurons[k], neurons[k + 1] = neurons[k + 1], neurons[k]
    if np.unique(np.stack([t.samples, t.times, neurons]), axis=1).shape[1] < t.n_spikes:
        return None  # a neuron would spike twice at one time, which no spike train holds
    return {name: rebuilt(t, t.times, neurons, t.samples)}


SPIKE_FAULTS: dict[str, Callable[..., Spikes | None]] = {
    "removed": removed,
    "added": added,
    "moved": moved,
    "swapped": swapped,
}


def accepted_spikes(kind: str, n: int, seed: int) -> tuple[int, int]:
    """Plant so many faults of a kind; return how many are accepted, and how many spikes were left out."""
    accepted = planted = left_out = 0
    for rng, solution, certificate in solutions(seed):
        for _ in range(PER_NETWORK):
            claim = SPIKE_FAULTS[kind](rng, solution, certificate)
            if claim is None:
                left_out += 1
                continue
            judged = es.certify(solution, spikes=claim, digits=30)
            accepted += judged.proven or not judged.refuted
            planted += 1
            if planted == n:
                return accepted, left_out
    raise AssertionError


def planted_gradient(rng: np.random.Generator, grads: es.Gradients) -> tuple[tuple, es.Gradients] | None:
    """Return (parameter, key, entry) of a fault, and the gradients with it."""
    name = str(rng.choice(["weight", "delay", "tau_mem", "v_threshold", "spike_times"]))
    keys = [key for key, values in getattr(grads, name).items() if np.abs(values).max(initial=0.0) > 0.0]
    if not keys:
        return None
    key = keys[int(rng.integers(len(keys)))]
    values = np.array(getattr(grads, name)[key])
    entry = tuple(int(rng.integers(size)) for size in values.shape)
    values[entry] += OFF * np.abs(values).max() * rng.choice([-1, 1])
    return (name, key, entry), replace(grads, **{name: {**getattr(grads, name), key: values}})


def is_no_better_known(solution: es.Solution, cotangents: dict[str, np.ndarray], mismatch: tuple) -> bool:
    """Say whether float64 cannot be expected to know an entry of a gradient better, by the condition of its spikes."""
    name, _, _, claimed, proven = mismatch
    errors = es.gradient_condition(solution).errors[name]
    return abs(claimed - proven) <= sum(
        np.abs(cotangents[key]) @ errors[key] for key in errors if key in cotangents
    )


def accepted_gradients(n: int, seed: int) -> tuple[int, int]:
    """Plant so many faults in gradients; return how many are accepted, and how many gradients were left out."""
    accepted = planted = left_out = 0
    for rng, solution, _ in solutions(seed):
        cotangents = {name: rng.normal(size=t.n_spikes) for name, t in solution.spikes.items()}
        try:
            grads = es.vjp(solution, cotangents, threads=1)
        except es.UndefinedGradientError:
            left_out += 1
            continue
        honest = es.certify(solution, gradients=cotangents, digits=30)
        if not honest.proven:
            for mismatch in honest.mismatches:
                assert is_no_better_known(solution, cotangents, mismatch), (
                    f"a right gradient is refused: {mismatch}"
                )
            for question in honest.undecided:
                assert question.why.startswith("the gradient is open"), str(question)  # a tie
            assert not honest.refuted
            left_out += 1
            continue
        for _ in range(PER_NETWORK):
            fault = planted_gradient(rng, grads)
            if fault is None:
                left_out += 1
                continue
            judged = es.certify(solution, gradients=cotangents, claimed_gradients=fault[1], digits=30)
            accepted += judged.proven or not any(mismatch[:3] == fault[0] for mismatch in judged.mismatches)
            planted += 1
            if planted == n:
                return accepted, left_out
    raise AssertionError


def main() -> int:
    """Plant faults of every kind."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted_faults", description=__doc__)
    parser.add_argument("--each", type=int, default=1000, help="faults of every kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    report = {}
    for kind in track([*SPIKE_FAULTS, "gradient"], description="planting"):
        plant = (
            accepted_gradients if kind == "gradient" else lambda n, seed, k=kind: accepted_spikes(k, n, seed)
        )
        accepted, left_out = plant(arguments.each, arguments.seed)
        report[kind] = {"planted": arguments.each, "accepted": accepted, "left out": left_out}
    print(json.dumps(report, indent=1))
    return 1 if any(row["accepted"] for row in report.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
