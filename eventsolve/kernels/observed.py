"""Kernel: the trajectories of neurons whose spikes are given: V and I at each, and where V crosses besides (compiled).

A given spike is a crossing, at the time that is given, before what arrives at that time; or, of a neuron that hears
delta synapses, what an arrival at just that time triggers, if V was below the threshold before it.

An excursion of V to the threshold or beyond it is reported if a spike is given before V is below it again, and else is
one that was not reported.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.arrivals import grouped, schedule_of
from eventsolve.kernels.crossing import crossing_time
from eventsolve.kernels.membrane import extremum, propagator
from eventsolve.kernels.times import is_after, later

END, ARRIVAL, SPIKE, RELEASE, CHOICE = 0, 1, 2, 3, 4
"""What comes next in a neuron's trajectory; a choice is that of the arrival which triggers a spike."""


@without_refcount
def ideal_slope(u, i, s, c, tau_mem, tau_syn):
    """Return V' where V would cross the threshold if nothing else arrived, carried by exp(-./tau_mem) to ``s`` later.

    V = u + v_leak and i are those ``s`` before, after the last arrival, reset or release; the crossing may be earlier
    or later than ``s``, and before that event. NaN where there is none.
    """
    back = 0.0
    if u >= c:
        if i <= 0.0 <= c:
            return math.nan
        back = 0.125 * min(tau_mem, tau_syn)
        while True:
            ea, eb = math.exp(back / tau_mem), math.exp(back / tau_syn)
            # K(-s) = -exp(s/tau_mem) exp(s/tau_syn) K(s)
            _, _, k = propagator(back, tau_mem, tau_syn)
            v, current = u * ea - i * ea * eb * k, i * eb
            if not abs(v) < 1e150:
                return math.nan
            if v < c:
                break
            back *= 2.0
        u, i = v, current
    found, _ = crossing_time(u, i, c, tau_mem, tau_syn)
    if found == math.inf:
        return math.nan
    current = i * math.exp(-found / tau_syn)
    return (current - c) / tau_mem * math.exp(-(s + back - found) / tau_mem)


@without_refcount
def trigger_at(j, u, schedule, first_synapse, afferents, spikes, sent_by, placed, c):
    """Return the arrival, from j on, that triggers a spike at the time of the j-th, and whether more have to be placed.

    It is the first that lifts V to the threshold over a delta synapse, or if none does the last that lifts it at all;
    -1 if V is at the threshold already, or nothing lifts it.
    """
    times, slots, causes = schedule.times, schedule.slots, schedule.spikes
    delta, weights, sent = afferents.delta, afferents.weight, spikes.times
    found, waiting = -1, False
    if u >= c:
        return found, waiting
    time = times[j]
    for a in range(j, times.size):
        if times[a] != time:
            break
        synapse = first_synapse + slots[a]
        if not delta[synapse]:
            continue
        u += weights[synapse]
        sender = sent_by[causes[a]]
        if weights[synapse] > 0.0:
            if sender >= 0 and sent[causes[a]] == time and not placed[sender]:
                waiting = True
            else:
                found = a
                if u >= c:
                    break
    return found, waiting


@compiled
def noted(missed, n, sample, neuron, time, excess):
    """Return the table of excursions, twice as long if it is full, with one more in row n."""
    if n == missed.shape[0]:
        longer = np.empty((2 * n, 4))
        longer[:n] = missed
        missed = longer
    missed[n, 0], missed[n, 1], missed[n, 2], missed[n, 3] = sample, neuron, time, excess
    return missed


