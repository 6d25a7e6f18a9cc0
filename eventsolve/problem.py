"""What an implementation is given: a network, a batch of inputs, how long to look, and a loss.

A :class:`Problem` prints as the Python that makes it again, after ``import eventsolve as es`` and
``from eventsolve.testing import Problem, network_of``; a sparse weight and an array without entries also want
``import numpy, scipy.sparse``. A loss that no text makes, of a function or a class of your own, prints as ``...`` and a
comment. A problem of more than a thousand weights, input spikes and parameters prints as a summary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from eventsolve import losses
from eventsolve.checks import count, shown
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.losses import Loss
from eventsolve.losses.evaluation import require_loss
from eventsolve.network import LI, LIF, Network, Projection, parameters_of
from eventsolve.shown import Summary, brief, ms, several
from eventsolve.solution import Solution
from eventsolve.solve import MAX_SPIKES, checked_duration, solve
from eventsolve.spiketrains import SpikeTrains, require_spike_trains
from eventsolve.typing import Key

MOST_NUMBERS = 1000
"""Of a problem that prints as Python; a larger one prints as a summary."""

Size: TypeAlias = int | tuple[int, LIF | LI]


@dataclass(frozen=True, eq=False)
class Problem(Frozen):
    """A network, its inputs and a loss; ``problem.solution`` is the exact answer, worked out once.

    Attributes
    ----------
    network : Network
    inputs : mapping of str to SpikeTrains
        For every input of the network, all with the same number of samples.
    t_end : float
        Seconds.
    loss : Loss or None
        From :mod:`eventsolve.losses`; None where only spikes are in question.
    max_spikes : int
        As for :func:`eventsolve.solve`.

    Examples
    --------
    >>> import eventsolve as es
    >>> from eventsolve.testing import Problem, network_of
    >>> Problem(
    ...     network_of({"in": 1, "out": (1, es.LIF(20e-3, 5e-3))}, {("in", "out"): {"weight": [[9.0]]}}),
    ...     inputs={"in": es.SpikeTrains.from_lists([[[0.0, 2e-3]]])},
    ...     t_end=0.05,
    ... )
    Problem(
        network=network_of(
            {'in': 1, 'out': (1, es.LIF(tau_mem=0.02, tau_syn=0.005))},
            {('in', 'out'): {'weight': [[9.0]]}},
        ),
        inputs={'in': es.SpikeTrains.from_lists([[[0.0, 0.002]]])},
        t_end=0.05,
    )
    """

    network: Network
    inputs: Mapping[str, SpikeTrains]
    t_end: float
    loss: Loss | None = None
    max_spikes: int = MAX_SPIKES

    def __post_init__(self) -> None:
        if not isinstance(self.network, Network):
            raise TypeError(f"network must be a Network; got {shown(self.network)}")
        require_spike_trains("inputs", self.inputs)
        count("max_spikes", self.max_spikes)
        if self.loss is not None:
            require_loss("loss", self.loss)
        object.__setattr__(self, "inputs", FrozenMapping(dict(self.inputs)))
        object.__setattr__(self, "t_end", checked_duration(self.t_end))

    @cached_property
    def solution(self) -> Solution:
        """What :func:`eventsolve.solve` gives; it raises as there."""
        return solve(self.network, self.inputs, self.t_end, max_spikes=self.max_spikes)

    @property
    def n_samples(self) -> int:
        """Size of the batch; 1 for a network without inputs."""
        return next((trains.n_samples for trains in self.inputs.values()), 1)

    def select(self, samples: Sequence[int] | NDArray[np.int64]) -> Problem:
        """Return the problem of some samples, in the order given.

        Raises
        ------
        ValueError
            If its loss is a function, which may be another one of every sample.
        """
        chosen = np.asarray(samples, dtype=np.int64)
        inputs = {name: trains.select(chosen) for name, trains in self.inputs.items()}
        return replace(self, inputs=inputs, loss=None if self.loss is None else _selected(self.loss, chosen))

    def _summary(self) -> Summary:
        rows: list[tuple[str, object]] = [
            ("network", brief(self.network)),
            *((f"input {name}", brief(trains)) for name, trains in self.inputs.items()),
            ("loss", "none" if self.loss is None else self.loss),
        ]
        return f"Problem({several(self.n_samples, 'sample')}, {ms(self.t_end)})", rows

    def _numbers(self) -> int:
        """Return how many numbers its Python has, but for those of the loss."""
        neurons = (p.neuron for p in self.network.populations.values() if p.neuron is not None)
        return (
            sum(trains.n_spikes for trains in self.inputs.values())
            + sum(p.weights.size for p in self.network.projections.values())
            + sum(np.size(getattr(neuron, name)) for neuron in neurons for name in parameters_of(neuron))
        )

    def __repr__(self) -> str:
        if self._numbers() > MOST_NUMBERS:
            return super().__repr__()
        lines = [
            f"network={_network(self.network)}",
            f"inputs={_mapping((repr(name), _trains(t)) for name, t in self.inputs.items())}",
            f"t_end={self.t_end!r}",
        ]
        if self.loss is not None:
            lines.append(f"loss={_loss(self.loss)}")
        if self.max_spikes != MAX_SPIKES:
            lines.append(f"max_spikes={self.max_spikes}")
        code = "Problem(\n" + "".join(_indented(f"{line},\n") for line in lines) + ")"
        return (
            code
            if self.loss is None or "loss=...," not in code
            else code.replace("loss=...,", f"loss=...,  # {' '.join(repr(self.loss).split())}")
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print as ``repr`` does where IPython and Hypothesis would list a dataclass's fields."""
        for k, line in enumerate(repr(self).splitlines()):
            if k:
                printer.break_()
            printer.text(line)


