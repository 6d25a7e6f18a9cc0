"""Where two results part first: a place, what was expected there, what was got, and the margin.

Spikes are paired as :func:`eventsolve.compare.match_spikes` does; what is left over, missed or extra, is off. Of one
population the earliest of the first sample is named, as what comes later may follow from it. Of gradients the entry
furthest beyond its margin is named. A number that is not finite is within no margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eventsolve.checks import first_entry
from eventsolve.compare.matching import SpikeMatch, match_spikes
from eventsolve.shown import several
from eventsolve.spiketrains import SpikeTrains
from eventsolve.synapses import Synapses
from eventsolve.typing import Key, Reals


@dataclass(frozen=True)
class Divergence:
    """One place at which a result is not the expected one.

    Attributes
    ----------
    quantity : str
        "spikes", "loss", or a gradient's name, such as "weight" or "spike_times".
    place : str or tuple of str
        Population or projection; "" for the loss.
    sample : int or None
        None where the batch is reduced.
    neuron : int or None
        Of the population, or the target neuron of a synapse.
    source : int or None
        Source neuron of a synapse.
    spike : int or None
        Which of the neuron's spikes in that sample, from 0, as expected; of an extra one as got.
    expected, got : float or None
        None where there is no such spike. Seconds, or the gradient's unit.
    margin : float
        By how much ``got`` may differ.
    count, size : int
        How many entries of this quantity and place are off, of how many; of spikes, of the expected ones.
    extra : int
        How many spikes are not among the expected ones.
    not_finite : int
        How many of the entries that are off are NaN or infinite.
    """

    quantity: str
    place: str | Key
    sample: int | None
    neuron: int | None
    source: int | None
    spike: int | None
    expected: float | None
    got: float | None
    margin: float
    count: int
    size: int
    extra: int = 0
    not_finite: int = 0

    @property
    def where(self) -> str:
        """The place in words."""
        words = []
        if self.neuron is not None:
            words.append(f"neuron {self.neuron}")
        if self.source is not None:
            words[-1] = f"synapse [post {self.neuron}, pre {self.source}]"
        if self.place:
            words.append(f"of {self.place!r}")
        if self.sample is not None:
            words.append(f"in sample {self.sample}" if words else f"sample {self.sample}")
        text = " ".join(words) if words else "the whole batch"
        return text if self.spike is None else f"{text}, spike {self.spike}"

    def __str__(self) -> str:
        what = NAMES.get(self.quantity, f"dL/d{self.quantity}")
        if self.expected is None:
            off = f"expected no spike, got one at {self.got!r} s"
        elif self.got is None:
            off = f"expected a spike at {self.expected!r} s, got none"
        else:
            unit = " s" if self.quantity == "spikes" else ""
            off = f"expected {self.expected!r}{unit}, got {self.got!r}{unit}"
            if math.isfinite(self.got):
                off += f", off by {self.got - self.expected:+.3g}{unit}"
            else:
                off += f", which is {'not a number' if math.isnan(self.got) else 'infinite'}"
        many = f"{self.count} of {self.size} are off" if self.count else f"none of {self.size} by itself"
        many += f", {self.not_finite} of them not finite" if self.not_finite else ""
        if self.quantity == "spikes":
            many = f"{self.count} of {self.size} are off or missing, {self.extra} got are not expected"
        return f"{what} differ at {self.where}: {off} (margin {self.margin:.3g}); {many}"


NAMES = {"spikes": "spikes", "loss": "losses", "weight": "dL/dw", "spike_times": "dL/dt"}
"""Quantities whose symbol is not ``dL/d`` and their name."""


# -- spikes --------------------------------------------------------------------------------------------------------


def spike_divergence(match: SpikeMatch) -> Divergence | None:
    """Return the earliest spike of the first sample that is missed or extra, or None.

    One that has another one without partner in the same neuron and sample is taken to be that one, early or late.
    """
    missed, extra = match.missed, match.extra
    if not (missed.size or extra.size):
        return None
    sides = ((match.exact, missed), (match.model, extra))
    samples, times, side, places = (
        np.concatenate(columns)
        for columns in zip(
            *(
                (trains.samples[k], trains.times[k], np.full(k.size, which), k)
                for which, (trains, k) in enumerate(sides)
            ),
            strict=True,
        )
    )
    first = int(np.lexsort((side, times, samples))[0])
    trains, k = sides[side[first]][0], int(places[first])
    sample, neuron, time = int(trains.samples[k]), int(trains.neurons[k]), float(trains.times[k])
    others, left = sides[1 - side[first]]
    own = left[(others.samples[left] == sample) & (others.neurons[left] == neuron)]
    other = float(others.times[own[np.argmin(np.abs(others.times[own] - time))]]) if own.size else None
    here = (trains.samples == sample) & (trains.neurons == neuron)
    expected, got = (time, other) if trains is match.exact else (other, time)
    return Divergence(
        "spikes",
        match.population,
        sample,
        neuron,
        None,
        int(np.count_nonzero(here[:k])),
        expected,
        got,
        match.window,
        int(missed.size),
        match.exact.n_spikes,
        int(extra.size),
    )


def first_spike_divergence(
    expected: Mapping[str, SpikeTrains],
    got: Mapping[str, SpikeTrains],
    atol: float | Mapping[str, float],
    depth: Mapping[str, int] | None = None,
) -> Divergence | None:
    """Return the first spike that is off by more than atol, missed or extra, or None.

    First are populations near the inputs, if their ``depth`` is known; then samples, then times.
    """
    found: list[tuple[tuple[int, int, float], Divergence]] = []
    for name in got:
        window = atol[name] if isinstance(atol, Mapping) else atol
        divergence = spike_divergence(match_spikes(name, expected[name], got[name], window))
        if divergence is not None:
            found.append(((0 if depth is None else depth[name], *when(divergence)), divergence))
    return min(found, key=lambda entry: entry[0])[1] if found else None


def when(divergence: Divergence) -> tuple[int, float]:
    """Return the sample and the time at which a spike is off."""
    times = [time for time in (divergence.expected, divergence.got) if time is not None]
    return divergence.sample or 0, min(times)


# -- numbers -------------------------------------------------------------------------------------------------------


def margin_of(expected: Reals, rtol: float, atol: float) -> float:
    """Return by how much numbers may be off: ``atol + rtol * max |expected|``."""
    return atol + rtol * float(np.abs(expected).max(initial=0.0))


def within(expected: Reals, got: Reals, margin: float) -> bool:
    """Return whether all numbers are within a margin; NaN is not."""
    with np.errstate(invalid="ignore"):
        return expected.shape == got.shape and bool((np.abs(got - expected) <= margin).all())


def not_finite(values: Reals) -> str:
    """Return how many numbers are NaN or infinite, and which is the first, in words; "" if none is."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return ""
    of = several(bad.size, "entry", "entries")
    return f"not finite in {np.count_nonzero(bad)} of {of}, {first_entry(values, bad)}"


