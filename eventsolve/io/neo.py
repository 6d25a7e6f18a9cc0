"""Spikes from and to Neo, the data model of electrophysiology and of PyNN's ``get_data``; the extra ``neo``.

A Block is a batch, a Segment of it a sample, a SpikeTrain of that a neuron.
"""

from __future__ import annotations

from typing import Any

import neo
import numpy as np
import quantities as pq

from eventsolve.checks import count, seconds, seconds_array
from eventsolve.spiketrains import SpikeTrains


def from_neo(block: Any, *, n_neurons: int | None = None) -> SpikeTrains:
    """Return the spikes of a Neo block.

    A train belongs to the neuron that its annotation ``source_index`` names, as PyNN writes it; without one trains are
    numbered as they stand. Times may be in any unit and order, and are those of the block: they count from its time 0.

    Parameters
    ----------
    block : neo.Block
    n_neurons : int, optional
        Default: as many as the longest segment has trains, or the largest source_index says.

    Raises
    ------
    TypeError
        If it is not a neo.Block.
    ValueError
        If two trains of a segment are of one neuron, a neuron is beyond n_neurons, a time is negative, or a neuron has
        a time twice.
    """
    if not isinstance(block, neo.Block):
        raise TypeError(f"block must be a neo.Block; got {type(block).__name__}")
    samples: list[dict[int, list[float]]] = []
    for number, segment in enumerate(block.segments):
        trains: dict[int, list[float]] = {}
        for place, train in enumerate(segment.spiketrains):
            neuron = count(f"source_index in segment {number}", train.annotations.get("source_index", place))
            if neuron in trains:
                raise ValueError(f"segment {number} has two trains of neuron {neuron}")
            times = seconds_array(f"train {place} of segment {number}", train)
            trains[neuron] = np.sort(times).tolist()
        samples.append(trains)
    most = max((neuron + 1 for trains in samples for neuron in trains), default=0)
    size = most if n_neurons is None else count("n_neurons", n_neurons)
    if most > size:
        raise ValueError(f"n_neurons must be at least {most}, as neuron {most - 1} has a train; got {size}")
    return SpikeTrains.from_lists(
        [[trains.get(neuron, []) for neuron in range(size)] for trains in samples], n_neurons=size
    )


def to_neo(trains: SpikeTrains, *, t_stop: float, name: str | None = None) -> Any:
    """Return a Neo block: a segment per sample, a train per neuron in seconds, annotated with ``source_index``.

    Parameters
    ----------
    trains : SpikeTrains
    t_stop : float
        Seconds: the end of every train, at least as late as the last spike.
    name : str, optional
        Of the block.

    Raises
    ------
    ValueError
        If a spike comes after t_stop.
    """
    t_stop = seconds("t_stop", t_stop)
    latest = float(trains.times.max(initial=0.0))
    if not t_stop >= latest:
        raise ValueError(f"t_stop must be at least {latest!r} s, the time of the last spike; got {t_stop!r}")
    block = neo.Block(name=name)
    for number, sample in enumerate(trains.to_lists()):
        segment = neo.Segment(index=number)
        for neuron, times in enumerate(sample):
            segment.spiketrains.append(neo.SpikeTrain(times, units=pq.s, t_stop=t_stop, source_index=neuron))
        block.segments.append(segment)
    return block
