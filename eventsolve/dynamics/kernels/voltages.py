"""Kernel: V and I of neurons on a periodic orbit, in closed form, with all derivatives (compiled).

:mod:`eventsolve.dynamics.rhythm` says by which formula.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled
from eventsolve.kernels.distances import largest
from eventsolve.kernels.membrane import propagator, propagator_derivatives


@compiled
def voltages(points, numbers, step, arrivals, delta, rhythm, stop):
    """Return V and I, by_event, by_start, by_period, by_value and gap, as :class:`Voltages` has them.

    Parameters
    ----------
    points : Points
        Cells and times, what was the last spike before each, and what arrives then.
    numbers, step : Numbered
        Of the circuit, and by how much each moves for a step along a parameter.
    arrivals : Arrivals
    delta : (n_arrivals,)
        Of each whether it is over a delta synapse.
    rhythm : Times
        Of events and V after spikes, the period, and what triggers each spike.
    """
    n, n_events = points.cells.size, rhythm.events.size
    events, period = rhythm.events, rhythm.period
    voltage, current, by_start = np.empty(n), np.empty(n), np.zeros(n)
    by_period, by_value, gap = np.zeros(n), np.zeros(n), np.full(n, np.inf)
    by_event = np.zeros((n, n_events))
    for p in range(n):
        if stop[0] != 0:
            break
        cell, time, last, before = points.cells[p], points.times[p], points.last[p], points.before
        tau_mem, tau_syn, leak = numbers.tau_mem[cell], numbers.tau_syn[cell], numbers.v_leak[cell]
        silent = last < 0
        spike = points.spikes[p]
        release, begun, start, scale, reset_by = time - period, 0.0, 0.0, 1.0, -1
        if silent:
            scale = -1.0 / math.expm1(-period / tau_mem)
        else:
            begun = events[last] + points.laps[p] * period
            release = begun + numbers.t_ref[cell]
            start = rhythm.after[last] - leak
            reset_by = rhythm.triggering[last]
        gone = time - release
        decay_mem, decay_syn, k = propagator(gone, tau_mem, tau_syn)
        kept, lost = math.exp(-period / tau_syn), -math.expm1(-period / tau_syn)
        step_mem, step_syn = step.tau_mem[cell], step.tau_syn[cell]
        early, late_v, late_i, by_tau_syn, moved = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(arrivals.first[cell], arrivals.first[cell + 1]):
            event, synapse = arrivals.event[j], arrivals.synapse[j]
            weight, lag = numbers.weight[synapse], numbers.delay[synapse]
            turns = (time - events[event] - lag) / period
            if j == points.at[p]:
                laps = round(turns) - 1.0 if before else float(round(turns))
            else:
                laps = math.ceil(turns) - 1.0 if before else math.floor(turns)
            arrived = events[event] + lag + laps * period
            # what triggered the spike before came before its reset, also where there is no time between
            resets = j == reset_by
            inside = arrived > release and not (resets and abs(arrived - begun) < 0.5 * period)
            by_arrival, by_weight = 0.0, 0.0
            if inside:
                s = time - arrived
                ea, eb, ks = propagator(s, tau_mem, tau_syn)
                heard = ea if delta[j] else ks
                late_v += weight * heard
                by_arrival = weight * (ea if delta[j] else ks - eb) / tau_mem
                by_weight = heard
                if not delta[j]:
                    late_i += weight * eb
                if step_mem != 0.0 or step_syn != 0.0:
                    _, by_mem, by_syn = propagator_derivatives(s, tau_mem, tau_syn, ea, eb, ks)
                    moved += weight * step_mem * (ea * s / tau_mem**2 if delta[j] else by_mem)
                    if not delta[j]:
                        moved += weight * step_syn * by_syn
            by_period[p] += laps * by_arrival
            if not delta[j]:
                # the current at the release, a geometric series
                ago = release - (arrived - period if inside else arrived)
                rest = math.exp(-ago / tau_syn) / lost
                early += weight * rest
                by_early = weight * rest / tau_syn * k
                by_period[p] += (laps - 1.0 if inside else laps) * by_early
                by_arrival += by_early
                by_weight += rest * k
                by_tau_syn += weight * rest * ago / tau_syn**2
            by_event[p, event] += scale * by_arrival
            moved += step.weight[synapse] * by_weight + step.delay[synapse] * by_arrival
            if weight != 0.0:
                if not silent and ((delta[j] and not resets) or rhythm.roots[event] != rhythm.roots[last]):
                    gap[p] = min(gap[p], abs(arrived - release))
                triggers = spike >= 0 and rhythm.triggering[spike] == j
                if spike >= 0 and ((delta[j] and not triggers) or rhythm.roots[event] != rhythm.roots[spike]):
                    gap[p] = min(gap[p], time - arrived, arrived + period - time)
        excess = early * k + late_v
        voltage[p] = leak + start * decay_mem + scale * excess
        current[p] = early * decay_syn + late_i
        by_leak, by_mem, by_syn = propagator_derivatives(gone, tau_mem, tau_syn, decay_mem, decay_syn, k)
        moved += step_mem * early * by_mem
        moved += step_syn * (early * by_syn + (by_tau_syn + early * kept * period / tau_syn**2 / lost) * k)
        by_value[p] = scale * moved
        if silent:
            by_period[p] = np.nan
            by_value[p] += step.v_leak[cell]
            by_value[p] += step_mem * excess * scale**2 * math.exp(-period / tau_mem) * period / tau_mem**2
            continue
        by_release = start * decay_mem / tau_mem - early * (k / tau_syn + (decay_syn - k) / tau_mem)
        by_start[p] = decay_mem
        by_event[p, last] += by_release
        by_period[p] += points.laps[p] * by_release - early * k * kept / tau_syn / lost
        by_value[p] += step_mem * start * decay_mem * gone / tau_mem**2
        by_value[p] += step.v_leak[cell] * by_leak + step.t_ref[cell] * by_release
        if not rhythm.chained[last]:
            by_value[p] += step.v_reset[cell] * decay_mem
    for p in range(n):
        for event in range(rhythm.chained.size, n_events):
            by_value[p] += by_event[p, event] * step.given[event - rhythm.chained.size]
    return voltage, current, by_event, by_start, by_period, by_value, gap


@compiled
def peaks(u, i, h, tau_mem, tau_syn, stop):
    """Return when V is largest within h after states, in seconds, and where that is: see :func:`largest`."""
    when, place = np.empty(u.size), np.empty(u.size, np.int64)
    for p in range(u.size):
        if stop[0] != 0:
            break
        ea, eb, k = propagator(h[p], tau_mem[p], tau_syn[p])
        when[p], _, place[p] = largest(u[p], i[p], h[p], ea, eb, k, tau_mem[p], tau_syn[p])
    return when, place
