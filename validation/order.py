"""Whether other spikes of a model are to be expected of it, or point to a bug.

A model cannot do better than its resolution: its time step, its number format. Where moving every number by that much
can change the order of events of the exact network, spikes may legitimately come, go or pass an arrival; gradients then
belong to another smooth piece, and need not be alike. Where it cannot, other spikes have another cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import eventsolve as es
from eventsolve.compare.matching import SpikeMatch
from eventsolve.stability.margins import Margin
from eventsolve.typing import Booleans, Reals


@dataclass(frozen=True, eq=False)
class SpikeOrder:
    """A model's other spikes beside its resolution, sample by sample.

    Attributes
    ----------
    radius : ndarray of float64, (n_samples,)
        How many times its resolution the model may be off in every number before the order of events changes, to first
        order.
    limits : tuple of Margin or None, n_samples of them
        What changes first.
    other_spikes : ndarray of bool, (n_samples,)
        Whether a neuron has another number of spikes in the model.
    """

    radius: Reals
    limits: tuple[Margin | None, ...]
    other_spikes: Booleans

    @property
    def within(self) -> Booleans:
        """Samples in which the model's resolution cannot change the order of events, (n_samples,)."""
        return self.radius >= 1.0

    @property
    def unexplained(self) -> Booleans:
        """Samples with other spikes, which the model's resolution does not explain, (n_samples,)."""
        return self.other_spikes & self.within

    def __str__(self) -> str:
        n, other, unexplained = self.radius.size, int(self.other_spikes.sum()), int(self.unexplained.sum())
        text = (
            f"The model's resolution leaves {int(self.within.sum())} of {n} samples in the smooth piece of the exact "
            f"network; {other} {'has' if other == 1 else 'have'} a neuron with more or fewer spikes"
        )
        if unexplained:
            first = int(np.argmax(self.unexplained))
            return (
                f"{text}, {unexplained} of them although the resolution does not explain it: look for a bug, first in "
                f"sample {first}, whose order of events stays up to {self.radius[first]:.3g} times the resolution."
            )
        if not other:
            return f"{text}."
        return f"{text}, all of which its resolution explains."


def spike_order(
    solution: es.Solution,
    spikes: Mapping[str, SpikeMatch],
    resolution: Mapping[str, Mapping[Any, Any]],
) -> SpikeOrder:
    """Hold a model's other spikes against its resolution.

    Parameters
    ----------
    solution : Solution
        The exact one.
    spikes : mapping of str to SpikeMatch
        Of a :class:`~eventsolve.compare.Comparison`.
    resolution : mapping of str to mapping
        By how much the model may be off, as ``of`` of :func:`eventsolve.trust_radius`.
    """
    estimate = es.trust_radius(solution, resolution, certify=False)
    other = np.zeros(solution.n_samples, np.bool_)
    for match in spikes.values():
        other |= (match.exact.counts() != match.model.counts()).any(axis=1)
    return SpikeOrder(estimate.radius, estimate.limits, other)
