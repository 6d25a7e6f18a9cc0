"""sensitivity(): which number moves which spike, block by block of the Jacobian, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from eventsolve.adjoint import require_solution, vjp
from eventsolve.checks import count, index_vector, shown
from eventsolve.dynamics.points import shaped
from eventsolve.frozen import Frozen, FrozenMapping
from eventsolve.jobs import advancing, bar_of
from eventsolve.patterns import Pattern, moving, pattern_of
from eventsolve.shown import Summary, arrow, listed, several
from eventsolve.solution import Solution
from eventsolve.tangents import jvp
from eventsolve.typing import Direction, Integers, Owner, Reals

MAX_BYTES = 2**30
"""That a Jacobian may take unless told otherwise."""


class Influence(NamedTuple):
    """One entry: how far a number moves a spike, for a step of its multiple."""

    population: str
    spike: int
    sample: int
    neuron: int
    time: float
    name: str
    key: Owner
    number: int
    derivative: float

    def __str__(self) -> str:
        return (
            f"{self.name} {self.number} of {arrow(self.key)} moves the spike of neuron {self.neuron} of "
            f"{self.population!r} at {self.time!r} s in sample {self.sample} by {self.derivative:.3g} s"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity(Frozen):
    """Derivatives of some spike times by some numbers.

    Attributes
    ----------
    of : mapping of str to mapping
        What moves, and by which multiple of a step of 1, as for :func:`eventsolve.trust_radius`.
    spikes : mapping of population to ndarray of int64, (n,)
        Which spikes, as places in ``solution.spikes``.
    blocks : mapping of (population, name, key) to ndarray of float64, (n, n_numbers)
        dt in seconds of every such spike for a step of every number of that name and key, in the order in which ``of``
        has them: synapses as ``Projection.weights``, neurons, input spikes.
    way : {"vjp", "jvp"}
        Whether the derivatives come from a pass back for every spike, or forwards for every number.
    solution : Solution
    """

    of: Pattern
    spikes: Mapping[str, Integers]
    blocks: Mapping[tuple[str, str, Owner], Reals]
    way: str
    solution: Solution

    def __post_init__(self) -> None:
        super().__post_init__()
        for where, values in self.blocks.items():
            if not isinstance(where, tuple) or len(where) != 3 or where[0] not in self.spikes:
                raise ValueError(
                    f"blocks must be by (population, name, key), of {list(self.spikes)}; got {shown(where)}"
                )
            n = self.spikes[where[0]].size
            if values.ndim != 2 or values.shape[0] != n:
                raise ValueError(
                    f"blocks[{where!r}] must have a row for each of {n} spikes; got {values.shape}"
                )

    def _summary(self) -> Summary:
        n_spikes = sum(places.size for places in self.spikes.values())
        n_numbers = sum(scale.size for by_key in self.of.values() for scale in by_key.values())
        rows: list[tuple[str, object]] = [("of", moving(self.of)), ("spikes of", listed(self.spikes))]
        rows += [("largest", str(influence)) for influence in self.largest(3)]
        return (
            f"Sensitivity({several(n_spikes, 'spike')} by {several(n_numbers, 'number')}, by {self.way})",
            rows,
        )

    def block(self, population: str, name: str, key: Any) -> Reals:
        """Return a block with the axes of what moves: (n, n_post, n_pre) of a dense weight or delay."""
        values = self.blocks[population, name, key]
        if name in ("weight", "delay") and not sp.issparse(self.solution.network.projections[key].weight):
            return values.reshape(values.shape[:1] + self.solution.network.projections[key].weight.shape)
        return values

    def largest(self, n: int = 10) -> tuple[Influence, ...]:
        """Return the n entries of the largest size, largest first."""
        pool: list[tuple[float, int, int, tuple[str, str, Owner]]] = []
        for at, (where, values) in enumerate(self.blocks.items()):
            flat = np.abs(values).reshape(-1)
            for k in np.argsort(-flat, kind="stable")[: count("n", n)].tolist():
                pool.append((-float(flat[k]), at, k, where))
        found = []
        for _, _, k, (population, name, key) in sorted(pool, key=lambda entry: entry[:3])[:n]:
            values, trains = self.blocks[population, name, key], self.solution.spikes[population]
            row, number = divmod(k, values.shape[1])
            spike = int(self.spikes[population][row])
            found.append(
                Influence(
                    population,
                    spike,
                    int(trains.samples[spike]),
                    int(trains.neurons[spike]),
                    float(trains.times[spike]),
                    name,
                    key,
                    number,
                    float(values[row, number]),
                )
            )
        return tuple(found)


def sensitivity(
    solution: Solution,
    of: str | Direction = "weight",
    spikes: str | Mapping[str, ArrayLike] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    threads: int | None = None,
    progress: bool = False,
) -> Sensitivity:
    """Return which number moves which spike, exactly: blocks of the Jacobian of spike times.

    There is one pass back for every spike of a sample, of all samples at once, or one forwards for every number that
    moves, whichever are fewer.

    Parameters
    ----------
    solution : Solution
    of : str or mapping of str to mapping
        What moves, as for :func:`eventsolve.trust_radius`: ``"weight"``, ``"delay"``, a parameter of neurons, with
        ``"v_initial"`` and ``"i_initial"`` the state at the start, or ``"spike_times"`` of inputs. A mapping gives
        multiples: a step of 1 moves each number by its own multiple; numbers with multiple 0 are skipped, and their
        derivatives are 0.
    spikes : str or mapping of str to array_like of int, optional
        A population, or places in its ``solution.spikes``; by default all spikes that the network makes.
    max_bytes : int
        How much memory the blocks may take.
    threads : int, optional
        As in ``solve``.
    progress : bool
        Whether to show a progress bar of the passes on stderr.

    Raises
    ------
    TypeError
        If ``solution`` is not a Solution.
    ValueError
        For unknown names or places, or blocks that take more than ``max_bytes``.
    UndefinedGradientError
        If a spike that moves grazes its threshold.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 2)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    >>> net.connect("in", "out", [[9.0, 1.0]])
    >>> solution = es.solve(net, {"in": es.SpikeTrains.from_lists([[[0.0], [1e-3]]])}, 20e-3)
    >>> found = es.sensitivity(solution, of="weight").largest(1)[0]
    >>> found.key, found.number, bool(found.derivative < 0)
    (('in', 'out'), 0, True)
    """
    require_solution(solution)
    solution.require_whole("sensitivities")
    pattern = pattern_of(solution, of)
    made = [n for n in pattern.get("spike_times", {}) if solution.network.population(n).neuron is not None]
    if made:
        raise ValueError(
            f"of['spike_times'] must name inputs; got {made[0]!r}, whose spikes the network makes"
        )
    chosen = _chosen(solution, spikes)
    n_spikes = sum(places.size for places in chosen.values())
    n_numbers = sum(scale.size for by_key in pattern.values() for scale in by_key.values())
    if 8 * n_spikes * n_numbers > count("max_bytes", max_bytes):
        raise ValueError(
            f"derivatives of {n_spikes} spikes by {n_numbers} numbers take {8 * n_spikes * n_numbers} bytes, more than "
            f"max_bytes = {max_bytes}: choose some spikes, or some numbers, or use vjp or jvp"
        )
    blocks = {
        (population, name, key): np.zeros((places.size, scale.size))
        for population, places in chosen.items()
        for name, by_key in pattern.items()
        for key, scale in by_key.items()
    }
    columns = sum(int((scale != 0.0).sum()) for by_key in pattern.values() for scale in by_key.values())
    rounds = list(_rounds(solution, chosen))
    with advancing(bar_of(progress, "differentiating", min(len(rounds), columns))) as advance:
        if len(rounds) <= columns:
            for rows in rounds:
                _go_back(solution, pattern, chosen, rows, blocks, threads)
                advance(1)
        else:
            for name, by_key in pattern.items():
                for key, scale in by_key.items():
                    for number in np.flatnonzero(scale):
                        only = np.zeros(scale.size)
                        only[number] = scale[number]
                        moved = jvp(solution, shaped({name: {key: only}}, solution), threads=threads)
                        for population, places in chosen.items():
                            blocks[population, name, key][:, number] = moved[population][places]
                        advance(1)
    way = "vjp" if len(rounds) <= columns else "jvp"
    return Sensitivity(pattern, FrozenMapping(chosen), FrozenMapping(blocks), way, solution)


def _chosen(solution: Solution, spikes: str | Mapping[str, ArrayLike] | None) -> dict[str, Integers]:
    """Return which spikes of which populations are asked for."""
    made = [name for name, p in solution.network.populations.items() if p.spiking]
    if spikes is None:
        spikes = {name: np.arange(solution.spikes[name].n_spikes) for name in made}
    elif isinstance(spikes, str):
        if spikes in made:
            spikes = {spikes: np.arange(solution.spikes[spikes].n_spikes)}
        else:
            raise ValueError(f"spikes must name a population that spikes, {made}; got {shown(spikes)}")
    if not isinstance(spikes, Mapping):
        raise ValueError(f"spikes must be a population or a mapping of them to places; got {shown(spikes)}")
    for name in spikes:
        if name not in made:
            raise ValueError(f"spikes must name populations that spike, {made}; got {shown(name)}")
    return {
        name: index_vector(f"spikes[{name!r}]", places, solution.spikes[name].n_spikes)
        for name, places in spikes.items()
    }


class Row(NamedTuple):
    """A spike that is asked for: its population, where it was asked for, and its sample."""

    population: str
    row: int
    sample: int


def _rounds(solution: Solution, chosen: Mapping[str, Integers]) -> Iterator[list[Row]]:
    """Yield spikes to go back from at once: one of every sample at most."""
    by_sample: dict[int, list[Row]] = {}
    for population, places in chosen.items():
        for row, sample in enumerate(solution.spikes[population].samples[places].tolist()):
            by_sample.setdefault(sample, []).append(Row(population, row, sample))
    while by_sample:
        yield [rows.pop() for rows in by_sample.values()]
        by_sample = {sample: rows for sample, rows in by_sample.items() if rows}


def _go_back(
    solution: Solution,
    pattern: Pattern,
    chosen: Mapping[str, Integers],
    rows: list[Row],
    blocks: Mapping[tuple[str, str, Any], Reals],
    threads: int | None,
) -> None:
    """Write the derivatives of spikes of different samples."""
    cotangents = {name: np.zeros(solution.spikes[name].n_spikes) for name in chosen}
    for population, row, _ in rows:
        cotangents[population][chosen[population][row]] = 1.0
    gradients = vjp(solution, cotangents, wrt=pattern, reduction="none", threads=threads)
    for name, by_key in pattern.items():
        for key, scale in by_key.items():
            gradient = getattr(gradients, name)[key]
            for population, row, sample in rows:
                if name == "spike_times":
                    here = solution.spikes[key].samples == sample
                    blocks[population, name, key][row] = np.where(here, gradient * scale, 0.0)
                else:
                    one = gradient[sample]
                    flat = one.data if sp.issparse(one) else one.reshape(-1)
                    blocks[population, name, key][row] = flat * scale
