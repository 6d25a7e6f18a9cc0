"""Which program of an implementation of the chip departs from its model first, in which layer and quantity.

Forward, states are compared step by step: up to the first step in which one is off, everything before it was right, so
that the program which computed it is wrong. Backward, what a layer received shows in dL/dt of a neuron's last spike
that has one, behind which its own adjoint is 0; what its adjoint makes of that, in the gradients of what arrives at
it; what it sends, in dL/dt of the spikes that it answers. What the wrong numbers look like is up to :mod:`faults`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.compare.comparison import label_of
from eventsolve.io.records import Record
from eventsolve.typing import Booleans, Key, Reals
from validation.spinnaker2 import SpiNNaker2Core, faults
from validation.spinnaker2.faults import Reference, raster
from validation.target import apart


@dataclass(frozen=True)
class Finding:
    """The first thing that is wrong.

    Attributes
    ----------
    program : str
        "input", "layer", "loss" or "optimizer".
    layer : str
        Population of the program; empty for the optimizer.
    quantity : str
        "input spikes", "current", "voltage", "spikes", "loss", "loss errors", "adjoint", "error packets" or "gradient".
    sample, neuron, step : int or None
        Where it is off first, as far as that is known; the neuron is one of ``of``.
    of : str
        Population or projection in which it shows.
    expected, got : float
        There; of a spike, 1 or 0.
    looks_like : tuple of str
        What would explain it, best first.
    """

    program: str
    layer: str
    quantity: str
    of: str
    sample: int | None
    neuron: int | None
    step: int | None
    expected: float
    got: float
    looks_like: tuple[str, ...]

    def __str__(self) -> str:
        who = f"{self.program} program" + (f" of {self.layer!r}" if self.layer else "")
        places = [
            f"{word} {value}"
            for word, value in (("sample", self.sample), ("neuron", self.neuron), ("step", self.step))
            if value is not None
        ]
        where = f" ({', '.join(places)})" if places else ""
        text = f"{who}: {self.quantity}, first seen in {self.of}{where}: "
        text += apart(self.expected, self.got)
        return "\n  ".join([text, *(f"looks like: {words}" for words in self.looks_like)])


class _Place(NamedTuple):
    sample: int | None
    neuron: int | None
    step: int | None
    expected: float
    got: float


def localised(
    core: SpiNNaker2Core,
    problem: es.Problem,
    got: Record,
    *,
    previous: es.Network | None = None,
    rtol: float = 0.0,
) -> Finding | None:
    """Return where an implementation departs from the model of the chip first, None if nowhere.

    Parameters
    ----------
    core : SpiNNaker2Core
        The model.
    problem : Problem
        What both run.
    got : Record
        Of the implementation, with traces of every layer.
    previous : Network, optional
        With the weights of the batch before, which a program may have kept.
    rtol : float
        By how much numbers may be off, relative to the largest of their kind; 0 for one that is to agree bit for bit.

    Raises
    ------
    ValueError
        If the core cannot represent the network, the inputs or the loss, the record has no spikes or traces of a layer,
        or they have another shape than the model's or are of other states, or nothing is off forward and it lacks
        gradients of samples.
    """
    if "left" in (got.scheme.traced_voltage, got.scheme.traced_current):
        raise ValueError(
            "traces must hold V and I as spikes were looked for; the record's scheme says 'left'"
        )
    reference = Reference.of(core, problem, previous)
    for name, trace in reference.expected.traces.items():
        for what, there in (("traces", got.traces), ("spikes", got.trains)):
            if name not in there:
                raise ValueError(f"{what} of {name!r} are needed to localise a fault; {got.name!r} has none")
        if got.traces[name].voltage.shape != trace.voltage.shape:
            raise ValueError(
                f"traces of {name!r} must have shape {trace.voltage.shape}; got {got.traces[name].voltage.shape}"
            )
    found = _forward(reference, got, rtol)
    if found is not None:
        return found
    for key, weight in reference.expected.weight.items():
        if got.reduction != "none" or key not in got.weight or got.weight[key].shape != weight.shape:
            raise ValueError(
                f"nothing is off forward; dL/dw of {label_of(key)}, sample by sample, is needed to look at the way "
                f"back, and {got.name!r} does not have it"
            )
    for name in reference.image.sizes:
        if name not in got.spike_times:
            raise ValueError(
                f"nothing is off forward; dL/dt of {name!r} is needed to look at the way back, and {got.name!r} "
                "does not have it"
            )
    return _backward(reference, got, rtol)


# -- forward


def _forward(reference: Reference, got: Record, rtol: float) -> Finding | None:
    found: list[tuple[tuple[int, int, int], str, str, tuple[int, int, int], tuple[float, float]]] = []
    for rank, name in enumerate([*reference.image.inputs, *reference.image.order]):
        sides: list[tuple[str, Reals, Reals]] = []
        if name in reference.image.layers:
            want, have = reference.expected.traces[name], got.traces[name]
            sides = [
                ("current", faults.current_of(reference.expected, name), faults.current_of(got, name)),
                ("voltage", want.voltage, have.voltage),
            ]
        want_spikes, have_spikes = (
            raster(r, name, reference.n_steps, reference.dt) for r in (reference.expected, got)
        )
        sides.append(("spikes", want_spikes.astype(np.float64), have_spikes.astype(np.float64)))
        for kind, (quantity, a, b) in enumerate(sides):
            off = _off(a, b, rtol)
            if off.any():
                step = int(np.flatnonzero(off.any(axis=(0, 1)))[0])
                sample, neuron = (int(i) for i in np.argwhere(off[:, :, step])[0])
                where = sample, neuron, step
                values = float(a[where]), float(b[where])
                found.append(((step, rank, kind), name, quantity, where, values))
    if not found:
        return None
    _, name, quantity, where, values = min(found, key=lambda entry: entry[0])
    place = _Place(*where, *values)
    if name in reference.image.inputs:
        return Finding("input", name, "input spikes", name, *place, faults.input_faults(reference, got, name))
    words = faults.state_faults(reference, got, name, quantity, where)
    return Finding("layer", name, quantity, name, *place, words)


# -- backward


def _backward(reference: Reference, got: Record, rtol: float) -> Finding | None:
    expected = reference.expected
    if expected.loss_values is not None and got.loss_values is not None:
        off = _off(expected.loss_values, got.loss_values, rtol)
        if off.any():
            k = int(np.argmax(off))
            place = _Place(k, None, None, float(expected.loss_values[k]), float(got.loss_values[k]))
            return Finding("loss", reference.output, "loss", reference.output, *place, ())
    wrong = {key: _off(w, got.weight[key], rtol) for key, w in expected.weight.items()}
    sent = {name: _received(reference, got, name, rtol) for name in reference.image.sizes}
    if sent[reference.output].any() and not reference.consumers(reference.output):
        place = _spike_place(reference, got, reference.output, sent[reference.output])
        words = faults.error_faults(reference, got, reference.output, sent[reference.output])
        return Finding("loss", reference.output, "loss errors", reference.output, *place, words)
    if all(off.any() for off in wrong.values()) and not any(off.any() for off in sent.values()):
        common = faults.common_factor(reference, got, list(wrong))
        if common:
            key = next(iter(wrong))
            return Finding(
                "optimizer", "", "gradient", label_of(key), *_synapse_place(reference, got, key), common
            )
    for name in reversed(reference.image.order):
        keys = [key for key in wrong if key[1] == name]
        into = [key for key in keys if wrong[key].any()]
        answered = [key[0] for key in keys if _answered(reference, got, key[0], rtol, bool(into)).any()]
        if into:
            key = into[0]
            place = _synapse_place(reference, got, key)
            if answered or not any(reference.expected.spike_times[key[0]].any() for key in keys):
                words = faults.adjoint_faults(reference, got, name)
                return Finding("layer", name, "adjoint", label_of(key), *place, words)
            words = faults.gradient_faults(reference, got, key)
            return Finding("layer", name, "gradient", label_of(key), *place, words)
        if answered:
            source = answered[0]
            place = _spike_place(reference, got, source, sent[source])
            words = faults.error_faults(reference, got, source, sent[source])
            return Finding("layer", name, "error packets", source, *place, words)
    return None


def _off(expected: Reals, got: Reals, rtol: float) -> Booleans:
    """Say which numbers are off; NaN is."""
    return np.asarray(~(np.abs(got - expected) <= rtol * np.abs(expected).max(initial=0.0)))


def _spikes_off(reference: Reference, got: Record, name: str, rtol: float) -> Booleans:
    """Say of which spikes of a population dL/dt is off, (n_spikes,); spikes are the same in both."""
    return _off(reference.expected.spike_times[name], got.spike_times[name], rtol)


def _received(reference: Reference, got: Record, name: str, rtol: float) -> Booleans:
    """Say which spikes got a wrong error: of last spikes of a neuron, and of all spikes of an input."""
    off = _spikes_off(reference, got, name, rtol)
    return off if name in reference.image.inputs else off & reference.is_last(name)


def _answered(reference: Reference, got: Record, name: str, rtol: float, any_spike: bool) -> Booleans:
    """Say which spikes got a wrong error; of ``any_spike`` if what they received before is known to be wrong."""
    return _spikes_off(reference, got, name, rtol) if any_spike else _received(reference, got, name, rtol)


def _spike_place(reference: Reference, got: Record, name: str, off: Booleans) -> _Place:
    k = int(np.argmax(off))
    trains = reference.expected.spikes[name]
    values = reference.expected.spike_times[name][k], got.spike_times[name][k]
    step = round(float(trains.times[k]) / reference.dt)
    return _Place(int(trains.samples[k]), int(trains.neurons[k]), step, float(values[0]), float(values[1]))


def _synapse_place(reference: Reference, got: Record, key: Key) -> _Place:
    error = np.abs(got.weight[key] - reference.expected.weight[key])
    worst = np.unravel_index(int(np.argmax(np.where(np.isfinite(error), error, np.inf))), error.shape)
    values = reference.expected.weight[key][worst], got.weight[key][worst]
    return _Place(int(worst[0]), int(worst[1]), None, float(values[0]), float(values[1]))
