"""A published exact solver loses spikes, which a certificate proves: ``python -m tests.lost_spikes``.

The C++ code published with Wunderlich & Pehle (2021) keeps, for every neuron, s0 = sum w exp(t/tau_syn) and s1 = sum w
exp(t/tau_mem) over arrivals. With k = tau_syn/(tau_mem - tau_syn) and r = sum exp(t_k/tau_mem) over its own spikes::

    V(t) = k (s1 exp(-t/tau_mem) - s0 exp(-t/tau_syn)) - v_threshold r exp(-t/tau_mem)

and looks for a crossing up to the peak of V, if that comes before the next arrival, else up to the arrival. The peak is
where exp(t (1/tau_syn - 1/tau_mem)) = (tau_mem/tau_syn) s0 / (s1 - v_threshold r / k); the published code leaves out
the division by k, which is 1 only if tau_mem = 2 tau_syn. After a spike it looks at a wrong place, and may find V
below the threshold there.

Here is that rule, restated in a few lines, on Yin-Yang at tau_mem = 4 tau_syn.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from scipy.optimize import brentq

import eventsolve as es
from eventsolve.io.datasets import encode_latency, normal_weights, yin_yang

TAU_MEM, TAU_SYN, T_END = 20e-3, 5e-3, 60e-3
RATIO = TAU_SYN / (TAU_MEM - TAU_SYN)


def spikes_of_neuron(arrivals: list[tuple[float, float]], divisor: float) -> list[float]:
    """Return the spike times of a neuron, given (time, weight) of what arrives; the divisor should be RATIO."""
    s0 = s1 = r = now = 0.0
    spikes = []
    for time, weight in [*sorted(arrivals), (T_END, 0.0)]:
        while True:

            def excess(t: float, s0: float = s0, s1: float = s1, r: float = r) -> float:
                u = RATIO * (s1 * math.exp(-t / TAU_MEM) - s0 * math.exp(-t / TAU_SYN))
                return u - r * math.exp(-t / TAU_MEM) - 1.0

            base = s1 - r / divisor
            ratio = TAU_MEM / TAU_SYN * s0 / base if base else 0.0
            peak = math.log(ratio) / (1 / TAU_SYN - 1 / TAU_MEM) if ratio > 0 else math.inf
            last = peak if now < peak < time else time
            if excess(last) <= 0.0:
                break
            now = brentq(excess, now, last, xtol=1e-18, rtol=1e-15)
            spikes.append(now)
            r += math.exp(now / TAU_MEM)
        s0 += weight * math.exp(time / TAU_SYN)
        s1 += weight * math.exp(time / TAU_MEM)
        now = time
    return spikes


def layer(weight: np.ndarray, trains: list[list[float]], divisor: float) -> list[list[float]]:
    """Return the spike times of every neuron of a layer."""
    return [
        spikes_of_neuron(
            [(t, float(w)) for w, train in zip(row, trains, strict=True) for t in train], divisor
        )
        for row in weight
    ]


def solution_of(n_samples: int) -> es.Solution:
    """Return Yin-Yang samples, solved."""
    first, second = normal_weights((5, 200, 3), ((1.5, 0.78), (0.93, 0.1)), seed=42)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 200, es.LIF(TAU_MEM, TAU_SYN))
    net.add_population("out", 3, es.LIF(TAU_MEM, TAU_SYN))
    net.connect("in", "hidden", first)
    net.connect("hidden", "out", second)
    return es.solve(net, {"in": encode_latency(yin_yang(n_samples, seed=42).points)}, T_END)


def claim_of(solution: es.Solution, divisor: float) -> dict[str, es.SpikeTrains]:
    """Return the spikes by the published rule with that divisor, 1 as published and RATIO as it should be."""
    weights = {p.key[1]: p.weight for p in solution.network.projections.values()}
    lists: dict[str, list[list[list[float]]]] = {"hidden": [], "out": []}
    for sample in solution.spikes["in"].to_lists():
        hidden = layer(weights["hidden"], sample, divisor)
        lists["hidden"].append(hidden)
        lists["out"].append(layer(weights["out"], hidden, divisor))
    return {name: es.SpikeTrains.from_lists(trains) for name, trains in lists.items()}


def main() -> int:
    """Certify what the published rule misses."""
    parser = argparse.ArgumentParser(prog="python -m tests.lost_spikes", description=__doc__)
    parser.add_argument("--samples", type=int, default=8)
    solution = solution_of(parser.parse_args().samples)
    right = es.certify(solution)
    print(f"eventsolve: {right}")
    for name, divisor in (("as published", 1.0), ("with the division", RATIO)):
        claim = claim_of(solution, divisor)
        certificate = es.certify(solution, spikes=claim)
        lost = sum(solution.spikes[n].n_spikes - claim[n].n_spikes for n in claim)
        print(f"the rule {name}: {lost} spikes fewer; {certificate}")
    return 0 if right.proven else 1


if __name__ == "__main__":
    sys.exit(main())
