"""Kernel: the adjoint of a cyclic layer, backwards through its events in the reverse of their order (compiled).

It is the mirror of the event queue. A block whose neurons advance as one dense block goes back as one, with one pair of
exponentials for each delivery: the row of p_I is added to the row of dL/dW, and the error of the spike that was
delivered is one product of two rows. Other neurons go back alone, when something has arrived at them. The jumps are
those of :mod:`eventsolve.kernels.layered_adjoint`.

No state is kept but the adjoint. Of the states that the neurons had it needs V' at spikes and releases, for which
:func:`follow` runs through the events once more, forward. And the derivatives for time constants come from how the
adjoint itself depends on them: with whatever happens at its nodes held fixed, the loss is linear in what is added to V
and I, a weight at an arrival or V at a reset, and p_V and p_I are by what. So as dp_V and dp_I are carried along, the
derivatives of p by tau_mem and tau_syn,

    dL/dtau += w dp_I/dtau at an arrival,   u_reset dp_V/dtau at a reset,   u dp_V/dtau + i dp_I/dtau at the start.

Order of events, as the queue has it: a release and a crossing, then the deliveries of one time, each followed by the
spikes that it triggers, then a voltage sample.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, embedded, without_refcount
from eventsolve.kernels.arrivals import order_by_time, order_exactly
from eventsolve.kernels.cells import advance
from eventsolve.kernels.deliveries import deliveries_of, edges_of
from eventsolve.kernels.elementary import decay
from eventsolve.kernels.layered_adjoint import empty_sums
from eventsolve.kernels.membrane import propagator, propagator_derivatives
from eventsolve.kernels.tables import AT_START, Booleans, Integers, Reals
from eventsolve.kernels.times import is_after, later

TRIGGERED, RELEASE, CROSSING, INSTANT_RELEASE, SAMPLED = 0, 1, 2, 3, 4
"""Kinds of nodes, in the order in which those of one neuron come between two deliveries at one time."""


class Releases(NamedTuple):
    """When V is free again, up to t_end, in order: times, what they leave of exact sums, neurons, and which it is.

    That is the number of the spike; of a neuron that was held at the start, the number of own spikes plus its own.
    """

    times: Reals
    low: Reals
    neurons: Integers
    which: Integers


class Nodes(NamedTuple):
    """Where adjoints jump, in order: times, kinds, neurons, and which spike, sample or release each is.

    ``places`` say how many of the sample's ``n_deliveries`` come before.
    """

    times: Reals
    kinds: Integers
    neurons: Integers
    which: Integers
    places: Integers
    n_deliveries: int


class Passage(NamedTuple):
    """How the events of one sample are gone through.

    Attributes
    ----------
    own_of : (n_spikes,)
        Which own spike each spike of the run is, -1 for those of sources and those before the start.
    edges : (n_pieces + 1,)
        Times between which deliveries are listed at once.
    longest : float
        Of all delays, in seconds.
    dense : (n_blocks,)
        Which blocks advance as one.
    """

    own_of: Integers
    edges: Reals
    longest: float
    dense: Booleans


class Slopes(NamedTuple):
    """V' at spikes and releases, in 1/s, written by :func:`follow`.

    Attributes
    ----------
    left, ahead : (n_own,)
        Before every own spike and, of a triggered one, before its trigger.
    right : (n_own + n,)
        Where V moves on after every own spike (at once or at its release), and after the release of a neuron that was
        held at the start.
    """

    left: Reals
    right: Reals
    ahead: Reals


class Moving(NamedTuple):
    """Where neurons are as their events are gone through: at ``t``, or with their block of ``block_of`` at its clock.

    ``held_u`` is at what V is held after each spike of the sample, ``u_start`` at what it was when it was held from the
    start on: a release is gone through with the next delivery, when V may have moved on, to another spike.
    """

    u_start: Reals
    i: Reals
    t: Reals
    held_u: Reals
    clock: Reals
    block_of: Integers
    dense: Booleans


class Adjoint(NamedTuple):
    """p_V and p_I of every neuron, their derivatives by tau_mem (s) and by tau_syn (r; that of p_V is 0)."""

    p_v: Reals
    p_i: Reals
    s_v: Reals
    s_i: Reals
    r_i: Reals


@compiled
def releases_of(neurons, start, own, sample, t_end):
    """Return the Releases of one sample."""
    low, high = own.offsets[sample], own.offsets[sample + 1]
    n = neurons.t_ref.size
    times, rests = np.empty(n + high - low), np.empty(n + high - low)
    who, which = np.empty(n + high - low, np.int64), np.empty(n + high - low, np.int64)
    k = 0
    for m in range(n):
        free_at, rest = start.free_at[sample, m], start.free_low[sample, m]
        if is_after(free_at, rest, start.time[sample, m], 0.0) and not is_after(free_at, rest, t_end, 0.0):
            times[k], rests[k], who[k], which[k] = free_at, rest, m, own.times.size + m
            k += 1
    for spike in range(low, high):
        m = own.neurons[spike]
        if neurons.t_ref[m] > 0.0:
            free_at, rest = later(own.times[spike], own.low[spike], neurons.t_ref[m])
            if not is_after(free_at, rest, t_end, 0.0):
                times[k], rests[k], who[k], which[k] = free_at, rest, m, spike
                k += 1
    order = order_exactly(times[:k], rests[:k], np.arange(k))
    return Releases(times[order], rests[order], who[order], which[order])


@compiled
def nodes_in_order(own, sampled, releases, sampled_at, sample, places, n_deliveries):
    """Return the Nodes of one sample; ``places`` are those of its own spikes, its releases and its ``sampled_at``."""
    low = own.offsets[sample]
    n_own, n_releases = own.offsets[sample + 1] - low, releases.times.size
    n = n_own + n_releases + sampled_at.size
    times, kinds = np.empty(n), np.empty(n, np.int64)
    neurons, which = np.empty(n, np.int64), np.empty(n, np.int64)
    for k in range(n):
        if k < n_own:
            times[k], neurons[k], which[k] = own.times[low + k], own.neurons[low + k], low + k
            kinds[k] = TRIGGERED if own.trigger[low + k] >= 0 else CROSSING
        elif k < n_own + n_releases:
            r = k - n_own
            times[k], neurons[k], which[k] = releases.times[r], releases.neurons[r], releases.which[r]
            at_once = which[k] < own.times.size and own.times[which[k]] == times[k]
            kinds[k] = INSTANT_RELEASE if at_once else RELEASE
        else:
            sample_at = sampled_at[k - n_own - n_releases]
            times[k], neurons[k], which[k], kinds[k] = (
                sampled.times[sample_at],
                sampled.neurons[sample_at],
                sample_at,
                SAMPLED,
            )
    order = order_by_time(times, kinds)
    order = order[order_by_time(1.0 * places[order], np.arange(n))]
    return Nodes(times[order], kinds[order], neurons[order], which[order], places[order], n_deliveries)


@compiled
def follow(neurons, efferents, run, passage, releases, read_times, sample, slopes, stop):
    """Run forward through the events of one sample, for what the way back asks of them.

    Parameters
    ----------
    run : Run
        Its spikes are in order of time, exactly.
    passage : Passage
    slopes : Slopes
        Written.

    Returns
    -------
    places : (n_own + n_releases + n_sampled,)
        How many deliveries come before each of the sample's own spikes, releases and voltage samples.
    n_deliveries : int
    """
    spikes, own, start, after, _ = run
    _, edges, longest, dense = passage
    left, right, ahead = slopes
    tau_mem, tau_syn, t_ref = neurons.tau_mem, neurons.tau_syn, neurons.t_ref
    subtracts, c = neurons.subtracts, neurons.v_threshold - neurons.v_leak
    u_reset, drop = neurons.v_reset - neurons.v_leak, neurons.v_threshold - neurons.v_reset
    source_bundles, delays, first = efferents.offsets, efferents.delay, efferents.first
    targets, weights = efferents.target, efferents.weight
    bundle_block, bundle_delta, blocks = efferents.block, efferents.delta, efferents.blocks
    own_times, own_neurons, own_trigger, own_arrivals = own.times, own.neurons, own.trigger, own.arrivals
    n, n_blocks = tau_mem.size, blocks.size - 1
    voltages = bundle_delta.any()  # V is needed only where a delivery moves it
    low, high = own.offsets[sample], own.offsets[sample + 1]
    first_spike, last_spike = spikes.offsets[sample], spikes.offsets[sample + 1]
    n_own, n_releases = high - low, releases.times.size
    places = np.empty(n_own + n_releases + read_times.size, np.int64)
    t, u, i = start.time[sample].copy(), start.u[sample].copy(), start.i[sample].copy()
    free_at, free_low = start.free_at[sample].copy(), start.free_low[sample].copy()
    held_u = u_reset[own_neurons[low:high]]  # at which V is held after each spike
    approach = np.zeros(n)  # V' before the last arrival that moved V
    received, all_received = np.zeros(n, np.int64), np.zeros(n_blocks, np.int64)
    block_of = np.empty(n, np.int64)
    clock = np.full(n_blocks, max(after, 0.0))
    for block in range(n_blocks):
        a, b = blocks[block], blocks[block + 1]
        block_of[a:b] = block
        if dense[block]:  # of a stream that goes on, its neurons are where they last had an event
            for m in range(a, b):
                i[m] *= decay((clock[block] - t[m]) / tau_syn[m])
                t[m] = clock[block]
    moving = Moving(start.u[sample], i, t, held_u, clock, block_of, dense)
    k, r, q, place = low, 0, 0, 0
    for piece in range(edges.size - 1):
        last_piece = piece == edges.size - 2
        begin, end = edges[piece], edges[piece + 1]
        coming = deliveries_of(spikes, first_spike, last_spike, source_bundles, delays, longest, begin, end)
        times, lows, bundles = coming.times, coming.low, coming.bundles
        for d in range(times.size + last_piece):  # once more where nothing is delivered any more
            if stop[0] != 0:
                return places, place
            now = times[d] if d < times.size else math.inf
            # what comes before the delivery: at its time, spikes whose neuron has received all that it then had
            while k < high:
                m = own_neurons[k]
                n_received = received[m] + all_received[block_of[m]]
                if own_times[k] > now or (own_times[k] == now and own_arrivals[k] > n_received):
                    break
                here = own_times[k]
                since = clock[block_of[m]] if dense[block_of[m]] else t[m]
                current = i[m] * decay((here - since) / tau_syn[m])
                if voltages:
                    u[m], i[m] = advance(t[m], u[m], i[m], free_at[m], here, tau_mem[m], tau_syn[m])
                    t[m], current = here, i[m]
                    if own_trigger[k] >= 0 and subtracts[m] > 0.0:
                        held_u[k - low] = u[m] - drop[m]
                    u[m] = held_u[k - low]
                    free_at[m], free_low[m] = later(here, own.low[k], t_ref[m])
                    if t_ref[m] == 0.0:
                        free_low[m] = -math.inf
                    ahead[k] = approach[m]
                left[k] = (current - c[m]) / tau_mem[m]
                if t_ref[m] == 0.0:
                    right[k] = (current - held_u[k - low]) / tau_mem[m]
                places[k - low] = place
                k += 1
            if d == times.size:
                break  # nothing is delivered any more
            now_low, bundle = lows[d], bundles[d]
            while r < n_releases and not is_after(releases.times[r], releases.low[r], now, now_low):
                r = release(r, releases, low, place, n_own, places, right, moving, neurons)
            while q < read_times.size and read_times[q] < now:
                places[n_own + n_releases + q] = place
                q += 1
            block = bundle_block[bundle]
            lowest, highest = first[bundle], first[bundle + 1]
            a, b = blocks[block], blocks[block + 1]
            if dense[block]:
                eb = decay((now - clock[block]) / tau_syn[a])
                clock[block] = now
                if highest - lowest == b - a:
                    decay_and_add(i, a, b - a, eb, weights, lowest)
                    all_received[block] += 1
                else:
                    for m in range(a, b):
                        i[m] *= eb
                    for s in range(lowest, highest):
                        i[targets[s]] += weights[s]
                        received[targets[s]] += 1
            else:
                for s in range(lowest, highest):
                    m = targets[s]
                    if voltages:
                        u[m], i[m] = advance(t[m], u[m], i[m], free_at[m], now, tau_mem[m], tau_syn[m])
                    else:
                        i[m] *= decay((now - t[m]) / tau_syn[m])
                    t[m] = now
                    received[m] += 1
                    if not bundle_delta[bundle]:
                        i[m] += weights[s]
                    elif not is_after(free_at[m], free_low[m], now, now_low):
                        approach[m] = (i[m] - u[m]) / tau_mem[m]
                        u[m] += weights[s]
            place += 1
    while r < n_releases:
        r = release(r, releases, low, place, n_own, places, right, moving, neurons)
    places[n_own + n_releases + q :] = place
    return places, place


@without_refcount
def release(r, releases, low, place, n_own, places, right, moving, neurons):
    """Write the place of a release, and V' where V moves on; return the number of the next one."""
    u_start, i, t, held_u, clock, block_of, dense = moving
    m, which, time = releases.neurons[r], releases.which[r], releases.times[r]
    places[n_own + r] = place
    since = clock[block_of[m]] if dense[block_of[m]] else t[m]
    current = i[m] * decay((time - since) / neurons.tau_syn[m])
    at = held_u[which - low] if which - low < n_own else u_start[m]
    right[which] = (current - at) / neurons.tau_mem[m]
    return r + 1


