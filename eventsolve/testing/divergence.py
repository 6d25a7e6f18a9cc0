"""Where two results part first: a place, what was expected there, what was got, and the margin.

Spikes are paired neuron by neuron, in order, so that one that is missed is not taken for all later ones being late;
of those that are off, missed or extra the earliest of the first sample is named, as what comes later may follow from
it. Of gradients the entry furthest beyond its margin is named. A number that is not finite is within no margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventsolve.matching import SpikeMatch, match_spikes
from eventsolve.network import Key
from eventsolve.spiketrains import SpikeTrains
from eventsolve.synapses import Synapses

Reals = NDArray[np.float64]


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
        How many entries of this quantity and place are off, of how many.
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
            difference = self.got - self.expected
            off = f"expected {self.expected!r}{unit}, got {self.got!r}{unit}, off by {difference:+.3g}{unit}"
        return (
            f"{what} differ at {self.where}: {off} (margin {self.margin:.3g}); "
            f"{self.count} of {self.size} are off"
        )


NAMES = {"spikes": "spikes", "loss": "losses", "weight": "dL/dw", "spike_times": "dL/dt"}
"""Quantities whose symbol is not ``dL/d`` and their name."""


class Mismatch(AssertionError):
    """An implementation departs from the exact result.

    Attributes
    ----------
    divergence : Divergence
        Where, first.
    slips : tuple of str
        What it looks like: convention slips that would give this result.
    """

    def __init__(self, divergence: Divergence, slips: tuple[str, ...], agreed: tuple[str, ...] = ()) -> None:
        lines = [str(divergence)]
        lines += [f"looks like: {slip}" for slip in slips] or ["it looks like none of the known slips"]
        if agreed:
            lines.append(f"what comes before agrees: {', '.join(agreed)}")
        super().__init__("\n  ".join(lines))
        self.divergence, self.slips = divergence, slips


# -- spikes --------------------------------------------------------------------------------------------------------


def paired(population: str, expected: SpikeTrains, got: SpikeTrains) -> SpikeMatch:
    """Pair the spikes of every neuron in order, however far apart: as many as can be, moved as little as can be."""
    latest = max(float(trains.times.max(initial=0.0)) for trains in (expected, got))
    return match_spikes(population, expected, got, latest)


def first_spike_divergence(
    expected: Mapping[str, SpikeTrains], got: Mapping[str, SpikeTrains], atol: float
) -> Divergence | None:
    """Return the earliest spike of the first sample that is off by more than atol, missed or extra, or None."""
    found: list[tuple[tuple[int, float], Divergence]] = []
    for name in got:
        match = paired(name, expected[name], got[name])
        off = np.flatnonzero(~(np.abs(match.shift) <= atol))
        count, size = off.size + match.missed.size + match.extra.size, match.exact.n_spikes
        candidates = [(match.exact, match.exact_index[k], match.model_index[k]) for k in off]
        candidates += [(match.exact, k, None) for k in match.missed]
        candidates += [(match.model, k, None) for k in match.extra]
        if not candidates:
            continue
        trains, k, partner = min(
            candidates, key=lambda entry: (int(entry[0].samples[entry[1]]), float(entry[0].times[entry[1]]))
        )
        time, sample, neuron = float(trains.times[k]), int(trains.samples[k]), int(trains.neurons[k])
        other = None if partner is None else float(match.model.times[partner])
        here = (trains.samples == sample) & (trains.neurons == neuron)
        divergence = Divergence(
            "spikes",
            name,
            sample,
            neuron,
            None,
            int(np.count_nonzero(here[:k])),
            time if trains is match.exact else None,
            other if trains is match.exact else time,
            atol,
            count,
            size,
        )
        found.append(((sample, time), divergence))
    return min(found, key=lambda entry: entry[0])[1] if found else None


# -- numbers -------------------------------------------------------------------------------------------------------


def margin_of(expected: Reals, rtol: float, atol: float) -> float:
    """Return by how much numbers may be off: ``atol + rtol * max |expected|``."""
    return atol + rtol * float(np.abs(expected).max(initial=0.0))


def within(expected: Reals, got: Reals, margin: float) -> bool:
    """Return whether all numbers are within a margin; NaN is not."""
    with np.errstate(invalid="ignore"):
        return expected.shape == got.shape and bool((np.abs(got - expected) <= margin).all())


def number_divergence(
    quantity: str,
    place: str | Key,
    expected: Reals,
    got: Reals,
    margin: float,
    *,
    per_sample: bool,
    synapses: Synapses | None = None,
) -> Divergence | None:
    """Return the entry that is furthest off if one is off by more than the margin, else None.

    Axes are, as far as there are any: sample (if ``per_sample``), neuron, source neuron; or, after the sample, one for
    the ``synapses``.
    """
    with np.errstate(invalid="ignore"):
        error = np.abs(got - expected)
    off = ~(error <= margin)
    if not off.any():
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
    )


def spike_time_divergence(
    place: str, trains: SpikeTrains, expected: Reals, got: Reals, margin: float
) -> Divergence | None:
    """Return the spike whose dL/dt is furthest off if one is off by more than the margin, else None."""
    found = number_divergence("spike_times", place, expected, got, margin, per_sample=False)
    if found is None or found.neuron is None:
        return found
    k = found.neuron
    sample, neuron = int(trains.samples[k]), int(trains.neurons[k])
    here = (trains.samples == sample) & (trains.neurons == neuron)
    return Divergence(
        "spike_times",
        place,
        sample,
        neuron,
        None,
        int(np.count_nonzero(here[:k])),
        found.expected,
        found.got,
        margin,
        found.count,
        found.size,
    )
