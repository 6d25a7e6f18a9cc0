"""The circuit, step by step: twelve phases that learn a sample, or four that answer one, in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventsolve.frozen import FrozenMapping, read_only
from eventsolve.interrupts import call, interruptible
from validation.sbp.kernels.circuit import run
from validation.sbp.kernels.tables import Arriving, Fired, Limits, Lines
from validation.sbp.rule import CHIP, Rule
from validation.sbp.weights import Integers, Weights, binary, mirrored, on_grid
from validation.sbp.wiring import CHAIN, INFERENCE, LEARNING, RELAY, Wiring, wired


@dataclass(frozen=True, eq=False)
class State:
    """A circuit between two trials.

    Attributes
    ----------
    weights : mapping of str to ndarray of int32, (n_pre, n_post)
        Of each plastic projection, by its name, "x->h".
    lines : Lines
        Spikes that are under way, and refractory neurons.
    step : int
        The number of the step that comes next.
    """

    weights: FrozenMapping[str, Integers]
    lines: Lines
    step: int


@dataclass(frozen=True, eq=False)
class Trials:
    """What a circuit did.

    Attributes
    ----------
    spikes : mapping of str to ndarray of bool, (n_trials, n_phases, n)
        By population, gates among them; phase 0 is the last of a trial. Empty if they were not asked for.
    weights : mapping of str to ndarray of int32, (n_trials, n_pre, n_post)
        After each trial, by plastic projection; empty if they were not asked for.
    counts : ndarray of int64, (n_trials, 4)
        Spikes, synaptic events over fixed and over plastic synapses, changes of weights.
    state : State
        After the last trial.
    """

    spikes: FrozenMapping[str, NDArray[np.bool_]]
    weights: FrozenMapping[str, Integers]
    counts: NDArray[np.int64]
    state: State


def held(weights: Weights, wiring: Wiring = LEARNING, rule: Rule = CHIP) -> dict[str, Integers]:
    """Return what each plastic projection of a circuit holds to begin with, (n_pre, n_post), by its name.

    Raises
    ------
    ValueError
        If a weight is off the grid or beyond the limits, or the matrices do not fit together.
    """
    w1 = on_grid("w1", weights.w1, rule)
    w2 = on_grid("w2", weights.w2, rule, (w1.shape[1], None))
    known = {"w1": w1, "w2": w2, "plus": w2.T, "minus": mirrored(w2, rule)}
    return {p.name: np.ascontiguousarray(known[p.holds]) for p in wiring.plastic}


def begun(weights: dict[str, Integers], wiring: Wiring = LEARNING) -> State:
    """Return a circuit before its first trial: gate 1 has just fired, and nothing else is under way."""
    sizes = _sizes(weights, wiring)
    n = sum(wiring.size(name, sizes) for name in wiring.names)
    sums = np.zeros((wiring.longest + 2, n), np.int64)
    at, gate = wiring.bounds(sizes), 1 % wiring.n_phases
    for lift in wiring.lifts:
        if lift.gate == gate:
            sums[lift.delay, at[lift.post]] += lift.weight
    sums[wiring.chain[gate], at[wiring.gates[(gate + 1) % wiring.n_phases]]] += CHAIN
    return State(FrozenMapping(weights), read_only(Lines(sums, np.zeros(n, np.int64))), 0)


def ran(
    state: State,
    inputs: ArrayLike,
    targets: ArrayLike | None = None,
    wiring: Wiring | None = None,
    rule: Rule = CHIP,
    *,
    record: bool = True,
) -> Trials:
    """Run trials one after the other; what is still under way after one goes on in the next.

    Parameters
    ----------
    state : State
        From :func:`begun`, or of the trials before.
    inputs : array_like, (n_trials, n_in)
        Zeros and ones.
    targets : array_like, (n_trials, n_out), optional
        Zeros and ones, of a circuit that learns.
    wiring : Wiring, optional
        By default that of the rule.
    rule : Rule
        With a wiring of one's own, its ``read``, limits and bits hold; all else is the wiring's.
    record : bool
        Whether to keep spikes and the weights after each trial.

    Raises
    ------
    ValueError
        If inputs or targets are not binary or of another size, or no circuit learns by the rule.
    """
    if wiring is None or rule.error != "sign" or rule.fine != 1:
        wiring = wired(rule)
    sizes = _sizes(state.weights, wiring)
    given = {"x": binary("inputs", inputs, sizes[0])}
    if targets is not None:
        given["t"] = binary("targets", targets, sizes[2])
    n_trials = len(given["x"])
    for name, _ in wiring.reaches:
        if name not in given:
            raise ValueError("targets must be given to a circuit that learns")
        if len(given[name]) != n_trials:
            raise ValueError(f"targets must be as many as inputs; got {len(given[name])} and {n_trials}")
    values = [given[name] for name, _ in wiring.reaches]
    arriving = Arriving(
        np.concatenate(values, axis=1),
        np.array([wiring.names.index(name) for name, _ in wiring.reaches]),
        np.array([phase for _, phase in wiring.reaches]),
        np.cumsum([0, *(v.shape[1] for v in values)])[:-1],
        RELAY,
    )
    tables, numbers = wiring.tables(sizes), rule.numbers
    n, n_weights = int(tables.bounds[-1]), sum(w.size for w in state.weights.values())
    n_kept = n_trials if record else 0

    def work() -> tuple[Any, ...]:
        weights = np.concatenate([state.weights[p.name].ravel() for p in wiring.plastic])
        lines = Lines(*(values.copy() for values in state.lines))
        fired = Fired(np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(len(wiring.names), np.int64))
        spikes = np.zeros((n_kept, wiring.n_phases, n), np.bool_)
        kept = np.zeros((n_kept, n_weights), np.int32)
        counts = np.zeros((n_trials, 4), np.int64)
        limits = Limits(
            wiring.threshold,
            round(wiring.step * rule.unit / 2),
            numbers.low,
            numbers.high,
            numbers.after,
        )
        call(run, tables, arriving, limits, state.step, lines, weights, fired, spikes, kept, counts)
        return lines, weights, spikes, kept, counts

    lines, weights, spikes, kept, counts = interruptible(work)
    shapes = {p.name: (wiring.size(p.pre, sizes), wiring.size(p.post, sizes)) for p in wiring.plastic}
    places = wiring.places(sizes)
    last = {name: weights[places[name]].reshape(shape) for name, shape in shapes.items()}
    return Trials(
        FrozenMapping({name: spikes[:, :, at] for name, at in wiring.bounds(sizes).items()}),
        FrozenMapping(
            {name: kept[:, places[name]].reshape(n_kept, *shape) for name, shape in shapes.items()}
        ),
        read_only(counts),
        State(FrozenMapping(last), read_only(lines), state.step + n_trials * wiring.n_phases),
    )


def learned(
    weights: Weights, inputs: ArrayLike, targets: ArrayLike, rule: Rule = CHIP, **options: Any
) -> Trials:
    """Learn samples from weights on, in a circuit that nothing has gone through yet; options as of :func:`ran`."""
    wiring = options.pop("wiring", None) or wired(rule)
    return ran(begun(held(weights, wiring, rule), wiring), inputs, targets, wiring, rule, **options)


def answered(weights: Weights, inputs: ArrayLike, rule: Rule = CHIP) -> NDArray[np.bool_]:
    """Return which outputs fire for each sample, (n_samples, n_out), by the chain of four steps."""
    found = ran(begun(held(weights, INFERENCE, rule), INFERENCE), inputs, None, INFERENCE, rule)
    return found.spikes["o"][:, 3]


def _sizes(weights: Any, wiring: Wiring) -> tuple[int, int, int]:
    shapes = {p.holds: weights[p.name].shape for p in wiring.plastic}
    return (*shapes["w1"], shapes["w2"][1])
