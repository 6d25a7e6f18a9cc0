"""jvp(): how all spikes, and a loss, move along one direction, forwards through a solution's recorded spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eventsolve.adjoint import UndefinedGradientError, evaluated, require_solution
from eventsolve.checks import require_one_of
from eventsolve.chunks import chunk_ranges, joined, map_chunks
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.interrupts import call
from eventsolve.kernels.tables import Efferents, Sampled, Spikes
from eventsolve.kernels.tangents import Direction as Step
from eventsolve.kernels.tangents import Feedback, move
from eventsolve.losses import Loss, VoltageSamples
from eventsolve.mean_voltages import Means, means_forward
from eventsolve.patterns import Pattern, direction_of, scales_of
from eventsolve.reductions import USUAL, Reduction
from eventsolve.sampled import joined_samples, sampled_of
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary, brief, listed, several
from eventsolve.solution import Solution, gather
from eventsolve.stability.margins import origins
from eventsolve.stability.parts import given, places_in
from eventsolve.typing import Direction, Reals


@dataclass(frozen=True, eq=False, repr=False)
class Tangents(Frozen, Mapping[str, Reals]):
    """Derivatives along a direction: a mapping of population to how its spikes move, and how a loss does.

    Attributes
    ----------
    spike_times : mapping of population to ndarray, (n_spikes,)
        dt_k in seconds for a step of 1 along the direction, inputs included, in the order of ``solution.spikes``;
        ``tangents["out"]`` is ``tangents.spike_times["out"]``.
    loss : float, ndarray of float64, (n_samples,), or None
        The derivative of the loss, None without one.
    solution : Solution
    """

    spike_times: Mapping[str, Reals]
    loss: float | Reals | None
    solution: Solution = field(repr=False)

    def __post_init__(self) -> None:
        require_solution(self.solution)
        self.solution.require_times("spike_times", self.spike_times)
        self.solution.require_losses("loss", self.loss)
        super().__post_init__()

    def _summary(self) -> Summary:
        title = f"Tangents({several(sum(times.size for times in self.spike_times.values()), 'spike')})"
        largest = {name: np.abs(times).max(initial=0.0) for name, times in self.spike_times.items()}
        rows: list[tuple[str, object]] = [
            ("spike_times", listed(f"{name} by up to {most:.3g} s" for name, most in largest.items()))
        ]
        return title, [*rows, ("loss", "none" if self.loss is None else brief(self.loss))]

    def __getitem__(self, population: str) -> Reals:
        return self.spike_times[population]

    def __iter__(self) -> Iterator[str]:
        return iter(self.spike_times)

    def __len__(self) -> int:
        return len(self.spike_times)


def jvp(
    solution: Solution,
    direction: Direction,
    loss: Loss | None = None,
    *,
    reduction: Reduction = USUAL,
    threads: int | None = None,
) -> Tangents:
    """Return the derivative of every spike time, and of a loss, along one direction, exactly.

    One pass forwards, whatever the number of parameters: where the gradient would only be multiplied by a direction,
    this is the product; and it has all spikes at once, for which :func:`vjp` goes back once each. For cotangents c and
    g = vjp(solution, c), sum_k c_k dt_k is the sum of all products of ``g``'s numbers with the direction's.

    Parameters
    ----------
    solution : Solution
    direction : mapping of str to mapping
        How far each number moves for a step of 1, as :class:`Gradients` has its derivatives:
        ``{"weight": {("in", "hidden"): dw}, "tau_mem": {"hidden": 1e-3}}``. Numbers have either sign; a single number
        stands for a whole projection or population; what is not named does not move. ``"spike_times"`` moves inputs;
        spikes of other populations are emitted so much later, in addition to what else moves them.
    loss : Loss, optional
        From :mod:`eventsolve.losses`.
    reduction : {"mean", "sum", "none"}
        Of the loss over the batch, as in :func:`value_and_grad`.
    threads : int, optional
        As in ``solve``; the result has the same bits for any number.

    Returns
    -------
    Tangents
        A mapping of population to dt_k, with ``.loss``.

    Raises
    ------
    TypeError
        If the solution, the direction or the loss is something else.
    ValueError
        For unknown names, numbers that do not fit or are not finite, or a loss that does not fit the solution.
    UndefinedGradientError
        If a spike that moves grazes its threshold.

    Notes
    -----
    At exact ties the derivative is that of the order that the solution took, as for :func:`vjp`.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[9.0]])
    >>> solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 20e-3)
    >>> dt = es.jvp(solution, {"weight": {("in", "out"): 1.0}})
    >>> bool(dt["out"][0] < 0)  # a larger weight makes the spike come earlier
    True
    """
    require_one_of("reduction", reduction, ("mean", "sum", "none"))
    require_solution(solution)
    steps = direction_of(solution, direction)
    evaluation = None if loss is None else evaluated(solution, loss)
    n = solution.n_samples
    if evaluation is not None and reduction == "mean" and n == 0:
        raise ValueError("the mean over an empty batch is not defined; choose reduction='sum' or 'none'")
    voltage_samples = {} if evaluation is None else evaluation.voltages
    means = {} if evaluation is None else evaluation.means
    moved, by_sample = _forward(solution.from_start(), steps, voltage_samples, means, threads)
    derivative: Any = None
    if evaluation is not None:
        for name, slopes in evaluation.spike_times.items():
            np.add.at(by_sample, solution.spikes[name].samples, slopes * moved[name])
        derivative = by_sample
        if reduction != "none":
            derivative = float(np.sum(derivative) / (n if reduction == "mean" else 1))
    return Tangents(FrozenMapping(moved), derivative, solution)


def _forward(
    solution: Solution,
    steps: Pattern,
    voltage_samples: Mapping[str, VoltageSamples],
    means: Means,
    threads: int | None,
) -> tuple[dict[str, Reals], Reals]:
    """Return how far every spike moves, by population, and what voltage samples add to each loss, (n_samples,)."""
    layers = layers_of(solution.network)
    ranges = chunk_ranges(solution.n_samples)
    moved = {name: np.zeros(trains.n_spikes) for name, trains in solution.spikes.items()}
    moved |= {name: shift.copy() for name, shift in steps.get("spike_times", {}).items()}
    solved = {
        name: np.ones(trains.n_spikes, np.bool_)
        if solution.stopped is None
        else trains.times <= solution.stopped.until[trains.samples]
        for name, trains in solution.spikes.items()
    }

    def work(k: int) -> tuple[dict[str, Reals], Reals]:
        low, high = ranges[k]
        emitted = {}
        for name, trains in solution.spikes.items():
            piece = slice(trains.offsets[low], trains.offsets[high])
            emitted[name] = moved[name][piece][solved[name][piece]]
        sampled = {name: sampled_of(r, low, high) for name, r in voltage_samples.items()}
        return _chunk_forward(solution, layers, k, low, emitted, sampled, means, steps)

    parts = map_chunks(work, len(solution._chunks), threads)
    for name, values in moved.items():
        values[solved[name]] = joined([np.empty(0), *(found[name] for found, _ in parts)])
    return moved, joined([np.empty(0), *(change for _, change in parts)])


def _chunk_forward(
    solution: Solution,
    layers: tuple[Layer, ...],
    k: int,
    low: int,
    emitted: Mapping[str, Reals],
    sampled: Mapping[str, Sampled],
    means: Means,
    steps: Pattern,
) -> tuple[dict[str, Reals], Reals]:
    """Return how far every spike of chunk k moves and what samples add to its losses; sources before targets."""
    chunk = solution._chunks[k]
    moved, loss = dict(emitted), np.zeros(chunk.n_samples)
    for layer in layers:
        run, gathered = solution.run_of(layer, chunk)
        own = run.own
        places = places_in(layer, own)
        late = np.empty(own.times.size)
        for name, place in places.items():
            late[place] = emitted[name]
        outside = gather(layer, chunk._replace(queued={})).spikes if layer.cyclic else gathered.spikes
        sent, scales = given(gathered, moved), scales_of(layer, steps)
        efferents = _NO_EFFERENTS if layer.efferents is None else layer.efferents
        found, change, grazing = call(
            move,
            layer.by_target,
            run,
            Feedback(layer.cyclic, layer.n_external, efferents, outside),
            solution.slopes_of_layer(k, layer),
            joined_samples(layer, sampled, chunk.n_samples),
            Step(scales, origins(layer, gathered, own), sent, late),
        )
        if grazing >= 0:
            raise _undefined(solution, layer, own, grazing, low)
        loss += change + means_forward(solution, layer, k, run, means, sent, scales)
        for name, place in places.items():
            moved[name] = found[place]
    return moved, loss


def _undefined(
    solution: Solution, layer: Layer, own: Spikes, grazing: int, low: int
) -> UndefinedGradientError:
    sample = low + int(np.searchsorted(own.offsets, grazing, side="right")) - 1
    name, neuron = layer.neuron_of(int(own.neurons[grazing]))
    return UndefinedGradientError(
        f"the derivative is not defined: neuron {neuron} of {name!r} in sample {sample} "
        f"{solution.without_slope(float(own.times[grazing]))}, and the direction moves it"
    )


def _no_efferents() -> Efferents:
    nothing, nowhere = np.empty(0), np.empty(0, np.int64)
    truth = np.empty(0, np.bool_)
    return Efferents(
        nowhere, nothing, nowhere, truth, nowhere, np.empty(0, np.int32), nothing, nowhere, truth
    )


_NO_EFFERENTS = _no_efferents()
"""Of a layer without a cycle, whose spikes arrive nowhere within it."""
