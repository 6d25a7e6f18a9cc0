"""What training does about silent neurons: a spike that is not there has no gradient, exact or not.

None of these rules is a gradient; a recipe names the one that it uses, by the word of its publication where it has one.

"none"
    Nothing (Wunderlich & Pehle 2021; Béna et al. 2024 by default). The early-spike term of the loss holds the outputs'
    spikes inside the run; a hidden neuron that fell silent on all samples stays so.
"bump"
    Göltz et al. (2021, 2025): where more than a share of all spikes of a layer is missing, counted over samples and
    neurons, or any of the outputs', the batch raises all weights onto those neurons that were silent in some
    sample, instead of taking a gradient step. Only the foremost such layer is raised; the amount doubles
    from batch to batch for as long as the layer stays the same.
"resolve"
    Béna et al. (2024, ``resolve_silent``): before the gradient is taken, all weights onto neurons that are silent over
    the whole batch are raised by 1 / sqrt(fan-in), again and again until none is silent.
"raise"
    After every gradient step, all weights onto hidden neurons that are silent over the whole batch are raised a little,
    and those onto an output by how many of the batch's samples are of its class and do not make it spike: nothing
    else teaches such a sample. Both less as the learning rate falls: what no gradient balances would otherwise outgrow
    the last steps. Not published: "bump" raises an output as much for one sample as for all, and does nothing about a
    few hidden neurons that are always silent, and "resolve" ends what a neuron had learned at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from eventsolve.typing import Integers
from validation.tasks.yin_yang.engines import Activity
from validation.tasks.yin_yang.recipe import Parameters

SHARES = (0.3, 0.0)
"""Of the spikes of hidden neurons and of outputs that may be missing before a bump, as published for Yin-Yang."""
FIRST_BUMP = 0.5e-3
"""Of the first bump, in the unit of v_threshold."""
RAISE = 1e-3
"""Of "raise", for a hidden neuron, after every batch at the first learning rate, in the unit of v_threshold."""
RAISE_OUTPUT = 1e-2
"""Of "raise", for an output, times the share of the batch's samples that it misses."""
MAX_INCREASES = 1000
"""After which "resolve" gives up: a neuron without inputs never spikes."""


class Bump(NamedTuple):
    """The layer that was bumped in the last batch, -1 for none, and by how much."""

    layer: int = -1
    amount: float = 0.0


def bumped(parameters: Parameters, activity: Activity, last: Bump) -> tuple[Parameters, Bump]:
    """Return raised weights if too many spikes are missing; otherwise the same parameters, and ``Bump()``."""
    for layer, (counts, share) in enumerate(zip(activity.counts, SHARES, strict=True)):
        silent = counts == 0
        if silent.mean() > share:
            amount = 2 * last.amount if last.layer == layer else FIRST_BUMP
            return _with_more(parameters, layer, amount * silent.any(axis=0)), Bump(layer, amount)
    return parameters, Bump()


def raised(parameters: Parameters, activity: Activity, labels: Integers, share: float) -> Parameters:
    """Return weights raised, by a share of the full amounts."""
    hidden, out = activity.counts
    missed = out[np.arange(len(labels)), labels] == 0
    by_class = np.bincount(labels[missed], minlength=out.shape[1]) / len(labels)
    parameters = _with_more(parameters, 0, share * RAISE * (hidden == 0).all(axis=0))
    return _with_more(parameters, 1, share * RAISE_OUTPUT * by_class)


def resolved(parameters: Parameters, run: Callable[[Parameters], Activity]) -> Parameters:
    """Return weights with which every neuron spikes in some sample.

    Raises
    ------
    RuntimeError
        If MAX_INCREASES are not enough.
    """
    for _ in range(MAX_INCREASES):
        activity = run(parameters)
        silent = [(counts == 0).all(axis=0) for counts in activity.counts]
        if not any(s.any() for s in silent):
            return parameters
        for layer, s in enumerate(silent):
            fan_in = parameters.weights[layer].shape[1]
            parameters = _with_more(parameters, layer, s / math.sqrt(fan_in))
    raise RuntimeError(
        f"after {MAX_INCREASES} increases of their weights, "
        f"{sum(int(s.sum()) for s in silent)} neurons are still silent"
    )


def _with_more(
    parameters: Parameters, layer: int, amounts: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Parameters:
    weights = list(parameters.weights)
    weights[layer] = weights[layer] + amounts[:, None]
    return Parameters(tuple(weights), parameters.delays)
