"""A layer forward from event to event, with some approximations of the chip on (:mod:`..switches`, compiled).

Events of a layer lie in cells, sample * (n_steps + 1) + step: step k is the time from grid point k - 1, excluded, to
grid point k, and the offset of an event is its distance from grid point k - 1, ``time_step`` for an event on the grid.
Step 0 is the grid point 0 alone. Arrivals cut a step into intervals. Over each, and over whole steps where nothing
arrives between grid points, the layer program's operations are done in its order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from eventsolve.compiled import compiled
from validation.grid.kernels.words import Operand
from validation.spinnaker2.kernels.either import Held, increased_row, plus, scaled_row, times, value_of
from validation.spinnaker2.kernels.intervals import Dynamics, crossing, decays_over
from validation.spinnaker2.kernels.steps import grown
from validation.spinnaker2.kernels.tables import Neurons

Array = Any


class Arrivals(NamedTuple):
    """Spikes that arrive, by cell, offset and row of the weights."""

    bounds: Array
    offsets: Array
    rows: Array


class Forward(NamedTuple):
    """A layer on its way forward, and how it is computed.

    ``operand`` says how factors meet the state; ``state`` is of random words, (n_samples, 4), and goes on in place.
    The arrays of neurons have the type of the network's state.
    """

    held: Held
    operand: Operand
    dynamics: Dynamics
    neurons: Neurons
    state: Array


class Crossings(NamedTuple):
    """A growing list of spikes, unsorted within a cell: ``cells``, ``neurons``, ``offsets``, and I and V at each."""

    cells: Array
    neurons: Array
    offsets: Array
    currents: Array
    voltages: Array


@compiled
def noted(found, count, cell, neuron, offset, current, voltage):
    """Add a spike to a list, and return the list."""
    if count == found.cells.size:
        found = Crossings(
            grown(found.cells),
            grown(found.neurons),
            grown(found.offsets),
            grown(found.currents),
            grown(found.voltages),
        )
    found.cells[count], found.neurons[count], found.offsets[count] = cell, neuron, offset
    found.currents[count], found.voltages[count] = current, voltage
    return found


@compiled
def arrived(current, neurons, arrivals, first, last, held):
    """Add the weights of arrivals to currents, and return the sum of statuses."""
    status = 0
    for a in range(first, last):
        status += increased_row(current, neurons.increments[arrivals.rows[a]], held)
    return status


@compiled
def when_crossing(v, i, driving, threshold, h, d, held):
    """Return when a neuron crosses its threshold in (0, h], or -1; always -1 on the grid."""
    if d.grid or h <= 0.0:
        return -1.0
    return crossing(
        value_of(v, held), value_of(i, held), value_of(driving, held), h, value_of(threshold, held), d
    )


@compiled
def through(gone, v, i, driving, j, h, start, cell, layer, sample, found, count):
    """Take a neuron that first crosses at ``gone`` through an interval, spike by spike.

    Returns V and I at its end, the list of spikes and their number, and the sum of statuses.
    """
    held, operand, d, neurons, state = layer
    at, status, threshold = 0.0, 0, neurons.v_threshold[j]
    while gone > 0.0:
        if d.one_step:
            i = driving
        else:
            f = decays_over(gone, d)
            i, s = times(i, f.alpha, f.alpha_value, operand, held, state, sample)
            status += s
        at = min(at + gone, h)
        found = noted(found, count, cell, j, min(start + at, d.time_step), i, threshold)
        count += 1
        v = neurons.v_reset[j]
        gone = when_crossing(v, i, driving, threshold, h - at, d, held)
    if h - at > 0.0:
        f = decays_over(h - at, d)
        kept, s = times(v, f.beta, f.beta_value, operand, held, state, sample)
        driven, t = times(i, f.one_minus_beta, f.one_minus_beta_value, operand, held, state, sample)
        v, u = plus(kept, driven, held)
        status += s + t + u
        if not d.one_step:
            i, s = times(i, f.alpha, f.alpha_value, operand, held, state, sample)
            status += s
    return v, i, found, count, status


@compiled
def forward_events(layer, arrivals, n_steps, currents, voltages, stop):
    """Run a layer over steps 0 .. n_steps.

    Parameters
    ----------
    layer : Forward
    arrivals : Arrivals
    n_steps : int
    currents, voltages : ndarray, (n_samples, any number of steps, n_neurons)
        I and V, before a reset, at grid points; filled as far as they go.

    Returns
    -------
    found : Crossings
        The spikes.
    count, status : int
        How many there are; the sum over all operations.
    """
    held, operand, d, neurons, state = layer
    n, kind = neurons.v_threshold.size, neurons.v_threshold.dtype
    current, volts, before = np.zeros(n, kind), np.zeros(n, kind), np.zeros(n, kind)
    kept, driven = np.zeros(n, kind), np.zeros(n, kind)
    found = Crossings(
        np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64), np.empty(64, kind), np.empty(64, kind)
    )
    count, status = 0, 0
    for sample in range(state.shape[0]):
        current[:] = 0
        volts[:] = 0
        cell = sample * (n_steps + 1)
        first, last = arrivals.bounds[cell], arrivals.bounds[cell + 1]
        status += arrived(current, neurons, arrivals, first, last, held)
        for step in range(1, n_steps + 1):
            if stop[0] != 0:
                break
            cell += 1
            first, last = arrivals.bounds[cell], arrivals.bounds[cell + 1]
            start = 0.0
            while start < d.time_step or first < last:
                until = arrivals.offsets[first] if first < last else d.time_step
                following = first
                while following < last and arrivals.offsets[following] == until:
                    following += 1
                h, at_grid = until - start, until == d.time_step
                if h == 0.0:
                    status += arrived(current, neurons, arrivals, first, following, held)
                    first = following
                    continue
                f = decays_over(h, d)
                before[:] = current
                status += scaled_row(current, current, f.alpha, f.alpha_value, operand, held, state, sample)
                if d.one_step:
                    status += arrived(current, neurons, arrivals, first, following, held)
                status += scaled_row(kept, volts, f.beta, f.beta_value, operand, held, state, sample)
                status += scaled_row(
                    driven,
                    current if d.one_step else before,
                    f.one_minus_beta,
                    f.one_minus_beta_value,
                    operand,
                    held,
                    state,
                    sample,
                )
                status += increased_row(kept, driven, held)
                for j in range(n):
                    threshold, after = neurons.v_threshold[j], kept[j]
                    gone = when_crossing(volts[j], before[j], current[j], threshold, h, d, held)
                    if gone > 0.0:
                        after, current[j], found, count, s = through(
                            gone,
                            volts[j],
                            before[j],
                            current[j],
                            j,
                            h,
                            start,
                            cell,
                            layer,
                            sample,
                            found,
                            count,
                        )
                        status += s
                    volts[j] = after
                    if at_grid and step < currents.shape[1]:
                        currents[sample, step, j] = current[j]
                        voltages[sample, step, j] = after
                    if after > threshold and (at_grid or not d.grid):
                        found = noted(found, count, cell, j, until, current[j], after)
                        count += 1
                        volts[j] = neurons.v_reset[j]
                if not d.one_step:
                    status += arrived(current, neurons, arrivals, first, following, held)
                first, start = following, until
    return found, count, status