@embedded
def place_of(first, m):
    """Return first + m, unsigned: no index counts from the end, so that loops are vectorised."""
    return np.uint64(first) + np.uint64(m)


@without_refcount
def decay_and_add(i, first, n, eb, weights, lowest):
    """Let the currents of a block decay, and add a row of weights."""
    for m in range(n):
        j = place_of(first, m)
        i[j] = i[j] * eb + weights[place_of(lowest, m)]


@without_refcount
def row_back(p_v, p_i, first, n, ea, eb, k):
    """Take the adjoint of a block back over a time of which the propagator is given."""
    for m in range(n):
        j = place_of(first, m)
        v = p_v[j]
        p_i[j] = p_i[j] * eb + v * k
        p_v[j] = v * ea


@without_refcount
def flow_back(adjoint, first, n, ea, eb, k, by_mem, by_syn, k_mem, k_syn):
    """Take back with the adjoint of a block its derivatives by tau_mem and by tau_syn.

    ``by_mem`` and ``by_syn`` are the derivatives of the decays, ``k_mem`` and ``k_syn`` those of K.
    """
    p_v, p_i, s_v, s_i, r_i = adjoint
    for m in range(n):
        j = place_of(first, m)
        v, i, s = p_v[j], p_i[j], s_v[j]
        s_i[j] = s_i[j] * eb + (s * k + v * k_mem)
        s_v[j] = s * ea + v * by_mem
        r_i[j] = r_i[j] * eb + (i * by_syn + v * k_syn)


