"""What calibration says of clocked implementations: effective time constants, and how long a spike waits for its step.

``python benchmarks/calibration.py`` prints the table of docs/concepts/measured.md: factors of the time constants of
Yin-Yang's hidden neurons and their latency, with standard errors, from spikes alone. Euler's decay of 1 - dt/tau a step
is that of exp(-dt/tau') with tau' = -dt / log(1 - dt/tau), which the last columns give.
"""

import argparse
import math

import numpy as np

import eventsolve as es
from eventsolve.spiketrains import sorted_trains
from validation.registry import target, task

RUNS = (
    ("timestepped", {}),
    ("timestepped", {"propagators": "euler"}),
    ("spinnaker2", {}),
    ("loihi2", {}),
)
FREE = ("tau_mem", "tau_syn", "gain", "latency")


def on_the_grid(trains, step):
    """Return spikes at the nearest steps, which is when these implementations take their inputs."""
    times = np.round(trains.times / step) * step
    return sorted_trains(times, trains.neurons, trains.samples, (trains.n_samples, trains.n_neurons))


def found_in(name, options, step, n_samples, seed):
    """Return what the hidden neurons' spikes say, and the factors that Euler's decays would have."""
    problem = task("yinyang").problem(n_samples=n_samples, seed=seed)
    spikes = target(name, time_step=step, **options).run(problem).spikes
    inputs = {key: on_the_grid(trains, step) for key, trains in problem.inputs.items()}
    measured = {key: spikes[key] for key in ("hidden", "out")}
    found = es.calibrate(
        problem.network, inputs, measured, problem.t_end, FREE, of=["hidden"], time_noise=step / math.sqrt(12)
    )
    hidden = problem.network.population("hidden")
    taus = [float(hidden.parameter(tau)[0]) for tau in ("tau_mem", "tau_syn")]
    return found, [-step / tau / math.log(1 - step / tau) for tau in taus]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| target | step | tau_mem | tau_syn | gain | latency in steps | Euler's tau_mem, tau_syn |")
    print("|---|---|---|---|---|---|---|")
    for name, options in RUNS:
        for step in (1e-3, 1e-4):
            found, euler = found_in(name, options, step, given.samples, given.seed)
            said = [
                f"{value:.4f} ± {error:.4f}"
                for value, error in zip(
                    found.values / [1, 1, 1, step], found.errors / [1, 1, 1, step], strict=True
                )
            ]
            label = ", ".join([name, *map(str, options.values())])
            print(f"| {label} | {1e3 * step:g} ms | {' | '.join(said)} | {euler[0]:.4f}, {euler[1]:.4f} |")


if __name__ == "__main__":
    main()
