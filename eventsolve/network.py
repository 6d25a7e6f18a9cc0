"""Networks: populations of neurons and the projections between them, checked at the door.

A :class:`Network` is a ``networkx.MultiDiGraph`` whose nodes are populations and whose edges are projections. It is
assembled with ``add_input``, ``add_population`` and ``connect``, and cannot be changed once it has been solved; the
``with_*`` methods return changed copies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import Any, ClassVar, Literal, TypeAlias

import networkx as nx
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from eventsolve.checks import (
    count,
    first_entry,
    real_array,
    refuse_units,
    require_mapping,
    seconds_array,
    shown,
)
from eventsolve.frozen import Frozen, read_only
from eventsolve.shown import Shown, Summary, arrow, brief, called, ms, several
from eventsolve.synapses import canonical_rows, same_synapses
from eventsolve.typing import ByProjection, Key, Synaptic, Weights

Real: TypeAlias = float | ArrayLike
Synapse: TypeAlias = Literal["exponential", "delta"]

TIMES = frozenset({"tau_mem", "tau_syn", "t_ref", "delay", "spike_times"})
"""Quantities in seconds; all others are in the unit of v_threshold."""

MOST_NEURONS = 2**31 - 1
"""Of a population: kernels number targets in 32 bits."""

LARGEST = 2.0**200
"""Of voltages and currents, of time constants and durations, and 1/LARGEST the smallest threshold and time constant.

The kernels multiply up to three rates and a current, which makes 1/tau_mem**3 * I at most 2**800, two time constants,
and the square of t_end / tau, 2**800 again: within float64, which goes to 2**1024, and their inverses are normal.
The equations have no scale of their own, so that a network beyond is one within, in another unit.
"""


@dataclass(frozen=True, eq=False)
class LIF(Frozen):
    """Leaky integrate-and-fire neurons with an exponential synaptic current (MODEL: Wunderlich & Pehle 2021, eq. 1).

    ``tau_mem dV/dt = (v_leak - V) + I``, ``tau_syn dI/dt = -I``; V reaching v_threshold from below emits a spike and
    sets V to v_reset, where it is held for t_ref. Every parameter but ``reset`` is a number or an array (n,).

    Attributes
    ----------
    tau_mem, tau_syn : float or array_like, (n,)
        Time constants in seconds, > 0, of any ratio; as all times and voltages within 2**-200 and 2**200.
    v_threshold, v_reset, v_leak : float or array_like, (n,)
        In the unit of the weights; v_threshold > 0 and v_reset < v_threshold.
    t_ref : float or array_like, (n,)
        Refractory period in seconds, >= 0.
    v_initial, i_initial : float or array_like, (n,)
        V and I at time 0; v_initial < v_threshold.
    reset : {"value", "subtract"}
        Whether a spike sets V to v_reset or subtracts v_threshold - v_reset from it. The two differ only where a delta
        synapse lifts V beyond the threshold: a voltage that moves continuously is at the threshold when it spikes.
    """

    tau_mem: Real
    tau_syn: Real
    v_threshold: Real = 1.0
    v_reset: Real = 0.0
    v_leak: Real = 0.0
    t_ref: Real = 0.0
    v_initial: Real = 0.0
    i_initial: Real = 0.0
    reset: Literal["value", "subtract"] = "value"

    spiking: ClassVar[bool] = True

    __repr__ = called

    def __post_init__(self) -> None:
        _freeze_parameters(self, positive=("tau_mem", "tau_syn", "v_threshold"), non_negative=("t_ref",))
        if not isinstance(self.reset, str) or self.reset not in ("value", "subtract"):
            raise ValueError(f"reset must be 'value' or 'subtract'; got {shown(self.reset)}")
        for name in ("v_reset", "v_initial"):
            threshold, value = np.broadcast_arrays(self.v_threshold, getattr(self, name))
            if not (value < threshold).all():
                k = np.unravel_index(np.argmax(value >= threshold), value.shape)
                raise ValueError(
                    f"{name} must be below v_threshold; got {name} {float(value[k])!r} "
                    f"with v_threshold {float(threshold[k])!r}" + (f" at neuron {k[0]}" if k else "")
                )


@dataclass(frozen=True, eq=False)
class LI(Frozen):
    """Leaky integrators: the neuron of :class:`LIF` without a threshold, a readout. Parameters as there."""

    tau_mem: Real
    tau_syn: Real
    v_leak: Real = 0.0
    v_initial: Real = 0.0
    i_initial: Real = 0.0

    spiking: ClassVar[bool] = False

    __repr__ = called

    def __post_init__(self) -> None:
        _freeze_parameters(self, positive=("tau_mem", "tau_syn"), non_negative=())


@dataclass(frozen=True, eq=False)
class Population:
    """A named group of neurons. ``neuron`` is None for an input; parameters are per neuron, (size,)."""

    name: str
    size: int
    neuron: LIF | LI | None

    @property
    def spiking(self) -> bool:
        """Whether its neurons spike by a threshold; those of an input do not."""
        return self.neuron is not None and self.neuron.spiking

    def parameter(self, name: str) -> NDArray[np.float64]:
        """Return the parameter for every neuron, (size,); a non-spiking neuron's v_threshold is inf."""
        value = getattr(self.neuron, name, {"v_threshold": np.inf}.get(name, 0.0))
        return np.full(self.size, value, dtype=np.float64)


