"""Losses of eventsolve.losses in balls: the value of one sample, and its derivatives by spike times and voltages.

Losses on spike times and the cross-entropies of readout voltages are written out here once more. An integral is
certified as a Gauss-Legendre sum on the float64 nodes of the solution, also where float64 has it in closed form. A loss
that calls a function of the user's in float64, or that reads the voltages of a population that spikes, has no
enclosure: its derivatives are taken as the numbers that they are in float64, and what is enclosed is the gradient that
they make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from flint import arb
from numpy.typing import ArrayLike

from eventsolve import losses
from eventsolve.certify.arithmetic import (
    ONE,
    ZERO,
    at_time,
    ball,
    order,
    surely_at_most,
    surely_less,
    surely_zero,
    vague,
)
from eventsolve.certify.boxes import Box
from eventsolve.certify.gradient import End, Read, Segment, Trajectory, trajectories_of
from eventsolve.certify.membrane import propagator
from eventsolve.certify.network import Enclosed
from eventsolve.certify.neuron import Question, Unproven
from eventsolve.solution import Solution

ON_FIRST_SPIKES = (
    losses.TTFSCrossEntropy,
    losses.FirstSpikeCrossEntropy,
    losses.TargetTimeMSE,
    losses.RelativeMSE,
)
ON_NODES = (losses.MeanVoltageCrossEntropy, losses.SumVoltageCrossEntropy, losses.InstantCrossEntropy)


class Reading(NamedTuple):
    """A loss reads V of a neuron at a time in seconds; dL/dV, if that is a float64 number; ``before`` as of a Read."""

    population: str
    neuron: int
    time: float
    cotangent: float
    before: bool = False


@dataclass(frozen=True, eq=False)
class SampleLoss:
    """What is to be differentiated of one sample.

    Attributes
    ----------
    divisor : int
        By which the sample's loss is divided.
    loss : Loss or None
        One that is evaluated in balls; None: the derivatives are given.
    cotangents : mapping of population to sequence of float
        dL/dt in 1/s for every spike of the sample, in the order of SpikeTrains.
    readings : sequence of Reading
        With dL/dV, or for a loss the nodes of its quadrature: neuron after neuron, each at all nodes.
    weights : sequence of float
        Of the nodes.
    skipped : bool
        Whether the loss's policy for silent outputs makes it 0.
    read : tuple of str
        Populations that the loss reads, also where that has no derivative.
    """

    divisor: int
    loss: Any = None
    cotangents: Mapping[str, Sequence[float]] | None = None
    readings: Sequence[Reading] = ()
    weights: Sequence[float] = ()
    skipped: bool = False
    read: tuple[str, ...] = ()


class Derivative(NamedTuple):
    """A sample's loss, None without an enclosure; dL/dt by place among its spikes; trajectories with what is read."""

    value: arb | None
    cotangents: dict[int, arb]
    trajectories: dict[int, Trajectory]


def tasks_of(solution: Solution, gradients: Any, *, divisor: int) -> list[SampleLoss]:
    """Return every sample's task, for a loss or cotangents that fit the solution."""
    n = solution.n_samples
    if isinstance(gradients, Mapping):
        return [SampleLoss(1, cotangents=_of_sample(solution, gradients, s)) for s in range(n)]
    evaluation = gradients.evaluate(solution)
    read = evaluation.populations()
    return [replace(task, read=read) for task in _tasks(solution, gradients, evaluation, divisor)]


def _tasks(
    solution: Solution, gradients: Any, evaluation: losses.Evaluation, divisor: int
) -> list[SampleLoss]:
    n = solution.n_samples
    silent = set(evaluation.silent_samples.tolist())
    if isinstance(gradients, ON_FIRST_SPIKES):
        skips = gradients.silent == "skip"
        return [SampleLoss(divisor, gradients, skipped=skips and s in silent) for s in range(n)]
    if isinstance(gradients, losses.MaxVoltageCrossEntropy | losses.SilentHinge):
        return [SampleLoss(divisor, gradients)] * n
    if isinstance(gradients, ON_NODES) and _has_nodes(solution, gradients):
        return _on_nodes(solution, gradients, divisor)
    if isinstance(gradients, losses.SpikeCountLoss):
        return [SampleLoss(divisor, gradients)] * n
    evaluation = losses.read_at_nodes(solution, evaluation)
    readings: list[list[Reading]] = [[] for _ in range(n)]
    for name, reads in evaluation.voltages.items():
        if reads.moving.any():
            raise ValueError(
                f"gradients of {type(gradients).__name__} have no enclosure, as it reads {name!r} at a place that "
                "moves with an arrival; MaxVoltageCrossEntropy and SilentHinge by themselves have one"
            )
        columns = (reads.samples, reads.neurons, reads.times, reads.cotangents, reads.at_start)
        for s, *reading in zip(*(column.tolist() for column in columns), strict=True):
            readings[s].append(Reading(name, *reading))
    return [
        SampleLoss(divisor, None, _of_sample(solution, evaluation.spike_times, s), readings[s])
        for s in range(n)
    ]


