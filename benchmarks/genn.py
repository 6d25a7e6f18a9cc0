"""GeNN's EventProp beside the exact gradient, and its speed beside a plain loop: python benchmarks/genn.py.

Relative errors (Frobenius, both samples) of the networks that GeNN itself was run on, with the factor of each readout,
in float64 and in float32, beside the exact network whose inputs arrive when GeNN lets them arrive. CPU seconds of a
network of the size of spoken keywords, 700-256-20 with recurrence, in float32 at 1 ms, and of one plain loop for it.
"""

import argparse
import sys
import time
from pathlib import Path

import numba
import numpy as np

import eventsolve as es
from validation.genn import GeNN
from validation.oracle import oracle

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from genn_reference import reference

LOSSES = ("avg", "exp", "max", "first", "first_rmse")


def table(steps: list[float]) -> None:
    """Print the errors."""
    print(
        f"{'net':4} {'loss':11} {'projection':12}" + "".join(f"{dt:>10g} ms {'float32':>9}" for dt in steps)
    )
    for net in ("ff", "rec"):
        for loss in LOSSES:
            errors: dict[str, list[float]] = {}
            for dt in steps:
                single = GeNN(dt * 1e-3, traces=False)
                double = GeNN(dt * 1e-3, without="single_precision", traces=False)
                problem = reference(net, loss, dt)
                exact = double.with_causes(["late_inputs"]).run(problem)
                for target in (double, single):
                    found = target.run(problem)
                    for key, want in exact.weight.items():
                        error = np.linalg.norm(found.weight[key] - want) / np.linalg.norm(want)
                        errors.setdefault(f"{key[0]}-{key[1]}", []).append(float(error))
            for name, row in errors.items():
                pairs = zip(row[::2], row[1::2], strict=True)
                print(f"{net:4} {loss:11} {name:12}" + "".join(f"{a:13.2g} {b:9.2g}" for a, b in pairs))


def kink(steps: list[float]) -> None:
    """Print dL/dw of an inhibitory hidden spike that ends the rise of a largest voltage: GeNN converges, not to it."""
    network = es.Network()
    network.add_input("in", 2)
    network.add_population("hid", 2, es.LIF(20e-3, 5e-3))
    network.add_population("out", 2, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", [[12.0, 0.0], [0.0, 8.5]])
    network.connect("hid", "out", [[3.128, -6.0], [1.0, 2.0]])
    trains = es.SpikeTrains.from_lists([[[0.3e-3], [2.8e-3]]])
    problem = es.Problem(network, {"in": trains}, 40e-3, es.losses.MaxVoltageCrossEntropy("out", [1]))
    print(f"MaxVar at a kink: exact {oracle(problem).weight['in', 'hid'][0, 1, 1]:.5f}")
    for dt in steps:
        found = [
            GeNN(dt * 1e-3, without=without, traces=False).run(problem).weight["in", "hid"][0, 1, 1]
            for without in ("", "kinks")
        ]
        print(f"{dt:10g} ms: GeNN {found[0]:.5f}, without the cause kinks {found[1]:.5f}")


def keywords(batch: int) -> es.Problem:
    """Return a network of the size of spoken keywords, with random weights and inputs."""
    rng = np.random.default_rng(1)
    network = es.Network()
    network.add_input("in", 700)
    network.add_population("hid", 256, es.LIF(20e-3, 5e-3))
    network.add_population("out", 20, es.LI(20e-3, 5e-3))
    network.connect("in", "hid", rng.normal(0.03, 0.01, (256, 700)))
    network.connect("hid", "hid", rng.normal(0.0, 0.02, (256, 256)))
    network.connect("hid", "out", rng.normal(0.0, 0.03, (20, 256)))
    steps = np.sort(rng.permuted(np.tile(np.arange(990), (batch, 700, 1)), axis=2)[:, :, :10], axis=2)
    trains = es.SpikeTrains.from_dense((steps - 0.5).clip(0) * 1e-3)
    labels = rng.integers(0, 20, batch)
    return es.Problem(network, {"in": trains}, 1.0, es.losses.MeanVoltageCrossEntropy("out", labels))


@numba.njit(nogil=True)
def plain(w_in, w_rec, w_out, bounds, steps, places, labels, n_steps, constants):  # type: ignore[no-untyped-def]
    """Run the keyword network forward and backward, and nothing else; return the gradients of each sample."""
    alpha, beta, one, s, s1, a, tau_syn, tau_mem, trial = constants
    n_in, n = w_in.shape
    n_out, n_samples = w_out.shape[1], labels.size
    g_in, g_rec = np.zeros((n_samples, n_in, n), np.float32), np.zeros((n_samples, n, n), np.float32)
    g_out = np.zeros((n_samples, n, n_out), np.float32)
    fired_step, fired = np.empty(n_steps * n, np.int32), np.empty(n_steps * n, np.int32)
    slopes = np.empty(n_steps * n, np.float32)
    for b in range(n_samples):
        i_in, i_rec, v = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)
        i_out, u, mean = np.zeros(n_out, np.float32), np.zeros(n_out, np.float32), np.zeros(n_out, np.float32)
        at, count, last_at, last_count = bounds[b], 0, bounds[b], 0
        for step in range(n_steps):
            if step == n_steps - 1:
                i_in[:], i_rec[:], i_out[:] = 0, 0, 0
            for k in range(last_at, at):
                for j in range(n):
                    i_in[j] += w_in[places[k], j]
            for k in range(last_count, count):
                for j in range(n):
                    i_rec[j] += w_rec[fired[k], j]
                for j in range(n_out):
                    i_out[j] += w_out[fired[k], j]
            last_at, last_count = at, count
            while at < bounds[b + 1] and steps[at] == step:
                at += 1
            for j in range(n):
                total = i_in[j] * s + i_rec[j] * s
                i_in[j] *= beta
                i_rec[j] *= beta
                v[j] = alpha * v[j] + one * total
                if v[j] >= np.float32(1):
                    fired[count], fired_step[count] = j, step
                    slopes[count] = total * s1 - v[j]
                    count += 1
                    v[j] = 0
            for j in range(n_out):
                u[j] = alpha * u[j] + one * (i_out[j] * s)
                i_out[j] *= beta
                mean[j] += u[j] / np.float32(n_steps)
        p = np.exp(mean - mean.max())
        p /= p.sum()
        lv, li = np.zeros(n, np.float32), np.zeros(n, np.float32)
        ov, oi, rev = np.zeros(n_out, np.float32), np.zeros(n_out, np.float32), np.zeros(n, np.float32)
        at -= 1
        high = count - 1
        for m in range(n_steps):
            step = n_steps - 1 - m
            while at >= bounds[b] and steps[at] == step:
                for j in range(n):
                    g_in[b, places[at], j] -= li[j] * tau_syn
                at -= 1
            low = high
            while low >= 0 and fired_step[low] == step:
                k = fired[low]
                total = np.float32(0)
                for j in range(n):
                    g_rec[b, k, j] -= li[j] * tau_syn
                    total += w_rec[k, j] * (lv[j] - li[j])
                for j in range(n_out):
                    g_out[b, k, j] -= oi[j] * tau_syn
                    total += w_out[k, j] * (ov[j] - oi[j])
                rev[k] = total
                low -= 1
            for j in range(n):
                li[j] = a * lv[j] * (alpha - beta) + li[j] * beta
                lv[j] *= alpha
            for j in range(n_out):
                d = ((np.float32(1) if j == labels[b] else np.float32(0)) - p[j]) / (tau_mem * trial)
                oi[j] = d + (oi[j] - d) * beta + a * (ov[j] - d) * (alpha - beta)
                ov[j] = d + (ov[j] - d) * alpha
            for k in range(low + 1, high + 1):
                lv[fired[k]] += (lv[fired[k]] + rev[fired[k]]) / slopes[k]
            high = low
    return g_in, g_rec, g_out


