"""value_and_grad_in_pieces(): the gradient along a stream of which only the states at its cuts are kept.

It is solved piece by piece, forward, and what the loss reads is noted. Then, from the last piece to the first, each is
solved again from its state and differentiated back, beginning with the adjoint of the state at its end, which the piece
after it gave. These are the two passes of checkpointing (Griewank & Walther 2000, Algorithm 799), with one level.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.adjoint import (
    Contribution,
    CutAdjoint,
    NotAskedFor,
    StreamGradients,
    add_to,
    back,
    by_name,
    checked_wrt,
    evaluated,
    reduced,
    scaled,
)
from eventsolve.checks import count, first_entry, require_mapping, require_one_of, seconds_array, shown
from eventsolve.frozen import FrozenMapping
from eventsolve.jobs import Advance, advancing, bar_of
from eventsolve.kernels.tables import States
from eventsolve.losses import Evaluation, Loss, Readings, ReadInPieces, Sum, VoltageSamples
from eventsolve.losses.evaluation import Average, merged, require_loss
from eventsolve.mean_voltages import Trial, is_readout, mean_voltages_of
from eventsolve.network import Network
from eventsolve.quadrature import require_continuous
from eventsolve.reductions import USUAL, Reduction
from eventsolve.schedule import Layer
from eventsolve.solution import Maxima, Solution
from eventsolve.solve import MAX_SPIKES, Problem, checked_problem, solved
from eventsolve.spiketrains import SpikeTrains
from eventsolve.state import State
from eventsolve.typing import Reals

Places = NDArray[np.int64]
MOST_PIECES = 10**6
"""Each is solved by calls of its own, so that more would take hours."""


def value_and_grad_in_pieces(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    t_end: float,
    loss: Loss,
    pieces: int | ArrayLike,
    *,
    initial: State | None = None,
    wrt: Collection[str] | None = None,
    reduction: Reduction = USUAL,
    max_spikes: int = MAX_SPIKES,
    threads: int | None = None,
    progress: bool = False,
) -> tuple[float | Reals, StreamGradients]:
    """Return a loss of a long trial and its exact gradient, in the memory of a piece of it.

    The trial is cut, as by ``checkpoint_sequential`` of PyTorch: of the pieces only the states between them are kept,
    and all but the last are solved twice. Value and gradients are those of ``value_and_grad(solve(...), loss)`` to
    rounding: spikes are the same bit for bit, but what is added up has another order, and V and I at a cut are rounded
    once more.

    Parameters
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains
        As for :func:`eventsolve.solve`: of the whole trial.
    t_end : float
        Seconds.
    loss : Loss
        From :mod:`eventsolve.losses`, or one with a method ``readings(network, trial)`` that says what it reads. That
        is kept of the whole trial: all spikes of the populations on whose spikes it is, voltages at fixed times, mean
        and largest voltages.
    pieces : int or array_like
        How many, of equal lengths; or the times of the cuts between them in seconds, increasing.
    initial : State, optional
        As for :func:`eventsolve.solve`.
    wrt : collection of str, optional
        As in :func:`eventsolve.vjp`: only these gradients are computed; by default all.
    reduction : {"mean", "sum", "none"}
        As in :func:`eventsolve.value_and_grad`.
    max_spikes : int
        How many spikes a sample may have in a population, or in the populations of a cycle, within a piece.
    threads : int, optional
        As for :func:`eventsolve.solve`; the result has the same bits for any number.
    progress : bool
        Whether to show a progress bar on stderr: of the pieces, each forward and back.

    Returns
    -------
    value : float or ndarray of float64, (n_samples,)
    gradients : StreamGradients
        ``spike_times`` are of the inputs.

    Raises
    ------
    TypeError, ValueError
        As ``solve`` and ``value_and_grad``; if the loss does not say what it reads; for cuts that are not increasing
        and within the trial.
    SpikeBudgetError, RepeatedSpikeError
        As ``solve``; the error's ``solution`` is of the piece alone.
    UndefinedGradientError
        If a spike that matters grazes its threshold.
    """
    require_one_of("reduction", reduction, ("mean", "sum", "none"))
    asked = checked_wrt(wrt)
    whole = Problem(network, inputs, initial, count("max_spikes", max_spikes))
    t_end, n_samples, layers = checked_problem(whole, t_end)
    if reduction == "mean" and n_samples == 0:
        raise ValueError("the mean over an empty batch is not defined; choose reduction='sum' or 'none'")
    t_start = 0.0 if initial is None else initial.time
    stream = Stream(whole, layers, n_samples, _checked_edges(pieces, t_start, t_end), threads)
    split = split_loss(loss, network, stream.trial)
    bar = bar_of(progress, "differentiating in pieces", 2 * stream.n_pieces)
    with advancing(bar) as advance:
        values, gradients = _differentiated(stream, split, asked, reduction, advance)
    return reduced(values, reduction), gradients


def _differentiated(
    stream: Stream, split: SplitLoss, asked: tuple[str, ...], reduction: Reduction, advance: Advance
) -> tuple[Reals, StreamGradients]:
    """Return the loss of every sample, and the gradients; ``advance`` is told of every piece, forward and back."""
    n_samples, inputs = stream.n_samples, stream.whole.inputs
    states, noted, last = _forward(stream, split, advance)
    evaluation = Evaluation(np.zeros(n_samples))
    if split.whole is not None:
        evaluation = evaluated(Notes.of(stream, split.readings, _joined(stream, noted)), split.whole)
    scored = [
        average.scored(np.sum([of.averages[k] for of in noted], axis=0))
        for k, (_, average) in enumerate(split.averages)
    ]
    shares = _shares(evaluation, noted, stream)
    del noted
    scale = 1.0 / n_samples if reduction == "mean" else 1.0
    per_sample = reduction == "none"
    values, silent_samples = evaluation.values, evaluation.silent_samples
    for (weight, _), (of_average, _) in zip(split.averages, scored, strict=True):
        values = values + weight * of_average
    input_times = {
        name: np.array(evaluation.spike_times.get(name, np.zeros(trains.n_spikes))) * scale
        for name, trains in inputs.items()
    }
    total: list[list[Contribution]] = []
    adjoint = CutAdjoint(
        {layer.name: np.zeros((n_samples, 3, layer.size)) for layer in stream.layers},
        {name: np.zeros(under_way.times.size) for name, under_way in last.under_way.items()},
    )
    solution = last
    for k in reversed(range(stream.n_pieces)):
        if k < stream.n_pieces - 1:
            solution = stream.solution(k, states[k])
        share = shares[k]
        part = stream.part(k)
        for (weight, average), (_, slope) in zip(split.averages, scored, strict=True):
            nodes = solution.nodes(average.population)
            share = _together(share, average.share_back(solution, nodes, stream.trial, weight * part * slope))
        if split.running is not None:
            running = evaluated(solution, split.running)
            values = values + part * running.values
            share = _together(share, scaled(running, part))
        share, passing = _handed_back(solution, adjoint, scaled(share, scale))
        spike_times, contributions, start = back(
            solution,
            share,
            asked,
            per_sample,
            stream.threads,
            adjoint,
            stream.trial,
        )
        assert start is not None
        for name, into in input_times.items():
            into[stream.places[name][k]] = spike_times[name]
        if k:
            for chunk in contributions:
                for _, _, d_parameters in chunk:
                    d_parameters[:, 6:] = 0.0  # V and I at a cut, which are nothing that is given
            adjoint = CutAdjoint(
                start.neurons,
                {name: start.in_flight.get(name, 0.0) + more for name, more in passing.items()},
            )
        if not total:
            total = contributions
        else:
            for into_chunk, more in zip(total, contributions, strict=True):
                add_to(into_chunk, more)
        advance(1)
    fields = by_name(stream.layers, total, asked, per_sample)
    fields["spike_times"] = input_times if "spike_times" in asked else NotAskedFor("spike_times", asked)
    gradients = StreamGradients._made(
        **fields, silent_samples=silent_samples, n_samples=n_samples, per_sample=per_sample, wrt=asked
    )
    return values, gradients


# -- the pieces ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Stream:
    """A trial and its cuts: piece k is solved from the state at its start, with the inputs in it.

    ``edges`` are the ends of the pieces, t_start first.
    """

    whole: Problem
    layers: tuple[Layer, ...]
    n_samples: int
    edges: Reals
    threads: int | None

    @property
    def n_pieces(self) -> int:
        """Their number."""
        return self.edges.size - 1

    @property
    def trial(self) -> Trial:
        """From when to when it is, in seconds."""
        return float(self.edges[0]), float(self.edges[-1])

    @cached_property
    def places(self) -> Mapping[str, list[Places]]:
        """Which input spikes are in every piece."""
        return {name: self._by_piece(trains) for name, trains in self.whole.inputs.items()}

    def part(self, k: int) -> float:
        """Return how much of the trial a piece is."""
        whole = float(self.edges[-1] - self.edges[0])
        return float(self.edges[k + 1] - self.edges[k]) / whole if whole > 0.0 else 1.0

    def piece_of(self, times: Reals) -> Places:
        """Return the piece that each time is in: one at a cut in that before it; n_pieces for what is after t_end."""
        return np.searchsorted(self.edges[1:], times, side="left")

    def _by_piece(self, trains: SpikeTrains) -> list[Places]:
        pieces = self.piece_of(trains.times)
        first = np.searchsorted(np.sort(pieces), np.arange(1, self.n_pieces + 1))
        return np.split(np.argsort(pieces, kind="stable"), first)[: self.n_pieces]

    def solution(self, k: int, state: State | None) -> Solution:
        """Return the solution of a piece."""
        inputs = {}
        for name, trains in self.whole.inputs.items():
            at = self.places[name][k]
            columns = trains.times[at], trains.neurons[at], trains.samples[at]
            inputs[name] = SpikeTrains._trusted(*columns, trains.n_samples, trains.n_neurons)
        problem = self.whole._replace(inputs=inputs, initial=state)
        return solved(problem, float(self.edges[k + 1]), self.n_samples, self.layers, self.threads)


def _checked_edges(pieces: int | ArrayLike, t_start: float, t_end: float) -> Reals:
    """Return the ends of the pieces, t_start first, or raise a ValueError that says what is wrong with them."""
    if isinstance(pieces, int | np.integer) and not isinstance(pieces, bool):
        if not 1 <= pieces <= MOST_PIECES:
            raise ValueError(f"pieces must be from 1 to {MOST_PIECES}; got {pieces!r}")
        if pieces > 1 and not t_end > t_start:
            raise ValueError(
                f"pieces must be 1 where the trial ends as it starts, at {t_end!r} s; got {pieces!r}"
            )
        cuts = np.linspace(t_start, t_end, int(pieces) + 1)[1:-1]
    else:
        expected = "an int, how many, or a vector of cuts in seconds"
        cuts = seconds_array("pieces", pieces, expected)
        if cuts.ndim != 1:
            raise ValueError(f"pieces must be {expected}; got {shown(pieces)}")
    edges = np.concatenate([[t_start], cuts, [t_end]])
    bad = ~((edges[1:-1] > edges[:-2]) & (edges[1:-1] < t_end))
    if bad.any():
        raise ValueError(
            f"pieces must be cut at increasing times within ({t_start!r}, t_end = {t_end!r}); {first_entry(cuts, bad)}"
        )
    return edges


def _forward(
    stream: Stream, split: SplitLoss, advance: Advance
) -> tuple[list[State | None], list[Noted], Solution]:
    """Return the state at the start of every piece, what was noted of each, and the solution of the last."""
    states, notes = [stream.whole.initial], []
    for k in range(stream.n_pieces):
        solution = stream.solution(k, states[k])
        notes.append(_noted(stream, k, solution, split))
        if k < stream.n_pieces - 1:
            states.append(solution.final_state)
        advance(1)
    return states, notes, solution


def _handed_back(
    solution: Solution, adjoint: CutAdjoint, share: Evaluation
) -> tuple[Evaluation, dict[str, Reals]]:
    """Return a piece's share of the loss with what comes later by its spikes, and by those that were before it.

    The latter in the order in which they are on their way at its start.
    """
    spike_times = dict(share.spike_times)
    passing = {}
    for name, under_way in solution.under_way.items():
        own, later = under_way.places >= 0, adjoint.in_flight[name]
        total = np.array(spike_times.get(name, np.zeros(solution.spikes[name].n_spikes)))
        total[under_way.places[own]] += later[own]
        spike_times[name] = total
        n_before = sum(chunk.carried[name].times.size for chunk in solution._chunks if name in chunk.carried)
        passing[name] = np.zeros(n_before)
        passing[name][-1 - under_way.places[~own]] = later[~own]
    return replace(share, spike_times=spike_times), passing


# -- the loss --------------------------------------------------------------------------------------------------


class SplitLoss(NamedTuple):
    """The terms of a loss that are evaluated once, on ``readings`` of the whole trial, and those of every piece.

    ``averages`` are those on averages, with their weights.
    """

    whole: Loss | None
    running: Loss | None
    averages: list[tuple[float, Average]]
    readings: Readings


def split_loss(loss: Loss, network: Network, trial: Trial) -> SplitLoss:
    """Return how a loss is evaluated in pieces, or raise an error that says why it cannot be."""
    terms: dict[bool, list[tuple[float, Loss]]] = {False: [], True: []}
    averages: list[tuple[float, Average]] = []
    found = [Readings()]
    for weight, term in _terms(loss, 1.0):
        require_loss("loss", term)
        if not isinstance(term, ReadInPieces):
            raise TypeError(
                "loss must say what it reads to be differentiated in pieces, by a method readings(network, trial) as "
                f"those of eventsolve.losses; got {shown(term)}"
            )
        readings = _checked_readings(term.readings(network, trial), network, trial)
        if readings.average is not None:
            require_continuous(network, readings.average.population, *trial)
            averages.append((weight, readings.average))
            continue
        found.append(readings)
        terms[readings.running].append((weight, term))
    whole, running = (
        Sum([term for _, term in chosen], [weight for weight, _ in chosen]) if chosen else None
        for chosen in (terms[False], terms[True])
    )
    return SplitLoss(whole, running, averages, reduce(_both, found))


def _checked_readings(readings: object, network: Network, trial: Trial) -> Readings:
    """Return what a loss, which may be anybody's, says that it reads, with ascending times, or raise an error."""
    if not isinstance(readings, Readings):
        raise TypeError(f"readings of a loss must be eventsolve.losses.Readings; got {shown(readings)}")
    for what in ("spikes", "means", "maxima"):
        if not isinstance(getattr(readings, what), tuple | list):
            raise TypeError(f"{what} of readings must be a tuple; got {shown(getattr(readings, what))}")
    for mean in readings.means:
        if not (isinstance(mean, tuple) and len(mean) == 2):
            raise TypeError(f"means of readings must be pairs of population and rate; got {shown(mean)}")
    require_mapping("voltages of readings", readings.voltages, "population to times")
    for name in (
        *readings.spikes,
        *readings.voltages,
        *readings.maxima,
        *(key[0] for key in readings.means),
    ):
        network.population(name)
    voltages = {}
    for name, given in readings.voltages.items():
        times = np.unique(seconds_array(f"times at which {name!r} is read", given))
        outside = ~((times >= trial[0]) & (times <= trial[1]))
        if outside.any():
            raise ValueError(
                f"times at which {name!r} is read must lie in [{trial[0]!r}, t_end = {trial[1]!r}]; "
                f"{first_entry(times, outside)}"
            )
        voltages[name] = times
    return readings._replace(voltages=voltages)


