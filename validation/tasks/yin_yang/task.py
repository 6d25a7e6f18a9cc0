"""The Yin-Yang data set (Kriener, Göltz & Petrovici 2022) with the two networks that were published for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.io import datasets


@dataclass(frozen=True)
class Setup:
    """A published network for Yin-Yang, its encoding and its loss.

    Attributes
    ----------
    name, encoding : str
        The encoding is "continuous" (Wunderlich & Pehle 2021) or "code" (27 steps of 1 ms, Béna et al. 2024).
    sizes : tuple of int
        Neurons per layer: inputs, hidden, out.
    moments : tuple of (mean, standard deviation)
        Of the initial weights, per layer.
    t_end, tau0, tau1 : float
        Seconds: end of the run, and the time constants of the time-to-first-spike cross-entropy.
    alpha : float
        Weight of its early-spike term, of "first_spike" in seconds.
    silent : str
        What it does with outputs that never spike.
    tau_mem, tau_syn : float
        Seconds.
    t_max : float
        Seconds at which the continuous encoding has a coordinate of 1.
    loss : {"ttfs", "first_spike", "relative"}
        ``TTFSCrossEntropy``, ``FirstSpikeCrossEntropy``, which has no tau1, or ``RelativeMSE``, which has ``gap``.
    gap : float
        Seconds.
    """

    name: str
    encoding: Literal["continuous", "code"]
    sizes: tuple[int, int, int]
    moments: tuple[tuple[float, float], tuple[float, float]]
    t_end: float
    tau0: float
    tau1: float
    alpha: float
    silent: Literal["raise", "skip", "t_end"]
    tau_mem: float = 20e-3
    tau_syn: float = 5e-3
    t_max: float = 30e-3
    loss: Literal["ttfs", "first_spike", "relative"] = "ttfs"
    gap: float = 0.0


SETUPS = {
    setup.name: setup
    for setup in (
        Setup(
            name="5-200-3",
            encoding="continuous",
            sizes=(5, 200, 3),
            moments=((1.5, 0.78), (0.93, 0.1)),
            t_end=60e-3,
            tau0=0.5e-3,
            tau1=6.4e-3,
            alpha=3e-3,
            silent="skip",
        ),
        Setup(
            name="5-120-3",
            encoding="code",
            sizes=(5, 120, 3),
            moments=(
                (3.2 / math.sqrt(5), 3.2 / math.sqrt(5)),
                (5.2 / math.sqrt(120), 2.8 / math.sqrt(120)),
            ),
            t_end=27e-3,
            tau0=1.5e-3,
            tau1=100e-3,
            alpha=0.01,
            silent="t_end",
        ),
    )
}


@dataclass(frozen=True)
class YinYang:
    """Points of the Yin-Yang data set, by the time of the first output spike.

    Attributes
    ----------
    setup : str
        "5-200-3" (Wunderlich & Pehle 2021) or "5-120-3" (Béna et al. 2024).

    Raises
    ------
    ValueError
        If there is no such set-up.
    """

    setup: str = "5-200-3"

    def __post_init__(self) -> None:
        if self.setup not in SETUPS:
            raise ValueError(f"setup must be one of {', '.join(SETUPS)}; got {self.setup!r}")

    @property
    def name(self) -> str:
        """The task and its set-up."""
        return f"Yin-Yang, {self.setup}"

    def problem(self, n_samples: int = 32, seed: int = 42) -> es.Problem:
        """Return points and initial weights that ``seed`` draws, as published."""
        return problem_of(SETUPS[self.setup], n_samples, seed)


def encoded(setup: Setup, points: NDArray[np.float64]) -> es.SpikeTrains:
    """Return the input spikes of some points, (n_samples, 4), with a bias where the network has an input for it."""
    if setup.encoding == "continuous":
        trains = datasets.encode_latency(points, t_max=setup.t_max)
        if setup.sizes[0] == trains.n_neurons:
            return trains
        return es.SpikeTrains.from_dense(trains.first()[:, : setup.sizes[0]])  # the last one is a bias
    return datasets.encode_steps(points)


def network(setup: Setup, seed: int) -> es.Network:
    """Return the network with initial weights drawn as published."""
    first, second = datasets.normal_weights(setup.sizes, setup.moments, seed)
    net = es.Network()
    net.add_input("in", setup.sizes[0])
    neuron = es.LIF(tau_mem=setup.tau_mem, tau_syn=setup.tau_syn)
    net.add_population("hidden", setup.sizes[1], neuron)
    net.add_population("out", setup.sizes[2], neuron)
    net.connect("in", "hidden", first)
    net.connect("hidden", "out", second)
    return net


def problem_of(setup: Setup, n_samples: int, seed: int) -> es.Problem:
    """Return points and initial weights that a seed draws, as published."""
    data = datasets.yin_yang(n_samples, seed)
    loss = es.losses.TTFSCrossEntropy(
        "out", data.labels, tau0=setup.tau0, tau1=setup.tau1, alpha=setup.alpha, silent=setup.silent
    )
    return es.Problem(network(setup, seed), {"in": encoded(setup, data.points)}, setup.t_end, loss)
