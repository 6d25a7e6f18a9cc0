"""A verdict on what an implementation recorded: what explains its difference from the exact solution.

Three questions are asked in order. Does the record equal the exact solution within rounding? Does it equal a twin,
which computes the same problem at the same time step in a known scheme? Does it equal a twin with one thing wrong: in
how results are written down, in the network, in the machine, or on the way back? A guess is named only if it leaves
nothing but rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["agrees", "explained", "convention", "fault", "unexplained"]


@dataclass(frozen=True)
class Diagnosis:
    """What explains how a record differs from the exact solution.

    Attributes
    ----------
    verdict : {"agrees", "explained", "convention", "fault", "unexplained"}
        The record equals the exact solution within rounding; the time step explains every difference; results are
        written down in another convention; something is wrong; or nothing that is known here explains the difference.
    name : str
        What explains the difference, in words.
    explains : float
        The share of the misfit that it removes, from 0 to 1.
    where : str
        Where the difference begins; empty if nothing is wrong.
    twin : str
        The scheme of the nearest twin; empty in continuous time.
    costs : str
        What the time step does to this network, in a sentence; empty if that was not computed.
    rivals : tuple of str
        Other names that explain as much.
    settings : tuple of str
        Options ``name=value`` with which ``target`` is that twin; empty if there is none.
    untried : int
        How many guesses were not tried for lack of time.
    target : str
        The registered target that the twin is.
    remains : tuple of str
        The losses and gradients that are still off once a fault has put all spikes right.
    """

    verdict: Verdict
    name: str
    explains: float
    where: str = ""
    twin: str = ""
    costs: str = ""
    rivals: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    untried: int = 0
    target: str = "timestepped"
    remains: tuple[str, ...] = ()

    @property
    def following(self) -> str:
        """The command to run next; RECORD stands for the record."""
        if self.verdict == "agrees":
            return ""
        if not (self.accepted and self.settings):
            return "eventsolve-validate diagnose RECORD"
        return f"eventsolve-validate attribute RECORD --target {self.target} --set {','.join(self.settings)}"

    @property
    def accepted(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict in ("agrees", "explained")

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        if self.verdict == "agrees":
            return f"agrees with the exact solution: {self.name}"
        if self.verdict == "explained":
            return f"explained by its time step: {self.name}" if self.twin else f"explained: {self.name}"
        at = f", at {self.where}" if self.where else ""
        if self.verdict == "unexplained":
            left = f"; {self.untried} guesses were not tried for lack of time" if self.untried else ""
            return f"unexplained{at}: {self.name}{left}"
        others = f" (or: {'; or: '.join(self.rivals)})" if self.rivals else ""
        share = f"explains {100 * self.explains:.3g} % of the misfit"
        if self.remains:
            share = f"{share} of the spikes, but not why {', '.join(self.remains)}"
        return f"{self.verdict}: looks like {self.name}{others}{at}; {share}"

    def __str__(self) -> str:
        return self.sentence
