"""Whose gradient is nearer to the exact one, a clocked target's own or the exact one along the target's spikes.

``python benchmarks/in_the_loop.py`` prints the table of docs/concepts/measured.md: of dL/dw of both layers of Yin-Yang,
|g - exact| / |exact|, and the cosine.
"""

import argparse
from dataclasses import replace

import numpy as np

from validation.oracle import oracle
from validation.registry import target, task
from validation.training import InTheLoop

TARGETS = {"spinnaker2": {}, "genn": {}}
STEPS = ("1ms", "0.1ms")


def mean_gradients(record, network):
    """Return the batch-mean dL/dw of every synapse, by projection."""
    return {key: record.weight[key].mean(axis=0).reshape(-1) for key in network.projections}


def distance(found, exact):
    """Relative error and cosine of all weights' gradients as one vector."""
    g, true = (np.concatenate([np.ravel(values) for values in of.values()]) for of in (found, exact))
    return np.linalg.norm(g - true) / np.linalg.norm(true), g @ true / np.linalg.norm(g) / np.linalg.norm(
        true
    )


def rows(n_samples, seed):
    """(target, step, whose gradient, error, cosine), one after another."""
    problem = task("yinyang").problem(n_samples=n_samples, seed=seed)
    problem = replace(problem, loss=replace(problem.loss, alpha=0.0))  # which both targets have
    exact = mean_gradients(oracle(problem), problem.network)
    for name in TARGETS:
        for step in STEPS:
            implementation = target(name, time_step=step)
            kinds = {"its own": implementation}
            for slope in ("measured", "threshold", "crossing"):
                kinds[f"along its spikes, {slope}"] = InTheLoop(implementation, slope)
            for whose, runs in kinds.items():
                yield name, step, whose, *distance(mean_gradients(runs.run(problem), problem.network), exact)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    print("| target | step | gradient | error | cosine |\n|---|---|---|---|---|")
    for name, step, whose, error, cosine in rows(given.samples, given.seed):
        print(f"| {name} | {step} | {whose} | {error:.3f} | {cosine:.3f} |")


if __name__ == "__main__":
    main()
