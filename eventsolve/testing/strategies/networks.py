"""Networks of any size, with or without cycles and delays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st

from eventsolve.checks import real_array, shown
from eventsolve.network import LI, LIF, Network
from eventsolve.testing.strategies.kernels import once_compiled
from eventsolve.testing.strategies.options import Draw, Range, check_choices, check_names, check_range

RATIOS = (4.0, 2.0, 1.0, 0.5, 3.7, 1.0 + 1e-9, 20.0)
"""tau_mem / tau_syn: usual ones, equal ones and nearly equal ones, far ones."""
VARY = {
    "v_threshold": (1.0, 0.8, 1.25),
    "v_reset": (0.0, 0.2, -0.3),
    "v_leak": (0.0, 0.3, -0.2),
    "t_ref": (0.0, 1e-3, 2.3e-3),
    "v_initial": (0.0, 0.4, -0.5),
    "i_initial": (0.0, 1.0, -0.5),
    "tau_syn": (5e-3, 3e-3, 10e-3),
    "tau_mem": (),
}
"""Parameters that may vary, and what they may be, the default first; tau_mem is what ``ratios`` make of tau_syn."""

_DELAYS = (0.37e-3, 1.13e-3, 2.71e-3)  # no sums and differences that are multiples of the grid of input times


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
        Names in :data:`VARY` of the parameters that may differ from their defaults, from population to population, and
        from neuron to neuron. Without "tau_mem" one of the ratios is that of the whole network.
    readout : bool
        Whether "out" are leaky integrators without threshold.

    Raises
    ------
    ValueError
        For ranges, ratios or names that make no sense.
    """
    check_range("layers", layers, 1)
    check_range("size", size, 1)
    numbers = real_array("ratios", ratios, "some finite numbers > 0")
    if numbers.ndim != 1 or not numbers.size or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"ratios must be some finite numbers > 0; got {shown(ratios)}")
    check_names("vary", vary, VARY)
    check_choices(recurrent=recurrent, skip=skip, delays=delays, readout=readout)
    return once_compiled(
        _networks(layers, size, recurrent, skip, delays, tuple(numbers.tolist()), tuple(vary), readout)
    )


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
    if "tau_mem" not in vary:
        ratios = (draw(st.sampled_from(ratios)),)
    names = [*"abcdefghijklmnopqrstuvwxyz"[: n_layers - 1], "out"]
    network = Network()
    network.add_input("in", draw(st.integers(*size)))
    for name in names:
        n = draw(st.integers(*size))
        li = readout and name == "out"
        neuron = draw(_neurons(n, ratios, vary, li))
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
    kind: Any = LI if readout else LIF
    has = [entry.name for entry in fields(kind) if entry.name in vary and entry.name != "tau_mem"]
    values = {name: _one_or_each(draw, n, VARY[name]) for name in has if draw(st.booleans())}
    tau_syn = values.pop("tau_syn", VARY["tau_syn"][0])
    tau_mem = np.multiply(_one_or_each(draw, n, ratios), tau_syn)
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
