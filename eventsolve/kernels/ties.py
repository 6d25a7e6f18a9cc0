"""Kernels: events of one neuron whose order matters and is beyond float64, as the time of one is computed (compiled).

A spike's time is a sum of given numbers, which is exact, or it goes back to a threshold crossing, its root, and is as
uncertain as that: by the roundings of V over V' there, and those of the time itself. Two times of one root differ by
given numbers and are in order, too. All others are not that are closer than their uncertainties, and are found here:

- a crossing and an arrival, before or after it, which hinders it, or adds to V after it;
- the end of a refractory period and an arrival over a delta synapse;
- two arrivals over delta synapses that reach the threshold in one order, if not in both.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, embedded, without_refcount
from eventsolve.kernels.crossing import EPS, undecided_after
from eventsolve.kernels.distances import trajectories_of
from eventsolve.kernels.tables import Integers, Reals
from eventsolve.kernels.times import later
from eventsolve.kernels.trajectories import (
    ARRIVAL,
    CURRENT,
    DECAY_MEM,
    DECAY_SYN,
    DURATION,
    ENDING,
    HELD,
    RELEASE,
    RESPONSE,
    SPIKE,
    START,
    VOLTAGE,
    WHICH,
)


class Roots(NamedTuple):
    """Which crossing the time of each of some spikes goes back to, numbered through, and its uncertainty in seconds."""

    numbers: Integers
    errors: Reals


GIVEN = -1
"""The root of times that are sums of given numbers."""
NEURON, EVENT, CAUSE = 0, 1, 2
"""Columns of ties: which neuron, what ties with the later one, and which spike of the sources causes that arrival."""
TIME, ARRIVAL_TIME = 0, 1
"""When the two are, in seconds."""


@embedded
def undecided_at_end(segment, c, tau_mem, tau_syn):
    """Return :func:`undecided_after` at the end of a segment."""
    return undecided_after(
        segment[VOLTAGE],
        segment[CURRENT],
        c,
        segment[DURATION],
        segment[DECAY_MEM],
        segment[RESPONSE],
        tau_mem,
        tau_syn,
    )


@without_refcount
def crossing_error(segment, c, tau_mem, tau_syn, time):
    """Return how far float64 may be from a crossing: the roundings of V over V', or where that is small, over V''."""
    i, eb = segment[CURRENT], segment[DECAY_SYN]
    drive = i * eb - c
    bend = (abs(i * eb) / tau_syn + abs(drive) / tau_mem) / tau_mem
    band = undecided_at_end(segment, c, tau_mem, tau_syn)
    steep = band * tau_mem / drive if drive > 0.0 else math.inf
    grazing = math.sqrt(2.0 * band / bend) if bend > 0.0 else math.inf
    return min(steep, grazing) + 2.0 * EPS * time


@compiled
def roots_of(neurons, trajectories, own, sample, causes, of_sources, n_bundles, of_own):
    """Write root and uncertainty of one sample's own spikes; a crossing is its own root."""
    low, high = own.offsets[sample], own.offsets[sample + 1]
    roots, errors = of_own
    for neuron in range(neurons.tau_mem.size):
        c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
        for g in range(trajectories.first[neuron], trajectories.last[neuron]):
            which = trajectories.events[g, WHICH]
            if trajectories.events[g, ENDING] == SPIKE and own.trigger[which] < 0:
                errors[which] = crossing_error(
                    trajectories.states[g],
                    c,
                    neurons.tau_mem[neuron],
                    neurons.tau_syn[neuron],
                    own.times[which],
                )
    for spike in range(low, high):
        if own.trigger[spike] >= 0:
            rank = own.trigger[spike] // n_bundles
            if rank < causes.size:
                cause = causes[rank]
                roots[spike], errors[spike] = of_sources.numbers[cause], of_sources.errors[cause]
            else:
                cause = low + rank - causes.size
                roots[spike], errors[spike] = roots[cause], errors[cause]