@without_refcount
def add_row(row, lowest, column, first, n):
    """Add one row to another."""
    for m in range(n):
        row[place_of(lowest, m)] += column[place_of(first, m)]


@without_refcount
def add_products(d_tau_mem, d_tau_syn, weights, lowest, s_i, r_i, first, n):
    """Add w dp_I/dtau of every neuron of a block, for both time constants."""
    for m in range(n):
        j = place_of(first, m)
        w = weights[place_of(lowest, m)]
        d_tau_mem[j] += w * s_i[j]
        d_tau_syn[j] += w * r_i[j]


@without_refcount
def row_error(weights, lowest, p_v, p_i, first, n, rate_mem, rate_syn):
    """Return sum_m w_m (p_I/tau_syn - p_V/tau_mem) of a block: eight sums side by side, then those."""
    e0, e1, e2, e3, e4, e5, e6, e7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = n - n % 8
    for m in range(0, whole, 8):
        e0 += error_of(weights, lowest, p_v, p_i, first, m, rate_mem, rate_syn)
        e1 += error_of(weights, lowest, p_v, p_i, first, m + 1, rate_mem, rate_syn)
        e2 += error_of(weights, lowest, p_v, p_i, first, m + 2, rate_mem, rate_syn)
        e3 += error_of(weights, lowest, p_v, p_i, first, m + 3, rate_mem, rate_syn)
        e4 += error_of(weights, lowest, p_v, p_i, first, m + 4, rate_mem, rate_syn)
        e5 += error_of(weights, lowest, p_v, p_i, first, m + 5, rate_mem, rate_syn)
        e6 += error_of(weights, lowest, p_v, p_i, first, m + 6, rate_mem, rate_syn)
        e7 += error_of(weights, lowest, p_v, p_i, first, m + 7, rate_mem, rate_syn)
    error = ((e0 + e1) + (e2 + e3)) + ((e4 + e5) + (e6 + e7))
    for m in range(whole, n):
        error += error_of(weights, lowest, p_v, p_i, first, m, rate_mem, rate_syn)
    return error


