"""The record of an implementation, in SI units, all that can be missing but its name and duration optional."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.io.records.fields import RecordError
from eventsolve.losses import Loss
from eventsolve.network import Key, Network
from eventsolve.shown import Summary, arrow, brief, listed, ms, several
from eventsolve.spiketrains import SpikeTrains

Reals = NDArray[np.float64]

SYNAPTIC = ("weight", "delay")
"""Gradients that are by projection."""
NEURONAL = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")
"""Gradients that are by population, one number per neuron."""


class Reference(NamedTuple):
    """A network that is elsewhere: the name of its file, and its SHA-256 in hexadecimal, "" if not known."""

    file: str
    sha256: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Frozen):
    """Voltages of one population, and currents if there are any, at the times at which the implementation holds them.

    Attributes
    ----------
    times : ndarray of float64, (n_times,)
        Seconds.
    voltage : ndarray of float64, (n_samples, n_neurons, n_times)
        In the unit of the weights.
    current : ndarray of float64, (n_samples, n_neurons, n_times), or None
    """

    times: Reals
    voltage: Reals
    current: Reals | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Record(Frozen):
    """What one implementation computed for one network, batch and loss; SI units throughout.

    Attributes
    ----------
    name : str
        Of the implementation and its settings.
    t_end : float
        Seconds.
    inputs, spikes : mapping of str to SpikeTrains
        By population. ``inputs`` are the network's; ``spikes`` what was computed, of some populations or all.
    network : Network, Reference or None
    loss : Loss or None
    loss_values : ndarray of float64 or None
        (n_samples,), or () where the batch is reduced.
    gradients : mapping of quantity to mapping of place to ndarray
        "weight" and "delay" by projection, (n_post, n_pre), or (n_synapses,) where the weight is sparse; neuron
        parameters by population, (n,); all with n_samples in front where the batch is not reduced. "spike_times" by
        population, in the order of the spikes.
    reduction : {"mean", "sum", "none"}
        Of loss values and gradients over the batch.
    time_step : float or None
        Seconds; None for an implementation in continuous time.
    traces : mapping of str to Trace
    notes : str
        Anything else, for readers.

    Raises
    ------
    RecordError
        If its parts do not fit each other.
    """

    name: str
    t_end: float
    inputs: Mapping[str, SpikeTrains] = field(default_factory=dict)
    spikes: Mapping[str, SpikeTrains] = field(default_factory=dict)
    network: Network | Reference | None = None
    loss: Loss | None = None
    loss_values: Reals | None = None
    gradients: Mapping[str, Mapping[Any, Reals]] = field(default_factory=dict)
    reduction: Literal["mean", "sum", "none"] = "mean"
    time_step: float | None = None
    traces: Mapping[str, Trace] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        for name in ("inputs", "spikes", "gradients", "traces"):
            object.__setattr__(self, name, FrozenMapping(dict(getattr(self, name))))
        if not (math.isfinite(self.t_end) and self.t_end > 0):
            raise RecordError(f"t_end must be finite and > 0; got {self.t_end!r}")
        if self.time_step is not None and not (math.isfinite(self.time_step) and self.time_step > 0):
            raise RecordError(f"time_step must be finite and > 0, or left out; got {self.time_step!r}")
        if self.reduction not in ("mean", "sum", "none"):
            raise RecordError(f"reduction must be one of mean, sum, none; got {self.reduction!r}")
        for name in self.gradients:
            if name not in (*SYNAPTIC, *NEURONAL, "spike_times"):
                raise RecordError(
                    f"gradients has {name!r}, which is none of {', '.join((*SYNAPTIC, *NEURONAL))}"
                )
        _check_batch(self)
        check_spikes_of_gradients(self)
        if isinstance(self.network, Network):
            check_fit(self, self.network)

    def _summary(self) -> Summary:
        clock = "continuous time" if self.time_step is None else f"steps of {ms(self.time_step)}"
        title = f"Record({self.name}: {several(self.n_samples, 'sample')}, {ms(self.t_end)} in {clock})"
        rows: list[tuple[str, object]] = [
            ("network", brief(self.network)),
            ("inputs", listed(self.inputs) or "none"),
            ("spikes", listed(f"{t.n_spikes} of {name}" for name, t in self.spikes.items()) or "none"),
            ("loss", "none" if self.loss is None else self.loss),
            *((f"dL/d({name})", listed(map(arrow, places))) for name, places in self.gradients.items()),
        ]
        if self.traces:
            rows.append(("traces", listed(self.traces)))
        return title, [*rows, *([("notes", self.notes)] if self.notes else [])]

    @property
    def n_samples(self) -> int:
        """Size of the batch; 1 if nothing says so."""
        return next((trains.n_samples for trains in (*self.inputs.values(), *self.spikes.values())), 1)


def _check_batch(record: Record) -> None:
    n = record.n_samples
    for what in ("inputs", "spikes"):
        for name, trains in getattr(record, what).items():
            if trains.n_samples != n:
                raise RecordError(f"{what} of {name!r} has {trains.n_samples} samples, where others have {n}")
    if record.loss_values is not None:
        shape = (n,) if record.reduction == "none" else ()
        if record.loss_values.shape != shape:
            raise RecordError(
                f"loss values must have shape {shape} with reduction {record.reduction!r}; "
                f"got {record.loss_values.shape}"
            )
    for name, trace in record.traces.items():
        held: tuple[int, ...] = trace.voltage.shape
        if trace.times.ndim != 1 or not np.isfinite(trace.times).all():
            raise RecordError(f"times of the trace of {name!r} must be a vector of finite numbers")
        if len(held) != 3 or held[0] != n or held[2] != trace.times.size:
            raise RecordError(
                f"voltage of {name!r} must have shape (n_samples, n_neurons, n_times) = "
                f"({n}, n, {trace.times.size}); got {held}"
            )
        if trace.current is not None and trace.current.shape != held:
            raise RecordError(
                f"current of {name!r} must have the voltage's shape, {held}; got {trace.current.shape}"
            )


def check_spikes_of_gradients(record: Record) -> None:
    """Raise a RecordError unless there is one dL/dt for each spike."""
    for name, values in record.gradients.get("spike_times", {}).items():
        trains = record.spikes.get(name, record.inputs.get(name))
        if trains is None:
            raise RecordError(f"dL/dt of {name!r} has no spikes beside it")
        if values.shape != (trains.n_spikes,):
            raise RecordError(f"dL/dt of {name!r} must have shape ({trains.n_spikes},); got {values.shape}")


def check_fit(record: Record, network: Network) -> None:
    """Raise a RecordError unless a record can be of that network."""
    populations, projections = network.populations, network.projections
    for what in ("inputs", "spikes", "traces"):
        for name in getattr(record, what):
            if name not in populations:
                raise RecordError(
                    f"{what} has {name!r}, which is not a population; there are {sorted(populations)}"
                )
    for what in ("inputs", "spikes"):
        for name, trains in getattr(record, what).items():
            if trains.n_neurons != populations[name].size:
                raise RecordError(
                    f"{what} of {name!r} must be of {populations[name].size} neurons; got {trains.n_neurons}"
                )
    for name in record.inputs:
        if populations[name].neuron is not None:
            raise RecordError(f"inputs has {name!r}, which is no input of the network")
    for name, trace in record.traces.items():
        if trace.voltage.shape[1] != populations[name].size:
            raise RecordError(
                f"voltage of {name!r} must be of {populations[name].size} neurons; got {trace.voltage.shape[1]}"
            )
    for quantity, places in record.gradients.items():
        known: Mapping[Any, Any] = projections if quantity in SYNAPTIC else populations
        for place, values in places.items():
            if place not in known:
                raise RecordError(f"gradient of {quantity} has {place!r}; there are {list(known)}")
            if quantity == "spike_times":
                continue
            shape = _shape(network, place)
            batch = (record.n_samples,) if record.reduction == "none" else ()
            if values.shape != batch + shape:
                raise RecordError(
                    f"gradient of {quantity} of {place!r} must have shape {batch + shape} with reduction "
                    f"{record.reduction!r}; got {values.shape}"
                )


def _shape(network: Network, place: str | Key) -> tuple[int, ...]:
    if isinstance(place, str):
        return (network.population(place).size,)
    projection = network.projections[place]
    dense = isinstance(projection.weight, np.ndarray)
    return tuple(projection.weight.shape) if dense else (projection.weights.size,)
