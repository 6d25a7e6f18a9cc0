"""What a loss gives: its values, and its derivative by what it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import first_entry, real_array, refuse_units, shown
from eventsolve.frozen import FrozenMapping
from eventsolve.kernels.tables import AT_START
from eventsolve.mean_voltages import Trial
from eventsolve.network import Network
from eventsolve.quadrature import Nodes
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Reals


class VoltageSamples(NamedTuple):
    """Where a loss samples readout voltages, sorted by sample, neuron and time, and dL/dV there.

    ``arrivals`` is the arrival (of the neuron's schedule) with which a reading moves; -1 for one that is fixed in time,
    after all that happens then; or AT_START for one at the start of the trial, before what arrives then.
    """

    samples: NDArray[np.int64]
    neurons: NDArray[np.int64]
    times: Reals
    arrivals: NDArray[np.int64]
    cotangents: Reals

    @property
    def at_start(self) -> NDArray[np.bool_]:
        """Which are of the start of the trial, before what arrives then."""
        there: NDArray[np.bool_] = np.asarray(self.arrivals) == AT_START
        return there

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Which move with an arrival."""
        fixed: NDArray[np.bool_] = (np.asarray(self.arrivals) == -1) | self.at_start
        return ~fixed


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A loss on one solution: values (n_samples,), and its derivative by what it reads, of each sample's own loss.

    ``means`` are those by ``solution.mean_voltages(population, rate)``, (n_samples, n_neurons), by population and rate.
    """

    values: Reals
    spike_times: Mapping[str, Reals] = field(default_factory=dict)
    voltages: Mapping[str, VoltageSamples] = field(default_factory=dict)
    means: Mapping[tuple[str, float], Reals] = field(default_factory=dict)
    silent_samples: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def populations(self) -> tuple[str, ...]:
        """Return the populations that the loss reads, whether or not it has a derivative there."""
        return tuple(dict.fromkeys([*self.spike_times, *self.voltages, *(name for name, _ in self.means)]))


def read_at_nodes(solution: Solution, evaluation: Evaluation) -> Evaluation:
    """Return an evaluation whose means are read as voltages at the nodes of the solution's quadrature."""
    voltages = dict(evaluation.voltages)
    for (name, rate), slopes in evaluation.means.items():
        nodes = solution.nodes(name)
        x = (nodes.times - solution.t_start) / (solution.t_end - solution.t_start)
        weights = nodes.weights * np.exp(-rate * x)
        voltage_samples = samples_at(nodes, slopes[:, :, None] * weights[:, None, :])
        voltages[name] = merged([voltages[name], voltage_samples]) if name in voltages else voltage_samples
    return replace(evaluation, voltages=voltages, means={})


def samples_at(nodes: Nodes, slopes: Reals) -> VoltageSamples:
    """Return the nodes as voltage samples, by sample, neuron and time, with dL/dV (n_samples, n_neurons, n_nodes)."""
    read = np.broadcast_to((nodes.weights != 0)[:, None, :], slopes.shape)
    samples, neurons, points = np.nonzero(read)
    return VoltageSamples(
        samples, neurons, nodes.times[samples, points], np.full(samples.size, -1), slopes[read]
    )


def merged(parts: Sequence[VoltageSamples]) -> VoltageSamples:
    """Return all voltage samples as one, in the order of a trajectory: at one time by their arrivals, then fixed ones.

    One just before an arrival, whose number it has, comes before one just after it, which has -2 less that number.
    """
    columns: list[NDArray[Any]] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    samples, neurons, times, arrivals, cotangents = columns
    just_after = (arrivals < -1) & (arrivals != AT_START)
    number = np.where(just_after, -2 - arrivals, arrivals)
    order = np.lexsort((just_after, number, arrivals == -1, times, neurons, samples))
    return VoltageSamples(samples[order], neurons[order], times[order], arrivals[order], cotangents[order])


class Loss(Protocol):
    """What ``value_and_grad`` differentiates."""

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by spike times and voltages."""


def require_loss(name: str, loss: object) -> None:
    """Raise a TypeError that says what is wrong unless something is a loss, by whomever."""
    if isinstance(loss, type) or not callable(getattr(loss, "evaluate", None)):
        hint = ": a function of spike times goes into SpikeTimeLoss(function)" if callable(loss) else ""
        hint = ", which is a class: one of its instances is needed" if isinstance(loss, type) else hint
        raise TypeError(
            f"{name} must be one of eventsolve.losses, or have evaluate(solution); got {shown(loss)}{hint}"
        )


def evaluation_of(loss: Loss, solution: Solution) -> Evaluation:
    """Return what a loss, which may be anybody's, gives for a solution, or raise an error that says what is wrong."""
    require_loss("loss", loss)
    evaluation: object = loss.evaluate(solution)
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"a loss must evaluate to an Evaluation; got {shown(evaluation)}")
    values = real_array("the loss's values", evaluation.values)
    if values.shape != (solution.n_samples,):
        raise ValueError(
            f"a loss must have one value for each of {solution.n_samples} samples; got shape {values.shape}"
        )
    return replace(evaluation, values=values)


