"""Time margins, trust radii and conditions beside a solution of Yin-Yang, 5-200-3: python benchmarks/margins.py.

Each is called once before, to compile; medians over the repetitions, one thread. Certified radii are of few samples.
The last row is a slider of the explorer that is moved and its picture, of 100 recurrent neurons: 50 ms are the aim.
"""

import argparse
import itertools
import statistics
import time

import numpy as np
from yinyang import problem

import eventsolve as es
from eventsolve.plot.explorer import Explorer


def median(call, repeat: int) -> float:
    call()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def explorer() -> Explorer:
    rng = np.random.default_rng(0)
    net = es.Network()
    net.add_input("in", 20)
    net.add_population("a", 100, es.LIF(20e-3, 5e-3, t_ref=1e-3))
    net.connect("in", "a", rng.normal(1.2, 0.8, (100, 20)))
    net.connect("a", "a", rng.normal(-0.1, 0.5, (100, 100)) * (rng.random((100, 100)) < 0.1), delay=1.5e-3)
    trains = es.SpikeTrains.from_lists([[np.sort(rng.uniform(0, 50e-3, 3)) for _ in range(20)]])
    return es.explore(net, {"in": trains}, 50e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--certified", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    net, inputs, _ = problem(arguments.batch, 20e-3)
    solution = es.solve(net, inputs, 60e-3)
    calls = {
        "solve": lambda: es.solve(net, inputs, 60e-3, threads=1),
        "margins": lambda: es.margins(solution, threads=1),
        "margins, 8 nearest of each": lambda: es.margins(solution, nearest=8, threads=1),
        "gradient_condition": lambda: es.gradient_condition(solution, threads=1),
        "trust_radius(certify=False), weight": lambda: es.trust_radius(
            solution, "weight", threads=1, certify=False
        ),
        "trust_radius(certify=False), spike_times": lambda: es.trust_radius(
            solution, "spike_times", threads=1, certify=False
        ),
    }
    for name, call in calls.items():
        print(f"{name:30} {median(call, arguments.repeat) / arguments.batch * 1e6:10.0f} us per sample")
    net, inputs, _ = problem(arguments.certified, 20e-3)
    few = es.solve(net, inputs, 60e-3)
    seconds = median(lambda: es.trust_radius(few, "weight"), 1) / arguments.certified
    print(f"{'trust_radius, weight':30} {seconds * 1e6:10.0f} us per sample")
    explored, places = explorer(), itertools.count()

    def moved() -> None:
        explored.move(**{"weight in → a": 0.02 + 0.01 * (next(places) % 10)})
        explored.picture()

    print(f"{'explorer, moved and drawn':30} {median(moved, 4 * arguments.repeat) * 1e3:10.0f} ms")


if __name__ == "__main__":
    main()
