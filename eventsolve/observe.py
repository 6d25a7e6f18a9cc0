"""observe(): what a network's neurons did if their spikes are given, and gradients along spikes that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from eventsolve.checks import count, first_entry, require_one_of, shown
from eventsolve.chunks import chunk_ranges, map_chunks
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.interrupts import call
from eventsolve.kernels.observed import follow_given
from eventsolve.kernels.tables import Run, Spikes
from eventsolve.kernels.times import time_later
from eventsolve.kinds import require_shapes
from eventsolve.network import Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary
from eventsolve.solution import Chunk, Gathered, Graze, Solution, gather, own_spikes, places_of
from eventsolve.solve import MAX_SPIKES, Problem, checked_problem, solve
from eventsolve.solve_chunk import new_chunks, spikes_of_population
from eventsolve.spiketrains import SpikeTrains
from eventsolve.stability.margins import origins
from eventsolve.stability.parts import places_in
from eventsolve.tangents import jvp
from eventsolve.typing import Direction, Integers, Reals

SLOPES = ("measured", "threshold", "crossing")
UNDEFINED = ("raise", "zero")
STEEP = 2.0**100
"""In 1/s: with such slopes spikes stay where they are, and what they would move is exact all the same."""


@dataclass(frozen=True, eq=False, repr=False)
class Residual(Frozen):
    """What given spikes and a network say differently, of the populations whose spikes were given.

    Attributes
    ----------
    voltage : mapping of population to ndarray of float64, (n_spikes,)
        V - v_threshold just before every given spike, in the order of ``solution.spikes``: 0 to rounding where the
        network would spike just then. A spike that an arrival over a delta synapse triggers lifts V beyond the
        threshold: its residual is 0, or what V is short of the threshold even then.
    unreported : mapping of population to SpikeTrains
        When V comes to the threshold and is below it again, or the end is reached, without a spike that was given.
    excess : mapping of population to ndarray of float64
        How far V comes beyond the threshold until then, in the order of ``unreported``.
    """

    voltage: Mapping[str, Reals]
    unreported: Mapping[str, SpikeTrains]
    excess: Mapping[str, Reals]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, voltage="n[]", excess="m[]")

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = []
        for name, values in self.voltage.items():
            size = np.abs(values)
            beside = f"median {np.median(size):.3g}, largest {size.max():.3g}" if size.size else "no spikes"
            rows.append((name, f"|V - v_threshold|: {beside}; {self.unreported[name].n_spikes} not reported"))
        return "Residual", rows


@dataclass(frozen=True, eq=False, repr=False, init=False, kw_only=True)
class Observation(Solution):
    """What :func:`observe` gives: a :class:`Solution` whose spikes, or some of them, were given.

    ``voltage``, ``current``, ``vjp``, ``value_and_grad``, ``jvp``, ``adjoint_states`` and losses take it as any
    solution. What asks about the order of events of a network that was solved (``certify``, ``margins``, trust radii,
    ``condition``, ``one_sided``, ``final_state``) is a ValueError.

    Attributes
    ----------
    slope : {"measured", "threshold", "crossing"}
    residual : Residual
    slopes : mapping of population to ndarray of float64, (n_spikes,)
        V' in 1/s that each given spike is taken to have, whatever its sign; NaN where there is none: a spike that an
        arrival triggers moves with the arrival, and of "crossing" the ideal neuron may have none.
    undefined : {"raise", "zero"}
        What spikes whose slope is not positive do to a gradient.
    """

    slope: str = "measured"
    undefined: str = "raise"
    residual: Residual
    slopes: Mapping[str, Reals]
    _slopes: tuple[Mapping[tuple[str, ...], Reals], ...] = field(repr=False)

    def _summary(self) -> Summary:
        title, rows = super()._summary()
        observed = set(self.residual.voltage)
        said = [(name, f"{words}, given" if name in observed else words) for name, words in rows]
        said.append(("(slope)", self.slope))
        return title.replace("Solution", "Observation", 1), [*said, *self.residual._summary()[1]]

    @property
    def warnings(self) -> tuple[Graze, ...]:
        """Grazing peaks of the populations that were solved; given times are what they are."""
        return self.grazing

    def require_solved(self, what: str) -> None:
        """Raise a ValueError that says what is asked of the network's own spikes if some were given."""
        given = ", ".join(map(repr, self.residual.voltage))
        if given:
            raise ValueError(
                f"{what} of a network's own spikes, and those of {given} were given to eventsolve.observe; "
                "use eventsolve.solve"
            )

    def without_slope(self, time: float) -> str:
        """Return what a neuron does whose spike at a time has no derivative."""
        return (
            f"spiked at {time!r} s, where by slope={self.slope!r} its voltage does not rise (undefined='zero' takes "
            "no gradient through such spikes)"
        )

    def residual_along(self, direction: Direction, *, threads: int | None = None) -> dict[str, Reals]:
        """Return the derivative of the voltages of ``residual`` along a direction in the network's numbers.

        All given spikes are held at their times, whatever ``slope`` is; those of populations that are solved move.

        Parameters
        ----------
        direction : mapping of str to mapping
            As of :func:`eventsolve.jvp`, but for ``"spike_times"``.
        threads : int, optional
            As in :func:`eventsolve.solve`.

        Returns
        -------
        dict of population to ndarray, (n_spikes,)
            0 for a spike that an arrival triggers.

        Raises
        ------
        ValueError
            As :func:`eventsolve.jvp`; and if delays move which trigger spikes, as those move with them.
        """
        if "spike_times" in direction:
            raise ValueError("direction must not move spike_times: given spikes are held at their times")
        triggered = {
            name: np.concatenate(
                [np.empty(0, np.bool_), *(c.spikes[name].trigger >= 0 for c in self._chunks)]
            )
            for name in self.slopes
        }
        if "delay" in direction and any(these.any() for these in triggered.values()):
            raise ValueError(
                "delays cannot move where arrivals over delta synapses trigger spikes that are held"
            )
        held = copy(self)
        vars(held).update(slope="measured", _slopes=tuple(map(self._held, range(len(self._chunks)))))
        moved = jvp(held, direction, threads=threads)
        return {name: np.where(these, 0.0, -STEEP * moved[name]) for name, these in triggered.items()}

    def _held(self, k: int) -> dict[tuple[str, ...], Reals]:
        """Return the slopes of chunk k with which given spikes do not move: by |dV| / STEEP, which no bit knows."""
        slopes = {name: values.copy() for name, values in self._slopes[k].items()}
        for layer in layers_of(self.network):
            if layer.name in slopes:
                for name, places in places_in(layer, own_spikes(layer, self._chunks[k])).items():
                    if name in self.slopes:
                        slopes[layer.name][places] = STEEP
        return slopes

    def slopes_of_layer(self, k: int, layer: Layer) -> Reals:
        """Return V' before every spike of a layer in chunk k as gradients take it; empty where the threshold says."""
        if (self.slope, self.undefined) == ("threshold", "raise"):
            return np.empty(0)
        return self._slopes[k].get(layer.name, np.empty(0))