def _of_sample(
    solution: Solution, cotangents: Mapping[str, ArrayLike], sample: int
) -> dict[str, list[float]]:
    found = {}
    for name, values in cotangents.items():
        offsets = solution.spikes[name].offsets
        found[name] = np.asarray(values, dtype=np.float64)[offsets[sample] : offsets[sample + 1]].tolist()
    return found


def _has_nodes(solution: Solution, loss: Any) -> bool:
    neuron = solution.network.population(loss.population).neuron
    named = isinstance(getattr(loss, "weighting", "uniform"), str)
    return neuron is not None and not neuron.spiking and named


def _on_nodes(solution: Solution, loss: Any, divisor: int) -> list[SampleLoss]:
    nodes = solution.nodes(loss.population)
    tasks = []
    for s in range(solution.n_samples):
        used = nodes.weights[s] != 0
        times, weights = nodes.times[s][used].tolist(), nodes.weights[s][used].tolist()
        size = solution.network.population(loss.population).size
        readings = [Reading(loss.population, k, t, 0.0) for k in range(size) for t in times]
        tasks.append(SampleLoss(divisor, loss, None, readings, weights))
    return tasks


def derivative(
    box: Box, sample: int, enclosed: Enclosed, matched: Mapping[str, Sequence[int]], task: SampleLoss
) -> Derivative:
    """Evaluate one sample's loss.

    Parameters
    ----------
    box, sample, enclosed
        Of a sample of which nothing is open.
    matched : mapping of population or input to sequence of int
        The place of every spike of the sample among the enclosed ones, in the order of SpikeTrains.
    task : SampleLoss

    Raises
    ------
    Unproven
        If it is not decided which of several maxima is the largest, or the order of two events that matters.
    """
    reads = [
        Read(
            box.populations[r.population].start + r.neuron,
            at_time(r.time),
            ball(r.cotangent) / task.divisor,
            before=r.before,
        )
        for r in task.readings
    ]
    cotangents: dict[int, arb] = {}
    if task.loss is None:
        for name, values in (task.cotangents or {}).items():
            for k, given in zip(matched.get(name, ()), values, strict=True):
                cotangents[k] = ball(given) / task.divisor
        return Derivative(None, cotangents, trajectories_of(box, sample, enclosed, reads))
    if task.skipped:
        return Derivative(ZERO, {}, trajectories_of(box, sample, enclosed, ()))
    if isinstance(task.loss, ON_FIRST_SPIKES):
        value, cotangents = _on_first_spikes(box, sample, enclosed, matched, task.loss)
        scaled = {k: c / task.divisor for k, c in cotangents.items()}
        return Derivative(value, scaled, trajectories_of(box, sample, enclosed, ()))
    if isinstance(task.loss, losses.SpikeCountLoss):
        value, cotangents = _of_counts(box, enclosed, matched, task.loss)
        scaled = {k: c / task.divisor for k, c in cotangents.items()}
        return Derivative(value, scaled, trajectories_of(box, sample, enclosed, ()))
    if isinstance(task.loss, losses.MaxVoltageCrossEntropy):
        return _of_maxima(box, sample, enclosed, task)
    if isinstance(task.loss, losses.SilentHinge):
        return _of_silent(box, sample, enclosed, matched, task)
    trajectories = trajectories_of(box, sample, enclosed, reads)
    return Derivative(_over_nodes(box, sample, trajectories, task), {}, trajectories)


def cross_entropy(scores: Sequence[arb], label: int) -> tuple[arb, list[arb]]:
    """Return -ln softmax(scores)_label and its derivative by every score."""
    ratios = [(score - scores[label]).exp() for score in scores]
    total = sum(ratios, ZERO)
    slope = [ratio / total for ratio in ratios]
    slope[label] = -sum((r for k, r in enumerate(ratios) if k != label), ZERO) / total
    return total.log(), slope


