"""What a failed assertion raises, and what may say why: an engine that is found by its entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from eventsolve.compare.divergence import Divergence
from eventsolve.errors import Carrying
from eventsolve.io.records import Record
from eventsolve.problem import Problem
from eventsolve.renamed import hint

GROUP = "eventsolve.diagnosis"
"""Entry points of engines: functions ``(problem, record, *, tolerance, window, patience) -> Named``."""
PATIENCE = 5.0
"""For how long an engine tries guesses at one failing problem, in seconds of a usual machine."""


class Named(Protocol):
    """What an engine says of a record."""

    @property
    def verdict(self) -> str:
        """One of "agrees", "explained", "convention", "fault" and "unexplained"."""

    @property
    def name(self) -> str:
        """What it is, in words."""

    @property
    def rivals(self) -> tuple[str, ...]:
        """What else it may be, as far as this record tells."""

    @property
    def explains(self) -> float:
        """Which share of the misfit it removes, from 0 to 1."""


@dataclass(frozen=True)
class Joint:
    """What explains most of several failing problems.

    Attributes
    ----------
    verdict, name, rivals, explains
        As of :class:`Named`; ``explains`` is the mean over all of them, 0 of those that it does not explain.
    count, of : int
        How many it explains, of how many.
    """

    verdict: str
    name: str
    rivals: tuple[str, ...]
    explains: float
    count: int
    of: int


class Mismatch(Carrying, AssertionError):
    """An implementation departs from the exact result.

    Attributes
    ----------
    divergence : Divergence
        Where, first.
    diagnosis : Named or None
        What explains it, if there was an engine to ask and a problem to ask it of.
    explanations : tuple of str
        What it looks like: the names of the diagnosis, the most likely first; none if nothing explains it.
    """

    explanations: tuple[str, ...]

    def __init__(
        self,
        divergence: Divergence,
        diagnosis: Named | None = None,
        agreed: tuple[str, ...] = (),
        facts: tuple[str, ...] = (),
    ) -> None:
        self.divergence, self.diagnosis = divergence, diagnosis
        self.explanations = ()
        lines = [str(divergence)]
        if diagnosis is not None:
            if diagnosis.verdict in ("convention", "fault"):
                self.explanations = (diagnosis.name, *diagnosis.rivals)
            lines += told(diagnosis)
        lines += facts
        if agreed:
            lines.append(f"what comes before agrees: {', '.join(agreed)}")
        super().__init__("\n  ".join(lines))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"'Mismatch' object has no attribute {name!r}{hint('Mismatch', name)}")


def told(diagnosis: Named) -> list[str]:
    """Return what a diagnosis says, in lines."""
    if diagnosis.verdict in ("convention", "fault"):
        of = ""
        if isinstance(diagnosis, Joint):
            of = f" of {diagnosis.of} failing problems, and is found in {diagnosis.count} of them"
        return [
            f"looks like: {diagnosis.name}",
            *(f"or: {rival}" for rival in diagnosis.rivals),
            f"a {diagnosis.verdict} that explains {100 * diagnosis.explains:.3g} % of the misfit{of}",
        ]
    if diagnosis.verdict == "explained":
        return [f"looks like the time step's doing: {diagnosis.name}"]
    if diagnosis.verdict == "agrees":
        return ["it is the exact result within the tolerances of a diagnosis"]
    return [f"looks like nothing that is known: {diagnosis.name}"]


def diagnosed(problem: Problem, record: Record, *, tolerance: float, window: float) -> Named | None:
    """Return what the engine says of a record that failed, None if none is installed.

    Parameters
    ----------
    problem : Problem
    record : Record
    tolerance, window : float
        Relative error of numbers, and seconds by which a spike may be off, that are no fault.
    """
    for entry in entry_points(group=GROUP):
        engine = cast(Callable[..., Any], entry.load())
        return cast(Named, engine(problem, record, tolerance=tolerance, window=window, patience=PATIENCE))
    return None