def observe(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    spikes: Mapping[str, SpikeTrains],
    t_end: float,
    slope: Literal["measured", "threshold", "crossing"] = "measured",
    *,
    undefined: Literal["raise", "zero"] = "raise",
    max_spikes: int = MAX_SPIKES,
    threads: int | None = None,
) -> Observation:
    r"""Return the solution of a network along given spikes, such as those that were measured on a chip.

    V and I are those that the given spikes make where they arrive, and V is reset where a neuron's own are: nothing
    is compared with a threshold. Populations whose spikes are not given are solved, with what the given ones send
    them.

    Gradients along an observation are those of what was measured, at the network's parameters. For a spike at
    :math:`t_k`, with the slope :math:`s_k` that is chosen, they are the exact derivatives of the spike times of the
    network whose thresholds are moved, spike by spike, so that it spikes when it was measured:

    .. math:: V(t) + (s_k - V'(t_k^-))\,(t - t_k^{given}) = v_{threshold} + r_k

    with :math:`r_k` (the residual), :math:`s_k - V'(t_k^-)` and :math:`t_k^{given}` held constant. The slopes are

    ``"measured"``
        :math:`s_k = V'(t_k^-) = (I - (V - v_{leak}))/\tau_{mem}` of the modelled V and I at the measured time. There
        is no term in t: the spikes move as those of a network with thresholds of its own for each. Whatever threshold
        the chip has, fixed or anew for each spike, this is its own gradient.
    ``"threshold"``
        :math:`s_k = (I - (v_{threshold} - v_{leak}))/\tau_{mem}`: modelled I, nominal threshold, as EventProp has it
        when measured spikes are replayed in the model (jaxsnn).
    ``"crossing"``
        The ideal neuron's own: V' at the time :math:`t^*` at which V of the last segment before the spike, carried on
        in both directions without another arrival, crosses v_threshold, times
        :math:`\exp(-(t_k - t^*)/\tau_{mem})`: what the closed forms of DelGrad take (Göltz et al., 2025).

    On the network's own spikes all three are the ordinary gradient, to rounding.

    Parameters
    ----------
    network : Network
        Cannot be changed afterwards.
    inputs : mapping of str to SpikeTrains
        As in :func:`solve`.
    spikes : mapping of str to SpikeTrains
        The spikes of some or all populations. An input may be among them if it is the same; an LI has none.
    t_end : float
        Seconds.
    slope : {"measured", "threshold", "crossing"}
    undefined : {"raise", "zero"}
        A gradient through a spike at which the slope is not positive, or does not exist, does not: either it is an
        UndefinedGradientError when it is asked for, or nothing flows through such spikes, which ``slopes`` shows.
    max_spikes : int
        For populations that are solved, as in :func:`solve`.
    threads : int, optional
        As in :func:`solve`.

    Returns
    -------
    Observation

    Raises
    ------
    ValueError
        As :func:`solve`; and if spikes name no population, are of another size or number of samples, lie after t_end,
        within the refractory period after the neuron's spike before, or are those of an LI or other than the inputs.
    TypeError
        If spikes are not a mapping to SpikeTrains.
    SpikeBudgetError, RepeatedSpikeError
        As :func:`solve`, for populations that are solved.

    Notes
    -----
    A given spike comes before what arrives at its very time, as a crossing does. Only where V is below the threshold
    then, and something arrives just then over a delta synapse that lifts V, that arrival triggers it: the spike moves
    with the arrival, and has no slope.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[9.0]])
    >>> inputs = {"in": es.SpikeTrains.from_lists([[[0.0]]])}
    >>> measured = es.observe(net, inputs, {"out": es.SpikeTrains.from_lists([[[4e-3]]])}, t_end=20e-3)
    >>> measured.residual.voltage["out"].round(3)  # V is beyond the threshold: the chip's is higher, or it is slower
    array([0.108])
    >>> float(es.vjp(measured, {"out": [1.0]}).v_threshold["out"][0].round(5))  # in seconds
    0.00681
    """
    require_one_of("slope", slope, SLOPES)
    require_one_of("undefined", undefined, ("raise", "zero"))
    t_end, n_samples, layers = checked_problem(
        Problem(network, inputs, None, count("max_spikes", max_spikes)), t_end
    )
    given = _checked_spikes(network, inputs, spikes, n_samples, t_end)
    trains, grazing = _all_spikes(network, inputs, given, t_end, max_spikes, threads)
    ranges = chunk_ranges(n_samples)
    new_chunk = new_chunks(layers, inputs, None)

    def work(k: int) -> tuple[Chunk, list[Trajectory]]:
        chunk = new_chunk(*ranges[k])
        return chunk, [_follow(layer, chunk, trains, *ranges[k], t_end) for layer in layers]

    followed = map_chunks(work, len(ranges), threads)
    residual, slopes = _by_population(layers, [trajectories for _, trajectories in followed], given, slope)
    observation = Observation._trusted(
        network, 0.0, t_end, trains, grazing, n_samples, -1.0, tuple(chunk for chunk, _ in followed)
    )
    vars(observation).update(
        slope=slope,
        undefined=undefined,
        residual=residual,
        slopes=FrozenMapping(slopes),
        _slopes=tuple(
            {
                layer.name: _for_kernels(layer, trajectory, given, slope, undefined)
                for layer, trajectory in zip(layers, trajectories, strict=True)
                if not given.keys().isdisjoint(layer.name)
            }
            for _, trajectories in followed
        ),
    )
    return observation


