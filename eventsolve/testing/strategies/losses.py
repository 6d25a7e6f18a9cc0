"""Losses that fit what they read, on spike times or on voltages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from eventsolve import losses as es_losses
from eventsolve.checks import instance, shown
from eventsolve.losses import Loss
from eventsolve.network import Network
from eventsolve.testing.strategies.kernels import once_compiled
from eventsolve.testing.strategies.options import Draw, Range, check_names

LOSSES = (
    "TTFSCrossEntropy",
    "TargetTimeMSE",
    "RelativeMSE",
    "MaxVoltageCrossEntropy",
    "MeanVoltageCrossEntropy",
    "InstantCrossEntropy",
)
"""Losses that :func:`losses` draws; those on voltages get a readout without threshold."""


def losses(
    network: Network, n_samples: int, *, kinds: Sequence[str] = LOSSES, population: str = "out"
) -> st.SearchStrategy[Loss]:
    """Draw losses on a population of a network.

    Parameters
    ----------
    network : Network
    n_samples : int
    kinds : sequence of str
        Names in :data:`LOSSES`; those that do not fit the population, on spikes or on voltages, are left out.
    population : str

    Raises
    ------
    ValueError
        For an unknown kind, or if none fits.
    """
    instance("network", network, Network)
    check_kinds(kinds)
    output = network.population(population)
    fitting = [
        kind for kind in kinds if output.neuron is not None and on_spikes(kind) == output.neuron.spiking
    ]
    if not fitting:
        raise ValueError(f"kinds must have one that fits {population!r}; got {shown(kinds)}")
    labels = st.lists(st.integers(0, max(output.size - 1, 0)), min_size=n_samples, max_size=n_samples)
    return once_compiled(
        st.one_of([_loss(kind, population, labels, (n_samples, output.size)) for kind in fitting])
    )


@st.composite
def _loss(draw: Draw, kind: str, population: str, labels: st.SearchStrategy[list[int]], shape: Range) -> Loss:
    loss: Any = getattr(es_losses, kind)
    if kind == "TargetTimeMSE":
        # before or after the trial: near a spike, t - target would be all rounding, or all time step
        times = st.sampled_from([0.0, 0.1, 0.2])
        return loss(population, np.reshape([draw(times) for _ in range(shape[0] * shape[1])], shape))  # type: ignore[no-any-return]
    arguments: dict[str, Any] = {}
    if kind == "TTFSCrossEntropy":
        arguments = {"tau0": 2e-3, "tau1": 10e-3, "alpha": draw(st.sampled_from([0.0, 3e-3, 0.1]))}
    elif kind == "RelativeMSE":
        arguments = {"gap": draw(st.sampled_from([0.0, 5e-3]))}
    return loss(population, np.array(draw(labels), dtype=np.int64), **arguments)  # type: ignore[no-any-return]


def on_spikes(kind: str) -> bool:
    """Return whether a loss reads spikes, and not voltages."""
    return "Voltage" not in kind and kind != "InstantCrossEntropy"


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise a ValueError unless there are kinds, all in :data:`LOSSES`."""
    check_names("kinds", kinds, LOSSES)
    if not kinds:
        raise ValueError(f"kinds must name at least one of {', '.join(LOSSES)}; got none")