class Average(Protocol):
    """A loss on the means of a population's voltages over a trial, with weights that go by the time in the trial."""

    @property
    def population(self) -> str:
        """Whose voltages."""

    def share(self, nodes: Nodes, trial: Trial) -> Reals:
        """Return the means over a solution with the weights of a trial of which it may be a piece."""

    def scored(self, means: Reals) -> tuple[Reals, Reals]:
        """Return each sample's loss and its derivative by the means over the trial."""

    def share_back(self, solution: Solution, nodes: Nodes, trial: Trial, slope: Reals) -> Evaluation:
        """Return the derivative of the share of a solution, times ``slope``, by what is read of it; without values."""


class Readings(NamedTuple):
    """What a loss reads of a whole trial: with that noted, it can be evaluated where no solution is kept whole.

    ``spikes`` are all those of some populations; ``voltages`` times in seconds by population; ``means`` those of
    ``solution.mean_voltages``; ``maxima`` the largest voltages of populations. A ``running`` loss reads none of it: it
    is the mean of what the pieces of a trial give, weighted by their lengths. A loss on an ``average`` reads nothing
    else: an average over a trial is the mean of its shares in the pieces, weighted alike.
    """

    spikes: tuple[str, ...] = ()
    voltages: Mapping[str, Reals] = FrozenMapping({})
    means: tuple[tuple[str, float], ...] = ()
    maxima: tuple[str, ...] = ()
    running: bool = False
    average: Average | None = None


@runtime_checkable
class ReadInPieces(Loss, Protocol):
    """A loss that says what it reads, so that ``value_and_grad_in_pieces`` can differentiate it."""

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network, from when to when in seconds."""


def label_vector(labels: ArrayLike) -> NDArray[np.int64]:
    """Return labels as a read-only vector of integers, or raise a ValueError that says what they are instead."""
    refuse_units("labels", labels, "a vector of integers")
    array = np.array(labels)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"labels must be a vector of integers; got shape {array.shape} of {array.dtype}")
    array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def check_callable(name: str, given: object) -> None:
    """Raise a TypeError unless what is given can be called."""
    if not callable(given):
        raise TypeError(f"{name} must be a function; got {shown(given)}")


def cross_entropy(scores: Reals, labels: NDArray[np.int64]) -> tuple[Reals, Reals]:
    """Return -ln softmax(scores)_label of every sample, and its derivative by the scores, (n_samples, n_classes).

    A score may be -inf, but not all of a sample.
    """
    rows = np.arange(labels.size)
    if not scores.size:
        return np.zeros(labels.size), np.zeros(scores.shape)
    first = scores.argmax(axis=1)
    top = scores[rows, first]
    share = np.exp(scores - top[:, None])  # of what the largest score has, which is 1
    behind = share.copy()
    behind[rows, first] = 0.0
    rest = behind.sum(axis=1)
    # a loss near 0, and a slope by the label near 0, are sums of what the others have, and no differences of 1
    values: Reals = (top - scores[rows, labels]) + np.log1p(rest)
    slope = share / (1.0 + rest)[:, None]
    slope[rows, labels] = 0.0
    slope[rows, labels] = -slope.sum(axis=1)
    return values, slope


def spikes_of(solution: Solution, population: str) -> SpikeTrains:
    """Return a population's spikes, or raise a ValueError: for an unknown name, or spikes that were not solved for."""
    solution.network.population(population)
    if solution.stopped is not None and solution.stopped.population != population:
        solution.require_whole(f"a loss on {population!r}")
    return solution.spikes[population]


def spiking_of(solution: Solution, population: str) -> SpikeTrains:
    """Return all spikes of a population that has a threshold, or raise a ValueError."""
    neuron = solution.network.population(population).neuron
    if neuron is None or not neuron.spiking:
        raise ValueError(
            f"the loss is of neurons that spike; {population!r} is {'an input' if neuron is None else 'LI'}"
        )
    solution.require_whole(f"a loss on all neurons of {population!r}")
    return solution.spikes[population]


def per_neuron(name: str, given: ArrayLike, *, positive: bool = False) -> float | Reals:
    """Return a number, or a read-only array of one for each neuron, or raise a ValueError."""
    values = real_array(name, given, "a number or an array of numbers")
    bad = ~np.isfinite(values) | (positive & (values < 0))
    if values.ndim > 1:
        raise ValueError(f"{name} must be a number or have shape (n_neurons,); got shape {values.shape}")
    if bad.any():
        raise ValueError(f"{name} must be finite{' and >= 0' * positive}; {first_entry(values, bad)}")
    values.setflags(write=False)
    return values if values.ndim else float(values)


def fitting(name: str, values: ArrayLike, n_neurons: int) -> Reals:
    """Return numbers for each of so many neurons, or raise a ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (n_neurons,)):
        raise ValueError(f"{name} must be a number or have shape ({n_neurons},); got {array.shape}")
    return np.broadcast_to(array, (n_neurons,))


def fitting_labels(labels: ArrayLike, n_samples: int, n_neurons: int) -> NDArray[np.int64]:
    """Return labels that fit so many samples and neurons, or raise a ValueError."""
    array = np.asarray(labels)
    if array.shape != (n_samples,):
        raise ValueError(
            f"labels must have one entry for each of {n_samples} samples; got shape {array.shape}"
        )
    bad = (array < 0) | (array >= n_neurons)
    if bad.any():
        k = int(np.argmax(bad))
        raise ValueError(f"labels must lie in 0..{n_neurons - 1}; entry {k} is {int(array[k])}")
    return array
