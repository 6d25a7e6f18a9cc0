"""Kernels: the neurons of a population that advance together in the event loop, a crowd (compiled).

A crowd has two rows of states. One is that of its clock, the time of its last arrival. The other is written with one
pair of exponentials for the time of the next arrival, whose weights may be added in the same pass, and becomes the
crowd's when that arrives. Only those that a bound on their peaks and the voltage then leave over are looked at one by
one. Neurons that spike leave for a while, as strays with a time of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.compiled import compiled, embedded
from eventsolve.kernels.cells import (
    FREE_AT,
    LEVEL,
    TAU_MEM,
    TAU_SYN,
    TIME,
    advance,
    next_crossing,
)
from eventsolve.kernels.crossing import advance_together
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.queues import set_crossing
from eventsolve.kernels.tables import NONE, Booleans, Integers, Reals


class Crowds(NamedTuple):
    """States of neurons that advance together, of all blocks.

    By neuron: ``u`` and ``i``, two rows each, ``level``, the threshold; ``is_stray``; ``peaks``, undecided ones of
    those with a crossing ahead; ``block_of``. Lists, block by block from its first neuron's place on: ``strays`` with
    ``n_strays`` and ``hopeful``, those with a crossing ahead that are none, with ``n_hopeful``.

    By block: ``row``, where in u and i its states begin, 0 or n; ``clock``; ``horizon``, up to when it is known who
    crosses; ``ready``, the bundle whose weights the other row has, or -1; ``ready_for``, the time of that row;
    ``received``, how many bundles went to the whole block. ``blocks`` are those that are crowds.
    """

    u: Reals
    i: Reals
    level: Reals
    is_stray: Booleans
    peaks: Reals
    block_of: Integers
    strays: Integers
    n_strays: Integers
    hopeful: Integers
    n_hopeful: Integers
    row: Integers
    clock: Reals
    horizon: Reals
    ready: Integers
    ready_for: Reals
    received: Integers
    blocks: Integers
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    lookout: Integers
    no_weights: Reals


@compiled
def new_crowds(efferents, cells, state):
    """Return the crowds of a layer's neurons in their States; those of another time are strays."""
    n, n_blocks = state.time.size, efferents.blocks.size - 1
    n_crowds = NONE
    for block in range(n_blocks):
        n_crowds += efferents.together[block]
    size = n if n_crowds > 0 else NONE
    flags = np.zeros(8 * ((size + 7) // 8), np.uint8)
    crowds = Crowds(
        np.zeros(2 * size),
        np.zeros(2 * size),
        np.zeros(size),
        np.zeros(size, np.bool_),
        np.zeros(size),
        np.zeros(n, np.int64),
        np.zeros(size, np.int64),
        np.zeros(n_blocks, np.int64),
        np.zeros(size, np.int64),
        np.zeros(n_blocks, np.int64),
        np.zeros(n_blocks, np.int64),
        np.zeros(n_blocks),
        np.zeros(n_blocks),
        np.zeros(n_blocks, np.int64),
        np.zeros(n_blocks),
        np.zeros(n_blocks, np.int64),
        np.zeros(n_crowds, np.int64),
        flags,
        flags.view(np.uint64),
        np.zeros(size, np.int64),
        np.zeros(size),
    )
    n_crowds = NONE
    for block in range(n_blocks):
        a, b = efferents.blocks[block], efferents.blocks[block + 1]
        for m in range(a, b):
            crowds.block_of[m] = block
        crowds.ready[block], crowds.ready_for[block] = -1, math.inf
        if not efferents.together[block]:
            continue
        crowds.blocks[n_crowds] = block
        n_crowds += 1
        clock = math.inf
        for m in range(a, b):
            clock = min(clock, state.clock[m])
        crowds.clock[block] = crowds.horizon[block] = clock
        for m in range(a, b):
            crowds.u[m], crowds.i[m], crowds.level[m] = state.u[m], state.i[m], cells[m, LEVEL]
            if state.time[m] != clock or state.free_at[m] > clock:
                crowds.strays[a + crowds.n_strays[block]] = m
                crowds.n_strays[block] += 1
                crowds.is_stray[m] = True
    return crowds


@embedded
def look_ahead(
    block,
    efferents,
    crowds,
    cells,
    crossings,
    t_delivery,
    bundle,
    beyond,
    doubt_times,
    doubt_senders,
    n_doubts,
):
    """Find who in a crowd crosses before the next delivery, up to ``beyond``, and write its other row if it gets that.

    Returns the number of doubts, to which undecided peaks are added.
    """
    a, n = efferents.blocks[block], efferents.blocks[block + 1] - efferents.blocks[block]
    known, clock = crowds.horizon[block], crowds.clock[block]
    carries = -1
    targeted = bundle >= 0 and efferents.block[bundle] == block
    if targeted:
        far = t_delivery
        if efferents.first[bundle + 1] - efferents.first[bundle] == n and not efferents.delta[bundle]:
            carries = bundle
    else:
        far = min(max(t_delivery, clock + 2.0 * (known - clock)), beyond)
    crowds.ready[block], crowds.ready_for[block] = carries, far
    crowds.horizon[block] = max(known, far)
    now = crowds.row[block]
    other = crowds.u.size // 2 - now
    ea, eb, k = propagator(far - clock, cells[a, TAU_MEM], cells[a, TAU_SYN])
    n_lookout = advance_together(
        crowds.u,
        crowds.i,
        crowds.level,
        now,
        other,
        a,
        n,
        efferents.weight if carries >= 0 else crowds.no_weights,
        efferents.first[carries] if carries >= 0 else NONE,
        ea,
        eb,
        k,
        crowds.flags,
        crowds.words,
        crowds.lookout,
    )
    for w in range(n_lookout):
        m = crowds.lookout[w]
        if crowds.is_stray[m] or crossings.places[m] >= 0:
            continue
        c = crowds.level[m]
        found, peak = next_crossing(
            clock, crowds.u[now + m], crowds.i[now + m], clock, c, cells[m, TAU_MEM], cells[m, TAU_SYN]
        )
        if targeted and found > far and crowds.u[other + m] >= c:
            found = far  # a delivery does not come before a spike that is there already, be it by rounding
        if found <= far:
            crowds.peaks[m] = peak
            crowds.hopeful[a + crowds.n_hopeful[block]] = m
            crowds.n_hopeful[block] += 1
            set_crossing(crossings, m, found)
        elif known < peak <= far:
            doubt_times[n_doubts], doubt_senders[n_doubts] = peak, m
            n_doubts += 1
    return n_doubts


@embedded
def leave_crowd(m, block, first, crowds):
    """Make a neuron a stray, with a time of its own."""
    crowds.strays[first + crowds.n_strays[block]] = m
    crowds.n_strays[block] += 1
    crowds.is_stray[m] = True


@embedded
def move_crowd(block, first, now, weights, lowest, crowds, cells, crossings):
    """Move a crowd on to its other row, which is that of an arrival now, with all strays; return whether one crosses.

    Then one reaches its threshold just then, by rounding, and the crowd has to wait until it has spiked.
    """
    row, clock = crowds.row[block], crowds.clock[block]
    other = crowds.u.size // 2 - row
    crossed = False
    for w in range(crowds.n_strays[block]):
        m = crowds.strays[first + w]
        t, free_at = cells[m, TIME], cells[m, FREE_AT]
        if free_at > now and t == clock:
            crowds.u[other + m] = crowds.u[row + m]  # held; its current has moved on with the crowd
            continue
        v, current = advance(
            t, crowds.u[row + m], crowds.i[row + m], free_at, now, cells[m, TAU_MEM], cells[m, TAU_SYN]
        )
        if free_at <= now and v >= crowds.level[m]:
            crowds.u[row + m], crowds.i[row + m], cells[m, TIME] = v, current, now
            set_crossing(crossings, m, now)
            crossed = True
        crowds.u[other + m] = v
        crowds.i[other + m] = current + weights[lowest + m - first] if crowds.ready[block] >= 0 else current
    if not crossed:
        crowds.row[block] = other
        crowds.clock[block] = crowds.horizon[block] = now
        kept = 0
        for w in range(crowds.n_strays[block]):
            m = crowds.strays[first + w]
            cells[m, TIME] = now
            if cells[m, FREE_AT] > now:
                crowds.strays[first + kept] = m
                kept += 1
            else:
                crowds.is_stray[m] = False
                set_crossing(crossings, m, math.inf)
        crowds.n_strays[block] = kept
    return crossed


@embedded
def forget_crossings(block, first, crowds, crossings):
    """Take those of a crowd's neurons at its clock out of the queue: something arrives."""
    for w in range(crowds.n_hopeful[block]):
        m = crowds.hopeful[first + w]
        if not crowds.is_stray[m]:
            set_crossing(crossings, m, math.inf)
    crowds.n_hopeful[block] = 0