def number_divergence(
    quantity: str,
    place: str | Key,
    expected: Reals,
    got: Reals,
    margin: float,
    *,
    per_sample: bool,
    synapses: Synapses | None = None,
    always: bool = False,
) -> Divergence | None:
    """Return the entry that is furthest off if one is off by more than the margin or it is asked for ``always``.

    Axes are, as far as there are any: sample (if ``per_sample``), neuron, source neuron; or, after the sample, one for
    the ``synapses``.
    """
    with np.errstate(invalid="ignore"):
        error = np.abs(got - expected)
    off = ~(error <= margin)
    if not (off.any() or (always and off.size)):
        return None
    worst = np.unravel_index(int(np.argmax(np.where(np.isfinite(error), error, np.inf))), error.shape)
    index = [int(i) for i in worst]
    sample = index.pop(0) if per_sample else None
    if synapses is not None:
        index = [int(neurons[index[0]]) for neurons in synapses]
    neuron, source = (*index, None, None)[:2]
    return Divergence(
        quantity,
        place,
        sample,
        neuron,
        source,
        None,
        float(expected[worst]),
        float(got[worst]),
        margin,
        int(np.count_nonzero(off)),
        int(off.size),
        not_finite=int(np.count_nonzero(~np.isfinite(got))),
    )


def spike_time_divergence(
    place: str,
    trains: SpikeTrains,
    expected: Reals,
    got: Reals,
    margin: float,
    *,
    of: NDArray[np.int64] | None = None,
    always: bool = False,
) -> Divergence | None:
    """Return the spike whose dL/dt is furthest off, as :func:`number_divergence`.

    Numbers are of all spikes of the trains, in their order, or of some: those at the places ``of``.
    """
    found = number_divergence("spike_times", place, expected, got, margin, per_sample=False, always=always)
    if found is None or found.neuron is None:
        return found
    k = found.neuron if of is None else int(of[found.neuron])
    sample, neuron = int(trains.samples[k]), int(trains.neurons[k])
    here = (trains.samples == sample) & (trains.neurons == neuron)
    return replace(found, sample=sample, neuron=neuron, spike=int(np.count_nonzero(here[:k])))
