"""Rules by which gradients change weights: pure functions of float64 arrays, whatever those belong to.

A chip's own optimizer program, with weight decay in the gradient and every stored number rounded, and a published
training with a rate for each kind of parameter have an Adam of their own beside them, for the sake of their bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from eventsolve.checks import real
from eventsolve.typing import Reals


class Memory(NamedTuple):
    """What a rule remembers from step to step: how many there were, and arrays like those that it changes."""

    steps: int = 0
    arrays: tuple[tuple[Reals, ...], ...] = ()


class Optimizer(Protocol):
    """A rule; frozen, so that what it does depends on its arguments alone."""

    def step(
        self, values: Sequence[Reals], gradients: Sequence[Reals], memory: Memory
    ) -> tuple[tuple[Reals, ...], Memory]:
        """Return new values, and what to remember; a first step is taken with ``Memory()``."""


@dataclass(frozen=True)
class SGD:
    """Gradient descent: m := momentum m + g,  w := w - rate (m + weight_decay w).

    Parameters
    ----------
    rate : float
        > 0.
    momentum : float
        0 to 1, without 1.
    weight_decay : float
        >= 0.
    """

    rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, rate=(0.0, math.inf), momentum=(0.0, 1.0), weight_decay=(0.0, math.inf))

    def step(
        self, values: Sequence[Reals], gradients: Sequence[Reals], memory: Memory
    ) -> tuple[tuple[Reals, ...], Memory]:
        """Return new values, and what to remember."""
        before = memory.arrays[0] if memory.arrays else tuple(np.zeros_like(w) for w in values)
        moved = tuple(self.momentum * m + g for m, g in zip(before, gradients, strict=True))
        new = tuple(w - self.rate * (m + self.weight_decay * w) for w, m in zip(values, moved, strict=True))
        return new, Memory(memory.steps + 1, (moved,))


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015), with decoupled weight decay (Loshchilov & Hutter 2019).

    m := beta1 m + (1 - beta1) g,  v := beta2 v + (1 - beta2) g^2, and with both over 1 - beta^count

        w := w - rate (m / (sqrt(v) + eps) + weight_decay w)

    Parameters
    ----------
    rate : float
        > 0.
    beta1, beta2 : float
        0 to 1, without 1.
    eps : float
        > 0, in the unit of the gradients: dL/dw of a loss without unit is in 1 / (unit of the weights).
    weight_decay : float
        >= 0.
    """

    rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        ranges = {"rate": (0.0, math.inf), "eps": (0.0, math.inf), "weight_decay": (0.0, math.inf)}
        _check(self, beta1=(0.0, 1.0), beta2=(0.0, 1.0), **ranges)

    def step(
        self, values: Sequence[Reals], gradients: Sequence[Reals], memory: Memory
    ) -> tuple[tuple[Reals, ...], Memory]:
        """Return new values, and what to remember."""
        count, zeros = memory.steps + 1, tuple(np.zeros_like(w) for w in values)
        first, second = memory.arrays or (zeros, zeros)
        first = tuple(self.beta1 * m + (1 - self.beta1) * g for m, g in zip(first, gradients, strict=True))
        second = tuple(
            self.beta2 * v + (1 - self.beta2) * g**2 for v, g in zip(second, gradients, strict=True)
        )
        new = tuple(
            w
            - self.rate
            * (
                m / (1 - self.beta1**count) / (np.sqrt(v / (1 - self.beta2**count)) + self.eps)
                + self.weight_decay * w
            )
            for w, m, v in zip(values, first, second, strict=True)
        )
        return new, Memory(count, (first, second))


def _check(rule: Any, **ranges: tuple[float, float]) -> None:
    """Raise a ValueError unless every number of a rule is in its range; rates and eps are not 0."""
    for name, (low, high) in ranges.items():
        value = real(name, getattr(rule, name))
        positive = name in ("rate", "eps")
        if not (low < value if positive else low <= value) or not value < high:
            raise ValueError(
                f"{name} must be {'>' if positive else '>='} {low:g} and below {high:g}; got {value!r}"
            )
        object.__setattr__(rule, name, value)
