"""The certificate: what is proven, what is refuted and what stayed open, as a record that can be stored and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.adjoint import Gradients, value_and_grad, vjp
from eventsolve.bounded import MAX_BYTES, Budget, content_of, opened
from eventsolve.certify.arithmetic import Enclosures, is_written, joined, same, says_no_more
from eventsolve.certify.boxes import Radii, box_of
from eventsolve.certify.claims import (
    GradientEnclosures,
    Mismatch,
    Refutation,
    arrays_of,
    checked_claim,
    compared,
    gradient_of,
    largest_terms,
)
from eventsolve.certify.losses import SampleLoss, tasks_of
from eventsolve.certify.records import digest_of, fields_from, text_of
from eventsolve.certify.samples import (
    OneSidedEnclosure,
    OpenQuestion,
    SampleProof,
    checked_digits,
    fingerprint_of,
    prove_batch,
)
from eventsolve.checks import count, instance, real, seconds, shown
from eventsolve.files import write_text
from eventsolve.frozen import Frozen
from eventsolve.interrupts import Interrupted
from eventsolve.losses import Loss
from eventsolve.shown import Summary, listed, several
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Owner


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Frozen):
    """What is proven about a solution, or about spikes claimed for the same network and inputs.

    Attributes
    ----------
    digits : int
        Questions whose two sides differ by more than 10**-digits, relatively, were decided.
    tolerance : float or None
        Seconds that a claimed time might be off; None: a few roundings, see ``tolerances``.
    n_samples : int
        Size of the batch.
    proofs : tuple of SampleProof
        Of the samples that were looked at, in their order.
    fingerprint : str
        Of the network, inputs, duration and radii, and of the spikes that were claimed.
    gradients : GradientEnclosures or None
        Enclosures of the loss and its gradient; None if not asked for, or not all of it is proven. At the places in
        ``one_sided`` it is the derivative of the order that events have.
    mismatches : tuple of Mismatch
        Claimed gradients that are wrong, array by array.
    gradient_distance : float
        The largest distance of a claimed gradient from what its enclosure holds, in ulps of the largest entry of its
        array, or where terms cancel of these.
    digest : str
        SHA-256 of all of the above, by which :meth:`check` tells that something was altered.
    """

    digits: int
    tolerance: float | None
    n_samples: int
    proofs: tuple[SampleProof, ...] = field(repr=False)
    fingerprint: str
    gradients: GradientEnclosures | None = field(default=None, repr=False)
    mismatches: tuple[Mismatch, ...] = ()
    gradient_distance: float = 0.0
    digest: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        vars(self).update(digits=checked_digits(self.digits), n_samples=count("n_samples", self.n_samples))
        for name, kind in (("proofs", SampleProof), ("mismatches", Mismatch)):
            given = getattr(self, name)
            if not (isinstance(given, tuple) and all(isinstance(one, kind) for one in given)):
                raise TypeError(f"{name} must be a tuple of {kind.__name__}; got {shown(given)}")
        for name in ("fingerprint", "digest"):
            instance(name, getattr(self, name), str)
        real("gradient_distance", self.gradient_distance)
        if self.tolerance is not None:
            vars(self)["tolerance"] = _checked_tolerance(self.tolerance)
        if self.gradients is not None:
            instance("gradients", self.gradients, GradientEnclosures)
        super().__post_init__()

    @property
    def proven(self) -> bool:
        """Whether something is proven: all of what is claimed, in every sample, and nothing of it open or refuted."""
        sound = self.complete and not self.refuted and not self.undecided and not self.mismatches
        return sound and not self.empty

    @property
    def empty(self) -> bool:
        """Whether it is about nothing: no sample, or neither spikes of any population nor gradients."""
        return self.complete and not self.spike_times and self.gradients is None

    @property
    def complete(self) -> bool:
        """Whether all samples were looked at."""
        return len(self.proofs) == self.n_samples

    @property
    def refuted(self) -> tuple[Refutation, ...]:
        """Claims that are wrong: of every neuron of a sample the first, in the order of time."""
        return tuple(refutation for proof in self.proofs for refutation in proof.refuted)

    @property
    def undecided(self) -> tuple[OpenQuestion, ...]:
        """What stayed open."""
        return tuple(question for proof in self.proofs for question in proof.undecided)

    @property
    def one_sided(self) -> tuple[OneSidedEnclosure, ...]:
        """Where ``gradients`` may have another side, as events of a neuron come at exactly one time."""
        return tuple(place for proof in self.proofs for place in proof.one_sided)

    @property
    def precisions(self) -> dict[int, int]:
        """How many intervals between events were decided at which working precision, in bits."""
        counts: dict[int, int] = {}
        for proof in self.proofs:
            counts[proof.bits] = counts.get(proof.bits, 0) + proof.intervals
        return dict(sorted(counts.items()))

    @property
    def distance(self) -> float:
        """The largest distance of a claimed time from what its enclosure holds, in units in the last place."""
        return max((proof.distance for proof in self.proofs), default=0.0)

    @property
    def spike_times(self) -> dict[str, Enclosures]:
        """Enclosures in seconds by population, for every claimed spike in the order of ``.times``.

        Of the samples that were looked at; nan and inf where nothing is proven.
        """
        names = self.proofs[0].spike_times if self.proofs else ()
        return {name: joined([p.spike_times[name] for p in self.proofs]) for name in names}

    @property
    def decimals(self) -> dict[str, tuple[str, ...]]:
        """The same as decimal balls, "[midpoint +/- radius]", in all proven digits; "" where nothing is proven."""
        names = self.proofs[0].decimals if self.proofs else ()
        return {name: tuple(text for p in self.proofs for text in p.decimals[name]) for name in names}

    @property
    def tolerances(self) -> dict[str, NDArray[np.float64]]:
        """What every claimed time might be off, in seconds, in the same order; nan where nothing is proven."""
        names = self.proofs[0].tolerances if self.proofs else ()
        return {name: np.concatenate([p.tolerances[name] for p in self.proofs]) for name in names}

    def _summary(self) -> Summary:
        said = "proves nothing" if self.empty else "proven" if self.proven else "not proven"
        spikes = [f"{known.midpoints.size} of {name}" for name, known in self.spike_times.items()]
        rows: list[tuple[str, object]] = [
            ("samples", f"{len(self.proofs)} of {self.n_samples} looked at"),
            ("spike times", listed(spikes) or "none claimed"),
            ("gradients", "not enclosed" if self.gradients is None else "enclosed"),
        ]
        for name in ("refuted", "mismatches", "undecided", "one_sided"):
            found = getattr(self, name)
            if found:
                rows.append((name.replace("_", "-"), f"{len(found)}; first, {found[0]}"))
        if self.spike_times:
            rows.append(("distance", f"claimed times are within {self.distance:.3g} ulps of what is proven"))
        bits = [f"{n} with {b} bits" for b, n in self.precisions.items()]
        return f"Certificate({said})", [*rows, ("intervals", listed(bits) or "none")]

    def __str__(self) -> str:
        if self.empty:
            return "proves nothing: no spikes are claimed of any population, and no gradients"
        if self.proven:
            n = sum(enclosures.midpoints.size for enclosures in self.spike_times.values())
            said = f"proven: all {n} spikes of {self.n_samples} samples, claimed to within {self.distance:.3g} ulps"
            places = self.one_sided
            if places:
                said += f"; gradients are one-sided at {several(len(places), 'place')}, first, {places[0]}"
            return said
        parts = [f"not proven ({len(self.proofs)} of {self.n_samples} samples were looked at)"]
        parts += [f"refuted: {refutation}" for refutation in self.refuted[:1]]
        parts += [f"refuted: {mismatch}" for mismatch in self.mismatches[:1]]
        parts += [f"undecided: {question}" for question in self.undecided[:1]]
        return "; ".join(parts)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the certificate as JSON."""
        write_text(path, text_of(self))

    @classmethod
    def load(cls, path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> Certificate:
        """Read a certificate that was saved, without gradients of single samples.

        Parameters
        ----------
        path : path
        max_bytes : int
            What reading may take: the file, and what it says.

        Raises
        ------
        ValueError
            If the file does not hold a certificate. What it says is as good as its source: :meth:`check` proves it
            again.
        OSError
            If it cannot be opened.
        """
        budget = Budget(max_bytes)
        with opened(path, max_bytes) as file:
            return cls(**fields_from(content_of(file, budget), budget))

    def check(self, solution: Solution, **what: Any) -> bool:
        """Say whether a certificate is what :func:`certify` proves of a solution now; see :meth:`disagreement`."""
        return self.disagreement(solution, **what) is None

    def disagreement(self, solution: Solution, **what: Any) -> str | None:
        """Prove a certificate again, and return the first thing that it says otherwise, or None.

        Parameters
        ----------
        solution : Solution
        **what
            The ``spikes``, ``gradients``, ``claimed_gradients`` and ``radii`` that :func:`certify` was given, and an
            ``executor`` or ``progress`` for this.
        """
        anew = certify(solution, digits=self.digits, tolerance=self.tolerance, **what)
        if self.fingerprint != anew.fingerprint:
            return "the certificate is of another network, other inputs, radii or claimed spikes"
        if self.n_samples != anew.n_samples or len(self.proofs) != self.n_samples:
            return f"the certificate covers {len(self.proofs)} of {anew.n_samples} samples, and says {self.n_samples}"
        for mine, other in zip(self.proofs, anew.proofs, strict=True):
            difference = _difference(mine, other)
            if difference:
                return f"sample {mine.sample}: {difference}"
        for name, said, proven in _arrays(self, anew):
            if said.midpoints.shape != proven.midpoints.shape or said.radii.shape != proven.radii.shape:
                return f"{name} has shape {said.midpoints.shape}, not {proven.midpoints.shape}"
            outside = ~same(said, proven)
            if outside.any():
                k = int(np.argmax(outside))
                middle, radius = (float(column.reshape(-1)[k]) for column in said)
                return f"{name}: enclosure {k}, {middle!r} +/- {radius!r}, is not what is proven"
        if not _alike(self.mismatches, anew.mismatches):
            return f"mismatches are {list(map(str, self.mismatches))}, not {list(map(str, anew.mismatches))}"
        if not _close(self.gradient_distance, anew.gradient_distance):
            return f"gradient_distance is {self.gradient_distance!r}, not {anew.gradient_distance!r}"
        if self.digest != digest_of(self):
            return "the certificate was altered: its digest is not that of what it says"
        return None


ROUNDING = 1e-6
"""How far numbers may be apart, relatively, that another machine computes: all that is said besides enclosures."""


def _difference(said: SampleProof, proven: SampleProof) -> str | None:
    """Return the first thing that is said otherwise of a sample than it is proven, or None."""
    for name in ("sample", "bits", "intervals"):
        if getattr(said, name) != getattr(proven, name):
            return f"{name} is {getattr(said, name)}, not {getattr(proven, name)}"
    for name in ("undecided", "refuted", "one_sided"):
        mine, other = getattr(said, name), getattr(proven, name)
        if not _alike(mine, other):
            return f"{name} is {list(map(str, mine))}, not {list(map(str, other))}"
    if not list(said.spike_times) == list(said.decimals) == list(said.tolerances) == list(proven.spike_times):
        return f"spikes are of {list(said.spike_times)}, not {list(proven.spike_times)}"
    for name, exact in proven.exact.items():
        if len(said.decimals[name]) != len(exact) or said.tolerances[name].shape != (len(exact),):
            return f"decimals and tolerances of {name!r} are not of {len(exact)} spikes"
        for k, (text, parts) in enumerate(zip(said.decimals[name], exact, strict=True)):
            if (parts is None and not text) or (parts and is_written(text) and says_no_more(text, parts)):
                continue
            return f"decimals of {name!r}: enclosure {k}, {shown(text)}, is not what is proven"
        columns = (column[name].tolist() for column in (said.tolerances, proven.tolerances))
        for k, (mine, other) in enumerate(zip(*columns, strict=True)):
            if not _close(mine, other):
                return f"tolerances of {name!r}: {k} is {mine!r}, not {other!r}"
    return (
        None
        if _close(said.distance, proven.distance)
        else f"distance is {said.distance!r}, not {proven.distance!r}"
    )


def _alike(said: Sequence[Any], proven: Sequence[Any]) -> bool:
    """Say whether two lists of open questions, places, refutations or mismatches say the same."""
    return len(said) == len(proven) and all(
        mine._fields == other._fields
        and all(
            _close(a, b, 0.0 if name == "claimed" else ROUNDING) if isinstance(a, float) else a == b
            for name, a, b in zip(mine._fields, mine, other, strict=True)
        )
        for mine, other in zip(said, proven, strict=True)
    )


def _close(said: float, proven: float, rounding: float = ROUNDING) -> bool:
    if math.isnan(said) or math.isnan(proven):
        return math.isnan(said) and math.isnan(proven)
    return said == proven or abs(said - proven) <= rounding * abs(proven)


def _arrays(a: Certificate, b: Certificate) -> Iterator[tuple[str, Enclosures, Enclosures]]:
    """Yield every array of enclosures of two certificates; one that only one of them has has no shape in the other."""
    nothing = Enclosures(np.empty((0, 0, 0)), np.empty((0, 0, 0)))  # a shape that no array has
    columns: list[dict[tuple[str, Owner], Enclosures]] = [
        {("spike_times", n): e for n, e in c.spike_times.items()} for c in (a, b)
    ]
    for column, gradients in zip(columns, (a.gradients, b.gradients), strict=True):
        if gradients is not None:
            column |= {(f"gradients.{name}", key): e for name, key, e in arrays_of(gradients)}
            column["gradients", "value"] = gradients.value
    for name in columns[0] | columns[1]:
        yield f"{name[0]}[{name[1]!r}]", columns[0].get(name, nothing), columns[1].get(name, nothing)


def certify(
    solution: Solution,
    *,
    spikes: Mapping[str, SpikeTrains] | None = None,
    gradients: Loss | Mapping[str, ArrayLike] | None = None,
    claimed_gradients: Gradients | None = None,
    digits: int = 15,
    tolerance: float | None = None,
    radii: Radii | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> Certificate:
    """Prove in ball arithmetic that a network has the spikes that a solution says, or refute it.

    Every spike is derived anew, independently of the float64 kernels: for every neuron and every interval between
    events it is proven that there is no threshold crossing, or exactly one first, which is enclosed. The precision of a
    sample is raised until everything is decided.

    Parameters
    ----------
    solution : Solution
        Its network, inputs and duration are the problem. The float64 numbers are taken exactly as they are, also of a
        state that the solution went on from.
    spikes : mapping of population to SpikeTrains, optional
        A claim from elsewhere, of the same samples, to be judged instead of the solution's own spikes. Populations that
        it does not name are not judged.
    gradients : Loss, or mapping of population to array_like, optional
        Also enclose the loss and every gradient: of a loss as ``value_and_grad`` gives them, or those that cotangents
        make, as ``vjp`` does.
    claimed_gradients : Gradients, optional
        Gradients to be judged, by default the float64 ones.
    digits : int
        A question is decided if its two sides differ by more than 10**-digits, relative to the larger: how far a peak
        is from the threshold, or how far apart two events are. What is closer may stay undecided. 300 at most.
    tolerance : float, optional
        How far a claimed spike may be from the proven one, in seconds. By default a few units in the last place of
        every number that the spike depends on, times its conditioning: see :mod:`eventsolve.certify.claims`.
    radii : mapping, optional
        Makes numbers intervals, see :func:`eventsolve.certify.boxes.box_of`. What is proven then holds for every
        network in the box.
    executor : concurrent.futures.Executor, optional
        To certify samples in parallel; python-flint has one precision per process, so that threads take turns.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Certificate

    Raises
    ------
    Interrupted
        After a KeyboardInterrupt, which it is: ``so_far`` is the certificate of the samples that were done until then.
    ValueError
        If claimed spikes, gradients or radii do not fit the solution, or the digits or the tolerance are out of range;
        or as ``value_and_grad``, where the loss is not defined.
    UndefinedGradientError
        As ``value_and_grad``.
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; got {shown(solution)}")
    solution.require_solved("a certificate is")
    digits = checked_digits(digits)
    if tolerance is not None:
        tolerance = _checked_tolerance(tolerance)
    if spikes is not None and gradients is not None:
        raise ValueError("gradients are those of the solution's own spikes: give either spikes or gradients")
    if claimed_gradients is not None and gradients is None:
        raise ValueError("claimed_gradients must come with the loss or cotangents that they are gradients of")
    if claimed_gradients is not None:
        instance("claimed_gradients", claimed_gradients, Gradients)
    box = box_of(solution, radii)
    spiking = {name: solution.spikes[name] for name in box.populations if _spikes(solution, name)}
    claimed = spiking if spikes is None else checked_claim(spiking, spikes, solution.t_end)
    tasks: list[SampleLoss | None] = [None] * solution.n_samples
    if gradients is not None:
        float64 = _float64_gradients(solution, gradients)
        claimed_gradients = float64 if claimed_gradients is None else claimed_gradients
        tasks = [*tasks_of(solution, gradients, divisor=max(solution.n_samples, 1))]
    proofs, interrupt = prove_batch(box, claimed, tasks, digits, tolerance, executor, progress=progress)
    parts = [proof.gradient for proof in proofs if proof.gradient is not None]
    enclosed: GradientEnclosures | None = None
    mismatches: tuple[Mismatch, ...] = ()
    distance = 0.0
    if claimed_gradients is not None and len(parts) == box.n_samples:
        enclosed = gradient_of(solution.network, box, parts)
        mismatches, distance = compared(enclosed, claimed_gradients, largest_terms(box, parts))
    fingerprint = fingerprint_of(box, claimed)
    certificate = Certificate(
        digits, tolerance, box.n_samples, tuple(proofs), fingerprint, enclosed, mismatches, distance
    )
    certificate = replace(certificate, digest=digest_of(certificate))
    if interrupt is not None:
        raise Interrupted(certificate) from interrupt
    return certificate


def _checked_tolerance(given: float) -> float:
    tolerance = seconds("tolerance", given)
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be finite and >= 0 seconds, or None; got {tolerance!r}")
    return tolerance


def _float64_gradients(solution: Solution, gradients: Loss | Mapping[str, ArrayLike]) -> Gradients:
    return (
        vjp(solution, gradients) if isinstance(gradients, Mapping) else value_and_grad(solution, gradients)[1]
    )


def _spikes(solution: Solution, population: str) -> bool:
    neuron = solution.network.population(population).neuron
    return neuron is not None and neuron.spiking
