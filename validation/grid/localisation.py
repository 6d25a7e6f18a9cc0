"""Where an implementation on a clock departs from a time-stepped network first, and what its numbers look like.

Forward, states and spikes are compared step by step: up to the first step in which one is off everything before it was
right, so that what that step does is wrong. Backward, the loss, then dL/dt and dL/dw from the outputs inwards. What is
wrong is looked for among other time-stepped networks: another scheme, other numbers, other weights. One that gives all
that was recorded up to the place that is off, and more of what follows than the expected one, is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np

import eventsolve as es
from eventsolve.compare.comparison import label_of
from eventsolve.compare.records import depths
from eventsolve.io.records import Record
from eventsolve.io.records.scheme import Traced
from eventsolve.network import Network
from eventsolve.typing import Booleans, Reals
from validation.fixedpoint import Overflow, Rounding
from validation.grid.number import FLOATS
from validation.grid.scheme import Propagators
from validation.grid.steps import InputRounding
from validation.target import apart

if TYPE_CHECKING:
    from validation.grid.time_stepped import TimeStepped


class Reading(NamedTuple):
    """Of which states traces are: as spikes were looked for, "seen", or as a step left them, "left"."""

    voltage: Traced = "seen"
    current: Traced = "seen"

    def __str__(self) -> str:
        words = {"voltage": "V after resets", "current": "I after arrivals"}
        left = [words[name] for name, traced in self._asdict().items() if traced == "left"]
        return f" (traces are read as {' and '.join(left)})" if left else ""


@dataclass(frozen=True)
class Departure:
    """The first thing that is off.

    Attributes
    ----------
    quantity : str
        "spikes", "current", "voltage", "loss", "dL/dt" or "dL/dw".
    of : str
        Population or projection; empty of a loss.
    sample, neuron : int
        Of a projection the target neuron.
    step : int or None
        None of a gradient.
    expected, got : float
        There; of spikes 1 or 0.
    looks_like : tuple of str
        What would explain it, best first.
    reading : Reading
        Of which states the traces were taken to be.
    """

    quantity: str
    of: str
    sample: int
    neuron: int
    step: int | None
    expected: float
    got: float
    looks_like: tuple[str, ...]
    reading: Reading

    def __str__(self) -> str:
        place = f"sample {self.sample}, neuron {self.neuron}"
        if self.step is not None:
            place += f", step {self.step}"
        text = f"{self.quantity}{f' of {self.of}' if self.of else ''}, first off at {place}: "
        text += f"{apart(self.expected, self.got)}{self.reading}"
        return "\n  ".join([text, *(f"looks like: {words}" for words in self.looks_like)])


class _Seen(NamedTuple):
    """One quantity, (n_samples, n_neurons, n_steps + 1)."""

    quantity: str
    of: str
    values: Reals


@dataclass(frozen=True)
class _Comparison:
    """A record held against a target: the arguments of :func:`localised`, with traces read in one way."""

    target: TimeStepped
    problem: es.Problem
    record: Record
    previous: Network | None
    rtol: float
    reading: Reading

    @property
    def order(self) -> list[str]:
        """Populations, inputs first, by their distance from the inputs."""
        network = self.problem.network
        depth = depths(network.populations, network.projections)
        return sorted(network.populations, key=lambda name: depth[name])

    def run(self, target: TimeStepped, problem: es.Problem) -> Record:
        """Run a problem, traced as the record is."""
        made = replace(target, traced=self.reading.voltage).run(problem)
        if not target.traces or self.reading.current == self.reading.voltage:
            return made
        other = replace(target, traced=self.reading.current).run(replace(problem, loss=None))
        traces = {name: replace(t, current=other.traces[name].current) for name, t in made.traces.items()}
        return replace(made, traces=traces)

    def seen(self, record: Record) -> list[_Seen]:
        """Return states and spikes in the order of the computation, as many as the record under test has."""
        found, having = [], self.record
        for name in self.order:
            if name in having.traces:
                for quantity in ("current", "voltage"):
                    held = getattr(having.traces[name], quantity)
                    if held is not None and not np.isnan(held).all():
                        found.append(_Seen(quantity, name, getattr(record.traces[name], quantity)))
            if name in having.spikes:
                found.append(_Seen("spikes", name, _raster(record, having, name, self.target)))
        return found

    def first(self, made: Record) -> tuple[int, tuple[int, int, int]] | None:
        """Return which quantity is off first beside what was made, by step and then in order, and where."""
        return _first(self.seen(made), self.seen(self.record), self.rtol)


def localised(
    target: TimeStepped,
    problem: es.Problem,
    record: Record,
    *,
    previous: Network | None = None,
    rtol: float = 0.0,
) -> Departure | None:
    """Return where a record departs from a target first; None if nowhere.

    Parameters
    ----------
    target : TimeStepped
    problem : Problem
    record : Record
        With whatever it has of spikes, traces at every step, losses and gradients of samples or of the batch's mean.
    previous : Network, optional
        With the weights of the batch before, which an implementation may have kept.
    rtol : float
        By how much numbers may be off, relative to the largest of their kind.

    Raises
    ------
    ValueError
        If the record has neither spikes nor traces of any population, its time step is another one, a trace has
        another shape, or the target cannot represent the problem.
    """
    if record.time_step is not None and abs(record.time_step - target.time_step) > 1e-9 * target.time_step:
        raise ValueError(
            f"the record has a time step of {record.time_step!r} s, the target one of {target.time_step!r} s"
        )
    shown = replace(target, traces=bool(record.traces))
    departures = []
    for reading in _readings(record):
        comparison = _Comparison(shown, problem, record, previous, rtol, reading)
        expected = comparison.run(shown, problem)
        _check_shapes(comparison, expected)
        first = comparison.first(expected)
        if first is None:
            return _backward(comparison, expected)
        k, place = first
        fit, looks_like = _explained(comparison, (place[2], k))
        want, got = comparison.seen(expected)[k], comparison.seen(record)[k]
        values = float(want.values[place]), float(got.values[place])
        found = Departure(want.quantity, want.of, *place, *values, looks_like, reading)
        departures.append(((fit, place[2], k), found))
    return max(departures, key=lambda entry: entry[0])[1]


def _readings(record: Record) -> list[Reading]:
    """Return how the traces of a record may be read: as its scheme says, or else in either way, the usual one first."""
    both: tuple[Traced, ...] = ("seen", "left")

    def either(said: Traced | None, traced: bool) -> tuple[Traced, ...]:
        return (said,) if said is not None else both if traced else both[:1]

    currents = any(trace.current is not None for trace in record.traces.values())
    voltages = either(record.scheme.traced_voltage, bool(record.traces))
    return [Reading(v, i) for v in voltages for i in either(record.scheme.traced_current, currents)]


def _check_shapes(comparison: _Comparison, expected: Record) -> None:
    want, got = comparison.seen(expected), comparison.seen(comparison.record)
    if not got:
        raise ValueError(
            f"spikes or traces are needed to localise a fault; {comparison.record.name!r} has none"
        )
    for one, other in zip(want, got, strict=True):
        if one.values.shape != other.values.shape:
            raise ValueError(
                f"{one.quantity} of {one.of!r} must have shape {one.values.shape}; got {other.values.shape}"
            )


# -- forward


def _raster(record: Record, having: Record, name: str, target: TimeStepped) -> Reals:
    """Return who spikes when, up to the last step of either."""
    steps = [np.rint(r.trains[name].times / target.time_step).astype(np.int64) for r in (record, having)]
    trains = record.trains[name]
    last = max(int(s.max(initial=0)) for s in steps)
    times = [trace.times for trace in having.traces.values()]
    last = max([last, *(round(float(t[-1]) / target.time_step) for t in times if t.size)])
    found = np.zeros((trains.n_samples, trains.n_neurons, last + 1))
    np.add.at(found, (trains.samples, trains.neurons, steps[0]), 1.0)
    return found


def _off(want: Reals, got: Reals, rtol: float) -> Booleans:
    """Say which numbers are off; NaN is."""
    return np.asarray(~(np.abs(got - want) <= rtol * np.abs(want).max(initial=0.0)))


def _first(want: list[_Seen], got: list[_Seen], rtol: float) -> tuple[int, tuple[int, int, int]] | None:
    """Return which quantity is off first, by step and then in order of the computation, and where."""
    found = []
    for k, (one, other) in enumerate(zip(want, got, strict=True)):
        steps = min(one.values.shape[2], other.values.shape[2])
        off = _off(one.values[..., :steps], other.values[..., :steps], rtol)
        if off.any():
            step = int(np.flatnonzero(off.any(axis=(0, 1)))[0])
            sample, neuron = (int(i) for i in np.argwhere(off[:, :, step])[0])
            found.append(((step, k), (sample, neuron, step)))
    if not found:
        return None
    (_, k), where = min(found)
    return k, where


def _explained(comparison: _Comparison, place: tuple[int, int]) -> tuple[tuple[float, int], tuple[str, ...]]:
    """Return the others that agree with a record longer than what is expected, and of all longest, after how long."""
    fits = []
    for words, other, variant in _others(comparison):
        try:
            first = comparison.first(comparison.run(other, variant))
        except ValueError:
            continue  # it cannot be run at all, so it is not what was done
        if first is None:
            fits.append(((np.inf, 0), words))
        elif (first[1][2], first[0]) > place:
            fits.append(((float(first[1][2]), first[0]), words))
    best = max((fit for fit, _ in fits), default=(float(place[0]), place[1]))
    return best, tuple(words for fit, words in fits if fit == best)


def _others(comparison: _Comparison) -> Iterator[tuple[str, TimeStepped, es.Problem]]:
    """Yield what may be done otherwise: one option of the scheme, or other weights."""
    for words, options in _options(comparison.target):
        yield words, replace(comparison.target, **options), comparison.problem
    for words, network in _networks(comparison.problem.network, comparison.previous):
        yield words, comparison.target, replace(comparison.problem, network=network)


def _options(target: TimeStepped) -> Iterator[tuple[str, Mapping[str, Any]]]:
    choices: dict[str, tuple[Any, ...]] = {
        "propagators": get_args(Propagators),
        "input_rounding": get_args(InputRounding),
        "transport": (target.transport + 1, target.transport - 1),
        "slope": ("grid", "threshold"),
        "order": ("voltage_first", "current_first"),
        "adjoint": ("transpose", "recursion"),
        "inclusive": (True, False),
        "number": tuple(FLOATS),
    }
    if not target.number.startswith("float"):
        choices |= {
            "rounding": tuple(name for name in get_args(Rounding) if name != "stochastic"),
            "overflow": get_args(Overflow),
        }
    for name, values in choices.items():
        for value in values:
            options: dict[str, Any] = {name: value}
            if value == "voltage_first":
                options["adjoint"] = "transpose"
            if options.get("transport", target.transport) < 0:
                continue
            if options.get("adjoint") == "recursion" and target.order != "current_first":
                continue
            if value != getattr(target, name):
                yield f"{name} {value!r} in place of {getattr(target, name)!r}", options


def _networks(network: Network, previous: Network | None) -> Iterator[tuple[str, Network]]:
    if previous is not None:
        stale = {key: previous.projections[key].weight for key in network.projections}
        yield "stale weights: those of the batch before", network.with_weights(stale)
    for key, projection in network.projections.items():
        label = label_of(key)
        yield f"the wrong sign of the weights of {label}", network.with_weights({key: -projection.weight})
        rows, columns = projection.weight.shape
        if rows == columns and rows > 1:
            yield f"transposed weights of {label}", network.with_weights({key: projection.weight.T})
        if np.any(projection.delay > 0):
            nothing = projection.shaped(np.zeros_like(projection.delay))
            yield f"no delays of {label}", network.with_delays({key: nothing})
    resets = {
        name: replace(p.neuron, reset="value" if p.neuron.reset == "subtract" else "subtract")
        for name, p in network.populations.items()
        if isinstance(p.neuron, es.LIF)
    }
    for name, neuron in resets.items():
        word = "by subtraction" if neuron.reset == "subtract" else "to a value"
        yield f"a reset {word} of {name!r}", network.with_neurons({name: neuron})


# -- backward


def _backward(comparison: _Comparison, expected: Record) -> Departure | None:
    """Return the first number of the way back that is off, from the outputs inwards."""
    if expected.loss_values is None:
        return None
    for quantity, of, want, got in _gradients(expected, comparison.record, comparison.order):
        off = _off(want, got, comparison.rtol)
        if not off.any():
            continue
        worst = int(np.argmax(np.where(off, np.nan_to_num(np.abs(got - want), nan=np.inf), -1.0)))
        where = np.unravel_index(worst, want.shape)
        sample, neuron, step = int(where[0]), int(where[1]) if want.ndim > 1 else 0, None
        if quantity == "dL/dt":
            trains = expected.trains[of]
            sample, neuron = int(trains.samples[worst]), int(trains.neurons[worst])
            step = round(float(trains.times[worst]) / comparison.target.time_step)
        looks = _explained_backward(comparison, expected, (quantity, of))
        values = float(want[where]), float(got[where])
        return Departure(quantity, of, sample, neuron, step, *values, looks, comparison.reading)
    return None


def _gradients(expected: Record, record: Record, order: list[str]) -> Iterator[tuple[str, str, Reals, Reals]]:
    """Yield what both have of the way back; of the batch's mean where a record has no other."""
    if record.loss_values is not None and expected.loss_values is not None:
        yield "loss", "", *_alike(expected.loss_values, record.loss_values, record)
    for name in reversed(order):
        for key, weight in expected.weight.items():
            if key[1] == name and key in record.weight:
                yield "dL/dw", label_of(key), *_alike(weight, record.weight[key], record)
        if name in record.spike_times and name in expected.spike_times:
            by = 1.0 / max(record.n_samples, 1) if record.reduction == "mean" else 1.0
            yield "dL/dt", name, by * expected.spike_times[name], record.spike_times[name]