def _checked_spikes(
    network: Network, inputs: Mapping[str, SpikeTrains], spikes: object, n_samples: int, t_end: float
) -> dict[str, SpikeTrains]:
    """Return the given spikes of neurons by population, or raise an error that says what is wrong with them."""
    if not isinstance(spikes, Mapping):
        raise TypeError(f"spikes must be a mapping of population to SpikeTrains; got {shown(spikes)}")
    given: dict[str, SpikeTrains] = {}
    for name, trains in spikes.items():
        where = f"spikes[{name!r}]"
        if name not in network.populations:
            raise ValueError(
                f"spikes name {shown(name)}, which is not a population; there are {list(network.populations)}"
            )
        population = network.population(name)
        if not isinstance(trains, SpikeTrains):
            raise TypeError(f"{where} must be SpikeTrains; got {shown(trains)}")
        if (trains.n_samples, trains.n_neurons) != (n_samples, population.size):
            raise ValueError(
                f"{where} must have {n_samples} samples of {population.size} neurons; "
                f"got {trains.n_samples} of {trains.n_neurons}"
            )
        if population.neuron is None:
            if trains != inputs[name]:
                raise ValueError(f"{where} must be the spikes of inputs[{name!r}], or be left out")
            continue
        if not population.neuron.spiking:
            if trains.n_spikes:
                raise ValueError(f"{where} must be empty: {name!r} are LI neurons, which do not spike")
            continue
        if (trains.times > t_end).any():
            raise ValueError(
                f"{where} must not be after t_end = {t_end!r} s; {first_entry(trains.times, trains.times > t_end)}"
            )
        _check_refractory(where, trains, population.parameter("t_ref"), t_end)
        given[name] = trains
    return given


