"""Time an epoch of Yin-Yang on the chip, 5-120-3 in 27 steps, batched and packet by packet: python benchmarks/chip.py.

An epoch is forward, backward and optimizer step for 5000 samples in batches of 22. The first call is reported apart.
"""

import argparse
import time

import numpy as np

import eventsolve as es
from eventsolve.io.datasets import encode_steps, yin_yang
from validation.spinnaker2 import Adam, Chip, SpiNNaker2Core
from validation.tasks.yin_yang.task import SETUPS, network


def batches(n_samples: int, size: int):
    data = yin_yang(n_samples, seed=42)
    trains = encode_steps(data.points)
    for low in range(0, n_samples, size):
        chosen = np.arange(low, min(low + size, n_samples))
        setup = SETUPS["5-120-3"]
        loss = es.losses.TTFSCrossEntropy(
            "out",
            data.labels[chosen],
            tau0=setup.tau0,
            tau1=setup.tau1,
            alpha=setup.alpha,
            silent=setup.silent,
        )
        yield {"in": trains.select(chosen)}, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=22)
    arguments = parser.parse_args()
    work = list(batches(arguments.samples, arguments.batch))
    print(
        f"{'arithmetic':>10} {'threads':>7} {'first call':>10} {'epoch':>8} {'packet by packet':>16}  seconds"
    )
    for arithmetic in ("s16.15", "float32"):
        core = SpiNNaker2Core(1e-3, arithmetic, traces=False)
        chip = Chip(network(SETUPS["5-120-3"], seed=42), core, 27e-3, Adam(1.9e-3, weight_decay=6.5e-7))
        start = time.perf_counter()
        chip.step(chip.initial, *work[0])
        compiled = time.perf_counter() - start
        for threads in (1, None):
            state, start = chip.initial, time.perf_counter()
            for inputs, loss in work:
                state, _ = chip.step(state, inputs, loss, threads=threads)
            epoch = time.perf_counter() - start
            packets = ""
            if threads is None:
                start = time.perf_counter()
                for inputs, loss in work:
                    core.run_packet_by_packet(es.Problem(chip.network, inputs, 27e-3, loss))
                packets = f"{time.perf_counter() - start:.2f}"
            print(f"{arithmetic:>10} {threads or 'all':>7} {compiled:10.2f} {epoch:8.2f} {packets:>16}")


if __name__ == "__main__":
    main()
