"""The time of a learning sample of spiking backpropagation: python benchmarks/sbp.py.

400-400-10 as published, on inputs as dense as handwritten digits. CPU time of a sample by the circuit of twelve steps,
by its closed form, by exact backpropagation, and of an answer; each also as a multiple of a loop in numpy that does
no more than the sums and updates of the closed form.
"""

import argparse
import time

import numpy as np

from validation.sbp import circuit, reference
from validation.sbp.rule import EXACT
from validation.sbp.weights import initial

SIZES = (400, 400, 10)
DENSITY = 0.25
"""Of ones in an input: pixels above 0.5 of handwritten digits, cropped to 20 x 20."""


def plain(weights, x, t) -> None:
    """Learn samples with numpy."""
    w1, w2 = (w.astype(np.int64) for w in weights)
    for n in range(len(x)):
        z1 = w1[x[n]].sum(0)
        h = z1 > 512
        z2 = w2[h].sum(0)
        d2 = (t[n].astype(np.int64) - (z2 > 512)) * ((z2 > 0) & (z2 <= 1024))
        if d2.any():
            d1 = np.sign(w2 @ d2) * ((z1 > 0) & (z1 <= 1024))
            w2[h] = np.clip(w2[h] + 2 * d2, -256, 254)
            w1[x[n]] = np.clip(w1[x[n]] + 2 * d1, -256, 254)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    x = random.random((options.samples, SIZES[0])) < DENSITY
    t = random.random((options.samples, SIZES[2])) < 0.5  # at random, so that nearly all change weights
    weights = initial(SIZES, 0)
    work = {
        "numpy loop": lambda n: plain(weights, x[:n], t[:n]),
        "circuit, 12 steps": lambda n: circuit.learned(weights, x[:n], t[:n], record=False),
        "closed form": lambda n: reference.learned(weights, x[:n], t[:n]),
        "exact backpropagation": lambda n: reference.learned(weights, x[:n], t[:n], EXACT),
        "answer, closed form": lambda n: reference.outputs(weights, x[:n]),
        "answer, 4 steps": lambda n: circuit.answered(weights, x[:n]),
    }
    learning = reference.learned(weights, x, t).counts[:, 2:4].any(1).mean()
    print(
        f"{'-'.join(map(str, SIZES))}, {options.samples} samples, {100 * learning:.0f} % of which change weights"
    )
    base = 0.0
    for name, run in work.items():
        start = time.process_time()
        run(1)
        first = time.process_time() - start
        best = np.inf
        for _ in range(options.repeat):
            start = time.process_time()
            run(options.samples)
            best = min(best, (time.process_time() - start) / options.samples)
        base = base or best
        print(
            f"{name:22} {1e3 * best:8.4f} ms a sample, {best / base:6.2f} x numpy; first call {first:.2f} s"
        )


if __name__ == "__main__":
    main()
