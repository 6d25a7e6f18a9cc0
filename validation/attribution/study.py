"""A network, a batch and a chip, and how far a run with some of the chip's approximations is from the exact one.

The errors of a run are numbers: of spike times in seconds, of dL/dt and of batch-mean gradients relative to the exact
ones. Beside them stand the gradients themselves, in which contributions add up synapse by synapse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import eventsolve as es
from eventsolve.checks import seconds
from eventsolve.io.records import Record
from eventsolve.matching import match_spikes
from eventsolve.network import Key
from validation.compare import depths, label_of
from validation.oracle import oracle
from validation.spinnaker2 import SpiNNaker2Core, SwitchedCore, Switches

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Study:
    """What is to be attributed.

    Parameters
    ----------
    network : Network
        Without delays.
    inputs : mapping of str to SpikeTrains
    t_end : float
        Seconds.
    loss : eventsolve.losses.TTFSCrossEntropy
    core : SpiNNaker2Core
        The chip.
    kept : tuple of str
        Switches that are on throughout and get no blame. With ``step_delay`` among them, as by default, the exact
        network has that delay too, a real one of one time step on every synapse: what remains is error.
    window : float, optional
        Seconds within which spikes are paired; by default one and a half time steps, and another one per layer.

    Raises
    ------
    ValueError
        If ``kept`` names no switch, all of them, or the window is not > 0.
    """

    network: es.Network
    inputs: Mapping[str, es.SpikeTrains]
    t_end: float
    loss: Any
    core: SpiNNaker2Core
    kept: tuple[str, ...] = ("step_delay",)
    window: float | None = None

    def __post_init__(self) -> None:
        if len(Switches.only(self.kept).on) == len(Switches.names()):
            raise ValueError("kept must leave a switch to attribute something to; got all of them")
        object.__setattr__(self, "t_end", seconds("t_end", self.t_end))
        if self.window is not None:
            object.__setattr__(self, "window", seconds("window", self.window))
            if not self.window > 0:
                raise ValueError(f"window must be > 0 seconds; got {self.window!r}")

    @property
    def switches(self) -> tuple[str, ...]:
        """The names of those to which error is attributed."""
        return tuple(name for name in Switches.names() if name not in self.kept)

    @cached_property
    def exact_network(self) -> es.Network:
        """The network that has no error."""
        return delayed(self.network, self.core.time_step) if "step_delay" in self.kept else self.network

    @cached_property
    def exact(self) -> Record:
        """The exact record."""
        return oracle(es.Problem(self.exact_network, self.inputs, self.t_end, self.loss))

    def run(self, on: Iterable[str]) -> Record:
        """Run the network with some approximations, and those that are kept.

        Raises
        ------
        ValueError
            If the core cannot represent the network, the inputs or the loss, or a denominator is 0 without its guard.
        """
        switches = Switches.only({*on, *self.kept})
        return SwitchedCore(replace(self.core, traces=False), switches).run(
            es.Problem(self.network, self.inputs, self.t_end, self.loss)
        )

    # -- what is measured

    @cached_property
    def windows(self) -> dict[str, float]:
        """Seconds within which spikes are paired, by population, inputs apart; shallow ones first."""
        depth = depths(self.exact.spikes, self.exact.weight)
        computed = sorted((name for name in depth if depth[name]), key=lambda name: depth[name])
        wide = {name: (depth[name] + 1.5) * self.core.time_step for name in computed}
        return wide if self.window is None else dict.fromkeys(wide, self.window)

    @cached_property
    def projections(self) -> tuple[Key, ...]:
        """Those with an exact gradient other than 0, in the order of the network."""
        return tuple(key for key, w in self.exact.weight.items() if w.mean(axis=0).any())

    @cached_property
    def quantities(self) -> tuple[str, ...]:
        """What the errors are of; dL/dt and dL/dw that are exactly 0 throughout have no relative error."""
        felt = [name for name in self.windows if self.exact.spike_times[name].any()]
        return (
            *(f"spike times of {name}" for name in self.windows),
            *(f"dL/dt of {name}" for name in felt),
            *(f"dL/dw of {label_of(key)}" for key in self.projections),
            *(f"direction of dL/dw of {label_of(key)}" for key in self.projections),
        )

    def observed(self, record: Record) -> Reals:
        """Return the errors of a record, and then its batch-mean gradients, projection by projection.

        Spike times: the mean distance of spikes in seconds, where a missed or extra one counts as the window in which
        it would have been paired. dL/dt: the norm of its error, where one of the two is 0 at a spike that only the
        other has. dL/dw: the norm of the error of the batch mean. Its direction: 1 - cosine, which no single gradient
        that is many times too large, as behind a grazing spike, can blow up.

        Raises
        ------
        ValueError
            If the record's gradients are not finite.
        """
        distances, slopes = [], []
        for name, window in self.windows.items():
            match = match_spikes(name, self.exact.spikes[name], record.spikes[name], window)
            apart = np.abs(match.shift).sum() + window * (match.missed.size + match.extra.size)
            distances.append(apart / max(1, match.exact.n_spikes))
            want, got = self.exact.spike_times[name], record.spike_times[name]
            if want.any():
                paired = got[match.model_index] - want[match.exact_index]
                lone = np.concatenate([paired, want[match.missed], got[match.extra]])
                slopes.append(np.linalg.norm(lone) / np.linalg.norm(want))
        means = [record.weight[key].mean(axis=0) for key in self.projections]
        exact = [self.exact.weight[key].mean(axis=0) for key in self.projections]
        errors = [np.linalg.norm(m - e) / np.linalg.norm(e) for m, e in zip(means, exact, strict=True)]
        turned = [_turned(m, e) for m, e in zip(means, exact, strict=True)]
        observed = np.concatenate([distances, slopes, errors, turned, *(m.ravel() for m in means)])
        if not np.isfinite(observed).all():
            raise ValueError(f"gradients of {record.name!r} are not finite; an error cannot be attributed")
        return observed

    def gradients(self, observed: Reals) -> dict[Key, Reals]:
        """Return the gradients among observed numbers, or changes of them, (..., n_post, n_pre)."""
        found, start = {}, len(self.quantities)
        for key in self.projections:
            shape = self.exact.weight[key].shape[1:]
            values = observed[..., start : start + shape[0] * shape[1]]
            found[key] = values.reshape(*observed.shape[:-1], *shape)
            start += shape[0] * shape[1]
        return found


def _turned(got: Reals, exact: Reals) -> float:
    """Return 1 - cosine, from the distance of unit vectors, which does not cancel; 1 of a gradient that is 0."""
    size = float(np.linalg.norm(got))
    if size == 0:
        return 1.0
    return 0.5 * float(np.sum((got / size - exact / np.linalg.norm(exact)) ** 2))


def delayed(network: es.Network, delay: float) -> es.Network:
    """Return the network with a delay in seconds on every synapse."""
    return network.with_delays(dict.fromkeys(network.projections, delay))


def observe(study: Study, on: frozenset[str]) -> Reals:
    """Return what is observed with some approximations on: a job for any executor."""
    try:
        return study.observed(study.run(on))
    except ValueError as error:
        off = [name for name in study.switches if name not in on]
        raise ValueError(
            f"without {', '.join(off) or 'nothing'}: {error}; keep a switch on to leave it out"
        ) from None
