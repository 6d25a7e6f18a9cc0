"""The record of an implementation, or of the exact solution: in SI units, everything but its name optional."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from eventsolve.checks import printable, require_mapping, shown
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.io.records.fields import RecordError
from eventsolve.io.records.scheme import UNSAID, Scheme
from eventsolve.losses import Loss
from eventsolve.losses.evaluation import require_loss
from eventsolve.network import Network, Population, Projection, parameters_of
from eventsolve.problem import Problem
from eventsolve.reductions import USUAL, Reduction
from eventsolve.shown import Summary, brief, listed, ms, several
from eventsolve.spiketrains import SpikeTrains
from eventsolve.synapses import by_synapse
from eventsolve.typing import Key, Reals

SYNAPTIC = ("weight", "delay")
"""Gradients that are by projection."""
NEURONAL = ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref", "v_initial", "i_initial")
"""Gradients that are by population, one number per neuron."""
STATES = ("current", "adjoint_voltage", "adjoint_current", "slope")
"""What a trace may have beside the voltage, of the same shape."""
PASSES = ("forward", "backward", "updated")
"""When weights were as a record says."""
QUANTITIES = (*SYNAPTIC, *NEURONAL, "spike_times")
"""What gradients there are: the attributes of :class:`eventsolve.Gradients`."""


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
        In the unit of the weights; in a step that spikes the one that crossed, before the reset, unless the record's
        scheme says otherwise.
    current : ndarray of float64, (n_samples, n_neurons, n_times), or None
        In the unit of the weights.
    adjoint_voltage, adjoint_current : ndarray of float64, as voltage, or None
        lambda_V and lambda_I of the way back, as the implementation scales them.
    slope : ndarray of float64, as voltage, or None
        V', 1/s, by which the way back divides at spikes.
    currents : mapping of (pre, post) to ndarray of float64, as voltage
        The part of the current that each projection brought.
    """

    times: Reals
    voltage: Reals
    current: Reals | None = None
    adjoint_voltage: Reals | None = None
    adjoint_current: Reals | None = None
    slope: Reals | None = None
    currents: Mapping[Key, Reals] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Record(Frozen):
    """What one implementation computed for one network, batch and loss; SI units throughout.

    Attributes
    ----------
    name : str
        Of the implementation and its settings, for tables and titles.
    t_end : float or None
        Seconds; None where nothing says when it ended.
    inputs : mapping of str to SpikeTrains
        The network's inputs, as they were given.
    spikes : mapping of str to SpikeTrains
        What was computed, of some populations or all; also inputs, where the implementation moved them, such as to its
        grid.
    network : Network, Reference or None
    loss : Loss or None
    loss_values : ndarray of float64 or None
        (n_samples,), or () where the batch is reduced.
    gradients : mapping of quantity to mapping of place to ndarray
        "weight" and "delay" by projection, (n_post, n_pre), or (n_synapses,) where the weight is sparse; neuron
        parameters by population, (n,); all with n_samples in front where the batch is not reduced. "spike_times" by
        population, dL/dt_k in the order of :attr:`trains`. Sparse matrices, or a list of one for each sample, become
        such arrays.
    reduction : {"mean", "sum", "none"}
        Of loss values and gradients over the batch.
    time_step : float or None
        Seconds; None for an implementation in continuous time.
    traces : mapping of str to Trace
    notes : tuple of str
        Anything else, for readers, in a sentence each: such as what the implementation changed of the problem.
    counters : mapping of str to int
        Events worth knowing about, by name, such as saturations, dropped packets, or spikes left out because another of
        the neuron was in the same step.
    scheme : Scheme
        How it computes, as far as it says so.
    own_reset : bool
        Whether dL/dt_k of a neuron's spike has the term of its own reset, as the exact one; some implementations give
        what later layers and the loss send back alone.
    weights : mapping of {"forward", "backward", "updated"} to mapping of (pre, post) to ndarray of float64
        The weights that each pass saw, and those after the update that followed, (n_post, n_pre), or (n_synapses,) of a
        sparse projection.
    trials : int
        How often each sample was run, of an implementation that is noisy: sample k of trial j is sample
        j * (n_samples // trials) + k of everything above.
    arrivals : mapping of str to SpikeTrains
        When the spikes of a population came out of delays that belong to its neurons, where that was measured.

    Raises
    ------
    RecordError
        If its parts do not fit each other.
    """

    name: str
    t_end: float | None = None
    inputs: Mapping[str, SpikeTrains] = field(default_factory=dict)
    spikes: Mapping[str, SpikeTrains] = field(default_factory=dict)
    network: Network | Reference | None = None
    loss: Loss | None = None
    loss_values: Reals | None = None
    gradients: Mapping[str, Mapping[Any, Reals]] = field(default_factory=dict)
    reduction: Reduction = USUAL
    time_step: float | None = None
    traces: Mapping[str, Trace] = field(default_factory=dict)
    notes: Sequence[str] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    scheme: Scheme = UNSAID
    own_reset: bool = True
    weights: Mapping[str, Mapping[Key, Reals]] = field(default_factory=dict)
    trials: int = 1
    arrivals: Mapping[str, SpikeTrains] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem, name: str, **results: Any) -> Record:
        """Return the record of a problem: of its network, inputs, end and loss, with each sample's own gradients."""
        return cls(
            name,
            problem.t_end,
            problem.inputs,
            network=problem.network,
            loss=problem.loss,
            reduction="none",
            **results,
        )

    def __post_init__(self) -> None:
        try:
            if self.network is not None and not isinstance(self.network, (Network, Reference)):
                raise TypeError(f"network must be a Network, a Reference or None; got {shown(self.network)}")
            if self.loss is not None:
                require_loss("loss", self.loss)
            vars(self).update(
                gradients=self._arrays(),
                notes=(self.notes,) if isinstance(self.notes, str) else self.notes,
            )
            super().__post_init__()
        except (TypeError, ValueError) as error:
            raise RecordError(str(error)) from error
        for name in ("t_end", "time_step"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise RecordError(f"{name} must be finite and > 0, or left out; got {value!r}")
        for name in self.weights:
            if name not in PASSES:
                raise RecordError(f"weights has {name!r}, which is none of {', '.join(PASSES)}")
        for name in self.gradients:
            if name not in QUANTITIES:
                raise RecordError(f"gradients has {name!r}, which is none of {', '.join(QUANTITIES)}")
        _check_batch(self)
        check_spikes_of_gradients(self)
        if isinstance(self.network, Network):
            check_fit(self, self.network)

    def _arrays(self) -> dict[str, dict[Any, Reals]]:
        """Return the gradients as arrays: those of a sparse projection by synapse."""
        require_mapping("gradients", self.gradients, "quantity to gradients by their place")
        layouts = self.network.projections if isinstance(self.network, Network) else {}
        arrays: dict[str, dict[Any, Reals]] = {}
        for quantity, places in self.gradients.items():
            require_mapping(f"gradients[{quantity!r}]", places, "place to array")
            arrays[quantity] = {
                place: _array(quantity, place, values, self.reduction == "none", layouts.get(place))
                for place, values in places.items()
            }
        return arrays

    def _summary(self) -> Summary:
        clock = "continuous time" if self.time_step is None else f"steps of {ms(self.time_step)}"
        span = "" if self.t_end is None else f", {ms(self.t_end)}"
        title = f"Record({self.name}: {several(self.n_samples, 'sample')}{span} in {clock})"
        rows: list[tuple[str, object]] = [
            ("network", brief(self.network)),
            ("inputs", listed(self.inputs) or "none"),
            ("spikes", listed(f"{t.n_spikes} of {name}" for name, t in self.spikes.items()) or "none"),
            ("loss", "none" if self.loss is None else brief(self.loss)),
            ("gradients", listed(name for name, places in self.gradients.items() if places) or "none"),
        ]
        if self.traces:
            rows.append(("traces", listed(self.traces)))
        if self.counters:
            rows.append(("counters", listed(f"{n} {name}" for name, n in self.counters.items())))
        if self.notes:
            rows.append(("notes", " ".join(self.notes)))
        return title, rows

    def problem(self, network: Network | None = None) -> Problem:
        """Return what the record is of; a network that it only refers to has to be given.

        Raises
        ------
        RecordError
            If there is no network, spikes of an input are missing, or nothing says when the run ended.
        """
        network = self.network if network is None and isinstance(self.network, Network) else network
        if network is None:
            where = f"in {self.network.file!r}" if isinstance(self.network, Reference) else "nowhere"
            raise RecordError(f"the network of the record {printable(self.name)} is {where}; give it")
        inputs = [p.name for p in network.populations.values() if p.neuron is None]
        missing = [name for name in inputs if name not in self.inputs]
        if missing:
            raise RecordError(f"the record {printable(self.name)} has no spikes of the inputs {missing}")
        if self.t_end is None:
            raise RecordError(f"the record {printable(self.name)} does not say when the run ended, t_end")
        return Problem(network, self.inputs, self.t_end, self.loss)

    @property
    def n_samples(self) -> int:
        """Size of the batch; 1 if nothing says so."""
        return next(self._sizes(), 1)

    def _sizes(self) -> Iterator[int]:
        """Yield the size of the batch as every part of the record says it."""
        for given in (self.inputs, self.spikes, self.arrivals):
            yield from (trains.n_samples for trains in given.values())
        yield from (trace.voltage.shape[0] for trace in self.traces.values() if trace.voltage.ndim)
        if self.reduction == "none":
            yield from () if self.loss_values is None else self.loss_values.shape[:1]
            for quantity in (*SYNAPTIC, *NEURONAL):
                for values in self.gradients.get(quantity, {}).values():
                    yield from values.shape[:1]

    @property
    def trains(self) -> Mapping[str, SpikeTrains]:
        """All spikes by population: the computed ones, and inputs where the implementation gives none of its own."""
        return FrozenMapping({**self.inputs, **self.spikes})

    @property
    def weight(self) -> Mapping[Key, Reals]:
        """dL/dw by projection."""
        return self.gradients.get("weight", {})

    @property
    def delay(self) -> Mapping[Key, Reals]:
        """dL/d(delay) by projection, in 1/s."""
        return self.gradients.get("delay", {})

    @property
    def spike_times(self) -> Mapping[str, Reals]:
        """dL/dt_k by population, in 1/s."""
        return self.gradients.get("spike_times", {})


def _array(quantity: str, place: Any, values: Any, per_sample: bool, projection: Projection | None) -> Reals:
    """Return a gradient as an array: of a sparse projection by synapse."""
    layout = None if projection is None else projection.weight
    if type(values) is np.ndarray and not sp.issparse(layout):
        return values
    name = f"gradient of {quantity} of {place!r}"
    if sp.issparse(layout):
        return by_synapse(name, values, [layout] if per_sample else layout)
    first = values[0] if isinstance(values, list | tuple) and len(values) else values
    if sp.issparse(first) and layout is None:
        raise RecordError(f"{name} is sparse; which synapses it is of only the network says")
    return by_synapse(name, values, layout)


def _check_batch(record: Record) -> None:
    n = record.n_samples
    if record.trials < 1 or n % record.trials:
        raise RecordError(
            f"trials must be an integer >= 1 that divides {n} samples; got {shown(record.trials)}"
        )
    for what in ("inputs", "spikes", "arrivals"):
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
        others = {what: getattr(trace, what) for what in STATES} | {
            f"current over {key!r}": values for key, values in trace.currents.items()
        }
        for what, values in others.items():
            if values is not None and values.shape != held:
                raise RecordError(
                    f"{what} of {name!r} must have the voltage's shape, {held}; got {values.shape}"
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
    batch = (record.n_samples,) if record.reduction == "none" else ()
    for what in ("inputs", "spikes", "traces", "arrivals"):
        for name in getattr(record, what):
            if name not in populations:
                raise RecordError(
                    f"{what} has {name!r}, which is not a population; there are {sorted(populations)}"
                )
    for what in ("inputs", "spikes", "arrivals"):
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
        for key in trace.currents:
            if key not in projections or key[1] != name:
                raise RecordError(f"currents of {name!r} has {key!r}, which is no projection to it")
    for when, matrices in record.weights.items():
        for key, values in matrices.items():
            if key not in projections:
                raise RecordError(f"weights, {when}, has {key!r}; there are {list(projections)}")
            if values.shape != _shape(network, key):
                raise RecordError(
                    f"weights, {when}, of {key!r} must have shape {_shape(network, key)}; got {values.shape}"
                )
    for quantity, places in record.gradients.items():
        if quantity == "spike_times":  # which are held against spikes
            continue
        known: Mapping[Any, Any] = projections if quantity in SYNAPTIC else populations
        for place, values in places.items():
            if place not in known:
                raise RecordError(f"gradient of {quantity} has {place!r}; there are {list(known)}")
            if quantity in NEURONAL:
                _check_parameter(quantity, populations[place])
            shape = _shape(network, place)
            if values.shape != batch + shape:
                raise RecordError(
                    f"gradient of {quantity} of {place!r} must have shape {batch + shape} with reduction "
                    f"{record.reduction!r}; got {values.shape}"
                )


def _check_parameter(quantity: str, population: Population) -> None:
    neuron = population.neuron
    if neuron is None or quantity not in parameters_of(neuron):
        of = "an input" if neuron is None else type(neuron).__name__
        raise RecordError(
            f"gradient of {quantity} has {population.name!r}, which is {of} and has no {quantity}"
        )


def _shape(network: Network, place: str | Key) -> tuple[int, ...]:
    if isinstance(place, str):
        return (network.population(place).size,)
    projection = network.projections[place]
    dense = isinstance(projection.weight, np.ndarray)
    return tuple(projection.weight.shape) if dense else (projection.weights.size,)
