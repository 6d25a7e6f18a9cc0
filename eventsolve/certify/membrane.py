r"""A neuron between two events in balls, and its voltage from one of its own spikes to the next.

.. math:: \tau_{mem} \dot V = v_{leak} - V + I, \qquad \tau_{syn} \dot I = -I

With x = s/tau_mem and y = s/tau_syn, s seconds multiply V - v_leak by exp(-x) and I by exp(-y), and a unit of current
adds the response K(s) = x D(x, y) to V, where D(x, y) = (exp(-x) - exp(-y)) / (y - x), exp(-x) at x = y, is a divided
difference: positive and smooth, and its derivatives are divided differences again. None of them cancels when written as

.. math:: D = e^{-\min(x, y)} M_0(d), \quad d = |y - x|, \quad M_0 = \int_0^1 e^{-d t} dt,
    \quad M_1 = \int_0^1 t e^{-d t} dt

There are two forms of the voltage from one spike to the next. :class:`Folded`, for numbers that are known exactly, is
the state at the last event. Where numbers are intervals, rounding each event into a state would forget that one number
moves V in several places at once; :class:`Listed` keeps every arrival since the last reset, and encloses V by its value
for the midpoints plus its derivative by each number over the whole box times the radius (mean value form).

Either is the formula that holds from its last event on, and is continued by it to times before. It never changes;
``voltage`` and ``current`` are its values at ``origin``, an exact time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from flint import arb, ctx

from eventsolve.certify.arithmetic import ONE, UNIT, ZERO, decreasing, surely_zero

NARROW = 40
"""Bits to which a ball is known for it to be put into a formula as it is; of a wider one the two ends are."""
SERIES_BELOW = 0.5
"""Up to which d the moment M_0 - M_1 is summed as a series."""
TINY = 5e-324


class Rates(NamedTuple):
    """A neuron's time constants in seconds, and 1/tau_mem, 1/tau_syn and their difference 1/tau_syn - 1/tau_mem."""

    tau_mem: arb
    tau_syn: arb
    mem: arb
    syn: arb
    gap: arb


class Derivatives(NamedTuple):
    """Derivatives of the response K by s, tau_mem and tau_syn."""

    by_time: arb
    by_tau_mem: arb
    by_tau_syn: arb


def rates_of(tau_mem: arb, tau_syn: arb) -> Rates:
    """Return the rates of two time constants; their difference is exactly 0 for the same two numbers."""
    gap = (tau_mem - tau_syn) / (tau_mem * tau_syn)
    return Rates(tau_mem, tau_syn, ONE / tau_mem, ONE / tau_syn, gap)


def propagator(rates: Rates, s: arb) -> tuple[arb, arb, arb]:
    """Return exp(-s/tau_mem), exp(-s/tau_syn) and K(s), for s of either sign."""
    decay_mem, decay_syn = (-(s * rates.mem)).exp(), (-(s * rates.syn)).exp()
    return decay_mem, decay_syn, s * rates.mem * divided_difference(rates, s, decay_mem, decay_syn)


def divided_difference(rates: Rates, s: arb, decay_mem: arb, decay_syn: arb) -> arb:
    """Return D(s/tau_mem, s/tau_syn), given both exponentials."""
    d = s * rates.gap
    return decay_mem * mean_decay(d) if float(d) >= 0.0 else decay_syn * mean_decay(-d)


def mean_decay(d: arb) -> arb:
    """Return M_0(d) = (1 - exp(-d))/d, 1 at 0."""
    return _mean_decay_at(d) if d.rel_accuracy_bits() >= NARROW else decreasing(_mean_decay_at, d)


def response_derivatives(rates: Rates, s: arb, decay_mem: arb, decay_syn: arb, response: arb) -> Derivatives:
    """Return the derivatives of K, given the propagator.

    From dD/dx = -exp(-min) m(x) and dD/dy = -exp(-min) m(y), where m is M_0 - M_1 for the smaller of the two and M_1
    for the larger.
    """
    x, y, d = s * rates.mem, s * rates.syn, s * rates.gap
    if float(d) >= 0.0:
        early, late = _moments(d)
        d_x, d_y = decay_mem * early, decay_mem * late
    else:
        early, late = _moments(-d)
        d_x, d_y = decay_syn * late, decay_syn * early
    difference = divided_difference(rates, s, decay_mem, decay_syn)
    return Derivatives(
        (decay_syn - response) * rates.mem,
        -x * rates.mem * (difference - x * d_x),
        x * y * rates.syn * d_y,
    )


