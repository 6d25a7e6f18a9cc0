"""Kernels: the event loop over one layer, which may be cyclic and have delta synapses (compiled).

Two queues hold what comes next, deliveries and crossings (:mod:`eventsolve.kernels.queues`); the earlier one happens,
and a crossing comes before a delivery at the same time.

The neurons of a block (a population) that hear most of what their sources send, and share their time constants, are a
dense block and advance together (:mod:`eventsolve.kernels.dense_blocks`). Neurons of other blocks advance one by one,
when something arrives (:mod:`eventsolve.kernels.cells`): cost goes by synapses touched, not by neurons.

Order of events, total: by time, which is exact for sums of given numbers (:mod:`eventsolve.kernels.times`); crossings,
by neuron, before deliveries at one float64 time; deliveries at one exact time by the spike that causes them (by when it
was sent, then given spikes in the order of their list, then the layer's own in order of occurrence), then by synapse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from eventsolve.compiled import compiled, prefetch, without_refcount
from eventsolve.kernels.cells import (
    CURRENT,
    FREE_AT,
    LEVEL,
    RECEIVED,
    TAU_MEM,
    TAU_SYN,
    TIME,
    VOLTAGE,
    advance,
    new_cells,
    next_crossing,
    no_crossing_before,
)
from eventsolve.kernels.dense_blocks import (
    forget_crossings,
    leave_dense_block,
    look_ahead,
    move_dense_block,
    new_dense_blocks,
)
from eventsolve.kernels.elementary import decay
from eventsolve.kernels.queues import (
    ARRIVAL,
    BUNDLE,
    DUE,
    EMITTED,
    FRESH,
    LAST_DUE,
    LOW,
    NEAR,
    RANK,
    TARGET,
    WAITING,
    WEIGHT,
    comes_before,
    compare_fresh,
    new_crossings,
    new_deliveries,
    open_window,
    pop,
    roomier,
    set_crossing,
    set_out,
)
from eventsolve.kernels.tables import (
    BUDGET,
    BUFFER_FULL,
    REPEATED_SPIKE,
    Integers,
    Reals,
    Spikes,
    States,
)
from eventsolve.kernels.times import is_after, later


class Log(NamedTuple):
    """Spikes in order of occurrence, those given first, and peaks that float64 cannot place; ``counts`` of both.

    ``trigger`` is rank * n_bundles + bundle of a delivery, or -1 for a crossing. ``lifted`` are the neurons that the
    present delivery makes spike, ``counts[LIFTED]`` so far, and ``counts[AT]`` the synapse with which it goes on.
    ``delivered`` is the time of the last delivery that has begun, and what that leaves of an exact sum: no crossing
    that follows it is before it.
    """

    times: Reals
    low: Reals
    senders: Integers
    arrivals: Integers
    trigger: Integers
    undecided_times: Reals
    undecided_senders: Integers
    lifted: Integers
    last_spike: Reals
    delivered: Reals
    counts: Integers


SPIKES, UNDECIDED, LIFTED, AT = range(4)
AHEAD = 8
"""How many arrivals ahead the memory is asked for a neuron."""


@compiled
def new_log(room, n):
    """Return an empty Log of n neurons with room for so many spikes, and as many undecided peaks."""
    return Log(
        np.empty(room),
        np.empty(room),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room),
        np.empty(room, np.int64),
        np.empty(n, np.int64),
        np.full(n, -math.inf),
        np.zeros(2),
        np.zeros(4, np.int64),
    )


@compiled
def grown(log):
    """Return the same Log with twice the room."""
    larger = new_log(2 * log.times.size, 0)
    for k in range(log.times.size):  # and not by slices, whose errors numba takes a second to compile
        larger.times[k], larger.low[k], larger.senders[k] = log.times[k], log.low[k], log.senders[k]
        larger.arrivals[k], larger.trigger[k] = log.arrivals[k], log.trigger[k]
        larger.undecided_times[k], larger.undecided_senders[k] = (
            log.undecided_times[k],
            log.undecided_senders[k],
        )
    return Log(
        larger.times,
        larger.low,
        larger.senders,
        larger.arrivals,
        larger.trigger,
        larger.undecided_times,
        larger.undecided_senders,
        log.lifted,
        log.last_spike,
        log.delivered,
        log.counts,
    )


class Limits(NamedTuple):
    """Of a run: sources outside the layer, spikes given, more than how many neurons one event may concern.

    Arrivals in (after, t_end] are taken, and at most so many spikes.
    """

    n_external: int
    n_given: int
    most: int
    after: float
    t_end: float
    max_spikes: int


@without_refcount
def process_events(
    neurons,
    efferents,
    cells,
    free_low,
    dense_blocks,
    crossings,
    deliveries,
    log,
    limits,
    stop,
):
    """Work through the queues until t_end; return (status, neuron, time) where there is a reason to stop before.

    If that is for want of room, it goes on from there when called with more. Arrays are taken out of their tuples once.
    """
    n_external, n_given, most, after, t_end, max_spikes = limits
    v_resets, v_leaks, v_thresholds = neurons.v_reset, neurons.v_leak, neurons.v_threshold
    t_refs, subtracts = neurons.t_ref, neurons.subtracts
    offsets, delays, bundle_block, bundle_delta, first, targets, weights, blocks, dense = efferents
    u, i, row, clock, horizon = (
        dense_blocks.u,
        dense_blocks.i,
        dense_blocks.row,
        dense_blocks.clock,
        dense_blocks.horizon,
    )
    is_individual, peaks, block_of, individuals, n_individuals = (
        dense_blocks.is_individual,
        dense_blocks.peaks,
        dense_blocks.block_of,
        dense_blocks.individuals,
        dense_blocks.n_individuals,
    )
    ready, ready_for, hears_whole, dense_ids = (
        dense_blocks.ready,
        dense_blocks.ready_for,
        dense_blocks.received,
        dense_blocks.blocks,
    )
    heap_times, heap, keys, n_crossings = crossings.times, crossings.neurons, crossings.keys, crossings.size
    due, due_of, near, near_of, queued = (
        deliveries.due,
        deliveries.due_of,
        deliveries.near,
        deliveries.near_of,
        deliveries.counts,
    )
    (
        times,
        low,
        senders,
        arrivals,
        trigger,
        undecided_times,
        undecided_senders,
        lifted,
        last_spike,
        delivered,
        counts,
    ) = log
    n_bundles = delays.size
    cyclic = offsets.size - 1 > n_external
    n_out, n_undecided, n_lifted, at = counts
    status, where, when = 0, -1, t_end
    beyond = np.nextafter(t_end, math.inf)  # a crossing before it may be rounded to t_end, and is then due
    while stop[0] == 0:
        full = max(n_out, n_undecided) + most > times.size or queued[WAITING] + most > due.shape[1]
        if not full and queued[FRESH] < queued[WAITING]:
            full = not compare_fresh(deliveries, times, low, senders, offsets, delays, t_end)
        if not full and (
            queued[DUE] == queued[LAST_DUE]
            and queued[NEAR] == 0
            and (queued[WAITING] > 0 or queued[EMITTED] < n_given)
        ):
            full = not open_window(deliveries, n_given, times, low, senders, efferents, after, t_end)
        if full:
            status = BUFFER_FULL
            break

        # the next delivery
        t_delivery, t_low, rank, bundle = math.inf, 0.0, -1, -1
        d = queued[DUE]
        is_due = d < queued[LAST_DUE]
        if is_due:
            t_delivery, t_low, rank, bundle = due[ARRIVAL, d], due[LOW, d], due_of[RANK, d], due_of[BUNDLE, d]
        if queued[NEAR] > 0:
            is_due = is_due and comes_before(
                t_delivery,
                t_low,
                rank,
                bundle,
                near[ARRIVAL, 0],
                near[LOW, 0],
                near_of[RANK, 0],
                near_of[BUNDLE, 0],
                times,
                low,
            )
            if not is_due:
                t_delivery, t_low = near[ARRIVAL, 0], near[LOW, 0]
                rank, bundle = near_of[RANK, 0], near_of[BUNDLE, 0]

        for k in range(dense_ids.size):
            block = dense_ids[k]
            if bundle >= 0 and bundle_block[bundle] == block:
                known = t_delivery <= clock[block] or (
                    ready_for[block] == t_delivery and (ready[block] == -1 or ready[block] == bundle)
                )
            else:
                known = horizon[block] >= min(t_delivery, beyond)
            if known:
                continue
            n_undecided = look_ahead(
                block,
                efferents,
                dense_blocks,
                cells,
                crossings,
                t_delivery,
                bundle,
                beyond,
                undecided_times,
                undecided_senders,
                n_undecided,
            )
        t_crossing = heap_times[0] if n_crossings[0] > 0 else math.inf
        if min(t_crossing, t_delivery) > t_end:
            break

        fires_from, fires_to, cause = n_lifted, n_lifted, -1
        if t_crossing <= t_delivery:
            m, now = heap[0], t_crossing
            now_low = delivered[1] if delivered[0] == now else 0.0
            block = block_of[m]
            in_dense_block = dense[block]
            peak = math.inf
            if in_dense_block and not is_individual[m]:
                peak = peaks[m]
                i[row[block] + m] *= decay((now - clock[block]) / cells[m, TAU_SYN])
                leave_dense_block(m, block, blocks[block], dense_blocks)
            else:
                t, free_at, c = cells[m, TIME], cells[m, FREE_AT], cells[m, LEVEL]
                tau_mem, tau_syn = cells[m, TAU_MEM], cells[m, TAU_SYN]
                v = u[row[block] + m] if in_dense_block else cells[m, VOLTAGE]
                current = i[row[block] + m] if in_dense_block else cells[m, CURRENT]
                if t < now or v < c:  # else it is there by rounding
                    ahead = no_crossing_before(t, v, current, free_at, c, tau_mem)
                    if ahead <= now:
                        ahead, peak = next_crossing(t, v, current, free_at, c, tau_mem, tau_syn)
                    if ahead == math.inf and now < peak < math.inf:
                        ahead = peak
                    elif ahead == math.inf and peak <= now:
                        undecided_times[n_undecided], undecided_senders[n_undecided] = peak, m
                        n_undecided += 1
                    if ahead > now:
                        set_crossing(crossings, m, ahead if ahead <= t_end else math.inf)
                        continue
                _, current = advance(t, v, current, free_at, now, tau_mem, tau_syn)
                if in_dense_block:
                    i[row[block] + m] = current
                else:
                    cells[m, CURRENT] = current
            cells[m, TIME] = now
            if peak < math.inf:
                undecided_times[n_undecided], undecided_senders[n_undecided] = peak, m
                n_undecided += 1
            lifted[n_lifted] = m
            fires_to = n_lifted + 1
        else:
            now, now_low = t_delivery, t_low
            delivered[0], delivered[1] = now, now_low
            block, delta, lowest, highest = 0, False, 0, 1
            target, weight = np.int64(-1), 0.0
            if is_due:
                target, weight = due_of[TARGET, d], due[WEIGHT, d]
                ahead_of = due_of[TARGET, min(d + AHEAD, queued[LAST_DUE] - 1)]
                if ahead_of >= 0:
                    prefetch(cells, ahead_of)
                    prefetch(keys, ahead_of)
            lone = target >= 0
            if not lone:
                block, delta = bundle_block[bundle], bundle_delta[bundle]
                lowest, highest = first[bundle], first[bundle + 1]
            if not lone and dense[block]:
                a, b, r = blocks[block], blocks[block + 1], row[block]
                if now > clock[block]:
                    if move_dense_block(block, a, now, weights, lowest, dense_blocks, cells, crossings):
                        continue
                    r = row[block]
                else:
                    ready[block] = -1
                forget_crossings(block, a, dense_blocks, crossings)
                horizon[block] = now
                if delta:
                    for s in range(lowest, highest):
                        m = np.int64(targets[s])
                        cells[m, RECEIVED] += 1.0
                        if not is_after(cells[m, FREE_AT], free_low[m], now, now_low):
                            u[r + m] += weights[s]
                            if u[r + m] >= cells[m, LEVEL]:
                                lifted[n_lifted] = m
                                n_lifted += 1
                elif highest - lowest == b - a:
                    hears_whole[block] += 1
                    if ready[block] < 0:
                        for m in range(b - a):
                            i[r + a + m] += weights[lowest + m]
                else:
                    for s in range(lowest, highest):
                        m = np.int64(targets[s])
                        i[r + m] += weights[s]
                        cells[m, RECEIVED] += 1.0
                ready_for[block] = math.inf
                for w in range(n_individuals[block]):
                    m = individuals[a + w]
                    ahead = no_crossing_before(
                        now, u[r + m], i[r + m], cells[m, FREE_AT], cells[m, LEVEL], cells[m, TAU_MEM]
                    )
                    if ahead < keys[m] and ahead <= t_end:
                        set_crossing(crossings, m, ahead)
            else:
                s = max(at, lowest)
                at = 0
                while s < highest:
                    if not lone:
                        m_ahead = np.int64(targets[min(s + AHEAD, highest - 1)])
                        prefetch(cells, m_ahead)
                        prefetch(keys, m_ahead)
                        target, weight = np.int64(targets[s]), weights[s]
                    m = target
                    t, v, current, free_at = (
                        cells[m, TIME],
                        cells[m, VOLTAGE],
                        cells[m, CURRENT],
                        cells[m, FREE_AT],
                    )
                    c, tau_mem, tau_syn = cells[m, LEVEL], cells[m, TAU_MEM], cells[m, TAU_SYN]
                    v, current = advance(t, v, current, free_at, now, tau_mem, tau_syn)
                    if v >= c and free_at <= now:  # it spikes before this arrives
                        ahead, peak = next_crossing(
                            t, cells[m, VOLTAGE], cells[m, CURRENT], free_at, c, tau_mem, tau_syn
                        )
                        if peak < math.inf:
                            undecided_times[n_undecided], undecided_senders[n_undecided] = peak, m
                            n_undecided += 1
                        cells[m, TIME], cells[m, VOLTAGE], cells[m, CURRENT] = now, v, current
                        set_crossing(crossings, m, now)
                        at = s
                        break
                    if not delta:
                        current += weight
                    elif not is_after(free_at, free_low[m], now, now_low):
                        v += weight
                        if v >= c:
                            lifted[n_lifted] = m
                            n_lifted += 1
                    cells[m, TIME], cells[m, VOLTAGE], cells[m, CURRENT] = now, v, current
                    cells[m, RECEIVED] += 1.0
                    ahead = no_crossing_before(now, v, current, free_at, c, tau_mem)
                    if ahead < keys[m] and ahead <= t_end:
                        set_crossing(crossings, m, ahead)
                    s += 1
                if s < highest:
                    continue
            if is_due:
                queued[DUE] += 1
            else:
                pop(near, near_of, queued[NEAR], times, low)
                queued[NEAR] -= 1
            fires_from, fires_to, cause = 0, n_lifted, rank * n_bundles + bundle
            n_lifted = 0

        for w in range(fires_from, fires_to):
            m = lifted[w]
            block = block_of[m]
            in_dense_block = dense[block]
            if last_spike[m] == now:
                status, where, when = REPEATED_SPIKE, m, now
                break
            last_spike[m] = now
            v = v_resets[m] - v_leaks[m]
            if cause >= 0 and subtracts[m] > 0.0:
                v = u[row[block] + m] if in_dense_block else cells[m, VOLTAGE]
                v -= v_thresholds[m] - v_resets[m]
                if v >= cells[m, LEVEL]:
                    status, where, when = REPEATED_SPIKE, m, now
                    break
            free_at, rest = later(now, now_low, t_refs[m])
            cells[m, FREE_AT] = free_at
            # without a refractory period not even an arrival that rounding has put behind a crossing is ignored
            free_low[m] = rest if t_refs[m] > 0.0 else -math.inf
            current = cells[m, CURRENT]
            if in_dense_block:
                u[row[block] + m], current = v, i[row[block] + m]
                if free_at > now and not is_individual[m]:
                    leave_dense_block(m, block, blocks[block], dense_blocks)
                    cells[m, TIME] = now
            else:
                cells[m, VOLTAGE] = v
            if not in_dense_block or is_individual[m]:
                ahead = no_crossing_before(now, v, current, free_at, cells[m, LEVEL], cells[m, TAU_MEM])
                set_crossing(crossings, m, ahead if ahead <= t_end else math.inf)
            times[n_out], low[n_out], senders[n_out] = now, now_low, n_external + m
            arrivals[n_out] = np.int64(cells[m, RECEIVED]) + hears_whole[block]
            trigger[n_out] = cause
            n_out += 1
            if cyclic:
                set_out(deliveries, n_out - 1, times, low, senders, offsets, delays, -math.inf, t_end)
            if n_out - n_given > max_spikes:
                status, where, when = BUDGET, m, now
                break
        if status != 0:
            break
    counts[SPIKES], counts[UNDECIDED], counts[LIFTED], counts[AT] = n_out, n_undecided, n_lifted, at
    return status, where, when


@compiled
def run(
    neurons,
    efferents,
    n_external,
    given_times,
    given_low,
    given_sources,
    state,
    after,
    t_end,
    max_spikes,
    stop,
):
    """Solve one sample of a layer.

    Parameters
    ----------
    given_times, given_low, given_sources : (n_given,)
        Spikes of the sources, and of the layer's own neurons before ``after`` that are still on their way, in order of
        time, exactly; own neuron n is source n_external + n if the layer is cyclic.
    state : States of (n,)
        To begin with; replaced by those after the last events.
    after, t_end : float
        Arrivals in (after, t_end] are taken.
    max_spikes : int
        How many spikes are allowed.
    stop : (1,)
        Not 0 to stop early.

    Returns
    -------
    status : int
        0, or why the run ended early.
    where : int, when : float
        The neuron and time at which it did.
    log : Log
        The spikes; given ones come first in the ranks, then the layer's own. And undecided peaks.
    """
    n, n_given = state.time.size, given_times.size
    dense = efferents.dense
    cells = new_cells(neurons, state)
    dense_blocks = new_dense_blocks(efferents, cells, state)
    most = 0
    for bundle in range(efferents.delay.size):
        most = max(most, efferents.first[bundle + 1] - efferents.first[bundle])
    for k in range(dense_blocks.blocks.size):
        block = dense_blocks.blocks[k]
        most += efferents.blocks[block + 1] - efferents.blocks[block]
    most += 2
    log = new_log(n_given + 4 * most + 64, n)
    for k in range(n_given):
        log.times[k], log.low[k], log.senders[k] = given_times[k], given_low[k], given_sources[k]
    log.counts[SPIKES] = n_given
    deliveries = new_deliveries(4 * most + 64, (t_end - max(after, 0.0)) / 256.0)
    crossings = new_crossings(n)
    for m in range(n):
        if not dense[dense_blocks.block_of[m]] or dense_blocks.is_individual[m]:
            ahead = no_crossing_before(
                state.time[m], state.u[m], state.i[m], state.free_at[m], cells[m, LEVEL], cells[m, TAU_MEM]
            )
            if ahead <= t_end:
                set_crossing(crossings, m, ahead)
    while True:
        status, where, when = process_events(
            neurons,
            efferents,
            cells,
            state.free_low,
            dense_blocks,
            crossings,
            deliveries,
            log,
            Limits(n_external, n_given, most, after, t_end, max_spikes),
            stop,
        )
        if status != BUFFER_FULL:
            break
        if max(log.counts[SPIKES], log.counts[UNDECIDED]) + most > log.times.size:
            log = grown(log)
        else:
            deliveries = roomier(deliveries)
    for m in range(n):
        block = dense_blocks.block_of[m]
        state.u[m], state.i[m], state.time[m] = cells[m, VOLTAGE], cells[m, CURRENT], cells[m, TIME]
        state.free_at[m], state.clock[m] = cells[m, FREE_AT], cells[m, TIME]
        if dense[block]:
            state.u[m], state.i[m] = (
                dense_blocks.u[dense_blocks.row[block] + m],
                dense_blocks.i[dense_blocks.row[block] + m],
            )
            state.clock[m] = dense_blocks.clock[block]
            if not dense_blocks.is_individual[m]:
                state.time[m] = dense_blocks.clock[block]
        if state.free_low[m] == -math.inf:
            state.free_low[m] = 0.0
    return status, where, when, log


@compiled
def solve_queue(neurons, efferents, n_external, given, states, after, t_end, max_spikes, stop):
    """Solve a layer by its event queue, sample by sample; the spikes given to one are in order of time, exactly.

    The States to begin with become those after the last events. Returns (status, sample, neuron, time), where and why
    the first run that did not reach t_end stopped; the layer's Spikes; (sample, neuron, time) columns of where float64
    could not decide.
    """
    n_samples = given.offsets.size - 1
    ended = (0, -1, -1, t_end)
    logs = []
    n_spikes = n_undecided = 0
    offsets = np.zeros(n_samples + 1, np.int64)
    for sample in range(n_samples):
        first, last = given.offsets[sample], given.offsets[sample + 1]
        if ended[0] == 0 and stop[0] == 0:
            state = States(
                states.time[sample],
                states.u[sample],
                states.i[sample],
                states.free_at[sample],
                states.free_low[sample],
                states.clock[sample],
            )
            status, where, when, log = run(
                neurons,
                efferents,
                n_external,
                given.times[first:last],
                given.low[first:last],
                given.neurons[first:last],
                state,
                after,
                t_end,
                max_spikes,
                stop,
            )
            logs.append(log)
            n_spikes += log.counts[SPIKES] - (last - first)
            n_undecided += log.counts[UNDECIDED]
            ended = (status, sample, where, when)
        offsets[sample + 1] = n_spikes
    found = Spikes(
        np.empty(n_spikes),
        np.empty(n_spikes, np.int64),
        offsets,
        np.empty(n_spikes, np.int64),
        np.empty(n_spikes, np.int64),
        np.empty(n_spikes),
    )
    peaks, senders, samples = (
        np.empty(n_undecided),
        np.empty(n_undecided, np.int64),
        np.empty(n_undecided, np.int64),
    )
    d = 0
    for sample in range(len(logs)):
        log = logs[sample]
        rank = given.offsets[sample + 1] - given.offsets[sample]
        for k in range(offsets[sample], offsets[sample + 1]):
            found.times[k], found.low[k] = log.times[rank], log.low[rank]
            found.neurons[k] = log.senders[rank] - n_external
            found.arrivals[k], found.trigger[k] = log.arrivals[rank], log.trigger[rank]
            rank += 1
        for k in range(log.counts[UNDECIDED]):
            peaks[d], senders[d], samples[d] = log.undecided_times[k], log.undecided_senders[k], sample
            d += 1
    return ended, found, samples, senders, peaks
