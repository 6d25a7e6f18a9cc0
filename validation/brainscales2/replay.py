"""What a loop made of a record's spikes: the gradient along them, or one with something wrong in it.

A record of a chip in the loop has no spikes of the exact solution, nor of any chip that is known; but its gradient
follows from its spikes. So it is computed again from them, in every way in use and with what may be wrong in it,
and one that has the record's numbers to rounding is named. Then the spikes are held against the ideal neuron's, given
what arrived there: they scatter around these by as much as the chip's circuits do, or something else is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from eventsolve.typing import Key, Reals
from validation.brainscales2.chip import lines_of, with_lines
from validation.brainscales2.closed_forms import RATIOS, SLOPES, Slope, first_spikes
from validation.brainscales2.loop import Flaws, Measured, Way, gradient, ratio_of
from validation.brainscales2.target import BrainScaleS2, as_gradients, judged
from validation.diagnosis.diagnosis import Diagnosis
from validation.diagnosis.evidence import Evidence, answer_of, misfits

CHIPS, FEW = 8, 32
"""Of the model, whose spikes in a few samples say how far a chip's scatter."""
WIDER = 2.0
"""Than all of these a real chip's may scatter, of which sizes are partly guesses."""
MISSING = "the derivative of a sigmoid is missing in the gradient of delays"
GIVEN = "dL/d(delay) times the derivative of a sigmoid: by its parameter"
ODDS = 1e3
"""By which spikes have to be likelier with something wrong than without, for each thing that is tried."""


class _Wiring(NamedTuple):
    """A network whose spikes a chip's may be, what is wrong in it, if anything, and where."""

    network: es.Network
    name: str = ""
    where: str = ""


def found(evidence: Evidence, tolerance: float) -> Diagnosis | None:
    """Return what explains a record of a chip in the loop; None if nothing here has its gradients, or it has none.

    Parameters
    ----------
    evidence : Evidence
    tolerance : float
        Relative error of numbers within which they are the record's.
    """
    problem, record = evidence.problem, evidence.record
    if not record.weight or problem.loss is None:
        return None
    try:
        BrainScaleS2(slope="measured").check(problem)
        measured = measured_of(problem, record)
        spikes = {name: measured.trains(name) for name in record.spikes if name not in problem.inputs}
        judged(problem, spikes)
    except (KeyError, ValueError):
        return None  # it cannot be of such a chip
    wirings = list(_wirings(problem.network))
    scores = [score(replace(problem, network=wiring.network), record, measured) for wiring in wirings]
    odds = np.log(ODDS * len(wirings))
    likeliest = sorted(range(len(wirings)), key=lambda k: -scores[k] - odds * (k == 0))
    for k in likeliest:  # where arrivals are recorded, gradients are the same of all
        wiring = wirings[k]
        there = replace(problem, network=wiring.network)
        seen = measured if record.arrivals else measured_of(there, record)
        finding = _along(evidence, there, seen, wiring, tolerance)
        if finding is not None:
            return finding
    return None


def _along(
    evidence: Evidence, problem: es.Problem, measured: Measured, wiring: _Wiring, tolerance: float
) -> Diagnosis | None:
    """Return what explains a record if its gradient is one along the spikes of a wiring."""
    record = evidence.record
    spikes = {name: measured.trains(name) for name in record.spikes if name not in problem.inputs}
    values, errors = judged(problem, spikes)
    for slope, weights, flaw in _ways(problem, record, measured):
        made = gradient(
            problem.network.with_weights(weights.values), measured, errors, Way(slope), flaw.flaws
        )
        trains = Record.of(problem, "", spikes=spikes)
        computed = replace(trains, loss_values=values, gradients=as_gradients(made, trains))
        off = misfits(evidence, answer_of(computed, evidence))
        bent = [place for place, value in off.items() if not value <= tolerance]
        bending = _bent(evidence, computed, bent, tolerance) if bent else None
        if bent and bending is None:
            continue
        wrong = [
            (wiring.name, wiring.where),
            (weights.name, "dL/dw of every projection"),
            (flaw.name, flaw.where),
            (MISSING if bending == "missing" else "", "dL/d(delay)"),
        ]
        wrong = [(name, where) for name, where in wrong if name]
        if wrong:
            where = "; ".join(dict.fromkeys(where for _, where in wrong))
            return Diagnosis("fault", "; besides, ".join(name for name, _ in wrong), 1.0, where)
        if bending:
            return Diagnosis("convention", GIVEN, 1.0, "dL/d(delay)")
        return _accepted(problem, record, measured, slope)
    return None


