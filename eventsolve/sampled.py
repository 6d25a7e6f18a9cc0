"""Where a loss samples voltages, as kernels take it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from eventsolve.kernels.tables import Sampled
from eventsolve.losses import VoltageSamples
from eventsolve.schedule import Layer


@cache
def _nothing_read(n_samples: int) -> Sampled:
    nowhere = np.empty(0, np.int64)
    return Sampled(np.empty(0), nowhere, np.zeros(n_samples + 1, np.int64), nowhere, np.empty(0))


def sampled_of(voltage_samples: VoltageSamples, low: int, high: int) -> Sampled:
    """Return where a loss samples voltages in samples low to high of the batch, as kernels take it."""
    offsets = np.searchsorted(voltage_samples.samples, np.arange(low, high + 1))
    piece = slice(offsets[0], offsets[-1])
    return Sampled(
        voltage_samples.times[piece].copy(),
        voltage_samples.neurons[piece].copy(),
        offsets - offsets[0],
        voltage_samples.arrivals[piece].copy(),
        voltage_samples.cotangents[piece].copy(),
    )


def joined_samples(layer: Layer, sampled: Mapping[str, Sampled], n_samples: int) -> Sampled:
    """Return the voltage samples of all populations of a layer, its neurons numbered through."""
    parts = [
        sampled[name]._replace(neurons=sampled[name].neurons + first)
        for name, first in zip(layer.name, layer.offsets.tolist(), strict=False)
        if name in sampled
    ]
    if not parts:
        return _nothing_read(n_samples)
    if len(parts) == 1:
        return parts[0]
    samples = np.concatenate([np.repeat(np.arange(n_samples), np.diff(p.offsets)) for p in parts])
    order = np.argsort(samples, kind="stable")
    return Sampled(
        np.concatenate([p.times for p in parts])[order],
        np.concatenate([p.neurons for p in parts])[order],
        sum((p.offsets for p in parts), np.zeros(n_samples + 1, np.int64)),
        np.concatenate([p.arrival for p in parts])[order],
        np.concatenate([p.cotangents for p in parts])[order],
    )
