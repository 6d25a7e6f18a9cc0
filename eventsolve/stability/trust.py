"""trust_radius(): how far numbers may move before the order of events changes, proven and to first order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from eventsolve.certify import OpenQuestion
from eventsolve.certify.boxes import Box, Numbers, box_of, only
from eventsolve.certify.claims import Claims, by_sample
from eventsolve.certify.network import Wiring
from eventsolve.certify.samples import first_open_question
from eventsolve.checks import shown
from eventsolve.frozen import Frozen
from eventsolve.interrupts import Interrupted
from eventsolve.jobs import bar_of, finished
from eventsolve.kinds import require_shapes
from eventsolve.patterns import NEURON_PARAMETERS, Pattern, moving
from eventsolve.shown import Summary, several
from eventsolve.solution import Solution
from eventsolve.stability.estimates import RadiusEstimate, estimate_radius, limit_of, span
from eventsolve.stability.margins import Margin, spiking_layers
from eventsolve.typing import Direction, Reals

CLOSE = 2.0**0.125
"""A certified radius is within this factor of one that could not be certified."""
DIGITS = 15
"""Of the certificates."""
LARGEST, SMALLEST, STEP = 2.0**12, 2.0**-60, 8.0
"""How far from the first-order estimate a certified radius is sought, and in which steps, as factors."""

TIMES = ("delay", "t_ref", "spike_times")
"""What is added to times of events."""


@dataclass(frozen=True, eq=False, repr=False)
class TrustRadius(Frozen):
    """How far numbers may move, all at once, before the order of events changes.

    Attributes
    ----------
    of : mapping of str to mapping
        What moves, and by which multiple of the radius: (n_synapses,) for a projection, (n,) or (n_spikes,).
    certified : ndarray of float64, (n_samples,)
        Every network whose numbers differ by up to this radius times their multiple has the same spikes, and every
        neuron the same order of its spikes, releases and arrivals: proven in ball arithmetic. 0 where nothing is, or
        only for less than float64 can move any number: less than the spacing of float64 at each number that is not 0,
        over its multiple, where delays, refractory periods and input times count as t_end, beside which events are.
    first_order : ndarray of float64, (n_samples,)
        The radius at which the first distance of :func:`eventsolve.margins` vanishes if all of them were linear; inf
        where nothing that moves can change the order. An estimate, usually above the certified radius.
    limits : tuple of Margin or None, n_samples of them
        The distance that vanishes first, None where first_order is inf.
    undecided : tuple of OpenQuestion or None, n_samples of them
        What the certificate leaves open at the smallest radius that it does not prove, if it was asked for one.
    looked_at : ndarray of bool, (n_samples,)
        Which samples were certified: all, but in what an interrupt leaves (:class:`eventsolve.Interrupted`).
    """

    of: Pattern
    certified: Reals
    first_order: Reals
    limits: tuple[Margin | None, ...]
    undecided: tuple[OpenQuestion | None, ...]
    looked_at: NDArray[np.bool_]

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shapes(self, certified="n", first_order="n", limits="n", undecided="n", looked_at="n")

    def _summary(self) -> Summary:
        looked = int(self.looked_at.sum())
        rows: list[tuple[str, object]] = [
            ("of", moving(self.of)),
            ("certified", span(self.certified)),
            ("first_order", span(self.first_order)),
            *limit_of(self.first_order, self.limits),
        ]
        if looked < self.looked_at.size:
            rows.append(("looked_at", f"{looked} of {several(self.looked_at.size, 'sample')}"))
        return f"TrustRadius({several(self.certified.size, 'sample')})", rows

    def __str__(self) -> str:
        if not self.certified.size:
            return "no samples"
        if not self.looked_at.all():
            return f"{self.looked_at.sum()} of {self.looked_at.size} samples were looked at"
        s = int(np.argmin(self.certified))
        limit = f"; first, {self.limits[s]}" if self.limits[s] else ""
        certified = (
            f"the order of events is certified up to {self.certified[s]:.3g} in every sample"
            if self.certified[s] > 0
            else f"the order of events is certified for no change that float64 can express in sample {s}"
        )
        return f"{certified}, {self.first_order[s]:.3g} to first order in sample {s}{limit}"


@overload
def trust_radius(
    solution: Solution,
    of: str | Direction = ...,
    *,
    certify: Literal[True] = ...,
    threads: int | None = ...,
    executor: Executor | None = ...,
    progress: bool = ...,
) -> TrustRadius: ...


@overload
def trust_radius(
    solution: Solution,
    of: str | Direction = ...,
    *,
    certify: Literal[False],
    threads: int | None = ...,
    executor: None = ...,
    progress: Literal[False] = ...,
) -> RadiusEstimate: ...


def trust_radius(
    solution: Solution,
    of: str | Direction = "weight",
    *,
    certify: bool = True,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
) -> TrustRadius | RadiusEstimate:
    """Return how far numbers may move before the order of events changes: certified, and to first order.

    Certificates of boxes, as of ``certify(solution, radii=...)``, are sought by bisection of the radius until one fails
    within a factor of 2**(1/8); where the first-order estimate is inf, up to a radius of 1. Balls over-estimate what a
    box of networks can do, so that the true radius may be larger.

    Parameters
    ----------
    solution : Solution
    of : str or mapping of str to mapping
        What moves: ``"weight"``, ``"delay"``, ``"tau_mem"`` or another parameter of neurons, each number by up to the
        radius; ``"spike_times"`` moves every input spike. A mapping gives multiples of the radius, which are numbers or
        like the gradient of that name: ``{"weight": {("in", "hidden"): 0.5 * step}}`` has a radius of 1 where rounding
        to multiples of ``step`` may just change the order, and ``{"weight": {key: abs(weight)}}`` a relative one. To
        first order alone, a population that is no input may stand under ``"spike_times"``, too: each of its spikes is
        emitted up to so much early or late. Delays, refractory periods and input times that would become negative do
        not become so in a certificate: the box ends at 0.
    certify : bool
        False for the estimate to first order alone, in which every distance is linear: milliseconds for a sample, and
        no proof.
    threads : int, optional
        For the estimate, as in ``solve``; the result has the same bits for any number.
    executor : concurrent.futures.Executor, optional
        To certify samples in parallel processes.
    progress : bool
        Whether to show a progress bar of the certificates on stderr.

    Returns
    -------
    TrustRadius
        Or with ``certify=False`` a :class:`RadiusEstimate`.

    Raises
    ------
    Interrupted
        After a KeyboardInterrupt, which it is: ``so_far`` is the radius of the samples that were done until then.
    TypeError
        If ``solution`` is not a Solution.
    ValueError
        For unknown names, shapes that do not fit, multiples that are not finite and >= 0, a solution that ends with
        first spikes, or, certified, spikes of populations that are no inputs; for an executor or a bar of progress
        where nothing is certified.
    """
    if not isinstance(certify, bool):
        raise TypeError(f"certify must be True or False; got {shown(certify)}")
    if not certify and (executor is not None or progress):
        raise ValueError("executor and progress are of certificates; with certify=False there are none")
    estimate = estimate_radius(solution, of, threads=threads)
    if not certify:
        return estimate
    inputs = {name for name, p in solution.network.populations.items() if p.neuron is None}
    for name in estimate.of.get("spike_times", {}):
        if name not in inputs:
            raise ValueError(
                f"of['spike_times'] must name inputs, {sorted(inputs)}; got {name!r}: spikes that the network makes "
                "cannot be moved by themselves in a certificate; trust_radius(certify=False) moves them to first order"
            )
    box = box_of(solution)
    spiking = [name for layer in spiking_layers(solution) for name in layer.name]
    jobs = [
        Job(
            s,
            only(box, [s]),
            _of_sample(estimate.of, solution, s),
            {name: by_sample(solution.spikes[name], s) for name in spiking},
            float(radius),
        )
        for s, radius in enumerate(estimate.radius)
    ]
    certified = np.zeros(len(jobs))
    undecided: list[OpenQuestion | None] = [None] * len(jobs)
    looked_at = np.zeros(len(jobs), np.bool_)
    done, interrupt = finished(_radii, jobs, executor, bar_of(progress, "certifying radii", len(jobs)))
    for s, radius, question in done:
        certified[s], undecided[s], looked_at[s] = radius, question, True
    radii = TrustRadius(estimate.of, certified, estimate.radius, estimate.limits, tuple(undecided), looked_at)
    if interrupt is not None:
        raise Interrupted(radii) from interrupt
    return radii


def _of_sample(pattern: Pattern, solution: Solution, sample: int) -> dict[str, dict[Any, Reals]]:
    """Return the pattern with the spikes of one sample only, as it can travel between processes."""
    here = {name: dict(scales) for name, scales in pattern.items()}
    for name, scale in here.get("spike_times", {}).items():
        low, high = solution.spikes[name].offsets[sample : sample + 2]
        here["spike_times"][name] = scale[low:high]
    return here


# -- one sample -----------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """One sample: its box of radius 0, what moves, its spikes, and the first-order radius."""

    sample: int
    box: Box
    pattern: Pattern
    claimed: Claims
    estimate: float


def _radii(job: Job) -> list[tuple[int, float, OpenQuestion | None]]:
    """Return the radius of the one sample of a job: what a worker does at a time."""
    return [certified_radius(job)]


def certified_radius(job: Job) -> tuple[int, float, OpenQuestion | None]:
    """Return (sample, radius, question): the largest radius found that is proven, and what is open just beyond.

    From the estimate down, or up, by factors until a proof succeeds next to one that fails; then by bisection. Nothing
    is sought below what float64 can express.
    """
    limit, smallest = _largest(job.box, job.pattern), _smallest(job.box, job.pattern)
    start = min(job.estimate if job.estimate < math.inf else 1.0, 0.5 * limit)
    good, bad, why = 0.0, math.inf, None
    if not start > 0.0 or smallest > 0.5 * limit:
        return (
            job.sample,
            0.0,
            first_open_question(Wiring(job.box, everything=False), job.sample, job.claimed, DIGITS),
        )
    radius = start = max(start, smallest)
    least = max(smallest, SMALLEST * start)
    while good == 0.0 or bad == math.inf:
        question = _open_question(job, radius)
        if question is None:
            good = radius
            radius *= STEP
            if bad == math.inf and (radius >= limit or radius > LARGEST * start or job.estimate == math.inf):
                return job.sample, good, None
        else:
            bad, why = radius, question
            if good == 0.0 and radius <= least:
                return job.sample, 0.0, why
            radius = max(radius / STEP, least)
    while bad > CLOSE * good:
        radius = math.sqrt(good) * math.sqrt(bad)  # whose product may be beyond float64
        question = _open_question(job, radius)
        if question is None:
            good = radius
        else:
            bad, why = radius, question
    return job.sample, good, why


def _open_question(job: Job, radius: float) -> OpenQuestion | None:
    wiring = Wiring(grown(job.box, job.pattern, radius), everything=False)
    return first_open_question(wiring, job.sample, job.claimed, DIGITS)


def grown(box: Box, pattern: Pattern, radius: float) -> Box:
    """Return the box with radii of at least so many times the multiples of a pattern."""

    def wider(numbers: Numbers, places: Mapping[Any, slice], scales: Mapping[Any, Reals]) -> Numbers:
        radii = np.zeros(numbers.middle.shape)
        for key, scale in scales.items():
            product = radius * scale
            radii[places[key]] = np.where(product > 0.0, np.nextafter(product, np.inf), 0.0)
        return Numbers(numbers.middle, radii)

    synapses = box.synapses
    trains = {
        name: replace(
            train, times=wider(train.times, {name: slice(None)}, _only(pattern.get("spike_times", {}), name))
        )
        for name, train in box.trains.items()
    }
    return replace(
        box,
        parameters={
            name: wider(numbers, box.populations, pattern.get(name, {}))
            for name, numbers in box.parameters.items()
        },
        synapses=replace(
            synapses,
            weight=wider(synapses.weight, synapses.slices, pattern.get("weight", {})),
            delay=wider(synapses.delay, synapses.slices, pattern.get("delay", {})),
        ),
        trains=trains,
        exact=False,
    )


def _only(scales: Mapping[Any, Reals], name: str) -> dict[str, Reals]:
    return {name: scales[name]} if name in scales else {}


def _smallest(box: Box, pattern: Pattern) -> float:
    """Return the radius below which no number that moves and is not 0 has another one in float64 to move to."""
    synapses, least = box.synapses, [math.inf]
    for name, scales in pattern.items():
        for key, scale in scales.items():
            if name == "spike_times":
                middle = box.trains[key].times.middle
            elif name in ("weight", "delay"):
                middle = getattr(synapses, name).middle[synapses.slices[key]]
            else:
                middle = box.parameters[name].middle[box.populations[key]]
            size = np.abs(middle)
            if name in TIMES:
                size = np.maximum(size, box.t_end)
            moved = (scale > 0.0) & (size > 0.0)
            with np.errstate(over="ignore"):  # what hardly moves has no limit
                spacings = (size - np.nextafter(size, 0.0))[moved] / scale[moved]
            least.append(spacings.min(initial=math.inf))
    return 0.0 if min(least) == math.inf else float(min(least))


def _largest(box: Box, pattern: Pattern) -> float:
    """Return the radius below which all numbers of a box are those of networks."""
    scale = {name: np.zeros(box.n_cells) for name in NEURON_PARAMETERS}
    for name, into in scale.items():
        for population, values in pattern.get(name, {}).items():
            into[box.populations[population]] = values
    middle = {name: box.parameters[name].middle for name in NEURON_PARAMETERS}
    rooms = [(middle[name], scale[name]) for name in ("tau_mem", "tau_syn")]
    rooms += [
        (middle["v_threshold"] - least, scale["v_threshold"] + scale[name])
        for name, least in (("v_reset", middle["v_reset"]), ("v_initial", box.begins))
    ]
    ratios = [np.divide(a, b, out=np.full(a.size, np.inf), where=b > 0.0) for a, b in rooms]
    return float(np.concatenate([*ratios, [np.inf]]).min())
