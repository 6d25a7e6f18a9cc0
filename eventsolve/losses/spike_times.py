"""Losses on spike times; what a silent output costs is in the docstring of :mod:`eventsolve.losses`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import first_entry, non_negative, real_array, require_one_of, seconds, seconds_array
from eventsolve.frozen import Frozen
from eventsolve.losses.evaluation import (
    Evaluation,
    Readings,
    check_callable,
    cross_entropy,
    fitting,
    fitting_labels,
    label_vector,
    per_neuron,
    spikes_of,
    spiking_of,
)
from eventsolve.magnitudes import warn_of_loss
from eventsolve.mean_voltages import Trial
from eventsolve.network import LARGEST, Network
from eventsolve.shown import called
from eventsolve.solution import Solution
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Reals

Silent = Literal["raise", "skip", "t_end"]


@dataclass(frozen=True, eq=False)
class TTFSCrossEntropy(Frozen):
    """Cross-entropy of time to first spike, with a term for early spikes (Wunderlich & Pehle 2021, eq. 8).

    The policy for silence concerns the label's output; other outputs that are silent have t = inf and drop
    out of the sum, except with "t_end".

    Parameters
    ----------
    population : str
        The output; one neuron per class.
    labels : array_like of int, (n_samples,)
    tau0, tau1 : float
        Seconds, > 0.
    alpha : float
        Weight of the early-spike term, >= 0.
    silent : {"raise", "skip", "t_end"}
        See the module docstring.
    """

    population: str
    labels: ArrayLike
    tau0: float = field(kw_only=True)
    tau1: float = field(kw_only=True)
    alpha: float = field(kw_only=True)
    silent: Silent = field(default="raise", kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        for name in ("tau0", "tau1"):
            object.__setattr__(self, name, _time_constant(name, getattr(self, name)))
        object.__setattr__(self, "alpha", non_negative("alpha", self.alpha))
        _check_silent(self.silent)
        object.__setattr__(self, "labels", label_vector(self.labels))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the first spike times."""

        def early(times: Reals) -> tuple[Reals, Reals]:
            with np.errstate(over="ignore"):
                slope = self.alpha / self.tau1 * np.exp(times / self.tau1)
                return self.alpha * np.expm1(times / self.tau1), slope

        return _cross_entropy_of_first(self, solution, early, ("tau0", "tau1"))


