"""A comparison for programs; the docstring of :mod:`validation.report` documents the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from eventsolve.compare import Agreement, GradientComparison, Split
from validation.order import SpikeOrder
from validation.report.runs import Run
from validation.report.words import steps, summary


def data_of(runs: Sequence[Run], origin: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
    """Return a campaign as a mapping of JSON values, but for numbers that are not finite."""
    return {
        "format": "eventsolve-validation-report",
        "version": 1,
        "complete": complete,
        "provenance": dict(origin),
        "runs": [_run_document(run) for run in runs],
    }


def _run_document(run: Run) -> dict[str, Any]:
    c = run.comparison
    return {
        "title": run.title,
        "settings": dict(run.settings),
        "seconds": run.seconds,
        "summary": summary(c),
        "diagnosis": None
        if run.diagnosis is None
        else vars(run.diagnosis) | {"sentence": run.diagnosis.sentence},
        "accepted": run.accepted,
        "findings": dict(run.findings),
        "counters": dict(c.model.counters),
        "tolerance": c.tolerance,
        "time_step": c.model.time_step,
        "samples": int(c.differing_samples.size),
        "differing_samples": np.flatnonzero(c.differing_samples).tolist(),
        "spikes": [
            {
                "population": name,
                "depth": c.depth[name],
                "exact": match.exact.n_spikes,
                "model": match.model.n_spikes,
                "matched": int(match.exact_index.size),
                "missed": int(match.missed.size),
                "extra": int(match.extra.size),
                "window": match.window,
                "mean_shift": match.mean_shift,
                "max_shift": match.max_shift,
                "mean_shift_steps": steps(match.mean_shift, c),
                "max_shift_steps": steps(match.max_shift, c),
            }
            for name, match in c.spikes.items()
        ],
        "order": None if run.order is None else _order_document(run.order),
        "loss": None if c.loss is None else asdict(c.loss),
        "spike_times": [
            {"population": name, **_split(times.agreement)} for name, times in c.spike_times.items()
        ],
        "weights": [_weight_document(weight) for weight in c.weight.values()],
        "stages": [
            {
                "where": stage.label,
                "error": stage.error,
                "error_where_spikes_match": (
                    None if c.differing_samples.all() else stage.error_where_spikes_match
                ),
                "tolerance": stage.tolerance,
                "agrees": stage.agrees,
            }
            for stage in c.stages
        ],
        "not_given": list(c.not_given),
        "first_difference": c.first.label if c.first else None,
        "first_backward_difference": c.first_backward.label if c.first_backward else None,
    }


def _order_document(order: SpikeOrder) -> dict[str, Any]:
    return {
        "summary": str(order),
        "radius": order.radius.tolist(),
        "limits": [None if limit is None else str(limit) for limit in order.limits],
        "within": np.flatnonzero(order.within).tolist(),
        "other_spikes": np.flatnonzero(order.other_spikes).tolist(),
        "unexplained": np.flatnonzero(order.unexplained).tolist(),
    }


def _weight_document(weight: GradientComparison) -> dict[str, Any]:
    return {
        "projection": list(weight.key),
        "mean": asdict(weight.mean),
        **_split(weight.samples),
        "per_sample": [asdict(sample) for sample in weight.per_sample],
        "worst": [asdict(synapse) | {"error": synapse.error} for synapse in weight.worst(10)],
        "synapses": None
        if weight.synapses is None
        else dict(zip(("post", "pre"), map(np.ndarray.tolist, weight.synapses), strict=True)),
        "exact": weight.mean_exact.tolist(),
        "model": weight.mean_model.tolist(),
    }


def _split(split: Split) -> dict[str, dict[str, Any]]:
    groups: dict[str, Agreement] = {
        "everything": split.everything,
        "matching": split.matching,
        "differing": split.differing,
    }
    return {name: asdict(group) for name, group in groups.items()}
