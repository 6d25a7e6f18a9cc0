r"""Losses on voltages over the whole trial or at fixed times, on LI readouts and on spiking populations.

A running loss is an integral over the trial [0, T], here of

- :class:`RunningLoss`               1/T int l(V(t), t) dt, for any l with its derivative
- :class:`InstantCrossEntropy`       l = -ln softmax(V)_label
- :class:`TrajectoryMSE`             l = 1/2 sum_j (V_j - target_j)^2
- :class:`MeanVoltageLoss`           any function of m = 1/T int weight(t) V(t) dt
- :class:`MeanVoltageCrossEntropy`   -ln softmax(m)_label
- :class:`SumVoltageCrossEntropy`    -ln softmax(m T/dt)_label

Also :class:`MaxVoltageLoss`, :class:`MaxVoltageCrossEntropy` and :class:`SilentHinge`, of largest voltages, and
:class:`SampledVoltage`, any function of voltages at fixed times (Nowotny et al. 2024 has most of these).

The means of a readout with weight 1 or exp(-t/T) are in closed form, arrival by arrival
(:mod:`eventsolve.mean_voltages`). Other integrals are sums over nodes, which the solution chooses
(:mod:`eventsolve.quadrature`: exact to rounding). Every node is a place at which the adjoint p_V jumps by its weight
times dl/dV, as in dp_V/dt = p_V/tau_mem - dl/dV. Moving an arrival moves no boundary term, since V is continuous there;
moving a spike moves the place where V jumps from the threshold to the reset: dL/dt_k has l(V-) - l(V+) besides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import real_array, seconds, seconds_array, shown
from eventsolve.frozen import Frozen
from eventsolve.losses.evaluation import (
    Evaluation,
    Readings,
    VoltageSamples,
    check_callable,
    cross_entropy,
    fitting,
    fitting_labels,
    label_vector,
    per_neuron,
    samples_at,
    spikes_of,
    spiking_of,
)
from eventsolve.mean_voltages import Trial
from eventsolve.network import Network
from eventsolve.quadrature import Nodes
from eventsolve.shown import called
from eventsolve.solution import Solution
from eventsolve.typing import Reals

Scoring = Callable[[Reals], tuple[ArrayLike, ArrayLike]]
Weighting = Literal["uniform", "exponential", "linear", "sigmoid"] | Callable[[Reals], ArrayLike]


class _Labelled(Protocol):
    @property
    def population(self) -> str: ...

    @property
    def labels(self) -> ArrayLike: ...


WEIGHTINGS: dict[str, Callable[[Reals], Reals]] = {
    "uniform": np.ones_like,
    "exponential": lambda x: np.exp(-x),
    "linear": lambda x: 1.0 - x,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp((x - 0.5) / 0.2)),
}
"""The weights of Nowotny et al. (2024), of t/T."""
CLOSED_FORMS = {"uniform": 0.0, "exponential": 1.0}
"""Those with which the mean voltage of a readout has a closed form, by the rate of exp(-rate t/T)."""


@dataclass(frozen=True, eq=False)
class RunningLoss:
    """The mean over the trial of a function of the voltages: 1/T int l(V(t), t) dt.

    Parameters
    ----------
    population : str
        A readout or a spiking population; without delta synapses, across which its voltage would jump.
    function : callable
        Takes voltages (n_neurons, n_points), times (n_points,) in seconds and the number of the sample; returns
        l (n_points,) and dl/dV (n_neurons, n_points). It has to be smooth in V and t.
    """

    population: str
    function: Callable[[Reals, Reals, int], tuple[ArrayLike, ArrayLike]]

    def __post_init__(self) -> None:
        check_callable("function", self.function)

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(running=True)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by voltages and by the times of spikes that reset them."""
        nodes = solution.nodes(self.population)
        values = np.zeros(solution.n_samples)
        slopes = np.zeros_like(nodes.voltages)
        for s in range(solution.n_samples):
            loss, slope = self._called(nodes.voltages[s], nodes.times[s], s)
            values[s] = loss @ nodes.weights[s]
            slopes[s] = slope * nodes.weights[s]

        def jump(before: Reals, after: Reals, time: float, sample: int) -> float:
            both, _ = self._called(np.stack([before, after], axis=1), np.array([time, time]), sample)
            return float(both[0] - both[1])

        span = solution.t_end - solution.t_start
        spikes = {self.population: _at_spikes(solution, self.population, jump) / span}
        return Evaluation(values, spikes, {self.population: samples_at(nodes, slopes)})

    def _called(self, voltages: Reals, times: Reals, sample: int) -> tuple[Reals, Reals]:
        loss, slope = _two_arrays(self.function(voltages, times, sample))
        if loss.shape != times.shape or slope.shape != voltages.shape:
            raise ValueError(
                f"the function must return l {times.shape} and dl/dV {voltages.shape}; "
                f"got {loss.shape} and {slope.shape}"
            )
        return loss, slope


