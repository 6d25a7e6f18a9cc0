"""Certificates of periodic orbits: that one exists, is the only one near by, and how perturbations of it grow.

Krawczyk's test of the equations of :mod:`eventsolve.certify.rhythms` proves that they have one solution in a box, and
only one. That it is an orbit of the network is proven neuron by neuron, through one period: :class:`Cell` shows that V
stays below the threshold from each event to the next but where a spike is due, and that there it rises, so that the
crossing is the one that the equations are about. The multipliers are the eigenvalues of the monodromy matrix in balls.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np
import scipy.linalg
from flint import acb, acb_mat, arb, arb_mat, ctx, fmpq
from numpy.typing import NDArray

from eventsolve.bounded import MAX_BYTES, Budget, content_of, opened
from eventsolve.certify import arithmetic
from eventsolve.certify.arithmetic import (
    ONE,
    UNIT,
    ZERO,
    Enclosures,
    EventTime,
    Undecided,
    at_time,
    bits_of,
    distance,
    enclosures_of,
    is_less,
    later,
    order,
    rational,
    rounded,
    surely_inside,
    surely_less,
    surely_zero,
    vague,
    working_precision,
)
from eventsolve.certify.membrane import Held, rates_of
from eventsolve.certify.neuron import Cell, Constants, Question, Unproven
from eventsolve.certify.records import digest_of, orbit_fields_from, text_of
from eventsolve.certify.rhythms import Arrival, Constant, Event, Rhythm, monodromy
from eventsolve.certify.samples import DOUBLINGS, GUARD_DIGITS, checked_digits
from eventsolve.checks import count, instance, require_mapping, shown
from eventsolve.files import write_text
from eventsolve.frozen import Frozen
from eventsolve.jobs import Advance, advancing, bar_of
from eventsolve.network import Network
from eventsolve.shown import Summary, ms, several

if TYPE_CHECKING:
    from eventsolve.dynamics.orbit import Orbit

EPS = 2.0**-53
STEPS = 60
"""Newton steps from a claim to the middle of the box, at most."""
SEEN = 1e-9
"""As a part of the period: how close a spike is to an arrival that is taken for what triggers it. It is proven then."""
WIDEST = 8
"""The widest box in which uniqueness is sought is a period times 10**-1, the narrowest 10**-WIDEST."""
WIDE = 1e-6
"""How wide an enclosure of a multiplier may be; a wider one asks for more bits."""
OTHER_ROOTS = 10**18
"""Where the roots of crossings count from that a cell finds by itself."""

System = Callable[[Sequence[arb]], tuple[list[arb], list[list[arb]]]]


class NotAnOrbit(ArithmeticError):
    """The network provably does not make the spikes that are claimed, or what is claimed gives no equations."""


class Multipliers(NamedTuple):
    """Enclosures of complex numbers: midpoints, and radii of discs around them."""

    midpoints: NDArray[np.complex128]
    radii: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class OrbitCertificate(Frozen):
    """What is proven of a periodic orbit, all numbers of the network and of its inputs taken exactly as they are.

    If ``proven``: the network has a periodic orbit with just these spikes in a period, at times within the enclosures
    (of a free orbit with the first crossing exactly at its claimed time), no other one with the same order of events
    whose times are within ``radius`` of it, and multipliers within theirs; and the claim is that orbit, to rounding.

    Attributes
    ----------
    digits : int
        Questions whose two sides differ by more than 10**-digits, relatively, were decided.
    bits : int
        Working precision.
    period : (float, float)
        Midpoint and radius in seconds.
    spike_times : mapping of str to Enclosures
        In seconds, by population of neurons, in the order of ``orbit.spikes[...].times``.
    multipliers : Multipliers
        Of the monodromy matrix, the largest first, those of directions that are lost, 0, included.
    radius : float
        In seconds; in this distance of every spike time, and of the period, there is no other orbit of the kind.
    stable : bool or None
        Whether all multipliers, but for the one of a shift in time of a free orbit, are below 1 in size; None: not
        decided.
    refuted : tuple of str
        What is claimed and wrong.
    undecided : str or None
        Why nothing is proven, if so.
    fingerprint : str
        SHA-256 of the network, inputs and claims.
    digest : str
        SHA-256 of all the above: it tells that something was altered.
    """

    digits: int
    bits: int
    period: tuple[float, float]
    spike_times: dict[str, Enclosures] = field(repr=False)
    multipliers: Multipliers = field(repr=False)
    radius: float
    stable: bool | None
    refuted: tuple[str, ...]
    undecided: str | None
    fingerprint: str = field(repr=False)
    digest: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        vars(self).update(digits=checked_digits(self.digits), bits=count("bits", self.bits))
        instance("multipliers", self.multipliers, Multipliers)
        require_mapping("spike_times", self.spike_times, "population to Enclosures")
        for name, known in self.spike_times.items():
            instance(f"spike_times[{name!r}]", known, Enclosures)
        if not (isinstance(self.period, tuple) and len(self.period) == 2):
            raise TypeError(f"period must be (midpoint, radius) in seconds; got {shown(self.period)}")
        for name in ("fingerprint", "digest"):
            instance(name, getattr(self, name), str)
        super().__post_init__()

    @property
    def proven(self) -> bool:
        """Whether all that is claimed is proven."""
        return self.undecided is None and not self.refuted

    def save(self, path: str | PathLike[str]) -> None:
        """Write the certificate as JSON."""
        write_text(path, text_of(self))

    @classmethod
    def load(cls, path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> OrbitCertificate:
        """Read a certificate that was saved.

        Parameters
        ----------
        path : path
        max_bytes : int
            What reading may take: the file, and what it says.

        Raises
        ------
        ValueError
            If the file does not hold the certificate of an orbit. What it says is as good as its source:
            :meth:`check` proves it again.
        OSError
            If it cannot be opened.
        """
        budget = Budget(max_bytes)
        with opened(path, max_bytes) as file:
            found = orbit_fields_from(content_of(file, budget), budget)
        return cls(**found | {"multipliers": Multipliers(*found["multipliers"])})

    def disagreement(self, orbit: Orbit, *, progress: bool = False) -> str | None:
        """Prove the certificate again, and return the first thing that it says otherwise, or None."""
        if self.digest != digest_of(self):
            return "the certificate was altered: its digest is not that of what it says"
        anew = certify_orbit(orbit, digits=self.digits, progress=progress)
        if self.fingerprint != anew.fingerprint:
            return "the certificate is of another network, other inputs or another claim"
        for name in ("bits", "period", "radius", "stable", "refuted", "undecided"):
            if repr(getattr(self, name)) != repr(getattr(anew, name)):  # also of what is not a number
                return f"{name} is {shown(getattr(self, name))}, not {shown(getattr(anew, name))}"
        pairs = [("multipliers", self.multipliers, anew.multipliers)]
        if list(self.spike_times) != list(anew.spike_times):
            return f"spikes are of {list(self.spike_times)}, not {list(anew.spike_times)}"
        columns = [
            (f"spike_times[{n!r}]", self.spike_times[n], anew.spike_times[n]) for n in anew.spike_times
        ]
        for name, said, proven in (*columns, *pairs):
            if not all(np.array_equal(a, b) for a, b in zip(said, proven, strict=True)):
                return f"{name} are not what is proven"
        return None

    def check(self, orbit: Orbit, *, progress: bool = False) -> bool:
        """Say whether a certificate is what :func:`certify_orbit` proves of an orbit now."""
        return self.disagreement(orbit, progress=progress) is None

    def _summary(self) -> Summary:
        said = "proven" if self.proven else "refuted" if self.refuted else "not proven"
        rows: list[tuple[str, object]] = []
        if self.undecided is not None:
            rows.append(("undecided", self.undecided))
        else:
            n = sum(times.midpoints.size for times in self.spike_times.values())
            rows.append(("period", f"{ms(self.period[0])} +/- {self.period[1]:.1g} s"))
            rows.append(
                ("spikes", f"{several(n, 'spike')} and no other, no other orbit within {self.radius:.2g} s")
            )
            words = {True: "stable", False: "not stable", None: "stability not decided"}[self.stable]
            rows.append(("multipliers", f"{self.multipliers.radii.size} enclosed: {words}"))
        if self.refuted:
            rows.append(("refuted", f"{len(self.refuted)}; first, {self.refuted[0]}"))
        return f"OrbitCertificate({said})", rows


def certify_orbit(orbit: Orbit, *, digits: int = 15, progress: bool = False) -> OrbitCertificate:
    """Prove in ball arithmetic that a network has a periodic orbit, and hold what is claimed of it against that.

    Parameters
    ----------
    orbit : Orbit
        Its network and inputs are taken as given; its spikes, period and multipliers are the claim. State, monodromy
        and residual are not looked at.
    digits : int
        Decide every question whose two sides differ by more than 10**-digits, relatively; 300 at most.
    progress : bool
        Whether to show a progress bar of the steps of the proof on stderr, from its start whenever it takes more bits.

    Returns
    -------
    OrbitCertificate
        Refuted if a claimed time, the period or a multiplier is further off what is proven than rounding explains.

    Raises
    ------
    TypeError, ValueError
        If orbit is none, or digits is not an integer from 1 to 300.

    Notes
    -----
    Krawczyk's operator: R. E. Moore, R. B. Kearfott and M. J. Cloud, Introduction to Interval Analysis (2009), section
    8.1. Eigenvalues: acb_mat_eig_multiple of Arb, and Gershgorin's theorem in the basis of approximate eigenvectors.
    """
    if not isinstance(getattr(orbit, "network", None), Network):
        raise TypeError(f"orbit must be an Orbit; got {shown(orbit)}")
    digits = checked_digits(digits)
    bits, why = bits_of(digits + GUARD_DIGITS), ""
    fingerprint = _fingerprint(orbit)
    for _ in range(DOUBLINGS):
        try:
            bar = bar_of(progress, f"enclosing times in {bits} bits", PROOF_STEPS)
            with working_precision(bits), advancing(bar) as advance:
                found = _proof(orbit, digits, bits, fingerprint, advance)
                return replace(found, digest=digest_of(found))
        except NotAnOrbit as error:
            why = str(error)
            break
        except (Undecided, Unproven, ZeroDivisionError) as error:
            why = str(error)
            bits *= 2
    nothing = Enclosures(np.empty(0), np.empty(0))
    none = Multipliers(np.empty(0, np.complex128), np.empty(0))
    found = OrbitCertificate(
        digits,
        bits,
        (math.nan, math.inf),
        dict.fromkeys((n for n, p in orbit.network.populations.items() if p.spiking), nothing),
        none,
        0.0,
        None,
        (),
        why,
        fingerprint,
    )
    return replace(found, digest=digest_of(found))


# -- reading ----------------------------------------------------------------------------------------------------------


class _Claim(NamedTuple):
    """An orbit as its certificate reads it: cells with names, and the rhythm at the claimed times.

    ``spikes`` are by population the numbers of its spikes in the order of its trains; ``unknowns`` are the spikes whose
    times are unknown.
    """

    names: list[tuple[str, int]]
    rhythm: Rhythm
    spikes: dict[str, list[int]]
    unknowns: list[int]
    claimed: list[float]


def _require_whole(orbit: Orbit) -> None:
    """Refuse a claim that is not one of each spike, once, of this network in one period."""
    network, period = orbit.network, orbit.period
    every = {name: p.size for name, p in network.populations.items()}
    given = {name: p.size for name, p in network.populations.items() if p.neuron is None}
    for what, trains_of, sizes in (("spikes", orbit.spikes, every), ("inputs", orbit.inputs, given)):
        if set(trains_of) != set(sizes):
            raise NotAnOrbit(f"{what} must be those of {sorted(sizes)}; they are of {sorted(trains_of)}")
        for name, trains in trains_of.items():
            if (trains.n_samples, trains.n_neurons) != (1, sizes[name]):
                raise NotAnOrbit(
                    f"{what} of {name!r} must be one sample of {sizes[name]} neurons; "
                    f"they are {trains.n_samples} of {trains.n_neurons}"
                )
            outside = ~((trains.times > 0.0) & (trains.times <= period))
            if outside.any():
                k = int(np.argmax(outside))
                raise NotAnOrbit(
                    f"neuron {int(trains.neurons[k])} of {name!r} is said to spike at {float(trains.times[k])!r} s, "
                    f"outside of the period"
                )
    for name, population in network.populations.items():
        if population.neuron is not None and not population.spiking and orbit.spikes[name].n_spikes:
            raise NotAnOrbit(f"the readout {name!r} is said to spike")
    for name in given:
        if orbit.spikes[name] != orbit.inputs[name]:
            raise NotAnOrbit(f"the spikes of the input {name!r} are not those that it is given")
    sizes_of = np.abs(orbit.multipliers)
    if not np.isfinite(sizes_of).all():
        raise NotAnOrbit("multipliers must be finite")
    if (np.diff(sizes_of) > _ORDER * sizes_of[:-1]).any():
        raise NotAnOrbit("multipliers must come with the largest first")


_ORDER = 1e-6
"""By how much, relatively, sizes of multipliers that are equal may differ by rounding."""


def _read(orbit: Orbit) -> _Claim:
    _require_whole(orbit)
    network, period = orbit.network, orbit.period
    if orbit.free and any(trains.n_spikes for trains in orbit.inputs.values()):
        raise NotAnOrbit("an orbit that is said to be free has inputs, which fix its period")
    populations = network.populations
    names, constants, sources = _cells(network)
    arriving: list[list[tuple[int, float, float, bool]]] = [[] for _ in names]
    first_cell = {name: k for k, (name, neuron) in reversed(list(enumerate(names))) if neuron == 0}
    for p in network.projections.values():
        for row, source, weight, delay in zip(
            p.targets.tolist(), p.sources.tolist(), p.weights.tolist(), p.delay.tolist(), strict=True
        ):
            if weight != 0.0:
                arriving[first_cell[p.post] + row].append(
                    (sources[p.pre, source], weight, delay, p.synapse == "delta")
                )
    found = []
    for name, population in populations.items():
        if population.spiking:
            trains = orbit.spikes[name]
            found += [
                (float(t), name, int(n), k)
                for k, (t, n) in enumerate(zip(trains.times, trains.neurons, strict=True))
            ]
    found.sort()
    spikes: dict[str, list[int]] = {name: [] for name, p in populations.items() if p.spiking}
    for k, _ in sorted(enumerate(found), key=lambda item: item[1][3]):
        spikes[found[k][1]].append(k)
    given = [
        (float(t), sources[name, int(n)])
        for name, trains in orbit.inputs.items()
        for t, n in zip(trains.times, trains.neurons, strict=True)
    ]
    times = [time for time, *_ in found] + [time for time, _ in given]
    event_sources = [sources[name, neuron] for _, name, neuron, _ in found] + [source for _, source in given]
    events_of: dict[int, list[int]] = {}
    for k, source in enumerate(event_sources):
        events_of.setdefault(source, []).append(k)
    arrivals = [
        [
            Arrival(event, arb(delay), rational(delay), arb(weight), delta)
            for source, weight, delay, delta in at
            for event in events_of.get(source, ())
        ]
        for at in arriving
    ]
    cell_of = {name: k for k, name in enumerate(names)}
    cells = [cell_of[name, neuron] for _, name, neuron, _ in found]
    events, unknowns = _events(cells, arrivals, times, [t for t, _ in given], period)
    chained = {k: ZERO for k in range(len(found)) if events[k].cause >= 0 and constants[cells[k]].subtracts}
    exact = None if orbit.free else rational(period)
    rhythm = Rhythm(
        constants,
        arrivals,
        events,
        len(found),
        [arb(times[k]) for k in unknowns],
        chained,
        arb(period),
        exact,
    )
    for _ in range(2 if chained else 0):
        rhythm = replace(rhythm, chained={k: _after(rhythm, k).mid() for k in chained})
    return _Claim(names, rhythm, spikes, unknowns, times[: len(found)])


def _cells(network: Network) -> tuple[list[tuple[str, int]], list[Constant], dict[tuple[str, int], int]]:
    """Return the cells' names and parameters, and the number of every source."""
    names: list[tuple[str, int]] = []
    constants: list[Constant] = []
    sources: dict[tuple[str, int], int] = {}
    flowing: set[tuple[str, int]] = set()
    for p in network.projections.values():
        if p.synapse != "delta":
            flowing |= {(p.post, row) for row in np.flatnonzero(np.diff(p.row_offsets)).tolist()}
    for name, population in network.populations.items():
        for neuron in range(population.size):
            sources[name, neuron] = len(sources)
        if population.neuron is None:
            continue
        columns = [
            population.parameter(p).tolist()
            for p in ("tau_mem", "tau_syn", "v_threshold", "v_reset", "v_leak", "t_ref")
        ]
        subtracts = getattr(population.neuron, "reset", "value") == "subtract"
        for neuron, (mem, syn, threshold, reset, leak, t_ref) in enumerate(zip(*columns, strict=True)):
            names.append((name, neuron))
            constants.append(
                Constant(
                    rates_of(arb(mem), arb(syn)),
                    arb(threshold) if math.isfinite(threshold) else ONE,
                    arb(reset),
                    arb(leak),
                    arb(t_ref),
                    rational(t_ref),
                    subtracts,
                    math.isfinite(threshold),
                    (name, neuron) in flowing,
                )
            )
    return names, constants, sources


