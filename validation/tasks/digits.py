"""Handwritten digits: the 1797 images of 8 x 8 pixels that come with scikit-learn, in a latency code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import count
from eventsolve.testing import Problem

N_IMAGES = 1797
_WHITE = 16.0
"""The largest grey value of a pixel."""


class Images(NamedTuple):
    """Grey values from 0 to 1, (n_samples, 64), and labels, (n_samples,)."""

    grey: NDArray[np.float64]
    labels: NDArray[np.int64]


def images() -> Images:
    """Return all images, in the order of the file.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("handwritten digits need scikit-learn: pip install eventsolve[digits]") from error
    loaded = load_digits()
    return Images(loaded.data / _WHITE, loaded.target.astype(np.int64))


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 64-hidden-10, by the time of the first output spike.

    A pixel spikes once, the earlier the brighter: at t_max (1 - grey) after ``offset``; a black one is silent.

    Attributes
    ----------
    hidden : int
        Neurons.
    t_max : float
        Seconds from a white pixel's spike to that of one that is all but black.
    t_end : float
        Seconds.
    """

    hidden: int = 100
    t_max: float = 20e-3
    t_end: float = 50e-3

    @property
    def name(self) -> str:
        """The task and its size."""
        return f"digits, 64-{self.hidden}-10"

    def problem(self, n_samples: int = 32, seed: int = 42) -> Problem:
        """Return images in an order that ``seed`` draws, with initial weights that it draws, too."""
        if count("n_samples", n_samples) > N_IMAGES:
            raise ValueError(f"n_samples must be at most the {N_IMAGES} images; got {n_samples}")
        random = np.random.default_rng(seed)
        everything = images()
        chosen = random.permutation(N_IMAGES)[:n_samples]
        grey = everything.grey[chosen]
        times = np.where(grey > 0, self.t_max * (1.0 - grey), np.inf)
        loss = es.losses.TTFSCrossEntropy(
            "out", everything.labels[chosen], tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3, silent="skip"
        )
        return Problem(self._network(random), {"in": es.SpikeTrains.from_dense(times)}, self.t_end, loss)

    def _network(self, random: np.random.Generator) -> es.Network:
        net = es.Network()
        net.add_input("in", 64)
        net.add_population("hidden", self.hidden, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
        net.add_population("out", 10, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
        net.connect("in", "hidden", random.normal(0.25, 0.5, (self.hidden, 64)))
        net.connect("hidden", "out", random.normal(16.0 / self.hidden, 8.0 / self.hidden, (10, self.hidden)))
        return net
