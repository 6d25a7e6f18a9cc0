"""Interrupts at random times in every verb: each comes out as KeyboardInterrupt, and the next call is right.

    python -m tests.interrupts --interrupts 10000 --seed 1

Several hundred interrupts at a time go to a process of their own, so that a crash is seen and costs no more than these.
Of the answers after an interrupt every bit is compared with those before. Prints what was found as JSON, and exits with
1 if a process crashed, an answer was wrong, or an interrupt took too long on its way out: more than a second of the
processor's time, or ten of the clock's, which runs on while a busy machine does other work. What is finished is logged,
and a run that was interrupted goes on from there as long as the sources are what they were.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve import multiprecision
from tests.shared.logs import resumed
from validation.spinnaker2 import SpiNNaker2Core
from validation.spinnaker2.switched import SwitchedCore
from validation.spinnaker2.switches import Switches

SLOW = {"slowest, processor": 1.0, "slowest, clock": 10.0}
"""Seconds that an interrupt may take on its way out: of the process's own time, and of all."""


def network(cyclic: bool) -> es.Network:
    """A network in which every kind of kernel has something to do for milliseconds."""
    rng = np.random.default_rng(5)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("mid", 30, es.LIF(20e-3, 5e-3, v_leak=rng.uniform(0, 0.5, 30)))
    net.add_population("out", 3, es.LIF(20e-3, 5e-3))
    net.add_population("readout", 2, es.LI(20e-3, 5e-3))
    net.connect("in", "mid", rng.normal(1.0, 1.0, (30, 5)), delay=rng.uniform(0, 2e-3, (30, 5)))
    net.connect("mid", "out", rng.normal(0.3, 0.3, (3, 30)))
    net.connect("mid", "readout", rng.normal(0.3, 0.3, (2, 30)))
    if cyclic:
        net.connect("out", "mid", rng.normal(0.0, 0.5, (30, 3)), delay=1e-3)
    return net


def verbs() -> dict[str, Callable[[], Any]]:
    """Every verb by name, as a function of nothing."""
    rng = np.random.default_rng(7)
    inputs = {"in": es.SpikeTrains.from_dense(np.sort(rng.uniform(0, 30e-3, (130, 5, 4)), axis=2))}
    few = {"in": inputs["in"].select([0, 1])}
    single = {"in": es.SpikeTrains.from_dense(rng.uniform(1e-3, 20e-3, (2, 5)))}
    layered, cyclic = network(False), network(True)
    solved, looped = es.solve(layered, few, 40e-3), es.solve(cyclic, few, 40e-3)
    small = es.solve(layered, {"in": inputs["in"].select([0])}, 6e-3)
    loss = es.losses.TTFSCrossEntropy("out", [0, 2], tau0=1e-3, tau1=6e-3, alpha=1e-3, silent="skip")
    voltage = es.losses.MaxVoltageCrossEntropy("readout", [0, 1])
    cotangents = {"out": np.ones(solved.spikes["out"].n_spikes)}
    chip = es.Network()
    chip.add_input("in", 5)
    chip.add_population("hidden", 20, es.LIF(20e-3, 5e-3))
    chip.add_population("out", 3, es.LIF(20e-3, 5e-3))
    chip.connect("in", "hidden", rng.normal(1.5, 0.8, (20, 5)))
    chip.connect("hidden", "out", rng.normal(0.9, 0.1, (3, 20)))
    core = SpiNNaker2Core(1e-3, "s16.15")
    switched = SwitchedCore(core, Switches(input_grid=False))
    times = np.linspace(0, 40e-3, 200)
    return {
        "solve": lambda: es.solve(layered, inputs, 40e-3, threads=1),
        "solve on two threads": lambda: es.solve(layered, inputs, 40e-3, threads=2),
        "solve a cycle": lambda: es.solve(cyclic, inputs, 40e-3, threads=2),
        "solve_first_spikes": lambda: es.solve_first_spikes(layered, inputs, 40e-3, "out"),
        "go on": lambda: es.solve(
            cyclic, {"in": es.SpikeTrains.from_lists([[[]] * 5] * 2)}, 60e-3, initial=looped.final_state
        ),
        "voltage": lambda: solved.voltage("mid", times),
        "maxima": lambda: solved.maxima("readout"),
        "vjp": lambda: es.vjp(solved, cotangents),
        "jvp": lambda: es.jvp(looped, {"weight": dict.fromkeys(looped.network.projections, 1.0)}, loss),
        "value_and_grad": lambda: es.value_and_grad(looped, loss, reduction="none"),
        "value_and_grad of a voltage": lambda: es.value_and_grad(solved, voltage),
        "adjoint_states": lambda: es.adjoint_states(looped, loss).voltage("mid", times),
        "margins": lambda: es.margins(looped, nearest=3),
        "trust_radius, to first order": lambda: es.trust_radius(solved, certify=False),
        "gradient_condition": lambda: es.gradient_condition(solved),
        "trust_radius": lambda: es.trust_radius(small),
        "certify": lambda: es.certify(small),
        "multiprecision": lambda: (
            multiprecision.solve(layered, {"in": inputs["in"].select([0])}, 3e-3).spikes
        ),
        "flow_derivative": lambda: es.dynamics.flow_derivative(looped),
        "lyapunov_spectrum": lambda: es.lyapunov_spectrum(
            cyclic, None, 20e-3, 3, {"in": few["in"].select([0])}, transient=10e-3
        ),
        "a chip": lambda: core.run(es.Problem(chip, single, 40e-3, loss)),
        "a chip event by event": lambda: switched.run(es.Problem(chip, single, 40e-3, loss)),
    }


