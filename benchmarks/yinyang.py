"""Time forward and gradient on Yin-Yang, 5-200-3, as other solvers were measured: python benchmarks/yinyang.py.

The first call in a process that has never compiled is reported apart. Medians over the repetitions, one thread and all;
to t_end, and to the outputs' first spikes, which is all that the loss reads.
"""

import argparse
import statistics
import time

import eventsolve as es
from eventsolve.io.datasets import encode_latency, normal_weights, yin_yang


def problem(n_samples: int, tau_mem: float):
    data = yin_yang(n_samples, seed=42)
    net = es.Network()
    net.add_input("in", 5)
    neuron = es.LIF(tau_mem=tau_mem, tau_syn=5e-3)
    net.add_population("hidden", 200, neuron)
    net.add_population("out", 3, neuron)
    first, second = normal_weights((5, 200, 3), ((1.5, 0.78), (0.93, 0.1)), seed=42)
    net.connect("in", "hidden", first)
    net.connect("hidden", "out", second)
    loss = es.losses.TTFSCrossEntropy("out", data.labels, tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3, silent="skip")
    return net, {"in": encode_latency(data.points)}, loss


def to_the_end(net, inputs, threads):
    return es.solve(net, inputs, 60e-3, threads=threads)


def to_first_spikes(net, inputs, threads):
    return es.solve_first_spikes(net, inputs, 60e-3, "out", threads=threads)


def measure(solve, net, inputs, loss, threads):
    start = time.perf_counter()
    solution = solve(net, inputs, threads)
    middle = time.perf_counter()
    es.value_and_grad(solution, loss, threads=threads)
    spikes = solution.spikes["hidden"].n_spikes + solution.spikes["out"].n_spikes
    return middle - start, time.perf_counter() - middle, spikes / solution.n_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    start = time.perf_counter()
    measure(to_the_end, *problem(2, 20e-3), 1)
    print(f"first call, compiling or loading the cache: {time.perf_counter() - start:.2f} s")
    print(
        f"{'tau_mem':>8} {'solved to':>12} {'batch':>6} {'threads':>7} {'spikes':>7} "
        f"{'forward':>9} {'gradient':>9} {'both':>9}  us per sample"
    )
    for tau_mem in (20e-3, 10e-3):
        for batch in (1, 1024):
            net, inputs, loss = problem(batch, tau_mem)
            for to, solve in (("t_end", to_the_end), ("first spikes", to_first_spikes)):
                for threads in (1, None) if batch > 1 else (1,):
                    measure(solve, net, inputs, loss, threads)
                    runs = [measure(solve, net, inputs, loss, threads) for _ in range(arguments.repeat)]
                    forward, gradient = (
                        statistics.median(run[k] for run in runs) * 1e6 / batch for k in (0, 1)
                    )
                    both = statistics.median(run[0] + run[1] for run in runs) * 1e6 / batch
                    print(
                        f"{tau_mem * 1e3:5.0f} ms {to:>12} {batch:6d} {threads or 'all':>7} {runs[0][2]:7.1f} "
                        f"{forward:9.1f} {gradient:9.1f} {both:9.1f}"
                    )


if __name__ == "__main__":
    main()
