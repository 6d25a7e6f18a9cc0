"""The closed form of a learning sample, which the circuit takes twelve steps for: in integers, or with the real error.

::

    z1 = x W1     h = [z1 > 512]     z2 = h W2     o = [z2 > 512]
    d2 = (t - o) f'(z2)              f'(z) = [0 < z <= 1024]
    d1 = sign(W2 d2) f'(z1)          the one approximation: the real error has no sign function there
    W2 += 2 h d2                     W1 += 2 x d1

That is backpropagation of ``L = |t - o|^2 / 2`` with batch 1 through the clipped ramp min(max(z/1024, 0), 1), at which
the step at 512 stands. Source: Renner, Sheldon, Zlotnik, Tao & Sornborger, *The backpropagation algorithm implemented
on spiking neuromorphic hardware* (2024), and the wiring tables of the authors' program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import index_vector
from eventsolve.frozen import read_only
from eventsolve.interrupts import call, interruptible
from eventsolve.typing import Reals
from validation.sbp.kernels.closed_form import infer, learn, learn_exactly
from validation.sbp.kernels.tables import Answers, Matrices
from validation.sbp.rule import CHIP, THRESHOLD, Rule
from validation.sbp.weights import Weights, binary, matrices, on_grid


@dataclass(frozen=True, eq=False)
class Learned:
    """What learning some samples gave.

    Attributes
    ----------
    weights : Weights
        After the last sample.
    plus, minus : ndarray, (n_out, n_hidden)
        +W2^T and -W2^T as the errors go back through them; empty where the error is real.
    z2 : ndarray, (n_samples, n_out)
        The sums of the outputs, as each sample found them, before it was learned.
    counts : ndarray of int64, (n_samples, 6)
        Ones of x, h, d2+, d2-, d1+ and d1- of each sample.
    """

    weights: Weights
    plus: NDArray[Any]
    minus: NDArray[Any]
    z2: NDArray[Any]
    counts: NDArray[np.int64]


def learned(
    weights: Weights,
    inputs: ArrayLike,
    targets: ArrayLike,
    rule: Rule = CHIP,
    *,
    copies: tuple[ArrayLike, ArrayLike] | None = None,
    order: ArrayLike | None = None,
) -> Learned:
    """Learn samples, one after the other.

    Parameters
    ----------
    weights : Weights
        Multiples of the rule's unit within its limits; any numbers where the error is real.
    inputs, targets : array_like, (n_samples, n_in) and (n_samples, n_out)
        Zeros and ones.
    rule : Rule
    copies : pair of array_like, (n_out, n_hidden), optional
        +W2^T and -W2^T as they are; by default as far as the limits allow what their names say.
    order : array_like of int, optional
        Which samples, in which order. (default: each once, in its own)

    Raises
    ------
    ValueError
        If a weight is not on the grid, a layer has size 0, or an input or a target is not binary.
    """
    start = matrices(weights, rule)
    if copies is not None and rule.error == "sign":
        shape = (start.w2.shape[1], start.w2.shape[0])
        plus, minus = (
            on_grid(name, w, rule, shape) for name, w in zip(("plus", "minus"), copies, strict=True)
        )
        start = start._replace(plus=plus, minus=minus)
    n_in, n_hidden = start.w1.shape
    x = binary("inputs", inputs, n_in)
    t = binary("targets", targets, start.w2.shape[1])
    if len(x) != len(t):
        raise ValueError(f"targets must be as many as inputs; got {len(t)} and {len(x)}")
    which = np.arange(len(x)) if order is None else index_vector("order", order, len(x))

    def work() -> tuple[Matrices, Answers]:
        found = Matrices(*(np.array(w, order="C") for w in start))
        hidden = (n_hidden,), (n_hidden,), (n_hidden,), (n_hidden,)
        flags = tuple(np.zeros(n, np.bool_) for n in (*hidden, *((t.shape[1],),) * 3))
        kind = np.int64 if rule.error == "sign" else np.float64
        sums = np.zeros(n_hidden, kind), np.zeros(n_hidden, kind)
        answers = Answers(np.zeros((which.size, t.shape[1]), kind), np.zeros((which.size, 6), np.int64))
        given = (which, x, t, found, rule.numbers)
        if rule.error == "sign":
            call(learn, *given, flags, sums, answers)
        else:
            call(learn_exactly, *given, rule.unit / rule.typical, flags, sums, answers)
        return found, answers

    found, answers = interruptible(work)
    scale = 1 if rule.fine == 1 else 1 / rule.fine
    return Learned(
        Weights(read_only(found.w1 * scale), read_only(found.w2 * scale)),
        read_only(found.plus * scale),
        read_only(found.minus * scale),
        read_only(answers.z2 * scale),
        read_only(answers.counts),
    )


def outputs(weights: Weights, inputs: ArrayLike, rule: Rule = CHIP) -> NDArray[Any]:
    """Return the sums z2 of the outputs (n_samples, n_out); an output fires if its sum is above 512.

    Raises
    ------
    ValueError
        As :func:`learned`.
    """
    start = matrices(weights, rule)
    x = binary("inputs", inputs, start.w1.shape[0])
    kind = np.int64 if rule.error == "sign" else np.float64

    def work() -> NDArray[Any]:
        z2 = np.zeros((len(x), start.w2.shape[1]), kind)
        n = start.w1.shape[1]
        call(infer, x, start.w1, start.w2, rule.numbers.half, np.zeros(n, np.bool_), np.zeros(n, kind), z2)
        return z2

    found = interruptible(work)
    return found if rule.fine == 1 else found / rule.fine


def loss(
    weights: Weights, inputs: ArrayLike, targets: ArrayLike, activation: Literal["step", "ramp"] = "step"
) -> Reals:
    """Return ``|t - o|^2 / 2`` of each sample, (n_samples,), with neurons that are steps or clipped ramps."""
    _, _, _, o = _forward(weights, np.asarray(inputs, dtype=np.float64), activation)
    return np.asarray(((np.asarray(targets) - o) ** 2).sum(axis=1) / 2)


def gradient(
    weights: Weights, inputs: ArrayLike, targets: ArrayLike, activation: Literal["step", "ramp"] = "step"
) -> Weights:
    """Return the exact gradient of each sample's loss by backpropagation through the box, in float64.

    With ``activation="ramp"`` it is that of :func:`loss` wherever no sum is at an end of the box; with steps, the
    straight-through gradient, which the chip's learning is held against.

    Returns
    -------
    Weights
        dL/dW (n_samples, n_pre, n_post), in 1 over the unit of the weights.
    """
    x = np.asarray(inputs, dtype=np.float64)
    z1, h, z2, o = _forward(weights, x, activation)
    d2 = (o - np.asarray(targets)) * _inside(z2) / THRESHOLD
    d1 = (d2 @ np.asarray(weights.w2, dtype=np.float64).T) * _inside(z1) / THRESHOLD
    return Weights(x[:, :, np.newaxis] * d1[:, np.newaxis], h[:, :, np.newaxis] * d2[:, np.newaxis])


def _forward(weights: Weights, x: Reals, activation: str) -> tuple[Reals, Reals, Reals, Reals]:
    if activation not in ("step", "ramp"):
        raise ValueError(f"activation must be step or ramp; got {activation!r}")

    def fired(z: Reals) -> Reals:
        if activation == "ramp":
            return np.clip(z / THRESHOLD, 0.0, 1.0)
        return (z > THRESHOLD // 2).astype(np.float64)

    z1 = x @ np.asarray(weights.w1, dtype=np.float64)
    h = fired(z1)
    z2 = h @ np.asarray(weights.w2, dtype=np.float64)
    return z1, h, z2, fired(z2)


def _inside(z: Reals) -> Reals:
    return ((z > 0) & (z <= THRESHOLD)).astype(np.float64)
