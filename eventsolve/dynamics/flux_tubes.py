r"""flux_tube(): how large a perturbation of the state may be before two trajectories part for good.

Where perturbations die out, as in networks of inhibitory neurons, larger ones may still change the order of events,
from where trajectories part. Around a trajectory there is a tube of those that come back to it (Monteforte and Wolf
2012). Three numbers say how wide it is: a radius within which the order of events is proven to stay, a bound; where to
first order it changes in the worst direction, an estimate; and how many random perturbations of a size part, a sample,
with the size at which a part of 1 - 1/e does if walls come at random, as

.. math:: P(\epsilon) = 1 - e^{-\epsilon / \epsilon_{FT}}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from eventsolve.adjoint import require_solution
from eventsolve.checks import count, first_entry, real_array
from eventsolve.dynamics.paths import numbers_of, rebuilt
from eventsolve.frozen import Frozen
from eventsolve.interrupts import Interrupted
from eventsolve.jobs import bar_of, finished
from eventsolve.kinds import require_shapes
from eventsolve.network import Network
from eventsolve.patterns import Pattern, moving, pattern_of
from eventsolve.shown import Summary, several
from eventsolve.solution import Solution
from eventsolve.solve import RepeatedSpikeError, SpikeBudgetError, solve
from eventsolve.spiketrains import SpikeTrains
from eventsolve.stability.estimates import estimate_radius
from eventsolve.stability.margins import Margin
from eventsolve.stability.trust import trust_radius
from eventsolve.typing import Direction, Integers, Reals

STATES = ("v_initial", "i_initial")
MOST_DIRECTIONS = 1_000_000
"""Directions of perturbations that can be asked for: with so many a fraction is known to 0.1 %."""
APART = 3.0
"""How many times as far apart spikes are in the end if trajectories have parted."""
DOUBT = 0.05
"""Of intervals: they miss the truth so often at most."""
DROP = 1.92
"""In the logarithm of the likelihood, half the 0.95 quantile of chi squared with one degree of freedom."""


@dataclass(frozen=True, eq=False, repr=False)
class FluxTube(Frozen):
    """How large a perturbation of the state at the start may be.

    Attributes
    ----------
    of : mapping of str to mapping
        By which multiple of a size each V and I at the start is perturbed at most.
    certified : float
        A bound: no perturbation up to this size changes the order of any neuron's events, proven in ball arithmetic. 0
        where nothing is proven, NaN where it was not asked for.
    first_order : float
        An estimate: at this size the worst perturbation changes it, to first order.
    limit : Margin or None
        What changes there first.
    sizes : ndarray of float64, (n_sizes,)
    parted, changed : ndarray of int64, (n_sizes,)
        A sample: of so many random perturbations of each size, how many trajectories part, and how many have other
        numbers of spikes.
    n_directions : int
    fraction : ndarray of float64, (n_sizes, 2)
        Between which two the part of those that part lies, of each size, in 95 of 100 cases (Clopper and Pearson).
    size : float
        An estimate: the size at which a part of 1 - 1/e parts, of largest likelihood; inf if none did, 0 if all did.
    interval : (float, float)
        Of that size, in about 95 of 100 cases, if the exponential law holds.
    """

    of: Pattern
    certified: float
    first_order: float
    limit: Margin | None
    sizes: Reals
    parted: Integers
    changed: Integers
    n_directions: int
    fraction: Reals
    size: float
    interval: tuple[float, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, sizes="n", parted="n", changed="n", fraction="n two")

    def _summary(self) -> Summary:
        proven = "not asked for" if math.isnan(self.certified) else f"{self.certified:.3g}, a proven bound"
        low, high = self.interval
        sampled = f"{self.size:.3g} ({low:.3g} to {high:.3g}), an estimate of a random direction"
        rows: list[tuple[str, object]] = [
            ("of", moving(self.of)),
            ("certified", proven),
            ("first_order", f"{self.first_order:.3g}, an estimate of the worst direction"),
            ("sampled", sampled if self.n_directions else "not asked for"),
        ]
        return f"FluxTube({self.n_directions} directions, {several(self.sizes.size, 'size')})", rows


def flux_tube(
    solution: Solution,
    of: str | Direction | None = None,
    *,
    sizes: ArrayLike | None = None,
    n_directions: int = 50,
    seed: int = 0,
    certified: bool = True,
    executor: Executor | None = None,
    progress: bool = False,
) -> FluxTube:
    """Return how large a perturbation of the state at the start may be before trajectories part for good.

    Parameters
    ----------
    solution : Solution
        One sample, from time 0 on, long enough for perturbations that die out to have done so.
    of : str or mapping, optional
        ``"v_initial"``, ``"i_initial"`` or multiples of both, as for :func:`eventsolve.trust_radius`. By default V
        of every neuron that spikes, by multiples of v_threshold - v_reset.
    sizes : array_like, (n_sizes,), optional
        Sizes of the perturbations: the largest of all multiples. By default 9 from a tenth of the first-order radius
        on, up to a thousand times that, or to where a neuron would start at its threshold.
    n_directions : int
        Random perturbations, each at every size; 0 for the radii alone.
    seed : int
    certified : bool
        Whether to look for the proven radius, which takes by far the most time.
    executor : concurrent.futures.Executor, optional
        To solve directions in parallel processes.
    progress : bool
        Whether to show a progress bar of the directions on stderr.

    Raises
    ------
    Interrupted
        After a KeyboardInterrupt, which it is: ``so_far`` is the tube of the directions that were done until then, and
        what is proven is NaN in it.
    TypeError
        If ``solution`` is not a Solution.
    ValueError
        If it is not of one sample from time 0 on, ``of`` names something else, sizes are not finite and > 0, or one
        takes a neuron to its threshold.

    Notes
    -----
    Two trajectories have parted if the last spikes that both have of every neuron are, on average, three times as far
    apart as the first ones, or a neuron has two more or fewer: a shift in time, which neither dies out nor grows, is
    none. A network that runs away has parted.
    """
    require_solution(solution)
    solution.require_whole("a flux tube")
    solution.require_solved("a flux tube is")
    if solution.n_samples != 1 or solution.after >= 0.0 or not solution.t_end > 0.0:
        raise ValueError(
            f"solution must be of one sample, from time 0 to a later one; got "
            f"{several(solution.n_samples, 'sample')} from {solution.t_start!r} to {solution.t_end!r} s"
        )
    pattern = pattern_of(solution, _reaches(solution.network) if of is None else of)
    for name in pattern:
        if name not in STATES:
            raise ValueError(f"of must name some of {STATES}, the state at the start; got {name!r}")
    estimate = estimate_radius(solution, pattern_given(pattern))
    first_order = float(estimate.radius[0])
    largest = _largest(solution.network, pattern)
    checked = _sizes(sizes, first_order, largest)
    generators = np.random.SeedSequence(count("seed", seed, most=None)).spawn(
        count("n_directions", n_directions, 0, MOST_DIRECTIONS)
    )
    run = partial(outcomes, solution, pattern, checked.tolist())
    bar = bar_of(progress, "perturbing", n_directions)
    found, interrupt = finished(run, generators, executor, bar)
    parted, changed = np.array(found, dtype=np.int64).reshape(-1, 2, checked.size).sum(axis=0)

    def tube(radius: float) -> FluxTube:
        n = len(found)
        size, interval = fitted(checked, parted, n)
        fraction = clopper_pearson(parted, n)
        limit = estimate.limits[0]
        return FluxTube(
            pattern, radius, first_order, limit, checked, parted, changed, n, fraction, size, interval
        )

    if interrupt is not None:
        raise Interrupted(tube(math.nan)) from interrupt
    if not certified:
        return tube(math.nan)
    try:
        return tube(float(trust_radius(solution, pattern_given(pattern)).certified[0]))
    except KeyboardInterrupt as stopped:
        raise Interrupted(tube(math.nan)) from stopped


def pattern_given(pattern: Pattern) -> dict[str, dict[Any, Reals]]:
    """Return a pattern of neurons' parameters as a caller gives it."""
    return {name: dict(by_key) for name, by_key in pattern.items()}


