"""The task of spoken digits: a recurrent network of LIF neurons and its readout, as in Nowotny et al. (2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

import eventsolve as es
from eventsolve.checks import seconds
from eventsolve.losses import Loss
from eventsolve.problem import Problem
from validation.tasks.keywords.ear import N_CHANNELS
from validation.tasks.keywords.recordings import recordings
from validation.tasks.keywords.speech import WORDS, Split


@dataclass(frozen=True)
class Keywords:
    """Spoken digits, 700-hidden-20: recurrent LIF neurons, LI readout, cross-entropy of a mean voltage.

    Time constants, threshold and initial weights are those of Nowotny, Turner & Knight (2024): normal, of mean and
    standard deviation 0.03 and 0.01 from the inputs, 0 and 0.02 recurrent, 0 and 0.03 to the readout. There, too, a
    spike adds w to the I of tau_mem V' = -V + I.

    Attributes
    ----------
    hidden : int
        Neurons.
    recurrent : bool
        Whether hidden neurons project to each other.
    delays : float
        Seconds up to which every synapse onto a hidden neuron has a delay, drawn uniformly.
    split : {"train", "validation", "test"}
    t_end : float
        Seconds; spikes after it are cut, as they are there.
    weighting : {"uniform", "exponential", "linear", "sigmoid"}
        Of the mean voltage. What a spike adds to a uniform mean does not depend on its time, unless the trial ends
        within some tau_mem after it, so that its gradient hardly reaches hidden neurons; "exponential" is that of the
        published results.
    first_spikes : bool
        Whether outputs are LIF neurons instead, and the loss is the cross-entropy of their first spikes, 10 ms to a
        factor of e, with a silent output at the end of the trial. The mean of weights to them, 3.2 over the number of
        hidden neurons, makes all of them spike at first; ``weighting`` has to be left alone.
    """

    hidden: int = 256
    recurrent: bool = True
    delays: float = 0.0
    split: Split = "train"
    t_end: float = 1.0
    weighting: Literal["uniform", "exponential", "linear", "sigmoid"] = "exponential"
    first_spikes: bool = False

    def __post_init__(self) -> None:
        if not 0 <= seconds("delays", self.delays) < self.t_end:
            raise ValueError(f"delays must be >= 0 and below t_end = {self.t_end!r} s; got {self.delays!r}")
        if self.first_spikes and self.weighting != "exponential":
            raise ValueError(
                f"weighting is of mean voltages; with first_spikes it is left alone; got {self.weighting!r}"
            )

    @property
    def name(self) -> str:
        """The task and its size."""
        return f"keywords, {N_CHANNELS}-{self.hidden}-{len(WORDS)}, {self.split}"

    def problem(self, n_samples: int = 20, seed: int = 42) -> Problem:
        """Return the first recordings of the split, and initial weights that ``seed`` draws."""
        heard = recordings(self.split, n_samples)
        early = heard.trains.times <= self.t_end
        trains = es.SpikeTrains.from_arrays(
            heard.trains.times[early],
            heard.trains.neurons[early],
            heard.trains.samples[early],
            n_neurons=N_CHANNELS,
            n_samples=n_samples,
        )
        loss: Loss
        if self.first_spikes:
            loss = es.losses.TTFSCrossEntropy(
                "out", heard.labels, tau0=10e-3, tau1=50e-3, alpha=0.0, silent="t_end"
            )
        else:
            loss = es.losses.MeanVoltageCrossEntropy("out", heard.labels, weighting=self.weighting)
        return Problem(self._network(seed), {"in": trains}, self.t_end, loss)

    def _network(self, seed: int) -> es.Network:
        random = np.random.default_rng(seed)
        net = es.Network()
        net.add_input("in", N_CHANNELS)
        net.add_population("hidden", self.hidden, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
        kind = es.LIF if self.first_spikes else es.LI
        net.add_population("out", len(WORDS), kind(tau_mem=20e-3, tau_syn=5e-3))
        weights = {
            "in": random.normal(0.03, 0.01, (self.hidden, N_CHANNELS)),
            "hidden": random.normal(0.0, 0.02, (self.hidden, self.hidden)),
        }
        readout = random.normal(
            3.2 / max(self.hidden, 1) if self.first_spikes else 0.0, 0.03, (len(WORDS), self.hidden)
        )
        for pre, weight in weights.items():
            if pre == "in" or self.recurrent:
                late = random.uniform(0.0, self.delays, weight.shape) if self.delays else 0.0
                net.connect(pre, "hidden", weight, delay=late)
        net.connect("hidden", "out", readout)
        return net