@without_refcount
def add_errors(row, weights, lowest, p_v, p_i, first, n, rate_mem, rate_syn):
    """Add w (p_I/tau_syn - p_V/tau_mem) of every neuron of a block to a row."""
    for m in range(n):
        row[place_of(lowest, m)] += error_of(weights, lowest, p_v, p_i, first, m, rate_mem, rate_syn)


@embedded
def error_of(weights, lowest, p_v, p_i, first, m, rate_mem, rate_syn):
    """Return w (p_I/tau_syn - p_V/tau_mem) of one neuron of a block."""
    j = place_of(first, m)
    return weights[place_of(lowest, m)] * (p_i[j] * rate_syn - p_v[j] * rate_mem)


@without_refcount
def step_back(m, h, adjoint, tau_mem, tau_syn, flow):
    """Take the adjoint of one neuron back by a time h, and with ``flow`` its derivatives."""
    p_v, p_i, s_v, s_i, r_i = adjoint
    v, i = p_v[m], p_i[m]
    if v == 0.0 and i == 0.0 and not (flow and (s_v[m] != 0.0 or s_i[m] != 0.0 or r_i[m] != 0.0)):
        return
    ea, eb, k = propagator(h, tau_mem, tau_syn)
    if flow:
        _, k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
        s = s_v[m]
        s_i[m] = s_i[m] * eb + (s * k + v * k_mem)
        s_v[m] = s * ea + v * (ea * h / (tau_mem * tau_mem))
        r_i[m] = r_i[m] * eb + (i * (eb * h / (tau_syn * tau_syn)) + v * k_syn)
    p_i[m] = i * eb + v * k
    p_v[m] = v * ea