def _check_refractory(where: str, trains: SpikeTrains, t_ref: Reals, t_end: float) -> None:
    order = np.lexsort((trains.times, trains.neurons, trains.samples))
    times, neurons, samples = trains.times[order], trains.neurons[order], trains.samples[order]
    free_at, rest = time_later(times[:-1], 0.0, t_ref[neurons[:-1]])
    early = (times[1:] < free_at) | ((times[1:] == free_at) & (free_at == t_end) & (rest > 0.0))
    early &= (neurons[1:] == neurons[:-1]) & (samples[1:] == samples[:-1])
    if early.any():
        k = int(np.argmax(early))
        raise ValueError(
            f"{where} must not lie within the neuron's refractory period: neuron {neurons[k]} in sample {samples[k]} "
            f"spikes at {float(times[k])!r} and {float(times[k + 1])!r} s, and its t_ref is "
            f"{float(t_ref[neurons[k]])!r} s"
        )


def _all_spikes(
    network: Network,
    inputs: Mapping[str, SpikeTrains],
    given: Mapping[str, SpikeTrains],
    t_end: float,
    max_spikes: int,
    threads: int | None,
) -> tuple[FrozenMapping[str, SpikeTrains], tuple[Graze, ...]]:
    """Return the spikes of all populations: inputs, given ones, and solved ones, which take given ones as inputs."""
    populations = network.populations
    silent = [name for name, p in populations.items() if p.neuron is not None and not p.neuron.spiking]
    solved = [name for name in populations if name not in (*inputs, *given, *silent)]
    found: dict[str, SpikeTrains] = {**inputs, **given}
    grazing: tuple[Graze, ...] = ()
    n_samples = next((trains.n_samples for trains in found.values()), 1)
    for name in silent:
        nothing = np.empty(0, np.int64)
        found[name] = SpikeTrains(np.empty(0), nothing, nothing, n_samples, populations[name].size)
    if solved:
        cut = solve(
            network.cut_at(given, without=silent),
            {**inputs, **given},
            t_end,
            max_spikes=max_spikes,
            threads=threads,
        )
        found.update({name: cut.spikes[name] for name in solved})
        grazing = cut.grazing
    return FrozenMapping({name: found[name] for name in populations}), grazing