def _accepted(problem: es.Problem, record: Record, measured: Measured, slope: Slope) -> Diagnosis:
    """Judge spikes whose gradient is right."""
    held = problem.network.with_weights(_held(problem, record))
    scatter = deviation(held, measured)
    tau = ratio_of(next(p for p in problem.network.populations.values() if p.neuron is not None))[1]
    few = problem.select(np.arange(min(problem.n_samples, FEW)))
    widest = max(
        deviation(held, BrainScaleS2(seed, slope="measured").measured(few)[0]) for seed in range(CHIPS)
    )
    words = (
        f"the gradient is that of the ideal network along the recorded spikes, with V' {HOW[slope]}; the spikes lie "
        f"{scatter / tau:.2g} tau_syn (median) from the ideal neurons', given what arrived"
    )
    if scatter <= WIDER * widest:
        return Diagnosis(
            "explained",
            f"{words}, as on chips of the model ({widest / tau:.2g} at most); nothing is wrong",
            1.0,
        )
    return Diagnosis(
        "unexplained", f"{words}, more than {WIDER:g} times as far as on chips of the model", 0.0, "spikes"
    )


HOW: Mapping[Slope, str] = {
    "crossing": "where the ideal neuron crosses (DelGrad)",
    "measured": "of the modelled V and I at the measured time",
    "threshold": "of the modelled I there and the nominal threshold (EventProp, as of jaxsnn)",
}


# -- what was measured -------------------------------------------------------------------------------------------------


def measured_of(problem: es.Problem, record: Record) -> Measured:
    """Return what a record says was measured; where it does not say when spikes arrived, they did in time.

    Raises
    ------
    KeyError
        If spikes of a population are missing.
    ValueError
        If a neuron spikes more than once in a sample.
    """
    lines = lines_of(problem.network)
    spikes, arrivals = {}, {}
    for name, population in problem.network.populations.items():
        trains = problem.inputs[name] if population.neuron is None else record.spikes[name]
        spikes[name] = trains.to_dense()
        if population.neuron is not None and spikes[name].shape[2] > 1:
            raise ValueError(f"neurons count once; one of {name!r} spikes more often")
        if name in record.arrivals:
            arrivals[name] = record.arrivals[name].to_dense(spikes[name].shape[2])
        else:
            arrivals[name] = spikes[name] + lines[name][:, None] if name in lines else spikes[name]
    return Measured(spikes, arrivals)


def ideal_spikes(network: es.Network, name: str, measured: Measured) -> Reals:
    """Return when the ideal neurons of a population spike first, given what arrived, seconds, inf where they do not."""
    population = network.population(name)
    ratio, tau = ratio_of(population)
    afferents = network.afferents(name)
    blocks = [measured.arrivals[p.pre] for p in afferents]
    arrivals = np.concatenate([b.reshape(len(b), -1) for b in blocks], axis=1) / tau
    rows = [
        np.repeat(np.asarray(p.weight).T, block.shape[2], axis=0)
        for p, block in zip(afferents, blocks, strict=True)
    ]
    level = population.parameter("v_threshold") - population.parameter("v_leak")
    found: Reals = first_spikes(arrivals, np.concatenate(rows), level, ratio) * tau
    return found


def _spiking(network: es.Network) -> list[str]:
    """Return populations of which the first spike has a closed form."""
    return [
        name
        for name, p in network.populations.items()
        if p.neuron is not None and network.afferents(name) and ratio_of(p)[0] in RATIOS
    ]


def deviations(network: es.Network, measured: Measured) -> dict[str, Reals]:
    """Return how far each neuron's spikes are from those of the ideal neurons of a network, in seconds.

    By population, (n_neurons,), the median over samples; NaN where there is nothing to compare.
    """
    found = {}
    for name in _spiking(network):
        with np.errstate(invalid="ignore"):
            off = np.abs(measured.spikes[name][:, :, 0] - ideal_spikes(network, name, measured))
        found[name] = _medians(off)
    return found