def speed(batch: int, repeat: int) -> None:
    """Print how long a batch takes, and the plain loop."""
    problem, target = keywords(batch), GeNN(1e-3, without="last_spike", traces=False, threads=1)
    outcome = target.simulate(problem, traces=False)
    alpha, beta = np.exp(-1 / 20), np.exp(-1 / 5)
    constants = np.array(
        [
            alpha,
            beta,
            np.float32(1) - np.float32(alpha),
            5 * (1 - beta),
            0.2 / (1 - beta),
            20 / 15,
            5,
            20,
            1000,
        ],
        np.float32,
    )
    weights = [p.weight.T.astype(np.float32).copy() for p in problem.network.projections.values()]
    events = outcome.sent.events
    arguments = (events.bounds, events.steps, events.places, outcome.reading.labels, 1000, tuple(constants))
    found = plain(*weights, *arguments)
    for key, values in zip(problem.network.projections, found, strict=True):
        off = np.abs(outcome.gradient(key) - values).max() / np.abs(values).max()
        print(f"{key[0]}-{key[1]}: the two gradients agree to {off:.1e} of the largest")
    times = []
    for work in (
        lambda: target.run(problem),
        lambda: target.simulate(problem, traces=False),
        lambda: plain(*weights, *arguments),
    ):
        start = time.process_time()
        for _ in range(repeat):
            work()
        times.append((time.process_time() - start) / repeat)
    spikes = outcome.fired.steps.size / batch
    print(
        f"700-256-20, {batch} samples of 1000 steps, {spikes:.0f} hidden spikes each; CPU seconds: record "
        f"{times[0]:.2f}, simulation {times[1]:.2f}, plain loop {times[2]:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=float, nargs="+", default=[1.0, 0.1, 0.01], help="ms")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    table(arguments.steps)
    kink(arguments.steps)
    speed(arguments.batch, arguments.repeat)


if __name__ == "__main__":
    main()
