"""From an exact training to Loihi 2, end to end: python benchmarks/loihi2_pipeline.py digits, or keywords.

A network is trained exactly, exported and run at fewer and fewer bits: test accuracy before and after, what each group
of roundings takes away from it by Shapley value, and what fine-tuning with the integers in the loop wins back, with a
gradient along the spikes that they made, and straight through. Means over seeds, and standard deviations; operations
are counted.

digits: 64-100-10 LIF neurons, 1,200 samples to train on, 500 to test, 15 epochs. keywords: 700-64-20 with a readout,
150 utterances each, as the row words-exponential of the table of trainings, whose checkpoints are gone on from.
keywords-genn: the same trained on GeNN at 1 ms and exported as mlGeNN does.
"""

import argparse
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import eventsolve as es
from validation.genn import GeNN
from validation.loihi2 import Loihi2
from validation.oracle import Exact
from validation.registry import task
from validation.tasks.keywords import words
from validation.training import Adam, InTheLoop, trained
from validation.training.descent import accuracy, tested

GROUPS = {
    "grid": ("grid", "input_rounding"),
    "weights": ("kernel", "weight_rounding", "weight_clipping"),
    "decays": ("decays",),
    "states": ("truncation", "limits", "threshold", "delays"),
}
WAYS = {"along spikes": "measured", "straight through": "straight_through"}


def last(problem: es.Problem, target, rate: float, epochs: int, batch: int, seed: int) -> es.Network:
    """Return the network that a training ends with."""
    for epoch in trained(problem, target, Adam(rate), epochs=epochs, batch_size=batch, seed=seed):
        network = epoch.network
    return network


def digits(seed: int, folder: Path) -> tuple[es.Problem, es.Problem, es.Network]:
    """Return training and test samples, and a trained network."""
    problem = task("digits").problem(n_samples=1700, seed=seed)
    training, test = problem.select(range(1200)), problem.select(range(1200, 1700))
    return training, test, last(training, Exact(), 2e-3, 15, 50, seed)


def keywords(
    seed: int, folder: Path, name: str = "words-exponential"
) -> tuple[es.Problem, es.Problem, es.Network]:
    """Return the same of spoken digits, by the row of the table of trainings."""
    (row,) = (row for row in words.ROWS if row.name == name)
    n = row.size.samples
    problem = words.problem_of(row, 2 * n, seed)
    network = words.train(row, seed, folder / f"{row.name}-{seed}").network
    return problem.select(range(n)), problem.select(range(n, 2 * n)), network


TASKS: dict[str, Callable[[int, Path], tuple[es.Problem, es.Problem, es.Network]]] = {
    "digits": digits,
    "keywords": keywords,
    "keywords-genn": functools.partial(keywords, name="words-exponential-genn-1ms"),
}


def shapley(players: Sequence[str], worth: Callable[[frozenset[str]], float]) -> dict[str, float]:
    """Return what each player makes of a worth, averaged over all orders, by all sets of players."""
    n, found = len(players), {}
    for name in players:
        others = [other for other in players if other != name]
        found[name] = sum(
            math.factorial(k)
            * math.factorial(n - k - 1)
            / math.factorial(n)
            * (worth(on | {name}) - worth(on))
            for k in range(n)
            for on in map(frozenset, itertools.combinations(others, k))
        )
    return found


def row(a: argparse.Namespace, seed: int) -> dict[tuple[int, str], float]:
    """Return accuracies of one seed, by bits and what was done."""
    training, test, network = TASKS[a.task](seed, a.runs)
    batch, rate = (50, 5e-4) if a.task == "digits" else (words.SMALL.batch, words.SMALL.rate / 4)

    def score(net: es.Network, target) -> float:
        if isinstance(target, Exact):
            return 100 * tested(test, target, net)[1]
        given = replace(test, network=net)
        decided = target.decisions(given)
        if decided is None:
            return 100 * accuracy(given, target.run(replace(given, loss=None)).spikes)
        return 100 * float(np.mean(decided == test.loss.labels))

    genn = a.task == "keywords-genn"
    base = GeNN(1e-3, traces=False) if genn else Exact()
    players = [name for name in GROUPS if not (genn and name == "grid")]  # which it was trained on
    found, before = {}, score(network, base)
    further = None
    if a.more:
        further = last(replace(training, network=network), base, rate, a.more, batch, seed)
    for n in a.bits:
        chip = Loihi2(a.dt * 1e-3, weight_bits=n)
        if genn:  # as mlGeNN exports
            chip = replace(chip, kernel="mlgenn", percentile=99, input_rounding="up")

        @functools.cache
        def run(on: frozenset[str], chip=chip) -> float:
            return score(network, chip.with_causes([name for group in on for name in GROUPS[group]]))

        def worth(on: frozenset[str], run=run) -> float:
            if genn:
                on = on | {"grid"}
            elif "grid" not in on:
                on = on - {"states"}  # which belong to steps
            return run(on) if on else before

        found[n, "on GeNN" if genn else "exact"] = before
        found[n, "on Loihi 2"] = score(network, chip)
        if genn:
            found[n, "grid alone"] = worth(frozenset())
        found |= {(n, f"by {name}"): value for name, value in shapley(players, worth).items()}
        given = replace(test, network=network)
        found[n, "1000 operations"] = chip.cost(given, chip.run(replace(given, loss=None))).operations / 1e3
        if further is None:
            continue
        found[n, "trained on without"] = score(further, chip)
        for name, way in WAYS.items():
            loop = InTheLoop(chip, way)
            tuned = last(replace(training, network=network), loop, rate, a.more, batch, seed)
            found[n, name] = score(tuned, chip)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", help="(default: 1 2 3, of keywords 42 43 44)")
    parser.add_argument("--more", type=int, default=5, help="epochs of fine-tuning; 0 for none")
    parser.add_argument("--dt", type=float, default=1.0, help="ms")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 4, 3, 2])
    parser.add_argument("--runs", type=Path, default=Path("reports/training"), help="checkpoints of keywords")
    a = parser.parse_args()
    rows = [row(a, s) for s in a.seeds or ([1, 2, 3] if a.task == "digits" else [42, 43, 44])]
    names = list(dict.fromkeys(name for _, name in rows[0]))
    print("| bits | " + " | ".join(names) + " |\n|------|" + "---|" * len(names))
    for n in a.bits:
        cells = []
        for name in names:
            values = [one[n, name] for one in rows]
            text = f"{np.mean(values):{'+' if name.startswith('by') else ''}.1f}"
            cells.append(text + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""))
        print(f"| {n} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
