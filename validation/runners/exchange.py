"""How a runner gets its work and gives back what it found: npz in, npz out. Needs numpy only.

A runner is executed by its peer's own Python as ``python run_PEER.py WORK RESULT SETTINGS``, with settings in JSON. It
calls :func:`answer` with a function that builds its :class:`Solver` from the :class:`Work`. With a ``budget`` in the
settings, seconds per number, it is timed; without, it gives each sample's own gradients.
"""

import importlib.metadata
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LAYERS = ("hidden", "out")


class Work(NamedTuple):
    """A batch for 5-200-3 LIF neurons: threshold 1, reset and leak 0, exponential synapses, no delays.

    Times are seconds; weights are (n_post, n_pre). ``most_spikes`` of one sample in (hidden, out) are for peers that
    want to know beforehand. The loss is the mean over the batch of
    ``t_label / tau0 + log(sum exp(-t / tau0)) + alpha (exp(t_label / tau1) - 1)``, t the first spikes of the outputs.
    """

    times: np.ndarray
    labels: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    most_spikes: np.ndarray
    tau_mem: float
    tau_syn: float
    t_end: float
    tau0: float
    tau1: float
    alpha: float


class Spikes(NamedTuple):
    """Every spike of a layer in any order: sample, neuron, time in seconds."""

    samples: np.ndarray
    neurons: np.ndarray
    times: np.ndarray


class Solver(NamedTuple):
    """What a peer can do with a batch; only ``forward`` and ``gradient`` are timed.

    ``prepare()`` runs before each ``forward(prepared)``, whose result ``spikes`` reads: (hidden, out).
    ``gradient()`` runs forward and backward and returns dL/dw1, dL/dw2 in the shapes of the weights; ``each()`` returns
    those of each sample's own loss, (n_samples, n_post, n_pre).
    """

    forward: Callable[[Any], Any]
    spikes: Callable[[Any], tuple[Spikes, Spikes]]
    gradient: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    prepare: Callable[[], Any] = lambda: None
    each: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None


def timed(call: Callable[[Any], Any], prepare: Callable[[], Any], budget: float) -> tuple[Any, float, float]:
    """Return a call's first result, its first time, and its median over later ones, in seconds.

    There are three later ones at least, unless they take more than five times the budget, and 300 at most.
    """
    seconds: list[float] = []
    first, result = None, None
    while len(seconds) < 300 and sum(seconds) < (budget if len(seconds) >= 3 else 5 * budget):
        prepared = prepare()
        start = time.perf_counter()
        now = call(prepared)
        elapsed = time.perf_counter() - start
        if first is None:
            first, result = elapsed, now
        else:
            seconds.append(elapsed)
    return result, first, statistics.median(seconds)


def answer(build: Callable[..., Solver], *distributions: str) -> None:
    """Do the work named on the command line."""
    _, source, target, settings = sys.argv
    options = json.loads(settings)
    budget = options.pop("budget", None)
    if budget is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(
            0, {max(os.sched_getaffinity(0))}
        )  # the same single core for everyone, whatever pools they start
    with np.load(source) as data:
        work = Work(**{name: data[name] if data[name].ndim else data[name].item() for name in Work._fields})
    solver = build(work, **options)
    found: dict[str, Any] = {
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
    }
    if budget is None:
        found |= layers(solver.spikes(solver.forward(solver.prepare())))
        if solver.each is not None:
            found["w1"], found["w2"] = solver.each()
        write(target, found)
        return
    result, found["first_forward"], found["forward"] = timed(solver.forward, solver.prepare, budget)
    found |= layers(solver.spikes(result))
    write(target, found)
    if solver.gradient is not None:
        gradient = solver.gradient
        (w1, w2), found["first_gradient"], found["gradient"] = timed(
            lambda _: gradient(), lambda: None, budget
        )
        write(target, {**found, "w1": w1, "w2": w2})


def write(target: str, found: dict[str, Any]) -> None:
    """Write what was found so far: a runner that is stopped while it writes leaves what was there."""
    beside = f"{target}.part"
    with open(beside, "wb") as file:
        np.savez(file, **found)
    os.replace(beside, target)


def layers(found: tuple[Spikes, Spikes]) -> dict[str, np.ndarray]:
    """Return the columns of both layers' spikes by name."""
    return {
        f"{layer}_{name}": np.asarray(value)
        for layer, spikes in zip(LAYERS, found, strict=True)
        for name, value in spikes._asdict().items()
    }
