"""One neuron between two events, in closed form.

With s the time since V and I were V0 and I0 and V was free to move (MODEL: Wunderlich & Pehle 2021, eq. 1)::

    I(s) = I0 exp(-s/tau_syn)
    V(s) = v_leak + (V0 - v_leak) exp(-s/tau_mem) + I0 K(s)
    K(s) = tau_syn/(tau_syn - tau_mem) (exp(-s/tau_syn) - exp(-s/tau_mem))
         = (s/tau_mem) exp(-s/tau_mem) at equality

K is evaluated as it stands: the digits that its cancellation costs are bought as working precision.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from eventsolve.multiprecision.problems import Context, Mpf, Neuron


@dataclass(frozen=True)
class State:
    """A neuron just after an event: V is held until ``free``, the end of its refractory period if any."""

    time: Mpf
    voltage: Mpf
    current: Mpf
    free: Mpf


@dataclass(frozen=True)
class Rise:
    """V rises from below the threshold at ``start + low`` to the threshold or beyond at ``start + high``.

    From ``start`` on V is free, with V(start) = v0 and I(start) = i0; it is monotone from ``low`` to ``high``.
    """

    start: Mpf
    v0: Mpf
    i0: Mpf
    low: Mpf
    high: Mpf


def advance(ctx: Context, neuron: Neuron, state: State, time: Mpf) -> tuple[Mpf, Mpf]:
    """Return V and I at a time not before the state, if nothing happens between."""
    if time <= state.free:
        return state.voltage, _decayed(ctx, neuron, state, time)
    return _flow(ctx, neuron, state.voltage, _decayed(ctx, neuron, state, state.free), time - state.free)


def _decayed(ctx: Context, neuron: Neuron, state: State, time: Mpf) -> Mpf:
    if time == state.time:
        return state.current
    return state.current * ctx.exp(-(time - state.time) / neuron.tau_syn)


def _flow(ctx: Context, neuron: Neuron, v0: Mpf, i0: Mpf, s: Mpf) -> tuple[Mpf, Mpf]:
    """Return V(s) and I(s): the module's closed form."""
    tau_mem, tau_syn, v_leak = neuron.tau_mem, neuron.tau_syn, neuron.v_leak
    decay = ctx.exp(-s / tau_mem)
    if tau_mem == tau_syn:
        return v_leak + (v0 - v_leak + i0 * s / tau_mem) * decay, i0 * decay
    i = i0 * ctx.exp(-s / tau_syn)
    return v_leak + (v0 - v_leak) * decay + tau_syn / (tau_syn - tau_mem) * (i - i0 * decay), i


def _extremum(ctx: Context, neuron: Neuron, v0: Mpf, i0: Mpf) -> Mpf | None:
    """Return the only s at which V'(s) = 0 can hold, or None; it may be negative.

    With b = i0 tau_syn/(tau_syn - tau_mem) and a = v0 - v_leak - b::

        V - v_leak = a exp(-s/tau_mem) + b exp(-s/tau_syn)
        V' = 0  where  exp(s/tau_mem - s/tau_syn) = -(a/tau_mem)/(b/tau_syn)

    and at equality::

        V - v_leak = (v0 - v_leak + i0 s/tau_mem) exp(-s/tau_mem)
        V' = 0  where  i0 s/tau_mem = i0 - (v0 - v_leak)
    """
    tau_mem, tau_syn = neuron.tau_mem, neuron.tau_syn
    if i0 == 0:
        return None
    if tau_mem == tau_syn:
        return tau_mem * (1 - (v0 - neuron.v_leak) / i0)
    b = i0 * tau_syn / (tau_syn - tau_mem)
    a = v0 - neuron.v_leak - b
    ratio = -(a / tau_mem) / (b / tau_syn)
    return ctx.log(ratio) / (1 / tau_mem - 1 / tau_syn) if ratio > 0 else None


