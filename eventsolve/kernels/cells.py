"""Kernels: the neurons of the event loop one by one: their states, and when to look at them again (compiled).

A neuron's next crossing is a function of its state alone, whatever comes next. It is sought only when it may be near:
until then a time stands for it in the queue of crossings before which there is none, which costs no logarithm.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.crossing import crossing_time, turn_time, undecided_band
from eventsolve.kernels.elementary import decay
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.tables import States

TIME, VOLTAGE, CURRENT, FREE_AT, LEVEL, TAU_MEM, TAU_SYN, RECEIVED = range(8)
"""Columns of cells, a cache line for each: the state u and i at a time, until when V is held, the threshold above
v_leak, the time constants, and how many arrivals there were."""


@compiled
def new_cells(neurons, state):
    """Return the cells, (n, 8), of neurons in their States."""
    n = state.time.size
    cells = np.zeros((n, 8))
    for m in range(n):
        cells[m, TIME], cells[m, VOLTAGE], cells[m, CURRENT] = state.time[m], state.u[m], state.i[m]
        cells[m, FREE_AT] = state.free_at[m]
        cells[m, LEVEL] = neurons.v_threshold[m] - neurons.v_leak[m]
        cells[m, TAU_MEM], cells[m, TAU_SYN] = neurons.tau_mem[m], neurons.tau_syn[m]
    return cells


@without_refcount
def no_crossing_before(t, u, i, free_at, c, tau_mem):
    """Return a time before which V does not reach the threshold, nor seem to, if nothing arrives; inf if it never does.

    u' = (i - u)/tau_mem, where the current does not exceed d = max(i, 0): so u(s) <= d - (d - u) exp(-s/tau_mem). That
    is at the level l not before s = -tau_mem log(1 - x) >= tau_mem (x + x^2/2 + x^3/3), x = (l - u)/(d - u). Three
    quarters of that leave room for roundings, and for arrivals that bring it nearer. Conversely, V can seem to be there
    only within the undecided band, which l leaves out.
    """
    level = c - undecided_band(u, i, c)
    highest = i if i > 0.0 else 0.0
    if not highest > level:
        return math.inf
    way = (level - u) / (highest - u) if level > u else 0.0
    wait = 0.75 * tau_mem * way * (1.0 + way * (0.5 + way * (1.0 / 3.0)))
    return (free_at if free_at > t else t) + wait


@without_refcount
def next_crossing(t, u, i, free_at, c, tau_mem, tau_syn):
    """Return (time, peak): when the neuron crosses if nothing arrives, and an undecided peak; inf where none."""
    if free_at > t:
        i *= decay((free_at - t) / tau_syn)
        t = free_at
    s, grazing = crossing_time(u, i, c, tau_mem, tau_syn)
    return t + s, t + turn_time(u, i, c, tau_mem, tau_syn) if grazing else math.inf


@without_refcount
def advance(t, u, i, free_at, to, tau_mem, tau_syn):
    """Return (u, i) of one neuron at a later time."""
    if free_at > t:
        if free_at > to:
            return u, i * decay((to - t) / tau_syn)
        i *= decay((free_at - t) / tau_syn)
        t = free_at
    if i == 0.0:
        return u * decay((to - t) * (1.0 / tau_mem)), i
    ea, eb, k = propagator(to - t, tau_mem, tau_syn)
    return u * ea + i * k, i * eb


@compiled
def states_at(neurons, states, time, stop):
    """Return the States, (n_samples, n), at a time from which nothing but releases separates them."""
    u, i = np.empty_like(states.u), np.empty_like(states.i)
    now = np.full_like(states.time, time)
    for sample in range(u.shape[0]):
        if stop[0] != 0:
            break
        for m in range(u.shape[1]):
            u[sample, m], i[sample, m] = advance(
                states.time[sample, m],
                states.u[sample, m],
                states.i[sample, m],
                states.free_at[sample, m],
                time,
                neurons.tau_mem[m],
                neurons.tau_syn[m],
            )
    return States(now, u, i, states.free_at, states.free_low, now)
