"""Time certificates of Yin-Yang samples, 5-200-3, one process: python benchmarks/certify.py.

Medians over samples: of the proof that every spike is there, with 15 digits, and of the same with every gradient of the
loss. Then boxes of networks, whose enclosures are compared with what the gradients of spike times make of the radii.
"""

import argparse
import statistics
import time

import numpy as np
from yinyang import problem

import eventsolve as es


def timed(act):
    start = time.perf_counter()
    return act(), time.perf_counter() - start


def alone(net, inputs, labels, sample):
    solution = es.solve(net, {"in": inputs["in"].select([sample])}, 60e-3)
    loss = es.losses.TTFSCrossEntropy(
        "out", labels[[sample]], tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3, silent="skip"
    )
    return solution, loss


def first_order(solution, name, radius):
    """How far the radii move each output spike, to first order."""
    moved = []
    for k in range(solution.spikes["out"].n_spikes):
        grads = es.vjp(solution, {"out": (np.arange(solution.spikes["out"].n_spikes) == k).astype(float)})
        values = getattr(grads, name)
        keys = ["in"] if name == "spike_times" else list(values)
        moved.append(radius * sum(np.abs(values[key]).sum() for key in keys))
    return np.array(moved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20)
    arguments = parser.parse_args()
    net, inputs, loss = problem(arguments.samples, 20e-3)
    rows = []
    for sample in range(arguments.samples):
        solution, loss_of_one = alone(net, inputs, np.asarray(loss.labels), sample)
        proof, seconds = timed(lambda solution=solution: es.certify(solution, digits=15))
        full, seconds_full = timed(
            lambda solution=solution, loss=loss_of_one: es.certify(solution, digits=15, gradients=loss)
        )
        middle, radius = proof.spike_times["out"]
        digits = -np.log10((radius / middle).max(initial=1e-18))
        n = sum(m.size for m, _ in proof.spike_times.values())
        rows.append((seconds, seconds_full, n, proof.proven and full.proven, proof.distance, digits))
    print(
        f"{arguments.samples} samples, {statistics.mean(row[2] for row in rows):.0f} spikes each, "
        f"{sum(row[3] for row in rows)} proven, claimed to within {max(row[4] for row in rows):.0f} ulps"
    )
    print(f"all spikes, median: {statistics.median(row[0] for row in rows) * 1e3:.0f} ms a sample")
    print(f"with all gradients: {statistics.median(row[1] for row in rows) * 1e3:.0f} ms a sample")
    solution, _ = alone(net, inputs, np.asarray(loss.labels), 1)
    for name, radii in (
        ("weight", (1e-8, 1e-6, 1e-5)),
        ("tau_mem", (1e-9, 1e-8)),
        ("spike_times", (1e-9, 1e-7)),
    ):
        for radius in radii:
            box, seconds = timed(lambda name=name, radius=radius: es.certify(solution, radii={name: radius}))
            if not box.proven:
                print(f"box of {name} +/- {radius:g}: {seconds * 1e3:.0f} ms, {box}")
                continue
            ratio = box.spike_times["out"].radii / first_order(solution, name, radius)
            print(
                f"box of {name} +/- {radius:g}: {seconds * 1e3:.0f} ms, proven; output spikes enclosed "
                f"{np.median(ratio):.2f} (median), {ratio.max():.2f} (most) times as wide as to first order"
            )


if __name__ == "__main__":
    main()
