"""What a verdict costs: python benchmarks/verdicts.py [--step 1e-5] [--samples 32].

Yin-Yang, 5-200-3, 32 samples, on a clock of 10 us: a right record, one whose way back sees other weights, one whose
inputs lose the spikes of a neuron, and one whose weights are noise. Two samples are judged before, so that kernels are
compiled; printed are seconds of processor time and of the clock, and the verdict.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from validation.diagnosis import diagnose
from validation.grid import TimeStepped
from validation.grid.flaws import Flaws
from validation.tasks.yin_yang.task import YinYang

FACTOR = 1.3


def right(problem: es.Problem, target: TimeStepped) -> Record:
    """Return the record of an implementation without a fault."""
    return target.run(problem)


def stale(problem: es.Problem, target: TimeStepped) -> Record:
    """Return that of one whose way back sees other weights."""
    network = problem.network
    other = {key: p.shaped(p.weights * FACTOR) for key, p in network.projections.items()}
    return target.run_flawed(problem, Flaws(back=network.with_weights(other)))


def dead(problem: es.Problem, target: TimeStepped) -> Record:
    """Return that of one that gets nothing from one input neuron."""
    ((name, trains),) = problem.inputs.items()
    kept = trains.neurons != 1
    some = es.SpikeTrains.from_arrays(
        trains.times[kept],
        trains.neurons[kept],
        trains.samples[kept],
        n_samples=trains.n_samples,
        n_neurons=trains.n_neurons,
    )
    return replace(target.run(replace(problem, inputs={name: some})), inputs=problem.inputs)


def noisy(problem: es.Problem, target: TimeStepped) -> Record:
    """Return that of one whose weights are off by a tenth each, which has no name."""
    network, rng = problem.network, np.random.default_rng(1)
    other = {
        k: p.shaped(p.weights * rng.normal(1, 0.1, p.weights.size)) for k, p in network.projections.items()
    }
    return target.run(replace(problem, network=network.with_weights(other)))


CASES: tuple[Callable[[es.Problem, TimeStepped], Record], ...] = (right, stale, dead, noisy)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--step", type=float, default=1e-5, help="seconds (default: 1e-5)")
    parser.add_argument("--samples", type=int, default=32)
    a = parser.parse_args()
    target = TimeStepped(a.step, traces=False)
    problem, small = (YinYang().problem(n) for n in (a.samples, 2))
    print("| record | processor [s] | clock [s] | verdict |\n|---|---|---|---|")
    diagnose(small, right(small, target))
    for case in CASES:
        record = case(problem, target)
        start = time.process_time(), time.perf_counter()
        found = diagnose(problem, record)
        took = time.process_time() - start[0], time.perf_counter() - start[1]
        print(f"| {case.__name__} | {took[0]:.1f} | {took[1]:.1f} | {found.sentence[:120]} |", flush=True)


if __name__ == "__main__":
    main()
