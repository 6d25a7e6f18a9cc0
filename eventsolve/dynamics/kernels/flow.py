"""Kernel: the derivative of the flow of one layer, forwards through its recorded events (compiled).

It is the transpose of :mod:`eventsolve.kernels.recurrent_adjoint`, of many vectors at once: dV and dI at a fixed time
are rows, one entry for each vector, that the propagator carries between events. At events that move by dt:

    arrival of weight w     dI += w dt/tau_syn,  dV -= w dt/tau_mem unless V is held.
                            Over a delta synapse dV += w dt/tau_mem, and nothing while V is held
    crossing                dt = -dV/slope_left;  dV := -dt slope_right
    triggered spike         dt is that of its arrival;  dV alike, or with a reset by subtraction
                            dV += dt slope_ahead - dt slope_right, without what the arrival itself adds
    release                 where V is held, dt slope_right is taken off here, with the dt of the release

(saltation; Bizzarri et al. 2013). A neuron is stepped on when something happens to it, so that work goes by synapses
that are touched; neurons that step alike share one propagator.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, without_refcount
from eventsolve.kernels.cells import advance
from eventsolve.kernels.deliveries import deliveries_of, edges_of
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.recurrent_adjoint import (
    INSTANT_RELEASE,
    RELEASE,
    TRIGGERED,
    Passage,
    Slopes,
    follow,
    nodes_in_order,
    releases_of,
)
from eventsolve.kernels.tables import Reals, Sampled
from eventsolve.kernels.times import is_after


class Vectors(NamedTuple):
    """Changes of a layer, one column for each vector; each array is written.

    Attributes
    ----------
    moves : (n_spikes, n_vectors)
        By how much each spike of the sources moves, in seconds; of own ones it is written.
    own_moves : (n_own, n_vectors)
        The same of own spikes.
    v, i, release : (n, n_vectors)
        Of V and I at t_start, and of when a neuron that is held then is released; replaced by those at t_end.
    """

    moves: Reals
    own_moves: Reals
    v: Reals
    i: Reals
    release: Reals


@compiled
def settled(neurons, start, sample, to, stop):
    """Return u, i and V's slope of every neuron of a layer at a time without arrivals since its state; 0 where held."""
    n = neurons.tau_mem.size
    u, i, slope = np.empty(n), np.empty(n), np.zeros(n)
    for m in range(n):
        free_at = start.free_at[sample, m]
        u[m], i[m] = advance(
            start.time[sample, m],
            start.u[sample, m],
            start.i[sample, m],
            free_at,
            to,
            neurons.tau_mem[m],
            neurons.tau_syn[m],
        )
        if not is_after(free_at, start.free_low[sample, m], to, 0.0):
            slope[m] = (i[m] - u[m]) / neurons.tau_mem[m]
    return u, i, slope


@without_refcount
def step(m, v, i, held, ea, eb, k):
    """Carry the rows of one neuron by a propagator."""
    if held:
        for q in range(v.shape[1]):
            i[m, q] *= eb
        return
    for q in range(v.shape[1]):
        v[m, q] = v[m, q] * ea + i[m, q] * k
        i[m, q] *= eb


@without_refcount
def cross(m, spike, slope, v, own_moves):
    """Write by how much a crossing moves; return whether that is not defined, as it has no slope and would move."""
    missing = False
    for q in range(v.shape[1]):
        own_moves[spike, q] = 0.0
        if v[m, q] != 0.0:
            if slope > 0.0:
                own_moves[spike, q] = -v[m, q] / slope
            else:
                missing = True
    return missing