def _medians(values: Reals) -> Reals:
    """Return the median of each column without its NaN, NaN where nothing else is."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if column.size else np.nan for column in columns])


def deviation(network: es.Network, measured: Measured) -> float:
    """Return the median of all :func:`deviations`."""
    values = np.concatenate([np.empty(0), *deviations(network, measured).values()])
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else 0.0


def score(problem: es.Problem, record: Record, measured: Measured) -> float:
    """Return how likely spikes and arrivals are, as a logarithm but for a constant.

    Deviations of neurons and of delays are taken for Laplace's, of a width that fits them, one for each: what a neuron
    does in all samples is the same circuit's doing.
    """
    network = problem.network
    held = network.with_weights(_held(problem, record))
    every = list(deviations(held, measured if record.arrivals else measured_of(problem, record)).values())
    for name, delays in lines_of(network).items() if record.arrivals else ():
        with np.errstate(invalid="ignore"):
            every.append(
                _medians(np.abs((measured.arrivals[name] - measured.spikes[name])[:, :, 0] - delays))
            )
    finite = [values[np.isfinite(values)] for values in every]
    least = problem.t_end * float(np.finfo(np.float64).eps)
    return -sum(values.size * float(np.log(np.mean(values) + least)) for values in finite if values.size)


# -- what may be wrong -------------------------------------------------------------------------------------------------


def _wirings(network: es.Network) -> Iterator[_Wiring]:
    """Yield the network as it should be, and with one thing wrong."""
    yield _Wiring(network)
    lines = lines_of(network)
    for name, delays in lines.items():
        where = f"delay of {name}"
        copies = _copies(delays)
        if copies > 1:
            once = delays[::copies]
            yield _Wiring(
                with_lines(network, {name: np.tile(once, copies)}),
                f"the {copies} copies of each input of {name!r} stand together, and their delays do not: "
                "one copy after the other has the delay of the next input",
                where,
            )
        yield _Wiring(with_lines(network, {name: np.zeros_like(delays)}), f"delays forgotten: {name}", where)


def _copies(delays: Reals) -> int:
    """Return how many neurons in a row share a delay, all along; 1 if that is no pattern."""
    for copies in range(delays.size // 2, 1, -1):
        if delays.size % copies == 0:
            groups = delays.reshape(-1, copies)
            if (groups == groups[:, :1]).all() and np.unique(groups[:, 0]).size > 1:
                return copies
    return 1


class _Weights(NamedTuple):
    values: Mapping[Key, Any]
    name: str = ""


class _Flaw(NamedTuple):
    flaws: Flaws
    name: str = ""
    where: str = ""


def _held(problem: es.Problem, record: Record) -> Mapping[Key, Any]:
    """Return the weights as the chip holds them: as the record says, or to the nearest of the model's."""
    if "forward" in record.weights:
        return record.weights["forward"]
    network = BrainScaleS2(slope="measured").programmed(problem.network)
    return {key: p.weight for key, p in network.projections.items()}


def _ways(problem: es.Problem, record: Record, measured: Measured) -> Iterator[tuple[Slope, _Weights, _Flaw]]:
    """Yield every way in which a gradient may have been computed, right ones first."""
    network = problem.network
    programmed = {key: p.weight for key, p in network.projections.items()}
    held = _held(problem, record)
    weights = [_Weights(held)]
    if any(not np.array_equal(held[key], w) for key, w in programmed.items()):
        weights.append(_Weights(programmed, "the gradient is taken at the weights before they were rounded"))
    names = _spiking(network)
    every = [
        name for name, p in network.populations.items() if p.neuron is not None and network.afferents(name)
    ]
    slopes = [slope for slope in SLOPES if slope != "crossing" or names == every]
    flaws = [
        _Flaw(Flaws()),
        _Flaw(
            Flaws(arrival_sign=-1.0),
            "the wrong sign of dt/dt_i, a spike's derivative by its arrivals",
            "dL/dt of hidden spikes; dL/dw before them",
        ),
    ]
    ideal = {name: ideal_spikes(network.with_weights(held), name, measured) for name in names}
    flaws.append(
        _Flaw(
            Flaws(causal=ideal),
            "inputs count as causes up to the modelled spike, not the measured one",
            "dL/dw of every projection",
        )
    )
    for flaw, weight, slope in product(flaws, weights, slopes):
        if not (flaw.name and weight.name):
            yield slope, weight, flaw


def _bent(evidence: Evidence, computed: Record, off: list[Any], tolerance: float) -> str | None:
    """Say whether what is off is gradients of delays, by the derivative of a sigmoid: "given" or "missing".

    ``shift + scale sigmoid`` has the derivative (d - shift) (shift + scale - d) / scale, a parabola of d: by which
    gradients are multiplied, or divided. Three numbers fit it, so that five different delays have to.
    """
    answer = answer_of(computed, evidence)
    ratios, delays = [], []
    for place in off:
        if place[0] != "delay" or place not in answer.numbers:
            return None
        got, want = evidence.numbers[place], answer.numbers[place]
        if got.shape != want.shape:
            return None
        d = np.broadcast_to(
            evidence.problem.network.projections[place[1]].delay.reshape(got.shape[-2:]), got.shape
        )
        felt = np.abs(want) > 1e-6 * np.abs(want).max(initial=0.0)
        if (got[~felt] != 0).any() and np.abs(got[~felt]).max() > np.abs(got).max():
            return None
        ratios.append(got[felt] / want[felt])
        delays.append(d[felt])
    r, d = np.concatenate(ratios), np.concatenate(delays)
    if np.unique(d).size < 5 or (r <= 0).any():
        return None
    x = (d - d.mean()) / (np.abs(d - d.mean()).max() or 1.0)
    for word, values in (("given", r), ("missing", 1.0 / r)):
        fit = np.polyfit(x, values, 2)
        left = np.abs(np.polyval(fit, x) - values).max() / values.max()
        roots = np.roots(fit)
        if (
            left <= 1e3 * tolerance
            and fit[0] < 0
            and np.isreal(roots).all()
            and roots.min() < -1
            and roots.max() > 1
        ):
            return word
    return None
