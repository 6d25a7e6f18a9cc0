"""The optimizer program: sums gradients over the batch and updates weights.

It works in code units: dt times the true gradient, because errors are per time step while tau_syn is in seconds. That
matters for weight decay and for Adam's eps, which are not invariant to the unit. What the layer programs leave out
to keep their numbers in range is put in here: -tau_syn, the error scale, and 1/B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from eventsolve.typing import Key, Reals
from validation.spinnaker2.arithmetic import FLOAT32, Arithmetic, Array, Calculator, Number, decode
from validation.spinnaker2.image import GradientBlock, WeightBlock


@dataclass(frozen=True)
class SGD:
    """w <- w - learning_rate (g + weight_decay w)."""

    learning_rate: float
    weight_decay: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class Adam:
    """Adam with coupled L2, as ``torch.optim.Adam``: weight decay is added to the gradient before the moments."""

    learning_rate: float
    betas: tuple[float, float] = field(default=(0.9, 0.999), kw_only=True)
    eps: float = field(default=1e-8, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)


def sample_gradients(block: GradientBlock, error_scale: float) -> Reals:
    """Return dL/dw of each sample's own loss in code units, (n_samples, n_post, n_pre)."""
    return np.swapaxes(decode(block.values, block.number), 1, 2) * (-block.tau_syn / error_scale)


class Moments(NamedTuple):
    """Of Adam, for one projection: how many steps, and both moments in the optimizer's format, (n_pre, n_post)."""

    steps: int
    first: Array
    second: Array


class OptimizerProgram:
    """Holds the optimizer's state from batch to batch.

    Parameters
    ----------
    rule : SGD or Adam
    arithmetic : Arithmetic
        Sums over the batch are formed in its gradient format.
    error_scale : float
        Of the errors from which the gradients were made.
    number : FloatFormat or FixedFormat
        Of the batch gradient and the moments, which are rounded into it whenever they are stored; float32 unless
        given. The expressions in between are in float64. In fixed point, mind the range: second moments are
        squares.
    moments : mapping of (pre, post) to Moments, optional
        With which to go on.
    batch : int, optional
        By which random numbers tell one batch from another, if a program is made for every batch.

    Attributes
    ----------
    moments : dict of (pre, post) to Moments
        As they are now.
    """

    def __init__(
        self,
        rule: SGD | Adam,
        arithmetic: Arithmetic,
        error_scale: float,
        *,
        number: Number = FLOAT32,
        moments: Mapping[Key, Moments] | None = None,
        batch: int | None = None,
    ) -> None:
        self.rule = rule
        self._number = number
        self._sum_number = arithmetic.gradient
        self._scale = error_scale
        self._calculator = Calculator(arithmetic, 0, batch)
        self.moments: dict[Key, Moments] = dict(moments or {})

    @property
    def overflows(self) -> int:
        """How many fixed-point results were out of range so far."""
        return self._calculator.overflows

    def batch_gradient(self, block: GradientBlock) -> Reals:
        """Return the mean over the batch in code units, (n_pre, n_post)."""
        c = self._calculator
        samples = c.convert(np.moveaxis(block.values, 0, -1), block.number, self._sum_number)
        total = decode(c.total(samples, self._sum_number), self._sum_number)
        mean = total * (-block.tau_syn / (self._scale * max(1, block.values.shape[0])))
        return self._stored(mean)

    def update(self, weights: Iterable[WeightBlock], gradients: Iterable[GradientBlock]) -> list[WeightBlock]:
        """Return new weights, rounded into the format of the old ones.

        Raises
        ------
        ValueError
            If there is no gradient for a weight.
        """
        by_key = {block.key: block for block in gradients}
        updated = []
        for block in weights:
            if block.key not in by_key:
                raise ValueError(
                    f"there is no gradient for the weights of {block.key}; there are {list(by_key)}"
                )
            old = decode(block.values, block.number)
            gradient = self.batch_gradient(by_key[block.key]) + self.rule.weight_decay * old
            if isinstance(self.rule, Adam):
                change = self._adam(block.key, gradient, self.rule)
            else:
                change = self.rule.learning_rate * gradient
            updated.append(block._replace(values=self._calculator.encode(old - change, block.number)))
        return updated

    def _adam(self, key: Key, gradient: Reals, rule: Adam) -> Reals:
        steps = 1
        m = (1 - rule.betas[0]) * gradient
        v = (1 - rule.betas[1]) * gradient**2
        if key in self.moments:
            before = self.moments[key]
            steps += before.steps
            m += rule.betas[0] * decode(before.first, self._number)
            v += rule.betas[1] * decode(before.second, self._number)
        encode = self._calculator.encode
        first, second = encode(m, self._number), encode(v, self._number)
        self.moments[key] = Moments(steps, first, second)
        m = decode(first, self._number) / (1 - rule.betas[0] ** steps)
        v = decode(second, self._number) / (1 - rule.betas[1] ** steps)
        return np.asarray(rule.learning_rate * m / (np.sqrt(v) + rule.eps))

    def _stored(self, x: Reals) -> Reals:
        return decode(self._calculator.encode(x, self._number), self._number)