class Trajectory(NamedTuple):
    """A layer of a chunk whose spikes are known: of each V - v_threshold, V' and the ideal neuron's V'.

    ``missed`` are sample, neuron, beginning and excess of excursions that were not reported, (n_missed, 4).
    """

    own: Spikes
    residual: Reals
    measured: Reals
    threshold: Reals
    crossing: Reals
    missed: Reals


def _follow(
    layer: Layer, chunk: Chunk, trains: Mapping[str, SpikeTrains], low: int, high: int, t_end: float
) -> Trajectory:
    """Put a layer's spikes into a chunk, in the order in which they occur, and return what its neurons are at each.

    What triggers a spike is known once it is known which spikes of the layer come before it at its own time: so they
    are gone through again, as often as that has changed.
    """
    own = _listed(layer, trains, low, high)
    placed = np.zeros(own.times.size, np.bool_)
    while True:
        if layer.cyclic:
            chunk.queued[layer.name] = own
        gathered = gather(layer, chunk)
        origin = origins(layer, gathered, own)
        received, rests, causes, synapses, waiting, u, i, ideal, missed = call(
            follow_given,
            layer.by_target,
            Run(gathered.spikes, own, chunk.start[layer.name], -1.0, t_end),
            origin,
            placed,
        )
        own = own._replace(arrivals=received, low=rests)
        order = np.arange(own.times.size)
        triggered = causes >= 0
        if layer.efferents is not None:
            bundles = np.full(order.size, -1)
            bundles[triggered] = layer.bundles[synapses[triggered]]
            ranks = _ranks(gathered, origin, own)
            own = own._replace(
                trigger=np.where(triggered, ranks[causes] * layer.efferents.delay.size + bundles, -1)
            )
            order = np.lexsort((own.neurons, bundles, causes, triggered, rests, own.times, _samples(own)))
        if np.array_equal(order, np.arange(order.size)) and np.array_equal(placed, ~waiting):
            break
        placed = ~waiting[order]
        own = Spikes(
            own.times[order],
            own.neurons[order],
            own.offsets,
            own.arrivals[order],
            own.trigger[order],
            own.low[order],
        )
    if layer.efferents is None:
        chunk.spikes[layer.name[0]] = own
    else:
        chunk.queued[layer.name] = own
        for name, places in places_of(layer, own).items():
            chunk.spikes[name] = spikes_of_population(own, places, layer.slice_of(name).start)
    neurons = layer.neurons
    c = (neurons.v_threshold - neurons.v_leak)[own.neurons]
    rate = 1.0 / neurons.tau_mem[own.neurons]
    measured, threshold, crossing = (
        np.where(triggered, np.nan, slope) for slope in ((i - u) * rate, (i - c) * rate, ideal)
    )
    residual = np.where(triggered, np.minimum(u - c, 0.0), u - c)
    return Trajectory(own, residual, measured, threshold, crossing, missed)


