"""Handwritten digits from an exact training to Loihi 2: python benchmarks/loihi2_digits.py.

64-100-10 LIF neurons are trained exactly, exported and run at fewer and fewer bits: test accuracy before and after,
what each group of causes alone takes away from it, and what fine-tuning with the integers in the loop wins back, with
a gradient along the spikes that they made, and straight through. Means over seeds, and standard deviations.
"""

import argparse
from dataclasses import replace

import numpy as np

import eventsolve as es
from validation.loihi2 import Loihi2
from validation.loihi2.in_loop import Loihi2InLoop
from validation.oracle import Exact
from validation.registry import task
from validation.training import Adam, trained
from validation.training.descent import accuracy

ALONE = {
    "grid": ("grid", "input_rounding"),
    "weights": ("weight_rounding", "weight_clipping"),
    "decays": ("decays",),
    "grid, states": ("grid", "input_rounding", "truncation"),
}
WAYS = ("along_spikes", "straight_through")


def last(problem: es.Problem, target, rate: float, epochs: int, test: es.Problem, seed: int) -> es.Network:
    """Return the network that a training ends with."""
    for epoch in trained(problem, target, Adam(rate), epochs=epochs, batch_size=50, test=test, seed=seed):
        network = epoch.network
    return network


def row(
    seed: int, n_train: int, n_test: int, epochs: int, more: int, dt: float, bits: list[int]
) -> dict[tuple[int, str], float]:
    """Return accuracies of one seed, by bits and what was done."""
    problem = task("digits").problem(n_samples=n_train + n_test, seed=seed)
    training, test = problem.select(range(n_train)), problem.select(range(n_train, n_train + n_test))
    network = last(training, Exact(), 2e-3, epochs, test, seed)

    def score(net: es.Network, target) -> float:
        given = replace(test, network=net)
        return accuracy(given, target.run(given).spikes)

    found = {}
    further = last(replace(training, network=network), Exact(), 5e-4, more, test, seed)
    for n in bits:
        chip = Loihi2(dt, weight_bits=n)
        found[n, "exact"] = score(network, Exact())
        found[n, "on Loihi 2"] = score(network, chip)
        for name, on in ALONE.items():
            found[n, name] = score(network, chip.with_causes(on))
        found[n, "exact, trained on"] = score(further, chip)
        for way in WAYS:
            loop = Loihi2InLoop(dt, weight_bits=n, gradient=way)
            tuned = last(replace(training, network=network), loop, 5e-4, more, test, seed)
            found[n, way.replace("_", " ")] = score(tuned, chip)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--train-samples", type=int, default=1200)
    parser.add_argument("--test-samples", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--more", type=int, default=5, help="epochs of fine-tuning")
    parser.add_argument("--dt", type=float, default=1.0, help="ms")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 4, 3])
    a = parser.parse_args()
    rows = [row(s, a.train_samples, a.test_samples, a.epochs, a.more, a.dt * 1e-3, a.bits) for s in a.seeds]
    names = list(dict.fromkeys(name for _, name in rows[0]))
    print("bits " + " ".join(f"{name:>17}" for name in names))
    for n in a.bits:
        values = [[100 * one[n, name] for one in rows] for name in names]
        print(
            f"{n:4} "
            + " ".join(f"{np.mean(v):11.1f} +-{np.std(v, ddof=1) if len(v) > 1 else 0:4.1f}" for v in values)
        )


if __name__ == "__main__":
    main()
