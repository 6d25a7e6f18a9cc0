"""mlGeNN's readouts and losses: which loss of :mod:`eventsolve.losses` each one is, and what it adds to the adjoint.

Everything is computed in the floats of the run and in GeNN's order of operations. With N steps in a trial T, V_n the
voltage after step n, p the softmax of the scores m and g_j = (1 if j is the label) - p_j:

    AvgVar            m = sum of V_n / N                    D = g/(tau_mem B T)
    AvgVarExpWeight   m = sum of exp(-t_n/T) V_n / N        D = g exp(-(1 - t_m/T))/(tau_mem B T), m the backward step
    SumVar            m = sum of V_n                        D = g/(tau_mem B T)
    MaxVar            m = first largest V_n, or 0           D = g/(tau_mem B T) in its step
    Var               (target_n - V_n)^2                    D = (target_n - V_n)/(tau_mem B T)
    FirstSpikeTime    m = -t of the first spike             a jump at that spike
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

import eventsolve as es
from eventsolve.losses.evaluation import fitting_labels
from eventsolve.losses.voltages import WEIGHTINGS
from eventsolve.network import Network, Population
from eventsolve.typing import Integers, Reals
from validation.genn.causes import Causes
from validation.genn.clock import Clock, Floats, milliseconds
from validation.genn.kernels.tables import Fired
from validation.genn.tables import Variant
from validation.grid.first_spikes import refuse_silent
from validation.grid.kernels.tables import Events

Name = Literal[
    "AvgVar", "AvgVarExpWeight", "SumVar", "MaxVar", "Var", "FirstSpikeTime", "RelativeMSE",
    "sum", "max", "avg_xentropy", "first_spike",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reading:
    """A loss as mlGeNN's compiler is told of it; ms.

    Attributes
    ----------
    name : str
        Of the readout, and "RelativeMSE" for first spike times with the relative mean square error.
    population : str
    labels : ndarray of int64, (n_samples,)
        Empty for "Var".
    silent : {"raise", "skip", "t_end"}
        What the loss wants of silent outputs, where it reads spikes.
    temperature, alpha, gap : float
        ``softmax_temperature``, ``ttfs_alpha`` and ``delta``.
    target : callable or None
        As of :class:`eventsolve.losses.TrajectoryMSE`.
    weighting : callable or None
        genn_eventprop's, of t/T.
    tau1 : float or None
        Of genn_eventprop's exponential term for early spikes.
    accumulated : bool
        Whether genn_eventprop weighs by input activity, and not by ``weighting``.
    """

    name: Name
    population: str
    labels: Integers
    silent: str = "raise"
    temperature: float = 1.0
    alpha: float = 0.0
    gap: float = 0.0
    target: Callable[[Reals, int], Any] | None = None
    weighting: Callable[[Any], Any] | None = None
    tau1: float | None = None
    accumulated: bool = False

    @property
    def of_spikes(self) -> bool:
        """Whether first spikes are read, and no voltages."""
        return self.name in ("FirstSpikeTime", "RelativeMSE", "first_spike")

    @property
    def paper(self) -> bool:
        """Whether it is one of genn_eventprop's."""
        return self.name in ("sum", "max", "avg_xentropy", "first_spike")

    @property
    def divided(self) -> bool:
        """Whether GeNN divides by the size of its batch."""
        return self.name != "RelativeMSE"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a readout says of a batch.

    Attributes
    ----------
    values : ndarray of float64, (n_samples,)
        Each sample's loss.
    scores, softmax : ndarray, (n_samples, n_outputs)
        m and p; of "Var" and "RelativeMSE" no softmax: (n_samples, 0).
    drive, kick_step, kick, at_spike
        As of :class:`validation.genn.kernels.tables.Push`.
    """

    values: Reals
    scores: Floats
    softmax: Floats
    drive: Floats
    kick_step: Integers
    kick: Floats
    at_spike: Floats


NEAREST = {
    "Sum": "it takes one loss of one population, and adds its regulariser itself (reg_lambda_upper, reg_lambda_lower)",
    "SpikeCountLoss": "its regulariser of spike counts is a setting, not a loss: reg_lambda_upper, reg_lambda_lower, "
    "reg_nu_upper",
    "SilentHinge": "what it has for neurons that are silent is a setting, reg_lambda_lower, and the phantom spike of a "
    "silent label",
    "MeanVoltageLoss": "of means it has the cross-entropy alone, MeanVoltageCrossEntropy",
    "MaxVoltageLoss": "of largest voltages it has the cross-entropy alone, MaxVoltageCrossEntropy",
    "RunningLoss": "of voltages at every instant it has the distance from a trajectory alone, TrajectoryMSE",
    "TargetTimeMSE": "of target times it has those relative to the label's alone, RelativeMSE",
    "SpikeTimeLoss": "of first spikes it has FirstSpikeCrossEntropy and RelativeMSE alone",
}
"""Of losses that no variant has: what there is instead."""


def reading_of(
    loss: Any, network: Network, n_samples: int, time_step: float, variant: Variant = "mlgenn"
) -> Reading:
    """Return a loss as mlGeNN knows it; ``time_step`` in seconds.

    Raises
    ------
    ValueError
        If mlGeNN has no such loss, or it does not fit the network.
    """
    losses, labels = es.losses, np.empty(0, np.int64)
    kind = type(loss).__name__
    if kind in NEAREST or not isinstance(getattr(loss, "population", None), str):
        code = "mlGeNN's EventProp compiler" if variant == "mlgenn" else "genn_eventprop"
        instead = f": {NEAREST[kind]}" if kind in NEAREST else ""
        raise ValueError(f"{code} has no loss like {kind}{instead}")
    population = network.population(loss.population)
    if population.neuron is None:
        raise ValueError(f"the loss reads {population.name!r}, which is an input")
    if hasattr(loss, "labels"):
        labels = fitting_labels(loss.labels, n_samples, population.size)
    of_first = losses.FirstSpikeCrossEntropy | losses.TTFSCrossEntropy | losses.RelativeMSE
    on_spikes = isinstance(loss, of_first)
    if on_spikes != population.neuron.spiking:
        raise ValueError(
            f"mlGeNN's EventProp compiler reads first spikes of LIF and voltages of LI populations; got "
            f"{type(loss).__name__} of {population.name!r}, which is {type(population.neuron).__name__}"
        )
    if variant == "genn_eventprop":
        return _paper_reading(loss, population, labels)
    if isinstance(loss, losses.MeanVoltageCrossEntropy):
        names: dict[Any, Name] = {"uniform": "AvgVar", "exponential": "AvgVarExpWeight"}
        if loss.weighting not in names:
            raise ValueError(
                f"mlGeNN's readouts weigh voltages uniformly or exponentially; got weighting {loss.weighting!r}"
            )
        return Reading(names[loss.weighting], population.name, labels)
    if isinstance(loss, losses.SumVoltageCrossEntropy):
        if round(loss.time_step / time_step, 9) != 1:
            raise ValueError(
                f"mlGeNN sums over its own steps, of {time_step!r} s; time_step of SumVoltageCrossEntropy is "
                f"{loss.time_step!r}"
            )
        return Reading("SumVar", population.name, labels)
    if isinstance(loss, losses.MaxVoltageCrossEntropy):
        return Reading("MaxVar", population.name, labels)
    if isinstance(loss, losses.TrajectoryMSE):
        return Reading("Var", population.name, labels, target=loss.target)
    if isinstance(loss, losses.RelativeMSE):
        return Reading("RelativeMSE", population.name, labels, silent=loss.silent, gap=milliseconds(loss.gap))
    if isinstance(loss, losses.TTFSCrossEntropy):
        if loss.alpha != 0:
            raise ValueError(
                "mlGeNN's term for early spikes is that of FirstSpikeCrossEntropy, alpha/(1.01 t_end - t); alpha of "
                f"TTFSCrossEntropy must be 0, or variant 'genn_eventprop', which has its term; got {loss.alpha!r}"
            )
        return Reading(
            "FirstSpikeTime",
            population.name,
            labels,
            silent=loss.silent,
            temperature=milliseconds(loss.tau0),
        )
    if isinstance(loss, losses.FirstSpikeCrossEntropy):
        return Reading(
            "FirstSpikeTime",
            population.name,
            labels,
            silent=loss.silent,
            temperature=milliseconds(loss.tau0),
            alpha=milliseconds(loss.alpha),
        )
    if isinstance(loss, losses.InstantCrossEntropy):
        raise ValueError(
            "mlGeNN's per_timestep_loss, which is InstantCrossEntropy, ends with a KeyError when it is compiled"
        )
    raise ValueError(f"mlGeNN's EventProp compiler has no loss like {type(loss).__name__}")


@dataclass(frozen=True, eq=False)
class Trial:
    """What a readout looks at.

    Attributes
    ----------
    clock : Clock
    causes : Causes
    batch : int
        By which GeNN divides.
    tau_mem : ndarray, (n_outputs,)
        ms.
    voltage : ndarray, (n_samples, n_steps, n_outputs)
        Of an LI readout after each step; without steps for a spiking one.
    samples : ndarray of int64, (n_spikes,)
    found : Fired
        All spikes of neurons.
    first : int
        The first output neuron.
    v_initial : ndarray, (n_outputs,)
    time_step : float
        Seconds.
    activity : ndarray, (n_samples, n_steps)
        Of the inputs, by which a readout of genn_eventprop weighs; without samples unless asked for.
    """

    clock: Clock
    causes: Causes
    batch: int
    tau_mem: Floats
    voltage: Floats
    samples: Integers
    found: Fired
    first: int
    v_initial: Floats
    time_step: float
    activity: Floats

    @property
    def n_samples(self) -> int:
        """Size of the batch that is run."""
        return int(self.voltage.shape[0])

    @property
    def n_outputs(self) -> int:
        """Number of output neurons."""
        return int(self.tau_mem.size)


def answer(reading: Reading, trial: Trial) -> Answer:
    """Return a readout's loss and what it adds to the adjoint.

    Raises
    ------
    ValueError
        If an output that the loss needs is silent, it asks to refuse that, and GeNN's own ways are mended.
    """
    if reading.of_spikes:
        return _first_spikes(reading, trial)
    if reading.paper:
        return _paper(reading, trial)
    clock, kind = trial.clock, trial.clock.kind
    share = trial.tau_mem * kind(trial.batch) * kind(clock.trial)
    if reading.name == "Var":
        assert reading.target is not None
        times: Any = trial.time_step * np.arange(1, clock.n_steps + 1)
        error: Any = np.empty_like(trial.voltage)
        for s in range(trial.n_samples):
            error[s] = np.asarray(reading.target(times, s)).T.astype(kind) - trial.voltage[s]
        values = 0.5 * (error.astype(np.float64) ** 2).sum(axis=2).mean(axis=1)
        return _plain(values, trial.voltage[:, -1], None, error / share, trial)
    scores, steps = _scores(reading, trial)
    p = softmax(scores)
    g = _one_hot(reading.labels, trial) - p
    drive = np.zeros_like(trial.voltage)
    if reading.name == "MaxVar":
        met = clock.met_by_step[steps] | (not trial.causes.matching)
        rows, columns = np.indices(steps.shape)
        drive[rows, steps, columns] = np.where(met, g / share, kind(0))
    elif reading.name == "AvgVarExpWeight":
        drive[:] = (g[:, None] * _weights(trial, backward=True)[:, None]) / share
    else:
        drive[:] = (g / share)[:, None]
    return _plain(_cross_entropy(scores, reading.labels), scores, p, drive, trial)


def softmax(scores: Floats) -> Floats:
    """Return the softmax of every sample, summed in the order of the outputs."""
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = share / np.add.accumulate(share, axis=1)[:, -1:]
    return result


def _scores(reading: Reading, trial: Trial) -> tuple[Floats, Integers]:
    """Return m, and the steps of the maxima, if it is these that are read."""
    kind, v = trial.clock.kind, trial.voltage
    nowhere = np.zeros((trial.n_samples, trial.n_outputs), np.int64)
    if reading.name == "MaxVar":
        steps = v.argmax(axis=1)
        top = np.take_along_axis(v, steps[:, None], axis=1)[:, 0]
        return np.maximum(top, kind(0)), np.where(top > 0, steps, nowhere)
    if reading.name == "SumVar":
        terms = v
    else:
        terms = kind(1.0 / trial.clock.n_steps) * v
        if reading.name == "AvgVarExpWeight":
            terms = (_weights(trial, backward=False) * kind(1.0 / trial.clock.n_steps))[:, None] * v
    return np.add.accumulate(terms, axis=1)[:, -1], nowhere


def _weights(trial: Trial, backward: bool) -> Floats:
    """Return the weight of each forward step's voltage, (n_steps,)."""
    clock, kind = trial.clock, trial.clock.kind
    share = kind(1.0 / clock.trial)
    if backward:
        exponents = -(kind(1.0) - clock.times * share)[::-1]
    else:
        times = clock.times if trial.causes.shifted_weight else clock.times + kind(clock.time_step)
        exponents = -(times * share)
    weights: Floats = np.exp(exponents)
    return weights