def _events(
    cells: list[int], arrivals: list[list[Arrival]], times: list[float], given: list[float], period: float
) -> tuple[list[Event], list[int]]:
    """Return all events, and which spikes are crossings; others are triggered by the nearest arrival that lifts V."""
    m = len(cells)
    causes: list[tuple[int, int]] = []
    for k, cell in enumerate(cells):
        best, cause = SEEN * period, (-1, 0)
        for number, arrival in enumerate(arrivals[cell]):
            if arrival.delta and arithmetic.surely_less(ZERO, arrival.weight):
                late = times[k] - times[arrival.event] - float(arrival.delay)
                laps = round(late / period)
                if abs(late - laps * period) <= best:
                    best, cause = abs(late - laps * period), (number, laps)
        causes.append(cause)
    unknowns = [k for k in range(m) if causes[k][0] < 0]
    place = {k: i for i, k in enumerate(unknowns)}
    made: dict[int, Event] = {k: Event(cells[k], place[k], fmpq(0), 0, -1) for k in unknowns}
    made |= {m + i: Event(-1, -1, rational(t), 0, -1) for i, t in enumerate(given)}
    for _ in range(m):
        for k in range(m):
            number, laps = causes[k]
            if k not in made:
                arrival = arrivals[cells[k]][number]
                if arrival.event in made:
                    of = made[arrival.event]
                    made[k] = Event(cells[k], of.unknown, of.offset + arrival.exact, of.laps + laps, number)
    if len(made) < m + len(given):
        raise NotAnOrbit(
            "spikes trigger each other all around the period, so that no crossing fixes their time"
        )
    return [made[k] for k in range(m + len(given))], unknowns


