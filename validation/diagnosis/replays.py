"""Implementations in the loop: their measured spikes cannot be computed here, but their gradients follow from them."""

from __future__ import annotations

from dataclasses import replace

from validation import registry
from validation.diagnosis.diagnosis import Diagnosis
from validation.diagnosis.evidence import Evidence
from validation.target import Replayable


def replayed(evidence: Evidence, tolerance: float) -> Diagnosis | None:
    """Return the verdict of the registered target that computes the recorded gradient from the recorded spikes."""
    for entry in registry.names(registry.TARGETS):
        kind: type[Replayable] = registry.kind(registry.TARGETS, entry)
        found = kind.replay(evidence, tolerance) if hasattr(kind, "replay") else None
        if found is not None:
            return replace(found, target=entry)
    return None
