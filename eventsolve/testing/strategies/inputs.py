"""Input spikes on a grid, so that they are easy to read."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from eventsolve.checks import instance, seconds
from eventsolve.network import Network
from eventsolve.spiketrains import SpikeTrains
from eventsolve.testing.strategies.kernels import once_compiled
from eventsolve.testing.strategies.options import Draw, Range, check_choices, check_range

_GRID = 1e-4


def inputs(
    network: Network,
    *,
    samples: Range = (1, 2),
    spikes: Range = (1, 3),
    together: bool | None = None,
    until: float = 20e-3,
) -> st.SearchStrategy[dict[str, SpikeTrains]]:
    """Draw spikes for every input of a network, at multiples of 0.1 ms.

    Parameters
    ----------
    network : Network
    samples : (int, int)
        Fewest and most samples.
    spikes : (int, int)
        Fewest and most spikes per sample and channel, on average over the channels of an input.
    together : bool, optional
        Whether channels spike at the same few times, so that a neuron has several arrivals in one time step, of which
        hardware on a clock may keep the last alone; or never two at one time in a sample. Drawn if None.
    until : float
        Seconds; the last time at which a spike may be.

    Raises
    ------
    ValueError
        For ranges that make no sense, or an end before there is room for the spikes.
    """
    instance("network", network, Network)
    check_range("samples", samples, 0)
    check_range("spikes", spikes, 0)
    check_choices(together=together)
    sizes = {p.name: p.size for p in network.populations.values() if p.neuron is None}
    until = seconds("until", until)
    require_room("until", until, until, spikes, sum(sizes.values()))
    return once_compiled(_inputs(sizes, samples, spikes, together, _slots(until)))


def require_room(name: str, given: float, until: float, spikes: Range, n_channels: int) -> None:
    """Raise a ValueError unless spikes of so many channels find room until a time, which follows from an argument."""
    if _slots(until) < 4 * spikes[1] * n_channels:
        raise ValueError(
            f"{name} must leave room for {spikes[1]} input spikes of {n_channels} channels, {4 * _GRID:g} s for each; "
            f"got {given!r}"
        )


def _slots(until: float) -> int:
    return int(until / _GRID + 1e-9) + 1 if np.isfinite(until) and until >= 0 else 0


@st.composite
def _inputs(
    draw: Draw,
    sizes: dict[str, int],
    samples: Range,
    spikes: Range,
    together: bool | None,
    slots: int,
) -> dict[str, SpikeTrains]:
    trains: dict[str, list[list[list[float]]]] = {name: [] for name in sizes}
    for _ in range(draw(st.integers(*samples))):
        free = set(range(slots))
        shared = sum(sizes.values()) > 1 and (draw(st.booleans()) if together is None else together)
        if shared:  # as many times as one channel can have spikes, for all
            most = max(1, 2 * spikes[1])
            free = set(
                draw(st.lists(st.sampled_from(range(slots)), min_size=most, max_size=most, unique=True))
            )
        for name, n in sizes.items():
            sample: list[list[float]] = [[] for _ in range(n)]
            places = st.sampled_from(sorted(free))
            chosen = draw(
                st.lists(
                    st.tuples(places, st.integers(0, n - 1)),
                    min_size=spikes[0] * n,
                    max_size=spikes[1] * n,
                    unique_by=(lambda spike: spike) if shared else (lambda spike: spike[0]),
                )
            )
            for place, neuron in sorted(chosen):
                sample[neuron].append(float(f"{place * _GRID:.6g}"))
                if not shared:
                    free.remove(place)
            trains[name].append(sample)
    return {name: SpikeTrains.from_lists(lists, n_neurons=sizes[name]) for name, lists in trains.items()}