def _fingerprint(orbit: Orbit) -> str:
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        for value in values:
            if isinstance(value, np.ndarray):
                digest.update(repr((value.shape, value.dtype.kind)).encode())
                digest.update(np.ascontiguousarray(value).tobytes())
            else:
                digest.update(repr(value).encode())

    for name, population in orbit.network.populations.items():
        add(name, population.size, getattr(population.neuron, "reset", None))
        if population.neuron is not None:
            add(
                *(
                    population.parameter(p)
                    for p in ("tau_mem", "tau_syn", "v_leak", "v_threshold", "v_reset", "t_ref")
                )
            )
        for trains in (orbit.spikes, orbit.inputs):
            if name in trains:
                add(name, trains[name].times, trains[name].neurons)
    for p in orbit.network.projections.values():
        add(p.key, p.synapse, p.sources, p.row_offsets, p.weights, p.delay)
    period = orbit.period  # whose claim may be anything
    add(float(period) if isinstance(period, float) else period, orbit.free, orbit.multipliers)
    return digest.hexdigest()


# -- existence --------------------------------------------------------------------------------------------------------


def krawczyk(system: System, middle: Sequence[arb], radii: Sequence[arb]) -> list[arb] | None:
    """Return balls within which a system of equations has one solution, and only one in the box; None: not proven.

    With Y about the inverse of the Jacobian at the middle m, and X the box, K = m - Y F(m) + (1 - Y J(X)) (X - m) holds
    every solution in X, and if K is within the interior of X there is one.

    Raises
    ------
    Undecided
        If the system is not one over the box.
    """
    n = len(middle)
    if n == 0:
        return []
    values, jacobian = system(middle)
    inverse = arb_mat([[x.mid() for x in row] for row in jacobian]).inv()
    inverse = arb_mat([[inverse[i, j].mid() for j in range(n)] for i in range(n)])
    box = [m + r * UNIT for m, r in zip(middle, radii, strict=True)]
    _, over = system(box)
    left = _identity(n) - inverse * arb_mat(over)
    step = inverse * arb_mat([[v] for v in values])
    spread = left * arb_mat([[r * UNIT] for r in radii])
    found = [middle[i] - step[i, 0] + spread[i, 0] for i in range(n)]
    return found if all(surely_inside(a, b) for a, b in zip(found, box, strict=True)) else None


