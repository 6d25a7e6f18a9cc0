"""Kernels: times that are sums of given numbers, exactly (compiled).

A time is a pair: ``time``, the float64 that is reported, and ``low``, what that leaves of the exact sum of an input
time, delays and refractory periods. The time is the float64 nearest to the sum, so that pairs are in the order of the
sums. ``low`` is exact for sums whose terms lie within a factor of 2^53, such as 1 s and 1 fs, and else right to 2^-53
of itself. A threshold crossing is the float64 that is found, with a low of 0; at the float64 time of a delivery that
it follows, with the low of that: what comes of a delivery is not before it.

States move on by differences of the float64 times; ``low`` decides about the order of events, and about nothing else.
"""

from __future__ import annotations

from eventsolve.compiled import embedded


def time_later(time, low, delay):
    """Return (time, low) of what comes a finite delay later than a time; of arrays alike."""
    total = time + delay
    shift = total - time
    rest = (time - (total - shift)) + (delay - shift) + low
    rounded = total + rest
    return rounded, rest - (rounded - total)


def time_after(time, low, other, other_low):
    """Return whether a time comes after another; of arrays alike."""
    return (time > other) | ((time == other) & (low > other_low))


later, is_after = embedded(time_later), embedded(time_after)
"""The same in kernels."""
