"""What a failed assertion raises."""

from __future__ import annotations

from eventsolve.compare.divergence import Divergence


class Mismatch(AssertionError):
    """An implementation departs from the exact result.

    Attributes
    ----------
    divergence : Divergence
        Where, first.
    slips : tuple of str
        What it looks like: convention slips that would give this result.
    """

    def __init__(self, divergence: Divergence, slips: tuple[str, ...], agreed: tuple[str, ...] = ()) -> None:
        lines = [str(divergence)]
        lines += [f"looks like: {slip}" for slip in slips] or ["it looks like none of the known slips"]
        if agreed:
            lines.append(f"what comes before agrees: {', '.join(agreed)}")
        super().__init__("\n  ".join(lines))
        self.divergence, self.slips = divergence, slips