@dataclass(frozen=True, eq=False)
class InstantCrossEntropy(Frozen):
    """Cross-entropy of the voltages at every instant, mean over the trial.

    "avg_xentropy" of Nowotny et al. (2024); in mlGeNN ``AvgVar`` or ``SumVar`` with ``per_timestep_loss``. Of both the
    gradient of this loss is tau_mem times theirs.

    Parameters
    ----------
    population : str
        As for :class:`RunningLoss`; one neuron per class.
    labels : array_like of int, (n_samples,)
    """

    population: str
    labels: ArrayLike

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_vector(self.labels))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(running=True)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by voltages and by the times of spikes that reset them."""
        labels = _labels(self, solution)

        def loss(voltages: Reals, times: Reals, sample: int) -> tuple[Reals, Reals]:
            values, slope = cross_entropy(voltages.T, np.full(times.size, labels[sample]))
            return values, slope.T

        return RunningLoss(self.population, loss).evaluate(solution)


@dataclass(frozen=True, eq=False)
class TrajectoryMSE(Frozen):
    """Half the squared distance of the voltages from a trajectory, summed over neurons, mean over the trial.

    In mlGeNN the readout ``Var`` with ``MeanSquareError``; the gradient of this loss is tau_mem times its.

    Parameters
    ----------
    population : str
        As for :class:`RunningLoss`.
    target : callable
        Takes times (n_points,) in seconds and the number of the sample; returns voltages (n_neurons, n_points). Smooth.
    """

    population: str
    target: Callable[[Reals, int], ArrayLike]

    __repr__ = called

    def __post_init__(self) -> None:
        check_callable("target", self.target)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(running=True)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by voltages and by the times of spikes that reset them."""

        def loss(voltages: Reals, times: Reals, sample: int) -> tuple[Reals, Reals]:
            target = real_array("the target's voltages", self.target(times, sample))
            if target.shape != voltages.shape:
                raise ValueError(f"the target must return voltages {voltages.shape}; got {target.shape}")
            error = voltages - target
            return 0.5 * (error**2).sum(axis=0), error

        return RunningLoss(self.population, loss).evaluate(solution)


