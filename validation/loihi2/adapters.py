"""A record for ``eventsolve-validate check`` of what Lava, or the chip, computed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

import eventsolve as es
from eventsolve.io.records import Record, Trace
from eventsolve.io.records.scheme import Scheme
from validation.grid.steps import grid_trains, number_of_steps
from validation.loihi2.exporting import Export
from validation.loihi2.program import LSB


def record(
    name: str,
    problem: es.Problem,
    exported: Export,
    spikes: Mapping[str, ArrayLike],
    voltages: Mapping[str, ArrayLike] | None = None,
) -> Record:
    """Return the record of a run of Lava, or of hardware.

    Parameters
    ----------
    name : str
    problem : Problem
        What was run, with the inputs before rounding.
    exported : Export
        What was put on the chip.
    spikes : mapping of str to array_like, (n_samples, n_rows, n) or (n_rows, n)
        By population, the values of a monitor of ``s_out``: row k is step k + 1. There is one row more than the problem
        has steps; the first row is time 0.
    voltages : mapping of str to array_like, as spikes
        By readout, v after each step, as integers.

    Raises
    ------
    ValueError
        If something has another shape.
    """
    dt, n_samples = exported.settings.time_step, problem.n_samples
    n_rows = number_of_steps(problem.t_end, dt) + 1
    trains, traces = {}, {}
    for population, given in spikes.items():
        flags = _rows(f"spikes of {population!r}", given, problem, population, n_rows)
        samples, rows, neurons = (np.ascontiguousarray(k) for k in np.nonzero(flags))
        trains[population], _ = grid_trains(rows, neurons, samples, (n_samples, flags.shape[2]), dt)
    for population, given in (voltages or {}).items():
        v = _rows(f"voltages of {population!r}", given, problem, population, n_rows).astype(np.float64)
        reset = problem.network.population(population).parameter("v_reset")
        held = reset + v * (exported.quanta[population] / LSB)
        traces[population] = Trace(
            dt * np.arange(n_rows, dtype=np.float64), np.ascontiguousarray(held.transpose(0, 2, 1))
        )
    return Record.of(
        problem,
        name,
        spikes=trains,
        traces=traces,
        time_step=dt,
        scheme=Scheme(transport=0, inclusive=False, number="24-bit states", one_spike=False),
    )


def _rows(
    what: str, given: ArrayLike, problem: es.Problem, population: str, n_rows: int
) -> np.ndarray[tuple[int, int, int], np.dtype[np.int64]]:
    values = np.asarray(given)
    shape = (problem.n_samples, n_rows, problem.network.population(population).size)
    if values.ndim == 2 and problem.n_samples == 1:
        values = values[None]
    if values.shape != shape:
        raise ValueError(f"{what} must have shape {shape}; got {values.shape}")
    return values.astype(np.int64)
