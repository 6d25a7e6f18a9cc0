"""A record from a file beside the exact solution: what is there is compared, and what is off gets a cause."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import eventsolve as es
from eventsolve.bounded import Budget, content_of, opened
from eventsolve.checks import instance, non_negative
from eventsolve.compare import Comparison, SpikeMatch, Stage, agreement, compare, worst_spike
from eventsolve.compare.comparison import label_of
from eventsolve.compare.divergence import NAMES
from eventsolve.io import records
from eventsolve.io.records.record import check_fit
from eventsolve.problem import Problem
from validation.diagnosis import diagnose
from validation.diagnosis.verdict import PATIENCE, ROUNDING
from validation.excerpt import excerpt_around
from validation.oracle import oracle, reduced
from validation.report import Run

MOST_SPIKES = 2**20
"""Of the exact solution over all samples, unless more than a tenth of them are recorded."""


def network_of(
    record: records.Record,
    file: Path | None,
    *,
    nir_step: float | None = None,
    max_bytes: int = records.MAX_BYTES,
) -> es.Network:
    """Return the network of a record, or the one in a file that it refers to.

    Parameters
    ----------
    record : eventsolve.io.records.Record
    file : path, optional
        Another record that holds the network, or a NIR graph in seconds (``.nir``). One that the record names is never
        opened unless it is given here.
    nir_step : float, optional
        Seconds: ``dt`` of :func:`eventsolve.io.nir.from_nir`, for a NIR graph that was written on a clock.
    max_bytes : int
        As for :func:`eventsolve.io.records.read`.

    Raises
    ------
    RecordError
        If there is no network, the file is another one than the record refers to, or the record does not fit it.
    OSError
        If the file cannot be read.
    """
    if file is None:
        if isinstance(record.network, es.Network):
            return record.network
        where = f"in {record.network.file!r}" if record.network is not None else "nowhere"
        raise records.RecordError(f"the network is {where}; give its file")
    if isinstance(record.network, records.Reference) and record.network.sha256:
        with opened(file, max_bytes) as content:
            digest = hashlib.sha256(content_of(content, Budget(max_bytes))).hexdigest()
        if digest != record.network.sha256:
            raise records.RecordError(
                f"{file.name} is another file than the record refers to: its SHA-256 is {digest}, "
                f"not {record.network.sha256}"
            )
    network = network_in(file, nir_step=nir_step, max_bytes=max_bytes)
    check_fit(record, network)
    return network


def network_in(
    file: Path, *, nir_step: float | None = None, max_bytes: int = records.MAX_BYTES
) -> es.Network:
    """Return the network that a file holds, a record or a NIR graph; otherwise as :func:`network_of`."""
    network = (
        _from_nir(file, nir_step, max_bytes)
        if file.suffix.lower() == ".nir"
        else records.read(file, max_bytes=max_bytes).network
    )
    if not isinstance(network, es.Network):
        raise records.RecordError(f"{file.name} holds no network")
    return network


def _from_nir(file: Path, nir_step: float | None, max_bytes: int) -> es.Network:
    try:
        from eventsolve.io import nir
    except ImportError as error:
        raise ImportError("NIR graphs need nir: pip install eventsolve[nir]") from error
    return nir.read(file, dt=nir_step, max_bytes=max_bytes)


LOSSLESS = "as the record gives no loss that it is of"


def check(
    record: records.Record,
    network: es.Network,
    *,
    window: float | None = None,
    tolerance: float | None = None,
    max_spikes: int | None = None,
    patience: float = PATIENCE,
) -> Run:
    """Solve what a record says it solved, and put the two side by side.

    Parameters
    ----------
    record : eventsolve.io.records.Record
        Any part of it may be missing but the inputs, and the loss if there are gradients.
    network : Network
    window, tolerance : float, optional
        As for :func:`eventsolve.compare.compare`; in continuous time the window is by default t_end times the square
        root of the rounding error.
    max_spikes : int, optional
        How many spikes a sample of the exact solution may have: a few numbers in a file can ask for any number. By
        default ten times as many as are recorded, and at least a million over all samples.
    patience : float
        For how long guesses are tried, as for :func:`validation.diagnosis.diagnose`.

    Returns
    -------
    Run
        Its ``comparison.stages`` are all that was compared; its ``findings`` name the first divergence of each stage
        that parts from the exact solution, unless its diagnosis has a name for what is wrong, or it is ``accepted``: by
        its diagnosis, or, where a tolerance is given, because every stage is within it, or, where a window is given,
        because no spike is outside.

    Raises
    ------
    RecordError
        If there is nothing to compare, or what a comparison needs is missing.
    ValueError
        If the loss does not fit the network, or reads an output that is silent in the exact solution and the record has
        neither spikes nor traces, which are compared without it.
    SpikeBudgetError
        If a sample has more than ``max_spikes``.
    """
    start = time.perf_counter()
    instance("record", record, records.Record)
    instance("network", network, es.Network)
    if tolerance is not None:
        tolerance = non_negative("tolerance", tolerance)
    asked = window is not None or tolerance is not None
    problem = record.problem(network)
    graded = any(record.gradients.values())
    if not (record.spikes or graded or record.loss_values is not None or record.traces):
        raise records.RecordError("the record has nothing to compare: no spikes, loss, gradients or traces")
    homeless: list[str] = []
    if record.loss is None and (graded or record.loss_values is not None):
        if not (record.spikes or record.traces):
            raise records.RecordError("the record has gradients or loss values, but no loss that they are of")
        homeless = [
            f"{NAMES.get(quantity, f'dL/d{quantity}')} of {label_of(place)}, {LOSSLESS}"
            for quantity, places in record.gradients.items()
            for place in places
        ]
        homeless += [f"loss, {LOSSLESS}"] * (record.loss_values is not None)
        graded = False
        record = replace(record, gradients={}, loss_values=None)
    if max_spikes is None:
        recorded = sum(trains.n_spikes for trains in record.spikes.values())
        max_spikes = max(MOST_SPIKES // max(1, record.n_samples), 10 * recorded)
    problem = replace(problem, max_spikes=max_spikes, loss=record.loss)
    if window is None and record.time_step is None:
        window = problem.t_end * math.sqrt(float(np.finfo(np.float64).eps))
    try:
        truth = oracle(problem)
    except es.losses.SilentOutputError as error:
        if not (record.spikes or record.traces):
            raise
        homeless, graded = [f"loss and gradients, as in the exact solution {error}"], False
        record = replace(record, gradients={}, loss_values=None, loss=None)
        problem = replace(problem, loss=None)
        truth = oracle(problem)
    exact = reduced(truth, record.reduction)
    comparison = compare(exact, replace(record, network=network), window=window, tolerance=tolerance)
    traces = [
        _trace_stage(
            problem, name, trace, comparison.spikes.get(name), window or 1.5 * float(record.time_step or 0)
        )
        for name, trace in record.traces.items()
    ]
    not_given = (*homeless, *comparison.not_given)
    comparison = replace(comparison, stages=(*traces, *comparison.stages), not_given=not_given)
    verdict = None
    if record.spikes or graded or record.loss_values is not None:
        tolerated = ROUNDING if tolerance is None else tolerance
        verdict = diagnose(problem, record, tolerance=tolerated, patience=patience, exact=truth)
    accepted = all(stage.agrees for stage in comparison.stages)
    if not asked and verdict is not None:
        accepted = verdict.accepted
    named = verdict is not None and verdict.verdict in ("fault", "convention")
    worst = worst_spike(comparison)
    return Run(
        title=record.name,
        group=record.name,
        series=record.name,
        settings=_settings(record),
        comparison=replace(comparison, model=replace(comparison.model, traces={})),
        excerpt=excerpt_around(worst, comparison, network, record.inputs, problem.t_end),
        seconds=time.perf_counter() - start,
        findings={} if accepted or (named and not asked) else _findings(comparison),
        diagnosis=verdict,
        accepted=accepted,
    )


# -- beside what is compared -------------------------------------------------------------------------------------------


def _trace_stage(
    problem: Problem, name: str, trace: records.Trace, match: SpikeMatch | None, window: float
) -> Stage:
    """Compare a voltage away from the neuron's own spikes, where it jumps; what is off is not judged by itself."""
    inside = (trace.times >= 0) & (trace.times <= problem.t_end)
    times = trace.times[inside]
    exact = problem.solution.voltage(name, times)
    near = np.zeros(exact.shape, dtype=np.bool_)
    all_trains = [problem.solution.spikes[name]] if match is None else [match.exact, match.model]
    t_ref = problem.network.population(name).parameter("t_ref")
    for trains in all_trains:
        for t, n, s in zip(trains.times, trains.neurons, trains.samples, strict=True):
            near[s, n] |= (times >= t - window) & (times <= t + t_ref[n] + window)
    error = agreement(exact[~near], trace.voltage[..., inside][~near]).relative_error
    return Stage("voltage", name, error, error, math.inf)


def _settings(record: records.Record) -> dict[str, str | int | float]:
    settings: dict[str, str | int | float] = {
        "samples": record.n_samples,
    }
    if record.t_end is not None:
        settings["end"] = f"{record.t_end * 1e3:g} ms"
    if record.time_step is not None:
        settings["time step"] = f"{record.time_step * 1e3:g} ms"
    if record.loss is not None:
        settings |= {"loss": type(record.loss).__name__, "reduction": record.reduction}
    if record.notes:
        settings["notes"] = " ".join(record.notes)
    return settings


def _findings(comparison: Comparison) -> dict[str, str]:
    """Return a sentence for each stage that parts: its first spike, or its number that is furthest off."""
    return {stage.label: str(stage.divergence) for stage in comparison.stages if stage.divergence is not None}
