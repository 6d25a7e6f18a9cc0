"""Which part of a target's error sits on samples whose spikes changed, and which spikes changed, with which margins.

Where a spike appears or vanishes, the gradient jumps to that of another smooth piece, and a finer resolution does not
make the jump smaller. Elsewhere the error of the gradient falls with the resolution. The margin of a spike says how
close the exact network is to losing it, or to gaining one more; spikes with small margins are the likeliest to change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.compare import Comparison, compare
from eventsolve.stability.margins import Distances
from eventsolve.typing import Key
from validation.attribution.ablation import Ablation


class ChangedSpike(NamedTuple):
    """A spike that only the exact network or only the target has.

    Attributes
    ----------
    kind : str
        "missed" or "extra".
    population : str
    sample, neuron : int
    time : float
        Seconds: in the exact network if the spike is missed, in the target if it is extra.
    felt : bool
        Whether its dL/dt is not 0.
    margin : float
        In the unit of the voltage. For a missed spike, how far the exact voltage exceeds the threshold with it. For an
        extra spike, how far the exact voltage stays below the threshold at the nearest peak; inf without a peak.
    margin_time : float
        Time of that margin in seconds; inf without a peak.
    """

    kind: str
    population: str
    sample: int
    neuron: int
    time: float
    felt: bool
    margin: float
    margin_time: float


@dataclass(frozen=True, eq=False)
class Changes:
    """The target compared with the exact network, separately for samples whose spikes changed.

    Attributes
    ----------
    comparison : Comparison
    shares : mapping of (pre, post) to float
        Share of the summed squared errors of the samples' gradients that sits on samples whose spikes changed; NaN
        without an error.
    spikes : tuple of ChangedSpike
        By sample and time.
    """

    comparison: Comparison
    shares: dict[Key, float]
    spikes: tuple[ChangedSpike, ...]

    @property
    def n_samples(self) -> int:
        """Size of the batch."""
        return int(self.comparison.differing_samples.size)

    @property
    def n_changed(self) -> int:
        """Samples in which a spike on which a gradient depends is missed or extra."""
        return int(self.comparison.differing_samples.sum())


def changed(ablation: Ablation) -> Changes:
    """Run the target and compute which part of its error changed spikes cause.

    Raises
    ------
    ValueError
        If the target cannot represent the problem.
    """
    comparison = compare(ablation.exact, ablation.run(ablation.causes), window=ablation.window)
    differing = comparison.differing_samples
    shares = {}
    for key, weight in comparison.weight.items():
        squares = ((weight.model - weight.exact) ** 2).reshape(len(weight.exact), -1).sum(axis=1)
        total = float(squares.sum())
        shares[key] = float(squares[differing].sum()) / total if total else float("nan")
    margins = es.margins(ablation.exact_problem.solution)
    spikes = []
    for match in comparison.computed:
        name = match.population
        if name not in margins.voltage:
            continue  # a readout has no threshold
        for kind, record, trains, lone, distances in (
            ("missed", ablation.exact, match.exact, match.missed, margins.overshoot[name]),
            ("extra", comparison.model, match.model, match.extra, margins.voltage[name]),
        ):
            for k in lone.tolist():
                sample, neuron, time = int(trains.samples[k]), int(trains.neurons[k]), float(trains.times[k])
                felt = bool(name in record.spike_times and record.spike_times[name][k] != 0)
                near = _nearest(distances, sample, neuron, time)
                spikes.append(ChangedSpike(kind, name, sample, neuron, time, felt, *near))
    return Changes(comparison, shares, tuple(sorted(spikes, key=lambda s: (s.sample, s.time, s.population))))


def _nearest(distances: Distances, sample: int, neuron: int, time: float) -> tuple[float, float]:
    """Return the value and the time of a neuron's distance that is nearest in time."""
    here = np.arange(*distances.offsets[sample : sample + 2])
    here = here[distances.neurons[here] == neuron]
    if not here.size:
        return np.inf, np.inf
    k = here[np.argmin(np.abs(distances.times[here] - time))]
    return float(distances.values[k]), float(distances.times[k])