@without_refcount
def by_leak(h, tau_mem):
    """Return dV/dv_leak = 1 - exp(-h/tau_mem) after a time h."""
    return -math.expm1(-h / tau_mem)


@compiled
def back(neurons, efferents, run, passage, cotangents, nodes, slopes, judged, sums, sample, row, stop):
    """Go back through the events of one sample; add to the gradients, and return the first own spike without a slope.

    ``judged`` says of which sources dL/dt is asked for. The rest is as in :func:`mirror` and :func:`follow`.
    """
    spikes, own, start, _, t_end = run
    own_of, edges, longest, dense = passage
    own_cotangents, _, sampled, boundary = cotangents
    left, right, ahead = slopes
    errors, totals, d_weight, d_delay, d_parameters, wanted = sums
    tau_mem, tau_syn, t_ref = neurons.tau_mem, neurons.tau_syn, neurons.t_ref
    subtracts, v_leak = neurons.subtracts, neurons.v_leak
    u_reset, drop = neurons.v_reset - v_leak, neurons.v_threshold - neurons.v_reset
    source_bundles, delays, first = efferents.offsets, efferents.delay, efferents.first
    targets, weights = efferents.target, efferents.weight
    bundle_block, bundle_delta, blocks = efferents.block, efferents.delta, efferents.blocks
    spike_neurons, spike_of = spikes.neurons, np.empty(totals.size, np.int64)
    first_spike, last_spike = spikes.offsets[sample], spikes.offsets[sample + 1]
    for g in range(first_spike, last_spike):
        if own_of[g] >= 0:
            spike_of[own_of[g]] = g
    n, n_blocks = tau_mem.size, blocks.size - 1
    want_weight, want_delay, flow = wanted.weight, wanted.delay, wanted.flow
    weight_row, delay_row = d_weight[row], d_delay[row]
    d_tau_mem, d_tau_syn, d_threshold, d_reset = (
        d_parameters[row, 0],
        d_parameters[row, 1],
        d_parameters[row, 2],
        d_parameters[row, 3],
    )
    d_leak, d_ref = d_parameters[row, 4], d_parameters[row, 5]
    p_v, p_i = np.zeros(n), np.zeros(n)
    s_v, s_i, r_i = np.zeros(n), np.zeros(n), np.zeros(n)
    adjoint = Adjoint(p_v, p_i, s_v, s_i, r_i)
    since = np.full(n, t_end)  # the time of a neuron's adjoint, if it advances on its own
    clock = np.full(n_blocks, t_end)  # and of a block's
    individuals, is_individual = np.empty(n, np.int64), np.zeros(n, np.bool_)
    n_individuals = np.zeros(n_blocks, np.int64)
    spare = np.empty((5, n))
    alive = np.zeros(n_blocks, np.bool_)
    block_of = np.empty(n, np.int64)
    for block in range(n_blocks):
        block_of[blocks[block] : blocks[block + 1]] = block
    # while V is held: p_V of the voltage at which it is held, its derivative by tau_mem
    held, held_v, held_s = np.zeros(n, np.bool_), np.zeros(n), np.zeros(n)
    released = np.zeros(n)  # -dL/dt of when V was released
    anchor_p, anchor_t = np.zeros(n), np.full(n, t_end)  # p_V at the last node
    inherited, lifted = (
        np.zeros(n),
        np.zeros(n, np.bool_),
    )  # of a triggered spike, for the arrival that triggers it
    for m in range(n):
        held[m] = is_after(start.free_at[sample, m], start.free_low[sample, m], t_end, 0.0)
    for spike in range(own.offsets[sample], own.offsets[sample + 1]):
        m = own.neurons[spike]
        free_at, free_low = later(own.times[spike], own.low[spike], t_ref[m])
        held[m] = is_after(free_at, free_low, t_end, 0.0)
    if boundary.shape[0] > 0:
        for m in range(n):
            p_i[m] = boundary[sample, 1, m]
            if held[m]:
                held_v[m], released[m] = boundary[sample, 0, m], -boundary[sample, 2, m]
            else:
                p_v[m] = boundary[sample, 0, m]
            anchor_p[m] = p_v[m]
            alive[block_of[m]] |= p_v[m] != 0.0 or p_i[m] != 0.0
    grazing, node, place = -1, nodes.times.size - 1, nodes.n_deliveries
    for piece in range(edges.size - 2, -1, -1):
        begin, end = edges[piece], edges[piece + 1]
        coming = deliveries_of(spikes, first_spike, last_spike, source_bundles, delays, longest, begin, end)
        times, causes, bundles = coming.times, coming.spikes, coming.bundles
        for d in range(times.size - 1, -2 if piece == 0 else -1, -1):
            if stop[0] != 0:
                return grazing
            place -= 1
            while node >= 0 and nodes.places[node] > place:
                m, here, kind, which = (
                    nodes.neurons[node],
                    nodes.times[node],
                    nodes.kinds[node],
                    nodes.which[node],
                )
                node -= 1
                block = block_of[m]
                gone = since[m]
                if dense[block] and not is_individual[m]:
                    gone = clock[block]
                    individuals[blocks[block] + n_individuals[block]] = m
                    n_individuals[block] += 1
                    is_individual[m] = True
                step_back(m, gone - here, adjoint, tau_mem[m], tau_syn[m], flow)
                since[m] = here
                if flow:
                    d_leak[m] += anchor_p[m] * by_leak(anchor_t[m] - here, tau_mem[m])
                if kind == SAMPLED:
                    if held[m]:
                        held_v[m] += sampled.cotangents[which]
                    else:
                        p_v[m] += sampled.cotangents[which]
                elif kind in (RELEASE, INSTANT_RELEASE):
                    held[m], held_v[m], held_s[m] = True, p_v[m], s_v[m]
                    released[m] = p_v[m] * right[which]
                    p_v[m], s_v[m] = 0.0, 0.0
                else:
                    after, s_after, moved = p_v[m], s_v[m], p_v[m] * right[which]
                    if t_ref[m] > 0.0:
                        after, s_after, moved = held_v[m], held_s[m], released[m]
                        held[m], held_v[m], held_s[m], released[m] = False, 0.0, 0.0, 0.0
                    error = own_cotangents[which] + errors[spike_of[which]] - moved
                    totals[which] = error
                    d_ref[m] -= moved
                    d_reset[m] += after
                    p_v[m], s_v[m] = 0.0, 0.0
                    if kind == TRIGGERED:
                        if subtracts[m] > 0.0:
                            p_v[m], s_v[m] = after, s_after
                            d_threshold[m] -= after
                            d_tau_mem[m] -= drop[m] * s_after
                        else:
                            d_tau_mem[m] += u_reset[m] * s_after
                        inherited[m], lifted[m] = error + p_v[m] * ahead[which], True
                    else:
                        d_tau_mem[m] += u_reset[m] * s_after
                        if error != 0.0:
                            if left[which] > 0.0:
                                p_v[m] = -error / left[which]
                                d_threshold[m] -= p_v[m]
                            elif grazing < 0 or which < grazing:
                                grazing = which
                anchor_p[m], anchor_t[m] = p_v[m], here
                alive[block] |= p_v[m] != 0.0 or p_i[m] != 0.0 or lifted[m]
            if d < 0:
                break  # nothing is delivered before
            now, cause, bundle = times[d], causes[d], bundles[d]
            block = bundle_block[bundle]
            if not alive[block]:
                continue
            lowest, highest = first[bundle], first[bundle + 1]
            a, b = blocks[block], blocks[block + 1]
            asked = judged[spike_neurons[cause]]
            if dense[block]:
                for w in range(n_individuals[block]):
                    m = individuals[a + w]
                    step_back(m, since[m] - now, adjoint, tau_mem[m], tau_syn[m], flow)
                    spare[0, w], spare[1, w], is_individual[m] = p_v[m], p_i[m], False
                    if flow:
                        spare[2, w], spare[3, w], spare[4, w] = s_v[m], s_i[m], r_i[m]
                h = clock[block] - now
                ea, eb, k = propagator(h, tau_mem[a], tau_syn[a])
                if flow:
                    _, k_mem, k_syn = propagator_derivatives(h, tau_mem[a], tau_syn[a], ea, eb, k)
                    by_mem = ea * h / (tau_mem[a] * tau_mem[a])
                    by_syn = eb * h / (tau_syn[a] * tau_syn[a])
                    flow_back(adjoint, a, b - a, ea, eb, k, by_mem, by_syn, k_mem, k_syn)
                row_back(p_v, p_i, a, b - a, ea, eb, k)
                for w in range(n_individuals[block]):
                    m = individuals[a + w]
                    p_v[m], p_i[m] = spare[0, w], spare[1, w]
                    if flow:
                        s_v[m], s_i[m], r_i[m] = spare[2, w], spare[3, w], spare[4, w]
                n_individuals[block] = 0
                clock[block] = now
            if dense[block] and highest - lowest == b - a:
                rate_mem, rate_syn = 1.0 / tau_mem[a], 1.0 / tau_syn[a]
                if want_weight:
                    add_row(weight_row, lowest, p_i, a, b - a)
                if asked:
                    errors[cause] += row_error(weights, lowest, p_v, p_i, a, b - a, rate_mem, rate_syn)
                if want_delay:
                    add_errors(delay_row, weights, lowest, p_v, p_i, a, b - a, rate_mem, rate_syn)
                if flow:
                    add_products(d_tau_mem, d_tau_syn, weights, lowest, s_i, r_i, a, b - a)
                continue
            delta = bundle_delta[bundle]
            total = 0.0
            for s in range(lowest, highest):
                m = targets[s]
                if not dense[block]:
                    step_back(m, since[m] - now, adjoint, tau_mem[m], tau_syn[m], flow)
                    since[m] = now
                if not delta:
                    by_weight = p_i[m]
                    error = weights[s] * (p_i[m] / tau_syn[m] - p_v[m] / tau_mem[m])
                elif lifted[m]:
                    by_weight, error, lifted[m] = p_v[m], inherited[m], False
                else:
                    by_weight, error = p_v[m], weights[s] * p_v[m] / tau_mem[m]
                total += error
                if want_weight:
                    weight_row[s] += by_weight
                if want_delay:
                    delay_row[s] += error
                if flow:
                    d_tau_mem[m] += weights[s] * (s_v[m] if delta else s_i[m])
                    d_tau_syn[m] += 0.0 if delta else weights[s] * r_i[m]
            errors[cause] += total
    for m in range(n):
        block, begin = block_of[m], start.time[sample, m]
        gone = clock[block] if dense[block] and not is_individual[m] else since[m]
        step_back(m, gone - begin, adjoint, tau_mem[m], tau_syn[m], flow)
        by_v, by_s = (held_v[m], held_s[m]) if held[m] else (p_v[m], s_v[m])
        d_parameters[row, 6, m] += by_v
        d_parameters[row, 7, m] += p_i[m]
        if boundary.shape[0] > 0:
            boundary[sample, 0, m], boundary[sample, 1, m], boundary[sample, 2, m] = (
                by_v,
                p_i[m],
                -released[m],
            )
        if flow:
            d_leak[m] += anchor_p[m] * by_leak(anchor_t[m] - begin, tau_mem[m])
            d_tau_mem[m] += start.u[sample, m] * by_s + start.i[sample, m] * s_i[m]
            d_tau_syn[m] += start.i[sample, m] * r_i[m]
    return grazing


