"""What sets the chip apart from the ideal network, piece by piece: each can be left out, to see what it does."""

from __future__ import annotations

from collections.abc import Iterable

MEANINGS = {
    "weight_grid": "weights are multiples of weight_step, within weight_max of them",
    "unrounded": "the gradient is taken at the weights before they were rounded",
    "delay_grid": "delays are multiples of delay_step, from delay_min to delay_max",
    "threshold_mean": "all thresholds are higher by threshold_mean",
    "threshold_spread": "every neuron has a threshold of its own",
    "tau_spread": "every neuron has time constants of its own",
    "gain_spread": "every synapse has a strength of its own",
    "delay_spread": "every delay circuit has a delay of its own",
    "threshold_noise": "thresholds are others in every trial",
    "jitter": "every spike is a little early or late, and so is what a delay circuit sends",
    "lost": "some spikes are lost on the way: nobody receives or records them",
    "extra": "neurons seem to spike when they did not",
    "refractory": "a neuron may spike again after t_ref of the chip: that is sent, and not recorded",
    "time_grid": "times are recorded in multiples of time_stamp",
}
"""What each cause does, in a sentence; :class:`validation.brainscales2.BrainScaleS2` has how much."""

NAMES = tuple(MEANINGS)


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of causes, or raise a ValueError that says which there are."""
    given = tuple(names)
    for name in given:
        if name not in MEANINGS:
            raise ValueError(f"causes are {', '.join(NAMES)}; got {name!r}")
    return given