class _Weight:
    """The weight of a projection; if it is sparse a new matrix each time: scipy resizes a matrix in place."""

    def __get__(self, projection: Projection | None, _: type) -> Synaptic:
        if projection is None:
            raise AttributeError("the weight is that of a projection")
        return read_only(vars(projection)["weight"])

    def __set__(self, projection: Projection, weight: Synaptic) -> None:
        vars(projection)["weight"] = weight


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Frozen):
    """Synapses from ``pre`` to ``post``, row by row.

    Attributes
    ----------
    key : tuple of str
        (pre, post), or (pre, post, name): the key of ``grads.weight`` and ``with_weights``.
    weight : ndarray or csr_array, (n_post, n_pre)
        Of a sparse matrix each stored entry is a synapse, stored zeros included; of a dense one every entry is.
    delay : ndarray of float64, (n_synapses,)
        Seconds, in the order of :attr:`weights`.
    synapse : {"exponential", "delta"}
        Whether a spike adds the weight to the current of its target or to its voltage.
    """

    key: Key
    weight: Synaptic
    delay: NDArray[np.float64]
    synapse: Synapse = "exponential"

    @property
    def pre(self) -> str:
        """Name of the source population."""
        return self.key[0]

    @property
    def post(self) -> str:
        """Name of the target population."""
        return self.key[1]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Every synapse's weight, (n_synapses,), by target neuron and then source neuron."""
        flat: NDArray[np.float64] = self.weight.data if sp.issparse(self.weight) else self.weight.reshape(-1)
        return flat

    @property
    def row_offsets(self) -> NDArray[np.int64]:
        """Where each target neuron's synapses start, (n_post + 1,)."""
        if sp.issparse(self.weight):
            return np.asarray(self.weight.indptr, dtype=np.int64)
        n_post, n_pre = self.weight.shape
        return np.arange(n_post + 1, dtype=np.int64) * np.int64(n_pre)

    @property
    def sources(self) -> NDArray[np.int64]:
        """Every synapse's source neuron, (n_synapses,)."""
        if sp.issparse(self.weight):
            return np.asarray(self.weight.indices, dtype=np.int64)
        n_post, n_pre = self.weight.shape
        return np.tile(np.arange(n_pre, dtype=np.int64), n_post)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Every synapse's target neuron, (n_synapses,)."""
        offsets = self.row_offsets
        return np.repeat(np.arange(offsets.size - 1), np.diff(offsets))

    def _words(self) -> str:
        """Say how many synapses there are, of which kind, and how late."""
        sparse = "sparse " if sp.issparse(self.weight) else ""
        delta = "delta " if self.synapse == "delta" else ""
        words = several(self.delay.size, f"{sparse}{delta}synapse")
        if not self.delay.any():
            return words
        low, high = float(self.delay.min()), float(self.delay.max())
        return f"{words}, delay {ms(high) if low == high else f'{low * 1e3:.6g} to {ms(high)}'}"

    def _summary(self) -> Summary:
        return f"Projection({arrow(self.key)}: {self._words()})", [("weight", brief(self.weight))]

    def shaped(self, values: NDArray[np.float64]) -> Synaptic:
        """Return one value per synapse in the layout of the weight; leading axes are allowed for a dense weight."""
        if not sp.issparse(self.weight):
            return values.reshape(values.shape[:-1] + self.weight.shape)
        if values.ndim == 1:
            return sp.csr_array((values, self.weight.indices, self.weight.indptr), shape=self.weight.shape)
        return tuple(self.shaped(row) for row in values)


