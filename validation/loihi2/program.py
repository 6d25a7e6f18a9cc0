"""Programs for Loihi 2: layers of integers, as Lava's LIF, Dense and DelayDense take them.

Thresholds are counted in weight units; states are counted in 64ths of a weight unit (:data:`LSB`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np

from eventsolve.checks import first_entry, shown
from eventsolve.frozen import Frozen
from eventsolve.shown import Summary, several
from eventsolve.typing import Integers, Reals

SignMode: TypeAlias = Literal["mixed", "excitatory", "inhibitory"]

LSB = 64
"""Units of a state per unit of weights and thresholds."""
LARGEST_STATE = 2**23
DECAY = 4096
LARGEST_THRESHOLD = 2**17 - 1
"""Largest threshold that 17 bits hold. At 2**17 or more a neuron never fires: no voltage gets there."""
LONGEST_DELAY = 63
"""Longest delay that 6 bits hold, in steps."""


class Exact(Frozen):
    """A frozen dataclass of integers, equal to another if all of them are equal."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.compare)  # type: ignore[arg-type]
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


def integers(name: str, given: object, shape: tuple[int, ...], low: int, high: int) -> Integers:
    """Return an integer or an array of integers in low..high as an array of a shape, or raise a ValueError."""
    values = np.asarray(given)
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers; got {values.dtype}: {shown(given)}")
    bad = (values < low) | (values > high)
    if bad.any():
        raise ValueError(f"{name} must be integers in {low}..{high}; {first_entry(values, bad)}")
    if values.shape not in ((), shape):
        raise ValueError(f"{name} must be an integer or have shape {shape}; got {values.shape}")
    return np.array(np.broadcast_to(values, shape), dtype=np.int64)


def integer(name: str, given: object, low: int, high: int) -> int:
    """Return an integer in low..high, or raise a ValueError."""
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not low <= given <= high:
        raise ValueError(f"{name} must be an integer in {low}..{high}; got {shown(given)}")
    return int(given)


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Exact):
    """Synapses of one matrix, with or without delays.

    Attributes
    ----------
    weights : ndarray of int64, (n_post, n_pre)
        As given; :attr:`held` are the weights that the chip holds.
    delays : ndarray of int64, (n_post, n_pre), or int
        Steps beyond the one that every spike takes, 0..63.
    weight_exp : int
        Bits by which a sum of weights is shifted up, or down if negative; shifting down rounds towards minus infinity.
    num_weight_bits : int
        0..9; weights of 9 bits and mixed signs exist in Lava, but on no chip.
    sign_mode : {"mixed", "excitatory", "inhibitory"} or None
        None: from the weights.
    num_message_bits : int
        With 0, whatever arrives counts as one spike; else its payload multiplies the weight.

    Raises
    ------
    ValueError
        If an array has another shape, or a number is no integer or out of range.
    """

    weights: Integers
    delays: Integers = 0  # type: ignore[assignment]
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: SignMode | None = None
    num_message_bits: int = 0

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights)
        if weights.ndim != 2 or not weights.size:
            raise ValueError(f"weights must have shape (n_post, n_pre), >= 1 each; got {weights.shape}")
        held = integers("weights", weights, weights.shape, -(2**31), 2**31 - 1)
        object.__setattr__(self, "weights", held)
        object.__setattr__(self, "delays", integers("delays", self.delays, held.shape, 0, LONGEST_DELAY))
        object.__setattr__(self, "weight_exp", integer("weight_exp", self.weight_exp, -16, 16))
        if self.sign_mode not in (None, *get_args(SignMode)):
            raise ValueError(
                f"sign_mode must be one of {', '.join(get_args(SignMode))} or None; got {shown(self.sign_mode)}"
            )
        most = 9 if self.mode == "mixed" else 8
        bits = integer(f"num_weight_bits of {self.mode} weights", self.num_weight_bits, 0, most)
        object.__setattr__(self, "num_weight_bits", bits)
        object.__setattr__(
            self, "num_message_bits", integer("num_message_bits", self.num_message_bits, 0, 32)
        )
        super().__post_init__()

    @property
    def mode(self) -> SignMode:
        """Which signs weights may have; excitatory if all are 0."""
        if self.sign_mode is not None:
            return self.sign_mode
        if self.weights.min() >= 0:
            return "excitatory"
        return "inhibitory" if self.weights.max() <= 0 else "mixed"

    @cached_property
    def _clipped(self) -> Integers:
        """In the sense of the sign mode: magnitudes, where all are inhibitory."""
        given = -self.weights if self.mode == "inhibitory" else self.weights
        return np.clip(given, -256 if self.mode == "mixed" else 0, 255)

    @cached_property
    def held(self) -> Integers:
        """The weights that the bits hold, (n_post, n_pre), before the shift by ``weight_exp``."""
        cut = 8 - self.num_weight_bits + (self.mode == "mixed")
        held = (self._clipped >> cut) << cut
        return np.asarray(-held if self.mode == "inhibitory" else held)

    @property
    def n_clipped(self) -> int:
        """How many weights are out of range."""
        given = -self.weights if self.mode == "inhibitory" else self.weights
        return int(np.count_nonzero(given != self._clipped))

    @cached_property
    def linear(self) -> bool:
        """Whether each weight can be shifted by itself, because no sum of weights loses a bit."""
        return self.weight_exp >= 0 or not (self.held & ((1 << -self.weight_exp) - 1)).any()

    @property
    def effective(self) -> Reals:
        """What a spike adds, in weight units, (n_post, n_pre); a sum of some is rounded down unless :attr:`linear`."""
        return np.asarray(self.held * 2.0**self.weight_exp)

    def _summary(self) -> Summary:
        n_post, n_pre = self.weights.shape
        rows: list[tuple[str, object]] = [
            ("weights", f"{self.mode}, {self.held.min()} to {self.held.max()} times 2^{self.weight_exp}")
        ]
        if self.delays.any():
            rows.append(("delays", f"{self.delays.min()} to {self.delays.max()} steps"))
        return f"Dense({n_pre} to {n_post}, {self.num_weight_bits} bits)", rows


