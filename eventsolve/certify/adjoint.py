"""Gradients in balls: p_V = dL/dV and p_I = dL/dI of every neuron, backwards through the proven events.

Over a segment of h seconds the state is linear in its start, so p follows the transposed propagator. The time t of an
event matters by (p f)(t-) - (p f)(t+), where f is the right-hand side of the differential equations, as the one flow
goes on longer and the other begins later. At a crossing t is where V = v_threshold: e = dL/dt_k, with all that the
spike causes and -p_V V'(t+), is paid by V at t-, p_V = -e/V'(t-), and by the threshold; at a triggered spike by the
arrival that has its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flint import arb

from eventsolve.certify.balls import ONE, ZERO, ball, surely_less, surely_zero
from eventsolve.certify.boxes import PARAMETERS, Box
from eventsolve.certify.cells import Question, Unproven
from eventsolve.certify.flow import response_derivatives
from eventsolve.certify.forward import Enclosed
from eventsolve.certify.lives import End, Life, Segment


@dataclass(frozen=True, eq=False)
class Adjoint:
    """Derivatives of a loss: by synapse, by parameter and cell, and dL/dt of every spike with all that it causes."""

    weight: list[arb]
    delay: list[arb]
    parameters: Mapping[str, list[arb]]
    spike_times: list[arb]


class _Costate:
    """p_V and p_I of one neuron at the end of its last segment that is left."""

    def __init__(self, life: Life) -> None:
        self.life, self.left = life, len(life.segments)
        self.v, self.i = ZERO, ZERO
        self.released = ZERO
        self.inherited: arb | None = None


def adjoint(
    box: Box, enclosed: Enclosed, lives: Mapping[int, Life], cotangents: Mapping[int, arb]
) -> Adjoint:
    """Go back through the events of a sample.

    Parameters
    ----------
    box, enclosed, lives
        Of a sample of which nothing is open; the loss's reads are in the lives.
    cotangents : mapping of int to arb
        dL/dt in 1/s of spikes, by their place in ``enclosed.spikes``.

    Raises
    ------
    Unproven
        If a spike on which the loss depends has no slope that is proven.
    """
    synapses = box.synapses
    found = Adjoint(
        [ZERO] * synapses.source.size,
        [ZERO] * synapses.source.size,
        {name: [ZERO] * box.n_cells for name in PARAMETERS},
        [ZERO] * len(enclosed.spikes),
    )
    for spike, cotangent in cotangents.items():
        found.spike_times[spike] = cotangent
    costates = {cell: _Costate(life) for cell, life in lives.items()}
    for which in range(len(enclosed.history) - 1, -1, -1):
        costate = costates[enclosed.history[which].cell]
        while _step_back(box, enclosed, found, costate) not in (End.ARRIVAL, End.SPIKE):
            pass
        # what is read just before this arrival moves with it: its spike has to know before its own turn comes
        while _is_read_before(costate, which):
            _step_back(box, enclosed, found, costate)
    for costate in costates.values():
        while costate.left:
            _step_back(box, enclosed, found, costate)
        found.parameters["v_initial"][costate.life.cell] += costate.v
        found.parameters["i_initial"][costate.life.cell] += costate.i
    return found


def _is_read_before(costate: _Costate, which: int) -> bool:
    """Say whether the event that is next to be undone is a read that moves with an arrival, just before it."""
    if not costate.left:
        return False
    segment = costate.life.segments[costate.left - 1]
    return segment.end is End.READ and costate.life.reads[segment.which].arrival == which


def _step_back(box: Box, enclosed: Enclosed, found: Adjoint, costate: _Costate) -> End:
    """Go back over the event that ends a segment, and the segment; return what ended it."""
    costate.left -= 1
    segment = costate.life.segments[costate.left]
    if segment.end is End.ARRIVAL:
        _over_arrival(box, enclosed, found, costate, segment)
    elif segment.end is End.SPIKE:
        _over_spike(enclosed, found, costate, segment)
    elif segment.end is End.RELEASE:
        costate.released = costate.v * _slope(costate.life, segment.last_voltage, segment.last_current)
    else:
        read = costate.life.reads[segment.which]
        costate.v += read.cotangent
        if read.arrival >= 0:
            error = read.cotangent * _slope(costate.life, segment.last_voltage, segment.last_current)
            event = enclosed.history[read.arrival]
            found.delay[event.synapse] += error
            found.spike_times[event.spike] += error
    _through(found, costate, segment)
    return segment.end


def _slope(life: Life, voltage: arb, current: arb) -> arb:
    return (life.parameters.leak - voltage + current) * life.parameters.rates.mem


def _over_arrival(box: Box, enclosed: Enclosed, found: Adjoint, costate: _Costate, segment: Segment) -> None:
    event = enclosed.history[segment.which]
    k, rates = event.synapse, costate.life.parameters.rates
    if not surely_zero(costate.v) and _is_at_release(costate.life, costate.left):
        raise Unproven(event.cell, segment.moment.key, Question.KINK, 0.0)
    weight = ball(float(box.synapses.weight.middle[k]), float(box.synapses.weight.radius[k]))
    if not box.synapses.delta[k]:
        found.weight[k] += costate.i
        error = weight * (costate.i * rates.syn - (ZERO if segment.held else costate.v * rates.mem))
    elif segment.held:
        return
    else:
        found.weight[k] += costate.v
        error = weight * costate.v * rates.mem
        if costate.inherited is not None:
            slope = _slope(costate.life, segment.last_voltage, segment.last_current)
            error, costate.inherited = costate.inherited + costate.v * slope, None
    found.delay[k] += error
    found.spike_times[event.spike] += error


def _is_at_release(life: Life, index: int) -> bool:
    """Say whether a segment ends as V has just been released, when what arrives later acts otherwise than before."""
    while index and surely_zero(life.segments[index].duration):
        index -= 1
        if life.segments[index].end is End.RELEASE:
            return True
    return False


def _over_spike(enclosed: Enclosed, found: Adjoint, costate: _Costate, segment: Segment) -> None:
    life, spike = costate.life, enclosed.history[segment.which].spike
    p, cell = life.parameters, life.cell
    later = life.segments[costate.left + 1] if costate.left + 1 < len(life.segments) else None
    held = life.release is not None if later is None else later.held
    voltage = life.voltage if later is None else later.voltage
    after = costate.released if held else costate.v * _slope(life, voltage, segment.last_current)
    costate.released = ZERO
    error = found.spike_times[spike] - after
    found.spike_times[spike] = error
    found.parameters["t_ref"][cell] -= after
    found.parameters["v_reset"][cell] += costate.v
    if enclosed.spikes[spike].trigger >= 0:
        costate.inherited = error
        if p.subtracts:
            found.parameters["v_threshold"][cell] -= costate.v
        else:
            costate.v = ZERO
        return
    costate.v = ZERO
    if surely_zero(error):
        return
    slope = ZERO if p.threshold is None else _slope(life, p.threshold, segment.last_current)
    if not surely_less(ZERO, slope):
        raise Unproven(cell, segment.moment.key, Question.SLOPE, 0.0)
    costate.v = -error / slope
    found.parameters["v_threshold"][cell] -= costate.v


def _through(found: Adjoint, costate: _Costate, segment: Segment) -> None:
    """Go back through a segment, over which the state is linear in its start."""
    life, h = costate.life, segment.duration
    if (surely_zero(costate.v) and surely_zero(costate.i)) or surely_zero(h):
        return
    rates, leak, cell = life.parameters.rates, life.parameters.leak, life.cell
    decay_mem, decay_syn, response = segment.decay_mem, segment.decay_syn, segment.response
    by_tau_syn = costate.i * segment.current * decay_syn * h * rates.syn * rates.syn
    if not segment.held:
        by = response_derivatives(rates, h, decay_mem, decay_syn, response)
        by_tau_syn += costate.v * segment.current * by.by_tau_syn
        excess = segment.voltage - leak
        moved = excess * decay_mem * h * rates.mem * rates.mem + segment.current * by.by_tau_mem
        found.parameters["tau_mem"][cell] += costate.v * moved
        found.parameters["v_leak"][cell] += costate.v * (ONE - decay_mem)
    found.parameters["tau_syn"][cell] += by_tau_syn
    costate.i *= decay_syn
    if not segment.held:
        costate.i += costate.v * response
        costate.v *= decay_mem
