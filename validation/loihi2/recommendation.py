"""Which time step and how many bits a network needs on Loihi 2.

A finer step does not converge there: decays and truncated states err by more the more steps there are, until no
threshold fits 17 bits any more. So there is a best step, which is found by trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.io.records import Record
from validation.loihi2.quantities import chain_of
from validation.loihi2.separation import shifts
from validation.loihi2.target import Loihi2, logits
from validation.target import Cost

Wanted: TypeAlias = Literal["spikes", "decisions"]
STEPS = (5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
"""Seconds, that are tried."""


class Agreement(NamedTuple):
    """How near a run on the chip is to the exact one.

    Attributes
    ----------
    spikes : float
        Share of neurons, of those that spike, with the right number of spikes.
    late : float
        Mean distance of their spikes, in seconds.
    decisions : float
        Share of samples with the same class: of the largest logit of a readout, or of the first output spike.
    """

    spikes: float
    late: float
    decisions: float


@dataclass(frozen=True)
class Tried:
    """A setting of the target, and what it gives; of one that cannot be run only ``why``.

    Attributes
    ----------
    target : Loihi2
    agreement : Agreement or None
    cost : Cost or None
        Of a sample, in counted operations.
    why : str
    """

    target: Loihi2
    agreement: Agreement | None = None
    cost: Cost | None = None
    why: str = ""


def decisions(problem: es.Problem, record: Record | None = None) -> NDArray[np.int64]:
    """Return the class of each sample, (n_samples,): by a record, or by the exact solution; -1 if all is silent."""
    name = chain_of(problem.network)[-1]
    neuron = problem.network.population(name).neuron
    assert neuron is not None
    if neuron.spiking:
        spikes = problem.solution.spikes if record is None else record.spikes
        first = spikes[name].first()
        return np.where(np.isinf(first).all(axis=1), -1, first.argmin(axis=1))
    if record is not None:
        return np.asarray(logits(record, name).argmax(axis=1))
    times = np.linspace(0.0, problem.t_end, 1001)
    voltage = problem.solution.voltage(name, times)
    return np.asarray((voltage @ np.exp(-times / problem.t_end)).argmax(axis=1))


def agreement_of(problem: es.Problem, record: Record) -> Agreement:
    """Return how near a record of the chip is to the exact solution of a problem."""
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
    same = decisions(problem) == decisions(problem, record)
    return Agreement(
        right / n_spiking if n_spiking else 1.0,
        float(distances.mean()) if distances.size else 0.0,
        float(same.mean()) if same.size else 1.0,
    )


def tried(problem: es.Problem, target: Loihi2) -> Tried:
    """Run a setting, or say why it cannot be run."""
    try:
        record = target.run(problem)
    except ValueError as error:
        return Tried(target, why=str(error))
    return Tried(target, agreement_of(problem, record), target.cost(problem, record))


def over_steps(problem: es.Problem, target: Loihi2, steps: Sequence[float] = STEPS) -> tuple[Tried, ...]:
    """Return what each time step gives, in seconds."""
    return tuple(tried(problem, replace(target, time_step=step, traces=True)) for step in steps)


def best_step(found: Sequence[Tried], wanted: Wanted = "spikes") -> Tried:
    """Return the step that agrees best, of equal ones the longest.

    Raises
    ------
    ValueError
        If none can be run: the reason of the first.
    """
    ran = [one for one in found if one.agreement is not None]
    if not ran:
        raise ValueError(found[0].why if found else "there is no step to try")

    def rank(one: Tried) -> tuple[float, float, float]:
        assert one.agreement is not None
        share = one.agreement.spikes if wanted == "spikes" else one.agreement.decisions
        return (-share, one.agreement.late, -one.target.time_step)

    return min(ran, key=rank)


def cheapest_bits(
    problem: es.Problem, target: Loihi2, least: float, wanted: Wanted = "decisions"
) -> Tried | None:
    """Return the target with the fewest bits of each layer that agree as wanted, None if 8 everywhere do not.

    Bits are taken off layer by layer, from the one with most synapses on, as long as they are not missed: fewer may do
    where layers are lowered together.

    Parameters
    ----------
    problem : Problem
    target : Loihi2
    least : float
        Share that is wanted, 0 to 1.
    wanted : {"spikes", "decisions"}

    Raises
    ------
    ValueError
        If the share is none, or the target cannot represent the network.
    """
    if not 0 <= least <= 1:
        raise ValueError(f"least must be a share from 0 to 1; got {least!r}")
    names = chain_of(problem.network)[1:]
    sizes = [sum(p.weights.size for p in problem.network.afferents(name)) for name in names]
    bits = [8] * len(names)

    def good(at: Sequence[int]) -> Tried | None:
        one = tried(problem, replace(target, weight_bits=tuple(at), traces=True))
        if one.agreement is None:
            return None
        share = one.agreement.spikes if wanted == "spikes" else one.agreement.decisions
        return one if share >= least else None

    target.run(problem)  # what it refuses at 8 bits is said
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
