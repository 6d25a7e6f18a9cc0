"""Random updates by the circuit of spiking backpropagation against its closed form: ``python -m tests.circuits``.

Every network is a function of (seed, index): sizes up to ``--largest``, weights small, large or at their limits, both
orders of reading, both limits. All eight matrices are compared after every update, to the last bit, and the output
spikes of every trial. A network with an ungated spike, of a neuron that nothing lifted, is counted apart: there, the
circuit may do something else, and nothing is asked of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy as np

from tests.shared.learning import LARGEST, lesson
from validation.sbp import circuit, reference
from validation.sbp.wiring import LEARNING

SAMPLES = 20
"""Of a network, learned one after the other."""
LIFTED = {
    1: "x",
    2: "h h_lo h_hi",
    3: "o o_lo o_hi t m_h",
    4: "dp dm",
    6: "hT m_x c_h",
    10: "hT",
    8: "",
    0: "",
}
LIFTED |= dict.fromkeys((5, 9), "h hT o o_lo o_hi oTm") | dict.fromkeys((7, 11), "x h h_lo h_hi")


def ungated(spikes) -> int:
    """Count the spikes of neurons that are not lifted in their phase."""
    return sum(
        int(values[:, phase].sum())
        for name, values in spikes.items()
        for phase, lifted in LIFTED.items()
        if name not in (*lifted.split(), *LEARNING.gates)
    )


def compared(seed: int, index: int, largest: int, found: Counter[str]) -> str:
    """Compare the updates of a network, count what happens, and return a complaint or nothing."""
    rule, weights, x, t = lesson([seed, index], SAMPLES, largest)
    trials = circuit.learned(weights, x, t, rule)
    if ungated(trials.spikes):
        found["updates of networks with ungated spikes"] += len(x)
        return ""
    found["updates"] += len(x)
    copies = None
    for n in range(len(x)):
        one = reference.learned(weights, x[n : n + 1], t[n : n + 1], rule, copies=copies)
        known = {"w1": one.weights.w1, "w2": one.weights.w2, "plus": one.plus, "minus": one.minus}
        found["updates that change W1"] += bool((one.weights.w1 != weights.w1).any())
        found["updates that change W2"] += bool((one.weights.w2 != weights.w2).any())
        found["updates with copies apart"] += bool((one.plus != -one.minus).any())
        found["updates with a weight at a limit"] += bool((np.abs(one.weights.w2) >= 254).any())
        for p in LEARNING.plastic:
            if not np.array_equal(trials.weights[p.name][n], known[p.holds]):
                return f"network {index}, update {n}: {p.name} differs"
            found["weights compared"] += known[p.holds].size
        if not np.array_equal(trials.spikes["o"][n, 3], one.z2[0] > 512):
            return f"network {index}, update {n}: an output differs"
        weights, copies = one.weights, (one.plus, one.minus)
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--largest", type=int, default=LARGEST, help="Neurons of a layer.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    found: Counter[str] = Counter()
    start, index = time.perf_counter(), 0
    while found["updates"] < options.updates:
        complaint = compared(options.seed, index, options.largest, found)
        if complaint:
            print(complaint)
            return 1
        index += 1
    for name, count in found.items():
        print(f"{count:12d} {name}")
    print(f"{index:12d} networks, none differs in a bit; {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
