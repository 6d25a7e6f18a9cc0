"""The certificate: what is proven, what is refuted and what stayed open, as a record that can be stored and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from eventsolve.certify.boxes import Box
from eventsolve.certify.claims import Refutation
from eventsolve.certify.samples import Doubt, Enclosures, SampleProof
from eventsolve.spiketrains import SpikeTrains

FORMAT = "eventsolve certificate 1"


def fingerprint_of(box: Box, claimed: Mapping[str, SpikeTrains]) -> str:
    """Return the SHA-256 of all numbers of a problem and of the spikes claimed for it."""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        for value in values:
            if isinstance(value, np.ndarray):
                kind = np.int64 if value.dtype.kind in "iub" else np.float64
                digest.update(repr(value.shape).encode())
                digest.update(np.ascontiguousarray(value, dtype=kind).tobytes())
            else:
                digest.update(repr(value).encode())

    add(sorted(box.inputs.items()), list(box.populations.items()), box.n_channels, box.n_samples)
    add(box.after, box.t_start, box.t_end, box.subtracts)
    for name, numbers in box.parameters.items():
        add(name, numbers.middle, numbers.radius)
    synapses = box.synapses
    add(list(synapses.slices.items()), synapses.source, synapses.target, synapses.delta)
    add(synapses.weight.middle, synapses.weight.radius, synapses.delay.middle, synapses.delay.radius)
    for trains in (box.trains, box.carried):
        for name, train in trains.items():
            add(name, train.times.middle, train.times.radius, train.neurons, train.samples)
    for sample, start in (box.start or {}).items():
        add(sample, *start)
    for name, spikes in claimed.items():
        add(name, spikes.times, spikes.neurons, spikes.samples)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Certificate:
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
    """

    digits: int
    tolerance: float | None
    n_samples: int
    proofs: tuple[SampleProof, ...] = field(repr=False)
    fingerprint: str

    @property
    def proven(self) -> bool:
        """Whether every sample is looked at, nothing claimed is refuted and nothing is undecided."""
        return self.complete and not self.refuted and not self.undecided

    @property
    def complete(self) -> bool:
        """Whether all samples were looked at."""
        return len(self.proofs) == self.n_samples

    @property
    def refuted(self) -> tuple[Refutation, ...]:
        """Claims that are wrong: of every neuron of a sample the first, in the order of time."""
        return tuple(refutation for proof in self.proofs for refutation in proof.refuted)

    @property
    def undecided(self) -> tuple[Doubt, ...]:
        """What stayed open."""
        return tuple(doubt for proof in self.proofs for doubt in proof.undecided)

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
        return {
            name: Enclosures(
                np.concatenate([p.spike_times[name].midpoints for p in self.proofs]),
                np.concatenate([p.spike_times[name].radii for p in self.proofs]),
            )
            for name in (self.proofs[0].spike_times if self.proofs else ())
        }

    @property
    def decimals(self) -> dict[str, tuple[str, ...]]:
        """The same as decimal balls, "[midpoint +/- radius]", in all proven digits; "" where nothing is proven."""
        names = self.proofs[0].decimals if self.proofs else ()
        return {name: tuple(text for p in self.proofs for text in p.decimals[name]) for name in names}

    @property
    def tolerances(self) -> dict[str, np.ndarray]:
        """What every claimed time might be off, in seconds, in the same order; nan where nothing is proven."""
        names = self.proofs[0].tolerances if self.proofs else ()
        return {name: np.concatenate([p.tolerances[name] for p in self.proofs]) for name in names}

    def __str__(self) -> str:
        if self.proven:
            n = sum(enclosures.midpoints.size for enclosures in self.spike_times.values())
            return f"proven: all {n} spikes of {self.n_samples} samples, claimed to within {self.distance:.3g} ulps"
        parts = [f"not proven ({len(self.proofs)} of {self.n_samples} samples were looked at)"]
        parts += [f"refuted: {refutation}" for refutation in self.refuted[:1]]
        parts += [f"undecided: {doubt}" for doubt in self.undecided[:1]]
        return "; ".join(parts)
