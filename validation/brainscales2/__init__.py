"""BrainScaleS-2 in the loop: a noisy chip that spikes, and gradients of the ideal network along what was measured.

Files, each importing only from those before it: ``closed_forms`` (first spikes and slopes), ``loop`` (the gradient),
``causes`` (what can be left out), ``chip`` (mismatch, noise, a run), ``target``.
"""

from validation.brainscales2.chip import Mismatch as Mismatch
from validation.brainscales2.target import BrainScaleS2 as BrainScaleS2