Projection.weight = _Weight()  # in the class it would be taken for a default


class Network(Shown):
    """Populations and projections; see the module docstring.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[10.0]], delay=1e-3)
    """

    def __init__(self) -> None:
        self._graph = nx.MultiDiGraph()
        self._frozen: dict[str, Population] | None = None
        self._projections: dict[Key, Projection] | None = None
        self.layers: Any = None
        """What ``eventsolve.schedule`` derives from the network once it is frozen."""

    # -- building ----------------------------------------------------------------------------------------------------

    def add_input(self, name: str, size: int) -> None:
        """Add ``size`` input channels, whose spikes are given to ``solve``."""
        self._add(Population(name, size, None))

    def add_population(self, name: str, size: int, neuron: LIF | LI) -> None:
        """Add ``size`` neurons; each parameter of ``neuron`` must be a number or an array (size,).

        Raises
        ------
        TypeError
            If ``neuron`` is not an LIF or LI.
        RuntimeError
            If the network has been solved.
        ValueError
            If the name is taken or empty, the size is not an integer from 0 to 2**31 - 1, or a parameter has another
            shape.
        """
        if not isinstance(neuron, LIF | LI):
            raise TypeError(f"neuron of population {name!r} must be an LIF or LI; got {shown(neuron)}")
        size = count(f"size of population {name!r}", size, 0, MOST_NEURONS)
        for parameter in parameters_of(neuron):
            shape = np.shape(getattr(neuron, parameter))
            if shape not in ((), (size,)):
                raise ValueError(
                    f"{parameter} of population {name!r} must be a number or have shape ({size},); got {shape}"
                )
        self._add(Population(name, size, neuron))

    def _add(self, population: Population) -> None:
        self._require_open()
        name, size = population.name, population.size
        if not isinstance(name, str) or not name:
            raise ValueError(f"name of a population must be a non-empty string; got {shown(name)}")
        if name in self._graph:
            raise ValueError(f"name {name!r} of a population is taken already")
        size = count(f"size of population {name!r}", size, 0, MOST_NEURONS)
        self._graph.add_node(name, population=replace(population, size=size))
        self._projections = None

    def connect(
        self,
        pre: str,
        post: str,
        weight: Weights,
        *,
        delay: Weights = 0.0,
        synapse: Synapse = "exponential",
        name: str | None = None,
    ) -> None:
        """Connect two populations.

        Parameters
        ----------
        pre, post : str
            Names of populations that exist; ``post`` must not be an input.
        weight : array_like or scipy.sparse, (n_post, n_pre)
            In the unit of v_threshold.
        delay : float, or like the weight
            Seconds, >= 0. Beside a sparse weight: a number, or a sparse matrix that stores the same entries.
        synapse : {"exponential", "delta"}
            Whether a spike adds the weight to the current of its target, or to its voltage at once. A voltage that a
            delta synapse lifts to the threshold or beyond spikes at that time; one that is held after a spike
            ignores it.
        name : str, optional
            Tells apart several projections between the same two populations; their key is (pre, post, name).

        Raises
        ------
        RuntimeError
            If the network has been solved.
        ValueError
            For unknown names, shapes that do not fit, numbers that are not finite, negative delays, or a taken key.
        """
        self._require_open()
        for role, population in (("pre", pre), ("post", post)):
            if population not in self._graph:
                raise ValueError(
                    f"{role} {shown(population)} is not a population; there are {sorted(self._graph)}"
                )
        if self.population(post).neuron is None:
            raise ValueError(f"post {post!r} is an input: it has no neurons to receive spikes")
        source = self.population(pre)
        if source.neuron is not None and not source.neuron.spiking:
            raise ValueError(f"pre {pre!r} is an LI population: it has no spikes to send")
        if name is not None and not (isinstance(name, str) and name):
            raise ValueError(f"name of a projection must be a non-empty string or None; got {shown(name)}")
        if synapse not in ("exponential", "delta"):
            raise ValueError(f"synapse must be 'exponential' or 'delta'; got {shown(synapse)}")
        key: Key = (pre, post) if name is None else (pre, post, name)
        if self._graph.has_edge(pre, post, key=key):
            raise ValueError(f"{key} is connected already; a further projection needs a name of its own")
        shape = (self.population(post).size, source.size)
        matrix = _checked_weight(key, weight, shape)
        self._join(Projection(key, matrix, _checked_delay(key, delay, matrix), synapse))

    def _join(self, projection: Projection) -> None:
        serial = self._graph.number_of_edges()
        self._graph.add_edge(
            projection.pre, projection.post, key=projection.key, projection=projection, serial=serial
        )
        self._projections = None

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> nx.MultiDiGraph:
        """A read-only copy: nodes hold ``population``, edges hold ``projection`` and ``serial``, their order."""
        return nx.freeze(self._graph.copy())

    @property
    def populations(self) -> dict[str, Population]:
        """Populations by name, in the order in which they were added."""
        if self._frozen is not None:
            return self._frozen.copy()
        return {name: data["population"] for name, data in self._graph.nodes(data=True)}

    @property
    def projections(self) -> dict[Key, Projection]:
        """Projections by key, in the order of their targets, then in the order in which they were connected."""
        if self._projections is None:
            self._projections = {p.key: p for name in self._graph for p in self.afferents(name)}
        return self._projections.copy()

    def population(self, name: str) -> Population:
        """Return the population of that name, or raise a ValueError that lists the names there are."""
        if not isinstance(name, str) or name not in self._graph:
            raise ValueError(f"{shown(name)} is not a population; there are {sorted(self._graph)}")
        population: Population = self._graph.nodes[name]["population"]
        return population

    def afferents(self, name: str) -> list[Projection]:
        """Return the projections that end in a population, in the order in which they were connected."""
        edges = [data for *_, data in self._graph.in_edges(self.population(name).name, data=True)]
        return [data["projection"] for data in sorted(edges, key=itemgetter("serial"))]

    # -- copies ------------------------------------------------------------------------------------------------------

    def with_weights(self, weights: ByProjection[Weights]) -> Network:
        """Return the network with other weights of the same shape, and for sparse ones the same synapses."""
        return self._with_projections("weights", weights, self._reweighted)

    def with_delays(self, delays: ByProjection[Weights]) -> Network:
        """Return the network with other delays, each given as in :meth:`connect`."""
        return self._with_projections(
            "delays", delays, lambda p, delay: replace(p, delay=_checked_delay(p.key, delay, p.weight))
        )

    def with_neurons(self, neurons: Mapping[str, LIF | LI]) -> Network:
        """Return the network with other neuron parameters."""
        require_mapping("neurons", neurons, "names to LIF or LI")
        for name, neuron in neurons.items():
            if self.population(name).neuron is None:
                raise ValueError(f"neurons name {name!r}, which is an input: it has no parameters")
            if isinstance(neuron, LI) and any(p.pre == name for p in self.projections.values()):
                raise ValueError(
                    f"neurons[{name!r}] is an LI, but {name!r} projects: an LI has no spikes to send"
                )
        other = Network()
        for name, population in self.populations.items():
            if name in neurons:
                other.add_population(name, population.size, neurons[name])
            else:
                other._add(population)
        for projection in self.projections.values():
            other._join(projection)
        return other

    def cut_at(self, names: Collection[str], without: Collection[str] = ()) -> Network:
        """Return the network in which some populations are inputs; others, of which nothing is heard, are left out."""
        other = Network()
        for name, population in self.populations.items():
            if name in names:
                other.add_input(name, population.size)
            elif name not in without:
                other._add(population)
        for projection in self.projections.values():
            if projection.post not in names and projection.post not in without:
                other._join(projection)
        return other

    def _reweighted(self, projection: Projection, weight: Weights) -> Projection:
        key, old = projection.key, projection.weight
        new = _checked_weight(key, weight, old.shape)
        if sp.issparse(old) != sp.issparse(new) or (sp.issparse(old) and not same_synapses(old, new)):
            raise ValueError(
                f"weight of {key} must store the synapses of the weight that it replaces, {_layout(old)}; "
                f"got {_layout(new)}"
            )
        return replace(projection, weight=new)

    def _with_projections(
        self, what: str, values: ByProjection[Any], change: Callable[[Projection, Any], Projection]
    ) -> Network:
        require_mapping(what, values, f"(pre, post) to {what}")
        known = self.projections
        for key in values:
            if key not in known:
                raise ValueError(f"{what} name {shown(key)}, which is not connected; there are {list(known)}")
        given: dict[Key, Any] = {key: value for key, value in values.items()}
        other = Network()
        other._graph.add_nodes_from(self._graph.nodes(data=True))
        for key, projection in known.items():
            other._join(change(projection, given[key]) if key in given else projection)
        return other

    # -- state -------------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Make the network immutable; ``solve`` does this."""
        self._frozen = self.populations

    def _require_open(self) -> None:
        if self._frozen is not None:
            raise RuntimeError(
                "a network cannot be changed once it is solved; use with_weights, with_delays or with_neurons"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "layers": None}

    def _summary(self) -> Summary:
        populations, projections = self.populations, self.projections
        title = f"{several(len(populations), 'population')}, {several(len(projections), 'projection')}"
        rows: list[tuple[str, object]] = [
            (p.name, f"{several(p.size, 'input') if p.neuron is None else f'{p.size} {_kind(p.neuron)}'}")
            for p in populations.values()
        ]
        return f"Network({title})", [*rows, *((arrow(p.key), p._words()) for p in projections.values())]


