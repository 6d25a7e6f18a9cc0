"""The Yin-Yang campaign: two published networks, on a model of a SpiNNaker2 core and exactly, run by run.

A run is independent of every other one, so a campaign is a list of :class:`Job` that any
``concurrent.futures.Executor`` can work through.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.io import datasets
from validation.compare import compare, worst_spike
from validation.excerpt import excerpt_around
from validation.fixedpoint import FixedFormat
from validation.jobs import in_order
from validation.oracle import oracle
from validation.order import spike_order
from validation.report import Run
from validation.spinnaker2 import SpiNNaker2Core
from validation.target import Record


@dataclass(frozen=True)
class Setup:
    """A published network for Yin-Yang, its encoding and its loss.

    Attributes
    ----------
    name, encoding : str
        The encoding is "continuous" (Wunderlich & Pehle 2021) or "code" (27 steps of 1 ms, Béna et al. 2024).
    sizes : tuple of int
        Neurons per layer: inputs, hidden, out.
    moments : tuple of (mean, standard deviation)
        Of the initial weights, per layer.
    t_end, tau0, tau1 : float
        Seconds: end of the run, and the time constants of the time-to-first-spike cross-entropy.
    alpha : float
        Weight of its early-spike term.
    silent : str
        What it does with outputs that never spike.
    tau_mem, tau_syn : float
        Seconds.
    t_max : float
        Seconds at which the continuous encoding has a coordinate of 1.
    """

    name: str
    encoding: Literal["continuous", "code"]
    sizes: tuple[int, int, int]
    moments: tuple[tuple[float, float], tuple[float, float]]
    t_end: float
    tau0: float
    tau1: float
    alpha: float
    silent: Literal["raise", "skip", "t_end"]
    tau_mem: float = 20e-3
    tau_syn: float = 5e-3
    t_max: float = 30e-3


SETUPS = {
    setup.name: setup
    for setup in (
        Setup(
            name="5-200-3",
            encoding="continuous",
            sizes=(5, 200, 3),
            moments=((1.5, 0.78), (0.93, 0.1)),
            t_end=60e-3,
            tau0=0.5e-3,
            tau1=6.4e-3,
            alpha=3e-3,
            silent="skip",
        ),
        Setup(
            name="5-120-3",
            encoding="code",
            sizes=(5, 120, 3),
            moments=(
                (3.2 / math.sqrt(5), 3.2 / math.sqrt(5)),
                (5.2 / math.sqrt(120), 2.8 / math.sqrt(120)),
            ),
            t_end=27e-3,
            tau0=1.5e-3,
            tau1=100e-3,
            alpha=0.01,
            silent="t_end",
        ),
    )
}


@dataclass(frozen=True)
class Job:
    """One run of the campaign.

    Attributes
    ----------
    setup : str
        A name in :data:`SETUPS`.
    time_step : float
        Of the core, seconds.
    arithmetic : str
        Of the core: "float64", "float32" or the name of a fixed-point format.
    samples, seed : int
        Points; seed of points and initial weights.
    window : float, optional
        Seconds within which spikes are paired. By default 3.5 time steps (a step of rounding and one of transport
        per layer, and half a step), but at least 1 ms: a neuron near grazing moves its spike by far more
        than a fine time step, and it is still the same spike.

    Raises
    ------
    ValueError
        If the time step does not fit a whole number of times, at least twice, into the set-up's duration.
    """

    setup: str
    time_step: float
    arithmetic: str
    samples: int
    seed: int
    window: float | None = None

    def __post_init__(self) -> None:
        t_end = SETUPS[self.setup].t_end
        steps = t_end / self.time_step
        if steps < 2 or abs(steps - round(steps)) > 1e-9 * steps:
            raise ValueError(
                f"a time step of {self.time_step * 1e3:g} ms does not divide the {t_end * 1e3:g} ms of "
                f"{self.setup} into two or more whole steps"
            )

    @property
    def title(self) -> str:
        """The run in a few words."""
        return f"{self.setup}, {self.time_step * 1e3:g} ms, {self.arithmetic}"


def encoded(setup: Setup, points: NDArray[np.float64]) -> es.SpikeTrains:
    """Return the input spikes of some points, (n_samples, 4)."""
    if setup.encoding == "continuous":
        return datasets.encode_latency(points, t_max=setup.t_max)
    return datasets.encode_steps(points)


def network(setup: Setup, seed: int) -> es.Network:
    """Return the network with initial weights drawn as published."""
    first, second = datasets.normal_weights(setup.sizes, setup.moments, seed)
    net = es.Network()
    net.add_input("in", setup.sizes[0])
    neuron = es.LIF(tau_mem=setup.tau_mem, tau_syn=setup.tau_syn)
    net.add_population("hidden", setup.sizes[1], neuron)
    net.add_population("out", setup.sizes[2], neuron)
    net.connect("in", "hidden", first)
    net.connect("hidden", "out", second)
    return net


def problem_of(setup: Setup, n_samples: int, seed: int) -> es.Problem:
    """Return points and initial weights that a seed draws, as published."""
    data = datasets.yin_yang(n_samples, seed)
    loss = es.losses.TTFSCrossEntropy(
        "out", data.labels, tau0=setup.tau0, tau1=setup.tau1, alpha=setup.alpha, silent=setup.silent
    )
    return es.Problem(network(setup, seed), {"in": encoded(setup, data.points)}, setup.t_end, loss)


def run(job: Job) -> Run:
    """Solve exactly, run the core, and compare."""
    start = time.perf_counter()
    setup = SETUPS[job.setup]
    problem = problem_of(setup, job.samples, job.seed)
    core = SpiNNaker2Core(time_step=job.time_step, format=job.arithmetic)
    exact, model = oracle(problem), core.run(problem)
    window = max(3.5 * job.time_step, 1e-3) if job.window is None else job.window
    comparison = compare(exact, model, window=window)
    net = problem.network
    excerpt = excerpt_around(worst_spike(comparison), comparison, net, problem.inputs, setup.t_end)
    return Run(
        title=job.title,
        group=setup.name,
        series=job.arithmetic,
        settings={
            "network": setup.name,
            "encoding": setup.encoding,
            "time step": f"{job.time_step * 1e3:g} ms",
            "arithmetic": job.arithmetic,
            "decay factors": core.decay,
            "samples": job.samples,
            "seed": job.seed,
            "end": f"{setup.t_end * 1e3:g} ms",
            "window": f"{window * 1e3:g} ms",
        },
        comparison=replace(comparison, model=_without_traces(model)),
        excerpt=excerpt,
        seconds=time.perf_counter() - start,
        order=spike_order(problem.solution, comparison.spikes, resolution(core, net)),
    )


def resolution(core: SpiNNaker2Core, net: es.Network) -> dict[str, dict[Any, Any]]:
    """Return by how much a core may be off: of every spike two time steps, of every weight half a last place.

    A spike is rounded to a step and takes another one to its targets.
    """
    number = core.formats.weight
    weights = {
        key: 0.5 * number.resolution
        if isinstance(number, FixedFormat)
        else 0.5 * float(np.finfo(number.dtype).eps) * np.abs(p.weight)
        for key, p in net.projections.items()
    }
    return {"spike_times": dict.fromkeys(net.populations, 2.0 * core.time_step), "weight": weights}


def campaign(jobs: Sequence[Job], executor: Executor | None = None) -> Iterator[Run]:
    """Yield the runs in the order of the jobs, each as soon as it and those before it are finished.

    Closing the iterator early cancels the jobs that have not started; a job that is lost is told at the end, by a
    :class:`validation.jobs.LostJobsError`.
    """
    for _, finished in in_order(run, jobs, executor):
        yield finished


def _without_traces(record: Record) -> Record:
    """Drop the traces: a run is kept and may travel between processes, and they are large."""
    return replace(record, traces={})