def _identity(n: int) -> arb_mat:
    return arb_mat([[ONE if i == j else ZERO for j in range(n)] for i in range(n)])


def _with(rhythm: Rhythm, x: Sequence[arb]) -> Rhythm:
    """Return the rhythm with other unknowns; of a free one the first time is given, and the period last."""
    free = rhythm.exact_period is None
    n = len(rhythm.times) - free
    times = [*rhythm.times[:1], *x[:n]] if free else list(x[:n])
    chained = dict(zip(rhythm.chained, x[n : n + len(rhythm.chained)], strict=True))
    return replace(rhythm, times=times, chained=chained, period=x[-1] if free else rhythm.period)


def _unknowns(rhythm: Rhythm) -> list[arb]:
    free = rhythm.exact_period is None
    return [*rhythm.times[free:], *rhythm.chained.values(), *([rhythm.period] if free else [])]


def _equations(rhythm: Rhythm) -> tuple[list[arb], list[list[arb]], list[arb]]:
    """Return what is left of all equations, their derivatives by all unknowns, and the sizes of their terms."""
    free = rhythm.exact_period is None
    place = {k: len(rhythm.times) + i for i, k in enumerate(rhythm.chained)}
    width = len(rhythm.times) + len(place) + 1
    values, rows, sizes = [], [], []
    chained_rows = []
    for k in range(rhythm.n_spikes):
        of = rhythm.events[k]
        if of.cause >= 0 and k not in place:
            continue
        constant = rhythm.constants[of.cell]
        last = rhythm.spike_before(k)
        term = rhythm.voltage(of.cell, rhythm.moment(k, 0), last, k)
        slope = (constant.leak - term.voltage + term.current) * constant.rates.mem
        row = [ZERO] * width
        row[-1] += term.by_period
        by_times = [(k, slope), (last[0], term.by_release), *((j, by) for j, _, by in term.by_arrivals)]
        for event, by in by_times:
            at = rhythm.events[event]
            if at.unknown >= 0:
                row[at.unknown] += by
                row[-1] += by * at.laps
        if last[0] in place:
            row[place[last[0]]] += term.by_start
        if of.cause < 0:
            values.append(term.voltage - constant.threshold)
            rows.append(row)
            sizes.append(term.size + abs(constant.threshold))
            continue
        lift = rhythm.arrivals[of.cell][of.cause].weight
        row = [-x for x in row]
        row[place[k]] += ONE
        after = term.voltage + lift - (constant.threshold - constant.reset)
        chained_rows.append((rhythm.chained[k] - after, row, term.size + abs(constant.threshold)))
    for value, row, size in chained_rows:
        values.append(value)
        rows.append(row)
        sizes.append(size)
    columns = slice(1, None) if free else slice(0, -1)
    return values, [row[columns] for row in rows], sizes


