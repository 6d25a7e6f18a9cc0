"""Spikes in the two ways in which PyNN programs write them as plain numbers; both in milliseconds.

What ``Population.get_data`` gives is a Neo block, for :func:`eventsolve.io.neo.from_neo`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eventsolve.checks import count, first_entry, real_array
from eventsolve.spiketrains import SpikeTrains


def to_spike_times(trains: SpikeTrains, sample: int = 0) -> list[list[float]]:
    """Return one sample as ``SpikeSourceArray(spike_times=...)`` takes it: a list of milliseconds per neuron."""
    (lists,) = trains.select([sample]).to_lists()
    return [[1e3 * t for t in train] for train in lists]


def from_events(events: ArrayLike, *, n_neurons: int) -> SpikeTrains:
    """Return one sample from rows (neuron, time in milliseconds) in any order, as sPyNNaker and older files have them.

    Parameters
    ----------
    events : array_like, (n_spikes, 2)
    n_neurons : int
        Size of the population: silent neurons have no rows.

    Raises
    ------
    ValueError
        If the shape is another, a neuron is not an integer in 0..n_neurons - 1, a time is negative or not finite, or a
        row occurs twice.
    """
    rows = real_array("events", events, "rows of neuron and time in milliseconds")
    if rows.size == 0:
        rows = rows.reshape(0, 2)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"events must have shape (n_spikes, 2); got {rows.shape}")
    size = count("n_neurons", n_neurons)
    neurons = rows[:, 0]
    bad = ~((neurons >= 0) & (neurons < size) & (neurons == np.floor(neurons)))
    if bad.any():
        raise ValueError(f"neurons of events must be integers in 0..{size - 1}; {first_entry(neurons, bad)}")
    times = rows[:, 1] / 1e3  # 9 ms is 0.009 s, which 9 * 1e-3 is not
    order = np.lexsort((neurons, times))
    return SpikeTrains.from_arrays(times[order], neurons[order].astype(np.int64), n_neurons=size)
