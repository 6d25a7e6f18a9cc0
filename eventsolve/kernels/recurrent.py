"""Kernels: the event queue over one layer, which may be cyclic and have delta synapses (compiled).

Two queues hold what comes next: deliveries, one for each spike that is still on its way, and threshold crossings, one
candidate for each neuron that will reach its threshold if nothing arrives. The earlier one happens; a crossing comes
before a delivery at the same time. Candidates are functions of a neuron's state alone
(:func:`eventsolve.kernels.crossing.crossing_time`), so one stays valid until something arrives at its neuron.

The neurons of a block (a population) that hear most of what their sources send, and share their time constants, are
kept at one time and advance together with one pair of exponentials; only those that a bound on their peaks and the
voltage at the next delivery leave over are looked at one by one. Neurons of other blocks advance alone, when something
arrives: cost goes by synapses touched, not by neurons.

Order of events, total: by time, which is exact for sums of given numbers (:mod:`eventsolve.kernels.times`); crossings,
by neuron, before deliveries at one float64 time; deliveries at one exact time by the spike that causes them (by when it
was sent, then given spikes in the order of their list, then the layer's own in order of occurrence), then by synapse.
"""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import borrowing, compiled
from eventsolve.kernels.crossing import advance_together, crossing_time, turn_time
from eventsolve.kernels.elementary import decay
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.queues import grown_integers, grown_reals, push, replace_first, set_crossings
from eventsolve.kernels.tables import BUDGET, NONE, ROOM, TWICE, Spikes, States
from eventsolve.kernels.times import is_after, later


@borrowing
def arrives_after(time, low, delay, limit):
    """Return whether a spike arrives after a float64 time."""
    arrival, rest = later(time, low, delay)
    return is_after(arrival, rest, limit, 0.0)


@borrowing
def next_bundle(offsets, delays, source, bundle, time, low, t_end):
    """Return the bundle if it is one of the source's and arrives up to t_end, else -1."""
    if bundle < offsets[source + 1] and not arrives_after(time, low, delays[bundle], t_end):
        return bundle
    return -1


@borrowing
def advance(t, u, i, free_at, to, tau_mem, tau_syn):
    """Return (u, i) of one neuron at a later time."""
    if free_at > t:
        if free_at > to:
            return u, i * decay((to - t) / tau_syn)
        i *= decay((free_at - t) / tau_syn)
        t = free_at
    ea, eb, k = propagator(to - t, tau_mem, tau_syn)
    return u * ea + i * k, i * eb


@borrowing
def next_question(t, u, i, free_at, c, tau_mem, tau_syn, released):
    """Return (time, asked, peak): when the neuron crosses if nothing arrives, and an undecided peak; inf where none.

    While V is held the time is that of its release, at which to ask again, with ``released``: most of what arrives
    until then would change the answer. ``asked`` says that the answer is final.
    """
    begin, current = t, i
    if free_at > t:
        if not released:
            return free_at, False, math.inf
        begin = free_at
        current = i * decay((free_at - t) / tau_syn)
    s, grazing = crossing_time(u, current, c, tau_mem, tau_syn)
    return begin + s, True, begin + turn_time(u, current, c, tau_mem, tau_syn) if grazing else math.inf