@compiled
def follow_given(layer, run, sent_by, placed, stop):
    """Follow every neuron of a layer through its arrivals and its given spikes.

    Parameters
    ----------
    layer : ByTarget
    run : Run
    sent_by : (n_spikes,)
        Which of the layer's own spikes each source spike is, or -1.
    placed : (n_own,)
        Whether an own spike may trigger another one at its own time, as its place in the order is known.

    Returns
    -------
    arrivals, low : (n_own,)
        As in Spikes.
    causes, synapses : (n_own,)
        Which source spike triggered each, over which of ``afferents``; -1 for a crossing.
    waiting : (n_own,)
        Whether it may be triggered at its own time by a spike that is not placed.
    u, i : (n_own,)
        V - v_leak and I just before each, of a triggered one after its arrival.
    ideal : (n_own,)
        :func:`ideal_slope`.
    missed : (n_missed, 4)
        Sample, neuron, beginning and largest V - v_threshold of every excursion that was not reported.
    """
    neurons, afferents, groups, n_sources = layer
    spikes, own, start, after, t_end = run
    n_samples = spikes.offsets.size - 1
    n, n_own = neurons.tau_mem.size, own.times.size
    received, low = np.zeros(n_own, np.int64), np.zeros(n_own)
    causes, synapses = np.full(n_own, -1), np.full(n_own, -1)
    waiting = np.zeros(n_own, np.bool_)
    at_u, at_i, ideal = np.zeros(n_own), np.zeros(n_own), np.full(n_own, np.nan)
    missed, n_missed = np.empty((16, 4)), 0
    for sample in range(n_samples):
        given, here = grouped(spikes, sample, n_sources), grouped(own, sample, n)
        by_neuron, own_places = here.offsets, here.places
        for group in range(groups.offsets.size - 1):
            representative = groups.members[groups.offsets[group]]
            schedule = schedule_of(
                representative, neurons, afferents, given, start.time[sample, representative], after, t_end
            )
            times, lows, slots, sources = schedule.times, schedule.low, schedule.slots, schedule.spikes
            n_arrivals = times.size
            for member in range(groups.offsets[group], groups.offsets[group + 1]):
                if stop[0] != 0:
                    break
                neuron = groups.members[member]
                c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
                tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
                first_synapse = afferents.offsets[neuron]
                t, u, i = start.time[sample, neuron], start.u[sample, neuron], start.i[sample, neuron]
                free_at, free_low = start.free_at[sample, neuron], start.free_low[sample, neuron]
                held = is_after(free_at, free_low, t, 0.0)
                k, last = by_neuron[neuron], by_neuron[neuron + 1]
                above, since, excess = False, t, 0.0  # whether V is on an excursion, since when and how far
                chosen, trigger, at_once = False, -1, False
                j = 0
                kind = ARRIVAL
                while kind != END:
                    until, kind = (times[j], ARRIVAL) if j < n_arrivals else (t_end, END)
                    if held:
                        if not is_after(free_at, free_low, until, lows[j] if j < n_arrivals else 0.0):
                            until, kind = free_at, RELEASE
                    elif k < last:
                        due = own.times[own_places[k]]
                        if due < until or kind == END or at_once:
                            until, kind = due, SPIKE
                        elif due == until and not chosen:
                            kind = CHOICE
                        elif due == until and trigger < 0 and lows[j] >= 0.0:
                            kind = SPIKE
                    h = until - t
                    if not held and not above:
                        if u >= c:
                            above, since, excess = True, t, 0.0
                        elif h > 0.0:
                            s, _ = crossing_time(u, i, c, tau_mem, tau_syn)
                            above, since, excess = s <= h, t + s, 0.0
                    ea, eb, response = propagator(h, tau_mem, tau_syn)
                    u_before, i_before = u, i
                    if not held:
                        u = u * ea + i * response
                    i *= eb
                    t = until
                    if above:
                        turn = extremum(u_before, i_before, tau_mem, tau_syn)
                        excess = max(excess, u_before - c, u - c)
                        if turn < h:
                            decay, _, rise = propagator(turn, tau_mem, tau_syn)
                            excess = max(excess, u_before * decay + i_before * rise - c)
                    fell = above and ((u < c and i <= u) or kind == END)
                    if kind == CHOICE:
                        trigger, waits = trigger_at(
                            j, u, schedule, first_synapse, afferents, spikes, sent_by, placed, c
                        )
                        waiting[own_places[k]] = waits and trigger < 0
                        chosen = True
                    elif kind == ARRIVAL:
                        synapse = first_synapse + slots[j]
                        if not afferents.delta[synapse]:
                            i += afferents.weight[synapse]
                        elif not held:
                            u += afferents.weight[synapse]
                            fell |= above and u < c
                        at_once = trigger == j
                        j += 1
                    elif kind == SPIKE:
                        spike = own_places[k]
                        received[spike], at_u[spike], at_i[spike] = j, u, i
                        v, rest = neurons.v_reset[neuron] - neurons.v_leak[neuron], 0.0
                        if at_once:
                            synapses[spike], causes[spike] = first_synapse + slots[trigger], sources[trigger]
                            rest = lows[trigger]
                            if neurons.subtracts[neuron] > 0.0:
                                v = u - (neurons.v_threshold[neuron] - neurons.v_reset[neuron])
                        else:
                            ideal[spike] = ideal_slope(u_before, i_before, h, c, tau_mem, tau_syn)
                        low[spike] = rest
                        u = v
                        free_at, free_low = later(t, rest, neurons.t_ref[neuron])
                        held = neurons.t_ref[neuron] > 0.0
                        above = False  # reported, unless V fell back before
                        chosen, trigger, at_once = False, -1, False
                        k += 1
                    elif kind == RELEASE:
                        held = False
                    if fell:
                        missed = noted(missed, n_missed, sample, neuron, since, excess)
                        n_missed += 1
                        above = False
    return received, low, causes, synapses, waiting, at_u, at_i, ideal, missed[:n_missed]