def _one_hot(labels: Integers, trial: Trial) -> Floats:
    found = np.zeros((trial.n_samples, trial.n_outputs), trial.clock.kind)
    found[np.arange(trial.n_samples), labels] = 1
    return found


def _cross_entropy(scores: Floats, labels: Integers) -> Reals:
    exact = scores.astype(np.float64)
    values: Reals = logsumexp(exact, axis=1) - exact[np.arange(labels.size), labels]
    return values


def _plain(values: Reals, scores: Floats, p: Floats | None, drive: Floats, trial: Trial) -> Answer:
    shape, kind = (trial.n_samples, trial.n_outputs), trial.clock.kind
    return Answer(
        values,
        scores,
        np.empty((trial.n_samples, 0), kind) if p is None else p,
        drive.astype(kind),
        np.full(shape, -1),
        np.zeros(shape, kind),
        np.zeros(trial.found.steps.size, kind),
    )


# -- first spikes


def _first_spikes(reading: Reading, trial: Trial) -> Answer:
    clock, kind, causes = trial.clock, trial.clock.kind, trial.causes
    first = _firsts(trial)
    silent = first < 0
    rows, labels = np.arange(trial.n_samples), reading.labels
    never = clock.trial + 1.0 if reading.paper else -np.finfo(np.float32).min
    times = np.where(silent, kind(never), clock.times[np.maximum(first, 0)])
    counted: NDArray[np.bool_] = np.ones(trial.n_samples, dtype=bool)
    if not causes.silence:
        needed = silent if reading.name == "RelativeMSE" else silent[rows, labels][:, None]
        if reading.silent == "t_end":
            times = np.where(silent, kind(clock.trial), times)
        else:
            counted = np.asarray(~needed.any(axis=1))
            times[~counted] = 0
        if reading.silent == "raise":
            refuse_silent(reading.population, ~counted)
    kick = np.zeros(silent.shape, kind)
    if reading.name == "RelativeMSE":
        p = np.empty((trial.n_samples, 0), kind)
        numerators, values = _relative(reading, times, silent & causes.silence)
        divisors = np.ones_like(numerators)
    else:
        temperature = kind(reading.temperature)
        scores = -times if causes.temperature and not reading.paper else -times / temperature
        p = softmax(scores)
        early = _early(reading, times[rows, labels], clock)
        numerators = -p
        numerators[rows, labels] = (kind(1.0) - p[rows, labels]) / temperature + early
        divisors = np.full_like(p, reading.temperature * trial.batch)
        divisors[rows, labels] = trial.batch
        values = _cross_entropy(scores, labels)
        values += _early_values(reading, times[rows, labels].astype(np.float64), clock)
        if causes.silence:
            unheard = silent[rows, labels]
            strength = _phantom(reading, clock)
            kick[rows, labels] = np.where(unheard, kind(strength / trial.batch), kind(0))
            values[unheard] = np.inf
    numerators[~counted] = 0
    return Answer(
        values=np.where(counted, values, 0.0),
        scores=-times,
        softmax=p,
        drive=np.empty((0, clock.n_steps, trial.n_outputs), kind),
        kick_step=np.where(kick != 0, clock.n_steps - (2 if reading.paper else 1), -1),
        kick=kick,
        at_spike=_at_firsts(trial, first, numerators, divisors),
    )


