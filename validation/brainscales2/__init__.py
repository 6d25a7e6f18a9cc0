"""BrainScaleS-2 in the loop: a noisy chip that spikes, and gradients of the ideal network along what was measured.

Files, each importing only from those before it: ``closed_forms`` (first spikes and slopes), ``loop`` (the gradient),
``causes`` (what can be left out), ``chip`` (mismatch, noise, a run), ``target``.
"""

from typing import TYPE_CHECKING

from validation.lazily import names_of

if TYPE_CHECKING:
    from validation.brainscales2.chip import Mismatch
    from validation.brainscales2.target import BrainScaleS2

__all__ = ["BrainScaleS2", "Mismatch"]

__getattr__ = names_of(
    __name__,
    {
        "chip": ["Mismatch"],
        "target": ["BrainScaleS2"],
    },
)