def _moments(d: arb) -> tuple[arb, arb]:
    """Return M_0(d) - M_1(d) and M_1(d)."""
    if d.rel_accuracy_bits() < NARROW:
        return decreasing(_early_at, d), decreasing(_late_at, d)
    early = _early_at(d)
    return early, _mean_decay_at(d) - early


def _mean_decay_at(d: arb) -> arb:
    return ONE if surely_zero(d) else (-d).expm1() / -d


def _early_at(d: arb) -> arb:
    """Return M_0 - M_1 = (d - 1 + exp(-d))/d²."""
    return _series(d) if abs(float(d)) <= SERIES_BELOW else (d + (-d).expm1()) / (d * d)


def _late_at(d: arb) -> arb:
    """Return M_1 = (1 - (1 + d) exp(-d))/d²."""
    return _mean_decay_at(d) - _early_at(d)


def _series(d: arb) -> arb:
    r"""Return sum_k (-d)^k / (k + 2)! up to d = 1/2; the terms left out add up to less than twice the first of them."""
    term, total, k = ONE / 2, ZERO, 2
    while abs(float(term)) > 2.0 ** -(ctx.prec + 8):
        total += term
        k += 1
        term = -term * d / k
    return total + arb(0, 2.0 * abs(float(term)) + TINY)


@dataclass(frozen=True, slots=True)
class Held:
    """A neuron whose voltage is held, and its current as it is or would be at ``origin``."""

    rates: Rates
    leak: arb
    origin: arb
    current: arb
    listed: bool

    def current_at(self, t: arb) -> arb:
        """Return I at a time."""
        return self.current * ((self.origin - t) * self.rates.syn).exp()

    def arrived(self, time: arb, weight: arb) -> Held:
        """Return the state with one more arrival."""
        return replace(self, current=self.current + weight * ((time - self.origin) * self.rates.syn).exp())

    def released(self, time: arb, voltage: arb) -> Membrane:
        """Return the membrane that is free from that time on, with that voltage then."""
        origin = time.lower()
        if self.listed:
            free = Listed(
                self.rates,
                self.leak,
                origin,
                voltage,
                self.current,
                time,
                voltage,
                self.origin,
                self.current,
                (),
            )
            return free.moved(origin)
        if not time.is_exact():
            decay_mem, _, response = propagator(self.rates, origin - time)
            voltage = self.leak + (voltage - self.leak) * decay_mem + self.current_at(time) * response
        return Folded(self.rates, self.leak, origin, voltage, self.current_at(origin))