def _listed(layer: Layer, trains: Mapping[str, SpikeTrains], low: int, high: int) -> Spikes:
    """Return the spikes of a layer's populations in samples low to high, by sample, time and neuron."""
    pieces = [slice(trains[name].offsets[low], trains[name].offsets[high]) for name in layer.name]
    times = np.concatenate(
        [trains[name].times[piece] for name, piece in zip(layer.name, pieces, strict=True)]
    )
    neurons = np.concatenate(
        [
            trains[name].neurons[piece] + layer.slice_of(name).start
            for name, piece in zip(layer.name, pieces, strict=True)
        ]
    )
    samples = np.concatenate(
        [trains[name].samples[piece] for name, piece in zip(layer.name, pieces, strict=True)]
    )
    order = np.lexsort((neurons, times, samples))
    n = order.size
    offsets = np.searchsorted(samples[order], np.arange(low, high + 1))
    return Spikes(times[order], neurons[order], offsets, np.zeros(n, np.int64), np.full(n, -1), np.zeros(n))


def _samples(own: Spikes) -> Integers:
    return np.repeat(np.arange(own.offsets.size - 1), np.diff(own.offsets))


def _ranks(gathered: Gathered, origin: Integers, own: Spikes) -> Integers:
    """Return where each spike stands in its sample as the event queue numbers them: from outside, then own ones."""
    spikes = gathered.spikes
    outside = np.concatenate([[0], np.cumsum(origin < 0)])
    before = np.repeat(outside[spikes.offsets[:-1]], np.diff(spikes.offsets))
    n_outside = np.repeat(np.diff(outside[spikes.offsets]), np.diff(spikes.offsets))
    first_own = np.repeat(own.offsets[:-1], np.diff(spikes.offsets))
    ranks: Integers = np.where(origin < 0, outside[:-1] - before, n_outside + origin - first_own)
    return ranks


def _by_population(
    layers: tuple[Layer, ...],
    trajectories: list[list[Trajectory]],
    given: Mapping[str, SpikeTrains],
    slope: str,
) -> tuple[Residual, dict[str, Reals]]:
    """Return what is said of the spikes of every given population."""
    voltage: dict[str, Reals] = {}
    slopes: dict[str, Reals] = {}
    unreported: dict[str, SpikeTrains] = {}
    excess: dict[str, Reals] = {}
    for k, layer in enumerate(layers):
        for name in layer.name:
            if name not in given:
                continue
            place = layer.slice_of(name)
            residuals, chosen, missed = [np.empty(0)], [np.empty(0)], [np.empty((0, 4))]
            for (low, _), chunk in zip(chunk_ranges(given[name].n_samples), trajectories, strict=True):
                trajectory = chunk[k]
                places = places_in(layer, trajectory.own)[name]
                residuals.append(trajectory.residual[places])
                chosen.append(getattr(trajectory, slope)[places])
                here = trajectory.missed[
                    (trajectory.missed[:, 1] >= place.start) & (trajectory.missed[:, 1] < place.stop)
                ]
                missed.append(here + np.array([low, -place.start, 0.0, 0.0]))
            voltage[name], slopes[name] = np.concatenate(residuals), np.concatenate(chosen)
            rows = np.concatenate(missed)
            rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]
            rows = rows[np.append(True, (np.diff(rows[:, :3], axis=0) != 0.0).any(axis=1))[: len(rows)]]
            excess[name] = rows[:, 3].copy()
            unreported[name] = SpikeTrains(
                rows[:, 2],
                rows[:, 1].astype(np.int64),
                rows[:, 0].astype(np.int64),
                given[name].n_samples,
                given[name].n_neurons,
            )
    return Residual(FrozenMapping(voltage), FrozenMapping(unreported), FrozenMapping(excess)), slopes


def _for_kernels(
    layer: Layer, trajectory: Trajectory, given: Mapping[str, SpikeTrains], slope: str, undefined: str
) -> Reals:
    """Return V' before every spike of a layer as gradients take it; the network's own of populations not given."""
    slopes = trajectory.threshold.copy()
    for name, places in places_in(layer, trajectory.own).items():
        if name in given:
            chosen = getattr(trajectory, slope)[places]
            slopes[places] = np.where(chosen > 0.0, chosen, np.inf) if undefined == "zero" else chosen
    return slopes
