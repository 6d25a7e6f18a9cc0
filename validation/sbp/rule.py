"""How a sample is learned, in numbers: thresholds, the box, grid and limits of weights, and what is approximated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from eventsolve.checks import shown
from validation.sbp.kernels.tables import Numbers

THRESHOLD = 1024
"""Of a neuron, in units of its weights; the activation of a layer is a step at half of it."""
BITS = 8
"""Of a plastic weight on the chip, whose unit is 2, as one bit of nine stands for the sign alone."""
RANGE = 256
"""Of plastic weights: from -RANGE to RANGE less a unit."""
NO_LIMIT = 2**30
"""Steps of the grid, beyond all weights that learning reaches."""

Read: TypeAlias = Literal["before", "after"]
"""Whether a spike has the weight before the learning of its own step, or after it."""


@dataclass(frozen=True)
class Rule:
    """A learning rule; by default the one that the chip's circuit computes.

    Attributes
    ----------
    error : {"sign", "real"}
        What reaches a hidden neuron: the sign of its error, or the error itself, with which this is exact
        backpropagation through the box.
    read : {"before", "after"}
        Whether a spike has the weight before the learning of its own step, or after it. Which of them holds on the chip
        is not documented; "after" takes the error back through the updated W2.
    edge : int
        The upper end of the box: f'(z) = [0 < z <= edge].
    limits : {"chip", "symmetric", "none"}
        Of weights: -256..254 with +W2^T and -W2^T clipped apart, -254..254, or none.
    bits : int
        Of a weight within +-256, whose unit is 2 for 8 bits; a learning step is one unit.
    box : bool
        Whether there is one: without, f' = 1.
    dead : int
        An error up to this has no sign, in units of the weights: in the circuit, what its relay is lifted less.
    typical : float
        The error at which the real one changes W1 by as much as the sign does, in units of the weights.
    """

    error: Literal["sign", "real"] = "sign"
    read: Read = "before"
    edge: int = THRESHOLD
    limits: Literal["chip", "symmetric", "none"] = "chip"
    bits: int = BITS
    box: bool = True
    dead: int = 0
    typical: float = 72.0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("error", ("sign", "real")),
            ("read", ("before", "after")),
            ("limits", ("chip", "symmetric", "none")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}; got {shown(getattr(self, name))}"
                )
        for name, low, high in (("edge", 1, 2**20), ("bits", 2, 16), ("dead", 0, 2**20)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer in {low}..{high}; got {shown(value)}")
        if not isinstance(self.box, bool):
            raise ValueError(f"box must be True or False; got {shown(self.box)}")
        if not (isinstance(self.typical, int | float) and 0 < self.typical < float("inf")):
            raise ValueError(f"typical must be a finite number > 0; got {shown(self.typical)}")

    @property
    def unit(self) -> float:
        """The distance of two weights, and what one learning step adds."""
        return float(2 * RANGE / 2**self.bits)

    @property
    def fine(self) -> int:
        """Steps of the grid on which everything is an integer, in a unit of 1."""
        return max(1, round(1 / self.unit))

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest weight."""
        if self.limits == "none":
            return -NO_LIMIT / self.fine, NO_LIMIT / self.fine
        high = RANGE - self.unit
        return (-RANGE if self.limits == "chip" else -high), high

    @property
    def numbers(self) -> Numbers:
        """As the kernels take them: integers on the fine grid, or floats where the error is real."""
        low, high = self.bounds
        scale = self.fine if self.error == "sign" else 1
        kind = int if self.error == "sign" else float
        half, edge, dead, step, least, most = (
            kind(scale * value) for value in (THRESHOLD // 2, self.edge, self.dead, self.unit, low, high)
        )
        return Numbers(half, edge, dead, step, least, most, after=self.read == "after", box=self.box)

    @property
    def name(self) -> str:
        """What it is, in words that name what differs from the chip's."""
        words = ["exact backpropagation" if self.error == "real" else "sign of the hidden error"]
        words += ["transport after learning"] * (self.read == "after")
        words += [f"upper edge {self.edge}"] * (self.box and self.edge != THRESHOLD)
        words += ["no box"] * (not self.box)
        words += {"chip": [], "symmetric": ["symmetric limits"], "none": ["no limits"]}[self.limits]
        words += [f"{self.bits} bits"] * (self.bits != BITS and self.limits != "none")
        words += [f"no sign up to {self.dead}"] * (self.dead > 0)
        return ", ".join(words)


CHIP = Rule()
"""What the circuit computes, if a spike is weighted before its step's learning."""
SCRIPT = Rule(read="after", edge=THRESHOLD - 1, limits="symmetric")
"""What the authors' numpy script computes."""
EXACT = Rule(error="real", limits="none")
"""Exact backpropagation through the box, with a weight's step for an error of ``typical``."""
