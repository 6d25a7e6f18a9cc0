"""Loihi 2 beside the exact network: which rounding matters, at which time step, and how long a run takes.

python benchmarks/loihi2.py. On Yin-Yang, 5-200-3, 32 samples as published (``tests/data/yinyang_reference.npz``),
inputs rounded up: the mean shift of hidden spikes as causes are added to the grid one at a time, and their Shapley
values; 8-bit weights alone in continuous time beside what first order predicts of them, and beside certified radii;
CPU milliseconds of a sample of the size of spoken digits.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import eventsolve as es
from validation.attribution.shapley import changes, estimated, order_pairs, path
from validation.loihi2 import Loihi2
from validation.loihi2.causes import ALL
from validation.loihi2.quantities import response
from validation.loihi2.separation import separate, shifts
from validation.tasks.yin_yang.task import SETUPS, network

DATA = Path(__file__).parents[1] / "tests" / "data" / "yinyang_reference.npz"
BASE = ("grid", "input_rounding")
RUNGS = {
    "8-bit weights": ("weight_rounding", "weight_clipping"),
    "12-bit decays": ("decays",),
    "integer states": ("truncation",),
    "integer vth": ("threshold",),
    "all": tuple(name for name in ALL if name not in BASE),
}


def published() -> es.Problem:
    """Return the 32 published samples."""
    data = np.load(DATA)
    net = network(SETUPS["5-200-3"], 42)
    net = net.with_weights({("in", "hidden"): data["W1"].T, ("hidden", "out"): data["W2"].T})
    return es.Problem(net, {"in": es.SpikeTrains.from_dense(data["in_times_ms"][:, :, None] * 1e-3)}, 60e-3)


def mean_shift(problem: es.Problem, target: Loihi2, on: frozenset[str]) -> float:
    """Return by how many ms hidden spikes come late on average, of neurons with the right number of them."""
    late, _ = shifts(problem.solution.spikes["hidden"], target.with_causes(on).run(problem).spikes["hidden"])
    return 1e3 * float(late.mean())


def ladder(problem: es.Problem, steps: list[float]) -> None:
    """Print the mean shift for the grid, and with each rung added to it."""
    print(
        f"{'dt':>7} {'grid alone':>11} " + " ".join(f"{'+ ' + name:>16}" for name in RUNGS) + "   same counts"
    )
    for dt in steps:
        target = Loihi2(dt * 1e-3, input_rounding="up", traces=False)
        row = [mean_shift(problem, target, frozenset(BASE))]
        row += [mean_shift(problem, target, frozenset((*BASE, *rung))) for rung in RUNGS.values()]
        exact = problem.solution.spikes["hidden"]
        _, same = shifts(exact, target.run(problem).spikes["hidden"])
        print(f"{dt:4g} ms {row[0]:+11.3f} " + " ".join(f"{x:+16.3f}" for x in row[1:]) + f"   {same:.1%}")


def shapley(problem: es.Problem, steps: list[float], pairs: int) -> None:
    """Print the Shapley value of each cause in the mean shift, with its standard error."""
    for dt in steps:
        target = Loihi2(dt * 1e-3, input_rounding="up", traces=False)
        players, worth = tuple(target.causes()), {}
        orders, found = order_pairs(players, 0), []
        for _ in range(pairs):
            both = next(orders)
            for order in both:
                for on in path(order):
                    if on not in worth:
                        worth[on] = np.array([mean_shift(problem, target, on)])
            found.append(sum(changes(order, players, worth) for order in both) / 2)
        result = estimated(found)
        whole = worth[frozenset(players)][0]
        print(f"{dt:g} ms, {whole:+.3f} ms in all, {len(worth)} sets of causes run")
        for name, value, error in zip(
            players, result.values[:, 0], result.standard_errors[:, 0], strict=True
        ):
            print(f"  {name:16} {value:+.3f} +- {error:.3f}")


def weights_alone(problem: es.Problem) -> None:
    """Print what 8-bit weights do in continuous time, what first order predicts, and how far proofs reach."""
    weights = ("weight_rounding", "weight_clipping")
    print(separate(problem, Loihi2(1e-3), "hidden", weights))
    print("of first spikes: ", separate(problem, Loihi2(1e-3), "out", weights, first=True))
    radius = es.trust_radius(problem.solution)
    quanta = Loihi2(1e-3).export(problem.network).quanta
    k = float(response(1e-3, np.array(20e-3), np.array(5e-3)))
    hidden, out = (quanta[name] / k / 2 for name in ("hidden", "out"))
    print(
        f"the order of events is proven to stay while weights move by {np.median(radius.certified):.2g} (median of "
        f"samples); half a quantum is {hidden:.2g} of weights to hidden, {out:.2g} of those to out"
    )


def digits_size(n_hidden: int, spikes: float, delays: bool) -> tuple[es.Problem, Loihi2]:
    """Return a random network of the size of spoken digits, and a target; ``spikes`` a channel."""
    rng = np.random.default_rng(1)
    net = es.Network()
    net.add_input("in", 700)
    net.add_population("hidden", n_hidden, es.LIF(20e-3, 5e-3))
    net.add_population("out", 20, es.LI(20e-3, 5e-3))
    late = {"delay": rng.integers(0, 62, (n_hidden, 700)) * 1e-3} if delays else {}
    net.connect("in", "hidden", rng.normal(0.012, 0.05, (n_hidden, 700)), **late)
    net.connect("hidden", "hidden", rng.normal(-0.003, 0.01, (n_hidden, n_hidden)))
    net.connect("hidden", "out", rng.normal(0.0, 0.03, (20, n_hidden)))
    counts = rng.poisson(spikes, 700)
    trains = es.SpikeTrains.from_lists([[np.sort(rng.uniform(0, 0.99, n)).tolist() for n in counts]])
    return es.Problem(net, {"in": trains}, 1.0), Loihi2(1e-3, traces=False, threads=1)


def speed(repeat: int) -> None:
    """Print CPU milliseconds of a sample of the size of spoken digits."""
    for n_hidden in (256, 1024):
        for delays in (False, True):
            problem, target = digits_size(n_hidden, 15.0, delays)
            record = target.run(problem)
            whole = []
            for _ in range(repeat):
                start = time.process_time()
                target.run(problem)
                whole.append(time.process_time() - start)
            batch = es.Problem(
                problem.network,
                {"in": es.SpikeTrains.from_lists(problem.inputs["in"].to_lists() * 8)},
                problem.t_end,
            )
            start = time.process_time()
            target.run(batch)
            further = (time.process_time() - start - min(whole)) / 7
            size = f"700-{n_hidden}-20, recurrent{', with delays' if delays else ''}"
            sent, fired = record.trains["in"].n_spikes, record.spikes["hidden"].n_spikes
            print(
                f"{size}: {sent} input and {fired} hidden spikes in 1001 steps; {1e3 * min(whole):.0f} ms for one "
                f"sample, {1e3 * further:.0f} ms for each further one"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=float, nargs="+", default=[1.0, 0.5, 0.1], help="ms")
    parser.add_argument(
        "--pairs", type=int, default=16, help="of orders of causes, for Shapley values; 0 for none"
    )
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    problem = published()
    ladder(problem, arguments.steps)
    if arguments.pairs:
        shapley(problem, arguments.steps, arguments.pairs)
    weights_alone(problem)
    speed(arguments.repeat)


if __name__ == "__main__":
    sys.exit(main())