@compiled
def carry(neurons, efferents, run, own_of, sample, t_start, vectors, stop):
    """Carry vectors through one sample of a layer; return the first own spike without a slope that one moves, or -1.

    Parameters
    ----------
    run : Run
        What the layer did, its ``spikes`` in order of time, exactly.
    own_of : (n_spikes,)
        Which own spike each of those is, -1 for those of sources and those before ``after``.
    sample : int
    t_start : float
        In seconds.
    vectors : Vectors
    """
    spikes, own, start, after, t_end = run
    moves, own_moves, v, i, release = vectors
    tau_mem, tau_syn, t_ref = neurons.tau_mem, neurons.tau_syn, neurons.t_ref
    subtracts = neurons.subtracts
    source_bundles, delays, first = efferents.offsets, efferents.delay, efferents.first
    targets, weights, bundle_delta = efferents.target, efferents.weight, efferents.delta
    n, n_vectors = v.shape
    left, right, ahead = np.zeros(own.times.size), np.zeros(own.times.size + n), np.zeros(own.times.size)
    longest = delays.max() if delays.size else 0.0
    dense = efferents.dense.copy()
    if bundle_delta.any():
        dense[:] = False
    first_spike, last_spike = spikes.offsets[sample], spikes.offsets[sample + 1]
    edges = edges_of(spikes, first_spike, last_spike, source_bundles, after, t_end)
    releases = releases_of(neurons, start, own, sample, t_end)
    nothing_sampled = np.empty(0)
    passage = Passage(own_of, edges, longest, dense)
    places, n_deliveries = follow(
        neurons, efferents, run, passage, releases, nothing_sampled, sample, Slopes(left, right, ahead), stop
    )
    nowhere = np.empty(0, np.int64)
    sampled = Sampled(nothing_sampled, nowhere, nowhere, nowhere, nothing_sampled)
    nodes = nodes_in_order(own, sampled, releases, nowhere, sample, places, n_deliveries)
    spike_of = np.full(own.times.size, -1)
    for g in range(first_spike, last_spike):
        if own_of[g] >= 0:
            spike_of[own_of[g]] = g
    t = np.full(n, t_start)
    held, lifted = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for m in range(n):
        held[m] = is_after(start.free_at[sample, m], start.free_low[sample, m], t_start, 0.0)
    h, with_mem, with_syn, ea, eb, k = 0.0, 1.0, 1.0, 1.0, 1.0, 0.0  # the last propagator
    grazing, node, place, cause = -1, 0, 0, 0
    for piece in range(edges.size):
        last_piece = piece == edges.size - 1  # nothing is delivered any more
        begin, end = (edges[piece], edges[piece]) if last_piece else (edges[piece], edges[piece + 1])
        coming = deliveries_of(spikes, first_spike, last_spike, source_bundles, delays, longest, begin, end)
        times, causes, bundles = coming.times, coming.spikes, coming.bundles
        for d in range(times.size + last_piece):
            if stop[0] != 0:
                return grazing
            while node < nodes.times.size and (d == times.size or nodes.places[node] <= place):
                m, now, kind, which = (
                    nodes.neurons[node],
                    nodes.times[node],
                    nodes.kinds[node],
                    nodes.which[node],
                )
                node += 1
                if kind in (RELEASE, INSTANT_RELEASE) and not held[m]:
                    continue  # it was free by the start
                ea, eb, k = propagator(now - t[m], tau_mem[m], tau_syn[m])
                h, with_mem, with_syn = now - t[m], tau_mem[m], tau_syn[m]
                step(m, v, i, held[m], ea, eb, k)
                t[m] = now
                if kind in (RELEASE, INSTANT_RELEASE):
                    for q in range(n_vectors):
                        v[m, q] -= release[m, q] * right[which]
                        release[m, q] = 0.0
                    held[m] = False
                    continue
                if kind == TRIGGERED:
                    lifted[m] = False
                    for q in range(n_vectors):
                        own_moves[which, q] = moves[cause, q]
                        v[m, q] = v[m, q] + ahead[which] * moves[cause, q] if subtracts[m] > 0.0 else 0.0
                else:
                    if cross(m, which, left[which], v, own_moves) and (grazing < 0 or which < grazing):
                        grazing = which
                    for q in range(n_vectors):
                        v[m, q] = 0.0
                held[m] = t_ref[m] > 0.0
                for q in range(n_vectors):
                    if held[m]:
                        release[m, q] = own_moves[which, q]
                    else:
                        v[m, q] -= own_moves[which, q] * right[which]
                if spike_of[which] >= 0:
                    for q in range(n_vectors):
                        moves[spike_of[which], q] = own_moves[which, q]
            if d == times.size:
                break
            now, cause, bundle = times[d], causes[d], bundles[d]
            place += 1
            following = node
            while (
                following < nodes.times.size
                and nodes.places[following] == place
                and nodes.kinds[following] == TRIGGERED
            ):
                lifted[nodes.neurons[following]] = True
                following += 1
            delta = bundle_delta[bundle]
            for s in range(first[bundle], first[bundle + 1]):
                m = targets[s]
                if now - t[m] != h or tau_mem[m] != with_mem or tau_syn[m] != with_syn:
                    h, with_mem, with_syn = now - t[m], tau_mem[m], tau_syn[m]
                    ea, eb, k = propagator(h, with_mem, with_syn)
                step(m, v, i, held[m], ea, eb, k)
                t[m] = now
                by_v, by_i = weights[s] / tau_mem[m], weights[s] / tau_syn[m]
                if not delta:
                    if held[m]:
                        for q in range(n_vectors):
                            i[m, q] += by_i * moves[cause, q]
                    else:
                        for q in range(n_vectors):
                            i[m, q] += by_i * moves[cause, q]
                            v[m, q] -= by_v * moves[cause, q]
                elif not held[m] and not lifted[m]:
                    for q in range(n_vectors):
                        v[m, q] += by_v * moves[cause, q]
    for m in range(n):
        if t_end - t[m] != h or tau_mem[m] != with_mem or tau_syn[m] != with_syn:
            h, with_mem, with_syn = t_end - t[m], tau_mem[m], tau_syn[m]
            ea, eb, k = propagator(h, with_mem, with_syn)
        step(m, v, i, held[m], ea, eb, k)
    return grazing
