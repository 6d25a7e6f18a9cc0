"""What was renamed since version 0.1.0: whoever asks for an old name is told the new one."""

from __future__ import annotations

RENAMED = {
    "eventsolve.certify.Doubt": "eventsolve.certify.OpenQuestion",
    "eventsolve.certify.Misfit": "eventsolve.certify.Mismatch",
    "eventsolve.compare.Culprit": "eventsolve.compare.WorstSpike",
    "eventsolve.estimate_radius": "eventsolve.trust_radius(certify=False)",
    "eventsolve.losses.VoltageReads": "eventsolve.losses.VoltageSamples",
    "AdjointStates.reads": "AdjointStates.voltage_samples",
    "Attribution.study": "Attribution.ablation",
    "Certificate.misfits": "Certificate.mismatches",
    "Margins.surplus": "Margins.overshoot",
    "Mismatch.slips": "Mismatch.explanations",
    "State.on_the_way": "State.in_flight",
    "Gradients.reads": "Gradients.voltage_samples",
    "TrustRadius.doubts": "TrustRadius.undecided",
    "validation.attribution.Study": "validation.attribution.Ablation",
}
"""New names by old ones: of a module or a class, with the name in it."""


def hint(owner: str, name: str) -> str:
    """Return how the message about a name that a module or a class does not have goes on."""
    new = RENAMED.get(f"{owner}.{name}")
    return "" if new is None else f"; it is {new} now"
