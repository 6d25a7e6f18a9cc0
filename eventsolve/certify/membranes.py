"""The voltage of one neuron from one of its own spikes to the next, as a function of time in balls.

There are two forms of it. :class:`Folded`, for numbers that are known exactly, is the state at the last event. Where
numbers are intervals, rounding each event into a state would forget that one number moves V in several places at once;
:class:`Listed` keeps every arrival since the last reset, and encloses V by its value for the midpoints plus its
derivative by each number over the whole box times the radius (mean value form).

Either is the formula that holds from its last event on, and is continued by it to times before. It never changes;
``voltage`` and ``current`` are its values at ``origin``, an exact time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from flint import arb

from eventsolve.certify.balls import ONE, UNIT, ZERO
from eventsolve.certify.flow import Rates, propagator, rates_of, response_derivatives


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