def _kind(neuron: LIF | LI) -> str:
    """Return a neuron's name and its time constants."""

    def span(name: str) -> str:
        value = np.asarray(getattr(neuron, name))
        low, high = (float(bound(value)) * 1e3 for bound in (np.min, np.max)) if value.size else (0.0, 0.0)
        return f"{name} {low:.6g} ms" if low == high else f"{name} {low:.6g} to {high:.6g} ms"

    return f"{type(neuron).__name__}, {span('tau_mem')}, {span('tau_syn')}"


def parameters_of(neuron: LIF | LI) -> tuple[str, ...]:
    """Return the names of the parameters that a neuron has, each a number or an array (n,)."""
    return tuple(field.name for field in fields(neuron) if field.name != "reset")


def _freeze_parameters(neuron: LIF | LI, positive: tuple[str, ...], non_negative: tuple[str, ...]) -> None:
    shapes = {}
    for name in parameters_of(neuron):
        taken = seconds_array if name in TIMES else real_array
        value = taken(name, getattr(neuron, name), "a number or an array of numbers")
        if value.ndim > 1:
            raise ValueError(f"{name} must be a number or have shape (n,); got shape {value.shape}")
        wrong, bound = ~np.isfinite(value), ""
        if name in positive:
            wrong, bound = wrong | (value <= 0), " and > 0"
        elif name in non_negative:
            wrong, bound = wrong | (value < 0), " and >= 0"
        if wrong.any():
            raise ValueError(f"{name} must be finite{bound}; {first_entry(value, wrong)}")
        if value.ndim:
            shapes[name] = value.shape
        check_scale(name, value, smallest=1.0 / LARGEST if name in positive else 0.0)
        value.setflags(write=False)
        object.__setattr__(neuron, name, value if value.ndim else float(value))
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{' and '.join(shapes)} must have one length where given per neuron; got {shapes}")


