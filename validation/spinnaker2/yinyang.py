"""The Yin-Yang campaign: two published networks, on a model of a SpiNNaker2 core and exactly, run by run.

A run is independent of every other one, so a campaign is a list of :class:`Job` that any
``concurrent.futures.Executor`` can work through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from eventsolve.jobs import in_order
from validation.report import Run
from validation.runs import compared
from validation.spinnaker2.target import SpiNNaker2Core
from validation.tasks.yin_yang.task import SETUPS, problem_of


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


def run(job: Job) -> Run:
    """Solve exactly, run the core, and compare."""
    setup = SETUPS[job.setup]
    core = SpiNNaker2Core(time_step=job.time_step, format=job.arithmetic)
    window = max(3.5 * job.time_step, 1e-3) if job.window is None else job.window
    return compared(
        problem_of(setup, job.samples, job.seed),
        core,
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
        window=window,
        next_command=f"eventsolve-validate attribute yinyang --set setup={setup.name} --target spinnaker2 "
        f"--set time_step={job.time_step * 1e3:g}ms,format={job.arithmetic}",
    )


def campaign(jobs: Sequence[Job], executor: Executor | None = None) -> Iterator[Run]:
    """Yield the runs in the order of the jobs, each as soon as it and those before it are finished.

    Closing the iterator early cancels the jobs that have not started; a job that is lost is told at the end, by a
    :class:`eventsolve.jobs.LostJobsError`.
    """
    for _, finished in in_order(run, jobs, executor):
        yield finished
