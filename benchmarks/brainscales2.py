"""A chip of BrainScaleS-2 in the loop, and how fast: python benchmarks/brainscales2.py [--published FILE].

CPU time of a run of the target, of a training step of the compiled twin, and of the exact gradient of the same batch,
of 4x5-30-3 with axonal delays. FILE holds what JulianGoeltz/fastAndDeep publishes of simulated networks, as arrays
``NAME_layer0_DelayLayer`` and so on, with ``NAME_test_spikes``, in tau: they are solved again, in closed form, also
with the 1e-6 that its code adds to sums, and by the exact solver.
"""

import argparse
import time

import numpy as np

import eventsolve as es
from eventsolve.io import datasets
from validation.brainscales2 import BrainScaleS2
from validation.brainscales2.closed_forms import first_spikes
from validation.brainscales2.networks import SETUPS, TAU, DelGrad, encoded, initial
from validation.brainscales2.training import backward, circuits, forward

NETWORKS = ("H30_W", "H30_WA", "H30_WS", "H5_WS")


def speed(repeat: int) -> None:
    """Print CPU times of a batch of 40."""
    setup, chip = SETUPS["chip-axonal"], BrainScaleS2()
    problem = DelGrad().problem(40, 1)
    parameters, circuit = initial(setup, 1), circuits(setup, chip)
    parameters = type(parameters)(tuple(w + 0.5 for w in parameters.weights), parameters.delays)
    times, labels = encoded(datasets.yin_yang(40, 1).points), np.asarray(problem.loss.labels)
    rng = np.random.default_rng(0)

    def step() -> None:
        backward(
            setup, parameters, forward(setup, parameters, times, circuit, rng), labels, circuit, "measured"
        )

    for name, work in (
        ("a run of the target", lambda: chip.run(problem)),
        ("a step of the compiled twin", step),
        (
            "the exact gradient",
            lambda: es.value_and_grad(es.solve(problem.network, problem.inputs, problem.t_end), problem.loss),
        ),
    ):
        work()
        start = time.process_time()
        for _ in range(repeat):
            work()
        print(f"{name:28} {(time.process_time() - start) / repeat * 1e3:8.2f} ms")


def published(file: str) -> None:
    """Print how far published first spikes of outputs are from ours."""
    data = np.load(file)
    points = datasets.yin_yang(1000, 40)
    columns = f"{'closed form':>12} {'with 1e-6':>10} {'solver, median':>15} {'worst':>8}  accuracies"
    print(f"{'network':8} {'samples':>7} {columns}")
    for name in NETWORKS:
        delayed = f"{name}_layer0_DelayLayer" in data
        layers = [
            (
                data[f"{name}_layer{2 * k + 1 if delayed else k}_NeuronLayer"],
                data[f"{name}_layer{2 * k}_DelayLayer"] if delayed else np.zeros((1, 1)),
            )
            for k in range(2)
        ]
        want = data[f"{name}_test_spikes"]
        found = []
        for solver in ("plain", "added", "solve"):
            t = encoded(points.points)
            for weight, delay in layers:
                delay = delay if delay.shape[1] > 1 else delay.reshape(1, -1, 1)
                late = t[:, :, None] + delay
                if solver == "solve":
                    t = _solved(late, 2.0 * weight)
                else:
                    added = 1e-6 * (solver == "added")
                    t = first_spikes(late, 2.0 * weight, np.ones(weight.shape[1]), 2.0, added=added)
            found.append(t)
        both = np.isfinite(want)
        plain, more, solved = (np.abs(np.where(both, t, 0.0) - np.where(both, want, 0.0)) for t in found)
        labels = np.asarray(data[f"{name}_test_label"])
        rights = [np.mean(t.argmin(axis=1) == labels) for t in (want, found[2])]
        print(
            f"{name:8} {len(want):7} {plain.max():12.1e} {more.max():10.1e} {np.median(solved):15.1e} "
            f"{solved.max():8.1e}  {rights[0]:.3f} {rights[1]:.3f}"
        )


def _solved(arrivals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return first spikes of a layer by the solver; arrivals (n_samples, n_pre, 1 or n_post), in tau."""
    times = np.broadcast_to(arrivals, (len(arrivals), *weights.shape))
    found = np.empty((len(times), weights.shape[1]))
    for p in range(weights.shape[1]):
        net = es.Network()
        net.add_input("in", len(weights))
        net.add_population("out", 1, es.LIF(2.0 * TAU, TAU, t_ref=1.0))
        net.connect("in", "out", weights[None, :, p])
        trains = es.SpikeTrains.from_dense(times[:, :, p] * TAU)
        found[:, p] = es.solve(net, {"in": trains}, 60 * TAU).spikes["out"].first()[:, 0] / TAU
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--published", metavar="FILE", default=None, help="NumPy archive of published networks"
    )
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    speed(arguments.repeat)
    if arguments.published:
        published(arguments.published)


if __name__ == "__main__":
    main()