@dataclass(frozen=True, eq=False, repr=False)
class Layer(Exact):
    """Neurons, and the synapses to them.

    Attributes
    ----------
    ff : Dense
        From the layer before, or from the input.
    rec : Dense or None
        From the layer itself.
    du, dv, vth, bias_mant, bias_exp, u0, v0 : int or ndarray of int64, (n,)
        In a step u decays by (du + 1)/4096 and v by dv/4096, and bias_mant << bias_exp is added to v. A neuron spikes
        if v exceeds vth * 64. u0 and v0 are u and v before the first step.
    reset_interval, reset_offset : int
        In the steps k, counted from 1, with k mod reset_interval = reset_offset mod reset_interval, u and v are set to
        0 before arriving spikes are added; with an interval of 0, never. Spikes in flight still arrive.

    Raises
    ------
    ValueError
        If an array has another shape, or a number is no integer or out of range.
    """

    ff: Dense
    rec: Dense | None = None
    du: Integers = 0  # type: ignore[assignment]
    dv: Integers = 0  # type: ignore[assignment]
    vth: Integers = 0  # type: ignore[assignment]
    bias_mant: Integers = 0  # type: ignore[assignment]
    bias_exp: Integers = 0  # type: ignore[assignment]
    u0: Integers = 0  # type: ignore[assignment]
    v0: Integers = 0  # type: ignore[assignment]
    reset_interval: int = 0
    reset_offset: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.ff, Dense):
            raise ValueError(f"ff must be a Dense; got {shown(self.ff)}")
        n = self.size
        if self.rec is not None and (
            not isinstance(self.rec, Dense) or self.rec.weights.shape != (n, n) or self.rec.num_message_bits
        ):
            raise ValueError(
                f"rec must be a Dense of shape ({n}, {n}), without messages; got {shown(self.rec)}"
            )
        for name, low, high in (
            ("du", -1, DECAY - 1),
            ("dv", 0, DECAY),
            ("vth", 0, 2**31 - 1),
            ("bias_mant", -(2**15), 2**15),
            ("bias_exp", -16, 15),
            ("u0", -(2**31), 2**31 - 1),
            ("v0", -(2**31), 2**31 - 1),
        ):
            object.__setattr__(self, name, integers(name, getattr(self, name), (n,), low, high))
        for name in ("reset_interval", "reset_offset"):
            object.__setattr__(self, name, integer(name, getattr(self, name), 0, 2**31 - 1))
        super().__post_init__()

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.ff.weights.shape[0])

    @property
    def bias(self) -> Integers:
        """What is added to v in each step, (n,); a negative exponent shifts towards minus infinity."""
        up = self.bias_mant << np.maximum(self.bias_exp, 0)
        return np.asarray(up >> np.maximum(-self.bias_exp, 0))

    @property
    def matrices(self) -> tuple[Dense, ...]:
        """The feed-forward and, if there is one, the recurrent matrix."""
        return (self.ff,) if self.rec is None else (self.ff, self.rec)

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = [("ff", self.ff._summary()[0])]
        if self.rec is not None:
            rows.append(("rec", self.rec._summary()[0]))
        for name in ("du", "dv", "vth"):
            values = np.unique(getattr(self, name))
            rows.append((name, values[0] if values.size == 1 else f"{values[0]} to {values[-1]}"))
        return f"Layer({several(self.size, 'neuron')})", rows


@dataclass(frozen=True, eq=False, repr=False)
class Program(Exact):
    """Layers, each of which feeds the next.

    Attributes
    ----------
    layers : tuple of Layer
    notes : tuple of str
        Warnings about how the program was made, a sentence each; not compared.

    Raises
    ------
    ValueError
        If there is no layer, or a layer does not fit the one before.
    """

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"layers must be one Layer or more; got {shown(self.layers)}")
        for k, (before, layer) in enumerate(pairwise(layers), 1):
            if layer.ff.weights.shape[1] != before.size:
                raise ValueError(
                    f"ff of layer {k} must have {before.size} columns, the neurons of the layer before; "
                    f"got {layer.ff.weights.shape[1]}"
                )
            if layer.ff.num_message_bits:
                raise ValueError(f"num_message_bits of layer {k} must be 0: the layer before sends spikes")
        object.__setattr__(self, "layers", layers)
        super().__post_init__()

    def __eq__(self, other: object) -> bool:
        return self.layers == other.layers if isinstance(other, Program) else NotImplemented

    __hash__ = None

    @property
    def n_inputs(self) -> int:
        """Number of input channels."""
        return int(self.layers[0].ff.weights.shape[1])

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(layer.size for layer in self.layers)

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = [
            (f"layer {k}", layer._summary()[0] + (", recurrent" if layer.rec is not None else ""))
            for k, layer in enumerate(self.layers)
        ]
        if self.notes:
            rows.append(("notes", " ".join(self.notes)))
        return f"Program({self.n_inputs} inputs, {'-'.join(map(str, self.sizes))} neurons)", rows
