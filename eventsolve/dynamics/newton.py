"""Newton's method on the equations of a periodic orbit, from spikes that nearly repeat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from eventsolve.dynamics.circuit import Circuit
from eventsolve.dynamics.orbit import NoOrbitError
from eventsolve.dynamics.pattern import Pattern, ragged
from eventsolve.dynamics.rhythm import Equations, Rhythm
from eventsolve.spiketrains import SpikeTrains
from eventsolve.typing import Integers, Reals

EPS = float(np.finfo(np.float64).eps)
STEPS = 50
"""Newton steps at most; from a near-return a handful suffices, as their error is squared each time."""
CLOSE = 1e-9
"""As a part of the period: how close an arrival may come to a spike or release before they count as a tie."""

ROUNDED = 64 * EPS
"""What may be left of V at a spike for the equations to count as solved, beside the threshold and the leak."""
SINGULAR = 1e13
"""Condition number of the equations, rows scaled to 1, from which float64 does not tell their solution."""


def pattern_of(
    circuit: Circuit,
    inputs: Mapping[str, SpikeTrains],
    times: Reals,
    cells: Integers,
    period: float,
) -> tuple[Pattern, Reals]:
    """Return the pattern of spikes, those triggered that happen as a delta synapse delivers, and times of inputs."""
    nothing = np.empty(0, np.int64)
    channels = np.concatenate(
        [nothing, *(one.neurons + circuit.first[n] for n, one in inputs.items() if one.n_neurons)]
    )
    given = np.concatenate([np.empty(0), *(one.times for one in inputs.values() if one.n_neurons)])
    untriggered = np.full(cells.size, -1, np.int64)
    crossing = Pattern(circuit, cells, untriggered, untriggered, channels.astype(np.int64))
    first, events, synapses = crossing.arrivals
    # every arrival that may trigger beside every spike of its cell
    rows, places = ragged(first, cells)
    lifting = (circuit.delta & (circuit.weight > 0.0))[synapses[places]]
    rows, places = rows[lifting], places[lifting]
    arriving = np.concatenate([times, given])[events[places]] + circuit.delay[synapses[places]]
    late = times[rows] - arriving
    off = np.abs(late - np.round(late / period) * period)
    near = off <= CLOSE * period
    rows, places, off = rows[near], places[near], off[near]
    nearest = np.lexsort((places, off, rows))
    spikes, begins = np.unique(rows[nearest], return_index=True)
    cause, synapse = untriggered.copy(), untriggered.copy()
    cause[spikes] = events[places[nearest[begins]]]
    synapse[spikes] = synapses[places[nearest[begins]]]
    return replace(crossing, cause=cause, synapse=synapse), given


def begun(pattern: Pattern, given: Reals, times: Reals, period: float) -> Rhythm:
    """Return where Newton's method begins: after a chained reset V is as if it had been lifted from v_leak."""
    of = pattern.circuit
    after = of.v_reset[pattern.cells].copy()
    rhythm = Rhythm(pattern, of, given, times, after, period)
    chained = pattern.chained
    cells, (last, laps) = pattern.cells[chained], pattern.before
    for _ in range(3 if chained.size else 0):
        for k, cell in zip(range(chained.size), cells, strict=True):
            spike = chained[k : k + 1]
            v = rhythm.voltages(
                cells[k : k + 1],
                times[spike],
                last[spike],
                laps[spike],
                before=True,
                at=pattern.triggering[spike],
            )
            lift = of.weight[pattern.synapse[spike]]
            after[spike] = v.voltage + lift - (of.v_threshold[cell] - of.v_reset[cell])
    return rhythm


def solved(rhythm: Rhythm, free: bool) -> Rhythm:
    """Return the solution of the equations near a rhythm; of a free one the first spike keeps its time."""
    size = rhythm.times.size + rhythm.pattern.chained.size + 1
    columns = np.arange(1, size) if free else np.arange(size - 1)
    of = rhythm.circuit
    level = float((np.abs(of.v_leak) + np.abs(of.v_threshold))[rhythm.pattern.cells].max(initial=0.0))
    smallest = math.inf
    equations = rhythm.equations()
    for _ in range(STEPS):
        require_slopes(rhythm, equations)
        step = np.zeros(size)
        jacobian = equations.jacobian[:, columns]
        step[columns] = _newton_step(jacobian, equations.residual)
        length = float(np.abs(step[: rhythm.times.size]).max(initial=0.0)) + abs(float(step[-1]))
        if not length < rhythm.period:
            raise NoOrbitError("does not settle", "Newton's method leaves the guess by more than a period")
        exact = float(np.abs(equations.residual).max(initial=0.0)) <= ROUNDED * level
        if length >= 0.5 * smallest and (exact or smallest <= CLOSE * rhythm.period):
            return (
                rhythm  # rounding, as steps do not get shorter any more; next to a bifurcation they are long
            )
        smallest = min(smallest, length)
        following = _damped(rhythm, equations, step)
        rhythm, equations = following, following.equations()
        if length == 0.0:
            return rhythm
    raise NoOrbitError(
        "does not settle", f"Newton's method does not converge: its last step is {length:.3g} s"
    )


def _newton_step(jacobian: Reals, residual: Reals) -> Reals:
    """Return Newton's step, or raise where the equations, rows scaled to 1, are singular."""
    if not residual.size:
        return np.empty(0)
    scale = np.abs(jacobian).max(axis=1)
    scale[scale == 0.0] = 1.0
    scaled = jacobian / scale[:, None]
    if not np.linalg.cond(scaled, 1) < SINGULAR:
        raise NoOrbitError(
            "not isolated", "the equations of the orbit are singular, so that others lie next to it"
        )
    found: Reals = np.linalg.solve(scaled, -residual / scale)
    return found


def _damped(rhythm: Rhythm, equations: Equations, step: Reals) -> Rhythm:
    """Return the rhythm after a step, of half the length as long as the order of a neuron's spikes would change."""
    for _ in range(30):
        found = rhythm.stepped(step)
        previous, laps = found.pattern.before
        since = found.times - found.times[previous] - laps * found.period
        if (since > 0.0).all() and found.period > 0.0:
            return found
        step = 0.5 * step
    raise NoOrbitError("does not settle", "Newton's method lets two spikes of a neuron meet")


def require_slopes(rhythm: Rhythm, equations: Equations) -> None:
    """Raise where V does not rise at a spike."""
    pattern, of = rhythm.pattern, rhythm.circuit
    flat = np.flatnonzero(~(equations.slopes > 0.0))
    if flat.size:
        k = int(flat[0])
        name, neuron = of.cell_name(int(pattern.cells[k]))
        raise NoOrbitError(
            "grazing",
            f"V of neuron {neuron} of {name!r} does not rise where it is to reach its threshold, "
            f"at {float(rhythm.times[k])!r} s of the orbit: its slope is {float(equations.slopes[k]):.3g} per s, "
            "and multipliers grow as one over it",
        )
