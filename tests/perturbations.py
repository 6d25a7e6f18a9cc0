"""Random perturbations inside certified trust radii, and outside at the named place: ``python -m tests.perturbations``.

Networks of the tests, feed-forward ones and loops with delta synapses and resets by subtraction, have weights, delays,
input times or other parameters moved within their certified radius, in the interior of the box and to its corners: none
may change the order of events. Beyond the first-order estimate, along the signs of the derivatives of the named
distance (by central differences), the order changes; counted is how far beyond.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent / "shared"))

from loops import Loop, solved
from moving import NAMES, moved, orders, worst_direction
from networks import random_case

import eventsolve as es

PER_RADIUS = 40
FACTORS = (1.01, 1.1, 1.5, 2.0, 3.0)


def problems(seed: int):
    """Yield solutions of one sample, for ever."""
    while True:
        yield random_case(seed, n_samples=1).solve()
        loop = solved(Loop(seed, n=2, t_end=20e-3))
        if loop is not None:
            yield loop
        seed += 1


def inside(solution: es.Solution, name: str, rng: np.random.Generator) -> tuple[int, int]:
    """Return how many perturbations inside were tried, and how many of them changed the order."""
    radius = es.trust_radius(solution, name)
    if not (radius.certified > 0).all():
        return 0, 0
    before, changed = orders(solution), 0
    for k in range(PER_RADIUS):
        steps = {
            key: radius.certified.min()
            * (rng.choice([-1.0, 1.0], x.size) if k % 2 else rng.uniform(-1.0, 1.0, x.size))
            for key, x in radius.of[name].items()
        }
        changed += orders(moved(solution, {name: steps})) != before
    return PER_RADIUS, changed


def outside(solution: es.Solution) -> float | None:
    """Return the multiple of the estimate at which the order changes along the worst direction, inf if none."""
    estimate = es.trust_radius(solution, certify=False)
    limit = estimate.limits[0]
    if limit is None:
        return None
    direction = worst_direction(solution, limit)
    for factor in FACTORS:
        steps = {key: factor * estimate.radius[0] * d for key, d in direction.items()}
        if orders(moved(solution, {"weight": steps})) != orders(solution):
            return factor
    return np.inf


def main() -> int:
    """Run, and return 1 if a perturbation inside changes the order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perturbations", type=int, default=2200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    tried = changed = radii = 0
    factors = []
    source = problems(arguments.seed)
    for k in track(range(arguments.perturbations // PER_RADIUS), "certifying and perturbing"):
        solution = next(source)
        n, wrong = inside(solution, NAMES[k % len(NAMES)], rng)
        tried, changed, radii = tried + n, changed + wrong, radii + (n > 0)
        factor = outside(solution)
        factors += [] if factor is None else [factor]
    print(f"inside {radii} certified radii: {tried} perturbations, {changed} changed the order of events")
    at = ", ".join(f"{sum(f <= x for f in factors)} by {x:g}" for x in FACTORS)
    print(f"outside, along the worst direction: of {len(factors)} orders changed at times the estimate: {at}")
    return int(changed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