def _terms(loss: Loss, weight: float) -> list[tuple[float, Loss]]:
    """Return the terms of a loss, of sums of sums too, with their weights."""
    if not isinstance(loss, Sum):
        return [(weight, loss)]
    weights = np.asarray(loss.weights).tolist()
    return [part for w, term in zip(weights, loss.terms, strict=True) for part in _terms(term, weight * w)]


def _both(a: Readings, b: Readings) -> Readings:
    """Return what two losses read."""
    voltages = {**a.voltages}
    for name, times in b.voltages.items():
        voltages[name] = np.union1d(voltages[name], times) if name in voltages else times
    return Readings(
        tuple(dict.fromkeys((*a.spikes, *b.spikes))),
        voltages,
        tuple(dict.fromkeys((*a.means, *b.means))),
        tuple(dict.fromkeys((*a.maxima, *b.maxima))),
    )


class Noted(NamedTuple):
    """What was read of a piece: of means and averages its share in them, beside maxima the start states."""

    spikes: dict[str, SpikeTrains]
    voltages: dict[str, Reals]
    means: dict[tuple[str, float], Reals]
    maxima: dict[str, Maxima]
    starts: dict[str, States]
    averages: list[Reals]


def _noted(stream: Stream, k: int, solution: Solution, split: SplitLoss) -> Noted:
    readings, voltages = split.readings, {}
    for name, times in readings.voltages.items():
        here = times[stream.piece_of(times) == k]
        shape = (stream.n_samples, stream.whole.network.population(name).size, 0)
        voltages[name] = solution.voltage(name, here) if here.size else np.empty(shape)
    return Noted(
        {
            name: trains
            for name, trains in solution.spikes.items()
            if name in readings.spikes or is_readout(solution, name)  # which has none
        },
        voltages,
        {(name, rate): mean_voltages_of(solution, name, rate, stream.trial) for name, rate in readings.means},
        {name: solution.largest_voltages(name) for name in readings.maxima},
        {name: solution.start_states(name) for name in readings.maxima},
        [
            stream.part(k) * average.share(solution.nodes(average.population), stream.trial)
            for _, average in split.averages
        ],
    )