def check_scale(name: str, values: NDArray[np.float64], smallest: float = 0.0) -> None:
    """Raise a ValueError if a number is beyond what kernels can multiply; refractory periods may be of any length."""
    bad = (np.abs(values) > LARGEST) | (np.abs(values) < smallest)
    if name != "t_ref" and bad.any():
        bounds = (
            f"from 2**-200 to 2**200, {1 / LARGEST:.3g} to {LARGEST:.3g}"
            if smallest
            else "at most 2**200 in size"
        )
        raise ValueError(
            f"{name} must be {bounds}; {first_entry(values, bad)}: choose another unit of "
            f"{'time' if name in TIMES else 'voltage'} for the whole network"
        )


def _checked_weight(key: Key, weight: Weights, shape: tuple[int, int]) -> Synaptic:
    name = f"weight of {key}"
    if sp.issparse(weight):
        matrix = _canonical(name, weight)
        values = matrix.data
    else:
        matrix = values = real_array(name, weight, f"numbers of shape {shape}")
        if matrix.shape == (0,) and 0 in shape:  # a nested list cannot say how many columns no rows have
            matrix = values = matrix.reshape(shape)
    if matrix.shape != shape:
        raise ValueError(f"{name} must have shape (n_post, n_pre) = {shape}; got {matrix.shape}")
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(f"{name} must be finite; {_first_synapse(matrix, values, bad)}")
    check_scale(name, values)
    values.setflags(write=False)
    return matrix