def _early(reading: Reading, times: Floats, clock: Clock) -> Floats:
    """Return the slope of the term alpha/(1.01 T - t); 0 for a silent output, whose time is beyond all numbers."""
    if reading.tau1 is not None:
        early: Floats = clock.kind(reading.alpha / reading.tau1) * np.exp(times / clock.kind(reading.tau1))
        return early
    late = clock.kind(1.01 * clock.trial) - times
    with np.errstate(over="ignore"):
        slope: Floats = clock.kind(reading.alpha) / (late * late)
    return slope


def _early_values(reading: Reading, times: Any, clock: Clock) -> Any:
    """Return the term for early spikes."""
    if reading.tau1 is not None:
        return reading.alpha * np.expm1(times / reading.tau1)
    return reading.alpha / (1.01 * clock.trial - times)


def _phantom(reading: Reading, clock: Clock) -> float:
    """Return by what a silent label's lambda_V is kicked: the slope of the term for early spikes, at T."""
    if reading.tau1 is not None:
        return float(reading.alpha / reading.tau1 * np.exp(clock.trial / reading.tau1))
    return reading.alpha / (0.0001 * clock.trial * clock.trial)


def _relative(reading: Reading, times: Floats, at_zero: NDArray[np.bool_]) -> tuple[Floats, Reals]:
    """Return what the jumps at first spikes are multiplied by, and the losses."""
    kind = times.dtype.type
    rows, labels = np.arange(len(times)), reading.labels
    s = np.where(at_zero, kind(0), -times)
    of_label, n = s[rows, labels], times.shape[1]
    total = np.add.accumulate(s, axis=1)[:, -1]
    slopes = (-s + of_label[:, None]) - kind(reading.gap)
    exact = (-s + of_label[:, None]).astype(np.float64) - reading.gap
    exact[rows, labels] = 0.0
    slopes[rows, labels] = total - kind(n) * of_label + kind(n - 1) * kind(reading.gap)
    return slopes, 0.5 * (exact**2).sum(axis=1)