class Notes(Solution):
    """What was noted of a whole trial, on which a loss is evaluated as it is on a solution."""

    readings: Readings
    noted: Noted

    @classmethod
    def of(cls, stream: Stream, readings: Readings, noted: Noted) -> Self:
        """Return the notes of a stream."""
        spikes = _ReadSpikes(noted.spikes)
        notes = cls._trusted(
            stream.whole.network, *stream.trial, spikes, (), stream.n_samples, stream.trial[0], ()
        )
        vars(notes).update(readings=readings, noted=noted)
        return notes

    def voltage(self, population: str, times: ArrayLike) -> Reals:
        """Return voltages at some of the times that were noted."""
        asked = seconds_array("times", times).reshape(-1)
        known = self.readings.voltages.get(population, np.empty(0))
        unread = asked[~np.isin(asked, known)]
        if unread.size:
            raise _not_read(f"the voltage of {population!r} at {float(unread[0])!r} s")
        if not asked.size:
            return np.empty((self.n_samples, self.network.population(population).size, 0))
        return self.noted.voltages[population][..., np.searchsorted(known, asked)]

    def mean_voltages(self, population: str, rate: float) -> Reals | None:
        """Return mean voltages that were noted."""
        if (population, rate) not in self.noted.means:
            raise _not_read(f"the mean voltage of {population!r} with rate {rate!r}")
        return self.noted.means[population, rate]

    def largest_voltages(self, population: str) -> Maxima:
        """Return largest voltages that were noted."""
        if population not in self.noted.maxima:
            raise _not_read(f"the largest voltage of {population!r}")
        return self.noted.maxima[population]

    def start_states(self, population: str) -> States:
        """Return the states at the start of the first piece."""
        return self.noted.starts[population]


