"""Spikes that are claimed beside spikes that are proven."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from flint import arb

from eventsolve.certify.balls import is_within, order
from eventsolve.certify.boxes import Box
from eventsolve.certify.forward import Enclosed
from eventsolve.checks import shown
from eventsolve.spiketrains import SpikeTrains

Claims: TypeAlias = Mapping[str, tuple[list[float], list[int]]]
"""Times in seconds and neurons of the spikes of one sample, by population, in the order of SpikeTrains."""


class Refutation(NamedTuple):
    """A claim that is proven wrong.

    Attributes
    ----------
    kind : {"missed", "extra", "moved"}
        A spike that the claim lacks, one that there is not, or one at another time.
    population, sample, neuron
    time : float
        When the spike is, in seconds; nan for an extra one.
    claimed : float
        When it is claimed to be, in seconds; nan for a missed one.
    """

    kind: Literal["missed", "extra", "moved"]
    population: str
    sample: int
    neuron: int
    time: float
    claimed: float

    @property
    def when(self) -> float:
        """The earlier of the two times."""
        return min(t for t in (self.time, self.claimed) if not math.isnan(t))

    def __str__(self) -> str:
        who = f"neuron {self.neuron} of {self.population!r} in sample {self.sample}"
        if self.kind == "missed":
            return f"{who} spikes at {self.time!r} s, which is missing"
        if self.kind == "extra":
            return f"{who} does not spike at {self.claimed!r} s, as is claimed"
        return f"{who} spikes at {self.time!r} s, not at {self.claimed!r} s"


@dataclass(frozen=True)
class Judgement:
    """What became of the spikes that one sample claims of one population.

    ``matched`` holds the place of a proven spike among ``Enclosed.spikes`` for every claimed one, -1 where there is
    none. ``open_at_end`` are the neurons of which a box decides only in part whether they spike before t_end.
    """

    matched: list[int]
    refuted: list[Refutation]
    open_at_end: list[int]


def judge(
    box: Box,
    enclosed: Enclosed,
    allowed: Sequence[float],
    population: str,
    sample: int,
    times: Sequence[float],
    neurons: Sequence[int],
) -> Judgement:
    """Hold the spikes that are claimed of a population, in the order of SpikeTrains, against those that are proven.

    Of a neuron for which something stays open only spikes before that are judged, and of any only those up to when its
    sample was solved. A spike that comes within its
    tolerance of t_end may be claimed or not.
    """
    place = box.populations[population]
    proven: dict[int, list[int]] = {}
    for k in range(enclosed.n_given, len(enclosed.spikes)):
        cell = enclosed.spikes[k].cell
        if place.start <= cell < place.stop:
            proven.setdefault(cell - place.start, []).append(k)
    claimed: dict[int, list[int]] = {}
    for q, neuron in enumerate(neurons):
        claimed.setdefault(neuron, []).append(q)
    matched = [-1] * len(times)
    refuted: list[Refutation] = []
    open_at_end: list[int] = []
    for neuron in sorted(proven.keys() | claimed.keys()):
        known_until = enclosed.open.get(place.start + neuron, (math.inf, None))[0]
        mine, true = claimed.get(neuron, []), proven.get(neuron, [])
        here = _Neuron(box, enclosed, allowed, population, sample, neuron, known_until)
        for q, k in here.pairs(mine, true, times):
            matched[q] = k
        refuted.extend(here.first_error(mine, true, times, matched))
        open_at_end.extend(neuron for k in true if not box.exact and here.straddles_end(k))
    return Judgement(matched, refuted, open_at_end)


class _Neuron(NamedTuple):
    box: Box
    enclosed: Enclosed
    allowed: Sequence[float]
    population: str
    sample: int
    neuron: int
    known_until: float

    def ball(self, k: int) -> arb:
        return self.enclosed.spikes[k].moment.ball

    def straddles_end(self, k: int) -> bool:
        return order(self.ball(k), arb(self.until)) is None

    def may_be_absent(self, k: int) -> bool:
        return order(self.ball(k) + arb(self.allowed[k]), arb(self.until)) != -1

    @property
    def until(self) -> float:
        return float(self.box.until[self.sample])

    def pairs(self, mine: list[int], true: list[int], times: Sequence[float]) -> Iterator[tuple[int, int]]:
        """Pair claimed with proven spikes, both in the order of time."""
        left = list(true)
        for q in mine:
            while left and not self._fits(times[q], left[0]) and float(self.ball(left[0])) < times[q]:
                left.pop(0)
            if left and self._fits(times[q], left[0]):
                yield q, left.pop(0)

    def _fits(self, time: float, k: int) -> bool:
        return is_within(time, self.ball(k), self.allowed[k])

    def first_error(
        self, mine: list[int], true: list[int], times: Sequence[float], matched: list[int]
    ) -> list[Refutation]:
        """Return the first claimed spike that is none, or the first that is missing; a moved one is both."""
        found = {matched[q] for q in mine}
        extra = [q for q in mine if matched[q] < 0 and times[q] < self.known_until and times[q] <= self.until]
        missed = [k for k in true if k not in found and not self.may_be_absent(k)]
        who = (self.population, self.sample, self.neuron)
        if extra and missed and len(extra) == len(missed):
            return [Refutation("moved", *who, float(self.ball(missed[0])), times[extra[0]])]
        errors = [Refutation("extra", *who, math.nan, times[q]) for q in extra[:1]]
        errors += [Refutation("missed", *who, float(self.ball(k)), math.nan) for k in missed[:1]]
        return sorted(errors, key=lambda error: error.when)[:1]


def checked_claim(own: Mapping[str, SpikeTrains], claimed: object, t_end: float) -> dict[str, SpikeTrains]:
    """Return claimed spikes by population, or raise an error that says which do not fit a solution's own."""
    if not isinstance(claimed, Mapping):
        raise TypeError(f"spikes must be a mapping of population to SpikeTrains; got {shown(claimed)}")
    for name, trains in claimed.items():
        if name not in own:
            raise ValueError(
                f"spikes name {shown(name)}, which is not a spiking population; there are {list(own)}"
            )
        if not isinstance(trains, SpikeTrains):
            raise TypeError(f"spikes[{name!r}] must be SpikeTrains; got {shown(trains)}")
        if (trains.n_samples, trains.n_neurons) != (own[name].n_samples, own[name].n_neurons):
            raise ValueError(
                f"spikes[{name!r}] must have {own[name].n_samples} samples of {own[name].n_neurons} neurons; "
                f"got {trains.n_samples} of {trains.n_neurons}"
            )
        if trains.n_spikes and trains.times.max() > t_end:
            raise ValueError(
                f"spikes[{name!r}] must not be after t_end = {t_end!r} s; got {float(trains.times.max())!r} s"
            )
    return dict(claimed)


def by_sample(trains: SpikeTrains, sample: int) -> tuple[list[float], list[int]]:
    """Return times and neurons of one sample."""
    first, last = itertools.islice(trains.offsets.tolist(), sample, sample + 2)
    return trains.times[first:last].tolist(), trains.neurons[first:last].tolist()
