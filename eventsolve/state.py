"""Where a solution stopped: what is kept of it, what that may be, and which networks may go on from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from eventsolve.checks import (
    count,
    first_entry,
    instance,
    non_negative,
    real,
    require_mapping,
    seconds,
    shown,
)
from eventsolve.frozen import Frozen
from eventsolve.interrupts import call
from eventsolve.kernels.cells import states_at
from eventsolve.kernels.tables import Neurons, States
from eventsolve.kernels.times import time_after, time_later
from eventsolve.network import Network
from eventsolve.schedule import Layer, layers_of
from eventsolve.shown import Summary, ms, several
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Key


@dataclass(frozen=True, eq=False, repr=False)
class State(Frozen):
    """Where a solution stopped, for :func:`solve` to go on from, bit for bit as if it had not stopped.

    Attributes
    ----------
    time : float
        Seconds: the solution's t_end.
    n_samples : int
    in_flight : mapping of str to SpikeTrains
        Spikes up to then that have synapses over which they have not arrived.
    low : mapping of str to ndarray of float64, (n_spikes,)
        What their times leave of exact sums, in seconds: :mod:`eventsolve.kernels.times`.
    turns : mapping of str to ndarray of int64, (n_spikes,)
        The order in which those occurred that populations of one cycle made at one time.
    layers : mapping of population names to States
        Every neuron's state after its last event.
    neurons : mapping of population names to Neurons
        The numbers of the neurons, by which V and I have moved since. A network with others goes on from V and I as
        they are at ``time``.
    delays : mapping of tuple to float or matrix
        Those with which spikes were sent, in seconds, as ``Network.with_delays`` takes them. A network with others goes
        on where no spike is on its way over them.
    """

    time: float
    n_samples: int
    in_flight: Mapping[str, SpikeTrains]
    low: Mapping[str, NDArray[np.float64]] = field(repr=False)
    turns: Mapping[str, NDArray[np.int64]] = field(repr=False)
    layers: Mapping[tuple[str, ...], States] = field(repr=False)
    neurons: Mapping[tuple[str, ...], Neurons] = field(repr=False)
    delays: Mapping[Key, Any] = field(repr=False)

    def _summary(self) -> Summary:
        title = f"State({several(self.n_samples, 'sample')} at {ms(self.time)})"
        return title, [
            (name, f"{several(t.n_spikes, 'spike')} on the way") for name, t in self.in_flight.items()
        ]

    def __post_init__(self) -> None:
        vars(self)["time"] = non_negative("time", seconds("time", self.time))
        count("n_samples", self.n_samples)
        for name, of in (
            ("in_flight", "population to SpikeTrains"),
            ("low", "population to what times leave"),
            ("turns", "population to orders"),
            ("layers", "populations to States"),
            ("neurons", "populations to Neurons"),
            ("delays", "(pre, post) to delays"),
        ):
            require_mapping(name, getattr(self, name), of)
        super().__post_init__()
        for name in self.in_flight:
            self._check_under_way(name)
        for layer, states in self.layers.items():
            self._check_states(layer, states)
        if set(self.neurons) != set(self.layers):
            raise ValueError(f"neurons must be those of {list(self.layers)}; got {list(self.neurons)}")
        for layer, neurons in self.neurons.items():
            _check_neurons(f"neurons[{layer!r}]", neurons, self.layers[layer].u.shape[1])
        for key, delay in self.delays.items():
            _check_delay(key, delay)

    def _check_under_way(self, name: str) -> None:
        where, trains = f"in_flight[{name!r}]", self.in_flight[name]
        instance(where, trains, SpikeTrains)
        if trains.n_samples != self.n_samples:
            raise ValueError(f"{where} must have {self.n_samples} samples; got {trains.n_samples}")
        late = trains.times > self.time
        if late.any():
            raise ValueError(
                f"{where} must not be after the state's {self.time!r} s; {first_entry(trains.times, late)}"
            )
        for what, of in (("low", self.low), ("turns", self.turns)):
            kind = np.dtype(np.float64 if what == "low" else np.int64)
            _check_column(f"{what}[{name!r}]", of.get(name), kind, (trains.n_spikes,))
        far = np.abs(self.low[name]) > np.spacing(trains.times)
        if far.any():
            raise ValueError(
                f"low[{name!r}] must be what rounding leaves of the times; {first_entry(self.low[name], far)}"
            )

    def _check_states(self, layer: tuple[str, ...], states: States) -> None:
        where = f"layers[{layer!r}]"
        instance(where, states, States)
        n = next((c.shape[1] for c in states if isinstance(c, np.ndarray) and c.ndim == 2), 0)
        for what, column in zip(States._fields, states, strict=True):
            endless = what not in ("u", "i")
            _check_column(
                f"{where}.{what}", column, np.dtype(np.float64), (self.n_samples, n), endless=endless
            )
        if (states.time > self.time).any():
            raise ValueError(
                f"{where}.time must not be after the state's {self.time!r} s; "
                f"{first_entry(states.time, states.time > self.time)}"
            )

    def require_fit(self, argument: str, network: Network) -> None:
        """Raise a ValueError that says what differs if it is the state of a network of other populations or cycles."""
        sizes = {layer.name: layer.size for layer in layers_of(network)}
        given = {name: states.u.shape[1] for name, states in self.layers.items()}
        own = {name for names in given for name in names}
        wanted = {name for names in sizes for name in names}
        if own != wanted:
            lacks, has = sorted(wanted - own), sorted(own - wanted)
            raise ValueError(
                f"{argument} must be of the same populations of neurons as the network; it "
                + " and ".join(
                    [f"lacks {', '.join(map(repr, lacks))}"] * bool(lacks)
                    + [f"has {', '.join(map(repr, has))}, which the network lacks"] * bool(has)
                )
            )
        for names in sizes:
            if names not in given:
                before = next(other for other in given if names[0] in other)
                raise ValueError(
                    f"{argument} must be of a network with the same cycles, as populations of a cycle are solved "
                    f"together: {_together(names)} here, where {argument} has {_together(before)}; keep synapses that "
                    "one of the two lacks, with weight 0"
                )
            if sizes[names] != given[names]:
                raise ValueError(
                    f"{argument} must have as many neurons as the network: {sizes[names]} in {_together(names)}; got "
                    f"{given[names]}"
                )
        for name in {p.pre: None for p in network.projections.values()}:
            trains, size = self.in_flight.get(name), network.population(name).size
            if trains is None:
                raise ValueError(
                    f"{argument}.in_flight must have the spikes of every population that projects; it lacks {name!r}"
                )
            if trains.n_neurons != size:
                raise ValueError(
                    f"{argument}.in_flight[{name!r}] must be of the {size} neurons of {name!r}; got those of "
                    f"{trains.n_neurons}"
                )

    def require_arrivals(self, argument: str, network: Network) -> None:
        """Raise a ValueError if a spike on its way would arrive at another time than by the delay it was sent with.

        So it would where delays differ, or synapses: it would come twice, never, or earlier or later.
        """
        now = delays_of(network)
        for key in (*now, *(key for key in self.delays if key not in now)):
            trains = self.in_flight.get(key[0])
            before: Any = self.delays.get(key)
            after: Any = now.get(key)
            if trains is None or not trains.n_spikes or _alike(before, after):
                continue
            # of a neuron's spikes the last arrives last
            order = np.lexsort((self.low[key[0]], trains.times))
            last = dict(zip(trains.neurons[order].tolist(), order.tolist(), strict=True))
            shape = (network.population(key[1]).size, trains.n_neurons)
            if np.shape(before) not in ((), shape):
                raise ValueError(
                    f"{argument}.delays[{key!r}] must be a number or have shape {shape}; got {np.shape(before)}"
                )
            pre, post, *delays = _beside(before, after, shape, np.array(sorted(last)))
            spikes = np.array([last[neuron] for neuron in pre.tolist()], np.int64)
            times, rests = trains.times[spikes], self.low[key[0]][spikes]
            arrivals = [time_later(times, rests, delay) for delay in delays]
            due = [time_after(arrival, rest, self.time, 0.0) for arrival, rest in arrivals]
            moved = np.flatnonzero(due[0] | due[1])
            if moved.size:
                k = int(moved[0])
                was, now_is = (_delay_in_words(float(delay[k])) for delay in delays)
                raise ValueError(
                    f"{argument} has a spike of neuron {int(pre[k])} of {key[0]!r}, sent at {float(times[k])!r} s, for "
                    f"which {key} to neuron {int(post[k])} had {was} and has {now_is} in this network, so that "
                    f"it would not arrive as it was sent; go on with the delays of {argument}.delays until it has "
                    f"arrived, or with dataclasses.replace({argument}, delays=...) if it was sent with others"
                )

    def taken_over(self, argument: str, layer: Layer, low: int, high: int) -> States:
        """Return copies of some samples' states of a layer of a network, from which that goes on by its own numbers.

        If these are others, V and I are brought to the state's time by those that they followed.

        Raises
        ------
        ValueError
            If a threshold of the network is not above V; ``argument`` names the state.
        """
        states = States(*(column[low:high].copy() for column in self.layers[layer.name]))
        before, after = self.neurons[layer.name], layer.neurons
        decisive = ("tau_mem", "tau_syn", "v_leak", "v_threshold")
        if all(np.array_equal(getattr(before, name), getattr(after, name)) for name in decisive):
            return states
        at = States(*call(states_at, before, states, self.time))
        u, level = at.u + (before.v_leak - after.v_leak), after.v_threshold - after.v_leak
        # of what float64 cannot tell from the threshold nothing else is known than that it did not spike
        terms = (
            abs(states.u) + abs(states.i) + abs(before.v_leak) + abs(after.v_leak) + abs(after.v_threshold)
        )
        over = np.argwhere(u - level > 8 * np.finfo(np.float64).eps * terms)
        if over.size:
            sample, number = (int(k) for k in over[0])
            population, neuron = layer.neuron_of(number)
            raise ValueError(
                f"{argument} must have V below the threshold of every neuron; that of neuron {neuron} of "
                f"{population!r} in sample {low + sample} is {float(u[sample, number] + after.v_leak[number])!r}, and "
                f"its v_threshold {float(after.v_threshold[number])!r}"
            )
        return at._replace(u=np.minimum(u, np.nextafter(level, -np.inf)))


def _together(names: tuple[str, ...]) -> str:
    """Name a population, or those of a cycle."""
    return repr(names[0]) if len(names) == 1 else f"the cycle of {', '.join(map(repr, names))}"


def _check_column(
    where: str, column: object, kind: np.dtype[Any], shape: tuple[int, ...], *, endless: bool = False
) -> None:
    """Raise a ValueError unless it is an array of that kind and shape, of finite numbers, or infinite ones too."""
    if not (isinstance(column, np.ndarray) and column.dtype == kind and column.shape == shape):
        raise ValueError(f"{where} must be {kind} of shape {shape}; got {shown(column)}")
    bad = np.isnan(column) if endless else ~np.isfinite(column)
    if bad.any():
        raise ValueError(f"{where} must be {'numbers' if endless else 'finite'}; {first_entry(column, bad)}")


def _check_neurons(where: str, neurons: Neurons, size: int) -> None:
    instance(where, neurons, Neurons)
    for name, column in zip(Neurons._fields, neurons, strict=True):
        endless = name == "v_threshold"
        _check_column(f"{where}.{name}", column, np.dtype(np.float64), (size,), endless=endless)
        if name in ("tau_mem", "tau_syn") and (column <= 0).any():
            raise ValueError(f"{where}.{name} must be > 0; {first_entry(column, column <= 0)}")


def _check_delay(key: Key, delay: Any) -> None:
    where = f"delays[{key!r}]"
    if not (isinstance(key, tuple) and len(key) in (2, 3) and all(isinstance(name, str) for name in key)):
        raise ValueError(f"delays must be by (pre, post) or (pre, post, name); got {shown(key)}")
    values = delay.data if sp.issparse(delay) else delay
    if isinstance(values, np.ndarray):
        if values.dtype != np.float64 or np.ndim(delay) != 2:
            raise ValueError(f"{where} must be a number of seconds, or like the weight; got {shown(delay)}")
    else:
        values = np.array(real(where, values, "a number of seconds, or like the weight"))
    bad = ~((values >= 0) & (values < math.inf))
    if bad.any():
        raise ValueError(f"{where} must be finite and >= 0; {first_entry(values, bad)}")


def _alike(one: Any, other: Any) -> bool:
    """Return whether delays are the same, of the same synapses."""
    if one is other:
        return True
    if sp.issparse(one) and sp.issparse(other):
        columns = ((of.indptr, of.indices, of.data) for of in (one, other))
        return one.shape == other.shape and all(map(np.array_equal, *columns))
    if sp.issparse(one) or sp.issparse(other) or one is None or other is None:
        return False
    return np.array_equal(one, other)


def _beside(
    one: Any, other: Any, shape: tuple[int, int], senders: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Return pre, post and both delays of the synapses of some neurons whose delays differ; NaN where there is none."""
    links = [_links(of, shape, senders) for of in (one, other)]
    every = np.union1d(links[0][0], links[1][0])
    delays = np.full((2, every.size), np.nan)
    for row, (numbers, values) in zip(delays, links, strict=True):
        row[np.searchsorted(every, numbers)] = values
    differ = ~(delays[0] == delays[1])
    post, pre = np.divmod(every[differ], shape[1])
    return pre, post, *delays[:, differ]