def _selected(loss: Any, samples: NDArray[np.int64]) -> Any:
    """Return a loss of some samples: its own selection, or that of its labels or targets."""
    if callable(getattr(loss, "select", None)):
        return loss.select(samples)
    for name in ("labels", "targets"):
        values = getattr(loss, name, None)
        if isinstance(values, np.ndarray) and is_dataclass(loss) and not isinstance(loss, type):
            return replace(loss, **{name: values[samples]})
    raise ValueError(
        f"the samples of a {type(loss).__name__} cannot be told apart: give it a method select(samples)"
    )


def network_of(
    populations: Mapping[str, Size], projections: Mapping[Key, Mapping[str, Any]] | None = None
) -> Network:
    """Return a network in one expression.

    Parameters
    ----------
    populations : mapping of str to int or (int, LIF or LI)
        An input by its size; a population by its size and its neuron.
    projections : mapping of (pre, post) or (pre, post, name) to mapping
        The arguments of ``Network.connect``: "weight", and "delay" and "synapse" if wanted.

    Raises
    ------
    TypeError, ValueError
        As ``Network.add_population`` and ``Network.connect``.
    """
    network = Network()
    for name, size in populations.items():
        if isinstance(size, tuple):
            network.add_population(name, *size)
        else:
            network.add_input(name, size)
    for key, arguments in (projections or {}).items():
        network.connect(key[0], key[1], name=key[2] if len(key) > 2 else None, **arguments)
    return network


# -- Python that makes the values again ------------------------------------------------------------------------


def _network(network: Network) -> str:
    populations = _mapping(
        (repr(p.name), str(p.size) if p.neuron is None else f"({p.size}, es.{_record(p.neuron)})")
        for p in network.populations.values()
    )
    projections = _mapping((repr(p.key), _projection(p)) for p in network.projections.values())
    return f"network_of(\n{_indented(populations)},\n{_indented(projections)},\n)"


def _projection(projection: Projection) -> str:
    delays = _uniform(projection.delay)
    items = [("'weight'", _array(projection.weight))]
    if delays != 0.0:
        items.append(
            ("'delay'", _array(projection.shaped(projection.delay)) if delays is None else repr(delays))
        )
    if projection.synapse != "exponential":
        items.append(("'synapse'", repr(projection.synapse)))
    return "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"


def _uniform(values: Any) -> float | None:
    """Return the one number that all values are, 0 if there are none, None if they differ."""
    if not values.size:
        return 0.0
    return float(values.flat[0]) if (values == values.flat[0]).all() else None


def _loss(loss: Any) -> str:
    """Return the call that makes a loss, "..." if none does."""
    kind = type(loss)
    if getattr(losses, kind.__name__, None) is not kind:
        return "..."
    if any(callable(getattr(loss, entry.name)) for entry in fields(loss)):
        return "..."
    return f"es.losses.{_record(loss)}"


def _record(record: Any) -> str:
    """Return the call that makes a dataclass, without arguments at their defaults."""
    said = []
    for entry in fields(record):
        value = getattr(record, entry.name)
        if entry.default is MISSING or np.ndim(value) or value != entry.default:
            said.append(f"{entry.name}={_array(value)}")
    return f"{type(record).__name__}({', '.join(said)})"


def _array(value: Any) -> str:
    if sp.issparse(value):
        parts = ", ".join(_array(part) for part in (value.data, value.indices, value.indptr))
        return f"scipy.sparse.csr_array(({parts}), shape={value.shape})"
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size else f"numpy.empty({value.shape})"
    return repr(value)


def _trains(trains: SpikeTrains) -> str:
    known = "" if trains.n_samples else f", n_neurons={trains.n_neurons}"
    return f"es.SpikeTrains.from_lists({trains.to_lists()}{known})"


def _mapping(items: Iterable[tuple[str, str]]) -> str:
    listed = [f"{key}: {value}" for key, value in items]
    line = "{" + ", ".join(listed) + "}"
    if len(line) <= 88:
        return line
    return "{\n" + "".join(_indented(f"{item},\n") for item in listed) + "}"


def _indented(text: str) -> str:
    return "".join(f"    {line}" for line in text.splitlines(keepends=True))