@dataclass(frozen=True, eq=False)
class FirstSpikeCrossEntropy(Frozen):
    """Cross-entropy of time to first spike, with a term for early spikes that grows towards the end of the trial.

    t_l/tau0 + ln sum_k exp(-t_k/tau0) + alpha/(1.01 t_end - t_l): "first_spike" of Nowotny et al. (2024), and in mlGeNN
    the readout ``FirstSpikeTime`` with ``SparseCategoricalCrossentropy``. Both count in ms: tau0 is 1e-3 of their
    temperature, alpha 1e-3 of ``ttfs_alpha``, and gradients for weights are then the same. mlGeNN takes its softmax at
    1 ms whatever temperature it is told, so that at another one its gradient is that of no loss; and where the label is
    silent both kick its voltage at the end of the trial ("phantom spike"), which no loss does.

    Parameters
    ----------
    population : str
        The output; one neuron per class.
    labels : array_like of int, (n_samples,)
    tau0 : float
        Seconds, > 0.
    alpha : float
        Seconds, >= 0.
    silent : {"raise", "skip", "t_end"}
        As for :class:`TTFSCrossEntropy`.
    """

    population: str
    labels: ArrayLike
    tau0: float = field(kw_only=True)
    alpha: float = field(kw_only=True)
    silent: Silent = field(default="raise", kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau0", _time_constant("tau0", self.tau0))
        object.__setattr__(self, "alpha", non_negative("alpha", seconds("alpha", self.alpha)))
        _check_silent(self.silent)
        object.__setattr__(self, "labels", label_vector(self.labels))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the first spike times."""
        if not solution.t_end > 0:
            raise ValueError(f"the term for early spikes needs t_end > 0; got {solution.t_end!r}")

        def early(times: Reals) -> tuple[Reals, Reals]:
            left = 1.01 * solution.t_end - times
            return self.alpha / left, self.alpha / left**2

        return _cross_entropy_of_first(self, solution, early, ("tau0",))


@dataclass(frozen=True, eq=False)
class TargetTimeMSE(Frozen):
    """Half the squared distance of the first spikes from target times, summed over the outputs (Goeltz et al. 2021).

    Parameters
    ----------
    population : str
    targets : array_like, (n_samples, n_neurons)
        Seconds.
    silent : {"raise", "skip", "t_end"}
        Concerns every output.
    """

    population: str
    targets: ArrayLike
    silent: Silent = field(default="raise", kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        _check_silent(self.silent)
        targets = seconds_array("targets", self.targets)
        if not np.isfinite(targets).all():
            raise ValueError(f"targets must be finite; {first_entry(targets, ~np.isfinite(targets))}")
        targets.setflags(write=False)
        object.__setattr__(self, "targets", targets)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the first spike times."""
        trains = spikes_of(solution, self.population)
        targets = np.asarray(self.targets)
        if targets.shape != (trains.n_samples, trains.n_neurons):
            raise ValueError(
                f"targets must have shape (n_samples, n_neurons) = {(trains.n_samples, trains.n_neurons)}; "
                f"got {targets.shape}"
            )
        warn_of_loss("the earliest target", float(targets.min(initial=np.inf)), solution.t_end)
        times, silent_samples, skipped = _all_first(self, trains, solution.t_end)
        error = times - targets
        error[skipped] = 0.0
        return Evaluation(
            0.5 * (error**2).sum(axis=1),
            {self.population: _on_first(trains, error)},
            silent_samples=silent_samples,
        )


@dataclass(frozen=True, eq=False)
class RelativeMSE(Frozen):
    """Half the squared error of every other output's delay after the label's, which should be ``gap``.

    Goeltz et al. 2021 ("mse_si"); relative mean square error of mlGeNN, without its treatment of silent outputs.

    Parameters
    ----------
    population : str
    labels : array_like of int, (n_samples,)
    gap : float
        Seconds.
    silent : {"raise", "skip", "t_end"}
        Concerns every output.
    """

    population: str
    labels: ArrayLike
    gap: float = field(kw_only=True)
    silent: Silent = field(default="raise", kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        _check_silent(self.silent)
        gap = seconds("gap", self.gap)
        if not np.isfinite(gap):
            raise ValueError(f"gap must be finite; got {gap!r}")
        object.__setattr__(self, "gap", gap)
        object.__setattr__(self, "labels", label_vector(self.labels))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the first spike times."""
        trains = spikes_of(solution, self.population)
        warn_of_loss("gap", self.gap, solution.t_end)
        labels = fitting_labels(self.labels, trains.n_samples, trains.n_neurons)
        times, silent_samples, skipped = _all_first(self, trains, solution.t_end)
        rows = np.arange(trains.n_samples)
        error = times - times[rows, labels][:, None] - self.gap
        error[rows, labels] = 0.0
        error[skipped] = 0.0
        gradient = error.copy()
        gradient[rows, labels] = -error.sum(axis=1)
        return Evaluation(
            0.5 * (error**2).sum(axis=1),
            {self.population: _on_first(trains, gradient)},
            silent_samples=silent_samples,
        )


@dataclass(frozen=True, eq=False)
class SpikeCountLoss(Frozen):
    """Half the squared distance of every neuron's spike count from a target, with a count that is continuous.

    1/2 (S - target)^2 with S = sum_k (1 - t_k/T), T the length of the trial: a spike that leaves through the end of the
    trial, or comes in there, has counted for nothing, so that loss and derivative exist where the number of spikes
    changes in this way. A spike counts for more the earlier it is, and S is at most the number of spikes.

    Summed over the neurons. The regulariser of Nowotny et al. (2024) and of mlGeNN (``reg_nu_upper``,
    ``reg_lambda_upper``, ``reg_lambda_lower``) has such a target and two strengths, but adds to lambda_V at every spike
    what depends on the count alone, which is the gradient of no loss.

    Parameters
    ----------
    population : str
        A spiking population.
    target : float or array_like, (n_neurons,)
        >= 0.
    upper, lower : float
        The strength, >= 0, by which the term is multiplied where S is above or below the target.
    """

    population: str
    target: ArrayLike
    upper: float = field(default=1.0, kw_only=True)
    lower: float = field(default=1.0, kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", per_neuron("target", self.target, positive=True))
        for name in ("upper", "lower"):
            object.__setattr__(self, name, non_negative(name, getattr(self, name)))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by all spike times."""
        trains = spiking_of(solution, self.population)
        span = solution.t_end - solution.t_start
        if not span > 0:
            raise ValueError(
                f"a count over the trial needs t_end > {solution.t_start!r}; got {solution.t_end!r}"
            )
        target = fitting("target", self.target, trains.n_neurons)
        place = trains.samples * trains.n_neurons + trains.neurons
        share = (solution.t_end - trains.times) / span
        counts = np.bincount(place, share, trains.n_samples * trains.n_neurons)
        excess = counts.reshape(trains.n_samples, trains.n_neurons) - target
        slope = excess * np.where(excess > 0, self.upper, self.lower)
        values = 0.5 * (slope * excess).sum(axis=1)
        return Evaluation(values, {self.population: -slope.reshape(-1)[place] / span})


@dataclass(frozen=True, eq=False)
class SpikeTimeLoss:
    """Any function of spike times, with its derivative.

    Parameters
    ----------
    function : callable
        Takes ``solution.spikes`` (a mapping of population to SpikeTrains) and returns each sample's loss, (n_samples,),
        and a mapping of population to dL/dt of each of its spikes, in the order of ``.times``.
    """

    function: Callable[[Mapping[str, SpikeTrains]], tuple[ArrayLike, Mapping[str, ArrayLike]]]

    def __post_init__(self) -> None:
        check_callable("function", self.function)

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=tuple(network.populations))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return what the function gives, checked."""
        values, derivative = self.function(solution.spikes)
        array = real_array("the function's losses", values)
        if array.shape != (solution.n_samples,):
            raise ValueError(
                f"the function must return one loss for each of {solution.n_samples} samples; got shape {array.shape}"
            )
        slopes = {
            name: real_array(f"the function's derivative by {name!r}", v) for name, v in derivative.items()
        }
        return Evaluation(array, slopes)


def _cross_entropy_of_first(
    loss: TTFSCrossEntropy | FirstSpikeCrossEntropy,
    solution: Solution,
    early: Callable[[Reals], tuple[Reals, Reals]],
    constants: tuple[str, ...],
) -> Evaluation:
    """Return the cross-entropy of first spikes with a term ``early`` of the label's, which gives its slope as well."""
    trains = spikes_of(solution, loss.population)
    for name in constants:
        warn_of_loss(name, getattr(loss, name), solution.t_end)
    labels = fitting_labels(loss.labels, trains.n_samples, trains.n_neurons)
    first = trains.first()
    rows = np.arange(trains.n_samples)
    needed = first if loss.silent == "t_end" else first[rows, labels][:, None]
    missing = np.isinf(needed).any(axis=1)
    silent_samples = _apply_policy(loss.silent, missing, f"the label's output in {loss.population!r}")
    times = np.where(np.isfinite(first), first, solution.t_end) if loss.silent == "t_end" else first.copy()
    skipped = silent_samples if loss.silent == "skip" else silent_samples[:0]
    times[skipped] = 0.0
    penalty, slope = early(times[rows, labels])
    values, gradient = cross_entropy(-times / loss.tau0, labels)
    values += penalty
    gradient /= -loss.tau0
    gradient[rows, labels] += slope
    values[skipped] = 0.0
    gradient[skipped] = 0.0
    return Evaluation(values, {loss.population: _on_first(trains, gradient)}, silent_samples=silent_samples)


def _time_constant(name: str, given: object) -> float:
    value = seconds(name, given)
    if not 1.0 / LARGEST <= value <= LARGEST:
        raise ValueError(f"{name} must be from 2**-200 to 2**200 s; got {value!r}")
    return value


def _check_silent(silent: object) -> None:
    require_one_of("silent", silent, ("raise", "skip", "t_end"))


class SilentOutputError(ValueError):
    """An output that a loss needs is silent, and ``silent`` is "raise": the loss is not defined."""


def _apply_policy(silent: Silent, missing: ArrayLike, what: str) -> NDArray[np.int64]:
    """Return the samples to which it was applied, or raise if the policy says so."""
    samples = np.flatnonzero(missing)
    if samples.size and silent == "raise":
        listed = ", ".join(str(s) for s in samples[:10]) + (", ..." if samples.size > 10 else "")
        raise SilentOutputError(
            f"{what} is silent in {samples.size} of {np.size(missing)} samples ({listed}), "
            "where the loss is not defined; choose silent='skip' or silent='t_end' to go on without them"
        )
    return samples


def _all_first(
    loss: TargetTimeMSE | RelativeMSE, trains: SpikeTrains, t_end: float
) -> tuple[Reals, NDArray[np.int64], NDArray[np.int64]]:
    """Return first spike times under the loss's policy, the samples to which it applies, and those to be skipped."""
    first = trains.first()
    silent_samples = _apply_policy(
        loss.silent, np.isinf(first).any(axis=1), f"an output of {loss.population!r}"
    )
    return (
        np.where(np.isfinite(first), first, t_end),
        silent_samples,
        silent_samples if loss.silent == "skip" else silent_samples[:0],
    )


def _on_first(trains: SpikeTrains, gradient: Reals) -> Reals:
    """Place dL/d(first spike time), (n_samples, n_neurons), on the spikes; silent neurons have none."""
    index = trains.first_index()
    flat = np.zeros(trains.n_spikes)
    flat[index[index >= 0]] = gradient[index >= 0]
    return flat
