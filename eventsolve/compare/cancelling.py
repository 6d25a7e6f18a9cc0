"""What is left of a gradient whose terms cancel: by how much roundings of the terms may move it.

Many losses do not change as a spike moves: the maximum of a voltage that a single spike makes moves with it, and is as
high. By its time and by its delay the derivative is 0, of terms that are not, and float64 has a rounding of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eventsolve.network import Network
from eventsolve.synapses import by_synapse

ROUNDINGS = 64 * float(np.finfo(np.float64).eps)
"""By which part of its terms a sum of them may be off."""


def roundings_of(network: Network, weight: Mapping[Any, Any]) -> dict[tuple[str, Any], float]:
    """Return by how much dL/dt of every population and dL/ddelay of every projection may be off where they cancel, 1/s.

    A spike acts on its target by terms of the size of w lambda_I, which is w dL/dw / tau (MODEL, Backward): the largest
    of them is what roundings are measured by.

    Parameters
    ----------
    network : Network
    weight : mapping of projection to array
        The exact dL/dw, in any layout that gradients have; projections may be left out.

    Returns
    -------
    mapping of (quantity, place) to float
    """
    found: dict[tuple[str, Any], float] = {}
    for key, values in weight.items():
        projection = network.projections[key]
        flat = np.reshape(by_synapse("weight", values, values), (-1, projection.weights.size))
        post = network.population(projection.post)
        tau = min(float(post.parameter(name).min(initial=np.inf)) for name in ("tau_mem", "tau_syn"))
        terms = float(np.abs(flat * projection.weights).max(initial=0.0)) / tau
        off = ROUNDINGS * terms if np.isfinite(terms) else 0.0
        found["delay", key] = off
        of_spikes = "spike_times", projection.pre
        found[of_spikes] = max(off, found.get(of_spikes, 0.0))
    return found