def first_rise(ctx: Context, neuron: Neuron, state: State, t_end: Mpf) -> Rise | None:
    """Return where V first rises to the threshold up to t_end if nothing happens before, or None if it does not.

    The state's voltage must be below the threshold.
    """
    if state.free > t_end:
        return None
    # V' > 0 at a crossing, so I > v_threshold - v_leak there, and I only decays: this excludes an LI as well.
    if max(state.current, 0) <= neuron.v_threshold - neuron.v_leak:
        return None
    v0, i0 = state.voltage, _decayed(ctx, neuron, state, state.free)
    span = t_end - state.free
    extremum = _extremum(ctx, neuron, v0, i0)
    ends = [ctx.zero, extremum, span] if extremum is not None and 0 < extremum < span else [ctx.zero, span]
    for low, high in itertools.pairwise(ends):  # V is monotone between the two, and below threshold at low
        if _flow(ctx, neuron, v0, i0, high)[0] >= neuron.v_threshold:
            return _narrowed(ctx, neuron, Rise(state.free, v0, i0, low, high))
    return None


def _narrowed(ctx: Context, neuron: Neuron, rise: Rise) -> Rise:
    """Return the rise between ends close to a float64 guess, if V there proves that the crossing is between."""
    guess = _guess(neuron, rise)
    margin = ctx.mpf(1e-10) * (rise.high - rise.low)
    low, high = max(guess - margin, rise.low), min(guess + margin, rise.high)

    def voltage(s: Mpf) -> Mpf:
        return _flow(ctx, neuron, rise.v0, rise.i0, s)[0]

    if voltage(low) < neuron.v_threshold <= voltage(high):
        return Rise(rise.start, rise.v0, rise.i0, low, high)
    return rise


def _guess(neuron: Neuron, rise: Rise) -> float:
    """Bisect for the crossing in float64, without any claim to accuracy."""
    tau_mem, tau_syn, v_leak = float(neuron.tau_mem), float(neuron.tau_syn), float(neuron.v_leak)
    v0, i0, threshold = float(rise.v0), float(rise.i0), float(neuron.v_threshold)
    low, high = float(rise.low), float(rise.high)
    for _ in range(60):
        s = (low + high) / 2
        decay = math.exp(-s / tau_mem)
        if tau_mem == tau_syn:
            v = v_leak + (v0 - v_leak + i0 * s / tau_mem) * decay
        else:
            response = tau_syn / (tau_syn - tau_mem) * (math.exp(-s / tau_syn) - decay)
            v = v_leak + (v0 - v_leak) * decay + i0 * response
        low, high = (low, s) if v >= threshold else (s, high)
    return (low + high) / 2


def crossing(ctx: Context, neuron: Neuron, rise: Rise, tolerance: Mpf) -> Mpf:
    """Return the time of the crossing, to the tolerance.

    Newton inside the bracket, bisection where Newton leaves it or slows down. A Newton step is believed only
    once V is found below threshold at s - tolerance and not below it at s + tolerance.
    """
    low, high = rise.low, rise.high

    def above(s: Mpf) -> bool:
        return bool(_flow(ctx, neuron, rise.v0, rise.i0, s)[0] >= neuron.v_threshold)

    s, last_step = (low + high) / 2, high - low
    while high - low > tolerance:
        v, i = _flow(ctx, neuron, rise.v0, rise.i0, s)
        if v >= neuron.v_threshold:
            high = s
        else:
            low = s
        slope = (neuron.v_leak - v + i) / neuron.tau_mem
        step = (neuron.v_threshold - v) / slope if slope > 0 else ctx.inf
        newton = s + step
        if abs(step) <= tolerance and not above(newton - tolerance) and above(newton + tolerance):
            return rise.start + newton
        if abs(step) > tolerance and abs(step) <= last_step / 2 and low < newton < high:
            s, last_step = newton, abs(step)
        else:
            s, last_step = (low + high) / 2, high - low
    return rise.start + high
