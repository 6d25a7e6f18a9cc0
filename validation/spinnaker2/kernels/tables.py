"""What kernels take: a layer, its spikes and its accumulators, as named tuples of arrays and numbers.

A fixed-point number is a raw int64, a number of either float format a float64. Operands of another kind than the
state, or the adjoint, come with their values beside their raw numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from validation.grid.kernels.words import Format, Operand

Array = Any


class Decays(NamedTuple):
    """A decay factor of each kind: raw numbers, and values."""

    alpha: int
    beta: int
    one_minus_alpha: int
    one_minus_beta: int
    alpha_value: float
    beta_value: float
    one_minus_alpha_value: float
    one_minus_beta_value: float


class Neurons(NamedTuple):
    """Of a layer, as numbers of the state: (n_neurons,), and weights (n_pre of all projections, n_neurons)."""

    v_threshold: Array
    v_reset: Array
    increments: Array


class Cells(NamedTuple):
    """Which spikes, or arrivals of spikes, are in each cell."""

    bounds: Array
    places: Array


class Synapses(NamedTuple):
    """What adjoints are multiplied by: raw numbers, (0, 0) where there are none, and values."""

    weights: Array
    weight_values: Array
    swing: Array
    swing_values: Array


class Jumps(NamedTuple):
    """Of every spike of a layer, (n_spikes,).

    Attributes
    ----------
    errors : ndarray
        What was received for it, as an adjoint.
    slopes, slope_values : ndarray
        The denominator; raw numbers, (0,) where there are none, and values.
    drives : ndarray of float64
        I - v_reset at the spike.
    """

    errors: Array
    slopes: Array
    slope_values: Array
    drives: Array


class Sums(NamedTuple):
    """The accumulators of gradients, (n_samples, n_pre of all projections, n_neurons), one of the two empty.

    Attributes
    ----------
    raw, values : ndarray of int64, of float64
    number : Format
        Of the raw ones.
    up, down : int
        Fraction bits that it has more, or fewer, than the adjoint.
    single : bool
        Whether values are float32.
    """

    raw: Array
    values: Array
    number: Format
    up: int
    down: int
    single: bool


class BackwardOperands(NamedTuple):
    """How the decays, weights, swings and slopes meet an adjoint."""

    decay: Operand
    weight: Operand
    swing: Operand
    slope: Operand