def _after(rhythm: Rhythm, spike: int) -> arb:
    """Return V after a spike that is triggered in a neuron that subtracts."""
    of = rhythm.events[spike]
    constant = rhythm.constants[of.cell]
    term = rhythm.voltage(of.cell, rhythm.moment(spike, 0), rhythm.spike_before(spike), spike)
    return term.voltage + rhythm.arrivals[of.cell][of.cause].weight - (constant.threshold - constant.reset)


PROOF_STEPS = 4
"""How often :func:`_proof` says that it is further."""


def _proof(orbit: Orbit, digits: int, bits: int, fingerprint: str, advance: Advance) -> OrbitCertificate:
    claim = _read(orbit)
    rhythm = claim.rhythm
    if rhythm.exact_period is None and not rhythm.times:
        raise NotAnOrbit("an orbit without input and without a crossing has no time of its own")

    def system(x: Sequence[arb]) -> tuple[list[arb], list[list[arb]]]:
        return _equations(_with(rhythm, x))[:2]

    claimed = _unknowns(rhythm)
    middle = _polished(system, claimed, arb(orbit.period), _scales(rhythm, len(claimed), float(orbit.period)))
    proven, inverse = _narrow(system, middle)
    rhythm = _with(rhythm, proven)
    advance(1, "following every neuron")
    _require_no_other(rhythm, claim.names)
    advance(1, "widening the box")
    radius = _uniqueness(system, middle, rhythm, float(orbit.period))
    advance(1, "enclosing multipliers")
    rows = monodromy(rhythm)
    multipliers = _eigenvalues(rows)
    off = _rounding(rhythm, inverse)
    # what a multiplier may be if the unknowns are anywhere where rounding may have them
    around = monodromy(_with(rhythm, [x + arb(0, r) for x, r in zip(proven, off, strict=True)]))
    refuted = [
        *_wrong_times(orbit, claim, rhythm, off),
        *_wrong_multipliers(orbit, rhythm, around, multipliers),
    ]
    advance(1)
    moments = [rhythm.moment(k, 0).ball for k in range(rhythm.n_spikes)]
    midpoints = np.array([complex(float(x.real), float(x.imag)) for x in multipliers], dtype=np.complex128)
    radii = np.array([_disc(x, complex(m)) for x, m in zip(multipliers, midpoints, strict=True)])
    return OrbitCertificate(
        digits,
        bits,
        rounded(rhythm.period),
        {name: enclosures_of(moments[k] for k in numbers) for name, numbers in claim.spikes.items()},
        Multipliers(midpoints, radii),
        radius,
        _stability(multipliers, orbit.free),
        tuple(refuted),
        None,
        fingerprint,
    )


