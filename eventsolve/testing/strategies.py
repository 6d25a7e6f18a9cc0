"""Hypothesis strategies for networks, inputs, losses and whole problems; needs the extra ``testing``.

What they draw shrinks to one neuron, one sample, one input spike, default parameters and round numbers, and prints as
the Python that makes it again. :func:`problems` also keeps away from where an exact answer says nothing about an
approximate one: no crossing is nearly a graze, no peak nearly a spike, and no spike nearly ties with an
event whose order matters.

>>> from hypothesis import given
>>> from eventsolve.testing import check_implementation, strategies
>>> @given(strategies.problems(recurrent=False, delays=False))
... def test_mine(problem):
...     check_implementation(mine, problem, spikes_atol=1e-9, rtol=1e-6)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from eventsolve import losses as es_losses
from eventsolve.adjoint import vjp
from eventsolve.checks import shown
from eventsolve.losses import Loss
from eventsolve.network import LI, LIF, Network
from eventsolve.spiketrains import SpikeTrains
from eventsolve.testing.canonical import PROBLEMS
from eventsolve.testing.firing import Wanted, firing
from eventsolve.testing.problem import Problem
from eventsolve.testing.separation import separation

Range: TypeAlias = tuple[int, int]
Draw: TypeAlias = Callable[..., Any]

RATIOS = (4.0, 2.0, 1.0, 0.5, 3.7, 1.0 + 1e-9, 20.0)
"""tau_mem / tau_syn: usual ones, equal ones and nearly equal ones, far ones."""
VARY = {
    "v_threshold": (1.0, 0.8, 1.25),
    "v_reset": (0.0, 0.2, -0.3),
    "v_leak": (0.0, 0.3, -0.2),
    "t_ref": (0.0, 1e-3, 2.3e-3),
    "v_initial": (0.0, 0.4, -0.5),
    "i_initial": (0.0, 1.0, -0.5),
}
"""Parameters that may differ from their defaults, and what they may be; the default first."""
LOSSES = (
    "TTFSCrossEntropy",
    "TargetTimeMSE",
    "RelativeMSE",
    "MaxVoltageCrossEntropy",
    "MeanVoltageCrossEntropy",
    "InstantCrossEntropy",
)
"""Losses that :func:`losses` draws; those on voltages get a readout without threshold."""

_TAU_SYN = (5e-3, 3e-3, 10e-3)
_DELAYS = (0.37e-3, 1.13e-3, 2.71e-3)  # no sums and differences that are multiples of the grid of input times
_GRID = 1e-4


# -- networks --------------------------------------------------------------------------------------------------------


def networks(
    *,
    layers: Range = (1, 2),
    size: Range = (1, 3),
    recurrent: bool | None = None,
    skip: bool | None = None,
    delays: bool | None = None,
    ratios: Sequence[float] = RATIOS,
    vary: Sequence[str] = tuple(VARY),
    readout: bool = False,
) -> st.SearchStrategy[Network]:
    """Draw networks "in" -> "a" -> ... -> "out".

    Parameters
    ----------
    layers : (int, int)
        Fewest and most populations of neurons.
    size : (int, int)
        Fewest and most neurons of a population, and channels of the input.
    recurrent : bool, optional
        Whether a population projects to itself or back to an earlier one; drawn if None.
    skip : bool, optional
        Whether the input also projects to "out" where there are populations between them; drawn if None.
    delays : bool, optional
        Whether projections have delays, one or one per synapse; drawn if None.
    ratios : sequence of float
        tau_mem / tau_syn to choose from, the simplest first.
    vary : sequence of str
        Names in :data:`VARY` of the parameters that may differ from their defaults.
    readout : bool
        Whether "out" are leaky integrators without threshold.

    Raises
    ------
    ValueError
        For ranges, ratios or names that make no sense.
    """
    _check_range("layers", layers, 1)
    _check_range("size", size, 1)
    if not len(ratios) or not all(np.isfinite(r) and r > 0 for r in ratios):
        raise ValueError(f"ratios must be some finite numbers > 0; got {shown(ratios)}")
    for name in vary:
        if name not in VARY:
            raise ValueError(f"vary must be among {', '.join(VARY)}; got {shown(name)}")
    return _networks(layers, size, recurrent, skip, delays, tuple(ratios), tuple(vary), readout)


@st.composite
def _networks(
    draw: Draw,
    layers: Range,
    size: Range,
    recurrent: bool | None,
    skip: bool | None,
    delays: bool | None,
    ratios: tuple[float, ...],
    vary: tuple[str, ...],
    readout: bool,
) -> Network:
    n_layers = draw(st.integers(*layers))
    names = [*"abcdefghijklmnopqrstuvwxyz"[: n_layers - 1], "out"]
    network = Network()
    network.add_input("in", draw(st.integers(*size)))
    for name in names:
        n = draw(st.integers(*size))
        li = readout and name == "out"
        neuron = draw(_neurons(n, ratios, tuple(v for v in vary if not li or hasattr(LI, v)), li))
        network.add_population(name, n, neuron)
    delayed = draw(st.booleans()) if delays is None else delays
    for pre, post in zip(["in", *names], names, strict=False):
        _connect(draw, network, pre, post, _forward(), delayed)
    if n_layers > 1 and (draw(st.booleans()) if skip is None else skip):
        _connect(draw, network, "in", "out", _forward(), delayed)
    spiking = names[:-1] if readout else names
    if spiking and (draw(st.booleans()) if recurrent is None else recurrent):
        first = draw(st.sampled_from(spiking))
        back = draw(st.sampled_from(spiking[: spiking.index(first) + 1]))
        _connect(draw, network, first, back, st.integers(-20, 20).map(lambda k: k / 10), delayed)
    return network


@st.composite
def _neurons(draw: Draw, n: int, ratios: tuple[float, ...], vary: tuple[str, ...], readout: bool) -> LIF | LI:
    tau_syn = draw(st.sampled_from(_TAU_SYN))
    ratio = _one_or_each(draw, n, ratios)
    values = {name: _one_or_each(draw, n, VARY[name]) for name in vary if draw(st.booleans())}
    tau_mem = np.multiply(ratio, tau_syn)
    kind: Any = LI if readout else LIF
    return kind(tau_mem if tau_mem.ndim else float(tau_mem), tau_syn, **values)  # type: ignore[no-any-return]


def _one_or_each(draw: Draw, n: int, choices: tuple[float, ...]) -> Any:
    """Draw one number for all, or one for each of n."""
    if n > 1 and len(choices) > 1 and draw(st.booleans()):
        return [draw(st.sampled_from(choices)) for _ in range(n)]
    return draw(st.sampled_from(choices))


def _forward() -> st.SearchStrategy[float]:
    """Draw weights that tend to drive: more are positive than negative."""
    return (st.integers(20, 120) | st.integers(-60, 19)).map(lambda k: k / 10)


def _connect(
    draw: Draw, network: Network, pre: str, post: str, weights: st.SearchStrategy[float], delayed: bool
) -> None:
    shape = network.population(post).size, network.population(pre).size
    weight = np.reshape([draw(weights) for _ in range(shape[0] * shape[1])], shape)
    delay: Any = 0.0
    if delayed:
        each = draw(st.booleans())
        drawn = [draw(st.sampled_from(_DELAYS)) for _ in range(weight.size if each else 1)]
        delay = np.reshape(drawn, shape) if each else drawn[0]
    network.connect(pre, post, weight, delay=delay)


# -- inputs ----------------------------------------------------------------------------------------------------------


def inputs(
    network: Network, *, samples: Range = (1, 2), spikes: Range = (1, 3), until: float = 20e-3
) -> st.SearchStrategy[dict[str, SpikeTrains]]:
    """Draw spikes for every input of a network, at multiples of 0.1 ms, never two at one time in a sample.

    Parameters
    ----------
    network : Network
    samples : (int, int)
        Fewest and most samples.
    spikes : (int, int)
        Fewest and most spikes per sample and channel, on average over the channels of an input.
    until : float
        Seconds; the last time at which a spike may be.

    Raises
    ------
    ValueError
        For ranges that make no sense, or an end before there is room for the spikes.
    """
    _check_range("samples", samples, 0)
    _check_range("spikes", spikes, 0)
    sizes = {p.name: p.size for p in network.populations.values() if p.neuron is None}
    slots = int(until / _GRID + 1e-9) + 1 if np.isfinite(until) and until >= 0 else 0
    if slots < 4 * spikes[1] * sum(sizes.values()):
        raise ValueError(
            f"until must leave room for {spikes[1]} spikes of {sum(sizes.values())} channels; got {until!r}"
        )
    return _inputs(sizes, samples, spikes, slots)


@st.composite
def _inputs(
    draw: Draw, sizes: dict[str, int], samples: Range, spikes: Range, slots: int
) -> dict[str, SpikeTrains]:
    trains: dict[str, list[list[list[float]]]] = {name: [] for name in sizes}
    for _ in range(draw(st.integers(*samples))):
        free = set(range(slots))
        for name, n in sizes.items():
            sample: list[list[float]] = [[] for _ in range(n)]
            places = st.sampled_from(sorted(free))
            chosen = draw(
                st.lists(
                    st.tuples(places, st.integers(0, n - 1)),
                    min_size=spikes[0] * n,
                    max_size=spikes[1] * n,
                    unique_by=lambda spike: spike[0],
                )
            )
            for place, neuron in sorted(chosen):
                sample[neuron].append(float(f"{place * _GRID:.6g}"))
                free.remove(place)
            trains[name].append(sample)
    return {name: SpikeTrains.from_lists(lists, n_neurons=sizes[name]) for name, lists in trains.items()}


# -- losses ----------------------------------------------------------------------------------------------------------


def losses(
    network: Network, n_samples: int, *, kinds: Sequence[str] = LOSSES, population: str = "out"
) -> st.SearchStrategy[Loss]:
    """Draw losses on a population of a network.

    Parameters
    ----------
    network : Network
    n_samples : int
    kinds : sequence of str
        Names in :data:`LOSSES`; those that do not fit the population, on spikes or on voltages, are left out.
    population : str

    Raises
    ------
    ValueError
        For an unknown kind, or if none fits.
    """
    _check_kinds(kinds)
    output = network.population(population)
    fitting = [
        kind for kind in kinds if output.neuron is not None and _on_spikes(kind) == output.neuron.spiking
    ]
    if not fitting:
        raise ValueError(f"kinds must have one that fits {population!r}; got {shown(kinds)}")
    labels = st.lists(st.integers(0, max(output.size - 1, 0)), min_size=n_samples, max_size=n_samples)
    return st.one_of([_loss(kind, population, labels, (n_samples, output.size)) for kind in fitting])


@st.composite
def _loss(draw: Draw, kind: str, population: str, labels: st.SearchStrategy[list[int]], shape: Range) -> Loss:
    loss: Any = getattr(es_losses, kind)
    if kind == "TargetTimeMSE":
        # before or after the trial: near a spike, t - target would be all rounding, or all time step
        times = st.sampled_from([0.0, 0.1, 0.2])
        return loss(population, np.reshape([draw(times) for _ in range(shape[0] * shape[1])], shape))  # type: ignore[no-any-return]
    arguments: dict[str, Any] = {}
    if kind == "TTFSCrossEntropy":
        arguments = {"tau0": 2e-3, "tau1": 10e-3, "alpha": draw(st.sampled_from([0.0, 3e-3, 0.1]))}
    elif kind == "RelativeMSE":
        arguments = {"gap": draw(st.sampled_from([0.0, 5e-3]))}
    return loss(population, np.array(draw(labels), dtype=np.int64), **arguments)  # type: ignore[no-any-return]


def _on_spikes(kind: str) -> bool:
    return "Voltage" not in kind and kind != "InstantCrossEntropy"


# -- problems --------------------------------------------------------------------------------------------------------


def problems(
    *,
    layers: Range = (1, 2),
    size: Range = (1, 3),
    recurrent: bool | None = None,
    skip: bool | None = None,
    delays: bool | None = None,
    ratios: Sequence[float] = RATIOS,
    vary: Sequence[str] = tuple(VARY),
    samples: Range = (1, 2),
    input_spikes: Range = (1, 3),
    rate: tuple[float, float] = (0.5, 5.0),
    kinds: Sequence[str] = LOSSES,
    t_end: float = 50e-3,
    min_slope: float = 0.05,
    min_voltage: float = 0.02,
    min_gap: float = 2e-6,
) -> st.SearchStrategy[Problem]:
    """Draw problems whose spikes and gradients are well away from any change of the order of events.

    Weights are drawn, then scaled neuron by neuron until each spikes as often as wanted and its distances hold.

    Parameters
    ----------
    layers, size, recurrent, skip, delays, ratios, vary
        As for :func:`networks`.
    samples, input_spikes
        As for :func:`inputs`.
    rate : (float, float)
        Fewest and most spikes of every neuron, on average over the samples.
    kinds : sequence of str
        Losses, as for :func:`losses`. For one on spike times every output spikes in every sample.
    t_end : float
        Seconds; the input ends at two fifths of it.
    min_slope : float
        Of tau_mem V'/v_threshold just before every spike.
    min_voltage : float
        In units of v_threshold: how far every local maximum of a voltage stays below the threshold.
    min_gap : float
        Seconds: between a spike, or the end of its refractory period, and any other event of the neuron, and t_end.

    Raises
    ------
    ValueError
        For arguments that make no sense.
    """
    _check_kinds(kinds)
    bounds = (min_slope, min_voltage, min_gap)
    for name, value in zip(("min_slope", "min_voltage", "min_gap"), bounds, strict=True):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and >= 0; got {value!r}")
    if not 0 <= rate[0] <= rate[1]:
        raise ValueError(f"rate must be (fewest, most) spikes >= 0; got {shown(rate)}")
    if not (np.isfinite(t_end) and t_end > 0):
        raise ValueError(f"t_end must be finite and > 0; got {t_end!r}")
    _check_range("layers", layers, 1)
    readouts = sorted({not _on_spikes(kind) for kind in kinds})
    drawn = {
        readout: networks(
            layers=(max(layers[0], 1 + readout), max(layers[1], 1 + readout)),
            size=size,
            recurrent=recurrent,
            skip=skip,
            delays=delays,
            ratios=ratios,
            vary=vary,
            readout=readout,
        )
        for readout in readouts
    }
    _check_range("samples", samples, 1)
    _check_range("input_spikes", input_spikes, 0)
    _compile()
    return _problems(drawn, samples, input_spikes, rate, tuple(kinds), t_end, bounds)


@cache
def _compile() -> None:
    """Solve what takes every kernel, lest Hypothesis judge the speed of draws by the one that compiles."""
    for name in ("two layers", "a recurrent layer", "a readout"):
        problem = PROBLEMS[name]()
        separation(problem.solution, "hidden")
        vjp(problem.solution, {})


@st.composite
def _problems(
    draw: Draw,
    drawn: dict[bool, st.SearchStrategy[Network]],
    samples: Range,
    input_spikes: Range,
    rate: tuple[float, float],
    kinds: tuple[str, ...],
    t_end: float,
    bounds: tuple[float, float, float],
) -> Problem:
    readout = draw(st.sampled_from(list(drawn)))
    network = draw(drawn[readout])
    trains = draw(inputs(network, samples=samples, spikes=input_spikes, until=0.4 * t_end))
    n_samples = next(iter(trains.values())).n_samples
    loss = draw(losses(network, n_samples, kinds=kinds))
    always = () if readout else ("out",)
    fires = firing(network, Wanted(trains, t_end, rate, bounds, always))
    return reject() if fires is None else Problem(fires, trains, t_end, loss)


# -- arguments -------------------------------------------------------------------------------------------------------


def _check_range(name: str, given: Range, least: int) -> None:
    whole = len(given) == 2 and all(isinstance(k, int) and not isinstance(k, bool) for k in given)
    if not (whole and least <= given[0] <= given[1]):
        raise ValueError(f"{name} must be (fewest, most), integers >= {least}; got {shown(given)}")


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in LOSSES:
            raise ValueError(f"kinds must be among {', '.join(LOSSES)}; got {shown(kind)}")
    if not kinds:
        raise ValueError(f"kinds must name at least one of {', '.join(LOSSES)}; got none")