def _reaches(network: Network) -> dict[str, dict[str, Reals]]:
    return {
        "v_initial": {
            p.name: p.parameter("v_threshold") - p.parameter("v_reset")
            for p in network.populations.values()
            if p.spiking
        }
    }


def _largest(network: Network, pattern: Pattern) -> float:
    """Return the size at which a neuron may start at its threshold."""
    largest = math.inf
    for name, multiples in pattern.get("v_initial", {}).items():
        p = network.population(name)
        room = p.parameter("v_threshold") - p.parameter("v_initial")
        some = multiples > 0.0
        largest = min(largest, float((room[some] / multiples[some]).min(initial=math.inf)))
    return largest


def _sizes(sizes: ArrayLike | None, first_order: float, largest: float) -> Reals:
    if sizes is None:
        low = 0.1 * min(first_order, 1.0) or 1e-6
        return np.geomspace(min(low, 0.01 * largest), min(1e4 * low, 0.9 * largest), 9)
    checked = real_array("sizes", sizes).reshape(-1)
    bad = ~(np.isfinite(checked) & (checked > 0.0) & (checked < largest))
    if bad.any() or not checked.size:
        what = first_entry(checked, bad) if checked.size else "there is none"
        raise ValueError(
            f"sizes must be finite, > 0, and below {largest:.6g}, where a neuron may start at its threshold; {what}"
        )
    return checked