def _checked_delay(key: Key, delay: Weights, weight: Weights) -> NDArray[np.float64]:
    name = f"delay of {key}"
    given = delay
    if sp.issparse(delay):
        given = _canonical(name, delay)
        if delay.format in ("coo", "csc", "csr") and delay.nnz != given.nnz:
            raise ValueError(
                f"{name} must store every synapse once: delays do not add up; got {_layout(delay)}"
            )
        if not sp.issparse(weight) or not same_synapses(given, weight):
            raise ValueError(
                f"{name} is sparse, so it must store exactly the synapses of a sparse weight, {_layout(weight)}; "
                f"got {_layout(given)}"
            )
        values = given.data
    else:
        values = seconds_array(name, delay, "a number or like the weight")
        if values.ndim and sp.issparse(weight):
            raise ValueError(
                f"{name} beside a sparse weight must be a number or sparse; got shape {values.shape}"
            )
        if values.shape == (0,) and 0 in weight.shape:
            values = values.reshape(weight.shape)
        if values.ndim and values.shape != weight.shape:
            flat = values.shape == (weight.size,)
            hint = ": projection.shaped(delay) lays a projection's delay out like its weight" if flat else ""
            raise ValueError(
                f"{name} must be a number or have shape {weight.shape}; got {values.shape}{hint}"
            )
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"{name} must be finite and >= 0; {_first_synapse(given, values, bad)}")
    n_synapses = weight.data.size if sp.issparse(weight) else weight.size
    flat = np.array(np.broadcast_to(values.reshape(-1), (n_synapses,)))
    flat.setflags(write=False)
    return flat


def _canonical(name: str, matrix: Any) -> Any:
    """Return a matrix of real numbers in canonical rows, whose layout cannot be written."""
    refuse_units(name, getattr(matrix, "data", None))
    if matrix.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be real numbers; got a sparse matrix of {matrix.dtype}")
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have two dimensions; got shape {matrix.shape}")
    rows = canonical_rows(matrix, np.float64)
    for array in (rows.indptr, rows.indices):
        array.setflags(write=False)
    return rows


def _layout(matrix: Any) -> str:
    if sp.issparse(matrix):
        return f"a sparse matrix of shape {matrix.shape} with {matrix.nnz} stored entries"
    return f"a dense one of shape {matrix.shape}"


def _first_synapse(matrix: Any, values: NDArray[np.float64], bad: NDArray[np.bool_]) -> str:
    if not sp.issparse(matrix):
        return first_entry(values, bad)
    k = int(np.argmax(bad))
    post = int(np.searchsorted(matrix.indptr, k, side="right")) - 1
    return f"entry {[post, int(matrix.indices[k])]} is {float(values[k])!r}"


def solving_order(populations: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the strongly connected components of populations, sources before targets, else in their own order.

    It is the order in which layers are solved, and in which what happens at one time acts. Edges (pre, post) from or to
    what is no population of these do not count.
    """
    place = {name: k for k, name in enumerate(populations)}
    graph = nx.DiGraph()
    graph.add_nodes_from(place)
    graph.add_edges_from(edge for edge in edges if place.keys() >= set(edge))
    components = nx.condensation(graph)
    members = {c: sorted(components.nodes[c]["members"], key=place.__getitem__) for c in components}
    ordered = nx.lexicographical_topological_sort(components, key=lambda c: place[members[c][0]])
    return [members[c] for c in ordered]
