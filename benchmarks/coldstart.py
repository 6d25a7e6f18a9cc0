"""What compiling the kernels takes: python benchmarks/coldstart.py.

Each verb is used for the first time, with an empty cache of kernels, in seconds of processor time; below, where the
compiler spends it. numba infers the types of a kernel's variables, turns it into LLVM's language ("lowering"), and
LLVM optimises that and makes it machine code; a kernel that others call is optimised and made machine code in them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter

from numba.core import codegen, event

LISTENED = "numba:compile", "numba:run_pass"
LLVM = {
    "_optimize_functions": "LLVM, one function",
    "_optimize_final_module": "LLVM, all functions",
    "_finalize_final_module": "machine code",
}
STAGES = {"nopython_type_inference": "type inference", "native_lowering": "lowering"}


class Stages(event.Listener):
    """Processor time by the innermost stage of the compiler that is at work."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.compiled = 0
        self._open: list[str] = []
        self._last = time.process_time()

    def begin(self, name: str) -> None:
        """Enter a stage, within the present one."""
        self._account()
        self._open.append(name)

    def end(self) -> None:
        """Return to the stage around the present one."""
        self._account()
        self._open.pop()

    def _account(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._last
        self._last = now

    def on_start(self, event) -> None:
        """Hear that numba compiles a function, or begins a pass over it."""
        if event.kind == "numba:compile":
            self.compiled += 1
            self.begin("other passes")
        else:
            self.begin(STAGES.get(event.data["name"].split(" [")[0], "other passes"))

    def on_end(self, event) -> None:
        """Hear that it has ended."""
        self.end()

    def listen(self) -> None:
        """Hear of every stage from now on."""
        for kind in LISTENED:
            event.register(kind, self)
        for method, name in LLVM.items():
            self._time(codegen.CPUCodeLibrary, method, name)

    def _time(self, library: type, method: str, name: str) -> None:
        untimed = getattr(library, method)

        def timed(*arguments):
            self.begin(name)
            try:
                return untimed(*arguments)
            finally:
                self.end()

        setattr(library, method, timed)


def verbs() -> None:
    """Use every verb once, and print what it takes."""
    stages, last = Stages(), 0.0

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        print(f"{name:24} {now - last:6.1f}", flush=True)
        last = now

    import numpy as np

    import eventsolve as es

    lap("import")
    stages.listen()
    rng = np.random.default_rng(0)
    layered, recurrent = es.Network(), es.Network()
    for network in (layered, recurrent):
        network.add_input("in", 5)
        network.add_population("hidden", 20, es.LIF(20e-3, 5e-3))
        network.connect("in", "hidden", rng.normal(2, 1, (20, 5)))
    layered.add_population("out", 3, es.LIF(20e-3, 5e-3))
    layered.connect("hidden", "out", rng.normal(1, 0.5, (3, 20)))
    recurrent.connect("hidden", "hidden", rng.normal(0.1, 0.5, (20, 20)), delay=1e-3)
    inputs = {"in": es.SpikeTrains.from_dense(rng.uniform(0, 20e-3, (8, 5, 1)))}
    loss = es.losses.TTFSCrossEntropy("out", [0] * 8, tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3)
    solution = es.solve(layered, inputs, 60e-3)
    lap("solve")
    es.value_and_grad(solution, loss)
    lap("gradient")
    looped = es.solve(recurrent, inputs, 60e-3)
    lap("recurrent")
    es.vjp(looped, {"hidden": np.ones(looped.spikes["hidden"].n_spikes)})
    lap("its gradient")
    es.margins(solution)
    lap("margins")
    print(f"{'all, in seconds':24} {time.process_time():6.1f}\n")
    if not stages.compiled:
        raise SystemExit("nothing was compiled: is NUMBA_DISABLE_JIT set?")
    print(f"{stages.compiled} functions compiled; of the seconds")
    for name, seconds in stages.seconds.most_common():
        print(f"{name:24} {seconds:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--here", action="store_true", help="with the kernels that are kept, in this process")
    if parser.parse_args().here:
        verbs()
        return
    with tempfile.TemporaryDirectory() as kernels:
        command = [sys.executable, __file__, "--here"]
        subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": kernels}, check=True)


if __name__ == "__main__":
    main()
