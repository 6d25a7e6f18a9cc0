"""Where a loss reads voltages, as kernels take it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from eventsolve.kernels.tables import Probes
from eventsolve.losses import VoltageReads
from eventsolve.schedule import Layer


@cache
def _nothing_read(n_samples: int) -> Probes:
    nowhere = np.empty(0, np.int64)
    return Probes(np.empty(0), nowhere, np.zeros(n_samples + 1, np.int64), nowhere, np.empty(0))


def probes_of(reads: VoltageReads, low: int, high: int) -> Probes:
    """Return what a loss reads in samples low to high, as kernels take it."""
    offsets = np.searchsorted(reads.samples, np.arange(low, high + 1))
    piece = slice(offsets[0], offsets[-1])
    return Probes(
        reads.times[piece].copy(),
        reads.neurons[piece].copy(),
        offsets - offsets[0],
        reads.arrivals[piece].copy(),
        reads.cotangents[piece].copy(),
    )


def joined_probes(layer: Layer, reads: Mapping[str, Probes], n_samples: int) -> Probes:
    """Return the probes of all populations of a layer, its neurons numbered through."""
    parts = [
        reads[name]._replace(neurons=reads[name].neurons + first)
        for name, first in zip(layer.name, layer.offsets.tolist(), strict=False)
        if name in reads
    ]
    if not parts:
        return _nothing_read(n_samples)
    if len(parts) == 1:
        return parts[0]
    samples = np.concatenate([np.repeat(np.arange(n_samples), np.diff(p.offsets)) for p in parts])
    order = np.argsort(samples, kind="stable")
    return Probes(
        np.concatenate([p.times for p in parts])[order],
        np.concatenate([p.neurons for p in parts])[order],
        sum((p.offsets for p in parts), np.zeros(n_samples + 1, np.int64)),
        np.concatenate([p.arrival for p in parts])[order],
        np.concatenate([p.cotangents for p in parts])[order],
    )
