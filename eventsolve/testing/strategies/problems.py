"""Whole problems, well away from any change of the order of events.

:func:`problems` has the options of all strategies that it draws from, by their own names: a call gives the few that it
cares for, as is usual of Hypothesis.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import reject
from hypothesis import strategies as st

from eventsolve.certify import certify
from eventsolve.checks import duration, non_negative, real, seconds, shown
from eventsolve.network import Network
from eventsolve.problem import Problem
from eventsolve.testing.firing import Wanted, firing
from eventsolve.testing.strategies.inputs import inputs, require_room
from eventsolve.testing.strategies.kernels import once_compiled
from eventsolve.testing.strategies.losses import LOSSES, check_kinds, losses, on_spikes
from eventsolve.testing.strategies.networks import RATIOS, VARY, networks
from eventsolve.testing.strategies.options import Draw, Range, check_choices, check_range, is_pair

INPUT = 0.4
"""The part of a trial in which there is input."""


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
    together: bool | None = None,
    rate: tuple[float, float] = (0.5, 5.0),
    kinds: Sequence[str] = LOSSES,
    t_end: float = 50e-3,
    min_slope: float = 0.05,
    min_voltage: float = 0.02,
    min_gap: float = 2e-6,
) -> st.SearchStrategy[Problem]:
    """Draw problems whose spikes and gradients are well away from any change of the order of events.

    Weights are drawn, then scaled neuron by neuron until each spikes as often as wanted and its margins hold. Margins
    are those of :func:`eventsolve.margins`, of a solution that :func:`eventsolve.certify` proves.

    Parameters
    ----------
    layers, size, recurrent, skip, delays, ratios, vary
        As for :func:`networks`.
    samples, input_spikes, together
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
        In units of v_threshold: how far every local maximum of a voltage stays below the threshold, and how far beyond
        it V would go, without a reset, behind every spike.
    min_gap : float
        Seconds: between a spike, or the end of its refractory period, and every arrival, and between a spike and t_end.

    Raises
    ------
    ValueError
        For arguments that make no sense.
    """
    check_kinds(kinds)
    bounds = (
        non_negative("min_slope", min_slope),
        non_negative("min_voltage", min_voltage),
        non_negative("min_gap", seconds("min_gap", min_gap)),
    )
    if not (is_pair(rate) and 0 <= real("rate", rate[0]) <= real("rate", rate[1])):
        raise ValueError(f"rate must be (fewest, most) spikes >= 0; got {shown(rate)}")
    t_end = duration("t_end", t_end)
    check_range("layers", layers, 1)
    readouts = sorted({not on_spikes(kind) for kind in kinds})
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
    check_range("samples", samples, 1)
    check_range("input_spikes", input_spikes, 0)
    check_choices(together=together)
    require_room("t_end", t_end, INPUT * t_end, input_spikes, size[1])
    return once_compiled(_problems(drawn, samples, input_spikes, together, rate, tuple(kinds), t_end, bounds))


@st.composite
def _problems(
    draw: Draw,
    drawn: dict[bool, st.SearchStrategy[Network]],
    samples: Range,
    input_spikes: Range,
    together: bool | None,
    rate: tuple[float, float],
    kinds: tuple[str, ...],
    t_end: float,
    bounds: tuple[float, float, float],
) -> Problem:
    readout = draw(st.sampled_from(list(drawn)))
    network = draw(drawn[readout])
    trains = draw(
        inputs(network, samples=samples, spikes=input_spikes, together=together, until=INPUT * t_end)
    )
    n_samples = next(iter(trains.values())).n_samples
    loss = draw(losses(network, n_samples, kinds=kinds))
    always = () if readout else ("out",)
    fires = firing(network, Wanted(trains, t_end, rate, bounds, always))
    if fires is None:
        return reject()
    problem = Problem(fires, trains, t_end, loss)
    return problem if certify(problem.solution).proven else reject()
