"""How far a float64 time may be from the truth: a few roundings of everything that a spike depends on, to first order.

A rounding error of V is one of the time over V', and one of a time moves V downstream by the weights that arrive then.
Errors add up with their absolute values. This is a standard to hold claims to, in float64; nothing is proven with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from eventsolve.certify.boxes import Box
from eventsolve.certify.forward import Enclosed

ROUNDINGS = 4
"""How often every number may be rounded on its way."""
ERROR = ROUNDINGS * 2.0**-53


@dataclass(slots=True)
class _Errors:
    """One neuron at ``time``: I, the sizes of the terms of V and of I, and what V and I may be off."""

    time: float
    free_at: float
    current: float
    voltage_size: float
    current_size: float
    voltage_error: float = 0.0
    current_error: float = 0.0


def tolerances(box: Box, sample: int, enclosed: Enclosed) -> list[float]:
    """Return how far each spike's time may be off, in seconds, in the order of ``enclosed.spikes``."""
    p = {name: numbers.middle.tolist() for name, numbers in box.parameters.items()}
    weight, delta = box.synapses.weight.middle.tolist(), box.synapses.delta.tolist()
    cells: dict[int, _Errors] = {}
    found = [0.0] * len(enclosed.spikes)
    for event in enclosed.history:
        c, time = event.cell, event.moment.key
        cell = cells.get(c)
        if cell is None:
            cell = cells[c] = _begin(box, sample, c)
        tau_mem, tau_syn = p["tau_mem"][c], p["tau_syn"][c]
        _advance(cell, time, tau_mem, tau_syn)
        rounding = ERROR * (cell.voltage_size + abs(p["v_leak"][c]) + abs(p["v_threshold"][c]))
        if event.synapse >= 0:
            w = abs(weight[event.synapse])
            moved = w * (found[event.spike] + ERROR * time)
            cell.voltage_error += rounding + moved / tau_mem
            if delta[event.synapse]:
                cell.voltage_size += w
            else:
                cell.current += weight[event.synapse]
                cell.current_size += w
                cell.current_error += ERROR * cell.current_size + moved / tau_syn
            continue
        trigger = enclosed.spikes[event.spike].trigger
        if trigger >= 0:
            error = found[enclosed.history[trigger].spike]
        else:
            error = _crossing_error(
                cell.voltage_error + rounding,
                cell.current + p["v_leak"][c] - p["v_threshold"][c],
                cell.current,
                tau_mem,
                tau_syn,
            )
        error += ERROR * time
        found[event.spike] = error
        cell.free_at = time + p["t_ref"][c]
        if trigger >= 0 and box.subtracts[c]:  # V is lowered from where it was, and stays as uncertain
            cell.voltage_size += abs(p["v_threshold"][c] - p["v_reset"][c])
            cell.voltage_error += rounding
            continue
        cell.voltage_size = abs(p["v_reset"][c] - p["v_leak"][c])
        cell.voltage_error = error * abs(cell.current + p["v_leak"][c] - p["v_reset"][c]) / tau_mem
    return found


def _begin(box: Box, sample: int, cell: int) -> _Errors:
    if box.start is not None:
        time, excess, current, free_at, _ = (float(column[cell]) for column in box.start[sample])
        return _Errors(time, free_at, current, abs(excess), abs(current))
    voltage, leak, current = (
        float(box.parameters[name].middle[cell]) for name in ("v_initial", "v_leak", "i_initial")
    )
    return _Errors(0.0, 0.0, current, abs(voltage - leak), abs(current))


def _crossing_error(error: float, drive: float, current: float, tau_mem: float, tau_syn: float) -> float:
    """Return the error of a crossing, for an error of V: over V', or for a small V' the root of it over V''/2."""
    slope, bend = drive / tau_mem, (abs(current) / tau_syn + abs(drive) / tau_mem) / tau_mem
    steep = error / slope if slope > 0.0 else math.inf
    return min(steep, math.sqrt(2.0 * error / bend) if bend > 0.0 else math.inf)


def _advance(cell: _Errors, time: float, tau_mem: float, tau_syn: float) -> None:
    if cell.free_at > cell.time:
        held = max(min(time, cell.free_at) - cell.time, 0.0)
        kept = math.exp(-held / tau_syn)
        cell.current *= kept
        cell.current_size *= kept
        cell.current_error *= kept
        cell.time = min(time, cell.free_at)
    s = max(time - cell.time, 0.0)
    if s == 0.0:
        return
    decay_mem, decay_syn = math.exp(-s / tau_mem), math.exp(-s / tau_syn)
    d = abs(s / tau_mem - s / tau_syn)
    response = s / tau_mem * max(decay_mem, decay_syn) * (-math.expm1(-d) / d if d else 1.0)
    cell.voltage_size = cell.voltage_size * decay_mem + cell.current_size * response
    cell.voltage_error = cell.voltage_error * decay_mem + cell.current_error * response
    cell.current *= decay_syn
    cell.current_size *= decay_syn
    cell.current_error *= decay_syn
    cell.time = time
