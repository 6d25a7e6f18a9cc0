"""The loss program: cross-entropy of time to first spike (Béna et al. 2024; the constants of Wunderlich & Pehle 2021).

With t the first spikes in steps, xi = tau0/dt and beta = tau1/dt, of each sample y being the label:

    L = -ln softmax(-t/xi)_y + alpha (exp(t_y/beta) - 1)
    E_i = (1{i=y} - p_i)/xi + 1{i=y} (alpha/beta) exp(t_y/beta),   p = softmax(-t/xi)

E is per step, times the error scale, and goes to first spikes only: later spikes, silent neurons and first
spikes in the last step get none. Exponentials are taken relative to the earliest spike, since exp(-t/xi) itself
underflows in s16.15; that of the early-spike term contains its factor alpha/beta, which would be a few LSB. An
exponential is the exact value, rounded into its format.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eventsolve.typing import Integers
from validation.fixedpoint import FixedFormat
from validation.grid.first_spikes import refuse_silent
from validation.spinnaker2.arithmetic import Arithmetic, Array, Calculator, Number
from validation.spinnaker2.image import LossSettings
from validation.spinnaker2.packets import ErrorPackets, SpikePackets


class LossProgram:
    """Collects first spikes, then sends errors.

    Parameters
    ----------
    settings : LossSettings
        ``population`` is whose spikes it reads; ``labels`` are (n_samples,); ``xi`` and ``beta`` are time constants in
        steps, > 0; ``alpha`` is the weight of the early-spike term, >= 0. With ``silent`` "t_end", silent neurons take
        part in the softmax with t = n_steps (the simulator's loss). Otherwise they are left out (its gradient-check
        notebook), and a sample with a silent label is an error ("raise"), or gets loss and gradient 0 ("skip").
    n_neurons, n_steps : int
    arithmetic : Arithmetic
    calculator : Calculator
    """

    def __init__(
        self,
        settings: LossSettings,
        n_neurons: int,
        n_steps: int,
        arithmetic: Arithmetic,
        calculator: Calculator,
    ) -> None:
        self.settings = settings
        self._formats = arithmetic
        self._calculator = calculator
        self._n_steps = n_steps
        self._first: Integers = np.full((settings.labels.size, n_neurons), n_steps, dtype=np.int64)

    def forward(self, step: int, received: Sequence[SpikePackets]) -> SpikePackets | None:
        """Note first spikes, which were sent in the step before."""
        for _, samples, neurons in received:
            self.note(samples, neurons, np.full(samples.size, step - 1))
        return None

    def note(self, samples: Integers, neurons: Integers, steps: Integers) -> None:
        """Remember the first spike of each neuron."""
        np.minimum.at(self._first, (samples, neurons), steps)

    def backward(self, step: int, received: Sequence[ErrorPackets]) -> Sequence[ErrorPackets]:
        """Return the errors of first spikes at ``step``."""
        assert not received
        samples, neurons = np.nonzero(self._first == step)
        if not samples.size:
            return ()
        errors = self.errors[samples, neurons]
        return (ErrorPackets(self.settings.population, samples, neurons, errors),)

    @property
    def first(self) -> Integers:
        """The step of every neuron's first spike, n_steps where there is none; (n_samples, n_neurons)."""
        return self._first

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The loss of each sample, (n_samples,), in float64: nothing on the chip depends on it.

        Raises
        ------
        ValueError
            If a label is silent and the policy is "raise".
        """
        labels = self.settings.labels
        t_label = self._first[np.arange(labels.size), labels].astype(np.float64)
        x = np.where(self._included, -(self._first - t_label[:, None]) / self.settings.xi, -np.inf)
        x[~self._counted] = 0.0
        peak = x.max(axis=1)
        cross_entropy = peak + np.log(np.exp(x - peak[:, None]).sum(axis=1))
        with np.errstate(over="ignore"):
            value = cross_entropy + self.settings.alpha * np.expm1(t_label / self.settings.beta)
        return np.where(self._counted, value, 0.0)

    @cached_property
    def _included(self) -> NDArray[np.bool_]:
        """Which neurons take part in the softmax, (n_samples, n_neurons)."""
        return (self._first < self._n_steps) | (self.settings.silent == "t_end")

    @cached_property
    def _counted(self) -> NDArray[np.bool_]:
        """Which samples have a loss, (n_samples,)."""
        labels = self.settings.labels
        counted = self._included[np.arange(labels.size), labels]
        if self.settings.silent == "raise":
            refuse_silent(self.settings.population, ~counted)
        return counted

    @cached_property
    def errors(self) -> Array:
        """E times the error scale of every neuron, (n_samples, n_neurons), in the adjoint format."""
        c, a, number = self._calculator, self._formats, self._formats.probability
        _, labels, xi, beta, alpha, _, scale = self.settings
        rows = np.arange(labels.size)
        counted = self._counted
        later = (self._first - self._first.min(axis=1, keepdims=True)) / xi
        exponentials = c.encode(np.where(self._included, np.exp(-later), 0.0), number)
        wide = accumulator(number)
        total = c.total(c.convert(exponentials, number, wide), wide)
        total[~counted] = 1
        probabilities = c.divide(exponentials, number, total[:, None], wide, number)
        target = np.zeros(self._first.shape)
        target[rows, labels] = 1.0
        difference = c.subtract(c.encode(target, number), number, probabilities, number, number)
        factor = c.encode(scale / xi, a.adjoint)
        errors = c.multiply(difference, number, factor, a.adjoint, a.adjoint)
        if alpha > 0:
            offset = np.log(scale * alpha / beta)
            early = c.encode(np.exp(self._first[rows, labels] / beta + offset), a.adjoint)
            at_label = errors[rows, labels]
            errors[rows, labels] = c.add(at_label, a.adjoint, early, a.adjoint, a.adjoint)
        errors[~counted] = 0
        return errors


def accumulator(number: Number) -> Number:
    """Return the format with 16 more integer bits, in which the exponentials of all outputs are added up."""
    if isinstance(number, FixedFormat):
        return FixedFormat(min(number.integer_bits + 16, 63 - number.fraction_bits), number.fraction_bits)
    return number