def _firsts(trial: Trial) -> Integers:
    """Return the step of each output's first spike, (n_samples, n_outputs), -1 for none."""
    steps = np.full((trial.n_samples, trial.n_outputs), -1)
    own = _own(trial)[::-1]  # the first in time is written last
    steps[trial.samples[own], trial.found.neurons[own] - trial.first] = trial.found.steps[own]
    return steps


def _own(trial: Trial) -> Integers:
    neurons = trial.found.neurons
    return np.flatnonzero((neurons >= trial.first) & (neurons < trial.first + trial.n_outputs))


def _at_firsts(trial: Trial, first: Integers, numerators: Floats, divisors: Floats) -> Floats:
    """Return what the jump of every spike has beside its formula: at the first ones numerator/(I - V)/divisor."""
    kind, found = trial.clock.kind, trial.found
    added = np.zeros(found.steps.size, kind)
    own = _own(trial)
    samples, outputs, steps = trial.samples[own], found.neurons[own] - trial.first, found.steps[own]
    chosen = (first[samples, outputs] == steps) & (
        trial.clock.met_by_step[steps] | (not trial.causes.matching)
    )
    own, samples, outputs = own[chosen], samples[chosen], outputs[chosen]
    recip = kind(1.0) / found.slopes[own]
    added[own] = recip * numerators[samples, outputs] / divisors[samples, outputs]
    return added