@dataclass(frozen=True, eq=False)
class MeanVoltageLoss(Frozen):
    """Any function of the weighted mean voltages 1/T int weight(t) V(t) dt, for targets, margins or sums of them.

    Parameters
    ----------
    population : str
        As for :class:`RunningLoss`.
    function : callable
        Takes the means (n_samples, n_neurons); returns losses (n_samples,) and their derivative by each sample's means,
        (n_samples, n_neurons).
    weighting : {"uniform", "exponential", "linear", "sigmoid"} or callable
        1, exp(-x), 1 - x and 1/(1 + exp((x - 1/2)/0.2)) with x = t/T, or a smooth function of x in [0, 1].
    """

    population: str
    function: Scoring
    weighting: Weighting = field(default="uniform", kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        check_callable("function", self.function)
        _check_weighting(self.weighting)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        neuron = network.population(self.population).neuron
        if self._rate is None or neuron is None or neuron.spiking:
            return Readings(average=self)
        return Readings(means=((self.population, self._rate),))

    @property
    def _rate(self) -> float | None:
        return None if callable(self.weighting) else CLOSED_FORMS.get(self.weighting)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by voltages and by the times of spikes that reset them."""
        rate = self._rate
        closed = None if rate is None else solution.mean_voltages(self.population, rate)
        if rate is not None and closed is not None:
            values, slope = self.scored(closed)
            return Evaluation(values, means={(self.population, rate): slope})
        trial = solution.t_start, solution.t_end
        nodes = solution.nodes(self.population)
        values, slope = self.scored(self.share(nodes, trial))
        return replace(self.share_back(solution, nodes, trial, slope), values=values)

    def share(self, nodes: Nodes, trial: Trial) -> Reals:
        """Return the means over a solution with the weights of a trial of which it may be a piece."""
        weights = nodes.weights * self._weight(nodes.times, trial)
        means: Reals = np.einsum("snt,st->sn", nodes.voltages, weights)
        return means

    def scored(self, means: Reals) -> tuple[Reals, Reals]:
        """Return each sample's loss and its derivative by the means over the trial."""
        return _scored(self.function, means)

    def share_back(self, solution: Solution, nodes: Nodes, trial: Trial, slope: Reals) -> Evaluation:
        """Return the derivative of the share of a solution, times ``slope``, by what is read of it; without values."""
        weights = nodes.weights * self._weight(nodes.times, trial)

        def jump(before: Reals, after: Reals, time: float, sample: int) -> float:
            weight = self._weight(np.array([[time]]), trial).item()
            return float(slope[sample] @ (before - after) * weight)

        span = solution.t_end - solution.t_start
        spikes = {self.population: _at_spikes(solution, self.population, jump) / span}
        voltage_samples = samples_at(nodes, slope[:, :, None] * weights[:, None, :])
        return Evaluation(np.zeros(solution.n_samples), spikes, {self.population: voltage_samples})

    def _weight(self, times: Reals, trial: Trial) -> Reals:
        x = (times - trial[0]) / (trial[1] - trial[0])
        function = self.weighting if callable(self.weighting) else WEIGHTINGS[self.weighting]
        weight = real_array("what weighting returns", function(x))
        if weight.shape != x.shape:
            raise ValueError(
                f"weighting must return one weight for each of {x.shape} times; got {weight.shape}"
            )
        return weight


@dataclass(frozen=True, eq=False)
class MeanVoltageCrossEntropy(Frozen):
    """Cross-entropy of the weighted mean voltages 1/T int weight(t) V(t) dt (Nowotny et al. 2024).

    "sum" of the paper's code is weighting "uniform", and "sum_weigh_exp", which was the best on speech,
    "sum_weigh_linear" and "sum_weigh_sigmoid" are the others by name. In mlGeNN these are the readouts ``AvgVar``
    ("uniform") and ``AvgVarExpWeight`` ("exponential"). The gradient of this loss is tau_mem times that of either code,
    whose adjoint is driven by g/(tau_mem T) and not by g/T.

    Parameters
    ----------
    population : str
        As for :class:`RunningLoss`; one neuron per class.
    labels : array_like of int, (n_samples,)
    weighting : {"uniform", "exponential", "linear", "sigmoid"} or callable
        As for :class:`MeanVoltageLoss`.
    """

    population: str
    labels: ArrayLike
    weighting: Weighting = field(default="uniform", kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_vector(self.labels))
        _check_weighting(self.weighting)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return self._of_means.readings(network, trial)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by voltages and by the times of spikes that reset them."""
        _labels(self, solution)
        return self._of_means.evaluate(solution)

    @property
    def _of_means(self) -> MeanVoltageLoss:
        return MeanVoltageLoss(self.population, _cross_entropy_of(self.labels, 1.0), weighting=self.weighting)


@dataclass(frozen=True, eq=False)
class SumVoltageCrossEntropy(Frozen):
    """Cross-entropy of summed voltages 1/dt int V(t) dt: what a sum over steps of dt becomes in continuous time.

    The readout ``SumVar`` of mlGeNN; the gradient of this loss is tau_mem T/dt times its, as it goes back as ``AvgVar``
    does. Of T/dt steps the softmax saturates where that of a mean does not.

    Parameters
    ----------
    population : str
        As for :class:`RunningLoss`; one neuron per class.
    labels : array_like of int, (n_samples,)
    time_step : float
        dt in seconds, > 0.
    """

    population: str
    labels: ArrayLike
    time_step: float = field(kw_only=True)

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_vector(self.labels))
        step = seconds("time_step", self.time_step)
        if not (np.isfinite(step) and step > 0):
            raise ValueError(f"time_step must be finite and > 0; got {step!r}")
        object.__setattr__(self, "time_step", step)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return self._of_means(trial).readings(network, trial)

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by voltages and by the times of spikes that reset them."""
        _labels(self, solution)
        return self._of_means((solution.t_start, solution.t_end)).evaluate(solution)

    def _of_means(self, trial: Trial) -> MeanVoltageLoss:
        steps = (trial[1] - trial[0]) / self.time_step
        return MeanVoltageLoss(self.population, _cross_entropy_of(self.labels, steps))


@dataclass(frozen=True, eq=False)
class MaxVoltageLoss(Frozen):
    """Any function of the largest voltages of an LI readout, for margins between them or weighted sums of them.

    Right at kinks, too: where the voltage rises up to an arrival and falls after it, the maximum moves along
    the incoming branch with the arrival, so that dV_max/dt_arrival is V' just before it.

    Parameters
    ----------
    population : str
        An LI readout.
    function : callable
        Takes the largest voltages (n_samples, n_neurons); returns losses (n_samples,) and their derivative by each
        sample's own, (n_samples, n_neurons).
    """

    population: str
    function: Scoring

    __repr__ = called

    def __post_init__(self) -> None:
        check_callable("function", self.function)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(maxima=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the voltages at their maxima."""
        maxima = solution.maxima(self.population)
        values, slope = _scored(self.function, maxima.value)
        n_samples, n = maxima.value.shape
        voltage_samples = VoltageSamples(
            np.repeat(np.arange(n_samples), n),
            np.tile(np.arange(n), n_samples),
            maxima.time.ravel(),
            maxima.arrival.ravel(),
            slope.ravel(),
        )
        return Evaluation(values, voltages={self.population: voltage_samples})


@dataclass(frozen=True, eq=False)
class MaxVoltageCrossEntropy(Frozen):
    """Cross-entropy of the largest voltages of an LI readout (Wunderlich & Pehle 2021, MNIST).

    "max" of Nowotny et al. (2024) and the readout ``MaxVar`` of mlGeNN, which takes 0 where no voltage is larger. The
    gradient of this loss is T times that of the former, T/(1 - exp(-dt/tau_mem)) times that of the latter, but for
    kinks, at which neither is right: see :class:`MaxVoltageLoss`.

    Parameters
    ----------
    population : str
        An LI readout; one neuron per class.
    labels : array_like of int, (n_samples,)
    """

    population: str
    labels: ArrayLike

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", label_vector(self.labels))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(maxima=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the voltages at their maxima."""
        labels = _labels(self, solution)

        def loss(largest: Reals) -> tuple[Reals, Reals]:
            return cross_entropy(largest, labels)

        return MaxVoltageLoss(self.population, loss).evaluate(solution)


@dataclass(frozen=True, eq=False)
class SilentHinge(Frozen):
    """Half the squared distance below a level of the largest voltages of neurons that did not spike.

    1/2 sum_j max(0, level_j - max_t V_j(t))^2 over the neurons j that are silent in a sample. Its gradient wakes them,
    where losses on spikes have none, and is exact; where V is nowhere above where it starts, as with weights of 0 or
    inhibition alone, that is the maximum, which no weight moves. With the level at the threshold it goes to 0 as a
    neuron starts to spike, so that it is continuous there; above it, such a neuron leaves the sum with a jump. The
    level is a constant: a gradient for v_threshold does not move it. Published codes wake neurons by raising all of
    their weights (Goeltz et al. 2021) or by kicking voltages (Nowotny et al. 2024), which is the gradient of nothing.
    Within a cycle a peak that moves with an arrival is refused.

    Parameters
    ----------
    population : str
        A spiking population.
    level : float or array_like, (n_neurons,)
        In the unit of voltages; usually the threshold.
    """

    population: str
    level: ArrayLike

    __repr__ = called

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", per_neuron("level", self.level))
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(spikes=(self.population,), maxima=(self.population,))

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the voltages of silent neurons at their maxima."""
        trains = spiking_of(solution, self.population)
        level = fitting("level", self.level, trains.n_neurons)
        samples, neurons, value, time, arrival = solution.silent_maxima(self.population)
        missing = np.maximum(level[neurons] - value, 0.0)
        values: Reals = 0.5 * np.bincount(samples, missing**2, solution.n_samples).astype(np.float64)
        some = missing > 0
        voltage_samples = VoltageSamples(
            samples[some], neurons[some], time[some], arrival[some], -missing[some]
        )
        return Evaluation(values, voltages={self.population: voltage_samples})


@dataclass(frozen=True, eq=False)
class SampledVoltage(Frozen):
    """Any function of voltages at fixed times, with its derivative; at an event's own time the voltage after it.

    Parameters
    ----------
    population : str
        A readout or a spiking population.
    times : array_like, (n_times,)
        Seconds, strictly increasing.
    function : callable
        Takes voltages (n_samples, n_neurons, n_times); returns losses (n_samples,) and dL/dV like the voltages.
    """

    population: str
    times: ArrayLike
    function: Callable[[Reals], tuple[ArrayLike, ArrayLike]]

    __repr__ = called

    def __post_init__(self) -> None:
        check_callable("function", self.function)
        times = seconds_array("times", self.times).ravel()
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all() and (times >= 0).all()):
            raise ValueError(f"times must be finite, >= 0 and strictly increasing; got {times}")
        object.__setattr__(self, "times", times)
        super().__post_init__()

    def readings(self, network: Network, trial: Trial) -> Readings:
        """Return what is read of a trial of this network."""
        return Readings(voltages={self.population: np.asarray(self.times)})

    def evaluate(self, solution: Solution) -> Evaluation:
        """Return each sample's loss and its derivative by the voltages."""
        times = np.asarray(self.times)
        voltages = solution.voltage(self.population, times)
        values, slopes = _two_arrays(self.function(voltages))
        if values.shape != voltages.shape[:1] or slopes.shape != voltages.shape:
            raise ValueError(
                f"the function must return losses {voltages.shape[:1]} and dL/dV {voltages.shape}; "
                f"got {values.shape} and {slopes.shape}"
            )
        everywhere = np.broadcast_to(times, (solution.n_samples, times.size))
        voltage_samples = samples_at(Nodes(everywhere, np.ones_like(everywhere), voltages), slopes)
        return Evaluation(values, voltages={self.population: voltage_samples})


def _check_weighting(weighting: object) -> None:
    if not callable(weighting) and not (isinstance(weighting, str) and weighting in WEIGHTINGS):
        raise ValueError(f"weighting must be one of {tuple(WEIGHTINGS)} or callable; got {shown(weighting)}")


def _labels(loss: _Labelled, solution: Solution) -> NDArray[np.int64]:
    """Return the labels of a loss if they fit the population that it reads, or raise a ValueError."""
    trains = spikes_of(solution, loss.population)
    return fitting_labels(loss.labels, trains.n_samples, trains.n_neurons)


def _cross_entropy_of(labels: ArrayLike, factor: float) -> Scoring:
    """Return the cross-entropy of means times a factor as a function of the means."""

    def loss(means: Reals) -> tuple[Reals, Reals]:
        values, slope = cross_entropy(means * factor, fitting_labels(labels, *means.shape))
        return values, slope * factor

    return loss


def _scored(function: Scoring, scores: Reals) -> tuple[Reals, Reals]:
    """Return what a function makes of the scores of every sample, and its derivative, checked."""
    values, slope = _two_arrays(function(scores))
    if values.shape != scores.shape[:1] or slope.shape != scores.shape:
        raise ValueError(
            f"the function must return losses {scores.shape[:1]} and their derivative {scores.shape}; "
            f"got {values.shape} and {slope.shape}"
        )
    return values, slope


def _two_arrays(returned: tuple[ArrayLike, ArrayLike]) -> tuple[Reals, Reals]:
    losses, slopes = returned
    return real_array("the function's losses", losses), real_array("the function's derivative", slopes)


def _at_spikes(
    solution: Solution, population: str, jump: Callable[[Reals, Reals, float, int], float]
) -> Reals:
    """Return jump(V before, V after, time, sample) for every spike of a population, in the order of its trains."""
    trains = solution.spikes[population]
    parameters = solution.network.population(population)
    threshold, reset = parameters.parameter("v_threshold"), parameters.parameter("v_reset")
    gaps = np.zeros(trains.n_spikes)
    for s in range(solution.n_samples):
        here = np.flatnonzero(trains.samples == s)
        if not here.size:
            continue
        times = trains.times[here]
        everywhere = np.broadcast_to(np.float64(solution.t_end), (solution.n_samples, here.size)).copy()
        everywhere[s] = times
        voltages = solution.states_at(population, everywhere)[0][s]
        for q, k in enumerate(here):
            after = voltages[:, q].copy()
            after[trains.neurons[k]] = reset[trains.neurons[k]]
            before = after.copy()
            before[trains.neurons[k]] = threshold[trains.neurons[k]]
            gaps[k] = jump(before, after, float(times[q]), s)
    return gaps
