"""A problem and a target, and how far a run with some of the target's approximations is from the exact solution.

A run has errors of spike times in seconds, and of dL/dt and batch-mean gradients relative to the exact ones. The
gradients themselves are kept with the errors: in them contributions add up synapse by synapse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

import eventsolve as es
from eventsolve.checks import seconds
from eventsolve.compare.comparison import label_of
from eventsolve.compare.matching import match_spikes
from eventsolve.compare.records import depths
from eventsolve.io.records import Record
from eventsolve.typing import Key, Reals
from validation.oracle import oracle
from validation.target import Ablatable, Resolution, Resolved, forward_only

What = TypeVar("What")


@dataclass(frozen=True)
class Refusal(Generic[What]):
    """A time step or setting at which a target cannot run a problem, and why.

    For example, too few bits silence an output, or two spikes of an input fall into one step.
    """

    of: What
    why: str


@dataclass(frozen=True, eq=False)
class Ablation:
    """A target on a problem, with its approximations turned on and off: how far each run is from the exact solution.

    Parameters
    ----------
    problem : Problem
        Without a loss only spike times are attributed. If the target is forward only, the loss and the voltages of
        recorded readouts are attributed, too.
    target : Ablatable
        Its approximations are the causes of the error.
    kept : tuple of str, optional
        Causes that are always on and get no blame; by default those that the target intends. The exact network has
        the steps of transport that they cause as delays, so that these count as no error.
    window : float, optional
        Seconds within which spikes are paired. By default one and a half time steps, plus one more step and the spread
        of an analog target for each layer.

    Raises
    ------
    ValueError
        If ``kept`` names no cause, all of them, or the window is not > 0.
    """

    problem: es.Problem
    target: Ablatable
    kept: tuple[str, ...] = None  # type: ignore[assignment]
    window: float | None = None

    def __post_init__(self) -> None:
        known = tuple(self.target.causes())
        kept = self.target.kept() if self.kept is None else tuple(self.kept)
        unknown = [name for name in kept if name not in known]
        if unknown:
            raise ValueError(f"causes of {self.target.name!r} are {', '.join(known)}; got {unknown}")
        if set(kept) == set(known):
            raise ValueError("kept must leave a cause to attribute something to; got all of them")
        object.__setattr__(self, "kept", kept)
        if self.window is not None:
            object.__setattr__(self, "window", seconds("window", self.window))
            if not self.window > 0:
                raise ValueError(f"window must be > 0 seconds; got {self.window!r}")

    @property
    def causes(self) -> tuple[str, ...]:
        """The names of the causes to which error is attributed."""
        return tuple(name for name in self.target.causes() if name not in self.kept)

    @cached_property
    def resolution(self) -> Resolution:
        """How finely the target resolves the network."""
        return self.target.resolution(self.problem.network)

    @cached_property
    def exact_problem(self) -> es.Problem:
        """The problem whose solution has no error."""
        problem = replace(self.problem, loss=None) if forward_only(self.target) else self.problem
        return meant(problem, self.target, self.kept)

    @cached_property
    def exact(self) -> Record:
        """The exact record."""
        return oracle(self.exact_problem)

    def run(self, on: Iterable[str]) -> Record:
        """Run the network with some approximations and those that are kept.

        Raises
        ------
        ValueError
            If the target cannot represent the problem with these approximations alone.
        """
        return self.target.with_causes({*on, *self.kept}).run(self.problem)

    # -- what is measured

    @cached_property
    def windows(self) -> dict[str, float]:
        """Seconds within which spikes are paired, by population of spiking neurons; shallow ones first."""
        network = self.problem.network
        depth = depths(network.populations, network.projections)
        spiking = (n for n, p in network.populations.items() if p.spiking)
        computed = sorted(spiking, key=lambda name: depth[name])
        wide = {name: self.resolution.window(depth[name]) for name in computed}
        return wide if self.window is None else dict.fromkeys(wide, self.window)

    @cached_property
    def projections(self) -> tuple[Key, ...]:
        """Projections whose exact gradient is not 0, in the order of the network."""
        return tuple(key for key, mean in self.exact_means.items() if mean.any())

    @cached_property
    def exact_means(self) -> dict[Key, Reals]:
        """The exact batch-mean gradients, (n_post, n_pre), or (n_synapses,) where the weight is sparse."""
        return batch_means(self.exact)

    @cached_property
    def _told(self) -> tuple[tuple[str, ...], bool]:
        """The readouts whose voltages a forward-only target records, and whether it records losses."""
        if not forward_only(self.target):
            return (), False
        record, populations = self.run(self.causes), self.problem.network.populations
        neurons = ((name, populations[name]) for name in record.traces)
        readouts = tuple(name for name, p in neurons if p.neuron is not None and not p.spiking)
        return readouts, record.loss_values is not None

    @property
    def readouts(self) -> tuple[str, ...]:
        """The populations without spikes whose voltages are compared."""
        return self._told[0]

    @cached_property
    def exact_losses(self) -> Reals:
        """The exact losses, (n_samples,), if losses are compared in place of their gradients; else empty."""
        loss = self.problem.loss
        if loss is None or not self._told[1]:
            return np.empty(0)
        return np.asarray(loss.evaluate(self.exact_problem.solution).values, dtype=np.float64)

    @cached_property
    def quantities(self) -> tuple[str, ...]:
        """The names of the quantities with an error; dL/dt and dL/dw that are 0 throughout have no relative error."""
        felt = [name for name in self.windows if np.any(self.exact.spike_times.get(name, 0.0))]
        return (
            *(f"V of {name}" for name in self.readouts),
            *(("loss",) if self.exact_losses.size else ()),
            *(f"spike times of {name}" for name in self.windows),
            *(f"dL/dt of {name}" for name in felt),
            *(f"dL/dw of {label_of(key)}" for key in self.projections),
            *(f"direction of dL/dw of {label_of(key)}" for key in self.projections),
        )

    def observed(self, record: Record) -> Reals:
        """Return the errors of a record, followed by its batch-mean gradients, projection by projection.

        - Voltages: the relative norm of their error.
        - Losses: their relative mean distance.
        - Spike times: the mean distance of spikes in seconds. A missed or extra spike counts as the window in which it
          would have been paired.
        - dL/dt: the relative norm of its error. At a spike that only one of the two has, the other's dL/dt is 0.
        - dL/dw: the relative norm of the error of the batch mean.
        - Direction of dL/dw: 1 - cosine. A gradient that is many times too large, as behind a grazing spike, cannot
          dominate it.

        Raises
        ------
        ValueError
            If the record's gradients are not finite.
        """
        values = []
        for name in self.readouts:
            trace = record.traces[name]
            wanted = self.exact_problem.solution.voltage(name, np.minimum(trace.times, self.problem.t_end))
            values.append(np.linalg.norm(trace.voltage - wanted) / (np.linalg.norm(wanted) or 1.0))
        if self.exact_losses.size:
            off = np.abs(np.asarray(record.loss_values, dtype=np.float64) - self.exact_losses)
            values.append(off.mean() / (np.abs(self.exact_losses).mean() or 1.0))
        distances, slopes = [], []
        for name, window in self.windows.items():
            match = match_spikes(name, self.exact.spikes[name], record.spikes[name], window)
            apart = np.abs(match.shift).sum() + window * (match.missed.size + match.extra.size)
            distances.append(apart / max(1, match.exact.n_spikes))
            want = self.exact.spike_times.get(name, np.empty(0))
            if want.any():
                got = record.spike_times[name]
                paired = got[match.model_index] - want[match.exact_index]
                lone = np.concatenate([paired, want[match.missed], got[match.extra]])
                slopes.append(np.linalg.norm(lone) / np.linalg.norm(want))
        got_means = batch_means(record)
        means = [got_means[key] for key in self.projections]
        exact = [self.exact_means[key] for key in self.projections]
        errors = [np.linalg.norm(m - e) / np.linalg.norm(e) for m, e in zip(means, exact, strict=True)]
        turned = [_turned(m, e) for m, e in zip(means, exact, strict=True)]
        observed = np.concatenate([values, distances, slopes, errors, turned, *(m.ravel() for m in means)])
        if not np.isfinite(observed).all():
            raise ValueError(f"gradients of {record.name!r} are not finite; an error cannot be attributed")
        return observed

    def gradients(self, observed: Reals) -> dict[Key, Reals]:
        """Return the gradients, or changes of gradients, among observed numbers, (..., n_post, n_pre) each.

        Where the weight is sparse, (..., n_synapses).
        """
        found, start = {}, len(self.quantities)
        for key in self.projections:
            shape = self.exact_means[key].shape
            size = int(np.prod(shape))
            found[key] = observed[..., start : start + size].reshape(*observed.shape[:-1], *shape)
            start += size
        return found


def _turned(got: Reals, exact: Reals) -> float:
    """Return 1 - cosine, computed from the distance of unit vectors to avoid cancellation; 1 if a gradient is 0."""
    size = float(np.linalg.norm(got))
    if size == 0:
        return 1.0
    return 0.5 * float(np.sum((got / size - exact / np.linalg.norm(exact)) ** 2))


def meant(problem: es.Problem, target: Resolved, kept: Iterable[str] | None = None) -> es.Problem:
    """Return the problem whose exact solution has no error, given the causes that are kept, by default the target's."""
    made: Any = target
    if hasattr(made, "kept"):
        target = made.with_causes(made.kept() if kept is None else kept)
    return late(problem, target.resolution(problem.network))


def late(problem: es.Problem, resolution: Resolution) -> es.Problem:
    """Return a problem whose delays include a target's steps of transport."""
    network = problem.network
    delays = {
        key: network.projections[key].shaped(network.projections[key].delay + steps * resolution.time_step)
        for key, steps in resolution.transport.items()
        if steps
    }
    if not delays:
        return problem
    return es.Problem(
        network.with_delays(delays), problem.inputs, problem.t_end, problem.loss, problem.max_spikes
    )


def batch_means(record: Record) -> dict[Key, Reals]:
    """Return the batch-mean dL/dw of every projection, (n_post, n_pre), or (n_synapses,) where the weight is sparse."""
    return {key: weight.mean(axis=0) for key, weight in record.weight.items()}


def observe(ablation: Ablation, on: frozenset[str]) -> Reals:
    """Return what is observed with some approximations on; a job for any executor."""
    try:
        return ablation.observed(ablation.run(on))
    except ValueError as error:
        off = [name for name in ablation.causes if name not in on]
        raise ValueError(
            f"without {', '.join(off) or 'nothing'}: {error}; keep a cause on to leave it out"
        ) from None