@dataclass(frozen=True, slots=True)
class Folded:
    """V and I at an exact time, and how they go on."""

    rates: Rates
    leak: arb
    origin: arb
    voltage: arb
    current: arb

    def at(self, t: arb) -> tuple[arb, arb]:
        """Return V and I at a time."""
        decay_mem, decay_syn, response = propagator(self.rates, t - self.origin)
        voltage = self.leak + (self.voltage - self.leak) * decay_mem + self.current * response
        return voltage, self.current * decay_syn

    def slope(self, t: arb) -> arb:
        """Return V' over a ball of times."""
        decay_mem, decay_syn, response = propagator(self.rates, t - self.origin)
        return (
            self.current * (decay_syn - response) - (self.voltage - self.leak) * decay_mem
        ) * self.rates.mem

    def moved(self, t: arb) -> Folded:
        """Return the same membrane with another origin."""
        voltage, current = self.at(t)
        return Folded(self.rates, self.leak, t, voltage, current)

    def arrived(self, time: arb, weight: arb, *, delta: bool) -> Folded:
        """Return the membrane with one more arrival, whose weight adds to V if it is ``delta``, else to I."""
        decay_mem, decay_syn, response = propagator(self.rates, self.origin - time)
        if delta:
            return replace(self, voltage=self.voltage + weight * decay_mem)
        return replace(
            self, voltage=self.voltage + weight * response, current=self.current + weight * decay_syn
        )

    def held(self, time: arb) -> Held:
        """Return the state from a spike at that time on."""
        origin = time.lower()
        current = self.current * ((self.origin - origin) * self.rates.syn).exp()
        return Held(self.rates, self.leak, origin, current, listed=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A weight that adds to I, or if ``delta`` to V, at a time."""

    time: arb
    weight: arb
    delta: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """A voltage that is free from ``release`` on, what the current was at ``background``, and what arrived since."""

    rates: Rates
    leak: arb
    origin: arb
    voltage: arb
    current: arb
    release: arb
    released: arb
    background: arb
    earlier: arb
    arrivals: tuple[Arrival, ...]

    def at(self, t: arb) -> tuple[arb, arb]:
        """Return V and I at an exact time."""
        rates, leak = self.rates, self.leak
        tau_mem, tau_syn = rates.tau_mem, rates.tau_syn
        vague = not (tau_mem.is_exact() and tau_syn.is_exact())
        central = rates_of(tau_mem.mid(), tau_syn.mid()) if vague else rates
        # for the midpoints
        since = self.release.mid()
        decay_mem, _, response = propagator(central, t - since)
        middle = leak.mid() + (self.released.mid() - leak.mid()) * decay_mem
        middle += self.earlier.mid() * ((self.background - since) * central.syn).exp() * response
        # derivatives for the box: what is left of the reset voltage, and what the current of before does
        elapsed = t - self.release
        decay_mem, decay_syn, response = propagator(rates, elapsed)
        left = ((self.background - self.release) * rates.syn).exp()
        current = self.earlier * left
        total = current * decay_syn
        spread = abs(decay_mem) * self.released.rad() + abs(ONE - decay_mem) * leak.rad()
        spread += abs(decay_mem * (leak - self.released + current) * rates.mem) * self.release.rad()
        spread += abs(left * response) * self.earlier.rad()
        by_mem, by_syn = ZERO, ZERO
        if vague:
            by = response_derivatives(rates, elapsed, decay_mem, decay_syn, response)
            by_mem = (self.released - leak) * decay_mem * elapsed * rates.mem * rates.mem
            by_mem += current * by.by_tau_mem
            by_syn = (self.release - self.background) * rates.syn * rates.syn * response + by.by_tau_syn
            by_syn = current * by_syn
        for arrival in self.arrivals:
            weight = arrival.weight
            decay_mem, _, response = propagator(central, t - arrival.time.mid())
            middle += weight.mid() * (decay_mem if arrival.delta else response)
            elapsed = t - arrival.time
            decay_mem, decay_syn, response = propagator(rates, elapsed)
            if arrival.delta:
                spread += abs(decay_mem) * weight.rad()
                spread += abs(weight * decay_mem * rates.mem) * arrival.time.rad()
                by_mem += weight * decay_mem * elapsed * rates.mem * rates.mem
                continue
            total += weight * decay_syn
            spread += abs(response) * weight.rad()
            spread += abs(weight * (decay_syn - response) * rates.mem) * arrival.time.rad()
            if vague:
                by = response_derivatives(rates, elapsed, decay_mem, decay_syn, response)
                by_mem += weight * by.by_tau_mem
                by_syn += weight * by.by_tau_syn
        if vague:
            spread += abs(by_mem) * tau_mem.rad() + abs(by_syn) * tau_syn.rad()
        return middle + spread * UNIT, total

    def slope(self, t: arb) -> arb:
        """Return V' over a ball of times."""
        rates = self.rates
        decay_mem, decay_syn, response = propagator(rates, t - self.release)
        current = self.earlier * ((self.background - self.release) * rates.syn).exp()
        total = current * (decay_syn - response) - (self.released - self.leak) * decay_mem
        for arrival in self.arrivals:
            decay_mem, decay_syn, response = propagator(rates, t - arrival.time)
            total += arrival.weight * (-decay_mem if arrival.delta else decay_syn - response)
        return total * rates.mem

    def moved(self, t: arb) -> Listed:
        """Return the same membrane with another origin."""
        voltage, current = self.at(t)
        return replace(self, origin=t, voltage=voltage, current=current)

    def arrived(self, time: arb, weight: arb, *, delta: bool) -> Listed:
        """Return the membrane with one more arrival, whose weight adds to V if it is ``delta``, else to I."""
        arrivals = (*self.arrivals, Arrival(time, weight, delta))
        return replace(self, arrivals=arrivals).moved(self.origin)

    def held(self, time: arb) -> Held:
        """Return the state from a spike at that time on."""
        origin = time.mid()
        return Held(self.rates, self.leak, origin, self.at(origin)[1], listed=True)


Membrane: TypeAlias = Folded | Listed