def _on_first_spikes(
    box: Box, sample: int, enclosed: Enclosed, matched: Mapping[str, Sequence[int]], loss: Any
) -> tuple[arb, dict[int, arb]]:
    """Return the loss and dL/dt of the first spikes."""
    place = box.populations[loss.population]
    first: dict[int, int] = {}
    for k in matched[loss.population]:
        first.setdefault(enclosed.spikes[k].cell - place.start, k)
    times = {n: enclosed.spikes[k].moment.ball for n, k in first.items()}
    if loss.silent == "t_end":
        times = {n: times.get(n, ball(box.t_end)) for n in range(place.stop - place.start)}
    value: arb
    if type(loss) in (losses.TTFSCrossEntropy, losses.FirstSpikeCrossEntropy):
        value, slope = _time_to_first_spike(box, times, _label(loss, sample), loss)
    elif type(loss) is losses.TargetTimeMSE:
        slope = {n: t - ball(float(np.asarray(loss.targets)[sample, n])) for n, t in times.items()}
        value = sum((error * error for error in slope.values()), ZERO) / 2
    else:
        label = _label(loss, sample)
        gap = ball(float(loss.gap))
        slope = {n: t - times[label] - gap for n, t in times.items() if n != label}
        value = sum((error * error for error in slope.values()), ZERO) / 2
        slope[label] = -sum(slope.values(), ZERO)
    return value, {k: slope[n] for n, k in first.items()}


def _label(loss: Any, sample: int) -> int:
    return int(np.asarray(loss.labels)[sample])


def _of_counts(
    box: Box, enclosed: Enclosed, matched: Mapping[str, Sequence[int]], loss: Any
) -> tuple[arb, dict[int, arb]]:
    """Return the loss and dL/dt of all spikes of its population."""
    place, end = box.populations[loss.population], ball(box.t_end)
    span = end - ball(box.t_start)
    excess = [-ball(float(t)) for t in np.broadcast_to(loss.target, (place.stop - place.start,))]
    for k in matched[loss.population]:
        excess[enclosed.spikes[k].cell - place.start] += (end - enclosed.spikes[k].moment.ball) / span
    upper, lower = ball(float(loss.upper)), ball(float(loss.lower))
    slopes = []
    for x in excess:
        above, below = surely_at_most(ZERO, x), surely_at_most(x, ZERO)
        slopes.append(x * (upper if above else lower if below else upper.union(lower)))
    value = sum((s * x for s, x in zip(slopes, excess, strict=True)), ZERO) / 2
    by_spike = {k: -slopes[enclosed.spikes[k].cell - place.start] / span for k in matched[loss.population]}
    return value, by_spike


def _time_to_first_spike(
    box: Box, times: Mapping[int, arb], label: int, loss: Any
) -> tuple[arb, dict[int, arb]]:
    tau0, alpha = ball(float(loss.tau0)), ball(float(loss.alpha))
    neurons = list(times)
    value, slope = cross_entropy([-times[n] / tau0 for n in neurons], neurons.index(label))
    by_time = {n: -s / tau0 for n, s in zip(neurons, slope, strict=True)}
    if type(loss) is losses.TTFSCrossEntropy:
        tau1 = ball(float(loss.tau1))
        value += alpha * (times[label] / tau1).expm1()
        by_time[label] += alpha / tau1 * (times[label] / tau1).exp()
    else:
        left = 101 * ball(box.t_end) / 100 - times[label]
        value += alpha / left
        by_time[label] += alpha / left**2
    return value, by_time


def _over_nodes(box: Box, sample: int, trajectories: Mapping[int, Trajectory], task: SampleLoss) -> arb:
    """Return a loss that is a sum over nodes, and write its derivatives into what is read."""
    loss, n_nodes = task.loss, len(task.weights)
    place, label = box.populations[loss.population], _label(loss, sample)
    voltages = [
        [s.last_voltage for s in trajectories[cell].segments if s.end is End.READ] if n_nodes else []
        for cell in range(place.start, place.stop)
    ]
    weights = [ball(w) for w in task.weights]
    if type(loss) in (losses.MeanVoltageCrossEntropy, losses.SumVoltageCrossEntropy):
        span = ball(box.t_end) - ball(box.t_start)
        summed = type(loss) is losses.SumVoltageCrossEntropy
        steps = span / ball(float(loss.time_step)) if summed else ONE
        for q in range(n_nodes):
            x = (ball(task.readings[q].time) - ball(box.t_start)) / span
            weights[q] *= steps if summed else _weighting(str(loss.weighting), x)
        means = [sum((w * v for w, v in zip(weights, row, strict=True)), ZERO) for row in voltages]
        value, slope = cross_entropy(means, label)
        slopes = [[s * w for w in weights] for s in slope]
    else:
        value, slopes = ZERO, [[] for _ in voltages]
        for q, weight in enumerate(weights):
            term, slope = cross_entropy([row[q] for row in voltages], label)
            value += weight * term
            for row, s in zip(slopes, slope, strict=True):
                row.append(weight * s)
    for cell, row in zip(range(place.start, place.stop), slopes, strict=True):
        if n_nodes:
            trajectory = trajectories[cell]
            trajectory.reads = [
                r._replace(cotangent=c / task.divisor) for r, c in zip(trajectory.reads, row, strict=True)
            ]
    return value


def _weighting(name: str, x: arb) -> arb:
    if name == "exponential":
        return (-x).exp()
    if name == "linear":
        return ONE - x
    if name == "sigmoid":
        return ONE / (ONE + ((x - ball(0.5)) / ball(0.2)).exp())
    return ONE


