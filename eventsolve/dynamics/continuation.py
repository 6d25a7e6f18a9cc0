r"""continuation(): a solution followed along a parameter through every change of the order of its events.

As long as every neuron's spikes, ends of refractory periods and arrivals keep their order, spike times are smooth.
Where they do not, a distance of :func:`eventsolve.margins` is 0: threshold minus the largest voltage of an interval, or
the time between two events. Distances are functions of the value whose derivatives are as exact as they are, so that
where one vanishes is found by Newton's method, from both sides and within a bracket: the order is that of before at its
one end, and another one at its other. It ends where no number of the network lies in between.

None is stepped over, to first order. A point with distances m and derivatives m' is good for half the way on which a
distance would vanish if it were linear, min m / 2|m'|, forwards by those that fall and backwards by those that grow;
between two points with one order, what the two are good for has to cover all. Else there is a point halfway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, overload

import numpy as np

from eventsolve.checks import count, instance, real, real_array, require_one_of, shown
from eventsolve.dynamics.crossings import Event
from eventsolve.dynamics.followed import Followed
from eventsolve.dynamics.orbit import Orbit
from eventsolve.dynamics.orbit_branches import Node, OrbitContinuation, OrbitEvent, OrbitWalk, kept_orbit
from eventsolve.dynamics.orbit_branches import branch_of as orbit_branch_of
from eventsolve.dynamics.paths import Parameter, path_of, rebuilt
from eventsolve.dynamics.points import PathProblem, Point, solved
from eventsolve.dynamics.walks import Halted, Tally, Walk, reach
from eventsolve.errors import Carrying
from eventsolve.frozen import Frozen
from eventsolve.interrupts import Interrupted
from eventsolve.jobs import advancing, bar_of
from eventsolve.kinds import require_shapes
from eventsolve.network import Network
from eventsolve.problem import Problem
from eventsolve.shown import Summary, several
from eventsolve.solution import Solution
from eventsolve.solve import solve
from eventsolve.state import State
from eventsolve.typing import Integers, Reals

MOST_SOLVES = 10_000
MOST_SPIKES = 100_000
MOST_BYTES = 2**30


@dataclass(frozen=True, eq=False, repr=False)
class Branch(Frozen):
    """A smooth piece: at each of some values, all spikes of all populations, which are the same ones on all of it.

    Attributes
    ----------
    values : ndarray of float64, (n_values,)
        Increasing; the first and the last are the ends of the range, or lie beside an event.
    neurons : mapping of population to ndarray of int64, (n_spikes,)
        Whose spike each is, by neuron and then in the order in which it makes them.
    spike_times : mapping of population to ndarray of float64, (n_values, n_spikes)
        In seconds.
    derivatives : mapping of population to ndarray of float64, (n_values, n_spikes)
        Of the spike times by the value, exact; one-sided at the ends. Beside the value at which a spike appears they
        grow without bound for that spike, and for all that it moves.
    reach : ndarray of float64, (n_values,)
        How far from each value the first distance of :func:`eventsolve.margins` would vanish if all were linear.
    """

    values: Reals
    neurons: Mapping[str, Integers]
    spike_times: Mapping[str, Reals]
    derivatives: Mapping[str, Reals]
    reach: Reals

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, values="n", reach="n", neurons="k[]", spike_times="n k[]", derivatives="n k[]")
        if not self.values.size:
            raise ValueError("values must have at least one entry; got none")

    def _summary(self) -> Summary:
        counts = [(name, several(neurons.size, "spike")) for name, neurons in self.neurons.items()]
        title = f"Branch({self.values[0]:.6g} to {self.values[-1]:.6g}, {several(self.values.size, 'value')})"
        return title, list(counts)

    def counts(self, population: str, n_neurons: int) -> Integers:
        """Return how many spikes each of a population's neurons has, (n_neurons,)."""
        require_one_of("population", population, self.neurons)
        return np.bincount(self.neurons[population], minlength=count("n_neurons", n_neurons))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists and numbers, ready for JSON."""
        return {
            "values": self.values.tolist(),
            "reach": self.reach.tolist(),
            "neurons": {name: n.tolist() for name, n in self.neurons.items()},
            "spike_times": {name: t.tolist() for name, t in self.spike_times.items()},
            "derivatives": {name: d.tolist() for name, d in self.derivatives.items()},
        }


@dataclass(frozen=True, eq=False, repr=False)
class Continuation(Followed):
    """A solution along a parameter: smooth branches, and the events between them.

    Attributes
    ----------
    parameter : str
        What has the value, or moves with it.
    over : (float, float)
        The range that was asked for.
    branches : tuple of Branch
        By value. Neighbours differ in the order of events; they meet at an event.
    events : tuple of Event
        By value; those at one value, as of neurons that are alike, by time.
    n_solved : int
        How many networks were solved.
    complete : bool
        Whether the branches reach to the end of the range; if not, :class:`ContinuationError` says why.
    """

    branches: tuple[Branch, ...]
    events: tuple[Event, ...]
    _task: PathProblem = field(repr=False)

    def solution_at(self, value: float) -> Solution:
        """Return the exact solution at a value, solved anew."""
        return solved(self._task, real("value", value))

    def n_neurons(self, population: str) -> int:
        """Return how many neurons a population has."""
        return self._task.path.network.population(population).size

    def branch_at(self, value: float) -> Branch:
        """Return the branch that a value is on; at an event, or within its brackets, that of the smaller values.

        Raises
        ------
        ValueError
            If the value was not reached.
        """
        value = real("value", value)
        if not self.branches:
            raise ValueError(f"value must be one that was followed to, and none was; got {value!r}")
        for branch, following in zip(self.branches, (*self.branches[1:], None), strict=True):
            end = branch.values[-1] if following is None else np.nextafter(following.values[0], -np.inf)
            if branch.values[0] <= value <= end:
                return branch
        first, last = float(self.branches[0].values[0]), float(self.branches[-1].values[-1])
        raise ValueError(f"value must lie in {first!r}..{last!r}; got {value!r}")


class ContinuationError(Carrying, RuntimeError):
    """A solution or an orbit could not be followed to the end of the range; the cause says why.

    Attributes
    ----------
    value : float
        How far it was followed.
    so_far : Continuation or OrbitContinuation
        Up to there.
    """

    def __init__(self, why: str, so_far: Continuation | OrbitContinuation) -> None:
        self.value = float(so_far.branches[-1].values[-1]) if so_far.branches else float(so_far.over[0])
        super().__init__(f"{why}; followed to {self.value!r}, which is in the attribute so_far of this error")
        self.so_far = so_far


@overload
def continuation(
    network: Network,
    parameter: Parameter,
    over: tuple[float, float],
    of: Solution | Problem,
    *,
    initial: State | None = None,
    max_spikes: int | None = None,
    max_solves: int = MOST_SOLVES,
    max_bytes: int = MOST_BYTES,
    progress: bool = False,
) -> Continuation: ...


@overload
def continuation(
    network: Network,
    parameter: Parameter,
    over: tuple[float, float],
    of: Orbit,
    *,
    max_solves: int = MOST_SOLVES,
    crossing: bool = False,
    max_bytes: int = MOST_BYTES,
    progress: bool = False,
) -> OrbitContinuation: ...


def continuation(
    network: Network,
    parameter: Parameter,
    over: tuple[float, float],
    of: Solution | Problem | Orbit,
    *,
    initial: State | None = None,
    max_spikes: int | None = None,
    max_solves: int = MOST_SOLVES,
    crossing: bool = False,
    max_bytes: int = MOST_BYTES,
    progress: bool = False,
) -> Continuation | OrbitContinuation:
    """Follow a solution or an orbit along a parameter, through every value where the order of its events changes.

    Parameters
    ----------
    network : Network
        Gives all numbers that do not move.
    parameter : tuple or mapping
        ``(name, key, place)`` is one number, whose value runs over the range: ``("weight", ("in", "out"), (0, 3))``,
        by (post, pre), ``("delay", ...)`` alike, ``("tau_mem", "out", 2)`` or another parameter of a neuron, and
        ``("spike_times", "in", 5)``, the sixth spike in the order of the trains. Without a place it is all of these
        numbers at once. A mapping is a direction, as :func:`eventsolve.jvp` takes it, and the value how far the network
        and its inputs are moved along it: 0 is where they are.
    over : (float, float)
        From the smaller to the larger value; an orbit is followed from the first value, where it is, to the other one.
    of : Solution, Problem or Orbit
        Of one sample: gives inputs and t_end. Its own network need not be this one. An orbit gives the inputs of its
        period, and at the first value the network has one near it, with as many spikes of each neuron.
    initial : State, optional
        As for :func:`eventsolve.solve`; needed if ``of`` went on from one.
    max_spikes : int, optional
        As for :func:`eventsolve.solve`; by default that of a problem, but no more than 100 000.
    max_solves : int
        How many networks, or orbits, may be solved.
    crossing : bool
        For an orbit, whether to follow the branches that cross it as well, once it has ended: those of twice the period
        from every flip on, up to 16 times the period, and those that cross where a multiplier passes +1. Each is
        followed until it leaves the range or ends.
    max_bytes : int
        How much memory branches and events may take: every spike of every value that is kept is 16 bytes, and as many
        of every event.
    progress : bool
        Whether to show on stderr how far it is.

    Returns
    -------
    Continuation or OrbitContinuation
        The latter for an orbit.

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, or there is no such network at the first value, as with a wrong sign.
    NoOrbitError
        If the network has no such orbit at the first value.
    ContinuationError
        If the parameter leaves its bounds on the way, a network runs away or does not let its spikes be differentiated,
        or ``max_spikes``, ``max_solves`` or ``max_bytes`` is reached: ``so_far`` is what was followed until then.
    Interrupted
        After a KeyboardInterrupt, which it is, with what was followed until then.

    Notes
    -----
    It is not proven that there is no further event: two close events that cancel, without a trace in any distance or
    its derivative at the points beside them, would be missed. :func:`eventsolve.trust_radius` gives a proof for a box.

    Examples
    --------
    >>> import eventsolve as es
    >>> net = es.Network()
    >>> net.add_input("in", 1)
    >>> net.add_population("out", 1, es.LIF(tau_mem=20e-3, tau_syn=10e-3))
    >>> net.connect("in", "out", [[0.0]])
    >>> problem = es.Problem(net, {"in": es.SpikeTrains.from_lists([[[0.0]]])}, 50e-3)
    >>> followed = es.continuation(net, ("weight", ("in", "out"), (0, 0)), (0.0, 5.0), of=problem)
    >>> print(followed.events[0])  # the peak of V is w/4 with these time constants
    at 4: neuron 0 of 'out' gains a spike at 0.0138629 s, where V grazes its threshold
    """
    if isinstance(of, Orbit):
        if initial is not None or max_spikes is not None:
            raise ValueError("initial and max_spikes are those of a solution; an orbit has neither")
        return _orbits(network, parameter, over, of, crossing, max_solves, max_bytes, progress)
    if crossing:
        raise ValueError("crossing is of branches of orbits; a solution has one at each value")
    task, low, high = _asked(network, parameter, over, of, initial, max_spikes)
    branches: list[Branch] = []
    events: list[Event] = []
    readings: list[Reading] = []

    def so_far(complete: bool) -> Continuation:
        every = (*branches, *([branch_of(readings)] if readings else []))
        words = task.path.words
        return Continuation(words, (low, high), every, tuple(events), tally.n_solved, complete, task)

    with _tallied(max_solves, max_bytes, progress, low, high, events) as tally:
        try:
            for step in Walk(task, tally).steps(low, high):
                if isinstance(step, Point):
                    readings.append(reading_of(step))
                    tally.keep(step.value, 16 * readings[-1].n_spikes)
                else:
                    branches.append(branch_of(readings))
                    events += step
                    readings = []
                    tally.n_bytes += sum(event.n_bytes for event in step)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(so_far(complete=False)) from interrupt
        except Halted as halted:
            raise ContinuationError(str(halted), so_far(complete=False)) from halted.__cause__
    return so_far(complete=True)


@contextmanager
def _tallied(
    max_solves: int, max_bytes: int, progress: bool, low: float, high: float, events: list[Any]
) -> Iterator[Tally]:
    """Give what counts what a walk takes, and says beside a bar how far it is."""
    reached = 0.0
    with advancing(bar_of(progress, "following", 1.0)) as advance:

        def told(tally: Tally) -> None:
            nonlocal reached
            further = max((tally.value - low) / (high - low) - reached, 0.0)
            advance(
                further, f"at {tally.value:.6g}, {several(len(events), 'event')}, {tally.n_solved} solved"
            )
            reached += further

        yield Tally(count("max_solves", max_solves), count("max_bytes", max_bytes), told, low)


def _orbits(
    network: Network,
    parameter: Parameter,
    over: tuple[float, float],
    orbit: Orbit,
    crossing: bool,
    max_solves: int,
    max_bytes: int,
    progress: bool,
) -> OrbitContinuation:
    """Follow an orbit; errors as of :func:`continuation`."""
    _require_network(network)
    low, high = _ends(over, "two different numbers")
    _require_sizes(network, orbit.network, orbit=True)
    path = path_of(solve(network, orbit.inputs, 0.0), parameter)
    nodes: list[Node] = []
    events: list[OrbitEvent] = []

    def so_far(complete: bool) -> OrbitContinuation:
        pieces = [list(piece) for _, piece in groupby(nodes, key=lambda node: node.branch)]
        branches = tuple(orbit_branch_of(piece) for piece in pieces)
        orbits = tuple(tuple(node.orbit for node in piece) for piece in pieces)
        paths = tuple(piece[0].path for piece in pieces)
        return OrbitContinuation(
            path.words, (low, high), branches, tuple(events), tally.n_solved, complete, paths, orbits
        )

    with _tallied(max_solves, max_bytes, progress, low, high, events) as tally:
        try:
            walk = OrbitWalk(path, low, high, tally, crossing)
            for step in walk.steps(kept_orbit(path, low, orbit)):
                if isinstance(step, Node):
                    nodes.append(step)
                    tally.keep(step.place.value, step.n_bytes)
                else:
                    events.append(step)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(so_far(complete=False)) from interrupt
        except Halted as halted:
            raise ContinuationError(str(halted), so_far(complete=False)) from halted.__cause__
    return so_far(complete=walk.left)


class Reading(NamedTuple):
    """What a branch keeps of one value: neurons, times and derivatives of all spikes, neuron by neuron."""

    value: float
    neurons: dict[str, Integers]
    times: dict[str, Reals]
    derivatives: dict[str, Reals]
    reach: float

    @property
    def n_spikes(self) -> int:
        """Spikes of all populations."""
        return sum(times.size for times in self.times.values())


def reading_of(point: Point) -> Reading:
    """Return what a branch keeps of a point."""
    trains = point.solution.spikes
    return Reading(
        point.value,
        {name: trains[name].neurons[order] for name, order in point.spikes.items()},
        {name: trains[name].times[order] for name, order in point.spikes.items()},
        {name: point.moved[name][order] for name, order in point.spikes.items()},
        min(reach(point, 1.0), reach(point, -1.0)),
    )


def branch_of(readings: list[Reading]) -> Branch:
    """Return the branch of values with one order of events."""
    neurons = readings[-1].neurons

    def stacked(numbers: Callable[[Reading], dict[str, Reals]]) -> dict[str, Reals]:
        return {name: np.stack([numbers(reading)[name] for reading in readings]) for name in neurons}

    return Branch(
        np.array([reading.value for reading in readings]),
        neurons,
        stacked(lambda reading: reading.times),
        stacked(lambda reading: reading.derivatives),
        np.array([reading.reach for reading in readings]),
    )


def _asked(
    network: Network,
    parameter: Parameter,
    over: tuple[float, float],
    of: Solution | Problem,
    initial: State | None,
    max_spikes: int | None,
) -> tuple[PathProblem, float, float]:
    """Return what is to be solved, and the range, or raise as :func:`continuation` does."""
    _require_network(network)
    if initial is not None:
        instance("initial", initial, State)
    if not isinstance(of, Solution | Problem):
        raise TypeError(f"of must be a Solution, a Problem or an Orbit; got {shown(of)}")
    low, high = _ends(over, "two numbers, the smaller first")
    if not low < high:
        raise ValueError(f"over must be two finite numbers, the smaller first; got {shown(over)}")
    if isinstance(of, Solution):
        of.require_whole("a continuation")
        of.require_solved("a continuation is")
        if of.t_start > 0.0 and initial is None:
            raise ValueError(
                f"initial must be given, as this solution went on at {of.t_start!r} s from a state"
            )
        inputs = {n: t for n, t in of.spikes.items() if of.network.population(n).neuron is None}
    else:
        inputs = dict(of.inputs)
    _require_sizes(network, of.network, orbit=False)
    if of.n_samples != 1:
        raise ValueError(f"of must have one sample; got {of.n_samples}: take Problem.select([k]), one by one")
    if max_spikes is None:
        max_spikes = min(of.max_spikes, MOST_SPIKES) if isinstance(of, Problem) else MOST_SPIKES
    start = 0.0 if initial is None else initial.time
    unmoved = solve(network, inputs, start, initial=initial, max_spikes=max_spikes)
    path = path_of(unmoved, parameter)
    if initial is not None and not {"v_initial", "i_initial"}.isdisjoint(path.step):
        raise ValueError(
            "parameter must not move v_initial or i_initial where initial is given, which has V and I; "
            f"got {path.words}"
        )
    if initial is not None and "delay" in path.step:
        for value in (low, high):
            delays = {
                key: np.maximum(start + value * path.step["delay"][key], 0.0)
                for key, start in path.start["delay"].items()
            }
            initial.require_arrivals("initial", rebuilt(network, {}, {"delay": delays})[0])
    return PathProblem(path, of.t_end, initial, max_spikes), low, high


def _require_sizes(network: Network, other: Network, orbit: bool) -> None:
    """Raise a ValueError unless a network has the inputs of another one, and for its orbit all populations."""
    sizes, given = (
        {name: p.size for name, p in of.populations.items() if orbit or p.neuron is None}
        for of in (network, other)
    )
    if sizes != given:
        what = "populations" if orbit else "inputs"
        raise ValueError(
            f"network must have the {what} of what is followed, of as many neurons: {shown(given)}; got {shown(sizes)}"
        )


def _require_network(network: Network) -> None:
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network; got {shown(network)}")


def _ends(over: tuple[float, float], expected: str) -> tuple[float, float]:
    """Return two different finite numbers, or raise a ValueError or TypeError."""
    ends = real_array("over", over, expected)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] == ends[1]:
        raise ValueError(f"over must be {expected}, finite; got {shown(over)}")
    return float(ends[0]), float(ends[1])
