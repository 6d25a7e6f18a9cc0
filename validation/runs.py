"""A target beside the oracle on one problem, as a run of a report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import eventsolve as es
from eventsolve.compare import compare, worst_spike
from eventsolve.compare.records import depths
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
        As for :func:`eventsolve.compare.compare`; where spikes of the target scatter, the window is by default as much
        wider, for each layer.

    Raises
    ------
    ValueError
        If the target cannot represent the problem, or a window is needed and not given.
    """
    start = time.perf_counter()
    exact, model = oracle(problem), target.run(problem)
    of = getattr(target, "resolution", None)
    resolution = of(problem.network) if callable(of) else None
    spread = 0.0 if resolution is None else resolution.spread
    if window is None and resolution is not None and spread:
        window = resolution.window(
            max(depths(problem.network.populations, problem.network.projections).values())
        )
    comparison = compare(exact, model, window=window, tolerance=tolerance)
    order = None
    if resolution is not None:
        order = spike_order(problem.solution, comparison.spikes, resolution.radii(problem.network))
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
        spread=spread,
        next_command=next_command,
    )