class _ReadSpikes(FrozenMapping[str, SpikeTrains]):
    """The spikes that were noted; those of other populations are no missing key, but were not read."""

    __slots__ = ()

    def __getitem__(self, key: str) -> SpikeTrains:
        if key not in self._items:
            raise _not_read(f"the spikes of {key!r}")
        return self._items[key]

    def __contains__(self, key: object) -> bool:
        return key in self._items


def _not_read(what: str) -> ValueError:
    return ValueError(f"the loss reads {what}, which its readings do not name")


def _joined(stream: Stream, noted: Sequence[Noted]) -> Noted:
    """Return what was noted of all pieces as of one."""
    first = noted[0]
    inputs = stream.whole.inputs
    maxima = {
        name: reduce(
            _larger, zip((of.maxima[name] for of in noted), stream.edges[:-1].tolist(), strict=True)
        )[0]
        for name in first.maxima
    }
    return Noted(
        {
            name: inputs[name] if name in inputs else _by_sample([of.spikes[name] for of in noted])
            for name in first.spikes
        },
        {name: np.concatenate([of.voltages[name] for of in noted], axis=-1) for name in first.voltages},
        {key: sum(of.means[key] for of in noted[1:]) + first.means[key] for key in first.means},
        maxima,
        first.starts,
        [],
    )


