"""What a chip carries from batch to batch, and what it gives for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventsolve.typing import Integers, Key, Reals
from validation.fixedpoint import FixedFormat
from validation.spinnaker2.arithmetic import Array, Number
from validation.spinnaker2.image import Outcome, Spikes
from validation.spinnaker2.optimizer_program import Moments


@dataclass(frozen=True, eq=False)
class ChipState:
    """What a chip carries from batch to batch, in its own numbers.

    Attributes
    ----------
    weights : mapping of (pre, post) to ndarray, (n_pre, n_post)
        In the weight format.
    moments : mapping of (pre, post) to Moments
        Of Adam, in the optimizer's format; empty before the first step.
    n_batches, n_samples : int
        How many there were so far; stochastic rounding draws other numbers for each of them.
    """

    weights: Mapping[Key, Array]
    moments: Mapping[Key, Moments] = field(default_factory=dict)
    n_batches: int = 0
    n_samples: int = 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays with plain names, which :meth:`Chip.resumed` takes."""
        found: dict[str, NDArray[Any]] = {"counts": np.array([self.n_batches, self.n_samples])}
        for key, values in self.weights.items():
            found[f"weight {'>'.join(key)}"] = values
        for key, (steps, first, second) in self.moments.items():
            found[f"steps {'>'.join(key)}"] = np.array(steps)
            found[f"first {'>'.join(key)}"] = first
            found[f"second {'>'.join(key)}"] = second
        return found


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What a chip found for one batch.

    Attributes
    ----------
    losses : ndarray of float64, (n_samples,)
    inputs : mapping of str to Spikes
        On the grid.
    first_spikes : ndarray of float64, (n_samples, n_neurons)
        Seconds, of the population that the loss reads; inf where silent.
    outcome : Outcome
        Everything else, in the numbers and units of the chip.
    overflows : int
        Fixed-point results that were out of range in the whole step, loading and optimizer included.
    """

    losses: Reals
    inputs: Mapping[str, Spikes]
    first_spikes: Reals
    outcome: Outcome
    overflows: int

    @property
    def predictions(self) -> Integers:
        """Which neuron spiked first, the lowest of those at one time, 0 if none did; (n_samples,)."""
        return earliest(self.first_spikes)


def state_of(
    arrays: Mapping[str, NDArray[Any]],
    shapes: Mapping[Key, tuple[int, int]],
    weight: Number,
    optimizer: Number,
) -> ChipState:
    """Return the state of which these are the arrays.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    shapes : mapping of (pre, post) to (n_post, n_pre)
        Of the weights that the chip has.
    weight, optimizer : FloatFormat or FixedFormat
        Of weights and moments.

    Raises
    ------
    ValueError
        If they are not of a state of such a chip.
    """
    raw = {key: ">".join(key) for key in shapes}
    needed = {"counts", *(f"weight {name}" for name in raw.values())}
    moments = {f"{what} {name}" for what in ("steps", "first", "second") for name in raw.values()}
    if set(arrays) not in (needed, needed | moments):
        raise ValueError(
            f"arrays must be those of a state of this chip, {sorted(needed)} and perhaps moments; "
            f"got {sorted(arrays)}"
        )
    for key, shape in shapes.items():
        for what, number in (
            ("weight", weight),
            ("first", optimizer),
            ("second", optimizer),
        ):
            name = f"{what} {raw[key]}"
            if name in arrays:
                _check_held(name, np.asarray(arrays[name]), shape[::-1], number)
    counts = np.asarray(arrays["counts"])
    if counts.shape != (2,) or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"counts must be two integers >= 0; got {counts!r}")
    return ChipState(
        {key: np.array(arrays[f"weight {name}"]) for key, name in raw.items()},
        {
            key: Moments(
                int(arrays[f"steps {name}"]),
                np.array(arrays[f"first {name}"]),
                np.array(arrays[f"second {name}"]),
            )
            for key, name in raw.items()
            if f"steps {name}" in arrays
        },
        int(counts[0]),
        int(counts[1]),
    )


def earliest(first: Reals) -> Integers:
    """Return the column of the smallest entry of every row, the first of several."""
    chosen: Integers = np.argmin(first, axis=1)
    return chosen


def _check_held(what: str, values: NDArray[Any], shape: tuple[int, ...], number: Number) -> None:
    """Raise a ValueError unless these are numbers of the format as it is held."""
    dtype = np.dtype(np.int64) if isinstance(number, FixedFormat) else number.dtype
    if values.shape != shape or values.dtype != dtype:
        raise ValueError(
            f"{what} must be {dtype} of shape {shape}; got {values.dtype} of shape {values.shape}"
        )
    if isinstance(number, FixedFormat) and ((values < number.minimum) | (values > number.maximum)).any():
        raise ValueError(f"{what} must hold raw numbers of {number}; got {values.min()} to {values.max()}")
