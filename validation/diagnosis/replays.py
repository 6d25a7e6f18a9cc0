"""Implementations in the loop: their spikes were measured, and nothing here computes them, but gradients follow."""

from __future__ import annotations

from typing import Any

from validation import registry
from validation.diagnosis.diagnosis import Diagnosis
from validation.diagnosis.evidence import Evidence


def replayed(evidence: Evidence, tolerance: float) -> Diagnosis | None:
    """Return the verdict of the registered target that computes the recorded gradient from the recorded spikes.

    Such a target has a method ``replay(evidence, tolerance)``, which returns a verdict, its name and where, or None.
    """
    for entry in registry.names(registry.TARGETS):
        replay: Any = getattr(registry.kind(registry.TARGETS, entry), "replay", None)
        found = replay(evidence, tolerance) if replay is not None else None
        if found is not None:
            explains = 0.0 if found.verdict == "unexplained" else 1.0
            return Diagnosis(found.verdict, found.name, explains, found.where, target=entry)
    return None