def _polished(system: System, x: Sequence[arb], period: arb, reaches: Sequence[float]) -> list[arb]:
    """Return the middle of the box: exact numbers to which Newton's method leads, within half of their reaches."""
    found, smallest = [a.mid() for a in x], arb("inf")
    for _ in range(STEPS if found else 0):
        values, jacobian = system(found)
        try:
            step = arb_mat([[a.mid() for a in row] for row in jacobian]).solve(
                arb_mat([[v.mid()] for v in values])
            )
        except ZeroDivisionError:
            raise NotAnOrbit("the equations are singular at what is claimed") from None
        length = max(float(abs(step[i, 0])) for i in range(len(found)))
        moved = [float(abs(a - step[i, 0] - x[i])) for i, a in enumerate(found)]
        if not all(m < 0.5 * reach for m, reach in zip(moved, reaches, strict=True)):
            raise NotAnOrbit("Newton's method leaves what is claimed")
        if length >= 0.5 * float(smallest) and float(smallest) < 1e-6 * float(period):
            break
        smallest = arb(length)
        found = [(a - step[i, 0]).mid() for i, a in enumerate(found)]
        if length == 0.0:
            break
    return found


def _narrow(system: System, middle: list[arb]) -> tuple[list[arb], arb_mat | None]:
    """Return tight balls around the solution, and about the inverse of the Jacobian there."""
    if not middle:
        return [], None
    values, jacobian = system(middle)
    n = len(middle)
    inverse = arb_mat([[x.mid() for x in row] for row in jacobian]).inv()
    step = inverse * arb_mat([[v] for v in values])
    reach = [abs(step[i, 0]).upper() + abs(middle[i]) * arb(2) ** (8 - ctx.prec) for i in range(n)]
    for widening in (4, 64, 1024, 2**16):
        found = krawczyk(system, middle, [r * widening for r in reach])
        if found is not None:
            return found, inverse
    raise Undecided(float(max(reach, key=float)) / max(float(abs(m)) for m in middle))


def _scales(rhythm: Rhythm, n: int, period: float) -> list[float]:
    """Return of each unknown how large it may be: a period in seconds, and a unit of V."""
    times = len(rhythm.times) - (rhythm.exact_period is None)
    return [1.0 if times <= i < times + len(rhythm.chained) else period for i in range(n)]


def _uniqueness(system: System, middle: list[arb], rhythm: Rhythm, period: float) -> float:
    """Return the widest distance tried within which the solution is proven to be the only one, in seconds."""
    if not middle:
        return period
    kinds = _scales(rhythm, len(middle), period)
    for power in range(1, WIDEST + 1):
        try:
            found = krawczyk(system, middle, [arb(kind) * arb(10) ** -power for kind in kinds])
        except (Undecided, ZeroDivisionError):
            continue
        if found is not None:
            return period * 10.0**-power * (1.0 - 1e-12)
    return 0.0


# -- no other spike ---------------------------------------------------------------------------------------------------


def _require_no_other(rhythm: Rhythm, names: list[tuple[str, int]]) -> None:
    """Prove that every neuron makes the spikes of the rhythm in one period, and no others."""
    roots = itertools.count(OTHER_ROOTS)
    for number, constant in enumerate(rhythm.constants):
        if constant.spiking:
            _follow(rhythm, number, constant, names[number], roots)


def _follow(
    rhythm: Rhythm, number: int, constant: Constant, name: tuple[str, int], roots: itertools.count[int]
) -> None:
    due: list[EventTime] = []
    made = 0

    def fired(_: Cell, moment: EventTime, triggered: bool) -> None:
        nonlocal made
        made += 1
        if not due or order(moment, due[-1]) != 0:
            raise NotAnOrbit(
                f"neuron {name[1]} of {name[0]!r} spikes at about {moment.key!r} s, which the orbit does not have"
            )
        due.pop()

    own = rhythm.own.get(number)
    constants = Constants(
        constant.rates,
        constant.threshold,
        constant.reset,
        constant.leak,
        constant.t_ref,
        constant.exact_t_ref,
        constant.subtracts,
    )
    if own is None:
        start = release = at_time(0.0)
        current = rhythm.current(number, start)
        voltage = rhythm.voltage(number, start, None).voltage
        if not is_less(voltage, constant.threshold):
            raise NotAnOrbit(
                f"V of neuron {name[1]} of {name[0]!r}, which is silent, is beyond its threshold"
            )
        spikes: list[tuple[int, int]] = []
    else:
        start, release = rhythm.moment(own[0], 0), rhythm.release((own[0], 0))
        current = rhythm.current(number, start, including=False)
        voltage = rhythm.after(own[0])
        spikes = [*((k, 0) for k in own[1:]), (own[0], 1)]
    origin = start.ball.lower()
    held = Held(
        constant.rates,
        constant.leak,
        origin,
        current * ((start.ball - origin) * constant.rates.syn).exp(),
        listed=False,
    )
    cell = Cell(number, constants, held, start, release, voltage, fired, roots)
    end = _end_of(rhythm, start, own)
    # own crossings come before arrivals at the same time, and what triggers a spike is that spike
    queue: list[tuple[float, float, int, EventTime, Arrival | None, int]] = []
    first = None if own is None else (own[0], rhythm.events[own[0]].cause)
    for which, arrival in enumerate(rhythm.arrivals[number]):
        laps = rhythm.latest(arrival, start, including=own is None)
        if first is not None and which == first[1]:
            laps = rhythm.latest(arrival, start, including=True)
        moment = rhythm.moment(arrival.event, laps + 1, arrival.exact)
        queue.append((moment.key, moment.low, 1, moment, arrival, which))
    for k, laps in spikes:
        if rhythm.events[k].cause < 0:
            moment = rhythm.moment(k, laps)
            queue.append((moment.key, moment.low, 0, moment, None, k))
    expected = {rhythm.moment(k, laps).key: k for k, laps in spikes if rhythm.events[k].cause >= 0}
    for key, _, _, moment, arriving, which in sorted(queue, key=lambda item: item[:3] + item[5:]):
        if arriving is None:
            _spike(cell, moment, rhythm, due)
            continue
        if key in expected and rhythm.events[expected[key]].cause == which:
            due.append(moment)
            cell.receive(moment, arriving.weight, arriving.delta)
            if due:
                raise NotAnOrbit(
                    f"neuron {name[1]} of {name[0]!r} does not spike at about {moment.key!r} s, as is claimed"
                )
            continue
        if own is not None and order(moment, end) == 1:
            continue
        cell.receive(moment, arriving.weight, arriving.delta)
    if own is None:
        side = order(end, cell.last)
        if side is None:
            raise Unproven(number, end.key, Question.TIE)
        if side == 1:
            cell.settle(end)
    elif made != len(spikes):
        raise NotAnOrbit(f"neuron {name[1]} of {name[0]!r} makes {made} of {len(spikes)} spikes in a period")


