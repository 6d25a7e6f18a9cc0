"""What was renamed since version 0.1.0: whoever asks for an old name is told the new one."""

from __future__ import annotations

import sys

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


def missing(module: str, name: str) -> AttributeError | ImportError:
    """Return what the ``__getattr__`` of a package raises of a name that it does not have.

    Of an old name that is imported from the package that is an ImportError: Python drops what an AttributeError says
    there, also if it is both, which the two cannot be. To ``hasattr`` and ``getattr`` the name is just not there.
    """
    new = hint(module, name)
    if new and sys._getframe(2).f_code.co_name == "_handle_fromlist":  # of importlib, which asks first
        return ImportError(f"cannot import name {name!r} from {module!r}{new}", name=module)
    return AttributeError(f"module {module!r} has no attribute {name!r}{new}")