@without_refcount
def ties_with(
    neuron, g, neurons, afferents, trajectories, own, spikes, of_own, of_sources, spiked_at, largest
):
    """Return (event, time, arrival's time): with what the arrival that ends segment g ties, -1 with nothing.

    ``spiked_at`` is when the neuron spiked last, ``largest`` the largest uncertainty.
    """
    states, events, synapses, causes = (
        trajectories.states,
        trajectories.events,
        trajectories.synapses,
        trajectories.causes,
    )
    first_event = trajectories.first[neuron]
    roots, errors = of_sources
    own_roots, own_errors = of_own
    tau_mem, tau_syn, t_ref = neurons.tau_mem[neuron], neurons.tau_syn[neuron], neurons.t_ref[neuron]
    c = neurons.v_threshold[neuron] - neurons.v_leak[neuron]
    twice = (t_ref == 0.0) | (neurons.subtracts[neuron] > 0.0)
    synapse, cause = synapses[g], causes[g]
    weight, delta = afferents.weight[synapse], afferents.delta[synapse]
    time, low = later(spikes.times[cause], spikes.low[cause], afferents.delay[synapse])
    root, error = roots[cause], errors[cause]
    u, i = states[g, VOLTAGE], states[g, CURRENT]
    v = u * states[g, DECAY_MEM] + i * states[g, RESPONSE]
    current = i * states[g, DECAY_SYN]
    # a crossing that would come just after it
    hinders = ((weight < 0.0) | twice) if delta else (weight < 0.0) & (current + weight <= c)
    if hinders & (not events[g, HELD]) & (v < c) & (current > c):
        band = undecided_at_end(states[g], c, tau_mem, tau_syn)
        if (c - v - band) * tau_mem <= (current - c) * (error + 2.0 * EPS * time):
            return SPIKE, time, time
    # events just before it
    window = error + largest
    if window == 0.0 or not (delta or time - spiked_at <= window):
        return -1, 0.0, 0.0
    total = weight
    highest = max(weight, 0.0)
    for back in range(g - 1, first_event - 1, -1):
        ending, which = events[back, ENDING], events[back, WHICH]
        other = states[back, START] + states[back, DURATION]
        other_low, other_root, other_error = 0.0, root, 0.0
        if ending == SPIKE:
            other, other_low = own.times[which], own.low[which]
            other_root, other_error = own_roots[which], own_errors[which]
        elif ending == RELEASE:
            before = back - 1
            while before >= first_event and events[before, ENDING] != SPIKE:
                before -= 1
            if before >= first_event:
                which = events[before, WHICH]
                other, other_low = later(own.times[which], own.low[which], t_ref)
                other_root, other_error = own_roots[which], own_errors[which]
        elif ending == ARRIVAL:
            cause = causes[back]
            other, other_low = later(spikes.times[cause], spikes.low[cause], afferents.delay[synapses[back]])
            other_root, other_error = roots[cause], errors[cause]
        if time - other > window:
            break
        near = abs((time - other) + (low - other_low)) <= error + other_error
        near &= (other_root != root) & (error + other_error > 0.0)
        if ending == SPIKE:
            if near and own.trigger[which] < 0:
                at_spike = states[back, CURRENT] * states[back, DECAY_SYN]
                if ((weight < 0.0) | twice) if delta else (total < 0.0) & (at_spike + total <= c):
                    return SPIKE, other, time
        elif ending == RELEASE:
            if near and delta and weight != 0.0:
                return RELEASE, other, time
        elif ending == ARRIVAL:
            w = afferents.weight[synapses[back]]
            if not afferents.delta[synapses[back]]:
                total += w
            elif not events[back, HELD]:
                highest += max(w, 0.0)
                lifted = states[back, VOLTAGE] * states[back, DECAY_MEM]
                lifted += states[back, CURRENT] * states[back, RESPONSE]
                if near and delta and weight != 0.0 and w != 0.0 and lifted + highest >= c:
                    return ARRIVAL, other, time
    return -1, 0.0, 0.0


@compiled
def ties(layer, run, origin, given, n_bundles, first_root, stop):
    """Return the ties of a layer, sample by sample, and root and uncertainty of its spikes.

    Parameters
    ----------
    layer : ByTarget
    run : Run
    origin : (n_spikes,)
        Which of the layer's own spikes a spike of the sources is, or -1.
    given : Roots
        Of the spikes of the sources, but for its own.
    n_bundles : int
        What triggers are multiples of.
    first_root : int
        The root of the layer's first spike if it is a crossing; that of the next one is one more.
    stop : (1,)
        Not 0 to stop early.

    Returns
    -------
    numbers, labels, samples
        One row for each tie.
    roots : Roots
        Of its own.
    """
    neurons, afferents = layer.neurons, layer.afferents
    spikes, own = run.spikes, run.own
    n_own = own.times.size
    own_roots, own_errors = first_root + np.arange(n_own), np.zeros(n_own)
    roots, errors = given.numbers.copy(), given.errors.copy()
    of_own, of_sources = Roots(own_roots, own_errors), Roots(roots, errors)
    room = 64
    numbers, labels, samples = np.empty((room, 2)), np.empty((room, 3), np.int64), np.empty(room, np.int64)
    n = 0
    for sample in range(spikes.offsets.size - 1):
        trajectories = trajectories_of(layer, run, sample, stop)
        if stop[0] != 0:  # some trajectories are not written
            break
        low, high = spikes.offsets[sample], spikes.offsets[sample + 1]
        causes = np.flatnonzero(origin[low:high] < 0) + low
        roots_of(neurons, trajectories, own, sample, causes, of_sources, n_bundles, of_own)
        for k in range(low, high):
            if origin[k] >= 0:
                roots[k], errors[k] = own_roots[origin[k]], own_errors[origin[k]]
        largest = 0.0
        for k in range(low, high):
            largest = max(largest, errors[k])
        for k in range(own.offsets[sample], own.offsets[sample + 1]):
            largest = max(largest, own_errors[k])
        for neuron in range(neurons.tau_mem.size):
            if neurons.v_threshold[neuron] == math.inf:
                continue
            first, spiked_at = trajectories.first[neuron], -math.inf
            for g in range(first, trajectories.last[neuron]):
                if trajectories.events[g, ENDING] == SPIKE:
                    spiked_at = own.times[trajectories.events[g, WHICH]]
                if trajectories.events[g, ENDING] != ARRIVAL:
                    continue
                event, time, arrival_time = ties_with(
                    neuron,
                    g,
                    neurons,
                    afferents,
                    trajectories,
                    own,
                    spikes,
                    of_own,
                    of_sources,
                    spiked_at,
                    largest,
                )
                if event < 0:
                    continue
                if n == samples.size:
                    numbers = np.concatenate((numbers, np.empty_like(numbers)))
                    labels = np.concatenate((labels, np.empty_like(labels)))
                    samples = np.concatenate((samples, np.empty_like(samples)))
                numbers[n, TIME], numbers[n, ARRIVAL_TIME] = time, arrival_time
                labels[n, NEURON], labels[n, EVENT], labels[n, CAUSE] = neuron, event, trajectories.causes[g]
                samples[n] = sample
                n += 1
    return numbers[:n], labels[:n], samples[:n], of_own
