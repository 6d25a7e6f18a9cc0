"""Two neurons that excite each other, and one that an input drives, with equations of their orbits by hand."""

from mpmath import mp, mpf

import eventsolve as es

TAU_MEM, TAU_SYN, LEAK, T_REF, DELAY, WEIGHT = 20e-3, 5e-3, 1.5, 2e-3, 3e-3, 0.4


def pair(v_initial=(0.0, 0.5), weight=WEIGHT, delay=DELAY):
    """Two neurons that spike by themselves and excite each other."""
    net = es.Network()
    net.add_population("n", 2, es.LIF(TAU_MEM, TAU_SYN, v_leak=LEAK, t_ref=T_REF, v_initial=v_initial))
    net.connect("n", "n", [[0.0, weight], [weight, 0.0]], delay=delay)
    return net


def driven(weight, synapse="exponential", **neuron):
    net = es.Network()
    net.add_input("in", 1)
    net.add_population("n", 1, es.LIF(**{"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, **neuron}))
    net.connect("in", "n", [[weight]], delay=1e-3, synapse=synapse)
    return net


def one_spike(time):
    return {"in": es.SpikeTrains.from_lists([[[time]]])}


def response(s):
    """K and its derivative, as they stand in the literature."""
    m, t = mpf(TAU_MEM), mpf(TAU_SYN)
    k = t / (t - m) * (mp.exp(-s / t) - mp.exp(-s / m))
    return k, (mp.exp(-s / t) - k) / m


def characteristic(period, half, delay=DELAY):
    """The voltage at the end of a period minus the threshold, and the characteristic function of the multipliers.

    Of two neurons in phase, or ``half`` a period apart. A multiplier's perturbation of the other is ``mode`` = 1 or -1
    times one's own, times the root of the multiplier if half a period lies between.
    """
    m, t, w, r = mpf(TAU_MEM), mpf(TAU_SYN), mpf(WEIGHT), mpf(T_REF)
    shift = mpf(delay) + (period / 2 if half else 0)
    k, steep = response(period - r)
    late, late_steep = response(period - shift)
    x = mp.exp(-period / t)
    background = w * mp.exp(-(r - shift) / t) * x / (1 - x)
    excess = -mpf(LEAK) * mp.exp(-(period - r) / m)
    gap = mpf(LEAK) + excess + background * k + w * late - 1
    current = background * mp.exp(-(period - r) / t) + w * mp.exp(-(period - shift) / t)
    slope = (mpf(LEAK) - 1 + current) / m
    by_release = excess / m - background * (k / t + steep)

    def of(multiplier, mode):
        y = x / multiplier
        heard = -w * late_steep + w / t * mp.exp(-(r - shift) / t) * k * y / (1 - y)
        return slope * multiplier + by_release + mode * (mp.sqrt(multiplier) if half else 1) * heard

    return gap, of