# -- genn_eventprop


def _paper_reading(loss: Any, population: Population, labels: Integers) -> Reading:
    losses = es.losses
    if isinstance(loss, losses.MeanVoltageCrossEntropy):
        weighting = loss.weighting if callable(loss.weighting) else WEIGHTINGS[loss.weighting]
        return Reading("sum", population.name, labels, weighting=weighting)
    if isinstance(loss, losses.MaxVoltageCrossEntropy):
        return Reading("max", population.name, labels)
    if isinstance(loss, losses.InstantCrossEntropy):
        return Reading("avg_xentropy", population.name, labels)
    if isinstance(loss, losses.FirstSpikeCrossEntropy | losses.TTFSCrossEntropy):
        tau1 = getattr(loss, "tau1", None)
        return Reading(
            "first_spike",
            population.name,
            labels,
            silent=loss.silent,
            temperature=milliseconds(loss.tau0),
            alpha=milliseconds(loss.alpha) if tau1 is None else loss.alpha,
            tau1=None if tau1 is None else milliseconds(tau1),
        )
    raise ValueError(f"genn_eventprop has no loss like {type(loss).__name__}")


def weighed_by_inputs(reading: Reading, loss: Any) -> Reading:
    """Return a reading that is weighed by input activity instead of by time."""
    if reading.name != "sum" or getattr(loss, "weighting", None) != "uniform":
        raise ValueError(
            "accumulator weighs MeanVoltageCrossEntropy with weighting 'uniform' by input activity, and nothing else; "
            f"got {type(loss).__name__}"
            + (f" with weighting {loss.weighting!r}" if hasattr(loss, "weighting") else "")
        )
    return replace(reading, accumulated=True)


