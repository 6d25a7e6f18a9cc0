"""Running programs: every integer that Lava computes, with counters of overflows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventsolve.chunks import map_chunks
from eventsolve.frozen import Frozen
from eventsolve.interrupts import call
from eventsolve.typing import Integers, Reals
from validation.loihi2.kernels.forward import forward
from validation.loihi2.kernels.tables import Layers, Matrices, Neurons, Rules, Sent
from validation.loihi2.program import DECAY, LARGEST_STATE, LSB, Dense, Program, integers

SAMPLES = 8
"""Samples of a chunk, which a thread takes at once."""
EXACT = 2**52
"""Products and sums below this are exact in float64."""
CHIP = Rules(truncated=True, limited=True, consecutive=False, between=False)
"""What Loihi 2 does."""


class Tables(NamedTuple):
    """A network as the kernel takes it."""

    neurons: Neurons
    layers: Layers
    matrices: Matrices


class Fired(NamedTuple):
    """What the kernel returns.

    Attributes
    ----------
    bounds : ndarray of int64, (n_samples + 1,)
        Where the spikes of each sample begin and end.
    rows, neurons : ndarray of int64, (n_spikes,)
    u, v : ndarray of float64, (n_samples, n_rows, n_kept)
        Of the requested neurons.
    wraps, clips, beyond : int
    """

    bounds: Integers
    rows: Integers
    neurons: Integers
    u: Reals
    v: Reals
    wraps: int
    clips: int
    beyond: int

    @property
    def samples(self) -> Integers:
        """The sample of every spike, (n_spikes,)."""
        return np.repeat(np.arange(self.bounds.size - 1), np.diff(self.bounds))


@dataclass(frozen=True, eq=False, repr=False)
class Run(Frozen):
    """What a program did; row k is Lava's step k + 1.

    Attributes
    ----------
    u, v : tuple of ndarray of int64, (n_samples, n_rows, n)
        By layer; v after its reset.
    s : tuple of ndarray of uint8, (n_samples, n_rows, n)
        1 where a neuron spiked.
    wraps, clips : int
        How many currents wrapped at 24 bits, and how many voltages were clipped there.
    beyond : int
        How many currents were out by more than one wrap: Lava leaves them there; what the chip does is not known.
    """

    u: tuple[Integers, ...]
    v: tuple[Integers, ...]
    s: tuple[NDArray[np.uint8], ...]
    wraps: int
    clips: int
    beyond: int


def run(program: Program, inputs: object, *, threads: int | None = None) -> Run:
    """Run a program, each sample from its initial states and with no spikes in flight.

    Parameters
    ----------
    program : Program
    inputs : array_like of int, (n_samples, n_rows, n_inputs) or (n_rows, n_inputs)
        What the input sends in each step. Anything but 0 counts as one spike, unless the first matrix has message bits.
    threads : int, optional
        As in :func:`eventsolve.solve`.

    Raises
    ------
    ValueError
        If the inputs do not fit, or a sum may be too large to be exact.
    """
    given = np.asarray(inputs)
    if given.ndim not in (2, 3) or given.shape[-1] != program.n_inputs or given.shape[-2] == 0:
        raise ValueError(
            f"inputs must have shape (n_samples, n_rows, {program.n_inputs}), or without n_samples; got {given.shape}"
        )
    held = integers("inputs", given, given.shape, -(2**31), 2**31 - 1)
    samples, rows, places = (
        np.ascontiguousarray(index) for index in np.nonzero(held if held.ndim == 3 else held[None])
    )
    graded = program.layers[0].ff.num_message_bits > 0
    n_samples, n_rows = (1, *held.shape)[-3:-1]
    payloads = held[held != 0].astype(np.float64) if graded else np.ones(rows.size)
    largest = float(np.abs(payloads).max(initial=1.0))
    refuse_inexact(program, n_rows, largest)
    bounds = np.searchsorted(samples, np.arange(n_samples + 1))
    fired = run_samples(
        tables_of(program),
        CHIP,
        Sent(bounds, rows, places, payloads, np.zeros(rows.size)),
        n_rows,
        threads=threads,
    )
    u, v, s = [], [], []
    flags = np.zeros((n_samples, n_rows, sum(program.sizes)), np.uint8)
    flags[fired.samples, fired.rows, fired.neurons] = 1
    first = 0
    for size in program.sizes:
        own = slice(first, first + size)
        u.append(fired.u[:, :, own].astype(np.int64))
        v.append(fired.v[:, :, own].astype(np.int64))
        s.append(flags[:, :, own])
        first += size
    return Run(tuple(u), tuple(v), tuple(s), fired.wraps, fired.clips, fired.beyond)


def refuse_inexact(program: Program, n_rows: int, largest: float = 1.0) -> None:
    """Raise a ValueError if a sum may be so large that float64 would round it.

    A current within 24 bits stays there if the arrivals of a step are within 2**24; else it may grow step by step.
    """
    for k, layer in enumerate(program.layers):
        times = largest if k == 0 else 1.0
        arriving = sum(
            np.abs(m.effective).sum(axis=1) * (times if m is layer.ff else 1.0) for m in layer.matrices
        )
        most = LSB * float(np.max(arriving))  # whatever its delay, each synapse brings one spike in a step
        start = float(np.abs([layer.u0, layer.v0]).max())
        if DECAY * (start + LARGEST_STATE + (most if most <= 2 * LARGEST_STATE else n_rows * most)) > EXACT:
            raise ValueError(
                f"weights of layer {k} and payloads up to {largest:g} may add up to {most:.3g} in a step, "
                f"and over {n_rows} steps to more than float64 computes exactly"
            )


def tables_of(program: Program) -> Tables:
    """Return a program as the kernel takes it."""
    layers = program.layers
    joined = np.concatenate
    neurons = Neurons(
        keep_u=joined([(DECAY - 1 - layer.du) / DECAY for layer in layers]),
        keep_v=joined([(DECAY - layer.dv) / DECAY for layer in layers]),
        bias=joined([layer.bias.astype(np.float64) for layer in layers]),
        threshold=joined([layer.vth.astype(np.float64) * LSB for layer in layers]),
        u0=joined([layer.u0.astype(np.float64) for layer in layers]),
        v0=joined([layer.v0.astype(np.float64) for layer in layers]),
        tau_mem=np.empty(0),
        tau_syn=np.empty(0),
        response=np.empty(0),
    )
    intervals = np.array([layer.reset_interval for layer in layers])
    offsets = np.array([layer.reset_offset for layer in layers])
    sizes = np.array(program.sizes)
    return Tables(
        neurons,
        Layers(np.cumsum(sizes) - sizes, sizes, intervals, offsets % np.maximum(intervals, 1)),
        matrices_of(
            [
                [Matrix(m.held if not m.linear else m.effective, m.delays, m) for m in layer.matrices]
                for layer in layers
            ]
        ),
    )


class Matrix(NamedTuple):
    """Weights, (n_post, n_pre), in weight units; delays in steps; the matrix that says how sums are shifted, if any.

    If delays are no whole steps, ``rests`` are their fractions, (n_post, n_pre), at most 1.
    """

    weights: Any
    delays: Integers
    shifted: Dense | None = None
    rests: Reals | None = None


def matrices_of(layers: Sequence[Sequence[Matrix]]) -> Matrices:
    """Return the matrices by source; a layer gives the matrix from the layer before, and its recurrent one."""
    sizes = [matrices[0].weights.shape[0] for matrices in layers]
    firsts = np.cumsum([0, *sizes])
    leaving: list[list[tuple[Matrix, int]]] = [[] for _ in range(len(layers) + 1)]
    for k, matrices in enumerate(layers):
        for m, source in zip(matrices, (k, k + 1), strict=False):
            leaving[source].append((m, int(firsts[k])))
    every = [entry for source in leaving for entry in source]
    weights = [np.ascontiguousarray(m.weights.T, dtype=np.float64).ravel() for m, _ in every]
    lengths = np.array([w.size for w in weights])
    delayed = [bool(m.delays.any() or m.rests is not None) for m, _ in every]
    rests = [np.zeros(m.weights.shape) if m.rests is None else m.rests for m, _ in every]
    between = any(m.rests is not None for m, _ in every)
    summed = np.array([m.shifted is not None and not m.shifted.linear for m, _ in every])
    return Matrices(
        bounds=np.cumsum([0, *(len(source) for source in leaving)]),
        first=np.cumsum(lengths) - lengths,
        size=np.array([m.weights.shape[0] for m, _ in every]),
        post=np.array([post for _, post in every]),
        delayed=np.array(delayed),
        summed=summed,
        shift=np.array([2.0**m.shifted.weight_exp if m.shifted is not None else 1.0 for m, _ in every]),
        weights=np.concatenate(weights),
        delays=np.concatenate([np.ascontiguousarray(m.delays.T).ravel() for m, _ in every])
        if any(delayed)
        else np.empty(0, np.int64),
        rests=np.concatenate([np.ascontiguousarray(rest.T).ravel() for rest in rests])
        if between
        else np.empty(0),
        longest=max(int(m.delays.max()) for m, _ in every),
    )


def run_samples(
    tables: Tables, rules: Rules, inputs: Sent, n_rows: int, *, kept_from: int = 0, threads: int | None = None
) -> Fired:
    """Run samples, on several threads unless each sample goes on where the last one ended.

    Parameters
    ----------
    tables : Tables
    rules : Rules
    inputs : Sent
    n_rows : int
    kept_from : int
        First neuron of those whose states are returned for every row.
    threads : int, optional
        As in :func:`eventsolve.solve`.
    """
    n_samples, n = inputs.bounds.size - 1, tables.neurons.bias.size
    states = np.empty((n_samples, 2, n_rows, n - kept_from))
    size = max(1, n_samples) if rules.consecutive else SAMPLES

    def work(chunk: int) -> tuple[Integers, Integers, Integers, Integers]:
        low, high = chunk * size, min((chunk + 1) * size, n_samples)
        begin, end = inputs.bounds[low], inputs.bounds[high]
        own = Sent(inputs.bounds[low : high + 1] - begin, *(x[begin:end] for x in inputs[1:]))
        bounds, rows, fired, counters = call(
            forward, *tables, rules, own, n_rows, states[low:high], kept_from
        )
        return np.diff(bounds), rows, fired, counters

    found = map_chunks(work, -(-n_samples // size), threads)
    nothing = np.empty(0, np.int64)
    counts, rows, neurons = (np.concatenate([nothing, *(part[k] for part in found)]) for k in range(3))
    wraps, clips, beyond = (int(sum(part[3][k] for part in found)) for k in range(3))
    bounds = np.cumsum(np.concatenate([np.zeros(1, np.int64), counts]))
    return Fired(bounds, rows, neurons, states[:, 0], states[:, 1], wraps, clips, beyond)
