"""What a report is made of: the comparisons of a campaign, and the excerpt of a trace that goes with each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eventsolve.compare import Comparison, WorstSpike
from validation.order import SpikeOrder

if TYPE_CHECKING:  # a report of something else need not load what makes diagnoses
    from validation.diagnosis import Diagnosis

READING = "howto/validate_a_chip#how-to-read-it"
"""The page of the documentation that says how to read a comparison."""
Setting: TypeAlias = str | int | float


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The voltage of one neuron around one spike, exact and of the model.

    Attributes
    ----------
    worst : WorstSpike
        The spike, sample and neuron shown.
    threshold : float
        In the unit of the voltages.
    exact_times, model_times : ndarray of float64, (n_times,)
        Seconds.
    exact_voltage, model_voltage : ndarray of float64, (n_times,)
    exact_spikes, model_spikes : ndarray of float64
        Seconds, of that neuron in that sample and span.
    """

    worst: WorstSpike
    threshold: float
    exact_times: NDArray[np.float64]
    exact_voltage: NDArray[np.float64]
    model_times: NDArray[np.float64]
    model_voltage: NDArray[np.float64]
    exact_spikes: NDArray[np.float64]
    model_spikes: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One comparison of a campaign, with what is needed to report it.

    Attributes
    ----------
    title : str
    group, series : str
        Runs of one group share a picture of error against time step, those of one series a line in it.
    settings : mapping of str to str or number
    comparison : Comparison
    excerpt : Excerpt or None
    seconds : float
        Wall-clock time of the run.
    order : SpikeOrder or None
        Whether the model's resolution explains its other spikes, where that was asked.
    spread : float
        Seconds by which spikes may be off besides, as those of analog circuits are.
    findings : mapping of str to str
        By the label of the stage that parts: where first.
    diagnosis : Diagnosis or None
        What explains the difference, where that was asked.
    accepted : bool
        Whether nothing is wrong, as far as that was asked.
    next_command : str
        What to run next.
    """

    title: str
    group: str
    series: str
    settings: Mapping[str, Setting]
    comparison: Comparison
    excerpt: Excerpt | None
    seconds: float
    order: SpikeOrder | None = None
    spread: float = 0.0
    findings: Mapping[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    accepted: bool = True
    next_command: str = ""