def _end_of(rhythm: Rhythm, start: EventTime, own: list[int] | None) -> EventTime:
    if own is not None:
        return rhythm.moment(own[0], 1)
    if rhythm.exact_period is not None:
        return later(start, arb(rhythm.exact_period), rhythm.exact_period)
    return vague(start.ball + rhythm.period)


def _spike(cell: Cell, moment: EventTime, rhythm: Rhythm, due: list[EventTime]) -> None:
    """Prove that a cell's next crossing is the one of the rhythm at a moment, and let it spike then."""
    found = cell.next_spike(vague(moment.ball + rhythm.period))
    if found is None:
        raise Unproven(cell.number, moment.key, Question.GRAZING)
    around = found.ball.union(moment.ball)
    free = cell.ahead()
    if not is_less(ZERO, free.slope(around)):
        raise NotAnOrbit(f"V falls at about {moment.key!r} s, where a spike is claimed")
    due.append(moment)
    cell.spike(moment)


# -- what is claimed --------------------------------------------------------------------------------------------------


def _eigenvalues(rows: list[list[arb]]) -> list[acb]:
    """Return balls around all eigenvalues, the largest first.

    Those of a matrix are those of the blocks of coordinates that move each other, the rest being triangular.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(rows)))
    graph.add_edges_from(
        (j, i) for i, row in enumerate(rows) for j, entry in enumerate(row) if not surely_zero(entry)
    )
    found: list[acb] = []
    for block in nx.strongly_connected_components(graph):
        at = sorted(block)
        if len(at) == 1:
            found.append(acb(rows[at[0]][at[0]]))
            continue
        found += _block_eigenvalues(acb_mat(arb_mat([[rows[i][j] for j in at] for i in at])))
    return sorted(
        found, key=lambda x: (-abs(complex(float(x.real), float(x.imag))), -float(x.real), -float(x.imag))
    )


def _block_eigenvalues(matrix: acb_mat) -> list[acb]:
    """Return a ball around each eigenvalue, by Rump's method, and where that fails by Gershgorin's discs.

    The discs are those in about a basis of eigenvectors; what overlaps has as many eigenvalues together as there are
    discs, each somewhere in them. So the multiple eigenvalues of a symmetric network are enclosed; exactly multiple
    ones that lack eigenvectors stay undecided.
    """
    n = matrix.nrows()
    try:
        found: list[acb] = matrix.eig(multiple=True)
    except ValueError:
        return _discs(matrix, n)
    return found


def _discs(matrix: acb_mat, n: int) -> list[acb]:
    try:
        _, basis = matrix.eig(right=True, algorithm="approx")
        middle = [[acb(basis[i, j].real.mid(), basis[i, j].imag.mid()) for j in range(n)] for i in range(n)]
        similar = acb_mat(middle).inv() * matrix * acb_mat(middle)
    except (ValueError, ZeroDivisionError) as error:
        raise Undecided(math.inf) from error
    boxes = []
    for i in range(n):
        reach = sum((abs(similar[i, j]).upper() for j in range(n) if j != i), ZERO) * UNIT
        boxes.append(acb(similar[i, i].real + reach, similar[i, i].imag + reach))
    near = nx.Graph()
    near.add_nodes_from(range(n))
    near.add_edges_from(
        (i, j) for i, j in itertools.combinations(range(n), 2) if not _apart(boxes[i], boxes[j])
    )
    found: list[acb] = []
    for group in nx.connected_components(near):
        first, *others = sorted(group)
        real, imag = boxes[first].real, boxes[first].imag
        for i in others:
            real, imag = real.union(boxes[i].real), imag.union(boxes[i].imag)
        if not surely_less(real.rad() + imag.rad(), arb(WIDE)):
            raise Undecided(float(real.rad() + imag.rad()))
        found += [acb(real, imag)] * len(group)
    return found


def _apart(a: acb, b: acb) -> bool:
    """Say whether two boxes have no number in common."""
    pairs = ((a.real, b.real), (b.real, a.real), (a.imag, b.imag), (b.imag, a.imag))
    return any(surely_less(low, high) for low, high in pairs)


def _disc(x: acb, middle: complex) -> float:
    return math.nextafter(math.hypot(distance(x.real, middle.real), distance(x.imag, middle.imag)), math.inf)


def _stability(multipliers: list[acb], free: bool) -> bool | None:
    """Return whether all multipliers are below 1 in size, but for that of time of a free orbit, which is 1."""
    sizes = [abs(x) for x in multipliers]
    if any(surely_less(ONE, size) for size in sizes):
        return False
    return True if sum(not surely_less(size, ONE) for size in sizes) == free else None


def _rounding(rhythm: Rhythm, inverse: arb_mat | None) -> list[float]:
    """Return by how much rounding of the equations moves each unknown."""
    if inverse is None:
        return []
    _, _, sizes = _equations(rhythm)
    period = float(rhythm.period)
    fastest = max((float(c.rates.mem.max(c.rates.syn)) for c in rhythm.constants), default=0.0)
    longest = max((len(arriving) for arriving in rhythm.arrivals), default=0)
    rounding = [EPS * (longest + 16) * (1.0 + fastest * period) * float(size) for size in sizes]
    return [
        sum(abs(float(inverse[i, j])) * rounding[j] for j in range(len(rounding))) + 8.0 * EPS * period
        for i in range(len(sizes))
    ]


def _wrong_times(orbit: Orbit, claim: _Claim, rhythm: Rhythm, off: list[float]) -> list[str]:
    """Return which times are further off than rounding explains: ``off`` of each unknown."""
    period = float(rhythm.period)
    free = rhythm.exact_period is None
    allowed = dict(zip(range(int(free), len(rhythm.times)), off, strict=False))
    found = []
    tolerance = off[-1] if free else 0.0
    if free and abs(orbit.period - rhythm.period.mid()) > tolerance + rhythm.period.rad():
        found.append(f"the period is said to be {orbit.period!r} s, and is {float(rhythm.period)!r} s")
    for name, numbers in claim.spikes.items():
        for k in numbers:
            of = rhythm.events[k]
            proven = rhythm.moment(k, 0).ball
            tolerance = (
                allowed.get(of.unknown, 0.0) + abs(of.laps) * (off[-1] if free else 0.0) + 8.0 * EPS * period
            )
            if not arithmetic.is_within(claim.claimed[k], proven, tolerance):
                neuron = claim.names[of.cell][1]
                found.append(
                    f"neuron {neuron} of {name!r} is said to spike at {claim.claimed[k]!r} s, "
                    f"and does at {float(proven)!r} s"
                )
    return found


def _wrong_multipliers(orbit: Orbit, rhythm: Rhythm, rows: list[list[arb]], proven: list[acb]) -> list[str]:
    """Return which multipliers are further off than rounding explains.

    Each claim is held against the one that is left and nearest. Rounding moves a matrix by its size, and by the radii
    of ``rows``, which are those of times with their rounding; and an eigenvalue by that times its condition, but what
    is lost for good, which is so after as many periods as spikes may be on their way and two more, by the root of as
    many.
    """
    claimed = [complex(x) for x in orbit.multipliers]
    middles = [complex(float(x.real), float(x.imag)) for x in proven]
    n = len(rows)
    if not n:
        return [f"{several(len(claimed), 'multiplier')} claimed of no state"] if claimed else []
    units = np.ones(n)
    units[len(rhythm.constants) + sum(c.flows for c in rhythm.constants) :] = float(rhythm.period)
    matrix = np.array([[float(x) for x in row] for row in rows]) * units[None, :] / units[:, None]
    size = float(np.linalg.norm(matrix))
    values, left_vectors, right_vectors = scipy.linalg.eig(matrix, left=True, right=True)
    overlaps = np.abs((left_vectors.conj() * right_vectors).sum(axis=0))
    conditions = 1.0 / np.maximum(overlaps, np.finfo(np.float64).tiny)
    moves = np.array([[float(x.rad()) for x in row] for row in rows]) * units[None, :] / units[:, None]
    rounding = 64.0 * n * EPS * max(1.0, size) * (1.0 + orbit.n_spikes) + float(np.linalg.norm(moves))
    laps = max((lap for _, lap in _ways(rhythm)), default=0)
    lost = rounding ** (1.0 / (2.0 + laps))
    left = list(range(n))
    found = []
    nonzero = [k for k in left if not proven[k].contains(0)]
    if sum(abs(c) > lost for c in claimed) > len(nonzero) or len(nonzero) > len(claimed):
        found.append(f"{len(claimed)} multipliers are claimed, and there are {len(nonzero)} other than 0")
    for value in claimed:
        if not left:
            if abs(value) > lost:
                found.append(f"a multiplier {value!r} is claimed, which is not one")
            continue
        k = min(left, key=lambda k: abs(middles[k] - value))
        left.remove(k)
        at = int(np.argmin(np.abs(values - middles[k])))
        allowed = lost if proven[k].contains(0) else min(lost, rounding * float(conditions[at]))
        if abs(middles[k] - value) > allowed + _disc(proven[k], middles[k]):
            found.append(f"a multiplier is said to be {value:.17g}, and is {middles[k]:.17g}")
    return found


def _ways(rhythm: Rhythm) -> list[tuple[int, int]]:
    start = at_time(0.0)
    found = []
    for k in range(rhythm.n_spikes):
        heard = [a for arriving in rhythm.arrivals for a in arriving if a.event == k]
        lap = 1
        while any(order(rhythm.moment(k, -lap, a.exact), start) == 1 for a in heard):
            found.append((k, lap))
            lap += 1
    return found
