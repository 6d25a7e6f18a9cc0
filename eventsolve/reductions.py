"""What becomes of the samples of a batch, in losses, gradients, records and assertions alike."""

from typing import Final, Literal, TypeAlias

Reduction: TypeAlias = Literal["mean", "sum", "none"]
"""The mean or the sum over samples, or each sample's own."""

USUAL: Final = "mean"
"""Of a loss and its derivatives unless a caller says otherwise. ``vjp`` has no loss, and sums over its cotangents."""