def _links(
    delays: Any, shape: tuple[int, int], senders: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the synapses of some neurons, numbered row by row, and their delays."""
    if delays is None:
        return np.empty(0, np.int64), np.empty(0)
    if sp.issparse(delays):
        stored = delays[:, senders].tocoo()
        return stored.row * np.int64(shape[1]) + senders[stored.col], stored.data
    everywhere = np.arange(shape[0])[:, None] * np.int64(shape[1]) + senders
    return everywhere.reshape(-1), np.broadcast_to(delays, shape)[:, senders].reshape(-1)


def _delay_in_words(delay: float) -> str:
    return "no synapse" if math.isnan(delay) else f"a delay of {delay!r} s"


def neurons_of(network: Network) -> dict[tuple[str, ...], Neurons]:
    """Return the numbers of a network's neurons, as a State has them."""
    return {layer.name: layer.neurons for layer in layers_of(network)}


def delays_of(network: Network) -> dict[Key, Any]:
    """Return the delays of a network's projections, as a State has them."""
    return {key: delay for layer in layers_of(network) for key, delay in layer.delays.items()}


def longest_delays(delays: Mapping[Key, Any]) -> dict[str, float]:
    """Return the longest delay that each population's spikes have, in seconds."""
    longest: dict[str, float] = {}
    for (pre, *_), delay in delays.items():
        values = delay.data if sp.issparse(delay) else np.asarray(delay)
        longest[pre] = max(longest.get(pre, 0.0), float(values.max(initial=0.0)))
    return longest


def initial_states(layer: Layer, n_samples: int) -> States:
    """Return the states at time 0 of all neurons of a layer."""
    if n_samples == 1:
        return layer.initial
    return States(*(np.repeat(column, n_samples, axis=0) for column in layer.initial))