def now() -> dict[str, float]:
    """Return seconds since some time, by what counts them."""
    return {"slowest, processor": time.process_time(), "slowest, clock": time.perf_counter()}


def told(result: Any) -> bytes:
    """Return a result as bytes: its fields, but for the solution and the network that it came from."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value) if f.name not in ("solution", "network")]
            return [(name, plain(getattr(value, name))) for name in names]
        if isinstance(value, Mapping):
            return [(repr(key), plain(item)) for key, item in value.items()]
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        return value.tobytes() if isinstance(value, np.ndarray) else repr(value)

    return pickle.dumps(plain(result))


def interrupt_some(n: int, seed: int) -> dict[str, Any]:
    """Interrupt verbs n times in this process, and return what came of it, by verb."""
    armed = [False]  # an Event's lock would be waited for by the handler that interrupts its holder
    sent: list[dict[str, float]] = []

    def handler(*_: Any) -> None:
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    random_numbers = random.Random(seed)
    functions = verbs()
    expected, takes = {}, {}
    for name, verb in functions.items():
        expected[name] = told(verb())  # compiled by now
        start = time.perf_counter()
        assert told(verb()) == expected[name], name
        takes[name] = time.perf_counter() - start
    found: dict[str, Any] = {
        name: {"interrupted": 0, "too late": 0, "wrong": 0} | dict.fromkeys(SLOW, 0.0) for name in functions
    }

    def send(after: float) -> None:
        time.sleep(after)
        sent.append(now())
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(n):
        name = random_numbers.choice(list(functions))
        count = found[name]
        sender = threading.Thread(target=send, args=(random_numbers.uniform(0.0, takes[name]),))
        sender.start()  # before: Python's own start does not bear to be interrupted
        try:
            armed[0] = True
            answer = told(functions[name]())
            armed[0] = False
            count["too late"] += 1
            count["wrong"] += answer != expected[name]
        except KeyboardInterrupt:
            count["interrupted"] += 1
            end = now()
            for key in SLOW if sent else ():
                count[key] = max(count[key], end[key] - sent[0][key])
        armed[0] = False
        sender.join()
        sent.clear()
        count["wrong"] += told(functions[name]()) != expected[name]
    return found


def main() -> int:
    """Run processes one after the other, and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=500, help="interrupts in one process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--log", type=Path, default=Path("reports/interrupts.jsonl"), help="what is finished; goes on there"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(interrupt_some(arguments.interrupts, arguments.seed)))
        return 0
    with resumed(arguments.log, seed=arguments.seed, each=arguments.each) as log:
        done = {entry["first"] for entry in log.entries}
        for k, first in enumerate(range(0, arguments.interrupts, arguments.each)):
            if first not in done:
                n = min(arguments.each, arguments.interrupts - first)
                log.add(first=first, interrupts=n, **in_a_process(n, arguments.seed + k))
        entries = [entry for entry in log.entries if entry["first"] < arguments.interrupts]
    total: dict[str, Any] = {}
    for entry in entries:
        for name, counts in entry["verbs"].items():
            into = total.setdefault(name, dict.fromkeys(counts, 0))
            for key, value in counts.items():
                into[key] = max(into[key], value) if key in SLOW else into[key] + value
    report: dict[str, Any] = {
        "interrupts": sum(counts["interrupted"] + counts["too late"] for counts in total.values()),
        "interrupted": sum(counts["interrupted"] for counts in total.values()),
        "wrong": sum(counts["wrong"] for counts in total.values()),
        "crashes": [entry for entry in entries if entry["status"]],
        **{key: max((counts[key] for counts in total.values()), default=0.0) for key in SLOW},
        "verbs": total,
    }
    print(json.dumps(report, indent=1))
    return int(bool(report["crashes"] or report["wrong"] or any(report[key] > SLOW[key] for key in SLOW)))


def in_a_process(n: int, seed: int) -> dict[str, Any]:
    """Interrupt verbs n times in a process of its own, and return how it ended and what it found."""
    command = [
        sys.executable,
        "-m",
        "tests.interrupts",
        "--here",
        "--interrupts",
        str(n),
        "--seed",
        str(seed),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return {
        "process_seed": seed,
        "status": done.returncode,
        "verbs": {} if done.returncode else json.loads(done.stdout),
    }


if __name__ == "__main__":
    sys.exit(main())
