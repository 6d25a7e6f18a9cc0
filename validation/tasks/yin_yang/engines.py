"""What an engine is: something that runs a network on encoded samples, and gives the gradient of its loss."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.typing import Integers, Key, Reals
from validation.spinnaker2.arithmetic import Number
from validation.tasks.yin_yang.recipe import Parameters, Recipe
from validation.tasks.yin_yang.task import Setup

KEYS: tuple[Key, ...] = (("in", "hidden"), ("hidden", "out"))
"""Of the layers of weights."""


class Activity(NamedTuple):
    """What a network did.

    Attributes
    ----------
    predictions : ndarray of int64, (n_samples,)
        The output that spiked first, -1 if the engine's rule names none.
    counts : tuple of ndarray of int64, (n_samples, n_neurons)
        Spikes of the hidden neurons and of the outputs.
    """

    predictions: Integers
    counts: tuple[Integers, ...]


class Outcome(NamedTuple):
    """A batch's mean loss, and its gradient by every array of the parameters, in the engine's unit."""

    loss: float
    gradients: tuple[Reals, ...]
    activity: Activity


class Engine(Protocol):
    """One of them; frozen, so that what it returns depends on its arguments alone."""

    @property
    def name(self) -> str:
        """In a few words."""

    @property
    def weight_number(self) -> Number:
        """In which weights are kept."""

    @property
    def moment_number(self) -> Number:
        """In which the batch gradient and the moments of an optimizer are kept."""

    @property
    def gradient_unit(self) -> float:
        """The engine's gradients are the true ones times this."""

    @property
    def charge(self) -> float:
        """What a spike over a synapse of weight 1 delivers in all, over tau_syn: 1 in continuous time."""

    def encode(self, points: Reals) -> NDArray[Any]:
        """Return the one spike of every input neuron, (n_samples, n_inputs), in seconds or steps."""

    def run(self, parameters: Parameters, samples: NDArray[Any]) -> Activity:
        """Run forward only."""

    def gradient(self, parameters: Parameters, samples: NDArray[Any], labels: Integers) -> Outcome:
        """Run forward and backward."""


def loss_of(setup: Setup, labels: Integers) -> es.losses.Loss:
    """Return the loss of a set-up."""
    if setup.loss == "relative":
        return es.losses.RelativeMSE("out", labels, gap=setup.gap, silent=setup.silent)
    if setup.loss == "first_spike":
        return es.losses.FirstSpikeCrossEntropy(
            "out", labels, tau0=setup.tau0, alpha=setup.alpha, silent=setup.silent
        )
    return es.losses.TTFSCrossEntropy(
        "out", labels, tau0=setup.tau0, tau1=setup.tau1, alpha=setup.alpha, silent=setup.silent
    )


def first_output(trains: es.SpikeTrains) -> Integers:
    """Return the output that spiked first in every sample, -1 where none did."""
    first = trains.first()
    return np.where(np.isfinite(first).any(axis=1), first.argmin(axis=1), -1)


def network_of(recipe: Recipe, parameters: Parameters, transport: float = 0.0) -> es.Network:
    """Return the network with these parameters; without trained delays all are ``transport`` seconds."""
    setup = recipe.setup
    neuron = es.LIF(tau_mem=setup.tau_mem, tau_syn=setup.tau_syn)
    net = es.Network()
    net.add_input("in", setup.sizes[0])
    net.add_population("hidden", setup.sizes[1], neuron)
    net.add_population("out", setup.sizes[2], neuron)
    delays = parameters.delays or (transport,) * len(KEYS)
    for (pre, post, *_), weight, delay in zip(KEYS, parameters.weights, delays, strict=True):
        net.connect(pre, post, weight, delay=delay)
    return net