def outcomes(
    solution: Solution, pattern: Pattern, sizes: Sequence[float], seed: np.random.SeedSequence
) -> list[tuple[list[bool], list[bool]]]:
    """Return for one random direction at which sizes trajectories part, and at which the numbers of spikes change.

    As a list of one, as jobs have it.
    """
    rng = np.random.default_rng(seed)
    draws = {
        name: {key: multiples * rng.uniform(-1.0, 1.0, multiples.size) for key, multiples in by_key.items()}
        for name, by_key in pattern.items()
    }
    top = max(
        (
            float((np.abs(draws[name][key][multiples > 0]) / multiples[multiples > 0]).max(initial=0.0))
            for name, by_key in pattern.items()
            for key, multiples in by_key.items()
        ),
        default=1.0,
    )
    inputs = {n: t for n, t in solution.spikes.items() if solution.network.population(n).neuron is None}
    parted, changed = [], []
    for size in sizes:
        factor = size / (top or 1.0)
        moved = {
            name: {key: numbers_of(solution, name, key) + factor * d for key, d in by_key.items()}
            for name, by_key in draws.items()
        }
        network, _ = rebuilt(solution.network, inputs, moved)
        try:
            other = solve(network, inputs, solution.t_end, threads=1)
        except (SpikeBudgetError, RepeatedSpikeError):
            parted.append(True)
            changed.append(True)
            continue
        parted.append(have_parted(solution.spikes, other.spikes))
        changed.append(_counts_differ(solution.spikes, other.spikes))
    return [(parted, changed)]


def have_parted(one: Mapping[str, SpikeTrains], other: Mapping[str, SpikeTrains]) -> bool:
    """Return whether spikes of two trajectories are further apart in the end than at the start, neuron by neuron."""
    first, last = [0.0], [0.0]
    for name, trains in one.items():
        counts = trains.counts()[0], other[name].counts()[0]
        if (np.abs(counts[0] - counts[1]) > 1).any():
            return True
        n = np.minimum(*counts)
        some = n > 0
        ours, theirs = (
            (t.times[np.lexsort((t.times, t.neurons))], np.concatenate([[0], np.cumsum(c)[:-1]])[some])
            for t, c in zip((trains, other[name]), counts, strict=True)
        )
        for place, found in ((np.zeros(n.size, np.int64)[some], first), (n[some] - 1, last)):
            found += np.abs(ours[0][ours[1] + place] - theirs[0][theirs[1] + place]).tolist()
    return sum(last) > APART * sum(first)


def _counts_differ(one: Mapping[str, SpikeTrains], other: Mapping[str, SpikeTrains]) -> bool:
    return any(not np.array_equal(trains.counts(), other[name].counts()) for name, trains in one.items())


def clopper_pearson(hits: Integers, n: int) -> Reals:
    """Return the exact interval of a fraction of which ``hits`` of n were seen, (n_sizes, 2)."""
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, DOUBT / 2), 0.0)
    high = np.where(hits < n, betaincinv(hits + 1, np.maximum(n - hits, 1), 1 - DOUBT / 2), 1.0)
    return np.stack([low, high], axis=1)


def fitted(sizes: Reals, hits: Integers, n: int) -> tuple[float, tuple[float, float]]:
    """Return the scale of largest likelihood of hits with probability 1 - exp(-size / scale), and its interval.

    One that no sample bounds ends at 0 or inf.
    """
    if n == 0:
        return math.nan, (0.0, math.inf)

    def likelihood(scale: Reals) -> Reals:
        x = sizes[:, None] / scale
        with np.errstate(divide="ignore", under="ignore"):
            return np.asarray((hits[:, None] * np.log(-np.expm1(-x)) - (n - hits)[:, None] * x).sum(axis=0))

    scales = np.geomspace(sizes.min() * 1e-4, sizes.max() * 1e6, 20_001)
    values = likelihood(scales)
    best = int(np.argmax(values))
    inside = np.flatnonzero(values >= values[best] - DROP)
    low = 0.0 if hits.all() and (hits == n).all() else float(scales[inside[0]])
    high = math.inf if not hits.any() else float(scales[inside[-1]])
    if not hits.any():
        return math.inf, (low, math.inf)
    if (hits == n).all():
        return 0.0, (0.0, high)
    return float(scales[best]), (low, high)
