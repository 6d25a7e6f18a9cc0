"""Kernels: dense blocks: populations whose neurons advance together in the event loop (compiled).

A dense block has two rows of states. One is that of its clock, the time of its last arrival. The other is written
with one pair of exponentials for the time of the next arrival, whose weights may be added in the same pass, and
becomes the block's when that arrives. Only the candidates, which a bound on their peaks and the voltage then leave
over, are looked at one by one. Neurons that spike leave for a while: they advance individually, with a time of their
own.
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
from eventsolve.kernels.crossing import advance_dense_block
from eventsolve.kernels.membrane import propagator
from eventsolve.kernels.queues import set_crossing
from eventsolve.kernels.tables import Booleans, Integers, Reals


class DenseBlocks(NamedTuple):
    """States of neurons that advance together, of all blocks.

    By neuron: ``u`` and ``i``, two rows each, ``level``, the threshold; ``is_individual``; ``peaks``, undecided ones
    of those with a crossing ahead; ``block_of``. Lists, block by block from its first neuron's place on:
    ``individuals``, which advance individually, with ``n_individuals``; and ``crossing_candidates``, all others with
    a crossing ahead, with ``n_crossing_candidates``.

    By block: ``row``, where in u and i its states begin, 0 or n; ``clock``; ``horizon``, up to when it is known who
    crosses; ``ready``, the bundle whose weights the other row has, or -1; ``ready_for``, the time of that row;
    ``received``, how many bundles went to the whole block. ``blocks`` are those that are dense.
    """

    u: Reals
    i: Reals
    level: Reals
    is_individual: Booleans
    peaks: Reals
    block_of: Integers
    individuals: Integers
    n_individuals: Integers
    crossing_candidates: Integers
    n_crossing_candidates: Integers
    row: Integers
    clock: Reals
    horizon: Reals
    ready: Integers
    ready_for: Reals
    received: Integers
    blocks: Integers
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    candidates: Integers
    no_weights: Reals


@compiled
def new_dense_blocks(efferents, cells, state):
    """Return the dense blocks of a layer in their States; neurons of another time advance individually."""
    n, n_blocks = state.time.size, efferents.blocks.size - 1
    n_dense = 0
    for block in range(n_blocks):
        n_dense += efferents.dense[block]
    size = n if n_dense > 0 else 0
    flags = np.zeros(8 * ((size + 7) // 8), np.uint8)
    dense_blocks = DenseBlocks(
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
        np.zeros(n_dense, np.int64),
        flags,
        flags.view(np.uint64),
        np.zeros(size, np.int64),
        np.zeros(size),
    )
    n_dense = 0
    for block in range(n_blocks):
        a, b = efferents.blocks[block], efferents.blocks[block + 1]
        for m in range(a, b):
            dense_blocks.block_of[m] = block
        dense_blocks.ready[block], dense_blocks.ready_for[block] = -1, math.inf
        if not efferents.dense[block]:
            continue
        dense_blocks.blocks[n_dense] = block
        n_dense += 1
        clock = math.inf
        for m in range(a, b):
            clock = min(clock, state.clock[m])
        dense_blocks.clock[block] = dense_blocks.horizon[block] = clock
        for m in range(a, b):
            dense_blocks.u[m], dense_blocks.i[m], dense_blocks.level[m] = (
                state.u[m],
                state.i[m],
                cells[m, LEVEL],
            )
            if state.time[m] != clock or state.free_at[m] > clock:
                dense_blocks.individuals[a + dense_blocks.n_individuals[block]] = m
                dense_blocks.n_individuals[block] += 1
                dense_blocks.is_individual[m] = True
    return dense_blocks


@embedded
def look_ahead(
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
):
    """Find who in a dense block crosses before the next delivery, up to ``beyond``, and write its other row.

    Returns the number of undecided peaks, to which those found are added.
    """
    a, n = efferents.blocks[block], efferents.blocks[block + 1] - efferents.blocks[block]
    known, clock = dense_blocks.horizon[block], dense_blocks.clock[block]
    carries = -1
    targeted = bundle >= 0 and efferents.block[bundle] == block
    if targeted:
        far = t_delivery
        if efferents.first[bundle + 1] - efferents.first[bundle] == n and not efferents.delta[bundle]:
            carries = bundle
    else:
        far = min(max(t_delivery, clock + 2.0 * (known - clock)), beyond)
    dense_blocks.ready[block], dense_blocks.ready_for[block] = carries, far
    dense_blocks.horizon[block] = max(known, far)
    now = dense_blocks.row[block]
    other = dense_blocks.u.size // 2 - now
    n_candidates = advance_dense_block(
        (dense_blocks.u, dense_blocks.i, dense_blocks.level),
        now,
        other,
        a,
        n,
        efferents.weight if carries >= 0 else dense_blocks.no_weights,
        efferents.first[carries] if carries >= 0 else 0,
        propagator(far - clock, cells[a, TAU_MEM], cells[a, TAU_SYN]),
        (dense_blocks.flags, dense_blocks.words, dense_blocks.candidates),
    )
    for w in range(n_candidates):
        m = dense_blocks.candidates[w]
        if dense_blocks.is_individual[m] or crossings.places[m] >= 0:
            continue
        c = dense_blocks.level[m]
        found, peak = next_crossing(
            clock,
            dense_blocks.u[now + m],
            dense_blocks.i[now + m],
            clock,
            c,
            cells[m, TAU_MEM],
            cells[m, TAU_SYN],
        )
        if targeted and found > far and dense_blocks.u[other + m] >= c:
            found = far  # a delivery does not come before a spike that is there already, be it by rounding
        if found <= far:
            dense_blocks.peaks[m] = peak
            dense_blocks.crossing_candidates[a + dense_blocks.n_crossing_candidates[block]] = m
            dense_blocks.n_crossing_candidates[block] += 1
            set_crossing(crossings, m, found)
        elif known < peak <= far:
            undecided_times[n_undecided], undecided_senders[n_undecided] = peak, m
            n_undecided += 1
    return n_undecided


@embedded
def leave_dense_block(m, block, first, dense_blocks):
    """Let a neuron advance individually, with a time of its own."""
    dense_blocks.individuals[first + dense_blocks.n_individuals[block]] = m
    dense_blocks.n_individuals[block] += 1
    dense_blocks.is_individual[m] = True


@embedded
def move_dense_block(block, first, now, weights, lowest, dense_blocks, cells, crossings):
    """Move a dense block on to its other row, that of an arrival now, with its individuals; return whether one crosses.

    Then one reaches its threshold just then, by rounding, and the block has to wait until it has spiked.
    """
    row, clock = dense_blocks.row[block], dense_blocks.clock[block]
    other = dense_blocks.u.size // 2 - row
    crossed = False
    for w in range(dense_blocks.n_individuals[block]):
        m = dense_blocks.individuals[first + w]
        t, free_at = cells[m, TIME], cells[m, FREE_AT]
        if free_at > now and t == clock:
            dense_blocks.u[other + m] = dense_blocks.u[
                row + m
            ]  # held; its current has moved on with the block
            continue
        v, current = advance(
            t,
            dense_blocks.u[row + m],
            dense_blocks.i[row + m],
            free_at,
            now,
            cells[m, TAU_MEM],
            cells[m, TAU_SYN],
        )
        if free_at <= now and v >= dense_blocks.level[m]:
            dense_blocks.u[row + m], dense_blocks.i[row + m], cells[m, TIME] = v, current, now
            set_crossing(crossings, m, now)
            crossed = True
        dense_blocks.u[other + m] = v
        dense_blocks.i[other + m] = (
            current + weights[lowest + m - first] if dense_blocks.ready[block] >= 0 else current
        )
    if not crossed:
        dense_blocks.row[block] = other
        dense_blocks.clock[block] = dense_blocks.horizon[block] = now
        kept = 0
        for w in range(dense_blocks.n_individuals[block]):
            m = dense_blocks.individuals[first + w]
            cells[m, TIME] = now
            if cells[m, FREE_AT] > now:
                dense_blocks.individuals[first + kept] = m
                kept += 1
            else:
                dense_blocks.is_individual[m] = False
                set_crossing(crossings, m, math.inf)
        dense_blocks.n_individuals[block] = kept
    return crossed


@embedded
def forget_crossings(block, first, dense_blocks, crossings):
    """Take those of a dense block's neurons at its clock out of the queue: something arrives."""
    for w in range(dense_blocks.n_crossing_candidates[block]):
        m = dense_blocks.crossing_candidates[first + w]
        if not dense_blocks.is_individual[m]:
            set_crossing(crossings, m, math.inf)
    dense_blocks.n_crossing_candidates[block] = 0
