"""The time step and the number of bits that a network needs on Loihi 2.

Results do not converge there as the step becomes finer: with more steps, rounded decays and truncated states cause
larger errors, until no threshold fits 17 bits. So there is a best step, which is found by trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.typing import Integers
from validation.loihi2.quantities import chain_of
from validation.loihi2.separation import shifts
from validation.loihi2.target import Loihi2, logits, scores
from validation.target import Cost

Wanted: TypeAlias = Literal["spikes", "logits", "decisions", "accuracy"]
"""What has to agree: numbers of spikes, logits, classes with those of the exact network, or classes with labels."""
STEPS = (5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
"""Time steps that are tried, in seconds."""


class Agreement(NamedTuple):
    """How well a run on the chip agrees with the exact solution.

    Attributes
    ----------
    spikes : float
        Among neurons that spike, the share with the right number of spikes.
    late : float
        Mean distance of the spikes of these, in seconds.
    decisions : float
        Share of samples with the same class, which is that of the largest logit or of the first output spike.
    logits : float
        Mean cosine of a sample's logits with the exact ones, both without their mean, which does not affect the class;
        NaN if outputs spike.
    accuracy : float
        Share of samples with the class of their label; NaN without labels.
    """

    spikes: float
    late: float
    decisions: float
    logits: float = float("nan")
    accuracy: float = float("nan")

    def of(self, wanted: Wanted) -> float:
        """Return the named share."""
        share: float = getattr(self, wanted)
        return share


@dataclass(frozen=True)
class Tried:
    """A setting of the target and its results, or ``why`` it cannot be run.

    Attributes
    ----------
    target : Loihi2
    agreement : Agreement or None
    cost : Cost or None
        Cost of a sample, in counted operations.
    why : str
    """

    target: Loihi2
    agreement: Agreement | None = None
    cost: Cost | None = None
    why: str = ""


def agreement_of(problem: es.Problem, record: Record) -> Agreement:
    """Return how well a record of the chip agrees with the exact solution of a problem."""
    right, n_spiking, apart = 0.0, 0, [np.empty(0)]
    for name, trains in problem.solution.spikes.items():
        neuron = problem.network.population(name).neuron
        if neuron is None or not neuron.spiking:
            continue
        other = record.spikes[name]
        late, share = shifts(trains, other)
        spiking = int(np.count_nonzero((trains.counts() > 0) | (other.counts() > 0)))
        right, n_spiking = right + share * spiking, n_spiking + spiking
        apart.append(np.abs(late))
    distances = np.concatenate(apart)
    exact, got, cosine = _decided(problem, record)
    labels = getattr(problem.loss, "labels", None)
    return Agreement(
        right / n_spiking if n_spiking else 1.0,
        float(distances.mean()) if distances.size else 0.0,
        float(np.mean(exact == got)) if got.size else 1.0,
        cosine,
        float("nan") if labels is None else float(np.mean(got == np.asarray(labels))),
    )


def _decided(problem: es.Problem, record: Record) -> tuple[Integers, Integers, float]:
    """Return the classes of all samples, exact and recorded, and the mean cosine of their logits."""
    name = chain_of(problem.network)[-1]
    neuron = problem.network.population(name).neuron
    if neuron is not None and neuron.spiking:
        firsts = [spikes[name].first() for spikes in (problem.solution.spikes, record.spikes)]
        exact, got = (np.where(np.isinf(first).all(axis=1), -1, first.argmin(axis=1)) for first in firsts)
        return exact, got, float("nan")
    times = np.linspace(0.0, problem.t_end, 1001)
    wanted = scores(times, problem.solution.voltage(name, times), problem.t_end, problem.loss)
    found = logits(record, name, problem.loss)
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (wanted, found))
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.divide((a * b).sum(axis=1), sizes, out=np.zeros(len(a)), where=sizes > 0)
    cosines[(wanted == found).all(axis=1)] = 1.0
    return wanted.argmax(axis=1), found.argmax(axis=1), float(cosines.mean()) if cosines.size else 1.0


def refuse_missing(problem: es.Problem, wanted: Wanted) -> None:
    """Raise a ValueError if a problem does not have what is to agree."""
    last = chain_of(problem.network)[-1]
    neuron = problem.network.population(last).neuron
    if wanted == "logits" and neuron is not None and neuron.spiking:
        raise ValueError(
            f"wanted must be spikes, decisions or accuracy of {last!r}, which spikes; got 'logits'"
        )
    if wanted == "accuracy" and getattr(problem.loss, "labels", None) is None:
        raise ValueError(
            "wanted must be spikes, logits or decisions of samples without labels; got 'accuracy'"
        )


def tried(problem: es.Problem, target: Loihi2) -> Tried:
    """Run a setting and return its results, or why it cannot be run."""
    try:
        record = target.run(problem)
    except ValueError as error:
        return Tried(target, why=str(error))
    return Tried(target, agreement_of(problem, record), target.cost(problem, record))


def over_steps(problem: es.Problem, target: Loihi2, steps: Sequence[float] = STEPS) -> tuple[Tried, ...]:
    """Return the results of each time step, in seconds."""
    return tuple(tried(problem, replace(target, time_step=step, traces=True)) for step in steps)


def best_step(found: Sequence[Tried], wanted: Wanted = "spikes") -> Tried:
    """Return the step that agrees best; among equally good ones, the longest.

    Raises
    ------
    ValueError
        If no step can be run; with the reason of the first.
    """
    ran = [one for one in found if one.agreement is not None]
    if not ran:
        raise ValueError(found[0].why if found else "there is no step to try")

    def rank(one: Tried) -> tuple[float, float, float]:
        assert one.agreement is not None
        return (-one.agreement.of(wanted), one.agreement.late, -one.target.time_step)

    return min(ran, key=rank)


def cheapest_bits(
    problem: es.Problem, target: Loihi2, least: float, wanted: Wanted = "decisions"
) -> Tried | None:
    """Return the target with the fewest bits of each layer that still agree as wanted; None if its own bits do not.

    Bits are removed layer by layer, beginning with the layer of the most synapses, as long as the result agrees. Fewer
    may do if several layers are lowered together.

    Parameters
    ----------
    problem : Problem
    target : Loihi2
    least : float
        Share that is wanted, 0 to 1.
    wanted : {"spikes", "logits", "decisions", "accuracy"}

    Raises
    ------
    ValueError
        If the share is not from 0 to 1, the target cannot represent the network, or the problem lacks what is wanted.
    """
    if not 0 <= least <= 1:
        raise ValueError(f"least must be a share from 0 to 1; got {least!r}")
    refuse_missing(problem, wanted)
    names = chain_of(problem.network)[1:]
    sizes = [sum(p.weights.size for p in problem.network.afferents(name)) for name in names]
    bits = list(target.settings_of_export.bits_of(len(names)))

    def good(at: Sequence[int]) -> Tried | None:
        one = tried(problem, replace(target, weight_bits=tuple(at), traces=True))
        if one.agreement is None:
            return None
        return one if one.agreement.of(wanted) >= least else None

    target.run(problem)  # raises what it refuses with its own bits
    best = good(bits)
    if best is None:
        return None
    for layer in np.argsort(sizes)[::-1].tolist():
        while bits[layer] > 2:
            lower = good([*bits[:layer], bits[layer] - 1, *bits[layer + 1 :]])
            if lower is None:
                break
            best, bits[layer] = lower, bits[layer] - 1
    return best


def cheapest(
    problem: es.Problem, found: Sequence[Tried], least: float, wanted: Wanted = "decisions"
) -> Tried | None:
    """Return the cheapest setting over all time steps, each with the fewest bits that agree as wanted, or None.

    Parameters
    ----------
    problem, least, wanted
        As for :func:`cheapest_bits`.
    found : sequence of Tried
        Results of each step, from :func:`over_steps`; steps that cannot be run are skipped.

    Raises
    ------
    ValueError
        As :func:`cheapest_bits`.
    """
    refuse_missing(problem, wanted)
    best: Tried | None = None
    for one in (step for step in found if step.agreement is not None):
        other = cheapest_bits(problem, one.target, least, wanted)
        if other is not None and (best is None or _bytes(other) < _bytes(best)):
            best = other
    return best


def _bytes(one: Tried) -> float:
    assert one.cost is not None  # it was run
    return one.cost.bytes
