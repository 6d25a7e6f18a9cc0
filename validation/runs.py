"""A target beside the oracle on one problem, as a run of a report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import eventsolve as es
from eventsolve.compare import compare, worst_spike
from validation.excerpt import excerpt_around
from validation.oracle import oracle
from validation.order import spike_order
from validation.report import Run, Setting
from validation.target import Target


def compared(
    problem: es.Problem,
    target: Target,
    *,
    title: str,
    group: str,
    series: str,
    settings: Mapping[str, Setting],
    window: float | None = None,
    tolerance: float | None = None,
    next_command: str = "",
) -> Run:
    """Solve a problem exactly, run a target on it, and compare.

    Parameters
    ----------
    problem : Problem
    target : Target
        If it tells its resolution, the run says whether that explains other spikes.
    title, group, series, settings, next_command
        As :class:`validation.report.Run` has them.
    window, tolerance : float, optional
        As for :func:`eventsolve.compare.compare`.

    Raises
    ------
    ValueError
        If the target cannot represent the problem, or a window is needed and not given.
    """
    start = time.perf_counter()
    exact, model = oracle(problem), target.run(problem)
    comparison = compare(exact, model, window=window, tolerance=tolerance)
    order = None
    if callable(resolution := getattr(target, "resolution", None)):
        radii = resolution(problem.network).radii(problem.network)
        order = spike_order(problem.solution, comparison.spikes, radii)
    return Run(
        title=title,
        group=group,
        series=series,
        settings=settings,
        # a run is kept and may travel between processes, and traces are large
        comparison=replace(comparison, model=replace(model, traces={})),
        excerpt=excerpt_around(
            worst_spike(comparison), comparison, problem.network, problem.inputs, problem.t_end
        ),
        seconds=time.perf_counter() - start,
        order=order,
        next_command=next_command,
    )
