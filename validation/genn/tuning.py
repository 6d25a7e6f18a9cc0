"""Settings of GeNN that only gradients show: how large ring buffers are, and what a regulariser asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.typing import Integers, Reals

if TYPE_CHECKING:
    from validation.genn.target import GeNN


def tuned(target: GeNN, problem: es.Problem, record: Record) -> Iterator[GeNN]:
    """Yield the target with other settings from which a record's gradients may come, given that its spikes do."""
    trains = [
        *problem.inputs.values(),
        *(t for name, t in record.spikes.items() if name not in problem.inputs),
    ]
    # in two trials together, where they follow each other
    most = max((int(_together(target, t.counts()).max(initial=0)) for t in trains), default=0)
    for max_spikes in range(most, 1, -1):
        yield replace(target, max_spikes=max_spikes)
    if record.weight:
        for batched in (False, True) if target.trials == "separate" and problem.n_samples > 1 else (False,):
            yield from _regularised(replace(target, batched=batched), problem, record)


def _together(target: GeNN, counts: Integers) -> Integers:
    if target.trials == "separate" or len(counts) < 2:
        return counts
    return counts[1:] + counts[:-1]


def _regularised(target: GeNN, problem: es.Problem, record: Record) -> Iterator[GeNN]:
    """Yield regularisers by their counts, with the strengths that fit best: gradients are linear in them."""
    batch = problem.n_samples if target.batched else 1
    hidden = [
        record.trains[name].counts()
        for name, p in problem.network.populations.items()
        if p.spiking and name in record.trains
    ]
    most = max((int((c.sum(axis=0) if target.batched else c).max(initial=0)) for c in hidden), default=0)
    if most == 0:
        return

    def gradients(wished: int, upper: float, lower: float) -> Reals:
        made = replace(
            target, reg_lambda_upper=upper, reg_lambda_lower=lower, reg_nu_upper=_nu(wished, batch)
        )
        return _flat(made.run(problem), record)

    base = gradients(0, 0.0, 0.0)
    off = _flat(record, record) - base
    for wished in range(most + 1):
        bases = [gradients(wished, *k) - base for k in ((1.0, 0.0), (0.0, 1.0))]
        upper, lower = _fitted(bases, off)
        if upper >= 0 and lower >= 0 and upper + lower > 0:
            yield _with(target, upper, lower, wished, batch)
    # more than any neuron has: linear in what is wished, too
    low, lower_still = (gradients(most + k, 0.0, 1.0) - base for k in (1, 2))
    each = low - lower_still
    strength, times = _fitted([low + (most + 1) * each, -each], off)
    if strength > 0 and times / strength > most:
        yield _with(target, 0.0, strength, round(times / strength), batch)


def _with(target: GeNN, upper: float, lower: float, wished: int, batch: int) -> GeNN:
    return replace(
        target,
        reg_lambda_upper=float(f"{upper:.6g}"),
        reg_lambda_lower=float(f"{lower:.6g}"),
        reg_nu_upper=_nu(wished, batch),
    )


def _nu(wished: int, batch: int) -> float:
    """Return spikes per sample of which GeNN makes a number of spikes per batch, which it cuts."""
    nu = wished / batch
    return nu if int(nu * batch) == wished else (wished + 0.5) / batch


def _flat(computed: Record, like: Record) -> Reals:
    """Return the gradients of all weights of one record, reduced as those of another."""
    rows: list[Any] = []
    for key in like.weight:
        values = computed.weight[key]
        if computed is not like and like.reduction != "none":
            values = values.sum(axis=0) / (computed.n_samples if like.reduction == "mean" else 1)
        rows.append(np.asarray(values).ravel())
    return np.concatenate(rows)


def _fitted(bases: list[Reals], wanted: Reals) -> Reals:
    """Return the shares of bases that come nearest to what is wanted, 0 of a base that is 0."""
    return np.asarray(np.linalg.lstsq(np.stack(bases, axis=1), wanted, rcond=1e-9)[0], dtype=np.float64)