# -- largest voltages ----------------------------------------------------------------------------------------------


def _of_maxima(box: Box, sample: int, enclosed: Enclosed, task: SampleLoss) -> Derivative:
    place, label = box.populations[task.loss.population], _label(task.loss, sample)
    maxima = _maxima(box, sample, enclosed, range(place.start, place.stop))
    value, slope = cross_entropy([height for height, _ in maxima], label)
    reads = [read._replace(cotangent=s / task.divisor) for (_, read), s in zip(maxima, slope, strict=True)]
    return Derivative(value, {}, trajectories_of(box, sample, enclosed, reads))


def _of_silent(
    box: Box, sample: int, enclosed: Enclosed, matched: Mapping[str, Sequence[int]], task: SampleLoss
) -> Derivative:
    place = box.populations[task.loss.population]
    level = np.broadcast_to(task.loss.level, (place.stop - place.start,))
    spiked = {enclosed.spikes[k].cell for k in matched[task.loss.population]}
    silent = [cell for cell in range(place.start, place.stop) if cell not in spiked]
    value, reads = ZERO, []
    for cell, (height, read) in zip(silent, _maxima(box, sample, enclosed, silent), strict=True):
        missing = (ball(float(level[cell - place.start])) - height).max(ZERO)
        value += missing**2 / 2
        reads.append(read._replace(cotangent=-missing / task.divisor))
    return Derivative(value, {}, trajectories_of(box, sample, enclosed, reads))


def _maxima(box: Box, sample: int, enclosed: Enclosed, cells: Iterable[int]) -> list[tuple[arb, Read]]:
    """Return the largest voltages of cells that do not spike, from the start of the trial on, and how to read them."""
    cells = list(cells)
    # reads of no weight make trajectories reach to the end
    ends = [Read(cell, at_time(float(box.t_end)), ZERO) for cell in cells]
    trajectories = trajectories_of(box, sample, enclosed, ends)
    deltas = {
        which for which, e in enumerate(enclosed.history) if e.synapse >= 0 and box.synapses.delta[e.synapse]
    }
    return [_largest(trajectories[cell], deltas) for cell in cells]


def _largest(trajectory: Trajectory, deltas: set[int]) -> tuple[arb, Read]:
    """Return the largest voltage of a trajectory up to its read, and how to read it; of several as large the first.

    ``deltas`` are the places of arrivals that may lift V.
    """
    segments = trajectory.segments
    candidates = [(segments[0].voltage, Read(trajectory.cell, segments[0].begin, ZERO, before=True))]
    before: Segment | None = None
    for segment in segments:
        if not segment.held:
            if before is not None and before.end is End.ARRIVAL and before.which in deltas:
                lifted = Read(trajectory.cell, before.moment, ZERO, before.which, after=True)
                candidates.append((segment.voltage, lifted))
            candidates.append(_top(trajectory, segment))
        before = segment
        if segment.end is End.READ:
            break
    height, read = max(candidates, key=lambda candidate: float(candidate[0]))
    for other, where in candidates:
        if where is not read and not surely_at_most(other, height):
            raise Unproven(trajectory.cell, read.moment.key, Question.MAXIMUM)
    return height, read


def _top(trajectory: Trajectory, segment: Segment) -> tuple[arb, Read]:
    """Return the largest V of a segment but for its start, or a bound of it where signs of V' are not decided."""
    rates, leak, cell = trajectory.parameters.rates, trajectory.parameters.leak, trajectory.cell
    excess, current = segment.voltage - leak, segment.current
    rises_first = surely_less(excess, current)
    falls_last = surely_less(segment.last_current, segment.last_voltage - leak)
    at_end = Read(cell, segment.moment, ZERO, segment.which if segment.end is End.ARRIVAL else -1)
    if rises_first and falls_last:
        s = (current - excess) / (excess * rates.gap + current * rates.mem)
        if not surely_zero(rates.gap):
            s = (rates.gap * s).log1p() / rates.gap
        height = leak + current * (-(s * rates.syn)).exp()  # V' = 0 makes V - v_leak = I
        peak = vague(segment.begin.ball + s)
        if order(segment.begin, peak) == -1:
            return height, Read(cell, peak, ZERO, before=True)  # than the segment's end
    if surely_at_most(current, excess) or surely_at_most(segment.last_voltage - leak, segment.last_current):
        return segment.last_voltage, at_end  # V has no peak inside
    decay_mem, decay_syn, response = propagator(rates, ZERO.union(segment.duration))
    slope = (current * (decay_syn - response) - excess * decay_mem) * rates.mem
    return segment.voltage + (segment.duration * slope.max(ZERO)).union(ZERO), at_end
