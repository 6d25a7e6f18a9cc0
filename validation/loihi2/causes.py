"""The differences between Loihi 2 and the exact network: each can be left out, to see what it does."""

from __future__ import annotations

from collections.abc import Iterable

MEANINGS = {
    "grid": "spikes are seen at the end of the step in which they happen, one a step at most",
    "input_rounding": "input spikes are moved to the grid",
    "kernel": "weights are scaled by mlGeNN's k, not by the response that is exact on the grid",
    "weight_rounding": "weights are whole quanta",
    "weight_clipping": "weights beyond the largest are cut to it",
    "decays": "decays are whole 4096ths, which are other time constants",
    "truncation": "what is left of a state after a step is cut towards 0 to a whole number",
    "threshold": "thresholds and biases are whole quanta, and the readout's threshold may be reached",
    "delays": "delays are whole steps",
    "limits": "currents turn over, and voltages end, at 24 bits",
}
"""What each cause does, in a sentence. Without ``grid`` the remaining network is solved exactly in continuous time, and
``truncation`` and ``limits``, which belong to steps, do nothing."""

ALL = tuple(MEANINGS)
PARAMETERS = ("kernel", "weight_rounding", "weight_clipping", "decays", "threshold", "delays")
"""The causes that are errors of parameters: with these only, the network of the program is solved exactly."""


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of causes in their order, or raise a ValueError for an unknown name."""
    given = set(names)
    unknown = sorted(given - set(ALL))
    if unknown:
        raise ValueError(f"causes are {', '.join(ALL)}; got {', '.join(map(repr, unknown))}")
    return tuple(name for name in ALL if name in given)
