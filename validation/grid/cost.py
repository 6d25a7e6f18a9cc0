"""What a sample on a time grid costs, counted alike for any number format: operations, and packets between neurons."""

from __future__ import annotations

import numpy as np

import eventsolve as es
from eventsolve.io.records import Record
from validation.fixedpoint import FixedFormat
from validation.grid.number import FLOATS
from validation.grid.steps import number_of_steps
from validation.target import Cost

PER_STEP = 3
"""Multiply-accumulates of a neuron in a step, either way: the current decays, the voltage decays and is driven."""
KEY_BYTES = 4
"""Of the packet that is a spike; one that answers it with an error carries a number, too."""


def number_bytes(number: str) -> int:
    """Return how many bytes hold a number of a format, in whole powers of two."""
    if number in FLOATS:
        return int(number[5:]) // 8
    given = FixedFormat.parse(number)
    return int(2 ** np.ceil(np.log2((given.value_bits + given.signed) / 8)))


def cost(problem: es.Problem, record: Record, time_step: float, number: str) -> Cost:
    """Return what a sample of a run costs on average, in steps of some seconds and in a number format.

    Every neuron and step costs :data:`PER_STEP` multiply-accumulates, and every spike one for each synapse that it
    reaches; where gradients are asked for the way back costs as much again, and another accumulation per synapse for
    the gradient. A spike is a packet for each of its projections, and so is the error that answers it.
    """
    network, trains = problem.network, record.trains
    n_steps = number_of_steps(problem.t_end, time_step)
    neurons = sum(p.size for p in network.populations.values() if p.neuron is not None)
    reached = packets = 0.0
    for projection in network.projections.values():
        fan_out = np.bincount(projection.sources, minlength=network.population(projection.pre).size)
        sent = np.bincount(trains[projection.pre].neurons, minlength=fan_out.size)
        reached += float(fan_out @ sent)
        packets += float(sent.sum())
    per = 1.0 / max(record.n_samples, 1)
    forward = float(PER_STEP * neurons * n_steps) + reached * per
    graded = problem.loss is not None
    operations = forward * (2 if graded else 1) + (reached * per if graded else 0.0)
    size = number_bytes(number)
    packet_bytes = packets * per * (KEY_BYTES + (KEY_BYTES + size if graded else 0))
    return Cost(operations, packet_bytes, operations * size + packet_bytes)