@compiled
def go_on(
    t,
    u,
    i,
    u_0,
    u_1,
    i_0,
    i_1,
    free_at,
    free_low,
    tau_mem,
    tau_syn,
    t_ref,
    subtracts,
    c,
    u_reset,
    drop,
    first,
    targets,
    weights,
    delays,
    bundle_block,
    bundle_delta,
    source_bundles,
    blocks,
    together,
    n_given,
    row,
    block_of,
    received,
    all_received,
    doubt,
    asked,
    last_spike,
    lifted,
    clock,
    horizon,
    ready,
    ready_for,
    strays,
    n_strays,
    is_stray,
    hopeful,
    n_hopeful,
    flags,
    words,
    lookout,
    no_weights,
    crossing_times,
    crossing_heap,
    crossing_place,
    wanted,
    changed,
    flight_times,
    flight_low,
    flight_ranks,
    flight_bundles,
    times,
    low,
    senders,
    arrivals,
    trigger,
    doubt_times,
    doubt_senders,
    progress,
    n_external,
    after,
    t_end,
    max_spikes,
    cyclic,
    stop,
):
    """Work through the queues until t_end, or until there is a reason to stop: see :func:`run`, which prepares it.

    It is a kernel of its own because arrays that are arguments are not reference counted.
    """
    n = t.size
    n_blocks = blocks.size - 1
    n_bundles = delays.size
    n_out, n_doubts, n_flight, n_crossings, n_emitted, n_changed = progress
    status, where, when = 0, -1, t_end
    while status == 0 and stop[0] == 0:
        n_crossings = set_crossings(
            crossing_times, crossing_heap, crossing_place, n_crossings, wanted, changed, n_changed
        )
        n_changed = 0
        if max(n_out + n, n_doubts + 2 * n, n_flight + n) + 1 >= times.size:
            status = ROOM
            break
        # spikes set out
        t_delivery = flight_times[0] if n_flight > 0 else math.inf
        if n_emitted < n_given and times[n_emitted] <= t_delivery:
            rank = n_emitted
            sent, sent_low, source = times[rank], low[rank], senders[rank]
            bundle = source_bundles[source]
            while bundle < source_bundles[source + 1] and not arrives_after(
                sent, sent_low, delays[bundle], after
            ):
                bundle += 1
            bundle = next_bundle(source_bundles, delays, source, bundle, sent, sent_low, t_end)
            if bundle >= 0:
                arrival, arrival_low = later(sent, sent_low, delays[bundle])
                push(
                    flight_times,
                    flight_low,
                    flight_ranks,
                    flight_bundles,
                    n_flight,
                    arrival,
                    arrival_low,
                    rank,
                    bundle,
                    times,
                    low,
                )
                n_flight += 1
            n_emitted += 1
            continue

        # who crosses before the next delivery
        bundle = flight_bundles[0] if n_flight > 0 else -1
        for block in range(n_blocks):
            if not together[block]:
                continue
            a, b = blocks[block], blocks[block + 1]
            known = horizon[block]
            targeted = bundle >= 0 and bundle_block[bundle] == block
            carries = -1
            if targeted:
                if t_delivery <= clock[block] or (
                    ready_for[block] == t_delivery and ready[block] in (-1, bundle)
                ):
                    continue
                far = t_delivery
                if first[bundle + 1] - first[bundle] == b - a and not bundle_delta[bundle]:
                    carries = bundle
            else:
                if known >= min(t_delivery, t_end):
                    continue
                far = min(max(t_delivery, clock[block] + 2.0 * (known - clock[block])), t_end)
            ready[block], ready_for[block] = carries, far
            horizon[block] = max(known, far)
            lowest = first[carries] if carries >= 0 else 0
            now, other = row[block], n - row[block]
            ea, eb, k = propagator(far - clock[block], tau_mem[a], tau_syn[a])
            if carries >= 0 and now == 0:
                n_lookout = advance_together(
                    u_0, i_0, c, u_1, i_1, a, b - a, weights, lowest, ea, eb, k, flags, words, lookout
                )
            elif carries >= 0:
                n_lookout = advance_together(
                    u_1, i_1, c, u_0, i_0, a, b - a, weights, lowest, ea, eb, k, flags, words, lookout
                )
            elif now == 0:
                n_lookout = advance_together(
                    u_0, i_0, c, u_1, i_1, a, b - a, no_weights, NONE, ea, eb, k, flags, words, lookout
                )
            else:
                n_lookout = advance_together(
                    u_1, i_1, c, u_0, i_0, a, b - a, no_weights, NONE, ea, eb, k, flags, words, lookout
                )
            for w in range(n_lookout):
                m = lookout[w]
                if is_stray[m]:
                    continue
                found = crossing_times[m]
                if crossing_place[m] < 0:
                    s, grazing = crossing_time(u[now + m], i[now + m], c[m], tau_mem[m], tau_syn[m])
                    found = clock[block] + s
                    if grazing:
                        peak = clock[block] + turn_time(u[now + m], i[now + m], c[m], tau_mem[m], tau_syn[m])
                        if known < peak <= far:
                            doubt_times[n_doubts], doubt_senders[n_doubts] = peak, m
                            n_doubts += 1
                if targeted and found > far and u[other + m] >= c[m]:
                    found = far  # a delivery does not come before a spike that is there already, be it by rounding
                if found <= t_end:
                    if crossing_place[m] < 0:
                        hopeful[a + n_hopeful[block]] = m
                        n_hopeful[block] += 1
                    wanted[m] = found
                    changed[n_changed] = m
                    n_changed += 1

        n_crossings = set_crossings(
            crossing_times, crossing_heap, crossing_place, n_crossings, wanted, changed, n_changed
        )
        n_changed = 0
        t_crossing = crossing_times[crossing_heap[0]] if n_crossings > 0 else math.inf
        if min(t_crossing, t_delivery) > t_end:
            break
        n_fired = 0
        if t_crossing <= t_delivery:
            now, now_low = t_crossing, 0.0
            m = crossing_heap[0]
            block = block_of[m]
            r = row[block]
            if not asked[m]:
                found, asked[m], doubt[m] = next_question(
                    t[m], u[r + m], i[r + m], free_at[m], c[m], tau_mem[m], tau_syn[m], True
                )
                wanted[m] = found if found <= t_end else math.inf
                changed[n_changed] = m
                n_changed += 1
                continue
            if together[block] and not is_stray[m]:
                i[r + m] *= decay((now - clock[block]) / tau_syn[m])
                strays[blocks[block] + n_strays[block]] = m
                n_strays[block] += 1
                is_stray[m] = True
            else:
                _, i[r + m] = advance(t[m], u[r + m], i[r + m], free_at[m], now, tau_mem[m], tau_syn[m])
            t[m] = now
            lifted[0] = m
            n_fired = 1
            trigger[n_out] = -1
        else:
            now, now_low = t_delivery, flight_low[0]
            rank = flight_ranks[0]
            block = bundle_block[bundle]
            a, b = blocks[block], blocks[block + 1]
            lowest, highest = first[bundle], first[bundle + 1]
            whole = highest - lowest == b - a
            r = row[block]
            crossed = False
            if together[block]:
                if now > clock[block]:
                    other = n - r
                    for w in range(n_strays[block]):
                        m = strays[a + w]
                        if free_at[m] > now and t[m] == clock[block]:
                            u[other + m] = u[r + m]  # held; its current has moved on with the block
                            continue
                        v, current = advance(
                            t[m], u[r + m], i[r + m], free_at[m], now, tau_mem[m], tau_syn[m]
                        )
                        if free_at[m] <= now and v >= c[m]:
                            wanted[m] = now
                            changed[n_changed] = m
                            n_changed += 1
                            crossed = True
                        u[other + m] = v
                        i[other + m] = current + weights[lowest + m - a] if ready[block] >= 0 else current
                    if crossed:
                        continue
                    row[block] = other
                    r = other
                    clock[block] = now
                    kept = 0
                    for w in range(n_strays[block]):
                        m = strays[a + w]
                        t[m] = now
                        if free_at[m] > now:
                            strays[a + kept] = m
                            kept += 1
                        else:
                            is_stray[m] = False
                            asked[m] = True
                            wanted[m] = math.inf
                            changed[n_changed] = m
                            n_changed += 1
                    n_strays[block] = kept
                else:
                    ready[block] = -1
                for w in range(n_hopeful[block]):
                    if not is_stray[hopeful[a + w]]:
                        wanted[hopeful[a + w]] = math.inf
                        changed[n_changed] = hopeful[a + w]
                        n_changed += 1
                n_hopeful[block] = 0
                horizon[block] = now
            else:
                for s in range(lowest, highest):
                    m = targets[s]
                    u[m], i[m] = advance(t[m], u[m], i[m], free_at[m], now, tau_mem[m], tau_syn[m])
                    t[m] = now
                    if free_at[m] <= now and u[m] >= c[m]:
                        wanted[m] = now
                        changed[n_changed] = m
                        n_changed += 1
                        crossed = True
                if crossed:
                    continue
            if bundle_delta[bundle]:
                for s in range(lowest, highest):
                    m = targets[s]
                    received[m] += 1
                    if not is_after(free_at[m], free_low[m], now, now_low):
                        u[r + m] += weights[s]
                        if u[r + m] >= c[m]:
                            lifted[n_fired] = m
                            trigger[n_out + n_fired] = rank * n_bundles + bundle
                            n_fired += 1
            elif whole:
                all_received[block] += 1
                if not together[block] or ready[block] < 0:
                    for m in range(b - a):
                        i[r + a + m] += weights[lowest + m]
            else:
                for s in range(lowest, highest):
                    i[r + targets[s]] += weights[s]
                    received[targets[s]] += 1
            ready[block], ready_for[block] = -1, math.inf
            for w in range(n_strays[block] if together[block] else highest - lowest):
                m = strays[a + w] if together[block] else targets[lowest + w]
                if free_at[m] > now and not asked[m] and wanted[m] == free_at[m]:
                    continue  # held as before, and to be asked when it is released
                if doubt[m] <= now:
                    doubt_times[n_doubts], doubt_senders[n_doubts] = doubt[m], m
                    n_doubts += 1
                found, asked[m], doubt[m] = next_question(
                    t[m], u[r + m], i[r + m], free_at[m], c[m], tau_mem[m], tau_syn[m], False
                )
                wanted[m] = found if found <= t_end else math.inf
                changed[n_changed] = m
                n_changed += 1
            # the spike goes on to its next bundle
            sent, sent_low = times[rank], low[rank]
            following = next_bundle(source_bundles, delays, senders[rank], bundle + 1, sent, sent_low, t_end)
            if following >= 0:
                arrival, arrival_low = later(sent, sent_low, delays[following])
            else:
                n_flight -= 1
                arrival, arrival_low = flight_times[n_flight], flight_low[n_flight]
                rank, following = flight_ranks[n_flight], flight_bundles[n_flight]
            replace_first(
                flight_times,
                flight_low,
                flight_ranks,
                flight_bundles,
                n_flight,
                arrival,
                arrival_low,
                rank,
                following,
                times,
                low,
            )

        for w in range(n_fired):
            m = lifted[w]
            block = block_of[m]
            r = row[block]
            if last_spike[m] == now:
                status, where, when = TWICE, m, now
                break
            last_spike[m] = now
            if trigger[n_out] < 0 and doubt[m] < math.inf:
                doubt_times[n_doubts], doubt_senders[n_doubts] = doubt[m], m
                n_doubts += 1
            doubt[m] = math.inf
            if trigger[n_out] >= 0 and subtracts[m] > 0.0:
                u[r + m] -= drop[m]
                if u[r + m] >= c[m]:
                    status, where, when = TWICE, m, now
                    break
            else:
                u[r + m] = u_reset[m]
            times[n_out], low[n_out], senders[n_out] = now, now_low, n_external + m
            arrivals[n_out] = received[m] + all_received[block]
            n_out += 1
            free_at[m], free_low[m] = later(now, now_low, t_ref[m])
            if t_ref[m] == 0.0:  # nor by an arrival that rounding has put behind a crossing
                free_low[m] = -math.inf
            if together[block] and free_at[m] > now and not is_stray[m]:
                t[m] = now
                strays[blocks[block] + n_strays[block]] = m
                n_strays[block] += 1
                is_stray[m] = True
            if not together[block] or is_stray[m]:
                found, asked[m], doubt[m] = next_question(
                    t[m], u[r + m], i[r + m], free_at[m], c[m], tau_mem[m], tau_syn[m], False
                )
                wanted[m] = found if found <= t_end else math.inf
                changed[n_changed] = m
                n_changed += 1
            if cyclic:
                bundle = next_bundle(
                    source_bundles,
                    delays,
                    n_external + m,
                    source_bundles[n_external + m],
                    now,
                    now_low,
                    t_end,
                )
                if bundle >= 0:
                    arrival, arrival_low = later(now, now_low, delays[bundle])
                    push(
                        flight_times,
                        flight_low,
                        flight_ranks,
                        flight_bundles,
                        n_flight,
                        arrival,
                        arrival_low,
                        n_out - 1,
                        bundle,
                        times,
                        low,
                    )
                    n_flight += 1
            if n_out - n_given > max_spikes:
                status, where, when = BUDGET, m, now
                break
    progress[:] = n_out, n_doubts, n_flight, n_crossings, n_emitted, n_changed
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
    times, low, senders, arrivals, trigger
        The spikes in order of occurrence; ``trigger`` is rank * n_bundles + bundle of a delivery, or -1. Given spikes
        come first in the ranks, then the layer's own.
    doubt_times, doubt_senders
        Peaks that float64 cannot decide.
    """
    t, free_at, free_low = state.time, state.free_at, state.free_low
    tau_mem, tau_syn = neurons.tau_mem, neurons.tau_syn
    t_ref, subtracts = neurons.t_ref, neurons.subtracts
    c = neurons.v_threshold - neurons.v_leak
    u_reset = neurons.v_reset - neurons.v_leak
    drop = neurons.v_threshold - neurons.v_reset
    first, targets, weights = efferents.first, efferents.target, efferents.weight
    delays, bundle_block, bundle_delta = efferents.delay, efferents.block, efferents.delta
    source_bundles, blocks, together = efferents.offsets, efferents.blocks, efferents.together
    n = t.size
    n_blocks = blocks.size - 1
    n_given = given_times.size
    cyclic = source_bundles.size - 1 > n_external
    room = n_given + 4 * n + 64
    # given spikes, then the layer's own
    times, low = np.empty(room), np.empty(room)
    senders = np.empty(room, np.int64)
    times[:n_given], low[:n_given], senders[:n_given] = given_times, given_low, given_sources
    arrivals = np.empty(room, np.int64)
    trigger = np.empty(room, np.int64)
    doubt_times = np.empty(room)
    doubt_senders = np.empty(room, np.int64)

    flight_times, flight_low = np.empty(room), np.empty(room)
    flight_ranks, flight_bundles = np.empty(room, np.int64), np.empty(room, np.int64)
    crossing_times = np.full(n, np.inf)
    crossing_heap, crossing_place = np.empty(n, np.int64), np.full(n, -1)
    wanted = np.full(n, np.inf)  # times to cross that are not yet in the heap, of the neurons in changed
    changed = np.empty(4 * n + 1, np.int64)
    n_changed = 0

    # Two rows of states: a block that advances together is read from one row and written to the other.
    u, i = np.empty(2 * n), np.empty(2 * n)
    u_0, u_1, i_0, i_1 = u[:n], u[n:], i[:n], i[n:]
    u_0[:], i_0[:] = state.u, state.i
    row = np.zeros(n_blocks, np.int64)  # where in u and i the first one begins: 0 or n
    block_of = np.empty(n, np.int64)
    received = np.zeros(n, np.int64)
    all_received = np.zeros(n_blocks, np.int64)  # bundles that went to the whole block
    doubt = np.full(n, np.inf)  # of lone neurons: a peak ahead that float64 cannot place
    asked = np.ones(n, np.bool_)  # whether the neuron's candidate is a crossing, not a release
    last_spike = np.full(n, -np.inf)
    lifted = np.empty(n, np.int64)
    # of a block that advances together
    clock = np.zeros(n_blocks)  # the time of its row
    horizon = np.zeros(n_blocks)  # up to when it is known who crosses
    ready = np.full(n_blocks, -1)  # the bundle with whose weights the other row is written, for its arrival
    ready_for = np.full(n_blocks, np.inf)
    strays = np.empty(n, np.int64)  # those whose state is of another time, or held
    n_strays = np.zeros(n_blocks, np.int64)
    is_stray = np.zeros(n, np.bool_)
    hopeful = np.empty(n, np.int64)  # those with a candidate
    n_hopeful = np.zeros(n_blocks, np.int64)
    flags = np.zeros(8 * ((n + 7) // 8), np.uint8)
    words = flags.view(np.uint64)
    lookout = np.empty(n, np.int64)
    no_weights = np.zeros(n)
    for block in range(n_blocks):
        a, b = blocks[block], blocks[block + 1]
        block_of[a:b] = block
        if together[block]:
            clock[block] = state.clock[a:b].min()
            horizon[block] = clock[block]
        for m in range(a, b):
            if together[block]:
                if t[m] == clock[block] and free_at[m] <= t[m]:
                    continue
                strays[a + n_strays[block]] = m
                n_strays[block] += 1
                is_stray[m] = True
            found, asked[m], doubt[m] = next_question(
                t[m], u[m], i[m], free_at[m], c[m], tau_mem[m], tau_syn[m], False
            )
            wanted[m] = found if found <= t_end else math.inf
            changed[n_changed] = m
            n_changed += 1

    progress = np.array([n_given, 0, 0, 0, 0, n_changed])
    while True:
        status, where, when = go_on(
            t,
            u,
            i,
            u_0,
            u_1,
            i_0,
            i_1,
            free_at,
            free_low,
            tau_mem,
            tau_syn,
            t_ref,
            subtracts,
            c,
            u_reset,
            drop,
            first,
            targets,
            weights,
            delays,
            bundle_block,
            bundle_delta,
            source_bundles,
            blocks,
            together,
            n_given,
            row,
            block_of,
            received,
            all_received,
            doubt,
            asked,
            last_spike,
            lifted,
            clock,
            horizon,
            ready,
            ready_for,
            strays,
            n_strays,
            is_stray,
            hopeful,
            n_hopeful,
            flags,
            words,
            lookout,
            no_weights,
            crossing_times,
            crossing_heap,
            crossing_place,
            wanted,
            changed,
            flight_times,
            flight_low,
            flight_ranks,
            flight_bundles,
            times,
            low,
            senders,
            arrivals,
            trigger,
            doubt_times,
            doubt_senders,
            progress,
            n_external,
            after,
            t_end,
            max_spikes,
            cyclic,
            stop,
        )
        if status != ROOM:
            break
        times, low, senders = grown_reals(times), grown_reals(low), grown_integers(senders)
        arrivals, trigger = grown_integers(arrivals), grown_integers(trigger)
        doubt_times, doubt_senders = grown_reals(doubt_times), grown_integers(doubt_senders)
        flight_times, flight_low = grown_reals(flight_times), grown_reals(flight_low)
        flight_ranks, flight_bundles = grown_integers(flight_ranks), grown_integers(flight_bundles)
    n_out, n_doubts = progress[:2]
    for m in range(n):
        if doubt[m] <= t_end:
            doubt_times[n_doubts], doubt_senders[n_doubts] = doubt[m], m
            n_doubts += 1
        state.u[m], state.i[m] = u[row[block_of[m]] + m], i[row[block_of[m]] + m]
        if together[block_of[m]] and not is_stray[m]:
            t[m] = clock[block_of[m]]
        state.clock[m] = clock[block_of[m]] if together[block_of[m]] else t[m]
        if free_low[m] == -math.inf:
            free_low[m] = 0.0
    return (
        status,
        where,
        when,
        times[n_given:n_out],
        low[n_given:n_out],
        senders[n_given:n_out] - n_external,
        arrivals[n_given:n_out],
        trigger[n_given:n_out],
        doubt_times[:n_doubts],
        doubt_senders[:n_doubts],
    )


@compiled
def solve_queue(neurons, efferents, n_external, given, start, after, t_end, max_spikes, stop):
    """Solve a layer by its event queue, sample by sample; the spikes given to one are in order of time, exactly.

    Returns (status, sample, neuron, time), where and why the first run that did not reach t_end stopped; the layer's
    Spikes; its States after their last events; (sample, neuron, time) columns of where float64 could not decide.
    """
    n_samples = given.offsets.size - 1
    end = States(
        start.time.copy(),
        start.u.copy(),
        start.i.copy(),
        start.free_at.copy(),
        start.free_low.copy(),
        start.clock.copy(),
    )
    counts = np.zeros(n_samples + 1, np.int64)
    doubt_counts = np.zeros(n_samples, np.int64)
    ended = (0, -1, -1, t_end)
    parts = []
    for sample in range(n_samples):
        first, last = given.offsets[sample], given.offsets[sample + 1]
        state = States(
            end.time[sample],
            end.u[sample],
            end.i[sample],
            end.free_at[sample],
            end.free_low[sample],
            end.clock[sample],
        )
        status, where, when, times, low, senders, arrivals, trigger, doubt_times, doubt_senders = run(
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
        parts.append((times, low, senders, arrivals, trigger, doubt_times, doubt_senders))
        counts[sample + 1] = times.size
        doubt_counts[sample] = doubt_times.size
        if status != 0:
            ended = (status, sample, where, when)
        if status != 0 or stop[0] != 0:
            break
    offsets = np.cumsum(counts)
    total = offsets[-1]
    n_doubts = doubt_counts.sum()
    found = Spikes(
        np.empty(total),
        np.empty(total, np.int64),
        offsets,
        np.empty(total, np.int64),
        np.empty(total, np.int64),
        np.empty(total),
    )
    all_doubts = np.empty(n_doubts)
    all_doubters = np.empty(n_doubts, np.int64)
    d = 0
    for sample in range(len(parts)):
        times, low, senders, arrivals, trigger, doubt_times, doubt_senders = parts[sample]
        piece = slice(offsets[sample], offsets[sample + 1])
        found.times[piece] = times
        found.low[piece] = low
        found.neurons[piece] = senders
        found.arrivals[piece] = arrivals
        found.trigger[piece] = trigger
        all_doubts[d : d + doubt_times.size] = doubt_times
        all_doubters[d : d + doubt_times.size] = doubt_senders
        d += doubt_times.size
    doubt_samples = np.repeat(np.arange(n_samples), doubt_counts)
    return ended, found, end, doubt_samples, all_doubters, all_doubts