def _alike(want: Reals, got: Reals, record: Record) -> tuple[Reals, Reals]:
    """Return what is expected of each sample, and what was recorded, both reduced as the record is."""
    if record.reduction == "none":
        return want, got
    reduced = want.mean(axis=0) if record.reduction == "mean" else want.sum(axis=0)
    return np.asarray(reduced)[None], np.asarray(got)[None]


def _explained_backward(comparison: _Comparison, expected: Record, place: tuple[str, str]) -> tuple[str, ...]:
    """Return the others that do the same forward and make of the way back what was recorded, at that place at least."""
    found = []
    for words, other, variant in _others(comparison):
        try:
            made = comparison.run(other, variant)
        except ValueError:
            continue  # it cannot be run at all, so it is not what was done
        same = {
            (quantity, of): not _off(want, got, comparison.rtol).any() if want.shape == got.shape else False
            for quantity, of, want, got in _gradients(made, comparison.record, comparison.order)
        }
        if same.get(place) and comparison.first(made) is None:
            found.append((sum(same.values()), words))
    for factor, words in (
        (-1.0, "the wrong sign"),
        (comparison.target.time_step, "a factor of the time step"),
    ):
        for quantity, of, want, got in _gradients(expected, comparison.record, comparison.order):
            if (quantity, of) == place and not _off(factor * want, got, max(comparison.rtol, 1e-12)).any():
                found.append((0, words))
    return tuple(words for _, words in sorted(found, key=lambda fit: -fit[0]))