@compiled
def mirror(neurons, efferents, run, own_of, cotangents, judged, wanted, per_sample, stop):
    """Return the gradients that a cyclic layer contributes.

    Parameters
    ----------
    neurons : Neurons
    efferents : Efferents
    run : Run
        Its spikes are in order of time, exactly.
    own_of : (n_spikes,)
        Which own spike each of those is, -1 for those of sources and those before the start.
    cotangents : Cotangents
    judged : (n_sources,)
        Whether dL/dt is asked for of what a source sends.
    wanted : Wanted
    per_sample : bool
        One row of gradients for each sample, or a single one for their sum, added in the order of the samples.

    Returns
    -------
    sums : Sums
        Errors are 0 where they are not asked for; synapses are in the order of ``efferents``.
    grazing : int
        The first own spike with an error whose slope is not positive, where no gradient exists; -1 if there is none.
    """
    spikes, own, start, after, t_end = run
    sampled = cotangents.sampled
    n_rows = own.offsets.size - 1 if per_sample else 1
    n, n_synapses = neurons.tau_mem.size, efferents.weight.size
    sums = empty_sums(spikes.times.size, own.times.size, n_rows, n_synapses, n, wanted)
    slopes = Slopes(np.zeros(own.times.size), np.zeros(own.times.size + n), np.zeros(own.times.size))
    left = cotangents.slopes if cotangents.slopes.size > 0 else slopes.left
    longest = efferents.delay.max() if efferents.delay.size else 0.0
    dense = efferents.dense.copy()
    if efferents.delta.any():
        dense[:] = False
    grazing = -1
    for sample in range(own.offsets.size - 1):
        if stop[0] != 0:
            break  # as every further sample would
        begin, end = spikes.offsets[sample], spikes.offsets[sample + 1]
        edges = edges_of(spikes, begin, end, efferents.offsets, after, t_end)
        passage = Passage(own_of, edges, longest, dense)
        releases = releases_of(neurons, start, own, sample, t_end)
        first_read, last_read = sampled.offsets[sample], sampled.offsets[sample + 1]
        read_times = sampled.times[first_read:last_read].copy()
        for k in range(read_times.size):
            if sampled.arrival[first_read + k] == AT_START:
                read_times[k] = -math.inf
        by_time = order_by_time(read_times, sampled.neurons[first_read:last_read])
        sampled_at, read_times = first_read + by_time, read_times[by_time]
        places, n_deliveries = follow(
            neurons, efferents, run, passage, releases, read_times, sample, slopes, stop
        )
        nodes = nodes_in_order(own, sampled, releases, sampled_at, sample, places, n_deliveries)
        found = back(
            neurons,
            efferents,
            run,
            passage,
            cotangents,
            nodes,
            Slopes(left, slopes.right, slopes.ahead),
            judged,
            sums,
            sample,
            sample if per_sample else 0,
            stop,
        )
        if found >= 0 and (grazing < 0 or found < grazing):
            grazing = found
    return sums, grazing