def _larger(best: tuple[Maxima, float], other: tuple[Maxima, float]) -> tuple[Maxima, float]:
    """Return the larger of the largest voltages of two pieces in turn, each with when it begins.

    The voltage at a cut is that of the piece which ends there.
    """
    found, begin = other
    better = (found.value > best[0].value) & (found.time > begin)
    columns = zip(found, best[0], strict=True)
    return Maxima(*(np.where(better, new, old) for new, old in columns)), best[1]


def _by_sample(parts: Sequence[SpikeTrains]) -> SpikeTrains:
    """Return the spikes of all pieces, by sample, then time."""
    order = _order(parts)
    times, neurons, samples = (
        np.concatenate([getattr(part, column) for part in parts])[order]
        for column in ("times", "neurons", "samples")
    )
    return SpikeTrains._trusted(times, neurons, samples, parts[0].n_samples, parts[0].n_neurons)


def _order(parts: Sequence[SpikeTrains]) -> Places:
    """Return where each spike of all pieces, by sample, is in their concatenation."""
    return np.argsort(np.concatenate([part.samples for part in parts]), kind="stable")


def _shares(evaluation: Evaluation, noted: Sequence[Noted], stream: Stream) -> list[Evaluation]:
    """Return every piece's share in the derivatives of a loss: by the spikes and samples in it, and by all means."""
    spike_times: list[dict[str, Reals]] = [{} for _ in noted]
    for name, slopes in evaluation.spike_times.items():
        if name in stream.places:
            parts = [slopes[places] for places in stream.places[name]]
        else:
            trains = [of.spikes[name] for of in noted]
            in_turn = np.empty_like(slopes)
            in_turn[_order(trains)] = slopes
            parts = np.split(in_turn, np.cumsum([part.n_spikes for part in trains])[:-1])
        for share, part in zip(spike_times, parts, strict=True):
            share[name] = part
    voltages: list[dict[str, VoltageSamples]] = [{} for _ in noted]
    for name, samples in evaluation.voltages.items():
        pieces = stream.piece_of(samples.times)
        for k in np.unique(pieces):
            voltages[k][name] = VoltageSamples(*(column[pieces == k] for column in samples))
    nothing = np.empty(0)
    return [
        Evaluation(nothing, times, read, evaluation.means)
        for times, read in zip(spike_times, voltages, strict=True)
    ]


def _together(a: Evaluation, b: Evaluation) -> Evaluation:
    """Return the sum of what two losses have for derivatives."""
    times, voltages, means = dict(a.spike_times), dict(a.voltages), dict(a.means)
    for name, slopes in b.spike_times.items():
        times[name] = times[name] + slopes if name in times else slopes
    for name, samples in b.voltages.items():
        voltages[name] = merged([voltages[name], samples]) if name in voltages else samples
    for key, slopes in b.means.items():
        means[key] = means[key] + slopes if key in means else slopes
    return Evaluation(a.values, times, voltages, means)