def accumulated(events: Events, clock: Clock, tau: float, consecutive: bool) -> Floats:
    """Return the mean input activity that a readout of genn_eventprop is told of in every step, (n_samples, n_steps).

    A neuron V += (0.01 spikes - V) dt/tau adds up the inputs of the step before, and is heard a step later; so that
    w(t) is their low-pass, and goes with dt. ``tau`` in ms.
    """
    kind, n_samples = clock.kind, events.bounds.size - 1
    samples = np.repeat(np.arange(n_samples), np.diff(events.bounds))
    inside = events.steps >= 0
    codes = samples[inside] * clock.n_steps + events.steps[inside]
    spikes = np.bincount(codes, minlength=n_samples * clock.n_steps).reshape(n_samples, clock.n_steps)
    before = np.zeros(n_samples, np.int64)
    if consecutive:  # spikes of a trial's last step are added in the next one's first
        before[1:] = spikes[:-1, -1]
    told = np.zeros((n_samples, clock.n_steps), kind)
    v = np.zeros(n_samples, kind)
    for step in range(clock.n_steps):
        told[:, step] = v
        arriving = (spikes[:, step - 1] if step else before).astype(kind) * kind(0.01)
        v = v + (arriving - v) / kind(tau) * kind(clock.time_step)
    return told


def _paper(reading: Reading, trial: Trial) -> Answer:
    """Return what a voltage readout of genn_eventprop says: of V before the update of each step, at its time."""
    clock, kind, v = trial.clock, trial.clock.kind, trial.voltage
    share = trial.tau_mem * kind(trial.batch) * kind(clock.trial)
    if reading.name == "avg_xentropy":  # which keeps V after the update
        flat = v.reshape(-1, trial.n_outputs)
        g = _one_hot(reading.labels, trial)[:, None] - softmax(flat).reshape(v.shape)
        each = _cross_entropy(flat, np.repeat(reading.labels, clock.n_steps))
        return _plain(each.reshape(v.shape[:2]).mean(axis=1), v[:, -1], None, g / share, trial)
    start = np.broadcast_to(trial.v_initial, (trial.n_samples, 1, trial.n_outputs))
    before: Any = np.concatenate([start, v[:, :-1]], axis=1)
    if reading.name == "max":
        steps = before.argmax(axis=1)
        top = np.take_along_axis(before, steps[:, None], axis=1)[:, 0]
        scores = np.maximum(top, kind(0))
        p = softmax(scores)
        answer = _plain(_cross_entropy(scores, reading.labels), scores, p, v[:0], trial)
        met = (top > 0) & (clock.met_by_step[steps] | (not trial.causes.matching))
        kick = ((_one_hot(reading.labels, trial) - p) / share).astype(kind)
        return replace(answer, kick_step=np.where(met, steps, -1), kick=np.where(met, kick, kind(0)))
    if reading.accumulated:
        forward = backward = trial.activity
    else:
        assert reading.weighting is not None
        x = clock.times / kind(clock.trial)
        forward = np.asarray(reading.weighting(x), kind)[None]
        backward = np.asarray(reading.weighting((kind(1.0) - x)[::-1]), kind)[None]
    terms = forward[:, :, None] * before / kind(clock.trial) * kind(clock.time_step)
    scores = np.add.accumulate(terms, axis=1)[:, -1]
    p = softmax(scores)
    g = (_one_hot(reading.labels, trial) - p) / share
    return _plain(_cross_entropy(scores, reading.labels), scores, p, backward[:, :, None] * g[:, None], trial)
